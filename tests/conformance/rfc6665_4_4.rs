//! RFC 6665 sections 4.4 and 4.6: dialogs, migration, polling, Allow-Events,
//! CANCEL.

use sip_events::{
    Close, Decision, Ending, Event, Gone, Handled, Packages, Reason, Scope, Subscribe, SubscriptionState,
};

use crate::harness::*;

const P1: &str = "<sip:203.0.113.1;lr>";
const P2: &str = "<sip:203.0.113.2;lr>";
const P3: &str = "<sip:203.0.113.3;lr>";

/// Covers: 6665-4.4.1-2, 6665-4.3-2, 6665-4.4.1-8
#[test]
fn the_route_set_comes_from_the_first_notify() {
    for (in_ok, in_notify, expected) in [
        (vec![P3], vec![P1, P2], vec![format!("{P1}, {P2}")]),
        (vec![P1, P2], vec![], vec![]),
        (vec![], vec![P2], vec![P2.to_owned()]),
    ] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        let with = |mut text: Text, routes: &[&str]| {
            for route in routes {
                text = text.add("Record-Route", *route);
            }
            text
        };
        rig.quiet(with(ours.subscribe.accepted(600), &in_ok));
        let notify = with(ours.subscribe.notify(1, "active;expires=600"), &in_notify);
        assert_eq!(rig.status(notify.set("Contact", "<sip:device@203.0.113.9>")), 200);
        let refresh = rig.refresh(&ours);
        assert_eq!(refresh.all("Route"), expected);
        assert_eq!(refresh.uri(), "sip:device@203.0.113.9");
        let hop = in_notify.first().map_or("203.0.113.9:5060", |p| &p[5..16]);
        assert!(refresh.flow.remote.to_string().starts_with(hop), "{} {hop}", refresh.flow);
        // What comes later changes nothing of it.
        let ok = refresh.accepted(600).set("Contact", "<sip:device@203.0.113.9>");
        rig.quiet(with(ok, &[P3]));
        let later = with(ours.subscribe.notify(2, "active;expires=600"), &[P3]);
        assert_eq!(rig.status(later.set("Contact", "<sip:device@203.0.113.9>")), 200);
        assert_eq!(rig.refresh(&ours).all("Route"), expected);
    }
}

/// Covers: 6665-4.4.1-1, 6665-4.4.1-8
#[test]
fn a_notify_makes_the_subscribers_dialog_and_a_2xx_does_not() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.endpoint.subscription(ours.id).unwrap().target, None);
    assert!(rig.endpoint.refresh(rig.now, ours.id, None).is_err());
    // From, CSeq and Contact are this NOTIFY's, not the 2xx's.
    let notify = ours.subscribe.notify_from("other", 40, "active;expires=600");
    assert_eq!(rig.status(notify.set("Contact", "<sip:elsewhere@198.51.100.7:5080>")), 200);
    let refresh = rig.refresh(&ours);
    assert_eq!(refresh.uri(), "sip:elsewhere@198.51.100.7:5080");
    assert_eq!(refresh.tag("To").as_deref(), Some("other"));
    assert_eq!(refresh.cseq(), ours.subscribe.cseq() + 1);
    assert_eq!(rig.status(ours.subscribe.notify_from("other", 39, "active")), 500);
    assert_eq!(rig.status(ours.subscribe.notify_from("other", 41, "active")), 200);
}

/// Covers: 6665-4.4.1-8
#[test]
fn cseq_counts_on_from_the_last_subscribe_whatever_became_of_it() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let longer = rig.one(ours.subscribe.answer("423 Interval Too Brief").add("Min-Expires", "900"));
    assert_eq!(longer.cseq(), ours.subscribe.cseq() + 1);
    rig.quiet(longer.accepted(900));
    assert_eq!(rig.status(longer.notify(1, "active;expires=900")), 200);
    assert_eq!(rig.refresh(&ours).cseq(), ours.subscribe.cseq() + 2);
}

/// Covers: 6665-4.4.1-1, 6665-4.4.1-5
#[test]
fn a_terminated_notify_makes_no_dialog() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request().auto_resubscribe(false));
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify(1, "terminated;reason=noresource")), 200);
    assert!(matches!(rig.ended(), Some(Event::Terminated { .. })));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 481);
}

/// Covers: 6665-4.4.1-3, 6665-4.1.3-2
#[test]
fn a_first_notify_is_matched_by_call_id_to_tag_and_event() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(7, "active;expires=600");
    let other_tag = notify.get("To").replace("tag=", "tag=x");
    for wrong in [
        notify.clone().branch("w1").set("Call-ID", "somebody-elses"),
        notify.clone().branch("w2").set("To", other_tag),
        notify.clone().branch("w3").set("Event", "message-summary"),
        notify.clone().branch("w4").set("Event", "presence;id=1"),
    ] {
        assert_eq!(rig.status(&wrong), 481, "{wrong:?}");
    }
    // Its CSeq is free.
    assert_eq!(rig.status(&notify), 200);
}

/// Covers: 6665-4.4.1-9, 6665-4.3-3, 6665-4.2.1.2-2
#[test]
fn the_notifiers_dialog_comes_from_the_subscribe() {
    let mut rig = Rig::notifier();
    let subscribe = subscribe(600).add("Record-Route", P1).add("Record-Route", P2).cseq(77);
    let theirs = rig.theirs_by(&subscribe);
    let (ok, notify) = (&theirs.ok, &theirs.notify);
    assert_eq!(ok.all("Record-Route"), [P1, P2]);
    assert_eq!(notify.get("Route"), format!("{P1}, {P2}"));
    assert_eq!(notify.uri(), PEER_URI);
    assert_eq!(notify.tag("From"), ok.tag("To"));
    assert_eq!(notify.tag("To").as_deref(), Some("p1"));
    assert_eq!(notify.get("Call-ID"), subscribe.get("Call-ID"));
    // A later Record-Route changes nothing.
    let sent = rig.feed(ok.refresh(78, 600).add("Record-Route", P3));
    assert_eq!(sent[0].status(), 200);
    assert_eq!(sent[1].get("Route"), format!("{P1}, {P2}"));
    assert_eq!(sent[1].cseq(), notify.cseq() + 1);
    // Remote CSeq is the SUBSCRIBE's.
    assert_eq!(rig.status(ok.refresh(77, 600).branch("again")), 500);
}

/// Covers: 6665-4.4.1-1
#[test]
fn the_notifier_holds_its_half_of_the_dialog_from_the_2xx_on() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    let sent = rig.feed(theirs.ok.refresh(2, 300));
    assert_eq!((sent[0].status(), sent[0].get("Expires").as_str()), (200, "300"));
}

/// Covers: 6665-4.4.1-4, 6665-4.4.1-6, 5057-4.2-2
#[test]
fn the_end_of_the_subscription_ends_the_dialog() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::Rejected, None).unwrap();
    let last = rig.drain().remove(0);
    assert_eq!(rig.status(theirs.ok.refresh(2, 600)), 481);
    rig.quiet(last.answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { .. })));
    assert_eq!(rig.status(theirs.ok.refresh(3, 600)), 481);

    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=rejected")), 200);
    assert_eq!(rig.status(ours.subscribe.notify(3, "active")), 481);
}

/// Covers: 6665-4.4.2-1
#[test]
fn a_notifier_migrates_with_deactivated() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::Deactivated, Some(5)).unwrap();
    let last = rig.drain().remove(0);
    assert_eq!(last.get("Subscription-State"), "terminated;reason=deactivated");
    assert_eq!(last.get("Event"), "presence");
    assert_eq!(last.body(), b"<open/>");
    rig.quiet(last.answer("200 OK"));
    assert_eq!(
        rig.ended(),
        Some(Event::WatcherGone { watcher: theirs.id, why: Gone::Terminated(Reason::Deactivated) })
    );
}

/// Covers: 6665-4.4.2-2, 6665-4.1.3-15
#[test]
fn a_migrated_subscriber_comes_back_at_once_by_the_resource() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, "active;expires=600").add("Record-Route", P1);
    assert_eq!(rig.status(notify.set("Contact", "<sip:device@203.0.113.9>")), 200);
    let sent = rig.feed(ours.subscribe.notify(2, "terminated;reason=deactivated;retry-after=300"));
    assert_eq!(sent[0].status(), 200);
    let again = &sent[1];
    assert_eq!(again.uri(), PEER_URI);
    assert!(!again.has("Route") && again.tag("To").is_none());
    assert_ne!(again.get("Call-ID"), ours.subscribe.get("Call-ID"));
}

/// Covers: 6665-4.4.3-1, 6665-4.4.3-3, 6665-NSM-5
#[test]
fn a_fetch_is_answered_once_with_the_state() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(0), Decision::ACCEPT);
    assert_eq!(theirs.ok.get("Expires"), "0");
    assert_eq!(theirs.notify.get("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(theirs.notify.body(), b"<open/>");
    rig.quiet(theirs.notify.answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Unsubscribed, .. })));
    assert!(rig.set_bob("<closed/>").is_empty());

    let mut rig = Rig::new();
    let ours = rig.start(Rig::request().expires(0));
    assert_eq!(ours.subscribe.get("Expires"), "0");
    rig.quiet(ours.subscribe.accepted(0));
    assert_eq!(rig.status(ours.subscribe.notify(1, "terminated;reason=timeout").body(PIDF, "<open/>")), 200);
    assert_eq!(rig.notified(), ["<open/>"]);
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Fetched, .. })));
    rig.take();
    rig.idle(secs(100));
    assert!(rig.take().is_empty());
}

/// Covers: 6665-4.4.3-2
#[test]
fn a_fetch_within_a_subscription_is_a_refresh_for_what_is_left() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.idle(secs(100));
    let left = u32::try_from(rig.left(&ours)).unwrap();
    rig.endpoint.refresh(rig.now, ours.id, Some(left)).unwrap();
    assert_eq!(rig.drain()[0].get("Expires"), "500");
}

/// Covers: 6665-4.4.3-4
#[test]
fn a_forked_fetch_is_answered_by_every_fork() {
    let mut rig = Rig::new();
    let ours = rig.start(Subscribe::new(PEER_URI, "message-summary").unwrap().expires(0));
    rig.quiet(ours.subscribe.accepted(0));
    for tag in ["a", "b", "c"] {
        let notify = ours.subscribe.notify_from(tag, 1, "terminated;reason=timeout");
        assert_eq!(rig.status(notify.body("application/simple-message-summary", tag)), 200);
    }
    assert_eq!(rig.notified(), ["a", "b", "c"]);
    rig.run(secs(33));
    assert_eq!(rig.status(ours.subscribe.notify_from("d", 1, "terminated;reason=timeout")), 481);
}

/// Covers: 6665-4.4.4-1, 6665-4.4.4-2, 6665-4.4.4-3, 6665-4.4.4-5, 6665-8.2.2-1, 6665-8.4-2
#[test]
fn allow_events_lists_every_package_and_no_template() {
    let mut packages = Packages::standard();
    packages.register_opaque("presence.winfo").unwrap();
    packages.register_opaque("dialog").unwrap();
    let mut rig = Rig::build(Rig::config(), packages);
    rig.add_bob();
    let list = "presence, message-summary, dialog";
    let options = Text::new(format!("OPTIONS {BOB} SIP/2.0"));
    let from_peer = subscribe(600).fields;
    let options = Text { fields: from_peer, ..options }.cseq(1).without("Event").without("Expires");
    assert_eq!(rig.one(&options).get("Allow-Events"), list);
    let theirs = rig.theirs();
    assert_eq!(theirs.ok.get("Allow-Events"), list);
    // Within the dialog it would be of no use.
    assert!(!theirs.notify.has("Allow-Events"));
    let ours = rig.start(Rig::request());
    assert_eq!(ours.subscribe.get("Allow-Events"), list);
    let unknown = subscribe(600).set("Event", "unknown").set("Call-ID", "c2").branch("u");
    assert_eq!(rig.one(unknown).get("Allow-Events"), list);
    // The template package is served all the same.
    let winfo = subscribe(600).set("Event", "presence.winfo").set("Call-ID", "c3").branch("v");
    assert_eq!(rig.status(winfo), 404);
}

/// Covers: 6665-4.6-1, 6665-4.6-2, 6665-DISP-3
#[test]
fn cancel_is_answered_and_changes_nothing() {
    let mut rig = Rig::notifier();
    let subscribe = subscribe(600);
    rig.quiet(&subscribe);
    let fields = subscribe.fields.clone();
    let cancel = Text { fields, ..Text::new(format!("CANCEL {BOB} SIP/2.0")) }
        .set("CSeq", "1 CANCEL")
        .without("Event")
        .without("Contact")
        .without("Expires");
    let (handled, sent) = rig.receive(udp(), &cancel);
    assert_eq!((handled, sent[0].status(), sent.len()), (Handled::Consumed, 200, 1));
    let incoming = rig.incoming();
    rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    let sent = rig.drain();
    assert_eq!((sent[0].status(), sent[1].is("NOTIFY")), (200, true));
    // One that matches nothing.
    assert_eq!(rig.status(cancel.clone().branch("unknown")), 481);

    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=100");
    assert_eq!(rig.status(&notify), 200);
    let cancel = Text { start: notify.start.replace("NOTIFY", "CANCEL"), ..notify }.set("CSeq", "2 CANCEL");
    assert_eq!(rig.status(&cancel), 200);
    assert_eq!(rig.left(&ours), 100);
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Active, .. })));
}

/// Covers: 6665-4.6-3
#[test]
fn what_is_given_up_is_not_cancelled() {
    let mut rig = Rig::notifier();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.answer("100 Trying"));
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::AllForks).unwrap();
    let theirs = rig.theirs();
    rig.run(secs(10));
    assert!(rig.set_bob("<1/>").remove(0).is("NOTIFY"));
    // The open NOTIFY is replaced, then everything is closed.
    let mut sent = rig.feed(theirs.ok.refresh(2, 600));
    rig.endpoint.close(rig.now, Close::Terminate);
    sent.extend(rig.drain());
    sent.extend(rig.run(secs(100)).into_iter().map(|(_, out)| out));
    assert!(sent.len() > 3);
    assert!(sent.iter().all(|out| out.is_response() || out.is("SUBSCRIBE") || out.is("NOTIFY")));
}
