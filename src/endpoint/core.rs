//! Transactions, connections and names, below the agent: what has to be sent,
//! asked and reported.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::client::Clients;
use super::connections::{Connections, Parked};
use super::down::Down;
use super::keep_alive::Kept;
use super::no_stream::NoStream;
use super::resolver::Resolver;
use super::server::Servers;
use super::unproven::Unproven;
use crate::agent::{Locals, RequestId, Token};
use crate::config::Config;
use crate::entropy::{Entropy, Seed};
use crate::error::{DropReason, Failure};
use crate::flow::Flow;
use crate::id::RawId;
use crate::io::{Io, Sent, Transmit, TransmitId};
use crate::stats::Stats;
use crate::time::earliest;
use crate::timers::TimerHeap;
use crate::{Instant, machine};

/// Stateless answers and pongs that may be queued; more are dropped, as a
/// network would.
const MAX_RAW: u32 = 4_096;
/// The same for one blocked stream: a peer that does not read leaves room for
/// others.
const MAX_PARKED_RAW: u32 = 256;
/// Answers for which connections are opened when one stream closes that was
/// not read: a peer may name a port for each.
const MAX_REOPENED: u32 = 16;
/// Buffers kept for reuse, and the largest that is kept.
const MAX_SPARE: usize = 1_024;
const MAX_SPARE_BYTES: usize = 4_096;

/// Something that can be sent now.
#[derive(Debug, Clone)]
pub(super) enum Out {
    /// The request of a client transaction, for the first time or again.
    Client(RawId),
    /// The response of a server transaction.
    Server(RawId),
    /// Bytes of which nothing is remembered.
    Raw { flow: Flow, bytes: Vec<u8>, close: bool },
}

/// Something to tell the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Up {
    NoResponse(RequestId, Failure),
    Located(RequestId, Flow),
    /// A connection has failed.
    FlowGone(Flow),
    /// That request can no longer be answered.
    Unanswered(Token),
}

/// The part of the endpoint that is not about subscriptions.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) entropy: Entropy,
    pub(super) locals: Locals,
    pub(super) clients: Clients,
    pub(super) servers: Servers,
    pub(super) connections: Connections,
    pub(super) resolver: Resolver,
    pub(super) unproven: Unproven,
    pub(super) down: Down,
    pub(super) no_stream: NoStream,
    /// When connections are pinged, or their pongs due.
    pub(super) keepers: TimerHeap,
    /// Datagram flows that are kept open.
    pub(super) kept: Vec<Kept>,
    pub(super) ready: VecDeque<Out>,
    pub(super) io: VecDeque<Io>,
    pub(super) up: VecDeque<Up>,
    pub(super) stats: Stats,
    pub(super) raws: u32,
    pub(super) spare: Vec<Vec<u8>>,
}

impl Core {
    pub(super) fn new(config: Arc<Config>, seed: &Seed) -> Self {
        let limits = config.limits;
        Self {
            entropy: Entropy::new(seed, 2).with_shard(config.shard),
            locals: Locals::default(),
            clients: Clients::new(limits.client_transactions),
            servers: Servers::new(limits.server_transactions),
            connections: Connections::new(limits.streams, Entropy::new(seed, 2)),
            resolver: Resolver::new(limits.resolved),
            unproven: Unproven::new(limits.unproven),
            down: Down::default(),
            no_stream: NoStream::default(),
            keepers: TimerHeap::new(),
            kept: Vec::new(),
            ready: VecDeque::new(),
            io: VecDeque::new(),
            up: VecDeque::new(),
            stats: Stats::default(),
            raws: 0,
            spare: Vec::new(),
            config,
        }
    }

    pub(super) fn timers(&self) -> &machine::Timers {
        &self.config.timers.sip
    }

    /// An empty buffer, a used one if there is one.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        // As long as nearly all heads are: it need not grow.
        buffer.reserve_exact(640);
        buffer
    }

    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && (1..=MAX_SPARE_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Queues `out`, which goes along `flow`; behind a stream that cannot be
    /// written to it waits there.
    pub(super) fn queue(&mut self, flow: &Flow, out: Out) {
        if let Some(out) = self.park(flow, out) {
            self.ready.push_back(out);
        }
    }

    /// Leaves `out` at a stream that cannot be written to; gives it back if
    /// `flow` can be.
    pub(super) fn park(&mut self, flow: &Flow, out: Out) -> Option<Out> {
        let Some(parked) = self.connections.blocked_mut(flow) else { return Some(out) };
        let queue = &mut parked.queue;
        if queue.len() == queue.capacity() {
            // Many transactions may have ended since: whoever writes and does
            // not read makes no list longer than theirs.
            queue.retain(|out| match out {
                Out::Client(id) => self.clients.is_open(*id),
                Out::Server(id) => self.servers.is_open(*id),
                Out::Raw { .. } => true,
            });
            queue.reserve(queue.len().max(16));
        }
        let Out::Raw { flow, bytes, close } = out else {
            queue.push_back(out);
            return None;
        };
        if !close && parked.raws < MAX_PARKED_RAW {
            parked.raws = parked.raws.saturating_add(1);
            queue.push_back(Out::Raw { flow, bytes, close });
            return None;
        }
        self.raws = self.raws.saturating_sub(1);
        self.recycle(bytes);
        self.stats.drop(DropReason::Overload);
        if close && let Some(stream) = flow.stream {
            self.io.push_back(Io::Close { stream });
        }
        None
    }

    /// Queues bytes that belong to no transaction; `close` ends their stream.
    /// `false` if there is no room for them.
    pub(super) fn queue_raw(&mut self, flow: Flow, bytes: Vec<u8>, close: bool) -> bool {
        if self.raws >= MAX_RAW {
            self.stats.drop(DropReason::Overload);
            if close && let Some(stream) = flow.stream {
                self.io.push_back(Io::Close { stream });
            }
            return false;
        }
        self.raws = self.raws.saturating_add(1);
        self.queue(&flow, Out::Raw { flow, bytes, close });
        true
    }

    /// What waited for a stream to become writable may go now.
    pub(super) fn unpark(&mut self, parked: Parked) {
        self.ready.extend(parked.queue);
    }

    /// What waited for a stream will never go there.
    pub(super) fn discard(&mut self, parked: Parked) {
        let mut answers = 0..MAX_REOPENED;
        for out in parked.queue {
            match out {
                Out::Raw { .. } => self.raws = self.raws.saturating_sub(1),
                // It takes a new connection.
                Out::Server(_) if answers.next().is_some() => self.ready.push_back(out),
                Out::Server(id) => self.drop_answer(id),
                Out::Client(id) => self.unqueue_client(id),
            }
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next queued message, appended to `head`.
    pub(super) fn poll_ready(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Transmit> {
        while let Some(out) = self.ready.pop_front() {
            let sent = match out {
                Out::Client(id) => self.transmit_request(now, id, head),
                Out::Server(id) => self.transmit_response(now, id, head),
                Out::Raw { flow, bytes, close } => {
                    let raw = self.park(&flow, Out::Raw { flow, bytes, close });
                    raw.and_then(|raw| self.transmit_raw(raw, head))
                }
            };
            if sent.is_some() {
                return sent;
            }
        }
        None
    }

    fn transmit_raw(&mut self, raw: Out, head: &mut Vec<u8>) -> Option<Transmit> {
        let Out::Raw { flow, bytes, close } = raw else { return None };
        self.raws = self.raws.saturating_sub(1);
        let open = self.connections.is_known(&flow);
        let transmit = open.then(|| {
            head.extend_from_slice(&bytes);
            Transmit { id: TransmitId(Sent::Response), flow, head_len: bytes.len(), body: Bytes::new() }
        });
        self.recycle(bytes);
        if close
            && open
            && let Some(stream) = flow.stream
        {
            self.io.push_back(Io::Close { stream });
        }
        transmit
    }

    /// The next deadline of a transaction.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        earliest(self.clients.next_timer(), self.servers.next_timer())
    }

    /// Fires what is due, within the limit of one wake-up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.keep_alive_timeout(now);
        for _ in 0..self.config.limits.timers_per_wakeup.max(1) {
            let client = self.clients.next_timer().filter(|at| *at <= now);
            let server = self.servers.next_timer().filter(|at| *at <= now);
            match (client, server) {
                (None, None) => return,
                (Some(client), Some(server)) if server < client => self.server_timeout(now),
                (None, Some(_)) => self.server_timeout(now),
                (Some(_), _) => self.client_timeout(now),
            }
        }
    }
}
