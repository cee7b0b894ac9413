//! Flows that are kept open, and those that have failed (RFC 5626, RFC 6223).

use std::time::Duration;

use sip_events::wire::{HeaderName, Transport};
use sip_events::{
    Config, ContactFlow, Event, Flow, Io, KeepAlive, Misuse, ObjectId, Policy, StreamId, Subscribe, TimerKind,
};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer, stream};
use crate::peer::{establish_on, line, notify};

const SERVER: &str = "203.0.113.9:5060";

fn kit(keep_alive: KeepAlive) -> Kit {
    let mut policy = Policy::default();
    policy.keep_alive = keep_alive;
    Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy))
}

/// A SUBSCRIBE on a connection of our own.
fn connected(kit: &mut Kit) -> (Flow, Sent) {
    kit.subscribe(Subscribe::new("sip:bob@203.0.113.9;transport=tcp", "presence").unwrap().expires(3600));
    let [Io::Connect { connect, .. }] = kit.io()[..] else { panic!() };
    let flow = Flow::stream(Transport::Tcp, addr("192.0.2.1:40000"), addr(SERVER), StreamId(7));
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    let sent = kit.drain().remove(0);
    (flow, sent)
}

fn pong(kit: &mut Kit) {
    kit.endpoint.handle_stream(kit.now, StreamId(7), b"\r\n").unwrap();
    assert!(kit.drain().is_empty());
}

/// Lets time pass up to the next ping; when it came.
fn next_ping(kit: &mut Kit, limit: u64) -> Duration {
    let start = kit.now;
    loop {
        let at = kit.endpoint.poll_timeout().expect("a ping to come");
        assert!(at <= start + Duration::from_secs(limit), "no ping until {at:?}");
        kit.now = at;
        kit.endpoint.handle_timeout(at);
        if kit.drain().iter().any(|sent| sent.bytes == b"\r\n\r\n") {
            return at - start;
        }
    }
}

/// Covers: 5626-4.4.1-2
#[test]
fn pings_come_at_random_within_the_last_fifth_of_the_interval() {
    let mut kit = kit(KeepAlive::Send);
    let (_, sent) = connected(&mut kit);
    establish_on(&mut kit, sent.flow, &sent, "");
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(next_ping(&mut kit, 121));
    }
    assert!(waits.iter().all(|wait| (96..=120).contains(&wait.as_secs())), "{waits:?}");
    let mut different = waits.clone();
    different.dedup();
    assert!(different.len() > 15, "{waits:?}");
    assert!(kit.io().is_empty(), "nobody promised to answer");
}

#[test]
fn nothing_is_pinged_without_a_word_nor_a_connection_that_a_peer_opened() {
    let mut quiet = kit(KeepAlive::Off);
    connected(&mut quiet);
    assert!(quiet.run_millis(31_000).is_empty());
    let mut server = kit(KeepAlive::Expect);
    server.endpoint.handle_stream_opened(server.now, None, stream(3, "198.51.100.7:40000")).unwrap();
    assert!(server.run_millis(600_000).is_empty());
}

/// Covers: 5626-4.4.1-1
#[test]
fn a_missing_pong_is_a_failed_flow_for_all_that_depended_on_it() {
    let mut kit = kit(KeepAlive::Expect);
    let (flow, sent) = connected(&mut kit);
    establish_on(&mut kit, flow, &sent, "");
    let id = kit.endpoint.subscriptions().next().unwrap();
    assert_eq!(kit.endpoint.users_of(&flow), [ObjectId::Subscription(id)]);
    kit.events.clear();
    next_ping(&mut kit, 121);
    pong(&mut kit);
    assert_eq!(kit.endpoint.next_timer().map(|(_, kind)| kind), Some(TimerKind::KeepAlive));
    next_ping(&mut kit, 121);
    assert!(kit.run_millis(9_999).is_empty());
    assert!(kit.io().is_empty());
    kit.run_millis(1);
    assert_eq!(kit.io(), [Io::Close { stream: StreamId(7) }, Io::FlowGone { flow, subscriptions: 1, watchers: 0 }]);
    assert_eq!(kit.endpoint.users_of(&flow), []);
    // The driver does as it is told; the rest is as after any close.
    kit.endpoint.handle_stream_closed(kit.now, StreamId(7)).unwrap();
    kit.drain();
    assert!(kit.io().is_empty());
}

/// Covers: 5626-4.4.1-1
#[test]
fn every_pong_counts_however_many_came_before() {
    for keep_alive in [KeepAlive::Send, KeepAlive::Expect] {
        let mut kit = kit(keep_alive);
        let (flow, sent) = connected(&mut kit);
        establish_on(&mut kit, flow, &sent, "");
        kit.events.clear();
        // A CRLF of no meaning comes before.
        pong(&mut kit);
        for _ in 0..6 {
            next_ping(&mut kit, 121);
            pong(&mut kit);
            assert!(kit.run_millis(11_000).is_empty());
        }
        assert!(kit.io().is_empty(), "{keep_alive:?}");
    }
}

/// Covers: 5626-4.4.1-1
#[test]
fn the_peer_may_ping_while_its_pong_is_awaited() {
    for chunks in [&["\r\n\r\n", "\r\n"][..], &["\r\n", "\r\n\r\n"], &["\r\n\r", "\n\r\n"], &["\r\n\r\n\r\n"]] {
        let mut kit = kit(KeepAlive::Expect);
        let (flow, sent) = connected(&mut kit);
        establish_on(&mut kit, flow, &sent, "");
        kit.events.clear();
        for _ in 0..3 {
            next_ping(&mut kit, 121);
            let mut answers = Vec::new();
            for chunk in chunks {
                kit.endpoint.handle_stream(kit.now, StreamId(7), chunk.as_bytes()).unwrap();
                answers.extend(kit.drain());
            }
            assert_eq!(answers.iter().map(|sent| &sent.bytes[..]).collect::<Vec<_>>(), [b"\r\n"], "{chunks:?}");
            assert!(kit.run_millis(11_000).is_empty());
        }
        assert!(kit.io().is_empty(), "{chunks:?}");
    }
}

/// Covers: 5626-4.4.1-1
#[test]
fn a_pong_may_stand_behind_a_message_that_is_being_received() {
    let mut kit = kit(KeepAlive::Expect);
    let (flow, sent) = connected(&mut kit);
    establish_on(&mut kit, flow, &sent, "");
    kit.events.clear();
    next_ping(&mut kit, 121);
    let message = notify(&sent, 2, "active;expires=600", "");
    let (one, two) = message.split_at(100);
    kit.run_millis(9_000);
    kit.endpoint.handle_stream(kit.now, StreamId(7), one).unwrap();
    kit.run_millis(9_000);
    kit.endpoint.handle_stream(kit.now, StreamId(7), two).unwrap();
    kit.endpoint.handle_stream(kit.now, StreamId(7), b"\r\n").unwrap();
    kit.drain();
    kit.run_millis(60_000);
    assert!(kit.io().is_empty());
}

/// Covers: 6223-1
#[test]
fn keep_is_offered_where_pings_are_sent_and_binds_who_accepts_it() {
    let mut kit = kit(KeepAlive::Send);
    let (flow, sent) = connected(&mut kit);
    assert!(sent.field(HeaderName::Via).ends_with(";keep"), "{}", sent.field(HeaderName::Via));
    let accepted =
        String::from_utf8(sent.answer("200 OK", "Expires: 3600\r\nContact: <sip:b@203.0.113.9>\r\n")).unwrap();
    kit.feed(flow, accepted.replace(";keep\r\n", ";keep=30\r\n"));
    kit.feed(flow, notify(&sent, 1, "active;expires=3600", ""));
    kit.events.clear();
    assert!((24..=30).contains(&next_ping(&mut kit, 31).as_secs()));
    kit.run_millis(10_000);
    assert!(matches!(kit.io()[..], [Io::Close { .. }, Io::FlowGone { .. }]));
    // Datagrams carry no pings, so nothing is offered there.
    let mut kit = self::kit(KeepAlive::Send);
    let sent = kit.subscribe(Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap());
    assert!(!sent[0].field(HeaderName::Via).contains("keep"));
}

/// Covers: 5626-4.4.1-2
#[test]
fn one_flow_can_be_kept_open_at_a_pace_of_its_own() {
    let mut kit = kit(KeepAlive::Off);
    let (flow, _) = connected(&mut kit);
    let secs = Duration::from_secs;
    assert_eq!(kit.endpoint.keep_alive(kit.now, stream(99, SERVER), Some(secs(9))), Err(Misuse::StaleId));
    kit.endpoint.keep_alive(kit.now, flow, Some(secs(10))).unwrap();
    assert!((8..=10).contains(&next_ping(&mut kit, 10).as_secs()));
    pong(&mut kit);
    kit.endpoint.keep_alive(kit.now, flow, None).unwrap();
    assert!(kit.run_millis(20_000).iter().all(|(_, sent)| sent.bytes != b"\r\n\r\n"));
}

/// Covers: 5626-4.4.1-2, 5626-3.5-2
#[test]
fn datagrams_are_kept_flowing_by_the_driver() {
    let mut kit = Kit::new();
    let secs = Duration::from_secs;
    let flow = peer();
    kit.endpoint.keep_alive(kit.now, flow, Some(secs(29))).unwrap();
    for _ in 0..10 {
        let before = kit.now;
        let at = kit.endpoint.poll_timeout().unwrap();
        assert!((23..=29).contains(&(at - before).as_secs()));
        kit.now = at;
        kit.endpoint.handle_timeout(at);
        assert!(kit.drain().is_empty(), "no CRLF over datagrams");
        assert_eq!(kit.io(), [Io::KeepAlive { flow }]);
    }
    kit.endpoint.keep_alive(kit.now, flow, None).unwrap();
    assert_eq!(kit.endpoint.poll_timeout(), None);
    for port in 1..=64 {
        let flow = Flow::udp(addr(LOCAL), addr(&format!("203.0.113.9:{port}")));
        kit.endpoint.keep_alive(kit.now, flow, Some(secs(29))).unwrap();
    }
    assert_eq!(kit.endpoint.keep_alive(kit.now, flow, Some(secs(29))), Err(Misuse::Limit));
}

/// Covers: 5626-flow-1
#[test]
fn a_lost_connection_is_recovered_from_within_a_minute() {
    let mut waits = Vec::new();
    for skip in 0..6 {
        let mut kit = kit(KeepAlive::Off);
        let (flow, sent) = connected(&mut kit);
        establish_on(&mut kit, flow, &sent, "");
        // Beyond the window for forks.
        kit.run_millis(33_000 + 1_000 * skip);
        kit.events.clear();
        kit.endpoint.handle_stream_closed(kit.now, StreamId(7)).unwrap();
        kit.drain();
        assert!(matches!(kit.io()[..], [Io::FlowGone { subscriptions: 1, watchers: 0, .. }]));
        let closed = kit.now;
        let (at, kind) = kit.endpoint.next_timer().unwrap();
        assert_eq!(kind, TimerKind::Refresh);
        waits.push((at - closed).as_millis());
        kit.now = at;
        kit.endpoint.handle_timeout(at);
        let sent = kit.drain();
        // To the notifier's Contact, with ours of where it leaves from.
        assert_eq!(line(&sent[0]), "SUBSCRIBE sip:bob@198.51.100.7:5080 SIP/2.0");
    }
    assert!(waits.iter().all(|wait| (30_000..=60_000).contains(wait)), "{waits:?}");
}

/// Covers: 5626-ob-1, 5627-3
#[test]
fn a_contact_says_that_it_means_its_flow_or_that_it_is_a_gruu() {
    let mut policy = Policy::default();
    policy.contact = ContactFlow::Same;
    let config = Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy);
    let mut kit = Kit::with(config);
    kit.add_bob();
    let has = |sent: &Sent, text: &str| String::from_utf8_lossy(&sent.bytes).contains(text);
    let first = kit.subscribe(Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap()).remove(0);
    assert_eq!(first.field(HeaderName::Contact), "<sip:me@192.0.2.1:5060;ob>");
    assert!(has(&first, "\r\nSupported: outbound\r\n"));
    kit.feed(peer(), Request::subscribe("s1").bytes());
    for sent in kit.accept_all() {
        assert_eq!(sent.field(HeaderName::Contact), "<sip:me@192.0.2.1:5060;ob>");
        assert!(has(&sent, "\r\nSupported: outbound\r\n"));
    }
    // A GRUU needs no `ob`; when its registration lapses it is taken back.
    let gruu = || Some("sip:me@example.com;gr=x".try_into().unwrap());
    for (gruu, contact, option) in [
        (gruu(), "<sip:me@example.com;gr=x>", "\r\nSupported: gruu\r\n"),
        (None, "<sip:me@192.0.2.1:5060;ob>", "\r\nSupported: outbound\r\n"),
    ] {
        kit.endpoint.add_local(Transport::Udp, addr(LOCAL), None, gruu).unwrap();
        let watcher = kit.endpoint.watchers().next().unwrap();
        let left = kit.endpoint.watcher(watcher).unwrap().expires_at - kit.now;
        kit.endpoint.shorten(kit.now, watcher, left.as_secs() as u32 - 5).unwrap();
        kit.drain();
        let sent = kit.run_millis(5_000).pop().unwrap().1;
        assert_eq!(sent.field(HeaderName::Contact), contact);
        assert!(has(&sent, option));
        kit.feed(peer(), sent.answer("200 OK", ""));
    }
    assert!(!kit.events.iter().any(|event| matches!(event, Event::WatcherGone { .. })));
}
