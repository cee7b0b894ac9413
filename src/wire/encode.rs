//! Writing heads of messages.

use super::lex::{self, is_token_byte};
use super::{HeaderName, StatusCode, scan};
use alloc::vec::Vec;

/// Appends `number` in decimal digits.
pub fn push_u32(out: &mut Vec<u8>, number: u32) {
    let mut digits = [b'0'; 10];
    let mut used = 0usize;
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        used = used.wrapping_add(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().wrapping_sub(used)..).unwrap_or_default());
}

/// Appends `number` in decimal digits.
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    if let Ok(small) = u32::try_from(number) {
        return push_u32(out, small);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        at = at.wrapping_sub(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

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
    pub fn request_line(&mut self, method: &[u8], uri: &[u8]) {
        self.token(method);
        self.out.push(b' ');
        if scan::all(uri, lex::is_uri_safe) {
            self.out.extend_from_slice(uri);
        } else {
            uri.iter().for_each(|byte| self.uri_byte(*byte));
        }
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
    #[inline]
    pub fn field(&mut self, name: HeaderName<'_>, value: &[u8]) {
        self.begin(name);
        self.raw(value);
        self.end();
    }

    /// A whole field line with a number.
    #[inline]
    pub fn field_u32(&mut self, name: HeaderName<'_>, value: u32) {
        self.begin(name);
        self.number(value);
        self.end();
    }

    /// Content-Length: how many octets of body follow the head.
    pub fn content_length(&mut self, octets: usize) {
        self.begin(HeaderName::ContentLength);
        push_u64(self.out, u64::try_from(octets).unwrap_or(u64::MAX));
        self.end();
    }

    /// Starts a field line: the value follows through [`HeadWriter::raw`] and
    /// [`HeadWriter::number`], then [`HeadWriter::end`].
    #[inline]
    pub fn begin(&mut self, name: HeaderName<'_>) {
        match name.line_start() {
            Some((start, len)) if !self.compact => {
                // What is fixed in length is not copied by a call.
                let end = self.out.len().saturating_add(len);
                self.out.extend_from_slice(start);
                self.out.truncate(end);
            }
            _ => self.begin_unusual(name),
        }
    }

    fn begin_unusual(&mut self, name: HeaderName<'_>) {
        match name.compact().filter(|_| self.compact) {
            Some(letter) => self.out.push(letter),
            None => self.token(name.as_bytes()),
        }
        self.out.extend_from_slice(b": ");
    }

    /// A piece of the value of the line begun.
    pub fn raw(&mut self, piece: &[u8]) {
        if !scan::has_low_octet(piece) {
            return self.out.extend_from_slice(piece);
        }
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let mut rest = piece;
        while let Some(at) = rest.iter().position(is_break) {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            self.out.extend_from_slice(before);
            self.out.push(b' ');
            let skip = after.iter().position(|byte| !is_break(byte) && !matches!(byte, b' ' | b'\t'));
            rest = skip.and_then(|at| after.get(at..)).unwrap_or_default();
        }
        self.out.extend_from_slice(rest);
    }

    /// A number within the value of the line begun.
    pub fn number(&mut self, number: u32) {
        push_u32(self.out, number);
    }

    /// Ends the line begun.
    #[inline]
    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// The empty line that ends the head.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn token(&mut self, token: &[u8]) {
        if lex::is_token(token) {
            return self.out.extend_from_slice(token);
        }
        self.out.extend(token.iter().map(|byte| if is_token_byte(*byte) { *byte } else { b'-' }));
    }

    fn uri_byte(&mut self, byte: u8) {
        if lex::is_uri_safe(byte) {
            return self.out.push(byte);
        }
        let digit = |nibble: u8| if nibble < 10 { b'0' } else { b'A' - 10 }.wrapping_add(nibble);
        self.out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0x0f)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn written(write: impl FnOnce(&mut HeadWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut HeadWriter::new(&mut out));
        out
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let edges = (0..64).flat_map(|bits| [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits]);
        let powers = (0..20).flat_map(|n| [10u64.pow(n), 10u64.pow(n) - 1]);
        for number in edges.chain(powers) {
            let mut out = Vec::new();
            push_u64(&mut out, number);
            assert_eq!(out, format!("{number}").into_bytes());
        }
        let mut out = Vec::from(&b"x"[..]);
        push_u32(&mut out, u32::MAX);
        assert_eq!(out, b"x4294967295");
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
