//! Connections between nodes: bytes in order, cut as it pleases the network.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::rng::Rng;
use crate::wire::Transport;
use crate::{Flow, Instant, StreamId};

/// Some bytes on their way to one side of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    stream: u64,
    side: usize,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
struct Side {
    node: usize,
    local: SocketAddr,
    remote: SocketAddr,
    open: bool,
    /// It was told that the stream is closed.
    told: bool,
    blocked: bool,
    /// When the last byte that is on its way to it arrives.
    latest: Instant,
    /// Bytes that were sent to it, and that have arrived.
    sent: u64,
    arrived: u64,
    /// Whole messages on their way, and where they end.
    messages: VecDeque<(u64, Bytes)>,
}

#[derive(Debug)]
struct Stream {
    sides: [Side; 2],
    cut: bool,
}

/// All connections, by number. Side 0 has connected to side 1.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    list: BTreeMap<u64, Stream>,
    last: u64,
}

impl Streams {
    pub(crate) const fn id(stream: u64, side: usize) -> StreamId {
        StreamId(stream.wrapping_mul(2).wrapping_add(side as u64))
    }

    pub(crate) const fn number(id: StreamId) -> u64 {
        id.0 / 2
    }

    fn place(&mut self, id: StreamId) -> Option<(u64, usize, &mut Stream)> {
        let side = usize::from(id.0 % 2 == 1);
        let number = Self::number(id);
        self.list.get_mut(&number).map(|stream| (number, side, stream))
    }

    /// A node connects, from a port that its system chooses, to another.
    pub(crate) fn connect(&mut self, (from, local): (usize, SocketAddr), (to, remote): (usize, SocketAddr)) -> u64 {
        self.last = self.last.saturating_add(1);
        let port = u16::try_from(self.last % 16_384).unwrap_or(0).saturating_add(49_152);
        let local = SocketAddr::new(local.ip(), port);
        let side = |node, local, remote| Side {
            node,
            local,
            remote,
            open: false,
            told: false,
            blocked: false,
            latest: Instant::ZERO,
            sent: 0,
            arrived: 0,
            messages: VecDeque::new(),
        };
        let sides = [side(from, local, remote), side(to, remote, local)];
        self.list.insert(self.last, Stream { sides, cut: false });
        self.last
    }

    /// One side learns that the stream is open.
    pub(crate) fn open(&mut self, stream: u64, side: usize) -> Option<Flow> {
        let found = self.list.get_mut(&stream).filter(|stream| !stream.cut)?;
        let place = found.sides.get_mut(side)?;
        place.open = true;
        Some(Flow::stream(Transport::Tcp, place.local, place.remote, Self::id(stream, side)))
    }

    pub(crate) fn local(&self, stream: u64, side: usize) -> Option<SocketAddr> {
        self.list.get(&stream)?.sides.get(side).map(|side| side.local)
    }

    /// A stream as a node sees it; one to itself it sees from both sides.
    pub(crate) fn flows(&self, stream: u64, node: usize) -> Vec<Flow> {
        let found = self.list.get(&stream).filter(|stream| !stream.cut);
        let sides = found.into_iter().flat_map(|found| found.sides.iter().enumerate());
        let own = sides.filter(|(_, side)| side.node == node && side.open);
        own.map(|(at, side)| Flow::stream(Transport::Tcp, side.local, side.remote, Self::id(stream, at))).collect()
    }

    pub(crate) fn node_of(&self, stream: u64, side: usize) -> Option<usize> {
        self.list.get(&stream)?.sides.get(side).map(|side| side.node)
    }

    /// One side would not have the stream: it is not told that it is closed.
    pub(crate) fn forget_side(&mut self, stream: u64, side: usize) {
        if let Some(side) = self.list.get_mut(&stream).and_then(|stream| stream.sides.get_mut(side)) {
            side.open = false;
        }
    }

    /// A message is written; `arrive` gets its chunks.
    pub(crate) fn write(
        &mut self,
        id: StreamId,
        at: Instant,
        mut bytes: Bytes,
        rng: &mut Rng,
        mut arrive: impl FnMut(Instant, Chunk),
    ) {
        let Some((stream, from, found)) = self.place(id) else { return };
        let side = 1usize.saturating_sub(from);
        let Some(to) = found.sides.get_mut(side).filter(|_| !found.cut) else { return };
        to.sent = to.sent.saturating_add(bytes.len() as u64);
        to.messages.push_back((to.sent, bytes.clone()));
        while !bytes.is_empty() {
            let len = if rng.chance(100) { rng.below(bytes.len() as u64).saturating_add(1) } else { u64::MAX };
            let part = bytes.split_to(usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len()));
            to.latest = at.max(to.latest + Duration::from_micros(10));
            arrive(to.latest, Chunk { stream, side, bytes: part });
        }
    }

    /// A chunk has arrived: at which node, on which stream, and the messages
    /// that it completes.
    pub(crate) fn deliver(&mut self, chunk: &Chunk) -> Option<(usize, StreamId, Vec<Bytes>)> {
        let found = self.list.get_mut(&chunk.stream).filter(|stream| !stream.cut)?;
        let side = found.sides.get_mut(chunk.side)?;
        side.arrived = side.arrived.saturating_add(chunk.bytes.len() as u64);
        let mut messages = Vec::new();
        while let Some((end, _)) = side.messages.front()
            && *end <= side.arrived
        {
            messages.extend(side.messages.pop_front().map(|(_, message)| message));
        }
        Some((side.node, Self::id(chunk.stream, chunk.side), messages))
    }

    pub(crate) fn block(&mut self, id: StreamId) -> Option<(u64, usize)> {
        let (number, at, stream) = self.place(id)?;
        let side = stream.sides.get_mut(at).filter(|side| side.open && !side.blocked)?;
        side.blocked = true;
        Some((number, at))
    }

    pub(crate) fn unblock(&mut self, stream: u64, side: usize) -> Option<(usize, StreamId)> {
        let found = self.list.get_mut(&stream).filter(|stream| !stream.cut)?;
        let place = found.sides.get_mut(side).filter(|side| side.blocked)?;
        place.blocked = false;
        Some((place.node, Self::id(stream, side)))
    }

    /// No byte passes any more.
    pub(crate) fn cut(&mut self, stream: u64) {
        if let Some(stream) = self.list.get_mut(&stream) {
            stream.cut = true;
        }
    }

    /// One side learns that the stream is closed.
    pub(crate) fn close(&mut self, stream: u64, side: usize) -> Option<(usize, StreamId)> {
        let found = self.list.get_mut(&stream)?;
        let place = found.sides.get_mut(side).filter(|side| side.open && !side.told)?;
        place.told = true;
        let node = place.node;
        if found.sides.iter().all(|side| side.told || !side.open) {
            self.list.remove(&stream);
        }
        Some((node, Self::id(stream, side)))
    }
}
