//! One endpoint in a world, with its application, its clock and its store.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::rng::Rng;
use crate::io::ConnectId;
use crate::wire::{HostPort, Transport};
use crate::{Config, Endpoint, Event, Instant, Packages, Progress, Restart};

/// What a program makes of an endpoint: it hears the events and gives commands.
///
/// The same value lives on through crashes of its endpoint; it may forget what
/// it likes in [`start`](Self::start).
pub trait Application {
    /// The endpoint starts, for the first time or after a crash: add resources,
    /// set their state, subscribe. `store` is what the endpoint was restored
    /// from.
    fn start(&mut self, endpoint: &mut Endpoint, now: Instant, store: Store) {
        let _ = (endpoint, now, store);
    }

    /// Something happened. [`Event::Io`] is the world's business and not seen here.
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: &Event) {
        let _ = (endpoint, now, event);
    }
}

/// An application that decides nothing and asks for nothing.
impl Application for () {}

/// What an endpoint is made from at every start.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// Its configuration.
    pub config: Arc<Config>,
    /// Its packages.
    pub packages: Packages,
    /// Where it receives, over UDP and over TCP.
    pub address: SocketAddr,
    /// The address that peers see, behind an address translator.
    pub advertised: Option<SocketAddr>,
    /// Whether it has TCP beside UDP.
    pub tcp: bool,
}

impl Blueprint {
    /// A node at `address` with UDP and TCP.
    pub fn new(config: Config, packages: Packages, address: SocketAddr) -> Self {
        Self { config: Arc::new(config), packages, address, advertised: None, tcp: true }
    }

    /// Without TCP.
    #[must_use]
    pub const fn udp_only(mut self) -> Self {
        self.tcp = false;
        self
    }

    pub(crate) fn build(&self, rng: &mut Rng, now: Instant) -> Endpoint {
        let mut endpoint = Endpoint::new(self.config.clone(), self.packages.clone(), &rng.seed(), now);
        self.add_locals(&mut endpoint);
        endpoint
    }

    pub(crate) fn add_locals(&self, endpoint: &mut Endpoint) {
        let advertised = self.advertised.map(HostPort::from);
        // The address of a blueprint is a plain one, which cannot be refused.
        let _ = endpoint.add_local(Transport::Udp, self.address, advertised, None);
        if self.tcp {
            let _ = endpoint.add_local(Transport::Tcp, self.address, None, None);
        }
    }
}

/// What a crashed endpoint finds when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Store {
    /// Nothing was stored yet: the first start.
    None,
    /// A snapshot taken at the crash.
    Intact,
    /// The snapshot of the latest [`World::save`](super::World::save).
    Stale,
    /// A snapshot that ends too early or has a wrong bit: it must be refused,
    /// never half believed.
    Truncated,
    /// No snapshot.
    Lost,
}

/// A stored endpoint: its snapshot, and the world's time.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    bytes: Vec<u8>,
    pub(crate) at: Instant,
    /// The address that it had.
    address: SocketAddr,
}

impl Saved {
    /// The snapshot of an endpoint as it is, written in steps of a few records.
    pub(crate) fn of(endpoint: &Endpoint, address: SocketAddr, now: Instant, world: Instant) -> Self {
        let mut bytes = Vec::new();
        let mut writer = endpoint.snapshot(now, 16);
        while writer.step(endpoint, &mut bytes) == Progress::More {}
        Self { bytes, at: world, address }
    }

    /// The same with its end missing, or with a bit turned over.
    pub(crate) fn spoil(mut self, rng: &mut Rng) -> Self {
        let place = usize::try_from(rng.below(self.bytes.len() as u64)).unwrap_or(0);
        match (rng.chance(500), self.bytes.get_mut(place)) {
            (true, Some(byte)) => *byte ^= 1 << rng.below(8),
            _ => self.bytes.truncate(place),
        }
        self
    }

    /// The endpoint again; `None` when the snapshot is refused. Its age is told
    /// as it is: whatever a node's clock shows, its driver has to know that.
    pub(crate) fn restore(
        &self,
        blueprint: &Blueprint,
        rng: &mut Rng,
        now: Instant,
        world: Instant,
    ) -> Option<Endpoint> {
        let (config, packages) = (blueprint.config.clone(), blueprint.packages.clone());
        let restart = Restart::Fresh(rng.seed());
        let mut endpoint = Endpoint::restore(config, packages, &self.bytes, now, world - self.at, &restart).ok()?;
        blueprint.add_locals(&mut endpoint);
        if self.address != blueprint.address {
            // It was added just now.
            let _ = endpoint.rehome(now, self.address, blueprint.address);
        }
        Some(endpoint)
    }
}

/// A node's clock: it may stand still and jump, while the world's goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// Nanoseconds ahead of the world's clock; behind when negative.
    offset: i64,
    /// The reading at which it stands, and until when.
    stalled: Option<(Instant, Instant)>,
    /// What it showed when it was last set back, at most.
    shown: Option<Instant>,
}

impl Clock {
    /// The reading at `world` time.
    pub fn read(&self, world: Instant) -> Instant {
        match self.stalled {
            Some((reading, until)) if world < until => reading,
            _ => shift(world, self.offset),
        }
    }

    /// The world's time at which the clock will show `local`, not before `world`.
    pub fn when(&self, local: Instant, world: Instant) -> Instant {
        let at = shift(local, self.offset.saturating_neg()).max(world);
        match self.stalled {
            Some((reading, until)) if world < until && local > reading => at.max(until),
            _ => at,
        }
    }

    /// It stands still until then, and shows the right time afterwards.
    pub fn stall(&mut self, world: Instant, until: Instant) {
        self.stalled = Some((self.read(world), until));
    }

    /// It is set forward.
    pub fn forward(&mut self, by: Duration) {
        self.offset = self.offset.saturating_add(nanos(by));
    }

    /// It is set back.
    pub fn back(&mut self, world: Instant, by: Duration) {
        self.shown = self.shown.max(Some(self.read(world)));
        self.offset = self.offset.saturating_sub(nanos(by));
    }

    /// The world's time at which it will show more than ever before.
    pub fn caught_up(&self, world: Instant) -> Instant {
        self.shown.map_or(world, |shown| self.when(shown, world))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn shift(at: Instant, offset: i64) -> Instant {
    Instant::from_nanos(at.as_nanos().saturating_add_signed(offset))
}

/// A node of a world.
#[derive(Debug)]
pub struct Node<A> {
    /// Its name in ladders.
    pub name: String,
    /// The application on top.
    pub app: A,
    pub(crate) blueprint: Blueprint,
    /// `None` while it is down.
    pub(crate) endpoint: Option<Box<Endpoint>>,
    pub(crate) clock: Clock,
    /// World time of its next wake-up.
    pub(crate) wake: Option<Instant>,
    pub(crate) saved: Option<Saved>,
    /// What it will find when it comes back.
    pub(crate) pending: Option<(Store, Option<Saved>)>,
    pub(crate) streams: Vec<u64>,
    pub(crate) connects: Vec<ConnectId>,
    /// Wake-ups at the same moment in a row.
    pub(crate) spins: (Instant, u32),
    /// When a command or a decision of the application last changed something.
    pub(crate) touched: Instant,
    /// When it last had a subscription or a watcher, or any input but time.
    pub(crate) lively: Instant,
    /// When a transmission was last withheld.
    pub(crate) withheld: Option<Instant>,
    /// It was told to ping.
    pub(crate) pings: bool,
    /// Where it was at first.
    pub(crate) home: SocketAddr,
    /// Subscriptions, watchers and undecided SUBSCRIBEs before the latest input.
    pub(crate) objects: u32,
}

impl<A> Node<A> {
    /// The endpoint, unless it is down.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_deref()
    }

    /// Where it receives.
    pub const fn address(&self) -> SocketAddr {
        self.blueprint.address
    }

    /// Its clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still_and_jumps() {
        let mut clock = Clock::default();
        let at = Instant::from_secs;
        clock.stall(at(10), at(20));
        assert_eq!(clock.read(at(15)), at(10));
        assert_eq!(clock.when(at(12), at(15)), at(20));
        assert_eq!(clock.read(at(20)), at(20));
        clock.forward(Duration::from_secs(100));
        assert_eq!(clock.read(at(30)), at(130));
        assert_eq!(clock.when(at(140), at(30)), at(40));
        clock.back(at(30), Duration::from_secs(120));
        assert_eq!(clock.read(at(30)), at(10));
        assert_eq!(clock.when(at(140), at(30)), at(160));
        assert_eq!(clock.caught_up(at(30)), at(150));
        clock.back(at(40), Duration::from_secs(50));
        assert_eq!(clock.caught_up(at(40)), at(200));
    }
}
