//! Each state machine alone, under any order of inputs and any time.

use std::time::Duration;

use sip_events::Instant;
use sip_events::machine::notifier::{self, Grant, NotifyResult};
use sip_events::machine::subscriber::{self, NotifyIn, Outcome, Refresh, SubscribeResult};
use sip_events::machine::{ReasonCode, Substate, Timers, client_txn, responses, server_txn};

use super::choices::Choices;

const REASONS: [ReasonCode; 10] = [
    ReasonCode::Absent,
    ReasonCode::Deactivated,
    ReasonCode::Probation,
    ReasonCode::Rejected,
    ReasonCode::Timeout,
    ReasonCode::Giveup,
    ReasonCode::NoResource,
    ReasonCode::Invariant,
    ReasonCode::BadFilter,
    ReasonCode::Other,
];
const STATES: [Substate; 4] = [Substate::Active, Substate::Pending, Substate::Terminated, Substate::Other];

fn timers(c: &mut Choices<'_>) -> Timers {
    match c.below(4) {
        0..=2 => Timers::default(),
        // ADV-P27: any T1 and T2.
        _ => Timers { t1: c.duration(), t2: c.duration(), t4: c.duration() },
    }
}

/// One machine for one input.
pub(crate) fn machines(data: &[u8]) {
    let mut c = Choices(data);
    match c.below(4) {
        0 => subscriber(&mut c),
        1 => notifier(&mut c),
        2 => client(&mut c),
        _ => server(&mut c),
    }
}

fn subscriber(c: &mut Choices<'_>) {
    let timers = timers(c);
    let mut now = Instant::from_secs(u64::from(c.byte()));
    let refresh = Refresh { auto: c.yes(), floor: c.duration(), jitter: u16::from(c.byte()) << 8 };
    let ask = subscriber::Params { expires: c.number(), default_expires: c.number(), refresh };
    let mut machine = subscriber::Subscription::new(&ask);
    let (mut ended, mut sent) = (0, 0u32);
    let mut steps = 0;
    let mut most = 0;
    while !c.is_empty() && steps < 200 {
        steps += 1;
        let before = machine;
        most = most.max(machine.asked());
        match c.below(9) {
            0 => {
                if machine.poll_subscribe(now, &timers).is_some() {
                    sent += 1;
                }
            }
            1 => {
                let result = match c.below(8) {
                    0 => SubscribeResult::Provisional,
                    1 => SubscribeResult::Accepted { expires: c.maybe_number() },
                    2 => SubscribeResult::NoNotify { expires: c.maybe_number() },
                    3 => SubscribeResult::Retrying,
                    4 => SubscribeResult::TooBrief { min_expires: c.maybe_number() },
                    5 => {
                        let status = 300 + u16::from(c.byte()) + u16::from(c.byte());
                        SubscribeResult::Failed { status, retry_after: c.maybe_number() }
                    }
                    6 => SubscribeResult::TimedOut,
                    _ => SubscribeResult::TransportFailed,
                };
                machine.handle_subscribe_result(now, result, &timers);
            }
            2 => {
                let input = NotifyIn {
                    substate: c.of(&STATES),
                    expires: c.maybe_number(),
                    reason: c.of(&REASONS),
                    retry_after: c.maybe_number(),
                };
                machine.handle_notify(now, &input, &timers);
            }
            3 => {
                let at = c.moment(now, machine.poll_timeout());
                now = now.max(at);
                machine.handle_timeout(now);
                // ADV-E8: nothing is armed in the past.
                assert!(machine.poll_timeout().is_none_or(|at| at > now || now == Instant::FAR_FUTURE));
            }
            4 => {
                if machine.refresh(now, c.maybe_number()).is_err() {
                    same_state(&before, &machine);
                }
            }
            5 => {
                if machine.unsubscribe(now).is_err() {
                    same_state(&before, &machine);
                }
            }
            6 => {
                let _ = machine.resync(now);
            }
            7 => {
                machine = subscriber::Subscription::fork(now, &machine);
                ended = 0;
            }
            _ => machine.set_jitter(u16::from(c.byte()) << 8),
        }
        while let Some(outcome) = machine.poll_outcome() {
            match outcome {
                Outcome::Ended(_) => ended += 1,
                Outcome::Accepted { expires } => assert!(expires <= most.max(machine.asked())),
                _ => {}
            }
        }
        assert!(ended <= 1, "told once");
        // PEER-D01: nothing goes out of a dead one.
        if machine.state() == subscriber::State::Terminated {
            assert!(machine.poll_subscribe(now, &timers).is_none());
        }
    }
    assert!(sent <= 200);
    let _ = responses::after_refusal(u16::from(c.byte()) + 300, None, true);
}

fn same_state(before: &subscriber::Subscription, after: &subscriber::Subscription) {
    assert_eq!(before.state(), after.state());
    assert_eq!(before.is_ending(), after.is_ending());
}

fn notifier(c: &mut Choices<'_>) {
    let mut now = Instant::from_secs(u64::from(c.byte()));
    let params = notifier::Params {
        granted: c.number(),
        decision: if c.yes() { Grant::Pending } else { Grant::Active },
        min_interval: c.duration(),
        give_up: c.maybe_duration(),
        keep_on_timeout: c.yes(),
    };
    let mut machine = notifier::Subscription::new(now, &params);
    let (mut gone, mut terminal, mut seq) = (0, 0, 0);
    let mut steps = 0;
    while !c.is_empty() && steps < 200 {
        steps += 1;
        match c.below(8) {
            0 | 1 => {
                let wanted = machine.wants_notify(now);
                let out = machine.take_notify(now);
                assert_eq!(wanted.is_some(), out.is_some());
                if let Some(out) = out {
                    assert_eq!(terminal, 0, "nothing follows the last NOTIFY");
                    let over = out.substate == Substate::Terminated;
                    // PEER-B10: what is left is never more than was granted, and never 0.
                    assert_eq!(out.expires.is_none(), over);
                    assert!(out.expires.is_none_or(|left| left > 0));
                    assert!(out.retry_after.is_none() || over);
                    terminal += i32::from(over);
                    seq = out.seq;
                }
            }
            2 => {
                let result = match c.below(6) {
                    0 => NotifyResult::Delivered,
                    1 => NotifyResult::Retry,
                    2 => NotifyResult::Kept { retry_after: c.maybe_number() },
                    3 => NotifyResult::Ended,
                    4 => NotifyResult::TimedOut,
                    _ => NotifyResult::TransportFailed,
                };
                let named = if c.yes() { seq } else { c.number() };
                // A failed last NOTIFY may be asked to go out again.
                let retry = result == NotifyResult::Retry && named == seq;
                machine.handle_notify_result(now, named, result);
                if retry {
                    terminal = 0;
                }
            }
            3 => {
                let at = c.moment(now, machine.poll_timeout());
                now = now.max(at);
                machine.handle_timeout(now);
                assert!(machine.poll_timeout().is_none_or(|at| at > now || now == Instant::FAR_FUTURE));
            }
            4 => {
                let granted = c.number();
                if machine.handle_subscribe(now, granted).is_ok() && granted > 0 && granted < u32::MAX {
                    assert!(machine.deadline() <= now.saturating_add(Duration::from_secs(u64::from(granted))));
                }
            }
            5 => {
                let _ = machine.terminate(now, c.of(&REASONS), c.maybe_number());
            }
            6 => {
                let _ = if c.yes() { machine.approve(now) } else { machine.shorten(now, c.number()) };
            }
            _ => machine.mark_dirty(now),
        }
        while machine.poll_outcome().is_some() {
            gone += 1;
        }
        assert!(gone <= 1, "told once");
        if machine.is_gone() {
            assert!(machine.take_notify(now).is_none(), "PEER-D06");
            assert!(machine.poll_timeout().is_none());
        }
    }
}

fn client(c: &mut Choices<'_>) {
    let (timers, reliable) = (timers(c), c.yes());
    let mut now = Instant::from_secs(1);
    let mut machine = client_txn::Transaction::new(now, reliable, &timers);
    let (mut finals, mut ends, mut steps) = (0, 0, 0);
    while !c.is_empty() && steps < 200 {
        steps += 1;
        let state = machine.state();
        match c.below(3) {
            0 => {
                let status = 100 + u16::from(c.byte()) * 3;
                let deliver = machine.handle_response(now, status, &timers) == client_txn::ToUser::Deliver;
                finals += i32::from(deliver && status >= 200);
                assert!(finals <= 1, "one final response");
            }
            1 => {
                let at = c.moment(now, machine.poll_timeout());
                now = now.max(at);
                match machine.handle_timeout(now, &timers) {
                    client_txn::Fired::Retransmit => assert!(!reliable && finals == 0),
                    client_txn::Fired::TimedOut => ends += 1,
                    _ => {}
                }
            }
            _ => machine.handle_transport_error(),
        }
        assert!(ends + finals <= 1);
        assert!(machine.state() as u8 >= state as u8, "it never goes back");
    }
}

fn server(c: &mut Choices<'_>) {
    let (timers, reliable) = (timers(c), c.yes());
    let mut now = Instant::from_secs(1);
    let mut machine = server_txn::Transaction::new(now, reliable, &timers);
    let (mut finals, mut steps) = (0, 0);
    while !c.is_empty() && steps < 200 {
        steps += 1;
        let state = machine.state();
        match c.below(4) {
            0 => {
                let status = 100 + u16::from(c.byte()) * 3;
                let taken = machine.respond(now, status, &timers).is_ok();
                finals += i32::from(taken && status >= 200);
                assert!(finals <= 1);
            }
            1 => {
                let at = c.moment(now, machine.poll_timeout());
                now = now.max(at);
                machine.handle_timeout(now, &timers);
            }
            2 => {
                let again = machine.handle_retransmission(now);
                if again == server_txn::Again::ResendFinal {
                    assert_eq!(finals, 1);
                }
            }
            _ => machine.handle_transport_error(),
        }
        assert!(machine.state() as u8 >= state as u8, "it never goes back");
    }
}
