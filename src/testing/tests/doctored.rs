//! Each rule about whole worlds, and a world that breaks it.

use alloc::vec::Vec;

use super::*;
use crate::testing::net::Datagram;
use crate::testing::node::Saved;

fn broken<A: Application>(world: &World<A>) -> Option<Invariant> {
    world.violation().map(|violation| violation.invariant)
}

fn subscribe<A: Application>(world: &mut World<A>, node: usize, uri: &str) {
    let request = Subscribe::new(uri, "x").unwrap();
    world.command(node, |_, endpoint, now| endpoint.subscribe(now, request).unwrap());
}

fn open_the_door(world: &mut World<App>) {
    world.command(0, |_, endpoint, now| {
        let door = endpoint.resources().next().unwrap();
        endpoint.set_state(now, door, Body::from_static("text/plain", b"open")).unwrap();
    });
}

/// One node has the door, two watch it, all at rest.
fn three() -> World<App> {
    let mut world = world(1, true, DOOR);
    let packages = world.nodes[0].blueprint.packages.clone();
    let config = Config::new("sip:n3@10.0.0.3").unwrap().with_authentication(crate::Authentication::None);
    let blueprint = Blueprint::new(config, packages, "10.0.0.3:5060".parse().unwrap());
    world.add_node("node3", blueprint, App { accepts: true });
    subscribe(&mut world, 2, DOOR);
    world.run_for(secs(100));
    world.check_documents(Duration::ZERO, false);
    world.check_nodes();
    assert_sound(&world);
    assert_eq!(world.figures().states, 2);
    world
}

#[test]
fn one_end_and_not_without_a_word() {
    for node in [0, 1] {
        let mut world = three();
        let fresh = world.nodes[node].blueprint.build(&mut Rng::new(1), world.hub.now);
        **world.nodes[node].endpoint.as_mut().unwrap() = fresh;
        world.check_nodes();
        assert_eq!(broken(&world), Some(Invariant::OneEnd), "{:?}", world.violation());
    }
}

#[test]
fn no_wake_up_in_the_past() {
    let mut world = three();
    world.hub.deaf = true;
    world.run_for(secs(4000));
    assert_eq!(broken(&world), Some(Invariant::NoPastWakeUp), "{:?}", world.violation());
}

#[test]
fn no_spin() {
    let mut world = three();
    for _ in 0..100 {
        let (nodes, hub) = (&mut world.nodes, &mut world.hub);
        hub.wake(&mut nodes[0], 0);
    }
    assert_eq!(broken(&world), Some(Invariant::NoSpin), "{:?}", world.violation());
}

#[test]
fn tables_empty() {
    let mut world = three();
    world.check_empty();
    assert_eq!(broken(&world), Some(Invariant::TablesEmpty));
}

/// A transaction that outlives 64*T1 with nobody to use it.
#[test]
fn tables_empty_while_the_world_goes_on() {
    let mut world = three();
    subscribe(&mut world, 0, "sip:nobody@10.0.0.2");
    world.run_for(secs(1));
    world.command(0, |_, endpoint, now| {
        let ids: Vec<_> = endpoint.watchers().collect();
        for id in ids {
            endpoint.terminate(now, id, &Reason::NoResource, None).unwrap();
        }
    });
    world.run_for(secs(2));
    world.command(0, |_, endpoint, now| endpoint.close(now, crate::Close::Terminate));
    world.check_nodes();
    assert_sound(&world);
    // As if the end had been long ago.
    world.nodes[0].lively = Instant::ZERO;
    world.check_nodes();
    assert_eq!(broken(&world), Some(Invariant::TablesEmpty), "{:?}", world.violation());
}

/// Subscribes a hundred times for each NOTIFY.
struct Greedy;

impl Application for Greedy {
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: &Event) {
        if let Event::Retrying { .. } | Event::Terminated { .. } = event {
            for _ in 0..100 {
                endpoint.subscribe(now, Subscribe::new(DOOR, "x").unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn outputs_bounded() {
    let packages = three().nodes[0].blueprint.packages.clone();
    let mut world = World::new(1);
    for at in 1..=2 {
        let uri = format!("sip:n{at}@10.0.0.{at}");
        let config = Config::new(&uri).unwrap().with_authentication(crate::Authentication::None);
        let blueprint = Blueprint::new(config, packages.clone(), format!("10.0.0.{at}:5060").parse().unwrap());
        world.add_node("greedy", blueprint, Greedy);
    }
    let request = Subscribe::new(DOOR, "x").unwrap().auto_resubscribe(false);
    world.command(1, |_, endpoint, now| endpoint.subscribe(now, request).unwrap());
    world.run_for(secs(100));
    assert_eq!(broken(&world), Some(Invariant::OutputsBounded), "{:?}", world.violation());
}

/// It subscribes anew at once, at a name that nobody has: that never ends.
struct Restless;

impl Application for Restless {
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: &Event) {
        if let Event::Terminated { .. } = event {
            endpoint.subscribe(now, nowhere()).unwrap();
        }
    }
}

fn nowhere() -> Subscribe {
    Subscribe::new("sip:x@nowhere.example", "x").unwrap().auto_resubscribe(false)
}

#[test]
fn outputs_bounded_that_never_end() {
    let packages = three().nodes[0].blueprint.packages.clone();
    let mut world = World::new(1);
    let config = Config::new("sip:n@10.0.0.1").unwrap().with_authentication(crate::Authentication::None);
    world.add_node("restless", Blueprint::new(config, packages, "10.0.0.1:5060".parse().unwrap()), Restless);
    world.command(0, |_, endpoint, now| endpoint.subscribe(now, nowhere()).unwrap());
    world.run_for(secs(100));
    assert_eq!(broken(&world), Some(Invariant::OutputsBounded), "{:?}", world.violation());
}

fn is_notify_to(datagram: &Datagram, ip: &str) -> bool {
    datagram.to.ip().to_string() == ip && datagram.bytes.starts_with(b"NOTIFY")
}

#[test]
fn lost_state() {
    let mut world = three();
    world.hub.net.meddle = Some(|datagram| {
        if is_notify_to(datagram, "10.0.0.2") {
            let text = alloc::string::String::from_utf8_lossy(&datagram.bytes).replace("open", "shut");
            datagram.bytes = text.into_bytes().into();
        }
        Duration::ZERO
    });
    open_the_door(&mut world);
    world.run_for(secs(60));
    world.check_documents(Duration::ZERO, false);
    assert_eq!(broken(&world), Some(Invariant::LostState), "{:?}", world.violation());
}

/// The notifier forgets a watcher, and the watcher does not find out.
#[test]
fn lost_state_of_a_subscription_that_nobody_serves() {
    let mut world = three();
    let fresh = world.nodes[0].blueprint.build(&mut Rng::new(1), world.hub.now);
    **world.nodes[0].endpoint.as_mut().unwrap() = fresh;
    world.check_documents(Duration::ZERO, false);
    assert_sound(&world);
    world.check_documents(Duration::ZERO, true);
    assert_eq!(broken(&world), Some(Invariant::LostState), "{:?}", world.violation());
}

/// A SUBSCRIBE that comes again after a restart makes a second dialog: what that
/// one is told is not held against the first, which is over.
#[test]
fn a_dialog_is_not_taken_for_its_twin() {
    let mut world = world(1, true, DOOR);
    world.run_for(secs(1));
    world.keep_log();
    subscribe(&mut world, 1, DOOR);
    world.run_for(secs(1));
    let asked = world.log().unwrap().frames.remove(0);
    world.crash(0, Store::Lost, secs(1));
    world.run_for(secs(2));
    world.hub.checkers.delivered(0, world.hub.now, &asked.bytes, false, false);
    world.command(0, |_, endpoint, now| {
        let _ = endpoint.handle_message(now, crate::Flow::udp(asked.to, asked.from), &asked.bytes);
    });
    world.run_for(secs(1));
    open_the_door(&mut world);
    world.run_for(secs(60));
    let endpoint = world.nodes[1].endpoint().unwrap();
    let documents = endpoint.subscriptions().map(|id| endpoint.subscription(id).unwrap().document.unwrap().clone());
    let documents: Vec<_> = documents.map(|document| document.data).collect();
    assert_eq!(documents, [&b"shut"[..], b"shut", b"open"]);
    world.check_documents(Duration::ZERO, false);
    assert_sound(&world);
    assert_eq!(world.figures().compared, 1);
}

#[test]
fn a_black_hole_delays_nobody() {
    let fate = |late: fn(&mut Datagram) -> Duration| {
        let mut world = three();
        world.wall(0, 2, true, secs(60));
        world.hub.net.meddle = Some(late);
        open_the_door(&mut world);
        world.run_for(secs(25));
        world.check_documents(Duration::ZERO, false);
        (broken(&world), world.figures().beside)
    };
    assert_eq!(fate(|_| Duration::ZERO), (None, 1));
    let late = |datagram: &mut Datagram| if is_notify_to(datagram, "10.0.0.2") { secs(30) } else { Duration::ZERO };
    assert_eq!(fate(late), (Some(Invariant::BlackHole), 1));
}

#[test]
fn restored() {
    for (store, sound, fires) in [
        (Store::Intact, true, false),
        (Store::Intact, false, true),
        (Store::Stale, false, true),
        (Store::Truncated, false, false),
        (Store::Truncated, true, true),
    ] {
        let mut world = three();
        let saved =
            Saved::of(world.nodes[0].endpoint().unwrap(), world.nodes[0].address(), world.hub.now, world.hub.now);
        let saved = if sound { saved } else { saved.spoil(&mut Rng::new(4)) };
        world.crash(0, Store::Intact, secs(1));
        world.nodes[0].pending = Some((store, Some(saved)));
        world.run_for(secs(2));
        let expected = fires.then_some(Invariant::Restored);
        assert_eq!(broken(&world), expected, "{store:?} {sound}: {:?}", world.violation());
    }
}

/// A proxy passes on a NOTIFY whose Content-Length was damaged on its way to it: what was read is what counts.
#[test]
fn damage_before_a_proxy_is_damage() {
    let mut world = three();
    world.hub.net.meddle = Some(|datagram| {
        if is_notify_to(datagram, "10.0.0.2") {
            let text = alloc::string::String::from_utf8_lossy(&datagram.bytes);
            datagram.bytes = text.replace("Content-Length: 4", "Content-Length: 3").into_bytes().into();
        }
        Duration::ZERO
    });
    open_the_door(&mut world);
    world.run_for(secs(1));
    assert_sound(&world);
}

/// Two operations of a kind are enough, and no more than that are kept.
#[test]
fn shrinking_keeps_what_matters() {
    let scenario = Scenario::new(3, secs(3600));
    let publishes = |scenario: &Scenario| {
        let count = scenario.steps.iter().filter(|step| matches!(step.op, Op::Publish { .. })).count();
        (count > 1).then(|| Violation::new(Invariant::LostState, Instant::from_secs(9000), 0, "two".to_string()))
    };
    let violation = publishes(&scenario).unwrap();
    let small = scenario.shrink_with(&violation, 1000, publishes);
    assert_eq!(small.steps.len(), 2);
    assert_eq!(small.options.peers, 0);
    let early = Violation::new(violation.invariant, Instant::from_secs(400), 0, "early".to_string());
    let tried = core::cell::Cell::new(0);
    let none = scenario.shrink_with(&early, 7, |_| {
        tried.set(tried.get() + 1);
        None
    });
    assert_eq!((none, tried.get()), (scenario, 7));
}
