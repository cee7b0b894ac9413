//! RFC 3265 section 7: headers, syntax.

use sip_events::Decision;

use crate::harness::{Rig, Text, only, subscribe};

/// Covers: 3265-7.1-1
#[test]
fn methods_are_case_sensitive() {
    let mut rig = Rig::notifier();
    let text = subscribe(600);
    let lower = Text { start: text.start.replace("SUBSCRIBE", "subscribe"), ..text }.set("CSeq", "1 subscribe");
    assert_eq!(rig.status(lower), 501);
    assert!(rig.take().is_empty());
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=9");
    let mixed = Text { start: notify.start.replace("NOTIFY", "Notify"), ..notify }.set("CSeq", "2 Notify");
    assert_eq!(rig.status(mixed), 501);
    assert_eq!(rig.left(&ours), 600);
}

/// Covers: 3265-7.1-2
#[test]
fn mandatory_headers_are_sent_and_demanded() {
    let mut rig = Rig::notifier();
    for name in ["Via", "From", "To", "Call-ID", "CSeq", "Contact", "Event"] {
        let text = subscribe(600).branch(name).set("Call-ID", name).without(name).bytes();
        let _ = rig.endpoint.handle_message(rig.now, crate::harness::udp(), &text);
        // Without the lines that it would copy a response is unsound itself, so it is not read.
        let mut answer = Vec::new();
        let sent = rig.endpoint.poll_transmit(rig.now, &mut answer);
        assert_eq!(sent.is_none(), name == "Via");
        let status = if name == "Event" { "489" } else { "400" };
        assert!(sent.is_none() || answer.starts_with(format!("SIP/2.0 {status} ").as_bytes()), "{name}");
    }
    assert_eq!(rig.endpoint.watchers().count(), 0);
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    for (out, names) in [(&theirs.ok, ["Contact", "Expires"]), (&theirs.notify, ["Contact", "Max-Forwards"])] {
        for name in names {
            assert!(out.has(name), "{name}");
        }
    }
    // A 2xx to NOTIFY needs no Contact; a refresh without one keeps the target.
    rig.quiet(theirs.notify.answer("200 OK"));
    let target = theirs.notify.uri();
    let sent = rig.feed(theirs.ok.refresh(2, 600).without("Contact"));
    assert_eq!((sent[0].status(), only(&sent, "NOTIFY")[0].uri()), (200, target));
    // A NOTIFY that makes a dialog needs one; a later one does not.
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").without("Contact")), 400);
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").branch("c")), 200);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600").without("Contact")), 200);
}

/// Covers: 3265-7.2.1-1, PKG-15
#[test]
fn events_match_byte_by_byte_with_their_id() {
    let rows = [
        ("presence;id=1", "presence;id=1", 200),
        ("presence;id=1", "presence;param=x;id=1", 200),
        ("presence;id=1", "presence ;\r\n ID = 1;effective-by=9", 200),
        ("presence;id=1", "presence", 481),
        ("presence", "presence;id=1", 481),
        ("presence;id=a", "presence;id=A", 481),
        ("presence", "Presence", 489),
        ("presence", "presence;other=\"id=1;id=2\"", 200),
    ];
    for (ours, theirs, status) in rows {
        let mut rig = Rig::new();
        let request = sip_events::Subscribe::new(crate::harness::PEER_URI, ours).unwrap().expires(600);
        let ours = rig.start(request);
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600").set("Event", theirs)), status, "{theirs}");
    }
}

/// Covers: 3265-7.4-1
#[test]
fn compact_names_are_read() {
    let mut rig = Rig::notifier();
    let text = subscribe(600);
    let compact = |name: &str| match name {
        "Via" => "v".to_owned(),
        "From" => "f".to_owned(),
        "To" => "t".to_owned(),
        "Call-ID" => "i".to_owned(),
        "Contact" => "m".to_owned(),
        "Event" => "o".to_owned(),
        other => other.to_uppercase(),
    };
    let fields = text.fields.iter().map(|(name, value)| (compact(name), value.clone())).collect();
    let theirs = rig.decide(Text { fields, ..text }.add("u", "a, b").add("k", "x").add("l", "0"), Decision::ACCEPT);
    assert_eq!((theirs.notify.get("Event"), theirs.notify.uri()), ("presence".into(), crate::harness::PEER_URI.into()));
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let notify = ours.subscribe.notify(1, "active;expires=60").without("Event").add("o", "presence");
    assert_eq!(rig.status(notify.without("Contact").add("m", "<sip:c@198.51.100.7>")), 200);
    assert_eq!(rig.left(&ours), 60);
}

/// Covers: 4660-4, 5839-5.2-2
#[test]
fn a_202_is_never_sent_and_a_204_keeps_the_subscription() {
    // The harness looks for 202 in everything that is sent; a refusal cannot smuggle it in.
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let incoming = rig.incoming();
    let accepted = sip_events::wire::StatusCode::new(202).unwrap();
    let reject = sip_events::package::Reject::new(accepted);
    assert_eq!(rig.endpoint.reject(rig.now, incoming, reject), Err(sip_events::Misuse::BadValue));
    rig.endpoint.accept(rig.now, incoming, Decision::PENDING).unwrap();
    assert_eq!(rig.drain()[0].status(), 200);

    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.idle(crate::harness::secs(100));
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("204 No Notification").add("Expires", "600"));
    rig.idle(crate::harness::secs(40));
    assert!(rig.lives(&ours), "no NOTIFY is owed");
    assert_eq!(rig.left(&ours), 560);
}
