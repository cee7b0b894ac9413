//! What makes a message sound as a whole.

use super::{CSeq, HeaderName, Message, Method, ParseError, ParseErrorKind, Uri, Via, read};

/// Headers that have one value in every message, and that are needed to route
/// or frame it (RFC 3261, section 7.3.1).
const SINGLE: [HeaderName<'static>; 5] =
    [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq, HeaderName::ContentLength];

/// Headers whose only value a request of this method acts upon. A doubled
/// header that is not needed does not sink a message.
const fn single_in_request(method: Method<'_>) -> &'static [HeaderName<'static>] {
    use HeaderName as H;
    match method {
        Method::Subscribe => &[H::MaxForwards, H::Event, H::Expires],
        Method::Notify => &[H::MaxForwards, H::Event, H::SubscriptionState, H::ContentType],
        Method::Publish => &[H::MaxForwards, H::Event, H::Expires, H::SipIfMatch, H::ContentType],
        Method::Refer => &[H::MaxForwards, H::ReferTo, H::ReferSub],
        _ => &[H::MaxForwards],
    }
}

/// See [`Message::defect`].
pub(super) fn defect(message: &Message<'_>) -> Option<ParseError> {
    message.index().defect.or_else(|| sound(message, None).err())
}

/// The same, for a message whose top Via, From, To, Call-ID and CSeq have
/// been read without an error; `cseq` is the latter.
pub(super) fn other_defect(message: &Message<'_>, cseq: &CSeq<'_>) -> Option<ParseError> {
    message.index().defect.or_else(|| sound(message, Some(cseq)).err())
}

fn sound(message: &Message<'_>, read: Option<&CSeq<'_>>) -> Result<(), ParseError> {
    let method = message.method();
    let more = method.map_or(&[][..], single_in_request);
    for name in SINGLE.iter().chain(more) {
        if message.field(*name, 1).is_some() {
            let at = message.offset_of(*name, 1);
            return Err(ParseError::new(ParseErrorKind::DuplicateHeader, at));
        }
    }
    let in_value = |name| move |error: ParseError| error.shifted(message.offset_of(name, 0));
    if let Some(uri) = message.uri() {
        Uri::parse(uri).map_err(|error| error.shifted(message.uri_offset()))?;
    }
    if read.is_none() {
        read::top_via(message).map_err(in_value(HeaderName::Via))?;
    }
    if method.is_some() {
        // All of them are copied into the response.
        let bad = ParseError::new(ParseErrorKind::BadVia, message.offset_of(HeaderName::Via, 0));
        for via in read::elements(message, HeaderName::Via).skip(1) {
            Via::parse(via).map_err(|_| bad)?;
        }
    }
    let cseq = match read {
        Some(cseq) => *cseq,
        None => {
            read::from(message).map_err(in_value(HeaderName::From))?;
            read::to(message).map_err(in_value(HeaderName::To))?;
            read::call_id(message).map_err(in_value(HeaderName::CallId))?;
            read::cseq(message).map_err(in_value(HeaderName::CSeq))?
        }
    };
    let Some(method) = method else { return Ok(()) };
    if cseq.method != method {
        let at = message.offset_of(HeaderName::CSeq, 0);
        return Err(ParseError::new(ParseErrorKind::CSeqMethodMismatch, at));
    }
    let max_forwards = read::max_forwards(message).map_err(in_value(HeaderName::MaxForwards))?;
    let missing = ParseError::new(ParseErrorKind::MissingMaxForwards, message.index().head.end);
    max_forwards.map(|_| ()).ok_or(missing)
}
