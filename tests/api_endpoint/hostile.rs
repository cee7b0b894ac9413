//! Bytes that nobody should send.

use std::time::Duration;

use sip_events::{Handled, StreamId, Subscribe};

use crate::kit::{Kit, Request, peer, stream};

/// A small generator: the tests repeat byte for byte.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const PIECES: [&[u8]; 12] =
            [b"\r\n", b" ", b";", b",", b"<", b"\"", b"\0", b"4294967296", b";branch=z9hG4bK", b";tag=", b"[", b"\xff"];
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            match self.roll(4) {
                0 => bytes[at] = self.roll(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => {
                    let end = (at + self.roll(40)).min(bytes.len());
                    bytes.drain(at..end);
                }
                _ => {
                    let piece = PIECES[self.roll(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = ["OPTIONS", "CANCEL", "INVITE", "NOTIFY", "ACK", "FOO"]
        .iter()
        .map(|method| Request::new(method, "seed").bytes())
        .collect();
    let via = "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKs, SIP/2.0/UDP [2001:db8::1]:5061;maddr=203.0.113.1".to_owned();
    seeds.push(Request { via, ..Request::subscribe("x") }.bytes());
    seeds.push(Request::subscribe("y").bytes());
    seeds.push(Request { via: "SIP/2.0/UDP old.example.com;branch=1".into(), ..Request::subscribe("z") }.bytes());
    seeds
}

#[test]
fn damaged_datagrams_do_no_harm() {
    let mut kit = Kit::notifier();
    let first = kit.subscribe(Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap()).remove(0);
    let mut seeds = seeds();
    seeds.push(first.answer("200 OK", "Expires: 600\r\n"));
    let mut dice = Dice(1);
    let mut answered = 0;
    for round in 0..30_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        dice.damage(&mut bytes);
        let (handled, sent) = kit.receive(peer(), &bytes);
        assert_ne!(handled, Handled::NotOurs);
        for answer in &sent {
            // Whatever we say ourselves is a sound message, except where the
            // request itself had no sound From, To or Call-ID to copy.
            let message = sip_events::wire::Message::scan(&answer.bytes).unwrap();
            if message.defect().is_some() {
                assert!(message.status().is_some_and(|s| s.as_u16() >= 400), "{}", answer.bytes.escape_ascii());
            }
            answered += 1;
        }
        if round % 100 == 0 {
            kit.accept_all();
            kit.run(Duration::from_secs(2));
        }
    }
    assert!(answered > 5_000, "{answered}");
    kit.run(Duration::from_secs(4_000));
    assert_eq!(kit.endpoint.transactions(), (0, 0), "nothing leaks");
    kit.events.clear();
    assert_eq!(kit.answer(peer(), Request::new("OPTIONS", "alive").bytes()).status(), 200);
}

#[test]
fn damaged_streams_do_no_harm() {
    let mut kit = Kit::notifier();
    let seeds = seeds();
    let mut dice = Dice(2);
    for round in 0..3_000u64 {
        let flow = stream(round, "198.51.100.7:40000");
        kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
        let mut bytes = seeds.concat();
        dice.damage(&mut bytes);
        for chunk in bytes.chunks(1 + dice.roll(2_000)) {
            if kit.endpoint.handle_stream(kit.now, StreamId(round), chunk).is_err() {
                break;
            }
            if dice.roll(3) == 0 {
                kit.drain();
            }
        }
        if dice.roll(2) == 0 {
            kit.drain();
            kit.accept_all();
        }
        kit.endpoint.handle_stream_closed(kit.now, StreamId(round)).unwrap();
        kit.drain();
        kit.run(Duration::from_millis(200));
        kit.events.clear();
    }
    kit.run(Duration::from_secs(4_000));
    assert_eq!(kit.endpoint.transactions(), (0, 0), "nothing leaks");
}

/// A table of transactions is no place for 60 kB of lines that a peer would
/// like to have kept: it is told so, and nothing is.
#[test]
fn a_request_with_too_much_to_keep_gets_513_without_state() {
    let mut kit = Kit::notifier();
    let long = "x".repeat(60_000);
    let route = format!("{}Record-Route: <sip:h;lr;x={long}>\r\n", Request::subscribe("").more);
    let huge = [
        Request { more: route.leak(), ..Request::subscribe("h1") },
        Request { via: format!("SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKh2;x={long}"), ..Request::subscribe("") },
        Request { call_id: long.clone().leak(), ..Request::subscribe("h3") },
        Request { to: format!("<sip:bob@192.0.2.1>;x={long}").leak(), ..Request::new("NOTIFY", "h4") },
    ];
    for request in huge {
        let bytes = request.bytes();
        let answer = kit.answer(peer(), &bytes);
        assert_eq!(answer.status(), 513);
        assert_eq!(kit.answer(peer(), &bytes), answer);
        assert_eq!(kit.endpoint.transactions(), (0, 0));
    }
    let some = format!("{}Record-Route: <sip:h;lr;x={}>\r\n", Request::subscribe("").more, "x".repeat(4_000));
    assert_eq!(
        kit.receive(peer(), Request { more: some.leak(), ..Request::subscribe("h5") }.bytes()).0,
        Handled::Consumed
    );
}
