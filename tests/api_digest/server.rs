//! The notifier authenticates.

use std::time::Duration;

use sip_events::digest::{Algorithm, Credentials, Secret, UriCheck};
use sip_events::{DropReason, Event, Misuse, Scope, Subscribe};

use super::kit::*;

const SECOND: Duration = Duration::from_secs(1);

/// A SUBSCRIBE of alice's with this Authorization line.
fn subscribe(uri: &str, branch: &str, cseq: u32, authorization: &str) -> Vec<u8> {
    format!(
        "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CLIENT};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <{uri}>\r\nCall-ID: c1\r\nCSeq: {cseq} SUBSCRIBE\r\n\
         Contact: <sip:alice@{CLIENT}>\r\nEvent: presence\r\nExpires: 600\r\n{authorization}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// An authenticated SUBSCRIBE that `client` made for `server`.
fn authenticated(server: &mut Host, credentials: Credentials) -> Vec<u8> {
    let mut client = Host::client();
    let (_, first) = client.subscribe(bob().credentials(credentials).unwrap());
    let challenge = server.feed(CLIENT, &first).remove(0);
    client.feed(SERVER, &challenge).remove(0)
}

/// Covers: 3856-6.6.1-1, 3265-3.1.6.3-1, 3265-3.1.6.1-3, 6665-6.3-1, 6665-4.2.1.1-4, 6665-4.2.1.3-1, 6665-DISP-4, 3261-8.2.7-1, 3261-22.2-1, 3265-5.3-1, ADV-E12
#[test]
fn nothing_is_kept_or_told_before_the_credentials_are_right() {
    let mut server = Host::server(with_users());
    let empty = server.endpoint.transactions();
    for n in 0..1_000u32 {
        let sent = server.feed(CLIENT, &subscribe(BOB, &n.to_string(), 1, ""));
        assert_eq!(sent.len(), 1);
        assert!(is(&sent[0], "SIP/2.0 401 Unauthorized\r\n"));
        let challenges = fields(&sent[0], "WWW-Authenticate");
        assert!(!challenges.is_empty());
        for challenge in challenges {
            assert_eq!(param(challenge, "realm"), Some(REALM));
            for part in ["nonce", "algorithm", "qop"] {
                assert!(param(challenge, part).is_some_and(|value| !value.is_empty()), "{part} in {challenge}");
            }
        }
        assert_eq!(server.endpoint.transactions(), empty);
    }
    assert_eq!(server.endpoint.agent().counts(), (0, 0, 1, 0));
    assert_eq!(server.events, []);
    assert_eq!(server.endpoint.stats().dropped(DropReason::Unauthorized), 1_000);
    assert_eq!(server.endpoint.next_timer(), None);
    // In a dialog it is the same.
    let in_dialog =
        text(&subscribe(BOB, "x", 2, "")).replace("To: <sip:bob@192.0.2.2>", "To: <sip:bob@192.0.2.2>;tag=w0");
    assert!(is(&server.feed(CLIENT, in_dialog.as_bytes())[0], "SIP/2.0 401"));
}

/// Covers: ADV-E13, 3261-22.1-2
#[test]
fn known_and_unknown_resources_packages_and_users_look_the_same() {
    let shape = |message: &[u8]| {
        let mut shape = text(message).to_owned();
        let nonce = param(field(message, "WWW-Authenticate").unwrap(), "nonce").unwrap();
        let tag = field(message, "To").unwrap().split("tag=").nth(1).unwrap();
        shape = shape.replace(nonce, "").replace(tag, "");
        shape.replace("bob@", "").replace("eve@", "")
    };
    let mut server = Host::server(with_users());
    let known = server.feed(CLIENT, &subscribe(BOB, "1", 1, "")).remove(0);
    let unknown = server.feed(CLIENT, &subscribe("sip:eve@192.0.2.2", "1", 1, "")).remove(0);
    assert_eq!(shape(&known), shape(&unknown));
    let package = text(&subscribe(BOB, "1", 1, "")).replace("Event: presence", "Event: nonsense");
    assert_eq!(shape(&known), shape(&server.feed(CLIENT, package.as_bytes())[0]));
    let wrong = authenticated(&mut server, Credentials::new("alice", Secret::password("wrong")).unwrap());
    let nobody = authenticated(&mut server, Credentials::new("mallory", Secret::password("wrong")).unwrap());
    let (wrong, nobody) = (server.feed(CLIENT, &wrong).remove(0), server.feed(CLIENT, &nobody).remove(0));
    let same = |message: &[u8]| {
        let lines = text(message).split("\r\n").map(|line| line.split(':').next().unwrap().to_owned());
        (
            lines.collect::<Vec<_>>(),
            message.len(),
            param(field(message, "WWW-Authenticate").unwrap(), "stale").is_some(),
        )
    };
    assert_eq!(same(&wrong), same(&nobody));
    assert!(!same(&wrong).2);
    assert_eq!(server.endpoint.transactions(), (0, 0));
    // What cancels is not challenged.
    let cancel = text(&subscribe(BOB, "1", 1, "")).replace("SUBSCRIBE", "CANCEL");
    assert!(is(&server.feed(CLIENT, cancel.as_bytes())[0], "SIP/2.0 481"));
}

/// Covers: 3261-22.1-1, 3261-22.4-1, 7616-3.5-1, 3265-5.1-1, 6665-6.1-1
#[test]
fn the_application_learns_who_it_is_and_the_client_that_it_is_us() {
    let mut pair = Pair::new(with_users());
    pair.accept = false;
    pair.subscribe(bob().credentials(alice()).unwrap());
    let Some(Event::Subscribe(id)) = pair.server.events.last() else { panic!("{:?}", pair.server.events) };
    assert_eq!(pair.server.endpoint.incoming(*id).unwrap().identity, Some(&b"alice"[..]));
    pair.accept = true;
    let log = pair.settle();
    let info = field(those(&log, "SIP/2.0 200")[0], "Authentication-Info").unwrap();
    assert_eq!((param(info, "qop"), param(info, "nc")), (Some("auth"), Some("00000001")));
    assert_eq!(param(info, "rspauth").unwrap().len(), 64);
    let watcher = pair.server.endpoint.watchers().next().unwrap();
    assert_eq!(pair.server.endpoint.watcher(watcher).unwrap().identity, Some(&b"alice"[..]));
}

/// Covers: 7616-3.4-5, 7616-sec-1, 6665-6.4-1, 3265-5.4-1
#[test]
fn a_captured_request_is_good_for_nothing() {
    let mut server = Host::server(with_users());
    let genuine = authenticated(&mut server, alice());
    assert!(server.feed(CLIENT, &genuine).is_empty(), "it waits for the decision");
    assert_eq!(server.count(|e| matches!(e, Event::Subscribe(_))), 1);
    let authorization = format!("Authorization: {}\r\n", field(&genuine, "Authorization").unwrap());
    for (uri, branch, cseq) in [(BOB, "r1", 2), (BOB, "r2", 99), ("sip:eve@192.0.2.2", "r3", 2)] {
        let sent = server.feed(CLIENT, &subscribe(uri, branch, cseq, &authorization));
        assert!(is(&sent[0], "SIP/2.0 40"), "{}", text(&sent[0]));
    }
    assert_eq!(server.count(|e| matches!(e, Event::Subscribe(_))), 1);
    // Nor after a restart, nor when it is old.
    let mut restarted = Host::seeded_server(with_users(), 3);
    restarted.feed(CLIENT, &subscribe(BOB, "x", 1, ""));
    server.pass(SECOND * 301);
    for mut other in [restarted, server] {
        let sent = other.feed(CLIENT, &subscribe(BOB, "r4", 100, &authorization));
        assert_eq!(param(field(&sent[0], "WWW-Authenticate").unwrap(), "stale"), Some("true"));
    }
}

/// Covers: 3261-22-1, ADV-P21
#[test]
fn basic_and_other_realms_are_no_credentials_and_malformed_ones_are_refused() {
    let mut server = Host::server(with_users());
    let genuine = authenticated(&mut server, alice());
    let line = field(&genuine, "Authorization").unwrap();
    for (line, status) in [
        ("Basic YWxpY2U6c2VjcmV0".to_owned(), "401"),
        (line.replace(REALM, "other"), "401"),
        (line.replace("qop=auth, ", ""), "401"),
        (line.replace("nc=00000001", "nc=1"), "400"),
        (line.replace("response=", "responce="), "400"),
        (line.replace("sip:bob@", "sip:eve@"), "400"),
        (line.replace("alice", "carol"), "401"),
    ] {
        let sent =
            server.feed(CLIENT, &subscribe(BOB, &line.len().to_string(), 1, &format!("Authorization: {line}\r\n")));
        assert!(is(&sent[0], &format!("SIP/2.0 {status}")), "{line}: {}", text(&sent[0]));
        assert_eq!(field(&sent[0], "WWW-Authenticate").is_some(), status == "401");
    }
    assert_eq!(server.endpoint.transactions(), (0, 0));
}

/// Covers: 3261-22.4-2
#[test]
fn behind_a_proxy_the_uri_may_be_that_of_to() {
    for (check, lets_in) in [(UriCheck::Request, false), (UriCheck::RequestOrTo, true)] {
        let mut server = Host::server(with_users().uri_check(check));
        let genuine = authenticated(&mut server, alice());
        let rewritten = text(&genuine).replacen(BOB, &format!("{BOB}:5060"), 1);
        let sent = server.feed(CLIENT, rewritten.as_bytes());
        assert_eq!(sent.is_empty() || is(&sent[0], "SIP/2.0 404"), lets_in);
    }
}

/// Found with Kamailio between the two: To of a subscriber has no port, the `uri` has.
///
/// Covers: 3261-22.4-2
#[test]
fn what_to_cannot_hold_makes_no_difference() {
    let mut server = Host::server(with_users().uri_check(UriCheck::RequestOrTo));
    let mut client = Host::client();
    let asked = format!("{BOB}:5060;transport=udp");
    let request = Subscribe::new(&asked, "presence").unwrap().credentials(alice()).unwrap();
    let (_, first) = client.subscribe(request);
    let challenge = server.feed(CLIENT, &first).remove(0);
    let genuine = text(&client.feed(SERVER, &challenge).remove(0)).to_string();
    assert!(genuine.contains(&format!("uri=\"{asked}\"")) && genuine.contains(&format!("To: <{BOB}>")), "{genuine}");
    let rewritten = genuine.replacen(&format!("SUBSCRIBE {asked}"), "SUBSCRIBE sip:robert@192.0.2.2:5070", 1);
    let sent = server.feed(CLIENT, rewritten.as_bytes());
    assert!(sent.is_empty() || is(&sent[0], "SIP/2.0 404"), "{}", text(&sent[0]));
    // Another user's answer does not serve.
    let stolen = rewritten.replacen(&format!("To: <{BOB}>"), "To: <sip:eve@192.0.2.2>", 1);
    let sent = Host::server(with_users().uri_check(UriCheck::RequestOrTo)).feed(CLIENT, stolen.as_bytes());
    assert!(is(&sent[0], "SIP/2.0 400"), "{}", text(&sent[0]));
}

/// Covers: 8760-2.3-1, 8760-2.6-8a, 8760-3-1
#[test]
fn old_and_new_phones_find_their_algorithm() {
    let both = with_users().algorithms(&[Algorithm::Md5, Algorithm::Sha256]);
    let mut pair = Pair::new(both);
    let (_, log) = pair.subscribe(bob().credentials(alice()).unwrap());
    let offered: Vec<_> = fields(those(&log, "SIP/2.0 401")[0], "WWW-Authenticate");
    assert_eq!(offered.iter().map(|o| param(o, "algorithm").unwrap()).collect::<Vec<_>>(), ["SHA-256", "MD5"]);
    assert!(offered.iter().all(|o| param(o, "qop") == Some("auth")));
    assert_eq!(param(field(those(&log, "SUBSCRIBE")[1], "Authorization").unwrap(), "algorithm"), Some("SHA-256"));
}

/// Covers: 3261-22.2-2
#[test]
fn users_may_be_looked_up_elsewhere() {
    let mut pair = Pair::new(settings());
    pair.subscribe(bob().credentials(alice()).unwrap());
    let asked = |pair: &mut Pair| {
        let event = pair.server.events.pop();
        let Some(Event::Credentials { id, user, hashed, realm, algorithm }) = event else { panic!("{event:?}") };
        assert_eq!(
            (&user[..], hashed, &realm[..], algorithm),
            (&b"alice"[..], false, REALM.as_bytes(), Algorithm::Sha256)
        );
        id
    };
    let id = asked(&mut pair);
    assert_eq!(pair.server.endpoint.agent().counts(), (0, 0, 1, 0));
    pair.pass(SECOND * 2);
    pair.server.endpoint.supply(pair.server.now, id, Some(Secret::password("secret"))).unwrap();
    assert_eq!(pair.server.endpoint.supply(pair.server.now, id, None), Err(Misuse::StaleId));
    pair.settle();
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
    let watcher = pair.server.endpoint.watchers().next().unwrap();
    assert_eq!(pair.server.endpoint.watcher(watcher).unwrap().identity, Some(&b"alice"[..]));

    // Nobody of that name.
    let mut pair = Pair::new(settings());
    pair.subscribe(bob().credentials(alice()).unwrap());
    let id = asked(&mut pair);
    pair.server.endpoint.supply(pair.server.now, id, None).unwrap();
    let log = pair.settle();
    assert_eq!(those(&log, "SIP/2.0 401").len(), 1);
    assert_eq!(pair.server.endpoint.transactions(), (0, 0));
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. })), 1);

    // Nobody answers.
    let mut pair = Pair::new(settings());
    pair.subscribe(bob().credentials(alice()).unwrap());
    let id = asked(&mut pair);
    let log = pair.pass(SECOND * 4);
    let answers = those(&log, "SIP/2.0 500");
    assert_eq!(field(answers[0], "Retry-After"), Some("5"));
    assert_eq!(pair.server.endpoint.supply(pair.server.now, id, None), Err(Misuse::StaleId));
}

/// Covers: 3265-5.1-1
#[test]
fn a_subscription_is_its_users() {
    let mut pair = Pair::new(with_users());
    let (id, log) = pair.subscribe(bob().credentials(alice()).unwrap());
    // Carol knows everything about the dialog, and a password of her own.
    let ok = those(&log, "SIP/2.0 200")[0];
    let target = field(ok, "Contact").unwrap().trim_matches(['<', '>']).to_owned();
    let attack = |cseq: u32, authorization: &str| {
        text(&subscribe(BOB, &format!("m{cseq}"), cseq, authorization))
            .replacen(BOB, &target, 1)
            .replace("From: <sip:alice@192.0.2.1>;tag=a", &format!("From: {}", field(ok, "From").unwrap()))
            .replace(&format!("To: <{BOB}>"), &format!("To: {}", field(ok, "To").unwrap()))
            .replace("Call-ID: c1", &format!("Call-ID: {}", field(ok, "Call-ID").unwrap()))
            .replace("Expires: 600", "Expires: 0")
            .into_bytes()
    };
    let challenge = pair.server.feed(CLIENT, &attack(900_000, "")).remove(0);
    let carol = Credentials::new("carol", Secret::password("other")).unwrap();
    let line = {
        use sip_events::digest::{Request, Session, choose};
        let offered = field(&challenge, "WWW-Authenticate").unwrap();
        let choice = choose([offered.as_bytes()].into_iter(), |_| Some(&carol));
        let mut session = Session::new(false, &choice.answers[0].0, &carol, 7).unwrap();
        let mut out = Vec::new();
        session.write(&Request { method: b"SUBSCRIBE", uri: target.as_bytes(), body: &[] }, &mut out);
        String::from_utf8(out).unwrap()
    };
    let answer = pair.server.feed(CLIENT, &attack(900_001, &line)).remove(0);
    assert!(is(&answer, "SIP/2.0 403"), "{}", text(&answer));
    assert!(pair.client.endpoint.subscription(id).is_ok());
    pair.client.endpoint.unsubscribe(pair.client.now, id, Scope::This).unwrap();
    pair.settle();
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. })), 1);
}

/// Covers: 6665-6.3-1
#[test]
fn closing_answers_those_who_wait_to_be_known() {
    let mut pair = Pair::new(settings());
    pair.subscribe(bob().credentials(alice()).unwrap());
    assert_eq!(pair.server.count(|e| matches!(e, Event::Credentials { .. })), 1);
    pair.server.endpoint.close(pair.server.now, sip_events::Close::Terminate);
    let log = pair.settle();
    assert_eq!(those(&log, "SIP/2.0 503").len(), 1);
    pair.pass(SECOND * 60);
    assert_eq!(pair.server.count(|e| matches!(e, Event::Drained)), 1);
}
