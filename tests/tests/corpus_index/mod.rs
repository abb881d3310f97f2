//! The index of a corpus of real events, which stays outside the project.
//!
//! `QUELL_CORPUS` names a folder with one JSON file per event and `index.jsonl`, a line per file.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it serves tests only")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// What the index says about one event.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) kind: String,
    pub(crate) service: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(rename = "errorCode")]
    pub(crate) error_code: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) quirks: Vec<String>,
    pub(crate) label: Label,
}

/// What should be done about the event: one of the first two.
#[derive(Debug, Deserialize)]
pub(crate) struct Label {
    pub(crate) act: Option<String>,
    pub(crate) ignore: Option<String>,
    confidence: String,
}

impl Row {
    pub(crate) fn has_quirk(&self, quirk: &str) -> bool {
        self.quirks.iter().any(|of| of == quirk)
    }

    /// Whether something must be done about the event, whatever the policy.
    pub(crate) fn is_firm_act(&self) -> bool {
        self.label.act.is_some() && self.label.confidence == "firm"
    }

    pub(crate) fn read(&self, folder: &Path) -> String {
        fs::read_to_string(folder.join(&self.file)).unwrap()
    }
}

/// The folder and its index, if there is one.
pub(crate) fn corpus() -> Option<(PathBuf, Vec<Row>)> {
    let Some(folder) = std::env::var_os("QUELL_CORPUS").map(PathBuf::from) else {
        println!("skipped: QUELL_CORPUS is not set");
        return None;
    };
    let index = fs::read_to_string(folder.join("index.jsonl")).unwrap();
    let rows = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Some((folder, rows))
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
