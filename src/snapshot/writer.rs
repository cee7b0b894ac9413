//! Writing a snapshot, a bounded number of objects at a time.

use alloc::vec::Vec;
use core::fmt;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::tables::Cursor;
use super::{SNAPSHOT, TAIL_LEN, begin, checksum, finish};
use crate::Instant;
use crate::codec::{Mode, Writer};

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to write: call `step` again.
    More,
    /// The snapshot is whole.
    Done,
}

/// Writes a snapshot piece by piece, since a million subscriptions do not fit
/// one short call. [`Endpoint::snapshot`](crate::Endpoint::snapshot) and
/// [`Agent::snapshot`](crate::Agent::snapshot) begin one.
///
/// The endpoint may go on between the steps: each object is saved as it is
/// when its turn comes, and what comes, changes or ends after its turn is
/// in the snapshot as it was. A restored endpoint makes up for that as for
/// anything that it has missed; only a `rehome` that came meanwhile is to be
/// repeated on it. When no input comes between the steps the
/// snapshot is exact.
#[derive(Clone)]
pub struct SnapshotWriter {
    base: Instant,
    /// Records that one step looks at.
    per_step: u32,
    cursors: [Cursor; 2],
    check: SipHasher24,
    len: u64,
    done: bool,
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter").field("len", &self.len).field("done", &self.done).finish_non_exhaustive()
    }
}

impl SnapshotWriter {
    pub(crate) fn new(base: Instant, per_step: u32) -> Self {
        Self {
            base,
            per_step: per_step.max(1),
            cursors: [Cursor::default(); 2],
            check: checksum(),
            len: 0,
            done: false,
        }
    }

    /// Lets `write` append the next piece; it is told whether that is the
    /// first one, and how far each layer has come, and says whether all is
    /// written.
    pub(crate) fn piece(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(bool, &mut [Cursor; 2], &mut Writer<'_>) -> bool,
    ) -> Progress {
        if self.done {
            return Progress::Done;
        }
        let start = out.len();
        let mut w = Writer::new(out, self.base, Mode::Saved);
        if self.len == 0 {
            begin(&mut w, SNAPSHOT);
        }
        for cursor in &mut self.cursors {
            cursor.budget = self.per_step;
        }
        let whole = write(self.len == 0, &mut self.cursors, &mut w);
        let piece = out.get(start..).unwrap_or_default();
        self.check.write(piece);
        self.len = self.len.saturating_add(piece.len() as u64);
        if !whole {
            return Progress::More;
        }
        self.done = true;
        finish(out, self.check, self.len.saturating_add(TAIL_LEN as u64));
        Progress::Done
    }

    /// Bytes written so far.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
