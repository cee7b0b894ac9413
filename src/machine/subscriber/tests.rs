#![allow(clippy::arithmetic_side_effects)]

mod ending;
mod establishing;
mod refreshing;
mod schedule;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::machine::Resubscribe;

const T: Timers = Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) };

fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis.saturating_mul(1_000_000))
}

fn s(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn params(expires: u32) -> Params {
    Params { expires, default_expires: 3600, refresh: Refresh::default() }
}

fn notify(substate: Substate, expires: impl Into<Option<u32>>) -> NotifyIn {
    NotifyIn { substate, expires: expires.into(), ..NotifyIn::default() }
}

fn terminated(reason: ReasonCode, retry_after: Option<u32>) -> NotifyIn {
    NotifyIn { substate: Substate::Terminated, expires: Some(900), reason, retry_after }
}

const OK: SubscribeResult = SubscribeResult::Accepted { expires: None };

fn granted(expires: u32) -> SubscribeResult {
    SubscribeResult::Accepted { expires: Some(expires) }
}

fn failed(status: u16) -> SubscribeResult {
    SubscribeResult::Failed { status, retry_after: None }
}

/// A machine with its clock.
struct Rig {
    sub: Subscription,
    now: Instant,
}

impl Rig {
    /// The initial SUBSCRIBE is sent at zero.
    fn asking(expires: u32) -> Self {
        Self::with(&params(expires))
    }

    fn with(params: &Params) -> Self {
        let mut rig = Self { sub: Subscription::new(params), now: s(0) };
        let out = rig.send().unwrap();
        let kind = if params.expires == 0 { Kind::Fetch } else { Kind::Initial };
        assert_eq!(out, SubscribeOut { expires: params.expires, kind });
        rig
    }

    /// Subscribed and active at zero, 2xx and NOTIFY both in.
    fn active(expires: u32) -> Self {
        let mut rig = Self::asking(expires);
        rig.result(granted(expires));
        rig.notify(notify(Substate::Active, expires));
        rig.outcomes();
        rig
    }

    /// As [`Rig::active`], with a refresh sent at `at` seconds.
    fn refreshing(expires: u32, at: u64) -> Self {
        let mut rig = Self::active(expires);
        rig.now = s(at);
        rig.sub.refresh(rig.now, None).unwrap();
        assert_eq!(rig.send().unwrap().kind, Kind::Refresh);
        rig
    }

    /// As [`Rig::active`], with an unsubscribe sent at `at` seconds.
    fn ending(expires: u32, at: u64) -> Self {
        let mut rig = Self::active(expires);
        rig.now = s(at);
        rig.sub.unsubscribe(rig.now).unwrap();
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 0, kind: Kind::Unsubscribe }));
        rig
    }

    fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self
    }

    fn send(&mut self) -> Option<SubscribeOut> {
        self.sub.poll_subscribe(self.now, &T)
    }

    fn result(&mut self, result: SubscribeResult) -> &mut Self {
        self.sub.handle_subscribe_result(self.now, result, &T);
        self
    }

    fn notify(&mut self, notify: NotifyIn) -> Delivery {
        self.sub.handle_notify(self.now, &notify, &T)
    }

    fn tick(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self.sub.handle_timeout(now);
        self
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        core::iter::from_fn(|| self.sub.poll_outcome()).collect()
    }

    /// The only end that was told, if one was.
    fn end(&mut self) -> Option<End> {
        let ends: Vec<_> = self
            .outcomes()
            .into_iter()
            .filter_map(|outcome| match outcome {
                Outcome::Ended(end) => Some(end),
                _ => None,
            })
            .collect();
        assert!(ends.len() <= 1);
        assert!(ends.is_empty() || self.sub.state() == State::Terminated);
        ends.first().copied()
    }

    fn cause(&mut self) -> Option<Cause> {
        self.end().map(|end| end.cause)
    }

    /// Fires timers up to `until`; every SUBSCRIBE that was sent gets `answer`.
    fn run(&mut self, until: Instant, mut answer: impl FnMut(&mut Self, SubscribeOut)) -> Vec<Instant> {
        let mut sent = Vec::new();
        let mut turns = 0;
        while let Some(at) = self.sub.poll_timeout().filter(|at| *at <= until) {
            self.tick(at.max(self.now));
            if let Some(out) = self.send() {
                sent.push(self.now);
                answer(self, out);
            }
            turns += 1;
            assert!(turns < 1000, "spins at {:?}: {:?}", self.now, self.sub);
        }
        sent
    }
}

/// Every state, times every input, in every order to a fixed depth: never more
/// than one SUBSCRIBE in flight, one end, a bounded wait, and no spin.
///
/// Covers: 6665-4.1.2-1, INT-15, PEER-D01, PEER-D05, PEER-B16
#[test]
fn all_short_histories_keep_the_invariants() {
    const INPUTS: usize = 15;
    fn feed(rig: &mut Rig, input: usize) {
        match input {
            0 => _ = rig.notify(notify(Substate::Active, 300)),
            1 => _ = rig.notify(notify(Substate::Pending, None)),
            2 => _ = rig.notify(terminated(ReasonCode::Timeout, None)),
            3 => _ = rig.notify(notify(Substate::Other, None)),
            4 => _ = rig.result(granted(300)),
            5 => _ = rig.result(granted(0)),
            6 => _ = rig.result(SubscribeResult::NoNotify { expires: None }),
            7 => _ = rig.result(SubscribeResult::Retrying),
            8 => _ = rig.result(failed(481)),
            9 => _ = rig.result(failed(500)),
            10 => _ = rig.result(SubscribeResult::TimedOut),
            11 => _ = rig.sub.refresh(rig.now, None),
            12 => _ = rig.sub.unsubscribe(rig.now),
            13 => {
                if let Some(at) = rig.sub.poll_timeout() {
                    rig.tick(at.max(rig.now));
                    let spins = rig.sub.poll_timeout().is_some_and(|next| next <= rig.now);
                    assert!(!spins, "{:?}", rig.sub);
                }
            }
            _ => _ = rig.sub.resync(rig.now),
        }
    }
    fn walk(rig: &Rig, depth: usize, in_flight: bool, ended: bool, seen: &mut usize) {
        *seen += 1;
        // Whatever happened, without further input the end is near.
        let mut rest = Rig { sub: rig.sub, now: rig.now };
        rest.run(rest.now + Duration::from_secs(2000), |rig, _| {
            rig.result(failed(408));
        });
        if rest.sub.state() != State::Init && !in_flight {
            assert_eq!(rest.sub.state(), State::Terminated, "{:?}", rig.sub);
        }
        if depth == 0 {
            return;
        }
        for input in 0..INPUTS {
            let mut next = Rig { sub: rig.sub, now: rig.now + Duration::from_millis(10) };
            let before = next.sub;
            feed(&mut next, input);
            let planned = next.sub.refresh_at.is_some();
            assert!(!planned || (next.sub.in_flight.is_none() && next.sub.want.is_none()));
            let finals = (4..=10).contains(&input) && input != 7;
            let mut busy = in_flight && !finals && next.sub.state() != State::Terminated;
            if let Some(out) = next.send() {
                assert!(!busy || input == 7 || before.in_flight.is_none(), "two in flight");
                assert!(next.sub.state() != State::Terminated && next.sub.state() != State::Init);
                assert!(out.expires > 0 || out.kind == Kind::Unsubscribe);
                busy = true;
            }
            let ends = next.outcomes().iter().filter(|o| matches!(o, Outcome::Ended(_))).count();
            assert!(ends <= usize::from(!ended));
            assert_eq!(ended || ends == 1, next.sub.state() == State::Terminated);
            if next.sub != before {
                walk(&next, depth - 1, busy, ended || ends == 1, seen);
            }
        }
    }
    let mut seen = 0;
    walk(&Rig::asking(300), 6, true, false, &mut seen);
    walk(&Rig::active(300), 5, false, false, &mut seen);
    assert!(seen > 100_000, "{seen}");
}
