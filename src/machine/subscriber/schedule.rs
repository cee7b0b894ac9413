//! When the subscriber's deadline is and when it refreshes (INT-3, INT-13, INT-17).

use core::time::Duration;

use super::super::{Timers, secs};
use super::flags::{Flags, LONG_NOTIFY};
use super::{Kind, Subscription};
use crate::Instant;

/// A NOTIFY's `expires` is whole seconds, and late by the time it travelled:
/// within this it says nothing new.
const SLACK: Duration = Duration::from_secs(2);

/// The first wait after a failed refresh, where the floor is lower.
const BACK_OFF: Duration = Duration::from_millis(500);

impl Subscription {
    /// INT-13, 6665-BC-3: a NOTIFY moves the deadline only if it names one.
    pub(super) fn adjust_deadline(&mut self, now: Instant, expires: Option<u32>) {
        let Some(expires) = expires else {
            if self.deadline.is_none() {
                // 6665-BC-2: nobody has said anything.
                let known = self.sent.min(self.default_expires);
                self.deadline = Some(now.saturating_add(secs(known)));
            }
            return;
        };
        // A NOTIFY that crosses a SUBSCRIBE for less speaks of the grant before.
        let limit = self.sent.max(self.granted);
        if expires > limit && !self.flags.has(Flags::ENDING) && !self.flags.has(Flags::FETCH) {
            self.received = expires;
            self.tell(LONG_NOTIFY);
        }
        let deadline = now.saturating_add(secs(expires));
        let known = self.deadline.replace(deadline);
        self.flags.set(Flags::NOTIFIED, true);
        let later = known.is_none_or(|known| deadline > known.saturating_add(SLACK));
        let sooner = known.is_some_and(|known| deadline.saturating_add(SLACK) < known);
        if later {
            self.failures = 0;
            self.flags.set(Flags::STOPPED, false);
        }
        // A failed refresh keeps its own time unless the deadline overtakes it.
        if later || (sooner && self.failures == 0) || self.refresh_at >= self.deadline {
            self.refresh_at = None;
        }
    }

    /// Makes sure that a living subscription has its next refresh planned.
    pub(super) fn settle(&mut self, now: Instant, timers: &Timers) {
        let idle = self.in_flight.is_none() && self.want.is_none() && self.refresh_at.is_none();
        let wanted = self.flags.has(Flags::AUTO)
            && !self.flags.has(Flags::ENDING)
            && !self.flags.has(Flags::STOPPED)
            && !self.flags.has(Flags::TIMED_OUT);
        if idle && wanted && self.is_established() {
            self.refresh_at = self.refresh_point(now, timers);
        }
        self.plan_resync(now);
    }

    /// Brings the refresh forward for [`Subscription::resync`], at once where
    /// the floor would be too late.
    pub(super) fn plan_resync(&mut self, now: Instant) {
        let free = self.in_flight.is_none() && self.want.is_none();
        // A failed refresh has its own time.
        let held = !free || self.flags.has(Flags::STOPPED);
        if !self.flags.has(Flags::RESYNC) || held || !self.is_established() {
            return;
        }
        let at = self.not_before_floor(now);
        if at <= now || self.deadline.is_some_and(|end| end <= at) {
            self.refresh_at = None;
            self.want = Some(Kind::Refresh);
        } else {
            self.refresh_at = Some(self.refresh_at.map_or(at, |due| due.min(at)));
        }
    }

    /// The automatic refresh: a jittered fraction of the time that is left, but
    /// no later than the interval asked for would have had it (INT-3).
    fn refresh_point(&mut self, now: Instant, timers: &Timers) -> Option<Instant> {
        let deadline = self.deadline.filter(|at| now < *at)?;
        let point = self.spread(now, deadline.saturating_since(now), timers);
        let start = self.last_sent.unwrap_or(now);
        let asked = self.spread(start, secs(self.sent), timers);
        let at = self.not_before_floor(point.min(asked)).max(now);
        if at < deadline {
            self.flags.set(Flags::HURRIED, false);
            return Some(at);
        }
        // Too short for the floor: one try, then the subscription runs out (PEER-B06).
        if self.flags.has(Flags::HURRIED) {
            return None;
        }
        self.flags.set(Flags::HURRIED, true);
        Some(point)
    }

    /// `at`, or the first moment that the floor allows.
    pub(super) fn not_before_floor(&self, at: Instant) -> Instant {
        let floor = Duration::from_millis(u64::from(self.floor_millis));
        match self.last_sent {
            Some(sent) => at.max(sent.saturating_add(floor)),
            None => at,
        }
    }

    /// INT-17: 80 to 95 % of the interval, at least 64*T1 before its end where
    /// that leaves half of it, half otherwise; spread downwards from there.
    fn spread(&self, start: Instant, interval: Duration, timers: &Timers) -> Instant {
        let half = interval.checked_div(2).unwrap_or(Duration::ZERO);
        let latest = interval.saturating_sub(timers.timer_n()).max(half).min(fraction(interval, 95, 100));
        let parts = u64::from(self.jitter).saturating_mul(15).saturating_add(u64::from(u16::MAX).saturating_mul(80));
        let whole = u64::from(u16::MAX).saturating_mul(95);
        start.saturating_add(fraction(latest, parts, whole))
    }

    /// 6665-SSM-20: after Retry-After, or a back-off that doubles; always before
    /// the deadline. The last tries halve what is left until the floor is met.
    pub(super) fn schedule_retry(&mut self, now: Instant, retry_after: Option<u32>) {
        self.flags.set(Flags::STOPPED, true);
        if !self.flags.has(Flags::AUTO) || self.flags.has(Flags::ENDING) {
            return;
        }
        // A refresh that was queued behind the failed one is this retry.
        self.want = None;
        let Some(left) = self.deadline.map(|at| at.saturating_since(now)) else {
            return;
        };
        let floor = Duration::from_millis(u64::from(self.floor_millis)).max(BACK_OFF);
        let doublings = u32::from(self.failures.saturating_sub(1)).min(31);
        let back_off = floor.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let wait = match retry_after {
            Some(asked) if back_off < left => secs(asked).max(back_off),
            Some(asked) => secs(asked).max(floor),
            None => {
                let half = left.checked_div(2).unwrap_or(Duration::ZERO);
                if back_off < left { back_off } else { half.max(floor) }
            }
        };
        if wait < left {
            self.refresh_at = Some(now.saturating_add(wait));
        }
    }
}

/// `part / whole` of a duration, for `part <= whole`.
fn fraction(of: Duration, part: u64, whole: u64) -> Duration {
    let nanos = of.as_nanos().saturating_mul(u128::from(part)).checked_div(u128::from(whole)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
