//! The owned twin of [`Message`].

use super::index::Index;
use super::{HeadWriter, HeaderName, Message, MessageView, Method, ParseError, StartLine, StatusCode};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A SIP message that owns its octets; cheap to clone up to the index of some
/// 700 octets.
#[derive(Clone)]
pub struct MessageBuf {
    bytes: Bytes,
    index: Index,
}

impl MessageBuf {
    /// Like [`Message::parse`], taking over the octets without a copy.
    ///
    /// # Errors
    /// Those of [`Message::parse`].
    pub fn parse(datagram: impl Into<Bytes>) -> Result<Self, ParseError> {
        let message = Self::scan(datagram)?;
        message.as_message().defect().map_or(Ok(message), Err)
    }

    /// Like [`Message::scan`], taking over the octets without a copy.
    ///
    /// # Errors
    /// Those of [`Message::scan`].
    pub fn scan(datagram: impl Into<Bytes>) -> Result<Self, ParseError> {
        let bytes = datagram.into();
        let index = Index::scan(&bytes)?;
        Ok(Self { bytes, index })
    }

    /// Writes a message and reads it back. A Content-Length is added unless
    /// `fields` brings one; line breaks in values become blanks.
    ///
    /// # Errors
    /// Those of [`Message::parse`], when the parts are no sound message.
    pub fn from_parts<'f>(
        start_line: StartLine<'_>,
        fields: impl IntoIterator<Item = (HeaderName<'f>, &'f [u8])>,
        body: &[u8],
    ) -> Result<Self, ParseError> {
        let mut out = Vec::new();
        let mut head = HeadWriter::new(&mut out);
        match start_line {
            StartLine::Request { method, uri } => head.request_line(method.as_bytes(), uri),
            StartLine::Response { status, reason } => head.status_line_bytes(status, reason),
        }
        let mut has_length = false;
        for (name, value) in fields {
            has_length |= name == HeaderName::ContentLength;
            head.field(name, value);
        }
        if !has_length {
            head.content_length(body.len());
        }
        head.finish();
        out.extend_from_slice(body);
        Self::parse(out)
    }

    /// The borrowed form. Copies the index, some 700 octets; the readers of
    /// this type do not.
    pub fn as_message(&self) -> Message<'_> {
        Message::from_index(&self.bytes, self.index.clone())
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'_>> {
        self.index.start.method(&self.bytes)
    }

    /// The status of a response.
    pub const fn status(&self) -> Option<StatusCode> {
        self.index.start.status()
    }

    /// The value of the `nth` line of that name, counted from 0; see
    /// [`MessageView::field`].
    #[inline]
    pub fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.index.field(&self.bytes, name, nth)
    }

    /// The body as a handle on the same memory.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(self.index.body.clone())
    }

    /// The message alone: no empty lines before it, nothing behind its body.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.index.head.start..self.index.body.end).unwrap_or_default()
    }
}

impl MessageView for MessageBuf {
    fn request_uri(&self) -> Option<&[u8]> {
        self.index.start.uri(&self.bytes)
    }

    #[inline]
    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        self.field(name, nth)
    }

    fn body(&self) -> &[u8] {
        self.bytes.get(self.index.body.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for MessageBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_message(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ParseErrorKind;
    use alloc::format;

    const FIELDS: [(HeaderName<'static>, &[u8]); 6] = [
        (HeaderName::Via, b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        (HeaderName::MaxForwards, b"70"),
        (HeaderName::From, b"<sip:a@example.com>;tag=1"),
        (HeaderName::To, b"<sip:b@example.com>"),
        (HeaderName::CallId, b"1@192.0.2.1"),
        (HeaderName::CSeq, b"1 PUBLISH"),
    ];
    const START: StartLine<'static> = StartLine::Request { method: Method::Publish, uri: b"sip:b@example.com" };

    /// Covers: 3261-20.14-1
    #[test]
    fn parts_become_a_message_with_its_length() {
        let message = MessageBuf::from_parts(START, FIELDS, b"hello").unwrap();
        assert_eq!(message.method(), Some(Method::Publish));
        assert_eq!(message.request_uri(), Some(&b"sip:b@example.com"[..]));
        assert_eq!(message.field(HeaderName::ContentLength, 0), Some(&b"5"[..]));
        assert_eq!(message.body(), b"hello");
        assert_eq!(message.body_bytes(), "hello");
        assert_eq!(message.as_message().as_bytes(), message.as_bytes());
        assert_eq!(message.status(), None);
        assert!(format!("{message:?}").contains("body_len: 5"));
    }

    #[test]
    fn parts_that_are_no_message_are_refused() {
        let short = FIELDS.into_iter().skip(1);
        let error = MessageBuf::from_parts(START, short, b"").unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::MissingVia);
        let injected = FIELDS.into_iter().chain([(HeaderName::Subject, &b"x\r\n\r\nVia: y"[..])]);
        let message = MessageBuf::from_parts(START, injected, b"").unwrap();
        assert_eq!(message.field(HeaderName::Subject, 0), Some(&b"x Via: y"[..]));
        assert_eq!(message.field(HeaderName::Via, 1), None);
    }
}
