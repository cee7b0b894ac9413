//! Lists that run through watcher records: constant time, no allocation.

use super::flows::FlowId;
use super::watchers::Watcher;
use crate::id::Arena;

const NIL: u32 = u32::MAX;

/// Where a watcher waits for its turn to be notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Nowhere.
    Idle,
    /// In the agent's list of watchers that may send now.
    Ready,
    /// In the list of a flow without room.
    Waiting(FlowId),
}

/// A watcher's place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) queue: Queue,
    prev: u32,
    next: u32,
}

impl Link {
    pub(crate) fn after(self) -> Option<u32> {
        Some(self.next).filter(|next| *next != NIL)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self { queue: Queue::Idle, prev: NIL, next: NIL }
    }
}

/// A first-in first-out list of watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NIL, tail: NIL }
    }
}

impl List {
    pub(crate) fn first(&self) -> Option<u32> {
        Some(self.head).filter(|head| *head != NIL)
    }

    /// Appends the watcher in `slot`, which is in no list.
    pub(crate) fn push(&mut self, arena: &mut Arena<Watcher>, slot: u32, queue: Queue) {
        let Some(watcher) = arena.at_mut(slot) else { return };
        watcher.link = Link { queue, prev: self.tail, next: NIL };
        match arena.at_mut(self.tail) {
            Some(last) => last.link.next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
    }

    /// Takes the watcher in `slot`, which is in this list, out of it.
    pub(crate) fn remove(&mut self, arena: &mut Arena<Watcher>, slot: u32) {
        let Some(watcher) = arena.at_mut(slot) else { return };
        let Link { prev, next, .. } = core::mem::take(&mut watcher.link);
        match arena.at_mut(prev) {
            Some(before) => before.link.next = next,
            None => self.head = next,
        }
        match arena.at_mut(next) {
            Some(after) => after.link.prev = prev,
            None => self.tail = prev,
        }
    }
}
