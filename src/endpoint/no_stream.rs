//! Addresses that took no connection when a request was too large for a
//! datagram (RFC 3261 section 18.1.1): for a while they are not asked again.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use hashbrown::HashTable;

use crate::Instant;
use crate::codec::{Reader, Writer};
use crate::entropy::Entropy;
use crate::error::RestoreError;

/// Most addresses that are remembered.
const CAPACITY: usize = 4_096;
/// How long.
const FOR: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy)]
struct Record {
    remote: SocketAddr,
    until: Instant,
}

fields!(Record { remote, until });

/// The addresses; the oldest makes room.
#[derive(Debug, Clone, Default)]
pub(super) struct NoStream {
    records: HashTable<Record>,
    order: VecDeque<SocketAddr>,
}

fn hash(entropy: &Entropy, remote: SocketAddr) -> u64 {
    let bits = match remote.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    entropy.hash_words(&[(bits >> 64) as u64, (bits & u128::from(u64::MAX)) as u64, u64::from(remote.port())])
}

impl NoStream {
    fn find(&mut self, entropy: &Entropy, remote: SocketAddr) -> Option<&mut Record> {
        self.records.find_mut(hash(entropy, remote), |record| record.remote == remote)
    }

    pub(super) fn has(&self, now: Instant, entropy: &Entropy, remote: SocketAddr) -> bool {
        let found = self.records.find(hash(entropy, remote), |record| record.remote == remote);
        found.is_some_and(|record| record.until > now)
    }

    /// No connection to `remote` could be had, or not in time.
    pub(super) fn mark(&mut self, now: Instant, entropy: &Entropy, remote: SocketAddr) {
        self.insert(entropy, Record { remote, until: now.saturating_add(FOR) });
    }

    fn insert(&mut self, entropy: &Entropy, record: Record) {
        if let Some(known) = self.find(entropy, record.remote) {
            *known = record;
            return;
        }
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
            && let Ok(entry) = self.records.find_entry(hash(entropy, oldest), |record| record.remote == oldest)
        {
            entry.remove();
        }
        self.order.push_back(record.remote);
        self.records.insert_unique(hash(entropy, record.remote), record, |record| hash(entropy, record.remote));
    }

    pub(super) fn put(&self, w: &mut Writer<'_>, entropy: &Entropy) {
        w.word(self.order.len() as u64);
        for remote in &self.order {
            if let Some(record) = self.records.find(hash(entropy, *remote), |record| record.remote == *remote) {
                w.put(record);
            }
        }
    }

    /// What [`put`](Self::put) wrote, in an empty table.
    pub(super) fn read(&mut self, r: &mut Reader<'_>, entropy: &Entropy) -> Result<(), RestoreError> {
        for _ in 0..r.word()? {
            let record: Record = r.get()?;
            self.insert(entropy, record);
        }
        Ok(())
    }
}
