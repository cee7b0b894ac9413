//! A million subscriptions, both ends: how much memory, how long the longest
//! call, and whether an exchange costs what it costs with one.

use cpu_time::ThreadTime;
use std::collections::BTreeMap;
use std::time::Duration;

use sip_events::{Decision, Event, Flow, Instant, ResourceKey, SubscriptionId};

use crate::fanout;
use crate::harness::{Meter, Report, live_bytes};
use crate::world::{self, Idle, Watch, World};

/// How many, unless `--live` says otherwise.
pub const LIVE: u32 = 1_000_000;

/// The longest call of each kind, by the time that this thread had a
/// processor.
#[derive(Default)]
struct Longest {
    by_kind: BTreeMap<&'static str, Duration>,
}

impl Watch for Longest {
    fn call<R>(&mut self, what: &'static str, call: impl FnOnce() -> R) -> R {
        let start = ThreadTime::now();
        let result = call();
        let spent = start.elapsed();
        let longest = self.by_kind.entry(what).or_default();
        *longest = spent.max(*longest);
        result
    }
}

impl Longest {
    fn report(&mut self, phase: &str, report: &mut Report) {
        for (kind, longest) in std::mem::take(&mut self.by_kind) {
            let name = format!("million: longest call, {phase}, {kind}");
            report.add(&name, longest.as_secs_f64() * 1e3, "ms", Some(10.0), None);
        }
    }
}

pub fn run(report: &mut Report, count: u32) {
    if !report.wants("million") {
        return;
    }
    let mut longest = Longest::default();
    let mut world = World::new();
    for _ in 0..count {
        world.exchange(&mut longest);
    }
    assert_eq!(world.told, u64::from(count));
    longest.report("building", report);

    let mut least = f64::INFINITY;
    let mut allocations = f64::INFINITY;
    for _ in 0..30 {
        let mut meter = Meter::default();
        meter.time(|| (0..200).for_each(|_| world.exchange(&mut Idle)));
        least = least.min(meter.spent.as_nanos() as f64 / 200.0);
        allocations = allocations.min(meter.allocations as f64 / 200.0);
    }
    report.add("million: exchange, both halves", least, "ns", Some(5_000.0), Some(allocations));

    world.rest(&mut Idle);
    let live = world.subscriber.subscriptions().count();
    let subscriptions: Vec<_> = world.subscriber.subscriptions().collect();
    let (nanos, allocations) = later_notify(&mut world, &subscriptions);
    report.add("million: later NOTIFY to a subscriber", nanos, "ns", Some(1_500.0), Some(allocations));

    let told = world.told;
    for chunk in subscriptions.chunks(1_000) {
        let now = world.now;
        for id in chunk {
            longest.call("refresh", || world.subscriber.refresh(now, *id, Some(3_600))).expect("it is live");
        }
        world.settle(&mut longest);
        // No faster than transactions are forgotten, of which there are 100,000 at most.
        world.pass(Duration::from_millis(400), &mut longest);
    }
    world.rest(&mut longest);
    assert_eq!(world.told, told + live as u64);
    longest.report("refreshing", report);

    // What both ends hold is what is free without them.
    let World { subscriber, notifier, now, .. } = world;
    let mut alone = notifier.clone();
    let before = live_bytes();
    drop(notifier);
    let notifier_side = (before - live_bytes()) as f64 / live as f64;
    report.add("million: bytes of an idle subscription, notifier", notifier_side, "B", Some(512.0), None);
    let before = live_bytes();
    drop(subscriber);
    let subscriber_side = (before - live_bytes()) as f64 / live as f64;
    report.add("million: bytes of an idle subscription, subscriber", subscriber_side, "B", Some(768.0), None);

    // Nobody refreshes: all run out at one moment.
    let late = now + Duration::from_secs(4_000);
    let mut buffer = Vec::with_capacity(4_096);
    let mut gone = 0;
    let mut at = late;
    while gone < live {
        longest.call("handle_timeout", || alone.handle_timeout(at));
        loop {
            buffer.clear();
            if longest.call("poll_transmit", || alone.poll_transmit(at, &mut buffer)).is_none() {
                break;
            }
        }
        while let Some(event) = longest.call("poll_event", || alone.poll_event()) {
            if matches!(event, sip_events::Event::WatcherGone { .. }) {
                gone += 1;
            }
        }
        match alone.poll_timeout() {
            Some(next) => at = at.max(next),
            None => break,
        }
    }
    longest.report("mass expiry", report);
    assert_eq!(gone, live);
    drop(alone);
    spread(report, count);
}

/// The NOTIFYs that follow refreshes, each handled, answered and told of, in
/// nanoseconds; and the allocations.
fn later_notify(world: &mut World, subscriptions: &[SubscriptionId]) -> (f64, f64) {
    let (to_subscriber, to_notifier) =
        (Flow::udp(world::address(1), world::address(2)), Flow::udp(world::address(2), world::address(1)));
    let (mut nanos, mut allocations) = (f64::INFINITY, f64::INFINITY);
    for chunk in subscriptions.chunks(1_000).take(30) {
        let now = world.now;
        let (a, b) = (&mut world.subscriber, &mut world.notifier);
        let (mut notifies, mut buffer) = (Vec::new(), Vec::with_capacity(4_096));
        for id in chunk {
            a.refresh(now, *id, None).expect("it is live");
            while a.poll_transmit(now, &mut buffer).is_some() {
                let _ = b.handle_message(now, to_notifier, &buffer);
                buffer.clear();
            }
            while let Some(transmit) = b.poll_transmit(now, &mut buffer) {
                transmit.append_body(&mut buffer);
                if buffer.starts_with(b"NOTIFY ") {
                    notifies.push(std::mem::take(&mut buffer));
                } else {
                    let _ = a.handle_message(now, to_subscriber, &buffer);
                }
                buffer.clear();
            }
            while a.poll_event().or_else(|| b.poll_event()).is_some() {}
        }
        let mut answers: Vec<Vec<u8>> = notifies.iter().map(|_| Vec::with_capacity(1_024)).collect();
        let mut meter = Meter::default();
        let mut told = 0;
        meter.time(|| {
            for (notify, answer) in notifies.iter().zip(&mut answers) {
                let _ = a.handle_message(now, to_subscriber, notify);
                let _ = a.poll_transmit(now, answer).expect("a 200");
                while let Some(event) = a.poll_event() {
                    told += usize::from(matches!(event, Event::Notify { .. }));
                }
            }
        });
        assert_eq!((notifies.len(), told), (chunk.len(), chunk.len()));
        for answer in &answers {
            let _ = b.handle_message(now, to_notifier, answer);
        }
        while b.poll_event().is_some() {}
        nanos = nanos.min(meter.spent.as_nanos() as f64 / told as f64);
        allocations = allocations.min(meter.allocations as f64 / told as f64);
        world.rest(&mut Idle);
    }
    (nanos, allocations)
}

/// The notifier alone, and each watcher at an address of its own.
fn spread(report: &mut Report, count: u32) {
    let mut longest = Longest::default();
    let before = live_bytes();
    let mut notifier = world::endpoint(2, world::limits());
    let key = ResourceKey::new("sip:bob@192.0.2.2", world::PACKAGE).expect("a key");
    notifier.add_resource(&key).expect("a resource");
    let mut now = Instant::ZERO;
    let mut buffer = Vec::with_capacity(4_096);
    for number in 0..count {
        now = now + Duration::from_millis(1);
        let flow = Flow::udp(world::address(2), fanout::remote(number));
        let text = fanout::subscribe(number, world::PACKAGE);
        let _ = longest.call("handle_message", || notifier.handle_message(now, flow, text.as_bytes()));
        let Some(Event::Subscribe(incoming)) = notifier.poll_event() else { panic!("no question") };
        longest.call("accept", || notifier.accept(now, incoming, Decision::ACCEPT)).expect("room");
        loop {
            buffer.clear();
            if longest.call("poll_transmit", || notifier.poll_transmit(now, &mut buffer)).is_none() {
                break;
            }
            if buffer.starts_with(b"NOTIFY ") {
                let answer = fanout::answer(&buffer);
                let _ = longest.call("handle_message", || notifier.handle_message(now, flow, &answer));
            }
        }
        longest.call("handle_timeout", || notifier.handle_timeout(now));
    }
    now = now + Duration::from_secs(120);
    while notifier.next_timer().is_some_and(|(at, _)| at <= now) {
        longest.call("handle_timeout", || notifier.handle_timeout(now));
    }
    assert_eq!((notifier.agent().counts().1, notifier.transactions()), (count, (0, 0)));
    longest.report("building, an address each", report);
    let bytes = (live_bytes() - before) as f64 / f64::from(count);
    report.add("million: bytes of an idle subscription, notifier, an address each", bytes, "B", Some(512.0), None);
}
