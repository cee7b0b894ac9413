//! Every library, used as its own documents and benches use it.

use std::hint::black_box;

use bytes::Bytes;
use sip_events::wire::{self, HeadWriter, HeaderName, Message, read};

use crate::{Candidate, messages};

/// Octets in, the library's message out.
pub fn parsers(message: &[u8]) -> Vec<Candidate> {
    let bytes = message.to_vec();
    vec![
        Candidate::new("sip-events", {
            let bytes = bytes.clone();
            move || {
                black_box(&Message::scan(black_box(&bytes)).expect("SIP"));
            }
        }),
        Candidate::new("sip-events, checked", {
            let bytes = bytes.clone();
            move || {
                black_box(&Message::parse(black_box(&bytes)).expect("sound"));
            }
        }),
        Candidate::new("sipx-sip", {
            let bytes = Bytes::from(bytes.clone());
            move || {
                let limits = sipx_sip::Limits::datagram();
                black_box(&sipx_sip::parse_datagram(black_box(&bytes).clone(), &limits).expect("SIP"));
            }
        }),
        Candidate::new("ezk-sip-types", {
            let bytes = Bytes::from(bytes.clone());
            move || {
                black_box(&ezk_parse(black_box(&bytes)));
            }
        }),
        Candidate::new("rsip", {
            let bytes = bytes.clone();
            move || {
                black_box(&rsip::SipMessage::try_from(black_box(&bytes[..])).expect("SIP"));
            }
        }),
        Candidate::new("rvoip-sip-core", {
            let bytes = bytes.clone();
            move || {
                black_box(&rvoip_sip_core::parse_message(black_box(&bytes)).expect("SIP"));
            }
        }),
        Candidate::new("sip-core", {
            let text = String::from_utf8(bytes.clone()).expect("ASCII");
            move || {
                black_box(&sip_core::SipMessage::parse(black_box(&text)).expect("SIP"));
            }
        }),
        Candidate::new("rsipstack", move || {
            black_box(&rsipstack::sip::SipMessage::try_from(black_box(&bytes[..])).expect("SIP"));
        }),
    ]
}

struct EzkMessage {
    _line: ezk_sip_types::msg::MessageLine,
    headers: ezk_sip_types::Headers,
    _body: Bytes,
}

fn ezk_parse(bytes: &Bytes) -> EzkMessage {
    use ezk_sip_types::msg::{Line, MessageLine, PullParser};
    use ezk_sip_types::parse::Parse;
    let mut parser = PullParser::new(bytes, 0);
    let text = |line| std::str::from_utf8(line).expect("UTF-8");
    let first = text(parser.next().expect("a start line").expect("complete"));
    let (_, line) = MessageLine::parse(bytes)(first).expect("a start line");
    let mut headers = ezk_sip_types::Headers::with_capacity(16);
    for line in &mut parser {
        let (_, line) = Line::parse(bytes, text(line.expect("complete"))).expect("a field");
        headers.insert(line.name, line.value);
    }
    EzkMessage { _line: line, headers, _body: bytes.slice(parser.head_end()..) }
}

/// Octets in, typed headers out: ten with this library, as many as the others
/// have types for.
pub fn readers(message: &[u8]) -> Vec<Candidate> {
    let bytes = message.to_vec();
    vec![
        Candidate::new("sip-events (10)", {
            let bytes = bytes.clone();
            move || {
                let message = Message::scan(black_box(&bytes)).expect("SIP");
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
            }
        }),
        Candidate::new("sipx-sip (8)", {
            use sipx_sip::headers::{CSeq, CallId, ContactValue, ContentLength, Expires, From, To, Via};
            let bytes = Bytes::from(bytes.clone());
            move || {
                let limits = sipx_sip::Limits::datagram();
                let message = sipx_sip::parse_datagram(black_box(&bytes).clone(), &limits).expect("SIP");
                let headers = message.headers();
                black_box(headers.typed::<Via>().expect("Via").expect("Via"));
                black_box(headers.typed::<From>().expect("From").expect("From"));
                black_box(headers.typed::<To>().expect("To").expect("To"));
                black_box(headers.typed::<CallId>().expect("Call-ID").expect("Call-ID"));
                black_box(headers.typed::<CSeq>().expect("CSeq").expect("CSeq"));
                black_box(headers.typed::<ContactValue>().expect("Contact").expect("Contact"));
                black_box(headers.typed::<Expires>().expect("Expires").expect("Expires"));
                black_box(headers.typed::<ContentLength>().expect("length").expect("length"));
            }
        }),
        Candidate::new("ezk-sip-types (9)", {
            use ezk_sip_types::Name;
            use ezk_sip_types::header::typed as t;
            let bytes = Bytes::from(bytes.clone());
            move || {
                let headers = ezk_parse(black_box(&bytes)).headers;
                black_box(headers.get_named::<t::Via>().expect("Via"));
                black_box(headers.get::<t::FromTo>(Name::FROM).expect("From"));
                black_box(headers.get::<t::FromTo>(Name::TO).expect("To"));
                black_box(headers.get_named::<t::CallID>().expect("Call-ID"));
                black_box(headers.get_named::<t::CSeq>().expect("CSeq"));
                black_box(headers.get_named::<t::Event>().expect("Event"));
                black_box(headers.get_named::<t::SubscriptionState>().expect("state"));
                black_box(headers.get_named::<t::Contact>().expect("Contact"));
                black_box(headers.get_named::<t::Expires>().expect("Expires"));
            }
        }),
        Candidate::new("rsip (6)", {
            use rsip::prelude::{HeadersExt, ToTypedHeader};
            let bytes = bytes.clone();
            move || {
                let message = rsip::SipMessage::try_from(black_box(&bytes[..])).expect("SIP");
                black_box(message.via_header().expect("Via").typed().expect("Via"));
                black_box(message.from_header().expect("From").typed().expect("From"));
                black_box(message.to_header().expect("To").typed().expect("To"));
                black_box(message.call_id_header().expect("Call-ID"));
                black_box(message.cseq_header().expect("CSeq").typed().expect("CSeq"));
                black_box(message.contact_header().expect("Contact").typed().expect("Contact"));
            }
        }),
        Candidate::new("rsipstack (6)", {
            use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
            let bytes = bytes.clone();
            move || {
                let message = rsipstack::sip::SipMessage::try_from(black_box(&bytes[..])).expect("SIP");
                black_box(message.via_header().expect("Via").typed().expect("Via"));
                black_box(message.from_header().expect("From").typed().expect("From"));
                black_box(message.to_header().expect("To").typed().expect("To"));
                black_box(message.call_id_header().expect("Call-ID"));
                black_box(message.cseq_header().expect("CSeq").typed().expect("CSeq"));
                black_box(message.contact_header().expect("Contact").typed().expect("Contact"));
            }
        }),
        // What it reads is typed at once.
        Candidate::new("rvoip-sip-core (all)", {
            move || {
                black_box(&rvoip_sip_core::parse_message(black_box(&bytes)).expect("SIP"));
            }
        }),
    ]
}

/// The NOTIFY written: by this library from values, field by field, with each
/// checked; by the others from a message that they parsed before, or from values
/// where the name says so.
pub fn writers(message: &[u8]) -> Vec<Candidate> {
    let bytes = message.to_vec();
    vec![
        Candidate::new("sip-events", {
            let (agent, body) = (messages::user_agent(), messages::pidf(messages::BODY));
            let [via, _, contact, to, from, call_id, _, event, state, _, kind] =
                messages::FIELDS.map(|(_, value)| value);
            let mut out = Vec::with_capacity(2_048);
            let expected = bytes.len();
            move || {
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
                assert_eq!(out.len(), expected);
                black_box(&out);
            }
        }),
        Candidate::new("sipx-sip, from values", {
            use sipx_sip::{HeaderName as Name, Method, Uri, build::RequestBuilder};
            let name = |name: &str| match name {
                "Via" => Name::Via,
                "Contact" => Name::Contact,
                "To" => Name::To,
                "From" => Name::From,
                "Call-ID" => Name::CallId,
                "Event" => Name::Event,
                "Subscription-State" => Name::SubscriptionState,
                "Expires" => Name::Expires,
                "Content-Type" => Name::ContentType,
                other => panic!("{other} is written by a method of its own"),
            };
            let uri = Uri::parse(Bytes::from_static(messages::TARGET.as_bytes())).expect("a URI");
            let fields: Vec<_> = messages::FIELDS
                .iter()
                .filter(|field| !matches!(field.0, "Max-Forwards" | "CSeq"))
                .map(|field| (name(field.0), Bytes::from_static(field.1.as_bytes())))
                .collect();
            let (agent, body) = (Bytes::from(messages::user_agent()), Bytes::from(messages::pidf(messages::BODY)));
            let expected = bytes.len();
            let mut out = Vec::with_capacity(2_048);
            move || {
                let mut request = RequestBuilder::new(Method::Notify, black_box(&uri).clone())
                    .max_forwards(70)
                    .cseq(8775, &Method::Notify)
                    .expect("a token");
                for (name, value) in &fields {
                    request = request.header(name.clone(), black_box(value).clone()).expect("no line break");
                }
                let request = request.header(Name::UserAgent, agent.clone()).expect("no line break");
                out.clear();
                request.body(body.clone()).build().write_to(&mut out);
                assert_eq!(out.len(), expected);
                black_box(&out);
            }
        }),
        Candidate::new("sipx-sip, copies the lines", {
            let limits = sipx_sip::Limits::datagram();
            let message = sipx_sip::parse_datagram(Bytes::from(bytes.clone()), &limits).expect("SIP");
            let mut out = Vec::with_capacity(2_048);
            move || {
                out.clear();
                black_box(&message).write_to(&mut out);
                black_box(&out);
            }
        }),
        Candidate::new("rsip", {
            let message = rsip::SipMessage::try_from(&bytes[..]).expect("SIP");
            move || {
                black_box(black_box(&message).to_string());
            }
        }),
        Candidate::new("rvoip-sip-core", {
            let message = rvoip_sip_core::parse_message(&bytes).expect("SIP");
            move || {
                black_box(black_box(&message).to_bytes());
            }
        }),
        Candidate::new("rsipstack", {
            let message = rsipstack::sip::SipMessage::try_from(&bytes[..]).expect("SIP");
            move || {
                black_box(black_box(&message).to_bytes());
            }
        }),
        Candidate::new("sip-core", {
            let text = String::from_utf8(bytes).expect("ASCII");
            let message = sip_core::SipMessage::parse(&text).expect("SIP");
            move || {
                black_box(black_box(&message).to_bytes());
            }
        }),
    ]
}
