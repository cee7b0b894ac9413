//! Endpoints in the simulated world, under operations that the input picks; the
//! world checks its rules, the reference model among them, after every step.

use sip_events::testing::Scenario;
use sip_events::testing::arbitrary::{Arbitrary, Unstructured};

/// One world.
pub(crate) fn world(data: &[u8]) {
    let Ok(scenario) = Scenario::arbitrary(&mut Unstructured::new(data)) else { return };
    let outcome = scenario.run(false);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
