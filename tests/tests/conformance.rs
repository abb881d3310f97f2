//! What every control gets checked by being in the registry.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs};

use quell_controls::REGISTRY;
use quell_engine::{
    Listen, Safety, Signal,
    signal::{self, Heard},
};
use quell_tests::{page, read, root, targets};

const HEADINGS: [&str; 4] =
    ["## What it fixes", "## Why it matters", "## What can break", "## Undo"];

#[test]
fn ids_are_kebab_case_unique_and_the_name_of_the_file() {
    let mut seen = BTreeSet::new();
    for meta in REGISTRY {
        assert!(seen.insert(meta.id), "{} is there twice", meta.id);
        assert!(
            meta.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            meta.id
        );
        let file = meta.source.trim_start_matches("shared/controls/src/").trim_end_matches(".rs");
        assert_eq!(file.replace(['/', '_'], "-"), meta.id);
    }
}

#[test]
fn every_page_has_its_headings_in_order() {
    for meta in REGISTRY {
        let page = page(meta.source).unwrap();
        let headings: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "{}", meta.source);
        assert!(!meta.title.ends_with('.'), "{}: the title ends in a full stop", meta.id);
        assert!(meta.risk.ends_with('.'), "{}: the risk is a sentence", meta.id);
    }
}

#[test]
fn reads_read_and_writes_write() {
    let is_read = |action: &str| {
        let (_, name) = action.split_once(':').unwrap();
        ["Get", "List", "Describe"].iter().any(|verb| name.starts_with(verb))
    };
    for meta in REGISTRY {
        for action in meta.reads.iter().chain(meta.discovers) {
            assert!(is_read(action), "{}: {action} is not a read", meta.id);
        }
        for action in meta.writes {
            assert!(!is_read(action), "{}: {action} is not a write", meta.id);
        }
        assert_eq!(meta.writes.is_empty(), meta.safety == Safety::ReportOnly, "{}", meta.id);
    }
}

#[test]
fn every_control_is_served_by_one_function_of_its_name() {
    for meta in REGISTRY {
        let main = read(&format!("functions/{}/src/main.rs", meta.function)).unwrap();
        let module = meta.source.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(
            main.contains(&format!("{module}::")),
            "{} does not serve {}",
            meta.function,
            meta.id
        );
        assert!(
            main.lines().count() < 30,
            "{}: main.rs names controls and nothing else",
            meta.function
        );
    }
}

#[test]
fn every_control_has_its_samples_and_no_sample_is_an_orphan() {
    for meta in REGISTRY {
        for name in ["violating", "compliant"] {
            let signals = signals(&format!("events/{}/{name}.json", meta.id));
            assert!(
                signals.iter().any(|signal| !targets(meta.id, signal).unwrap().is_empty()),
                "events/{}/{name}.json names no resource",
                meta.id
            );
        }
        let ignored = signals(&format!("events/{}/ignored.json", meta.id));
        assert!(
            ignored.iter().all(|signal| targets(meta.id, signal).unwrap().is_empty()),
            "events/{}/ignored.json is not ignored",
            meta.id
        );
    }
    for folder in fs::read_dir(root("events")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(REGISTRY.iter().any(|meta| meta.id == name), "events/{name} has no control");
    }
}

#[test]
fn every_sample_can_be_read() {
    for folder in fs::read_dir(root("events")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let event = fs::read_to_string(&path).unwrap();
            signal::parse(&event).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

#[test]
fn a_control_takes_resources_only_from_signals_that_it_listens_for() {
    for folder in fs::read_dir(root("events")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = format!("{}", file.unwrap().path().display());
            for signal in signals(&path) {
                for meta in REGISTRY {
                    let named = targets(meta.id, &signal);
                    assert!(
                        meta.hears(&signal) || named == Ok(vec![]),
                        "{} takes {named:?} from {path}",
                        meta.id
                    );
                }
            }
        }
    }
}

#[test]
fn a_person_may_name_the_resource_as_the_control_shows_it() {
    for meta in REGISTRY {
        for signal in signals(&format!("events/{}/violating.json", meta.id)) {
            for resource in targets(meta.id, &signal).unwrap() {
                let manual = format!(
                    r#"{{"source":"quell.manual","id":"1","detail":{{"control":"{}","resource":"{resource}","account":"123456789012","region":"eu-west-1"}}}}"#,
                    meta.id
                );

                let heard = signal::parse(&manual).unwrap();
                let Heard::Signal(manual) = &heard[0] else { panic!("{manual} is ignored") };
                assert_eq!(targets(meta.id, manual).unwrap(), [resource]);
            }
        }
    }
}

/// `path` is from the root of the repository.
fn signals(path: &str) -> Vec<Signal> {
    let event = read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let heard = signal::parse(&event).unwrap();
    heard
        .into_iter()
        .filter_map(|heard| match heard {
            Heard::Signal(signal) => Some(signal),
            Heard::Ignored(_) | Heard::Refused(_) => None,
        })
        .collect()
}

/// The reader of events takes a call only from the source that is named as its service is.
#[test]
fn the_source_of_a_call_is_named_as_its_service_is() {
    for meta in REGISTRY {
        for listen in meta.listens {
            if let Listen::ApiCall { source, service, .. } = listen {
                let label = service.strip_suffix(".amazonaws.com");
                assert_eq!(source.strip_prefix("aws."), label, "{}", meta.id);
            }
        }
    }
}
