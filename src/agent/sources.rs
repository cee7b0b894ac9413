//! How many watchers, accepted and undecided, each source address has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Agent;
use super::flows::FlowId;
use crate::entropy::Entropy;
use crate::parts::PartedTable;

/// Counts by source address, port aside. An address with none is not kept.
/// There may be as many as watchers, and most are IPv4 addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    v4: PartedTable<(Ipv4Addr, u32)>,
    v6: PartedTable<(Ipv6Addr, u32)>,
}

/// What one subscriber may have: an IPv4 address, or an IPv6 network of 64
/// bits. An IPv4 address that came in IPv6 form is one.
fn share(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

trait Key: Copy + PartialEq {
    fn hash(self, entropy: &Entropy) -> u64;
}

impl Key for Ipv4Addr {
    fn hash(self, entropy: &Entropy) -> u64 {
        entropy.hash_words(&[u64::from(self.to_bits())])
    }
}

impl Key for Ipv6Addr {
    fn hash(self, entropy: &Entropy) -> u64 {
        let bits = self.to_bits();
        entropy.hash_words(&[(bits >> 64) as u64, (bits & u128::from(u64::MAX)) as u64])
    }
}

fn count<K: Key>(table: &PartedTable<(K, u32)>, entropy: &Entropy, key: K) -> u32 {
    table.find(key.hash(entropy), |(other, _)| *other == key).map_or(0, |(_, count)| *count)
}

fn enter<K: Key>(table: &mut PartedTable<(K, u32)>, entropy: &Entropy, key: K) {
    let hash = key.hash(entropy);
    match table.find_mut(hash, |(other, _)| *other == key) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => table.insert_unique(hash, (key, 1), |(key, _)| key.hash(entropy)),
    }
}

fn leave<K: Key>(table: &mut PartedTable<(K, u32)>, entropy: &Entropy, key: K) {
    let Some(mut entry) = table.find_entry(key.hash(entropy), |(other, _)| *other == key) else { return };
    let count = &mut entry.get_mut().1;
    *count = count.saturating_sub(1);
    if *count == 0 {
        entry.remove();
    }
}

impl Sources {
    pub(crate) fn count(&self, entropy: &Entropy, source: IpAddr) -> u32 {
        match share(source) {
            IpAddr::V4(ip) => count(&self.v4, entropy, ip),
            IpAddr::V6(ip) => count(&self.v6, entropy, ip),
        }
    }

    pub(crate) fn enter(&mut self, entropy: &Entropy, source: IpAddr) {
        match share(source) {
            IpAddr::V4(ip) => enter(&mut self.v4, entropy, ip),
            IpAddr::V6(ip) => enter(&mut self.v6, entropy, ip),
        }
    }

    pub(crate) fn leave(&mut self, entropy: &Entropy, source: IpAddr) {
        match share(source) {
            IpAddr::V4(ip) => leave(&mut self.v4, entropy, ip),
            IpAddr::V6(ip) => leave(&mut self.v6, entropy, ip),
        }
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> (usize, u32) {
        let counts = || self.v4.iter().map(|(_, count)| *count).chain(self.v6.iter().map(|(_, count)| *count));
        (counts().count(), counts().sum())
    }
}

impl Agent {
    /// A watcher more that came on `flow`.
    pub(super) fn enter_source(&mut self, flow: FlowId) {
        if let Some(record) = self.flows.get(flow) {
            self.sources.enter(&self.entropy, record.flow().remote.ip());
        }
    }

    /// A watcher less that came on `flow`.
    pub(super) fn leave_source(&mut self, flow: FlowId) {
        if let Some(record) = self.flows.get(flow) {
            self.sources.leave(&self.entropy, record.flow().remote.ip());
        }
    }
}
