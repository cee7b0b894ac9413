//! What other SIP libraries cost, on this machine and in this run, for the
//! messages that `cargo bench` of the library itself uses:
//! `cargo run --release --manifest-path benches/peers/Cargo.toml`. `-- --tsv FILE`
//! writes the figures for `benches/chart.py`, `-- TEXT` measures only tables
//! with that in their title.
//!
//! Batches of all candidates alternate and the least processor time of each
//! counts, so that what else the machine does hits all alike. The column `x limit` is the
//! ratio to memchr over the line ends of the same head, or to a copy of the
//! same octets.

mod candidates;
#[path = "../../bench/messages.rs"]
#[allow(dead_code)]
mod messages;
mod subscribers;

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 100;
const LEAST_ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);
const BATCH: u32 = 1_000;

/// One library doing one thing to one message.
pub struct Candidate {
    pub name: &'static str,
    pub work: Box<dyn FnMut()>,
}

impl Candidate {
    pub fn new(name: &'static str, work: impl FnMut() + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }
}

struct Measured {
    name: &'static str,
    nanos: f64,
    allocations: f64,
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn measure(candidates: &mut [Candidate]) -> Vec<Measured> {
    let mut measured: Vec<_> = candidates
        .iter()
        .map(|candidate| Measured { name: candidate.name, nanos: f64::INFINITY, allocations: f64::INFINITY })
        .collect();
    let start = Instant::now();
    for round in 0..ROUNDS {
        if round >= LEAST_ROUNDS && start.elapsed() > PATIENCE {
            break;
        }
        for (candidate, measured) in candidates.iter_mut().zip(&mut measured) {
            let (before, start) = (allocations(), ThreadTime::now());
            for _ in 0..BATCH {
                (candidate.work)();
            }
            let nanos = start.elapsed().as_nanos() as f64 / f64::from(BATCH);
            measured.nanos = measured.nanos.min(nanos);
            measured.allocations = measured.allocations.min((allocations() - before) as f64 / f64::from(BATCH));
        }
    }
    measured
}

/// Prints tables as they are measured; the first row of each is the limit, the
/// second is ours.
struct Tables {
    filter: Option<String>,
    tsv: String,
}

impl Tables {
    fn add(&mut self, title: &str, candidates: impl FnOnce() -> Vec<Candidate>) {
        if self.filter.as_ref().is_some_and(|filter| !title.contains(filter.as_str())) {
            return;
        }
        let measured = measure(&mut candidates());
        let (limit, ours) = (measured[0].nanos, measured[1].nanos);
        println!("\n{title}");
        println!("{:<44} {:>10} {:>10} {:>10} {:>12}", "", "ns", "x limit", "x ours", "allocations");
        for Measured { name, nanos, allocations } in measured {
            let (times_limit, times_ours) = (nanos / limit, nanos / ours);
            println!("{name:<44} {nanos:>10.0} {times_limit:>10.2} {times_ours:>10.2} {allocations:>12.1}");
            let _ = writeln!(self.tsv, "{title}\t{name}\t{nanos:.1}\t{allocations:.1}");
        }
    }
}

/// The five messages of one subscription.
fn corpus() -> [(&'static str, Vec<u8>); 5] {
    let via = "Via: SIP/2.0/UDP 198.51.100.23:5062;branch=z9hG4bK-d8754z-1f2e3d4c5b6a7980-1---d8754z-;rport\r\n";
    let subscribe = format!(
        "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n{via}Max-Forwards: 70\r\n\
         Contact: <sip:alice@198.51.100.23:5062;transport=udp>\r\nTo: <sip:bob@example.com>\r\n\
         From: <sip:alice@example.com>;tag=7c3f11a2\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 1 SUBSCRIBE\r\nEvent: presence;id=a1b2\r\nExpires: 3600\r\nAccept: application/pidf+xml\r\n\
         Supported: eventlist, path\r\nUser-Agent: Example-Watcher/2.0\r\nContent-Length: 0\r\n\r\n"
    );
    let accepted = format!(
        "SIP/2.0 200 OK\r\n{via}To: <sip:bob@example.com>;tag=9fxced76sl\r\n\
         From: <sip:alice@example.com>;tag=7c3f11a2\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 1 SUBSCRIBE\r\nContact: <sip:bob@192.0.2.17:5060;transport=udp>\r\nExpires: 3600\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let told = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nTo: <sip:alice@example.com>;tag=7c3f11a2\r\n\
         From: <sip:bob@example.com>;tag=9fxced76sl\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 8775 NOTIFY\r\nContent-Length: 0\r\n\r\n",
        messages::FIELDS[0].1
    );
    let refused = format!(
        "SIP/2.0 489 Bad Event\r\n{via}To: <sip:bob@example.com>;tag=1a2b3c\r\n\
         From: <sip:alice@example.com>;tag=7c3f11a2\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 2 SUBSCRIBE\r\nAllow-Events: presence, presence.winfo, message-summary\r\nContent-Length: 0\r\n\r\n"
    );
    [
        ("SUBSCRIBE", subscribe.into_bytes()),
        ("200 to SUBSCRIBE", accepted.into_bytes()),
        ("NOTIFY of 1301 bytes", messages::notify()),
        ("200 to NOTIFY", told.into_bytes()),
        ("489 to SUBSCRIBE", refused.into_bytes()),
    ]
}

fn lines(head: &[u8]) -> Candidate {
    let head = head.to_vec();
    Candidate::new("limit: memchr over the line ends", move || {
        let head = black_box(&head[..]);
        black_box(memchr::memchr_iter(b'\n', head).fold(0, |sum, at| sum ^ at));
    })
}

fn copy(bytes: &[u8]) -> Candidate {
    let (bytes, mut out) = (bytes.to_vec(), Vec::with_capacity(2_048));
    Candidate::new("limit: copy", move || {
        out.clear();
        out.extend_from_slice(black_box(&bytes));
        black_box(&out);
    })
}

fn with(limit: Candidate, candidates: Vec<Candidate>) -> Vec<Candidate> {
    std::iter::once(limit).chain(candidates).collect()
}

fn main() {
    let (mut filter, mut path) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--tsv" => path = args.next(),
            _ => filter = Some(arg),
        }
    }
    let mut tables = Tables { filter, tsv: String::from("table\tlibrary\tns\tallocations\n") };
    for (name, bytes) in corpus() {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        tables.add(&format!("parse: {name} ({} octets, head {head})", bytes.len()), || {
            with(lines(&bytes[..head]), candidates::parsers(&bytes))
        });
    }
    let bytes = messages::notify();
    tables.add("parse the NOTIFY and read typed headers (how many)", || {
        with(lines(&bytes[..messages::HEAD]), candidates::readers(&bytes))
    });
    tables.add("write the NOTIFY", || with(copy(&bytes), candidates::writers(&bytes)));
    for live in [1, 1_000, 10_000] {
        tables.add(&format!("later NOTIFY to a subscriber, {live} live"), || {
            with(lines(&subscribers::sample()), subscribers::told(live))
        });
    }
    if let Some(path) = path {
        std::fs::write(path, tables.tsv).expect("the file can be written");
    }
}
