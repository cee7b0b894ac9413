//! WWW-Authenticate and Proxy-Authenticate (RFC 3261 section 20.44, RFC 7616
//! section 3.3).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::params::{Writer, behind_scheme, scan};
use super::{Algorithm, MAX_VALUE, Qop};
use crate::wire::ParseError;
use crate::wire::lex::unquote;

/// Why a challenge cannot be answered; it is passed over (RFC 8760 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// Another scheme than Digest: Basic is never answered (RFC 3261 section 22).
    Scheme,
    /// An algorithm that is not known.
    Algorithm,
    /// It names no `qop` that is known, or none at all for a session
    /// algorithm, whose key takes one.
    Qop,
    /// Without realm or without nonce.
    Incomplete,
    /// A value longer than [`MAX_VALUE`], quotes and backslashes aside.
    TooLong,
    /// Not the syntax of a challenge.
    Malformed(ParseError),
}

/// One Digest challenge.
#[derive(Debug, Clone)]
pub struct Challenge<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    opaque: Option<&'a [u8]>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether the algorithm was named; unnamed it is MD5.
    pub algorithm_named: bool,
    /// The nonce was too old; the credentials may have been right.
    pub stale: bool,
    /// `qop` was named, so the answer has to have one.
    pub has_qop: bool,
    /// `auth` may be chosen.
    pub auth: bool,
    /// `auth-int` may be chosen.
    pub auth_int: bool,
    /// The user's name may come hashed (RFC 7616 section 3.4.4).
    pub userhash: bool,
    /// User and password are UTF-8 (RFC 7616 section 4).
    pub utf8: bool,
}

impl<'a> Challenge<'a> {
    /// Reads one field line of WWW-Authenticate or Proxy-Authenticate, which
    /// holds one challenge (RFC 3261 section 7.3.1).
    ///
    /// # Errors
    /// [`Unusable`]: look at the next challenge.
    pub fn parse(value: &'a [u8]) -> Result<Self, Unusable> {
        let rest = behind_scheme(value).ok_or(Unusable::Scheme)?;
        let (mut realm, mut nonce, mut opaque, mut algorithm, mut qop) = (None, None, None, None, None);
        let (mut stale, mut userhash, mut utf8) = (false, false, false);
        scan(rest, |param| {
            let yes = || param.plain().eq_ignore_ascii_case(b"true");
            if param.is("realm") {
                realm = Some(param.value);
            } else if param.is("nonce") {
                nonce = Some(param.value);
            } else if param.is("opaque") {
                opaque = Some(param.value);
            } else if param.is("algorithm") {
                algorithm = Some(param.plain());
            } else if param.is("qop") {
                qop = Some(param.plain()).filter(|qop| !qop.trim_ascii().is_empty());
            } else if param.is("stale") {
                stale = yes();
            } else if param.is("userhash") {
                userhash = yes();
            } else if param.is("charset") {
                utf8 = param.plain().eq_ignore_ascii_case(b"UTF-8");
            }
        })
        .map_err(Unusable::Malformed)?;
        let (Some(realm), Some(nonce)) = (realm, nonce) else { return Err(Unusable::Incomplete) };
        if [realm, nonce, opaque.unwrap_or_default()].iter().any(|value| unquote(value).len() > MAX_VALUE) {
            return Err(Unusable::TooLong);
        }
        let named = match &algorithm {
            Some(token) => Some(Algorithm::from_token(token).ok_or(Unusable::Algorithm)?),
            None => None,
        };
        let offers = |wanted: Qop| {
            let list = qop.as_deref().unwrap_or_default();
            list.split(|b| *b == b',').any(|one| Qop::from_token(one.trim_ascii()) == Some(wanted))
        };
        let (auth, auth_int) = (offers(Qop::Auth), offers(Qop::AuthInt));
        if qop.is_some() && !auth && !auth_int {
            return Err(Unusable::Qop);
        }
        // A session's key has the cnonce in it, which only an answer with qop tells (RFC 7616 section 3.4.2).
        if qop.is_none() && named.is_some_and(Algorithm::is_session) {
            return Err(Unusable::Qop);
        }
        Ok(Self {
            realm,
            nonce,
            opaque,
            algorithm: named.unwrap_or(Algorithm::Md5),
            algorithm_named: named.is_some(),
            stale,
            has_qop: qop.is_some(),
            auth,
            auth_int,
            userhash,
            utf8,
        })
    }

    /// The protection space, without quotes.
    pub fn realm(&self) -> Cow<'a, [u8]> {
        unquote(self.realm)
    }

    /// The nonce, without quotes.
    pub fn nonce(&self) -> Cow<'a, [u8]> {
        unquote(self.nonce)
    }

    /// What has to come back unchanged, without quotes.
    pub fn opaque(&self) -> Option<Cow<'a, [u8]>> {
        self.opaque.map(unquote)
    }

    /// What the answer vouches for: `auth` where it may be chosen.
    pub(super) const fn choose_qop(&self) -> Option<Qop> {
        match (self.auth, self.auth_int) {
            (true, _) => Some(Qop::Auth),
            (false, true) => Some(Qop::AuthInt),
            (false, false) => None,
        }
    }
}

/// What a challenge of ours says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) algorithm: Algorithm,
    pub(super) auth: bool,
    pub(super) auth_int: bool,
    pub(super) stale: bool,
    pub(super) userhash: bool,
}

impl Offer<'_> {
    /// Appends the field's value. `qop` is always there (RFC 8760 section 2.6).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Digest ");
        let mut writer = Writer::new(out);
        writer.quoted("realm", self.realm);
        writer.quoted("nonce", self.nonce);
        let qop: &[u8] = match (self.auth, self.auth_int) {
            (true, true) => b"auth,auth-int",
            (false, true) => b"auth-int",
            _ => b"auth",
        };
        writer.quoted("qop", qop);
        writer.token("algorithm", self.algorithm.as_str().as_bytes());
        if self.stale {
            writer.token("stale", b"true");
        }
        if self.userhash {
            writer.token("userhash", b"true");
        }
        writer.token("charset", b"UTF-8");
    }
}
