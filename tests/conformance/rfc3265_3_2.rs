//! RFC 3265 section 3.2: NOTIFY, at both sides.

use sip_events::{Decision, Dialect, Ending, Event, Gone, Misuse, Policy, Reason, Retry, SubscriptionState};

use crate::harness::{PIDF, Rig, only, secs, subscribe, udp};

/// Covers: 3265-3.2-2, 3265-3.2.4-1, 3265-3.3.4-2, PKG-13
#[test]
fn a_notify_matches_by_call_id_tag_and_event_or_gets_481() {
    let wrongs: [(&str, &str); 4] = [
        ("Call-ID", "other"),
        ("To", "<sip:me@192.0.2.1>;tag=other"),
        ("To", "<sip:me@192.0.2.1>"),
        ("Event", "message-summary"),
    ];
    for early in [true, false] {
        for (name, value) in wrongs {
            let mut rig = Rig::new();
            let ours = if early { rig.start(Rig::request()) } else { rig.ours() };
            let notify = ours.subscribe.notify(2, "active;expires=60");
            assert_eq!(rig.status(notify.clone().set(name, value)), 481, "{name}: {value}");
            assert!(rig.take().is_empty());
            // What does not count.
            let other = notify.branch("ok").set("To", ours.subscribe.get("From").replace("sip:me", "sip:you"));
            assert_eq!(rig.status(other.set("Event", "presence;unknown=1")), 200);
            assert_eq!(rig.left(&ours), 60);
        }
    }
    // Where there is no subscription at all.
    let mut rig = Rig::new();
    let stray = Rig::new().start(Rig::request()).subscribe.notify(1, "active;expires=60").set("Call-ID", "stray");
    assert_eq!(rig.status(stray.set("Event", "message-summary")), 481);
    assert_eq!((rig.take().len(), rig.endpoint.subscriptions().count()), (0, 0));
}

/// Covers: 3265-3.2-3, 3265-3.2.4-19, 3265-3.2.4-20, 3265-3.2.4-21, 3856-6.7-1
#[test]
fn each_notify_is_answered_at_once_and_ends_nothing() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    for n in 2..5 {
        let (_, sent) =
            rig.receive(udp(), ours.subscribe.notify(n, "active;expires=600").body(PIDF, format!("<n{n}/>")));
        assert_eq!((sent.len(), sent[0].start()), (1, "SIP/2.0 200 OK".into()));
        assert_eq!((sent[0].get("Content-Length"), sent[0].has("Content-Type")), ("0".into(), false));
        assert_eq!(sent[0].get("To"), ours.subscribe.get("From"));
    }
    assert_eq!(rig.notified(), ["<n2/>", "<n3/>", "<n4/>"]);
    assert!(rig.lives(&ours));
}

/// Covers: 3265-3.2.1-1, 3265-3.2.1-2, 3265-7.2-2, 3265-7.2-3
#[test]
fn event_is_that_of_the_subscribe_and_stands_nowhere_else() {
    for event in ["presence", "presence;x=\"a, b\";id=z", "presence ; id = 9"] {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs_by(subscribe(600).set("Event", event));
        let told = theirs.notify.get("Event");
        assert!(told.starts_with("presence") && !told.contains("presence, "), "{told}");
        if !event.contains(' ') {
            assert_eq!(told, event);
        }
        assert!(!theirs.ok.has("Event") && !theirs.ok.has("Subscription-State"));
    }
}

/// Covers: 3265-3.2.1-4, 3265-3.1.3-2, 3856-6.5-1, 3856-6.7-3
#[test]
fn a_body_is_of_a_type_that_the_latest_subscribe_accepts() {
    let with = |n: u32, accept: &str| {
        subscribe(600).set("Call-ID", format!("a{n}")).branch(&format!("a{n}")).add("Accept", accept)
    };
    let mut rig = Rig::notifier();
    for (n, accept) in [(1, "*/*"), (2, "application/*"), (3, "x/y, Application/PIDF+xml;q=0.1")] {
        assert_eq!(rig.theirs_by(with(n, accept)).notify.get("Content-Type"), PIDF, "{accept}");
    }
    assert_eq!(rig.theirs_by(subscribe(600)).notify.get("Content-Type"), PIDF);
    for (n, accept) in [(4, "text/plain"), (5, "application/pidf+xml;q=0, x/y"), (6, "")] {
        assert_eq!(rig.status(with(n, accept)), 406, "{accept}");
    }
    let theirs = rig.theirs_by(with(7, "*/*"));
    assert_eq!(rig.status(theirs.ok.refresh(2, 600).add("Accept", "text/plain")), 406);
}

/// Covers: 3265-3.2.2-2, 3842-3.8-1
#[test]
fn a_change_is_notified_at_once_within_the_rate() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(10));
    let sent = rig.set_bob("<closed/>");
    assert_eq!(
        (sent.len(), sent[0].body(), sent[0].get("Subscription-State")),
        (1, b"<closed/>".to_vec(), "active;expires=590".into())
    );
    rig.quiet(sent[0].answer("200 OK"));
    assert!(rig.set_bob("<closed/>").is_empty(), "no change");
    // Changes within 5 s wait, and the last one is told.
    assert!(rig.set_bob("<a/>").is_empty() && rig.set_bob("<b/>").is_empty());
    let sent = rig.run(secs(5));
    assert_eq!((sent.len(), sent[0].0, sent[0].1.body()), (1, secs(5), b"<b/>".to_vec()));
    assert!(rig.watches(&theirs));
}

/// Every status, in both dialects, with and without Retry-After.
///
/// Covers: 3265-3.2.2-3, 3265-3.2.2-5, 3265-3.2.2-6
#[test]
fn a_refused_notify_removes_what_the_dialect_says() {
    const FATAL: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];
    for dialect in [Dialect::Rfc6665, Dialect::Rfc3265] {
        let mut policy = Policy::default();
        policy.dialect = dialect;
        let mut rig = Rig::notifier_with(Rig::config().with_policy(policy));
        let mut n = 0;
        for status in (300..306).chain(400..440).chain(480..510).chain([513, 580, 599, 600, 603, 604, 606, 699]) {
            for wait in [false, true] {
                n += 1;
                let text = subscribe(600).set("Call-ID", format!("n{n}")).branch(&format!("n{n}"));
                let theirs = rig.decide(text, Decision::ACCEPT);
                let answer = theirs.notify.answer(&format!("{status} No"));
                rig.feed(if wait { answer.add("Retry-After", "30") } else { answer });
                let removed = match dialect {
                    Dialect::Rfc3265 => {
                        // A delay, where 6665-NRC-12, -17 and -19 say so.
                        let delay = matches!(status, 480 | 500 | 502..=599) && wait;
                        !matches!(status, 401 | 407) && !delay
                    }
                    // 408 counts as silence (6665-NRC-4).
                    _ => FATAL.contains(&status) || status == 408,
                };
                assert_eq!(rig.watches(&theirs), !removed, "{dialect:?} {status} {wait}");
                if !removed {
                    rig.endpoint.terminate(rig.now, theirs.id, &Reason::NoResource, None).unwrap();
                }
                for out in rig.drain() {
                    rig.feed(out.answer("200 OK"));
                }
                rig.events.clear();
            }
            if status % 25 == 0 {
                // What is kept back by a Retry-After goes out, and transactions end.
                for (_, out) in rig.run(secs(100)) {
                    if out.is("NOTIFY") {
                        rig.feed(out.answer("200 OK"));
                    }
                }
            }
        }
    }
}

/// Covers: 3265-3.2.2-7, 3265-3.2.2-8, 3265-3.2.2-9, 3265-3.2.2-10
#[test]
fn a_notify_tells_what_is_left_and_may_only_shorten_it() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(100));
    assert_eq!(rig.set_bob("<x/>")[0].get("Subscription-State"), "active;expires=500");
    assert_eq!(rig.endpoint.shorten(rig.now, theirs.id, 501), Err(Misuse::LongerThanAsked));
    rig.run(secs(6));
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.endpoint.shorten(rig.now, theirs.id, 30).unwrap();
    let sent: Vec<_> = rig.drain().into_iter().chain(rig.run(secs(5)).into_iter().map(|(_, out)| out)).collect();
    let told: u32 = sent[0].state_param("expires").unwrap().parse().unwrap();
    assert!(told <= 30, "{told}");
    rig.quiet(sent[0].answer("200 OK"));
    let last = rig.run(secs(30));
    assert_eq!(last[0].1.get("Subscription-State"), "terminated;reason=timeout");
}

/// Covers: 3265-3.2.4-3, 3265-7.3.2-1, 3265-3.2.4-5, 3265-7.4-3
#[test]
fn a_notify_of_an_unknown_package_or_without_state_is_refused() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = |n: u32| ours.subscribe.notify(n, "active;expires=60");
    let refused = rig.one(notify(2).set("Event", "nosuch"));
    assert_eq!((refused.status(), refused.get("Allow-Events")), (489, "presence, message-summary".into()));
    for bad in [
        notify(3).without("Subscription-State"),
        notify(4).set("Subscription-State", ""),
        notify(5).set("Subscription-State", "active, pending"),
        notify(6).add("Subscription-State", "active"),
        notify(7).without("Event"),
    ] {
        assert_eq!(rig.status(&bad), 400, "{bad:?}");
    }
    assert_eq!((rig.left(&ours), rig.take().len()), (600, 0));
    // Unknown words are no error.
    assert_eq!(rig.status(notify(8).set("Subscription-State", "active;x=\"y;z\";foo;expires=70")), 200);
    assert_eq!(rig.left(&ours), 70);
    assert_eq!(rig.status(notify(9).set("Subscription-State", "foo;bar=1")), 200);
    let state = rig.take().into_iter().rev().find_map(|e| match e {
        Event::Notify { state, .. } => Some(state),
        _ => None,
    });
    assert_eq!(state, Some(SubscriptionState::Unknown));
    assert!(rig.lives(&ours));
}

/// Covers: 3265-3.2.4-6, 3265-3.2.4-7, 3265-3.2.4-8
#[test]
fn expires_counts_with_active_and_pending_and_reasons_do_not() {
    for (state, expected) in [("active", SubscriptionState::Active), ("pending", SubscriptionState::Pending)] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request().auto_resubscribe(false));
        rig.quiet(ours.subscribe.accepted(600));
        let value = format!("{state};expires=100;reason=rejected;retry-after=9999");
        assert_eq!(rig.status(ours.subscribe.notify(1, &value)), 200);
        assert!(
            rig.take()
                .iter()
                .any(|e| matches!(e, Event::Notify { state, expires: Some(100), .. } if *state == expected))
        );
        assert_eq!(rig.left(&ours), 100);
        // The refresh is timed by it.
        assert!(rig.run(secs(99)).iter().any(|(_, out)| out.is("SUBSCRIBE")));
    }
}

/// Covers: 3265-3.2.4-9, 3265-3.2.4-10
#[test]
fn terminated_ends_it_whatever_expires_says() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;expires=600;reason=noresource")), 200);
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { expires: None, .. })));
    assert!(!rig.lives(&ours));
    assert_eq!(rig.status(ours.subscribe.notify(3, "active;expires=600")), 481);
    rig.idle(secs(1000));
}

/// The reasons, with and without retry-after: when a new SUBSCRIBE may and
/// does go out.
///
/// Covers: 3265-3.2.4-11, 3265-3.2.4-12, 3265-3.2.4-13, 3265-3.2.4-14, 3265-3.2.4-15, 3265-3.2.4-16, 3265-3.2.4-17,
/// 3265-3.2.4-18
#[test]
fn a_reason_says_whether_and_when_to_come_back() {
    enum Comes {
        At0,
        From(u64),
        Never,
    }
    use Comes::{At0, From, Never};
    let rows = [
        ("", From(0)),
        (";retry-after=300", From(300)),
        (";reason=zz", From(0)),
        (";reason=zz;retry-after=300", From(300)),
        (";reason=deactivated", At0),
        (";reason=deactivated;retry-after=300", At0),
        (";reason=probation", From(0)),
        (";reason=probation;retry-after=300", From(300)),
        (";reason=rejected", Never),
        (";reason=rejected;retry-after=300", Never),
        (";reason=timeout", From(0)),
        (";reason=giveup", From(0)),
        (";reason=giveup;retry-after=300", From(300)),
        (";reason=noresource", Never),
        (";reason=noresource;retry-after=300", Never),
    ];
    for (text, comes) in rows {
        let mut rig = Rig::new();
        let ours = rig.ours();
        let sent = rig.feed(ours.subscribe.notify(2, &format!("terminated{text}")));
        assert_eq!(sent[0].status(), 200);
        let at_once = !only(&sent, "SUBSCRIBE").is_empty();
        let ended = rig.ended();
        let later = rig.run(secs(3000)).into_iter().find(|(_, out)| out.is("SUBSCRIBE")).map(|(at, _)| at);
        match comes {
            At0 => assert!(at_once, "{text}"),
            From(wait) => {
                assert!(!at_once && ended.is_none(), "{text}");
                let at = later.unwrap_or_else(|| panic!("{text}: it does not come back"));
                assert!(at >= secs(wait) && at <= secs(wait + 60), "{text}: {at:?}");
            }
            Never => {
                assert!(!at_once && later.is_none(), "{text}");
                assert!(matches!(ended, Some(Event::Terminated { retry: Retry::Never, .. })), "{text}");
            }
        }
        // Left to the application, the same is said and nothing done.
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
        rig.status(ours.subscribe.notify(2, &format!("terminated{text}")));
        let Some(Event::Terminated { retry, why: Ending::ByNotifier { .. }, .. }) = rig.ended() else {
            panic!("{text}")
        };
        match (comes, retry) {
            (At0, Retry::Allowed) | (Never, Retry::Never) | (From(0), Retry::Allowed) => {}
            (From(wait), Retry::NotBefore(at)) if at - rig.now == secs(wait) => {}
            (_, retry) => panic!("{text}: {retry:?}"),
        }
        rig.idle(secs(3000));
    }
}

/// Covers: 3265-3.3.4-6, 3265-3.3.4-8, PKG-17
#[test]
fn terminated_frees_both_sides() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::NoResource, None).unwrap();
    let last = rig.drain().remove(0);
    // Until that NOTIFY is answered the watcher lives, for nothing but that.
    assert_eq!(rig.status(theirs.ok.refresh(2, 600)), 481);
    rig.quiet(last.answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Terminated(Reason::NoResource), .. })));
    assert!(!rig.watches(&theirs));
    assert_eq!(rig.status(theirs.ok.refresh(3, 600)), 481);
    // At the subscriber, with no body and a type all the same.
    let mut rig = Rig::new();
    let ours = rig.ours();
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=noresource").set("Content-Type", "x/y")), 200);
    assert_eq!(rig.endpoint.subscriptions().count(), 0);
    assert_eq!(rig.notified(), [""]);
}

/// Covers: 3856-6.8-1, PKG-17
#[test]
fn a_notify_without_body_keeps_the_document() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = |n: u32| ours.subscribe.notify(n, "active;expires=600");
    assert_eq!(rig.status(notify(2).body(PIDF, "<a/>")), 200);
    assert_eq!(rig.status(notify(3)), 200);
    assert_eq!(rig.status(notify(2).branch("old").body(PIDF, "<old/>")), 500);
    assert_eq!(&rig.endpoint.subscription(ours.id).unwrap().document.unwrap().data[..], b"<a/>");
}
