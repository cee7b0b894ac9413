//! One object at a time: stores that keep up, and standbys without a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::Transport;
use sip_events::{Endpoint, Instant, Misuse, ObjectId, Packages, RestoreError, Scope};

use crate::world::{World, address, config, seed};

/// A store with one row for each object.
#[derive(Default)]
struct Store {
    rows: BTreeMap<u64, (Instant, Vec<u8>)>,
    writes: usize,
}

fn row(object: ObjectId) -> u64 {
    match object {
        ObjectId::Resource(id) => id.as_u64() << 2,
        ObjectId::Subscription(id) => id.as_u64() << 2 | 1,
        ObjectId::Watcher(id) => id.as_u64() << 2 | 2,
        _ => unreachable!(),
    }
}

impl Store {
    /// Saves what has changed; the changes, as a standby gets them.
    fn keep_up(&mut self, endpoint: &mut Endpoint, now: Instant) -> Vec<(ObjectId, Option<Vec<u8>>)> {
        let mut changes = Vec::new();
        while let Some(object) = endpoint.poll_changed() {
            self.writes += 1;
            let mut record = Vec::new();
            match endpoint.export(now, object, &mut record) {
                Ok(()) => {
                    self.rows.insert(row(object), (now, record.clone()));
                    changes.push((object, Some(record)));
                }
                Err(error) => {
                    assert_eq!((error, record.len()), (Misuse::StaleId, 0));
                    self.rows.remove(&row(object));
                    changes.push((object, None));
                }
            }
        }
        changes
    }
}

fn bare(node: usize, number: u64, now: Instant) -> Endpoint {
    let mut endpoint = Endpoint::new(Arc::new(config(node)), Packages::standard(), &seed(number), now);
    endpoint.add_local(Transport::Udp, address(node), None, None).unwrap();
    endpoint
}

/// All records of an endpoint at one moment.
fn all(endpoint: &Endpoint, now: Instant) -> BTreeMap<u64, Vec<u8>> {
    let objects = endpoint.resources().map(ObjectId::from);
    let objects = objects.chain(endpoint.subscriptions().map(ObjectId::from));
    let objects = objects.chain(endpoint.watchers().map(ObjectId::from));
    objects
        .map(|object| {
            let mut record = Vec::new();
            endpoint.export(now, object, &mut record).unwrap();
            (row(object), record)
        })
        .collect()
}

fn busy(number: u64) -> World {
    let mut world = World::new(3, number);
    for node in 0..3 {
        world.add_resource(node);
        world.set_state(node, 0);
    }
    for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
        world.subscribe(from, to, 300);
    }
    world
}

/// Covers: PEER-H05
#[test]
fn changes_in_order_give_the_same_state() {
    let mut world = busy(41);
    let mut store = Store::default();
    let mut standby = bare(1, 900, world.now);
    for round in 0..80 {
        world.run(Duration::from_millis(100 + round * 50));
        match round % 9 {
            1 => world.set_state(1, round),
            3 => _ = world.subscribe(0, 1, 100),
            5 => {
                let last = world.nodes[0].subscriptions().last().unwrap();
                let _ = world.nodes[0].unsubscribe(world.now, last, Scope::This);
            }
            7 => {
                let id = world.nodes[1].watchers().last().unwrap();
                *world.nodes[1].watcher_data(id).unwrap() = round;
            }
            _ => {}
        }
        for (object, record) in store.keep_up(&mut world.nodes[1], world.now) {
            match record {
                Some(record) => assert_eq!(standby.import(world.now, Duration::ZERO, &record), Ok(object)),
                None => {
                    let gone = standby.forget(world.now, object);
                    assert!(matches!(gone, Ok(()) | Err(Misuse::StaleId)), "{gone:?}");
                }
            }
        }
        assert_eq!(all(&standby, world.now), all(&world.nodes[1], world.now), "round {round}");
        assert_eq!(standby.agent().counts(), world.nodes[1].agent().counts());
    }
    let rows: Vec<_> = store.rows.keys().copied().collect();
    assert_eq!(rows, all(&world.nodes[1], world.now).into_keys().collect::<Vec<_>>());
    // It takes over in mid-flight.
    world.nodes[1] = standby;
    let now = world.now;
    world.nodes[1].take_over(now, Duration::ZERO);
    world.set_state(1, 5_000);
    for node in [0, 2] {
        world.set_state(node, 5_000);
    }
    world.run(Duration::from_secs(600));
    assert!(world.all_know(5_000), "{:?}", world.told);
    assert!(world.ended.iter().all(|(_, _, why, _)| *why == sip_events::Ending::Unsubscribed));
}

#[test]
fn a_store_that_keeps_up_is_enough_for_a_restart() {
    let mut world = busy(43);
    let mut store = Store::default();
    for round in 0..30 {
        store.keep_up(&mut world.nodes[1], world.now);
        world.run(Duration::from_secs(round % 10));
        world.set_state(1, round);
    }
    world.run(Duration::from_secs(3));
    store.keep_up(&mut world.nodes[1], world.now);
    assert_eq!(store.keep_up(&mut world.nodes[1], world.now).len(), 0, "nothing is named twice");
    world.now = world.now + Duration::from_secs(20);
    let mut restored = bare(1, 901, world.now);
    // A store need not keep the order.
    for (taken, record) in store.rows.values().rev() {
        restored.import(world.now, world.now - *taken, record).unwrap();
    }
    restored.take_over(world.now, Duration::from_secs(150));
    assert_eq!(restored.agent().counts(), world.nodes[1].agent().counts());
    world.nodes[1] = restored;
    for node in 0..3 {
        world.set_state(node, 9_000);
    }
    world.run(Duration::from_secs(600));
    assert!(world.all_know(9_000), "{:?}", world.told);
    assert!(world.ended.is_empty(), "{:?}", world.ended);
    let fresh = world.subscribe(1, 0, 100);
    assert!(world.nodes[1].subscription(fresh).is_ok());
    world.run(Duration::from_secs(5));
    assert!(world.all_know(9_000));
}

/// Covers: PEER-A05
#[test]
fn an_object_moves_from_one_endpoint_to_another() {
    let mut world = busy(47);
    world.run(Duration::from_secs(60));
    let watcher = world.nodes[1].watchers().next().unwrap();
    let mut record = b"kept".to_vec();
    world.nodes[1].export(world.now, watcher, &mut record).unwrap();
    let record = record.split_off(4);
    let mut other = bare(1, 902, world.now);
    assert_eq!(other.import(world.now, Duration::ZERO, &record), Ok(watcher.into()));
    assert_eq!(other.resources().count(), 1, "its resource came along, without state");
    world.nodes[1].forget(world.now, watcher).unwrap();
    assert_eq!(world.nodes[1].forget(world.now, watcher), Err(Misuse::StaleId));
    assert_eq!(world.nodes[1].watchers().count(), 1);
    let watched = world.nodes[1].resources().next().unwrap();
    assert_eq!(world.nodes[1].forget(world.now, watched), Err(Misuse::WrongState));
    other.take_over(world.now, Duration::ZERO);
    world.nodes[1] = other;
    world.set_state(1, 8);
    world.run(Duration::from_secs(10));
    let told = world.told.values().filter(|text| text.contains("n=\"8\"")).count();
    assert_eq!(told, 1, "{:?}", world.told);
}

#[test]
fn a_record_that_does_not_fit_is_refused() {
    let mut world = busy(53);
    world.run(Duration::from_secs(60));
    let objects = [
        ObjectId::from(world.nodes[1].resources().next().unwrap()),
        world.nodes[1].subscriptions().next().unwrap().into(),
        world.nodes[1].watchers().next().unwrap().into(),
    ];
    for object in objects {
        let mut record = Vec::new();
        world.nodes[1].export(world.now, object, &mut record).unwrap();
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(bare(1, 903, world.now).import(world.now, Duration::ZERO, &damaged).is_err(), "bit {bit}");
        }
        // The other node has an object of its own there.
        let digest = world.nodes[2].digest_exact();
        let mut other = world.nodes[2].clone();
        let refused = other.import(world.now, Duration::ZERO, &record).unwrap_err();
        assert_eq!(refused, RestoreError::Occupied, "{object:?}");
        assert_eq!(other.digest_exact(), digest, "nothing has changed");
        let without = Endpoint::new(Arc::new(config(1)), Packages::new(), &seed(1), world.now)
            .import(world.now, Duration::ZERO, &record)
            .unwrap_err();
        assert_eq!(without, RestoreError::UnknownPackage);
        let mut limits = sip_events::Limits::default();
        (limits.resources, limits.subscriptions, limits.watchers) = (0, 0, 0);
        let mut tight =
            Endpoint::new(Arc::new(config(1).with_limits(limits)), Packages::standard(), &seed(1), world.now);
        assert!(matches!(tight.import(world.now, Duration::ZERO, &record), Err(RestoreError::Limit(_))));
    }
}
