//! Bytes read as choices, from the front: small mutations of the input stay
//! small mutations of what is done.

use std::time::Duration;

use sip_events::Instant;

/// What is left of the input. Past its end every choice is the first one.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Up to 255 bytes as they stand.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }

    /// A number near a boundary, or any.
    pub(crate) fn number(&mut self) -> u32 {
        const NEAR: [u32; 15] =
            [0, 1, 2, 3, 5, 30, 60, 600, 3600, 86_400, 1 << 31, (1 << 31) - 1, u32::MAX, u32::MAX - 1, 4_294_968];
        match self.below(NEAR.len() + 1) {
            at if at < NEAR.len() => NEAR[at],
            _ => u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    pub(crate) fn duration(&mut self) -> Duration {
        const STEPS: [u64; 12] = [0, 1, 499, 500, 501, 1_000, 4_000, 31_999, 32_000, 600_000, 3_600_000, 90_000_000];
        match self.below(STEPS.len() + 3) {
            at if at < STEPS.len() => Duration::from_millis(STEPS[at]),
            12 => Duration::MAX,
            13 => Duration::from_nanos(1),
            _ => Duration::from_secs(u64::from(self.number())),
        }
    }

    pub(crate) fn maybe_number(&mut self) -> Option<u32> {
        if self.yes() { Some(self.number()) } else { None }
    }

    pub(crate) fn maybe_duration(&mut self) -> Option<Duration> {
        if self.yes() { Some(self.duration()) } else { None }
    }

    /// A step of the clock: mostly to what is due, sometimes far, sometimes back.
    pub(crate) fn moment(&mut self, now: Instant, due: Option<Instant>) -> Instant {
        match self.below(8) {
            0..=4 => due.unwrap_or(now).max(now),
            5 => now.saturating_sub(self.duration()),
            _ => now.saturating_add(self.duration()),
        }
    }
}
