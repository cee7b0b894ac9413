//! Appending text and numbers. Header text is short, so that calls that copy it
//! and branches cost more than the octets.

use alloc::vec::Vec;

/// CR, LF and NUL are below it, and few other octets of a head.
const LOW: u8 = 0x0e;
const BLOCK: usize = 16;

/// The high bit of octets that are below [`LOW`]: zero only if none is.
#[inline]
const fn low_octets(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // A borrow marks octets only behind one that is low.
    word.wrapping_sub(ONES.wrapping_mul(LOW as u64)) & !word & HIGH
}

#[inline]
fn has_low(block: &[u8; BLOCK]) -> bool {
    // In a bool, compilers do not see the vector.
    block.iter().fold(0, |low, octet| low | u8::from(*octet < LOW)) != 0
}

/// Whether no octet of `piece`, which ends with `last`, is low.
#[inline]
fn is_clear(piece: &[u8], last: &[u8; BLOCK]) -> bool {
    // The least octet of each column.
    let mut least = *last;
    let mut rest = piece;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        least.iter_mut().zip(block).for_each(|(least, octet)| *least = (*least).min(*octet));
        rest = tail;
    }
    !has_low(&least)
}

/// Appends `len` octets that begin with `first` and end with `last`, which
/// overlap.
#[inline]
fn push_overlapping<const N: usize>(out: &mut Vec<u8>, first: &[u8; N], last: &[u8; N], len: usize) {
    let end = out.len().wrapping_add(len);
    out.extend_from_slice(first);
    out.truncate(end.wrapping_sub(N));
    out.extend_from_slice(last);
}

/// Appends `piece` if no octet of it is below 0x0e, as NUL, CR and LF are; else
/// nothing.
pub(super) fn push_if_clear(out: &mut Vec<u8>, piece: &[u8]) -> bool {
    let len = piece.len();
    if let (Some(first), Some(last)) = (piece.first_chunk::<BLOCK>(), piece.last_chunk::<BLOCK>()) {
        if len > 2 * BLOCK {
            if is_clear(piece, last) {
                out.extend_from_slice(piece);
                return true;
            }
        } else if !has_low(first) & !has_low(last) {
            push_overlapping(out, first, last, len);
            return true;
        }
    } else if let (Some(first), Some(last)) = (piece.first_chunk::<8>(), piece.last_chunk::<8>()) {
        if low_octets(u64::from_le_bytes(*first)) | low_octets(u64::from_le_bytes(*last)) == 0 {
            push_overlapping(out, first, last, len);
            return true;
        }
    } else if let (Some(first), Some(last)) = (piece.first_chunk::<4>(), piece.last_chunk::<4>()) {
        let both = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
        if low_octets(both) == 0 {
            push_overlapping(out, first, last, len);
            return true;
        }
    } else if piece.iter().all(|octet| *octet >= LOW) {
        out.extend_from_slice(piece);
        return true;
    }
    false
}

/// The digits of a number below 10^8, one an octet, the highest in the lowest:
/// halves, quarters, digits, each division as a multiplication.
#[inline]
const fn eight_digits(number: u32) -> u64 {
    let halves = (number / 10_000) as u64 | ((number % 10_000) as u64) << 32;
    let hundreds = halves.wrapping_mul(10_486) >> 20 & 0x7f_0000_007f;
    let quarters = hundreds | halves.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = quarters.wrapping_mul(103) >> 10 & 0x000f_000f_000f_000f;
    tens | quarters.wrapping_sub(tens.wrapping_mul(10)) << 8
}

const ASCII_ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// The least number of nine digits.
const EIGHT: u32 = 100_000_000;

/// Appends a number below 10^8.
#[inline]
fn push_small(out: &mut Vec<u8>, number: u32) {
    let digits = eight_digits(number);
    // Bits of leading zeros; the last digit stays.
    let zeros = (digits | 1 << 56).trailing_zeros() & !7;
    let end = out.len().wrapping_add(8).wrapping_sub((zeros / 8) as usize);
    out.extend_from_slice(&((digits | ASCII_ZEROS) >> zeros).to_le_bytes());
    out.truncate(end);
}

/// Appends `number` in decimal digits.
pub fn push_u32(out: &mut Vec<u8>, number: u32) {
    if number < EIGHT {
        return push_small(out, number);
    }
    push_small(out, number / EIGHT);
    out.extend_from_slice(&(eight_digits(number % EIGHT) | ASCII_ZEROS).to_le_bytes());
}

/// Appends `number` in decimal digits.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    match u32::try_from(number) {
        Ok(small) => push_u32(out, small),
        Err(_) => push_large(out, number),
    }
}

fn push_large(out: &mut Vec<u8>, number: u64) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

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

    #[test]
    fn every_digit_is_in_its_place() {
        for number in (0..100_000_000).step_by(9_973).chain((0..10_000).map(|n| n * 429_496)) {
            let mut out = Vec::new();
            push_u32(&mut out, number);
            assert_eq!(out, format!("{number}").into_bytes());
        }
    }

    #[test]
    fn text_of_every_length_is_copied() {
        let text: Vec<u8> = (0x0e..=0xff).cycle().take(300).collect();
        for len in 0..text.len() {
            let mut out = Vec::from(&b"before"[..]);
            assert!(push_if_clear(&mut out, &text[..len]));
            assert_eq!(out, [b"before", &text[..len]].concat());
        }
    }

    /// Covers: 3261-7.3.1-2
    #[test]
    fn a_low_octet_is_found_at_every_place() {
        for len in 1..70 {
            for place in 0..len {
                for low in 0..LOW {
                    let mut text = Vec::from([0xff; 70]);
                    text.truncate(len);
                    text[place] = low;
                    let mut out = Vec::from(&b"before"[..]);
                    assert!(!push_if_clear(&mut out, &text), "{low} at {place} of {len}");
                    assert_eq!(out, b"before");
                }
            }
        }
    }
}
