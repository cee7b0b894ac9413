//! Typed generational ids, and the arena that hands them out.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

/// Records per chunk: growth allocates one chunk and moves nothing, so no call
/// pauses to copy a million records.
const CHUNK: usize = 4096;

/// A place in an [`Arena`] and the life that it held: a slot that is used
/// again gets another generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RawId {
    pub(crate) slot: u32,
    pub(crate) generation: NonZeroU32,
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) RawId);

        impl $name {
            /// The slot and generation as one number, for logs and maps; the
            /// same number never names two objects of one agent.
            pub fn as_u64(self) -> u64 {
                (u64::from(self.0.generation.get()) << 32) | u64::from(self.0.slot)
            }

            /// The id that [`as_u64`](Self::as_u64) printed; `None` for a number that no id has.
            /// Whether the object still lives is for the command that takes the id to say.
            pub fn from_u64(number: u64) -> Option<Self> {
                let generation = NonZeroU32::new(u32::try_from(number >> 32).ok()?)?;
                let slot = u32::try_from(number & 0xffff_ffff).ok()?;
                Some(Self(RawId { slot, generation }))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:?}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

typed_id!(
    /// One of our subscriptions, as subscriber. It names the intent and its
    /// first dialog and survives automatic re-subscription; each further fork
    /// has an id of its own (RFC 6665 section 4.1.4).
    SubscriptionId,
    "sub"
);
typed_id!(
    /// A subscription of somebody else to a resource that we serve, as
    /// notifier.
    WatcherId,
    "watcher"
);
typed_id!(
    /// A resource whose state we hold, under one event package.
    ResourceId,
    "resource"
);
typed_id!(
    /// A SUBSCRIBE that awaits the application's decision.
    IncomingId,
    "incoming"
);

#[cfg(feature = "digest")]
typed_id!(
    /// A request whose sender's secret is being looked up.
    ClaimId,
    "claim"
);

#[derive(Debug, Clone)]
struct Entry<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

/// Records in slots, with a deterministic last-in first-out free list.
#[derive(Debug, Clone)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
    len: u32,
    capacity: u32,
}

impl<T> Arena<T> {
    /// An arena that never holds more than `capacity` records.
    pub(crate) const fn new(capacity: u32) -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0, capacity }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)
    }

    /// The slot that the next [`insert`](Self::insert_with) will use.
    fn next_slot(&mut self) -> u32 {
        // Those that `place` took are still listed.
        while let Some(slot) = self.free.last().copied()
            && self.at(slot).is_some()
        {
            self.free.pop();
        }
        match self.free.last() {
            Some(slot) => *slot,
            None => self.len,
        }
    }

    /// Stores what `make` builds for its id, unless the arena is full.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(RawId) -> T) -> Option<RawId> {
        if self.is_full() {
            return None;
        }
        let slot = self.next_slot();
        let generation = match self.entry(slot) {
            Some(entry) => entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN),
            None => NonZeroU32::MIN,
        };
        let id = RawId { slot, generation };
        let entry = Entry { generation, value: Some(make(id)) };
        if self.free.pop().is_some() {
            *self.entry_mut(slot)? = entry;
        } else {
            self.push_entry(entry);
        }
        self.len = self.len.saturating_add(1);
        Some(id)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        self.entry(slot)?.value.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entry_mut(slot)?.value.as_mut()
    }

    pub(crate) fn get(&self, id: RawId) -> Option<&T> {
        self.entry(id.slot).filter(|entry| entry.generation == id.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: RawId) -> Option<&mut T> {
        self.entry_mut(id.slot).filter(|entry| entry.generation == id.generation)?.value.as_mut()
    }

    /// The full id of what lives in `slot`.
    pub(crate) fn id_at(&self, slot: u32) -> Option<RawId> {
        let entry = self.entry(slot)?;
        entry.value.as_ref()?;
        Some(RawId { slot, generation: entry.generation })
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.entry_mut(slot)?.value.take()?;
        self.free.push(slot);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// Slots that were ever used.
    pub(crate) fn slots(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1).saturating_mul(CHUNK);
        u32::try_from(full.saturating_add(self.chunks.last().map_or(0, Vec::len))).unwrap_or(u32::MAX)
    }

    /// The generation of a slot that was ever used, and what lives there.
    pub(crate) fn slot(&self, slot: u32) -> Option<(NonZeroU32, Option<&T>)> {
        self.entry(slot).map(|entry| (entry.generation, entry.value.as_ref()))
    }

    /// Free slots; the last one is used next.
    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }

    /// Drops from the list of free slots what [`place`](Self::place) took.
    pub(crate) fn tidy_free(&mut self) {
        let order = core::mem::take(&mut self.free);
        self.set_free(&order);
    }

    /// Adds the next slot; for restoring.
    pub(crate) fn push_slot(&mut self, generation: NonZeroU32, value: Option<T>) {
        self.len = self.len.saturating_add(u32::from(value.is_some()));
        self.push_entry(Entry { generation, value });
    }

    fn push_entry(&mut self, entry: Entry<T>) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK.min(self.capacity as usize)));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let len = chunk.len();
            // A clone has room for what it holds, no more.
            if len == chunk.capacity() {
                chunk.reserve_exact(len.saturating_mul(3).max(16).min(CHUNK.saturating_sub(len)));
            }
            chunk.push(entry);
        }
    }

    /// The order in which free slots are used; what is missing in it comes
    /// last, what is not free is left out.
    pub(crate) fn set_free(&mut self, order: &[u32]) {
        let slots = self.slots();
        let mut vacant: Vec<bool> = (0..slots).map(|slot| self.at(slot).is_none()).collect();
        let mut take = |slot: u32| vacant.get_mut(slot as usize).is_some_and(core::mem::take);
        // From the end, where a slot that is listed twice counts.
        let mut free: Vec<u32> = order.iter().rev().copied().filter(|slot| take(*slot)).collect();
        free.extend((0..slots).filter(|slot| take(*slot)));
        free.reverse();
        self.free = free;
    }

    /// Stores a record under an id of its own; `false` if something lives
    /// there, or if it would be one too many.
    pub(crate) fn place(&mut self, id: RawId, value: T) -> bool {
        if self.is_full() || id.slot >= self.capacity || self.at(id.slot).is_some() {
            return false;
        }
        while self.slots() <= id.slot {
            let slot = self.slots();
            self.push_slot(NonZeroU32::MIN, None);
            self.free.push(slot);
        }
        // The slot leaves the list when its turn comes: see `next_slot`. One
        // that comes and goes would be listed ever more often.
        if self.free.len() > (self.slots() as usize).saturating_mul(2) {
            self.tidy_free();
        }
        if let Some(entry) = self.entry_mut(id.slot) {
            *entry = Entry { generation: id.generation, value: Some(value) };
            self.len = self.len.saturating_add(1);
        }
        true
    }

    /// All records in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RawId, &T)> {
        self.chunks.iter().flatten().zip(0u32..).filter_map(|(entry, slot)| {
            let id = RawId { slot, generation: entry.generation };
            Some((id, entry.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_has_another_generation() {
        let mut arena = Arena::new(2);
        let a = arena.insert_with(|_| 'a').unwrap();
        let b = arena.insert_with(|_| 'b').unwrap();
        assert!(arena.insert_with(|_| 'c').is_none());
        assert_eq!(arena.remove(a.slot), Some('a'));
        assert_eq!(arena.remove(a.slot), None);
        let c = arena.insert_with(|_| 'c').unwrap();
        assert_eq!(c.slot, a.slot);
        assert_eq!(arena.get(a), None);
        assert_eq!(arena.get(c), Some(&'c'));
        assert_eq!(arena.iter().map(|(id, v)| (id, *v)).collect::<Vec<_>>(), [(c, 'c'), (b, 'b')]);
    }

    #[test]
    fn records_span_chunks() {
        let mut arena = Arena::new(u32::MAX);
        for n in 0..10_000u32 {
            assert_eq!(arena.insert_with(|_| n).unwrap().slot, n);
        }
        assert_eq!(arena.at(9_999), Some(&9_999));
        assert_eq!(arena.len(), 10_000);
    }

    #[test]
    fn ids_are_numbers_that_read_back() {
        let id = SubscriptionId(RawId { slot: 7, generation: NonZeroU32::MIN });
        assert_eq!(SubscriptionId::from_u64(id.as_u64()), Some(id));
        assert_eq!(SubscriptionId::from_u64(7), None);
        assert_eq!(size_of::<Option<WatcherId>>(), 8);
    }
}
