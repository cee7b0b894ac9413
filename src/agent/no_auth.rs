//! Without the feature `digest`: nobody is asked for credentials, and every
//! challenge stands.

use alloc::vec::Vec;

use super::Agent;
use super::dialogs::Placed;
use super::message::{Origin, Subject, Token};
use crate::Instant;
use crate::codec::Writer;
use crate::config::Config;
use crate::entropy::Seed;
use crate::error::Handled;
use crate::id::RawId;
use crate::timers::TimerHeap;
use crate::wire::{MessageView, StatusCode};

/// A subscription has no credentials.
pub(crate) type Keyring = ();
pub(crate) const NO_KEYS: Keyring = ();

/// What to do about a 401 or 407.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub(super) enum Verdict {
    Retry,
    Wait,
    Fail,
}

#[derive(Debug, Clone)]
pub(crate) struct Trial;

impl Trial {
    #[allow(clippy::unused_self)]
    pub(in crate::agent) const fn asking_until(&self) -> Option<Instant> {
        None
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Auth {
    pub(super) claim_timers: TimerHeap,
}

impl Auth {
    pub(super) const fn new(_config: &Config, _seed: &Seed, _now: Instant) -> Self {
        Self { claim_timers: TimerHeap::new() }
    }

    #[allow(clippy::unused_self)]
    pub(super) const fn put_all(&self, _w: &mut Writer<'_>) {}

    #[allow(clippy::unused_self)]
    pub(super) const fn is_idle(&self) -> bool {
        true
    }
}

#[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)]
impl Agent {
    pub(super) fn authorise(
        &mut self,
        _whose: Subject,
        _method: &[u8],
        _start: usize,
        _placed: &mut Placed,
        _body: &[&[u8]],
        _head: &mut Vec<u8>,
    ) {
    }

    pub(super) fn challenged<V: MessageView + ?Sized>(
        &mut self,
        _now: Instant,
        _whose: Subject,
        _status: StatusCode,
        _message: &V,
    ) -> Verdict {
        Verdict::Fail
    }

    pub(super) fn trial_over(&mut self, _whose: Subject) {}

    pub(super) fn trial_moves(&mut self, _whose: Subject) {}

    pub(super) fn take_info<V: MessageView + ?Sized>(&mut self, _whose: Subject, _message: &V) {}

    pub(super) fn forget_call(&mut self, _of_watcher: bool, _call_id: &[u8]) {}

    pub(super) fn ask_over(&mut self, _now: Instant, _id: RawId) -> Option<StatusCode> {
        None
    }

    pub(super) fn guard<V: MessageView + ?Sized>(
        &mut self,
        _now: Instant,
        from: &Origin,
        _is_notify: bool,
        _token: Token,
        _message: &V,
    ) -> Result<Origin, Handled> {
        Ok(from.clone())
    }

    pub(super) fn claim_timeout(&mut self, _slot: u32) {}

    pub(super) fn forget_claim(&mut self, _token: Token) {}

    pub(super) fn drop_claims(&mut self) {}
}
