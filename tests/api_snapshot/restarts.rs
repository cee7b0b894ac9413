//! Nodes that crash and come back, at any moment and with old snapshots.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Method, Transport};
use sip_events::{
    Decision, Endpoint, Event, Flow, Instant, Limits, Packages, Reason, ResourceKey, Restart, Scope, Subscribe,
};

use crate::world::{Random, World, address, config, restore, save, seed, state};

/// Covers: PEER-H06
#[test]
fn without_state_a_refresh_gets_481() {
    let now = Instant::from_secs(1_000);
    let mut endpoint = Endpoint::new(Arc::new(config(0)), Packages::standard(), &seed(1), now);
    endpoint.add_local(Transport::Udp, address(0), None, None).unwrap();
    let flow = Flow::udp(address(0), address(1));
    let refresh = "SUBSCRIBE sip:n0@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK1\r\n\
                   Max-Forwards: 70\r\nFrom: <sip:n1@192.0.2.2>;tag=a\r\nTo: <sip:n0@192.0.2.1>;tag=w0000000000000001\r\n\
                   Call-ID: c\r\nCSeq: 9 SUBSCRIBE\r\nContact: <sip:n1@192.0.2.2>\r\nEvent: presence\r\n\
                   Expires: 600\r\nContent-Length: 0\r\n\r\n";
    let _ = endpoint.handle_message(now, flow, refresh.as_bytes());
    let mut answer = Vec::new();
    let _ = endpoint.poll_transmit(now, &mut answer).expect("an answer");
    assert_eq!(Message::parse(&answer).unwrap().status().unwrap().as_u16(), 481);
    assert_eq!(endpoint.poll_event(), None, "no new subscription");
    assert_eq!(endpoint.watchers().count(), 0);
}

/// Found by `tests/exhaustive`.
///
/// Covers: 6665-SSM-26
#[test]
fn a_dialog_that_is_over_is_no_fork_after_a_restart() {
    let now = Instant::from_secs(1_000);
    let mut endpoint = Endpoint::new(Arc::new(config(0)), Packages::standard(), &seed(1), now);
    endpoint.add_local(Transport::Udp, address(0), None, None).unwrap();
    let id = endpoint.subscribe(now, Subscribe::new("sip:n1@192.0.2.2", "message-summary").unwrap()).unwrap();
    let sent = |endpoint: &mut Endpoint| {
        let mut bytes = Vec::new();
        let _ = endpoint.poll_transmit(now, &mut bytes).expect("something to send");
        String::from_utf8(bytes).unwrap()
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    };
    let flow = Flow::udp(address(0), address(1));
    let first = sent(&mut endpoint);
    let notify = format!(
        "NOTIFY sip:n0@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:n1@192.0.2.2>;tag=b\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\n\
         Contact: <sip:n1@192.0.2.2>\r\nEvent: message-summary\r\nSubscription-State: active;expires=600\r\n\
         Content-Length: 0\r\n\r\n",
        field(&first, "From"),
        field(&first, "Call-ID")
    );
    let _ = endpoint.handle_message(now, flow, notify.as_bytes());
    assert!(sent(&mut endpoint).starts_with("SIP/2.0 200"));
    endpoint.unsubscribe(now, id, Scope::AllForks).unwrap();
    while endpoint.poll_event().is_some() {}
    let mut again = restore(0, &save(&endpoint, now, 10), now, Duration::ZERO, &Restart::Fresh(seed(2)));
    // The notifier knows nothing of it any more.
    let last = sent(&mut again);
    let answer = format!(
        "SIP/2.0 481 Gone\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
        field(&last, "Via"),
        field(&last, "From"),
        field(&last, "To"),
        field(&last, "Call-ID"),
        field(&last, "CSeq")
    );
    let _ = again.handle_message(now, flow, answer.as_bytes());
    assert!(matches!(again.poll_event(), Some(Event::Terminated { .. })));
    // The transaction that knew this one is gone with the crash.
    let _ = again.handle_message(now, flow, notify.as_bytes());
    assert!(sent(&mut again).starts_with("SIP/2.0 481"));
    assert_eq!((again.poll_event(), again.subscriptions().count()), (None, 0));
}

/// Covers: PEER-C04
#[test]
fn no_identifier_repeats_after_a_restart() {
    let mut world = World::new(2, 11);
    world.add_resource(1);
    world.set_state(1, 0);
    for _ in 0..5 {
        world.subscribe(0, 1, 600);
    }
    world.run(Duration::from_secs(5));
    // The same old snapshot, again and again.
    let (saved, taken) = (save(&world.nodes[1], world.now, 10), world.now);
    let mut branches: BTreeSet<String> = BTreeSet::new();
    for life in 1..6 {
        let minted: BTreeSet<String> =
            std::mem::take(&mut world.minted[1]).into_iter().filter(|text| text.starts_with("z9hG4bK")).collect();
        assert!(!minted.is_empty() && branches.is_disjoint(&minted), "a branch repeats in life {life}");
        branches.extend(minted);
        world.restart(1, &saved, taken);
        world.set_state(1, life);
        world.run(Duration::from_secs(20));
        assert!(world.all_know(life), "{life}: {:?}", world.told);
    }
}

/// An unanswered NOTIFY is owed again, with a higher CSeq ([`World`] checks
/// that), and so is a SUBSCRIBE.
#[test]
fn what_was_in_flight_is_sent_again() {
    for crashed in [0, 1] {
        for (steps, lost) in (0..60).map(|steps| (steps, 0)).chain((0..60).map(|steps| (steps, 3))) {
            let mut world = World::new(2, 21);
            world.add_resource(1);
            world.set_state(1, 1);
            let id = world.subscribe(0, 1, 600);
            world.run(Duration::from_millis(steps));
            let saved = save(&world.nodes[crashed], world.now, 1);
            let taken = world.now;
            // What happens now is forgotten.
            world.run(Duration::from_millis(lost));
            world.restart(crashed, &saved, taken);
            world.run(Duration::from_secs(60));
            // A dialog that only the lost past of the subscriber knew ends with the next NOTIFY, and one
            // that only the lost past of the notifier knew with the next refresh.
            world.set_state(1, 2);
            world.run(Duration::from_secs(if lost == 0 { 10 } else { 700 }));
            let case = format!("{crashed} after {steps} ms, {lost} ms lost");
            assert_eq!(world.nodes[0].subscriptions().collect::<Vec<_>>(), [id], "{case}");
            assert!(world.all_know(2), "{case}");
            assert_eq!(world.nodes[1].watchers().count(), 1, "{case}");
        }
    }
}

#[test]
fn a_refresh_and_an_end_that_were_in_flight_are_sent_again() {
    for steps in 0..60 {
        for refresh in [true, false] {
            let mut world = World::new(2, 31);
            world.add_resource(1);
            world.set_state(1, 1);
            let id = world.subscribe(0, 1, 600);
            world.run(Duration::from_secs(40));
            let now = world.now;
            if refresh {
                world.nodes[0].refresh(now, id, Some(1200)).unwrap();
            } else {
                world.nodes[0].unsubscribe(now, id, sip_events::Scope::This).unwrap();
            }
            world.run(Duration::from_millis(steps));
            let saved = save(&world.nodes[0], world.now, 1);
            let taken = world.now;
            world.run(Duration::from_millis(2));
            world.restart(0, &saved, taken);
            world.run(Duration::from_secs(100));
            if refresh {
                let left = world.nodes[0].subscription(id).unwrap().expires_at.unwrap() - world.now;
                assert!(left > Duration::from_secs(1_000), "{steps}: {left:?}");
                assert_eq!(world.nodes[1].watchers().count(), 1);
            } else {
                assert_eq!(world.nodes[0].subscriptions().count(), 0, "{steps}");
                assert_eq!(world.nodes[1].watchers().count(), 0, "{steps}");
            }
        }
    }
}

/// The endpoint goes on while the snapshot is written, record by record.
#[test]
fn a_snapshot_may_be_written_while_things_happen() {
    for number in 0..6 {
        let mut world = World::new(4, number);
        for node in [1, 2, 3] {
            world.add_resource(node);
            world.set_state(node, 0);
        }
        for node in [0, 2, 3] {
            world.subscribe(node, 1, 600);
            world.subscribe(1, node.max(2), 600);
        }
        world.run(Duration::from_millis(world.random.clone().next(60)));
        let (mut writer, mut out, taken) = (world.nodes[1].snapshot(world.now, 1), Vec::new(), world.now);
        let mut random = Random(number);
        while writer.step(&world.nodes[1], &mut out) == sip_events::Progress::More {
            match random.next(4) {
                0 => _ = world.subscribe(usize::try_from(random.next(4)).unwrap(), 1, 300),
                1 => world.set_state(1, random.next(100) + 1),
                2 => {
                    let mine: Vec<_> = world.nodes[1].subscriptions().collect();
                    if let Some(id) = mine.first() {
                        let _ = world.nodes[1].unsubscribe(world.now, *id, sip_events::Scope::This);
                    }
                }
                _ => {}
            }
            world.run(Duration::from_millis(random.next(30)));
        }
        world.run(Duration::from_secs(2));
        world.restart(1, &out, taken);
        world.set_state(1, 777);
        for node in [2, 3] {
            world.set_state(node, 777);
        }
        world.run(Duration::from_secs(3_600));
        assert!(world.all_know(777), "run {number}: {:?}", world.told);
    }
}

/// A world in which any node may crash at any moment and come back with an
/// intact or an old snapshot: every subscription goes on, and learns the
/// latest state once the faults are over.
#[test]
fn every_subscription_survives_every_crash() {
    for number in 0..30 {
        let mut world = World::new(3, 100 + number);
        for node in 0..3 {
            world.add_resource(node);
            world.set_state(node, 0);
        }
        let mut ids = Vec::new();
        for (from, to) in [(0, 1), (0, 2), (1, 2), (2, 0)] {
            ids.push((from, world.subscribe(from, to, 300)));
        }
        world.run(Duration::from_secs(1));
        world.loss = 10;
        let mut snapshots: Vec<(Vec<u8>, Instant)> =
            world.nodes.iter().map(|node| (save(node, world.now, 5), world.now)).collect();
        for round in 0..60 {
            world.run(Duration::from_millis(world.random.clone().next(20_000)));
            let node = usize::try_from(world.random.next(3)).unwrap();
            match world.random.next(5) {
                0 => snapshots[node] = (save(&world.nodes[node], world.now, 5), world.now),
                1 => {
                    let (saved, taken) = snapshots[node].clone();
                    world.restart(node, &saved, taken);
                }
                2 => {
                    let (saved, taken) = (save(&world.nodes[node], world.now, 1), world.now);
                    // It is away for a while.
                    world.restart(node, &saved, taken);
                    snapshots[node] = (saved, taken);
                }
                3 => world.set_state(node, round + 1),
                _ => {}
            }
        }
        world.loss = 0;
        for node in 0..3 {
            world.set_state(node, 1_000);
        }
        world.run(Duration::from_secs(3_600));
        for (node, id) in &ids {
            let state = world.nodes[*node].explain(*id);
            assert!(state.is_some(), "run {number}: {id} of {node} is lost: {:?}", world.ended);
        }
        assert!(world.all_know(1_000), "run {number}: {:?}", world.told);
        assert!(world.ended.is_empty(), "run {number}: {:?}", world.ended);
        for endpoint in &world.nodes {
            assert!(endpoint.watchers().count() <= 2, "no watcher is left over");
        }
    }
}

#[test]
fn an_agent_reads_the_snapshot_of_an_endpoint_and_the_other_way_round() {
    let mut world = World::new(2, 5);
    world.add_resource(1);
    world.set_state(1, 1);
    world.subscribe(0, 1, 600);
    world.run(Duration::from_secs(50));
    let saved = save(&world.nodes[1], world.now, 2);
    let fresh = Restart::Fresh(seed(9));
    let agent = sip_events::Agent::restore(
        Arc::new(config(1)),
        Packages::standard(),
        &saved,
        world.now,
        Duration::ZERO,
        &fresh,
    )
    .unwrap();
    assert_eq!(agent.counts(), world.nodes[1].agent().counts());
    assert_eq!(agent.digest(), world.nodes[1].agent().digest());
    let (mut writer, mut out) = (agent.snapshot(world.now, 2), Vec::new());
    while writer.step_agent(&agent, &mut out) == sip_events::Progress::More {}
    assert!(out.len() < saved.len(), "no transactions");
    let endpoint = restore(1, &out, world.now, Duration::ZERO, &Restart::Fresh(seed(10)));
    assert_eq!(endpoint.agent().digest(), agent.digest());
    world.nodes[1] = endpoint;
    world.set_state(1, 2);
    world.run(Duration::from_secs(10));
    assert!(world.all_know(2));
    let ended = |event: &Event| matches!(event, Event::Terminated { .. });
    assert!(std::iter::from_fn(|| world.nodes[0].poll_event()).all(|event| !ended(&event)));
}

/// Many watchers are being told something, one piece at a time, when the program stops: those not yet told are told by its
/// successor, by whatever it was that they were to be told.
#[test]
fn what_was_half_done_to_many_is_done_to_the_rest() {
    const MANY: usize = 40;
    let moved: SocketAddr = "192.0.2.99:5060".parse().unwrap();
    for case in ["a new state", "the end of the resource", "expiry", "a new address"] {
        for stop in [0, 1, 7, 39] {
            let now = Instant::from_secs(100_000);
            let own = if case == "a new address" { moved } else { address(1) };
            let config = || {
                let mut limits = Limits::default();
                limits.timers_per_wakeup = 1;
                Arc::new(config(1).with_limits(limits))
            };
            let mut endpoint = Endpoint::new(config(), Packages::standard(), &seed(1), now);
            endpoint.add_local(Transport::Udp, address(1), None, None).unwrap();
            let resource = endpoint.add_resource(&ResourceKey::new("sip:n1@192.0.2.2", "presence").unwrap()).unwrap();
            let mut told = BTreeSet::new();
            for n in 0..MANY {
                let subscribe = format!(
                    "SUBSCRIBE sip:n1@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
                     From: <sip:a@192.0.2.1>;tag={n}\r\nTo: <sip:n1@192.0.2.2>\r\nCall-ID: c{n}\r\nCSeq: 1 SUBSCRIBE\r\n\
                     Contact: <sip:a@192.0.2.1>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
                );
                let _ = endpoint.handle_message(now, Flow::udp(address(1), address(0)), subscribe.as_bytes());
                while let Some(event) = endpoint.poll_event() {
                    if let Event::Subscribe(incoming) = event {
                        endpoint.accept(now, incoming, Decision::ACCEPT).unwrap();
                    }
                }
                answer_all(&mut endpoint, now, usize::MAX, &mut told, address(1));
            }
            assert_eq!(told.len(), MANY);
            told.clear();
            let later = now + Duration::from_secs(if case == "expiry" { 601 } else { 20 });
            let mut half = 0;
            match case {
                "a new state" => _ = endpoint.set_state(later, resource, state(5)).unwrap(),
                "the end of the resource" => endpoint.remove_resource(later, resource, &Reason::NoResource).unwrap(),
                "expiry" => half = stop,
                _ => {
                    endpoint.add_local(Transport::Udp, moved, None, None).unwrap();
                    endpoint.rehome(later, address(1), moved).unwrap();
                    half = stop;
                }
            }
            for _ in 0..half {
                endpoint.handle_timeout(later);
            }
            answer_all(&mut endpoint, later, stop, &mut told, own);
            assert!(told.len() < MANY, "{case}: {stop}");
            let saved = save(&endpoint, later, 3);
            let fresh = Restart::Fresh(seed(2));
            let mut next =
                Endpoint::restore(config(), Packages::standard(), &saved, later, Duration::ZERO, &fresh).unwrap();
            next.add_local(Transport::Udp, own, None, None).unwrap();
            for second in 0..60 {
                for _ in 0..2 * MANY {
                    next.handle_timeout(later + Duration::from_secs(second));
                }
                answer_all(&mut next, later + Duration::from_secs(second), usize::MAX, &mut told, own);
                while next.poll_event().is_some() {}
            }
            assert_eq!(told.len(), MANY, "{case} after {stop}");
            let left = if matches!(case, "a new state" | "a new address") { MANY } else { 0 };
            assert_eq!(next.watchers().count(), left, "{case} after {stop}");
        }
    }
}

/// Answers the NOTIFYs that come, so many at most; whose they were that have `own` for Contact.
fn answer_all(endpoint: &mut Endpoint, now: Instant, most: usize, told: &mut BTreeSet<String>, own: SocketAddr) {
    let (mut bytes, mut left) = (Vec::new(), most);
    while left > 0
        && let Some(transmit) = endpoint.poll_transmit(now, &mut bytes)
    {
        transmit.append_body(&mut bytes);
        let message = Message::parse(&bytes).unwrap();
        if message.method() == Some(Method::Notify) {
            left -= 1;
            let field = |name| String::from_utf8(message.field(name, 0).unwrap().to_vec()).unwrap();
            let call = field(HeaderName::CallId);
            let names = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
            let lines: String = names.into_iter().map(|name| format!("{name}: {}\r\n", field(name))).collect();
            let answer = format!("SIP/2.0 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
            let _ = endpoint.handle_message(now, transmit.flow, answer.as_bytes());
            if field(HeaderName::Contact).contains(&own.to_string()) {
                told.insert(call);
            }
        }
        bytes.clear();
    }
}
