use super::*;
use alloc::string::String;

fn event(text: &str) -> Event<'_> {
    Event::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn state(text: &str) -> SubscriptionState<'_> {
    SubscriptionState::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Covers: 6665-8.4-1, 6665-8.4-4
#[test]
fn event_values() {
    for (input, event_type, id, params) in [
        ("presence", "presence", None, 0),
        (" presence ", "presence", None, 0),
        ("presence.winfo", "presence.winfo", None, 0),
        ("foo ; id=1 ; x=\"a;b\"", "foo", Some("1"), 2),
        ("foo;ID=a!b", "foo", Some("a!b"), 1),
        ("foo\r\n ;\r\n id\r\n =\r\n 1", "foo", Some("1"), 1),
        ("dialog;sla;id=7", "dialog", Some("7"), 2),
        ("a.b.c", "a.b.c", None, 0),
        ("%x+~", "%x+~", None, 0),
    ] {
        let event = event(input);
        assert_eq!(event.event_type(), event_type.as_bytes(), "{input:?}");
        assert_eq!(event.id(), id.map(str::as_bytes), "{input:?}");
        assert_eq!(event.params().count(), params, "{input:?}");
        assert_eq!(event.as_bytes(), input.trim().as_bytes());
    }
    let event = event("presence.winfo.x");
    assert_eq!(event.package(), b"presence");
    assert!(event.templates().eq([&b"winfo"[..], b"x"]));
}

/// Covers: 6665-8.4-1, 6665-8.2.1-4, 3261-7.3.1-7
#[test]
fn broken_event_values_are_refused() {
    use ParseErrorKind as K;
    for (input, kind) in [
        ("", K::BadEvent),
        (" ", K::BadEvent),
        ("a b", K::BadEvent),
        (".a", K::BadEvent),
        ("a.", K::BadEvent),
        ("a..b", K::BadEvent),
        (".", K::BadEvent),
        ("a/b", K::BadEvent),
        ("a, b", K::BadEvent),
        ("a,b", K::BadEvent),
        ("\"a\"", K::BadEvent),
        (";id=1", K::BadEvent),
        ("foo;id", K::BadEvent),
        ("foo;id=", K::BadEvent),
        ("foo;id=\"1\"", K::BadEvent),
        ("foo;id=a@b", K::BadEvent),
        ("foo;", K::BadParameter),
        ("foo;id=1,bar", K::BadParameter),
        ("foo;;id=1", K::BadParameter),
        ("foo;x=\"y", K::BadQuotedString),
        ("foo;id=1;ID=2", K::DuplicateParameter),
        ("foo;x;id=1;x", K::DuplicateParameter),
    ] {
        let error = Event::parse(input.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{input:?}");
    }
}

/// Covers: 6665-8.4-1
#[test]
fn each_byte_may_stand_in_an_event_type_or_not() {
    for byte in 0..=255u8 {
        let input = [b'a', byte, b'z'];
        let expected = lex::is_token_byte(byte);
        assert_eq!(is_event_type(&input), expected, "{byte:#x}");
        // A semicolon ends the type.
        let parsed = Event::parse(&input).is_ok();
        assert_eq!(parsed, expected || byte == b';', "{byte:#x}");
    }
}

/// PEER-C15.
/// Covers: 6665-8.2.1-1
#[test]
fn matching_is_byte_exact_and_ignores_other_parameters() {
    for (one, two, expected) in [
        ("presence", "presence", true),
        ("presence", "Presence", false),
        ("presence", "presence.winfo", false),
        ("foo;id=1", "foo;id=1", true),
        ("foo;id=1", "foo;id=2", false),
        ("foo;id=a", "foo;id=A", false),
        ("foo;id=1", "foo", false),
        ("foo;id=1", "foo;id=01", false),
        ("dialog;sla", "dialog", true),
        ("foo;x=1;id=1", "foo;ID=1;x=2", true),
    ] {
        assert_eq!(event(one).matches(&event(two)), expected, "{one} {two}");
        assert_eq!(event(two).matches(&event(one)), expected, "{two} {one}");
    }
}

/// PEER-C16, PEER-C17.
#[test]
fn every_parameter_is_echoed() {
    for (input, expected) in [
        ("dialog;sla;id=7", "dialog;sla;id=7"),
        (
            "ua-profile;profile-type=device;vendor=\"a;b\";model=\"x \\\" y\";version=\"1\"",
            "ua-profile;profile-type=device;vendor=\"a;b\";model=\"x \\\" y\";version=\"1\"",
        ),
        ("foo ;\r\n x = y", "foo ; x = y"),
    ] {
        let mut out = Vec::new();
        event(input).write(&mut out);
        assert_eq!(out, expected.as_bytes());
        assert!(event(expected).matches(&event(input)));
    }
    let ua_profile = event("ua-profile;profile-type=device");
    assert_eq!(ua_profile.param(b"Profile-Type"), Some(Some(&b"device"[..])));
    assert_eq!(event("dialog;sla").param(b"sla"), Some(None));
    assert_eq!(event("dialog").param(b"sla"), None);
}

/// Covers: 6665-8.4-3, 6665-8.4-4, INT-12
#[test]
fn subscription_state_values() {
    use Substate::{Active, Other, Pending, Terminated};
    for (input, substate, reason, expires, retry_after) in [
        ("active", Active, None, None, None),
        ("active;expires=60", Active, None, Some(60), None),
        ("ACTIVE;EXPIRES=60", Active, None, Some(60), None),
        (" active ; expires = 60 ", Active, None, Some(60), None),
        ("pending\r\n ;expires\r\n =0", Pending, None, Some(0), None),
        ("terminated;reason=probation;retry-after=5", Terminated, Some(Reason::Probation), None, Some(5)),
        ("terminated;reason=\"timeout\"", Terminated, Some(Reason::Timeout), None, None),
        ("terminated;reason=x-new", Terminated, Some(Reason::Other(b"x-new")), None, None),
        ("terminated;reason", Terminated, None, None, None),
        ("terminated;reason=", Terminated, None, None, None),
        ("terminated;reason=\"a b\"", Terminated, None, None, None),
        ("weird;foo", Other(b"weird"), None, None, None),
        ("foo;expires=10", Other(b"foo"), None, Some(10), None),
        ("active;expires=-1", Active, None, None, None),
        ("active;expires=abc", Active, None, None, None),
        ("active;expires=4294967295", Active, None, Some(u32::MAX), None),
        ("active;expires=4294967296", Active, None, Some(u32::MAX), None),
        ("active;expires=99999999999999999999", Active, None, Some(u32::MAX), None),
        ("terminated;retry-after=18446744073709551621", Terminated, None, None, Some(u32::MAX)),
        ("active;expires=60;x=\"a;expires=5\"", Active, None, Some(60), None),
    ] {
        let expected = SubscriptionState { substate, reason, expires, retry_after };
        assert_eq!(state(input), expected, "{input:?}");
    }
}

/// PEER-B12, PEER-B13.
#[test]
fn odd_but_live_states_keep_the_subscription() {
    for (input, expires) in [
        ("active", None),
        ("active;", None),
        ("active;;", None),
        ("active ; ", None),
        ("active;;expires=5;", Some(5)),
        ("active;expires", None),
        ("active;expires=", None),
        ("active;expires=x", None),
        ("active;expires=\"5\"", None),
        ("active;expires=5.5", None),
    ] {
        let state = state(input);
        assert_eq!(state.substate, Substate::Active, "{input:?}");
        assert_eq!(state.expires, expires, "{input:?}");
    }
}

/// Covers: 3261-7.3.1-7
#[test]
fn broken_states_are_refused() {
    use ParseErrorKind as K;
    for (input, kind) in [
        ("", K::BadSubscriptionState),
        (";expires=5", K::BadSubscriptionState),
        ("\"active\"", K::BadSubscriptionState),
        ("active,pending", K::BadParameter),
        ("active pending", K::BadParameter),
        ("active;expires=5 6", K::BadParameter),
        ("active;=5", K::BadParameter),
        ("active;reason=\"x", K::BadQuotedString),
        ("active;expires=5;Expires=5", K::DuplicateParameter),
        ("active;x;x", K::DuplicateParameter),
    ] {
        let error = SubscriptionState::parse(input.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{input:?}");
    }
}

/// Covers: 6665-7.2-1
#[test]
fn reasons_and_states_in_any_case() {
    for name in ["deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant", "badfilter"] {
        let upper = name.to_ascii_uppercase();
        let reason = Reason::from_bytes(upper.as_bytes());
        assert!(!matches!(reason, Reason::Other(_)), "{name}");
        assert_eq!(reason.as_bytes(), name.as_bytes());
        assert_eq!(reason, Reason::Other(upper.as_bytes()));
    }
    assert_eq!(Reason::from_bytes(b"X-y"), Reason::Other(b"x-Y"));
    assert_ne!(Reason::Timeout, Reason::Giveup);
    for name in ["active", "pending", "terminated"] {
        let upper = name.to_ascii_uppercase();
        let substate = Substate::from_bytes(upper.as_bytes());
        assert_eq!(substate.as_bytes(), name.as_bytes());
        assert_eq!(substate, Substate::Other(upper.as_bytes()));
    }
    assert_ne!(Substate::Active, Substate::Pending);
}

/// PEER-B11: what is written is what is read.
#[test]
fn states_survive_the_round_trip() {
    let numbers = [None, Some(0), Some(1), Some(3600), Some(u32::MAX)];
    let substates = [Substate::Active, Substate::Pending, Substate::Terminated, Substate::Other(b"x")];
    let reasons = [None, Some(Reason::NoResource), Some(Reason::Other(b"y"))];
    for substate in substates {
        for reason in reasons {
            for expires in numbers {
                for retry_after in numbers {
                    let state = SubscriptionState { substate, reason, expires, retry_after };
                    let mut out = Vec::new();
                    state.write(&mut out);
                    assert_eq!(SubscriptionState::parse(&out), Ok(state));
                }
            }
        }
    }
    let mut out = Vec::new();
    state("TERMINATED;Reason=NoResource;RETRY-AFTER=07").write(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "terminated;reason=noresource;retry-after=7");
}

#[test]
fn work_is_linear() {
    for unit in [";", ".", "a.", ";a", ";a=", ";a=\"", "\\", "\"", "\r\n ", ",", " ;"] {
        for head in ["", "a", "a;x=\""] {
            let input = [head, &unit.repeat(500_000 / unit.len())].concat();
            let _ = Event::parse(input.as_bytes());
            if let Ok(state) = SubscriptionState::parse(input.as_bytes()) {
                assert_eq!(state.expires, None);
            }
        }
    }
}
