//! Interned flows: each is stored once, counts who uses it, and knows whether
//! it can take more.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};

use super::list::List;
use super::message::Subject;
use crate::entropy::Entropy;
use crate::flow::Flow;
use crate::id::Arena;
use crate::parts::PartedTable;
use crate::wire::Transport;

/// An interned flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowId(pub(crate) u32);

/// A flow as it is kept. There may be as many as watchers, and most are IPv4
/// datagrams.
#[derive(Debug, Clone)]
enum Path {
    V4 {
        transport: Transport,
        local: SocketAddrV4,
        remote: SocketAddrV4,
    },
    Other(Box<Flow>),
    /// With those who use the connection; some have left it since.
    Stream(Box<(Flow, Vec<Subject>)>),
}

impl Path {
    fn new(flow: Flow) -> Self {
        match (flow.stream, flow.local, flow.remote) {
            (Some(_), ..) => Self::Stream(Box::new((flow, Vec::new()))),
            (None, SocketAddr::V4(local), SocketAddr::V4(remote)) => {
                Self::V4 { transport: flow.transport, local, remote }
            }
            (None, ..) => Self::Other(Box::new(flow)),
        }
    }

    const fn flow(&self) -> Flow {
        match self {
            Self::V4 { transport, local, remote } => Flow {
                transport: *transport,
                local: SocketAddr::V4(*local),
                remote: SocketAddr::V4(*remote),
                stream: None,
            },
            Self::Other(flow) => **flow,
            Self::Stream(stream) => stream.0,
        }
    }

    fn is(&self, flow: &Flow) -> bool {
        match (self, flow) {
            (
                Self::V4 { transport, local, remote },
                Flow { transport: t, local: SocketAddr::V4(l), remote: SocketAddr::V4(r), stream: None },
            ) => (transport, local, remote) == (t, l, r),
            (Self::V4 { .. }, _) => false,
            (Self::Other(own), flow) => **own == *flow,
            (Self::Stream(own), flow) => own.0 == *flow,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct FlowRecord {
    path: Path,
    /// Records that name this flow.
    uses: u32,
    /// The driver cannot write to it at the moment.
    pub(crate) blocked: bool,
    /// Counted as used once, so that it is remembered to be blocked.
    held: bool,
    /// The connection closed.
    pub(crate) gone: bool,
    /// NOTIFYs sent to it that are younger than T1 and unanswered.
    pub(crate) in_window: u32,
    /// Watchers that wait for room in the window, or for writability.
    pub(crate) waiting: List,
}

const _: () = assert!(size_of::<FlowRecord>() <= 40);

impl FlowRecord {
    pub(crate) const fn flow(&self) -> Flow {
        self.path.flow()
    }

    pub(crate) fn is(&self, flow: &Flow) -> bool {
        self.path.is(flow)
    }

    /// Who uses a connection; nobody for datagrams.
    pub(crate) fn users(&self) -> &[Subject] {
        match &self.path {
            Path::Stream(stream) => &stream.1,
            _ => &[],
        }
    }

    pub(crate) fn users_mut(&mut self) -> Option<&mut Vec<Subject>> {
        match &mut self.path {
            Path::Stream(stream) => Some(&mut stream.1),
            _ => None,
        }
    }

    /// As many users as may be listed before those who left are taken off.
    pub(crate) fn most_users(&self) -> usize {
        (self.uses as usize).saturating_mul(2).max(16)
    }
}

/// Flows by value, each stored once.
#[derive(Debug, Clone)]
pub(crate) struct Flows {
    records: Arena<FlowRecord>,
    index: PartedTable<u32>,
}

fn hash(entropy: &Entropy, flow: &Flow) -> u64 {
    let transport = (flow.transport as u64) << 48;
    if let (SocketAddr::V4(local), SocketAddr::V4(remote), None) = (flow.local, flow.remote, flow.stream) {
        let word = |address: SocketAddrV4| u64::from(address.ip().to_bits()) << 16 | u64::from(address.port());
        return entropy.hash_words(&[word(local), word(remote) | transport]);
    }
    let address = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => [1, u64::from(ip.to_bits())],
        IpAddr::V6(ip) => {
            ip.octets().as_chunks().0.try_into().map_or([0, 0], |halves: [[u8; 8]; 2]| halves.map(u64::from_be_bytes))
        }
    };
    let ([a, b], [c, d]) = (address(flow.local), address(flow.remote));
    let ports = u64::from(flow.local.port()) << 16 | u64::from(flow.remote.port());
    let stream = flow.stream.map_or(0, |s| s.0.wrapping_add(1));
    entropy.hash_words(&[a, b, c, d, ports | transport, stream])
}

impl Flows {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { records: Arena::new(capacity), index: PartedTable::new() }
    }

    pub(crate) fn find(&self, entropy: &Entropy, flow: &Flow) -> Option<FlowId> {
        self.find_hashed(hash(entropy, flow), flow)
    }

    fn find_hashed(&self, hash: u64, flow: &Flow) -> Option<FlowId> {
        let same = |slot: &u32| self.records.at(*slot).is_some_and(|r| r.is(flow));
        self.index.find(hash, same).map(|slot| FlowId(*slot))
    }

    /// The id of `flow`, counted as used once more; `None` when the table is
    /// full.
    pub(crate) fn intern(&mut self, entropy: &Entropy, flow: Flow) -> Option<FlowId> {
        let hash_of = hash(entropy, &flow);
        if let Some(id) = self.find_hashed(hash_of, &flow) {
            let record = self.records.at_mut(id.0)?;
            record.uses = record.uses.saturating_add(1);
            return Some(id);
        }
        let record = FlowRecord {
            path: Path::new(flow),
            uses: 1,
            blocked: false,
            held: false,
            gone: false,
            in_window: 0,
            waiting: List::default(),
        };
        let slot = self.records.insert_with(|_| record)?.slot;
        let records = &self.records;
        let rehash = |slot: &u32| records.at(*slot).map_or(0, |r| hash(entropy, &r.flow()));
        self.index.insert_unique(hash_of, slot, rehash);
        Some(FlowId(slot))
    }

    /// One record less names `id`; the last one frees it.
    pub(crate) fn release(&mut self, entropy: &Entropy, id: FlowId) {
        let Some(record) = self.records.at_mut(id.0) else { return };
        record.uses = record.uses.saturating_sub(1);
        if record.uses > 0 {
            return;
        }
        let hash = hash(entropy, &record.flow());
        if let Some(entry) = self.index.find_entry(hash, |slot| *slot == id.0) {
            entry.remove();
        }
        self.records.remove(id.0);
    }

    /// Remembers that `flow` is blocked, used or not; nothing if the table is
    /// full.
    pub(crate) fn block(&mut self, entropy: &Entropy, flow: Flow) {
        let known = self.find(entropy, &flow).filter(|id| self.get(*id).is_some_and(|record| record.held));
        let Some(id) = known.or_else(|| self.intern(entropy, flow)) else { return };
        if let Some(record) = self.records.at_mut(id.0) {
            record.blocked = true;
            record.held = true;
        }
    }

    /// The opposite of [`block`](Self::block), before its watchers are let go on.
    pub(crate) fn unblock(&mut self, id: FlowId) {
        if let Some(record) = self.records.at_mut(id.0) {
            record.blocked = false;
        }
    }

    /// Forgets what [`block`](Self::block) remembered.
    pub(crate) fn drop_hold(&mut self, entropy: &Entropy, id: FlowId) {
        if let Some(record) = self.records.at_mut(id.0)
            && core::mem::replace(&mut record.held, false)
        {
            self.release(entropy, id);
        }
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&FlowRecord> {
        self.records.at(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut FlowRecord> {
        self.records.at_mut(id.0)
    }

    pub(crate) fn enter_window(&mut self, id: FlowId) {
        if let Some(record) = self.records.at_mut(id.0) {
            record.in_window = record.in_window.saturating_add(1);
        }
    }

    pub(crate) fn leave_window(&mut self, id: FlowId) {
        if let Some(record) = self.records.at_mut(id.0) {
            record.in_window = record.in_window.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> u32 {
        self.records.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &FlowRecord)> {
        self.records.iter().map(|(id, record)| (id.slot, record))
    }

    /// How often `id` is named by records of others.
    #[cfg(test)]
    pub(crate) fn uses(&self, id: FlowId) -> u32 {
        self.records.at(id.0).map_or(0, |record| record.uses.saturating_sub(u32::from(record.held)))
    }
}
