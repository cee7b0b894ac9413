//! The real code, one node at a time. What a node does depends on itself and
//! on its input alone, so each pair of the two is run once, however many worlds
//! it occurs in: worlds are made of the numbers of nodes and messages.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sip_events::machine::{notifier, subscriber};
use sip_events::package::{EventPackage, Expires, Forking};
use sip_events::testing::Facts;
use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Config, Decision, Endpoint, Event, Flow, Instant, Limits, Packages, Progress, ResourceKey,
    Restart, Scope, Seed, Subscribe,
};

use crate::Setup;

/// A hasher for keys that are hashes, or nearly.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

pub type Fast = BuildHasherDefault<Mix>;

/// A hash of texts, each with its length.
pub fn key(parts: &[&[u8]]) -> u64 {
    let mut hasher = Mix(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        hasher.write(part);
        hasher.write_usize(part.len());
    }
    hasher.finish()
}

/// A package without rate limit, which takes all forks.
#[derive(Debug)]
struct Plain;

impl EventPackage for Plain {
    fn name(&self) -> &str {
        "x-plain"
    }

    fn duration(&self) -> Expires {
        Expires::new(1, 120, 120)
    }

    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }

    fn forking(&self) -> Forking {
        Forking::All
    }

    fn rate(&self) -> Duration {
        Duration::ZERO
    }
}

const RESOURCE: &str = "sip:r@192.0.2.2";

/// What comes to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    Deliver(u32),
    /// Time goes on.
    Time(Instant),
    SetState(u8),
    Approve,
    Refresh,
    Unsubscribe,
    Terminate,
    /// Back from a snapshot that was taken just now, with this seed.
    Crash(u8),
    /// Back from nothing.
    Amnesia(u8),
}

/// What the application was told, as far as rules ask.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    Notify { subscription: u64, cseq: u32, body: u64 },
    Retrying { subscription: u64 },
    Over { subscription: u64 },
    Gone { watcher: u64 },
    OfWatcher { watcher: u64 },
}

impl Told {
    /// Whether a subscription or a watcher is over, be it for a while.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Retrying { .. } | Self::Over { .. } | Self::Gone { .. })
    }
}

/// What a node did.
pub struct Step {
    pub to: u32,
    pub sent: Vec<u32>,
    pub told: Vec<Told>,
    pub broken: Option<String>,
}

/// A subscription, seen from outside.
pub struct Subscription {
    pub id: u64,
    pub state: subscriber::State,
    pub waits: bool,
    pub document: u64,
    pub expires: Option<Instant>,
}

/// A watcher, seen from outside.
pub struct Watcher {
    pub tag: u64,
    pub state: notifier::State,
    pub expires: Instant,
}

/// A node in one state.
pub struct Node {
    endpoint: Endpoint,
    /// Its digest without names.
    pub canonical: u64,
    pub timeout: Option<Instant>,
    pub subscriptions: Vec<Subscription>,
    pub watchers: Vec<Watcher>,
    /// The state that it publishes.
    pub published: u64,
    pub quiescent: bool,
    /// Nothing is left of any subscription.
    pub empty: bool,
}

/// A message on the network, and what an onlooker reads off it.
pub struct Packet {
    pub from: u8,
    pub to: u8,
    pub bytes: Vec<u8>,
    /// 0 for a request.
    pub status: u16,
    pub notify: bool,
    pub cseq: u32,
    pub branch: u64,
    /// Call-ID and tags of the request, and the same without a To tag.
    pub leg: u64,
    pub first_leg: u64,
    /// The other direction of the same dialog.
    pub reverse: u64,
    /// The tag of the subscriber.
    pub tag: u64,
    pub in_dialog: bool,
    pub expires: Option<u32>,
    pub substate: Vec<u8>,
    pub left: Option<u32>,
    pub body: u64,
    /// All that is neither a name nor a number that only grows.
    pub plain: u64,
}

impl Packet {
    /// What it is, in a few words.
    pub fn describe(&self) -> String {
        let method = if self.notify { "NOTIFY" } else { "SUBSCRIBE" };
        let what = match self.status {
            0 => format!("{method} {} {}", self.cseq, String::from_utf8_lossy(&self.substate)),
            status => format!("{status} ({method} {})", self.cseq),
        };
        match self.expires.or(self.left) {
            Some(seconds) => format!("{} for {seconds} s ", what.trim_end()),
            None => format!("{} ", what.trim_end()),
        }
    }
}

/// All states of nodes and all messages that were met, and what follows from
/// what.
pub struct Nodes {
    setup: Setup,
    nodes: Vec<Node>,
    known: HashMap<(u8, u64, Instant), u32, Fast>,
    steps: HashMap<(u32, Input), u32, Fast>,
    done: Vec<Step>,
    packets: Vec<Packet>,
    by_bytes: HashMap<(u8, Vec<u8>), u32, Fast>,
}

fn address(node: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node + 1], 5060))
}

fn parts() -> (Arc<Config>, Packages) {
    let mut packages = Packages::new();
    packages.register(Plain).unwrap();
    let mut limits = Limits::default();
    (limits.subscriptions, limits.watchers, limits.resources, limits.incoming) = (4, 4, 2, 2);
    (limits.flows, limits.client_transactions, limits.server_transactions) = (16, 16, 64);
    (limits.streams, limits.resolved, limits.unproven) = (2, 2, 4);
    let config = Config::new("sip:x@192.0.2.9").unwrap();
    (Arc::new(config.with_limits(limits).with_authentication(Authentication::None)), packages)
}

fn fresh(node: u8, seed: u8, now: Instant) -> Endpoint {
    let (config, packages) = parts();
    let mut endpoint = Endpoint::new(config, packages, &Seed([seed; 32]), now);
    endpoint.add_local(Transport::Udp, address(node), None, None).unwrap();
    if node > 0 {
        let resource = endpoint.add_resource(&ResourceKey::new(RESOURCE, "x-plain").unwrap()).unwrap();
        endpoint.set_state(now, resource, state(0)).unwrap();
    }
    endpoint
}

fn state(number: u8) -> Body {
    Body::new("text/plain", format!("state {number}"))
}

impl Nodes {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            nodes: Vec::new(),
            known: HashMap::default(),
            steps: HashMap::default(),
            done: Vec::new(),
            packets: Vec::new(),
            by_bytes: HashMap::default(),
        }
    }

    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn packet(&self, id: u32) -> &Packet {
        &self.packets[id as usize]
    }

    /// States of nodes that were met, and runs of the real code.
    pub fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.done.len())
    }

    /// A node as it starts; the subscriber has subscribed.
    pub fn start(&mut self, node: u8, now: Instant) -> Step {
        let mut endpoint = fresh(node, node, now);
        if node == 0 {
            endpoint.subscribe(now, Subscribe::new(RESOURCE, "x-plain").unwrap()).unwrap();
        }
        self.finish(node, endpoint, now)
    }

    /// What `node` in the state `id` does with `input`.
    pub fn step(&mut self, node: u8, id: u32, now: Instant, input: Input) -> &Step {
        let at = match self.steps.get(&(id, input)) {
            Some(at) => *at as usize,
            None => {
                let step = self.run(node, id, now, input);
                self.done.push(step);
                self.steps.insert((id, input), self.done.len() as u32 - 1);
                self.done.len() - 1
            }
        };
        &self.done[at]
    }

    fn run(&mut self, node: u8, id: u32, now: Instant, input: Input) -> Step {
        let endpoint = self.nodes[id as usize].endpoint.clone();
        let packet = match input {
            Input::Deliver(packet) => Some(&self.packets[packet as usize]),
            _ => None,
        };
        let result = catch_unwind(AssertUnwindSafe(|| act(node, endpoint, now, input, packet)));
        match result {
            Ok(Ok((endpoint, now))) => match catch_unwind(AssertUnwindSafe(|| self.finish(node, endpoint, now))) {
                Ok(mut step) => {
                    if let Input::Deliver(packet) = input {
                        self.check_granted(packet, &mut step);
                    }
                    step
                }
                Err(_) => broken(id, "it panics".into()),
            },
            Ok(Err(rule)) => broken(id, rule),
            Err(_) => broken(id, "it panics".into()),
        }
    }

    /// RFC 6665 section 4.2.1.1: granted never above asked.
    fn check_granted(&self, asked: u32, step: &mut Step) {
        let asked = self.packet(asked);
        for sent in step.sent.iter().map(|sent| self.packet(*sent)) {
            if asked.status == 0 && !asked.notify && sent.branch == asked.branch && (200..300).contains(&sent.status) {
                match (sent.expires, asked.expires.unwrap_or(0)) {
                    (None, _) => step.broken = Some("a 2xx to SUBSCRIBE without Expires (6665-3.1.1-4)".into()),
                    (Some(granted), asked) if granted > asked => {
                        step.broken = Some(format!("granted {granted} above the {asked} asked for (6665-3.1.1-6)"));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Takes everything out of a node, and gives its state a number.
    fn finish(&mut self, node: u8, mut endpoint: Endpoint, now: Instant) -> Step {
        let (mut sent, mut told, mut broken) = (Vec::new(), Vec::new(), None);
        loop {
            let mut bytes = Vec::new();
            let transmit = endpoint.poll_transmit(now, &mut bytes);
            let event = endpoint.poll_event();
            if transmit.is_none() && event.is_none() {
                break;
            }
            if let Some(event) = event {
                if let Event::Subscribe(incoming) = event {
                    let decision = if self.setup.pending { Decision::PENDING } else { Decision::ACCEPT };
                    if let Err(error) = endpoint.accept(now, incoming, decision) {
                        broken = Some(format!("accept: {error}"));
                    }
                }
                told.extend(tell(&event));
            }
            if let Some(transmit) = transmit {
                transmit.append_body(&mut bytes);
                let to = (0..3).find(|node| address(*node) == transmit.flow.remote).unwrap_or(u8::MAX);
                match self.packet_of(node, to, bytes) {
                    Ok(packet) => sent.push(packet),
                    Err(rule) => broken = Some(rule),
                }
                if sent.len() > 8 {
                    broken = Some("more than eight messages for one input".into());
                    break;
                }
            }
        }
        if let Some(at) = endpoint.poll_timeout().filter(|at| *at <= now) {
            broken = Some(format!("it wants to wake at {at} again"));
        }
        Step { to: self.number(node, endpoint, now), sent, told, broken }
    }

    fn number(&mut self, node: u8, endpoint: Endpoint, now: Instant) -> u32 {
        let next = self.nodes.len() as u32;
        match self.known.entry((node, endpoint.digest_exact(), now)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(next);
                self.nodes.push(look(endpoint));
                next
            }
        }
    }

    fn packet_of(&mut self, from: u8, to: u8, bytes: Vec<u8>) -> Result<u32, String> {
        let next = self.packets.len() as u32;
        let place = match self.by_bytes.entry((to, bytes)) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(place) => place,
        };
        let packet = read(from, to, &place.key().1)?;
        place.insert(next);
        self.packets.push(packet);
        Ok(next)
    }

    /// The same message for another node.
    pub fn copy_for(&mut self, packet: u32, to: u8) -> u32 {
        let (from, bytes) = (self.packet(packet).from, self.packet(packet).bytes.clone());
        self.packet_of(from, to, bytes).unwrap_or(packet)
    }
}

fn broken(id: u32, rule: String) -> Step {
    Step { to: id, sent: Vec::new(), told: Vec::new(), broken: Some(rule) }
}

fn act(
    node: u8,
    mut endpoint: Endpoint,
    now: Instant,
    input: Input,
    packet: Option<&Packet>,
) -> Result<(Endpoint, Instant), String> {
    let first = endpoint.subscriptions().next();
    // What a command says to an object in the wrong state is not of interest.
    match input {
        Input::Deliver(_) => {
            if let Some(packet) = packet {
                let _ = endpoint.handle_message(now, Flow::udp(address(node), address(packet.from)), &packet.bytes);
            }
        }
        Input::Time(now) => {
            endpoint.handle_timeout(now);
            return Ok((endpoint, now));
        }
        Input::SetState(number) => {
            let resource = endpoint.resources().next().ok_or("the resource is gone")?;
            endpoint.set_state(now, resource, state(number)).map_err(|e| format!("set_state: {e}"))?;
        }
        Input::Approve => {
            let watchers: Vec<_> = endpoint.watchers().collect();
            watchers.into_iter().for_each(|watcher| _ = endpoint.approve(now, watcher));
        }
        Input::Terminate => {
            let watchers: Vec<_> = endpoint.watchers().collect();
            let reason = sip_events::Reason::Deactivated;
            watchers.into_iter().for_each(|watcher| _ = endpoint.terminate(now, watcher, &reason, None));
        }
        Input::Refresh => _ = first.map(|id| endpoint.refresh(now, id, None)),
        Input::Unsubscribe => _ = first.map(|id| endpoint.unsubscribe(now, id, Scope::AllForks)),
        Input::Crash(seed) => endpoint = restore(node, &endpoint, seed, now)?,
        Input::Amnesia(seed) => endpoint = fresh(node, seed, now),
    }
    Ok((endpoint, now))
}

fn restore(node: u8, endpoint: &Endpoint, seed: u8, now: Instant) -> Result<Endpoint, String> {
    let mut bytes = Vec::new();
    let mut writer = endpoint.snapshot(now, 64);
    while writer.step(endpoint, &mut bytes) != Progress::Done {}
    let ((config, packages), fresh) = (parts(), Restart::Fresh(Seed([seed; 32])));
    let restored = Endpoint::restore(config, packages, &bytes, now, Duration::ZERO, &fresh);
    let mut restored = restored.map_err(|e| format!("a snapshot of our own is refused: {e}"))?;
    restored.add_local(Transport::Udp, address(node), None, None).map_err(|e| e.to_string())?;
    restored.handle_timeout(now);
    Ok(restored)
}

fn tell(event: &Event) -> Option<Told> {
    Some(match event {
        Event::Notify { subscription, cseq, body, .. } => Told::Notify {
            subscription: subscription.as_u64(),
            cseq: *cseq,
            body: key(&[body.as_ref().map_or(&b""[..], |body| &body.data)]),
        },
        Event::Retrying { subscription, .. } => Told::Retrying { subscription: subscription.as_u64() },
        Event::Terminated { subscription, .. } => Told::Over { subscription: subscription.as_u64() },
        Event::WatcherGone { watcher, .. } => Told::Gone { watcher: watcher.as_u64() },
        Event::Refreshed { watcher, .. } | Event::Notified { watcher, .. } => {
            Told::OfWatcher { watcher: watcher.as_u64() }
        }
        _ => return None,
    })
}

/// Looks at a node from outside.
fn look(endpoint: Endpoint) -> Node {
    let data = |body: Option<&Body>| body.map_or(0, |body| key(&[&body.data]));
    let subscriptions: Vec<_> = endpoint.subscriptions().collect();
    let subscriptions = subscriptions.into_iter().filter_map(|id| {
        let info = endpoint.subscription(id).ok()?;
        let (state, waits, expires) = (info.state, info.retry_at.is_some(), info.expires_at);
        Some(Subscription { id: id.as_u64(), state, waits, document: data(info.document), expires })
    });
    let watchers = endpoint.watchers().filter_map(|id| {
        let info = endpoint.watcher(id).ok()?;
        let tag = info.from.split(|b| *b == b';').find_map(|param| param.strip_prefix(b"tag="))?;
        Some(Watcher { tag: key(&[tag]), state: info.state, expires: info.expires_at })
    });
    let published = endpoint.resources().next().map_or(0, |id| data(endpoint.state(id, sip_events::View(0))));
    let (subscribed, watched, _, incoming) = endpoint.agent().counts();
    Node {
        canonical: endpoint.digest(),
        timeout: endpoint.poll_timeout(),
        subscriptions: subscriptions.collect(),
        watchers: watchers.collect(),
        published,
        quiescent: endpoint.is_quiescent(),
        empty: [subscribed, watched, incoming] == [0; 3]
            && endpoint.transactions() == (0, 0)
            && endpoint.next_timer().is_none(),
        endpoint,
    }
}

fn read(from: u8, to: u8, bytes: &[u8]) -> Result<Packet, String> {
    let show = || String::from_utf8_lossy(bytes).into_owned();
    let facts = Facts::read(bytes).filter(Facts::is_whole).ok_or_else(|| format!("no SIP message: {}", show()))?;
    if to == u8::MAX {
        return Err(format!("a message to nobody: {}", show()));
    }
    if matches!(facts.status, 202 | 408) {
        return Err(format!("a {} (6665-8.3.1-2, 4320-4.2-1)", facts.status));
    }
    let notify = facts.cseq_method == b"NOTIFY";
    if facts.method == b"NOTIFY" && facts.substate() != b"terminated" && facts.state_expires().unwrap_or(0) == 0 {
        return Err("a live NOTIFY without time left (6665-4.2.2-7)".into());
    }
    Ok(Packet {
        from,
        to,
        bytes: bytes.to_vec(),
        status: facts.status,
        notify,
        cseq: facts.cseq,
        branch: key(&[facts.branch]),
        leg: key(&[facts.call_id, facts.from_tag, facts.to_tag]),
        first_leg: key(&[facts.call_id, facts.from_tag, b""]),
        reverse: key(&[facts.call_id, facts.to_tag, facts.from_tag]),
        tag: key(&[if notify { facts.to_tag } else { facts.from_tag }]),
        in_dialog: !facts.to_tag.is_empty(),
        expires: facts.expires,
        substate: facts.substate().to_vec(),
        left: facts.state_expires(),
        body: key(&[facts.body]),
        plain: key(&[
            &[from, to, u8::from(facts.to_tag.is_empty())],
            &facts.status.to_le_bytes(),
            facts.cseq_method,
            facts.event,
            facts.state,
            &facts.expires.unwrap_or(u32::MAX).to_le_bytes(),
            &facts.delay.unwrap_or(u32::MAX).to_le_bytes(),
            facts.body,
        ]),
    })
}
