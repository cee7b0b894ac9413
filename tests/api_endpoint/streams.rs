//! Streams: framing, opening, closing, back-pressure, large requests.

use sip_events::wire::{FramingLostReason, HeaderName, Method, Transport};
use sip_events::{
    Body, Config, ConnectFailure, ConnectId, Event, Flow, Handled, Io, Limits, Misuse, StreamId, Subscribe,
};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer, stream};

const FAR: &str = "198.51.100.7:33333";
const BOB: &str = "203.0.113.9:5060";

fn accepted(kit: &mut Kit, id: u64) -> Flow {
    let flow = stream(id, FAR);
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    flow
}

fn tcp(request: Request) -> Vec<u8> {
    Request { via: request.via.replace("UDP", "TCP"), ..request }.bytes()
}

fn over_tcp() -> Subscribe {
    Subscribe::new("sip:bob@203.0.113.9;transport=tcp", "presence").unwrap()
}

fn one_connect(kit: &mut Kit) -> (ConnectId, std::net::SocketAddr) {
    match kit.io()[..] {
        [Io::Connect { connect, transport: Transport::Tcp, remote, .. }] => (connect, remote),
        ref other => panic!("{other:?}"),
    }
}

/// Covers: 5626-3.5-1, 3261-7.5-2, 3261-18.2.2-1, 3261-18.3-5, ADV-P4, ADV-P30
#[test]
fn any_split_of_a_stream_gives_the_same_answers() {
    let mut bytes = b"\r\n\r\n".to_vec();
    bytes.extend(tcp(Request::new("OPTIONS", "f1")));
    bytes.extend(tcp(Request::new("FOO", "f2")));
    bytes.extend(b"\r\n\r\n");
    let mut whole: Option<Vec<Sent>> = None;
    for step in [1, 2, 3, 7, 50, 1000] {
        let mut kit = Kit::new();
        let flow = accepted(&mut kit, 1);
        let mut pings = 0;
        let mut sent = Vec::new();
        for chunk in bytes.chunks(step) {
            pings += kit.endpoint.handle_stream(kit.now, StreamId(1), chunk).unwrap().pings;
            sent.extend(kit.drain());
        }
        assert_eq!(pings, 2, "step {step}");
        assert!(sent.iter().all(|s| s.flow == flow));
        assert_eq!(sent[0].bytes, b"\r\n");
        assert_eq!((sent[1].status(), sent[2].status()), (200, 501));
        assert_eq!(sent[3].bytes, b"\r\n");
        assert_eq!(whole.get_or_insert(sent.clone()), &sent);
    }
}

/// Covers: 3261-18.3-5, ADV-P32
#[test]
fn lost_framing_is_answered_and_then_closed() {
    let rows = [
        (("Content-Length: 0\r\n", ""), Some(400), FramingLostReason::MissingContentLength),
        (("Content-Length: 0", "Content-Length: -1"), Some(400), FramingLostReason::BadContentLength),
        (("Content-Length: 0", "Content-Length: 99999999"), Some(413), FramingLostReason::BodyTooLong),
        (("OPTIONS ", "\x01"), None, FramingLostReason::NotSip),
    ];
    for ((from, to), status, reason) in rows {
        let mut kit = Kit::new();
        let flow = accepted(&mut kit, 1);
        let text = String::from_utf8(tcp(Request::new("OPTIONS", "l"))).unwrap().replacen(from, to, 1);
        let lost = kit.endpoint.handle_stream(kit.now, StreamId(1), text.as_bytes()).unwrap_err();
        assert_eq!(lost.reason, reason);
        // The answer is out before the close is asked for.
        if status.is_some() {
            assert!(kit.endpoint.poll_event().is_none());
        }
        let sent = kit.drain();
        assert_eq!(
            sent.iter().map(|s| (s.flow, s.status())).collect::<Vec<_>>(),
            status.map(|s| (flow, s)).into_iter().collect::<Vec<_>>()
        );
        assert_eq!(kit.io(), [Io::Close { stream: StreamId(1) }]);
        // What follows is ignored.
        let more = kit.endpoint.handle_stream(kit.now, StreamId(1), &tcp(Request::new("OPTIONS", "m"))).unwrap();
        assert_eq!((more.consumed, more.dropped), (0, 0));
        assert!(kit.drain().is_empty());
        kit.endpoint.handle_stream_closed(kit.now, StreamId(1)).unwrap();
        assert_eq!(kit.endpoint.handle_stream_closed(kit.now, StreamId(1)), Err(Misuse::StaleId));
    }
}

/// Covers: 3261-18.1.1-6
#[test]
fn nothing_is_sent_before_a_connection_is_open_and_it_is_reused() {
    let mut kit = Kit::new();
    assert!(kit.subscribe(over_tcp()).is_empty());
    assert!(kit.subscribe(over_tcp()).is_empty());
    let (connect, remote) = one_connect(&mut kit);
    assert_eq!(remote, addr(BOB));
    let flow = stream(5, BOB);
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    let sent = kit.drain();
    assert_eq!(sent.len(), 2);
    for s in &sent {
        assert_eq!(s.flow, flow);
        assert!(s.field(HeaderName::Via).starts_with("SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK"));
        assert!(!s.field(HeaderName::Via).contains("rport"));
    }
    let third = kit.subscribe(over_tcp());
    assert_eq!((third.len(), third[0].flow), (1, flow));
    assert!(kit.io().is_empty(), "no second connection");
    assert!(kit.run_millis(31_000).is_empty(), "no retransmission on a stream");
    // Answers on the stream, in one chunk; Timer K is zero.
    let answers: Vec<u8> = sent.iter().flat_map(|s| s.answer("200 OK", "Expires: 600\r\n")).collect();
    assert_eq!(kit.endpoint.handle_stream(kit.now, StreamId(5), &answers).unwrap().consumed, 2);
    kit.drain();
    assert_eq!(kit.endpoint.transactions(), (1, 0));
    kit.run_millis(1_000);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}

/// Covers: 3261-8.1.3.1-1
#[test]
fn a_request_whose_connection_fails_or_never_comes_ends() {
    let mut kit = Kit::new();
    kit.subscribe(over_tcp());
    let (connect, _) = one_connect(&mut kit);
    kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Refused).unwrap();
    kit.drain();
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    let stale = kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Refused);
    assert_eq!(stale, Err(Misuse::StaleId));
    let mut kit = Kit::new();
    kit.subscribe(over_tcp());
    kit.run_millis(31_999);
    assert_eq!(kit.endpoint.transactions(), (1, 0));
    kit.run_millis(1);
    assert_eq!(kit.endpoint.transactions(), (0, 0), "Timer F runs while it waits");
}

/// Covers: ADV-E5
#[test]
fn a_closed_stream_fails_what_was_open_on_it() {
    let mut kit = Kit::new();
    kit.subscribe(over_tcp());
    let (connect, _) = one_connect(&mut kit);
    let flow = stream(5, BOB);
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    assert_eq!(kit.drain().len(), 1);
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    kit.drain();
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    assert!(kit.io().contains(&Io::FlowGone { flow, subscriptions: 1, watchers: 0 }));
}

fn large() -> Subscribe {
    let body = Body::new("application/simple-filter+xml", vec![b'x'; 1_200]);
    Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap().body(body)
}

/// Covers: 3261-18.1.1-1
#[test]
fn the_largest_datagram_has_1300_bytes() {
    let sized = |len: usize| {
        let mut kit = Kit::new();
        let body = Body::new("text/plain", vec![b'x'; len]);
        let sent = kit.subscribe(Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap().body(body));
        (sent.first().map(|s| s.bytes.len()), kit.io().len())
    };
    let (Some(base), 0) = sized(700) else { panic!() };
    let room = 1_300 - base + 700;
    assert_eq!(sized(room), (Some(1_300), 0));
    assert_eq!(sized(room + 1), (None, 1));
}

/// Covers: 3261-18.1.1-1, 3261-18.1.1-2
#[test]
fn a_large_request_takes_a_stream_and_falls_back() {
    let mut kit = Kit::new();
    assert!(kit.subscribe(large()).is_empty());
    let (connect, remote) = one_connect(&mut kit);
    assert_eq!(remote, addr(BOB));
    let flow = stream(9, BOB);
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    let sent = kit.drain();
    assert_eq!((sent.len(), sent[0].flow), (1, flow));
    assert!(sent[0].field(HeaderName::Via).starts_with("SIP/2.0/TCP "));
    assert_eq!(sent[0].message().body().len(), 1_200);
    // An open stream is used at once.
    assert_eq!(kit.subscribe(large())[0].flow, flow);
    // Refused: as a datagram after all, and retransmitted like one.
    let mut kit = Kit::new();
    kit.subscribe(large());
    let (connect, _) = one_connect(&mut kit);
    kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Refused).unwrap();
    let sent = kit.drain();
    assert_eq!((sent.len(), sent[0].flow), (1, Flow::udp(addr(LOCAL), addr(BOB))));
    assert!(sent[0].field(HeaderName::Via).starts_with("SIP/2.0/UDP "));
    assert_eq!(kit.run_millis(500).remove(0).1.bytes, sent[0].bytes);
    // Nothing is heard of the connection: T2 is long enough.
    let mut kit = Kit::new();
    kit.subscribe(large());
    let sent = kit.run_millis(4_000);
    assert_eq!((sent.len(), sent[0].0.as_millis()), (1, 4_000));
    assert_eq!(sent[0].1.flow.transport, Transport::Udp);
    // Without TCP there is no choice.
    let mut kit = Kit::bare(Config::new("sip:me@192.0.2.1").unwrap());
    kit.endpoint.add_local(Transport::Udp, addr(LOCAL), None, None).unwrap();
    assert!(kit.subscribe(large())[0].bytes.len() > 1_300);
}

#[test]
fn a_stream_that_cannot_be_written_to_yields_nothing() {
    let mut kit = Kit::notifier();
    let flow = accepted(&mut kit, 3);
    kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
    let mut bytes = tcp(Request::new("OPTIONS", "b1"));
    bytes.extend(b"\r\n\r\n");
    kit.endpoint.handle_stream(kit.now, StreamId(3), &bytes).unwrap();
    assert!(kit.drain().is_empty());
    assert_eq!(kit.endpoint.poll_timeout(), None, "nothing to do for the blocked stream");
    assert_eq!(kit.answer(peer(), Request::new("OPTIONS", "b2").bytes()).status(), 200, "others are served");
    kit.endpoint.set_writable(kit.now, StreamId(3), true).unwrap();
    let sent = kit.drain();
    assert_eq!((sent.len(), sent[0].status(), sent[0].flow), (2, 200, flow));
    assert_eq!(kit.endpoint.set_writable(kit.now, StreamId(4), true), Err(Misuse::StaleId));
}

/// Covers: 3261-18.2.2-1, 3261-17.2.2-5
#[test]
fn the_answer_to_a_closed_stream_takes_a_new_one() {
    let mut kit = Kit::notifier();
    let flow = accepted(&mut kit, 3);
    kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(Request::subscribe("n1"))).unwrap();
    kit.drain();
    kit.endpoint.handle_stream_closed(kit.now, StreamId(3)).unwrap();
    let sent = kit.accept_all();
    assert!(sent.iter().all(|s| s.flow != flow), "{sent:?}");
    let connects: Vec<_> = kit
        .io()
        .into_iter()
        .filter_map(|io| match io {
            Io::Connect { connect, remote, .. } => Some((connect, remote)),
            _ => None,
        })
        .collect();
    // To sent-by's port at the address that the request came from.
    let (connect, _) = *connects.iter().find(|(_, remote)| *remote == addr("198.51.100.7:5080")).unwrap();
    let back = stream(4, "198.51.100.7:5080");
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), back).unwrap();
    let sent = kit.drain();
    let answer = sent.iter().find(|s| s.message().status().is_some()).unwrap();
    assert_eq!((answer.status(), answer.flow), (200, back));
    assert_eq!(kit.endpoint.transactions().1, 0, "gone once written");
}

/// Trap: merely receiving and accepting a SUBSCRIBE opens no connection while
/// its own is there.
#[test]
fn accepting_opens_no_connection() {
    let mut kit = Kit::notifier();
    let flow = accepted(&mut kit, 3);
    kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(Request::subscribe("n1"))).unwrap();
    kit.drain();
    let sent = kit.accept_all();
    assert_eq!((sent[0].status(), sent[0].flow), (200, flow));
    assert_eq!(kit.endpoint.transactions().1, 0, "Timer J is zero on streams");
    let methods: Vec<_> = sent.iter().filter_map(|s| s.message().method()).collect();
    assert!(methods.iter().all(|m| *m == Method::Notify));
    assert!(sent.iter().all(|s| s.flow == flow || s.flow.transport == Transport::Udp));
}

#[test]
fn mistakes_of_the_driver_are_told() {
    let mut limits = Limits::default();
    limits.streams = 1;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    accepted(&mut kit, 1);
    assert_eq!(kit.endpoint.handle_stream_opened(kit.now, None, stream(1, FAR)), Err(Misuse::WrongState));
    assert_eq!(kit.endpoint.handle_stream_opened(kit.now, None, peer()), Err(Misuse::BadValue));
    assert_eq!(kit.endpoint.handle_stream_opened(kit.now, None, stream(2, FAR)), Err(Misuse::Limit));
    kit.drain();
    assert_eq!(kit.io(), [Io::Close { stream: StreamId(2) }]);
    let unknown = kit.endpoint.handle_stream(kit.now, StreamId(9), &tcp(Request::new("OPTIONS", "z"))).unwrap();
    assert_eq!((unknown.consumed, kit.drain().len()), (0, 0));
    // No room for a stream of our own.
    kit.subscribe(over_tcp());
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    // A WebSocket frames its messages: they come whole.
    let ws = Flow::stream(Transport::Ws, addr(LOCAL), addr(FAR), StreamId(1));
    let (handled, _) = kit.receive(ws, Request::new("OPTIONS", "ws").bytes());
    assert_eq!(handled, Handled::Consumed);
    assert!(kit.events.iter().all(|e| !matches!(e, Event::Io(_))));
}

/// Covers: ADV-P26
#[test]
fn idle_and_stuck_streams_can_be_told() {
    let mut kit = Kit::new();
    accepted(&mut kit, 1);
    let (opened, id) = (kit.now, StreamId(1));
    assert_eq!(kit.endpoint.stream_info(id).unwrap().last_activity, None);
    kit.endpoint.handle_stream(kit.now, id, b"OPTIONS sip:").unwrap();
    kit.run_millis(5_000);
    kit.endpoint.handle_stream(kit.now, id, b"b").unwrap();
    let info = kit.endpoint.stream_info(id).unwrap();
    assert_eq!((info.last_activity, info.unfinished_since), (Some(kit.now), Some(opened)));
    assert_eq!(info.requests, 0);
    assert_eq!(kit.endpoint.stream_info(StreamId(2)), Err(Misuse::StaleId));
}

const BY_TCP: &str = "Contact: <sip:alice@198.51.100.7:5080;transport=tcp>\r\nEvent: presence\r\nExpires: 600\r\n";

/// The answer and the NOTIFY wait for one connection: the answer goes first
/// (6665-4.2.1.2-1).
#[test]
fn an_answer_that_waits_for_a_connection_goes_before_its_notify() {
    let mut kit = Kit::notifier();
    accepted(&mut kit, 3);
    let request = Request { more: BY_TCP, ..Request::subscribe("n1") };
    kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(request)).unwrap();
    kit.drain();
    kit.endpoint.handle_stream_closed(kit.now, StreamId(3)).unwrap();
    assert!(kit.accept_all().is_empty());
    let connects: Vec<_> = kit.io().into_iter().filter(|io| matches!(io, Io::Connect { .. })).collect();
    let [Io::Connect { connect, remote, .. }] = connects[..] else { panic!("{connects:?}") };
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), stream(4, &remote.to_string())).unwrap();
    let sent = kit.drain();
    let statuses: Vec<_> = sent.iter().map(|s| s.message().status().map(|s| s.as_u16())).collect();
    assert_eq!(statuses, [Some(200), None]);
}

/// A browser cannot be connected to.
#[test]
fn the_answer_to_a_closed_websocket_takes_no_new_one() {
    let mut kit = Kit::notifier();
    kit.endpoint.add_local(Transport::Ws, addr("192.0.2.1:80"), None, None).unwrap();
    let ws = Flow::stream(Transport::Ws, addr("192.0.2.1:80"), addr(FAR), StreamId(1));
    kit.endpoint.handle_stream_opened(kit.now, None, ws).unwrap();
    let request = Request::subscribe("w");
    let request = Request { via: "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKw".into(), ..request };
    kit.feed(ws, request.bytes());
    kit.endpoint.handle_stream_closed(kit.now, StreamId(1)).unwrap();
    kit.drain();
    kit.accept_all();
    let connects = kit.io();
    assert!(!connects.iter().any(|io| matches!(io, Io::Connect { transport: Transport::Ws, .. })), "{connects:?}");
    assert_eq!(kit.endpoint.transactions().1, 0);
}

/// A request that waits to be polled does not go along a stream whose framing
/// is lost: its answer would never be read.
#[test]
fn nothing_is_sent_on_a_stream_that_is_being_closed() {
    let mut kit = Kit::new();
    kit.subscribe(over_tcp());
    let (connect, _) = one_connect(&mut kit);
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), stream(5, BOB)).unwrap();
    kit.endpoint.handle_stream(kit.now, StreamId(5), b"\x01").unwrap_err();
    assert!(kit.drain().is_empty());
}

/// Covers: 3261-18.2.2-1
#[test]
fn what_a_blocked_stream_held_back_is_not_lost_with_it() {
    // A 100 that could not be written ends no transaction, a final answer
    // takes a new connection.
    for waits in [3_500, 0] {
        let mut timers = sip_events::Timers::default();
        timers.decision = std::time::Duration::from_secs(10);
        let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_timers(timers).unwrap());
        kit.add_bob();
        accepted(&mut kit, 3);
        kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(Request::subscribe("n1"))).unwrap();
        kit.drain();
        kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
        assert!(kit.run_millis(waits).is_empty());
        if waits == 0 {
            assert!(kit.accept_all().iter().all(|s| s.message().status().is_none()));
        }
        kit.endpoint.handle_stream_closed(kit.now, StreamId(3)).unwrap();
        kit.drain();
        assert_eq!(kit.endpoint.transactions().1, 1);
        kit.accept_all();
        let connects = kit.io();
        let connect = connects.iter().find_map(|io| match io {
            Io::Connect { connect, remote, .. } if *remote == addr("198.51.100.7:5080") => Some(*connect),
            _ => None,
        });
        let back = stream(4, "198.51.100.7:5080");
        kit.endpoint.handle_stream_opened(kit.now, Some(connect.unwrap()), back).unwrap();
        let sent = kit.drain();
        assert_eq!((sent[0].status(), sent[0].flow), (200, back));
    }
}

/// A peer that sends and does not read takes a bounded share, and nothing from
/// others.
///
/// Covers: ADV-N6
#[test]
fn a_peer_that_does_not_read_starves_nobody() {
    let mut kit = Kit::notifier();
    accepted(&mut kit, 3);
    kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
    for round in 0..100 {
        let bytes: Vec<u8> = (0..100).flat_map(|n| tcp(Request::new("OPTIONS", &format!("{round}x{n}")))).collect();
        kit.endpoint.handle_stream(kit.now, StreamId(3), &bytes).unwrap();
        assert!(kit.drain().is_empty());
    }
    assert_eq!(kit.answer(peer(), Request::new("OPTIONS", "b2").bytes()).status(), 200, "others are served");
    kit.endpoint.set_writable(kit.now, StreamId(3), true).unwrap();
    let held = kit.drain().len();
    assert!((64..=1_024).contains(&held), "{held}");
}

/// The answer to what broke the framing cannot be written: the stream is
/// closed without it.
#[test]
fn lost_framing_on_a_blocked_stream_closes_it_at_once() {
    let mut kit = Kit::new();
    accepted(&mut kit, 3);
    kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
    let text = String::from_utf8(tcp(Request::new("OPTIONS", "l"))).unwrap().replace("Content-Length: 0\r\n", "");
    kit.endpoint.handle_stream(kit.now, StreamId(3), text.as_bytes()).unwrap_err();
    assert!(kit.drain().is_empty());
    assert_eq!(kit.io(), [Io::Close { stream: StreamId(3) }]);
}

/// A peer that reads nothing and names many ports gets few connections to
/// itself, not the whole table of streams.
#[test]
fn answers_of_a_closed_stream_open_few_connections() {
    let mut kit = Kit::notifier();
    accepted(&mut kit, 3);
    kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
    for port in 1..=200 {
        let via = format!("SIP/2.0/TCP 198.51.100.7:{port};branch=z9hG4bKp{port}");
        let request = Request { via, uri: "sip:nobody@192.0.2.1", ..Request::subscribe("") };
        let call_id = format!("Call-ID: p{port}\r\n");
        let text = String::from_utf8(request.bytes()).unwrap().replace("Call-ID: c1@198.51.100.7\r\n", &call_id);
        kit.endpoint.handle_stream(kit.now, StreamId(3), text.as_bytes()).unwrap();
        assert!(kit.drain().is_empty());
    }
    assert_eq!(kit.endpoint.transactions().1, 200);
    kit.endpoint.handle_stream_closed(kit.now, StreamId(3)).unwrap();
    kit.drain();
    let connects = kit.io().iter().filter(|io| matches!(io, Io::Connect { .. })).count();
    assert!((1..=16).contains(&connects), "{connects}");
    assert_eq!(kit.endpoint.transactions().1 as usize, connects);
}

/// `Drained` waits for an answer that waits for a connection, or for
/// writability, and no driver spins meanwhile.
#[test]
fn drained_waits_for_an_answer_that_waits_for_a_connection() {
    for opens in [true, false] {
        let mut kit = Kit::notifier();
        accepted(&mut kit, 3);
        kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(Request::subscribe("n1"))).unwrap();
        kit.drain();
        kit.events.clear();
        kit.endpoint.handle_stream_closed(kit.now, StreamId(3)).unwrap();
        kit.endpoint.close(kit.now, sip_events::Close::Terminate);
        assert!(kit.drain().is_empty());
        let is_drained = |kit: &Kit| kit.events.contains(&sip_events::Event::Drained);
        assert!(!is_drained(&kit));
        let (connect, remote) = one_connect(&mut kit);
        assert_eq!(remote, addr("198.51.100.7:5080"));
        kit.run_millis(1_000);
        assert!(!is_drained(&kit));
        if opens {
            kit.endpoint.handle_stream_opened(kit.now, Some(connect), stream(4, "198.51.100.7:5080")).unwrap();
            assert_eq!(kit.drain()[0].status(), 503);
        } else {
            kit.endpoint.handle_connect_failed(kit.now, connect, sip_events::ConnectFailure::Refused).unwrap();
            assert!(kit.drain().is_empty());
        }
        assert!(is_drained(&kit));
    }
    // A stream that is never read again holds it up for 64*T1.
    let mut kit = Kit::notifier();
    accepted(&mut kit, 3);
    kit.endpoint.handle_stream(kit.now, StreamId(3), &tcp(Request::subscribe("n1"))).unwrap();
    kit.drain();
    kit.endpoint.set_writable(kit.now, StreamId(3), false).unwrap();
    kit.endpoint.close(kit.now, sip_events::Close::Terminate);
    kit.drain();
    kit.run_millis(31_999);
    assert!(!kit.events.contains(&sip_events::Event::Drained));
    kit.run_millis(1);
    kit.drain();
    assert!(kit.events.contains(&sip_events::Event::Drained));
}
