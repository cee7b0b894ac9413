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
