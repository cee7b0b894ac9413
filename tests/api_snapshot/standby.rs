//! A hot standby is fed the same calls and gives the same bytes.

use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Method};
use sip_events::{Decision, Endpoint, Event, Flow, Instant, Restart, Scope};

use crate::world::{Random, World, address, restore, save, seed, state};

/// The same input on both; what each sent and told.
struct Pair {
    live: Endpoint,
    standby: Endpoint,
}

impl Pair {
    fn both(&mut self, mut call: impl FnMut(&mut Endpoint)) {
        call(&mut self.live);
        call(&mut self.standby);
    }

    fn drain(&mut self, now: Instant) -> (Vec<(Flow, Vec<u8>)>, Vec<Event>) {
        let mut outputs = Vec::new();
        for endpoint in [&mut self.live, &mut self.standby] {
            let (mut sent, mut events, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(transmit) = endpoint.poll_transmit(now, &mut bytes) {
                transmit.append_body(&mut bytes);
                sent.push((transmit.flow, std::mem::take(&mut bytes)));
            }
            events.extend(std::iter::from_fn(|| endpoint.poll_event()));
            outputs.push((sent, events));
        }
        let standby = outputs.pop().unwrap();
        let live = outputs.pop().unwrap();
        assert_eq!(live, standby, "the same bytes and the same events");
        assert_eq!(self.live.poll_timeout(), self.standby.poll_timeout());
        assert_eq!(self.live.digest_exact(), self.standby.digest_exact());
        assert_eq!(self.live.digest(), self.standby.digest());
        live
    }
}

fn answer(request: &[u8], status: &str) -> Vec<u8> {
    let message = Message::parse(request).unwrap();
    let mut out = format!("SIP/2.0 {status}\r\n");
    for (label, name) in [
        ("Via", HeaderName::Via),
        ("From", HeaderName::From),
        ("To", HeaderName::To),
        ("Call-ID", HeaderName::CallId),
        ("CSeq", HeaderName::CSeq),
    ] {
        let value = std::str::from_utf8(message.field(name, 0).unwrap()).unwrap();
        let tag = if label == "To" && !value.contains("tag=") { ";tag=other" } else { "" };
        out += &format!("{label}: {value}{tag}\r\n");
    }
    (out + "Expires: 300\r\nContact: <sip:n1@192.0.2.2>\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// Covers: PEER-H04
#[test]
fn a_standby_that_hears_the_same_does_the_same() {
    for number in 0..10 {
        let mut world = World::new(3, number);
        for node in 0..3 {
            world.add_resource(node);
            world.set_state(node, 1);
        }
        for (from, to) in [(0, 1), (1, 0), (2, 0), (0, 2)] {
            world.subscribe(from, to, 600);
        }
        world.run(Duration::from_secs(100));
        assert!(world.nodes[0].is_quiescent());
        let saved = save(&world.nodes[0], world.now, 3);
        let goes_on = Restart::Continue(seed(number * 1_000 + 1));
        let standby = restore(0, &saved, world.now, Duration::ZERO, &goes_on);
        let mut pair = Pair { live: world.nodes[0].clone(), standby };
        let (mut random, mut now, mut heard) = (Random(number), world.now, Vec::<(Flow, Vec<u8>)>::new());
        let mut calls = 0;
        for step in 0..400u64 {
            match random.next(9) {
                0 => {
                    let resource = pair.live.resources().next().unwrap();
                    pair.both(|e| _ = e.set_state(now, resource, state(step)).unwrap());
                }
                1 => {
                    let first = pair.live.subscriptions().next();
                    if let Some(id) = first {
                        pair.both(|e| _ = e.refresh(now, id, None));
                    }
                }
                2 if step % 7 == 0 => {
                    let first = pair.live.subscriptions().next();
                    if let Some(id) = first {
                        pair.both(|e| _ = e.unsubscribe(now, id, Scope::This));
                    }
                }
                3 => {
                    calls += 1;
                    let request = sip_events::Subscribe::new("sip:n1@192.0.2.2", "presence").unwrap();
                    pair.both(|e| _ = e.subscribe(now, request.clone()).unwrap());
                }
                4..7 => {
                    if let Some((flow, request)) = heard.pop() {
                        let status = ["200 OK", "481 Gone", "500 Oops", "100 Trying"][random.next(4) as usize];
                        let response = answer(&request, status);
                        pair.both(|e| _ = e.handle_message(now, flow, &response));
                    }
                }
                7 => {
                    let bytes = format!(
                        "SUBSCRIBE sip:n0@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKx{step}\r\n\
                         Max-Forwards: 70\r\nFrom: <sip:n2@192.0.2.3>;tag=x{step}\r\nTo: <sip:n0@192.0.2.1>\r\n\
                         Call-ID: x{step}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:n2@192.0.2.3>\r\nEvent: presence\r\n\
                         Expires: {}\r\nContent-Length: 0\r\n\r\n",
                        random.next(2) * 120
                    );
                    pair.both(|e| _ = e.handle_message(now, Flow::udp(address(0), address(2)), bytes.as_bytes()));
                }
                _ => {
                    let wait = Duration::from_millis(random.next(40_000));
                    let end = now + wait;
                    now = pair.live.poll_timeout().map_or(end, |at| at.min(end).max(now));
                    pair.both(|e| e.handle_timeout(now));
                }
            }
            let (sent, events) = pair.drain(now);
            let request = |bytes: &[u8]| {
                matches!(Message::parse(bytes).unwrap().method(), Some(Method::Notify | Method::Subscribe))
            };
            heard.extend(sent.into_iter().filter(|(_, bytes)| request(bytes)));
            for event in events {
                if let Event::Subscribe(id) = event {
                    pair.both(|e| _ = e.accept(now, id, Decision::ACCEPT).unwrap());
                }
            }
            pair.drain(now);
        }
        assert!(calls > 10);
    }
}
