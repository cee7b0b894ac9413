//! Parsing and building one message, beside the limits of the machine.

use std::hint::black_box;

use sip_events::wire::{self, HeadWriter, HeaderName, Message, read};

use crate::harness::{Row, Sample};
use crate::messages;

const TIMES: u64 = 2_000;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("limit: memchr over the line ends of the head", line_scan),
        Row::new("parse: NOTIFY of 1301 bytes", parse).goal(300.0, 0.0).instructions(5_000.0),
        Row::new("parse: the same, checked whole", parse_sound),
        Row::new("parse: and ten typed headers", typed).goal(600.0, 0.0).instructions(9_500.0),
        Row::new("limit: copy of a built NOTIFY", copy),
        Row::new("build: NOTIFY of 1301 bytes", build).goal(150.0, 0.0).instructions(1_800.0),
    ]
}

fn repeat(mut work: impl FnMut() + 'static) -> Sample {
    Box::new(move |meter| {
        meter.time(|| (0..TIMES).for_each(|_| work()));
        TIMES
    })
}

fn line_scan() -> Sample {
    let message = messages::notify();
    repeat(move || {
        let head = black_box(&message[..messages::HEAD]);
        black_box(memchr::memchr_iter(b'\n', head).fold(0, |sum, at| sum ^ at));
    })
}

fn parse() -> Sample {
    let message = messages::notify();
    repeat(move || {
        black_box(&Message::scan(black_box(&message)).expect("it is a message"));
    })
}

fn parse_sound() -> Sample {
    let message = messages::notify();
    repeat(move || {
        black_box(&Message::parse(black_box(&message)).expect("it is sound"));
    })
}

fn typed() -> Sample {
    let bytes = messages::notify();
    repeat(move || {
        let message = Message::scan(black_box(&bytes)).expect("it is a message");
        black_box(read::top_via(&message).expect("Via").branch());
        black_box(read::from(&message).expect("From").tag());
        black_box(read::to(&message).expect("To").tag());
        black_box(read::call_id(&message).expect("Call-ID"));
        black_box(read::cseq(&message).expect("CSeq"));
        black_box(read::event(&message).expect("Event").expect("Event").id());
        black_box(read::subscription_state(&message).expect("state").expect("state").expires);
        let contact = read::first_contact(&message).expect("Contact").expect("Contact");
        black_box(contact.parsed_uri().expect("a URI"));
        black_box(read::expires(&message));
        black_box(message.field(HeaderName::ContentLength, 0).and_then(wire::lex::parse_u32));
    })
}

fn copy() -> Sample {
    let message = messages::notify();
    let mut out = Vec::with_capacity(2_048);
    repeat(move || {
        out.clear();
        out.extend_from_slice(black_box(&message));
        black_box(&out);
    })
}

/// Field by field, from values that are checked as they are written.
fn build() -> Sample {
    let (agent, body) = (messages::user_agent(), messages::pidf(messages::BODY));
    let mut out = Vec::with_capacity(2_048);
    let expected = messages::notify();
    let [via, _, contact, to, from, call_id, _, event, state, _, kind] = messages::FIELDS.map(|(_, value)| value);
    let mut write = move || {
        out.clear();
        let mut head = HeadWriter::new(&mut out);
        let value = |value: &'static str| black_box(value.as_bytes());
        head.request_line(b"NOTIFY", value(messages::TARGET));
        head.field(HeaderName::Via, value(via));
        head.field_u32(HeaderName::MaxForwards, black_box(70));
        head.field(HeaderName::Contact, value(contact));
        head.field(HeaderName::To, value(to));
        head.field(HeaderName::From, value(from));
        head.field(HeaderName::CallId, value(call_id));
        head.begin(HeaderName::CSeq);
        head.number(black_box(8775));
        head.raw(b" NOTIFY");
        head.end();
        head.field(HeaderName::Event, value(event));
        head.field(HeaderName::SubscriptionState, value(state));
        head.field_u32(HeaderName::Expires, black_box(3600));
        head.field(HeaderName::ContentType, value(kind));
        head.field(HeaderName::UserAgent, black_box(agent.as_bytes()));
        head.content_length(black_box(&body).len());
        head.finish();
        out.extend_from_slice(body.as_bytes());
        black_box(&out).len()
    };
    assert_eq!(write(), expected.len());
    repeat(move || {
        write();
    })
}
