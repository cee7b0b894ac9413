//! What cannot be seen from outside: how long the queues are.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Endpoint;
use crate::entropy::Seed;
use crate::flow::{Flow, StreamId};
use crate::package::Packages;
use crate::wire::Transport;
use crate::{Config, Instant, Subscribe};

fn endpoint() -> Endpoint {
    let config = Arc::new(Config::new("sip:me@192.0.2.1").unwrap());
    let mut endpoint = Endpoint::new(config, Packages::standard(), &Seed([7; 32]), Instant::ZERO);
    endpoint.add_local(Transport::Tcp, "192.0.2.1:5060".parse().unwrap(), None, None).unwrap();
    endpoint
}

fn subscribe(n: u32) -> Vec<u8> {
    format!(
        "SUBSCRIBE sip:nobody@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag={n}\r\nTo: <sip:nobody@192.0.2.1>\r\nCall-ID: {n}\r\n\
         CSeq: 1 SUBSCRIBE\r\nContact: <sip:a@198.51.100.7>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A driver that comes late has many connections to ping at once. Those that
/// find no room are pinged a little later, and no pong is awaited before.
#[test]
fn a_ping_that_was_not_sent_closes_no_connection() {
    let mut config = Config::new("sip:me@192.0.2.1").unwrap();
    let mut limits = crate::Limits::default();
    (limits.streams, limits.timers_per_wakeup) = (5_000, 6_000);
    let policy = crate::Policy { keep_alive: crate::config::KeepAlive::Expect, ..crate::Policy::default() };
    config = config.with_limits(limits).with_policy(policy);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), Instant::ZERO);
    let local = "192.0.2.1:5060".parse().unwrap();
    endpoint.add_local(Transport::Tcp, local, None, None).unwrap();
    let mut now = Instant::ZERO;
    for n in 0..5_000u32 {
        let remote = core::net::SocketAddr::new(core::net::Ipv4Addr::from_bits(0x0a00_0001 + n).into(), 5060);
        let flow = Flow::stream(Transport::Tcp, local, remote, StreamId(u64::from(n)));
        endpoint.handle_stream_opened(now, None, flow).unwrap();
        endpoint.keep_alive(now, flow, Some(Duration::from_secs(120))).unwrap();
    }
    let mut head = Vec::new();
    let mut pings = 0;
    now = now + Duration::from_secs(200);
    for _ in 0..60 {
        endpoint.handle_timeout(now);
        let mut pinged = Vec::new();
        while let Some(transmit) = endpoint.poll_transmit(now, &mut head) {
            pinged.extend(transmit.flow.stream);
        }
        pings += pinged.len();
        for stream in pinged {
            endpoint.handle_stream(now, stream, b"\r\n").unwrap();
        }
        while let Some(event) = endpoint.poll_event() {
            assert!(!matches!(event, crate::Event::Io(crate::Io::Close { .. })), "{event:?}");
        }
        now = now + Duration::from_secs(1);
    }
    assert_eq!(pings, 5_000);
}

/// A peer that sends for an hour and never reads: what waits for it are the
/// answers that are still open, not all that ever were.
#[test]
fn the_queue_of_a_blocked_stream_is_bounded_by_the_transactions() {
    let mut endpoint = endpoint();
    let stream = StreamId(1);
    let flow =
        Flow::stream(Transport::Tcp, "192.0.2.1:5060".parse().unwrap(), "198.51.100.7:4".parse().unwrap(), stream);
    let mut now = Instant::ZERO;
    endpoint.handle_stream_opened(now, None, flow).unwrap();
    endpoint.set_writable(now, stream, false).unwrap();
    let mut head = Vec::new();
    for n in 0..7_200 {
        now = now + Duration::from_millis(500);
        endpoint.handle_timeout(now);
        endpoint.handle_stream(now, stream, &subscribe(n)).unwrap();
        assert!(endpoint.poll_transmit(now, &mut head).is_none());
        while endpoint.poll_event().is_some() {}
    }
    let open = endpoint.transactions().1 as usize;
    assert!((1..=64).contains(&open), "{open}");
    let slot = endpoint.core.connections.slot(stream).unwrap();
    assert!(endpoint.core.connections.at(slot).unwrap().parked_len() <= 4 * open);
}

/// Ten thousand open requests to as many places: an error of the network about one concerns that one, and looks at few
/// others; none is left on a list when all are over.
///
/// Covers: 3261-18.4-1
#[test]
fn an_unreachable_place_is_found_among_many() {
    let mut endpoint = endpoint();
    let local = "192.0.2.1:5060".parse().unwrap();
    endpoint.add_local(Transport::Udp, local, None, None).unwrap();
    let (now, mut head) = (Instant::ZERO, Vec::new());
    for n in 0..10_000 {
        let uri = format!("sip:bob@10.0.{}.{}", n / 100, n % 100);
        endpoint.subscribe(now, Subscribe::new(&uri, "presence").unwrap()).unwrap();
        while endpoint.poll_transmit(now, &mut head).is_some() {}
    }
    assert_eq!(endpoint.transactions().0, 10_000);
    for n in [0, 77, 9_999] {
        let place = format!("10.0.{}.{}:5060", n / 100, n % 100).parse().unwrap();
        let near = endpoint.core.by_remote(place).len();
        assert!((1..=64).contains(&near), "{near}");
        let before = endpoint.transactions().0;
        endpoint.handle_unreachable(now, Flow::udp(local, place));
        assert_eq!(endpoint.transactions().0, before - 1);
        endpoint.handle_unreachable(now, Flow::udp(local, place));
        assert_eq!(endpoint.transactions().0, before - 1);
    }
    endpoint.handle_timeout(now + Duration::from_secs(33));
    for _ in 0..100 {
        endpoint.handle_timeout(now + Duration::from_secs(40));
        while endpoint.poll_transmit(now, &mut head).is_some() {}
        while endpoint.poll_event().is_some() {}
    }
    assert_eq!(endpoint.transactions().0, 0);
    assert!(endpoint.core.clients.remotes.is_empty());
}
