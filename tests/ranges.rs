//! Any clock, any duration, any T1 and T2: what the machines and the readers of
//! numbers do, against exact arithmetic in 128 bits. Nothing overflows, nothing
//! wraps, no timer is shorter than what was asked for.
//!
//! In a debug build 20,000 random cases of each kind, in release 1,000,000:
//! `cargo test --release --test ranges`.

use std::time::Duration;

use sip_events::Instant;
use sip_events::machine::notifier::{self, Grant, NotifyResult};
use sip_events::machine::subscriber::{self, Delivery, NotifyIn, Refresh, SubscribeResult};
use sip_events::machine::{ReasonCode, Substate, Timers, client_txn, server_txn};
use sip_events::wire::{HeaderName, MessageView, read};

const CASES: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
const LAST: u128 = Instant::FAR_FUTURE.as_nanos() as u128;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Up to `most`: of any magnitude, or at an edge.
    fn number(&mut self, most: u64) -> u64 {
        let value = match self.below(4) {
            0 => self.next(),
            1 => self.next() >> self.below(64),
            2 => (1u64 << self.below(64)).wrapping_add(self.below(3)).wrapping_sub(1),
            _ => most.wrapping_sub(self.below(3)),
        };
        if value > most { value % (most.max(1)) } else { value }
    }

    fn seconds(&mut self) -> u32 {
        u32::try_from(self.number(u64::from(u32::MAX))).unwrap()
    }

    /// Every clock that leaves 2^40 ns, some 18 minutes, and some that leave less.
    fn clock(&mut self) -> Instant {
        let most = if self.below(8) == 0 { u64::MAX } else { u64::MAX - (1 << 40) };
        Instant::from_nanos(self.number(most))
    }

    fn duration(&mut self) -> Duration {
        match self.below(8) {
            0 => Duration::new(self.number(u64::MAX), 999_999_999),
            1 => Duration::from_millis(500),
            _ => Duration::from_nanos(self.number(u64::MAX)),
        }
    }

    fn timers(&mut self) -> Timers {
        match self.below(4) {
            0 => Timers::default(),
            _ => Timers { t1: self.duration(), t2: self.duration(), t4: self.duration() },
        }
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }
}

fn nanos(at: Instant) -> u128 {
    u128::from(at.as_nanos())
}

/// The moment `wait` nanoseconds after `now`, or the last that there is.
fn after(now: Instant, wait: u128) -> u128 {
    nanos(now).saturating_add(wait).min(LAST)
}

fn after_seconds(now: Instant, seconds: u32) -> u128 {
    after(now, u128::from(seconds) * 1_000_000_000)
}

/// Covers: ADV-E21
#[test]
fn instants_are_exact_or_at_the_end() {
    let mut random = Random(1);
    for _ in 0..CASES {
        let (now, other, wait) = (random.clock(), random.clock(), random.duration());
        assert_eq!(nanos(now + wait), after(now, wait.as_nanos()));
        assert_eq!(nanos(now.saturating_sub(wait)), nanos(now).saturating_sub(wait.as_nanos()));
        assert_eq!((now - other).as_nanos(), nanos(now).saturating_sub(nanos(other)));
    }
}

/// Timer E is T1, then doubles up to T2; Timer F is 64*T1 (RFC 3261 17.1.2.2).
///
/// Covers: ADV-P27
#[test]
fn a_client_transaction_waits_as_long_as_it_is_told() {
    let mut random = Random(2);
    for case in 0..CASES {
        let (timers, now, reliable) = (random.timers(), random.clock(), random.yes());
        let mut machine = client_txn::Transaction::new(now, reliable, &timers);
        let end = after(now, timers.t1.as_nanos().saturating_mul(64).min(Duration::MAX.as_nanos()));
        let (mut last, mut interval) = (now, timers.t1.as_nanos());
        for turn in 0.. {
            // T2 may be anything: the rest of a long walk is like its start.
            if turn > 80 {
                break;
            }
            let at = machine.poll_timeout().unwrap();
            let fired = machine.handle_timeout(at, &timers);
            match fired {
                client_txn::Fired::Retransmit => {
                    assert!(!reliable);
                    assert!(nanos(at) >= after(last, interval), "case {case}: too early");
                    assert!(nanos(at) <= after(last, interval.max(1)), "case {case}: too late");
                    interval = interval.saturating_mul(2).min(timers.t2.as_nanos());
                    last = at;
                    // One nanosecond is the least.
                    assert!(machine.poll_timeout().is_none_or(|next| next > at || nanos(at) == LAST));
                }
                client_txn::Fired::TimedOut => {
                    assert_eq!(nanos(at), end, "case {case}");
                    assert_eq!(machine.poll_timeout(), None);
                    break;
                }
                other => panic!("case {case}: {other:?}"),
            }
            if nanos(at) == LAST && turn > 2 {
                break;
            }
        }
        // Timer K is T4.
        let mut machine = client_txn::Transaction::new(now, false, &timers);
        let then = now + random.duration();
        machine.handle_response(then, 200, &timers);
        let expected = (!timers.t4.is_zero()).then(|| after(then, timers.t4.as_nanos()));
        assert_eq!(machine.poll_timeout().map(nanos), expected, "case {case}");
    }
}

/// Timer J is 64*T1 from the answer (RFC 3261 17.2.2); no 100 before Timer E
/// has grown to T2 (RFC 4320 4.1).
///
/// Covers: ADV-P27
#[test]
fn a_server_transaction_answers_as_long_as_it_is_asked() {
    let mut random = Random(3);
    for case in 0..CASES {
        let (timers, now) = (random.timers(), random.clock());
        let end = timers.t1.as_nanos().saturating_mul(64).min(Duration::MAX.as_nanos());
        let mut machine = server_txn::Transaction::new(now, false, &timers);
        let (mut gate, mut interval) = (0u128, timers.t1.as_nanos());
        while interval < timers.t2.as_nanos() && interval > 0 {
            gate = gate.saturating_add(interval);
            interval = interval.saturating_mul(2);
        }
        let at = machine.poll_timeout().unwrap();
        match machine.handle_timeout(at, &timers) {
            server_txn::Fired::Send100 => assert_eq!(nanos(at), after(now, gate), "case {case}"),
            server_txn::Fired::Terminated => assert_eq!(nanos(at), after(now, end), "case {case}"),
            server_txn::Fired::Nothing => panic!("case {case}: nothing"),
        }
        let then = now + random.duration();
        let mut machine = server_txn::Transaction::new(now, false, &timers);
        assert_eq!(machine.respond(then, 200, &timers), Ok(()));
        let expected = (end > 0).then(|| after(then, end));
        assert_eq!(machine.poll_timeout().map(nanos), expected, "case {case}");
    }
}

/// A subscription lasts as long as the NOTIFY says, is refreshed before that
/// and never before the floor, and waits 64*T1 for what is owed.
///
/// Covers: PEER-B08, PEER-B09, ADV-E19
#[test]
fn a_subscriber_keeps_its_times() {
    let mut random = Random(4);
    for case in 0..CASES {
        let (timers, now) = (random.timers(), random.clock());
        let refresh = Refresh { auto: true, floor: random.duration(), jitter: random.next() as u16 };
        let ask = subscriber::Params { expires: random.seconds().max(1), default_expires: random.seconds(), refresh };
        let mut machine = subscriber::Subscription::new(&ask);
        assert_eq!(machine.poll_subscribe(now, &timers).map(|out| out.expires), Some(ask.expires));
        let timer_n = after(now, timers.t1.as_nanos().saturating_mul(64).min(Duration::MAX.as_nanos()));
        assert_eq!(machine.poll_timeout().map(nanos), Some(timer_n), "case {case}");
        let granted = random.seconds().max(1);
        machine.handle_subscribe_result(now, SubscribeResult::Accepted { expires: Some(granted) }, &timers);

        let then = now + Duration::from_nanos(random.number(1 << 40));
        let told = random.seconds();
        let input = NotifyIn { substate: Substate::Active, expires: Some(told), ..NotifyIn::default() };
        if machine.handle_notify(then, &input, &timers) == Delivery::Refused {
            // Timer N was first.
            assert!(timer_n <= nanos(then), "case {case}");
            continue;
        }
        assert_eq!(machine.deadline().map(nanos), Some(after_seconds(then, told)), "case {case}");
        check_refresh(&machine, then, now, &ask, told, case);

        // A refresh that fails is tried again when the peer said, not sooner.
        if machine.refresh(then, None).is_ok() && machine.poll_subscribe(then, &timers).is_some() {
            let wait = random.seconds();
            let failed = SubscribeResult::Failed { status: 503, retry_after: Some(wait) };
            machine.handle_subscribe_result(then, failed, &timers);
            if let Some((at, subscriber::TimerKind::Retry)) = machine.next_timer() {
                assert!(nanos(at) >= after_seconds(then, wait), "case {case}: sooner than Retry-After");
                assert!(machine.deadline().is_none_or(|end| at < end), "case {case}");
            }
        }
        // No timer lies behind, and they come to an end.
        let mut at = then;
        for turn in 0.. {
            assert!(turn < 400, "case {case}: no end");
            let Some(next) = machine.poll_timeout() else { break };
            at = next.max(at);
            machine.handle_timeout(at);
            if machine.poll_subscribe(at, &timers).is_some() {
                machine.handle_subscribe_result(at, SubscribeResult::TimedOut, &timers);
            }
        }
        assert_eq!(machine.state(), subscriber::State::Terminated, "case {case}");
    }
}

fn check_refresh(
    machine: &subscriber::Subscription,
    now: Instant,
    sent: Instant,
    ask: &subscriber::Params,
    told: u32,
    case: u32,
) {
    let (Some((at, kind)), Some(deadline)) = (machine.next_timer(), machine.deadline()) else { return };
    if kind != subscriber::TimerKind::Refresh || told == 0 {
        return;
    }
    assert!(at >= now && at < deadline, "case {case}: a refresh behind the end");
    // The floor holds but for the one try of a life that is too short for it.
    let floor = ask.refresh.floor.as_nanos().div_ceil(1_000_000).min(u128::from(u32::MAX)) * 1_000_000;
    let earliest = after(sent, floor);
    assert!(nanos(at) >= earliest || earliest >= nanos(deadline), "case {case}: below the floor");
    // Not in the first 40 % of what is left, or of what was asked for (INT-17).
    let left = ((deadline - now).as_nanos() * 2 / 5).saturating_sub(3);
    let early = after(now, left).min(after(sent, u128::from(ask.expires) * 400_000_000));
    assert!(nanos(at) >= early, "case {case}: too early");
}

/// What a notifier grants it keeps: the subscription lasts that long, no
/// NOTIFY claims more than is left, the throttle and Retry-After hold.
///
/// Covers: PEER-B08, PEER-B10, ADV-E19
#[test]
fn a_notifier_keeps_its_times() {
    let mut random = Random(5);
    for case in 0..CASES {
        let now = random.clock();
        let params = notifier::Params {
            granted: random.seconds(),
            decision: if random.yes() { Grant::Active } else { Grant::Pending },
            min_interval: random.duration(),
            give_up: random.yes().then(|| random.duration()),
            keep_on_timeout: random.yes(),
        };
        let mut machine = notifier::Subscription::new(now, &params);
        assert_eq!(nanos(machine.deadline()), after_seconds(now, params.granted), "case {case}");
        let first = machine.take_notify(now).unwrap();
        let left = (after_seconds(now, params.granted) - nanos(now)) / 1_000_000_000;
        match first.expires {
            Some(expires) => assert_eq!(u128::from(expires), left, "case {case}"),
            None => assert_eq!(left, 0, "case {case}"),
        }
        if machine.is_terminated() {
            continue;
        }
        let then = now + Duration::from_nanos(random.number(1 << 40));
        machine.handle_notify_result(now, first.seq, NotifyResult::Delivered);
        machine.mark_dirty(now);
        let throttle = params.min_interval.as_nanos().div_ceil(1_000_000).min(u128::from(u32::MAX)) * 1_000_000;
        if machine.wants_notify(then) == Some(notifier::Urgency::Change) {
            assert!(nanos(then) >= after(now, throttle), "case {case}: throttled too little");
        }
        let granted = random.seconds();
        if machine.handle_subscribe(then, granted).is_ok() && granted > 0 {
            assert_eq!(nanos(machine.deadline()), after_seconds(then, granted), "case {case}");
            let notify = machine.take_notify(then).unwrap();
            let left = (after_seconds(then, granted) - nanos(then)) / 1_000_000_000;
            assert_eq!(notify.expires.map_or(0, u128::from), left, "case {case}");
            let wait = random.seconds();
            machine.handle_notify_result(then, notify.seq, NotifyResult::Kept { retry_after: Some(wait) });
            if let Some((at, notifier::TimerKind::Retry)) = machine.next_timer() {
                assert!(nanos(at) >= after_seconds(then, wait), "case {case}: sooner than Retry-After");
            }
        }
        let seconds = random.seconds();
        let before = machine.deadline();
        match machine.shorten(then, seconds) {
            Ok(()) => assert_eq!(nanos(machine.deadline()), after_seconds(then, seconds), "case {case}"),
            Err(_) => assert_eq!(machine.deadline(), before, "case {case}"),
        }
        let _ = machine.terminate(then, ReasonCode::Probation, Some(seconds));
        for turn in 0.. {
            assert!(turn < 20, "case {case}: no end");
            let Some(at) = machine.poll_timeout() else { break };
            machine.handle_timeout(at.max(then));
            if let Some(notify) = machine.take_notify(at.max(then)) {
                machine.handle_notify_result(at.max(then), notify.seq, NotifyResult::Delivered);
            }
        }
    }
}

/// One field, whatever is asked for.
struct One<'a>(&'a [u8]);

impl MessageView for One<'_> {
    fn request_uri(&self) -> Option<&[u8]> {
        None
    }

    fn field(&self, _: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        (nth == 0).then_some(self.0)
    }

    fn body(&self) -> &[u8] {
        b""
    }
}

/// Numbers of up to 40 digits are what they say, the most that there is, or
/// refused; none is another number.
///
/// Covers: ADV-E19
#[test]
fn numbers_are_read_as_they_are_or_not_at_all() {
    let mut random = Random(6);
    for _ in 0..CASES {
        let mut value = u128::from(random.number(u64::MAX));
        if random.below(4) == 0 {
            value = value << 64 | u128::from(random.next());
        }
        let zeros = if random.below(4) == 0 { random.below(30) as usize } else { 0 };
        let text = format!("{}{value}", "0".repeat(zeros));
        let clamped = u32::try_from(value).unwrap_or(u32::MAX);
        let one = One(text.as_bytes());
        assert_eq!(read::expires(&one), Some(clamped), "{text}");
        assert_eq!(read::min_expires(&one), Some(clamped), "{text}");
        assert_eq!(read::retry_after(&one).map(|after| after.seconds), Some(clamped), "{text}");
        let state = format!("active;expires={text};retry-after={text}");
        let view = One(state.as_bytes());
        let state = read::subscription_state(&view).unwrap().unwrap();
        assert_eq!((state.expires, state.retry_after), (Some(clamped), Some(clamped)), "{text}");
        match read::max_forwards(&one) {
            Ok(read) => assert_eq!(read.map(u128::from), Some(value), "{text}"),
            Err(_) => assert!(value > 255 || zeros > 0, "{text}"),
        }
        match read::cseq(&One(format!("{text} NOTIFY").as_bytes())) {
            // 31 bits (RFC 3261 section 8.1.1.5).
            Ok(cseq) => assert_eq!(u128::from(cseq.number), value, "{text}"),
            Err(_) => assert!(value >= 1 << 31, "{text}"),
        }
    }
}
