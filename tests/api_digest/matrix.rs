//! Every algorithm with every quality, from a server and from a proxy, for every kind of request.

use std::time::Duration;

use sip_events::digest::{Algorithm, Credentials, Secret};
use sip_events::{Config, Ending, Event, Scope};

use super::kit::*;

/// Longer than a nonce lives, and shorter than a subscription.
const LATER: Duration = Duration::from_secs(150);

/// Offers one quality alone, or none as before RFC 2617, and passes a server's challenges off as a proxy's.
fn way(means: &Way, message: &[u8]) -> Vec<u8> {
    let qop = if means.qop.is_empty() { String::new() } else { format!(" qop=\"{}\",", means.qop) };
    let mut text = text(message).replace(" qop=\"auth,auth-int\",", &qop);
    if means.proxy {
        text = text
            .replace("SIP/2.0 401 Unauthorized", "SIP/2.0 407 Proxy Authentication Required")
            .replace("\r\nWWW-Authenticate", "\r\nProxy-Authenticate")
            .replace("\r\nAuthentication-Info", "\r\nX-Info")
            .replace("\r\nProxy-Authorization", "\r\nAuthorization");
    }
    text.into_bytes()
}

fn pair(algorithm: Algorithm, means: Way) -> Pair {
    let settings = || {
        let old = means.qop.is_empty();
        with_users().algorithms(&[algorithm]).integrity(true).without_qop(old).nonce_life(LATER / 2)
    };
    let config = Config::new("sip:alice@192.0.2.1").unwrap().with_authentication(settings().notify(true).into());
    let mut pair = Pair { client: Host::new(config, CLIENT, 1), way, means, ..Pair::new(settings()) };
    let carol = Credentials::new("carol", Secret::password("other")).unwrap().realm(REALM);
    pair.server.endpoint.set_credentials(vec![carol]).unwrap();
    set_state(&mut pair.server, "<presence/>");
    pair
}

/// A request that was challenged, and its repetition with the right answer.
fn challenged_once<'a>(log: &'a [Vec<u8>], method: &str, algorithm: Algorithm, means: Way) -> [&'a [u8]; 2] {
    let case = format!("{method} {algorithm:?} {means:?}");
    let sent = those(log, method);
    let [first, second] = sent[..] else {
        panic!("{case}: {}\n{}", sent.len(), log.iter().map(|m| text(m)).collect::<String>())
    };
    for name in ["Call-ID", "From", "Event", "Contact"] {
        assert_eq!(field(first, name), field(second, name), "{case}");
    }
    let cseq = |message| field(message, "CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(cseq(second), cseq(first) + 1, "{case}");
    let name = if means.proxy { "Proxy-Authorization" } else { "Authorization" };
    let answers = fields(second, name);
    let [answer] = answers[..] else { panic!("{case}: {answers:?}") };
    assert_eq!(param(answer, "algorithm"), Some(algorithm.as_str()), "{case}");
    assert_eq!(param(answer, "qop").unwrap_or_default(), means.qop, "{case}");
    assert_eq!(param(answer, "nc"), Some("00000001").filter(|_| !means.qop.is_empty()), "{case}");
    assert_eq!(param(answer, "cnonce").is_some(), !means.qop.is_empty(), "{case}");
    assert_eq!(param(answer, "uri"), text(second).split(' ').nth(1), "{case}");
    [first, second]
}

/// Covers: 3261-22.2-2, 3261-22.3-2, 3261-22.4-4, 7616-6.1-1, 7616-3.4-3, 7616-3.5-1, 8760-2.2-1, 6665-RSP-5, 6665-NRC-6,
/// PEER-E02, PEER-D22
#[test]
fn every_algorithm_and_quality_serves_every_request() {
    for algorithm in Algorithm::ALL {
        for qop in ["auth", "auth-int", ""] {
            // The key of a session takes a cnonce, and the cnonce a qop.
            if qop.is_empty() && algorithm.is_session() {
                continue;
            }
            for proxy in [false, true] {
                let means = Way { qop, proxy };
                let mut pair = pair(algorithm, means);
                let (id, log) = pair.subscribe(bob().credentials(alice()).unwrap());
                let [first, second] = challenged_once(&log, "SUBSCRIBE", algorithm, means);
                assert!(
                    !field(first, "To").unwrap().contains("tag=") && !field(second, "To").unwrap().contains("tag=")
                );
                let [_, notify] = challenged_once(&log, "NOTIFY", algorithm, means);
                assert!(notify.ends_with(b"<presence/>"));
                let dialog = field(notify, "From").unwrap().to_owned();

                // The nonces are old by now: a refresh and its NOTIFY are challenged in their dialog.
                pair.pass(LATER);
                pair.client.endpoint.refresh(pair.client.now, id, None).unwrap();
                let log = pair.settle();
                for sent in challenged_once(&log, "SUBSCRIBE", algorithm, means) {
                    assert_eq!(field(sent, "To"), Some(dialog.as_str()));
                }
                challenged_once(&log, "NOTIFY", algorithm, means);

                pair.pass(LATER);
                pair.client.endpoint.unsubscribe(pair.client.now, id, Scope::This).unwrap();
                let log = pair.settle();
                for sent in challenged_once(&log, "SUBSCRIBE", algorithm, means) {
                    assert_eq!((field(sent, "To"), field(sent, "Expires")), (Some(dialog.as_str()), Some("0")));
                }
                for sent in challenged_once(&log, "NOTIFY", algorithm, means) {
                    assert!(field(sent, "Subscription-State").unwrap().starts_with("terminated"));
                }
                assert_eq!(pair.client.count(|e| matches!(e, Event::Notify { .. })), 3);
                let ended = |e: &Event| matches!(e, Event::Terminated { why: Ending::Unsubscribed, .. });
                assert_eq!(pair.client.count(ended), 1);
                assert_eq!(pair.server.endpoint.watchers().count(), 0);
                // Each proof of the server was right; one who knows no qop gives none.
                let proofs = pair.log.iter().filter(|m| field(m, "Authentication-Info").is_some()).count();
                assert_eq!(proofs, if qop.is_empty() { 0 } else { 6 }, "{algorithm:?} {means:?}");
                for host in [&pair.client, &pair.server] {
                    assert_eq!(host.endpoint.stats().tolerated, 0, "{algorithm:?} {means:?}");
                }
            }
        }
    }
}

/// A session algorithm without qop cannot be answered so that anybody could check it: the next challenge is, if there is one.
///
/// Covers: 8760-2.4-1, 3261-22.4-4
#[test]
fn a_challenge_that_no_answer_fits_is_passed_over() {
    let session = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-sess\r\n";
    let mut client = Host::client();
    let (_, first) = client.subscribe(bob().credentials(alice()).unwrap());
    assert!(client.respond(&first, "401 Unauthorized", session).is_empty());
    let refused = |e: &Event| matches!(e, Event::Terminated { why: Ending::Refused { status, .. }, .. } if status.as_u16() == 401);
    assert_eq!(client.count(refused), 1);

    let mut client = Host::client();
    let (_, first) = client.subscribe(bob().credentials(alice()).unwrap());
    let both = format!("{session}WWW-Authenticate: Digest realm=\"r\", nonce=\"m\"\r\n");
    let second = client.respond(&first, "401 Unauthorized", &both).remove(0);
    let answers = fields(&second, "Authorization");
    assert_eq!(answers.len(), 1);
    assert_eq!((param(answers[0], "nonce"), param(answers[0], "algorithm")), (Some("m"), None));
}

/// Covers: 7616-3.5-1
#[test]
fn a_wrong_proof_of_the_server_is_counted_and_its_nonce_not_taken() {
    let mut pair = Pair::new(with_users().nonce_life(LATER));
    let (id, _) = pair.subscribe(bob().credentials(alice()).unwrap());
    assert_eq!(pair.client.endpoint.stats().tolerated, 0);
    pair.way = |_, message| {
        let text = text(message);
        let Some(at) = text.find("rspauth=\"") else { return message.to_vec() };
        let digit = if &text[at + 9..at + 10] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &text[..at + 9], &text[at + 10..]).into_bytes()
    };
    // Past half of its life the server gives another nonce.
    pair.pass(LATER * 2 / 3);
    let old = param(field(those(&pair.log, "SUBSCRIBE")[1], "Authorization").unwrap(), "nonce").unwrap().to_owned();
    for count in 1..=2 {
        pair.client.endpoint.refresh(pair.client.now, id, None).unwrap();
        let log = pair.settle();
        let answer = field(those(&log, "SUBSCRIBE")[0], "Authorization").unwrap();
        assert_eq!(param(answer, "nonce"), Some(old.as_str()));
        assert_eq!(pair.client.endpoint.stats().tolerated, count);
        assert!(log.iter().any(|m| field(m, "Authentication-Info").is_some_and(|info| info.contains("nextnonce"))));
    }
    // Who answers is known by the dialog: the subscription goes on.
    assert!(pair.client.endpoint.subscription(id).is_ok());
}
