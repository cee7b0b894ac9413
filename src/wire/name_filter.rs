//! Doubled names among parameters (RFC 3261, section 7.3.1).

use super::ParseErrorKind;
use super::lex::MAX_PARAMS;

/// Finds doubled names: a cheap sieve first, the exact search only when the
/// sieve lets something through.
#[derive(Default)]
pub(crate) struct NameFilter<'a> {
    first: &'a [u8],
    second: &'a [u8],
    bits: u64,
    count: usize,
    suspicious: bool,
}

impl<'a> NameFilter<'a> {
    #[inline]
    pub(crate) fn note(&mut self, name: &'a [u8]) {
        self.count = self.count.saturating_add(1);
        // Seldom is there a third one.
        match self.count {
            1 => self.first = name,
            2 => self.second = name,
            3 => {
                self.sift(self.first);
                self.sift(self.second);
                self.sift(name);
            }
            _ => self.sift(name),
        }
    }

    #[inline(never)]
    fn sift(&mut self, name: &[u8]) {
        let fold = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or(0) | 0x20);
        let mixed = fold(name.first())
            .wrapping_mul(31)
            .wrapping_add(fold(name.last()).wrapping_mul(7))
            .wrapping_add(fold(name.get(1)).wrapping_mul(3))
            .wrapping_add(u32::try_from(name.len()).unwrap_or(u32::MAX));
        let bit = 1u64.rotate_left(mixed);
        self.suspicious |= self.bits & bit != 0;
        self.bits |= bit;
    }

    /// Checks the names noted, given once more.
    #[inline]
    pub(crate) fn distinct(&self, names: impl Iterator<Item = &'a [u8]>) -> Result<(), ParseErrorKind> {
        if self.count > MAX_PARAMS {
            return Err(ParseErrorKind::TooManyParameters);
        }
        let doubled = match self.count {
            0 | 1 => false,
            2 => self.first.eq_ignore_ascii_case(self.second),
            _ => self.suspicious,
        };
        if doubled { Self::search(names) } else { Ok(()) }
    }

    #[cold]
    fn search(names: impl Iterator<Item = &'a [u8]>) -> Result<(), ParseErrorKind> {
        let mut seen: [&[u8]; MAX_PARAMS] = [&[]; MAX_PARAMS];
        for (used, name) in names.enumerate() {
            let Some((earlier, free)) = seen.split_at_mut_checked(used) else {
                return Err(ParseErrorKind::TooManyParameters);
            };
            if earlier.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(ParseErrorKind::DuplicateParameter);
            }
            let Some(slot) = free.first_mut() else {
                return Err(ParseErrorKind::TooManyParameters);
            };
            *slot = name;
        }
        Ok(())
    }
}
