//! A proxy that forks and stays in the path (RFC 3261 section 16), no more of
//! it than a subscription can feel.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::actor::{Actor, Scene};
use super::facts::{Facts, key};
use super::net::Fault;
use super::text::{answer, lines, put, value};
use crate::Instant;

/// What is known of a request until its answers are of no more interest.
#[derive(Debug)]
struct Context {
    upstream: SocketAddr,
    since: Instant,
    /// The branches sent to, and whether each was answered for good.
    branches: Vec<(u64, bool)>,
    best: Option<(u16, Vec<u8>)>,
    /// The final answer went upstream.
    done: bool,
}

/// A forking, record-routing proxy for some users.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    users: BTreeMap<Vec<u8>, Vec<String>>,
    contexts: BTreeMap<u64, Context>,
    /// Contexts by the branches that were minted for them.
    minted: BTreeMap<u64, u64>,
}

impl Proxy {
    /// A proxy at `address` that knows nobody.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, users: BTreeMap::new(), contexts: BTreeMap::new(), minted: BTreeMap::new() }
    }

    /// Whoever asks for `user` is sent to `contact`, a URI with an address; and
    /// to the contacts given before.
    pub fn add(&mut self, user: &str, contact: &str) {
        self.users.entry(user.as_bytes().to_vec()).or_default().push(contact.into());
    }

    fn forget(&mut self, now: Instant) {
        if self.contexts.len() > 512 {
            self.contexts.retain(|_, context| context.since + Duration::from_secs(64) > now);
            let contexts = &self.contexts;
            self.minted.retain(|_, context| contexts.contains_key(context));
        }
    }

    fn request(&mut self, scene: &mut Scene<'_>, from: SocketAddr, facts: &Facts<'_>, message: &[u8]) {
        self.forget(scene.now);
        let name = key(&[facts.branch, facts.call_id, facts.method, &facts.cseq.to_be_bytes()]);
        if let Some(context) = self.contexts.get(&name).filter(|context| context.done) {
            if let Some((_, answer)) = &context.best {
                scene.send(context.upstream, answer.clone());
            }
            return;
        }
        let own_route =
            |line: &[u8]| value(line, &[b"Route"]).is_some_and(|v| authority(v).is_some_and(|at| at == self.address));
        let routed = lines(message).find(|line| own_route(line));
        let targets: Vec<Vec<u8>> = match self.users.get(user(facts.uri)) {
            Some(contacts) if routed.is_none() && authority(facts.uri) == Some(self.address) => {
                contacts.iter().map(|contact| contact.as_bytes().to_vec()).collect()
            }
            _ => alloc::vec![facts.uri.to_vec()],
        };
        let mut branches = Vec::new();
        for (nth, target) in targets.iter().enumerate() {
            let branch = format!("z9hG4bKp{name:016x}{nth}");
            let Some((to, text)) = self.forward(facts, message, routed, target, &branch) else { continue };
            let minted = key(&[branch.as_bytes()]);
            self.minted.insert(minted, name);
            branches.push((minted, false));
            scene.send(to, text);
        }
        if branches.is_empty() {
            return scene.send(from, answer(message, facts, "404 Nobody", b"proxy", ""));
        }
        if branches.len() > 1 {
            scene.count(Fault::Fork);
        }
        let since = scene.now;
        let fresh = Context { upstream: from, since, branches, best: None, done: false };
        self.contexts.entry(name).or_insert(fresh);
    }

    /// The request as it goes on, and to whom.
    fn forward(
        &self,
        facts: &Facts<'_>,
        message: &[u8],
        routed: Option<&[u8]>,
        target: &[u8],
        branch: &str,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::with_capacity(message.len().saturating_add(200));
        let own = format!("{}", self.address);
        put(&mut out, &[facts.method, b" ", target, b" SIP/2.0"]);
        put(&mut out, &[b"Via: SIP/2.0/UDP ", own.as_bytes(), b";branch=", branch.as_bytes()]);
        if facts.to_tag.is_empty() {
            put(&mut out, &[b"Record-Route: <sip:", own.as_bytes(), b";lr>"]);
        }
        let mut next = authority(target);
        let mut routes = 0;
        for line in lines(message).skip(1) {
            if Some(line) == routed {
                // What follows ours on the same line stays.
                let comma = line.iter().position(|b| *b == b',');
                if let Some(rest) = comma.and_then(|at| line.get(at.saturating_add(1)..)) {
                    next = authority(rest);
                    routes = 1;
                    put(&mut out, &[b"Route: ", rest.trim_ascii()]);
                }
                continue;
            }
            if let Some(route) = value(line, &[b"Route"]).filter(|_| routes == 0) {
                next = authority(route);
                routes = 1;
            }
            put(&mut out, &[line]);
        }
        put(&mut out, &[]);
        out.extend_from_slice(facts.body);
        // Nothing is sent in circles.
        next.filter(|next| *next != self.address).map(|next| (next, out))
    }

    fn response(&mut self, scene: &mut Scene<'_>, facts: &Facts<'_>, message: &[u8]) {
        let minted = key(&[facts.branch]);
        let Some(context) = self.minted.get(&minted).and_then(|name| self.contexts.get_mut(name)) else { return };
        if facts.status < 200 || context.done {
            return;
        }
        let mut out = Vec::with_capacity(message.len());
        let mut own = true;
        for line in lines(message) {
            if own && value(line, &[b"Via", b"v"]).is_some() {
                own = false;
                continue;
            }
            put(&mut out, &[line]);
        }
        put(&mut out, &[]);
        out.extend_from_slice(facts.body);
        for (branch, answered) in &mut context.branches {
            *answered |= *branch == minted;
        }
        let better = context.best.as_ref().is_none_or(|(status, _)| facts.status / 100 < status / 100);
        if better {
            context.best = Some((facts.status, out));
        }
        let all = context.branches.iter().all(|(_, answered)| *answered);
        if (all || facts.status < 300)
            && let Some((_, answer)) = &context.best
        {
            context.done = true;
            scene.send(context.upstream, answer.clone());
        }
    }
}

/// The user part of a SIP URI.
fn user(uri: &[u8]) -> &[u8] {
    let rest = uri.strip_prefix(b"sip:").unwrap_or(uri);
    rest.split(|b| *b == b'@').next().unwrap_or_default()
}

/// The address that a SIP URI (perhaps in angle brackets) leads to.
pub(crate) fn authority(uri: &[u8]) -> Option<SocketAddr> {
    let text = core::str::from_utf8(uri).ok()?;
    let start = text.find("sip:")?.saturating_add(4);
    let rest = text.get(start..)?;
    let end = rest.find([';', '>', '?', ',']).unwrap_or(rest.len());
    let rest = rest.get(..end)?;
    let host = rest.rsplit('@').next()?;
    host.parse().ok().or_else(|| host.parse().ok().map(|ip| SocketAddr::new(ip, 5060)))
}

impl Actor for Proxy {
    fn name(&self) -> String {
        String::from("proxy")
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn relays(&self) -> bool {
        true
    }

    fn receive(&mut self, scene: &mut Scene<'_>, from: SocketAddr, message: &[u8]) {
        match Facts::read(message).filter(Facts::is_whole) {
            Some(facts) if facts.status == 0 => self.request(scene, from, &facts, message),
            Some(facts) => self.response(scene, &facts, message),
            None => {}
        }
    }
}
