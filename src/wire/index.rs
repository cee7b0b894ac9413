//! Where everything is in a message: one pass over the octets, offsets only.

use super::lex;
use super::scan::{self, Line, Lines};
use super::{HeaderName, Method, ParseError, ParseErrorKind, StatusCode};
use core::ops::Range;
use smallvec::SmallVec;

/// Field lines that fit without allocation.
const INLINE: usize = 32;
/// Ends a chain of field lines of one name.
const END: u8 = u8::MAX;

/// The most field lines that a message may have. Lines beyond it are not
/// indexed and the message has the defect [`ParseErrorKind::TooManyHeaders`]
/// (513). It bounds the index of a message to 4 KiB.
pub const MAX_HEADERS: usize = 250;

/// One field line.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name_start: u32,
    value_start: u32,
    value_end: u32,
    name_len: u16,
    /// [`HeaderName::id`], or [`END`] for an unknown name.
    id: u8,
    /// The next line of the same known name, or [`END`].
    next: u8,
}

/// A position by [`HeaderName::id`], or [`END`].
type Firsts = [u8; HeaderName::KNOWN_COUNT];

/// The start line, as offsets.
#[derive(Debug, Clone)]
pub(super) enum Start {
    Request { method: Range<u32>, uri: Range<u32> },
    Response { status: StatusCode, reason: Range<u32> },
}

/// Offsets into a message that is kept beside it.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) start: Start,
    pub(super) head: Range<usize>,
    pub(super) body: Range<usize>,
    /// The first violation met on the way through the lines.
    pub(super) defect: Option<ParseError>,
    entries: SmallVec<[Entry; INLINE]>,
    first: Firsts,
}

impl Index {
    /// Reads a datagram. Fails only when it cannot be read as SIP at all.
    pub(super) fn scan(bytes: &[u8]) -> Result<Self, ParseError> {
        let offset = scan::leading_crlfs(bytes);
        let not_sip = ParseError::new(ParseErrorKind::NotSip, offset);
        if u32::try_from(bytes.len()).is_err() {
            return Err(ParseError::new(ParseErrorKind::BodyTooLong, 0));
        }
        // Filler, STUN and TLS records begin with other octets.
        if !bytes.get(offset).is_some_and(|byte| lex::is_token_byte(*byte)) {
            return Err(not_sip);
        }
        let mut lines = Lines::new(bytes, offset);
        let (line, terminated) = match lines.physical() {
            Line::Text(line) => (line, true),
            Line::Partial(line) => (line, false),
            Line::Blank => return Err(not_sip),
        };
        let text = bytes.get(line.clone()).unwrap_or_default();
        if !scan::mentions_sip(text) {
            return Err(not_sip);
        }
        let (start, defect) = start_line(text, line.start)?;
        let mut index = Self {
            start,
            head: offset..bytes.len(),
            body: bytes.len()..bytes.len(),
            defect,
            entries: SmallVec::new(),
            first: [END; HeaderName::KNOWN_COUNT],
        };
        if terminated {
            index.fields(bytes, &mut lines);
        } else {
            index.note(ParseErrorKind::HeadUnterminated, line.end);
        }
        if let Some(at) = lines.bare_break {
            index.note(ParseErrorKind::LineBreak, at);
        }
        index.cut_body(bytes);
        Ok(index)
    }

    /// Keeps the first violation only.
    fn note(&mut self, kind: ParseErrorKind, at: usize) {
        self.defect = self.defect.or(Some(ParseError::new(kind, at)));
    }

    fn fields(&mut self, bytes: &[u8], lines: &mut Lines<'_>) {
        let mut last = [END; HeaderName::KNOWN_COUNT];
        if let Some(b' ' | b'\t') = bytes.get(lines.position()) {
            self.note(ParseErrorKind::Folding, lines.position());
        }
        loop {
            let start = lines.position();
            if let Some((id, name_len)) = HeaderName::at_start(lines.rest())
                && let Some(value) = lines.plain(name_len.wrapping_add(1))
            {
                self.add(id, start, name_len, value, &mut last);
                continue;
            }
            match lines.logical() {
                Line::Text(line) => self.add_unusual(bytes, line, &mut last),
                Line::Blank => {
                    self.head.end = lines.position();
                    self.body.start = lines.position();
                    return;
                }
                Line::Partial(line) => {
                    self.note(ParseErrorKind::HeadUnterminated, line.end);
                    return self.add_unusual(bytes, line, &mut last);
                }
            }
        }
    }

    /// Indexes a line whose name or value needs a second look. What is no
    /// field line is passed over: whether something needed is missing then
    /// shows by itself.
    fn add_unusual(&mut self, bytes: &[u8], line: Range<usize>, last: &mut Firsts) {
        let text = bytes.get(line.clone()).unwrap_or_default();
        if let Some((name, value_at)) = scan::split_field(text) {
            let id = HeaderName::known_id(name).unwrap_or(END);
            let value = scan::trim(bytes, line.start.wrapping_add(value_at)..line.end);
            self.add(id, line.start, name.len(), value, last);
        }
    }

    #[inline]
    fn add(&mut self, id: u8, name_start: usize, name_len: usize, value: Range<usize>, last: &mut Firsts) {
        let Ok(name_len) = u16::try_from(name_len) else {
            return self.note(ParseErrorKind::HeadTooLong, name_start);
        };
        let Some(position) = self.free_position() else {
            return self.note(ParseErrorKind::TooManyHeaders, name_start);
        };
        if let (Some(first), Some(last)) = (self.first.get_mut(usize::from(id)), last.get_mut(usize::from(id))) {
            match self.entries.get_mut(usize::from(*last)) {
                Some(previous) => previous.next = position,
                None => *first = position,
            }
            *last = position;
        }
        self.entries.push(Entry {
            name_start: narrow(name_start),
            value_start: narrow(value.start),
            value_end: narrow(value.end),
            name_len,
            id,
            next: END,
        });
    }

    /// The position of the next entry, while there is room for one.
    fn free_position(&self) -> Option<u8> {
        let position = self.entries.len();
        (position < MAX_HEADERS).then(|| u8::try_from(position).ok())?
    }

    /// Content-Length decides where the body ends (RFC 3261, section 18.3).
    fn cut_body(&mut self, bytes: &[u8]) {
        let Some(value) = self.range(HeaderName::ContentLength, 0) else {
            return;
        };
        let text = bytes.get(value.clone()).unwrap_or_default();
        let Some(length) = scan::content_length(text).and_then(|n| usize::try_from(n).ok()) else {
            return self.note(ParseErrorKind::BadContentLength, value.start);
        };
        if length > self.body.len() {
            self.note(ParseErrorKind::BodyShorterThanContentLength, value.start);
        } else {
            self.body.end = self.body.start.saturating_add(length);
        }
    }

    /// Where the value of the `nth` line of that name is.
    #[inline]
    pub(super) fn range(&self, name: HeaderName<'_>, nth: usize) -> Option<Range<usize>> {
        let mut at = *self.first.get(usize::from(name.id()?))?;
        for _ in 0..nth {
            at = self.entries.get(usize::from(at))?.next;
        }
        self.entries.get(usize::from(at)).map(Entry::value)
    }

    /// The value of the `nth` line of that name, known or not.
    #[inline]
    pub(super) fn field<'a>(&self, bytes: &'a [u8], name: HeaderName<'_>, nth: usize) -> Option<&'a [u8]> {
        match name.canonical() {
            HeaderName::Other(_) => self.unknown_field(bytes, name, nth),
            known => bytes.get(self.range(known, nth)?),
        }
    }

    fn unknown_field<'a>(&self, bytes: &'a [u8], name: HeaderName<'_>, nth: usize) -> Option<&'a [u8]> {
        let mut unknown = self.entries.iter().filter(|entry| {
            entry.id == END && bytes.get(entry.name()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
        });
        unknown.nth(nth).and_then(|entry| bytes.get(entry.value()))
    }

    /// Name and value of every indexed line, in order.
    pub(super) fn fields_of<'a>(
        &self,
        bytes: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (HeaderName<'a>, &'a [u8])> + ExactSizeIterator {
        self.entries.iter().map(|entry| {
            let name = HeaderName::from_id(entry.id)
                .unwrap_or_else(|| HeaderName::Other(bytes.get(entry.name()).unwrap_or_default()));
            (name, bytes.get(entry.value()).unwrap_or_default())
        })
    }
}

impl Entry {
    fn name(&self) -> Range<usize> {
        let start = widen(self.name_start);
        start..start.saturating_add(usize::from(self.name_len))
    }

    fn value(&self) -> Range<usize> {
        widen(self.value_start)..widen(self.value_end)
    }
}

/// Messages above 4 GiB are refused before any offset is stored.
#[allow(clippy::cast_possible_truncation)]
const fn narrow(offset: usize) -> u32 {
    offset as u32
}

fn widen(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Where `range` of offsets lies in `bytes`.
pub(super) fn slice<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    bytes.get(widen(range.start)..widen(range.end)).unwrap_or_default()
}

/// Reads a start line that begins `base` octets into the message, as well as
/// it can be read; the error is for a status line without a status code.
fn start_line(line: &[u8], base: usize) -> Result<(Start, Option<ParseError>), ParseError> {
    let span = |range: Range<usize>| narrow(base.saturating_add(range.start))..narrow(base.saturating_add(range.end));
    let error = |kind, at: usize| ParseError::new(kind, base.saturating_add(at));
    let first_space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let after_space = first_space.saturating_add(1).min(line.len());
    let first = line.get(..first_space).unwrap_or_default();

    if first.first_chunk::<4>().is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/")) {
        let defect = version(first).map(|kind| error(kind, 0));
        let rest = line.get(after_space..).unwrap_or_default();
        let status = rest.get(..3).and_then(StatusCode::from_bytes);
        let (Some(status), None | Some(b' ')) = (status, rest.get(3)) else {
            return Err(error(ParseErrorKind::BadStatus, after_space));
        };
        let reason = after_space.saturating_add(4).min(line.len())..line.len();
        return Ok((Start::Response { status, reason: span(reason) }, defect));
    }

    // Nearly all lines end so.
    let usual = line.len().checked_sub(8).filter(|at| line.get(*at..) == Some(b" SIP/2.0"));
    let last_space = || line.iter().rposition(|byte| *byte == b' ').unwrap_or(line.len());
    let last_space = usual.unwrap_or_else(last_space);
    let uri = after_space..last_space.max(after_space);
    let uri_text = line.get(uri.clone()).unwrap_or_default();
    let protocol = line.get(last_space.saturating_add(1)..).unwrap_or_default();
    let defect = if !lex::is_token(first) {
        Some(error(ParseErrorKind::StartLine, 0))
    } else if uri_text.is_empty() || !scan::all(uri_text, lex::is_uri_safe) {
        Some(error(ParseErrorKind::StartLine, uri.start))
    } else {
        version(protocol).map(|kind| error(kind, last_space.saturating_add(1)))
    };
    Ok((Start::Request { method: span(0..first_space), uri: span(uri) }, defect))
}

/// What is wrong with a SIP-Version (RFC 3261, section 7.1).
fn version(text: &[u8]) -> Option<ParseErrorKind> {
    if text == b"SIP/2.0" || text.eq_ignore_ascii_case(b"SIP/2.0") {
        return None;
    }
    let numbers = text.get(4..).filter(|_| scan::mentions_sip(text.get(..4).unwrap_or_default()));
    let mut parts = numbers.unwrap_or_default().splitn(2, |byte| *byte == b'.');
    let mut is_number = || parts.next().is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
    let well_formed = is_number() && is_number();
    Some(if well_formed { ParseErrorKind::Version } else { ParseErrorKind::StartLine })
}

impl Start {
    pub(super) fn method<'a>(&self, bytes: &'a [u8]) -> Option<Method<'a>> {
        match self {
            Self::Request { method, .. } => Some(Method::from_bytes(slice(bytes, method))),
            Self::Response { .. } => None,
        }
    }

    pub(super) fn uri<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Request { uri, .. } => Some(slice(bytes, uri)),
            Self::Response { .. } => None,
        }
    }

    pub(super) fn uri_offset(&self) -> usize {
        match self {
            Self::Request { uri, .. } => widen(uri.start),
            Self::Response { .. } => 0,
        }
    }

    pub(super) const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Request { .. } => None,
            Self::Response { status, .. } => Some(*status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// Messages of usual size are indexed without allocation.
    #[test]
    fn thirty_two_lines_fit_inline() {
        let message = |lines: usize| String::from("A b SIP/2.0\r\n") + &"Via: x\r\n".repeat(lines) + "\r\n";
        for (lines, spilled) in [(0, false), (32, false), (33, true), (250, true)] {
            let index = Index::scan(message(lines).as_bytes()).unwrap();
            assert_eq!(index.entries.len(), lines);
            assert_eq!(index.entries.spilled(), spilled, "{lines}");
            assert!(index.entries.capacity() <= 256);
        }
        assert!(size_of::<Index>() <= 720);
        assert_eq!(size_of::<Entry>(), 16);
    }
}
