use super::*;
use alloc::string::String;

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn key(text: &str) -> String {
    let mut out = Vec::new();
    resource_key(&uri(text), &mut out);
    String::from_utf8(out).unwrap()
}

/// Covers: 3261-19.1.4-1, 3261-19.1.4-2, 3261-19.1.4-3, 3261-19.1.4-4, 3261-19.1.4-5, 3261-19.1.4-6
#[test]
fn equivalence_by_the_table() {
    let cases = [
        (true, "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
        (true, "sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        (true, "sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            true,
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            true,
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        (true, "sip:h;%6Cr", "SIP:H;LR"),
        (true, "sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"),
        (true, "sip:%20@h", "sip:%20@h;x"),
        (false, "sip:a@h", "sips:a@h"),
        (false, "sip:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        (false, "sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        (false, "sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        (false, "sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        (false, "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        (false, "sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (false, "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        (false, "sip:h", "sip:h;user=phone"),
        (false, "sip:h;ttl=1", "sip:h"),
        (false, "sip:h", "sip:h;maddr=x"),
        (false, "sip:h;method=X", "sip:h"),
        (false, "sip:h;x", "sip:h;x=1"),
        (false, "sip:h", "sip:a@h"),
        (false, "sip:a%3Bb@h", "sip:a;b@h"),
        (false, "sip:a%3Ab@h", "sip:a:b@h"),
        (true, "sip:a%3bb@h", "sip:a%3Bb@h"),
        (false, "sip:a:p@h", "sip:a:P@h"),
        (false, "sip:h?a=b", "sip:h?a=c"),
        (false, "sip:h?a=b", "sip:h?a=b&c=d"),
        (false, "sip:h?a=b&a=c", "sip:h?a=b&a=b"),
        (true, "tel:+1-201-555-0123", "tel:+12015550123"),
        (true, "tel:7042;phone-context=Example.com", "tel:7042;Phone-Context=example.com"),
        (false, "tel:7042;phone-context=example.com", "tel:7042"),
        (false, "tel:+1", "tel:1"),
        (false, "tel:+1", "sip:+1@h"),
        (true, "URN:service:sos", "urn:service:sos"),
        (false, "urn:service:sos", "urn:service:SOS"),
        (false, "urn:a", "url:a"),
    ];
    for (expected, one, two) in cases {
        assert_eq!(uri(one).equivalent(&uri(two)), expected, "{one} {two}");
        assert_eq!(uri(two).equivalent(&uri(one)), expected, "{two} {one}");
        assert!(uri(one).equivalent(&uri(one)));
    }
}

/// Covers: 3261-19.1.4-7
#[test]
fn equivalence_is_not_transitive_but_keys_are() {
    let (on, none, off) = ("sip:a@h;x=on", "sip:a@h", "sip:a@h;x=off");
    assert!(uri(on).equivalent(&uri(none)) && uri(none).equivalent(&uri(off)));
    assert!(!uri(on).equivalent(&uri(off)));
    assert!(key(on) == key(none) && key(none) == key(off));
}

/// PEER-C21.
#[test]
fn one_resource_has_one_key() {
    for (input, expected) in [
        ("sip:%61lice@EX.com", "sip:alice@ex.com"),
        ("sip:alice@ex.com", "sip:alice@ex.com"),
        ("SIP:alice@ex.com;transport=tcp;lr?a=b", "sip:alice@ex.com"),
        ("sips:alice@ex.com", "sips:alice@ex.com"),
        ("sip:ALICE@ex.com", "sip:ALICE@ex.com"),
        ("sip:alice@ex.com:5060", "sip:alice@ex.com:5060"),
        ("sip:a%3bb%20c@h", "sip:a%3Bb%20c@h"),
        ("sip:a%2D%5f%7E@h", "sip:a-_~@h"),
        ("sip:+1@h;user=PHONE", "sip:+1@h;user=phone"),
        ("sip:a@[2001:DB8:0::1]:5070", "sip:a@[2001:db8::1]:5070"),
        ("sip:H", "sip:h"),
        ("tel:+1-(201).555", "tel:+1201555"),
        ("tel:70-42;ext=1;phone-context=EX.com", "tel:7042;phone-context=ex.com"),
        ("URN:service:SOS", "urn:service:SOS"),
        ("sip:%25%34@h", "sip:%254@h"),
    ] {
        assert_eq!(key(input), expected, "{input}");
        // A key is a fixed point.
        assert_eq!(key(expected), expected, "{input}");
    }
}
