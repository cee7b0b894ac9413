use super::*;
use crate::wire::{Message, Method, Substate};

#[test]
fn smoke() {
    let message = Message::parse(
        b"NOTIFY sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bKx;rport\r\n\
        From: \"A\" <sip:b@c>;tag=1\r\nTo: sip:a@b;tag=2\r\nCall-ID: x@y\r\nCSeq: 3 NOTIFY\r\n\
        Max-Forwards: 70\r\no: presence\r\nSubscription-State: active;expires=60\r\n\
        m: <sip:b@h>\r\nContent-Length: 0\r\n\r\n",
    )
    .unwrap();
    assert_eq!(from(&message).unwrap().tag(), Some(&b"1"[..]));
    assert_eq!(to(&message).unwrap().uri(), b"sip:a@b");
    assert_eq!(cseq(&message).unwrap().method, Method::Notify);
    assert_eq!(event(&message).unwrap().unwrap().event_type(), b"presence");
    let state = subscription_state(&message).unwrap().unwrap();
    assert_eq!((state.substate, state.expires), (Substate::Active, Some(60)));
    assert_eq!(only_contact(&message).unwrap().unwrap().uri(), b"sip:b@h");
}
