//! Runs simulated worlds: `cargo test --release --features testing --test sim -- SEED`
//! repeats one, without a seed a range of them runs.
//!
//! `SIM_SEEDS`, `SIM_FIRST`, `SIM_HOURS` and `SIM_JOBS` set how many, from
//! which, how long, and on how many cores; `SIM_SAVE=DIR` writes the ladder and the
//! capture of a failing run there. `SIM_SHRINK` bounds the runs that look for a
//! smaller one, `SIM_LADDER` the seconds that are shown.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sip_events::testing::{Fault, Figures, Invariant, Log, Scenario, Violation};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let hours = Duration::from_secs(3600 * setting("SIM_HOURS", 6));
    std::panic::set_hook(Box::new(|info| PANIC.with(|text| *text.borrow_mut() = info.to_string())));
    a_panic_is_a_finding();
    match args.next().map(|arg| arg.parse()) {
        Some(Ok(seed)) => replay(seed, hours),
        // The name of another test: not ours to run.
        Some(Err(_)) => ExitCode::SUCCESS,
        None => swarm(hours),
    }
}

fn swarm(hours: Duration) -> ExitCode {
    let seeds = setting("SIM_SEEDS", if cfg!(debug_assertions) { 16 } else { 500 });
    let first = setting("SIM_FIRST", 1);
    let next = AtomicU64::new(first);
    let sum = Mutex::new((Figures::default(), Duration::ZERO, Vec::new()));
    let began = now();
    std::thread::scope(|scope| {
        for _ in 0..setting("SIM_JOBS", 2) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let run = run(&Scenario::new(seed, hours), false);
                    let mut sum = sum.lock().unwrap();
                    sum.0.merge(&run.figures);
                    sum.1 += run.time;
                    sum.2.extend(run.violation.map(|violation| (seed, violation)));
                }
            });
        }
    });
    let elapsed = now() - began;
    let (figures, time, mut failures) = sum.into_inner().unwrap();
    println!(
        "seeds {first} to {}: {} simulated hours in {:.1} s",
        first + seeds - 1,
        time.as_secs() / 3600,
        elapsed.as_secs_f64()
    );
    println!(
        "events {} ({:.0} per second), messages {}, restarts {}",
        figures.events,
        figures.events as f64 / elapsed.as_secs_f64(),
        figures.messages,
        figures.restarts,
    );
    println!(
        "documents compared {}, states arrived {}, compared beside a silent watcher {}, beliefs compared with the \
         model {}",
        figures.compared, figures.states, figures.beside, figures.believed
    );
    println!("transmissions withheld {}, watchers lost to that at most {}", figures.withheld, figures.unproven_lost);
    let faults: Vec<String> = Fault::ALL.iter().map(|f| format!("{f:?} {}", figures.faults.get(*f))).collect();
    println!("faults: {}", faults.join(", "));
    println!("trace {:016x}", figures.trace);
    failures.sort_by_key(|failure| failure.0);
    for (seed, violation) in &failures {
        println!("seed {seed}: {violation}\n    {}", command(*seed));
    }
    println!("{} of {seeds} seeds broke a rule", failures.len());
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

struct Run {
    violation: Option<Violation>,
    figures: Figures,
    time: Duration,
    log: Option<Log>,
}

/// Runs it; a panic is one more violation.
fn run(scenario: &Scenario, keep_log: bool) -> Run {
    let mut world = scenario.build();
    if keep_log {
        world.keep_log();
    }
    let start = world.now();
    let panic = caught(|| scenario.drive(&mut world));
    let violation = panic.map(|text| Violation::new(Invariant::NoPanic, world.now(), 0, text));
    let violation = violation.or_else(|| world.violation().cloned());
    Run { violation, figures: world.figures(), time: world.now() - start, log: world.log() }
}

thread_local! {
    /// What the last panic said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn caught(what: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(what)).err()?;
    drop(panic);
    Some(PANIC.with(|text| text.borrow().clone()))
}

/// What looks for panics is shown one.
fn a_panic_is_a_finding() {
    let found = caught(|| panic!("on purpose"));
    if found.is_none_or(|text| !text.contains("on purpose")) || caught(|| ()).is_some() {
        println!("a panic went unseen");
        std::process::exit(1);
    }
}

/// One seed, with all that can be said of it.
fn replay(seed: u64, hours: Duration) -> ExitCode {
    let scenario = Scenario::new(seed, hours);
    println!("seed {seed}: {:#?}", scenario.options);
    let first = run(&scenario, false);
    println!(
        "{} operations, {} s, {} events, {} messages, trace {:016x}",
        scenario.steps.len(),
        first.time.as_secs(),
        first.figures.events,
        first.figures.messages,
        first.figures.trace,
    );
    let Some(violation) = first.violation else {
        println!("no rule broken");
        save(&scenario);
        return ExitCode::SUCCESS;
    };
    println!("{violation}");
    let tries = usize::try_from(setting("SIM_SHRINK", 400)).unwrap_or(usize::MAX);
    let shrunk = scenario.shrink_with(&violation, tries, |scenario| run(scenario, false).violation);
    println!("{} of {} operations are enough, in this world:", shrunk.steps.len(), scenario.steps.len());
    println!("{:?}", shrunk.options);
    for step in &shrunk.steps {
        println!("  after {:?}: {:?}", step.gap, step.op);
    }
    let last = run(&shrunk, true);
    if let (Some(violation), Some(log)) = (&last.violation, last.log) {
        println!("{violation}");
        let from = violation.at.saturating_sub(Duration::from_secs(setting("SIM_LADDER", 120)));
        println!("{}", log.since(from).ladder());
    }
    save(&shrunk);
    println!("{}", command(seed));
    ExitCode::FAILURE
}

fn save(scenario: &Scenario) {
    let Ok(dir) = std::env::var("SIM_SAVE") else { return };
    let Some(log) = run(scenario, true).log else { return };
    let base = std::path::Path::new(&dir).join(format!("sim-{}", scenario.seed));
    std::fs::write(base.with_extension("txt"), log.ladder()).unwrap();
    std::fs::write(base.with_extension("pcap"), log.pcap()).unwrap();
    println!("saved {}.txt and .pcap", base.display());
}
