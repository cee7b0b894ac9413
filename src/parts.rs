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

    #[test]
    fn an_empty_one_holds_nothing() {
        let mut table: PartedTable<u32> = PartedTable::new();
        assert!(table.find(7, |_| true).is_none() && table.find_mut(7, |_| true).is_none());
        assert!(table.find_entry(7, |_| true).is_none());
        assert_eq!(table.iter().count(), 0);
    }
}
