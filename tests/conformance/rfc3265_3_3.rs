//! RFC 3265 section 3.3: forks, fetches, discovery.

use sip_events::{Ending, Event, Gone, Scope, Subscribe};

use crate::harness::{BOB, Out, PEER_URI, Rig, only, secs, subscribe};

fn mail() -> Subscribe {
    Subscribe::new(PEER_URI, "message-summary").unwrap().expires(600)
}

/// Covers: 3265-3.1.4.4-1, 3265-3.3.3-1, 3265-3.3.3-2, 3265-4.4.9-2, 3856-6.9-1, PKG-1
#[test]
fn where_one_dialog_is_allowed_the_first_notify_wins() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        // The 2xx is of one fork, the first NOTIFY may be of another.
        rig.quiet(
            ours.subscribe.answer_as("200 OK", "a").add("Expires", "600").add("Contact", format!("<{PEER_URI}>")),
        );
        let notify = |tag: &str, n: u32| ours.subscribe.notify_from(tag, n, "active;expires=600");
        assert_eq!(rig.status(notify(order[0], 1)), 200);
        assert_eq!(rig.status(notify(order[1], 1)), 481);
        assert_eq!(rig.status(notify(order[0], 2)), 200);
        assert_eq!(rig.endpoint.subscriptions().count(), 1);
        assert_eq!(rig.refresh(&ours).tag("To").as_deref(), Some(order[0]));
    }
}

/// Covers: 3265-3.1.4.4-1, 3265-3.3.3-1, 3265-3.3.3-2, 3265-4.4.9-3, 3842-3.9-1, PKG-1, ADV-P23
#[test]
fn where_several_are_allowed_each_fork_is_a_subscription() {
    let mut rig = Rig::new();
    let ours = rig.start(mail());
    rig.quiet(ours.subscribe.answer_as("200 OK", "a").add("Expires", "600").add("Contact", format!("<{PEER_URI}>")));
    for (tag, expires) in [("a", 600), ("b", 500), ("c", 400)] {
        let contact = format!("<sip:{tag}@198.51.100.7:5080>");
        let notify = ours.subscribe.notify_from(tag, 1, &format!("active;expires={expires}")).set("Contact", contact);
        assert_eq!(rig.status(notify), 200, "{tag}");
    }
    let children: Vec<_> = rig
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::Forked { parent, child } => Some((parent, child)),
            _ => None,
        })
        .collect();
    assert_eq!(children.iter().map(|c| c.0).collect::<Vec<_>>(), [ours.id; 2]);
    assert_eq!(rig.endpoint.subscriptions().count(), 3);
    // Each is refreshed at its own place and time.
    let sent: Vec<_> = rig.run(secs(599)).into_iter().filter(|(_, out)| out.is("SUBSCRIBE")).collect();
    let of = |tag: &str| sent.iter().find(|(_, out)| out.tag("To").as_deref() == Some(tag)).expect("no refresh");
    let times: Vec<_> = ["c", "b", "a"].map(|tag| of(tag).0).into();
    assert!(times.is_sorted() && times[0] < secs(400 - 32) && times[1] < secs(500 - 32), "{times:?}");
    assert_eq!(of("b").1.uri(), "sip:b@198.51.100.7:5080");
    // Ending one leaves the others.
    let mut rig = Rig::new();
    let ours = rig.start(mail());
    for tag in ["a", "b"] {
        rig.status(ours.subscribe.notify_from(tag, 1, "active;expires=600"));
    }
    assert_eq!(rig.status(ours.subscribe.notify_from("a", 2, "terminated;reason=noresource")), 200);
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 2, "active;expires=600")), 200);
    assert_eq!(rig.endpoint.subscriptions().count(), 1);
}

/// Covers: 3265-3.3.6-1, 3265-3.3.6-3
#[test]
fn a_fetch_is_answered_once_by_each_notifier() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(0));
    assert_eq!(theirs.ok.get("Expires"), "0");
    assert_eq!(theirs.notify.get("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(theirs.notify.body(), b"<open/>");
    assert!(!rig.watches(&theirs));
    rig.idle(secs(100));

    let mut rig = Rig::new();
    let ours = rig.start(mail().expires(0));
    assert_eq!((ours.subscribe.get("Expires"), ours.subscribe.tag("To")), ("0".into(), None));
    rig.quiet(ours.subscribe.accepted(0));
    for tag in ["a", "b"] {
        let text = ours.subscribe.notify_from(tag, 1, "terminated;reason=timeout");
        let text = text.body("application/simple-message-summary", format!("Messages-Waiting: {tag}\r\n"));
        assert_eq!(rig.status(text), 200, "{tag}");
    }
    let bodies = rig.notified();
    assert_eq!(bodies, ["Messages-Waiting: a\r\n", "Messages-Waiting: b\r\n"]);
    rig.idle(secs(100));
    assert!(rig.take().iter().any(|e| matches!(e, Event::Terminated { why: Ending::Fetched, .. })));
    assert_eq!(rig.endpoint.subscriptions().count(), 0);
}

/// Covers: 3265-3.3.6-2
#[test]
fn a_fetch_within_a_subscription_asks_for_what_is_left() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.idle(secs(100));
    let left = u32::try_from(rig.left(&ours)).unwrap();
    rig.endpoint.refresh(rig.now, ours.id, Some(left)).unwrap();
    let sent = rig.drain();
    assert_eq!((sent[0].get("Expires"), sent[0].tag("To").unwrap()), ("500".into(), "theirs".into()));
}

/// Covers: 3265-3.3.7-1, 3265-3.3.7-2
#[test]
fn allow_events_lists_what_is_served_wherever_a_dialog_begins() {
    let mut packages = sip_events::Packages::standard();
    packages.register_opaque("x-door").unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.add_bob();
    let all = "presence, message-summary, x-door";
    assert_eq!(rig.start(Rig::request()).subscribe.get("Allow-Events"), all);
    assert_eq!(rig.theirs().ok.get("Allow-Events"), all);
    let options = subscribe(0).line(format!("OPTIONS {BOB} SIP/2.0")).set("CSeq", "1 OPTIONS").branch("o");
    assert_eq!(rig.one(options).get("Allow-Events"), all);
}

/// Covers: 3265-3.3.4-7, 3265-3.3.4-8
#[test]
fn the_end_of_a_subscription_ends_its_dialog() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.feed(theirs.ok.refresh(2, 0));
    let last: &Out = &only(&sent, "NOTIFY")[0];
    rig.quiet(last.answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Unsubscribed, .. })));
    assert_eq!(rig.status(theirs.ok.refresh(3, 600)), 481);

    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let last = rig.drain().remove(0);
    rig.quiet(last.accepted(0));
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=timeout")), 200);
    assert_eq!(rig.status(ours.subscribe.notify(3, "active;expires=600")), 481);
}

/// Covers: 3265-3.1.4.4-1, 6665-4.1.4-2
#[test]
fn a_new_attempt_takes_the_place_of_older_forks_on_the_same_device() {
    let contact = |device: &str| format!("<sip:{device}@198.51.100.7:5080>");
    let mut rig = Rig::new();
    let ours = rig.start(mail());
    for (tag, device) in [("a", "one"), ("b", "two"), ("c", "three")] {
        let notify = ours.subscribe.notify_from(tag, 1, "active;expires=600").set("Contact", contact(device));
        assert_eq!(rig.status(notify), 200);
    }
    rig.quiet(ours.subscribe.answer_as("200 OK", "a").add("Expires", "600"));
    rig.take();
    // The first device wants it anew, and the new SUBSCRIBE reaches the second as well.
    let sent = rig.feed(ours.subscribe.notify_from("a", 2, "terminated;reason=deactivated"));
    let again = sent.into_iter().find(|out| out.is("SUBSCRIBE")).expect("no new attempt");
    assert_ne!(again.get("Call-ID"), ours.subscribe.get("Call-ID"));
    assert_eq!(rig.status(again.notify_from("a2", 1, "active;expires=600").set("Contact", contact("one"))), 200);
    rig.quiet(again.answer_as("200 OK", "a2").add("Expires", "600"));
    rig.restart();
    let ended = rig.feed(again.notify_from("b2", 1, "active;expires=600").set("Contact", contact("two")));
    // Its older dialog would tell everything twice, and is ended; the third device's goes on.
    assert_eq!(ended[0].status(), 200);
    assert_eq!((ended.len(), ended[1].tag("To").as_deref()), (2, Some("b")));
    assert_eq!((ended[1].get("Call-ID"), ended[1].get("Expires")), (ours.subscribe.get("Call-ID"), "0".to_owned()));
    rig.quiet(ended[1].answer("200 OK").add("Expires", "0"));
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 2, "terminated;reason=timeout")), 200);
    assert_eq!(rig.endpoint.subscriptions().count(), 3);
    assert_eq!(rig.status(ours.subscribe.notify_from("c", 2, "active;expires=600")), 200);
}
