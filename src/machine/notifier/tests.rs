#![allow(clippy::arithmetic_side_effects)]

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;

fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis.saturating_mul(1_000_000))
}

fn s(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn with(granted: u32, decision: Grant) -> Params {
    Params { granted, decision, ..Params::default() }
}

fn fresh(granted: u32) -> Subscription {
    Subscription::new(s(0), &with(granted, Grant::Active))
}

/// The first NOTIFY is delivered.
fn live(params: &Params) -> Subscription {
    let mut sub = Subscription::new(s(0), params);
    let out = sub.take_notify(s(0)).unwrap();
    sub.handle_notify_result(s(0), out.seq, NotifyResult::Delivered);
    sub
}

fn active(granted: u32) -> Subscription {
    live(&with(granted, Grant::Active))
}

fn pending(granted: u32) -> Subscription {
    live(&with(granted, Grant::Pending))
}

/// One of each state that is not over.
fn alive() -> [Subscription; 3] {
    [fresh(600), pending(600), active(600)]
}

fn gone(sub: &mut Subscription) -> Option<GoneCause> {
    let cause = sub.poll_outcome().map(|Outcome::Gone(cause)| cause);
    assert_eq!(sub.poll_outcome(), None);
    cause
}

/// Takes the terminated NOTIFY and lets it be answered.
fn expect_end(sub: &mut Subscription, now: Instant, reason: ReasonCode) -> Option<GoneCause> {
    assert!(sub.is_terminated());
    assert_eq!(gone(sub), None, "not before its last NOTIFY is done");
    let out = sub.take_notify(now).unwrap();
    assert_eq!((out.substate, out.expires, out.reason), (Substate::Terminated, None, Some(reason)));
    assert!(out.full);
    assert_eq!(sub.take_notify(now), None);
    assert_eq!(sub.poll_timeout(), None);
    sub.handle_notify_result(now, out.seq, NotifyResult::Delivered);
    let cause = gone(sub);
    assert_eq!((sub.wants_notify(now), sub.is_gone()), (None, true));
    cause
}

/// Covers: 6665-NSM-2, 6665-NSM-3, 6665-NSM-4, 6665-4.2.1.2-1, 6665-4.2.1.2-4, 6665-4.2.2-1, 6665-4.2.2-7
#[test]
fn the_first_notify_is_owed_at_once() {
    for (decision, substate, state) in
        [(Grant::Active, Substate::Active, State::Active), (Grant::Pending, Substate::Pending, State::Pending)]
    {
        let mut sub = Subscription::new(s(0), &with(600, decision));
        assert_eq!(sub.state(), State::RespWait);
        assert_eq!(sub.wants_notify(s(0)), Some(Urgency::Owed));
        let out = sub.take_notify(s(0)).unwrap();
        assert_eq!((out.substate, out.expires, out.reason), (substate, Some(600), None));
        assert!(out.full && !out.abandon_open);
        assert_eq!((sub.state(), sub.take_notify(s(0))), (state, None));
    }
}

/// Covers: 6665-NSM-5, 6665-3.1.1-7, 6665-4.2.2-10, 6665-4.4.3-3, PEER-D07, PEER-D09
#[test]
fn nothing_granted_is_one_terminated_notify() {
    let mut sub = fresh(0);
    assert_eq!((sub.state(), sub.wants_notify(s(0))), (State::Terminated, Some(Urgency::Owed)));
    assert_eq!(sub.handle_subscribe(s(0), 600), Err(Wrong));
    assert_eq!(expect_end(&mut sub, s(0), ReasonCode::Timeout), Some(GoneCause::Unsubscribed));
}

/// Covers: 6665-NSM-6, 6665-NSM-9, 6665-4.2.2-3
#[test]
fn a_pending_watcher_learns_nothing_until_approved() {
    let mut sub = pending(600);
    sub.mark_dirty(s(1));
    assert_eq!(sub.wants_notify(s(1)), None);
    sub.approve(s(2)).unwrap();
    assert_eq!(sub.approve(s(2)), Err(Wrong));
    let out = sub.take_notify(s(2)).unwrap();
    assert_eq!((out.substate, out.expires, out.full), (Substate::Active, Some(598), true));
    // Approved before the first NOTIFY was taken: that one says active.
    let mut sub = Subscription::new(s(0), &with(600, Grant::Pending));
    sub.approve(s(0)).unwrap();
    assert_eq!(sub.approve(s(0)), Err(Wrong));
    assert_eq!(sub.take_notify(s(0)).unwrap().substate, Substate::Active);
    // The throttle does not hold a decision back.
    let mut sub = live(&Params { min_interval: Duration::from_secs(60), ..with(600, Grant::Pending) });
    sub.approve(s(1)).unwrap();
    assert_eq!(sub.wants_notify(s(1)), Some(Urgency::Change));
}

/// Covers: 6665-NSM-7, 6665-NSM-13, 6665-NSM-17, 6665-4.2.2-11, 6665-4.2.2-12, 6665-4.1.3-22, 6665-4.2.1.3-4
#[test]
fn policy_ends_it_with_its_reason() {
    use ReasonCode as C;
    let rows = [
        (C::Rejected, None),
        (C::Deactivated, None),
        (C::Timeout, None),
        (C::NoResource, None),
        (C::Probation, Some(30)),
        (C::Giveup, Some(30)),
        (C::Other, Some(30)),
        (C::BadFilter, Some(30)),
        (C::Invariant, Some(30)),
    ];
    for (reason, retry_after) in rows {
        for mut sub in alive() {
            sub.terminate(s(1), reason, Some(30)).unwrap();
            let mut copy = sub;
            assert_eq!(copy.take_notify(s(1)).unwrap().retry_after, retry_after);
            assert_eq!(sub.terminate(s(1), reason, None), Err(Wrong));
            assert_eq!(expect_end(&mut sub, s(1), reason), Some(GoneCause::Terminated { reason }));
        }
    }
    let mut sub = active(600);
    sub.terminate(s(1), C::Invariant, None).unwrap();
    assert_eq!(sub.take_notify(s(1)).unwrap().retry_after, Some(31_536_000));
    let mut sub = active(600);
    assert_eq!(sub.terminate(s(1), C::Absent, None), Err(Wrong));
    assert_eq!(sub, active(600));
}

/// Covers: 6665-NSM-8
#[test]
fn an_undecided_request_is_given_up() {
    let params = Params { give_up: Some(Duration::from_secs(60)), ..with(600, Grant::Pending) };
    let mut sub = live(&params);
    assert_eq!(sub.next_timer(), Some((s(60), TimerKind::GiveUp)));
    sub.handle_timeout(ms(59_999));
    assert_eq!(sub.state(), State::Pending);
    sub.handle_timeout(s(60));
    let cause = GoneCause::Terminated { reason: ReasonCode::Giveup };
    assert_eq!(expect_end(&mut sub, s(60), ReasonCode::Giveup), Some(cause));
    let mut sub = live(&params);
    sub.approve(s(59)).unwrap();
    sub.handle_timeout(s(60));
    assert_eq!(sub.state(), State::Active);
}

/// Covers: 6665-NSM-10, 6665-NSM-21, 6665-RACE-16, 6665-4.2.2-2, INT-10
#[test]
fn changes_coalesce_behind_the_open_notify() {
    let mut sub = active(600);
    sub.mark_dirty(s(1));
    let first = sub.take_notify(s(1)).unwrap();
    assert_eq!((first.substate, first.expires, first.full), (Substate::Active, Some(599), false));
    for _ in 0..100 {
        sub.mark_dirty(s(2));
        assert_eq!(sub.take_notify(s(2)), None);
    }
    sub.handle_notify_result(s(3), first.seq, NotifyResult::Delivered);
    let second = sub.take_notify(s(3)).unwrap();
    assert_eq!((second.seq, second.full), (first.seq + 1, false));
    sub.handle_notify_result(s(4), second.seq, NotifyResult::Delivered);
    assert_eq!(sub.take_notify(s(4)), None);
}

/// Covers: 6665-5.4.10-1, 6665-4.2.2-3
#[test]
fn the_throttle_spaces_changes_and_nothing_else() {
    let mut sub = live(&Params { min_interval: Duration::from_secs(5), ..Params::default() });
    assert_eq!(sub.next_timer(), Some((s(3600), TimerKind::Expiry)), "nothing to tell, nothing to wake for");
    sub.mark_dirty(s(1));
    assert_eq!(sub.wants_notify(ms(4_999)), None);
    assert_eq!(sub.next_timer(), Some((s(5), TimerKind::Throttle)));
    sub.handle_timeout(s(5));
    assert_eq!(sub.next_timer(), Some((s(3600), TimerKind::Expiry)), "no spin while the NOTIFY waits");
    assert_eq!(sub.wants_notify(s(5)), Some(Urgency::Change));
    let out = sub.take_notify(s(6)).unwrap();
    sub.handle_notify_result(s(6), out.seq, NotifyResult::Delivered);
    sub.mark_dirty(s(7));
    sub.handle_subscribe(s(7), 3600).unwrap();
    assert_eq!(sub.wants_notify(s(7)), Some(Urgency::Owed));
    let mut ended = sub;
    let _ = ended.take_notify(s(7)).map(|out| ended.handle_notify_result(s(7), out.seq, NotifyResult::Delivered));
    ended.terminate(s(8), ReasonCode::NoResource, None).unwrap();
    assert_eq!(ended.wants_notify(s(8)), Some(Urgency::Terminal));
    sub.set_min_interval(Duration::ZERO);
    let out = sub.take_notify(s(7)).unwrap();
    sub.handle_notify_result(s(7), out.seq, NotifyResult::Delivered);
    sub.mark_dirty(s(7));
    assert_eq!(sub.wants_notify(s(7)), Some(Urgency::Change));
}

/// Covers: 6665-NSM-11, 6665-4.2.1.4-1, 6665-RACE-21, INT-10, 6665-5.3.2-1
#[test]
fn a_refresh_moves_the_deadline_and_replaces_the_open_notify() {
    let mut sub = active(600);
    sub.mark_dirty(s(100));
    let open = sub.take_notify(s(100)).unwrap();
    sub.handle_subscribe(s(110), 900).unwrap();
    assert_eq!((sub.state(), sub.deadline()), (State::Active, s(1010)));
    let out = sub.take_notify(s(110)).unwrap();
    assert!(out.abandon_open && out.full);
    assert_eq!((out.substate, out.expires, out.seq), (Substate::Active, Some(900), open.seq + 1));
    for late in [NotifyResult::TimedOut, NotifyResult::Ended, NotifyResult::Delivered] {
        sub.handle_notify_result(s(132), open.seq, late);
        assert!(sub.has_open_notify());
    }
    assert_eq!(sub.state(), State::Active);
    sub.handle_notify_result(s(133), out.seq, NotifyResult::Delivered);
    assert!(!sub.has_open_notify());
    let mut sub = pending(600);
    sub.handle_subscribe(s(1), 600).unwrap();
    let out = sub.take_notify(s(1)).unwrap();
    assert_eq!((out.substate, out.full, out.abandon_open), (Substate::Pending, true, false));
    let mut sub = fresh(600);
    sub.handle_subscribe(s(1), 300).unwrap();
    assert_eq!((sub.state(), sub.take_notify(s(1)).unwrap().expires), (State::RespWait, Some(300)));
}

/// A refused SUBSCRIBE never reaches the machine; one that it refuses itself leaves no trace.
///
/// Covers: 6665-NSM-12, PEER-B15
#[test]
fn a_refused_refresh_leaves_the_deadline() {
    let mut sub = active(600);
    sub.terminate(s(500), ReasonCode::Rejected, None).unwrap();
    for mut late in [sub, active(500)] {
        let before = late;
        assert_eq!(late.handle_subscribe(s(500), 600), Err(Wrong));
        assert_eq!(late.handle_subscribe(s(500), 0), Err(Wrong));
        assert_eq!(late, before);
    }
}

/// Covers: 6665-NSM-14, 6665-4.2.1.4-7, PEER-D10, PEER-D11, PEER-D27
#[test]
fn an_unsubscribe_gets_its_last_notify_at_once() {
    for mut sub in alive() {
        let open = if sub.state() == State::Active {
            sub.mark_dirty(s(1));
            sub.take_notify(s(1))
        } else {
            None
        };
        sub.handle_subscribe(s(2), 0).unwrap();
        assert_eq!(sub.wants_notify(s(2)), Some(Urgency::Owed));
        assert_eq!(sub.take_notify(s(2)).map(|out| out.abandon_open), Some(open.is_some()));
        if let Some(open) = open {
            sub.handle_notify_result(s(3), open.seq, NotifyResult::TimedOut);
            assert_eq!(gone(&mut sub), None);
        }
        sub.handle_notify_result(s(4), sub.seq, NotifyResult::Delivered);
        assert_eq!(gone(&mut sub), Some(GoneCause::Unsubscribed));
    }
}

/// Covers: 6665-NSM-15, 6665-4.2.1.4-4, 6665-4.2.1.4-5, 6665-4.2.1.4-6, 6665-RACE-10
#[test]
fn without_refresh_it_ends_at_the_deadline() {
    for mut sub in alive() {
        assert_eq!(sub.next_timer(), Some((s(600), TimerKind::Expiry)));
        sub.handle_timeout(ms(599_999));
        assert!(!sub.is_terminated());
        let mut late = sub;
        assert_eq!(late.handle_subscribe(s(600), 600), Err(Wrong), "whichever comes first");
        sub.handle_timeout(s(600));
        assert_eq!(expect_end(&mut sub, s(600), ReasonCode::Timeout), Some(GoneCause::Expired));
    }
    // Without the wake-up the verdict is the same.
    let mut sub = active(600);
    assert_eq!(sub.wants_notify(s(601)), Some(Urgency::Terminal));
    assert_eq!(sub.take_notify(s(601)).unwrap().reason, Some(ReasonCode::Timeout));
}

/// Covers: PEER-B10, 6665-4.2.2-7
#[test]
fn no_notify_claims_time_that_is_not_there() {
    let mut sub = active(10);
    sub.mark_dirty(ms(9_001));
    assert_eq!(sub.wants_notify(ms(9_001)), None, "the last second belongs to the terminal NOTIFY");
    sub.mark_dirty(s(9));
    assert_eq!(sub.take_notify(s(9)).unwrap().expires, Some(1));
    for late in [ms(9_500), s(10), s(99_999), Instant::FAR_FUTURE] {
        let mut sub = fresh(10);
        let out = sub.take_notify(late).unwrap();
        assert_eq!((out.substate, out.expires), (Substate::Terminated, None));
        sub.handle_notify_result(late, out.seq, NotifyResult::Delivered);
        assert_eq!(gone(&mut sub), Some(GoneCause::Expired));
    }
    for granted in 1..=12u32 {
        for at in (0..12_000).step_by(250) {
            let mut sub = active(granted);
            sub.mark_dirty(ms(at));
            if let Some(out) = sub.take_notify(ms(at)) {
                let left = u64::from(granted).checked_sub(at.div_ceil(1000)).filter(|left| *left > 0);
                assert_eq!(out.expires.map(u64::from), left);
            }
        }
    }
}

/// Covers: 6665-4.2.2-8, 6665-4.2.2-9
#[test]
fn it_can_be_shortened_and_never_lengthened() {
    for mut sub in [pending(600), active(600)] {
        assert_eq!(sub.shorten(s(100), 500), Err(Wrong));
        assert_eq!(sub.shorten(s(100), u32::MAX), Err(Wrong));
        sub.shorten(s(100), 30).unwrap();
        let out = sub.take_notify(s(100)).unwrap();
        assert_eq!((out.expires, sub.deadline()), (Some(30), s(130)));
        sub.handle_notify_result(s(100), out.seq, NotifyResult::Delivered);
        sub.shorten(s(101), 0).unwrap();
        assert_eq!(expect_end(&mut sub, s(101), ReasonCode::Timeout), Some(GoneCause::Expired));
        assert_eq!(sub.shorten(s(102), 0), Err(Wrong));
    }
    let mut sub = fresh(600);
    sub.shorten(s(0), 30).unwrap();
    assert_eq!(sub.take_notify(s(0)).unwrap().expires, Some(30));
    assert_eq!(sub.wants_notify(s(0)), None);
}

/// Covers: 6665-NSM-16, 6665-4.2.2-4, 6665-4.2.2-5, 6665-NRC-3, INT-11, PEER-D06, PEER-D20
#[test]
fn a_failed_notify_removes_it_without_another() {
    let results = [
        (NotifyResult::Ended, Failure::Refused),
        (NotifyResult::TimedOut, Failure::TimedOut),
        (NotifyResult::TransportFailed, Failure::Transport),
    ];
    for (result, why) in results {
        let mut sub = active(600);
        sub.mark_dirty(s(1));
        let out = sub.take_notify(s(1)).unwrap();
        sub.mark_dirty(s(2));
        sub.handle_notify_result(s(33), out.seq, result);
        assert_eq!(gone(&mut sub), Some(GoneCause::NotifyFailed { why }));
        assert_eq!((sub.is_terminated(), sub.wants_notify(s(34)), sub.poll_timeout()), (true, None, None));
        assert_eq!(sub.handle_subscribe(s(34), 600), Err(Wrong));
        sub.mark_dirty(s(34));
        sub.handle_timeout(s(700));
        assert_eq!((sub.wants_notify(s(700)), gone(&mut sub)), (None, None));
    }
}

/// Covers: 6665-NRC-7, 6665-NRC-17, 6665-NRC-19, 6665-NRC-20, PEER-D20
#[test]
fn a_harmless_failure_is_repeated_in_full_later() {
    let mut sub = active(3600);
    sub.mark_dirty(s(1));
    let mut waits = Vec::new();
    let mut now = s(1);
    while let Some(out) = sub.take_notify(now) {
        sub.handle_notify_result(now, out.seq, NotifyResult::Kept { retry_after: None });
        assert_eq!(sub.wants_notify(now), None);
        let (at, kind) = sub.next_timer().unwrap();
        if kind == TimerKind::Expiry {
            break;
        }
        assert_eq!(kind, TimerKind::Retry);
        waits.push((at - now).as_secs());
        now = at;
        sub.handle_timeout(now);
        assert_eq!(sub.state(), State::Active);
    }
    assert_eq!(waits[..4], [5, 10, 20, 40]);
    assert!(waits.len() < 12);

    let mut sub = active(3600);
    sub.mark_dirty(s(1));
    let out = sub.take_notify(s(1)).unwrap();
    sub.handle_notify_result(s(1), out.seq, NotifyResult::Kept { retry_after: Some(60) });
    sub.mark_dirty(s(2));
    assert_eq!((sub.wants_notify(s(2)), sub.poll_timeout()), (None, Some(s(61))), "the peer's wait is kept");
    let mut renewed = sub;
    assert!(sub.take_notify(s(61)).unwrap().full);
    // The NOTIFY that a SUBSCRIBE is owed does not wait, and ends the wait.
    renewed.handle_subscribe(s(3), 3600).unwrap();
    let out = renewed.take_notify(s(3)).unwrap();
    renewed.handle_notify_result(s(3), out.seq, NotifyResult::Delivered);
    renewed.shorten(s(4), 60).unwrap();
    assert_eq!(renewed.wants_notify(s(4)), Some(Urgency::Change));

    let mut sub = active(3600);
    sub.mark_dirty(s(1));
    let out = sub.take_notify(s(1)).unwrap();
    sub.handle_notify_result(s(1), out.seq, NotifyResult::Kept { retry_after: None });
    sub.mark_dirty(s(2));
    assert!(sub.take_notify(s(2)).unwrap().full, "news does not wait for our own back-off");
}

/// Covers: PEER-D21
#[test]
fn a_timeout_can_be_survived() {
    for result in [NotifyResult::TimedOut, NotifyResult::TransportFailed] {
        let mut sub = live(&Params { keep_on_timeout: true, ..Params::default() });
        sub.mark_dirty(s(1));
        let out = sub.take_notify(s(1)).unwrap();
        sub.handle_notify_result(s(33), out.seq, result);
        assert_eq!((sub.state(), sub.poll_timeout()), (State::Active, Some(s(38))));
        sub.mark_dirty(s(34));
        assert!(sub.take_notify(s(34)).unwrap().full);
    }
}

/// Covers: 6665-NRC-5, 6665-NRC-6, PEER-D22
#[test]
fn a_challenged_notify_goes_again_at_once() {
    let mut sub = live(&Params { min_interval: Duration::from_secs(60), ..Params::default() });
    sub.handle_subscribe(s(1), 3600).unwrap();
    let out = sub.take_notify(s(1)).unwrap();
    sub.handle_notify_result(s(1), out.seq, NotifyResult::Retry);
    let again = sub.take_notify(s(1)).unwrap();
    assert_eq!((again.seq, again.abandon_open), (out.seq + 1, false));
    assert_eq!(sub.take_notify(s(1)), None);
}

/// Covers: 6665-NSM-18, 6665-NRC-22, 6665-RACE-17, 6665-NSM-19
#[test]
fn the_last_notify_is_repeated_only_for_a_challenge() {
    let results = [
        NotifyResult::Delivered,
        NotifyResult::Kept { retry_after: Some(5) },
        NotifyResult::Ended,
        NotifyResult::TimedOut,
        NotifyResult::TransportFailed,
    ];
    for result in results {
        let mut sub = active(600);
        sub.terminate(s(1), ReasonCode::NoResource, None).unwrap();
        assert_eq!(sub.handle_subscribe(s(1), 600), Err(Wrong));
        let out = sub.take_notify(s(1)).unwrap();
        sub.handle_notify_result(s(1), out.seq, NotifyResult::Retry);
        assert_eq!(gone(&mut sub), None);
        let again = sub.take_notify(s(1)).unwrap();
        assert_eq!((again.substate, again.seq), (Substate::Terminated, out.seq + 1));
        sub.handle_notify_result(s(2), again.seq, result);
        let cause = GoneCause::Terminated { reason: ReasonCode::NoResource };
        assert_eq!(gone(&mut sub), Some(cause));
        assert_eq!(sub.take_notify(s(3)), None);
    }
}

/// Covers: INT-10, PEER-D06
#[test]
fn an_end_by_policy_waits_for_the_open_notify() {
    let open = || {
        let mut sub = active(600);
        sub.mark_dirty(s(1));
        let out = sub.take_notify(s(1)).unwrap();
        sub.terminate(s(2), ReasonCode::Rejected, None).unwrap();
        assert_eq!(sub.wants_notify(s(2)), None);
        (sub, out.seq)
    };
    for result in [NotifyResult::Delivered, NotifyResult::Retry, NotifyResult::Kept { retry_after: Some(9) }] {
        let (mut sub, seq) = open();
        sub.handle_notify_result(s(3), seq, result);
        let cause = GoneCause::Terminated { reason: ReasonCode::Rejected };
        assert_eq!(expect_end(&mut sub, s(3), ReasonCode::Rejected), Some(cause));
    }
    for result in [NotifyResult::Ended, NotifyResult::TimedOut, NotifyResult::TransportFailed] {
        let (mut sub, seq) = open();
        sub.handle_notify_result(s(33), seq, result);
        assert_eq!(sub.wants_notify(s(33)), None, "the peer is lost");
        assert!(gone(&mut sub).is_some());
    }
}

/// Covers: 6665-RACE-18, PEER-A13, ADV-E15
#[test]
fn a_change_during_acceptance_is_in_the_first_notify() {
    let mut sub = fresh(600);
    sub.mark_dirty(s(0));
    let out = sub.take_notify(s(0)).unwrap();
    assert!(out.full);
    sub.handle_notify_result(s(0), out.seq, NotifyResult::Delivered);
    assert_eq!(sub.wants_notify(s(0)), None);
}

/// Covers: PEER-B08, 6665-4.2.2-9
#[test]
fn the_edges_of_the_numbers() {
    for start in [0, 1, u64::MAX - (1 << 62), u64::MAX - 2, u64::MAX].map(Instant::from_nanos) {
        for granted in [1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let params = Params {
                granted,
                min_interval: Duration::MAX,
                give_up: Some(Duration::MAX),
                ..with(granted, Grant::Pending)
            };
            let mut sub = Subscription::new(start, &params);
            let out = sub.take_notify(start).unwrap();
            assert!(out.expires.is_none_or(|left| left <= granted && left > 0));
            sub.handle_notify_result(start, out.seq, NotifyResult::Kept { retry_after: Some(u32::MAX) });
            let _ = sub.approve(start);
            for _ in 0..10 {
                let Some(at) = sub.poll_timeout() else { break };
                assert!(at >= start);
                sub.handle_timeout(at);
            }
            assert!(sub.is_terminated() || sub.deadline() > start);
        }
    }
    let mut sub = active(600);
    sub.seq = u32::MAX;
    sub.mark_dirty(s(1));
    let out = sub.take_notify(s(1)).unwrap();
    assert_eq!(out.seq, 0);
    sub.handle_notify_result(s(1), 0, NotifyResult::Delivered);
    assert!(!sub.has_open_notify());
}

/// Every short history of inputs: one NOTIFY open, `expires` never above what
/// is left and never raised without a SUBSCRIBE, one terminated NOTIFY that is
/// the last, one end, no spin.
///
/// Covers: 6665-4.2.2-6, 6665-4.2.2-9, 6665-NSM-21, 6665-NSM-20, PEER-B16, PEER-D05
#[test]
fn all_short_histories_keep_the_invariants() {
    const INPUTS: usize = 14;
    #[derive(Clone, Copy)]
    struct Seen {
        limit: Instant,
        open: bool,
        terminal: bool,
        gone: bool,
    }
    fn feed(sub: &mut Subscription, now: &mut Instant, seen: &mut Seen, input: usize) {
        let seq = sub.seq;
        let mut result = |result| {
            sub.handle_notify_result(*now, seq, result);
            seen.open = false;
        };
        match input {
            0 => result(NotifyResult::Delivered),
            1 => result(NotifyResult::Retry),
            2 => result(NotifyResult::Kept { retry_after: None }),
            3 => result(NotifyResult::Kept { retry_after: Some(7) }),
            4 => result(NotifyResult::Ended),
            5 => result(NotifyResult::TimedOut),
            6 => sub.mark_dirty(*now),
            7 => {
                if sub.handle_subscribe(*now, 100).is_ok() {
                    seen.limit = now.saturating_add(Duration::from_secs(100));
                }
            }
            8 => _ = sub.handle_subscribe(*now, 0),
            9 => _ = sub.approve(*now),
            10 => _ = sub.terminate(*now, ReasonCode::Probation, Some(9)),
            11 => _ = sub.shorten(*now, 3),
            12 => {
                if let Some(at) = sub.poll_timeout() {
                    *now = at.max(*now);
                    sub.handle_timeout(*now);
                    assert!(sub.poll_timeout().is_none_or(|next| next > *now), "{sub:?}");
                }
            }
            _ => {
                if let Some(out) = sub.take_notify(*now) {
                    assert!(!seen.open || out.abandon_open);
                    assert!(!seen.terminal || out.substate == Substate::Terminated);
                    assert_eq!(out.expires.is_some(), out.substate != Substate::Terminated);
                    assert_eq!(out.reason.is_some(), out.substate == Substate::Terminated);
                    if let Some(left) = out.expires {
                        let until = now.saturating_add(Duration::from_secs(left.into()));
                        assert!(left > 0 && until <= seen.limit);
                    }
                    seen.open = true;
                    seen.terminal = out.substate == Substate::Terminated;
                }
            }
        }
    }
    fn walk(sub: Subscription, now: Instant, seen: Seen, depth: usize, count: &mut usize) {
        *count += 1;
        assert_eq!(sub.has_open_notify(), seen.open && !seen.gone);
        // Left to itself, with every NOTIFY lost, it is gone after the deadline.
        let (mut rest, mut later) = (sub, now);
        for _ in 0..40 {
            if rest.take_notify(later).is_some() || rest.has_open_notify() {
                let seq = rest.seq;
                rest.handle_notify_result(later, seq, NotifyResult::Kept { retry_after: None });
            } else if let Some(at) = rest.poll_timeout() {
                later = at.max(later);
                rest.handle_timeout(later);
            }
        }
        assert!(rest.is_gone(), "{rest:?}");
        assert_eq!(rest.poll_outcome().is_some(), !seen.gone);
        if depth == 0 {
            return;
        }
        for input in 0..INPUTS {
            let (mut next, mut now, mut seen) = (sub, now, seen);
            feed(&mut next, &mut now, &mut seen, input);
            if let Some(Outcome::Gone(_)) = next.poll_outcome() {
                assert!(!seen.gone && next.is_terminated());
                seen.gone = true;
            }
            if next != sub {
                walk(next, now, seen, depth - 1, count);
            }
        }
    }
    let mut count = 0;
    for decision in [Grant::Active, Grant::Pending] {
        let give_up = Some(Duration::from_secs(20));
        let sub = Subscription::new(s(0), &Params { give_up, ..with(60, decision) });
        let seen = Seen { limit: s(60), open: false, terminal: false, gone: false };
        walk(sub, s(0), seen, 6, &mut count);
    }
    assert!(count > 10_000, "{count}");
}

/// Covers: 6665-NSM-1
#[test]
fn the_end_is_told_once_whatever_follows() {
    let mut sub = fresh(0);
    let out = sub.take_notify(s(0)).unwrap();
    for _ in 0..3 {
        sub.handle_notify_result(s(1), out.seq, NotifyResult::Delivered);
    }
    let told: Vec<_> = core::iter::from_fn(|| sub.poll_outcome()).collect();
    assert_eq!(told, vec![Outcome::Gone(GoneCause::Unsubscribed)]);
}

/// Covers: 6665-NSM-9, 6665-4.2.1.3-4
#[test]
fn state_is_disclosed_to_the_authorised_only() {
    assert!(fresh(600).discloses_state() && active(600).discloses_state() && fresh(0).discloses_state());
    assert!(!pending(600).discloses_state());
    for (reason, discloses) in
        [(ReasonCode::Rejected, false), (ReasonCode::NoResource, false), (ReasonCode::Deactivated, true)]
    {
        let mut sub = active(600);
        sub.terminate(s(1), reason, None).unwrap();
        assert_eq!(sub.discloses_state(), discloses);
        let mut sub = pending(600);
        sub.terminate(s(1), reason, None).unwrap();
        assert!(!sub.discloses_state());
    }
}

#[test]
fn a_change_can_be_taken_back() {
    let mut sub = active(600);
    sub.mark_dirty(s(1));
    assert!(sub.clear_dirty());
    assert_eq!(sub.wants_notify(s(1)), None);
    // A shorter life is told even if the state is the same.
    sub.shorten(s(1), 60).unwrap();
    sub.mark_dirty(s(1));
    assert!(!sub.clear_dirty());
    assert!(sub.wants_notify(s(10)).is_some());
}

/// Covers: 6665-NSM-6, 6665-NRC-17
#[test]
fn what_is_decided_does_not_wait_for_our_own_back_off() {
    type Decide = fn(&mut Subscription, Instant);
    let decisions: [(Decide, bool); 3] = [
        (|sub, now| sub.approve(now).unwrap(), true),
        (|sub, now| sub.shorten(now, 60).unwrap(), false),
        (|sub, now| sub.insist(now), false),
    ];
    for (decide, approves) in decisions {
        for asked in [None, Some(40)] {
            let mut sub = if approves { pending(3600) } else { active(3600) };
            sub.insist(s(1));
            let out = sub.take_notify(s(1)).unwrap();
            sub.handle_notify_result(s(1), out.seq, NotifyResult::Kept { retry_after: asked });
            assert_eq!(sub.wants_notify(s(2)), None);
            decide(&mut sub, s(2));
            // What the peer asked for is kept.
            let (now, wanted) = (sub.wants_notify(s(2)), asked.is_none().then_some(Urgency::Change));
            assert_eq!(now, wanted, "approves {approves}, asked {asked:?}");
            assert_eq!(sub.wants_notify(s(41)), Some(Urgency::Change));
            assert!(sub.take_notify(s(41)).unwrap().full);
        }
    }
}
