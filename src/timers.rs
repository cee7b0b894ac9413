//! An indexed 4-ary heap: at most one deadline per slot, replaced in place.

use alloc::vec::Vec;

use crate::Instant;

const NONE: u32 = u32::MAX;
const ARITY: usize = 4;

/// Deadlines by slot. The order of firing is `(deadline, slot)`, whatever the
/// history of arming, so a restored heap fires like the original.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimerHeap {
    heap: Vec<(Instant, u32)>,
    place: Vec<u32>,
}

impl TimerHeap {
    pub(crate) const fn new() -> Self {
        Self { heap: Vec::new(), place: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[cfg(test)]
    pub(crate) fn is_armed(&self, slot: u32) -> bool {
        self.place.get(slot as usize).is_some_and(|at| *at != NONE)
    }

    /// The earliest deadline and its slot.
    pub(crate) fn peek(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Arms, moves or (with `None`) disarms the one timer of `slot`.
    pub(crate) fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        let at = self.place.get(slot as usize).copied().filter(|at| *at != NONE);
        match (at, deadline) {
            (None, None) => {}
            (None, Some(deadline)) => {
                let slots = (slot as usize).saturating_add(1);
                if self.place.len() < slots {
                    self.place.resize(slots, NONE);
                }
                let at = self.heap.len();
                self.heap.push((deadline, slot));
                self.put(at, (deadline, slot));
                self.sift_up(at);
            }
            (Some(at), Some(deadline)) => {
                let at = at as usize;
                let Some(old) = self.heap.get(at).copied() else { return };
                if old.0 == deadline {
                    return;
                }
                self.put(at, (deadline, slot));
                if deadline < old.0 { self.sift_up(at) } else { self.sift_down(at) }
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
        self.remove_at(0, slot);
        Some(slot)
    }

    fn remove_at(&mut self, at: usize, slot: u32) {
        if let Some(place) = self.place.get_mut(slot as usize) {
            *place = NONE;
        }
        let Some(last) = self.heap.pop() else { return };
        if at < self.heap.len() {
            self.put(at, last);
            self.sift_up(at);
            self.sift_down(at);
        }
    }

    fn put(&mut self, at: usize, entry: (Instant, u32)) {
        if let Some(cell) = self.heap.get_mut(at) {
            *cell = entry;
        }
        if let Some(place) = self.place.get_mut(entry.1 as usize) {
            *place = u32::try_from(at).unwrap_or(NONE);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = at.saturating_sub(1) / ARITY;
            let (Some(child), Some(above)) = (self.heap.get(at).copied(), self.heap.get(parent).copied()) else {
                return;
            };
            if child >= above {
                return;
            }
            self.put(at, above);
            self.put(parent, child);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let first = at.saturating_mul(ARITY).saturating_add(1);
            let last = first.saturating_add(ARITY).min(self.heap.len());
            let Some(least) = self
                .heap
                .get(first..last)
                .and_then(|children| children.iter().zip(first..).min().map(|(entry, at)| (*entry, at)))
            else {
                return;
            };
            let Some(entry) = self.heap.get(at).copied() else { return };
            if entry <= least.0 {
                return;
            }
            self.put(at, least.0);
            self.put(least.1, entry);
            at = least.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

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
