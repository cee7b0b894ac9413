//! The subscriber's state machine, cell by cell (RFC 6665 section 4.1.2,
//! figure 1; INT-1, INT-4 to INT-6).

use std::time::Duration;

use sip_events::machine::subscriber::State;
use sip_events::{Ending, Event, Failure, Reason, Scope, Subscribe, SubscriptionState, TimerKind};

use crate::harness::*;
use crate::rfc6665_4_1_2::FATAL;

/// Covers: 6665-SSM-1, 6665-SSM-2, 6665-SSM-3, 6665-SSM-4, 6665-SSM-5, 6665-SSM-6, 6665-SSM-7, 6665-SSM-8,
/// 6665-SSM-9, 6665-SSM-10, 6665-SSM-11, 6665-SSM-12, 6665-SSM-13, 6665-SSM-14, 6665-SSM-15, 6665-SSM-16,
/// 6665-SSM-17, 6665-SSM-18, 6665-SSM-19, 6665-SSM-20, 6665-SSM-21, 6665-SSM-22, 6665-SSM-23, 6665-SSM-24,
/// 6665-SSM-25, 6665-SSM-26, 6665-SSM-27, 6665-SSM-28, 6665-SSM-29, 6665-SSM-30, 6665-4.1.2-1
#[test]
fn every_cell() {
    walk(
        "6665-SSM",
        30,
        &[
            (1, subscribing_starts_timers_f_and_n),
            (2, a_provisional_response_is_nothing),
            (3, a_2xx_is_remembered_and_timer_n_runs_on),
            (4, the_first_notify_makes_it_active),
            (5, the_first_notify_makes_it_pending),
            (6, the_first_notify_may_end_it),
            (7, a_changed_subscribe_restarts_timer_n),
            (8, a_failure_ends_the_attempt),
            (9, timer_n_ends_the_attempt),
            (10, pending_stays_pending),
            (11, pending_becomes_active),
            (12, active_stays_active),
            (13, active_becomes_pending),
            (14, terminated_ends_it),
            (15, a_refresh_starts_timer_n),
            (16, a_2xx_to_a_refresh_sets_the_deadline),
            (17, a_204_cancels_timer_n),
            (18, a_notify_cancels_timer_n),
            (19, a_fatal_code_ends_it),
            (20, any_other_failure_does_not),
            (21, timer_n_of_a_refresh_ends_it),
            (22, unsubscribing_leaves_it_alive),
            (23, the_deadline_ends_it_unless_timer_n_runs),
            (24, an_unknown_state_changes_nothing),
            (25, a_new_attempt_is_fresh),
            (26, a_late_notify_gets_481_and_a_repeated_one_its_200),
            (27, timer_n_closes_the_window_for_forks),
            (28, a_204_to_the_unsubscribe_ends_it),
            (29, an_unknown_state_at_first_is_pending),
            (30, a_refused_notify_makes_nothing),
        ],
    );
}

fn passive() -> Subscribe {
    Rig::request().auto_refresh(false).auto_resubscribe(false)
}

/// An established subscription that does nothing by itself.
fn established(state: &str) -> (Rig, Ours) {
    let mut rig = Rig::new();
    let ours = rig.ours_in(passive(), state);
    (rig, ours)
}

const BOTH: [&str; 2] = ["pending;expires=600", "active;expires=600"];

fn state(rig: &Rig, ours: &Ours) -> State {
    rig.endpoint.subscription(ours.id).unwrap().state
}

fn why(rig: &mut Rig) -> Ending {
    match rig.ended() {
        Some(Event::Terminated { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn subscribing_starts_timers_f_and_n() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    assert_eq!(state(&rig, &ours), State::NotifyWait);
    let waits = rig.endpoint.explain(ours.id).unwrap().waits_for;
    assert_eq!(waits, Some((TimerKind::AwaitNotify, rig.now + secs(32))));
    let repeats = rig.run(secs(32) - Duration::from_nanos(1));
    assert!(repeats.len() > 5 && repeats.iter().all(|(_, out)| *out == ours.subscribe));
    rig.idle(secs(1));
    assert_eq!(why(&mut rig), Ending::NoAnswer(Failure::Timeout));
}

fn a_provisional_response_is_nothing() {
    for status in ["100 Trying", "180 Ringing", "199 Whatever"] {
        let mut rig = Rig::new();
        let ours = rig.start(passive());
        rig.quiet(ours.subscribe.answer(status));
        assert_eq!(state(&rig, &ours), State::NotifyWait);
        assert!(rig.take().is_empty());
    }
}

fn a_2xx_is_remembered_and_timer_n_runs_on() {
    for (status, expires) in [("200 OK", 300), ("202 Accepted", 300), ("299 Fine", 300), ("200 OK", 0)] {
        let mut rig = Rig::new();
        let ours = rig.start(passive());
        rig.quiet(ours.subscribe.answer(status).add("Expires", expires.to_string()));
        assert!(matches!(rig.take()[..], [Event::Accepted { expires: told, .. }] if told == expires));
        rig.idle(secs(31));
        assert_eq!(state(&rig, &ours), State::NotifyWait, "{status} {expires}");
        assert_eq!(rig.endpoint.explain(ours.id).unwrap().waits_for.unwrap().0, TimerKind::AwaitNotify);
    }
}

fn the_first_notify_makes_it(token: &str, expected: State) {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, &format!("{token};expires=300")).add("Record-Route", "<sip:203.0.113.1;lr>");
    assert_eq!(rig.status(notify.body(PIDF, "<1/>")), 200);
    assert_eq!(state(&rig, &ours), expected);
    assert_eq!((rig.left(&ours), rig.notified()), (300, vec!["<1/>".to_owned()]));
    // Refreshed before it runs out, through the NOTIFY's route set.
    let refresh = rig.next(secs(300));
    assert_eq!((refresh.get("Route").as_str(), refresh.uri().as_str()), ("<sip:203.0.113.1;lr>", PEER_URI));
}

fn the_first_notify_makes_it_active() {
    the_first_notify_makes_it("active", State::Active);
}

fn the_first_notify_makes_it_pending() {
    the_first_notify_makes_it("pending", State::Pending);
}

fn the_first_notify_may_end_it() {
    // For one From tag only: others are taken until Timer N ...
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify_from("a", 1, "terminated;reason=noresource").body(PIDF, "<1/>")), 200);
    assert_eq!(rig.notified(), ["<1/>"]);
    assert!(matches!(why(&mut rig), Ending::ByNotifier { reason: Some(Reason::NoResource), .. }));
    assert_eq!(rig.status(ours.subscribe.notify_from("a", 2, "active;expires=600")), 481);
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 1, "active;expires=600")), 200);
    // ... unless a new attempt replaces it, or the application gave it up.
    for give_up in [false, true] {
        let mut rig = Rig::new();
        let ours = rig.start(Rig::request());
        rig.quiet(ours.subscribe.accepted(600));
        let reason = if give_up { "probation;retry-after=1000" } else { "deactivated" };
        rig.feed(ours.subscribe.notify_from("a", 1, &format!("terminated;reason={reason}")));
        assert!(rig.retrying().is_some());
        if give_up {
            rig.endpoint.unsubscribe(rig.now, ours.id, Scope::AllForks).unwrap();
        }
        let late = rig.feed(ours.subscribe.notify_from("b", 1, "active;expires=600"));
        assert_eq!(late[0].status(), 481, "{give_up}");
    }
}

fn a_changed_subscribe_restarts_timer_n() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.run(secs(20));
    let longer = rig.one(ours.subscribe.answer("423 Too Brief").add("Min-Expires", "900"));
    assert_eq!((longer.cseq(), longer.tag("To")), (ours.subscribe.cseq() + 1, None));
    assert_ne!(longer.branch(), ours.subscribe.branch());
    rig.quiet(longer.accepted(900));
    rig.idle(secs(32) - Duration::from_nanos(1));
    assert!(rig.lives(&ours));
    rig.idle(Duration::from_nanos(1));
    assert_eq!(why(&mut rig), Ending::NoNotify);
}

fn a_failure_ends_the_attempt() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.answer("404 Not Found"));
    assert!(matches!(why(&mut rig), Ending::Refused { .. }));
    let mut rig = Rig::new();
    let _ = rig.start(passive());
    rig.run(secs(32));
    assert_eq!(why(&mut rig), Ending::NoAnswer(Failure::Timeout));
    let mut rig = Rig::new();
    let _ = rig.start(passive());
    rig.endpoint.handle_unreachable(rig.now, udp());
    assert!(rig.drain().is_empty());
    assert_eq!(why(&mut rig), Ending::NoAnswer(Failure::Transport));
    rig.idle(secs(100));
    assert_eq!(rig.endpoint.poll_timeout(), None);
}

fn timer_n_ends_the_attempt() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    rig.idle(secs(32));
    assert_eq!(why(&mut rig), Ending::NoNotify);
    rig.idle(secs(100));
    assert_eq!((rig.endpoint.poll_timeout(), rig.endpoint.subscriptions().count()), (None, 0));
}

fn change(from: &str, to: &str, expected: State, told: SubscriptionState) {
    let (mut rig, ours) = established(&format!("{from};expires=600"));
    assert_eq!(rig.status(ours.subscribe.notify(2, &format!("{to};expires=100")).body(PIDF, "<2/>")), 200);
    assert_eq!((state(&rig, &ours), rig.left(&ours)), (expected, 100));
    let events = rig.take();
    let [Event::Notify { state, expires: Some(100), cseq: 2, body: Some(body), .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*state, &body.data[..]), (told, &b"<2/>"[..]));
}

fn pending_stays_pending() {
    change("pending", "pending", State::Pending, SubscriptionState::Pending);
}

fn pending_becomes_active() {
    change("pending", "active", State::Active, SubscriptionState::Active);
}

fn active_stays_active() {
    change("active", "active", State::Active, SubscriptionState::Active);
}

fn active_becomes_pending() {
    change("active", "pending", State::Pending, SubscriptionState::Pending);
}

fn terminated_ends_it() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=rejected").body(PIDF, "<2/>")), 200);
        assert_eq!(rig.notified(), ["<2/>"]);
        assert!(matches!(why(&mut rig), Ending::ByNotifier { reason: Some(Reason::Rejected), .. }));
        assert_eq!(rig.status(ours.subscribe.notify(3, "active")), 481);
    }
}

fn a_refresh_starts_timer_n() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        let before = state(&rig, &ours);
        let refresh = rig.refresh(&ours);
        assert_eq!(refresh.tag("To").as_deref(), Some("theirs"));
        assert_eq!(state(&rig, &ours), before);
        let waits = rig.endpoint.explain(ours.id).unwrap().waits_for;
        assert_eq!(waits, Some((TimerKind::AwaitNotify, rig.now + secs(32))));
        // By itself likewise.
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request(), from);
        let refresh = rig.next(secs(568));
        assert_eq!((refresh.get("Expires").as_str(), refresh.cseq()), ("600", ours.subscribe.cseq() + 1));
    }
}

fn a_2xx_to_a_refresh_sets_the_deadline() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        rig.idle(secs(100));
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.accepted(400));
        assert_eq!(rig.left(&ours), 400);
        assert_eq!(rig.endpoint.explain(ours.id).unwrap().waits_for.unwrap().0, TimerKind::AwaitNotify);
    }
}

fn a_204_cancels_timer_n() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.answer("204 No Notification").add("Expires", "300"));
        rig.idle(secs(299));
        assert_eq!(rig.left(&ours), 1);
    }
}

fn a_notify_cancels_timer_n() {
    for first in [true, false] {
        let (mut rig, ours) = established("active;expires=600");
        let refresh = rig.refresh(&ours);
        if !first {
            rig.quiet(refresh.accepted(600));
        }
        assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 200);
        if first {
            rig.quiet(refresh.accepted(600));
        }
        rig.idle(secs(500));
        assert!(rig.lives(&ours), "NOTIFY first: {first}");
    }
}

fn a_fatal_code_ends_it() {
    for from in BOTH {
        for code in FATAL {
            let (mut rig, ours) = established(from);
            let refresh = rig.refresh(&ours);
            rig.quiet(refresh.answer(&format!("{code} Over")));
            assert!(matches!(why(&mut rig), Ending::Refused { status, .. } if status.as_u16() == code));
        }
    }
}

fn any_other_failure_does_not() {
    for from in BOTH {
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request(), from);
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.answer("500 Oops").add("Retry-After", "40"));
        assert!(matches!(rig.take()[..], [Event::RefreshFailed { status: Some(_), .. }]));
        // Timer N is off, the deadline is the old one, and it is tried again.
        rig.idle(secs(39));
        assert_eq!(rig.left(&ours), 561);
        let again = rig.next(secs(1));
        assert_eq!(again.cseq(), refresh.cseq() + 1);
    }
}

fn timer_n_of_a_refresh_ends_it() {
    for unsubscribe in [false, true] {
        let (mut rig, ours) = established("active;expires=600");
        let sent = if unsubscribe {
            rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
            rig.drain().remove(0)
        } else {
            rig.refresh(&ours)
        };
        rig.quiet(sent.accepted(if unsubscribe { 0 } else { 600 }));
        rig.idle(secs(32) - Duration::from_nanos(1));
        assert!(rig.lives(&ours));
        rig.idle(Duration::from_nanos(1));
        let expected = if unsubscribe { Ending::Unsubscribed } else { Ending::NoNotify };
        assert_eq!(why(&mut rig), expected);
    }
}

fn unsubscribing_leaves_it_alive() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        let before = state(&rig, &ours);
        rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
        assert_eq!(rig.drain()[0].get("Expires"), "0");
        assert_eq!(state(&rig, &ours), before);
        assert!(rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).is_err());
        assert!(rig.ended().is_none());
    }
}

fn the_deadline_ends_it_unless_timer_n_runs() {
    let (mut rig, ours) = established("active;expires=600");
    rig.idle(secs(600) - Duration::from_nanos(1));
    assert!(rig.lives(&ours));
    rig.idle(Duration::from_nanos(1));
    assert_eq!(why(&mut rig), Ending::Expired);
    // A refresh that was answered late: its NOTIFY, or Timer N, decides.
    for notified in [true, false] {
        let (mut rig, ours) = established("active;expires=600");
        rig.idle(secs(590));
        let refresh = rig.refresh(&ours);
        rig.quiet(refresh.accepted(5));
        rig.idle(secs(20));
        assert!(rig.lives(&ours), "{notified}");
        if notified {
            assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=300")), 200);
            rig.idle(secs(299));
            assert!(rig.lives(&ours));
        } else {
            rig.idle(secs(12));
            assert_eq!(why(&mut rig), Ending::NoNotify);
        }
    }
}

fn an_unknown_state_changes_nothing() {
    for from in BOTH {
        let (mut rig, ours) = established(from);
        let before = state(&rig, &ours);
        assert_eq!(rig.status(ours.subscribe.notify(2, "waiting;foo").body(PIDF, "<2/>")), 200);
        assert_eq!(state(&rig, &ours), before);
        assert!(matches!(rig.take()[..], [Event::Notify { state: SubscriptionState::Unknown, .. }]));
    }
}

fn a_new_attempt_is_fresh() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, "active;expires=600").add("Record-Route", "<sip:203.0.113.1;lr>");
    assert_eq!(rig.status(notify), 200);
    assert_eq!(rig.status(ours.subscribe.notify(2, "terminated;reason=probation;retry-after=30")), 200);
    let before = rig.now;
    let again = rig.next(secs(40));
    assert!(rig.now - before >= secs(30));
    assert_ne!(again.get("Call-ID"), ours.subscribe.get("Call-ID"));
    assert_ne!(again.tag("From"), ours.subscribe.tag("From"));
    assert!(again.tag("To").is_none() && !again.has("Route"));
    assert_eq!((again.uri().as_str(), state(&rig, &ours)), (PEER_URI, State::NotifyWait));
}

fn a_late_notify_gets_481_and_a_repeated_one_its_200() {
    let (mut rig, ours) = established("active;expires=600");
    let last = ours.subscribe.notify(2, "terminated;reason=rejected");
    let first = rig.one(&last);
    rig.take();
    rig.idle(secs(3));
    assert_eq!(rig.one(&last), first);
    assert_eq!(rig.status(ours.subscribe.notify(3, "active;expires=600")), 481);
    assert!(rig.take().is_empty());
}

fn timer_n_closes_the_window_for_forks() {
    let mut rig = Rig::new();
    let request = Subscribe::new(PEER_URI, "message-summary").unwrap().expires(600).auto_refresh(false);
    let ours = rig.start(request);
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify_from("a", 1, "active;expires=600")), 200);
    rig.idle(secs(32) - Duration::from_nanos(1));
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 1, "active;expires=600")), 200);
    rig.idle(Duration::from_nanos(1));
    assert_eq!(rig.status(ours.subscribe.notify_from("c", 1, "active;expires=600")), 481);
    assert!(rig.ended().is_none());
    assert_eq!(rig.status(ours.subscribe.notify_from("b", 2, "active;expires=600")), 200);
}

fn a_204_to_the_unsubscribe_ends_it() {
    let (mut rig, ours) = established("active;expires=600");
    rig.endpoint.unsubscribe(rig.now, ours.id, Scope::This).unwrap();
    let unsubscribe = rig.drain().remove(0);
    rig.quiet(unsubscribe.answer("204 No Notification").add("Expires", "0"));
    assert_eq!(why(&mut rig), Ending::Unsubscribed);
}

fn an_unknown_state_at_first_is_pending() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    assert_eq!(rig.status(ours.subscribe.notify(1, "waiting;expires=600")), 200);
    assert_eq!(state(&rig, &ours), State::Pending);
    assert!(rig.take().iter().any(|e| matches!(e, Event::Notify { state: SubscriptionState::Unknown, .. })));
    assert_eq!(rig.refresh(&ours).tag("To").as_deref(), Some("theirs"));
}

fn a_refused_notify_makes_nothing() {
    let mut rig = Rig::new();
    let ours = rig.start(passive());
    rig.quiet(ours.subscribe.accepted(600));
    for (n, refused, code) in [
        (1, ours.subscribe.notify(1, "active").without("Subscription-State"), 400),
        (2, ours.subscribe.notify(1, "active").without("Contact"), 400),
        (3, ours.subscribe.notify(1, "active").body("text/html", "x"), 415),
        (4, ours.subscribe.notify(1, "active").add("Require", "100rel"), 420),
    ] {
        assert_eq!(rig.status(refused.branch(&format!("r{n}"))), code);
        assert_eq!(state(&rig, &ours), State::NotifyWait);
    }
    rig.idle(secs(32));
    assert_eq!(why(&mut rig), Ending::NoNotify);
}
