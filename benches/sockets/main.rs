//! What real sockets add, over loopback: the example `notifier` beside a bare
//! echo, a change of state told to 10,000 watchers over UDP and to 100,000
//! over one TCP connection. Build `notifier` first:
//! `cargo build --release --example notifier && cargo bench --bench sockets`.
//! Processor times are those of one thread or process, user and system.
#![allow(clippy::disallowed_methods)]

mod cycles;
mod datagrams;
mod peer;
mod stream;

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// No part takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    println!("{:<64} {:>12} {:>12}", "row", "measured", "goal");
    for (name, run) in [("cycles", cycles::run as fn() -> Outcome), ("udp", datagrams::run), ("tcp", stream::run)] {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            run()?;
        }
    }
    Ok(())
}

fn row(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or("-".to_owned(), |goal| format!("{goal:.1} {unit}"));
    println!("{name:<64} {:>12} {goal:>12}", format!("{value:.1} {unit}"));
}

/// Bytes that are allocated now.
fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}
