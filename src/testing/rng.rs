//! The randomness of a simulated world: one number in, the same world out.

use core::time::Duration;

/// SplitMix64: small, fast, the same on every machine. Not for identifiers:
/// endpoints get a [`Seed`](crate::Seed) of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose values follow from `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next value, all 64 bits of it.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value below `n`; 0 for `n` of 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next_u64() as u128).wrapping_mul(n as u128) >> 64) as u64
    }

    /// Whether something with a chance of `permille` in a thousand happens.
    pub const fn chance(&mut self, permille: u16) -> bool {
        permille > 0 && self.below(1000) < permille as u64
    }

    /// A duration below `limit`.
    pub fn within(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos))
    }

    /// One of `items`; `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(usize::try_from(self.below(items.len() as u64)).unwrap_or(0))
    }

    /// A generator of its own for one part of the world, so that one part's
    /// draws do not move another's.
    pub const fn split(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, drawn)| *byte = drawn);
        }
    }

    /// 32 bytes for an endpoint.
    pub fn seed(&mut self) -> crate::Seed {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        crate::Seed(bytes)
    }
}
