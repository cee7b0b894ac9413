//! RFC 3261 section 12: dialogs.

use sip_events::wire::Transport;
use sip_events::{Event, Packages, Subscribe};

use crate::harness::{BOB, Out, PEER_URI, Rig, addr, only, secs, subscribe};

fn first(sent: Vec<(std::time::Duration, Out)>) -> Out {
    sent.into_iter().next().expect("nothing was sent").1
}

/// Covers: 3261-12-1, 3261-12.2.2-1, 3265-3.1.2-4, PEER-C13
#[test]
fn a_dialog_is_call_id_and_both_tags() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let refresh = |n: u32| theirs.ok.refresh(n, 600);
    let tag = theirs.ok.tag("To").unwrap();
    let flip = |text: &str| text.replace(&tag, &format!("{}0", &tag[..tag.len() - 1]));
    let other_to = flip(&theirs.ok.get("To"));
    assert_ne!(other_to, theirs.ok.get("To"));
    for wrong in [
        refresh(2).set("Call-ID", "C1@198.51.100.7"),
        refresh(3).set("From", "<sip:peer@example.com>;tag=P1"),
        refresh(4).set("From", "<sip:peer@example.com>"),
        refresh(5).set("To", other_to),
        refresh(6).set("To", format!("<{BOB}>;tag=none")),
    ] {
        let answer = rig.one(&wrong);
        assert_eq!(answer.status(), 481, "{wrong:?}");
        assert!(!answer.has("Contact") && !answer.has("Expires"));
    }
    // The URIs of From and To do not count, and nothing above has touched the dialog.
    let answers = rig.feed(refresh(2).branch("ok").set("From", "\"P\" <sip:other@example.com>;tag=p1"));
    assert_eq!(answers[0].status(), 200);
    assert_eq!(only(&answers, "NOTIFY").len(), 1);
}

/// Covers: 3261-12.1.1-1, 3261-12.1.1-2, 3261-12.1.1-5, 3261-12.1.1-6, 3261-12.2.1.1-1, 3261-12.2.1.1-4,
/// 3261-12.2.1.1-6
#[test]
fn the_notifiers_dialog_is_made_of_the_subscribe() {
    let mut rig = Rig::notifier();
    let routes = ["<sip:p1.example.com;lr;x=1>;y=\"2, 3\"", "<sip:198.51.100.9;lr>, <sip:p3.example.com>;z"];
    let subscribe =
        subscribe(600).add("Record-Route", routes[0]).add("Record-Route", routes[1]).set("CSeq", "77 SUBSCRIBE");
    rig.quiet(&subscribe);
    let incoming = rig.incoming();
    let id = rig.endpoint.accept(rig.now, incoming, sip_events::Decision::ACCEPT).unwrap();
    let ok = rig.drain().remove(0);
    assert_eq!(ok.all("Record-Route"), routes);
    assert_eq!(ok.get("Contact"), "<sip:me@192.0.2.1:5060>");
    // The first hop is a name, which the driver looks up.
    let query = rig.events.iter().find_map(|event| match event {
        Event::Io(sip_events::Io::Resolve { query, question }) => Some((*query, question.clone())),
        _ => None,
    });
    assert_eq!(query.expect("it asks for the first route").1.name, "p1.example.com");
    let watcher = rig.endpoint.watcher(id).unwrap();
    assert_eq!((watcher.target, watcher.from), (PEER_URI.as_bytes(), &b"<sip:peer@example.com>;tag=p1"[..]));

    let mut rig = Rig::notifier();
    let subscribe = subscribe_through("<sip:198.51.100.9;lr;x=1>, <sip:p2.example.com;lr>");
    let theirs = rig.theirs_by(&subscribe);
    let notify = &theirs.notify;
    assert_eq!(notify.all("Route"), ["<sip:198.51.100.9;lr;x=1>, <sip:p2.example.com;lr>"]);
    assert_eq!((notify.uri(), notify.flow.remote), (PEER_URI.into(), addr("198.51.100.9:5060")));
    assert_eq!(notify.get("To"), "<sip:peer@example.com>;tag=p1");
    assert_eq!(notify.get("From"), theirs.ok.get("To"));
    assert_eq!(notify.get("Call-ID"), "c1@198.51.100.7");
    assert_eq!(notify.get("Contact"), theirs.ok.get("Contact"));
    assert!(notify.cseq() < 1 << 31);
    // The SUBSCRIBE's number is the peer's, not ours: the next of theirs may be 78.
    assert_eq!(rig.feed(theirs.ok.refresh(77, 600))[0].status(), 500);
    assert_eq!(rig.feed(theirs.ok.refresh(78, 600))[0].status(), 200);
}

fn subscribe_through(routes: &str) -> crate::harness::Text {
    subscribe(600).add("Record-Route", routes).set("CSeq", "77 SUBSCRIBE")
}

/// Covers: 3261-12.1.1-3, 3261-12.1.1-4
#[test]
fn a_secure_way_gets_a_secure_contact() {
    let sips = BOB.replace("sip:", "sips:");
    let rows = [
        (BOB, "", "sip:peer@198.51.100.7:5080", "sip:"),
        (&sips, "", "sips:peer@198.51.100.7:5081", "sips:"),
        (BOB, "<sips:198.51.100.9;lr>", "sip:peer@198.51.100.7:5080", "sips:"),
        (BOB, "<sip:198.51.100.9;lr>, <sips:198.51.100.8;lr>", "sips:peer@198.51.100.7", "sip:"),
        (BOB, "", "sips:peer@198.51.100.7:5081", "sips:"),
    ];
    for (uri, routes, contact, scheme) in rows {
        let mut rig = Rig::notifier();
        rig.endpoint.add_local(Transport::Tls, addr("192.0.2.1:5061"), None, None).unwrap();
        let bob = sip_events::ResourceKey::new(&sips, "presence").unwrap();
        rig.endpoint.add_resource(&bob).unwrap();
        let mut text = subscribe(600).line(format!("SUBSCRIBE {uri} SIP/2.0")).set("Contact", format!("<{contact}>"));
        if !routes.is_empty() {
            text = text.add("Record-Route", routes);
        }
        rig.quiet(text);
        let incoming = rig.incoming();
        rig.endpoint.accept(rig.now, incoming, sip_events::Decision::ACCEPT).unwrap();
        let ok = rig.drain().remove(0);
        assert!(ok.contact().starts_with(scheme), "{uri} {routes} {contact}: {}", ok.text());
    }
}

/// Covers: 3261-12.2.1.1-6, 3261-12.1.1-3
#[test]
fn a_dialog_through_a_secure_proxy_keeps_a_secure_contact() {
    let mut rig = Rig::new();
    rig.endpoint.add_local(Transport::Tls, addr("192.0.2.1:5061"), None, None).unwrap();
    let ours = rig.start(Rig::request());
    assert_eq!(ours.subscribe.contact(), "sip:me@192.0.2.1:5060");
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, "active;expires=600").add("Record-Route", "<sips:198.51.100.9;lr>");
    assert_eq!(rig.status(notify), 200);
    rig.events.clear();
    rig.endpoint.refresh(rig.now, ours.id, None).unwrap();
    assert!(rig.drain().is_empty(), "a connection comes first");
    let connect = rig.take().into_iter().find_map(|event| match event {
        Event::Io(sip_events::Io::Connect { connect, transport: Transport::Tls, remote, .. }) => {
            Some((connect, remote))
        }
        _ => None,
    });
    let (connect, remote) = connect.expect("TLS is asked for");
    let flow = sip_events::Flow::stream(Transport::Tls, addr("192.0.2.1:5061"), remote, sip_events::StreamId(1));
    rig.endpoint.handle_stream_opened(rig.now, Some(connect), flow).unwrap();
    let refresh = rig.drain().remove(0);
    assert_eq!((refresh.get("Expires"), refresh.flow), ("600".into(), flow));
    assert!(refresh.contact().starts_with("sips:me@192.0.2.1:5061"), "{}", refresh.contact());
}

/// Covers: 3261-12.2-1, 3261-12.2.2-4, 3265-3.1.5-2
#[test]
fn a_refresh_moves_the_target_and_never_the_route_set() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe_through("<sip:198.51.100.9;lr>"));
    let refresh = theirs.ok.refresh(78, 600).set("Contact", "<sip:moved@198.51.100.20:5090>");
    let sent = rig.feed(refresh.add("Record-Route", "<sip:198.51.100.66;lr>"));
    assert_eq!(sent[0].status(), 200);
    assert!(!sent[0].has("Record-Route"), "no dialog is formed");
    let notify = &only(&sent, "NOTIFY")[0];
    assert_eq!(notify.uri(), "sip:moved@198.51.100.20:5090");
    assert_eq!(notify.all("Route"), ["<sip:198.51.100.9;lr>"]);

    // At the subscriber a NOTIFY does the same.
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600).add("Record-Route", "<sip:198.51.100.77;lr>"));
    let notify = |n: u32| ours.subscribe.notify(n, "active;expires=600");
    assert_eq!(rig.status(notify(1).add("Record-Route", "<sip:198.51.100.9;lr>")), 200);
    let moved = notify(2).set("Contact", "<sip:moved@198.51.100.20:5090>");
    assert_eq!(rig.status(moved.add("Record-Route", "<sip:198.51.100.66;lr>")), 200);
    let refresh = rig.refresh(&ours);
    assert_eq!(refresh.uri(), "sip:moved@198.51.100.20:5090");
    assert_eq!(refresh.all("Route"), ["<sip:198.51.100.9;lr>"]);
}

/// Covers: 3261-12.2.1.1-2, 3261-12.2.1.1-6, 3265-3.1.1-2
#[test]
fn numbers_rise_by_one_in_each_direction() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    let mut last = theirs.notify.cseq();
    for n in 0..5 {
        rig.idle(secs(6));
        let sent = rig.set_bob(&format!("<n{n}/>"));
        assert_eq!((sent.len(), sent[0].cseq()), (1, last + 1));
        assert_eq!(sent[0].get("Contact"), theirs.ok.get("Contact"));
        last = sent[0].cseq();
        rig.quiet(sent[0].answer("200 OK"));
    }
    let mut rig = Rig::new();
    let ours = rig.ours();
    let mut last = ours.subscribe.clone();
    for n in 2..6 {
        let refresh = rig.refresh(&ours);
        assert_eq!(refresh.cseq(), last.cseq() + 1);
        for same in ["Call-ID", "From", "Contact"] {
            assert_eq!(refresh.get(same), last.get(same));
        }
        assert_eq!(refresh.tag("To").as_deref(), Some("theirs"));
        assert_ne!(refresh.branch(), last.branch());
        rig.quiet(refresh.accepted(600));
        assert_eq!(rig.status(ours.subscribe.notify(n, "active;expires=600")), 200);
        last = refresh;
    }
}

/// Covers: 3261-12.2.1.2-1, ADV-N5
#[test]
fn a_2xx_moves_the_remote_target() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.accepted(600).set("Contact", "<sip:moved@198.51.100.20:5090>"));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600").without("Contact")), 200);
    let next = rig.refresh(&ours);
    assert_eq!((next.uri(), next.flow.remote), ("sip:moved@198.51.100.20:5090".into(), addr("198.51.100.20:5090")));

    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), sip_events::Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("200 OK").add("Contact", "<sip:moved@198.51.100.20:5090>"));
    rig.idle(secs(6));
    let sent = rig.set_bob("<x/>");
    assert_eq!(
        (sent[0].uri(), sent[0].flow.remote),
        ("sip:moved@198.51.100.20:5090".into(), addr("198.51.100.20:5090"))
    );
    // No Contact in a 2xx changes nothing.
    rig.quiet(sent[0].answer("200 OK"));
    rig.idle(secs(6));
    assert_eq!(rig.set_bob("<y/>")[0].uri(), "sip:moved@198.51.100.20:5090");
}

/// Covers: 3261-12.2.1.2-2
#[test]
fn refusal_and_silence_end_the_dialog_as_the_tables_say() {
    // 481: at once.
    let mut rig = Rig::new();
    let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("481 Gone"));
    assert!(!rig.lives(&ours));
    assert_eq!(rig.status(ours.subscribe.notify(2, "active;expires=600")), 481);
    // 408 and no response: Timer N runs on and decides.
    for silent in [true, false] {
        let mut rig = Rig::new();
        let ours = rig.ours_in(Rig::request().auto_resubscribe(false), "active;expires=600");
        let refresh = rig.refresh(&ours);
        if !silent {
            rig.quiet(refresh.answer("408 Timeout"));
        }
        rig.run(secs(33));
        assert!(!rig.lives(&ours));
    }
    // At the notifier.
    let mut rig = Rig::notifier();
    let theirs = rig.decide(subscribe(600), sip_events::Decision::ACCEPT);
    rig.quiet(theirs.notify.answer("481 Gone"));
    assert!(!rig.watches(&theirs));
    let theirs = rig.decide(subscribe(600).set("Call-ID", "c2").branch("x"), sip_events::Decision::ACCEPT);
    rig.run(secs(32));
    assert!(!rig.watches(&theirs));
}

/// Covers: 3261-12.2.2-2, 3261-12.2.2-3, 3261-12.2.2-6
#[test]
fn old_and_equal_numbers_are_out_of_order_and_gaps_are_not() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).set("CSeq", "10 SUBSCRIBE"));
    let mut status = |number: u32, branch: &str| {
        let sent = rig.feed(theirs.ok.refresh(number, 600).branch(branch));
        if let Some(notify) = only(&sent, "NOTIFY").first() {
            rig.quiet(notify.answer("200 OK"));
        }
        sent[0].status()
    };
    let rows =
        [(9, 500), (10, 500), (15, 200), (14, 500), (15, 500), (16, 200), (u32::MAX, 200), (17, 500), (u32::MAX, 500)];
    for (at, (number, expected)) in rows.into_iter().enumerate() {
        assert_eq!(status(number, &format!("r{at}")), expected, "{number}");
    }

    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let rows = [(5, 200), (5, 500), (4, 500), (9, 200), (8, 500), (u32::MAX, 200), (10, 500)];
    for (at, (number, expected)) in rows.into_iter().enumerate() {
        let notify = ours.subscribe.notify(number, "active;expires=600").branch(&format!("r{at}"));
        let answer = rig.one(notify);
        assert_eq!(answer.status(), expected, "{number}");
        // An older notifier would give up without it (6665-BC-14).
        assert_eq!(answer.has("Retry-After"), expected == 500);
    }
}

/// Covers: 3261-12.2.2-5, 3261-8.2-1
#[test]
fn a_refused_request_leaves_everything_as_it_was() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs();
    rig.idle(secs(100));
    let before = rig.endpoint.watcher(theirs.id).unwrap().expires_at;
    let moved = |n: u32| theirs.ok.refresh(n, 3000).set("Contact", "<sip:moved@198.51.100.20>");
    for (status, refused) in [
        (423, moved(5).set("Expires", "1")),
        (406, moved(6).add("Accept", "text/x")),
        (415, moved(7).body("text/x", "x")),
        (420, moved(8).add("Require", "x")),
        (489, moved(9).set("Event", "nosuch")),
        (403, moved(10).set("Event", "presence;id=1")),
        (400, moved(11).set("Contact", "<tel:1>")),
        (400, moved(12).add("Event", "presence")),
    ] {
        assert_eq!(rig.status(&refused), status, "{refused:?}");
        let watcher = rig.endpoint.watcher(theirs.id).unwrap();
        assert_eq!((watcher.expires_at, watcher.target), (before, PEER_URI.as_bytes()), "{status}");
    }
    // Its CSeq did not count either, so that a corrected attempt may follow.
    let sent = rig.feed(moved(5).branch("retry"));
    assert_eq!(sent[0].status(), 200);
    assert_eq!(only(&sent, "NOTIFY")[0].uri(), "sip:moved@198.51.100.20");
}

/// Covers: 5627-1, 5627-3, 5627-4, 5627-6
#[test]
fn a_gruu_is_our_contact_and_a_peers_is_left_as_it_is() {
    let gruu = "sip:bob@192.0.2.1;gr=urn:uuid:f81d4fae";
    let mut rig = Rig::bare(Rig::config(), Packages::standard());
    rig.endpoint.add_local(Transport::Udp, addr("192.0.2.1:5060"), None, Some(gruu.try_into().unwrap())).unwrap();
    rig.add_bob();
    // Asked for by its address of record and by the GRUU itself.
    for (n, uri) in [(1, BOB), (2, gruu)] {
        let text = subscribe(600).line(format!("SUBSCRIBE {uri} SIP/2.0")).set("Call-ID", format!("g{n}"));
        let theirs = rig.theirs_by(text.branch(&format!("g{n}")).set("Contact", "<sip:peer@10.9.9.9;gr=x>"));
        assert_eq!((theirs.ok.contact(), theirs.notify.contact()), (gruu.into(), gruu.into()));
        assert_eq!(theirs.notify.uri(), "sip:peer@10.9.9.9;gr=x");
        assert_eq!(theirs.notify.flow.remote, addr("10.9.9.9:5060"), "not where the SUBSCRIBE came from");
    }
    let sent = rig.start(Subscribe::new(PEER_URI, "presence").unwrap()).subscribe;
    assert_eq!(sent.contact(), gruu);
}

/// Covers: 3261-18.1.1-3
#[test]
fn datagrams_may_be_as_large_as_udp_allows() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let notify = ours.subscribe.notify(2, "active;expires=600");
    let head = notify.clone().body(crate::harness::PIDF, "").bytes().len();
    let body = "x".repeat(65_535 - head - 4);
    let text = notify.body(crate::harness::PIDF, body.clone());
    assert_eq!(text.bytes().len(), 65_535);
    assert_eq!(rig.status(text), 200);
    assert_eq!(rig.notified(), [body]);
}

/// Covers: 5626-codes-1
#[test]
fn a_failed_flow_of_a_proxy_is_a_plain_refusal() {
    let mut rig = Rig::new();
    let ours = rig.ours();
    let refresh = rig.refresh(&ours);
    rig.quiet(refresh.answer("430 Flow Failed"));
    assert!(rig.lives(&ours));
    let sent = first(rig.run(secs(550)));
    assert!(sent.is("SUBSCRIBE"), "it is tried again before the end");
}
