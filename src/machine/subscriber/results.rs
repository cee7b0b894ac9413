//! What the responses to a SUBSCRIBE do (6665-SSM-2, -3, -7, -8, -16, -17, -19, -20, -28).

use super::super::responses::is_fatal;
use super::super::{Timers, secs};
use super::flags::{ACCEPTED, Ending, FAILED, Flags, LONG_GRANT};
use super::{Input, Kind, State, SubscribeResult, Subscription};
use crate::Instant;

impl Subscription {
    /// The SUBSCRIBE that was taken last has this result. A result for which
    /// nothing is in flight is ignored.
    pub fn handle_subscribe_result(&mut self, now: Instant, result: SubscribeResult, timers: &Timers) {
        if result == SubscribeResult::Retrying && self.in_flight.is_some() && self.timer_n.is_some_and(|at| at <= now) {
            // What comes next has a Timer N of its own, though that of the one before may fire by now.
            self.timer_n = Some(now.saturating_add(timers.timer_n()));
        }
        self.fire_ends(now);
        let Some(kind) = self.in_flight else { return };
        match result {
            // The table takes it in every state in which a request is in flight.
            SubscribeResult::Provisional => {
                let _ = self.step(Input::Provisional);
            }
            SubscribeResult::Accepted { expires } => {
                self.accepted(now, expires, false, timers);
            }
            SubscribeResult::NoNotify { .. } if kind == Kind::Unsubscribe => {
                self.finish(Input::Unsubscribed, Ending::Unconfirmed);
            }
            SubscribeResult::NoNotify { expires } => self.accepted(now, expires, true, timers),
            SubscribeResult::Retrying => self.flags.set(Flags::RESEND, true),
            SubscribeResult::TooBrief { min_expires } => match min_expires {
                Some(min) if min > self.sent && self.sent > 0 && !self.flags.has(Flags::LENGTHENED) => {
                    self.flags.set(Flags::LENGTHENED, true);
                    self.flags.set(Flags::RESEND, true);
                    self.sent = min;
                    self.asked = self.asked.max(min);
                }
                _ => self.failed(now, 423, None, kind),
            },
            SubscribeResult::Failed { status: 408, .. } | SubscribeResult::TimedOut => {
                self.timed_out(kind);
            }
            SubscribeResult::Failed { status, retry_after } => {
                self.failed(now, status, retry_after, kind);
            }
            SubscribeResult::TransportFailed => {
                if self.state == State::NotifyWait {
                    self.finish(Input::Refused, Ending::Transport);
                } else {
                    self.failed(now, 503, None, kind);
                }
            }
        }
        // The deadline may have come while the response was owed (6665-SSM-23).
        self.fire_ends(now);
        self.settle(now, timers);
    }

    fn accepted(&mut self, now: Instant, expires: Option<u32>, silent: bool, timers: &Timers) {
        let input = if silent { Input::NoNotify } else { Input::Accepted };
        if self.step(input).is_err() {
            return;
        }
        self.in_flight = None;
        self.failures = 0;
        self.flags.set(Flags::LENGTHENED, false);
        self.flags.set(Flags::STOPPED, false);
        let received = expires.unwrap_or(self.sent);
        self.granted = received.min(self.sent);
        self.tell(ACCEPTED);
        if received > self.sent {
            self.received = received;
            self.tell(LONG_GRANT);
        }
        if silent && self.is_established() {
            self.timer_n = None;
        } else if self.granted == 0 && self.timer_n.is_none() {
            // 6665-RACE-22: the NOTIFY that took Timer N away was not the last.
            self.timer_n = self.last_sent.map(|at| at.saturating_add(timers.timer_n()));
        }
        let mut deadline = now.saturating_add(secs(self.granted));
        if self.flags.has(Flags::NOTIFIED) {
            // INT-13.
            deadline = self.deadline.map_or(deadline, |known| known.min(deadline));
        }
        self.deadline = Some(deadline);
        self.refresh_at = None;
    }

    fn timed_out(&mut self, kind: Kind) {
        if self.state == State::NotifyWait {
            self.finish(Input::Refused, Ending::TimedOut);
            return;
        }
        self.in_flight = None;
        self.flags.set(Flags::RESEND, false);
        self.flags.set(Flags::TIMED_OUT, self.timer_n.is_some());
        self.flags.set(Flags::STOPPED, false);
        if kind != Kind::Unsubscribe {
            self.status = 408;
            self.tell(FAILED);
        }
    }

    fn failed(&mut self, now: Instant, status: u16, retry_after: Option<u32>, kind: Kind) {
        self.status = status;
        self.retry_after = retry_after;
        self.flags.set(Flags::RESEND, false);
        self.flags.set(Flags::LENGTHENED, false);
        if self.state == State::NotifyWait || (kind == Kind::Refresh && is_fatal(status)) {
            self.finish(Input::Refused, Ending::Refused);
            return;
        }
        if kind == Kind::Unsubscribe {
            // 5057-5.1-4: whatever the answer, a later NOTIFY gets 481.
            self.finish(Input::Unsubscribed, Ending::Unconfirmed);
            return;
        }
        if self.step(Input::RefreshFailed).is_err() {
            return;
        }
        self.in_flight = None;
        self.tell(FAILED);
        if kind == Kind::Refresh {
            // INT-1. An initial request has given its Timer N to the fork window.
            self.timer_n = None;
            self.failures = self.failures.saturating_add(1);
            self.schedule_retry(now, retry_after);
        }
    }
}
