//! RFC 6665 section 5: what a package decides, seen through the endpoint.

use std::time::Duration;

use sip_events::package::{EventPackage, Expires, Forking, Merged, NotifyContext, Opaque, Part, Rendered};
use sip_events::{Body, Decision, Event, Packages, ResourceKey, Subscribe, TimerKind};

use crate::harness::*;

/// Counts: state is a number; a NOTIFY carries `v<version> <number>`.
#[derive(Debug)]
struct Counter;

impl EventPackage for Counter {
    fn name(&self) -> &str {
        "x-counter"
    }
    fn duration(&self) -> Expires {
        Expires::new(60, 900, 7200)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/x-count"]
    }
    fn rate(&self) -> Duration {
        Duration::ZERO
    }
    fn render(&self, cx: &NotifyContext<'_>) -> Rendered {
        let data = [b"v ", &cx.state.data[..]].concat();
        Rendered::Numbered { body: Body::new("text/x-count", data), at: 1 }
    }
    fn merge(&self, current: Option<&Body>, update: &Body) -> Merged {
        let version = |body: &Body| -> Option<u32> {
            std::str::from_utf8(&body.data).ok()?.strip_prefix('v')?.split(' ').next()?.parse().ok()
        };
        let gap = current.is_some_and(|current| version(update) != version(current).map(|v| v + 1));
        let mut merged = Merged::replaced(update.clone(), true);
        merged.resync = gap;
        merged
    }
    fn neutral(&self, _resource: &str) -> Option<Body> {
        Some(Body::from_static("text/x-count", b"none"))
    }
    fn aggregate(&self, parts: &[Part<'_>]) -> Option<Body> {
        parts.first().map(|part| part.body.clone())
    }
}

fn counter() -> Rig {
    let mut packages = Packages::standard();
    packages.register(Counter).unwrap();
    packages.register(Opaque::new("x-single")).unwrap();
    packages.register(Opaque::new("presence.winfo")).unwrap();
    packages.register(Opaque::new("presence.winfo.list")).unwrap();
    packages.register(Opaque::new("presence.list.winfo")).unwrap();
    packages.register(Opaque::new("x-forking").with_forking(Forking::All)).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-counter").unwrap()).unwrap();
    rig
}

fn set(rig: &mut Rig, number: u32) -> Vec<Out> {
    let counter = rig.endpoint.find(&ResourceKey::new(BOB, "x-counter").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, counter, Body::new("text/x-count", number.to_string())).unwrap();
    rig.drain()
}

fn body(out: &Out) -> String {
    String::from_utf8(out.body()).unwrap()
}

/// Covers: 6665-5.3.2-1, 6665-5.3.2-2, 6665-5.4.7-1, 6665-4.1.2.4-6
#[test]
fn versions_rise_by_one_with_every_notify() {
    let mut rig = counter();
    let ask =
        |n: u32| subscribe(600).set("Event", "x-counter").set("Call-ID", format!("v{n}")).branch(&format!("v{n}"));
    let pending = rig.decide(ask(1), Decision::PENDING);
    assert_eq!(body(&pending.notify), "none");
    rig.quiet(pending.notify.answer("200 OK"));
    set(&mut rig, 7);
    let theirs = rig.decide(ask(2), Decision::ACCEPT);
    assert_eq!(body(&theirs.notify), "v0 7");
    rig.quiet(theirs.notify.answer("200 OK"));
    let told = set(&mut rig, 8).remove(0);
    assert_eq!(body(&told), "v1 8");
    // The same NOTIFY sent again is the same version.
    assert!(rig.run(secs(2)).iter().all(|(_, out)| *out == told));
    rig.quiet(told.answer("200 OK"));
    // One that failed was a transaction too; what answers a SUBSCRIBE is whole.
    let told = set(&mut rig, 9).remove(0);
    assert_eq!(body(&told), "v2 9");
    rig.quiet(told.answer("500 Oops"));
    let sent = rig.feed(theirs.ok.refresh(2, 600).set("Event", "x-counter"));
    assert_eq!(body(&sent[1]), "v3 9");
}

/// Covers: 6665-5.3.2-3, 6665-5.4.8-1
#[test]
fn a_gap_in_the_versions_leads_to_a_refresh() {
    let mut rig = counter();
    let request = Subscribe::new(PEER_URI, "x-counter").unwrap();
    let ours = rig.ours_in(request, "active;expires=900");
    for (cseq, text) in [(2, "v1 1"), (3, "v2 2")] {
        let sent = rig.feed(ours.subscribe.notify(cseq, "active").body("text/x-count", text));
        assert_eq!((sent.len(), sent[0].status()), (1, 200));
    }
    rig.idle(secs(30));
    let sent = rig.feed(ours.subscribe.notify(4, "active").body("text/x-count", "v4 4"));
    assert_eq!((sent[0].status(), sent[1].is("SUBSCRIBE")), (200, true));
    // Its number is what the next one follows.
    rig.quiet(sent[1].accepted(900));
    let sent = rig.feed(ours.subscribe.notify(5, "active;expires=900").body("text/x-count", "v5 5"));
    assert_eq!(sent.len(), 1);
}

/// Covers: 6665-5.4.9-1, 6665-5.4.9-2, 6665-4.1.4-2
#[test]
fn a_package_with_one_subscription_takes_the_first_notify() {
    for event in ["x-single", "presence"] {
        let mut rig = counter();
        let ours = rig.start(Subscribe::new(PEER_URI, event).unwrap().expires(600).auto_refresh(false));
        assert_eq!(rig.status(ours.subscribe.notify_from("a", 1, "active;expires=600")), 200);
        assert_eq!(rig.status(ours.subscribe.notify_from("b", 1, "active;expires=600")), 481);
        // A 2xx of another fork completes the transaction, no more.
        let other = ours.subscribe.answer_as("200 OK", "b").add("Expires", "60").add("Contact", "<sip:b@203.0.113.9>");
        rig.quiet(other);
        assert_eq!((rig.left(&ours), rig.refresh(&ours).uri().as_str()), (600, PEER_URI));
        assert_eq!(rig.endpoint.subscriptions().count(), 1);
    }
}

/// Covers: 6665-5.4.9-1, 6665-5.4.9-3
#[test]
fn a_package_with_several_refreshes_each() {
    let mut rig = counter();
    let ours = rig.start(Subscribe::new(PEER_URI, "x-forking").unwrap().expires(600));
    rig.quiet(ours.subscribe.accepted(600));
    for (tag, expires) in [("a", 600), ("b", 300)] {
        assert_eq!(rig.status(ours.subscribe.notify_from(tag, 1, &format!("active;expires={expires}"))), 200);
    }
    let mut refreshed = Vec::new();
    while refreshed.len() < 2 {
        let refresh = rig.next(secs(600));
        rig.quiet(refresh.accepted(600));
        let tag = refresh.tag("To").unwrap();
        let cseq = 2 + u32::try_from(refreshed.len()).unwrap();
        assert_eq!(rig.status(ours.subscribe.notify_from(&tag, cseq, "active;expires=600")), 200);
        refreshed.push(tag);
    }
    assert_eq!(refreshed, ["b", "a"]);
}

/// Covers: 6665-5.4.4-1, 6665-5.4.4-2, 6665-5.4.1-1
#[test]
fn name_and_durations_are_the_packages() {
    let mut rig = counter();
    for (n, asked, granted) in [(1, None, "900"), (2, Some(100_000), "7200"), (3, Some(60), "60")] {
        let request = subscribe(0).set("Event", "x-counter").set("Call-ID", format!("n{n}")).branch(&format!("n{n}"));
        let request = match asked {
            Some(asked) => request.set("Expires", asked.to_string()),
            None => request.without("Expires"),
        };
        let theirs = rig.decide(request, Decision::ACCEPT);
        assert_eq!(theirs.ok.get("Expires"), granted);
    }
    assert_eq!(rig.status(subscribe(59).set("Event", "x-counter").set("Call-ID", "n4").branch("n4")), 423);
}

/// Covers: 6665-5.4.10-1
#[test]
fn the_packages_rate_holds_changes_back() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    assert!(rig.set_bob("<1/>").is_empty());
    let waits = rig.endpoint.explain(theirs.id).unwrap().waits_for;
    assert_eq!(waits, Some((TimerKind::Throttle, rig.now + secs(5))));
    assert_eq!(rig.next(secs(5)).body(), b"<1/>");
    // Not what answers a SUBSCRIBE, nor the end.
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!(sent.len(), 2);
    assert_eq!(rig.feed(theirs.ok.refresh(3, 0)).len(), 2);
    // A package without one tells every change.
    let mut rig = counter();
    let theirs = rig.theirs_by(subscribe(600).set("Event", "x-counter"));
    for n in 0..5 {
        let told = set(&mut rig, n).remove(0);
        rig.quiet(told.answer("200 OK"));
    }
    assert!(rig.watches(&theirs));
}

/// Covers: 6665-5.2-1, 6665-5.2-2, 6665-7.1-1
#[test]
fn the_order_of_templates_matters() {
    let mut rig = counter();
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "presence.winfo.list").unwrap()).unwrap();
    let ask = |n: u32, event: &str| {
        subscribe(600).set("Event", event).set("Call-ID", format!("t{n}")).branch(&format!("t{n}"))
    };
    assert_eq!(rig.status(ask(1, "presence.list.winfo")), 404);
    assert_eq!(rig.status(ask(2, "presence.winfo")), 404);
    assert_eq!(rig.status(ask(3, "presence.winfo.winfo")), 489);
    rig.quiet(ask(4, "presence.winfo.list"));
    assert!(rig.take().iter().any(|e| matches!(e, Event::Subscribe(_))));
}
