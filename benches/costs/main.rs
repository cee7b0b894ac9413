//! What hostile input costs: `cargo bench --bench costs` prints the time that
//! each growing input takes at 64 KiB, in a thread with a stack of 64 KiB, and
//! fails where it is above 2 ms.
//! `--count ROW SIZE` does the work of one row once, for `benches/costs.sh`,
//! which counts instructions; `--rows` names them.
#![allow(clippy::disallowed_methods)]

mod growing;
mod pairs;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The only code that callgrind collects.
#[inline(never)]
pub fn measured_region<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

/// What a row does: prepares for a size, then works within the measured region.
pub type Work = fn(usize, &mut dyn FnMut(&mut dyn FnMut()));

/// For one call.
const MOST: Duration = Duration::from_millis(2);
const STACK: usize = 65_536;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--rows"] => growing::ROWS.iter().for_each(|(name, _)| println!("{name}")),
        ["--pairs"] => pairs::ROWS.iter().for_each(|(name, sizes, _)| println!("{name} {} {}", sizes.0, sizes.1)),
        ["--count", name, size] => {
            let growing = growing::ROWS.iter().map(|(row, work)| (row, work));
            let pairs = pairs::ROWS.iter().map(|(row, _, work)| (row, work));
            let row = growing.chain(pairs).find(|(row, _)| **row == name).expect("a row of that name");
            (row.1)(size.parse().expect("a size"), &mut |work| measured_region(work));
        }
        _ => times(),
    }
}

/// The least of some tries: what is more was other work of the machine.
fn times() {
    let mut slow = false;
    for (name, work) in growing::ROWS {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(|| {
            let mut least = Duration::MAX;
            for _ in 0..20 {
                work(65_536, &mut |work| {
                    let start = Instant::now();
                    measured_region(work);
                    least = least.min(start.elapsed());
                });
            }
            least
        });
        let least = thread.expect("a thread").join().expect("it ends");
        println!("{name:<24} {:>8.1} us", least.as_nanos() as f64 / 1_000.0);
        // What comes byte by byte is as many calls.
        slow |= least > MOST && !name.ends_with("by-byte");
    }
    assert!(!slow, "a message of 64 KiB takes more than {MOST:?}");
}
