//! What a response to SUBSCRIBE does, and what a subscriber does after each
//! reason (RFC 6665 sections 4.1.2.2 and 4.1.3, RFC 5057 section 5.1).

use std::time::Duration;

use sip_events::{Ending, Event, Failure, Instant, Retry, Scope, Subscribe};

use crate::harness::*;

fn passive() -> Subscribe {
    Rig::request().auto_refresh(false).auto_resubscribe(false)
}

/// Answers a first SUBSCRIBE.
fn first(answer: impl FnOnce(&Out) -> Text) -> (Rig, Ours, Vec<Out>) {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    let sent = rig.feed(answer(&ours.subscribe));
    (rig, ours, sent)
}

/// Answers a refresh, 100 s into a subscription of 600 s.
fn refresh(request: Subscribe, answer: impl FnOnce(&Out) -> Text) -> (Rig, Ours, Vec<Out>) {
    let mut rig = Rig::new();
    let ours = rig.ours_in(request, "active;expires=600");
    rig.idle(secs(100));
    let refresh = rig.refresh(&ours);
    let sent = rig.feed(answer(&refresh));
    (rig, ours, sent)
}

fn refused(rig: &mut Rig) -> (u16, Retry) {
    match rig.ended() {
        Some(Event::Terminated { why: Ending::Refused { status, .. }, retry, .. }) => (status.as_u16(), retry),
        other => panic!("{other:?}"),
    }
}

/// Covers: 6665-RSP-1, 6665-RSP-2, 6665-RSP-3, 6665-RSP-4, 6665-RSP-5, 6665-RSP-6, 6665-RSP-7, 6665-RSP-8,
/// 6665-RSP-9, 6665-RSP-10, 6665-RSP-11, 6665-RSP-12, 6665-RSP-13, 5057-5.1-1
#[test]
fn every_response_to_subscribe() {
    walk(
        "6665-RSP",
        13,
        &[
            (1, any_2xx_is_the_200),
            (2, a_204_promises_silence),
            (3, a_redirection_leaves_a_subscription_alone),
            (4, client_failures_end_the_transaction_only),
            (5, a_challenge_is_told),
            (6, a_timeout_leaves_timer_n_running),
            (7, too_brief_is_asked_again_for_longer),
            (8, codes_that_end_the_dialog),
            (9, codes_that_end_the_usage),
            (10, retry_after_of_480_holds),
            (11, server_failures_are_tried_again),
            (12, a_502_ends_nothing),
            (13, global_failures_end_the_transaction_only),
        ],
    );
}

fn any_2xx_is_the_200() {
    let mut traces: Vec<Vec<Event>> = Vec::new();
    for code in [200, 202, 201, 299] {
        let (mut rig, ours, sent) = first(|s| s.accepted(300).line(format!("SIP/2.0 {code} Fine")));
        assert!(sent.is_empty());
        assert_eq!(rig.status(ours.subscribe.notify(1, "active")), 200);
        assert_eq!(rig.left(&ours), 300);
        let (mut other, ours, _) = refresh(passive(), |s| s.accepted(300).line(format!("SIP/2.0 {code} Fine")));
        assert_eq!(other.left(&ours), 300);
        other.idle(secs(32));
        rig.events.append(&mut other.events);
        for event in &mut rig.events {
            if let Event::Accepted { status, .. } = event {
                assert_eq!(status.as_u16(), code);
                *status = sip_events::wire::StatusCode::OK;
            }
        }
        traces.push(rig.take());
    }
    assert!(traces.windows(2).all(|pair| pair[0] == pair[1]));
}

fn a_204_promises_silence() {
    let (mut rig, ours, _) = first(|s| s.answer("204 No Notification").add("Expires", "600"));
    assert!(rig.lives(&ours));
    rig.idle(secs(32));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::NoNotify, .. })));
    let (mut rig, ours, _) = refresh(passive(), |s| s.answer("204 No Notification").add("Expires", "400"));
    rig.idle(secs(399));
    assert_eq!(rig.left(&ours), 1);
}

fn transaction_only(code: u16) {
    let (mut rig, _, sent) = first(|s| s.answer(&format!("{code} No")));
    assert!(sent.is_empty(), "{code}");
    assert_eq!(refused(&mut rig).0, code);
    let (mut rig, ours, sent) = refresh(passive(), |s| s.answer(&format!("{code} No")));
    assert!(sent.is_empty(), "{code}");
    rig.idle(secs(499));
    assert_eq!(rig.left(&ours), 1, "{code}");
    rig.idle(secs(1));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::Expired, .. })), "{code}");
}

fn a_redirection_leaves_a_subscription_alone() {
    for code in [300, 301, 302, 305, 380, 399] {
        transaction_only(code);
    }
}

fn client_failures_end_the_transaction_only() {
    for code in [
        400, 402, 403, 406, 412, 413, 414, 415, 417, 420, 421, 422, 428, 429, 436, 437, 438, 486, 487, 488, 491, 493,
        494, 499,
    ] {
        transaction_only(code);
    }
}

fn a_challenge_is_told() {
    for (code, header) in [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")] {
        let answer = |s: &Out| s.answer(&format!("{code} Who")).add(header, "Digest realm=\"atlanta\", nonce=\"1\"");
        let challenged = |rig: &Rig| {
            rig.events.iter().any(|e| matches!(e, Event::Challenge { realm, .. } if &realm[..] == b"atlanta"))
        };
        let (mut rig, _, _) = first(answer);
        assert!(challenged(&rig) && rig.events.len() == 1);
        // Nobody gives credentials.
        rig.idle(secs(3));
        assert_eq!(refused(&mut rig).0, code);
        let (mut rig, ours, _) = refresh(passive(), answer);
        assert!(challenged(&rig) && rig.lives(&ours));
        rig.idle(secs(3));
        assert_eq!(rig.left(&ours), 497);
    }
}

fn a_timeout_leaves_timer_n_running() {
    let (mut rig, _, _) = first(|s| s.answer("408 Request Timeout"));
    let Some(Event::Terminated { why: Ending::NoAnswer(Failure::Timeout), .. }) = rig.ended() else { panic!() };
    // Within a subscription a NOTIFY may still save it.
    for saved in [true, false] {
        let (mut rig, ours, _) = refresh(passive(), |s| s.answer("408 Request Timeout"));
        rig.idle(secs(31));
        assert!(rig.lives(&ours));
        if saved {
            assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=400")), 200);
        }
        rig.run(secs(1));
        assert_eq!(rig.lives(&ours), saved);
    }
    // Timer F: never answered at all.
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    let _ = rig.refresh(&ours);
    rig.run(secs(32) - Duration::from_nanos(1));
    assert!(rig.lives(&ours));
    rig.run(Duration::from_nanos(1));
    assert!(matches!(rig.ended(), Some(Event::Terminated { why: Ending::NoAnswer(Failure::Timeout), .. })));
}

fn too_brief_is_asked_again_for_longer() {
    let too_brief = |s: &Out| s.answer("423 Interval Too Brief").add("Min-Expires", "1800");
    let (_, ours, sent) = first(too_brief);
    assert_eq!((sent[0].get("Expires").as_str(), sent[0].cseq()), ("1800", ours.subscribe.cseq() + 1));
    let (rig, ours, sent) = refresh(passive(), too_brief);
    assert_eq!((sent[0].get("Expires").as_str(), sent[0].cseq()), ("1800", ours.subscribe.cseq() + 2));
    assert_eq!(rig.left(&ours), 500);
    // Without a minimum that is above what was asked for, it is a plain failure.
    for answer in [
        |s: &Out| s.answer("423 Interval Too Brief"),
        |s: &Out| s.answer("423 Interval Too Brief").add("Min-Expires", "600"),
        |s: &Out| s.answer("423 Interval Too Brief").add("Min-Expires", "nonsense"),
    ] {
        let (mut rig, _, sent) = first(answer);
        assert!(sent.is_empty());
        assert_eq!(refused(&mut rig).0, 423);
        let (rig, ours, sent) = refresh(passive(), answer);
        assert!(sent.is_empty() && rig.lives(&ours));
    }
}

fn ends(code: u16) {
    let (mut rig, _, _) = first(|s| s.answer(&format!("{code} Over")));
    assert_eq!(refused(&mut rig).0, code);
    let (mut rig, ours, _) = refresh(passive(), |s| s.answer(&format!("{code} Over")));
    assert_eq!(refused(&mut rig).0, code);
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 481);
}

fn codes_that_end_the_dialog() {
    for code in [404, 410, 416, 482, 483, 484, 485, 604] {
        ends(code);
    }
}

fn codes_that_end_the_usage() {
    for code in [405, 480, 481, 489, 501] {
        ends(code);
    }
}

fn retry_after_of_480_holds() {
    let answer = |s: &Out| s.answer("480 Gone for now").add("Retry-After", "90 (lunch);duration=60");
    let (mut rig, _, _) = first(answer);
    assert_eq!(refused(&mut rig), (480, Retry::NotBefore(rig.now + secs(90))));
    let (mut rig, _, _) = refresh(passive(), answer);
    assert_eq!(refused(&mut rig), (480, Retry::NotBefore(rig.now + secs(90))));
    let (mut rig, _, _) = refresh(Rig::request().auto_refresh(false), answer);
    let before = rig.now;
    assert!(rig.next(secs(200)).tag("To").is_none());
    assert!(rig.now - before >= secs(90));
}

fn server_failures_are_tried_again() {
    for code in [500, 503, 504, 505, 513, 580, 599] {
        let (mut rig, _, _) = first(|s| s.answer(&format!("{code} No")).add("Retry-After", "50"));
        let (status, retry) = refused(&mut rig);
        assert_eq!(status, code);
        if [500, 503].contains(&code) {
            assert_eq!(retry, Retry::NotBefore(rig.now + secs(50)));
        }
        let request = Rig::request;
        let (mut rig, ours, _) = refresh(request(), |s| s.answer(&format!("{code} No")).add("Retry-After", "50"));
        let before = rig.now;
        let again = rig.next(secs(100));
        assert_eq!((rig.now - before, again.tag("To").as_deref()), (secs(50), Some("theirs")), "{code}");
        assert!(rig.lives(&ours));
        let (mut rig, _, _) = refresh(request(), |s| s.answer(&format!("{code} No")));
        assert_eq!(rig.next(secs(100)).tag("To").as_deref(), Some("theirs"), "{code}");
        transaction_only(code);
    }
}

fn a_502_ends_nothing() {
    transaction_only(502);
}

fn global_failures_end_the_transaction_only() {
    for code in [600, 603, 606, 699] {
        transaction_only(code);
    }
}

/// What the endpoint does when an active subscription ends with `state`: the
/// wait until its next SUBSCRIBE within a day, and what the application hears
/// that has to do it itself.
fn after(state: &str) -> (Option<Duration>, Retry, Instant) {
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request(), "active;expires=600");
    let mut sent = rig.feed(ours.subscribe.notify(2, state));
    assert_eq!(sent.remove(0).status(), 200);
    let mut wait = None;
    if sent.is_empty() {
        let end = rig.now + secs(86_400);
        let before = rig.now;
        while let Some(at) = rig.endpoint.poll_timeout().filter(|at| *at <= end) {
            rig.now = at;
            rig.endpoint.handle_timeout(at);
            if !rig.drain().is_empty() {
                wait = Some(rig.now - before);
                break;
            }
        }
    } else {
        wait = Some(Duration::ZERO);
    }
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), "active;expires=600");
    assert_eq!(rig.status(ours.subscribe.notify(2, state)), 200);
    match rig.ended() {
        Some(Event::Terminated { retry, .. }) => (wait, retry, rig.now),
        other => panic!("{other:?}"),
    }
}

/// Covers: 6665-RSN-1, 6665-RSN-2, 6665-RSN-3, 6665-RSN-4, 6665-RSN-5, 6665-RSN-6, 6665-RSN-7, 6665-RSN-8,
/// 6665-RSN-9, 6665-RSN-10, 6665-4.1.3-14, 6665-4.1.3-15, 6665-4.1.3-16, 6665-4.1.3-17, 6665-4.1.3-18,
/// 6665-4.1.3-19, 6665-4.1.3-20, 6665-4.1.3-21
#[test]
fn every_reason() {
    walk(
        "6665-RSN",
        10,
        &[
            (1, deactivated),
            (2, probation),
            (3, rejected),
            (4, timeout),
            (5, giveup),
            (6, noresource),
            (7, invariant),
            (8, badfilter),
            (9, absent),
            (10, unknown),
        ],
    );
}

fn deactivated() {
    for state in ["terminated;reason=deactivated", "terminated;reason=deactivated;retry-after=900"] {
        let (wait, retry, _) = after(state);
        assert_eq!((wait, retry), (Some(Duration::ZERO), Retry::Allowed), "{state}");
    }
}

/// Waits at least as long as it was told to, and not much longer; at once
/// never.
fn waits(reason: &str) {
    let (wait, retry, now) = after(&format!("terminated{reason};retry-after=30"));
    assert!(wait.is_some_and(|wait| wait >= secs(30) && wait < secs(60)), "{reason} {wait:?}");
    assert_eq!(retry, Retry::NotBefore(now + secs(30)));
    let (wait, retry, _) = after(&format!("terminated{reason}"));
    assert!(wait.is_some_and(|wait| wait > Duration::ZERO && wait < secs(60)), "{reason} {wait:?}");
    assert_eq!(retry, Retry::Allowed);
}

fn never(reason: &str) {
    for retry_after in ["", ";retry-after=1", ";retry-after=0"] {
        let (wait, retry, _) = after(&format!("terminated;reason={reason}{retry_after}"));
        assert_eq!((wait, retry), (None, Retry::Never), "{reason}{retry_after}");
    }
}

fn probation() {
    waits(";reason=probation");
}

fn rejected() {
    never("rejected");
}

fn timeout() {
    for retry_after in ["", ";retry-after=900"] {
        let (wait, retry, _) = after(&format!("terminated;reason=timeout{retry_after}"));
        assert!(wait.is_some_and(|wait| wait < secs(60)), "{wait:?}");
        assert_eq!(retry, Retry::Allowed);
    }
    // Not after an unsubscription or a fetch of our own.
    let mut rig = Rig::new();
    let ours = rig.ours();
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let unsubscribe = rig.drain().remove(0);
    rig.quiet(unsubscribe.accepted(0));
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=timeout")), 200);
    let fetch = rig.start(Rig::request().expires(0));
    rig.quiet(fetch.subscribe.accepted(0));
    assert_eq!(rig.status(fetch.subscribe.notify(1, "terminated;reason=timeout")), 200);
    rig.idle(secs(86_400));
}

fn giveup() {
    waits(";reason=giveup");
}

fn noresource() {
    never("noresource");
}

fn invariant() {
    never("invariant");
}

fn badfilter() {
    never("badfilter");
}

fn absent() {
    waits("");
}

fn unknown() {
    waits(";reason=zz");
    waits(";reason=expired");
}
