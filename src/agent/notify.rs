//! A NOTIFY arrives: the checks of RFC 6665 section 4.1.3 in order, then the
//! subscription learns of it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::dialogs::{self, Contact, Dialog, DialogParts};
use super::incoming::unsupported_media;
use super::message::{Named, Names, Origin, Token};
use super::subscriptions::Attempt;
use super::{Agent, Answer};
use crate::entropy::{Minted, Role, keyed_hash};
use crate::error::{DropReason, Handled};
use crate::event::{Event, Reason, SubscriptionState};
use crate::id::SubscriptionId;
use crate::machine::subscriber::{Delivery, NotifyIn};
use crate::machine::{ReasonCode, Substate};
use crate::package::{Body, Forking, PackageIndex};
use crate::wire::{self, HeaderName, MessageView, StatusCode, read};
use crate::{Instant, MissingState};

/// Media types of which one copy serves all bodies.
const MAX_MEDIA_TYPES: usize = 16;
/// Longer ones are kept with their bodies.
const MAX_MEDIA_TYPE: usize = 128;

/// Whom a NOTIFY is for.
enum Place {
    /// A subscription that has this dialog.
    Known(u32),
    /// The first dialog of an attempt: its subscription has none yet.
    First(u32),
    /// A further fork.
    Fork(u32),
}

impl Agent {
    pub(super) fn handle_notify<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        named: Named<'_, V>,
    ) -> Handled {
        match self.try_notify(now, from, named) {
            Ok(()) => {
                let mut answer = Answer::new(StatusCode::OK);
                answer.authentication_info(&from.info);
                self.reply(token, answer);
                Handled::Consumed
            }
            Err(answer) => {
                self.reply(token, answer);
                Handled::Dropped(DropReason::Refused)
            }
        }
    }

    fn try_notify<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        (message, names): Named<'_, V>,
    ) -> Result<(), Answer> {
        let bad_request = |_| Answer::new(StatusCode::BAD_REQUEST);
        let no_dialog = || Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION);
        self.check_require(message)?;
        let found = names.as_ref().ok().and_then(|names| self.find_attempt(names));
        let own_event = found.and_then(|slot| self.attempts.at(slot)).map(|attempt| attempt.intent.event.as_bytes());
        let text = read::single(message, HeaderName::Event).map_err(bad_request)?;
        // What is spelt as we spelt it need not be read.
        let (is_known, is_own) = match text {
            Some(text) if Some(text) == own_event => (true, true),
            Some(text) => {
                let event = wire::Event::parse(text).map_err(bad_request)?;
                let own = own_event.and_then(|own| wire::Event::parse(own).ok());
                (self.packages.index(event.event_type()).is_some(), own.is_some_and(|own| event.matches(&own)))
            }
            None => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        if !is_known {
            return Err(self.bad_event());
        }
        let Names { from: remote, call_id, cseq, .. } = names.map_err(bad_request)?;
        let attempt_slot = found.ok_or_else(no_dialog)?;
        let attempt = self.attempts.at(attempt_slot).ok_or_else(no_dialog)?;
        let remote_tag = remote.tag().unwrap_or_default();
        // The key has to outlive a restart, which brings another seed.
        let tag = || keyed_hash(attempt.nonce, remote_tag);
        let members = self.of_dialog(&attempt.subscriptions, remote_tag);
        let place = match members.first().copied() {
            Some(slot) => {
                let subscription = self.subscriptions.at(slot).ok_or_else(no_dialog)?;
                if cseq <= subscription.remote_cseq {
                    // RFC 3261 section 12.2.2; Retry-After keeps older notifiers from giving up.
                    let mut answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
                    answer.retry_after(0);
                    return Err(answer);
                }
                let alone = members.len() == 1 && text == Some(subscription.intent.event.as_bytes());
                let named = || self.partner_for(&members, text.unwrap_or_default());
                Place::Known(if alone { Some(slot) } else { named() }.ok_or_else(no_dialog)?)
            }
            None if !is_own || attempt.window.as_ref().is_none_or(|window| window.tags.contains(&tag())) => {
                return Err(no_dialog());
            }
            None => self.place_of_fork(attempt, attempt_slot).ok_or_else(no_dialog)?,
        };
        let state = match read::subscription_state(message) {
            Ok(Some(state)) => state,
            Ok(None) if self.config.policy.missing_state == MissingState::Active => {
                wire::SubscriptionState::new(wire::Substate::Active)
            }
            Ok(None) | Err(_) => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        let dialog = match place {
            Place::Known(slot) => self.subscriptions.at(slot).and_then(|s| s.dialog.as_ref()),
            Place::First(_) | Place::Fork(_) => None,
        };
        let contact = match dialog {
            Some(dialog) => dialogs::new_contact(message, dialog.target()),
            None => dialogs::contact(message),
        };
        let target = match (contact, &place) {
            (Contact::Target(target), _) => Some(target),
            (Contact::Absent, Place::Known(_)) => None,
            (Contact::Absent, _) if state.substate == wire::Substate::Terminated => None,
            (Contact::Absent | Contact::Bad, _) => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        let (package, asked) = match place {
            Place::Known(slot) => {
                let record = self.subscriptions.at(slot).ok_or_else(no_dialog)?;
                (record.package, record.intent.more().accept.as_slice())
            }
            Place::First(_) | Place::Fork(_) => (attempt.package, attempt.intent.more().accept.as_slice()),
        };
        let body = self.notify_body(message, package, asked)?;
        if self.events_full() {
            return Err(self.overload());
        }
        let too_large = || Answer::new(StatusCode::MESSAGE_TOO_LARGE);
        let dialog = match place {
            Place::Known(_) => {
                let fits = |target: &Vec<u8>| dialog.is_none_or(|d| d.has_room_for(target, self.config.limits.dialog));
                if !target.as_ref().is_none_or(fits) {
                    return Err(too_large());
                }
                None
            }
            Place::First(_) | Place::Fork(_) => {
                let local = match self.attempt_from(attempt) {
                    Some(local) => local,
                    None => return Err(no_dialog()),
                };
                let mut routes = dialogs::record_routes(message).map_err(bad_request)?;
                if routes.is_empty() {
                    routes = attempt.routes_of_response(remote_tag);
                }
                let parts = DialogParts {
                    call_id,
                    local: &local,
                    remote: remote.as_bytes(),
                    remote_tag,
                    target: target.clone().unwrap_or_default(),
                    routes,
                    event: attempt.intent.event.as_bytes(),
                };
                Some(Dialog::new(&parts, self.config.limits.dialog).map_err(|_| too_large())?)
            }
        };
        let input = NotifyIn {
            substate: match state.substate {
                wire::Substate::Active => Substate::Active,
                wire::Substate::Pending => Substate::Pending,
                wire::Substate::Terminated => Substate::Terminated,
                _ => Substate::Other,
            },
            expires: state.expires,
            reason: reason_code(state.reason),
            retry_after: state.retry_after,
        };
        let slot = match place {
            Place::Known(slot) | Place::First(slot) => slot,
            Place::Fork(attempt) => self.fork(now, attempt).ok_or_else(no_dialog)?,
        };
        let timers = self.config.timers.sip;
        let subscription = self.subscriptions.at_mut(slot).ok_or_else(no_dialog)?;
        if subscription.machine.handle_notify(now, &input, &timers) == Delivery::Refused {
            return Err(no_dialog());
        }
        subscription.remote_cseq = cseq;
        if dialog.is_none() {
            subscription.governor.established();
            self.in_step(slot);
        }
        let subscription = self.subscriptions.at_mut(slot).ok_or_else(no_dialog)?;
        if dialog.is_some()
            && let Some(attempt) = self.attempts.at_mut(attempt_slot)
            && let Some(window) = &mut attempt.window
        {
            window.tags.push(keyed_hash(attempt.nonce, remote_tag));
        }
        let reason = state.reason.filter(|_| input.substate == Substate::Terminated);
        subscription.last_reason = reason.map(|reason| Box::new(owned_reason(reason)));
        if let Some(dialog) = dialog {
            // RFC 6665 section 4.4.1: this NOTIFY makes the dialog, unless it also ends it.
            if input.substate != Substate::Terminated {
                let reuse = from.flow.stream.is_some() && dialogs::is_way_back(message, dialog.routes());
                self.establish(slot, attempt_slot, dialog, Some(from.flow).filter(|_| reuse));
                self.supersede(now, slot, attempt_slot);
            }
        } else if let Some(target) = target {
            self.retarget_subscription(slot, target);
        }
        let body = body.map(|(content_type, data)| Body {
            content_type: self.media_type(content_type),
            data: Bytes::copy_from_slice(data),
        });
        self.deliver(slot, &input, cseq, body);
        self.settle_subscription(now, slot);
        Ok(())
    }

    /// The attempt of ours that a request names by its To tag and Call-ID.
    fn find_attempt(&self, names: &Names<'_>) -> Option<u32> {
        let minted = names.to.tag().and_then(Minted::read).filter(|m| m.role == Role::Subscriber)?;
        let attempt = self.attempts.at(minted.slot)?;
        (attempt.nonce == minted.nonce && attempt.call_id() == names.call_id).then_some(minted.slot)
    }

    /// Where a NOTIFY with a new From tag belongs (RFC 6665 section 4.1.4).
    fn place_of_fork(&self, attempt: &Attempt, attempt_slot: u32) -> Option<Place> {
        let first = attempt.subscriptions.first().copied();
        let closing = self.closing.is_some();
        if let Some(slot) = first
            && self.subscriptions.at(slot).is_some_and(|s| s.dialog.is_none() && s.retry_at.is_none())
        {
            return Some(Place::First(slot));
        }
        let package = self.packages.get(attempt.package)?;
        let taken = attempt.made_usage && package.forking() == Forking::FirstOnly;
        let dialogs = attempt.subscriptions.iter().filter(|slot| !self.is_guest(**slot)).count();
        let full = dialogs >= self.config.limits.forks as usize
            || attempt.window.as_ref().is_none_or(|window| window.forks >= self.config.limits.forks)
            || self.subscriptions.is_full();
        (!taken && !full && !closing).then_some(Place::Fork(attempt_slot))
    }

    /// The body, if it is of a type that was asked for (RFC 6665 section 3.2.1).
    fn notify_body<'m, V: MessageView + ?Sized>(
        &self,
        message: &'m V,
        package: PackageIndex,
        asked: &[String],
    ) -> Result<Option<(&'m str, &'m [u8])>, Answer> {
        let data = message.body();
        if data.is_empty() {
            return Ok(None);
        }
        if data.len() > self.config.limits.body as usize {
            return Err(Answer::new(StatusCode::REQUEST_ENTITY_TOO_LARGE));
        }
        let own: &[&str] = self.packages.get(package).map_or(&[], |p| p.notify_bodies());
        let fits = |media: &wire::MediaType<'_>| match (asked.is_empty(), own.is_empty()) {
            (false, _) => asked.iter().any(|a| {
                wire::AcceptRange::parse(a.as_bytes()).is_ok_and(|range| range.q() > 0 && media.matches(&range))
            }),
            (true, false) => own.iter().any(|t| media.is(t)),
            (true, true) => true,
        };
        let text = read::single(message, HeaderName::ContentType).ok().flatten();
        // Spelt as we spell it, it need not be read.
        let plain = |text: &[u8]| asked.is_empty() && own.iter().any(|own| own.as_bytes() == text);
        let sound =
            text.is_some_and(|text| plain(text) || wire::MediaType::parse(text).is_ok_and(|media| fits(&media)));
        if !sound || !read::is_identity_encoded(message) {
            return Err(if asked.is_empty() { unsupported_media(own) } else { unsupported_media(asked) });
        }
        let content_type = message.field(HeaderName::ContentType, 0).unwrap_or_default();
        let content_type = core::str::from_utf8(content_type).unwrap_or_default();
        Ok(Some((content_type, data)))
    }

    /// A media type that is sound, kept once for all bodies.
    fn media_type(&mut self, text: &str) -> Bytes {
        if let Some(known) = self.media_types.iter().find(|known| **known == text) {
            return known.clone();
        }
        let new = Body::new(text, Bytes::new()).content_type;
        if self.media_types.len() < MAX_MEDIA_TYPES && new.len() <= MAX_MEDIA_TYPE && new == text {
            self.media_types.push(new.clone());
        }
        new
    }

    fn deliver(&mut self, slot: u32, input: &NotifyIn, cseq: u32, body: Option<Body>) {
        let Some(id) = self.subscriptions.id_at(slot) else { return };
        let Some(subscription) = self.subscriptions.at_mut(slot) else { return };
        let mut resync = false;
        let document = match &body {
            None => subscription.document.as_deref().cloned(),
            Some(update) => {
                let package = self.packages.get(subscription.package);
                let merged = package.map(|p| p.merge(subscription.document.as_deref(), update)).unwrap_or_default();
                resync = merged.resync;
                match (&mut subscription.document, &merged.document) {
                    (Some(old), Some(new)) => (**old).clone_from(new),
                    (None, Some(new)) => subscription.document = Some(Box::new(new.clone())),
                    (_, None) => {}
                }
                subscription.document.as_deref().cloned()
            }
        };
        if resync {
            // Full state comes with the answer to a SUBSCRIBE. After the end none is wanted.
            let _ = subscription.machine.resync(self.now);
        }
        let state = match input.substate {
            Substate::Active => SubscriptionState::Active,
            Substate::Pending => SubscriptionState::Pending,
            Substate::Terminated => SubscriptionState::Terminated,
            Substate::Other => SubscriptionState::Unknown,
        };
        let expires = input.expires.filter(|_| state != SubscriptionState::Terminated);
        self.push_event(Event::Notify { subscription: SubscriptionId(id), state, expires, cseq, body, document });
    }
}

const fn reason_code(reason: Option<wire::Reason<'_>>) -> ReasonCode {
    match reason {
        None => ReasonCode::Absent,
        Some(wire::Reason::Deactivated) => ReasonCode::Deactivated,
        Some(wire::Reason::Probation) => ReasonCode::Probation,
        Some(wire::Reason::Rejected) => ReasonCode::Rejected,
        Some(wire::Reason::Timeout) => ReasonCode::Timeout,
        Some(wire::Reason::Giveup) => ReasonCode::Giveup,
        Some(wire::Reason::NoResource) => ReasonCode::NoResource,
        Some(wire::Reason::Invariant) => ReasonCode::Invariant,
        Some(wire::Reason::BadFilter) => ReasonCode::BadFilter,
        Some(_) => ReasonCode::Other,
    }
}

fn owned_reason(reason: wire::Reason<'_>) -> Reason {
    match reason {
        wire::Reason::Deactivated => Reason::Deactivated,
        wire::Reason::Probation => Reason::Probation,
        wire::Reason::Rejected => Reason::Rejected,
        wire::Reason::Timeout => Reason::Timeout,
        wire::Reason::Giveup => Reason::Giveup,
        wire::Reason::NoResource => Reason::NoResource,
        wire::Reason::Invariant => Reason::Invariant,
        wire::Reason::BadFilter => Reason::BadFilter,
        other => Reason::Other(Bytes::copy_from_slice(other.as_bytes())),
    }
}
