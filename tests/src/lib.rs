//! What several test files need.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io, path::PathBuf};

use quell_controls::with_control;
use quell_engine::{Control as _, Signal, control::TargetError};

pub mod attack;
pub mod browser;
pub mod buttons;
pub mod command;
pub mod desk;
pub mod findings;
pub mod permissions;
pub mod records;
pub mod rig;

/// A path from the root of the repository.
pub fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A file of the repository, by its path from the root.
pub fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(root(path))
}

/// The `//!` page at the top of a source file, without its marks.
pub fn page(source: &str) -> io::Result<String> {
    let text = read(source)?;
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    let lines = lines.map(|line| line[3..].strip_prefix(' ').unwrap_or(&line[3..]));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The resources that a control takes from a signal, as people know them.
pub fn targets(control: &str, signal: &Signal) -> Result<Vec<String>, TargetError> {
    let targets = with_control!(control, C => {
        C::targets(signal).map(|targets| targets.iter().map(ToString::to_string).collect())
    });
    targets.expect("the control is registered")
}
