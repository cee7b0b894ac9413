//! The application of the simulated nodes: it publishes, watches, decides as a
//! moody person would, and becomes reasonable when told to be calm.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::node::{Application, Store};
use super::ops::Op;
use super::rng::Rng;
use crate::package::{Reject, View};
use crate::wire::StatusCode;
use crate::{Body, Decision, Endpoint, Event, IncomingId, Instant, Reason, ResourceKey, Scope, Subscribe};

/// The event package of the simulated nodes.
pub const PACKAGE: &str = "x-sim";

/// A resource of a node.
#[derive(Debug, Clone)]
struct Published {
    uri: String,
    version: u32,
    padding: u16,
}

/// The application of a simulated node.
#[derive(Debug, Clone)]
pub struct Citizen {
    name: String,
    rng: Rng,
    published: Vec<Published>,
    calm: bool,
}

impl Citizen {
    /// A node that serves the resources `uris`.
    pub fn new(name: &str, uris: impl IntoIterator<Item = String>, rng: Rng) -> Self {
        let published = uris.into_iter().map(|uri| Published { uri, version: 0, padding: 0 }).collect();
        Self { name: String::from(name), rng, published, calm: false }
    }

    /// How many resources it serves.
    pub fn resources(&self) -> usize {
        self.published.len()
    }

    fn publish(&mut self, endpoint: &mut Endpoint, now: Instant, nth: usize) {
        let name = &self.name;
        let Some(published) = self.published.get_mut(nth) else { return };
        published.version = published.version.saturating_add(1);
        let text = format!(
            "{} of {name} is {}\r\n{:pad$}",
            published.uri,
            published.version,
            "",
            pad = usize::from(published.padding)
        );
        let Ok(key) = ResourceKey::new(&published.uri, PACKAGE) else { return };
        let known = endpoint.find(&key).or_else(|| endpoint.add_resource(&key).ok());
        if let Some(resource) = known {
            let _ = endpoint.set_state(now, resource, Body::new("text/plain", text));
        }
    }

    fn decide(&mut self, endpoint: &mut Endpoint, now: Instant, id: IncomingId) {
        let asked = endpoint.incoming(id).map_or(0, |incoming| incoming.expires);
        let mood = if self.calm { 0 } else { self.rng.below(100) };
        let shorter = self.rng.below(u64::from(asked).saturating_add(1));
        let shorter = u32::try_from(shorter).unwrap_or(0).max(asked.min(60));
        let view = View(0);
        let _ = match mood {
            0..70 => endpoint.accept(now, id, Decision::ACCEPT).map(drop),
            70..78 => endpoint.accept(now, id, Decision::Active { expires: Some(shorter), view }).map(drop),
            78..86 => endpoint.accept(now, id, Decision::PENDING).map(drop),
            86..89 => {
                let give_up = Some(Duration::from_secs(self.rng.below(300)));
                endpoint.accept(now, id, Decision::Pending { expires: Some(shorter), give_up }).map(drop)
            }
            // Left to the policy.
            89..93 => Ok(()),
            mood => {
                let status = match mood % 5 {
                    0 => StatusCode::SERVICE_UNAVAILABLE,
                    1 => StatusCode::FORBIDDEN,
                    2 => StatusCode::NOT_FOUND,
                    3 => StatusCode::NO_SUCH_SUBSCRIPTION,
                    _ => StatusCode::SERVER_INTERNAL_ERROR,
                };
                let wait = u32::try_from(self.rng.below(60)).unwrap_or(0);
                endpoint.reject(now, id, Reject::new(status).retry_after(wait))
            }
        };
    }

    /// From now on it accepts everybody. Approves who waits, and publishes anew.
    pub fn become_calm(&mut self, endpoint: &mut Endpoint, now: Instant) {
        self.calm = true;
        let waiting: Vec<_> = endpoint.watchers().collect();
        for watcher in waiting {
            let _ = endpoint.approve(now, watcher);
        }
        self.publish_all(endpoint, now);
    }

    /// Publishes a new state of everything.
    pub fn publish_all(&mut self, endpoint: &mut Endpoint, now: Instant) {
        for nth in 0..self.published.len() {
            self.publish(endpoint, now, nth);
        }
    }

    /// Ends what there is: its subscriptions, and those of others.
    pub fn leave(&mut self, endpoint: &mut Endpoint, now: Instant) {
        let subscriptions: Vec<_> = endpoint.subscriptions().collect();
        for subscription in subscriptions {
            let _ = endpoint.unsubscribe(now, subscription, Scope::This);
        }
        let watchers: Vec<_> = endpoint.watchers().collect();
        for watcher in watchers {
            let _ = endpoint.terminate(now, watcher, &Reason::NoResource, None);
        }
    }

    /// Carries out an operation on its endpoint; `target` is the URI that a
    /// subscription goes to.
    pub fn perform(&mut self, endpoint: &mut Endpoint, now: Instant, op: &Op, target: &str) {
        let pick = |nth: u8, count: usize| usize::from(nth).checked_rem(count);
        match *op {
            Op::Subscribe { expires, auto, .. } => {
                let Ok(request) = Subscribe::new(target, PACKAGE) else { return };
                let _ = endpoint.subscribe(now, request.expires(expires).auto_resubscribe(auto));
            }
            Op::Refresh { nth, expires, .. } => {
                let ids: Vec<_> = endpoint.subscriptions().collect();
                if let Some(id) = pick(nth, ids.len()).and_then(|at| ids.get(at)) {
                    let _ = endpoint.refresh(now, *id, expires);
                }
            }
            Op::Unsubscribe { nth, all, .. } => {
                let ids: Vec<_> = endpoint.subscriptions().collect();
                if let Some(id) = pick(nth, ids.len()).and_then(|at| ids.get(at)) {
                    let _ = endpoint.unsubscribe(now, *id, if all { Scope::AllForks } else { Scope::This });
                }
            }
            Op::Publish { nth, padding, .. } => {
                let Some(at) = pick(nth, self.published.len()) else { return };
                if let Some(published) = self.published.get_mut(at) {
                    published.padding = padding;
                }
                self.publish(endpoint, now, at);
            }
            Op::Replace { nth, .. } => {
                let Some(at) = pick(nth, self.published.len()) else { return };
                let key = self.published.get(at).and_then(|p| ResourceKey::new(&p.uri, PACKAGE).ok());
                if let Some(id) = key.and_then(|key| endpoint.find(&key)) {
                    let _ = endpoint.remove_resource(now, id, &Reason::NoResource);
                }
                self.publish(endpoint, now, at);
            }
            Op::Approve { nth, .. } | Op::Terminate { nth, .. } | Op::Shorten { nth, .. } => {
                let ids: Vec<_> = endpoint.watchers().collect();
                let Some(id) = pick(nth, ids.len()).and_then(|at| ids.get(at)).copied() else { return };
                let _ = match *op {
                    Op::Terminate { reason: nth, retry_after, .. } => {
                        endpoint.terminate(now, id, &reason(nth), retry_after)
                    }
                    Op::Shorten { seconds, .. } => endpoint.shorten(now, id, seconds),
                    _ => endpoint.approve(now, id),
                };
            }
            _ => {}
        }
    }
}

/// Every reason in turn.
pub(crate) fn reason(nth: u8) -> Reason {
    match nth % 9 {
        0 => Reason::Deactivated,
        1 => Reason::Probation,
        2 => Reason::Rejected,
        3 => Reason::Timeout,
        4 => Reason::Giveup,
        5 => Reason::NoResource,
        6 => Reason::Invariant,
        7 => Reason::BadFilter,
        _ => Reason::Other(bytes::Bytes::from_static(b"x-whim")),
    }
}

impl Application for Citizen {
    fn start(&mut self, endpoint: &mut Endpoint, now: Instant, _store: Store) {
        self.publish_all(endpoint, now);
    }

    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: &Event) {
        if let Event::Subscribe(id) = event {
            self.decide(endpoint, now, *id);
        }
    }
}
