//! Two endpoints and a network without loss between them, or one of them and a
//! peer made of text.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::digest::{Algorithm, Credentials, Secret, Settings, UserStore};
use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Seed, StateSet, Subscribe, SubscriptionId,
};

pub const CLIENT: &str = "192.0.2.1:5060";
pub const SERVER: &str = "192.0.2.2:5060";
pub const REALM: &str = "example.com";
pub const BOB: &str = "sip:bob@192.0.2.2";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The value of a header field, if it is there.
pub fn field<'a>(bytes: &'a [u8], name: &str) -> Option<&'a str> {
    text(bytes).split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub fn fields<'a>(bytes: &'a [u8], name: &str) -> Vec<&'a str> {
    text(bytes).split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

/// The value of a parameter of a challenge or answer, without quotes.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let value = value.strip_prefix("Digest ").unwrap_or(value);
    value.split(", ").find_map(|param| param.strip_prefix(name)?.strip_prefix('=')).map(|v| v.trim_matches('"'))
}

pub fn is(bytes: &[u8], start: &str) -> bool {
    bytes.starts_with(start.as_bytes())
}

#[derive(Debug)]
pub struct Users(pub HashMap<&'static str, &'static str>);

impl UserStore for Users {
    fn secret(&self, user: &[u8], _hashed: bool, realm: &str, _algorithm: Algorithm) -> Option<Secret> {
        assert_eq!(realm, REALM);
        self.0.get(text(user)).map(Secret::password)
    }
}

pub fn settings() -> Settings {
    Settings::new(REALM).unwrap()
}

/// With `alice` and `carol` at hand.
pub fn with_users() -> Settings {
    settings().users(Arc::new(Users(HashMap::from([("alice", "secret"), ("carol", "other")]))))
}

pub fn alice() -> Credentials {
    Credentials::new("alice", Secret::password("secret")).unwrap()
}

pub fn bob() -> Subscribe {
    Subscribe::new(BOB, "presence").unwrap().expires(600)
}

/// One endpoint, its clock, and what it told.
pub struct Host {
    pub endpoint: Endpoint,
    pub local: SocketAddr,
    pub now: Instant,
    pub events: Vec<Event>,
    /// What it sent, ever.
    pub sent: Vec<Vec<u8>>,
}

impl Host {
    pub fn new(config: Config, local: &str, seed: u8) -> Self {
        Self::made(config, Packages::standard(), local, seed)
    }

    pub fn made(config: Config, packages: Packages, local: &str, seed: u8) -> Self {
        let now = Instant::from_secs(1000);
        let mut endpoint = Endpoint::new(Arc::new(config), packages, &Seed([seed; 32]), now);
        endpoint.add_local(Transport::Udp, addr(local), None, None).unwrap();
        Self { endpoint, local: addr(local), now, events: Vec::new(), sent: Vec::new() }
    }

    /// A subscriber.
    pub fn client() -> Self {
        Self::new(Config::new("sip:alice@192.0.2.1").unwrap(), CLIENT, 1)
    }

    /// A notifier that authenticates, with `bob`.
    pub fn server(settings: Settings) -> Self {
        Self::seeded_server(settings, 2)
    }

    pub fn seeded_server(settings: Settings, seed: u8) -> Self {
        let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(settings.into());
        let mut host = Self::new(config, SERVER, seed);
        host.endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
        host
    }

    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        loop {
            let before = (sent.len(), self.events.len());
            let mut head = Vec::new();
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut head) {
                transmit.append_body(&mut head);
                sent.push(std::mem::take(&mut head));
            }
            while let Some(event) = self.endpoint.poll_event() {
                self.events.push(event);
            }
            if before == (sent.len(), self.events.len()) {
                break;
            }
        }
        self.sent.extend(sent.iter().cloned());
        sent
    }

    pub fn feed(&mut self, from: &str, message: &[u8]) -> Vec<Vec<u8>> {
        let _ = self.endpoint.handle_message(self.now, Flow::udp(self.local, addr(from)), message);
        self.drain()
    }

    /// Lets time pass; what was sent.
    pub fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = self.drain();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }

    pub fn subscribe(&mut self, request: Subscribe) -> (SubscriptionId, Vec<u8>) {
        let id = self.endpoint.subscribe(self.now, request).unwrap();
        let mut sent = self.drain();
        assert_eq!(sent.len(), 1);
        (id, sent.remove(0))
    }

    /// The peer's response to a request of this endpoint.
    pub fn respond(&mut self, request: &[u8], status: &str, extra: &str) -> Vec<Vec<u8>> {
        let message = Message::parse(request).unwrap();
        let mut out = format!("SIP/2.0 {status}\r\n");
        for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            let value = text(message.field(name, 0).unwrap());
            let tag = if name == HeaderName::To && !value.contains("tag=") { ";tag=theirs" } else { "" };
            out += &format!("{name}: {value}{tag}\r\n");
        }
        out += &format!("{extra}Content-Length: 0\r\n\r\n");
        self.feed(SERVER, out.as_bytes())
    }

    pub fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| what(event)).count()
    }
}

/// What a message passes through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// The `qop` that challenges have; nothing for none.
    pub qop: &'static str,
    /// Challenges are a proxy's.
    pub proxy: bool,
}

/// A subscriber and a notifier.
pub struct Pair {
    pub client: Host,
    pub server: Host,
    /// Whether the notifier accepts whoever asks.
    pub accept: bool,
    /// What the way between them makes of a message.
    pub way: fn(&Way, &[u8]) -> Vec<u8>,
    pub means: Way,
    pub log: Vec<Vec<u8>>,
}

impl Pair {
    pub fn new(settings: Settings) -> Self {
        Self {
            client: Host::client(),
            server: Host::server(settings),
            accept: true,
            way: |_, message| message.to_vec(),
            means: Way::default(),
            log: Vec::new(),
        }
    }

    fn carry_up(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let message = (self.way)(&self.means, message);
        self.server.feed(CLIENT, &message)
    }

    fn carry_down(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let message = (self.way)(&self.means, message);
        self.client.feed(SERVER, &message)
    }

    /// Carries messages until nobody has any. Those carried.
    pub fn settle(&mut self) -> Vec<Vec<u8>> {
        let first = self.log.len();
        loop {
            // What goes to the server, and what goes to the client.
            let mut under_way: VecDeque<_> = self.client.drain().into_iter().map(|message| (true, message)).collect();
            under_way.extend(self.server.drain().into_iter().map(|message| (false, message)));
            if self.accept {
                under_way.extend(self.decide().into_iter().map(|message| (false, message)));
            }
            if under_way.is_empty() {
                return self.log[first..].to_vec();
            }
            while let Some((up, message)) = under_way.pop_front() {
                let answers = if up { self.carry_up(&message) } else { self.carry_down(&message) };
                self.log.push(message);
                under_way.extend(answers.into_iter().map(|answer| (!up, answer)));
            }
        }
    }

    fn decide(&mut self) -> Vec<Vec<u8>> {
        let asked: Vec<_> = self
            .server
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Subscribe(id) => Some(*id),
                _ => None,
            })
            .collect();
        self.server.events.retain(|event| !matches!(event, Event::Subscribe(_)));
        for id in asked {
            self.server.endpoint.accept(self.server.now, id, Decision::ACCEPT).unwrap();
        }
        self.server.drain()
    }

    pub fn subscribe(&mut self, request: Subscribe) -> (SubscriptionId, Vec<Vec<u8>>) {
        let id = self.client.endpoint.subscribe(self.client.now, request).unwrap();
        (id, self.settle())
    }

    /// Lets time pass for both; what was carried.
    pub fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let first = self.log.len();
        let end = self.client.now + time;
        self.settle();
        loop {
            let next = [&self.client, &self.server].into_iter().filter_map(|host| host.endpoint.poll_timeout()).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            for host in [&mut self.client, &mut self.server] {
                host.now = at.max(host.now);
                host.endpoint.handle_timeout(host.now);
            }
            self.settle();
        }
        self.client.now = end;
        self.server.now = end;
        self.log[first..].to_vec()
    }
}

/// What starts so, in order.
pub fn those<'a>(log: &'a [Vec<u8>], start: &str) -> Vec<&'a [u8]> {
    log.iter().map(Vec::as_slice).filter(|message| is(message, start)).collect()
}

pub fn set_state(host: &mut Host, body: &str) -> StateSet {
    let resource = host.endpoint.resources().next().unwrap();
    host.endpoint.set_state(host.now, resource, sip_events::Body::new("application/pidf+xml", body.to_owned())).unwrap()
}
