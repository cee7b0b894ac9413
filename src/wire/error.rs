//! Why bytes are not a sound SIP message or value.

use super::StatusCode;
use core::fmt;

/// A violation of the grammar or of a rule about whole messages, and where.
///
/// To remedy it look at the peer that sent the bytes: nothing the receiver
/// does can cause one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Octets from the start of the parsed slice (a message or one value) to
    /// the place of the error; saturates at `u32::MAX`.
    pub offset: u32,
}

impl ParseError {
    /// An error of that kind, `offset` octets into the parsed slice.
    pub fn new(kind: ParseErrorKind, offset: usize) -> Self {
        Self { kind, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    /// The same error seen from a slice that begins `base` octets earlier.
    #[must_use]
    pub fn shifted(self, base: usize) -> Self {
        let base = u32::try_from(base).unwrap_or(u32::MAX);
        Self { kind: self.kind, offset: self.offset.saturating_add(base) }
    }

    /// The status that answers a request with this defect. A response with a
    /// defect, and anything that is [`ParseErrorKind::NotSip`], is dropped.
    pub const fn status_hint(&self) -> StatusCode {
        match self.kind {
            ParseErrorKind::Version => StatusCode::VERSION_NOT_SUPPORTED,
            ParseErrorKind::HeadTooLong | ParseErrorKind::TooManyHeaders => StatusCode::MESSAGE_TOO_LARGE,
            ParseErrorKind::BodyTooLong => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            ParseErrorKind::UnsupportedUriScheme => StatusCode::UNSUPPORTED_URI_SCHEME,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}", self.kind, self.offset)
    }
}

impl core::error::Error for ParseError {}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident => $text:literal,)+) => {
        /// The causes of a [`ParseError`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ParseErrorKind {
            $($(#[$doc])+ $name,)+
        }

        impl ParseErrorKind {
            /// A short English description that fits a reason phrase.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

kinds! {
    /// Not SIP at all: a keep-alive, STUN, another protocol. Never answered
    /// (RFC 5626, section 8).
    NotSip => "Not SIP",
    /// The start line breaks RFC 3261, section 7.1 or 7.2.
    StartLine => "Malformed start line",
    /// Another version than SIP/2.0.
    Version => "Unsupported SIP version",
    /// A status code outside 100 to 699, or not three digits.
    BadStatus => "Malformed status code",
    /// A CR or LF in the head that is no CRLF.
    LineBreak => "Bare CR or LF in the head",
    /// A continuation line with nothing to continue.
    Folding => "Misplaced folding",
    /// No empty line after the header fields.
    HeadUnterminated => "Unterminated head",
    /// The head is longer than the limit of the receiver.
    HeadTooLong => "Head too long",
    /// More field lines than `wire::MAX_HEADERS`.
    TooManyHeaders => "Too many header fields",
    /// Content-Length is not a number that can be.
    BadContentLength => "Malformed Content-Length",
    /// No Content-Length on a stream (RFC 3261, section 18.3).
    MissingContentLength => "Missing Content-Length",
    /// Fewer octets in the datagram than Content-Length says.
    BodyShorterThanContentLength => "Body shorter than Content-Length",
    /// The body is longer than the limit of the receiver.
    BodyTooLong => "Body too long",
    /// A second line of a header that has one value (RFC 3261, section 7.3.1).
    DuplicateHeader => "Duplicate header field",
    /// No Via.
    MissingVia => "Missing Via",
    /// No From.
    MissingFrom => "Missing From",
    /// No To.
    MissingTo => "Missing To",
    /// No Call-ID.
    MissingCallId => "Missing Call-ID",
    /// No CSeq.
    MissingCSeq => "Missing CSeq",
    /// No Max-Forwards in a request. Reported only when nothing else is
    /// wrong, so that a lenient receiver can go on with 70.
    MissingMaxForwards => "Missing Max-Forwards",
    /// A header that the operation needs is absent.
    MissingHeader => "Missing header field",
    /// CSeq names another method than the start line.
    CSeqMethodMismatch => "CSeq method mismatch",
    /// Malformed Via value.
    BadVia => "Malformed Via",
    /// Malformed From value.
    BadFrom => "Malformed From",
    /// Malformed To value.
    BadTo => "Malformed To",
    /// Malformed Call-ID.
    BadCallId => "Malformed Call-ID",
    /// Malformed CSeq, or a number above 2^32-1.
    BadCSeq => "Malformed CSeq",
    /// Max-Forwards is no number from 0 to 255.
    BadMaxForwards => "Malformed Max-Forwards",
    /// Malformed Contact value.
    BadContact => "Malformed Contact",
    /// Malformed Route or Record-Route value.
    BadRoute => "Malformed Route",
    /// Malformed name-addr or addr-spec.
    BadAddress => "Malformed address",
    /// Malformed URI.
    BadUri => "Malformed URI",
    /// A URI of a scheme that cannot be used here.
    UnsupportedUriScheme => "Unsupported URI scheme",
    /// Malformed host or port.
    BadHost => "Malformed host",
    /// Malformed Event value.
    BadEvent => "Malformed Event",
    /// Malformed Subscription-State value.
    BadSubscriptionState => "Malformed Subscription-State",
    /// Malformed Expires or Min-Expires.
    BadExpires => "Malformed Expires",
    /// Malformed Retry-After.
    BadRetryAfter => "Malformed Retry-After",
    /// Malformed media type or media range.
    BadMediaType => "Malformed media type",
    /// A malformed parameter.
    BadParameter => "Malformed parameter",
    /// One parameter name twice in one value (RFC 3261, section 7.3.1).
    DuplicateParameter => "Duplicate parameter",
    /// More parameters in one value or URI than `wire::lex::MAX_PARAMS`.
    TooManyParameters => "Too many parameters",
    /// An octet that no token may hold, or an empty token.
    BadToken => "Malformed token",
    /// A quoted string without end or with a bad escape.
    BadQuotedString => "Malformed quoted string",
    /// An empty element in a list that allows none.
    EmptyElement => "Empty list element",
    /// A number that is malformed or out of range.
    BadNumber => "Malformed number",
    /// Any other malformed header value.
    BadValue => "Malformed header value",
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn offsets_saturate_and_shift() {
        let error = ParseError::new(ParseErrorKind::BadCSeq, 3).shifted(40);
        assert_eq!(error.to_string(), "Malformed CSeq at octet 43");
        assert_eq!(ParseError::new(ParseErrorKind::BadUri, usize::MAX).shifted(1).offset, u32::MAX);
    }

    /// Covers: 3261-7.1-2
    #[test]
    fn kinds_hint_at_a_status() {
        let hint = |kind| ParseError::new(kind, 0).status_hint().as_u16();
        assert_eq!(hint(ParseErrorKind::Version), 505);
        assert_eq!(hint(ParseErrorKind::BodyTooLong), 413);
        assert_eq!(hint(ParseErrorKind::TooManyHeaders), 513);
        assert_eq!(hint(ParseErrorKind::UnsupportedUriScheme), 416);
        assert_eq!(hint(ParseErrorKind::CSeqMethodMismatch), 400);
    }
}
