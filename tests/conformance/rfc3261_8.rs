//! RFC 3261 sections 8, 9 and 11: requests outside a dialog, and their answers.

use std::collections::BTreeSet;

use sip_events::package::{EventPackage, Expires};
use sip_events::wire::Transport;
use sip_events::{Event, Flow, Io, Packages, StreamId, Subscribe, UnknownResource};

use crate::harness::{BOB, LOCAL, Out, PEER_URI, Rig, Text, addr, only, secs, subscribe, tcp, udp};

/// Covers: 3261-8.1.1-1, 3261-8.1.1.1-1, 3261-8.1.1.2-1, 3261-8.1.1.3-1, 3261-8.1.1.4-1, 3261-8.1.1.5-1,
/// 3261-8.1.1.6-1, 3261-8.1.1.7-1, 3261-8.1.1.8-1, 3261-18.1.1-4, 3265-3.1.4.1-1, 3265-3.3.1-1
#[test]
fn a_first_subscribe_has_every_line_of_the_rfc() {
    let mut rig = Rig::new();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let sent = rig.start(Rig::request()).subscribe;
        assert_eq!(sent.start(), format!("SUBSCRIBE {PEER_URI} SIP/2.0"));
        // A port does not stand in To (3261-19.1.1-2).
        assert_eq!(sent.get("To"), "<sip:peer@198.51.100.7>");
        assert!(sent.get("From").starts_with("<sip:me@192.0.2.1>;tag="));
        assert_eq!(sent.get("Contact"), "<sip:me@192.0.2.1:5060>");
        assert_eq!(sent.get("Max-Forwards"), "70");
        assert_eq!(sent.get("Content-Length"), "0");
        assert!(sent.get("CSeq").ends_with(" SUBSCRIBE") && sent.cseq() < 1 << 31);
        let via = sent.get("Via");
        assert!(via.starts_with(&format!("SIP/2.0/UDP {LOCAL};branch=z9hG4bK")), "{via}");
        for name in ["Require", "Proxy-Require", "Route", "Record-Route"] {
            assert!(!sent.has(name), "{name}");
        }
        for unique in [sent.get("Call-ID"), sent.tag("From").unwrap(), sent.branch()] {
            assert!(unique.len() >= 16, "{unique}");
            assert!(seen.insert(unique));
        }
    }
}

/// Covers: 3261-8.1.1.1-2, 3261-8.1.2-1
#[test]
fn a_pre_loaded_route_set_is_followed() {
    let first = |routes: &[&str]| {
        let mut request = Subscribe::new("sip:bob@203.0.113.9;x=y", "presence").unwrap();
        for route in routes {
            request = request.route(route).unwrap();
        }
        Rig::new().start(request).subscribe
    };
    let loose = first(&["sip:198.51.100.1;lr", "sip:198.51.100.2;lr"]);
    assert_eq!(loose.uri(), "sip:bob@203.0.113.9;x=y");
    assert_eq!(loose.all("Route"), ["<sip:198.51.100.1;lr>", "<sip:198.51.100.2;lr>"]);
    assert_eq!(loose.flow.remote.to_string(), "198.51.100.1:5060");
    let strict = first(&["sip:198.51.100.1:5070", "sip:198.51.100.2;lr"]);
    assert_eq!(strict.uri(), "sip:198.51.100.1:5070");
    assert_eq!(strict.all("Route"), ["<sip:198.51.100.2;lr>", "<sip:bob@203.0.113.9;x=y>"]);
    assert_eq!(strict.flow.remote.to_string(), "198.51.100.1:5070");
}

/// Covers: 3261-8.1.2-1, 3261-19.1.1-3, 3261-8.1.1.8-2
#[test]
fn a_sips_uri_is_reached_over_tls_alone() {
    let first = |uri: &str, route: &str, tls: bool| {
        let mut rig = Rig::new();
        if tls {
            rig.endpoint.add_local(Transport::Tls, addr("192.0.2.1:5061"), None, None).unwrap();
        }
        let mut request = Subscribe::new(uri, "presence").unwrap();
        if !route.is_empty() {
            request = request.route(route).unwrap();
        }
        rig.endpoint.subscribe(rig.now, request).unwrap();
        let sent = rig.drain();
        let connect = rig.take().into_iter().find_map(|event| match event {
            Event::Io(Io::Connect { connect, transport, remote, .. }) => Some((connect, transport, remote)),
            _ => None,
        });
        let Some((connect, Transport::Tls, remote)) = connect else { return (sent, None) };
        let flow = Flow::stream(Transport::Tls, addr("192.0.2.1:5061"), remote, StreamId(1));
        rig.endpoint.handle_stream_opened(rig.now, Some(connect), flow).unwrap();
        (rig.drain(), Some(remote.to_string()))
    };
    for (uri, route, remote) in [
        ("sips:a@192.0.2.9", "", "192.0.2.9:5061"),
        ("sips:a@192.0.2.9", "sip:198.51.100.1;lr", "198.51.100.1:5061"),
        ("sips:a@192.0.2.9", "sip:198.51.100.1:5070;lr;transport=tcp", "198.51.100.1:5070"),
        ("sip:a@192.0.2.9", "sips:198.51.100.1;lr", "198.51.100.1:5061"),
    ] {
        let (sent, to) = first(uri, route, true);
        assert_eq!(to.as_deref(), Some(remote), "{uri} {route}");
        assert!(sent[0].get("Via").starts_with("SIP/2.0/TLS 192.0.2.1:5061;"), "{uri} {route}");
        assert!(sent[0].contact().starts_with("sips:me@192.0.2.1:5061"), "{uri} {route}: {}", sent[0].contact());
    }
    // Not at all rather than in the clear.
    for (uri, route) in [
        ("sips:a@192.0.2.9", ""),
        ("sips:a@192.0.2.9", "sip:198.51.100.1;lr"),
        ("sips:a@192.0.2.9;transport=udp", ""),
        ("sips:a@192.0.2.9", "sip:198.51.100.1;lr;transport=udp"),
        ("sip:a@192.0.2.9", "sips:198.51.100.1;lr"),
    ] {
        assert_eq!(first(uri, route, false), (vec![], None), "{uri} {route}");
    }
}

/// A package that needs an extension.
#[derive(Debug)]
struct Listed;

impl EventPackage for Listed {
    fn name(&self) -> &str {
        "listed"
    }
    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 86_400)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }
    fn option_tags(&self) -> &[&str] {
        &["eventlist"]
    }
}

fn listed() -> Rig {
    let mut packages = Packages::standard();
    packages.register(Listed).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.add_bob();
    rig
}

/// Covers: 3261-8.1.1.9-1, PKG-9
#[test]
fn supported_names_what_the_package_uses() {
    let mut rig = listed();
    let sent = rig.start(Subscribe::new(PEER_URI, "listed").unwrap()).subscribe;
    assert_eq!(sent.get("Supported"), "eventlist");
    let plain = rig.start(Rig::request()).subscribe;
    assert!(!plain.has("Supported") && !plain.has("Require"));
}

/// Covers: 3261-8.2.2.3-1, 3261-8.2.4-1
#[test]
fn what_is_required_and_unknown_is_named_and_nothing_else() {
    let mut rig = listed();
    let refused = rig.one(subscribe(600).add("Require", "a, EventList").add("Require", "b"));
    assert_eq!(refused.status(), 420);
    let named = refused.all("Unsupported").join(",");
    assert_eq!(named.split(',').map(str::trim).collect::<Vec<_>>(), ["a", "b"]);
    let theirs = rig.theirs_by(subscribe(600).add("Require", "eventlist").branch("t").set("CSeq", "2 SUBSCRIBE"));
    for out in [&theirs.ok, &theirs.notify] {
        assert!(!out.has("Require") && !out.has("Supported"), "{}", out.text());
    }
}

/// Covers: 3261-8.1.3.5-6, 3261-21.4.17-1, 3261-8.1.1.4-1
#[test]
fn a_repeated_attempt_is_the_same_call_with_the_next_number() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let first = &ours.subscribe;
    let second = rig.one(first.answer("423 Interval Too Brief").add("Min-Expires", "1800"));
    assert_eq!((second.get("Expires"), second.cseq()), ("1800".into(), first.cseq() + 1));
    for same in ["Call-ID", "From", "To", "Event", "Contact"] {
        assert_eq!(second.get(same), first.get(same));
    }
    assert_ne!(second.branch(), first.branch());
    // The first transaction is over: its late copy is absorbed.
    rig.quiet(first.answer("423 Interval Too Brief").add("Min-Expires", "9999"));
    rig.quiet(second.accepted(1800));
    assert_eq!(rig.status(second.notify(1, "active;expires=1800")), 200);
    assert_eq!(rig.left(&ours), 1800);
}

/// Covers: 3261-8.2.2.1-1, 3261-8.2.2.1-2, 3261-8.2.2.1-3, 3265-3.1.6.1-11
#[test]
fn the_request_uri_decides_and_to_does_not() {
    let mut rig = Rig::notifier();
    let at = |uri: &str, n: u32| {
        subscribe(600).line(format!("SUBSCRIBE {uri} SIP/2.0")).branch(&format!("u{n}")).set("Call-ID", format!("u{n}"))
    };
    assert_eq!(rig.status(at("foo:bar", 1)), 416);
    assert_eq!(rig.status(at("http://example.com/", 2)), 416);
    assert_eq!(rig.status(at("sip:nobody@192.0.2.1", 3)), 404);
    for (n, to) in [(4, "<tel:+15551234>"), (5, "\"B\" <sip:somebody@example.com>"), (6, "<urn:x:y>")] {
        let theirs = rig.theirs_by(at(BOB, n).set("To", to));
        assert!(theirs.ok.get("To").starts_with(&format!("{to};tag=")));
        assert!(theirs.notify.get("From").starts_with(&format!("{to};tag=")));
    }
    let mut policy = sip_events::Policy::default();
    policy.unknown_resource = UnknownResource::Ask;
    let mut rig = Rig::with(Rig::config().with_policy(policy));
    rig.theirs_by(at("sip:nobody@192.0.2.1", 7));
}

/// Covers: 3261-8.2.3-1, 3842-3.2-1, 3856-6.3-1
#[test]
fn a_body_that_is_not_understood_gets_415_unless_it_is_optional() {
    let mut rig = Rig::notifier();
    let with = |n: u32| {
        subscribe(600).branch(&format!("m{n}")).set("Call-ID", format!("m{n}")).body("application/x-strange", "x")
    };
    let refused = rig.one(with(1));
    assert_eq!((refused.status(), refused.get("Accept")), (415, String::new()));
    assert!(refused.has("Accept-Encoding"));
    rig.theirs_by(with(2).add("Content-Disposition", "session;handling=optional"));
    rig.theirs_by(with(3).add("Content-Disposition", "x ; HANDLING = Optional"));
    // Encoded content of a type that is understood is not.
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = |n: u32| ours.subscribe.notify(n, "active;expires=500").body(crate::harness::PIDF, "<a/>");
    let refused = rig.one(notify(2).add("Content-Encoding", "gzip"));
    assert_eq!((refused.status(), refused.get("Accept-Encoding")), (415, "identity".into()));
    assert_eq!(rig.status(notify(2).branch("i").add("Content-Encoding", "identity")), 200);
}

/// With the default patience of an application the answer comes before the
/// moment at which RFC 4320 wants a 100.
///
/// Covers: 3261-8.2.6.1-1, 4320-4.1-1, 4320-4.1-2, 4320-4.2-1, 3265-3.1.6.1-1
#[test]
fn no_provisional_response_and_no_408_to_an_event_request() {
    for flow in [udp(), tcp(1, "198.51.100.7:5080")] {
        let mut rig = Rig::notifier();
        if flow.stream.is_some() {
            rig.endpoint.handle_stream_opened(rig.now, None, flow).unwrap();
        }
        assert!(rig.receive(flow, subscribe(600)).1.is_empty());
        let sent = rig.run(secs(100));
        let responses: Vec<_> = sent.iter().filter(|(_, out)| out.is_response()).collect();
        assert_eq!(responses.len(), 1, "{flow:?}");
        assert_eq!((responses[0].0, responses[0].1.status()), (secs(3), 200));
    }
    // NOTIFY is answered in the same step.
    let mut rig = Rig::new();
    rig.ours();
}

/// Covers: 3261-9.1-1, 3265-3.3.2-1
#[test]
fn no_cancel_is_sent_and_one_that_comes_changes_nothing() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.endpoint.unsubscribe(rig.now, ours.id, sip_events::Scope::AllForks).unwrap();
    let mut sent = rig.drain();
    sent.extend(rig.run(secs(100)).into_iter().map(|(_, out)| out));
    assert!(sent.iter().all(|out| out.is("SUBSCRIBE")), "the same request again, and nothing else");

    let mut rig = Rig::notifier();
    let request = subscribe(600);
    rig.quiet(&request);
    let cancel = |request: &Text| {
        let uri = request.start.split(' ').nth(1).unwrap();
        let cseq = request.get("CSeq").split(' ').next().unwrap();
        request.clone().line(format!("CANCEL {uri} SIP/2.0")).set("CSeq", format!("{cseq} CANCEL"))
    };
    assert_eq!(rig.status(cancel(&request)), 200);
    let incoming = rig.incoming();
    let id = rig.endpoint.accept(rig.now, incoming, sip_events::Decision::ACCEPT).unwrap();
    assert_eq!(rig.drain()[0].status(), 200);
    assert!(rig.endpoint.watcher(id).is_ok());
    // Of a NOTIFY likewise.
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=500");
    assert_eq!(rig.status(&notify), 200);
    assert_eq!(rig.status(cancel(&notify)), 200);
    assert_eq!(rig.left(&ours), 500);
}

/// Covers: 3261-11-1, 3261-11.2-1, 3265-3.3.7-2
#[test]
fn options_in_a_dialog_leaves_it_alone() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let options = theirs.ok.refresh(2, 600).without("Event").without("Expires").without("Contact");
    let options = options.line(format!("OPTIONS {BOB} SIP/2.0")).set("CSeq", "2 OPTIONS");
    let answer = rig.one(&options);
    assert_eq!((answer.status(), answer.get("To")), (200, theirs.ok.get("To")));
    assert_eq!(answer.get("Allow-Events"), "presence, message-summary");
    rig.idle(secs(5));
    let before = rig.endpoint.watcher(theirs.id).unwrap().expires_at;
    rig.status(options.branch("o2").set("CSeq", "3 OPTIONS").add("Contact", "<sip:elsewhere@x>"));
    let watcher = rig.endpoint.watcher(theirs.id).unwrap();
    assert_eq!((watcher.expires_at, watcher.target), (before, PEER_URI.as_bytes()));
    let sent = rig.set_bob("<closed/>");
    assert_eq!(sent[0].cseq(), theirs.notify.cseq() + 1);
}

/// Covers: 3261-20-8
#[test]
fn a_missing_allow_says_nothing() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600).add("Allow", "INVITE"));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
    assert!(rig.events.iter().any(|e| matches!(e, Event::Notify { .. })));
    let refresh: Vec<Out> = only(&rig.run(secs(599)).into_iter().map(|(_, out)| out).collect::<Vec<_>>(), "SUBSCRIBE");
    assert!(!refresh.is_empty());
}
