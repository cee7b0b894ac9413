//! The fuzz targets without a fuzzer: over their corpus, over the captures,
//! and over mutations that are the same in every run.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::{Path, PathBuf};

/// Mutations of each corpus file.
const MUTATIONS: u64 = 40;

/// Pieces that matter to a SIP parser.
const PIECES: [&[u8]; 32] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r",
    b"\n",
    b"\0",
    b"\t",
    b" ",
    b":",
    b";",
    b",",
    b"=",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"@",
    b"%",
    b"[",
    b"]",
    b"\xff",
    b"l: 0\r\n",
    b"l: 4294967301\r\n",
    b"Content-Length: ",
    b"SIP/2.0",
    b";tag=",
    b";id",
    b"4294967296",
    b"-1",
    b"v: ",
    b"NOTIFY",
    b"\r\nCSeq: 1 SUBSCRIBE\r\n",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder in the order of their names.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| fs::read(&path).map(|bytes| (path, bytes)).expect("readable");
    paths.into_iter().filter(|path| path.extension().is_none_or(|e| e != "py")).map(read).collect()
}

/// Deterministic numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}

fn mutate(numbers: &mut Numbers, data: &mut Vec<u8>) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(data.len() + 1);
        let end = (at + 1 + numbers.below(12)).min(data.len());
        match numbers.below(6) {
            0 if at < data.len() => data[at] = u8::try_from(numbers.below(256)).expect("octet"),
            1 => drop(data.drain(at..end)),
            2 => {
                let copy = data[at..end].to_vec();
                let to = numbers.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            3 => data.truncate(at),
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())];
                data.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// Targets whose input is messages as they travel.
const ON_MESSAGES: [&str; 3] = ["message", "framer", "roundtrip"];

fn run(target: &str, body: fn(&[u8])) {
    let mut inputs = files(&root().join("fuzz/corpus").join(target));
    assert!(inputs.len() >= 10, "corpus of {target}");
    if ON_MESSAGES.contains(&target) {
        inputs.extend(files(&root().join("tests/captures")));
    }
    let mut numbers = Numbers(0x5eed);
    for (path, data) in &inputs {
        let run_one = |data: &[u8]| {
            let caught = std::panic::catch_unwind(|| body(data));
            assert!(caught.is_ok(), "{target} fails on {path:?} as {}", data.escape_ascii());
        };
        run_one(data);
        for _ in 0..MUTATIONS {
            let mut mutant = data.clone();
            mutate(&mut numbers, &mut mutant);
            run_one(&mutant);
        }
    }
}

/// Covers: 3261-25.1-3
#[test]
fn message() {
    run("message", bodies::message);
}

/// Covers: 3261-18.3-5, 5626-3.5-1
#[test]
fn framer() {
    run("framer", bodies::framer);
    for (_, data) in files(&root().join("fuzz/corpus/framer")) {
        bodies::framer_all_cuts(&data[..data.len().min(2_000)]);
    }
}

/// Covers: 3261-25.1-2, 3261-25.1-4, 3261-25.1-6
#[test]
fn headers() {
    run("headers", bodies::headers);
}

#[test]
fn roundtrip() {
    run("roundtrip", bodies::roundtrip);
}

/// Covers: ADV-E8, ADV-P27, PEER-B06, PEER-B10, PEER-D01, PEER-D06
#[test]
fn machines() {
    run("machines", bodies::machines);
}

#[test]
fn agent() {
    run("agent", bodies::agent);
}

/// Covers: ADV-E1, ADV-E2, ADV-E14, PEER-D05
#[test]
fn endpoint_ops() {
    run("endpoint_ops", bodies::endpoint_ops);
}

/// The reference model has its say: what the inputs do is not all beyond it.
#[cfg(feature = "testing")]
#[test]
fn endpoint_ops_are_compared_with_the_model() {
    let inputs = files(&root().join("fuzz/corpus/endpoint_ops"));
    let compared: Vec<u64> = inputs.iter().map(|(_, data)| bodies::compared(data)).collect();
    let sum = compared.iter().sum::<u64>();
    let silent = compared.iter().filter(|count| **count == 0).count();
    println!("{sum} comparisons, {silent} of {} inputs without", inputs.len());
    assert!(sum > 200 && silent * 2 < inputs.len(), "{compared:?}");
}

/// Covers: ADV-P21, ADV-P29
#[test]
fn digest() {
    run("digest", bodies::digest);
}

/// Covers: ADV-N8, PEER-H01
#[test]
fn restore() {
    run("restore", bodies::restore);
}

#[cfg(feature = "testing")]
#[test]
fn world() {
    for (path, data) in files(&root().join("fuzz/corpus/world")) {
        let caught = std::panic::catch_unwind(|| bodies::world(&data));
        assert!(caught.is_ok(), "world fails on {path:?}");
    }
}
