//! Tables of records, written in steps.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::codec::{Mode, Reader, Writer, put_list};
use crate::error::RestoreError;
use crate::id::{Arena, RawId};

const VACANT: u64 = 0;
const LIVES: u64 = 1;
const END: u64 = 2;

/// How far the writing of a snapshot has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    pub(crate) stage: u8,
    pub(crate) at: u32,
    /// Records that this step may still look at.
    pub(crate) budget: u32,
}

impl Cursor {
    /// Whether the step may go on; counts one record.
    pub(crate) fn spend(&mut self) -> bool {
        let may = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        may
    }

    pub(crate) fn next_stage(&mut self) {
        self.stage = self.stage.saturating_add(1);
        self.at = 0;
    }
}

/// Writes the slots of a table; those that `keep` refuses are written as free.
pub(crate) fn put_slots<T>(
    arena: &Arena<T>,
    cursor: &mut Cursor,
    w: &mut Writer<'_>,
    keep: impl Fn(&T) -> bool,
    put: impl Fn(&mut Writer<'_>, RawId, &T),
) {
    while cursor.spend() {
        let slot = cursor.at;
        let Some((generation, value)) = arena.slot(slot) else {
            w.word(END);
            return cursor.next_stage();
        };
        let value = value.filter(|value| keep(value));
        w.word(if value.is_some() { LIVES } else { VACANT });
        w.put(&generation);
        if let Some(value) = value {
            put(w, RawId { slot, generation }, value);
        }
        cursor.at = slot.saturating_add(1);
    }
}

/// Writes the order in which free slots are used: the table's own, then those
/// that [`put_slots`] wrote as free.
pub(crate) fn put_free<T>(arena: &Arena<T>, cursor: &mut Cursor, w: &mut Writer<'_>, keep: impl Fn(&T) -> bool) {
    while cursor.spend() {
        let listed = arena.free();
        let slot = match listed.get(cursor.at as usize) {
            Some(slot) if arena.at(*slot).is_none() => Some(*slot),
            Some(_) => None,
            None => {
                let slot = cursor.at.saturating_sub(u32::try_from(listed.len()).unwrap_or(u32::MAX));
                if slot >= arena.slots() {
                    w.word(VACANT);
                    return cursor.next_stage();
                }
                Some(slot).filter(|slot| arena.at(*slot).is_some_and(|value| !keep(value)))
            }
        };
        if let Some(slot) = slot {
            w.word(LIVES);
            w.put(&slot);
        }
        cursor.at = cursor.at.saturating_add(1);
    }
}

/// Reads what [`put_slots`] and [`put_free`] wrote. A record that `get` does
/// not want leaves its slot free.
pub(crate) fn read_table<T>(
    r: &mut Reader<'_>,
    capacity: u32,
    limit: &'static str,
    mut get: impl FnMut(&mut Reader<'_>, RawId) -> Result<Option<T>, RestoreError>,
) -> Result<Arena<T>, RestoreError> {
    let mut arena = Arena::new(capacity);
    for slot in 0u32.. {
        let tag = r.word()?;
        if tag == END {
            break;
        }
        let generation: NonZeroU32 = r.get()?;
        let value = match tag {
            VACANT => None,
            LIVES => get(r, RawId { slot, generation })?,
            _ => return Err(RestoreError::Malformed),
        };
        if value.is_some() && arena.is_full() {
            return Err(RestoreError::Limit(limit));
        }
        arena.push_slot(generation, value);
    }
    let mut free: Vec<u32> = Vec::new();
    while r.get()? {
        free.push(r.get()?);
    }
    arena.set_free(&free);
    Ok(arena)
}

/// Writes a table: in full, or (for behaviour) its records in their order.
pub(crate) fn put_table<T>(w: &mut Writer<'_>, arena: &Arena<T>, put: impl Fn(&mut Writer<'_>, RawId, &T)) {
    if w.is(Mode::Exact) {
        for (generation, value) in (0..arena.slots()).filter_map(|slot| arena.slot(slot)) {
            w.put(&generation);
            w.put(&value.is_some());
        }
        put_list(w, arena.free().iter());
    }
    w.put(&arena.len());
    for (id, value) in arena.iter() {
        put(w, id, value);
    }
}
