//! Another address of our own, and connections that many depended on.

use std::time::Duration;

use sip_events::wire::{HeaderName, HostPort, Method, Transport};
use sip_events::{Close, Config, Event, Flow, Gone, Io, Limits, Misuse, ObjectId, Policy, StreamId, Subscribe};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer, stream};
use crate::peer::{establish, establish_on, line, notify, watched};

const NEW: &str = "192.0.2.99:5060";

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600)
}

fn rehomed(kit: &mut Kit) -> Vec<Sent> {
    for transport in [Transport::Udp, Transport::Tcp] {
        kit.endpoint.add_local(transport, addr(NEW), None, None).unwrap();
    }
    kit.endpoint.rehome(kit.now, addr(LOCAL), addr(NEW)).unwrap();
    kit.drain()
}

fn is_from_new(sent: &Sent) -> bool {
    sent.flow.local == addr(NEW)
        && sent.field(HeaderName::Contact).contains("@192.0.2.99:5060")
        && sent.field(HeaderName::Via).contains(" 192.0.2.99:5060;")
}

#[test]
fn a_subscription_moves_with_a_refresh() {
    let mut kit = Kit::new();
    let first = kit.subscribe(bob()).remove(0);
    establish(&mut kit, &first, "");
    let sent = rehomed(&mut kit);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(line(&sent[0]), "SUBSCRIBE sip:bob@198.51.100.7:5080 SIP/2.0");
    assert!(is_from_new(&sent[0]), "{sent:?}");
    assert!(sent[0].field(HeaderName::To).ends_with(";tag=theirs"));
    kit.feed(sent[0].flow, sent[0].answer("200 OK", "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n"));
    kit.feed(sent[0].flow, notify(&sent[0], 2, "active;expires=600", ""));
    assert!(kit.run_millis(300_000).is_empty(), "once");
}

#[test]
fn what_was_in_flight_goes_out_anew() {
    // A first SUBSCRIBE without an answer, and one whose NOTIFY is awaited.
    for answered in [false, true] {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob()).remove(0);
        if answered {
            kit.feed(peer(), first.answer("200 OK", "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n"));
        }
        let sent = rehomed(&mut kit);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(is_from_new(&sent[0]), "{sent:?}");
        // It is told from the first; after a 2xx the dialog that nobody can reach is left behind.
        assert_ne!(sent[0].field(HeaderName::CSeq), first.field(HeaderName::CSeq));
        let same_call = sent[0].field(HeaderName::CallId) == first.field(HeaderName::CallId);
        assert_eq!(same_call, !answered);
        let later = kit.run_millis(4_000);
        assert!(later.iter().all(|(_, sent)| is_from_new(sent)), "{later:?}");
        assert_eq!(kit.endpoint.transactions().0, 1 + u32::from(answered));
    }
}

#[test]
fn watchers_are_told_the_new_contact() {
    let mut kit = Kit::notifier();
    let open = watched(&mut kit, &Request::subscribe("s1"), peer());
    // In the middle of a NOTIFY: it comes again, with the next CSeq.
    let sent = rehomed(&mut kit);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(is_from_new(&sent[0]), "{sent:?}");
    assert_eq!(sent[0].message().method(), Some(Method::Notify));
    assert_ne!(sent[0].field(HeaderName::CSeq), open.field(HeaderName::CSeq));
    kit.feed(sent[0].flow, sent[0].answer("200 OK", ""));
    kit.run_millis(10_000);
    // At rest: as soon as the rate allows.
    kit.endpoint.add_local(Transport::Udp, addr(LOCAL), None, None).unwrap();
    kit.endpoint.rehome(kit.now, addr(NEW), addr(LOCAL)).unwrap();
    let sent = kit.drain();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((sent[0].flow, sent[0].field(HeaderName::Contact)), (peer(), "<sip:me@192.0.2.1:5060>"));
}

#[test]
fn another_name_for_the_same_socket_is_told_too() {
    let mut kit = Kit::new();
    let first = kit.subscribe(bob()).remove(0);
    establish(&mut kit, &first, "");
    let mapped = HostPort::from(addr("203.0.113.200:1024"));
    kit.endpoint.add_local(Transport::Udp, addr(LOCAL), Some(mapped), None).unwrap();
    kit.endpoint.rehome(kit.now, addr(LOCAL), addr(LOCAL)).unwrap();
    let sent = kit.drain();
    assert_eq!((sent[0].flow, sent[0].field(HeaderName::Contact)), (peer(), "<sip:me@203.0.113.200:1024>"));
}

/// A connection that we have opened has a port of its own, but our Contact is
/// that of the socket beside it.
#[test]
fn another_name_is_told_along_connections_too() {
    let mut kit = Kit::new();
    kit.subscribe(Subscribe::new("sip:bob@198.51.100.7:5080;transport=tcp", "presence").unwrap().expires(600));
    let [Io::Connect { connect, .. }] = kit.io()[..] else { panic!() };
    let flow = Flow::stream(Transport::Tcp, addr("192.0.2.1:40000"), addr("198.51.100.7:5080"), StreamId(5));
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
    let first = kit.drain().remove(0);
    establish_on(&mut kit, flow, &first, "");
    let id = kit.endpoint.subscriptions().next().unwrap();
    // One request is under way under the old name.
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let open = kit.drain().remove(0);
    let mapped = HostPort::from(addr("203.0.113.200:1024"));
    kit.endpoint.add_local(Transport::Tcp, addr(LOCAL), Some(mapped), None).unwrap();
    let accepted = "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080;transport=tcp>\r\n";
    let (handled, _) = kit.receive(flow, open.answer("200 OK", accepted));
    assert_eq!(handled, sip_events::Handled::Consumed);
    kit.endpoint.rehome(kit.now, addr(LOCAL), addr(LOCAL)).unwrap();
    let sent = kit.drain();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].field(HeaderName::Contact), "<sip:me@203.0.113.200:1024;transport=tcp>");
    assert_eq!(sent[0].flow, flow, "the connection is there still");
}

#[test]
fn connections_from_the_old_address_are_given_up() {
    let mut kit = Kit::notifier();
    let flow = stream(5, "198.51.100.7:40000");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let tcp = |mut request: Request| {
        request.via = request.via.replace("UDP", "TCP");
        request
    };
    let notify = watched(&mut kit, &tcp(Request::subscribe("s1")), flow);
    kit.feed(flow, notify.answer("200 OK", ""));
    kit.events.clear();
    rehomed(&mut kit);
    let io = kit.io();
    let expected = [Io::Close { stream: StreamId(5) }, Io::FlowGone { flow, subscriptions: 0, watchers: 1 }];
    assert_eq!(io[..2], expected, "{io:?}");
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    // The NOTIFY with the new Contact goes to the watcher's own.
    let later: Vec<Sent> = kit.run_millis(10_000).into_iter().map(|(_, sent)| sent).collect();
    assert!(is_from_new(&later[0]), "{later:?}");
    assert_eq!(line(&later[0]), "NOTIFY sip:alice@198.51.100.7:5080 SIP/2.0");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let mut kit = Kit::new();
    let first = kit.subscribe(bob()).remove(0);
    establish(&mut kit, &first, "");
    let before = kit.endpoint.digest_exact();
    assert_eq!(kit.endpoint.rehome(kit.now, addr(LOCAL), addr(NEW)), Err(Misuse::BadValue), "not ours yet");
    assert_eq!(kit.endpoint.digest_exact(), before);
    kit.endpoint.close(kit.now, Close::Persist);
    assert_eq!(kit.endpoint.rehome(kit.now, addr(LOCAL), addr(LOCAL)), Err(Misuse::Closing));
}

/// Many move in steps, spread over time, and none twice.
#[test]
fn a_thousand_move_piece_by_piece() {
    let mut limits = Limits::default();
    limits.timers_per_wakeup = 100;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    for _ in 0..1_000 {
        let first = kit.subscribe(bob()).remove(0);
        establish(&mut kit, &first, "");
    }
    kit.endpoint.add_local(Transport::Udp, addr(NEW), None, None).unwrap();
    kit.endpoint.rehome(kit.now, addr(LOCAL), addr(NEW)).unwrap();
    let mut steps = 0;
    let mut sent = Vec::new();
    while kit.endpoint.poll_timeout() == Some(kit.now) {
        steps += 1;
        assert!(steps < 100);
        kit.endpoint.handle_timeout(kit.now);
        let mut head = Vec::new();
        while kit.endpoint.poll_transmit(kit.now, &mut head).is_some() {
            sent.push(());
        }
    }
    assert!((9..=30).contains(&steps), "{steps} steps");
    assert!(sent.len() < 100, "{} at once", sent.len());
    let later = kit.run_millis(1_100);
    let mut calls: Vec<String> = later.iter().map(|(_, sent)| sent.field(HeaderName::CallId).to_owned()).collect();
    calls.sort();
    calls.dedup();
    assert!(calls.len() + sent.len() >= 1_000, "{} moved", calls.len());
    assert!(later.iter().all(|(_, sent)| is_from_new(sent)));
}

/// A connection that a thousand watchers shared is left in steps.
#[test]
fn a_shared_connection_that_closes_is_left_piece_by_piece() {
    let mut limits = Limits::default();
    limits.timers_per_wakeup = 100;
    let mut policy = Policy::default();
    policy.flow_gone = sip_events::FlowGone::Remove;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits).with_policy(policy));
    kit.add_bob();
    let flow = stream(5, "198.51.100.7:40000");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let calls: Vec<String> = (0..1_000).map(|n| format!("call-{n}")).collect();
    for (n, call) in calls.iter().enumerate() {
        let text = String::from_utf8(Request::subscribe(&format!("s{n}")).bytes()).unwrap();
        let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace("c1@198.51.100.7", call);
        kit.feed(flow, text);
        for sent in kit.accept_all() {
            if sent.message().method().is_some() {
                kit.feed(flow, sent.answer("200 OK", ""));
            }
        }
    }
    assert_eq!(kit.endpoint.watchers().count(), 1_000);
    assert_eq!(kit.endpoint.users_of(&flow).len(), 1_000);
    let first = ObjectId::Watcher(kit.endpoint.watchers().next().unwrap());
    assert_eq!(kit.endpoint.users_of(&flow)[0], first);
    kit.events.clear();
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    assert_eq!(kit.endpoint.watchers().count(), 900, "a hundred at a time");
    let mut gone = 0;
    while kit.endpoint.poll_timeout() == Some(kit.now) {
        kit.endpoint.handle_timeout(kit.now);
        let mut head = Vec::new();
        assert!(kit.endpoint.poll_transmit(kit.now, &mut head).is_none());
        while let Some(event) = kit.endpoint.poll_event() {
            gone += usize::from(matches!(event, Event::WatcherGone { why: Gone::FlowGone, .. }));
            let counted = matches!(event, Event::Io(Io::FlowGone { subscriptions: 0, watchers: 1_000, .. }));
            assert!(counted || matches!(event, Event::WatcherGone { .. }), "{event:?}");
        }
    }
    assert_eq!((gone, kit.endpoint.watchers().count()), (1_000, 0));
    assert!(kit.run(Duration::from_secs(700)).is_empty());
}

/// What nobody waits for any more is not sent again either: it would have
/// another Via and Contact in the same transaction.
///
/// Covers: 3261-17.1.2.2-2
#[test]
fn what_was_sent_from_an_address_that_was_left_is_not_sent_again() {
    let mut kit = Kit::new();
    let fetch = kit.subscribe(bob().expires(0)).remove(0);
    kit.feed(peer(), notify(&fetch, 1, "terminated;reason=timeout", ""));
    assert_eq!(rehomed(&mut kit), []);
    let sent = kit.run_millis(40_000);
    assert!(sent.iter().all(|(_, sent)| sent.flow.local == addr(NEW)), "{sent:?}");
    assert_eq!(kit.endpoint.transactions().0, 0);
}
