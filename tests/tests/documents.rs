//! What the documents say of tests: each test that a table names is there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use quell_tests::{read, root};

#[test]
fn every_attack_of_the_threat_model_has_a_test_that_is_there() {
    let sources = sources();
    let tried = rows(&read("docs/threat-model.md").unwrap(), "test");
    assert!(tried.len() >= 25, "{}", tried.len());
    for row in tried {
        let tests = named(&row);
        assert!(!tests.is_empty(), "no test is named: {row}");
        for test in tests {
            assert!(is_there(test, &sources), "there is no test {test}");
        }
    }
}

#[test]
fn every_failure_has_a_test_that_is_there_or_a_reason() {
    let sources = sources();
    let page = read("docs/failure-modes.md").unwrap();
    let failures = rows(&page, "shown by");
    assert!(failures.len() >= 60, "{}", failures.len());
    let numbers: Vec<usize> = rows(&page, "#").iter().map(|row| row.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=failures.len()).collect::<Vec<_>>());
    for (number, row) in numbers.iter().zip(&failures) {
        assert!(!named(row).is_empty() || row.starts_with("—"), "{number}: a test or a reason");
        for test in named(row) {
            assert!(test.contains("::"), "{number}: {test} has its file in front");
            assert!(is_there(test, &sources), "{number}: there is no test {test}");
        }
    }
}

#[test]
fn the_mail_in_the_readme_is_the_one_that_is_sent() {
    let snapshot =
        "shared/engine/src/notify/snapshots/quell_engine__notify__email__tests__fixed.snap";
    let snapshot = read(snapshot).unwrap();
    let mail = snapshot.splitn(3, "---\n").nth(2).unwrap().trim_end();
    assert!(mail.starts_with("Subject: Quell fixed"), "{mail}");
    assert!(read("README.md").unwrap().contains(&format!("```text\n{mail}\n```")));
}

#[test]
fn what_is_no_test_is_not_there() {
    let sources = sources();
    assert!(is_there("documents::what_is_no_test_is_not_there", &sources));
    assert!(is_there("what_is_no_test_is_not_there", &sources));
    for none in ["documents::no_such_test", "faults::what_is_no_test_is_not_there", "is_there"] {
        assert!(!is_there(none, &sources), "{none}");
    }
}

#[test]
fn a_column_is_found_in_every_table_that_has_it() {
    let markdown = "| a | test |\n|---|:---|\n| 1 | `x` |\n\n| b |\n|---|\n| 2 |\n\n| test | c |\n|--|--|\n| `y` | |\n";
    assert_eq!(rows(markdown, "test"), ["`x`", "`y`"]);
    assert_eq!(rows(markdown, "d"), [""; 0]);
}

/// The cells of a column, of every table that has it.
fn rows(markdown: &str, column: &str) -> Vec<String> {
    let mut cells = Vec::new();
    let mut place = None;
    let mut is_in_table = false;
    for line in markdown.lines() {
        let Some(row) = line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            (is_in_table, place) = (false, None);
            continue;
        };
        let row: Vec<&str> = row.split('|').map(str::trim).collect();
        if !is_in_table {
            is_in_table = true;
            place = row.iter().position(|head| *head == column);
            continue;
        }
        let is_rule = row.iter().all(|cell| cell.trim_matches([':', '-']).is_empty());
        if let (false, Some(place)) = (is_rule, place) {
            cells.push(row.get(place).map(ToString::to_string).unwrap_or_default());
        }
    }
    cells
}

/// What stands in back quotes.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// `test`, `file::test`, or `folder::file::test`.
fn is_there(test: &str, sources: &BTreeMap<PathBuf, String>) -> bool {
    let (place, name) = test.rsplit_once("::").unwrap_or(("", test));
    let place: Vec<&str> = place.split("::").filter(|part| !part.is_empty()).collect();
    sources.iter().any(|(path, text)| {
        let path = path.with_extension("");
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        place.iter().all(|part| parts.contains(part)) && is_test(name, text)
    })
}

/// A function with a test's attribute, or a name that a macro makes tests of.
fn is_test(name: &str, text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let rest = line.strip_prefix("async ").unwrap_or(line);
        let is_function = rest
            .strip_prefix("fn ")
            .is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')));
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        let of_macro = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ["));
        of_macro || is_function && above.any(|one| one.starts_with("#[") && one.contains("test"))
    })
}

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for folder in ["tests", "shared", "cli", "functions"] {
        gather(&root(folder), &mut found);
    }
    found
}

fn gather(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.insert(path, text);
        }
    }
}
