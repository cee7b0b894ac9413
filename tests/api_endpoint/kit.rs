//! An endpoint under a virtual clock, and messages to feed it with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Authentication, Config, Decision, Endpoint, Event, Flow, Handled, Instant, Io, Packages, ResourceKey, Seed,
    StreamId, Subscribe, TransmitId, View,
};

pub const LOCAL: &str = "192.0.2.1:5060";
pub const PEER: &str = "198.51.100.7:5080";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn peer() -> Flow {
    Flow::udp(addr(LOCAL), addr(PEER))
}

pub fn stream(id: u64, remote: &str) -> Flow {
    Flow::stream(Transport::Tcp, addr(LOCAL), addr(remote), StreamId(id))
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub id: TransmitId,
    pub flow: Flow,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub fn status(&self) -> u16 {
        self.message().status().unwrap().as_u16()
    }

    pub fn field(&self, name: HeaderName<'_>) -> &str {
        std::str::from_utf8(self.message().field(name, 0).unwrap()).unwrap()
    }

    pub fn branch(&self) -> String {
        let via = self.field(HeaderName::Via);
        via.split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned()
    }

    /// A response to this request, as its server would send it.
    pub fn answer(&self, status: &str, fields: &str) -> Vec<u8> {
        let message = self.message();
        let mut out = format!("SIP/2.0 {status}\r\n");
        for (label, name) in [
            ("Via", HeaderName::Via),
            ("From", HeaderName::From),
            ("To", HeaderName::To),
            ("Call-ID", HeaderName::CallId),
            ("CSeq", HeaderName::CSeq),
        ] {
            let value = std::str::from_utf8(message.field(name, 0).unwrap()).unwrap();
            let tag = if label == "To" && !value.contains("tag=") { ";tag=theirs" } else { "" };
            out += &format!("{label}: {value}{tag}\r\n");
        }
        (out + fields + "Content-Length: 0\r\n\r\n").into_bytes()
    }
}

/// An endpoint and the moment it lives in.
pub struct Kit {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub events: Vec<Event>,
}

impl Kit {
    pub fn new() -> Self {
        Self::with(Config::new("sip:me@192.0.2.1").unwrap().user_agent("kit/1").unwrap())
    }

    /// UDP and TCP on the same port.
    pub fn with(config: Config) -> Self {
        let mut kit = Self::bare(config);
        for transport in [Transport::Udp, Transport::Tcp] {
            kit.endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
        }
        kit
    }

    pub fn bare(config: Config) -> Self {
        let now = Instant::from_secs(1000);
        let config = config.with_authentication(Authentication::None);
        let endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), now);
        Self { endpoint, now, events: Vec::new() }
    }

    /// With a resource `sip:bob@192.0.2.1` under `presence`.
    pub fn notifier() -> Self {
        let mut kit = Self::new();
        kit.add_bob();
        kit
    }

    pub fn add_bob(&mut self) {
        self.endpoint.add_resource(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap();
    }

    /// Polls until there is nothing left.
    pub fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let before = (sent.len(), self.events.len());
            let mut head = b"kept".to_vec();
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut head) {
                assert_eq!(head.len(), 4 + transmit.head_len, "it appends");
                transmit.append_body(&mut head);
                sent.push(Sent { id: transmit.id, flow: transmit.flow, bytes: head.split_off(4) });
            }
            while let Some(event) = self.endpoint.poll_event() {
                self.events.push(event);
            }
            if before == (sent.len(), self.events.len()) {
                break;
            }
        }
        assert!(self.endpoint.poll_timeout().is_none_or(|at| at > self.now), "nothing is due after a drain");
        sent
    }

    pub fn receive(&mut self, flow: Flow, message: impl AsRef<[u8]>) -> (Handled, Vec<Sent>) {
        let handled = self.endpoint.handle_message(self.now, flow, message.as_ref());
        (handled, self.drain())
    }

    /// The same, when only what is sent matters.
    pub fn feed(&mut self, flow: Flow, message: impl AsRef<[u8]>) -> Vec<Sent> {
        self.receive(flow, message).1
    }

    /// The one answer to `message`.
    pub fn answer(&mut self, flow: Flow, message: impl AsRef<[u8]>) -> Sent {
        let mut sent = self.feed(flow, message);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.pop().unwrap()
    }

    /// Lets time pass, wake-up by wake-up; what was sent, with the time since
    /// the start of the call.
    pub fn run(&mut self, time: Duration) -> Vec<(Duration, Sent)> {
        let (start, end) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "a wake-up in the past");
            self.now = at;
            self.endpoint.handle_timeout(at);
            sent.extend(self.drain().into_iter().map(|s| (at - start, s)));
        }
        self.now = end;
        sent
    }

    pub fn run_millis(&mut self, millis: u64) -> Vec<(Duration, Sent)> {
        self.run(Duration::from_millis(millis))
    }

    /// The driver's work asked for since the last call.
    pub fn io(&mut self) -> Vec<Io> {
        let events = std::mem::take(&mut self.events);
        events
            .into_iter()
            .filter_map(|event| match event {
                Event::Io(io) => Some(io),
                other => {
                    self.events.push(other);
                    None
                }
            })
            .collect()
    }

    pub fn subscribe(&mut self, request: Subscribe) -> Vec<Sent> {
        self.endpoint.subscribe(self.now, request).unwrap();
        self.drain()
    }

    /// Accepts every SUBSCRIBE that waits.
    pub fn accept_all(&mut self) -> Vec<Sent> {
        let waiting = |event: &Event| match event {
            Event::Subscribe(id) => Some(*id),
            _ => None,
        };
        for id in self.events.iter().filter_map(waiting).collect::<Vec<_>>() {
            let decision = Decision::Active { expires: None, view: View::default() };
            self.endpoint.accept(self.now, id, decision).unwrap();
        }
        self.events.retain(|event| waiting(event).is_none());
        self.drain()
    }
}

/// A request to be varied.
pub struct Request {
    pub method: &'static str,
    pub uri: &'static str,
    pub via: String,
    pub from: &'static str,
    pub to: &'static str,
    pub call_id: &'static str,
    pub cseq: String,
    pub more: &'static str,
}

impl Request {
    pub fn new(method: &'static str, branch: &str) -> Self {
        Self {
            method,
            uri: "sip:bob@192.0.2.1",
            via: format!("SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK{branch}"),
            from: "<sip:alice@example.com>;tag=a1",
            to: "<sip:bob@192.0.2.1>",
            call_id: "c1@198.51.100.7",
            cseq: format!("1 {method}"),
            more: "",
        }
    }

    pub fn subscribe(branch: &str) -> Self {
        Self {
            more: "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\nExpires: 600\r\n",
            ..Self::new("SUBSCRIBE", branch)
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, uri, via, from, to, call_id, cseq, more } = self;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }
}

impl From<&Request> for Vec<u8> {
    fn from(request: &Request) -> Self {
        request.bytes()
    }
}
