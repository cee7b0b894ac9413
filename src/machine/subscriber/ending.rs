//! How a subscription ends, and what may follow.

use core::time::Duration;

use super::super::Resubscribe;
use super::super::responses::{after_reason, after_refusal};
use super::flags::{ENDED, Ending, Flags};
use super::{Cause, End, Input, State, Subscription};
use crate::Instant;

impl Subscription {
    /// Timer N, the fork window and the deadline.
    pub(super) fn fire_ends(&mut self, now: Instant) {
        if self.fork_window.is_some_and(|at| at <= now) {
            self.close_fork_window();
        }
        if self.timer_n.is_some_and(|at| at <= now) {
            let unanswered = self.in_flight.is_some() || self.flags.has(Flags::TIMED_OUT);
            let ending = if unanswered { Ending::TimedOut } else { Ending::NoNotify };
            self.finish(Input::TimerN, ending);
        }
        if self.deadline_counts() && self.deadline.is_some_and(|at| at <= now) {
            self.finish(Input::Expiry, Ending::Expired);
        }
    }

    pub(super) fn finish(&mut self, input: Input, ending: Ending) {
        let before = self.state;
        if self.step(input).is_err() {
            return;
        }
        self.flags.set(Flags::STILLBORN, before == State::NotifyWait);
        let heard = matches!(before, State::Pending | State::Active);
        let heard = heard || ending == Ending::ByNotifier;
        self.ending = if self.flags.has(Flags::FETCH) && heard {
            Ending::Fetched
        } else if self.flags.has(Flags::ENDING) {
            match ending {
                Ending::ByNotifier => Ending::Confirmed,
                _ => Ending::Unconfirmed,
            }
        } else {
            ending
        };
        self.deadline = None;
        self.timer_n = None;
        self.refresh_at = None;
        self.in_flight = None;
        self.want = None;
        self.tell(ENDED);
    }

    pub(super) fn end(&self) -> End {
        let stillborn = self.flags.has(Flags::STILLBORN);
        let (cause, resubscribe) = match self.ending {
            Ending::ByNotifier => (
                Cause::ByNotifier { reason: self.reason, retry_after: self.retry_after },
                after_reason(self.reason, self.retry_after),
            ),
            Ending::Refused => {
                (Cause::Refused { status: self.status }, after_refusal(self.status, self.retry_after, stillborn))
            }
            Ending::NoNotify => (Cause::NoNotify, Resubscribe::Later),
            Ending::TimedOut => (Cause::TimedOut, Resubscribe::Later),
            Ending::Transport => (Cause::Transport, Resubscribe::Later),
            Ending::Expired => (Cause::Expired, self.after_expiry()),
            Ending::Confirmed => (Cause::Unsubscribed { final_notify: true }, Resubscribe::Never),
            Ending::Unconfirmed => (Cause::Unsubscribed { final_notify: false }, Resubscribe::Never),
            Ending::Fetched => (Cause::Fetched, Resubscribe::Never),
        };
        End { cause, resubscribe }
    }

    /// At once after a lost refresh; later when refreshing failed, or the grant
    /// was too short to be kept up.
    const fn after_expiry(&self) -> Resubscribe {
        if !self.flags.has(Flags::AUTO) {
            Resubscribe::MayAfter(Duration::ZERO)
        } else if self.failures > 0 || self.flags.has(Flags::HURRIED) {
            Resubscribe::Later
        } else {
            Resubscribe::Now
        }
    }
}
