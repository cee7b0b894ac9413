//! What may be done to a world: one list of operations, drawn by the simulator
//! or decoded from a fuzzer's bytes.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Fault, Faults};
use super::node::Store;
use super::rng::Rng;

/// Where choices come from: a generator, or bytes that somebody else chose.
pub trait Choices {
    /// A value below `n`, which is at least 1.
    fn below(&mut self, n: u32) -> u32;
    /// Whether there is nothing left to decide with.
    fn is_spent(&self) -> bool {
        false
    }
}

impl Choices for Rng {
    fn below(&mut self, n: u32) -> u32 {
        u32::try_from(Self::below(self, u64::from(n))).unwrap_or(0)
    }
}

#[cfg(feature = "arbitrary")]
impl Choices for arbitrary::Unstructured<'_> {
    fn below(&mut self, n: u32) -> u32 {
        self.int_in_range(0..=n.saturating_sub(1)).unwrap_or(0)
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }
}

/// One operation. Numbers that name something are taken modulo what there is,
/// so every list of operations can be carried out, and stays so when some are
/// left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A node subscribes to a target for so many seconds.
    Subscribe {
        /// Which node.
        node: u8,
        /// Which of the scenario's targets.
        target: u8,
        /// Seconds; 0 is a fetch.
        expires: u32,
        /// Whether it comes back by itself.
        auto: bool,
    },
    /// A node refreshes.
    Refresh {
        /// Which node.
        node: u8,
        /// Which of its subscriptions.
        nth: u8,
        /// Seconds, if they change.
        expires: Option<u32>,
    },
    /// A node unsubscribes.
    Unsubscribe {
        /// Which node.
        node: u8,
        /// Which of its subscriptions.
        nth: u8,
        /// All forks of it.
        all: bool,
    },
    /// A node publishes a new state.
    Publish {
        /// Which node.
        node: u8,
        /// Which of its resources.
        nth: u8,
        /// Bytes of padding.
        padding: u16,
    },
    /// A node approves a watcher.
    Approve {
        /// Which node.
        node: u8,
        /// Which of its watchers.
        nth: u8,
    },
    /// A node ends a watcher.
    Terminate {
        /// Which node.
        node: u8,
        /// Which of its watchers.
        nth: u8,
        /// Which of the reasons.
        reason: u8,
        /// Seconds.
        retry_after: Option<u32>,
    },
    /// A node shortens a watcher's time.
    Shorten {
        /// Which node.
        node: u8,
        /// Which of its watchers.
        nth: u8,
        /// Seconds left.
        seconds: u32,
    },
    /// A node removes a resource and adds it again.
    Replace {
        /// Which node.
        node: u8,
        /// Which of its resources.
        nth: u8,
    },
    /// A node stores its endpoint.
    Save {
        /// Which node.
        node: u8,
    },
    /// A node crashes.
    Crash {
        /// Which node.
        node: u8,
        /// What it finds afterwards.
        store: Store,
        /// Until it is back.
        down: Duration,
    },
    /// A node's clock does something else than to go.
    Clock {
        /// Which node.
        node: u8,
        /// One of the three faults of clocks.
        fault: Fault,
        /// By how much.
        by: Duration,
    },
    /// A wall between two nodes.
    Wall {
        /// From which node.
        from: u8,
        /// To which node.
        to: u8,
        /// In both directions.
        both: bool,
        /// How long it stands.
        time: Duration,
    },
    /// A translator forgets a node.
    Rebind {
        /// Which node.
        node: u8,
    },
    /// A node's connection is cut.
    Cut {
        /// Which node.
        node: u8,
        /// Which of its connections.
        nth: u8,
    },
    /// The network becomes as bad as this.
    Weather(Faults),
}

/// How many kinds of operations there are.
const KINDS: usize = 15;

/// How often each kind is drawn; a swarm leaves some out altogether.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights([u16; KINDS]);

impl Default for Weights {
    fn default() -> Self {
        Self([14, 6, 4, 30, 5, 6, 3, 1, 5, 5, 5, 4, 2, 4, 6])
    }
}

impl Weights {
    /// Leaves out about a third of all kinds, but never subscribing and
    /// publishing.
    #[must_use]
    pub fn swarm(mut self, choices: &mut impl Choices) -> Self {
        for (kind, weight) in self.0.iter_mut().enumerate() {
            if kind != 0 && kind != 3 && choices.below(3) == 0 {
                *weight = 0;
            }
        }
        self
    }

    fn draw(&self, choices: &mut impl Choices) -> usize {
        let total: u32 = self.0.iter().map(|weight| u32::from(*weight)).sum();
        let mut left = choices.below(total.max(1));
        for (kind, weight) in self.0.iter().enumerate() {
            match left.checked_sub(u32::from(*weight)) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        0
    }
}

/// An operation, and how long after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The time before it.
    pub gap: Duration,
    /// What is done.
    pub op: Op,
}

fn byte(choices: &mut impl Choices) -> u8 {
    u8::try_from(choices.below(256)).unwrap_or(0)
}

fn one_of<T: Copy>(choices: &mut impl Choices, items: &[T], otherwise: T) -> T {
    let at = choices.below(u32::try_from(items.len()).unwrap_or(1).max(1));
    items.get(at as usize).copied().unwrap_or(otherwise)
}

const EXPIRES: [u32; 8] = [0, 60, 61, 90, 300, 600, 1800, 3600];

/// Draws how bad the network is; each fault is left out half of the time.
pub fn weather(choices: &mut impl Choices, streams: bool) -> Faults {
    let mut level = |limit: u32| {
        let on = choices.below(2) == 0;
        let value = choices.below(limit.saturating_add(1));
        if on { u16::try_from(value).unwrap_or(0) } else { 0 }
    };
    let mut faults = Faults {
        loss: level(300),
        burst: level(10),
        duplicate: level(500),
        replay: level(60),
        tail: level(20),
        corrupt: level(150),
        ..Faults::default()
    };
    if streams {
        faults.cut = level(30);
        faults.block = level(100);
    }
    faults.latency = Duration::from_millis(u64::from(choices.below(120)));
    faults.jitter = match choices.below(3) {
        0 => Duration::from_millis(u64::from(choices.below(2000))),
        _ => Duration::ZERO,
    };
    faults
}

impl Step {
    /// Draws the next operation.
    pub fn draw(choices: &mut impl Choices, weights: &Weights) -> Self {
        // Some follow each other at once, most leave time to settle.
        let gap = match choices.below(4) {
            0 => choices.below(2_000),
            1 => choices.below(30_000),
            _ => choices.below(90_000),
        };
        let kind = weights.draw(choices);
        let node = byte(choices);
        let nth = byte(choices);
        let op = match kind {
            1 => {
                let expires = (choices.below(3) == 0).then(|| one_of(choices, &EXPIRES, 60));
                Op::Refresh { node, nth, expires }
            }
            2 => Op::Unsubscribe { node, nth, all: choices.below(2) == 0 },
            3 => {
                let big = choices.below(12) == 0;
                Op::Publish { node, nth, padding: if big { 1500 } else { 0 } }
            }
            4 => Op::Approve { node, nth },
            5 => {
                let reason = byte(choices);
                let retry_after = (choices.below(2) == 0).then(|| choices.below(300));
                Op::Terminate { node, nth, reason, retry_after }
            }
            6 => Op::Shorten { node, nth, seconds: choices.below(120) },
            7 => Op::Replace { node, nth },
            8 => Op::Save { node },
            9 => {
                let stores = [Store::Intact, Store::Stale, Store::Truncated, Store::Lost];
                let store = one_of(choices, &stores, Store::Lost);
                Op::Crash { node, store, down: Duration::from_millis(u64::from(choices.below(120_000))) }
            }
            10 => {
                let fault =
                    one_of(choices, &[Fault::ClockStall, Fault::ClockForward, Fault::ClockBack], Fault::ClockStall);
                let by = match (fault, choices.below(20)) {
                    // Once in a while the clock of another age.
                    (Fault::ClockForward, 0) => Duration::from_secs(u64::from(choices.below(u32::MAX))),
                    (Fault::ClockForward, _) => Duration::from_secs(u64::from(choices.below(7200))),
                    _ => Duration::from_millis(u64::from(choices.below(300_000))),
                };
                Op::Clock { node, fault, by }
            }
            11 => {
                let time = match choices.below(3) {
                    0 => choices.below(100_000),
                    _ => choices.below(20_000),
                };
                let time = Duration::from_millis(u64::from(time));
                Op::Wall { from: node, to: nth, both: choices.below(2) == 0, time }
            }
            12 => Op::Rebind { node },
            13 => Op::Cut { node, nth },
            14 => Op::Weather(weather(choices, true)),
            _ => {
                let expires = one_of(choices, &EXPIRES, 60);
                Op::Subscribe { node, target: nth, expires, auto: choices.below(4) > 0 }
            }
        };
        Self { gap: Duration::from_millis(u64::from(gap)), op }
    }

    /// Draws operations until they fill `time`, or the choices are spent.
    pub fn draw_for(choices: &mut impl Choices, weights: &Weights, time: Duration) -> Vec<Self> {
        let mut steps = Vec::new();
        let mut sum = Duration::ZERO;
        while sum < time && !choices.is_spent() {
            let step = Self::draw(choices, weights);
            sum += step.gap.max(Duration::from_millis(1));
            steps.push(step);
        }
        steps
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::draw(bytes, &Weights::default()))
    }
}
