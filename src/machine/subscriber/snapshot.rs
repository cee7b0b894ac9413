//! What a successor has to know of the subscriber's machine.

use super::flags::{Ending, Flags};
use super::{Kind, State, Subscription};
use crate::codec::{Get, Mode, Put, Reader, Writer};
use crate::error::RestoreError;

tags!(State { Init = 0, NotifyWait = 1, Pending = 2, Active = 3, Terminated = 4 });
tags!(Kind { Initial = 0, Refresh = 1, Unsubscribe = 2, Fetch = 3 });
tags!(Ending {
    ByNotifier = 0,
    Refused = 1,
    NoNotify = 2,
    Expired = 3,
    TimedOut = 4,
    Transport = 5,
    Confirmed = 6,
    Unconfirmed = 7,
    Fetched = 8,
});

impl Subscription {
    /// The same subscription once its SUBSCRIBE in flight is forgotten: it is
    /// to be sent again, since nobody will learn of its answer. A first one
    /// goes out in the same attempt, so that a NOTIFY to either is taken.
    pub(crate) const fn succeeded(mut self) -> Self {
        let Some(kind) = self.in_flight else { return self };
        self.in_flight = None;
        self.flags.set(Flags::RESEND, false);
        self.flags.set(Flags::TIMED_OUT, false);
        self.timer_n = None;
        if matches!(self.state, State::NotifyWait) {
            self.state = State::Init;
            self.want = Some(kind);
        } else if self.want.is_none() {
            self.refresh_at = None;
            self.want = Some(match kind {
                Kind::Initial | Kind::Refresh => Kind::Refresh,
                Kind::Fetch | Kind::Unsubscribe => Kind::Unsubscribe,
            });
        }
        self
    }

    /// The NOTIFY that it awaits may have come while nobody was there: asks
    /// again instead of running into Timer N.
    pub(crate) const fn renew(&mut self) {
        if self.in_flight.is_some() || self.timer_n.is_none() || self.flags.has(Flags::FORK) {
            return;
        }
        let kind = match self.state {
            State::NotifyWait if self.flags.has(Flags::FETCH) => Kind::Fetch,
            State::NotifyWait => Kind::Initial,
            _ if self.flags.has(Flags::ENDING) => Kind::Unsubscribe,
            _ => Kind::Refresh,
        };
        self.in_flight = Some(kind);
        *self = self.succeeded();
    }

    /// Whether a NOTIFY is awaited.
    pub(crate) const fn awaits_notify(&self) -> bool {
        self.timer_n.is_some()
    }

    /// Whether it is over and was told to be.
    pub(crate) const fn is_spent(&self) -> bool {
        matches!(self.state, State::Terminated) && self.news == 0
    }
}

impl Put for Subscription {
    fn put(&self, w: &mut Writer<'_>) {
        let this = if w.is(Mode::Saved) { self.succeeded() } else { *self };
        put_as_it_is(&this, w);
    }
}

/// Without [`Subscription::succeeded`]: for what forks are made of.
pub(crate) fn put_as_it_is(this: &Subscription, w: &mut Writer<'_>) {
    let Subscription {
        deadline,
        timer_n,
        fork_window,
        refresh_at,
        last_sent,
        asked,
        sent,
        default_expires,
        floor_millis,
        granted,
        received,
        retry_after,
        jitter,
        status,
        news,
        state,
        ending,
        reason,
        failures,
        in_flight,
        want,
        flags,
    } = this;
    w.put(deadline);
    w.put(timer_n);
    w.put(fork_window);
    w.put(refresh_at);
    w.put(last_sent);
    w.put(asked);
    w.put(sent);
    w.put(default_expires);
    w.put(floor_millis);
    w.put(granted);
    w.put(received);
    w.put(retry_after);
    w.ident(jitter);
    w.put(status);
    w.put(news);
    w.put(state);
    w.put(ending);
    w.put(reason);
    w.put(failures);
    w.put(in_flight);
    w.put(want);
    w.put(&flags.bits());
}

impl Get for Subscription {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(Self {
            deadline: r.get()?,
            timer_n: r.get()?,
            fork_window: r.get()?,
            refresh_at: r.get()?,
            last_sent: r.get()?,
            asked: r.get()?,
            sent: r.get()?,
            default_expires: r.get()?,
            floor_millis: r.get()?,
            granted: r.get()?,
            received: r.get()?,
            retry_after: r.get()?,
            jitter: r.get()?,
            status: r.get()?,
            news: r.get()?,
            state: r.get()?,
            ending: r.get()?,
            reason: r.get()?,
            failures: r.get()?,
            in_flight: r.get()?,
            want: r.get()?,
            flags: Flags::from_bits(r.get()?),
        })
    }
}

#[cfg(test)]
impl Subscription {
    /// With another value in each field, and nothing in flight.
    pub(crate) fn with_all_fields() -> Self {
        let at = |seconds| Some(crate::Instant::from_secs(seconds));
        Self {
            deadline: at(2_001),
            timer_n: at(2_002),
            fork_window: at(2_003),
            refresh_at: at(2_004),
            last_sent: at(905),
            asked: 6,
            sent: 7,
            default_expires: 8,
            floor_millis: 9,
            granted: 10,
            received: 11,
            retry_after: Some(12),
            jitter: 13,
            status: 414,
            news: 15,
            state: State::Active,
            ending: Ending::Confirmed,
            reason: crate::machine::ReasonCode::Giveup,
            failures: 17,
            in_flight: None,
            want: Some(Kind::Refresh),
            flags: Flags::from_bits(0x512),
        }
    }
}
