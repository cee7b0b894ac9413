//! Finding lines: the one place that decides where a line and the head end,
//! so that the framer and the message parser cannot disagree.

use super::lex::is_token_byte;
use core::ops::Range;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
/// Octets that are looked at together: compilers make one vector of them.
const BLOCK: usize = 16;

/// Marks each zero octet of `word` with its high bit. A borrow can only mark
/// octets behind a true one: the lowest mark is true.
#[inline]
pub(crate) const fn zero_octets(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Whether all octets pass `test`: comparisons joined by `&` and `|`, not by
/// `&&` and `||`, can be made on many at once.
#[inline]
pub(crate) fn all(bytes: &[u8], test: impl Fn(u8) -> bool + Copy) -> bool {
    // In a bool, compilers do not see the vector.
    let block = |block: &[u8; BLOCK]| block.iter().fold(0, |failed, octet| failed | u8::from(!test(*octet))) == 0;
    let mut rest = bytes;
    while let Some((next, tail)) = rest.split_first_chunk::<BLOCK>() {
        if !block(next) {
            return false;
        }
        rest = tail;
    }
    if rest.is_empty() {
        return true;
    }
    // Some octets twice.
    if let Some(last) = bytes.last_chunk::<BLOCK>() {
        return block(last);
    }
    rest.iter().all(|octet| test(*octet))
}

/// What CR, LF and NUL are; few others in a head are.
#[inline]
const fn is_low(octet: u8) -> bool {
    octet < 0x0e
}

/// Whether any octet is below 0x0e, as NUL, CR and LF are.
#[inline]
pub(crate) fn has_low_octet(bytes: &[u8]) -> bool {
    !all(bytes, |octet| !is_low(octet))
}

/// Offset of the first `octet`.
#[inline]
pub(crate) fn find_octet(bytes: &[u8], octet: u8) -> Option<usize> {
    let mut rest = bytes;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let found = zero_octets(u64::from_le_bytes(*word) ^ ONES.wrapping_mul(octet as u64));
        if found != 0 {
            let before = bytes.len().wrapping_sub(rest.len());
            return Some(before.wrapping_add((found.trailing_zeros() / 8) as usize));
        }
        rest = tail;
    }
    let within = rest.iter().position(|byte| *byte == octet)?;
    Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(within))
}

/// Offset of the first CR or LF at or after `from`.
#[inline]
pub(crate) fn find_line_break(bytes: &[u8], from: usize) -> Option<usize> {
    let mut rest = bytes.get(from..)?;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        if !block.iter().fold(false, |any, octet| any | is_low(*octet)) {
            rest = tail;
            continue;
        }
        let low = |word: Option<&[u8; 8]>| {
            let word = u64::from_le_bytes(*word.unwrap_or(&[0; 8]));
            word.wrapping_sub(ONES.wrapping_mul(0x0e)) & !word & HIGH
        };
        let within = match low(block.first_chunk()) {
            0 => low(block.last_chunk()).trailing_zeros().wrapping_add(u64::BITS) / 8,
            marks => marks.trailing_zeros() / 8,
        };
        if matches!(block.get(within as usize), Some(b'\r' | b'\n')) {
            return Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(within as usize));
        }
        rest = rest.get(within.wrapping_add(1) as usize..)?;
    }
    let within = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n'))?;
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

    /// What is left, from the start of the next line.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes the next line if it is neither folded nor empty behind the colon,
    /// and gives its value without blanks at the ends. The value begins behind
    /// `named` octets without a line break. What this does not take,
    /// [`Lines::logical`] does.
    #[inline]
    pub(crate) fn plain(&mut self, named: usize) -> Option<Range<usize>> {
        let mut rest = self.rest().get(named..)?;
        while let [b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let len = find_line_break(rest, 0)?;
        let (mut value, [b'\r', b'\n', next, ..]) = rest.split_at_checked(len)? else { return None };
        if value.is_empty() || matches!(next, b' ' | b'\t') {
            return None;
        }
        let start = self.bytes.len().wrapping_sub(rest.len());
        self.at = start.wrapping_add(len).wrapping_add(2);
        while let [before @ .., b' ' | b'\t'] = value {
            value = before;
        }
        Some(start..start.wrapping_add(value.len()))
    }

    /// The next line as it stands between two CRLFs.
    pub(crate) fn physical(&mut self) -> Line {
        self.line(false)
    }

    /// The next line with its continuation lines (RFC 3261, section 7.3.1).
    pub(crate) fn logical(&mut self) -> Line {
        self.line(true)
    }

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
    let (mut start, mut end) = (range.start, range.end);
    // Most octets are above all blanks.
    let is_blank =
        |at: usize| bytes.get(at).is_some_and(|octet| *octet <= b' ' && matches!(*octet, b' ' | b'\t' | b'\r' | b'\n'));
    while start < end && is_blank(start) {
        start = start.wrapping_add(1);
    }
    if start >= end {
        return range.start..range.start;
    }
    while end > start && is_blank(end.wrapping_sub(1)) {
        end = end.wrapping_sub(1);
    }
    start..end
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
