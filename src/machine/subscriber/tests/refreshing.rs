//! Refreshes, and what answers to them do.

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
    let mut cases = vec![Subscription::new(&params(600)), Rig::asking(600).sub, Rig::ending(600, 5).sub];
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
    let mut fresh = Subscription::new(&params(600));
    let before = fresh;
    assert_eq!(fresh.handle_notify(s(0), &notify(Substate::Active, 1), &T), Delivery::Refused);
    fresh.handle_subscribe_result(s(0), granted(1), &T);
    fresh.handle_timeout(s(99));
    assert_eq!(fresh, before);
}
