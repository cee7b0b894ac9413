//! In which order a request is judged: the first step that fails answers.

use sip_events::package::{EventPackage, Expires, Reject, SubscribeView};
use sip_events::wire::StatusCode;
use sip_events::{Body, Decision, DropReason, Event, Handled, PackageConfig, Packages, ResourceKey};

use crate::harness::*;

/// Covers: 6665-DISP-1, 6665-DISP-2, 6665-DISP-3, 6665-DISP-5, 6665-DISP-6, 6665-DISP-7, 6665-DISP-8, 6665-DISP-9,
/// 6665-DISP-10, 6665-DISP-11, 6665-DISP-12, 6665-DISP-13, 6665-DISP-14, 6665-DISP-15, 6665-DISP-17,
/// 6665-DISP-18, 6665-DISP-19, 6665-DISP-20, 6665-DISP-21, 6665-DISP-22, 6665-DISP-23, 6665-DISP-24,
/// 6665-DISP-25, 6665-DISP-26
#[test]
fn every_step() {
    walk(
        "6665-DISP",
        26,
        &[
            (1, mandatory_fields),
            (2, repetitions),
            (3, cancel),
            (4, authentication),
            (5, methods),
            (6, request_uri),
            (7, merged),
            (8, required_extensions),
            (9, event_of_a_subscribe),
            (10, dialog_of_a_subscribe),
            (11, order_of_subscribes),
            (12, usage_of_a_subscribe),
            (13, accept),
            (14, body_of_a_subscribe),
            (15, duration),
            (16, extensions_of_the_resource),
            (17, authorisation),
            (18, acceptance),
            (19, event_of_a_notify),
            (20, tag_of_a_notify),
            (21, order_of_notifies),
            (22, usage_of_a_notify),
            (23, attempt_of_a_notify),
            (24, state_of_a_notify),
            (25, body_of_a_notify),
            (26, notify_accepted),
        ],
    );
}

/// A package that refuses a filter, asks for an extension and refuses whoever
/// is not `peer`.
#[derive(Debug)]
struct Strict;

impl EventPackage for Strict {
    fn name(&self) -> &str {
        "x-strict"
    }
    fn duration(&self) -> Expires {
        Expires::new(600, 3600, 7200)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }
    fn subscribe_bodies(&self) -> &[&str] {
        &["text/x-filter"]
    }
    fn on_subscribe(&self, request: &SubscribeView<'_>) -> Result<(), Reject> {
        if request.from.starts_with(b"<sip:peer@") { Ok(()) } else { Err(Reject::new(StatusCode::FORBIDDEN)) }
    }
}

/// One step of the notifier's order: what spoils a request for it.
type Spoil = fn(Text) -> Text;

/// The steps of a first SUBSCRIBE from the fifth on, each with its answer.
const FIRST: [(usize, u16, Spoil); 7] = [
    (6, 416, |t| t.line("SUBSCRIBE http://example.com/ SIP/2.0")),
    (8, 420, |t| t.add("Require", "x-unknown")),
    (9, 489, |t| t.set("Event", "unknown")),
    (13, 406, |t| t.add("Accept", "text/x")),
    (14, 415, |t| t.body("text/html", "x")),
    (15, 423, |t| t.set("Expires", "30")),
    (17, 403, |t| t.set("From", "<sip:eve@example.com>;tag=p1")),
];

fn strict() -> Rig {
    let mut packages = Packages::standard();
    packages.register(Strict).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-strict").unwrap()).unwrap();
    rig.add_bob();
    rig
}

fn ask() -> Text {
    subscribe(600).set("Event", "x-strict")
}

/// Covers: 6665-DISP-6, 6665-DISP-8, 6665-DISP-9, 6665-DISP-13, 6665-DISP-14, 6665-DISP-15, 6665-DISP-17
#[test]
fn of_two_faults_the_earlier_step_answers() {
    for (at, (step, code, spoil)) in FIRST.iter().enumerate() {
        let mut rig = strict();
        assert_eq!(rig.status(spoil(ask())), *code, "step {step}");
        for (later, _, also) in &FIRST[at + 1..] {
            let mut rig = strict();
            assert_eq!(rig.status(spoil(also(ask()))), *code, "step {step} before {later}");
        }
        assert_eq!(rig.endpoint.watchers().count(), 0);
        assert!(rig.take().is_empty());
    }
}

fn refused(rig: &mut Rig, message: impl Into<Vec<u8>>) -> u16 {
    let (handled, sent) = rig.receive(udp(), message);
    assert!(matches!(handled, Handled::Dropped(DropReason::Refused | DropReason::Malformed)), "{handled:?}");
    assert_eq!(sent.len(), 1);
    sent[0].status()
}

fn mandatory_fields() {
    for name in ["From", "To", "Call-ID", "CSeq"] {
        let mut rig = Rig::notifier();
        // Where From, To or Call-ID is missing the answer has what there is.
        let bytes: Vec<u8> = subscribe(600).without(name).bytes();
        let _ = rig.endpoint.handle_message(rig.now, udp(), &bytes);
        let mut out = Vec::new();
        let transmit = rig.endpoint.poll_transmit(rig.now, &mut out).expect(name);
        assert!(out.starts_with(b"SIP/2.0 400 "), "{name} {}", transmit.head_len);
    }
    let mut rig = Rig::notifier();
    assert_eq!(refused(&mut rig, subscribe(600).set("CSeq", "1 NOTIFY")), 400);
    assert_eq!(refused(&mut rig, subscribe(600).add("Call-ID", "second").branch("b2")), 400);
    // No answer can be built.
    rig.quiet(subscribe(600).without("Via"));
    assert!(rig.take().is_empty());
}

fn repetitions() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    for _ in 0..3 {
        assert_eq!(rig.one(subscribe(600)), theirs.ok);
    }
    let unknown = subscribe(600).set("Event", "unknown").set("Call-ID", "c2").branch("b2");
    let first = rig.one(&unknown);
    assert_eq!(rig.one(&unknown), first);
    assert!(rig.take().is_empty());
}

fn cancel() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let cancel = Text { start: format!("CANCEL {BOB} SIP/2.0"), ..subscribe(600) }.set("CSeq", "1 CANCEL");
    assert_eq!(rig.status(&cancel), 200);
    assert_eq!(rig.status(cancel.branch("other")), 481);
    let _ = rig.incoming();
}

/// Where credentials are asked for, nothing else is looked at before them.
fn authentication() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600).add("Authorization", "Digest username=\"x\""));
    let incoming = rig.incoming();
    assert_eq!(rig.endpoint.incoming(incoming).unwrap().identity, None);
    #[cfg(feature = "digest")]
    {
        let settings = sip_events::digest::Settings::new("example.com").unwrap();
        let mut rig = Rig::notifier_with(Rig::config().with_authentication(settings.into()));
        for text in
            [subscribe(600), subscribe(1), subscribe(600).set("Event", "unknown"), subscribe(600).add("Require", "x")]
        {
            let refused = rig.one(text);
            assert_eq!(refused.status(), 401);
            assert!(refused.has("WWW-Authenticate") && !refused.has("Unsupported"));
        }
        assert!(rig.take().is_empty());
        // What needs no user: an unknown method, a URI of no use.
        let publish = Text { start: format!("PUBLISH {BOB} SIP/2.0"), ..subscribe(600) }.cseq(1);
        assert_eq!(rig.status(publish), 405);
    }
}

fn methods() {
    let mut rig = Rig::notifier();
    for (method, code) in [
        ("INVITE", 405),
        ("REFER", 405),
        ("PUBLISH", 405),
        ("MESSAGE", 405),
        ("Subscribe", 501),
        ("Notify", 501),
        ("FOO", 501),
    ] {
        let request = Text { start: format!("{method} {BOB} SIP/2.0"), ..subscribe(600) }.cseq(1);
        let answer = rig.one(request);
        assert_eq!((answer.status(), answer.has("Allow")), (code, code == 405), "{method}");
    }
}

fn request_uri() {
    let mut rig = Rig::notifier();
    assert_eq!(refused(&mut rig, subscribe(600).line("SUBSCRIBE http://example.com/ SIP/2.0")), 416);
    let nobody = subscribe(600).line("SUBSCRIBE sip:nobody@192.0.2.1 SIP/2.0").branch("b2");
    assert_eq!(refused(&mut rig, nobody), 404);
}

fn merged() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    assert_eq!(refused(&mut rig, subscribe(600).branch("b2")), 482);
    // With a To tag it is no merged request, but an old one.
    let theirs = rig.incoming();
    rig.endpoint.accept(rig.now, theirs, Decision::ACCEPT).unwrap();
    let ok = rig.drain().remove(0);
    assert_eq!(refused(&mut rig, ok.refresh(1, 600).branch("b3")), 500);
}

fn required_extensions() {
    let mut rig = Rig::notifier();
    let answer = rig.one(subscribe(600).add("Require", "x-a, x-b"));
    assert_eq!((answer.status(), answer.get("Unsupported").replace(' ', "").as_str()), (420, "x-a,x-b"));
    let mut rig = Rig::new();
    let ours = rig.ours();
    let answer = rig.one(ours.subscribe.notify(2, "active").add("Require", "x-a"));
    assert_eq!((answer.status(), answer.get("Unsupported").as_str()), (420, "x-a"));
}

fn event_of_a_subscribe() {
    let mut rig = Rig::notifier();
    for (n, event, code) in [(1, None, 489), (2, Some("unknown"), 489), (3, Some("presence, dialog"), 400)] {
        let request = subscribe(600).without("Event").branch(&format!("e{n}")).set("Call-ID", format!("e{n}"));
        let request = event.map_or(request.clone(), |event| request.add("Event", event));
        let answer = rig.one(request);
        assert_eq!((answer.status(), answer.has("Allow-Events")), (code, code == 489));
    }
}

fn dialog_of_a_subscribe() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let to = theirs.ok.get("To");
    for (n, wrong) in [
        theirs.ok.refresh(2, 600).set("To", format!("{to}x")),
        theirs.ok.refresh(2, 600).set("To", format!("<{BOB}>;tag=unknown")),
        theirs.ok.refresh(2, 600).set("Call-ID", "unknown"),
        theirs.ok.refresh(2, 600).set("From", "<sip:peer@example.com>;tag=unknown"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(refused(&mut rig, wrong.branch(&format!("w{n}"))), 481, "{n}");
    }
    assert_eq!(rig.feed(theirs.ok.refresh(2, 600))[0].status(), 200);
}

fn order_of_subscribes() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).cseq(50));
    for cseq in [50, 49, 1] {
        assert_eq!(refused(&mut rig, theirs.ok.refresh(cseq, 0).branch(&format!("o{cseq}"))), 500);
    }
    assert!(rig.watches(&theirs));
    assert_eq!(rig.feed(theirs.ok.refresh(51, 600))[0].status(), 200);
}

fn usage_of_a_subscribe() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    assert_eq!(refused(&mut rig, theirs.ok.refresh(2, 600).set("Event", "presence;id=2")), 403);
    let sent = rig.feed(theirs.ok.refresh(3, 0));
    assert_eq!(refused(&mut rig, theirs.ok.refresh(4, 600).set("Event", "presence;id=2")), 481);
    rig.quiet(sent[1].answer("200 OK"));
    assert_eq!(refused(&mut rig, theirs.ok.refresh(5, 600)), 481);
}

fn accept() {
    let mut rig = Rig::notifier();
    assert_eq!(refused(&mut rig, subscribe(600).add("Accept", "text/x, image/*")), 406);
}

fn body_of_a_subscribe() {
    let mut rig = Rig::notifier();
    let answer = rig.one(subscribe(600).body("text/html", "x"));
    assert_eq!((answer.status(), answer.has("Accept")), (415, true));
}

fn duration() {
    let mut package = PackageConfig::new("presence");
    package.min_expires = Some(7200);
    let mut rig = Rig::notifier_with(Rig::config().with_package(package).unwrap());
    let answer = rig.one(subscribe(3599));
    assert_eq!((answer.status(), answer.get("Min-Expires").as_str()), (423, "7200"));
    rig.quiet(subscribe(3600).set("Call-ID", "c2").branch("b2"));
}

/// No package that the crate brings needs one; a package refuses on its own.
fn extensions_of_the_resource() {
    #[derive(Debug)]
    struct Lists;
    impl EventPackage for Lists {
        fn name(&self) -> &str {
            "x-lists"
        }
        fn duration(&self) -> Expires {
            Expires::new(60, 3600, 7200)
        }
        fn notify_bodies(&self) -> &[&str] {
            &["text/plain"]
        }
        fn on_subscribe(&self, _request: &SubscribeView<'_>) -> Result<(), Reject> {
            Err(Reject::new(StatusCode::new(421).unwrap()))
        }
        fn option_tags(&self) -> &[&str] {
            &["eventlist"]
        }
    }
    let mut packages = Packages::standard();
    packages.register(Lists).unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "x-lists").unwrap()).unwrap();
    assert_eq!(refused(&mut rig, subscribe(600).set("Event", "x-lists")), 421);
}

fn authorisation() {
    let mut rig = Rig::notifier();
    for (n, code) in [(1, 403), (2, 603)] {
        rig.quiet(subscribe(600).set("Call-ID", format!("c{n}")).branch(&format!("b{n}")));
        let incoming = rig.incoming();
        rig.endpoint.reject(rig.now, incoming, Reject::new(StatusCode::new(code).unwrap())).unwrap();
        assert_eq!(rig.drain()[0].status(), code);
    }
    for (n, decision) in [(3, Decision::PENDING), (4, Decision::Active { expires: None, view: sip_events::View(9) })] {
        let theirs = rig.decide(subscribe(600).set("Call-ID", format!("c{n}")).branch(&format!("b{n}")), decision);
        assert_eq!(theirs.ok.status(), 200);
    }
}

fn acceptance() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600).add("Record-Route", "<sip:203.0.113.1;lr>"), Decision::ACCEPT);
    assert_eq!(theirs.ok.get("Expires"), "600");
    assert_eq!(theirs.ok.contact(), "sip:me@192.0.2.1:5060");
    assert_eq!(theirs.ok.get("Record-Route"), "<sip:203.0.113.1;lr>");
    assert_eq!(theirs.ok.get("Allow-Events"), "presence, message-summary");
    assert_eq!(theirs.notify.body(), b"<open/>");
}

fn event_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = |n: u32| ours.subscribe.notify(2, "active").branch(&format!("e{n}"));
    assert_eq!(refused(&mut rig, notify(1).without("Event")), 400);
    assert_eq!(refused(&mut rig, notify(2).set("Event", "presence, presence")), 400);
    assert_eq!(refused(&mut rig, notify(3).add("Event", "presence")), 400);
    assert_eq!(refused(&mut rig, notify(4).set("Event", "unknown")), 489);
}

fn tag_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let untagged = ours.subscribe.notify(2, "active").set("To", "<sip:me@192.0.2.1>");
    assert_eq!(refused(&mut rig, untagged), 481);
}

fn order_of_notifies() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    // Before its Event and its state are looked at.
    let old = ours.subscribe.notify(1, "active").branch("o1").set("Event", "presence;id=9");
    assert_eq!(refused(&mut rig, old.without("Subscription-State")), 500);
    // In another dialog the number is free.
    let fork = ours.subscribe.notify_from("other", 1, "active");
    assert_eq!(refused(&mut rig, fork), 481);
}

fn usage_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let other = ours.subscribe.notify(2, "active").set("Event", "presence;id=9").without("Subscription-State");
    assert_eq!(refused(&mut rig, other), 481);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active").branch("u")), 200);
}

fn attempt_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let wrong = |n: u32| ours.subscribe.notify(1, "active").branch(&format!("a{n}")).without("Subscription-State");
    let tag = ours.subscribe.get("From");
    assert_eq!(refused(&mut rig, wrong(1).set("Call-ID", "x")), 481);
    assert_eq!(refused(&mut rig, wrong(2).set("To", format!("{tag}x"))), 481);
    assert_eq!(refused(&mut rig, wrong(3).set("Event", "presence;id=9")), 481);
    assert_eq!(refused(&mut rig, wrong(4)), 400);
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
    // One dialog for presence; and none after Timer N.
    assert_eq!(refused(&mut rig, ours.subscribe.notify_from("b", 1, "active")), 481);
}

fn state_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = |n: u32| ours.subscribe.notify(1, "active;expires=600").branch(&format!("s{n}"));
    assert_eq!(refused(&mut rig, notify(1).without("Subscription-State")), 400);
    assert_eq!(refused(&mut rig, notify(2).set("Subscription-State", ";expires=1")), 400);
    assert_eq!(refused(&mut rig, notify(3).without("Contact").body("text/html", "x")), 400);
    assert_eq!(refused(&mut rig, notify(4).set("Contact", "<tel:+1>")), 400);
    // One that makes no dialog needs no Contact.
    assert_eq!(rig.status(notify(5).without("Contact").set("Subscription-State", "terminated;reason=rejected")), 200);
}

fn body_of_a_notify() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let answer = rig.one(ours.subscribe.notify(2, "terminated").body("text/html", "x"));
    assert_eq!((answer.status(), answer.get("Accept").as_str()), (415, PIDF));
    assert!(rig.lives(&ours) && rig.take().is_empty());
}

fn notify_accepted() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "pending;expires=77").set("Contact", "<sip:moved@203.0.113.9>");
    assert_eq!(rig.status(notify.body(PIDF, "<2/>")), 200);
    assert_eq!(rig.left(&ours), 77);
    assert!(
        rig.take()
            .iter()
            .any(|e| matches!(e, Event::Notify { cseq: 2, body: Some(body), .. } if *body == Body::new(PIDF, "<2/>")))
    );
    assert_eq!(rig.refresh(&ours).uri(), "sip:moved@203.0.113.9");
}
