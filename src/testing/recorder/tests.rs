//! Recorded runs, repeated.

#[cfg(feature = "digest")]
mod secrets;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Recorder, ReplayError, recorded_packages, replay};
use crate::io::Io;
use crate::package::Reject;
use crate::wire::{StatusCode, Transport};
use crate::{
    Answer, Body, Close, Config, ConnectFailure, Decision, Event, Flow, Instant, Limits, ObjectId, PackageConfig,
    Packages, Progress, Reason, ResolveFailure, ResourceKey, Restart, Scope, Seed, StreamId, Subscribe, View,
};

const ANN: &str = "192.0.2.1:5060";
const BOB: &str = "192.0.2.2:5060";

fn packages() -> Packages {
    let mut packages = Packages::standard();
    packages.register_opaque("x-door").unwrap();
    packages
}

fn recorder(user: &str, address: &str, now: Instant) -> Recorder {
    let limits = Limits { watchers: 50, ..Limits::default() };
    let mut package = PackageConfig::new("presence");
    package.min_interval = Some(Duration::from_millis(1500));
    let config = Config::new(&format!("sip:{user}@192.0.2.9"))
        .and_then(|config| config.user_agent("test/1"))
        .map(|config| config.with_authentication(crate::Authentication::None))
        .and_then(|config| config.with_limits(limits).with_package(package))
        .unwrap();
    let mut recorder = Recorder::new(Arc::new(config), packages(), &Seed([user.len() as u8; 32]), now);
    for transport in [Transport::Udp, Transport::Tcp] {
        recorder.add_local(transport, address.parse().unwrap(), Some(address.parse().unwrap()), None).unwrap();
    }
    recorder
}

/// Carries what each has to say to the other.
fn exchange(now: Instant, ann: &mut Recorder, bob: &mut Recorder) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let mut quiet = true;
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *ann, &mut *bob) } else { (&mut *bob, &mut *ann) };
            let mut bytes = b"before".to_vec();
            while let Some(transmit) = from.poll_transmit(now, &mut bytes) {
                transmit.append_body(&mut bytes);
                let flow = transmit.flow;
                match flow.stream {
                    None => _ = to.handle_message(now, Flow::udp(flow.remote, flow.local), &bytes[6..]),
                    Some(id) => _ = to.handle_stream(now, id, &bytes[6..]),
                }
                bytes.truncate(6);
                quiet = false;
            }
            while let Some(event) = from.poll_event() {
                quiet = false;
                match &event {
                    Event::Subscribe(id) => _ = from.accept(now, *id, Decision::ACCEPT),
                    Event::Io(Io::Connect { connect, transport, remote, .. }) => {
                        let (own, peer) = if turn == 0 { (ANN, BOB) } else { (BOB, ANN) };
                        assert_eq!(*remote, peer.parse().unwrap());
                        let flow = |local: &str, remote: &str| {
                            Flow::stream(*transport, local.parse().unwrap(), remote.parse().unwrap(), StreamId(5))
                        };
                        from.handle_stream_opened(now, Some(*connect), flow(own, peer)).unwrap();
                        to.handle_stream_opened(now, None, flow(peer, own)).unwrap();
                    }
                    Event::Io(Io::Resolve { query, .. }) => {
                        let addresses = [ANN, BOB][1 - turn % 2].parse::<core::net::SocketAddr>().unwrap().ip();
                        let answer = match query.as_u64() % 3 {
                            0 => Answer::Failed(ResolveFailure::NotSupported),
                            _ => Answer::Addresses { addresses: &[addresses], ttl: Duration::from_secs(5) },
                        };
                        from.handle_resolved(now, *query, answer).unwrap();
                    }
                    _ => {}
                }
                events.push(event);
            }
        }
        if quiet {
            return events;
        }
    }
}

/// A run with every call there is.
fn run() -> (Recorder, Recorder) {
    let mut now = Instant::from_secs(77);
    let (mut ann, mut bob) = (recorder("ann", ANN, now), recorder("bob", BOB, now));
    let key = ResourceKey::new("sip:bob@192.0.2.2", "presence").unwrap();
    let resource = bob.add_resource(&key).unwrap();
    let other = bob.add_resource(&ResourceKey::new("sip:door@192.0.2.2", "x-door").unwrap()).unwrap();
    let body = |text: &str| Body::new("application/pidf+xml", String::from(text));
    bob.set_state(now, resource, body("<a/>")).unwrap();
    bob.set_resource_data(resource, 9).unwrap();
    let subscribe = |uri: &str, event: &str| Subscribe::new(uri, event).unwrap().expires(600);
    let id = ann.subscribe(now, subscribe("sip:bob@192.0.2.2", "presence")).unwrap();
    ann.set_subscription_data(id, 11).unwrap();
    let streamed = ann.subscribe(now, subscribe("sip:door@192.0.2.2;transport=tcp", "x-door;id=4")).unwrap();
    let named = ann.subscribe(now, subscribe("sip:bob@example.com", "presence")).unwrap();
    exchange(now, &mut ann, &mut bob);
    let watchers: Vec<_> = bob.watchers().collect();
    assert!(watchers.len() >= 2, "{watchers:?}");
    bob.set_watcher_data(watchers[0], 12).unwrap();
    bob.report_delivery(watchers[0], true).unwrap();
    bob.set_state_for(now, resource, View(3), body("<b/>")).unwrap();
    bob.set_view(now, watchers[0], View(3)).unwrap();
    assert!(bob.approve(now, watchers[0]).is_err());
    bob.shorten(now, watchers[1], 100).unwrap();
    ann.refresh(now, id, Some(900)).unwrap();
    while bob.poll_changed().is_some() {}
    exchange(now, &mut ann, &mut bob);
    bob.set_writable(now, StreamId(5), false).unwrap();
    bob.set_state(now, other, Body::new("text/plain", "open")).unwrap();
    for _ in 0..5 {
        now = now + Duration::from_secs(1);
        ann.handle_timeout(now);
        bob.handle_timeout(now);
        exchange(now, &mut ann, &mut bob);
    }
    bob.set_writable(now, StreamId(5), true).unwrap();
    let mut record = Vec::new();
    bob.export(now, watchers[0], &mut record).unwrap();
    assert_eq!(bob.import(now, Duration::ZERO, &record), Ok(watchers[0].into()));
    bob.terminate(now, watchers[0], &Reason::Other("x-why".into()), Some(4)).unwrap();
    let _ = ann.unsubscribe(now, named, Scope::AllForks);
    let _ = ann.unsubscribe(now, streamed, Scope::This);
    exchange(now, &mut ann, &mut bob);
    ann.handle_unreachable(now, Flow::udp(ANN.parse().unwrap(), BOB.parse().unwrap()));
    ann.handle_stream_closed(now, StreamId(5)).unwrap();
    bob.handle_stream_closed(now, StreamId(5)).unwrap();
    // Nobody is there, and somebody is refused.
    let lost = ann.subscribe(now, subscribe("sip:x@192.0.2.7;transport=tcp", "presence")).unwrap();
    let mut head = Vec::new();
    while ann.poll_transmit(now, &mut head).is_some() {}
    while let Some(event) = ann.poll_event() {
        if let Event::Io(Io::Connect { connect, .. }) = event {
            ann.handle_connect_failed(now, connect, ConnectFailure::Refused).unwrap();
        }
    }
    let _ = ann.subscription(lost);
    ann.subscribe(now, subscribe("sip:bob@192.0.2.2", "presence")).unwrap();
    head.clear();
    let transmit = ann.poll_transmit(now, &mut head).unwrap();
    let _ = bob.handle_message(now, Flow::udp(BOB.parse().unwrap(), ANN.parse().unwrap()), &head);
    ann.handle_transmit_failed(now, transmit.id);
    while let Some(event) = bob.poll_event() {
        if let Event::Subscribe(id) = event {
            let reject = Reject::new(StatusCode::FORBIDDEN).retry_after(3);
            bob.reject(now, id, reject).unwrap();
        }
    }
    bob.remove_resource(now, other, &Reason::NoResource).unwrap();
    exchange(now, &mut ann, &mut bob);
    bob.forget(now, ObjectId::Watcher(watchers[1])).unwrap_err();
    bob.take_over(now, Duration::from_secs(1));
    ann.close(now, Close::Terminate);
    exchange(now, &mut ann, &mut bob);
    (ann, bob)
}

#[test]
fn a_recorded_run_gives_the_same_bytes_again() {
    let (mut ann, mut bob) = run();
    for recorder in [&mut ann, &mut bob] {
        let recording = recorder.take();
        assert!(recorder.take().is_empty());
        assert_eq!(recorded_packages(&recording).unwrap(), ["presence", "message-summary", "x-door"]);
        let again = replay(&recording, packages()).unwrap();
        assert_eq!(again.endpoint.digest_exact(), recorder.digest_exact());
        assert_eq!(again.endpoint.stats(), recorder.stats());
        assert!(again.calls > 60 && !again.torn, "{}", again.calls);
        assert!(again.events.len() > 5);
        let ladder = again.log.ladder();
        for part in ["SUBSCRIBE", "NOTIFY", "200"] {
            assert!(ladder.contains(part), "{part} in {ladder}");
        }
    }
}

#[test]
fn a_difference_is_named_with_its_place() {
    let (_, mut bob) = run();
    let recording = bob.take();
    // What was sent, changed in the recording.
    let at = recording.windows(11).position(|w| w == b"SIP/2.0 200").unwrap();
    let mut changed = recording.clone();
    changed[at] = b'Z';
    match replay(&changed, packages()).unwrap_err() {
        ReplayError::Differs { call, at: place, name: "poll_transmit", recorded, replayed } => {
            assert!(call > 5 && (place as usize) < at && at - (place as usize) < 60, "{call} at {place}, {at}");
            assert!(recorded.contains("ZIP/2.0 200") && replayed.contains("SIP/2.0 200"));
        }
        other => panic!("{other:?}"),
    }
    // What came, changed: it is another run from there on.
    let at = recording.windows(10).position(|w| w == b"SUBSCRIBE ").unwrap();
    let mut changed = recording;
    changed[at] = b'X';
    let error = replay(&changed, packages()).unwrap_err();
    assert!(matches!(error, ReplayError::Differs { name: "handle_message" | "poll_transmit", .. }), "{error}");
}

#[test]
fn what_is_no_recording_is_refused_and_a_torn_one_repeated_up_to_the_tear() {
    let (mut ann, _) = run();
    let recording = ann.take();
    let whole = replay(&recording, packages()).unwrap();
    for len in (0..recording.len()).step_by(97) {
        match replay(&recording[..len], packages()) {
            Ok(part) => assert!(part.calls < whole.calls),
            Err(ReplayError::NotARecording) => assert!(len < 10),
            Err(ReplayError::Malformed { call: 0, .. }) => {}
            Err(other) => panic!("{len} bytes: {other}"),
        }
    }
    assert_eq!(replay(&recording, Packages::standard()).unwrap_err(), ReplayError::Packages);
    assert_eq!(replay(b"SIPEVRUX..", packages()).unwrap_err(), ReplayError::NotARecording);
    let mut other = recording.clone();
    other[8] = 9;
    assert_eq!(replay(&other, packages()).unwrap_err(), ReplayError::Version { found: 9 });
    // Whatever the bytes, nothing panics.
    let mut state = 1u64;
    for _ in 0..300 {
        let mut damaged = recording.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % damaged.len();
            damaged[at] = (state >> 24) as u8;
        }
        let _ = replay(&damaged, packages());
    }
}

#[test]
fn a_recording_may_begin_with_a_snapshot() {
    let (_, bob) = run();
    let now = Instant::from_secs(500);
    let (mut writer, mut saved) = (bob.snapshot(now, 10), Vec::new());
    while writer.step(&bob, &mut saved) == Progress::More {}
    let config = Arc::new(bob.agent().config().clone());
    let fresh = Restart::Fresh(Seed([5; 32]));
    let mut again = Recorder::restore(config, packages(), &saved, now, Duration::from_secs(3), &fresh).unwrap();
    again.add_local(Transport::Udp, BOB.parse().unwrap(), None, None).unwrap();
    for second in 0..600 {
        let now = now + Duration::from_secs(second);
        again.handle_timeout(now);
        while again.poll_transmit(now, &mut Vec::new()).is_some() {}
        while again.poll_event().is_some() {}
    }
    let replayed = replay(&again.take(), packages()).unwrap();
    assert_eq!(replayed.endpoint.digest_exact(), again.digest_exact());
}
