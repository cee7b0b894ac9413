//! Several subscriptions in one dialog: RFC 6665 section 4.5.2 where sharing
//! is allowed, and what RFC 5057 says of such dialogs. The endpoint notifies.

use sip_events::package::Reject;
use sip_events::wire::StatusCode;
use sip_events::{Body, Decision, DialogSharing, Event, Gone, Misuse, Policy, Reason, ResourceKey, WatcherId};

use crate::harness::*;

const MWI: &str = "application/simple-message-summary";

fn sharing() -> Policy {
    let mut policy = Policy::default();
    policy.dialog_sharing = DialogSharing::Allow;
    policy
}

/// [`BOB`] has presence and a mailbox.
fn rig_with(policy: Policy) -> Rig {
    let mut rig = Rig::notifier_with(Rig::config().with_policy(policy));
    let mailbox = rig.endpoint.add_resource(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, mailbox, Body::new(MWI, "Messages-Waiting: no\r\n")).unwrap();
    rig
}

/// A watcher of the presence, and in its dialog another subscription.
fn both(rig: &mut Rig, event: &str) -> (Theirs, Theirs) {
    let first = rig.theirs();
    let second = further(rig, &first, 2, event);
    (first, second)
}

/// A further subscription in the dialog, its NOTIFY answered.
fn further(rig: &mut Rig, first: &Theirs, cseq: u32, event: &str) -> Theirs {
    let second = rig.decide(first.ok.refresh(cseq, 600).set("Event", event), Decision::ACCEPT);
    rig.quiet(second.notify.answer("200 OK"));
    rig.events.clear();
    second
}

fn dialog(out: &Out) -> (String, Option<String>, Option<String>) {
    (out.get("Call-ID"), out.tag("From"), out.tag("To"))
}

/// The mailbox changes once its rate allows a NOTIFY.
fn set_mailbox(rig: &mut Rig, text: &str) -> Vec<Out> {
    rig.idle(secs(5));
    let mailbox = rig.endpoint.find(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, mailbox, Body::new(MWI, text.to_owned())).unwrap();
    rig.drain()
}

/// Covers: 6665-4.5.2-3, 6665-4.5.2-5, 6665-4.5.2-7, 6665-4.5.2-8, 6665-4.5.2-10, 6665-4.5.2-11, 6665-BC-5,
/// 3265-3.1.2-3, 3265-3.3.4-5
#[test]
fn a_second_event_in_the_dialog_is_a_subscription_of_its_own() {
    for (event, body) in [("message-summary", "Messages-Waiting: no\r\n"), ("presence;id=7", "<open/>")] {
        let mut rig = rig_with(sharing());
        let first = rig.theirs();
        let asked = first.ok.refresh(2, 300).set("Event", event);
        rig.quiet(&asked);
        let incoming = rig.incoming();
        let seen = rig.endpoint.incoming(incoming).unwrap();
        assert_eq!((seen.uri, seen.shares, seen.event), (BOB, Some(first.id), event.as_bytes()));
        let id = rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
        let sent = rig.drain();
        let (ok, notify) = (&sent[0], &sent[1]);
        assert_eq!((ok.status(), ok.get("Expires")), (200, "300".to_owned()), "{event}");
        // The dialog is the first one's: same tags, CSeq goes on.
        assert_eq!(ok.tag("To"), first.ok.tag("To"));
        assert_eq!(dialog(notify), dialog(&first.notify));
        assert_eq!(notify.cseq(), first.notify.cseq() + 1);
        assert_eq!((notify.get("Event"), notify.body()), (event.to_owned(), body.as_bytes().to_vec()));
        assert_eq!(notify.state_param("expires").unwrap(), "300");
        rig.quiet(notify.answer("200 OK"));
        // Each is refreshed alone, and runs out alone.
        let sent = rig.feed(first.ok.refresh(3, 600));
        assert_eq!(
            (sent[0].status(), sent[1].get("Event"), sent[1].cseq()),
            (200, "presence".into(), notify.cseq() + 1)
        );
        rig.quiet(sent[1].answer("200 OK"));
        let last = rig.next(secs(300));
        assert_eq!((last.get("Event"), last.state_param("reason")), (event.to_owned(), Some("timeout".to_owned())));
        rig.quiet(last.answer("200 OK"));
        assert!(rig.endpoint.watcher(id).is_err() && rig.watches(&first));
        // PEER-C14: the same name may come again.
        further(&mut rig, &first, 4, event);
    }
}

/// Covers: 6665-4.5.2-3, 6665-4.5.2-4, 6665-BC-5
#[test]
fn each_dialect_has_its_own_answer() {
    for (policy, status) in
        [(Policy::default(), Some("SIP/2.0 403 Dialog Sharing Not Supported")), (Policy::rfc3265(), None)]
    {
        let mut rig = rig_with(policy);
        let first = rig.theirs();
        let sent = rig.feed(first.ok.refresh(2, 600).set("Event", "message-summary"));
        assert_eq!(sent.first().map(Out::start), status.map(str::to_owned));
        assert_eq!(rig.take().iter().any(|event| matches!(event, Event::Subscribe(_))), status.is_none());
    }
}

/// Covers: 6665-4.5.2-6, 5057-4.2-2, 3265-3.3.4-5
#[test]
fn the_dialog_lives_until_its_last_subscription_ends() {
    // Either may go first; a further one comes into what is left.
    for first_goes in [true, false] {
        let mut rig = rig_with(sharing());
        let (first, second) = both(&mut rig, "message-summary");
        let (gone, left) = if first_goes { ("presence", "message-summary") } else { ("message-summary", "presence") };
        let sent = rig.feed(first.ok.refresh(3, 0).set("Event", gone));
        assert_eq!(
            (sent[0].status(), sent[1].substate(), sent[1].get("Event")),
            (200, "terminated".into(), gone.into())
        );
        rig.quiet(sent[1].answer("200 OK"));
        assert_eq!((rig.watches(&first), rig.watches(&second)), (!first_goes, first_goes));
        // Somebody else takes the free slot: the dialog's tag still is the dialog's.
        let other = subscribe(600).set("Call-ID", "other").set("From", "<sip:x@example.com>;tag=x").branch("x");
        rig.theirs_by(other);
        let sent = rig.feed(first.ok.refresh(4, 600).set("Event", left));
        assert_eq!((sent[0].status(), sent[1].get("Event")), (200, left.to_owned()));
        assert_eq!(dialog(&sent[1]), dialog(&first.notify));
        rig.quiet(sent[1].answer("200 OK"));
        further(&mut rig, &first, 5, gone);
        for (cseq, event) in [(6, left), (7, gone)] {
            let sent = rig.feed(first.ok.refresh(cseq, 0).set("Event", event));
            rig.quiet(sent[1].answer("200 OK"));
        }
        assert_eq!(rig.endpoint.watchers().count(), 1);
        assert_eq!(rig.status(first.ok.refresh(8, 600)), 481);
    }
}

/// Covers: 6665-4.5.2-6, 3261-12.2.2-1
#[test]
fn an_undecided_one_has_no_dialog_once_the_last_ends() {
    let mut rig = rig_with(sharing());
    let first = rig.theirs();
    rig.quiet(first.ok.refresh(2, 600).set("Event", "message-summary"));
    // A repetition under another number waits for the decision on the first.
    let again = rig.one(first.ok.refresh(3, 600).set("Event", "message-summary"));
    assert_eq!((again.status(), again.has("Retry-After")), (503, true));
    let incoming = rig.incoming();
    let sent = rig.feed(first.ok.refresh(4, 0));
    let refused = rig.feed(sent[1].answer("200 OK"));
    assert_eq!(refused[0].status(), 481);
    assert_eq!(rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT), Err(Misuse::StaleId));
}

/// Covers: 5057-5.1-1, 5057-5.2-1, 6665-NRC-8, 6665-NRC-9, 6665-NRC-13, 6665-4.2.2-5
#[test]
fn a_refusal_ends_one_subscription_or_the_whole_dialog() {
    const DIALOG: [u16; 8] = [404, 410, 416, 482, 483, 484, 485, 604];
    const USAGE: [u16; 5] = [405, 480, 481, 489, 501];
    for status in (400..=606).filter(|s| ![401, 407, 408].contains(s)) {
        let mut rig = rig_with(sharing());
        let (first, second) = both(&mut rig, "message-summary");
        let sent = set_mailbox(&mut rig, "Messages-Waiting: yes\r\n");
        rig.feed(sent[0].answer(&format!("{status} No")));
        let lost = DIALOG.contains(&status);
        assert_eq!(rig.watches(&first), !lost, "{status}");
        assert_eq!(rig.watches(&second), !lost && !USAGE.contains(&status), "{status}");
        let whole = |e: &Event| matches!(e, Event::WatcherGone { why: Gone::Refused(s), .. } if s.as_u16() == status);
        let told = rig.take().iter().filter(|e| whole(e)).count();
        assert_eq!(told, usize::from(USAGE.contains(&status)) + 2 * usize::from(lost), "{status}");
        if lost {
            assert_eq!(rig.status(first.ok.refresh(9, 600)), 481);
        }
    }
    // Silence ends the one that met it.
    let mut rig = rig_with(sharing());
    let (first, second) = both(&mut rig, "message-summary");
    set_mailbox(&mut rig, "Messages-Waiting: yes\r\n");
    rig.run(secs(33));
    assert_eq!((rig.watches(&first), rig.watches(&second)), (true, false));
}

/// Covers: 5057-5.6-1, 6665-4.5.2-3
#[test]
fn a_refusal_of_ours_spares_the_dialog() {
    // What would end it at the peer becomes 403.
    for (status, sent) in [(404, 403), (410, 403), (604, 403), (603, 603), (403, 403), (489, 489)] {
        let mut rig = rig_with(sharing());
        let first = rig.theirs();
        rig.quiet(first.ok.refresh(2, 600).set("Event", "message-summary"));
        let incoming = rig.incoming();
        rig.endpoint.reject(rig.now, incoming, Reject::new(StatusCode::new(status).unwrap())).unwrap();
        assert_eq!(rig.drain()[0].status(), sent);
        assert!(rig.watches(&first));
    }
    // A resource that is not there under that package.
    let mut rig = Rig::notifier_with(Rig::config().with_policy(sharing()));
    let first = rig.theirs();
    assert_eq!(rig.status(first.ok.refresh(2, 600).set("Event", "message-summary")), 403);
}

/// Covers: 5057-5.4-1, 3261-12.2.2-4
#[test]
fn a_new_target_is_every_subscriptions_target() {
    const MOVED: &str = "sip:peer@198.51.100.7:5099";
    for by_subscribe in [true, false] {
        let mut rig = rig_with(sharing());
        let (first, _) = both(&mut rig, "message-summary");
        if by_subscribe {
            let sent = rig.feed(first.ok.refresh(3, 600).set("Contact", format!("<{MOVED}>")));
            assert_eq!(sent[1].uri(), MOVED);
            rig.quiet(sent[1].answer("200 OK"));
        } else {
            rig.idle(secs(5));
            let sent = rig.set_bob("<closed/>");
            rig.quiet(sent[0].answer("200 OK").add("Contact", format!("<{MOVED}>")));
        }
        let sent = set_mailbox(&mut rig, "Messages-Waiting: yes\r\n");
        assert_eq!((sent[0].uri().as_str(), sent[0].flow.remote), (MOVED, addr("198.51.100.7:5099")));
    }
    // One that makes a subscription moves the others as well.
    let mut rig = rig_with(sharing());
    let first = rig.theirs();
    let asked = first.ok.refresh(2, 600).set("Event", "message-summary").set("Contact", format!("<{MOVED}>"));
    let second = rig.decide(asked, Decision::ACCEPT);
    assert_eq!(second.notify.uri(), MOVED);
    rig.quiet(second.notify.answer("200 OK"));
    rig.run(secs(5));
    assert_eq!(rig.set_bob("<closed/>")[0].uri(), MOVED);
}

/// Covers: 6665-4.5.2-5, 3261-12.2.2-2, INT-14
#[test]
fn one_numbering_for_the_whole_dialog() {
    let mut rig = rig_with(sharing());
    let (first, second) = both(&mut rig, "message-summary");
    rig.run(secs(5));
    // Their numbers: one that another subscription has used is out of order.
    assert_eq!(rig.status(first.ok.refresh(2, 600).branch("again")), 500);
    assert_eq!(rig.status(first.ok.refresh(1, 600).set("Event", "message-summary").branch("older")), 500);
    // Ours: the second NOTIFY waits, since on the way it could overtake the first.
    let told = rig.set_bob("<closed/>");
    assert_eq!(told.len(), 1);
    let mailbox = rig.endpoint.find(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
    rig.endpoint.set_state(rig.now, mailbox, Body::new(MWI, "Messages-Waiting: yes\r\n")).unwrap();
    assert!(rig.drain().is_empty());
    let next = rig.feed(told[0].answer("200 OK"));
    assert_eq!(next.len(), 1);
    assert_eq!((next[0].get("Event").as_str(), next[0].cseq()), ("message-summary", told[0].cseq() + 1));
    assert_eq!(told[0].cseq(), second.notify.cseq() + 1);
    // The NOTIFY after a 2xx waits for nobody (RFC 6665 section 4.2.2).
    let sent = rig.feed(first.ok.refresh(3, 600));
    assert_eq!((sent[0].status(), sent[1].cseq()), (200, next[0].cseq() + 1));
    // One whose turn comes when another is gone gets it.
    rig.quiet(sent[1].answer("200 OK"));
    rig.run(secs(5));
    assert!(rig.set_bob("<open/>").is_empty());
    let freed = rig.feed(next[0].answer("481 Gone"));
    assert_eq!((freed.len(), freed[0].body()), (1, b"<open/>".to_vec()));
}

/// Covers: 6665-4.5.2-5, 6665-4.5.2-6
#[test]
fn a_restart_keeps_what_is_shared() {
    let mut rig = rig_with(sharing());
    let (first, second) = both(&mut rig, "message-summary");
    // Under a slot whose first owner is gone.
    let sent = rig.feed(first.ok.refresh(3, 0));
    rig.quiet(sent[1].answer("200 OK"));
    let third = further(&mut rig, &first, 4, "presence;id=3");
    rig.idle(secs(40));
    rig.endpoint.handle_timeout(rig.now);
    let before = rig.endpoint.digest();
    rig.restart();
    assert_eq!(rig.endpoint.digest(), before);
    let sent = rig.feed(first.ok.refresh(5, 600).set("Event", "message-summary"));
    assert_eq!((sent[0].status(), sent[1].cseq()), (200, third.notify.cseq() + 1));
    assert_eq!(dialog(&sent[1]), dialog(&first.notify));
    rig.feed(sent[1].answer("404 Gone"));
    assert_eq!((rig.watches(&second), rig.watches(&third)), (false, false));
}

/// Covers: 6665-4.5.2-5
#[test]
fn a_dialog_has_only_so_many_subscriptions() {
    let config = Rig::config().with_policy(sharing());
    let mut limits = config.limits;
    limits.usages = 2;
    let mut rig = Rig::notifier_with(config.with_limits(limits));
    let (first, _) = both(&mut rig, "presence;id=1");
    let refused = rig.one(first.ok.refresh(3, 600).set("Event", "presence;id=2"));
    assert_eq!((refused.status(), refused.has("Retry-After")), (503, true));
    let watchers: Vec<WatcherId> = rig.endpoint.watchers().collect();
    rig.endpoint.terminate(rig.now, watchers[1], &Reason::Deactivated, None).unwrap();
    let last = rig.drain().remove(0);
    rig.quiet(last.answer("200 OK"));
    further(&mut rig, &first, 4, "presence;id=2");
}
