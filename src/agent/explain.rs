//! Why an object is as it is.

use super::Agent;
use super::list::Queue;
use crate::event::{Explanation, ObjectId, TimerKind};
use crate::machine::{notifier, subscriber};

impl Agent {
    /// Says in one struct, which prints, what state an object is in, what it
    /// waits for and why; `None` for a stale id.
    pub fn explain(&self, object: impl Into<ObjectId>) -> Option<Explanation> {
        match object.into() {
            object @ ObjectId::Subscription(id) => {
                let record = self.subscriptions.get(id.0)?;
                let state = match record.machine.state() {
                    _ if record.retry_at.is_some() => "interrupted",
                    subscriber::State::Init => "init",
                    subscriber::State::NotifyWait => "notify_wait",
                    subscriber::State::Pending => "pending",
                    subscriber::State::Active => "active",
                    subscriber::State::Terminated => "terminated",
                };
                let timer = self.subscription_timer(id.0.slot);
                let at = record.retry_at.or_else(|| record.machine.poll_timeout());
                let because = match record.machine.state() {
                    _ if record.retry_at.is_some() => "the last dialog ended; the retry governor set the time",
                    _ if record.machine.is_ending() => "unsubscribed; the last NOTIFY is awaited",
                    subscriber::State::Init => "the SUBSCRIBE has not been polled yet",
                    subscriber::State::NotifyWait => "no NOTIFY has come yet (RFC 6665 section 4.1.2.4)",
                    subscriber::State::Pending => "the notifier has not authorised it yet",
                    subscriber::State::Active => "the latest NOTIFY said so",
                    subscriber::State::Terminated => "it is over",
                };
                let remaining = record.machine.deadline().map(|at| at - self.now);
                Some(Explanation { object, state, waits_for: at.map(|at| (timer, at)), remaining, because })
            }
            object @ ObjectId::Watcher(id) => {
                let watcher = self.watchers.get(id.0)?;
                let state = match watcher.machine.state() {
                    notifier::State::RespWait => "resp_wait",
                    notifier::State::Pending => "pending",
                    notifier::State::Active => "active",
                    notifier::State::Terminated => "terminated",
                };
                let behind =
                    self.resources.at(watcher.resource).is_some_and(|r| r.version_of(watcher.view) != watcher.told);
                let because = match (watcher.machine.state(), watcher.link.queue) {
                    _ if watcher.open.is_some() => "a NOTIFY is unanswered",
                    _ if watcher.owed => "the NOTIFY after a 2xx has not been polled yet",
                    (_, Queue::Waiting(_)) => "its flow is full or not writable",
                    (_, Queue::Ready) => "a NOTIFY waits to be polled",
                    (notifier::State::Pending, _) => "nobody has approved it yet",
                    (notifier::State::Terminated, _) => "it is over",
                    _ if behind => "the state changed; the rate limit holds the NOTIFY back",
                    _ => "it holds the latest state",
                };
                let waits_for = watcher.machine.poll_timeout().map(|at| (self.watcher_timer(id.0.slot), at));
                let remaining = Some(watcher.machine.deadline() - self.now);
                Some(Explanation { object, state, waits_for, remaining, because })
            }
            object @ ObjectId::Resource(id) => {
                let resource = self.live(id.0)?;
                let (state, because) = match (resource.watchers.is_empty(), resource.dirty) {
                    (true, _) => ("unwatched", "nobody has subscribed to it"),
                    (false, true) => ("changing", "watchers are being told of a new state"),
                    (false, false) => ("quiet", "every watcher was told, or is held back for its own reason"),
                };
                Some(Explanation { object, state, waits_for: None, remaining: None, because })
            }
        }
    }

    pub(super) fn watcher_timer(&self, slot: u32) -> TimerKind {
        match self.watchers.at(slot).and_then(|w| w.machine.next_timer()) {
            Some((_, notifier::TimerKind::Throttle)) => TimerKind::Throttle,
            Some((_, notifier::TimerKind::GiveUp)) => TimerKind::GiveUp,
            Some((_, notifier::TimerKind::Retry)) => TimerKind::Retry,
            _ => TimerKind::Expiry,
        }
    }
}
