//! The smallest worlds in which something once went wrong.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use super::*;
use crate::package::{Forking, Opaque};
use crate::{Body, Config, Decision, Endpoint, Event, Instant, Packages, Reason, ResourceKey, StreamId, Subscribe};

mod doctored;

/// Serves one resource; accepts at once, or leaves it to the policy.
#[derive(Debug)]
struct App {
    accepts: bool,
}

const DOOR: &str = "sip:door@10.0.0.1";

impl Application for App {
    fn start(&mut self, endpoint: &mut Endpoint, now: Instant, _: Store) {
        let key = ResourceKey::new(DOOR, "x").unwrap();
        let door = endpoint.find(&key).unwrap_or_else(|| endpoint.add_resource(&key).unwrap());
        endpoint.set_state(now, door, Body::from_static("text/plain", b"shut")).unwrap();
    }

    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: &Event) {
        if let (Event::Subscribe(id), true) = (event, self.accepts) {
            endpoint.accept(now, *id, Decision::ACCEPT).unwrap();
        }
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Node 0 has the door, node 1 watches it.
fn world(seed: u64, accepts: bool, uri: &str) -> World<App> {
    let mut packages = Packages::new();
    packages.register(Opaque::new("x").with_rate(Duration::ZERO).with_forking(Forking::All)).unwrap();
    let mut world = World::new(seed);
    for at in 1..=2 {
        let config =
            Config::new(&format!("sip:n{at}@10.0.0.{at}")).unwrap().with_authentication(crate::Authentication::None);
        let blueprint = Blueprint::new(config, packages.clone(), format!("10.0.0.{at}:5060").parse().unwrap());
        world.add_node(&format!("node{at}"), blueprint, App { accepts });
    }
    let request = Subscribe::new(uri, "x").unwrap();
    world.command(1, |_, endpoint, now| endpoint.subscribe(now, request).unwrap());
    world
}

fn assert_sound<A: Application>(world: &World<A>) {
    assert!(world.violation().is_none(), "{}", world.violation().unwrap());
}

#[test]
fn a_subscribe_whose_transaction_ended_is_not_accepted_without_a_2xx() {
    let mut world = world(1, false, DOOR);
    world.run_for(secs(1));
    world.set_clock(0, Fault::ClockStall, secs(300));
    world.run_for(secs(600));
    assert_sound(&world);
    assert_eq!(world.node(0).unwrap().endpoint().unwrap().watchers().count(), 0);
}

#[test]
fn a_refresh_that_waits_for_a_stream_is_not_sent_after_the_end() {
    let mut world = world(1, true, "sip:door@10.0.0.1;transport=tcp");
    world.run_for(secs(1));
    let stream = StreamId(2);
    world.command(1, |_, endpoint, now| {
        let id = endpoint.subscriptions().next().unwrap();
        endpoint.set_writable(now, stream, false).unwrap();
        endpoint.refresh(now, id, None).unwrap();
    });
    world.command(0, |_, endpoint, now| {
        let watcher = endpoint.watchers().next().unwrap();
        endpoint.terminate(now, watcher, &Reason::NoResource, None).unwrap();
    });
    world.run_for(secs(1));
    world.command(1, |_, endpoint, now| endpoint.set_writable(now, stream, true).unwrap());
    world.run_for(secs(100));
    assert_sound(&world);
    world.check_empty();
    assert_sound(&world);
}

/// A node that saves anew after each start never counts back, whatever its clock
/// shows and however old it takes its snapshot to be.
#[test]
fn cseq_rises_over_restarts_whose_clock_was_set_back() {
    let fate = |age_is_known: bool| {
        let mut world = world(1, true, DOOR);
        world.run_for(secs(400));
        world.save(0);
        world.set_clock(0, Fault::ClockBack, secs(295));
        for (store, body) in [(Store::Intact, &b"open"[..]), (Store::Stale, b"ajar")] {
            world.run_for(secs(100));
            if !age_is_known {
                world.nodes[0].saved.as_mut().unwrap().at = world.now() + secs(41);
            }
            world.crash(0, store, secs(41));
            world.run_for(secs(50));
            world.command(0, |_, endpoint, now| {
                let door = endpoint.resources().next().unwrap();
                endpoint.set_state(now, door, Body::from_static("text/plain", body)).unwrap();
            });
        }
        world.run_for(secs(100));
        world.violation().map(|violation| violation.invariant)
    };
    assert_eq!(fate(true), None);
    assert_eq!(fate(false), None);
}

/// What was there before a move is there after it, on either side, and a
/// snapshot from before the move does not bring it back to where it was.
#[test]
fn a_node_that_moves_goes_on() {
    for node in [0, 1] {
        let mut world = world(1, true, DOOR);
        world.run_for(secs(10));
        world.save(node);
        world.rehome(node, "10.0.1.9:5060".parse().unwrap());
        for _ in 0..2 {
            world.run_for(secs(100));
            world.command(0, |_, endpoint, now| {
                let door = endpoint.resources().next().unwrap();
                endpoint.set_state(now, door, Body::new("text/plain", now.to_string())).unwrap();
            });
            world.run_for(secs(40));
            world.check_documents(Duration::ZERO, false);
            world.check_nodes();
            assert_sound(&world);
            world.crash(node, Store::Stale, secs(1));
        }
        assert_eq!(world.figures().states, 2);
        world.heal();
        world.run_for(secs(100));
        assert_sound(&world);
        assert_eq!(world.nodes[0].endpoint().unwrap().watchers().count(), 1);
    }
}

#[test]
fn a_connection_without_pongs_is_given_up() {
    let mut world = world(1, true, "sip:door@10.0.0.1;transport=tcp");
    world.run_for(secs(1));
    let first = world.nodes[1].streams.clone();
    world.ping(1, 0, Some(secs(20)));
    world.run_for(secs(100));
    assert_eq!((first.len(), &world.nodes[1].streams), (1, &first));
    world.wall(0, 1, false, secs(50));
    world.run_for(secs(40));
    assert!(!world.nodes[1].streams.contains(&first[0]));
    world.run_for(secs(200));
    assert_sound(&world);
    assert_eq!(world.nodes[0].endpoint().unwrap().watchers().count(), 1);
}

/// A command and a clock that jumps concern all subscriptions at once.
#[test]
fn outputs_are_bounded_for_each_object() {
    let mut world = world(1, true, DOOR);
    for _ in 0..100 {
        let request = Subscribe::new(DOOR, "x").unwrap();
        world.command(1, |_, endpoint, now| endpoint.subscribe(now, request).unwrap());
        world.run_for(secs(1));
    }
    world.set_clock(1, Fault::ClockForward, secs(3550));
    world.run_for(secs(10));
    assert_sound(&world);
    let subscriptions = |world: &World<App>| world.node(1).unwrap().endpoint().unwrap().subscriptions().count();
    assert_eq!(subscriptions(&world), 101);
    world.command(1, |_, endpoint, now| {
        let ids: alloc::vec::Vec<_> = endpoint.subscriptions().collect();
        for id in ids {
            endpoint.unsubscribe(now, id, crate::Scope::This).unwrap();
        }
    });
    world.run_for(secs(40));
    assert_sound(&world);
    assert_eq!(subscriptions(&world), 0);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let trace = |seed| Scenario::new(seed, secs(1800)).run(false).figures;
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5).trace, trace(6).trace);
}

#[test]
fn a_ladder_and_a_capture_show_what_was_said() {
    let mut world = world(3, true, DOOR);
    world.keep_log();
    world.command(1, |_, endpoint, now| {
        endpoint.subscribe(now, Subscribe::new(DOOR, "x").unwrap()).unwrap();
    });
    world.run_for(secs(2));
    let log = world.log().unwrap();
    let ladder = log.ladder();
    assert!(ladder.contains("SUBSCRIBE") && ladder.contains("NOTIFY"), "{ladder}");
    assert_eq!(ladder.lines().count(), log.frames.len() + 1);
    let pcap = log.pcap();
    let frames: usize = log.frames.iter().map(|frame| frame.bytes.len() + 16 + 20 + 8).sum();
    assert_eq!(pcap.len(), 24 + frames);
    assert_eq!(Invariant::NoSpin.to_string(), "no spin");
}

/// Each rule stands in the manual with the tests that break it, and they exist.
#[test]
fn every_rule_is_documented_with_its_proof() {
    let manual = include_str!("../../docs/simulation.md");
    let tests = [
        include_str!("checkers/tests.rs"),
        include_str!("model/tests.rs"),
        include_str!("tests/doctored.rs"),
        include_str!("../../tests/sim/main.rs"),
    ]
    .concat();
    for rule in Invariant::ALL {
        let start = format!("| {rule} |");
        let row = manual.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no row for {rule:?}"));
        let proofs = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        for proof in proofs.clone() {
            assert!(tests.contains(&format!("fn {proof}()")), "{proof}");
        }
        assert!(proofs.count() > 0, "{row}");
    }
    assert_eq!(manual.lines().filter(|line| line.starts_with("| ")).count(), Invariant::ALL.len() + 2);
}
