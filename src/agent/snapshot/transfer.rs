//! One object at a time, out of one agent and into another.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use super::super::Agent;
use super::super::message::{RequestId, Subject};
use super::super::subscriptions::{Attempt, Subscription};
use super::records::{ReadSubscription, ReadWatcher, get_packages, put_packages};
use crate::Instant;
use crate::codec::{Mode, Reader, Writer};
use crate::error::{Misuse, RestoreError};
use crate::event::ObjectId;
use crate::id::{Arena, RawId, ResourceId, SubscriptionId, WatcherId};
use crate::package::PackageIndex;
use crate::snapshot::{RECORD, open, seal};

const RESOURCE: u64 = 0;
const SUBSCRIPTION: u64 = 1;
const WATCHER: u64 = 2;

impl Agent {
    /// Appends the record of one object at `now` to `out`: what
    /// [`import`](Self::import) needs to make it live elsewhere. A watcher's
    /// record names its resource, but does not hold the state.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn export(&self, now: Instant, object: impl Into<ObjectId>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let start = out.len();
        let mut w = Writer::new(out, now.max(self.now), Mode::Saved);
        crate::snapshot::begin(&mut w, RECORD);
        match object.into() {
            ObjectId::Resource(ResourceId(id)) => {
                let resource = self.resources.get(id).ok_or(Misuse::StaleId).inspect_err(|_| w.out.truncate(start))?;
                head(&mut w, RESOURCE, id);
                put_packages(&mut w, &self.packages, Some(resource.package));
                self.put_resource(&mut w, resource);
            }
            ObjectId::Subscription(SubscriptionId(id)) => {
                let record =
                    self.subscriptions.get(id).ok_or(Misuse::StaleId).inspect_err(|_| w.out.truncate(start))?;
                head(&mut w, SUBSCRIPTION, id);
                put_packages(&mut w, &self.packages, Some(record.package));
                self.put_attempt_of(&mut w, id, record);
                if let Some(attempt) = record.attempt.and_then(|slot| self.attempts.at(slot)) {
                    self.put_attempt(&mut w, attempt);
                }
                self.put_subscription(&mut w, record);
            }
            ObjectId::Watcher(WatcherId(id)) => {
                let watcher = self.watchers.get(id);
                let resource = watcher.and_then(|watcher| self.resources.at(watcher.resource));
                let (Some(watcher), Some(resource)) = (watcher, resource) else {
                    w.out.truncate(start);
                    return Err(Misuse::StaleId);
                };
                head(&mut w, WATCHER, id);
                put_packages(&mut w, &self.packages, Some(resource.package));
                let resource_id = self.resources.id_at(watcher.resource);
                w.put(&resource_id.unwrap_or(RawId { slot: watcher.resource, generation: NonZeroU32::MIN }));
                w.put(&resource.uri);
                w.put(&resource.key);
                w.put(&resource.removed);
                w.put(&resource.version);
                self.put_watcher(&mut w, watcher);
            }
        }
        seal(out, start);
        Ok(())
    }

    /// Takes over an object that [`export`](Self::export) wrote `age` ago, in
    /// this agent's place of the same name. One that lives here under the same
    /// id is replaced. A watcher whose resource is not known here adds it,
    /// without state.
    ///
    /// Records of one object have to come in the order in which they were
    /// written, with the calls of [`forget`](Self::forget) between them: one
    /// whose CSeq numbers are behind is refused, but not every change raises
    /// those.
    ///
    /// Nothing is sent on account of it before [`take_over`](Self::take_over)
    /// was called and outputs are polled. Call
    /// [`handle_timeout`](Self::handle_timeout) only then.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing has changed.
    pub fn import(&mut self, now: Instant, age: Duration, record: &[u8]) -> Result<ObjectId, RestoreError> {
        let now = self.advance(now);
        let mut r = Reader::new(open(record, RECORD)?, now, age);
        let kind = r.word()?;
        let id: RawId = r.get()?;
        get_packages(&mut r, &self.packages)?;
        let object = match kind {
            RESOURCE => self.import_resource(&mut r, id)?.into(),
            SUBSCRIPTION => self.import_subscription(&mut r, id)?.into(),
            WATCHER => self.import_watcher(&mut r, id)?.into(),
            _ => return Err(RestoreError::Malformed),
        };
        self.note(object);
        Ok(object)
    }

    fn import_resource(&mut self, r: &mut Reader<'_>, id: RawId) -> Result<ResourceId, RestoreError> {
        let mut new = self.get_resource(r)?;
        ends(r)?;
        let known = self.find_resource(new.package, &new.key);
        if known.is_some_and(|known| known != id) {
            return Err(RestoreError::Occupied);
        }
        if let Some(old) = self.resources.get_mut(id) {
            if (old.package, &old.key) != (new.package, &new.key) {
                return Err(RestoreError::Occupied);
            }
            new.watchers = core::mem::take(&mut old.watchers);
            if old.removed != new.removed {
                self.unindex_resource(id.slot);
            }
            if let Some(old) = self.resources.get_mut(id) {
                *old = new;
            }
        } else if !self.resources.place(id, new) {
            return Err(occupied(&self.resources, id, "resources"));
        }
        if known.is_none() {
            self.index_resource(id.slot);
        }
        self.retire(id.slot);
        Ok(ResourceId(id))
    }

    fn import_watcher(&mut self, r: &mut Reader<'_>, id: RawId) -> Result<WatcherId, RestoreError> {
        let package = r.packages.first().and_then(Option::as_ref).ok_or(RestoreError::UnknownPackage)?.index;
        let index = PackageIndex(package);
        let resource_id: RawId = r.get()?;
        let (uri, key, removed, version): (_, _, _, u32) = (r.text()?, r.bytes()?, r.get()?, r.get()?);
        let ReadWatcher { mut watcher, flow, destination } = self.get_watcher(r)?;
        ends(r)?;
        if watcher.machine.is_gone() {
            return Err(RestoreError::Malformed);
        }
        self.fits_dialog(&watcher, id.slot)?;
        let before = self.watchers.get(id).is_some();
        match self.watchers.get(id) {
            Some(old) if old.shared != watcher.shared && !watcher.shared => return Err(RestoreError::Occupied),
            Some(old) if old.dialog_name() != watcher.dialog_name() || old.dialog.event() != watcher.dialog.event() => {
                return Err(RestoreError::Occupied);
            }
            Some(old) if (old.local_cseq, old.remote_cseq) > (watcher.local_cseq, watcher.remote_cseq) => {
                return Err(RestoreError::Outdated);
            }
            None if self.watchers.is_full() || id.slot >= self.config.limits.watchers => {
                return Err(RestoreError::Limit("watchers"));
            }
            None if self.watchers.at(id.slot).is_some() => return Err(RestoreError::Occupied),
            _ => {}
        }
        let known = self.find_resource(index, key);
        if known.is_none() && !before && self.resources.is_full() {
            return Err(RestoreError::Limit("resources"));
        }
        let crowd = known.and_then(|known| self.resources.get(known)).map_or(0, |resource| resource.watchers.len());
        if !before && crowd >= self.config.limits.watchers_per_resource as usize {
            return Err(RestoreError::Limit("watchers_per_resource"));
        }
        watcher.flow = self.adopt_flow(Some(flow))?.ok_or(RestoreError::Malformed)?;
        watcher.destination = match self.adopt_flow(destination) {
            Ok(destination) => destination,
            Err(error) => {
                self.flows.release(&self.entropy, watcher.flow);
                return Err(error);
            }
        };
        self.enter_source(watcher.flow);
        if before {
            let shared = watcher.shared;
            self.exchange_watcher(id, watcher);
            if shared {
                self.join(id.slot);
                self.retarget_siblings(id.slot);
            }
            self.resume_watcher(id.slot);
            return Ok(WatcherId(id));
        }
        let resource = match known {
            Some(known) => known,
            None => {
                let key = key.to_vec();
                let new = self.new_resource(resource_id, index, uri, key).ok_or(RestoreError::Limit("resources"))?;
                if let Some(record) = self.resources.get_mut(new) {
                    record.version = version;
                }
                if removed {
                    self.unindex_resource(new.slot);
                }
                new
            }
        };
        let own = self.resources.get(resource).map_or(version, |record| record.version);
        if own != version {
            // It was told of another history than the one here.
            watcher.told = own.wrapping_sub(1);
            watcher.machine.mark_dirty(self.now);
        }
        let shared = watcher.shared;
        self.watchers.place(id, watcher);
        self.seat_watcher(id.slot, resource.slot)?;
        if shared {
            self.join(id.slot);
            self.retarget_siblings(id.slot);
        }
        self.resume_watcher(id.slot);
        Ok(WatcherId(id))
    }

    /// A resource without state, under the id that it has elsewhere if that is
    /// free.
    fn new_resource(&mut self, id: RawId, package: PackageIndex, uri: &str, key: Vec<u8>) -> Option<RawId> {
        let made = self.insert_resource(package, uri, key)?;
        if made == id || self.resources.at(id.slot).is_some() || id.slot >= self.config.limits.resources {
            return Some(made);
        }
        self.unindex_resource(made.slot);
        let mut record = self.resources.remove(made.slot)?;
        record.removed = false;
        self.resources.place(id, record);
        self.index_resource(id.slot);
        Some(id)
    }

    /// The newer record of a watcher that is here already.
    fn exchange_watcher(&mut self, id: RawId, mut new: super::super::watchers::Watcher) {
        self.leave_window(id.slot);
        self.unlink(id.slot);
        let Some(old) = self.watchers.get_mut(id) else { return };
        new.resource = old.resource;
        new.position = old.position;
        new.owed = old.owed;
        let old = core::mem::replace(old, new);
        self.leave_source(old.flow);
        self.flows.release(&self.entropy, old.flow);
        if let Some(destination) = old.destination {
            self.flows.release(&self.entropy, destination);
        }
    }

    fn import_subscription(&mut self, r: &mut Reader<'_>, id: RawId) -> Result<SubscriptionId, RestoreError> {
        let attempt = match Self::get_attempt_of(r)? {
            Some((attempt, _)) => Some((attempt, Self::get_attempt(r)?)),
            None => None,
        };
        let ReadSubscription { mut record, destination } = self.get_subscription(r)?;
        ends(r)?;
        if record.retry_at.is_none() && (record.machine.is_spent() || attempt.is_none()) {
            return Err(RestoreError::Malformed);
        }
        let attempt = attempt.filter(|_| record.retry_at.is_none());
        let before = self.subscriptions.get(id).is_some();
        if !before && (self.subscriptions.is_full() || id.slot >= self.config.limits.subscriptions) {
            return Err(RestoreError::Limit("subscriptions"));
        }
        if !before && self.subscriptions.at(id.slot).is_some() {
            return Err(RestoreError::Occupied);
        }
        let own = self.subscriptions.get(id).and_then(|old| self.attempts.id_at(old.attempt?));
        let stays = own.is_some() && own == attempt.as_ref().map(|(attempt, _)| *attempt);
        // An attempt that it has left, and that no other is of, makes room.
        let last = |own: &RawId| self.attempts.get(*own).is_some_and(|attempt| attempt.subscriptions.len() == 1);
        let leaves = own.filter(|own| !stays && last(own)).map(|own| own.slot);
        if let Some((attempt_id, new)) = &attempt {
            match self.attempts.get(*attempt_id) {
                Some(old) if (old.nonce, old.call_id) != (new.nonce, new.call_id) => {
                    return Err(RestoreError::Occupied);
                }
                Some(old) if stays => {
                    let known = self.subscriptions.get(id).map(|known| (old.cseq, known.local_cseq, known.remote_cseq));
                    if known > Some((new.cseq, record.local_cseq, record.remote_cseq)) {
                        return Err(RestoreError::Outdated);
                    }
                }
                None if leaves == Some(attempt_id.slot) => {}
                None if self.attempts.at(attempt_id.slot).is_some() => return Err(RestoreError::Occupied),
                None if self.attempts.is_full() && leaves.is_none() => {
                    return Err(RestoreError::Limit("subscriptions"));
                }
                _ => {}
            }
        }
        record.destination = self.adopt_flow(destination)?;
        record.queued = self.subscriptions.get(id).is_some_and(|old| old.queued);
        if stays {
            self.exchange_subscription(id, record);
        } else {
            if before {
                self.remove_subscription(id.slot, true);
            }
            if !self.subscriptions.place(id, record) {
                return Err(RestoreError::Occupied);
            }
        }
        if let Some((attempt_id, new)) = attempt {
            self.import_attempt(attempt_id, new);
            if self.attempts.get(attempt_id).is_some() && self.seat_fork(id.slot, attempt_id.slot).is_ok() {
                if let Some(record) = self.subscriptions.at_mut(id.slot) {
                    record.attempt = Some(attempt_id.slot);
                }
                self.meet_partners(id.slot);
                self.open_window(attempt_id.slot);
            }
        }
        self.resume_subscription(id.slot);
        Ok(SubscriptionId(id))
    }

    /// The newer record of a subscription that is here already, in the same
    /// attempt.
    fn exchange_subscription(&mut self, id: RawId, new: Subscription) {
        if let Some(attempt) = self.leave_dialog(id.slot)
            && let Some(attempt) = self.attempts.at_mut(attempt)
        {
            attempt.subscriptions.retain(|slot| *slot != id.slot);
        }
        if let Some(old) = self.subscriptions.get_mut(id) {
            *old = new;
        }
    }

    fn import_attempt(&mut self, id: RawId, mut new: Attempt) {
        if let Some(old) = self.attempts.get_mut(id) {
            new.subscriptions = core::mem::take(&mut old.subscriptions);
            *old = new;
        } else {
            self.attempts.place(id, new);
        }
    }

    /// Drops an object without a word to anybody: it lives elsewhere now, or
    /// is over there. A resource has to be without watchers.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] for a resource that is watched.
    pub fn forget(&mut self, now: Instant, object: impl Into<ObjectId>) -> Result<(), Misuse> {
        self.advance(now);
        match object.into() {
            ObjectId::Resource(ResourceId(id)) => {
                let resource = self.resources.get(id).ok_or(Misuse::StaleId)?;
                if !resource.watchers.is_empty() {
                    return Err(Misuse::WrongState);
                }
                self.unindex_resource(id.slot);
                self.retire(id.slot);
            }
            ObjectId::Subscription(SubscriptionId(id)) => {
                let record = self.subscriptions.get_mut(id).ok_or(Misuse::StaleId)?;
                if let Some(seq) = record.open.take() {
                    self.abandoned.push_back(RequestId { subject: Subject::Subscription(id), seq });
                }
                let attempt = record.attempt.and_then(|slot| self.attempts.at(slot));
                let last = attempt.is_some_and(|attempt| attempt.subscriptions.len() == 1);
                self.remove_subscription(id.slot, last);
            }
            ObjectId::Watcher(WatcherId(id)) => {
                self.watchers.get(id).ok_or(Misuse::StaleId)?;
                self.remove_watcher(id.slot);
            }
        }
        self.trim_queues();
        Ok(())
    }

    /// Drops from queues who was forgotten: nobody polls a standby.
    fn trim_queues(&mut self) {
        trim(&mut self.senders, &self.subscriptions);
        trim(&mut self.owed, &self.watchers);
        trim(&mut self.orphans, &self.attempts);
    }

    /// The resource in `slot` is known by its name no more.
    fn unindex_resource(&mut self, slot: u32) {
        let Some(resource) = self.resources.at_mut(slot) else { return };
        resource.removed = true;
        let hash = resource.hash(&self.entropy);
        if let Some(entry) = self.resource_index.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }
}

/// Each id once, and only those that live, when they are no longer half of it.
fn trim<T>(queue: &mut VecDeque<RawId>, table: &Arena<T>) {
    if queue.len() < (table.len() as usize).saturating_mul(2).saturating_add(16) {
        return;
    }
    let mut seen = BTreeSet::new();
    queue.retain(|id| table.get(*id).is_some() && seen.insert(*id));
}

fn head(w: &mut Writer<'_>, kind: u64, id: RawId) {
    w.word(kind);
    w.put(&id);
}

fn ends(r: &Reader<'_>) -> Result<(), RestoreError> {
    if r.is_empty() { Ok(()) } else { Err(RestoreError::Malformed) }
}

fn occupied<T>(arena: &Arena<T>, id: RawId, limit: &'static str) -> RestoreError {
    if arena.at(id.slot).is_some() { RestoreError::Occupied } else { RestoreError::Limit(limit) }
}
