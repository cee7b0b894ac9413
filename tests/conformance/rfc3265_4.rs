//! RFC 3265 section 4: a package of the application's fills every heading.

use std::time::Duration;

use sip_events::package::{
    Body, EventPackage, Expires, Forking, Merged, NotifyContext, PackageError, Reject, Rendered, SubscribeView,
};
use sip_events::wire::StatusCode;
use sip_events::{Decision, Packages, ResourceId, ResourceKey, Subscribe, View};

use crate::harness::{BOB, Out, PEER_URI, Rig, Text, only, secs, subscribe};

const LOG: &str = "text/x-log";
const SHORT: &str = "text/x-short";

/// Bodies carry a version, and may be partial: `v1 full a`, `v2 add b`.
#[derive(Debug)]
struct Door;

impl EventPackage for Door {
    fn name(&self) -> &str {
        "x-door"
    }
    fn parameters(&self, event: &[u8]) -> Result<(), Reject> {
        let bad = event.windows(5).any(|w| w == b"floor") && !event.windows(7).any(|w| w == b"floor=1");
        if bad { Err(Reject::new(StatusCode::BAD_REQUEST)) } else { Ok(()) }
    }
    fn subscribe_bodies(&self) -> &[&str] {
        &["text/x-filter"]
    }
    fn subscribe_body(&self, body: &Body) -> Result<(), Reject> {
        if &body.data[..] == b"bad" { Err(Reject::new(StatusCode::new(488).unwrap())) } else { Ok(()) }
    }
    fn duration(&self) -> Expires {
        Expires::new(100, 1761, 5000)
    }
    fn notify_bodies(&self) -> &[&str] {
        &[LOG, SHORT]
    }
    fn on_subscribe(&self, request: &SubscribeView<'_>) -> Result<(), Reject> {
        match (request.refresh, request.body) {
            (false, None) => Err(Reject::new(StatusCode::new(482).unwrap()).retry_after(7)),
            _ => Ok(()),
        }
    }
    fn render(&self, cx: &NotifyContext<'_>) -> Rendered {
        let text = std::str::from_utf8(&cx.state.data).unwrap();
        match cx.content_type {
            SHORT => Rendered::Shared(Body::new(SHORT, text.split(' ').next_back().unwrap().to_owned())),
            _ => Rendered::Numbered { body: Body::new(LOG, format!("v {text}")), at: 1 },
        }
    }
    fn merge(&self, current: Option<&Body>, update: &Body) -> Merged {
        let read = |body: &Body| {
            let text = String::from_utf8(body.data.to_vec()).unwrap();
            let (version, rest) = text.split_once(' ').unwrap();
            let (kind, value) = rest.split_once(' ').unwrap();
            (version[1..].parse::<u32>().unwrap(), kind.to_owned(), value.to_owned())
        };
        let (version, kind, value) = read(update);
        let (before, _, old) = current.map(read).unwrap_or_default();
        let kept = |value: &str| Body::new(LOG, format!("v{version} full {value}"));
        match kind.as_str() {
            "full" => Merged::replaced(kept(&value), value != old),
            _ if version == before => Merged::default(),
            _ if version == before + 1 => Merged::replaced(kept(&format!("{old}{value}")), true),
            _ => {
                let mut merged = Merged::replaced(kept(&old), false);
                merged.resync = true;
                merged
            }
        }
    }
    fn forking(&self) -> Forking {
        Forking::All
    }
    fn rate(&self) -> Duration {
        secs(20)
    }
    fn neutral(&self, _resource: &str) -> Option<Body> {
        Some(Body::from_static(LOG, b"v full -"))
    }
}

fn door() -> (Rig, ResourceId) {
    let mut packages = Packages::standard();
    packages.register(Door).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    let bob = rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-door").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, bob, Body::new(LOG, "full shut")).unwrap();
    (rig, bob)
}

fn ask(n: u32) -> Text {
    let text = subscribe(600).set("Event", "x-door").set("Call-ID", format!("d{n}")).branch(&format!("d{n}"));
    text.body("text/x-filter", "good")
}

/// Covers: 3265-4.4.1-1, 3265-4.4.2-1, 3265-4.4.3-1, 3265-3.1.2-5, 3265-4.4.6-1, PKG-8, PKG-16, PKG-18
#[test]
fn a_package_judges_parameters_bodies_and_requests() {
    let (mut rig, _) = door();
    assert_eq!(rig.status(ask(1).set("Event", "x-door;floor=9")), 400);
    assert_eq!(rig.status(ask(2).body("text/x-filter", "bad")), 488);
    let refused = rig.one(ask(3).body("text/x-other", "good"));
    assert_eq!((refused.status(), refused.get("Accept")), (415, "text/x-filter".into()));
    let refused = rig.one(subscribe(600).set("Event", "x-door"));
    assert_eq!((refused.status(), refused.get("Retry-After")), (482, "7".into()));
    rig.quiet(ask(4).set("Event", "x-door;floor=1;q=\"a;b, c\""));
    let incoming = rig.incoming();
    let seen = rig.endpoint.incoming(incoming).unwrap();
    assert_eq!((seen.package, seen.event), ("x-door", &b"x-door;floor=1;q=\"a;b, c\""[..]));
    assert_eq!(seen.body.unwrap().data, "good");
    rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    let sent = rig.drain();
    assert_eq!(sent[1].get("Event"), "x-door;floor=1;q=\"a;b, c\"");
    // A refresh needs no body here.
    rig.quiet(sent[1].answer("200 OK"));
    assert_eq!(rig.feed(sent[0].refresh(2, 600).set("Event", "x-door"))[0].status(), 200);
}

/// Covers: 3265-4.4.4-1, 3265-4.4.4-2, 3265-4.4.5-1, 3265-4.4.5-2, PKG-2
#[test]
fn a_package_names_durations_and_types() {
    let (mut rig, bob) = door();
    assert_eq!(rig.theirs_by(ask(1).without("Expires")).ok.get("Expires"), "1761");
    assert_eq!(rig.theirs_by(ask(2).set("Expires", "9000")).ok.get("Expires"), "5000");
    assert_eq!(rig.one(ask(3).set("Expires", "99")).get("Min-Expires"), "100");
    let plain = rig.theirs_by(ask(4)).notify;
    assert_eq!((plain.get("Content-Type"), plain.body()), (LOG.into(), b"v0 full shut".to_vec()));
    let short = rig.theirs_by(ask(5).add("Accept", format!("{LOG};q=0.1, {SHORT}"))).notify;
    assert_eq!((short.get("Content-Type"), short.body()), (SHORT.into(), b"shut".to_vec()));
    // A state of another type is the application's mistake.
    let wrong = rig.endpoint.set_state(rig.now, bob, Body::new("text/plain", "x"));
    assert_eq!(wrong, Err(sip_events::Misuse::BadValue));
}

/// Covers: 3265-4.3.2-1, 3265-4.3.2-2, 3265-4.4.7-1, 3265-4.4.10-1, PKG-3, PKG-4, PKG-7, PEER-G01
#[test]
fn versions_rise_by_one_with_each_document_of_a_subscription() {
    let (mut rig, bob) = door();
    let (one, two) = (rig.theirs_by(ask(1)), rig.theirs_by(ask(2)));
    assert_eq!((one.notify.body(), two.notify.body()), (b"v0 full shut".to_vec(), b"v0 full shut".to_vec()));
    rig.endpoint.set_state(rig.now, bob, Body::new(LOG, "add open")).unwrap();
    assert!(rig.drain().is_empty(), "not within 20 s");
    let sent = rig.run(secs(20));
    let notifies: Vec<&Out> = sent.iter().map(|(_, out)| out).collect();
    assert_eq!(notifies.iter().map(|out| out.body()).collect::<Vec<_>>(), [b"v1 add open", b"v1 add open"]);
    assert!(sent.iter().all(|(at, _)| *at == secs(20)));
    // A repetition is the same document.
    for (_, again) in rig.run(Duration::from_millis(500)) {
        assert!(notifies.iter().any(|out| out.bytes == again.bytes), "{}", again.text());
    }
    for out in notifies {
        rig.quiet(out.answer("200 OK"));
    }
    // What answers a SUBSCRIBE counts too, and is not held back.
    let sent = rig.feed(one.ok.refresh(2, 600).set("Event", "x-door"));
    assert_eq!(only(&sent, "NOTIFY")[0].body(), b"v2 add open");
    // Pending: neutral.
    let pending = rig.decide(ask(3), Decision::PENDING);
    assert_eq!(pending.notify.body(), b"v full -");
}

/// Covers: 3265-4.3.2-3, 3265-4.4.8-1, 3265-4.4.9-1, PKG-5, PKG-6
#[test]
fn a_gap_in_versions_is_mended_by_a_refresh() {
    let (mut rig, _) = door();
    let ours = rig.start(Subscribe::new(PEER_URI, "x-door").unwrap().expires(600));
    rig.quiet(ours.subscribe.accepted(600));
    let notify = |n: u32, text: &str| ours.subscribe.notify(n, "active;expires=600").body(LOG, text.to_owned());
    let document = |rig: &Rig| {
        String::from_utf8(rig.endpoint.subscription(ours.id).unwrap().document.unwrap().data.to_vec()).unwrap()
    };
    assert_eq!(rig.status(notify(1, "v3 full a")), 200);
    assert_eq!(rig.status(notify(2, "v4 add b")), 200);
    assert_eq!(document(&rig), "v4 full ab");
    assert_eq!(rig.status(notify(3, "v4 add b")), 200);
    assert_eq!(document(&rig), "v4 full ab", "a duplicate");
    let sent = rig.feed(notify(4, "v6 add d"));
    assert_eq!(sent[0].status(), 200);
    let mut refresh = only(&sent, "SUBSCRIBE");
    refresh.extend(rig.run(secs(10)).into_iter().map(|(_, out)| out).filter(|out| out.is("SUBSCRIBE")));
    assert_eq!(refresh[0].tag("To").as_deref(), Some("theirs"));
    assert_eq!(document(&rig), "v6 full ab", "dropped, but its number kept");
    rig.quiet(refresh[0].accepted(600));
    assert_eq!(rig.status(notify(5, "v7 full abcd")), 200);
    assert_eq!(document(&rig), "v7 full abcd");
    // Its forks are subscriptions of their own.
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 1, "active;expires=600").body(LOG, "v0 full z")), 200);
    assert_eq!(rig.endpoint.subscriptions().count(), 2);
}

/// Covers: 3265-4.2-1, 3265-6-1
#[test]
fn names_are_tokens_joined_by_dots_and_taken_once() {
    let mut packages = Packages::standard();
    for name in ["presence.winfo", "presence.winfo.winfo", "winfo", "x-door"] {
        packages.register_opaque(name).unwrap();
        assert_eq!(packages.register_opaque(name), Err(PackageError::Taken));
    }
    for name in ["", ".", "a.", ".a", "a..b", "a b", "a,b", "a;b", "\u{fc}"] {
        assert_eq!(packages.register_opaque(name), Err(PackageError::Name), "{name}");
    }
    // Templates are served, and not announced (6665-4.4.4-5).
    let mut rig = Rig::build(Rig::config(), packages);
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "presence.winfo").unwrap()).unwrap();
    let theirs = rig.theirs_by(subscribe(600).set("Event", "presence.winfo"));
    assert_eq!(theirs.notify.get("Event"), "presence.winfo");
    assert!(!theirs.ok.get("Allow-Events").contains("presence.winfo"), "{}", theirs.ok.get("Allow-Events"));
    assert_eq!(rig.status(subscribe(600).branch("o").set("Call-ID", "o").set("Event", "winfo.presence")), 489);
}

/// Covers: 3265-5.2-1, 3265-5.2-2, 3856-6.6.2-3
#[test]
fn a_polite_block_looks_like_the_real_thing() {
    let mut rig = Rig::notifier();
    let bob = rig.bob();
    let blocked = View(1);
    rig.endpoint.set_state_for(rig.now, bob, blocked, Body::new(crate::harness::PIDF, "<open>no</open>")).unwrap();
    let at = |n: u32| subscribe(600).set("Call-ID", format!("v{n}")).branch(&format!("v{n}"));
    let real = rig.decide(at(1), Decision::ACCEPT);
    let fake = rig.decide(at(2), Decision::Active { expires: None, view: blocked });
    let shape = |out: &Out| {
        let text = out.text();
        let names: Vec<String> =
            text.lines().take_while(|l| !l.is_empty()).map(|l| l.split(':').next().unwrap().to_owned()).collect();
        names[1..].to_vec()
    };
    assert_eq!((shape(&fake.ok), shape(&fake.notify)), (shape(&real.ok), shape(&real.notify)));
    assert_eq!(fake.ok.status(), 200);
    assert_eq!(fake.notify.get("Subscription-State"), real.notify.get("Subscription-State"));
    assert_eq!(fake.notify.body(), b"<open>no</open>");
    rig.quiet(real.notify.answer("200 OK"));
    rig.quiet(fake.notify.answer("200 OK"));
    // A change of the real state is not told to it.
    rig.idle(secs(10));
    let told: Vec<_> = rig.set_bob("<secret/>").into_iter().filter(|out| out.text().contains("secret")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].get("Call-ID"), real.ok.get("Call-ID"));
}

/// Covers: 3265-5.6-2, PEER-G16
#[test]
fn bodies_that_nobody_can_read_pass_through() {
    let mut packages = Packages::new();
    packages.register_opaque("x-secret").unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    let ours = rig.start(Subscribe::new(PEER_URI, "x-secret").unwrap().accept("application/pkcs7-mime").unwrap());
    let body: Vec<u8> = (0..=255).collect();
    let notify = ours
        .subscribe
        .notify(1, "active;expires=600")
        .body("application/pkcs7-mime;smime-type=enveloped-data", body.clone());
    assert_eq!(rig.status(notify), 200);
    assert_eq!(&rig.endpoint.subscription(ours.id).unwrap().document.unwrap().data[..], &body[..]);
}
