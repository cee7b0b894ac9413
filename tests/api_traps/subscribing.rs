//! The subscriber's side: sections A to E.

use std::time::Duration;

use sip_events::wire::HeaderName;
use sip_events::{Config, Ending, Event, Flow, Handled, Instant, Limits, Retry, Scope, Subscribe, SubscriptionId};

use crate::kit::{Kit, LOCAL, Sent, addr};

const BOB: &str = "sip:bob@203.0.113.9";

fn far() -> Flow {
    Flow::udp(addr(LOCAL), addr("203.0.113.9:5060"))
}

/// A NOTIFY of the scripted notifier.
struct Notify<'a> {
    tag: &'a str,
    cseq: u32,
    state: &'a str,
    event: &'a str,
    contact: &'a str,
    more: &'a str,
}

const fn notify(tag: &str, cseq: u32) -> Notify<'_> {
    Notify { tag, cseq, state: "active", event: "presence", contact: BOB, more: "" }
}

impl Notify<'_> {
    /// In the dialog of `first`, our SUBSCRIBE.
    fn of(&self, first: &Sent) -> Vec<u8> {
        let Self { tag, cseq, state, event, contact, more } = self;
        let (us, call_id) = (first.field(HeaderName::From), first.field(HeaderName::CallId));
        format!(
            "NOTIFY sip:me@10.9.9.9:7 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK{tag}{cseq}{}\r\n\
             Max-Forwards: 70\r\nFrom: <{BOB}>;tag={tag}\r\nTo: {us}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} NOTIFY\r\n\
             Contact: <{contact}>\r\nEvent: {event}\r\nSubscription-State: {state}\r\n{more}Content-Length: 0\r\n\r\n",
            call_id.len() + state.len() * 7
        )
        .into_bytes()
    }
}

fn limited(change: impl FnOnce(&mut Limits)) -> Kit {
    let mut limits = Limits::default();
    change(&mut limits);
    Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits))
}

fn watch(kit: &mut Kit, expires: u32) -> (SubscriptionId, Sent) {
    let id = kit.endpoint.subscribe(kit.now, Subscribe::new(BOB, "presence").unwrap().expires(expires)).unwrap();
    (id, kit.drain().remove(0))
}

fn ok(sent: &Sent, expires: u32) -> Vec<u8> {
    accepted(sent, "b", expires)
}

fn accepted(sent: &Sent, tag: &str, expires: u32) -> Vec<u8> {
    let fields = format!("Expires: {expires}\r\nContact: <{BOB}>\r\n");
    let answer = String::from_utf8(sent.answer("200 OK", &fields)).unwrap();
    answer.replace("tag=theirs", &format!("tag={tag}")).into_bytes()
}

/// Accepted for `expires` seconds, and told that it is active.
fn active(kit: &mut Kit, asked: u32, granted: u32) -> (SubscriptionId, Sent) {
    let (id, first) = watch(kit, asked);
    kit.feed(far(), ok(&first, granted));
    assert_eq!(kit.answer(far(), notify("b", 1).of(&first)).status(), 200);
    kit.events.clear();
    (id, first)
}

fn subscribes(run: &[(Duration, Sent)]) -> Vec<(u64, &Sent)> {
    let ours = run.iter().filter(|(_, s)| s.bytes.starts_with(b"SUBSCRIBE "));
    let mut ours: Vec<_> = ours.map(|(at, sent)| (at.as_secs(), sent)).collect();
    ours.dedup_by_key(|(_, sent)| sent.branch());
    ours
}

fn end(kit: &Kit) -> Vec<(&Ending, &Retry)> {
    let ends = kit.events.iter().filter_map(|event| match event {
        Event::Terminated { why, retry, .. } => Some((why, retry)),
        _ => None,
    });
    ends.collect()
}

fn notified(kit: &Kit) -> Vec<u32> {
    let news = kit.events.iter().filter_map(|event| match event {
        Event::Notify { cseq, .. } => Some(*cseq),
        _ => None,
    });
    news.collect()
}

fn is_gone(kit: &Kit, id: SubscriptionId) -> bool {
    kit.endpoint.subscription(id).is_err()
}

/// PEER-A01, PEER-A02, PEER-A19: the NOTIFY overtakes the 2xx, and a NAT has
/// rewritten its Request-URI.
///
/// Covers: ADV-N1, PEER-A14
#[test]
fn a01_a02_a19_a_notify_before_any_response_makes_the_dialog() {
    let mut kit = Kit::new();
    let (id, first) = watch(&mut kit, 600);
    let early = Notify { more: "Record-Route: <sip:p1@203.0.113.9;lr>\r\n", ..notify("b", 7) }.of(&first);
    assert_eq!(kit.answer(far(), &early).status(), 200);
    assert_eq!(kit.feed(far(), &early).len(), 1, "a repetition gets the same");
    assert_eq!(notified(&kit), [7]);
    kit.feed(far(), ok(&first, 120));
    assert_eq!(kit.endpoint.subscriptions().count(), 1);
    assert_eq!(kit.endpoint.subscription(id).unwrap().expires_at, Some(kit.now + Duration::from_secs(120)));
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let again = kit.drain().remove(0);
    assert_eq!(again.field(HeaderName::Route), "<sip:p1@203.0.113.9;lr>");
    assert!(again.field(HeaderName::To).ends_with(";tag=b"));
}

/// PEER-A03: the transaction of the early NOTIFY is long over when the 2xx
/// comes.
#[test]
fn a03_a_late_response_finds_the_dialog_of_an_early_notify() {
    let mut kit = Kit::new();
    let (_, first) = watch(&mut kit, 600);
    let stream = crate::kit::stream(1, "203.0.113.9:5060");
    kit.endpoint.handle_stream_opened(kit.now, None, stream).unwrap();
    assert_eq!(kit.answer(stream, notify("b", 1).of(&first)).status(), 200);
    assert_eq!(kit.endpoint.transactions().1, 0);
    kit.run_millis(30_000);
    kit.feed(far(), ok(&first, 600));
    assert_eq!(kit.endpoint.subscriptions().count(), 1);
    assert_eq!(kit.answer(stream, notify("b", 2).of(&first)).status(), 200);
}

/// PEER-A04, PEER-A06: one dialog, or one for each fork; the first NOTIFY
/// decides, not the 2xx.
#[test]
fn a04_a06_forks_are_the_packages_choice() {
    for (event, forks, second, count) in
        [("presence", 8, 481, 1), ("message-summary", 1, 481, 1), ("message-summary", 8, 200, 2)]
    {
        let mut kit = limited(|limits| limits.forks = forks);
        kit.endpoint.subscribe(kit.now, Subscribe::new(BOB, event).unwrap().expires(600)).unwrap();
        let first = kit.drain().remove(0);
        let from = |tag, cseq| Notify { event, ..notify(tag, cseq) }.of(&first);
        kit.feed(far(), accepted(&first, "a", 600));
        assert_eq!(kit.answer(far(), from("b", 1)).status(), 200);
        assert_eq!(kit.answer(far(), from("a", 1)).status(), second, "{event} {forks}");
        assert_eq!(kit.endpoint.subscriptions().count(), count);
        assert_eq!(kit.answer(far(), from("b", 2)).status(), 200, "the first is untouched");
        // Each is refreshed on its own.
        let run = kit.run(Duration::from_secs(590));
        let tags: std::collections::BTreeSet<_> =
            subscribes(&run).iter().map(|(_, s)| s.field(HeaderName::To).to_owned()).collect();
        assert_eq!(tags.len(), count, "{event} {forks}: {tags:?}");
    }
}

/// PEER-A07, PEER-A08: accepted, and then nothing.
#[test]
fn a07_a08_silence_after_the_2xx_ends_at_64_t1_of_sending() {
    let mut kit = Kit::new();
    let (id, first) = watch(&mut kit, 600);
    kit.run_millis(700);
    kit.feed(far(), ok(&first, 600));
    kit.events.clear();
    kit.run_millis(31_299);
    assert!(kit.events.is_empty() && !is_gone(&kit, id));
    kit.run_millis(1);
    assert!(matches!(end(&kit)[..], [(Ending::NoNotify, _)]), "{:?}", kit.events);
    assert!(is_gone(&kit, id));
    assert_eq!(kit.endpoint.subscriptions().count(), 0);
}

/// PEER-A09: the Timer N of an earlier refresh does not outlive the NOTIFY of
/// a later one.
#[test]
fn a09_one_timer_n_at_a_time() {
    let mut kit = Kit::new();
    let (id, first) = active(&mut kit, 600, 600);
    for n in 0..2 {
        kit.endpoint.refresh(kit.now, id, None).unwrap();
        let again = kit.drain().remove(0);
        kit.feed(far(), ok(&again, 600));
        kit.run_millis(10_000);
        if n == 1 {
            assert_eq!(kit.answer(far(), notify("b", 2).of(&first)).status(), 200);
        }
    }
    kit.run_millis(200_000);
    assert!(end(&kit).is_empty() && !is_gone(&kit, id));
}

/// PEER-A10, PEER-A11, PEER-D03: the end that we asked for is no failure, and
/// NOTIFYs are waited for as long as they may be repeated.
#[test]
fn a10_a11_d03_an_unsubscribe_ends_in_peace() {
    for last in [None, Some(20_000)] {
        let mut kit = Kit::new();
        let (id, first) = active(&mut kit, 600, 600);
        kit.endpoint.unsubscribe(kit.now, id, Scope::This).unwrap();
        let bye = kit.drain().remove(0);
        assert_eq!(bye.field(HeaderName::Expires), "0");
        kit.feed(far(), ok(&bye, 0));
        assert_eq!(kit.answer(far(), notify("b", 2).of(&first)).status(), 200, "not the last one");
        assert!(end(&kit).is_empty());
        if let Some(millis) = last {
            kit.run_millis(millis);
            let fin = Notify { state: "terminated;reason=timeout", ..notify("b", 3) };
            assert_eq!(kit.answer(far(), fin.of(&first)).status(), 200);
        }
        kit.run_millis(40_000);
        assert!(matches!(end(&kit)[..], [(Ending::Unsubscribed, _)]), "{:?}", kit.events);
        assert!(is_gone(&kit, id));
    }
}

/// PEER-A15, PEER-A16, PEER-D13, PEER-D14: 481 to the first SUBSCRIBE is an
/// end, 481 to a refresh one delayed new beginning, with nothing of the old
/// dialog; no Expires is asked for in it.
///
/// Covers: ADV-N4
#[test]
fn a15_a16_d13_d14_what_481_leads_to() {
    let mut kit = Kit::new();
    let (id, first) = watch(&mut kit, 600);
    kit.feed(far(), first.answer("481 No", ""));
    assert!(matches!(end(&kit)[..], [(Ending::Refused { .. }, _)]));
    assert!(kit.run_millis(3_600_000).is_empty() && is_gone(&kit, id));

    let mut kit = Kit::new();
    let (id, first) = active(&mut kit, 600, 600);
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let again = kit.drain().remove(0);
    kit.feed(far(), again.answer("481 No", ""));
    assert!(matches!(kit.events[..], [Event::Retrying { .. }]), "{:?}", kit.events);
    let run = kit.run_millis(30_000);
    let anew = subscribes(&run);
    assert!(anew.len() == 1 && anew[0].0 >= 1, "{} at {}", anew.len(), anew[0].0);
    let anew = anew[0].1;
    for name in [HeaderName::CallId, HeaderName::From] {
        assert_ne!(anew.field(name), first.field(name));
    }
    assert_eq!(anew.field(HeaderName::To), format!("<{BOB}>"));
    assert!(anew.bytes.starts_with(format!("SUBSCRIBE {BOB} SIP/2.0").as_bytes()));
}

/// PEER-A17, PEER-A18: of a 2xx only the duration and the target are taken,
/// and 202 is one.
#[test]
fn a17_a18_a_bare_202_is_as_good_as_200() {
    for (status, fields, expires) in [
        ("200 OK", "Contact: <sip:bob@203.0.113.9>\r\n", 600),
        ("202 Accepted", "Expires: 300\r\n", 300),
        ("299 Why Not", "Subscription-State: terminated\r\nExpires: 300\r\n", 300),
    ] {
        let mut kit = Kit::new();
        let (_, first) = watch(&mut kit, 600);
        kit.feed(far(), first.answer(status, fields));
        assert_eq!(kit.answer(far(), notify("theirs", 1).of(&first)).status(), 200);
        assert!(end(&kit).is_empty(), "{status}");
        let run = kit.run(Duration::from_secs(expires));
        assert!(!subscribes(&run).is_empty(), "{status}: refreshed in time");
    }
}

/// PEER-B01, PEER-B02, PEER-B03: a NOTIFY without `expires` neither stops nor
/// restarts the clock.
///
/// Covers: ADV-N2, ADV-N3
#[test]
fn b01_b02_b03_notifies_without_expires_leave_the_refresh_where_it_was() {
    for every in [1_000, 50] {
        let mut kit = Kit::new();
        let (id, first) = active(&mut kit, 3_600, 200);
        let mut asked = Vec::new();
        let mut cseq = 1;
        for step in 0..200 / every.min(200) {
            let run = kit.run(Duration::from_secs(every.min(199)));
            asked.extend(
                subscribes(&run)
                    .iter()
                    .map(|(at, sent)| (step * every + at, sent.field(HeaderName::Expires).to_owned())),
            );
            cseq += 1;
            kit.feed(far(), notify("b", cseq).of(&first));
        }
        assert!(asked.iter().any(|(at, _)| *at > 0 && *at < 200), "{asked:?}");
        assert!(asked.iter().all(|(_, expires)| expires == "3600"), "PEER-B05: {asked:?}");
        assert!(!is_gone(&kit, id) || every == 1_000);
    }
}

/// PEER-B06: whatever is granted, refreshes come neither at once nor too late.
#[test]
fn b06_tiny_grants_make_no_storm() {
    for granted in 0..=12 {
        let mut kit = Kit::new();
        let (_, first) = watch(&mut kit, 600);
        let tell = |kit: &mut Kit, message: Vec<u8>| {
            assert_eq!(kit.endpoint.handle_message(kit.now, far(), &message), Handled::Consumed);
            kit.endpoint.handle_timeout(kit.now);
            kit.drain()
        };
        let mut more = tell(&mut kit, ok(&first, granted));
        more.extend(tell(&mut kit, notify("b", 1).of(&first)));
        // One new attempt may be made at once, then never again.
        assert!(subscribes(&more.into_iter().map(|s| (Duration::ZERO, s)).collect::<Vec<_>>()).len() <= 1, "{granted}");
        let mut sent = Vec::new();
        for _ in 0..600 {
            let run = kit.run_millis(100);
            for (_, again) in subscribes(&run) {
                sent.push(kit.now);
                let more = tell(&mut kit, ok(again, granted));
                assert!(more.is_empty(), "{granted}: again at once");
            }
        }
        let close = sent.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_secs(1)).count();
        assert!(sent.len() <= 61 && close == 0, "{granted}: {} SUBSCRIBEs", sent.len());
    }
}

/// PEER-B08, PEER-B09, PEER-B12, PEER-B13: numbers at and beyond every edge.
#[test]
fn b08_b09_b12_b13_large_and_odd_numbers_fire_no_timer_at_once() {
    for number in ["4294967295", "4294967296", "99999999999999999999", "5000000", "2147483648"] {
        let mut kit = Kit::new();
        let (id, first) = watch(&mut kit, u32::MAX);
        kit.feed(far(), String::from_utf8(ok(&first, 1)).unwrap().replace("Expires: 1", &format!("Expires: {number}")));
        let told = Notify { state: &format!("active;expires={number}"), ..notify("b", 1) };
        assert_eq!(kit.answer(far(), told.of(&first)).status(), 200, "{number}");
        assert!(kit.run_millis(3_600_000).is_empty(), "{number}");
        assert!(!is_gone(&kit, id), "{number}");
    }
    for number in ["4294968", "4294967296"] {
        let mut kit = Kit::new();
        let (_, first) = active(&mut kit, 600, 600);
        let state = format!("terminated;reason=probation;retry-after={number}");
        kit.feed(far(), Notify { state: &state, ..notify("b", 2) }.of(&first));
        assert!(subscribes(&kit.run_millis(3_600_000)).is_empty(), "{number}");
    }
    for state in
        ["active", "active;", "active;expires", "active;expires=", "active;expires=x", "foo;expires=10", "ACTIVE"]
    {
        let mut kit = Kit::new();
        let (id, first) = active(&mut kit, 600, 600);
        let sent = kit.feed(far(), Notify { state, ..notify("b", 2) }.of(&first));
        assert!([200, 400].contains(&sent[0].status()), "{state}");
        kit.run_millis(100_000);
        assert!(!is_gone(&kit, id), "{state}");
    }
}

/// PEER-B20, PEER-B21: a 423 that gives no way out is not tried again and again.
#[test]
fn b20_b21_a_423_is_followed_once_at_most() {
    for (fields, most) in [
        ("", 0),
        ("Min-Expires: 0\r\n", 0),
        ("Min-Expires: 60\r\n", 0),
        ("Min-Expires: x\r\n", 0),
        ("Min-Expires: 1800\r\n", 1),
    ] {
        let mut kit = Kit::new();
        let (_, first) = watch(&mut kit, 600);
        let mut tries = 0;
        let mut last = first;
        for _ in 0..4 {
            let mut sent: Vec<_> = kit.feed(far(), last.answer("423 Too Brief", fields));
            sent.extend(kit.run_millis(60_000).into_iter().map(|(_, sent)| sent));
            let Some(again) = sent.into_iter().next() else { break };
            tries += 1;
            last = again;
        }
        assert!(tries <= most.max(1) && (most == 1) <= (tries >= 1), "{fields:?}: {tries}");
    }
}

/// PEER-C05: a lower CSeq is refused with 500, a repetition gets its answer
/// again, a gap is nothing.
#[test]
fn c05_cseq_of_notifies() {
    let mut kit = Kit::new();
    let (_, first) = watch(&mut kit, 600);
    kit.feed(far(), ok(&first, 600));
    let rows = [(5, 200), (7, 200), (6, 500), (7, 200)];
    let statuses: Vec<_> =
        rows.iter().map(|(cseq, _)| kit.answer(far(), notify("b", *cseq).of(&first)).status()).collect();
    assert_eq!(statuses, rows.map(|(_, status)| status));
    assert_eq!(notified(&kit), [5, 7]);
}

/// PEER-C08, PEER-C09, PEER-C07: the route set is the one of the beginning,
/// the target the newest.
#[test]
fn c07_c08_c09_the_route_set_stays_and_the_target_moves() {
    let mut kit = Kit::new();
    let (id, first) = watch(&mut kit, 600);
    let routes = "Record-Route: <sip:p1@203.0.113.9;lr>, <sip:p2@203.0.113.8;lr>\r\n";
    kit.feed(far(), Notify { more: routes, ..notify("b", 2) }.of(&first));
    kit.feed(far(), ok(&first, 600));
    let moved = "sip:bob@203.0.113.77";
    kit.feed(
        far(),
        Notify { more: "Record-Route: <sip:evil@203.0.113.66;lr>\r\n", contact: moved, ..notify("b", 3) }.of(&first),
    );
    // Out of order: it moves nothing.
    let late = Notify { contact: "sip:bob@203.0.113.78", ..notify("b", 1) }.of(&first);
    assert_eq!(kit.answer(far(), late).status(), 500);
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let again = kit.drain().remove(0);
    assert!(again.bytes.starts_with(format!("SUBSCRIBE {moved} SIP/2.0\r\n").as_bytes()));
    assert_eq!(again.field(HeaderName::Route), "<sip:p1@203.0.113.9;lr>, <sip:p2@203.0.113.8;lr>");
    assert_eq!(again.flow.remote, addr("203.0.113.9:5060"));
}

/// PEER-C15, PEER-C19: Event with its id, and nothing else, tells
/// subscriptions of one dialog apart; the two CSeq spaces are unrelated.
#[test]
fn c15_c19_an_event_without_id_matches_none_with_one() {
    let mut kit = Kit::new();
    let request = Subscribe::new(BOB, "presence;id=1").unwrap().expires(600);
    let id = kit.endpoint.subscribe(kit.now, request).unwrap();
    let first = kit.drain().remove(0);
    kit.feed(far(), ok(&first, 600));
    for (event, status) in [("presence", 481), ("presence;id=2", 481), ("presence;x=y;id=1", 200)] {
        let cseq = 4_000_000_000 + u32::from(status == 200) + event.len() as u32;
        assert_eq!(kit.answer(far(), Notify { event, ..notify("b", cseq) }.of(&first)).status(), status, "{event}");
    }
    kit.run_millis(33_000);
    assert!(!is_gone(&kit, id));
}

/// PEER-D01: whatever comes late finds nobody, and does no harm.
#[test]
fn d01_late_messages_after_the_end() {
    let mut kit = Kit::new();
    let (id, first) = active(&mut kit, 600, 600);
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let again = kit.drain().remove(0);
    let fin = Notify { state: "terminated;reason=noresource", ..notify("b", 2) };
    assert_eq!(kit.answer(far(), fin.of(&first)).status(), 200);
    assert!(is_gone(&kit, id));
    kit.events.clear();
    for late in [ok(&again, 600), ok(&first, 600), again.answer("481 No", ""), again.answer("500 No", "")] {
        assert!(kit.feed(far(), late).is_empty());
    }
    assert_eq!(kit.answer(far(), notify("b", 3).of(&first)).status(), 481);
    assert_eq!(kit.answer(far(), notify("c", 3).of(&first)).status(), 481);
    assert!(subscribes(&kit.run_millis(4_000_000)).is_empty());
    assert!(kit.events.is_empty(), "{:?}", kit.events);
}

/// PEER-D02: unsubscribed before the first answer.
///
/// Covers: ADV-E9
#[test]
fn d02_an_unsubscribe_waits_for_the_subscribe_before_it() {
    let mut kit = Kit::new();
    let (id, first) = watch(&mut kit, 600);
    kit.endpoint.unsubscribe(kit.now, id, Scope::This).unwrap();
    assert!(kit.drain().is_empty(), "there is no dialog yet");
    kit.feed(far(), ok(&first, 600));
    let sent = kit.feed(far(), notify("b", 1).of(&first));
    let bye = sent.iter().find(|s| s.bytes.starts_with(b"SUBSCRIBE ")).unwrap();
    assert_eq!(bye.field(HeaderName::Expires), "0");
    kit.feed(far(), ok(bye, 0));
    kit.run_millis(40_000);
    assert!(is_gone(&kit, id));
}

/// PEER-D15, PEER-E01: for every status the automatic attempts of an hour are
/// few, and none comes at once; a 401 without a challenge is one of them.
#[test]
fn d15_e01_no_status_leads_to_a_storm() {
    for status in 300..=699 {
        let mut kit = Kit::new();
        let (_, mut last) = watch(&mut kit, 600);
        let mut tries = 0;
        let until = kit.now + Duration::from_secs(3_600);
        while kit.now < until {
            let at_once = kit.feed(far(), last.answer(&format!("{status} No"), ""));
            assert!(at_once.is_empty(), "{status}: again at once");
            let run = kit.run_millis(60_000);
            let Some((_, again)) = run.into_iter().next() else { continue };
            tries += 1;
            last = again;
        }
        assert!(tries <= 30, "{status}: {tries}");
        assert!(tries == 0 || status >= 400, "{status}");
    }
}

/// PEER-D16, PEER-D17, PEER-D18: what each reason leads to.
#[test]
fn d16_d17_d18_reasons() {
    // The least and the most seconds until the next attempt.
    let rows = [
        ("terminated;reason=deactivated", Some((0, 10))),
        ("terminated;reason=probation", Some((1, 120))),
        ("terminated;reason=probation;retry-after=60", Some((60, 120))),
        ("terminated;reason=timeout", Some((0, 10))),
        ("terminated;reason=giveup", Some((1, 120))),
        ("terminated;reason=giveup;retry-after=60", Some((60, 120))),
        ("terminated;reason=rejected;retry-after=1", None),
        ("terminated;reason=noresource", None),
        ("terminated;reason=invariant", None),
        ("terminated;reason=somethingnew", Some((0, 120))),
        ("terminated;reason=somethingnew;retry-after=60", Some((60, 120))),
        ("terminated", Some((0, 120))),
    ];
    for (state, next) in rows {
        let mut kit = Kit::new();
        let (_, first) = active(&mut kit, 600, 600);
        let sent = kit.feed(far(), Notify { state, ..notify("b", 2) }.of(&first));
        assert_eq!(sent[0].status(), 200);
        let mut run: Vec<_> = sent.into_iter().map(|sent| (Duration::ZERO, sent)).collect();
        run.extend(kit.run_millis(200_000));
        match (subscribes(&run).first(), next) {
            (None, None) => assert!(matches!(end(&kit)[..], [(_, Retry::Never)]), "{state}"),
            (Some((at, again)), Some((least, most))) => {
                assert!((least..=most).contains(at), "{state}: {at}");
                assert_ne!(again.field(HeaderName::CallId), first.field(HeaderName::CallId));
            }
            (found, wanted) => panic!("{state}: {} instead of {wanted:?}", found.is_some()),
        }
    }
}

/// PEER-D19: which answers to a refresh end a subscription at once, and which
/// leave it until it runs out.
#[test]
fn d19_a_refused_refresh_is_not_always_the_end() {
    for status in [404, 405, 410, 416, 480, 482, 483, 484, 485, 489, 501, 604] {
        let mut kit = Kit::new();
        let (id, _) = active(&mut kit, 600, 100);
        kit.endpoint.refresh(kit.now, id, None).unwrap();
        let again = kit.drain().remove(0);
        kit.feed(far(), again.answer(&format!("{status} No"), ""));
        let over = is_gone(&kit, id) || kit.events.iter().any(|e| matches!(e, Event::Retrying { .. }));
        assert!(over, "{status}: {:?}", kit.events);
    }
    for status in [500, 503, 408] {
        let mut kit = Kit::new();
        let (id, first) = active(&mut kit, 600, 100);
        kit.endpoint.refresh(kit.now, id, None).unwrap();
        let again = kit.drain().remove(0);
        kit.feed(far(), again.answer(&format!("{status} No"), ""));
        kit.run_millis(1_000);
        assert!(end(&kit).is_empty() && !is_gone(&kit, id), "{status}");
        assert_eq!(kit.answer(far(), notify("b", 2).of(&first)).status(), 200, "{status}");
    }
}

/// PEER-F02: as many events as NOTIFYs.
#[test]
fn f02_no_notify_is_lost_between_two_polls() {
    let mut kit = Kit::new();
    let (_, first) = active(&mut kit, 600, 600);
    for cseq in 2..=500 {
        assert_eq!(kit.endpoint.handle_message(kit.now, far(), &notify("b", cseq).of(&first)), Handled::Consumed);
    }
    assert_eq!(kit.drain().len(), 499);
    assert_eq!(notified(&kit), (2..=500).collect::<Vec<_>>());
}

/// PEER-C01: the numbers of one dialog follow one another, whatever the clock
/// does.
#[test]
fn c01_cseq_does_not_come_from_the_clock() {
    let mut kit = Kit::new();
    let (id, first) = active(&mut kit, 600, 600);
    let number = |sent: &Sent| sent.field(HeaderName::CSeq).split(' ').next().unwrap().parse::<u32>().unwrap();
    let mut expected = number(&first);
    for jump in [0, 100, 0, 5] {
        let wild = if jump == 0 { Instant::ZERO } else { kit.now + Duration::from_secs(jump) };
        kit.endpoint.refresh(wild, id, None).unwrap();
        kit.now = kit.now.max(wild);
        kit.endpoint.handle_timeout(kit.now);
        let sent = kit.drain();
        expected += 1;
        assert_eq!(sent.iter().map(number).collect::<Vec<_>>(), [expected]);
        kit.feed(far(), ok(&sent[0], 600));
        kit.feed(far(), notify("b", expected).of(&first));
    }
}
