//! Every reason and every status, end to end: what goes out within a day or
//! an hour.

use super::rig::{PEER, Rig, Sent, field, udp};
use crate::agent::Subscribe;
use crate::event::{Ending, Event, Gone};
use crate::package::Body;
use crate::{Dialect, Failure, NotifyTimeout, Retry};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const FATAL: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap()
}

/// What the peer does with a first SUBSCRIBE.
#[derive(Debug, Clone, Copy)]
enum First<'a> {
    /// Accepts, then ends it at once with this Subscription-State.
    End(&'a str),
    /// Answers with this status and these field lines.
    Answer(u16, &'a str),
    /// Says nothing; the stack gives up.
    Silence,
}

/// Runs for `time` against a peer that treats every SUBSCRIBE outside a dialog
/// alike; the seconds from the start at which they came. The first `seen`
/// requests are older.
fn attempts(rig: &mut Rig, mut seen: usize, time: Duration, first: First<'_>) -> Vec<u64> {
    let (start, end) = (rig.now, rig.now + time);
    let mut times = Vec::new();
    loop {
        rig.drain();
        while let Some(sent) = rig.sent.get(seen).cloned() {
            seen += 1;
            assert!(!field(&sent.text, "To").contains("tag="), "{}", sent.text);
            assert_eq!(sent.at, rig.now);
            times.push((rig.now - start).as_secs());
            assert!(times.len() < 1000, "{first:?}: a storm");
            answer(rig, &sent, first);
        }
        let Some(at) = rig.agent.poll_timeout().filter(|at| *at <= end) else { break };
        rig.now = at.max(rig.now);
        rig.agent.handle_timeout(rig.now);
    }
    rig.now = end;
    times
}

fn answer(rig: &mut Rig, sent: &Sent, first: First<'_>) {
    match first {
        First::End(state) => {
            rig.respond(sent, 200, "Expires: 3600\r\n");
            assert_eq!(rig.notify(sent, "peer", 1, "active;expires=3600").status, 200);
            assert_eq!(rig.notify(sent, "peer", 2, state).status, 200);
        }
        First::Answer(status, fields) => rig.respond(sent, status, fields),
        First::Silence => rig.fail(sent, Failure::Timeout),
    }
}

fn ended(rig: &Rig) -> Vec<(Ending, Retry)> {
    let end = |event: &Event| match event {
        Event::Terminated { why, retry, .. } => Some((why.clone(), *retry)),
        _ => None,
    };
    rig.events.iter().filter_map(end).collect()
}

/// A day after a subscription was ended for each reason, by a peer that ends
/// every new one for the same reason.
/// Covers: 6665-RSN-1, 6665-RSN-2, 6665-RSN-3, 6665-RSN-4, 6665-RSN-5, 6665-RSN-6, 6665-RSN-7, 6665-RSN-8,
/// 6665-RSN-9, 6665-RSN-10, PEER-D12, PEER-D16, PEER-D17, PEER-D18
#[test]
fn every_reason_within_a_day() {
    const DAY: Duration = Duration::from_secs(86_400);
    // The least wait before the first new attempt, without and with retry-after=600;
    // `None` where none may follow.
    let rows: [(&str, Option<u64>, Option<u64>); 10] = [
        (";reason=deactivated", Some(0), Some(0)),
        (";reason=probation", Some(2), Some(600)),
        (";reason=rejected", None, None),
        (";reason=timeout", Some(2), Some(2)),
        (";reason=giveup", Some(2), Some(600)),
        (";reason=noresource", None, None),
        (";reason=invariant", None, None),
        (";reason=badfilter", None, None),
        (";reason=Zz-9", Some(2), Some(600)),
        ("", Some(2), Some(600)),
    ];
    for (reason, without, with) in rows {
        for (retry_after, least) in [("", without), (";retry-after=600", with)] {
            for case in [str::to_string, |s: &str| s.to_uppercase()] {
                let state = case(&format!("terminated{reason}{retry_after}"));
                let mut rig = Rig::new();
                let (_, sent) = rig.established(bob());
                let seen = rig.sent.len();
                assert_eq!(rig.notify(&sent, "peer", 2, &state).status, 200);
                let times = attempts(&mut rig, seen, DAY, First::End(&state));
                let Some(least) = least else {
                    assert_eq!(times, [], "{state}");
                    assert!(matches!(ended(&rig)[..], [(Ending::ByNotifier { .. }, Retry::Never)]), "{state}");
                    continue;
                };
                let first = *times.first().unwrap_or_else(|| panic!("{state}: no attempt"));
                assert!((least..=least + least / 4 + 1).contains(&first), "{state}: {times:?}");
                // Never closer than was asked for, or than the floor; never a storm.
                let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
                let shortest = gaps.clone().min().unwrap();
                assert!(shortest >= least.max(2), "{state}: {times:?}");
                assert!((40..=150).contains(&times.len()), "{state}: {} attempts", times.len());
                let hour = |from: u64| times.iter().filter(|t| (from..from + 3600).contains(*t)).count();
                assert!((0..24).all(|n| hour(n * 3600) <= 30), "{state}");
                assert_eq!(ended(&rig), [], "{state}");
            }
        }
    }
}

/// Covers: 6665-4.1.2.1-4, 6665-4.1.2.1-5, 6665-SSM-8, 6665-RSP-3, 6665-RSP-4, 6665-RSP-5, 6665-RSP-6,
/// 6665-RSP-7, 6665-RSP-8, 6665-RSP-9, 6665-RSP-10, 6665-RSP-11, 6665-RSP-12, 6665-RSP-13, PEER-D15, PEER-A15,
/// PEER-E01, PEER-B20
#[test]
fn every_status_to_a_first_subscribe_within_an_hour() {
    for status in 300..=699 {
        for fields in ["", "Retry-After: 60\r\n", "Min-Expires: 7200\r\n", "WWW-Authenticate: Digest realm=\"a\"\r\n"] {
            let mut rig = Rig::new();
            let id = rig.agent.subscribe(rig.now, bob()).unwrap();
            let times = attempts(&mut rig, 0, HOUR, First::Answer(status, fields));
            // One 423 that can be met is; nothing else is tried again.
            let most = if status == 423 && fields.starts_with("Min") { 2 } else { 1 };
            assert_eq!(times.len(), most, "{status} {fields}");
            assert!(rig.agent.subscription(id).is_err());
            assert_eq!(rig.agent.attempts.len(), 0);
            let ended = ended(&rig);
            let [(why, _)] = &ended[..] else { panic!("{status}: {ended:?}") };
            match why {
                Ending::Refused { status: told, .. } => assert_eq!(told.as_u16(), status),
                Ending::NoAnswer(Failure::Timeout) => assert_eq!(status, 408),
                other => panic!("{status}: {other:?}"),
            }
        }
    }
    let mut rig = Rig::new();
    rig.agent.subscribe(rig.now, bob()).unwrap();
    assert_eq!(attempts(&mut rig, 0, HOUR, First::Silence).len(), 1);
    assert!(matches!(ended(&rig)[..], [(Ending::NoAnswer(Failure::Timeout), Retry::Allowed)]));
}

/// The subscription has 600 seconds; every refresh is answered with the status.
/// Covers: 6665-4.1.2.2-2, 6665-4.1.2.2-4, 6665-SSM-19, 6665-SSM-20, 6665-RSP-8, 6665-RSP-9, 6665-RSP-11,
/// 6665-RSP-12, 6665-RSP-13, INT-1, INT-8, PEER-D19, PEER-A16
#[test]
fn every_status_to_a_refresh_within_an_hour() {
    for status in 300..=699 {
        let mut rig = Rig::new();
        let (id, sent) = rig.subscribe(bob().expires(600).auto_resubscribe(false));
        rig.respond(&sent, 200, "Expires: 600\r\n");
        assert_eq!(rig.notify(&sent, "peer", 1, "active;expires=600").status, 200);
        let (start, mut seen, mut count) = (rig.now, rig.sent.len(), 0);
        let mut over = None;
        while let Some(at) = rig.agent.poll_timeout().filter(|at| *at <= start + HOUR) {
            rig.now = at.max(rig.now);
            rig.agent.handle_timeout(rig.now);
            rig.drain();
            while let Some(refresh) = rig.sent.get(seen).cloned() {
                seen += 1;
                count += 1;
                assert!(count < 100, "{status}: a storm");
                assert!(rig.now - start < SECOND * 600, "{status}: a SUBSCRIBE in a dead dialog");
                rig.respond(&refresh, status, "");
                if !FATAL.contains(&status) {
                    let state = format!("active;expires={}", 600 - (rig.now - start).as_secs());
                    let cseq = 1 + u32::try_from(count).unwrap();
                    let alive = rig.notify(&sent, "peer", cseq, &state).status;
                    assert_eq!(alive, 200, "{status}: it has to live on");
                }
            }
            if over.is_none() && rig.agent.subscription(id).is_err() {
                over = Some((rig.now - start).as_secs());
            }
        }
        let ended = ended(&rig);
        let [(why, _)] = &ended[..] else { panic!("{status}: {ended:?}") };
        if FATAL.contains(&status) {
            assert_eq!(count, 1, "{status}");
            assert!(matches!(why, Ending::Refused { status: s, .. } if s.as_u16() == status), "{status}");
            assert!(over.unwrap() < 600, "{status}");
        } else {
            assert!((1..=20).contains(&count), "{status}: {count}");
            assert_eq!(*why, Ending::Expired, "{status}");
            assert!((599..=601).contains(&over.unwrap()), "{status}: {over:?}");
            let failed = rig.events.iter().filter(|e| matches!(e, Event::RefreshFailed { .. })).count();
            assert_eq!(failed, count, "{status}");
        }
    }
}

/// A refresh that ends the subscription leads to at most one new attempt where
/// the new one is refused alike, and to none where that makes no sense.
/// Covers: PEER-A15, PEER-A16, PEER-D15, 6665-4.1.2.2-3
#[test]
fn every_fatal_status_to_a_refresh_and_what_follows() {
    for status in FATAL {
        let mut rig = Rig::new();
        let (id, sent) = rig.established(bob());
        rig.agent.refresh(rig.now, id, None).unwrap();
        let refresh = rig.drain().pop().unwrap();
        let seen = rig.sent.len();
        rig.respond(&refresh, status, "");
        let times = attempts(&mut rig, seen, HOUR, First::Answer(status, ""));
        // These speak of the device behind the Contact, not of the resource.
        let device = matches!(status, 404 | 410 | 480..=483);
        let expected = match status {
            480 => 9..=11,
            _ if device => 1..=1,
            _ => 0..=0,
        };
        assert!(expected.contains(&times.len()), "{status}: {times:?}");
        assert!(times.iter().all(|t| *t >= 2), "{status}: never at once");
        for again in rig.sent.iter().filter(|s| s.at > refresh.at) {
            assert_ne!(field(&again.text, "Call-ID"), field(&sent.text, "Call-ID"));
            assert_ne!(field(&again.text, "From"), field(&sent.text, "From"));
        }
    }
}

/// What a status to the first NOTIFY leaves of the watcher.
/// Covers: 6665-NRC-1, 6665-NRC-3, 6665-NRC-4, 6665-NRC-5, 6665-NRC-6, 6665-NRC-7, 6665-NRC-8, 6665-NRC-9,
/// 6665-NRC-10, 6665-NRC-11, 6665-NRC-12, 6665-NRC-13, 6665-NRC-14, 6665-NRC-15, 6665-NRC-16, 6665-NRC-17,
/// 6665-NRC-18, 6665-NRC-19, 6665-NRC-20, 6665-NRC-21, 6665-4.2.2-4, 6665-4.2.2-5, 6665-NSM-16, PEER-D20,
/// ADV-N7, ADV-E23
#[test]
fn every_status_to_a_notify() {
    for status in 200..=699u16 {
        for (dialect, fields) in
            [(Dialect::Rfc6665, ""), (Dialect::Rfc6665, "Retry-After: 60\r\n"), (Dialect::Rfc3265, "")]
        {
            let mut rig = Rig::configured(|mut config| {
                config.policy.dialect = dialect;
                config
            });
            let resource = rig.resource("sip:me@192.0.2.1");
            rig.agent.set_state(rig.now, resource, Body::from_static("application/pidf+xml", b"<a/>")).unwrap();
            rig.watched(udp(PEER), "c1");
            let notify = rig.sent.last().unwrap().clone();
            rig.respond(&notify, status, fields);
            let kept = match dialect {
                Dialect::Rfc6665 => status != 408 && !FATAL.contains(&status),
                Dialect::Rfc3265 => status < 300 || matches!(status, 401 | 407),
            };
            assert_eq!(rig.agent.counts().1, u32::from(kept), "{dialect:?} {status}");
            let again = rig.pass(HOUR / 2).first().cloned();
            if !kept {
                let gone = rig.events.iter().filter(|e| matches!(e, Event::WatcherGone { .. })).count();
                assert_eq!(gone, 1, "{status}");
                assert!(again.is_none(), "{status}: no NOTIFY to a watcher that is gone");
                assert_eq!(rig.agent.flows.len(), 0);
            } else if status < 300 {
                assert!(again.is_none(), "{status}: repeated though delivered");
            } else {
                // It is said again: after Retry-After, or a back-off; with the next CSeq.
                let again = again.unwrap_or_else(|| panic!("{status}: never said again"));
                let wait = (again.at - notify.at).as_secs();
                assert!(if fields.is_empty() { wait >= 5 } else { wait >= 60 }, "{status}: {wait}");
                let cseq =
                    |sent: &Sent| -> u32 { field(&sent.text, "CSeq").split(' ').next().unwrap().parse().unwrap() };
                assert_eq!(cseq(&again), cseq(&notify) + 1);
                assert!(again.text.ends_with("<a/>"));
            }
        }
    }
}

/// Covers: 6665-NRC-3, 6665-4.2.2-4, INT-11, PEER-D21, PEER-D06
#[test]
fn a_notify_without_answer_follows_the_policy() {
    for why in [Failure::Timeout, Failure::Transport, Failure::Unresolved] {
        for policy in [NotifyTimeout::Remove, NotifyTimeout::Keep] {
            let mut rig = Rig::configured(|mut config| {
                config.policy.notify_timeout = policy;
                config
            });
            let resource = rig.resource("sip:me@192.0.2.1");
            rig.watched(udp(PEER), "c1");
            let notify = rig.sent.last().unwrap().clone();
            rig.fail(&notify, why);
            rig.agent.set_state(rig.now, resource, Body::from_static("application/pidf+xml", b"<b/>")).unwrap();
            let later = rig.pass(SECOND * 10);
            if policy == NotifyTimeout::Keep {
                assert_eq!(later.len(), 1, "{why:?}");
                assert!(later[0].text.ends_with("<b/>"));
            } else {
                assert_eq!(later.len(), 0, "{why:?}");
                let told = rig.events.iter().any(|e| matches!(e, Event::WatcherGone { why: Gone::NoAnswer(_), .. }));
                assert!(told);
            }
        }
    }
}

/// A terminal NOTIFY that fails is the end all the same.
/// Covers: 6665-NRC-22, 6665-NSM-18, 6665-NSM-19, 6665-NSM-20
#[test]
fn every_status_to_the_last_notify_ends_it() {
    for status in 200..=699u16 {
        let mut rig = Rig::new();
        rig.resource("sip:me@192.0.2.1");
        let mut peer = rig.watched(udp(PEER), "c1");
        let bye = peer.refresh(0);
        assert_eq!(rig.receive(udp(PEER), &bye).status, 200);
        let last = rig.sent.last().unwrap().clone();
        assert_eq!(field(&last.text, "Subscription-State"), "terminated;reason=timeout");
        let late = peer.refresh(60);
        assert_eq!(rig.receive(udp(PEER), &late).status, 481);
        rig.respond(&last, status, "");
        assert_eq!(rig.agent.counts().1, 0, "{status}");
        assert_eq!(rig.pass(HOUR).len(), 0, "{status}");
        let late = peer.refresh(60);
        assert_eq!(rig.receive(udp(PEER), &late).status, 481);
        let gone = rig.events.iter().filter(|e| matches!(e, Event::WatcherGone { .. })).count();
        assert_eq!(gone, 1, "{status}");
    }
}
