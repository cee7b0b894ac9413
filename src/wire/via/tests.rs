use super::*;
use alloc::string::{String, ToString};

fn via(text: &str) -> Via<'_> {
    Via::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn received(text: &str, source: &str) -> String {
    let mut out = Vec::new();
    via(text).write_received(&mut out, source.parse().unwrap());
    let written = String::from_utf8(out).unwrap();
    assert!(!written.contains(['\r', '\n']));
    written
}

/// Covers: 3261-25.1-4, 3261-7.3.1-2
#[test]
fn blanks_may_stand_wherever_the_grammar_allows() {
    for (input, host, port, branch) in [
        ("SIP/2.0/UDP h;branch=z9hG4bKx", "h", None, Some("z9hG4bKx")),
        ("SIP/2.0/UDP h:5061", "h", Some(5061), None),
        ("SIP / 2.0 / UDP host : 5060 ; branch = z9hG4bKx", "host", Some(5060), Some("z9hG4bKx")),
        (
            "SIP  / 2.0\r\n /\r\n UDP\r\n\t192.0.2.2\r\n :5060 ;branch=390skdjuw",
            "192.0.2.2",
            Some(5060),
            Some("390skdjuw"),
        ),
        ("sip/2.0/udp\t[2001:db8::9:1]:5060", "[2001:db8::9:1]", Some(5060), None),
        ("SIP/2.0/UDP host ;x", "host", None, None),
        (" SIP/2.0/UDP h ", "h", None, None),
        ("SIP/7.0/UDP c.example.com;branch=z9hG4bKk", "c.example.com", None, Some("z9hG4bKk")),
    ] {
        let via = via(input);
        assert_eq!(via.transport(), Some(Transport::Udp), "{input:?}");
        assert_eq!(via.host().to_string(), host, "{input:?}");
        assert_eq!(via.port(), port, "{input:?}");
        assert_eq!(via.branch(), branch.map(str::as_bytes), "{input:?}");
    }
}

/// RFC 4475, 3.1.1.10.
#[test]
fn transports_known_and_unknown() {
    for (token, expected) in [
        ("UDP", Some(Transport::Udp)),
        ("TCP", Some(Transport::Tcp)),
        ("tls", Some(Transport::Tls)),
        ("WS", Some(Transport::Ws)),
        ("Wss", Some(Transport::Wss)),
        ("SCTP", None),
        ("UNKNOWN", None),
    ] {
        let input = ["SIP/2.0/", token, " t1.example.com;branch=z9hG4bKa"].concat();
        assert_eq!(via(&input).transport(), expected);
        assert_eq!(via(&input).transport_token(), token.as_bytes());
    }
}

/// Covers: 3581-5-1, 3261-19.1.2-5
#[test]
fn parameters_are_typed() {
    let full = via("SIP/2.0/UDP h;maddr=224.0.1.75;ttl=16;received=2001:db8::1;rport=5071;branch=z9hG4bKx;e=\"a;b\"");
    assert_eq!(full.maddr(), Some(&b"224.0.1.75"[..]));
    assert_eq!(full.ttl(), Some(16));
    assert_eq!(full.received(), "2001:db8::1".parse().ok());
    assert_eq!(full.rport(), Some(Some(5071)));
    assert_eq!(full.params().count(), 6);
    assert_eq!(via("SIP/2.0/UDP h").rport(), None);
    assert_eq!(via("SIP/2.0/UDP h;RPORT").rport(), Some(None));
    assert_eq!(via("SIP/2.0/UDP h;ttl=0").ttl(), Some(0));
    assert_eq!(via("SIP/2.0/UDP h;ttl=255").ttl(), Some(255));
    for brackets in ["2001:db8::1", "[2001:db8::1]", "2001:db8::1%eth0"] {
        let input = ["SIP/2.0/UDP h;received=", brackets].concat();
        assert_eq!(via(&input).received(), "2001:db8::1".parse().ok());
    }
}

#[test]
fn broken_values_are_refused() {
    use ParseErrorKind as K;
    for (input, kind) in [
        ("", K::BadVia),
        ("SIP", K::BadVia),
        ("SIP/2.0", K::BadVia),
        ("SIP/2.0/", K::BadVia),
        ("SIP/2.0/UDP", K::BadVia),
        ("SIP/2.0/UDPh;branch=x", K::BadVia),
        ("SIP//UDP h", K::BadVia),
        ("/2.0/UDP h", K::BadVia),
        ("SIP 2.0 UDP h", K::BadVia),
        ("SIP/2.0/UDP ;branch=x", K::BadHost),
        ("SIP/2.0/UDP h:", K::BadHost),
        ("SIP/2.0/UDP h:x", K::BadHost),
        ("SIP/2.0/UDP h:65536", K::BadHost),
        ("SIP/2.0/UDP 2001:db8::1", K::BadHost),
        ("SIP/2.0/UDP .1", K::BadHost),
        ("SIP/2.0/UDP h x", K::BadParameter),
        ("SIP/2.0/UDP h,SIP/2.0/UDP i", K::BadParameter),
        // RFC 4475, 3.1.2.1.
        ("SIP/2.0/UDP 192.0.2.15;;", K::BadParameter),
        ("SIP/2.0/UDP h;branch", K::BadVia),
        ("SIP/2.0/UDP h;branch=", K::BadVia),
        ("SIP/2.0/UDP h;rport=", K::BadVia),
        ("SIP/2.0/UDP h;rport=x", K::BadVia),
        ("SIP/2.0/UDP h;rport=65536", K::BadVia),
        ("SIP/2.0/UDP h;ttl=256", K::BadVia),
        ("SIP/2.0/UDP h;ttl=-1", K::BadVia),
        ("SIP/2.0/UDP h;ttl", K::BadVia),
        ("SIP/2.0/UDP h;received=", K::BadVia),
        ("SIP/2.0/UDP h;received=x", K::BadVia),
        ("SIP/2.0/UDP h;maddr=", K::BadVia),
        ("SIP/2.0/UDP h;branch=x;Branch=y", K::DuplicateParameter),
        ("SIP/2.0/UDP h;rport;rport=1", K::DuplicateParameter),
    ] {
        let error = Via::parse(input.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{input:?}");
    }
}

/// Covers: 3261-17.2.3-3
#[test]
fn the_cookie_is_matched_exactly() {
    for (branch, expected) in [
        ("z9hG4bKx", true),
        ("z9hG4bK-524287-1---abc", true),
        ("z9hG4bK", false),
        ("Z9HG4BKx", false),
        ("z9hG4b", false),
        ("390skdjuw", false),
    ] {
        let input = ["SIP/2.0/UDP h;branch=", branch].concat();
        assert_eq!(via(&input).has_cookie(), expected, "{branch}");
    }
    assert!(!via("SIP/2.0/UDP h").has_cookie());
}

/// Covers: 3261-18.2.1-1, 3581-4-1
#[test]
fn received_and_rport_are_filled_in() {
    for (input, source, expected) in [
        // The sent-by is the source, nothing is asked: nothing is added.
        ("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1;branch=b"),
        (
            "SIP/2.0/UDP 192.0.2.2:5060;branch=b",
            "192.0.2.1:9",
            "SIP/2.0/UDP 192.0.2.2:5060;branch=b;received=192.0.2.1",
        ),
        ("SIP/2.0/TCP host;branch=b", "192.0.2.1:9", "SIP/2.0/TCP host;branch=b;received=192.0.2.1"),
        // rport: received even if it is the sent-by.
        (
            "SIP/2.0/UDP 192.0.2.1;rport;branch=b",
            "192.0.2.1:9999",
            "SIP/2.0/UDP 192.0.2.1;rport=9999;branch=b;received=192.0.2.1",
        ),
        // What the sender claims is overwritten.
        (
            "SIP/2.0/UDP 192.0.2.1;rport=1;received=203.0.113.9;branch=b",
            "192.0.2.1:9999",
            "SIP/2.0/UDP 192.0.2.1;rport=9999;branch=b;received=192.0.2.1",
        ),
        ("SIP/2.0/UDP 192.0.2.1;received=203.0.113.9", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1"),
        (
            "SIP/2.0/UDP [2001:db8::2];rport",
            "[2001:db8::1]:5060",
            "SIP/2.0/UDP [2001:db8::2];rport=5060;received=2001:db8::1",
        ),
        ("SIP/2.0/UDP [2001:DB8:0::1]", "[2001:db8::1]:5060", "SIP/2.0/UDP [2001:DB8:0::1]"),
        // A dual-stack socket.
        ("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:9", "SIP/2.0/UDP 192.0.2.1"),
        (
            "SIP/2.0/UDP h;x=\"a;b\\\"\" ; flag\r\n ;y = z",
            "192.0.2.1:9",
            "SIP/2.0/UDP h;x=\"a;b\\\"\";flag;y=z;received=192.0.2.1",
        ),
        (
            "SIP / 2.0\r\n / UDP\r\n h\r\n : 5060 ; x=\"a\r\n b\"",
            "192.0.2.1:9",
            "SIP / 2.0 / UDP h : 5060;x=\"a b\";received=192.0.2.1",
        ),
    ] {
        let written = received(input, source);
        assert_eq!(written, expected, "{input:?}");
        // It parses, and the same again changes nothing.
        assert_eq!(received(&written, source), written);
    }
}

/// ADV-P14.
#[test]
fn long_branches_are_whole() {
    for length in (250..=260).chain(510..=515) {
        let input = ["SIP/2.0/UDP h;branch=", &"b".repeat(length)].concat();
        assert_eq!(via(&input).branch().unwrap().len(), length);
    }
}

#[test]
fn work_is_linear() {
    for unit in ["/", " ", "\r\n ", ";", ";a", ";rport", ":", "a", ".", "\"", "\\", "["] {
        for head in ["", "SIP", "SIP/2.0/UDP ", "SIP/2.0/UDP h", "SIP/2.0/UDP h;x=\""] {
            let input = [head, &unit.repeat(500_000 / unit.len())].concat();
            if let Ok(via) = Via::parse(input.as_bytes()) {
                assert!(via.as_bytes().len() <= input.len());
            }
        }
    }
}
