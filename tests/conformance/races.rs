//! Orderings that every implementation has to survive.

use std::time::Duration;

use sip_events::{Decision, Ending, Event, Gone, Scope, Subscribe};

use crate::harness::*;

/// Covers: 6665-RACE-1, 6665-RACE-2, 6665-RACE-3, 6665-RACE-4, 6665-RACE-5, 6665-RACE-6, 6665-RACE-7, 6665-RACE-8,
/// 6665-RACE-9, 6665-RACE-10, 6665-RACE-11, 6665-RACE-12, 6665-RACE-13, 6665-RACE-14, 6665-RACE-15,
/// 6665-RACE-16, 6665-RACE-18, 6665-RACE-19, 6665-RACE-20, 6665-RACE-21, 6665-RACE-22, PEER-A14, ADV-N1, ADV-E15
#[test]
fn every_ordering() {
    walk(
        "6665-RACE",
        22,
        &[
            (1, notify_then_2xx),
            (2, subscribe_repeated_after_its_notify),
            (3, notify_then_a_refusal),
            (4, both_lost),
            (5, notify_repeated),
            (6, notify_out_of_order),
            (7, notify_after_a_gap),
            (8, unsubscribe_crosses_active),
            (9, unsubscribe_crosses_terminated),
            (10, refresh_crosses_expiry),
            (11, refresh_crosses_deactivated),
            (12, refresh_during_refresh),
            (13, unsubscribe_before_the_first_notify),
            (14, notify_after_timer_n),
            (15, the_same_subscribe_twice),
            (16, change_while_a_notify_is_open),
            (17, terminal_notify_challenged),
            (18, change_in_the_instant_of_acceptance),
            (19, notify_of_the_old_subscription),
            (20, the_clock_jumps_past_everything),
            (21, refresh_while_a_notify_is_open),
            (22, granted_nothing_and_told_later),
        ],
    );
}

fn passive() -> Subscribe {
    Rig::request().auto_refresh(false).auto_resubscribe(false)
}

fn notify_then_2xx() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=60")), 200);
    rig.idle(Duration::from_millis(100));
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!((rig.left(&ours), rig.endpoint.subscriptions().count()), (59, 1));
}

fn subscribe_repeated_after_its_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("200 OK"));
    // The 2xx was lost: it comes again, the NOTIFY does not.
    assert_eq!(rig.one(subscribe(600)), theirs.ok);
    assert_eq!(rig.endpoint.watchers().count(), 1);
}

fn notify_then_a_refusal() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
    rig.quiet(ours.subscribe.answer_as("603 Decline", "other"));
    assert!(rig.lives(&ours) && rig.ended().is_none());
    assert!(rig.take().iter().any(|e| matches!(e, Event::RefreshFailed { .. })));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active")), 200);
}

fn both_lost() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.run(secs(32));
    assert!(!rig.lives(&ours));
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.run(secs(32));
    assert!(!rig.watches(&theirs));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::NoAnswer(_), .. })));
}

fn notify_repeated() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=600").body(PIDF, "<1/>");
    let first = rig.one(&notify);
    for _ in 0..3 {
        rig.idle(secs(2));
        assert_eq!(rig.one(&notify), first);
    }
    assert_eq!(rig.notified(), ["<1/>"]);
}

fn notify_out_of_order() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    assert_eq!(rig.status(ours.subscribe.notify(9, "active;expires=500")), 200);
    rig.take();
    for (branch, cseq) in [("low", 8), ("lower", 1), ("equal", 9)] {
        let old = ours.subscribe.notify(cseq, "terminated").set("Contact", "<sip:x@203.0.113.9>").branch(branch);
        let refused = rig.one(old);
        assert_eq!(refused.status(), 500, "{branch}");
        assert!(refused.has("Retry-After"));
    }
    assert!(rig.take().is_empty());
    assert_eq!((rig.left(&ours), rig.refresh(&ours).uri().as_str()), (500, PEER_URI));
}

fn notify_after_a_gap() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    for cseq in [2, 100, 2_147_483_647] {
        assert_eq!(rig.status(ours.subscribe.notify(cseq, "active")), 200, "{cseq}");
    }
}

fn unsubscribe_crosses_active() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let unsubscribe = rig.drain().remove(0);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=300").body(PIDF, "<2/>")), 200);
    assert!(rig.ended().is_none());
    rig.quiet(unsubscribe.accepted(0));
    assert_eq!(rig.status(ours.subscribe.notify(3, "terminated;reason=timeout")), 200);
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Unsubscribed, .. })));
}

fn unsubscribe_crosses_terminated() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let unsubscribe = rig.drain().remove(0);
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=deactivated")), 200);
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Unsubscribed, .. })));
    rig.feed(unsubscribe.answer("481 Gone"));
    rig.run(secs(4000));
    assert!(rig.ended().is_none() && rig.retrying().is_none());
}

fn refresh_crosses_expiry() {
    // At the notifier, whichever comes first.
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(600) - Duration::from_nanos(1));
    assert_eq!(rig.feed(theirs.ok.refresh(2, 600))[0].status(), 200);
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.run(secs(600));
    assert_eq!(rig.status(theirs.ok.refresh(2, 600)), 481);
    // Even where the expiry has not been fired yet.
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.now = rig.now + secs(600);
    assert_eq!(rig.feed(theirs.ok.refresh(2, 600))[0].status(), 481);
    // At the subscriber: afresh.
    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.feed(refresh.answer("481 Gone"));
    assert!(rig.next(secs(60)).tag("To").is_none());
}

fn refresh_crosses_deactivated() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    let sent = rig.feed(ours.subscribe.notify(2, "terminated;reason=deactivated"));
    assert_eq!(only(&sent, "SUBSCRIBE").len(), 1);
    let again = sent[1].clone();
    rig.feed(refresh.answer("481 Gone"));
    let more = rig.run(secs(31));
    assert!(more.iter().all(|(_, out)| *out == again), "one new subscription only");
    assert_eq!(rig.endpoint.subscriptions().count(), 1);
}

fn refresh_during_refresh() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let first = rig.refresh(&ours);
    rig.endpoint.refresh(rig.now, ours.id, Some(300)).unwrap();
    assert!(rig.drain().is_empty());
    let sent = rig.feed(first.accepted(600));
    assert_eq!((sent.len(), sent[0].get("Expires").as_str(), sent[0].cseq()), (1, "300", first.cseq() + 1));
}

fn unsubscribe_before_the_first_notify() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    assert!(rig.drain().is_empty());
    rig.quiet(ours.subscribe.accepted(600));
    let sent = rig.feed(ours.subscribe.notify(1, "active;expires=600"));
    assert_eq!(sent[0].status(), 200);
    assert_eq!((sent[1].get("Expires").as_str(), sent[1].tag("To").as_deref()), ("0", Some("theirs")));
    rig.quiet(sent[1].accepted(0));
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=timeout")), 200);
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Unsubscribed, .. })));
}

fn notify_after_timer_n() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    rig.idle(secs(32));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 481);
    // Even where Timer N has not been fired yet.
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    rig.now = rig.now + secs(32);
    let sent = rig.feed(ours.subscribe.notify(1, "active;expires=600"));
    assert_eq!(sent[0].status(), 481);
}

fn the_same_subscribe_twice() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    assert_eq!(rig.one(subscribe(600).branch("other")).start(), "SIP/2.0 482 Loop Detected");
    let incoming = rig.incoming();
    rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    assert_eq!(rig.drain().len(), 2);
    assert_eq!(rig.endpoint.watchers().count(), 1);
}

fn change_while_a_notify_is_open() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.run(secs(6));
    for state in ["<1/>", "<2/>", "<3/>"] {
        assert!(rig.set_bob(state).is_empty());
    }
    let sent = rig.feed(theirs.notify.answer("200 OK"));
    assert_eq!((sent.len(), sent[0].body()), (1, b"<3/>".to_vec()));
}

/// Whether the retry is sent is the digest's; that a challenge loses nothing
/// else is shown here.
fn terminal_notify_challenged() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.feed(theirs.ok.refresh(2, 0));
    rig.quiet(sent[1].answer("401 Who").add("WWW-Authenticate", "Digest realm=\"x\", nonce=\"1\""));
    let events = rig.take();
    assert!(matches!(events[..], [Event::Challenge { .. }, Event::WatcherGone { why: Gone::Unsubscribed, .. }]));
}

fn change_in_the_instant_of_acceptance() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let incoming = rig.incoming();
    rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    let sent = rig.set_bob("<newest/>");
    assert_eq!((sent.len(), sent[1].body()), (2, b"<newest/>".to_vec()));
    // One that comes between the two is told as the next.
    let sent = [sent, rig.set_bob("<newer/>")].concat();
    rig.feed(sent[1].answer("200 OK"));
    assert_eq!(rig.next(secs(5)).body(), b"<newer/>");
}

fn notify_of_the_old_subscription() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let again = rig.feed(ours.subscribe.notify(2, "terminated;reason=deactivated")).remove(1);
    rig.quiet(again.accepted(600));
    assert_eq!(rig.status(again.notify(1, "active;expires=600")), 200);
    assert_eq!(rig.status(ours.subscribe.notify(3, "terminated;reason=rejected")), 481);
    assert!(rig.lives(&ours));
    assert_eq!(rig.status(again.notify(2, "active")), 200);
}

fn the_clock_jumps_past_everything() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
    assert!(rig.jump(secs(100_000)).is_empty());
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Expired, .. })));
    assert!(!rig.lives(&ours));
    // With leave to come back: outside the dead dialog.
    let mut rig = Rig::new();
    let _ = rig.ours();
    let sent = rig.jump(secs(100_000));
    assert!(sent.iter().all(|out| out.tag("To").is_none()));
    assert!(rig.retrying().is_some() && rig.ended().is_none());
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.jump(secs(100_000));
    assert_eq!(sent[0].get("Subscription-State"), "terminated;reason=timeout");
    rig.quiet(sent[0].answer("200 OK"));
    assert!(!rig.watches(&theirs));
}

fn refresh_while_a_notify_is_open() {
    for expires in [600, 0] {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs();
        rig.run(secs(10));
        let open = rig.set_bob("<1/>").remove(0);
        let refresh = theirs.ok.refresh(2, expires).set("Contact", "<sip:moved@203.0.113.9>");
        let sent = rig.feed(refresh);
        assert_eq!((sent.len(), sent[0].status(), sent[1].uri().as_str()), (2, 200, "sip:moved@203.0.113.9"));
        assert_eq!((sent[1].cseq(), sent[1].body()), (open.cseq() + 1, b"<1/>".to_vec()));
        // The open one is given up: nothing that comes of it counts.
        rig.quiet(open.answer("481 Gone"));
        assert!(rig.watches(&theirs), "{expires}");
        let sent = rig.run(secs(31));
        assert!(sent.iter().all(|(_, out)| *out != open));
        assert!(rig.watches(&theirs), "{expires}");
    }
}

fn granted_nothing_and_told_later() {
    for unsubscribe in [false, true] {
        for told in [true, false] {
            let mut rig = Rig::new();
            let ours = rig.ours_in(passive(), "active;expires=600");
            let sent = if unsubscribe {
                rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
                rig.drain().remove(0)
            } else {
                rig.refresh(&ours)
            };
            rig.quiet(sent.accepted(0));
            // One that crossed it and names no time does not settle the debt.
            assert_eq!(rig.status(ours.subscribe.notify(2, "active")), 200);
            rig.run(secs(31));
            assert!(rig.lives(&ours));
            if told {
                assert_eq!(rig.status(ours.subscribe.notify(3, "terminated;reason=timeout")), 200);
            } else {
                rig.run(secs(1));
            }
            assert!(!rig.lives(&ours), "{unsubscribe} {told}");
            assert!(rig.ended().is_some());
        }
    }
}
