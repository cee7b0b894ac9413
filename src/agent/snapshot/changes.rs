//! Which objects have changed since they were last saved.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::num::NonZeroU32;
use core::ops::Bound;

use super::super::Agent;
use crate::event::ObjectId;
use crate::id::{RawId, ResourceId, SubscriptionId, WatcherId};

/// Objects in the order in which they have to be saved: a watcher needs its
/// resource. Named round after round, so that none has to wait for those that
/// change all the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    changed: BTreeSet<(u8, RawId)>,
    /// What was named last.
    last: Option<(u8, RawId)>,
    /// The watcher that a resource was named for out of turn: it is next, even
    /// if that has changed again.
    ahead: Option<(u8, RawId)>,
}

fn key(object: ObjectId) -> (u8, RawId) {
    match object {
        ObjectId::Resource(id) => (0, id.0),
        ObjectId::Subscription(id) => (1, id.0),
        ObjectId::Watcher(id) => (2, id.0),
    }
}

fn object((table, id): (u8, RawId)) -> ObjectId {
    match table {
        0 => ResourceId(id).into(),
        1 => SubscriptionId(id).into(),
        _ => WatcherId(id).into(),
    }
}

impl Agent {
    /// An object that has changed since this call last named it, or that is
    /// over; `None` when all are told. The first call names every object, and
    /// begins the recording, which costs nothing before.
    ///
    /// Each object is named once, however often it changed. Save what
    /// [`export`](Self::export) gives for it; when that says
    /// [`Misuse::StaleId`](crate::Misuse::StaleId), it is over, and its saved
    /// record has to go. Whoever does not call this for so long that twice as
    /// many objects wait here as can live at a time misses the end of some.
    pub fn poll_changed(&mut self) -> Option<ObjectId> {
        let changes = match &mut self.changes {
            Some(changes) => changes,
            none => {
                let mut all = Changes::default();
                all.changed.extend(self.resources.iter().map(|(id, _)| key(ResourceId(id).into())));
                all.changed.extend(self.subscriptions.iter().map(|(id, _)| key(SubscriptionId(id).into())));
                all.changed.extend(self.watchers.iter().map(|(id, _)| key(WatcherId(id).into())));
                none.insert(Box::new(all))
            }
        };
        let behind = |last| changes.changed.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let next = changes.last.and_then(behind).or_else(|| changes.changed.first()).copied()?;
        // Its resource, and whatever had that one's place before, come first even when the round is past them.
        if next.0 == 2
            && let Some(slot) = self.watchers.get(next.1).map(|watcher| watcher.resource)
            && let Some(first) =
                changes.changed.range((0, RawId { slot, generation: NonZeroU32::MIN })..).next().copied()
            && (first.0, first.1.slot) == (0, slot)
            && (self.resources.get(first.1).is_none() || changes.ahead.replace(next) != Some(next))
        {
            changes.changed.remove(&first);
            return Some(object(first));
        }
        changes.changed.remove(&next);
        changes.last = Some(next);
        changes.ahead = None;
        Some(object(next))
    }

    /// Remembers that an object has changed, or is over.
    pub(in crate::agent) fn note(&mut self, object: impl Into<ObjectId>) {
        let Some(changes) = &mut self.changes else { return };
        let limits = &self.config.limits;
        let live = u64::from(limits.subscriptions)
            .saturating_add(limits.watchers.into())
            .saturating_add(limits.resources.into());
        if (changes.changed.len() as u64) < live.saturating_mul(2) {
            changes.changed.insert(key(object.into()));
        }
    }
}
