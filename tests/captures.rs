//! Messages of real programs, read by the crate and by a second reader.
//!
//! `captures/expect.py` wrote `golden/captures.txt` with string operations of
//! its own; here the crate must find the same in every message.

use sip_events::wire::{ContactValue, Message, MessageBuf, MessageView, StartLine, SubscriptionState, read};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("captures are UTF-8")
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |state, octet| (state ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

fn start_line(message: &Message<'_>) -> String {
    match message.start_line() {
        StartLine::Request { method, uri } => format!("{method} {} SIP/2.0", text(uri)),
        StartLine::Response { status, reason } => format!("SIP/2.0 {status} {}", text(reason)),
    }
}

fn state_parts(state: Option<SubscriptionState<'_>>) -> String {
    let substate = state.map(|state| text(state.substate.as_bytes()));
    let reason = state.and_then(|state| state.reason).map(|reason| text(reason.as_bytes()));
    let expires = state.and_then(|state| state.expires);
    let retry_after = state.and_then(|state| state.retry_after);
    format!(
        "state={}\treason={}\texpires={}\tretry-after={}",
        or_dash(substate),
        or_dash(reason),
        or_dash(expires),
        or_dash(retry_after)
    )
}

/// One line of the golden file, as the crate sees it.
fn line(name: &str, message: &Message<'_>) -> String {
    let event = read::event(message).expect("Event");
    let cseq = read::cseq(message).expect("CSeq");
    let contact = read::contacts(message).next().map(|contact| match contact.expect("Contact") {
        ContactValue::Star => "*".into(),
        ContactValue::Address(address) => text(address.uri()),
    });
    let body = message.body();
    [
        name.to_string(),
        start_line(message),
        format!("fields={}", message.fields().len()),
        format!("vias={}", read::vias(message).collect::<Result<Vec<_>, _>>().expect("Via").len()),
        format!("from={}", or_dash(read::from(message).expect("From").tag().map(text))),
        format!("to={}", or_dash(read::to(message).expect("To").tag().map(text))),
        format!("call-id={}", text(read::call_id(message).expect("Call-ID"))),
        format!("cseq={} {}", cseq.number, cseq.method),
        format!("event={}", or_dash(event.map(|event| text(event.event_type())))),
        format!("id={}", or_dash(event.and_then(|event| event.id()).map(text))),
        state_parts(read::subscription_state(message).expect("Subscription-State")),
        format!("Expires={}", or_dash(read::expires(message))),
        format!("contact={}", or_dash(contact)),
        format!("body={} {:016x}", body.len(), fnv1a(body)),
    ]
    .join("\t")
}

fn captures() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let files = fs::read_dir(folder).expect("captures").map(|entry| entry.expect("entry").path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .map(|path| {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("readable"))
        })
        .collect()
}

/// Covers: 3261-7.3.1-1, 3261-7.3.3-1, 3261-18.3-1
#[test]
fn two_readers_find_the_same_in_every_capture() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/captures.txt");
    let golden = fs::read_to_string(golden).expect("golden");
    let captures = captures();
    assert_eq!(captures.len(), 184);
    assert_eq!(golden.lines().count(), captures.len());
    for (expect, (name, bytes)) in golden.lines().zip(&captures) {
        let message = Message::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(line(name, &message), expect);
        assert_eq!(message.as_bytes(), bytes);
    }
}

#[test]
fn owned_and_borrowed_messages_agree() {
    for (name, bytes) in captures() {
        let owned = MessageBuf::parse(bytes.clone()).expect("sound");
        let message = Message::parse(&bytes).expect("sound");
        assert_eq!(owned.as_bytes(), message.as_bytes(), "{name}");
        assert_eq!(MessageView::body(&owned), message.body(), "{name}");
        assert_eq!(owned.request_uri(), message.request_uri(), "{name}");
        for field in message.fields() {
            assert_eq!(owned.field(field.name, 0), message.field(field.name, 0), "{name}");
        }
    }
}
