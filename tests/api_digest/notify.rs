//! NOTIFYs are challenged: by a subscriber of ours, by others, by proxies.

use std::time::Duration;

use sip_events::digest::{Credentials, Secret};
use sip_events::{Authentication, Body, Config, Event, Reason, ResourceKey};

use super::kit::*;

const SECOND: Duration = Duration::from_secs(1);

fn notifier_credentials() -> Credentials {
    Credentials::new("carol", Secret::password("other")).unwrap().realm(REALM)
}

/// A subscriber that wants NOTIFYs authenticated, and a notifier that does not care.
fn pair() -> Pair {
    let config = Config::new("sip:alice@192.0.2.1").unwrap().with_authentication(with_users().notify(true).into());
    let client = Host::new(config, CLIENT, 1);
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(Authentication::None);
    let mut server = Host::new(config, SERVER, 2);
    server.endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    Pair { client, server, accept: true, log: Vec::new() }
}

/// Covers: 6665-4.1.3-4, 6665-NRC-6, 3265-3.2.4-4, 3265-3.2.2-3, PEER-D22, ADV-E23
#[test]
fn a_challenged_notify_comes_again_once_and_later_ones_at_once() {
    let mut pair = pair();
    pair.server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    let (_, log) = pair.subscribe(bob());
    let sent = those(&log, "NOTIFY");
    assert_eq!(sent.len(), 2);
    let cseq = |message| field(message, "CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(cseq(sent[1]), cseq(sent[0]) + 1);
    for name in ["Call-ID", "From", "To", "Event"] {
        assert_eq!(field(sent[0], name), field(sent[1], name));
    }
    let answer = field(sent[1], "Authorization").unwrap();
    assert_eq!(param(answer, "uri"), text(sent[1]).split(' ').nth(1));
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
    assert!(field(those(&log, "SIP/2.0 200").last().unwrap(), "Authentication-Info").is_some());
    for n in 2..4 {
        pair.pass(SECOND * 10);
        set_state(&mut pair.server, &format!("<presence n='{n}'/>"));
        let log = pair.settle();
        let sent = those(&log, "NOTIFY");
        assert_eq!(sent.len(), 1);
        assert_eq!(param(field(sent[0], "Authorization").unwrap(), "nc"), Some(format!("{n:08x}").as_str()));
    }
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 3);
    // Nothing is kept of the refused ones.
    pair.pass(SECOND * 40);
    assert_eq!(pair.client.endpoint.transactions(), (0, 0));
}

/// Covers: 6665-RACE-17, 6665-NRC-22
#[test]
fn the_last_notify_is_answered_for_as_well() {
    let mut pair = pair();
    pair.server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    pair.subscribe(bob());
    // The nonce is too old by now.
    pair.pass(SECOND * 400);
    let watcher = pair.server.endpoint.watchers().next().unwrap();
    pair.server.endpoint.terminate(pair.server.now, watcher, &Reason::NoResource, None).unwrap();
    let log = pair.settle();
    let sent = those(&log, "NOTIFY");
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|m| field(m, "Subscription-State") == Some("terminated;reason=noresource")));
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. })), 1);
    assert_eq!(pair.server.count(|e| matches!(e, Event::WatcherGone { .. })), 1);
}

/// Covers: 6665-NRC-6, PEER-D21
#[test]
fn without_credentials_the_watcher_stays_and_it_is_told() {
    let mut pair = pair();
    let (_, log) = pair.subscribe(bob());
    assert_eq!(those(&log, "NOTIFY").len(), 1);
    let Some(Event::Challenge { subject, realm }) = pair.server.events.last().cloned() else { panic!() };
    assert_eq!(realm, REALM);
    assert_eq!(pair.server.endpoint.watchers().count(), 1);
    pair.server.endpoint.authenticate(pair.server.now, subject, notifier_credentials()).unwrap();
    pair.pass(SECOND * 20);
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
}

/// Covers: 6665-5.3.2-2
#[test]
fn a_challenge_leaves_no_gap_in_numbered_documents() {
    let mut pair = pair();
    pair.server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    pair.server.endpoint.add_resource(&ResourceKey::new(BOB, "dialog").unwrap()).ok();
    pair.subscribe(sip_events::Subscribe::new(BOB, "presence").unwrap());
    // Counted by the subscriber: each document it takes is one further.
    let seen = pair.client.count(|e| matches!(e, Event::Notify { .. }));
    set_state(&mut pair.server, "<a/>");
    pair.pass(SECOND * 400);
    set_state(&mut pair.server, "<b/>");
    pair.pass(SECOND * 10);
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), seen + 2);
    let _ = Body::new("a/b", "");
}

/// Covers: 3261-22.3-2, 3261-7.3.1-9
#[test]
fn a_proxy_on_the_way_of_notifies_is_answered() {
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(Authentication::None);
    let mut server = Host::new(config, SERVER, 2);
    server.endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    server.endpoint.set_credentials(vec![alice()]).unwrap();
    let mut client = Host::client();
    let (_, request) = client.subscribe(bob());
    let routed = text(&request).replace("\r\nFrom", "\r\nRecord-Route: <sip:192.0.2.1;lr>\r\nFrom");
    server.feed(CLIENT, routed.as_bytes());
    let Some(Event::Subscribe(id)) = server.events.last().cloned() else { panic!() };
    server.endpoint.accept(server.now, id, sip_events::Decision::ACCEPT).unwrap();
    let sent = server.drain();
    let notify = those(&sent, "NOTIFY")[0].to_vec();
    let again = server
        .respond(&notify, "407 x", "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"\r\n")
        .remove(0);
    let order = text(&again);
    assert!(order.find("\r\nProxy-Authorization").unwrap() < order.find("\r\nRoute").unwrap());
    assert_eq!(field(&again, "Route"), Some("<sip:192.0.2.1;lr>"));
    assert!(
        server
            .respond(&again, "407 x", "Proxy-Authenticate: Digest realm=\"p\", nonce=\"m\", qop=\"auth\"\r\n")
            .is_empty()
    );
    assert_eq!(server.endpoint.watchers().count(), 1);
}
