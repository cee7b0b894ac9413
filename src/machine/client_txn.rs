//! The non-INVITE client transaction (RFC 3261 17.1.2, figure 6).
//!
//! Sending is the caller's: the request goes out when the transaction is made
//! and whenever [`Fired::Retransmit`] is returned. A transaction that reaches
//! [`State::Terminated`] is to be dropped at once.

mod snapshot;

use core::time::Duration;

use super::Timers;
use crate::Instant;
use crate::time::earliest;

/// Where the transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing heard.
    Trying,
    /// A provisional response has come.
    Proceeding,
    /// The final response has come; repetitions are swallowed until Timer K.
    Completed,
    /// Over.
    Terminated,
}

transitions! {
    machine client_txn of State [Trying, Proceeding, Completed, Terminated];
    /// What can happen to a client transaction.
    pub enum Input {
        /// A 1xx response.
        Provisional "3261-17.1.2.2-4, -5": Trying | Proceeding => Proceeding;
        /// A response from 200 to 699.
        Final "3261-17.1.2.2-6": Trying | Proceeding => Completed;
        /// Retransmit.
        TimerE "3261-17.1.2.2-2, -5": Trying => Trying, Proceeding => Proceeding;
        /// No final response in time.
        TimerF "3261-17.1.2.2-3, -5": Trying | Proceeding => Terminated;
        /// No more repetitions are expected.
        TimerK "3261-17.1.2.2-7": Completed => Terminated;
        /// The request could not be sent.
        TransportError "3261-17.1.4-1": Trying | Proceeding | Completed => Terminated;
    }
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToUser {
    /// Hand it to the transaction's user.
    Deliver,
    /// A repetition, or too late: drop it.
    Absorb,
}

/// What a timer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing was due.
    Nothing,
    /// Send the request again.
    Retransmit,
    /// No final response came: tell the user; the transaction is over.
    TimedOut,
    /// The transaction has ended quietly.
    Terminated,
}

/// One client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    timer_e: Option<Instant>,
    /// Timer F until the final response, then Timer K.
    timer_f_or_k: Option<Instant>,
    /// What Timer E is set to when it fires next, in nanoseconds.
    next_e: u64,
    state: State,
    reliable: bool,
}

const _: () = assert!(size_of::<Transaction>() <= 32);

impl Transaction {
    /// A transaction whose request is sent now, on a `reliable` transport or not.
    pub fn new(now: Instant, reliable: bool, timers: &Timers) -> Self {
        Self {
            timer_e: (!reliable).then(|| now.saturating_add(timers.t1)),
            timer_f_or_k: Some(now.saturating_add(timers.timer_f())),
            next_e: nanos(timers.t1.saturating_mul(2).min(timers.t2)),
            state: State::Trying,
            reliable,
        }
    }

    /// Where the transaction is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// A response that matches this transaction has come.
    pub fn handle_response(&mut self, now: Instant, status: u16, timers: &Timers) -> ToUser {
        let input = match status {
            100..=199 => Input::Provisional,
            200..=699 => Input::Final,
            _ => return ToUser::Absorb,
        };
        if !self.step(input) {
            return ToUser::Absorb;
        }
        if input == Input::Provisional {
            self.next_e = nanos(timers.t2);
            return ToUser::Deliver;
        }
        self.timer_e = None;
        let timer_k = if self.reliable { Duration::ZERO } else { timers.t4 };
        self.timer_f_or_k = Some(now.saturating_add(timer_k));
        if timer_k.is_zero() {
            self.step(Input::TimerK);
        }
        ToUser::Deliver
    }

    /// The request could not be sent: the transaction is over.
    pub fn handle_transport_error(&mut self) {
        self.step(Input::TransportError);
    }

    /// Fires what is due at `now`, at most one thing. After a late wake-up the
    /// retransmissions that were missed are not made up for.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Fired {
        if self.timer_f_or_k.is_some_and(|at| at <= now) {
            if self.step(Input::TimerF) {
                return Fired::TimedOut;
            }
            if self.step(Input::TimerK) {
                return Fired::Terminated;
            }
        }
        if self.timer_e.is_some_and(|at| at <= now) && self.step(Input::TimerE) {
            self.timer_e = Some(now.saturating_add(Duration::from_nanos(self.next_e)));
            let doubled = Duration::from_nanos(self.next_e.saturating_mul(2));
            self.next_e = nanos(doubled.min(timers.t2));
            return Fired::Retransmit;
        }
        Fired::Nothing
    }

    /// When [`Transaction::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.timer_e, self.timer_f_or_k)
    }

    fn step(&mut self, input: Input) -> bool {
        let Some(next) = apply(self.state, input) else {
            return false;
        };
        self.state = next;
        if next == State::Terminated {
            self.timer_e = None;
            self.timer_f_or_k = None;
        }
        true
    }
}

/// Nanoseconds of a duration, at least one so that no timer can spin.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// Runs the transaction to its end; every wake-up with what it did.
    fn run(mut txn: Transaction, timers: &Timers) -> Vec<(u64, Fired)> {
        let mut log = Vec::new();
        while let Some(at) = txn.poll_timeout() {
            log.push((at.as_nanos() / 1_000_000, txn.handle_timeout(at, timers)));
            assert!(log.len() < 100);
        }
        log
    }

    /// Covers: 3261-17.1.2.2-1, 3261-17.1.2.2-2, 3261-17.1.2.2-3
    #[test]
    fn unanswered_over_udp_retransmits_at_the_instants_of_the_rfc() {
        let timers = Timers::default();
        let mut expected: Vec<_> = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
            .map(|at| (at, Fired::Retransmit))
            .to_vec();
        expected.push((32_000, Fired::TimedOut));
        assert_eq!(run(Transaction::new(ms(0), false, &timers), &timers), expected);
    }

    /// Covers: 3261-17.1.2.2-3
    #[test]
    fn unanswered_over_tcp_only_times_out() {
        let timers = Timers::default();
        let log = run(Transaction::new(ms(0), true, &timers), &timers);
        assert_eq!(log, vec![(32_000, Fired::TimedOut)]);
    }

    /// Covers: 3261-17.1.2.2-4, 3261-17.1.2.2-5
    #[test]
    fn a_provisional_slows_retransmission_to_t2() {
        let timers = Timers::default();
        let mut txn = Transaction::new(ms(0), false, &timers);
        assert_eq!(txn.handle_response(ms(200), 100, &timers), ToUser::Deliver);
        assert_eq!(txn.state(), State::Proceeding);
        assert_eq!(txn.handle_response(ms(300), 183, &timers), ToUser::Deliver);
        let log = run(txn, &timers);
        assert_eq!(
            log.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            vec![500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500, 32_000]
        );
        assert_eq!(log.last().unwrap().1, Fired::TimedOut);
    }

    /// Covers: 3261-17.1.2.2-6, 3261-17.1.2.2-7, 3261-17.1.2.1-1
    #[test]
    fn one_final_is_delivered_and_its_copies_swallowed_until_k() {
        let timers = Timers::default();
        for status in [200, 202, 299, 300, 404, 503, 699] {
            let mut txn = Transaction::new(ms(0), false, &timers);
            assert_eq!(txn.handle_response(ms(100), status, &timers), ToUser::Deliver);
            assert_eq!(txn.state(), State::Completed);
            assert_eq!(txn.handle_response(ms(5_000), status, &timers), ToUser::Absorb);
            assert_eq!(txn.handle_response(ms(5_000), 100, &timers), ToUser::Absorb);
            assert_eq!(txn.poll_timeout(), Some(ms(5_100)));
            assert_eq!(txn.handle_timeout(ms(5_099), &timers), Fired::Nothing);
            assert_eq!(txn.handle_timeout(ms(5_100), &timers), Fired::Terminated);
            assert_eq!(txn.poll_timeout(), None);
            assert_eq!(txn.handle_response(ms(5_101), status, &timers), ToUser::Absorb);
        }
        let mut txn = Transaction::new(ms(0), true, &timers);
        assert_eq!(txn.handle_response(ms(100), 200, &timers), ToUser::Deliver);
        assert_eq!((txn.state(), txn.poll_timeout()), (State::Terminated, None));
    }

    /// Covers: 3261-17.1.4-1
    #[test]
    fn a_transport_error_ends_it_in_every_state() {
        let timers = Timers::default();
        for status in [0, 100, 200] {
            let mut txn = Transaction::new(ms(0), false, &timers);
            let _ = txn.handle_response(ms(1), status, &timers);
            txn.handle_transport_error();
            assert_eq!((txn.state(), txn.poll_timeout()), (State::Terminated, None));
            assert_eq!(txn.handle_timeout(ms(99_999), &timers), Fired::Nothing);
        }
    }

    /// Covers: ADV-P27
    #[test]
    fn odd_numbers_do_no_harm() {
        let timers = Timers::default();
        let mut txn = Transaction::new(ms(0), false, &timers);
        let before = txn;
        for status in [0, 99, 700, u16::MAX] {
            assert_eq!(txn.handle_response(ms(1), status, &timers), ToUser::Absorb);
        }
        assert_eq!(txn, before);
        // A late wake-up fires once, not once for every missed instant.
        assert_eq!(txn.handle_timeout(ms(20_000), &timers), Fired::Retransmit);
        assert_eq!(txn.handle_timeout(ms(20_000), &timers), Fired::Nothing);
        assert_eq!(txn.handle_timeout(ms(40_000), &timers), Fired::TimedOut);

        let end = Instant::FAR_FUTURE;
        let mut txn = Transaction::new(end, false, &timers);
        assert_eq!(txn.handle_timeout(end, &timers), Fired::TimedOut);
        let zero = Timers { t1: Duration::ZERO, t2: Duration::ZERO, t4: Duration::ZERO };
        let mut txn = Transaction::new(ms(0), false, &zero);
        assert_eq!(txn.handle_response(ms(0), 200, &zero), ToUser::Deliver);
        assert_eq!(txn.state(), State::Terminated);
    }
}
