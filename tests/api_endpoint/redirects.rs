//! 3xx to SUBSCRIBE and NOTIFY (RFC 3261 section 8.1.3.4).

use sip_events::wire::{HeaderName, Transport};
use sip_events::{Config, Ending, Event, Flow, Io, Limits, Subscribe};

use crate::kit::{Kit, LOCAL, Request, Sent, addr, peer};
use crate::peer::{establish, line, notify, told, watched};

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap().expires(600)
}

fn started(request: Subscribe) -> (Kit, Sent) {
    let mut kit = Kit::new();
    let sent = kit.subscribe(request).remove(0);
    (kit, sent)
}

fn moved(sent: &Sent, status: &str, contacts: &[&str]) -> Vec<u8> {
    let contacts: String = contacts.iter().map(|contact| format!("Contact: {contact}\r\n")).collect();
    sent.answer(status, &contacts)
}

fn field(sent: &Sent, name: HeaderName<'_>) -> String {
    sent.field(name).to_owned()
}

fn redirections(events: &[Event]) -> Vec<(u16, bool, Vec<String>)> {
    let text = |uri: &bytes::Bytes| String::from_utf8(uri.to_vec()).unwrap();
    let found = events.iter().filter_map(|event| match event {
        Event::Redirected { status, contacts, followed, .. } => {
            Some((status.as_u16(), *followed, contacts.iter().map(text).collect()))
        }
        _ => None,
    });
    found.collect()
}

fn refused(events: &[Event]) -> Option<u16> {
    events.iter().find_map(|event| match event {
        Event::Terminated { why: Ending::Refused { status, .. }, .. } => Some(status.as_u16()),
        _ => None,
    })
}

/// Covers: 3261-8.1.3.4-1, 3261-8.1.3.4-2, 3261-19.1.5-1, 6665-RSP-3, 6665-SSM-7, 6665-4.1.2.1-5
#[test]
fn contacts_are_tried_best_first_as_whole_uris_with_the_same_identity() {
    let (mut kit, first) = started(bob());
    let answer = moved(
        &first,
        "302 Moved",
        &["<sip:low@203.0.113.1>;q=0.2", "<sip:b@203.0.113.2:5070;transport=udp;x=y;method=INVITE?Subject=z>;q=0.7"],
    );
    let second = kit.feed(first.flow, answer).remove(0);
    assert_eq!(line(&second), "SUBSCRIBE sip:b@203.0.113.2:5070;transport=udp;x=y SIP/2.0");
    assert_eq!(second.flow, Flow::udp(addr(LOCAL), addr("203.0.113.2:5070")));
    for name in [HeaderName::To, HeaderName::From, HeaderName::CallId, HeaderName::Event, HeaderName::Expires] {
        assert_eq!(field(&first, name), field(&second, name), "{name:?}");
    }
    let number = |sent: &Sent| field(sent, HeaderName::CSeq).split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(&second), number(&first) + 1);
    assert_ne!(first.branch(), second.branch());
    // One address refuses: on to the next; then there are no more.
    let third = kit.feed(second.flow, second.answer("486 Busy Here", "")).remove(0);
    assert_eq!(line(&third), "SUBSCRIBE sip:low@203.0.113.1 SIP/2.0");
    assert!(kit.feed(third.flow, third.answer("404 Not Found", "")).is_empty());
    let events = told(&mut kit);
    let uris = vec![
        "sip:b@203.0.113.2:5070;transport=udp;x=y;method=INVITE?Subject=z".to_owned(),
        "sip:low@203.0.113.1".to_owned(),
    ];
    assert_eq!(redirections(&events), [(302, true, uris)]);
    assert_eq!(refused(&events), Some(404));
    assert!(kit.run_millis(7_200_000).is_empty(), "nothing goes on");
}

/// Covers: 6665-SSM-7
#[test]
fn the_redirected_subscription_lives_where_it_was_accepted() {
    let (mut kit, first) = started(bob());
    let second = kit.feed(first.flow, moved(&first, "301 Moved", &["<sip:b@203.0.113.2>"])).remove(0);
    establish(&mut kit, &second, "");
    let id = kit.endpoint.subscriptions().next().unwrap();
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let refresh = kit.drain().remove(0);
    assert_eq!(line(&refresh), "SUBSCRIBE sip:bob@198.51.100.7:5080 SIP/2.0", "the Contact of the NOTIFY");
    assert_eq!(refresh.flow.remote, addr("198.51.100.7:5080"));
}

/// Covers: 3261-8.1.3.4-1
#[test]
fn a_circle_ends_with_each_address_asked_once() {
    let (mut kit, first) = started(bob());
    let second = kit.feed(first.flow, moved(&first, "302 Moved", &["<sip:a@203.0.113.1>"])).remove(0);
    // The same place in other words, and the place where it began.
    let contacts = ["<sip:a@203.0.113.1;x=1>", "<sip:%61@203.0.113.1>", "<sip:bob@198.51.100.7:5080>"];
    assert!(kit.feed(second.flow, moved(&second, "302 Moved", &contacts)).is_empty());
    let events = told(&mut kit);
    assert_eq!(redirections(&events).iter().map(|r| r.1).collect::<Vec<_>>(), [true, false]);
    assert_eq!(refused(&events), Some(302));
}

/// Covers: 3261-8.1.3.4-1
#[test]
fn a_chain_without_end_is_followed_so_far_and_no_farther() {
    for limit in [0usize, 1, 5] {
        let mut limits = Limits::default();
        limits.redirects = u32::try_from(limit).unwrap();
        let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap().with_limits(limits));
        let mut sent = kit.subscribe(bob());
        let mut hops = 0;
        while let Some(request) = sent.pop() {
            hops += 1;
            sent = kit.feed(request.flow, moved(&request, "302 Moved", &[&format!("<sip:a@203.0.113.{hops}>")]));
        }
        assert_eq!(hops, 1 + limit);
        assert_eq!(refused(&told(&mut kit)), Some(302));
    }
}

/// Covers: 3261-8.1.3.4-1
#[test]
fn a_choice_for_the_user_is_told_and_not_made() {
    for status in ["300 Multiple Choices", "380 Alternative Service", "399 New"] {
        let (mut kit, first) = started(bob());
        let contacts = ["<sip:b@203.0.113.2>;q=0.1", "<tel:+15550100>", "*, ,<"];
        assert!(kit.feed(first.flow, moved(&first, status, &contacts)).is_empty());
        let events = told(&mut kit);
        let code: u16 = status[..3].parse().unwrap();
        let uris = vec!["tel:+15550100".to_owned(), "sip:b@203.0.113.2".to_owned()];
        assert_eq!(redirections(&events), [(code, false, uris)]);
        assert_eq!(refused(&events), Some(code));
    }
}

/// Covers: 3261-8.1.3.4-1
#[test]
fn a_secure_resource_is_left_for_nothing_less() {
    let mut kit = Kit::new();
    kit.endpoint.add_local(Transport::Tls, addr("192.0.2.1:5061"), None, None).unwrap();
    kit.subscribe(Subscribe::new("sips:bob@198.51.100.7", "presence").unwrap());
    let [Io::Connect { connect, .. }] = kit.io()[..] else { panic!() };
    let tls = Flow::stream(Transport::Tls, addr("192.0.2.1:40000"), addr("198.51.100.7:5061"), sip_events::StreamId(1));
    kit.endpoint.handle_stream_opened(kit.now, Some(connect), tls).unwrap();
    let first = kit.drain().remove(0);
    assert_eq!(line(&first), "SUBSCRIBE sips:bob@198.51.100.7 SIP/2.0");
    let contacts = ["<sip:b@203.0.113.2>", "<sips:b@198.51.100.7>;q=0.5", "<sip:b@203.0.113.2;transport=tls>"];
    let second = kit.feed(tls, moved(&first, "302 Moved", &contacts)).remove(0);
    assert_eq!((line(&second), second.flow), ("SUBSCRIBE sips:b@198.51.100.7 SIP/2.0", tls));
    assert!(kit.feed(tls, second.answer("480 Gone", "")).is_empty());
}

/// Covers: 3261-8.1.3.4-2
#[test]
fn a_proxy_that_is_to_be_used_becomes_the_next_hop() {
    let (mut kit, first) = started(bob());
    let second = kit.feed(first.flow, moved(&first, "305 Use Proxy", &["<sip:203.0.113.9;transport=udp>"])).remove(0);
    assert_eq!(line(&second), "SUBSCRIBE sip:bob@198.51.100.7:5080 SIP/2.0");
    assert_eq!(second.field(HeaderName::Route), "<sip:203.0.113.9;transport=udp;lr>");
    assert_eq!(second.flow.remote, addr("203.0.113.9:5060"));
    // A second 305 to the same proxy is a circle; a 302 behind it leads on without it.
    let third = kit.feed(second.flow, moved(&second, "302 Moved", &["<sip:b@203.0.113.4>"])).remove(0);
    assert_eq!(line(&third), "SUBSCRIBE sip:b@203.0.113.4 SIP/2.0");
    assert_eq!(third.message().field(HeaderName::Route, 0), None);
    assert!(kit.feed(third.flow, moved(&third, "305 Use Proxy", &["<sip:203.0.113.9;transport=udp>"])).is_empty());
}

/// Covers: 3261-8.1.3.4-2
#[test]
fn a_route_or_flow_of_the_applications_own_stays() {
    let (mut kit, first) = started(bob().route("sip:203.0.113.77;lr").unwrap());
    let second = kit.feed(first.flow, moved(&first, "302 Moved", &["<sip:b@203.0.113.4>"])).remove(0);
    assert_eq!(line(&second), "SUBSCRIBE sip:b@203.0.113.4 SIP/2.0");
    assert_eq!(second.field(HeaderName::Route), "<sip:203.0.113.77;lr>");
    assert_eq!(second.flow, first.flow);
    let outbound = Flow::udp(addr(LOCAL), addr("203.0.113.88:5060"));
    let (mut kit, first) = started(bob().on_flow(outbound));
    assert_eq!(first.flow, outbound);
    let second = kit.feed(outbound, moved(&first, "302 Moved", &["<sip:b@203.0.113.4>"])).remove(0);
    assert_eq!((line(&second), second.flow), ("SUBSCRIBE sip:b@203.0.113.4 SIP/2.0", outbound));
}

/// Covers: 3261-12.2.1.2-3, 6665-RSP-3
#[test]
fn a_refresh_is_redirected_with_the_route_set_of_its_dialog() {
    let routes = "Record-Route: <sip:198.51.100.7:5080;lr>\r\n";
    for (routes, next) in [("", "203.0.113.4:5060"), (routes, "198.51.100.7:5080")] {
        let (mut kit, first) = started(bob());
        establish(&mut kit, &first, routes);
        let id = kit.endpoint.subscriptions().next().unwrap();
        kit.endpoint.refresh(kit.now, id, None).unwrap();
        let refresh = kit.drain().remove(0);
        let again = kit.feed(peer(), moved(&refresh, "302 Moved", &["<sip:b@203.0.113.4>"])).remove(0);
        assert_eq!(line(&again), "SUBSCRIBE sip:b@203.0.113.4 SIP/2.0");
        assert_eq!(again.message().field(HeaderName::Route, 0).is_some(), !routes.is_empty());
        assert_eq!(again.flow.remote, addr(next));
        assert!(field(&again, HeaderName::To).ends_with(";tag=theirs"));
        // It fails there: the subscription stands, and the next one goes to the dialog's target.
        kit.feed(again.flow, again.answer("500 Sorry", "Retry-After: 20\r\n"));
        assert!(told(&mut kit).iter().any(|event| matches!(event, Event::RefreshFailed { .. })));
        let later = kit.run_millis(30_000).remove(0).1;
        assert_eq!(line(&later), "SUBSCRIBE sip:bob@198.51.100.7:5080 SIP/2.0");
        assert_eq!(later.flow.remote, addr("198.51.100.7:5080"));
    }
}

/// Covers: 3261-12.2.1.2-3, 6665-NRC-5
#[test]
fn a_notify_is_redirected_for_that_one_time() {
    let mut kit = Kit::notifier();
    let first = watched(&mut kit, &Request::subscribe("s1"), peer());
    let contacts = ["<sip:a@203.0.113.3>;q=0.5", "<sip:b@203.0.113.4>"];
    let second = kit.feed(peer(), moved(&first, "302 Moved", &contacts)).remove(0);
    assert_eq!(line(&second), "NOTIFY sip:b@203.0.113.4 SIP/2.0");
    assert_eq!(second.flow.remote, addr("203.0.113.4:5060"));
    let third = kit.feed(second.flow, second.answer("503 Busy", "")).remove(0);
    assert_eq!(line(&third), "NOTIFY sip:a@203.0.113.3 SIP/2.0");
    assert!(kit.feed(third.flow, third.answer("200 OK", "")).is_empty());
    assert_eq!(redirections(&told(&mut kit)).len(), 1);
    let watcher = kit.endpoint.watchers().next().unwrap();
    kit.endpoint.shorten(kit.now, watcher, 100).unwrap();
    assert!(kit.drain().is_empty(), "not so soon after the last one");
    let next = kit.run_millis(10_000).remove(0).1;
    assert_eq!(line(&next), "NOTIFY sip:alice@198.51.100.7:5080 SIP/2.0");
    assert_eq!(next.flow, peer());
}

/// The best address never answers: the next one is asked, in the time that each request has, and there is an end to it.
///
/// Covers: 3261-8.1.3.4-1, 3261-8.1.3.1-1, 6665-SSM-9
#[test]
fn an_address_that_says_nothing_is_passed_over() {
    let contacts = ["<sip:silent@203.0.113.1>;q=0.9", "<sip:low@203.0.113.3>;q=0.1", "<sip:late@203.0.113.2>;q=0.5"];
    let (mut kit, first) = started(bob());
    let began = kit.now;
    let silent = kit.feed(first.flow, moved(&first, "302 Moved", &contacts)).remove(0);
    assert_eq!(line(&silent), "SUBSCRIBE sip:silent@203.0.113.1 SIP/2.0");
    let passed =
        kit.run_millis(32_000).into_iter().map(|(_, sent)| sent).find(|sent| line(sent) != line(&silent)).unwrap();
    assert_eq!(line(&passed), "SUBSCRIBE sip:late@203.0.113.2 SIP/2.0");
    // A proxy's 408 is as good as silence.
    let third = kit.feed(passed.flow, passed.answer("408 Request Timeout", "")).remove(0);
    assert_eq!(line(&third), "SUBSCRIBE sip:low@203.0.113.3 SIP/2.0");
    assert_eq!(refused(&told(&mut kit)), None);
    // It accepts, and the NOTIFY has its full time.
    kit.feed(third.flow, third.answer("200 OK", "Expires: 600\r\nContact: <sip:low@203.0.113.3>\r\n"));
    kit.run_millis(31_000);
    let flow = Flow::udp(addr(LOCAL), addr("203.0.113.3:5060"));
    assert_eq!(kit.feed(flow, notify(&third, 1, "active;expires=500", "")).remove(0).status(), 200);
    assert!(told(&mut kit).iter().any(|event| matches!(event, Event::Notify { .. })));

    // Nobody answers at all: each address has had its time once.
    let (mut kit, first) = started(bob());
    let mut sent = kit.feed(first.flow, moved(&first, "302 Moved", &contacts));
    sent.extend(kit.run_millis(7_200_000).into_iter().map(|(_, sent)| sent));
    let mut lines: Vec<_> = sent.iter().map(line).collect();
    lines.dedup();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let events = told(&mut kit);
    let ended = events.iter().filter(|event| matches!(event, Event::Terminated { .. })).count();
    assert!(ended == 1 && kit.endpoint.subscriptions().next().is_none(), "{events:?}");
    assert!(kit.now - began >= std::time::Duration::from_secs(96));
}

/// Covers: 6665-NRC-5, 3261-8.1.3.1-1
#[test]
fn a_redirected_notify_passes_over_who_says_nothing() {
    let mut kit = Kit::notifier();
    let first = watched(&mut kit, &Request::subscribe("s1"), peer());
    let contacts = ["<sip:low@203.0.113.3>;q=0.1", "<sip:silent@203.0.113.4>"];
    let silent = kit.feed(peer(), moved(&first, "302 Moved", &contacts)).remove(0);
    let next =
        kit.run_millis(32_000).into_iter().map(|(_, sent)| sent).find(|sent| line(sent) != line(&silent)).unwrap();
    assert_eq!(line(&next), "NOTIFY sip:low@203.0.113.3 SIP/2.0");
    kit.feed(next.flow, next.answer("200 OK", ""));
    assert_eq!(kit.endpoint.watchers().count(), 1);
    // With nobody left it is as with any NOTIFY that is not answered.
    let watcher = kit.endpoint.watchers().next().unwrap();
    kit.endpoint.shorten(kit.now, watcher, 200).unwrap();
    assert!(kit.drain().is_empty());
    let again = kit.run_millis(10_000).remove(0).1;
    kit.feed(peer(), moved(&again, "302 Moved", &["<sip:silent@203.0.113.4>"]));
    kit.run_millis(32_000);
    assert_eq!(kit.endpoint.watchers().count(), 0);
}

/// A subscriber that points its NOTIFYs at somebody else reaches that address
/// with a bounded number of bytes.
#[test]
fn a_redirected_notify_is_sent_to_a_stranger_once() {
    let mut kit = Kit::notifier();
    let first = watched(&mut kit, &Request::subscribe("s1"), peer());
    let mut victims = kit.feed(peer(), moved(&first, "302 Moved", &["<sip:v@203.0.113.4>"]));
    victims.extend(kit.run_millis(40_000).into_iter().map(|(_, sent)| sent));
    assert_eq!(victims.iter().filter(|sent| sent.flow.remote == addr("203.0.113.4:5060")).count(), 1);
}

#[test]
fn a_subscription_that_ends_meanwhile_goes_nowhere() {
    let (mut kit, first) = started(bob());
    establish(&mut kit, &first, "");
    let id = kit.endpoint.subscriptions().next().unwrap();
    kit.endpoint.refresh(kit.now, id, None).unwrap();
    let refresh = kit.drain().remove(0);
    kit.feed(peer(), notify(&first, 2, "terminated;reason=noresource", ""));
    assert!(kit.feed(peer(), moved(&refresh, "302 Moved", &["<sip:b@203.0.113.4>"])).is_empty());
    assert!(redirections(&told(&mut kit)).is_empty());
}
