//! Two or three nodes, the messages between them, and what may happen next.

use std::hash::Hasher;
use std::time::Duration;

use sip_events::Instant;
use sip_events::machine::{notifier, subscriber};
use smallvec::SmallVec;

use crate::Setup;
use crate::node::{Input, Mix, Nodes, Subscription, Watcher};
use crate::rules::Facts;

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Deliver(u8),
    /// Delivered, and once more later.
    Duplicate(u8),
    Lose(u8),
    /// The next timer of any node fires.
    Timer,
    SetState(u8),
    Refresh,
    Unsubscribe,
    Approve(u8),
    Terminate(u8),
    /// A node comes back from a snapshot that was taken just now.
    Crash(u8),
    /// A node comes back without one.
    Amnesia(u8),
}

/// How often each may still happen: it keeps worlds small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub states: u8,
    pub refreshes: u8,
    pub unsubscribes: u8,
    pub terminates: u8,
    pub duplicates: u8,
    pub losses: u8,
    pub crashes: u8,
    pub amnesias: u8,
    /// Timers that fire while messages are under way.
    pub delays: u8,
}

#[derive(Clone)]
pub struct World {
    setup: Setup,
    now: Instant,
    /// Node 0 subscribes, the others notify.
    nodes: [u32; 3],
    /// What is under way, in the order in which it was sent. The same message
    /// twice counts once: a duplicate is an action of its own.
    packets: SmallVec<[u32; 8]>,
    budget: Budget,
    facts: Facts,
    /// Seeds used.
    seeds: u8,
}

impl World {
    pub fn new(setup: Setup, nodes: &mut Nodes) -> Self {
        let now = Instant::from_secs(1);
        let mut world = Self {
            setup,
            now,
            nodes: [0; 3],
            packets: SmallVec::new(),
            budget: setup.budget,
            facts: Facts::default(),
            seeds: 100,
        };
        for node in 0..=setup.notifiers {
            let step = nodes.start(node, now);
            world.nodes[usize::from(node)] = step.to;
            for packet in step.sent {
                world.send(nodes, packet).unwrap();
            }
        }
        world
    }

    fn everybody(&self) -> std::ops::RangeInclusive<u8> {
        0..=self.setup.notifiers
    }

    fn at<'n>(&self, nodes: &'n Nodes, node: u8) -> &'n crate::node::Node {
        nodes.node(self.nodes[usize::from(node)])
    }

    /// The next timer of any node.
    fn timer(&self, nodes: &Nodes) -> Option<Instant> {
        self.everybody().filter_map(|node| self.at(nodes, node).timeout).min()
    }

    pub fn actions(&self, nodes: &Nodes, all: &mut Vec<Action>) {
        all.clear();
        let budget = &self.budget;
        for at in 0..self.packets.len() as u8 {
            all.push(Action::Deliver(at));
            if budget.duplicates > 0 {
                all.push(Action::Duplicate(at));
            }
            if budget.losses > 0 {
                all.push(Action::Lose(at));
            }
        }
        if self.timer(nodes).is_some() && (budget.delays > 0 || self.packets.is_empty()) {
            all.push(Action::Timer);
        }
        for node in 1..=self.setup.notifiers {
            let watchers = &self.at(nodes, node).watchers;
            if budget.states > 0 {
                all.push(Action::SetState(node));
            }
            if watchers.iter().any(|watcher| watcher.state == notifier::State::Pending) {
                all.push(Action::Approve(node));
            }
            if budget.terminates > 0 && !watchers.is_empty() {
                all.push(Action::Terminate(node));
            }
        }
        if !self.at(nodes, 0).subscriptions.is_empty() {
            if budget.refreshes > 0 {
                all.push(Action::Refresh);
            }
            if budget.unsubscribes > 0 {
                all.push(Action::Unsubscribe);
            }
        }
        for node in self.everybody() {
            if budget.crashes > 0 {
                all.push(Action::Crash(node));
            }
            if budget.amnesias > 0 {
                all.push(Action::Amnesia(node));
            }
        }
    }

    /// Takes a step; the rule that it broke, if any. `Ok(false)` if nothing
    /// comes of it.
    pub fn step(&mut self, nodes: &mut Nodes, action: Action) -> Result<bool, String> {
        let budget = &mut self.budget;
        match action {
            Action::Deliver(at) => {
                let packet = self.packets.remove(at.into());
                self.deliver(nodes, packet)?;
            }
            Action::Duplicate(at) => {
                budget.duplicates -= 1;
                self.deliver(nodes, self.packets[usize::from(at)])?;
            }
            Action::Lose(at) => {
                budget.losses -= 1;
                self.packets.remove(at.into());
            }
            Action::Timer => {
                budget.delays = budget.delays.saturating_sub((!self.packets.is_empty()).into());
                let at = self.timer(nodes).unwrap_or(self.now).max(self.now);
                for node in self.everybody() {
                    self.input(nodes, node, Input::Time(at))?;
                }
                self.now = at;
                let in_flight = |leg| self.packets.iter().any(|packet| nodes.packet(*packet).leg == leg);
                self.facts.forget(at, in_flight);
            }
            Action::SetState(node) => {
                budget.states -= 1;
                let number = self.setup.budget.states - budget.states;
                self.input(nodes, node, Input::SetState(number))?;
            }
            Action::Approve(node) => return self.input(nodes, node, Input::Approve),
            Action::Terminate(node) => {
                budget.terminates -= 1;
                return self.input(nodes, node, Input::Terminate);
            }
            Action::Refresh => {
                budget.refreshes -= 1;
                return self.input(nodes, 0, Input::Refresh);
            }
            Action::Unsubscribe => {
                budget.unsubscribes -= 1;
                return self.input(nodes, 0, Input::Unsubscribe);
            }
            Action::Crash(node) => {
                budget.crashes -= 1;
                self.seeds += 1;
                self.facts.crashed(node);
                self.input(nodes, node, Input::Crash(self.seeds))?;
            }
            Action::Amnesia(node) => {
                budget.amnesias -= 1;
                self.seeds += 1;
                self.facts.forgot(node);
                self.input(nodes, node, Input::Amnesia(self.seeds))?;
            }
        }
        Ok(true)
    }

    fn deliver(&mut self, nodes: &mut Nodes, packet: u32) -> Result<(), String> {
        let to = nodes.packet(packet).to;
        let refused = self.facts.refuses(self.now, nodes.packet(packet));
        let count = |world: &Self, nodes: &Nodes| {
            let tag = nodes.packet(packet).tag;
            world.at(nodes, to).watchers.iter().filter(|watcher| watcher.tag == tag).count()
        };
        let before = count(self, nodes);
        self.facts.arrived(nodes.packet(packet));
        self.input(nodes, to, Input::Deliver(packet))?;
        let after = count(self, nodes);
        let packet = nodes.packet(packet);
        if refused && packet.notify && after == before {
            return Err("a watcher outlives the 481 to its NOTIFY (6665-NSM-16)".into());
        }
        if refused && !packet.notify && self.facts.living().any(|heard| heard.leg == packet.reverse) {
            return Err("a subscription outlives the 481 to its SUBSCRIBE (6665-SSM-19)".into());
        }
        Ok(())
    }

    /// Nothing has gone wrong but what retransmissions heal, and nobody has ended anything.
    fn is_sound(&self) -> bool {
        self.is_nearly_sound() && self.budget.crashes == self.setup.budget.crashes
    }

    /// The same, but for restarts from a snapshot.
    fn is_nearly_sound(&self) -> bool {
        let Budget { unsubscribes, terminates, amnesias, delays, .. } = self.budget;
        let all = self.setup.budget;
        [unsubscribes, terminates, amnesias, delays] == [all.unsubscribes, all.terminates, all.amnesias, all.delays]
    }

    /// Whether the node or the network is another afterwards.
    fn input(&mut self, nodes: &mut Nodes, node: u8, input: Input) -> Result<bool, String> {
        let before = self.nodes[usize::from(node)];
        let step = nodes.step(node, before, self.now, input);
        if let Some(rule) = &step.broken {
            return Err(format!("node {node}: {rule}"));
        }
        self.nodes[usize::from(node)] = step.to;
        let changed = step.to != before || !step.sent.is_empty();
        let sent: SmallVec<[u32; 8]> = step.sent.iter().copied().collect();
        let told: SmallVec<[_; 4]> = step.told.iter().copied().collect();
        if let Input::Time(at) = input {
            self.now = at;
        }
        let came = match input {
            Input::Deliver(packet) => Some(nodes.packet(packet)),
            _ => None,
        };
        for told in told {
            // After a restart the notifier may hold one subscription twice, and loses one.
            if told.is_end() && (self.is_sound() || node == 0 && self.is_nearly_sound()) {
                return Err(format!("node {node}: {told:?}, though nothing was lost for good"));
            }
            self.facts.told(node, told, came)?;
        }
        for packet in sent {
            self.send(nodes, packet)?;
        }
        if self.facts.owes(node) {
            return Err(format!("node {node}: a 2xx to SUBSCRIBE without a NOTIFY (6665-4.2.1.2-1)"));
        }
        Ok(changed)
    }

    /// The network: a first SUBSCRIBE forks, and one 2xx to it comes back.
    fn send(&mut self, nodes: &mut Nodes, id: u32) -> Result<(), String> {
        self.facts.sent(self.now, nodes, id)?;
        let packet = nodes.packet(id);
        let forks = self.setup.notifiers > 1;
        let mut add = |id| {
            if !self.packets.contains(&id) {
                self.packets.push(id);
            }
        };
        if packet.status == 0 && !packet.in_dialog && forks {
            for to in 1..=self.setup.notifiers {
                add(nodes.copy_for(id, to));
            }
        } else if !(forks && packet.status > 0 && self.facts.is_first(packet) && !self.facts.passes(packet)) {
            add(id);
        }
        Ok(())
    }

    /// The state, names left out: with and without what may still happen.
    pub fn digest(&self, nodes: &Nodes) -> (u64, u64) {
        let mut hasher = Mix::default();
        for node in self.everybody() {
            hasher.write_u64(self.at(nodes, node).canonical);
        }
        let mut packets: SmallVec<[u64; 8]> = SmallVec::new();
        for packet in &self.packets {
            let mut hasher = Mix::default();
            self.facts.hash_packet(nodes.packet(*packet), &mut hasher);
            packets.push(hasher.finish());
        }
        packets.sort_unstable();
        packets.iter().for_each(|packet| hasher.write_u64(*packet));
        self.facts.hash(self.now, &mut hasher);
        hasher.write_u8(u8::from(self.is_sound()) << 1 | u8::from(self.is_nearly_sound()));
        let core = hasher.finish();
        let Budget { states, refreshes, unsubscribes, terminates, duplicates, losses, crashes, amnesias, delays } =
            self.budget;
        hasher.write(&[states, refreshes, unsubscribes, terminates, duplicates, losses, crashes, amnesias, delays]);
        (core, hasher.finish())
    }

    /// What happens when nothing goes wrong any more: all is delivered, then
    /// time goes on.
    pub fn calm(&self) -> Action {
        if self.packets.is_empty() { Action::Timer } else { Action::Deliver(0) }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn packet(&self, at: u8) -> u32 {
        self.packets[usize::from(at)]
    }

    /// Whether nothing is under way, and nobody waits for an answer.
    fn is_quiet(&self, nodes: &Nodes) -> bool {
        self.packets.is_empty() && self.everybody().all(|node| self.at(nodes, node).quiescent)
    }

    /// Whether all has been said, and both sides believe something else all the
    /// same: a refresh would mend it, but nothing has gone wrong that needs mending.
    pub fn differs(&self, nodes: &Nodes) -> bool {
        self.is_sound() && self.is_quiet(nodes) && !self.agrees(nodes)
    }

    /// Whether both sides believe the same and nothing is under way: every
    /// subscription has a watcher, every watcher a subscription, and both the
    /// same state; or nothing is left at all.
    pub fn agrees(&self, nodes: &Nodes) -> bool {
        if !self.is_quiet(nodes) {
            return false;
        }
        let subscriptions = &self.at(nodes, 0).subscriptions;
        let watchers = (1..=self.setup.notifiers).map(|node| self.at(nodes, node).watchers.len()).sum::<usize>();
        if subscriptions.is_empty() {
            return self.everybody().all(|node| self.at(nodes, node).empty);
        }
        // One notifier may hold two forks of one attempt: each is taken once.
        let mut taken: SmallVec<[(u8, usize); 4]> = SmallVec::new();
        watchers == subscriptions.len()
            && subscriptions.iter().all(|subscription| {
                let mut living = self.facts.living();
                let Some(heard) = living.find(|heard| heard.subscription == subscription.id) else { return false };
                let other = self.at(nodes, heard.notifier);
                let mut fit = other.watchers.iter().enumerate().filter(|(at, watcher)| {
                    watcher.tag == heard.tag
                        && !taken.contains(&(heard.notifier, *at))
                        && same(subscription, watcher, other.published)
                });
                fit.next().map(|(at, _)| taken.push((heard.notifier, at))).is_some()
            })
    }

    /// One line about each node.
    pub fn describe(&self, nodes: &Nodes) -> String {
        let line = |node: u8| {
            let here = self.at(nodes, node);
            let subscriptions = here.subscriptions.iter().map(|s| format!("{:?}", s.state));
            let watchers = here.watchers.iter().map(|w| format!("watcher {:?}", w.state));
            let all: Vec<String> = subscriptions.chain(watchers).collect();
            format!("node {node}: [{}], wakes at {:?}", all.join(", "), here.timeout)
        };
        self.everybody().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Whether the two sides of a subscription believe the same.
fn same(subscription: &Subscription, watcher: &Watcher, published: u64) -> bool {
    let (Some(expires), false) = (subscription.expires, subscription.waits) else { return false };
    // Seconds are cut off twice.
    let apart = (expires - watcher.expires).max(watcher.expires - expires);
    let state = match watcher.state {
        notifier::State::Pending => subscription.state == subscriber::State::Pending,
        notifier::State::Active => {
            subscription.state == subscriber::State::Active && subscription.document == published
        }
        _ => false,
    };
    state && apart <= Duration::from_secs(2)
}
