//! The client's half: which challenge to answer, and the answers with a nonce
//! as long as it lasts.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use smallvec::SmallVec;

use super::challenge::Challenge;
use super::credentials::{Answer, Info, count_digits};
use super::response::{HexDigest, Request, Use, hashed_name, response, response_auth, session_key};
use super::settings::Secret;
use super::{Algorithm, MAX_VALUE, Qop};
use crate::error::Misuse;

/// Most challenges looked at in one response.
const MAX_LINES: usize = 16;
/// Most realms answered in one request.
const MAX_REALMS: usize = 4;

/// A user's name and secret, for one realm or for any.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) user: Box<[u8]>,
    pub(crate) realm: Option<Box<[u8]>>,
    pub(crate) secrets: SmallVec<[Secret; 1]>,
    pub(crate) md5: bool,
}

impl Credentials {
    /// A user and a secret, offered to whatever realm asks: to every peer on
    /// the way, that is, unless [`realm`](Self::realm) is called. Both are UTF-8
    /// in NFC (RFC 7616 section 4).
    ///
    /// # Errors
    /// [`Misuse::BadValue`] for a name that is empty, too long, or has a colon
    /// or control characters in it.
    pub fn new(user: &str, secret: Secret) -> Result<Self, Misuse> {
        let unfit = |b: u8| b == b':' || b.is_ascii_control();
        if user.is_empty() || user.len() > MAX_VALUE / 2 || user.bytes().any(unfit) {
            return Err(Misuse::BadValue);
        }
        Ok(Self { user: user.as_bytes().into(), realm: None, secrets: SmallVec::from_iter([secret]), md5: true })
    }

    /// Gives them to this realm alone.
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.as_bytes().into());
        self
    }

    /// Adds another secret, such as the HA1 by another hash.
    #[must_use]
    pub fn or(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Whether challenges that ask for MD5 are answered; they are by default,
    /// for the sake of peers before RFC 8760.
    #[must_use]
    pub const fn allow_md5(mut self, yes: bool) -> Self {
        self.md5 = yes;
        self
    }

    /// Whether they are meant for `realm`.
    pub fn suit(&self, realm: &[u8]) -> bool {
        self.realm.as_deref().is_none_or(|own| own == realm)
    }

    fn user_hash(&self, algorithm: Algorithm, realm: &[u8]) -> Option<HexDigest> {
        if !self.md5 && algorithm.hash() == super::Hash::Md5 {
            return None;
        }
        self.secrets.iter().find_map(|secret| secret.user_hash(algorithm, &self.user, realm))
    }
}

impl fmt::Debug for Credentials {
    /// Tells user and realm, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}", self.user.escape_ascii())?;
        match &self.realm {
            Some(realm) => write!(f, " in {})", realm.escape_ascii()),
            None => f.write_str(")"),
        }
    }
}

/// What to do about the challenges of one response.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Choice<'a, 'c> {
    /// What to answer, one challenge of each realm.
    pub answers: SmallVec<[(Challenge<'a>, &'c Credentials); 1]>,
    /// The first realm, if any, for which credentials are wanting.
    pub wanting: Option<Vec<u8>>,
}

/// Chooses what to answer: of each realm the topmost challenge that is
/// understood and that there are credentials for (RFC 8760 section 2.4).
pub fn choose<'a, 'c>(
    lines: impl Iterator<Item = &'a [u8]>,
    mut credentials: impl FnMut(&[u8]) -> Option<&'c Credentials>,
) -> Choice<'a, 'c> {
    let mut answers: SmallVec<[(Challenge<'a>, &'c Credentials); 1]> = SmallVec::new();
    let mut wanting: Vec<Vec<u8>> = Vec::new();
    for challenge in lines.take(MAX_LINES).filter_map(|line| Challenge::parse(line).ok()) {
        let realm = challenge.realm();
        if answers.iter().any(|(other, _)| other.realm() == realm) {
            continue;
        }
        match credentials(&realm).filter(|own| own.user_hash(challenge.algorithm, &realm).is_some()) {
            Some(own) if answers.len() < MAX_REALMS => answers.push((challenge, own)),
            Some(_) => {}
            None => wanting.push(realm.into_owned()),
        }
    }
    // A later challenge of the same realm may have been answerable.
    let wanting = wanting.into_iter().find(|realm| !answers.iter().any(|(other, _)| *other.realm() == **realm));
    Choice { answers, wanting }
}

/// A challenge that is being answered, with its nonce count.
#[derive(Debug, Clone)]
pub struct Session {
    proxy: bool,
    user: Box<[u8]>,
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    opaque: Option<Box<[u8]>>,
    algorithm: Algorithm,
    algorithm_named: bool,
    qop: Option<Qop>,
    userhash: bool,
    /// H(A1). That of a session algorithm stays when the nonce changes.
    key: HexDigest,
    cnonce: [u8; 16],
    count: u32,
    /// The URI of the latest request, which the server's proof covers.
    uri: Vec<u8>,
}

impl Session {
    /// Begins to answer `challenge`, which came in Proxy-Authenticate if
    /// `proxy`. `cnonce` has to be unpredictable. `None` if the credentials are
    /// of no use for it.
    pub fn new(proxy: bool, challenge: &Challenge<'_>, credentials: &Credentials, cnonce: u64) -> Option<Self> {
        let (realm, nonce) = (challenge.realm(), challenge.nonce());
        let user_hash = credentials.user_hash(challenge.algorithm, &realm)?;
        let mut digits = [0; 16];
        let (high, low) = digits.split_at_mut_checked(8)?;
        let parts = [cnonce >> 32, cnonce & u64::from(u32::MAX)].map(|part| u32::try_from(part).unwrap_or(0));
        high.copy_from_slice(&count_digits(parts.first().copied().unwrap_or(0)));
        low.copy_from_slice(&count_digits(parts.last().copied().unwrap_or(0)));
        let user = match challenge.userhash {
            true => hashed_name(challenge.algorithm, &credentials.user, &realm).as_bytes().into(),
            false => credentials.user.clone(),
        };
        Some(Self {
            proxy,
            user,
            algorithm: challenge.algorithm,
            algorithm_named: challenge.algorithm_named,
            qop: challenge.choose_qop(),
            userhash: challenge.userhash,
            key: session_key(challenge.algorithm, &user_hash, &nonce, &digits),
            cnonce: digits,
            count: 0,
            uri: Vec::new(),
            opaque: challenge.opaque().map(|opaque| opaque.as_ref().into()),
            realm: realm.as_ref().into(),
            nonce: nonce.as_ref().into(),
        })
    }

    /// The protection space.
    pub fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// Whether a proxy asked.
    pub const fn is_proxy(&self) -> bool {
        self.proxy
    }

    /// The nonce.
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// How often the nonce was used.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Appends the Authorization or Proxy-Authorization line for a request. No
    /// two requests get the same nonce count (RFC 7616 section 3.4).
    pub fn write(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        self.count = self.count.saturating_add(1);
        self.uri.clear();
        self.uri.extend_from_slice(request.uri);
        let nc = count_digits(self.count);
        let how = Use { nonce: &self.nonce, qop: self.qop, nc: &nc, cnonce: &self.cnonce };
        let value = response(self.algorithm, &self.key, &how, request);
        out.extend_from_slice(if self.proxy { b"Proxy-Authorization: " } else { b"Authorization: " });
        let answer = Answer {
            user: &self.user,
            realm: &self.realm,
            nonce: &self.nonce,
            uri: request.uri,
            response: value.as_bytes(),
            algorithm: Some(self.algorithm).filter(|_| self.algorithm_named),
            opaque: self.opaque.as_deref(),
            quality: self.qop.map(|qop| (qop, nc.as_slice(), self.cnonce.as_slice())),
            userhash: self.userhash,
        };
        answer.write(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Takes the Authentication-Info of a 2xx with that `body`. `false` if the
    /// server's proof is wrong or for another request than the latest one: then
    /// nothing changes.
    pub fn handle_info(&mut self, info: &Info<'_>, body: &[&[u8]]) -> bool {
        if let Some(proof) = info.response_auth() {
            if info.count.is_some_and(|count| count != self.count) {
                return false;
            }
            let nc = count_digits(self.count);
            let how = Use { nonce: &self.nonce, qop: info.qop.or(self.qop), nc: &nc, cnonce: &self.cnonce };
            let expected = response_auth(self.algorithm, &self.key, &how, &self.uri, body);
            if !expected.matches(&proof) {
                return false;
            }
        }
        if let Some(next) = info.next_nonce().filter(|next| !next.is_empty() && next.len() <= MAX_VALUE) {
            self.nonce = next.as_ref().into();
            self.count = 0;
        }
        true
    }
}
