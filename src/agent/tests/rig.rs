//! One agent, and a peer made of text: every message is written out.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::invariants;
use crate::agent::{Agent, Origin, OutRequest, Outgoing, ResourceKey, Subscribe, Token};
use crate::config::Config;
use crate::event::Event;
use crate::flow::{Flow, StreamId};
use crate::id::{ResourceId, SubscriptionId, WatcherId};
use crate::package::Packages;
use crate::wire::{Message, StartLine, Transport};
use crate::{Failure, Instant, Seed};

pub(super) const ME: &str = "192.0.2.1:5060";
pub(super) const PEER: &str = "192.0.2.2:5060";

/// A request that the agent has sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) text: String,
    pub(super) request: OutRequest,
}

/// The answer that the agent gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) fields: String,
    pub(super) to_tag: Option<String>,
}

pub(super) struct Rig {
    pub(super) agent: Agent,
    pub(super) now: Instant,
    pub(super) events: Vec<Event>,
    pub(super) sent: Vec<Sent>,
    pub(super) abandoned: usize,
    /// Whether events are polled.
    pub(super) listening: bool,
    answers: Vec<(Token, Answered)>,
    next_token: u64,
}

pub(super) fn udp(remote: &str) -> Flow {
    Flow::udp(ME.parse().unwrap(), remote.parse().unwrap())
}

pub(super) fn tcp(remote: &str, stream: u64) -> Flow {
    Flow::stream(Transport::Tcp, ME.parse().unwrap(), remote.parse().unwrap(), StreamId(stream))
}

/// The value of a header field in a message's text.
pub(super) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    find_field(text, name).unwrap_or_else(|| panic!("no {name} in {text}"))
}

pub(super) fn find_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|config| config, Packages::standard())
    }

    pub(super) fn configured(configure: impl FnOnce(Config) -> Config) -> Self {
        Self::with(configure, Packages::standard())
    }

    pub(super) fn with(configure: impl FnOnce(Config) -> Config, packages: Packages) -> Self {
        let config =
            configure(Config::new("sip:me@192.0.2.1").unwrap().with_authentication(crate::Authentication::None));
        let mut agent = Agent::new(Arc::new(config), packages, &Seed([9; 32]), Instant::ZERO);
        for transport in [Transport::Udp, Transport::Tcp] {
            agent.add_local(transport, ME.parse().unwrap(), None, None).unwrap();
        }
        Self {
            agent,
            now: Instant::from_secs(1000),
            events: Vec::new(),
            sent: Vec::new(),
            abandoned: 0,
            listening: true,
            answers: Vec::new(),
            next_token: 0,
        }
    }

    /// Polls everything; the requests that came out.
    pub(super) fn drain(&mut self) -> Vec<Sent> {
        let first = self.sent.len();
        let mut head = Vec::new();
        let mut polls = 0;
        while let Some(out) = self.agent.poll_outgoing(self.now, &mut head) {
            polls += 1;
            assert!(polls < 200_000, "no end of output");
            let fields = String::from_utf8(core::mem::take(&mut head)).unwrap();
            match out {
                Outgoing::Request(request) => {
                    let text = format!("{fields}\r\n{}", String::from_utf8_lossy(&request.body));
                    self.sent.push(Sent { at: self.now, text, request });
                }
                Outgoing::Response(response) => {
                    let to_tag = response.to_tag.map(|tag| {
                        let mut out = Vec::new();
                        tag.write(&mut out);
                        String::from_utf8(out).unwrap()
                    });
                    let answered = Answered { status: response.status.as_u16(), fields, to_tag };
                    self.answers.push((response.token, answered));
                }
                Outgoing::Abandon(_) => self.abandoned += 1,
            }
        }
        if self.listening {
            while let Some(event) = self.agent.poll_event() {
                self.events.push(event);
            }
        }
        invariants::check(&self.agent);
        self.sent[first..].to_vec()
    }

    /// Lets time pass: every timer fires at its moment. The requests sent.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let first = self.sent.len();
        let end = self.now + time;
        self.drain();
        let mut wakes = 0;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < 200_000, "it spins at {at:?}: {:?}", self.agent.next_timer());
            self.now = at.max(self.now);
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.sent[first..].to_vec()
    }

    /// A request comes in; its answer, if there is one at once.
    pub(super) fn try_receive(&mut self, flow: Flow, text: &str) -> Option<Answered> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let message = Message::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        let method = message.method().unwrap();
        let _ = self.agent.handle_request(self.now, &Origin::new(flow), &method, token, &message);
        self.drain();
        self.answer_of(token)
    }

    fn answer_of(&mut self, token: Token) -> Option<Answered> {
        let mut found = self.answers.iter().filter(|(t, _)| *t == token).map(|(_, a)| a.clone());
        let first = found.next();
        assert!(found.next().is_none(), "answered twice");
        first
    }

    pub(super) fn receive(&mut self, flow: Flow, text: &str) -> Answered {
        self.try_receive(flow, text).expect("an answer at once")
    }

    /// The peer answers a request of ours.
    pub(super) fn respond(&mut self, sent: &Sent, status: u16, extra: &str) {
        let to = field(&sent.text, "To");
        let to = if to.contains(";tag=") { to.to_string() } else { format!("{to};tag=peer") };
        self.respond_as(sent, status, &to, extra);
    }

    pub(super) fn respond_as(&mut self, sent: &Sent, status: u16, to: &str, extra: &str) {
        let text = format!(
            "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP {ME};branch=z9hG4bK1\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}Content-Length: 0\r\n\r\n",
            field(&sent.text, "From"),
            field(&sent.text, "Call-ID"),
            field(&sent.text, "CSeq"),
        );
        let message = Message::parse(text.as_bytes()).unwrap();
        let StartLine::Response { status, .. } = message.start_line() else { panic!() };
        self.agent.handle_response(self.now, sent.request.id, status, &message);
        self.drain();
    }

    pub(super) fn fail(&mut self, sent: &Sent, why: Failure) {
        self.agent.handle_no_response(self.now, sent.request.id, why);
        self.drain();
    }

    /// A NOTIFY of the dialog that a SUBSCRIBE of ours asked for.
    pub(super) fn notify(&mut self, subscribe: &Sent, tag: &str, cseq: u32, state: &str) -> Answered {
        let text = notify_text(subscribe, tag, cseq, state, "", "");
        self.receive(udp(PEER), &text)
    }

    pub(super) fn subscribe(&mut self, request: Subscribe) -> (SubscriptionId, Sent) {
        let id = self.agent.subscribe(self.now, request).unwrap();
        let sent = self.drain();
        assert_eq!(sent.len(), 1);
        (id, sent[0].clone())
    }

    /// Subscribed, answered, and told `active`.
    pub(super) fn established(&mut self, request: Subscribe) -> (SubscriptionId, Sent) {
        let (id, sent) = self.subscribe(request);
        self.respond(&sent, 200, "Expires: 3600\r\n");
        assert_eq!(self.notify(&sent, "peer", 1, "active;expires=3600").status, 200);
        (id, sent)
    }

    pub(super) fn resource(&mut self, uri: &str) -> ResourceId {
        self.agent.add_resource(&ResourceKey::new(uri, "presence").unwrap()).unwrap()
    }

    /// The undecided SUBSCRIBE that was told of last.
    pub(super) fn incoming(&self) -> crate::IncomingId {
        let found = self.events.iter().rev().find_map(|event| match event {
            Event::Subscribe(id) => Some(*id),
            _ => None,
        });
        found.expect("a SUBSCRIBE to decide on")
    }

    /// Somebody subscribes on `flow` and is accepted.
    pub(super) fn watched(&mut self, flow: Flow, call_id: &str) -> Peer {
        let peer = Peer { flow, call_id: call_id.to_string(), cseq: 1, tag: None, contact: "sip:w@192.0.2.2".into() };
        assert_eq!(self.try_receive(flow, &peer.subscribe(3600, "")), None);
        let id = self.agent.accept(self.now, self.incoming(), crate::Decision::ACCEPT).unwrap();
        self.drain();
        let tag = self.answers.last().and_then(|(_, answered)| answered.to_tag.clone());
        let mut peer = peer;
        peer.tag = tag;
        let _: WatcherId = id;
        peer
    }
}

/// A watcher, as the far end sees itself.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) flow: Flow,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) tag: Option<String>,
    pub(super) contact: String,
}

impl Peer {
    pub(super) fn subscribe(&self, expires: u32, extra: &str) -> String {
        let (uri, tag) = match &self.tag {
            Some(tag) => ("sip:me@192.0.2.1:5060", format!(";tag={tag}")),
            None => ("sip:me@192.0.2.1", String::new()),
        };
        format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{}{}\r\nMax-Forwards: 70\r\nFrom: <sip:w@192.0.2.2>;tag=w{}\r\nTo: <sip:me@192.0.2.1>{tag}\r\nCall-ID: {}\r\nCSeq: {} SUBSCRIBE\r\nContact: <{}>\r\nEvent: presence\r\nExpires: {expires}\r\n{extra}Content-Length: 0\r\n\r\n",
            self.call_id, self.cseq, self.call_id, self.call_id, self.cseq, self.contact,
        )
    }

    /// The next SUBSCRIBE of the dialog.
    pub(super) fn refresh(&mut self, expires: u32) -> String {
        self.cseq += 1;
        self.subscribe(expires, "")
    }
}

pub(super) fn notify_text(subscribe: &Sent, tag: &str, cseq: u32, state: &str, extra: &str, body: &str) -> String {
    let event = field(&subscribe.text, "Event");
    notify_with_event(subscribe, tag, cseq, event, state, extra, body)
}

pub(super) fn notify_with_event(
    subscribe: &Sent,
    tag: &str,
    cseq: u32,
    event: &str,
    state: &str,
    extra: &str,
    body: &str,
) -> String {
    let from = field(&subscribe.text, "From");
    let to = field(&subscribe.text, "To").split(";tag=").next().unwrap();
    format!(
        "NOTIFY sip:me@{ME} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKn{cseq}\r\nMax-Forwards: 70\r\nFrom: {to};tag={tag}\r\nTo: {from}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:{tag}@192.0.2.2>\r\nEvent: {event}\r\nSubscription-State: {state}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        field(&subscribe.text, "Call-ID"),
        body.len(),
    )
}
