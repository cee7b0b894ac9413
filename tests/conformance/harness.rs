//! One real endpoint under a virtual clock, and a scripted peer that speaks
//! text.
//!
//! Whatever the endpoint sends passes [`Rig::check`], so that what must never
//! be sent is looked for in every test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::Transport;
use sip_events::{
    Body, Config, Decision, Endpoint, Event, Flow, Handled, IncomingId, Instant, Packages, Progress, ResourceId,
    ResourceKey, Restart, Seed, StreamId, Subscribe, SubscriptionId, WatcherId,
};

pub use crate::message::{Out, Text, only, subscribe};

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
        Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None)
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

    /// Saves everything and goes on from what was saved, in another endpoint of
    /// the same configuration and the standard packages.
    pub fn restart(&mut self) {
        let (mut writer, mut saved) = (self.endpoint.snapshot(self.now, 1000), Vec::new());
        while writer.step(&self.endpoint, &mut saved) == Progress::More {}
        let config = Arc::new(self.endpoint.agent().config().clone());
        let restart = Restart::Continue(Seed([7; 32]));
        let packages = Packages::standard();
        self.endpoint = Endpoint::restore(config, packages, &saved, self.now, Duration::ZERO, &restart).unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            self.endpoint.add_local(transport, addr(LOCAL), None, None).unwrap();
        }
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
