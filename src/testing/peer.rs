//! A peer that has every vice of the field: it refuses, demands, keeps silent,
//! ends what it has accepted, answers before it is asked, and listens to nobody.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::actor::{Actor, Scene};
use super::facts::{Facts, key};
use super::net::Fault;
use super::proxy::authority;
use super::text::{answer, field, put};
use crate::Instant;

/// A subscription that it has accepted.
#[derive(Debug)]
struct Served {
    /// The lines that its NOTIFYs share.
    lines: Vec<u8>,
    uri: Vec<u8>,
    to: SocketAddr,
    cseq: u32,
    ends: Instant,
    /// When it says something next.
    next: Instant,
}

/// A rude peer: notifier to whoever subscribes, and watcher of others.
#[derive(Debug)]
pub struct Peer {
    name: String,
    address: SocketAddr,
    event: String,
    watches: Vec<String>,
    served: BTreeMap<u64, Served>,
    next: Option<Instant>,
    count: u64,
    calm: bool,
}

const REASONS: [&str; 11] = [
    ";reason=deactivated",
    ";reason=probation;retry-after=7",
    ";reason=rejected",
    ";reason=timeout",
    ";reason=giveup",
    ";reason=giveup;retry-after=20",
    ";reason=noresource",
    ";reason=invariant",
    ";reason=badfilter",
    ";reason=x-mood;retry-after=3",
    "",
];

const REFUSALS: [&str; 14] = [
    "300 Elsewhere",
    "400 No",
    "403 No",
    "404 No",
    "405 No",
    "408 Late",
    "480 Away",
    "481 Whose",
    "489 What",
    "500 Broken",
    "502 Broken",
    "503 Busy",
    "600 Busy",
    "603 Declined",
];

impl Peer {
    /// A peer at `address` that serves the package `event`, and from time to
    /// time watches one of `watches`.
    pub fn new(name: &str, address: SocketAddr, event: &str, watches: Vec<String>) -> Self {
        let next = (!watches.is_empty()).then_some(Instant::from_secs(5));
        let served = BTreeMap::new();
        Self { name: name.into(), address, event: event.into(), watches, served, next, count: 0, calm: false }
    }

    fn mint(&mut self) -> u64 {
        self.count = self.count.saturating_add(1);
        key(&[self.name.as_bytes(), &self.count.to_be_bytes()])
    }

    fn refuse(scene: &mut Scene<'_>, from: SocketAddr, message: &[u8], facts: &Facts<'_>) {
        scene.count(Fault::Refusal);
        let at = scene.rng.below(REFUSALS.len() as u64);
        let status = REFUSALS.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or("500 Broken");
        let more = match scene.rng.below(3) {
            0 => format!("Retry-After: {}\r\n", scene.rng.below(90)),
            1 => String::from("Contact: <sip:nobody@10.0.0.250>\r\n"),
            _ => String::new(),
        };
        scene.send(from, answer(message, facts, status, b"none", &more));
    }

    fn subscribe(&mut self, scene: &mut Scene<'_>, from: SocketAddr, facts: &Facts<'_>, message: &[u8]) {
        let known = key(&[facts.call_id, facts.to_tag]);
        let in_dialog = !facts.to_tag.is_empty();
        if in_dialog && !self.served.contains_key(&known) {
            scene.send(from, answer(message, facts, "481 Whose", b"", ""));
            return;
        }
        let asked = facts.expires.unwrap_or(600);
        let mood = if self.calm { 99 } else { scene.rng.below(if in_dialog { 40 } else { 30 }) };
        match mood {
            0..=4 => return Self::refuse(scene, from, message, facts),
            5 | 6 => return scene.count(Fault::Silence),
            7 | 8 if (1..120).contains(&asked) => {
                scene.count(Fault::TooBrief);
                return scene.send(from, answer(message, facts, "423 Too Brief", b"none", "Min-Expires: 120\r\n"));
            }
            9 => {
                scene.count(Fault::Challenge);
                let realm = "WWW-Authenticate: Digest realm=\"moods\", nonce=\"1\"\r\n";
                return scene.send(from, answer(message, facts, "401 Who", b"none", realm));
            }
            _ => {}
        }
        let tag = format!("p{:015x}", self.mint() >> 4);
        let tag = if in_dialog { facts.to_tag.to_vec() } else { tag.into_bytes() };
        let granted = if mood == 10 { asked / 2 } else { asked };
        let more = format!("Expires: {granted}\r\nContact: <sip:p@{}>\r\n", self.address);
        let status = if mood == 11 { "202 Accepted" } else { "200 OK" };
        let ok = answer(message, facts, status, &tag, &more);
        if mood == 12 {
            // Accepted, and never heard of again.
            scene.count(Fault::Silence);
            return scene.send(from, ok);
        }
        if matches!(mood, 13 | 14 | 16..=19) {
            scene.count(Fault::Oddity);
        }
        if mood != 13 {
            scene.send(from, ok.clone());
        }
        let tags = if mood == 14 && !in_dialog { 2 } else { 1 };
        for nth in 0..tags {
            let tag = if nth == 0 { tag.clone() } else { [&tag[..], b"x"].concat() };
            self.serve(scene.now, from, facts, message, &tag, asked);
            let name = key(&[facts.call_id, &tag]);
            let state = match mood {
                _ if asked == 0 => String::from("terminated;reason=timeout"),
                15 => {
                    scene.count(Fault::Termination);
                    format!("terminated{}", Self::reason(scene))
                }
                16 => format!("pending;expires={granted}"),
                17 => format!("x-odd;expires={granted}"),
                18 => String::from("active"),
                19 => format!("active;expires={}", granted.saturating_mul(3)),
                _ => format!("active;expires={granted}"),
            };
            self.notify(scene, name, &state);
        }
        if mood == 13 {
            scene.send(from, ok);
        }
    }

    fn reason(scene: &mut Scene<'_>) -> &'static str {
        scene.rng.pick(&REASONS).copied().unwrap_or("")
    }

    fn serve(&mut self, now: Instant, from: SocketAddr, facts: &Facts<'_>, message: &[u8], tag: &[u8], expires: u32) {
        let name = key(&[facts.call_id, tag]);
        let mut lines = Vec::with_capacity(300);
        for route in super::text::lines(message).filter_map(|line| super::text::value(line, &[b"Record-Route"])) {
            put(&mut lines, &[b"Route: ", route]);
        }
        let to = field(&lines, &[b"Route"])
            .and_then(authority)
            .or_else(|| field(message, &[b"Record-Route"]).and_then(authority));
        let own = field(message, &[b"To", b"t"]).unwrap_or_default();
        let own = own.split(|b| *b == b'>').next().unwrap_or_default();
        put(&mut lines, &[b"From: ", own, b">;tag=", tag]);
        put(&mut lines, &[b"To: ", field(message, &[b"From", b"f"]).unwrap_or_default()]);
        put(&mut lines, &[b"Call-ID: ", facts.call_id]);
        put(&mut lines, &[b"Event: ", facts.event]);
        let uri = facts.contact.to_vec();
        let to = to.or_else(|| authority(&uri)).unwrap_or(from);
        let ends = now + Duration::from_secs(u64::from(expires));
        let next = now + Duration::from_secs(30);
        let cseq = self.served.get(&name).map_or(0, |served| served.cseq);
        self.served.insert(name, Served { lines, uri, to, cseq, ends, next });
    }

    fn notify(&mut self, scene: &mut Scene<'_>, name: u64, state: &str) {
        let branch = self.mint();
        let Some(served) = self.served.get_mut(&name) else { return };
        served.cseq = served.cseq.saturating_add(1);
        let mut out = Vec::with_capacity(500);
        put(&mut out, &[b"NOTIFY ", &served.uri, b" SIP/2.0"]);
        let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bK{branch:x}", self.address);
        put(&mut out, &[via.as_bytes()]);
        put(&mut out, &[b"Max-Forwards: 70"]);
        out.extend_from_slice(&served.lines);
        let rest = format!(
            "CSeq: {} NOTIFY\r\nContact: <sip:p@{}>\r\nSubscription-State: {state}\r\n\
             Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nwhim",
            served.cseq, self.address
        );
        out.extend_from_slice(rest.as_bytes());
        let to = served.to;
        if state.starts_with("terminated") {
            self.served.remove(&name);
        }
        scene.send(to, out);
    }

    /// It watches somebody, and will not always listen.
    fn watch(&mut self, scene: &mut Scene<'_>) {
        let Some(uri) = scene.rng.pick(&self.watches).cloned() else { return };
        let Some(to) = authority(uri.as_bytes()) else { return };
        let id = self.mint();
        let expires = 60u64.saturating_add(scene.rng.below(600));
        let mut out = Vec::with_capacity(500);
        let text = format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{id:x};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@{own}>;tag=v{id:x}\r\nTo: <{uri}>\r\nCall-ID: {id:x}@peer\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:{name}@{own}>\r\nEvent: {event}\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n",
            own = self.address,
            name = self.name,
            event = self.event,
        );
        out.extend_from_slice(text.as_bytes());
        scene.send(to, out);
    }
}

impl Actor for Peer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn receive(&mut self, scene: &mut Scene<'_>, from: SocketAddr, message: &[u8]) {
        let Some(facts) = Facts::read(message).filter(Facts::is_whole) else { return };
        match facts.method {
            b"SUBSCRIBE" => self.subscribe(scene, from, &facts, message),
            b"NOTIFY" => match if self.calm { 9 } else { scene.rng.below(10) } {
                0..=3 => scene.count(Fault::Silence),
                4 => Self::refuse(scene, from, message, &facts),
                _ => scene.send(from, answer(message, &facts, "200 OK", b"", "")),
            },
            _ => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let served = self.served.values().map(|served| served.next);
        served.chain(self.next).min()
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now;
        if self.next.is_some_and(|at| at <= now) {
            self.watch(scene);
            self.next = Some(now + Duration::from_secs(20) + scene.rng.within(Duration::from_secs(300)));
        }
        let due: Vec<u64> = self.served.iter().filter(|(_, s)| s.next <= now).map(|(name, _)| *name).collect();
        for name in due {
            let Some(served) = self.served.get_mut(&name) else { continue };
            served.next = now + Duration::from_secs(10) + scene.rng.within(Duration::from_secs(200));
            let left = (served.ends - now).as_secs();
            if left == 0 {
                self.notify(scene, name, "terminated;reason=timeout");
                continue;
            }
            match if self.calm { 9 } else { scene.rng.below(10) } {
                0 => {
                    scene.count(Fault::Termination);
                    let state = format!("terminated{}", Self::reason(scene));
                    self.notify(scene, name, &state);
                }
                1 => {
                    // It forgets, and will answer 481.
                    scene.count(Fault::Silence);
                    self.served.remove(&name);
                }
                _ => self.notify(scene, name, &format!("active;expires={left}")),
            }
        }
    }

    fn calm(&mut self) {
        self.calm = true;
        self.next = None;
    }
}
