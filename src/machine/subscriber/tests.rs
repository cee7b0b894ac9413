#![allow(clippy::arithmetic_side_effects)]

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
        let mut rig = Self { sub: Subscription::new(s(0), params, &T), now: s(0) };
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
        self.sub.handle_timeout(now, &T);
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

mod establishing {
    use super::*;

    /// Covers: 6665-SSM-1, 6665-SSM-2, 6665-SSM-3, 6665-SSM-4, 6665-4.1.2.1-2
    #[test]
    fn response_then_notify() {
        let mut rig = Rig::asking(600);
        assert_eq!(rig.sub.next_timer(), Some((s(32), TimerKind::TimerN)));
        rig.result(SubscribeResult::Provisional);
        assert_eq!(rig.sub.state(), State::NotifyWait);
        rig.at(s(1)).result(granted(300));
        assert_eq!(rig.sub.state(), State::NotifyWait);
        assert_eq!(rig.sub.poll_timeout(), Some(s(32)));
        assert_eq!(rig.at(s(2)).notify(notify(Substate::Active, None)), Delivery::Accepted);
        assert_eq!(rig.sub.deadline(), Some(s(301)));
        assert_eq!(rig.outcomes(), vec![Outcome::Accepted { expires: 300 }, Outcome::BecameActive]);
    }

    /// Covers: 6665-RACE-1, 6665-4.1.2.4-7, INT-13, PEER-A01
    #[test]
    fn notify_overtakes_the_response() {
        let mut rig = Rig::asking(600);
        assert_eq!(rig.at(s(1)).notify(notify(Substate::Active, 200)), Delivery::Accepted);
        rig.at(s(2)).result(granted(600));
        assert_eq!(rig.sub.deadline(), Some(s(201)), "a late 2xx does not extend it");
        rig.sub.close_fork_window();
        assert!(matches!(rig.sub.next_timer(), Some((_, TimerKind::Refresh))), "no NOTIFY is owed");
        rig.tick(s(33));
        assert_eq!(rig.sub.state(), State::Active);
        let mut rig = Rig::asking(600);
        rig.at(s(1)).notify(notify(Substate::Active, None));
        rig.at(s(2)).result(granted(100));
        assert_eq!(rig.sub.deadline(), Some(s(102)), "a NOTIFY without expires sets none");
        let mut rig = Rig::asking(600);
        rig.at(s(1)).notify(notify(Substate::Active, 600));
        rig.at(s(2)).result(granted(100));
        assert_eq!(rig.sub.deadline(), Some(s(102)), "but it may shorten");
    }

    /// Covers: 6665-SSM-5, 6665-SSM-10, 6665-SSM-11, 6665-SSM-12, 6665-SSM-13, INT-4, 6665-4.1.3-9
    #[test]
    fn substates_follow_the_notifies() {
        let mut rig = Rig::asking(600);
        rig.result(OK).notify(notify(Substate::Pending, 600));
        assert_eq!(rig.sub.state(), State::Pending);
        rig.notify(notify(Substate::Pending, 500));
        assert_eq!(rig.outcomes(), vec![Outcome::Accepted { expires: 600 }, Outcome::BecamePending]);
        rig.notify(notify(Substate::Active, 500));
        rig.notify(notify(Substate::Active, 400));
        assert_eq!((rig.sub.state(), rig.sub.deadline()), (State::Active, Some(s(400))));
        assert_eq!(rig.outcomes(), vec![Outcome::BecameActive]);
        rig.notify(notify(Substate::Pending, None));
        assert_eq!(rig.sub.state(), State::Pending);
        assert_eq!(rig.outcomes(), vec![Outcome::BecamePending]);
    }

    /// Covers: 6665-SSM-24, 6665-SSM-29, INT-6, PEER-B13
    #[test]
    fn an_unknown_substate_is_told_and_changes_nothing() {
        let mut rig = Rig::asking(600);
        assert_eq!(rig.notify(notify(Substate::Other, None)), Delivery::Accepted);
        assert_eq!(rig.sub.state(), State::Pending);
        assert_eq!(rig.outcomes(), vec![Outcome::UnknownState, Outcome::BecamePending]);
        let mut rig = Rig::active(600);
        rig.notify(notify(Substate::Other, 60));
        assert_eq!((rig.sub.state(), rig.sub.deadline()), (State::Active, Some(s(60))));
        assert_eq!(rig.outcomes(), vec![Outcome::UnknownState]);
    }

    /// Covers: 6665-SSM-7, 6665-RSP-3, 6665-RSP-5
    #[test]
    fn a_challenge_sends_again_and_restarts_timer_n() {
        let mut rig = Rig::asking(600);
        rig.at(s(5)).result(SubscribeResult::Retrying);
        assert_eq!(rig.sub.poll_timeout(), Some(s(32)));
        assert_eq!(rig.at(s(6)).send(), Some(SubscribeOut { expires: 600, kind: Kind::Initial }));
        assert_eq!(rig.sub.poll_timeout(), Some(s(38)));
        assert_eq!(rig.send(), None);
        // What was to be sent again is not once it has failed.
        for result in [SubscribeResult::TimedOut, failed(500)] {
            let mut rig = Rig::refreshing(600, 100);
            rig.result(SubscribeResult::Retrying);
            rig.result(result);
            rig.notify(notify(Substate::Active, 500));
            rig.sub.refresh(s(100), None).unwrap();
            assert_eq!(rig.send().unwrap().kind, Kind::Refresh);
            assert_eq!(rig.send(), None);
        }
    }

    /// Covers: 6665-SSM-7, 6665-RSP-7, PEER-B20, PEER-B21
    #[test]
    fn too_brief_is_answered_once_and_only_upwards() {
        let mut rig = Rig::asking(60);
        rig.result(SubscribeResult::TooBrief { min_expires: Some(1800) });
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 1800, kind: Kind::Initial }));
        assert_eq!(rig.sub.asked(), 1800);
        rig.result(SubscribeResult::TooBrief { min_expires: Some(3600) });
        assert_eq!(rig.cause(), Some(Cause::Refused { status: 423 }));
        for useless in [None, Some(0), Some(59), Some(60)] {
            let mut rig = Rig::asking(60);
            rig.result(SubscribeResult::TooBrief { min_expires: useless });
            assert_eq!(rig.send(), None);
            assert_eq!(rig.cause(), Some(Cause::Refused { status: 423 }));
        }
        let mut rig = Rig::asking(0);
        rig.result(SubscribeResult::TooBrief { min_expires: Some(60) });
        assert_eq!(rig.cause(), Some(Cause::Refused { status: 423 }), "a fetch is never too brief");
    }

    /// Covers: 6665-SSM-8, 6665-4.1.2.1-4, 6665-RSP-4, 6665-RSP-8, 6665-RSP-9, 6665-RSP-11, 6665-RSP-13, PEER-D15
    #[test]
    fn a_final_failure_ends_the_attempt() {
        for status in [400, 403, 404, 405, 410, 481, 489, 500, 502, 503, 600, 603, 604, 699] {
            let mut rig = Rig::asking(600);
            rig.at(s(1)).result(failed(status));
            assert_eq!(rig.cause(), Some(Cause::Refused { status }));
            assert_eq!((rig.sub.state(), rig.sub.poll_timeout()), (State::Terminated, None));
            assert_eq!(rig.notify(notify(Substate::Active, 600)), Delivery::Refused);
            assert_eq!(rig.send(), None);
        }
        let wait = SubscribeResult::Failed { status: 480, retry_after: Some(30) };
        let end = Rig::asking(600).result(wait).end().unwrap();
        assert_eq!(end.resubscribe, Resubscribe::NotBefore(Duration::from_secs(30)));
        assert_eq!(Rig::asking(600).result(failed(481)).end().unwrap().resubscribe, Resubscribe::Never);
    }

    /// Covers: 6665-SSM-8, 6665-RSP-6
    #[test]
    fn no_response_ends_the_attempt() {
        for result in [SubscribeResult::TimedOut, failed(408)] {
            let mut rig = Rig::asking(600);
            rig.at(s(3)).result(result);
            assert_eq!(rig.cause(), Some(Cause::TimedOut));
        }
        let mut rig = Rig::asking(600);
        rig.result(SubscribeResult::TransportFailed);
        assert_eq!(rig.end(), Some(End { cause: Cause::Transport, resubscribe: Resubscribe::Later }));
        // Timer F and Timer N come together; the order does not matter.
        let mut rig = Rig::asking(600);
        assert_eq!(rig.tick(s(32)).cause(), Some(Cause::TimedOut));
        assert_eq!(rig.result(SubscribeResult::TimedOut).cause(), None);
    }

    /// Covers: 6665-SSM-9, 6665-4.1.2.4-2, 6665-RACE-4, 6665-RACE-14, 6665-4.1.2.4-4, INT-7, PEER-A07, PEER-A08
    #[test]
    fn a_response_and_silence_end_at_timer_n_exactly() {
        for result in [granted(600), SubscribeResult::NoNotify { expires: Some(600) }, granted(0)] {
            let mut rig = Rig::asking(600);
            rig.at(s(1)).result(result);
            rig.tick(ms(31_999));
            assert_eq!(rig.sub.state(), State::NotifyWait);
            rig.tick(s(32));
            assert_eq!(rig.cause(), Some(Cause::NoNotify));
            assert_eq!(rig.sub.poll_timeout(), None);
            // Without the wake-up the verdict is the same.
            let mut rig = Rig::asking(600);
            rig.at(s(1)).result(result);
            assert_eq!(rig.at(s(33)).notify(notify(Substate::Active, 600)), Delivery::Refused);
            assert_eq!(rig.cause(), Some(Cause::NoNotify));
        }
    }

    /// Covers: 6665-SSM-6, 6665-4.1.3-11, 6665-4.1.3-13, 6665-4.4.1-1
    #[test]
    fn a_terminated_first_notify_ends_it() {
        let mut rig = Rig::asking(600);
        rig.result(OK);
        assert_eq!(rig.notify(terminated(ReasonCode::Rejected, None)), Delivery::Accepted);
        let cause = Cause::ByNotifier { reason: ReasonCode::Rejected, retry_after: None };
        assert_eq!(rig.end(), Some(End { cause, resubscribe: Resubscribe::Never }));
        assert_eq!(rig.notify(terminated(ReasonCode::Rejected, None)), Delivery::Refused);
        assert_eq!(rig.result(failed(404)).cause(), None, "the end is told once");
        // Other forks may still answer.
        let mut fork = Subscription::fork(s(10), &rig.sub, &T);
        assert_eq!(fork.handle_notify(s(10), &notify(Substate::Active, 600), &T), Delivery::Accepted);
        assert_eq!(rig.tick(s(32)).outcomes(), vec![Outcome::ForkWindowClosed]);
    }

    /// Covers: 6665-RACE-3, INT-2, PEER-E04
    #[test]
    fn a_subscription_made_by_a_notify_survives_its_subscribe() {
        let endings =
            [SubscribeResult::TimedOut, SubscribeResult::TransportFailed, failed(404), failed(503), failed(481)];
        for result in endings {
            let mut rig = Rig::asking(600);
            rig.notify(notify(Substate::Active, 600));
            rig.outcomes();
            rig.at(s(5)).result(result);
            assert_eq!(rig.sub.state(), State::Active);
            assert!(matches!(rig.outcomes()[..], [Outcome::RefreshFailed { retry_at: Some(at), .. }] if at < s(600)));
            rig.tick(s(33));
            assert_eq!(rig.sub.state(), State::Active);
        }
        let mut rig = Rig::asking(600);
        rig.notify(notify(Substate::Active, 600));
        rig.result(SubscribeResult::Retrying);
        assert_eq!(rig.send().unwrap().kind, Kind::Refresh, "in the dialog that the NOTIFY made");
    }

    /// Covers: 6665-SSM-27, 6665-SSM-30, 6665-4.1.2.4-3, 6665-4.1.2-2, 6665-4.1.4-1, PEER-A06, ADV-P23
    #[test]
    fn forks_are_taken_until_timer_n_and_live_on_their_own() {
        let mut rig = Rig::active(600);
        assert_eq!(rig.sub.fork_window(), Some(s(32)));
        let mut fork = Subscription::fork(s(31), &rig.sub, &T);
        assert_eq!(fork.state(), State::NotifyWait);
        assert_eq!(fork.poll_subscribe(s(31), &T), None);
        assert_eq!(fork.handle_notify(s(31), &notify(Substate::Pending, 100), &T), Delivery::Accepted);
        assert_eq!((fork.state(), fork.deadline()), (State::Pending, Some(s(131))));
        assert_eq!(fork.fork_window(), None, "the window is the attempt's");
        rig.tick(s(32));
        assert_eq!(rig.outcomes(), vec![Outcome::ForkWindowClosed]);
        assert_eq!(rig.sub.state(), State::Active);
        let mut late = Subscription::fork(s(32), &rig.sub, &T);
        assert_eq!(late.handle_notify(s(32), &notify(Substate::Active, 600), &T), Delivery::Refused);
        assert_eq!((late.state(), late.poll_outcome(), late.poll_timeout()), (State::Terminated, None, None));
        // A fork whose NOTIFY is refused elsewhere is forgotten at Timer N.
        let parent = Rig::asking(600).sub;
        let mut idle = Subscription::fork(s(3), &parent, &T);
        assert_eq!(idle.poll_timeout(), Some(s(32)));
        idle.handle_timeout(s(32), &T);
        assert_eq!(idle.state(), State::Terminated);
    }

    /// Covers: 6665-SSM-6
    #[test]
    fn the_fork_window_can_be_closed() {
        let mut rig = Rig::active(600);
        rig.sub.close_fork_window();
        rig.sub.close_fork_window();
        assert_eq!(rig.outcomes(), vec![Outcome::ForkWindowClosed]);
        assert_eq!(Subscription::fork(s(1), &rig.sub, &T).state(), State::Terminated);
    }

    /// Covers: 6665-4.4.3-1, 6665-4.4.3-3, 6665-4.4.3-4, 6665-RSN-4
    #[test]
    fn a_fetch_ends_with_its_notify_and_lets_forks_follow() {
        let mut rig = Rig::asking(0);
        rig.at(s(1)).result(granted(0));
        assert_eq!(rig.sub.state(), State::NotifyWait);
        rig.at(s(2)).notify(terminated(ReasonCode::Timeout, None));
        assert_eq!(rig.end(), Some(End { cause: Cause::Fetched, resubscribe: Resubscribe::Never }));
        let mut fork = Subscription::fork(s(9), &rig.sub, &T);
        assert_eq!(fork.handle_notify(s(9), &terminated(ReasonCode::Timeout, None), &T), Delivery::Accepted);
        assert!(matches!(fork.poll_outcome(), Some(Outcome::Ended(End { cause: Cause::Fetched, .. }))));
        // Nothing came: a failure.
        let mut rig = Rig::asking(0);
        rig.result(granted(0));
        assert_eq!(rig.tick(s(32)).cause(), Some(Cause::NoNotify));
    }

    /// Covers: 6665-4.4.3-1
    #[test]
    fn a_fetch_answered_as_a_subscription_is_not_kept() {
        let mut rig = Rig::asking(0);
        assert_eq!(rig.at(s(1)).notify(notify(Substate::Active, 3600)), Delivery::Accepted);
        assert!(rig.sub.is_ending());
        rig.result(granted(0));
        assert_eq!(rig.sub.refresh(s(2), None), Err(Wrong));
        assert_eq!(rig.sub.unsubscribe(s(2)), Err(Wrong));
        let mut other = Rig { sub: rig.sub, now: s(3) };
        other.notify(terminated(ReasonCode::Timeout, None));
        assert_eq!(other.cause(), Some(Cause::Fetched));
        assert_eq!(rig.tick(s(32)).cause(), Some(Cause::Fetched));
        assert_eq!(rig.sub.poll_timeout(), None);
    }
}

mod refreshing {
    use super::*;

    /// Covers: 6665-SSM-15, 6665-SSM-16, 6665-SSM-18, 6665-4.1.2.2-1, PEER-B05
    #[test]
    fn a_refresh_renews_and_its_notify_takes_timer_n_away() {
        let mut rig = Rig::refreshing(600, 100);
        assert_eq!(rig.sub.next_timer(), Some((s(132), TimerKind::TimerN)));
        rig.at(s(101)).result(granted(60));
        assert_eq!(rig.sub.deadline(), Some(s(161)));
        assert_eq!(rig.outcomes(), vec![Outcome::Accepted { expires: 60 }, Outcome::ForkWindowClosed]);
        rig.at(s(102)).notify(notify(Substate::Active, 59));
        assert!(matches!(rig.sub.next_timer(), Some((at, TimerKind::Refresh)) if at > s(102) && at < s(161)));
        let sent = rig.run(s(200), |rig, out| {
            assert_eq!(out, SubscribeOut { expires: 600, kind: Kind::Refresh }, "asks for the whole again");
            rig.result(granted(600));
            rig.notify(notify(Substate::Active, 600));
        });
        assert_eq!(sent.len(), 1);
    }

    /// Covers: 6665-SSM-17, 6665-RSP-2, 6665-4.1.2.2-6
    #[test]
    fn a_204_renews_without_notify() {
        let mut rig = Rig::refreshing(600, 100);
        rig.result(SubscribeResult::NoNotify { expires: Some(300) });
        assert_eq!(rig.sub.deadline(), Some(s(400)));
        rig.tick(s(133));
        assert_eq!(rig.sub.state(), State::Active);
        assert_eq!(rig.cause(), None);
    }

    /// Covers: 6665-SSM-21, 6665-4.1.2.2-5
    #[test]
    fn a_refresh_without_notify_ends_at_timer_n() {
        let mut rig = Rig::refreshing(600, 100);
        rig.result(granted(600));
        rig.tick(ms(131_999));
        assert_eq!(rig.sub.state(), State::Active);
        assert_eq!(rig.tick(s(132)).end(), Some(End { cause: Cause::NoNotify, resubscribe: Resubscribe::Later }));
    }

    /// Covers: PEER-A09, INT-15, 6665-RACE-12, PEER-C06
    #[test]
    fn a_second_refresh_waits_for_the_first_and_one_notify_serves_both() {
        let mut rig = Rig::refreshing(600, 100);
        rig.sub.refresh(s(100), Some(1200)).unwrap();
        assert_eq!(rig.send(), None);
        rig.at(s(101)).result(granted(600));
        rig.at(s(110));
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 1200, kind: Kind::Refresh }));
        assert_eq!(rig.sub.poll_timeout(), Some(s(132)), "the first NOTIFY is owed still");
        rig.result(granted(1200));
        rig.at(s(111)).notify(notify(Substate::Active, 1200));
        assert!(!matches!(rig.sub.next_timer(), Some((_, TimerKind::TimerN))));
        rig.tick(s(150));
        assert_eq!(rig.sub.state(), State::Active);
    }

    /// Covers: 6665-SSM-19, 6665-4.1.2.2-2, 6665-RSP-8, 6665-RSP-9, 6665-RSP-10, PEER-D19, PEER-A15, PEER-A16
    #[test]
    fn fatal_codes_end_it_at_once() {
        for status in [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604] {
            let mut rig = Rig::refreshing(600, 100);
            rig.result(failed(status));
            assert_eq!(rig.cause(), Some(Cause::Refused { status }));
            assert_eq!((rig.sub.poll_timeout(), rig.sub.deadline()), (None, None));
            assert_eq!(rig.notify(notify(Substate::Active, 600)), Delivery::Refused);
        }
        let mut rig = Rig::refreshing(600, 100);
        assert_eq!(rig.result(failed(481)).end().unwrap().resubscribe, Resubscribe::Later);
        let mut rig = Rig::refreshing(600, 100);
        rig.result(SubscribeResult::Failed { status: 480, retry_after: Some(7) });
        assert_eq!(rig.end().unwrap().resubscribe, Resubscribe::NotBefore(Duration::from_secs(7)));
    }

    /// Covers: 6665-SSM-20, 6665-4.1.2.2-4, INT-1, INT-8, 6665-RSP-4, 6665-RSP-11, 6665-RSP-12, 6665-RSP-13, PEER-D19
    #[test]
    fn other_failures_leave_the_old_deadline_and_are_retried() {
        for status in 300..700 {
            if crate::machine::responses::is_fatal(status) || status == 408 {
                continue;
            }
            let mut rig = Rig::refreshing(600, 500);
            rig.outcomes();
            rig.result(failed(status));
            assert_eq!((rig.sub.state(), rig.sub.deadline()), (State::Active, Some(s(600))));
            let retry_at = Some(s(501));
            assert_eq!(rig.outcomes(), vec![Outcome::RefreshFailed { status, retry_at }]);
            assert_eq!(rig.sub.next_timer(), Some((s(501), TimerKind::Retry)), "Timer N is off");
        }
        // Once a try succeeds, all is as before.
        for granted in [granted(600), SubscribeResult::NoNotify { expires: None }] {
            let mut rig = Rig::refreshing(600, 500);
            rig.result(failed(500));
            assert_eq!(rig.tick(s(501)).send().unwrap().kind, Kind::Refresh);
            rig.result(granted);
            rig.notify(notify(Substate::Active, None));
            assert!(matches!(rig.sub.next_timer(), Some((at, TimerKind::Refresh)) if at > s(970)));
        }
        let mut rig = Rig::refreshing(600, 500);
        rig.result(SubscribeResult::TransportFailed);
        assert_eq!(rig.sub.next_timer(), Some((s(501), TimerKind::Retry)));
    }

    /// Covers: 6665-RSP-11, 6665-SSM-20, 6665-SSM-23
    #[test]
    fn retries_back_off_and_stop_before_the_deadline() {
        let mut rig = Rig::refreshing(600, 500);
        rig.result(failed(500));
        let sent = rig.run(s(700), |rig, _| {
            rig.result(failed(500));
        });
        let gaps: Vec<_> = sent.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(sent[0], s(501));
        assert_eq!(gaps[..5], [2, 4, 8, 16, 32]);
        assert!(sent.len() < 16 && *sent.last().unwrap() < s(600));
        assert!(gaps.iter().all(|gap| *gap >= 1));
        assert_eq!(rig.end(), Some(End { cause: Cause::Expired, resubscribe: Resubscribe::Later }));

        let mut rig = Rig::refreshing(600, 500);
        rig.sub.refresh(s(500), None).unwrap();
        rig.result(SubscribeResult::Failed { status: 503, retry_after: Some(60) });
        assert_eq!(rig.send(), None, "nor does one that was queued go earlier");
        assert_eq!(rig.sub.poll_timeout(), Some(s(560)));
        let mut rig = Rig::refreshing(600, 500);
        rig.result(SubscribeResult::Failed { status: 503, retry_after: Some(100) });
        assert_eq!(rig.sub.next_timer(), Some((s(600), TimerKind::Expiry)), "the peer's wait is kept");
        assert!(rig.run(s(700), |_, _| ()).is_empty());
        let mut rig = Rig::refreshing(600, 500);
        rig.result(SubscribeResult::Failed { status: 503, retry_after: Some(u32::MAX) });
        assert_eq!(rig.tick(s(600)).cause(), Some(Cause::Expired));
    }

    /// Covers: 6665-RSP-6, INT-1
    #[test]
    fn a_refresh_without_response_is_saved_by_a_notify_alone() {
        for result in [SubscribeResult::TimedOut, failed(408)] {
            let mut rig = Rig::refreshing(600, 100);
            rig.at(s(110)).result(result);
            assert_eq!(rig.sub.next_timer(), Some((s(132), TimerKind::TimerN)));
            let mut saved = Rig { sub: rig.sub, now: s(120) };
            assert_eq!(rig.tick(s(132)).cause(), Some(Cause::TimedOut));
            saved.notify(notify(Substate::Active, None));
            saved.tick(s(132));
            assert_eq!(saved.sub.state(), State::Active);
            assert!(matches!(saved.sub.next_timer(), Some((at, TimerKind::Refresh)) if at < s(600)));
        }
        // A later refresh that is answered is judged by its own silence.
        let mut rig = Rig::refreshing(600, 100);
        rig.result(SubscribeResult::TimedOut);
        rig.sub.refresh(s(100), None).unwrap();
        assert_eq!(rig.send().unwrap().kind, Kind::Refresh);
        rig.result(granted(600));
        assert_eq!(rig.tick(s(132)).cause(), Some(Cause::NoNotify));
        // Also after a failure of another kind.
        let mut rig = Rig::refreshing(600, 100);
        rig.result(failed(503));
        assert_eq!(rig.tick(s(101)).send().unwrap().kind, Kind::Refresh);
        rig.result(SubscribeResult::TimedOut);
        rig.notify(notify(Substate::Active, None));
        assert!(matches!(rig.sub.next_timer(), Some((at, TimerKind::Retry)) if at < s(600)));
    }

    /// Covers: 6665-RSP-7
    #[test]
    fn too_brief_to_a_refresh_sends_again_and_ends_nothing() {
        let mut rig = Rig::refreshing(600, 100);
        rig.result(SubscribeResult::TooBrief { min_expires: Some(900) });
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 900, kind: Kind::Refresh }));
        rig.result(SubscribeResult::TooBrief { min_expires: Some(1200) });
        assert_eq!((rig.sub.state(), rig.sub.deadline()), (State::Active, Some(s(600))));
        assert_eq!(rig.send(), None);
    }

    /// Covers: 6665-SSM-23, INT-5, 5057-4.2-2
    #[test]
    fn it_expires_at_the_deadline_when_nothing_is_owed() {
        let manual = Refresh { auto: false, ..Refresh::default() };
        let mut rig = Rig::with(&Params { refresh: manual, ..params(60) });
        rig.result(OK).notify(notify(Substate::Active, 60));
        rig.tick(s(32));
        assert_eq!(rig.sub.next_timer(), Some((s(60), TimerKind::Expiry)));
        rig.outcomes();
        // A refresh by hand that fails is not repeated by itself.
        rig.sub.refresh(s(40), None).unwrap();
        assert_eq!(rig.send().unwrap().kind, Kind::Refresh);
        rig.result(failed(500));
        assert_eq!(rig.outcomes(), vec![Outcome::RefreshFailed { status: 500, retry_at: None }]);
        assert_eq!(rig.sub.next_timer(), Some((s(60), TimerKind::Expiry)));
        rig.tick(ms(59_999));
        assert_eq!(rig.sub.state(), State::Active);
        let resubscribe = Resubscribe::MayAfter(Duration::ZERO);
        assert_eq!(rig.tick(s(60)).end(), Some(End { cause: Cause::Expired, resubscribe }));
        assert_eq!(rig.notify(notify(Substate::Active, 60)), Delivery::Refused);
    }

    /// Covers: 6665-SSM-23
    #[test]
    fn the_deadline_waits_for_a_refresh_that_is_out() {
        let mut rig = Rig::refreshing(600, 590);
        rig.tick(s(601));
        assert_eq!(rig.sub.state(), State::Active);
        rig.result(granted(600));
        assert_eq!(rig.sub.deadline(), Some(s(1201)));
        let mut rig = Rig::refreshing(600, 590);
        rig.tick(s(601)).result(failed(500));
        assert_eq!(rig.tick(s(601)).cause(), Some(Cause::Expired));
    }

    /// Covers: 6665-RACE-20, 6665-RACE-10
    #[test]
    fn a_clock_that_jumps_past_everything_expires_once_and_sends_nothing() {
        for far in [s(600), s(10_000), Instant::FAR_FUTURE] {
            let mut rig = Rig::active(600);
            rig.tick(far);
            assert_eq!(rig.send(), None);
            assert_eq!(rig.end(), Some(End { cause: Cause::Expired, resubscribe: Resubscribe::Now }));
            // A refresh that was due but not taken in time is not sent either.
            let mut rig = Rig::active(600);
            rig.sub.refresh(s(599), None).unwrap();
            assert_eq!(rig.at(far).send(), None);
            assert_eq!(rig.cause(), Some(Cause::Expired));
        }
    }

    /// Covers: 6665-RACE-22, 6665-SSM-16, 6665-3.1.1-7, 6665-4.2.2-10
    #[test]
    fn a_grant_of_zero_waits_for_its_notify() {
        let mut rig = Rig::refreshing(600, 100);
        rig.at(s(101)).result(granted(0));
        assert_eq!(rig.notify(notify(Substate::Active, None)), Delivery::Accepted, "it crossed");
        rig.tick(s(120));
        assert_eq!(rig.sub.state(), State::Active);
        assert_eq!(rig.notify(notify(Substate::Active, None)), Delivery::Accepted, "it crossed");
        rig.tick(s(125));
        assert_eq!(rig.notify(terminated(ReasonCode::Timeout, None)), Delivery::Accepted);
        assert!(matches!(rig.cause(), Some(Cause::ByNotifier { reason: ReasonCode::Timeout, .. })));
        // The crossing NOTIFY may also come before the 2xx.
        let mut rig = Rig::refreshing(600, 100);
        rig.notify(notify(Substate::Active, 500));
        rig.result(granted(0));
        rig.tick(s(131));
        assert_eq!(rig.sub.state(), State::Active);
        assert_eq!(rig.tick(s(132)).cause(), Some(Cause::NoNotify));
    }

    /// Covers: 6665-RACE-11, 6665-4.1.3-15, 6665-RSN-1, 6665-SSM-14, 6665-SSM-26
    #[test]
    fn a_refresh_that_crosses_the_end_is_forgotten() {
        let mut rig = Rig::refreshing(600, 100);
        rig.sub.refresh(s(100), None).unwrap();
        rig.notify(terminated(ReasonCode::Deactivated, Some(99)));
        let cause = Cause::ByNotifier { reason: ReasonCode::Deactivated, retry_after: Some(99) };
        assert_eq!(rig.end(), Some(End { cause, resubscribe: Resubscribe::Now }));
        rig.result(failed(481));
        assert_eq!((rig.outcomes(), rig.send()), (vec![], None));
        let mut rig = Rig::refreshing(600, 100);
        rig.notify(terminated(ReasonCode::Probation, Some(30)));
        rig.result(SubscribeResult::Failed { status: 500, retry_after: Some(1) });
        assert_eq!(rig.end().unwrap().resubscribe, Resubscribe::NotBefore(Duration::from_secs(30)));
    }

    /// Covers: 5057-5.1-2
    #[test]
    fn a_resync_keeps_the_floor() {
        let mut rig = Rig::active(600);
        rig.sub.resync(ms(100)).unwrap();
        assert_eq!(rig.at(ms(100)).send(), None);
        assert_eq!(rig.sub.poll_timeout(), Some(s(1)));
        assert_eq!(rig.tick(s(1)).send().unwrap().kind, Kind::Refresh);
        // While one is out, the next waits for its answer and for the floor.
        rig.sub.resync(ms(1_100)).unwrap();
        assert_eq!(rig.sub.next_timer(), Some((s(32), TimerKind::ForkWindow)));
        rig.at(ms(1_100)).result(granted(600));
        rig.notify(notify(Substate::Active, 600));
        assert_eq!(rig.send(), None);
        assert_eq!(rig.tick(s(2)).send().unwrap().kind, Kind::Refresh);
        assert_eq!(Rig::asking(600).sub.resync(s(9)), Err(Wrong));
        let mut rig = Rig::refreshing(600, 100);
        rig.sub.resync(s(100)).unwrap();
        rig.result(SubscribeResult::Failed { status: 503, retry_after: Some(60) });
        assert_eq!((rig.send(), rig.sub.next_timer()), (None, Some((s(160), TimerKind::Retry))));
        let mut rig = Rig::active(600);
        rig.sub.resync(s(9)).unwrap();
        assert_eq!(rig.at(s(9)).send().unwrap().kind, Kind::Refresh);
    }

    /// Covers: 6665-4.1.2.2-1, INT-15
    #[test]
    fn commands_in_the_wrong_state_change_nothing() {
        let mut cases = vec![Subscription::new(s(0), &params(600), &T), Rig::asking(600).sub, Rig::ending(600, 5).sub];
        let mut over = Rig::active(600);
        over.notify(terminated(ReasonCode::Absent, None));
        cases.push(over.sub);
        for sub in &mut cases {
            let before = *sub;
            assert_eq!(sub.refresh(s(6), Some(60)), Err(Wrong));
            assert_eq!(sub.resync(s(6)), Err(Wrong));
            assert_eq!(*sub, before);
        }
        let before = over.sub;
        assert_eq!(over.sub.unsubscribe(s(6)), Err(Wrong));
        assert_eq!(over.sub, Subscription { news: before.news, ..before });
        let mut fresh = Subscription::new(s(0), &params(600), &T);
        let before = fresh;
        assert_eq!(fresh.handle_notify(s(0), &notify(Substate::Active, 1), &T), Delivery::Refused);
        fresh.handle_subscribe_result(s(0), granted(1), &T);
        fresh.handle_timeout(s(99), &T);
        assert_eq!(fresh, before);
    }
}

mod ending {
    use super::*;

    /// Covers: 6665-SSM-22, 6665-4.1.2.3-1, 6665-4.1.2.3-2, 6665-RACE-22, 6665-4.4.1-7, PEER-A11
    #[test]
    fn an_unsubscribe_ends_with_the_last_notify() {
        let mut rig = Rig::ending(600, 100);
        assert!(rig.sub.is_ending());
        rig.result(granted(0));
        rig.tick(s(101));
        assert_eq!(rig.sub.state(), State::Active);
        assert_eq!(rig.at(s(120)).notify(terminated(ReasonCode::Timeout, None)), Delivery::Accepted);
        let cause = Cause::Unsubscribed { final_notify: true };
        assert_eq!(rig.end(), Some(End { cause, resubscribe: Resubscribe::Never }));
        assert!(!rig.sub.is_ending());
        assert_eq!(rig.sub.poll_timeout(), None);
    }

    /// Covers: 6665-SSM-21, PEER-A10
    #[test]
    fn without_a_last_notify_the_end_is_a_normal_one() {
        for result in [granted(0), SubscribeResult::TimedOut, SubscribeResult::Provisional] {
            let mut rig = Rig::ending(600, 100);
            rig.result(result);
            rig.tick(ms(131_999));
            assert_eq!(rig.sub.state(), State::Active);
            assert_eq!(rig.tick(s(132)).cause(), Some(Cause::Unsubscribed { final_notify: false }));
        }
    }

    /// Covers: 6665-RACE-8, PEER-D03
    #[test]
    fn a_notify_that_crosses_is_taken_and_the_wait_goes_on() {
        for answered in [false, true] {
            let mut rig = Rig::ending(600, 100);
            if answered {
                rig.result(granted(0));
            }
            assert_eq!(rig.at(s(101)).notify(notify(Substate::Active, 500)), Delivery::Accepted);
            assert_eq!(rig.sub.next_timer(), Some((s(132), TimerKind::TimerN)));
            assert_eq!(rig.notify(terminated(ReasonCode::Timeout, None)), Delivery::Accepted);
            assert_eq!(rig.cause(), Some(Cause::Unsubscribed { final_notify: true }));
        }
    }

    /// Covers: 6665-RACE-9, 5057-5.1-4, 6665-SSM-28
    #[test]
    fn any_refusal_of_the_unsubscribe_ends_it() {
        let results = [failed(481), failed(500), failed(403), SubscribeResult::NoNotify { expires: None }];
        let more = [SubscribeResult::TransportFailed, SubscribeResult::TooBrief { min_expires: Some(60) }];
        for result in results.into_iter().chain(more) {
            let mut rig = Rig::ending(600, 100);
            rig.outcomes();
            rig.result(result);
            assert_eq!(rig.cause(), Some(Cause::Unsubscribed { final_notify: false }), "{result:?}");
        }
        // The last NOTIFY was first: 481 to the unsubscribe is harmless.
        let mut rig = Rig::ending(600, 100);
        rig.notify(terminated(ReasonCode::Timeout, None));
        assert_eq!(rig.cause(), Some(Cause::Unsubscribed { final_notify: true }));
        assert_eq!(rig.result(failed(481)).outcomes(), vec![]);
    }

    /// Covers: 6665-RSP-5, 6665-SSM-7
    #[test]
    fn a_challenged_unsubscribe_is_sent_again() {
        let mut rig = Rig::ending(600, 100);
        rig.at(s(110)).result(SubscribeResult::Retrying);
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 0, kind: Kind::Unsubscribe }));
        assert_eq!(rig.sub.poll_timeout(), Some(s(142)));
    }

    /// Covers: 6665-RACE-13, INT-16, PEER-D02
    #[test]
    fn before_the_first_notify_the_wish_is_kept_for_every_fork() {
        let mut rig = Rig::asking(600);
        rig.sub.unsubscribe(s(1)).unwrap();
        assert_eq!(rig.sub.unsubscribe(s(1)), Err(Wrong));
        assert_eq!(rig.send(), None);
        let mut fork = Subscription::fork(s(2), &rig.sub, &T);
        rig.at(s(2)).notify(notify(Substate::Active, 600));
        assert_eq!(rig.send(), None, "the first SUBSCRIBE is still out");
        rig.result(granted(600));
        assert_eq!(rig.send(), Some(SubscribeOut { expires: 0, kind: Kind::Unsubscribe }));
        assert_eq!(fork.handle_notify(s(2), &notify(Substate::Active, 600), &T), Delivery::Accepted);
        assert_eq!(fork.poll_subscribe(s(2), &T).unwrap().kind, Kind::Unsubscribe);
        // No NOTIFY at all.
        let mut rig = Rig::asking(600);
        rig.sub.unsubscribe(s(1)).unwrap();
        rig.result(granted(600));
        assert_eq!(rig.tick(s(32)).cause(), Some(Cause::Unsubscribed { final_notify: false }));
        // An end of one dialog is not an end of its later forks.
        let rig = Rig::ending(600, 5);
        assert!(!Subscription::fork(s(6), &rig.sub, &T).is_ending());
    }

    /// Covers: PEER-D02, 6665-RACE-12
    #[test]
    fn an_unsubscribe_waits_for_a_refresh_that_is_out() {
        let mut rig = Rig::refreshing(600, 100);
        rig.sub.unsubscribe(s(100)).unwrap();
        assert_eq!(rig.send(), None);
        rig.at(s(120)).result(granted(600));
        assert_eq!(rig.send().unwrap().kind, Kind::Unsubscribe);
        assert_eq!(rig.sub.poll_timeout(), Some(s(152)), "its full Timer N");
        let mut rig = Rig::refreshing(600, 100);
        rig.sub.unsubscribe(s(100)).unwrap();
        assert_eq!(rig.tick(s(132)).cause(), Some(Cause::Unsubscribed { final_notify: false }));
    }

    /// Covers: 6665-SSM-1
    #[test]
    fn before_anything_was_sent_nothing_is() {
        let mut sub = Subscription::new(s(0), &params(600), &T);
        sub.unsubscribe(s(0)).unwrap();
        assert_eq!(sub.poll_subscribe(s(0), &T), None);
        let cause = Cause::Unsubscribed { final_notify: false };
        assert_eq!(sub.poll_outcome(), Some(Outcome::Ended(End { cause, resubscribe: Resubscribe::Never })));
        assert_eq!(sub.poll_outcome(), None);
        let mut rig = Rig::active(600);
        rig.sub.refresh(s(1), Some(0)).unwrap();
        rig.tick(s(599));
        assert_eq!(rig.send().unwrap().kind, Kind::Unsubscribe, "zero seconds are an end");
        let mut rig = Rig::active(600);
        rig.sub.close_fork_window();
        rig.sub.refresh(s(1), None).unwrap();
        assert_eq!(rig.sub.next_timer(), Some((s(600), TimerKind::Expiry)), "one refresh, not two");
    }

    /// Covers: 6665-RSN-2, 6665-RSN-3, 6665-RSN-5, 6665-RSN-7, 6665-SSM-25, PEER-D16, PEER-D17, PEER-D18
    #[test]
    fn the_reason_is_passed_on_with_what_may_follow() {
        let reasons = [ReasonCode::Probation, ReasonCode::Rejected, ReasonCode::Giveup, ReasonCode::Invariant];
        for reason in reasons {
            for retry_after in [None, Some(1)] {
                let mut rig = Rig::active(600);
                rig.notify(terminated(reason, retry_after));
                let cause = Cause::ByNotifier { reason, retry_after };
                let resubscribe = after_reason(reason, retry_after);
                assert_eq!(rig.end(), Some(End { cause, resubscribe }));
            }
        }
    }

    use crate::machine::responses::after_reason;
}

mod schedule {
    use super::*;

    /// Covers: INT-17, PEER-B14, PEER-B08, PEER-B09
    #[test]
    fn the_refresh_point_is_a_jittered_fraction_with_room_for_timer_n() {
        for expires in [64u32, 90, 160, 320, 600, 3600, 86_400, 5_000_000, 1 << 31, u32::MAX] {
            let mut points = Vec::new();
            for jitter in [0, 1, 1000, 32_768, u16::MAX] {
                let refresh = Refresh { jitter, ..Refresh::default() };
                let mut rig = Rig::with(&Params { refresh, ..params(expires) });
                rig.result(granted(expires)).notify(notify(Substate::Active, expires));
                rig.sub.close_fork_window();
                let (at, kind) = rig.sub.next_timer().unwrap();
                assert_eq!(kind, TimerKind::Refresh);
                points.push(at);
            }
            assert!(points.is_sorted() && points[0] < points[4], "{expires}: {points:?}");
            let whole = u64::from(expires) * 1000;
            let room = points[4] + Duration::from_secs(32);
            assert!(room <= s(u64::from(expires)), "{expires}: {points:?}");
            if expires >= 640 {
                assert_eq!(points[0], ms(whole * 80 / 100));
                assert_eq!(points[4], ms(whole * 95 / 100));
            }
            assert!(points[0] >= ms(whole * 42 / 100));
        }
        // Too short for Timer N: half.
        let refresh = Refresh { jitter: u16::MAX, ..Refresh::default() };
        let mut rig = Rig::with(&Params { refresh, ..params(40) });
        rig.result(OK).notify(notify(Substate::Active, 40));
        assert_eq!(rig.sub.next_timer(), Some((s(20), TimerKind::Refresh)));
    }

    /// Covers: PEER-B06, ADV-E19
    #[test]
    fn tiny_grants_neither_spin_nor_underflow() {
        for floor in [0, 1, 5, 30] {
            for grant in 0..=12u32 {
                for jitter in [0, u16::MAX] {
                    let refresh = Refresh { floor: Duration::from_secs(floor), jitter, ..Refresh::default() };
                    let mut rig = Rig::with(&Params { refresh, ..params(3600) });
                    rig.result(granted(grant)).notify(notify(Substate::Active, grant));
                    let mut last = s(0);
                    let mut below = 0;
                    let sent = rig.run(s(60), |rig, _| {
                        let gap = rig.now - last;
                        assert!(rig.now > last && gap < Duration::from_secs(u64::from(grant)));
                        below += u32::from(gap < Duration::from_secs(floor));
                        last = rig.now;
                        rig.result(granted(grant));
                        rig.notify(notify(Substate::Active, grant));
                    });
                    assert!(below <= 1, "one try below the floor: {floor} {grant}");
                    if u64::from(grant) <= floor {
                        assert!(sent.len() <= 1);
                        assert_eq!(rig.sub.state(), State::Terminated, "{floor} {grant}");
                        let expected = if grant == 0 { Resubscribe::Now } else { Resubscribe::Later };
                        assert_eq!(rig.end().unwrap().resubscribe, expected);
                    } else {
                        assert_eq!(rig.sub.state(), State::Active, "{floor} {grant}");
                    }
                }
            }
        }
    }

    /// Covers: PEER-B01, PEER-B02, PEER-B03, 6665-BC-3, 6665-4.2.2-13, 6665-4.1.3-7
    #[test]
    fn notifies_without_expires_move_nothing() {
        let mut rig = Rig::asking(3600);
        rig.result(granted(200));
        let mut sent = Vec::new();
        for at in [0, 50, 100, 150] {
            sent.extend(rig.run(s(at), |_, _| ()));
            rig.at(s(at)).notify(notify(Substate::Active, None));
            assert_eq!(rig.sub.deadline(), Some(s(200)));
        }
        sent.extend(rig.run(s(199), |_, _| ()));
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0] < s(200));
    }

    /// Covers: 6665-4.1.3-7, INT-17
    #[test]
    fn notifies_that_count_down_do_not_delay_the_refresh() {
        let mut rig = Rig::active(600);
        rig.tick(s(32));
        let planned = rig.sub.poll_timeout();
        for at in 33..480 {
            rig.at(s(at)).notify(notify(Substate::Active, u32::try_from(600 - at).unwrap()));
            assert_eq!(rig.sub.poll_timeout(), planned);
        }
        // A second or two are the rounding of the peer and the way.
        for (expires, moves) in [(302, false), (303, true), (298, false), (297, true)] {
            let mut rig = Rig::asking(600);
            rig.result(granted(300)).notify(notify(Substate::Active, None));
            rig.sub.close_fork_window();
            let planned = rig.sub.poll_timeout();
            rig.notify(notify(Substate::Active, expires));
            assert_eq!(rig.sub.poll_timeout() != planned, moves, "{expires}");
            assert_eq!(rig.sub.deadline(), Some(s(expires.into())));
        }
        // One that shortens brings it forward, one that gives back time lets it go.
        rig.at(s(470)).notify(notify(Substate::Active, 10));
        assert_eq!(rig.sub.deadline(), Some(s(480)));
        assert!(rig.sub.poll_timeout().unwrap() < s(476));
    }

    /// Covers: INT-3, 6665-4.1.2.1-3, PEER-B04
    #[test]
    fn more_than_was_asked_for_is_a_violation() {
        let mut rig = Rig::asking(600);
        rig.result(granted(7200));
        assert_eq!(
            rig.outcomes(),
            vec![
                Outcome::Accepted { expires: 600 },
                Outcome::PeerViolation { by: Violation::Response, received: 7200 }
            ]
        );
        assert_eq!(rig.sub.deadline(), Some(s(600)));
        rig.notify(notify(Substate::Active, 7200));
        assert!(rig.outcomes().contains(&Outcome::PeerViolation { by: Violation::Notify, received: 7200 }));
        assert_eq!(rig.sub.deadline(), Some(s(7200)), "authoritative");
        // Not one that crosses a SUBSCRIBE for less.
        let mut crossed = Rig::active(600);
        crossed.sub.refresh(s(1), Some(60)).unwrap();
        assert_eq!(crossed.at(s(1)).send().unwrap().expires, 60);
        crossed.notify(notify(Substate::Active, 599));
        assert_eq!(crossed.outcomes(), vec![]);
        let sent = rig.run(s(600), |_, _| ());
        assert!(sent[0] < s(600), "but the refresh comes in the interval asked for");
    }

    /// Covers: 6665-BC-2
    #[test]
    fn a_duration_that_nobody_names_comes_from_the_request_or_the_package() {
        let mut rig = Rig::asking(600);
        rig.result(SubscribeResult::Accepted { expires: None });
        rig.notify(notify(Substate::Active, None));
        assert_eq!(rig.sub.deadline(), Some(s(600)));
        let mut rig = Rig::with(&Params { default_expires: 60, ..params(600) });
        rig.notify(notify(Substate::Active, None));
        assert_eq!(rig.sub.deadline(), Some(s(60)));
        let mut rig = Rig::with(&Params { default_expires: 3600, ..params(600) });
        rig.notify(notify(Substate::Active, None));
        assert_eq!(rig.sub.deadline(), Some(s(600)));
    }

    /// Covers: PEER-B08, PEER-B09, 6665-4.2.2-9, ADV-E19, ADV-E21
    #[test]
    fn a_whole_life_at_the_edges_of_the_numbers() {
        let starts = [0, 1, u64::MAX / 2, u64::MAX - (1 << 40), u64::MAX - 2, u64::MAX];
        for start in starts.map(Instant::from_nanos) {
            for expires in [1, 2, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let ask = Params { default_expires: u32::MAX, ..params(expires) };
                let mut rig = Rig { sub: Subscription::new(start, &ask, &T), now: start };
                rig.send().unwrap();
                rig.result(granted(u32::MAX));
                rig.notify(notify(Substate::Active, u32::MAX));
                let _ = rig.sub.refresh(rig.now, Some(u32::MAX));
                if rig.send().is_some() {
                    rig.result(SubscribeResult::Failed { status: 503, retry_after: Some(u32::MAX) });
                }
                let mut turns = 0;
                while let Some(at) = rig.sub.poll_timeout() {
                    assert!(at >= start);
                    rig.tick(at.max(rig.now));
                    if rig.send().is_some() {
                        rig.result(failed(500));
                    }
                    turns += 1;
                    assert!(turns < 200);
                }
                assert_eq!(rig.sub.state(), State::Terminated);
                assert!(rig.end().is_some());
            }
        }
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
