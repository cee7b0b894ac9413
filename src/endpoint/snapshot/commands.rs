//! Saving on the endpoint: as on the agent.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::Endpoint;
use crate::Instant;
use crate::error::{Misuse, RestoreError};
use crate::event::ObjectId;
use crate::snapshot::SnapshotWriter;

/// Saving and going on.
impl Endpoint {
    /// A snapshot of the state at `now`, to be written in steps that look at
    /// `per_step` records each (the last one besides at the addresses that
    /// [`Limits::unproven`](crate::Limits::unproven) bounds); call
    /// [`SnapshotWriter::step`] until it is done.
    /// Poll all transmits and all events first: those that wait are not saved.
    pub fn snapshot(&self, now: Instant, per_step: u32) -> SnapshotWriter {
        SnapshotWriter::new(now.max(self.now), per_step)
    }

    /// See [`Agent::export`](crate::Agent::export).
    ///
    /// # Errors
    /// Those of [`Agent::export`](crate::Agent::export).
    pub fn export(&self, now: Instant, object: impl Into<ObjectId>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        self.agent.export(now.max(self.now), object, out)
    }

    /// See [`Agent::import`](crate::Agent::import).
    ///
    /// # Errors
    /// Those of [`Agent::import`](crate::Agent::import).
    pub fn import(&mut self, now: Instant, age: Duration, record: &[u8]) -> Result<ObjectId, RestoreError> {
        let now = self.advance(now);
        self.agent.import(now, age, record)
    }

    /// See [`Agent::forget`](crate::Agent::forget).
    ///
    /// # Errors
    /// Those of [`Agent::forget`](crate::Agent::forget).
    pub fn forget(&mut self, now: Instant, object: impl Into<ObjectId>) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.forget(now, object)
    }

    /// See [`Agent::poll_changed`](crate::Agent::poll_changed).
    pub fn poll_changed(&mut self) -> Option<ObjectId> {
        self.agent.poll_changed()
    }

    /// The latest `now`.
    #[cfg(feature = "testing")]
    pub(crate) const fn latest(&self) -> Instant {
        self.now
    }

    /// Whether nothing is queued, undecided, awaited or in flight: no
    /// transaction is open, none lingers, no NOTIFY is due, and no name is
    /// being looked up. A snapshot that is taken now loses nothing but what
    /// authentication has learned: challenged nonces, and credentials.
    pub fn is_quiescent(&self) -> bool {
        self.agent.is_quiescent() && self.core.is_quiescent() && self.stalled.is_none() && !self.drained
    }
}
