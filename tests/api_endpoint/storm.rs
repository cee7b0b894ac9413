//! A peer that answers every request in the same unhelpful way, for hours:
//! how many requests that leads to.

use std::collections::HashSet;
use std::time::Duration;

use sip_events::digest::{Credentials, Secret};
use sip_events::wire::{HeaderName, Method};
use sip_events::{Body, Subscribe};

use crate::kit::{Kit, Request, Sent, peer};
use crate::peer::{establish, notify, watched};

const HOURS: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);
/// Requests of one subscription in one hour, whatever the peer refuses:
/// `Limits::retries_per_hour` new attempts, and for each a refresh that is
/// repeated for as long as the grant lasts.
const MOST: usize = 124;

/// How long the notifier's side is looked at.
const SECONDS: usize = 1_200;

type Answers<'a> = dyn FnMut(&Sent) -> Vec<Vec<u8>> + 'a;

/// Lets hours pass; the distinct requests of `method` in each of them.
fn hours(kit: &mut Kit, method: Method<'_>, first: Vec<Sent>, answers: &mut Answers<'_>) -> [usize; HOURS] {
    let start = kit.now;
    let mut counts = [0; HOURS];
    let mut seen = HashSet::new();
    let mut queue = first;
    loop {
        while let Some(sent) = queue.pop() {
            if sent.message().method() != Some(method) {
                continue;
            }
            let hour = (kit.now - start).as_secs() / 3600;
            let count = &mut counts[hour as usize];
            *count += usize::from(seen.insert(sent.branch()));
            assert!(*count < 20_000, "a storm in hour {hour}");
            for answer in answers(&sent) {
                queue.extend(kit.feed(sent.flow, answer));
            }
        }
        kit.events.clear();
        let end = start + HOUR * HOURS as u32;
        let Some(at) = kit.endpoint.poll_timeout().filter(|at| *at < end) else { return counts };
        kit.now = at;
        kit.endpoint.handle_timeout(at);
        queue = kit.drain();
    }
}

fn bob() -> Subscribe {
    let credentials = Credentials::new("alice", Secret::password("wrong")).unwrap();
    Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600).credentials(credentials).unwrap()
}

/// A status, and field lines in which `#` is a number that rises.
const REFUSALS: [(&str, &str); 25] = [
    ("401 Unauthorized", ""),
    ("401 Unauthorized", "WWW-Authenticate: \r\n"),
    ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\r\n"),
    ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n#\"\r\n"),
    ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n#\", stale=true\r\n"),
    ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x#\", nonce=\"n#\", qop=\"auth\"\r\n"),
    ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n#\", algorithm=NEW\r\n"),
    ("407 Proxy", "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n#\"\r\n"),
    (
        "407 Proxy",
        "Proxy-Authenticate: Digest realm=\"x#\", nonce=\"n#\"\r\nProxy-Authenticate: Digest realm=\"y#\", nonce=\"n\"\r\n",
    ),
    ("423 Too Brief", ""),
    ("423 Too Brief", "Min-Expires: 1\r\n"),
    ("423 Too Brief", "Min-Expires: 9#\r\n"),
    ("423 Too Brief", "Min-Expires: 4294967295\r\n"),
    ("481 Gone", ""),
    ("503 Busy", ""),
    ("503 Busy", "Retry-After: 0\r\n"),
    ("503 Busy", "Retry-After: nonsense\r\n"),
    ("500 Sorry", "Retry-After: 0\r\n"),
    ("480 Unavailable", ""),
    ("408 Timeout", ""),
    ("404 Not Found", ""),
    ("302 Moved", "Contact: <sip:bob@198.51.100.7:5080>\r\n"),
    ("302 Moved", "Contact: <sip:b#@198.51.100.7:5080>\r\n"),
    ("302 Moved", "Contact: <sip:c#@203.0.113.1>, <sip:d#@203.0.113.2>, <sip:e#@203.0.113.3>\r\n"),
    ("305 Use Proxy", "Contact: <sip:p#@203.0.113.1>\r\n"),
];

/// One request: three times with credentials, `Limits::redirects` times
/// elsewhere, and once with a longer Expires.
const REPEATED: usize = 1 + 3 + 5 + 1;

/// Each request may be repeated with credentials, or go to `Limits::redirects`
/// other addresses.
fn bound(status: &str) -> usize {
    match status.as_bytes()[0] {
        b'3' => MOST * 6,
        b'4' => MOST * 4,
        _ => MOST,
    }
}

fn refuse(sent: &Sent, status: &str, fields: &str, number: &mut u32) -> Vec<u8> {
    *number += 1;
    sent.answer(status, &fields.replace('#', &number.to_string()))
}

#[test]
fn a_first_subscribe_that_is_refused_for_ever() {
    for (status, fields) in REFUSALS {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob());
        let mut number = 0;
        let counts =
            hours(&mut kit, Method::Subscribe, first, &mut |sent| vec![refuse(sent, status, fields, &mut number)]);
        // Nothing was there to be kept up: the application decides.
        assert!(counts[0] <= 6, "{status} {fields}: {counts:?}");
        assert_eq!(counts[1..], [0; HOURS - 1], "{status} {fields}");
    }
}

/// Refusals that lead to a repetition each, in any order: what one leads to
/// does not make room for the others.
///
/// Covers: ADV-P22, 3261-22.1-3
#[test]
fn refusals_of_all_kinds_in_turn() {
    let kinds = [
        ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x#\", nonce=\"n#\", qop=\"auth\"\r\n"),
        ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n#\", stale=true, qop=\"auth\"\r\n"),
        ("407 Proxy", "Proxy-Authenticate: Digest realm=\"y#\", nonce=\"n#\", qop=\"auth\"\r\n"),
        ("302 Moved", "Contact: <sip:b#@198.51.100.7:5080>\r\n"),
        ("423 Too Brief", "Min-Expires: 90#\r\n"),
    ];
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize
    };
    let mut worst = 0;
    for run in 0..400 {
        let mut number = 0;
        // The most that can be had; in turn, from any of them on and in any steps; then by chance.
        let mut next = |n: u32| match run {
            0 => kinds[[4, 3, 0, 3, 2, 3, 2, 3, 3][n as usize % 9]],
            1..25 => kinds[(run + n as usize * (run / 5)) % kinds.len()],
            _ => kinds[random() % kinds.len()],
        };
        let mut answers = |sent: &Sent| {
            let (status, fields) = next(number);
            vec![refuse(sent, status, fields, &mut number)]
        };
        let mut kit = Kit::new();
        let first = kit.subscribe(bob());
        if run % 2 == 0 {
            let counts = hours(&mut kit, Method::Subscribe, first, &mut answers);
            assert!(counts[0] <= REPEATED && counts[1..] == [0; HOURS - 1], "{counts:?}");
            worst = worst.max(counts[0]);
        } else if run < 50 {
            establish(&mut kit, &first[0], "");
            let counts = hours(&mut kit, Method::Subscribe, Vec::new(), &mut answers);
            assert!(counts.iter().all(|count| *count <= MOST * REPEATED), "{counts:?}");
        }
    }
    assert_eq!(worst, REPEATED, "the bound is reached");
}

#[test]
fn refreshes_that_are_refused_for_ever() {
    for (status, fields) in REFUSALS {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob()).remove(0);
        establish(&mut kit, &first, "");
        let mut number = 0;
        let counts =
            hours(&mut kit, Method::Subscribe, Vec::new(), &mut |sent| vec![refuse(sent, status, fields, &mut number)]);
        assert!(counts.iter().all(|count| *count <= bound(status)), "{status} {fields}: {counts:?}");
    }
}

#[test]
fn every_other_request_is_refused() {
    for (status, fields) in REFUSALS {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob());
        let mut number = 0;
        let counts = hours(&mut kit, Method::Subscribe, first, &mut |sent| {
            if sent.field(HeaderName::To).contains("tag=") {
                return vec![refuse(sent, status, fields, &mut number)];
            }
            let accepted = sent.answer("200 OK", "Expires: 60\r\nContact: <sip:bob@198.51.100.7:5080>\r\n");
            vec![accepted, notify(sent, 1, "active;expires=60", "")]
        });
        assert!(counts.iter().all(|count| *count <= bound(status)), "{status} {fields}: {counts:?}");
    }
}

#[test]
fn a_notifier_that_says_nothing_or_never_a_notify() {
    for answer in [None, Some("200 OK"), Some("202 Accepted"), Some("100 Trying"), Some("204 None")] {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob()).remove(0);
        establish(&mut kit, &first, "");
        let counts = hours(&mut kit, Method::Subscribe, Vec::new(), &mut |sent| {
            let contact = "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n";
            answer.map(|answer| sent.answer(answer, contact)).into_iter().collect()
        });
        assert!(counts.iter().all(|count| *count <= MOST), "{answer:?}: {counts:?}");
    }
}

#[test]
fn subscriptions_that_are_ended_as_soon_as_they_are_made() {
    let reasons = [
        "",
        ";reason=deactivated",
        ";reason=probation",
        ";reason=rejected",
        ";reason=timeout",
        ";reason=giveup",
        ";reason=noresource",
        ";reason=invariant",
        ";reason=badfilter",
        ";reason=other",
    ];
    for reason in reasons {
        for wait in ["", ";retry-after=0", ";retry-after=1", ";retry-after=nonsense"] {
            // In the NOTIFY that makes the subscription, and in the one after it.
            for lived in [false, true] {
                let state = format!("terminated{reason}{wait}");
                let mut kit = Kit::new();
                let first = kit.subscribe(bob());
                let counts = hours(&mut kit, Method::Subscribe, first, &mut |sent| {
                    let contact = "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n";
                    let mut out = vec![sent.answer("200 OK", contact)];
                    if lived {
                        out.push(notify(sent, 1, "active;expires=600", ""));
                    }
                    out.push(notify(sent, 2, &state, ""));
                    out
                });
                assert!(counts.iter().all(|count| *count <= MOST), "{state}: {counts:?}");
            }
        }
    }
}

/// A notifier that accepts may ask for refreshes by granting little: for one in
/// a second, and no more; below that the subscription runs out, and the budget
/// of new attempts counts.
#[test]
fn grants_that_are_too_short() {
    for (grant, most) in [(1, 2 * MOST), (2, 3_600), (10, 3_600)] {
        let mut kit = Kit::new();
        let first = kit.subscribe(bob());
        let (mut number, state) = (0, format!("active;expires={grant}"));
        let fields = format!("Expires: {grant}\r\nContact: <sip:bob@198.51.100.7:5080>\r\n");
        let counts = hours(&mut kit, Method::Subscribe, first, &mut |sent| {
            number += 1;
            vec![sent.answer("200 OK", &fields), notify(sent, number, &state, "")]
        });
        assert!(counts.iter().all(|count| *count <= most), "{grant}: {counts:?}");
    }
}

/// The other side: a watcher that refuses every NOTIFY, of a resource that
/// changes every second.
#[test]
fn notifies_that_are_refused_for_ever() {
    for (status, fields) in REFUSALS {
        for changing in [false, true] {
            let mut kit = Kit::notifier();
            let mut request = Request::subscribe("s1");
            request.more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\nExpires: 3000\r\n";
            let credentials = Credentials::new("bob", Secret::password("wrong")).unwrap();
            kit.endpoint.set_credentials(vec![credentials]).unwrap();
            let first = watched(&mut kit, &request, peer());
            let bob = kit.endpoint.resources().next().unwrap();
            let mut number = 0;
            let mut answers = |sent: &Sent| vec![refuse(sent, status, fields, &mut number)];
            let mut queue = vec![first];
            let (mut total, mut seen) = (0, HashSet::new());
            for second in 0..SECONDS {
                while let Some(sent) = queue.pop() {
                    total += usize::from(seen.insert(sent.branch()));
                    for answer in answers(&sent) {
                        queue.extend(kit.feed(sent.flow, answer));
                    }
                }
                if changing {
                    let body = Body::new("application/pidf+xml", format!("<presence>{second}</presence>"));
                    kit.endpoint.set_state(kit.now, bob, body).unwrap();
                    queue.extend(kit.drain());
                }
                queue.extend(kit.run_millis(1_000).into_iter().map(|(_, sent)| sent));
                kit.events.clear();
            }
            // The package's rate is one in five seconds; each may be asked for twice, or sent elsewhere.
            let each = if status.starts_with(['3', '4']) { 6 } else { 1 };
            let most = if changing { each * (SECONDS / 5 + 2) } else { each * MOST };
            assert!(total <= most, "{status} {fields}, changing {changing}: {total}");
        }
    }
}
