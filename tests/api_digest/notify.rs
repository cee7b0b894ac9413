//! NOTIFYs are challenged: by a subscriber of ours, by others, by proxies.

use std::time::Duration;

use sip_events::digest::{Credentials, Secret, Server};
use sip_events::package::{EventPackage, Expires, NotifyContext, Rendered};
use sip_events::{Authentication, Body, Config, Decision, Event, Packages, Reason, ResourceKey, Seed, Subscribe};

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
    Pair { client, server, ..Pair::new(with_users()) }
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

/// Documents that carry a number.
#[derive(Debug)]
struct Counted;

impl EventPackage for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 7200)
    }

    fn notify_bodies(&self) -> &[&str] {
        &["application/pidf+xml"]
    }

    fn rate(&self) -> Duration {
        Duration::ZERO
    }

    fn render(&self, _: &NotifyContext<'_>) -> Rendered {
        Rendered::Numbered { body: Body::new("application/pidf+xml", "<v n=''/>"), at: 6 }
    }
}

fn counted() -> Packages {
    let mut packages = Packages::new();
    packages.register(Counted).unwrap();
    packages
}

/// A numbered document is hashed as it is sent.
///
/// Covers: 7616-3.4-3
#[test]
fn auth_int_covers_the_number_in_a_document() {
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(Authentication::None);
    let mut server = Host::made(config, counted(), SERVER, 2);
    let resource = server.endpoint.add_resource(&ResourceKey::new(BOB, "counted").unwrap()).unwrap();
    server.endpoint.set_state(server.now, resource, Body::new("application/pidf+xml", "<x/>")).unwrap();
    server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    let mut client = Host::made(Config::new("sip:alice@192.0.2.1").unwrap(), counted(), CLIENT, 1);
    let (_, request) = client.subscribe(Subscribe::new(BOB, "counted").unwrap());
    server.feed(CLIENT, &request);
    let Some(Event::Subscribe(id)) = server.events.last().cloned() else { panic!() };
    server.endpoint.accept(server.now, id, Decision::ACCEPT).unwrap();
    let sent = server.drain();
    let notify = those(&sent, "NOTIFY")[0].to_vec();
    let mut peer = Server::new(settings().integrity(true), &Seed([5; 32]), 10, server.now);
    let mut challenge = Vec::new();
    peer.write_challenges(server.now, false, &mut challenge);
    let challenge = text(&challenge).replace("auth,auth-int", "auth-int");
    let again = server.respond(&notify, "401 x", &challenge).remove(0);
    let (head, body) = text(&again).split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "<v n='0'/>");
    let uri = head.split(' ').nth(1).unwrap().as_bytes();
    let line = field(&again, "Authorization").unwrap();
    let claim = peer.check(server.now, [line.as_bytes()].into_iter(), uri, b"").unwrap();
    let secret = Secret::password("other");
    assert!(peer.verify(server.now, &claim, Some(&secret), b"NOTIFY", &[b"<v n='1'/>"]).is_err());
    assert!(peer.verify(server.now, &claim, Some(&secret), b"NOTIFY", &[body.as_bytes()]).is_ok());
}

/// Covers: 6665-5.3.2-2
#[test]
fn a_challenge_leaves_no_gap_in_numbered_documents() {
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(Authentication::None);
    let mut server = Host::made(config, counted(), SERVER, 2);
    let resource = server.endpoint.add_resource(&ResourceKey::new(BOB, "counted").unwrap()).unwrap();
    server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    let settings = with_users().notify(true).nonce_life(SECOND * 30);
    let config = Config::new("sip:alice@192.0.2.1").unwrap().with_authentication(settings.into());
    let client = Host::made(config, counted(), CLIENT, 1);
    let mut pair = Pair { client, server, ..Pair::new(with_users()) };
    pair.subscribe(Subscribe::new(BOB, "counted").unwrap());
    for n in 0..4 {
        pair.pass(SECOND * 60);
        let now = pair.server.now;
        let state = Body::new("application/pidf+xml", format!("<x>{n}</x>"));
        pair.server.endpoint.set_state(now, resource, state).unwrap();
        pair.settle();
    }
    let bodies: Vec<_> = pair
        .client
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Notify { body: Some(body), .. } => Some(text(&body.data).to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, ["<v n='0'/>", "<v n='1'/>", "<v n='2'/>", "<v n='3'/>"]);
    assert_eq!(those(&pair.log, "SIP/2.0 401").len(), 5);
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
    server.endpoint.accept(server.now, id, Decision::ACCEPT).unwrap();
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

/// An address that a redirection named challenges with the realm that was answered before: it is answered too.
///
/// Covers: 3261-22.2-2, 3261-8.1.3.4-1
#[test]
fn a_redirected_notify_is_authenticated_where_it_goes() {
    let mut server = pair().server;
    server.endpoint.set_credentials(vec![notifier_credentials()]).unwrap();
    let subscribe = format!(
        "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {CLIENT};branch=z9hG4bKs\r\nMax-Forwards: 70\r\nFrom: <sip:alice@192.0.2.1>;tag=a\r\n\
         To: <{BOB}>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:alice@192.0.2.1>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n"
    );
    server.feed(CLIENT, subscribe.as_bytes());
    let Some(Event::Subscribe(incoming)) = server.events.pop() else { panic!() };
    server.endpoint.accept(server.now, incoming, Decision::ACCEPT).unwrap();
    let first = server.drain().pop().unwrap();
    let challenge = |nonce| format!("WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"{nonce}\", qop=\"auth\"\r\n");
    let second = server.respond(&first, "401 Unauthorized", &challenge("one")).remove(0);
    let third = server.respond(&second, "302 Moved", "Contact: <sip:x@192.0.2.1>\r\n").remove(0);
    assert!(is(&third, "NOTIFY sip:x@192.0.2.1 "));
    let fourth = server.respond(&third, "401 Unauthorized", &challenge("two")).remove(0);
    assert_eq!(param(field(&fourth, "Authorization").unwrap(), "nonce"), Some("two"));
    // And refused there it is refused.
    assert!(server.respond(&fourth, "401 Unauthorized", &challenge("three")).is_empty());
    assert_eq!(server.endpoint.watchers().count(), 1);
}
