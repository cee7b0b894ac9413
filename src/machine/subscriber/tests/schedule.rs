//! When the next refresh goes out.

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
        vec![Outcome::Accepted { expires: 600 }, Outcome::PeerViolation { by: Violation::Response, received: 7200 }]
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
            let mut rig = Rig { sub: Subscription::new(&ask), now: start };
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
