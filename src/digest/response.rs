//! The computation (RFC 7616 section 3.4), and comparison in constant time.

use core::fmt;
use core::hint::black_box;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use super::{Algorithm, Hash, Qop};

const MAX_DIGITS: usize = 64;

/// A hash value as lower-case hexadecimal digits: 32 for MD5, 64 for the SHA-2
/// family (RFC 8760 section 2.2).
#[derive(Clone, Copy)]
pub struct HexDigest {
    digits: [u8; MAX_DIGITS],
    len: usize,
}

impl HexDigest {
    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    /// Reads digits of either case; `None` unless they are as many as
    /// `algorithm` makes.
    pub fn from_hex(algorithm: Algorithm, digits: &[u8]) -> Option<Self> {
        let len = digits_of(algorithm.hash());
        if digits.len() != len || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut own = [0; MAX_DIGITS];
        for (to, from) in own.iter_mut().zip(digits) {
            *to = from.to_ascii_lowercase();
        }
        Some(Self { digits: own, len })
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut digits = [0; MAX_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a'.wrapping_sub(10) });
            }
        }
        Self { digits, len: bytes.len().saturating_mul(2).min(MAX_DIGITS) }
    }

    /// Whether `given` is this value, digit for digit, in a time that depends
    /// on neither (reliability row 14): all digits are looked at whatever the
    /// first ones say, and a text of another length costs the same.
    pub fn matches(&self, given: &[u8]) -> bool {
        static OTHER: [u8; MAX_DIGITS] = [0; MAX_DIGITS];
        let fits = given.len() == self.len;
        let given = if fits { given } else { OTHER.get(..self.len).unwrap_or_default() };
        let mut difference = u8::from(!fits);
        for (own, theirs) in self.as_bytes().iter().zip(given) {
            difference |= black_box(own ^ theirs);
        }
        black_box(difference) == 0
    }
}

impl PartialEq for HexDigest {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.as_bytes())
    }
}

impl Eq for HexDigest {}

impl fmt::Debug for HexDigest {
    /// Prints no digit: an HA1 is as good as a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HexDigest(..)")
    }
}

const fn digits_of(hash: Hash) -> usize {
    match hash {
        Hash::Md5 => 32,
        Hash::Sha256 | Hash::Sha512_256 => 64,
    }
}

/// The request that a response vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, as in the request line.
    pub method: &'a [u8],
    /// The Request-URI, as in the request line.
    pub uri: &'a [u8],
    /// The body, in as many parts as the caller likes.
    pub body: &'a [&'a [u8]],
}

/// One use of a nonce.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// The nonce, without quotes.
    pub nonce: &'a [u8],
    /// What is vouched for; `None` against servers of RFC 2069.
    pub qop: Option<Qop>,
    /// The nonce count, 8 digits as sent; unused without `qop`.
    pub nc: &'a [u8],
    /// The client's nonce, without quotes; unused without `qop`.
    pub cnonce: &'a [u8],
}

/// `H(user:realm:password)`, which servers may keep in place of the password.
pub(super) fn user_hash(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> HexDigest {
    hash(algorithm.hash(), &[user, realm, password])
}

/// The name that userhash sends (RFC 7616 section 3.4.4).
pub(super) fn hashed_name(algorithm: Algorithm, user: &[u8], realm: &[u8]) -> HexDigest {
    hash(algorithm.hash(), &[user, realm])
}

/// The key of a session, from `H(user:realm:password)` (RFC 7616 section 3.4.2).
/// Without a session algorithm it is that value itself.
pub(super) fn session_key(algorithm: Algorithm, user: &HexDigest, nonce: &[u8], cnonce: &[u8]) -> HexDigest {
    if algorithm.is_session() { hash(algorithm.hash(), &[user.as_bytes(), nonce, cnonce]) } else { *user }
}

/// The `response` of a request, from the `key` H(A1).
pub fn response(algorithm: Algorithm, key: &HexDigest, how: &Use<'_>, request: &Request<'_>) -> HexDigest {
    let hash_kind = algorithm.hash();
    let a2 = match how.qop {
        Some(Qop::AuthInt) => {
            let body = hash_concat(hash_kind, request.body);
            hash(hash_kind, &[request.method, request.uri, body.as_bytes()])
        }
        Some(Qop::Auth) | None => hash(hash_kind, &[request.method, request.uri]),
    };
    match how.qop {
        Some(qop) => {
            let qop = qop.as_str().as_bytes();
            hash(hash_kind, &[key.as_bytes(), how.nonce, how.nc, how.cnonce, qop, a2.as_bytes()])
        }
        None => hash(hash_kind, &[key.as_bytes(), how.nonce, a2.as_bytes()]),
    }
}

/// The `rspauth` with which a server proves that it knows the key as well (RFC
/// 7616 section 3.5); `body` is that of the server's response.
pub fn response_auth(algorithm: Algorithm, key: &HexDigest, how: &Use<'_>, uri: &[u8], body: &[&[u8]]) -> HexDigest {
    response(algorithm, key, how, &Request { method: b"", uri, body })
}

/// The hash of `parts` with a colon between each two.
fn hash(kind: Hash, parts: &[&[u8]]) -> HexDigest {
    let separated = parts.iter().enumerate().flat_map(|(at, part)| [if at == 0 { b"".as_slice() } else { b":" }, part]);
    hash_all(kind, separated)
}

pub(super) fn hash_concat(kind: Hash, parts: &[&[u8]]) -> HexDigest {
    hash_all(kind, parts.iter().copied())
}

fn hash_all<'a>(kind: Hash, parts: impl Iterator<Item = &'a [u8]>) -> HexDigest {
    fn run<'a, D: Digest>(parts: impl Iterator<Item = &'a [u8]>) -> HexDigest {
        let mut state = D::new();
        for part in parts {
            state.update(part);
        }
        HexDigest::of_bytes(&state.finalize())
    }
    match kind {
        Hash::Md5 => run::<Md5>(parts),
        Hash::Sha256 => run::<Sha256>(parts),
        Hash::Sha512_256 => run::<Sha512_256>(parts),
    }
}
