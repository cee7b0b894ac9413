//! Which request gets which answer before, or instead of, the agent's (RFC
//! 3261 section 8.2, RFC 6665 section 4.6).

use alloc::vec::Vec;

use super::Endpoint;
use super::core::Core;
use super::keys::{self, Identity};
use super::respond::{self, Repeated, Response};
use super::server::Key;
use crate::Instant;
use crate::agent::{Names, Origin};
use crate::config::{KeepAlive, Role};
use crate::error::{DropReason, Handled};
use crate::flow::Flow;
use crate::package::Packages;
use crate::wire::{
    HeadWriter, HeaderName, MAX_MESSAGE, Message, Method, ParseError, ParseErrorKind, Scheme, StatusCode, Uri, read,
};

/// The methods that are understood (RFC 3261 section 20.5).
const ALLOW: &[u8] = b"SUBSCRIBE, NOTIFY, OPTIONS, CANCEL";
/// Seconds after which a request that met a full table may come again.
const RETRY_AFTER: u32 = 10;

/// What OPTIONS tells (RFC 3261 section 11.2), as field lines.
pub(super) fn capabilities(packages: &Packages) -> Vec<u8> {
    let mut types: Vec<&str> = Vec::new();
    let mut tags: Vec<&str> = Vec::new();
    for package in packages.iter() {
        types.extend(package.notify_bodies().iter().chain(package.subscribe_bodies()));
        tags.extend(package.option_tags());
    }
    let mut out = Vec::new();
    let mut head = HeadWriter::new(&mut out);
    head.field(HeaderName::Allow, ALLOW);
    head.field(HeaderName::Accept, list(types).as_bytes());
    head.field(HeaderName::AcceptEncoding, b"identity");
    head.field(HeaderName::AcceptLanguage, b"en");
    head.field(HeaderName::Supported, list(tags).as_bytes());
    head.field(HeaderName::AllowEvents, packages.allow_events().as_bytes());
    out
}

fn list(mut items: Vec<&str>) -> alloc::string::String {
    items.sort_unstable();
    items.dedup();
    items.join(", ")
}

impl Core {
    /// Sends an answer of which nothing is remembered.
    fn answer(&mut self, flow: &Flow, message: &Message<'_>, response: Response<'_>, close: bool) -> bool {
        let Some(via) = respond::answerable(message) else { return false };
        let mut lines = self.buffer();
        let marks = respond::copy_lines(&mut lines, message, &Repeated::of(message), &via, flow.remote);
        let fallback;
        let untagged = read::to(message).is_ok_and(|to| to.tag().is_none());
        let to_tag = match response.to_tag {
            _ if !untagged => None,
            Some(tag) => Some(tag),
            None => {
                fallback = match Identity::of(message) {
                    Ok(identity) => identity.stateless_tag(&self.entropy),
                    Err(_) => keys::hex(self.entropy.hash(&[b"tag", message.as_bytes()])),
                };
                Some(&fallback[..])
            }
        };
        let mut out = self.buffer();
        let server = self.config.user_agent.as_deref();
        Response { to_tag, server, ..response }.write(&lines, &marks, &mut out);
        self.recycle(lines);
        let (reply, _) = respond::reply_to(flow, &via, self.config.policy.via_maddr);
        self.queue_raw(reply, out, close);
        self.stats.responses_sent = self.stats.responses_sent.wrapping_add(1);
        true
    }

    /// Answers the message that broke the framing of a stream, and has the
    /// stream closed.
    pub(super) fn answer_lost(&mut self, flow: &Flow, head: &[u8], status: Option<StatusCode>, reason: &str) {
        let answered = status.is_some_and(|status| {
            let message = Message::scan(head).ok().filter(|m| m.method().is_some_and(|m| m != Method::Ack));
            let reason = (status == StatusCode::BAD_REQUEST).then_some(reason);
            message.is_some_and(|m| self.answer(flow, &m, Response { reason, ..Response::new(status) }, true))
        });
        if !answered && let Some(stream) = flow.stream {
            self.io.push_back(crate::io::Io::Close { stream });
        }
    }

    fn refuse(&mut self, flow: &Flow, message: &Message<'_>, status: StatusCode, fields: &[u8]) -> Handled {
        self.answer(flow, message, Response { fields, ..Response::new(status) }, false);
        self.dropped(DropReason::Refused)
    }

    pub(super) fn dropped(&mut self, reason: DropReason) -> Handled {
        self.stats.drop(reason);
        Handled::Dropped(reason)
    }

    /// 400 and the like, or silence where no answer can be built
    /// (6665-DISP-1).
    fn malformed(&mut self, flow: &Flow, message: &Message<'_>, defect: ParseError) -> Handled {
        let status = match (defect.kind, message.method()) {
            // RFC 4475 section 3.1.2.18.
            (ParseErrorKind::CSeqMethodMismatch, Some(Method::Other(_))) => StatusCode::NOT_IMPLEMENTED,
            _ => defect.status_hint(),
        };
        let reason = (status == StatusCode::BAD_REQUEST).then_some(defect.kind.as_str());
        let response = Response { reason, ..Response::new(status) };
        let answered = self.answer(flow, message, response, false);
        self.dropped(if answered { DropReason::Malformed } else { DropReason::Unparsable })
    }

    /// CANCEL is answered and changes nothing (RFC 6665 section 4.6).
    fn cancel(&mut self, flow: &Flow, message: &Message<'_>, target: Option<u32>) -> Handled {
        let Some(slot) = target else {
            return self.refuse(flow, message, StatusCode::NO_SUCH_SUBSCRIPTION, b"");
        };
        let tag = self.cancel_tag(slot).map(<[u8]>::to_vec);
        self.answer(flow, message, Response { to_tag: tag.as_deref(), ..Response::new(StatusCode::OK) }, false);
        Handled::Consumed
    }

    /// The transaction that a CANCEL is about, the method aside (RFC 3261
    /// section 9.2).
    fn cancelled(&mut self, identity: &Identity<'_>) -> Option<u32> {
        [Method::Subscribe, Method::Notify].iter().find_map(|method| {
            let key = self.server_key(identity, method.as_bytes());
            let found = self.find_server(&key);
            self.drop_key(key);
            found
        })
    }

    /// The scheme of the Request-URI, checked (6665-DISP-6).
    fn bad_uri(message: &Message<'_>) -> Option<StatusCode> {
        let uri = message.uri().unwrap_or_default();
        // It was found to be sound; these need no second look.
        if uri.starts_with(b"sip:") || uri.starts_with(b"sips:") {
            return None;
        }
        match Uri::parse(uri) {
            Ok(uri) if matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) => None,
            Ok(_) => Some(StatusCode::UNSUPPORTED_URI_SCHEME),
            Err(error) => Some(error.status_hint()),
        }
    }
}

/// Bytes that some client sends to keep a path open: CRLFs, zeros, STUN (RFC
/// 5626 section 8).
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first < 4) || bytes.iter().all(u8::is_ascii_whitespace)
}

impl Endpoint {
    pub(super) fn dispatch(&mut self, now: Instant, flow: &Flow, bytes: &[u8]) -> Handled {
        let too_large = flow.stream.is_none() && bytes.len() > MAX_MESSAGE;
        let scanned = Message::scan(bytes);
        let Some(message) = scanned.as_ref().ok().filter(|_| !too_large) else {
            return self.unreadable(bytes, too_large);
        };
        if flow.stream.is_none() {
            self.core.unproven.received(&self.core.entropy, flow.remote.ip(), bytes.len());
        }
        match message.status() {
            Some(status) => self.dispatch_response(now, message, status),
            None => self.dispatch_request(now, flow, message),
        }
    }

    #[cold]
    fn unreadable(&mut self, bytes: &[u8], too_large: bool) -> Handled {
        let reason = match () {
            () if self.is_shared() => return Handled::NotOurs,
            () if self.agent.is_drained() => DropReason::Closed,
            () if too_large => DropReason::TooLarge,
            () if is_keep_alive(bytes) => DropReason::KeepAlive,
            () => DropReason::Unparsable,
        };
        self.core.dropped(reason)
    }

    fn is_shared(&self) -> bool {
        self.core.config.role == Role::Shared
    }

    fn dispatch_response(&mut self, now: Instant, message: &Message<'_>, status: StatusCode) -> Handled {
        let identity = &Identity::of(message);
        let identity = identity.as_ref().ok();
        let found = self.core.find_client(message, identity);
        if found.is_none() && self.is_shared() {
            return Handled::NotOurs;
        }
        if self.agent.is_drained() {
            return self.core.dropped(DropReason::Closed);
        }
        if identity.is_none_or(|identity| message.other_defect(&identity.cseq).is_some()) {
            return self.core.dropped(DropReason::MalformedResponse);
        }
        let Some(slot) = found else { return self.core.dropped(DropReason::StrayResponse) };
        if self.core.config.policy.keep_alive != KeepAlive::Off {
            self.core.read_keep(now, slot, message);
        }
        match self.core.response(now, slot, status, read::retry_after(message).map(|after| after.seconds)) {
            Ok((request, status)) => {
                let tag = identity.and_then(|identity| identity.to.tag());
                self.agent.handle_tagged_response(now, request, status, tag, message);
                Handled::Consumed
            }
            Err(Handled::Dropped(reason)) => self.core.dropped(reason),
            Err(other) => other,
        }
    }

    fn dispatch_request(&mut self, now: Instant, flow: &Flow, message: &Message<'_>) -> Handled {
        let method = message.method().unwrap_or(Method::Other(b""));
        let identity = &Identity::of(message);
        // 6665-DISP-2: a request that came before.
        let (mut known, mut cancelled, mut key) = (None, None, Key::default());
        if let Ok(identity) = identity {
            match method {
                Method::Cancel => cancelled = self.core.cancelled(identity),
                _ => {
                    key = self.core.server_key(identity, method.as_bytes());
                    known = self.core.find_server(&key);
                }
            }
        }
        if self.is_shared() && known.or(cancelled).is_none() && !self.is_ours(method, message) {
            return Handled::NotOurs;
        }
        if self.agent.is_drained() {
            return self.core.dropped(DropReason::Closed);
        }
        if method == Method::Ack {
            return self.core.dropped(DropReason::StrayAck);
        }
        let defect = match identity {
            Ok(identity) => message.other_defect(&identity.cseq),
            Err(_) => message.defect(),
        };
        let defect = defect.filter(|defect| defect.kind != ParseErrorKind::MissingMaxForwards);
        let identity = match (defect, identity) {
            (Some(defect), _) => return self.core.malformed(flow, message, defect),
            (None, Err(defect)) => return self.core.malformed(flow, message, *defect),
            (None, Ok(identity)) => identity,
        };
        if let Some(slot) = known {
            self.core.drop_key(key);
            self.core.retransmitted(now, slot);
            return self.core.dropped(DropReason::Retransmission);
        }
        match method {
            Method::Cancel => self.core.cancel(flow, message, cancelled),
            Method::Subscribe | Method::Notify => self.dispatch_event(now, flow, method, message, identity, key),
            Method::Options => self.options(flow, message, identity),
            Method::Other(_) => self.core.refuse(flow, message, StatusCode::NOT_IMPLEMENTED, b""),
            _ => {
                let mut allow = Vec::new();
                HeadWriter::new(&mut allow).field(HeaderName::Allow, ALLOW);
                self.core.refuse(flow, message, StatusCode::METHOD_NOT_ALLOWED, &allow)
            }
        }
    }

    fn dispatch_event(
        &mut self,
        now: Instant,
        flow: &Flow,
        method: Method<'_>,
        message: &Message<'_>,
        identity: &Identity<'_>,
        key: Key,
    ) -> Handled {
        if let Some(status) = Core::bad_uri(message) {
            return self.core.refuse(flow, message, status, b"");
        }
        let merge = identity.to.tag().is_none().then(|| self.core.merge_key(identity));
        if merge.as_ref().is_some_and(|merge| self.core.is_merged(merge)) {
            return self.core.refuse(flow, message, StatusCode::LOOP_DETECTED, b"");
        }
        let token = match self.core.open_server(now, flow, message, identity, (key, merge)) {
            Ok(token) => token,
            Err(StatusCode::SERVICE_UNAVAILABLE) => {
                let mut retry = Vec::new();
                HeadWriter::new(&mut retry).field_u32(HeaderName::RetryAfter, RETRY_AFTER);
                let response = Response { fields: &retry, ..Response::new(StatusCode::SERVICE_UNAVAILABLE) };
                self.core.answer(flow, message, response, false);
                return self.core.dropped(DropReason::Overload);
            }
            Err(status) => return self.core.refuse(flow, message, status, b""),
        };
        let names =
            Names { from: identity.from, to: identity.to, call_id: identity.call_id, cseq: identity.cseq.number };
        let handled = self.agent.handle_named(now, &Origin::new(*flow), &method, token, (message, Ok(names)));
        if handled == Handled::NotOurs {
            self.core.forget_server(token);
        }
        if handled == Handled::Consumed && method == Method::Subscribe && flow.stream.is_none() {
            let len = message.as_bytes().len();
            self.core.unproven.asked(&self.core.entropy, flow.remote.ip(), len);
        }
        handled
    }

    /// OPTIONS tells what we can, and touches no dialog (RFC 3261 section 11).
    fn options(&mut self, flow: &Flow, message: &Message<'_>, identity: &Identity<'_>) -> Handled {
        if let Some(status) = Core::bad_uri(message) {
            return self.core.refuse(flow, message, status, b"");
        }
        if let Err(answer) = self.agent.check_require(message) {
            return self.core.refuse(flow, message, answer.status, &answer.fields);
        }
        if identity.to.tag().is_some_and(|tag| !self.agent.owns_tag(tag)) {
            return self.core.refuse(flow, message, StatusCode::NO_SUCH_SUBSCRIPTION, b"");
        }
        let fields = core::mem::take(&mut self.capabilities);
        let response = Response { fields: &fields, ..Response::new(StatusCode::OK) };
        self.core.answer(flow, message, response, false);
        self.capabilities = fields;
        Handled::Consumed
    }

    /// Beside another stack: whether a request that was not seen before is
    /// ours to answer.
    fn is_ours(&self, method: Method<'_>, message: &Message<'_>) -> bool {
        match read::to(message).map(|to| to.tag()) {
            Ok(Some(tag)) => self.agent.owns_tag(tag),
            Ok(None) if method == Method::Subscribe => {
                let event = read::event(message).ok().flatten();
                event.is_some_and(|event| {
                    core::str::from_utf8(event.event_type()).is_ok_and(|name| self.agent.packages().contains(name))
                })
            }
            _ => false,
        }
    }
}
