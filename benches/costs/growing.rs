//! Messages in which one thing grows, handled by a whole endpoint.

use std::net::SocketAddr;
use std::sync::Arc;

use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Seed, StreamId,
};

use crate::Work;

pub const LOCAL: &str = "192.0.2.1:5060";
pub const PEER: &str = "198.51.100.7:5080";
pub const BOB: &str = "sip:bob@192.0.2.1";
pub const NOW: Instant = Instant::from_secs(1000);

pub fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn udp() -> Flow {
    Flow::udp(addr(LOCAL), addr(PEER))
}

/// An endpoint that serves bob to everybody.
pub fn endpoint(authentication: Authentication) -> Endpoint {
    let config = Config::new("sip:me@192.0.2.1").expect("a URI").with_authentication(authentication);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), NOW);
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.add_local(transport, addr(LOCAL), None, None).expect("a local address");
    }
    let bob = endpoint.add_resource(&ResourceKey::new(BOB, "presence").expect("a key")).expect("room");
    endpoint.set_state(NOW, bob, Body::new("application/pidf+xml", "<open/>")).expect("a state");
    endpoint
}

/// Polls all there is; SUBSCRIBEs are accepted.
pub fn drain(endpoint: &mut Endpoint, out: &mut Vec<u8>) {
    loop {
        let mut any = false;
        while let Some(transmit) = endpoint.poll_transmit(NOW, out) {
            any = true;
            transmit.append_body(out);
        }
        while let Some(event) = endpoint.poll_event() {
            any = true;
            if let Event::Subscribe(id) = event {
                endpoint.accept(NOW, id, Decision::ACCEPT).expect("it waits");
            }
        }
        if !any {
            return;
        }
    }
}

/// A SUBSCRIBE in which a line is replaced, or added at the end.
fn subscribe(lines: &[&str], body: &str) -> Vec<u8> {
    let mut all: Vec<String> = [
        "SUBSCRIBE sip:bob@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK1",
        "Max-Forwards: 70",
        "From: <sip:ann@example.com>;tag=a",
        "To: <sip:bob@192.0.2.1>",
        "Call-ID: 1",
        "CSeq: 1 SUBSCRIBE",
        "Contact: <sip:ann@198.51.100.7:5080>",
        "Event: presence",
        "Expires: 600",
    ]
    .map(str::to_owned)
    .to_vec();
    for line in lines {
        let name = |line: &str| line.split([':', ' ']).next().unwrap_or_default().to_owned();
        match all.iter_mut().find(|known| name(known) == name(line)) {
            Some(known) => *known = (*line).to_owned(),
            None => all.push((*line).to_owned()),
        }
    }
    let mut text = all.join("\r\n");
    text += &format!("\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// `piece` until it has `size` bytes.
fn fill(piece: &str, size: usize) -> String {
    piece.repeat(size / piece.len())
}

/// Pieces with a number, until they have `size` bytes.
fn numbered(size: usize, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(size);
    let mut n = 0;
    while text.len() < size {
        text += &piece(n);
        n += 1;
    }
    text
}

fn handle(message: &[u8], measured: &mut dyn FnMut(&mut dyn FnMut())) {
    assert!(message.len() < 65_536, "it has to be a datagram");
    let mut endpoint = endpoint(Authentication::None);
    let mut out = Vec::with_capacity(200_000);
    measured(&mut || {
        let _ = endpoint.handle_message(NOW, udp(), message);
        drain(&mut endpoint, &mut out);
    });
}

/// Room for the rest of the message.
const REST: usize = 512;

macro_rules! rows {
    ($($name:literal: |$size:ident| $lines:expr;)*) => {
        pub const ROWS: &[(&str, Work)] = &[
            $(($name, |size, measured| {
                let $size = size.saturating_sub(REST).min(65_000);
                handle(&$lines, measured);
            }),)*
            ("stream", |size, measured| on_a_stream(size, usize::MAX, measured)),
            ("stream-by-byte", |size, measured| on_a_stream(size, 1, measured)),
            ("stream-head-by-byte", head_by_byte),
        ];
    };
}

rows! {
    "commas": |n| subscribe(&[&format!("Accept: {}a/b", fill("a/b,", n))], "");
    "empty-commas": |n| subscribe(&[&format!("Allow-Events: {}x", fill(",", n))], "");
    "folds": |n| subscribe(&[&format!("Subject: {}", fill("\r\n x", n))], "");
    "folds-in-event": |n| subscribe(&[&format!("Event: presence{}", fill("\r\n ", n))], "");
    "quoted": |n| subscribe(&[&format!("From: \"{}\" <sip:ann@example.com>;tag=a", fill("x", n))], "");
    "quotes": |n| subscribe(&[&format!("From: {} <sip:ann@example.com>;tag=a", fill("\"", n))], "");
    "backslashes": |n| subscribe(&[&format!("From: \"{}\" <sip:ann@example.com>;tag=a", fill("\\\\", n))], "");
    "parameters": |n| subscribe(&[&format!("Event: presence{}", numbered(n, |n| format!(";a{n}=1")))], "");
    "equal-parameters": |n| subscribe(&[&format!("To: <sip:bob@192.0.2.1>{}", fill(";a=1", n))], "");
    "uri-parameters": |n| subscribe(&[&format!("Contact: <sip:ann@h{}>", numbered(n, |n| format!(";p{n}")))], "");
    "uri-headers": |n| subscribe(&[&format!("Contact: <sip:ann@h?a=b{}>", fill("&a=b", n))], "");
    "escapes": |n| subscribe(&[&format!("SUBSCRIBE sip:{}@192.0.2.1 SIP/2.0", fill("%61", n))], "");
    "vias": |n| subscribe(&[&format!("Via: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK1{}", fill(",SIP/2.0/UDP a.example.com;branch=z9hG4bKx", n))], "");
    "record-routes": |n| subscribe(&[&format!("Record-Route: <sip:a;lr>{}", fill(",<sip:a.example.com;lr>", n))], "");
    "lines": |n| subscribe(&[&(fill("X: y\r\n", n) + "Y: z")], "");
    "accept-lines": |n| subscribe(&[&(fill("Accept: a/b\r\n", n) + "Accept: application/pidf+xml")], "");
    "option-tags": |n| subscribe(&[&format!("Require: {}x", numbered(n, |n| format!("o{n},")))], "");
    "call-id": |n| subscribe(&[&format!("Call-ID: {}", fill("c", n))], "");
    "tag": |n| subscribe(&[&format!("From: <sip:ann@example.com>;tag={}", fill("t", n))], "");
    "event-token": |n| subscribe(&[&format!("Event: {}", fill("e.", n) + "e")], "");
    "digits": |n| subscribe(&[&format!("Expires: {}", fill("9", n))], "");
    "comment": |n| subscribe(&[&format!("User-Agent: x {}", fill("(", n))], "");
    "credentials": |n| subscribe(&[&format!("Authorization: Digest {}", numbered(n, |n| format!("a{n}=\"b\",")))], "");
    "blanks": |n| subscribe(&[&format!("Expires: {}600", fill(" ", n))], "");
    "body": |n| subscribe(&["Content-Type: text/plain"], &fill("\r\n", n));
}

/// Many small messages in one connection, in pieces of `chunk` bytes.
fn on_a_stream(size: usize, chunk: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let one = "OPTIONS sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7:5080;branch=z9hG4bKo\r\nMax-Forwards: 70\r\n\
               From: <sip:a@b>;tag=1\r\nTo: <sip:me@192.0.2.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    feed(fill(one, size).as_bytes(), chunk, measured);
}

/// A head that grows byte by byte.
fn head_by_byte(size: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let head = format!("OPTIONS sip:me@192.0.2.1 SIP/2.0\r\nSubject: {}", fill("\r\n x", size.min(65_000)));
    feed(head.as_bytes(), 1, measured);
}

fn feed(bytes: &[u8], chunk: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let mut endpoint = endpoint(Authentication::None);
    let flow = Flow::stream(Transport::Tcp, addr(LOCAL), addr(PEER), StreamId(1));
    endpoint.handle_stream_opened(NOW, None, flow).expect("room");
    let mut out = Vec::with_capacity(200_000);
    measured(&mut || {
        for piece in bytes.chunks(chunk.min(bytes.len().max(1))) {
            let _ = endpoint.handle_stream(NOW, StreamId(1), piece);
            drain(&mut endpoint, &mut out);
        }
    });
}
