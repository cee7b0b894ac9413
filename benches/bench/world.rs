//! A subscriber and a notifier, in memory, back to back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::package::{Expires, Opaque};
use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Config, Decision, Endpoint, Event, Flow, Instant, Limits, Packages, ResourceId, ResourceKey,
    Seed, Subscribe,
};

use crate::harness::{Row, Sample};

pub const PACKAGE: &str = "x-bench";
/// Longer than any run: nothing refreshes by itself.
const LONG: u32 = 2_000_000_000;
const STEP: Duration = Duration::from_millis(1);

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("server transaction: NOTIFY in, 200 out, gone", || later_notify(1, true)).goal(1_200.0, 2.0),
        Row::new("exchange: both halves, 1 live", || exchange(1)).goal(5_000.0, 30.0),
        Row::new("exchange: both halves, 10000 live", || exchange(10_000)).goal(5_000.0, 30.0).uncounted(),
        Row::new("later NOTIFY to a subscriber, 1 live", || later_notify(1, false)).goal(1_500.0, 30.0),
        Row::new("later NOTIFY to a subscriber, 10000 live", || later_notify(10_000, false))
            .goal(1_500.0, 30.0)
            .uncounted(),
    ]
}

pub fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5060))
}

pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.watchers = 1_200_000;
    limits.watchers_per_resource = 1_200_000;
    limits.subscriptions = 1_200_000;
    limits.flows = 1_200_000;
    limits.watchers_per_source = 1_200_000;
    limits
}

pub fn endpoint(host: u8, limits: Limits) -> Endpoint {
    let config = Config::new(&format!("sip:bench@192.0.2.{host}"))
        .expect("a URI")
        .with_limits(limits)
        .with_authentication(Authentication::None);
    let mut packages = Packages::new();
    let package = Opaque::new(PACKAGE).with_duration(Expires::new(1, LONG, LONG)).with_rate(Duration::ZERO);
    packages.register(package).expect("a package");
    let seed = Seed([host; 32]);
    let mut endpoint = Endpoint::new(Arc::new(config), packages, &seed, Instant::ZERO);
    endpoint.add_local(Transport::Udp, address(host), None, None).expect("an address");
    endpoint
}

/// Is told how long each call took.
pub trait Watch {
    fn call<R>(&mut self, what: &'static str, call: impl FnOnce() -> R) -> R;
}

/// Times nothing.
pub struct Idle;

impl Watch for Idle {
    #[inline(always)]
    fn call<R>(&mut self, _what: &'static str, call: impl FnOnce() -> R) -> R {
        call()
    }
}

/// Both ends of every subscription.
#[derive(Clone)]
pub struct World {
    pub subscriber: Endpoint,
    pub notifier: Endpoint,
    pub resource: ResourceId,
    pub now: Instant,
    /// NOTIFYs that the subscriber's application has seen.
    pub told: u64,
    pub ended: u64,
    request: Subscribe,
    buffer: Vec<u8>,
}

impl World {
    pub fn new() -> Self {
        let subscriber = endpoint(1, limits());
        let mut notifier = endpoint(2, limits());
        let key = ResourceKey::new("sip:bob@192.0.2.2", PACKAGE).expect("a key");
        let resource = notifier.add_resource(&key).expect("a resource");
        let request = Subscribe::new("sip:bob@192.0.2.2", PACKAGE).expect("a request");
        let buffer = Vec::with_capacity(4_096);
        Self { subscriber, notifier, resource, now: Instant::ZERO, told: 0, ended: 0, request, buffer }
    }

    /// With that many subscriptions, and nothing under way.
    pub fn with_live(live: u32) -> Self {
        let mut world = Self::new();
        for _ in 0..live {
            world.exchange(&mut Idle);
        }
        world.rest(&mut Idle);
        assert_eq!(world.told, u64::from(live));
        world
    }

    /// SUBSCRIBE, 200, NOTIFY, 200; a millisecond later.
    pub fn exchange(&mut self, watch: &mut impl Watch) {
        let request = self.request.clone();
        let (subscriber, now) = (&mut self.subscriber, self.now);
        watch.call("subscribe", || subscriber.subscribe(now, request)).expect("room");
        self.settle(watch);
        self.pass(STEP, watch);
    }

    /// Until neither end has anything to send or to tell.
    pub fn settle(&mut self, watch: &mut impl Watch) {
        loop {
            let (a, b) = (&mut self.subscriber, &mut self.notifier);
            let told = self.told;
            let mut busy = carry(a, b, 1, self.now, &mut self.buffer, watch);
            while let Some(event) = watch.call("poll_event", || a.poll_event()) {
                busy = true;
                match event {
                    Event::Notify { .. } => self.told += 1,
                    Event::Terminated { .. } => self.ended += 1,
                    _ => {}
                }
            }
            busy |= carry(b, a, 2, self.now, &mut self.buffer, watch);
            while let Some(event) = watch.call("poll_event", || b.poll_event()) {
                busy = true;
                if let Event::Subscribe(incoming) = event {
                    let now = self.now;
                    watch.call("accept", || b.accept(now, incoming, Decision::ACCEPT)).expect("room");
                }
            }
            if !busy && told == self.told {
                return;
            }
        }
    }

    /// Tells every watcher a new state, and keeps the NOTIFYs.
    fn notify_all(&mut self, number: u64, messages: &mut Vec<Vec<u8>>) {
        let body = Body::new("text/plain", format!("{number:08}"));
        self.notifier.set_state(self.now, self.resource, body).expect("a resource");
        let mut message = Vec::new();
        while let Some(transmit) = self.notifier.poll_transmit(self.now, &mut message) {
            transmit.append_body(&mut message);
            let _ = self.subscriber.handle_message(self.now, Flow::udp(address(1), address(2)), &message);
            messages.push(std::mem::take(&mut message));
            while let Some(sent) = self.subscriber.poll_transmit(self.now, &mut message) {
                let _ = self.notifier.handle_message(self.now, Flow::udp(sent.flow.remote, address(1)), &message);
                message.clear();
            }
            while self.subscriber.poll_event().is_some() {}
        }
    }

    /// Lets time pass; timers fire.
    pub fn pass(&mut self, time: Duration, watch: &mut impl Watch) {
        self.now = self.now + time;
        let now = self.now;
        for endpoint in [&mut self.subscriber, &mut self.notifier] {
            while endpoint.poll_timeout().is_some_and(|at| at <= now) {
                watch.call("handle_timeout", || endpoint.handle_timeout(now));
                if endpoint.next_timer().is_none_or(|(at, _)| at > now) {
                    break;
                }
            }
        }
    }

    /// Until every transaction is forgotten.
    pub fn rest(&mut self, watch: &mut impl Watch) {
        self.pass(Duration::from_secs(60), watch);
        self.settle(watch);
        self.pass(Duration::from_secs(60), watch);
        assert_eq!((self.subscriber.transactions(), self.notifier.transactions()), ((0, 0), (0, 0)));
    }
}

/// Takes what `from` sends to `to`; whether there was anything.
fn carry(
    from: &mut Endpoint,
    to: &mut Endpoint,
    host: u8,
    now: Instant,
    buffer: &mut Vec<u8>,
    watch: &mut impl Watch,
) -> bool {
    let mut any = false;
    loop {
        buffer.clear();
        let Some(transmit) = watch.call("poll_transmit", || from.poll_transmit(now, buffer)) else { return any };
        transmit.append_body(buffer);
        any = true;
        let flow = Flow::udp(transmit.flow.remote, address(host));
        let _ = watch.call("handle_message", || to.handle_message(now, flow, buffer));
    }
}

fn exchange(live: u32) -> Sample {
    let mut world = World::with_live(live);
    let one = world.clone();
    Box::new(move |meter| {
        // Few live ones would grow to many; many do not grow by much.
        if live == 1 {
            world = one.clone();
            (0..20).for_each(|_| world.exchange(&mut Idle));
        }
        let (times, before) = (200, world.told);
        meter.time(|| (0..times).for_each(|_| world.exchange(&mut Idle)));
        assert_eq!(world.told, before + times);
        times
    })
}

/// A subscriber that gets NOTIFYs written beforehand: in, 200 out, event taken;
/// with `gone` until their transactions are forgotten, too.
fn later_notify(live: u32, gone: bool) -> Sample {
    let mut world = World::with_live(live);
    let mut number = 0u64;
    Box::new(move |meter| {
        let mut subscriber = world.subscriber.clone();
        let (start, mut messages) = (world.now, Vec::new());
        while messages.len() < 1_000 {
            number += 1;
            world.notify_all(number, &mut messages);
        }
        let flow = Flow::udp(address(1), address(2));
        let mut answer = Vec::with_capacity(2_048);
        let mut told = 0;
        meter.time(|| {
            for message in &messages {
                let handled = subscriber.handle_message(start, flow, message);
                assert_eq!(handled, sip_events::Handled::Consumed);
                answer.clear();
                let _ = subscriber.poll_transmit(start, &mut answer).expect("a 200");
                while subscriber.poll_event().is_some() {
                    told += 1;
                }
            }
            if gone {
                let later = start + Duration::from_secs(60);
                while subscriber.poll_timeout().is_some_and(|at| at <= later) {
                    subscriber.handle_timeout(later);
                }
                assert_eq!(subscriber.transactions(), (0, 0));
            }
        });
        world.rest(&mut Idle);
        assert_eq!(told, messages.len());
        told as u64
    })
}
