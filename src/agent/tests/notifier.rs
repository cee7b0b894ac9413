//! The notifier against a peer made of text.

use super::rig::{PEER, Peer, Rig, Sent, field, find_field, tcp, udp};
use crate::agent::{Close, Decision, ResourceKey};
use crate::event::{Event, Gone};
use crate::package::{Body, EventPackage, Expires, Packages, Reject, View};
use crate::wire::StatusCode;
use crate::{Failure, FlowGone, Misuse, Reason, UnknownResource};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const ME_URI: &str = "sip:me@192.0.2.1";

fn pidf(text: &'static str) -> Body {
    Body::from_static("application/pidf+xml", text.as_bytes())
}

fn gone(rig: &Rig) -> Vec<Gone> {
    let why = |e: &Event| match e {
        Event::WatcherGone { why, .. } => Some(why.clone()),
        _ => None,
    };
    rig.events.iter().filter_map(why).collect()
}

/// A package without a rate limit.
#[derive(Debug)]
struct Quick;

impl EventPackage for Quick {
    fn name(&self) -> &str {
        "presence"
    }
    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 86_400)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["application/pidf+xml"]
    }
    fn rate(&self) -> Duration {
        Duration::ZERO
    }
}

fn quick(configure: impl FnOnce(crate::Config) -> crate::Config) -> Rig {
    let mut packages = Packages::new();
    packages.register(Quick).unwrap();
    Rig::with(configure, packages)
}

fn last_to<'a>(rig: &'a Rig, peer: &Peer) -> &'a Sent {
    rig.sent.iter().rev().find(|s| field(&s.text, "Call-ID") == peer.call_id).unwrap()
}

fn count_to(rig: &Rig, peer: &Peer) -> usize {
    rig.sent.iter().filter(|s| field(&s.text, "Call-ID") == peer.call_id).count()
}

fn ok(rig: &mut Rig, peer: &Peer) {
    let sent = last_to(rig, peer).clone();
    rig.respond(&sent, 200, "");
}

/// A removed resource is gone for everybody, however long its last NOTIFYs take.
#[test]
fn a_removed_resource_is_gone_and_its_name_free() {
    let mut rig = quick(|config| config);
    let old = rig.resource(ME_URI);
    let watcher = rig.watched(udp(PEER), "c1");
    ok(&mut rig, &watcher);
    let late = Peer { call_id: "c2".into(), ..watcher.clone() };
    let late = Peer { tag: None, ..late };
    assert_eq!(rig.try_receive(udp(PEER), &late.subscribe(600, "")), None);
    let undecided = rig.incoming();
    rig.agent.remove_resource(rig.now, old, &Reason::NoResource).unwrap();
    assert_eq!(rig.agent.remove_resource(rig.now, old, &Reason::NoResource), Err(Misuse::StaleId));
    assert_eq!(rig.agent.set_state(rig.now, old, pidf("x")), Err(Misuse::StaleId));
    assert_eq!(rig.agent.resources().count(), 0);
    assert_eq!(rig.agent.resource_uri(old), None);
    assert_eq!(rig.agent.find(&ResourceKey::new(ME_URI, "presence").unwrap()), None);
    // Nobody can be accepted to watch it, and by default it does not come back by itself.
    assert_eq!(rig.agent.accept(rig.now, undecided, Decision::ACCEPT), Err(Misuse::WrongState));
    let new = rig.resource(ME_URI);
    rig.agent.set_state(rig.now, new, pidf("<new/>")).unwrap();
    rig.agent.accept(rig.now, undecided, Decision::ACCEPT).unwrap();
    rig.drain();
    assert!(last_to(&rig, &late).text.ends_with("<new/>"));
    assert!(field(&last_to(&rig, &watcher).text, "Subscription-State").contains("noresource"));
    ok(&mut rig, &watcher);
    ok(&mut rig, &late);
    // The slot of the old one, used again, is not removed with its last watcher.
    let other = rig.agent.add_resource(&ResourceKey::new("sip:other@192.0.2.1", "presence").unwrap()).unwrap();
    let mut third = Peer { call_id: "c3".into(), tag: None, ..watcher };
    let text = third.subscribe(600, "").replace("SUBSCRIBE sip:me@", "SUBSCRIBE sip:other@");
    assert_eq!(rig.try_receive(udp(PEER), &text), None);
    rig.agent.accept(rig.now, rig.incoming(), Decision::ACCEPT).unwrap();
    rig.drain();
    third.tag = Some(String::new());
    let last = last_to(&rig, &third).clone();
    rig.respond(&last, 481, "");
    assert_eq!(rig.agent.resource_uri(other), Some("sip:other@192.0.2.1"));
    assert_eq!(rig.agent.counts(), (0, 1, 2, 0));
}

/// A reason of the application's own cannot break the message.
#[test]
fn a_reason_that_is_no_token_is_refused_everywhere() {
    let mut rig = Rig::new();
    let resource = rig.resource(ME_URI);
    rig.watched(udp(PEER), "c1");
    let bad = Reason::Other(bytes::Bytes::from_static(b"x\r\nEvil: 1"));
    assert_eq!(rig.agent.remove_resource(rig.now, resource, &bad), Err(Misuse::BadValue));
    let watcher = rig.agent.watchers().next().unwrap();
    assert_eq!(rig.agent.terminate(rig.now, watcher, &bad, None), Err(Misuse::BadValue));
    assert_eq!(rig.agent.resources().count(), 1);
    assert_eq!(rig.agent.watchers().count(), 1);
}

/// All or nothing: an accept that fails leaves nothing but the question.
#[test]
fn a_failed_accept_changes_nothing() {
    let mut rig = Rig::configured(|mut config| {
        config.policy.unknown_resource = UnknownResource::Ask;
        config.limits.flows = 1;
        config.limits.watchers_per_resource = 1;
        config
    });
    let watcher = rig.watched(udp(PEER), "c1");
    let other = Peer { call_id: "c2".into(), tag: None, flow: udp("192.0.2.3:5060"), ..watcher.clone() };
    let text = other.subscribe(600, "").replace("SUBSCRIBE sip:me@", "SUBSCRIBE sip:else@");
    assert_eq!(rig.try_receive(other.flow, &text), None);
    let id = rig.incoming();
    assert_eq!(rig.agent.accept(rig.now, id, Decision::ACCEPT), Err(Misuse::Limit));
    assert_eq!(rig.agent.resources().count(), 1);
    assert_eq!(rig.agent.flows.len(), 1);
    let longer = Decision::Active { expires: Some(601), view: View(0) };
    assert_eq!(rig.agent.accept(rig.now, id, longer), Err(Misuse::LongerThanAsked));
    assert!(rig.agent.incoming(id).is_ok());
    // Still answered, by the policy for what stays undecided.
    rig.pass(SECOND * 4);
    assert_eq!(rig.agent.counts().3, 0);
    // Two undecided ones cannot both pass the limit of one resource.
    let mut rig = Rig::configured(|mut config| {
        config.limits.watchers_per_resource = 1;
        config
    });
    rig.resource(ME_URI);
    let mut ids = Vec::new();
    for call_id in ["d1", "d2"] {
        let peer = Peer { call_id: call_id.into(), tag: None, ..watcher.clone() };
        assert_eq!(rig.try_receive(udp(PEER), &peer.subscribe(600, "")), None);
        ids.push(rig.incoming());
    }
    rig.agent.accept(rig.now, ids[0], Decision::ACCEPT).unwrap();
    assert_eq!(rig.agent.accept(rig.now, ids[1], Decision::ACCEPT), Err(Misuse::Limit));
    assert!(rig.agent.incoming(ids[1]).is_ok());
}

/// Covers: 6665-3.1.1-4, PEER-E01, 4320-4.2-1
#[test]
fn a_refusal_that_would_be_malformed_cannot_be_built() {
    let mut rig = Rig::new();
    rig.resource(ME_URI);
    let peer = Peer { flow: udp(PEER), call_id: "c1".into(), cseq: 1, tag: None, contact: "sip:w@192.0.2.2".into() };
    assert_eq!(rig.try_receive(udp(PEER), &peer.subscribe(600, "")), None);
    let id = rig.incoming();
    for code in [200, 299, 401, 407, 408, 423] {
        let reject = Reject::new(StatusCode::new(code).unwrap());
        assert_eq!(rig.agent.reject(rig.now, id, reject), Err(Misuse::BadValue), "{code}");
    }
    rig.agent.reject(rig.now, id, Reject::new(StatusCode::FORBIDDEN)).unwrap();
    assert_eq!(rig.agent.reject(rig.now, id, Reject::new(StatusCode::FORBIDDEN)), Err(Misuse::StaleId));
}

/// Covers: INT-10, 6665-RACE-21, 6665-NSM-21, 6665-4.2.2-1
#[test]
fn a_refresh_gives_the_open_notify_up() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    let mut peer = rig.watched(udp(PEER), "c1");
    for how in 0..4 {
        rig.agent.set_state(rig.now, resource, pidf(["<a/>", "<b/>", "<c/>", "<d/>"][how])).unwrap();
        rig.drain();
        let open = last_to(&rig, &peer).clone();
        let before = (count_to(&rig, &peer), rig.abandoned);
        peer.contact = format!("sip:w@192.0.2.{}", 20 + how);
        let refresh = peer.refresh(600);
        assert_eq!(rig.receive(udp(PEER), &refresh).status, 200);
        assert_eq!((count_to(&rig, &peer), rig.abandoned), (before.0 + 1, before.1 + 1));
        assert!(last_to(&rig, &peer).text.starts_with(&format!("NOTIFY {} SIP/2.0", peer.contact)));
        match how {
            0 => rig.respond(&open, 481, ""),
            1 => rig.fail(&open, Failure::Timeout),
            2 => rig.respond(&open, 200, "Contact: <sip:elsewhere@192.0.2.99>\r\n"),
            _ => rig.fail(&open, Failure::Transport),
        }
        assert_eq!(gone(&rig), []);
        // The newest one is still open, and alone in the window.
        rig.agent.set_state(rig.now, resource, pidf("<z/>")).unwrap();
        assert_eq!(rig.drain().len(), 0);
        ok(&mut rig, &peer);
        assert!(last_to(&rig, &peer).text.ends_with("<z/>"));
        ok(&mut rig, &peer);
    }
    rig.pass(SECOND);
    assert_eq!(rig.agent.window.len(), 0);
}

/// Where the flow is blocked the open NOTIFY is given up all the same.
/// Covers: INT-10, 6665-RACE-21
#[test]
fn a_refresh_on_a_blocked_flow_gives_the_open_notify_up() {
    let mut rig = quick(|config| config);
    rig.resource(ME_URI);
    let mut peer = rig.watched(tcp(PEER, 1), "c1");
    let open = last_to(&rig, &peer).clone();
    rig.agent.set_blocked(tcp(PEER, 1), true);
    let refresh = peer.refresh(600);
    assert_eq!(rig.receive(tcp(PEER, 1), &refresh).status, 200);
    assert_eq!(count_to(&rig, &peer), 1);
    rig.respond(&open, 481, "");
    assert_eq!(gone(&rig), []);
    rig.agent.set_destination(open.request.id, tcp(PEER, 1));
    rig.agent.set_blocked(tcp(PEER, 1), false);
    rig.drain();
    assert_eq!(count_to(&rig, &peer), 2);
}

/// While a flow is blocked nothing is sent on it, whatever is owed.
#[test]
fn a_blocked_flow_gets_nothing_until_it_is_writable() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    let mut peer = rig.watched(tcp(PEER, 1), "c1");
    ok(&mut rig, &peer);
    rig.agent.set_blocked(tcp(PEER, 1), true);
    let before = count_to(&rig, &peer);
    for text in ["<a/>", "<b/>", "<c/>"] {
        rig.agent.set_state(rig.now, resource, pidf(text)).unwrap();
        assert_eq!(rig.drain().len(), 0);
        let refresh = peer.refresh(600);
        assert_eq!(rig.receive(tcp(PEER, 1), &refresh).status, 200);
        assert_eq!(rig.pass(SECOND * 10).len(), 0);
    }
    assert_eq!(count_to(&rig, &peer), before);
    rig.agent.set_blocked(tcp(PEER, 1), false);
    rig.drain();
    assert_eq!(count_to(&rig, &peer), before + 1);
    assert!(last_to(&rig, &peer).text.ends_with("<c/>"));
}

/// Blocked is blocked also for a flow that nobody used before.
#[test]
fn a_flow_blocked_before_its_first_use_is_blocked() {
    let mut rig = quick(|config| config);
    rig.resource(ME_URI);
    rig.agent.set_blocked(tcp(PEER, 1), true);
    rig.agent.set_blocked(tcp(PEER, 1), true);
    let peer = rig.watched(tcp(PEER, 1), "c1");
    assert_eq!(rig.sent.len(), 0);
    rig.agent.set_blocked(tcp(PEER, 1), false);
    rig.drain();
    assert_eq!(count_to(&rig, &peer), 1);
    rig.agent.set_blocked(tcp(PEER, 2), true);
    assert_eq!(rig.agent.handle_flow_gone(rig.now, tcp(PEER, 2)), (0, 0));
    assert_eq!(rig.agent.flows.len(), 1);
}

/// Covers: PEER-F03
#[test]
fn watchers_that_wait_for_a_closed_connection_are_told_elsewhere() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    let peer = rig.watched(tcp(PEER, 1), "c1");
    ok(&mut rig, &peer);
    rig.agent.set_blocked(tcp(PEER, 1), true);
    rig.agent.set_state(rig.now, resource, pidf("<a/>")).unwrap();
    assert_eq!(rig.drain().len(), 0);
    assert_eq!(rig.agent.handle_flow_gone(rig.now, tcp(PEER, 1)), (0, 1));
    let sent = rig.drain();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].request.destination, None);
    // Or not at all.
    let mut rig = quick(|mut config| {
        config.policy.flow_gone = FlowGone::Remove;
        config
    });
    rig.resource(ME_URI);
    rig.watched(tcp(PEER, 1), "c1");
    rig.watched(tcp(PEER, 2), "c2");
    rig.agent.set_blocked(tcp(PEER, 1), true);
    assert_eq!(rig.agent.handle_flow_gone(rig.now, tcp(PEER, 1)), (0, 1));
    rig.drain();
    assert_eq!(gone(&rig), [Gone::FlowGone]);
    assert_eq!(rig.agent.counts().1, 1);
}

/// Not more than its window goes to one flow, however often the state changes.
///
/// Covers: ADV-N6
#[test]
fn the_window_of_a_flow_holds_across_changes() {
    let mut rig = quick(|mut config| {
        config.limits.notify_window_per_flow = 2;
        config
    });
    let resource = rig.resource(ME_URI);
    let peers: Vec<Peer> = (0..5).map(|n| rig.watched(udp(PEER), &format!("c{n}"))).collect();
    for peer in &peers {
        ok(&mut rig, peer);
    }
    rig.agent.set_state(rig.now, resource, pidf("<a/>")).unwrap();
    assert_eq!(rig.drain().len(), 2);
    rig.agent.set_state(rig.now, resource, pidf("<b/>")).unwrap();
    assert_eq!(rig.drain().len(), 0, "the window is full");
    let first = rig.sent.last().unwrap().clone();
    rig.respond(&first, 200, "");
    assert_eq!(rig.sent.len(), 8);
    // After T1 the silent ones leave the window.
    let late = rig.pass(SECOND * 2);
    let bodies: Vec<&str> = late.iter().map(|s| s.text.rsplit("\r\n").next().unwrap()).collect();
    assert_eq!(bodies, ["<b/>", "<b/>", "<b/>"]);
    let still: Vec<u32> = rig.agent.watchers.iter().filter(|(_, w)| w.open.is_none()).map(|(id, _)| id.slot).collect();
    assert_eq!(still, [], "each has one under way");
}

/// A window that moves to another flow makes room on the one before.
#[test]
fn locating_a_notify_admits_those_who_waited_for_its_flow() {
    let mut rig = quick(|mut config| {
        config.limits.notify_window_per_flow = 1;
        config
    });
    let resource = rig.resource(ME_URI);
    let peers: Vec<Peer> = (0..2).map(|n| rig.watched(udp(PEER), &format!("c{n}"))).collect();
    for peer in &peers {
        ok(&mut rig, peer);
    }
    rig.agent.set_state(rig.now, resource, pidf("<a/>")).unwrap();
    let first = rig.drain();
    assert_eq!(first.len(), 1);
    rig.agent.set_destination(first[0].request.id, udp("192.0.2.77:5060"));
    assert_eq!(rig.drain().len(), 1);
}

/// Those whom a walk has passed, or has not, are each told once, whoever
/// leaves in between.
/// Covers: PEER-F09, PEER-F01
#[test]
fn a_walk_misses_nobody_when_watchers_leave() {
    for leaver in 0..8usize {
        for reached in 0..8u32 {
            let mut rig = quick(|mut config| {
                config.limits.notify_window = 1;
                config
            });
            let resource = rig.resource(ME_URI);
            let peers: Vec<Peer> = (0..8).map(|n| rig.watched(udp(PEER), &format!("c{n}"))).collect();
            for peer in &peers {
                ok(&mut rig, peer);
            }
            rig.agent.set_state(rig.now, resource, pidf("<a/>")).unwrap();
            rig.drain();
            for _ in 0..reached {
                let last = rig.sent.last().unwrap().clone();
                rig.respond(&last, 200, "");
            }
            let id = rig.agent.watchers().nth(leaver).unwrap();
            rig.agent.remove_watcher(id.0.slot);
            rig.pass(SECOND * 20);
            for (n, peer) in peers.iter().enumerate() {
                let told =
                    rig.sent.iter().filter(|s| field(&s.text, "Call-ID") == peer.call_id && s.text.ends_with("<a/>"));
                let told = told.count();
                assert!(told == 1 || n == leaver, "{n} was told {told} times, {leaver} left after {reached}");
            }
        }
    }
}

/// One resource with many silent watchers does not hold up another.
#[test]
fn resources_are_told_of_turn_by_turn() {
    let mut rig = quick(|mut config| {
        config.limits.notify_window = 8;
        config
    });
    let big = rig.resource(ME_URI);
    let many: Vec<Peer> = (0..50).map(|n| rig.watched(udp(PEER), &format!("c{n}"))).collect();
    let small = rig.agent.add_resource(&ResourceKey::new("sip:small@192.0.2.1", "presence").unwrap()).unwrap();
    let one = Peer { call_id: "one".into(), tag: None, ..many[0].clone() };
    let text = one.subscribe(600, "").replace("SUBSCRIBE sip:me@", "SUBSCRIBE sip:small@");
    assert_eq!(rig.try_receive(udp(PEER), &text), None);
    rig.agent.accept(rig.now, rig.incoming(), Decision::ACCEPT).unwrap();
    rig.pass(SECOND);
    for peer in many.iter().chain([&one]) {
        ok(&mut rig, peer);
    }
    rig.agent.set_state(rig.now, big, pidf("<big/>")).unwrap();
    rig.agent.set_state(rig.now, small, pidf("<small/>")).unwrap();
    let sent = rig.drain();
    assert_eq!(sent.len(), 8);
    assert!(sent.iter().any(|s| s.text.ends_with("<small/>")));
    let rest = rig.pass(SECOND * 10);
    assert_eq!(rest.len(), 50 + 1 - 8);
}

/// A view's own state is nobody else's news.
#[test]
fn a_change_of_one_view_is_told_to_that_view_alone() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    rig.agent.set_state(rig.now, resource, pidf("<all/>")).unwrap();
    let plain = rig.watched(udp(PEER), "c1");
    let special = rig.watched(udp(PEER), "c2");
    for peer in [&plain, &special] {
        ok(&mut rig, peer);
    }
    let id = rig.agent.watchers().nth(1).unwrap();
    rig.agent.set_view(rig.now, id, View(5)).unwrap();
    assert_eq!(rig.drain().len(), 1);
    ok(&mut rig, &special);
    rig.agent.set_state_for(rig.now, resource, View(5), pidf("<five/>")).unwrap();
    let sent = rig.drain();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].text.ends_with("<five/>"));
    ok(&mut rig, &special);
    rig.agent.set_state(rig.now, resource, pidf("<other/>")).unwrap();
    let sent = rig.drain();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].text.ends_with("<other/>"));
    assert_eq!(field(&sent[0].text, "Call-ID"), plain.call_id);
    // The view still exists where the full state is set for another one.
    ok(&mut rig, &plain);
    rig.agent.set_state_for(rig.now, resource, View(9), pidf("<nine/>")).unwrap();
    assert_eq!(rig.drain().len(), 0);
}

/// Covers: 6665-DISP-6, 6665-DISP-8, 6665-DISP-9, 6665-DISP-10, 6665-DISP-11, 6665-DISP-12, 6665-DISP-13,
/// 6665-DISP-14, 6665-DISP-15, PEER-I02
#[test]
fn a_subscribe_is_judged_in_order_and_a_refused_one_changes_nothing() {
    let mut rig = Rig::new();
    rig.resource(ME_URI);
    let mut peer = rig.watched(udp(PEER), "c1");
    ok(&mut rig, &peer);
    let id = rig.agent.watchers().next().unwrap();
    let before = rig.agent.watcher(id).unwrap().expires_at;
    let mut first = peer.clone();
    first.tag = None;
    first.call_id = "c9".into();
    let cases: &[(&str, &str, u16)] = &[
        ("SUBSCRIBE sip:me@", "SUBSCRIBE sip:nobody@", 404),
        ("Event: presence", "Event: unknown", 489),
        ("Event: presence", "Event: Presence", 489),
        ("Event: presence\r\n", "", 489),
        ("Event: presence", "Event: a b", 400),
        ("Contact: <sip:w@192.0.2.2>\r\n", "", 400),
        ("<sip:w@192.0.2.2>\r\nEvent", "*\r\nEvent", 400),
        ("<sip:w@192.0.2.2>\r\nEvent", "<tel:+1>\r\nEvent", 400),
        ("<sip:w@192.0.2.2>\r\nEvent", "<sip:w@h>, <sip:v@h>\r\nEvent", 400),
        ("Expires: 600", "Accept: text/x\r\nExpires: 600", 406),
        ("Expires: 600", "Require: zz\r\nExpires: 600", 420),
        ("Expires: 600", "Expires: 1", 423),
    ];
    for (from, to, status) in cases {
        let text = first.subscribe(600, "").replacen(from, to, 1);
        let answer = rig.receive(udp(PEER), &text);
        assert_eq!(answer.status, *status, "{to}");
        assert_eq!(find_field(&answer.fields, "Min-Expires").is_some(), *status == 423);
        assert_eq!(find_field(&answer.fields, "Allow-Events").is_some(), *status == 489);
        assert_eq!(find_field(&answer.fields, "Unsupported").is_some(), *status == 420);
    }
    // An unknown scheme comes before an unknown extension.
    let odd = first.subscribe(600, "Require: zz\r\n").replacen("SUBSCRIBE sip:me@", "SUBSCRIBE foo:me@", 1);
    assert_eq!(rig.receive(udp(PEER), &odd).status, 416);
    // A resource that is not ours is told before what it could be asked in.
    let odd = first.subscribe(1, "Accept: text/x\r\n").replacen("SUBSCRIBE sip:me@", "SUBSCRIBE sip:no@", 1);
    assert_eq!(rig.receive(udp(PEER), &odd).status, 404);
    assert_eq!(rig.agent.counts(), (0, 1, 1, 0));
    let stale = peer.subscribe(600, "");
    assert_eq!(rig.receive(udp(PEER), &stale).status, 500);
    for (from, to, status) in [
        ("Event: presence", "Event: message-summary", 403),
        ("Event: presence", "Event: presence;id=1", 403),
        ("From: <sip:w@192.0.2.2>;tag=w", "From: <sip:w@192.0.2.2>;tag=z", 481),
        ("Expires: 600", "Accept: text/x\r\nExpires: 600", 406),
        ("Expires: 600", "Expires: 1", 423),
        ("<sip:w@192.0.2.2>\r\nEvent", "*\r\nEvent", 400),
    ] {
        let text = peer.refresh(600).replacen(from, to, 1);
        assert_eq!(rig.receive(udp(PEER), &text).status, status, "{to}");
        peer.cseq -= 1;
    }
    assert_eq!(rig.agent.watcher(id).unwrap().expires_at, before);
    let good = peer.refresh(600);
    assert_eq!(rig.receive(udp(PEER), &good).status, 200);
}

/// Covers: 3261-12.1.1-3
#[test]
fn a_secure_dialog_gets_a_secure_contact() {
    for (from, to) in [
        ("SUBSCRIBE sip:", "SUBSCRIBE sips:"),
        ("<sip:w@192.0.2.2>\r\nEvent", "<sips:w@192.0.2.2>\r\nEvent"),
        ("Event:", "Record-Route: <sips:p.example.com;lr>\r\nEvent:"),
    ] {
        let mut rig = Rig::configured(|mut config| {
            config.policy.unknown_resource = UnknownResource::Ask;
            config
        });
        let peer =
            Peer { flow: udp(PEER), call_id: "c1".into(), cseq: 1, tag: None, contact: "sip:w@192.0.2.2".into() };
        let text = peer.subscribe(600, "").replacen(from, to, 1);
        assert_eq!(rig.try_receive(udp(PEER), &text), None);
        rig.agent.accept(rig.now, rig.incoming(), Decision::ACCEPT).unwrap();
        rig.drain();
        assert!(field(&last_to(&rig, &peer).text, "Contact").starts_with("<sips:"), "{to}");
    }
}

/// An application that does not poll events cannot be made to store refreshes.
#[test]
fn refreshes_that_nobody_polls_are_bounded() {
    let mut rig = Rig::configured(|mut config| {
        config.limits.events = 4;
        config
    });
    rig.resource(ME_URI);
    let mut peer = rig.watched(udp(PEER), "c1");
    rig.listening = false;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let refresh = peer.refresh(600);
        statuses.push(rig.receive(udp(PEER), &refresh).status);
    }
    assert_eq!(statuses[..4], [200; 4]);
    assert_eq!(statuses[4..], [503; 6]);
    assert_eq!(rig.agent.events.len(), 4);
    // The end gets through.
    let bye = peer.refresh(0);
    assert_eq!(rig.receive(udp(PEER), &bye).status, 200);
    ok(&mut rig, &peer);
    rig.listening = true;
    rig.drain();
    assert_eq!(gone(&rig), [Gone::Unsubscribed]);
}

/// Covers: PEER-H02
#[test]
fn closing_to_persist_says_nothing_more() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    let mut peer = rig.watched(udp(PEER), "c1");
    ok(&mut rig, &peer);
    let open = Peer { call_id: "c2".into(), tag: None, ..peer.clone() };
    assert_eq!(rig.try_receive(udp(PEER), &open.subscribe(600, "")), None);
    let (id, _) = rig.established(crate::Subscribe::new("sip:x@192.0.2.2", "presence").unwrap());
    rig.agent.set_state(rig.now, resource, pidf("<late/>")).unwrap();
    let watcher = rig.agent.watchers().next().unwrap();
    rig.agent.set_view(rig.now, watcher, View(3)).unwrap();
    rig.agent.refresh(rig.now, id, None).unwrap();
    rig.agent.close(rig.now, Close::Persist);
    assert_eq!(rig.drain().len(), 0);
    assert_eq!(rig.agent.counts(), (1, 1, 1, 0), "nothing is forgotten but what nobody else can answer");
    assert_eq!(rig.events.iter().filter(|e| **e == Event::Drained).count(), 1);
    assert_eq!(rig.pass(SECOND * 10_000).len(), 0);
    assert_eq!(rig.agent.poll_timeout(), None);
    let refresh = peer.refresh(600);
    let answer = rig.receive(udp(PEER), &refresh);
    assert_eq!((answer.status, field(&answer.fields, "Retry-After")), (503, "10"));
    assert_eq!(rig.agent.counts(), (1, 1, 1, 0));
}

/// Covers: PEER-F10
#[test]
fn closing_tells_every_watcher_once() {
    let mut rig = quick(|config| config);
    let resource = rig.resource(ME_URI);
    let peers: Vec<Peer> = (0..3).map(|n| rig.watched(udp(PEER), &format!("c{n}"))).collect();
    ok(&mut rig, &peers[0]);
    let undecided = Peer { call_id: "u".into(), tag: None, ..peers[0].clone() };
    assert_eq!(rig.try_receive(udp(PEER), &undecided.subscribe(600, "")), None);
    let id = rig.incoming();
    rig.agent.set_state(rig.now, resource, pidf("<late/>")).unwrap();
    rig.agent.close(rig.now, Close::Terminate);
    rig.drain();
    assert_eq!(rig.agent.accept(rig.now, id, Decision::ACCEPT), Err(Misuse::StaleId));
    // Those with an open NOTIFY are told when it is answered.
    ok(&mut rig, &peers[1]);
    ok(&mut rig, &peers[2]);
    for peer in &peers {
        let last = last_to(&rig, peer);
        assert_eq!(field(&last.text, "Subscription-State"), "terminated;reason=probation");
        assert!(last.text.ends_with("<late/>"));
    }
    assert!(!rig.agent.is_drained());
    for peer in &peers {
        ok(&mut rig, peer);
    }
    assert_eq!(gone(&rig).len(), 3);
    assert_eq!(rig.events.last(), Some(&Event::Drained));
    rig.agent.close(rig.now, Close::Terminate);
    rig.drain();
    assert_eq!(rig.events.iter().filter(|e| **e == Event::Drained).count(), 1);
    assert_eq!(rig.agent.poll_timeout(), None);
    assert_eq!(rig.agent.flows.len(), 0);
}

/// Covers: PEER-B18, PEER-B16
#[test]
fn refreshes_every_second_leave_nothing_behind() {
    let mut rig = quick(|config| config);
    rig.resource(ME_URI);
    let mut peer = rig.watched(udp(PEER), "c1");
    for _ in 0..500 {
        let refresh = peer.refresh(60);
        assert_eq!(rig.receive(udp(PEER), &refresh).status, 200);
        rig.pass(SECOND);
    }
    assert_eq!(rig.agent.flows.len(), 1);
    assert!(rig.agent.window.len() <= 1 && rig.agent.owed.is_empty() && rig.agent.abandoned.is_empty());
    rig.pass(SECOND * 61);
    let last = last_to(&rig, &peer).clone();
    rig.fail(&last, Failure::Timeout);
    assert_eq!(rig.agent.counts(), (0, 0, 1, 0));
    assert_eq!(rig.agent.poll_timeout(), None);
    assert_eq!(rig.agent.flows.len(), 0);
}

/// Without an address of ours there is no Contact to give.
#[test]
fn nobody_is_accepted_without_a_local_address() {
    let config = crate::Config::new("sip:me@192.0.2.1").unwrap();
    let mut rig = bare(config.with_authentication(crate::Authentication::None));
    assert_eq!(rig.agent.accept(rig.now, rig.incoming(), Decision::ACCEPT), Err(Misuse::NoLocalAddress));
}

/// Covers: ADV-E12
#[test]
fn nobody_is_accepted_before_a_word_about_authentication() {
    let mut rig = bare(crate::Config::new("sip:me@192.0.2.1").unwrap());
    rig.agent.add_local(crate::wire::Transport::Udp, "192.0.2.1:5060".parse().unwrap(), None, None).unwrap();
    assert_eq!(rig.agent.accept(rig.now, rig.incoming(), Decision::ACCEPT), Err(Misuse::NoAuthentication));
    rig.pass(SECOND * 4);
    assert_eq!(rig.agent.watchers().count(), 0, "silence accepts nobody either");
}

/// Somebody has subscribed at an agent without address.
fn bare(config: crate::Config) -> Rig {
    let mut rig = Rig::new();
    let seed = crate::Seed([1; 32]);
    rig.agent = crate::Agent::new(alloc::sync::Arc::new(config), Packages::standard(), &seed, crate::Instant::ZERO);
    rig.resource(ME_URI);
    let peer = Peer { flow: udp(PEER), call_id: "c1".into(), cseq: 1, tag: None, contact: "sip:w@192.0.2.2".into() };
    assert_eq!(rig.try_receive(udp(PEER), &peer.subscribe(600, "")), None);
    rig
}

/// Covers: 6665-NRC-6
#[test]
fn a_challenged_notify_is_reported_and_kept() {
    let mut rig = quick(|config| config);
    rig.resource(ME_URI);
    let peer = rig.watched(udp(PEER), "c1");
    let open = last_to(&rig, &peer).clone();
    rig.respond(&open, 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n");
    #[cfg(feature = "digest")]
    assert!(rig.events.iter().any(|e| matches!(e, Event::Challenge { realm, .. } if &realm[..] == b"r")));
    assert_eq!(rig.agent.counts().1, 1);
}

/// Records stay small: many of them are kept.
#[test]
fn records_are_small() {
    let watcher = size_of::<super::super::watchers::Watcher>();
    let subscription = size_of::<super::super::subscriptions::Subscription>();
    assert!(watcher <= 256, "{watcher}");
    assert!(subscription <= 320, "{subscription}");
}
