//! A SUBSCRIBE arrives: the checks of RFC 6665 section 4.2.1 in order, then a
//! refresh, or the question to the application.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::dialogs::{self, Contact, Dialog, DialogParts};
use super::message::{Origin, RequestId, Subject, Tag, Token};
use super::resources::key_of;
use super::watchers::Watcher;
use super::{Agent, Answer};
use crate::Instant;
use crate::UnknownResource;
use crate::entropy::{Minted, Role};
use crate::error::{DropReason, Handled, Misuse};
use crate::event::Event;
use crate::flow::Flow;
use crate::id::{IncomingId, RawId, ResourceId, WatcherId};
use crate::machine::notifier::{self, Grant};
use crate::package::{Body, EventPackage, PackageIndex, Reject, SubscribeView, View};
use crate::wire::{self, HeaderName, MessageView, NameAddr, StatusCode, Uri, read};
use crate::wire::{push_field, push_u32};

/// A SUBSCRIBE that the application has to decide on.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    token: Token,
    package: PackageIndex,
    resource: Option<RawId>,
    key: Vec<u8>,
    uri: String,
    dialog: Dialog,
    flow: Flow,
    identity: Option<Bytes>,
    expires: u32,
    cseq: u32,
    media: u8,
    secure: bool,
    body: Option<Body>,
    pub(super) deadline: Instant,
}

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

impl Incoming {
    pub(super) const fn token(&self) -> Token {
        self.token
    }
}

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
        message: &V,
    ) -> Handled {
        match self.try_subscribe(now, from, token, message) {
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
        message: &V,
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
        let bad_request = |_| Answer::new(StatusCode::BAD_REQUEST);
        let to = read::to(message).map_err(bad_request)?;
        match to.tag() {
            Some(tag) => self.in_dialog_subscribe(now, from, token, message, tag, package),
            None => self.first_subscribe(now, from, token, message, &uri, &to, package),
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
        let mut unsupported = Vec::new();
        for tag in read::require(message) {
            let known = self
                .packages
                .iter()
                .any(|p| p.option_tags().iter().any(|own| own.as_bytes().eq_ignore_ascii_case(tag)));
            if !known {
                // No blanks: the answer says no more than the request.
                if !unsupported.is_empty() {
                    unsupported.push(b',');
                }
                unsupported.extend_from_slice(tag);
            }
        }
        if unsupported.is_empty() {
            return Ok(());
        }
        let mut answer = Answer::new(StatusCode::BAD_EXTENSION);
        push_field(&mut answer.fields, HeaderName::Unsupported, &unsupported);
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

    fn min_interval(&self, package: &dyn EventPackage) -> Duration {
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
        message: &V,
        tag: &[u8],
        package: PackageIndex,
    ) -> Result<(), Answer> {
        let slot = self.find_watcher(message, tag).ok_or_else(|| Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION))?;
        let cseq = read::cseq(message).map_err(|_| Answer::new(StatusCode::BAD_REQUEST))?.number;
        let watcher = self.watchers.at(slot).ok_or_else(|| Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION))?;
        // RFC 3261 section 12.2.2, and INT-14 for an equal number.
        if cseq <= watcher.remote_cseq {
            let mut answer = Answer::new(StatusCode::SERVER_INTERNAL_ERROR);
            answer.retry_after(0);
            return Err(answer);
        }
        if watcher.machine.is_terminated() {
            return Err(Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
        }
        let same = match (read::event(message), wire::Event::parse(watcher.dialog.event())) {
            (Ok(Some(event)), Ok(own)) => event.matches(&own),
            _ => false,
        };
        if !same {
            // RFC 6665 section 4.5.2: a second usage in a dialog.
            let mut answer = Answer::new(StatusCode::FORBIDDEN);
            answer.reason = Some("Dialog Sharing Not Supported");
            return Err(answer);
        }
        let checked = self.check_subscribe(message, package, true)?;
        let target = match dialogs::contact(message) {
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
        let mut dialog = watcher.dialog.clone();
        let moved = match target.map(|target| dialog.set_target(target, limit)) {
            None => Ok(false),
            Some(result) => result,
        };
        let Ok(moved) = moved else {
            self.flows.release(&self.entropy, flow);
            return Err(Answer::new(StatusCode::MESSAGE_TOO_LARGE));
        };
        if watcher.machine.handle_subscribe(now, checked.expires).is_err() {
            self.flows.release(&self.entropy, flow);
            return Err(Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
        }
        watcher.dialog = dialog;
        watcher.remote_cseq = cseq;
        watcher.media = checked.media;
        // INT-10: also where the NOTIFY that is owed now has to wait for its flow.
        let given_up = watcher.open.take().zip(self.watchers.id_at(slot));
        self.abandoned.extend(given_up.map(|(seq, id)| RequestId { subject: Subject::Watcher(id), seq }));
        // The flow that the watcher waits for, or whose window it fills, may be another now.
        self.unlink(slot);
        self.leave_window(slot);
        if moved {
            self.forget_destination(slot);
        }
        if let Some(watcher) = self.watchers.at_mut(slot) {
            let old = core::mem::replace(&mut watcher.flow, flow);
            self.flows.release(&self.entropy, old);
        }
        let answer = self.acceptance(slot, checked.expires, None);
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

    /// The watcher whose dialog a request belongs to.
    fn find_watcher<V: MessageView + ?Sized>(&self, message: &V, to_tag: &[u8]) -> Option<u32> {
        let minted = Minted::read(to_tag).filter(|m| m.role == Role::Notifier)?;
        let watcher = self.watchers.at(minted.slot).filter(|w| w.nonce == minted.nonce)?;
        let from = read::from(message).ok()?;
        let same = watcher.dialog.call_id() == read::call_id(message).ok()?
            && watcher.dialog.remote_tag() == from.tag().unwrap_or_default();
        same.then_some(minted.slot)
    }

    #[allow(clippy::too_many_arguments)]
    fn first_subscribe<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        message: &V,
        uri: &Uri<'_>,
        to: &NameAddr<'_>,
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
        let resource = self.find_resource(package, &key);
        match (resource, self.config.policy.unknown_resource) {
            (None, UnknownResource::Refuse) => return Err(Answer::new(StatusCode::NOT_FOUND)),
            (None, UnknownResource::Ask) if self.resources.is_full() => return Err(self.overload()),
            _ => {}
        }
        let checked = self.check_subscribe(message, package, false)?;
        if self.watchers.is_full() || self.incoming.is_full() || self.events_full() {
            return Err(self.overload());
        }
        if resource.is_some_and(|resource| self.is_crowded(resource)) {
            return Err(self.overload());
        }
        // RFC 3261 section 12.1.1.
        let first_hop = read::record_routes(message).next().and_then(Result::ok);
        let first_hop = first_hop.as_ref().map_or(target.as_slice(), NameAddr::uri);
        let is_sips = |uri: &[u8]| Uri::parse(uri).is_ok_and(|uri| uri.is_sips());
        let secure = uri.is_sips() || is_sips(first_hop);
        let remote = read::from(message).map_err(bad_request)?;
        let parts = DialogParts {
            call_id: read::call_id(message).map_err(bad_request)?,
            local: to.as_bytes(),
            remote: remote.as_bytes(),
            remote_tag: remote.tag().unwrap_or_default(),
            target,
            routes: dialogs::record_routes(message).map_err(bad_request)?,
            event: message.field(HeaderName::Event, 0).unwrap_or_default(),
        };
        let dialog =
            Dialog::new(&parts, self.config.limits.dialog).map_err(|_| Answer::new(StatusCode::MESSAGE_TOO_LARGE))?;
        let incoming = Incoming {
            token,
            package,
            resource,
            key,
            uri: String::from_utf8_lossy(uri.as_bytes()).into_owned(),
            dialog,
            flow: from.flow,
            identity: from.identity.clone(),
            expires: checked.expires,
            cseq: read::cseq(message).map_err(bad_request)?.number,
            media: checked.media,
            secure,
            body: checked.body,
            deadline: now + self.config.timers.decision,
        };
        let deadline = incoming.deadline;
        let id = self.incoming.insert_with(|_| Box::new(incoming)).ok_or_else(|| self.overload())?;
        self.incoming_timers.set(id.slot, Some(deadline));
        self.push_event(Event::Subscribe(IncomingId(id)));
        Ok(())
    }

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
        })
    }

    /// Accepts a SUBSCRIBE: 200, then a NOTIFY at once (RFC 6665 section 4.2.1.2).
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::LongerThanAsked`]; [`Misuse::Limit`];
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
        let granted = expires.unwrap_or(incoming.expires);
        if granted > incoming.expires {
            return Err(Misuse::LongerThanAsked);
        }
        let package = self.packages.get(incoming.package).ok_or(Misuse::UnknownPackage)?.clone();
        if self.locals.is_empty() {
            return Err(Misuse::NoLocalAddress);
        }
        let (index, key) = (incoming.package, incoming.key.clone());
        let known = incoming.resource.filter(|r| self.live(*r).is_some()).or_else(|| self.find_resource(index, &key));
        if known.is_none() && self.config.policy.unknown_resource == UnknownResource::Refuse {
            return Err(Misuse::WrongState);
        }
        let crowded = known.is_some_and(|resource| self.is_crowded(resource));
        if crowded || self.watchers.is_full() || (known.is_none() && self.resources.is_full()) {
            return Err(Misuse::Limit);
        }
        // The last that may fail; from here on nothing does.
        let uri = incoming.uri.clone();
        let flow = self.flows.intern(&self.entropy, incoming.flow).ok_or(Misuse::Limit)?;
        let resource = match known {
            Some(resource) => resource,
            None => self.insert_resource(index, &uri, key).ok_or(Misuse::Limit)?,
        };
        self.incoming_timers.set(id.0.slot, None);
        let Some(incoming) = self.incoming.remove(id.0.slot) else { return Err(Misuse::StaleId) };
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
            nonce: self.entropy.next_u64(),
            user_data: 0,
            resource: resource.slot,
            position: u32::try_from(record.watchers.len()).unwrap_or(u32::MAX),
            link: super::list::Link::default(),
            flow,
            destination: None,
            in_window: None,
            // Anywhere in the lowest part of the range: 2^31 are never reached (RFC 3261 section 8.1.1.5).
            local_cseq: u32::from(self.entropy.next_u16()),
            remote_cseq: incoming.cseq,
            open: None,
            told: record.version_of(view),
            numbered: 0,
            view,
            media: incoming.media,
            owed: false,
            report: false,
            secure: incoming.secure,
            refusal: None,
            other_reason: None,
        };
        let Some(id) = self.watchers.insert_with(|_| watcher) else { return Err(Misuse::Limit) };
        if let Some(record) = self.resources.get_mut(resource) {
            record.watchers.push(id.slot);
        }
        let nonce = self.watchers.get(id).map_or(0, |w| w.nonce);
        let tag = Tag(Minted { role: Role::Notifier, slot: id.slot, nonce });
        let answer = self.acceptance(id.slot, granted, Some(tag));
        self.reply(incoming.token, answer);
        self.owe(id.slot);
        self.rearm_watcher(id.slot);
        Ok(WatcherId(id))
    }

    /// Refuses a SUBSCRIBE.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::BadValue`] for a status below 300, for 408
    /// (RFC 4320), for 423, which the durations decide, and for 401 and 407,
    /// which need a challenge.
    pub fn reject(&mut self, now: Instant, id: IncomingId, reject: Reject) -> Result<(), Misuse> {
        self.advance(now);
        if !may_refuse(reject.status) {
            return Err(Misuse::BadValue);
        }
        if self.incoming.get(id.0).is_none() {
            return Err(Misuse::StaleId);
        }
        let answer = self.rejection(&reject);
        self.incoming_timers.set(id.0.slot, None);
        if let Some(incoming) = self.incoming.remove(id.0.slot) {
            self.reply(incoming.token, answer);
        }
        Ok(())
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

    /// Whether a resource has as many watchers as it may have.
    fn is_crowded(&self, resource: RawId) -> bool {
        let most = self.config.limits.watchers_per_resource as usize;
        self.resources.get(resource).is_some_and(|r| r.watchers.len() >= most)
    }

    /// The 2xx to a SUBSCRIBE.
    fn acceptance(&self, slot: u32, expires: u32, to_tag: Option<Tag>) -> Answer {
        let mut answer = Answer::new(StatusCode::OK);
        answer.dialog_forming = to_tag.is_some();
        answer.to_tag = to_tag;
        if let Some(watcher) = self.watchers.at(slot) {
            self.write_contact(watcher.flow, watcher.secure, &mut answer.fields);
        }
        answer.fields.extend_from_slice(b"Expires: ");
        push_u32(&mut answer.fields, expires);
        answer.fields.extend_from_slice(b"\r\n");
        push_field(&mut answer.fields, HeaderName::AllowEvents, self.packages.allow_events().as_bytes());
        answer
    }
}

/// Whether a bare answer with this status is a sound refusal: RFC 4320 section
/// 4.2 forbids 408, and 401, 407 and 423 need fields that it would not have.
const fn may_refuse(status: StatusCode) -> bool {
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
