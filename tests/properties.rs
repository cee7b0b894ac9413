//! Worlds decoded from generated inputs, by the function that decodes a
//! fuzzer's: whatever is done, the rules hold and every node believes what the
//! reference model says. A failing case is made smaller, and printed with what is left.
//!
//! `PROPERTY_CASES` and `PROPERTY_FIRST` set how many cases, and from which.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sip_events::testing::arbitrary::{Arbitrary, Unstructured};
use sip_events::testing::{Figures, Invariant, Rng, Scenario, Violation};

/// Bytes of an input: room for about sixty operations.
const INPUT: u64 = 700;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn cases() -> std::ops::Range<u64> {
    let first = setting("PROPERTY_FIRST", 0);
    first..first + setting("PROPERTY_CASES", if cfg!(debug_assertions) { 40 } else { 2_000 })
}

/// The case's scenario: long and short inputs alike.
fn scenario(case: u64) -> Scenario {
    let mut rng = Rng::new(case);
    let mut bytes = vec![0; usize::try_from(rng.below(INPUT)).unwrap()];
    rng.fill(&mut bytes);
    Scenario::arbitrary(&mut Unstructured::new(&bytes)).unwrap()
}

/// Runs it; a panic is one more violation.
fn run(scenario: &Scenario) -> (Option<Violation>, Figures) {
    let mut world = scenario.build();
    let panic = catch_unwind(AssertUnwindSafe(|| scenario.drive(&mut world))).err();
    let panic = panic.map(|_| Violation::new(Invariant::NoPanic, world.now(), 0, String::from("see above")));
    (panic.or_else(|| world.violation().cloned()), world.figures())
}

fn fails(case: u64, scenario: &Scenario, violation: &Violation) -> ! {
    let small = scenario.shrink_with(violation, 200, |scenario| run(scenario).0);
    let mut text =
        format!("case {case}: {violation}\n{} operations are enough, in {:?}\n", small.steps.len(), small.options);
    for step in &small.steps {
        text.push_str(&format!("  after {:?}: {:?}\n", step.gap, step.op));
    }
    if let Some(log) = small.run(true).log {
        text.push_str(&log.ladder());
    }
    panic!("{text}");
}

#[test]
fn every_world_that_can_be_decoded_keeps_the_rules() {
    let mut sum = Figures::default();
    for case in cases() {
        let scenario = scenario(case);
        let (violation, figures) = run(&scenario);
        if let Some(violation) = violation {
            fails(case, &scenario, &violation);
        }
        sum.merge(&figures);
    }
    println!("{} events, {} comparisons with the model", sum.events, sum.believed);
    assert!(sum.believed > 1_000 && sum.compared > 100, "the worlds are too dull to show anything: {sum:?}");
}

/// A world follows from its scenario alone, and a scenario from its bytes.
#[test]
fn the_same_bytes_give_the_same_world() {
    let first = setting("PROPERTY_FIRST", 0);
    for case in first..first + 8 {
        let (one, other) = (scenario(case), scenario(case));
        assert_eq!(one, other);
        assert_eq!(run(&one).1, run(&other).1, "case {case}");
    }
}

/// Whatever an input is cut to, it can be carried out.
#[test]
fn every_part_of_an_input_is_a_world() {
    let mut bytes = [0; 64];
    Rng::new(1).fill(&mut bytes);
    for length in (0..bytes.len()).step_by(9) {
        let scenario = Scenario::arbitrary(&mut Unstructured::new(&bytes[..length])).unwrap();
        assert_eq!(run(&scenario).0, None, "{length} bytes");
    }
}
