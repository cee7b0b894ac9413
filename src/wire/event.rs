//! Event and Subscription-State (RFC 6665 section 8.4).

use alloc::vec::Vec;

use super::error::{ParseError, ParseErrorKind};
use super::lex::{self, Cursor, Params, delta_seconds};
use super::push::push_u32;
use super::scan;

/// The value of an Event header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    raw: &'a [u8],
    event_type: &'a [u8],
    params: &'a [u8],
    id: Option<&'a [u8]>,
}

impl<'a> Event<'a> {
    /// Reads one whole value: exactly one event type (6665-8.2.1-4) and its
    /// parameters. An `id` must have a token as its value.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadEvent`], [`ParseErrorKind::BadParameter`],
    /// [`ParseErrorKind::DuplicateParameter`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let raw = lex::trim(value);
        let mut cursor = Cursor::new(raw);
        let event_type = cursor.take_class(lex::TOKEN);
        if !has_labels(event_type) {
            return Err(cursor.error(ParseErrorKind::BadEvent));
        }
        let base = cursor.position();
        let params = cursor.rest();
        cursor.skip_lws();
        if !matches!(cursor.peek(), None | Some(b';')) {
            return Err(cursor.error(ParseErrorKind::BadEvent));
        }
        let mut id = None;
        lex::scan_params(Params::new(params), |param| {
            if param.is(b"id") {
                match param.value {
                    Some(value) if lex::is_token(value) => id = Some(value),
                    _ => return Err(ParseErrorKind::BadEvent),
                }
            }
            Ok(())
        })
        .map_err(|error| error.shifted(base))?;
        Ok(Self { raw, event_type, params, id })
    }

    /// The whole value.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The event type: the package and its templates, such as
    /// `presence.winfo`. Case-sensitive.
    pub const fn event_type(&self) -> &'a [u8] {
        self.event_type
    }

    /// The package alone, such as `presence` of `presence.winfo`.
    pub fn package(&self) -> &'a [u8] {
        self.labels().next().unwrap_or_default()
    }

    /// The template packages in order, such as `winfo` of `presence.winfo`.
    pub fn templates(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.labels().skip(1)
    }

    fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.event_type.split(|&byte| byte == b'.')
    }

    /// The `id` parameter, a token. Case-sensitive.
    pub const fn id(&self) -> Option<&'a [u8]> {
        self.id
    }

    /// All parameters in order, `id` among them.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The value of a parameter: `None` if it is absent, `Some(None)` if it has
    /// no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        lex::find_param(self.params, name)
    }

    /// Whether a NOTIFY and a SUBSCRIBE with these values belong together:
    /// event type and `id` are the same byte by byte, and both or neither have
    /// an `id` (6665-8.2.1-1).
    pub fn matches(&self, other: &Event<'_>) -> bool {
        self.event_type == other.event_type && self.id == other.id
    }

    /// Writes the value with every parameter as it came; a fold becomes a
    /// space.
    pub fn write(&self, out: &mut Vec<u8>) {
        lex::push_unfolded(out, self.raw);
    }
}

/// Whether `text` is an event type: tokens without dots, joined by dots.
pub fn is_event_type(text: &[u8]) -> bool {
    lex::is_token(text) && has_labels(text)
}

/// Whether something stands before, between and behind the dots.
fn has_labels(text: &[u8]) -> bool {
    if scan::find_octet(text, b'.').is_none() {
        return !text.is_empty();
    }
    let mut before = b'.';
    for byte in text {
        if before == b'.' && *byte == b'.' {
            return false;
        }
        before = *byte;
    }
    before != b'.'
}

/// The state of a subscription as Subscription-State names it. Compared
/// without regard to case.
#[derive(Clone, Copy, Debug)]
pub enum Substate<'a> {
    /// Accepted and authorised.
    Active,
    /// Received; policy has not decided yet.
    Pending,
    /// Over.
    Terminated,
    /// A token of an extension, as it was spelt.
    Other(&'a [u8]),
}

impl<'a> Substate<'a> {
    /// Reads a substate in any case.
    pub fn from_bytes(text: &'a [u8]) -> Self {
        match text {
            b"active" => return Self::Active,
            b"pending" => return Self::Pending,
            b"terminated" => return Self::Terminated,
            _ => {}
        }
        [Self::Active, Self::Pending, Self::Terminated]
            .into_iter()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(text))
            .unwrap_or(Self::Other(text))
    }

    /// The text, lower case for the known ones.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Active => b"active",
            Self::Pending => b"pending",
            Self::Terminated => b"terminated",
            Self::Other(text) => text,
        }
    }
}

impl PartialEq for Substate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().eq_ignore_ascii_case(other.as_bytes())
    }
}

impl Eq for Substate<'_> {}

/// Why a subscription ended, or is in its state (RFC 6665 section 4.1.3 and
/// the IANA registry). Compared without regard to case.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Reason<'a> {
    /// Subscribe again at once.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Policy ended it: do not subscribe again.
    Rejected,
    /// Not refreshed in time.
    Timeout,
    /// Authorisation did not come in time; subscribe again later.
    Giveup,
    /// The resource is no more.
    NoResource,
    /// The state will never change.
    Invariant,
    /// The filter was refused (RFC 4660).
    BadFilter,
    /// A token of an extension, as it was spelt.
    Other(&'a [u8]),
}

impl<'a> Reason<'a> {
    const KNOWN: [Self; 8] = [
        Self::Deactivated,
        Self::Probation,
        Self::Rejected,
        Self::Timeout,
        Self::Giveup,
        Self::NoResource,
        Self::Invariant,
        Self::BadFilter,
    ];

    /// Reads a reason in any case.
    pub fn from_bytes(text: &'a [u8]) -> Self {
        Self::KNOWN.into_iter().find(|known| known.as_bytes().eq_ignore_ascii_case(text)).unwrap_or(Self::Other(text))
    }

    /// The text, lower case for the known ones.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Deactivated => b"deactivated",
            Self::Probation => b"probation",
            Self::Rejected => b"rejected",
            Self::Timeout => b"timeout",
            Self::Giveup => b"giveup",
            Self::NoResource => b"noresource",
            Self::Invariant => b"invariant",
            Self::BadFilter => b"badfilter",
            Self::Other(text) => text,
        }
    }
}

impl PartialEq for Reason<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().eq_ignore_ascii_case(other.as_bytes())
    }
}

impl Eq for Reason<'_> {}

/// The value of a Subscription-State header. Parameters of extensions are
/// not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// The state.
    pub substate: Substate<'a>,
    /// Why.
    pub reason: Option<Reason<'a>>,
    /// Seconds until the subscription ends, clamped to 2^32-1 (INT-12).
    pub expires: Option<u32>,
    /// Seconds to wait before subscribing again, clamped likewise.
    pub retry_after: Option<u32>,
}

impl<'a> SubscriptionState<'a> {
    /// A value with a state alone.
    pub const fn new(substate: Substate<'a>) -> Self {
        Self { substate, reason: None, expires: None, retry_after: None }
    }

    /// Reads one whole value.
    ///
    /// A refused NOTIFY costs the subscription, so what can be read is: a
    /// malformed number or an empty reason counts as absent, and a `;` with
    /// nothing behind it is passed over.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadSubscriptionState`] without a state,
    /// [`ParseErrorKind::BadParameter`],
    /// [`ParseErrorKind::DuplicateParameter`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(lex::trim(value));
        let Some(substate) = cursor.token() else {
            return Err(cursor.error(ParseErrorKind::BadSubscriptionState));
        };
        let mut state = Self::new(Substate::from_bytes(substate));
        let base = cursor.position();
        lex::scan_params(Params::tolerant(cursor.rest()), |param| {
            let value = param.value.unwrap_or_default();
            if param.is(b"expires") {
                state.expires = delta_seconds(value);
            } else if param.is(b"retry-after") {
                state.retry_after = delta_seconds(value);
            } else if param.is(b"reason") {
                let text = match value {
                    [b'"', inner @ .., b'"'] => inner,
                    _ => value,
                };
                state.reason = lex::is_token(text).then(|| Reason::from_bytes(text));
            }
            Ok(())
        })
        .map_err(|error| error.shifted(base))?;
        Ok(state)
    }

    /// Writes the value, in lower case.
    pub fn write(&self, out: &mut Vec<u8>) {
        lex::push_unfolded(out, self.substate.as_bytes());
        if let Some(reason) = &self.reason {
            out.extend_from_slice(b";reason=");
            lex::push_unfolded(out, reason.as_bytes());
        }
        if let Some(expires) = self.expires {
            out.extend_from_slice(b";expires=");
            push_u32(out, expires);
        }
        if let Some(seconds) = self.retry_after {
            out.extend_from_slice(b";retry-after=");
            push_u32(out, seconds);
        }
    }
}

#[cfg(test)]
mod tests;
