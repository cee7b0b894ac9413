//! The server's half: challenges without state, then one look at the answer.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::challenge::Offer;
use super::credentials::{Authorization, count_digits, write_info};
use super::nonce::Nonces;
use super::response::{HexDigest, Request, Use, response, response_auth, session_key, user_hash};
use super::settings::{Kind, Secret, Settings, UriCheck};
use super::{Algorithm, Qop, Unusable};
use crate::Instant;
use crate::entropy::Seed;
use crate::wire::Uri;

/// Most field lines looked at in one message.
const MAX_LINES: usize = 16;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no credentials for this realm: 401.
    Missing,
    /// Its nonce is unknown, too old, or was used with that count already: 401
    /// with `stale=true`.
    Stale,
    /// The response is wrong, or the user unknown: 401.
    Denied,
    /// Its credentials are not what RFC 7616 section 3.4 describes: 400.
    Malformed,
}

/// What a request claims, before the secret is known.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    answer: Authorization<'a>,
    algorithm: Algorithm,
    stamp: u64,
}

impl Claim<'_> {
    /// The user's name, or its hash.
    pub fn user(&self) -> &[u8] {
        self.answer.user()
    }

    /// Whether [`user`](Self::user) is a hash (RFC 7616 section 3.4.4).
    pub const fn is_hashed(&self) -> bool {
        self.answer.userhash
    }

    /// Names the nonce.
    pub(crate) const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The algorithm: an HA1 has to be by its hash.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// An authenticated request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The user's name.
    pub user: Vec<u8>,
    /// The value of Authentication-Info for a 2xx without body (RFC 7616
    /// section 3.5); empty for an answer in the way of RFC 2069.
    pub info: Vec<u8>,
}

/// Challenges and verifies in one realm.
#[derive(Debug, Clone)]
pub struct Server {
    settings: Settings,
    nonces: Nonces,
}

impl Server {
    /// A server that remembers at most `limit` nonces in use, in 24 bytes each.
    /// Nonces are bound to `seed`, and none from before `now` is good: nothing
    /// that was captured earlier can be used against a restarted server.
    pub fn new(settings: Settings, seed: &Seed, limit: u32, now: Instant) -> Self {
        Self { settings, nonces: Nonces::new(seed, limit, now) }
    }

    /// What it was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Appends one WWW-Authenticate line for each algorithm, best first. The
    /// client that gets them costs no memory.
    pub fn write_challenges(&mut self, now: Instant, stale: bool, out: &mut Vec<u8>) {
        let realm = self.settings.realm.as_bytes();
        let nonce = self.nonces.issue(now, realm);
        for algorithm in &self.settings.algorithms {
            out.extend_from_slice(b"WWW-Authenticate: ");
            let offer = Offer {
                realm,
                nonce: &nonce,
                algorithm: *algorithm,
                auth: true,
                auth_int: self.settings.integrity,
                stale,
                userhash: self.settings.userhash,
            };
            offer.write(out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Looks at the Authorization lines of a request, without a word about the
    /// user: nothing changes, nothing is kept.
    ///
    /// # Errors
    /// [`Refusal`]: what to answer.
    pub fn check<'a>(
        &self,
        now: Instant,
        lines: impl Iterator<Item = &'a [u8]>,
        request_uri: &[u8],
        to_uri: &[u8],
    ) -> Result<Claim<'a>, Refusal> {
        let own = self.settings.realm.as_bytes();
        for line in lines.take(MAX_LINES) {
            let answer = match Authorization::parse(line) {
                Ok(answer) => answer,
                Err(Unusable::Scheme) => continue,
                Err(_) => return Err(Refusal::Malformed),
            };
            if *answer.realm() != *own {
                continue;
            }
            let Some(algorithm) = answer.algorithm.filter(|a| self.settings.algorithms.contains(a)) else { continue };
            let offered = match answer.qop {
                Some(Qop::Auth) => true,
                Some(Qop::AuthInt) => self.settings.integrity,
                None => self.settings.without_qop,
            };
            if !offered {
                continue;
            }
            let uri = answer.uri();
            let other = self.settings.uri_check == UriCheck::RequestOrTo && is_uri_of_to(&uri, to_uri);
            if !other && !same_uri(&uri, request_uri) {
                return Err(Refusal::Malformed);
            }
            let stamp = self.nonces.read(&answer.nonce(), own, now, self.settings.life).ok_or(Refusal::Stale)?;
            if !self.nonces.is_fresh(stamp, count(&answer), self.settings.reordering) {
                return Err(Refusal::Stale);
            }
            return Ok(Claim { answer, algorithm, stamp });
        }
        Err(Refusal::Missing)
    }

    /// Verifies a claim with the user's secret; `None` is an unknown user, who
    /// is refused in the same time and with the same answer as a wrong
    /// password. The body is hashed for `auth-int` only.
    ///
    /// # Errors
    /// [`Refusal::Denied`] or [`Refusal::Stale`].
    pub fn verify(
        &mut self,
        now: Instant,
        claim: &Claim<'_>,
        secret: Option<&Secret>,
        method: &[u8],
        body: &[&[u8]],
    ) -> Result<Verified, Refusal> {
        let (answer, algorithm) = (&claim.answer, claim.algorithm);
        let realm = self.settings.realm.as_bytes();
        let plain = secret.and_then(|secret| secret.user.as_deref());
        let user = plain.unwrap_or(answer.user());
        // Whoever the user is, one password is hashed.
        let nobody = self.nonces.constant(user).to_be_bytes();
        let password = match secret.map(|secret| &secret.kind) {
            Some(Kind::Password(password)) => password,
            Some(Kind::Ha1(..)) | None => nobody.as_slice(),
        };
        let hashed = user_hash(algorithm, user, realm, password);
        let (known, user_hash) = match secret.map(|secret| &secret.kind) {
            Some(Kind::Password(_)) => (plain.is_some() || !answer.userhash, hashed),
            Some(Kind::Ha1(of, digest)) if of.hash() == algorithm.hash() => (true, *digest),
            Some(Kind::Ha1(..)) | None => (false, hashed),
        };
        let (nonce, cnonce) = (answer.nonce(), answer.cnonce());
        let how = Use { nonce: &nonce, qop: answer.qop, nc: answer.nc(), cnonce: &cnonce };
        let key = session_key(algorithm, &user_hash, &nonce, &cnonce);
        let uri = answer.uri();
        let expected = response(algorithm, &key, &how, &Request { method, uri: &uri, body });
        if !(expected.matches(&answer.response()) & known) {
            return Err(Refusal::Denied);
        }
        let (life, reordering) = (self.settings.life, self.settings.reordering);
        if !self.nonces.take(claim.stamp, count(answer), reordering, now, life) {
            return Err(Refusal::Stale);
        }
        let info = self.info(now, claim, &key, &how);
        Ok(Verified { user: user.to_vec(), info })
    }

    fn info(&mut self, now: Instant, claim: &Claim<'_>, key: &HexDigest, how: &Use<'_>) -> Vec<u8> {
        let mut info = Vec::new();
        let Some(qop) = how.qop else { return info };
        let uri: Cow<'_, [u8]> = claim.answer.uri();
        let proof = response_auth(claim.algorithm, key, how, &uri, &[]);
        // A session key outlives its nonce, which nobody could verify without state.
        let age = self.nonces.age(claim.stamp, now);
        let aged = age.saturating_mul(2) > self.settings.life && !claim.algorithm.is_session();
        let next = aged.then(|| self.nonces.issue(now, self.settings.realm.as_bytes()));
        let next = next.as_ref().map(<[u8; super::nonce::NONCE_LEN]>::as_slice);
        write_info(next, proof.as_bytes(), (qop, &count_digits(claim.answer.count()), how.cnonce), &mut info);
        info
    }

    /// A number that changes with every nonce issued or used.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.nonces.fingerprint()
    }

    #[cfg(test)]
    pub(super) fn nonces(&self) -> &Nonces {
        &self.nonces
    }
}

/// An answer without `qop` uses its nonce up.
const fn count(answer: &Authorization<'_>) -> u32 {
    if answer.qop.is_some() { answer.count() } else { u32::MAX }
}

fn same_uri(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((Uri::parse(a), Uri::parse(b)), (Ok(a), Ok(b)) if a.equivalent(&b))
}

/// To holds less than a Request-URI may, such as no port (RFC 3261 section 19.1.1).
fn is_uri_of_to(uri: &[u8], to: &[u8]) -> bool {
    let mut shown = Vec::new();
    if let Ok(uri) = Uri::parse(uri) {
        uri.write_from_to(&mut shown);
    }
    same_uri(uri, to) || same_uri(&shown, to)
}
