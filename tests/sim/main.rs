//! Runs simulated worlds: `cargo test --release --features testing --test sim -- SEED`
//! repeats one, without a seed a range of them runs.
//!
//! `SIM_SEEDS`, `SIM_FIRST`, `SIM_HOURS` and `SIM_JOBS` set how many, from
//! which, how long, and on how many cores; `SIM_SAVE=DIR` writes the ladder and the
//! capture of a failing run there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sip_events::testing::{Fault, Figures, Scenario, Violation};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

struct Failure {
    seed: u64,
    what: String,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let hours = Duration::from_secs(3600 * setting("SIM_HOURS", 6));
    if let Some(arg) = args.next() {
        return match arg.parse() {
            Ok(seed) => replay(seed, hours),
            // The name of another test: not ours to run.
            Err(_) => ExitCode::SUCCESS,
        };
    }
    let optimised = !cfg!(debug_assertions);
    let seeds = setting("SIM_SEEDS", if optimised { 500 } else { 16 });
    let first = setting("SIM_FIRST", 1);
    let next = AtomicU64::new(first);
    let sum = Mutex::new((Figures::default(), Duration::ZERO, Vec::<Failure>::new()));
    let began = now();
    std::thread::scope(|scope| {
        for _ in 0..setting("SIM_JOBS", 2) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let found = one(seed, hours);
                    let mut sum = sum.lock().unwrap();
                    match found {
                        Ok((figures, time, violation)) => {
                            sum.0.merge(&figures);
                            sum.1 += time;
                            sum.2.extend(violation.map(|v| Failure { seed, what: v.to_string() }));
                        }
                        Err(panic) => sum.2.push(Failure { seed, what: panic }),
                    }
                }
            });
        }
    });
    let elapsed = now() - began;
    let (figures, time, mut failures) = sum.into_inner().unwrap();
    println!(
        "{seeds} seeds, {} simulated hours in {:.1} s: {} events ({:.0} per second), {} messages, {} comparisons",
        time.as_secs() / 3600,
        elapsed.as_secs_f64(),
        figures.events,
        figures.events as f64 / elapsed.as_secs_f64(),
        figures.messages,
        figures.compared,
    );
    let faults: Vec<String> = Fault::ALL.iter().map(|f| format!("{f:?} {}", figures.faults.get(*f))).collect();
    println!("faults: {}", faults.join(", "));
    failures.sort_by_key(|failure| failure.seed);
    for failure in &failures {
        println!("seed {}: {}\n    {}", failure.seed, failure.what, command(failure.seed));
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::disallowed_methods)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn command(seed: u64) -> String {
    let hours = setting("SIM_HOURS", 6);
    let hours = if hours == 6 { String::new() } else { format!("SIM_HOURS={hours} ") };
    format!("{hours}cargo test --release --features testing --test sim -- {seed}")
}

fn one(seed: u64, hours: Duration) -> Result<(Figures, Duration, Option<Violation>), String> {
    catch_unwind(AssertUnwindSafe(|| {
        let outcome = Scenario::new(seed, hours).run(false);
        (outcome.figures, outcome.time, outcome.violation)
    }))
    .map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => format!("panic: {text}"),
        Err(_) => "panic".to_string(),
    })
}

/// One seed, with all that can be said of it.
fn replay(seed: u64, hours: Duration) -> ExitCode {
    let scenario = Scenario::new(seed, hours);
    println!("seed {seed}: {:#?}", scenario.options);
    let outcome = scenario.run(false);
    println!(
        "{} operations, {} s, {} events, {} messages, trace {:016x}",
        scenario.steps.len(),
        outcome.time.as_secs(),
        outcome.figures.events,
        outcome.figures.messages,
        outcome.figures.trace,
    );
    let Some(violation) = outcome.violation else {
        println!("no rule broken");
        save(&scenario);
        return ExitCode::SUCCESS;
    };
    println!("{violation}");
    let shrunk = scenario.shrink(&violation, 400);
    println!("{} of {} operations are enough:", shrunk.steps.len(), scenario.steps.len());
    for step in &shrunk.steps {
        println!("  after {:?}: {:?}", step.gap, step.op);
    }
    let outcome = shrunk.run(true);
    if let (Some(violation), Some(log)) = (&outcome.violation, &outcome.log) {
        println!("{violation}");
        let last = log.clone().since(violation.at.saturating_sub(Duration::from_secs(setting("SIM_LADDER", 120))));
        println!("{}", last.ladder());
    }
    save(&shrunk);
    println!("{}", command(seed));
    ExitCode::FAILURE
}

fn save(scenario: &Scenario) {
    let Ok(dir) = std::env::var("SIM_SAVE") else { return };
    let Some(log) = scenario.run(true).log else { return };
    let base = std::path::Path::new(&dir).join(format!("sim-{}", scenario.seed));
    std::fs::write(base.with_extension("txt"), log.ladder()).unwrap();
    std::fs::write(base.with_extension("pcap"), log.pcap()).unwrap();
    println!("saved {}.txt and .pcap", base.display());
}
