//! The conformance map in `docs/conformance` agrees with the tree: the tests
//! that it names exist and cover what they are named for, the code that it
//! names exists, every ID in a `Covers:` line has a row. Where the checklists
//! lie beside the project, no ID of them is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Pages of the map, and the checklist that each is about.
const PAGES: [(&str, &str); 4] = [
    ("rfc6665.md", "rfc6665.md"),
    ("rfc3265.md", "rfc3265.md"),
    ("rfc3261.md", "rfc3261-subset.md"),
    ("extensions.md", "extensions.md"),
];
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// `src/a/b.rs` is `a::b`, `tests/a/main.rs` is `a`.
fn module(path: &Path) -> String {
    let inner = path.strip_prefix(root()).unwrap();
    let mut parts: Vec<_> = inner.iter().skip(1).map(|p| p.to_str().unwrap().trim_end_matches(".rs")).collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts.join("::")
}

fn is_id(word: &str) -> bool {
    let Some((head, rest)) = word.split_once('-') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match head {
        "INT" | "PKG" => digits(rest),
        _ => head.len() == 4 && digits(head) && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)),
    }
}

/// The IDs in a text; other names, such as `PEER-A01`, are of other lists.
fn ids(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| c.is_whitespace() || ",;()`".contains(c)).filter(|word| is_id(word)).map(str::to_owned)
}

#[derive(Default)]
struct Tree {
    /// What each test function covers, by its path.
    tests: BTreeMap<String, BTreeSet<String>>,
    /// Every ID in a `Covers:` line, and a place where it stands.
    covered: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Tree {
    fn read() -> Self {
        let mut files = Vec::new();
        sources(&root().join("src"), &mut files);
        sources(&root().join("tests"), &mut files);
        files.sort();
        let mut tree = Self::default();
        for file in &files {
            tree.read_file(file);
        }
        tree
    }

    fn read_file(&mut self, path: &Path) {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let mut modules: Vec<(usize, String)> = Vec::new();
        // The IDs of the doc comment that is open, whether its last line goes
        // on, and whether `#[test]` was seen.
        let (mut covers, mut goes_on, mut is_test) = (BTreeSet::new(), false, false);
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let place = format!("{name}:{}", number + 1);
            if let Some(doc) = trimmed.strip_prefix("///") {
                let list = match doc.trim().strip_prefix("Covers:") {
                    Some(list) => list,
                    None if goes_on => doc,
                    None => continue,
                };
                goes_on = list.trim_end().ends_with(',');
                if list.contains("..") {
                    self.faults.push(format!("{place}: a range in a Covers line; write it out"));
                }
                for id in ids(list) {
                    self.covered.entry(id.clone()).or_insert_with(|| place.clone());
                    covers.insert(id);
                }
                continue;
            }
            goes_on = false;
            if trimmed.starts_with("#[") {
                is_test |= trimmed.starts_with("#[test]");
                continue;
            }
            let mut words = trimmed.split_whitespace().skip_while(|w| w.starts_with("pub"));
            match (words.next(), words.next()) {
                (Some("mod"), Some(inner)) if trimmed.ends_with('{') => modules.push((indent, inner.to_owned())),
                (Some("fn"), Some(function)) if is_test => {
                    let function = function.split(['(', '<']).next().unwrap();
                    let inner = modules.iter().map(|(_, m)| m.as_str());
                    let outer = module(path);
                    let parts: Vec<_> = Some(outer.as_str()).into_iter().chain(inner).chain([function]).collect();
                    self.tests.insert(parts.join("::"), std::mem::take(&mut covers));
                }
                (Some("}"), _) if modules.last().is_some_and(|(at, _)| *at == indent) => {
                    modules.pop();
                }
                _ => {}
            }
            if !trimmed.is_empty() && !std::mem::take(&mut covers).is_empty() {
                self.faults.push(format!("{place}: a Covers line without a test"));
            }
            is_test = false;
        }
    }
}

struct Row {
    place: String,
    status: String,
    code: String,
    tests: Vec<String>,
    remark: String,
}

/// The cells of a table row of the map or of a checklist.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn rows(page: &str, faults: &mut Vec<String>) -> Option<BTreeMap<String, Row>> {
    let text = fs::read_to_string(root().join("docs/conformance").join(page)).ok()?;
    let mut rows = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{page}:{}", number + 1);
        let Some(cells) = cells(line) else { continue };
        let Some(id) = cells.first().filter(|id| is_id(id)) else { continue };
        let [_, title, status, code, tests, remark] = cells[..] else {
            faults.push(format!("{place}: {} cells", cells.len()));
            continue;
        };
        if title.is_empty() {
            faults.push(format!("{place}: {id} has no title"));
        }
        let names = tests.split([',', ' ']).map(|t| t.trim_matches('`')).filter(|t| !t.is_empty());
        let row = Row {
            place: place.clone(),
            status: status.into(),
            code: code.into(),
            tests: names.map(str::to_owned).collect(),
            remark: remark.into(),
        };
        if rows.insert((*id).to_owned(), row).is_some() {
            faults.push(format!("{place}: {id} has a row already"));
        }
    }
    Some(rows)
}

/// The status without its issue.
fn kind(status: &str) -> Option<&'static str> {
    let waits_for = |status: &str| {
        let inner = status.strip_prefix("not yet (")?.strip_suffix(')')?;
        let issue = inner.strip_prefix('#').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        (issue || inner == "packages").then_some(())
    };
    match status {
        "done" => Some("done"),
        "partial" => Some("partial"),
        "n/a" => Some("n/a"),
        _ => waits_for(status).map(|()| "not yet"),
    }
}

/// Each code span is a file under `src` and names that stand in it.
fn check_code(row: &Row, id: &str, faults: &mut Vec<String>) {
    let spans: Vec<_> = row.code.split('`').skip(1).step_by(2).collect();
    if spans.is_empty() && !row.code.is_empty() {
        faults.push(format!("{}: {id}: code is named as `file item`", row.place));
    }
    for span in spans {
        let mut words = span.split_whitespace();
        let file = words.next().unwrap_or_default();
        match fs::read_to_string(root().join("src").join(file)) {
            Err(_) => faults.push(format!("{}: {id}: no file src/{file}", row.place)),
            Ok(text) => {
                for item in words.filter(|item| !text.contains(*item)) {
                    faults.push(format!("{}: {id}: no {item} in src/{file}", row.place));
                }
            }
        }
    }
}

fn check_row(id: &str, row: &Row, tree: &Tree, faults: &mut Vec<String>) {
    let place = &row.place;
    let Some(kind) = kind(&row.status) else {
        faults.push(format!("{place}: {id}: no such status: {:?}", row.status));
        return;
    };
    if kind == "done" && row.tests.is_empty() && row.remark.is_empty() {
        faults.push(format!("{place}: {id} is done, but has neither a test nor a reason"));
    }
    if matches!(kind, "n/a" | "partial") && row.remark.is_empty() {
        faults.push(format!("{place}: {id} is {kind} for no reason"));
    }
    for test in &row.tests {
        match tree.tests.get(test) {
            None => faults.push(format!("{place}: {id}: no test {test}")),
            Some(covers) if !covers.contains(id) => {
                faults.push(format!("{place}: {id}: {test} does not say that it covers it"));
            }
            Some(_) => {}
        }
    }
    check_code(row, id, faults);
}

/// The IDs that a checklist defines, with their levels.
fn defined(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut level_at = None;
    for line in text.lines() {
        let Some(cells) = cells(line) else { continue };
        if cells.first() == Some(&"ID") || cells.last() == Some(&"ID") {
            level_at = cells.iter().position(|cell| *cell == "Level");
        }
        let first = cells.first().filter(|id| is_id(id));
        let last = cells.last().filter(|id| id.starts_with("6665-RSP-") && is_id(id));
        if let Some(id) = first.or(last) {
            let level = level_at.and_then(|at| cells.get(at)).copied().unwrap_or_default();
            out.insert((*id).to_owned(), level.to_owned());
        }
    }
    out
}

/// The rows of one page against the checklist, where it lies beside the project.
fn check_list(page: &str, list: &str, rows: &BTreeMap<String, Row>, faults: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root().join("../shared/spec").join(list)) else { return };
    let defined = defined(&text);
    for (id, level) in &defined {
        let Some(row) = rows.get(id) else {
            faults.push(format!("{page}: {id} is missing"));
            continue;
        };
        let must = level.contains("MUST") && matches!(kind(&row.status), Some("done" | "partial"));
        if must && row.tests.is_empty() && row.remark.is_empty() {
            faults.push(format!("{}: {id} ({level}) has neither a test nor a reason", row.place));
        }
    }
    for id in rows.keys().filter(|id| !defined.contains_key(*id)) {
        faults.push(format!("{page}: {id} is not in the checklist"));
    }
}

#[test]
fn the_map_agrees_with_the_tree() {
    let mut tree = Tree::read();
    let mut faults = std::mem::take(&mut tree.faults);
    let mut known = BTreeSet::new();
    // Past the harness, which keeps what passing tests print to itself.
    let mut out = std::io::stdout().lock();
    let head = ["page", "done", "partial", "not yet", "n/a", "rows"];
    writeln!(out, "\n{:14} {:>6} {:>8} {:>8} {:>6} {:>6}", head[0], head[1], head[2], head[3], head[4], head[5])
        .unwrap();
    for (page, list) in PAGES {
        let Some(rows) = rows(page, &mut faults) else {
            faults.push(format!("{page} is not there"));
            continue;
        };
        let mut tally = BTreeMap::new();
        for (id, row) in &rows {
            check_row(id, row, &tree, &mut faults);
            *tally.entry(kind(&row.status).unwrap_or("?")).or_insert(0u32) += 1;
            if !known.insert(id.clone()) {
                faults.push(format!("{}: {id} is on another page too", row.place));
            }
        }
        let count = |kind| tally.get(kind).copied().unwrap_or(0);
        let [done, partial, not_yet, none] = ["done", "partial", "not yet", "n/a"].map(count);
        writeln!(out, "{page:14} {done:>6} {partial:>8} {not_yet:>8} {none:>6} {:>6}", rows.len()).unwrap();
        check_list(page, list, &rows, &mut faults);
    }
    for (id, place) in tree.covered.iter().filter(|(id, _)| !known.contains(*id)) {
        faults.push(format!("{place}: {id} is not in the map"));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_readers_read_what_they_should() {
    for id in ["6665-4.1.2.4-2", "6665-SSM-9", "INT-12", "PKG-1", "3261-20-4", "6026-1", "8760-2.6-8a", "5626-ob-1"] {
        assert!(is_id(id), "{id}");
    }
    for other in ["PEER-A01", "advisory", "RFC-1", "-1", "6665", "INT-", "INT-x"] {
        assert!(!is_id(other), "{other}");
    }
    assert_eq!(["done", "partial", "n/a"].map(kind), [Some("done"), Some("partial"), Some("n/a")]);
    assert_eq!(["not yet (#6)", "not yet (packages)"].map(kind), [Some("not yet"); 2]);
    assert_eq!(["not yet", "not yet (#)", "not yet (x)", "todo", ""].map(kind), [None; 5]);
    let list = "| ID | § | Level |\n|---|---|---|\n| 6665-1-1 | 1 | MUST |\n\n| Code | ID |\n|---|---|\n| 200 | 6665-RSP-1 |\n";
    let expected = [("6665-1-1", "MUST"), ("6665-RSP-1", "")].map(|(id, level)| (id.to_owned(), level.to_owned()));
    assert_eq!(defined(list), BTreeMap::from(expected));
    let path = |file: &str| module(&root().join(file));
    assert_eq!(["src/a/b.rs", "src/a/mod.rs", "tests/a/main.rs"].map(path), ["a::b", "a", "a"]);
    assert!(Tree::read().tests.contains_key("conformance_map::the_readers_read_what_they_should"));
}
