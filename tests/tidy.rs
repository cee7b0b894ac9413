//! The house rules that the compiler does not know: lower layers never import
//! higher ones, and nothing in `src` does input, output, or reads a clock.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("tests/") || name.ends_with("golden.rs")
}

/// Code lines of a file, comments and its test module left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
}

/// Each layer, and what it may not name.
const LAYERS: [(&str, &[&str]); 5] = [
    ("digest/", &["machine", "package", "agent", "endpoint", "config", "event", "flow", "io"]),
    ("wire/", &["machine", "package", "agent", "endpoint", "config", "event", "flow", "io"]),
    ("machine/", &["wire", "package", "agent", "endpoint", "config", "event", "flow", "io"]),
    ("package/", &["machine", "agent", "endpoint", "config", "event", "flow", "io"]),
    ("agent/", &["endpoint"]),
];

/// The values that all layers share stand below them.
const VALUES: [&str; 9] =
    ["time.rs", "id.rs", "entropy.rs", "timers.rs", "error.rs", "stats.rs", "flow.rs", "config.rs", "io.rs"];

#[test]
fn lower_layers_never_import_higher_ones() {
    let mut wrong = Vec::new();
    for (name, text) in all().iter().filter(|(name, _)| !is_test(name)) {
        let layer = LAYERS
            .iter()
            .find(|(layer, _)| name.starts_with(layer) || name.trim_end_matches(".rs") == layer.trim_end_matches('/'));
        let forbidden: &[&str] = match layer {
            Some((_, forbidden)) => forbidden,
            None if VALUES.contains(&name.as_str()) => &["agent", "endpoint"],
            None => continue,
        };
        for (line, content) in code(text) {
            for module in forbidden {
                if content.contains(&format!("crate::{module}::")) || content.contains(&format!("crate::{module};")) {
                    wrong.push(format!("{name}:{line}: {}", content.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn src_does_no_io_and_reads_no_clock() {
    const FORBIDDEN: [&str; 17] = [
        "std::net",
        "std::thread",
        "std::env",
        "std::fs",
        "std::io",
        "std::sync",
        "Instant::now",
        "SystemTime",
        "static mut",
        "OnceLock",
        "OnceCell",
        "thread_local",
        "Atomic",
        "getrandom",
        "println!",
        "eprintln!",
        "f64",
    ];
    let mut wrong = Vec::new();
    for (name, text) in all().iter().filter(|(name, _)| !is_test(name)) {
        for (line, content) in code(text) {
            if FORBIDDEN.iter().any(|word| content.contains(word)) {
                wrong.push(format!("{name}:{line}: {}", content.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_hold_one_idea() {
    let long: Vec<String> = all()
        .iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, text)| (name, code(text).count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_is_left_undone() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["#[ign", "ore]"].concat()];
    let mut wrong = Vec::new();
    for (name, text) in all() {
        for (line, content) in text.lines().enumerate() {
            if words.iter().any(|word| content.contains(word)) {
                wrong.push(format!("{name}:{}: {}", line + 1, content.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The names of the public functions with `&mut self` in blocks that `is_ours`
/// takes.
fn calls(text: &str, is_ours: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut names, mut inside) = (Vec::new(), false);
    for (at, line) in text.match_indices('\n').map(|(at, _)| (at + 1, text[at + 1..].lines().next().unwrap_or(""))) {
        if line.starts_with("impl") {
            inside = is_ours(line);
        }
        let Some(signature) = line.strip_prefix("    pub fn ").filter(|_| inside) else { continue };
        let name = signature.split('(').next().unwrap();
        let rest = text[at..].split_once('(').unwrap().1.trim_start();
        if rest.starts_with("&mut self") {
            names.push(name.split('<').next().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn every_call_that_changes_an_endpoint_can_be_recorded() {
    let (mut endpoint, mut recorder) = (Vec::new(), Vec::new());
    for (name, text) in all().iter().filter(|(name, _)| !is_test(name)) {
        if name.starts_with("endpoint/") {
            endpoint.extend(calls(text, |line| line == "impl Endpoint {"));
        } else if name.starts_with("testing/recorder") {
            recorder.extend(calls(text, |line| line == "impl Recorder {"));
            // The rows of its macro: a code, then the call.
            let rows = text.lines().filter_map(|line| line.trim_start().split_once(' '));
            let rows = rows.filter(|(code, _)| code.len() == 2 && code.bytes().all(|b| b.is_ascii_digit()));
            recorder.extend(rows.filter_map(|(_, call)| Some(call.split_once('(')?.0.to_owned())));
        }
    }
    assert!(endpoint.len() > 30, "{endpoint:?}");
    for call in &mut endpoint {
        // These give a `&mut u64`.
        if call.ends_with("_data") {
            *call = format!("set_{call}");
        }
    }
    recorder.retain(|call| call != "take");
    endpoint.sort();
    recorder.sort();
    assert_eq!(endpoint, recorder);
}
