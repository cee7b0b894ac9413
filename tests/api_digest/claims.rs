//! Requests whose user is being looked up.

use std::time::Duration;

use sip_events::digest::{Algorithm, Challenge, Request, Secret, Session};
use sip_events::{Config, Decision, Event, Limits, Misuse, ResourceKey, Timers};

use super::kit::*;

fn subscribe(branch: &str, authorization: &str) -> Vec<u8> {
    format!(
        "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {CLIENT};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@192.0.2.1>;tag={branch}\r\nTo: <{BOB}>\r\nCall-ID: {branch}\r\nCSeq: 1 SUBSCRIBE\r\n\
         Contact: <sip:alice@{CLIENT}>\r\nEvent: presence\r\nExpires: 600\r\n{authorization}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn server(change: impl Fn(&mut Limits, &mut Timers)) -> Host {
    let (mut limits, mut timers) = (Limits::default(), Timers::default());
    change(&mut limits, &mut timers);
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_limits(limits).with_timers(timers).unwrap();
    let mut host = Host::new(config.with_authentication(settings().into()), SERVER, 2);
    host.endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    host
}

/// A session with the nonce of a challenge that `host` has given.
fn session(host: &mut Host) -> Session {
    let challenge = host.feed(CLIENT, &subscribe("first", "")).remove(0);
    let challenge = Challenge::parse(field(&challenge, "WWW-Authenticate").unwrap().as_bytes()).unwrap();
    Session::new(false, &challenge, &alice(), 7).unwrap()
}

fn authorization(session: &mut Session) -> String {
    let mut line = Vec::new();
    session.write(&Request { method: b"SUBSCRIBE", uri: BOB.as_bytes(), body: &[] }, &mut line);
    text(&line).to_owned()
}

/// One challenge is worth one look-up at a time, so that nobody fills the
/// places of others with one nonce.
///
/// Covers: 7616-3.4-4
#[test]
fn a_nonce_that_waits_is_not_looked_up_again() {
    let mut host = server(|limits, _| limits.incoming = 4);
    let mut own = session(&mut host);
    let line = authorization(&mut own);
    assert!(host.feed(CLIENT, &subscribe("b0", &line)).is_empty());
    for n in 1..10 {
        let line = if n % 2 == 0 { line.clone() } else { authorization(&mut own) };
        let answer = host.feed(CLIENT, &subscribe(&format!("b{n}"), &line)).remove(0);
        assert!(is(&answer, "SIP/2.0 401"));
        assert_eq!(param(field(&answer, "WWW-Authenticate").unwrap(), "stale"), Some("true"));
    }
    assert_eq!(host.count(|event| matches!(event, Event::Credentials { .. })), 1);
    // Others are looked up meanwhile.
    let other = authorization(&mut session(&mut host));
    assert!(host.feed(CLIENT, &subscribe("c0", &other)).is_empty());
    let asked: Vec<_> = host
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Credentials { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 2);
    for id in asked {
        host.endpoint.supply(host.now, id, Some(Secret::password("secret"))).unwrap();
    }
    host.drain();
    assert_eq!(host.count(|event| matches!(event, Event::Subscribe(_))), 2);
    // Its counts go on once it is answered.
    let next = authorization(&mut own);
    assert!(host.feed(CLIENT, &subscribe("d0", &next)).is_empty());
    assert_eq!(host.count(|event| matches!(event, Event::Credentials { .. })), 3);
}

/// What a forged source gains by an answer that has a line for each algorithm.
#[test]
fn a_challenge_is_as_long_as_its_algorithms() {
    let request = format!(
        "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {CLIENT};branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=a\r\n\
         To: <{BOB}>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n\r\n"
    );
    for count in 1..=Algorithm::ALL.len() {
        let mut host = Host::server(with_users().algorithms(&Algorithm::ALL[..count]));
        let answer = host.feed(CLIENT, request.as_bytes()).remove(0);
        assert!(is(&answer, "SIP/2.0 401"));
        assert_eq!(fields(&answer, "WWW-Authenticate").len(), count);
        let more = answer.len() - request.len();
        assert!(more <= 60 + count * (150 + REALM.len()), "{count}: {more}");
        assert!(count > 1 || more <= 300);
    }
}

/// A look-up that takes longer than the transaction lives leads to nothing.
///
/// Covers: 6665-4.2.1.2-1
#[test]
fn a_look_up_that_comes_after_the_transaction_is_stale() {
    let mut host = server(|_, timers| timers.decision = Duration::from_secs(60));
    let line = authorization(&mut session(&mut host));
    assert!(host.feed(CLIENT, &subscribe("b0", &line)).is_empty());
    let Some(Event::Credentials { id, .. }) = host.events.pop() else { panic!() };
    host.pass(Duration::from_secs(40));
    assert_eq!(host.endpoint.transactions(), (0, 0));
    let late = host.endpoint.supply(host.now, id, Some(Secret::password("secret")));
    assert_eq!(late, Err(Misuse::StaleId));
    assert!(host.drain().is_empty());
    for event in std::mem::take(&mut host.events) {
        if let Event::Subscribe(id) = event {
            assert!(host.endpoint.accept(host.now, id, Decision::ACCEPT).is_err());
        }
    }
    assert_eq!(host.endpoint.watchers().count(), 0);
}
