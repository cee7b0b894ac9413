//! The agent's tables, written in steps.

use alloc::vec::Vec;

use super::super::Agent;
use crate::codec::Writer;
use crate::id::RawId;
use crate::snapshot::{Cursor, Progress, SnapshotWriter, put_free, put_slots};

/// The stages of the agent's part, in order.
const STAGES: u8 = 13;

impl Agent {
    /// Writes on, as far as the cursor's budget goes. Whether all is written.
    pub(crate) fn save_step(&self, cursor: &mut Cursor, w: &mut Writer<'_>) -> bool {
        while cursor.budget > 0 && cursor.stage < STAGES {
            match cursor.stage {
                0 => put_slots(&self.resources, cursor, w, |_| true, |w, _, resource| self.put_resource(w, resource)),
                1 => put_free(&self.resources, cursor, w, |_| true),
                2 => put_slots(&self.attempts, cursor, w, |_| true, |w, _, attempt| self.put_attempt(w, attempt)),
                3 => put_free(&self.attempts, cursor, w, |_| true),
                4 => put_slots(
                    &self.subscriptions,
                    cursor,
                    w,
                    |_| true,
                    |w, id, subscription| {
                        self.put_attempt_of(w, id, subscription);
                        self.put_subscription(w, subscription);
                    },
                ),
                5 => put_free(&self.subscriptions, cursor, w, |_| true),
                6 => put_slots(
                    &self.watchers,
                    cursor,
                    w,
                    |_| true,
                    |w, _, watcher| {
                        self.put_resource_of(w, watcher);
                        self.put_watcher(w, watcher);
                    },
                ),
                7 => put_free(&self.watchers, cursor, w, |_| true),
                // Who subscribed and was not answered will ask again.
                8 => put_slots(&self.incoming, cursor, w, |_| false, |_, _, _| {}),
                9 => put_free(&self.incoming, cursor, w, |_| false),
                10 => self.put_orphans(cursor, w),
                11 => {
                    self.put_sweeps(w);
                    cursor.next_stage();
                }
                _ => {
                    w.word(self.entropy.counter());
                    cursor.next_stage();
                }
            }
        }
        cursor.stage >= STAGES
    }

    fn put_orphans(&self, cursor: &mut Cursor, w: &mut Writer<'_>) {
        while cursor.spend() {
            let Some(orphan) = self.orphans.get(cursor.at as usize) else {
                w.put(&false);
                return cursor.next_stage();
            };
            if self.is_orphan(*orphan) {
                w.put(&true);
                w.put(&orphan.slot);
            }
            cursor.at = cursor.at.saturating_add(1);
        }
    }

    pub(super) fn is_orphan(&self, id: RawId) -> bool {
        self.attempts.get(id).is_some_and(|attempt| attempt.subscriptions.is_empty() && attempt.window.is_some())
    }
}

impl SnapshotWriter {
    /// Appends the next piece of the snapshot of an [`Agent`] under another stack.
    pub fn step_agent(&mut self, agent: &Agent, out: &mut Vec<u8>) -> Progress {
        self.piece(out, |begins, [cursor, _], w| {
            if begins {
                w.put(&false);
                agent.save_head(w);
            }
            agent.save_step(cursor, w)
        })
    }
}
