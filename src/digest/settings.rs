//! What a server decides once, and what it keeps of its users.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::response::{HexDigest, user_hash};
use super::{Algorithm, MAX_VALUE};
use crate::error::ConfigError;

/// A user's password, or what may be kept in place of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub(crate) kind: Kind,
    pub(crate) user: Option<Box<[u8]>>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Password(Box<[u8]>),
    /// `H(user:realm:password)` by the hash of that algorithm.
    Ha1(Algorithm, HexDigest),
}

impl Secret {
    /// A password, as the octets that are hashed: UTF-8 in NFC (RFC 7616
    /// section 4).
    pub fn password(password: impl AsRef<[u8]>) -> Self {
        Self { kind: Kind::Password(password.as_ref().into()), user: None }
    }

    /// `H(user:realm:password)` as hexadecimal digits, by the hash of
    /// `algorithm`; good for that hash and realm alone. `None` if the number of
    /// digits is another.
    pub fn ha1(algorithm: Algorithm, digits: &str) -> Option<Self> {
        let digest = HexDigest::from_hex(algorithm, digits.as_bytes())?;
        Some(Self { kind: Kind::Ha1(algorithm, digest), user: None })
    }

    /// Tells the user's plain name, where the request came with a hashed one
    /// (RFC 7616 section 3.4.4).
    #[must_use]
    pub fn named(mut self, user: impl AsRef<[u8]>) -> Self {
        self.user = Some(user.as_ref().into());
        self
    }

    /// `H(user:realm:password)`, if this secret can give it for that algorithm.
    pub(super) fn user_hash(&self, algorithm: Algorithm, user: &[u8], realm: &[u8]) -> Option<HexDigest> {
        match &self.kind {
            Kind::Password(password) => Some(user_hash(algorithm, user, realm, password)),
            Kind::Ha1(of, digest) => (of.hash() == algorithm.hash()).then_some(*digest),
        }
    }
}

impl fmt::Debug for Secret {
    /// Tells the kind and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Password(_) => f.write_str("Secret::Password(..)"),
            Kind::Ha1(algorithm, _) => write!(f, "Secret::Ha1({algorithm:?}, ..)"),
        }
    }
}

/// Users whose secrets are at hand, so that nobody has to wait for them.
pub trait UserStore: fmt::Debug + Send + Sync {
    /// The secret of `user` in `realm`, good for `algorithm`. `user` is a hash
    /// of the name if `hashed`; then the secret has to be
    /// [`named`](Secret::named). Take the same time for those who are unknown.
    fn secret(&self, user: &[u8], hashed: bool, realm: &str, algorithm: Algorithm) -> Option<Secret>;
}

/// Which `uri` an answer may be for (RFC 3261 section 22.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UriCheck {
    /// The Request-URI.
    #[default]
    Request,
    /// That or the URI of To, which a proxy before us leaves as it was when it
    /// rewrites the Request-URI.
    RequestOrTo,
}

/// How a server authenticates.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) realm: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) integrity: bool,
    pub(crate) life: Duration,
    pub(crate) reordering: bool,
    pub(crate) without_qop: bool,
    pub(crate) userhash: bool,
    pub(crate) uri_check: UriCheck,
    pub(crate) users: Option<Arc<dyn UserStore>>,
    pub(crate) notify: bool,
}

impl Settings {
    /// Authentication in `realm`, which should contain the domain (RFC 3261
    /// section 22.1): SHA-256, `auth`, nonces that live for five minutes, and
    /// users that are asked for by an event.
    ///
    /// # Errors
    /// [`ConfigError::Text`] for an empty or overlong realm, or one with
    /// control characters.
    pub fn new(realm: &str) -> Result<Self, ConfigError> {
        if realm.is_empty() || realm.len() > MAX_VALUE / 4 || realm.bytes().any(|b| b.is_ascii_control()) {
            return Err(ConfigError::Text);
        }
        Ok(Self {
            realm: realm.into(),
            algorithms: Vec::from([Algorithm::Sha256]),
            integrity: false,
            life: Duration::from_secs(300),
            reordering: false,
            without_qop: false,
            userhash: false,
            uri_check: UriCheck::Request,
            users: None,
            notify: false,
        })
    }

    /// The protection space.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Offers these algorithms, best first whatever the order given (RFC 8760
    /// section 2.3); none leaves SHA-256. Most peers before RFC 8760 know
    /// [`Algorithm::Md5`] only, and some look at the first challenge only.
    #[must_use]
    pub fn algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        let chosen: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|a| algorithms.contains(a)).collect();
        if !chosen.is_empty() {
            self.algorithms = chosen;
        }
        self
    }

    /// Offers `auth-int` as well.
    #[must_use]
    pub const fn integrity(mut self, yes: bool) -> Self {
        self.integrity = yes;
        self
    }

    /// How long a nonce is good for: at least a second.
    #[must_use]
    pub fn nonce_life(mut self, life: Duration) -> Self {
        self.life = life.max(Duration::from_secs(1));
        self
    }

    /// Takes a nonce count up to 63 below the highest one, if it was not seen
    /// before, instead of asking for a new nonce: for clients with several
    /// requests under way over datagrams.
    #[must_use]
    pub const fn reordering(mut self, yes: bool) -> Self {
        self.reordering = yes;
        self
    }

    /// Takes answers without `qop`, in the way of RFC 2069, each nonce once.
    #[must_use]
    pub const fn without_qop(mut self, yes: bool) -> Self {
        self.without_qop = yes;
        self
    }

    /// Offers to take the user's name hashed (RFC 7616 section 3.4.4).
    #[must_use]
    pub const fn userhash(mut self, yes: bool) -> Self {
        self.userhash = yes;
        self
    }

    /// Which `uri` an answer may be for.
    #[must_use]
    pub const fn uri_check(mut self, check: UriCheck) -> Self {
        self.uri_check = check;
        self
    }

    /// Looks users up here instead of asking by event.
    #[must_use]
    pub fn users(mut self, users: Arc<dyn UserStore>) -> Self {
        self.users = Some(users);
        self
    }

    /// Asks for credentials in NOTIFYs as well (RFC 6665 section 4.1.3).
    #[must_use]
    pub const fn notify(mut self, yes: bool) -> Self {
        self.notify = yes;
        self
    }
}
