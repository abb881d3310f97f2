//! What the documents say of tests: each test that a table names is there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use quell_tests::{read, root};

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    assert_tests_are_there("docs/threat-model.md", "test", 15);
}

/// Every name in back quotes, in this column of any table of the file, is that of a test; every row has one; and there
/// are at least so many rows.
fn assert_tests_are_there(file: &str, column: &str, least: usize) {
    let cells = cells(&read(file).unwrap(), column);
    assert!(cells.len() >= least, "{file}: {} rows have a column `{column}`", cells.len());
    let known = tests();
    let mut wrong = Vec::new();
    for cell in cells {
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("no test is named: {cell}"));
        }
        let unknown = names.iter().filter(|name| !known.contains(**name));
        wrong.extend(unknown.map(|name| format!("there is no test {name}")));
    }
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
}

/// The cells of a column, of every table that has it.
fn cells(markdown: &str, column: &str) -> Vec<String> {
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

/// The names of all functions that a test runner runs, or that a macro makes tests of.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["cli", "functions", "shared", "tests"] {
        for file in sources(&root(folder)) {
            let source = fs::read_to_string(file).unwrap();
            let named = source.lines().filter_map(|line| {
                let line = line.trim_start();
                let line = line.strip_prefix("async ").unwrap_or(line);
                line.strip_prefix("fn ")?.split('(').next()
            });
            names.extend(named.map(str::to_owned));
        }
    }
    names
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

#[test]
fn a_column_is_found_in_every_table_that_has_it() {
    let markdown = "| a | test |\n|---|:---|\n| 1 | `x` |\n\n| b |\n|---|\n| 2 |\n\n| test | c |\n|--|--|\n| `y` | |\n";
    assert_eq!(cells(markdown, "test"), ["`x`", "`y`"]);
    assert_eq!(cells(markdown, "d"), [""; 0]);
}
