//! Streams: which are open, which are being opened, what waits for them.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use hashbrown::HashTable;

use super::core::{Core, Out};
use super::keep_alive::Keeper;
use crate::Instant;
use crate::entropy::Entropy;
use crate::error::{Failure, Misuse};
use crate::flow::{Flow, StreamId};
use crate::id::{Arena, RawId};
use crate::io::{ConnectId, Io};
use crate::parts::PartedTable;
use crate::wire::{Framer, FramerLimits, Transport};

/// A stream.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    /// What its certificate proved; empty for connections that we accepted.
    pub(super) server_name: Bytes,
    /// `None` while it is being opened.
    pub(super) flow: Option<Flow>,
    pub(super) framer: Option<Box<Framer>>,
    /// Framing is lost: nothing more is read, and it is being closed.
    pub(super) closing: bool,
    pub(super) blocked: bool,
    /// Client transactions that wait for it or are open on it, by slot.
    pub(super) clients: Vec<u32>,
    /// Server transactions whose response waits for it.
    pub(super) servers: Vec<RawId>,
    pub(super) parked: Parked,
    /// How it is kept open.
    pub(super) keeper: Option<Box<Keeper>>,
}

/// What waits for a stream to become writable.
#[derive(Debug, Clone, Default)]
pub(super) struct Parked {
    pub(super) queue: VecDeque<Out>,
    /// Those of which no transaction knows.
    pub(super) raws: u32,
}

/// Streams by slot, by the driver's number and by address.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    pub(super) list: Arena<Connection>,
    pub(super) by_stream: PartedTable<u32>,
    pub(super) by_remote: HashTable<u32>,
    /// How many are being opened, and how many may be: the rest is for peers.
    pub(super) opening: u32,
    pub(super) most_opening: u32,
    /// Those of them that nobody waits for any more.
    pub(super) unwanted: BTreeSet<u32>,
    /// For its keys only.
    pub(super) entropy: Entropy,
}

/// A way to a peer over a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Open(Flow),
    /// Wait for the connection in that slot.
    Opening(u32),
}

fn stream_hash(entropy: &Entropy, stream: StreamId) -> u64 {
    entropy.hash_words(&[stream.0])
}

fn remote_hash(entropy: &Entropy, transport: Transport, remote: SocketAddr) -> u64 {
    let port = remote.port().to_be_bytes();
    let token = transport.via_token().as_bytes();
    match remote.ip() {
        core::net::IpAddr::V4(ip) => entropy.hash(&[&ip.octets(), &port, token]),
        core::net::IpAddr::V6(ip) => entropy.hash(&[&ip.octets(), &port, token]),
    }
}

impl Connections {
    pub(super) fn new(capacity: u32, entropy: Entropy) -> Self {
        Self {
            list: Arena::new(capacity),
            by_stream: PartedTable::new(),
            by_remote: HashTable::new(),
            opening: 0,
            most_opening: capacity.div_ceil(2).max(1),
            unwanted: BTreeSet::new(),
            entropy,
        }
    }

    pub(super) fn slot(&self, stream: StreamId) -> Option<u32> {
        let same = |slot: &u32| self.list.at(*slot).is_some_and(|c| c.stream() == Some(stream));
        self.by_stream.find(stream_hash(&self.entropy, stream), same).copied()
    }

    pub(super) fn at(&self, slot: u32) -> Option<&Connection> {
        self.list.at(slot)
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.list.at_mut(slot)
    }

    fn of(&self, flow: &Flow) -> Option<u32> {
        self.slot(flow.stream?).filter(|slot| self.list.at(*slot).is_some_and(|c| c.flow == Some(*flow)))
    }

    /// Whether `flow` can be sent on: datagrams always.
    pub(super) fn is_open(&self, flow: &Flow) -> bool {
        flow.stream.is_none()
            || self.of(flow).and_then(|slot| self.list.at(slot)).is_some_and(|connection| !connection.closing)
    }

    /// Like [`is_open`](Self::is_open), but a stream that is being closed still
    /// takes the answer that says why.
    pub(super) fn is_known(&self, flow: &Flow) -> bool {
        flow.stream.is_none() || self.of(flow).is_some()
    }

    /// Where to leave what goes along `flow`, while that cannot be written to.
    pub(super) fn blocked_mut(&mut self, flow: &Flow) -> Option<&mut Parked> {
        flow.stream?;
        let slot = self.of(flow)?;
        self.list.at_mut(slot).filter(|connection| connection.blocked).map(|connection| &mut connection.parked)
    }

    /// A connection to `remote` that may be used for `server_name`, open ones
    /// before those being opened (3261-18.1.1-6).
    fn towards(&self, transport: Transport, remote: SocketAddr, server_name: &Bytes) -> Option<Way> {
        let key = remote_hash(&self.entropy, transport, remote);
        let usable = |connection: &Connection| {
            let proved = !transport.is_secure() || connection.server_name == *server_name;
            connection.transport == transport && connection.remote == remote && proved && !connection.closing
        };
        let mut best = None;
        for slot in self.by_remote.iter_hash(key) {
            let Some(connection) = self.list.at(*slot).filter(|c| usable(c)) else { continue };
            let way = connection.flow.map_or(Way::Opening(*slot), Way::Open);
            // The lowest slot among equals, whatever the order in the table.
            let rank = |way: &Way, slot: u32| (matches!(way, Way::Opening(_)), slot);
            if best.as_ref().is_none_or(|(old, at)| rank(&way, *slot) < rank(old, *at)) {
                best = Some((way, *slot));
            }
        }
        best.map(|(way, _)| way)
    }

    fn insert(&mut self, connection: Connection) -> Option<RawId> {
        let stream = connection.stream();
        let key = remote_hash(&self.entropy, connection.transport, connection.remote);
        let id = self.list.insert_with(|_| connection)?;
        if stream.is_none() {
            self.opening = self.opening.saturating_add(1);
        }
        let (list, entropy) = (&self.list, &self.entropy);
        self.by_remote.insert_unique(key, id.slot, |slot| {
            list.at(*slot).map_or(0, |c| remote_hash(entropy, c.transport, c.remote))
        });
        if let Some(stream) = stream {
            self.index_stream(stream, id.slot);
        }
        Some(id)
    }

    /// Builds the indices of streams that were restored.
    pub(super) fn index_all(&mut self) {
        let (list, entropy) = (&self.list, &self.entropy);
        for (id, c) in list.iter() {
            self.by_remote.insert_unique(remote_hash(entropy, c.transport, c.remote), id.slot, |slot| {
                list.at(*slot).map_or(0, |c| remote_hash(entropy, c.transport, c.remote))
            });
            if let Some(stream) = c.stream() {
                self.by_stream.insert_unique(stream_hash(entropy, stream), id.slot, |slot| {
                    list.at(*slot).and_then(Connection::stream).map_or(0, |stream| stream_hash(entropy, stream))
                });
            }
        }
    }

    /// One that was being opened is no more.
    fn opened(&mut self, slot: u32) {
        self.opening = self.opening.saturating_sub(1);
        self.unwanted.remove(&slot);
    }

    /// Somebody has begun, or ceased, to wait for one that may be opening.
    pub(super) fn note_waiters(&mut self, slot: u32) {
        let Some(connection) = self.list.at(slot).filter(|connection| connection.flow.is_none()) else { return };
        if connection.clients.is_empty() && connection.servers.is_empty() && !connection.closing {
            self.unwanted.insert(slot);
        } else {
            self.unwanted.remove(&slot);
        }
    }

    /// Makes room for one more that is opened; `false` if somebody waits for
    /// each of those under way.
    fn has_room(&mut self) -> bool {
        if self.opening < self.most_opening && !self.list.is_full() {
            return true;
        }
        let unwanted = self.unwanted.first().copied();
        unwanted.is_some_and(|slot| self.remove(slot).is_some())
    }

    /// The streams that cannot be written to.
    pub(super) fn blocked(&self) -> Vec<Flow> {
        self.list.iter().filter(|(_, c)| c.blocked).filter_map(|(_, c)| c.flow).collect()
    }

    fn index_stream(&mut self, stream: StreamId, slot: u32) {
        let (list, entropy) = (&self.list, &self.entropy);
        self.by_stream.insert_unique(stream_hash(entropy, stream), slot, |slot| {
            list.at(*slot).and_then(Connection::stream).map_or(0, |stream| stream_hash(entropy, stream))
        });
    }

    fn remove(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.list.remove(slot)?;
        if connection.flow.is_none() && !connection.closing {
            self.opened(slot);
        }
        let key = remote_hash(&self.entropy, connection.transport, connection.remote);
        if let Ok(found) = self.by_remote.find_entry(key, |s| *s == slot) {
            found.remove();
        }
        if let Some(stream) = connection.stream()
            && let Some(found) = self.by_stream.find_entry(stream_hash(&self.entropy, stream), |s| *s == slot)
        {
            found.remove();
        }
        Some(connection)
    }
}

impl Connection {
    fn new(transport: Transport, remote: SocketAddr, server_name: Bytes, flow: Option<Flow>) -> Self {
        Self {
            transport,
            remote,
            server_name,
            flow,
            framer: None,
            closing: false,
            blocked: false,
            clients: Vec::new(),
            servers: Vec::new(),
            parked: Parked::default(),
            keeper: None,
        }
    }

    pub(super) const fn flow(&self) -> Option<Flow> {
        self.flow
    }

    fn stream(&self) -> Option<StreamId> {
        self.flow?.stream
    }

    #[cfg(test)]
    pub(super) fn parked_len(&self) -> usize {
        self.parked.queue.len()
    }
}

impl Core {
    /// The way to `remote` over a stream, which is opened if need be; `None`
    /// if there is no room for one more.
    pub(super) fn connect(&mut self, transport: Transport, remote: SocketAddr, server_name: &Bytes) -> Option<Way> {
        if let Some(way) = self.connections.towards(transport, remote, server_name) {
            return Some(way);
        }
        if !self.connections.has_room() {
            return None;
        }
        let local = self.locals.towards(transport, remote).map(|local| local.bind);
        let connection = Connection::new(transport, remote, server_name.clone(), None);
        let id = self.connections.insert(connection)?;
        self.io.push_back(Io::Connect {
            connect: ConnectId(id),
            transport,
            local: local.filter(|bind| !bind.ip().is_unspecified()).map(|bind| SocketAddr::new(bind.ip(), 0)),
            remote,
            server_name: if transport.is_secure() { server_name.clone() } else { Bytes::new() },
        });
        Some(Way::Opening(id.slot))
    }

    /// A stream is open, on our demand or on the peer's.
    pub(super) fn stream_opened(&mut self, now: Instant, connect: Option<ConnectId>, flow: Flow) -> Result<(), Misuse> {
        let stream = flow.stream.ok_or(Misuse::BadValue)?;
        if self.connections.slot(stream).is_some() {
            return Err(Misuse::WrongState);
        }
        let Some(ConnectId(id)) = connect else {
            let connection = Connection::new(flow.transport, flow.remote, Bytes::new(), Some(flow));
            if self.connections.insert(connection).is_none() {
                self.io.push_back(Io::Close { stream });
                return Err(Misuse::Limit);
            }
            return Ok(());
        };
        let Some(connection) = self.connections.list.get_mut(id).filter(|c| c.flow.is_none()) else {
            self.io.push_back(Io::Close { stream });
            return Err(Misuse::StaleId);
        };
        if connection.transport != flow.transport {
            return Err(Misuse::BadValue);
        }
        // The table of addresses keeps the one that was asked for.
        connection.flow = Some(flow);
        let clients = connection.clients.clone();
        let servers = core::mem::take(&mut connection.servers);
        self.connections.opened(id.slot);
        self.connections.index_stream(stream, id.slot);
        self.keep_by_policy(now, id.slot);
        // A 2xx before the NOTIFY that follows it.
        for id in servers {
            self.server_goes(id, flow);
        }
        for slot in clients {
            self.client_goes(slot, flow);
        }
        Ok(())
    }

    /// A stream could not be opened: what waited for it takes another way.
    pub(super) fn connect_failed(&mut self, now: Instant, connect: ConnectId) -> Result<(), Misuse> {
        let connection =
            self.connections.list.get_mut(connect.0).filter(|c| c.flow.is_none()).ok_or(Misuse::StaleId)?;
        // Nobody waits for it once more while others leave it.
        connection.closing = true;
        let clients = connection.clients.clone();
        let (transport, remote) = (connection.transport, connection.remote);
        // Its place is for the next address that they try.
        self.connections.opened(connect.0.slot);
        for slot in clients {
            self.mark_down(now, slot, transport, remote, None);
            self.client_failed(now, slot, Failure::Transport);
        }
        if let Some(connection) = self.connections.remove(connect.0.slot) {
            for id in connection.servers {
                self.end_server(id.slot);
            }
        }
        Ok(())
    }

    /// A stream has closed: what was open on it has failed, what waited takes
    /// another way.
    pub(super) fn stream_closed(&mut self, now: Instant, slot: u32) {
        self.abandon_stream(now, slot);
        self.keepers.set(slot, None);
        self.connections.remove(slot);
    }

    /// Everything leaves a stream on which nothing comes or goes any more.
    pub(super) fn abandon_stream(&mut self, now: Instant, slot: u32) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        // Nobody takes this connection again while others leave it.
        connection.closing = true;
        let clients = connection.clients.clone();
        let parked = core::mem::take(&mut connection.parked);
        self.discard(parked);
        for client in clients {
            self.client_failed(now, client, Failure::Transport);
        }
    }

    /// The driver can, or cannot, write to a stream.
    pub(super) fn set_blocked(&mut self, slot: u32, blocked: bool) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        connection.blocked = blocked;
        if !blocked {
            let parked = core::mem::take(&mut connection.parked);
            self.unpark(parked);
        }
    }

    pub(super) fn framer_limits(&self) -> FramerLimits {
        FramerLimits { max_head: self.config.limits.stream_head as usize, max_body: self.config.limits.body as usize }
    }
}
