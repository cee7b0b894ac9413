//! Random inputs in random order: whatever comes, the records agree with each
//! other, nobody spins, and everything ends.

use super::rig::{Peer, Rig, Sent, field, notify_text, tcp, udp};
use crate::agent::{Close, Decision, RequestId, ResourceKey, Scope, Subscribe};
use crate::event::Event;
use crate::flow::Flow;
use crate::package::{Body, EventPackage, Expires, Forking, Packages, Reject, View};
use crate::wire::StatusCode;
use crate::{DialogSharing, Failure, FlowGone, IncomingId, Instant, NotifyTimeout, Reason, UnknownResource};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let count = u64::try_from(from.len()).unwrap();
        (count > 0).then(|| from[usize::try_from(self.next(count)).unwrap()].clone())
    }
}

#[derive(Debug)]
struct Any;

impl EventPackage for Any {
    fn name(&self) -> &str {
        "presence"
    }
    fn duration(&self) -> Expires {
        Expires::new(1, 3600, 86_400)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }
    fn forking(&self) -> Forking {
        Forking::All
    }
    fn rate(&self) -> Duration {
        Duration::from_secs(1)
    }
}

pub(super) struct Walk {
    pub(super) rig: Rig,
    pub(super) random: Random,
    peers: Vec<Peer>,
    /// Requests that have no final answer yet.
    open: BTreeMap<u64, Sent>,
    seen: usize,
    undecided: Vec<IncomingId>,
    seen_events: usize,
    subscribes: Vec<Sent>,
    cseq: u32,
}

fn flows() -> Vec<Flow> {
    let mut flows: Vec<Flow> = (0..3).map(|n| udp(&format!("192.0.2.{}:5060", 10 + n))).collect();
    flows.extend((0..3).map(|n| tcp(&format!("192.0.2.{}:5060", 10 + n), n)));
    flows
}

fn key(id: RequestId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in format!("{id:?}").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

impl Walk {
    pub(super) fn new(seed: u64) -> Self {
        let mut packages = Packages::new();
        packages.register(Any).unwrap();
        let mut random = Random(seed);
        let (gone, keep, small, sharing) = (random.next(2), random.next(2), random.next(3), random.next(2));
        let rig = Rig::with(
            |mut config| {
                config.policy.unknown_resource = UnknownResource::Ask;
                config.policy.flow_gone = if gone == 0 { FlowGone::Reconnect } else { FlowGone::Remove };
                config.policy.notify_timeout = if keep == 0 { NotifyTimeout::Remove } else { NotifyTimeout::Keep };
                if sharing == 0 {
                    config.policy.dialog_sharing = DialogSharing::Allow;
                    config.limits.usages = 2 + u32::try_from(small).unwrap();
                }
                if small == 0 {
                    config.limits.notify_window = 3;
                    config.limits.notify_window_per_flow = 1;
                    config.limits.flows = 5;
                    config.limits.watchers = 6;
                    config.limits.subscriptions = 4;
                    config.limits.timers_per_wakeup = 2;
                }
                config
            },
            packages,
        );
        Self {
            rig,
            random,
            peers: Vec::new(),
            open: BTreeMap::new(),
            seen: 0,
            undecided: Vec::new(),
            seen_events: 0,
            subscribes: Vec::new(),
            cseq: 0,
        }
    }

    pub(super) fn note(&mut self) {
        self.rig.drain();
        for sent in &self.rig.sent[self.seen..] {
            self.open.insert(key(sent.request.id), sent.clone());
            if sent.text.starts_with("SUBSCRIBE") {
                self.subscribes.push(sent.clone());
            }
        }
        self.seen = self.rig.sent.len();
        for event in &self.rig.events[self.seen_events..] {
            if let Event::Subscribe(id) = event {
                self.undecided.push(*id);
            }
        }
        self.seen_events = self.rig.events.len();
    }

    fn flow(&mut self) -> Flow {
        self.random.pick(&flows()).unwrap()
    }

    pub(super) fn step(&mut self) {
        let now = self.rig.now;
        match self.random.next(26) {
            0 | 1 => {
                let mut request = Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap();
                request = request.expires(self.random.pick(&[0, 1, 5, 60, 600, u32::MAX]).unwrap());
                if self.random.next(3) == 0 {
                    request = request.on_flow(self.flow());
                }
                let ids: Vec<_> = self.rig.agent.subscriptions().collect();
                if let Some(id) = self.random.pick(&ids).filter(|_| self.random.next(2) == 0) {
                    let event = self.random.pick(&["presence;id=1", "presence;id=2"]).unwrap();
                    request.event = event.into();
                    request = request.within(id);
                }
                let _ = self.rig.agent.subscribe(now, request);
            }
            2 => {
                let ids: Vec<_> = self.rig.agent.subscriptions().collect();
                if let Some(id) = self.random.pick(&ids) {
                    let scope = self.random.pick(&[Scope::This, Scope::AllForks]).unwrap();
                    let _ = self.rig.agent.unsubscribe(now, id, scope);
                }
            }
            3 => {
                let ids: Vec<_> = self.rig.agent.subscriptions().collect();
                if let Some(id) = self.random.pick(&ids) {
                    let expires = self.random.pick(&[None, Some(0), Some(3), Some(900)]).unwrap();
                    let _ = self.rig.agent.refresh(now, id, expires);
                }
            }
            4..=7 => {
                let open: Vec<u64> = self.open.keys().copied().collect();
                if let Some(at) = self.random.pick(&open) {
                    let sent = self.open[&at].clone();
                    self.finish(&sent);
                    if self.random.next(5) > 0 {
                        self.open.remove(&at);
                    }
                }
            }
            8..=11 => {
                if let Some(subscribe) = self.random.pick(&self.subscribes.clone()) {
                    let tag = self.random.pick(&["a", "b", "c"]).unwrap();
                    let state = self.random.pick(&[
                        "active",
                        "active;expires=3",
                        "active;expires=600",
                        "pending;expires=60",
                        "odd;expires=9",
                        "terminated",
                        "terminated;reason=deactivated",
                        "terminated;reason=probation;retry-after=5",
                        "terminated;reason=timeout",
                        "terminated;reason=rejected",
                    ]);
                    self.cseq += 1;
                    let cseq = self.cseq - u32::try_from(self.random.next(2)).unwrap();
                    let text = notify_text(&subscribe, tag, cseq, state.unwrap(), "Content-Type: text/plain\r\n", "x");
                    let flow = self.flow();
                    let answer = self.rig.receive(flow, &text);
                    assert!(matches!(answer.status, 200 | 481 | 500), "{answer:?}");
                }
            }
            12 | 13 => {
                let peer = Peer {
                    flow: self.flow(),
                    call_id: format!("c{}", self.rig.sent.len() + self.peers.len() * 1000),
                    cseq: 1,
                    tag: None,
                    contact: "sip:w@192.0.2.2".into(),
                };
                let expires = self.random.pick(&[0, 1, 2, 60, 600]).unwrap();
                let user = self.random.pick(&["me", "other"]).unwrap();
                let text = peer.subscribe(expires, "").replacen("sip:me@", &format!("sip:{user}@"), 1);
                let _ = self.rig.try_receive(peer.flow, &text);
                self.peers.push(peer);
            }
            14 => {
                if let Some(id) = self.random.pick(&self.undecided.clone()) {
                    let _ = match self.random.next(4) {
                        0 => self.rig.agent.reject(now, id, Reject::new(StatusCode::FORBIDDEN)),
                        1 => self.rig.agent.accept(now, id, Decision::PENDING).map(|_| ()),
                        _ => self.rig.agent.accept(now, id, Decision::ACCEPT).map(|_| ()),
                    };
                }
            }
            15 => {
                // The tag is in any NOTIFY of the dialog.
                if let Some(peer) = self.random.pick(&self.peers.clone()) {
                    let notify = self
                        .rig
                        .sent
                        .iter()
                        .find(|s| s.text.starts_with("NOTIFY") && field(&s.text, "Call-ID") == peer.call_id);
                    if let Some(notify) = notify {
                        let tag = field(&notify.text, "From").split(";tag=").nth(1).unwrap();
                        self.cseq += 1;
                        let host = self.random.next(3);
                        let mut again = Peer { tag: Some(tag.into()), cseq: self.cseq, ..peer };
                        again.contact = format!("sip:w@192.0.2.{host}");
                        let expires = self.random.pick(&[0, 1, 60, 600]).unwrap();
                        let event = self.random.pick(&["presence", "presence;id=1", "presence;id=2"]).unwrap();
                        let text = again.subscribe(expires, "").replacen("presence", event, 1);
                        let flow = self.flow();
                        if let Some(answer) = self.rig.try_receive(flow, &text) {
                            assert!(matches!(answer.status, 200 | 403 | 481 | 500 | 503), "{answer:?}");
                        }
                    }
                }
            }
            16 | 17 => {
                let ids: Vec<_> = self.rig.agent.resources().collect();
                if let Some(id) = self.random.pick(&ids) {
                    let body = Body::new("text/plain", format!("{}", self.random.next(4)).into_bytes());
                    let view = View(self.random.pick(&[0, 0, 1]).unwrap());
                    let _ = self.rig.agent.set_state_for(now, id, view, body);
                }
            }
            18 => {
                let ids: Vec<_> = self.rig.agent.watchers().collect();
                if let Some(id) = self.random.pick(&ids) {
                    let agent = &mut self.rig.agent;
                    let _ = match self.random.next(5) {
                        0 => agent.approve(now, id),
                        1 => agent.terminate(now, id, &Reason::Deactivated, Some(3)),
                        2 => agent.shorten(now, id, 2),
                        3 => agent.set_view(now, id, View(1)),
                        _ => agent.report_delivery(id, true),
                    };
                }
            }
            19 => {
                let ids: Vec<_> = self.rig.agent.resources().collect();
                if self.random.next(3) == 0
                    && let Some(id) = self.random.pick(&ids)
                {
                    let _ = self.rig.agent.remove_resource(now, id, &Reason::NoResource);
                } else {
                    let name = self.random.pick(&["sip:me@192.0.2.1", "sip:other@192.0.2.1"]).unwrap();
                    let _ = self.rig.agent.add_resource(&ResourceKey::new(name, "presence").unwrap());
                }
            }
            20 => {
                let flow = self.flow();
                let blocked = self.random.next(2) == 0;
                self.rig.agent.set_blocked(flow, blocked);
            }
            21 => {
                let flow = self.flow();
                if flow.stream.is_some() && self.random.next(3) == 0 {
                    let _ = self.rig.agent.handle_flow_gone(now, flow);
                }
            }
            22 => {
                let open: Vec<u64> = self.open.keys().copied().collect();
                if let Some(at) = self.random.pick(&open) {
                    let flow = self.flow();
                    let id = self.open[&at].request.id;
                    self.rig.agent.set_destination(id, flow);
                }
            }
            _ => {
                let millis = self.random.pick(&[0, 1, 400, 1000, 5000, 40_000]).unwrap();
                self.pass(Duration::from_millis(millis));
            }
        }
        if self.random.next(8) > 0 {
            self.note();
        }
    }

    fn finish(&mut self, sent: &Sent) {
        match self.random.next(8) {
            0 => self.rig.fail(sent, Failure::Timeout),
            1 => self.rig.fail(sent, Failure::Transport),
            2 => self.rig.respond(sent, 481, ""),
            3 => self.rig.respond(sent, 503, "Retry-After: 2\r\n"),
            4 => self.rig.respond(sent, 423, "Min-Expires: 30\r\n"),
            5 => self.rig.respond(sent, 401, "WWW-Authenticate: Digest realm=\"r\"\r\n"),
            _ => self.rig.respond(sent, 200, "Expires: 30\r\nContact: <sip:moved@192.0.2.2>\r\n"),
        }
    }

    /// As [`Rig::pass`], with the contract checked at every step, and a stack
    /// that gives up requests after Timer F.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.rig.now + time;
        self.note();
        let mut wakes = 0u32;
        let mut fired_at = None;
        loop {
            let limit = self.rig.agent.config().limits.timers_per_wakeup;
            let given_up: Vec<u64> = self
                .open
                .iter()
                .filter(|(_, s)| s.at + Duration::from_secs(32) <= self.rig.now)
                .map(|(k, _)| *k)
                .collect();
            for at in given_up {
                let sent = self.open.remove(&at).unwrap();
                self.rig.fail(&sent, Failure::Timeout);
                self.note();
                fired_at = None;
            }
            let f = self.open.values().map(|s| s.at + Duration::from_secs(32)).min();
            let agent = self.rig.agent.poll_timeout();
            if let (Some(fired), Some(next)) = (fired_at, agent)
                && limit > 100
            {
                assert!(next > fired, "{next} after {fired}: {:?}", self.rig.agent.next_timer());
            }
            let Some(at) = crate::time::earliest(agent, f).filter(|at| *at <= end) else { break };
            wakes += 1;
            assert!(wakes < 20_000, "it spins at {at}: {:?}", self.rig.agent.next_timer());
            self.rig.now = at.max(self.rig.now);
            self.rig.agent.handle_timeout(self.rig.now);
            self.note();
            fired_at = Some(self.rig.now);
        }
        self.rig.now = end;
    }

    pub(super) fn wind_up(&mut self) {
        for flow in flows() {
            self.rig.agent.set_blocked(flow, false);
        }
        self.rig.agent.close(self.rig.now, Close::Terminate);
        self.note();
        self.pass(Duration::from_secs(200));
        let drained = self.rig.events.iter().filter(|e| **e == Event::Drained).count();
        assert_eq!(drained, 1, "{:?}", self.rig.agent.counts());
        assert_eq!(self.rig.events.last(), Some(&Event::Drained));
        let (subscriptions, watchers, _, incoming) = self.rig.agent.counts();
        assert_eq!((subscriptions, watchers, incoming), (0, 0, 0));
        assert_eq!(self.rig.agent.flows.len(), 0);
        assert_eq!(self.rig.agent.attempts.len(), 0);
        assert_eq!(self.rig.agent.poll_timeout(), None);
        assert!(self.rig.agent.orphans.is_empty() && self.rig.agent.window.is_empty());
        self.each_ends_once();
    }

    pub(super) fn each_ends_once(&self) {
        let mut over = BTreeSet::new();
        for event in &self.rig.events {
            let (id, last) = match event {
                Event::Terminated { subscription, .. } => (format!("{subscription}"), true),
                Event::WatcherGone { watcher, .. } => (format!("{watcher}"), true),
                Event::Notify { subscription, .. } | Event::Retrying { subscription, .. } => {
                    (format!("{subscription}"), false)
                }
                Event::Refreshed { watcher, .. } => (format!("{watcher}"), false),
                _ => continue,
            };
            assert!(!over.contains(&id), "{event:?} after the end");
            if last {
                over.insert(id);
            }
        }
    }

    fn cseqs_rise_by_one(&self) {
        let mut last: BTreeMap<(String, String), u32> = BTreeMap::new();
        for sent in &self.rig.sent {
            let dialog = (field(&sent.text, "Call-ID").into(), field(&sent.text, "To").into());
            let (number, method) = field(&sent.text, "CSeq").split_once(' ').unwrap();
            let number: u32 = number.parse().unwrap();
            assert!(sent.text.starts_with(method));
            if let Some(before) = last.insert(dialog, number) {
                assert_eq!(number, before + 1, "{}", sent.text);
            }
        }
    }
}

/// Covers: PEER-B16, PEER-D01, PEER-D05, PEER-C01, PEER-C03, 3261-12.2.1.1-2, ADV-E16, ADV-E2, ADV-E5
#[test]
fn whatever_comes_the_records_agree_and_everything_ends() {
    for seed in 0..100 {
        let mut walk = Walk::new(seed);
        for _ in 0..300 {
            walk.step();
        }
        walk.wind_up();
        walk.cseqs_rise_by_one();
    }
}

/// The same inputs give the same bytes, in a clone too.
#[test]
fn the_same_inputs_give_the_same_bytes() {
    let run = |clone_at: u32| {
        let mut walk = Walk::new(77);
        for step in 0..200 {
            if step == clone_at {
                walk.rig.agent = walk.rig.agent.clone();
            }
            walk.step();
        }
        walk.wind_up();
        let texts: Vec<(Instant, String)> = walk.rig.sent.iter().map(|s| (s.at, s.text.clone())).collect();
        (texts, walk.rig.events.len())
    };
    let first = run(u32::MAX);
    assert!(first.0.len() > 20);
    assert_eq!(first, run(u32::MAX));
    assert_eq!(first, run(100));
}
