//! How a subscription ends, and what may follow.

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
    let mut fork = Subscription::fork(s(2), &rig.sub);
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
    assert!(!Subscription::fork(s(6), &rig.sub).is_ending());
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
    let mut sub = Subscription::new(&params(600));
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
