//! Unpredictable values from the caller's seed: tags, branches, Call-IDs,
//! jitter, and the keys of hash tables.

use alloc::vec::Vec;
use core::fmt;
use core::hash::Hasher;

use siphasher::sip::{SipHasher13, SipHasher24};

/// The 32 bytes from which every unpredictable value is derived.
///
/// Take them from the operating system's generator (the `getrandom` crate, or
/// `/dev/urandom`): whoever knows the seed can forge dialog identifiers. A
/// fixed seed makes a run repeat byte for byte, which is what tests want. Use
/// a fresh seed for each start of a program, or identifiers repeat.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl fmt::Debug for Seed {
    /// Prints no byte of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// SipHash-2-4 as a keyed pseudo-random function over a counter. The
/// algorithm is frozen: recorded runs depend on it.
#[derive(Clone)]
pub(crate) struct Entropy {
    values: SipHasher24,
    texts: SipHasher24,
    /// What only places entries of tables, and nobody sees.
    tables: SipHasher13,
    counter: u64,
    /// What the lowest byte of every nonce says.
    shard: Option<u8>,
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entropy {{ counter: {} }}", self.counter)
    }
}

impl Entropy {
    pub(crate) fn new(seed: &Seed, domain: u8) -> Self {
        let [mut a, mut b] = [[0u8; 16]; 2];
        for (to, from) in a.iter_mut().chain(b.iter_mut()).zip(seed.0.iter()) {
            *to = *from;
        }
        // The domain keeps the values of two users of one seed apart.
        a[0] ^= domain;
        b[0] ^= domain;
        let (values, texts) = (SipHasher24::new_with_key(&a), SipHasher24::new_with_key(&b));
        b[0] ^= 0x80;
        Self { values, texts, tables: SipHasher13::new_with_key(&b), counter: 0, shard: None }
    }

    /// How many values were taken.
    pub(crate) const fn counter(&self) -> u64 {
        self.counter
    }

    /// Goes on behind the value `counter`.
    pub(crate) const fn resume(&mut self, counter: u64) {
        self.counter = counter;
    }

    /// Tells whether two are made of the same seed, and nothing of it.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = self.values;
        // No value is taken at zero.
        hasher.write_u64(0);
        hasher.finish() ^ self.hash(&[b"seed"])
    }

    /// The next unpredictable value.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = self.values;
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// The same, with nonces that carry the number of a shard.
    pub(crate) const fn with_shard(mut self, shard: Option<u8>) -> Self {
        self.shard = shard;
        self
    }

    /// The unpredictable half of a [`Minted`]: 64 bits, 56 with a shard.
    pub(crate) fn next_nonce(&mut self) -> u64 {
        let nonce = self.next_u64();
        self.shard.map_or(nonce, |shard| nonce & !0xff | u64::from(shard))
    }

    /// A value in `0..=u16::MAX`.
    pub(crate) fn next_u16(&mut self) -> u16 {
        let [a, b, ..] = self.next_u64().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// A keyed hash of a fixed number of words, for tables whose keys peers
    /// choose.
    pub(crate) fn hash_words(&self, words: &[u64]) -> u64 {
        let mut hasher = self.tables;
        for word in words {
            hasher.write_u64(*word);
        }
        hasher.finish()
    }

    /// The same of a text.
    pub(crate) fn hash_text(&self, text: &[u8]) -> u64 {
        let mut hasher = self.tables;
        hasher.write(text);
        hasher.finish()
    }

    /// A keyed hash of `parts`, each delimited, from which nobody learns
    /// anything of the key.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.texts;
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// A hash under a key that a snapshot may hold.
pub(crate) fn keyed_hash(key: u64, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(key, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// Sixty-four characters that are legal in a SIP token and in a Call-ID.
const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// What a minted identifier is for; its first character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The tag of an attempt of ours.
    Subscriber = b's' as isize,
    /// The tag that we gave to a watcher's dialog.
    Notifier = b'w' as isize,
    /// A client transaction.
    Client = b'c' as isize,
}

/// An identifier that carries the slot of its owner beside 64 unpredictable
/// bits: whoever gets it back finds the owner by index and then compares the
/// bits. It prints as 17 token characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Minted {
    pub(crate) role: Role,
    pub(crate) slot: u32,
    pub(crate) nonce: u64,
}

/// Characters of a printed [`Minted`].
pub(crate) const MINTED_LEN: usize = 17;

impl Minted {
    pub(crate) fn text(self) -> [u8; MINTED_LEN] {
        let mut out = [0u8; MINTED_LEN];
        let mut bits = (u128::from(self.slot) << 64) | u128::from(self.nonce);
        for place in out.iter_mut().rev() {
            *place = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'0');
            bits >>= 6;
        }
        if let Some(first) = out.first_mut() {
            *first = self.role as u8;
        }
        out
    }

    /// The shard that minted it, if it is one of several.
    pub(crate) fn shard(self) -> u8 {
        let [.., shard] = self.nonce.to_be_bytes();
        shard
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    /// Reads back what [`text`](Self::text) printed; anything else is `None`.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text: &[u8; MINTED_LEN] = text.try_into().ok()?;
        let (role, digits) = text.split_first()?;
        let role = match role {
            b's' => Role::Subscriber,
            b'w' => Role::Notifier,
            b'c' => Role::Client,
            _ => return None,
        };
        let mut bits = 0u128;
        for digit in digits {
            // The other way round than `ALPHABET`; nothing wraps within its range.
            let value = match digit {
                b'0'..=b'9' => digit.wrapping_sub(b'0'),
                b'A'..=b'Z' => digit.wrapping_sub(b'A').wrapping_add(10),
                b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(36),
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = (bits << 6) | u128::from(value);
        }
        let slot = u32::try_from(bits >> 64).ok()?;
        let nonce = u64::try_from(bits & u128::from(u64::MAX)).ok()?;
        Some(Self { role, slot, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_identifiers_read_back() {
        for (slot, nonce) in [(0, 0), (1, 1), (u32::MAX, u64::MAX), (77, 0x0123_4567_89ab_cdef)] {
            for role in [Role::Subscriber, Role::Notifier, Role::Client] {
                let minted = Minted { role, slot, nonce };
                assert_eq!(Minted::read(&minted.text()), Some(minted));
            }
        }
        assert_eq!(Minted::read(b"w000000000000000"), None);
        assert_eq!(Minted::read(b"x0000000000000000"), None);
        assert_eq!(Minted::read(b"w000000000000000!"), None);
    }

    #[test]
    fn same_seed_same_values_and_no_repeats() {
        let mut a = Entropy::new(&Seed([7; 32]), 1);
        let mut b = Entropy::new(&Seed([7; 32]), 1);
        let mut other = Entropy::new(&Seed([7; 32]), 2);
        let values: Vec<u64> = (0..10_000).map(|_| a.next_u64()).collect();
        assert!(values.iter().all(|v| *v == b.next_u64()));
        assert_ne!(values.first(), Some(&other.next_u64()));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), values.len());
        assert_ne!(a.hash(&[b"ab", b"c"]), a.hash(&[b"a", b"bc"]));
    }
}
