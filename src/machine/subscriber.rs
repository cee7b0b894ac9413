//! The subscriber's side of one subscription (RFC 6665 4.1.2, 4.1.3).
//!
//! One value is one dialog. The first is made by [`Subscription::new`] and
//! carries the attempt: its initial SUBSCRIBE and the Timer N that is also the
//! window in which other forks may answer. Each further fork is made by
//! [`Subscription::fork`] when its first NOTIFY comes.
//!
//! Drive it so: after every input call [`Subscription::poll_subscribe`] and
//! [`Subscription::poll_outcome`] until `None`, and [`Subscription::handle_timeout`]
//! when [`Subscription::poll_timeout`] has come.

use super::{ReasonCode, Substate, Timers, Wrong, to_millis};
use crate::Instant;
use crate::time::earliest;

use flags::{ACCEPTED, ACTIVE, ENDED, Ending, FAILED, Flags, LONG_GRANT, LONG_NOTIFY, PENDING, UNKNOWN, WINDOW};

mod ending;
mod flags;
mod results;
mod schedule;
mod snapshot;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use snapshot::put_as_it_is;
pub use types::{
    Cause, Delivery, End, Kind, NotifyIn, Outcome, Params, Refresh, SubscribeOut, SubscribeResult, TimerKind, Violation,
};

/// Where the subscription is (figure 1 of RFC 6665).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The initial SUBSCRIBE has not been taken yet.
    Init,
    /// Sent; no NOTIFY yet, so no subscription and no dialog.
    NotifyWait,
    /// Subscribed, not authorised yet.
    Pending,
    /// Subscribed and authorised.
    Active,
    /// Over.
    Terminated,
}

transitions! {
    machine subscriber of State [Init, NotifyWait, Pending, Active, Terminated];
    /// What can happen to a subscription at the subscriber.
    pub enum Input {
        /// The initial SUBSCRIBE is sent.
        Subscribe "6665-SSM-1": Init => NotifyWait;
        /// A NOTIFY says active.
        NotifyActive "6665-SSM-4, -11, -12": NotifyWait | Pending | Active => Active;
        /// A NOTIFY says pending.
        NotifyPending "6665-SSM-5, -10, -13, INT-4": NotifyWait | Pending | Active => Pending;
        /// A NOTIFY says terminated.
        NotifyTerminated "6665-SSM-6, -14": NotifyWait | Pending | Active => Terminated;
        /// A NOTIFY says something unknown.
        NotifyOther "6665-SSM-24, -29, INT-6": NotifyWait | Pending => Pending, Active => Active;
        /// 1xx to a SUBSCRIBE.
        Provisional "6665-SSM-2":
            NotifyWait => NotifyWait, Pending => Pending, Active => Active;
        /// 2xx to a SUBSCRIBE.
        Accepted "6665-SSM-3, -16":
            NotifyWait => NotifyWait, Pending => Pending, Active => Active;
        /// 204 to a SUBSCRIBE.
        NoNotify "6665-SSM-17, INT-7":
            NotifyWait => NotifyWait, Pending => Pending, Active => Active;
        /// A changed SUBSCRIBE is sent in place of the last one.
        Retrying "6665-SSM-7": NotifyWait => NotifyWait, Pending => Pending, Active => Active;
        /// A final response that ends an attempt, or is fatal to a subscription.
        Refused "6665-SSM-8, -19": NotifyWait | Pending | Active => Terminated;
        /// Any other failure of an in-dialog SUBSCRIBE.
        RefreshFailed "6665-SSM-20, INT-2": Pending => Pending, Active => Active;
        /// The application, or the refresh timer, wants a refresh.
        Refresh "6665-SSM-15": Pending => Pending, Active => Active;
        /// The application wants the end.
        Unsubscribe "6665-SSM-22, INT-16":
            NotifyWait => NotifyWait, Pending => Pending, Active => Active;
        /// The application wants the end before anything was sent.
        Abandon "(field)": Init => Terminated;
        /// The unsubscribe needs no NOTIFY, or failed.
        Unsubscribed "6665-SSM-28, 5057-5.1-4": Pending | Active => Terminated;
        /// No NOTIFY came after a SUBSCRIBE.
        TimerN "6665-SSM-9, -21": NotifyWait | Pending | Active => Terminated;
        /// No further fork is taken.
        ForkWindow "6665-SSM-27":
            Pending => Pending, Active => Active, Terminated => Terminated;
        /// The deadline has come.
        Expiry "6665-SSM-23, INT-5": Pending | Active => Terminated;
    }
}

/// One subscription, as its subscriber sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    deadline: Option<Instant>,
    timer_n: Option<Instant>,
    fork_window: Option<Instant>,
    /// Set only while nothing is in flight and nothing waits to be sent.
    refresh_at: Option<Instant>,
    last_sent: Option<Instant>,
    /// Seconds that the application wants.
    asked: u32,
    /// Seconds that the latest SUBSCRIBE asked for.
    sent: u32,
    default_expires: u32,
    floor_millis: u32,
    /// Seconds of the latest grant.
    granted: u32,
    /// Seconds of the latest violation.
    received: u32,
    retry_after: Option<u32>,
    jitter: u16,
    /// Of the failure, or of the end.
    status: u16,
    news: u16,
    state: State,
    ending: Ending,
    reason: ReasonCode,
    /// Failed refreshes in a row.
    failures: u8,
    in_flight: Option<Kind>,
    want: Option<Kind>,
    flags: Flags,
}

const _: () = assert!(size_of::<Subscription>() <= 96);

impl Subscription {
    /// A subscription whose initial SUBSCRIBE waits to be taken (6665-SSM-1).
    pub fn new(params: &Params) -> Self {
        let fetch = params.expires == 0;
        let mut flags = Flags::default();
        flags.set(Flags::AUTO, params.refresh.auto);
        flags.set(Flags::FETCH, fetch);
        Self {
            deadline: None,
            timer_n: None,
            fork_window: None,
            refresh_at: None,
            last_sent: None,
            asked: params.expires,
            sent: params.expires,
            default_expires: params.default_expires,
            floor_millis: to_millis(params.refresh.floor),
            granted: 0,
            received: 0,
            retry_after: None,
            jitter: params.refresh.jitter,
            status: 0,
            news: 0,
            state: State::Init,
            ending: Ending::Expired,
            reason: ReasonCode::Absent,
            failures: 0,
            in_flight: None,
            want: Some(if fetch { Kind::Fetch } else { Kind::Initial }),
            flags,
        }
    }

    /// A further dialog of the attempt that `parent` carries, for a NOTIFY with
    /// a new tag that comes now; hand that NOTIFY to it.
    ///
    /// When the window has closed the result is [`State::Terminated`] and
    /// refuses the NOTIFY (6665-4.1.2.4-4). A parent that was told to
    /// unsubscribe before its first NOTIFY makes forks that unsubscribe (INT-16).
    pub fn fork(now: Instant, parent: &Self) -> Self {
        let window = match parent.state {
            State::NotifyWait => parent.timer_n,
            _ => parent.fork_window,
        };
        let window = window.filter(|at| now < *at);
        let mut flags = Flags::default();
        for kept in [Flags::AUTO, Flags::FETCH, Flags::ENDING_ALL] {
            flags.set(kept, parent.flags.has(kept));
        }
        flags.set(Flags::ENDING, parent.flags.has(Flags::ENDING_ALL));
        flags.set(Flags::FORK, true);
        Self {
            deadline: None,
            timer_n: window,
            fork_window: None,
            refresh_at: None,
            news: 0,
            status: 0,
            granted: 0,
            received: 0,
            retry_after: None,
            state: if window.is_some() { State::NotifyWait } else { State::Terminated },
            ending: Ending::Expired,
            reason: ReasonCode::Absent,
            failures: 0,
            in_flight: None,
            want: None,
            flags,
            ..*parent
        }
    }

    /// Where the subscription is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether the application, or a fetch, waits for the end.
    pub const fn is_ending(&self) -> bool {
        self.flags.has(Flags::ENDING) && !matches!(self.state, State::Terminated)
    }

    /// When the subscription runs out, as far as is known.
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The duration that refreshes ask for, in seconds; 0 for a fetch.
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// Until when a NOTIFY with a new tag makes a fork; `None` when closed.
    pub fn fork_window(&self) -> Option<Instant> {
        match self.state {
            State::NotifyWait => self.timer_n,
            _ => self.fork_window,
        }
    }

    /// Closes the fork window of an attempt that had its NOTIFY: the
    /// application gave the attempt up, or a new one replaces it (6665-SSM-6).
    pub fn close_fork_window(&mut self) {
        if self.fork_window.take().is_some() {
            let _ = self.step(Input::ForkWindow);
            self.tell(WINDOW);
        }
    }

    /// Replaces the random value that spreads refreshes, for a fork or a restart.
    pub fn set_jitter(&mut self, jitter: u16) {
        self.jitter = jitter;
    }

    /// The application wants a refresh at once, for `expires` seconds from now
    /// on, or for as long as before. Zero unsubscribes.
    ///
    /// Waits for a SUBSCRIBE in flight (INT-15). [`Wrong`] without a NOTIFY so
    /// far, while ending, and after the end.
    pub fn refresh(&mut self, now: Instant, expires: Option<u32>) -> Result<(), Wrong> {
        if expires == Some(0) && self.is_established() {
            return self.unsubscribe(now);
        }
        if self.is_ending() {
            return Err(Wrong);
        }
        self.step(Input::Refresh)?;
        self.asked = expires.unwrap_or(self.asked);
        self.refresh_at = None;
        self.want = Some(Kind::Refresh);
        Ok(())
    }

    /// The library wants a refresh, to get the full state: like
    /// [`Subscription::refresh`], but never closer to the last SUBSCRIBE than
    /// the floor, so that no peer can make it spin.
    pub fn resync(&mut self, now: Instant) -> Result<(), Wrong> {
        if self.is_ending() || !self.is_established() {
            return Err(Wrong);
        }
        self.step(Input::Refresh)?;
        self.flags.set(Flags::RESYNC, true);
        self.plan_resync(now);
        Ok(())
    }

    /// The subscription is to be refreshed by `at` at the latest, as by a
    /// refresh of its own accord. Nothing happens without a NOTIFY so far,
    /// while ending, and while a SUBSCRIBE is in flight.
    pub fn hasten(&mut self, at: Instant) {
        let free = self.in_flight.is_none() && self.want.is_none();
        if free && self.is_established() && !self.is_ending() {
            self.refresh_at = Some(self.refresh_at.map_or(at, |due| due.min(at)));
        }
    }

    /// The application wants no more.
    ///
    /// Before the first NOTIFY the wish is remembered and sent in the dialog
    /// that the NOTIFY makes (INT-16). [`Wrong`] while ending and after the end.
    pub fn unsubscribe(&mut self, _now: Instant) -> Result<(), Wrong> {
        if self.state == State::Init {
            self.finish(Input::Abandon, Ending::Unconfirmed);
            return Ok(());
        }
        if self.is_ending() {
            return Err(Wrong);
        }
        self.step(Input::Unsubscribe)?;
        self.flags.set(Flags::ENDING, true);
        self.flags.set(Flags::ENDING_ALL, self.state == State::NotifyWait);
        self.refresh_at = None;
        self.want = self.is_established().then_some(Kind::Unsubscribe);
        Ok(())
    }

    /// A NOTIFY of this dialog has come, in order and well-formed.
    pub fn handle_notify(&mut self, now: Instant, notify: &NotifyIn, timers: &Timers) -> Delivery {
        self.fire_ends(now);
        let before = self.state;
        let input = match notify.substate {
            Substate::Active => Input::NotifyActive,
            Substate::Pending => Input::NotifyPending,
            Substate::Terminated => Input::NotifyTerminated,
            Substate::Other => Input::NotifyOther,
        };
        if apply(before, input).is_none() {
            return Delivery::Refused;
        }
        if before == State::NotifyWait && !self.flags.has(Flags::FORK) {
            // 6665-SSM-27: what was Timer N goes on as the fork window.
            self.fork_window = self.timer_n;
        }
        if input == Input::NotifyTerminated {
            self.reason = notify.reason;
            self.retry_after = notify.retry_after;
            self.finish(input, Ending::ByNotifier);
            return Delivery::Accepted;
        }
        if self.step(input).is_err() {
            return Delivery::Refused;
        }
        if input == Input::NotifyOther {
            self.tell(UNKNOWN);
        }
        if self.state != before {
            self.news &= !(PENDING | ACTIVE);
            self.tell(if self.state == State::Active { ACTIVE } else { PENDING });
        }
        self.adjust_deadline(now, notify.expires);
        if before == State::NotifyWait {
            self.establish();
        } else if !self.flags.has(Flags::ENDING) && !self.owes_end(now) {
            // 6665-SSM-18.
            self.timer_n = None;
            self.flags.set(Flags::TIMED_OUT, false);
        }
        self.settle(now, timers);
        Delivery::Accepted
    }

    /// The dialog is over, since another usage of it was refused with `status`
    /// (RFC 5057 5.1).
    pub fn handle_dialog_lost(&mut self, status: u16, retry_after: Option<u32>) {
        self.status = status;
        self.retry_after = retry_after;
        self.finish(Input::Refused, flags::Ending::Refused);
    }

    /// Fires every timer that is due at `now`.
    ///
    /// When several are, the end comes before the refresh: a clock that jumped
    /// past both sends nothing in a dead dialog (6665-RACE-20).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.fire_ends(now);
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            if self.step(Input::Refresh).is_ok() {
                self.want = Some(Kind::Refresh);
            }
        }
    }

    /// The SUBSCRIBE to send now, if any. Taking it is sending it: Timer N starts.
    pub fn poll_subscribe(&mut self, now: Instant, timers: &Timers) -> Option<SubscribeOut> {
        self.fire_ends(now);
        let timer_n = now.saturating_add(timers.timer_n());
        if let Some(kind) = self.in_flight {
            if !self.flags.take(Flags::RESEND) {
                return None;
            }
            self.step(Input::Retrying).ok()?;
            // A NOTIFY may have made the dialog in the meantime (PEER-E04).
            let kind = match kind {
                Kind::Initial if self.is_established() => Kind::Refresh,
                Kind::Fetch if self.is_established() => Kind::Unsubscribe,
                kind => kind,
            };
            self.timer_n = Some(timer_n);
            return Some(self.send(now, kind));
        }
        let kind = self.want.take()?;
        if kind == Kind::Initial || kind == Kind::Fetch {
            self.step(Input::Subscribe).ok()?;
        }
        self.sent = if kind == Kind::Unsubscribe { 0 } else { self.asked };
        // Each SUBSCRIBE has its Timer N; of several the first decides. An
        // unsubscribe waits its full time (PEER-A11).
        self.timer_n = match self.timer_n {
            Some(earlier) if kind == Kind::Refresh => Some(earlier),
            _ => Some(timer_n),
        };
        Some(self.send(now, kind))
    }

    /// Whether [`Subscription::poll_subscribe`] has something to give.
    pub const fn wants_subscribe(&self) -> bool {
        match self.in_flight {
            Some(_) => self.flags.has(Flags::RESEND),
            None => self.want.is_some(),
        }
    }

    /// The next thing to tell. Equal news that was not fetched in time is told
    /// once; the end is never lost and never told twice.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        let bit = self.news & self.news.wrapping_neg();
        self.news &= !bit;
        Some(match bit {
            ACCEPTED => Outcome::Accepted { expires: self.granted },
            LONG_GRANT => Outcome::PeerViolation { by: Violation::Response, received: self.received },
            LONG_NOTIFY => Outcome::PeerViolation { by: Violation::Notify, received: self.received },
            UNKNOWN => Outcome::UnknownState,
            PENDING => Outcome::BecamePending,
            ACTIVE => Outcome::BecameActive,
            FAILED => Outcome::RefreshFailed { status: self.status, retry_at: self.refresh_at },
            WINDOW => Outcome::ForkWindowClosed,
            ENDED => Outcome::Ended(self.end()),
            _ => return None,
        })
    }

    /// When [`Subscription::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// The next timer, with its name.
    pub fn next_timer(&self) -> Option<(Instant, TimerKind)> {
        let refresh = if self.failures > 0 { TimerKind::Retry } else { TimerKind::Refresh };
        let timers = [
            (self.timer_n, TimerKind::TimerN),
            (self.fork_window, TimerKind::ForkWindow),
            (self.deadline.filter(|_| self.deadline_counts()), TimerKind::Expiry),
            (self.refresh_at, refresh),
        ];
        let at = timers.iter().fold(None, |first, (at, _)| earliest(first, *at))?;
        let kind = timers.iter().find(|(due, _)| *due == Some(at))?.1;
        Some((at, kind))
    }
}

impl Subscription {
    const fn is_established(&self) -> bool {
        matches!(self.state, State::Pending | State::Active)
    }

    /// 6665-SSM-23: while a response or a NOTIFY is owed, the deadline waits.
    const fn deadline_counts(&self) -> bool {
        self.is_established() && self.in_flight.is_none() && self.timer_n.is_none()
    }

    /// 6665-RACE-22: a grant of zero waits for its terminal NOTIFY, and one that
    /// crossed it and names no duration does not take Timer N away.
    fn owes_end(&self, now: Instant) -> bool {
        self.in_flight.is_none() && self.deadline.is_some_and(|at| at <= now)
    }

    fn tell(&mut self, bit: u16) {
        self.news |= bit;
    }

    fn step(&mut self, input: Input) -> Result<(), Wrong> {
        self.state = apply(self.state, input).ok_or(Wrong)?;
        Ok(())
    }

    fn send(&mut self, now: Instant, kind: Kind) -> SubscribeOut {
        self.in_flight = Some(kind);
        self.last_sent = Some(now);
        self.flags.set(Flags::NOTIFIED, false);
        self.flags.set(Flags::TIMED_OUT, false);
        self.flags.set(Flags::RESYNC, false);
        SubscribeOut { expires: self.sent, kind }
    }

    /// The first NOTIFY has made the subscription.
    fn establish(&mut self) {
        if self.flags.has(Flags::FETCH) {
            // A fetch that is answered as if it were a subscription: the
            // terminal NOTIFY is owed until Timer N.
            self.flags.set(Flags::ENDING, true);
            return;
        }
        self.timer_n = None;
        if self.flags.has(Flags::ENDING) {
            self.want = Some(Kind::Unsubscribe);
        }
    }
}
