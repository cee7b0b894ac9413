//! The subscriber answers challenges.

use std::time::Duration;

use sip_events::digest::{Algorithm, Credentials, Secret};
use sip_events::{Body, Ending, Event, Misuse, Retry, Scope, Subscribe};

use super::kit::*;

const SECOND: Duration = Duration::from_secs(1);

/// Covers: 3261-8.1.3.5-1, 3261-22.2-2, 3261-22.2-4, 3261-22.4-1, 8760-2.6-8b, 6665-RSP-5, 6665-SSM-7, 6665-4.1.2.1-5,
/// PEER-C06
#[test]
fn a_challenge_is_answered_with_the_next_cseq_of_the_same_call() {
    for algorithm in Algorithm::ALL {
        let mut pair = Pair::new(with_users().algorithms(&[algorithm]));
        let (id, log) = pair.subscribe(bob().credentials(alice()).unwrap());
        let sent = those(&log, "SUBSCRIBE");
        assert_eq!(sent.len(), 2, "{algorithm:?}");
        for name in ["Call-ID", "From", "To", "Event", "Contact", "Expires", "Accept"] {
            assert_eq!(field(sent[0], name), field(sent[1], name), "{name}");
        }
        let cseq = |message| field(message, "CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(cseq(sent[1]), cseq(sent[0]) + 1);
        assert_ne!(field(sent[0], "Via"), field(sent[1], "Via"));
        assert_eq!(field(sent[0], "Authorization"), None);
        let answer = field(sent[1], "Authorization").unwrap();
        assert_eq!(param(answer, "uri"), Some(BOB));
        assert_eq!(param(answer, "nc"), Some("00000001"));
        assert_eq!(param(answer, "algorithm"), Some(algorithm.as_str()));
        let statuses: Vec<_> = those(&log, "SIP/2.0").iter().map(|m| text(&m[8..11]).to_owned()).collect();
        assert_eq!(statuses, ["401", "200", "200"]);
        assert!(pair.client.endpoint.subscription(id).is_ok());
        assert_eq!(pair.client.count(|e| matches!(e, Event::Accepted { .. })), 1);
        assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
        assert_eq!(pair.client.count(|e| matches!(e, Event::Challenge { .. })), 0);
    }
}

/// Covers: 3261-22.2-2, 7616-3.4-4, 7616-3.5-1
#[test]
fn what_follows_is_authenticated_at_once_until_the_nonce_is_old() {
    let mut pair = Pair::new(with_users().nonce_life(SECOND * 400));
    let (id, _) = pair.subscribe(bob().credentials(alice()).unwrap());
    let mut nonces = Vec::new();
    for count in 2..=3 {
        pair.client.endpoint.refresh(pair.client.now, id, None).unwrap();
        let log = pair.settle();
        let sent = those(&log, "SUBSCRIBE");
        assert_eq!(sent.len(), 1);
        let answer = field(sent[0], "Authorization").unwrap();
        assert_eq!(param(answer, "nc"), Some(format!("{count:08x}").as_str()));
        // The digest is over the URI of this request, which is the notifier's Contact.
        assert_eq!(param(answer, "uri"), text(sent[0]).split(' ').nth(1));
        assert_ne!(param(answer, "uri"), Some(BOB));
        nonces.push(param(answer, "nonce").unwrap().to_owned());
    }
    assert_eq!(nonces[0], nonces[1]);
    // Past half of its life the server gives the next one with the 2xx.
    pair.pass(SECOND * 250);
    pair.client.endpoint.refresh(pair.client.now, id, None).unwrap();
    let log = pair.settle();
    let next = those(&log, "SIP/2.0 200").into_iter().find_map(|m| field(m, "Authentication-Info")).unwrap().to_owned();
    let next = param(&next, "nextnonce").unwrap().to_owned();
    pair.client.endpoint.unsubscribe(pair.client.now, id, Scope::This).unwrap();
    let log = pair.settle();
    let sent = those(&log, "SUBSCRIBE");
    assert_eq!(sent.len(), 1);
    let answer = field(sent[0], "Authorization").unwrap();
    assert_eq!((param(answer, "nonce"), param(answer, "nc")), (Some(next.as_str()), Some("00000001")));
    assert_eq!(field(sent[0], "Expires"), Some("0"));
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { why: Ending::Unsubscribed, .. })), 1);
}

/// Covers: PEER-E02, 7616-3.3-1, 6665-RSP-5
#[test]
fn a_stale_nonce_at_a_refresh_keeps_the_dialog() {
    let mut pair = Pair::new(with_users().nonce_life(SECOND * 60));
    let (id, _) = pair.subscribe(bob().credentials(alice()).unwrap());
    let log = pair.pass(SECOND * 590);
    let sent = those(&log, "SUBSCRIBE");
    assert_eq!(sent.len(), 2, "a refresh and its repetition");
    assert_eq!(field(sent[0], "To"), field(sent[1], "To"));
    assert!(field(sent[0], "To").unwrap().contains("tag="));
    let challenge = those(&log, "SIP/2.0 401")[0].to_vec();
    assert_eq!(param(field(&challenge, "WWW-Authenticate").unwrap(), "stale"), Some("true"));
    assert!(pair.client.endpoint.subscription(id).is_ok());
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. } | Event::RefreshFailed { .. })), 0);
    // It lasts a week, and a challenge every few minutes never ends it.
    pair.pass(SECOND * 3600 * 24 * 7);
    assert!(pair.client.endpoint.subscription(id).is_ok());
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. } | Event::Retrying { .. })), 0);
}

/// The nonce was good for the first answer, and is old when the request goes out for a longer time.
///
/// Covers: 6665-SSM-7, PEER-E02
#[test]
fn a_nonce_may_be_stale_after_an_interval_that_was_too_brief() {
    let challenge = |nonce: &str, stale: &str| {
        format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{stale}\r\n")
    };
    let mut client = Host::client();
    let (_, request) = client.subscribe(bob().credentials(alice()).unwrap());
    let request = client.respond(&request, "401 x", &challenge("n1", "")).remove(0);
    let request = client.respond(&request, "423 x", "Min-Expires: 900\r\n").remove(0);
    let answer = field(&request, "Authorization").unwrap();
    assert_eq!((param(answer, "nonce"), param(answer, "nc")), (Some("n1"), Some("00000002")));
    let sent = client.respond(&request, "401 x", &challenge("n2", ", stale=true"));
    assert_eq!(sent.len(), 1);
    let answer = field(&sent[0], "Authorization").unwrap();
    assert_eq!((param(answer, "nonce"), param(answer, "nc")), (Some("n2"), Some("00000001")));
    // A fresh one is not.
    assert!(client.respond(&sent[0], "401 x", &challenge("n3", ", stale=true")).is_empty());
    assert_eq!(client.count(|e| matches!(e, Event::Terminated { .. })), 1);
}

/// Covers: 6665-4.4.3-6, 3265-3.3.6-5
#[test]
fn a_second_poll_is_authenticated_at_once() {
    let mut pair = Pair::new(with_users());
    let fetch = || bob().expires(0).credentials(alice()).unwrap();
    let (_, log) = pair.subscribe(fetch());
    assert_eq!(those(&log, "SUBSCRIBE").len(), 2);
    let (_, log) = pair.subscribe(fetch());
    let sent = those(&log, "SUBSCRIBE");
    assert_eq!(sent.len(), 1);
    assert_eq!(param(field(sent[0], "Authorization").unwrap(), "nc"), Some("00000002"));
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { why: Ending::Fetched, .. })), 2);
    // Another To is another story.
    let (_, log) = pair.subscribe(Subscribe::new("sip:carol@192.0.2.2", "presence").unwrap());
    assert_eq!(field(those(&log, "SUBSCRIBE")[0], "Authorization"), None);
}

/// Covers: 3261-22.1-3, ADV-P22
#[test]
fn a_wrong_password_is_tried_once() {
    let mut pair = Pair::new(with_users());
    let wrong = Credentials::new("alice", Secret::password("wrong")).unwrap();
    let (id, log) = pair.subscribe(bob().credentials(wrong).unwrap());
    assert_eq!(those(&log, "SUBSCRIBE").len(), 2);
    let ended = pair.client.events.iter().any(|event| {
        matches!(event, Event::Terminated { subscription, why: Ending::Refused { status, .. }, retry: Retry::Never }
            if *subscription == id && status.as_u16() == 401)
    });
    assert!(ended, "{:?}", pair.client.events);
    assert!(pair.pass(SECOND * 3600).is_empty());
}

/// Covers: PEER-E03, 3261-22.2-4
#[test]
fn the_repetition_keeps_everything() {
    let mut client = Host::client();
    let request = bob()
        .accept("application/pidf+xml")
        .unwrap()
        .field("X-Own", "kept")
        .unwrap()
        .body(Body::new("application/simple-filter+xml", "<filter/>"))
        .credentials(alice())
        .unwrap();
    let (_, first) = client.subscribe(request);
    let sent = client.respond(
        &first,
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\r\n",
    );
    assert_eq!(sent.len(), 1);
    for name in ["X-Own", "Accept", "Event", "Expires", "Content-Type", "Content-Length", "Call-ID", "From", "To"] {
        assert_eq!(field(&first, name), field(&sent[0], name), "{name}");
    }
    assert!(sent[0].ends_with(b"\r\n\r\n<filter/>"));
    assert!(field(&sent[0], "Authorization").unwrap().contains("qop=auth-int"));
    assert!(!field(&sent[0], "To").unwrap().contains("tag="), "the tag of a refusal is no dialog's");
}

/// Covers: 3261-22.2-2, 6665-RSP-5
#[test]
fn the_application_is_asked_and_has_some_time() {
    let mut pair = Pair::new(with_users());
    let (id, log) = pair.subscribe(bob());
    assert_eq!(those(&log, "SUBSCRIBE").len(), 1);
    let asked =
        |event: &Event| matches!(event, Event::Challenge { subject, realm } if *subject == id.into() && realm == REALM);
    assert_eq!(pair.client.count(asked), 1);
    let useless = alice().realm("elsewhere");
    assert_eq!(pair.client.endpoint.authenticate(pair.client.now, id, useless), Err(Misuse::BadValue));
    pair.pass(SECOND * 2);
    pair.client.endpoint.authenticate(pair.client.now, id, alice()).unwrap();
    let log = pair.settle();
    assert_eq!(those(&log, "SUBSCRIBE").len(), 1);
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
    // From now on they are its own.
    let log = pair.pass(SECOND * 590);
    assert!(!those(&log, "SUBSCRIBE").is_empty());
    assert_eq!(pair.client.count(|e| matches!(e, Event::Terminated { .. } | Event::Challenge { .. })), 1);
}

/// Covers: PEER-E01, 6665-RSP-5, 8760-2.4-3
#[test]
fn without_an_answer_the_refusal_stands() {
    for (challenge, asked) in [
        ("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n", 1),
        ("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1024\r\n", 0),
        ("WWW-Authenticate: Basic realm=\"r\"\r\n", 0),
        ("WWW-Authenticate: Digest realm=\"r\r\n", 0),
        ("", 0),
    ] {
        let mut client = Host::client();
        let (id, first) = client.subscribe(bob());
        assert!(client.respond(&first, "401 Unauthorized", challenge).is_empty());
        assert_eq!(client.count(|e| matches!(e, Event::Challenge { .. })), asked, "{challenge}");
        let ended = |event: &Event| matches!(event, Event::Terminated { why: Ending::Refused { status, .. }, .. } if status.as_u16() == 401);
        assert_eq!(client.count(ended), 1 - asked, "{challenge}");
        assert!(client.pass(SECOND * 4).is_empty());
        assert_eq!(client.count(ended), 1, "{challenge}");
        assert_eq!(client.endpoint.authenticate(client.now, id, alice()), Err(Misuse::StaleId));
        assert!(client.pass(SECOND * 3600).is_empty());
    }
}

/// Covers: 3261-22.3-1, 3261-22.3-2, 3261-7.3.1-6, 8760-2.4-2
#[test]
fn proxies_and_the_notifier_are_answered_together_and_proxies_are_forgotten() {
    let mut client = Host::client();
    let request = || {
        bob()
            .credentials(alice().realm("r"))
            .unwrap()
            .credentials(Credentials::new("me", Secret::password("p")).unwrap().realm("p1"))
            .unwrap()
            .credentials(Credentials::new("me", Secret::password("q")).unwrap().realm("p2"))
            .unwrap()
    };
    let (_, first) = client.subscribe(request());
    let second = client
        .respond(
            &first,
            "407 Proxy Authentication Required",
            "Proxy-Authenticate: Digest realm=\"p1\", nonce=\"a\", qop=\"auth\"\r\n",
        )
        .remove(0);
    assert_eq!(fields(&second, "Proxy-Authorization").len(), 1);
    let both = "WWW-Authenticate: Digest realm=\"r\", nonce=\"b\", qop=\"auth\"\r\nProxy-Authenticate: Digest realm=\"p2\", nonce=\"c\"\r\n";
    let third = client.respond(&second, "401 Unauthorized", both).remove(0);
    let realms: Vec<_> = fields(&third, "Proxy-Authorization").iter().map(|v| param(v, "realm").unwrap()).collect();
    assert_eq!(realms, ["p1", "p2"]);
    assert_eq!(param(fields(&third, "Proxy-Authorization")[0], "nc"), Some("00000002"));
    assert_eq!(param(fields(&third, "Proxy-Authorization")[1], "nc"), None);
    assert_eq!(fields(&third, "Authorization").len(), 1);
    // Proxies read these first (RFC 3261 section 7.3.1).
    let order = text(&third);
    assert!(order.find("Proxy-Authorization").unwrap() < order.find("From: ").unwrap());
    client.respond(&third, "200 OK", "Expires: 600\r\n");
    let (_, other) = client.subscribe(request());
    assert_eq!(fields(&other, "Proxy-Authorization"), [""; 0]);
    assert_eq!(fields(&other, "Authorization").len(), 1);
}

/// Covers: PEER-E04, 6665-RACE-3
#[test]
fn a_notify_before_the_challenge_made_the_dialog_that_is_used() {
    let mut client = Host::client();
    let (id, first) = client.subscribe(bob().credentials(alice()).unwrap());
    let (from, call_id) = (field(&first, "From").unwrap(), field(&first, "Call-ID").unwrap());
    let notify = format!(
        "NOTIFY sip:alice@{CLIENT} SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <{BOB}>;tag=fork\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: 1 NOTIFY\r\nContact: <sip:bob@{SERVER}>\r\n\
         Event: presence\r\nSubscription-State: active;expires=500\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(is(&client.feed(SERVER, notify.as_bytes())[0], "SIP/2.0 200"));
    let second =
        client.respond(&first, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n").remove(0);
    assert!(field(&second, "To").unwrap().ends_with(";tag=fork"));
    assert!(is(&second, &format!("SUBSCRIBE sip:bob@{SERVER} ")));
    assert!(client.endpoint.subscription(id).is_ok());
}

/// Covers: 3261-22.2-2
#[test]
fn credentials_of_the_endpoint_serve_every_subscription() {
    let mut pair = Pair::new(with_users());
    pair.client.endpoint.set_credentials(vec![alice().realm("elsewhere"), alice()]).unwrap();
    assert_eq!(pair.client.endpoint.set_credentials(vec![alice(); 17]), Err(Misuse::Limit));
    let (_, log) = pair.subscribe(bob());
    assert_eq!(those(&log, "SUBSCRIBE").len(), 2);
    assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 1);
}
