//! The network between the nodes: datagrams that are lost, doubled, late,
//! early, damaged or sent elsewhere, and walls that come and go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

use super::rng::Rng;
use crate::Instant;

/// How bad the network is. Chances are per mille of datagrams, or of writes to
/// a stream. The default delays by 20 ms and does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// The time that every message takes.
    pub latency: Duration,
    /// Up to this much more for each message, which reorders datagrams.
    pub jitter: Duration,
    /// A datagram is lost.
    pub loss: u16,
    /// A burst begins: everything is lost for up to 10 s.
    pub burst: u16,
    /// A datagram comes twice or three times.
    pub duplicate: u16,
    /// A datagram comes again, up to an hour later.
    pub replay: u16,
    /// A datagram is up to 30 s late.
    pub tail: u16,
    /// Some bytes of a datagram are changed, or its end is missing.
    pub corrupt: u16,
    /// A stream is cut, wherever its bytes are.
    pub cut: u16,
    /// A socket's buffer is full for up to 20 s.
    pub block: u16,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
            burst: 0,
            duplicate: 0,
            replay: 0,
            tail: 0,
            corrupt: 0,
            cut: 0,
            block: 0,
        }
    }
}

/// Something that went wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A datagram lost alone.
    Loss,
    /// A datagram lost in a burst.
    Burst,
    /// A copy of a datagram.
    Duplicate,
    /// A copy that comes much later.
    Replay,
    /// A datagram that overtakes an earlier one.
    Reorder,
    /// A datagram that is seconds late.
    Delay,
    /// A damaged datagram.
    Corrupt,
    /// A message against a wall that stands both ways.
    Partition,
    /// A message against a wall that stands one way.
    OneWay,
    /// A datagram to an address that a NAT no longer maps.
    Rebind,
    /// A stream cut.
    Cut,
    /// A full socket buffer.
    Blocked,
    /// A connection refused or timed out.
    Refused,
    /// A crash with the newest store.
    CrashIntact,
    /// A crash with an older store.
    CrashStale,
    /// A crash with a store that cannot be read.
    CrashTruncated,
    /// A crash without a store.
    CrashLost,
    /// A datagram to a node that is down.
    Down,
    /// A node that moved to another address.
    Move,
    /// A clock that stood still.
    ClockStall,
    /// A clock set forward.
    ClockForward,
    /// A clock set back.
    ClockBack,
    /// A final answer of a peer that refuses: 3xx to 6xx.
    Refusal,
    /// A request that a peer left unanswered.
    Silence,
    /// A termination by a peer.
    Termination,
    /// A request that a proxy sent to more than one.
    Fork,
    /// A 401 of a peer.
    Challenge,
    /// A 423 of a peer.
    TooBrief,
    /// A peer's NOTIFY before its 2xx, from a second tag, with a state that
    /// nobody knows or a duration that nobody asked for.
    Oddity,
}

impl Fault {
    /// All kinds, in the order of their counters.
    pub const ALL: [Self; 29] = [
        Self::Loss,
        Self::Burst,
        Self::Duplicate,
        Self::Replay,
        Self::Reorder,
        Self::Delay,
        Self::Corrupt,
        Self::Partition,
        Self::OneWay,
        Self::Rebind,
        Self::Cut,
        Self::Blocked,
        Self::Refused,
        Self::CrashIntact,
        Self::CrashStale,
        Self::CrashTruncated,
        Self::CrashLost,
        Self::Down,
        Self::Move,
        Self::ClockStall,
        Self::ClockForward,
        Self::ClockBack,
        Self::Refusal,
        Self::Silence,
        Self::Termination,
        Self::Fork,
        Self::Challenge,
        Self::TooBrief,
        Self::Oddity,
    ];
}

/// How often each [`Fault`] happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    /// One more of them.
    pub fn add(&mut self, fault: Fault) {
        if let Some(count) = self.0.get_mut(fault as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How often it happened.
    pub fn get(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A datagram under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The source that the receiver sees.
    pub from: SocketAddr,
    /// The receiver's own address.
    pub to: SocketAddr,
    /// The bytes as they arrive.
    pub bytes: Bytes,
    /// They are not the bytes that were sent, or repeat what came so.
    pub mangled: bool,
    /// A copy that comes much later.
    pub replayed: bool,
}

#[derive(Debug, Clone)]
struct Wall {
    from: IpAddr,
    to: IpAddr,
    until: Instant,
    both: bool,
}

#[derive(Debug, Clone)]
struct Nat {
    inside: SocketAddr,
    outside: SocketAddr,
}

/// The network: its faults, its walls, its address translators.
#[derive(Debug, Clone)]
pub struct Network {
    /// How bad it is; may be changed at any time.
    pub faults: Faults,
    rng: Rng,
    walls: Vec<Wall>,
    nats: Vec<Nat>,
    burst_until: Instant,
    counts: FaultCounts,
    /// When something last went wrong between two, or with one.
    trouble: BTreeMap<(IpAddr, IpAddr), Instant>,
    damage: BTreeMap<(IpAddr, IpAddr), Instant>,
    /// When the last datagram from one to another arrives.
    latest: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    /// Tests put something here that must not be, to see that it is noticed.
    #[cfg(test)]
    pub(crate) meddle: Option<fn(&mut Datagram) -> Duration>,
}

impl Network {
    pub(crate) const fn new(rng: Rng) -> Self {
        Self {
            faults: Faults {
                latency: Duration::from_millis(20),
                jitter: Duration::ZERO,
                loss: 0,
                burst: 0,
                duplicate: 0,
                replay: 0,
                tail: 0,
                corrupt: 0,
                cut: 0,
                block: 0,
            },
            rng,
            walls: Vec::new(),
            nats: Vec::new(),
            burst_until: Instant::ZERO,
            counts: FaultCounts([0; Fault::ALL.len()]),
            trouble: BTreeMap::new(),
            damage: BTreeMap::new(),
            latest: BTreeMap::new(),
            #[cfg(test)]
            meddle: None,
        }
    }

    /// What went wrong so far.
    pub const fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    pub(crate) const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Puts `inside` behind an address translator that shows it as `outside`.
    pub fn add_nat(&mut self, inside: SocketAddr, outside: SocketAddr) {
        self.nats.push(Nat { inside, outside });
    }

    /// The translator forgets its mapping and makes another: the outside port
    /// moves on. Nothing happens to an address without translator.
    pub fn rebind(&mut self, inside: SocketAddr) {
        if let Some(nat) = self.nats.iter_mut().find(|nat| nat.inside == inside) {
            nat.outside.set_port(nat.outside.port().wrapping_add(1).max(1024));
        }
    }

    /// Nothing passes from `from` to `to` until then; with `both`, nor back.
    pub fn wall(&mut self, now: Instant, from: IpAddr, to: IpAddr, both: bool, until: Instant) {
        self.walls.retain(|wall| wall.until > now);
        self.walls.push(Wall { from, to, until, both });
    }

    /// All walls fall, and no fault happens from now on.
    pub fn heal(&mut self) {
        self.walls.clear();
        self.burst_until = Instant::ZERO;
        self.faults = Faults { latency: self.faults.latency, ..Faults::default() };
    }

    /// Until when a wall stands between them.
    pub(crate) fn walled(&self, now: Instant, from: IpAddr, to: IpAddr) -> Option<(Instant, bool)> {
        let hit = |wall: &&Wall| {
            now < wall.until && ((wall.from, wall.to) == (from, to) || wall.both && (wall.to, wall.from) == (from, to))
        };
        self.walls.iter().filter(hit).map(|wall| (wall.until, wall.both)).max()
    }

    /// Counts a fault that hurts what two addresses say to each other, or all
    /// that one says.
    pub(crate) fn harm(&mut self, now: Instant, fault: Fault, a: IpAddr, b: IpAddr) {
        self.counts.add(fault);
        let pair = (a.min(b), a.max(b));
        let since = self.trouble.entry(pair).or_insert(now);
        *since = now.max(*since);
        if matches!(fault, Fault::Corrupt) {
            self.damage.insert(pair, now);
        }
    }

    pub(crate) fn add_counts(&mut self, counts: &FaultCounts) {
        self.counts.merge(counts);
    }

    /// When something last went wrong between two, or with one of them.
    pub(crate) fn last_trouble(&self, a: IpAddr, b: IpAddr) -> Instant {
        let pairs = [(a.min(b), a.max(b)), (a, a), (b, b)];
        pairs.iter().filter_map(|pair| self.trouble.get(pair)).copied().max().unwrap_or(Instant::ZERO)
    }

    /// Who was at `from` is at `to` now, and so is what went wrong with it.
    pub(crate) fn moved(&mut self, from: IpAddr, to: IpAddr) {
        for times in [&mut self.trouble, &mut self.damage] {
            let there = |ip| if ip == from { to } else { ip };
            let old = times.iter().filter(|((a, b), _)| *a == from || *b == from);
            let new: Vec<_> = old.map(|((a, b), at)| ((there(*a), there(*b)), *at)).collect();
            for ((a, b), at) in new {
                let since = times.entry((a.min(b), a.max(b))).or_insert(at);
                *since = at.max(*since);
            }
        }
    }

    /// Whether it is behind an address translator.
    pub(crate) fn has_nat(&self, inside: SocketAddr) -> bool {
        self.nats.iter().any(|nat| nat.inside == inside)
    }

    /// When a message between them was last damaged.
    pub(crate) fn last_damage(&self, a: IpAddr, b: IpAddr) -> Option<Instant> {
        self.damage.get(&(a.min(b), a.max(b))).copied()
    }

    /// Sends a datagram: `arrive` gets each copy that arrives, and when. With
    /// `mangled` it repeats what was damaged on its way to the sender.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
        mangled: bool,
        mut arrive: impl FnMut(Instant, Datagram),
    ) {
        let faults = self.faults;
        let source = self.nats.iter().find(|nat| nat.inside == from).map_or(from, |nat| nat.outside);
        let target = match self.nats.iter().find(|nat| nat.outside.ip() == to.ip()) {
            Some(nat) if nat.outside == to => nat.inside,
            Some(nat) => {
                let inside = nat.inside.ip();
                self.harm(now, Fault::Rebind, from.ip(), inside);
                return;
            }
            // From outside nobody reaches an inside address.
            None if self.nats.iter().any(|nat| nat.inside == to) => {
                self.harm(now, Fault::Rebind, from.ip(), to.ip());
                return;
            }
            None => to,
        };
        let (a, b) = (from.ip(), target.ip());
        if let Some((_, both)) = self.walled(now, a, b) {
            self.harm(now, if both { Fault::Partition } else { Fault::OneWay }, a, b);
            return;
        }
        if now < self.burst_until {
            self.harm(now, Fault::Burst, a, b);
            return;
        }
        if self.rng.chance(faults.burst) {
            self.burst_until = now + self.rng.within(Duration::from_secs(10));
        }
        let mut datagram = Datagram { from: source, to: target, bytes, mangled, replayed: false };
        if self.rng.chance(faults.replay) {
            self.counts.add(Fault::Replay);
            let at = now + self.rng.within(Duration::from_secs(3600));
            arrive(at, Datagram { replayed: true, ..datagram.clone() });
        }
        let mut copies = 1u64;
        if self.rng.chance(faults.duplicate) {
            self.counts.add(Fault::Duplicate);
            copies = 2u64.saturating_add(self.rng.below(2));
        }
        if self.rng.chance(faults.loss) {
            self.harm(now, Fault::Loss, a, b);
            copies = copies.saturating_sub(1);
        }
        for _ in 0..copies {
            let mut at = now + faults.latency;
            if !faults.jitter.is_zero() {
                at = at + self.rng.within(faults.jitter);
            }
            if self.rng.chance(faults.tail) {
                at = at + self.rng.within(Duration::from_secs(30));
                self.harm(at, Fault::Delay, a, b);
            }
            let latest = self.latest.entry((from, target)).or_insert(at);
            if at < *latest {
                self.counts.add(Fault::Reorder);
            }
            *latest = at.max(*latest);
            let mut copy = datagram.clone();
            if self.rng.chance(faults.corrupt) {
                self.harm(now, Fault::Corrupt, a, b);
                copy.bytes = self.mangle(&copy.bytes);
                copy.mangled = true;
            }
            #[cfg(test)]
            if let Some(meddle) = self.meddle {
                at = at + meddle(&mut copy);
            }
            arrive(at, copy);
        }
        datagram.bytes.clear();
    }

    fn mangle(&mut self, bytes: &[u8]) -> Bytes {
        let mut bytes = bytes.to_vec();
        let len = bytes.len() as u64;
        if self.rng.chance(200) {
            bytes.truncate(usize::try_from(self.rng.below(len)).unwrap_or(0));
        }
        for _ in 0..1u64.saturating_add(self.rng.below(3)) {
            let at = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap_or(0);
            let value = self.rng.below(256);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(value).unwrap_or(0);
            }
        }
        Bytes::from(bytes)
    }
}
