//! RFC 3261 sections 7, 18.3, 19, 20 and 25: the same message in other words,
//! and words that are none.

use std::time::Duration;

use sip_events::{DropReason, Ending, Event, Handled};

use crate::harness::{BOB, Ours, PEER_URI, PIDF, Rig, Text, only, secs, subscribe, udp};

/// A subscription through the proxies of `routes`, written in several ways.
fn routed(routes: &[&str]) -> (Rig, Ours) {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let mut notify = ours.subscribe.notify(1, "active;expires=600");
    for route in routes {
        notify = notify.add("Record-Route", *route);
    }
    assert_eq!(rig.status(notify), 200);
    (rig, ours)
}

/// Covers: 3261-7.3.1-3, 3261-7.3.1-4, 3261-7.3.1-5, 3261-7.3.1-10, 3261-25.1-6
#[test]
fn rows_and_commas_are_the_same_list_in_the_same_order() {
    let layouts: [&[&str]; 4] = [
        &["<sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>;x=\"a,b\", <sip:198.51.100.3;lr>"],
        &["<sip:198.51.100.1;lr>", "<sip:198.51.100.2;lr>;x=\"a,b\"", "<sip:198.51.100.3;lr>"],
        &["<sip:198.51.100.1;lr>,<sip:198.51.100.2;lr>;x=\"a,b\"", "<sip:198.51.100.3;lr>"],
        &["<sip:198.51.100.1;lr> ,\r\n\t<sip:198.51.100.2;lr> ; x = \"a,b\"", "<sip:198.51.100.3;lr>"],
    ];
    for layout in layouts {
        let (mut rig, ours) = routed(layout);
        let refresh = rig.refresh(&ours);
        let routes = refresh.all("Route").join(", ");
        let expected = "<sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>;x=\"a,b\", <sip:198.51.100.3;lr>";
        assert_eq!(routes, expected, "{layout:?}");
        assert_eq!(refresh.flow.remote.to_string(), "198.51.100.1:5060");
    }
}

/// Covers: 3261-7.3.1-10, 3261-7.3.1-11, 3261-20-1, 3261-7.3.1-7
#[test]
fn what_is_needed_and_malformed_is_refused() {
    let refused = [
        ("Record-Route", "<sip:a;lr>,,<sip:b;lr>"),
        ("Record-Route", "<sip:a;lr>,"),
        ("Record-Route", "sip:a;lr"),
        ("Contact", "<sip:a@b>, <sip:c@d>"),
        ("Contact", "*"),
        ("Contact", "sip:a@192.0.2.7?x=y"),
        ("Contact", "<sip:a@b"),
        ("From", "<sip:peer@example.com>;tag=1;tag=2"),
        ("Max-Forwards", "256"),
        ("Max-Forwards", "-1"),
    ];
    for (name, value) in refused {
        let mut rig = Rig::notifier();
        let text = subscribe(600).without(name).add(name, value).bytes();
        let _ = rig.endpoint.handle_message(rig.now, udp(), &text);
        let mut answer = Vec::new();
        assert!(rig.endpoint.poll_transmit(rig.now, &mut answer).is_some(), "{name}: {value}");
        assert!(answer.starts_with(b"SIP/2.0 400 "), "{name}: {value}: {}", String::from_utf8_lossy(&answer));
    }
    // A Via like this names no transaction that an answer could be for.
    let two_branches = subscribe(600).set("Via", "SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKx;branch=z9hG4bKy");
    assert_eq!(Rig::notifier().receive(udp(), two_branches), (Handled::Dropped(DropReason::Unparsable), vec![]));
    for twice in ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Event", "Expires"] {
        let mut rig = Rig::notifier();
        let text = subscribe(600);
        let value = text.get(twice).to_owned();
        assert_eq!(rig.status(text.add(twice, value)), 400, "{twice}");
    }
}

/// Covers: 3261-8.2.2-1, 3261-8.2.2-2, 3261-7.3.1-1, 3261-7.3.1-2, 3261-7.3.1-8, 3261-25.1-3, 3261-25.1-4, 3261-20-2,
/// 3261-7.1-2, ADV-P15
#[test]
fn another_spelling_is_the_same_request() {
    let plain = subscribe(600);
    let loose = Text {
        start: plain.start.replace("SIP/2.0", "sip/2.0"),
        fields: [
            ("VIA ", "SIP / 2.0 / udp\r\n 198.51.100.7 : 5080 ;  BRANCH = z9hG4bKs1"),
            ("fRoM\t", "\"a, \\\" <sip:x>\"\r\n\t<sip:peer@example.com> ;unknown;TAG = p1"),
            ("TO", "<sip:bob@192.0.2.1>"),
            ("CALL-ID", "  c1@198.51.100.7  "),
            ("cseq", "1\r\n SUBSCRIBE"),
            ("max-forwards", " 070"),
            ("CONTACT", "\"<x>,\" <sip:peer@198.51.100.7:5080>;q=0.5;x"),
            ("Event ", "presence ; unknown = 1"),
            ("EXPIRES", "600"),
            ("Date", "not a date"),
            ("X-Strange", "\u{1}\u{fe}\"<"),
            ("Timestamp", "nonsense"),
            ("Supported", ""),
            ("Allow", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        body: Vec::new(),
    };
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(loose);
    assert_eq!((theirs.ok.get("Expires"), theirs.notify.uri()), ("600".into(), PEER_URI.into()));
    let sent = rig.feed(theirs.ok.refresh(2, 600).set("Event", "presence"));
    assert_eq!(sent[0].status(), 200);
}

/// Covers: 3261-19.1.4-1, 3261-19.1.4-2, 3261-19.1.4-3, 3261-19.1.4-4, 3261-19.1.4-5, 3261-19.1.2-3, 3261-8.2.2.1-3
#[test]
fn a_resource_is_named_by_every_equal_uri() {
    let rows = [
        ("sip:bob@192.0.2.1", 200),
        ("SIP:bob@192.0.2.1", 200),
        ("sip:b%6Fb@192.0.2.1", 200),
        ("sip:bob@192.0.2.1;transport=udp", 200),
        ("sip:bob@192.0.2.1;unknown=x", 200),
        ("sips:bob@192.0.2.1", 404),
        ("sip:Bob@192.0.2.1", 404),
        ("sip:bob@192.0.2.1:5060", 404),
        ("sip:bob:secret@192.0.2.1", 404),
        ("sip:192.0.2.1", 404),
        ("sip:bob;x=y@192.0.2.1", 404),
        ("sip:bo%3Bb@192.0.2.1", 404),
    ];
    for (uri, status) in rows {
        let mut rig = Rig::notifier();
        let text = subscribe(600).line(format!("SUBSCRIBE {uri} SIP/2.0"));
        match status {
            200 => assert_eq!(rig.theirs_by(text).notify.body(), b"<open/>", "{uri}"),
            status => assert_eq!(rig.status(text), status, "{uri}"),
        }
    }
}

/// Covers: 3261-18.3-1, 3261-18.3-2, 3261-18.3-3, 3261-18.3-4, 3261-20.14-1, 3261-7.5-1
#[test]
fn content_length_cuts_a_datagram() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = |n: u32| ours.subscribe.notify(n, "active;expires=600").set("Content-Type", PIDF);
    let with = |text: Text, length: &str| {
        let text = if length.is_empty() { text } else { text.add("Content-Length", length) };
        let mut bytes = text.bytes();
        bytes.extend_from_slice(b"12345");
        if length.is_empty() {
            bytes = String::from_utf8(bytes).unwrap().replace("Content-Length: 0\r\n", "").into_bytes();
        }
        bytes
    };
    for (n, length, body) in [(2, "5", "12345"), (3, "2", "12"), (4, "0", ""), (5, "", "12345"), (6, "005", "12345")] {
        assert_eq!(rig.status(with(notify(n), length)), 200, "{length}");
        assert_eq!(rig.notified(), [body], "{length}");
    }
    for (n, length) in [(7, "6"), (8, "-1"), (9, "+5"), (10, "5 5"), (11, "99999999999999999999"), (12, "x")] {
        assert_eq!(rig.status(with(notify(n), length)), 400, "{length}");
    }
    assert_eq!(rig.status(with(notify(13).add("Content-Length", "5"), "4")), 400);
    assert!(rig.notified().is_empty());
    // A response that is cut short is dropped, not answered.
    let refresh = rig.refresh(&ours);
    let (handled, sent) = rig.receive(udp(), refresh.accepted(600).add("Content-Length", "9"));
    assert_eq!((handled, sent.len()), (Handled::Dropped(DropReason::MalformedResponse), 0));
    rig.quiet(refresh.accepted(600));
}

/// Covers: 3261-7.2-1, 3261-7.1-2, 3261-8.1.3.3-1, 3261-17.1.3-1
#[test]
fn a_response_is_one_or_it_is_dropped() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let ok = ours.subscribe.accepted(600);
    for start in
        ["SIP/3.0 200 OK", "SIP/2.0 20 x", "SIP/2.0 2000 x", "SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/2.0  200 x"]
    {
        let (handled, sent) = rig.receive(udp(), ok.clone().line(start));
        assert!(matches!(handled, Handled::Dropped(_)) && sent.is_empty(), "{start}: {handled:?}");
    }
    for bad in [
        ok.clone().without("To"),
        ok.clone().without("CSeq"),
        ok.clone().set("CSeq", "1 NOTIFY"),
        ok.clone().add("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKother"),
        ok.clone().set("CSeq", "4294967296 SUBSCRIBE"),
    ] {
        rig.quiet(&bad);
    }
    assert!(rig.take().is_empty());
    rig.quiet(ok.line("SIP/2.0 200 "));
    assert!(matches!(rig.take()[..], [Event::Accepted { .. }]), "an empty reason is one");
}

/// Covers: 3261-20-7, 3261-25.1-5, 3261-8.1.3.2-1, 3265-3.1.4.1-5
#[test]
fn retry_after_is_read_with_comment_and_parameters() {
    for (value, seconds) in [
        ("5", Some(5)),
        ("18000;duration=3600", Some(18_000)),
        ("7 (in (a) meeting) ;duration=3", Some(7)),
        ("x", None),
    ] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.answer("503 Busy").add("Retry-After", value));
        match rig.ended() {
            Some(Event::Terminated { why: Ending::Refused { retry_after, .. }, .. }) => {
                assert_eq!(retry_after, seconds, "{value}")
            }
            other => panic!("{value}: {other:?}"),
        }
    }
    // Unknown codes count as the first of their class.
    for (status, lives) in [("499 No", true), ("599 No", true), ("699 No", true)] {
        let mut rig = Rig::new();
        let ours = rig.ours();
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.answer(status));
        assert_eq!(rig.lives(&ours), lives, "{status}");
    }
}

/// Covers: 3261-8.1.3.2-2, 3261-17.1.2.2-4, 3261-17.1.2.2-5, 4320-4.1-1
#[test]
fn any_provisional_response_slows_a_request_down_and_does_no_more() {
    for status in ["100 Trying", "180 Ringing", "183 Progress", "199 Odd"] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.idle(Duration::from_millis(200));
        rig.quiet(ours.subscribe.answer(status));
        let times: Vec<_> = rig.run(secs(12)).into_iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [300, 4300, 8300], "{status}");
        assert!(rig.take().is_empty() && rig.lives(&ours));
    }
}

/// A dialog whose first proxy is a strict router, at both sides.
///
/// Covers: 3261-12.2.1.1-5, 3261-8.1.2-1
#[test]
fn a_strict_router_gets_the_request_line() {
    let (mut rig, ours) = routed(&["<sip:198.51.100.1:5070;x=1>, <sip:198.51.100.2;lr>", "<sip:198.51.100.3>"]);
    let refresh = rig.refresh(&ours);
    assert_eq!(refresh.uri(), "sip:198.51.100.1:5070;x=1");
    let route = refresh.all("Route").join(", ");
    assert_eq!(route, format!("<sip:198.51.100.2;lr>, <sip:198.51.100.3>, <{PEER_URI}>"));
    assert_eq!(refresh.flow.remote.to_string(), "198.51.100.1:5070");

    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).add("Record-Route", "<sip:198.51.100.1;method=INVITE?a=b>"));
    assert_eq!(theirs.notify.uri(), "sip:198.51.100.1", "what may not stand there is left out");
    assert_eq!(theirs.notify.all("Route"), [format!("<{PEER_URI}>")]);
    let sent = rig.feed(theirs.ok.refresh(2, 600).line(format!("SUBSCRIBE {BOB} SIP/2.0")));
    assert_eq!(only(&sent, "NOTIFY")[0].uri(), "sip:198.51.100.1");
}
