//! A whole simulated day from one number: who there is, what they do, and what
//! goes wrong; then a time without faults in which everything has to come right.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use arbitrary::{Arbitrary, Unstructured};

use super::checkers::TIMER_F;
use super::citizen::{Citizen, PACKAGE};
use super::invariant::Violation;
use super::log::Log;
use super::net::Faults;
use super::node::Blueprint;
use super::ops::{Op, Step, Weights, below, weather};
use super::peer::Peer;
use super::proxy::Proxy;
use super::rng::Rng;
use super::world::{Figures, World};
use crate::package::{Expires, Forking, Opaque};
use crate::{Authentication, Config, Delivery, Instant, Packages};

/// Who there is, drawn from the seed: a swarm leaves out much of what could be,
/// so that what is left meets often.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Nodes that only watch.
    pub subscribers: u8,
    /// Nodes that publish, and watch each other.
    pub notifiers: u8,
    /// Resources of each.
    pub resources: u8,
    /// Least time between two NOTIFYs of one subscription.
    pub throttle: Duration,
    /// Whether each fork is a subscription of its own.
    pub forking: bool,
    /// Some targets are reached over TCP.
    pub tcp: bool,
    /// The subscribers are behind address translators.
    pub nat: bool,
    /// A proxy forks to all notifiers, and stays in the path.
    pub proxy: bool,
    /// Rude peers.
    pub peers: u8,
    /// How bad the network is at first.
    pub faults: Faults,
    /// What is done how often.
    pub weights: Weights,
}

impl Options {
    /// Decodes them.
    pub fn decode(bytes: &mut Unstructured<'_>) -> Self {
        let small = |bytes: &mut Unstructured<'_>, n| u8::try_from(below(bytes, n)).unwrap_or(0);
        let tcp = below(bytes, 5) > 2;
        let nat = below(bytes, 5) > 3;
        Self {
            // What is behind a translator answers to an address that may have moved: no proxy knows it.
            proxy: below(bytes, 2) > 0 && !nat,
            peers: small(bytes, 3),
            subscribers: 1u8.saturating_add(small(bytes, 3)),
            notifiers: 1u8.saturating_add(small(bytes, 2)),
            resources: 1u8.saturating_add(small(bytes, 3)),
            throttle: Duration::from_millis(u64::from(below(bytes, 3)).saturating_mul(2500)),
            forking: below(bytes, 2) > 0,
            tcp,
            nat,
            faults: weather(bytes, tcp),
            weights: Weights::default().swarm(bytes),
        }
    }
}

/// A run that can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Who there is.
    pub options: Options,
    /// What they do.
    pub steps: Vec<Step>,
}

/// What became of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// What was seen.
    pub figures: Figures,
    /// Simulated time.
    pub time: Duration,
    /// What was said, if it was to be kept.
    pub log: Option<Log>,
}

/// Options take at most so many bytes.
const OPTIONS: usize = 128;
/// What is decoded from a fuzzer's bytes has at most so many operations.
const STEPS: usize = 60;

const START: Instant = Instant::from_secs(1);

const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)), 5060);
/// The host of the first rude peer.
const PEERS: u8 = 110;

/// Where a node may be.
const PLACES: u8 = 3;

fn host(node: usize) -> u8 {
    u8::try_from(node).unwrap_or(0).saturating_add(1)
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 5060)
}

impl Scenario {
    /// The scenario of a seed: operations for `time`.
    pub fn new(seed: u64, time: Duration) -> Self {
        let mut rng = Rng::new(seed);
        let mut bytes = [0; OPTIONS];
        rng.fill(&mut bytes);
        let options = Options::decode(&mut Unstructured::new(&bytes));
        let steps = Step::draw_for(&mut rng, &options.weights, time);
        Self { seed, options, steps }
    }

    fn nodes(&self) -> u8 {
        self.options.subscribers.saturating_add(self.options.notifiers)
    }

    fn targets(&self) -> Vec<String> {
        let mut targets = Vec::new();
        for node in 0..self.options.notifiers {
            for resource in 0..self.options.resources {
                let host = address(node.saturating_add(1)).ip();
                let transport = if self.options.tcp && resource % 2 == 1 { ";transport=tcp" } else { "" };
                targets.push(format!("sip:r{resource}@{host}{transport}"));
            }
        }
        if self.options.proxy {
            targets.extend((0..self.options.resources).map(|resource| format!("sip:r{resource}@{}", PROXY.ip())));
        }
        targets.extend((0..self.options.peers).map(|at| format!("sip:p@{}", address(PEERS.saturating_add(at)).ip())));
        targets
    }

    /// The world before anything happens.
    pub fn build(&self) -> World<Citizen> {
        let options = &self.options;
        let mut world = World::new(self.seed);
        let mut rng = Rng::new(self.seed ^ 0x5eed);
        world.set_faults(options.faults);
        if options.weights.keep_time() {
            world.compare_times();
        }
        let forking = if options.forking { Forking::All } else { Forking::FirstOnly };
        let package = Opaque::new(PACKAGE)
            .with_rate(options.throttle)
            .with_forking(forking)
            .with_duration(Expires::new(60, 600, 3600));
        for at in 0..self.nodes() {
            let address = address(at.saturating_add(1));
            let notifier = at < options.notifiers;
            let mut packages = Packages::new();
            // The name is a token, and the only one.
            let _ = packages.register(package.clone());
            let Ok(config) = Config::new(&format!("sip:n{at}@{}", address.ip())) else { continue };
            let mut config = config.with_authentication(Authentication::None);
            if options.nat {
                config.policy.delivery = Delivery::Flow;
            }
            let mut blueprint = Blueprint::new(config, packages, address);
            blueprint.tcp = options.tcp;
            if options.nat && !notifier {
                let outside = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, at)), 20_000);
                world.network().add_nat(address, outside);
                blueprint.advertised = Some(outside);
            }
            let count = if notifier { options.resources } else { 0 };
            let uris = (0..count).map(|resource| format!("sip:r{resource}@{}", address.ip()));
            let name = format!("{}{at}", if notifier { "notifier" } else { "watcher" });
            world.add_node(&name, blueprint, Citizen::new(&name, uris, rng.split()));
        }
        if options.proxy {
            let mut proxy = Proxy::new(PROXY);
            for resource in 0..options.resources {
                for node in 0..options.notifiers {
                    let host = address(node.saturating_add(1)).ip();
                    proxy.add(&format!("r{resource}"), &format!("sip:r{resource}@{host}"));
                }
            }
            world.add_actor(proxy);
        }
        for at in 0..options.peers {
            // Every other one watches too.
            let targets = if at % 2 == 0 { self.targets() } else { Vec::new() };
            let watches = targets.into_iter().filter(|uri| !uri.contains("transport") && !uri.contains("sip:p@"));
            let name = format!("peer{at}");
            world.add_actor(Peer::new(&name, address(PEERS.saturating_add(at)), PACKAGE, watches.collect()));
        }
        world
    }

    /// Runs it. With `keep_log` the messages are kept.
    pub fn run(&self, keep_log: bool) -> Outcome {
        let mut world = self.build();
        if keep_log {
            world.keep_log();
        }
        self.drive(&mut world);
        Outcome {
            violation: world.violation().cloned(),
            figures: world.figures(),
            time: world.now() - START,
            log: world.log(),
        }
    }

    /// Lets it all happen in a world fresh from [`build`](Self::build): for who
    /// wants to see the world even when a panic has ended it.
    pub fn drive(&self, world: &mut World<Citizen>) {
        self.safety(world);
        if world.violation().is_none() {
            self.liveness(world);
        }
    }

    /// Everything may go wrong, and nothing may break a rule.
    fn safety(&self, world: &mut World<Citizen>) {
        let targets = self.targets();
        for step in &self.steps {
            world.run_for(step.gap);
            if world.violation().is_some() {
                return;
            }
            world.check_nodes();
            world.check_documents(self.options.throttle, false);
            self.perform(world, &step.op, &targets);
        }
    }

    fn perform(&self, world: &mut World<Citizen>, op: &Op, targets: &[String]) {
        let pick = |nth: u8| usize::from(nth).checked_rem(usize::from(self.nodes())).unwrap_or(0);
        match *op {
            Op::Save { node } => world.save(pick(node)),
            Op::Crash { node, store, down } => world.crash(pick(node), store, down),
            Op::Clock { node, fault, by } => world.set_clock(pick(node), fault, by),
            Op::Wall { from, to, both, time } => world.wall(pick(from), pick(to), both, time),
            Op::Rebind { node } => world.rebind(pick(node)),
            Op::Cut { node, nth } => world.cut_stream(pick(node), usize::from(nth)),
            Op::Weather(faults) => world.set_faults(faults),
            Op::Move { node, place } => {
                let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, place % PLACES, host(pick(node)))), 5060);
                world.rehome(pick(node), to);
            }
            Op::Ping { node, nth, interval } => world.ping(pick(node), usize::from(nth), interval),
            Op::Subscribe { node, target, .. } => {
                let at = usize::from(target).checked_rem(targets.len()).unwrap_or(0);
                let target = targets.get(at).map_or("", String::as_str);
                world.command(pick(node), |app, endpoint, now| app.perform(endpoint, now, op, target));
            }
            Op::Refresh { node, .. } | Op::Unsubscribe { node, .. } => {
                world.command(pick(node), |app, endpoint, now| app.perform(endpoint, now, op, ""));
            }
            Op::Publish { node, .. }
            | Op::Approve { node, .. }
            | Op::Terminate { node, .. }
            | Op::Shorten { node, .. }
            | Op::Replace { node, .. } => {
                let node = usize::from(node).checked_rem(usize::from(self.options.notifiers)).unwrap_or(0);
                world.command(node, |app, endpoint, now| app.perform(endpoint, now, op, ""));
            }
        }
    }

    /// Faults stop: every watcher holds the latest state or knows that its
    /// subscription is over, and what is ended leaves nothing behind.
    fn liveness(&self, world: &mut World<Citizen>) {
        world.heal();
        // Crashed nodes come back, clocks catch up.
        world.run_for(Duration::from_secs(600));
        let all = |world: &mut World<Citizen>, what: fn(&mut Citizen, &mut crate::Endpoint, Instant)| {
            for node in 0..usize::from(self.nodes()) {
                world.command(node, what);
            }
        };
        all(world, Citizen::become_calm);
        // The longest duration, the longest back-off.
        world.run_for(Duration::from_secs(3600 + 2300));
        all(world, Citizen::publish_all);
        world.run_for(TIMER_F + self.options.throttle + Duration::from_secs(6));
        world.check_documents(self.options.throttle, true);
        all(world, Citizen::leave);
        for _ in 0..20 {
            if !world.is_busy() {
                break;
            }
            world.run_for(Duration::from_secs(10));
            all(world, Citizen::leave);
        }
        world.run_for(TIMER_F + Duration::from_secs(10));
        world.check_nodes();
        world.check_empty();
    }

    /// A smaller scenario that breaks the same rule: fewer operations (delta
    /// debugging), fewer others, better weather. At most `runs` tries.
    #[must_use]
    pub fn shrink(&self, violation: &Violation, runs: usize) -> Self {
        self.shrink_with(violation, runs, |scenario| scenario.run(false).violation)
    }

    /// [`shrink`](Self::shrink) with a run of one's own, such as one that makes
    /// a violation of a panic.
    #[must_use]
    pub fn shrink_with(
        &self,
        violation: &Violation,
        runs: usize,
        mut run: impl FnMut(&Self) -> Option<Violation>,
    ) -> Self {
        let left = Cell::new(runs);
        let mut best = self.clone();
        let mut attempt = |best: &mut Self, change: &dyn Fn(&mut Self)| {
            let mut candidate = best.clone();
            change(&mut candidate);
            if candidate == *best || left.get() == 0 {
                return false;
            }
            left.set(left.get().saturating_sub(1));
            let fails = run(&candidate).is_some_and(|found| found.invariant == violation.invariant);
            if fails {
                *best = candidate;
            }
            fails
        };
        attempt(&mut best, &|scenario| scenario.cut_after(violation.at));
        for simpler in SIMPLER {
            attempt(&mut best, &|scenario| simpler(&mut scenario.options));
        }
        let mut size = best.steps.len().div_ceil(2);
        while size > 0 && left.get() > 0 {
            let (mut at, mut shorter) = (0, false);
            while at < best.steps.len() {
                // At once, or with the time that they took.
                let without = attempt(&mut best, &|scenario| scenario.leave_out(at, size, false))
                    || attempt(&mut best, &|scenario| scenario.leave_out(at, size, true));
                shorter |= without;
                at = if without { at } else { at.saturating_add(size) };
            }
            if !shorter || size > best.steps.len() {
                size /= 2;
            }
        }
        best
    }

    /// Nothing is done after that time.
    fn cut_after(&mut self, at: Instant) {
        let times = self.steps.iter().scan(START, |now, step| {
            *now = *now + step.gap;
            Some(*now)
        });
        let count = times.take_while(|now| *now <= at).count();
        self.steps.truncate(count);
    }

    /// Leaves out `count` operations from `at` on; with `wait` the next one
    /// comes no earlier for it.
    fn leave_out(&mut self, at: usize, count: usize, wait: bool) {
        let end = at.saturating_add(count).min(self.steps.len());
        if at >= end {
            return;
        }
        let removed: Duration = self.steps.drain(at..end).map(|step| step.gap).sum();
        if let Some(next) = self.steps.get_mut(at).filter(|_| wait) {
            next.gap += removed;
        }
    }
}

/// A scenario of at most 60 operations; what is spent ends the list.
impl<'a> Arbitrary<'a> for Scenario {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let seed = below(bytes, 1 << 16).into();
        let options = Options::decode(bytes);
        let mut steps = Vec::new();
        while !bytes.is_empty() && steps.len() < STEPS {
            steps.push(Step::decode(bytes, &options.weights));
        }
        Ok(Self { seed, options, steps })
    }
}

/// What a smaller scenario may do without.
const SIMPLER: [fn(&mut Options); 8] = [
    |options| options.faults = Faults::default(),
    |options| options.peers = 0,
    |options| options.proxy = false,
    |options| options.nat = false,
    |options| options.tcp = false,
    |options| options.subscribers = 1,
    |options| options.notifiers = 1,
    |options| options.resources = 1,
];
