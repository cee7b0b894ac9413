//! Authorization, Proxy-Authorization and Authentication-Info (RFC 3261
//! sections 20.6 and 20.7, RFC 7616 sections 3.4 and 3.5).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::params::{Writer, behind_scheme, scan};
use super::{Algorithm, MAX_VALUE, Qop, Unusable};
use crate::wire::lex::unquote;
use crate::wire::{ParseError, ParseErrorKind};

/// The Digest answer in one Authorization or Proxy-Authorization field line.
#[derive(Debug, Clone)]
pub struct Authorization<'a> {
    user: Cow<'a, [u8]>,
    realm: &'a [u8],
    nonce: &'a [u8],
    uri: &'a [u8],
    response: &'a [u8],
    cnonce: Option<&'a [u8]>,
    nc: Option<&'a [u8]>,
    count: u32,
    /// The algorithm; unnamed it is MD5. `None` for one that is not known.
    pub algorithm: Option<Algorithm>,
    /// What the response covers; `None` in the way of RFC 2069.
    pub qop: Option<Qop>,
    /// The user's name is hashed (RFC 7616 section 3.4.4).
    pub userhash: bool,
}

impl<'a> Authorization<'a> {
    /// Reads one field line.
    ///
    /// # Errors
    /// [`Unusable::Scheme`] for another scheme, which says nothing about this
    /// one; anything else is a defect of the request.
    pub fn parse(value: &'a [u8]) -> Result<Self, Unusable> {
        let rest = behind_scheme(value).ok_or(Unusable::Scheme)?;
        let mut user = None;
        let mut extended = None;
        let (mut realm, mut nonce, mut uri, mut response) = (None, None, None, None);
        let (mut cnonce, mut nc, mut qop, mut algorithm) = (None, None, None, None);
        let mut userhash = false;
        scan(rest, |param| {
            if param.is("username") {
                user = Some(param.value);
            } else if param.is("username*") {
                extended = Some(param.value);
            } else if param.is("realm") {
                realm = Some(param.value);
            } else if param.is("nonce") {
                nonce = Some(param.value);
            } else if param.is("uri") {
                uri = Some(param.value);
            } else if param.is("response") {
                response = Some(param.value);
            } else if param.is("cnonce") {
                cnonce = Some(param.value);
            } else if param.is("nc") {
                nc = Some(param.value);
            } else if param.is("qop") {
                qop = Some(param.plain());
            } else if param.is("algorithm") {
                algorithm = Some(param.plain());
            } else if param.is("userhash") {
                userhash = param.plain().eq_ignore_ascii_case(b"true");
            }
        })
        .map_err(Unusable::Malformed)?;
        let malformed = || Unusable::Malformed(ParseError::new(ParseErrorKind::BadParameter, 0));
        let user = match (user, extended) {
            (Some(plain), None) => unquote(plain),
            // RFC 7616 section 3.4: never with userhash, never beside the other form.
            (None, Some(extended)) if !userhash => Cow::Owned(extended_value(extended).ok_or_else(malformed)?),
            (None, None) => return Err(Unusable::Incomplete),
            _ => return Err(malformed()),
        };
        let (Some(realm), Some(nonce), Some(uri), Some(response)) = (realm, nonce, uri, response) else {
            return Err(Unusable::Incomplete);
        };
        if user.len() > MAX_VALUE
            || [realm, nonce, cnonce.unwrap_or_default()].iter().any(|value| unquote(value).len() > MAX_VALUE)
        {
            return Err(Unusable::TooLong);
        }
        let algorithm = match &algorithm {
            Some(token) => Algorithm::from_token(token),
            None => Some(Algorithm::Md5),
        };
        let qop = match &qop {
            Some(token) => Some(Qop::from_token(token).ok_or(Unusable::Qop)?),
            None => None,
        };
        let nc = nc.map(unquoted_token);
        let count = match nc {
            Some(digits) => read_count(digits).ok_or_else(malformed)?,
            None => 0,
        };
        // RFC 7616 section 3.4: with qop both are there.
        if qop.is_some() && (cnonce.is_none() || count == 0) {
            return Err(malformed());
        }
        Ok(Self { user, realm, nonce, uri, response, cnonce, nc, count, algorithm, qop, userhash })
    }

    /// The user's name, or its hash if [`userhash`](Self::userhash) says so.
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// The protection space, without quotes.
    pub fn realm(&self) -> Cow<'a, [u8]> {
        unquote(self.realm)
    }

    /// The nonce, without quotes.
    pub fn nonce(&self) -> Cow<'a, [u8]> {
        unquote(self.nonce)
    }

    /// The URI that the client sent the request to, without quotes.
    pub fn uri(&self) -> Cow<'a, [u8]> {
        unquote(self.uri)
    }

    /// The response's digits, as sent.
    pub fn response(&self) -> Cow<'a, [u8]> {
        unquote(self.response)
    }

    /// The client's nonce, without quotes; empty without one.
    pub fn cnonce(&self) -> Cow<'a, [u8]> {
        self.cnonce.map(unquote).unwrap_or_default()
    }

    /// The nonce count's digits, as sent; empty without one.
    pub fn nc(&self) -> &'a [u8] {
        self.nc.unwrap_or_default()
    }

    /// The nonce count; 0 without one.
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// What an answer of ours says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) user: &'a [u8],
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) uri: &'a [u8],
    pub(super) response: &'a [u8],
    pub(super) algorithm: Option<Algorithm>,
    pub(super) opaque: Option<&'a [u8]>,
    /// `qop`, `nc` and `cnonce`, which come together or not at all.
    pub(super) quality: Option<(Qop, &'a [u8], &'a [u8])>,
    pub(super) userhash: bool,
}

impl Answer<'_> {
    /// Appends the field's value, quoted where RFC 7616 section 3.4 says so.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Digest ");
        let mut writer = Writer::new(out);
        writer.quoted("username", self.user);
        writer.quoted("realm", self.realm);
        writer.quoted("nonce", self.nonce);
        writer.quoted("uri", self.uri);
        writer.quoted("response", self.response);
        if let Some(algorithm) = self.algorithm {
            writer.token("algorithm", algorithm.as_str().as_bytes());
        }
        if let Some((qop, nc, cnonce)) = self.quality {
            writer.token("qop", qop.as_str().as_bytes());
            writer.token("nc", nc);
            writer.quoted("cnonce", cnonce);
        }
        if let Some(opaque) = self.opaque {
            writer.quoted("opaque", opaque);
        }
        if self.userhash {
            writer.token("userhash", b"true");
        }
    }
}

/// The value of Authentication-Info.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Info<'a> {
    next_nonce: Option<&'a [u8]>,
    response_auth: Option<&'a [u8]>,
    cnonce: Option<&'a [u8]>,
    /// What `rspauth` covers.
    pub qop: Option<Qop>,
    /// The request's nonce count.
    pub count: Option<u32>,
}

impl<'a> Info<'a> {
    /// Reads the field's value. `None` if it is malformed.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut info = Self::default();
        let mut sound = true;
        scan(value, |param| {
            if param.is("nextnonce") {
                info.next_nonce = Some(param.value);
            } else if param.is("rspauth") {
                info.response_auth = Some(param.value);
            } else if param.is("cnonce") {
                info.cnonce = Some(param.value);
            } else if param.is("qop") {
                info.qop = Qop::from_token(&param.plain());
                sound &= info.qop.is_some();
            } else if param.is("nc") {
                info.count = read_count(unquoted_token(param.value));
                sound &= info.count.is_some();
            }
        })
        .ok()?;
        sound.then_some(info)
    }

    /// The nonce for the next request.
    pub fn next_nonce(&self) -> Option<Cow<'a, [u8]>> {
        self.next_nonce.map(unquote)
    }

    /// The server's proof.
    pub fn response_auth(&self) -> Option<Cow<'a, [u8]>> {
        self.response_auth.map(unquote)
    }

    /// The client's nonce.
    pub fn cnonce(&self) -> Option<Cow<'a, [u8]>> {
        self.cnonce.map(unquote)
    }
}

/// Writes the value of Authentication-Info; what has a `qop` has the proof and
/// all that it covers (RFC 7616 section 3.5).
pub(super) fn write_info(
    next_nonce: Option<&[u8]>,
    response_auth: &[u8],
    (qop, nc, cnonce): (Qop, &[u8], &[u8]),
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(out);
    if let Some(next_nonce) = next_nonce {
        writer.quoted("nextnonce", next_nonce);
    }
    writer.token("qop", qop.as_str().as_bytes());
    writer.quoted("rspauth", response_auth);
    writer.quoted("cnonce", cnonce);
    writer.token("nc", nc);
}

fn unquoted_token(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

/// Exactly eight hexadecimal digits; we send lower case and take either.
fn read_count(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    digits.iter().try_fold(0u32, |count, digit| Some((count << 4) | hex_value(*digit)?))
}

/// The eight digits of a nonce count.
pub(super) fn count_digits(count: u32) -> [u8; 8] {
    let mut digits = [b'0'; 8];
    let mut rest = count;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((rest & 15) as usize).copied().unwrap_or(b'0');
        rest >>= 4;
    }
    digits
}

/// An RFC 5987 value in UTF-8: `UTF-8''J%C3%A4s`.
fn extended_value(value: &[u8]) -> Option<Vec<u8>> {
    let value = unquoted_token(value);
    let mut parts = value.splitn(3, |b| *b == b'\'');
    let (charset, _language, mut rest) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case(b"UTF-8") {
        return None;
    }
    let mut plain = Vec::with_capacity(rest.len().min(MAX_VALUE));
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, tail @ ..] => {
                let value = (hex_value(*high)? << 4) | hex_value(*low)?;
                plain.push(u8::try_from(value).ok()?);
                tail
            }
            [b'%', ..] => return None,
            [byte, tail @ ..] => {
                plain.push(*byte);
                tail
            }
        };
    }
    Some(plain)
}

fn hex_value(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}
