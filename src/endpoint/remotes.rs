//! What an error of the network concerns: the requests that went there.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::core::Core;
use super::seats::Home;
use crate::Instant;
use crate::entropy::Entropy;
use crate::error::Failure;
use crate::flow::Flow;

/// Open transactions on each list of [`Remotes`] when all there may be are
/// open, on average.
const PER_LIST: u32 = 64;

/// Client transactions that are open on datagrams, by a hash of where those
/// go, so that an error of the network finds them.
#[derive(Debug, Clone)]
pub(super) struct Remotes {
    /// None until the first is used.
    lists: Vec<Vec<u32>>,
    /// A power of two.
    count: u32,
}

impl Remotes {
    pub(super) fn new(capacity: u32) -> Self {
        Self { lists: Vec::new(), count: capacity.div_ceil(PER_LIST).next_power_of_two().min(1 << 16) }
    }

    fn home(&self, entropy: &Entropy, remote: SocketAddr) -> Home {
        let address = match remote.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let [high, low] = [address >> 64, address & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
        let hash = entropy.hash_words(&[low, high ^ u64::from(remote.port())]);
        Home::Remote(u32::try_from(hash & u64::from(self.count.saturating_sub(1))).unwrap_or(0))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }

    pub(super) fn list(&mut self, at: u32) -> Option<&mut Vec<u32>> {
        if self.lists.is_empty() {
            self.lists.resize(self.count as usize, Vec::new());
        }
        self.lists.get_mut(at as usize)
    }
}

impl Core {
    /// Puts the transaction in `slot` where an error of the network about
    /// `remote` looks for it.
    pub(super) fn sit_by_remote(&mut self, slot: u32, remote: SocketAddr) {
        let home = self.clients.remotes.home(&self.entropy, remote);
        self.sit(slot, home);
    }

    /// Those that may be open on datagrams to `remote`, in no order.
    pub(super) fn by_remote(&mut self, remote: SocketAddr) -> Vec<u32> {
        let home = self.clients.remotes.home(&self.entropy, remote);
        self.seats(home).cloned().unwrap_or_default()
    }

    /// What goes along `flow` does not reach its far end.
    pub(super) fn unreachable(&mut self, now: Instant, flow: &Flow) {
        let mut slots = match flow.stream {
            None => self.by_remote(flow.remote),
            Some(stream) => {
                let connection = self.connections.slot(stream).and_then(|slot| self.connections.at(slot));
                connection.map(|connection| connection.clients.clone()).unwrap_or_default()
            }
        };
        slots.sort_unstable();
        let way = |flow: &Flow| (flow.transport, flow.remote, flow.stream);
        for slot in slots {
            let Some(client) = self.clients.list.at(slot) else { continue };
            let open = client.machine.is_some() && !client.is_completed();
            if open && client.flow.as_ref().map(way) == Some(way(flow)) {
                self.client_failed(now, slot, Failure::Transport);
            }
        }
    }
}
