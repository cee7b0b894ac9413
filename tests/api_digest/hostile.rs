//! Peers that never have enough.

use std::time::Duration;

use sip_events::Event;

use super::kit::*;

const HOUR: Duration = Duration::from_secs(3600);

/// What a challenger says to its nth request.
type Challenger = fn(usize) -> String;

fn challenge(n: usize, more: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{n}\", qop=\"auth\"{more}\r\n")
}

const CHALLENGERS: [(&str, Challenger, usize); 11] = [
    ("a new nonce each time", |n| challenge(n, ""), 2),
    ("the same nonce each time", |_| challenge(0, ""), 2),
    ("stale each time", |n| challenge(n, ", stale=true"), 2),
    ("stale each time, the nonce the same", |_| challenge(0, ", stale=true"), 2),
    ("another realm each time", |n| challenge(n, "").replace("\"r\"", &format!("\"r{n}\"")), 2),
    (
        "four other realms each time",
        |n| (0..4).map(|r| challenge(n, "").replace("\"r\"", &format!("\"{n}.{r}\""))).collect(),
        2,
    ),
    (
        "a chain of proxies without end",
        |n| challenge(n, "").replace("\"r\"", &format!("\"r{n}\"")).replace("WWW-", "Proxy-"),
        3,
    ),
    ("another algorithm each time", |n| challenge(n, if n % 2 == 0 { ", algorithm=SHA-256" } else { "" }), 2),
    (
        "now a proxy, now the notifier",
        |n| if n % 2 == 0 { challenge(n, "") } else { challenge(n, "").replace("WWW-", "Proxy-") },
        3,
    ),
    (
        "proxies, then notifiers, in new realms",
        |n| {
            let line = challenge(n, ", stale=true").replace("\"r\"", &format!("\"r{n}\""));
            if n % 4 < 2 { line.replace("WWW-", "Proxy-") } else { line }
        },
        4,
    ),
    ("no challenge that can be answered", |n| challenge(n, ", algorithm=none"), 1),
];

/// Covers: 3261-22.1-3, ADV-P22, ADV-E23
#[test]
fn whoever_challenges_for_ever_gets_few_requests() {
    for (name, challenger, most) in CHALLENGERS {
        for first_is_established in [false, true] {
            let mut client = Host::client();
            let (id, request) = client.subscribe(bob().expires(3600).credentials(alice()).unwrap());
            let mut open = vec![request];
            if first_is_established {
                let request = open.remove(0);
                client.respond(&request, "200 OK", "Expires: 3600\r\n");
                let (from, call_id) = (field(&request, "From").unwrap(), field(&request, "Call-ID").unwrap());
                let notify = format!(
                    "NOTIFY sip:alice@{CLIENT} SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                     From: <{BOB}>;tag=theirs\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: 1 NOTIFY\r\nContact: <sip:bob@{SERVER}>\r\n\
                     Event: presence\r\nSubscription-State: active;expires=3600\r\nContent-Length: 0\r\n\r\n"
                );
                client.feed(SERVER, notify.as_bytes());
                client.endpoint.refresh(client.now, id, None).unwrap();
                open = client.drain();
            }
            let (mut requests, mut n) = (open.len(), 0);
            while let Some(request) = open.pop() {
                let status = if challenger(n).starts_with("Proxy") { "407 x" } else { "401 x" };
                let more = client.respond(&request, status, &challenger(n));
                requests += more.len();
                open.extend(more);
                n += 1;
            }
            assert_eq!(requests, most, "{name}");
            // An hour in which every request is treated alike.
            let end = client.now + HOUR;
            while let Some(at) = client.endpoint.poll_timeout().filter(|at| *at <= end) {
                client.now = at.max(client.now);
                client.endpoint.handle_timeout(client.now);
                open.extend(client.drain());
                while let Some(request) = open.pop() {
                    if !is(&request, "SUBSCRIBE") {
                        continue;
                    }
                    requests += 1;
                    let status = if challenger(n).starts_with("Proxy") { "407 x" } else { "401 x" };
                    open.extend(client.respond(&request, status, &challenger(n)));
                    n += 1;
                }
            }
            assert!(requests <= if first_is_established { 30 * most } else { most }, "{name}: {requests} in an hour");
            assert!(client.count(|e| matches!(e, Event::Terminated { .. })) <= 1);
        }
    }
}

/// Bytes of every kind where a challenge or an answer is expected.
///
/// Covers: ADV-P19, ADV-P21
#[test]
fn rubbish_is_survived_by_both_sides() {
    let mut state = 5u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let seed = "Digest username=\"alice\", realm=\"example.com\", nonce=\"00\", uri=\"sip:bob@192.0.2.2\", response=\"00\", \
                qop=auth, nc=00000001, cnonce=\"c\", algorithm=SHA-256, opaque=\"o\"";
    let pool = b"\"\\,=; \t%'*~aA09-/:@[]";
    for _ in 0..1_500 {
        let mut line = seed.as_bytes().to_vec();
        for _ in 0..=random(5) {
            let at = random(line.len());
            match random(4) {
                0 => line[at] = pool[random(pool.len())],
                1 => line.insert(at, pool[random(pool.len())]),
                2 => _ = line.remove(at),
                _ => line.truncate(at.max(8)),
            }
        }
        let line = text(&line).trim().to_owned();
        let mut client = Host::client();
        let (_, request) = client.subscribe(bob().credentials(alice()).unwrap());
        client.respond(&request, "401 x", &format!("WWW-Authenticate: {line}\r\n"));
        assert!(client.sent.len() <= 2);
        let mut server = Host::server(with_users());
        let attack = text(&request).replace("\r\nEvent", &format!("\r\nAuthorization: {line}\r\nEvent"));
        let answers = server.feed(CLIENT, attack.as_bytes());
        assert_eq!(answers.len(), 1, "{line}");
        assert!(is(&answers[0], "SIP/2.0 40"), "{}", text(&answers[0]));
        assert_eq!(server.endpoint.transactions(), (0, 0));
        assert_eq!(server.events, []);
    }
}
