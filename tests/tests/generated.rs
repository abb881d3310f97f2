//! Runbooks and the table of controls are made from the code. `UPDATE=1 cargo nextest run --test generated` writes
//! them; without it a stale page fails.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fmt::Write as _, fs};

use quell_controls::REGISTRY;
use quell_engine::{Listen, Meta, Safety};
use quell_tests::{page, read, root};

#[test]
fn every_runbook_is_the_page_of_its_control() {
    for meta in REGISTRY {
        current(&format!("docs/runbooks/{}.md", meta.id), &runbook(meta));
    }
    for file in fs::read_dir(root("docs/runbooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let id = name.strip_suffix(".md").unwrap();
        assert!(REGISTRY.iter().any(|meta| meta.id == id), "docs/runbooks/{name} has no control");
    }
}

#[test]
fn the_table_of_controls_is_the_registry() {
    let mut table = String::from(
        "# Controls\n\nMade from the code; the runbook of each says what can break and how to undo it.\n\n\
         | control | after the fix | severity | fixed at once when enforced | function |\n|---|---|---|---|---|\n",
    );
    for meta in REGISTRY {
        writeln!(
            table,
            "| [{id}](runbooks/{id}.md) | {} | {} | {} | {} |",
            meta.title,
            format!("{:?}", meta.severity).to_lowercase(),
            safety(meta.safety),
            meta.function,
            id = meta.id
        )
        .unwrap();
    }
    current("docs/controls.md", &table);
}

fn runbook(meta: &Meta) -> String {
    let page = page(meta.source).unwrap();
    let (title, prose) = page.split_once('\n').unwrap();
    let list = |items: &[&str]| {
        items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
    };
    let facts = [
        ("severity", format!("{:?}", meta.severity).to_lowercase()),
        ("fixed at once when enforced", safety(meta.safety).to_owned()),
        ("function", format!("`{}`", meta.function)),
        ("satisfies", list(meta.satisfies)),
        ("listens for", meta.listens.iter().map(listens).collect::<Vec<_>>().join("; ")),
        ("reads", list(meta.reads)),
        ("writes", list(meta.writes)),
        ("source", format!("[{0}](../../{0})", meta.source)),
    ];
    let mut runbook =
        format!("# {}: {}\n\n| | |\n|---|---|\n", meta.id, title.trim_end_matches('.'));
    for (name, value) in facts {
        writeln!(runbook, "| {name} | {value} |").unwrap();
    }
    writeln!(runbook, "\n{}", prose.trim()).unwrap();
    runbook
}

fn listens(listen: &Listen) -> String {
    match listen {
        Listen::ApiCall { source, calls, .. } => format!("calls of {source}: {}", calls.join(", ")),
        Listen::GuardDuty { types, min_severity } => {
            let types: Vec<_> = types.iter().map(|kind| kind.replace('*', "…")).collect();
            let least = if *min_severity > 0.0 {
                format!(" of severity {min_severity} and more")
            } else {
                String::new()
            };
            format!("GuardDuty findings{least}: {}", types.join(", "))
        }
        Listen::SecurityHub { generators, .. } => {
            let ids: Vec<_> = generators.iter().map(|end| end.trim_start_matches('/')).collect();
            format!("Security Hub: {}", ids.join(", "))
        }
        Listen::Config { rules, .. } => format!("Config rules: {}", rules.join(", ")),
        Listen::AccessAnalyzer { resource_type } => {
            format!("Access Analyzer: public {resource_type}")
        }
        Listen::InstanceState { states } => format!("instances that are {}", states.join(", ")),
    }
}

fn safety(safety: Safety) -> &'static str {
    match safety {
        Safety::Safe => "yes",
        Safety::NeedsApproval => "if enforced by its name",
        Safety::ReportOnly => "never",
    }
}

fn current(path: &str, wanted: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(root(path).parent().unwrap()).unwrap();
        fs::write(root(path), wanted).unwrap();
    }
    let found = read(path).unwrap_or_default();
    assert_eq!(
        found, wanted,
        "{path} is stale: UPDATE=1 cargo nextest run --test generated writes it"
    );
}
