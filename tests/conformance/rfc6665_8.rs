//! RFC 6665 sections 7 and 8: names, header fields, response codes, syntax.

use sip_events::{Event, Packages, ResourceKey, Subscribe, SubscriptionState};

use crate::harness::*;

/// Covers: 6665-8.1-1
#[test]
fn method_names_are_case_sensitive() {
    let mut rig = Rig::notifier();
    for (method, code) in [("Subscribe", 501), ("subscribe", 501), ("Notify", 501)] {
        let request = Text { start: format!("{method} {BOB} SIP/2.0"), ..subscribe(600) }.cseq(1);
        assert_eq!(rig.status(request), code, "{method}");
    }
    assert!(rig.take().is_empty());
}

/// Covers: 6665-8.2.1-1
#[test]
fn event_is_compared_byte_by_byte_with_its_id() {
    for (ours, theirs, code) in [
        ("presence", "presence", 200),
        ("presence;id=1", "presence;id=1", 200),
        ("presence;id=1", "presence;x=y;ID=1", 200),
        ("presence", "presence;x=y", 200),
        ("presence", "presence ; x = \"a;id=2\"", 200),
        ("presence;id=a", "presence;id=A", 481),
        ("presence;id=1", "presence;id=01", 481),
        ("presence;id=1", "presence", 481),
        ("presence", "presence;id=1", 481),
        ("presence", "Presence", 489),
        ("presence", "presence.winfo", 489),
        ("presence", "message-summary", 481),
    ] {
        let mut rig = Rig::new();
        let request = Subscribe::new(PEER_URI, ours).unwrap().expires(600);
        let subscription = rig.start(request);
        let notify = subscription.subscribe.notify(1, "active;expires=600").set("Event", theirs);
        assert_eq!(rig.status(notify), code, "{ours} and {theirs}");
        // A refresh at the notifier likewise.
        let mut rig = Rig::notifier();
        let watcher = rig.theirs_by(subscribe(600).set("Event", ours));
        let answer = rig.feed(watcher.ok.refresh(2, 600).set("Event", theirs)).remove(0).status();
        let expected = if code == 481 { 403 } else { code };
        assert_eq!(answer, expected, "{ours} and {theirs}");
    }
}

/// Covers: 6665-8.2.1-1
#[test]
fn packages_that_differ_in_case_are_different() {
    let mut packages = Packages::standard();
    packages.register_opaque("x-door").unwrap();
    packages.register_opaque("X-Door").unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-door").unwrap()).unwrap();
    let ours = rig.start(Subscribe::new(PEER_URI, "x-door").unwrap());
    let notify = |event: &str| ours.subscribe.notify(1, "active;expires=600").branch(event).set("Event", event);
    assert_eq!(rig.status(notify("X-Door")), 481);
    assert_eq!(rig.status(notify("x-door")), 200);
    let theirs = rig.theirs_by(subscribe(600).set("Event", "x-door"));
    assert_eq!(rig.status(theirs.ok.refresh(2, 600).set("Event", "X-Door")), 403);
    assert_eq!(rig.status(subscribe(600).set("Event", "X-Door").set("Call-ID", "c2").branch("c2")), 404);
}

/// Covers: 6665-8.2.1-2, 6665-8.2.1-5
#[test]
fn event_in_a_response_is_nothing() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(300).add("Event", "dialog;id=9"));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 300);
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), sip_events::Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("200 OK").add("Event", "dialog"));
    rig.idle(secs(100));
    assert!(rig.watches(&theirs));
    // Every answer that is sent has none: `Rig::check` looks at each.
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert!(!sent[0].has("Event"));
}

/// Covers: 6665-8.2.1-4, 6665-8.4-1
#[test]
fn an_event_that_names_no_type_is_malformed() {
    for (event, code) in [
        ("presence ; id=1 ; x=\"a;b\"", 0),
        ("presence;x", 0),
        ("", 400),
        ("presence x", 400),
        (".presence", 400),
        ("presence.", 400),
        ("presence..winfo", 400),
        ("presence/x", 400),
        ("presence, dialog", 400),
        ("presence;id", 400),
        ("presence;id=1;id=2", 400),
    ] {
        let mut rig = Rig::notifier();
        let sent = rig.feed(subscribe(600).set("Event", event));
        assert_eq!(sent.first().map_or(0, Out::status), code, "{event:?}");
    }
}

/// Covers: 6665-8.4-1, 6665-8.4-3, 6665-8.4-4
#[test]
fn every_layout_of_the_header_fields_is_read() {
    for event in ["Event : presence", "o: presence", "O:presence", "EVENT:\t presence", "Event:\r\n  presence"] {
        let mut rig = Rig::notifier();
        let text = String::from_utf8(subscribe(600).bytes()).unwrap().replace("Event: presence", event);
        assert!(rig.feed(text.into_bytes()).is_empty(), "{event:?}");
        let incoming = rig.incoming();
        assert_eq!(rig.endpoint.incoming(incoming).unwrap().package, "presence");
    }
    for state in [
        "active ; expires = 60",
        "ACTIVE;EXPIRES=60",
        "active;x;expires=60;y=\"a,b;c\"",
        "active\r\n ;expires\r\n =\r\n 60",
    ] {
        let mut rig = Rig::new();
        let ours = rig.ours();
        assert_eq!(rig.status(ours.subscribe.notify(2, state)), 200, "{state:?}");
        assert_eq!(rig.left(&ours), 60, "{state:?}");
        assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Active, .. })));
    }
    for broken in ["active;expires=1;expires=2", "", "act ive", "active, pending"] {
        let mut rig = Rig::new();
        let ours = rig.ours();
        assert_eq!(rig.status(ours.subscribe.notify(2, broken)), 400, "{broken:?}");
    }
}

/// Covers: 6665-8.2.3-1
#[test]
fn subscription_state_elsewhere_is_nothing() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.accepted(300).add("Subscription-State", "terminated;reason=rejected"));
    assert_eq!(rig.left(&ours), 300);
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).add("Subscription-State", "terminated"));
    assert!(rig.watches(&theirs));
}

/// Covers: 6665-8.3.1-1
#[test]
fn a_202_leaves_the_same_trace_as_a_200() {
    let traces = ["200 OK", "202 Accepted"].map(|line| {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        let mut trace = Vec::new();
        let feed = |rig: &mut Rig, trace: &mut Vec<Vec<u8>>, text: Text| {
            trace.extend(rig.feed(text).into_iter().map(|out| out.bytes));
        };
        feed(&mut rig, &mut trace, ours.subscribe.accepted(600).line(format!("SIP/2.0 {line}")));
        feed(&mut rig, &mut trace, ours.subscribe.notify(1, "active;expires=600"));
        let refresh = rig.next(secs(600));
        feed(&mut rig, &mut trace, refresh.accepted(500).line(format!("SIP/2.0 {line}")));
        feed(&mut rig, &mut trace, ours.subscribe.notify(2, "active;expires=500"));
        trace.extend(rig.run(secs(600)).into_iter().map(|(_, out)| out.bytes));
        trace
    });
    assert_eq!(traces[0], traces[1]);
}

/// Covers: 6665-8.3.1-2, 4320-4.2-1
#[test]
fn no_202_and_no_408_is_ever_sent() {
    // `Rig::check` looks at every message of every test; here are many answers.
    let mut codes = std::collections::BTreeSet::new();
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap() % n
    };
    let mut rig = Rig::notifier();
    let ours = rig.ours();
    let theirs = rig.theirs();
    let events = ["presence", "unknown", "presence, x", "message-summary", "presence;id=1", ""];
    let expires = ["0", "30", "600", "99999999999", "x"];
    let mut cseq = 1;
    for n in 0..400u32 {
        cseq += u32::try_from(random(2)).unwrap();
        let mut text = match random(3) {
            0 => subscribe(600).set("Call-ID", format!("r{n}")),
            1 => theirs.ok.refresh(cseq, 600),
            _ => ours.subscribe.notify(cseq, ["active", "pending", "weird", ""][random(4)]),
        };
        text = text.branch(&format!("r{n}")).set("Event", events[random(events.len())]);
        if random(2) == 0 && text.start.starts_with("SUBSCRIBE") {
            text = text.set("Expires", expires[random(expires.len())]);
        }
        if random(8) == 0 {
            text = text.add("Require", "x");
        }
        let sent = rig.feed(text);
        codes.extend(sent.iter().filter(|out| out.is_response()).map(Out::status));
        let waiting: Vec<_> = rig.take();
        for event in waiting {
            if let Event::Subscribe(incoming) = event
                && random(2) == 0
            {
                let _ = rig.endpoint.accept(rig.now, incoming, sip_events::Decision::ACCEPT);
            }
        }
        codes.extend(rig.drain().iter().filter(|out| out.is_response()).map(Out::status));
        let sent = rig.run(secs(1));
        codes.extend(sent.iter().filter(|(_, out)| out.is_response()).map(|(_, out)| out.status()));
    }
    assert!(codes.is_superset(&[200, 400, 403, 420, 423, 481, 489].into()), "{codes:?}");
    assert!(!codes.contains(&202) && !codes.contains(&408), "{codes:?}");
}

/// Covers: 6665-6.6-2
#[test]
fn a_body_that_cannot_be_read_passes_through_where_it_was_asked_for() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().accept("application/pkcs7-mime").unwrap(), "active;expires=600");
    let secret: Vec<u8> = (0..=255).collect();
    let notify =
        ours.subscribe.notify(2, "active").body("application/pkcs7-mime;smime-type=enveloped-data", secret.clone());
    assert_eq!(rig.status(notify), 200);
    let told = rig.take();
    let Some(Event::Notify { body: Some(body), .. }) = told.first() else { panic!("{told:?}") };
    assert_eq!(body.data, secret);
}
