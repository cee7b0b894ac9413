//! Reads 100,000 mutated messages with `sip_events` and with `rsip`, and
//! compares verdict and facts. Every difference belongs to a class that says
//! which of the two is right, or the program fails.
//!
//! `cargo run --release --manifest-path tests/second_reader/Cargo.toml [cases] [seed]`

mod classes;
mod facts;
mod mutate;

use std::collections::BTreeMap;
use std::path::Path;

use mutate::Random;
use sip_events::wire::Message;

fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["tests/captures", "fuzz/corpus/message"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.extension().is_none_or(|end| end == "sip") && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    let contents = files.iter().map(|path| std::fs::read(path).expect("readable"));
    contents.filter(|bytes| bytes.len() < 4_000).collect()
}

fn main() {
    // What it panics on it does not accept.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let cases = arguments.next().unwrap_or(100_000);
    let mut random = Random(arguments.next().unwrap_or(1));
    let seeds = seeds();
    let mut classes: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let (mut both, mut neither, mut unexplained) = (0u64, 0u64, 0u64);
    for _ in 0..cases {
        let bytes = mutate::message(&mut random, &seeds);
        let ours = Message::parse(&bytes);
        let theirs = facts::second(&bytes);
        let class = match (&ours, &theirs) {
            (Ok(ours), Some(theirs)) => {
                both += 1;
                facts::difference(ours, theirs).map(|(field, values)| classes::of_fact(&bytes, field, &values))
            }
            (Err(_), None) => {
                neither += 1;
                None
            }
            (Ok(ours), None) => Some(classes::only_we_accept(&bytes, ours)),
            (Err(error), Some(theirs)) => Some(classes::only_we_refuse(&bytes, error.kind, theirs)),
        };
        if let Some(class) = class {
            let name = class.unwrap_or_else(|what| {
                unexplained += 1;
                format!("UNEXPLAINED {what}")
            });
            let entry = classes.entry(name).or_insert_with(|| (0, bytes.escape_ascii().to_string()));
            entry.0 += 1;
        }
    }
    println!("{cases} messages of {} seeds: both accept {both}, both refuse {neither}", seeds.len());
    for (name, (count, example)) in &classes {
        println!("{count:>7}  {name}");
        if name.starts_with("UNEXPLAINED") || std::env::var_os("EXAMPLES").is_some() {
            println!("         {example}");
        }
    }
    println!("unexplained: {unexplained}");
    std::process::exit(i32::from(unexplained > 0));
}
