use super::*;
use alloc::string::ToString;
use core::hash::{Hash, Hasher};

fn builder(host: &str) -> UriBuilder {
    UriBuf::builder(Scheme::Sip, host)
}

#[test]
fn an_owned_uri_is_the_borrowed_one() {
    let text = "sips:a@h:5061;x=y?b=c";
    let owned: UriBuf = text.parse().unwrap();
    assert_eq!(owned.as_str(), text);
    assert_eq!(owned.to_string(), text);
    assert_eq!(owned.as_ref(), text.as_bytes());
    let uri = owned.as_uri();
    assert_eq!(uri.user(), Some(&b"a"[..]));
    assert_eq!(uri.port(), Some(5061));
    assert_eq!(uri.param(b"x"), Some(Some(&b"y"[..])));
    assert_eq!(UriBuf::from(uri), owned);
    assert_eq!(UriBuf::try_from(text).unwrap(), owned);
    assert_eq!(UriBuf::try_from(text.as_bytes()).unwrap(), owned.clone());
    assert_ne!(owned, "sips:a@h".parse().unwrap());
    let hash = |uri: &UriBuf| {
        let mut hasher = siphasher::sip::SipHasher13::new();
        uri.hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&owned), hash(&owned.clone()));
    assert!(core::mem::size_of::<UriBuf>() <= 72);
}

#[test]
fn applications_cannot_smuggle_bytes_in() {
    for bad in
        ["sip:a@h\r\nX: y", "sip:a@h\n", "sip:a b@h", "sip:a@h ", "sip:%zz@h", "sip:a@h;x=%4", "<sip:a@h>", "alice", ""]
    {
        assert!(bad.parse::<UriBuf>().is_err(), "{bad:?}");
    }
}

/// Covers: 3261-19.1.2-1
#[test]
fn the_builder_escapes_each_component() {
    for (builder, expected) in [
        (builder("h"), "sip:h"),
        (builder("h").user("j@s0n"), "sip:j%40s0n@h"),
        (builder("h").user("a:b").password("c:d/e"), "sip:a%3Ab:c%3Ad%2Fe@h"),
        (builder("h").user("a;b=c?d/e"), "sip:a;b=c?d/e@h"),
        (builder("h").user("#31#"), "sip:%2331%23@h"),
        (builder("h").user("J\u{fc}rgen \r\n"), "sip:J%C3%BCrgen%20%0D%0A@h"),
        (builder("h").user("100%"), "sip:100%25@h"),
        (builder("2001:db8::1").port(5070), "sip:[2001:db8::1]:5070"),
        (builder("[2001:db8::1]"), "sip:[2001:db8::1]"),
        (builder("h").param("lr", None).param("x", Some(b"a;b")), "sip:h;lr;x=a%3Bb"),
        (builder("h").header("Subject", "a b&c").header("x", ""), "sip:h?Subject=a%20b%26c&x="),
        (UriBuf::builder(Scheme::Sips, "h"), "sips:h"),
        (builder("h").user("a").user("b"), "sip:b@h"),
        (builder("h").user(""), "sip:h"),
    ] {
        assert_eq!(builder.build().unwrap().as_str(), expected);
    }
}

/// Covers: 3261-19.1.2-1, 3261-19.1.2-4
#[test]
fn every_byte_survives_escaping() {
    for byte in 0..=255u8 {
        let plain = [b'u', byte];
        let uri = builder("h").user(plain).password(plain).param("x", Some(&plain)).header("y", plain).build().unwrap();
        let escaped = alloc::format!("u%{byte:02X}");
        let whole = alloc::format!("sip:{escaped}:{escaped}@h;x={escaped}?y={escaped}");
        let decoded = |text: &[u8]| -> Vec<u8> {
            let mut plain = Vec::new();
            let mut rest = text;
            while let [first, tail @ ..] = rest {
                if let [b'%', high, low, tail @ ..] = rest {
                    let hex = [*high, *low];
                    let hex = core::str::from_utf8(&hex).unwrap();
                    plain.push(u8::from_str_radix(hex, 16).unwrap());
                    rest = tail;
                } else {
                    plain.push(*first);
                    rest = tail;
                }
            }
            plain
        };
        assert_eq!(decoded(uri.as_bytes()), decoded(whole.as_bytes()));
        assert_eq!(uri.as_uri().user().map(decoded), Some([&plain[..], b":", &plain].concat()));
    }
}

#[test]
fn the_builder_refuses_what_cannot_be_escaped() {
    for (builder, kind) in [
        (builder("a@b"), ParseErrorKind::BadHost),
        (builder("h;x"), ParseErrorKind::BadHost),
        (builder("h:5060"), ParseErrorKind::BadHost),
        (builder(""), ParseErrorKind::BadHost),
        (builder("h\r\n"), ParseErrorKind::BadHost),
        (builder("h").param("x", None).param("X", None), ParseErrorKind::DuplicateParameter),
        (builder("h").param("", None), ParseErrorKind::BadUri),
        (builder("h").param("x", Some(b"")), ParseErrorKind::BadUri),
        (builder("h").password("p"), ParseErrorKind::BadUri),
        (UriBuf::builder(Scheme::Tel, "h"), ParseErrorKind::UnsupportedUriScheme),
    ] {
        assert_eq!(builder.build().unwrap_err().kind, kind);
    }
}
