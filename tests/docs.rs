//! The documents say what the code does.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sip_events::Limits;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The example `name`, built as these tests are.
fn example(name: &str, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--quiet", "--offline", "--example", name]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.arg("--").args(arguments);
    cargo
}

/// The output of `demo`.
fn demo(transport: &str) -> String {
    let output = example("demo", &["--transport", transport]).output().expect("cargo runs");
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

/// A line of `watch` or `notifier` without what differs from run to run.
fn masked(line: &str, address: &str) -> String {
    let line = line.replace(address, "127.0.0.1:5070");
    if line.starts_with("explanation") {
        return line.replace(|c: char| c.is_ascii_digit(), "").replace(". ", " ");
    }
    let varies = |word: &str| word.starts_with("cseq=") || word.contains(";tag=");
    let words = line.split(' ').map(|word| if varies(word) { word.split('=').next().unwrap_or(word) } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.strip_prefix("active expires=") {
        Some(_) => "active expires=".into(),
        None => line,
    }
}

/// What README.md shows of `program`: what is typed left out, the rest masked.
fn session(readme: &str, program: &str) -> Vec<String> {
    let command = format!("$ cargo run --release --example {program} -- ");
    let block = blocks(readme).into_iter().find(|(_, text)| text.starts_with(&command));
    let (_, text) = block.unwrap_or_else(|| panic!("README.md does not show {program}"));
    let typed = |line: &str| ["$ ", "set ", "explain ", "quit"].iter().any(|start| line.starts_with(start));
    text.lines().filter(|line| !typed(line)).map(|line| masked(line, "127.0.0.1:5070")).collect()
}

/// A program that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `notifier` and `watch` print in the session that README.md shows.
fn watch_a_notifier() -> (Vec<String>, Vec<String>) {
    let address = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port").to_string();
    let resource = format!("sip:bob@{address}");
    let mut notifier = example("notifier", &["--bind", &address]);
    let notifier = notifier.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("notifier starts");
    let mut notifier = Running(notifier);
    let mut commands = notifier.0.stdin.take().expect("its input");
    let output = BufReader::new(notifier.0.stdout.take().expect("its output"));
    let (sender, printed) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut say = |command: &str| writeln!(commands, "{command}").expect("notifier listens");
    let mut lines = Vec::new();
    let mut until = |start: &str| {
        while !lines.last().is_some_and(|line: &String| line.starts_with(start)) {
            let line = printed.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("no {start:?} after {lines:?}"));
            lines.push(masked(&line, &address));
        }
    };
    say(&format!("set {resource} message-summary -inline Messages-Waiting: no"));
    // A SUBSCRIBE that came first would be told of a change.
    assert_eq!(printed.recv_timeout(Duration::from_secs(1)), Err(mpsc::RecvTimeoutError::Timeout));
    let arguments = [&resource, "--event", "message-summary", "--expires", "120", "--notifies", "2"];
    let mut watch = example("watch", &arguments).stdout(Stdio::piped()).spawn().map(Running).expect("watch starts");
    until("notified");
    say("explain watcher0.1");
    until("explanation");
    say(&format!("set {resource} message-summary -inline Messages-Waiting: yes"));
    until("gone");
    say("quit");
    assert!(notifier.0.wait().expect("notifier ends").success());
    assert!(watch.0.wait().expect("watch ends").success());
    let output = BufReader::new(watch.0.stdout.take().expect("its output"));
    let watched = output.lines().map(|line| masked(&line.expect("text"), &address)).collect();
    (lines, watched)
}

#[test]
fn the_readme_shows_what_watch_and_notifier_print() {
    // Built first, so that the two start without delay.
    assert!(example("watch", &["--help"]).output().expect("cargo runs").status.success());
    assert!(example("notifier", &["--help"]).output().expect("cargo runs").status.success());
    let readme = read("README.md");
    let shown = (session(&readme, "notifier"), session(&readme, "watch"));
    let mut printed = watch_a_notifier();
    if printed != shown {
        // A retransmission on a busy machine is no fault of the README.
        printed = watch_a_notifier();
    }
    assert_eq!(shown, printed, "README.md does not show what notifier and watch print");
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
