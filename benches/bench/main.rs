//! What the library costs: `cargo bench` prints every row of the table in
//! `docs/performance.md`; `cargo bench -- parse` those whose name has `parse`
//! in it; `cargo bench -- --quick` leaves out what needs a million
//! subscriptions, `--live NUMBER` takes fewer. `--tsv FILE` writes the rows for
//! `benches/chart.py`, and `--count ROW` runs one row for `benches/callgrind.sh`.
#![allow(clippy::disallowed_methods)]

mod fanout;
mod harness;
mod messages;
mod million;
mod wire;
mod world;

use harness::{Report, Row};

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() {
    let mut filter = None;
    let (mut quick, mut tsv, mut count, mut live) = (false, None, None, million::LIVE);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // What cargo adds of itself.
            "--bench" | "--test" => {}
            "--quick" => quick = true,
            "--tsv" => tsv = args.next(),
            "--count" => count = args.next(),
            "--live" => live = args.next().and_then(|live| live.parse().ok()).expect("--live NUMBER"),
            "--rows" => {
                rows().iter().filter(|row| row.counted).for_each(|row| println!("{}", row.name));
                return;
            }
            other => filter = Some(other.to_owned()),
        }
    }
    if let Some(name) = count {
        let rows = rows();
        let row = rows.iter().find(|row| row.name == name).expect("a row of that name");
        println!("{}", harness::count(row));
        return;
    }
    let mut report = Report::new(filter);
    for row in rows() {
        report.run(&row);
    }
    if !quick {
        million::run(&mut report, live);
    }
    if let Some(path) = tsv {
        std::fs::write(path, report.tsv()).expect("the file can be written");
    }
}

fn rows() -> Vec<Row> {
    let mut rows = wire::rows();
    rows.extend(world::rows());
    rows.extend(fanout::rows());
    rows
}
