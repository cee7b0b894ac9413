//! What is known of names, and which questions are under way.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use hashbrown::HashTable;

use crate::Instant;
use crate::entropy::Entropy;
use crate::id::{Arena, RawId};
use crate::io::{Answer, Io, QueryId, Question, QuestionKind, Record, ResolveFailure};

/// Records and addresses used of one answer.
const MAX_RECORDS: usize = 32;
/// How long it is remembered that a name has no answer.
const NEGATIVE: Duration = Duration::from_secs(5);

/// An answer; cheap to copy.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Records(Arc<[Record]>),
    Addresses(Arc<[IpAddr]>),
    Nothing,
}

/// What the cache says.
#[derive(Debug)]
pub(super) enum Look {
    Known(Known),
    /// The question is under way; its slot.
    Waiting(u32),
    /// The cache is full of questions under way.
    Full,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) question: Question,
    /// The answer and the last moment at which it holds; `None` until it came.
    pub(super) answer: Option<(Known, Instant)>,
    /// Client transactions that wait for it, by slot.
    pub(super) waiters: Vec<u32>,
}

/// The cache. Equal questions are asked once.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    pub(super) entries: Arena<Entry>,
    pub(super) index: HashTable<u32>,
    pub(super) no_naptr: bool,
    pub(super) no_srv: bool,
}

fn hash(entropy: &Entropy, question: &Question) -> u64 {
    entropy.hash(&[&question.name, &[question.kind as u8]])
}

impl Resolver {
    pub(super) fn new(capacity: u32) -> Self {
        Self { entries: Arena::new(capacity), index: HashTable::new(), no_naptr: false, no_srv: false }
    }

    /// What is known of `question`, which is asked if need be.
    pub(super) fn look(&mut self, now: Instant, question: Question, entropy: &Entropy, io: &mut VecDeque<Io>) -> Look {
        let unsupported = match question.kind {
            QuestionKind::Naptr => self.no_naptr,
            QuestionKind::Srv => self.no_srv,
            QuestionKind::Address => false,
        };
        if unsupported || question.name.is_empty() || question.name.len() > 255 {
            return Look::Known(Known::Nothing);
        }
        let key = hash(entropy, &question);
        let same = |slot: &u32| self.entries.at(*slot).is_some_and(|e| e.question == question);
        if let Some(slot) = self.index.find(key, same).copied() {
            match self.entries.at(slot).map(|entry| &entry.answer) {
                Some(None) if self.is_awaited(slot) => return Look::Waiting(slot),
                Some(Some((known, until))) if *until >= now => return Look::Known(known.clone()),
                _ => self.remove(entropy, slot),
            }
        }
        if self.entries.is_full() && !self.make_room(entropy) {
            return Look::Full;
        }
        let entry = Entry { question: question.clone(), answer: None, waiters: Vec::new() };
        let Some(id) = self.entries.insert_with(|_| entry) else { return Look::Full };
        let entries = &self.entries;
        let rehash = |slot: &u32| entries.at(*slot).map_or(0, |e| hash(entropy, &e.question));
        self.index.insert_unique(key, id.slot, rehash);
        io.push_back(Io::Resolve { query: QueryId(id), question });
        Look::Waiting(id.slot)
    }

    /// Whether somebody waits for the answer still: one that never comes keeps
    /// nobody from asking again.
    fn is_awaited(&self, slot: u32) -> bool {
        self.entries.at(slot).is_some_and(|entry| !entry.waiters.is_empty())
    }

    /// Frees the answer that ends first, else a question that nobody waits
    /// for.
    fn make_room(&mut self, entropy: &Entropy) -> bool {
        let victim = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.waiters.is_empty())
            .min_by_key(|(id, entry)| {
                let until = entry.answer.as_ref().map(|(_, until)| *until);
                (until.is_none(), until, id.slot)
            })
            .map(|(id, _)| id.slot);
        if let Some(slot) = victim {
            self.remove(entropy, slot);
        }
        victim.is_some()
    }

    fn remove(&mut self, entropy: &Entropy, slot: u32) {
        let Some(entry) = self.entries.remove(slot) else { return };
        if let Ok(found) = self.index.find_entry(hash(entropy, &entry.question), |s| *s == slot) {
            found.remove();
        }
    }

    /// Takes in an answer and returns who waits for it; `None` if nothing was
    /// asked under that id.
    pub(super) fn answer(&mut self, now: Instant, query: RawId, answer: Answer<'_>) -> Option<Vec<u32>> {
        let entry = self.entries.get_mut(query).filter(|entry| entry.answer.is_none())?;
        let (known, ttl) = match (answer, entry.question.kind) {
            (Answer::Records { records, ttl }, QuestionKind::Naptr | QuestionKind::Srv) => {
                (Known::Records(records.iter().take(MAX_RECORDS).cloned().collect()), ttl)
            }
            (Answer::Addresses { addresses, ttl }, QuestionKind::Address) => {
                (Known::Addresses(addresses.iter().take(MAX_RECORDS).copied().collect()), ttl)
            }
            (Answer::Failed(ResolveFailure::NotSupported), kind) => {
                self.no_naptr |= kind == QuestionKind::Naptr;
                self.no_srv |= kind == QuestionKind::Srv;
                (Known::Nothing, NEGATIVE)
            }
            _ => (Known::Nothing, NEGATIVE),
        };
        entry.answer = Some((known, now.saturating_add(ttl)));
        Some(core::mem::take(&mut entry.waiters))
    }

    /// Builds the index of entries that were restored.
    pub(super) fn index_all(&mut self, entropy: &Entropy) {
        let entries = &self.entries;
        let rehash = |slot: &u32| entries.at(*slot).map_or(0, |e| hash(entropy, &e.question));
        for (id, entry) in entries.iter() {
            self.index.insert_unique(hash(entropy, &entry.question), id.slot, rehash);
        }
    }

    pub(super) fn waiters(&mut self, slot: u32) -> Option<&mut Vec<u32>> {
        self.entries.at_mut(slot).map(|entry| &mut entry.waiters)
    }
}
