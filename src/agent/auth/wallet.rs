//! Challenges that are being answered, kept for the requests to come (RFC 3261
//! section 22.2): those of a notifier for its To, those of proxies for the
//! Call-ID.

use alloc::boxed::Box;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::client::MAX_REALMS;
use crate::codec::Writer;
use crate::digest::Session;
use crate::entropy::Entropy;
use crate::id::Arena;

#[derive(Debug, Clone)]
struct Entry {
    scope: Box<[u8]>,
    /// Whose credentials it was begun with.
    maker: u64,
    session: Session,
    /// Numbers sessions as they begin.
    serial: u64,
}

/// Sessions by scope; the oldest make room when there are too many, which
/// costs those who lose theirs one more challenge.
#[derive(Debug, Clone)]
pub(super) struct Wallet {
    entries: Arena<Entry>,
    index: HashTable<u32>,
    /// The slot that makes room next.
    hand: u32,
    begun: u64,
}

impl Wallet {
    pub(super) const fn new(capacity: u32) -> Self {
        Self { entries: Arena::new(capacity), index: HashTable::new(), hand: 0, begun: 0 }
    }

    pub(super) const fn len(&self) -> u32 {
        self.entries.len()
    }

    fn all_of(&self, entropy: &Entropy, scope: &[u8]) -> SmallVec<[u32; 2]> {
        let named = |slot: &u32| self.entries.at(*slot).is_some_and(|entry| *entry.scope == *scope);
        let mut slots: SmallVec<[u32; 2]> =
            self.index.iter_hash(entropy.hash(&[scope])).copied().filter(|slot| named(slot)).collect();
        slots.sort_unstable();
        slots
    }

    /// The sessions of a scope that were begun with the same credentials, in
    /// slot order.
    pub(super) fn of_scope(&self, entropy: &Entropy, scope: &[u8], maker: u64) -> SmallVec<[u32; 2]> {
        let mut slots = self.all_of(entropy, scope);
        slots.retain(|slot| self.entries.at(*slot).is_some_and(|entry| entry.maker == maker));
        slots
    }

    /// Leaves the `most` sessions of `slots` that were begun last.
    pub(super) fn newest(&self, slots: &mut SmallVec<[u32; 2]>, most: usize) {
        while slots.len() > most {
            let serial = |at: &usize| slots.get(*at).and_then(|slot| self.entries.at(*slot)).map(|entry| entry.serial);
            let Some(oldest) = (0..slots.len()).min_by_key(serial) else { break };
            slots.remove(oldest);
        }
        slots.sort_unstable();
    }

    pub(super) fn find(&self, entropy: &Entropy, scope: &[u8], maker: u64, realm: &[u8]) -> Option<u32> {
        let slots = self.of_scope(entropy, scope, maker);
        slots.into_iter().find(|slot| self.session(*slot).is_some_and(|session| session.realm() == realm))
    }

    pub(super) fn session(&self, slot: u32) -> Option<&Session> {
        self.entries.at(slot).map(|entry| &entry.session)
    }

    pub(super) fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.entries.at_mut(slot).map(|entry| &mut entry.session)
    }

    /// Keeps `session`, in place of one with the same maker and realm.
    pub(super) fn keep(&mut self, entropy: &Entropy, scope: &[u8], maker: u64, session: Session) {
        if let Some(slot) = self.find(entropy, scope, maker, session.realm()) {
            if let Some(entry) = self.entries.at_mut(slot) {
                entry.session = session;
            }
            return;
        }
        // Each is written into every request: a peer that has a new realm each time lengthens none.
        let slots = self.of_scope(entropy, scope, maker);
        if slots.len() >= MAX_REALMS {
            let serial = |slot: &u32| self.entries.at(*slot).map(|entry| entry.serial);
            if let Some(oldest) = slots.iter().copied().min_by_key(serial) {
                self.remove(entropy, oldest);
            }
        }
        if self.entries.is_full() {
            let hand = self.hand;
            self.hand = hand.checked_add(1).filter(|next| *next < self.entries.len()).unwrap_or(0);
            self.remove(entropy, hand);
        }
        self.begun = self.begun.wrapping_add(1);
        let serial = self.begun;
        let Some(id) = self.entries.insert_with(|_| Entry { scope: scope.into(), maker, session, serial }) else {
            return;
        };
        let entries = &self.entries;
        let rehash = |slot: &u32| entries.at(*slot).map_or(0, |entry| entropy.hash(&[&entry.scope]));
        self.index.insert_unique(entropy.hash(&[scope]), id.slot, rehash);
    }

    pub(super) fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.hand);
        for (id, entry) in self.entries.iter() {
            w.put(&id.slot);
            w.put(&*entry.scope);
            w.put(&entry.maker);
            w.put(&entry.session.is_proxy());
            w.put(entry.session.realm());
            w.put(entry.session.nonce());
            w.put(&entry.session.count());
            w.put(&entry.serial);
        }
    }

    pub(super) fn remove(&mut self, entropy: &Entropy, slot: u32) {
        let Some(entry) = self.entries.remove(slot) else { return };
        if let Ok(found) = self.index.find_entry(entropy.hash(&[&entry.scope]), |other| *other == slot) {
            found.remove();
        }
    }

    pub(super) fn forget(&mut self, entropy: &Entropy, scope: &[u8]) {
        for slot in self.all_of(entropy, scope) {
            self.remove(entropy, slot);
        }
    }
}
