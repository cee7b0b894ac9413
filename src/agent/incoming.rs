//! A SUBSCRIBE arrives: the checks of RFC 6665 section 4.2.1 in order, then a
//! refresh, or the question to the application.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::dialogs::{self, Contact, Dialog, DialogParts};
use super::message::{Named, Names, Origin, RequestId, Subject, Tag, Token};
use super::resources::key_of;
use super::sharing::Name;
use super::{Agent, Answer};
use crate::Instant;
use crate::UnknownResource;
use crate::error::{DropReason, Handled};
use crate::event::Event;
use crate::flow::Flow;
use crate::id::{IncomingId, RawId, WatcherId};
use crate::package::{Body, EventPackage, PackageIndex, Reject, SubscribeView};
use crate::wire::{self, HeaderName, MessageView, NameAddr, StatusCode, Uri, read};
use crate::wire::{push_field, push_u32};

/// A SUBSCRIBE that the application has to decide on.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(super) token: Token,
    pub(super) package: PackageIndex,
    pub(super) resource: Option<RawId>,
    pub(super) key: Vec<u8>,
    pub(super) uri: String,
    pub(super) dialog: Dialog,
    pub(super) flow: Flow,
    pub(super) identity: Option<Bytes>,
    /// The value of Authentication-Info for the 2xx.
    pub(super) info: Vec<u8>,
    pub(super) expires: u32,
    pub(super) cseq: u32,
    pub(super) media: u8,
    pub(super) secure: bool,
    /// The connection that it came on leads to the next hop.
    pub(super) direct: bool,
    pub(super) body: Option<Body>,
    pub(super) deadline: Instant,
    /// The dialog that it came in, if that exists already.
    pub(super) shares: Option<Name>,
}

/// A SUBSCRIBE that would make a subscription.
pub(super) struct Asked {
    pub(super) package: PackageIndex,
    pub(super) uri: String,
    /// The canonical name of the resource.
    pub(super) key: Vec<u8>,
    pub(super) dialog: Dialog,
    pub(super) secure: bool,
    pub(super) shares: Option<Name>,
    pub(super) cseq: u32,
}

/// Most bytes of tags that a 420 lists.
const MAX_UNSUPPORTED: usize = 160;

/// What the checks common to first SUBSCRIBEs and refreshes found.
struct Checked {
    media: u8,
    body: Option<Body>,
    /// Seconds, capped.
    expires: u32,
}

impl Agent {
    pub(super) fn handle_subscribe<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        named: Named<'_, V>,
    ) -> Handled {
        match self.try_subscribe(now, from, token, named) {
            Ok(()) => Handled::Consumed,
            Err(answer) => {
                self.reply(token, answer);
                Handled::Dropped(DropReason::Refused)
            }
        }
    }

    fn try_subscribe<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        (message, names): Named<'_, V>,
    ) -> Result<(), Answer> {
        let uri = message.request_uri().unwrap_or_default();
        let uri = Uri::parse(uri).map_err(|_| Answer::new(StatusCode::BAD_REQUEST))?;
        if !uri.is_sip() && uri.scheme() != wire::Scheme::Tel {
            return Err(Answer::new(StatusCode::UNSUPPORTED_URI_SCHEME));
        }
        self.check_require(message)?;
        let event = match read::event(message) {
            Ok(Some(event)) => event,
            Ok(None) => return Err(self.bad_event()),
            Err(_) => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        let package = self.packages.index(event.event_type()).ok_or_else(|| self.bad_event())?;
        let names = names.map_err(|_| Answer::new(StatusCode::BAD_REQUEST))?;
        match names.to.tag() {
            Some(tag) => self.in_dialog_subscribe(now, from, token, (message, &names), tag, package),
            None => self.first_subscribe(now, from, token, (message, &names), &uri, package),
        }
    }

    /// 489 with the packages that are known (RFC 6665 section 4.2.1.1).
    pub(super) fn bad_event(&self) -> Answer {
        let mut answer = Answer::new(StatusCode::BAD_EVENT);
        push_field(&mut answer.fields, HeaderName::AllowEvents, self.packages.allow_events().as_bytes());
        answer
    }

    /// 420 for extensions that no package brings (RFC 3261 section 8.2.2.3).
    pub(crate) fn check_require<V: MessageView + ?Sized>(&self, message: &V) -> Result<(), Answer> {
        let (mut unsupported, mut refused) = (Vec::new(), false);
        for tag in read::require(message) {
            let known = self
                .packages
                .iter()
                .any(|p| p.option_tags().iter().any(|own| own.as_bytes().eq_ignore_ascii_case(tag)));
            if known {
                continue;
            }
            refused = true;
            // The answer is kept, and is to gain a forger nothing.
            if unsupported.len().saturating_add(tag.len()) <= MAX_UNSUPPORTED {
                if !unsupported.is_empty() {
                    unsupported.extend_from_slice(b", ");
                }
                unsupported.extend_from_slice(tag);
            }
        }
        if !refused {
            return Ok(());
        }
        let mut answer = Answer::new(StatusCode::BAD_EXTENSION);
        if !unsupported.is_empty() {
            push_field(&mut answer.fields, HeaderName::Unsupported, &unsupported);
        }
        Err(answer)
    }

    /// The checks of RFC 6665 sections 4.2.1.1 and 4.2.1.4 that hold for any SUBSCRIBE.
    fn check_subscribe<V: MessageView + ?Sized>(
        &self,
        message: &V,
        index: PackageIndex,
        refresh: bool,
    ) -> Result<Checked, Answer> {
        let Some(package) = self.packages.get(index) else { return Err(self.bad_event()) };
        let event = message.field(HeaderName::Event, 0).unwrap_or_default();
        package.parameters(event).map_err(|reject| self.rejection(&reject))?;
        let media = choose_media(package.notify_bodies(), message)?;
        let body = self.subscribe_body(message, package.as_ref())?;
        let durations = self.durations(package.as_ref());
        let asked = read::expires(message).unwrap_or(durations.default);
        // 423 is for short requests only: never for a fetch, never from one hour up.
        if asked > 0 && asked < 3600 && asked < durations.min {
            let mut answer = Answer::new(StatusCode::INTERVAL_TOO_BRIEF);
            answer.fields.extend_from_slice(b"Min-Expires: ");
            push_u32(&mut answer.fields, durations.min);
            answer.fields.extend_from_slice(b"\r\n");
            return Err(answer);
        }
        let expires = asked.min(durations.max);
        let view = SubscribeView {
            resource: message.request_uri().unwrap_or_default(),
            from: message.field(HeaderName::From, 0).unwrap_or_default(),
            event,
            expires,
            body: body.as_ref(),
            refresh,
        };
        package.on_subscribe(&view).map_err(|reject| self.rejection(&reject))?;
        Ok(Checked { media, body, expires })
    }

    fn subscribe_body<V: MessageView + ?Sized>(
        &self,
        message: &V,
        package: &dyn EventPackage,
    ) -> Result<Option<Body>, Answer> {
        let data = message.body();
        if data.is_empty() {
            return Ok(None);
        }
        if data.len() > self.config.limits.body as usize {
            return Err(Answer::new(StatusCode::REQUEST_ENTITY_TOO_LARGE));
        }
        let types = package.subscribe_bodies();
        let known = match read::content_type(message) {
            Ok(Some(media)) if types.iter().any(|t| media.is(t)) => message.field(HeaderName::ContentType, 0),
            _ if read::is_optional_body(message) => return Ok(None),
            _ => None,
        };
        let (Some(content_type), true) = (known, read::is_identity_encoded(message)) else {
            return Err(unsupported_media(types));
        };
        let content_type = core::str::from_utf8(content_type).unwrap_or_default();
        let body = Body::new(content_type, Bytes::copy_from_slice(data));
        package.subscribe_body(&body).map_err(|reject| self.rejection(&reject))?;
        Ok(Some(body))
    }

    /// The durations of a package, the configuration's overrides filled in.
    pub(super) fn durations(&self, package: &dyn EventPackage) -> crate::package::Expires {
        let mut durations = package.duration();
        if let Some(own) = self.config.package(package.name()) {
            durations.min = own.min_expires.unwrap_or(durations.min);
            durations.max = own.max_expires.unwrap_or(durations.max);
            durations.default = own.default_expires.unwrap_or(durations.default);
        }
        durations
    }

    pub(super) fn min_interval(&self, package: &dyn EventPackage) -> Duration {
        let own = self.config.package(package.name()).and_then(|own| own.min_interval);
        own.unwrap_or_else(|| package.rate())
    }

    /// The answer that a refusal stands for.
    pub(super) fn rejection(&self, reject: &Reject) -> Answer {
        let mut answer = Answer::new(if may_refuse(reject.status) { reject.status } else { StatusCode::FORBIDDEN });
        if let Some(seconds) = reject.retry_after {
            answer.retry_after(seconds);
        }
        if answer.status == StatusCode::BAD_EVENT {
            push_field(&mut answer.fields, HeaderName::AllowEvents, self.packages.allow_events().as_bytes());
        }
        answer
    }

    /// A SUBSCRIBE with a To tag: a refresh or an unsubscription (RFC 6665
    /// section 4.2.1.4).
    fn in_dialog_subscribe<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        (message, names): (&V, &Names<'_>),
        tag: &[u8],
        package: PackageIndex,
    ) -> Result<(), Answer> {
        let gone = || Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION);
        let members = self.find_watchers(names, tag).ok_or_else(gone)?;
        let cseq = names.cseq;
        let watcher = members.first().and_then(|slot| self.watchers.at(*slot)).ok_or_else(gone)?;
        // RFC 3261 section 12.2.2, and INT-14 for an equal number.
        if cseq <= watcher.remote_cseq {
            let mut answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
            answer.retry_after(0);
            return Err(answer);
        }
        // A subscription is the user's whose it is.
        if watcher.identity.is_some() && watcher.identity.as_deref() != from.identity.as_deref() {
            return Err(Answer::new(StatusCode::FORBIDDEN));
        }
        let slot = match read::event(message) {
            Ok(Some(event)) => self.member_for(&members, &event),
            _ => None,
        };
        let over = |slot: &u32| self.watchers.at(*slot).is_none_or(|w| w.machine.is_terminated());
        // The name of one that is over is free again (PEER-C14).
        let Some(slot) = slot.filter(|slot| !over(slot)) else {
            return self.further_usage(now, from, token, message, &members, package, cseq);
        };
        let checked = self.check_subscribe(message, package, true)?;
        let target = match dialogs::new_contact(message, watcher.dialog.target()) {
            Contact::Target(target) => Some(target),
            Contact::Absent => None,
            Contact::Bad => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        if checked.expires > 0 && self.events_full() {
            return Err(self.overload());
        }
        let flow = self.flows.intern(&self.entropy, from.flow).ok_or_else(|| self.overload())?;
        let limit = self.config.limits.dialog;
        let Some(watcher) = self.watchers.at_mut(slot) else {
            self.flows.release(&self.entropy, flow);
            return Err(Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
        };
        // All or nothing (RFC 3261 section 8.2): what may fail comes first.
        let mut moved = None;
        if let Some(target) = target {
            let mut dialog = watcher.dialog.clone();
            match dialog.set_target(target, limit) {
                Ok(differs) => moved = Some(dialog).filter(|_| differs),
                Err(_) => {
                    self.flows.release(&self.entropy, flow);
                    return Err(Answer::new(StatusCode::MESSAGE_TOO_LARGE));
                }
            }
        }
        if watcher.machine.handle_subscribe(now, checked.expires).is_err() {
            self.flows.release(&self.entropy, flow);
            return Err(Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
        }
        let has_moved = moved.is_some();
        if let Some(dialog) = moved {
            watcher.dialog = dialog;
        }
        watcher.media = checked.media;
        self.set_remote_cseq(&members, cseq);
        let Some(watcher) = self.watchers.at_mut(slot) else { return Err(gone()) };
        // INT-10: also where the NOTIFY that is owed now has to wait for its flow.
        if let Some((seq, id)) = watcher.open.take().zip(self.watchers.id_at(slot)) {
            self.abandoned.push_back(RequestId { subject: Subject::Watcher(id), seq });
            self.trial_over(Subject::Watcher(id));
        }
        // The flow that the watcher waits for, or whose window it fills, may be another now.
        self.unlink(slot);
        self.leave_window(slot);
        if has_moved {
            self.target_moved(slot);
            self.retarget_siblings(slot);
        }
        if let Some(watcher) = self.watchers.at_mut(slot) {
            watcher.direct = dialogs::is_way_back(message, watcher.dialog.routes());
            let old = core::mem::replace(&mut watcher.flow, flow);
            if old != flow
                && let Some(id) = self.watchers.id_at(slot)
            {
                self.use_flow(flow, Subject::Watcher(id));
            }
            let Some(watcher) = self.watchers.at_mut(slot) else { return Ok(()) };
            if let Some(old) = self.flows.get(old).map(|record| record.flow().remote.ip())
                && old != from.flow.remote.ip()
            {
                watcher.proven &= watcher.destination.is_some() || watcher.authenticated;
                self.sources.leave(&self.entropy, old);
                self.sources.enter(&self.entropy, from.flow.remote.ip());
            }
            self.flows.release(&self.entropy, old);
        }
        let answer = self.acceptance(slot, checked.expires, None, &from.info);
        self.reply(token, answer);
        self.owe(slot);
        self.rearm_watcher(slot);
        if checked.expires > 0
            && let Some(id) = self.watchers.id_at(slot)
        {
            self.push_event(Event::Refreshed { watcher: WatcherId(id), expires: checked.expires });
        }
        Ok(())
    }

    fn first_subscribe<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        (message, names): (&V, &Names<'_>),
        uri: &Uri<'_>,
        package: PackageIndex,
    ) -> Result<(), Answer> {
        if self.closing.is_some() {
            return Err(self.overload());
        }
        let bad_request = |_| Answer::new(StatusCode::BAD_REQUEST);
        let Contact::Target(target) = dialogs::contact(message) else {
            return Err(Answer::new(StatusCode::BAD_REQUEST));
        };
        if uri.as_bytes().len() > usize::from(self.config.limits.dialog) {
            return Err(Answer::new(StatusCode::MESSAGE_TOO_LARGE));
        }
        let key = key_of(uri);
        self.resource_for(package, &key)?;
        // RFC 3261 section 12.1.1.
        let first_hop = read::record_routes(message).next().and_then(Result::ok);
        let first_hop = first_hop.as_ref().map_or(target.as_slice(), NameAddr::uri);
        let secure = uri.is_sips() || wire::is_sips(first_hop);
        let parts = DialogParts {
            call_id: names.call_id,
            local: names.to.as_bytes(),
            remote: names.from.as_bytes(),
            remote_tag: names.from.tag().unwrap_or_default(),
            target,
            routes: dialogs::record_routes(message).map_err(bad_request)?,
            event: dialog_event(message),
        };
        let dialog =
            Dialog::new(&parts, self.config.limits.dialog).map_err(|_| Answer::new(StatusCode::MESSAGE_TOO_LARGE))?;
        let uri = String::from_utf8_lossy(uri.as_bytes()).into_owned();
        let cseq = names.cseq;
        self.ask(now, from, token, message, Asked { package, uri, key, dialog, secure, shares: None, cseq })
    }

    /// What a SUBSCRIBE wants to watch, if that may be watched.
    fn resource_for(&self, package: PackageIndex, key: &[u8]) -> Result<Option<RawId>, Answer> {
        let resource = self.find_resource(package, key);
        match (resource, self.config.policy.unknown_resource) {
            (None, UnknownResource::Refuse) => Err(Answer::new(StatusCode::NOT_FOUND)),
            (None, UnknownResource::Ask) if self.resources.is_full() => Err(self.overload()),
            _ => Ok(resource),
        }
    }

    /// Judges a SUBSCRIBE that would make a subscription, and puts it to the
    /// application.
    pub(super) fn ask<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        message: &V,
        asked: Asked,
    ) -> Result<(), Answer> {
        let resource = self.resource_for(asked.package, &asked.key)?;
        let checked = self.check_subscribe(message, asked.package, false)?;
        if self.watchers.is_full() || self.incoming.is_full() || self.events_full() {
            return Err(self.overload());
        }
        if resource.is_some_and(|resource| self.is_crowded(resource)) {
            return Err(self.overload());
        }
        let source = from.flow.remote.ip();
        if self.sources.count(&self.entropy, source) >= self.config.limits.watchers_per_source {
            return Err(self.overload());
        }
        let Asked { package, uri, key, dialog, secure, shares, cseq } = asked;
        let direct = dialogs::is_way_back(message, dialog.routes());
        let incoming = Incoming {
            token,
            package,
            resource,
            key,
            uri,
            dialog,
            flow: from.flow,
            identity: from.identity.clone(),
            info: from.info.clone(),
            expires: checked.expires,
            cseq,
            media: checked.media,
            secure,
            direct,
            body: checked.body,
            deadline: now + self.config.timers.decision,
            shares,
        };
        let deadline = incoming.deadline;
        let id = self.incoming.insert_with(|_| Box::new(incoming)).ok_or_else(|| self.overload())?;
        self.sources.enter(&self.entropy, source);
        self.incoming_timers.set(id.slot, Some(deadline));
        self.push_event(Event::Subscribe(IncomingId(id)));
        Ok(())
    }

    /// Whether a resource has as many watchers as it may have.
    pub(super) fn is_crowded(&self, resource: RawId) -> bool {
        let most = self.config.limits.watchers_per_resource as usize;
        self.resources.get(resource).is_some_and(|r| r.watchers.len() >= most)
    }

    /// The 2xx to a SUBSCRIBE.
    pub(super) fn acceptance(&self, slot: u32, expires: u32, to_tag: Option<Tag>, info: &[u8]) -> Answer {
        let mut answer = Answer::new(StatusCode::OK);
        // As long as nearly all are.
        answer.fields.reserve(192);
        answer.dialog_forming = to_tag.is_some();
        answer.to_tag = to_tag;
        if let Some(watcher) = self.watchers.at(slot) {
            self.write_contact(watcher.flow, watcher.secure, &mut answer.fields);
        }
        answer.fields.extend_from_slice(b"Expires: ");
        push_u32(&mut answer.fields, expires);
        answer.fields.extend_from_slice(b"\r\n");
        push_field(&mut answer.fields, HeaderName::AllowEvents, self.packages.allow_events().as_bytes());
        answer.authentication_info(info);
        answer
    }
}

/// The value of Event as a dialog keeps it.
pub(super) fn dialog_event<V: MessageView + ?Sized>(message: &V) -> &[u8] {
    message.field(HeaderName::Event, 0).unwrap_or_default()
}

/// Whether a bare answer with this status is a sound refusal: RFC 4320 section
/// 4.2 forbids 408, and 401, 407 and 423 need fields that it would not have.
pub(super) const fn may_refuse(status: StatusCode) -> bool {
    status.as_u16() >= 300 && !matches!(status.as_u16(), 401 | 407 | 408 | 423)
}

/// The place in the package's list of the media type that Accept likes best;
/// 406 if it likes none (RFC 6665 section 4.1.2.1). Without Accept, the first.
fn choose_media<V: MessageView + ?Sized>(types: &[&str], message: &V) -> Result<u8, Answer> {
    if types.is_empty() || message.field(HeaderName::Accept, 0).is_none() {
        return Ok(0);
    }
    let mut best: Option<(u16, u8)> = None;
    for (at, media) in (0u8..).zip(types) {
        // The most specific range decides on a type (RFC 3261 section 20.1).
        let Ok(media) = wire::MediaType::parse(media.as_bytes()) else { continue };
        let quality = read::accept(message)
            .filter_map(Result::ok)
            .filter(|range| media.matches(range))
            .map(|range| (range.specificity(), range.q()))
            .max()
            .map(|(_, q)| q);
        if let Some(q) = quality.filter(|q| *q > 0)
            && best.is_none_or(|(highest, _)| q > highest)
        {
            best = Some((q, at));
        }
    }
    best.map(|(_, at)| at).ok_or_else(|| Answer::new(StatusCode::NOT_ACCEPTABLE))
}

/// 415 with the types that would be understood (RFC 3261 section 8.2.3).
pub(super) fn unsupported_media<S: AsRef<str>>(types: &[S]) -> Answer {
    let mut answer = Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut list = Vec::new();
    for media in types {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(media.as_ref().as_bytes());
    }
    // An empty Accept says that no body at all is understood.
    push_field(&mut answer.fields, HeaderName::Accept, &list);
    push_field(&mut answer.fields, HeaderName::AcceptEncoding, b"identity");
    answer
}
