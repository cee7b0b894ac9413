//! RFC 6665 sections 4.1.1 and 4.1.2: creating and keeping a subscription.

use sip_events::{Ending, Event, Failure, Retry, Scope, Subscribe, TimerKind};

use crate::harness::*;

/// The codes that end a subscription, in whichever direction they travel.
pub const FATAL: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];

/// Subscribes for 600 s and does nothing by itself afterwards.
fn passive() -> Subscribe {
    Rig::request().auto_refresh(false).auto_resubscribe(false)
}

/// Covers: 6665-4.1.2.1-1, 6665-3.1.1-1, 6665-4.1.1-1, 6665-3.1.2-2, 6665-3.1.3-1, 6665-BC-16
#[test]
fn the_first_subscribe_stands_outside_any_dialog() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let subscribe = &ours.subscribe;
    assert_eq!(subscribe.start(), format!("SUBSCRIBE {PEER_URI} SIP/2.0"));
    assert_eq!(subscribe.tag("To"), None);
    assert!(subscribe.tag("From").is_some());
    assert_eq!(subscribe.get("Expires"), "600");
    assert_eq!(subscribe.get("Event"), "presence");
    assert_eq!(subscribe.get("Accept"), PIDF);
    for name in ["Route", "Supported", "Require", "Proxy-Require"] {
        assert!(!subscribe.has(name), "{name}");
    }
}

/// Covers: 6665-4.1.2.4-2, 6665-4.1.2.1-2, 6665-4.1.2.4-4, 6665-RACE-14
#[test]
fn without_a_notify_the_attempt_ends_at_timer_n() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.run(secs(1));
    rig.quiet(ours.subscribe.accepted(600));
    assert!(rig.lives(&ours));
    // 64*T1 after the SUBSCRIBE, whenever the 200 came.
    rig.idle(secs(31) - std::time::Duration::from_nanos(1));
    assert!(rig.lives(&ours) && rig.ended().is_none());
    rig.idle(std::time::Duration::from_nanos(1));
    assert_eq!(
        rig.ended(),
        Some(Event::Terminated { subscription: ours.id, why: Ending::NoNotify, retry: Retry::Allowed })
    );
    // Everything of the attempt is forgotten.
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 481);
    assert_eq!(rig.endpoint.subscriptions().count(), 0);
    rig.run(secs(60));
    assert_eq!(rig.endpoint.poll_timeout(), None);
}

/// Covers: 6665-4.1.2.2-5, 6665-SSM-21, 6665-4.1.2.2-1, 6665-3.1.1-2, PEER-H08
#[test]
fn timer_n_runs_for_every_refresh() {
    let short = std::time::Duration::from_nanos(1);
    for automatic in [false, true] {
        let mut rig = Rig::new();
        let request = Rig::request().auto_refresh(automatic).auto_resubscribe(false);
        let ours = rig.ours_in(request, "active;expires=600");
        let refresh = if automatic { rig.next(secs(568)) } else { rig.refresh(&ours) };
        assert_eq!(refresh.get("Call-ID"), ours.subscribe.get("Call-ID"));
        assert_eq!(refresh.tag("From"), ours.subscribe.tag("From"));
        assert_eq!(refresh.tag("To").as_deref(), Some("theirs"));
        assert_eq!(refresh.cseq(), ours.subscribe.cseq() + 1);
        assert_ne!(refresh.branch(), ours.subscribe.branch());
        rig.quiet(refresh.accepted(600));
        rig.idle(secs(32) - short);
        assert!(rig.lives(&ours), "automatic {automatic}");
        rig.idle(short);
        let Some(Event::Terminated { why: Ending::NoNotify, .. }) = rig.ended() else { panic!("{automatic}") };
        assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 481);
    }
}

/// Covers: 6665-4.1.2.2-5, 6665-SSM-18
#[test]
fn a_notify_within_timer_n_keeps_a_refreshed_subscription() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.accepted(600));
    rig.idle(secs(31));
    assert_eq!(rig.endpoint.explain(ours.id).unwrap().waits_for.unwrap().0, TimerKind::AwaitNotify);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=569")), 200);
    rig.idle(secs(500));
    assert!(rig.lives(&ours));
}

/// Covers: 6665-4.1.2.2-6, 6665-SSM-17, 6665-RSP-2
#[test]
fn a_204_says_that_no_notify_comes() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("204 No Notification").add("Expires", "500"));
    rig.idle(secs(499));
    assert!(rig.lives(&ours));
    rig.idle(secs(1));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Expired, .. })));
}

/// Covers: 6665-4.1.2.2-2, 6665-4.1.2.2-4, 6665-SSM-19, 6665-SSM-20
#[test]
fn exactly_the_fatal_codes_end_a_subscription() {
    for code in 300..=699 {
        let mut rig = Rig::new();
        let ours = rig.ours_in(passive(), "active;expires=600");
        let refresh = rig.refresh(&ours);
        rig.feed(refresh.answer(&format!("{code} Whatever")));
        assert_eq!(rig.lives(&ours), !FATAL.contains(&code), "{code}");
        match rig.ended() {
            Some(Event::Terminated { why: Ending::Refused { status, .. }, .. }) => {
                assert_eq!(status.as_u16(), code);
                assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 481, "{code}");
                rig.run(secs(60));
                assert_eq!(rig.endpoint.poll_timeout(), None, "{code}: a timer is left");
            }
            None => {
                // Alive to the old deadline, and it takes NOTIFYs.
                assert!(rig.events.iter().any(|e| matches!(e, Event::RefreshFailed { .. })), "{code}");
                assert_eq!(rig.left(&ours), 600, "{code}");
                assert_eq!(rig.status(ours.subscribe.notify(2, "active")), 200, "{code}");
                rig.run(secs(599));
                assert!(rig.lives(&ours), "{code}");
                rig.run(secs(1));
                assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Expired, .. })), "{code}");
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}

/// Covers: 6665-4.1.2.2-3, 6665-4.4.2-2, 6665-SSM-25
#[test]
fn a_new_subscription_after_the_end_is_unrelated_to_the_old_one() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request().auto_refresh(false));
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, "active;expires=600").add("Record-Route", "<sip:198.51.100.7:5080;lr>");
    assert_eq!(rig.status(notify), 200);
    let refresh = rig.refresh(&ours);
    assert!(refresh.has("Route"));
    rig.quiet(refresh.answer("481 Gone"));
    assert!(rig.retrying().is_some());
    let sent = rig.run(secs(60));
    let again = &sent[0].1;
    assert_eq!(again.uri(), PEER_URI);
    assert_eq!(again.tag("To"), None);
    assert!(!again.has("Route"));
    assert_ne!(again.get("Call-ID"), ours.subscribe.get("Call-ID"));
    assert_ne!(again.tag("From"), ours.subscribe.tag("From"));
}

/// Covers: 6665-4.1.2.3-1, 6665-4.1.2.3-2, 6665-4.4.1-7, 6665-RACE-8, 6665-SSM-22
#[test]
fn to_unsubscribe_is_to_refresh_for_no_time() {
    for body in ["", "<last/>"] {
        let mut rig = Rig::new();
        let ours = rig.ours();
        rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
        let unsubscribe = rig.drain().remove(0);
        assert_eq!(unsubscribe.get("Expires"), "0");
        assert_eq!(unsubscribe.get("Call-ID"), ours.subscribe.get("Call-ID"));
        // It lives on: what crosses it is taken and told.
        assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=300").body(PIDF, "<late/>")), 200);
        rig.quiet(unsubscribe.accepted(0));
        assert!(rig.ended().is_none() && rig.lives(&ours));
        assert_eq!(rig.notified(), ["<late/>"]);
        let mut last = ours.subscribe.notify(3, "terminated;reason=timeout");
        if !body.is_empty() {
            last = last.body(PIDF, body);
        }
        assert_eq!(rig.status(last), 200);
        assert_eq!(rig.notified(), [body]);
        assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Unsubscribed, .. })));
        rig.run(secs(4000));
        assert!(rig.ended().is_none());
    }
}

/// Covers: 6665-4.1.2-2, 6665-4.1.2.4-1, 6665-4.1.2.4-3, 6665-4.1.2.4-4, 6665-4.1.4-1, 6665-4.1.4-2,
/// 6665-5.4.9-3, 6665-SSM-27
#[test]
fn every_fork_is_a_subscription_of_its_own_until_timer_n() {
    let mut rig = Rig::new();
    let request = Subscribe::new(PEER_URI, "message-summary").unwrap().expires(600).auto_refresh(false);
    let ours = rig.start(request.auto_resubscribe(false));
    rig.quiet(ours.subscribe.answer_as("200 OK", "a").add("Expires", "600"));
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 1, "active;expires=100")), 200);
    assert_eq!(rig.status(ours.subscribe.notify_from("a", 7, "pending;expires=600")), 200);
    rig.idle(secs(31));
    assert_eq!(rig.status(ours.subscribe.notify_from("c", 1, "active;expires=300")), 200);
    let children = |rig: &Rig| {
        rig.events.iter().filter(|e| matches!(e, Event::Forked { parent, .. } if *parent == ours.id)).count()
    };
    assert_eq!((children(&rig), rig.endpoint.subscriptions().count()), (2, 3));
    rig.idle(secs(2));
    assert_eq!(rig.status(ours.subscribe.notify_from("d", 1, "active;expires=300")), 481);
    for (tag, cseq) in [("a", 8), ("b", 2), ("c", 2)] {
        assert_eq!(rig.status(ours.subscribe.notify_from(tag, cseq, "active")), 200, "{tag}");
    }
    // One runs out, the others live; each is refreshed in its own dialog.
    rig.idle(secs(70));
    assert_eq!(rig.endpoint.subscriptions().count(), 2);
    let ids: Vec<_> = rig.endpoint.subscriptions().collect();
    let mut tags = Vec::new();
    for id in ids {
        rig.endpoint.refresh(rig.now, id, None).unwrap();
        tags.push(rig.drain().remove(0).tag("To").unwrap());
    }
    tags.sort();
    assert_eq!(tags, ["a", "c"]);
}

/// Covers: 6665-4.1.2.4-5
#[test]
fn until_the_first_notify_there_is_no_state() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.endpoint.subscription(ours.id).unwrap().document, None);
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").body(PIDF, "<open/>")), 200);
    let document = rig.endpoint.subscription(ours.id).unwrap().document.unwrap();
    assert_eq!(&document.data[..], b"<open/>");
}

/// Covers: 6665-4.1.2.4-7, 6665-4.1.2.4-8, 6665-RACE-1, INT-2
#[test]
fn a_notify_may_come_before_the_answer_or_without_one() {
    for answered in [true, false] {
        let mut rig = Rig::new();
        let ours = rig.start(passive());
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=500").body(PIDF, "<open/>")), 200);
        assert_eq!(rig.notified(), ["<open/>"]);
        if answered {
            rig.quiet(ours.subscribe.accepted(600));
        }
        // Without the answer, the SUBSCRIBE is repeated until Timer F.
        rig.run(secs(33));
        assert!(rig.ended().is_none(), "answered {answered}");
        assert_eq!(rig.endpoint.subscriptions().count(), 1);
        assert_eq!(rig.left(&ours), 467);
        assert_eq!(rig.status(ours.subscribe.notify(2, "active")), 200);
    }
}

/// Covers: 6665-4.1.2.1-3, 6665-3.1.1-8
#[test]
fn the_answer_says_how_long_it_lasts() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(120));
    assert!(rig.take().contains(&Event::Accepted {
        subscription: ours.id,
        status: sip_events::wire::StatusCode::OK,
        expires: 120
    }));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 120);
    rig.idle(secs(119));
    assert!(rig.lives(&ours));
    rig.idle(secs(1));
    assert!(!rig.lives(&ours));
}

/// Covers: 6665-4.1.2.1-4, 6665-4.1.2.1-5, 6665-SSM-8
#[test]
fn any_refusal_ends_the_attempt() {
    for code in 300..=699 {
        let mut rig = Rig::new();
        let ours = rig.start(passive());
        rig.quiet(ours.subscribe.answer(&format!("{code} No")));
        let Some(Event::Terminated { why, .. }) = rig.ended() else { panic!("{code}") };
        match why {
            Ending::Refused { status, .. } => assert_eq!(status.as_u16(), code),
            Ending::NoAnswer(Failure::Timeout) => assert_eq!(code, 408),
            other => panic!("{code}: {other:?}"),
        }
        // No NOTIFY follows: one that comes all the same finds nothing.
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 481, "{code}");
        rig.run(secs(60));
        assert_eq!(rig.endpoint.poll_timeout(), None, "{code}: a timer is left");
    }
}

/// Covers: 6665-4.1.2.1-5, 6665-RSP-7, 6665-SSM-7
#[test]
fn too_brief_an_interval_is_lengthened_once() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    let longer = rig.one(ours.subscribe.answer("423 Interval Too Brief").add("Min-Expires", "1800"));
    assert_eq!(longer.get("Expires"), "1800");
    assert_eq!(longer.cseq(), ours.subscribe.cseq() + 1);
    assert_eq!(longer.get("Call-ID"), ours.subscribe.get("Call-ID"));
    assert_eq!(longer.tag("From"), ours.subscribe.tag("From"));
    assert_ne!(longer.branch(), ours.subscribe.branch());
    // A notifier that raises it again is not followed for ever.
    rig.quiet(longer.answer("423 Interval Too Brief").add("Min-Expires", "3000"));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Refused { .. }, .. })));
}
