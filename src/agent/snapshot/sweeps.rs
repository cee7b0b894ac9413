//! Work on many objects that a snapshot found unfinished.

use alloc::vec::Vec;

use super::super::Agent;
use super::super::flows::FlowId;
use super::super::message::Subject;
use super::super::moves::Sweep;
use crate::codec::{Reader, Writer};
use crate::error::RestoreError;
use crate::flow::Flow;
use crate::id::RawId;

const END: u64 = 0;
const GONE: u64 = 1;
const MOVE: u64 = 2;

impl Agent {
    /// Of the users of a connection only the next one: they are in order, and
    /// those who follow are known by their own records.
    pub(super) fn put_sweeps(&self, w: &mut Writer<'_>) {
        for sweep in &self.sweeps {
            match sweep {
                Sweep::Gone { flow, users } => {
                    let Some((record, next)) = self.flows.get(*flow).zip(users.last()) else { continue };
                    let (Subject::Subscription(id) | Subject::Watcher(id)) = next;
                    w.word(GONE);
                    w.put(&record.flow());
                    w.put(&matches!(next, Subject::Watcher(_)));
                    w.put(id);
                }
                Sweep::Move { from, to, subscriptions, watchers } => {
                    w.word(MOVE);
                    w.put(from);
                    w.put(to);
                    w.put(subscriptions);
                    w.put(watchers);
                }
            }
        }
        w.word(END);
    }

    /// The connections among what is unfinished, and the next user of each, for
    /// [`resume_sweeps`](Self::resume_sweeps).
    pub(super) fn read_sweeps(&mut self, r: &mut Reader<'_>) -> Result<Vec<(FlowId, Subject)>, RestoreError> {
        let mut swept = Vec::new();
        loop {
            match r.word()? {
                END => return Ok(swept),
                GONE => {
                    let (flow, (is_watcher, id)): (Flow, (bool, RawId)) = r.get()?;
                    let flow = self.adopt_flow(Some((flow, true)))?.ok_or(RestoreError::Malformed)?;
                    swept.push((flow, if is_watcher { Subject::Watcher(id) } else { Subject::Subscription(id) }));
                    self.sweeps.push_back(Sweep::Gone { flow, users: Vec::new() });
                }
                MOVE => {
                    let ((from, to), (subscriptions, watchers)) = r.get()?;
                    self.sweeps.push_back(Sweep::Move { from, to, subscriptions, watchers });
                }
                _ => return Err(RestoreError::Malformed),
            }
        }
    }

    /// Who is left, once it is known who uses the connections.
    pub(super) fn resume_sweeps(&mut self, swept: Vec<(FlowId, Subject)>) {
        let mut swept = swept.into_iter();
        let mut sweeps = core::mem::take(&mut self.sweeps);
        for sweep in &mut sweeps {
            if let Sweep::Gone { users, .. } = sweep
                && let Some((flow, next)) = swept.next()
            {
                let listed = self.flows.get(flow).map(|record| record.users().to_vec()).unwrap_or_default();
                *users = self.living_users(flow, listed);
                users.retain(|user| *user >= next);
                users.reverse();
            }
        }
        self.sweeps = sweeps;
    }

    /// A new life goes through everybody from the start: some may have been
    /// saved before their turn came, in a snapshot that was written in steps.
    /// Connections are lost for all their users at once.
    pub(super) fn restart_sweeps(&mut self) {
        let sweeps = core::mem::take(&mut self.sweeps);
        for sweep in sweeps {
            match sweep {
                Sweep::Gone { flow, .. } => self.flows.release(&self.entropy, flow),
                Sweep::Move { from, to, .. } => {
                    self.sweeps.push_back(Sweep::Move { from, to, subscriptions: 0, watchers: 0 });
                }
            }
        }
    }
}
