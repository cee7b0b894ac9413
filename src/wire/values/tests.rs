use super::*;

/// Covers: 3261-20-4, 3261-7.1-3
#[test]
fn cseq_values() {
    for (input, number, method) in [
        ("0 ACK", 0, Method::Ack),
        ("1 SUBSCRIBE", 1, Method::Subscribe),
        ("0009\r\n  NOTIFY", 9, Method::Notify),
        ("2147483648 REFER", 1 << 31, Method::Refer),
        ("4294967295 PUBLISH", u32::MAX, Method::Publish),
        ("1 subscribe", 1, Method::Other(b"subscribe")),
        ("1 !x%", 1, Method::Other(b"!x%")),
    ] {
        assert_eq!(CSeq::parse(input.as_bytes()), Ok(CSeq { number, method }), "{input}");
    }
    for bad in [
        "",
        "1",
        "1 ",
        "SUBSCRIBE",
        "1SUBSCRIBE",
        "1  ",
        "4294967296 SUBSCRIBE",
        "36893488147419103232 REGISTER",
        "-1 SUBSCRIBE",
        "+1 SUBSCRIBE",
        "1 SUB SCRIBE",
        "1 SUBSCRIBE;x",
        "1, SUBSCRIBE",
        "x SUBSCRIBE",
        "1 \u{e9}",
    ] {
        let error = CSeq::parse(bad.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::BadCSeq, "{bad:?}");
    }
}

/// Covers: 3261-20-3
#[test]
fn call_ids() {
    for good in ["a@b", " a@b ", "a84b4c76e66710", "{x}<y>\"\\[?]:/@h", "a=;b@c@d"] {
        assert_eq!(parse_call_id(good.as_bytes()), Ok(good.trim().as_bytes()));
    }
    for bad in ["", " ", "a b", "a\r\n b", "a\0", "\u{e9}", "a\t@b"] {
        let error = parse_call_id(bad.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::BadCallId, "{bad:?}");
    }
}

/// Covers: 3261-20-6
#[test]
fn max_forwards_at_its_borders() {
    for (input, expected) in [
        ("0", Some(0)),
        (" 70 ", Some(70)),
        ("255", Some(255)),
        ("0070", Some(70)),
        ("256", None),
        ("-1", None),
        ("+1", None),
        ("", None),
        ("7 0", None),
        ("4294967366", None),
    ] {
        assert_eq!(parse_max_forwards(input.as_bytes()).ok(), expected, "{input}");
    }
}

/// Covers: 3261-20-7, 3261-25.1-5
#[test]
fn retry_after_values() {
    for (input, seconds, duration) in [
        ("5", 5, None),
        ("18000;duration=3600", 18000, Some(3600)),
        ("5 (busy) ;duration=3", 5, Some(3)),
        ("120 (I'm in a (big \\) loud) meeting)", 120, None),
        ("5(x)", 5, None),
        ("5;duration=x;y=z", 5, None),
        ("99999999999", u32::MAX, None),
        ("0", 0, None),
    ] {
        assert_eq!(RetryAfter::parse(input.as_bytes()), Ok(RetryAfter { seconds, duration }), "{input}");
    }
    for bad in ["", "x", "-5", "5 5", "5 (busy", "5 (busy\\", "5 busy)", "5 ) x", "5;"] {
        assert!(RetryAfter::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn media_types() {
    for (input, main, sub) in [
        ("application/pidf+xml", "application", "pidf+xml"),
        (" text / plain ", "text", "plain"),
        ("text\r\n /\r\n plain;charset=UTF-8", "text", "plain"),
        ("multipart/related;type=\"application/rlmi+xml\";boundary=\"a,b\"", "multipart", "related"),
    ] {
        let media = MediaType::parse(input.as_bytes()).unwrap();
        assert_eq!(media.main_type(), main.as_bytes());
        assert_eq!(media.subtype(), sub.as_bytes());
        assert_eq!(media.as_bytes(), input.trim().as_bytes());
        let name = [main, "/", sub].concat();
        assert!(media.is(&name) && media.is(&name.to_ascii_uppercase()));
        assert!(!media.is("text") && !media.is("text/x"));
    }
    let media = MediaType::parse(b"multipart/related;boundary=\"a,b\"").unwrap();
    assert_eq!(media.param(b"Boundary"), Some(Some(&b"\"a,b\""[..])));
    assert_eq!(media.params().count(), 1);
    for bad in ["", "text", "text/", "/plain", "text//plain", "text/plain x", "text/plain;", "a,b/c"] {
        assert!(MediaType::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn ranges_include_types() {
    for (range, media, expected) in [
        ("*/*", "application/pidf+xml", true),
        ("application/*", "application/pidf+xml", true),
        ("Application/PIDF+xml", "application/pidf+xml", true),
        ("application/pidf+xml;q=0.5", "application/pidf+xml", true),
        ("text/*", "application/pidf+xml", false),
        ("application/xml", "application/pidf+xml", false),
        ("text/plain;charset=utf-8", "text/plain;charset=\"UTF-8\"", true),
        ("text/plain;charset=utf-8", "text/plain", false),
        ("text/plain", "text/plain;charset=utf-8", true),
        ("text/plain;q=1;charset=utf-8", "text/plain", true),
    ] {
        let media = MediaType::parse(media.as_bytes()).unwrap();
        let range = AcceptRange::parse(range.as_bytes()).unwrap();
        assert_eq!(media.matches(&range), expected, "{range:?}");
    }
}

#[test]
fn ranges_have_weight_and_specificity() {
    for (input, q, specificity) in
        [("*/*", 1000, 0), ("text/*;q=0.3", 300, 1), ("text/plain;q=0", 0, 2), ("text/plain;level=1;q=0.25", 250, 3)]
    {
        let range = AcceptRange::parse(input.as_bytes()).unwrap();
        assert_eq!((range.q(), range.specificity()), (q, specificity), "{input}");
    }
    let range = AcceptRange::parse(b"text/plain").unwrap();
    assert!(range.media().is("text/plain"));
    for bad in ["*/plain", "text/plain;q=2", "text/plain;q", "text/plain;q=", "*"] {
        assert!(AcceptRange::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn work_is_linear() {
    for unit in ["(", ")", "\\", " ", "\r\n ", ";", ";a", "/", "0", "a", "\""] {
        let input = unit.repeat(500_000 / unit.len());
        for head in ["", "5 (", "text/plain;x=\"", "1 "] {
            let input = [head, &input].concat();
            let _ = CSeq::parse(input.as_bytes());
            let _ = parse_call_id(input.as_bytes());
            let _ = MediaType::parse(input.as_bytes());
            let _ = AcceptRange::parse(input.as_bytes());
            if let Ok(retry) = RetryAfter::parse(input.as_bytes()) {
                assert!(input.starts_with(|byte: char| byte.is_ascii_digit()), "{retry:?}");
            }
        }
    }
}
