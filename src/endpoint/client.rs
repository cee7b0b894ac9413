//! Client transactions (RFC 3261 section 17.1.2): requests of the agent, on
//! their way to being located, connected, sent and answered.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::connections::Way;
use super::core::{Core, Out, Up};
use super::keys::Identity;
use super::locate::Plan;
use super::remotes::Remotes;
use super::seats::{Home, Seat};
use crate::Instant;
use crate::agent::{OutRequest, Placeholder, RequestId};
use crate::entropy::{Entropy, Minted, Role};
use crate::error::{DropReason, Failure, Handled};
use crate::flow::Flow;
use crate::id::{Arena, RawId};
use crate::io::{Sent, Transmit, TransmitId};
use crate::machine::client_txn::{Fired, State, ToUser, Transaction};
use crate::parts::PartedTable;
use crate::time::earliest;
use crate::timers::TimerHeap;
use crate::wire::{HeadWriter, HeaderName, Message, Method, StatusCode, Transport, Uri, is_sips, read};

/// The largest request that goes over datagrams while the path's MTU is
/// unknown (RFC 3261 section 18.1.1).
const MAX_DATAGRAM_REQUEST: usize = 1_300;
/// Hops that a request of ours may take (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: u32 = 70;
/// Every branch of RFC 3261 starts with it.
const COOKIE: &[u8] = b"z9hG4bK";

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) request: RequestId,
    pub(super) method: Method<'static>,
    /// The random part of the branch; another one for each attempt.
    pub(super) nonce: u64,
    /// What the agent wrote, until it cannot be needed again.
    pub(super) head: Vec<u8>,
    pub(super) via_at: usize,
    /// Where in `head` the next hop's URI is; empty if there is one way only.
    pub(super) hop: (u32, u32),
    /// The next hop was found by a name, which may have other addresses.
    pub(super) named: bool,
    pub(super) contact: Option<Placeholder>,
    pub(super) body: Bytes,
    pub(super) number: Option<(usize, u32)>,
    /// It goes to somebody who wants it.
    pub(super) proven: bool,
    /// Since the request was first sent to `flow`.
    pub(super) machine: Option<Transaction>,
    /// Timer F of the whole, attempts and waits included.
    pub(super) expires: Instant,
    pub(super) flow: Option<Flow>,
    pub(super) plan: Option<Box<Plan>>,
    pub(super) seat: Option<Seat>,
    /// The datagram flow that this request is too large for, and how long to
    /// wait for a stream instead (3261-18.1.1-2).
    pub(super) datagrams: Option<Box<(Flow, Instant)>>,
    /// It goes as a datagram whatever its size.
    pub(super) any_size: bool,
    /// It has gone out in a transaction before this one.
    pub(super) repeated: bool,
    /// It is in the queue.
    pub(super) queued: bool,
}

/// Client transactions by slot (which the branch names) and by request.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) list: Arena<Client>,
    pub(super) by_request: PartedTable<u32>,
    pub(super) timers: TimerHeap,
    pub(super) remotes: Remotes,
}

impl Clients {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            list: Arena::new(capacity),
            by_request: PartedTable::new(),
            timers: TimerHeap::new(),
            remotes: Remotes::new(capacity),
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.list.is_full()
    }

    pub(super) const fn len(&self) -> u32 {
        self.list.len()
    }

    pub(super) fn is_open(&self, id: RawId) -> bool {
        self.list.get(id).is_some()
    }

    pub(super) fn seat(&mut self, slot: u32) -> Option<&mut Option<Seat>> {
        self.list.at_mut(slot).map(|client| &mut client.seat)
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|(at, _)| at)
    }
}

fn request_hash(entropy: &Entropy, request: &RequestId) -> u64 {
    entropy.hash_words(&request.words())
}

/// Whether the Request-URI is a SIPS URI: then every way to it is secured,
/// whatever the next hop's URI says (3261-8.1.2-1).
fn is_for_sips(head: &[u8]) -> bool {
    is_sips(head.split(|byte| *byte == b' ').nth(1).unwrap_or_default())
}

impl Client {
    pub(super) fn is_completed(&self) -> bool {
        self.machine.as_ref().is_some_and(|m| matches!(m.state(), State::Completed | State::Terminated))
    }

    fn deadline(&self) -> Option<Instant> {
        let machine = self.machine.as_ref().and_then(Transaction::poll_timeout);
        if self.is_completed() {
            return machine;
        }
        let patience = self.datagrams.as_ref().map(|wait| wait.1);
        earliest(earliest(machine, patience), Some(self.expires))
    }

    /// Whether another address may do what one did not.
    pub(super) fn has_others(&self) -> bool {
        let (start, end) = self.hop;
        let hop = self.head.get(start as usize..end as usize).and_then(|hop| Uri::parse(hop).ok());
        self.named || hop.and_then(|hop| hop.host()).is_some_and(|host| host.ip().is_none())
    }

    fn branch(&self, slot: u32) -> Minted {
        Minted { role: Role::Client, slot, nonce: self.nonce }
    }

    /// Appends the whole head for `flow`, and the part of the body that is
    /// this request's own. Returns how much of the body is left.
    fn write(&self, slot: u32, flow: &Flow, core: &Core, out: &mut Vec<u8>) -> Bytes {
        let (line, rest) = self.head.split_at_checked(self.via_at).unwrap_or((&self.head, &[]));
        out.extend_from_slice(line);
        let mut head = HeadWriter::new(out);
        head.begin(HeaderName::Via);
        head.raw(b"SIP/2.0/");
        head.raw(flow.transport.via_token().as_bytes());
        head.raw(b" ");
        core.locals.write_sent_by(flow, out);
        out.extend_from_slice(b";branch=");
        out.extend_from_slice(COOKIE);
        self.branch(slot).write(out);
        if flow.stream.is_none() {
            out.extend_from_slice(b";rport");
        } else if core.offers_keep(flow) {
            out.extend_from_slice(b";keep");
        }
        out.extend_from_slice(b"\r\n");
        HeadWriter::new(out).field_u32(HeaderName::MaxForwards, MAX_FORWARDS);
        match &self.contact {
            None => out.extend_from_slice(rest),
            Some(Placeholder { range, secure }) => {
                out.extend_from_slice(self.head.get(self.via_at..range.start).unwrap_or_default());
                core.locals.write_contact(flow.transport, Some(flow.local), *secure, out);
                out.extend_from_slice(self.head.get(range.end..).unwrap_or_default());
            }
        }
        let mut head = HeadWriter::new(out);
        if let Some(agent) = &core.config.user_agent {
            head.field(HeaderName::UserAgent, agent.as_bytes());
        }
        let digits = self.number.map_or(0, |(_, n)| n.checked_ilog10().map_or(1, |d| (d as usize).saturating_add(1)));
        head.content_length(self.body.len().saturating_add(digits));
        head.finish();
        match self.number {
            None => self.body.clone(),
            Some((at, number)) => {
                let at = at.min(self.body.len());
                out.extend_from_slice(self.body.get(..at).unwrap_or_default());
                HeadWriter::new(out).number(number);
                self.body.slice(at..)
            }
        }
    }
}

impl Core {
    /// Starts a request of the agent; `head` is what it wrote.
    pub(super) fn request(&mut self, now: Instant, request: OutRequest, head: Vec<u8>) {
        let known = request.destination.filter(|flow| self.connections.is_open(flow));
        // One of several servers, that failed since: it comes last.
        let down = !request.only && known.is_some_and(|flow| self.down.has(now, flow.transport, flow.remote));
        let plan = match known {
            Some(_) if !down => None,
            _ => {
                let next_hop = head.get(request.next_hop.clone()).unwrap_or_default();
                Plan::new(next_hop, is_for_sips(&head), &self.locals).map(Box::new)
            }
        };
        let flow = known.filter(|_| plan.is_none());
        let place = |at: usize| if request.only { 0 } else { u32::try_from(at).unwrap_or(u32::MAX) };
        let client = Client {
            request: request.id,
            method: request.method,
            nonce: self.entropy.next_nonce(),
            head,
            via_at: request.via_at,
            hop: (place(request.next_hop.start), place(request.next_hop.end)),
            named: plan.as_ref().is_some_and(|plan| plan.is_named()),
            contact: request.contact,
            body: request.body,
            number: request.number,
            proven: request.proven,
            machine: None,
            expires: now.saturating_add(self.timers().timer_f()),
            flow: None,
            plan,
            seat: None,
            datagrams: None,
            any_size: false,
            repeated: false,
            queued: false,
        };
        let Some(id) = self.clients.list.insert_with(|_| client) else {
            self.up.push_back(Up::NoResponse(request.id, Failure::Transport));
            return;
        };
        let (list, entropy) = (&self.clients.list, &self.entropy);
        self.clients.by_request.insert_unique(request_hash(entropy, &request.id), id.slot, |slot| {
            list.at(*slot).map_or(0, |client| request_hash(entropy, &client.request))
        });
        self.arm_client(id.slot);
        match flow {
            Some(flow) => self.take_flow(id.slot, flow),
            None => self.locate(now, id.slot),
        }
    }

    pub(super) fn queue_client(&mut self, slot: u32, flow: &Flow) {
        let Some(id) = self.clients.list.id_at(slot) else { return };
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        if !core::mem::replace(&mut client.queued, true) {
            self.queue(flow, Out::Client(id));
        }
    }

    /// It was taken out of a queue.
    pub(super) fn unqueue_client(&mut self, id: RawId) {
        if let Some(client) = self.clients.list.get_mut(id) {
            client.queued = false;
        }
    }

    /// The connection that it waited for is open.
    pub(super) fn client_goes(&mut self, slot: u32, flow: Flow) {
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        client.flow = Some(flow);
        match &mut client.datagrams {
            // For its size alone it took a stream: the next one may do without.
            Some(wait) => wait.1 = client.expires,
            None => self.up.push_back(Up::Located(client.request, flow)),
        }
        self.arm_client(slot);
        self.queue_client(slot, &flow);
    }

    /// Sends the request, for the first time or again.
    pub(super) fn transmit_request(&mut self, now: Instant, id: RawId, head: &mut Vec<u8>) -> Option<Transmit> {
        let client = self.clients.list.get_mut(id)?;
        client.queued = false;
        let flow = client.flow?;
        if client.head.is_empty() {
            return None;
        }
        // Where nothing is read any more no answer would be. From an address that
        // was left it would not go out again as it was (3261-17.1.2.2-1).
        let left = flow.stream.is_none() && client.machine.is_some() && self.locals.has_left(flow.local);
        if left || !self.connections.is_open(&flow) {
            self.client_failed(now, id.slot, Failure::Transport);
            return None;
        }
        if self.park(&flow, Out::Client(id)).is_none() {
            self.clients.list.get_mut(id)?.queued = true;
            return None;
        }
        let start = head.len();
        let client = self.clients.list.get(id)?;
        let body = client.write(id.slot, &flow, self, head);
        let head_len = head.len().saturating_sub(start);
        let first = client.machine.is_none();
        let size = head_len.saturating_add(body.len());
        if first && flow.stream.is_none() && size > MAX_DATAGRAM_REQUEST && !client.any_size {
            head.truncate(start);
            if let Some(flow) = self.use_stream(now, id.slot, flow) {
                self.take_flow(id.slot, flow);
            }
            return None;
        }
        let withheld = flow.stream.is_none() && !self.may_send(id.slot, &flow, size, !first);
        self.sent_request(now, id.slot, &flow, withheld);
        if withheld {
            // As if it were lost on the way: by the time of the next transmission it may be let through.
            head.truncate(start);
            return None;
        }
        let client = self.clients.list.get(id)?;
        let sent = Sent::Request { slot: id.slot, nonce: client.nonce };
        Some(Transmit { id: TransmitId(sent), flow, head_len, body })
    }

    /// Whether a datagram may go to an address that may be a victim's.
    fn may_send(&mut self, slot: u32, flow: &Flow, size: usize, again: bool) -> bool {
        let proven = self.clients.list.at(slot).is_none_or(|client| client.proven);
        proven
            || self.config.policy.unproven == crate::Unproven::Trust
            || self.unproven.admits(&self.entropy, flow.remote.ip(), size, again)
    }

    /// A large request takes a stream to the same address (3261-18.1.1-1).
    /// Returns the flow if one is open, or if it has to be the datagram flow.
    fn use_stream(&mut self, now: Instant, slot: u32, datagrams: Flow) -> Option<Flow> {
        let patience = now.saturating_add(self.timers().t2);
        let server_name = Bytes::new();
        let tcp = self.locals.towards(Transport::Tcp, datagrams.remote).is_some()
            && !self.no_stream.has(now, &self.entropy, datagrams.remote);
        let way = if tcp { self.connect(Transport::Tcp, datagrams.remote, &server_name) } else { None };
        let client = self.clients.list.at_mut(slot)?;
        match way {
            Some(Way::Open(flow)) => {
                client.datagrams = Some(Box::new((datagrams, client.expires)));
                Some(flow)
            }
            Some(Way::Opening(connection)) => {
                client.flow = None;
                client.datagrams = Some(Box::new((datagrams, patience)));
                self.leave(slot);
                self.sit(slot, Home::Connection(connection));
                self.arm_client(slot);
                None
            }
            None => {
                client.any_size = true;
                Some(datagrams)
            }
        }
    }

    fn sent_request(&mut self, now: Instant, slot: u32, flow: &Flow, withheld: bool) {
        let timers = *self.timers();
        let reliable = flow.transport.is_reliable();
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        self.stats.withheld = self.stats.withheld.wrapping_add(u64::from(withheld));
        if client.machine.is_some() && withheld {
            return;
        }
        if client.machine.is_some() {
            self.stats.retransmissions = self.stats.retransmissions.wrapping_add(1);
            return;
        }
        client.machine = Some(Transaction::new(now, reliable, &timers));
        self.stats.requests_sent = self.stats.requests_sent.wrapping_add(u64::from(!withheld));
        // Sent once: it is kept for other ways only.
        if reliable && client.datagrams.is_none() && !client.plan.as_ref().is_some_and(|plan| plan.has_more()) {
            client.named = client.has_others();
            let head = core::mem::take(&mut client.head);
            client.body = Bytes::new();
            client.plan = None;
            self.recycle(head);
        }
        self.arm_client(slot);
    }

    /// The transaction that a response names in its top Via, if it is ours
    /// (RFC 3261 section 17.1.3).
    pub(super) fn find_client(&self, message: &Message<'_>, identity: Option<&Identity<'_>>) -> Option<u32> {
        let via = match identity {
            Some(identity) => identity.via,
            None => read::top_via(message).ok()?,
        };
        let minted = Minted::read(via.branch()?.strip_prefix(COOKIE)?)?;
        let client = self.clients.list.at(minted.slot)?;
        let flow = client.flow?;
        let ours = client.branch(minted.slot) == minted && self.locals.wrote(&flow, &via);
        // One Via, or it was meant for somebody behind us (3261-8.1.3.3-1).
        let alone = read::elements(message, HeaderName::Via).nth(1).is_none();
        let same = match identity {
            Some(identity) => identity.cseq.method == client.method,
            None => read::cseq(message).is_ok_and(|cseq| cseq.method == client.method),
        };
        (ours && alone && same).then_some(minted.slot)
    }

    /// A response to the transaction in `slot`: the request to deliver it for,
    /// and the status to deliver.
    pub(super) fn response(
        &mut self,
        now: Instant,
        slot: u32,
        status: StatusCode,
        retry_after: Option<u32>,
    ) -> Result<(RequestId, StatusCode), Handled> {
        let timers = *self.timers();
        let stray = Err(Handled::Dropped(DropReason::StrayResponse));
        let Some(client) = self.clients.list.at_mut(slot) else { return stray };
        let Some(machine) = client.machine.as_mut() else { return stray };
        if !client.proven
            && let Some(flow) = client.flow
        {
            self.unproven.answered(&self.entropy, flow.remote.ip());
        }
        if machine.handle_response(now, status.as_u16(), &timers) == ToUser::Absorb {
            return Err(Handled::Dropped(DropReason::LateResponse));
        }
        let (request, state) = (client.request, machine.state());
        // Two addresses of one host: it has the request from the first, and what that led to was a failure.
        let merged = client.repeated && status == StatusCode::LOOP_DETECTED;
        let told = if merged { StatusCode::SERVICE_UNAVAILABLE } else { status };
        if let Some(flow) = client.flow {
            if status == StatusCode::SERVICE_UNAVAILABLE {
                let pause = retry_after.map(|seconds| Duration::from_secs(u64::from(seconds)));
                if client.has_others() {
                    self.down.mark(now, flow.transport, flow.remote, pause);
                }
                // Another server of the same service may have time (RFC 3263 section 4.3).
                if !client.head.is_empty() && client.plan.as_ref().is_some_and(|plan| plan.has_more()) {
                    self.another_server(now, slot);
                    return Err(Handled::Consumed);
                }
            } else {
                self.down.clear(flow.transport, flow.remote);
            }
        }
        match state {
            State::Completed => {
                let head = core::mem::take(&mut client.head);
                client.body = Bytes::new();
                client.plan = None;
                self.recycle(head);
                self.leave(slot);
                self.forget_request(slot);
                self.arm_client(slot);
            }
            State::Terminated => self.end_client(slot),
            State::Trying | State::Proceeding => self.arm_client(slot),
        }
        Ok((request, told))
    }

    pub(super) fn client_timeout(&mut self, now: Instant) {
        let timers = *self.timers();
        let Some(slot) = self.clients.timers.pop_due(now) else { return };
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        let fired = client.machine.as_mut().map_or(Fired::Nothing, |machine| machine.handle_timeout(now, &timers));
        match fired {
            Fired::TimedOut => {
                if let Some(flow) = client.flow {
                    self.mark_down(now, slot, flow.transport, flow.remote, None);
                }
                return self.fail_client(slot, Failure::Timeout);
            }
            Fired::Terminated => return self.end_client(slot),
            Fired::Retransmit => {
                if let Some(flow) = client.flow {
                    self.queue_client(slot, &flow);
                }
            }
            Fired::Nothing if client.is_completed() => {}
            Fired::Nothing if client.expires <= now => return self.fail_client(slot, Failure::Timeout),
            Fired::Nothing => {
                if client.datagrams.as_ref().is_some_and(|wait| wait.1 <= now) {
                    self.client_failed(now, slot, Failure::Transport);
                }
            }
        }
        self.arm_client(slot);
    }

    /// A transmission of it failed.
    pub(super) fn request_not_sent(&mut self, now: Instant, slot: u32, nonce: u64) {
        if self.clients.list.at(slot).is_some_and(|client| client.nonce == nonce) {
            self.client_failed(now, slot, Failure::Transport);
        }
    }

    /// The agent gives a request up (INT-10).
    pub(super) fn abandon(&mut self, request: &RequestId) {
        let key = request_hash(&self.entropy, request);
        let list = &self.clients.list;
        let same = |slot: &u32| list.at(*slot).is_some_and(|client| client.request == *request);
        if let Some(slot) = self.clients.by_request.find(key, same).copied() {
            self.end_client(slot);
        }
    }

    pub(super) fn fail_client(&mut self, slot: u32, why: Failure) {
        if let Some(client) = self.clients.list.at(slot) {
            self.up.push_back(Up::NoResponse(client.request, why));
        }
        self.end_client(slot);
    }

    pub(super) fn end_client(&mut self, slot: u32) {
        self.leave(slot);
        self.forget_request(slot);
        self.clients.timers.set(slot, None);
        if let Some(client) = self.clients.list.remove(slot) {
            self.recycle(client.head);
        }
    }

    fn forget_request(&mut self, slot: u32) {
        let Some(client) = self.clients.list.at(slot) else { return };
        let key = request_hash(&self.entropy, &client.request);
        if let Some(found) = self.clients.by_request.find_entry(key, |s| *s == slot) {
            found.remove();
        }
    }

    pub(super) fn arm_client(&mut self, slot: u32) {
        let deadline = self.clients.list.at(slot).and_then(Client::deadline);
        self.clients.timers.set(slot, deadline);
    }
}
