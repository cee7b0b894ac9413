//! What the endpoint saves beside its agent's state, and how it goes on.
//!
//! Transactions end with the process: only the names that they used are
//! remembered, so that none is used again. Streams and answers to questions
//! are for a hot standby.

mod commands;
mod digest;
mod records;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Endpoint;
use super::core::Core;
use crate::Instant;
use crate::agent::Agent;
use crate::codec::{Reader, Writer};
use crate::config::Config;
use crate::error::RestoreError;
use crate::id::RawId;
use crate::io::Io;
use crate::package::Packages;
use crate::snapshot::{Cursor, Progress, Restart, SNAPSHOT, SnapshotWriter, open, put_free, put_slots, read_table};

/// The stages of the endpoint's part, in order.
const STAGES: u8 = 9;

impl Endpoint {
    /// Writes on, as far as the cursor's budget goes. Whether all is written.
    pub(crate) fn save_step(&self, cursor: &mut Cursor, w: &mut Writer<'_>) -> bool {
        let core = &self.core;
        while cursor.budget > 0 && cursor.stage < STAGES {
            match cursor.stage {
                0 => put_slots(&core.clients.list, cursor, w, |_| false, |_, _, _| {}),
                1 => put_free(&core.clients.list, cursor, w, |_| false),
                2 => put_slots(&core.servers.list, cursor, w, |_| false, |_, _, _| {}),
                3 => put_free(&core.servers.list, cursor, w, |_| false),
                4 => put_slots(&core.connections.list, cursor, w, records::is_open, |w, _, stream| {
                    records::put_connection(w, stream);
                }),
                5 => put_free(&core.connections.list, cursor, w, records::is_open),
                6 => put_slots(&core.resolver.entries, cursor, w, records::is_answered, |w, _, entry| {
                    records::put_entry(w, entry);
                }),
                7 => put_free(&core.resolver.entries, cursor, w, records::is_answered),
                _ => {
                    w.put(&core.resolver.no_naptr);
                    w.put(&core.resolver.no_srv);
                    w.word(core.entropy.counter());
                    core.unproven.put(w, &core.entropy);
                    core.down.put(w);
                    core.no_stream.put(w, &core.entropy);
                    w.put(&core.kept);
                    cursor.stage = STAGES;
                }
            }
        }
        cursor.stage >= STAGES
    }

    /// An endpoint that goes on from a snapshot, `downtime` after it was taken
    /// (not after the end of the program: durations go on from there). Call
    /// [`add_local`](Self::add_local) as after [`new`](Self::new).
    ///
    /// Timers that were due meanwhile fire at the first
    /// [`handle_timeout`](Self::handle_timeout). Requests that were open are
    /// forgotten: a watcher with an unanswered NOTIFY is owed a new one, and a
    /// SUBSCRIBE without final response is sent again, each with a higher
    /// CSeq. Undecided SUBSCRIBEs come again from their senders. What
    /// [`rehome`](Self::rehome) or a lost connection had not done to all goes
    /// on; call `rehome` again if it was called after the snapshot was begun.
    ///
    /// With [`Restart::Fresh`] every connection is gone: its subscriptions are
    /// refreshed over new ones within 30 to 60 s, its watchers are
    /// treated as [`Policy::flow_gone`](crate::Policy) says, and an
    /// [`Io::FlowGone`] for each is the first that
    /// [`poll_event`](Self::poll_event) gives.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(
        config: Arc<Config>,
        packages: Packages,
        snapshot: &[u8],
        now: Instant,
        downtime: Duration,
        restart: &Restart,
    ) -> Result<Self, RestoreError> {
        let mut r = Reader::new(open(snapshot, SNAPSHOT)?, now, downtime);
        let (Restart::Fresh(seed) | Restart::Continue(seed)) = restart;
        let with_core = r.get()?;
        let agent = Agent::read(config.clone(), packages, &mut r, now, restart)?;
        let mut endpoint = Self {
            capabilities: super::answer::capabilities(agent.packages()),
            core: Core::new(config, seed),
            agent,
            stalled: None,
            drained: false,
            now,
        };
        if with_core {
            endpoint.load_core(&mut r, matches!(restart, Restart::Continue(_)))?;
        }
        if !r.is_empty() {
            return Err(RestoreError::Malformed);
        }
        if matches!(restart, Restart::Fresh(_)) {
            endpoint.take_over(now, downtime);
        }
        Ok(endpoint)
    }

    fn load_core(&mut self, r: &mut Reader<'_>, same: bool) -> Result<(), RestoreError> {
        let limits = self.core.config.limits;
        let nothing = |_: &mut Reader<'_>, _: RawId| Err(RestoreError::Malformed);
        self.core.clients.list = read_table(r, limits.client_transactions, "client_transactions", nothing)?;
        let nothing = |_: &mut Reader<'_>, _: RawId| Err(RestoreError::Malformed);
        self.core.servers.list = read_table(r, limits.server_transactions, "server_transactions", nothing)?;
        let framer = self.core.framer_limits();
        self.core.connections.list = read_table(r, limits.streams, "streams", |r, _| {
            let connection = records::get_connection(r, framer)?;
            Ok(Some(connection).filter(|_| same))
        })?;
        self.core.resolver.entries = read_table(r, limits.resolved, "resolved", |r, _| {
            let entry = records::get_entry(r)?;
            Ok(Some(entry).filter(|_| same))
        })?;
        let (no_naptr, no_srv, counter) = (r.get()?, r.get()?, r.get()?);
        self.core.unproven.read(r, &self.core.entropy)?;
        self.core.down.read(r)?;
        self.core.no_stream.read(r, &self.core.entropy)?;
        let kept: Vec<_> = r.get()?;
        if !same {
            return Ok(());
        }
        self.core.resolver.no_naptr = no_naptr;
        self.core.resolver.no_srv = no_srv;
        self.core.entropy.resume(counter);
        self.core.resolver.index_all(&self.core.entropy);
        self.core.connections.index_all();
        self.core.kept = kept;
        for slot in 0..self.core.connections.list.slots() {
            self.core.arm_keeper(slot);
        }
        for flow in self.core.connections.blocked() {
            self.agent.set_blocked(flow, true);
        }
        Ok(())
    }

    /// This endpoint acts from now on, in the place of the one whose objects
    /// it was given by [`import`](Self::import); the oldest record of it was
    /// written `age` ago. CSeq of every dialog leaps by 65,536 and some 60 for
    /// each second of `age`, so that it does not go back behind what was sent
    /// meanwhile (see [`Restart::Fresh`]), and connections that are not open here are gone, with the
    /// same effect as [`handle_stream_closed`](Self::handle_stream_closed).
    /// [`restore`](Self::restore) does this by itself with [`Restart::Fresh`].
    pub fn take_over(&mut self, now: Instant, age: Duration) {
        let now = self.advance(now);
        let connections = &self.core.connections;
        for (flow, subscriptions, watchers) in self.agent.succeed(now, age, &|flow| connections.is_open(flow)) {
            self.core.io.push_back(Io::FlowGone { flow, subscriptions, watchers });
        }
    }
}

impl SnapshotWriter {
    /// Appends the next piece of the snapshot of `endpoint` to `out`, which may
    /// be emptied between the steps.
    pub fn step(&mut self, endpoint: &Endpoint, out: &mut Vec<u8>) -> Progress {
        self.piece(out, |begins, [agent, core], w| {
            if begins {
                w.put(&true);
                endpoint.agent.save_head(w);
            }
            let whole = endpoint.agent.save_step(agent, w);
            core.budget = core.budget.min(agent.budget);
            whole && endpoint.save_step(core, w)
        })
    }
}
