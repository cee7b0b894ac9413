//! Timing, allocations and the table.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::ALLOCATOR;

/// What one row has to reach; `None` where nothing is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goal {
    pub nanos: Option<f64>,
    pub instructions: Option<f64>,
    pub allocations: Option<f64>,
}

/// One sample: does its work within [`Meter::time`] and says how often.
pub type Sample = Box<dyn FnMut(&mut Meter) -> u64>;

/// One row: `make` builds what is measured, once.
pub struct Row {
    pub name: &'static str,
    pub goal: Goal,
    /// `benches/callgrind.sh` counts it.
    pub counted: bool,
    pub make: fn() -> Sample,
}

impl Row {
    pub const fn new(name: &'static str, make: fn() -> Sample) -> Self {
        let goal = Goal { nanos: None, instructions: None, allocations: None };
        Self { name, goal, counted: true, make }
    }

    pub const fn goal(mut self, nanos: f64, allocations: f64) -> Self {
        self.goal.nanos = Some(nanos);
        self.goal.allocations = Some(allocations);
        self
    }

    pub const fn instructions(mut self, most: f64) -> Self {
        self.goal.instructions = Some(most);
        self
    }

    /// Too long to run under an emulator.
    pub const fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }
}

/// Counts what happens within [`time`](Self::time).
#[derive(Debug, Default)]
pub struct Meter {
    warming: bool,
    pub spent: Duration,
    pub allocations: usize,
}

/// The only code that callgrind collects.
#[inline(never)]
fn measured_region<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

/// Allocations so far, reallocations included.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Bytes that are allocated now.
pub fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    // What a reallocation adds or takes is part of both sums.
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

impl Meter {
    /// Counts nothing.
    pub fn idle() -> Self {
        Self { warming: true, ..Self::default() }
    }

    pub fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        if self.warming {
            return work();
        }
        let (before, start) = (allocations(), ThreadTime::now());
        let result = measured_region(work);
        self.spent += start.elapsed();
        self.allocations += allocations() - before;
        result
    }
}

const SAMPLES: usize = 40;
const LEAST_SAMPLES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(4);

/// Runs a row for callgrind: the number of times its work was done.
pub fn count(row: &Row) -> u64 {
    let mut sample = (row.make)();
    sample(&mut Meter::idle());
    let mut meter = Meter::default();
    (0..2).map(|_| sample(&mut meter)).sum()
}

struct Line {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    allocations: Option<f64>,
}

pub struct Report {
    filter: Option<String>,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(filter: Option<String>) -> Self {
        println!("{:<52} {:>12} {:>12} {:>12}", "row", "measured", "goal", "allocations");
        Self { filter, lines: Vec::new() }
    }

    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// The least of many samples: what is more was other work of the machine.
    pub fn run(&mut self, row: &Row) {
        if !self.wants(row.name) {
            return;
        }
        let mut sample = (row.make)();
        sample(&mut Meter::idle());
        let (mut nanos, mut allocations) = (f64::INFINITY, f64::INFINITY);
        let start = Instant::now();
        for done in 0..SAMPLES {
            if done >= LEAST_SAMPLES && start.elapsed() > PATIENCE {
                break;
            }
            let mut meter = Meter::default();
            let times = sample(&mut meter) as f64;
            nanos = nanos.min(meter.spent.as_nanos() as f64 / times);
            allocations = allocations.min(meter.allocations as f64 / times);
        }
        self.add(row.name, nanos, "ns", row.goal.nanos, Some(allocations));
    }

    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, goal: Option<f64>, allocations: Option<f64>) {
        let text = |value: Option<f64>, unit: &str| value.map_or("-".to_owned(), |v| format!("{v:.1} {unit}"));
        println!("{name:<52} {:>12} {:>12} {:>12}", text(Some(value), unit), text(goal, unit), text(allocations, ""));
        self.lines.push(Line { name: name.to_owned(), value, unit, goal, allocations });
    }

    pub fn tsv(&self) -> String {
        let mut out = String::from("row\tvalue\tunit\tgoal\tallocations\n");
        let cell = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.1}"));
        for line in &self.lines {
            let (goal, allocations) = (cell(line.goal), cell(line.allocations));
            let _ = writeln!(out, "{}\t{:.1}\t{}\t{goal}\t{allocations}", line.name, line.value, line.unit);
        }
        out
    }
}
