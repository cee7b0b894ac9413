//! Digest authentication of SUBSCRIBE and NOTIFY, both ways (RFC 3261 section
//! 22).

mod client;
mod held;
mod keys;
mod server;
mod wallet;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Instant;
use crate::codec::{Mode, Writer};
use crate::config::{Authentication, Config};
use crate::digest::{Credentials, Server};
use crate::entropy::Seed;
use crate::id::Arena;
use crate::timers::TimerHeap;

pub(crate) use client::{MAX_CREDENTIALS, Trial};
use held::Held;
use wallet::Wallet;

/// A subscription's own credentials.
pub(crate) type Keyring = Vec<Credentials>;
pub(crate) const NO_KEYS: Keyring = Vec::new();

/// What to do about a 401 or 407.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request goes out again, with credentials.
    Retry,
    /// The application was asked for credentials.
    Wait,
    /// The refusal stands.
    Fail,
}

/// The agent's part of authentication.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    /// For challenges that a subscription has no credentials of its own for.
    credentials: Arc<Vec<Credentials>>,
    wallet: Wallet,
    server: Option<Box<Server>>,
    /// Requests whose user is being looked up.
    claims: Arena<Box<Held>>,
    /// Their nonces: one challenge is worth one look-up at a time.
    claimed: BTreeSet<u64>,
    pub(super) claim_timers: TimerHeap,
}

impl Auth {
    pub(super) fn new(config: &Config, seed: &Seed, now: Instant) -> Self {
        let server = match &config.authentication {
            Some(Authentication::Digest(settings)) => {
                Some(Box::new(Server::new((**settings).clone(), seed, config.limits.nonces, now)))
            }
            _ => None,
        };
        Self {
            credentials: Arc::default(),
            wallet: Wallet::new(config.limits.sessions),
            server,
            claims: Arena::new(config.limits.incoming),
            claimed: BTreeSet::new(),
            claim_timers: TimerHeap::new(),
        }
    }

    /// What later output depends on. Secrets are left out, and with them the
    /// sessions: no successor has those, and a challenge replaces them.
    pub(super) fn put_all(&self, w: &mut Writer<'_>) {
        let Self { credentials, wallet, server, claims, claimed: _, claim_timers: _ } = self;
        for (_, held) in claims.iter() {
            held.put(w);
        }
        if w.is(Mode::Exact) {
            w.put(alloc::format!("{credentials:?}").as_str());
            wallet.put(w);
            w.put(&server.as_ref().map_or(0, |server| server.fingerprint()));
        }
    }

    fn drop_claim(&mut self, slot: u32) -> Option<Box<Held>> {
        self.claim_timers.set(slot, None);
        let held = self.claims.remove(slot)?;
        self.claimed.remove(&held.stamp);
        Some(held)
    }

    /// Whether nobody is being looked up.
    pub(super) const fn is_idle(&self) -> bool {
        self.claims.len() == 0
    }
}
