//! Two agents, and a stack of thirty lines between them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

mod invariants;
mod notifier;
mod rig;
mod snapshot;
mod subscriber;
mod successor;
mod tables;
mod walk;

use super::*;
use crate::Misuse;
use crate::event::Gone;
use crate::event::{Ending, SubscriptionState};
use crate::package::Body;
use crate::wire::{Message, StartLine, Transport};

struct Side {
    agent: Agent,
    address: SocketAddr,
    events: Vec<Event>,
}

/// A message under way: who sent it, and its whole text.
struct Wire {
    to_a: bool,
    text: Vec<u8>,
    id: Option<RequestId>,
}

struct Pair {
    a: Side,
    b: Side,
    now: Instant,
    log: Vec<String>,
}

const A: &str = "192.0.2.1:5060";
const B: &str = "192.0.2.2:5060";

fn side(address: &str, user: &str, seed: u8) -> Side {
    let address: SocketAddr = address.parse().unwrap();
    let config = Config::new(&format!("sip:{user}@{}", address.ip())).unwrap();
    let config = config.with_authentication(crate::Authentication::None);
    let mut agent = Agent::new(Arc::new(config), Packages::standard(), &Seed([seed; 32]), Instant::ZERO);
    agent.add_local(Transport::Udp, address, None, None).unwrap();
    Side { agent, address, events: Vec::new() }
}

impl Pair {
    fn new() -> Self {
        Self { a: side(A, "ann", 1), b: side(B, "bob", 2), now: Instant::from_secs(1), log: Vec::new() }
    }

    fn bob(&mut self) -> crate::id::ResourceId {
        self.b.agent.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence").unwrap()).unwrap()
    }

    /// Delivers everything, without loss, until nobody has anything to say.
    fn run(&mut self) {
        loop {
            let mut wires = Vec::new();
            for to_a in [false, true] {
                let (from, now) = (if to_a { &mut self.b } else { &mut self.a }, self.now);
                let mut head = Vec::new();
                while let Some(out) = from.agent.poll_outgoing(now, &mut head) {
                    match out {
                        Outgoing::Request(request) => {
                            let mut text = core::mem::take(&mut head);
                            let via =
                                format!("Via: SIP/2.0/UDP {};branch=z9hG4bKx\r\nMax-Forwards: 70\r\n", from.address);
                            text.splice(request.via_at..request.via_at, via.into_bytes());
                            text.extend(format!("Content-Length: {}\r\n\r\n", request.body_len()).into_bytes());
                            text.extend_from_slice(&request.body);
                            wires.push(Wire { to_a, text, id: Some(request.id) });
                        }
                        Outgoing::Response(_) | Outgoing::Abandon(_) => head.clear(),
                    }
                }
                while let Some(event) = from.agent.poll_event() {
                    from.events.push(event);
                }
            }
            invariants::check(&self.a.agent);
            invariants::check(&self.b.agent);
            if wires.is_empty() {
                return;
            }
            for wire in wires {
                self.deliver(&wire);
            }
        }
    }

    fn deliver(&mut self, wire: &Wire) {
        let now = self.now;
        let (from, to) = if wire.to_a { (&mut self.b, &mut self.a) } else { (&mut self.a, &mut self.b) };
        let message = Message::parse(&wire.text).unwrap();
        self.log.push(String::from_utf8_lossy(&wire.text).into_owned());
        let origin = Origin::new(Flow::udp(to.address, from.address));
        let method = message.method().unwrap();
        let _ = to.agent.handle_request(now, &origin, &method, Token(7), &message);
        // An undecided SUBSCRIBE is accepted by the application.
        while let Some(event) = to.agent.poll_event() {
            if let Event::Subscribe(incoming) = event {
                to.agent.accept(now, incoming, Decision::ACCEPT).unwrap();
            }
            to.events.push(event);
        }
        let mut fields = Vec::new();
        let Some(Outgoing::Response(response)) = to.agent.poll_outgoing(now, &mut fields) else {
            panic!("no response")
        };
        assert_eq!(response.token, Token(7));
        let mut text = format!("SIP/2.0 {} x\r\n", response.status.as_u16()).into_bytes();
        for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(message.field(name, 0).unwrap());
            if let (HeaderName::To, Some(tag)) = (name, response.to_tag) {
                text.extend_from_slice(b";tag=");
                tag.write(&mut text);
            }
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(&fields);
        text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.log.push(String::from_utf8_lossy(&text).into_owned());
        let answer = Message::parse(&text).unwrap();
        let StartLine::Response { status, .. } = answer.start_line() else { panic!() };
        from.agent.handle_response(now, wire.id.unwrap(), status, &answer);
    }

    /// Lets time pass, firing timers on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let next = crate::time::earliest(self.a.agent.poll_timeout(), self.b.agent.poll_timeout());
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            self.a.agent.handle_timeout(self.now);
            self.b.agent.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn starts(&self) -> Vec<&str> {
        self.log.iter().map(|m| m.lines().next().unwrap()).collect()
    }
}

use crate::wire::HeaderName;

fn pidf(text: &'static str) -> Body {
    Body::from_static("application/pidf+xml", text.as_bytes())
}

/// Covers: 6665-4.1.2.3-1, 6665-4.2.1.2-1, 6665-4.2.1.4-7, 6665-SSM-14, 6665-NSM-14
#[test]
fn a_subscription_lives_and_ends() {
    let mut pair = Pair::new();
    let bob = pair.bob();
    pair.b.agent.set_state(pair.now, bob, pidf("<one/>")).unwrap();
    let request = Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap().expires(600);
    let id = pair.a.agent.subscribe(pair.now, request).unwrap();
    pair.run();
    pair.pass(Duration::from_secs(10));
    pair.b.agent.set_state(pair.now, bob, pidf("<two/>")).unwrap();
    pair.run();
    // One automatic refresh, then the end.
    pair.pass(Duration::from_secs(580));
    pair.a.agent.unsubscribe(pair.now, id, Scope::This).unwrap();
    pair.run();
    let subscribe = "SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0";
    let refresh = "SUBSCRIBE sip:bob@192.0.2.2:5060 SIP/2.0";
    let notify = "NOTIFY sip:ann@192.0.2.1:5060 SIP/2.0";
    let ok = "SIP/2.0 200 x";
    assert_eq!(
        pair.starts(),
        [subscribe, ok, notify, ok, notify, ok, refresh, ok, notify, ok, refresh, ok, notify, ok],
        "{:#?}",
        pair.log
    );
    let bodies: Vec<(SubscriptionState, &str)> = pair
        .a
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Notify { state, body: Some(body), .. } => Some((*state, core::str::from_utf8(&body.data).unwrap())),
            _ => None,
        })
        .collect();
    use SubscriptionState::{Active, Terminated};
    assert_eq!(bodies, [(Active, "<one/>"), (Active, "<two/>"), (Active, "<two/>"), (Terminated, "<two/>")]);
    assert!(matches!(
        pair.a.events.last(),
        Some(Event::Terminated { why: Ending::Unsubscribed, subscription, .. }) if *subscription == id
    ));
    assert!(matches!(pair.b.events.last(), Some(Event::WatcherGone { why: Gone::Unsubscribed, .. })));
    // Nothing is left but the resource, and no timer runs once the fork window has closed.
    pair.pass(Duration::from_secs(40));
    assert_eq!(pair.a.agent.counts(), (0, 0, 0, 0));
    assert_eq!(pair.b.agent.counts(), (0, 0, 1, 0));
    assert_eq!(pair.a.agent.poll_timeout(), None);
    assert_eq!(pair.b.agent.poll_timeout(), None);
    assert_eq!(pair.a.agent.flows.len(), 0);
    assert_eq!(pair.b.agent.flows.len(), 0);
}

/// Covers: 6665-4.4.3-1, 6665-4.4.3-3, 6665-NSM-5
#[test]
fn a_fetch_gets_the_state_once() {
    let mut pair = Pair::new();
    let bob = pair.bob();
    pair.b.agent.set_state(pair.now, bob, pidf("<one/>")).unwrap();
    let request = Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap().expires(0);
    pair.a.agent.subscribe(pair.now, request).unwrap();
    pair.run();
    assert_eq!(pair.log.len(), 4);
    assert!(pair.log[1].contains("\r\nExpires: 0\r\n"), "{}", pair.log[1]);
    assert!(pair.log[2].contains("\r\nSubscription-State: terminated;reason=timeout\r\n"), "{}", pair.log[2]);
    assert!(pair.log[2].ends_with("<one/>"));
    assert!(matches!(pair.a.events.last(), Some(Event::Terminated { why: Ending::Fetched, .. })));
    assert_eq!(pair.b.agent.counts(), (0, 0, 1, 0));
}

/// Covers: 6665-4.2.1.3-3, 6665-4.2.1.3-4, 6665-NSM-6, 6665-NSM-7, 6665-NSM-9
#[test]
fn pending_discloses_nothing_until_approved() {
    let mut pair = Pair::new();
    let bob = pair.bob();
    pair.b.agent.set_state(pair.now, bob, pidf("<secret/>")).unwrap();
    let watch = Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap();
    pair.a.agent.subscribe(pair.now, watch).unwrap();
    pair.run();
    let watcher = pair.b.agent.watchers().next().unwrap();
    assert!(pair.log[2].ends_with("<secret/>"));
    pair.b.agent.terminate(pair.now, watcher, &Reason::Rejected, None).unwrap();
    pair.run();
    let last = &pair.log[pair.log.len() - 2];
    assert!(last.contains("\r\nSubscription-State: terminated;reason=rejected\r\n"), "{last}");
    assert!(!last.contains("<secret/>"), "{last}");
    assert!(matches!(
        pair.a.events.last(),
        Some(Event::Terminated {
            retry: crate::Retry::Never,
            why: Ending::ByNotifier { reason: Some(Reason::Rejected), .. },
            ..
        })
    ));
}

/// Covers: 6665-4.2.1.1-3, 6665-4.1.3-1
#[test]
fn stale_ids_and_wrong_states_are_misuse_and_change_nothing() {
    let mut pair = Pair::new();
    let bob = pair.bob();
    let agent = &mut pair.a.agent;
    assert_eq!(
        agent.subscribe(pair.now, Subscribe::new("sip:x@y", "nobody-knows").unwrap()),
        Err(Misuse::UnknownPackage)
    );
    let id = agent.subscribe(pair.now, Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap()).unwrap();
    assert_eq!(agent.refresh(pair.now, id, None), Err(Misuse::WrongState));
    pair.run();
    assert_eq!(pair.b.agent.set_state(pair.now, bob, Body::from_static("text/plain", b"x")), Err(Misuse::BadValue));
    let watcher = pair.b.agent.watchers().next().unwrap();
    assert_eq!(pair.b.agent.approve(pair.now, watcher), Err(Misuse::WrongState));
    let key = ResourceKey::new("sip:%62ob@192.0.2.2", "presence").unwrap();
    assert_eq!(pair.b.agent.add_resource(&key), Err(Misuse::Exists));
    pair.a.agent.unsubscribe(pair.now, id, Scope::This).unwrap();
    assert_eq!(pair.a.agent.unsubscribe(pair.now, id, Scope::This), Err(Misuse::WrongState));
    pair.run();
    assert_eq!(pair.a.agent.unsubscribe(pair.now, id, Scope::This), Err(Misuse::StaleId));
    assert_eq!(pair.b.agent.approve(pair.now, watcher), Err(Misuse::StaleId));
    let _ = id.to_string();
}
