//! Snapshots whose checksum is right and whose content is anything: refused,
//! or an endpoint that lives on within its limits.

use std::cell::RefCell;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::Transport;
use sip_events::{
    Body, Close, Config, Decision, Endpoint, Event, Flow, Instant, Limits, Packages, Progress, ResourceKey, Restart,
    Seed, Subscribe,
};
use siphasher::sip::SipHasher24;

const NOW: Instant = Instant::from_secs(1000);

fn config() -> Arc<Config> {
    let mut limits = Limits::default();
    (limits.subscriptions, limits.watchers, limits.resources, limits.incoming) = (16, 16, 8, 4);
    (limits.flows, limits.body, limits.dialog, limits.unproven) = (16, 400, 700, 8);
    (limits.server_transactions, limits.client_transactions, limits.streams, limits.resolved) = (16, 16, 4, 4);
    Arc::new(
        Config::new("sip:me@192.0.2.1")
            .unwrap()
            .with_authentication(sip_events::Authentication::None)
            .with_limits(limits),
    )
}

/// What stands at the end: the whole length, and the checksum of all before it.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len() as u64 + 16;
    bytes.extend_from_slice(&len.to_le_bytes());
    let mut sum = SipHasher24::new_with_keys(0x5349_5045_5645_4e54, u64::from_le_bytes(*b"SIPEVSNP"));
    sum.write(&bytes);
    bytes.extend_from_slice(&sum.finish().to_le_bytes());
    bytes
}

fn save(endpoint: &Endpoint) -> Vec<u8> {
    let (mut writer, mut out) = (endpoint.snapshot(NOW, 64), Vec::new());
    while writer.step(endpoint, &mut out) == Progress::More {}
    out
}

/// A snapshot with a watcher, a subscription and a resource.
fn sample() -> Vec<u8> {
    let mut endpoint = Endpoint::new(config(), Packages::standard(), &Seed([5; 32]), NOW);
    endpoint.add_local(Transport::Udp, "192.0.2.1:5060".parse().unwrap(), None, None).unwrap();
    let bob = endpoint.add_resource(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap();
    endpoint.set_state(NOW, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
    endpoint.subscribe(NOW, Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap()).unwrap();
    let head = "SUBSCRIBE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKp\r\n\
                Max-Forwards: 70\r\nFrom: <sip:ann@example.com>;tag=f0\r\nTo: <sip:bob@192.0.2.1>\r\nCall-ID: c0\r\n\
                CSeq: 1 SUBSCRIBE\r\nContact: <sip:ann@198.51.100.7:5080>\r\nEvent: presence\r\nExpires: 600\r\n\
                Content-Length: 0\r\n\r\n";
    let flow = Flow::udp("192.0.2.1:5060".parse().unwrap(), "198.51.100.7:5080".parse().unwrap());
    let _ = endpoint.handle_message(NOW, flow, head.as_bytes());
    drain(&mut endpoint, NOW);
    let saved = save(&endpoint);
    let restart = Restart::Continue(Seed([5; 32]));
    let restored = Endpoint::restore(config(), Packages::standard(), &saved, NOW, Duration::ZERO, &restart);
    assert_eq!(restored.map(|endpoint| endpoint.agent().counts()), Ok(endpoint.agent().counts()));
    saved
}

fn drain(endpoint: &mut Endpoint, now: Instant) {
    for _ in 0..64 {
        let mut bytes = Vec::new();
        let mut any = false;
        while endpoint.poll_transmit(now, &mut bytes).is_some() {
            any = true;
            bytes.clear();
        }
        while let Some(event) = endpoint.poll_event() {
            any = true;
            if let Event::Subscribe(id) = event {
                endpoint.accept(now, id, Decision::ACCEPT).unwrap();
            }
        }
        if !any {
            return;
        }
    }
    panic!("it never comes to rest");
}

/// A whole snapshot without its seal, or changes to a sound one: an even first
/// byte, then three bytes for each change.
pub(crate) fn restore(data: &[u8]) {
    thread_local! {
        static SAMPLE: RefCell<Vec<u8>> = RefCell::new(sample());
    }
    let mut bytes = match data.split_first() {
        Some((kind, rest)) if kind % 2 == 0 => {
            let mut bytes = SAMPLE.with_borrow(Clone::clone);
            bytes.truncate(bytes.len() - 16);
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
                match change[0] >> 6 {
                    0 => drop(bytes.remove(at)),
                    1 => bytes.insert(at, change[2]),
                    _ => bytes[at] = change[2],
                }
                if bytes.len() < 12 {
                    break;
                }
            }
            bytes
        }
        Some((_, rest)) => rest.to_vec(),
        None => return,
    };
    if bytes.len() >= 10 {
        SAMPLE.with_borrow(|sample| bytes[..10].copy_from_slice(&sample[..10]));
    }
    let bytes = seal(bytes);
    let restart =
        if data.len().is_multiple_of(2) { Restart::Fresh(Seed([6; 32])) } else { Restart::Continue(Seed([5; 32])) };
    let downtime = Duration::from_secs(u64::from(data.get(1).copied().unwrap_or(0)) * 10);
    let restored = Endpoint::restore(config(), Packages::standard(), &bytes, NOW, downtime, &restart);
    let Ok(mut endpoint) = restored else { return };
    let limits = config().limits;
    let (subscriptions, watchers, resources, incoming) = endpoint.agent().counts();
    assert!(subscriptions <= limits.subscriptions && watchers <= limits.watchers);
    assert!(resources <= limits.resources && incoming == 0);
    assert_eq!(endpoint.transactions(), (0, 0));
    // It can be saved and restored again.
    let again = Endpoint::restore(config(), Packages::standard(), &save(&endpoint), NOW, Duration::ZERO, &restart);
    assert!(again.is_ok(), "{:?}", again.err());
    endpoint.add_local(Transport::Udp, "192.0.2.1:5060".parse().unwrap(), None, None).unwrap();
    drain(&mut endpoint, NOW);
    endpoint.close(NOW, Close::Terminate);
    drain(&mut endpoint, NOW);
    let mut now = NOW;
    for _ in 0..2_000 {
        let Some((at, _)) = endpoint.next_timer() else { return };
        now = now.max(at);
        endpoint.handle_timeout(now);
        drain(&mut endpoint, now);
    }
    panic!("a timer never stops");
}
