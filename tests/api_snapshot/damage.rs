//! What is not a whole snapshot of this form is refused, with a reason.

use std::sync::Arc;
use std::time::Duration;

use sip_events::{Endpoint, Limits, Packages, Restart, RestoreError};

use crate::world::{World, config, save, seed};

fn small() -> (World, Vec<u8>) {
    let mut world = World::new(2, 3);
    world.add_resource(1);
    world.set_state(1, 1);
    world.subscribe(0, 1, 600);
    world.subscribe(1, 1, 600);
    world.run(Duration::from_secs(1));
    let saved = save(&world.nodes[1], world.now, 4);
    (world, saved)
}

fn try_restore(world: &World, bytes: &[u8], limits: Limits, restart: &Restart) -> Result<Endpoint, RestoreError> {
    let config = Arc::new(config(1).with_limits(limits));
    Endpoint::restore(config, Packages::standard(), bytes, world.now, Duration::ZERO, restart)
}

/// Covers: ADV-N8
#[test]
fn every_flipped_bit_is_noticed() {
    let (world, saved) = small();
    let fresh = Restart::Fresh(seed(50));
    assert!(try_restore(&world, &saved, Limits::default(), &fresh).is_ok());
    for bit in 0..saved.len() * 8 {
        let mut damaged = saved.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let refused = try_restore(&world, &damaged, Limits::default(), &fresh).unwrap_err();
        let expected = match bit / 8 {
            0..8 => RestoreError::NotASnapshot,
            8..10 => RestoreError::Version { found: u16::from_le_bytes([damaged[8], damaged[9]]) },
            at if at >= saved.len() - 16 && at < saved.len() - 8 => RestoreError::Truncated,
            _ => RestoreError::Checksum,
        };
        assert_eq!(refused, expected, "bit {bit}");
    }
}

/// Covers: ADV-N8
#[test]
fn every_missing_or_added_byte_is_noticed() {
    let (world, saved) = small();
    let fresh = Restart::Fresh(seed(50));
    for len in 0..saved.len() {
        let refused = try_restore(&world, &saved[..len], Limits::default(), &fresh).unwrap_err();
        assert_eq!(refused, RestoreError::Truncated, "{len} bytes");
        let refused = try_restore(&world, &saved[len + 1..], Limits::default(), &fresh);
        assert!(refused.is_err(), "without the first {}", len + 1);
    }
    let longer = [&saved[..], b"\0"].concat();
    assert_eq!(try_restore(&world, &longer, Limits::default(), &fresh).unwrap_err(), RestoreError::Truncated);
}

#[test]
fn a_limit_below_the_content_is_named() {
    let (world, saved) = small();
    type Change = fn(&mut Limits);
    let change: [(&str, Change); 6] = [
        ("watchers", |l| l.watchers = 1),
        ("watchers_per_resource", |l| l.watchers_per_resource = 1),
        ("resources", |l| l.resources = 0),
        ("subscriptions", |l| l.subscriptions = 0),
        ("flows", |l| l.flows = 1),
        ("body", |l| l.body = 3),
    ];
    for (name, change) in change {
        let mut limits = Limits::default();
        change(&mut limits);
        let refused = try_restore(&world, &saved, limits, &Restart::Fresh(seed(50))).unwrap_err();
        assert_eq!(refused, RestoreError::Limit(name));
        assert!(refused.to_string().contains(name));
    }
    let mut limits = Limits::default();
    limits.dialog = 60;
    let refused = try_restore(&world, &saved, limits, &Restart::Fresh(seed(50))).unwrap_err();
    assert_eq!(refused, RestoreError::Limit("dialog"));
    // Just enough is enough.
    let mut limits = Limits::default();
    (limits.watchers, limits.subscriptions, limits.resources) = (2, 1, 1);
    assert!(try_restore(&world, &saved, limits, &Restart::Fresh(seed(50))).is_ok());
}

#[test]
fn the_same_life_needs_the_same_seed_and_limits() {
    let (world, saved) = small();
    let own = seed(3_002);
    let goes_on = |limits, seed| try_restore(&world, &saved, limits, &Restart::Continue(seed)).map(|_| ());
    assert_eq!(goes_on(Limits::default(), own.clone()), Ok(()));
    assert_eq!(goes_on(Limits::default(), seed(51)), Err(RestoreError::NotTheSame));
    let mut other = Limits::default();
    other.events += 1;
    assert_eq!(goes_on(other, own), Err(RestoreError::NotTheSame));
    assert!(try_restore(&world, &saved, other, &Restart::Fresh(seed(52))).is_ok());
}
