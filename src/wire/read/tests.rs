use super::*;
use crate::wire::{Message, Method, Substate};
use alloc::string::String;
use alloc::vec::Vec;

/// A view that is no `Message`: names and values as given.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn new<const N: usize>(lines: [(&'static str, &str); N]) -> Self {
        Self(lines.map(|(name, value)| (name, value.into())).into())
    }
}

impl MessageView for Lines {
    fn request_uri(&self) -> Option<&[u8]> {
        None
    }

    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.0
            .iter()
            .filter(|(known, _)| HeaderName::from_bytes(known.as_bytes()) == name)
            .nth(nth)
            .map(|(_, value)| value.as_bytes())
    }

    fn body(&self) -> &[u8] {
        b""
    }
}

const NOTIFY: &[u8] = b"NOTIFY sip:a@b SIP/2.0\r\n\
    v: SIP/2.0/UDP h:5060;branch=z9hG4bKx;rport, SIP/2.0/TCP i;branch=z9hG4bKy\r\n\
    Via: SIP/2.0/TLS j;branch=z9hG4bKz\r\n\
    f: \"A, B\" <sip:b@c>;tag=1\r\n\
    t: sip:a@b;tag=2\r\n\
    i: x@y\r\n\
    CSeq: 3\r\n NOTIFY\r\n\
    Max-Forwards: 70\r\n\
    o: presence;id=7\r\n\
    Subscription-State: active;\r\n expires=60\r\n\
    m: <sip:b@h>\r\n\
    Record-Route: <sip:p1;lr>,<sip:p2;lr>\r\n\
    Record-Route: <sip:p3;lr>\r\n\
    c: application/pidf+xml\r\n\
    k: eventlist, path\r\n\
    u: presence,dialog\r\n\
    Allow: NOTIFY\r\n\
    Require: eventlist\r\n\
    Content-Length: 0\r\n\r\n";

/// Covers: 3261-7.3.3-1, 3261-20-9, 3261-7.3.1-4, 6665-8.4-2
#[test]
fn every_header_of_a_message_is_read() {
    let message = Message::parse(NOTIFY).unwrap();
    let via = top_via(&message).unwrap();
    assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
    let branches: Vec<_> = vias(&message).map(|via| via.unwrap().branch()).collect();
    assert_eq!(branches, [Some(&b"z9hG4bKx"[..]), Some(b"z9hG4bKy"), Some(b"z9hG4bKz")]);
    assert_eq!(from(&message).unwrap().tag(), Some(&b"1"[..]));
    assert_eq!(from(&message).unwrap().display(), Some(&b"\"A, B\""[..]));
    assert_eq!(to(&message).unwrap().uri(), b"sip:a@b");
    assert_eq!(call_id(&message), Ok(&b"x@y"[..]));
    let cseq = cseq(&message).unwrap();
    assert_eq!((cseq.number, cseq.method), (3, Method::Notify));
    assert_eq!(max_forwards(&message), Ok(Some(70)));
    let event = event(&message).unwrap().unwrap();
    assert_eq!((event.event_type(), event.id()), (&b"presence"[..], Some(&b"7"[..])));
    let state = subscription_state(&message).unwrap().unwrap();
    assert_eq!((state.substate, state.expires), (Substate::Active, Some(60)));
    assert_eq!(only_contact(&message).unwrap().unwrap().uri(), b"sip:b@h");
    let routes: Vec<_> = record_routes(&message).map(|r| r.unwrap().uri()).collect();
    assert_eq!(routes, [&b"sip:p1;lr"[..], b"sip:p2;lr", b"sip:p3;lr"]);
    assert!(content_type(&message).unwrap().unwrap().is("application/pidf+xml"));
    assert!(supported(&message).eq([&b"eventlist"[..], b"path"]));
    assert!(allow_events(&message).eq([&b"presence"[..], b"dialog"]));
    assert!(allow(&message).eq([&b"NOTIFY"[..]]));
    assert!(require(&message).eq([&b"eventlist"[..]]));
    assert_eq!(unsupported(&message).count(), 0);
    assert_eq!(expires(&message), None);
    assert_eq!(routes.len(), 3);
    assert_eq!(super::routes(&message).count(), 0);
}

/// Covers: 3261-7.3.1-4, 3261-7.3.1-5
#[test]
fn layouts_of_a_list_read_equal() {
    let layouts = [
        Lines::new([("Route", "<sip:a;lr>,<sip:b;lr>"), ("Route", "<sip:c,d;lr>")]),
        Lines::new([("Route", "<sip:a;lr> , <sip:b;lr>\r\n , <sip:c,d;lr>")]),
        Lines::new([("route", "<sip:a;lr>"), ("ROUTE", "<sip:b;lr>"), ("Route", "<sip:c,d;lr>")]),
    ];
    for view in &layouts {
        let uris: Vec<_> = routes(view).map(|route| route.unwrap().uri()).collect();
        assert_eq!(uris, [&b"sip:a;lr"[..], b"sip:b;lr", b"sip:c,d;lr"]);
    }
}

/// Covers: 3261-7.3.1-11, 6665-8.2.1-4
#[test]
fn needed_headers_are_missed_and_counted() {
    use ParseErrorKind as K;
    let none = Lines::new([]);
    assert_eq!(from(&none).unwrap_err().kind, K::MissingFrom);
    assert_eq!(to(&none).unwrap_err().kind, K::MissingTo);
    assert_eq!(call_id(&none).unwrap_err().kind, K::MissingCallId);
    assert_eq!(cseq(&none).unwrap_err().kind, K::MissingCSeq);
    assert_eq!(top_via(&none).unwrap_err().kind, K::MissingVia);
    assert_eq!(event(&none), Ok(None));
    assert_eq!(subscription_state(&none), Ok(None));
    assert_eq!(max_forwards(&none), Ok(None));
    assert!(content_type(&none).unwrap().is_none());
    assert_eq!(first_contact(&none), Ok(None));

    let lines = [
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:a@b>"),
        ("Call-ID", "x"),
        ("CSeq", "1 X"),
        ("Event", "a"),
        ("Subscription-State", "active"),
        ("Max-Forwards", "1"),
        ("Content-Type", "a/b"),
    ];
    let mut twice = Lines::new(lines);
    twice.0.extend(Lines::new(lines).0);
    assert_eq!(from(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(to(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(call_id(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(cseq(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(event(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(subscription_state(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(max_forwards(&twice).unwrap_err().kind, K::DuplicateHeader);
    assert_eq!(content_type(&twice).unwrap_err().kind, K::DuplicateHeader);
}

#[test]
fn errors_name_their_header() {
    use ParseErrorKind as K;
    let view = Lines::new([
        ("From", "<sip:a@b>;tag=1;tag=2"),
        ("To", "\"x <sip:a@b>"),
        ("Call-ID", "a b"),
        ("CSeq", "x"),
        ("Via", ""),
        ("Event", "a, b"),
        ("Subscription-State", ";"),
        ("Max-Forwards", "256"),
        ("Content-Type", "x"),
        ("Contact", "x"),
        ("Route", "sip:a@b"),
    ]);
    assert_eq!(from(&view).unwrap_err().kind, K::DuplicateParameter);
    assert_eq!(to(&view).unwrap_err().kind, K::BadTo);
    assert_eq!(call_id(&view).unwrap_err().kind, K::BadCallId);
    assert_eq!(cseq(&view).unwrap_err().kind, K::BadCSeq);
    assert_eq!(top_via(&view).unwrap_err().kind, K::BadVia);
    assert_eq!(event(&view).unwrap_err().kind, K::BadEvent);
    assert_eq!(subscription_state(&view).unwrap_err().kind, K::BadSubscriptionState);
    assert_eq!(max_forwards(&view).unwrap_err().kind, K::BadMaxForwards);
    assert_eq!(content_type(&view).unwrap_err().kind, K::BadMediaType);
    assert_eq!(first_contact(&view).unwrap_err().kind, K::BadContact);
    assert_eq!(routes(&view).next().unwrap().unwrap_err().kind, K::BadRoute);
}

/// PEER-I02, ADV-E7.
#[test]
fn a_dialog_has_one_contact() {
    for (value, first, only) in [
        ("<sip:a@b>", true, true),
        ("sip:a@b", true, true),
        ("<sip:a@b>,<sip:c@d>", true, false),
        ("<sip:a@b>,", true, false),
        ("*", false, false),
        ("", true, true),
        (",<sip:a@b>", false, false),
    ] {
        let view = Lines::new([("m", value)]);
        assert_eq!(first_contact(&view).is_ok(), first, "{value}");
        assert_eq!(only_contact(&view).is_ok(), only, "{value}");
    }
    let lines = Lines::new([("m", "<sip:a@b>"), ("Contact", "<sip:c@d>")]);
    assert!(only_contact(&lines).is_err());
    assert_eq!(contacts(&lines).count(), 2);
    assert_eq!(first_contact(&Lines::new([("m", "")])), Ok(None));
}

/// Covers: 3261-20-5, INT-12
#[test]
fn durations_are_read_sanely() {
    for (value, expected) in [
        ("0", Some(0)),
        (" 3600 ", Some(3600)),
        ("4294967295", Some(u32::MAX)),
        ("4294967296", Some(u32::MAX)),
        ("18446744073709551621", Some(u32::MAX)),
        ("-1", None),
        ("", None),
        ("60;x", None),
        ("Thu, 01 Dec 1994 16:00:00 GMT", None),
    ] {
        let view = Lines::new([("Expires", value), ("Min-Expires", value)]);
        assert_eq!(expires(&view), expected, "{value}");
        assert_eq!(min_expires(&view), expected, "{value}");
    }
    let view = Lines::new([("Retry-After", "5 (busy);duration=3")]);
    assert_eq!(retry_after(&view), Some(RetryAfter { seconds: 5, duration: Some(3) }));
    assert_eq!(retry_after(&Lines::new([("Retry-After", "soon")])), None);
    assert_eq!(retry_after(&Lines::new([])), None);
}

/// ADV-E6, PEER-I01: the last of very many decides.
#[test]
fn every_accept_value_counts() {
    let mut view = Lines::new([]);
    for line in 0..100 {
        let value: Vec<_> = (0..100).map(|at| alloc::format!("x/{line}-{at}")).collect();
        view.0.push(("Accept", value.join(", ")));
    }
    view.0.push(("Accept", "application/pidf+xml;q=0.5".into()));
    assert_eq!(accept(&view).count(), 10_001);
    let last = accept(&view).last().unwrap().unwrap();
    assert!(last.media().is("application/pidf+xml"));
    assert_eq!(last.q(), 500);

    // Absent and empty are told apart by the field alone.
    assert_eq!(accept(&Lines::new([("Accept", "")])).count(), 0);
    assert_eq!(accept(&Lines::new([("Accept", "a/b, x")])).filter(Result::is_err).count(), 1);
}

#[test]
fn tokens_pass_over_nothing_but_gaps() {
    let view = Lines::new([("Require", "a,, b "), ("Require", ""), ("Require", "c d, e")]);
    assert!(require(&view).eq([&b"a"[..], b"b", b"c d", b"e"]));
    let view = Lines::new([("Unsupported", "x"), ("Supported", "")]);
    assert!(unsupported(&view).eq([&b"x"[..]]));
    assert_eq!(supported(&view).count(), 0);
    let name = HeaderName::Other(b"X-List");
    let view = Lines::new([("X-List", "1, 2")]);
    assert_eq!(elements(&view, name).count(), 2);
    assert_eq!(single(&view, name), Ok(Some(&b"1, 2"[..])));
}

#[test]
fn a_trait_object_is_enough() {
    let lines = Lines::new([("o", "presence")]);
    let view: &dyn MessageView = &lines;
    assert_eq!(event(view).unwrap().unwrap().package(), b"presence");
}
