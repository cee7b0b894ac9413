//! What becomes of subscriptions and watchers when the way to them is lost: a
//! connection closed, or our own address is another one. Both may concern any
//! number of objects, so the work is done in pieces.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::Agent;
use super::flows::FlowId;
use super::message::{RequestId, Subject};
use crate::Instant;
use crate::error::Misuse;
use crate::event::{Event, Gone, ObjectId};
use crate::flow::Flow;
use crate::id::{RawId, SubscriptionId, WatcherId};
use crate::machine::notifier::NotifyResult;
use crate::machine::subscriber::{State, SubscribeResult};

/// The wait before what depended on a lost connection takes a new one, at
/// least and at most (RFC 5626 section 4.5).
const RECOVERY: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60)];
/// Over how long refreshes are spread after a change of address, for each of
/// them, and at most.
const SPREAD: Duration = Duration::from_millis(1);
const LONGEST_SPREAD: Duration = Duration::from_secs(30);

/// Work on many objects that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// The connection is gone; those who used it, the next one last. The flow
    /// is counted as used once.
    Gone { flow: FlowId, users: Vec<Subject> },
    /// Objects whose flow starts at `from`: subscriptions and watchers from
    /// these slots on are still to be looked at.
    Move { from: SocketAddr, to: SocketAddr, subscriptions: u32, watchers: u32 },
}

impl Agent {
    /// `whose` has begun to use a connection. Who has left it is taken off the
    /// list when that has grown to twice of what it should be.
    pub(super) fn use_flow(&mut self, id: FlowId, whose: Subject) {
        let Some(record) = self.flows.get_mut(id) else { return };
        let most = record.most_users();
        let Some(users) = record.users_mut().filter(|users| users.last() != Some(&whose)) else { return };
        users.push(whose);
        if users.len() < most {
            return;
        }
        let users = core::mem::take(users);
        let living = self.living_users(id, users);
        if let Some(users) = self.flows.get_mut(id).and_then(|record| record.users_mut()) {
            *users = living;
        }
    }

    /// Those of `users` who use the flow, each once, in order.
    pub(super) fn living_users(&self, id: FlowId, mut users: Vec<Subject>) -> Vec<Subject> {
        users.sort_unstable();
        users.dedup();
        users.retain(|user| match user {
            Subject::Subscription(user) => self.subscriptions.get(*user).is_some_and(|s| s.destination == Some(id)),
            Subject::Watcher(user) => {
                self.watchers.get(*user).is_some_and(|w| w.flow == id || w.destination == Some(id))
            }
        });
        users
    }

    /// The subscriptions and watchers whose requests go along a connection.
    /// Datagrams bind nobody: for them it is empty.
    pub fn users_of(&self, flow: &Flow) -> Vec<ObjectId> {
        let Some(id) = self.flows.find(&self.entropy, flow) else { return Vec::new() };
        let users = self.flows.get(id).map(|record| record.users().to_vec()).unwrap_or_default();
        let users = self.living_users(id, users).into_iter();
        users
            .map(|user| match user {
                Subject::Subscription(id) => ObjectId::Subscription(SubscriptionId(id)),
                Subject::Watcher(id) => ObjectId::Watcher(WatcherId(id)),
            })
            .collect()
    }

    /// A connection has closed. Tells how many subscriptions and watchers used
    /// it. Watchers are treated as [`Policy::flow_gone`](crate::Policy) says;
    /// subscriptions are refreshed over a new connection within 30 to 60 s,
    /// unless they are due before (RFC 5626 section 4.5).
    pub fn handle_flow_gone(&mut self, now: Instant, flow: Flow) -> (u32, u32) {
        let now = self.advance(now);
        let Some(id) = self.flows.find(&self.entropy, &flow) else { return (0, 0) };
        let Some(record) = self.flows.get_mut(id) else { return (0, 0) };
        record.gone = true;
        let users = record.users_mut().map(core::mem::take).unwrap_or_default();
        self.flows.unblock(id);
        let mut users = self.living_users(id, users);
        let subscriptions = users.iter().filter(|user| matches!(user, Subject::Subscription(_))).count();
        let counts = (subscriptions, users.len().saturating_sub(subscriptions));
        if !users.is_empty() {
            users.reverse();
            self.flows.intern(&self.entropy, flow);
            self.sweeps.push_back(Sweep::Gone { flow: id, users });
            self.sweep(now);
        }
        // Those who waited for it need not wait for what comes in its place.
        self.admit(id);
        self.flows.drop_hold(&self.entropy, id);
        (u32::try_from(counts.0).unwrap_or(u32::MAX), u32::try_from(counts.1).unwrap_or(u32::MAX))
    }

    /// The address `from` is ours no more, and `to`, which was given to
    /// [`add_local`](Self::add_local), is in its place; with `from` equal to
    /// `to` it is only known by another name now. Every subscription that may
    /// be reached there is refreshed, which moves its remote target (RFC 3261
    /// section 12.2.1.2), spread over a millisecond for each, 30 s at most;
    /// every watcher whose SUBSCRIBE came there gets a NOTIFY with the new
    /// Contact.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if `to` is no address of ours;
    /// [`Misuse::Closing`] after [`Close::Persist`](super::Close::Persist).
    pub fn rehome(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.can_rehome(to)?;
        if from != to {
            self.locals.remove(from);
        }
        self.sweeps.push_back(Sweep::Move { from, to, subscriptions: 0, watchers: 0 });
        self.sweep(now);
        Ok(())
    }

    pub(crate) fn can_rehome(&self, to: SocketAddr) -> Result<(), Misuse> {
        match self.locals.is_bound(to) {
            _ if self.is_frozen() => Err(Misuse::Closing),
            true => Ok(()),
            false => Err(Misuse::BadValue),
        }
    }

    /// Goes on with what is not finished, as far as one call may.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut budget = self.config.limits.timers_per_wakeup.max(1);
        while budget > 0 {
            let Some(first) = self.sweeps.front_mut() else { return };
            match first {
                Sweep::Gone { flow, users } => {
                    let flow = *flow;
                    match users.pop() {
                        Some(user) => self.lose_connection(now, flow, user),
                        None => {
                            self.sweeps.pop_front();
                            self.flows.release(&self.entropy, flow);
                        }
                    }
                }
                Sweep::Move { from, to, subscriptions, watchers } => {
                    let (from, to) = (*from, *to);
                    if *subscriptions < self.subscriptions.slots() {
                        let slot = *subscriptions;
                        *subscriptions = slot.saturating_add(1);
                        self.move_subscription(now, slot, from, to);
                    } else if *watchers < self.watchers.slots() {
                        let slot = *watchers;
                        *watchers = slot.saturating_add(1);
                        self.move_watcher(now, slot, from, to);
                    } else {
                        self.sweeps.pop_front();
                    }
                }
            }
            budget = budget.saturating_sub(1);
        }
    }

    fn lose_connection(&mut self, now: Instant, flow: FlowId, user: Subject) {
        match user {
            Subject::Watcher(id) => {
                let Some(watcher) = self.watchers.get(id) else { return };
                if watcher.flow != flow && watcher.destination != Some(flow) {
                    return;
                }
                let depends = watcher.destination == Some(flow) || watcher.direct;
                if depends && self.config.policy.flow_gone == crate::FlowGone::Remove {
                    self.remove_watcher(id.slot);
                    self.push_event(Event::WatcherGone { watcher: WatcherId(id), why: Gone::FlowGone });
                } else if watcher.destination == Some(flow) {
                    self.forget_destination(id.slot);
                }
                self.settle_watcher(now, id.slot);
            }
            Subject::Subscription(id) => {
                if self.subscriptions.get(id).is_some_and(|record| record.destination == Some(flow)) {
                    self.recover(now, id);
                }
            }
        }
    }

    /// The connection of a subscription is lost: a refresh opens another.
    pub(super) fn recover(&mut self, now: Instant, id: RawId) {
        let random = self.entropy.next_u64();
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        let [least, most] = RECOVERY;
        let wait = least.saturating_add(spread(most.saturating_sub(least), random));
        record.machine.hasten(now.saturating_add(wait));
        self.rearm_subscription(id.slot);
    }

    fn move_subscription(&mut self, now: Instant, slot: u32, from: SocketAddr, to: SocketAddr) {
        let Some(id) = self.subscriptions.id_at(slot) else { return };
        let count = self.subscriptions.len();
        let timers = self.config.timers.sip;
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        if let Some(pinned) = record.intent.more().flow.filter(|flow| flow.local == from) {
            let datagrams = Some(Flow { local: to, ..pinned }).filter(|flow| flow.stream.is_none());
            Arc::make_mut(&mut record.intent).more_mut().flow = datagrams;
        }
        if record.retry_at.is_some() {
            return;
        }
        let old = record.destination.and_then(|flow| self.flows.get(flow)).map(|flow| (flow.flow(), flow.gone));
        // A connection that we opened has a port of its own, and says that we are reached at `from`.
        let beside = |flow: &Flow| {
            let host =
                flow.local.ip() == from.ip() || (from.ip().is_unspecified() && from.is_ipv4() == flow.local.is_ipv4());
            flow.stream.is_some() && host && !self.locals.is_bound(flow.local)
        };
        let moved = match &old {
            None => true,
            Some((flow, gone)) => *gone || flow.local == from || beside(flow),
        };
        if !moved {
            return;
        }
        let stays = old.is_some_and(|(flow, gone)| !gone && flow.local != from && from.ip() == to.ip());
        if !stays {
            if let Some(left) = record.destination.take() {
                self.flows.release(&self.entropy, left);
            }
            // The same way from another address; a connection is to be had anew.
            let next = old.filter(|(flow, _)| flow.stream.is_none()).map(|(flow, _)| Flow { local: to, ..flow });
            let next = next.and_then(|flow| self.flows.intern(&self.entropy, flow));
            let Some(record) = self.subscriptions.get_mut(id) else { return };
            record.destination = next;
        }
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        if let Some(seq) = record.open.take() {
            record.trial = None;
            self.abandoned.push_back(RequestId { subject: Subject::Subscription(id), seq });
            record.machine.handle_subscribe_result(now, SubscribeResult::Retrying, &timers);
        } else if record.machine.state() == State::NotifyWait {
            // The NOTIFY that it waits for goes to where nobody listens.
            let intent = record.intent.clone();
            self.detach(slot, true);
            self.begin_again(slot, &intent);
        } else {
            let within = SPREAD.saturating_mul(count.saturating_sub(1)).min(LONGEST_SPREAD);
            let wait = spread(within, self.entropy.next_u64());
            if let Some(record) = self.subscriptions.get_mut(id) {
                record.machine.hasten(now.saturating_add(wait));
                record.machine.handle_timeout(now);
            }
        }
        self.settle_subscription(now, slot);
    }

    fn move_watcher(&mut self, now: Instant, slot: u32, from: SocketAddr, to: SocketAddr) {
        let Some(id) = self.watchers.id_at(slot) else { return };
        let Some(watcher) = self.watchers.get(id) else { return };
        let moves = |flow: FlowId| self.flows.get(flow).map(|r| r.flow()).filter(|flow| flow.local == from);
        let (arrival, destination) = (moves(watcher.flow), watcher.destination.and_then(moves));
        let gone = self.flows.get(watcher.flow).is_some_and(|record| record.gone);
        if arrival.is_none() && destination.is_none() && !gone {
            return;
        }
        self.unlink(slot);
        self.leave_window(slot);
        let moved = |flow: Flow| Flow { local: to, ..flow };
        let intern = |agent: &mut Self, flow: Option<Flow>| {
            let flow = flow.filter(|flow| flow.stream.is_none()).map(moved)?;
            agent.flows.intern(&agent.entropy, flow)
        };
        let (arrival, next) = (intern(self, arrival), intern(self, destination));
        let Some(watcher) = self.watchers.get_mut(id) else { return };
        let old = arrival.map(|arrival| core::mem::replace(&mut watcher.flow, arrival));
        let left = if destination.is_some() { core::mem::replace(&mut watcher.destination, next) } else { None };
        for flow in [old, left].into_iter().flatten() {
            self.flows.release(&self.entropy, flow);
        }
        let Some(watcher) = self.watchers.get_mut(id) else { return };
        match watcher.open.take() {
            Some(seq) => {
                watcher.trial = None;
                self.abandoned.push_back(RequestId { subject: Subject::Watcher(id), seq });
                watcher.machine.handle_notify_result(now, seq, NotifyResult::Retry);
            }
            None => watcher.machine.insist(now),
        }
        self.settle_watcher(now, slot);
    }
}

/// Somewhere within `whole`.
fn spread(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.checked_rem(nanos.saturating_add(1)).unwrap_or(0))
}
