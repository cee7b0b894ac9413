//! The notifier's state machine, cell by cell, and what responses to NOTIFY do
//! (RFC 6665 sections 4.2 and 4.2.2, RFC 5057).

use std::time::Duration;

use sip_events::machine::notifier::State;
use sip_events::{Config, Decision, Dialect, Event, Failure, Gone, NotifyTimeout, Policy, Reason, View};

use crate::harness::*;

/// Covers: 6665-NSM-1, 6665-NSM-2, 6665-NSM-3, 6665-NSM-4, 6665-NSM-5, 6665-NSM-6, 6665-NSM-7, 6665-NSM-8,
/// 6665-NSM-9, 6665-NSM-10, 6665-NSM-11, 6665-NSM-12, 6665-NSM-13, 6665-NSM-14, 6665-NSM-15, 6665-NSM-16,
/// 6665-NSM-17, 6665-NSM-18, 6665-NSM-19, 6665-NSM-20, 6665-NSM-21
#[test]
fn every_cell() {
    walk(
        "6665-NSM",
        21,
        &[
            (1, a_refusal_keeps_nothing),
            (2, an_acceptance_is_a_2xx_a_notify_and_a_timer),
            (3, granted_at_once),
            (4, undecided),
            (5, over_at_once),
            (6, granted_later),
            (7, refused_later),
            (8, never_decided),
            (9, a_change_is_kept_from_a_pending_watcher),
            (10, a_change_is_told_to_an_active_one),
            (11, a_refresh_is_answered_and_told),
            (12, a_refused_refresh_changes_nothing),
            (13, no_longer_authorised),
            (14, unsubscribed),
            (15, run_out),
            (16, a_failed_notify_removes_it),
            (17, local_policy_ends_it),
            (18, the_last_answer_frees_it),
            (19, after_the_end_481),
            (20, after_the_last_answer_481),
            (21, one_notify_at_a_time),
        ],
    );
}

fn state(rig: &Rig, theirs: &Theirs) -> State {
    rig.endpoint.watcher(theirs.id).unwrap().state
}

/// A watcher whose first NOTIFY is answered.
fn watcher(decision: Decision) -> (Rig, Theirs) {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), decision);
    rig.quiet(theirs.notify.answer("200 OK"));
    rig.run(secs(10));
    rig.take();
    (rig, theirs)
}

/// In resp_wait nothing has been polled yet: each input of that column comes
/// before the first NOTIFY is taken.
const GRANTS: [Decision; 2] = [Decision::ACCEPT, Decision::PENDING];

fn a_refusal_keeps_nothing() {
    let mut rig = Rig::notifier();
    assert_eq!(rig.status(subscribe(600).set("Event", "unknown")), 489);
    assert_eq!(rig.endpoint.watchers().count(), 0);
    rig.run(secs(40));
    assert_eq!(rig.endpoint.poll_timeout(), None);
}

fn an_acceptance_is_a_2xx_a_notify_and_a_timer() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let incoming = rig.incoming();
    let id = rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    assert_eq!(rig.endpoint.watcher(id).unwrap().state, State::RespWait);
    assert_eq!(rig.endpoint.watcher(id).unwrap().expires_at - rig.now, secs(600));
    let sent = rig.drain();
    assert_eq!((sent.len(), sent[0].status(), sent[1].is("NOTIFY")), (2, 200, true));
}

fn granted_at_once() {
    let (rig, theirs) = watcher(Decision::ACCEPT);
    assert_eq!((theirs.notify.substate().as_str(), state(&rig, &theirs)), ("active", State::Active));
    assert_eq!(theirs.notify.body(), b"<open/>");
}

fn undecided() {
    let (rig, theirs) = watcher(Decision::PENDING);
    assert_eq!((theirs.notify.substate().as_str(), state(&rig, &theirs)), ("pending", State::Pending));
    assert!(!theirs.notify.text().contains("<open/>"));
}

fn over_at_once() {
    for (asked, decision) in [
        (0, Decision::ACCEPT),
        (600, Decision::Active { expires: Some(0), view: View(0) }),
        (600, Decision::Pending { expires: Some(0), give_up: None }),
    ] {
        let mut rig = Rig::notifier();
        let theirs = rig.decide(subscribe(asked), decision);
        assert_eq!(theirs.notify.get("Subscription-State"), "terminated;reason=timeout");
    }
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let incoming = rig.incoming();
    let id = rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    rig.endpoint.terminate(rig.now, id, &Reason::Probation, None).unwrap();
    let sent = rig.drain();
    assert_eq!(sent[1].get("Subscription-State"), "terminated;reason=probation");
    assert_eq!(sent.len(), 2);
}

fn granted_later() {
    let (mut rig, theirs) = watcher(Decision::PENDING);
    rig.endpoint.approve(rig.now, theirs.id).unwrap();
    let told = rig.drain().remove(0);
    assert_eq!(told.get("Subscription-State"), "active;expires=590");
    assert_eq!((told.body(), state(&rig, &theirs)), (b"<open/>".to_vec(), State::Active));
}

fn refused_later() {
    let (mut rig, theirs) = watcher(Decision::PENDING);
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::Rejected, None).unwrap();
    let told = rig.drain().remove(0);
    assert_eq!(told.get("Subscription-State"), "terminated;reason=rejected");
    assert!(!told.text().contains("<open/>"));
    assert_eq!(state(&rig, &theirs), State::Terminated);
}

fn never_decided() {
    let mut rig = Rig::notifier();
    let give_up = Some(secs(60));
    let theirs = rig.decide(subscribe(600), Decision::Pending { expires: None, give_up });
    rig.quiet(theirs.notify.answer("200 OK"));
    let before = rig.now;
    let last = rig.next(secs(600));
    assert_eq!((rig.now - before, last.get("Subscription-State").as_str()), (secs(60), "terminated;reason=giveup"));
    assert!(!last.text().contains("<open/>"));
}

fn a_change_is_kept_from_a_pending_watcher() {
    let (mut rig, theirs) = watcher(Decision::PENDING);
    assert!(rig.set_bob("<secret/>").is_empty());
    rig.idle(secs(100));
    assert_eq!(state(&rig, &theirs), State::Pending);
}

fn a_change_is_told_to_an_active_one() {
    let (mut rig, theirs) = watcher(Decision::ACCEPT);
    let told = rig.set_bob("<1/>").remove(0);
    assert_eq!((told.substate().as_str(), told.body()), ("active", b"<1/>".to_vec()));
    rig.quiet(told.answer("200 OK"));
    assert!(rig.set_bob("<2/>").is_empty());
    assert_eq!(rig.next(secs(5)).body(), b"<2/>");
    assert_eq!(state(&rig, &theirs), State::Active);
}

fn a_refresh_is_answered_and_told() {
    for (decision, substate) in GRANTS.into_iter().zip(["active", "pending"]) {
        let (mut rig, theirs) = watcher(decision);
        let sent = rig.feed(theirs.ok.refresh(2, 300));
        assert_eq!((sent[0].status(), sent[0].get("Expires").as_str()), (200, "300"));
        assert_eq!(sent[1].get("Subscription-State"), format!("{substate};expires=300"));
        assert_eq!(rig.endpoint.watcher(theirs.id).unwrap().expires_at - rig.now, secs(300));
        assert!(rig.take().iter().any(|e| matches!(e, Event::Refreshed { expires: 300, .. })));
    }
    // Also before the first NOTIFY is answered.
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    let sent = rig.feed(theirs.ok.refresh(2, 300));
    assert_eq!((sent[0].status(), sent[1].cseq()), (200, theirs.notify.cseq() + 1));
}

fn a_refused_refresh_changes_nothing() {
    for decision in GRANTS {
        let (mut rig, theirs) = watcher(decision);
        let before = (state(&rig, &theirs), rig.endpoint.watcher(theirs.id).unwrap().expires_at);
        for (n, refused, code) in [
            (2, theirs.ok.refresh(2, 30), 423),
            (3, theirs.ok.refresh(3, 300).add("Accept", "text/x"), 406),
            (4, theirs.ok.refresh(4, 300).body("text/x", "x"), 415),
            (5, theirs.ok.refresh(5, 300).set("Contact", "*"), 400),
            (6, theirs.ok.refresh(6, 300).add("Require", "x"), 420),
        ] {
            assert_eq!(rig.status(refused.set("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKr{n}"))), code);
        }
        assert_eq!((state(&rig, &theirs), rig.endpoint.watcher(theirs.id).unwrap().expires_at), before);
        assert!(rig.take().is_empty());
    }
}

fn no_longer_authorised() {
    for decision in GRANTS {
        let (mut rig, theirs) = watcher(decision);
        let sent = rig.feed(theirs.ok.refresh(2, 300));
        assert_eq!(sent[0].status(), 200);
        rig.quiet(sent[1].answer("200 OK"));
        assert!(rig.take().iter().any(|e| matches!(e, Event::Refreshed { .. })));
        rig.endpoint.terminate(rig.now, theirs.id, &Reason::Rejected, None).unwrap();
        assert_eq!(rig.drain()[0].get("Subscription-State"), "terminated;reason=rejected");
    }
}

fn unsubscribed() {
    for decision in GRANTS {
        let (mut rig, theirs) = watcher(decision);
        let sent = rig.feed(theirs.ok.refresh(2, 0));
        assert_eq!((sent[0].status(), sent[0].get("Expires").as_str()), (200, "0"));
        assert_eq!(sent[1].get("Subscription-State"), "terminated;reason=timeout");
        assert_eq!(sent[1].text().contains("<open/>"), decision == Decision::ACCEPT);
    }
}

fn run_out() {
    for decision in GRANTS {
        let (mut rig, theirs) = watcher(decision);
        let last = rig.next(secs(590));
        assert_eq!(last.get("Subscription-State"), "terminated;reason=timeout");
        assert_eq!(state(&rig, &theirs), State::Terminated);
    }
}

fn a_failed_notify_removes_it() {
    for decision in GRANTS {
        // The first NOTIFY, and the one of a refresh.
        for later in [false, true] {
            let mut rig = Rig::notifier();
            let theirs = rig.decide(subscribe(600), decision);
            let mut notify = theirs.notify.clone();
            if later {
                rig.quiet(notify.answer("200 OK"));
                notify = rig.feed(theirs.ok.refresh(2, 600)).remove(1);
            }
            rig.quiet(notify.answer("481 Gone"));
            assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Refused(_), .. })));
            rig.idle(secs(1000));
        }
    }
}

fn local_policy_ends_it() {
    for decision in GRANTS {
        for (reason, token) in [
            (Reason::Deactivated, "deactivated"),
            (Reason::Probation, "probation"),
            (Reason::NoResource, "noresource"),
            (Reason::Invariant, "invariant;retry-after=31536000"),
        ] {
            let (mut rig, theirs) = watcher(decision);
            rig.endpoint.terminate(rig.now, theirs.id, &reason, None).unwrap();
            assert_eq!(rig.drain()[0].get("Subscription-State"), format!("terminated;reason={token}"));
        }
    }
    // The resource itself goes.
    let (mut rig, _) = watcher(Decision::ACCEPT);
    let bob = rig.bob();
    rig.endpoint.remove_resource(rig.now, bob, &Reason::NoResource).unwrap();
    assert_eq!(rig.drain()[0].get("Subscription-State"), "terminated;reason=noresource");
}

fn the_last_answer_frees_it() {
    for answer in ["200 OK", "481 Gone", "500 Oops", "408 Timeout", "401 Who", ""] {
        let (mut rig, theirs) = watcher(Decision::ACCEPT);
        let sent = rig.feed(theirs.ok.refresh(2, 0));
        assert!(rig.watches(&theirs), "it is there until then");
        if answer.is_empty() {
            rig.run(secs(32));
        } else {
            rig.quiet(sent[1].answer(answer));
        }
        assert!(!rig.watches(&theirs), "{answer}");
        assert!(rig.ended().is_some());
        rig.run(secs(32));
        assert_eq!(rig.endpoint.poll_timeout(), None, "{answer}");
    }
}

fn after_the_end_481() {
    let (mut rig, theirs) = watcher(Decision::ACCEPT);
    assert_eq!(rig.feed(theirs.ok.refresh(2, 0)).len(), 2);
    assert_eq!(rig.status(theirs.ok.refresh(3, 600)), 481);
    assert_eq!(state(&rig, &theirs), State::Terminated);
}

fn after_the_last_answer_481() {
    let (mut rig, theirs) = watcher(Decision::ACCEPT);
    let sent = rig.feed(theirs.ok.refresh(2, 0));
    rig.quiet(sent[1].answer("200 OK"));
    assert_eq!(rig.status(theirs.ok.refresh(3, 600)), 481);
}

fn one_notify_at_a_time() {
    let (mut rig, theirs) = watcher(Decision::ACCEPT);
    let open = rig.set_bob("<1/>").remove(0);
    for n in 2..6 {
        rig.set_bob(&format!("<{n}/>"));
        let sent = rig.run(secs(6));
        assert!(sent.iter().all(|(_, out)| *out == open), "only the open one is repeated");
    }
    let sent = rig.feed(open.answer("200 OK"));
    assert_eq!((sent.len(), sent[0].body(), sent[0].cseq()), (1, b"<5/>".to_vec(), open.cseq() + 1));
    // What a SUBSCRIBE is owed does not wait: it replaces the open one.
    let owed = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!(owed[1].cseq(), sent[0].cseq() + 1);
    assert!(rig.run(secs(10)).iter().all(|(_, out)| *out == owed[1]));
}

/// A watcher with an open NOTIFY.
fn told(config: Config) -> (Rig, Theirs, Out) {
    let mut rig = Rig::notifier_with(config);
    let theirs = rig.theirs();
    rig.run(secs(10));
    rig.endpoint.report_delivery(theirs.id, true).unwrap();
    let told = rig.set_bob("<1/>").remove(0);
    (rig, theirs, told)
}

fn rfc3265() -> Config {
    let mut policy = Policy::default();
    policy.dialect = Dialect::Rfc3265;
    Rig::config().with_policy(policy)
}

/// Covers: 6665-NRC-1, 6665-NRC-2, 6665-NRC-3, 6665-NRC-4, 6665-NRC-5, 6665-NRC-6, 6665-NRC-7, 6665-NRC-8,
/// 6665-NRC-9, 6665-NRC-10, 6665-NRC-11, 6665-NRC-12, 6665-NRC-13, 6665-NRC-14, 6665-NRC-15, 6665-NRC-16,
/// 6665-NRC-17, 6665-NRC-18, 6665-NRC-19, 6665-NRC-20, 6665-NRC-21, 6665-NRC-22, 5057-5.1-1, 5057-5.2-1
#[test]
fn every_response_to_notify() {
    walk(
        "6665-NRC",
        22,
        &[
            (1, success),
            (2, provisional),
            (3, no_response),
            (4, || removed(408)),
            (5, || [300, 301, 302, 305, 380].into_iter().for_each(kept)),
            (6, challenged),
            (7, client_failures),
            (8, || removed(404)),
            (9, || removed(405)),
            (10, || removed(410)),
            (11, || removed(416)),
            (12, unavailable),
            (13, gone),
            (14, || [482, 483].into_iter().for_each(removed)),
            (15, || [484, 485].into_iter().for_each(removed)),
            (16, || removed(489)),
            (17, server_failures),
            (18, || removed(501)),
            (19, bad_gateway),
            (20, || [600, 603, 606, 699].into_iter().for_each(kept)),
            (21, || removed(604)),
            (22, after_the_end),
        ],
    );
}

fn success() {
    for config in [Rig::config(), rfc3265()] {
        for code in [200, 202, 299] {
            let (mut rig, theirs, told) = told(config.clone());
            rig.quiet(told.answer(&format!("{code} Fine")).add("Contact", "<sip:moved@203.0.113.9>"));
            assert!(rig.watches(&theirs));
            rig.run(secs(10));
            assert_eq!(rig.set_bob("<2/>")[0].uri(), "sip:moved@203.0.113.9");
        }
    }
}

fn provisional() {
    for code in [100, 180] {
        let (mut rig, theirs, told) = told(Rig::config());
        rig.quiet(told.answer(&format!("{code} Wait")));
        assert!(rig.watches(&theirs) && rig.take().is_empty());
        rig.set_bob("<2/>");
        let sent = rig.run(secs(31));
        assert!(sent.iter().all(|(_, out)| *out == told), "it is still open");
    }
}

fn no_response() {
    for config in [Rig::config(), rfc3265()] {
        let (mut rig, theirs, _) = told(config.clone());
        rig.run(secs(32) - Duration::from_nanos(1));
        assert!(rig.watches(&theirs));
        rig.run(Duration::from_nanos(1));
        assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::NoAnswer(Failure::Timeout), .. })));
        // A transport that fails for good likewise (INT-11).
        let (mut rig, _, _) = told(config);
        rig.endpoint.handle_unreachable(rig.now, udp());
        assert!(rig.drain().is_empty());
        assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::NoAnswer(Failure::Transport), .. })));
    }
    // Unless it is to be kept.
    let mut policy = Policy::default();
    policy.notify_timeout = NotifyTimeout::Keep;
    let (mut rig, theirs, _) = told(Rig::config().with_policy(policy));
    rig.run(secs(33));
    assert!(rig.watches(&theirs));
}

fn outcome(config: Config, code: u16, retry_after: bool) -> bool {
    let (mut rig, theirs, told) = told(config);
    let mut answer = told.answer(&format!("{code} Whatever"));
    if retry_after {
        answer = answer.add("Retry-After", "20");
    }
    rig.quiet(answer);
    let reported = rig.take();
    let reports = reported.iter().filter(|e| matches!(e, Event::Notified { .. })).count();
    assert_eq!(reports, 1, "{code} is reported");
    let kept = rig.watches(&theirs);
    if kept {
        // The next tells what the failed one did, and no later than asked.
        let again = rig.next(secs(60));
        assert_eq!((again.body(), again.cseq()), (b"<1/>".to_vec(), told.cseq() + 1), "{code}");
    } else {
        rig.idle(secs(1000));
    }
    kept
}

fn kept(code: u16) {
    assert!(outcome(Rig::config(), code, false), "{code}");
    assert!(outcome(Rig::config(), code, true), "{code} with Retry-After");
    assert!(!outcome(rfc3265(), code, false), "{code} under RFC 3265");
}

fn removed(code: u16) {
    for config in [Rig::config(), rfc3265()] {
        assert!(!outcome(config, code, false), "{code}");
    }
    assert!(!outcome(Rig::config(), code, true), "{code} with Retry-After");
}

fn challenged() {
    for (code, header) in [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")] {
        for config in [Rig::config(), rfc3265()] {
            let (mut rig, theirs, told) = told(config);
            rig.quiet(told.answer(&format!("{code} Who")).add(header, "Digest realm=\"x\", nonce=\"1\""));
            assert!(rig.watches(&theirs));
            assert!(rig.take().iter().any(|e| matches!(e, Event::Challenge { realm, .. } if &realm[..] == b"x")));
        }
    }
}

fn client_failures() {
    for code in [
        400, 402, 403, 406, 412, 413, 414, 415, 417, 420, 421, 422, 423, 428, 429, 436, 437, 438, 486, 487, 488, 491,
        493, 494, 499,
    ] {
        kept(code);
    }
}

fn unavailable() {
    removed(480);
    assert!(outcome(rfc3265(), 480, true));
}

fn gone() {
    removed(481);
    assert!(!outcome(rfc3265(), 481, true));
}

fn server_failures() {
    for code in [500, 503, 504, 505, 513, 580, 599] {
        kept(code);
        assert!(outcome(rfc3265(), code, true), "{code}");
    }
    let (mut rig, _, told) = told(Rig::config());
    rig.quiet(told.answer("503 Busy").add("Retry-After", "20"));
    let before = rig.now;
    rig.next(secs(60));
    assert_eq!(rig.now - before, secs(20));
}

fn bad_gateway() {
    kept(502);
    assert!(outcome(rfc3265(), 502, true));
}

fn after_the_end() {
    for code in [300, 400, 404, 481, 500, 503, 603] {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs();
        let sent = rig.feed(theirs.ok.refresh(2, 0));
        rig.quiet(sent[1].answer(&format!("{code} Whatever")).add("Retry-After", "1"));
        assert!(!rig.watches(&theirs), "{code}");
        rig.idle(secs(100));
    }
}

/// Covers: 5057-4.2-1
#[test]
fn a_2xx_makes_the_notifiers_usage() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    assert_eq!(rig.endpoint.watchers().count(), 0);
    let incoming = rig.incoming();
    rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    assert_eq!(rig.endpoint.watchers().count(), 1);
}

/// Covers: 5057-5.1-3
#[test]
fn an_answer_to_cancel_is_about_the_cancel() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let cancel = Text { start: format!("CANCEL {BOB} SIP/2.0"), ..theirs.ok.refresh(2, 600) };
    assert_eq!(rig.status(cancel.set("CSeq", "2 CANCEL").branch("nothing")), 481);
    assert!(rig.watches(&theirs));
    assert_eq!(rig.feed(theirs.ok.refresh(2, 600))[0].status(), 200);
}
