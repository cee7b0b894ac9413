//! RFC 6665 section 4.1.3: receiving and processing state.

use sip_events::{DropReason, Ending, Event, Handled, Reason, Retry, SubscriptionState};

use crate::harness::*;

/// Covers: 6665-4.1.3-1, 6665-4.1.3-2, 6665-8.2.1-1
#[test]
fn a_notify_that_matches_nothing_gets_481() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=600");
    let other_to = notify.get("To").replace("tag=", "tag=x");
    let no_tag = notify.get("To").split(";tag").next().unwrap().to_owned();
    for wrong in [
        notify.clone().branch("w1").set("Call-ID", "unknown@192.0.2.1"),
        notify.clone().branch("w2").set("To", other_to),
        notify.clone().branch("w3").set("To", no_tag),
        notify.clone().branch("w4").set("From", "<sip:peer@198.51.100.7:5080>;tag=fork"),
        notify.clone().branch("w5").set("Event", "message-summary"),
        notify.clone().branch("w6").set("Event", "presence;id=1"),
    ] {
        let (handled, sent) = rig.receive(udp(), &wrong);
        assert_eq!((handled, sent[0].status()), (Handled::Dropped(DropReason::Refused), 481), "{wrong:?}");
    }
    // Nothing of it touched the subscription.
    assert!(rig.take().is_empty());
    assert_eq!(rig.status(&notify), 200);
}

/// Covers: 6665-4.1.3-3, 6665-8.3.2-1
#[test]
fn a_package_that_is_not_understood_gets_489() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    for (n, event) in ["unknown", "Presence", "presence.winfo"].into_iter().enumerate() {
        let notify = ours.subscribe.notify(2, "active;expires=600").branch(&format!("u{n}")).set("Event", event);
        let refused = rig.one(notify);
        assert_eq!(refused.start(), "SIP/2.0 489 Bad Event");
        assert_eq!(refused.get("Allow-Events"), "presence, message-summary");
    }
    assert!(rig.lives(&ours));
}

/// Covers: 6665-4.1.3-5, 6665-4.1.3-27, 6665-BC-4, 6665-3.2.1-1
#[test]
fn a_notify_without_a_state_or_with_two_changes_nothing() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "terminated").set("Contact", "<sip:moved@203.0.113.9>");
    for wrong in [
        notify.clone().branch("s1").without("Subscription-State"),
        notify.clone().branch("s2").add("Subscription-State", "active"),
        notify.clone().branch("s3").set("Subscription-State", "active;expires=1;expires=2"),
        notify.clone().branch("s4").set("Subscription-State", ""),
        notify.clone().branch("s5").without("Event"),
        notify.clone().branch("s6").add("Event", "presence"),
        notify.clone().branch("s7").set("Event", "presence, presence"),
        notify.clone().branch("s8").set("Contact", "*"),
    ] {
        assert_eq!(rig.status(&wrong), 400, "{wrong:?}");
    }
    assert!(rig.take().is_empty());
    assert_eq!(rig.left(&ours), 600);
    // Neither target nor CSeq moved.
    assert_eq!(rig.refresh(&ours).uri(), PEER_URI);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 200);
}

/// Covers: 6665-4.1.3-27, 6665-DISP-25, 6665-SSM-30, ADV-E10
#[test]
fn a_body_that_was_not_asked_for_is_refused_and_nothing_changes() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let notify = ours.subscribe.notify(1, "active;expires=60").body("text/html", "<p/>");
    let refused = rig.one(&notify);
    assert_eq!((refused.status(), refused.get("Accept").as_str()), (415, PIDF));
    assert_eq!(rig.endpoint.subscription(ours.id).unwrap().target, None);
    // The same CSeq is free for the next try.
    let notify = ours.subscribe.notify(1, "active;expires=600").branch("again").body(PIDF, "<open/>");
    assert_eq!(rig.status(notify), 200);
    let bad = ours.subscribe.notify(2, "terminated").body("text/html", "<p/>");
    assert_eq!(rig.status(bad), 415);
    assert_eq!(rig.left(&ours), 600);
    let encoded = ours.subscribe.notify(2, "terminated").branch("gz").body(PIDF, "x").add("Content-Encoding", "gzip");
    assert_eq!(rig.status(encoded), 415);
    assert!(rig.lives(&ours));
}

/// Covers: 6665-4.1.3-6, 6665-4.1.3-7, 6665-4.1.3-8, 6665-4.1.3-24
#[test]
fn active_is_told_and_its_expires_holds() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.idle(secs(10));
    let ok = rig.one(ours.subscribe.notify(2, "active;expires=60;reason=rejected;retry-after=9999"));
    assert_eq!(ok.status(), 200);
    assert_eq!(ok.tag("To"), ours.subscribe.tag("From"));
    assert_eq!(rig.left(&ours), 60);
    let told = rig.take();
    assert!(
        matches!(&told[..], [Event::Notify { state: SubscriptionState::Active, expires: Some(60), cseq: 2, .. }]),
        "{told:?}"
    );
    assert_eq!(rig.next(secs(60)).get("Expires"), "600");
}

/// Covers: 6665-4.1.3-9, 6665-4.1.3-10
#[test]
fn pending_is_told_and_its_expires_holds() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify(1, "pending;expires=90;reason=rejected;retry-after=1")), 200);
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Pending, .. })));
    assert_eq!(rig.left(&ours), 90);
    rig.idle(secs(30));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=60")), 200);
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Active, .. })));
}

/// Covers: 6665-4.1.3-11, 6665-4.1.3-13
#[test]
fn terminated_is_over_whatever_expires_says() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;expires=900;reason=rejected").body(PIDF, "<x/>")), 200);
    let told = rig.take();
    let [
        Event::Notify { state: SubscriptionState::Terminated, expires: None, body: Some(_), .. },
        Event::Terminated {
            why: Ending::ByNotifier { reason: Some(Reason::Rejected), .. }, retry: Retry::Never, ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    rig.idle(secs(2000));
    assert_eq!(rig.endpoint.poll_timeout(), None);
}

/// Covers: 6665-4.1.3-14, 6665-4.1.3-23, 6665-7.2-1
#[test]
fn reasons_of_others_are_read_and_told() {
    for (state, reason, retry_after) in [
        ("terminated", None, None),
        ("terminated;retry-after=30", None, Some(30)),
        ("terminated;reason=zz;retry-after=30", Some(Reason::Other("zz".into())), Some(30)),
        ("terminated;reason=badfilter", Some(Reason::BadFilter), None),
        ("terminated;reason=REJECTED", Some(Reason::Rejected), None),
        ("terminated ; foo=\"a;b\" ; reason = giveup ; retry-after = 7", Some(Reason::Giveup), Some(7)),
    ] {
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
        assert_eq!(rig.status(ours.subscribe.notify(2, state)), 200);
        let Some(Event::Terminated { why, retry, .. }) = rig.ended() else { panic!("{state}") };
        assert_eq!(why, Ending::ByNotifier { reason: reason.clone(), retry_after }, "{state}");
        let expected = match (reason, retry_after) {
            (Some(Reason::Rejected | Reason::BadFilter), _) => Retry::Never,
            (_, Some(wait)) => Retry::NotBefore(rig.now + secs(wait.into())),
            (_, None) => Retry::Allowed,
        };
        assert_eq!(retry, expected, "{state}");
    }
}

/// Covers: 6665-4.1.3-24, 6665-4.1.3-25, 6665-4.1.3-26
#[test]
fn a_notify_is_answered_in_the_same_step_without_a_body() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    for accept in [false, true] {
        let mut notify = ours.subscribe.notify(2 + u32::from(accept), "active;expires=600").body(PIDF, "<open/>");
        if accept {
            notify = notify.add("Accept", "*/*");
        }
        let ok = rig.one(notify);
        assert_eq!(ok.status(), 200);
        assert!(ok.body().is_empty() && !ok.has("Content-Type"));
    }
}
