//! What is saved, and what is the same afterwards.

use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::Transport;
use sip_events::{
    Close, Endpoint, Event, Instant, PackageConfig, Packages, Progress, ResourceKey, Restart, RestoreError, Subscribe,
};

use crate::world::{World, address, config, restore, save, seed, state};

/// One node watches two, which watch each other; everything has come to rest.
fn quiet() -> World {
    let mut world = World::new(3, 7);
    for node in [1, 2] {
        world.add_resource(node);
        world.set_state(node, 1);
    }
    for (from, to) in [(0, 1), (0, 2), (1, 2), (2, 1)] {
        world.subscribe(from, to, 600);
    }
    world.run(Duration::from_secs(100));
    assert!(world.nodes.iter().all(Endpoint::is_quiescent), "at rest");
    assert!(world.all_know(1));
    world
}

/// Covers: PEER-H01
#[test]
fn a_snapshot_of_what_was_restored_is_the_same() {
    let world = quiet();
    for (node, endpoint) in world.nodes.iter().enumerate() {
        let saved = save(endpoint, world.now, 1_000);
        let own = seed(7_000 + node as u64 + 1);
        let same = restore(node, &saved, world.now, Duration::ZERO, &Restart::Continue(own));
        assert_eq!(save(&same, world.now, 1_000), saved);
        assert_eq!(same.digest_exact(), endpoint.digest_exact());
        assert_eq!(same.digest(), endpoint.digest());
        let other = restore(node, &saved, world.now, Duration::ZERO, &Restart::Fresh(seed(99)));
        assert_eq!(other.digest(), endpoint.digest());
        assert_ne!(other.digest_exact(), endpoint.digest_exact());
        assert_eq!(other.poll_timeout(), endpoint.poll_timeout());
        assert_eq!(other.agent().counts(), endpoint.agent().counts());
    }
}

#[test]
fn the_clock_may_have_another_epoch() {
    let world = quiet();
    let saved = save(&world.nodes[1], world.now, 8);
    for now in [Instant::from_secs(5_000), Instant::from_secs(900_000)] {
        let other = restore(1, &saved, now, Duration::ZERO, &Restart::Fresh(seed(99)));
        assert_eq!(other.poll_timeout().unwrap() - now, world.nodes[1].poll_timeout().unwrap() - world.now);
        assert_eq!(other.digest(), world.nodes[1].digest());
    }
    let early = restore(1, &saved, Instant::ZERO, Duration::from_secs(10), &Restart::Fresh(seed(99)));
    let left = world.nodes[1].poll_timeout().unwrap() - world.now - Duration::from_secs(10);
    assert_eq!(early.poll_timeout().unwrap() - Instant::ZERO, left);
}

#[test]
fn the_size_of_a_step_changes_nothing_but_its_size() {
    let world = quiet();
    let endpoint = &world.nodes[1];
    let whole = save(endpoint, world.now, u32::MAX);
    for per_step in [1, 2, 3, 7, 50] {
        assert_eq!(save(endpoint, world.now, per_step), whole, "{per_step} a step");
    }
    let (mut writer, mut piece, mut steps, mut glued) = (endpoint.snapshot(world.now, 1), Vec::new(), 0, Vec::new());
    loop {
        let progress = writer.step(endpoint, &mut piece);
        assert!(piece.len() < 2_000, "one record a step");
        glued.append(&mut piece);
        steps += 1;
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!(glued, whole);
    assert!(steps > 20, "{steps}");
    assert_eq!(writer.len() + 16, whole.len() as u64);
}

/// Covers: PEER-H02
#[test]
fn closing_for_a_successor_says_nothing_and_time_goes_on() {
    let mut world = quiet();
    let before = world.nodes[1].watchers().map(|id| world.nodes[1].watcher(id).unwrap().expires_at).collect::<Vec<_>>();
    assert_eq!(before.len(), 2);
    // A change that is not told any more, and must be told by the successor.
    world.set_state(1, 2);
    world.nodes[1].close(world.now, Close::Persist);
    let mut bytes = Vec::new();
    assert!(world.nodes[1].poll_transmit(world.now, &mut bytes).is_none(), "not a word");
    assert_eq!(world.nodes[1].poll_event(), Some(Event::Drained));
    let saved = save(&world.nodes[1], world.now, 10);
    let taken = world.now;
    world.now = world.now + Duration::from_secs(60);
    world.restart(1, &saved, taken);
    let after = world.nodes[1].watchers().map(|id| world.nodes[1].watcher(id).unwrap().expires_at).collect::<Vec<_>>();
    assert_eq!(after, before, "the same moment: less is left");
    world.run(Duration::from_secs(10));
    let watching: Vec<_> = world.told.iter().filter(|(_, text)| text.contains("n=\"2\"")).collect();
    assert_eq!(watching.len(), 2, "both were told: {:?}", world.told);
}

#[test]
fn what_ran_out_meanwhile_ends_at_the_first_wake_up() {
    let mut world = quiet();
    let saved = save(&world.nodes[1], world.now, 10);
    let taken = world.now;
    world.now = world.now + Duration::from_secs(3600);
    world.restart(1, &saved, taken);
    assert_eq!(world.nodes[1].watchers().count(), 2, "not yet");
    assert!(world.nodes[1].poll_timeout().unwrap() <= world.now);
    world.run(Duration::from_secs(40));
    assert_eq!(world.nodes[1].watchers().count(), 2, "those that had timed out subscribed again");
    assert!(world.gone >= 2);
}

#[test]
fn everything_that_was_set_is_kept() {
    let now = Instant::from_secs(1_000);
    let mut package = PackageConfig::new("presence");
    package.min_interval = Some(Duration::ZERO);
    let config = Arc::new(config(0).with_package(package).unwrap());
    let mut packages = Packages::standard();
    packages.register_opaque("x-door").unwrap();
    let mut endpoint = Endpoint::new(config.clone(), packages.clone(), &seed(1), now);
    endpoint.add_local(Transport::Udp, address(0), None, None).unwrap();
    let mut resources = Vec::new();
    for (at, name) in ["a", "b", "c", "d"].iter().enumerate() {
        let key = ResourceKey::new(&format!("sip:{name}@192.0.2.1"), if at % 2 == 0 { "presence" } else { "x-door" });
        resources.push(endpoint.add_resource(&key.unwrap()).unwrap());
        *endpoint.resource_data(resources[at]).unwrap() = at as u64;
    }
    endpoint.set_state(now, resources[0], state(1)).unwrap();
    endpoint.set_state_for(now, resources[0], sip_events::View(7), state(2)).unwrap();
    endpoint.remove_resource(now, resources[2], &sip_events::Reason::NoResource).unwrap();
    let request = Subscribe::new("sip:bob@192.0.2.9", "x-door;id=7")
        .unwrap()
        .accept("text/plain")
        .unwrap()
        .field("X-Floor", "3")
        .unwrap()
        .route("sip:proxy@192.0.2.8;lr")
        .unwrap()
        .user_data(42);
    let id = endpoint.subscribe(now, request).unwrap();
    let saved = save(&endpoint, now, 1);
    let again =
        |packages| Endpoint::restore(config.clone(), packages, &saved, now, Duration::ZERO, &Restart::Fresh(seed(2)));
    let mut other = again(packages).unwrap();
    other.add_local(Transport::Udp, address(0), None, None).unwrap();
    assert_eq!(other.resources().collect::<Vec<_>>(), endpoint.resources().collect::<Vec<_>>());
    assert_eq!(other.state(resources[0], sip_events::View(7)), Some(&state(2)));
    assert_eq!(other.state(resources[0], sip_events::View(0)), Some(&state(1)));
    assert_eq!(*other.resource_data(resources[3]).unwrap(), 3);
    assert_eq!(*other.subscription_data(id).unwrap(), 42);
    assert_eq!(other.find(&ResourceKey::new("sip:b@192.0.2.1", "x-door").unwrap()), Some(resources[1]));
    let fresh = other.add_resource(&ResourceKey::new("sip:e@192.0.2.1", "presence").unwrap()).unwrap();
    assert_ne!(fresh, resources[2], "a slot is used again, an id is not");
    let mut text = Vec::new();
    let transmit = other.poll_transmit(now, &mut text).expect("the SUBSCRIBE that waited");
    assert_eq!(transmit.flow.remote, "192.0.2.8:5060".parse().unwrap());
    let text = String::from_utf8(text).unwrap();
    for part in
        ["Event: x-door;id=7\r\n", "Accept: text/plain\r\n", "X-Floor: 3\r\n", "Route: <sip:proxy@192.0.2.8;lr>"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(again(Packages::standard()).unwrap_err(), RestoreError::UnknownPackage);
    assert_eq!(again(Packages::new()).unwrap_err(), RestoreError::UnknownPackage);
}
