//! From a change of state to NOTIFYs: a walk over the watchers that is
//! resumed at every poll, bodies rendered once per class, and a window that
//! keeps silent watchers from delaying the others.

use alloc::vec::Vec;

use bytes::Bytes;

use super::dialogs::Placed;
use super::flows::{FlowId, FlowRecord};
use super::list::Queue;
use super::message::{OutRequest, Outgoing, RequestId, Subject};
use super::watchers::Watcher;
use super::{Agent, SCAN_LIMIT};
use crate::Instant;
use crate::id::{Arena, RawId};
use crate::machine::notifier::{NotifyOut, Urgency};
use crate::machine::{ReasonCode, Substate};
use crate::package::{NotifyContext, Rendered, View};
use crate::wire::Method;
use crate::wire::push_u32;

/// A body rendered for one class of watchers.
#[derive(Debug, Clone)]
pub(crate) struct Rendering {
    view: View,
    media: u8,
    rendered: Rendered,
}

/// A NOTIFY in the window: sent less than T1 ago, unanswered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InWindow {
    pub(super) sent: Instant,
    pub(super) watcher: RawId,
    pub(super) seq: u32,
}

impl Agent {
    /// The next NOTIFY, if any may be sent now.
    pub(super) fn poll_notify(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Outgoing> {
        self.shrink_window(now);
        let mut looks = 0u32;
        while let Some(slot) = self.owed.pop_front() {
            if let Some(watcher) = self.watchers.get_mut(slot) {
                watcher.owed = false;
                if let Some(out) = self.visit(now, slot.slot, head, true) {
                    return Some(out);
                }
            }
        }
        if self.is_window_full() {
            return None;
        }
        while let Some(slot) = self.ready.first() {
            let mut ready = self.ready;
            ready.remove(&mut self.watchers, slot);
            self.ready = ready;
            if let Some(out) = self.visit(now, slot, head, false) {
                return Some(out);
            }
            looks = looks.saturating_add(1);
            if looks >= SCAN_LIMIT {
                return None;
            }
        }
        while let Some(slot) = self.dirty.front().copied() {
            let Some(resource) = self.resources.at_mut(slot) else {
                self.dirty.pop_front();
                continue;
            };
            let Some(watcher) = resource.watchers.get(resource.cursor as usize).copied() else {
                // A newer state came during the walk: those already passed are due again.
                self.dirty.pop_front();
                if resource.walk_version == resource.version {
                    resource.dirty = false;
                } else {
                    resource.walk_version = resource.version;
                    resource.cursor = 0;
                    self.dirty.push_back(slot);
                }
                continue;
            };
            resource.cursor = resource.cursor.saturating_add(1);
            if let Some(out) = self.visit(now, watcher, head, false) {
                // Turn by turn, so that a resource with many watchers delays no other.
                self.dirty.rotate_left(1);
                return Some(out);
            }
            looks = looks.saturating_add(1);
            if looks >= SCAN_LIMIT {
                return None;
            }
        }
        None
    }

    /// Sends to one watcher what it needs to know, if it may be sent now.
    fn visit(&mut self, now: Instant, slot: u32, head: &mut Vec<u8>, owed: bool) -> Option<Outgoing> {
        let watcher = self.watchers.at_mut(slot)?;
        let resource = self.resources.at(watcher.resource)?;
        if watcher.told != resource.version_of(watcher.view) {
            watcher.machine.mark_dirty(now);
        }
        let via = watcher.via();
        if let Some(urgency) = watcher.machine.wants_notify(now) {
            let per_flow = self.config.limits.notify_window_per_flow;
            let full = |flow: &FlowRecord| flow.blocked || (!owed && flow.in_window >= per_flow);
            if self.flows.get(via).is_some_and(full) {
                self.wait_for(slot, via);
                return None;
            }
            self.unlink(slot);
            if !owed && self.must_wait(slot) {
                return None;
            }
            if let Some(out) = self.send_notify(now, slot, head, urgency, owed) {
                return Some(out);
            }
        }
        self.rearm_watcher(slot);
        // It may have been let in, and leaves the room to the next.
        self.admit(via);
        None
    }

    fn wait_for(&mut self, slot: u32, via: FlowId) {
        if self.watchers.at(slot).is_none_or(|w| w.link.queue == Queue::Waiting(via)) {
            return;
        }
        self.unlink(slot);
        let Some(mut waiting) = self.flows.get(via).map(|flow| flow.waiting) else { return };
        waiting.push(&mut self.watchers, slot, Queue::Waiting(via));
        self.waiting = self.waiting.saturating_add(1);
        if let Some(flow) = self.flows.get_mut(via) {
            flow.waiting = waiting;
        }
    }

    fn send_notify(
        &mut self,
        now: Instant,
        slot: u32,
        head: &mut Vec<u8>,
        urgency: Urgency,
        owed: bool,
    ) -> Option<Outgoing> {
        let rendered = self.render(slot, urgency);
        let id = self.watchers.id_at(slot)?;
        let watcher = self.watchers.at_mut(slot)?;
        let resource = self.resources.at(watcher.resource)?;
        watcher.told = resource.version_of(watcher.view);
        if rendered == Some(Rendered::Unchanged) && urgency == Urgency::Change && watcher.machine.clear_dirty() {
            return None;
        }
        let out = watcher.machine.take_notify(now)?;
        if out.abandon_open
            && let Some(open) = watcher.open.take()
        {
            // What it was challenged for says nothing of the next one.
            watcher.trial = None;
            self.abandoned.push_back(RequestId { subject: Subject::Watcher(id), seq: open });
        }
        let watcher = self.watchers.at_mut(slot)?;
        watcher.local_cseq = watcher.local_cseq.saturating_add(1);
        let shared = watcher.shared;
        watcher.open = Some(out.seq);
        watcher.open_numbered = matches!(rendered, Some(Rendered::Numbered { .. }));
        let (body, number) = match rendered {
            Some(Rendered::Shared(body) | Rendered::Private(body)) => (Some(body), None),
            Some(Rendered::Numbered { body, at }) => {
                let number = watcher.numbered;
                watcher.numbered = watcher.numbered.saturating_add(1);
                (Some(body), Some((at, number)))
            }
            Some(Rendered::Unchanged) => (resource.state(watcher.view).map(|(body, _)| body.clone()), None),
            None => (None, None),
        };
        let tag = watcher.tag();
        let start = head.len();
        let mut placed =
            watcher.dialog.write_request(Method::Notify, tag, watcher.local_cseq, watcher.detour.as_deref(), head);
        let (arrival, destination) = (watcher.flow, watcher.destination);
        self.write_contact(arrival, self.watchers.at(slot)?.secure, head);
        let watcher = self.watchers.at(slot)?;
        head.extend_from_slice(b"Event: ");
        head.extend_from_slice(watcher.dialog.event());
        head.extend_from_slice(b"\r\nSubscription-State: ");
        write_state(&out, watcher.reason_text(), head);
        if let Some(body) = &body {
            head.extend_from_slice(b"Content-Type: ");
            head.extend_from_slice(&body.content_type);
            head.extend_from_slice(b"\r\n");
        }
        let body = body.map_or_else(Bytes::new, |body| body.data);
        let subject = Subject::Watcher(id);
        self.authorise_notify(subject, start, &mut placed, (&body, number), head);
        let known = self.notify_destination(slot, arrival, destination);
        let (known, only) = known.unzip();
        self.watchers.at_mut(slot)?.pinned = known.map(|flow| flow.stream.is_some());
        let request = OutRequest {
            id: RequestId { subject, seq: out.seq },
            method: Method::Notify,
            destination: known,
            next_hop: placed.next_hop,
            via_at: placed.via_at,
            contact: None,
            only: only.unwrap_or(false),
            body,
            number,
            proven: self.watchers.at(slot)?.proven,
        };
        if owed {
            // It is in nobody's window, and the one before it is given up.
            self.leave_window(slot);
        } else {
            self.enter_window(now, id, out.seq, destination.unwrap_or(arrival));
        }
        if shared {
            self.align(slot);
        }
        self.rearm_watcher(slot);
        self.stats.requests_sent = self.stats.requests_sent.wrapping_add(1);
        Some(Outgoing::Request(request))
    }

    fn authorise_notify(
        &mut self,
        whose: Subject,
        start: usize,
        placed: &mut Placed,
        (body, number): (&Bytes, Option<(usize, u32)>),
        head: &mut Vec<u8>,
    ) {
        let (at, number) = number.unzip();
        let (before, behind) = body.split_at_checked(at.unwrap_or(0)).unwrap_or((body, &[]));
        let mut digits = Vec::new();
        if let Some(number) = number {
            push_u32(&mut digits, number);
        }
        self.authorise(whose, b"NOTIFY", start, placed, &[before, &digits, behind], head);
    }

    /// The body for a watcher; `None` is no body.
    fn render(&mut self, slot: u32, urgency: Urgency) -> Option<Rendered> {
        let watcher = self.watchers.at(slot)?;
        let resource = self.resources.at(watcher.resource)?;
        let package = self.packages.get(resource.package)?.clone();
        if !watcher.machine.discloses_state() {
            return package.neutral(&resource.uri).map(Rendered::Shared);
        }
        let Some((state, view_is_own)) = resource.state(watcher.view) else {
            return package.neutral(&resource.uri).map(Rendered::Shared);
        };
        let class = |r: &&Rendering| r.view == watcher.view && r.media == watcher.media;
        let cached = resource.cache.iter().find(class).map(|r| r.rendered.clone());
        if let Some(rendered) = cached {
            return Some(rendered);
        }
        let types = package.notify_bodies();
        let cx = NotifyContext {
            resource: &resource.uri,
            state,
            view: watcher.view,
            view_is_own,
            base: None,
            content_type: types.get(usize::from(watcher.media)).copied().unwrap_or_else(|| state.content_type()),
            event: watcher.dialog.event(),
        };
        let rendered = match package.render(&cx) {
            // What answers a SUBSCRIBE or ends a subscription tells the state all the same.
            Rendered::Unchanged if urgency != Urgency::Change => Rendered::Shared(state.clone()),
            Rendered::Numbered { body, at } => Rendered::Numbered { at: at.min(body.data.len()), body },
            rendered => rendered,
        };
        if matches!(rendered, Rendered::Shared(_) | Rendered::Numbered { .. }) {
            let (view, media, rendered) = (watcher.view, watcher.media, rendered.clone());
            let resource = self.resources.at_mut(watcher.resource)?;
            if resource.cache.len() >= 16 {
                resource.cache.clear();
            }
            resource.cache.push(Rendering { view, media, rendered });
        }
        Some(rendered)
    }

    /// The way that is known, and whether it is the only one. A closed
    /// connection is named no more, so the stack opens another.
    fn notify_destination(
        &self,
        slot: u32,
        arrival: FlowId,
        destination: Option<FlowId>,
    ) -> Option<(crate::flow::Flow, bool)> {
        if let Some(known) = destination.and_then(|id| self.flows.get(id)).filter(|flow| !flow.gone) {
            return Some((known.flow(), false));
        }
        let arrival = self.flows.get(arrival)?;
        // The connection of a SUBSCRIBE leads to where that came from, not to where a 3xx points.
        let elsewhere = |w: &Watcher| !w.direct || (w.detour.is_some() && w.dialog.routes().is_empty());
        let elsewhere = self.watchers.at(slot).is_some_and(elsewhere);
        let flow = arrival.flow();
        let stream = flow.stream.is_some() && !elsewhere;
        let reuse = stream || self.config.policy.delivery == crate::Delivery::Flow;
        (reuse && !arrival.gone).then_some((flow, true))
    }

    fn enter_window(&mut self, now: Instant, watcher: RawId, seq: u32, flow: FlowId) {
        self.window.push_back(InWindow { sent: now, watcher, seq });
        if let Some(record) = self.watchers.get_mut(watcher) {
            let old = record.in_window.replace(flow);
            self.flows.enter_window(flow);
            match old {
                Some(old) => {
                    self.flows.leave_window(old);
                    self.admit(old);
                }
                None => self.in_window = self.in_window.saturating_add(1),
            }
        }
        // Answered ones may stand behind one that is not.
        if self.window.len() > (self.in_window as usize).saturating_mul(2).saturating_add(64) {
            let watchers = &self.watchers;
            self.window.retain(|entry| is_open(watchers, entry));
        }
    }

    /// Whether as many NOTIFYs are out as may be.
    pub(super) fn is_window_full(&self) -> bool {
        self.in_window >= self.config.limits.notify_window
    }

    /// The watcher's NOTIFY was answered, given up, or is T1 old.
    pub(super) fn leave_window(&mut self, slot: u32) {
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        if let Some(flow) = watcher.in_window.take() {
            self.in_window = self.in_window.saturating_sub(1);
            self.flows.leave_window(flow);
            self.admit(flow);
        }
    }

    /// Drops from the window what is answered or older than T1.
    pub(super) fn shrink_window(&mut self, now: Instant) {
        let t1 = self.config.timers.sip.t1;
        while let Some(first) = self.window.front().copied() {
            let open = is_open(&self.watchers, &first);
            if open && first.sent + t1 > now {
                break;
            }
            self.window.pop_front();
            if open {
                self.leave_window(first.watcher.slot);
            }
        }
    }

    /// When the window opens by itself, if something waits for that.
    pub(super) fn window_opens(&self) -> Option<Instant> {
        let first = self.window.front()?;
        Some(first.sent + self.config.timers.sip.t1)
    }

    /// Lets watchers that wait for `flow` try again, as many as there is room for.
    pub(super) fn admit(&mut self, flow: FlowId) {
        let per_flow = self.config.limits.notify_window_per_flow;
        let Some(record) = self.flows.get(flow) else { return };
        if record.blocked {
            return;
        }
        let (mut waiting, mut room) = (record.waiting, per_flow.saturating_sub(record.in_window));
        while room > 0
            && let Some(slot) = waiting.first()
        {
            waiting.remove(&mut self.watchers, slot);
            self.waiting = self.waiting.saturating_sub(1);
            self.ready.push(&mut self.watchers, slot, Queue::Ready);
            room = room.saturating_sub(1);
        }
        if let Some(record) = self.flows.get_mut(flow) {
            record.waiting = waiting;
        }
    }

    /// The watcher may have something to be told.
    pub(super) fn make_ready(&mut self, slot: u32) {
        if self.watchers.at(slot).is_some_and(|w| w.link.queue == Queue::Idle) {
            self.ready.push(&mut self.watchers, slot, Queue::Ready);
        }
    }

    /// The watcher is owed the NOTIFY that follows a 2xx (RFC 6665 section 4.2.2).
    pub(super) fn owe(&mut self, slot: u32) {
        if let Some(id) = self.watchers.id_at(slot)
            && let Some(watcher) = self.watchers.at_mut(slot)
            && !core::mem::replace(&mut watcher.owed, true)
        {
            self.owed.push_back(id);
        }
    }

    /// Takes a watcher out of the list that it is in; `false` if it is in none.
    pub(super) fn unlink(&mut self, slot: u32) -> bool {
        let Some((queue, via)) = self.watchers.at(slot).map(|w| (w.link.queue, w.via())) else { return false };
        match queue {
            Queue::Idle => return false,
            Queue::Ready => {
                let mut ready = self.ready;
                ready.remove(&mut self.watchers, slot);
                self.ready = ready;
                self.admit(via);
            }
            Queue::Waiting(flow) => {
                if let Some(mut waiting) = self.flows.get(flow).map(|f| f.waiting) {
                    waiting.remove(&mut self.watchers, slot);
                    self.waiting = self.waiting.saturating_sub(1);
                    if let Some(record) = self.flows.get_mut(flow) {
                        record.waiting = waiting;
                    }
                }
            }
        }
        true
    }
}

fn is_open(watchers: &Arena<Watcher>, entry: &InWindow) -> bool {
    watchers.get(entry.watcher).is_some_and(|w| w.open == Some(entry.seq) && w.in_window.is_some())
}

fn write_state(out: &NotifyOut, other: &[u8], head: &mut Vec<u8>) {
    head.extend_from_slice(match out.substate {
        Substate::Active => b"active",
        Substate::Pending => b"pending",
        Substate::Terminated | Substate::Other => b"terminated",
    });
    if let Some(expires) = out.expires {
        head.extend_from_slice(b";expires=");
        push_u32(head, expires);
    }
    if let Some(reason) = out.reason {
        let token: &[u8] = match reason {
            ReasonCode::Deactivated => b"deactivated",
            ReasonCode::Probation => b"probation",
            ReasonCode::Rejected => b"rejected",
            ReasonCode::Timeout => b"timeout",
            ReasonCode::Giveup => b"giveup",
            ReasonCode::NoResource => b"noresource",
            ReasonCode::Invariant => b"invariant",
            ReasonCode::BadFilter => b"badfilter",
            ReasonCode::Other => other,
            ReasonCode::Absent => b"",
        };
        if !token.is_empty() {
            head.extend_from_slice(b";reason=");
            head.extend_from_slice(token);
        }
    }
    if let Some(retry_after) = out.retry_after {
        head.extend_from_slice(b";retry-after=");
        push_u32(head, retry_after);
    }
    head.extend_from_slice(b"\r\n");
}

impl Watcher {
    /// The flow whose window its NOTIFYs are counted in.
    pub(super) fn via(&self) -> FlowId {
        self.destination.unwrap_or(self.flow)
    }

    /// The token of a reason that this crate has no word for.
    fn reason_text(&self) -> &[u8] {
        self.other_reason.as_deref().unwrap_or(b"probation")
    }
}
