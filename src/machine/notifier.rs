//! The notifier's side of one subscription (RFC 6665 4.2.1, 4.2.2).
//!
//! The machine decides when a NOTIFY goes out and what its Subscription-State
//! says; the body is the caller's. Drive it so: after every input, while
//! [`Subscription::wants_notify`] says so and the caller can send, call
//! [`Subscription::take_notify`]; call [`Subscription::handle_timeout`] when
//! [`Subscription::poll_timeout`] has come; and free the subscription when
//! [`Subscription::poll_outcome`] says that it is gone.

use core::time::Duration;

use super::{ReasonCode, Substate, Wrong, secs, to_millis};
use crate::Instant;
use crate::time::earliest;

mod snapshot;
#[cfg(test)]
mod tests;
mod types;

pub use types::{Failure, GoneCause, Grant, NotifyOut, NotifyResult, Outcome, Params, TimerKind, Urgency};

/// Where the subscription is (figure 2 of RFC 6665).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The SUBSCRIBE is accepted, its first NOTIFY has not been taken.
    RespWait,
    /// Not authorised yet.
    Pending,
    /// Authorised.
    Active,
    /// Over, though its last NOTIFY may still be owed or open.
    Terminated,
}

transitions! {
    machine notifier of State [RespWait, Pending, Active, Terminated];
    /// What can happen to a subscription at the notifier.
    pub enum Input {
        /// The first NOTIFY goes out, authorised.
        FirstActive "6665-NSM-3": RespWait => Active;
        /// The first NOTIFY goes out, undecided.
        FirstPending "6665-NSM-4": RespWait => Pending;
        /// A SUBSCRIBE is accepted for zero seconds.
        Unsubscribe "6665-NSM-5, -14": RespWait | Pending | Active => Terminated;
        /// A SUBSCRIBE is accepted.
        Refresh "6665-NSM-11": RespWait => RespWait, Pending => Pending, Active => Active;
        /// The watcher is authorised.
        Approve "6665-NSM-6": RespWait => RespWait, Pending => Active;
        /// Local policy ends the subscription.
        Terminate "6665-NSM-5, -7, -13, -17": RespWait | Pending | Active => Terminated;
        /// Local policy lets it live less long.
        Shorten "6665-4.2.2-8": RespWait => RespWait, Pending => Pending, Active => Active;
        /// Nobody decided in time.
        GiveUp "6665-NSM-8": Pending => Terminated;
        /// The resource's state changed.
        Change "6665-NSM-9, -10": RespWait => RespWait, Pending => Pending, Active => Active;
        /// The deadline has come.
        Expiry "6665-NSM-15": RespWait | Pending | Active => Terminated;
        /// A NOTIFY failed in a way that ends the subscription.
        NotifyFailed "6665-NSM-16": Pending | Active => Terminated;
    }
}

/// `retry-after` sent with `invariant`, for clients of RFC 3265: a year (6665-4.1.3-22).
pub const INVARIANT_RETRY_AFTER: u32 = 31_536_000;

/// One subscription, as its notifier sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    deadline: Instant,
    give_up: Option<Instant>,
    /// No change is told before it.
    throttle: Option<Instant>,
    /// Nothing is repeated before it.
    retry: Option<Instant>,
    retry_after: Option<u32>,
    min_interval_millis: u32,
    seq: u32,
    state: State,
    decision: Grant,
    open: Open,
    end: Ending,
    reason: ReasonCode,
    gone: Gone,
    /// Failed NOTIFYs in a row.
    failures: u8,
    flags: Flags,
}

const _: () = assert!(size_of::<Subscription>() <= 64);

/// The NOTIFY transaction that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    None,
    Ordinary,
    Terminal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    ToTell,
    Told,
}

/// [`GoneCause`] without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Expired,
    Unsubscribed,
    Terminated,
    Refused,
    TimedOut,
    Transport,
}

/// Single bits, named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    /// A SUBSCRIBE waits for its NOTIFY.
    const OWED: Self = Self(1);
    /// The terminated NOTIFY is still to be sent.
    const TERMINAL: Self = Self(1 << 1);
    /// The state, or what was said of it, is out of date at the subscriber.
    const DIRTY: Self = Self(1 << 2);
    /// A partial body would leave a gap.
    const FULL: Self = Self(1 << 3);
    /// The peer named the time in `retry`.
    const TOLD_TO_WAIT: Self = Self(1 << 4);
    const KEEP_ON_TIMEOUT: Self = Self(1 << 5);
    /// What is to be told is more than a change of the resource's state.
    const INSIST: Self = Self(1 << 6);
}

impl Subscription {
    /// A subscription whose SUBSCRIBE has just been accepted; owes a NOTIFY at
    /// once (6665-NSM-2). With nothing granted it is terminated already (-5).
    pub fn new(now: Instant, params: &Params) -> Self {
        let mut this = Self {
            deadline: now.saturating_add(secs(params.granted)),
            give_up: params.give_up.map(|wait| now.saturating_add(wait)),
            throttle: None,
            retry: None,
            retry_after: None,
            min_interval_millis: to_millis(params.min_interval),
            seq: 0,
            state: State::RespWait,
            decision: params.decision,
            open: Open::None,
            end: Ending::Expired,
            reason: ReasonCode::Timeout,
            gone: Gone::No,
            failures: 0,
            flags: Flags::default(),
        };
        this.flags.set(Flags::KEEP_ON_TIMEOUT, params.keep_on_timeout);
        this.flags.set(Flags::OWED, true);
        this.flags.set(Flags::FULL, true);
        if params.granted == 0 {
            this.finish(Input::Unsubscribe, Ending::Unsubscribed, ReasonCode::Timeout);
        }
        this
    }

    /// Where the subscription is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it is over; its last NOTIFY may still be owed or open.
    pub const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    /// Whether it can be freed (6665-NSM-18).
    pub const fn is_gone(&self) -> bool {
        !matches!(self.gone, Gone::No)
    }

    /// When it runs out.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a NOTIFY transaction is open.
    pub const fn has_open_notify(&self) -> bool {
        !matches!(self.open, Open::None)
    }

    /// A SUBSCRIBE in the dialog has been accepted for `granted` seconds from
    /// now; 0 ends the subscription (6665-NSM-11, -14).
    ///
    /// [`Wrong`] when it is over, or runs out at `now`: answer 481 (6665-NSM-19).
    pub fn handle_subscribe(&mut self, now: Instant, granted: u32) -> Result<(), Wrong> {
        if self.deadline <= now {
            return Err(Wrong);
        }
        if granted == 0 {
            apply(self.state, Input::Unsubscribe).ok_or(Wrong)?;
            self.finish(Input::Unsubscribe, Ending::Unsubscribed, ReasonCode::Timeout);
        } else {
            self.step(Input::Refresh)?;
            self.deadline = now.saturating_add(secs(granted));
        }
        self.flags.set(Flags::OWED, true);
        self.flags.set(Flags::FULL, true);
        Ok(())
    }

    /// The watcher is authorised. [`Wrong`] if it was already, or it is over.
    pub fn approve(&mut self, _now: Instant) -> Result<(), Wrong> {
        if self.state == State::RespWait && self.decision == Grant::Active {
            return Err(Wrong);
        }
        self.step(Input::Approve)?;
        self.decision = Grant::Active;
        if self.state == State::Active {
            // 6665-NSM-6: a decision is not a change that the throttle is for.
            self.throttle = None;
            self.end_back_off();
            self.flags.set(Flags::DIRTY, true);
            self.flags.set(Flags::INSIST, true);
            self.flags.set(Flags::FULL, true);
        }
        Ok(())
    }

    /// Local policy ends the subscription with this reason.
    ///
    /// `retry_after`, in seconds, is sent with the reasons that give it a
    /// meaning, and filled in for `invariant` (6665-4.2.2-12, 6665-4.1.3-22).
    /// [`Wrong`] when it is over, and for [`ReasonCode::Absent`] (6665-4.2.2-11).
    pub fn terminate(&mut self, _now: Instant, reason: ReasonCode, retry_after: Option<u32>) -> Result<(), Wrong> {
        if reason == ReasonCode::Absent {
            return Err(Wrong);
        }
        apply(self.state, Input::Terminate).ok_or(Wrong)?;
        self.finish(Input::Terminate, Ending::Terminated, reason);
        self.retry_after = match reason {
            ReasonCode::Invariant => Some(retry_after.unwrap_or(INVARIANT_RETRY_AFTER)),
            ReasonCode::Probation | ReasonCode::Giveup | ReasonCode::Other | ReasonCode::BadFilter => retry_after,
            _ => None,
        };
        Ok(())
    }

    /// Local policy lets the subscription live `seconds` from now, which a
    /// NOTIFY tells the subscriber; 0 ends it. [`Wrong`] when it is over, or
    /// would not run out sooner (6665-4.2.2-9).
    pub fn shorten(&mut self, now: Instant, seconds: u32) -> Result<(), Wrong> {
        let deadline = now.saturating_add(secs(seconds));
        if deadline >= self.deadline {
            return Err(Wrong);
        }
        self.step(Input::Shorten)?;
        self.pass(now);
        self.deadline = deadline;
        if seconds == 0 {
            self.finish(Input::Expiry, Ending::Expired, ReasonCode::Timeout);
        } else if self.state != State::RespWait {
            self.end_back_off();
            self.flags.set(Flags::DIRTY, true);
            self.flags.set(Flags::INSIST, true);
        }
        Ok(())
    }

    /// Replaces the throttle, from the next NOTIFY on (RFC 6446).
    pub fn set_min_interval(&mut self, min_interval: Duration) {
        self.min_interval_millis = to_millis(min_interval);
    }

    /// The resource's state has changed. A pending watcher is told nothing
    /// (6665-NSM-9); a first NOTIFY not taken yet will have the newest state.
    pub fn mark_dirty(&mut self, now: Instant) {
        if self.step(Input::Change).is_ok() && self.state == State::Active {
            self.pass(now);
            self.flags.set(Flags::DIRTY, true);
            self.end_back_off();
        }
    }

    /// Something is to be told that is no change of state, such as a new
    /// Contact: as soon as the throttle lets it.
    pub fn insist(&mut self, now: Instant) {
        if matches!(self.state, State::Active | State::Pending) {
            self.pass(now);
            self.end_back_off();
            self.flags.set(Flags::DIRTY, true);
            self.flags.set(Flags::INSIST, true);
        }
    }

    /// The change that [`mark_dirty`](Self::mark_dirty) told of needs no NOTIFY.
    /// True if none is wanted now: an approval, a shorter life, or the repeat of
    /// one that failed is told all the same.
    pub fn clear_dirty(&mut self) -> bool {
        let only_a_change = !self.flags.has(Flags::INSIST);
        self.flags.set(Flags::DIRTY, !only_a_change);
        only_a_change
    }

    /// Whether the next NOTIFY may tell the resource's state: the watcher is
    /// authorised, and was not just refused (6665-NSM-9, 6665-4.2.1.3-4).
    pub const fn discloses_state(&self) -> bool {
        let refused = matches!(self.state, State::Terminated)
            && matches!(self.reason, ReasonCode::Rejected | ReasonCode::NoResource);
        matches!(self.decision, Grant::Active) && !refused
    }

    /// Whether, and why, a NOTIFY is to be sent now.
    pub fn wants_notify(&self, now: Instant) -> Option<Urgency> {
        if self.flags.has(Flags::OWED) {
            return Some(Urgency::Owed);
        }
        let done = self.state == State::Terminated && !self.flags.has(Flags::TERMINAL);
        if self.open != Open::None || done {
            return None;
        }
        if self.flags.has(Flags::TERMINAL) || self.deadline <= now {
            return Some(Urgency::Terminal);
        }
        // In its last second the change waits for the terminal NOTIFY.
        let waits = |at: Option<Instant>| at.is_some_and(|at| now < at);
        let held = waits(self.throttle) || waits(self.retry) || self.runs_out(now);
        (self.flags.has(Flags::DIRTY) && !held).then_some(Urgency::Change)
    }

    /// The NOTIFY to send now, which is open from here on until
    /// [`Subscription::handle_notify_result`], or until one that is owed
    /// replaces it.
    pub fn take_notify(&mut self, now: Instant) -> Option<NotifyOut> {
        let urgency = self.wants_notify(now)?;
        if self.runs_out(now) {
            // PEER-B10: never a NOTIFY that claims time it does not have.
            self.finish(Input::Expiry, Ending::Expired, ReasonCode::Timeout);
        }
        if self.state == State::RespWait {
            let input = match self.decision {
                Grant::Active => Input::FirstActive,
                Grant::Pending => Input::FirstPending,
            };
            self.step(input).ok()?;
        }
        let substate = match self.state {
            State::Active => Substate::Active,
            State::Terminated => Substate::Terminated,
            State::Pending | State::RespWait => Substate::Pending,
        };
        let terminal = substate == Substate::Terminated;
        let abandon_open = urgency == Urgency::Owed && self.open != Open::None;
        let full = self.flags.has(Flags::FULL) || terminal || abandon_open;
        self.seq = self.seq.wrapping_add(1);
        self.open = if terminal { Open::Terminal } else { Open::Ordinary };
        for sent in [Flags::OWED, Flags::TERMINAL, Flags::DIRTY, Flags::FULL, Flags::TOLD_TO_WAIT, Flags::INSIST] {
            self.flags.set(sent, false);
        }
        self.retry = None;
        let interval = Duration::from_millis(u64::from(self.min_interval_millis));
        self.throttle = (!interval.is_zero()).then(|| now.saturating_add(interval));
        Some(NotifyOut {
            substate,
            expires: (!terminal).then(|| self.seconds_left(now)),
            reason: terminal.then_some(self.reason),
            retry_after: self.retry_after.filter(|_| terminal),
            full,
            abandon_open,
            seq: self.seq,
        })
    }

    /// The NOTIFY named `seq` has this result. That of one that was given up is
    /// ignored (INT-10).
    pub fn handle_notify_result(&mut self, now: Instant, seq: u32, result: NotifyResult) {
        if self.open == Open::None || seq != self.seq {
            return;
        }
        self.pass(now);
        let open = core::mem::replace(&mut self.open, Open::None);
        if self.state == State::Terminated {
            self.ended_result(open, result);
            return;
        }
        match result {
            NotifyResult::Delivered => self.failures = 0,
            NotifyResult::Retry => {
                self.flags.set(Flags::OWED, true);
                self.flags.set(Flags::FULL, true);
            }
            NotifyResult::Kept { retry_after } => self.keep(now, retry_after),
            NotifyResult::Ended => self.remove(Ending::Refused),
            NotifyResult::TimedOut | NotifyResult::TransportFailed if self.flags.has(Flags::KEEP_ON_TIMEOUT) => {
                self.keep(now, None);
            }
            NotifyResult::TimedOut => self.remove(Ending::TimedOut),
            NotifyResult::TransportFailed => self.remove(Ending::Transport),
        }
    }

    /// Fires every timer that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
        if self.deadline <= now {
            self.finish(Input::Expiry, Ending::Expired, ReasonCode::Timeout);
        }
        if self.give_up.is_some_and(|at| at <= now) {
            self.finish(Input::GiveUp, Ending::Terminated, ReasonCode::Giveup);
        }
    }

    /// When [`Subscription::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// The next timer, with its name. None runs once the subscription is over:
    /// its last NOTIFY ends with the transaction's own Timer F.
    pub fn next_timer(&self) -> Option<(Instant, TimerKind)> {
        if self.state == State::Terminated {
            return None;
        }
        let change = self.flags.has(Flags::DIRTY) && self.open == Open::None;
        let timers = [
            (Some(self.deadline), TimerKind::Expiry),
            (self.give_up.filter(|_| self.state == State::Pending), TimerKind::GiveUp),
            (self.throttle.filter(|_| change), TimerKind::Throttle),
            (self.retry.filter(|_| change), TimerKind::Retry),
        ];
        let at = timers.iter().fold(None, |first, (at, _)| earliest(first, *at))?;
        let kind = timers.iter().find(|(due, _)| *due == Some(at))?.1;
        Some((at, kind))
    }

    /// The end, once it can be freed.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        if self.gone != Gone::ToTell {
            return None;
        }
        self.gone = Gone::Told;
        Some(Outcome::Gone(match self.end {
            Ending::Expired => GoneCause::Expired,
            Ending::Unsubscribed => GoneCause::Unsubscribed,
            Ending::Terminated => GoneCause::Terminated { reason: self.reason },
            Ending::Refused => GoneCause::NotifyFailed { why: Failure::Refused },
            Ending::TimedOut => GoneCause::NotifyFailed { why: Failure::TimedOut },
            Ending::Transport => GoneCause::NotifyFailed { why: Failure::Transport },
        }))
    }
}

impl Subscription {
    fn step(&mut self, input: Input) -> Result<(), Wrong> {
        self.state = apply(self.state, input).ok_or(Wrong)?;
        Ok(())
    }

    /// Drops what has held changes back until now: it is no timer any more.
    fn pass(&mut self, now: Instant) {
        self.throttle = self.throttle.filter(|at| now < *at);
        self.retry = self.retry.filter(|at| now < *at);
    }

    /// There is news: a back-off of our own is for repetition. What the peer
    /// asked for stays.
    const fn end_back_off(&mut self) {
        if !self.flags.has(Flags::TOLD_TO_WAIT) {
            self.retry = None;
        }
    }

    /// Whole seconds until the deadline.
    fn seconds_left(&self, now: Instant) -> u32 {
        let left = self.deadline.saturating_since(now).as_secs();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Lives, but has no whole second left to announce.
    fn runs_out(&self, now: Instant) -> bool {
        self.state != State::Terminated && self.seconds_left(now) == 0
    }

    /// Over, with a NOTIFY that says so.
    fn finish(&mut self, input: Input, end: Ending, reason: ReasonCode) {
        if self.step(input).is_err() {
            return;
        }
        self.end = end;
        self.reason = reason;
        self.retry_after = None;
        self.flags.set(Flags::TERMINAL, true);
    }

    /// Over, without another NOTIFY (6665-NSM-16).
    fn remove(&mut self, end: Ending) {
        if self.step(Input::NotifyFailed).is_ok() {
            self.end = end;
            self.flags = Flags::default();
            self.gone = Gone::ToTell;
        }
    }

    /// A NOTIFY has come back after the end.
    fn ended_result(&mut self, open: Open, result: NotifyResult) {
        match (open, result) {
            // 6665-RACE-17.
            (_, NotifyResult::Retry) => self.flags.set(Flags::TERMINAL, true),
            // The last NOTIFY was waiting for this one.
            (Open::Ordinary, NotifyResult::Delivered | NotifyResult::Kept { .. }) => {}
            // 6665-NSM-18, 6665-NRC-22; or the peer is lost already (PEER-D06).
            _ => {
                self.flags = Flags::default();
                self.gone = Gone::ToTell;
            }
        }
    }

    /// A NOTIFY is lost, the subscription stays: what it said is said again
    /// after Retry-After or a back-off that doubles (6665-NRC-17).
    fn keep(&mut self, now: Instant, retry_after: Option<u32>) {
        const BACK_OFF: Duration = Duration::from_secs(5);
        // A Retry-After of 0, again and again, must not become a storm.
        const LEAST: Duration = Duration::from_millis(500);
        let doubled = 1u32.checked_shl(u32::from(self.failures)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let news = self.flags.has(Flags::DIRTY);
        self.flags.set(Flags::DIRTY, true);
        self.flags.set(Flags::INSIST, true);
        self.flags.set(Flags::FULL, true);
        self.flags.set(Flags::TOLD_TO_WAIT, retry_after.is_some());
        self.retry = match retry_after {
            Some(wait) => Some(now.saturating_add(secs(wait).max(LEAST.saturating_mul(doubled)))),
            // What changed in the meantime is news of its own.
            None if news => None,
            None => Some(now.saturating_add(BACK_OFF.saturating_mul(doubled))),
        };
    }
}

impl Flags {
    const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    const fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }
}
