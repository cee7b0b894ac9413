//! Connections that close, fail or are in the way, and what goes on without
//! them.

use std::time::Duration;

use sip_events::package::Reject;
use sip_events::wire::{StatusCode, Transport};
use sip_events::{Answer, Body, Config, ConnectFailure, Event, FlowGone, Io, Limits, Policy, StreamId, Subscribe};

use crate::kit::{Kit, Request, addr, stream};
use crate::pinned::connect;

const BY_TCP: &str = "Contact: <sip:alice@198.51.100.7:5080;transport=tcp>\r\nEvent: presence\r\nExpires: 600\r\n";

fn few_streams() -> Kit {
    let mut limits = Limits::default();
    limits.streams = 2;
    Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits))
}

fn by_tcp(host: &str) -> Subscribe {
    Subscribe::new(&format!("sip:bob@{host};transport=tcp"), "presence").unwrap().auto_resubscribe(false)
}

/// Covers: 3261-18.2.2-1
#[test]
fn a_connection_that_an_answer_waits_for_is_not_given_up() {
    let mut kit = few_streams();
    kit.add_bob();
    kit.subscribe(by_tcp("198.51.100.7:5080"));
    let (id, _) = connect(&mut kit);
    // Its request is over, and it is still being opened.
    kit.run(Duration::from_secs(33));
    let arrival = stream(5, "198.51.100.7:40000");
    kit.endpoint.handle_stream_opened(kit.now, None, arrival).unwrap();
    let mut request = Request { more: BY_TCP, ..Request::subscribe("s1") };
    request.via = request.via.replace("UDP", "TCP");
    assert!(kit.feed(arrival, request.bytes()).is_empty());
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    let asked = kit.events.iter().find_map(|event| match event {
        Event::Subscribe(id) => Some(*id),
        _ => None,
    });
    kit.endpoint.reject(kit.now, asked.unwrap(), Reject::new(StatusCode::FORBIDDEN)).unwrap();
    assert!(kit.drain().is_empty());
    // Another request finds no room.
    kit.subscribe(by_tcp("198.51.100.8:5080"));
    kit.endpoint.handle_stream_opened(kit.now, Some(id), stream(6, "198.51.100.7:5080")).unwrap();
    assert_eq!(kit.drain().iter().filter(|sent| sent.message().status().is_some()).count(), 1);
}

/// Covers: 3261-8.1.2-2
#[test]
fn a_refused_connection_makes_room_for_the_next_address() {
    let mut kit = few_streams();
    kit.subscribe(by_tcp("example.com:5060"));
    let servers = [addr("203.0.113.1:5060").ip(), addr("203.0.113.2:5060").ip()];
    for io in kit.io() {
        if let Io::Resolve { query, .. } = io {
            let answer = Answer::Addresses { addresses: &servers, ttl: Duration::from_secs(60) };
            // The other kind of address is asked for as well, perhaps.
            let _ = kit.endpoint.handle_resolved(kit.now, query, answer);
            kit.drain();
        }
    }
    let (id, remote) = connect(&mut kit);
    assert_eq!(remote.ip(), servers[0]);
    kit.endpoint.handle_connect_failed(kit.now, id, ConnectFailure::Refused).unwrap();
    kit.drain();
    let (id, remote) = connect(&mut kit);
    assert_eq!(remote.ip(), servers[1]);
    kit.endpoint.handle_stream_opened(kit.now, Some(id), stream(6, "203.0.113.2:5060")).unwrap();
    assert_eq!(kit.drain().len(), 1);
}

/// A watcher behind a proxy that is in no route set, whose NOTIFYs take a
/// connection of ours.
fn behind_a_proxy(kit: &mut Kit) {
    kit.add_bob();
    let flow = stream(5, "203.0.113.1:5060");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let hops = "SIP/2.0/TCP 203.0.113.1;branch=z9hG4bKp, SIP/2.0/TCP 198.51.100.7:5080;branch=z9hG4bK1";
    kit.feed(flow, Request { more: BY_TCP, via: hops.into(), ..Request::subscribe("s1") }.bytes());
    kit.accept_all();
    let (id, _) = connect(kit);
    let ours = stream(6, "198.51.100.7:5080");
    kit.endpoint.handle_stream_opened(kit.now, Some(id), ours).unwrap();
    let first = kit.drain().remove(0);
    kit.feed(ours, first.answer("200 OK", ""));
    kit.run_millis(6_000);
    kit.events.clear();
}

/// Covers: 6665-NRC-3
#[test]
fn a_proxys_connection_is_no_reason_to_give_a_watcher_up() {
    let mut kit = Kit::new();
    behind_a_proxy(&mut kit);
    let bob = kit.endpoint.resources().next().unwrap();
    kit.endpoint.set_state(kit.now, bob, Body::new("application/pidf+xml", "<one/>".to_owned())).unwrap();
    assert_eq!(kit.drain()[0].flow, stream(6, "198.51.100.7:5080"));
    kit.endpoint.handle_stream_closed(kit.now, StreamId(6)).unwrap();
    kit.drain();
    assert_eq!(kit.endpoint.watchers().count(), 1);
    assert_eq!(connect(&mut kit).1, addr("198.51.100.7:5080"));
}

#[test]
fn a_watcher_outlives_a_connection_that_it_does_not_use() {
    let mut policy = Policy::default();
    policy.flow_gone = FlowGone::Remove;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy));
    behind_a_proxy(&mut kit);
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    kit.drain();
    assert_eq!(kit.endpoint.watchers().count(), 1);
    kit.endpoint.handle_stream_closed(kit.now, StreamId(6)).unwrap();
    kit.drain();
    assert_eq!(kit.endpoint.watchers().count(), 0);
}

/// Covers: 3261-18.1.1-2
#[test]
fn a_stream_that_closes_early_was_one() {
    let large = || {
        let body = Body::new("application/simple-filter+xml", vec![b'x'; 1_200]);
        Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap().body(body)
    };
    let mut kit = Kit::new();
    kit.endpoint.handle_stream_opened(kit.now, None, stream(9, "203.0.113.9:5060")).unwrap();
    kit.endpoint.set_writable(kit.now, StreamId(9), false).unwrap();
    assert!(kit.subscribe(large()).is_empty());
    kit.endpoint.handle_stream_closed(kit.now, StreamId(9)).unwrap();
    assert_eq!(kit.drain()[0].flow.transport, Transport::Udp);
    kit.events.clear();
    assert!(kit.subscribe(large()).is_empty());
    assert_eq!(connect(&mut kit).1, addr("203.0.113.9:5060"));
}

#[test]
fn an_address_behind_a_socket_for_all_is_proved_as_it_is_written() {
    let mut kit = Kit::bare(Config::new("sips:me@192.0.2.1").unwrap());
    kit.endpoint
        .add_local(Transport::Tls, addr("[::]:5061"), Some("pbx.example.com:5061".parse().unwrap()), None)
        .unwrap();
    kit.subscribe(Subscribe::new("sips:bob@192.0.2.7", "presence").unwrap());
    let names = kit.io().into_iter().filter_map(|io| match io {
        Io::Connect { server_name, .. } => Some(server_name),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["192.0.2.7"]);
}
