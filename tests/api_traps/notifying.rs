//! The notifier's side: sections B to D and F.

use std::time::Duration;

use sip_events::wire::HeaderName;
use sip_events::{
    Body, Close, Config, Event, Flow, Gone, NotifyTimeout, PackageConfig, Policy, Reason, ResourceId, ResourceKey,
    StreamId,
};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer, stream};

const AT_HOME: &str = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\n";

fn bob(kit: &Kit) -> ResourceId {
    kit.endpoint.find(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap()
}

fn set(kit: &mut Kit, text: &str) -> Vec<Sent> {
    let id = bob(kit);
    let body = Body::new("application/pidf+xml", text.as_bytes().to_vec());
    kit.endpoint.set_state(kit.now, id, body).unwrap();
    kit.drain()
}

fn cseq(sent: &Sent) -> u32 {
    sent.field(HeaderName::CSeq).split(' ').next().unwrap().parse().unwrap()
}

fn state(sent: &Sent) -> &str {
    sent.field(HeaderName::SubscriptionState)
}

fn notifies(sent: &[Sent]) -> Vec<&Sent> {
    sent.iter().filter(|s| s.bytes.starts_with(b"NOTIFY ")).collect()
}

/// Answers NOTIFYs as a willing watcher.
fn agree(kit: &mut Kit, sent: &[Sent]) -> Vec<Sent> {
    let notifies: Vec<_> = sent.iter().filter(|s| s.bytes.starts_with(b"NOTIFY ")).cloned().collect();
    notifies.iter().flat_map(|s| kit.feed(s.flow, s.answer("200 OK", ""))).collect()
}

/// A watcher of bob: its 2xx and its first NOTIFY, which is answered.
fn watcher(kit: &mut Kit, request: &Request) -> (Sent, Sent) {
    assert!(kit.feed(peer(), request.bytes()).is_empty());
    let mut sent = kit.accept_all();
    assert_eq!(sent.len(), 2, "{sent:?}");
    agree(kit, &sent);
    kit.events.clear();
    let notify = sent.pop().unwrap();
    (sent.pop().unwrap(), notify)
}

/// A request in the dialog that `answer` made.
fn later(answer: &Sent, number: u32, more: &str) -> Request {
    Request {
        to: answer.field(HeaderName::To).to_owned().leak(),
        cseq: format!("{number} SUBSCRIBE"),
        more: more.to_owned().leak(),
        ..Request::subscribe(&format!("in{number}{}", more.len()))
    }
}

/// PEER-A12, PEER-A13, PEER-D04: the 2xx before its NOTIFY, in one step with a
/// change of state and with an unsubscribe.
#[test]
fn a12_a13_d04_the_2xx_before_the_notify() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request::subscribe("a").bytes());
    let id = bob(&kit);
    kit.endpoint.set_state(kit.now, id, Body::new("application/pidf+xml", "<presence/>")).unwrap();
    let sent = kit.accept_all();
    assert_eq!(sent[0].status(), 200);
    assert_eq!((notifies(&sent).len(), sent.len()), (1, 2));
    let (answer, first) = (&sent[0], &sent[1]);
    assert!(state(first).starts_with("active;expires="));
    agree(&mut kit, &sent[1..]);
    let later = later(answer, 2, &format!("{AT_HOME}Expires: 0\r\n"));
    kit.events.clear();
    let sent = kit.feed(peer(), later.bytes());
    assert_eq!((sent[0].status(), state(&sent[1])), (200, "terminated;reason=timeout"));
    assert_eq!(cseq(&sent[1]), cseq(first) + 1, "PEER-C03");
    agree(&mut kit, &sent);
    let gone = kit.events.iter().filter(|e| matches!(e, Event::WatcherGone { why: Gone::Unsubscribed, .. })).count();
    assert_eq!((gone, kit.events.len()), (1, 1), "PEER-D27: {:?}", kit.events);
    assert_eq!(kit.endpoint.watchers().count(), 0);
}

/// PEER-A20: a package that nobody knows.
#[test]
fn a20_an_unknown_package_gets_489_and_leaves_nothing() {
    let mut kit = Kit::notifier();
    let more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: x-unheard-of\r\n";
    let answer = kit.answer(peer(), Request { more, ..Request::subscribe("u") }.bytes());
    assert_eq!((answer.status(), answer.field(HeaderName::AllowEvents)), (489, "presence, message-summary"));
    kit.run_millis(40_000);
    assert_eq!(kit.endpoint.transactions(), (0, 0));
    assert!(kit.events.is_empty());
}

/// PEER-B10, PEER-B16: whoever does not refresh is told, and nothing stays.
#[test]
fn b10_b16_nothing_outlives_its_time() {
    for answers in [true, false] {
        let mut kit = Kit::notifier();
        for n in 0..20 {
            let call_id: &'static str = format!("w{n}").leak();
            kit.feed(peer(), Request { call_id, ..Request::subscribe(call_id) }.bytes());
            let sent = kit.accept_all();
            agree(&mut kit, &sent);
        }
        let mut states = Vec::new();
        for _ in 0..700 {
            let sent: Vec<_> = kit.run_millis(1_000).into_iter().map(|(_, sent)| sent).collect();
            states.extend(notifies(&sent).iter().map(|s| state(s).to_owned()));
            if answers {
                agree(&mut kit, &sent);
            }
        }
        assert!(states.len() >= 20 && states.iter().all(|s| s == "terminated;reason=timeout"), "{states:?}");
        assert_eq!(kit.endpoint.watchers().count(), 0);
        assert_eq!(kit.endpoint.transactions(), (0, 0));
    }
}

/// PEER-B18, PEER-B19, PEER-B22, PEER-B23: how long is granted.
#[test]
fn b18_b19_b22_b23_durations() {
    let config = || {
        let mut package = PackageConfig::new("presence");
        (package.min_expires, package.max_expires, package.default_expires) = (Some(1_800), Some(7_200), Some(3_700));
        Config::new("sip:me@192.0.2.1").unwrap().with_package(package).unwrap()
    };
    for (fields, status, wanted) in [
        ("Expires: 60\r\n", 423, "1800"),
        ("Expires: 1800\r\n", 200, "1800"),
        ("Expires: 4294967295\r\n", 200, "7200"),
        ("Expires: 42949672960\r\n", 200, "7200"),
        ("", 200, "3700"),
        ("Expires: 0\r\n", 200, "0"),
    ] {
        let mut kit = Kit::with(config());
        kit.add_bob();
        let contact = "Contact: <sip:alice@198.51.100.7:5080>;expires=5\r\nEvent: presence\r\n";
        let more: &'static str = format!("{contact}{fields}").leak();
        let mut sent = kit.feed(peer(), Request { more, ..Request::subscribe("b") }.bytes());
        sent.extend(kit.accept_all());
        assert_eq!(sent[0].status(), status, "{fields}");
        let name = if status == 423 { HeaderName::MinExpires } else { HeaderName::Expires };
        assert_eq!(sent[0].field(name), wanted, "{fields}");
        if status == 200 && wanted != "0" {
            agree(&mut kit, &sent);
            let short = kit.answer(peer(), later(&sent[0], 2, &format!("{AT_HOME}Expires: 60\r\n")).bytes());
            assert_eq!((short.status(), short.field(HeaderName::MinExpires)), (423, "1800"), "refreshes, too");
        }
    }
}

/// PEER-B15: a refused refresh changes nothing.
#[test]
fn b15_a_refused_refresh_lengthens_nothing() {
    let mut kit = Kit::notifier();
    let (answer, _) = watcher(&mut kit, &Request::subscribe("b"));
    kit.run_millis(500_000);
    let bad = later(&answer, 2, &format!("{AT_HOME}Require: nothing\r\nExpires: 3600\r\n"));
    assert_eq!(kit.answer(peer(), bad.bytes()).status(), 420);
    let sent = set(&mut kit, "<presence/>");
    let left: u64 = state(&sent[0]).strip_prefix("active;expires=").unwrap().parse().unwrap();
    assert!(left <= 100, "{left}");
}

/// PEER-C07, PEER-C08, PEER-C11: a refresh moves the target, not the route
/// set; our Contact stays.
#[test]
fn c07_c08_c11_targets_routes_contacts() {
    let mut kit = Kit::notifier();
    let routed = format!("{AT_HOME}Record-Route: <sip:198.51.100.9;lr>\r\n").leak();
    let (answer, first) = watcher(&mut kit, &Request { more: routed, ..Request::subscribe("c") });
    assert_eq!(
        (first.field(HeaderName::Route), first.flow.remote),
        ("<sip:198.51.100.9;lr>", addr("198.51.100.9:5060"))
    );
    let moved = "Contact: <sip:alice@198.51.100.77>\r\nEvent: presence\r\n";
    let mut contacts = vec![answer.field(HeaderName::Contact).to_owned(), first.field(HeaderName::Contact).to_owned()];
    for (number, routes) in [(2, "Record-Route: <sip:198.51.100.66;lr>\r\n"), (3, "")] {
        let sent = kit.feed(peer(), later(&answer, number, &format!("{moved}{routes}")).bytes());
        assert_eq!(sent[0].status(), 200);
        let notify = notifies(&sent)[0];
        assert!(notify.bytes.starts_with(b"NOTIFY sip:alice@198.51.100.77 SIP/2.0\r\n"));
        assert_eq!(notify.field(HeaderName::Route), "<sip:198.51.100.9;lr>");
        contacts.push(notify.field(HeaderName::Contact).to_owned());
        agree(&mut kit, &sent);
    }
    // Out of order: refused, and nothing moves.
    let late = later(&answer, 2, "Contact: <sip:alice@198.51.100.88>\r\nEvent: presence\r\nX: y\r\n");
    assert_eq!(kit.answer(peer(), late.bytes()).status(), 500);
    kit.run_millis(10_000);
    let sent = set(&mut kit, "<presence/>");
    assert!(sent[0].bytes.starts_with(b"NOTIFY sip:alice@198.51.100.77 "));
    contacts.dedup();
    assert_eq!(contacts, ["<sip:me@192.0.2.1:5060>"]);
}

/// PEER-C10: where NOTIFYs go along the flow of the SUBSCRIBE, a private
/// Contact in an answer moves nothing.
#[test]
fn c10_a_pinned_flow_stays() {
    let mut policy = Policy::default();
    policy.delivery = sip_events::Delivery::Flow;
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy));
    kit.add_bob();
    let private = "Contact: <sip:alice@10.0.0.7:5060>\r\nEvent: presence\r\n";
    kit.feed(peer(), Request { more: private, ..Request::subscribe("p") }.bytes());
    let sent = kit.accept_all();
    assert_eq!(sent[1].flow, peer());
    kit.feed(peer(), sent[1].answer("200 OK", "Contact: <sip:alice@10.0.0.8>\r\n"));
    kit.run_millis(10_000);
    assert_eq!(set(&mut kit, "<presence/>")[0].flow, peer());
}

/// PEER-C16, PEER-C17, PEER-C18: what a NOTIFY echoes.
#[test]
fn c16_c17_c18_event_from_and_to_are_those_of_the_subscribe() {
    let mut kit = Kit::notifier();
    let event = "presence;sla;id=7;effective-by=3600;vendor=\"a;b\"";
    let more = format!("Contact: <sip:other@198.51.100.7:5080>\r\nEvent: {event}\r\n").leak();
    let (answer, first) = watcher(&mut kit, &Request { more, ..Request::subscribe("e") });
    assert_eq!(first.field(HeaderName::Event), event);
    assert_eq!(first.field(HeaderName::From), answer.field(HeaderName::To));
    assert_eq!(first.field(HeaderName::To), answer.field(HeaderName::From));
}

/// PEER-C20, PEER-F03, PEER-F04: NOTIFYs take the connection of the
/// subscriber, which stays what it is; accepting opens none.
#[test]
fn c20_f03_f04_the_connection_of_the_subscriber() {
    let mut kit = Kit::notifier();
    let flow = stream(1, "198.51.100.7:33333");
    kit.endpoint.handle_stream_opened(kit.now, None, flow).unwrap();
    let request = Request { via: "SIP/2.0/TCP 198.51.100.7:5080;branch=z9hG4bKs".into(), ..Request::subscribe("s") };
    kit.feed(flow, request.bytes());
    let sent = kit.accept_all();
    assert_eq!((sent[0].flow, sent[0].status()), (flow, 200));
    assert_eq!(sent[0].field(HeaderName::Contact), "<sip:me@192.0.2.1:5060;transport=tcp>");
    assert_eq!(sent[1].flow, flow, "{}", sent[1].flow);
    assert!(kit.events.iter().all(|e| !matches!(e, Event::Io(_))), "{:?}", kit.events);
    agree(&mut kit, &sent);
    kit.endpoint.handle_stream_closed(kit.now, StreamId(1)).unwrap();
    kit.drain();
    assert!(kit.events.iter().any(|e| matches!(e, Event::Io(sip_events::Io::FlowGone { watchers: 1, .. }))));
}

/// PEER-D06, PEER-D20, PEER-D21, PEER-D22: what an answer to a NOTIFY, or
/// none, means for the watcher.
#[test]
fn d06_d20_d21_d22_answers_to_notify() {
    // Whether the watcher stays.
    let rows = [
        ("481 Gone", "", false),
        ("404 No", "", false),
        ("405 No", "", false),
        ("489 No", "", false),
        ("501 No", "", false),
        ("500 No", "", true),
        ("503 Later", "Retry-After: 5\r\n", true),
        ("486 Busy", "", true),
    ];
    for (status, fields, stays) in rows {
        let mut kit = Kit::notifier();
        watcher(&mut kit, &Request::subscribe("d"));
        kit.run_millis(10_000);
        let sent = set(&mut kit, "<presence/>");
        kit.feed(sent[0].flow, sent[0].answer(status, fields));
        assert_eq!(kit.endpoint.watchers().count() == 1, stays, "{status}");
        let mut more: Vec<_> = kit.run_millis(30_000).into_iter().map(|(_, sent)| sent).collect();
        more.extend(set(&mut kit, "<presence><a/></presence>"));
        assert_eq!(!notifies(&more).is_empty(), stays, "{status}");
    }
    // 401 without credentials of ours: at most one more try each.
    let mut kit = Kit::notifier();
    watcher(&mut kit, &Request::subscribe("d"));
    kit.run_millis(10_000);
    let sent = set(&mut kit, "<presence/>");
    let again =
        kit.feed(sent[0].flow, sent[0].answer("401 Who", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n"));
    assert!(notifies(&again).len() <= 1);
    for (keep, left) in [(NotifyTimeout::Remove, 0), (NotifyTimeout::Keep, 1)] {
        let mut policy = Policy::default();
        policy.notify_timeout = keep;
        let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_policy(policy));
        kit.add_bob();
        watcher(&mut kit, &Request::subscribe("d"));
        kit.run_millis(10_000);
        set(&mut kit, "<presence/>");
        kit.run_millis(32_000);
        assert_eq!(kit.endpoint.watchers().count(), left);
        assert_eq!(notifies(&set(&mut kit, "<presence><b/></presence>")).len(), left);
    }
}

/// PEER-D07, PEER-D08, PEER-D09, PEER-D10, PEER-D11, ADV-E8: a fetch.
#[test]
fn d07_to_d11_a_fetch_asks_answers_and_leaves_nothing() {
    let mut kit = Kit::notifier();
    set(&mut kit, "<presence><here/></presence>");
    let more = format!("{AT_HOME}Expires: 0\r\n").leak();
    kit.feed(peer(), Request { more, ..Request::subscribe("f") }.bytes());
    assert!(kit.events.iter().any(|e| matches!(e, Event::Subscribe(_))), "the application is asked");
    let sent = kit.accept_all();
    assert_eq!((sent.len(), sent[0].status(), sent[0].field(HeaderName::Expires)), (2, 200, "0"));
    assert_eq!(state(&sent[1]), "terminated;reason=timeout");
    assert_eq!(sent[1].message().body(), b"<presence><here/></presence>");
    agree(&mut kit, &sent);
    assert_eq!(kit.endpoint.watchers().count(), 0);
    assert!(kit.run_millis(100_000).is_empty());
    // With nothing subscribed, in a dialog that is gone.
    let gone = kit.answer(peer(), later(&sent[0], 9, more).bytes());
    assert_eq!(gone.status(), 481);
}

/// PEER-D26: a second decision on one request is an error and says nothing.
#[test]
fn d26_one_decision_for_one_request() {
    let mut kit = Kit::notifier();
    kit.feed(peer(), Request::subscribe("d").bytes());
    let Some(Event::Subscribe(id)) = kit.events.pop() else { panic!() };
    let decide = |kit: &mut Kit| kit.endpoint.accept(kit.now, id, sip_events::Decision::ACCEPT).is_ok();
    assert!(decide(&mut kit));
    assert_eq!(kit.drain().len(), 2);
    assert!(!decide(&mut kit));
    assert!(kit.drain().is_empty());
}

/// PEER-F01, PEER-F05, PEER-F06: fan-out. One bad watcher delays no other, the
/// newest state is told at most once per interval, an end is never delayed.
#[test]
fn f01_f05_f06_fan_out() {
    let mut kit = Kit::notifier();
    for n in 0..100 {
        let call_id: &'static str = format!("f{n}").leak();
        // Nobody can be reached at the third.
        let contact = if n == 2 { "sip:alice@224.0.0.1" } else { "sip:alice@198.51.100.7:5080" };
        let more = format!("Contact: <{contact}>\r\nEvent: presence\r\n").leak();
        kit.feed(peer(), Request { call_id, more, ..Request::subscribe(call_id) }.bytes());
        let sent = kit.accept_all();
        agree(&mut kit, &sent);
    }
    kit.run_millis(10_000);
    kit.events.clear();
    let sent = set(&mut kit, "<presence><n/></presence>");
    let mut told = notifies(&sent).len();
    let more = agree(&mut kit, &sent);
    told += notifies(&more).len();
    agree(&mut kit, &more);
    assert_eq!(told, 99);
    // A rate of one in 5 s.
    let mut package = PackageConfig::new("presence");
    package.min_interval = Some(Duration::from_secs(5));
    let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_package(package).unwrap());
    kit.add_bob();
    let (answer, _) = watcher(&mut kit, &Request::subscribe("r"));
    kit.run_millis(60_000);
    let mut told = Vec::new();
    for n in 0..50 {
        let mut sent = set(&mut kit, &format!("<presence><n{n}/></presence>"));
        sent.extend(kit.run_millis(100).into_iter().map(|(_, sent)| sent));
        agree(&mut kit, &sent);
        told.extend(sent);
    }
    let last: Vec<_> = kit.run_millis(100).into_iter().map(|(_, sent)| sent).collect();
    agree(&mut kit, &last);
    told.extend(last);
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].message().body(), b"<presence><n49/></presence>");
    // A refresh while one is held back, and later changes are told all the same.
    assert!(set(&mut kit, "<presence><held/></presence>").is_empty());
    let sent = kit.feed(peer(), later(&answer, 2, AT_HOME).bytes());
    assert_eq!(notifies(&sent)[0].message().body(), b"<presence><held/></presence>");
    agree(&mut kit, &sent);
    assert!(set(&mut kit, "<presence><later/></presence>").is_empty());
    let after: Vec<_> = kit.run_millis(6_000).into_iter().map(|(_, sent)| sent).collect();
    assert_eq!(after[0].message().body(), b"<presence><later/></presence>");
    agree(&mut kit, &after);
    set(&mut kit, "<presence><x/></presence>");
    let id = bob(&kit);
    kit.endpoint.remove_resource(kit.now, id, &Reason::NoResource).unwrap();
    assert_eq!(state(&kit.drain()[0]), "terminated;reason=noresource");
}

/// PEER-F10: shutting down says goodbye once to each, and then nothing.
#[test]
fn f10_closing_ends_each_watcher_once() {
    let mut kit = Kit::notifier();
    for n in 0..30 {
        let call_id: &'static str = format!("q{n}").leak();
        kit.feed(peer(), Request { call_id, ..Request::subscribe(call_id) }.bytes());
        let sent = kit.accept_all();
        agree(&mut kit, &sent);
    }
    kit.endpoint.close(kit.now, Close::Terminate);
    let sent = kit.drain();
    assert_eq!(notifies(&sent).len(), 30);
    assert!(sent.iter().all(|s| state(s).starts_with("terminated;")));
    assert!(agree(&mut kit, &sent).is_empty());
    assert!(kit.events.contains(&Event::Drained));
    assert!(kit.run_millis(100_000).is_empty());
}

/// PEER-C21: one resource, however its URI is spelt.
#[test]
fn c21_spellings_of_one_resource() {
    let mut kit = Kit::notifier();
    for (n, uri) in
        ["sip:bob@192.0.2.1", "sip:%62ob@192.0.2.1", "SIP:bob@192.0.2.1", "sip:b%6Fb@192.0.2.1"].iter().enumerate()
    {
        let call_id: &'static str = format!("u{n}").leak();
        kit.feed(peer(), Request { uri, call_id, ..Request::subscribe(call_id) }.bytes());
        assert_eq!(kit.accept_all()[0].status(), 200, "{uri}");
    }
    assert_eq!(kit.endpoint.resources().count(), 1);
    assert_eq!(
        kit.answer(peer(), Request { uri: "sip:BOB@192.0.2.1", ..Request::subscribe("x") }.bytes()).status(),
        404
    );
    assert_eq!(Flow::udp(addr(LOCAL), peer().remote), peer());
}

/// PEER-C13, PEER-G15: of two dialogs that differ in one tag alone, a refresh
/// of one is told to that one, and its end leaves the other.
#[test]
fn c13_g15_a_refresh_and_an_end_concern_one_watcher() {
    let mut kit = Kit::notifier();
    let (first, _) = watcher(&mut kit, &Request::subscribe("p"));
    let from = "<sip:alice@example.com>;tag=a2";
    let (second, _) = watcher(&mut kit, &Request { from, ..Request::subscribe("q") });
    kit.run_millis(10_000);
    let sent =
        kit.feed(peer(), later(&first, 2, "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\n").bytes());
    let told = notifies(&sent);
    assert_eq!((sent.len(), told.len()), (2, 1));
    assert_eq!(told[0].field(HeaderName::To), first.field(HeaderName::From));
    agree(&mut kit, &sent);
    // The tags of one with the other's do not make a third.
    let crossed = Request { from, ..later(&first, 3, AT_HOME) };
    assert_eq!(kit.answer(peer(), crossed.bytes()).status(), 481);
    let ended = later(&first, 3, "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: presence\r\nExpires: 0\r\n");
    let sent = kit.feed(peer(), ended.bytes());
    assert_eq!(state(notifies(&sent)[0]), "terminated;reason=timeout");
    agree(&mut kit, &sent);
    assert_eq!(kit.endpoint.watchers().count(), 1);
    let sent = set(&mut kit, "<presence/>");
    assert_eq!(notifies(&sent)[0].field(HeaderName::To), second.field(HeaderName::From));
    assert_eq!(sent.len(), 1);
}
