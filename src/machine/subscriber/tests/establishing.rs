//! From the first SUBSCRIBE to the first NOTIFY.

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
    let mut fork = Subscription::fork(s(10), &rig.sub);
    assert_eq!(fork.handle_notify(s(10), &notify(Substate::Active, 600), &T), Delivery::Accepted);
    assert_eq!(rig.tick(s(32)).outcomes(), vec![Outcome::ForkWindowClosed]);
}

/// Covers: 6665-RACE-3, INT-2, PEER-E04
#[test]
fn a_subscription_made_by_a_notify_survives_its_subscribe() {
    let endings = [SubscribeResult::TimedOut, SubscribeResult::TransportFailed, failed(404), failed(503), failed(481)];
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
    let mut fork = Subscription::fork(s(31), &rig.sub);
    assert_eq!(fork.state(), State::NotifyWait);
    assert_eq!(fork.poll_subscribe(s(31), &T), None);
    assert_eq!(fork.handle_notify(s(31), &notify(Substate::Pending, 100), &T), Delivery::Accepted);
    assert_eq!((fork.state(), fork.deadline()), (State::Pending, Some(s(131))));
    assert_eq!(fork.fork_window(), None, "the window is the attempt's");
    rig.tick(s(32));
    assert_eq!(rig.outcomes(), vec![Outcome::ForkWindowClosed]);
    assert_eq!(rig.sub.state(), State::Active);
    let mut late = Subscription::fork(s(32), &rig.sub);
    assert_eq!(late.handle_notify(s(32), &notify(Substate::Active, 600), &T), Delivery::Refused);
    assert_eq!((late.state(), late.poll_outcome(), late.poll_timeout()), (State::Terminated, None, None));
    // A fork whose NOTIFY is refused elsewhere is forgotten at Timer N.
    let parent = Rig::asking(600).sub;
    let mut idle = Subscription::fork(s(3), &parent);
    assert_eq!(idle.poll_timeout(), Some(s(32)));
    idle.handle_timeout(s(32));
    assert_eq!(idle.state(), State::Terminated);
}

/// Covers: 6665-SSM-6
#[test]
fn the_fork_window_can_be_closed() {
    let mut rig = Rig::active(600);
    rig.sub.close_fork_window();
    rig.sub.close_fork_window();
    assert_eq!(rig.outcomes(), vec![Outcome::ForkWindowClosed]);
    assert_eq!(Subscription::fork(s(1), &rig.sub).state(), State::Terminated);
}

/// Covers: 6665-4.4.3-1, 6665-4.4.3-3, 6665-4.4.3-4, 6665-RSN-4
#[test]
fn a_fetch_ends_with_its_notify_and_lets_forks_follow() {
    let mut rig = Rig::asking(0);
    rig.at(s(1)).result(granted(0));
    assert_eq!(rig.sub.state(), State::NotifyWait);
    rig.at(s(2)).notify(terminated(ReasonCode::Timeout, None));
    assert_eq!(rig.end(), Some(End { cause: Cause::Fetched, resubscribe: Resubscribe::Never }));
    let mut fork = Subscription::fork(s(9), &rig.sub);
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
