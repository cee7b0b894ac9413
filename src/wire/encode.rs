//! Writing heads of messages.

use super::lex::{self, is_token_byte};
use super::push::{push_if_clear, push_u32, push_u64};
use super::{HeaderName, StatusCode, scan};
use alloc::vec::Vec;

/// Appends one field line; the value is made safe as [`HeadWriter::raw`] does.
pub fn push_field(out: &mut Vec<u8>, name: HeaderName<'_>, value: &[u8]) {
    HeadWriter::new(out).field(name, value);
}

/// Appends a value, each line break as one blank.
pub fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    HeadWriter::new(out).raw(value);
}

/// Writes the head of one message: start line, header fields, empty line.
///
/// Whatever is passed in, nothing can break out of its place: in values each
/// line break becomes one blank (which undoes folding), in names and methods
/// octets that no token may hold become `-`, in a Request-URI blanks and
/// control characters are escaped.
///
/// ```
/// use sip_events::wire::{HeadWriter, HeaderName, StatusCode};
/// let mut out = Vec::new();
/// let mut head = HeadWriter::new(&mut out);
/// head.status_line(StatusCode::BAD_EVENT, None);
/// head.field(HeaderName::AllowEvents, b"presence\r\nX: y");
/// head.content_length(0);
/// head.finish();
/// assert_eq!(out, b"SIP/2.0 489 Bad Event\r\nAllow-Events: presence X: y\r\n\
///     Content-Length: 0\r\n\r\n");
/// ```
#[derive(Debug)]
pub struct HeadWriter<'v> {
    out: &'v mut Vec<u8>,
    compact: bool,
}

impl<'v> HeadWriter<'v> {
    /// Appends to `out`, with long header names.
    pub const fn new(out: &'v mut Vec<u8>) -> Self {
        Self { out, compact: false }
    }

    /// Appends to `out`, with compact header names where there are any
    /// (RFC 3261, section 7.3.3).
    pub const fn compact(out: &'v mut Vec<u8>) -> Self {
        Self { out, compact: true }
    }

    /// The start line of a request.
    #[inline]
    pub fn request_line(&mut self, method: &[u8], uri: &[u8]) {
        push_token(self.out, method);
        self.out.push(b' ');
        push_uri(self.out, uri);
        self.out.extend_from_slice(b" SIP/2.0\r\n");
    }

    /// The start line of a response; `None` takes the registered reason.
    pub fn status_line(&mut self, status: StatusCode, reason: Option<&str>) {
        let reason = reason.unwrap_or(status.default_reason());
        self.status_line_bytes(status, reason.as_bytes());
    }

    /// As [`HeadWriter::status_line`], for a reason as it was received.
    pub fn status_line_bytes(&mut self, status: StatusCode, reason: &[u8]) {
        self.out.extend_from_slice(b"SIP/2.0 ");
        push_u32(self.out, u32::from(status.as_u16()));
        self.out.push(b' ');
        self.raw(reason);
        self.end();
    }

    /// A whole field line.
    #[inline(always)]
    pub fn field(&mut self, name: HeaderName<'_>, value: &[u8]) {
        self.begin(name);
        self.raw(value);
        self.end();
    }

    /// A whole field line with a number.
    #[inline(always)]
    pub fn field_u32(&mut self, name: HeaderName<'_>, value: u32) {
        self.begin(name);
        self.number(value);
        self.end();
    }

    /// Content-Length: how many octets of body follow the head.
    #[inline]
    pub fn content_length(&mut self, octets: usize) {
        self.begin(HeaderName::ContentLength);
        push_u64(self.out, u64::try_from(octets).unwrap_or(u64::MAX));
        self.end();
    }

    /// Starts a field line: the value follows through [`HeadWriter::raw`] and
    /// [`HeadWriter::number`], then [`HeadWriter::end`].
    // Of a name that is known when it is compiled nothing is left but its octets.
    #[inline(always)]
    pub fn begin(&mut self, name: HeaderName<'_>) {
        match name.line_start() {
            Some((start, len)) if !self.compact => {
                // What is fixed in length is not copied by a call.
                let end = self.out.len().wrapping_add(len);
                self.out.extend_from_slice(start);
                self.out.truncate(end);
            }
            _ => push_unusual_name(self.out, name, self.compact),
        }
    }

    /// A piece of the value of the line begun.
    #[inline]
    pub fn raw(&mut self, piece: &[u8]) {
        if !push_if_clear(self.out, piece) {
            push_unfolded(self.out, piece);
        }
    }

    /// A number within the value of the line begun.
    #[inline]
    pub fn number(&mut self, number: u32) {
        push_u32(self.out, number);
    }

    /// Ends the line begun.
    #[inline]
    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// The empty line that ends the head.
    #[inline]
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

// They get the buffer alone, so that the writer itself stays in registers.

fn push_unusual_name(out: &mut Vec<u8>, name: HeaderName<'_>, compact: bool) {
    match name.compact().filter(|_| compact) {
        Some(letter) => out.push(letter),
        None => push_token(out, name.as_bytes()),
    }
    out.extend_from_slice(b": ");
}

fn push_token(out: &mut Vec<u8>, token: &[u8]) {
    if lex::is_token(token) {
        return out.extend_from_slice(token);
    }
    out.extend(token.iter().map(|byte| if is_token_byte(*byte) { *byte } else { b'-' }));
}

fn push_uri(out: &mut Vec<u8>, uri: &[u8]) {
    if scan::all(uri, lex::is_uri_safe) {
        return out.extend_from_slice(uri);
    }
    for byte in uri {
        if lex::is_uri_safe(*byte) {
            out.push(*byte);
        } else {
            let digit = |nibble: u8| if nibble < 10 { b'0' } else { b'A' - 10 }.wrapping_add(nibble);
            out.extend_from_slice(&[b'%', digit(*byte >> 4), digit(*byte & 0x0f)]);
        }
    }
}

/// Appends `piece`, each line break with what blanks follow as one blank.
#[cold]
fn push_unfolded(out: &mut Vec<u8>, piece: &[u8]) {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    let mut rest = piece;
    while let Some(at) = rest.iter().position(is_break) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        out.push(b' ');
        let skip = after.iter().position(|byte| !is_break(byte) && !matches!(byte, b' ' | b'\t'));
        rest = skip.and_then(|at| after.get(at..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut HeadWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut HeadWriter::new(&mut out));
        out
    }

    /// Covers: 3261-7.1-2, 3261-7.2-1
    #[test]
    fn start_lines_hold_together() {
        let line = written(|head| head.request_line(b"NOTIFY", b"sip:a@b;x=<y>"));
        assert_eq!(line, b"NOTIFY sip:a@b;x=%3Cy%3E SIP/2.0\r\n");
        let line = written(|head| head.request_line(b"NO TIFY\r\n", b"sip:a b\r\nX: \x7f\x1f"));
        assert_eq!(line, b"NO-TIFY-- sip:a%20b%0D%0AX:%20%7F%1F SIP/2.0\r\n");
        let line = written(|head| head.status_line(StatusCode::OK, Some("Fine\r\nVia: x")));
        assert_eq!(line, b"SIP/2.0 200 Fine Via: x\r\n");
        let line = written(|head| head.status_line(StatusCode::OK, Some("")));
        assert_eq!(line, b"SIP/2.0 200 \r\n");
    }

    /// Covers: 3261-7.3.1-2, ADV-P31, ADV-E18
    #[test]
    fn values_are_unfolded_and_cannot_inject() {
        let line = written(|head| head.field(HeaderName::To, b"a\r\n  b\r\n\tc\nd\re\0f\r\n"));
        assert_eq!(line, b"To: a b c d e f \r\n");
        let line = written(|head| head.field(HeaderName::Other(b"X\r\nY:"), b"1"));
        assert_eq!(line, b"X--Y-: 1\r\n");
        let line = written(|head| {
            head.begin(HeaderName::CSeq);
            head.number(7);
            head.raw(b" NOTIFY");
            head.end();
            head.field_u32(HeaderName::Expires, 0);
            head.content_length(12);
        });
        assert_eq!(line, b"CSeq: 7 NOTIFY\r\nExpires: 0\r\nContent-Length: 12\r\n");
    }

    /// Covers: 3261-7.3.3-2
    #[test]
    fn compact_names_on_request() {
        let mut out = Vec::new();
        let mut head = HeadWriter::compact(&mut out);
        head.field(HeaderName::Event, b"presence");
        head.field(HeaderName::Expires, b"5");
        head.finish();
        assert_eq!(out, b"o: presence\r\nExpires: 5\r\n\r\n");
    }
}
