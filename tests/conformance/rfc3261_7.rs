//! RFC 3261 sections 7, 19 and 20: what messages say, end to end.

use sip_events::{Ending, Event, Subscribe};

use crate::harness::{BOB, Out, PEER_URI, PIDF, Rig, Text, subscribe, udp};

/// Covers: 3261-7.3.1-6
#[test]
fn challenges_are_not_joined_and_their_commas_separate_parameters() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let challenge = ours
        .subscribe
        .answer("401 Unauthorized")
        .add("WWW-Authenticate", "Digest realm=\"a, b\", nonce=\"n, m\"")
        .add("WWW-Authenticate", "Digest nonce=\"o\", realm=\"c\"");
    rig.quiet(challenge);
    let realms: Vec<_> = rig
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::Challenge { realm, .. } => Some(realm),
            _ => None,
        })
        .collect();
    assert_eq!(realms, [&b"a, b"[..]]);
}

/// Covers: 3261-7.3.1-9
#[test]
fn what_proxies_need_comes_first() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request().route("sip:198.51.100.7:5080;lr").unwrap());
    let text = ours.subscribe.text();
    let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["Via", "Max-Forwards", "Route"], "{text}");
}

/// Headers that belong to another class of messages, or to another method.
///
/// Covers: 3261-7.3.2-1, 3265-7.1-3, 3265-3.2.2-11
#[test]
fn headers_that_do_not_belong_are_ignored() {
    let strange = |text: Text| {
        text.add("Min-Expires", "99999")
            .add("Retry-After", "99999")
            .add("Unsupported", "x")
            .add("WWW-Authenticate", "Digest realm=\"x\"")
            .add("SIP-ETag", "x")
            .add("Reply-To", "<sip:x@y>")
            .add("Subject", "x")
            .add("Alert-Info", "<http://x>")
    };
    let mut rig = Rig::notifier();
    let theirs = rig.decide(
        strange(subscribe(600)).add("Subscription-State", "terminated;reason=rejected"),
        sip_events::Decision::ACCEPT,
    );
    assert_eq!(theirs.ok.get("Expires"), "600");
    assert_eq!(theirs.notify.state_param("expires").as_deref(), Some("600"));
    for name in ["Expires", "Reply-To", "Subject", "Alert-Info", "Accept"] {
        assert!(!theirs.notify.has(name), "{name}");
    }
    assert!(!theirs.ok.has("Accept"));
    // A 2xx of the watcher says nothing by these either.
    rig.quiet(strange(theirs.notify.answer("200 OK")).add("Expires", "1").add("Subscription-State", "terminated"));
    rig.idle(std::time::Duration::from_secs(500));
    assert!(rig.watches(&theirs));

    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(strange(ours.subscribe.accepted(600)).add("Subscription-State", "terminated").add("Event", "other"));
    let notify = strange(ours.subscribe.notify(1, "active;expires=500")).add("Expires", "10");
    assert_eq!(rig.status(notify), 200);
    assert_eq!(rig.left(&ours), 500);
}

/// Covers: 3261-7.4.1-1
#[test]
fn a_body_without_type_is_refused_and_a_type_without_body_is_not() {
    let mut rig = Rig::notifier();
    let mut bare = subscribe(600);
    bare.body = b"x".to_vec();
    let refused = rig.one(&bare);
    assert_eq!(refused.status(), 415);
    assert!(refused.has("Accept"));
    let theirs = rig.theirs_by(subscribe(600).set("Call-ID", "c2").branch("t").set("Content-Type", "x/y"));
    assert_eq!(theirs.notify.get("Content-Type"), PIDF);

    let mut rig = Rig::new();
    let ours = rig.ours();
    let mut bare = ours.subscribe.notify(2, "active;expires=500");
    bare.body = b"x".to_vec();
    let refused = rig.one(&bare);
    assert_eq!((refused.status(), refused.get("Accept")), (415, PIDF.into()));
    assert_eq!(rig.left(&ours), 600, "it changed nothing");
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=500").set("Content-Type", "x/y").branch("u")), 200);
    assert_eq!(rig.left(&ours), 500);
}

/// Covers: 3261-19.1.5-2, 3261-19.1.1-2, 3261-19.1.5-1
#[test]
fn headers_in_a_uri_are_not_obeyed() {
    let mut rig = Rig::new();
    let uri = "sip:bob;x=y@198.51.100.7:5080;unknown=1;transport=udp\
               ?From=evil%40x&Route=%3Csip:evil%3E&Contact=%3Csip:evil%3E&Via=evil&CSeq=7&Call-ID=evil";
    let sent = rig.start(Subscribe::new(uri, "presence").unwrap()).subscribe;
    assert!(!sent.text().contains("evil"), "{}", sent.text());
    assert_eq!(sent.uri(), "sip:bob;x=y@198.51.100.7:5080;unknown=1;transport=udp");
    let to = sent.get("To");
    assert!(!to.contains("transport") && !to.contains("5080") && !to.contains('?'), "{to}");
    // Nor those in a Contact that becomes the remote target.
    let mut rig = Rig::notifier();
    let contact = "<sip:peer@198.51.100.7:5080;method=INVITE?Route=%3Csip:evil%3E>";
    let theirs = rig.theirs_by(subscribe(600).set("Contact", contact));
    assert_eq!(theirs.notify.uri(), PEER_URI);
}

/// Covers: 3261-19.3-1
#[test]
fn tags_are_new_each_time_and_ours_differ_from_ours() {
    let mut rig = Rig::notifier();
    let mut tags = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let id = rig.endpoint.subscribe(rig.now, Rig::request()).unwrap();
        let sent = rig.drain().remove(0);
        assert!(tags.insert(sent.tag("From").unwrap()));
        assert!(sent.tag("From").unwrap().len() >= 16);
        rig.quiet(sent.answer("403 Forbidden"));
        assert!(rig.endpoint.subscription(id).is_err());
    }
    for n in 0..200 {
        let text = subscribe(600).set("Call-ID", format!("c{n}")).branch(&format!("b{n}"));
        let theirs = rig.theirs_by(text);
        assert!(tags.insert(theirs.ok.tag("To").unwrap()));
    }
    // Another seed, other tags.
    let mut other = sip_events::Endpoint::new(
        std::sync::Arc::new(Rig::config()),
        sip_events::Packages::standard(),
        &sip_events::Seed([8; 32]),
        rig.now,
    );
    other.add_local(sip_events::wire::Transport::Udp, udp().local, None, None).unwrap();
    other.subscribe(rig.now, Rig::request()).unwrap();
    let mut head = Vec::new();
    let sent = other.poll_transmit(rig.now, &mut head).unwrap();
    assert!(tags.insert(Out { flow: sent.flow, bytes: head }.tag("From").unwrap()));
}

/// A request of ours that comes back to us: both sides are ours.
///
/// Covers: 3261-19.3-1, 3261-12-1
#[test]
fn the_endpoint_can_watch_itself() {
    let mut rig = Rig::notifier();
    let id = rig.endpoint.subscribe(rig.now, Subscribe::new(BOB, "presence").unwrap().expires(600)).unwrap();
    let mut sent = rig.drain();
    let (mut tags, mut notified) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..20 {
        let Some(out) = sent.pop() else { break };
        tags.extend([out.tag("From"), out.tag("To")].into_iter().flatten());
        let flow = sip_events::Flow::udp(out.flow.remote, out.flow.local);
        sent.extend(rig.receive(flow, out.bytes.clone()).1);
        notified += usize::from(out.is("NOTIFY"));
        while let Some(at) = rig.events.iter().position(|e| matches!(e, Event::Subscribe(_))) {
            let Event::Subscribe(incoming) = rig.events.remove(at) else { unreachable!() };
            rig.endpoint.accept(rig.now, incoming, sip_events::Decision::ACCEPT).unwrap();
            sent.extend(rig.drain());
        }
    }
    assert_eq!((notified, tags.len()), (1, 2), "one dialog, two tags");
    assert_eq!(rig.notified(), ["<open/>"]);
    assert!(rig.endpoint.subscription(id).is_ok());
    assert!(!rig.events.iter().any(|e| matches!(e, Event::Terminated { why: Ending::NoNotify, .. })));
}
