//! Requests whose way is known from before, when that way ends.

use std::net::SocketAddr;

use sip_events::wire::{HeaderName, Transport};
use sip_events::{
    Body, Config, ConnectId, Delivery, Event, Flow, Io, Limits, Policy, StreamId, Subscribe, SubscriptionId,
};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer, stream};
use crate::peer::{establish_on, line, resolve, told, watched};

const A: &str = "203.0.113.1:5060";
const B: &str = "203.0.113.2:5060";
const BY_TCP: &str = "Contact: <sip:alice@198.51.100.7:5080;transport=tcp>\r\nEvent: presence\r\nExpires: 600\r\n";
const BY_PROXY: &str = "Record-Route: <sip:proxy.example.com:5060;lr>\r\nContact: <sip:alice@198.51.100.7:5080>\r\n\
     Event: presence\r\nExpires: 600\r\n";

fn change(kit: &mut Kit, body: &str) {
    let bob = kit.endpoint.resources().next().unwrap();
    kit.endpoint.set_state(kit.now, bob, Body::new("application/pidf+xml", body.to_owned())).unwrap();
}

fn gone(kit: &mut Kit) -> usize {
    told(kit).iter().filter(|event| matches!(event, Event::WatcherGone { .. })).count()
}

/// The connection may have closed for any reason: the watcher's own address is asked before it is given up.
///
/// Covers: 6665-NRC-3
#[test]
fn a_notify_on_a_connection_that_closes_takes_another() {
    let mut kit = Kit::notifier();
    let flow = stream(5, "198.51.100.7:40000");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let mut request = Request { more: BY_TCP, ..Request::subscribe("s1") };
    request.via = request.via.replace("UDP", "TCP");
    let first = watched(&mut kit, &request, flow);
    kit.feed(flow, first.answer("200 OK", ""));
    kit.run_millis(6_000);
    change(&mut kit, "<one/>");
    let open = kit.drain();
    assert_eq!((open.len(), open[0].flow), (1, flow));
    kit.events.clear();
    kit.endpoint.handle_stream_closed(kit.now, StreamId(5)).unwrap();
    assert!(kit.drain().is_empty());
    assert_eq!(kit.endpoint.watchers().count(), 1);
    let connects: Vec<_> = kit.io().into_iter().filter(|io| matches!(io, Io::Connect { .. })).collect();
    let [Io::Connect { connect, remote, .. }] = connects[..] else { panic!("{connects:?}") };
    assert_eq!(remote, addr("198.51.100.7:5080"));
    let next = stream(6, "198.51.100.7:5080");
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), next).unwrap();
    let again = kit.drain().remove(0);
    assert_eq!((again.flow, again.message().body()), (next, &b"<one/>"[..]));
    // That was the other way: there is no third.
    kit.endpoint.handle_stream_closed(kit.now, StreamId(6)).unwrap();
    assert!(kit.drain().is_empty());
    assert_eq!((gone(&mut kit), kit.endpoint.watchers().count()), (1, 0));
}

/// A proxy that did not record its route is no hop of the dialog, though its connection is open.
///
/// Covers: 3261-12.2.1.1-3
#[test]
fn a_proxy_that_is_in_no_route_set_gets_nothing_within_the_dialog() {
    let hops = "SIP/2.0/TCP 203.0.113.1;branch=z9hG4bKp, SIP/2.0/TCP 198.51.100.7:5080;branch=z9hG4bK1";
    let flow = stream(5, A);
    for (route, connects) in [("", true), ("Record-Route: <sip:203.0.113.1;lr;transport=tcp>\r\n", false)] {
        let mut kit = Kit::notifier();
        kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
        let text = Request { more: BY_TCP, via: hops.into(), ..Request::subscribe("s1") }.bytes();
        let text = String::from_utf8(text).unwrap().replace("Contact:", &format!("{route}Contact:"));
        kit.feed(flow, text);
        let sent = kit.accept_all();
        assert_eq!((sent[0].flow, sent.len()), (flow, if connects { 1 } else { 2 }));
        let asked = kit.io().into_iter().find_map(|io| match io {
            Io::Connect { remote, .. } => Some(remote),
            _ => None,
        });
        assert_eq!(asked, connects.then(|| addr("198.51.100.7:5080")));

        // The same for SUBSCRIBEs, whose NOTIFY came along it.
        let mut kit = Kit::new();
        let first = kit.subscribe(Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap()).remove(0);
        kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
        let notify = String::from_utf8(crate::peer::notify(&first, 1, "active;expires=600", route)).unwrap();
        let via = notify.split("\r\n").find(|line| line.starts_with("Via: ")).unwrap();
        kit.feed(flow, notify.replace(via, &format!("Via: {hops}")));
        kit.feed(peer(), first.answer("200 OK", "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n"));
        let id = kit.endpoint.subscriptions().next().unwrap();
        kit.endpoint.refresh(kit.now, id, None).unwrap();
        assert_eq!(kit.drain().pop().unwrap().flow == flow, !connects);
    }
}

/// A proxy with two addresses loses the one that a dialog has used so far.
///
/// Covers: 6665-NRC-3
#[test]
fn a_notify_whose_proxy_is_lost_goes_to_the_other_one() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request { more: BY_PROXY, ..Request::subscribe("s1") }.bytes());
    kit.accept_all();
    let first = resolve(&mut kit, &[A, B]).remove(0);
    assert_eq!(first.flow.remote, addr(A));
    kit.feed(first.flow, first.answer("200 OK", ""));
    kit.run_millis(6_000);
    change(&mut kit, "<one/>");
    let second = kit.drain().remove(0);
    assert_eq!(second.flow.remote, addr(A));
    kit.endpoint.handle_unreachable(kit.now, second.flow);
    let third = kit.drain().remove(0);
    assert_eq!((third.flow.remote, third.message().body()), (addr(B), &b"<one/>"[..]));
    assert_eq!((gone(&mut kit), kit.endpoint.watchers().count()), (0, 1));
    // It is unreachable as well, and there is an end to it.
    kit.endpoint.handle_unreachable(kit.now, third.flow);
    let more: Vec<_> = kit.drain().into_iter().filter(|sent| sent.message().method().is_some()).collect();
    for sent in more {
        kit.endpoint.handle_unreachable(kit.now, sent.flow);
    }
    kit.drain();
    assert_eq!((gone(&mut kit), kit.endpoint.watchers().count()), (1, 0));
}

/// A dialog whose requests go to A, which is one address of a name; its id.
fn served_by_a(kit: &mut Kit) -> SubscriptionId {
    let mut sent = kit.subscribe(Subscribe::new("sip:bob@example.com:5060", "presence").unwrap().expires(600));
    sent.extend(resolve(kit, &[A, B]));
    let first = sent.remove(0);
    kit.feed(first.flow, first.answer("200 OK", "Expires: 600\r\n"));
    let notify = String::from_utf8(crate::peer::notify(&first, 1, "active;expires=600", "")).unwrap();
    kit.feed(first.flow, notify.replace("<sip:bob@198.51.100.7:5080>", "<sip:bob@example.com:5060>"));
    let id = kit.endpoint.subscriptions().last().unwrap();
    let refresh = refreshed(kit, id);
    assert_eq!(refresh.flow.remote, addr(A));
    kit.feed(refresh.flow, refresh.answer("200 OK", "Expires: 600\r\nContact: <sip:bob@example.com:5060>\r\n"));
    id
}

fn refreshed(kit: &mut Kit, id: SubscriptionId) -> Sent {
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    kit.drain().remove(0)
}

/// Covers: 3261-8.1.2-2
#[test]
fn a_server_that_is_busy_is_left_by_the_dialogs_that_used_it() {
    let mut kit = Kit::new();
    let (one, two) = (served_by_a(&mut kit), served_by_a(&mut kit));
    let busy = refreshed(&mut kit, one);
    assert_eq!(busy.flow.remote, addr(A));
    assert!(kit.feed(busy.flow, busy.answer("503 Busy", "")).is_empty());
    assert_eq!(refreshed(&mut kit, two).flow.remote, addr(B));
    let next = kit.run_millis(31_000).into_iter().map(|(_, sent)| sent);
    let mut next = next.filter(|sent| sent.field(HeaderName::CallId) == busy.field(HeaderName::CallId));
    assert_eq!(next.next().unwrap().flow.remote, addr(B));
}

fn large() -> Subscribe {
    let body = Body::new("application/simple-filter+xml", vec![b'x'; 1_200]);
    Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap().body(body)
}

/// Covers: 3261-18.1.1-2
#[test]
fn a_large_request_whose_stream_closes_goes_as_a_datagram() {
    for open_before in [false, true] {
        let mut kit = Kit::new();
        let flow = stream(9, "203.0.113.9:5060");
        if open_before {
            kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
            assert_eq!(kit.subscribe(large())[0].flow, flow);
        } else {
            assert!(kit.subscribe(large()).is_empty());
            let [Io::Connect { connect, .. }] = kit.io()[..] else { panic!() };
            kit.endpoint.handle_stream_opened(kit.now, Some(connect), flow).unwrap();
            assert_eq!(kit.drain()[0].flow, flow);
        }
        // A connection that stays is waited for as long as any.
        assert!(kit.run_millis(10_000).is_empty());
        kit.endpoint.handle_stream_closed(kit.now, StreamId(9)).unwrap();
        let sent = kit.drain();
        assert_eq!((sent.len(), sent[0].flow), (1, Flow::udp(addr(LOCAL), addr("203.0.113.9:5060"))));
        kit.feed(sent[0].flow, sent[0].answer("404 Not Found", ""));
        assert!(kit.run_millis(40_000).is_empty());
        assert_eq!(kit.endpoint.transactions(), (0, 0));
    }
}

/// Connections that nobody answers leave room for those of others, and are not asked for again and again.
///
/// Covers: 3261-18.1.1-2
#[test]
fn peers_without_tcp_cost_little() {
    let mut limits = Limits::default();
    limits.streams = 2;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    kit.add_bob();
    let calls = ["c1@x", "c2@x", "c3@x"];
    let peers: Vec<Flow> = (1..=3).map(|n| Flow::udp(addr(LOCAL), addr(&format!("198.51.100.{n}:5080")))).collect();
    for (call, flow) in calls.into_iter().zip(&peers) {
        let request = Request { call_id: call, ..Request::subscribe(call) };
        let text = String::from_utf8(request.bytes()).unwrap().replace("198.51.100.7:5080", &flow.remote.to_string());
        kit.feed(*flow, text);
        let sent = kit.accept_all();
        kit.feed(*flow, sent[1].answer("200 OK", ""));
    }
    kit.run_millis(6_000);
    kit.events.clear();
    let body = "x".repeat(1_400);
    change(&mut kit, &body);
    let mut sent = kit.drain();
    assert_eq!(kit.io().iter().filter(|io| matches!(io, Io::Connect { .. })).count(), 1);
    // The others go at once, and an honest client finds room.
    assert_eq!(sent.len(), 2, "{sent:?}");
    kit.endpoint.handle_stream_opened(kit.now, None, stream(7, "198.51.100.99:40000")).unwrap();
    sent.extend(kit.run_millis(4_000).into_iter().map(|(_, sent)| sent));
    for sent in &sent {
        assert_eq!(sent.flow.transport, Transport::Udp);
        kit.feed(sent.flow, sent.answer("200 OK", ""));
    }
    // The next is asked, and the next; then it is known of all.
    for (round, at_once) in [(2, 2), (3, 2), (4, 3)] {
        kit.run_millis(60_000);
        kit.events.clear();
        change(&mut kit, &format!("{body}{round}"));
        let mut sent = kit.drain();
        assert_eq!(sent.len(), at_once, "round {round}");
        sent.extend(kit.run_millis(4_000).into_iter().map(|(_, sent)| sent));
        assert!(sent.iter().all(|sent| line(sent).starts_with("NOTIFY") && sent.flow.transport == Transport::Udp));
        for sent in &sent {
            kit.feed(sent.flow, sent.answer("200 OK", ""));
        }
    }
}

/// The route set leads there still, whatever the Contact is now.
#[test]
fn a_new_contact_behind_a_route_leaves_the_connection() {
    let mut kit = Kit::new();
    let first = kit.subscribe(Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600)).remove(0);
    let flow = stream(5, "198.51.100.7:5080");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let route = "Record-Route: <sip:198.51.100.7:5080;lr;transport=tcp>\r\n";
    establish_on(&mut kit, flow, &first, route);
    assert_eq!(kit.endpoint.users_of(&flow).len(), 1);
    let notify = String::from_utf8(crate::peer::notify(&first, 2, "active;expires=600", route)).unwrap();
    kit.feed(flow, notify.replace("<sip:bob@198.51.100.7:5080>", "<sip:bob@198.51.100.8:5080>"));
    assert_eq!(kit.endpoint.users_of(&flow).len(), 1);
    let id = kit.endpoint.subscriptions().next().unwrap();
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let refresh = kit.drain().remove(0);
    assert_eq!((refresh.flow, line(&refresh)), (flow, "SUBSCRIBE sip:bob@198.51.100.8:5080 SIP/2.0"));
}

/// Phones that say nothing are no reason to ask a failed server first.
#[test]
fn silent_phones_do_not_make_a_failed_server_forgotten() {
    let mut kit = Kit::notifier();
    let bob = || Subscribe::new("sip:bob@example.com:5060", "presence").unwrap().auto_resubscribe(false);
    kit.subscribe(bob());
    assert_eq!(resolve(&mut kit, &[A, B]).remove(0).flow.remote, addr(A));
    kit.run_millis(1_000);
    let calls: Vec<String> = (0..70).map(|n| format!("call{n}")).collect();
    for (n, call) in calls.iter().enumerate() {
        let text = String::from_utf8(Request::subscribe(call).bytes()).unwrap();
        let phone = format!("198.51.101.{n}:5080");
        let text = text.replace("c1@198.51.100.7", call).replace("198.51.100.7:5080", &phone);
        kit.feed(Flow::udp(addr(LOCAL), addr(&phone)), text);
        kit.accept_all();
    }
    // The server is silent for 32 s, and then the phones are.
    kit.run_millis(32_100);
    assert_eq!(kit.endpoint.watchers().count(), 0);
    let next = kit.subscribe(bob()).remove(0);
    assert_eq!(next.flow.remote, addr(B));
}

/// The driver was asked for one connection: its name, and where to.
pub fn connect(kit: &mut Kit) -> (ConnectId, SocketAddr) {
    let connects = kit.io().into_iter().filter_map(|io| match io {
        Io::Connect { connect, remote, .. } => Some((connect, remote)),
        _ => None,
    });
    let connects: Vec<_> = connects.collect();
    assert_eq!(connects.len(), 1, "{connects:?}");
    connects[0]
}

/// Covers: 3261-8.1.2-2
#[test]
fn a_busy_server_is_left_though_its_connection_is_open() {
    const BOB: &str = "sip:bob@example.com:5060;transport=tcp";
    let mut kit = Kit::new();
    kit.subscribe(Subscribe::new(BOB, "presence").unwrap().expires(600));
    resolve(&mut kit, &[A, B]);
    let (id, remote) = connect(&mut kit);
    assert_eq!(remote, addr(A));
    let flow = stream(5, A);
    kit.endpoint.handle_stream_opened(kit.now, Some(id), flow).unwrap();
    let first = kit.drain().remove(0);
    kit.feed(flow, first.answer("200 OK", "Expires: 600\r\n"));
    let notify = String::from_utf8(crate::peer::notify(&first, 1, "active;expires=600", "")).unwrap();
    let notify = notify.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    kit.feed(flow, notify.replace("<sip:bob@198.51.100.7:5080>", &format!("<{BOB}>")));
    let id = kit.endpoint.subscriptions().last().unwrap();
    let busy = refreshed(&mut kit, id);
    assert_eq!(busy.flow, flow);
    assert!(kit.feed(flow, busy.answer("503 Busy", "")).is_empty());
    assert!(kit.run_millis(31_000).is_empty());
    assert_eq!(connect(&mut kit).1, addr(B));
}

/// Where requests may go one way only, a failure there is no reason to ask for another.
///
/// Covers: 6665-NRC-3
#[test]
fn the_only_way_is_taken_though_it_was_busy() {
    const PHONE: &str = "Contact: <sip:alice@laptop.local>\r\nEvent: presence\r\nExpires: 600\r\n";
    let mut policy = Policy::default();
    policy.delivery = Delivery::Flow;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy));
    kit.add_bob();
    let subscribe = |call_id| Request { more: PHONE, call_id, ..Request::subscribe(call_id) };
    for call_id in ["one", "two"] {
        let first = watched(&mut kit, &subscribe(call_id), peer());
        kit.feed(peer(), first.answer("200 OK", ""));
    }
    kit.run_millis(6_000);
    kit.events.clear();
    change(&mut kit, "<one/>");
    let open = kit.drain();
    assert_eq!(open.len(), 2);
    for (notify, status) in open.iter().zip(["503 Busy", "200 OK"]) {
        kit.feed(peer(), notify.answer(status, "Retry-After: 600\r\n"));
    }
    kit.run_millis(6_000);
    kit.events.clear();
    // Not because it answered meanwhile.
    let later = watched(&mut kit, &subscribe("three"), peer());
    kit.feed(peer(), later.answer("503 Busy", "Retry-After: 600\r\n"));
    change(&mut kit, "<two/>");
    let sent = kit.drain();
    assert_eq!(sent.iter().filter(|sent| sent.field(HeaderName::CallId) == "two").count(), 1, "{sent:?}");
    assert!(sent.iter().all(|sent| sent.flow == peer()));
    assert!(!kit.io().iter().any(|io| matches!(io, Io::Resolve { .. })));
}
