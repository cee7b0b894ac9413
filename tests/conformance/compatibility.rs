//! Peers of RFC 3265 and older (the table of backwards compatibility).

use sip_events::{Decision, Event, MissingState, Policy, SubscriptionState};

use crate::harness::*;

/// Covers: 6665-BC-1, 6665-BC-2, 6665-BC-3, 6665-BC-4, 6665-BC-5, 6665-BC-6, 6665-BC-7, 6665-BC-8, 6665-BC-9,
/// 6665-BC-11, 6665-BC-12, 6665-BC-13, 6665-BC-14, 6665-BC-15, 6665-BC-16
#[test]
fn every_situation() {
    walk(
        "6665-BC",
        16,
        &[
            (1, a_202_is_a_200),
            (2, a_2xx_without_expires),
            (3, a_notify_without_expires),
            (4, a_notify_without_a_state),
            (5, two_subscriptions_in_one_dialog),
            (6, expires_in_a_notify_is_nothing),
            (7, events_in_another_case),
            (8, unknown_event_parameters),
            (9, a_notify_without_contact),
            (10, no_subscription_by_refer),
            (11, no_event_at_all),
            (12, other_provisional_responses),
            (13, peers_of_rfc_2543),
            (14, a_refused_notify_may_be_the_last),
            (15, the_2xx_has_routes_and_the_notify_none),
            (16, accept_is_always_sent),
        ],
    );
}

fn a_202_is_a_200() {
    let traces = ["200 OK", "202 Accepted"].map(|line| {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.answer(line).add("Expires", "300"));
        assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
        (rig.left(&ours), rig.next(secs(300)).bytes, rig.now)
    });
    assert_eq!(traces[0], traces[1]);
    // And to a NOTIFY.
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("202 Accepted"));
    rig.idle(secs(100));
    assert!(rig.watches(&theirs));
}

fn a_2xx_without_expires() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.answer("200 OK"));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 600);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=120")), 200);
    assert_eq!(rig.left(&ours), 120);
    // Not even a 2xx.
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 600);
}

fn a_notify_without_expires() {
    for state in ["active", "pending", "active;expires=abc", "active;expires=-1"] {
        let mut rig = Rig::new();
        let ours = rig.ours();
        rig.idle(secs(10));
        assert_eq!(rig.status(ours.subscribe.notify(2, state)), 200, "{state}");
        assert_eq!(rig.left(&ours), 590, "{state}");
    }
}

fn a_notify_without_a_state() {
    let mut lenient = Policy::default();
    lenient.missing_state = MissingState::Active;
    for (policy, code) in [(Policy::default(), 400), (Policy::rfc3265(), 400), (lenient, 200)] {
        let mut rig = Rig::with(Rig::config().with_policy(policy));
        let ours = rig.ours();
        rig.idle(secs(10));
        let bare = ours.subscribe.notify(2, "active").without("Subscription-State").body(PIDF, "<2/>");
        assert_eq!(rig.status(bare), code);
        assert_eq!(rig.left(&ours), 590);
        let told = rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Active, .. }));
        assert_eq!(told, code == 200);
        // One that cannot be read is no better for it.
        let broken = ours.subscribe.notify(3, "active;expires=1;expires=2");
        assert_eq!(rig.status(broken), 400);
    }
}

fn two_subscriptions_in_one_dialog() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    assert_eq!(rig.status(theirs.ok.refresh(2, 600).set("Event", "message-summary")), 403);
    assert!(rig.watches(&theirs));
}

fn expires_in_a_notify_is_nothing() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=500").add("Expires", "5")), 200);
    assert_eq!(rig.left(&ours), 500);
    assert_eq!(rig.status(ours.subscribe.notify(3, "active").add("Expires", "0")), 200);
    assert_eq!(rig.left(&ours), 500);
}

fn events_in_another_case() {
    let mut rig = Rig::notifier();
    assert_eq!(rig.status(subscribe(600).set("Event", "Presence")), 489);
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").set("Event", "Presence")), 489);
    assert!(rig.lives(&ours));
}

fn unknown_event_parameters() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").set("Event", "presence;sla;x=1")), 200);
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).set("Event", "presence;x=1"));
    assert_eq!(rig.feed(theirs.ok.refresh(2, 600).set("Event", "presence;y=2"))[0].status(), 200);
}

fn a_notify_without_contact() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active").without("Contact")), 400);
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").branch("n")), 200);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").without("Contact")), 200);
    assert_eq!(rig.refresh(&ours).uri(), PEER_URI);
}

/// No package makes implicit subscriptions yet.
fn no_subscription_by_refer() {
    let mut rig = Rig::notifier();
    let refer = Text { start: format!("REFER {BOB} SIP/2.0"), ..subscribe(600).without("Event") };
    let refused = rig.one(refer.cseq(1).add("Refer-To", "<sip:x@example.com>"));
    assert_eq!(refused.status(), 405);
    assert_eq!(rig.endpoint.watchers().count(), 0);
}

fn no_event_at_all() {
    let mut rig = Rig::notifier();
    assert_eq!(rig.status(subscribe(600).without("Event")), 489);
}

fn other_provisional_responses() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    for status in ["180 Ringing", "183 Progress", "199 Whatever"] {
        rig.quiet(ours.subscribe.answer(status));
    }
    rig.quiet(ours.subscribe.accepted(600));
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("182 Queued"));
    rig.quiet(theirs.notify.answer("200 OK"));
    rig.idle(secs(100));
    assert!(rig.watches(&theirs));
}

fn peers_of_rfc_2543() {
    let mut rig = Rig::notifier();
    let old = subscribe(600).set("From", "<sip:peer@example.com>").set("Via", format!("SIP/2.0/UDP {PEER};branch=1"));
    let theirs = rig.decide(&old, Decision::ACCEPT);
    assert_eq!(theirs.notify.get("To"), "<sip:peer@example.com>");
    // A repetition is known although no cookie tells.
    let again = rig.one(&old);
    assert_eq!(again, theirs.ok);
    let refresh = theirs.ok.refresh(2, 300).set("Via", format!("SIP/2.0/UDP {PEER};branch=1"));
    let sent = rig.feed(refresh);
    assert_eq!((sent[0].status(), sent[1].get("To").as_str()), (200, "<sip:peer@example.com>"));
    // As subscriber, against a notifier without a tag.
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let bare = format!("<{PEER_URI}>");
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").set("From", bare.clone())), 200);
    let refresh = rig.refresh(&ours);
    assert_eq!(refresh.get("To"), bare);
    rig.quiet(refresh.answer("200 OK").set("To", bare.clone()).add("Expires", "600"));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600").set("From", bare)), 200);
}

fn a_refused_notify_may_be_the_last() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(9, "active")), 200);
    // A 500 asks the peer to wait instead of giving up ...
    let refused = rig.one(ours.subscribe.notify(8, "active"));
    assert_eq!((refused.status(), refused.has("Retry-After")), (500, true));
    // ... and where it gave up after another code, its 481 leads to a new subscription.
    assert_eq!(rig.status(ours.subscribe.notify(10, "active").body("text/html", "x")), 415);
    let refresh = rig.refresh(&ours);
    rig.feed(refresh.answer("481 Gone"));
    assert!(rig.next(secs(60)).tag("To").is_none());
    assert!(rig.take().iter().any(|e| matches!(e, Event::Retrying { .. })));
}

fn the_2xx_has_routes_and_the_notify_none() {
    const ROUTES: [&str; 2] = ["<sip:203.0.113.1;lr>", "<sip:203.0.113.2;lr>;x=1"];
    let own = |policy: Policy| Rig::with(Rig::config().with_policy(policy));
    let refreshed = |rig: &mut Rig, ours: &Ours| {
        let refresh = rig.refresh(ours);
        (refresh.all("Route").concat(), refresh.flow.remote)
    };
    let there = ("<sip:203.0.113.2;lr>;x=1, <sip:203.0.113.1;lr>".to_owned(), addr("203.0.113.2:5060"));
    let nowhere = (String::new(), addr(PEER));
    for (policy, expected) in [(Policy::default(), &nowhere), (Policy::rfc3265(), &there)] {
        // The 2xx first, or the NOTIFY first.
        for notify_first in [false, true] {
            let mut rig = own(policy);
            let ours = rig.start(Rig::request());
            let ok = ours.subscribe.accepted(600).add("Record-Route", ROUTES.join(", "));
            if notify_first {
                assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
                rig.quiet(ok);
            } else {
                rig.quiet(ok);
                assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
            }
            assert_eq!(refreshed(&mut rig, &ours), *expected, "{policy:?}");
        }
    }
    // The NOTIFY's routes are never replaced, nor are those of another fork taken.
    for own_route in [true, false] {
        let mut rig = own(Policy::rfc3265());
        let ours = rig.start(Rig::request());
        let tag = if own_route { "theirs" } else { "other" };
        rig.quiet(ours.subscribe.answer_as("200 OK", tag).add("Expires", "600").add("Record-Route", ROUTES[0]));
        let notify = ours.subscribe.notify(1, "active;expires=600");
        let notify = if own_route { notify.add("Record-Route", "<sip:203.0.113.9;lr>") } else { notify };
        assert_eq!(rig.status(notify), 200);
        let expected = if own_route { "<sip:203.0.113.9;lr>" } else { "" };
        assert_eq!(refreshed(&mut rig, &ours).0, expected);
    }
    // What waits for its NOTIFY outlives the program.
    let mut rig = own(Policy::rfc3265());
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600).add("Record-Route", ROUTES.join(", ")));
    rig.restart();
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
    assert_eq!(refreshed(&mut rig, &ours), there);
    // Nor once a request went out in the dialog.
    let mut rig = own(Policy::rfc3265());
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.accepted(600).add("Record-Route", ROUTES[0]));
    assert_eq!(refreshed(&mut rig, &ours), nowhere);
}

fn accept_is_always_sent() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(ours.subscribe.get("Accept"), PIDF);
    assert_eq!(rig.refresh(&ours).get("Accept"), PIDF);
}
