//! How many watchers, accepted and undecided, each source address has.

use core::net::IpAddr;

use super::Agent;
use super::flows::FlowId;
use crate::entropy::Entropy;
use crate::parts::PartedTable;

/// Counts by source address, port aside. An address with none is not kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(PartedTable<(IpAddr, u32)>);

fn hash(entropy: &Entropy, source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(ip) => entropy.hash_words(&[u64::from(ip.to_bits())]),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            entropy.hash_words(&[(bits >> 64) as u64, (bits & u128::from(u64::MAX)) as u64])
        }
    }
}

impl Sources {
    pub(crate) fn count(&self, entropy: &Entropy, source: IpAddr) -> u32 {
        self.0.find(hash(entropy, source), |(ip, _)| *ip == source).map_or(0, |(_, count)| *count)
    }

    pub(crate) fn enter(&mut self, entropy: &Entropy, source: IpAddr) {
        let hash_of = hash(entropy, source);
        match self.0.find_mut(hash_of, |(ip, _)| *ip == source) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => {
                self.0.insert_unique(hash_of, (source, 1), |(ip, _)| hash(entropy, *ip));
            }
        }
    }

    pub(crate) fn leave(&mut self, entropy: &Entropy, source: IpAddr) {
        let Some(mut entry) = self.0.find_entry(hash(entropy, source), |(ip, _)| *ip == source) else { return };
        let count = &mut entry.get_mut().1;
        *count = count.saturating_sub(1);
        if *count == 0 {
            entry.remove();
        }
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> (usize, u32) {
        (self.0.iter().count(), self.0.iter().map(|(_, count)| *count).sum())
    }
}

impl Agent {
    /// A watcher more that came on `flow`.
    pub(super) fn enter_source(&mut self, flow: FlowId) {
        if let Some(record) = self.flows.get(flow) {
            self.sources.enter(&self.entropy, record.flow.remote.ip());
        }
    }

    /// A watcher less that came on `flow`.
    pub(super) fn leave_source(&mut self, flow: FlowId) {
        if let Some(record) = self.flows.get(flow) {
            self.sources.leave(&self.entropy, record.flow.remote.ip());
        }
    }
}
