//! The readings of places that the RFCs leave open, one by one.

use std::time::Duration;

use sip_events::{Decision, Ending, Event, Failure, Gone, Scope, Subscribe};

use crate::harness::*;

/// Covers: INT-1, INT-2, INT-3, INT-4, INT-5, INT-6, INT-7, INT-8, INT-9, INT-10, INT-11, INT-12, INT-13, INT-14,
/// INT-15, INT-16, INT-17, INT-18
#[test]
fn every_ruling() {
    walk(
        "INT",
        18,
        &[
            (1, a_refused_refresh_cancels_timer_n_and_a_timeout_does_not),
            (2, what_a_notify_made_survives_the_subscribe),
            (3, more_than_was_asked_for),
            (4, active_may_become_pending),
            (5, the_subscriber_ends_it_at_the_deadline),
            (6, unknown_states_are_no_change),
            (7, a_204_to_the_first_subscribe_is_a_failure),
            (8, a_502_ends_nothing),
            (9, accept_of_a_refresh_replaces_the_earlier),
            (10, one_notify_is_open_and_the_owed_one_replaces_it),
            (11, a_dead_transport_is_a_timeout),
            (12, long_times_are_clamped),
            (13, the_latest_word_sets_the_deadline),
            (14, an_equal_cseq_is_out_of_order),
            (15, one_subscribe_is_in_flight),
            (16, an_early_unsubscribe_is_remembered),
            (17, when_a_refresh_is_sent),
            (18, the_rfcs_example_is_a_slip),
        ],
    );
}

fn passive() -> Subscribe {
    Rig::request().auto_refresh(false).auto_resubscribe(false)
}

fn established() -> (Rig, Ours) {
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    (rig, ours)
}

fn a_refused_refresh_cancels_timer_n_and_a_timeout_does_not() {
    for (answer, lives) in [(Some("500 Oops"), true), (Some("408 Timeout"), false), (None, false)] {
        let (mut rig, ours) = established();
        let refresh = rig.refresh(&ours);
        if let Some(answer) = answer {
            rig.quiet(refresh.answer(answer));
        }
        rig.run(secs(33));
        assert_eq!(rig.lives(&ours), lives, "{answer:?}");
    }
}

fn what_a_notify_made_survives_the_subscribe() {
    for answer in [Some("404 Not Found"), Some("481 Gone"), Some("408 Timeout"), Some("503 Busy"), None] {
        let mut rig = Rig::new();
        let ours = rig.start(passive());
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
        if let Some(answer) = answer {
            rig.feed(ours.subscribe.answer(answer));
        }
        rig.run(secs(40));
        assert!(rig.lives(&ours), "{answer:?}");
        assert_eq!(rig.status(ours.subscribe.notify(2, "active")), 200);
    }
}

fn more_than_was_asked_for() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(9000));
    assert_eq!(rig.endpoint.stats().tolerated, 1);
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 600);
    // Of a NOTIFY it is the deadline, but the refresh comes as if it were not.
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=9000")), 200);
    assert_eq!((rig.endpoint.stats().tolerated, rig.left(&ours)), (2, 9000));
    let _ = rig.next(secs(600));
}

fn active_may_become_pending() {
    let (mut rig, ours) = established();
    assert_eq!(rig.status(ours.subscribe.notify(2, "pending;expires=300")), 200);
    assert_eq!(rig.left(&ours), 300);
    assert_eq!(rig.status(ours.subscribe.notify(3, "active;expires=300")), 200);
}

fn the_subscriber_ends_it_at_the_deadline() {
    let (mut rig, ours) = established();
    rig.idle(secs(600));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Expired, .. })));
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=timeout")), 481);
}

fn unknown_states_are_no_change() {
    let (mut rig, ours) = established();
    assert_eq!(rig.status(ours.subscribe.notify(2, "fancy")), 200);
    assert_eq!(rig.left(&ours), 600);
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify(1, "fancy")), 200);
    assert!(rig.endpoint.subscription(ours.id).unwrap().target.is_some());
}

fn a_204_to_the_first_subscribe_is_a_failure() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.answer("204 No Notification").add("Expires", "600"));
    rig.idle(secs(32) - Duration::from_nanos(1));
    assert!(rig.lives(&ours));
    rig.idle(Duration::from_nanos(1));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::NoNotify, .. })));
}

fn a_502_ends_nothing() {
    let (mut rig, ours) = established();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("502 Bad Gateway"));
    assert!(rig.take().iter().any(|e| matches!(e, Event::RefreshFailed { status: Some(_), .. })));
    assert!(rig.lives(&ours));
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.endpoint.report_delivery(theirs.id, true).unwrap();
    rig.run(secs(10));
    let told = rig.set_bob("<1/>").remove(0);
    rig.quiet(told.answer("502 Bad Gateway"));
    assert!(rig.watches(&theirs));
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notified { .. })));
}

fn accept_of_a_refresh_replaces_the_earlier() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).add("Accept", PIDF));
    assert_eq!(rig.status(theirs.ok.refresh(2, 600).add("Accept", "text/x")), 406);
    let sent = rig.feed(theirs.ok.refresh(3, 600));
    assert_eq!(sent[1].get("Content-Type"), PIDF);
    // Which of several types that chooses is shown in section 3.
}

fn one_notify_is_open_and_the_owed_one_replaces_it() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.run(secs(10));
    let open = rig.set_bob("<1/>").remove(0);
    rig.set_bob("<2/>");
    assert!(rig.run(secs(8)).iter().all(|(_, out)| *out == open));
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!((sent[1].cseq(), sent[1].body()), (open.cseq() + 1, b"<2/>".to_vec()));
    rig.quiet(open.answer("404 Not Found"));
    rig.quiet(sent[1].answer("200 OK"));
    rig.run(secs(40));
    assert!(rig.watches(&theirs));
}

fn a_dead_transport_is_a_timeout() {
    let mut rig = Rig::notifier();
    let _ = rig.theirs();
    rig.run(secs(10));
    rig.set_bob("<1/>");
    rig.endpoint.handle_unreachable(rig.now, udp());
    rig.idle(secs(0));
    let Some(Event::WatcherGone { why: Gone::NoAnswer(Failure::Transport), .. }) = rig.ended() else { panic!() };
}

fn long_times_are_clamped() {
    let huge = "99999999999999999999";
    let mut rig = Rig::new();
    let ours = rig.start(passive().expires(u32::MAX));
    assert_eq!(ours.subscribe.get("Expires"), u32::MAX.to_string());
    rig.quiet(ours.subscribe.accepted(0).set("Expires", huge));
    assert_eq!(rig.status(ours.subscribe.notify(1, &format!("active;expires={huge}"))), 200);
    assert_eq!(rig.left(&ours), u64::from(u32::MAX));
    assert_eq!(rig.status(ours.subscribe.notify(2, &format!("terminated;retry-after={huge}"))), 200);
    let Some(Event::Terminated { why: Ending::ByNotifier { retry_after, .. }, .. }) = rig.ended() else { panic!() };
    assert_eq!(retry_after, Some(u32::MAX));
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(0).set("Expires", huge));
    let incoming = rig.incoming();
    assert_eq!(rig.endpoint.incoming(incoming).unwrap().expires, 86_400);
}

fn the_latest_word_sets_the_deadline() {
    // A NOTIFY, then the 2xx of the same SUBSCRIBE: never beyond the NOTIFY's.
    for (notify, ok, left) in [("active;expires=60", 600, 60), ("active;expires=600", 60, 60), ("active", 300, 300)] {
        let (mut rig, ours) = established();
        let refresh = rig.refresh(&ours);
        assert_eq!(rig.status(ours.subscribe.notify(2, notify)), 200);
        rig.quiet(refresh.accepted(ok));
        assert_eq!(rig.left(&ours), left, "{notify} {ok}");
    }
    // The other way about, the NOTIFY has the last word.
    for (ok, notify, left) in [(60, "active;expires=500", 500), (600, "active;expires=60", 60), (300, "active", 300)] {
        let (mut rig, ours) = established();
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.accepted(ok));
        assert_eq!(rig.status(ours.subscribe.notify(2, notify)), 200);
        assert_eq!(rig.left(&ours), left, "{ok} {notify}");
    }
}

fn an_equal_cseq_is_out_of_order() {
    let (mut rig, ours) = established();
    assert_eq!(rig.status(ours.subscribe.notify(1, "active").branch("again")), 500);
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    assert_eq!(rig.status(theirs.ok.refresh(1, 300).branch("equal")), 500);
}

fn one_subscribe_is_in_flight() {
    let (mut rig, ours) = established();
    let first = rig.refresh(&ours);
    rig.endpoint.refresh(rig.now, ours.id, None).unwrap();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    assert!(rig.drain().is_empty());
    let sent = rig.feed(first.accepted(600));
    assert_eq!((sent.len(), sent[0].get("Expires").as_str()), (1, "0"));
}

fn an_early_unsubscribe_is_remembered() {
    let mut rig = Rig::new();
    let request = Subscribe::new(PEER_URI, "message-summary").unwrap().expires(600);
    let ours = rig.start(request);
    rig.quiet(ours.subscribe.accepted(600));
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::AllForks).unwrap();
    for tag in ["a", "b"] {
        let sent = rig.feed(ours.subscribe.notify_from(tag, 1, "active;expires=600"));
        assert_eq!((sent[0].status(), sent.len()), (200, 2));
        assert_eq!((sent[1].get("Expires").as_str(), sent[1].tag("To").as_deref()), ("0", Some(tag)));
    }
    rig.run(secs(32));
    assert_eq!(rig.status(ours.subscribe.notify_from("c", 1, "active;expires=600")), 481);
}

fn when_a_refresh_is_sent() {
    for interval in [60, 64, 100, 600, 3600, 86_400] {
        let mut rig = Rig::new();
        let request = Rig::request().expires(interval);
        let ours = rig.ours_in(request, &format!("active;expires={interval}"));
        let before = rig.now;
        let _ = rig.next(secs(u64::from(interval)));
        let (at, whole) = ((rig.now - before).as_secs(), u64::from(interval));
        // 64*T1 before the end where half of the interval is left by that.
        let latest = if whole >= 64 { whole - 32 } else { whole / 2 };
        assert!(at <= latest && at >= latest * 80 / 95, "{at} of {interval}");
        assert!(rig.lives(&ours));
    }
}

fn the_rfcs_example_is_a_slip() {
    // The header that the example has is no Subscription-State ...
    let (mut rig, ours) = established();
    let notify = ours.subscribe.notify(2, "active").without("Subscription-State");
    assert_eq!(rig.status(notify.add("Subscription-Status", "terminated;reason=expired")), 400);
    assert!(rig.lives(&ours));
    // ... and what it means is what is sent.
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(0), Decision::ACCEPT);
    assert_eq!(theirs.notify.get("Subscription-State"), "terminated;reason=timeout");
}
