//! A hash table in parts: when it grows, one part is divided, and all else
//! stays where it is.

use alloc::vec::Vec;

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;

/// Entries of a part that is full: seven eighths of its buckets.
const FULL: usize = 3_584;
/// Bits of the hash that tell parts apart begin here: a part uses the others.
const SHIFT: u32 = 32;
/// Most bits that tell parts apart; beyond it parts grow without bound.
const MAX_DEPTH: u32 = 20;

/// A table of what is found by a hash and a comparison.
#[derive(Debug, Clone)]
pub(crate) struct PartedTable<T> {
    /// The part of each value of `depth` bits of a hash.
    directory: Vec<u32>,
    parts: Vec<Part<T>>,
    depth: u32,
}

#[derive(Debug, Clone)]
struct Part<T> {
    entries: HashTable<T>,
    /// How many bits the hashes of all its entries share.
    depth: u32,
}

impl<T> Default for PartedTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PartedTable<T> {
    pub(crate) const fn new() -> Self {
        Self { directory: Vec::new(), parts: Vec::new(), depth: 0 }
    }

    fn place(&self, hash: u64) -> usize {
        let mask = (1u64 << self.depth.min(MAX_DEPTH)).wrapping_sub(1);
        let at = usize::try_from((hash >> SHIFT) & mask).unwrap_or(0);
        self.directory.get(at).map_or(usize::MAX, |place| *place as usize)
    }

    /// An entry of that hash which `is` recognises.
    pub(crate) fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts.get(self.place(hash))?.entries.find(hash, is)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let place = self.place(hash);
        self.parts.get_mut(place)?.entries.find_mut(hash, is)
    }

    /// The same, to be removed or changed.
    pub(crate) fn find_entry(&mut self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<OccupiedEntry<'_, T>> {
        let place = self.place(hash);
        self.parts.get_mut(place)?.entries.find_entry(hash, is).ok()
    }

    /// Adds an entry that is not there. `hash_of` is asked for the hashes of
    /// the entries of one part at most.
    pub(crate) fn insert_unique(&mut self, hash: u64, value: T, hash_of: impl Fn(&T) -> u64) {
        if self.parts.is_empty() {
            self.parts.push(Part { entries: HashTable::new(), depth: 0 });
            self.directory.push(0);
        }
        let mut place = self.place(hash);
        while self.parts.get(place).is_some_and(|part| part.entries.len() >= FULL && part.depth < MAX_DEPTH) {
            self.divide(place, &hash_of);
            place = self.place(hash);
        }
        if let Some(part) = self.parts.get_mut(place) {
            part.entries.insert_unique(hash, value, hash_of);
        }
    }

    /// Moves the entries with the next bit set into a part of their own.
    fn divide(&mut self, place: usize, hash_of: &impl Fn(&T) -> u64) {
        let Some(part) = self.parts.get_mut(place) else { return };
        let bit = part.depth;
        part.depth = bit.saturating_add(1);
        let (old, depth) = (core::mem::take(&mut part.entries), part.depth);
        let [mut clear, mut set] = [HashTable::with_capacity(FULL), HashTable::with_capacity(FULL)];
        for entry in old {
            let hash = hash_of(&entry);
            let half = if (hash >> SHIFT.saturating_add(bit)) & 1 == 0 { &mut clear } else { &mut set };
            half.insert_unique(hash, entry, hash_of);
        }
        part.entries = clear;
        let new = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        self.parts.push(Part { entries: set, depth });
        if depth > self.depth {
            self.directory.extend_from_within(..);
            self.depth = depth;
        }
        for (at, named) in self.directory.iter_mut().enumerate() {
            if *named as usize == place && (at >> bit) & 1 == 1 {
                *named = new;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        #[allow(clippy::disallowed_methods)]
        self.parts.iter().flat_map(|part| part.entries.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Seed};
    use core::cell::Cell;

    fn hash(value: &u32) -> u64 {
        // The finaliser of SplitMix64.
        let mut z = u64::from(*value).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn all_is_found_and_no_insertion_moves_more_than_a_part() {
        let mut table = PartedTable::new();
        let asked = Cell::new(0);
        let mut most = 0;
        for value in 0..200_000u32 {
            asked.set(0);
            table.insert_unique(hash(&value), value, |value| {
                asked.set(asked.get() + 1);
                hash(value)
            });
            most = most.max(asked.get());
        }
        assert!((1..=2 * FULL).contains(&most), "{most}");
        assert!(table.parts.len() >= 200_000 / FULL && table.parts.len() <= 128, "{}", table.parts.len());
        for value in 0..200_000u32 {
            assert_eq!(table.find(hash(&value), |other| *other == value), Some(&value));
            if value % 3 == 0 {
                assert_eq!(table.find_entry(hash(&value), |other| *other == value).unwrap().remove().0, value);
            }
        }
        for value in 0..200_010u32 {
            let there = value < 200_000 && value % 3 != 0;
            assert_eq!(table.find_mut(hash(&value), |other| *other == value).is_some(), there);
        }
        assert_eq!(table.iter().count(), 200_000 - 200_000_usize.div_ceil(3));
    }

    type Kind<'a> = (&'a str, &'a dyn Fn(u64) -> [u64; 2]);

    /// Names that collide under hashes that others use, 100,000 of each kind, are
    /// compared with as few others as random ones: the hash has a secret key.
    ///
    /// Covers: ADV-P24
    #[test]
    fn chosen_names_are_found_as_fast_as_random_ones() {
        const COUNT: u64 = 100_000;
        let entropy = Entropy::new(&Seed([7; 32]), 1);
        let fx = |state: u64, word: u64| (state.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        let kinds: [Kind<'_>; 4] = [
            ("random", &|n| [n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n.rotate_right(17) ^ 0x2545_f491_4f6c_dd1d]),
            // Equal under the FxHash of two words, all 64 bits.
            ("fx", &|n| [n, fx(0, n).rotate_left(5) ^ 0x5ee]),
            // Equal under any hash that adds or combines words by XOR.
            ("xor", &|n| [n, n ^ 0x5ee]),
            // Equal in the low bits, which tables without a hash of their own take.
            ("low bits", &|n| [n << 20, n << 44]),
        ];
        let cost = |name: &dyn Fn(u64) -> [u64; 2]| {
            let names: Vec<[u64; 2]> = (0..COUNT).map(name).collect();
            let bytes = |at: u32| names[at as usize].map(u64::to_be_bytes).concat();
            let mut table = PartedTable::new();
            for at in 0..names.len() as u32 {
                table.insert_unique(entropy.hash(&[&bytes(at)]), at, |at| entropy.hash(&[&bytes(*at)]));
            }
            let mut compared = 0u64;
            for at in 0..names.len() as u32 {
                let is = |other: &u32| {
                    compared += 1;
                    *other == at
                };
                assert_eq!(table.find(entropy.hash(&[&bytes(at)]), is), Some(&at));
            }
            compared
        };
        let [random, others @ ..] = kinds.map(|(name, kind)| (name, cost(kind)));
        assert!(random.1 < COUNT * 2, "{random:?}");
        for other in others {
            assert!(other.1 <= random.1 * 2, "{other:?} beside {random:?}");
        }
    }

    #[test]
    fn an_empty_one_holds_nothing() {
        let mut table: PartedTable<u32> = PartedTable::new();
        assert!(table.find(7, |_| true).is_none() && table.find_mut(7, |_| true).is_none());
        assert!(table.find_entry(7, |_| true).is_none());
        assert_eq!(table.iter().count(), 0);
    }
}
