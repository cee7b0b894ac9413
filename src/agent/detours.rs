//! 3xx: where a redirected request goes (RFC 3261 section 8.1.3.4), in and
//! outside a dialog.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;

use super::Agent;
use super::message::Subject;
use crate::codec::{Put, Writer};
use crate::event::{Event, ObjectId};
use crate::id::{SubscriptionId, WatcherId};
use crate::wire::{ContactValue, MessageView, StatusCode, Uri, read};

/// Most Contacts that are read of one response.
const MAX_CONTACTS: usize = 16;
/// Most bytes of a Contact's URI.
const MAX_URI: usize = 1_024;

/// An address that a redirection named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Fit for a request line.
    pub(super) uri: Vec<u8>,
    /// 305: the proxy to go through, not the new target.
    pub(super) proxy: bool,
}

/// How far one request has been redirected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detour {
    /// Every address that was tried, the last one in force; none is tried
    /// twice (3261-8.1.3.4-1).
    tried: Vec<Stop>,
    /// Those still to be tried, the best one last.
    rest: Vec<Stop>,
}

impl Detour {
    #[cfg(test)]
    pub(super) const fn waiting(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn target(&self) -> Option<&[u8]> {
        self.tried.last().filter(|stop| !stop.proxy).map(|stop| &stop.uri[..])
    }

    /// The proxy to go through behind the route set.
    pub(super) fn proxy(&self) -> Option<&[u8]> {
        self.tried.last().filter(|stop| stop.proxy).map(|stop| &stop.uri[..])
    }
}

impl Stop {
    fn is(&self, other: &Self) -> bool {
        let same = |(one, two): (Uri<'_>, Uri<'_>)| one.equivalent(&two);
        self.proxy == other.proxy && Uri::parse(&self.uri).ok().zip(Uri::parse(&other.uri).ok()).is_some_and(same)
    }
}

impl Put for Stop {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.uri[..]);
        w.put(&self.proxy);
    }
}

impl Put for Detour {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { tried, rest } = self;
        crate::codec::put_list(w, tried.iter());
        crate::codec::put_list(w, rest.iter());
    }
}

/// The URIs in Contact, those with the highest `q` first.
fn contacts<V: MessageView + ?Sized>(message: &V) -> Vec<&[u8]> {
    let mut found: Vec<(u16, &[u8])> = Vec::new();
    for contact in read::contacts(message).take(MAX_CONTACTS) {
        if let Ok(ContactValue::Address(address)) = contact
            && address.uri().len() <= MAX_URI
        {
            found.push((address.q().unwrap_or(1_000), address.uri()));
        }
    }
    found.sort_by_key(|(q, _)| Reverse(*q));
    found.into_iter().map(|(_, uri)| uri).collect()
}

impl Agent {
    /// A request of ours got a 3xx. Tells the application, and whether the
    /// request is to go out again, to another address.
    ///
    /// 300 and 380 leave the choice to the user (RFC 3261 sections 21.3.1 and
    /// 21.3.5), and so does a code without a meaning of its own.
    pub(super) fn redirected<V: MessageView + ?Sized>(
        &mut self,
        whose: Subject,
        status: StatusCode,
        message: &V,
    ) -> bool {
        let contacts = contacts(message);
        let proxy = status.as_u16() == 305;
        let follow = matches!(status.as_u16(), 301 | 302 | 305) && self.config.limits.redirects > 0;
        let Some(mut detour) = self.detour(whose).map(|own| own.take().unwrap_or_default()) else { return false };
        let origin = self.origin_of(whose);
        let secure = self.must_be_secure(whose);
        let mut fresh: Vec<Stop> = Vec::new();
        for uri in contacts.iter().filter(|_| follow) {
            let Ok(uri) = Uri::parse(uri) else { continue };
            // Whoever asked for a SIPS URI never gets less (3261-8.1.3.4-1).
            if !uri.is_sip() || (secure && !uri.is_sips()) {
                continue;
            }
            let mut stop = Stop { uri: Vec::with_capacity(uri.as_bytes().len()), proxy };
            uri.write_request_uri(&mut stop.uri);
            let mut known = detour.tried.iter().chain(&detour.rest).chain(&fresh).chain(&origin);
            if !known.any(|known| known.is(&stop)) {
                fresh.push(stop);
            }
        }
        // The newest are the best informed.
        detour.rest.extend(fresh.into_iter().rev());
        // No more than may be tried.
        let room = (self.config.limits.redirects as usize).saturating_sub(detour.tried.len());
        detour.rest.drain(..detour.rest.len().saturating_sub(room));
        if let Some(own) = self.detour(whose) {
            *own = Some(detour);
        }
        let followed = self.next_stop(whose);
        let subject = match whose {
            Subject::Subscription(id) => ObjectId::from(SubscriptionId(id)),
            Subject::Watcher(id) => ObjectId::from(WatcherId(id)),
        };
        let contacts = contacts.into_iter().map(Bytes::copy_from_slice).collect();
        self.push_news(Event::Redirected { subject, status, contacts, followed });
        followed
    }

    /// Takes the next address that a redirection named, if there is one.
    pub(super) fn next_stop(&mut self, whose: Subject) -> bool {
        let limit = self.config.limits.redirects as usize;
        let Some(own) = self.detour(whose) else { return false };
        let Some(detour) = own.as_mut() else { return false };
        let next = if detour.tried.len() < limit { detour.rest.pop() } else { None };
        let Some(next) = next else { return false };
        detour.tried.push(next);
        self.forget_way(whose);
        true
    }

    /// Its redirected request got its answer, or none: the next one goes where
    /// the dialog says.
    pub(super) fn detour_over(&mut self, whose: Subject) {
        let left = self.detour(whose).and_then(Option::take);
        if left.is_some_and(|detour| !detour.tried.is_empty()) {
            self.forget_way(whose);
        }
    }

    fn detour(&mut self, whose: Subject) -> Option<&mut Option<Box<Detour>>> {
        match whose {
            Subject::Subscription(id) => self.subscriptions.get_mut(id).map(|record| &mut record.detour),
            Subject::Watcher(id) => self.watchers.get_mut(id).map(|record| &mut record.detour),
        }
    }

    /// The Request-URI that was redirected.
    fn origin_of(&self, whose: Subject) -> Vec<Stop> {
        let dialog = match whose {
            Subject::Subscription(id) => self.subscriptions.get(id).map(|record| record.dialog.as_ref()),
            Subject::Watcher(id) => self.watchers.get(id).map(|record| Some(&record.dialog)),
        };
        let uri = match (dialog, whose) {
            (Some(Some(dialog)), _) => Some(dialog.target()),
            (_, Subject::Subscription(id)) => self.subscriptions.get(id).map(|s| s.intent.resource.as_bytes()),
            _ => None,
        };
        uri.map(|uri| Stop { uri: uri.to_vec(), proxy: false }).into_iter().collect()
    }

    fn must_be_secure(&self, whose: Subject) -> bool {
        let is_sips = |uri: &[u8]| Uri::parse(uri).is_ok_and(|uri| uri.is_sips());
        self.is_secure()
            || self.origin_of(whose).iter().any(|stop| is_sips(&stop.uri))
            || match whose {
                Subject::Subscription(id) => {
                    self.subscriptions.get(id).is_some_and(|record| record.intent.resource.as_uri().is_sips())
                }
                Subject::Watcher(id) => self.watchers.get(id).is_some_and(|record| record.secure),
            }
    }

    /// The server that its requests have gone to has no time (RFC 3261 section
    /// 21.5.4): another one of the same name may. A connection stays where
    /// nothing else says how to get there.
    pub(super) fn leave_server(&mut self, whose: Subject) {
        let (destination, routed) = match whose {
            Subject::Subscription(id) => {
                let Some(record) = self.subscriptions.get(id) else { return };
                let Some(dialog) = &record.dialog else { return };
                (record.destination, !dialog.routes().is_empty())
            }
            Subject::Watcher(id) => {
                let Some(record) = self.watchers.get(id) else { return };
                (record.destination, !record.dialog.routes().is_empty())
            }
        };
        let stream = destination.and_then(|id| self.flows.get(id)).is_some_and(|flow| flow.flow().stream.is_some());
        if stream && !routed {
            return;
        }
        match whose {
            Subject::Subscription(id) => {
                if let Some(left) = self.subscriptions.get_mut(id).and_then(|record| record.destination.take()) {
                    self.flows.release(&self.entropy, left);
                }
            }
            Subject::Watcher(id) => self.forget_destination(id.slot),
        }
    }

    /// The next hop has changed, unless a route set or the application's own
    /// choice of a flow leads there.
    fn forget_way(&mut self, whose: Subject) {
        match whose {
            Subject::Subscription(id) => {
                let Some(record) = self.subscriptions.get_mut(id) else { return };
                let fixed = match &record.dialog {
                    Some(dialog) => !dialog.routes().is_empty(),
                    None => !record.intent.more().route.is_empty() || record.intent.more().flow.is_some(),
                };
                if !fixed && let Some(old) = record.destination.take() {
                    self.flows.release(&self.entropy, old);
                }
            }
            Subject::Watcher(id) => {
                if self.watchers.get(id).is_some_and(|watcher| watcher.dialog.routes().is_empty()) {
                    self.forget_destination(id.slot);
                }
            }
        }
    }
}
