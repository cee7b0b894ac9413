//! Same configuration, seed and inputs: the same bytes, the same events, the
//! same deadlines, in a second run and on a clone taken at any point.

use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{
    Body, Close, Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Scope, Seed, StreamId,
    Subscribe,
};

const ANN: &str = "192.0.2.1:5060";
const BOB: &str = "192.0.2.2:5060";

fn endpoint(user: &str, address: &str, seed: u8) -> Endpoint {
    let address = address.parse().unwrap();
    let config =
        Config::new(&format!("sip:{user}@{address}")).unwrap().with_authentication(sip_events::Authentication::None);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([seed; 32]), Instant::ZERO);
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.add_local(transport, address, None, None).unwrap();
    }
    endpoint
}

fn flow(from: &str, to: &str) -> Flow {
    Flow::udp(to.parse().unwrap(), from.parse().unwrap())
}

/// Two endpoints and everything that was seen of them.
#[derive(Clone)]
struct World {
    ann: Endpoint,
    bob: Endpoint,
    now: Instant,
    trace: Vec<u8>,
    delivered: u32,
}

impl World {
    fn new(seed: u8) -> Self {
        let mut bob = endpoint("bob", BOB, seed ^ 0x80);
        bob.add_resource(&ResourceKey::new(&format!("sip:bob@{BOB}"), "presence").unwrap()).unwrap();
        Self { ann: endpoint("ann", ANN, seed), bob, now: Instant::from_secs(5), trace: Vec::new(), delivered: 0 }
    }

    fn note(&mut self, text: &str) {
        self.trace.extend_from_slice(text.as_bytes());
        self.trace.push(b'\n');
    }

    /// Everything that is due now goes across; every seventh message is lost.
    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            for ann_sends in [true, false] {
                let (from, to) = if ann_sends { (ANN, BOB) } else { (BOB, ANN) };
                let mut bytes = Vec::new();
                let side = if ann_sends { &mut self.ann } else { &mut self.bob };
                let transmit = side.poll_transmit(self.now, &mut bytes);
                let event = side.poll_event();
                if let Some(transmit) = transmit {
                    transmit.append_body(&mut bytes);
                    self.trace.extend_from_slice(&bytes);
                    self.delivered += 1;
                    quiet = false;
                    if !self.delivered.is_multiple_of(7) {
                        let other = if ann_sends { &mut self.bob } else { &mut self.ann };
                        let handled = other.handle_message(self.now, flow(from, to), &bytes);
                        self.note(&format!("{handled:?}"));
                    }
                }
                if let Some(event) = event {
                    quiet = false;
                    self.note(&format!("{from}: {event:?}"));
                    if let Event::Subscribe(id) = event {
                        self.bob.accept(self.now, id, Decision::ACCEPT).unwrap();
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            let (a, b) = (self.ann.poll_timeout(), self.bob.poll_timeout());
            self.note(&format!("{a:?} {b:?}"));
            let Some(at) = [a, b].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            self.ann.handle_timeout(self.now);
            self.bob.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Step `number` of a scripted life; false when it is over.
    fn step(&mut self, number: u32) -> bool {
        let (now, bob) = (self.now, self.bob.resources().next().unwrap());
        let mine = self.ann.subscriptions().next();
        match number {
            0 => {
                let request = Subscribe::new(&format!("sip:bob@{BOB}"), "presence").unwrap().expires(300);
                self.ann.subscribe(now, request).unwrap();
            }
            1 | 3 | 5 => {
                let body = Body::new("application/pidf+xml", format!("<state n='{number}'/>"));
                self.bob.set_state(now, bob, body).unwrap();
            }
            2 => self.ann.refresh(now, mine.unwrap(), Some(120)).unwrap(),
            4 => {
                let stray = b"NOTIFY sip:ann@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKstray\r\n\
                    From: <sip:x@y>;tag=1\r\nTo: <sip:ann@z>;tag=2\r\nCall-ID: stray\r\nCSeq: 1 NOTIFY\r\n\
                    Max-Forwards: 70\r\nEvent: presence\r\nSubscription-State: active\r\nContent-Length: 0\r\n\r\n";
                let handled = self.ann.handle_message(now, flow(BOB, ANN), stray);
                self.note(&format!("{handled:?}"));
                let stream = Flow::stream(Transport::Tcp, ANN.parse().unwrap(), BOB.parse().unwrap(), StreamId(1));
                self.ann.handle_stream_opened(now, None, stream).unwrap();
                let handled = self.ann.handle_stream(now, StreamId(1), b"\r\n\r\nnonsense\r\n\r\n");
                self.note(&format!("{handled:?}"));
            }
            6 => self.ann.unsubscribe(now, mine.unwrap(), Scope::This).unwrap(),
            7 => self.bob.close(now, Close::Terminate),
            _ => return false,
        }
        self.pass(Duration::from_secs(97));
        true
    }

    fn run(&mut self, from: u32) {
        let mut number = from;
        while self.step(number) {
            number += 1;
        }
    }
}

#[test]
fn a_second_run_and_every_clone_say_the_same_bytes() {
    let mut first = World::new(7);
    first.run(0);
    assert!(first.trace.len() > 5_000, "{}", first.trace.len());
    let mut second = World::new(7);
    second.run(0);
    assert!(first.trace == second.trace);
    for at in 0..8 {
        let mut original = World::new(7);
        for number in 0..at {
            assert!(original.step(number));
        }
        let mut copy = original.clone();
        copy.run(at);
        original.run(at);
        assert!(copy.trace == first.trace, "a clone taken before step {at} differs");
        assert!(original.trace == first.trace, "what was cloned before step {at} differs");
    }
}

#[test]
fn another_seed_gives_other_identifiers_and_the_same_course() {
    let (mut a, mut b) = (World::new(7), World::new(8));
    a.run(0);
    b.run(0);
    assert!(a.trace != b.trace);
    assert_eq!(a.delivered, b.delivered);
    let call_id = |world: &mut World| {
        let request = Subscribe::new(&format!("sip:bob@{BOB}"), "presence").unwrap();
        world.ann.subscribe(world.now, request).unwrap();
        let mut bytes = Vec::new();
        let _ = world.ann.poll_transmit(world.now, &mut bytes).unwrap();
        Message::parse(&bytes).unwrap().field(HeaderName::CallId, 0).unwrap().to_vec()
    };
    assert_ne!(call_id(&mut a), call_id(&mut b));
}
