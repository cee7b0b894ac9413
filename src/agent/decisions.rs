//! What the application says to a SUBSCRIBE, and what follows.

use alloc::boxed::Box;
use core::time::Duration;

use super::Agent;
use super::incoming::{Incoming, may_refuse};
use super::list::Link;
use super::message::{Subject, Tag, Token};
use super::sharing::spare_dialog;
use super::watchers::Watcher;
use crate::Instant;
use crate::UnknownResource;
use crate::error::Misuse;
use crate::flow::Flow;
use crate::id::{IncomingId, RawId, ResourceId, WatcherId};
use crate::machine::notifier::{self, Grant};
use crate::package::{Body, Reject, View};
use crate::wire::StatusCode;

/// An undecided SUBSCRIBE, as the application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingRef<'a> {
    /// The Request-URI: what is to be watched.
    pub uri: &'a str,
    /// The resource of that name, if it was added.
    pub resource: Option<ResourceId>,
    /// The event package.
    pub package: &'a str,
    /// The value of the Event header field.
    pub event: &'a [u8],
    /// The value of the From header field; whom it names is not verified.
    pub from: &'a [u8],
    /// The identity that was verified, if any.
    pub identity: Option<&'a [u8]>,
    /// The flow that it came on.
    pub flow: Flow,
    /// Seconds asked for, capped by the longest duration; 0 is a fetch.
    pub expires: u32,
    /// The body.
    pub body: Option<&'a Body>,
    /// Its Contact URI: where NOTIFYs would go. A watcher of the same resource
    /// with the same target and From is that device before it was restarted,
    /// and may be ended with [`Agent::terminate`].
    pub target: &'a [u8],
    /// A watcher in whose dialog it came, from a peer of RFC 3265
    /// ([`DialogSharing::Allow`](crate::DialogSharing)).
    pub shares: Option<WatcherId>,
}

/// What the application says to a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Accepted: the state is told.
    Active {
        /// Seconds granted; `None` for what was asked for. Never more than that.
        expires: Option<u32>,
        /// Which state it is told.
        view: View,
    },
    /// Accepted, but nothing is told until [`Agent::approve`].
    Pending {
        /// Seconds granted; `None` for what was asked for. Never more than that.
        expires: Option<u32>,
        /// When to end it if nobody approves;
        /// `None` for [`Timers::give_up`](crate::Timers::give_up).
        give_up: Option<Duration>,
    },
}

impl Decision {
    /// Accepts for as long as was asked for, with the full state.
    pub const ACCEPT: Self = Self::Active { expires: None, view: View(0) };
    /// Accepts as pending for as long as was asked for.
    pub const PENDING: Self = Self::Pending { expires: None, give_up: None };
}

impl Agent {
    /// An undecided SUBSCRIBE.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] once it is decided.
    pub fn incoming(&self, id: IncomingId) -> Result<IncomingRef<'_>, Misuse> {
        let incoming = self.incoming.get(id.0).ok_or(Misuse::StaleId)?;
        let resource = incoming.resource.filter(|r| self.live(*r).is_some());
        Ok(IncomingRef {
            uri: &incoming.uri,
            resource: resource.map(ResourceId),
            package: self.packages.get(incoming.package).map_or("", |p| p.name()),
            event: incoming.dialog.event(),
            from: incoming.dialog.remote(),
            identity: incoming.identity.as_deref(),
            flow: incoming.flow,
            expires: incoming.expires,
            body: incoming.body.as_ref(),
            target: incoming.dialog.target(),
            shares: incoming.shares.and_then(|name| self.watchers.id_at(*self.members(name).first()?)).map(WatcherId),
        })
    }

    /// Accepts a SUBSCRIBE: 200, then a NOTIFY at once (RFC 6665 section 4.2.1.2).
    ///
    /// # Errors
    /// [`Misuse::NoAuthentication`]; [`Misuse::StaleId`];
    /// [`Misuse::LongerThanAsked`]; [`Misuse::Limit`];
    /// [`Misuse::NoLocalAddress`]; [`Misuse::WrongState`] if its resource was
    /// removed in the meantime. The SUBSCRIBE stays undecided.
    pub fn accept(&mut self, now: Instant, id: IncomingId, decision: Decision) -> Result<WatcherId, Misuse> {
        let now = self.advance(now);
        let incoming = self.incoming.get(id.0).ok_or(Misuse::StaleId)?;
        let (grant, expires, view, give_up) = match decision {
            Decision::Active { expires, view } => (Grant::Active, expires, view, None),
            Decision::Pending { expires, give_up } => {
                (Grant::Pending, expires, View::default(), Some(give_up.unwrap_or(self.config.timers.give_up)))
            }
        };
        // ADV-E12: that nobody is authenticated has to be said.
        if self.config.authentication.is_none() && incoming.identity.is_none() {
            return Err(Misuse::NoAuthentication);
        }
        let granted = expires.unwrap_or(incoming.expires);
        if granted > incoming.expires {
            return Err(Misuse::LongerThanAsked);
        }
        let package = self.packages.get(incoming.package).ok_or(Misuse::UnknownPackage)?.clone();
        if self.locals.is_empty() {
            return Err(Misuse::NoLocalAddress);
        }
        let index = incoming.package;
        let known = incoming.resource.filter(|r| self.live(*r).is_some());
        let known = known.or_else(|| self.find_resource(index, &incoming.key));
        if known.is_none() && self.config.policy.unknown_resource == UnknownResource::Refuse {
            return Err(Misuse::WrongState);
        }
        let crowded = known.is_some_and(|resource| self.is_crowded(resource));
        if crowded || self.watchers.is_full() || (known.is_none() && self.resources.is_full()) {
            return Err(Misuse::Limit);
        }
        // The last that may fail; from here on nothing does.
        let flow = self.flows.intern(&self.entropy, incoming.flow).ok_or(Misuse::Limit)?;
        let resource = match known {
            Some(resource) => resource,
            None => {
                let (uri, key) = (incoming.uri.clone(), incoming.key.clone());
                self.insert_resource(index, &uri, key).ok_or(Misuse::Limit)?
            }
        };
        self.incoming_timers.set(id.0.slot, None);
        let Some(incoming) = self.incoming.remove(id.0.slot) else { return Err(Misuse::StaleId) };
        let nonce = self.entropy.next_nonce();
        let host = incoming.shares.and_then(|name| self.watchers.at(*self.members(name).first()?));
        let shared = host.map(|host| host.local_cseq);
        // Anywhere in the lowest part of the range: 2^31 are never reached (RFC 3261 section 8.1.1.5).
        let local_cseq = shared.unwrap_or_else(|| u32::from(self.entropy.next_u16()));
        let params = notifier::Params {
            granted,
            decision: grant,
            min_interval: self.min_interval(package.as_ref()),
            give_up,
            keep_on_timeout: self.config.policy.notify_timeout == crate::NotifyTimeout::Keep,
        };
        let record = self.resources.get_mut(resource).ok_or(Misuse::StaleId)?;
        let watcher = Watcher {
            machine: notifier::Subscription::new(now, &params),
            dialog: incoming.dialog,
            tag_slot: 0,
            nonce: 0,
            shared: false,
            user_data: 0,
            resource: resource.slot,
            position: u32::try_from(record.watchers.len()).unwrap_or(u32::MAX),
            link: Link::default(),
            flow,
            destination: None,
            in_window: None,
            local_cseq,
            remote_cseq: incoming.cseq,
            open: None,
            told: record.version_of(view),
            numbered: 0,
            open_numbered: false,
            view,
            media: incoming.media,
            owed: false,
            report: false,
            proven: incoming.identity.is_some(),
            authenticated: incoming.identity.is_some(),
            secure: incoming.secure,
            direct: incoming.direct,
            refusal: None,
            other_reason: None,
            identity: incoming.identity.as_deref().map(Into::into),
            trial: None,
            detour: None,
            pinned: None,
        };
        let named = |id: RawId| {
            let (tag_slot, nonce) = incoming.shares.unwrap_or((id.slot, nonce));
            Watcher { tag_slot, nonce, ..watcher }
        };
        let Some(id) = self.watchers.insert_with(named) else { return Err(Misuse::Limit) };
        if let Some(record) = self.resources.get_mut(resource) {
            record.watchers.push(id.slot);
        }
        let tag = match incoming.shares {
            Some(_) => {
                self.join(id.slot);
                self.retarget_siblings(id.slot);
                None
            }
            None => self.watchers.get(id).map(|watcher| Tag(watcher.tag())),
        };
        let answer = self.acceptance(id.slot, granted, tag, &incoming.info);
        self.reply(incoming.token, answer);
        self.owe(id.slot);
        self.use_flow(flow, Subject::Watcher(id));
        self.rearm_watcher(id.slot);
        Ok(WatcherId(id))
    }

    /// Refuses a SUBSCRIBE.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::BadValue`] for a status below 300, for 408
    /// (RFC 4320), for 423, which the durations decide, and for 401 and 407,
    /// which need a challenge. In the dialog of another watcher, a status that
    /// would end that too becomes 403 (RFC 5057 section 5.6).
    pub fn reject(&mut self, now: Instant, id: IncomingId, reject: Reject) -> Result<(), Misuse> {
        self.advance(now);
        if !may_refuse(reject.status) {
            return Err(Misuse::BadValue);
        }
        if self.incoming.get(id.0).is_none() {
            return Err(Misuse::StaleId);
        }
        let answer = self.rejection(&reject);
        if let Some(incoming) = self.drop_incoming(id.0.slot) {
            let answer = if incoming.shares.is_some() { spare_dialog(answer) } else { answer };
            self.reply(incoming.token, answer);
        }
        Ok(())
    }

    /// Takes an undecided SUBSCRIBE away, which then has no watcher.
    pub(super) fn drop_incoming(&mut self, slot: u32) -> Option<Box<Incoming>> {
        self.incoming_timers.set(slot, None);
        let incoming = self.incoming.remove(slot)?;
        self.sources.leave(&self.entropy, incoming.flow.remote.ip());
        Some(incoming)
    }

    /// The stack can no longer answer a request: its transaction has ended, as
    /// it does when the clock jumps. A SUBSCRIBE that waits for a decision, or
    /// for the secret of its user, is forgotten, since a subscription without a 2xx would be nobody's wish.
    pub fn handle_unanswered(&mut self, token: Token) {
        let late = self.incoming.iter().find(|(_, incoming)| incoming.token == token).map(|(id, _)| id.slot);
        if let Some(slot) = late {
            self.drop_incoming(slot);
        }
        self.forget_claim(token);
    }

    pub(super) fn undecided(&mut self, now: Instant, slot: u32) {
        let Some(id) = self.incoming.id_at(slot).map(IncomingId) else { return };
        let accepted = match self.config.policy.undecided {
            crate::Undecided::Pending => self.accept(now, id, Decision::PENDING).is_ok(),
            crate::Undecided::Refuse => false,
        };
        if !accepted {
            // A late decision may come with the next attempt.
            let reject = Reject::new(StatusCode::SERVER_INTERNAL_ERROR).retry_after(5);
            let _ = self.reject(now, id, reject);
        }
    }
}
