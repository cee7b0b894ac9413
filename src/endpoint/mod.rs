//! The endpoint: bytes in, bytes out. It owns framing, transactions, flows and
//! the location of servers, and drives an [`Agent`] with what they carry.

mod answer;
mod client;
mod commands;
mod connections;
mod core;
mod down;
mod keep_alive;
mod keys;
mod locate;
mod no_stream;
mod remotes;
mod resolver;
mod respond;
mod seats;
mod server;
mod snapshot;
mod unproven;
mod ways;

use ::core::net::SocketAddr;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::core::{Core, Up};
use crate::Instant;
use crate::agent::{Agent, OutRequest, Outgoing};
use crate::config::Config;
use crate::entropy::Seed;
use crate::error::{Handled, Misuse};
use crate::event::{Event, ObjectId, TimerKind};
use crate::flow::{Flow, StreamId};
use crate::io::{
    Answer, ConnectFailure, ConnectId, Io, QueryId, Sent, StreamInfo, StreamSummary, Transmit, TransmitId,
};
use crate::package::Packages;
use crate::stats::Stats;
use crate::time::earliest;
use crate::wire::{Frame, Framer, FramingLost, HostPort, Transport, UriBuf};

/// A whole SIP user agent for event notification, without sockets and clocks.
///
/// After every `handle_*` or command, call [`poll_transmit`](Self::poll_transmit)
/// and [`poll_event`](Self::poll_event) until `None`, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input. Inputs never fail
/// for what a peer sent; an error is always the driver's own mistake.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sip_events::wire::Transport;
/// use sip_events::{Config, Endpoint, Instant, Packages, Seed, Subscribe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Arc::new(Config::new("sip:ann@192.0.2.1")?);
/// let mut endpoint = Endpoint::new(config, Packages::standard(), &Seed([7; 32]), Instant::ZERO);
/// endpoint.add_local(Transport::Udp, "192.0.2.1:5060".parse()?, None, None)?;
/// endpoint.subscribe(Instant::ZERO, Subscribe::new("sip:bob@192.0.2.2", "presence")?)?;
///
/// let mut first = Vec::new();
/// let transmit = endpoint.poll_transmit(Instant::ZERO, &mut first).ok_or("nothing to send")?;
/// assert_eq!(transmit.flow.remote, "192.0.2.2:5060".parse()?);
/// assert!(first.starts_with(b"SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\n"));
/// assert_eq!(endpoint.poll_transmit(Instant::ZERO, &mut Vec::new()), None);
///
/// // Nobody answers: after T1 the same bytes go out again (RFC 3261 section 17.1.2.2).
/// let later = Instant::ZERO + Duration::from_millis(500);
/// assert_eq!(endpoint.poll_timeout(), Some(later));
/// endpoint.handle_timeout(later);
/// let mut again = Vec::new();
/// let _ = endpoint.poll_transmit(later, &mut again).ok_or("nothing to send")?;
/// assert_eq!(first, again);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) agent: Agent,
    core: Core,
    /// The field lines of the answer to OPTIONS.
    capabilities: Vec<u8>,
    /// A request that waits for room among the client transactions.
    stalled: Option<Box<(OutRequest, Vec<u8>)>>,
    /// [`Event::Drained`] came, but not all is sent.
    drained: bool,
    now: Instant,
}

impl Endpoint {
    /// An endpoint without subscriptions. `seed` makes its identifiers
    /// unpredictable; `now` is the first moment it knows.
    pub fn new(config: Arc<Config>, packages: Packages, seed: &Seed, now: Instant) -> Self {
        Self {
            capabilities: answer::capabilities(&packages),
            core: Core::new(config.clone(), seed),
            agent: Agent::new(config, packages, seed, now),
            stalled: None,
            drained: false,
            now,
        }
    }

    /// Tells where we receive: Via and Contact come from here. `bind` is the
    /// address of the socket, as it stands in [`Flow::local`]; `advertised` the
    /// one that peers see, if it is another; `gruu` replaces the Contact. The
    /// first address that fits is the one requests leave from. An address that
    /// is given again is replaced.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] for a wildcard address or port 0 without
    /// `advertised`; [`Misuse::Limit`] when there are too many.
    pub fn add_local(
        &mut self,
        transport: Transport,
        bind: SocketAddr,
        advertised: Option<HostPort>,
        gruu: Option<UriBuf>,
    ) -> Result<(), Misuse> {
        self.agent.add_local(transport, bind, advertised.as_ref(), gruu)?;
        self.core.locals = self.agent.locals.clone();
        Ok(())
    }

    /// One whole message that came on `flow`: a datagram, a WebSocket message,
    /// or what a [`Framer`] returned. A stream has to be announced by
    /// [`handle_stream_opened`](Self::handle_stream_opened) whoever frames it:
    /// nothing is sent along one that is not known.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: &[u8]) -> Handled {
        let now = self.advance(now);
        let handled = self.dispatch(now, &flow, message);
        self.settle(now);
        handled
    }

    /// Bytes that came on an open stream, cut as the system pleased.
    ///
    /// # Errors
    /// [`FramingLost`] when they cannot be cut into messages any more: an
    /// [`Io::Close`] follows, and what comes on that stream is ignored.
    pub fn handle_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        chunk: &[u8],
    ) -> Result<StreamSummary, FramingLost> {
        let now = self.advance(now);
        let mut summary = StreamSummary::default();
        let limits = self.core.framer_limits();
        let slot = self.core.connections.slot(stream);
        let Some(connection) = slot.and_then(|slot| self.core.connections.at_mut(slot)) else {
            return Ok(summary);
        };
        let (Some(flow), false) = (connection.flow(), connection.closing) else { return Ok(summary) };
        let mut framer = connection.framer.take().unwrap_or_else(|| Box::new(Framer::new(limits)));
        framer.push(now, chunk);
        let lost = loop {
            match framer.next_message() {
                Ok(None) => break None,
                Ok(Some(Frame::Message(message))) => match self.dispatch(now, &flow, message) {
                    Handled::Consumed => summary.consumed = summary.consumed.saturating_add(1),
                    Handled::Dropped(_) => summary.dropped = summary.dropped.saturating_add(1),
                    Handled::NotOurs => summary.not_ours = summary.not_ours.saturating_add(1),
                },
                Ok(Some(Frame::Ping)) => {
                    summary.pings = summary.pings.saturating_add(1);
                    let mut pong = self.core.buffer();
                    pong.extend_from_slice(b"\r\n");
                    self.core.queue_raw(flow, pong, false);
                }
                Ok(Some(Frame::Pong)) => {
                    // Two CRLFs together are a ping, even where a pong is awaited.
                    let alone = !framer.pending().starts_with(b"\r");
                    if alone && slot.is_some_and(|slot| self.core.pong(slot)) {
                        framer.end_ping();
                    }
                }
                Err(lost) => break Some(lost),
            }
        };
        if let Some(lost) = lost {
            let reason = alloc::format!("{lost}");
            self.core.answer_lost(&flow, framer.lost_head(), lost.status_hint(), &reason);
        }
        if let Some(connection) = slot.and_then(|slot| self.core.connections.at_mut(slot)) {
            connection.closing |= lost.is_some();
            connection.framer = lost.is_none().then_some(framer);
        }
        self.settle(now);
        lost.map_or(Ok(summary), Err)
    }

    /// A stream is open: on our demand (`connect`), or accepted from a peer.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if `flow` names no stream or another transport than
    /// was asked for; [`Misuse::WrongState`] if the stream is known already;
    /// [`Misuse::StaleId`] for a `connect` that is not under way, or that
    /// nobody waits for any more; [`Misuse::Limit`] above
    /// [`Limits::streams`](crate::Limits::streams). After both an
    /// [`Io::Close`] follows.
    pub fn handle_stream_opened(&mut self, now: Instant, connect: Option<ConnectId>, flow: Flow) -> Result<(), Misuse> {
        let now = self.advance(now);
        let result = self.core.stream_opened(now, connect, flow);
        if result.is_ok() {
            self.agent.flow_opened(flow);
        }
        self.settle(now);
        result
    }

    /// A stream has closed, whoever closed it.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] for a stream that is not known.
    pub fn handle_stream_closed(&mut self, now: Instant, stream: StreamId) -> Result<(), Misuse> {
        let now = self.advance(now);
        let slot = self.core.connections.slot(stream).ok_or(Misuse::StaleId)?;
        let flow = self.core.connections.at(slot).and_then(|connection| connection.flow());
        // The agent has to know before its requests fail.
        if let Some(flow) = flow {
            self.flow_gone(now, flow);
        }
        self.core.stream_closed(now, slot);
        self.settle(now);
        Ok(())
    }

    /// A connection that [`Io::Connect`] asked for cannot be had.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] if it is not under way.
    pub fn handle_connect_failed(
        &mut self,
        now: Instant,
        connect: ConnectId,
        _why: ConnectFailure,
    ) -> Result<(), Misuse> {
        let now = self.advance(now);
        let result = self.core.connect_failed(now, connect);
        self.settle(now);
        result
    }

    /// A transmit could not be sent, and its transport says so for good. (A
    /// datagram that was only dropped counts as lost: say nothing.)
    pub fn handle_transmit_failed(&mut self, now: Instant, id: TransmitId) {
        let now = self.advance(now);
        match id.0 {
            Sent::Request { slot, nonce } => self.core.request_not_sent(now, slot, nonce),
            // As good as lost: who asks again gets it again.
            Sent::Response => {}
        }
        self.settle(now);
    }

    /// The network reports that `flow` leads nowhere: host, network, port or
    /// protocol unreachable (RFC 3261 section 18.4). Looks at the requests
    /// that went there; do not pass on what only may come true later, such as
    /// an exceeded time to live.
    pub fn handle_unreachable(&mut self, now: Instant, flow: Flow) {
        let now = self.advance(now);
        self.core.unreachable(now, &flow);
        self.settle(now);
    }

    /// The answer to [`Io::Resolve`].
    ///
    /// # Errors
    /// [`Misuse::StaleId`] if no such question is open.
    pub fn handle_resolved(&mut self, now: Instant, query: QueryId, answer: Answer<'_>) -> Result<(), Misuse> {
        let now = self.advance(now);
        let waiters = self.core.resolver.answer(now, query.0, answer).ok_or(Misuse::StaleId)?;
        for slot in waiters {
            self.core.client_resolved(now, slot);
        }
        self.settle(now);
        Ok(())
    }

    /// Whether a stream takes more bytes: while it does not, nothing is yielded
    /// for it, and its watchers get the newest state afterwards.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] for a stream that is not open.
    pub fn set_writable(&mut self, now: Instant, stream: StreamId, writable: bool) -> Result<(), Misuse> {
        let now = self.advance(now);
        let slot = self.core.connections.slot(stream).ok_or(Misuse::StaleId)?;
        let flow = self.core.connections.at(slot).and_then(|connection| connection.flow()).ok_or(Misuse::StaleId)?;
        self.core.set_blocked(slot, !writable);
        self.agent.set_blocked(flow, !writable);
        self.settle(now);
        Ok(())
    }

    /// Fires what is due at `now`, at most
    /// [`Limits::timers_per_wakeup`](crate::Limits::timers_per_wakeup) timers
    /// of transactions and as many of subscriptions.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        self.core.handle_timeout(now);
        self.settle(now);
        self.agent.handle_timeout(now);
    }

    /// The next message to send: its head is appended to `head`, its body is
    /// in the [`Transmit`].
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Transmit> {
        let told = now;
        let now = self.advance(now);
        let idle = !self.core.has_output() && self.stalled.is_none() && told == now;
        let transmit = self.next_transmit(now, head);
        // Nothing came, and nothing was counted.
        if !(idle && transmit.is_none()) {
            self.count();
        }
        transmit
    }

    fn next_transmit(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Transmit> {
        loop {
            let transmit = self.core.poll_ready(now, head);
            self.hand_up(now);
            if transmit.is_some() {
                return transmit;
            }
            let full = self.core.clients.is_full();
            if !full && let Some((request, lines)) = self.stalled.take().map(|stalled| *stalled) {
                // It may have waited for too long, or have been given up (INT-10).
                if self.agent.awaits(&request.id) {
                    self.core.request(now, request, lines);
                }
                continue;
            }
            let mut lines = self.core.buffer();
            let outgoing = match self.stalled {
                Some(_) => self.agent.poll_answer(&mut lines),
                None => self.agent.poll_outgoing(now, &mut lines),
            };
            match outgoing {
                None => {
                    self.core.recycle(lines);
                    return None;
                }
                Some(Outgoing::Request(request)) if full => {
                    self.stalled = Some(Box::new((request, lines)));
                }
                Some(Outgoing::Request(request)) => self.core.request(now, request, lines),
                Some(Outgoing::Response(response)) => {
                    self.core.respond(now, &response, &lines);
                    self.core.recycle(lines);
                }
                Some(Outgoing::Abandon(id)) => {
                    self.core.abandon(&id);
                    self.core.recycle(lines);
                }
            }
        }
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(io) = self.core.io.pop_front() {
            return Some(Event::Io(io));
        }
        let drained = ::core::mem::take(&mut self.drained);
        if !drained && !self.agent.has_event() {
            return None;
        }
        match if drained { Some(Event::Drained) } else { self.agent.poll_event() } {
            // Whoever stops at it would lose the last answers.
            Some(Event::Drained) if self.core.has_output() || self.core.servers.unsent > 0 => {
                self.drained = true;
                None
            }
            event => event,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the
    /// latest; the last `now` while something waits to be polled.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.core.has_output() || !self.core.io.is_empty() || (self.drained && self.core.servers.unsent == 0) {
            return Some(self.now);
        }
        // What the agent has to send cannot be taken while a request waits.
        let agent = match self.stalled {
            Some(_) if self.core.clients.is_full() && !self.agent.has_answer() => {
                self.agent.next_timer().map(|(at, _)| at)
            }
            Some(_) => Some(self.now),
            None => self.agent.poll_timeout(),
        };
        earliest(agent, earliest(self.core.next_timer(), self.core.next_keep_alive())).map(|at| at.max(self.now))
    }

    /// The earliest timer and what it is for, whatever waits to be polled: what
    /// a driver that cannot write sleeps until.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, TimerKind)> {
        let transaction = self.core.next_timer().map(|at| (at, TimerKind::Transaction));
        let keep_alive = self.core.next_keep_alive().map(|at| (at, TimerKind::KeepAlive));
        let earlier =
            [transaction, keep_alive, self.agent.next_timer()].into_iter().flatten().min_by_key(|(at, _)| *at);
        earlier.map(|(at, kind)| (at.max(self.now), kind))
    }

    /// Counters.
    pub const fn stats(&self) -> &Stats {
        self.agent.stats()
    }

    /// How a stream does, for closing those that are idle or that never finish
    /// a message.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] for a stream that is not known.
    pub fn stream_info(&self, stream: StreamId) -> Result<StreamInfo, Misuse> {
        let slot = self.core.connections.slot(stream);
        let connection = slot.and_then(|slot| self.core.connections.at(slot)).ok_or(Misuse::StaleId)?;
        let framer = connection.framer.as_deref();
        Ok(StreamInfo {
            last_activity: framer.and_then(Framer::last_activity),
            unfinished_since: framer.and_then(Framer::waiting_since),
            requests: u32::try_from(connection.clients.len()).unwrap_or(u32::MAX),
        })
    }

    /// Open transactions: of our requests, and of requests of peers.
    pub const fn transactions(&self) -> (u32, u32) {
        (self.core.clients.len(), self.core.servers.len())
    }

    /// Time never goes back: an earlier `now` counts as the latest one.
    fn advance(&mut self, now: Instant) -> Instant {
        if now < self.now {
            self.core.stats.clock_went_back = self.core.stats.clock_went_back.wrapping_add(1);
        }
        self.now = self.now.max(now);
        self.now
    }

    /// The agent learns that a connection is gone, and the driver what that means.
    fn flow_gone(&mut self, now: Instant, flow: Flow) {
        let (subscriptions, watchers) = self.agent.handle_flow_gone(now, flow);
        if subscriptions > 0 || watchers > 0 {
            self.core.io.push_back(Io::FlowGone { flow, subscriptions, watchers });
        }
    }

    /// The address `from` is ours no more, and `to`, which was given to
    /// [`add_local`](Self::add_local), is in its place; see
    /// [`Agent::rehome`](crate::Agent::rehome). Connections from the host
    /// `from` have failed with it, unless it is that of `to`: an [`Io::Close`]
    /// follows for each.
    ///
    /// # Errors
    /// Those of [`Agent::rehome`](crate::Agent::rehome).
    pub fn rehome(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Result<(), Misuse> {
        let now = self.advance(now);
        if from.ip() != to.ip() && self.agent.can_rehome(to).is_ok() {
            let on_it = |flow: Option<Flow>| flow.is_some_and(|flow| flow.local.ip() == from.ip());
            let list = &self.core.connections.list;
            let dead: Vec<u32> = list.iter().filter(|(_, c)| on_it(c.flow())).map(|(id, _)| id.slot).collect();
            for slot in dead {
                self.core.fail_stream(now, slot);
            }
            self.settle(now);
        }
        let result = self.agent.rehome(now, from, to);
        if result.is_ok() {
            self.core.locals = self.agent.locals.clone();
            self.core.rehome_kept(from, to);
        }
        self.settle(now);
        result
    }

    /// See [`Agent::users_of`](crate::Agent::users_of).
    pub fn users_of(&self, flow: &Flow) -> Vec<ObjectId> {
        self.agent.users_of(flow)
    }

    /// Hands the agent what became of its requests, and counts.
    fn settle(&mut self, now: Instant) {
        self.hand_up(now);
        self.count();
    }

    fn count(&mut self) {
        self.agent.stats.absorb(&mut self.core.stats);
    }

    fn hand_up(&mut self, now: Instant) {
        while let Some(up) = self.core.up.pop_front() {
            match up {
                Up::NoResponse(id, why) => self.agent.handle_no_response(now, id, why),
                Up::Located(id, flow) => self.agent.set_destination(id, flow),
                Up::FlowGone(flow) => self.flow_gone(now, flow),
                Up::Unanswered(token) => self.agent.handle_unanswered(token),
            }
        }
    }
}

#[cfg(test)]
mod tests;
