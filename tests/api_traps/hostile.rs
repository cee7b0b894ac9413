//! Section I, and the advisories of parsers seen from outside: whatever comes,
//! the answer is defined and the next request is served.

use sip_events::wire::{HeaderName, Message};
use sip_events::{DropReason, Event, Handled, Subscribe};

use crate::kit::{Kit, Request, Sent, peer};

const CONTACT: &str = "Contact: <sip:alice@198.51.100.7:5080>\r\n";

fn leak(text: String) -> &'static str {
    text.leak()
}

/// The status that a SUBSCRIBE with these lines gets, accepted if asked.
fn status_of(kit: &mut Kit, more: &str) -> u16 {
    let more = leak(more.to_owned());
    let mut sent = kit.feed(peer(), Request { more, ..Request::subscribe("t") }.bytes());
    sent.extend(kit.accept_all());
    assert!(!sent.is_empty(), "{more}");
    sent[0].status()
}

fn is_alive(kit: &mut Kit) {
    assert_eq!(
        kit.answer(peer(), Request { call_id: "alive", ..Request::new("OPTIONS", "alive") }.bytes()).status(),
        200
    );
}

/// PEER-I01, PEER-I02, PEER-I05, PEER-I07, PEER-I08, ADV-E6, ADV-E7, ADV-P12: lines
/// of a SUBSCRIBE that other stacks fell over.
#[test]
fn i01_i02_i05_i07_i08_lines_of_a_subscribe() {
    let accepts = (0..33).map(|n| if n == 32 { "application/pidf+xml".into() } else { format!("x/y{n}") });
    let accepts = accepts.collect::<Vec<String>>().join(", ");
    let many = (0..4_000).map(|n| format!("x/y{n}")).collect::<Vec<_>>().join(",");
    let event = "Event: presence\r\n";
    let rows = [
        (format!("{CONTACT}{event}Accept: {accepts}\r\n"), 200),
        (format!("{CONTACT}{event}Accept: {many}\r\n"), 406),
        (format!("{CONTACT}{event}Accept: */*;q=0.1\r\n"), 200),
        (event.to_owned(), 400),
        (format!("Contact: *\r\n{event}"), 400),
        (format!("Contact: <sip:a@198.51.100.7>, <sip:b@198.51.100.7>\r\n{event}"), 400),
        (format!("Contact: <tel:+1>\r\n{event}"), 400),
        (format!("Contact: <http://x/>\r\n{event}"), 400),
        (format!("Contact: <sip:>\r\n{event}"), 400),
        (CONTACT.to_owned(), 489),
        (format!("{CONTACT}Event: presence\r\nEvent: presence\r\n"), 400),
        (format!("{CONTACT}Event: \r\n"), 400),
        (format!("{CONTACT}Event: presence;id=\r\n"), 400),
        ("m: <sip:alice@198.51.100.7:5080>\r\no: presence\r\nk: x\r\n".to_owned(), 200),
        (format!("{CONTACT}{event}Expires: -1\r\n"), 200),
        (format!("{CONTACT}{event}Expires: x\r\n"), 200),
        (format!("{CONTACT}{event}To: <sip:x@y>\r\n"), 400),
        (format!("{CONTACT}{event}Date: yesterday\r\nX-Y: \x01\x02\r\n"), 200),
    ];
    for (more, status) in &rows {
        let mut kit = Kit::notifier();
        assert_eq!(status_of(&mut kit, more), *status, "{}", &more[..more.len().min(200)]);
        let watchers = usize::from(*status == 200);
        assert_eq!(kit.endpoint.watchers().count(), watchers);
        is_alive(&mut kit);
    }
}

/// PEER-I03, PEER-I04, ADV-E3, ADV-E4: bodies.
#[test]
fn i03_i04_bodies_of_a_notify() {
    let kilobytes = |text: &str, n: usize| text.repeat(n * 1_024 / text.len());
    let rows = [
        ("", String::new()),
        ("", "no type".to_owned()),
        ("Content-Type: application/simple-message-summary\r\n", String::new()),
        ("Content-Type: application/simple-message-summary\r\n", "Messages-Waiting: yes".to_owned()),
        (
            "Content-Type: application/simple-message-summary\r\n",
            "Messages-Waiting: yes\r\nMessage-Account:".to_owned(),
        ),
        ("Content-Type: application/simple-message-summary\r\n", kilobytes("Message-Account: ", 50)),
        (
            "Content-Type: application/simple-message-summary\r\n",
            kilobytes("Voice-Message: 99999999999/1 (4/-5)\r\n", 50),
        ),
        ("Content-Type: application/simple-message-summary\r\n", kilobytes("x", 50)),
        ("Content-Type: multipart/mixed;boundary=\"\"\r\n", "----\r\n".to_owned()),
        ("Content-Type: application/pidf+xml\r\n", "<".repeat(1_000)),
        ("Content-Type: /\r\n", "x".to_owned()),
        ("Content-Encoding: gzip\r\nContent-Type: application/simple-message-summary\r\n", "\x1f\u{8b}".to_owned()),
    ];
    for event in ["message-summary", "presence"] {
        for (n, (fields, body)) in rows.iter().enumerate() {
            let mut kit = Kit::new();
            let id = kit.endpoint.subscribe(kit.now, Subscribe::new("sip:bob@203.0.113.9", event).unwrap()).unwrap();
            let first = kit.drain().remove(0);
            let notify = |cseq: u32, fields: &str, body: &str| {
                format!(
                    "NOTIFY sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKn{cseq}\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:bob@203.0.113.9>;tag=b\r\nTo: {}\r\nCall-ID: {}\r\n\
                     CSeq: {cseq} NOTIFY\r\nContact: <sip:bob@203.0.113.9>\r\nEvent: {event}\r\n\
                     Subscription-State: active;expires=600\r\n{fields}Content-Length: {}\r\n\r\n{body}",
                    first.field(HeaderName::From),
                    first.field(HeaderName::CallId),
                    body.len()
                )
            };
            let answer = kit.answer(first.flow, notify(1, fields, body));
            assert!([200, 400, 413, 415].contains(&answer.status()), "{event} {n}: {}", answer.status());
            if answer.status() == 415 {
                assert!(!answer.field(HeaderName::Accept).is_empty());
            }
            // Liveness: the next one is taken.
            assert_eq!(kit.answer(first.flow, notify(2, "", "")).status(), 200, "{event} {n}");
            assert!(kit.endpoint.subscription(id).is_ok());
        }
    }
}

/// PEER-I06, ADV-E22: nobody asked for this NOTIFY, whatever it says.
#[test]
fn i06_an_unsolicited_notify_gets_481_and_no_event() {
    let mut kit = Kit::new();
    for (event, to) in [
        ("message-summary", "<sip:bob@192.0.2.1>"),
        ("message-summary", "<sip:bob@192.0.2.1>;tag=guessed"),
        ("presence", "<sip:bob@192.0.2.1>;tag=s0000000000000000"),
    ] {
        let more = leak(format!("{CONTACT}Event: {event}\r\nSubscription-State: active;expires=600\r\n"));
        let request = Request { to, more, ..Request::new("NOTIFY", &format!("n{}{}", event.len(), to.len())) };
        assert_eq!(kit.answer(peer(), request.bytes()).status(), 481, "{event} {to}");
    }
    let more = leak(format!("{CONTACT}Event: check-sync;reboot=true\r\nSubscription-State: terminated\r\n"));
    let request = Request { to: "<sip:bob@192.0.2.1>;tag=x", more, ..Request::new("NOTIFY", "reboot") };
    assert_eq!(kit.answer(peer(), request.bytes()).status(), 489);
    assert!(kit.events.is_empty(), "{:?}", kit.events);
    kit.run_millis(40_000);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}

/// ADV-P7, ADV-P8, ADV-P13, ADV-P14, ADV-P16, ADV-P17, ADV-P18, ADV-P19, ADV-P20:
/// half values, long values, values without range.
#[test]
fn adv_heads_that_broke_parsers() {
    let good = String::from_utf8(Request::subscribe("g").bytes()).unwrap();
    let long = |n: usize| "x".repeat(n);
    let mut rows: Vec<(String, String)> = [
        ("CSeq: 1 ", "CSeq: 4294967296 "),
        ("CSeq: 1 ", "CSeq: -1 "),
        ("CSeq: 1 ", "CSeq: 99999999999999999999 "),
        ("Max-Forwards: 70", "Max-Forwards: 256"),
        ("Max-Forwards: 70", "Max-Forwards: -1"),
        ("Max-Forwards: 70", "Max-Forwards: many"),
        (":5080;branch", ":65536;branch"),
        (":5080;branch", ":5080;ttl=256;branch"),
        (":5080;branch", ":;branch"),
        ("198.51.100.7:5080;branch", ".1;branch"),
        ("198.51.100.7:5080;branch", "[.1];branch"),
        ("branch=z9hG4bKg", "branch="),
        ("branch=z9hG4bKg", "branch=z9hG4bKg;branch=z9hG4bKh"),
        ("To: <sip:bob@192.0.2.1>", "To: <sip:bob@192.0.2.1>;tag="),
        ("To: <sip:bob@192.0.2.1>", "To\x01: <sip:bob@192.0.2.1>"),
        ("From: <sip:alice@example.com>", "From: \"alice\\\" <sip:alice@example.com>"),
        ("From: <sip:alice@example.com>", "From: </>"),
        ("SUBSCRIBE sip:bob@192.0.2.1", "SUBSCRIBE sip:bob@.1"),
        ("SUBSCRIBE sip:bob@192.0.2.1", "SUBSCRIBE sip:bob@[.1]"),
        ("SUBSCRIBE sip:bob@192.0.2.1", "SUBSCRIBE sip:bob@192.0.2.1:99999"),
        ("SUBSCRIBE sip:bob@192.0.2.1", "SUBSCRIBE </>"),
    ]
    .map(|(from, to)| (from.to_owned(), to.to_owned()))
    .to_vec();
    // CSeq methods as long as some buffers.
    for n in [31, 32, 64, 255, 256, 1_024, 60_000] {
        rows.push(("CSeq: 1 SUBSCRIBE".into(), format!("CSeq: 1 {}", long(n))));
    }
    for (from, to) in &rows {
        let mut kit = Kit::notifier();
        let request = good.replacen(from.as_str(), to, 1);
        assert_ne!(request, good, "{from}");
        let (handled, sent) = kit.receive(peer(), &request);
        assert!(matches!(handled, Handled::Dropped(_)), "{}: {handled:?}", &to[..to.len().min(90)]);
        // What was copied from the request may be as broken as it was.
        let status = |s: &Sent| Message::scan(&s.bytes).unwrap().status().unwrap().as_u16();
        assert!(sent.iter().all(|s| (400..=501).contains(&status(s))), "{}", &to[..to.len().min(90)]);
        assert!(sent.len() <= 1 && kit.events.is_empty());
        is_alive(&mut kit);
    }
    // Sizes round those of other stacks' buffers are nothing special.
    for n in (250..=260).chain(510..=515).chain([1_024, 2_000]) {
        for (from, to) in [
            ("branch=z9hG4bKg", format!("branch=z9hG4bK{}", long(n))),
            ("tag=a1", format!("tag={}", long(n))),
            ("Call-ID: c1@", format!("Call-ID: {}@", long(n))),
        ] {
            let mut kit = Kit::notifier();
            let request = good.replacen(from, &to, 1);
            assert_eq!(kit.receive(peer(), &request).0, Handled::Consumed, "{from} {n}");
            let sent = kit.accept_all();
            assert_eq!(sent[0].status(), 200);
            assert_eq!(kit.receive(peer(), &request).0, Handled::Dropped(DropReason::Retransmission));
        }
    }
}

/// PEER-I02: a NOTIFY whose Contact cannot be used makes no dialog.
#[test]
fn i02_contacts_of_a_first_notify() {
    for contact in
        ["", "Contact: *\r\n", "Contact: <tel:+1>\r\n", "Contact: <sip:a@h>, <sip:b@h>\r\n", "Contact: <http://h/>\r\n"]
    {
        let mut kit = Kit::new();
        kit.subscribe(Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap());
        let id = kit.endpoint.subscriptions().next().unwrap();
        let us = {
            let mut twin = Kit { endpoint: kit.endpoint.clone(), now: kit.now, events: Vec::new() };
            twin.run_millis(500).remove(0).1
        };
        let more = leak(format!("{contact}Event: presence\r\nSubscription-State: active;expires=600\r\n"));
        let to = leak(us.field(HeaderName::From).to_owned());
        let call_id = leak(us.field(HeaderName::CallId).to_owned());
        let request = Request { to, call_id, more, ..Request::new("NOTIFY", "c") };
        assert_eq!(kit.answer(peer(), request.bytes()).status(), 400, "{contact}");
        assert!(!kit.events.iter().any(|e| matches!(e, Event::Notify { .. })));
        assert_eq!(kit.endpoint.subscription(id).unwrap().target, None);
    }
}

/// ADV-E20: a route or target that cannot be sent to is refused, or its
/// subscription ends.
#[test]
fn adv_e20_nowhere_to_send_a_notify_to() {
    for more in [
        "Contact: <sip:alice@198.51.100.7>\r\nEvent: presence\r\nRecord-Route: <tel:1;lr>\r\n",
        "Contact: <sip:alice@198.51.100.7;transport=sctp>\r\nEvent: presence\r\n",
        "Contact: <sips:alice@198.51.100.7>\r\nEvent: presence\r\n",
        "Contact: <sip:alice@0.0.0.0>\r\nEvent: presence\r\n",
        "Contact: <sip:alice@198.51.100.7:0>\r\nEvent: presence\r\n",
        "Contact: <sip:alice@[::]>\r\nEvent: presence\r\n",
    ] {
        let mut kit = Kit::notifier();
        assert!([200, 400].contains(&status_of(&mut kit, more)), "{more}");
        kit.run_millis(33_000);
        assert_eq!(kit.endpoint.watchers().count(), 0, "{more}");
        assert_eq!(kit.endpoint.transactions(), (0, 0));
        is_alive(&mut kit);
    }
}
