//! The codec: messages, streams, header values, and what is written.

use sip_events::Instant;
use sip_events::wire::{
    AcceptRange, CSeq, ContactValue, Event, Frame, Framer, FramerLimits, FramingLost, HeadWriter, HeaderName, Host,
    HostPort, MediaType, Message, MessageBuf, MessageView, NameAddr, ParseError, ParseErrorKind, RetryAfter, StartLine,
    SubscriptionState, Uri, UriBuf, Via, lex, push_u32, read, resource_key,
};
use std::net::SocketAddr;

/// Whether `part` is a piece of the memory of `whole`.
fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.start >= whole.start && part.end <= whole.end
}

/// Reads every typed header of `view`; what they find does not matter.
fn read_all<V: MessageView + ?Sized>(view: &V) {
    let _ = (read::from(view), read::to(view), read::call_id(view), read::cseq(view));
    let _ = (read::top_via(view), read::first_contact(view), read::only_contact(view));
    let _ = (read::event(view), read::subscription_state(view), read::content_type(view));
    let _ = (read::expires(view), read::min_expires(view), read::max_forwards(view));
    let _ = read::retry_after(view);
    let lists = [
        read::vias(view).count(),
        read::contacts(view).count(),
        read::routes(view).count(),
        read::record_routes(view).count(),
        read::accept(view).count(),
        read::supported(view).count(),
        read::require(view).count(),
        read::unsupported(view).count(),
        read::allow(view).count(),
        read::allow_events(view).count(),
    ];
    assert!(lists.iter().all(|count| *count <= usize::from(u16::MAX) * 4));
}

/// One datagram: whatever it is, everything that is said about it lies within
/// it and agrees.
pub(crate) fn message(data: &[u8]) {
    let scanned = Message::scan(data);
    let parsed = Message::parse(data);
    let owned = data.len().is_multiple_of(4).then(|| MessageBuf::scan(data.to_vec()));
    assert!(owned.as_ref().is_none_or(|owned| owned.is_ok() == scanned.is_ok()));
    let message = match scanned {
        Ok(message) => message,
        Err(error) => {
            assert_eq!(parsed.err(), Some(error));
            assert!(usize::try_from(error.offset).is_ok_and(|offset| offset <= data.len()));
            return;
        }
    };
    assert_eq!(parsed.err(), message.defect());
    assert!(message.defect().is_none_or(|defect| {
        !defect.kind.as_str().is_empty() && usize::try_from(defect.offset).is_ok_and(|offset| offset <= data.len())
    }));
    for piece in [message.as_bytes(), message.head(), message.body()] {
        assert!(is_within(piece, data));
    }
    assert!(message.as_bytes().starts_with(message.head()));
    assert!(message.as_bytes().ends_with(message.body()));
    assert_eq!(message.method().is_some(), message.status().is_none());
    assert_eq!(message.method().is_some(), message.request_uri().is_some());

    // Every line is found by its name, at its place among its namesakes.
    let fields: Vec<_> = message.fields().collect();
    for (at, field) in fields.iter().enumerate() {
        assert!(is_within(field.value, data));
        // Looking up each of many is quadratic; some will do.
        if at > 24 && at % 16 != 0 {
            continue;
        }
        let nth = fields.iter().take(at).filter(|other| other.name == field.name).count();
        let found = message.field(field.name, nth).expect("indexed");
        assert_eq!(found.as_ptr_range(), field.value.as_ptr_range());
    }
    for name in [HeaderName::Via, HeaderName::Event, HeaderName::Other(b"X")] {
        let lines = fields.iter().filter(|field| field.name == name).count();
        assert_eq!(message.field(name, lines), None);
    }

    // The message alone reads the same as with what stood round it.
    let again = Message::scan(message.as_bytes()).expect("still SIP");
    assert_eq!(again.as_bytes(), message.as_bytes());
    assert_eq!(again.defect().map(|d| d.kind), message.defect().map(|d| d.kind));

    if let Some(owned) = owned {
        let owned = owned.expect("as borrowed");
        assert_eq!(owned.as_bytes(), message.as_bytes());
        assert_eq!(owned.as_message().fields().count(), fields.len());
    }
    read_all(&message);
    if data.len() % 16 == 7 {
        assert!(!format!("{message:?}").is_empty());
    }
}

const FRAMER_LIMITS: FramerLimits = FramerLimits { max_head: 1024, max_body: 512 };

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// Where in the stream's octets, all messages joined, it ends.
    Message(usize),
    Ping,
    Pong,
    Lost(FramingLost, Vec<u8>),
}

/// What a stream comes to, however it is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Frames {
    seen: Vec<Seen>,
    messages: Vec<u8>,
}

impl Frames {
    fn of<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut framer = Framer::new(FRAMER_LIMITS);
        let mut out = Self::default();
        for chunk in chunks {
            framer.push(Instant::ZERO, chunk);
            loop {
                match framer.next_message() {
                    Ok(Some(Frame::Message(message))) => {
                        out.messages.extend_from_slice(message);
                        out.seen.push(Seen::Message(out.messages.len()));
                    }
                    Ok(Some(Frame::Ping)) => out.seen.push(Seen::Ping),
                    Ok(Some(Frame::Pong)) => out.seen.push(Seen::Pong),
                    Ok(Some(_)) => unreachable!("no other frames"),
                    Ok(None) => break,
                    Err(lost) => {
                        out.seen.push(Seen::Lost(lost, framer.lost_head().to_vec()));
                        return out;
                    }
                }
            }
            assert!(framer.buffered() < FRAMER_LIMITS.max_head + FRAMER_LIMITS.max_body);
        }
        out
    }
}

/// One stream: the frames do not depend on how it was cut, and the message
/// parser agrees with the framer about where a message ends.
pub(crate) fn framer(data: &[u8]) {
    let whole = Frames::of(std::iter::once(data));
    if data.len() <= 256 {
        assert_eq!(Frames::of(data.chunks(1)), whole);
    }
    // Cuts that the content decides, so that a fuzzer can steer them.
    let steered = data.split_inclusive(|octet| matches!(octet, b'\r' | b'0'..=b'9'));
    assert_eq!(Frames::of(steered), whole);
    let sum = data.iter().fold(data.len(), |sum, octet| sum.wrapping_mul(31).wrapping_add(usize::from(*octet)));
    let (a, b) = data.split_at(sum % (data.len() + 1));
    assert_eq!(Frames::of([a, b].into_iter()), whole);

    let mut start = 0;
    for frame in &whole.seen {
        match frame {
            Seen::Message(end) => {
                let bytes = &whole.messages[start..*end];
                start = *end;
                // A status line without status is all that scan may refuse.
                if let Ok(message) = Message::scan(bytes) {
                    assert_eq!(message.as_bytes(), bytes);
                }
            }
            Seen::Lost(lost, head) => {
                let _ = (lost.status_hint(), Message::scan(head).map(|message| message.defect()));
            }
            Seen::Ping | Seen::Pong => {}
        }
    }
}

/// The same for every place where a stream can be cut in two.
pub(crate) fn framer_all_cuts(data: &[u8]) {
    let whole = Frames::of(std::iter::once(data));
    for at in 0..=data.len() {
        let (a, b) = data.split_at(at);
        assert_eq!(Frames::of([a, b].into_iter()), whole, "cut at {at}");
    }
}

/// A value as it reads after unfolding and trimming.
fn plain(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value.iter().copied().peekable();
    while let Some(octet) = rest.next() {
        if !matches!(octet, b'\r' | b'\n' | 0) {
            out.push(octet);
            continue;
        }
        out.push(b' ');
        while rest.next_if(|octet| matches!(octet, b'\r' | b'\n' | 0 | b' ' | b'\t')).is_some() {}
    }
    lex::trim(&out).to_vec()
}

/// A sound message, written anew and read back, is the same message.
pub(crate) fn roundtrip(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    for compact in [false, true] {
        let mut out = Vec::new();
        let mut head = if compact { HeadWriter::compact(&mut out) } else { HeadWriter::new(&mut out) };
        match message.start_line() {
            StartLine::Request { method, uri } => head.request_line(method.as_bytes(), uri),
            StartLine::Response { status, reason } => head.status_line_bytes(status, reason),
        }
        for field in message.fields() {
            head.field(field.name, field.value);
        }
        head.finish();
        out.extend_from_slice(message.body());

        let again = Message::parse(&out).expect("written messages are sound");
        match (message.start_line(), again.start_line()) {
            (StartLine::Response { status, reason }, StartLine::Response { status: status2, reason: reason2 }) => {
                assert_eq!(status, status2);
                assert_eq!(plain(reason), plain(reason2));
            }
            (a, b) => assert_eq!(a, b),
        }
        assert_eq!(message.body(), again.body());
        assert_eq!(message.fields().len(), again.fields().len());
        for (a, b) in message.fields().zip(again.fields()) {
            assert_eq!(a.name, b.name);
            assert_eq!(plain(a.value), b.value);
        }
        let parts = again.fields().map(|field| (field.name, field.value));
        let rebuilt = MessageBuf::from_parts(again.start_line(), parts, again.body());
        match rebuilt {
            Ok(rebuilt) => assert_eq!(rebuilt.body_bytes(), again.body()),
            // The Content-Length that it adds may be one field too many.
            Err(error) => {
                assert_eq!(error.kind, ParseErrorKind::TooManyHeaders);
                assert!(again.field(HeaderName::ContentLength, 0).is_none());
            }
        }
    }
}

/// A message whose every header has one and the same value.
struct Everywhere<'a>(&'a [u8]);

impl MessageView for Everywhere<'_> {
    fn request_uri(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn field(&self, _: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        (nth == 0).then_some(self.0)
    }

    fn body(&self) -> &[u8] {
        self.0
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    assert!(!out.iter().any(|octet| matches!(octet, b'\r' | b'\n')), "no line breaks are written");
    out
}

fn sound<T>(result: Result<T, ParseError>, bytes: &[u8]) -> T {
    result.unwrap_or_else(|error| panic!("{error} in {}", bytes.escape_ascii()))
}

/// One header value, given to every value parser: what one accepts it can
/// write, and reads back as the same.
pub(crate) fn headers(data: &[u8]) {
    read_all(&Everywhere(data));
    uris(data);
    values(data);

    let elements: Vec<_> = lex::split_list(data).collect();
    assert!(elements.iter().all(|element| is_within(element, data)));
    assert_eq!(elements.is_empty(), lex::trim(data).is_empty());
    let quoted = written(|out| lex::push_quoted(out, data));
    let printable: Vec<u8> = data.iter().map(|octet| if octet.is_ascii_control() { b' ' } else { *octet }).collect();
    assert_eq!(*lex::unquote(&quoted), printable);
}

fn uris(data: &[u8]) {
    if let Ok(uri) = Uri::parse(data) {
        assert_eq!(uri.as_bytes(), data);
        assert!(uri.equivalent(&uri));
        let owned = sound(UriBuf::parse(data), data);
        assert_eq!(owned.as_bytes(), data);
        assert!(owned.as_uri().equivalent(&uri));
        let request_uri = written(|out| uri.write_request_uri(out));
        sound(Uri::parse(&request_uri), &request_uri);
        let target = written(|out| uri.write_dialog_target(out));
        sound(Uri::parse(&target), &target);
        let (mut key, mut key_of_owned) = (Vec::new(), Vec::new());
        resource_key(&uri, &mut key);
        resource_key(&owned.as_uri(), &mut key_of_owned);
        assert_eq!(key, key_of_owned);
        let _ = (uri.transport(), uri.is_loose_router(), uri.has_gr());
        let _ = (uri.params().count(), uri.headers().count());
    }
    if let Ok(host) = Host::parse(data) {
        let text = written(|out| host.write(out));
        assert_eq!(sound(Host::parse(&text), &text), host);
    }
    if let Ok(host_port) = HostPort::parse(data) {
        let text = written(|out| host_port.write(out));
        assert_eq!(sound(HostPort::parse(&text), &text), host_port);
    }
    if let Ok(address) = NameAddr::parse(data) {
        assert!(is_within(address.uri(), data));
        assert!(address.tag().is_none_or(|tag| is_within(tag, data)));
        assert!(address.params().all(|param| param.is_ok()), "checked while parsing");
        let _ = (address.q(), address.expires(), address.display().map(lex::unquote));
        assert!(ContactValue::parse(data).is_ok());
    }
    if let Ok(via) = Via::parse(data) {
        for source in ["192.0.2.9:5099", "[2001:db8::9]:5099"] {
            let source: SocketAddr = source.parse().expect("address");
            let text = written(|out| via.write_received(out, source));
            let stamped = sound(Via::parse(&text), &text);
            assert_eq!(stamped.branch().map(plain), via.branch().map(plain));
            assert_eq!((stamped.host(), stamped.port()), (via.host(), via.port()));
            assert_eq!(stamped.transport(), via.transport());
            assert_eq!(stamped.rport().is_some(), via.rport().is_some());
            assert!(stamped.received() == Some(source.ip()) || via.host().ip() == Some(source.ip()));
            // Stamping twice changes nothing.
            assert_eq!(written(|out| stamped.write_received(out, source)), text);
        }
    }
}

fn values(data: &[u8]) {
    if let Ok(event) = Event::parse(data) {
        let text = written(|out| event.write(out));
        let again = sound(Event::parse(&text), &text);
        assert_eq!(again.event_type(), event.event_type());
        assert_eq!(again.id().is_some(), event.id().is_some());
        assert!(event.matches(&event));
        assert!(!event.package().is_empty());
        assert!(event.templates().all(|template| !template.is_empty()));
    }
    if let Ok(state) = SubscriptionState::parse(data) {
        let text = written(|out| state.write(out));
        let again = sound(SubscriptionState::parse(&text), &text);
        assert_eq!((again.expires, again.retry_after), (state.expires, state.retry_after));
        assert_eq!(again.reason.is_some(), state.reason.is_some());
        assert_eq!(written(|out| again.write(out)), text);
    }
    if let Ok(cseq) = CSeq::parse(data) {
        let text = written(|out| {
            push_u32(out, cseq.number);
            out.push(b' ');
            out.extend_from_slice(cseq.method.as_bytes());
        });
        assert_eq!(sound(CSeq::parse(&text), &text), cseq);
    }
    if let Ok(media) = MediaType::parse(data) {
        assert!(!media.main_type().is_empty() && !media.subtype().is_empty());
        assert!(media.params().all(|param| param.is_ok()));
    }
    if let Ok(range) = AcceptRange::parse(data) {
        assert!(range.q() <= 1000);
        let _ = (range.specificity(), range.media().matches(&range));
    }
    let _ = RetryAfter::parse(data);
    let _ = (lex::parse_u32(data), lex::delta_seconds(data));
}
