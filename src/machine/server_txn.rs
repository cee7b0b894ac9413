//! The non-INVITE server transaction (RFC 3261 17.2.2, figure 8), with the
//! rules of RFC 4320 about provisional responses and 408.
//!
//! Sending is the caller's: what [`Transaction::respond`] allowed, a 100 when
//! [`Fired::Send100`] is returned, and the stored response again when
//! [`Again`] says so. A transaction that reaches [`State::Terminated`] is to be
//! dropped at once.

mod snapshot;

use core::time::Duration;

use super::{Timers, Wrong};
use crate::Instant;
use crate::time::earliest;

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not answered.
    Trying,
    /// Answered with 100.
    Proceeding,
    /// Answered for good; repetitions get the same answer until Timer J.
    Completed,
    /// Over.
    Terminated,
}

transitions! {
    machine server_txn of State [Trying, Proceeding, Completed, Terminated];
    /// What can happen to a server transaction.
    pub enum Input {
        /// The request has come again.
        Retransmission "3261-17.2.2-1, -2, -4":
            Trying => Trying, Proceeding => Proceeding, Completed => Completed;
        /// A 100 is sent, by the user or by the gate.
        Provisional "3261-17.2.2-2, 4320-4.1-2, -3, -4": Trying | Proceeding => Proceeding;
        /// A response from 200 to 699, other than 408, is sent.
        Final "3261-17.2.2-3, 4320-4.2-1": Trying | Proceeding => Completed;
        /// The client has given up (its Timer F): no answer can arrive in time.
        TooLate "4320-4.2-1": Trying | Proceeding => Terminated;
        /// No more repetitions are expected.
        TimerJ "3261-17.2.2-5": Completed => Terminated;
        /// The response could not be sent.
        TransportError "3261-17.2.4-1": Trying | Proceeding | Completed => Terminated;
    }
}

/// What a repetition of the request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Nothing.
    Nothing,
    /// The 100 once more.
    ResendProvisional,
    /// The final response once more.
    ResendFinal,
}

/// What a timer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing was due.
    Nothing,
    /// Send a 100: there is no final response yet (RFC 4320 4.1).
    Send100,
    /// The transaction has ended quietly.
    Terminated,
}

/// One server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Before it no 100 over an unreliable transport; at it a 100 is due.
    gate: Option<Instant>,
    /// The client's Timer F until the final response, then Timer J.
    end: Option<Instant>,
    state: State,
    reliable: bool,
}

const _: () = assert!(size_of::<Transaction>() <= 24);

impl Transaction {
    /// A transaction whose request has come now, on a `reliable` transport or not.
    pub fn new(now: Instant, reliable: bool, timers: &Timers) -> Self {
        Self {
            gate: Some(now.saturating_add(gate(timers))),
            end: Some(now.saturating_add(timers.timer_f())),
            state: State::Trying,
            reliable,
        }
    }

    /// Where the transaction is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The same request has come again.
    pub fn handle_retransmission(&mut self, _now: Instant) -> Again {
        if !self.step(Input::Retransmission) {
            return Again::Nothing;
        }
        match self.state {
            State::Proceeding => Again::ResendProvisional,
            State::Completed => Again::ResendFinal,
            State::Trying | State::Terminated => Again::Nothing,
        }
    }

    /// The user wants to answer with `status`; on `Ok` the response is sent.
    ///
    /// Refused with [`Wrong`]: 1xx other than 100, a 100 before the gate on an
    /// unreliable transport, 408 (RFC 4320 4.1, 4.2), codes outside 100 to 699,
    /// and anything after a final response or once the client has given up.
    pub fn respond(&mut self, now: Instant, status: u16, timers: &Timers) -> Result<(), Wrong> {
        let input = match status {
            100 => Input::Provisional,
            408 => return Err(Wrong),
            200..=699 => Input::Final,
            _ => return Err(Wrong),
        };
        if self.state == State::Trying
            && input == Input::Provisional
            && !self.reliable
            && self.gate.is_some_and(|gate| now < gate)
        {
            return Err(Wrong);
        }
        if !self.step(input) {
            return Err(Wrong);
        }
        self.gate = None;
        if input == Input::Final {
            let timer_j = if self.reliable { Duration::ZERO } else { timers.timer_f() };
            self.end = Some(now.saturating_add(timer_j));
            if timer_j.is_zero() {
                self.step(Input::TimerJ);
            }
        }
        Ok(())
    }

    /// The response could not be sent: the transaction is over.
    pub fn handle_transport_error(&mut self) {
        self.step(Input::TransportError);
    }

    /// Fires what is due at `now`, at most one thing.
    pub fn handle_timeout(&mut self, now: Instant, _timers: &Timers) -> Fired {
        if self.end.is_some_and(|at| at <= now) && (self.step(Input::TooLate) || self.step(Input::TimerJ)) {
            return Fired::Terminated;
        }
        if self.gate.is_some_and(|at| at <= now) && self.step(Input::Provisional) {
            self.gate = None;
            return Fired::Send100;
        }
        Fired::Nothing
    }

    /// When [`Transaction::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.gate, self.end)
    }

    fn step(&mut self, input: Input) -> bool {
        let Some(next) = apply(self.state, input) else {
            return false;
        };
        self.state = next;
        if next == State::Terminated {
            self.gate = None;
            self.end = None;
        }
        true
    }
}

/// The time until the client's Timer E reaches T2: T1 + 2*T1 + 4*T1 = 3.5 s
/// with the default values.
fn gate(timers: &Timers) -> Duration {
    let mut interval = timers.t1;
    let mut sum = Duration::ZERO;
    while interval < timers.t2 && !interval.is_zero() {
        sum = sum.saturating_add(interval);
        interval = interval.saturating_mul(2);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis.saturating_mul(1_000_000))
    }

    fn fresh(reliable: bool) -> (Transaction, Timers) {
        let timers = Timers::default();
        (Transaction::new(ms(0), reliable, &timers), timers)
    }

    /// Covers: 3261-17.2.2-1, 3261-17.2.2-3, 3261-17.2.2-4, 3261-17.2.2-5
    #[test]
    fn repetitions_get_the_final_until_timer_j() {
        let (mut txn, timers) = fresh(false);
        assert_eq!(txn.handle_retransmission(ms(100)), Again::Nothing);
        assert_eq!(txn.respond(ms(200), 200, &timers), Ok(()));
        assert_eq!(txn.state(), State::Completed);
        assert_eq!(txn.respond(ms(300), 404, &timers), Err(Wrong));
        assert_eq!(txn.respond(ms(300), 100, &timers), Err(Wrong));
        assert_eq!(txn.handle_retransmission(ms(31_000)), Again::ResendFinal);
        assert_eq!(txn.poll_timeout(), Some(ms(32_200)));
        assert_eq!(txn.handle_timeout(ms(32_199), &timers), Fired::Nothing);
        assert_eq!(txn.handle_timeout(ms(32_200), &timers), Fired::Terminated);
        assert_eq!(txn.handle_retransmission(ms(33_000)), Again::Nothing);
        assert_eq!(txn.respond(ms(33_000), 200, &timers), Err(Wrong));
        assert_eq!(txn.poll_timeout(), None);

        let (mut txn, timers) = fresh(true);
        assert_eq!(txn.respond(ms(200), 200, &timers), Ok(()));
        assert_eq!((txn.state(), txn.poll_timeout()), (State::Terminated, None));
    }

    /// Covers: 4320-4.1-1, 4320-4.1-2, 4320-4.1-3, 4320-4.2-1
    #[test]
    fn forbidden_responses_are_refused_and_change_nothing() {
        for reliable in [false, true] {
            let (mut txn, timers) = fresh(reliable);
            let before = txn;
            for status in (0..100).chain(101..200).chain([408, 700, u16::MAX]) {
                assert_eq!(txn.respond(ms(5_000), status, &timers), Err(Wrong), "{status}");
            }
            assert_eq!(txn, before);
        }
        let (mut udp, timers) = fresh(false);
        assert_eq!(udp.respond(ms(3_400), 100, &timers), Err(Wrong));
        assert_eq!(udp.respond(ms(3_500), 100, &timers), Ok(()));
        let (mut tcp, timers) = fresh(true);
        assert_eq!(tcp.respond(ms(0), 100, &timers), Ok(()));
    }

    /// Covers: 4320-4.1-4, 3261-17.2.2-2, 4320-4.2-1
    #[test]
    fn a_silent_user_gets_a_100_at_the_gate_and_no_408() {
        for reliable in [false, true] {
            let (mut txn, timers) = fresh(reliable);
            assert_eq!(txn.poll_timeout(), Some(ms(3_500)));
            assert_eq!(txn.handle_timeout(ms(3_499), &timers), Fired::Nothing);
            assert_eq!(txn.handle_timeout(ms(3_500), &timers), Fired::Send100);
            assert_eq!(txn.handle_timeout(ms(3_500), &timers), Fired::Nothing);
            assert_eq!(txn.handle_retransmission(ms(3_600)), Again::ResendProvisional);
            assert_eq!(txn.poll_timeout(), Some(ms(32_000)));
            assert_eq!(txn.handle_timeout(ms(32_000), &timers), Fired::Terminated);
            assert_eq!(txn.respond(ms(32_001), 200, &timers), Err(Wrong));
        }
        let (mut txn, timers) = fresh(false);
        let _ = txn.handle_timeout(ms(3_500), &timers);
        assert_eq!(txn.respond(ms(9_000), 200, &timers), Ok(()));
        assert_eq!(txn.handle_retransmission(ms(9_100)), Again::ResendFinal);
    }

    /// Covers: 3261-17.2.4-1
    #[test]
    fn a_transport_error_ends_it() {
        let (mut txn, timers) = fresh(false);
        assert_eq!(txn.respond(ms(1), 200, &timers), Ok(()));
        txn.handle_transport_error();
        assert_eq!((txn.state(), txn.poll_timeout()), (State::Terminated, None));
        txn.handle_transport_error();
        assert_eq!(txn.state(), State::Terminated);
    }

    /// Covers: 4320-4.1-2
    #[test]
    fn the_gate_follows_the_timer_values() {
        let timers = Timers { t1: Duration::from_secs(1), ..Timers::default() };
        assert_eq!(gate(&timers), Duration::from_secs(3));
        let timers = Timers { t1: Duration::ZERO, ..Timers::default() };
        assert_eq!(gate(&timers), Duration::ZERO);
        let timers = Timers { t1: Duration::from_nanos(1), t2: Duration::MAX, ..timers };
        assert!(gate(&timers) > Duration::from_secs(1));
        let end = Instant::FAR_FUTURE;
        let mut txn = Transaction::new(end, false, &Timers::default());
        assert_eq!(txn.handle_timeout(end, &Timers::default()), Fired::Terminated);
    }
}
