//! Work on many objects that was not finished: whoever goes on finishes it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::super::Agent;
use super::super::message::Subject;
use super::super::moves::Sweep;
use super::records::ReadFlow;
use crate::codec::{Reader, Writer, list, put_list};
use crate::error::RestoreError;
use crate::id::RawId;

impl Agent {
    pub(super) fn put_sweeps(&self, w: &mut Writer<'_>) {
        w.word(self.sweeps.len() as u64);
        for sweep in &self.sweeps {
            match sweep {
                Sweep::Gone { flow, users } => {
                    w.put(&true);
                    self.put_flow_if_any(w, Some(*flow));
                    put_list(
                        w,
                        users.iter().map(|user| match user {
                            Subject::Subscription(id) => (false, *id),
                            Subject::Watcher(id) => (true, *id),
                        }),
                    );
                }
                Sweep::Move { from, to, subscriptions, watchers } => {
                    w.put(&false);
                    w.put(from);
                    w.put(to);
                    w.word(u64::from(*subscriptions));
                    w.word(u64::from(*watchers));
                }
            }
        }
    }

    pub(super) fn get_sweeps(&mut self, r: &mut Reader<'_>) -> Result<(), RestoreError> {
        let count = r.word()?;
        if count > r.left() as u64 {
            return Err(RestoreError::Malformed);
        }
        let mut sweeps = VecDeque::new();
        for _ in 0..count {
            if !r.get::<bool>()? {
                let (from, to) = r.get()?;
                sweeps.push_back(Sweep::Move { from, to, subscriptions: r.get()?, watchers: r.get()? });
                continue;
            }
            let flow: Option<ReadFlow> = r.get()?;
            let users: Vec<(bool, RawId)> = list(r)?;
            let users = users.into_iter().map(|(watcher, id)| match watcher {
                true => Subject::Watcher(id),
                false => Subject::Subscription(id),
            });
            // Counted as used once.
            if let Some(flow) = self.adopt_flow(flow)? {
                sweeps.push_back(Sweep::Gone { flow, users: users.collect() });
            }
        }
        self.sweeps = sweeps;
        Ok(())
    }
}
