//! Nonces that say themselves when and by whom they were issued, and the
//! bounded memory of those that are in use.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::entropy::{Entropy, Seed};

/// Digits of a nonce.
pub(super) const NONCE_LEN: usize = 32;

/// A nonce with which somebody has authenticated.
#[derive(Debug, Clone, Copy)]
struct Live {
    stamp: u64,
    /// The counts seen, relative to the highest one.
    seen: u64,
    highest: u32,
}

const _: () = assert!(size_of::<Live>() <= 64);

/// Issues and recognises nonces. An unused one costs no memory.
///
/// A nonce is the moment of its issue, which is unique, and a keyed hash over
/// that and the realm; the moment is masked so that it tells nobody how long
/// we run or how many were issued.
#[derive(Debug, Clone)]
pub(crate) struct Nonces {
    key: Entropy,
    /// The stamp issued last.
    last: u64,
    /// Nonces up to this stamp that are not in the table are forgotten: stale.
    floor: u64,
    /// Sorted by stamp.
    live: VecDeque<Live>,
    limit: usize,
}

impl Nonces {
    pub(crate) fn new(seed: &Seed, limit: u32, now: Instant) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self { key: Entropy::new(seed, 3), last: now.as_nanos(), floor: now.as_nanos(), live: VecDeque::new(), limit }
    }

    pub(super) fn issue(&mut self, now: Instant, realm: &[u8]) -> [u8; NONCE_LEN] {
        self.last = now.as_nanos().max(self.last.saturating_add(1));
        let mac = self.mac(self.last, realm);
        let masked = self.last ^ self.mask(mac);
        let mut text = [0; NONCE_LEN];
        let value = (u128::from(masked) << 64) | u128::from(mac);
        for (digit, shift) in text.iter_mut().rev().zip((0u32..).step_by(4)) {
            let nibble = usize::try_from((value >> shift) & 15).unwrap_or(0);
            *digit = b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0');
        }
        text
    }

    /// A number that changes with every issue and every use.
    pub(super) fn fingerprint(&self) -> u64 {
        let first = self.key.hash(&[&self.last.to_be_bytes(), &self.floor.to_be_bytes()]);
        self.live.iter().fold(first, |sum, live| {
            let Live { stamp, seen, highest } = live;
            self.key.hash(&[&sum.to_be_bytes(), &stamp.to_be_bytes(), &seen.to_be_bytes(), &highest.to_be_bytes()])
        })
    }

    fn mac(&self, stamp: u64, realm: &[u8]) -> u64 {
        self.key.hash(&[b"nonce", realm, &stamp.to_be_bytes()])
    }

    fn mask(&self, mac: u64) -> u64 {
        self.key.hash(&[b"mask", &mac.to_be_bytes()])
    }

    /// A value that is secret and constant.
    pub(super) fn constant(&self, what: &[u8]) -> u64 {
        self.key.hash(&[b"constant", what])
    }

    /// The stamp of a nonce of ours for `realm` that lives at `now`.
    pub(super) fn read(&self, text: &[u8], realm: &[u8], now: Instant, life: Duration) -> Option<u64> {
        if text.len() != NONCE_LEN || text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let value = text.iter().try_fold(0u128, |value, digit| {
            char::from(*digit).to_digit(16).map(|nibble| (value << 4) | u128::from(nibble))
        })?;
        let mac = u64::try_from(value & u128::from(u64::MAX)).ok()?;
        let stamp = u64::try_from(value >> 64).ok()? ^ self.mask(mac);
        let genuine = self.mac(stamp, realm) == mac && stamp <= self.last;
        (genuine && self.age(stamp, now) <= life).then_some(stamp)
    }

    #[allow(clippy::unused_self)]
    pub(super) fn age(&self, stamp: u64, now: Instant) -> Duration {
        now.saturating_since(Instant::from_nanos(stamp))
    }

    /// Whether [`take`](Self::take) would succeed.
    pub(super) fn is_fresh(&self, stamp: u64, count: u32, reordering: bool) -> bool {
        match self.live.binary_search_by_key(&stamp, |live| live.stamp) {
            Ok(at) => self.live.get(at).is_some_and(|live| live.after(count, reordering).is_some()),
            Err(at) => stamp > self.floor && (at > 0 || self.live.len() < self.limit) && count > 0,
        }
    }

    /// Notes the use of a nonce; `false` if it is a replay or forgotten.
    pub(super) fn take(&mut self, stamp: u64, count: u32, reordering: bool, now: Instant, life: Duration) -> bool {
        while let Some(oldest) = self.live.front()
            && self.age(oldest.stamp, now) > life
        {
            self.forget_oldest();
        }
        if !self.is_fresh(stamp, count, reordering) {
            return false;
        }
        match self.live.binary_search_by_key(&stamp, |live| live.stamp) {
            Ok(at) => {
                if let Some(live) = self.live.get_mut(at)
                    && let Some(after) = live.after(count, reordering)
                {
                    *live = after;
                }
            }
            Err(mut at) => {
                if self.live.len() >= self.limit {
                    self.forget_oldest();
                    at = at.saturating_sub(1);
                }
                self.live.insert(at, Live { stamp, seen: 1, highest: count });
            }
        }
        true
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.live.pop_front() {
            self.floor = self.floor.max(oldest.stamp);
        }
    }

    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.live.len()
    }
}

impl Live {
    /// The record once `count` is used, unless that is a replay.
    fn after(self, count: u32, reordering: bool) -> Option<Self> {
        if count > self.highest {
            let by = count.saturating_sub(self.highest);
            let seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            return Some(Self { seen, highest: count, ..self });
        }
        let below = self.highest.saturating_sub(count);
        let bit = 1u64.checked_shl(below).filter(|_| reordering && count > 0)?;
        (self.seen & bit == 0).then_some(Self { seen: self.seen | bit, ..self })
    }
}
