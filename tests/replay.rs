//! Credentials that were seen on the wire, sent again in every way: none lets
//! anybody in.
//!
//! In a debug build 10,000 attempts, in release 1,000,000:
//! `cargo test --release --test replay -- --nocapture`.
#![cfg(feature = "digest")]

use std::collections::BTreeMap;
use std::time::Duration;

use sip_events::digest::{Challenge, Credentials, Refusal, Request, Secret, Server, Session, Settings, Verified};
use sip_events::{Instant, Seed};

const ATTEMPTS: u32 = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };
const LIFE: Duration = Duration::from_secs(60);
const REALM: &str = "example.com";
const SEED: Seed = Seed([3; 32]);
const USERS: [(&str, &str); 2] = [("alice", "secret"), ("alina", "hidden")];
const METHODS: [&[u8]; 2] = [b"SUBSCRIBE", b"NOTIFY"];
const URIS: [&[u8]; 2] = [b"sip:bob@example.com", b"sip:bill@example.com"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

/// What somebody sent, and what an eavesdropper saw.
#[derive(Clone)]
struct Seen {
    line: String,
    user: usize,
    method: usize,
    uri: usize,
    at: Instant,
}

fn server(realm: &str, seed: &Seed, now: Instant) -> Server {
    // Few nonces are remembered: what is forgotten must not come back either.
    Server::new(Settings::new(realm).unwrap().nonce_life(LIFE), seed, 8, now)
}

fn present(server: &mut Server, now: Instant, line: &str, method: usize, uri: usize) -> Result<Verified, Refusal> {
    let value = line.trim_start_matches("Authorization: ").trim_end().as_bytes();
    let claim = server.check(now, std::iter::once(value), URIS[uri], b"sip:to@example.com")?;
    let user = USERS.iter().find(|(name, _)| name.as_bytes() == claim.user());
    let secret = user.map(|(_, password)| Secret::password(password));
    server.verify(now, &claim, secret.as_ref(), METHODS[method], &[])
}

struct Client {
    session: Session,
    user: usize,
}

impl Client {
    fn new(server: &mut Server, now: Instant, user: usize, cnonce: u64) -> Self {
        let mut out = Vec::new();
        server.write_challenges(now, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let value = text.lines().next().unwrap().trim_start_matches("WWW-Authenticate: ");
        let (name, password) = USERS[user];
        let credentials = Credentials::new(name, Secret::password(password)).unwrap();
        let session = Session::new(false, &Challenge::parse(value.as_bytes()).unwrap(), &credentials, cnonce);
        Self { session: session.unwrap(), user }
    }

    fn send(&mut self, now: Instant, random: &mut Random) -> Seen {
        let (method, uri) = (random.below(2), random.below(2));
        let mut line = Vec::new();
        self.session.write(&Request { method: METHODS[method], uri: URIS[uri], body: &[] }, &mut line);
        Seen { line: String::from_utf8(line).unwrap(), user: self.user, method, uri, at: now }
    }
}

/// Covers: 7616-3.4-5, 6665-6.4-1, 3265-5.4-1, ADV-P21
#[test]
fn nothing_that_was_seen_lets_anybody_in() {
    let mut random = Random(11);
    let mut now = Instant::from_secs(1_000);
    let mut home = server(REALM, &SEED, now);
    let mut other_realm = server("example.org", &SEED, now);
    let mut other_instance = server(REALM, &Seed([4; 32]), now);
    let mut clients: Vec<Client> = (0..4).map(|n| Client::new(&mut home, now, n % 2, n as u64)).collect();
    let mut used: Vec<Seen> = Vec::new();
    let (mut tried, mut honest) = (BTreeMap::<&str, u32>::new(), 0);
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        now = now + Duration::from_millis(random.below(500) as u64);
        // Somebody is let in, by a nonce of this minute.
        let n = random.below(clients.len());
        if random.below(8) == 0 {
            clients[n] = Client::new(&mut home, now, n % 2, attempts.into());
        }
        let seen = clients[n].send(now, &mut random);
        match present(&mut home, now, &seen.line, seen.method, seen.uri) {
            Ok(verified) => {
                assert_eq!(verified.user, USERS[seen.user].0.as_bytes());
                honest += 1;
                used.push(seen);
            }
            Err(why) => {
                // Too old, or forgotten for those of others.
                assert_eq!(why, Refusal::Stale);
                clients[n] = Client::new(&mut home, now, n % 2, attempts.into());
                continue;
            }
        }
        if used.len() > 64 {
            used.swap_remove(random.below(64));
        }
        // Then each kind of thief comes.
        let old = used[random.below(used.len())].clone();
        let fresh = clients[n].send(now, &mut random);
        let mut attempt = |kind: &'static str, result: Result<Verified, Refusal>| {
            assert!(result.is_err(), "{kind} was let in");
            *tried.entry(kind).or_default() += 1;
            attempts += 1;
        };
        attempt("same count", present(&mut home, now, &old.line, old.method, old.uri));
        attempt("other realm", present(&mut other_realm, now, &fresh.line, fresh.method, fresh.uri));
        attempt("other instance", present(&mut other_instance, now, &fresh.line, fresh.method, fresh.uri));
        attempt("other method", present(&mut home, now, &fresh.line, 1 - fresh.method, fresh.uri));
        attempt("other resource", present(&mut home, now, &fresh.line, fresh.method, 1 - fresh.uri));
        let uris = URIS.map(|uri| String::from_utf8(uri.to_vec()).unwrap());
        let line = fresh.line.replace(&uris[fresh.uri], &uris[1 - fresh.uri]);
        attempt("other uri", present(&mut home, now, &line, fresh.method, 1 - fresh.uri));
        let line = fresh.line.replace(USERS[fresh.user].0, USERS[1 - fresh.user].0);
        attempt("other user", present(&mut home, now, &line, fresh.method, fresh.uri));
        let at = old.line.find("nc=").unwrap() + 3;
        let mut line = old.line.clone();
        line.replace_range(at..at + 8, &format!("{:08x}", 1 + random.below(1 << 20)));
        attempt("other count", present(&mut home, now, &line, old.method, old.uri));
        // Nonces of one moment are told apart by nanoseconds.
        let late = now + LIFE + Duration::from_micros(1);
        attempt("expired", present(&mut home.clone(), late, &fresh.line, fresh.method, fresh.uri));
        // The same seed at a later start, and at one with an older clock.
        for start in [now, old.at] {
            let mut restarted = server(REALM, &SEED, start);
            attempt("after a restart", present(&mut restarted, now.max(start), &old.line, old.method, old.uri));
        }
        // The thief's line has not come yet when a later one of its owner does.
        let later = clients[n].send(now, &mut random);
        if present(&mut home, now, &later.line, later.method, later.uri).is_ok() {
            attempt("lower count", present(&mut home, now, &fresh.line, fresh.method, fresh.uri));
            used.push(later);
        }
    }
    println!("0 of {attempts} let in, beside {honest} who were: {tried:?}");
    assert!(honest > ATTEMPTS / 20 && tried.len() == 11);
    assert!(tried.values().all(|times| *times > ATTEMPTS / 40), "{tried:?}");
}
