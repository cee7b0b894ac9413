//! An agent that goes on where another one stopped.

use alloc::collections::BTreeMap;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::Agent;
use super::super::flows::FlowId;
use super::super::message::Subject;
use super::super::resources::Resource;
use super::super::watchers::Watcher;
use super::records::{ReadFlow, ReadSubscription, ReadWatcher, get_packages, put_packages};
use crate::Instant;
use crate::codec::{Reader, Writer};
use crate::config::Config;
use crate::error::RestoreError;
use crate::event::{Event, Gone};
use crate::flow::Flow;
use crate::id::{RawId, WatcherId};
use crate::package::Packages;
use crate::snapshot::{Restart, SNAPSHOT, SnapshotWriter, fingerprint, open, read_table};
use crate::wire::Transport;

/// By how much CSeq leaps when an agent takes over what was saved `age` ago:
/// more than the requests that one dialog may have seen since (unless it is
/// told of more than 60 changes a second, see [`Restart::Fresh`]), and more for
/// every start from one and the same snapshot, yet little enough for thousands
/// of starts below 2^31 (RFC 3261 section 8.1.1.5). It is 65,536 and some 60 a
/// second.
fn leap(age: Duration) -> u32 {
    let since = u32::try_from(age.as_nanos() >> 24).unwrap_or(u32::MAX);
    since.saturating_add(1 << 16)
}

/// A place in a list, and who has it.
type Seat = (u32, u32, u32);

impl Agent {
    /// A snapshot of the state at `now`, to be written in steps that look at
    /// `per_step` records each; call [`SnapshotWriter::step_agent`] until it is
    /// done.
    pub fn snapshot(&self, now: Instant, per_step: u32) -> SnapshotWriter {
        SnapshotWriter::new(now.max(self.now), per_step)
    }

    /// An agent that goes on from a snapshot. See
    /// [`Endpoint::restore`](crate::Endpoint::restore), whose snapshots it
    /// reads too; connections that are gone have the effect of
    /// [`handle_flow_gone`](Self::handle_flow_gone).
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
        let more: bool = r.get()?;
        let mut agent = Self::read(config, packages, &mut r, now, restart)?;
        if !more && !r.is_empty() {
            return Err(RestoreError::Malformed);
        }
        if matches!(restart, Restart::Fresh(_)) {
            agent.take_over(now, downtime);
        }
        Ok(agent)
    }

    /// What a successor checks before it reads on.
    pub(crate) fn save_head(&self, w: &mut Writer<'_>) {
        w.raw(&fingerprint(&self.config.limits).to_le_bytes());
        w.raw(&self.entropy.fingerprint().to_le_bytes());
        put_packages(w, &self.packages, None);
    }

    /// Reads what [`save_head`](Self::save_head) and
    /// [`save_step`](Self::save_step) wrote.
    pub(crate) fn read(
        config: Arc<Config>,
        packages: Packages,
        r: &mut Reader<'_>,
        now: Instant,
        restart: &Restart,
    ) -> Result<Self, RestoreError> {
        let (limits, seed) = (r.raw(8)?, r.raw(8)?);
        let (Restart::Fresh(own) | Restart::Continue(own)) = restart;
        let same_limits = fingerprint(&config.limits).to_le_bytes() == limits;
        let mut agent = Self::new(config, packages, own, now);
        let same = same_limits && agent.entropy.fingerprint().to_le_bytes() == seed;
        let keep = matches!(restart, Restart::Continue(_));
        if keep && !same {
            return Err(RestoreError::NotTheSame);
        }
        get_packages(r, &agent.packages)?;
        agent.load(r, keep)?;
        Ok(agent)
    }

    /// Reads what [`save_step`](Self::save_step) wrote, into an agent that has
    /// nothing yet. `keep_entropy` goes on in the saved sequence.
    fn load(&mut self, r: &mut Reader<'_>, keep_entropy: bool) -> Result<(), RestoreError> {
        let limits = self.config.limits;
        self.resources = read_table(r, limits.resources, "resources", |r, _| self.get_resource(r).map(Some))?;
        self.attempts = read_table(r, limits.subscriptions.saturating_mul(2), "subscriptions", |r, _| {
            Self::get_attempt(r).map(Some)
        })?;
        let mut forks: Vec<Seat> = Vec::new();
        self.subscriptions = read_table(r, limits.subscriptions, "subscriptions", |r, id| {
            let attempt = Self::get_attempt_of(r)?;
            let ReadSubscription { mut record, destination } = self.get_subscription(r)?;
            if record.retry_at.is_none() && record.machine.is_spent() {
                return Ok(None);
            }
            // One whose attempt was replaced while the snapshot was written begins anew.
            if let Some((attempt, place)) = attempt.filter(|_| record.retry_at.is_none())
                && let Some(known) = self.attempts.get(attempt)
            {
                if known.intent == record.intent {
                    record.intent = known.intent.clone();
                }
                record.attempt = Some(attempt.slot);
                forks.push((attempt.slot, place, id.slot));
            }
            record.destination = self.adopt_flow(destination)?;
            Ok(Some(record))
        })?;
        let mut seats: Vec<Seat> = Vec::new();
        self.watchers = read_table(r, limits.watchers, "watchers", |r, id| {
            let (resource, position): (RawId, u32) = r.get()?;
            let ReadWatcher { mut watcher, flow, destination } = self.get_watcher(r)?;
            // Its resource came while the snapshot was written, and so did it.
            if self.resources.get(resource).is_none() || watcher.machine.is_gone() {
                return Ok(None);
            }
            watcher.resource = resource.slot;
            watcher.flow = self.adopt_flow(Some(flow))?.ok_or(RestoreError::Malformed)?;
            watcher.destination = self.adopt_flow(destination)?;
            self.enter_source(watcher.flow);
            seats.push((resource.slot, position, id.slot));
            Ok(Some(watcher))
        })?;
        self.incoming = read_table(r, limits.incoming, "incoming", |_, _| Err(RestoreError::Malformed))?;
        let orphans = read_slots(r)?;
        let swept = self.read_sweeps(r)?;
        let counter = r.get()?;
        if keep_entropy {
            self.entropy.resume(counter);
        }
        self.link_resources(seats)?;
        self.link_attempts(forks)?;
        let orphans = orphans.into_iter().filter_map(|slot| self.attempts.id_at(slot));
        self.orphans = orphans.collect::<VecDeque<_>>();
        let mut orphans = core::mem::take(&mut self.orphans);
        orphans.retain(|orphan| self.is_orphan(*orphan));
        self.orphans = orphans;
        self.resume_all();
        self.resume_sweeps(swept);
        Ok(())
    }

    /// Counts one more record that names the flow.
    pub(super) fn adopt_flow(&mut self, read: Option<ReadFlow>) -> Result<Option<FlowId>, RestoreError> {
        let Some((flow, gone)) = read else { return Ok(None) };
        let id = self.flows.intern(&self.entropy, flow).ok_or(RestoreError::Limit("flows"))?;
        if gone && let Some(record) = self.flows.get_mut(id) {
            record.gone = true;
        }
        Ok(Some(id))
    }

    fn link_resources(&mut self, mut seats: Vec<Seat>) -> Result<(), RestoreError> {
        for slot in 0..self.resources.slots() {
            self.index_resource(slot);
        }
        seats.sort_unstable();
        for (resource, _, watcher) in seats {
            self.seat_watcher(watcher, resource)?;
        }
        self.link_dialogs()?;
        for slot in 0..self.resources.slots() {
            self.retire(slot);
        }
        Ok(())
    }

    /// Brings together the watchers that share a dialog.
    fn link_dialogs(&mut self) -> Result<(), RestoreError> {
        for slot in 0..self.watchers.slots() {
            let Some(watcher) = self.watchers.at(slot) else { continue };
            self.fits_dialog(watcher, slot)?;
            if watcher.shared {
                self.join(slot);
            }
        }
        Ok(())
    }

    /// Whether a watcher that was read can be in the dialog that it names.
    pub(super) fn fits_dialog(&self, watcher: &Watcher, slot: u32) -> Result<(), RestoreError> {
        if !watcher.shared {
            return if watcher.tag_slot == slot { Ok(()) } else { Err(RestoreError::Malformed) };
        }
        let others = self.shares.get(&watcher.dialog_name()).cloned().unwrap_or_default();
        let mut others = others.iter().filter(|other| **other != slot).peekable();
        let (dialog, first) = (&watcher.dialog, others.peek().and_then(|other| self.watchers.at(**other)));
        if first.is_some_and(|w| (w.dialog.call_id(), w.dialog.remote_tag()) != (dialog.call_id(), dialog.remote_tag()))
        {
            return Err(RestoreError::Malformed);
        }
        let most = self.config.limits.usages as usize;
        if others.count() >= most.max(1) { Err(RestoreError::Limit("usages")) } else { Ok(()) }
    }

    /// Makes the resource in `slot` known by its name, unless another has it.
    pub(super) fn index_resource(&mut self, slot: u32) {
        let Some(resource) = self.resources.at(slot).filter(|resource| !resource.removed) else { return };
        if self.find_resource(resource.package, &resource.key).is_some() {
            if let Some(resource) = self.resources.at_mut(slot) {
                resource.removed = true;
            }
            return;
        }
        let (resources, entropy) = (&self.resources, &self.entropy);
        let hash = |resource: &Resource| resource.hash(entropy);
        let rehash = |slot: &u32| resources.at(*slot).map_or(0, hash);
        self.resource_index.insert_unique(hash(resource), slot, rehash);
    }

    /// Appends a watcher to its resource's list.
    pub(super) fn seat_watcher(&mut self, slot: u32, resource: u32) -> Result<(), RestoreError> {
        let most = self.config.limits.watchers_per_resource as usize;
        let Some(record) = self.resources.at_mut(resource) else { return Err(RestoreError::Malformed) };
        if record.watchers.len() >= most {
            return Err(RestoreError::Limit("watchers_per_resource"));
        }
        if let Some(watcher) = self.watchers.at_mut(slot) {
            watcher.resource = resource;
            watcher.position = u32::try_from(record.watchers.len()).unwrap_or(u32::MAX);
            record.watchers.push(slot);
        }
        Ok(())
    }

    fn link_attempts(&mut self, mut forks: Vec<Seat>) -> Result<(), RestoreError> {
        forks.sort_unstable();
        for (attempt, _, subscription) in forks {
            self.seat_fork(subscription, attempt)?;
            self.meet_partners(subscription);
        }
        for slot in 0..self.attempts.slots() {
            self.open_window(slot);
        }
        Ok(())
    }

    /// Appends a subscription to its attempt's list.
    pub(super) fn seat_fork(&mut self, slot: u32, attempt: u32) -> Result<(), RestoreError> {
        let limits = &self.config.limits;
        let most = limits.forks.max(1).saturating_mul(limits.usages.max(1)) as usize;
        let Some(record) = self.attempts.at_mut(attempt) else { return Err(RestoreError::Malformed) };
        if record.subscriptions.len() >= most {
            return Err(RestoreError::Limit("forks"));
        }
        record.subscriptions.push(slot);
        Ok(())
    }

    /// Arms the window for forks, or forgets an attempt that has neither that
    /// nor a subscription.
    pub(super) fn open_window(&mut self, slot: u32) {
        let Some(attempt) = self.attempts.at(slot) else { return };
        if let Some(window) = &attempt.window {
            let closes = window.template.fork_window().unwrap_or(self.now);
            self.attempt_timers.set(slot, Some(closes));
        } else if attempt.subscriptions.is_empty() {
            self.attempts.remove(slot);
        }
    }

    /// Queues what has something to say, and arms the timers.
    fn resume_all(&mut self) {
        for slot in 0..self.subscriptions.slots() {
            self.resume_subscription(slot);
        }
        for slot in 0..self.watchers.slots() {
            self.resume_watcher(slot);
        }
    }

    pub(super) fn resume_subscription(&mut self, slot: u32) {
        let now = self.now;
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        if record.attempt.is_none() && record.retry_at.is_none() {
            record.retry_at = Some(now);
        }
        if record.retry_at.is_some() {
            record.dialog = None;
            if let Some(old) = record.destination.take() {
                self.flows.release(&self.entropy, old);
            }
        } else if record.machine.wants_subscribe() {
            self.want_to_send(slot);
        }
        let flow = self.subscriptions.at(slot).and_then(|record| record.destination);
        if let Some((flow, id)) = flow.zip(self.subscriptions.id_at(slot)) {
            self.use_flow(flow, Subject::Subscription(id));
        }
        self.rearm_subscription(slot);
    }

    pub(super) fn resume_watcher(&mut self, slot: u32) {
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        if watcher.open.is_none() {
            watcher.machine = watcher.machine.succeeded();
        }
        let Some(resource) = self.resources.at(watcher.resource) else { return };
        let stale = resource.version_of(watcher.view) != watcher.told;
        if watcher.machine.owes_notify() {
            self.owe(slot);
        } else if watcher.machine.has_its_turn(stale) {
            self.make_ready(slot);
        }
        self.join_flows(slot);
        self.rearm_watcher(slot);
    }

    fn join_flows(&mut self, slot: u32) {
        let Some((id, watcher)) = self.watchers.id_at(slot).zip(self.watchers.at(slot)) else { return };
        for flow in [Some(watcher.flow), watcher.destination].into_iter().flatten() {
            self.use_flow(flow, Subject::Watcher(id));
        }
    }

    /// This agent acts from now on, in the place of the one whose state it was
    /// given by [`import`](Self::import); the oldest record of it was written
    /// `age` ago. CSeq of every dialog leaps by 65,536 and some 60 for each
    /// second of `age`, so that it does not go back behind what was sent
    /// meanwhile (see [`Restart::Fresh`]). A NOTIFY that is awaited may have come meanwhile, so its
    /// SUBSCRIBE is sent again. Connections are gone, with the same effect as
    /// [`handle_flow_gone`](Self::handle_flow_gone), on everybody at once. [`Agent::restore`] does
    /// this by itself with [`Restart::Fresh`].
    pub fn take_over(&mut self, now: Instant, age: Duration) {
        let _ = self.succeed(now, age, &|_| false);
    }

    /// Returns the connections that are gone, with the number of subscriptions
    /// and watchers that used each; `is_open` tells which are not.
    pub(crate) fn succeed(
        &mut self,
        now: Instant,
        age: Duration,
        is_open: &dyn Fn(&Flow) -> bool,
    ) -> Vec<(Flow, u32, u32)> {
        self.advance(now);
        self.resources.tidy_free();
        self.attempts.tidy_free();
        self.subscriptions.tidy_free();
        self.watchers.tidy_free();
        let by = leap(age);
        let leap = |cseq: u32| cseq.saturating_add(by).min(i32::MAX.unsigned_abs());
        for slot in 0..self.attempts.slots() {
            let Some(attempt) = self.attempts.at_mut(slot) else { continue };
            attempt.cseq = leap(attempt.cseq);
        }
        for slot in 0..self.subscriptions.slots() {
            let Some(record) = self.subscriptions.at_mut(slot) else { continue };
            record.local_cseq = leap(record.local_cseq);
            record.machine.renew();
        }
        for slot in 0..self.watchers.slots() {
            let Some(watcher) = self.watchers.at_mut(slot) else { continue };
            watcher.local_cseq = leap(watcher.local_cseq);
        }
        let gone = self.lose_streams(is_open);
        self.resume_all();
        gone
    }

    /// One that closed before has its effect once more: a sweep may have been
    /// unfinished, and users may have been saved before it closed.
    fn lose_streams(&mut self, is_open: &dyn Fn(&Flow) -> bool) -> Vec<(Flow, u32, u32)> {
        let mut users: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let lost = |agent: &Self, id: FlowId| {
            let closed = |flow: &Flow| flow.stream.is_some() && !is_open(flow);
            agent.flows.get(id).is_some_and(|record| record.gone || closed(&record.flow()))
        };
        let mut ours = Vec::new();
        for (id, record) in self.subscriptions.iter() {
            if let Some(flow) = record.destination.filter(|flow| lost(self, *flow)) {
                let count = &mut users.entry(flow.0).or_default().0;
                *count = count.saturating_add(1);
                ours.push(id);
            }
        }
        let mut affected = Vec::new();
        for (id, watcher) in self.watchers.iter() {
            let other = watcher.destination.filter(|to| *to != watcher.flow);
            let mut hit = false;
            for flow in [Some(watcher.flow), other].into_iter().flatten().filter(|flow| lost(self, *flow)) {
                let count = &mut users.entry(flow.0).or_default().1;
                *count = count.saturating_add(1);
                hit = true;
            }
            if hit {
                affected.push(id);
            }
        }
        let mut gone = Vec::new();
        for (id, (subscriptions, watchers)) in users {
            if let Some(record) = self.flows.get_mut(FlowId(id))
                && !core::mem::replace(&mut record.gone, true)
            {
                gone.push((record.flow(), subscriptions, watchers));
            }
        }
        for id in ours {
            self.recover(self.now, id);
        }
        for id in affected {
            self.lose_flow(id);
        }
        self.restart_sweeps();
        gone
    }

    /// What [`Policy::flow_gone`](crate::Policy) says of one watcher.
    fn lose_flow(&mut self, id: RawId) {
        let Some(watcher) = self.watchers.at(id.slot) else { return };
        let is_gone = |flow: FlowId| self.flows.get(flow).is_some_and(|record| record.gone);
        let lost = watcher.destination.is_some_and(is_gone);
        let depends = lost || (watcher.direct && is_gone(watcher.flow));
        if depends && self.config.policy.flow_gone == crate::FlowGone::Remove {
            self.remove_watcher(id.slot);
            self.push_event(Event::WatcherGone { watcher: WatcherId(id), why: Gone::FlowGone });
            return;
        }
        if lost {
            let listed = self.unlink(id.slot);
            self.forget_destination(id.slot);
            if listed {
                self.make_ready(id.slot);
            }
        }
    }

    /// A connection is open, under a name that an earlier one may have had.
    pub(crate) fn flow_opened(&mut self, flow: Flow) {
        if flow.transport != Transport::Udp
            && let Some(id) = self.flows.find(&self.entropy, &flow)
            && let Some(record) = self.flows.get_mut(id)
        {
            record.gone = false;
        }
    }
}

fn read_slots(r: &mut Reader<'_>) -> Result<Vec<u32>, RestoreError> {
    let mut slots = Vec::new();
    while r.get()? {
        slots.push(r.get()?);
    }
    Ok(slots)
}
