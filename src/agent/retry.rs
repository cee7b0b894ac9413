//! The retry governor: every automatic new attempt goes through it, with a
//! floor, a cap, back-off, jitter, and a budget per hour.

use core::time::Duration;

use super::Agent;
use super::subscribe::Subscribe;
use crate::Instant;
use crate::error::{Failure, Retry};
use crate::event::{Ending, Event};
use crate::id::SubscriptionId;
use crate::machine::Resubscribe;
use crate::machine::subscriber::{Cause, End};
use crate::wire::StatusCode;

const HOUR: Duration = Duration::from_secs(3600);
/// A dialog that lived this long counts as a success: back-off starts anew.
const STABLE: Duration = Duration::from_secs(600);

/// The history of a subscription's automatic attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Governor {
    /// A dialog existed in this subscription's life. A first SUBSCRIBE that
    /// fails is a plain failure (PEER-A15).
    pub(super) was_established: bool,
    pub(super) is_fork: bool,
    /// Attempts since the last success.
    pub(super) streak: u8,
    pub(super) in_hour: u32,
    pub(super) hour_began: Option<Instant>,
    pub(super) last: Option<Instant>,
}

impl Governor {
    /// A fork is never subscribed again by itself: its parent is.
    pub(super) const fn fork() -> Self {
        Self { was_established: false, is_fork: true, streak: 0, in_hour: 0, hour_began: None, last: None }
    }

    pub(super) const fn established(&mut self) {
        self.was_established = true;
    }

    /// When the next attempt may be made, if any may. `at_once` is for the
    /// reason that asks for it; it is granted once, then it backs off too.
    fn next(&mut self, now: Instant, least: Duration, at_once: bool, rules: &Rules) -> Option<Instant> {
        if self.hour_began.is_none_or(|began| now - began >= HOUR) {
            self.hour_began = Some(now);
            self.in_hour = 0;
        }
        if self.in_hour >= rules.per_hour {
            return None;
        }
        if self.last.is_some_and(|last| now - last >= STABLE) {
            self.streak = 0;
        }
        let back_off = if at_once && self.streak == 0 {
            Duration::ZERO
        } else {
            let doubled = rules.floor.saturating_mul(1u32 << u32::from(self.streak.min(20)));
            let whole = doubled.min(rules.cap).max(rules.floor);
            // Up to a quarter more, so that a fleet does not come back as one.
            let share = whole.checked_div(4).unwrap_or_default().saturating_mul(u32::from(rules.jitter));
            whole.saturating_add(share.checked_div(u32::from(u16::MAX)).unwrap_or_default())
        };
        self.streak = self.streak.saturating_add(1);
        self.in_hour = self.in_hour.saturating_add(1);
        let at = now + back_off.max(least);
        self.last = Some(at);
        Some(at)
    }
}

struct Rules {
    floor: Duration,
    cap: Duration,
    per_hour: u32,
    jitter: u16,
}

impl Agent {
    /// A new attempt of a subscription that was taken off its last one.
    pub(super) fn begin_again(&mut self, slot: u32, intent: &Subscribe) {
        let Some(package) = self.subscriptions.at(slot).map(|record| record.package) else { return };
        let machine = self.new_machine(intent, package);
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        record.machine = machine;
        // A connection may be another's by now; an address still is what the application chose.
        let pinned = intent.more().flow.filter(|flow| flow.stream.is_none());
        record.destination = pinned.and_then(|flow| self.flows.intern(&self.entropy, flow));
        self.start_attempt(slot);
    }

    /// A subscription's dialog or attempt is over: tells why, and tries again
    /// where RFC 6665 section 4.1.3 and the application allow it.
    pub(super) fn subscription_ended(&mut self, now: Instant, slot: u32, end: &End, status: Option<StatusCode>) {
        let Some(id) = self.subscriptions.id_at(slot).map(SubscriptionId) else { return };
        let why = self.ending(slot, &end.cause, status);
        let Some(record) = self.subscriptions.at(slot) else { return };
        // Where there was no subscription yet, only what the notifier asks for is done.
        let invited = matches!(end.cause, Cause::ByNotifier { .. })
            && !matches!(end.resubscribe, Resubscribe::MayAfter(_) | Resubscribe::Never);
        let wanted = record.intent.auto_resubscribe
            && (record.governor.was_established || invited)
            && !record.governor.is_fork
            && self.may_resubscribe();
        let (least, at_once) = match end.resubscribe {
            Resubscribe::Never => (None, false),
            Resubscribe::Now => (Some(Duration::ZERO), true),
            Resubscribe::NotBefore(wait) | Resubscribe::MayAfter(wait) => (Some(wait), false),
            Resubscribe::Later => (Some(Duration::ZERO), false),
        };
        if let (true, Some(least)) = (wanted, least) {
            let rules = Rules {
                floor: self.config.timers.retry_floor,
                cap: self.config.timers.retry_cap,
                per_hour: self.config.limits.retries_per_hour,
                jitter: self.entropy.next_u16(),
            };
            let at = self.subscriptions.at_mut(slot).and_then(|s| s.governor.next(now, least, at_once, &rules));
            if let Some(at) = at {
                self.detach(slot, true);
                if let Some(record) = self.subscriptions.at_mut(slot) {
                    record.retry_at = Some(at);
                    record.document = None;
                }
                self.push_news(Event::Retrying { subscription: id, why, at });
                if at <= now {
                    self.subscription_timeout(now, slot);
                }
                self.rearm_subscription(slot);
                return;
            }
            self.remove_subscription(slot, true);
            self.push_event(Event::Terminated {
                subscription: id,
                why: Ending::GaveUp,
                retry: Retry::NotBefore(now + HOUR),
            });
            return;
        }
        let retry = match end.resubscribe {
            Resubscribe::Never => Retry::Never,
            Resubscribe::NotBefore(wait) | Resubscribe::MayAfter(wait) if !wait.is_zero() => {
                Retry::NotBefore(now + wait)
            }
            _ => Retry::Allowed,
        };
        // A final failure of the first SUBSCRIBE promises that no NOTIFY follows (6665-4.1.2.1-4).
        let refused = matches!(end.cause, Cause::Refused { .. } | Cause::TimedOut | Cause::Transport);
        let close = refused && self.subscriptions.at(slot).is_some_and(|s| s.dialog.is_none());
        self.remove_subscription(slot, close);
        self.push_event(Event::Terminated { subscription: id, why, retry });
    }

    fn ending(&self, slot: u32, cause: &Cause, status: Option<StatusCode>) -> Ending {
        let (reason, last_retry_after) = self.subscription_reasons(slot);
        match *cause {
            Cause::ByNotifier { retry_after, .. } => Ending::ByNotifier { reason, retry_after },
            Cause::Refused { status: code } => Ending::Refused {
                status: StatusCode::new(code).or(status).unwrap_or(StatusCode::SERVER_INTERNAL_ERROR),
                retry_after: last_retry_after,
            },
            Cause::NoNotify => Ending::NoNotify,
            Cause::Expired => Ending::Expired,
            Cause::TimedOut => Ending::NoAnswer(Failure::Timeout),
            Cause::Transport => Ending::NoAnswer(Failure::Transport),
            Cause::Unsubscribed { .. } => Ending::Unsubscribed,
            Cause::Fetched => Ending::Fetched,
        }
    }

    /// The application no longer wants a subscription that waits for a new
    /// attempt.
    pub(super) fn give_up_retry(&mut self, slot: u32) {
        let Some(id) = self.subscriptions.id_at(slot).map(SubscriptionId) else { return };
        self.remove_subscription(slot, true);
        self.push_event(Event::Terminated { subscription: id, why: Ending::Unsubscribed, retry: Retry::Allowed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { floor: Duration::from_secs(2), cap: Duration::from_secs(1800), per_hour: 30, jitter: 0 };

    #[test]
    fn at_once_is_granted_once_then_it_doubles_up_to_the_cap() {
        let mut governor = Governor::default();
        let mut now = Instant::from_secs(100);
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..8 {
            let at = governor.next(now, Duration::ZERO, true, &RULES).unwrap();
            waits.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(waits, [0, 4, 8, 16, 32, 64, 128, 256]);
    }

    #[test]
    fn the_budget_of_an_hour_ends_and_returns() {
        let mut governor = Governor::default();
        let now = Instant::from_secs(100);
        let rules = Rules { floor: Duration::from_millis(1), cap: Duration::from_millis(1), ..RULES };
        let granted = (0..100).filter(|_| governor.next(now, Duration::ZERO, false, &rules).is_some()).count();
        assert_eq!(granted, 30);
        assert!(governor.next(now + HOUR, Duration::ZERO, false, &rules).is_some());
    }

    #[test]
    fn never_before_what_the_peer_asked_for() {
        let mut governor = Governor::default();
        let wait = Duration::from_secs(86_400);
        let now = Instant::from_secs(1);
        assert_eq!(governor.next(now, wait, false, &RULES), Some(now + wait));
    }
}
