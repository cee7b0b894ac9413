//! Finding lines: the one place that decides where a line and the head end,
//! so that the framer and the message parser cannot disagree.

use super::lex::is_token_byte;
use core::ops::Range;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// Marks each octet of `word` below 0x0e with its high bit. A borrow can only
/// mark octets behind a true one: the lowest mark is true.
const fn low_octets(word: u64) -> u64 {
    word.wrapping_sub(ONES.wrapping_mul(0x0e)) & !word & HIGH
}

/// Whether any octet is below 0x0e, as NUL, CR and LF are.
pub(crate) fn has_low_octet(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        if low_octets(u64::from_le_bytes(*word)) != 0 {
            return true;
        }
        rest = tail;
    }
    rest.iter().any(|octet| *octet < 0x0e)
}

/// Offset of the first CR or LF at or after `from`.
#[inline]
pub(crate) fn find_line_break(bytes: &[u8], from: usize) -> Option<usize> {
    let mut rest = bytes.get(from..)?;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let low = low_octets(u64::from_le_bytes(*word));
        if low == 0 {
            rest = tail;
            continue;
        }
        let (before, at) = rest.split_at_checked((low.trailing_zeros() / 8) as usize)?;
        let (octet, after) = at.split_first()?;
        if matches!(octet, b'\r' | b'\n') {
            return Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(before.len()));
        }
        rest = after;
    }
    let within = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(within))
}

/// What stands at the start of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its CRLF, continuation lines included.
    Text(Range<usize>),
    /// The empty line that ends the head.
    Blank,
    /// The octets ran out before the CRLF; the range is what there is.
    Partial(Range<usize>),
}

/// Walks the lines of a head.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of the first CR or LF met that is not part of a CRLF.
    pub(crate) bare_break: Option<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, bare_break: None }
    }

    /// Where the next line starts.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// The next line as it stands between two CRLFs.
    pub(crate) fn physical(&mut self) -> Line {
        self.line(false)
    }

    /// The next line with its continuation lines (RFC 3261, section 7.3.1).
    pub(crate) fn logical(&mut self) -> Line {
        self.line(true)
    }

    #[inline]
    fn line(&mut self, folding: bool) -> Line {
        let start = self.at;
        let mut from = start;
        while let Some(end) = find_line_break(self.bytes, from) {
            let rest = self.bytes.get(end..).unwrap_or_default();
            if !rest.starts_with(b"\r\n") {
                self.bare_break = self.bare_break.or(Some(end));
                from = end.wrapping_add(1);
                continue;
            }
            from = end.wrapping_add(2);
            if end == start {
                self.at = from;
                return Line::Blank;
            }
            if !(folding && matches!(rest.get(2), Some(b' ' | b'\t'))) {
                self.at = from;
                return Line::Text(start..end);
            }
        }
        self.at = self.bytes.len();
        Line::Partial(start..self.bytes.len())
    }
}

/// The name of a field line and where, within the line, its value starts.
/// `None` when the line has no colon after a token; blanks may stand before
/// the colon, control characters may not.
#[inline]
pub(crate) fn split_field(line: &[u8]) -> Option<(&[u8], usize)> {
    let name_len = line.iter().position(|byte| !is_token_byte(*byte))?;
    let (name, rest) = line.split_at_checked(name_len)?;
    if name.is_empty() {
        return None;
    }
    let mut after = rest;
    while let [b' ' | b'\t', tail @ ..] = after {
        after = tail;
    }
    let [b':', value @ ..] = after else { return None };
    Some((name, line.len().saturating_sub(value.len())))
}

/// `range` of `bytes` without blanks and line breaks at its ends.
#[inline]
pub(crate) fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let value = bytes.get(range.clone()).unwrap_or_default();
    // Most octets are above all blanks.
    let is_blank = |octet: u8| octet <= b' ' && matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first()
        && is_blank(*first)
    {
        rest = tail;
    }
    if rest.is_empty() {
        return range.start..range.start;
    }
    let start = range.end.wrapping_sub(rest.len());
    while let Some((last, before)) = rest.split_last()
        && is_blank(*last)
    {
        rest = before;
    }
    start..start.wrapping_add(rest.len())
}

/// The number in a Content-Length value: decimal digits alone, at most
/// `u32::MAX` (RFC 3261, section 20.14).
pub(crate) fn content_length(value: &[u8]) -> Option<u32> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u32, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Whether `SIP/` stands in the line, in any case.
pub(crate) fn mentions_sip(line: &[u8]) -> bool {
    let is_sip = |part: &[u8]| part.eq_ignore_ascii_case(b"SIP/");
    // Nearly all lines have it where it belongs: in front, or seven octets before the end.
    line.last_chunk::<7>().is_some_and(|end| end == b"SIP/2.0")
        || line.first_chunk::<4>().is_some_and(|start| is_sip(start))
        || line.windows(4).any(is_sip)
}

/// How many octets of CRLFs stand at the start (RFC 3261, section 7.5).
pub(crate) fn leading_crlfs(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(tail) = rest.strip_prefix(b"\r\n") {
        rest = tail;
    }
    bytes.len().saturating_sub(rest.len())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn line_breaks_are_found_at_every_alignment() {
        for len in 0..40 {
            for at in 0..len {
                for byte in [b'\r', b'\n'] {
                    let mut bytes = vec![0x8d; len];
                    bytes[at] = byte;
                    for from in 0..=len {
                        let expect = (from <= at).then_some(at);
                        assert_eq!(find_line_break(&bytes, from), expect);
                    }
                }
            }
            // Neighbours of the two octets, which borrow tricks may confuse.
            let near: alloc::vec::Vec<u8> =
                [0x09, 0x0b, 0x0c, 0x0e, 0x8a, 0x8d, 0x00].into_iter().cycle().take(len).collect();
            assert_eq!(find_line_break(&near, 0), None);
        }
        assert_eq!(find_line_break(b"x", 9), None);
    }

    /// Covers: ADV-P1, ADV-P2, ADV-P3
    #[test]
    fn content_length_takes_digits_only() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"000150"), Some(150));
        assert_eq!(content_length(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"-1", b"+5", b"5 5", b"5,5", b"0x5", b"5;a", b"4294967296", b"1e3"] {
            assert_eq!(content_length(bad), None);
        }
        // 2^64 + 5 and 2^32 + 5 must not wrap to 5.
        assert_eq!(content_length(b"18446744073709551621"), None);
        assert_eq!(content_length(b"4294967301"), None);
    }

    #[test]
    fn a_field_line_splits_at_the_colon_after_a_token() {
        assert_eq!(split_field(b"Event : a:b"), Some((&b"Event"[..], 7)));
        assert_eq!(split_field(b"o:"), Some((&b"o"[..], 2)));
        for bad in [&b""[..], b":", b" a: b", b"a b: c", b"To\x01: x", b"To\x0b: x", b"To", b"To "] {
            assert_eq!(split_field(bad), None, "{bad:?}");
        }
    }
}
