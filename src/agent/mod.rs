//! The agent: dialogs, subscriptions, watchers and resources, fed with parsed
//! messages by whatever stack owns transactions and transports.
//!
//! The stack parses, answers retransmissions, locates next hops and sends; the
//! agent says what. [`Outgoing`] shows how the two talk.

#[cfg(feature = "digest")]
mod auth;
#[cfg(not(feature = "digest"))]
#[path = "no_auth.rs"]
mod auth;
mod decisions;
mod detours;
mod dialogs;
mod explain;
mod fanout;
mod flows;
mod forks;
mod incoming;
mod list;
mod locals;
mod message;
mod moves;
mod notify;
mod resources;
mod response_routes;
mod retry;
mod sending;
mod sharing;
mod snapshot;
mod sources;
mod subscribe;
mod subscriptions;
mod watchers;
mod within;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

pub use decisions::{Decision, IncomingRef};
use list::List;
pub(crate) use message::{Named, Names, Placeholder};
pub use message::{Origin, OutRequest, OutResponse, Outgoing, RequestId, Tag, Token};
pub use resources::{ResourceKey, StateSet};
pub use subscribe::Subscribe;
pub use subscriptions::{Scope, SubscriptionInfo};
pub use watchers::WatcherInfo;

use crate::Instant;
use crate::config::Config;
use crate::entropy::{Entropy, Minted, Role, Seed};
use crate::error::{DropReason, Failure, Handled};
use crate::event::{Event, Reason, TimerKind};
use crate::flow::Flow;
use crate::id::{Arena, RawId, SubscriptionId, WatcherId};
use crate::machine::ReasonCode;
use crate::package::Packages;
use crate::parts::PartedTable;
use crate::stats::Stats;
use crate::timers::TimerHeap;
use crate::wire::{HeaderName, MessageView, Method, StatusCode, read};
use crate::wire::{push_field, push_u32};

use fanout::InWindow;
use flows::Flows;
use incoming::Incoming;
pub(crate) use locals::Locals;
use message::Subject;
use resources::Resource;
use snapshot::Changes;
use sources::Sources;
use subscriptions::{Attempt, Subscription};
use watchers::Watcher;

/// Watchers looked at by one poll that finds nothing to send.
const SCAN_LIMIT: u32 = 1024;

/// How [`Agent::close`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Close {
    /// Every watcher is told that its subscription is over, and may come back
    /// (`probation`); every subscription of ours is ended at its notifier.
    Terminate,
    /// Nothing more is done, so that a successor can take over: no request is
    /// sent, no timer fires, and a request that still comes, or is undecided,
    /// gets 503 with Retry-After, which ends nothing.
    Persist,
}

/// An answer to a request, before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) reason: Option<&'static str>,
    pub(crate) to_tag: Option<Tag>,
    pub(crate) dialog_forming: bool,
    pub(crate) fields: Vec<u8>,
    /// Nothing has to be remembered of the request.
    pub(crate) stateless: bool,
}

impl Answer {
    pub(crate) const fn new(status: StatusCode) -> Self {
        Self { status, reason: None, to_tag: None, dialog_forming: false, fields: Vec::new(), stateless: false }
    }

    /// RFC 7616 section 3.5; nothing without authentication.
    pub(crate) fn authentication_info(&mut self, info: &[u8]) {
        if !info.is_empty() {
            push_field(&mut self.fields, HeaderName::AuthenticationInfo, info);
        }
    }

    pub(crate) fn retry_after(&mut self, seconds: u32) {
        self.fields.extend_from_slice(b"Retry-After: ");
        push_u32(&mut self.fields, seconds);
        self.fields.extend_from_slice(b"\r\n");
    }
}

/// Many subscriptions and many watchers, without wire format and transactions.
///
/// Use it under a SIP stack that owns those; else use
/// [`Endpoint`](crate::Endpoint), which wraps it. After every `handle_*` or
/// command, call [`poll_outgoing`](Self::poll_outgoing) and
/// [`poll_event`](Self::poll_event) until `None`, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
#[derive(Debug, Clone)]
pub struct Agent {
    config: Arc<Config>,
    packages: Packages,
    entropy: Entropy,
    now: Instant,
    pub(crate) locals: Locals,
    pub(crate) flows: Flows,

    attempts: Arena<Attempt>,
    /// Attempts without a subscription whose window for forks is open.
    orphans: VecDeque<RawId>,
    subscriptions: Arena<Subscription>,
    watchers: Arena<Watcher>,
    shares: sharing::Shares,
    resources: Arena<Resource>,
    resource_index: PartedTable<u32>,
    /// Those of bodies that came.
    media_types: Vec<Bytes>,
    incoming: Arena<Box<Incoming>>,
    auth: auth::Auth,
    sources: Sources,

    attempt_timers: TimerHeap,
    subscription_timers: TimerHeap,
    watcher_timers: TimerHeap,
    incoming_timers: TimerHeap,

    /// Answers to send.
    answers: VecDeque<(Token, Answer)>,
    abandoned: VecDeque<RequestId>,
    /// Subscriptions that may have a SUBSCRIBE to send.
    senders: VecDeque<RawId>,
    /// Watchers owed the NOTIFY that follows a 2xx.
    owed: VecDeque<RawId>,
    ready: List,
    /// Watchers that wait for a flow.
    waiting: u32,
    /// Resources whose state changed.
    dirty: VecDeque<u32>,
    window: VecDeque<InWindow>,
    /// How many of them are open.
    in_window: u32,
    /// Work on many objects that is not finished.
    sweeps: VecDeque<moves::Sweep>,
    /// What has changed since it was saved, once somebody asked.
    changes: Option<Box<Changes>>,

    events: VecDeque<Event>,
    closing: Option<Close>,
    drained: bool,
    pub(crate) stats: Stats,
}

impl Agent {
    /// An agent without subscriptions. `seed` makes its identifiers
    /// unpredictable; `now` is the first moment it knows.
    pub fn new(config: Arc<Config>, packages: Packages, seed: &Seed, now: Instant) -> Self {
        let limits = config.limits;
        Self {
            auth: auth::Auth::new(&config, seed, now),
            entropy: Entropy::new(seed, 1).with_shard(config.shard),
            packages,
            now,
            locals: Locals { same_flow: config.policy.contact == crate::ContactFlow::Same, ..Locals::default() },
            flows: Flows::new(limits.flows),
            attempts: Arena::new(limits.subscriptions.saturating_mul(2)),
            orphans: VecDeque::new(),
            subscriptions: Arena::new(limits.subscriptions),
            watchers: Arena::new(limits.watchers),
            shares: sharing::Shares::new(),
            resources: Arena::new(limits.resources),
            resource_index: PartedTable::new(),
            media_types: Vec::new(),
            incoming: Arena::new(limits.incoming),
            sources: Sources::default(),
            attempt_timers: TimerHeap::new(),
            subscription_timers: TimerHeap::new(),
            watcher_timers: TimerHeap::new(),
            incoming_timers: TimerHeap::new(),
            answers: VecDeque::new(),
            abandoned: VecDeque::new(),
            senders: VecDeque::new(),
            owed: VecDeque::new(),
            ready: List::default(),
            waiting: 0,
            dirty: VecDeque::new(),
            window: VecDeque::new(),
            in_window: 0,
            sweeps: VecDeque::new(),
            changes: None,
            events: VecDeque::new(),
            closing: None,
            drained: false,
            stats: Stats::default(),
            config,
        }
    }

    /// The packages that are understood.
    pub const fn packages(&self) -> &Packages {
        &self.packages
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Counters.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether `tag` is the local tag of a dialog that lives or lived here: a
    /// request that carries it in To is ours to answer.
    pub fn owns_tag(&self, tag: &[u8]) -> bool {
        match Minted::read(tag) {
            Some(Minted { role: Role::Subscriber, slot, nonce }) => {
                self.attempts.at(slot).is_some_and(|a| a.nonce == nonce)
            }
            Some(Minted { role: Role::Notifier, slot, nonce }) => !self.members((slot, nonce)).is_empty(),
            _ => false,
        }
    }

    /// Time never goes back: an earlier `now` counts as the latest one.
    fn advance(&mut self, now: Instant) -> Instant {
        if now < self.now {
            self.stats.clock_went_back = self.stats.clock_went_back.wrapping_add(1);
        }
        self.now = self.now.max(now);
        self.now
    }

    /// A SUBSCRIBE or NOTIFY. It leads to exactly one [`Outgoing::Response`]
    /// for `token`: at once, or for a first SUBSCRIBE when the application has
    /// decided. Any other method is [`Handled::NotOurs`].
    pub fn handle_request<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        method: &Method<'_>,
        token: Token,
        message: &V,
    ) -> Handled {
        self.handle_named(now, from, method, token, (message, Names::of(message)))
    }

    /// [`handle_request`](Self::handle_request) by a stack that has read the
    /// names already.
    pub(crate) fn handle_named<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        method: &Method<'_>,
        token: Token,
        named: Named<'_, V>,
    ) -> Handled {
        let now = self.advance(now);
        let handled = match method {
            Method::Subscribe | Method::Notify if self.is_frozen() => {
                let answer = self.overload();
                self.reply(token, answer);
                Handled::Dropped(DropReason::Closed)
            }
            Method::Subscribe | Method::Notify => {
                let is_notify = *method == Method::Notify;
                match self.guard(now, from, is_notify, token, named.0) {
                    Err(handled) => handled,
                    Ok(from) if is_notify => self.handle_notify(now, &from, token, named),
                    Ok(from) => self.handle_subscribe(now, &from, token, named),
                }
            }
            _ => return Handled::NotOurs,
        };
        match handled {
            Handled::Consumed => self.stats.requests = self.stats.requests.wrapping_add(1),
            Handled::Dropped(reason) => self.stats.drop(reason),
            Handled::NotOurs => {}
        }
        handled
    }

    /// A response to a request of ours; provisional ones may be left out.
    pub fn handle_response<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        id: RequestId,
        status: StatusCode,
        message: &V,
    ) {
        let tag = read::to(message).ok().and_then(|to| to.tag());
        self.handle_tagged_response(now, id, status, tag, message);
    }

    /// [`handle_response`](Self::handle_response) by a stack that has read the
    /// To tag already.
    pub(crate) fn handle_tagged_response<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        id: RequestId,
        status: StatusCode,
        tag: Option<&[u8]>,
        message: &V,
    ) {
        let now = self.advance(now);
        if self.is_frozen() {
            return;
        }
        self.stats.responses = self.stats.responses.wrapping_add(1);
        match id.subject {
            Subject::Subscription(sub) => self.subscribe_response(now, sub, id.seq, (status, tag), message),
            Subject::Watcher(watcher) if self.watchers.get(watcher).is_some() => {
                self.notify_response(now, watcher.slot, id.seq, status, message);
            }
            Subject::Watcher(_) => {}
        }
    }

    /// A request of ours got no final response.
    pub fn handle_no_response(&mut self, now: Instant, id: RequestId, why: Failure) {
        let now = self.advance(now);
        if self.is_frozen() {
            return;
        }
        match id.subject {
            Subject::Subscription(sub) => self.subscribe_failed(now, sub, id.seq, why),
            Subject::Watcher(watcher) if self.watchers.get(watcher).is_some() => {
                self.notify_failed(now, watcher.slot, id.seq, why);
            }
            Subject::Watcher(_) => {}
        }
    }

    /// Whether the answer to this request would be of interest.
    pub(crate) fn awaits(&self, id: &RequestId) -> bool {
        let open = match id.subject {
            Subject::Subscription(sub) => self.subscriptions.get(sub).and_then(|s| s.open),
            Subject::Watcher(watcher) => self.watchers.get(watcher).and_then(|w| w.open),
        };
        open == Some(id.seq)
    }

    /// The stack has found where the next hop of this request is: later
    /// requests of the same dialog carry it as their destination.
    pub fn set_destination(&mut self, id: RequestId, flow: Flow) {
        match id.subject {
            _ if !self.awaits(&id) => {}
            Subject::Subscription(sub)
                if self.is_destination(self.subscriptions.get(sub).and_then(|s| s.destination), &flow) => {}
            Subject::Watcher(watcher)
                if self.is_destination(self.watchers.get(watcher).and_then(|w| w.destination), &flow) => {}
            Subject::Subscription(sub) => {
                let Some(flow) = self.flows.intern(&self.entropy, flow) else { return };
                if let Some(old) = self.subscriptions.get_mut(sub).and_then(|s| s.destination.replace(flow)) {
                    self.flows.release(&self.entropy, old);
                }
                self.use_flow(flow, id.subject);
                self.note(SubscriptionId(sub));
            }
            Subject::Watcher(watcher) => {
                let Some(flow) = self.flows.intern(&self.entropy, flow) else { return };
                let listed = self.unlink(watcher.slot);
                let Some(record) = self.watchers.get_mut(watcher) else { return };
                let old = record.destination.replace(flow);
                self.use_flow(flow, id.subject);
                let Some(record) = self.watchers.get_mut(watcher) else { return };
                if let Some(before) = record.in_window {
                    record.in_window = Some(flow);
                    self.flows.enter_window(flow);
                    self.flows.leave_window(before);
                    self.admit(before);
                }
                if let Some(old) = old {
                    self.flows.release(&self.entropy, old);
                }
                if listed {
                    self.make_ready(watcher.slot);
                }
                self.note(WatcherId(watcher));
            }
        }
    }

    fn is_destination(&self, known: Option<flows::FlowId>, flow: &Flow) -> bool {
        known.and_then(|id| self.flows.get(id)).is_some_and(|record| record.is(flow))
    }

    /// Whether `flow` cannot be written to at the moment: while it is blocked,
    /// [`poll_outgoing`](Self::poll_outgoing) yields no NOTIFY for it, and its
    /// watchers get the newest state afterwards. A blocked flow counts against
    /// [`Limits::flows`](crate::Limits::flows).
    pub fn set_blocked(&mut self, flow: Flow, blocked: bool) {
        if blocked {
            self.flows.block(&self.entropy, flow);
        } else if let Some(id) = self.flows.find(&self.entropy, &flow) {
            self.flows.unblock(id);
            self.admit(id);
            self.flows.drop_hold(&self.entropy, id);
        }
    }

    /// Fires what is due. At most
    /// [`Limits::timers_per_wakeup`](crate::Limits::timers_per_wakeup) timers
    /// fire; the rest wait for the next call at the same `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.is_frozen() {
            return;
        }
        self.sweep(now);
        let mut left = self.config.limits.timers_per_wakeup.max(1);
        while left > 0 {
            left = left.saturating_sub(1);
            if let Some(slot) = self.subscription_timers.pop_due(now) {
                self.subscription_timeout(now, slot);
            } else if let Some(slot) = self.attempt_timers.pop_due(now) {
                self.close_window(slot);
            } else if let Some(slot) = self.watcher_timers.pop_due(now) {
                self.watcher_timeout(now, slot);
            } else if let Some(slot) = self.incoming_timers.pop_due(now) {
                self.undecided(now, slot);
            } else if let Some(slot) = self.auth.claim_timers.pop_due(now) {
                self.claim_timeout(slot);
            } else {
                break;
            }
        }
        self.shrink_window(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the
    /// latest; the last `now` while something waits to be polled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_output() {
            return Some(self.now);
        }
        self.next_timer().map(|(at, _)| at)
    }

    /// The earliest timer and what it is for, whatever waits to be polled.
    pub fn next_timer(&self) -> Option<(Instant, TimerKind)> {
        if self.is_frozen() {
            return None;
        }
        let subscription = self.subscription_timers.peek().map(|(at, slot)| (at, self.subscription_timer(slot)));
        let attempt = self.attempt_timers.peek().map(|(at, _)| (at, TimerKind::ForkWindow));
        let watcher = self.watcher_timers.peek().map(|(at, slot)| (at, self.watcher_timer(slot)));
        let undecided = [&self.incoming_timers, &self.auth.claim_timers];
        let undecided =
            undecided.into_iter().filter_map(TimerHeap::peek).min().map(|(at, _)| (at, TimerKind::Decision));
        let blocked = self.is_window_full() && (!self.dirty.is_empty() || self.ready.first().is_some());
        let per_flow = self.waiting > 0;
        let window = self.window_opens().filter(|_| blocked || per_flow).map(|at| (at, TimerKind::Window));
        [subscription, attempt, watcher, undecided, window].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn has_output(&self) -> bool {
        let window_open = !self.is_window_full();
        let requests = !self.senders.is_empty()
            || !self.owed.is_empty()
            || (window_open && (!self.dirty.is_empty() || self.ready.first().is_some()));
        !self.answers.is_empty()
            || !self.abandoned.is_empty()
            || !self.events.is_empty()
            || (!self.sweeps.is_empty() && !self.is_frozen())
            || (requests && !self.is_frozen())
            || (self.closing.is_some() && !self.drained && self.is_idle())
    }

    /// After [`Close::Persist`]: whatever comes is for the successor.
    fn is_frozen(&self) -> bool {
        self.closing == Some(Close::Persist)
    }

    /// The next thing to send: answers before what they cause. The header
    /// fields are appended to `head`.
    pub fn poll_outgoing(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Outgoing> {
        let now = self.advance(now);
        if let Some(first) = self.poll_answer(head) {
            return Some(first);
        }
        if self.is_frozen() {
            return None;
        }
        if let Some(request) = self.poll_subscribe(now, head) {
            return Some(request);
        }
        self.poll_notify(now, head)
    }

    /// The part of [`poll_outgoing`](Self::poll_outgoing) that needs no room
    /// for a new transaction.
    pub(crate) fn poll_answer(&mut self, head: &mut Vec<u8>) -> Option<Outgoing> {
        if let Some((token, answer)) = self.answers.pop_front() {
            head.extend_from_slice(&answer.fields);
            self.stats.responses_sent = self.stats.responses_sent.wrapping_add(1);
            let Answer { status, reason, to_tag, dialog_forming, stateless, .. } = answer;
            return Some(Outgoing::Response(OutResponse { token, status, reason, to_tag, dialog_forming, stateless }));
        }
        if let Some(id) = self.abandoned.pop_front() {
            return Some(Outgoing::Abandon(id));
        }
        None
    }

    /// Whether [`poll_answer`](Self::poll_answer) has something.
    pub(crate) fn has_answer(&self) -> bool {
        !self.answers.is_empty() || !self.abandoned.is_empty()
    }

    /// Whether [`poll_event`](Self::poll_event) may have something.
    pub(crate) fn has_event(&self) -> bool {
        !self.events.is_empty() || self.closing.is_some()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if self.closing.is_some() && !self.drained && self.is_idle() {
            self.drained = true;
            return Some(Event::Drained);
        }
        None
    }

    /// Ends everything, in one of two ways; [`Event::Drained`] comes when
    /// nothing is left. New subscriptions are refused from now on: ours with
    /// [`Misuse::Closing`](crate::Misuse::Closing), others with 503. The first call decides.
    pub fn close(&mut self, now: Instant, how: Close) {
        let now = self.advance(now);
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(how);
        let incoming: Vec<u32> = self.incoming.iter().map(|(id, _)| id.slot).collect();
        for slot in incoming {
            if let Some(incoming) = self.drop_incoming(slot) {
                let answer = self.overload();
                self.reply(incoming.token, answer);
            }
        }
        self.drop_claims();
        if how == Close::Persist {
            return;
        }
        let watchers: Vec<u32> = self.watchers.iter().map(|(id, _)| id.slot).collect();
        for slot in watchers {
            self.end_watcher(now, slot, &Reason::Probation, None);
        }
        let subscriptions: Vec<RawId> = self.subscriptions.iter().map(|(id, _)| id).collect();
        for id in subscriptions {
            // One that waits for a new attempt ends here and now; one that ends already is left to it.
            let _ = self.unsubscribe(now, SubscriptionId(id), Scope::This);
        }
    }

    /// Whether [`close`](Self::close) was called and nothing is left.
    pub const fn is_drained(&self) -> bool {
        self.drained
    }

    fn is_idle(&self) -> bool {
        let nothing_queued =
            self.answers.is_empty() && self.abandoned.is_empty() && self.events.is_empty() && self.auth.is_idle();
        match self.closing {
            Some(Close::Persist) => nothing_queued,
            _ => {
                nothing_queued && self.watchers.len() == 0 && self.subscriptions.len() == 0 && self.incoming.len() == 0
            }
        }
    }

    /// Live objects: subscriptions, watchers, resources, undecided SUBSCRIBEs.
    pub const fn counts(&self) -> (u32, u32, u32, u32) {
        (self.subscriptions.len(), self.watchers.len(), self.resources.len(), self.incoming.len())
    }

    fn reply(&mut self, token: Token, answer: Answer) {
        self.answers.push_back((token, answer));
    }

    fn push_event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// An event that may be missed: it is left out while the queue is full.
    fn push_news(&mut self, event: Event) {
        if !self.events_full() {
            self.push_event(event);
        }
    }

    fn events_full(&self) -> bool {
        self.events.len() >= self.config.limits.events as usize
    }

    /// 503 with Retry-After: one of our limits is reached (RFC 3261 section 21.5.4).
    fn overload(&self) -> Answer {
        let mut answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE);
        answer.retry_after(10);
        answer
    }
}

const fn reason_code(reason: &Reason) -> ReasonCode {
    match reason {
        Reason::Deactivated => ReasonCode::Deactivated,
        Reason::Probation => ReasonCode::Probation,
        Reason::Rejected => ReasonCode::Rejected,
        Reason::Timeout => ReasonCode::Timeout,
        Reason::Giveup => ReasonCode::Giveup,
        Reason::NoResource => ReasonCode::NoResource,
        Reason::Invariant => ReasonCode::Invariant,
        Reason::BadFilter => ReasonCode::BadFilter,
        Reason::Other(_) => ReasonCode::Other,
    }
}

#[cfg(test)]
mod tests;
