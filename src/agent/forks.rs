//! Forks: further dialogs of one SUBSCRIBE (RFC 6665 section 4.1.4).

use alloc::boxed::Box;

use smallvec::SmallVec;

use super::Agent;
use super::response_routes::ResponseRoutes;
use super::retry::Governor;
use super::subscriptions::Subscription;
use crate::Instant;
use crate::event::Event;
use crate::id::{RawId, SubscriptionId};
use crate::machine::subscriber;

/// What is known of an attempt while forks may come.
#[derive(Debug, Clone)]
pub(crate) struct ForkWindow {
    /// The machine as it was when the SUBSCRIBE went out: what forks start from.
    pub(super) template: subscriber::Subscription,
    /// Forks taken.
    pub(super) forks: u32,
    /// Hashes of the From tags taken, as many as forks may be: one that is over
    /// does not come again (6665-SSM-26).
    pub(super) tags: SmallVec<[u64; 1]>,
    /// Only where [`RouteSet`](crate::RouteSet) says so.
    pub(super) response_routes: Option<Box<ResponseRoutes>>,
    /// The attempt before, whose forks may live on.
    pub(super) older: Option<RawId>,
}

impl Agent {
    /// A new attempt has reached the device of an older one's fork: that fork
    /// would tell everything twice, so it is ended.
    pub(super) fn supersede(&mut self, now: Instant, slot: u32, attempt: u32) {
        let dialog = self.subscriptions.at(slot).and_then(|s| s.dialog.as_ref());
        let Some(target) = dialog.map(|dialog| dialog.target().to_vec()) else { return };
        let mut older = self.attempts.at(attempt).and_then(|attempt| attempt.window.as_ref()?.older);
        for _ in 0..self.config.limits.forks {
            let Some(attempt) = older.and_then(|id| self.attempts.get(id)) else { return };
            older = attempt.window.as_ref().and_then(|window| window.older);
            let same = |slot: &u32| {
                let dialog = self.subscriptions.at(*slot).and_then(|s| s.dialog.as_ref());
                dialog.is_some_and(|dialog| dialog.target() == target) && !self.is_guest(*slot)
            };
            for slot in attempt.subscriptions.iter().copied().filter(same).collect::<SmallVec<[u32; 2]>>() {
                if self.subscriptions.at_mut(slot).is_some_and(|s| s.machine.unsubscribe(now).is_ok()) {
                    self.settle_subscription(now, slot);
                }
            }
        }
    }

    /// A further fork of an attempt, at the moment of its first NOTIFY.
    pub(super) fn fork(&mut self, now: Instant, attempt_slot: u32) -> Option<u32> {
        let jitter = self.entropy.next_u16();
        let attempt = self.attempts.at_mut(attempt_slot)?;
        let mut machine = subscriber::Subscription::fork(now, &attempt.window.as_ref()?.template);
        if machine.state() == subscriber::State::Terminated {
            return None;
        }
        machine.set_jitter(jitter);
        let record = Subscription {
            machine,
            attempt: Some(attempt_slot),
            intent: attempt.intent.clone(),
            package: attempt.package,
            dialog: None,
            local_cseq: attempt.cseq,
            remote_cseq: 0,
            seq: 0,
            open: None,
            destination: None,
            document: None,
            last_reason: None,
            last_retry_after: None,
            retry_at: None,
            governor: Governor::fork(),
            user_data: attempt.intent.user_data,
            queued: false,
            older: None,
            trial: None,
            detour: None,
        };
        let parent = attempt.root;
        let id = self.subscriptions.insert_with(|_| record)?;
        let attempt = self.attempts.at_mut(attempt_slot)?;
        if let Some(window) = &mut attempt.window {
            window.forks = window.forks.saturating_add(1);
        }
        attempt.subscriptions.push(id.slot);
        let child = SubscriptionId(id);
        self.push_event(Event::Forked { parent: parent.map_or(child, SubscriptionId), child });
        Some(id.slot)
    }

    /// The window for forks of an attempt closes.
    pub(super) fn close_window(&mut self, slot: u32) {
        self.attempt_timers.set(slot, None);
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.window = None;
        if attempt.subscriptions.is_empty()
            && let Some(attempt) = self.attempts.remove(slot)
        {
            self.forget_call(false, &attempt.call_id);
        }
        // They come in the order in which their windows close, nearly.
        while let Some(first) = self.orphans.front()
            && self.attempts.get(*first).is_none()
        {
            self.orphans.pop_front();
        }
    }

    /// A new attempt matters more than forks still to come of one that is over.
    pub(super) fn close_oldest_orphan(&mut self) {
        while let Some(orphan) = self.orphans.pop_front() {
            if self.attempts.get(orphan).is_some_and(|a| a.subscriptions.is_empty()) {
                self.close_window(orphan.slot);
                return;
            }
        }
    }
}
