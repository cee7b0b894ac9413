//! One real endpoint under a virtual clock, and a scripted peer that speaks
//! text.
//!
//! Whatever the endpoint sends passes [`Rig::check`], so that what must never
//! be sent is looked for in every test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Body, Config, Decision, Endpoint, Event, Flow, Handled, IncomingId, Instant, Packages, ResourceId, ResourceKey,
    Seed, StreamId, Subscribe, SubscriptionId, WatcherId,
};

/// Where the endpoint receives, datagrams and TCP alike.
pub const LOCAL: &str = "192.0.2.1:5060";
/// Where the scripted peer sits.
pub const PEER: &str = "198.51.100.7:5080";
/// The peer's Contact.
pub const PEER_URI: &str = "sip:peer@198.51.100.7:5080";
/// The resource that a watched endpoint serves, and its state.
pub const BOB: &str = "sip:bob@192.0.2.1";
pub const PIDF: &str = "application/pidf+xml";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Datagrams between the endpoint and the peer.
pub fn udp() -> Flow {
    Flow::udp(addr(LOCAL), addr(PEER))
}

/// A TCP connection to `remote`.
pub fn tcp(id: u64, remote: &str) -> Flow {
    Flow::stream(Transport::Tcp, addr(LOCAL), addr(remote), StreamId(id))
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Walks a table of the specification row by row; a row that is left out fails.
pub fn walk(table: &str, last: usize, rows: &[(usize, fn())]) {
    for (expected, (number, row)) in (1..).zip(rows) {
        assert_eq!(*number, expected, "{table}-{expected} is missing");
        println!("{table}-{number}");
        row();
    }
    assert_eq!(rows.len(), last, "rows are missing behind {table}-{}", rows.len());
}

/// A message to be sent to the endpoint: lines that may be replaced, added and
/// removed before it is written.
#[derive(Debug, Clone)]
pub struct Text {
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Text {
    pub fn new(start: impl Into<String>) -> Self {
        Self { start: start.into(), fields: Vec::new(), body: Vec::new() }
    }

    /// Adds a line behind the others.
    pub fn add(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces all lines of that name by this one, or adds it.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let at = self.fields.iter().position(|(n, _)| n.eq_ignore_ascii_case(name));
        match at {
            Some(at) => {
                self.fields[at].1 = value;
                let mut seen = false;
                self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name) || !std::mem::replace(&mut seen, true));
                self
            }
            None => self.add(name, value),
        }
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces the start line.
    pub fn line(mut self, start: impl Into<String>) -> Self {
        self.start = start.into();
        self
    }

    /// Another request of the same sender: a new branch in the top Via.
    pub fn branch(self, branch: &str) -> Self {
        self.set("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}"))
    }

    pub fn cseq(self, number: u32) -> Self {
        let method = self.start.split(' ').next().unwrap_or_default().to_owned();
        self.branch(&format!("{method}{number}")).set("CSeq", format!("{number} {method}"))
    }

    pub fn body(mut self, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        self.body = data.into();
        self.set("Content-Type", content_type)
    }

    pub fn get(&self, name: &str) -> &str {
        &self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1
    }

    /// As it travels; Content-Length is added unless it stands there already.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            out += &format!("{name}: {value}\r\n");
        }
        if !self.fields.iter().any(|(n, _)| n.eq_ignore_ascii_case("Content-Length") || n == "l") {
            out += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut out = (out + "\r\n").into_bytes();
        out.extend_from_slice(&self.body);
        out
    }
}

impl From<Text> for Vec<u8> {
    fn from(text: Text) -> Self {
        text.bytes()
    }
}

impl From<&Text> for Vec<u8> {
    fn from(text: &Text) -> Self {
        text.bytes()
    }
}

/// A message that the endpoint sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    pub flow: Flow,
    pub bytes: Vec<u8>,
}

impl Out {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn start(&self) -> String {
        self.text().lines().next().unwrap().to_owned()
    }

    pub fn is(&self, method: &str) -> bool {
        self.bytes.starts_with(format!("{method} ").as_bytes())
    }

    /// The status of a response; panics on a request.
    pub fn status(&self) -> u16 {
        self.message().status().unwrap_or_else(|| panic!("not a response: {}", self.start())).as_u16()
    }

    pub fn is_response(&self) -> bool {
        self.message().status().is_some()
    }

    /// The Request-URI.
    pub fn uri(&self) -> String {
        self.start().split(' ').nth(1).unwrap().to_owned()
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        let message = self.message();
        let line = |nth| message.field(HeaderName::from_bytes(name.as_bytes()), nth);
        (0..).map_while(line).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The one line of that name.
    pub fn get(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {}", self.text());
        all.remove(0)
    }

    pub fn tag(&self, name: &str) -> Option<String> {
        Some(self.get(name).split_once(";tag=")?.1.split(';').next()?.to_owned())
    }

    pub fn cseq(&self) -> u32 {
        self.get("CSeq").split(' ').next().unwrap().parse().unwrap()
    }

    pub fn branch(&self) -> String {
        self.get("Via").split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned()
    }

    /// The URI in Contact.
    pub fn contact(&self) -> String {
        self.get("Contact").trim_start_matches('<').split('>').next().unwrap().to_owned()
    }

    /// The state in Subscription-State.
    pub fn substate(&self) -> String {
        self.get("Subscription-State").split(';').next().unwrap().to_owned()
    }

    /// A parameter of Subscription-State.
    pub fn state_param(&self, name: &str) -> Option<String> {
        let value = self.get("Subscription-State");
        let mut params = value.split(';').skip(1).filter_map(|p| p.split_once('='));
        params.find(|(n, _)| *n == name).map(|(_, v)| v.to_owned())
    }

    pub fn body(&self) -> Vec<u8> {
        self.message().body().to_vec()
    }

    /// A response to this request, such as its server would send; `To` gets
    /// the tag `theirs` if it has none.
    pub fn answer(&self, status: &str) -> Text {
        self.answer_as(status, "theirs")
    }

    /// The same with another tag: another fork's answer.
    pub fn answer_as(&self, status: &str, tag: &str) -> Text {
        let mut text = Text::new(format!("SIP/2.0 {status}"));
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tagless = name == "To" && self.tag("To").is_none() && !status.starts_with("100");
            text = text.add(name, if tagless { format!("{};tag={tag}", self.get(name)) } else { self.get(name) });
        }
        text
    }

    /// The 2xx of a notifier to this SUBSCRIBE.
    pub fn accepted(&self, expires: u32) -> Text {
        self.answer("200 OK").add("Contact", format!("<{PEER_URI}>")).add("Expires", expires.to_string())
    }

    /// A NOTIFY of the notifier `theirs` that answers this SUBSCRIBE.
    pub fn notify(&self, cseq: u32, state: &str) -> Text {
        self.notify_from("theirs", cseq, state)
    }

    /// The same from the notifier with the tag `tag`.
    pub fn notify_from(&self, tag: &str, cseq: u32, state: &str) -> Text {
        let to = self.get("To");
        let from = to.split(";tag=").next().unwrap();
        Text::new(format!("NOTIFY {} SIP/2.0", self.contact()))
            .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKn{tag}{cseq}"))
            .add("Max-Forwards", "70")
            .add("From", format!("{from};tag={tag}"))
            .add("To", self.get("From"))
            .add("Call-ID", self.get("Call-ID"))
            .add("CSeq", format!("{cseq} NOTIFY"))
            .add("Contact", format!("<{PEER_URI}>"))
            .add("Event", self.get("Event"))
            .add("Subscription-State", state)
    }

    /// A refresh by the subscriber that got this 2xx, over the same dialog.
    pub fn refresh(&self, cseq: u32, expires: u32) -> Text {
        Text::new(format!("SUBSCRIBE {} SIP/2.0", self.contact()))
            .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKs{cseq}"))
            .add("Max-Forwards", "70")
            .add("From", self.get("From"))
            .add("To", self.get("To"))
            .add("Call-ID", self.get("Call-ID"))
            .add("CSeq", format!("{cseq} SUBSCRIBE"))
            .add("Contact", format!("<{PEER_URI}>"))
            .add("Event", "presence")
            .add("Expires", expires.to_string())
    }
}

/// A first SUBSCRIBE to [`BOB`]'s presence, as the peer sends it.
pub fn subscribe(expires: u32) -> Text {
    Text::new(format!("SUBSCRIBE {BOB} SIP/2.0"))
        .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKs1"))
        .add("Max-Forwards", "70")
        .add("From", "<sip:peer@example.com>;tag=p1")
        .add("To", format!("<{BOB}>"))
        .add("Call-ID", "c1@198.51.100.7")
        .add("CSeq", "1 SUBSCRIBE")
        .add("Contact", format!("<{PEER_URI}>"))
        .add("Event", "presence")
        .add("Expires", expires.to_string())
}

/// The messages of one step that satisfy a predicate.
pub fn only(sent: &[Out], what: &str) -> Vec<Out> {
    sent.iter().filter(|out| out.is(what)).cloned().collect()
}

/// A subscription of the endpoint, and what a peer needs to go on with it.
#[derive(Debug, Clone)]
pub struct Ours {
    pub id: SubscriptionId,
    /// The latest SUBSCRIBE.
    pub subscribe: Out,
}

/// The peer's subscription at the endpoint.
#[derive(Debug, Clone)]
pub struct Theirs {
    pub id: WatcherId,
    /// The 2xx to the first SUBSCRIBE.
    pub ok: Out,
    /// The NOTIFY that followed.
    pub notify: Out,
}

/// An endpoint and the moment it lives in.
pub struct Rig {
    pub endpoint: Endpoint,
    pub now: Instant,
    /// Told and not yet taken.
    pub events: Vec<Event>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Self::config())
    }

    pub fn config() -> Config {
        Config::new("sip:me@192.0.2.1").unwrap()
    }

    pub fn with(config: Config) -> Self {
        Self::build(config, Packages::standard())
    }

    /// UDP and TCP at [`LOCAL`].
    pub fn build(config: Config, packages: Packages) -> Self {
        let mut rig = Self::bare(config, packages);
        for transport in [Transport::Udp, Transport::Tcp] {
            rig.endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
        }
        rig
    }

    /// Without an address to receive at.
    pub fn bare(config: Config, packages: Packages) -> Self {
        let now = Instant::from_secs(1000);
        let endpoint = Endpoint::new(Arc::new(config), packages, &Seed([7; 32]), now);
        Self { endpoint, now, events: Vec::new() }
    }

    /// With the resource [`BOB`] under `presence`, in the state `<open/>`.
    pub fn notifier() -> Self {
        Self::notifier_with(Self::config())
    }

    pub fn notifier_with(config: Config) -> Self {
        let mut rig = Self::with(config);
        rig.add_bob();
        rig
    }

    pub fn add_bob(&mut self) -> ResourceId {
        let bob = self.endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
        self.endpoint.set_state(self.now, bob, Body::new(PIDF, "<open/>")).unwrap();
        bob
    }

    pub fn bob(&self) -> ResourceId {
        self.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap()
    }

    /// Changes the state of [`BOB`].
    pub fn set_bob(&mut self, xml: &str) -> Vec<Out> {
        let bob = self.bob();
        self.endpoint.set_state(self.now, bob, Body::new(PIDF, xml.to_owned())).unwrap();
        self.drain()
    }

    /// Polls until there is nothing left.
    pub fn drain(&mut self) -> Vec<Out> {
        let mut sent = Vec::new();
        loop {
            let before = (sent.len(), self.events.len());
            let mut bytes = Vec::new();
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut bytes) {
                transmit.append_body(&mut bytes);
                let out = Out { flow: transmit.flow, bytes: std::mem::take(&mut bytes) };
                Self::check(&out);
                sent.push(out);
            }
            while let Some(event) = self.endpoint.poll_event() {
                self.events.push(event);
            }
            if before == (sent.len(), self.events.len()) {
                return sent;
            }
        }
    }

    /// What holds of every message that the endpoint sends.
    fn check(out: &Out) {
        if out.bytes == b"\r\n" {
            return;
        }
        let message = out.message();
        let text = out.text();
        for name in ["Via", "From", "To", "Call-ID", "CSeq", "Content-Length"] {
            assert!(out.has(name), "{name} is missing: {text}");
        }
        if let Some(status) = message.status().map(|s| s.as_u16()) {
            // 6665-8.3.1-2, 4320-4.2-1, 6665-4.6-2, 6665-8.2.1-5.
            assert!(![202, 408, 487].contains(&status), "{text}");
            assert!(!out.has("Event"), "{text}");
        } else {
            assert!(out.has("Max-Forwards") && out.tag("From").is_some(), "{text}");
            // 6665-4.6-3.
            assert!(out.is("SUBSCRIBE") || out.is("NOTIFY"), "{text}");
            assert!(out.has("Contact") && out.has("Event"), "{text}");
            for name in ["Require", "Proxy-Require"] {
                assert!(!out.has(name), "{text}");
            }
        }
        // 6665-8.2.3-1.
        assert_eq!(out.has("Subscription-State"), out.is("NOTIFY"), "{text}");
        if out.is("NOTIFY") {
            let (state, expires) = (out.substate(), out.state_param("expires"));
            // 6665-4.2.2-6, 6665-4.2.2-7, 6665-4.2.2-11, 6665-4.1.3-12.
            match state.as_str() {
                "active" | "pending" => assert!(expires.is_some(), "{text}"),
                "terminated" => assert!(expires.is_none() && out.state_param("reason").is_some(), "{text}"),
                _ => panic!("{text}"),
            }
        }
    }

    pub fn receive(&mut self, flow: Flow, message: impl Into<Vec<u8>>) -> (Handled, Vec<Out>) {
        let message = message.into();
        let handled = self.endpoint.handle_message(self.now, flow, &message);
        (handled, self.drain())
    }

    /// A datagram of the peer, and what is sent in the same step.
    pub fn feed(&mut self, message: impl Into<Vec<u8>>) -> Vec<Out> {
        self.receive(udp(), message).1
    }

    /// The one message that answers `message`.
    pub fn one(&mut self, message: impl Into<Vec<u8>>) -> Out {
        let mut sent = self.feed(message);
        assert_eq!(sent.len(), 1, "{:?}", sent.iter().map(Out::text).collect::<Vec<_>>());
        sent.remove(0)
    }

    /// The status of the one response to `message`.
    pub fn status(&mut self, message: impl Into<Vec<u8>>) -> u16 {
        self.one(message).status()
    }

    /// Nothing is sent for `message`.
    pub fn quiet(&mut self, message: impl Into<Vec<u8>>) {
        let sent = self.feed(message);
        assert!(sent.is_empty(), "{:?}", sent.iter().map(Out::text).collect::<Vec<_>>());
    }

    /// Lets time pass, wake-up by wake-up; what was sent, with the time since
    /// the start of the call.
    pub fn run(&mut self, time: Duration) -> Vec<(Duration, Out)> {
        let (start, end) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.endpoint.handle_timeout(self.now);
            let passed = self.now - start;
            sent.extend(self.drain().into_iter().map(|out| (passed, out)));
        }
        self.now = end;
        sent
    }

    /// Lets time pass until something is sent, which it is within `time`; the
    /// clock stays there.
    pub fn next(&mut self, time: Duration) -> Out {
        let end = self.now + time;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.endpoint.handle_timeout(self.now);
            let mut sent = self.drain();
            if !sent.is_empty() {
                assert_eq!(sent.len(), 1, "{:?}", sent.iter().map(Out::text).collect::<Vec<_>>());
                return sent.remove(0);
            }
        }
        panic!("nothing was sent within {time:?}");
    }

    /// The clock jumps by `time`: every timer on the way fires at its end.
    pub fn jump(&mut self, time: Duration) -> Vec<Out> {
        self.now = self.now + time;
        self.endpoint.handle_timeout(self.now);
        self.drain()
    }

    /// The same when nothing may be sent.
    pub fn idle(&mut self, time: Duration) {
        let sent = self.run(time);
        assert!(sent.is_empty(), "{:?}", sent.iter().map(|(at, out)| (at, out.text())).collect::<Vec<_>>());
    }

    /// Takes the events told so far.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How the one subscription or watcher ended that did, if one did.
    pub fn ended(&mut self) -> Option<Event> {
        let at = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Terminated { .. } | Event::WatcherGone { .. }))?;
        Some(self.events.remove(at))
    }

    /// The same for a subscription that is to be taken up again.
    pub fn retrying(&mut self) -> Option<Event> {
        let at = self.events.iter().position(|event| matches!(event, Event::Retrying { .. }))?;
        Some(self.events.remove(at))
    }

    /// The bodies of the [`Event::Notify`]s so far.
    pub fn notified(&mut self) -> Vec<String> {
        let body = |event: &Event| match event {
            Event::Notify { body, .. } => {
                Some(body.as_ref().map_or_else(String::new, |b| String::from_utf8_lossy(&b.data).into_owned()))
            }
            _ => None,
        };
        let bodies = self.events.iter().filter_map(body).collect();
        self.events.retain(|event| !matches!(event, Event::Notify { .. }));
        bodies
    }

    // The endpoint as subscriber.

    /// What most tests ask for: [`PEER_URI`]'s presence for 600 s.
    pub fn request() -> Subscribe {
        Subscribe::new(PEER_URI, "presence").unwrap().expires(600)
    }

    /// Subscribes; the SUBSCRIBE that goes out.
    pub fn start(&mut self, request: Subscribe) -> Ours {
        let id = self.endpoint.subscribe(self.now, request).unwrap();
        let mut sent = self.drain();
        assert_eq!(sent.len(), 1);
        Ours { id, subscribe: sent.remove(0) }
    }

    /// Subscribes; the peer takes it: 200 with what was asked for, then NOTIFY
    /// with `state`, whose CSeq is 1.
    pub fn ours_in(&mut self, request: Subscribe, state: &str) -> Ours {
        let ours = self.start(request);
        let expires = ours.subscribe.get("Expires").parse().unwrap();
        self.quiet(ours.subscribe.accepted(expires));
        assert_eq!(self.status(ours.subscribe.notify(1, state)), 200);
        self.events.clear();
        ours
    }

    /// The same with [`Rig::request`], active for 600 s.
    pub fn ours(&mut self) -> Ours {
        self.ours_in(Self::request(), "active;expires=600")
    }

    /// A refresh of the application's.
    pub fn refresh(&mut self, ours: &Ours) -> Out {
        self.endpoint.refresh(self.now, ours.id, None).unwrap();
        let mut sent = self.drain();
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    /// Whether the subscription is alive.
    pub fn lives(&self, ours: &Ours) -> bool {
        self.endpoint.subscription(ours.id).is_ok()
    }

    /// The seconds that are left of a subscription.
    pub fn left(&self, ours: &Ours) -> u64 {
        (self.endpoint.subscription(ours.id).unwrap().expires_at.unwrap() - self.now).as_secs()
    }

    // The endpoint as notifier.

    /// The SUBSCRIBE that waits for a decision.
    pub fn incoming(&mut self) -> IncomingId {
        let at = self.events.iter().position(|event| matches!(event, Event::Subscribe(_))).expect("no SUBSCRIBE waits");
        match self.events.remove(at) {
            Event::Subscribe(id) => id,
            _ => unreachable!(),
        }
    }

    /// Feeds a first SUBSCRIBE, decides; the 2xx and the NOTIFY.
    pub fn decide(&mut self, subscribe: impl Into<Vec<u8>>, decision: Decision) -> Theirs {
        self.quiet(subscribe);
        let incoming = self.incoming();
        let id = self.endpoint.accept(self.now, incoming, decision).unwrap();
        let sent = self.drain();
        let [ok, notify] = <[Out; 2]>::try_from(sent).expect("a 2xx and a NOTIFY");
        assert_eq!(ok.status(), 200);
        assert!(notify.is("NOTIFY"));
        Theirs { id, ok, notify }
    }

    /// A watcher of [`BOB`] for 600 s whose first NOTIFY is answered.
    pub fn theirs(&mut self) -> Theirs {
        self.theirs_by(subscribe(600))
    }

    pub fn theirs_by(&mut self, subscribe: impl Into<Vec<u8>>) -> Theirs {
        let theirs = self.decide(subscribe, Decision::ACCEPT);
        self.quiet(theirs.notify.answer("200 OK"));
        self.events.clear();
        theirs
    }

    /// Whether the watcher is alive.
    pub fn watches(&self, theirs: &Theirs) -> bool {
        self.endpoint.watcher(theirs.id).is_ok()
    }
}
