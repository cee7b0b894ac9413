//! RFC 3265 section 3.1: SUBSCRIBE, at both sides.

use sip_events::package::Reject;
use sip_events::wire::StatusCode;
use sip_events::{
    Decision, Ending, Event, Failure, Gone, Misuse, PackageConfig, Packages, Reason, ResourceKey, Retry, Scope,
    Subscribe, View,
};

use crate::harness::{BOB, PEER_URI, PIDF, Rig, Theirs, only, secs, subscribe};

fn durations(min: Option<u32>, max: Option<u32>, default: Option<u32>) -> Rig {
    let mut package = PackageConfig::new("presence");
    (package.min_expires, package.max_expires, package.default_expires) = (min, max, default);
    Rig::notifier_with(Rig::config().with_package(package).unwrap())
}

/// Covers: 3265-3.1.1-1, 3265-3.1.2-2, 3265-3.1.3-1
#[test]
fn a_subscribe_states_duration_event_and_types() {
    let mut rig = Rig::new();
    let sent = rig.start(Rig::request()).subscribe;
    assert_eq!(
        (sent.get("Expires"), sent.get("Event"), sent.get("Accept")),
        ("600".into(), "presence".into(), PIDF.into())
    );
    let request =
        Subscribe::new(PEER_URI, "presence").unwrap().accept("text/x").unwrap().accept("text/y;q=0.5").unwrap();
    let sent = rig.start(request).subscribe;
    assert_eq!((sent.get("Expires"), sent.get("Accept")), ("3600".into(), "text/x, text/y;q=0.5".into()));
}

/// Covers: 3265-3.1.1-2
#[test]
fn a_refresh_goes_out_by_itself_in_time() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let mut previous = ours.subscribe.clone();
    for round in 2..6 {
        let began = rig.now;
        let refresh = loop {
            let at = rig.endpoint.poll_timeout().expect("it would run out");
            let sent = rig.run(at - rig.now);
            if let Some((_, refresh)) = sent.into_iter().find(|(_, out)| out.is("SUBSCRIBE")) {
                break refresh;
            }
        };
        let waited = rig.now - began;
        assert!(waited >= secs(300) && waited <= secs(600 - 32), "{waited:?}");
        assert_eq!((refresh.cseq(), refresh.get("Call-ID")), (previous.cseq() + 1, previous.get("Call-ID")));
        assert_eq!((refresh.get("From"), refresh.tag("To").unwrap()), (previous.get("From"), "theirs".into()));
        assert_eq!(refresh.get("Expires"), "600");
        rig.quiet(refresh.accepted(600));
        assert_eq!(rig.status(ours.subscribe.notify(round, "active;expires=600")), 200);
        previous = refresh;
    }
}

/// Covers: 3265-3.1.1-3, 3265-3.1.1-8, 3842-3.4-1, 3856-6.4-1, PKG-2, PEER-B23
#[test]
fn without_expires_the_package_decides_and_contact_never() {
    for (text, granted) in [
        (subscribe(0).without("Expires"), "3600"),
        (subscribe(0).without("Expires").set("Contact", format!("<{PEER_URI}>;expires=5")), "3600"),
        (subscribe(600).set("Contact", format!("<{PEER_URI}>;expires=5")), "600"),
        (subscribe(600).set("Expires", "nonsense"), "3600"),
    ] {
        let theirs = Rig::notifier().theirs_by(text);
        assert_eq!(theirs.ok.get("Expires"), granted);
        assert_eq!(theirs.notify.state_param("expires").as_deref(), Some(granted));
    }
    assert_eq!(durations(None, None, Some(1234)).theirs_by(subscribe(0).without("Expires")).ok.get("Expires"), "1234");
    // In a response likewise.
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600).set("Contact", format!("<{PEER_URI}>;expires=5")));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 600);
}

/// Covers: 3265-3.1.1-4, 3265-3.1.1-5, 3265-3.1.1-6, 3265-3.1.6.1-8, 3265-3.1.6.1-9, 3265-3.1.6.4-2,
/// 3265-3.1.6.1-10
#[test]
fn every_2xx_grants_what_was_asked_or_less() {
    for asked in ["60", "61", "599", "600", "601", "3599", "3600", "86400", "4294967295", "4294967296"] {
        let number: u64 = asked.parse().unwrap();
        let mut rig = durations(None, Some(600), None);
        let theirs = rig.theirs_by(subscribe(0).set("Expires", asked));
        assert_eq!(theirs.ok.get("Expires").parse(), Ok(number.min(600)), "{asked}");
        assert_eq!((theirs.ok.get("Content-Length"), theirs.ok.has("Content-Type")), ("0".into(), false));
        let sent = rig.feed(theirs.ok.refresh(2, 0).set("Expires", asked));
        assert_eq!((sent[0].status(), sent[0].get("Expires").parse()), (200, Ok(number.min(600))), "{asked}");
        rig.quiet(only(&sent, "NOTIFY")[0].answer("200 OK"));
    }
    // The application may grant less, and nothing grants more.
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let incoming = rig.incoming();
    let grant = |seconds| Decision::Active { expires: Some(seconds), view: View::default() };
    assert_eq!(rig.endpoint.accept(rig.now, incoming, grant(601)), Err(Misuse::LongerThanAsked));
    rig.endpoint.accept(rig.now, incoming, grant(100)).unwrap();
    let sent = rig.drain();
    assert_eq!((sent[0].get("Expires"), sent[1].state_param("expires").unwrap()), ("100".into(), "100".into()));
    // A 2xx to an unsubscription has the header too.
    rig.quiet(sent[1].answer("200 OK"));
    assert_eq!(rig.feed(sent[0].refresh(2, 0))[0].get("Expires"), "0");
}

/// Covers: 3265-3.1.1-7, 3265-3.1.4.1-4
#[test]
fn the_value_of_the_response_counts() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request().auto_resubscribe(false));
    rig.quiet(ours.subscribe.accepted(100));
    assert!(rig.events.iter().any(|e| matches!(e, Event::Accepted { expires: 100, .. })));
    assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
    assert_eq!(rig.left(&ours), 100);
    assert!(rig.run(secs(99)).iter().any(|(_, out)| out.is("SUBSCRIBE")), "refreshed in time for 100 s");
}

/// Covers: 3265-3.1.1-9, 3265-3.1.4.3-1, 3265-3.3.4-7, 3265-3.3.6-3
#[test]
fn expires_zero_ends_it_with_a_last_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let sent = rig.feed(theirs.ok.refresh(2, 0));
    assert_eq!((sent.len(), sent[0].status(), sent[0].get("Expires")), (2, 200, "0".into()));
    assert_eq!(sent[1].get("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(sent[1].body(), b"<open/>", "it fetches too");
    rig.quiet(sent[1].answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Unsubscribed, .. })));

    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let last = rig.drain().remove(0);
    assert_eq!((last.get("Expires"), last.tag("To").unwrap()), ("0".into(), "theirs".into()));
    rig.quiet(last.accepted(0));
    assert!(rig.lives(&ours) && rig.ended().is_none());
    // What was on its way already is still taken.
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=500")), 200);
    assert!(rig.lives(&ours));
    assert_eq!(rig.status(ours.subscribe.notify(3, "terminated;reason=timeout")), 200);
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Unsubscribed, .. })));
}

/// Covers: 3265-3.1.1-10, 3265-3.3.5-1, 3265-3.2.2-12, 3265-3.2.2-13, 3265-3.1.6.3-4, PKG-18
#[test]
fn the_notifier_may_end_it_for_any_reason() {
    let rows = [
        (Reason::Deactivated, Some(60), "deactivated"),
        (Reason::Probation, Some(60), "probation;retry-after=60"),
        (Reason::Probation, None, "probation"),
        (Reason::Rejected, Some(60), "rejected"),
        (Reason::Timeout, Some(60), "timeout"),
        (Reason::Giveup, Some(60), "giveup;retry-after=60"),
        (Reason::NoResource, Some(60), "noresource"),
        (Reason::Other(b"fired"[..].into()), Some(60), "fired;retry-after=60"),
    ];
    for (reason, retry_after, expected) in rows {
        let mut rig = Rig::notifier();
        let theirs = rig.theirs();
        rig.endpoint.terminate(rig.now, theirs.id, &reason, retry_after).unwrap();
        let sent = rig.drain();
        assert_eq!(sent[0].get("Subscription-State"), format!("terminated;reason={expected}"));
        rig.quiet(sent[0].answer("200 OK"));
        assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Terminated(r), .. }) if r == reason));
    }
}

/// Covers: 3265-3.1.2-1
#[test]
fn one_address_under_two_packages_is_two_subscriptions() {
    let mut rig = Rig::notifier();
    rig.endpoint.add_resource(&ResourceKey::new(BOB, "message-summary").unwrap()).unwrap();
    let presence = rig.theirs();
    let mail = rig.theirs_by(subscribe(600).set("Event", "message-summary").set("Call-ID", "c2").branch("m"));
    assert_eq!(mail.notify.get("Event"), "message-summary");
    assert_ne!(presence.ok.tag("To"), mail.ok.tag("To"));
    rig.endpoint.terminate(rig.now, presence.id, &Reason::NoResource, None).unwrap();
    rig.drain();
    assert!(rig.watches(&mail));
}

/// Covers: 3265-3.1.2-2, 3265-7.2.1-3, 3265-7.4-2
#[test]
fn one_event_of_one_type_stands_in_a_subscribe() {
    let mut rig = Rig::notifier();
    let with = |event: &str| subscribe(600).set("Event", event);
    assert_eq!(rig.status(subscribe(600).add("Event", "presence")), 400);
    for bad in ["a, b", "presence, presence", "a..b", ".a", "a.", "presence;id", "presence;id=1;id=2", "\"presence\""] {
        assert_eq!(rig.status(with(bad)), 400, "{bad}");
    }
    assert_eq!(rig.endpoint.watchers().count(), 0);
}

/// Covers: 3265-3.1.2-3, 3265-3.2.1-3, 3265-3.1.4.2-1, 3265-3.1.4.2-2, 3265-3.1.6.1-7, 3265-3.2.4-2
#[test]
fn an_id_is_sent_echoed_and_part_of_the_match() {
    let mut rig = Rig::new();
    let ours = rig.ours_in(Subscribe::new(PEER_URI, "presence;id=7").unwrap().expires(600), "active;expires=600");
    assert_eq!(ours.subscribe.get("Event"), "presence;id=7");
    assert_eq!(rig.refresh(&ours).get("Event"), "presence;id=7");
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=9").set("Event", "presence")), 481);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=9").set("Event", "presence;id=8")), 481);
    assert!(rig.left(&ours) > 9);

    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).set("Event", "presence;id=42"));
    assert_eq!(theirs.notify.get("Event"), "presence;id=42");
    for other in ["presence", "presence;id=43", "message-summary"] {
        let refused = rig.one(theirs.ok.refresh(2, 600).set("Event", other));
        assert_eq!(refused.start(), "SIP/2.0 403 Dialog Sharing Not Supported", "{other}");
    }
    let sent = rig.feed(theirs.ok.refresh(2, 600).branch("same").set("Event", "presence;id=42"));
    assert_eq!((sent[0].status(), sent[1].get("Event")), (200, "presence;id=42".into()));
}

/// Covers: 3265-3.1.4.1-2, 3265-3.1.4.4-2
#[test]
fn a_2xx_alone_makes_nothing_active() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let info = rig.endpoint.subscription(ours.id).unwrap();
    assert_eq!(info.state, sip_events::machine::subscriber::State::NotifyWait);
    assert!(info.document.is_none() && info.target.is_none());
    assert_eq!(rig.endpoint.refresh(rig.now, ours.id, None), Err(Misuse::WrongState));
    rig.idle(secs(32));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::NoNotify, .. })));
}

/// Covers: 3265-3.1.4.1-3, 3265-7.3.1-1
#[test]
fn a_202_counts_as_200() {
    let trace = |status: &str| {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.accepted(300).line(format!("SIP/2.0 {status}")));
        assert_eq!(rig.status(ours.subscribe.notify(1, "pending")), 200);
        let sent: Vec<_> = rig.run(secs(400)).into_iter().map(|(at, out)| (at, out.bytes)).collect();
        let events: Vec<_> = rig.take().into_iter().filter(|e| !matches!(e, Event::Accepted { .. })).collect();
        (sent, events)
    };
    assert_eq!(trace("202 Accepted"), trace("200 OK"));
}

/// Covers: 3265-3.1.4.1-5
#[test]
fn a_final_failure_means_no_subscription_and_no_notify() {
    for status in [400, 403, 404, 405, 406, 415, 420, 480, 481, 482, 489, 500, 501, 503, 513, 600, 603, 604, 606] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.answer(&format!("{status} No")));
        let why = match rig.ended() {
            Some(Event::Terminated { why: Ending::Refused { status, .. }, .. }) => status.as_u16(),
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(why, status);
        assert_eq!(rig.status(ours.subscribe.notify(1, "active;expires=600")), 481);
        rig.idle(secs(100));
    }
}

/// Covers: 3265-3.1.4.2-3, 3265-3.1.4.2-4, 3265-3.3.5-2, 3842-3.6-1
#[test]
fn a_gone_subscription_is_taken_up_anew_and_not_in_its_old_dialog() {
    let check = |rig: &mut Rig, old: &crate::harness::Out, wait: u64| {
        let sent = rig.run(secs(wait));
        let again = &sent.iter().find(|(_, out)| out.is("SUBSCRIBE") && out.get("Call-ID") != old.get("Call-ID"));
        let again = &again.expect("no new SUBSCRIBE").1;
        assert_ne!(again.tag("From"), old.tag("From"));
        assert_eq!((again.tag("To"), again.uri(), again.has("Route")), (None, PEER_URI.into(), false));
    };
    let routed = |rig: &mut Rig| {
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.accepted(600));
        let notify = ours.subscribe.notify(1, "active;expires=600").add("Record-Route", "<sip:198.51.100.9;lr>");
        assert_eq!(rig.status(notify.set("Contact", "<sip:moved@198.51.100.20>")), 200);
        rig.events.clear();
        ours
    };
    let mut rig = Rig::new();
    let ours = routed(&mut rig);
    let refresh = rig.refresh(&ours);
    assert_eq!((refresh.uri(), refresh.all("Route").len()), ("sip:moved@198.51.100.20".into(), 1));
    rig.quiet(refresh.answer("481 Gone"));
    assert!(rig.retrying().is_some());
    check(&mut rig, &ours.subscribe, 10);
    // After migration at once.
    let mut rig = Rig::new();
    let ours = routed(&mut rig);
    let sent = rig.feed(ours.subscribe.notify(2, "terminated;reason=deactivated"));
    assert_eq!(sent[0].status(), 200);
    let again = &only(&sent, "SUBSCRIBE")[0];
    assert_eq!((again.uri(), again.has("Route"), again.tag("To")), (PEER_URI.into(), false, None));
    assert_ne!(again.get("Call-ID"), ours.subscribe.get("Call-ID"));
    // With nobody to do it, the application is told.
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("481 Gone"));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Refused { .. }, retry: Retry::Allowed, .. })));
    rig.idle(secs(1000));
}

/// Covers: 3265-3.1.4.2-5
#[test]
fn any_other_failure_of_a_refresh_leaves_it_until_it_runs_out() {
    for status in [400, 403, 406, 415, 420, 486, 500, 502, 503, 504, 513, 600, 603, 606] {
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request().auto_refresh(false).auto_resubscribe(false), "active;expires=600");
        rig.run(secs(500));
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.answer(&format!("{status} No")));
        assert!(rig.events.iter().any(|e| matches!(e, Event::RefreshFailed { .. })), "{status}");
        rig.run(secs(50));
        assert!(rig.lives(&ours), "{status}");
        assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=50")), 200, "{status}");
        rig.run(secs(49));
        assert!(rig.lives(&ours), "{status}");
        rig.run(secs(2));
        assert!(!rig.lives(&ours), "{status}");
        assert_eq!(rig.status(ours.subscribe.notify(3, "active;expires=50")), 481, "{status}");
    }
}

/// Covers: 3265-3.1.4.4-4, 3265-3.1.4.4-5, 3265-3.3.4-3
#[test]
fn a_notify_may_come_before_the_response() {
    for state in ["active;expires=600", "pending;expires=600"] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        assert_eq!(rig.status(ours.subscribe.notify(1, state)), 200);
        assert!(matches!(rig.take()[..], [Event::Notify { .. }]));
        assert_eq!(rig.left(&ours), 600);
        rig.quiet(ours.subscribe.accepted(600));
        assert!(!rig.take().iter().any(|e| !matches!(e, Event::Accepted { .. })), "the 2xx adds nothing");
        assert_eq!(rig.endpoint.subscriptions().count(), 1);
        assert_eq!(rig.refresh(&ours).tag("To").as_deref(), Some("theirs"));
    }
}

/// Covers: 3265-3.1.6.1-2, 3265-3.3.8-2, 3265-7.2-1, 3265-7.3.2-1, 3265-3.3.7-1
#[test]
fn an_unknown_package_gets_489_with_those_that_are_known() {
    let mut rig = Rig::notifier();
    let none = subscribe(600).without("Event");
    for text in
        ["nosuch", "Presence", "presence.winfo", "pres"].map(|e| subscribe(600).set("Event", e)).iter().chain([&none])
    {
        let refused = rig.one(text);
        assert_eq!(
            (refused.start(), refused.get("Allow-Events")),
            ("SIP/2.0 489 Bad Event".into(), "presence, message-summary".into())
        );
    }
    let mut rig = Rig::build(Rig::config(), Packages::new());
    assert_eq!(rig.one(subscribe(600)).get("Allow-Events"), "");
}

/// Covers: 3265-3.1.6.1-4, 3265-3.1.6.4-3, 3265-3.1.1-6
#[test]
fn only_short_durations_below_the_minimum_are_too_brief() {
    let rows = [
        (60, 59, 423),
        (60, 60, 200),
        (60, 0, 200),
        (60, 1, 423),
        (7200, 3599, 423),
        (7200, 3600, 200),
        (7200, 7199, 200),
        (7200, 0, 200),
    ];
    for (min, asked, status) in rows {
        let mut rig = durations(Some(min), None, None);
        if status == 423 {
            let refused = rig.one(subscribe(asked));
            assert_eq!((refused.status(), refused.get("Min-Expires")), (423, min.to_string()), "{min} {asked}");
        } else {
            assert_eq!(rig.theirs_by(subscribe(asked)).ok.get("Expires"), asked.to_string());
        }
        // A refresh likewise, and the old subscription lives on.
        let mut rig = durations(Some(min), None, None);
        let theirs = rig.theirs_by(subscribe(10_000));
        let before = rig.endpoint.watcher(theirs.id).unwrap().expires_at;
        assert_eq!(rig.feed(theirs.ok.refresh(2, asked))[0].status(), status, "{min} {asked}");
        if status == 423 {
            assert_eq!(rig.endpoint.watcher(theirs.id).unwrap().expires_at, before);
        }
    }
}

/// Covers: 3265-3.1.6.1-1, 3265-3.1.6.1-5, 3265-3.1.6.1-6, 3265-3.1.6.2-1, 3265-3.1.6.2-2, 3265-3.1.6.2-3,
/// 3265-3.1.6.2-4, 3265-3.1.6.3-3, 3265-3.2.2-1, 3856-6.6.2-1
#[test]
fn a_2xx_is_followed_by_a_notify_decided_or_not() {
    let check = |theirs: &Theirs, state: &str| {
        assert_eq!(theirs.ok.start(), "SIP/2.0 200 OK");
        assert_eq!(theirs.notify.get("From"), theirs.ok.get("To"));
        assert_eq!(theirs.notify.get("To"), theirs.ok.get("From"));
        assert_eq!(theirs.notify.get("Call-ID"), theirs.ok.get("Call-ID"));
        assert_eq!(theirs.notify.substate(), state);
    };
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    check(&theirs, "active");
    assert_eq!(theirs.notify.body(), b"<open/>");
    rig.quiet(theirs.notify.answer("200 OK"));
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!((sent.len(), sent[0].status(), sent[1].body()), (2, 200, b"<open/>".to_vec()));

    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::PENDING);
    check(&theirs, "pending");
    assert!(!theirs.notify.text().contains("<open/>"), "neutral: {}", theirs.notify.text());
    rig.quiet(theirs.notify.answer("200 OK"));
    let sent = rig.feed(theirs.ok.refresh(2, 600));
    assert_eq!((sent[0].status(), sent[1].substate()), (200, "pending".into()));

    // Nobody decides: pending, long before the peer's Timer F.
    let mut rig = Rig::notifier();
    rig.quiet(subscribe(600));
    let sent: Vec<_> = rig.run(secs(3)).into_iter().map(|(_, out)| out).collect();
    assert_eq!((sent[0].status(), sent[1].substate()), (200, "pending".into()));
}

/// Covers: 3265-3.1.6.3-2, 3265-3.1.6.1-3, 3265-5.1-1
#[test]
fn a_definite_refusal_is_told_at_once() {
    for status in [403, 603] {
        let mut rig = Rig::notifier();
        rig.quiet(subscribe(600));
        let incoming = rig.incoming();
        let seen = rig.endpoint.incoming(incoming).unwrap();
        assert_eq!((seen.uri, seen.from), (BOB, &b"<sip:peer@example.com>;tag=p1"[..]));
        rig.endpoint.reject(rig.now, incoming, Reject::new(StatusCode::new(status).unwrap())).unwrap();
        let sent = rig.drain();
        assert_eq!((sent.len(), sent[0].status()), (1, status));
        assert!(!sent[0].has("Contact") && !sent[0].has("Expires"));
        rig.idle(secs(100));
    }
}

/// Covers: 3265-3.1.6.3-4, 3856-6.7-2, 3265-3.2.2-2
#[test]
fn a_late_decision_is_told_by_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::PENDING);
    rig.quiet(theirs.notify.answer("200 OK"));
    assert!(rig.set_bob("<closed/>").is_empty(), "pending: no change is told");
    rig.endpoint.terminate(rig.now, theirs.id, &Reason::Rejected, None).unwrap();
    let sent = rig.drain();
    assert_eq!(sent[0].get("Subscription-State"), "terminated;reason=rejected");
    assert!(!sent[0].text().contains("<closed/>"));

    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::PENDING);
    rig.quiet(theirs.notify.answer("200 OK"));
    rig.endpoint.approve(rig.now, theirs.id).unwrap();
    let sent = rig.drain();
    assert_eq!((sent[0].get("Subscription-State"), sent[0].body()), ("active;expires=600".into(), b"<open/>".to_vec()));
}

/// Covers: 3265-3.1.6.4-1, 3265-3.1.6.4-4, 3265-3.1.6.4-5, 3265-3.1.6.4-6, 3265-3.1.6.4-2
#[test]
fn a_refresh_moves_the_end_and_the_end_is_told() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(500));
    let sent = rig.feed(theirs.ok.refresh(2, 300));
    assert_eq!(
        (sent[0].get("Expires"), sent[1].get("Subscription-State")),
        ("300".into(), "active;expires=300".into())
    );
    rig.quiet(sent[1].answer("200 OK"));
    rig.idle(secs(299));
    let sent = rig.run(secs(1));
    assert_eq!(sent[0].1.get("Subscription-State"), "terminated;reason=timeout");
    rig.quiet(sent[0].1.answer("200 OK"));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::Expired, .. })));
    assert_eq!(rig.status(theirs.ok.refresh(3, 300)), 481);
}

/// Covers: 3265-3.2.2-4
#[test]
fn silence_ends_a_subscription() {
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), Decision::ACCEPT);
    rig.run(secs(31));
    assert!(rig.watches(&theirs));
    rig.run(secs(1));
    assert!(matches!(rig.ended(), Some(Event::WatcherGone { why: Gone::NoAnswer(Failure::Timeout), .. })));
}
