//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760), without
//! messages and without time of its own: field values in, field values out.
//!
//! [`Agent`](crate::Agent) and [`Endpoint`](crate::Endpoint) use it by
//! themselves; what an application needs are [`Credentials`] as client, and
//! [`Settings`] and [`Secret`] as server. The rest is here for those who
//! authenticate other requests than SUBSCRIBE and NOTIFY.
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod challenge;
mod client;
mod credentials;
mod nonce;
mod params;
mod response;
mod server;
mod settings;

pub use challenge::{Challenge, Unusable};
pub use client::{Choice, Credentials, Session, choose};
pub use credentials::{Authorization, Info};
pub use response::{HexDigest, Request, Use, response, response_auth};
pub use server::{Claim, Refusal, Server, Verified};
pub(crate) use settings::Kind as SecretKind;
pub use settings::{Secret, Settings, UriCheck, UserStore};

/// Longest realm, nonce, opaque and user name that are dealt with, bytes.
pub const MAX_VALUE: usize = 1024;

/// An algorithm (RFC 7616 section 6.1, RFC 8760 section 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5: for old peers only (RFC 8760 section 3).
    Md5,
    /// MD5 with a session key.
    Md5Sess,
    /// SHA-256.
    Sha256,
    /// SHA-256 with a session key.
    Sha256Sess,
    /// SHA-512/256, which is not SHA-512 cut short (FIPS 180-4).
    Sha512_256,
    /// SHA-512/256 with a session key.
    Sha512_256Sess,
}

impl Algorithm {
    /// All algorithms, best first.
    pub const ALL: [Self; 6] =
        [Self::Sha512_256, Self::Sha256, Self::Sha512_256Sess, Self::Sha256Sess, Self::Md5, Self::Md5Sess];

    /// The token, as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// The algorithm of that token, in any case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str().as_bytes().eq_ignore_ascii_case(token))
    }

    /// Whether the key is made once per nonce and cnonce (RFC 7616 section 3.4.2).
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    const fn hash(self) -> Hash {
        match self {
            Self::Md5 | Self::Md5Sess => Hash::Md5,
            Self::Sha256 | Self::Sha256Sess => Hash::Sha256,
            Self::Sha512_256 | Self::Sha512_256Sess => Hash::Sha512_256,
        }
    }
}

/// The hash function behind an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

/// What a response covers (RFC 7616 section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// Method, URI and body.
    AuthInt,
}

impl Qop {
    /// The token, as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|q| q.as_str().as_bytes().eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests;
