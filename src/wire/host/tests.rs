use super::*;
use alloc::string::ToString;
use alloc::vec;

fn kind(text: &str) -> &'static str {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Name(name)) => {
            assert_eq!(name, text.as_bytes());
            "name"
        }
        Ok(Host::V4(_)) => "v4",
        Ok(Host::V6(_)) => "v6",
        Err(error) => {
            assert_eq!(error.kind, ParseErrorKind::BadHost);
            "bad"
        }
    }
}

/// Covers: 3261-19.1.2-5, 3261-19.1.2-2
#[test]
fn hosts_are_names_or_addresses() {
    for (text, expected) in [
        ("example.com", "name"),
        ("example.com.", "name"),
        ("a", "name"),
        ("h_1.example", "name"),
        ("_sip._udp.example", "name"),
        ("x-y.example", "name"),
        ("1.example", "name"),
        ("xn--bcher-kva.example", "name"),
        ("4b1c9d0e7f21", "name"),
        ("192.0.2.1", "v4"),
        ("0.0.0.0", "v4"),
        ("255.255.255.255", "v4"),
        ("[::]", "v6"),
        ("[2001:db8::1]", "v6"),
        ("[::ffff:192.0.2.1]", "v6"),
        ("", "bad"),
        (".", "bad"),
        ("..", "bad"),
        ("a..b", "bad"),
        (".a", "bad"),
        ("a..", "bad"),
        ("-a", "bad"),
        ("a-", "bad"),
        ("a.-b", "bad"),
        ("a-.b", "bad"),
        // ADV-P20
        (".1", "bad"),
        ("[.1]", "bad"),
        ("1", "bad"),
        ("1.2.3", "bad"),
        ("1.2.3.4.5", "bad"),
        ("256.1.1.1", "bad"),
        ("192.0.2.1.", "bad"),
        ("192.0.2.01", "bad"),
        ("example.1", "bad"),
        ("2001:db8::1", "bad"),
        ("[2001:db8::1", "bad"),
        ("[]", "bad"),
        ("[192.0.2.1]", "bad"),
        ("[fe80::1%eth0]", "bad"),
        ("[1:2:3:4:5:6:7:8:9]", "bad"),
        ("ex%61mple.com", "bad"),
        ("b\u{fc}cher.example", "bad"),
        ("a b", "bad"),
        (" a", "bad"),
        ("a,b", "bad"),
        ("a:1", "bad"),
    ] {
        assert_eq!(kind(text), expected, "{text:?}");
    }
}

#[test]
fn each_byte_may_stand_in_a_name_or_not() {
    for byte in 0..=255u8 {
        let expected = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let text = [b'a', byte, b'z'];
        assert_eq!(Host::parse(&text).is_ok(), expected, "{byte:#x}");
    }
}

/// Covers: 3261-19.1.4-4
#[test]
fn names_are_equal_in_any_case_and_never_addresses() {
    let host = |text: &'static str| Host::parse(text.as_bytes()).unwrap();
    assert_eq!(host("EXAMPLE.com"), host("example.COM"));
    assert_ne!(host("example.com"), host("example.org"));
    assert_eq!(host("[2001:DB8:0::1]"), host("[2001:db8::1]"));
    assert_ne!(host("192.0.2.1"), host("[::ffff:192.0.2.1]"));
    assert_ne!(host("localhost"), host("127.0.0.1"));
}

#[test]
fn hosts_write_what_they_parse() {
    for text in ["Example.com", "192.0.2.1", "[2001:db8::1]"] {
        let host = Host::parse(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        host.write(&mut out);
        assert_eq!(out, text.as_bytes());
        assert_eq!(host.to_string(), text);
    }
    assert_eq!(Host::parse(b"[::1]").unwrap().ip(), "::1".parse().ok());
    assert_eq!(Host::parse(b"x").unwrap().ip(), None);
}

#[test]
fn host_and_port() {
    for (text, port, written) in [
        ("PBX.example.com", None, "pbx.example.com"),
        ("pbx.example.com:5070", Some(5070), "pbx.example.com:5070"),
        ("192.0.2.1:65535", Some(65535), "192.0.2.1:65535"),
        ("[2001:DB8::1]:5060", Some(5060), "[2001:db8::1]:5060"),
        ("[::1]", None, "[::1]"),
        ("h:05060", Some(5060), "h:5060"),
    ] {
        let parsed: HostPort = text.parse().unwrap();
        assert_eq!(parsed.port(), port);
        assert_eq!(parsed.to_string(), written);
        let mut out = vec![];
        parsed.write(&mut out);
        assert_eq!(out, written.as_bytes());
        assert_eq!(HostPort::parse(written.as_bytes()).unwrap(), parsed);
    }
    for text in ["", ":5060", "h:", "h:65536", "h:-1", "h: 5060", "h:5060x", "::1"] {
        assert!(text.parse::<HostPort>().is_err(), "{text}");
    }
    let address: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
    assert_eq!(HostPort::from(address).to_string(), "[2001:db8::1]:5060");
}

/// Covers: 3261-19.1.2-5
#[test]
fn parameters_hold_addresses_with_or_without_brackets() {
    for (text, expected) in [
        ("192.0.2.1", Some("192.0.2.1")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("fe80::1%eth0", Some("fe80::1")),
        ("[192.0.2.1]", None),
        ("example.com", None),
        ("2001:db8::1]", None),
        ("", None),
    ] {
        let expected = expected.map(|text| text.parse().unwrap());
        assert_eq!(parse_ip(text.as_bytes()), expected, "{text}");
    }
}
