//! The documents say what the code does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sip_events::Limits;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The output of the example `demo`, built as these tests are.
fn demo(transport: &str) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--quiet", "--offline", "--example", "demo"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.args(["--", "--transport", transport]).output().expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "demo --transport {transport}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("the demo prints text")
}

/// `ladder` with the same time on every rung.
fn without_times(ladder: &str) -> String {
    let mut out = String::new();
    for line in ladder.trim_end().lines() {
        let (time, rest) = line.split_at(line.len().min(7));
        let is_time = time.trim().split_once('.').is_some_and(|(seconds, millis)| {
            seconds.bytes().chain(millis.bytes()).all(|b| b.is_ascii_digit()) && millis.len() == 3
        });
        let _ = if is_time { writeln!(out, "  0.000{rest}") } else { writeln!(out, "{line}") };
    }
    out
}

/// The code blocks of a document: what stands behind the fence, and the text.
fn blocks(document: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut open = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(kind) if !open => {
                blocks.push((kind, String::new()));
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            None => {}
        }
    }
    assert!(!open, "a code block is not closed");
    blocks
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let readme = read("README.md");
    let shown = blocks(&readme).into_iter().find(|(kind, text)| *kind == "text" && text.contains("ann, the watcher"));
    let (_, shown) = shown.expect("README.md shows the demo");
    let shown = without_times(&shown);
    assert!(shown.lines().filter(|line| line.starts_with("  0.000 |")).count() >= 14, "times are masked");
    // A retransmission on a busy machine is no fault of the README.
    let mut printed = String::new();
    for _ in 0..3 {
        printed = without_times(&demo("udp"));
        if printed == shown {
            return;
        }
    }
    assert_eq!(shown, printed, "README.md does not show what `cargo run --example demo` prints");
}

#[test]
fn the_demo_runs_over_tcp() {
    let printed = demo("tcp");
    for step in
        ["SUBSCRIBE Expires: 600", "200 (SUBSCRIBE)", "200 (NOTIFY)", "SUBSCRIBE Expires: 0", "ann saw every state"]
    {
        assert!(printed.contains(step), "no {step:?} in\n{printed}");
    }
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let document = read("docs/limits.md");
    let printed = format!("{:?}", Limits::default());
    let fields = printed.trim_start_matches("Limits {").trim_end_matches('}').split(", ");
    let mut seen = 0;
    for field in fields {
        let (name, default) = field.trim().split_once(": ").expect("a field and its value");
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md has no row for `{name}`"));
        let told = row.split('|').nth(2).expect("a second column").replace(',', "");
        assert_eq!(told.split_whitespace().next(), Some(default), "default of `{name}`");
        seen += 1;
    }
    assert!(seen >= 19, "{seen} limits");
}

/// Documents for readers: those at the top and those in `docs`.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [root().to_path_buf(), root().join("docs"), root().join("docs/decisions")] {
        let entries = std::fs::read_dir(&folder).expect("the folder is there");
        let files = entries.map(|entry| entry.expect("an entry").path());
        found.extend(files.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    assert!(found.len() >= 9, "{found:?}");
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("text");
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let defined = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ").map(|(_, to)| to));
        for target in inline.chain(defined) {
            let file = target.split('#').next().unwrap_or_default();
            // `](` in code is no link: it has blanks or no dot and no slash.
            let is_path = !file.is_empty() && !file.contains(' ') && file.contains(['.', '/']);
            if file.contains("://") || !is_path {
                continue;
            }
            let folder = path.parent().expect("a folder");
            // Not every folder travels with the package.
            let left_out = file.contains("tests/interop") && !root().join("tests/interop").exists();
            assert!(left_out || folder.join(file).exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn the_changelog_knows_the_version() {
    let version = format!("[{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&version), "CHANGELOG.md has no section {version}");
}

#[test]
fn the_readme_names_the_minimum_rust_version() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let version = version.expect("Cargo.toml has a rust-version");
    assert!(read("README.md").contains(&format!("minimum supported Rust version is {version}")), "{version}");
}

#[test]
fn the_pictures_are_what_the_script_draws() {
    for name in ["layers.svg", "flow.svg"] {
        let picture = read(&format!("docs/img/{name}"));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{name}");
        assert!(picture.contains("prefers-color-scheme: dark"), "{name}");
    }
    // Without Python only the above can be said.
    let check = Command::new("python3").arg(root().join("docs/img/draw.py")).arg("--check").output();
    if let Ok(check) = check {
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
