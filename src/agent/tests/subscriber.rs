//! The subscriber against a peer made of text.

use super::rig::{ME, PEER, Rig, Sent, field, notify_text, notify_with_event, tcp, udp};
use crate::agent::{Close, Scope, Subscribe};
use crate::event::{Ending, Event, SubscriptionState};
use crate::package::{Body, EventPackage, Expires, Forking, Merged, Packages};
use crate::{Failure, Misuse, Retry};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap()
}

/// A package in which every fork is a subscription, and partial bodies ask for
/// a refresh.
#[derive(Debug)]
struct Forky;

impl EventPackage for Forky {
    fn name(&self) -> &str {
        "x-forky"
    }
    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 86_400)
    }
    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }
    fn forking(&self) -> Forking {
        Forking::All
    }
    fn merge(&self, current: Option<&Body>, update: &Body) -> Merged {
        let mut merged = Merged::replaced(update.clone(), current != Some(update));
        merged.resync = update.data.starts_with(b"gap");
        merged
    }
}

pub(super) fn forky() -> Rig {
    let mut packages = Packages::standard();
    packages.register(Forky).unwrap();
    Rig::with(|config| config, packages)
}

pub(super) fn forked(uri: &str) -> Subscribe {
    Subscribe::new(uri, "x-forky").unwrap()
}

fn ends(rig: &Rig) -> usize {
    rig.events.iter().filter(|e| matches!(e, Event::Terminated { .. })).count()
}

/// An attempt whose SUBSCRIBE was never polled leaves nothing behind.
/// Covers: PEER-D02
#[test]
fn a_subscription_given_up_before_it_was_sent_leaks_no_attempt() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let id = rig.agent.subscribe(rig.now, bob()).unwrap();
        rig.agent.unsubscribe(rig.now, id, Scope::This).unwrap();
        assert_eq!(rig.drain().len(), 0);
    }
    assert_eq!(ends(&rig), 3);
    assert_eq!(rig.agent.attempts.len(), 0);
    assert_eq!(rig.agent.poll_timeout(), None);
}

/// After a refusal nothing more of that SUBSCRIBE is wanted.
/// Covers: 6665-4.1.2.1-4, 6665-SSM-8
#[test]
fn a_refused_attempt_takes_no_late_fork() {
    for failure in [None, Some(Failure::Transport), Some(Failure::Timeout)] {
        let mut rig = forky();
        let (_, sent) = rig.subscribe(forked("sip:bob@192.0.2.2"));
        match failure {
            None => rig.respond(&sent, 404, ""),
            Some(why) => rig.fail(&sent, why),
        }
        assert_eq!(ends(&rig), 1);
        assert_eq!(rig.notify(&sent, "late", 1, "active;expires=60").status, 481);
        assert_eq!(rig.agent.counts().0, 0);
        assert_eq!(rig.agent.attempts.len(), 0);
    }
}

/// Forks stay open after a first NOTIFY that ended at once, and close with Timer N.
/// Covers: 6665-SSM-6, 6665-SSM-27, 6665-4.1.2.4-3, 6665-4.1.2.4-4
#[test]
fn after_a_terminated_first_notify_other_forks_are_taken_until_timer_n() {
    let mut rig = forky();
    let (id, sent) = rig.subscribe(forked("sip:bob@192.0.2.2"));
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    assert_eq!(rig.notify(&sent, "a", 1, "terminated;reason=noresource").status, 200);
    assert_eq!(rig.agent.attempts.len(), 1);
    rig.pass(SECOND * 31);
    assert_eq!(rig.notify(&sent, "b", 1, "active;expires=600").status, 200);
    assert!(rig.agent.subscription(id).is_err());
    rig.pass(SECOND * 2);
    assert_eq!(rig.notify(&sent, "c", 1, "active;expires=600").status, 481);
    assert_eq!(rig.notify(&sent, "b", 2, "active;expires=600").status, 200);
    assert_eq!(rig.notify(&sent, "b", 3, "terminated").status, 200);
    assert_eq!(rig.agent.attempts.len(), 0);
    assert_eq!(rig.agent.poll_timeout(), None);
}

/// A new attempt replaces the old one, also where forks of it live on.
/// Covers: 6665-SSM-6, 6665-SSM-25, 6665-RACE-11, 6665-RACE-19, PEER-D13, PEER-D14
#[test]
fn a_new_attempt_closes_the_window_of_the_old_one() {
    let mut rig = forky();
    let (id, sent) = rig.subscribe(forked("sip:bob@192.0.2.2"));
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    assert_eq!(rig.notify(&sent, "a", 1, "active;expires=600").status, 200);
    assert_eq!(rig.notify(&sent, "b", 1, "active;expires=600").status, 200);
    let before = rig.sent.len();
    assert_eq!(rig.notify(&sent, "a", 2, "terminated;reason=deactivated").status, 200);
    let again = rig.sent[before..].to_vec();
    assert_eq!(again.len(), 1);
    assert_ne!(field(&again[0].text, "Call-ID"), field(&sent.text, "Call-ID"));
    assert_ne!(field(&again[0].text, "From"), field(&sent.text, "From"));
    assert!(!field(&again[0].text, "To").contains("tag="));
    assert!(again[0].text.starts_with("SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\n"));
    assert_eq!(rig.notify(&sent, "c", 1, "active;expires=600").status, 481);
    assert_eq!(rig.notify(&sent, "a", 3, "active;expires=600").status, 481);
    assert_eq!(rig.notify(&sent, "b", 2, "active;expires=600").status, 200);
    assert_eq!(rig.notify(&again[0], "a", 1, "active;expires=600").status, 200);
    assert!(rig.agent.subscription(id).is_ok());
}

/// The notifier's invitation holds for a first NOTIFY as well.
/// Covers: 6665-4.1.3-15, 6665-RSN-1, 6665-RSN-2
#[test]
fn a_first_notify_may_ask_to_come_again() {
    let mut rig = Rig::new();
    let (_, sent) = rig.subscribe(bob());
    let before = rig.sent.len();
    assert_eq!(rig.notify(&sent, "a", 1, "terminated;reason=deactivated").status, 200);
    assert_eq!(rig.sent.len(), before + 1);
    let again = rig.sent[before].clone();
    assert_eq!(rig.notify(&again, "a", 1, "terminated;reason=probation;retry-after=60").status, 200);
    assert_eq!(rig.pass(SECOND * 59).len(), 0);
    assert_eq!(rig.pass(SECOND * 30).len(), 1);
    // What is only allowed is not done where there never was a subscription.
    let mut rig = Rig::new();
    let (_, sent) = rig.subscribe(bob());
    assert_eq!(rig.notify(&sent, "a", 1, "terminated;reason=timeout").status, 200);
    assert_eq!(rig.pass(SECOND * 7200).len(), 0);
    assert_eq!(ends(&rig), 1);
}

/// A fork that comes while we close is not taken.
/// Covers: PEER-D05, PEER-F10
#[test]
fn closing_takes_no_further_fork() {
    let mut rig = forky();
    let (_, sent) = rig.established(forked("sip:bob@192.0.2.2"));
    let before = rig.sent.len();
    rig.agent.close(rig.now, Close::Terminate);
    rig.drain();
    let bye = rig.sent[before].clone();
    assert_eq!(field(&bye.text, "Expires"), "0");
    assert_eq!(rig.notify(&sent, "late", 1, "active;expires=600").status, 481);
    rig.respond(&bye, 200, "Expires: 0\r\n");
    assert!(!rig.agent.is_drained());
    assert_eq!(rig.notify(&sent, "peer", 2, "terminated;reason=timeout").status, 200);
    assert!(rig.agent.is_drained());
    assert_eq!(rig.notify(&sent, "later", 1, "active;expires=600").status, 481);
    assert_eq!(rig.events.iter().filter(|e| **e == Event::Drained).count(), 1);
    assert_eq!(rig.events.last(), Some(&Event::Drained));
    assert_eq!(rig.agent.subscribe(rig.now, bob()), Err(Misuse::Closing));
}

/// Interrupted, waiting, unsent: all end, then Drained, once.
#[test]
fn closing_ends_subscriptions_in_every_state() {
    let mut rig = Rig::new();
    let (_, sent) = rig.established(bob());
    assert_eq!(rig.notify(&sent, "peer", 2, "terminated;reason=probation;retry-after=600").status, 200);
    let (_, waiting) = rig.subscribe(bob());
    rig.agent.subscribe(rig.now, bob()).unwrap();
    rig.agent.close(rig.now, Close::Terminate);
    assert_eq!(rig.drain().len(), 0);
    assert_eq!(ends(&rig), 2);
    assert!(!rig.agent.is_drained());
    assert_eq!(rig.notify(&waiting, "peer", 1, "active;expires=600").status, 200);
    // The first transaction is still open (INT-15).
    let before = rig.sent.len();
    rig.respond(&waiting, 200, "Expires: 3600\r\n");
    assert_eq!(field(&rig.sent[before].text, "Expires"), "0");
    rig.pass(SECOND * 40);
    assert_eq!(ends(&rig), 3);
    assert_eq!(rig.events.iter().filter(|e| **e == Event::Drained).count(), 1);
    assert_eq!(rig.agent.poll_timeout(), None);
    assert_eq!(rig.agent.flows.len(), 0);
}

/// Gaps cannot make the subscriber spin.
/// Covers: 6665-5.3.2-3
#[test]
fn a_peer_cannot_make_resyncs_spin() {
    let mut rig = forky();
    let (_, sent) = rig.established(forked("sip:bob@192.0.2.2"));
    let before = rig.sent.len();
    for cseq in 2..200 {
        let body = notify_text(&sent, "peer", cseq, "active;expires=3600", "Content-Type: text/plain\r\n", "gap");
        assert_eq!(rig.receive(udp(PEER), &body).status, 200);
        if let Some(refresh) = rig.sent.get(before..).and_then(|s| s.last()).cloned() {
            rig.respond(&refresh, 200, "Expires: 3600\r\n");
        }
        rig.pass(SECOND / 100);
    }
    let refreshes = rig.sent.len() - before;
    assert!((1..=3).contains(&refreshes), "{refreshes} in two seconds");
}

/// A 2xx of another fork completes the transaction and says nothing more.
/// Covers: PEER-A04, 6665-5.4.9-2, 6665-4.1.4-1
#[test]
fn a_2xx_of_another_fork_does_not_count() {
    let mut rig = Rig::new();
    let (id, sent) = rig.subscribe(bob());
    assert_eq!(rig.notify(&sent, "b", 1, "active;expires=3000").status, 200);
    let deadline = rig.agent.subscription(id).unwrap().expires_at;
    let to = "<sip:bob@192.0.2.2>;tag=a";
    rig.respond_as(&sent, 200, to, "Expires: 60\r\nContact: <sip:a@192.0.2.9>\r\n");
    let info = rig.agent.subscription(id).unwrap();
    assert_eq!(info.expires_at, deadline);
    assert_eq!(info.target, Some(&b"sip:b@192.0.2.2"[..]));
    assert_eq!(rig.notify(&sent, "a", 1, "active;expires=3000").status, 481);
    assert_eq!(rig.notify(&sent, "b", 2, "active").status, 200);
}

/// Covers: PEER-E04, 6665-RACE-3, INT-2
#[test]
fn a_notify_then_a_challenge_leaves_the_subscription() {
    let mut rig = Rig::new();
    let (id, sent) = rig.subscribe(bob());
    assert_eq!(rig.notify(&sent, "b", 1, "active;expires=3000").status, 200);
    rig.respond(&sent, 401, "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\"\r\n");
    assert!(rig.agent.subscription(id).is_ok());
    #[cfg(feature = "digest")]
    assert!(rig.events.iter().any(|e| matches!(e, Event::Challenge { realm, .. } if &realm[..] == b"x")));
    assert_eq!(rig.notify(&sent, "b", 2, "active").status, 200);
    // It refreshes in the dialog.
    let refresh = rig.pass(SECOND * 3000).first().cloned().unwrap();
    assert!(field(&refresh.text, "To").ends_with(";tag=b"));
}

/// Covers: PEER-E01, 6665-RSP-5
#[test]
fn a_challenge_without_credentials_is_a_plain_failure() {
    let mut rig = Rig::new();
    let (id, sent) = rig.subscribe(bob());
    rig.respond(&sent, 401, "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\"\r\n");
    #[cfg(feature = "digest")]
    {
        assert!(matches!(rig.events.remove(0), Event::Challenge { .. }));
        assert_eq!(rig.events, [], "the application may still give some");
        rig.pass(SECOND * 3);
    }
    assert!(matches!(
        &rig.events[0],
        Event::Terminated { subscription, why: Ending::Refused { status, .. }, retry: Retry::Never }
            if *subscription == id && status.as_u16() == 401
    ));
    assert_eq!(rig.events.len(), 1);
    assert_eq!(rig.pass(SECOND * 3600).len(), 0);
    // Without a challenge nobody is asked for anything.
    let mut rig = Rig::new();
    let (_, sent) = rig.subscribe(bob());
    rig.respond(&sent, 401, "");
    assert_eq!(rig.events.len(), 1);
    assert_eq!(rig.pass(SECOND * 3600).len(), 0);
}

/// Covers: 6665-4.1.3-3, 6665-DISP-19, 6665-DISP-21, 6665-DISP-22, 6665-DISP-24, 6665-DISP-25, 6665-8.2.1-1
#[test]
fn a_notify_is_judged_in_order_and_a_refused_one_changes_nothing() {
    let mut rig = Rig::new();
    let (id, sent) = rig.established(Subscribe::new("sip:bob@192.0.2.2", "presence;id=7").unwrap());
    let events = rig.events.len();
    let before = rig.agent.subscription(id).unwrap().expires_at;
    let mut send = |tag: &str, cseq, event: &str, state: &str, extra: &str, body: &str| {
        let text = notify_with_event(&sent, tag, cseq, event, state, extra, body);
        rig.receive(udp(PEER), &text).status
    };
    assert_eq!(send("peer", 9, "nobody-knows", "active;expires=5", "", ""), 489);
    assert_eq!(send("peer", 1, "nobody-knows", "active;expires=5", "", ""), 489);
    assert_eq!(send("peer", 1, "presence;id=7", "active;expires=5", "", ""), 500);
    assert_eq!(send("peer", 9, "presence", "active;expires=5", "", ""), 481);
    assert_eq!(send("peer", 9, "presence;id=8", "active;expires=5", "", ""), 481);
    assert_eq!(send("peer", 9, "message-summary;id=7", "active;expires=5", "", ""), 481);
    assert_eq!(send("peer", 9, "presence;id=7", "active;expires=5", "Content-Type: text/html\r\n", "x"), 415);
    assert_eq!(send("peer", 9, "presence;id=7", "active;expires=5", "Require: x\r\n", ""), 420);
    assert_eq!(send("peer", 9, "presence;id=7", "a b", "", ""), 400);
    assert_eq!(rig.events.len(), events);
    assert_eq!(rig.agent.subscription(id).unwrap().expires_at, before);
    assert_eq!(rig.notify(&sent, "peer", 2, "active").status, 200);
}

/// A target that does not fit refuses the NOTIFY: all or nothing.
/// Covers: 3261-8.2-1, 6665-4.1.3-27
#[test]
fn a_notify_with_an_oversized_contact_changes_nothing() {
    let mut rig = Rig::new();
    let (id, sent) = rig.established(bob());
    let long: alloc::string::String = core::iter::repeat_n('a', 9000).collect();
    let text = notify_text(&sent, &long, 2, "active;expires=5", "", "");
    let text = text.replacen(&alloc::format!(";tag={long}"), ";tag=peer", 1);
    let before = rig.agent.subscription(id).unwrap().expires_at;
    assert_eq!(rig.receive(udp(PEER), &text).status, 513);
    assert_eq!(rig.agent.subscription(id).unwrap().expires_at, before);
}

/// An application that does not poll events loses news, never an end.
#[test]
fn events_that_nobody_polls_are_bounded() {
    let mut rig = Rig::configured(|mut config| {
        config.limits.events = 4;
        config
    });
    let (id, sent) = rig.established(bob());
    rig.listening = false;
    rig.events.clear();
    for cseq in 2..6 {
        assert_eq!(rig.notify(&sent, "peer", cseq, "active;expires=3600").status, 200);
    }
    let refused = rig.receive(udp(PEER), &notify_text(&sent, "peer", 6, "terminated", "", ""));
    assert_eq!((refused.status, field(&refused.fields, "Retry-After")), (503, "10"));
    for _ in 0..20 {
        rig.agent.refresh(rig.now, id, None).unwrap();
        let refresh = rig.drain().pop().unwrap();
        rig.respond(&refresh, 200, "Expires: 3600\r\n");
    }
    assert_eq!(rig.agent.events.len(), 4);
    rig.agent.refresh(rig.now, id, None).unwrap();
    let refresh = rig.drain().pop().unwrap();
    rig.respond(&refresh, 405, "");
    rig.listening = true;
    rig.drain();
    assert_eq!(rig.events.len(), 5);
    assert!(matches!(rig.events[4], Event::Terminated { .. }));
}

/// The pre-set flow holds for every attempt, not only for the first.
/// Covers: PEER-J07
#[test]
fn a_new_attempt_goes_where_the_first_went() {
    let mut rig = Rig::new();
    let (_, sent) = rig.established(bob().on_flow(udp("192.0.2.7:5080")));
    assert_eq!(sent.request.destination, Some(udp("192.0.2.7:5080")));
    let before = rig.sent.len();
    assert_eq!(rig.notify(&sent, "peer", 2, "terminated;reason=deactivated").status, 200);
    assert_eq!(rig.sent[before].request.destination, Some(udp("192.0.2.7:5080")));
}

/// The answer to a question about an older request moves nothing.
#[test]
fn a_late_location_of_an_older_request_is_ignored() {
    let mut rig = Rig::new();
    let (id, first) = rig.established(bob());
    rig.agent.set_destination(first.request.id, udp("192.0.2.66:5060"));
    rig.agent.refresh(rig.now, id, None).unwrap();
    let refresh = rig.drain().pop().unwrap();
    assert_eq!(refresh.request.destination, None);
    rig.agent.set_destination(refresh.request.id, udp("192.0.2.3:5060"));
    rig.respond(&refresh, 200, "Expires: 3600\r\n");
    rig.agent.refresh(rig.now, id, None).unwrap();
    assert_eq!(rig.drain().pop().unwrap().request.destination, Some(udp("192.0.2.3:5060")));
}

/// Fetches in a row are not held up by the windows of those before.
/// Covers: 6665-4.4.3-4
#[test]
fn many_fetches_fit_into_few_attempts() {
    let mut rig = Rig::configured(|mut config| {
        config.limits.subscriptions = 1;
        config
    });
    for _ in 0..10 {
        let (_, sent) = rig.subscribe(bob().expires(0));
        rig.respond(&sent, 200, "Expires: 0\r\n");
        assert_eq!(rig.notify(&sent, "peer", 1, "terminated;reason=timeout").status, 200);
    }
    assert_eq!(ends(&rig), 10);
    rig.pass(SECOND * 33);
    assert_eq!(rig.agent.attempts.len(), 0);
}

/// Covers: INT-16, 6665-RACE-13
#[test]
fn all_forks_unsubscribe_as_they_come() {
    let mut rig = forky();
    let (id, sent) = rig.subscribe(forked("sip:bob@192.0.2.2"));
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    rig.agent.unsubscribe(rig.now, id, Scope::AllForks).unwrap();
    assert_eq!(rig.drain().len(), 0);
    let mut byes: alloc::vec::Vec<Sent> = alloc::vec::Vec::new();
    for tag in ["a", "b"] {
        let before = rig.sent.len();
        assert_eq!(rig.notify(&sent, tag, 1, "active;expires=600").status, 200);
        assert_eq!(rig.sent.len(), before + 1);
        byes.push(rig.sent[before].clone());
    }
    for (bye, tag) in byes.iter().zip(["a", "b"]) {
        assert_eq!(field(&bye.text, "Expires"), "0");
        assert!(field(&bye.text, "To").ends_with(&alloc::format!(";tag={tag}")));
        rig.respond(bye, 200, "Expires: 0\r\n");
        assert_eq!(rig.notify(&sent, tag, 2, "terminated;reason=timeout").status, 200);
    }
    assert_eq!(ends(&rig), 2);
    assert_eq!(rig.agent.attempts.len(), 1, "the window is still open");
    rig.pass(SECOND * 33);
    assert_eq!(rig.agent.attempts.len(), 0);
}

/// A connection that carried the NOTIFY carries the refresh, and is let go of
/// when it closes.
#[test]
fn a_closed_connection_is_not_used_again() {
    let mut rig = Rig::new();
    let (id, sent) = rig.subscribe(bob());
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    let text = notify_text(&sent, "peer", 1, "active;expires=3600", "", "");
    assert_eq!(rig.receive(tcp(PEER, 1), &text).status, 200);
    rig.agent.refresh(rig.now, id, None).unwrap();
    let refresh = rig.drain().pop().unwrap();
    assert_eq!(refresh.request.destination, Some(tcp(PEER, 1)));
    assert!(field(&refresh.text, "Contact").contains(";transport=tcp"));
    assert_eq!(rig.agent.handle_flow_gone(rig.now, tcp(PEER, 1)), (1, 0));
    rig.fail(&refresh, Failure::Transport);
    rig.agent.refresh(rig.now, id, None).unwrap();
    assert_eq!(rig.drain().pop().unwrap().request.destination, None);
}

/// Covers: 3261-8.1.1.8-2
#[test]
fn a_secure_first_hop_gets_a_secure_contact() {
    let mut rig = Rig::new();
    let (_, sent) = rig.subscribe(bob().route("sips:proxy.example.com;lr").unwrap());
    assert!(field(&sent.text, "Contact").starts_with("<sips:"), "{}", sent.text);
    let (_, sent) = rig.subscribe(bob());
    assert!(field(&sent.text, "Contact").starts_with(&alloc::format!("<sip:me@{ME}")), "{}", sent.text);
}

/// Covers: 6665-4.1.3-11, PEER-A01
#[test]
fn a_notify_tells_its_state_in_the_event() {
    let mut rig = Rig::new();
    let (id, _) = rig.established(bob());
    let told = rig.events.iter().find_map(|e| match e {
        Event::Notify { subscription, state, expires, cseq, .. } => Some((*subscription, *state, *expires, *cseq)),
        _ => None,
    });
    assert_eq!(told, Some((id, SubscriptionState::Active, Some(3600), 1)));
}

/// A reordered NOTIFY does not bring back the dialog that its successor ended.
/// Covers: 6665-SSM-26, PEER-D01, 3261-12.2.1.1-2
#[test]
fn a_dialog_that_is_over_does_not_come_back() {
    let mut rig = forky();
    let (_, sent) = rig.established(forked("sip:bob@192.0.2.2").auto_resubscribe(false));
    assert_eq!(rig.notify(&sent, "peer", 3, "terminated;reason=timeout").status, 200);
    assert_eq!(rig.notify(&sent, "peer", 2, "active;expires=600").status, 481);
    // Also where the end was all that there was.
    assert_eq!(rig.notify(&sent, "b", 5, "terminated").status, 200);
    assert_eq!(rig.notify(&sent, "b", 4, "active;expires=600").status, 481);
    assert_eq!(rig.notify(&sent, "c", 1, "active;expires=600").status, 200);
    assert_eq!(rig.agent.counts().0, 1);
}

/// However many addresses redirections name, no more are kept than may be
/// tried.
#[test]
fn a_redirection_costs_what_may_be_tried_of_it() {
    let mut rig = Rig::new();
    let (id, mut sent) = rig.subscribe(bob());
    for round in 0..5 {
        let contacts: String = (0..16).map(|n| format!("Contact: <sip:b{round}.{n}@192.0.2.9>\r\n")).collect();
        rig.respond(&sent, 302, &contacts);
        let record = rig.agent.subscriptions.get(id.0).unwrap();
        assert_eq!(record.detour.as_ref().unwrap().waiting(), 4 - round);
        sent = rig.sent.last().unwrap().clone();
    }
}
