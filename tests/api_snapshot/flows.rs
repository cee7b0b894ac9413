//! Connections do not survive a restart.

use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{Message, Transport};
use sip_events::{
    Config, Decision, Endpoint, Event, Flow, FlowGone, Gone, Handled, Instant, Io, Packages, Policy, ResourceKey,
    Restart, StreamId,
};

use crate::world::{address, save, seed, state};

fn config(policy: FlowGone) -> Arc<Config> {
    let mut policies = Policy::default();
    policies.flow_gone = policy;
    Arc::new(Config::new("sip:n0@192.0.2.1").unwrap().with_policy(policies))
}

fn add_locals(endpoint: &mut Endpoint) {
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.add_local(transport, address(0), None, None).unwrap();
    }
}

fn subscribe(from: &str, transport: &str, call: u32) -> Vec<u8> {
    format!(
        "SUBSCRIBE sip:n0@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{call}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@{from}>;tag=t{call}\r\nTo: <sip:n0@192.0.2.1>\r\nCall-ID: {call}@x\r\n\
         CSeq: 1 SUBSCRIBE\r\nContact: <sip:x@{from};transport={transport}>\r\nEvent: presence\r\nExpires: 600\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Sends all there is, answers every NOTIFY, and accepts every SUBSCRIBE.
fn turn(endpoint: &mut Endpoint, now: Instant) -> (Vec<(Flow, Vec<u8>)>, Vec<Event>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = Vec::new();
        if let Some(transmit) = endpoint.poll_transmit(now, &mut bytes) {
            transmit.append_body(&mut bytes);
            let message = Message::parse(&bytes).unwrap();
            if message.method().is_some() {
                let head = String::from_utf8(bytes.clone()).unwrap();
                let copied: String = head
                    .lines()
                    .filter(|l| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n)))
                    .map(|line| format!("{line}\r\n"))
                    .collect();
                let answer = format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n");
                assert_eq!(endpoint.handle_message(now, transmit.flow, answer.as_bytes()), Handled::Consumed);
            }
            sent.push((transmit.flow, bytes));
        } else if let Some(event) = endpoint.poll_event() {
            if let Event::Subscribe(id) = event {
                endpoint.accept(now, id, Decision::ACCEPT).unwrap();
            }
            events.push(event);
        } else {
            return (sent, events);
        }
    }
}

/// Two watchers on one connection, one on another, one over datagrams.
fn notifier(policy: FlowGone) -> (Endpoint, Instant) {
    let now = Instant::from_secs(1_000);
    let mut endpoint = Endpoint::new(config(policy), Packages::standard(), &seed(1), now);
    add_locals(&mut endpoint);
    let key = ResourceKey::new("sip:n0@192.0.2.1", "presence").unwrap();
    let resource = endpoint.add_resource(&key).unwrap();
    endpoint.set_state(now, resource, state(1)).unwrap();
    for (id, port) in [(1, 7001), (2, 7002)] {
        let remote = format!("198.51.100.1:{port}");
        let flow = Flow::stream(Transport::Tcp, address(0), remote.parse().unwrap(), StreamId(id));
        endpoint.handle_stream_opened(now, None, flow).unwrap();
        for call in 0..(3 - id) {
            let bytes = subscribe(&remote, "TCP", u32::try_from(10 * id + call).unwrap());
            assert_eq!(endpoint.handle_stream(now, StreamId(id), &bytes).unwrap().consumed, 1);
            turn(&mut endpoint, now);
        }
    }
    let datagrams = Flow::udp(address(0), "198.51.100.9:5060".parse().unwrap());
    assert_eq!(endpoint.handle_message(now, datagrams, &subscribe("198.51.100.9:5060", "UDP", 99)), Handled::Consumed);
    turn(&mut endpoint, now);
    assert_eq!(endpoint.watchers().count(), 4);
    (endpoint, now)
}

fn restart(endpoint: &Endpoint, policy: FlowGone, now: Instant) -> Endpoint {
    let saved = save(endpoint, now, 3);
    let fresh = Restart::Fresh(seed(2));
    let restored = Endpoint::restore(config(policy), Packages::standard(), &saved, now, Duration::ZERO, &fresh);
    let mut restored = restored.unwrap();
    add_locals(&mut restored);
    restored
}

/// Covers: PEER-H03
#[test]
fn watchers_of_lost_connections_are_removed_one_by_one() {
    let (endpoint, now) = notifier(FlowGone::Remove);
    let lost: Vec<_> = endpoint.watchers().take(3).collect();
    let mut restored = restart(&endpoint, FlowGone::Remove, now);
    let (sent, events) = turn(&mut restored, now);
    assert!(sent.is_empty(), "nobody is told: {sent:?}");
    let gone = |event: &Event| matches!(event, Event::WatcherGone { why: Gone::FlowGone, .. });
    assert_eq!(events.iter().filter(|event| gone(event)).count(), 3);
    for id in lost {
        let told = events.iter().filter(|e| **e == Event::WatcherGone { watcher: id, why: Gone::FlowGone });
        assert_eq!(told.count(), 1, "{id}");
    }
    let flows: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Io(Io::FlowGone { flow, watchers, subscriptions }) => Some((flow.stream, *watchers, *subscriptions)),
            _ => None,
        })
        .collect();
    assert_eq!(flows, [(Some(StreamId(1)), 2, 0), (Some(StreamId(2)), 1, 0)]);
    assert_eq!(restored.watchers().count(), 1, "datagrams go on");
}

/// Covers: PEER-H03
#[test]
fn or_reached_by_a_new_connection() {
    let (endpoint, now) = notifier(FlowGone::Reconnect);
    let mut restored = restart(&endpoint, FlowGone::Reconnect, now);
    let (_, events) = turn(&mut restored, now);
    assert_eq!(events.len(), 2, "one for each connection: {events:?}");
    assert_eq!(restored.watchers().count(), 4);
    let later = now + Duration::from_secs(10);
    let resource = restored.resources().next().unwrap();
    restored.set_state(later, resource, state(2)).unwrap();
    let (sent, events) = turn(&mut restored, later);
    assert_eq!(sent.len(), 1, "the datagram");
    assert!(sent[0].0.stream.is_none());
    let connects: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Io(Io::Connect { connect, remote, .. }) => Some((*connect, *remote)),
            _ => None,
        })
        .collect();
    assert_eq!(connects.len(), 2);
    // The new process counts its connections from one, as the old one did.
    for (id, (connect, remote)) in (1..).zip(connects) {
        let flow = Flow::stream(Transport::Tcp, address(0), remote, StreamId(id));
        restored.handle_stream_opened(later, Some(connect), flow).unwrap();
    }
    let (sent, _) = turn(&mut restored, later);
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|(flow, bytes)| flow.stream.is_some() && bytes.starts_with(b"NOTIFY ")));
}

#[test]
fn a_standby_keeps_streams_with_what_came_on_them() {
    let (mut endpoint, now) = notifier(FlowGone::Reconnect);
    let late = now + Duration::from_secs(60);
    for at in [now + Duration::from_secs(40), late] {
        endpoint.handle_timeout(at);
    }
    let whole = subscribe("198.51.100.1:7001", "TCP", 77);
    let (first, rest) = whole.split_at(100);
    endpoint.handle_stream(late, StreamId(1), first).unwrap();
    endpoint.set_writable(late, StreamId(2), false).unwrap();
    let saved = save(&endpoint, late, 3);
    let goes_on = Restart::Continue(seed(1));
    let standby =
        Endpoint::restore(config(FlowGone::Reconnect), Packages::standard(), &saved, late, Duration::ZERO, &goes_on);
    let mut standby = standby.unwrap();
    add_locals(&mut standby);
    assert_eq!(save(&standby, late, 3), saved);
    assert_eq!(standby.digest_exact(), endpoint.digest_exact());
    let mut outputs = Vec::new();
    for endpoint in [&mut endpoint, &mut standby] {
        endpoint.handle_stream(late, StreamId(1), rest).unwrap();
        let resource = endpoint.resources().next().unwrap();
        endpoint.set_state(late, resource, state(3)).unwrap();
        outputs.push(turn(endpoint, late));
        endpoint.set_writable(late, StreamId(2), true).unwrap();
        outputs.push(turn(endpoint, late));
    }
    let (ours, theirs) = outputs.split_at(2);
    assert_eq!(ours, theirs);
    assert!(ours.iter().any(|(sent, _)| sent.iter().any(|(flow, _)| flow.stream == Some(StreamId(2)))));
    assert_eq!(standby.digest_exact(), endpoint.digest_exact());
}
