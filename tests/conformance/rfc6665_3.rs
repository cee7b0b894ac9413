//! RFC 6665 section 3: what SUBSCRIBE and NOTIFY are.

use sip_events::package::{Body as Document, EventPackage, Expires, Reject};
use sip_events::wire::StatusCode;
use sip_events::{Body, Decision, PackageConfig, Packages, ResourceKey, Subscribe};

use crate::harness::*;

const MOVED: &str = "sip:moved@203.0.113.9:5070";

/// Covers: 6665-3.1-1
#[test]
fn subscribe_refreshes_the_target_on_both_sides() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.feed(theirs.ok.refresh(2, 600).set("Contact", format!("<{MOVED}>")));
    assert_eq!(sent[1].uri(), MOVED);
    assert_eq!(sent[1].flow.remote, addr("203.0.113.9:5070"));

    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.accepted(600).set("Contact", format!("<{MOVED}>")));
    rig.run(secs(1));
    let next = rig.refresh(&ours);
    assert_eq!((next.uri().as_str(), next.flow.remote), (MOVED, addr("203.0.113.9:5070")));
    // Not by a refusal.
    rig.quiet(next.answer("500 Oops").add("Contact", "<sip:nowhere@203.0.113.8>"));
    rig.endpoint.refresh(rig.now, ours.id, None).unwrap();
    assert_eq!(rig.drain()[0].uri(), MOVED);
}

/// Covers: 6665-3.2-2
#[test]
fn notify_refreshes_the_target_on_both_sides() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").set("Contact", format!("<{MOVED}>"))), 200);
    let refused = ours.subscribe.notify(3, "active").set("Contact", "<sip:nowhere@203.0.113.8>");
    assert_eq!(rig.status(refused.body("text/html", "x")), 415);
    assert_eq!(rig.refresh(&ours).uri(), MOVED);

    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("200 OK").add("Contact", format!("<{MOVED}>")));
    rig.run(secs(10));
    let told = rig.set_bob("<closed/>");
    assert_eq!(told[0].uri(), MOVED);
}

/// Covers: 6665-3.1.1-3, 6665-5.4.4-2
#[test]
fn without_expires_the_packages_default_holds() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(0).without("Expires"), Decision::ACCEPT);
    assert_eq!(theirs.ok.get("Expires"), "3600");
    let mut package = PackageConfig::new("presence");
    package.default_expires = Some(900);
    let mut rig = Rig::notifier_with(Rig::config().with_package(package).unwrap());
    let theirs = rig.decide(subscribe(0).without("Expires"), Decision::ACCEPT);
    assert_eq!(theirs.ok.get("Expires"), "900");
    // As subscriber, that is what is asked for.
    let ours = rig.start(Subscribe::new(PEER_URI, "presence").unwrap());
    assert_eq!(ours.subscribe.get("Expires"), "900");
}

/// Covers: 6665-3.1.1-9
#[test]
fn expires_of_a_contact_means_nothing() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).set("Contact", format!("<{PEER_URI}>;expires=1")));
    assert_eq!(theirs.ok.get("Expires"), "600");
    assert!(!theirs.ok.get("Contact").contains("expires"));
    rig.idle(secs(599));
    assert!(rig.watches(&theirs));

    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600).set("Contact", format!("<{PEER_URI}>;expires=1")));
    let notify = ours.subscribe.notify(1, "active").set("Contact", format!("<{PEER_URI}>;expires=1"));
    assert_eq!(rig.status(notify), 200);
    assert_eq!(rig.left(&ours), 600);
    assert_eq!(rig.refresh(&ours).uri(), PEER_URI);
}

/// Covers: 6665-3.1.2-1, 6665-3.1.2-2
#[test]
fn uri_and_event_name_a_subscription() {
    let mut rig = Rig::notifier();
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
    let first = rig.theirs();
    let second = subscribe(600).set("Event", "message-summary").set("Call-ID", "c2").branch("b2");
    let second = rig.theirs_by(second);
    let resource = |rig: &Rig, theirs: &Theirs| rig.endpoint.watcher(theirs.id).unwrap().resource;
    assert_ne!(resource(&rig, &first), resource(&rig, &second));
    assert_eq!(second.notify.get("Event"), "message-summary");
    rig.run(secs(10));
    let told = rig.set_bob("<closed/>");
    assert_eq!((told.len(), told[0].get("Call-ID")), (1, first.ok.get("Call-ID")));
    // None or several name none.
    assert_eq!(rig.status(subscribe(600).without("Event").set("Call-ID", "c3").branch("b3")), 489);
    assert_eq!(rig.status(subscribe(600).add("Event", "presence").set("Call-ID", "c4").branch("b4")), 400);
}

/// A package with a filter, two body types and rules of its own.
#[derive(Debug)]
struct Door;

impl EventPackage for Door {
    fn name(&self) -> &str {
        "x-door"
    }
    fn duration(&self) -> Expires {
        Expires::new(60, 1234, 86_400)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/plain", "text/html"]
    }
    fn subscribe_bodies(&self) -> &[&str] {
        &["application/x-filter"]
    }
    fn subscribe_body(&self, body: &Document) -> Result<(), Reject> {
        if &body.data[..] == b"bad" { Err(Reject::new(StatusCode::FORBIDDEN)) } else { Ok(()) }
    }
    fn parameters(&self, event: &[u8]) -> Result<(), Reject> {
        if event.ends_with(b";side=none") { Err(Reject::new(StatusCode::BAD_REQUEST)) } else { Ok(()) }
    }
    fn neutral(&self, _resource: &str) -> Option<Document> {
        Some(Document::from_static("text/plain", b"closed"))
    }
    fn render(&self, cx: &sip_events::package::NotifyContext<'_>) -> sip_events::package::Rendered {
        let data = if cx.content_type == "text/html" { "<p>open</p>" } else { "open" };
        sip_events::package::Rendered::Shared(Body::new(cx.content_type, data))
    }
}

fn door() -> Rig {
    let mut packages = Packages::standard();
    packages.register(Door).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    let door = rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-door").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, door, Body::new("text/plain", "open")).unwrap();
    rig
}

fn ask(n: u32) -> Text {
    subscribe(600).set("Event", "x-door").set("Call-ID", format!("d{n}")).branch(&format!("d{n}"))
}

/// Covers: 6665-3.1.2-3, 6665-5.4.3-1, 6665-5.4.6-1, 6665-DISP-14
#[test]
fn a_body_in_subscribe_is_the_packages_business() {
    let mut rig = door();
    rig.quiet(ask(1).body("application/x-filter", "good"));
    let incoming = rig.incoming();
    assert_eq!(&rig.endpoint.incoming(incoming).unwrap().body.unwrap().data[..], b"good");
    assert_eq!(rig.status(ask(2).body("application/x-filter", "bad")), 403);
    let refused = rig.one(ask(3).body("text/plain", "good"));
    assert_eq!((refused.status(), refused.get("Accept").as_str()), (415, "application/x-filter"));
}

/// Covers: 6665-3.1.2-4, 6665-5.4.2-1, 6665-BC-8
#[test]
fn parameters_of_event_are_the_packages_business() {
    let mut rig = door();
    assert_eq!(rig.status(ask(1).set("Event", "x-door;side=none")), 400);
    let theirs = rig.theirs_by(ask(2).set("Event", "x-door;side=left;x=\"a;b\""));
    // Echoed, but no part of what is compared.
    assert_eq!(theirs.notify.get("Event"), "x-door;side=left;x=\"a;b\"");
    let sent = rig.feed(theirs.ok.refresh(2, 600).set("Event", "x-door;side=right"));
    assert_eq!(sent[0].status(), 200);
}

/// Covers: 6665-3.1.3-1, 6665-3.1.3-2, 6665-3.2.1-4, 6665-3.2.1-3, 6665-5.4.5-1, 6665-5.4.5-2, 6665-4.1.2.1-6, INT-9
#[test]
fn accept_chooses_the_body_and_the_latest_accept_counts() {
    let mut rig = door();
    let told = |notify: &Out| (notify.get("Content-Type"), String::from_utf8(notify.body()).unwrap());
    let plain = ("text/plain".to_owned(), "open".to_owned());
    let html = ("text/html".to_owned(), "<p>open</p>".to_owned());
    for (n, accept, expected) in [
        (1, None, &plain),
        (2, Some("text/html"), &html),
        (3, Some("text/plain;q=0.1, text/html;q=0.9"), &html),
        (4, Some("text/*"), &plain),
        (5, Some("text/plain;q=0, */*"), &html),
    ] {
        let request = ask(n);
        let request = accept.map_or(request.clone(), |accept| request.add("Accept", accept));
        assert_eq!(told(&rig.decide(request, Decision::ACCEPT).notify), *expected, "{accept:?}");
    }
    assert_eq!(rig.status(ask(6).add("Accept", "text/x")), 406);

    let theirs = rig.theirs_by(ask(7).add("Accept", "text/html"));
    let refresh = |cseq| theirs.ok.refresh(cseq, 600).set("Event", "x-door");
    assert_eq!(told(&rig.feed(refresh(2))[1]), plain);
    assert_eq!(told(&rig.feed(refresh(3).add("Accept", "text/html"))[1]), html);
    assert_eq!(rig.status(refresh(4).add("Accept", "text/x")), 406);
    assert!(rig.watches(&theirs));
}

/// Covers: 6665-3.1.3-1
#[test]
fn the_application_chooses_what_it_accepts() {
    let mut rig = Rig::new();
    let request = Rig::request().accept("text/x-a").unwrap().accept("text/x-b;q=0.5").unwrap();
    let ours = rig.ours_in(request, "active;expires=600");
    assert_eq!(ours.subscribe.get("Accept"), "text/x-a, text/x-b;q=0.5");
    assert_eq!(rig.refresh(&ours).get("Accept"), "text/x-a, text/x-b;q=0.5");
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").body("text/x-b", "1")), 200);
    let refused = rig.one(ours.subscribe.notify(3, "active").body(PIDF, "1"));
    assert_eq!((refused.status(), refused.get("Accept").as_str()), (415, "text/x-a, text/x-b;q=0.5"));
}

/// Covers: 6665-3.2.1-1, 6665-3.2.1-2
#[test]
fn event_in_notify_is_the_one_of_the_subscribe() {
    for event in ["presence", "presence;id=4711", "presence ; id=4711 ; x=\"a;b\""] {
        let mut rig = Rig::notifier();
        let theirs = rig.decide(subscribe(600).set("Event", event), Decision::ACCEPT);
        assert_eq!(theirs.notify.all("Event"), [event]);
    }
}
