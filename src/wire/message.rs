//! A parsed message over borrowed octets.

use super::index::{self, Index, Start};
use super::{CSeq, HeaderName, MessageView, Method, ParseError, StatusCode, check};
use core::fmt;

/// The largest UDP datagram, and so the largest message that comes in one.
pub const MAX_MESSAGE: usize = 65_535;

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Method and Request-URI of a request (RFC 3261, section 7.1).
    Request {
        /// The method.
        method: Method<'a>,
        /// The Request-URI as it was written.
        uri: &'a [u8],
    },
    /// Status of a response (RFC 3261, section 7.2).
    Response {
        /// The status code.
        status: StatusCode,
        /// The reason phrase, which may be empty and need not be UTF-8.
        reason: &'a [u8],
    },
}

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: HeaderName<'a>,
    /// The value without blanks at its ends; it may be folded.
    pub value: &'a [u8],
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value.escape_ascii())
    }
}

/// A SIP message that borrows the octets it was read from.
///
/// Reading is one pass that leaves offsets; it allocates only for messages
/// with more than 32 field lines. Header values are looked at when asked for,
/// so a malformed header that nobody needs does no harm (RFC 3261, section
/// 8.2.2). Empty lines before the message are skipped, and a datagram is cut
/// where Content-Length says.
///
/// ```
/// use sip_events::wire::{HeaderName, Message, Method};
/// let datagram = b"SUBSCRIBE sip:bob@example.com SIP/2.0\r\n\
///     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
///     f: <sip:alice@example.com>;tag=1\r\n\
///     t: <sip:bob@example.com>\r\n\
///     i: 1@192.0.2.1\r\n\
///     CSeq: 1 SUBSCRIBE\r\n\
///     Max-Forwards: 70\r\n\
///     o: presence\r\n\
///     l: 0\r\n\r\n";
/// let message = Message::parse(datagram)?;
/// assert_eq!(message.method(), Some(Method::Subscribe));
/// assert_eq!(message.field(HeaderName::Event, 0), Some(&b"presence"[..]));
/// # Ok::<(), sip_events::wire::ParseError>(())
/// ```
#[derive(Clone)]
pub struct Message<'a> {
    bytes: &'a [u8],
    index: Index,
}

impl<'a> Message<'a> {
    /// Reads one datagram, or one message that a [`Framer`](super::Framer)
    /// returned, and demands that it is sound.
    ///
    /// # Errors
    /// Those of [`Message::scan`], and whatever [`Message::defect`] finds.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let message = Self::scan(datagram)?;
        message.defect().map_or(Ok(message), Err)
    }

    /// Reads as much as can be told apart, so that a malformed request can
    /// still be answered.
    ///
    /// # Errors
    /// [`ParseErrorKind::NotSip`](super::ParseErrorKind::NotSip) for a
    /// keep-alive or another protocol;
    /// [`ParseErrorKind::BadStatus`](super::ParseErrorKind::BadStatus) for a
    /// response without a usable status;
    /// [`ParseErrorKind::BodyTooLong`](super::ParseErrorKind::BodyTooLong)
    /// above 4 GiB. Nothing of this can be answered.
    pub fn scan(datagram: &'a [u8]) -> Result<Self, ParseError> {
        Ok(Self { bytes: datagram, index: Index::scan(datagram)? })
    }

    pub(super) const fn from_index(bytes: &'a [u8], index: Index) -> Self {
        Self { bytes, index }
    }

    /// The first thing that makes the message unsound: answer a request with
    /// [`ParseError::status_hint`], drop a response.
    ///
    /// Checked are the start line and version, the form of the head, that
    /// Via, From, To, Call-ID, CSeq and (in requests, looked for last)
    /// Max-Forwards are there and well-formed, that headers with one value
    /// are not doubled, that CSeq names the method, and Content-Length. The
    /// offset counts from the start of the datagram. Computed on each call.
    pub fn defect(&self) -> Option<ParseError> {
        check::defect(self)
    }

    /// [`defect`](Self::defect) of a message whose top Via, From, To, Call-ID
    /// and CSeq have been read without an error; `cseq` is the latter.
    pub(crate) fn other_defect(&self, cseq: &CSeq<'_>) -> Option<ParseError> {
        check::other_defect(self, cseq)
    }

    /// The first line.
    pub fn start_line(&self) -> StartLine<'a> {
        match &self.index.start {
            Start::Request { method, uri } => StartLine::Request {
                method: Method::from_bytes(index::slice(self.bytes, method)),
                uri: index::slice(self.bytes, uri),
            },
            Start::Response { status, reason } => {
                StartLine::Response { status: *status, reason: index::slice(self.bytes, reason) }
            }
        }
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'a>> {
        self.index.start.method(self.bytes)
    }

    /// The Request-URI of a request.
    pub fn uri(&self) -> Option<&'a [u8]> {
        self.index.start.uri(self.bytes)
    }

    /// The status of a response.
    pub const fn status(&self) -> Option<StatusCode> {
        self.index.start.status()
    }

    /// Every field line, in message order.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = Field<'a>> + ExactSizeIterator {
        self.index.fields_of(self.bytes).map(|(name, value)| Field { name, value })
    }

    /// The value of the `nth` line of that name, counted from 0; see
    /// [`MessageView::field`].
    #[inline]
    pub fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&'a [u8]> {
        self.index.field(self.bytes, name, nth)
    }

    /// The body, empty when there is none.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(self.index.body.clone()).unwrap_or_default()
    }

    /// Start line and header fields, with the empty line that ends them.
    pub fn head(&self) -> &'a [u8] {
        self.bytes.get(self.index.head.clone()).unwrap_or_default()
    }

    /// The message alone: no empty lines before it, nothing behind its body.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes.get(self.index.head.start..self.index.body.end).unwrap_or_default()
    }

    /// Where the `nth` value of that name starts in the datagram; the end of
    /// the head when there is none.
    pub(super) fn offset_of(&self, name: HeaderName<'_>, nth: usize) -> usize {
        let range = self.index.range(name, nth);
        range.map_or(self.index.head.end, |range| range.start)
    }

    /// Where the Request-URI starts in the datagram.
    pub(super) fn uri_offset(&self) -> usize {
        self.index.start.uri_offset()
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }
}

impl MessageView for Message<'_> {
    fn request_uri(&self) -> Option<&[u8]> {
        self.uri()
    }

    #[inline]
    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.field(name, nth)
    }

    fn body(&self) -> &[u8] {
        self.body()
    }
}

impl fmt::Debug for Message<'_> {
    /// Start line and fields; of the body its length only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("start_line", &self.start_line())
            .field("fields", &self.fields().collect::<smallvec::SmallVec<[_; 32]>>())
            .field("body_len", &self.body().len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
