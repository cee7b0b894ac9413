//! What makes a message sound as a whole.

use super::{HeaderName, Message, Method, ParseError, ParseErrorKind};

/// Headers that have one value in every message, and that are needed to route
/// or frame it (RFC 3261, section 7.3.1).
const SINGLE: [HeaderName<'static>; 5] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
];

/// Headers whose only value a request of this method acts upon. A doubled
/// header that is not needed does not sink a message.
const fn single_in_request(method: Method<'_>) -> &'static [HeaderName<'static>] {
    use HeaderName as H;
    match method {
        Method::Subscribe => &[H::MaxForwards, H::Event, H::Expires],
        Method::Notify => &[
            H::MaxForwards,
            H::Event,
            H::SubscriptionState,
            H::ContentType,
        ],
        Method::Publish => &[
            H::MaxForwards,
            H::Event,
            H::Expires,
            H::SipIfMatch,
            H::ContentType,
        ],
        Method::Refer => &[H::MaxForwards, H::ReferTo, H::ReferSub],
        _ => &[H::MaxForwards],
    }
}

/// See [`Message::defect`].
pub(super) fn defect(message: &Message<'_>) -> Option<ParseError> {
    message.index().defect.or_else(|| sound(message).err())
}

fn sound(message: &Message<'_>) -> Result<(), ParseError> {
    let method = message.method();
    let more = method.map_or(&[][..], single_in_request);
    for name in SINGLE.iter().chain(more) {
        if message.field(*name, 1).is_some() {
            let at = message.offset_of(*name, 1);
            return Err(ParseError::new(ParseErrorKind::DuplicateHeader, at));
        }
    }
    needed(message, HeaderName::Via, ParseErrorKind::MissingVia)?;
    needed(message, HeaderName::From, ParseErrorKind::MissingFrom)?;
    needed(message, HeaderName::To, ParseErrorKind::MissingTo)?;
    needed(message, HeaderName::CallId, ParseErrorKind::MissingCallId)?;
    needed(message, HeaderName::CSeq, ParseErrorKind::MissingCSeq)?;
    if method.is_some() {
        needed(
            message,
            HeaderName::MaxForwards,
            ParseErrorKind::MissingMaxForwards,
        )?;
    }
    Ok(())
}

fn needed(
    message: &Message<'_>,
    name: HeaderName<'_>,
    missing: ParseErrorKind,
) -> Result<(), ParseError> {
    let error = ParseError::new(missing, message.index().head.end);
    message.field(name, 0).map(|_| ()).ok_or(error)
}
