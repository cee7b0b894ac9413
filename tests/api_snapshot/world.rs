//! A few endpoints on a lossy network under a virtual clock, whose nodes may be
//! saved and started again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Method, Transport};
use sip_events::{
    Body, Config, Decision, Ending, Endpoint, Event, Flow, Instant, Packages, Progress, ResourceId, ResourceKey,
    Restart, Retry, Seed, Subscribe, SubscriptionId,
};

/// A small generator, so that a seed names a run.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

pub fn address(node: usize) -> SocketAddr {
    format!("192.0.2.{}:5060", node + 1).parse().unwrap()
}

pub fn config(node: usize) -> Config {
    Config::new(&format!("sip:n{node}@192.0.2.{}", node + 1))
        .unwrap()
        .with_authentication(sip_events::Authentication::None)
}

pub fn seed(number: u64) -> Seed {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Seed(seed)
}

pub fn state(number: u64) -> Body {
    Body::new("application/pidf+xml", format!("<presence n=\"{number}\"/>"))
}

/// The whole snapshot, in steps of `per_step`.
pub fn save(endpoint: &Endpoint, now: Instant, per_step: u32) -> Vec<u8> {
    let (mut writer, mut out) = (endpoint.snapshot(now, per_step), Vec::new());
    while writer.step(endpoint, &mut out) == Progress::More {}
    assert_eq!(writer.step(endpoint, &mut out), Progress::Done, "it stays done");
    out
}

pub fn restore(node: usize, snapshot: &[u8], now: Instant, downtime: Duration, restart: &Restart) -> Endpoint {
    let mut endpoint =
        Endpoint::restore(Arc::new(config(node)), Packages::standard(), snapshot, now, downtime, restart).unwrap();
    endpoint.add_local(Transport::Udp, address(node), None, None).unwrap();
    endpoint
}

pub struct World {
    pub now: Instant,
    pub random: Random,
    pub nodes: Vec<Endpoint>,
    /// Messages on their way: when, from whom, to whom.
    network: VecDeque<(Instant, usize, SocketAddr, Vec<u8>)>,
    /// Of a hundred messages, how many are lost.
    pub loss: u64,
    /// What the subscriptions were told last, and whether they are over.
    pub told: BTreeMap<(usize, SubscriptionId), String>,
    pub ended: Vec<(usize, SubscriptionId, Ending, Retry)>,
    pub gone: usize,
    /// The highest CSeq sent, by sender, Call-ID and From tag.
    cseqs: BTreeMap<(usize, String), u32>,
    /// Branches, tags and Call-IDs that each life of each node has minted.
    pub minted: Vec<BTreeSet<String>>,
    seeds: u64,
}

impl World {
    pub fn new(nodes: usize, number: u64) -> Self {
        let now = Instant::from_secs(100_000);
        let mut world = Self {
            now,
            random: Random(number),
            nodes: Vec::new(),
            network: VecDeque::new(),
            loss: 0,
            told: BTreeMap::new(),
            ended: Vec::new(),
            gone: 0,
            cseqs: BTreeMap::new(),
            minted: vec![BTreeSet::new(); nodes],
            seeds: number.wrapping_mul(1_000),
        };
        for node in 0..nodes {
            let seed = world.fresh_seed();
            let mut endpoint = Endpoint::new(Arc::new(config(node)), Packages::standard(), &seed, now);
            endpoint.add_local(Transport::Udp, address(node), None, None).unwrap();
            world.nodes.push(endpoint);
        }
        world
    }

    pub fn fresh_seed(&mut self) -> Seed {
        self.seeds += 1;
        seed(self.seeds)
    }

    pub fn add_resource(&mut self, node: usize) -> ResourceId {
        let uri = format!("sip:n{node}@192.0.2.{}", node + 1);
        self.nodes[node].add_resource(&ResourceKey::new(&uri, "presence").unwrap()).unwrap()
    }

    pub fn set_state(&mut self, node: usize, number: u64) {
        let resource = self.nodes[node].resources().next().unwrap();
        self.nodes[node].set_state(self.now, resource, state(number)).unwrap();
    }

    pub fn subscribe(&mut self, node: usize, to: usize, expires: u32) -> SubscriptionId {
        let request = Subscribe::new(&format!("sip:n{to}@192.0.2.{}", to + 1), "presence").unwrap().expires(expires);
        self.nodes[node].subscribe(self.now, request).unwrap()
    }

    /// Everything that is due up to `end`.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain_all();
            let arrival = self.network.iter().map(|(at, ..)| *at).min();
            let timer = self.nodes.iter().filter_map(Endpoint::poll_timeout).min();
            let Some(next) = [arrival, timer].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            assert!(next >= self.now, "time goes on");
            self.now = next;
            while let Some(at) = self.network.iter().position(|(at, ..)| *at <= self.now) {
                let (_, from, to, bytes) = self.network.remove(at).unwrap();
                if let Some(node) = (0..self.nodes.len()).find(|node| address(*node) == to) {
                    let flow = Flow::udp(to, address(from));
                    let _ = self.nodes[node].handle_message(self.now, flow, &bytes);
                    self.drain(node);
                }
            }
            for node in 0..self.nodes.len() {
                if self.nodes[node].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.nodes[node].handle_timeout(self.now);
                    self.drain(node);
                }
            }
        }
        self.now = end;
        for node in 0..self.nodes.len() {
            self.nodes[node].handle_timeout(end);
            self.drain(node);
        }
    }

    pub fn drain_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.drain(node);
        }
    }

    pub fn drain(&mut self, node: usize) {
        loop {
            let mut any = false;
            let mut bytes = Vec::new();
            while let Some(transmit) = self.nodes[node].poll_transmit(self.now, &mut bytes) {
                any = true;
                transmit.append_body(&mut bytes);
                self.sent(node, &bytes);
                if self.random.next(100) >= self.loss {
                    let delay = Duration::from_millis(5 + self.random.next(20));
                    self.network.push_back((self.now + delay, node, transmit.flow.remote, bytes.clone()));
                }
                bytes.clear();
            }
            while let Some(event) = self.nodes[node].poll_event() {
                any = true;
                self.happened(node, event);
            }
            if !any {
                break;
            }
        }
    }

    fn happened(&mut self, node: usize, event: Event) {
        match event {
            Event::Subscribe(incoming) => {
                let _ = self.nodes[node].accept(self.now, incoming, Decision::ACCEPT);
            }
            Event::Notify { subscription, document: Some(document), .. } => {
                self.told.insert((node, subscription), String::from_utf8(document.data.to_vec()).unwrap());
            }
            Event::Terminated { subscription, why, retry } => self.ended.push((node, subscription, why, retry)),
            Event::WatcherGone { .. } => self.gone += 1,
            _ => {}
        }
    }

    /// CSeq rises with every new request of a dialog, across restarts too.
    fn sent(&mut self, node: usize, bytes: &[u8]) {
        let message = Message::parse(bytes).unwrap();
        let Some(Method::Subscribe | Method::Notify) = message.method() else { return };
        let field = |name| String::from_utf8(message.field(name, 0).unwrap().to_vec()).unwrap();
        let tag = field(HeaderName::From).split("tag=").nth(1).unwrap().to_owned();
        let branch = field(HeaderName::Via).split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        let number: u32 = field(HeaderName::CSeq).split(' ').next().unwrap().parse().unwrap();
        let again = !self.minted[node].insert(branch);
        self.minted[node].insert(tag.clone());
        let highest = self.cseqs.entry((node, field(HeaderName::CallId) + &tag)).or_default();
        assert!(if again { number <= *highest } else { number > *highest }, "CSeq {number} after {highest}");
        *highest = number.max(*highest);
    }

    /// The node stops; it starts again from `snapshot`, taken at `taken`.
    pub fn restart(&mut self, node: usize, snapshot: &[u8], taken: Instant) {
        let restart = Restart::Fresh(self.fresh_seed());
        self.nodes[node] = restore(node, snapshot, self.now, self.now - taken, &restart);
    }

    /// Every subscription that was not ended knows the latest state.
    pub fn all_know(&self, number: u64) -> bool {
        let want = String::from_utf8(state(number).data.to_vec()).unwrap();
        let mut any = false;
        for (node, endpoint) in self.nodes.iter().enumerate() {
            for id in endpoint.subscriptions() {
                any = true;
                if self.told.get(&(node, id)) != Some(&want) {
                    return false;
                }
            }
        }
        any
    }
}
