#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::wire::{MAX_HEADERS, ParseErrorKind};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const GOOD: &str = "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:alice@example.com>;tag=a1\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: 1@192.0.2.1\r\n\
    CSeq: 7 SUBSCRIBE\r\n\
    Contact: <sip:alice@192.0.2.1>\r\n\
    Event: presence\r\n\
    Expires: 3600\r\n\
    Content-Length: 0\r\n\r\n";

const OK: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n\
    From: <sip:alice@example.com>;tag=a1\r\n\
    To: <sip:bob@example.com>;tag=b1\r\n\
    Call-ID: 1@192.0.2.1\r\n\
    CSeq: 7 SUBSCRIBE\r\n\
    Expires: 3600\r\n\
    Content-Length: 0\r\n\r\n";

fn kind(message: &str) -> Option<ParseErrorKind> {
    Message::parse(message.as_bytes()).err().map(|error| error.kind)
}

/// `GOOD` with one piece replaced; the piece must be there.
fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old:?}");
    GOOD.replacen(old, new, 1)
}

#[test]
fn a_sound_request_is_read() {
    let message = Message::parse(GOOD.as_bytes()).unwrap();
    let start = StartLine::Request { method: Method::Subscribe, uri: b"sip:bob@example.com" };
    assert_eq!(message.start_line(), start);
    assert_eq!(message.method(), Some(Method::Subscribe));
    assert_eq!(message.status(), None);
    assert_eq!(message.request_uri(), Some(&b"sip:bob@example.com"[..]));
    assert_eq!(message.fields().len(), 10);
    assert_eq!(message.field(HeaderName::CSeq, 0), Some(&b"7 SUBSCRIBE"[..]));
    assert_eq!(message.field(HeaderName::CSeq, 1), None);
    assert_eq!(message.field(HeaderName::Route, 0), None);
    assert_eq!(message.head(), GOOD.as_bytes());
    assert_eq!(message.as_bytes(), GOOD.as_bytes());
    assert_eq!(message.body(), b"");
    assert!(format!("{message:?}").contains("Event: presence"));
}

/// Covers: 3261-7.2-1
#[test]
fn a_sound_response_is_read() {
    let message = Message::parse(OK.as_bytes()).unwrap();
    assert_eq!(message.start_line(), StartLine::Response { status: StatusCode::OK, reason: b"OK" });
    assert_eq!((message.method(), message.request_uri()), (None, None));
    let reason = |line: &str| {
        let text = OK.replacen("SIP/2.0 200 OK", line, 1);
        Message::parse(text.as_bytes()).map(|message| match message.start_line() {
            StartLine::Response { reason, .. } => Vec::from(reason),
            StartLine::Request { .. } => panic!("{line}"),
        })
    };
    assert_eq!(reason("SIP/2.0 200 "), Ok(Vec::new()));
    assert_eq!(reason("SIP/2.0 200"), Ok(Vec::new()));
    assert_eq!(reason("sip/2.0 200  a b "), Ok(Vec::from(" a b ")));
    assert_eq!(reason("SIP/2.0 200 \u{20ac}"), Ok(Vec::from("\u{20ac}")));
    for line in [
        "SIP/2.0 20 x",
        "SIP/2.0 2000 x",
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0  200 x",
        "SIP/2.0 200\tx",
        "SIP/2.0 ",
    ] {
        assert_eq!(reason(line).unwrap_err().kind, ParseErrorKind::BadStatus, "{line}");
    }
    assert_eq!(reason("SIP/3.0 200 OK").unwrap_err().kind, ParseErrorKind::Version);
    assert_eq!(reason("SIP/2 200 OK").unwrap_err().kind, ParseErrorKind::StartLine);
}

/// Covers: 3261-7.1-1, 3261-7.1-2, 3261-7.1-3
#[test]
fn request_lines_are_judged() {
    use ParseErrorKind::{StartLine as Line, Version};
    let line = "SUBSCRIBE sip:bob@example.com SIP/2.0";
    for (text, expect) in [
        ("SUBSCRIBE sip:bob@example.com sip/2.0", None),
        ("SUBSCRIBE  sip:bob@example.com SIP/2.0", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com  SIP/2.0", Some(Line)),
        ("SUBSCRIBE\tsip:bob@example.com SIP/2.0", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com\tSIP/2.0", Some(Line)),
        ("SUBSCRIBE <sip:bob@example.com> SIP/2.0", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com SIP/2.0 ", Some(Line)),
        ("SUBSCRIBE sip:bob@ example.com SIP/2.0", Some(Line)),
        ("SUB/SCRIBE sip:bob@example.com SIP/2.0", Some(Line)),
        ("SUBSCRIBE SIP/2.0", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com SIP/", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com SIP/2.x", Some(Line)),
        ("SUBSCRIBE sip:bob@example.com SIP/3.0", Some(Version)),
        ("SUBSCRIBE sip:bob@example.com SIP/7.0", Some(Version)),
        ("SUBSCRIBE sip:bob@example.com SIP/2.00", Some(Version)),
    ] {
        assert_eq!(kind(&with(line, text)), expect, "{text}");
    }
    let lower = with(line, "subscribe sip:bob@example.com SIP/2.0").replace("7 SUBSCRIBE", "7 subscribe");
    let message = Message::parse(lower.as_bytes()).unwrap();
    assert_eq!(message.method(), Some(Method::Other(b"subscribe")));
}

/// A request with a broken start line can still be answered.
#[test]
fn defects_leave_the_rest_readable() {
    let text = with("sip:bob@example.com SIP/2.0", "sip:bob@example.com SIP/3.0");
    let message = Message::scan(text.as_bytes()).unwrap();
    let defect = message.defect().unwrap();
    assert_eq!((defect.kind, defect.status_hint()), (ParseErrorKind::Version, StatusCode::VERSION_NOT_SUPPORTED));
    assert_eq!(defect.offset, 30);
    assert!(message.field(HeaderName::Via, 0).is_some());
}

/// Covers: 5626-3.5-2
#[test]
fn what_is_not_sip_is_told_for_a_silent_drop() {
    for datagram in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\0",
        b"\n",
        b"jaK",
        b"\r",
        b"\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl",
        b"\x01\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"   ",
        b"hello\r\n\r\n",
    ] {
        let error = Message::scan(datagram).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::NotSip, "{datagram:?}");
    }
}

/// Covers: 3261-7.5-1
#[test]
fn empty_lines_before_a_message_are_skipped() {
    let text = format!("\r\n\r\n{GOOD}");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.as_bytes(), GOOD.as_bytes());
    assert_eq!(message.head(), GOOD.as_bytes());
}

/// Covers: 3261-7.3.1-1, 3261-7.3.1-2, advisories P15 and P16, ADV-P15
#[test]
fn field_lines_in_every_layout() {
    let text = with("Event: presence\r\n", "eVeNt \t :\r\n \t presence;\r\n\tid=1 \r\n  \r\n");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.field(HeaderName::Event, 0), Some(&b"presence;\r\n\tid=1"[..]));
    let text = with("Event: presence\r\n", "o:presence\r\nSubject:\r\ns:  \r\n");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.field(HeaderName::Event, 0), Some(&b"presence"[..]));
    assert_eq!(message.field(HeaderName::Subject, 0), Some(&b""[..]));
    assert_eq!(message.field(HeaderName::Subject, 1), Some(&b""[..]));
    assert_eq!(message.field(HeaderName::Subject, 2), None);
    // A line break before the colon, or a control character: no such header.
    for bad in ["To\x0b: <sip:b@c>\r\n", "To\x01: <sip:b@c>\r\n", "To\r\n : <sip:b@c>\r\n", "To <sip:b@c>\r\n"] {
        let text = with("To: <sip:bob@example.com>\r\n", bad);
        assert_eq!(kind(&text), Some(ParseErrorKind::MissingTo), "{bad:?}");
    }
    let text = with("Via: ", " Via: ");
    assert_eq!(kind(&text), Some(ParseErrorKind::Folding));
}

/// Covers: 3261-7.3.1-3, 3261-7.3.1-4, 3261-7.3.3-1
#[test]
fn lines_of_one_name_keep_their_order() {
    let text = with(
        "Event: presence\r\n",
        "o: x\r\nv: second\r\nRoute: <sip:r1>\r\nVIA: third, fourth\r\nX-A: 1\r\nx-a: 2\r\nRoute: <sip:r2>\r\n",
    );
    let message = Message::scan(text.as_bytes()).unwrap();
    assert_eq!(message.field(HeaderName::Via, 1), Some(&b"second"[..]));
    assert_eq!(message.field(HeaderName::Via, 2), Some(&b"third, fourth"[..]));
    assert_eq!(message.field(HeaderName::Via, 3), None);
    assert_eq!(message.field(HeaderName::Other(b"v"), 1), Some(&b"second"[..]));
    assert_eq!(message.field(HeaderName::Route, 1), Some(&b"<sip:r2>"[..]));
    assert_eq!(message.field(HeaderName::Other(b"X-a"), 0), Some(&b"1"[..]));
    assert_eq!(message.field(HeaderName::Other(b"X-A"), 1), Some(&b"2"[..]));
    assert_eq!(message.field(HeaderName::Other(b"X-A"), 2), None);
    let names: Vec<_> = message.fields().map(|field| field.name).filter(|name| *name == HeaderName::Via).collect();
    assert_eq!(names.len(), 3);
}

/// Covers: 3261-7.3.1-2
#[test]
fn bare_line_breaks_are_defects_and_split_nothing() {
    for (bad, at) in [("Event: a\nTo: x\r\n", "a\nTo: x"), ("Event: a\rTo: x\r\n", "a\rTo: x"), ("Event: a\r\r\n", "a")]
    {
        let text = with("Event: presence\r\n", bad);
        let message = Message::scan(text.as_bytes()).unwrap();
        assert_eq!(message.defect().unwrap().kind, ParseErrorKind::LineBreak);
        assert_eq!(message.field(HeaderName::Event, 0), Some(at.as_bytes()));
        assert_eq!(message.field(HeaderName::To, 1), None);
    }
    let unix = GOOD.replace("\r\n", "\n");
    let message = Message::scan(unix.as_bytes()).unwrap();
    assert!(message.defect().is_some());
    assert_eq!(message.fields().len(), 0);
}

/// Covers: 3261-18.3-1, 3261-18.3-2, 3261-18.3-3, 3261-18.3-4, 3261-20.14-1
#[test]
fn content_length_decides_where_the_body_ends() {
    let body = |length: &str, rest: &str| with("Content-Length: 0\r\n\r\n", &format!("{length}\r\n{rest}"));
    for (length, rest, expect) in [
        ("Content-Length: 2\r\n", "abcde", Ok("ab")),
        ("l:5\r\n", "abcde", Ok("abcde")),
        ("l: 0005\r\n", "abcde", Ok("abcde")),
        ("", "abcde", Ok("abcde")),
        ("", "", Ok("")),
        ("l: 0\r\n", "abcde", Ok("")),
        ("l: 6\r\n", "abcde", Err(ParseErrorKind::BodyShorterThanContentLength)),
        ("l: 9999\r\n", "abcde", Err(ParseErrorKind::BodyShorterThanContentLength)),
        ("l: -1\r\n", "abcde", Err(ParseErrorKind::BadContentLength)),
        ("l: +5\r\n", "abcde", Err(ParseErrorKind::BadContentLength)),
        ("l: 5 5\r\n", "abcde", Err(ParseErrorKind::BadContentLength)),
        ("l: 4294967301\r\n", "abcde", Err(ParseErrorKind::BadContentLength)),
        ("l:\r\n", "abcde", Err(ParseErrorKind::BadContentLength)),
        ("l: 5\r\nl: 4\r\n", "abcde", Err(ParseErrorKind::DuplicateHeader)),
        ("l: 5\r\nContent-Length: 5\r\n", "abcde", Err(ParseErrorKind::DuplicateHeader)),
    ] {
        let text = body(length, rest);
        let parsed = Message::parse(text.as_bytes());
        let found = parsed.as_ref().map(|message| core::str::from_utf8(message.body()).unwrap());
        assert_eq!(found.map_err(|error| error.kind), expect, "{length:?}");
    }
    let text = body("l: 2\r\n", "abcde");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert!(message.as_bytes().ends_with(b"\r\n\r\nab"));
}

/// Covers: 3261-8.1.1-1
#[test]
fn mandatory_headers_are_missed() {
    use ParseErrorKind as K;
    for (line, expect) in [
        ("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n", K::MissingVia),
        ("From: <sip:alice@example.com>;tag=a1\r\n", K::MissingFrom),
        ("To: <sip:bob@example.com>\r\n", K::MissingTo),
        ("Call-ID: 1@192.0.2.1\r\n", K::MissingCallId),
        ("CSeq: 7 SUBSCRIBE\r\n", K::MissingCSeq),
        ("Max-Forwards: 70\r\n", K::MissingMaxForwards),
    ] {
        assert_eq!(kind(&with(line, "")), Some(expect));
    }
    for line in [1, 2, 4, 5] {
        let without: Vec<&str> = OK.split("\r\n").enumerate().filter(|(n, _)| *n != line).map(|(_, l)| l).collect();
        assert!(kind(&without.join("\r\n")).is_some(), "line {line}");
    }
}

/// Covers: 3261-7.3.1-11, advisory P12
#[test]
fn doubled_headers_with_one_value_are_refused() {
    for line in [
        "From: <sip:alice@example.com>;tag=a1",
        "f: <sip:x@y>;tag=2",
        "t: <sip:x@y>;tag=",
        "To: <sip:bob@example.com>",
        "i: 2",
        "CSeq: 8 SUBSCRIBE",
        "Max-Forwards: 70",
        "o: presence",
        "Expires: 1",
        "l: 0",
    ] {
        let text = with("Contact: ", &format!("{line}\r\nContact: "));
        assert_eq!(kind(&text), Some(ParseErrorKind::DuplicateHeader), "{line}");
    }
    // Doubled, but not needed here.
    for line in
        ["Subject: a\r\nSubject: b", "Date: x\r\nDate: y", "Subscription-State: active\r\nSubscription-State: active"]
    {
        assert_eq!(kind(&with("Contact: ", &format!("{line}\r\nContact: "))), None, "{line}");
    }
    let notify = GOOD.replace("SUBSCRIBE", "NOTIFY").replacen(
        "Contact: ",
        "Subscription-State: active\r\nSubscription-State: terminated\r\nContact: ",
        1,
    );
    assert_eq!(kind(&notify), Some(ParseErrorKind::DuplicateHeader));
    let response = OK.replacen("Expires: 3600\r\n", "Event: a\r\nEvent: b\r\nExpires: 3600\r\n", 1);
    assert_eq!(kind(&response), None);
}

/// Covers: 3261-8.2.2-1, 3261-8.2.2-2, 3261-25.1-3
#[test]
fn a_bad_optional_header_sinks_nothing() {
    for line in [
        "Date: whenever",
        "X-Foo: \u{0}\u{1}\u{7f}",
        "Contact: <<>>;;",
        "no colon here",
        "Re\u{e9}: x",
        ": nameless",
        "Warning: \"",
        "User-Agent: (((",
        "Expires: soon",
    ] {
        let text = with("Expires: 3600", line);
        assert_eq!(kind(&text), None, "{line:?}");
    }
    let mut bytes = Vec::from(with("Expires: 3600", "X-Foo: ##"));
    let at = bytes.iter().position(|byte| *byte == b'#').unwrap();
    bytes[at] = 0xff;
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.field(HeaderName::Other(b"X-Foo"), 0), Some(&b"\xff#"[..]));
}

/// Trap I01: any number of lines, bounded memory, a defined result.
#[test]
fn the_number_of_field_lines_is_bounded() {
    let mandatory = 10;
    let lines = |count: usize| with("Contact: ", &("Accept: a/b\r\n".repeat(count) + "Contact: "));
    let text = lines(MAX_HEADERS - mandatory);
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.fields().len(), MAX_HEADERS);
    assert!(message.field(HeaderName::Accept, MAX_HEADERS - mandatory - 1).is_some());
    assert!(message.field(HeaderName::Accept, MAX_HEADERS - mandatory).is_none());
    assert_eq!(message.field(HeaderName::ContentLength, 0), Some(&b"0"[..]));
    for count in [MAX_HEADERS - mandatory + 1, 10_000] {
        let text = lines(count);
        let message = Message::scan(text.as_bytes()).unwrap();
        let defect = message.defect().unwrap();
        assert_eq!(defect.kind, ParseErrorKind::TooManyHeaders);
        assert_eq!(defect.status_hint(), StatusCode::MESSAGE_TOO_LARGE);
        assert_eq!(message.fields().len(), MAX_HEADERS);
        assert!(message.head().ends_with(b"\r\n\r\n"));
    }
}

#[test]
fn every_cut_of_a_message_is_survived() {
    let text = with("Content-Length: 0\r\n\r\n", "Content-Length: 4\r\n\r\nbody");
    for end in 0..text.len() {
        let cut = &text.as_bytes()[..end];
        assert!(Message::parse(cut).is_err(), "{end}");
        if let Ok(message) = Message::scan(cut) {
            assert!(message.defect().is_some());
            assert!(message.as_bytes().len() <= end);
            assert!(message.fields().all(|field| field.value.len() < end));
        }
    }
    let without_end = text.trim_end_matches("\r\n\r\nbody");
    assert_eq!(kind(without_end), Some(ParseErrorKind::HeadUnterminated));
}

/// Covers: advisory P14
#[test]
fn long_names_and_values_keep_their_bounds() {
    for len in (250..=260).chain(510..=515).chain(65_530..=65_540) {
        let name = "X".repeat(len);
        let text = with("Contact: ", &format!("{name}: {name}\r\nContact: "));
        let parsed = Message::parse(text.as_bytes());
        if len <= usize::from(u16::MAX) {
            let message = parsed.unwrap();
            let found = message.field(HeaderName::Other(name.as_bytes()), 0);
            assert_eq!(found.map(<[u8]>::len), Some(len));
        } else {
            assert_eq!(parsed.unwrap_err().kind, ParseErrorKind::HeadTooLong);
        }
    }
}

/// Covers: 3261-20-4, 3261-20-6, 3261-20-3, 3261-20-1, 3261-7.3.1-7,
/// 3261-7.3.1-10, advisories P7, P12, P13
#[test]
fn mandatory_values_must_parse() {
    use ParseErrorKind as K;
    let via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx";
    let from = "From: <sip:alice@example.com>;tag=a1";
    let to = "To: <sip:bob@example.com>";
    for (old, new, expect) in [
        ("CSeq: 7 S", "CSeq: 4294967295 S", None),
        ("CSeq: 7 S", "CSeq: 2147483648\r\n S", None),
        ("CSeq: 7 S", "CSeq: 4294967296 S", Some(K::BadCSeq)),
        ("CSeq: 7 S", "CSeq: -7 S", Some(K::BadCSeq)),
        ("CSeq: 7 S", "CSeq: 7S", Some(K::BadCSeq)),
        ("CSeq: 7 SUBSCRIBE", "CSeq: 7", Some(K::BadCSeq)),
        ("CSeq: 7 SUBSCRIBE", "CSeq: 7 NOTIFY", Some(K::CSeqMethodMismatch)),
        ("CSeq: 7 SUBSCRIBE", "CSeq: 7 subscribe", Some(K::CSeqMethodMismatch)),
        ("Forwards: 70", "Forwards: 0", None),
        ("Forwards: 70", "Forwards: 0068", None),
        ("Forwards: 70", "Forwards: 255", None),
        ("Forwards: 70", "Forwards: 256", Some(K::BadMaxForwards)),
        ("Forwards: 70", "Forwards: -1", Some(K::BadMaxForwards)),
        ("Forwards: 70", "Forwards:", Some(K::BadMaxForwards)),
        ("Call-ID: 1@192.0.2.1", "Call-ID:", Some(K::BadCallId)),
        ("Call-ID: 1@192.0.2.1", "Call-ID: 1 2", Some(K::BadCallId)),
        (from, "From: sip:alice@example.com;tag=a1", None),
        (from, "From: <sip:alice@example.com;tag=a1", Some(K::BadFrom)),
        (from, "From: \"Alice <sip:alice@example.com>", Some(K::BadFrom)),
        (from, "From:", Some(K::BadFrom)),
        (from, "From: <sip:a@b>;tag=1;TAG=2", Some(K::DuplicateParameter)),
        (to, "To: <sip:bob@example.com>;;tag=", Some(K::BadTo)),
        (via, "Via: SIP / 2.0\r\n / UDP\t192.0.2.1 : 5060 ; branch = z9hG4bKx", None),
        (via, "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx, SIP/2.0/TCP b", None),
        (via, "Via:", Some(K::BadVia)),
        (via, "Via: SIP/2.0/UDP", Some(K::BadVia)),
        (via, "Via: SIP/2.0/UDP a;branch=1;branch=2", Some(K::DuplicateParameter)),
        (via, "Via: , SIP/2.0/UDP a;branch=1", Some(K::BadVia)),
        (via, "Via: SIP/2.0/UDP a,,SIP/2.0/UDP b", Some(K::BadVia)),
        (via, "Via: SIP/2.0/UDP a\r\nVia: x", Some(K::BadVia)),
        ("sip:bob@example.com SIP", "sip:bob@ SIP", Some(K::BadHost)),
        ("sip:bob@example.com SIP", "sip:bob@example.com:99999 SIP", Some(K::BadHost)),
        ("sip:bob@example.com SIP", "bob SIP", Some(K::BadUri)),
        ("sip:bob@example.com SIP", "sip:b%6@example.com SIP", Some(K::BadUri)),
        ("sip:bob@example.com SIP", "tel:+49301234 SIP", None),
        ("sip:bob@example.com SIP", "nobody:knows SIP", None),
    ] {
        assert_eq!(kind(&with(old, new)), expect, "{new:?}");
    }
}

/// In a response only what routes it must be sound.
#[test]
fn responses_are_judged_by_their_own_measure() {
    let broken = OK.replacen("CSeq: 7", "CSeq: 4294967296", 1);
    assert_eq!(kind(&broken), Some(ParseErrorKind::BadCSeq));
    let two = OK.replacen("From: ", "Via: x\r\nFrom: ", 1);
    assert_eq!(kind(&two), None);
    let other_method = OK.replacen("7 SUBSCRIBE", "7 NOTIFY", 1);
    assert_eq!(kind(&other_method), None);
}

#[test]
fn defects_name_their_place() {
    let text = with("Forwards: 70", "Forwards: x");
    let defect = Message::parse(text.as_bytes()).unwrap_err();
    let at = text.find(": x\r\n").unwrap() + 2;
    assert_eq!(usize::try_from(defect.offset).unwrap(), at);
    let text = with("sip:bob@example.com SIP", "sip:bob@ SIP");
    let defect = Message::parse(text.as_bytes()).unwrap_err();
    assert_eq!(usize::try_from(defect.offset).unwrap(), text.find(" SIP").unwrap());
}
