//! Each limit, reached once: the answer that `docs/limits.md` promises, and that
//! nothing else has changed. Then what goes to addresses that did not ask.
//!
//! Covers: PEER-A06, ADV-E11, ADV-P5, ADV-P25, ADV-P26

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Answer, Body, Config, Decision, DropReason, Endpoint, Event, Flow, Handled, IncomingId, Instant, Io, Limits,
    Misuse, Packages, Policy, ResolveFailure, ResourceKey, Seed, StreamId, Subscribe, Unproven, View, WatcherId,
};

const LOCAL: &str = "192.0.2.1:5060";
const PEER: &str = "198.51.100.7:5080";
const BOB: &str = "sip:bob@192.0.2.1";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(peer: &str) -> Flow {
    Flow::udp(addr(LOCAL), addr(peer))
}

struct Rig {
    endpoint: Endpoint,
    now: Instant,
    events: Vec<Event>,
    number: u32,
}

type Sent = (Flow, Vec<u8>);

fn rig(limit: impl FnOnce(&mut Limits)) -> Rig {
    rig_with(limit, |_| {})
}

fn rig_with(limit: impl FnOnce(&mut Limits), policy: impl FnOnce(&mut Policy)) -> Rig {
    let mut config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
    limit(&mut config.limits);
    policy(&mut config.policy);
    let now = Instant::from_secs(1000);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), now);
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
    }
    let bob = endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    endpoint.set_state(now, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
    Rig { endpoint, now, events: Vec::new(), number: 0 }
}

impl Rig {
    fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let before = (sent.len(), self.events.len());
            let mut bytes = Vec::new();
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut bytes) {
                transmit.append_body(&mut bytes);
                sent.push((transmit.flow, std::mem::take(&mut bytes)));
            }
            while let Some(event) = self.endpoint.poll_event() {
                self.events.push(event);
            }
            if before == (sent.len(), self.events.len()) {
                return sent;
            }
        }
    }

    /// A SUBSCRIBE with further lines; `Expires` and the rest are given.
    fn text(&mut self, contact: &str, more: &str) -> Vec<u8> {
        self.number += 1;
        let n = self.number;
        format!(
            "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:ann@example.com>;tag=a{n}\r\nTo: <{BOB}>\r\nCall-ID: {n}\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <{contact}>\r\nEvent: presence\r\n{more}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn feed(&mut self, flow: Flow, bytes: &[u8]) -> (Handled, Vec<Sent>) {
        let handled = self.endpoint.handle_message(self.now, flow, bytes);
        (handled, self.drain())
    }

    /// A SUBSCRIBE from `peer`, its Contact there; what is sent for it.
    fn ask(&mut self, peer: &str) -> Vec<Sent> {
        let text = self.text(&format!("sip:ann@{peer}"), "Expires: 600\r\n");
        self.feed(udp(peer), &text).1
    }

    fn incoming(&mut self) -> Option<IncomingId> {
        let at = self.events.iter().position(|event| matches!(event, Event::Subscribe(_)))?;
        match self.events.remove(at) {
            Event::Subscribe(id) => Some(id),
            _ => None,
        }
    }

    fn accept(&mut self) -> (WatcherId, Vec<Sent>) {
        let id = self.incoming().expect("a SUBSCRIBE waits");
        let watcher = self.endpoint.accept(self.now, id, Decision::ACCEPT).unwrap();
        (watcher, self.drain())
    }

    fn watch(&mut self, peer: &str) -> (WatcherId, Vec<Sent>) {
        assert_eq!(self.ask(peer), Vec::new());
        self.accept()
    }

    /// Time passes, wake-up by wake-up.
    fn run(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }
}

fn text(sent: &Sent) -> String {
    String::from_utf8_lossy(&sent.1).into_owned()
}

fn status(sent: &[Sent]) -> u16 {
    assert_eq!(sent.len(), 1, "{:?}", sent.iter().map(text).collect::<Vec<_>>());
    Message::parse(&sent[0].1).unwrap().status().expect("a response").as_u16()
}

/// 503 with Retry-After.
fn is_busy(sent: &[Sent]) -> bool {
    status(sent) == 503 && text(&sent[0]).contains("\r\nRetry-After: 10\r\n")
}

fn answer(request: &Sent, status: &str) -> Vec<u8> {
    let message = Message::parse(&request.1).unwrap();
    let mut out = format!("SIP/2.0 {status}\r\n").into_bytes();
    let names = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
    for (name, label) in names.into_iter().zip(["Via", "From", "To", "Call-ID", "CSeq"]) {
        let value = String::from_utf8_lossy(message.field(name, 0).unwrap()).into_owned();
        let tag = if label == "To" && !value.contains("tag=") { ";tag=theirs" } else { "" };
        out.extend(format!("{label}: {value}{tag}\r\n").into_bytes());
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    out
}

#[test]
fn watchers() {
    let mut rig = rig(|limits| limits.watchers = 2);
    rig.watch(PEER);
    rig.watch(PEER);
    assert!(is_busy(&rig.ask(PEER)));
    assert_eq!(rig.endpoint.agent().counts(), (0, 2, 1, 0));
}

#[test]
fn watchers_that_came_before_the_last_stay_undecided() {
    let mut rig = rig(|limits| limits.watchers = 1);
    rig.ask(PEER);
    rig.ask(PEER);
    rig.accept();
    let second = rig.incoming().unwrap();
    assert_eq!(rig.endpoint.accept(rig.now, second, Decision::ACCEPT), Err(Misuse::Limit));
    assert!(rig.endpoint.incoming(second).is_ok());
}

#[test]
fn watchers_of_one_resource() {
    let mut rig = rig(|limits| limits.watchers_per_resource = 1);
    rig.watch(PEER);
    assert!(is_busy(&rig.ask(PEER)));
}

#[test]
fn watchers_of_one_source() {
    let mut rig = rig(|limits| limits.watchers_per_source = 2);
    let (first, sent) = rig.watch(PEER);
    let _ = rig.feed(udp(PEER), &answer(&sent[1], "200 OK"));
    // Undecided ones count; another port is the same source, another address is not.
    assert!(rig.ask("198.51.100.7:9999").is_empty());
    assert!(is_busy(&rig.ask(PEER)));
    assert!(rig.ask("198.51.100.8:5080").is_empty());
    // A refresh is not refused for it.
    let ok = text(&sent[0]);
    let tag = ok.split("To: ").nth(1).unwrap().split(";tag=").nth(1).unwrap().split('\r').next().unwrap();
    let refresh = format!(
        "SUBSCRIBE sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch=z9hG4bKr\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@example.com>;tag=a1\r\nTo: <{BOB}>;tag={tag}\r\nCall-ID: 1\r\nCSeq: 2 SUBSCRIBE\r\n\
         Contact: <sip:ann@{PEER}>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    );
    let (_, sent) = rig.feed(udp(PEER), refresh.as_bytes());
    assert!(text(&sent[0]).starts_with("SIP/2.0 200"));
    let _ = rig.feed(udp(PEER), &answer(&sent[1], "200 OK"));
    // One that ends leaves its place, and so does one that is refused.
    rig.endpoint.terminate(rig.now, first, &sip_events::Reason::Deactivated, None).unwrap();
    let sent = rig.drain();
    let _ = rig.feed(udp(PEER), &answer(&sent[0], "200 OK"));
    assert!(rig.ask(PEER).is_empty());
    for _ in 0..3 {
        let id = rig.incoming().unwrap();
        let no = sip_events::package::Reject::new(sip_events::wire::StatusCode::FORBIDDEN);
        rig.endpoint.reject(rig.now, id, no).unwrap();
    }
    rig.drain();
    assert!(rig.ask(PEER).is_empty());
    assert!(rig.ask(PEER).is_empty());
    assert!(is_busy(&rig.ask(PEER)));
}

#[test]
fn incoming() {
    let mut rig = rig(|limits| limits.incoming = 1);
    rig.ask(PEER);
    assert!(is_busy(&rig.ask(PEER)));
    rig.accept();
    assert!(rig.ask(PEER).is_empty());
}

#[test]
fn events() {
    let mut rig = rig(|limits| limits.events = 1);
    let (a, b) = (rig.text("sip:a@198.51.100.7", ""), rig.text("sip:a@198.51.100.7", ""));
    let _ = rig.endpoint.handle_message(rig.now, udp(PEER), &a);
    let _ = rig.endpoint.handle_message(rig.now, udp(PEER), &b);
    assert!(is_busy(&rig.drain()));
}

#[test]
fn resources() {
    let mut rig = rig(|limits| limits.resources = 2);
    let key = |n: u32| ResourceKey::new(&format!("sip:r{n}@192.0.2.1"), "presence").unwrap();
    rig.endpoint.add_resource(&key(1)).unwrap();
    assert_eq!(rig.endpoint.add_resource(&key(2)), Err(Misuse::Limit));
}

#[test]
fn unknown_resources_that_are_asked_about() {
    let ask = |policy: &mut Policy| policy.unknown_resource = sip_events::UnknownResource::Ask;
    let mut rig = rig_with(|limits| limits.resources = 1, ask);
    let other = String::from_utf8(rig.text("sip:a@198.51.100.7", "")).unwrap().replace(BOB, "sip:carol@192.0.2.1");
    assert!(is_busy(&rig.feed(udp(PEER), other.as_bytes()).1));
}

#[test]
fn subscriptions_and_forks() {
    let mut rig = rig(|limits| limits.subscriptions = 1);
    let request = || Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap();
    rig.endpoint.subscribe(rig.now, request()).unwrap();
    assert_eq!(rig.endpoint.subscribe(rig.now, request()), Err(Misuse::Limit));
    let sent = rig.drain();
    let message = Message::parse(&sent[0].1).unwrap();
    let field = |name| String::from_utf8_lossy(message.field(name, 0).unwrap()).into_owned();
    let notify = |tag: &str| {
        format!(
            "NOTIFY sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{tag}\r\nMax-Forwards: 70\r\n\
             From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\nContact: <sip:bob@{PEER}>\r\n\
             Event: presence\r\nSubscription-State: active\r\nContent-Length: 0\r\n\r\n",
            field(HeaderName::To),
            field(HeaderName::From),
            field(HeaderName::CallId)
        )
    };
    assert_eq!(status(&rig.feed(udp(PEER), notify("first").as_bytes()).1), 200);
    assert_eq!(status(&rig.feed(udp(PEER), notify("second").as_bytes()).1), 481);
}

#[test]
fn flows() {
    let mut rig = rig(|limits| limits.flows = 1);
    rig.watch(PEER);
    rig.ask("198.51.100.7:5081");
    let second = rig.incoming().unwrap();
    assert_eq!(rig.endpoint.accept(rig.now, second, Decision::ACCEPT), Err(Misuse::Limit));
}

#[test]
fn body() {
    let mut rig = rig(|limits| limits.body = 10);
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    let long = Body::new("application/pidf+xml", "<longer than ten/>");
    assert_eq!(rig.endpoint.set_state(rig.now, bob, long), Err(Misuse::Limit));
    let subscribe = String::from_utf8(rig.text("sip:a@198.51.100.7", "")).unwrap();
    let long = subscribe.replace("Content-Length: 0\r\n\r\n", "Content-Length: 11\r\n\r\n12345678901");
    assert_eq!(status(&rig.feed(udp(PEER), long.as_bytes()).1), 413);
    // On a stream it is refused at the head: nothing of it is kept.
    let flow = Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(1));
    rig.endpoint.handle_stream_opened(rig.now, None, flow).unwrap();
    let head = String::from_utf8(rig.text("sip:a@198.51.100.7", "")).unwrap().replace("h: 0", "h: 99999999");
    assert!(rig.endpoint.handle_stream(rig.now, StreamId(1), head.as_bytes()).is_err());
    assert_eq!(status(&rig.drain()), 413);
    assert_eq!(rig.events, [Event::Io(Io::Close { stream: StreamId(1) })]);
}

#[test]
fn dialog() {
    let mut rig = rig(|limits| limits.dialog = 200);
    let long = rig.text(&format!("sip:{}@198.51.100.7", "a".repeat(200)), "");
    assert_eq!(status(&rig.feed(udp(PEER), &long).1), 513);
    assert_eq!(rig.endpoint.agent().counts(), (0, 0, 1, 0));
}

#[test]
fn stream_head() {
    let mut rig = rig(|limits| limits.stream_head = 1_000);
    let flow = Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(1));
    rig.endpoint.handle_stream_opened(rig.now, None, flow).unwrap();
    let long = rig.text("sip:a@198.51.100.7", &format!("X: {}\r\n", "x".repeat(1_000)));
    assert!(rig.endpoint.handle_stream(rig.now, StreamId(1), &long).is_err());
    assert_eq!(status(&rig.drain()), 513);
    assert_eq!(rig.events, [Event::Io(Io::Close { stream: StreamId(1) })]);
}

/// Covers: ADV-P26
#[test]
fn streams() {
    let mut rig = rig(|limits| limits.streams = 1);
    let flow = |id| Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(id));
    rig.endpoint.handle_stream_opened(rig.now, None, flow(1)).unwrap();
    assert_eq!(rig.endpoint.handle_stream_opened(rig.now, None, flow(2)), Err(Misuse::Limit));
    rig.drain();
    assert_eq!(rig.events, [Event::Io(Io::Close { stream: StreamId(2) })]);
}

#[test]
fn server_transactions() {
    let mut rig = rig(|limits| limits.server_transactions = 1);
    rig.ask(PEER);
    let text = rig.text("sip:a@198.51.100.7", "");
    let (handled, sent) = rig.feed(udp(PEER), &text);
    assert_eq!(handled, Handled::Dropped(DropReason::Overload));
    assert!(is_busy(&sent));
    assert_eq!(rig.endpoint.transactions(), (0, 1));
}

#[test]
fn client_transactions() {
    let mut rig = rig(|limits| limits.client_transactions = 1);
    for n in 0..2 {
        let request = Subscribe::new(&format!("sip:u{n}@198.51.100.7:5080"), "presence").unwrap();
        rig.endpoint.subscribe(rig.now, request).unwrap();
    }
    let first = rig.drain();
    assert_eq!(first.len(), 1);
    // An answer of ours still goes.
    assert!(rig.ask(PEER).is_empty());
    let id = rig.incoming().unwrap();
    let no = sip_events::package::Reject::new(sip_events::wire::StatusCode::FORBIDDEN);
    rig.endpoint.reject(rig.now, id, no).unwrap();
    assert_eq!(status(&rig.drain()), 403);
    // The second goes once the first is over: Timer K keeps its place for T4.
    let _ = rig.feed(udp(PEER), &answer(&first[0], "404 Not Found"));
    let sent = rig.run(Duration::from_secs(6));
    assert!(sent.iter().any(|sent| text(sent).starts_with("SUBSCRIBE sip:u1@")));
}

#[test]
fn resolved() {
    let mut rig = rig(|limits| limits.resolved = 1);
    for n in 0..2 {
        let request = Subscribe::new(&format!("sip:a@host{n}.example"), "presence").unwrap();
        rig.endpoint.subscribe(rig.now, request).unwrap();
    }
    rig.drain();
    let asked = rig.events.iter().filter(|event| matches!(event, Event::Io(Io::Resolve { .. }))).count();
    assert_eq!(asked, 1);
    let failed = |event: &Event| matches!(event, Event::Terminated { .. } | Event::Retrying { .. });
    assert_eq!(rig.events.iter().filter(|event| failed(event)).count(), 1);
    let query = rig.events.iter().find_map(|event| match event {
        Event::Io(Io::Resolve { query, .. }) => Some(*query),
        _ => None,
    });
    let answer = Answer::Failed(ResolveFailure::NotFound);
    rig.endpoint.handle_resolved(rig.now, query.unwrap(), answer).unwrap();
}

#[test]
fn notify_windows() {
    let mut rig = rig(|limits| (limits.notify_window, limits.notify_window_per_flow) = (3, 2));
    let peers: Vec<String> = (0..4).map(|n| format!("198.51.100.{}:5080", n / 2 + 1)).collect();
    for peer in &peers {
        let (_, sent) = rig.watch(peer);
        // Those that answer a SUBSCRIBE go at once.
        assert!(text(&sent[1]).starts_with("NOTIFY"));
        let _ = rig.feed(udp(peer), &answer(&sent[1], "200 OK"));
    }
    rig.run(Duration::from_secs(6));
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, bob, Body::new("application/pidf+xml", "<b/>")).unwrap();
    let sent = rig.drain();
    assert_eq!(sent.len(), 3);
    // T1 later the window is open again.
    let fresh = rig.run(Duration::from_millis(500));
    let fresh: Vec<_> = fresh.iter().filter(|new| !sent.iter().any(|old| old.1 == new.1)).collect();
    assert_eq!(fresh.len(), 1);
}

/// Whoever has an IPv6 network has one share, not one for each address.
#[test]
fn watchers_of_one_network() {
    let mut rig = rig(|limits| limits.watchers_per_source = 2);
    let local = "[2001:db8:1::1]:5060".parse().unwrap();
    rig.endpoint.add_local(Transport::Udp, local, None, None).unwrap();
    let mut ask = |peer: &str| {
        let text = rig.text(&format!("sip:ann@{peer}"), "Expires: 600\r\n");
        rig.feed(Flow::udp(local, peer.parse().unwrap()), &text).1
    };
    assert!(ask("[2001:db8:2::1]:5060").is_empty());
    assert!(ask("[2001:db8:2::2:1]:5060").is_empty());
    assert!(is_busy(&ask("[2001:db8:2:0:ffff::3]:5060")));
    assert!(ask("[2001:db8:2:1::1]:5060").is_empty());
    // IPv4 addresses in IPv6 form are no network.
    for n in 1..=3 {
        assert!(ask(&format!("[::ffff:198.51.100.{n}]:5060")).is_empty());
    }
}

/// Those who answer make room, though somebody silent was told before them.
#[test]
fn an_answer_opens_the_window_at_once() {
    let mut rig = rig(|limits| limits.notify_window = 3);
    let peers: Vec<String> = (1..=5).map(|n| format!("198.51.100.{n}:5080")).collect();
    for peer in &peers {
        let (_, sent) = rig.watch(peer);
        let _ = rig.feed(udp(peer), &answer(&sent[1], "200 OK"));
    }
    rig.run(Duration::from_secs(6));
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, bob, Body::new("application/pidf+xml", "<b/>")).unwrap();
    let sent = rig.drain();
    assert_eq!(sent.len(), 3);
    for (at, expected) in [(1, 1), (2, 1)] {
        let (_, next) = rig.feed(sent[at].0, &answer(&sent[at], "200 OK"));
        assert_eq!(next.len(), expected, "{next:?}");
    }
}

/// Covers: PEER-F08
#[test]
fn timers_per_wakeup() {
    let mut rig = rig(|limits| limits.timers_per_wakeup = 2);
    for _ in 0..5 {
        rig.ask(PEER);
    }
    // All five decisions are due.
    rig.now = rig.now + Duration::from_secs(3);
    let mut wakeups = 0;
    while rig.endpoint.poll_timeout() == Some(rig.now) || rig.endpoint.poll_timeout().is_some_and(|at| at < rig.now) {
        rig.endpoint.handle_timeout(rig.now);
        wakeups += 1;
        let accepted = rig.drain().iter().filter(|sent| text(sent).starts_with("SIP/2.0 200")).count();
        assert!(accepted <= 2);
    }
    assert!(wakeups >= 3, "{wakeups}");
}

#[test]
fn retries_per_hour() {
    let mut rig = rig(|limits| limits.retries_per_hour = 3);
    let request = Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600);
    rig.endpoint.subscribe(rig.now, request).unwrap();
    let mut asked = 0;
    let mut sent = rig.drain();
    // A notifier that takes each SUBSCRIBE and at once says to come again.
    for round in 0..20 {
        let Some(subscribe) = sent.iter().find(|sent| text(sent).starts_with("SUBSCRIBE")).cloned() else { break };
        asked += 1;
        let message = Message::parse(&subscribe.1).unwrap();
        let field = |name| String::from_utf8_lossy(message.field(name, 0).unwrap()).into_owned();
        let notify = |cseq: u32, state: &str| {
            format!(
                "NOTIFY sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{round}.{cseq}\r\nMax-Forwards: 70\r\n\
                 From: {};tag=n{round}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:bob@{PEER}>\r\n\
                 Event: presence\r\nSubscription-State: {state}\r\nContent-Length: 0\r\n\r\n",
                field(HeaderName::To),
                field(HeaderName::From),
                field(HeaderName::CallId)
            )
        };
        let _ = rig.feed(udp(PEER), &answer(&subscribe, "200 OK"));
        let _ = rig.feed(udp(PEER), notify(1, "active").as_bytes());
        sent = rig.feed(udp(PEER), notify(2, "terminated;reason=deactivated").as_bytes()).1;
        for _ in 0..60 {
            if sent.iter().any(|sent| text(sent).starts_with("SUBSCRIBE")) {
                break;
            }
            sent.extend(rig.run(Duration::from_secs(1)));
        }
    }
    assert_eq!(asked, 4, "the first and three more");
    let gave_up = |event: &Event| matches!(event, Event::Terminated { why: sip_events::Ending::GaveUp, .. });
    assert!(rig.events.iter().any(gave_up));
}

#[test]
fn datagrams_fields_and_parameters() {
    let mut rig = rig(|_| {});
    let (handled, sent) = rig.feed(udp(PEER), &vec![b'a'; 65_536]);
    assert_eq!((handled, sent.len()), (Handled::Dropped(DropReason::TooLarge), 0));
    let many = rig.text("sip:a@198.51.100.7", &"X: y\r\n".repeat(260));
    assert_eq!(status(&rig.feed(udp(PEER), &many).1), 513);
    let parameters = rig.text(&format!("sip:a@198.51.100.7{}", ";a".repeat(70)), "");
    assert_eq!(status(&rig.feed(udp(PEER), &parameters).1), 400);
}

#[test]
fn stateless_answers_and_views() {
    let mut rig = rig(|_| {});
    for n in 0..4_100 {
        let ping = format!(
            "OPTIONS sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:me@192.0.2.1>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        let _ = rig.endpoint.handle_message(rig.now, udp(PEER), ping.as_bytes());
    }
    assert_eq!(rig.endpoint.stats().dropped(DropReason::Overload), 4);
    assert_eq!(rig.drain().len(), 4_096);
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    let body = || Body::new("application/pidf+xml", "<v/>");
    for view in 1..=64 {
        let set = rig.endpoint.set_state_for(rig.now, bob, View(view), body());
        assert_eq!(set.is_err(), view == 64, "view {view}");
    }
}

// What goes to addresses that did not ask for it.

/// All bytes that went to `peer`, and how many datagrams.
fn gone_to(sent: &[Sent], peer: &str) -> (usize, usize) {
    let to: Vec<_> = sent.iter().filter(|sent| sent.0.remote.ip() == addr(peer).ip()).collect();
    (to.iter().map(|sent| sent.1.len()).sum(), to.len())
}

/// A presence document such that its NOTIFY has 500 bytes or more.
fn with_a_large_state(rig: &mut Rig) {
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, bob, Body::new("application/pidf+xml", "x".repeat(120))).unwrap();
}

#[test]
fn a_silent_third_party_gets_one_notify() {
    let mut rig = rig(|_| {});
    with_a_large_state(&mut rig);
    let victim = "203.0.113.66:5060";
    let text = rig.text(&format!("sip:x@{victim}"), "Expires: 600\r\n");
    assert!(rig.feed(udp(PEER), &text).1.is_empty());
    let mut sent = rig.accept().1;
    assert_eq!(sent.len(), 2);
    sent.extend(rig.run(Duration::from_secs(40)));
    // Peers: 11 datagrams (28.9 x), 10 datagrams (13.8 x).
    assert_eq!(gone_to(&sent, victim).1, 1);
    assert!(rig.endpoint.stats().withheld >= 9);
    let all: usize = sent.iter().map(|sent| sent.1.len()).sum();
    println!("third party: {} bytes for {}: {:.1}", all, text.len(), all as f64 / text.len() as f64);
    assert!(all <= text.len() * 6, "{all} for {}", text.len());
    // It has ended, as it would have.
    assert_eq!(rig.endpoint.agent().counts().1, 0);
}

#[test]
fn a_forged_source_gets_no_more_than_six_times() {
    let mut rig = rig(|_| {});
    with_a_large_state(&mut rig);
    let text = rig.text(&format!("sip:x@{PEER}"), "Expires: 600\r\n");
    let _ = rig.feed(udp(PEER), &text);
    let mut sent = rig.accept().1;
    let notify = sent[1].1.len();
    assert!(notify >= 500, "{notify}");
    sent.extend(rig.run(Duration::from_secs(40)));
    let (bytes, datagrams) = gone_to(&sent, PEER);
    println!(
        "forged source: {datagrams} datagrams, {bytes} bytes for {}: {:.1}",
        text.len(),
        bytes as f64 / text.len() as f64
    );
    assert!(bytes <= text.len() * 6, "{bytes} for {}", text.len());
    let beyond = bytes - sent[0].1.len() - notify;
    assert!(beyond <= 3 * text.len(), "{beyond} beyond the first");
    // A second one of the same source pays for itself, and gets no NOTIFY in full.
    let again = rig.text(&format!("sip:x@{PEER}"), "Expires: 600\r\n");
    let _ = rig.feed(udp(PEER), &again);
    let mut more = rig.accept().1;
    more.extend(rig.run(Duration::from_secs(40)));
    let both = gone_to(&sent, PEER).0 + gone_to(&more, PEER).0;
    assert!(both <= (text.len() + again.len()) * 6);
}

#[test]
fn who_has_answered_is_not_limited() {
    let mut rig = rig(|_| {});
    let (_, sent) = rig.watch(PEER);
    let _ = rig.feed(udp(PEER), &answer(&sent[1], "200 OK"));
    rig.run(Duration::from_secs(6));
    let bob = rig.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, bob, Body::new("application/pidf+xml", "<new/>")).unwrap();
    let mut sent = rig.drain();
    sent.extend(rig.run(Duration::from_secs(33)));
    // RFC 3261 section 17.1.2.2: eleven times.
    assert_eq!(gone_to(&sent, PEER).1, 11);
    assert_eq!(rig.endpoint.stats().withheld, 0);
}

#[test]
fn a_lost_answer_is_made_up_for() {
    let mut rig = rig(|_| {});
    let (_, sent) = rig.watch(PEER);
    let again = rig.run(Duration::from_millis(600));
    assert_eq!(again.len(), 1, "the first retransmission is within three for one");
    assert_eq!(again[0].1, sent[1].1);
    let _ = rig.feed(udp(PEER), &answer(&sent[1], "200 OK"));
    assert_eq!(rig.endpoint.agent().counts().1, 1);
}

#[test]
fn trust_is_a_policy() {
    let mut rig = rig_with(|_| {}, |policy| policy.unproven = Unproven::Trust);
    let text = rig.text("sip:x@203.0.113.66:5060", "Expires: 600\r\n");
    let _ = rig.feed(udp(PEER), &text);
    let mut sent = rig.accept().1;
    sent.extend(rig.run(Duration::from_secs(40)));
    assert_eq!(gone_to(&sent, "203.0.113.66:5060").1, 11);
}

#[test]
fn nothing_is_limited_on_a_stream() {
    let mut rig = rig(|_| {});
    let flow = Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(1));
    rig.endpoint.handle_stream_opened(rig.now, None, flow).unwrap();
    for _ in 0..20 {
        let text = rig.text(&format!("sip:x@{PEER};transport=tcp"), "Expires: 600\r\n");
        rig.endpoint.handle_stream(rig.now, StreamId(1), &text).unwrap();
        assert!(rig.drain().is_empty());
        assert_eq!(rig.accept().1.len(), 2);
    }
    assert_eq!(rig.endpoint.stats().withheld, 0);
}

#[test]
fn forgotten_addresses_get_no_retransmission() {
    let mut rig = rig(|limits| limits.unproven = 4);
    let (_, sent) = rig.watch(PEER);
    assert_eq!(sent.len(), 2);
    for n in 1..=5 {
        rig.ask(&format!("203.0.113.{n}:5060"));
    }
    let again = rig.run(Duration::from_secs(2));
    assert_eq!(gone_to(&again, PEER).1, 0);
    // The answer still counts.
    let _ = rig.feed(udp(PEER), &answer(&sent[1], "200 OK"));
    assert!(rig.endpoint.agent().counts().1 >= 1);
}
