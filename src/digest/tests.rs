//! Vectors of RFC 2617, RFC 7616 (with erratum 4897) and of our own in the way
//! of RFC 3261, then properties.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::response::{hash_concat, hashed_name, session_key, user_hash};
use super::*;
use crate::Instant;
use crate::entropy::Seed;

const SIP_NONCE: &str = "abc123";
const SIP_CNONCE: &str = "0a4f113b";

struct Vector {
    algorithm: Algorithm,
    user: &'static str,
    realm: &'static str,
    password: &'static str,
    method: &'static str,
    uri: &'static str,
    nonce: &'static str,
    nc: &'static str,
    cnonce: &'static str,
    qop: Option<Qop>,
    body: &'static str,
    response: &'static str,
}

const SIP: Vector = Vector {
    algorithm: Algorithm::Md5,
    user: "alice",
    realm: "example.com",
    password: "secret",
    method: "SUBSCRIBE",
    uri: "sip:bob@example.com",
    nonce: SIP_NONCE,
    nc: "00000001",
    cnonce: SIP_CNONCE,
    qop: None,
    body: "",
    response: "",
};

const RFC7616: Vector = Vector {
    user: "Mufasa",
    realm: "http-auth@example.org",
    password: "Circle of Life",
    method: "GET",
    uri: "/dir/index.html",
    nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    qop: Some(Qop::Auth),
    ..SIP
};

const RFC7616_UTF8: Vector = Vector {
    algorithm: Algorithm::Sha512_256,
    user: "J\u{e4}s\u{f8}n Doe",
    realm: "api@example.org",
    password: "Secret, or not?",
    method: "GET",
    uri: "/doe.json",
    nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
    cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    qop: Some(Qop::Auth),
    response: "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
    ..SIP
};

const fn sip(algorithm: Algorithm, qop: Option<Qop>, response: &'static str) -> Vector {
    Vector { algorithm, qop, response, ..SIP }
}

const VECTORS: [Vector; 17] = [
    Vector {
        user: "Mufasa",
        realm: "testrealm@host.com",
        password: "Circle Of Life",
        method: "GET",
        uri: "/dir/index.html",
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        qop: Some(Qop::Auth),
        response: "6629fae49393a05397450978507c4ef1",
        ..SIP
    },
    Vector { response: "8ca523f5e9506fed4657c9700eebdbec", ..RFC7616 },
    Vector {
        algorithm: Algorithm::Sha256,
        response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ..RFC7616
    },
    RFC7616_UTF8,
    sip(Algorithm::Md5, None, "64854a87780b2640509def33754701b6"),
    sip(Algorithm::Md5, Some(Qop::Auth), "7f7e717636f62f89b4c1ae08cb7d24a9"),
    sip(Algorithm::Md5, Some(Qop::AuthInt), "3ac8e4556c52eeadb17dc7278991b526"),
    sip(Algorithm::Sha256, None, "18e2e8fc9e7e0221fce9df8aa373460a098d879820e6c297a9cba525194527ac"),
    sip(Algorithm::Sha256, Some(Qop::Auth), "f6a4e9e18e7ffa254528d66a1a7c7d843c1f729bc12a0baf6d0b71f07a7c4481"),
    sip(Algorithm::Sha256, Some(Qop::AuthInt), "1b46a466a3f360cb1bad4f8cc6e74f33381f99041382f5d96b0d5fdde2e2c7b5"),
    sip(Algorithm::Sha512_256, None, "7d3f1d5c7a207e5ece62592d1e31cfa77c588fd7a1e4ee99d824b3e1d0fac6d5"),
    sip(Algorithm::Sha512_256, Some(Qop::Auth), "eda5bfa237e8795fc8f33b91758837b5992b0b7af8a14a688d99d2881adc338f"),
    sip(Algorithm::Sha512_256, Some(Qop::AuthInt), "51ec6881f2da421df8b12a5576cbf070aba9af95357ad4e92d21bc79d044ccd8"),
    sip(Algorithm::Md5Sess, Some(Qop::Auth), "90bc583580e1dcfa8218b6f7366d65fd"),
    sip(Algorithm::Sha256Sess, Some(Qop::Auth), "e09e3b1d1505009362694ae70f95297846dc84b21b3c9eb53aabb7089c3b4b81"),
    sip(Algorithm::Sha512_256Sess, Some(Qop::Auth), "42bbb10ad86ab0e441f68f0a59535978762cb99403d0882bf9a51477f9e363f4"),
    Vector {
        method: "NOTIFY",
        uri: "sip:alice@192.0.2.1",
        nc: "00000002",
        qop: Some(Qop::AuthInt),
        body: "hello",
        response: "2000c6f38a72e6aa02cef484f28c6839",
        ..SIP
    },
];

impl Vector {
    fn key(&self) -> HexDigest {
        let user = user_hash(self.algorithm, self.user.as_bytes(), self.realm.as_bytes(), self.password.as_bytes());
        session_key(self.algorithm, &user, self.nonce.as_bytes(), self.cnonce.as_bytes())
    }

    fn compute(&self) -> HexDigest {
        let how =
            Use { nonce: self.nonce.as_bytes(), qop: self.qop, nc: self.nc.as_bytes(), cnonce: self.cnonce.as_bytes() };
        // The body in two parts: they are hashed as one.
        let (head, tail) = self.body.as_bytes().split_at(self.body.len() / 2);
        let request = Request { method: self.method.as_bytes(), uri: self.uri.as_bytes(), body: &[head, tail] };
        response(self.algorithm, &self.key(), &how, &request)
    }
}

/// Covers: 7616-3.4-1, 7616-3.4-2, 7616-3.4-3, 7616-6.1-1, 3261-22.4-3, 8760-2.2-1
#[test]
fn vectors_of_the_rfcs() {
    for vector in &VECTORS {
        let made = vector.compute();
        assert_eq!(text(made.as_bytes()), vector.response, "{:?} {:?}", vector.algorithm, vector.qop);
        assert!(made.matches(vector.response.as_bytes()));
    }
    // What RFC 7616 prints is SHA-512 cut short (erratum 4897).
    assert!(!RFC7616_UTF8.compute().matches(b"ae66e67d6b427bd3f120414a82e4acff38e8ecd9101d6c861229025f607a79dd"));
    for (algorithm, empty) in [
        (Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e"),
        (Algorithm::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (Algorithm::Sha512_256, "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"),
    ] {
        assert_eq!(text(hash_concat(algorithm.hash(), &[]).as_bytes()), empty);
        assert_eq!(text(hash_concat(algorithm.hash(), &[b"", b""]).as_bytes()), empty);
    }
}

/// Covers: 7616-3.4.4-1
#[test]
fn the_hashed_name_of_rfc_7616() {
    let name = hashed_name(Algorithm::Sha512_256, RFC7616_UTF8.user.as_bytes(), RFC7616_UTF8.realm.as_bytes());
    assert_eq!(text(name.as_bytes()), "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
}

/// Covers: 7616-3.5-1
#[test]
fn the_servers_proof_has_no_method() {
    let how = Use { nonce: b"n", qop: Some(Qop::Auth), nc: b"00000001", cnonce: b"c" };
    let key = SIP.key();
    let proof = response_auth(Algorithm::Md5, &key, &how, b"sip:b", &[]);
    let same = response(Algorithm::Md5, &key, &how, &Request { method: b"", uri: b"sip:b", body: &[b"x"] });
    assert!(proof.matches(same.as_bytes()));
    let with_body = Use { qop: Some(Qop::AuthInt), ..how };
    let one = response_auth(Algorithm::Md5, &key, &with_body, b"sip:b", &[b"a"]);
    let other = response_auth(Algorithm::Md5, &key, &with_body, b"sip:b", &[b"b"]);
    assert_ne!(one.as_bytes(), other.as_bytes());
}

/// Covers: ADV-P29
#[test]
fn every_wrong_digit_and_every_other_length_differs() {
    for vector in &VECTORS {
        let right = vector.response.as_bytes();
        let made = vector.compute();
        for at in 0..right.len() {
            let mut wrong = right.to_vec();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            assert!(!made.matches(&wrong), "digit {at}");
            assert!(!made.matches(&right[..at]));
        }
        assert!(!made.matches(&right.to_ascii_uppercase()));
        assert!(!made.matches(&[right, b"0"].concat()));
    }
    assert!(!VECTORS[0].compute().matches(&[0; 32]));
    assert!(HexDigest::from_hex(Algorithm::Md5, &[b'a'; 64]).is_none());
    assert!(HexDigest::from_hex(Algorithm::Sha256, &[b'g'; 64]).is_none());
}

/// Covers: 3261-22-1, 8760-2.7-1, 8760-2.4-1, 7616-3.3-1, 7616-4-1, 3261-7.3.1-7
#[test]
fn challenges_are_read_tolerantly_and_only_when_whole() {
    let full = br#"Digest realm="a, b", domain="sip:x", nonce="n\"1", opaque="o", stale=TRUE, algorithm=sha-256, qop="auth-int, auth", userhash=true, charset=utf-8, other=1"#;
    let read = Challenge::parse(full).unwrap();
    assert_eq!(*read.realm(), *b"a, b");
    assert_eq!(*read.nonce(), *b"n\"1");
    assert_eq!(read.opaque().as_deref(), Some(b"o".as_slice()));
    assert_eq!(read.algorithm, Algorithm::Sha256);
    assert!(read.stale && read.has_qop && read.auth && read.auth_int && read.userhash && read.utf8);

    let bare = Challenge::parse(b"DIGEST\trealm=\"r\" ,, nonce = abc/== ,stale=\"true\",qop=auth,auth-int,").unwrap();
    assert_eq!(bare.algorithm, Algorithm::Md5);
    assert_eq!(*bare.nonce(), *b"abc/==");
    assert!(bare.stale && bare.auth && !bare.auth_int && !bare.algorithm_named && !bare.utf8);
    let old = Challenge::parse(b"Digest realm=\"r\", nonce=\"n\", qop=\"\"").unwrap();
    assert!(!old.has_qop);
    assert!(Challenge::parse(b"Digest realm=\"r\", nonce=\"n\", algorithm=\"MD5\"").unwrap().algorithm_named);
    assert!(!Challenge::parse(b"Digest realm=\"r\", nonce=\"n\", stale=maybe").unwrap().stale);

    for (value, why) in [
        ("Basic realm=\"r\"", Unusable::Scheme),
        ("Digestrealm=\"r\", nonce=\"n\"", Unusable::Scheme),
        ("", Unusable::Scheme),
        ("Digest", Unusable::Incomplete),
        ("Digest realm=\"r\"", Unusable::Incomplete),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-3", Unusable::Algorithm),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5", Unusable::Algorithm),
        ("Digest realm=\"r\", nonce=\"n\", qop=\"token\"", Unusable::Qop),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess", Unusable::Qop),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-sess, qop=\"\"", Unusable::Qop),
    ] {
        assert_eq!(Challenge::parse(value.as_bytes()).unwrap_err(), why, "{value}");
    }
    for value in [
        "Digest realm=\"r, nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", nonce=\"m\"",
        "Digest realm=\"r\" nonce=\"n\"",
        "Digest =\"r\", nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", Digest realm=\"q\", nonce=\"m\"",
    ] {
        assert!(matches!(Challenge::parse(value.as_bytes()), Err(Unusable::Malformed(_))), "{value}");
    }
    let long = format!("Digest realm=\"r\", nonce=\"{}\"", "n".repeat(MAX_VALUE + 1));
    assert_eq!(Challenge::parse(long.as_bytes()).unwrap_err(), Unusable::TooLong);
}

/// What a challenge may hold may stand in its answer, where it is quoted.
#[test]
fn the_longest_values_come_back() {
    let alice = Credentials::new("alice", Secret::password("secret")).unwrap();
    for (text, fits) in [("n".repeat(MAX_VALUE), true), ("n".repeat(MAX_VALUE + 1), false)] {
        for value in [format!("Digest realm=r, nonce={text}"), format!("Digest realm=\"{text}\", nonce=\"n\"")] {
            let challenge = Challenge::parse(value.as_bytes());
            assert_eq!(challenge.is_ok(), fits, "{}", text.len());
            let Ok(challenge) = challenge else { continue };
            let mut session = Session::new(false, &challenge, &alice, 7).unwrap();
            let mut line = Vec::new();
            session.write(&Request { method: b"SUBSCRIBE", uri: b"sip:b@h", body: &[] }, &mut line);
            let answer = Authorization::parse(line.trim_ascii().strip_prefix(b"Authorization: ").unwrap()).unwrap();
            assert_eq!((answer.nonce(), answer.realm()), (challenge.nonce(), challenge.realm()));
        }
    }
}

/// Covers: 7616-3.4-4, 7616-3.4-6, 8760-2.6-8b
#[test]
fn answers_are_read_strictly() {
    const BASE: &str = r#"Digest username="a", realm="r", nonce="n", uri="sip:b", response="00""#;
    let read = |more: &str| {
        let value = format!("{BASE}{more}");
        Authorization::parse(value.as_bytes()).map(|a| (a.count(), a.qop, a.algorithm))
    };
    assert_eq!(read(""), Ok((0, None, Some(Algorithm::Md5))));
    assert_eq!(
        read(", qop=auth, nc=0000000A, cnonce=\"c\", algorithm=SHA-256-sess"),
        Ok((10, Some(Qop::Auth), Some(Algorithm::Sha256Sess)))
    );
    assert_eq!(read(", qop=\"auth-int\", nc=ffffffff, cnonce=\"c\"").unwrap().0, u32::MAX);
    assert_eq!(read(", algorithm=SHA3").unwrap().2, None);
    for bad in [
        ", qop=auth",
        ", qop=auth, nc=1, cnonce=\"c\"",
        ", qop=auth, nc=00000000, cnonce=\"c\"",
        ", qop=auth, nc=0000000g, cnonce=\"c\"",
        ", qop=auth, nc=00000001",
        ", qop=other, nc=00000001, cnonce=\"c\"",
        ", username=\"b\"",
        ", username*=UTF-8''b",
        ", cnonce=\"",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let extended = r#"Digest username*=UTF-8''J%C3%A4s%c3%B8n%20Doe, realm="r", nonce="n", uri="sip:b", response="00""#;
    assert_eq!(Authorization::parse(extended.as_bytes()).unwrap().user(), RFC7616_UTF8.user.as_bytes());
    for bad in ["username*=UTF-8''%4", "username*=latin1''a", "username*=a", "username*=UTF-8''a, userhash=true"] {
        let value = format!(r#"Digest {bad}, realm="r", nonce="n", uri="sip:b", response="00""#);
        assert!(Authorization::parse(value.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(Authorization::parse(b"Basic QWxhZGRpbg==").unwrap_err(), Unusable::Scheme);
}

// The two halves together.

fn settings() -> Settings {
    Settings::new("example.com").unwrap()
}

fn server(settings: Settings) -> Server {
    Server::new(settings, &Seed([9; 32]), 100, EARLIER)
}

const URI: &[u8] = b"sip:bob@example.com";
const NOW: Instant = Instant::from_secs(1_000);
const EARLIER: Instant = Instant::from_secs(900);

fn challenges(server: &mut Server, now: Instant, stale: bool) -> Vec<String> {
    let mut out = Vec::new();
    server.write_challenges(now, stale, &mut out);
    let line = |line: &str| line.strip_prefix("WWW-Authenticate: ").unwrap().to_string();
    text(&out).split_terminator("\r\n").map(line).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn session(lines: &[String], credentials: &Credentials) -> Option<Session> {
    let choice = choose(lines.iter().map(String::as_bytes), |_| Some(credentials));
    let (challenge, credentials) = choice.answers.into_iter().next()?;
    Session::new(false, &challenge, credentials, 0x0123_4567_89ab_cdef)
}

fn answer(session: &mut Session, uri: &[u8], body: &[u8]) -> String {
    let mut out = Vec::new();
    session.write(&Request { method: b"SUBSCRIBE", uri, body: &[body] }, &mut out);
    text(&out).strip_prefix("Authorization: ").unwrap().trim_end().to_string()
}

fn admit(server: &mut Server, now: Instant, line: &str, secret: Option<&Secret>) -> Result<Verified, Refusal> {
    admit_to(server, now, line, secret, URI, b"")
}

fn admit_to(
    server: &mut Server,
    now: Instant,
    line: &str,
    secret: Option<&Secret>,
    uri: &[u8],
    body: &[u8],
) -> Result<Verified, Refusal> {
    let claim = server.check(now, [line.as_bytes()].into_iter(), uri, b"sip:to@example.com")?;
    server.verify(now, &claim, secret, b"SUBSCRIBE", &[body])
}

fn alice() -> Credentials {
    Credentials::new("alice", Secret::password("secret")).unwrap()
}

/// Covers: 3261-22.2-1, 3261-22.4-1, 8760-2.6-8a, 8760-2.3-1, 7616-3.3-2, 7616-3.3-3, 7616-3.4-4, 7616-3.5-1
#[test]
fn every_algorithm_and_quality_lets_the_right_user_in_and_no_other() {
    let secret = Secret::password("secret");
    for algorithm in Algorithm::ALL {
        for integrity in [false, true] {
            let mut server = server(settings().algorithms(&[algorithm]).integrity(integrity));
            let offered = challenges(&mut server, NOW, false);
            assert_eq!(offered.len(), 1);
            let mut client = session(&offered, &alice()).unwrap();
            for count in 1..=3 {
                let line = answer(&mut client, URI, b"body");
                assert!(line.contains(&format!("nc={count:08x}")), "{line}");
                assert!(line.contains(&format!("algorithm={}", algorithm.as_str())), "{line}");
                assert!(line.contains("qop=auth,") && line.contains("uri=\"sip:bob@example.com\""), "{line}");
                for wrong in [Secret::password("Secret"), Secret::password("secret").named("bob")] {
                    assert_eq!(admit(&mut server, NOW, &line, Some(&wrong)), Err(Refusal::Denied));
                }
                assert_eq!(admit(&mut server, NOW, &line, None), Err(Refusal::Denied));
                let verified = admit_to(&mut server, NOW, &line, Some(&secret), URI, b"body").unwrap();
                assert_eq!(verified.user, b"alice");
                let info = Info::parse(&verified.info).unwrap();
                assert!(client.handle_info(&info, &[]));
                assert_eq!(admit(&mut server, NOW, &line, Some(&secret)), Err(Refusal::Stale), "a replay");
            }
        }
    }
}

/// Covers: 8760-2.4-1, 8760-2.3-1, 7616-3.4-3
#[test]
fn auth_int_covers_the_body() {
    let mut server = server(settings().integrity(true));
    let offered = challenges(&mut server, NOW, false);
    let only = offered[0].replace("\"auth,auth-int\"", "\"auth-int\"");
    let mut client = session(&[only], &alice()).unwrap();
    let secret = Secret::password("secret");
    let line = answer(&mut client, URI, b"body");
    assert!(line.contains("qop=auth-int"), "{line}");
    assert_eq!(admit_to(&mut server, NOW, &line, Some(&secret), URI, b"bodY"), Err(Refusal::Denied));
    assert!(admit_to(&mut server, NOW, &line, Some(&secret), URI, b"body").is_ok());
}

/// Covers: 8760-2.3-1, 8760-3-1, 8760-2.4-1, 8760-2.4-2, 8760-2.4-3, 3261-22.3-1, 3261-22-1
#[test]
fn the_topmost_challenge_that_can_be_answered_is() {
    let mut server = server(settings().algorithms(&[Algorithm::Md5, Algorithm::Sha512_256, Algorithm::Sha256]));
    let offered = challenges(&mut server, NOW, false);
    let order: Vec<Algorithm> =
        offered.iter().map(|line| Challenge::parse(line.as_bytes()).unwrap().algorithm).collect();
    assert_eq!(order, [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5]);
    let unknown = "Digest realm=\"example.com\", nonce=\"n\", algorithm=SHA-1024".to_string();
    let basic = "Basic realm=\"example.com\"".to_string();
    let other = "Digest realm=\"proxy.example\", nonce=\"n\"".to_string();
    let lines = [basic, unknown, offered[1].clone(), other, offered[2].clone()];
    let own = alice().realm("example.com");
    let Choice { answers: chosen, wanting } =
        choose(lines.iter().map(String::as_bytes), |realm| Some(&own).filter(|own| own.suit(realm)));
    assert_eq!(chosen.iter().map(|(c, _)| c.algorithm).collect::<Vec<_>>(), [Algorithm::Sha256]);
    assert_eq!(wanting.as_deref(), Some(b"proxy.example".as_slice()));
    let any = alice();
    let Choice { answers: chosen, wanting } = choose(lines.iter().map(String::as_bytes), |_| Some(&any));
    assert_eq!(chosen.len(), 2, "one for each realm");
    assert_eq!(wanting, None);
    let ha1 = text(user_hash(Algorithm::Md5, b"alice", b"example.com", b"secret").as_bytes());
    let md5_only = Credentials::new("alice", Secret::ha1(Algorithm::Md5, &ha1).unwrap()).unwrap();
    let Choice { answers: chosen, wanting } =
        choose(lines.iter().map(String::as_bytes), |realm| Some(&md5_only).filter(|_| realm == b"example.com"));
    assert_eq!(chosen.iter().map(|(c, _)| c.algorithm).collect::<Vec<_>>(), [Algorithm::Md5]);
    assert_eq!(wanting.as_deref(), Some(b"proxy.example".as_slice()));
    let strict = alice().allow_md5(false);
    let md5 = [lines[4].clone()];
    let Choice { answers: chosen, wanting } = choose(md5.iter().map(String::as_bytes), |_| Some(&strict));
    assert!(chosen.is_empty());
    assert_eq!(wanting.as_deref(), Some(b"example.com".as_slice()));
}

/// Covers: 3261-22.4-4, 7616-3.3-2
#[test]
fn against_an_old_server_neither_cnonce_nor_nc_and_opaque_comes_back() {
    let old = "Digest realm=\"example.com\", nonce=\"abc123\", opaque=\"5c\\\"c\"".to_string();
    let mut client = session(&[old], &alice()).unwrap();
    let line = answer(&mut client, URI, b"");
    assert_eq!(
        line,
        "Digest username=\"alice\", realm=\"example.com\", nonce=\"abc123\", uri=\"sip:bob@example.com\", \
         response=\"64854a87780b2640509def33754701b6\", opaque=\"5c\\\"c\""
    );
    let mut strict = server(settings().algorithms(&[Algorithm::Md5]));
    let nonce = challenges(&mut strict, NOW, false)[0].replace("qop=\"auth\", ", "");
    let mut client = session(&[nonce], &alice()).unwrap();
    let line = answer(&mut client, URI, b"");
    let secret = Secret::password("secret");
    assert_eq!(admit(&mut strict, NOW, &line, Some(&secret)), Err(Refusal::Missing));
    let mut lenient = server(settings().algorithms(&[Algorithm::Md5]).without_qop(true));
    let nonce = challenges(&mut lenient, NOW, false)[0].replace("qop=\"auth\", ", "");
    let line = answer(&mut session(&[nonce], &alice()).unwrap(), URI, b"");
    assert_eq!(admit(&mut lenient, NOW, &line, Some(&secret)).unwrap().info, b"");
    assert_eq!(
        admit(&mut lenient, NOW, &line, Some(&secret)),
        Err(Refusal::Stale),
        "a nonce without count is good once"
    );
}

/// Covers: 7616-3.4.4-1
#[test]
fn a_hashed_name_needs_the_plain_one_from_the_store() {
    let mut server = server(settings().userhash(true));
    let offered = challenges(&mut server, NOW, false);
    let mut client = session(&offered, &alice()).unwrap();
    let line = answer(&mut client, URI, b"");
    let name = text(hashed_name(Algorithm::Sha256, b"alice", b"example.com").as_bytes());
    assert!(line.contains(&format!("username=\"{name}\"")) && line.ends_with("userhash=true"), "{line}");
    let claim = server.check(NOW, [line.as_bytes()].into_iter(), URI, b"").unwrap();
    assert!(claim.is_hashed() && claim.user() == name.as_bytes());
    assert_eq!(admit(&mut server, NOW, &line, Some(&Secret::password("secret"))), Err(Refusal::Denied));
    let named = Secret::password("secret").named("alice");
    assert_eq!(admit(&mut server, NOW, &line, Some(&named)).unwrap().user, b"alice");
}

/// Covers: 7616-sec-1, 7616-3.3-1, 3261-22.1-1
#[test]
fn nonces_expire_and_belong_to_one_server_and_realm() {
    let secret = Secret::password("secret");
    let mut own = server(settings());
    let offered = challenges(&mut own, NOW, false);
    let mut client = session(&offered, &alice()).unwrap();
    let line = answer(&mut client, URI, b"");
    let late = NOW + Duration::from_secs(300);
    let too_late = late + Duration::from_nanos(1);
    assert_eq!(admit(&mut own, too_late, &line, Some(&secret)), Err(Refusal::Stale));
    let verified = admit(&mut own, late, &line, Some(&secret)).unwrap();
    // An ageing nonce brings its successor, with which counting starts anew.
    assert!(text(&verified.info).starts_with("nextnonce=\""), "{}", text(&verified.info));
    assert!(client.handle_info(&Info::parse(&verified.info).unwrap(), &[]));
    let line = answer(&mut client, URI, b"");
    assert!(line.contains("nc=00000001"), "{line}");
    assert!(admit(&mut own, too_late, &line, Some(&secret)).is_ok());

    let mut restarted = Server::new(settings(), &Seed([8; 32]), 100, EARLIER);
    let mut same_seed = Server::new(settings(), &Seed([9; 32]), 100, too_late);
    let mut other_realm = server(Settings::new("example.org").unwrap());
    challenges(&mut restarted, too_late, false);
    challenges(&mut other_realm, too_late, false);
    challenges(&mut same_seed, too_late, false);
    let line = answer(&mut client, URI, b"");
    assert_eq!(admit(&mut restarted, too_late, &line, Some(&secret)), Err(Refusal::Stale));
    assert_eq!(admit(&mut same_seed, too_late, &line, Some(&secret)), Err(Refusal::Stale));
    assert_eq!(admit(&mut other_realm, too_late, &line, Some(&secret)), Err(Refusal::Missing));
    let forged = line.replace("realm=\"example.com\"", "realm=\"example.org\"");
    assert_eq!(admit(&mut other_realm, too_late, &forged, Some(&secret)), Err(Refusal::Stale));
    for at in 0..32 {
        let mut nonce = client.nonce().to_vec();
        nonce[at] = if nonce[at] == b'0' { b'1' } else { b'0' };
        let forged = line.replace(&text(client.nonce()), &text(&nonce));
        assert_eq!(admit(&mut own, too_late, &forged, Some(&secret)), Err(Refusal::Stale), "digit {at}");
    }
    assert!(challenges(&mut own, NOW, true)[0].contains(", stale=true"));
    assert!(!offered[0].contains("stale"));
}

/// Covers: ADV-P21, 3261-22.4-2, 3261-22-1
#[test]
fn what_is_not_for_us_is_as_good_as_nothing() {
    let mut own = server(settings().algorithms(&[Algorithm::Sha256, Algorithm::Md5]));
    let offered = challenges(&mut own, NOW, false);
    let mut client = session(&offered, &alice()).unwrap();
    let secret = Secret::password("secret");
    let line = answer(&mut client, URI, b"");
    for (line, want) in [
        ("Basic QWxhZGRpbjpvcGVu".to_string(), Refusal::Missing),
        (line.replace("realm=\"example.com\"", "realm=\"never.offered\""), Refusal::Missing),
        (line.replace("algorithm=SHA-256", "algorithm=SHA-512-256"), Refusal::Missing),
        (line.replace("algorithm=SHA-256", "algorithm=foo"), Refusal::Missing),
        (line.replace("qop=auth", "qop=auth-int"), Refusal::Missing),
        (line.replace("algorithm=SHA-256", "algorithm=MD5"), Refusal::Denied),
        (line.replace("sip:bob@", "sip:carol@"), Refusal::Malformed),
        (line.replace("username=", "user="), Refusal::Malformed),
        (format!("{line}, response=\"\""), Refusal::Malformed),
    ] {
        assert_eq!(admit(&mut own, NOW, &line, Some(&secret)), Err(want), "{line}");
    }
    assert_eq!(own.check(NOW, core::iter::empty(), URI, b"").unwrap_err(), Refusal::Missing);
    // The line that counts may stand behind others.
    let other = line.replace("realm=\"example.com\"", "realm=\"other\"");
    assert!(own.check(NOW, [other.as_bytes(), line.as_bytes()].into_iter(), URI, b"").is_ok());
    // An equivalent URI is the same; after a proxy's rewriting To still names it.
    let equal = b"sip:bob@EXAMPLE.com";
    assert!(own.check(NOW, [line.as_bytes()].into_iter(), equal, b"").is_ok());
    let mut behind = server(settings().uri_check(UriCheck::RequestOrTo));
    let mut client = session(&challenges(&mut behind, NOW, false), &alice()).unwrap();
    let line = answer(&mut client, URI, b"");
    assert!(behind.check(NOW, [line.as_bytes()].into_iter(), b"sip:b@192.0.2.1", URI).is_ok());
    assert!(behind.check(NOW, [line.as_bytes()].into_iter(), b"sip:b@192.0.2.1", b"sip:x@y").is_err());
}

#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Against a model that forgets nothing: no count of a nonce is taken twice,
/// no lower one (or, with reordering, no lower one twice), whatever is evicted.
///
/// Covers: 7616-3.4-5, 6665-6.4-1, 3265-5.4-1
#[test]
fn no_replay_is_taken_whatever_was_forgotten() {
    for reordering in [false, true] {
        let mut nonces = nonce::Nonces::new(&Seed([3; 32]), 8, EARLIER);
        let (life, realm) = (Duration::from_secs(60), b"r".as_slice());
        let mut random = Random(7);
        let mut now = NOW;
        let mut issued: Vec<([u8; 32], Instant)> = Vec::new();
        let mut used: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..200_000 {
            match random.next(8) {
                0 => now = now + Duration::from_millis(random.next(2_000)),
                1 => issued.push((nonces.issue(now, realm), now)),
                _ if !issued.is_empty() => {
                    let recent = issued.len().saturating_sub(12);
                    let at = if random.next(4) == 0 {
                        random.next(issued.len() as u64)
                    } else {
                        recent as u64 + random.next((issued.len() - recent) as u64)
                    } as usize;
                    let count = random.next(6) as u32;
                    let (text, at_moment) = &issued[at];
                    let Some(stamp) = nonces.read(text, realm, now, life) else {
                        assert!(now - *at_moment > life);
                        continue;
                    };
                    let fresh = nonces.is_fresh(stamp, count, reordering);
                    let seen = used.entry(at).or_default();
                    if nonces.take(stamp, count, reordering, now, life) {
                        assert!(fresh && count > 0);
                        assert!(!seen.contains(&count), "a replay");
                        assert!(reordering || seen.iter().all(|earlier| *earlier < count), "a lower count");
                        seen.push(count);
                        taken += 1;
                    } else {
                        refused += 1;
                    }
                    assert!(nonces.live() <= 8);
                }
                _ => {}
            }
        }
        assert!(taken > 1_000 && refused > 1_000, "{taken} {refused}");
    }
}

#[test]
fn a_count_is_taken_once_and_the_window_is_64_wide() {
    let mut nonces = nonce::Nonces::new(&Seed([3; 32]), 8, EARLIER);
    let life = Duration::from_secs(60);
    let text = nonces.issue(NOW, b"r");
    let stamp = nonces.read(&text, b"r", NOW, life).unwrap();
    for (count, want) in [(1, true), (1, false), (100, true), (36, false), (37, true), (37, false), (0, false)] {
        assert_eq!(nonces.take(stamp, count, true, NOW, life), want, "{count}");
    }
    assert!(nonces.take(stamp, u32::MAX, true, NOW, life));
    assert!(!nonces.take(stamp, u32::MAX, true, NOW, life));
    assert!(!nonces.take(stamp, 101, true, NOW, life));
}

/// Covers: 6665-6.3-1, 3265-5.3-1
#[test]
fn challenges_cost_no_memory() {
    let mut server = server(settings());
    let mut out = Vec::new();
    for _ in 0..10_000 {
        out.clear();
        server.write_challenges(NOW, false, &mut out);
    }
    assert_eq!(server.nonces().live(), 0);
    let nonces: Vec<String> = (0..100).map(|_| challenges(&mut server, NOW, false).remove(0)).collect();
    let mut sorted = nonces.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), nonces.len(), "two clients never share a nonce");
}

/// Covers: 7616-3.5-1
#[test]
fn a_wrong_proof_changes_nothing() {
    let mut server = server(settings());
    let mut client = session(&challenges(&mut server, NOW, false), &alice()).unwrap();
    answer(&mut client, URI, b"");
    let before = client.nonce().to_vec();
    for info in [
        "nextnonce=\"evil\", qop=auth, rspauth=\"00\", cnonce=\"c\", nc=00000001",
        "nextnonce=\"evil\", qop=auth, rspauth=\"\", cnonce=\"c\", nc=00000002",
    ] {
        assert!(!client.handle_info(&Info::parse(info.as_bytes()).unwrap(), &[]));
    }
    assert_eq!(client.nonce(), before);
    for malformed in ["nextnonce=\"", "qop=foo", "nc=1", "nextnonce=a, nextnonce=b"] {
        assert!(Info::parse(malformed.as_bytes()).is_none(), "{malformed}");
    }
}

/// Covers: 7616-4-1, ADV-P19
#[test]
fn names_that_cannot_be_sent_are_refused_and_quotes_survive() {
    for name in ["", "a:b", "a\r\nX: y", "a\u{0}b"] {
        assert!(Credentials::new(name, Secret::password("p")).is_err(), "{name:?}");
    }
    let odd = Credentials::new("a\"b\\c", Secret::password("p\"w")).unwrap();
    let mut server = server(Settings::new("r \"1\" \\").unwrap());
    let mut client = session(&challenges(&mut server, NOW, false), &odd).unwrap();
    let line = answer(&mut client, URI, b"");
    let verified = admit(&mut server, NOW, &line, Some(&Secret::password("p\"w"))).unwrap();
    assert_eq!(verified.user, b"a\"b\\c");
    for realm in ["", "a\nb"] {
        assert!(Settings::new(realm).is_err());
    }
}

#[test]
fn secrets_do_not_print() {
    let digits = "0123456789abcdef0123456789abcdef";
    let ha1 = Secret::ha1(Algorithm::Md5, digits).unwrap();
    let credentials = Credentials::new("alice", ha1.clone()).unwrap().or(Secret::password("hunter2"));
    let session = session(
        &["Digest realm=\"r\", nonce=\"n\"".to_string()],
        &Credentials::new("alice", Secret::password("hunter2")).unwrap(),
    );
    let printed = format!("{ha1:?} {credentials:?} {session:?} {:?}", Secret::password("hunter2"));
    assert!(!printed.contains("hunter2") && !printed.contains("0123456789"), "{printed}");
    assert!(Secret::ha1(Algorithm::Sha256, digits).is_none());
}

#[derive(Debug)]
struct Users;

impl UserStore for Users {
    fn secret(&self, user: &[u8], hashed: bool, _realm: &str, _algorithm: Algorithm) -> Option<Secret> {
        (user == b"alice" && !hashed).then(|| Secret::password("secret"))
    }
}

#[test]
fn a_store_answers_at_once() {
    let settings = settings().users(Arc::new(Users));
    let store = settings.users.clone().unwrap();
    assert!(store.secret(b"alice", false, settings.realm(), Algorithm::Sha256).is_some());
    assert!(store.secret(b"bob", false, settings.realm(), Algorithm::Sha256).is_none());
}

/// No bytes make a reader panic, and what is read is within its bounds.
#[test]
fn any_bytes_are_survived() {
    let seeds: [&[u8]; 4] = [
        br#"Digest realm="r", nonce="n", opaque="o", stale=true, algorithm=MD5, qop="auth,auth-int", userhash=true"#,
        br#"Digest username="a", realm="r", nonce="n", uri="sip:b", response="00", qop=auth, nc=00000001, cnonce="c""#,
        br#"Digest username*=UTF-8''%41, realm="r", nonce="n", uri="sip:b", response="00", algorithm=SHA-256-sess"#,
        br#"nextnonce="n", qop=auth, rspauth="00", cnonce="c", nc=00000001"#,
    ];
    let pool = b"\"\\,=; \t\r\n%'*\x00\x7f\x80\xffaA09-";
    let mut random = Random(11);
    let mut server = server(settings());
    challenges(&mut server, NOW, false);
    for _ in 0..60_000 {
        let mut bytes = seeds[random.next(4) as usize].to_vec();
        for _ in 0..=random.next(4) {
            let at = random.next(bytes.len() as u64) as usize;
            match random.next(4) {
                0 => bytes[at] = pool[random.next(pool.len() as u64) as usize],
                1 => bytes.insert(at, pool[random.next(pool.len() as u64) as usize]),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        assert!(choose([bytes.as_slice()].into_iter(), |_| None).answers.is_empty());
        if let Ok(challenge) = Challenge::parse(&bytes) {
            assert!(challenge.nonce().len() <= MAX_VALUE);
            if let Some(mut session) = Session::new(true, &challenge, &alice(), 1) {
                let mut out = Vec::new();
                session.write(&Request { method: b"NOTIFY", uri: URI, body: &[] }, &mut out);
                let value = out.strip_prefix(b"Proxy-Authorization: ").unwrap().strip_suffix(b"\r\n").unwrap();
                assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n')));
                let back = Authorization::parse(value).unwrap();
                let blank = |bytes: &[u8]| bytes.iter().map(|b| if *b < 0x20 { b' ' } else { *b }).collect::<Vec<_>>();
                assert_eq!(blank(&back.nonce()), blank(&challenge.nonce()));
            }
        }
        let _ = Info::parse(&bytes);
        let _ = server.check(NOW, [bytes.as_slice()].into_iter(), URI, URI);
    }
}
