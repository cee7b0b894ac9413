use super::*;
use crate::wire::lex::MAX_PARAMS;
use alloc::string::{String, ToString};

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn text(bytes: Option<&[u8]>) -> Option<&str> {
    bytes.map(|bytes| core::str::from_utf8(bytes).unwrap())
}

/// Covers: 3261-19.1.1-1, 3261-19.1.2-3
#[test]
fn components_are_found() {
    let cases = [
        ("sip:alice@atlanta.com", Some("alice"), "atlanta.com", None),
        ("sip:alice:secretword@atlanta.com;transport=tcp", Some("alice:secretword"), "atlanta.com", None),
        ("sips:alice@atlanta.com?subject=project%20x&priority=urgent", Some("alice"), "atlanta.com", None),
        ("sip:+1-212-555-1212:1234@gateway.com;user=phone", Some("+1-212-555-1212:1234"), "gateway.com", None),
        ("sips:1212@gateway.com", Some("1212"), "gateway.com", None),
        ("sip:alice@192.0.2.4", Some("alice"), "192.0.2.4", None),
        ("sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", None, "atlanta.com", None),
        ("sip:alice;day=tuesday@atlanta.com", Some("alice;day=tuesday"), "atlanta.com", None),
        ("SIP:a?b/c@[2001:db8::1]:5070;x?y=z", Some("a?b/c"), "[2001:db8::1]", Some(5070)),
        ("sip:alice:@h", Some("alice:"), "h", None),
        ("sip:%00@h:0", Some("%00"), "h", Some(0)),
        ("sip:sips%3Auser%40example.com@example.net", Some("sips%3Auser%40example.com"), "example.net", None),
    ];
    for (input, user, host, port) in cases {
        let uri = uri(input);
        assert_eq!(text(uri.user()), user, "{input}");
        assert_eq!(uri.host().unwrap().to_string(), host, "{input}");
        assert_eq!(uri.port(), port, "{input}");
        assert_eq!(uri.to_string(), input);
        assert_eq!(uri.as_bytes(), input.as_bytes());
    }
}

#[test]
fn schemes_are_told_apart() {
    assert_eq!(uri("sIp:a").scheme(), Scheme::Sip);
    assert_eq!(uri("SIPS:a").scheme(), Scheme::Sips);
    assert_eq!(uri("Tel:+1").scheme(), Scheme::Tel);
    assert_eq!(uri("urn:service:sos").scheme(), Scheme::Other(b"urn"));
    assert_eq!(uri("sipx:a").scheme(), Scheme::Other(b"sipx"));
    assert!(uri("sips:a").is_sip() && uri("sips:a").is_sips());
    assert!(uri("sip:a").is_sip() && !uri("sip:a").is_sips());
    assert!(!uri("tel:1").is_sip());
    for other in ["http://www.example.com/a?b=c", "im:a@b", "nobodyknowsthisscheme:totallyopaquecontent"] {
        let uri = uri(other);
        assert_eq!((uri.host(), uri.user(), uri.port()), (None, None, None));
        assert_eq!((uri.params().count(), uri.headers().count()), (0, 0));
    }
}

#[test]
fn numbers_are_read_but_have_no_host() {
    let number = uri("tel:+1-201-555-0123;ext=7;phone-context=example.com");
    assert_eq!(text(number.user()), Some("+1-201-555-0123"));
    assert_eq!(number.host(), None);
    assert_eq!(number.transport(), None);
    assert_eq!(text(number.param(b"EXT").unwrap()), Some("7"));
    for bad in ["tel:", "tel:+", "tel:-", "tel:1 2", "tel:1;", "tel:xyz", "tel:1+2", "tel:1?a=b"] {
        assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn broken_uris_are_refused() {
    for bad in [
        "",
        "sip:",
        "sip",
        // ADV-P17
        "/",
        ":a",
        "alice@h",
        "1sip:a",
        "sip:@h",
        "sip::pw@h",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "sip:a@b c",
        " sip:a@b",
        "sip:a@b ",
        "<sip:a@b>",
        "sip:a@b>",
        "sip:\"a\"@b",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:a@b:65536",
        "sip:a@b:99999999999",
        "sip:a@b: 5",
        "sip:a@b;",
        "sip:a@b;;x",
        "sip:a@b;=x",
        "sip:a@b;x=",
        "sip:a@b;x=y=z",
        "sip:a@b;x y",
        "sip:a@b?",
        "sip:a@b?x",
        "sip:a@b?=y",
        "sip:a@b?x=y&",
        "sip:a@b?x=y;z",
        "sip:a@%65xample.com",
        "sip:a@.1",
        "sip:a@[.1]",
        "sip:a@[::1",
        "sip:%@h",
        "sip:%4@h",
        "sip:%4g@h",
        "sip:a@h;x=%",
        "sip:a@h?x=%2",
        "sip:\u{e9}@h",
        "sip:a\r\nX: y@h",
        "sip:a@h;x=\0",
        "urn:",
        "urn:a b",
        "urn:a\r\n",
        "http://h/%zz",
    ] {
        assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

/// Covers: 3261-19.1.2-4
#[test]
fn each_byte_may_stand_in_each_component_or_not() {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    for byte in 0..=255u8 {
        let sound = |before: &str, after: &str| {
            let raw = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            Uri::parse(&raw).is_ok()
        };
        let user = unreserved(byte) || b"&=+$,;?/".contains(&byte);
        // A colon ends the user and begins the password.
        assert_eq!(sound("sip:u", "u@h"), user || byte == b':', "user {byte:#x}");
        let password = unreserved(byte) || b"&=+$,".contains(&byte);
        assert_eq!(sound("sip:u:p", "p@h"), password, "password {byte:#x}");
        let param = unreserved(byte) || b"[]/:&+$".contains(&byte);
        // `;` and `=` begin another one or its value, `?` a header.
        assert_eq!(sound("sip:u@h;x", "y"), param || byte == b';' || byte == b'=', "name {byte:#x}");
        assert_eq!(sound("sip:u@h;x=y", "z"), param || byte == b';', "value {byte:#x}");
        let header = unreserved(byte) || b"[]/?:+$".contains(&byte);
        assert_eq!(sound("sip:u@h?x=y", "z"), header, "header {byte:#x}");
        assert_eq!(sound("sip:u@h?x", "y=z"), header, "header name {byte:#x}");
    }
}

/// Covers: 3261-7.3.1-7
#[test]
fn a_parameter_stands_once() {
    let error = Uri::parse(b"sip:h;lr;x;LR=on").unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::DuplicateParameter);
    let mut long = String::from("sip:h");
    for index in 0..MAX_PARAMS {
        long.push_str(&alloc::format!(";p{index}"));
    }
    assert_eq!(uri(&long).params().count(), MAX_PARAMS);
    long.push_str(";one");
    let error = Uri::parse(long.as_bytes()).unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::TooManyParameters);
}

#[test]
fn parameters_and_headers_are_walked() {
    let uri = uri("sip:h;lr;transport=TCP;x=%20?a=b&c=");
    let params: alloc::vec::Vec<_> = uri.params().map(|p| (text(Some(p.name)), text(p.value))).collect();
    assert_eq!(params, [(Some("lr"), None), (Some("transport"), Some("TCP")), (Some("x"), Some("%20"))]);
    let headers: alloc::vec::Vec<_> = uri.headers().collect();
    assert_eq!(headers, [(&b"a"[..], &b"b"[..]), (b"c", b"")]);
    assert_eq!(uri.param(b"LR"), Some(None));
    assert_eq!(uri.param(b"X"), Some(Some(&b"%20"[..])));
    assert_eq!(uri.param(b"y"), None);
    assert!(uri.is_loose_router());
}

#[test]
fn markers_are_seen_with_value_and_escaped() {
    for lr in ["sip:h;lr", "sip:h;lr=on", "sip:h;LR=true", "sip:h;%6C%72", "sip:h;x=y;lr"] {
        assert!(uri(lr).is_loose_router(), "{lr}");
    }
    for not in ["sip:h", "sip:lr@h", "sip:h;lrx", "sip:h;x=lr", "sip:h?lr=1"] {
        assert!(!uri(not).is_loose_router(), "{not}");
    }
    assert!(uri("sip:h;gr").has_gr());
    assert!(uri("sip:h;gr=urn:uuid:1").has_gr());
    assert!(!uri("sip:h;grx").has_gr());
}

/// Covers: 3261-19.1.1-3
#[test]
fn the_transport_follows_scheme_and_parameter() {
    use Transport::{Tcp, Tls, Udp, Ws, Wss};
    for (input, param, transport) in [
        ("sip:h", None, Some(Udp)),
        ("sip:h;transport=UDP", Some(Udp), Some(Udp)),
        ("sip:h;Transport=tcp", Some(Tcp), Some(Tcp)),
        ("sip:h;transport=tls", Some(Tls), Some(Tls)),
        ("sip:h;transport=ws", Some(Ws), Some(Ws)),
        ("sip:h;transport=sctp", None, None),
        ("sip:h;transport", None, None),
        ("sips:h", None, Some(Tls)),
        ("sips:h;transport=tcp", Some(Tcp), Some(Tls)),
        ("sips:h;transport=ws", Some(Ws), Some(Wss)),
        ("sips:h;transport=udp", Some(Udp), None),
    ] {
        assert_eq!(uri(input).transport_param(), param, "{input}");
        assert_eq!(uri(input).transport(), transport, "{input}");
    }
}

/// Covers: 3261-19.1.1-2, 3261-19.1.5-1
#[test]
fn writers_leave_out_what_their_place_forbids() {
    let full = uri("sip:a:p@H:5070;method=X;maddr=m;ttl=1;transport=tcp;lr;x=y;user=phone?s=t");
    fn written<'a>(write: fn(&Uri<'a>, &mut Vec<u8>), uri: &Uri<'a>) -> String {
        let mut out = Vec::new();
        write(uri, &mut out);
        assert!(Uri::parse(&out).is_ok());
        String::from_utf8(out).unwrap()
    }
    assert_eq!(written(Uri::write_request_uri, &full), "sip:a:p@H:5070;maddr=m;ttl=1;transport=tcp;lr;x=y;user=phone");
    assert_eq!(written(Uri::write_dialog_target, &full), "sip:a:p@H:5070;maddr=m;transport=tcp;lr;x=y;user=phone");
    assert_eq!(written(Uri::write_from_to, &full), "sip:a:p@H;x=y;user=phone");
    for same in ["sip:h", "tel:+1;x=y", "urn:service:sos"] {
        assert_eq!(written(Uri::write_request_uri, &uri(same)), same);
        assert_eq!(written(Uri::write_from_to, &uri(same)), same);
    }
    assert_eq!(written(Uri::write_request_uri, &uri("sip:h;m%65thod=X")), "sip:h");
}

#[test]
fn work_is_linear_and_offsets_hold() {
    for unit in [";", "@", "%", "%41", ":", "?", "[", "a=", ";a", ";a=b", "&a=b", "a", "."] {
        for head in ["sip:", "sip:a@", "sip:h", "sip:h?a=b", "tel:1", "x:"] {
            let input = [head, &unit.repeat(200_000 / unit.len())].concat();
            if let Ok(uri) = Uri::parse(input.as_bytes()) {
                assert_eq!(uri.as_bytes().len(), input.len());
                assert!(uri.param(b"none").is_none());
                assert!(uri.equivalent(&uri));
            }
        }
    }
}

#[test]
fn the_shortest_uris_are_read() {
    for text in [&b"l:*"[..], b"a:b"] {
        assert!(Uri::parse(text).is_ok_and(|uri| uri.scheme() == Scheme::Other(&text[..1])));
    }
    for text in [&b"a:"[..], b"sip:", b"sip"] {
        assert!(Uri::parse(text).is_err());
    }
}
