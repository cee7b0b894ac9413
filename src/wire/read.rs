//! Typed access to the headers of any message behind a [`MessageView`].
//!
//! Functions for headers that every message must have fail if the header is
//! absent; the others give `None`. A second line of a header that has one
//! value is an error (3261-7.3.1-11) wherever the result is a `Result`.

use super::error::{ParseError, ParseErrorKind};
use super::lex::{self, ListElements};
use super::{
    AcceptRange, CSeq, ContactValue, Event, HeaderName, MediaType, MessageView, NameAddr, RetryAfter,
    SubscriptionState, Via, parse_call_id, parse_max_forwards,
};

/// The elements of a comma list that may span several lines, in order.
///
/// An element may be empty where the list has a stray comma; a line without
/// a value has no elements.
#[derive(Debug)]
pub struct Elements<'v, V: ?Sized> {
    view: &'v V,
    name: HeaderName<'v>,
    next_line: usize,
    line: ListElements<'v>,
}

impl<'v, V: MessageView + ?Sized> Iterator for Elements<'v, V> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        loop {
            if let Some(element) = self.line.next() {
                return Some(element);
            }
            self.line = lex::split_list(self.view.field(self.name, self.next_line)?);
            self.next_line = self.next_line.saturating_add(1);
        }
    }
}

/// The elements of the list header `name` across all its lines.
pub fn elements<'v, V: MessageView + ?Sized>(view: &'v V, name: HeaderName<'v>) -> Elements<'v, V> {
    Elements { view, name, next_line: 0, line: lex::split_list(b"") }
}

/// The only line of the header `name`.
///
/// # Errors
/// [`ParseErrorKind::DuplicateHeader`] if there is a second one.
#[inline]
pub fn single<'v, V: MessageView + ?Sized>(view: &'v V, name: HeaderName<'_>) -> Result<Option<&'v [u8]>, ParseError> {
    let first = view.field(name, 0);
    if first.is_some() && view.field(name, 1).is_some() {
        return Err(ParseError::new(ParseErrorKind::DuplicateHeader, 0));
    }
    Ok(first)
}

#[inline]
fn needed<'v, V: MessageView + ?Sized>(
    view: &'v V,
    name: HeaderName<'_>,
    missing: ParseErrorKind,
) -> Result<&'v [u8], ParseError> {
    single(view, name)?.ok_or(ParseError::new(missing, 0))
}

/// Replaces the kind of a syntax error by the one of its header; offsets stay.
fn in_header(kind: ParseErrorKind) -> impl Fn(ParseError) -> ParseError {
    move |error| match error.kind {
        ParseErrorKind::DuplicateParameter | ParseErrorKind::TooManyParameters | ParseErrorKind::DuplicateHeader => {
            error
        }
        _ => ParseError { kind, ..error },
    }
}

/// From.
///
/// # Errors
/// [`ParseErrorKind::MissingFrom`], [`ParseErrorKind::BadFrom`] and the kinds
/// for doubled lines and parameters.
pub fn from<V: MessageView + ?Sized>(view: &V) -> Result<NameAddr<'_>, ParseError> {
    let value = needed(view, HeaderName::From, ParseErrorKind::MissingFrom)?;
    NameAddr::parse(value).map_err(in_header(ParseErrorKind::BadFrom))
}

/// To.
///
/// # Errors
/// [`ParseErrorKind::MissingTo`], [`ParseErrorKind::BadTo`] and the kinds for
/// doubled lines and parameters.
pub fn to<V: MessageView + ?Sized>(view: &V) -> Result<NameAddr<'_>, ParseError> {
    let value = needed(view, HeaderName::To, ParseErrorKind::MissingTo)?;
    NameAddr::parse(value).map_err(in_header(ParseErrorKind::BadTo))
}

/// Call-ID.
///
/// # Errors
/// [`ParseErrorKind::MissingCallId`], [`ParseErrorKind::BadCallId`],
/// [`ParseErrorKind::DuplicateHeader`].
pub fn call_id<V: MessageView + ?Sized>(view: &V) -> Result<&[u8], ParseError> {
    parse_call_id(needed(view, HeaderName::CallId, ParseErrorKind::MissingCallId)?)
}

/// CSeq.
///
/// # Errors
/// [`ParseErrorKind::MissingCSeq`], [`ParseErrorKind::BadCSeq`],
/// [`ParseErrorKind::DuplicateHeader`].
pub fn cseq<V: MessageView + ?Sized>(view: &V) -> Result<CSeq<'_>, ParseError> {
    CSeq::parse(needed(view, HeaderName::CSeq, ParseErrorKind::MissingCSeq)?)
}

/// The topmost Via: the first value of the first line (3261-20-9).
///
/// # Errors
/// [`ParseErrorKind::MissingVia`], [`ParseErrorKind::BadVia`],
/// [`ParseErrorKind::DuplicateParameter`].
pub fn top_via<V: MessageView + ?Sized>(view: &V) -> Result<Via<'_>, ParseError> {
    let value = view.field(HeaderName::Via, 0).ok_or(ParseError::new(ParseErrorKind::MissingVia, 0))?;
    // An empty first line is a broken Via, not the absence of one.
    let first = lex::split_list(value).next().unwrap_or_default();
    Via::parse(first).map_err(in_header(ParseErrorKind::BadVia))
}

/// Every Via, the topmost first.
pub fn vias<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = Result<Via<'_>, ParseError>> {
    elements(view, HeaderName::Via).map(|value| Via::parse(value).map_err(in_header(ParseErrorKind::BadVia)))
}

/// Every Contact, in order.
pub fn contacts<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = Result<ContactValue<'_>, ParseError>> {
    elements(view, HeaderName::Contact)
        .map(|value| ContactValue::parse(value).map_err(in_header(ParseErrorKind::BadContact)))
}

/// The first Contact; `None` if there is none.
///
/// # Errors
/// [`ParseErrorKind::BadContact`], also for `*`.
pub fn first_contact<V: MessageView + ?Sized>(view: &V) -> Result<Option<NameAddr<'_>>, ParseError> {
    match contacts(view).next().transpose()? {
        None => Ok(None),
        Some(ContactValue::Address(address)) => Ok(Some(address)),
        Some(ContactValue::Star) => Err(ParseError::new(ParseErrorKind::BadContact, 0)),
    }
}

/// The only Contact, as a request that makes or refreshes a dialog must have
/// it; `None` if there is none.
///
/// # Errors
/// [`ParseErrorKind::BadContact`], also for `*` and for two addresses.
pub fn only_contact<V: MessageView + ?Sized>(view: &V) -> Result<Option<NameAddr<'_>>, ParseError> {
    if contacts(view).nth(1).is_some() {
        return Err(ParseError::new(ParseErrorKind::BadContact, 0));
    }
    first_contact(view)
}

/// Every Route, the next hop first. Only the form in brackets is accepted.
pub fn routes<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> {
    route_elements(view, HeaderName::Route)
}

/// Every Record-Route, the topmost first. Only the form in brackets is
/// accepted.
pub fn record_routes<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> {
    route_elements(view, HeaderName::RecordRoute)
}

fn route_elements<'v, V: MessageView + ?Sized>(
    view: &'v V,
    name: HeaderName<'v>,
) -> impl Iterator<Item = Result<NameAddr<'v>, ParseError>> {
    elements(view, name).map(|value| NameAddr::parse_bracketed(value).map_err(in_header(ParseErrorKind::BadRoute)))
}

/// Event; `None` if it is absent.
///
/// # Errors
/// [`ParseErrorKind::BadEvent`], also for two values in one line, and the
/// kinds for doubled lines and parameters.
pub fn event<V: MessageView + ?Sized>(view: &V) -> Result<Option<Event<'_>>, ParseError> {
    single(view, HeaderName::Event)?
        .map(|value| Event::parse(value).map_err(in_header(ParseErrorKind::BadEvent)))
        .transpose()
}

/// Subscription-State; `None` if it is absent.
///
/// # Errors
/// [`ParseErrorKind::BadSubscriptionState`] and the kinds for doubled lines
/// and parameters.
pub fn subscription_state<V: MessageView + ?Sized>(view: &V) -> Result<Option<SubscriptionState<'_>>, ParseError> {
    single(view, HeaderName::SubscriptionState)?
        .map(|value| SubscriptionState::parse(value).map_err(in_header(ParseErrorKind::BadSubscriptionState)))
        .transpose()
}

/// Expires in seconds, clamped to 2^32-1 (INT-12); `None` if it is absent or
/// malformed.
pub fn expires<V: MessageView + ?Sized>(view: &V) -> Option<u32> {
    lex::delta_seconds(lex::trim(view.field(HeaderName::Expires, 0)?))
}

/// Min-Expires in seconds, clamped to 2^32-1; `None` if it is absent or
/// malformed.
pub fn min_expires<V: MessageView + ?Sized>(view: &V) -> Option<u32> {
    lex::delta_seconds(lex::trim(view.field(HeaderName::MinExpires, 0)?))
}

/// Max-Forwards; `None` if it is absent.
///
/// # Errors
/// [`ParseErrorKind::BadMaxForwards`], [`ParseErrorKind::DuplicateHeader`].
pub fn max_forwards<V: MessageView + ?Sized>(view: &V) -> Result<Option<u8>, ParseError> {
    single(view, HeaderName::MaxForwards)?.map(parse_max_forwards).transpose()
}

/// Retry-After; `None` if it is absent or malformed.
pub fn retry_after<V: MessageView + ?Sized>(view: &V) -> Option<RetryAfter> {
    RetryAfter::parse(view.field(HeaderName::RetryAfter, 0)?).ok()
}

/// Every element of Accept, in order. No element comes both without the
/// header (the default of the package holds) and with an empty one (nothing
/// is acceptable): [`MessageView::field`] tells them apart.
pub fn accept<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = Result<AcceptRange<'_>, ParseError>> {
    elements(view, HeaderName::Accept).map(AcceptRange::parse)
}

/// Content-Type; `None` if it is absent.
///
/// # Errors
/// [`ParseErrorKind::BadMediaType`] and the kinds for doubled lines and
/// parameters.
pub fn content_type<V: MessageView + ?Sized>(view: &V) -> Result<Option<MediaType<'_>>, ParseError> {
    single(view, HeaderName::ContentType)?
        .map(|value| MediaType::parse(value).map_err(in_header(ParseErrorKind::BadMediaType)))
        .transpose()
}

/// Whether the body is not encoded: Content-Encoding is absent or `identity`
/// (RFC 3261 section 20.12).
pub fn is_identity_encoded<V: MessageView + ?Sized>(view: &V) -> bool {
    tokens(view, HeaderName::ContentEncoding).all(|coding| coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether the body may be passed over: Content-Disposition says
/// `handling=optional` (RFC 3261 section 20.11).
pub fn is_optional_body<V: MessageView + ?Sized>(view: &V) -> bool {
    let Some(value) = view.field(HeaderName::ContentDisposition, 0) else { return false };
    let parameters = value.iter().position(|b| *b == b';').and_then(|at| value.get(at..)).unwrap_or_default();
    lex::Params::new(parameters)
        .filter_map(Result::ok)
        .any(|p| p.is(b"handling") && p.value.is_some_and(|v| v.eq_ignore_ascii_case(b"optional")))
}

/// The elements of a list of tokens across lines, empty ones passed over.
///
/// An element that is no token comes as it stands, so that a broken Require
/// is refused like an unknown one.
pub fn tokens<'v, V: MessageView + ?Sized>(view: &'v V, name: HeaderName<'v>) -> impl Iterator<Item = &'v [u8]> {
    elements(view, name).filter(|element| !element.is_empty())
}

/// The option tags of Supported.
pub fn supported<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = &[u8]> {
    tokens(view, HeaderName::Supported)
}

/// The option tags of Require.
pub fn require<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = &[u8]> {
    tokens(view, HeaderName::Require)
}

/// The option tags of Unsupported.
pub fn unsupported<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = &[u8]> {
    tokens(view, HeaderName::Unsupported)
}

/// The methods of Allow.
pub fn allow<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = &[u8]> {
    tokens(view, HeaderName::Allow)
}

/// The event types of Allow-Events.
pub fn allow_events<V: MessageView + ?Sized>(view: &V) -> impl Iterator<Item = &[u8]> {
    tokens(view, HeaderName::AllowEvents)
}

#[cfg(test)]
mod tests;
