//! Several subscriptions of ours in one dialog, for notifiers of RFC 3265: RFC
//! 6665 section 4.5.2 seen from the subscriber, and RFC 5057.

use sip_events::{BadGateway, Decision, DialogSharing, Ending, Event, Misuse, Policy, ResourceKey, Scope, Subscribe};

use crate::harness::*;

const MWI: &str = "application/simple-message-summary";

fn allowing() -> Rig {
    let mut policy = Policy::default();
    policy.dialog_sharing = DialogSharing::Allow;
    Rig::with(Rig::config().with_policy(policy))
}

fn second(event: &str, first: &Ours) -> Subscribe {
    Subscribe::new(PEER_URI, event).unwrap().expires(600).within(first.id)
}

/// One subscription, and another in its dialog; NOTIFYs have the numbers 1 and 2.
fn both(rig: &mut Rig, event: &str) -> (Ours, Ours) {
    let first = rig.ours();
    let second = rig.start(second(event, &first));
    rig.quiet(second.subscribe.accepted(600));
    assert_eq!(rig.status(second.subscribe.notify(2, "active;expires=600")), 200);
    rig.events.clear();
    (first, second)
}

/// Covers: 6665-4.5.2-2, 6665-4.5.2-5, 6665-4.5.2-7, 6665-4.5.2-9, 6665-4.5.2-11, 6665-DISP-22, 6665-BC-5,
/// 3265-3.1.2-3, 3265-3.1.4.1-6, 3265-3.2.4-2, 3265-3.3.4-4
#[test]
fn a_subscription_in_the_dialog_of_another() {
    for (event, media, body) in [("message-summary", MWI, "Messages-Waiting: no\r\n"), ("presence;id=7", PIDF, "<7/>")]
    {
        let mut rig = allowing();
        let first = rig.ours();
        let refresh = rig.refresh(&first);
        rig.quiet(refresh.accepted(600));
        assert_eq!(rig.status(first.subscribe.notify(2, "active;expires=600")), 200);
        let second = rig.start(second(event, &first));
        let sent = &second.subscribe;
        // The dialog is the first one's, and CSeq goes on.
        for name in ["Call-ID", "From", "To"] {
            assert_eq!(sent.get(name), refresh.get(name), "{name}");
        }
        assert_eq!((sent.uri(), sent.cseq()), (refresh.uri(), refresh.cseq() + 1));
        assert_eq!(
            (sent.get("Event"), sent.get("Expires"), sent.get("Accept")),
            (event.into(), "600".into(), media.into())
        );
        // Its NOTIFY may come first (6665-4.5.2-11), and is told apart by Event and id.
        rig.events.clear();
        let news = sent.notify(3, "active;expires=600").body(media, body);
        assert_eq!(rig.status(news), 200);
        let told = rig.take();
        assert!(told.iter().any(|e| matches!(e, Event::Notify { subscription, .. } if *subscription == second.id)));
        rig.quiet(sent.accepted(600));
        assert_eq!(rig.status(first.subscribe.notify(4, "active;expires=60").body(PIDF, "<1/>")), 200);
        assert_eq!((rig.left(&first), rig.left(&second)), (60, 600));
        assert_eq!(rig.status(first.subscribe.notify(5, "active").set("Event", "presence;id=9")), 481);
        // Each is refreshed by itself.
        let refreshed = rig.next(secs(60));
        assert_eq!((refreshed.get("Event"), refreshed.cseq()), ("presence".to_owned(), sent.cseq() + 1));
        rig.quiet(refreshed.accepted(600));
        assert_eq!(rig.status(first.subscribe.notify(6, "active;expires=600")), 200);
        assert_eq!(rig.refresh(&second).get("Event"), event);
    }
}

/// Covers: 6665-4.5.2-1, 6665-4.5.2-2, 7621-2-1
#[test]
fn where_a_dialog_may_not_be_reused() {
    // Not by default.
    let mut strict = Rig::new();
    let first = strict.ours();
    assert_eq!(strict.endpoint.subscribe(strict.now, second("message-summary", &first)), Err(Misuse::WrongState));
    // Never that of a GRUU; nor before there is one, nor when it ends, nor for the same Event.
    let mut rig = allowing();
    let gruu = rig.start(Rig::request());
    assert_eq!(rig.endpoint.subscribe(rig.now, second("message-summary", &gruu)), Err(Misuse::WrongState));
    rig.quiet(gruu.subscribe.accepted(600));
    let notify = gruu.subscribe.notify(1, "active;expires=600");
    assert_eq!(rig.status(notify.set("Contact", "<sip:peer@198.51.100.7:5080;gr=x>")), 200);
    assert_eq!(rig.endpoint.subscribe(rig.now, second("message-summary", &gruu)), Err(Misuse::WrongState));
    let mut rig = allowing();
    let (first, _) = both(&mut rig, "message-summary");
    for event in ["presence", "message-summary"] {
        assert_eq!(rig.endpoint.subscribe(rig.now, second(event, &first)), Err(Misuse::Exists), "{event}");
    }
    rig.endpoint.unsubscribe(rig.now, first.id, Scope::This).unwrap();
    rig.drain();
    assert_eq!(rig.endpoint.subscribe(rig.now, second("presence;id=1", &first)), Err(Misuse::WrongState));
}

/// Covers: 6665-4.5.2-6, 5057-4.2-2
#[test]
fn the_dialog_goes_on_without_the_one_that_made_it() {
    let mut rig = allowing();
    let (first, second) = both(&mut rig, "message-summary");
    // All forks of the first are not the guest in its dialog.
    rig.endpoint.unsubscribe(rig.now, first.id, Scope::AllForks).unwrap();
    let bye = rig.drain().remove(0);
    assert_eq!((bye.get("Event"), bye.get("Expires")), ("presence".to_owned(), "0".to_owned()));
    rig.quiet(bye.accepted(0));
    assert_eq!(rig.status(first.subscribe.notify(3, "terminated;reason=timeout")), 200);
    assert!(!rig.lives(&first) && rig.lives(&second));
    assert_eq!(rig.status(first.subscribe.notify(4, "active")), 481);
    assert_eq!(rig.status(second.subscribe.notify(5, "active;expires=500")), 200);
    rig.restart();
    let refresh = rig.refresh(&second);
    assert_eq!((refresh.get("Call-ID"), refresh.tag("From")), (bye.get("Call-ID"), bye.tag("From")));
    assert_eq!(refresh.cseq(), bye.cseq() + 1);
    rig.quiet(refresh.accepted(600));
    assert_eq!(rig.status(second.subscribe.notify(6, "terminated;reason=noresource")), 200);
    assert!(!rig.lives(&second));
    assert_eq!(rig.status(second.subscribe.notify(7, "active")), 481);
}

/// Covers: 5057-5.1-1, 5057-5.2-1, 6665-RSP-8, 6665-RSP-9
#[test]
fn a_refusal_ends_one_subscription_or_the_whole_dialog() {
    const DIALOG: [u16; 8] = [404, 410, 416, 482, 483, 484, 485, 604];
    const USAGE: [u16; 5] = [405, 480, 481, 489, 501];
    for status in (400..=606).filter(|s| ![401, 407, 408, 423].contains(s)) {
        let mut rig = allowing();
        let (first, second) = both(&mut rig, "message-summary");
        let refresh = rig.refresh(&second);
        rig.feed(refresh.answer(&format!("{status} No")));
        let over = |rig: &Rig, ours: &Ours| rig.endpoint.subscription(ours.id).map_or(true, |s| s.retry_at.is_some());
        let lost = DIALOG.contains(&status);
        assert_eq!(over(&rig, &first), lost, "{status}");
        assert_eq!(over(&rig, &second), lost || USAGE.contains(&status), "{status}");
        let why = |e: &Event| match e {
            Event::Terminated { why, .. } | Event::Retrying { why, .. } => {
                matches!(why, Ending::Refused { status: s, .. } if s.as_u16() == status)
            }
            _ => false,
        };
        let told = rig.take().iter().filter(|e| why(e)).count();
        assert_eq!(told, usize::from(USAGE.contains(&status)) + 2 * usize::from(lost), "{status}");
        // What is subscribed again has a dialog of its own (RFC 6665 section 4.5.2).
        if over(&rig, &second) && rig.lives(&second) {
            let again = rig.run(secs(10)).into_iter().find(|(_, out)| out.get("Event") == "message-summary").unwrap().1;
            assert_eq!(again.tag("To"), None);
            assert_ne!(again.get("Call-ID"), refresh.get("Call-ID"));
        }
    }
}

/// Covers: 5057-5.4-1, 6665-4.5.2-5, 3261-12.2.1.1-2, 6665-RACE-6, INT-15
#[test]
fn one_target_and_one_numbering_for_the_whole_dialog() {
    const MOVED: &str = "sip:peer@198.51.100.7:5099";
    let mut rig = allowing();
    let (first, second) = both(&mut rig, "message-summary");
    // Theirs: a number that another subscription had is out of order.
    assert_eq!(rig.status(first.subscribe.notify(2, "active").branch("again")), 500);
    assert_eq!(rig.status(first.subscribe.notify(3, "active").set("Contact", format!("<{MOVED}>"))), 200);
    let refresh = rig.refresh(&second);
    assert_eq!((refresh.uri().as_str(), refresh.flow.remote), (MOVED, addr("198.51.100.7:5099")));
    // Ours: a second SUBSCRIBE waits for the first one's answer.
    rig.endpoint.refresh(rig.now, first.id, None).unwrap();
    assert!(rig.drain().is_empty());
    let next = rig.one(refresh.answer("200 OK").add("Expires", "600").add("Contact", format!("<{MOVED}>")));
    assert_eq!((next.get("Event").as_str(), next.cseq()), ("presence", refresh.cseq() + 1));
    // Silence ends the one that met it, and lets the other go on.
    assert_eq!(rig.status(second.subscribe.notify(4, "active;expires=600")), 200);
    rig.endpoint.refresh(rig.now, second.id, None).unwrap();
    let sent = rig.run(secs(33));
    assert!(sent.iter().any(|(_, out)| out.get("Event") == "message-summary"));
    let over = |rig: &Rig, ours: &Ours| rig.endpoint.subscription(ours.id).map_or(true, |s| s.retry_at.is_some());
    assert!(over(&rig, &first) && !over(&rig, &second));
}

/// Covers: INT-8, 6665-RSP-12, 6665-NRC-19, 5057-5.1-1
#[test]
fn a_502_ends_the_dialog_where_that_is_asked_for() {
    for how in [BadGateway::Keep, BadGateway::EndDialog] {
        let ends = how == BadGateway::EndDialog;
        let mut policy = Policy::default();
        policy.dialog_sharing = DialogSharing::Allow;
        policy.bad_gateway = how;
        // As subscriber: this subscription and the other one of the dialog.
        let mut rig = Rig::with(Rig::config().with_policy(policy));
        let (first, second) = both(&mut rig, "message-summary");
        let refresh = rig.refresh(&second);
        rig.feed(refresh.answer("502 Bad Gateway"));
        for ours in [&first, &second] {
            let over = rig.endpoint.subscription(ours.id).map_or(true, |s| s.retry_at.is_some());
            assert_eq!(over, ends, "{how:?}");
        }
        // A first SUBSCRIBE that another branch refuses has no say over what a NOTIFY made (INT-2).
        let mut rig = Rig::with(Rig::config().with_policy(policy));
        let ours = rig.start(Rig::request());
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 200);
        rig.quiet(ours.subscribe.answer_as("502 Bad Gateway", "proxy"));
        assert!(rig.lives(&ours));
        // As notifier.
        let mut rig = Rig::notifier_with(Rig::config().with_policy(policy));
        rig.endpoint.add_resource(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
        let first = rig.theirs();
        let second = rig.decide(first.ok.refresh(2, 600).set("Event", "message-summary"), Decision::ACCEPT);
        rig.feed(second.notify.answer("502 Bad Gateway"));
        assert_eq!((rig.watches(&first), rig.watches(&second)), (!ends, !ends), "{how:?}");
    }
}
