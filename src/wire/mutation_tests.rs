//! Values damaged at random: no parser panics, and whatever is accepted keeps
//! the promises of its type.

#![allow(clippy::arithmetic_side_effects)]

use super::lex;
use super::*;
use alloc::vec::Vec;

const SEEDS: [&[u8]; 16] = [
    b"SIP/2.0/UDP host:5060;branch=z9hG4bKx;rport;received=2001:db8::1;ttl=1;maddr=h",
    b"SIP / 2.0\r\n /UDP\t[2001:db8::1] : 5060 ; x=\"a\\\"b\"",
    b"\"A \\\"B\\\"\" <sip:a%40b:pw@host.example.com:5070;lr;x=y?c=d>;tag=1;q=0.5",
    b"sip:alice@example.com;tag=x",
    b"Bell, A <sips:a@[::1]:1>;expires=5",
    b"sip:a;b=c?d/e:pw@example.com.;transport=tcp;gr=urn:uuid:1?e=f&g=%20",
    b"sip:192.0.2.1:5060;lr=on",
    b"tel:+1-201-555-0123;phone-context=example.com",
    b"urn:service:sos",
    b"presence.winfo;id=7;x=\"a;b\";y",
    b"terminated;reason=probation;retry-after=4294967296;expires=5",
    b"4294967295\r\n SUBSCRIBE",
    b"5 (a (b) \\) c) ;duration=3",
    b"text/plain;charset=\"utf-8\";q=0.125",
    b"<sip:p1;lr>, \"a,b\" <sip:p2;lr>,<sip:p3>",
    b"a84b4c76e66710@pc33.example.com",
];

/// A small generator, so that the run is the same everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (bound.max(1) as u64)).unwrap()
    }
}

fn damaged(rng: &mut Rng) -> Vec<u8> {
    const SHARP: &[u8] = b" \t\r\n\";:@<>,.?=&%/\\()[]-_0aZ\0\x7f\xc3\xff";
    let mut value = SEEDS[rng.below(SEEDS.len())].to_vec();
    for _ in 0..rng.below(4) {
        let at = rng.below(value.len() + 1);
        match rng.below(4) {
            0 => value.insert(at, SHARP[rng.below(SHARP.len())]),
            1 if at < value.len() => drop(value.remove(at)),
            2 if at < value.len() => value[at] = SHARP[rng.below(SHARP.len())],
            _ => {
                let other = SEEDS[rng.below(SEEDS.len())];
                let from = rng.below(other.len());
                value.truncate(at);
                value.extend_from_slice(&other[from..]);
            }
        }
    }
    value
}

/// Covers: 3261-25.1-3, ADV-P31
#[test]
fn accepted_values_keep_their_promises() {
    let mut rng = Rng(0x2545_F491_4F6C_DD1D);
    let mut accepted = [0u32; 5];
    for _ in 0..60_000 {
        let value = damaged(&mut rng);
        if let Ok(uri) = Uri::parse(&value) {
            accepted[0] += 1;
            check_uri(&uri);
        }
        if let Ok(address) = NameAddr::parse(&value) {
            accepted[1] += 1;
            assert!(!address.uri().is_empty());
            assert!(address.uri().iter().all(u8::is_ascii_graphic));
            assert_ne!(address.tag(), Some(&b""[..]));
            assert_eq!(NameAddr::parse(address.as_bytes()), Ok(address));
        }
        if let Ok(via) = Via::parse(&value) {
            accepted[2] += 1;
            check_via(&via);
        }
        if let Ok(event) = Event::parse(&value) {
            accepted[3] += 1;
            let mut out = Vec::new();
            event.write(&mut out);
            let again = Event::parse(&out).unwrap();
            assert!(again.matches(&event));
            assert_eq!(again.params().count(), event.params().count());
        }
        if let Ok(state) = SubscriptionState::parse(&value) {
            accepted[4] += 1;
            let mut out = Vec::new();
            state.write(&mut out);
            assert_eq!(SubscriptionState::parse(&out), Ok(state));
        }
        let _ = (CSeq::parse(&value), parse_call_id(&value), RetryAfter::parse(&value));
        if let Ok(range) = AcceptRange::parse(&value) {
            assert!(range.q() <= 1000);
        }
        let bytes: usize = lex::split_list(&value).map(<[u8]>::len).sum();
        assert!(bytes <= value.len());
    }
    // The damage must not be so great that nothing is tested.
    assert!(accepted.iter().all(|&count| count > 500), "{accepted:?}");
}

fn check_uri(uri: &Uri<'_>) {
    assert!(uri.as_bytes().iter().all(u8::is_ascii_graphic));
    assert_eq!(uri.is_sip(), uri.host().is_some());
    assert!(uri.equivalent(uri));
    let owned = UriBuf::from(*uri);
    assert_eq!(owned.as_uri().user(), uri.user());
    assert_eq!(owned.as_uri().host(), uri.host());
    for param in uri.params() {
        assert!(uri.param(param.name).is_some());
    }

    let mut key = Vec::new();
    resource_key(uri, &mut key);
    let mut again = Vec::new();
    resource_key(&Uri::parse(&key).unwrap(), &mut again);
    assert_eq!(again, key);

    let writers = [Uri::write_request_uri, Uri::write_dialog_target, Uri::write_from_to];
    for write in writers {
        let mut out = Vec::new();
        write(uri, &mut out);
        let written = Uri::parse(&out).unwrap();
        assert!(!uri.is_sip() || written.param(b"method").is_none());
        assert_eq!(written.user(), uri.user());
    }
}

fn check_via(via: &Via<'_>) {
    let source = "[2001:db8::9]:4000".parse().unwrap();
    let mut out = Vec::new();
    via.write_received(&mut out, source);
    assert!(!out.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    let written = Via::parse(&out).unwrap();
    assert_eq!(written.branch(), via.branch());
    assert_eq!((written.host(), written.port()), (via.host(), via.port()));
    assert_eq!(written.rport(), via.rport().map(|_| Some(4000)));
    if written.received().is_some() || via.rport().is_some() {
        assert_eq!(written.received(), "2001:db8::9".parse().ok());
    }
}
