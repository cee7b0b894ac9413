//! What goes wrong at one node: crashes, clocks, walls, moves.

use super::super::node::Saved;
use super::*;

impl<A: Application> World<A> {
    /// Stores a node's endpoint, for a later [`Store::Stale`].
    pub fn save(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node)
            && let Some(endpoint) = &node.endpoint
        {
            let now = node.clock.read(self.hub.now);
            node.saved = Some(Saved::of(endpoint, node.blueprint.address, now, self.hub.now));
        }
    }

    /// A node's endpoint is gone at once; it comes back after `down`.
    pub fn crash(&mut self, node: usize, store: Store, down: Duration) {
        let now = self.hub.now;
        let at = node;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(endpoint) = node.endpoint.take() else { return };
        let local = node.clock.read(now);
        let fresh = || Saved::of(&endpoint, node.blueprint.address, local, now);
        let saved = match store {
            Store::Intact => Some(fresh()),
            Store::Truncated => Some(fresh().spoil(&mut self.hub.rng)),
            Store::Stale => node.saved.clone(),
            _ => None,
        };
        let store = if store == Store::Stale && saved.is_none() { Store::Lost } else { store };
        let fault = match store {
            Store::Intact => Fault::CrashIntact,
            Store::Stale => Fault::CrashStale,
            Store::Truncated => Fault::CrashTruncated,
            Store::Lost | Store::None => Fault::CrashLost,
        };
        node.pending = Some((store, saved));
        node.wake = None;
        let ip = node.blueprint.address.ip();
        self.hub.net.harm(now + down, fault, ip, ip);
        for stream in core::mem::take(&mut node.streams) {
            self.hub.cut(stream, Duration::ZERO);
        }
        node.connects.clear();
        self.hub.later(now + down, Item::Restart { node: at });
    }

    pub(super) fn restart(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some((store, saved)) = node.pending.take() else { return };
        node.pings = false;
        let now = node.clock.read(self.hub.now);
        let restored = saved.and_then(|saved| saved.restore(&node.blueprint, &mut self.hub.rng, now, self.hub.now));
        self.hub.checkers.restarted(at, store);
        self.hub.checkers.begins(at, now);
        self.hub.figures.restarts = self.hub.figures.restarts.saturating_add(1);
        let detail = match (store, restored.is_some()) {
            (Store::Truncated, true) => "a spoiled snapshot was believed",
            (Store::Intact | Store::Stale, false) => "a sound snapshot was refused",
            _ => "",
        };
        if !detail.is_empty() {
            self.hub.checkers.fail(Invariant::Restored, self.hub.now, at, detail.to_string());
        }
        let endpoint = restored.unwrap_or_else(|| node.blueprint.build(&mut self.hub.rng, now));
        self.hub.start(node, at, endpoint, store);
        // CSeq numbers have leapt: an older snapshot would fall short of them ([`Restart::Fresh`]).
        if node.saved.take().is_some() {
            self.save(at);
        }
    }

    /// Sets a node's clock, and counts it as the fault that it is.
    pub fn set_clock(&mut self, node: usize, fault: Fault, by: Duration) {
        let now = self.hub.now;
        let at = node;
        let Some(node) = self.nodes.get_mut(at) else { return };
        if let Some(endpoint) = &node.endpoint {
            self.hub.checkers.has_seen(at, endpoint.latest());
        }
        let over = match fault {
            Fault::ClockStall => {
                node.clock.stall(now, now + by);
                now + by
            }
            Fault::ClockForward => {
                node.clock.forward(by);
                now
            }
            Fault::ClockBack => {
                node.clock.back(now, by);
                node.clock.caught_up(now)
            }
            _ => return,
        };
        let ip = node.blueprint.address.ip();
        self.hub.net.harm(over, fault, ip, ip);
        self.hub.arm(node);
    }

    /// A wall between two nodes, or in one direction only.
    pub fn wall(&mut self, from: usize, to: usize, both: bool, time: Duration) {
        let address = |node: usize| self.nodes.get(node).map(|node| node.blueprint.address.ip());
        if let (Some(from), Some(to)) = (address(from), address(to)) {
            self.hub.net.wall(self.hub.now, from, to, both, self.hub.now + time);
        }
    }

    /// Cuts one of the open streams of a node.
    pub fn cut_stream(&mut self, node: usize, nth: usize) {
        let Some(node) = self.nodes.get(node) else { return };
        let at = nth.checked_rem(node.streams.len()).unwrap_or(0);
        if let Some(stream) = node.streams.get(at).copied() {
            let ip = node.blueprint.address.ip();
            self.hub.net.harm(self.hub.now, Fault::Cut, ip, ip);
            self.hub.cut(stream, self.hub.net.faults.latency);
        }
    }

    /// A node moves to another address, if nobody has it and no translator is
    /// before it; what is on its way to the old one is lost.
    pub fn rehome(&mut self, node: usize, to: SocketAddr) {
        let at = node;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let from = node.blueprint.address;
        if self.hub.addresses.contains_key(&to) || self.hub.net.has_nat(from) {
            return;
        }
        node.blueprint.address = to;
        self.hub.addresses.remove(&from);
        self.hub.addresses.insert(to, at);
        self.hub.net.moved(from.ip(), to.ip());
        self.hub.net.harm(self.hub.now, Fault::Move, to.ip(), to.ip());
        self.hub.checkers.moved(at);
        let blueprint = node.blueprint.clone();
        self.command(at, |_, endpoint, now| {
            blueprint.add_locals(endpoint);
            let _ = endpoint.rehome(now, from, to);
        });
    }

    /// A node pings along one of its open connections ([`Endpoint::keep_alive`]).
    pub fn ping(&mut self, node: usize, nth: usize, interval: Option<Duration>) {
        let at = node;
        let Some(node) = self.nodes.get_mut(at) else { return };
        let nth = nth.checked_rem(node.streams.len()).unwrap_or(0);
        let Some(stream) = node.streams.get(nth).copied() else { return };
        node.pings |= interval.is_some();
        for flow in self.hub.streams.flows(stream, at) {
            self.command(at, |_, endpoint, now| {
                let _ = endpoint.keep_alive(now, flow, interval);
            });
        }
    }

    /// The translator before a node forgets its mapping.
    pub fn rebind(&mut self, node: usize) {
        if let Some(address) = self.nodes.get(node).map(|node| node.blueprint.address) {
            self.hub.net.rebind(address);
        }
    }

    /// From now on nothing goes wrong any more: walls fall, late copies are
    /// lost, actors behave, nodes come home and ping no more.
    pub fn heal(&mut self) {
        self.hub.net.heal();
        for actor in &mut self.hub.actors {
            actor.calm();
        }
        self.hub.queue.retain(|due| !matches!(&due.item, Item::Datagram(d) if d.replayed));
        for at in 0..self.nodes.len() {
            let Some(home) = self.nodes.get(at).map(|node| node.home) else { continue };
            self.rehome(at, home);
            let count = self.nodes.get(at).map_or(0, |node| node.streams.len());
            (0..count).for_each(|nth| self.ping(at, nth, None));
            if let Some(node) = self.nodes.get_mut(at) {
                node.pings = false;
            }
        }
    }

    /// Reports a broken rule.
    pub fn fail(&mut self, invariant: Invariant, node: usize, detail: String) {
        self.hub.checkers.fail(invariant, self.hub.now, node, detail);
    }
}
