//! RFC 6665 sections 4.2 and 4.3: the notifier.

use std::time::Duration;

use sip_events::wire::StatusCode;
use sip_events::{Body, Config, Decision, Event, Gone, Misuse, PackageConfig, Reason, View, WatcherId};

use crate::harness::*;
use crate::rfc6665_4_1_2::FATAL;

fn presence(change: impl FnOnce(&mut PackageConfig)) -> Config {
    let mut package = PackageConfig::new("presence");
    change(&mut package);
    Rig::config().with_package(package).unwrap()
}

/// A first SUBSCRIBE of another subscriber than the last.
fn fresh(n: u32, expires: u32) -> Text {
    subscribe(expires).set("Call-ID", format!("c{n}")).branch(&format!("f{n}"))
}

/// Covers: 6665-4.2.1.1-5, 6665-DISP-15
#[test]
fn too_brief_is_below_the_minimum_and_below_an_hour() {
    for (minimum, asked, refused) in [
        (600, 0, false),
        (600, 1, true),
        (600, 599, true),
        (600, 600, false),
        (7200, 3599, true),
        (7200, 3600, false),
        (7200, 7199, false),
        (0, 1, false),
    ] {
        let mut rig = Rig::notifier_with(presence(|p| p.min_expires = Some(minimum)));
        let sent = rig.feed(subscribe(asked));
        if refused {
            assert_eq!(sent[0].start(), "SIP/2.0 423 Interval Too Brief", "{asked} of {minimum}");
            assert_eq!(sent[0].get("Min-Expires"), minimum.to_string());
            assert_eq!(rig.endpoint.watchers().count(), 0);
        } else {
            assert!(sent.is_empty(), "{asked} of {minimum}");
            rig.incoming();
        }
    }
}

/// Covers: 6665-4.2.1.4-3, 6665-NSM-12
#[test]
fn too_brief_a_refresh_leaves_the_subscription_as_it_was() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(100));
    assert_eq!(rig.status(theirs.ok.refresh(2, 59)), 423);
    let deadline = rig.endpoint.watcher(theirs.id).unwrap().expires_at;
    assert_eq!(deadline - rig.now, secs(500));
    let end = rig.next(secs(500));
    assert_eq!(end.get("Subscription-State"), "terminated;reason=timeout");
}

/// Covers: 6665-4.2.1.1-1, 6665-4.2.1.3-3, 6665-4.2.1.1-6, 6665-4.2.1.1-9, 6665-4.2.1.2-1, 6665-4.2.2-1,
/// 6665-4.2.1.2-3, 6665-4.2.1.2-4
#[test]
fn the_answer_and_the_notify_come_in_one_step_whoever_is_asked() {
    for (decision, state) in [(Decision::ACCEPT, "active;expires=600"), (Decision::PENDING, "pending;expires=600")] {
        let mut rig = Rig::notifier();
        let subscribe = subscribe(600).add("Record-Route", "<sip:203.0.113.1;lr>");
        let theirs = rig.decide(subscribe, decision);
        assert_eq!(theirs.ok.start(), "SIP/2.0 200 OK");
        assert!(theirs.ok.tag("To").is_some() && theirs.ok.has("Contact"));
        assert_eq!(theirs.ok.get("Record-Route"), "<sip:203.0.113.1;lr>");
        assert_eq!(theirs.ok.get("Expires"), "600");
        assert!(theirs.ok.body().is_empty());
        assert_eq!(theirs.notify.get("Subscription-State"), state);
        assert_eq!(theirs.notify.body() == b"<open/>", decision == Decision::ACCEPT);
    }
}

/// Covers: 6665-4.2.1.1-1
#[test]
fn an_application_that_does_not_decide_does_not_hold_the_answer_up() {
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    rig.idle(secs(3) - Duration::from_nanos(1));
    let sent = rig.run(secs(1));
    assert_eq!((sent[0].1.status(), sent[1].1.substate().as_str()), (200, "pending"));
}

/// Covers: 6665-4.2.1.1-2, 6665-4.2.1.1-3, 6665-8.3.2-1, 6665-BC-7, 6665-BC-11, 6665-4.2.3-1, 6665-4.2.3-2
#[test]
fn a_package_that_is_not_understood_gets_489() {
    let mut rig = Rig::notifier();
    for (n, event) in [(1, Some("unknown")), (2, Some("Presence")), (3, Some("presence.winfo")), (4, None)] {
        let request = fresh(n, 600);
        let request = event.map_or(request.clone().without("Event"), |event| request.set("Event", event));
        let refused = rig.one(request);
        assert_eq!(refused.start(), "SIP/2.0 489 Bad Event", "{event:?}");
        assert_eq!(refused.get("Allow-Events"), "presence, message-summary");
    }
    assert!(rig.take().is_empty());
}

/// Covers: 6665-4.2.1.1-10, 6665-4.1.2.1-6, 6665-NSM-1, 6665-DISP-13, 6665-DISP-14
#[test]
fn other_refusals_say_what_is_wrong_and_keep_nothing() {
    let mut rig = Rig::notifier();
    let cases = [
        (404, fresh(1, 600).line("SUBSCRIBE sip:nobody@192.0.2.1 SIP/2.0"), None),
        (406, fresh(2, 600).add("Accept", "text/x"), None),
        (406, fresh(3, 600).add("Accept", format!("{PIDF};q=0")), None),
        (415, fresh(4, 600).body("text/x", "filter"), Some("Accept")),
        (420, fresh(5, 600).add("Require", "eventlist"), Some("Unsupported")),
        (400, fresh(6, 600).without("Contact"), None),
        (400, fresh(7, 600).set("Event", "presence, dialog"), None),
        (400, fresh(8, 600).add("Event", "presence"), None),
    ];
    for (code, request, header) in cases {
        let refused = rig.one(&request);
        assert_eq!(refused.status(), code, "{request:?}");
        assert!(header.is_none_or(|header| refused.has(header)), "{code}");
    }
    assert!(rig.take().is_empty());
    assert_eq!(rig.endpoint.watchers().count(), 0);
    rig.run(secs(60));
    assert_eq!(rig.endpoint.poll_timeout(), None);
}

/// Covers: 6665-4.2.1.1-8, 6665-3.1.1-5, 6665-3.1.1-6, 6665-4.2.1.4-1, 6665-4.2.1.4-2
#[test]
fn a_duration_is_shortened_and_never_lengthened() {
    for asked in [60, 61, 599, 600, 601, 3600, 86_400, u32::MAX] {
        let mut rig = Rig::notifier_with(presence(|p| p.max_expires = Some(600)));
        let granted = asked.min(600);
        rig.quiet(subscribe(asked));
        let incoming = rig.incoming();
        for more in [granted.saturating_add(1), asked.max(601), u32::MAX] {
            let decision = Decision::Active { expires: Some(more), view: View(0) };
            assert_eq!(rig.endpoint.accept(rig.now, incoming, decision), Err(Misuse::LongerThanAsked));
        }
        let decision = Decision::Active { expires: Some(granted), view: View(0) };
        rig.endpoint.accept(rig.now, incoming, decision).unwrap();
        let sent = rig.drain();
        assert_eq!(sent[0].get("Expires"), granted.to_string());
        assert_eq!(sent[1].state_param("expires"), Some(granted.to_string()));
        // A refresh likewise; its Expires is what holds from now on.
        rig.quiet(sent[1].answer("200 OK"));
        rig.run(secs(10));
        let sent = rig.feed(sent[0].refresh(2, asked));
        assert_eq!(sent[0].get("Expires"), granted.to_string());
        assert_eq!(sent[1].state_param("expires"), Some(granted.to_string()));
        rig.quiet(sent[1].answer("200 OK"));
        rig.idle(secs(u64::from(granted)) - Duration::from_nanos(1));
        assert_eq!(rig.run(Duration::from_nanos(1)).len(), 1);
    }
}

/// Covers: 6665-4.2.1.3-2, 6665-DISP-17
#[test]
fn a_definite_refusal_is_told_as_it_is() {
    let mut rig = Rig::notifier();
    for (n, code) in [(1, 403), (2, 603), (3, 404), (4, 480)] {
        rig.quiet(fresh(n, 600));
        let incoming = rig.incoming();
        let reject = sip_events::package::Reject::new(StatusCode::new(code).unwrap());
        rig.endpoint.reject(rig.now, incoming, reject).unwrap();
        assert_eq!(rig.drain()[0].status(), code);
    }
    assert_eq!(rig.endpoint.watchers().count(), 0);
    // What would need a challenge, a minimum, or is not for requests like this, it is not.
    rig.quiet(fresh(5, 600));
    let incoming = rig.incoming();
    for code in [200, 202, 401, 407, 408, 423] {
        let reject = sip_events::package::Reject::new(StatusCode::new(code).unwrap());
        assert_eq!(rig.endpoint.reject(rig.now, incoming, reject), Err(Misuse::BadValue), "{code}");
    }
}

/// Covers: 6665-4.2.1.3-4, 6665-4.2.2-11
#[test]
fn a_later_refusal_is_told_by_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::PENDING);
    rig.quiet(theirs.notify.answer("200 OK"));
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::Rejected, Some(30)).unwrap();
    let last = rig.drain().remove(0);
    assert_eq!(last.get("Subscription-State"), "terminated;reason=rejected");
    assert_ne!(last.body(), b"<open/>");
}

/// Covers: 6665-4.2.1.4-4, 6665-4.2.1.4-5, 6665-4.2.1.4-6
#[test]
fn without_a_refresh_it_ends_at_its_time_and_says_so() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(600) - Duration::from_nanos(1));
    assert!(rig.watches(&theirs));
    let last = rig.next(Duration::from_nanos(1));
    assert_eq!(last.get("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(rig.status(theirs.ok.refresh(2, 600)), 481);
    rig.quiet(last.answer("200 OK"));
    assert_eq!(rig.ended(), Some(Event::WatcherGone { watcher: theirs.id, why: Gone::Expired }));
}

/// Covers: 6665-4.2.1.4-7, 6665-3.1.1-4, 6665-3.1.1-10
#[test]
fn to_unsubscribe_is_answered_by_a_last_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.feed(theirs.ok.refresh(2, 0));
    assert_eq!((sent[0].status(), sent[0].get("Expires").as_str()), (200, "0"));
    assert_eq!(sent[1].get("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(sent[1].body(), b"<open/>");
    rig.quiet(sent[1].answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Unsubscribed, .. })));
}

/// Covers: 6665-4.2.2-2, 6665-4.2.2-3, 6665-5.4.10-1
#[test]
fn a_change_is_told_at_once_within_the_rate_limit() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(10));
    let told = rig.set_bob("<1/>").remove(0);
    assert_eq!((told.body(), told.cseq()), (b"<1/>".to_vec(), theirs.notify.cseq() + 1));
    rig.quiet(told.answer("200 OK"));
    // The next is held back for presence's five seconds, and only the newest is told.
    rig.idle(secs(1));
    assert!(rig.set_bob("<2/>").is_empty());
    rig.idle(secs(1));
    assert!(rig.set_bob("<3/>").is_empty());
    let before = rig.now;
    let told = rig.next(secs(4));
    assert_eq!((rig.now - before, told.body()), (secs(3), b"<3/>".to_vec()));
    // One that is no change is not told.
    rig.quiet(told.answer("200 OK"));
    rig.run(secs(10));
    assert!(rig.set_bob("<3/>").is_empty());
}

/// Covers: 6665-4.2.2-3
#[test]
fn a_pending_watcher_learns_nothing() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::PENDING);
    rig.quiet(theirs.notify.answer("200 OK"));
    assert!(rig.set_bob("<secret/>").is_empty());
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!(sent[1].substate(), "pending");
    assert!(!sent[1].text().contains("<open/>") && !sent[1].text().contains("<secret/>"));
    rig.idle(secs(0));
}

/// Covers: 6665-4.2.2-2, 6665-4.2.2-5
#[test]
fn exactly_the_fatal_codes_remove_a_watcher() {
    for code in 300..=699 {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs();
        rig.run(secs(10));
        let told = rig.set_bob("<closed/>").remove(0);
        rig.quiet(told.answer(&format!("{code} Whatever")));
        // 408 is a timeout by another name (6665-NRC-4).
        let fatal = FATAL.contains(&code) || code == 408;
        assert_eq!(rig.watches(&theirs), !fatal, "{code}");
        let ended = rig.ended();
        if fatal {
            assert!(matches!(ended, Some(Event::WatcherGone { .. })), "{code}");
            // Not even the failure is told to anybody.
            assert!(rig.set_bob("<open/>").is_empty(), "{code}");
            rig.idle(secs(700));
            assert_eq!(rig.endpoint.poll_timeout(), None, "{code}: a timer is left");
        } else {
            assert_eq!(ended, None, "{code}");
            let sent = rig.feed(theirs.ok.refresh(2, 600));
            assert_eq!(sent[0].status(), 200, "{code}");
            assert_eq!(sent[1].body(), b"<closed/>", "{code}");
        }
    }
}

/// Covers: 6665-4.2.2-4
#[test]
fn a_notify_without_answer_removes_the_watcher() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.run(secs(10));
    assert_eq!(rig.set_bob("<closed/>").len(), 1);
    let repeats = rig.run(secs(32) - Duration::from_nanos(1));
    assert!(repeats.len() > 5 && rig.watches(&theirs));
    rig.idle(Duration::from_nanos(1));
    let why = Gone::NoAnswer(sip_events::Failure::Timeout);
    assert_eq!(rig.ended(), Some(Event::WatcherGone { watcher: theirs.id, why }));
    rig.idle(secs(1000));
}

/// Covers: 6665-4.2.2-6, 6665-4.2.2-7, 6665-4.2.2-9, 6665-4.1.3-12
#[test]
fn expires_in_a_notify_is_what_is_left() {
    let mut rig = Rig::notifier();
    let _ = rig.theirs();
    rig.idle(Duration::from_millis(100_250));
    let told = rig.set_bob("<1/>").remove(0);
    // Rounded down: never more than there is.
    assert_eq!(told.get("Subscription-State"), "active;expires=499");
    rig.quiet(told.answer("200 OK"));
    let mut last = 499;
    for n in 0..9 {
        rig.idle(secs(50));
        let told = rig.set_bob(&format!("<n{n}/>")).remove(0);
        let left: u32 = told.state_param("expires").unwrap().parse().unwrap();
        assert!(left == last - 50, "{left} after {last}");
        last = left;
        rig.quiet(told.answer("200 OK"));
    }
}

/// Covers: 6665-4.2.2-8, 6665-4.2.2-9
#[test]
fn a_notifier_may_shorten_and_not_lengthen() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(100));
    for more in [501, 600, u32::MAX] {
        assert_eq!(rig.endpoint.shorten(rig.now, theirs.id, more), Err(Misuse::LongerThanAsked));
    }
    rig.endpoint.shorten(rig.now, theirs.id, 30).unwrap();
    let told = rig.drain().remove(0);
    assert_eq!(told.get("Subscription-State"), "active;expires=30");
    rig.quiet(told.answer("200 OK"));
    assert_eq!(rig.next(secs(30)).get("Subscription-State"), "terminated;reason=timeout");
}

/// Covers: 6665-4.2.2-10, 6665-3.1.1-7
#[test]
fn a_subscription_may_be_shortened_to_nothing() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::Active { expires: Some(0), view: View(0) });
    assert_eq!(theirs.ok.get("Expires"), "0");
    assert_eq!(theirs.notify.get("Subscription-State"), "terminated;reason=timeout");
}

/// Covers: 6665-4.2.2-11, 6665-4.2.2-12, 6665-4.1.3-12, 6665-4.1.3-22
#[test]
fn the_last_notify_has_a_reason_and_retry_after_where_it_means_something() {
    let other = || Reason::Other("moved".into());
    for (reason, asked, state) in [
        (Reason::Deactivated, Some(9), "deactivated"),
        (Reason::Probation, Some(9), "probation;retry-after=9"),
        (Reason::Probation, None, "probation"),
        (Reason::Rejected, Some(9), "rejected"),
        (Reason::Timeout, Some(9), "timeout"),
        (Reason::Giveup, Some(9), "giveup;retry-after=9"),
        (Reason::Giveup, None, "giveup"),
        (Reason::NoResource, Some(9), "noresource"),
        (Reason::Invariant, None, "invariant;retry-after=31536000"),
        (other(), Some(9), "moved;retry-after=9"),
        (other(), None, "moved"),
    ] {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs();
        rig.endpoint.terminate(rig.now, theirs.id, &reason, asked).unwrap();
        assert_eq!(rig.drain()[0].get("Subscription-State"), format!("terminated;reason={state}"));
    }
}

/// Covers: 6665-4.2.1-1, 6665-3.2-1, 6665-3.2-3
#[test]
fn only_a_subscribe_makes_a_watcher() {
    let mut rig = Rig::notifier();
    let fields = subscribe(600).fields;
    for method in ["NOTIFY", "PUBLISH", "REFER", "MESSAGE", "INVITE", "OPTIONS", "INFO", "Subscribe", "FOO"] {
        let request = Text { fields: fields.clone(), ..Text::new(format!("{method} {BOB} SIP/2.0")) }.cseq(1);
        rig.feed(request);
        // Nor is anybody asked whether it may.
        assert!(rig.take().is_empty(), "{method}");
        assert_eq!(rig.endpoint.watchers().count(), 0, "{method}");
    }
    let theirs = rig.theirs();
    // Any number of NOTIFYs, and it lives.
    for n in 0..20 {
        rig.run(secs(10));
        let told = rig.set_bob(&format!("<n{n}/>")).remove(0);
        rig.quiet(told.answer("200 OK"));
    }
    assert!(rig.watches(&theirs));
}

/// Covers: 6665-6.1-1, 6665-6.2-1, 6665-6.2-2, 6665-4.2.1.1-4
#[test]
fn a_polite_block_looks_like_the_real_thing() {
    let mut rig = Rig::notifier();
    let bob = rig.bob();
    rig.endpoint.set_state_for(rig.now, bob, View(1), Body::new(PIDF, "<away/>")).unwrap();
    let genuine = rig.decide(fresh(1, 600), Decision::ACCEPT);
    let polite = rig.decide(fresh(2, 600), Decision::Active { expires: None, view: View(1) });
    let names = |out: &Out| {
        out.message().fields().map(|f| String::from_utf8_lossy(f.name.as_bytes()).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&polite.ok), names(&genuine.ok));
    assert_eq!(names(&polite.notify), names(&genuine.notify));
    assert_eq!(polite.notify.get("Subscription-State"), genuine.notify.get("Subscription-State"));
    assert_eq!((polite.notify.body(), genuine.notify.body()), (b"<away/>".to_vec(), b"<open/>".to_vec()));
    for theirs in [&genuine, &polite] {
        rig.quiet(theirs.notify.answer("200 OK"));
    }
    rig.run(secs(10));
    assert_eq!(rig.set_bob("<meeting/>").len(), 1);
}

/// Covers: PEER-B17
#[test]
fn an_application_may_end_what_a_restarted_phone_left_behind() {
    let mut rig = Rig::notifier();
    let before = rig.theirs();
    // Another Call-ID and tag, the same Contact: the phone has been switched off and on.
    rig.quiet(fresh(2, 600));
    let incoming = rig.incoming();
    let asked = rig.endpoint.incoming(incoming).unwrap();
    let addr = |from: &[u8]| from.split(|b| *b == b';').next().unwrap().to_vec();
    let same = |id: &WatcherId| {
        let watcher = rig.endpoint.watcher(*id).unwrap();
        watcher.target == asked.target && addr(watcher.from) == addr(asked.from)
    };
    let left: Vec<_> = rig.endpoint.watchers_of(asked.resource.unwrap()).filter(same).collect();
    assert_eq!(left, [before.id]);
    let new = rig.endpoint.accept(rig.now, incoming, Decision::ACCEPT).unwrap();
    rig.endpoint.terminate(rig.now, left[0], &Reason::Timeout, None).unwrap();
    for out in rig.drain().iter().filter(|out| out.is("NOTIFY")) {
        rig.feed(out.answer("200 OK"));
    }
    rig.idle(secs(5));
    assert_eq!(rig.set_bob("<closed/>").len(), 1);
    assert_eq!(rig.endpoint.watchers().collect::<Vec<_>>(), [new]);
}
