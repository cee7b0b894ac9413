//! The world: nodes, a network between them, and one clock that jumps from
//! event to event.

mod faults;
mod hub;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

use super::actor::{Actor, Scene};
use super::checkers::Checkers;
use super::facts::{mix, mix_bytes};
use super::invariant::{Invariant, Violation};
use super::log::{Frame, Log};
use super::net::{Datagram, Fault, FaultCounts, Faults, Network};
use super::node::{Application, Blueprint, Clock, Node, Store};
use super::rng::Rng;
use super::streams::{Chunk, Streams};
use crate::io::{Answer, ConnectFailure, ConnectId, ResolveFailure};
use crate::wire::Transport;
use crate::{Endpoint, Event, Flow, Instant, Io, QuestionKind};

/// After so many messages and events an endpoint is not asked for more.
const ENDLESS: u32 = 100_000;
/// Messages and events that one input may cause, whatever there is.
const OUTPUTS_PER_INPUT: u32 = 64;
/// The same for each object that it may concern.
const OUTPUTS_PER_OBJECT: u32 = 4;
/// Wake-ups that may follow each other at one moment.
const MAX_SPINS: u32 = 64;

/// Whose doing an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// What a peer sends concerns the dialogs of one request; the application may
    /// tell all watchers of it.
    Peer,
    /// Time, a connection, or a command may concern everything there is: a clock
    /// that jumps makes all subscriptions due at once.
    Own,
}

/// Something that is going to happen.
#[derive(Debug)]
enum Item {
    Datagram(Datagram),
    Opened { stream: u64, side: usize, connect: Option<ConnectId> },
    ConnectFailed { node: usize, connect: ConnectId, why: ConnectFailure },
    Chunk(Chunk),
    Closed { stream: u64, side: usize },
    Writable { stream: u64, side: usize },
    Restart { node: usize },
}

#[derive(Debug)]
struct Due {
    at: Instant,
    order: u64,
    item: Item,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// What a world has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Inputs to nodes and actors: messages, chunks, wake-ups, commands.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Events told to applications.
    pub told: u64,
    /// Comparisons of a watcher's document with the state that it watches.
    pub compared: u64,
    /// Comparisons of what a node believes of a subscription with the reference model.
    pub believed: u64,
    /// Published states among them, counted once for each watcher: none was
    /// lost whose path was up for 64*T1.
    pub states: u64,
    /// Comparisons while another watcher of the same notifier kept silent.
    pub beside: u64,
    /// Transmissions of NOTIFYs withheld from addresses without proof
    /// ([`Policy::unproven`](crate::Policy::unproven)).
    pub withheld: u64,
    /// Watchers that were lost for want of an answer to a NOTIFY while some
    /// transmission was withheld: at most so many were lost to that rule.
    pub unproven_lost: u64,
    /// Starts after a crash.
    pub restarts: u64,
    /// What went wrong on purpose.
    pub faults: FaultCounts,
    /// A hash of everything that was sent, and when.
    pub trace: u64,
}

impl Figures {
    /// Adds another world's figures; the traces are added, so that the order of
    /// worlds does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.messages = self.messages.saturating_add(other.messages);
        self.told = self.told.saturating_add(other.told);
        self.compared = self.compared.saturating_add(other.compared);
        self.believed = self.believed.saturating_add(other.believed);
        self.states = self.states.saturating_add(other.states);
        self.beside = self.beside.saturating_add(other.beside);
        self.withheld = self.withheld.saturating_add(other.withheld);
        self.unproven_lost = self.unproven_lost.saturating_add(other.unproven_lost);
        self.restarts = self.restarts.saturating_add(other.restarts);
        self.faults.merge(&other.faults);
        self.trace = self.trace.wrapping_add(other.trace);
    }
}

/// Everything but the nodes.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) now: Instant,
    order: u64,
    queue: BinaryHeap<Due>,
    pub(crate) net: Network,
    actors: Vec<Box<dyn Actor>>,
    streams: Streams,
    pub(crate) checkers: Checkers,
    log: Option<Log>,
    pub(crate) figures: Figures,
    rng: Rng,
    names: BTreeMap<String, IpAddr>,
    addresses: BTreeMap<SocketAddr, usize>,
    head: Vec<u8>,
    /// Tests keep the time from endpoints, to see that it is noticed.
    #[cfg(test)]
    pub(crate) deaf: bool,
}

/// Endpoints, actors, and a network between them, all moved by one seed.
///
/// Every input to an endpoint is followed by the checks that
/// [`Invariant`] names; the first that fails stops the world, see
/// [`violation`](Self::violation).
#[derive(Debug)]
pub struct World<A> {
    pub(crate) nodes: Vec<Node<A>>,
    pub(crate) hub: Hub,
}

impl<A: Application> World<A> {
    /// An empty world. Everything that happens in it follows from `seed` and
    /// from what is done to it.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let hub = Hub {
            now: Instant::from_secs(1),
            order: 0,
            queue: BinaryHeap::new(),
            net: Network::new(rng.split()),
            actors: Vec::new(),
            streams: Streams::default(),
            checkers: Checkers::default(),
            log: None,
            figures: Figures::default(),
            rng: rng.split(),
            names: BTreeMap::new(),
            addresses: BTreeMap::new(),
            head: Vec::with_capacity(2048),
            #[cfg(test)]
            deaf: false,
        };
        Self { nodes: Vec::new(), hub }
    }

    /// Adds an endpoint and starts it. Returns its number.
    pub fn add_node(&mut self, name: &str, blueprint: Blueprint, app: A) -> usize {
        let at = self.nodes.len();
        let now = self.hub.now;
        self.hub.addresses.insert(blueprint.address, at);
        self.hub.checkers.add_node();
        let endpoint = blueprint.build(&mut self.hub.rng, now);
        self.nodes.push(Node {
            pings: false,
            home: blueprint.address,
            name: name.to_string(),
            app,
            blueprint,
            endpoint: None,
            clock: Clock::default(),
            wake: None,
            saved: None,
            pending: None,
            streams: Vec::new(),
            connects: Vec::new(),
            spins: (Instant::ZERO, 0),
            touched: now,
            lively: now,
            withheld: None,
            objects: 0,
        });
        if let Some(node) = self.nodes.get_mut(at) {
            self.hub.start(node, at, endpoint, Store::None);
        }
        at
    }

    /// Adds somebody else.
    pub fn add_actor(&mut self, actor: impl Actor + 'static) {
        self.hub.actors.push(Box::new(actor));
    }

    /// Gives a host name an address.
    pub fn add_name(&mut self, name: &str, address: IpAddr) {
        self.hub.names.insert(name.to_string(), address);
    }

    /// Keeps every message that is sent from now on, for a ladder or a capture.
    pub fn keep_log(&mut self) {
        self.hub.log = Some(Log::default());
    }

    /// What was kept, with the names of all nodes.
    pub fn log(&self) -> Option<Log> {
        let mut log = self.hub.log.clone()?;
        log.names = self.nodes.iter().map(|node| (node.blueprint.address.ip(), node.name.clone())).collect();
        log.names.extend(self.hub.actors.iter().map(|actor| (actor.address().ip(), actor.name())));
        Some(log)
    }

    /// The world's time.
    pub const fn now(&self) -> Instant {
        self.hub.now
    }

    /// The network: its faults and walls may be changed at any time.
    pub const fn network(&mut self) -> &mut Network {
        &mut self.hub.net
    }

    /// A node.
    pub fn node(&self, node: usize) -> Option<&Node<A>> {
        self.nodes.get(node)
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node<A>] {
        &self.nodes
    }

    /// What was seen so far.
    pub fn figures(&self) -> Figures {
        Figures { faults: self.hub.net.counts().clone(), ..self.hub.figures.clone() }
    }

    /// What went wrong against the rules, if anything did.
    pub const fn violation(&self) -> Option<&Violation> {
        self.hub.checkers.violation()
    }

    /// Sets how bad the network is.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.hub.net.faults = faults;
    }

    /// The reference model compares times as well as states: for worlds in which
    /// no clock is set and no node moves.
    pub const fn compare_times(&mut self) {
        self.hub.checkers.model.times = true;
    }

    /// Gives commands to a node's endpoint: `with` gets the application, the
    /// endpoint and the time on its clock. `None` while it is down.
    pub fn command<R>(&mut self, node: usize, with: impl FnOnce(&mut A, &mut Endpoint, Instant) -> R) -> Option<R> {
        let at = node;
        let node = self.nodes.get_mut(at)?;
        let now = node.clock.read(self.hub.now);
        let endpoint = node.endpoint.as_mut()?;
        let result = with(&mut node.app, endpoint, now);
        node.touched = self.hub.now;
        node.lively = self.hub.now;
        self.hub.checkers.now = Some(self.hub.now);
        self.hub.figures.events = self.hub.figures.events.saturating_add(1);
        self.hub.drain(node, at, Cause::Own);
        Some(result)
    }

    /// Lets time pass. Returns early when a rule is broken.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.hub.now + time;
        while self.violation().is_none() && self.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        if self.violation().is_none() {
            self.hub.now = self.hub.now.max(until);
        }
    }

    fn next_at(&self) -> Option<Instant> {
        let queued = self.hub.queue.peek().map(|due| due.at);
        let nodes = self.nodes.iter().filter_map(|node| node.wake);
        let actors = self.hub.actors.iter().filter_map(|actor| actor.next_wake());
        queued.into_iter().chain(nodes).chain(actors).min()
    }

    /// Lets the next thing happen. `false` when nothing will ever happen.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else { return false };
        self.hub.now = self.hub.now.max(at);
        self.hub.checkers.now = Some(self.hub.now);
        self.hub.figures.events = self.hub.figures.events.saturating_add(1);
        if self.hub.queue.peek().is_some_and(|due| due.at <= at) {
            if let Some(due) = self.hub.queue.pop() {
                self.happen(due.item);
            }
            return true;
        }
        let hub = &mut self.hub;
        if let Some((ix, node)) = self.nodes.iter_mut().enumerate().find(|(_, node)| node.wake == Some(at)) {
            hub.wake(node, ix);
        } else if let Some(actor) = hub.actors.iter().position(|actor| actor.next_wake() == Some(at)) {
            hub.act(actor, false, |actor, scene| actor.wake(scene));
        }
        true
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Datagram(datagram) => self.arrive(&datagram),
            Item::Restart { node } => self.restart(node),
            Item::ConnectFailed { node: at, connect, why } => {
                self.input(at, Cause::Own, |node, endpoint, now| {
                    node.connects.retain(|known| *known != connect);
                    let _ = endpoint.handle_connect_failed(now, connect, why);
                });
            }
            Item::Opened { stream, side, connect } => {
                let Some(at) = self.hub.streams.node_of(stream, side) else { return };
                let ip = self.hub.streams.local(stream, side).map(|local| local.ip());
                let here = |node: &Node<A>| node.endpoint.is_some() && Some(node.address().ip()) == ip;
                let up = self.nodes.get(at).is_some_and(here);
                let flow = if up { self.hub.streams.open(stream, side) } else { None };
                let Some(flow) = flow else {
                    self.hub.cut(stream, Duration::ZERO);
                    if let Some(connect) = connect {
                        let why = ConnectFailure::Refused;
                        self.hub.later(self.hub.now, Item::ConnectFailed { node: at, connect, why });
                    }
                    return;
                };
                let mut refused = false;
                self.input(at, Cause::Own, |node, endpoint, now| {
                    node.connects.retain(|known| Some(*known) != connect);
                    refused = endpoint.handle_stream_opened(now, connect, flow).is_err();
                    if !refused {
                        node.streams.push(stream);
                    }
                });
                if refused {
                    self.hub.streams.forget_side(stream, side);
                    self.hub.cut(stream, Duration::ZERO);
                }
            }
            Item::Chunk(chunk) => {
                let Some((at, id, messages)) = self.hub.streams.deliver(&chunk) else { return };
                let Some(node) = self.nodes.get_mut(at) else { return };
                let now = node.clock.read(self.hub.now);
                for message in &messages {
                    self.hub.checkers.delivered(at, now, message, false, true);
                }
                self.input(at, Cause::Peer, |_, endpoint, now| {
                    let _ = endpoint.handle_stream(now, id, &chunk.bytes);
                });
            }
            Item::Closed { stream, side } => {
                let Some((at, id)) = self.hub.streams.close(stream, side) else { return };
                self.hub.checkers.stream_closed(at, id);
                self.input(at, Cause::Own, |node, endpoint, now| {
                    node.streams.retain(|known| *known != stream);
                    let _ = endpoint.handle_stream_closed(now, id);
                });
            }
            Item::Writable { stream, side } => {
                let Some((at, id)) = self.hub.streams.unblock(stream, side) else { return };
                self.input(at, Cause::Own, |_, endpoint, now| {
                    let _ = endpoint.set_writable(now, id, true);
                });
            }
        }
    }

    fn input(&mut self, at: usize, cause: Cause, with: impl FnOnce(&mut Node<A>, &mut Endpoint, Instant)) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(mut endpoint) = node.endpoint.take() else { return };
        let now = node.clock.read(self.hub.now);
        with(node, &mut endpoint, now);
        node.lively = self.hub.now;
        node.endpoint = Some(endpoint);
        self.hub.drain(node, at, cause);
    }

    fn arrive(&mut self, datagram: &Datagram) {
        let Some(at) = self.hub.addresses.get(&datagram.to).copied() else {
            let Some(actor) = self.hub.actors.iter().position(|actor| actor.address() == datagram.to) else { return };
            let from = datagram.from;
            self.hub.act(actor, datagram.mangled, |actor, scene| actor.receive(scene, from, &datagram.bytes));
            return;
        };
        let Some(node) = self.nodes.get_mut(at) else { return };
        if node.endpoint.is_none() {
            self.hub.net.harm(self.hub.now, Fault::Down, datagram.from.ip(), datagram.to.ip());
            return;
        }
        let now = node.clock.read(self.hub.now);
        self.hub.checkers.delivered(at, now, &datagram.bytes, datagram.mangled, false);
        self.input(at, Cause::Peer, |_, endpoint, now| {
            let _ = endpoint.handle_message(now, Flow::udp(datagram.to, datagram.from), &datagram.bytes);
        });
    }
}
