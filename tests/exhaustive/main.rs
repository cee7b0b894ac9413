//! Every small world: a breadth-first search over what can happen to one
//! subscriber and one notifier, or two forks, visits the states of the real
//! code, not of a model. In each state each message under way may be
//! delivered, delivered and kept (a duplicate), or lost, in any order; the next
//! timer may fire; the applications may act; either side may crash and come
//! back from a snapshot. After every step the rules of `rules.rs` hold, and
//! from every state the world comes to rest, both sides agreeing, once nothing
//! goes wrong any more.
//!
//! A debug build searches less deep; `cargo test --release --features testing
//! --test exhaustive -- --nocapture --test-threads=1` is the search that `docs/reliability.md`
//! reports.

mod node;
mod rules;
mod search;
mod world;

use search::search;
use world::Budget;

/// A world to search.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub notifiers: u8,
    /// Notifiers approve late.
    pub pending: bool,
    pub budget: Budget,
}

/// All kinds of trouble.
const ALL: Budget = Budget {
    states: 2,
    refreshes: 1,
    unsubscribes: 1,
    terminates: 1,
    duplicates: 1,
    losses: 2,
    crashes: 1,
    amnesias: 1,
    delays: 4,
};

/// One of each thing that a network does.
const ONE: Budget = Budget {
    states: 1,
    refreshes: 1,
    unsubscribes: 1,
    terminates: 0,
    duplicates: 1,
    losses: 1,
    crashes: 0,
    amnesias: 0,
    delays: 1,
};

/// How far a debug build goes, and how far a release build does.
struct Bound {
    debug: u32,
    release: u32,
    states: usize,
}

const WIDE: Bound = Bound { debug: 3, release: u32::MAX, states: 1_000_000 };
const NARROW: Bound = Bound { states: 300_000, ..WIDE };
const DEEP: Bound = Bound { debug: 6, release: 12, states: usize::MAX };

fn run(name: &str, setup: Setup, bound: &Bound) {
    let depth = if cfg!(debug_assertions) { bound.debug } else { bound.release };
    let report = search(setup, depth, bound.states);
    println!("{name}: {report}");
    if let Some(violation) = &report.violation {
        panic!("{name}: {violation}");
    }
    assert!(report.complete || report.depth == depth || report.states >= bound.states, "{name}: stopped early");
}

/// Covers: 6665-RACE-1, 6665-RACE-2, 6665-RACE-5, 6665-RACE-8, 6665-RACE-9, 6665-RACE-10, 6665-RACE-16,
/// 6665-RACE-21, PEER-D05, PEER-A13
#[test]
fn one_subscriber_and_one_notifier() {
    run("one notifier", Setup { notifiers: 1, pending: false, budget: ALL }, &WIDE);
}

/// Covers: 6665-RACE-1, 6665-RACE-2, 6665-RACE-5, 6665-RACE-12
#[test]
fn one_subscriber_and_one_notifier_to_the_bottom() {
    run("one notifier, one of each", Setup { notifiers: 1, pending: false, budget: ONE }, &DEEP);
}

/// Covers: 6665-NSM-4, 6665-NSM-6, 6665-NSM-9
#[test]
fn a_notifier_that_approves_late() {
    run("pending, then approved", Setup { notifiers: 1, pending: true, budget: ALL }, &NARROW);
}

/// Covers: 6665-NSM-4, 6665-NSM-6
#[test]
fn a_notifier_that_approves_late_to_the_bottom() {
    run("pending, one of each", Setup { notifiers: 1, pending: true, budget: ONE }, &DEEP);
}

/// Covers: 6665-4.1.2.4-3, 6665-4.1.4-1, 6665-RACE-3, PEER-A06
#[test]
fn one_subscriber_and_two_forks() {
    run("two forks", Setup { notifiers: 2, pending: false, budget: ALL }, &NARROW);
}

/// Covers: 6665-4.1.2.4-3, 6665-4.1.4-1
#[test]
fn one_subscriber_and_two_forks_to_the_bottom() {
    let budget = Budget { duplicates: 0, delays: 0, ..ONE };
    run("two forks, one of each", Setup { notifiers: 2, pending: false, budget }, &DEEP);
}
