//! Both kinds of transactions over datagrams (RFC 3261 section 17).

use std::time::Duration;

use sip_events::wire::HeaderName;
use sip_events::{DropReason, Event, Flow, Handled, Subscribe};

use crate::kit::{Kit, LOCAL, Request, addr, peer};

fn watch() -> Subscribe {
    Subscribe::new("sip:bob@203.0.113.9", "presence").unwrap()
}

/// Covers: 3261-17.1.2.2-1, 3261-17.1.2.2-2, 3261-17.1.2.2-3, 3261-8.1.1-1, 3261-8.1.1.6-1, 3261-8.1.1.7-1,
/// 3261-18.1.1-4, 3581-3-1, 3261-20.14-1
#[test]
fn an_unanswered_request_is_sent_eleven_times_and_ends_at_timer_f() {
    let mut kit = Kit::new();
    let first = kit.subscribe(watch());
    assert_eq!(first.len(), 1);
    let first = &first[0];
    assert_eq!(first.flow, Flow::udp(addr(LOCAL), addr("203.0.113.9:5060")));
    let via = first.field(HeaderName::Via);
    assert!(via.starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"), "{via}");
    assert!(via.ends_with(";rport"), "{via}");
    assert_eq!(first.field(HeaderName::MaxForwards), "70");
    assert_eq!(first.field(HeaderName::UserAgent), "kit/1");
    assert_eq!(first.field(HeaderName::ContentLength), "0");
    let text = String::from_utf8(first.bytes.clone()).unwrap();
    assert!(text.ends_with("Content-Length: 0\r\n\r\n"));
    let again = kit.run_millis(31_999);
    let at: Vec<u128> = again.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(at, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert!(again.iter().all(|(_, sent)| sent.bytes == first.bytes && sent.flow == first.flow));
    assert_eq!(kit.endpoint.transactions(), (1, 0));
    assert_eq!(kit.endpoint.stats().retransmissions, 10);
    kit.run_millis(1);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    // Whoever answers now is too late.
    let (handled, _) = kit.receive(peer(), first.answer("200 OK", "Expires: 600\r\n"));
    assert_eq!(handled, Handled::Dropped(DropReason::StrayResponse));
}

/// Covers: 3261-17.1.2.2-4, 3261-17.1.2.2-5
#[test]
fn a_provisional_response_slows_retransmission_down() {
    let mut kit = Kit::new();
    let first = kit.subscribe(watch()).remove(0);
    kit.run_millis(200);
    assert_eq!(kit.receive(first.flow, first.answer("100 Trying", "")).0, Handled::Consumed);
    let at: Vec<u128> = kit.run_millis(12_800).iter().map(|(at, _)| at.as_millis() + 200).collect();
    assert_eq!(at, [500, 4500, 8500, 12_500]);
}

/// Covers: 3261-17.1.2.2-6, 3261-17.1.2.2-7, 3261-17.1.2.1-1
#[test]
fn a_final_response_is_delivered_once_and_absorbed_until_timer_k() {
    let mut kit = Kit::new();
    let first = kit.subscribe(watch()).remove(0);
    let answer = first.answer("200 OK", "Expires: 600\r\nContact: <sip:bob@203.0.113.9>\r\n");
    assert_eq!(kit.receive(first.flow, &answer).0, Handled::Consumed);
    assert!(matches!(kit.events[..], [Event::Accepted { expires: 600, .. }]), "{:?}", kit.events);
    kit.run_millis(4_999);
    assert_eq!(kit.receive(first.flow, &answer).0, Handled::Dropped(DropReason::LateResponse));
    assert_eq!(kit.endpoint.transactions(), (1, 0));
    kit.run_millis(1);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    assert_eq!(kit.receive(first.flow, &answer).0, Handled::Dropped(DropReason::StrayResponse));
    assert_eq!(kit.events.len(), 1);
}

/// Covers: 3261-8.1.3.3-1, 3261-17.1.3-1, 3261-18.1.2-1, 3261-18.1.2-2, 6026-1
#[test]
fn responses_that_are_not_ours_are_dropped_and_counted() {
    let mut kit = Kit::new();
    let first = kit.subscribe(watch()).remove(0);
    let good = String::from_utf8(first.answer("200 OK", "Expires: 600\r\n")).unwrap();
    let branch = first.branch();
    let other = format!("{}{}", &branch[..branch.len() - 1], if branch.ends_with('0') { '1' } else { '0' });
    let bad = [
        good.replacen("Via: ", "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\nVia: ", 1),
        good.replacen("\r\nFrom:", "\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\nFrom:", 1),
        good.replace(&branch, &other),
        good.replace("192.0.2.1:5060", "192.0.2.2:5060"),
        good.replace("192.0.2.1:5060", "192.0.2.1:5070"),
        good.replace("1 SUBSCRIBE", "1 NOTIFY"),
        good.replace(&branch, "z9hG4bK"),
    ];
    for (n, bad) in bad.iter().enumerate() {
        assert_ne!(*bad, good, "case {n}");
        let (handled, sent) = kit.receive(first.flow, bad);
        assert!(matches!(handled, Handled::Dropped(DropReason::StrayResponse)), "case {n}: {handled:?}");
        assert!(sent.is_empty());
    }
    assert_eq!(kit.endpoint.stats().dropped(DropReason::StrayResponse), bad.len() as u64);
    let malformed = good.replace("From: ", "From: <<");
    assert_eq!(kit.receive(first.flow, malformed).0, Handled::Dropped(DropReason::MalformedResponse));
    assert_eq!(kit.receive(first.flow, good).0, Handled::Consumed);
}

/// Covers: 3261-17.2.2-1, 3261-17.2.2-3, 3261-17.2.2-4, 3261-17.2.2-5, 6665-DISP-2
#[test]
fn a_repeated_subscribe_gets_the_same_bytes_until_timer_j() {
    let mut kit = Kit::notifier();
    let request = Request::subscribe("r1").bytes();
    let (handled, sent) = kit.receive(peer(), &request);
    assert_eq!(handled, Handled::Consumed);
    assert!(sent.is_empty(), "the application has not decided");
    let (handled, sent) = kit.receive(peer(), &request);
    assert_eq!((handled, sent.len()), (Handled::Dropped(DropReason::Retransmission), 0));
    let sent = kit.accept_all();
    assert_eq!(sent[0].status(), 200, "the answer comes before the NOTIFY");
    assert_eq!(sent[1].message().method(), Some(sip_events::wire::Method::Notify));
    assert_eq!(sent.len(), 2);
    kit.feed(sent[1].flow, sent[1].answer("200 OK", ""));
    for _ in 0..3 {
        let (handled, again) = kit.receive(peer(), &request);
        assert_eq!(handled, Handled::Dropped(DropReason::Retransmission));
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].flow, &again[0].bytes), (sent[0].flow, &sent[0].bytes));
    }
    kit.run_millis(31_999);
    assert_eq!(kit.feed(peer(), &request), [sent[0].clone()]);
    assert_eq!(kit.endpoint.transactions(), (0, 1));
    kit.run_millis(1);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}

/// Covers: 3261-17.2.3-1, 3261-17.2.3-2, 3261-17.2.3-3
#[test]
fn requests_are_told_apart_by_branch_sent_by_and_method_or_the_old_way() {
    let mut kit = Kit::notifier();
    let base = Request::subscribe("m1");
    kit.feed(peer(), base.bytes());
    let differ = |kit: &mut Kit, via: &str, to: &'static str, uri: &'static str, call_id: &'static str| {
        let request = Request { via: via.to_owned(), to, uri, call_id, ..Request::subscribe("x") };
        kit.receive(peer(), request.bytes()).0 != Handled::Dropped(DropReason::Retransmission)
    };
    let (to, uri) = (base.to, base.uri);
    assert!(!differ(&mut kit, &base.via, to, uri, "other-call-id"), "the branch decides");
    assert!(differ(&mut kit, "SIP/2.0/UDP 198.51.100.7:5081;branch=z9hG4bKm1", to, uri, "other-port"));
    assert!(differ(&mut kit, "SIP/2.0/UDP h.example.com:5080;branch=z9hG4bKm1", to, uri, "other-host"));
    assert!(!differ(&mut kit, "SIP/2.0/UDP H.Example.com:5080;branch=z9hG4bKm1", to, uri, "same-host"));
    // RFC 2543: a branch without the cookie, spelt exactly, decides nothing.
    let old = "SIP/2.0/UDP 198.51.100.7:5080;branch=Z9HG4BKm1";
    assert!(differ(&mut kit, old, to, uri, "old-1"));
    assert!(!differ(&mut kit, old, to, uri, "old-1"));
    assert!(differ(&mut kit, old, to, uri, "old-2"));
    assert!(differ(&mut kit, old, to, "sip:bob@192.0.2.1;x=y", "old-1"));
    assert!(differ(&mut kit, old, "<sip:bob@192.0.2.1>;tag=q", uri, "old-1"));
    assert!(differ(&mut kit, "SIP/2.0/UDP 198.51.100.7:5080;branch=1", to, uri, "old-1"));
}

/// Covers: 4320-4.1-2, 4320-4.1-4, 3261-17.2.2-2, 3261-8.2.6.1-2, 3261-8.2.6.2-2
#[test]
fn a_hundred_is_sent_at_its_gate_and_repeated() {
    use sip_events::{Config, Timers};
    let mut timers = Timers::default();
    timers.decision = Duration::from_secs(10);
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_timers(timers).unwrap());
    kit.add_bob();
    let more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\nTimestamp: 54 1.5\r\n";
    let request = Request { more, ..Request::subscribe("h1") }.bytes();
    kit.feed(peer(), &request);
    let sent = kit.run_millis(3_499);
    assert!(sent.is_empty());
    assert!(kit.feed(peer(), &request).is_empty(), "none before its time, not even repeated");
    let sent = kit.run_millis(1);
    assert_eq!(sent.len(), 1);
    let trying = &sent[0].1;
    assert_eq!(trying.status(), 100);
    assert_eq!(trying.field(HeaderName::Timestamp), "54 3.500");
    assert!(!trying.field(HeaderName::To).contains("tag="));
    kit.run_millis(1_000);
    let again = kit.answer(peer(), &request);
    assert_eq!(again.bytes, trying.bytes);
    let sent = kit.accept_all();
    assert_eq!(sent[0].status(), 200);
    assert!(kit.run_millis(100).is_empty());
}

/// Covers: 3261-17.1.4-1, 3261-18.4-1
#[test]
fn a_transport_failure_ends_the_transaction() {
    let mut kit = Kit::new();
    let first = kit.subscribe(watch()).remove(0);
    kit.endpoint.handle_transmit_failed(kit.now, first.id);
    kit.drain();
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    let mut kit = Kit::new();
    let first = kit.subscribe(watch()).remove(0);
    kit.endpoint.handle_unreachable(kit.now, peer());
    assert_eq!(kit.endpoint.transactions(), (1, 0), "another peer");
    kit.endpoint.handle_unreachable(kit.now, first.flow);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}

#[test]
fn time_that_goes_back_is_clamped_and_counted() {
    let mut kit = Kit::new();
    kit.subscribe(watch());
    kit.run_millis(400);
    let late = kit.now;
    kit.now = sip_events::Instant::ZERO;
    kit.endpoint.handle_timeout(kit.now);
    let mut head = Vec::new();
    assert!(kit.endpoint.poll_transmit(kit.now, &mut head).is_none());
    assert_eq!(kit.endpoint.stats().clock_went_back, 2);
    kit.now = late;
    assert_eq!(kit.run_millis(100).len(), 1, "the schedule is unharmed");
}

/// A clone that gets the same inputs gives the same bytes.
#[test]
fn a_clone_behaves_alike() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request::subscribe("k1").bytes());
    let mut twin = Kit { endpoint: kit.endpoint.clone(), now: kit.now, events: kit.events.clone() };
    assert_eq!(kit.accept_all(), twin.accept_all());
    assert_eq!(kit.run_millis(40_000), twin.run_millis(40_000));
    assert_eq!(kit.events, twin.events);
}

/// The limit of one wake-up: what is left is due at once.
///
/// Covers: PEER-F08
#[test]
fn a_wake_up_does_a_bounded_amount_of_work() {
    use sip_events::{Config, Limits};
    let mut limits = Limits::default();
    limits.timers_per_wakeup = 2;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    for _ in 0..5 {
        kit.subscribe(watch());
    }
    kit.now = kit.now + Duration::from_millis(500);
    let mut sent = Vec::new();
    for round in 0..3 {
        assert_eq!(kit.endpoint.poll_timeout(), Some(kit.now), "round {round}");
        kit.endpoint.handle_timeout(kit.now);
        let mut head = Vec::new();
        while kit.endpoint.poll_transmit(kit.now, &mut head).is_some() {
            sent.push(round);
        }
    }
    assert_eq!(sent, [0, 0, 1, 1, 2]);
    assert!(kit.endpoint.poll_timeout() > Some(kit.now));
}

/// A full table of our own requests holds back further ones, not the answers
/// to others.
#[test]
fn requests_wait_for_room_and_answers_do_not() {
    use sip_events::{Config, Limits};
    let mut limits = Limits::default();
    limits.client_transactions = 2;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    kit.add_bob();
    let first = kit.subscribe(watch());
    kit.subscribe(watch());
    assert!(kit.subscribe(watch()).is_empty());
    assert!(kit.subscribe(watch()).is_empty());
    assert_eq!(kit.endpoint.transactions(), (2, 0));
    kit.feed(peer(), Request::subscribe("full").bytes());
    let sent = kit.accept_all();
    assert_eq!(sent.iter().map(|s| s.status()).collect::<Vec<_>>(), [200]);
    // Timer K of the first makes room.
    let accepted = first[0].answer("200 OK", "Expires: 600\r\nContact: <sip:bob@203.0.113.9>\r\n");
    assert!(kit.feed(first[0].flow, accepted).is_empty());
    let later = kit.run_millis(5_000);
    let new: Vec<_> = later.iter().filter(|(at, _)| at.as_millis() == 5_000).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert_eq!(kit.endpoint.transactions().0, 2);
}

/// Covers: 3261-18.1.1-4
#[test]
fn via_names_what_peers_see_and_never_a_wildcard() {
    use sip_events::wire::Transport;
    use sip_events::{Config, Misuse};
    let mut kit = Kit::bare(Config::new("sip:me@example.com").unwrap());
    let any = addr("0.0.0.0:5070");
    assert_eq!(kit.endpoint.add_local(Transport::Udp, any, None, None), Err(Misuse::BadValue));
    kit.endpoint.add_local(Transport::Udp, any, Some("pbx.example.com:5071".parse().unwrap()), None).unwrap();
    kit.endpoint.add_local(Transport::Udp, addr("[2001:db8::1]:5060"), None, None).unwrap();
    let first = kit.subscribe(watch()).remove(0);
    assert_eq!(first.flow.local, any);
    assert!(first.field(HeaderName::Via).starts_with("SIP/2.0/UDP pbx.example.com:5071;branch="));
    // The driver may know better which address it was.
    let specific = Flow::udp(addr("192.0.2.77:5070"), first.flow.remote);
    assert_eq!(kit.receive(specific, first.answer("100 Trying", "")).0, Handled::Consumed);
    let v6 = kit.subscribe(Subscribe::new("sip:bob@[2001:db8::9]", "presence").unwrap()).remove(0);
    assert_eq!(v6.flow, Flow::udp(addr("[2001:db8::1]:5060"), addr("[2001:db8::9]:5060")));
    assert!(v6.field(HeaderName::Via).starts_with("SIP/2.0/UDP [2001:db8::1]:5060;branch="));
    assert_eq!(kit.receive(v6.flow, v6.answer("100 Trying", "")).0, Handled::Consumed);
}

/// `Drained` is the last thing: an answer that is still queued comes first.
#[test]
fn drained_comes_after_the_last_answer() {
    let mut kit = Kit::notifier();
    let now = kit.now;
    let first = Request::new("OPTIONS", "last").bytes();
    assert_eq!(kit.endpoint.handle_message(now, peer(), &first), Handled::Consumed);
    kit.endpoint.close(now, sip_events::Close::Terminate);
    assert_eq!(kit.endpoint.poll_event(), None);
    assert_eq!(kit.endpoint.poll_timeout(), Some(now));
    let mut head = Vec::new();
    assert!(kit.endpoint.poll_transmit(now, &mut head).is_some());
    assert_eq!(kit.endpoint.poll_event(), Some(Event::Drained));
    assert_eq!(kit.endpoint.poll_event(), None);
}

/// A NOTIFY that still waits for room is given up like one that was sent
/// (INT-10), and `Persist` says nothing more.
#[test]
fn a_request_that_waits_for_room_can_be_given_up() {
    use sip_events::{Close, Config, Limits};
    let waiting = || {
        let mut limits = Limits::default();
        limits.client_transactions = 1;
        let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
        kit.add_bob();
        kit.subscribe(watch());
        kit.feed(peer(), Request::subscribe("a1").bytes());
        let sent = kit.accept_all();
        assert_eq!(sent.iter().map(|s| s.status()).collect::<Vec<_>>(), [200], "the NOTIFY waits");
        (kit, sent[0].field(HeaderName::To).to_owned())
    };
    // Timer F of the first makes room.
    let room = |kit: &mut Kit| {
        let later = kit.run_millis(99_000).into_iter().map(|(_, sent)| sent);
        later.filter(|s| s.field(HeaderName::CSeq).ends_with("NOTIFY")).collect::<Vec<_>>()
    };
    let (mut kit, to) = waiting();
    let refresh = Request { to: to.leak(), cseq: "2 SUBSCRIBE".into(), ..Request::subscribe("a2") };
    assert_eq!(kit.answer(peer(), refresh.bytes()).status(), 200);
    let notifies = room(&mut kit);
    let mut numbers: Vec<_> = notifies.iter().map(|s| s.field(HeaderName::CSeq)).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "only one of the two is sent: {numbers:?}");
    let (mut kit, _) = waiting();
    kit.endpoint.close(kit.now, Close::Persist);
    kit.drain();
    assert!(kit.events.contains(&Event::Drained));
    assert!(room(&mut kit).is_empty());
}

/// An answer whose datagram could not be sent is as good as lost: the request
/// comes again and gets it again, and nobody is asked twice.
#[test]
fn an_answer_that_could_not_be_sent_is_sent_again_when_asked_for() {
    let mut kit = Kit::notifier();
    let request = Request::subscribe("f1").bytes();
    kit.feed(peer(), &request);
    let sent = kit.accept_all();
    kit.endpoint.handle_transmit_failed(kit.now, sent[0].id);
    kit.feed(sent[1].flow, sent[1].answer("200 OK", ""));
    let (handled, again) = kit.receive(peer(), &request);
    assert_eq!(handled, Handled::Dropped(DropReason::Retransmission));
    assert_eq!(again, sent[..1]);
    assert_eq!(kit.endpoint.watchers().count(), 1);
}

/// A walk over many watchers was cut short, and a request waits for room: the
/// driver sleeps until there is some, and does not wake up for the walk.
#[test]
fn unfinished_work_behind_a_full_table_makes_no_driver_spin() {
    use sip_events::{Body, Config, Limits, ResourceKey};
    const MANY: u32 = 1_100;
    let mut limits = Limits::default();
    (limits.notify_window, limits.notify_window_per_flow) = (10_000, 10_000);
    limits.client_transactions = MANY;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    kit.add_bob();
    let bob = kit.endpoint.find(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap();
    for n in 0..MANY {
        let call_id: &'static str = format!("c{n}").leak();
        kit.feed(peer(), Request { call_id, ..Request::subscribe(call_id) }.bytes());
        assert_eq!(kit.accept_all().len(), 2);
    }
    let now = kit.now;
    kit.endpoint.set_state(now, bob, Body::new("application/pidf+xml", "<presence/>")).unwrap();
    let mut head = Vec::new();
    assert!(kit.endpoint.poll_transmit(now, &mut head).is_none());
    assert_eq!(kit.endpoint.poll_timeout(), Some(now), "the walk goes on");
    assert!(kit.endpoint.next_timer().unwrap().0 > now, "whoever cannot write sleeps");
    kit.endpoint.subscribe(now, watch()).unwrap();
    kit.endpoint.handle_timeout(now);
    assert!(kit.drain().is_empty());
}

/// An address that is given again, since its outside has changed, is replaced
/// in Via and in Contact, and keeps its place among the others.
#[test]
fn an_address_that_is_added_again_is_replaced() {
    use sip_events::Config;
    use sip_events::wire::Transport;
    let mut kit = Kit::bare(Config::new("sip:me@example.com").unwrap());
    for (bind, outside) in
        [("10.0.0.1:5060", "192.0.2.1:1"), ("10.0.0.2:5060", "192.0.2.2:2"), ("10.0.0.1:5060", "192.0.2.3:3")]
    {
        kit.endpoint.add_local(Transport::Udp, addr(bind), Some(outside.parse().unwrap()), None).unwrap();
    }
    let sent = kit.subscribe(watch()).remove(0);
    assert_eq!(sent.flow.local, addr("10.0.0.1:5060"));
    assert!(sent.field(HeaderName::Via).starts_with("SIP/2.0/UDP 192.0.2.3:3;"));
    assert_eq!(sent.field(HeaderName::Contact), "<sip:me@192.0.2.3:3>");
}

/// A SUBSCRIBE waited for room until its subscription was over: it stays
/// unsent, or the notifier would tell nobody.
#[test]
fn what_waited_for_too_long_is_not_sent() {
    use sip_events::{Config, Limits};
    let mut limits = Limits::default();
    limits.client_transactions = 1;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
    assert_eq!(kit.subscribe(watch().auto_resubscribe(false)).len(), 1);
    let second = Subscribe::new("sip:carol@203.0.113.10", "presence").unwrap().auto_resubscribe(false);
    assert!(kit.subscribe(second).is_empty());
    let sent = kit.run_millis(64_000);
    assert_eq!(kit.endpoint.subscriptions().count(), 0);
    assert!(sent.iter().all(|(_, s)| !s.bytes.starts_with(b"SUBSCRIBE sip:carol")));
    assert_eq!(kit.endpoint.transactions(), (0, 0));
}
