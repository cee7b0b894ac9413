//! What may be done to a world: one list of operations, decoded from bytes. A
//! fuzzer chooses them, or the simulator's generator, or that of a property test.

use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Unstructured};

use super::net::{Fault, Faults};
use super::node::Store;
use super::rng::Rng;

/// A step takes at most so many bytes.
const STEP: usize = 64;

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
    /// A node moves to another address.
    Move {
        /// Which node.
        node: u8,
        /// To which of its places; the first is its home.
        place: u8,
    },
    /// A node pings along one of its connections.
    Ping {
        /// Which node.
        node: u8,
        /// Which of its connections.
        nth: u8,
        /// At most so far apart; `None` ends it.
        interval: Option<Duration>,
    },
}

/// How many kinds of operations there are.
const KINDS: usize = 17;

/// How often each kind is drawn; a swarm leaves some out altogether.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights([u16; KINDS]);

impl Default for Weights {
    fn default() -> Self {
        Self([14, 6, 4, 30, 5, 6, 3, 1, 5, 5, 5, 4, 2, 4, 6, 2, 3])
    }
}

impl Weights {
    /// Leaves out about a third of all kinds, but never subscribing and
    /// publishing.
    #[must_use]
    pub fn swarm(mut self, bytes: &mut Unstructured<'_>) -> Self {
        for (kind, weight) in self.0.iter_mut().enumerate() {
            if kind != 0 && kind != 3 && below(bytes, 3) == 0 {
                *weight = 0;
            }
        }
        self
    }

    /// Whether times follow from what stands on the wire: no clock is set, and no node moves, whose
    /// messages wait for an address.
    pub(crate) const fn keep_time(&self) -> bool {
        let Self([_, _, _, _, _, _, _, _, _, _, clocks, _, _, _, _, moves, _]) = self;
        *clocks == 0 && *moves == 0
    }

    fn draw(&self, bytes: &mut Unstructured<'_>) -> usize {
        let total: u32 = self.0.iter().map(|weight| u32::from(*weight)).sum();
        let mut left = below(bytes, total.max(1));
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

/// A value below `n`. What is spent decides for the first one.
pub(crate) fn below(bytes: &mut Unstructured<'_>, n: u32) -> u32 {
    bytes.int_in_range(0..=n.saturating_sub(1)).unwrap_or(0)
}

fn byte(bytes: &mut Unstructured<'_>) -> u8 {
    u8::try_from(below(bytes, 256)).unwrap_or(0)
}

fn one_of<T: Copy>(bytes: &mut Unstructured<'_>, items: &[T], otherwise: T) -> T {
    let at = below(bytes, u32::try_from(items.len()).unwrap_or(1).max(1));
    items.get(at as usize).copied().unwrap_or(otherwise)
}

const EXPIRES: [u32; 8] = [0, 60, 61, 90, 300, 600, 1800, 3600];

/// Decodes how bad the network is; each fault is left out half of the time.
pub fn weather(bytes: &mut Unstructured<'_>, streams: bool) -> Faults {
    let mut level = |limit: u32| {
        let on = below(bytes, 2) == 0;
        let value = below(bytes, limit.saturating_add(1));
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
    faults.latency = Duration::from_millis(u64::from(below(bytes, 120)));
    faults.jitter = match below(bytes, 3) {
        0 => Duration::from_millis(u64::from(below(bytes, 2000))),
        _ => Duration::ZERO,
    };
    faults
}

impl Step {
    /// Decodes the next operation.
    pub fn decode(bytes: &mut Unstructured<'_>, weights: &Weights) -> Self {
        // Some follow each other at once, most leave time to settle.
        let gap = match below(bytes, 4) {
            0 => below(bytes, 2_000),
            1 => below(bytes, 30_000),
            _ => below(bytes, 90_000),
        };
        let kind = weights.draw(bytes);
        let node = byte(bytes);
        let nth = byte(bytes);
        let op = match kind {
            1 => {
                let expires = (below(bytes, 3) == 0).then(|| one_of(bytes, &EXPIRES, 60));
                Op::Refresh { node, nth, expires }
            }
            2 => Op::Unsubscribe { node, nth, all: below(bytes, 2) == 0 },
            3 => {
                let big = below(bytes, 12) == 0;
                Op::Publish { node, nth, padding: if big { 1500 } else { 0 } }
            }
            4 => Op::Approve { node, nth },
            5 => {
                let reason = byte(bytes);
                let retry_after = (below(bytes, 2) == 0).then(|| below(bytes, 300));
                Op::Terminate { node, nth, reason, retry_after }
            }
            6 => Op::Shorten { node, nth, seconds: below(bytes, 120) },
            7 => Op::Replace { node, nth },
            8 => Op::Save { node },
            9 => {
                let stores = [Store::Intact, Store::Stale, Store::Truncated, Store::Lost];
                let store = one_of(bytes, &stores, Store::Lost);
                Op::Crash { node, store, down: Duration::from_millis(u64::from(below(bytes, 120_000))) }
            }
            10 => {
                let fault =
                    one_of(bytes, &[Fault::ClockStall, Fault::ClockForward, Fault::ClockBack], Fault::ClockStall);
                let by = match (fault, below(bytes, 20)) {
                    // Once in a while the clock of another age.
                    (Fault::ClockForward, 0) => Duration::from_secs(u64::from(below(bytes, u32::MAX))),
                    (Fault::ClockForward, _) => Duration::from_secs(u64::from(below(bytes, 7200))),
                    _ => Duration::from_millis(u64::from(below(bytes, 300_000))),
                };
                Op::Clock { node, fault, by }
            }
            11 => {
                let time = match below(bytes, 3) {
                    0 => below(bytes, 100_000),
                    _ => below(bytes, 20_000),
                };
                let time = Duration::from_millis(u64::from(time));
                Op::Wall { from: node, to: nth, both: below(bytes, 2) == 0, time }
            }
            12 => Op::Rebind { node },
            13 => Op::Cut { node, nth },
            14 => Op::Weather(weather(bytes, true)),
            15 => Op::Move { node, place: nth },
            16 => {
                let interval = (below(bytes, 4) > 0).then(|| Duration::from_secs(u64::from(below(bytes, 120))));
                Op::Ping { node, nth, interval }
            }
            _ => {
                let expires = one_of(bytes, &EXPIRES, 60);
                Op::Subscribe { node, target: nth, expires, auto: below(bytes, 4) > 0 }
            }
        };
        Self { gap: Duration::from_millis(u64::from(gap)), op }
    }

    /// Decodes operations from a generator's bytes until they fill `time`.
    pub fn draw_for(rng: &mut Rng, weights: &Weights, time: Duration) -> Vec<Self> {
        let mut steps = Vec::new();
        let mut sum = Duration::ZERO;
        while sum < time {
            let mut bytes = [0; STEP];
            rng.fill(&mut bytes);
            let step = Self::decode(&mut Unstructured::new(&bytes), weights);
            sum += step.gap.max(Duration::from_millis(1));
            steps.push(step);
        }
        steps
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::decode(bytes, &Weights::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds are met, and none needs more bytes than there are.
    #[test]
    fn a_step_takes_few_bytes() {
        let mut rng = Rng::new(1);
        let mut kinds = Vec::new();
        for round in 0..20_000u32 {
            let mut bytes = [0; STEP];
            rng.fill(&mut bytes);
            let mut bytes = Unstructured::new(&bytes);
            let step = Step::decode(&mut bytes, &Weights::default());
            assert!(!bytes.is_empty(), "round {round}: {step:?}");
            let kind = core::mem::discriminant(&step.op);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        assert_eq!(kinds.len(), KINDS);
        for at in 0..KINDS {
            let mut one = Weights([0; KINDS]);
            one.0[at] = 1;
            let step = Step::decode(&mut Unstructured::new(&[1; STEP]), &one);
            assert_eq!(one.keep_time(), !matches!(step.op, Op::Clock { .. } | Op::Move { .. }));
        }
        let step = Step::decode(&mut Unstructured::new(&[]), &Weights::default());
        assert!(matches!(step.op, Op::Subscribe { node: 0, target: 0, .. }) && step.gap == Duration::ZERO);
    }
}
