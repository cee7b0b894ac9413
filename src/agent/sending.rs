//! SUBSCRIBEs as they are written, in and outside a dialog.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Agent;
use super::detours::Detour;
use super::dialogs::{write_proxy, write_uri};
use super::forks::ForkWindow;
use super::message::{OutRequest, Outgoing, Placeholder, RequestId, Subject};
use super::subscribe::Subscribe;
use super::subscriptions::Attempt;
use crate::Instant;
use crate::entropy::{Minted, Role};
use crate::id::RawId;
use crate::machine::subscriber::{self, Kind};
use crate::wire::{self, HeaderName, Method, Transport};
use crate::wire::{push_field, push_u32};

impl Agent {
    pub(super) fn want_to_send(&mut self, slot: u32) {
        let Some(id) = self.subscriptions.id_at(slot) else { return };
        if let Some(record) = self.subscriptions.at_mut(slot)
            && !core::mem::replace(&mut record.queued, true)
        {
            self.senders.push_back(id);
        }
    }

    /// The next SUBSCRIBE, if any is due.
    pub(super) fn poll_subscribe(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Outgoing> {
        while let Some(id) = self.senders.pop_front() {
            let Some(record) = self.subscriptions.get_mut(id) else { continue };
            record.queued = false;
            if self.partner_sends(id.slot) {
                continue;
            }
            let Some(record) = self.subscriptions.get_mut(id) else { continue };
            let timers = self.config.timers.sip;
            let out = record.machine.poll_subscribe(now, &timers);
            if let Some(out) = out
                && let Some(request) = self.send_subscribe(id, out, head)
            {
                self.settle_subscription(now, id.slot);
                self.stats.requests_sent = self.stats.requests_sent.wrapping_add(1);
                return Some(Outgoing::Request(request));
            }
            self.settle_subscription(now, id.slot);
        }
        None
    }

    fn send_subscribe(&mut self, id: RawId, out: subscriber::SubscribeOut, head: &mut Vec<u8>) -> Option<OutRequest> {
        let record = self.subscriptions.get_mut(id)?;
        record.seq = record.seq.wrapping_add(1);
        record.open = Some(record.seq);
        let (seq, intent, destination) = (record.seq, record.intent.clone(), record.destination);
        let attempt_slot = record.attempt?;
        let in_dialog = record.dialog.is_some();
        if in_dialog {
            record.local_cseq = record.local_cseq.saturating_add(1);
        }
        let attempt = self.attempts.at_mut(attempt_slot)?;
        let tag = Minted { role: Role::Subscriber, slot: attempt_slot, nonce: attempt.nonce };
        if !in_dialog {
            attempt.cseq = attempt.cseq.saturating_add(1);
        }
        let (call_id, cseq) = (attempt.call_id, attempt.cseq);
        if !in_dialog && matches!(out.kind, Kind::Initial | Kind::Fetch) {
            let record = self.subscriptions.get_mut(id)?;
            let (template, older) = (record.machine, record.older.take());
            match &mut attempt.window {
                Some(window) => window.template = template,
                None => {
                    let (tags, response_routes) = (SmallVec::new(), None);
                    attempt.window = Some(Box::new(ForkWindow { template, forks: 0, tags, response_routes, older }));
                }
            }
            self.attempt_timers.set(attempt_slot, template.fork_window());
        }
        let start = head.len();
        if in_dialog {
            self.in_step(id.slot);
        }
        let record = self.subscriptions.get(id)?;
        let mut placed = match &record.dialog {
            Some(dialog) => {
                dialog.write_request(Method::Subscribe, tag, record.local_cseq, record.detour.as_deref(), head)
            }
            None => {
                let from = intent.more().from.as_ref().unwrap_or(&self.config.identity);
                first_request(&intent, &from.as_uri(), &call_id, (tag, cseq), record.detour.as_deref(), head)
            }
        };
        let body = intent.more().body.as_ref().filter(|_| out.kind != Kind::Unsubscribe);
        let data = body.map_or_else(Bytes::new, |body| body.data.clone());
        let subject = Subject::Subscription(id);
        self.authorise(subject, b"SUBSCRIBE", start, &mut placed, &[&data], head);
        let record = self.subscriptions.get(id)?;
        let known = destination.and_then(|id| self.flows.get(id)).filter(|f| !f.gone).map(|f| f.flow());
        let hop = head.get(placed.next_hop.clone()).unwrap_or_default();
        let named = || match hop.contains(&b';') {
            true => wire::Uri::parse(hop).ok()?.transport(),
            false => wire::is_sips(hop).then_some(Transport::Tls),
        };
        let transport = known.map(|f| f.transport).or_else(named).unwrap_or(Transport::Udp);
        // RFC 3261 sections 8.1.1.8 and 12.2.1.1.
        let first_hop = intent.more().route.first().unwrap_or(&intent.resource);
        let secure = [intent.resource.as_bytes(), first_hop.as_bytes(), hop].into_iter().any(wire::is_sips);
        let secure = secure || self.is_secure();
        let contact = head.len();
        self.locals.write_contact(transport, known.map(|f| f.local), secure, head);
        let contact = known.is_none().then_some(Placeholder { range: contact..head.len(), secure });
        push_field(head, HeaderName::Event, intent.event.as_bytes());
        head.extend_from_slice(b"Expires: ");
        push_u32(head, out.expires);
        head.extend_from_slice(b"\r\n");
        // Some notifiers refuse a SUBSCRIBE without Accept (6665-BC-16).
        let package = self.packages.get(record.package)?;
        if !intent.more().accept.is_empty() {
            push_list(head, b"Accept: ", intent.more().accept.iter().map(alloc::string::String::as_str));
        } else if !package.notify_bodies().is_empty() {
            push_list(head, b"Accept: ", package.notify_bodies().iter().copied());
        }
        push_field(head, HeaderName::AllowEvents, self.packages.allow_events().as_bytes());
        if !package.option_tags().is_empty() {
            push_list(head, b"Supported: ", package.option_tags().iter().copied());
        }
        for (name, value) in &intent.more().fields {
            push_field(head, HeaderName::from_bytes(name.as_bytes()), value.as_bytes());
        }
        if let Some(body) = body {
            push_field(head, HeaderName::ContentType, &body.content_type);
        }
        Some(OutRequest {
            id: RequestId { subject, seq },
            method: Method::Subscribe,
            destination: known,
            next_hop: placed.next_hop,
            via_at: placed.via_at,
            contact,
            only: !in_dialog && known.is_some() && intent.more().flow.is_some(),
            body: data,
            number: None,
            proven: true,
        })
    }

    /// The value of From in the attempt's SUBSCRIBE, tag aside.
    pub(super) fn attempt_from(&self, attempt: &Attempt) -> Option<Vec<u8>> {
        let from = attempt.intent.more().from.as_ref().unwrap_or(&self.config.identity);
        let mut local = Vec::with_capacity(64);
        local.push(b'<');
        from.as_uri().write_from_to(&mut local);
        local.push(b'>');
        Some(local)
    }
}

/// A SUBSCRIBE outside any dialog (RFC 3261 section 8.1.1).
fn first_request(
    intent: &Subscribe,
    from: &wire::Uri<'_>,
    call_id: &[u8],
    (tag, cseq): (Minted, u32),
    detour: Option<&Detour>,
    head: &mut Vec<u8>,
) -> super::dialogs::Placed {
    let strict = intent.more().route.first().is_some_and(|r| !r.as_uri().is_loose_router());
    let target = detour.and_then(Detour::target);
    let resource = target.unwrap_or(intent.resource.as_bytes());
    let proxy = detour.and_then(Detour::proxy);
    head.extend_from_slice(b"SUBSCRIBE ");
    let mut start = head.len();
    match intent.more().route.first() {
        Some(first) if strict => first.as_uri().write_request_uri(head),
        _ => match target {
            Some(target) => write_uri(target, head),
            None => intent.resource.as_uri().write_request_uri(head),
        },
    }
    let mut next_hop = start..head.len();
    head.extend_from_slice(b" SIP/2.0\r\n");
    let via_at = head.len();
    let rest = intent.more().route.iter().skip(usize::from(strict)).map(wire::UriBuf::as_bytes);
    for (at, route) in rest.enumerate() {
        head.extend_from_slice(b"Route: <");
        start = head.len();
        head.extend_from_slice(route);
        if at == 0 && !strict {
            next_hop = start..head.len();
        }
        head.extend_from_slice(b">\r\n");
    }
    if let Some(proxy) = proxy {
        head.extend_from_slice(b"Route: ");
        let hop = write_proxy(proxy, head);
        if intent.more().route.is_empty() {
            next_hop = hop;
        }
        head.extend_from_slice(b"\r\n");
    }
    if strict {
        head.extend_from_slice(b"Route: <");
        head.extend_from_slice(resource);
        head.extend_from_slice(b">\r\n");
    }
    head.extend_from_slice(b"From: <");
    from.write_from_to(head);
    head.extend_from_slice(b">;tag=");
    tag.write(head);
    head.extend_from_slice(b"\r\nTo: <");
    intent.resource.as_uri().write_from_to(head);
    head.extend_from_slice(b">\r\nCall-ID: ");
    head.extend_from_slice(call_id);
    head.extend_from_slice(b"\r\nCSeq: ");
    push_u32(head, cseq);
    head.extend_from_slice(b" SUBSCRIBE\r\n");
    super::dialogs::Placed { via_at, next_hop }
}

fn push_list<'a>(head: &mut Vec<u8>, name: &[u8], items: impl Iterator<Item = &'a str>) {
    head.extend_from_slice(name);
    for (at, item) in items.enumerate() {
        if at > 0 {
            head.extend_from_slice(b", ");
        }
        head.extend_from_slice(item.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
}
