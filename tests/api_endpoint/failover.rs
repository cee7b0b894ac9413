//! From one server of a service to the next (RFC 3263 section 4.3), and those
//! that are left alone for a while.

use std::net::IpAddr;
use std::time::Duration;

use sip_events::wire::{HeaderName, Transport};
use sip_events::{Answer, Config, ConnectFailure, Ending, Event, Failure, Flow, Io, StreamId, Subscribe};

use crate::kit::{Kit, Sent, addr};
use crate::peer::{resolve, told};

const A: &str = "203.0.113.1:5070";
const B: &str = "203.0.113.2:5070";

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@example.com:5070", "presence").unwrap().expires(600).auto_resubscribe(false)
}

/// A first SUBSCRIBE, wherever it goes.
fn subscribe(kit: &mut Kit) -> Sent {
    let mut sent = kit.subscribe(bob());
    sent.extend(resolve(kit, &[A, B]));
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

fn to(sent: &Sent) -> std::net::SocketAddr {
    sent.flow.remote
}

/// Covers: 3261-8.1.2-2
#[test]
fn a_busy_server_is_passed_over_for_the_next_one_and_remembered() {
    let mut kit = Kit::new();
    let first = subscribe(&mut kit);
    assert_eq!(to(&first), addr(A));
    let second = kit.feed(first.flow, first.answer("503 Busy", "Retry-After: 100\r\n")).remove(0);
    assert_eq!(to(&second), addr(B));
    assert_ne!(first.branch(), second.branch());
    assert_eq!(first.field(HeaderName::CSeq), second.field(HeaderName::CSeq), "it is the same request");
    assert!(told(&mut kit).is_empty(), "nobody has to know");
    kit.feed(second.flow, second.answer("404 Not Found", ""));
    // For a hundred seconds, and not a second longer.
    kit.run_millis(99_000);
    let next = subscribe(&mut kit);
    assert_eq!(to(&next), addr(B));
    kit.feed(next.flow, next.answer("404 Not Found", ""));
    kit.run_millis(1_001);
    let later = subscribe(&mut kit);
    assert_eq!(to(&later), addr(A));
}

#[test]
fn the_last_server_has_the_last_word() {
    let mut kit = Kit::new();
    let first = subscribe(&mut kit);
    let second = kit.feed(first.flow, first.answer("503 Busy", "")).remove(0);
    assert!(kit.feed(second.flow, second.answer("503 Busy", "Retry-After: 77\r\n")).is_empty());
    let events = told(&mut kit);
    let refused = |event: &Event| {
        matches!(event, Event::Terminated { why: Ending::Refused { status, retry_after: Some(77) }, .. }
            if status.as_u16() == 503)
    };
    assert!(events.iter().any(refused), "{events:?}");
    // Both are down, which is no reason to ask neither.
    let next = subscribe(&mut kit);
    assert_eq!(to(&next), addr(A));
}

/// Both addresses are one host, which has the request from the first already.
///
/// Covers: 3261-8.1.2-2
#[test]
fn a_request_that_comes_twice_to_one_busy_host_is_not_looped() {
    let mut kit = Kit::new();
    let first = subscribe(&mut kit);
    let second = kit.feed(first.flow, first.answer("503 Busy", "Retry-After: 77\r\n")).remove(0);
    kit.feed(second.flow, second.answer("482 Loop Detected", ""));
    let events = told(&mut kit);
    let refused = |event: &Event| matches!(event, Event::Terminated { why: Ending::Refused { status, .. }, .. } if status.as_u16() == 503);
    assert!(events.iter().any(refused), "{events:?}");
    // For a request that was not repeated it says what it says.
    let next = subscribe(&mut kit);
    kit.feed(next.flow, next.answer("482 Loop Detected", ""));
    let events = told(&mut kit);
    let looped = |event: &Event| matches!(event, Event::Terminated { why: Ending::Refused { status, .. }, .. } if status.as_u16() == 482);
    assert!(events.iter().any(looped), "{events:?}");
}

#[test]
fn a_silent_server_comes_last_for_half_a_minute() {
    let mut kit = Kit::new();
    assert_eq!(to(&subscribe(&mut kit)), addr(A));
    kit.run_millis(32_001);
    assert!(
        told(&mut kit).iter().any(|e| matches!(e, Event::Terminated { why: Ending::NoAnswer(Failure::Timeout), .. }))
    );
    let second = subscribe(&mut kit);
    assert_eq!(to(&second), addr(B));
    kit.feed(second.flow, second.answer("404 Not Found", ""));
    kit.run_millis(32_001);
    let third = subscribe(&mut kit);
    assert_eq!(to(&third), addr(A));
    // An answer, whatever it says, is a sign of life.
    kit.feed(third.flow, third.answer("500 Sorry", ""));
    assert_eq!(to(&subscribe(&mut kit)), addr(A));
}

#[test]
fn a_port_that_is_closed_comes_last_too() {
    let mut kit = Kit::new();
    let first = subscribe(&mut kit);
    kit.endpoint.handle_unreachable(kit.now, first.flow);
    let second = kit.drain().remove(0);
    assert_eq!(to(&second), addr(B));
    kit.feed(second.flow, second.answer("404 Not Found", ""));
    assert_eq!(to(&subscribe(&mut kit)), addr(B));
}

/// A request that went along a stream is kept for the server behind.
#[test]
fn streams_fail_over_as_datagrams_do() {
    let mut kit = Kit::new();
    kit.subscribe(Subscribe::new("sip:bob@example.com:5070;transport=tcp", "presence").unwrap());
    resolve(&mut kit, &[A, B]);
    let mut opened = 0;
    let mut open = |kit: &mut Kit| -> Option<(Flow, Vec<Sent>)> {
        let io = kit.io();
        let [Io::Connect { connect, remote, .. }] = io[..] else { return None };
        opened += 1;
        let local = format!("192.0.2.1:{}", 40_000 + opened);
        let flow = Flow::stream(Transport::Tcp, addr(&local), remote, StreamId(opened));
        kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
        Some((flow, kit.drain()))
    };
    let (flow, sent) = open(&mut kit).expect("a connection");
    assert_eq!(flow.remote, addr(A));
    kit.feed(flow, sent[0].answer("503 Busy", ""));
    let (flow, sent) = open(&mut kit).expect("another one");
    assert_eq!(flow.remote, addr(B));
    assert!(sent[0].field(HeaderName::Via).starts_with("SIP/2.0/TCP 192.0.2.1:5060;branch="));
    // A new subscription avoids the first server, and uses the connection that is there.
    let next = kit.subscribe(Subscribe::new("sip:carol@example.com:5070;transport=tcp", "presence").unwrap());
    assert_eq!(next[0].flow, flow);
}

#[test]
fn a_server_that_cannot_be_connected_to_comes_last() {
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap());
    let bob = || Subscribe::new("sip:bob@example.com:5070;transport=tcp", "presence").unwrap();
    kit.subscribe(bob());
    let servers: Vec<IpAddr> = [A, B].iter().map(|server| addr(server).ip()).collect();
    let [Io::Resolve { query, .. }] = kit.io()[..] else { panic!() };
    let ttl = Duration::from_secs(86_400);
    kit.endpoint.handle_resolved(kit.now, query, Answer::Addresses { addresses: &servers, ttl }).unwrap();
    kit.drain();
    let [Io::Connect { connect, remote, .. }] = kit.io()[..] else { panic!() };
    assert_eq!(remote, addr(A));
    kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Refused).unwrap();
    kit.drain();
    let [Io::Connect { connect, remote, .. }] = kit.io()[..] else { panic!() };
    assert_eq!(remote, addr(B));
    kit.endpoint.handle_connect_failed(kit.now, connect, ConnectFailure::Refused).unwrap();
    kit.drain();
    kit.io();
    // Both are down: the order is as ever.
    kit.subscribe(bob());
    let [Io::Connect { remote, .. }] = kit.io()[..] else { panic!() };
    assert_eq!(remote, addr(A));
}
