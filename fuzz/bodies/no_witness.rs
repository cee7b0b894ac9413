//! Stands in for the reference model where the crate is built without it.

use sip_events::{Endpoint, Event, Flow, Instant};

#[derive(Clone, Default)]
pub(crate) struct Witness;

impl Witness {
    pub(crate) fn delivered(&mut self, _: Instant, _: &[u8], _: bool, _: bool) {}
    pub(crate) fn unsure(&mut self, _: Instant) {}
    pub(crate) fn sent(&mut self, _: Instant, _: &Flow, _: &[u8]) {}
    pub(crate) fn told(&mut self, _: &Event) {}
    pub(crate) fn compare(&mut self, _: Instant, _: &Endpoint) -> u64 {
        0
    }
}
