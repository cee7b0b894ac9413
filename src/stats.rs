//! Counters: what was handled, what was dropped and why.

use crate::error::DropReason;

/// Counts since construction; each wraps after 2^64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that took effect.
    pub requests: u64,
    /// Responses that took effect.
    pub responses: u64,
    /// Requests sent, retransmissions aside.
    pub requests_sent: u64,
    /// Responses sent, retransmissions aside.
    pub responses_sent: u64,
    /// Retransmissions sent, of requests and responses.
    pub retransmissions: u64,
    /// Calls whose `now` lay before an earlier one; it was clamped.
    pub clock_went_back: u64,
    /// Violations by peers that were tolerated, such as a duration longer than
    /// asked (INT-3).
    pub tolerated: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Stats {
    pub(crate) fn drop(&mut self, reason: DropReason) {
        if let Some(at) = DropReason::ALL.iter().position(|r| *r == reason)
            && let Some(count) = self.dropped.get_mut(at)
        {
            *count = count.wrapping_add(1);
        }
    }

    /// Messages dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let at = DropReason::ALL.iter().position(|r| *r == reason);
        at.and_then(|at| self.dropped.get(at)).copied().unwrap_or(0)
    }
}
