//! The agent under a stack that hands it anything: messages that a parser
//! would have refused, and results that belong to nothing.

use std::cell::RefCell;
use std::sync::Arc;

use sip_events::agent::{Agent, Origin, Outgoing, RequestId, Token};
use sip_events::wire::{HeaderName, Message, MessageView, Method, StatusCode, Transport};
use sip_events::{
    Body, Close, Config, Decision, Event, Failure, Flow, Instant, Limits, Packages, ResourceKey, Scope, Seed, Subscribe,
};

use super::choices::Choices;

/// A view that says whatever the input says, header by header.
struct Odd<'a> {
    uri: &'a [u8],
    fields: Vec<(HeaderName<'static>, Vec<u8>)>,
    body: &'a [u8],
}

impl MessageView for Odd<'_> {
    fn request_uri(&self) -> Option<&[u8]> {
        Some(self.uri)
    }

    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.fields.iter().filter(|(n, _)| *n == name).nth(nth).map(|(_, value)| value.as_slice())
    }

    fn body(&self) -> &[u8] {
        self.body
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.subscriptions, limits.watchers, limits.resources, limits.incoming) = (6, 6, 3, 3);
    (limits.events, limits.flows, limits.body, limits.dialog) = (24, 8, 300, 600);
    limits
}

fn prepare() -> Agent {
    let now = Instant::from_secs(100);
    let config = Config::new("sip:me@192.0.2.1")
        .unwrap()
        .with_authentication(sip_events::Authentication::None)
        .with_limits(limits());
    let mut agent = Agent::new(Arc::new(config), Packages::standard(), &Seed([9; 32]), now);
    agent.add_local(Transport::Udp, "192.0.2.1:5060".parse().unwrap(), None, None).unwrap();
    let bob = agent.add_resource(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap();
    agent.set_state(now, bob, Body::new("application/pidf+xml", "<a/>")).unwrap();
    agent.subscribe(now, Subscribe::new("sip:bob@198.51.100.7", "presence").unwrap()).unwrap();
    agent
}

/// One agent for one input.
pub(crate) fn agent(data: &[u8]) {
    thread_local! {
        static PREPARED: RefCell<Option<Agent>> = const { RefCell::new(None) };
    }
    let mut agent = PREPARED.with_borrow_mut(|prepared| prepared.get_or_insert_with(prepare).clone());
    let mut now = Instant::from_secs(100);
    let mut c = Choices(data);
    let (mut requests, mut lines): (Vec<RequestId>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let mut token = 0;
    let (mut unanswered, mut steps) = (0i64, 0);
    while !c.is_empty() && steps < 100 {
        steps += 1;
        match c.below(8) {
            0..=2 => {
                let method = if c.yes() { Method::Subscribe } else { Method::Notify };
                token += 1;
                let flow = Flow::udp("192.0.2.1:5060".parse().unwrap(), ([198, 51, 100, c.byte() % 8], 5060).into());
                let piece = c.piece();
                if let Ok(message) = Message::scan(piece) {
                    let _ = agent.handle_request(now, &Origin::new(flow), &method, Token(token), &message);
                } else {
                    let view = odd(&mut c, piece, &method, &lines);
                    let _ = agent.handle_request(now, &Origin::new(flow), &method, Token(token), &view);
                }
                unanswered += 1;
            }
            3 => {
                if let Some(id) = requests.get(c.below(requests.len())).copied() {
                    let status = StatusCode::new(100 + u16::from(c.byte()) * 2).unwrap_or(StatusCode::OK);
                    let piece = c.piece();
                    let view = odd(&mut c, piece, &Method::Notify, &lines);
                    agent.handle_response(now, id, status, &view);
                }
            }
            4 => {
                if let Some(id) = requests.get(c.below(requests.len())).copied() {
                    let why = c.of(&[Failure::Timeout, Failure::Transport, Failure::Unresolved]);
                    if c.yes() {
                        agent.handle_no_response(now, id, why);
                    } else {
                        agent.set_destination(
                            id,
                            Flow::udp("192.0.2.1:5060".parse().unwrap(), ([203, 0, 113, 1], 5060).into()),
                        );
                    }
                }
            }
            5 => {
                let at = c.moment(now, agent.poll_timeout());
                now = now.max(at);
                agent.handle_timeout(at);
            }
            6 => {
                let flow = Flow::udp("192.0.2.1:5060".parse().unwrap(), ([198, 51, 100, c.byte() % 8], 5060).into());
                if c.yes() {
                    let _ = agent.handle_flow_gone(now, flow);
                } else {
                    agent.set_blocked(flow, c.yes());
                }
            }
            _ => {
                let choice = c.byte();
                match choice % 4 {
                    0 => {
                        let ids: Vec<_> = agent.subscriptions().collect();
                        for id in ids {
                            let _ = agent.unsubscribe(now, id, Scope::This);
                        }
                    }
                    1 => drop(agent.subscribe(now, Subscribe::new("sip:bob@198.51.100.7", "presence").unwrap())),
                    2 if choice > 250 => agent.close(now, Close::Terminate),
                    _ => {
                        let ids: Vec<_> = agent.watchers().collect();
                        for id in ids {
                            let _ = agent.approve(now, id);
                        }
                    }
                }
            }
        }
        for _ in 0..16 {
            let mut any = false;
            let mut head = Vec::new();
            while let Some(out) = agent.poll_outgoing(now, &mut head) {
                any = true;
                match out {
                    Outgoing::Response(_) => unanswered -= 1,
                    Outgoing::Request(request) => {
                        assert!(request.via_at <= head.len() && request.next_hop.end <= head.len());
                        assert!(!request.next_hop.is_empty());
                        requests.push(request.id);
                        lines.push(std::mem::take(&mut head));
                        if requests.len() > 6 {
                            requests.remove(0);
                            lines.remove(0);
                        }
                    }
                    Outgoing::Abandon(_) => {}
                    _ => unreachable!(),
                }
                head.clear();
            }
            while let Some(event) = agent.poll_event() {
                any = true;
                if let Event::Subscribe(id) = event
                    && c.below(4) > 0
                    && agent.accept(now, id, Decision::ACCEPT).is_ok()
                {}
            }
            if !any {
                break;
            }
        }
        // Every request gets one answer, at once or when it is decided.
        let waiting = i64::from(agent.counts().3);
        assert_eq!(unanswered, waiting, "a request without answer, or with two");
        let limits = limits();
        let (subscriptions, watchers, resources, incoming) = agent.counts();
        assert!(subscriptions <= limits.subscriptions && watchers <= limits.watchers);
        assert!(resources <= limits.resources && incoming <= limits.incoming);
    }
}

/// Headers as the input picks them: those of a sound message, those of a
/// request of ours turned round, or nonsense.
fn odd<'a>(c: &mut Choices<'_>, piece: &'a [u8], method: &Method<'_>, lines: &[Vec<u8>]) -> Odd<'a> {
    // By lines: a fuzzer watches every comparison.
    let value = |name: &[u8]| {
        let mut lines = lines.first()?.split(|b| *b == b'\n');
        let value = lines.find_map(|line| line.first().filter(|b| **b == name[0]).and(line.strip_prefix(name)))?;
        Some(value.strip_suffix(b"\r").unwrap_or(value).to_vec())
    };
    let ours = *method == Method::Notify;
    let cseq = format!("{} {}", c.number(), if ours { "NOTIFY" } else { "SUBSCRIBE" });
    let from = value(b"From: ").filter(|_| ours);
    let call = value(b"Call-ID: ").filter(|_| ours);
    let mut fields = vec![
        (HeaderName::Via, b"SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx".to_vec()),
        (HeaderName::From, b"<sip:ann@example.com>;tag=a".to_vec()),
        (HeaderName::To, from.unwrap_or_else(|| b"<sip:bob@192.0.2.1>".to_vec())),
        (HeaderName::CallId, call.unwrap_or_else(|| b"c1".to_vec())),
        (HeaderName::CSeq, cseq.into_bytes()),
        (HeaderName::Contact, b"<sip:ann@198.51.100.7>".to_vec()),
        (HeaderName::Event, b"presence".to_vec()),
        (HeaderName::Expires, b"600".to_vec()),
        (HeaderName::SubscriptionState, b"active;expires=600".to_vec()),
    ];
    for _ in 0..c.below(4) {
        let at = c.below(fields.len());
        match c.below(3) {
            0 => drop(fields.remove(at)),
            1 => {
                let double = fields[at].clone();
                fields.push(double);
            }
            _ => fields[at].1 = piece.to_vec(),
        }
        if fields.is_empty() {
            break;
        }
    }
    Odd { uri: if c.below(8) > 0 { b"sip:bob@192.0.2.1" } else { piece }, fields, body: b"" }
}
