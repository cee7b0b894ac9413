use super::*;
use alloc::vec;

fn params(input: &str) -> Vec<(&str, Option<&str>)> {
    let text = |bytes| core::str::from_utf8(bytes).unwrap();
    Params::new(input.as_bytes())
        .map(|param| {
            let param = param.unwrap();
            (text(param.name), param.value.map(text))
        })
        .collect()
}

fn quoted(input: &[u8]) -> Option<&[u8]> {
    Cursor::new(input).quoted()
}

/// Covers: 3261-25.1-1
#[test]
fn each_byte_is_in_a_token_or_not() {
    let others = b"-.!%*_+`'~";
    for byte in 0..=255u8 {
        let expected = byte.is_ascii_alphanumeric() || others.contains(&byte);
        assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
        assert_eq!(is_token(&[b'a', byte, b'z']), expected, "{byte:#x}");
        let input = [b'a', byte];
        let mut cursor = Cursor::new(&input);
        assert_eq!(cursor.token().unwrap().len(), if expected { 2 } else { 1 });
    }
    assert!(!is_token(b""));
    assert_eq!(Cursor::new(b"").token(), None);
}

/// Covers: 3261-25.1-2
#[test]
fn each_byte_may_stand_in_quotes_or_not() {
    for byte in 0..=255u8 {
        // A backslash is plain only as the escape of the `x` behind it.
        let plain = matches!(byte, b'\t' | 0x20..=0x7E | 0x80..) && byte != b'"';
        let input = [b'"', byte, b'x', b'"'];
        assert_eq!(quoted(&input) == Some(&input[..]), plain, "plain {byte:#x}");
        let escaped = byte < 0x80 && byte != b'\r' && byte != b'\n';
        let input = [b'"', b'\\', byte, b'"'];
        assert_eq!(quoted(&input) == Some(&input[..]), escaped, "escaped {byte:#x}");
    }
}

/// Covers: 3261-25.1-2
#[test]
fn quoted_strings_end_where_they_should() {
    for (input, expected) in [
        (&b"\"\" rest"[..], Some(&b"\"\""[..])),
        (b"\"a\\\"b\\\\\" \"", Some(b"\"a\\\"b\\\\\"")),
        (b"\"a\r\n b\"", Some(b"\"a\r\n b\"")),
        (b"\"a\n\tb\"", Some(b"\"a\n\tb\"")),
        (b"\"a\r\nb\"", None),
        (b"\"a\rb\"", None),
        (b"\"a", None),
        (b"\"", None),
        // ADV-P18: the escape takes the closing quote away.
        (b"\"a\\\"", None),
        (b"\"a\\", None),
        (b"a\"b\"", None),
        (b"", None),
    ] {
        assert_eq!(quoted(input), expected, "{}", input.escape_ascii());
    }
    let mut cursor = Cursor::new(b"\"open");
    assert_eq!(cursor.quoted(), None);
    assert_eq!(cursor.position(), 0);
}

#[test]
fn quoting_and_unquoting_are_inverse() {
    for text in ["", "plain", "with \"quotes\" and \\", "\\", "\"", "J\u{fc}rgen"] {
        let mut written = Vec::new();
        push_quoted(&mut written, text.as_bytes());
        assert_eq!(quoted(&written), Some(&written[..]));
        assert_eq!(unquote(&written), text.as_bytes());
    }
    let mut written = Vec::new();
    push_quoted(&mut written, b"a\r\nX: y\0\x7f");
    assert_eq!(written, b"\"a  X: y  \"");
}

#[test]
fn unquoting_copies_only_what_it_must() {
    assert!(matches!(unquote(b"\"plain\""), Cow::Borrowed(b"plain")));
    assert!(matches!(unquote(b"token"), Cow::Borrowed(b"token")));
    assert!(matches!(unquote(b"\""), Cow::Borrowed(b"\"")));
    assert!(matches!(unquote(b""), Cow::Borrowed(b"")));
    assert_eq!(unquote(b"\"a\\b\\\\c\""), &b"ab\\c"[..]);
    assert_eq!(unquote(b"\"a\r\n  b\""), &b"a b"[..]);
}

/// Covers: 3261-7.3.1-2, 3261-25.1-4
#[test]
fn blanks_and_folds_are_skipped() {
    for (input, left) in [
        (&b"x"[..], &b"x"[..]),
        (b" \t x", b"x"),
        (b"\r\n x", b"x"),
        (b" \r\n\t \r\n x", b"x"),
        (b"\n x", b"x"),
        (b"\r\nx", b"\r\nx"),
        (b" \r\n", b"\r\n"),
        (b"\r x", b"\r x"),
        (b"", b""),
    ] {
        let mut cursor = Cursor::new(input);
        assert_eq!(cursor.skip_lws(), input.len() != left.len());
        assert_eq!(cursor.rest(), left, "{}", input.escape_ascii());
    }
    assert_eq!(trim(b" \r\n a b \t\r\n"), b"a b");
    assert_eq!(trim(b" \t"), b"");
}

/// Covers: 3261-25.1-6, 3261-7.3.1-10
#[test]
fn lists_split_at_free_commas() {
    let cases: [(&str, &[&str]); 12] = [
        ("", &[]),
        (" \r\n ", &[]),
        ("a", &["a"]),
        ("a,b", &["a", "b"]),
        (" a , b\r\n ,c ", &["a", "b", "c"]),
        ("a,,b", &["a", "", "b"]),
        ("a,", &["a", ""]),
        (",", &["", ""]),
        ("\"a,b\" <sip:x,y@z>, <sip:w>", &["\"a,b\" <sip:x,y@z>", "<sip:w>"]),
        ("\"a\\\",b\",c", &["\"a\\\",b\"", "c"]),
        ("\"<\",<\">,b", &["\"<\"", "<\">", "b"]),
        ("\"open,a,b", &["\"open,a,b"]),
    ];
    for (input, expected) in cases {
        let elements: Vec<_> = split_list(input.as_bytes()).collect();
        let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(elements, expected, "{input:?}");
    }
    // A backslash outside quotes escapes nothing.
    assert_eq!(split_list(b"a\\,b").count(), 2);
}

/// Covers: 3261-25.1-4
#[test]
fn parameters_are_read_in_every_layout() {
    assert_eq!(params(""), vec![]);
    assert_eq!(params(" \r\n "), vec![]);
    assert_eq!(params(";a"), vec![("a", None)]);
    assert_eq!(
        params(";a;b=1;c=\"x;y=\\\"\";d"),
        vec![("a", None), ("b", Some("1")), ("c", Some("\"x;y=\\\"\"")), ("d", None)]
    );
    assert_eq!(params(" ; a = b\r\n ;\tc \r\n = \"d\" "), vec![("a", Some("b")), ("c", Some("\"d\""))]);
    assert_eq!(params(";a="), vec![("a", Some(""))]);
    assert_eq!(
        params(";received=2001:db8::1;x=[::1]:5060;b=z9hG4bK/a+b=="),
        vec![("received", Some("2001:db8::1")), ("x", Some("[::1]:5060")), ("b", Some("z9hG4bK/a+b==")),]
    );
}

#[test]
fn broken_parameters_end_the_walk_with_one_error() {
    for (input, kind) in [
        (";", ParseErrorKind::BadParameter),
        (";;", ParseErrorKind::BadParameter),
        (";a;", ParseErrorKind::BadParameter),
        (";a;;b", ParseErrorKind::BadParameter),
        ("a", ParseErrorKind::BadParameter),
        (";a b", ParseErrorKind::BadParameter),
        (";a=b c", ParseErrorKind::BadParameter),
        (";=b", ParseErrorKind::BadParameter),
        (";a=b,c", ParseErrorKind::BadParameter),
        (";a=\"b\"c", ParseErrorKind::BadParameter),
        (";a=b\"c\"", ParseErrorKind::BadParameter),
        (";a=\u{e9}", ParseErrorKind::BadParameter),
        (";a=b\r\nX: y", ParseErrorKind::BadParameter),
        (";a=\"b", ParseErrorKind::BadQuotedString),
        (";a=\"b\\\"", ParseErrorKind::BadQuotedString),
    ] {
        let mut walk = Params::new(input.as_bytes());
        let error = walk.find_map(Result::err);
        assert_eq!(error.map(|error| error.kind), Some(kind), "{input:?}");
        assert_eq!(walk.next(), None, "{input:?}");
    }
}

#[test]
fn each_byte_may_stand_in_a_value_or_not() {
    for byte in 0..=255u8 {
        let input = [b';', b'a', b'=', b'x', byte, b'x'];
        let whole = Params::new(&input).next().unwrap().ok().unwrap().value == Some(&input[3..]);
        assert_eq!(whole, is_of(byte, VALUE), "{byte:#x}");
    }
    for separator in b" \t\r\n\",;<>\\\0\x7f\x80\xff" {
        assert!(!is_of(*separator, VALUE), "{separator:#x}");
    }
}

#[test]
fn tolerant_walks_pass_over_empty_parameters() {
    for (input, count) in [(";", 0), (";;", 0), (" ; ; a=1 ; ", 1), (";a;;b;", 2)] {
        let walk = Params::tolerant(input.as_bytes());
        assert!(walk.clone().all(|param| param.is_ok()), "{input:?}");
        assert_eq!(walk.count(), count, "{input:?}");
    }
}

/// Covers: 3261-7.3.1-7
#[test]
fn doubled_names_are_found_however_many() {
    let scan = |input: &[u8]| scan_params(Params::new(input), |_| Ok(())).map_err(|e| e.kind);
    assert_eq!(scan(b";a;b;c=1"), Ok(()));
    assert_eq!(scan(b";tag=1;TAG=2"), Err(ParseErrorKind::DuplicateParameter));
    assert_eq!(scan(b";a;b;a"), Err(ParseErrorKind::DuplicateParameter));

    // Every count up to the limit, the double at the far ends.
    let mut input = Vec::new();
    for count in 0..MAX_PARAMS {
        push_display(&mut input, format_args!(";p{count}x"));
        assert_eq!(scan(&input), Ok(()), "{count}");
        if count > 0 {
            let doubled = [&input[..], b";P0X"].concat();
            assert!(scan(&doubled).is_err(), "{count}");
        }
    }
    input.extend_from_slice(b";one-more");
    assert_eq!(scan(&input), Err(ParseErrorKind::TooManyParameters));
}

/// The sieve may only be wrong in one direction.
#[test]
fn the_sieve_lets_no_double_through() {
    let names = ["a", "A", "ab", "ba", "tag", "gat", "tg", "expires", "e0pi00s"];
    for one in names {
        for two in names {
            let mut filter = NameFilter::default();
            filter.note(one.as_bytes());
            filter.note(two.as_bytes());
            let pair = [one.as_bytes(), two.as_bytes()];
            let distinct = filter.distinct(pair.into_iter()).is_ok();
            assert_eq!(distinct, !one.eq_ignore_ascii_case(two), "{one} {two}");
        }
    }
}

/// Covers: INT-12, 3261-20-5
#[test]
fn numbers_at_their_borders() {
    for (text, exact, clamped) in [
        ("0", Some(0), Some(0)),
        ("007", Some(7), Some(7)),
        ("4294967295", Some(u32::MAX), Some(u32::MAX)),
        ("4294967296", None, Some(u32::MAX)),
        ("4294967290000", None, Some(u32::MAX)),
        ("18446744073709551621", None, Some(u32::MAX)),
        ("00000000000000000000005", Some(5), Some(5)),
        ("", None, None),
        ("-1", None, None),
        ("+5", None, None),
        ("5 5", None, None),
        ("5x", None, None),
        ("0x5", None, None),
        ("99999999999x", None, None),
        ("\u{661}", None, None),
    ] {
        assert_eq!(parse_u32(text.as_bytes()), exact, "{text}");
        assert_eq!(delta_seconds(text.as_bytes()), clamped, "{text}");
    }
    assert_eq!(parse_u16(b"65535"), Some(65535));
    assert_eq!(parse_u16(b"65536"), None);
}

#[test]
fn what_is_written_has_no_line_ends() {
    for (input, expected) in [
        (&b"plain"[..], &b"plain"[..]),
        (b"a\r\n b", b"a b"),
        (b"a \r\n \r\n\tb\n c", b"a  b c"),
        (b"a\rb\nc", b"a b c"),
        (b"\r\n", b" "),
        (b"", b""),
    ] {
        let mut out = Vec::new();
        push_unfolded(&mut out, input);
        assert_eq!(out, expected, "{}", input.escape_ascii());
    }
}

/// Quadratic work on a megabyte would not end within the patience of a test.
#[test]
fn work_is_linear() {
    for unit in [
        &b";"[..],
        b",",
        b"\"",
        b"\\",
        b"\"\\",
        b"<",
        b">",
        b"\r\n ",
        b" ",
        b";a",
        b";a=",
        b";a=\"",
        b"<\"",
        b"a,",
        b"=",
        b"%",
    ] {
        let input = unit.repeat(1_000_000 / unit.len());
        let elements = split_list(&input).count();
        assert!(elements <= input.len().saturating_add(1));
        assert!(Params::new(&input).count() <= input.len());
        assert!(Params::tolerant(&input).count() <= input.len());
        let _ = scan_params(Params::new(&input), |_| Ok(()));
        assert!(unquote(&[b"\"", &input[..], b"\""].concat()).len() <= input.len());
        assert!(trim(&input).len() <= input.len());
    }
}
