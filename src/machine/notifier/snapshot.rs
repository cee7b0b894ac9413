//! What a successor has to know of the notifier's machine.

use super::{Ending, Flags, Gone, Grant, Open, ReasonCode, State, Subscription};
use crate::Instant;
use crate::codec::{Get, Mode, Put, Reader, Writer};
use crate::error::RestoreError;

tags!(State { RespWait = 0, Pending = 1, Active = 2, Terminated = 3 });
tags!(Open { None = 0, Ordinary = 1, Terminal = 2 });
tags!(Gone { No = 0, ToTell = 1, Told = 2 });
tags!(Ending { Expired = 0, Unsubscribed = 1, Terminated = 2, Refused = 3, TimedOut = 4, Transport = 5 });
tags!(Grant { Active = 0, Pending = 1 });
tags!(ReasonCode {
    Deactivated = 0,
    Probation = 1,
    Rejected = 2,
    Timeout = 3,
    Giveup = 4,
    NoResource = 5,
    Invariant = 6,
    BadFilter = 7,
    Other = 8,
    Absent = 9,
});

impl Subscription {
    /// The same subscription once its open NOTIFY is forgotten: what it said is
    /// owed again, for nobody will learn whether it was heard.
    pub(crate) fn succeeded(mut self) -> Self {
        if self.state == State::Terminated {
            self.flags.set(Flags::TERMINAL, true);
        } else if self.open != Open::None {
            self.flags.set(Flags::OWED, true);
            self.flags.set(Flags::FULL, true);
        }
        self.open = Open::None;
        self
    }

    /// Whether, once [`succeeded`](Self::succeeded), it has a NOTIFY to send
    /// that waits for no timer. `stale` if the resource's state is not the one
    /// that was told.
    pub(crate) const fn has_its_turn(&self, stale: bool) -> bool {
        let change = self.flags.has(Flags::DIRTY) || (stale && matches!(self.state, State::Active));
        self.flags.has(Flags::TERMINAL) || (change && self.throttle.is_none() && self.retry.is_none())
    }

    /// Whether a SUBSCRIBE waits for its NOTIFY.
    pub(crate) const fn owes_notify(&self) -> bool {
        self.flags.has(Flags::OWED)
    }

    /// What is past, and has no effect any more.
    fn tidied(mut self, now: Instant) -> Self {
        self.pass(now);
        self.give_up = self.give_up.filter(|_| matches!(self.state, State::RespWait | State::Pending));
        self
    }
}

impl Put for Subscription {
    fn put(&self, w: &mut Writer<'_>) {
        let this = if w.is(Mode::Saved) { self.succeeded() } else { *self };
        let Self {
            deadline,
            give_up,
            throttle,
            retry,
            retry_after,
            min_interval_millis,
            seq,
            state,
            decision,
            open,
            end,
            reason,
            gone,
            failures,
            flags: Flags(flags),
        } = this.tidied(w.base());
        w.put(&deadline);
        w.put(&give_up);
        w.put(&throttle);
        w.put(&retry);
        w.put(&retry_after);
        w.put(&min_interval_millis);
        w.ident(&seq);
        w.put(&state);
        w.put(&decision);
        w.transient(&open);
        w.put(&end);
        w.put(&reason);
        w.put(&gone);
        w.put(&failures);
        w.put(&flags);
    }
}

impl Get for Subscription {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(Self {
            deadline: r.get()?,
            give_up: r.get()?,
            throttle: r.get()?,
            retry: r.get()?,
            retry_after: r.get()?,
            min_interval_millis: r.get()?,
            seq: r.get()?,
            state: r.get()?,
            decision: r.get()?,
            open: Open::None,
            end: r.get()?,
            reason: r.get()?,
            gone: r.get()?,
            failures: r.get()?,
            flags: Flags(r.get()?),
        })
    }
}

#[cfg(test)]
impl Subscription {
    /// With another value in each field, and no NOTIFY open.
    pub(crate) fn with_all_fields() -> Self {
        let at = Instant::from_secs;
        Self {
            deadline: at(2_001),
            give_up: Some(at(2_002)),
            throttle: Some(at(2_003)),
            retry: Some(at(2_004)),
            retry_after: Some(5),
            min_interval_millis: 6,
            seq: 7,
            state: State::Pending,
            decision: Grant::Pending,
            open: Open::None,
            end: Ending::Transport,
            reason: ReasonCode::Invariant,
            gone: Gone::ToTell,
            failures: 8,
            flags: Flags(0x29),
        }
    }
}
