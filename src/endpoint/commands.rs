//! The commands and views of the agent, on the endpoint. See there for what
//! they do.

#[cfg(feature = "digest")]
use alloc::vec::Vec;

use super::Endpoint;
use crate::Instant;
use crate::agent::{
    Agent, Close, Decision, IncomingRef, ResourceKey, Scope, StateSet, Subscribe, SubscriptionInfo, WatcherInfo,
};
#[cfg(feature = "digest")]
use crate::digest::{Credentials, Secret};
use crate::error::Misuse;
use crate::event::{Explanation, ObjectId, Reason};
#[cfg(feature = "digest")]
use crate::id::ClaimId;
use crate::id::{IncomingId, ResourceId, SubscriptionId, WatcherId};
use crate::package::{Body, Packages, Reject, View};

/// The subscriber's side.
impl Endpoint {
    /// See [`Agent::subscribe`].
    ///
    /// # Errors
    /// Those of [`Agent::subscribe`].
    pub fn subscribe(&mut self, now: Instant, request: Subscribe) -> Result<SubscriptionId, Misuse> {
        let now = self.advance(now);
        self.agent.subscribe(now, request)
    }

    /// See [`Agent::refresh`].
    ///
    /// # Errors
    /// Those of [`Agent::refresh`].
    pub fn refresh(&mut self, now: Instant, id: SubscriptionId, expires: Option<u32>) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.refresh(now, id, expires)
    }

    /// See [`Agent::unsubscribe`].
    ///
    /// # Errors
    /// Those of [`Agent::unsubscribe`].
    pub fn unsubscribe(&mut self, now: Instant, id: SubscriptionId, scope: Scope) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.unsubscribe(now, id, scope)
    }

    /// See [`Agent::subscription`].
    ///
    /// # Errors
    /// Those of [`Agent::subscription`].
    pub fn subscription(&self, id: SubscriptionId) -> Result<SubscriptionInfo<'_>, Misuse> {
        self.agent.subscription(id)
    }

    /// See [`Agent::subscriptions`].
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> {
        self.agent.subscriptions()
    }

    /// See [`Agent::subscription_data`].
    ///
    /// # Errors
    /// Those of [`Agent::subscription_data`].
    pub fn subscription_data(&mut self, id: SubscriptionId) -> Result<&mut u64, Misuse> {
        self.agent.subscription_data(id)
    }
}

/// The notifier's side.
impl Endpoint {
    /// See [`Agent::add_resource`].
    ///
    /// # Errors
    /// Those of [`Agent::add_resource`].
    pub fn add_resource(&mut self, key: &ResourceKey) -> Result<ResourceId, Misuse> {
        self.agent.add_resource(key)
    }

    /// See [`Agent::remove_resource`].
    ///
    /// # Errors
    /// Those of [`Agent::remove_resource`].
    pub fn remove_resource(&mut self, now: Instant, id: ResourceId, reason: &Reason) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.remove_resource(now, id, reason)
    }

    /// See [`Agent::set_state`].
    ///
    /// # Errors
    /// Those of [`Agent::set_state`].
    pub fn set_state(&mut self, now: Instant, resource: ResourceId, state: Body) -> Result<StateSet, Misuse> {
        let now = self.advance(now);
        self.agent.set_state(now, resource, state)
    }

    /// See [`Agent::set_state_for`].
    ///
    /// # Errors
    /// Those of [`Agent::set_state_for`].
    pub fn set_state_for(
        &mut self,
        now: Instant,
        resource: ResourceId,
        view: View,
        state: Body,
    ) -> Result<StateSet, Misuse> {
        let now = self.advance(now);
        self.agent.set_state_for(now, resource, view, state)
    }

    /// See [`Agent::state`].
    pub fn state(&self, resource: ResourceId, view: View) -> Option<&Body> {
        self.agent.state(resource, view)
    }

    /// See [`Agent::find`].
    pub fn find(&self, key: &ResourceKey) -> Option<ResourceId> {
        self.agent.find(key)
    }

    /// See [`Agent::resources`].
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> {
        self.agent.resources()
    }

    /// See [`Agent::resource_uri`].
    pub fn resource_uri(&self, resource: ResourceId) -> Option<&str> {
        self.agent.resource_uri(resource)
    }

    /// See [`Agent::resource_package`].
    pub fn resource_package(&self, resource: ResourceId) -> Option<&str> {
        self.agent.resource_package(resource)
    }

    /// See [`Agent::resource_data`].
    ///
    /// # Errors
    /// Those of [`Agent::resource_data`].
    pub fn resource_data(&mut self, resource: ResourceId) -> Result<&mut u64, Misuse> {
        self.agent.resource_data(resource)
    }

    /// See [`Agent::incoming`].
    ///
    /// # Errors
    /// Those of [`Agent::incoming`].
    pub fn incoming(&self, id: IncomingId) -> Result<IncomingRef<'_>, Misuse> {
        self.agent.incoming(id)
    }

    /// See [`Agent::accept`].
    ///
    /// # Errors
    /// Those of [`Agent::accept`]; any leaves the request open.
    pub fn accept(&mut self, now: Instant, id: IncomingId, decision: Decision) -> Result<WatcherId, Misuse> {
        let now = self.advance(now);
        self.agent.accept(now, id, decision)
    }

    /// See [`Agent::reject`].
    ///
    /// # Errors
    /// Those of [`Agent::reject`].
    pub fn reject(&mut self, now: Instant, id: IncomingId, reject: Reject) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.reject(now, id, reject)
    }

    /// See [`Agent::watcher`].
    ///
    /// # Errors
    /// Those of [`Agent::watcher`].
    pub fn watcher(&self, id: WatcherId) -> Result<WatcherInfo<'_>, Misuse> {
        self.agent.watcher(id)
    }

    /// See [`Agent::watchers`].
    pub fn watchers(&self) -> impl Iterator<Item = WatcherId> {
        self.agent.watchers()
    }

    /// See [`Agent::watchers_of`].
    pub fn watchers_of(&self, resource: ResourceId) -> impl Iterator<Item = WatcherId> {
        self.agent.watchers_of(resource)
    }

    /// See [`Agent::watcher_data`].
    ///
    /// # Errors
    /// Those of [`Agent::watcher_data`].
    pub fn watcher_data(&mut self, id: WatcherId) -> Result<&mut u64, Misuse> {
        self.agent.watcher_data(id)
    }

    /// See [`Agent::approve`].
    ///
    /// # Errors
    /// Those of [`Agent::approve`].
    pub fn approve(&mut self, now: Instant, id: WatcherId) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.approve(now, id)
    }

    /// See [`Agent::terminate`].
    ///
    /// # Errors
    /// Those of [`Agent::terminate`].
    pub fn terminate(
        &mut self,
        now: Instant,
        id: WatcherId,
        reason: &Reason,
        retry_after: Option<u32>,
    ) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.terminate(now, id, reason, retry_after)
    }

    /// See [`Agent::shorten`].
    ///
    /// # Errors
    /// Those of [`Agent::shorten`].
    pub fn shorten(&mut self, now: Instant, id: WatcherId, seconds: u32) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.shorten(now, id, seconds)
    }

    /// See [`Agent::set_view`].
    ///
    /// # Errors
    /// Those of [`Agent::set_view`].
    pub fn set_view(&mut self, now: Instant, id: WatcherId, view: View) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.set_view(now, id, view)
    }

    /// See [`Agent::report_delivery`].
    ///
    /// # Errors
    /// Those of [`Agent::report_delivery`].
    pub fn report_delivery(&mut self, id: WatcherId, yes: bool) -> Result<(), Misuse> {
        self.agent.report_delivery(id, yes)
    }
}

/// Authentication.
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
impl Endpoint {
    /// See [`Agent::set_credentials`].
    ///
    /// # Errors
    /// Those of [`Agent::set_credentials`].
    pub fn set_credentials(&mut self, credentials: Vec<Credentials>) -> Result<(), Misuse> {
        self.agent.set_credentials(credentials)
    }

    /// See [`Agent::authenticate`].
    ///
    /// # Errors
    /// Those of [`Agent::authenticate`].
    pub fn authenticate(
        &mut self,
        now: Instant,
        object: impl Into<ObjectId>,
        credentials: Credentials,
    ) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.authenticate(now, object, credentials)
    }

    /// See [`Agent::supply`].
    ///
    /// # Errors
    /// Those of [`Agent::supply`].
    pub fn supply(&mut self, now: Instant, id: ClaimId, secret: Option<Secret>) -> Result<(), Misuse> {
        let now = self.advance(now);
        self.agent.supply(now, id, secret)
    }
}

/// Both sides.
impl Endpoint {
    /// The agent within, to look around.
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The packages that are understood.
    pub const fn packages(&self) -> &Packages {
        self.agent.packages()
    }

    /// See [`Agent::explain`].
    pub fn explain(&self, object: impl Into<ObjectId>) -> Option<Explanation> {
        self.agent.explain(object)
    }

    /// See [`Agent::close`]. Once [`Event::Drained`](crate::Event::Drained)
    /// came, everything that arrives is dropped.
    pub fn close(&mut self, now: Instant, how: Close) {
        let now = self.advance(now);
        if how == Close::Persist {
            self.stalled = None;
        }
        self.agent.close(now, how);
    }
}
