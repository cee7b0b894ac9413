//! Server transactions (RFC 3261 section 17.2.2): requests for the agent, until
//! their answer cannot be asked for again.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use bytes::Bytes;

use super::connections::Way;
use super::core::{Core, Out, Up};
use super::keys::{Identity, condense};
use super::respond::{self, Marks, Response};
use crate::Instant;
use crate::agent::{OutResponse, Token};
use crate::flow::Flow;
use crate::id::{Arena, RawId};
use crate::io::{Sent, Transmit, TransmitId};
use crate::machine::server_txn::{Again, Fired, State, Transaction};
use crate::parts::PartedTable;
use crate::time::earliest;
use crate::timers::TimerHeap;
use crate::wire::{Message, StatusCode, Transport};

/// Most bytes that one transaction keeps of its request: the lines that answers
/// repeat, and what tells it from others.
const MAX_DATA: usize = 16_384;

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) machine: Transaction,
    pub(super) arrived: Instant,
    /// When the 100 was due that is repeated.
    pub(super) trying_at: Option<Instant>,
    /// Where the answer goes, and where to connect to when that has closed.
    pub(super) flow: Flow,
    pub(super) backup: Option<SocketAddr>,
    /// Ends an answer that waits for a connection or for writability.
    pub(super) expires: Option<Instant>,
    /// The keys, then the lines copied from the request or the final response.
    pub(super) data: Vec<u8>,
    /// By which the tables find it.
    pub(super) key_hash: u64,
    pub(super) merge_hash: u64,
    pub(super) key_end: usize,
    pub(super) merge_end: usize,
    pub(super) marks: Marks,
    /// The To tag of answers; `None` if the request has one.
    pub(super) tag: Option<Range<usize>>,
    /// `data` holds the final response.
    pub(super) answered: bool,
    /// It ends once that is written: nothing is kept of those who are not
    /// known (3261-8.2.7-1).
    pub(super) once: bool,
    /// The answer has gone out once.
    pub(super) sent: bool,
    /// A CANCEL came before the answer.
    pub(super) cancelled: bool,
    pub(super) queued: bool,
}

impl Server {
    fn key(&self) -> &[u8] {
        self.data.get(..self.key_end).unwrap_or_default()
    }

    /// Empty if the request has a To tag.
    fn merge_key(&self) -> &[u8] {
        self.data.get(self.key_end..self.merge_end).unwrap_or_default()
    }

    fn deadline(&self) -> Option<Instant> {
        earliest(self.machine.poll_timeout(), self.expires)
    }
}

/// Server transactions by slot, by key, and by what merged requests share.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    pub(super) list: Arena<Server>,
    pub(super) by_key: PartedTable<u32>,
    pub(super) by_merge: PartedTable<u32>,
    pub(super) timers: TimerHeap,
    /// Answers that have not gone out yet.
    pub(super) unsent: u32,
}

impl Servers {
    pub(super) const fn new(capacity: u32) -> Self {
        Self {
            list: Arena::new(capacity),
            by_key: PartedTable::new(),
            by_merge: PartedTable::new(),
            timers: TimerHeap::new(),
            unsent: 0,
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

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|(at, _)| at)
    }

    fn find(&self, key: &Key) -> Option<u32> {
        let same = |slot: &u32| self.list.at(*slot).is_some_and(|server| server.key() == key.text);
        self.by_key.find(key.hash, same).copied()
    }
}

/// What a request is looked up by.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    text: Vec<u8>,
    hash: u64,
}

fn token(id: RawId) -> Token {
    Token((u64::from(id.generation.get()) << 32) | u64::from(id.slot))
}

impl Core {
    /// The key of the transaction of a request, or of the request with
    /// `method` that it cancels.
    pub(super) fn server_key(&mut self, identity: &Identity<'_>, method: &[u8]) -> Key {
        let mut text = self.buffer();
        identity.transaction_key(method, &mut text);
        condense(&self.entropy, &mut text);
        let hash = self.entropy.hash_text(&text);
        Key { text, hash }
    }

    /// What a request without a To tag shares with its other copies.
    pub(super) fn merge_key(&mut self, identity: &Identity<'_>) -> Key {
        let mut text = self.buffer();
        identity.merge_key(&mut text);
        condense(&self.entropy, &mut text);
        let hash = self.entropy.hash_text(&text);
        Key { text, hash }
    }

    /// The transaction of that key.
    pub(super) fn find_server(&self, key: &Key) -> Option<u32> {
        self.servers.find(key)
    }

    pub(super) fn drop_key(&mut self, key: Key) {
        self.recycle(key.text);
    }

    /// Whether another transaction has a request of the same tag, Call-ID and
    /// CSeq (3261-8.2.2.2-1).
    pub(super) fn is_merged(&self, merge: &Key) -> bool {
        let list = &self.servers.list;
        let same = |slot: &u32| list.at(*slot).is_some_and(|server| server.merge_key() == merge.text);
        self.servers.by_merge.find(merge.hash, same).is_some()
    }

    /// Opens the transaction of a request whose key is `key`, with `merge` if
    /// it has no To tag.
    ///
    /// # Errors
    /// The status to answer with, statelessly: there is no room for it.
    pub(super) fn open_server(
        &mut self,
        now: Instant,
        flow: &Flow,
        message: &Message<'_>,
        identity: &Identity<'_>,
        (key, merge): (Key, Option<Key>),
    ) -> Result<Token, StatusCode> {
        if self.servers.is_full() {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let Key { text: mut data, hash: key_hash } = key;
        let key_end = data.len();
        let tag = merge.as_ref().map(|_| 0..0);
        let merge_hash = merge.as_ref().map_or(0, |merge| merge.hash);
        if let Some(merge) = merge {
            data.extend_from_slice(&merge.text);
            self.drop_key(merge);
        }
        let merge_end = data.len();
        // Where a request has a To tag, 200 is nearly always the answer: it is made in place.
        if tag.is_none() {
            data.extend_from_slice(respond::OK);
        }
        let marks = respond::copy_lines(&mut data, message, &identity.into(), &identity.via, flow.remote);
        if data.len() > MAX_DATA {
            return Err(StatusCode::MESSAGE_TOO_LARGE);
        }
        let (reply, backup) = respond::reply_to(flow, &identity.via, self.config.policy.via_maddr);
        let server = Server {
            machine: Transaction::new(now, flow.transport.is_reliable(), self.timers()),
            arrived: now,
            trying_at: None,
            flow: reply,
            backup,
            expires: None,
            data,
            key_hash,
            merge_hash,
            key_end,
            merge_end,
            marks,
            tag,
            answered: false,
            once: false,
            sent: false,
            cancelled: false,
            queued: false,
        };
        let merges = merge_end > key_end;
        let id = self.servers.list.insert_with(|_| server).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let list = &self.servers.list;
        let rehash = |slot: &u32| list.at(*slot).map_or(0, |server| server.key_hash);
        self.servers.by_key.insert_unique(key_hash, id.slot, rehash);
        if merges {
            let rehash = |slot: &u32| list.at(*slot).map_or(0, |server| server.merge_hash);
            self.servers.by_merge.insert_unique(merge_hash, id.slot, rehash);
        }
        self.arm_server(id.slot);
        Ok(token(id))
    }

    /// Undoes [`open_server`](Self::open_server).
    pub(super) fn forget_server(&mut self, token: Token) {
        if let Some(id) = self.server_of(token) {
            self.end_server(id.slot);
        }
    }

    fn server_of(&self, named: Token) -> Option<RawId> {
        let slot = u32::try_from(named.0 & u64::from(u32::MAX)).ok()?;
        self.servers.list.id_at(slot).filter(|id| token(*id) == named)
    }

    /// The same request has come again.
    pub(super) fn retransmitted(&mut self, now: Instant, slot: u32) {
        let Some(server) = self.servers.list.at_mut(slot) else { return };
        if server.machine.handle_retransmission(now) != Again::Nothing {
            self.stats.retransmissions = self.stats.retransmissions.wrapping_add(1);
            self.queue_server(slot);
        }
    }

    /// The To tag for the answer to a CANCEL of the request in `slot`: that of
    /// its own answer (RFC 3261 section 9.2), unless the CANCEL came before and
    /// got another one.
    pub(super) fn cancel_tag(&mut self, slot: u32) -> Option<&[u8]> {
        let server = self.servers.list.at_mut(slot)?;
        server.cancelled |= !server.answered;
        let tag = server.tag.clone().filter(|_| !server.cancelled)?;
        server.data.get(tag)
    }

    /// Answers a request for good; `fields` are the agent's lines. A second
    /// answer, or one that comes too late, goes nowhere (4320-4.2-1).
    pub(super) fn respond(&mut self, now: Instant, response: &OutResponse, fields: &[u8]) {
        let timers = *self.timers();
        let Some(id) = self.server_of(response.token) else { return };
        let Some(server) = self.servers.list.get_mut(id) else { return };
        if server.answered || server.machine.respond(now, response.status.as_u16(), &timers).is_err() {
            return;
        }
        let in_place = server.tag.is_none()
            && response.status == StatusCode::OK
            && response.reason.is_none()
            && !response.dialog_forming;
        if in_place {
            respond::finish_ok(&mut server.data, &server.marks, fields, self.config.user_agent.as_deref());
        } else {
            self.write_response(id, response, fields);
        }
        let Some(server) = self.servers.list.get_mut(id) else { return };
        server.answered = true;
        self.servers.unsent = self.servers.unsent.saturating_add(1);
        server.once = response.stateless || server.machine.state() == State::Terminated;
        if server.once {
            // It lasts until it is written, or cannot be: Timer J is zero, or of no use.
            server.expires = Some(now.saturating_add(timers.timer_f()));
        }
        self.arm_server(id.slot);
        self.queue_server(id.slot);
    }

    /// Puts the response in the place of the lines from which it is made.
    fn write_response(&mut self, id: RawId, response: &OutResponse, fields: &[u8]) {
        let mut out = self.buffer();
        let Some(server) = self.servers.list.get_mut(id) else { return };
        let minted = response.to_tag.map(|tag| tag.0.text());
        let fallback;
        let to_tag = match (&server.tag, &minted) {
            (None, _) => None,
            (Some(_), Some(tag)) => Some(&tag[..]),
            (Some(_), None) => {
                fallback = super::keys::hex(self.entropy.hash(&[b"tag", server.key(), server.merge_key()]));
                Some(&fallback[..])
            }
        };
        out.extend_from_slice(server.data.get(..server.merge_end).unwrap_or_default());
        let response = Response {
            reason: response.reason,
            to_tag,
            dialog_forming: response.dialog_forming,
            fields,
            server: self.config.user_agent.as_deref(),
            ..Response::new(response.status)
        };
        let tag_at = response.write(&server.data, &server.marks, &mut out);
        server.tag = server.tag.as_ref().map(|_| tag_at);
        let old = core::mem::replace(&mut server.data, out);
        self.recycle(old);
    }

    fn queue_server(&mut self, slot: u32) {
        let Some(id) = self.servers.list.id_at(slot) else { return };
        let Some(server) = self.servers.list.at_mut(slot) else { return };
        let flow = server.flow;
        if !core::mem::replace(&mut server.queued, true) {
            self.queue(&flow, Out::Server(id));
        }
    }

    /// The connection that its answer waited for is open.
    pub(super) fn server_goes(&mut self, id: RawId, flow: Flow) {
        if let Some(server) = self.servers.list.get_mut(id) {
            server.flow = flow;
            self.queue_server(id.slot);
        }
    }

    pub(super) fn transmit_response(&mut self, now: Instant, id: RawId, head: &mut Vec<u8>) -> Option<Transmit> {
        let server = self.servers.list.get_mut(id)?;
        server.queued = false;
        let flow = server.flow;
        if self.park(&flow, Out::Server(id)).is_none() {
            self.servers.list.get_mut(id)?.queued = true;
            return None;
        }
        let server = self.servers.list.get_mut(id)?;
        if !self.connections.is_open(&flow) {
            self.reconnect(id);
            return None;
        }
        let start = head.len();
        let done = if server.answered {
            head.extend_from_slice(server.data.get(server.merge_end..).unwrap_or_default());
            if !core::mem::replace(&mut server.sent, true) {
                self.servers.unsent = self.servers.unsent.saturating_sub(1);
            }
            server.once
        } else {
            let delay = *server.trying_at.get_or_insert(now) - server.arrived;
            respond::write_trying(&server.data, &server.marks, delay, head);
            false
        };
        if done {
            self.end_server(id.slot);
        }
        let head_len = head.len().saturating_sub(start);
        Some(Transmit { id: TransmitId(Sent::Response), flow, head_len, body: Bytes::new() })
    }

    /// What was queued for it will not go.
    pub(super) fn drop_answer(&mut self, id: RawId) {
        let Some(server) = self.servers.list.get_mut(id) else { return };
        server.queued = false;
        if server.answered {
            self.end_server(id.slot);
        }
    }

    /// The stream of the request has closed: its answer takes a new one to the
    /// address in Via (3261-18.2.2-1). A 100 is not worth that.
    fn reconnect(&mut self, id: RawId) {
        let Some(server) = self.servers.list.get_mut(id).filter(|server| server.answered) else { return };
        let transport = server.flow.transport;
        // A WebSocket client accepts no connections (RFC 7118 section 5).
        let can = !matches!(transport, Transport::Ws | Transport::Wss);
        let target = server.backup.take().filter(|remote| can && self.locals.towards(transport, *remote).is_some());
        let way = target.and_then(|remote| {
            let name = alloc::format!("{}", remote.ip().to_canonical());
            self.connect(transport, remote, &Bytes::from(name.into_bytes()))
        });
        match way {
            Some(Way::Open(flow)) => self.server_goes(id, flow),
            Some(Way::Opening(slot)) => {
                if let Some(connection) = self.connections.at_mut(slot) {
                    connection.servers.push(id);
                }
                self.connections.note_waiters(slot);
            }
            None => self.end_server(id.slot),
        }
    }

    pub(super) fn server_timeout(&mut self, now: Instant) {
        let timers = *self.timers();
        let Some(slot) = self.servers.timers.pop_due(now) else { return };
        let id = self.servers.list.id_at(slot);
        let Some(server) = self.servers.list.at_mut(slot) else { return };
        match server.machine.handle_timeout(now, &timers) {
            Fired::Terminated => {
                if !server.answered {
                    self.up.extend(id.map(|id| Up::Unanswered(token(id))));
                }
                return self.end_server(slot);
            }
            Fired::Send100 => {
                server.trying_at = Some(now);
                self.queue_server(slot);
            }
            Fired::Nothing => {
                if server.expires.is_some_and(|at| at <= now) {
                    return self.end_server(slot);
                }
            }
        }
        self.arm_server(slot);
    }

    pub(super) fn end_server(&mut self, slot: u32) {
        self.servers.timers.set(slot, None);
        let Some(server) = self.servers.list.remove(slot) else { return };
        if server.answered && !server.sent {
            self.servers.unsent = self.servers.unsent.saturating_sub(1);
        }
        if let Some(found) = self.servers.by_key.find_entry(server.key_hash, |s| *s == slot) {
            found.remove();
        }
        if !server.merge_key().is_empty()
            && let Some(found) = self.servers.by_merge.find_entry(server.merge_hash, |s| *s == slot)
        {
            found.remove();
        }
        self.recycle(server.data);
    }

    fn arm_server(&mut self, slot: u32) {
        let deadline = self.servers.list.at(slot).and_then(Server::deadline);
        self.servers.timers.set(slot, deadline);
    }
}
