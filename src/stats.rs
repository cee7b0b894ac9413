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
    /// Transmissions of NOTIFYs withheld from addresses without proof
    /// ([`Policy::unproven`](crate::Policy::unproven)).
    pub withheld: u64,
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

    /// Takes over the counts of `other`, which starts anew.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        // Every field by name: one that is missing here would be lost.
        let Self {
            requests,
            responses,
            requests_sent,
            responses_sent,
            retransmissions,
            withheld,
            clock_went_back,
            tolerated,
            dropped,
        } = &*other;
        let any = requests | responses | requests_sent | responses_sent;
        let any = any | retransmissions | withheld | clock_went_back | tolerated;
        // It is asked after each call, and seldom is there anything.
        if dropped.iter().fold(any, |any, count| any | count) == 0 {
            return;
        }
        let other = core::mem::take(other);
        let mine = [
            (&mut self.requests, other.requests),
            (&mut self.responses, other.responses),
            (&mut self.requests_sent, other.requests_sent),
            (&mut self.responses_sent, other.responses_sent),
            (&mut self.retransmissions, other.retransmissions),
            (&mut self.withheld, other.withheld),
            (&mut self.clock_went_back, other.clock_went_back),
            (&mut self.tolerated, other.tolerated),
        ];
        for (count, more) in mine.into_iter().chain(self.dropped.iter_mut().zip(other.dropped)) {
            *count = count.wrapping_add(more);
        }
    }

    /// Messages dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let at = DropReason::ALL.iter().position(|r| *r == reason);
        at.and_then(|at| self.dropped.get(at)).copied().unwrap_or(0)
    }
}
