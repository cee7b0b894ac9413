//! Work that must cost the same whatever an attacker chooses: each row is
//! counted for two sizes, which are names here.

use std::hash::Hasher;
use std::hint::black_box;
use std::sync::Arc;

use sip_events::digest::{Algorithm, HexDigest, Secret, Settings, UserStore};
use sip_events::{Authentication, Endpoint, Flow};
use siphasher::sip::SipHasher24;

use crate::Work;
use crate::growing::{BOB, LOCAL, NOW, addr, drain, endpoint, udp};

pub const ROWS: &[(&str, (usize, usize), Work)] = &[
    // The first wrong digit; no digit wrong is 64.
    ("digest-first-digit", (0, 63), wrong_digit),
    ("digest-right", (0, 64), wrong_digit),
    // 1: nobody of that name. 0: a known resource, a known user.
    ("unknown-resource", (0, 1), |size, measured| challenged(["bob", "eve"][size % 2], measured)),
    ("unknown-user", (0, 1), |size, measured| refused(["allison", "mallory"][size % 2], measured)),
    // 1: Call-IDs that collide under a known key.
    ("chosen-names", (0, 1), chosen_names),
    // A refresh beside so many watchers.
    ("table", (100, 10_000), refresh),
];

fn wrong_digit(at: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let right = [b'a'; 64];
    let mut given = right;
    if let Some(digit) = given.get_mut(at) {
        *digit = b'b';
    }
    let made = HexDigest::from_hex(Algorithm::Sha256, &right).expect("digits");
    measured(&mut || {
        for _ in 0..1_000 {
            black_box(made.matches(black_box(&given)));
        }
    });
}

#[derive(Debug)]
struct Users;

impl UserStore for Users {
    fn secret(&self, user: &[u8], _hashed: bool, _realm: &str, _algorithm: Algorithm) -> Option<Secret> {
        (user == b"allison").then(|| Secret::password("secret"))
    }
}

fn guarded() -> Endpoint {
    let settings = Settings::new("example.com").expect("a realm").users(Arc::new(Users));
    endpoint(settings.into())
}

fn subscribe(n: u64, user: &str, more: &str) -> String {
    format!(
        "SUBSCRIBE sip:{user}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:ann@example.com>;tag=t{n}\r\nTo: <{BOB}>\r\nCall-ID: {n}@x\r\n\
         CSeq: 1 SUBSCRIBE\r\nContact: <sip:ann@198.51.100.7:5080>\r\nEvent: presence\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn challenged(resource: &str, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let mut endpoint = guarded();
    let messages: Vec<String> = (0..100).map(|n| subscribe(n, resource, "")).collect();
    let mut out = Vec::with_capacity(1_000_000);
    measured(&mut || {
        for message in &messages {
            let _ = endpoint.handle_message(NOW, udp(), message.as_bytes());
            drain(&mut endpoint, &mut out);
        }
    });
    assert_eq!(out.windows(12).filter(|w| *w == b"SIP/2.0 401 ").count(), 100);
}

/// Wrong passwords, by a name that exists or not, of one length.
fn refused(user: &str, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let mut endpoint = guarded();
    let mut out = Vec::with_capacity(1_000_000);
    let mut messages = Vec::new();
    for n in 0..100 {
        out.clear();
        let _ = endpoint.handle_message(NOW, udp(), subscribe(n, "bob", "").as_bytes());
        drain(&mut endpoint, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let nonce = text.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let line = format!(
            "Authorization: Digest username=\"{user}\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"{BOB}\", \
             algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\", response=\"{}\"\r\n",
            "a".repeat(64)
        );
        messages.push(subscribe(1_000 + n, "bob", &line));
    }
    out.clear();
    measured(&mut || {
        for message in &messages {
            let _ = endpoint.handle_message(NOW, udp(), message.as_bytes());
            drain(&mut endpoint, &mut out);
        }
    });
    assert_eq!(out.windows(12).filter(|w| *w == b"SIP/2.0 401 ").count(), 100);
}

/// Requests that are refused, each of which is remembered as a transaction.
fn chosen_names(chosen: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    const COUNT: usize = 100_000;
    let mut names = Vec::with_capacity(COUNT);
    let mut n = 0u64;
    while names.len() < COUNT {
        let text = format!("{n:08x}");
        let mut hasher = SipHasher24::new();
        hasher.write(text.as_bytes());
        // The same 6 bits: as many as a table of this size has groups is too long a search here.
        if chosen == 0 || hasher.finish() & 0x3f == 0x2a {
            names.push(text);
        }
        n += 1;
    }
    let mut endpoint = endpoint(Authentication::None);
    let messages: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK{name}\r\nMax-Forwards: 70\r\n\
                 From: <sip:a@b>;tag={name}\r\nTo: <{BOB}>\r\nCall-ID: {name}\r\nCSeq: 1 SUBSCRIBE\r\n\
                 Event: unheard-of\r\n\r\n"
            )
        })
        .collect();
    let mut out = Vec::with_capacity(50_000_000);
    measured(&mut || {
        for message in &messages {
            let _ = endpoint.handle_message(NOW, udp(), message.as_bytes());
            drain(&mut endpoint, &mut out);
        }
    });
}

/// A refresh among so many watchers.
fn refresh(watchers: usize, measured: &mut dyn FnMut(&mut dyn FnMut())) {
    let mut endpoint = endpoint(Authentication::None);
    let mut out = Vec::new();
    let mut tag = String::new();
    for n in 0..watchers as u64 {
        out.clear();
        let flow = Flow::udp(addr(LOCAL), addr("198.51.100.7:5080"));
        let _ = endpoint.handle_message(NOW, flow, subscribe(n, "bob", "Expires: 3600\r\n").as_bytes());
        drain(&mut endpoint, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let to = text.split("\r\nTo: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default();
        tag = to.split("tag=").nth(1).unwrap_or_default().to_owned();
    }
    assert!(!tag.is_empty(), "the last is a watcher");
    let n = watchers as u64 - 1;
    let again = subscribe(n, "bob", "Expires: 3600\r\n")
        .replace(&format!("To: <{BOB}>"), &format!("To: <{BOB}>;tag={tag}"))
        .replace("CSeq: 1", "CSeq: 2")
        .replace("branch=z9hG4bK", "branch=z9hG4bKagain");
    out.clear();
    measured(&mut || {
        let _ = endpoint.handle_message(NOW, udp(), again.as_bytes());
        drain(&mut endpoint, &mut out);
    });
    assert!(out.starts_with(b"SIP/2.0 200"), "{}", String::from_utf8_lossy(&out));
}
