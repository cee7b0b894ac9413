//! An indexed 4-ary heap: at most one deadline per slot, replaced in place.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::Instant;

const NONE: u32 = u32::MAX;
/// Where the first entry is: the four children of an entry then fill a cache
/// line, and never lie in two blocks.
const ROOT: usize = 3;
/// Elements of a block: growth allocates one and moves nothing.
const BLOCK: usize = 64;

type Entry = (Instant, u32);

/// Stands behind the last one, so that four children can always be read.
const END: Entry = (Instant::FAR_FUTURE, NONE);

/// A list in blocks; what is behind its end is `fill`.
#[derive(Debug, Clone)]
struct Blocks<T> {
    blocks: Vec<Box<[T; BLOCK]>>,
    len: usize,
    fill: T,
}

impl<T: Copy> Blocks<T> {
    const fn new(fill: T) -> Self {
        Self { blocks: Vec::new(), len: 0, fill }
    }

    #[inline]
    fn get(&self, at: usize) -> Option<T> {
        self.blocks.get(at / BLOCK)?.get(at % BLOCK).copied()
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.blocks.get_mut(at / BLOCK)?.get_mut(at % BLOCK)
    }

    #[inline]
    fn push(&mut self, value: T) {
        if self.len / BLOCK == self.blocks.len() {
            self.blocks.push(Box::new([self.fill; BLOCK]));
        }
        if let Some(cell) = self.get_mut(self.len) {
            *cell = value;
        }
        self.len = self.len.saturating_add(1);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let fill = self.fill;
        let value = core::mem::replace(self.get_mut(last)?, fill);
        self.len = last;
        if last % BLOCK == 0 {
            // One empty block is kept, so that nobody at the border allocates each time.
            self.blocks.truncate((last / BLOCK).saturating_add(1));
        }
        Some(value)
    }
}

/// Deadlines by slot. The order of firing is `(deadline, slot)`, whatever the
/// history of arming, so a restored heap fires like the original.
#[derive(Debug, Clone)]
pub(crate) struct TimerHeap {
    /// From [`ROOT`] on.
    heap: Blocks<Entry>,
    place: Blocks<u32>,
}

impl Default for TimerHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerHeap {
    pub(crate) const fn new() -> Self {
        Self { heap: Blocks::new(END), place: Blocks::new(NONE) }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len.saturating_sub(ROOT)
    }

    #[cfg(test)]
    pub(crate) fn is_armed(&self, slot: u32) -> bool {
        self.place.get(slot as usize).is_some_and(|at| at != NONE)
    }

    /// The earliest deadline and its slot.
    pub(crate) fn peek(&self) -> Option<Entry> {
        self.heap.get(ROOT).filter(|(_, slot)| *slot != NONE)
    }

    /// Arms, moves or (with `None`) disarms the one timer of `slot`.
    pub(crate) fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        let at = self.place.get(slot as usize).filter(|at| *at != NONE);
        match (at, deadline) {
            (None, None) => {}
            (None, Some(deadline)) => {
                while self.place.len <= slot as usize {
                    self.place.push(NONE);
                }
                let entry = (deadline, slot);
                while self.heap.len < ROOT {
                    self.heap.push(entry);
                }
                let at = self.heap.len;
                self.heap.push(entry);
                self.sift_up(at, entry);
            }
            (Some(at), Some(deadline)) => {
                let at = at as usize;
                let Some(old) = self.heap.get(at) else { return };
                if old.0 != deadline {
                    self.settle(at, (deadline, slot));
                }
            }
            (Some(at), None) => self.remove_at(at as usize, slot),
        }
    }

    /// Takes the earliest timer if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (deadline, slot) = self.peek()?;
        if deadline > now {
            return None;
        }
        self.remove_at(ROOT, slot);
        Some(slot)
    }

    fn remove_at(&mut self, at: usize, slot: u32) {
        if let Some(place) = self.place.get_mut(slot as usize) {
            *place = NONE;
        }
        if let Some(last) = self.heap.pop()
            && at < self.heap.len
        {
            self.settle(at, last);
        }
    }

    /// Finds the place of `entry`, beginning with `at`, whose own is void.
    fn settle(&mut self, at: usize, entry: Entry) {
        if at > ROOT && self.heap.get(parent(at)).is_some_and(|above| entry < above) {
            self.sift_up(at, entry);
        } else {
            self.sift_down(at, entry);
        }
    }

    fn put(&mut self, at: usize, entry: Entry) {
        if let Some(cell) = self.heap.get_mut(at) {
            *cell = entry;
        }
        if let Some(place) = self.place.get_mut(entry.1 as usize) {
            *place = u32::try_from(at).unwrap_or(NONE);
        }
    }

    fn sift_up(&mut self, mut at: usize, entry: Entry) {
        while at > ROOT
            && let Some(above) = self.heap.get(parent(at)).filter(|above| entry < *above)
        {
            self.put(at, above);
            at = parent(at);
        }
        self.put(at, entry);
    }

    fn sift_down(&mut self, mut at: usize, entry: Entry) {
        loop {
            let first = at.saturating_mul(4).saturating_sub(8);
            let Some(block) = self.heap.blocks.get(first / BLOCK) else { break };
            let Some([a, b, c, d]) = block.get(first % BLOCK..).and_then(|rest| rest.first_chunk()) else { break };
            let one = if b < a { (b, 1) } else { (a, 0) };
            let other = if d < c { (d, 3) } else { (c, 2) };
            let (least, nth) = if other.0 < one.0 { other } else { one };
            if *least >= entry {
                break;
            }
            let least = *least;
            self.put(at, least);
            at = first.saturating_add(nth);
        }
        self.put(at, entry);
    }
}

const fn parent(at: usize) -> usize {
    (at / 4).saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn blocks_hold_what_was_armed_and_go_when_it_is_gone() {
        let mut heap = TimerHeap::new();
        let deadline = |slot: u32| Instant::from_nanos(u64::from(slot.wrapping_mul(2_654_435_761) >> 8));
        let slots = 100 * BLOCK as u32 + 5;
        (0..slots).for_each(|slot| heap.set(slot, Some(deadline(slot))));
        let mut order: Vec<u32> = (0..slots).collect();
        order.sort_by_key(|slot| (deadline(*slot), *slot));
        let fired: Vec<u32> = core::iter::from_fn(|| heap.pop_due(Instant::from_nanos(u64::from(u32::MAX)))).collect();
        assert_eq!(fired, order);
        assert!(heap.heap.blocks.len() <= 2 && heap.peek().is_none());
    }

    #[test]
    fn agrees_with_a_sorted_map_under_random_use() {
        let mut heap = TimerHeap::new();
        let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for _ in 0..20_000 {
            let slot = (random() % 64) as u32;
            match random() % 4 {
                0 => {
                    heap.set(slot, None);
                    model.remove(&slot);
                }
                1 => {
                    let now = Instant::from_nanos(random() % 1000);
                    let due = model.iter().map(|(s, d)| (*d, *s)).min().filter(|(d, _)| *d <= now);
                    assert_eq!(heap.pop_due(now), due.map(|(_, s)| s));
                    if let Some((_, slot)) = due {
                        model.remove(&slot);
                    }
                }
                _ => {
                    let at = Instant::from_nanos(random() % 1000);
                    heap.set(slot, Some(at));
                    model.insert(slot, at);
                }
            }
            assert_eq!(heap.len(), model.len());
            assert_eq!(heap.peek(), model.iter().map(|(s, d)| (*d, *s)).min());
        }
    }
}
