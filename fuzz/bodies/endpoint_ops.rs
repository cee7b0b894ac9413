//! Up to 200 hostile messages, timers, cuts and commands against one endpoint,
//! with what must hold after each of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::package::Reject;
use sip_events::wire::{HeaderName, Message, StatusCode, Transport, read};
use sip_events::{
    Answer, Body, Close, Config, ConnectFailure, Decision, Delivery, Endpoint, Event, Flow, IncomingId, Instant, Io,
    Limits, NotifyTimeout, Packages, Reason, ResolveFailure, ResourceKey, Scope, Seed, StreamId, Subscribe,
    SubscriptionId, TransmitId, UnknownResource, View, WatcherId,
};

use super::choices::Choices;
use super::witness::Witness;

const LOCAL: &str = "192.0.2.1:5060";
const PEERS: [&str; 4] = ["198.51.100.7:5080", "198.51.100.8:5060", "203.0.113.9:5060", "[2001:db8::7]:5060"];
const BOB: &str = "sip:bob@192.0.2.1";
const STEPS: usize = 200;
/// No step may cause more than this many messages.
const BURST: usize = 160;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.subscriptions = 8;
    limits.forks = 3;
    limits.watchers = 8;
    limits.watchers_per_resource = 6;
    limits.resources = 4;
    limits.incoming = 4;
    limits.events = 32;
    limits.flows = 12;
    limits.body = 600;
    limits.dialog = 700;
    limits.server_transactions = 24;
    limits.client_transactions = 12;
    limits.streams = 3;
    limits.stream_head = 1500;
    limits.notify_window = 6;
    limits.notify_window_per_flow = 3;
    limits.timers_per_wakeup = 16;
    limits.resolved = 4;
    limits
}

/// A request that the endpoint has sent, and which may be answered.
#[derive(Clone)]
struct Ours {
    id: TransmitId,
    bytes: Vec<u8>,
    flow: Flow,
}

#[derive(Clone)]
struct World {
    endpoint: Endpoint,
    now: Instant,
    requests: Vec<Ours>,
    /// To tags that the endpoint gave.
    tags: Vec<Vec<u8>>,
    incoming: Vec<IncomingId>,
    watchers: Vec<WatcherId>,
    subscriptions: Vec<SubscriptionId>,
    io: Vec<Io>,
    open: Vec<StreamId>,
    /// Streams on which it is not known where messages begin.
    blurred: Vec<StreamId>,
    witness: Witness,
    compared: u64,
    serial: u32,
    closed: bool,
    drained: bool,
    dead_watchers: BTreeSet<u64>,
    dead_subscriptions: BTreeSet<u64>,
    /// CSeq of the latest NOTIFY told, by subscription.
    told: BTreeMap<u64, u32>,
    /// CSeq and whole of the latest NOTIFY sent, by From tag; `over` once it said terminated.
    notified: BTreeMap<Vec<u8>, (u32, bool)>,
}

/// One sequence.
pub(crate) fn endpoint_ops(data: &[u8]) {
    compared(data);
}

/// The same, and how often something was compared with the reference model.
pub(crate) fn compared(data: &[u8]) -> u64 {
    thread_local! {
        static PREPARED: RefCell<Vec<World>> = const { RefCell::new(Vec::new()) };
    }
    let mut c = Choices(data);
    let start = c.below(4);
    let mut world = PREPARED.with_borrow_mut(|prepared| {
        if prepared.is_empty() {
            prepared.extend((0..4).map(prepare));
        }
        prepared[start].clone()
    });
    let mut steps = 0;
    while !c.is_empty() && steps < STEPS {
        steps += 1;
        world.step(&mut c);
        world.drain();
        world.check();
    }
    world.wind_down();
    world.compared
}

/// The endpoints that sequences begin with: empty; with a watcher; with a
/// subscription; with both, over a stream, under the other policies.
fn prepare(kind: usize) -> World {
    let mut config = Config::new("sip:me@192.0.2.1")
        .unwrap()
        .with_authentication(sip_events::Authentication::None)
        .user_agent("fuzz")
        .unwrap()
        .with_limits(limits());
    if kind == 3 {
        config.policy.unknown_resource = UnknownResource::Ask;
        config.policy.notify_timeout = NotifyTimeout::Keep;
        config.policy.delivery = Delivery::Flow;
    }
    let now = Instant::from_secs(1000);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([5; 32]), now);
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
    }
    let bob = endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    endpoint.set_state(now, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
    let mut world = World {
        endpoint,
        now,
        requests: Vec::new(),
        tags: Vec::new(),
        incoming: Vec::new(),
        watchers: Vec::new(),
        subscriptions: Vec::new(),
        io: Vec::new(),
        open: Vec::new(),
        blurred: Vec::new(),
        witness: Witness::default(),
        compared: 0,
        serial: 0,
        closed: false,
        drained: false,
        dead_watchers: BTreeSet::new(),
        dead_subscriptions: BTreeSet::new(),
        told: BTreeMap::new(),
        notified: BTreeMap::new(),
    };
    if kind == 3 {
        world.open_stream();
    }
    if kind & 1 == 1 {
        let head = "SUBSCRIBE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKp\r\n\
                    Max-Forwards: 70\r\nFrom: <sip:ann@example.com>;tag=f0\r\nTo: <sip:bob@192.0.2.1>\r\nCall-ID: c0\r\n\
                    CSeq: 1 SUBSCRIBE\r\nContact: <sip:ann@198.51.100.7:5080>\r\nEvent: presence\r\nExpires: 600\r\n\
                    Content-Length: 0\r\n\r\n";
        world.datagram(0, head.as_bytes(), true);
        world.drain();
        world.decide(0);
        world.drain();
    }
    if kind & 2 == 2 {
        let request = Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600);
        let id = world.endpoint.subscribe(now, request).unwrap();
        world.subscriptions.push(id);
        world.drain();
    }
    world.check();
    world
}

impl World {
    /// `ours` is a message as it was written here, not damaged.
    fn datagram(&mut self, peer: usize, bytes: &[u8], ours: bool) {
        self.witness.delivered(self.now, bytes, ours, false);
        let flow = Flow::udp(addr(LOCAL), addr(PEERS[peer % PEERS.len()]));
        let _ = self.endpoint.handle_message(self.now, flow, bytes);
    }

    fn open_stream(&mut self) {
        self.serial += 1;
        let stream = StreamId(u64::from(self.serial));
        let connect = self.io.iter().find_map(|io| match io {
            Io::Connect { connect, transport, remote, .. } => Some((*connect, *transport, *remote)),
            _ => None,
        });
        let (connect, flow) = match connect {
            Some((id, transport, remote)) => (Some(id), Flow::stream(transport, addr(LOCAL), remote, stream)),
            None => (None, Flow::stream(Transport::Tcp, addr(LOCAL), addr("198.51.100.7:40000"), stream)),
        };
        self.io.retain(|io| !matches!(io, Io::Connect { connect: id, .. } if Some(*id) == connect));
        if self.endpoint.handle_stream_opened(self.now, connect, flow).is_ok() {
            self.open.push(stream);
        }
    }

    fn decide(&mut self, choice: u8) {
        let Some(id) = self.incoming.pop() else { return };
        let decision = match choice % 4 {
            0 | 1 => Decision::ACCEPT,
            2 => Decision::PENDING,
            _ => Decision::Active { expires: Some(5), view: View(1) },
        };
        let now = self.now;
        match self.endpoint.accept(now, id, decision) {
            Ok(watcher) => {
                let _ = self.endpoint.report_delivery(watcher, choice & 8 == 8);
                self.watchers.push(watcher);
            }
            Err(_) => {
                let _ = self.endpoint.reject(now, id, Reject::new(StatusCode::FORBIDDEN));
            }
        }
    }

    fn step(&mut self, c: &mut Choices<'_>) {
        match c.below(24) {
            0..=3 => {
                let bytes = self.subscribe_text(c);
                self.deliver(c, &bytes, true);
            }
            4..=7 => {
                let bytes = self.notify_text(c);
                self.deliver(c, &bytes, true);
            }
            8..=11 => {
                if let Some(bytes) = self.answer_text(c) {
                    self.deliver(c, &bytes, true);
                }
            }
            12 => {
                let piece = c.piece().to_vec();
                self.deliver(c, &piece, false);
            }
            13 | 14 => {
                let choice = c.byte();
                self.decide(choice);
            }
            15..=17 => {
                let at = c.moment(self.now, self.endpoint.poll_timeout());
                self.endpoint.handle_timeout(at);
                self.now = self.now.max(at);
            }
            18 => self.stream_step(c),
            19 => self.driver_step(c),
            20 | 21 => self.watcher_command(c),
            22 => self.subscription_command(c),
            _ => self.resource_command(c),
        }
    }

    /// As a datagram, or cut in two on a stream; now and then damaged.
    fn deliver(&mut self, c: &mut Choices<'_>, bytes: &[u8], ours: bool) {
        let mut bytes = bytes.to_vec();
        let how = c.byte();
        let mut ours = ours;
        if how & 0x70 == 0x70 && !bytes.is_empty() {
            ours = false;
            let at = usize::from(c.byte()) * 3 % bytes.len();
            match c.below(3) {
                0 => bytes[at] = c.byte(),
                1 => bytes.truncate(at),
                _ => {
                    let piece = c.piece().to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if how & 0x0c == 0x0c && !self.open.is_empty() {
            let stream = self.open[usize::from(how) % self.open.len()];
            let cut = usize::from(c.byte()) * 4 % (bytes.len() + 1);
            if ours && !self.blurred.contains(&stream) {
                self.witness.delivered(self.now, &bytes, true, true);
            } else {
                self.blur(stream);
            }
            for part in [&bytes[..cut], &bytes[cut..]] {
                if self.endpoint.handle_stream(self.now, stream, part).is_err() {
                    return;
                }
            }
        } else {
            self.datagram(usize::from(how), &bytes, ours);
        }
    }

    fn blur(&mut self, stream: StreamId) {
        self.witness.unsure(self.now);
        if !self.blurred.contains(&stream) {
            self.blurred.push(stream);
        }
    }

    fn branch(&mut self, c: &mut Choices<'_>) -> u32 {
        if c.below(8) > 0 {
            self.serial += 1;
        }
        self.serial
    }

    fn subscribe_text(&mut self, c: &mut Choices<'_>) -> Vec<u8> {
        const EVENTS: [&str; 10] = [
            "Event: presence\r\n",
            "o: presence\r\n",
            "Event: presence;id=7\r\n",
            "Event: message-summary\r\n",
            "Event: presence\r\nEvent: presence\r\n",
            "",
            "Event: \r\n",
            "Event: unheard.of\r\n",
            "Event: presence.winfo\r\n",
            "Event: presence\r\n ;id=7\r\n",
        ];
        const CONTACTS: [&str; 10] = [
            "Contact: <sip:ann@198.51.100.7:5080>\r\n",
            "Contact: <sip:ann@198.51.100.8>\r\n",
            "Contact: <sip:ann@victim.example>\r\n",
            "Contact: <sips:ann@198.51.100.7>\r\n",
            "Contact: <sip:ann@198.51.100.7;transport=tcp>\r\n",
            "",
            "Contact: *\r\n",
            "Contact: <tel:+1>\r\n",
            "m: <sip:a@198.51.100.7>, <sip:b@198.51.100.7>\r\n",
            "Contact: <sip:ann@198.51.100.7:5080>\r\nRecord-Route: <sip:198.51.100.9;lr>\r\n",
        ];
        let branch = self.branch(c);
        let uri = c.of(&[
            BOB,
            "sip:bob@192.0.2.1",
            "sip:carol@192.0.2.1",
            "sip:%62ob@192.0.2.1",
            "tel:1",
            "sip:me@192.0.2.1",
        ]);
        let tag = match c.below(3) {
            0 if !self.tags.is_empty() => {
                let tag = self.tags[c.below(self.tags.len())].clone();
                format!(";tag={}", String::from_utf8_lossy(&tag))
            }
            1 => ";tag=w0000000000000000".to_owned(),
            _ => String::new(),
        };
        let (call, from, cseq) = (c.below(4), c.below(3), c.number());
        let (event, contact) = (c.of(&EVENTS), c.of(&CONTACTS));
        let expires = match c.below(5) {
            0 => String::new(),
            1 => "Expires: 0\r\n".to_owned(),
            2 => "Expires: 600\r\n".to_owned(),
            3 => "Expires: 18446744073709551617\r\n".to_owned(),
            _ => format!("Expires: {}\r\n", c.number()),
        };
        let more = c.of(&[
            "",
            "",
            "",
            "Accept: text/plain\r\n",
            "Require: eventlist\r\n",
            "Max-Forwards: 0\r\n",
            "Timestamp: 7 \r\n",
            "Content-Type: text/plain\r\n",
        ]);
        format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKs{branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:ann@example.com>;tag=f{from}\r\nTo: <sip:bob@192.0.2.1>{tag}\r\nCall-ID: c{call}\r\n\
             CSeq: {cseq} SUBSCRIBE\r\n{contact}{event}{expires}{more}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// A NOTIFY for one of our own SUBSCRIBEs.
    fn notify_text(&mut self, c: &mut Choices<'_>) -> Vec<u8> {
        const STATES: [&str; 12] = [
            "Subscription-State: active;expires=600\r\n",
            "Subscription-State: active\r\n",
            "Subscription-State: pending;expires=60\r\n",
            "Subscription-State: terminated;reason=timeout\r\n",
            "Subscription-State: terminated;reason=probation;retry-after=4294967296\r\n",
            "Subscription-State: terminated;reason=rejected\r\n",
            "Subscription-State: terminated\r\n",
            "Subscription-State: active;expires=4294967296\r\n",
            "Subscription-State: active;expires=0\r\n",
            "Subscription-State: floating;expires=-1\r\n",
            "Subscription-State:\r\n",
            "",
        ];
        let branch = self.branch(c);
        let subscribes: Vec<&Ours> = self.requests.iter().filter(|r| r.bytes.starts_with(b"SUBSCRIBE")).collect();
        let known = subscribes.get(c.below(subscribes.len())).and_then(|ours| {
            let message = Message::scan(&ours.bytes).ok()?;
            let text = |name| message.field(name, 0).map(|v| String::from_utf8_lossy(v).into_owned());
            Some((text(HeaderName::From)?, text(HeaderName::To)?, text(HeaderName::CallId)?, text(HeaderName::Event)?))
        });
        let (to, from, call, event) = known.unwrap_or_else(|| {
            ("<sip:me@192.0.2.1>;tag=s0000000000000000".into(), "<sip:bob@x>".into(), "none".into(), "presence".into())
        });
        let from = from.split(";tag=").next().unwrap_or_default().to_owned();
        let event = match c.below(6) {
            0 => String::new(),
            1 => "Event: message-summary\r\n".to_owned(),
            _ => format!("Event: {event}\r\n"),
        };
        let (tag, cseq) = (c.below(5), if c.yes() { self.serial } else { c.number() });
        let state = c.of(&STATES);
        let contact = c.of(&[
            "Contact: <sip:n@198.51.100.7:5080>\r\n",
            "Contact: <sip:n@198.51.100.8>\r\n",
            "",
            "Contact: *\r\n",
        ]);
        let (types, body) = c.of(&[
            ("", ""),
            ("Content-Type: application/pidf+xml\r\n", "<x/>"),
            ("Content-Type: text/plain\r\n", "x"),
            ("Content-Encoding: gzip\r\nContent-Type: application/pidf+xml\r\n", "x"),
            ("", "x"),
        ]);
        format!(
            "NOTIFY sip:me@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKn{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from};tag=n{tag}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} NOTIFY\r\n\
             {contact}{event}{state}{types}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// A response to one of our own requests.
    fn answer_text(&mut self, c: &mut Choices<'_>) -> Option<Vec<u8>> {
        const STATUS: [u16; 24] = [
            200, 200, 200, 202, 204, 100, 180, 300, 302, 400, 401, 403, 404, 407, 408, 412, 423, 481, 489, 491, 500,
            503, 603, 699,
        ];
        const FIELDS: [&str; 9] = [
            "Expires: 600\r\nContact: <sip:n@198.51.100.7:5080>\r\n",
            "Expires: 600\r\nContact: <sip:n@198.51.100.7:5080>\r\n",
            "Expires: 0\r\n",
            "Expires: 4294967295\r\nContact: *\r\n",
            "",
            "Retry-After: 4294967296\r\n",
            "Min-Expires: 4294967295\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n",
            "Contact: <sip:elsewhere@203.0.113.9>\r\nRetry-After: 1\r\n",
        ];
        let (which, status, fields, tag) = (c.byte(), c.of(&STATUS), c.of(&FIELDS), c.below(4));
        let ours = self.requests.get(usize::from(which) % self.requests.len().max(1))?;
        let message = Message::scan(&ours.bytes).ok()?;
        let mut out = format!("SIP/2.0 {status} x\r\n").into_bytes();
        let names = [
            ("Via: ", HeaderName::Via),
            ("From: ", HeaderName::From),
            ("To: ", HeaderName::To),
            ("Call-ID: ", HeaderName::CallId),
            ("CSeq: ", HeaderName::CSeq),
        ];
        for (label, name) in names {
            out.extend_from_slice(label.as_bytes());
            let value = message.field(name, 0)?;
            out.extend_from_slice(value);
            if name == HeaderName::To && !value.windows(5).any(|w| w == b";tag=") {
                out.extend_from_slice(format!(";tag=n{tag}").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(fields.as_bytes());
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        Some(out)
    }

    fn stream_step(&mut self, c: &mut Choices<'_>) {
        let which = c.byte();
        let known = self.open.get(usize::from(which >> 3) % self.open.len().max(1)).copied();
        match (which % 6, known) {
            (0 | 1, _) | (_, None) => self.open_stream(),
            (2, Some(stream)) => {
                let _ = self.endpoint.handle_stream_closed(self.now, stream);
                self.open.retain(|s| *s != stream);
            }
            (3, Some(stream)) => {
                let _ = self.endpoint.set_writable(self.now, stream, c.yes());
            }
            (4, Some(stream)) => {
                let piece = c.piece();
                self.blur(stream);
                let _ = self.endpoint.handle_stream(self.now, stream, piece);
            }
            (_, Some(stream)) => {
                let _ = self.endpoint.handle_stream(self.now, stream, b"\r\n\r\n");
            }
        }
    }

    /// The driver does, or fails to do, what it was asked for.
    fn driver_step(&mut self, c: &mut Choices<'_>) {
        let choice = c.byte();
        if choice & 3 == 3
            && let Some(ours) = self.requests.last()
        {
            let id = ours.id;
            self.endpoint.handle_transmit_failed(self.now, id);
            return;
        }
        let Some(io) = self.io.pop() else { return };
        let now = self.now;
        match io {
            Io::Resolve { query, .. } => {
                let ttl = c.duration();
                let found = ["203.0.113.9".parse().unwrap(), "2001:db8::7".parse().unwrap()];
                let answer = match choice >> 2 & 3 {
                    0 => Answer::Addresses { addresses: &found, ttl },
                    1 => Answer::Addresses { addresses: &[], ttl },
                    2 => Answer::Failed(ResolveFailure::Unavailable),
                    _ => Answer::Failed(ResolveFailure::NotSupported),
                };
                let _ = self.endpoint.handle_resolved(now, query, answer);
            }
            Io::Connect { connect, .. } if choice & 4 == 4 => {
                let _ = self.endpoint.handle_connect_failed(now, connect, ConnectFailure::Refused);
            }
            io @ Io::Connect { .. } => {
                self.io.push(io);
                self.open_stream();
            }
            Io::Close { stream } => {
                let _ = self.endpoint.handle_stream_closed(now, stream);
                self.open.retain(|s| *s != stream);
            }
            _ => {}
        }
    }

    fn watcher_command(&mut self, c: &mut Choices<'_>) {
        let choice = c.byte();
        let Some(id) = self.watchers.get(usize::from(choice >> 3) % self.watchers.len().max(1)).copied() else {
            return;
        };
        let now = self.now;
        let dead = self.dead_watchers.contains(&id.as_u64());
        let ok = match choice % 6 {
            0 => self.endpoint.approve(now, id).is_ok(),
            1 => self.endpoint.terminate(now, id, &Reason::Deactivated, None).is_ok(),
            2 => self.endpoint.terminate(now, id, &Reason::Other("x".into()), Some(c.number())).is_ok(),
            3 => self.endpoint.shorten(now, id, c.number()).is_ok(),
            4 => self.endpoint.set_view(now, id, View(u32::from(choice))).is_ok(),
            _ => self.endpoint.explain(id).is_some(),
        };
        assert!(!(dead && ok), "a dead watcher obeys");
    }

    fn subscription_command(&mut self, c: &mut Choices<'_>) {
        let choice = c.byte();
        let now = self.now;
        if choice.is_multiple_of(5) {
            let uri =
                c.of(&["sip:bob@198.51.100.7:5080", "sip:bob@host.example", "sip:bob@198.51.100.7;transport=tcp"]);
            let event = c.of(&["presence", "message-summary", "presence;id=1"]);
            let request = Subscribe::new(uri, event).unwrap().expires(c.number());
            if let Ok(id) = self.endpoint.subscribe(now, request) {
                self.subscriptions.push(id);
            }
            return;
        }
        let at = usize::from(choice >> 3) % self.subscriptions.len().max(1);
        let Some(id) = self.subscriptions.get(at).copied() else { return };
        let dead = self.dead_subscriptions.contains(&id.as_u64());
        let ok = match choice % 5 {
            1 => self.endpoint.refresh(now, id, c.yes().then_some(30)).is_ok(),
            2 => self.endpoint.unsubscribe(now, id, Scope::This).is_ok(),
            3 => self.endpoint.subscription(id).is_ok(),
            _ => self.endpoint.explain(id).is_some(),
        };
        assert!(!(dead && ok), "a dead subscription obeys");
    }

    fn resource_command(&mut self, c: &mut Choices<'_>) {
        let choice = c.byte();
        let now = self.now;
        let uri = c.of(&[BOB, "sip:carol@192.0.2.1", "sip:me@192.0.2.1"]);
        let key = ResourceKey::new(uri, c.of(&["presence", "message-summary"])).unwrap();
        match (self.endpoint.find(&key), choice % 6) {
            (None, _) => drop(self.endpoint.add_resource(&key)),
            (Some(id), 0) => drop(self.endpoint.remove_resource(now, id, &Reason::NoResource)),
            (Some(id), 1) => {
                let body = Body::new("application/pidf+xml", format!("<v{choice}/>"));
                let _ = self.endpoint.set_state_for(now, id, View(1), body);
            }
            (_, 2) if choice & 0xf0 == 0xf0 => {
                let how = if choice & 8 == 8 { Close::Terminate } else { Close::Persist };
                self.endpoint.close(now, how);
                self.closed = true;
            }
            (Some(id), _) => {
                let body = Body::new("application/pidf+xml", format!("<s{choice}/>"));
                let _ = self.endpoint.set_state(now, id, body);
            }
        }
    }

    fn drain(&mut self) {
        let mut burst = 0;
        // One wake-up fires so many timers; the rest fire in the next.
        for round in 0..64 {
            loop {
                let mut bytes = Vec::new();
                let before = burst;
                while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut bytes) {
                    assert_eq!(transmit.head_len, bytes.len());
                    transmit.append_body(&mut bytes);
                    burst += 1;
                    assert!(burst <= BURST, "a flood of our own making");
                    self.sent(transmit.id, transmit.flow, std::mem::take(&mut bytes));
                }
                let mut told = false;
                while let Some(event) = self.endpoint.poll_event() {
                    told = true;
                    self.told(event);
                }
                if before == burst && !told {
                    break;
                }
            }
            if self.endpoint.poll_timeout().is_none_or(|at| at > self.now) || self.now == Instant::FAR_FUTURE {
                return;
            }
            assert!(round < 63, "the wake-up never ends");
            self.endpoint.handle_timeout(self.now);
        }
    }

    fn sent(&mut self, id: TransmitId, flow: Flow, bytes: Vec<u8>) {
        if bytes == b"\r\n" {
            return;
        }
        self.witness.sent(self.now, &flow, &bytes);
        let message = Message::scan(&bytes).expect("what we send is SIP");
        if let Some(status) = message.status().map(StatusCode::as_u16) {
            // RFC 4320 section 4.2; RFC 6665 section 8.3.1.
            assert!(![202, 408].contains(&status));
            if status == 200
                && let Ok(Some(tag)) = read::to(&message).map(|to| to.tag().map(<[u8]>::to_vec))
                && !self.tags.contains(&tag)
            {
                self.tags.push(tag);
                if self.tags.len() > 8 {
                    self.tags.remove(0);
                }
            }
            return;
        }
        assert_eq!(message.defect(), None, "{}", bytes.escape_ascii());
        let tag = read::from(&message).unwrap().tag().unwrap().to_vec();
        let cseq = read::cseq(&message).unwrap().number;
        assert!(cseq < 1 << 31, "RFC 3261 section 8.1.1.5");
        if bytes.starts_with(b"NOTIFY") {
            let state = read::subscription_state(&message).unwrap().unwrap();
            let over = state.substate == sip_events::wire::Substate::Terminated;
            assert_eq!(state.expires.is_none(), over);
            let last = self.notified.insert(tag.clone(), (cseq, over));
            if let Some((last, was_over)) = last {
                assert!(cseq >= last, "CSeq goes back");
                assert!(!was_over || cseq == last || over, "a NOTIFY after the last one");
            }
        } else {
            assert!(bytes.starts_with(b"SUBSCRIBE"));
        }
        if !self.requests.iter().any(|ours| ours.bytes == bytes) {
            self.requests.push(Ours { id, bytes, flow });
            if self.requests.len() > 8 {
                self.requests.remove(0);
            }
        }
    }

    fn told(&mut self, event: Event) {
        // An answer that was stuck behind a stream may still look for another way.
        assert!(!self.drained || matches!(event, Event::Io(_)), "{event:?} after Drained");
        self.witness.told(&event);
        let alive = |dead: &BTreeSet<u64>, id: u64| assert!(!dead.contains(&id), "news of the dead");
        match event {
            Event::Io(io) => {
                self.io.push(io);
                if self.io.len() > 16 {
                    self.io.remove(0);
                }
            }
            Event::Subscribe(id) => self.incoming.push(id),
            Event::Notify { subscription, cseq, .. } => {
                alive(&self.dead_subscriptions, subscription.as_u64());
                let _ = self.told.insert(subscription.as_u64(), cseq);
            }
            Event::Accepted { subscription, .. }
            | Event::RefreshFailed { subscription, .. }
            | Event::Retrying { subscription, .. } => alive(&self.dead_subscriptions, subscription.as_u64()),
            Event::Forked { parent, child } => {
                assert_ne!(parent, child);
                self.subscriptions.push(child);
            }
            Event::Terminated { subscription, .. } => {
                assert!(self.dead_subscriptions.insert(subscription.as_u64()), "it ends twice");
            }
            Event::Refreshed { watcher, .. } | Event::Notified { watcher, .. } => {
                alive(&self.dead_watchers, watcher.as_u64());
            }
            Event::WatcherGone { watcher, .. } => {
                assert!(self.dead_watchers.insert(watcher.as_u64()), "it goes twice");
            }
            Event::Drained => {
                assert!(self.closed);
                self.drained = true;
            }
            _ => {}
        }
        let cap = |list: &mut Vec<_>| {
            if list.len() > 8 {
                list.remove(0);
            }
        };
        cap(&mut self.watchers);
        if self.subscriptions.len() > 8 {
            self.subscriptions.remove(0);
        }
        if self.incoming.len() > 8 {
            self.incoming.remove(0);
        }
    }

    fn check(&mut self) {
        self.compared += self.witness.compare(self.now, &self.endpoint);
        let limits = limits();
        let (subscriptions, watchers, resources, incoming) = self.endpoint.agent().counts();
        assert!(subscriptions <= limits.subscriptions && watchers <= limits.watchers);
        assert!(resources <= limits.resources && incoming <= limits.incoming);
        let (clients, servers) = self.endpoint.transactions();
        assert!(clients <= limits.client_transactions && servers <= limits.server_transactions);
        for id in self.endpoint.watchers() {
            assert!(!self.dead_watchers.contains(&id.as_u64()));
        }
        for id in self.endpoint.subscriptions() {
            assert!(!self.dead_subscriptions.contains(&id.as_u64()));
        }
    }

    /// Everything ends: no table keeps anything, and no timer runs.
    fn wind_down(&mut self) {
        if self.now.as_nanos() > u64::MAX / 4 {
            return;
        }
        if !self.closed {
            self.closed = true;
            self.endpoint.close(self.now, Close::Terminate);
            self.drain();
        }
        // A program that ends closes its streams: what waits for one that takes no more bytes would wait for ever.
        for stream in std::mem::take(&mut self.open) {
            let _ = self.endpoint.handle_stream_closed(self.now, stream);
        }
        self.drain();
        // Streams that never open and names that are never found wait for Timer F.
        for _ in 0..2_000 {
            let Some(at) = self.endpoint.next_timer().map(|(at, _)| at) else { break };
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.saturating_add(Duration::from_secs(1));
        self.drain();
        assert_eq!(self.endpoint.next_timer(), None, "a timer is left");
        assert_eq!(self.endpoint.transactions(), (0, 0), "a transaction is left");
        let (subscriptions, watchers, _, incoming) = self.endpoint.agent().counts();
        if self.endpoint.agent().is_drained() {
            assert!(self.drained);
        }
        if subscriptions + watchers + incoming > 0 {
            // Only a program that hands over keeps them.
            let left: Vec<_> =
                self.endpoint.watchers().filter_map(|w| self.endpoint.explain(w)).map(|e| e.to_string()).collect();
            assert!(
                self.drained,
                "{subscriptions} subscriptions, {watchers} watchers, {incoming} undecided are left: {left:?}"
            );
        }
    }
}
