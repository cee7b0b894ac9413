//! Addresses that have not shown that they want our NOTIFYs: what came from
//! them, and what went to them over datagrams.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use hashbrown::HashTable;

use crate::codec::{Reader, Writer};
use crate::entropy::Entropy;
use crate::error::RestoreError;

/// Bytes that may be sent for each byte received, the first NOTIFY aside.
const FACTOR: u64 = 3;

#[derive(Debug, Clone)]
struct Record {
    address: IpAddr,
    received: u64,
    sent: u64,
    /// The one NOTIFY in full has gone out.
    first: bool,
    /// It has answered: nothing is counted any more.
    answered: bool,
}

fields!(Record { address, received, sent, first, answered });

/// What is known of addresses, port aside. The oldest is forgotten when there
/// is no room: then a first NOTIFY may go out once more, but never a
/// retransmission.
#[derive(Debug, Clone)]
pub(super) struct Unproven {
    records: HashTable<Record>,
    order: VecDeque<IpAddr>,
    capacity: usize,
}

fn hash(entropy: &Entropy, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(ip) => entropy.hash_words(&[u64::from(ip.to_bits())]),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            entropy.hash_words(&[(bits >> 64) as u64, (bits & u128::from(u64::MAX)) as u64])
        }
    }
}

impl Unproven {
    pub(super) fn new(capacity: u32) -> Self {
        Self { records: HashTable::new(), order: VecDeque::new(), capacity: capacity.max(1) as usize }
    }

    pub(super) fn put(&self, w: &mut Writer<'_>, entropy: &Entropy) {
        w.word(self.order.len() as u64);
        for address in &self.order {
            if let Some(record) = self.records.find(hash(entropy, *address), |record| record.address == *address) {
                w.put(record);
            }
        }
    }

    /// What [`put`](Self::put) wrote, in an empty table; the last of too many
    /// are kept.
    pub(super) fn read(&mut self, r: &mut Reader<'_>, entropy: &Entropy) -> Result<(), RestoreError> {
        for _ in 0..r.word()? {
            let record: Record = r.get()?;
            if self.find(entropy, record.address).is_none() {
                self.insert(entropy, record);
            }
        }
        Ok(())
    }

    fn find(&mut self, entropy: &Entropy, address: IpAddr) -> Option<&mut Record> {
        self.records.find_mut(hash(entropy, address), |record| record.address == address)
    }

    fn insert(&mut self, entropy: &Entropy, record: Record) {
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
            && let Ok(entry) = self.records.find_entry(hash(entropy, oldest), |record| record.address == oldest)
        {
            entry.remove();
        }
        self.order.push_back(record.address);
        let rehash = |record: &Record| hash(entropy, record.address);
        self.records.insert_unique(hash(entropy, record.address), record, rehash);
    }

    /// A datagram of `len` bytes came from an address that is known.
    pub(super) fn received(&mut self, entropy: &Entropy, address: IpAddr, len: usize) {
        if self.records.is_empty() {
            return;
        }
        if let Some(record) = self.find(entropy, address) {
            record.received = record.received.saturating_add(len as u64);
        }
    }

    /// A datagram of `len` bytes came that may lead to NOTIFYs.
    pub(super) fn asked(&mut self, entropy: &Entropy, address: IpAddr, len: usize) {
        if self.find(entropy, address).is_none() {
            let received = len as u64;
            self.insert(entropy, Record { address, received, sent: 0, first: false, answered: false });
        }
    }

    /// Somebody at `address` has got a NOTIFY of ours and answered it.
    pub(super) fn answered(&mut self, entropy: &Entropy, address: IpAddr) {
        if let Some(record) = self.find(entropy, address) {
            record.answered = true;
        }
    }

    /// Whether a NOTIFY of `len` bytes, for the first time or again, may go to
    /// `address`; it is counted if so.
    pub(super) fn admits(&mut self, entropy: &Entropy, address: IpAddr, len: usize, again: bool) -> bool {
        let Some(record) = self.find(entropy, address) else {
            if !again {
                self.insert(entropy, Record { address, received: 0, sent: 0, first: true, answered: false });
            }
            return !again;
        };
        if record.answered {
            return true;
        }
        if !again && !core::mem::replace(&mut record.first, true) {
            return true;
        }
        let sent = record.sent.saturating_add(len as u64);
        if sent > record.received.saturating_mul(FACTOR) {
            return false;
        }
        record.sent = sent;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seed;

    const V: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn one_in_full_then_three_for_one() {
        let entropy = Entropy::new(&Seed([1; 32]), 2);
        let mut table = Unproven::new(2);
        table.asked(&entropy, V, 326);
        assert!(table.admits(&entropy, V, 5000, false));
        assert!(table.admits(&entropy, V, 500, true));
        assert!(!table.admits(&entropy, V, 500, true), "1000 > 978");
        table.received(&entropy, V, 8);
        assert!(table.admits(&entropy, V, 500, false));
        assert!(!table.admits(&entropy, V, 3, false));
        table.answered(&entropy, V);
        assert!(table.admits(&entropy, V, 60_000, true));
    }

    #[test]
    fn a_third_party_gets_one() {
        let entropy = Entropy::new(&Seed([1; 32]), 2);
        let mut table = Unproven::new(2);
        assert!(table.admits(&entropy, V, 500, false));
        assert!(!table.admits(&entropy, V, 500, true));
        assert!(!table.admits(&entropy, V, 500, false));
        // Two others push it out: no retransmission gains by that.
        for last in [8, 9] {
            table.asked(&entropy, IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, last)), 10);
        }
        assert!(!table.admits(&entropy, V, 1, true));
        assert!(table.admits(&entropy, V, 500, false));
        assert_eq!((table.records.len(), table.order.len()), (2, 2));
    }
}
