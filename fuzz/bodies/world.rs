//! Endpoints in the simulated world, under operations that the input picks; the
//! world compares them with its reference after every step.

use std::time::Duration;

use sip_events::testing::{Choices, Options, Rng, Scenario, Step, Weights};

use super::choices::Choices as Bytes;

impl Choices for Bytes<'_> {
    fn below(&mut self, n: u32) -> u32 {
        let value = if n > 256 {
            u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
        } else {
            u32::from(self.byte())
        };
        value % n.max(1)
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }
}

/// One world of up to 60 operations.
pub(crate) fn world(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = u64::from(bytes.byte());
    let mut scenario = Scenario::new(seed, Duration::ZERO);
    scenario.options = Options::draw(&mut Rng::new(u64::from(bytes.byte())));
    let weights = Weights::default();
    scenario.steps.clear();
    while !bytes.is_empty() && scenario.steps.len() < 60 {
        let mut step = Step::draw(&mut bytes, &weights);
        step.gap = step.gap.min(Duration::from_secs(120));
        scenario.steps.push(step);
    }
    let outcome = scenario.run(false);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
