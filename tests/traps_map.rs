//! `docs/traps.md` agrees with the tree: the tests that it names exist and name
//! the trap, every trap that a test names has a row, and where the catalogues
//! lie beside the project, none of theirs is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Such as `PEER-A01` or `ADV-E14`.
fn is_id(word: &str) -> bool {
    let Some((list, rest)) = word.split_once('-') else { return false };
    let letters = match list {
        "PEER" => 'A'..='J',
        "ADV" => 'A'..='Z',
        _ => return false,
    };
    let mut chars = rest.chars();
    chars.next().is_some_and(|letter| letters.contains(&letter))
        && !chars.as_str().is_empty()
        && chars.as_str().bytes().all(|byte| byte.is_ascii_digit())
}

fn ids(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| is_id(word)).map(str::to_owned)
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// What the comment of each test names, by the test's path; and where each ID
/// stands first.
type Named = (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, String>);

fn named_by_tests() -> Named {
    let (mut files, mut tests, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for dir in ["src", "tests"] {
        sources(&root().join(dir), &mut files);
    }
    files.sort();
    for file in files.iter().filter(|file| !file.ends_with("traps_map.rs")) {
        let inner = file.strip_prefix(root()).unwrap();
        let mut module: Vec<_> =
            inner.iter().skip(1).map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let (mut comment, mut is_test, mut in_tests) = (BTreeSet::new(), false, false);
        for (number, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
            let text = line.trim_start();
            in_tests |= line == "mod tests {";
            if let Some(doc) = text.strip_prefix("///") {
                comment.extend(ids(doc));
            } else if text.starts_with("#[") {
                is_test |= text.starts_with("#[test]");
            } else if let Some(name) = text.strip_prefix("fn ").filter(|_| is_test) {
                let name = name.split(['(', '<']).next().unwrap();
                let mut path = module.clone();
                path.extend((in_tests && line.starts_with(' ')).then(|| "tests".to_owned()));
                path.push(name.to_owned());
                for id in &comment {
                    places.entry(id.clone()).or_insert_with(|| format!("{}:{}", inner.display(), number + 1));
                }
                tests.insert(path.join("::"), std::mem::take(&mut comment));
                is_test = false;
            } else {
                comment.clear();
                is_test = false;
            }
        }
    }
    (tests, places)
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The IDs of the catalogues beside the project.
fn catalogued() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let shared = root().join("../shared");
    if let Ok(text) = fs::read_to_string(shared.join("traps.md")) {
        let entry = |line: &str| Some(format!("PEER-{}", line.strip_prefix("- **")?.split_once("**")?.0));
        // What users ask for is no trap.
        all.extend(text.lines().filter_map(entry).filter(|id| is_id(id) && !id.starts_with("PEER-J")));
    }
    if let Ok(text) = fs::read_to_string(shared.join("advisories.md")) {
        let entry = |line: &str| cells(line).map(|cells| format!("ADV-{}", cells[0]));
        all.extend(text.lines().filter_map(entry).filter(|id| is_id(id)));
    }
    all
}

#[test]
fn every_trap_has_a_test_or_a_reason() {
    let (tests, places) = named_by_tests();
    let page = fs::read_to_string(root().join("docs/traps.md")).unwrap();
    let (mut rows, mut faults) = (BTreeSet::new(), Vec::new());
    let mut tally: BTreeMap<&str, u32> = BTreeMap::new();
    for line in page.lines() {
        let Some(cells) = cells(line).filter(|cells| is_id(cells[0])) else { continue };
        let [id, title, status, shown, remark] = cells[..] else {
            faults.push(format!("{}: {} cells", cells[0], cells.len()));
            continue;
        };
        if !rows.insert(id.to_owned()) {
            faults.push(format!("{id} has a row already"));
        }
        *tally.entry(status).or_default() += 1;
        let shown: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        match status {
            "done" if shown.is_empty() && remark.is_empty() => faults.push(format!("{id} is done by nothing")),
            "partial" | "not yet" | "n/a" if remark.is_empty() => faults.push(format!("{id}: {status} for no reason")),
            "done" | "partial" | "not yet" | "n/a" => {}
            other => faults.push(format!("{id}: no such status: {other}")),
        }
        if title.is_empty() {
            faults.push(format!("{id} has no title"));
        }
        for test in shown {
            match tests.get(test) {
                None => faults.push(format!("{id}: no test {test}")),
                Some(named) if !named.contains(id) => faults.push(format!("{id}: {test} does not name it")),
                Some(_) => {}
            }
        }
    }
    println!("{tally:?}");
    for (id, place) in places.iter().filter(|(id, _)| !rows.contains(*id)) {
        faults.push(format!("{place}: {id} has no row"));
    }
    for id in catalogued().difference(&rows) {
        faults.push(format!("{id} is missing"));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_readers_read_what_they_should() {
    assert!(["PEER-A01", "ADV-E14", "ADV-N9"].into_iter().all(is_id));
    assert!(!["PEER-", "PEER-Z1", "ADV-1", "ADV-E", "6665-4.1.2.4-2", "INT-1", "PEER-A1b"].into_iter().any(is_id));
    let list: Vec<_> = ids("PEER-A01, 6665-1-1 (ADV-E14): `ADV-P2`.").collect();
    assert_eq!(list, ["PEER-A01", "ADV-E14", "ADV-P2"]);
    let (tests, places) = named_by_tests();
    assert!(tests["api_traps::hostile::i03_i04_bodies_of_a_notify"].contains("PEER-I03"));
    assert!(tests["package::tests::xml_is_escaped"].contains("PEER-G14"));
    assert!(places.len() > 100);
}
