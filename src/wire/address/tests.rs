use super::*;
use alloc::string::String;

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap()
}

/// Covers: 3261-20-1, 3261-25.1-4
#[test]
fn addresses_with_and_without_brackets() {
    for (input, display, uri, tag) in [
        ("sip:a@b", None, "sip:a@b", None),
        ("sip:a@b;tag=1", None, "sip:a@b", Some("1")),
        ("sip:a@b ; tag = 1", None, "sip:a@b", Some("1")),
        ("<sip:a@b;tag=1>", None, "sip:a@b;tag=1", None),
        ("<sip:a@b>;tag=1", None, "sip:a@b", Some("1")),
        ("<sip:a@b;x=y>\r\n ;TAG = 1", None, "sip:a@b;x=y", Some("1")),
        ("Bob <sip:a@b>", Some("Bob"), "sip:a@b", None),
        ("The  Bob<sip:a@b>", Some("The  Bob"), "sip:a@b", None),
        ("\"Bob\" <sip:a@b>", Some("\"Bob\""), "sip:a@b", None),
        ("\"\"<sip:a@b>", Some("\"\""), "sip:a@b", None),
        ("\"<sip:x@y>\\\"\" <sip:a@b>;tag=1", Some("\"<sip:x@y>\\\"\""), "sip:a@b", Some("1")),
        ("\"a\r\n b\"\r\n <sip:a@b>", Some("\"a\r\n b\""), "sip:a@b", None),
        ("<tel:+1-201>;tag=1", None, "tel:+1-201", Some("1")),
        ("sip:user;par=u%40example.net@example.com", None, "sip:user", None),
        ("<sip:u;par=u%40x@h?a=b>", None, "sip:u;par=u%40x@h?a=b", None),
        ("<sip:[2001:db8::1]>;tag=1", None, "sip:[2001:db8::1]", Some("1")),
        ("  <sip:a@b>  ", None, "sip:a@b", None),
        // RFC 4475, 3.1.2.14 and 3.1.2.15: tolerated.
        ("\"W\" < sip:a@b >", Some("\"W\""), "sip:a@b", None),
        ("Bell, Alexander <sip:a@b>;tag=43", Some("Bell, Alexander"), "sip:a@b", Some("43")),
        ("J\u{fc}rgen (home) <sip:a@b>", Some("J\u{fc}rgen (home)"), "sip:a@b", None),
        ("sip:x@y <sip:a@b>", Some("sip:x@y"), "sip:a@b", None),
        ("sip:a@b;x=\"<sip:c>\"", None, "sip:a@b", None),
    ] {
        let address = NameAddr::parse(input.as_bytes()).unwrap_or_else(|error| panic!("{input:?}: {error}"));
        assert_eq!(address.display().map(text), display, "{input:?}");
        assert_eq!(text(address.uri()), uri, "{input:?}");
        assert_eq!(address.tag().map(text), tag, "{input:?}");
        assert_eq!(text(address.as_bytes()), input.trim(), "{input:?}");
    }
}

#[test]
fn broken_addresses_are_refused() {
    use ParseErrorKind as K;
    for (input, kind) in [
        ("", K::BadUri),
        ("*", K::BadUri),
        ("<>", K::BadUri),
        // ADV-P17
        ("</>", K::BadUri),
        ("<sip:>", K::BadUri),
        ("<sip>", K::BadUri),
        ("bob@h", K::BadUri),
        ("Bob", K::BadUri),
        ("<sip:a b@c>", K::BadUri),
        ("<sip:a@b\r\n c>", K::BadUri),
        ("<<sip:a@b>>", K::BadUri),
        ("<sip:\"a\"@b>", K::BadUri),
        ("<sip:a@b", K::BadAddress),
        ("Bob <sip:a@b", K::BadAddress),
        ("\"Bob\" sip:a@b", K::BadAddress),
        ("\"Bob\" x <sip:a@b>", K::BadAddress),
        ("\"Bob <sip:a@b>", K::BadQuotedString),
        // ADV-P18
        ("\"Bob\\\" <sip:a@b>", K::BadQuotedString),
        ("\"Bob\\", K::BadQuotedString),
        // ADV-P16
        ("Bob\u{1} <sip:a@b>", K::BadAddress),
        ("\0<sip:a@b>", K::BadAddress),
        ("sip:a@b,c", K::BadAddress),
        ("sip:a@b?x=y", K::BadAddress),
        ("<sip:a@b>,<sip:c@d>", K::BadParameter),
        ("<sip:a@b> x", K::BadParameter),
        ("<sip:a@b>>", K::BadParameter),
        ("sip:a@b c", K::BadParameter),
        ("<sip:a@b>;", K::BadParameter),
        ("<sip:a@b>;;tag=1", K::BadParameter),
        // ADV-P12
        ("<sip:a@b>;tag", K::BadParameter),
        ("<sip:a@b>;tag=", K::BadParameter),
        ("<sip:a@b>;tag=1 2", K::BadParameter),
        ("<sip:a@b>;tag=1;Tag=2", K::DuplicateParameter),
        ("<sip:a@b>;x;tag=1;x", K::DuplicateParameter),
    ] {
        let error = NameAddr::parse(input.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{input:?}");
    }
}

/// Covers: 3261-20-1
#[test]
fn routes_need_their_brackets() {
    for good in ["<sip:h;lr>", "\"P\" <sip:h;lr>;x=y", "P <sip:h>", "<sip:h> ;x=\">\""] {
        assert!(NameAddr::parse_bracketed(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in ["sip:a@b", "sip:a@b;lr", "sip:a@b;x=\"<y>\"", "<sip:h", ""] {
        assert!(NameAddr::parse_bracketed(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// Covers: 3261-20-2
#[test]
fn parameters_of_contacts() {
    let input = b"<sip:a@b>;q=0.7;expires=60;+sip.instance=\"<urn:uuid:1;2>\";ob;unknown=x";
    let ContactValue::Address(contact) = ContactValue::parse(input).unwrap() else {
        panic!("an address");
    };
    assert_eq!(contact.q(), Some(700));
    assert_eq!(contact.expires(), Some(60));
    assert_eq!(contact.param(b"OB"), Some(None));
    assert_eq!(contact.param(b"+SIP.instance"), Some(Some(&b"\"<urn:uuid:1;2>\""[..])));
    assert_eq!(contact.param(b"none"), None);
    assert_eq!(contact.params().count(), 5);
    assert_eq!(contact.parsed_uri().unwrap().user(), Some(&b"a"[..]));

    let odd = NameAddr::parse(b"<sip:a@b>;q=2;expires=99999999999").unwrap();
    assert_eq!((odd.q(), odd.expires()), (None, Some(u32::MAX)));
    let odd = NameAddr::parse(b"<sip:a@b>;q;expires=x").unwrap();
    assert_eq!((odd.q(), odd.expires()), (None, None));
    assert_eq!(ContactValue::parse(b" * "), Ok(ContactValue::Star));
    assert!(ContactValue::parse(b"*;x").is_err());
    assert!(ContactValue::parse(b"").is_err());
}

#[test]
fn the_uri_is_judged_when_it_is_used() {
    let address = NameAddr::parse(b"<sip:a#b@h>;tag=1").unwrap();
    assert_eq!(address.parsed_uri().unwrap_err().kind, ParseErrorKind::BadUri);
    assert_eq!(address.tag(), Some(&b"1"[..]));
}

#[test]
fn weights_at_their_borders() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1", Some(1000)),
        ("0.", Some(0)),
        ("1.", Some(1000)),
        ("0.5", Some(500)),
        ("0.05", Some(50)),
        ("0.999", Some(999)),
        ("1.000", Some(1000)),
        ("1.001", None),
        ("2", None),
        ("0.1234", None),
        (".5", None),
        ("", None),
        ("00", None),
        ("-1", None),
        ("0,5", None),
        ("0.x", None),
    ] {
        assert_eq!(parse_q(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for display in ["", "Bob", "\"The\" \\ Bob", "\\", "a, b;tag=x <sip:c@d>", "J\u{fc}rgen"] {
        let uri = Uri::parse(b"sip:a@h;lr?x=y").unwrap();
        let mut out = Vec::new();
        write_name_addr(&mut out, Some(display), &uri, Some(b"t1"));
        let address = NameAddr::parse(&out).unwrap();
        assert_eq!(lex::unquote(address.display().unwrap()), display.as_bytes());
        assert_eq!(address.uri(), uri.as_bytes());
        assert_eq!(address.tag(), Some(&b"t1"[..]));
    }
    let mut out = Vec::new();
    let uri = Uri::parse(b"sip:h").unwrap();
    write_name_addr(&mut out, Some("x\r\nBad: 1"), &uri, None);
    assert_eq!(String::from_utf8(out).unwrap(), "\"x  Bad: 1\" <sip:h>");
    let mut out = Vec::new();
    write_name_addr(&mut out, None, &uri, None);
    assert_eq!(out, b"<sip:h>");
}

/// ADV-P14.
#[test]
fn long_tags_are_whole() {
    for length in (250..=260).chain(510..=515) {
        let input = ["<sip:a@b>;tag=", &"t".repeat(length)].concat();
        let address = NameAddr::parse(input.as_bytes()).unwrap();
        assert_eq!(address.tag().unwrap().len(), length);
    }
}

#[test]
fn work_is_linear() {
    for unit in ["\"", "\\", "<", ">", ";", ";a", ";a=\"", "\r\n ", " ", "a ", ",", "\"\\"] {
        for head in ["", "\"", "<sip:", "sip:a", "<sip:a@b>", "<sip:a@b>;x=\""] {
            let input = [head, &unit.repeat(500_000 / unit.len())].concat();
            if let Ok(address) = NameAddr::parse(input.as_bytes()) {
                assert!(address.uri().len() <= input.len());
            }
        }
    }
}
