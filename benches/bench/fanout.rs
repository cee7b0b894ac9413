//! One change of state, told to every watcher.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::agent::{Agent, Origin, Outgoing, Token};
use sip_events::package::{EventPackage, Expires, NotifyContext, Rendered};
use sip_events::wire::{HeaderName, Message, Method, StatusCode, Transport};
use sip_events::{
    Authentication, Body, Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceId, ResourceKey, Seed,
};

use crate::harness::{Meter, Row, Sample};
use crate::{messages, world};

const WATCHERS: u32 = 100_000;
/// As many as an emulator gets through.
const FEW: u32 = 5_000;
const BODY: usize = 2_048;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("limit: copy of 2 kB", copy),
        Row::new("fan-out: encode only, 5000 watchers", || encode(FEW, false)),
        Row::new("fan-out: encode only, 100000 watchers", || encode(WATCHERS, false)).goal(120.0, 0.0).uncounted(),
        Row::new("fan-out: encode only, numbered, 5000 watchers", || encode(FEW, true)),
        Row::new("fan-out: encode only, numbered, 100000 watchers", || encode(WATCHERS, true))
            .goal(156.0, 0.0)
            .uncounted(),
        Row::new("fan-out: transaction, timer, 200; 5000 watchers", || whole(FEW, false)),
        Row::new("fan-out: transaction, timer, 200; 100000 watchers", || whole(WATCHERS, false))
            .goal(1_500.0, 0.0)
            .uncounted(),
        Row::new("fan-out: the same, numbered, 100000 watchers", || whole(WATCHERS, true)).uncounted(),
    ]
}

fn copy() -> Sample {
    let body = vec![7u8; BODY];
    let mut out = Vec::with_capacity(BODY);
    Box::new(move |meter| {
        meter.time(|| {
            for _ in 0..10_000 {
                out.clear();
                out.extend_from_slice(std::hint::black_box(&body));
                std::hint::black_box(&out);
            }
        });
        10_000
    })
}

/// A document that counts its versions, as dialog-info does.
#[derive(Debug)]
struct Counted;

impl EventPackage for Counted {
    fn name(&self) -> &str {
        "x-counted"
    }

    fn duration(&self) -> Expires {
        Expires::new(1, 2_000_000_000, 2_000_000_000)
    }

    fn notify_bodies(&self) -> &[&str] {
        &["application/pidf+xml"]
    }

    fn rate(&self) -> Duration {
        Duration::ZERO
    }

    fn render(&self, cx: &NotifyContext<'_>) -> Rendered {
        Rendered::Numbered { body: cx.state.clone(), at: 60 }
    }
}

#[derive(Debug)]
struct Plain;

impl EventPackage for Plain {
    fn name(&self) -> &str {
        "x-plain"
    }

    fn duration(&self) -> Expires {
        Counted.duration()
    }

    fn notify_bodies(&self) -> &[&str] {
        Counted.notify_bodies()
    }

    fn rate(&self) -> Duration {
        Duration::ZERO
    }
}

fn package(numbered: bool) -> &'static str {
    if numbered { "x-counted" } else { "x-plain" }
}

fn packages() -> Packages {
    let mut packages = Packages::new();
    packages.register(Plain).expect("a package");
    packages.register(Counted).expect("a package");
    packages
}

pub fn remote(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 5060))
}

pub fn subscribe(number: u32, package: &str) -> String {
    let host = remote(number).ip();
    let mut text = String::new();
    let _ = write!(
        text,
        "SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{number}@example.com>;tag=t{number}\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: {number:020}@{host}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:user{number}@{host}:5060>\r\n\
         Event: {package}\r\nExpires: 1000000000\r\nContent-Length: 0\r\n\r\n"
    );
    text
}

fn state(number: u64) -> Body {
    let mut text = messages::pidf(BODY);
    text.replace_range(text.len() - 60..text.len() - 40, &format!("{number:020}"));
    Body::new("application/pidf+xml", text)
}

fn agent(watchers: u32, numbered: bool) -> (Agent, ResourceId) {
    let mut limits = world::limits();
    // Nothing is answered here, so that only encoding is measured.
    limits.notify_window = 1_000_000;
    let config =
        Config::new("sip:bob@192.0.2.2").expect("a URI").with_limits(limits).with_authentication(Authentication::None);
    let mut agent = Agent::new(Arc::new(config), packages(), &Seed([2; 32]), Instant::ZERO);
    agent.add_local(Transport::Udp, world::address(2), None, None).expect("an address");
    let key = ResourceKey::new("sip:bob@192.0.2.2", package(numbered)).expect("a key");
    let resource = agent.add_resource(&key).expect("a resource");
    let mut lines = Vec::new();
    for number in 0..watchers {
        let text = subscribe(number, package(numbered));
        let message = Message::parse(text.as_bytes()).expect("a SUBSCRIBE");
        let origin = Origin::new(Flow::udp(world::address(2), remote(number)));
        let _ = agent.handle_request(Instant::ZERO, &origin, &Method::Subscribe, Token(u64::from(number)), &message);
        let Some(Event::Subscribe(incoming)) = agent.poll_event() else { panic!("no question") };
        agent.accept(Instant::ZERO, incoming, Decision::ACCEPT).expect("room");
        answer_all(&mut agent, Instant::ZERO, &mut lines);
    }
    (agent, resource)
}

const OK: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
    To: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n";

fn answer_all(agent: &mut Agent, now: Instant, lines: &mut Vec<u8>) {
    let ok = Message::parse(OK).expect("a response");
    let mut open = Vec::new();
    loop {
        lines.clear();
        match agent.poll_outgoing(now, lines) {
            Some(Outgoing::Request(request)) => open.push(request.id),
            Some(_) => {}
            None => break,
        }
    }
    for id in open {
        agent.handle_response(now, id, StatusCode::OK, &ok);
    }
    while agent.poll_event().is_some() {}
}

fn encode(watchers: u32, numbered: bool) -> Sample {
    let (mut agent, resource) = agent(watchers, numbered);
    let mut now = Instant::ZERO;
    let mut version = 0;
    let mut lines = Vec::with_capacity(2_048);
    let mut open = Vec::with_capacity(watchers as usize);
    let ok = Message::parse(OK).expect("a response");
    Box::new(move |meter| {
        now = now + Duration::from_secs(10);
        agent.handle_timeout(now);
        version += 1;
        let body = state(version);
        let mut bytes = 0;
        meter.time(|| {
            agent.set_state(now, resource, body).expect("a resource");
            loop {
                lines.clear();
                match agent.poll_outgoing(now, &mut lines) {
                    Some(Outgoing::Request(request)) => {
                        bytes += lines.len() + request.body_len();
                        open.push(request.id);
                    }
                    Some(_) => {}
                    // It stops now and then for the sake of others.
                    None if agent.poll_timeout() == Some(now) => {}
                    None => break,
                }
            }
        });
        assert_eq!(open.len(), watchers as usize);
        assert!(bytes > BODY * watchers as usize);
        for id in open.drain(..) {
            agent.handle_response(now, id, StatusCode::OK, &ok);
        }
        u64::from(watchers)
    })
}

fn endpoint(watchers: u32, numbered: bool) -> (Endpoint, ResourceId) {
    let mut limits = world::limits();
    // Answered ones stay for Timer K.
    limits.client_transactions = 200_000;
    let config =
        Config::new("sip:bob@192.0.2.2").expect("a URI").with_limits(limits).with_authentication(Authentication::None);
    let mut endpoint = Endpoint::new(Arc::new(config), packages(), &Seed([2; 32]), Instant::ZERO);
    endpoint.add_local(Transport::Udp, world::address(2), None, None).expect("an address");
    let key = ResourceKey::new("sip:bob@192.0.2.2", package(numbered)).expect("a key");
    let resource = endpoint.add_resource(&key).expect("a resource");
    let mut idle = Meter::idle();
    for number in 0..watchers {
        // A thousand a second, so that transactions come and go.
        let now = Instant::ZERO + Duration::from_millis(u64::from(number));
        let text = subscribe(number, package(numbered));
        let flow = Flow::udp(world::address(2), remote(number));
        let _ = endpoint.handle_message(now, flow, text.as_bytes());
        let Some(Event::Subscribe(incoming)) = endpoint.poll_event() else { panic!("no question") };
        endpoint.accept(now, incoming, Decision::ACCEPT).expect("room");
        answer_windows(&mut endpoint, now, &mut idle, &mut Vec::new());
        endpoint.handle_timeout(now);
    }
    (endpoint, resource)
}

/// Takes what is sent, a window at a time, and answers it; how many NOTIFYs.
fn answer_windows(endpoint: &mut Endpoint, now: Instant, meter: &mut Meter, buffer: &mut Vec<u8>) -> u64 {
    let (mut count, mut answers) = (0, Vec::new());
    loop {
        buffer.clear();
        let mut sent: Vec<(Flow, std::ops::Range<usize>)> = Vec::with_capacity(300);
        meter.time(|| {
            while sent.len() < 256 {
                let start = buffer.len();
                let Some(transmit) = endpoint.poll_transmit(now, buffer) else { break };
                sent.push((transmit.flow, start..buffer.len()));
            }
        });
        // It stops now and then for the sake of others.
        let due = endpoint.next_timer().is_some_and(|(at, _)| at <= now);
        if sent.is_empty() && (due || endpoint.poll_timeout() != Some(now)) {
            return count;
        }
        answers.clear();
        for (flow, head) in sent {
            let message = &buffer[head];
            if message.starts_with(b"NOTIFY ") {
                count += 1;
                answers.push((flow, answer(message)));
            }
        }
        meter.time(|| {
            for (flow, answer) in &answers {
                assert_eq!(endpoint.handle_message(now, *flow, answer), sip_events::Handled::Consumed);
            }
        });
        while endpoint.poll_event().is_some() {}
    }
}

pub fn answer(head: &[u8]) -> Vec<u8> {
    let mut out = b"SIP/2.0 200 OK\r\n".to_vec();
    for line in head.split_inclusive(|byte| *byte == b'\n').skip(1) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if matches!(
            HeaderName::from_bytes(name),
            HeaderName::Via | HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq
        ) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    out
}

fn whole(watchers: u32, numbered: bool) -> Sample {
    let (mut endpoint, resource) = endpoint(watchers, numbered);
    let mut now = Instant::ZERO + Duration::from_secs(10_000);
    let mut version = 0;
    let mut buffer = Vec::with_capacity(1 << 20);
    Box::new(move |meter| {
        while endpoint.poll_timeout().is_some_and(|at| at <= now) {
            endpoint.handle_timeout(now);
        }
        version += 1;
        let body = state(version);
        meter.time(|| endpoint.set_state(now, resource, body).expect("a resource"));
        let count = answer_windows(&mut endpoint, now, meter, &mut buffer);
        assert_eq!(count, u64::from(watchers));
        // The transactions end when Timer K says so.
        now = now + Duration::from_secs(60);
        meter.time(|| {
            while endpoint.poll_timeout().is_some_and(|at| at <= now) {
                endpoint.handle_timeout(now);
            }
        });
        assert_eq!(endpoint.transactions(), (0, 0));
        count
    })
}
