//! Which request gets which answer, and where it goes.

use std::net::{SocketAddr, SocketAddrV6};

use sip_events::wire::{HeaderName, Transport};
use sip_events::{Config, DropReason, Event, Flow, Handled, Limits, Policy, Role, ViaMaddr};

use crate::kit::{Kit, LOCAL, Request, addr, peer};

fn refused(reason: DropReason) -> Handled {
    Handled::Dropped(reason)
}

/// Covers: 3261-18.2.1-1, 3261-18.2.2-2, 3261-18.2.2-3, 3261-18.2.2-4, 3581-4-1, 3581-4-2, 3581-5-1
#[test]
fn responses_go_where_via_says() {
    let far = "198.51.100.7";
    let rows = [
        // sent-by is the source: nothing added, sent-by's port.
        ("198.51.100.7:5080;branch=z9hG4bKa", "198.51.100.7:5080;branch=z9hG4bKa", "198.51.100.7:5080"),
        ("198.51.100.7;branch=z9hG4bKb", "198.51.100.7;branch=z9hG4bKb", "198.51.100.7:5060"),
        // A name, or another address.
        ("pc.example.com:5099;branch=z9hG4bKc", "pc.example.com:5099;branch=z9hG4bKc;received=", "198.51.100.7:5099"),
        ("10.0.0.9;branch=z9hG4bKd", "10.0.0.9;branch=z9hG4bKd;received=", "198.51.100.7:5060"),
        // A lie about received is overwritten.
        ("10.0.0.9;received=10.1.1.1;branch=z9hG4bKe", "10.0.0.9;branch=z9hG4bKe;received=", "198.51.100.7:5060"),
        // rport.
        (
            "198.51.100.7:9;rport;branch=z9hG4bKf",
            "198.51.100.7:9;rport=5080;branch=z9hG4bKf;received=",
            "198.51.100.7:5080",
        ),
        ("10.0.0.9:9;rport;branch=z9hG4bKg", "10.0.0.9:9;rport=5080;branch=z9hG4bKg;received=", "198.51.100.7:5080"),
        ("10.0.0.9:9;rport=1;branch=z9hG4bKh", "10.0.0.9:9;rport=5080;branch=z9hG4bKh;received=", "198.51.100.7:5080"),
        // maddr comes before all.
        (
            "10.0.0.9:9;maddr=203.0.113.5;branch=z9hG4bKi",
            "10.0.0.9:9;maddr=203.0.113.5;branch=z9hG4bKi;received=",
            "203.0.113.5:9",
        ),
        (
            "10.0.0.9;maddr=203.0.113.5;rport;branch=z9hG4bKj",
            "10.0.0.9;maddr=203.0.113.5;rport=5080;branch=z9hG4bKj;received=",
            "203.0.113.5:5060",
        ),
    ];
    for (via, copied, goes) in rows {
        let mut kit = Kit::new();
        let request = Request { via: format!("SIP/2.0/UDP {via}"), ..Request::new("OPTIONS", "") };
        let answer = kit.answer(peer(), request.bytes());
        assert_eq!(answer.flow, Flow::udp(addr(LOCAL), addr(goes)), "{via}");
        let expected = if copied.ends_with('=') { format!("{copied}{far}") } else { copied.to_owned() };
        assert_eq!(answer.field(HeaderName::Via), format!("SIP/2.0/UDP {expected}"));
    }
}

/// Covers: 3261-8.2.6.2-1, 3261-20-9
#[test]
fn all_vias_are_copied_in_order_and_only_the_first_is_touched() {
    let mut kit = Kit::new();
    let via = "SIP/2.0/UDP a.example.com;branch=z9hG4bK1 , SIP / 2.0 / TCP b.example.com;branch=z9hG4bK2\r\n\
               v: SIP/2.0/UDP c.example.com;branch=z9hG4bK3;x=\"a,b\""
        .to_owned();
    let answer = kit.answer(peer(), Request { via, ..Request::new("OPTIONS", "") }.bytes());
    let message = answer.message();
    let lines: Vec<_> = message.fields().filter(|f| f.name == HeaderName::Via).collect();
    let lines: Vec<&str> = lines.iter().map(|f| std::str::from_utf8(f.value).unwrap()).collect();
    assert_eq!(
        lines,
        [
            "SIP/2.0/UDP a.example.com;branch=z9hG4bK1;received=198.51.100.7,SIP / 2.0 / TCP b.example.com;branch=z9hG4bK2",
            "SIP/2.0/UDP c.example.com;branch=z9hG4bK3;x=\"a,b\"",
        ]
    );
}

/// Covers: 3261-11.2-1, 3261-20-8, 6665-4.4.4-1, 3261-21.4-1
#[test]
fn options_tells_what_we_can() {
    let mut kit = Kit::new();
    let request = String::from_utf8(Request::new("OPTIONS", "o").bytes()).unwrap();
    let request = request.replace("Max-Forwards: 70", "Max-Forwards: 0");
    let answer = kit.answer(peer(), &request);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field(HeaderName::Allow), "SUBSCRIBE, NOTIFY, OPTIONS, CANCEL");
    assert_eq!(answer.field(HeaderName::AllowEvents), "presence, message-summary");
    assert!(answer.field(HeaderName::Accept).contains("application/pidf+xml"));
    for name in [HeaderName::AcceptEncoding, HeaderName::AcceptLanguage, HeaderName::Supported, HeaderName::Server] {
        assert!(answer.message().field(name, 0).is_some(), "{name}");
    }
    // Nothing is kept, yet a repetition gets the same bytes.
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    assert_eq!(kit.answer(peer(), &request), answer);
    let other = kit.answer(peer(), Request { call_id: "c2", ..Request::new("OPTIONS", "o2") }.bytes());
    assert_ne!(other.field(HeaderName::To), answer.field(HeaderName::To), "another request, another tag");
    let strange = Request { more: "Require: a, b\r\n", ..Request::new("OPTIONS", "o3") };
    let answer = kit.answer(peer(), strange.bytes());
    assert_eq!((answer.status(), answer.field(HeaderName::Unsupported)), (420, "a, b"));
    let unknown = Request { to: "<sip:bob@192.0.2.1>;tag=unknown", ..Request::new("OPTIONS", "o4") };
    let answer = kit.answer(peer(), unknown.bytes());
    assert_eq!((answer.status(), answer.field(HeaderName::To)), (481, "<sip:bob@192.0.2.1>;tag=unknown"));
}

/// Covers: 3261-8.2.1-1, 3261-8.2.1-2, 6665-DISP-5, 3261-7.1-3
#[test]
fn methods_that_are_not_ours_get_405_or_501() {
    let mut kit = Kit::new();
    for (method, status) in [("INVITE", 405), ("REGISTER", 405), ("PUBLISH", 405), ("FOO", 501), ("subscribe", 501)] {
        let (handled, sent) = kit.receive(peer(), Request::new(method, "u").bytes());
        assert_eq!(handled, refused(DropReason::Refused), "{method}");
        assert_eq!(sent[0].status(), status, "{method}");
        assert_eq!(sent[0].message().field(HeaderName::Allow, 0).is_some(), status == 405);
    }
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    // Unknown method and another one in CSeq: 501 rather than 400.
    let request = Request { cseq: "1 INVITE".into(), ..Request::new("FOO", "u") };
    assert_eq!(kit.answer(peer(), request.bytes()).status(), 501);
}

/// Covers: 6665-DISP-1, 3261-7.1-1, 3261-7.1-2, 3261-18.3-3, 3261-8.2.7-1
#[test]
fn malformed_requests_are_told_why_or_ignored() {
    let mut kit = Kit::notifier();
    let good = String::from_utf8(Request::subscribe("x").bytes()).unwrap();
    let rows = [
        (good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), 505, "Version Not Supported"),
        (good.replace("SUBSCRIBE sip", "SUBSCRIBE  sip"), 400, "Malformed start line"),
        (good.replace("Call-ID: c1@198.51.100.7\r\n", ""), 400, "Missing Call-ID"),
        (good.replace("To: <sip:bob@192.0.2.1>\r\n", ""), 400, "Missing To"),
        (good.replace("To: <sip:bob", "To: <sip:bob>;tag=1;tag=2<"), 400, "Malformed To"),
        (good.replace("CSeq: 1 SUBSCRIBE", "CSeq: 1 NOTIFY"), 400, "CSeq method mismatch"),
        (good.replace("CSeq: 1 ", "CSeq: 4294967296 "), 400, "Malformed CSeq"),
        (good.replace("Content-Length: 0", "Content-Length: 5"), 400, "Body shorter than Content-Length"),
        (good.replace("SUBSCRIBE sip:bob@192.0.2.1 ", "SUBSCRIBE sip: "), 400, "Malformed host"),
        (good.replace("SUBSCRIBE sip:bob@192.0.2.1 ", "SUBSCRIBE foo:bar "), 416, "Unsupported URI Scheme"),
    ];
    for (request, status, reason) in rows {
        let answer = kit.answer(peer(), &request);
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(text.starts_with(&format!("SIP/2.0 {status} {reason}\r\n")), "{request}\n{text}");
        assert_eq!(kit.answer(peer(), &request), answer, "the same for a repetition");
        assert!(answer.bytes.len() <= request.len() + 300);
    }
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    // Nowhere to send an answer to.
    for silent in [good.replace("Via: SIP/2.0/UDP ", "Via: ;"), good.replace("Via: ", "Vla: ")] {
        assert_eq!(kit.receive(peer(), &silent), (refused(DropReason::Unparsable), vec![]));
    }
    assert_eq!(kit.receive(peer(), "hello"), (refused(DropReason::Unparsable), vec![]));
    // A peer of RFC 2543 leaves Max-Forwards out.
    let (handled, _) = kit.receive(peer(), good.replace("Max-Forwards: 70\r\n", ""));
    assert_eq!(handled, Handled::Consumed);
}

/// Covers: 5626-3.5-2
#[test]
fn keep_alives_and_filler_are_dropped_silently() {
    let mut kit = Kit::new();
    for filler in [&b""[..], b"\r\n\r\n", b"\0\0\0\0", b"\x00\x01\x00\x00\x21\x12\xa4\x42", b" \r\n"] {
        assert_eq!(kit.receive(peer(), filler), (refused(DropReason::KeepAlive), vec![]), "{filler:?}");
    }
    assert_eq!(kit.endpoint.stats().dropped(DropReason::KeepAlive), 5);
    let huge = vec![b'x'; 65_536];
    assert_eq!(kit.receive(peer(), huge).0, refused(DropReason::TooLarge));
}

/// Covers: 6665-4.6-1, 6665-4.6-2, 3261-9.2-1, 3261-8.2.2.3-2, 6665-DISP-3
#[test]
fn cancel_is_answered_and_changes_nothing() {
    let mut kit = Kit::notifier();
    let cancel = Request { more: "Require: x\r\n", ..Request::new("CANCEL", "c1") };
    assert_eq!(kit.answer(peer(), cancel.bytes()).status(), 481, "nothing to cancel");
    kit.feed(peer(), Request::subscribe("c1").bytes());
    let (handled, sent) = kit.receive(peer(), cancel.bytes());
    assert_eq!((handled, sent[0].status(), sent.len()), (Handled::Consumed, 200, 1));
    assert!(kit.events.iter().any(|e| matches!(e, Event::Subscribe(_))), "still undecided");
    let answers = kit.accept_all();
    assert_eq!(answers[0].status(), 200);
    // One that comes later has the tag of the answer.
    kit.feed(peer(), Request { call_id: "c2", ..Request::subscribe("c2") }.bytes());
    let answers = kit.accept_all();
    let late = Request { call_id: "c2", ..Request::new("CANCEL", "c2") };
    let answer = kit.answer(peer(), late.bytes());
    assert_eq!((answer.status(), answer.field(HeaderName::To)), (200, answers[0].field(HeaderName::To)));
    let other = Request { via: cancel.via.replace("5080", "5081"), ..cancel };
    assert_eq!(kit.answer(peer(), other.bytes()).status(), 481, "another sent-by");
}

#[test]
fn ack_is_never_answered() {
    let mut kit = Kit::new();
    for ack in [Request::new("ACK", "a"), Request { to: "<<", ..Request::new("ACK", "a") }] {
        assert_eq!(kit.receive(peer(), ack.bytes()), (refused(DropReason::StrayAck), vec![]));
    }
    assert_eq!(kit.endpoint.stats().dropped(DropReason::StrayAck), 2);
}

/// Covers: 3261-8.2.2.2-1, 3261-21.4-2, 6665-DISP-7
#[test]
fn the_same_request_along_another_way_is_merged() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request::subscribe("w1").bytes());
    let (handled, sent) = kit.receive(peer(), Request::subscribe("w2").bytes());
    assert_eq!((handled, sent[0].status()), (refused(DropReason::Refused), 482));
    // Another CSeq, another Call-ID, another From tag: not merged.
    for request in [
        Request { cseq: "2 SUBSCRIBE".into(), ..Request::subscribe("w3") },
        Request { call_id: "c2", ..Request::subscribe("w4") },
        Request { from: "<sip:alice@example.com>;tag=a2", ..Request::subscribe("w5") },
    ] {
        assert_eq!(kit.receive(peer(), request.bytes()).0, Handled::Consumed);
    }
    assert_eq!(kit.endpoint.transactions().1, 4);
}

/// Trap: an early NOTIFY that carries our own tag is no merged request.
#[test]
fn a_notify_with_our_tag_is_never_merged() {
    let mut kit = Kit::new();
    let first = kit.subscribe(sip_events::Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap()).remove(0);
    let notify = |branch: &str| {
        format!(
            "NOTIFY sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:bob@203.0.113.9>;tag=b\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\n\
             Contact: <sip:bob@203.0.113.9>\r\nEvent: presence\r\nSubscription-State: active;expires=600\r\n\
             Content-Length: 0\r\n\r\n",
            first.field(HeaderName::From),
            first.field(HeaderName::CallId),
        )
    };
    assert_eq!(kit.answer(first.flow, notify("n1")).status(), 200);
    assert_eq!(kit.answer(first.flow, notify("n2")).status(), 500, "the same CSeq again, yet not 482");
}

#[test]
fn a_full_table_answers_503_without_state() {
    let mut limits = Limits::default();
    limits.server_transactions = 2;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    kit.add_bob();
    for (branch, call_id) in [("t1", "t1"), ("t2", "t2")] {
        assert_eq!(kit.receive(peer(), Request { call_id, ..Request::subscribe(branch) }.bytes()).0, Handled::Consumed);
    }
    let third = Request { call_id: "t3", ..Request::subscribe("t3") }.bytes();
    let (handled, sent) = kit.receive(peer(), &third);
    assert_eq!(handled, refused(DropReason::Overload));
    assert_eq!((sent[0].status(), sent[0].field(HeaderName::RetryAfter)), (503, "10"));
    assert_eq!(kit.feed(peer(), &third), sent, "no state, the same answer");
    assert_eq!(kit.endpoint.transactions(), (0, 2));
    assert_eq!(kit.endpoint.stats().dropped(DropReason::Overload), 2);
}

/// A long Server value does not make error answers large.
#[test]
fn error_answers_are_little_larger_than_their_request() {
    let config = Config::new("sip:me@192.0.2.1").unwrap().user_agent(&"x".repeat(2_000)).unwrap();
    let mut kit = Kit::with(config);
    for request in [Request::new("FOO", "l1"), Request::new("INVITE", "l2"), Request::new("CANCEL", "l3")] {
        let bytes = request.bytes();
        let answer = kit.answer(peer(), &bytes);
        assert!(answer.bytes.len() <= bytes.len() + 300, "{}", answer.bytes.len());
    }
    assert!(kit.answer(peer(), Request::new("OPTIONS", "l4").bytes()).bytes.len() > 2_000);
}

/// Beside another stack only what is ours is answered; nothing else leaves a
/// trace.
#[test]
fn in_the_shared_role_everything_else_is_not_ours() {
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_role(Role::Shared));
    kit.add_bob();
    let foreign = [
        Request::new("OPTIONS", "s1"),
        Request::new("INVITE", "s2"),
        Request::new("CANCEL", "s3"),
        Request::new("ACK", "s4"),
        Request::new("FOO", "s5"),
        Request { to: "<sip:bob@192.0.2.1>;tag=foreign", ..Request::new("NOTIFY", "s6") },
        Request { to: "<sip:bob@192.0.2.1>;tag=foreign", ..Request::subscribe("s7") },
        Request { more: "Event: dialog\r\n", ..Request::subscribe("s8") },
        Request { more: "", ..Request::subscribe("s9") },
        Request { from: "<<", ..Request::new("OPTIONS", "s10") },
    ];
    for request in &foreign {
        assert_eq!(kit.receive(peer(), request.bytes()), (Handled::NotOurs, vec![]), "{}", request.via);
    }
    let stray = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKforeign\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(kit.receive(peer(), stray), (Handled::NotOurs, vec![]));
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    assert_eq!(*kit.endpoint.stats(), sip_events::Stats::default());
    // Ours: a first SUBSCRIBE, its repetition, its CANCEL, and what carries our tag.
    let request = Request::subscribe("mine");
    assert_eq!(kit.receive(peer(), request.bytes()).0, Handled::Consumed);
    assert_eq!(kit.receive(peer(), request.bytes()).0, refused(DropReason::Retransmission));
    assert_eq!(kit.answer(peer(), Request::new("CANCEL", "mine").bytes()).status(), 200);
    let sent = kit.accept_all();
    let to: &'static str = sent[0].field(HeaderName::To).to_owned().leak();
    assert_eq!(kit.answer(peer(), Request { to, ..Request::new("BYE", "bye") }.bytes()).status(), 405);
    assert_eq!(kit.receive(sent[1].flow, sent[1].answer("200 OK", "")).0, Handled::Consumed);
}

#[test]
fn a_drained_endpoint_is_silent() {
    let mut kit = Kit::notifier();
    kit.endpoint.close(kit.now, sip_events::Close::Terminate);
    kit.drain();
    assert!(kit.events.contains(&Event::Drained));
    let (handled, sent) = kit.receive(peer(), Request::new("OPTIONS", "d").bytes());
    assert_eq!((handled, sent.len()), (refused(DropReason::Closed), 0));
}

/// Covers: 3261-12.1.1-1
#[test]
fn record_route_is_copied_where_a_dialog_is_formed() {
    let mut kit = Kit::notifier();
    let more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\n\
        Record-Route: <sip:p2.example.com;lr;x=1>, <sip:p1.example.com;lr>\r\nRecord-Route: <sip:p0.example.com;lr>\r\n";
    kit.feed(peer(), Request { more, ..Request::subscribe("rr") }.bytes());
    let answer = kit.accept_all().remove(0);
    let message = answer.message();
    let lines: Vec<_> = message.fields().filter(|f| f.name == HeaderName::RecordRoute).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].value, b"<sip:p2.example.com;lr;x=1>, <sip:p1.example.com;lr>");
    assert_eq!(lines[1].value, b"<sip:p0.example.com;lr>");
    let gone = Request { more: "", to: "<sip:bob@192.0.2.1>;tag=none", ..Request::subscribe("rr2") };
    let answer = kit.answer(peer(), gone.bytes());
    assert!(answer.status() >= 400 && answer.message().field(HeaderName::RecordRoute, 0).is_none());
}

/// Keep-alives, STUN and whatever else comes on a shared socket may be the
/// other stack's.
#[test]
fn in_the_shared_role_what_cannot_be_read_is_not_ours() {
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_role(Role::Shared));
    for other in [&b"\r\n\r\n"[..], b"\0\0\0\0", b"\x00\x01\x00\x00\x21\x12\xa4\x42", b"hello", b"", &[b'x'; 70_000]] {
        assert_eq!(kit.receive(peer(), other), (Handled::NotOurs, vec![]), "{} bytes", other.len());
    }
    assert_eq!(*kit.endpoint.stats(), sip_events::Stats::default());
}

/// The other stack lives on.
#[test]
fn a_drained_endpoint_of_the_shared_role_keeps_only_what_was_its_own() {
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_role(Role::Shared));
    kit.add_bob();
    let mine = Request::subscribe("mine").bytes();
    kit.feed(peer(), &mine);
    kit.endpoint.close(kit.now, sip_events::Close::Terminate);
    let sent = kit.drain();
    assert_eq!(sent.iter().map(|s| s.status()).collect::<Vec<_>>(), [503]);
    assert!(kit.events.contains(&Event::Drained));
    assert_eq!(kit.receive(peer(), &mine), (refused(DropReason::Closed), vec![]));
    let foreign = Request { to: "<sip:bob@192.0.2.1>;tag=foreign", ..Request::new("BYE", "s6") };
    assert_eq!(kit.receive(peer(), foreign.bytes()), (Handled::NotOurs, vec![]));
    assert_eq!(kit.receive(peer(), b"\r\n\r\n"), (Handled::NotOurs, vec![]));
}

/// Where nobody can be reached, and who never asked, gets no answer: ports and
/// addresses of Via that are of no use count as absent.
#[test]
fn what_is_of_no_use_in_via_counts_as_absent() {
    for (via, goes) in [
        ("10.0.0.9:0;branch=z9hG4bKa", "198.51.100.7:5060"),
        ("10.0.0.9:0;rport;branch=z9hG4bKb", "198.51.100.7:5080"),
        ("10.0.0.9:9;maddr=0.0.0.0;branch=z9hG4bKc", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=255.255.255.255;branch=z9hG4bKd", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=224.0.1.75;ttl=255;branch=z9hG4bKe", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=127.0.0.1;branch=z9hG4bKf", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=[2001:db8::1];branch=z9hG4bKg", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=ff02::1;branch=z9hG4bKh", "198.51.100.7:9"),
        ("10.0.0.9:9;maddr=h.example.com;branch=z9hG4bKi", "198.51.100.7:9"),
        ("10.0.0.9:0;maddr=203.0.113.5;branch=z9hG4bKj", "203.0.113.5:5060"),
        ("10.0.0.9:9;received=127.0.0.1;rport=22;branch=z9hG4bKk", "198.51.100.7:5080"),
    ] {
        let mut kit = Kit::new();
        let request = Request { via: format!("SIP/2.0/UDP {via}"), ..Request::new("OPTIONS", "") };
        assert_eq!(kit.answer(peer(), request.bytes()).flow, Flow::udp(addr(LOCAL), addr(goes)), "{via}");
    }
    // Among processes of one host all is as usual.
    let mut kit = Kit::bare(Config::new("sip:me@127.0.0.1").unwrap());
    kit.endpoint.add_local(Transport::Udp, addr("127.0.0.1:5060"), None, None).unwrap();
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr("127.0.0.1:6000"));
    let via = "SIP/2.0/UDP 127.0.0.1:6000;maddr=127.0.0.1;branch=z9hG4bKl".to_owned();
    assert_eq!(kit.answer(flow, Request { via, ..Request::new("OPTIONS", "") }.bytes()).flow, flow);
}

/// Where `maddr` is not trusted, a request cannot have its response sent to
/// another host.
///
/// Covers: 3261-18.2.2-2
#[test]
fn maddr_of_via_may_be_left_aside() {
    let mut policy = Policy::default();
    policy.via_maddr = ViaMaddr::Source;
    for (via, goes) in [
        ("10.0.0.9:9;maddr=203.0.113.5;branch=z9hG4bKa", "198.51.100.7:9"),
        ("10.0.0.9;maddr=203.0.113.5;rport;branch=z9hG4bKb", "198.51.100.7:5080"),
        ("10.0.0.9;maddr=198.51.100.7;branch=z9hG4bKc", "198.51.100.7:5060"),
    ] {
        for (method, status) in [("OPTIONS", 200), ("INVITE", 405), ("SUBSCRIBE", 489)] {
            let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy));
            let request = Request { via: format!("SIP/2.0/UDP {via}"), ..Request::new(method, "") };
            let answer = kit.answer(peer(), request.bytes());
            assert_eq!((answer.flow, answer.status()), (Flow::udp(addr(LOCAL), addr(goes)), status), "{method} {via}");
            assert!(answer.field(HeaderName::Via).contains("maddr="));
        }
    }
}

/// The zone of a link-local peer is not in Via, yet it is needed to answer.
#[test]
fn link_local_peers_are_answered_in_their_zone() {
    let zoned = |text: &str, port| SocketAddr::V6(SocketAddrV6::new(text.parse().unwrap(), port, 0, 3));
    let (local, remote) = (zoned("fe80::1", 5060), zoned("fe80::7", 5080));
    let mut kit = Kit::bare(Config::new("sip:me@example.com").unwrap());
    kit.endpoint.add_local(Transport::Udp, local, None, None).unwrap();
    for (sent_by, port) in [("[fe80::7]:5090", 5090), ("[fe80::7]", 5060), ("[fe80::7]:5090;rport", 5080)] {
        let via = format!("SIP/2.0/UDP {sent_by};branch=z9hG4bKv");
        let answer = kit.answer(Flow::udp(local, remote), Request { via, ..Request::new("OPTIONS", "") }.bytes());
        assert_eq!(answer.flow, Flow::udp(local, zoned("fe80::7", port)), "{sent_by}");
        assert!(!answer.field(HeaderName::Via).contains('%'));
    }
    let sent = kit.subscribe(sip_events::Subscribe::new("sip:bob@[2001:db8::9]", "presence").unwrap());
    let text = String::from_utf8(sent[0].bytes.clone()).unwrap();
    assert!(text.contains("Via: SIP/2.0/UDP [fe80::1]:5060;") && text.contains("@[fe80::1]:5060>"), "{text}");
}

/// Covers: 3261-8.2.2.3-1
#[test]
fn unsupported_says_no_more_than_require_did() {
    let mut kit = Kit::notifier();
    for tags in ["a,".repeat(20_000) + "b", "x".repeat(40_000), "b, ".to_owned() + &"x".repeat(40_000)] {
        let more: &'static str = format!("Require: {tags}\r\n").leak();
        for request in [Request { more, ..Request::new("OPTIONS", "u") }, Request { more, ..Request::subscribe("u") }] {
            let answer = kit.answer(peer(), request.bytes());
            assert_eq!(answer.status(), 420);
            assert!(answer.bytes.len() <= 600, "{}: {}", request.method, answer.bytes.len());
            kit.run_millis(32_000);
        }
    }
}

/// Covers: 3261-8.2.6.2-2
#[test]
fn a_repeated_cancel_gets_the_same_answer() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request::subscribe("c1").bytes());
    let cancel = Request::new("CANCEL", "c1").bytes();
    let before = kit.answer(peer(), &cancel);
    kit.accept_all();
    assert_eq!(kit.answer(peer(), &cancel), before, "whatever was decided meanwhile");
    assert!(kit.run_millis(400).is_empty());
    // One for the NOTIFY transaction of a peer, which is answered at once.
    let notify = Request { to: "<sip:bob@192.0.2.1>;tag=none", ..Request::new("NOTIFY", "c2") };
    assert_eq!(kit.answer(peer(), notify.bytes()).status(), 400);
    let cancel = Request { to: "<sip:bob@192.0.2.1>;tag=none", ..Request::new("CANCEL", "c2") };
    let answer = kit.answer(peer(), cancel.bytes());
    assert_eq!((answer.status(), answer.field(HeaderName::To)), (200, "<sip:bob@192.0.2.1>;tag=none"));
    // RFC 2543: by everything but the branch.
    let via = "SIP/2.0/UDP 198.51.100.7:5080".to_owned();
    let old = Request { via: via.clone(), call_id: "old", ..Request::subscribe("x") };
    assert_eq!(kit.receive(peer(), old.bytes()).0, Handled::Consumed);
    for (call_id, uri, status) in [("old", old.uri, 200), ("other", old.uri, 481), ("old", "sip:b@192.0.2.1", 481)] {
        let cancel = Request { via: via.clone(), call_id, uri, ..Request::new("CANCEL", "x") };
        assert_eq!(kit.answer(peer(), cancel.bytes()).status(), status, "{call_id} {uri}");
    }
}
