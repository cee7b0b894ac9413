//! Resources: the state we hold, who watches it, and what was rendered of it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::Agent;
use super::fanout::Rendering;
use crate::Instant;
use crate::entropy::Entropy;
use crate::error::Misuse;
use crate::event::Reason;
use crate::id::{RawId, ResourceId, WatcherId};
use crate::package::{Body, PackageIndex, View};
use crate::wire::{Uri, UriBuf, resource_key};

/// The name of a resource: a URI, and the event package under which its state
/// is served. URIs that differ only in what RFC 3261 section 19.1.4 calls
/// equal (case of the host, escapes of plain characters) name one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceKey {
    pub(crate) uri: UriBuf,
    pub(crate) package: String,
}

impl ResourceKey {
    /// The resource `uri` under `package`.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if `uri` is not a URI.
    pub fn new(uri: &str, package: &str) -> Result<Self, Misuse> {
        Ok(Self { uri: UriBuf::try_from(uri).map_err(|_| Misuse::BadValue)?, package: package.to_string() })
    }
}

/// What `set_state` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateSet {
    /// The state differs; watchers will be told.
    Changed,
    /// It is the state that was set before; nobody is told.
    Same,
}

/// Views of one resource that may have a state of their own.
const MAX_VIEWS: usize = 64;

/// What the watchers of one view are told.
#[derive(Debug, Clone)]
pub(super) struct ViewState {
    pub(super) view: View,
    /// The resource's version when it was set.
    pub(super) version: u32,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) package: PackageIndex,
    pub(crate) uri: Box<str>,
    pub(super) key: Box<[u8]>,
    /// State per view; view 0 is the full state.
    pub(super) states: SmallVec<[ViewState; 1]>,
    /// Raised by every change of any view.
    pub(crate) version: u32,
    /// Removed by the application; its watchers are still to be told.
    pub(crate) removed: bool,
    pub(crate) watchers: Vec<u32>,
    /// The next watcher of the walk that is under way.
    pub(crate) cursor: u32,
    /// The version at which that walk began.
    pub(crate) walk_version: u32,
    /// In the dirty ring.
    pub(crate) dirty: bool,
    pub(crate) cache: SmallVec<[Rendering; 2]>,
    pub(crate) user_data: u64,
}

fn hash(entropy: &Entropy, package: PackageIndex, key: &[u8]) -> u64 {
    entropy.hash_text(key) ^ u64::from(package.0)
}

impl Resource {
    pub(super) fn hash(&self, entropy: &Entropy) -> u64 {
        hash(entropy, self.package, &self.key)
    }

    /// The state for `view`, and whether it was set for exactly that view.
    pub(crate) fn state(&self, view: View) -> Option<(&Body, bool)> {
        self.find(view).map(|state| (&state.body, state.view == view))
    }

    /// The version of that state; 0 without one.
    pub(crate) fn version_of(&self, view: View) -> u32 {
        self.find(view).map_or(0, |state| state.version)
    }

    fn find(&self, view: View) -> Option<&ViewState> {
        let find = |view| self.states.iter().find(|state| state.view == view);
        find(view).or_else(|| find(View::default()))
    }
}

impl Agent {
    /// Adds a resource whose state we serve. It has no state yet: watchers are
    /// told the package's neutral state.
    ///
    /// # Errors
    /// [`Misuse::UnknownPackage`], [`Misuse::Exists`], or [`Misuse::Limit`]
    /// ([`Limits::resources`](crate::Limits::resources)).
    pub fn add_resource(&mut self, key: &ResourceKey) -> Result<ResourceId, Misuse> {
        let package = self.packages.index(key.package.as_bytes()).ok_or(Misuse::UnknownPackage)?;
        let mut text = Vec::new();
        resource_key(&key.uri.as_uri(), &mut text);
        if self.find_resource(package, &text).is_some() {
            return Err(Misuse::Exists);
        }
        self.insert_resource(package, &key.uri.to_string(), text).map(ResourceId).ok_or(Misuse::Limit)
    }

    pub(super) fn insert_resource(&mut self, package: PackageIndex, uri: &str, key: Vec<u8>) -> Option<RawId> {
        let hash = hash(&self.entropy, package, &key);
        let resource = Resource {
            package,
            uri: uri.into(),
            key: key.into_boxed_slice(),
            states: SmallVec::new(),
            version: 0,
            removed: false,
            watchers: Vec::new(),
            cursor: 0,
            walk_version: 0,
            dirty: false,
            cache: SmallVec::new(),
            user_data: 0,
        };
        let id = self.resources.insert_with(|_| resource)?;
        let (resources, entropy) = (&self.resources, &self.entropy);
        let rehash = |slot: &u32| resources.at(*slot).map_or(0, |r: &Resource| r.hash(entropy));
        self.resource_index.insert_unique(hash, id.slot, rehash);
        self.note(ResourceId(id));
        Some(id)
    }

    pub(super) fn find_resource(&self, package: PackageIndex, key: &[u8]) -> Option<RawId> {
        let hash = hash(&self.entropy, package, key);
        let same = |slot: &u32| self.resources.at(*slot).is_some_and(|r| r.package == package && r.key.as_ref() == key);
        self.resources.id_at(*self.resource_index.find(hash, same)?)
    }

    /// The resource of that name, if it was added.
    pub fn find(&self, key: &ResourceKey) -> Option<ResourceId> {
        let package = self.packages.index(key.package.as_bytes())?;
        let mut text = Vec::new();
        resource_key(&key.uri.as_uri(), &mut text);
        self.find_resource(package, &text).map(ResourceId)
    }

    /// All resources, in slot order.
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> {
        self.resources.iter().filter(|(_, resource)| !resource.removed).map(|(id, _)| ResourceId(id))
    }

    /// The resource, unless it was removed.
    pub(super) fn live(&self, id: RawId) -> Option<&Resource> {
        self.resources.get(id).filter(|resource| !resource.removed)
    }

    pub(super) fn live_mut(&mut self, id: RawId) -> Option<&mut Resource> {
        self.resources.get_mut(id).filter(|resource| !resource.removed)
    }

    /// The watchers of a resource, in no order that means anything; none for a
    /// stale id.
    pub fn watchers_of(&self, resource: ResourceId) -> impl Iterator<Item = WatcherId> {
        let slots = self.live(resource.0).map_or(&[][..], |r| &r.watchers);
        slots.iter().filter_map(|slot| self.watchers.id_at(*slot)).map(WatcherId)
    }

    /// The URI under which a resource was added.
    pub fn resource_uri(&self, resource: ResourceId) -> Option<&str> {
        self.live(resource.0).map(|r| r.uri.as_ref())
    }

    /// The event package of a resource.
    pub fn resource_package(&self, resource: ResourceId) -> Option<&str> {
        let resource = self.live(resource.0)?;
        self.packages.get(resource.package).map(|p| p.name())
    }

    /// A number of the application's own, kept with the resource; 0 at first.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn resource_data(&mut self, resource: ResourceId) -> Result<&mut u64, Misuse> {
        self.note(resource);
        self.live_mut(resource.0).map(|r| &mut r.user_data).ok_or(Misuse::StaleId)
    }

    /// Ends every subscription of a resource with `reason`, and forgets it.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::BadValue`] if an unknown reason is not a
    /// token.
    pub fn remove_resource(&mut self, now: Instant, id: ResourceId, reason: &Reason) -> Result<(), Misuse> {
        let now = self.advance(now);
        if !crate::wire::is_token(reason.as_bytes()) {
            return Err(Misuse::BadValue);
        }
        let resource = self.live(id.0).ok_or(Misuse::StaleId)?;
        let (package, watchers) = (resource.package, resource.watchers.clone());
        let hash = hash(&self.entropy, package, &resource.key);
        if let Some(entry) = self.resource_index.find_entry(hash, |slot| *slot == id.0.slot) {
            entry.remove();
        }
        for slot in watchers {
            self.end_watcher(now, slot, reason, None);
        }
        if let Some(resource) = self.live_mut(id.0) {
            resource.removed = true;
        }
        self.note(id);
        self.retire(id.0.slot);
        Ok(())
    }

    /// Sets the state of a resource; every active watcher without a state of
    /// its own view is told. Takes constant time: NOTIFYs are made when polled,
    /// and a watcher that was not reached yet gets only the newest state.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::BadValue`] for a body that the package
    /// does not carry; [`Misuse::Limit`] for one above
    /// [`Limits::body`](crate::Limits::body).
    pub fn set_state(&mut self, now: Instant, resource: ResourceId, state: Body) -> Result<StateSet, Misuse> {
        self.set_state_for(now, resource, View::default(), state)
    }

    /// Sets what the watchers of one view are told.
    ///
    /// # Errors
    /// As [`set_state`](Self::set_state); [`Misuse::Limit`] for the 65th view.
    pub fn set_state_for(
        &mut self,
        now: Instant,
        resource: ResourceId,
        view: View,
        state: Body,
    ) -> Result<StateSet, Misuse> {
        self.advance(now);
        let record = self.resources.get_mut(resource.0).filter(|r| !r.removed).ok_or(Misuse::StaleId)?;
        if state.data.len() > self.config.limits.body as usize {
            return Err(Misuse::Limit);
        }
        let package = self.packages.get(record.package).ok_or(Misuse::UnknownPackage)?;
        let types = package.notify_bodies();
        if !types.is_empty() && !types.iter().any(|t| state.is(t)) {
            return Err(Misuse::BadValue);
        }
        let full = record.states.len() >= MAX_VIEWS;
        let version = record.version.wrapping_add(1);
        match record.states.iter_mut().find(|known| known.view == view) {
            Some(known) if known.body == state => return Ok(StateSet::Same),
            Some(known) => *known = ViewState { view, version, body: state },
            None if full => return Err(Misuse::Limit),
            None => record.states.push(ViewState { view, version, body: state }),
        }
        record.version = version;
        record.cache.clear();
        if !record.dirty {
            record.dirty = true;
            record.cursor = 0;
            record.walk_version = record.version;
            self.dirty.push_back(resource.0.slot);
        }
        self.note(resource);
        Ok(StateSet::Changed)
    }

    /// The state that the watchers of `view` are told, if any was set.
    pub fn state(&self, resource: ResourceId, view: View) -> Option<&Body> {
        self.live(resource.0)?.state(view).map(|(body, _)| body)
    }

    /// Forgets a removed resource whose last watcher is gone: until then their
    /// last NOTIFYs are to be sent.
    pub(super) fn retire(&mut self, slot: u32) {
        if self.resources.at(slot).is_some_and(|r| r.removed && r.watchers.is_empty()) {
            if let Some(id) = self.resources.id_at(slot) {
                self.note(ResourceId(id));
            }
            self.resources.remove(slot);
        }
    }
}

/// The canonical name of the resource that a Request-URI names.
pub(super) fn key_of(uri: &Uri<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    resource_key(uri, &mut key);
    key
}
