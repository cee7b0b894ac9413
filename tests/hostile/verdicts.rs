//! Every row of the corpus in memory: over a datagram, and over a stream.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Body, Config, Decision, DropReason, Endpoint, Event, Flow, Gone, Handled, Instant, Packages, ResourceKey, Retry,
    Seed, StreamId, Subscribe,
};

use crate::corpus::{Names, Row, rows};

const LOCAL: &str = "192.0.2.1:5060";
const PEER: &str = "198.51.100.7:5080";
const NOW: Instant = Instant::from_secs(1000);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A notifier that serves bob, and subscribes to bob at the peer.
struct Bench {
    endpoint: Endpoint,
    /// The SUBSCRIBE that it sent.
    subscribe: Vec<u8>,
}

fn drain(endpoint: &mut Endpoint) -> (Vec<Vec<u8>>, Vec<Event>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    loop {
        let before = (sent.len(), events.len());
        let mut bytes = Vec::new();
        while let Some(transmit) = endpoint.poll_transmit(NOW, &mut bytes) {
            transmit.append_body(&mut bytes);
            sent.push(std::mem::take(&mut bytes));
        }
        while let Some(event) = endpoint.poll_event() {
            events.push(event);
        }
        if before == (sent.len(), events.len()) {
            return (sent, events);
        }
    }
}

fn accept(endpoint: &mut Endpoint, events: &[Event]) {
    for event in events {
        if let Event::Subscribe(id) = event {
            endpoint.accept(NOW, *id, Decision::ACCEPT).unwrap();
        }
    }
}

impl Bench {
    fn new() -> Self {
        let config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
        let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), NOW);
        for transport in [Transport::Udp, Transport::Tcp] {
            endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
        }
        endpoint.add_local(Transport::Udp, addr("[2001:db8::1]:5060"), None, None).unwrap();
        let bob = endpoint.add_resource(&ResourceKey::new("sip:bob@192.0.2.1:5060", "presence").unwrap()).unwrap();
        endpoint.set_state(NOW, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
        endpoint.subscribe(NOW, Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600)).unwrap();
        let (mut sent, _) = drain(&mut endpoint);
        Self { endpoint, subscribe: sent.remove(0) }
    }
}

fn field(message: &[u8], name: HeaderName<'_>) -> String {
    let message = Message::scan(message).unwrap();
    String::from_utf8_lossy(message.field(name, 0).unwrap_or_default()).into_owned()
}

fn is_answer(message: &[u8]) -> bool {
    message.starts_with(b"SIP/2.0 ")
}

/// What came of a row: in the words of the corpus.
fn judge(row: &Row, number: usize, over_tcp: bool) -> Option<String> {
    let mut bench = Bench::new();
    let endpoint = &mut bench.endpoint;
    let flow = if over_tcp {
        Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(1))
    } else {
        Flow::udp(addr(LOCAL), addr(PEER))
    };
    if over_tcp {
        endpoint.handle_stream_opened(NOW, None, flow).unwrap();
    }
    let mine = [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::Via, HeaderName::CSeq];
    let mut mine = mine.map(|name| field(&bench.subscribe, name));
    mine[1] += ";tag=b";
    let [from, to, call, via, cseq] = &mine;
    let mut tag = String::new();
    let names = |tag| Names {
        local: LOCAL,
        peer: PEER,
        transport: if over_tcp { "TCP" } else { "UDP" },
        number,
        ours: [from, to, call, via, cseq, tag],
    };
    if row.base == "REFRESH" {
        let first = Row { base: "SUBSCRIBE".to_owned(), edits: Vec::new(), ..row.clone() };
        let _ = endpoint.handle_message(NOW, flow, &first.bytes(&names("")));
        let (_, events) = drain(endpoint);
        accept(endpoint, &events);
        let (sent, _) = drain(endpoint);
        tag = field(&sent[0], HeaderName::To).split(";tag=").nth(1).unwrap().to_owned();
    }
    let bytes = row.bytes(&names(&tag));
    let mut reason = None;
    let mut lost = false;
    if over_tcp {
        let before = DropReason::ALL.map(|reason| endpoint.stats().dropped(reason));
        lost = endpoint.handle_stream(NOW, StreamId(1), &bytes).is_err();
        let after = DropReason::ALL.map(|reason| endpoint.stats().dropped(reason));
        let at = before.iter().zip(after).position(|(before, after)| *before != after);
        reason = at.map(|at| DropReason::ALL[at]);
    } else if let Handled::Dropped(why) = endpoint.handle_message(NOW, flow, &bytes) {
        reason = Some(why);
    }
    let (mut sent, mut events) = drain(endpoint);
    accept(endpoint, &events);
    let more = drain(endpoint);
    sent.extend(more.0);
    events.extend(more.1);

    let mut verdict = String::new();
    let answers: Vec<&Vec<u8>> = sent.iter().filter(|message| is_answer(message)).collect();
    assert!(answers.len() <= 2, "{}: {} answers", row.name, answers.len());
    for answer in &answers {
        let _ = write!(verdict, "{} ", String::from_utf8_lossy(&answer[8..11]));
        // Whoever forges the source of a request gains little (SECURITY.md).
        if answer[8] > b'2' {
            assert!(answer.len() <= bytes.len() + 300, "{}: an answer of {} bytes", row.name, answer.len());
        }
        if row.base != "NOTIFY" && answer[8] == b'2' {
            let _ = write!(verdict, "expires={} ", field(answer, HeaderName::Expires));
        }
    }
    for event in &events {
        let _ = match event {
            Event::Notify { state, expires, .. } => match expires {
                Some(expires) => write!(verdict, "{state:?}={expires} "),
                None => write!(verdict, "{state:?} "),
            },
            Event::Accepted { expires, .. } => write!(verdict, "granted={expires} "),
            Event::Terminated { retry, .. } => match retry {
                Retry::NotBefore(at) => write!(verdict, "ended not-before={} ", (*at - NOW).as_secs()),
                Retry::Never => write!(verdict, "ended never "),
                _ => write!(verdict, "ended "),
            },
            Event::WatcherGone { why: Gone::NoAnswer(_), .. } => write!(verdict, "gone "),
            Event::Retrying { at, .. } => write!(verdict, "again-in={} ", (*at - NOW).as_secs()),
            Event::Challenge { .. } => write!(verdict, "challenge "),
            _ => Ok(()),
        };
    }
    for request in sent.iter().filter(|message| message.starts_with(b"SUBSCRIBE")) {
        let _ = write!(verdict, "asks={} ", field(request, HeaderName::Expires));
    }
    if answers.is_empty()
        && let Some(reason) = reason
    {
        let _ = write!(verdict, "drop {reason} ");
    }
    if lost {
        verdict += "close ";
    }
    if verdict.is_empty() {
        verdict += "nothing";
    }
    // Whatever it was: alive after it.
    let alive = "OPTIONS sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKalive\r\nMax-Forwards: 70\r\n\
                 From: <sip:x@example.com>;tag=x\r\nTo: <sip:me@192.0.2.1>\r\nCall-ID: alive\r\nCSeq: 1 OPTIONS\r\n\
                 Content-Length: 0\r\n\r\n";
    let _ = endpoint.handle_message(NOW, Flow::udp(addr(LOCAL), addr("203.0.113.5:5060")), alive.as_bytes());
    let (sent, _) = drain(endpoint);
    assert!(sent.iter().any(|answer| answer.starts_with(b"SIP/2.0 200")), "{}: dead after it", row.name);
    Some(verdict.trim_end().to_owned())
}

fn compare(over_tcp: bool) {
    let rows = rows();
    let mut wrong = String::new();
    // Under Miri some sixty.
    let step = if cfg!(miri) { 13 } else { 1 };
    for (number, row) in rows.iter().enumerate().step_by(step) {
        // `a / b`: over datagrams, and over a stream.
        let (datagram, stream) = row.verdict.split_once(" / ").unwrap_or((&row.verdict, &row.verdict));
        let expected = if over_tcp { stream } else { datagram };
        if expected == "-" || (over_tcp && matches!(row.base.as_str(), "2XX" | "4XX")) {
            continue;
        }
        let found = judge(row, number, over_tcp).unwrap();
        if found != expected {
            let _ = writeln!(wrong, "{}: {found}, not {expected} ({})", row.name, row.rule);
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{wrong}", wrong.lines().count());
}

/// Covers: ADV-E21, ADV-N9, ADV-P3, ADV-P7, ADV-P12, ADV-P15
#[test]
fn each_message_has_its_one_right_verdict() {
    compare(false);
}

/// Covers: ADV-P1, ADV-P2, ADV-P3, ADV-P6, ADV-P32
#[test]
fn the_same_on_a_stream() {
    compare(true);
}

#[test]
fn the_corpus_is_what_it_claims_to_be() {
    let rows = rows();
    assert!(rows.len() >= 300, "{} rows", rows.len());
    let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "a name is used twice");
    assert!(rows.iter().all(|row| row.rule.contains("RFC") || row.rule.contains("INT-")), "each names its rule");
}
