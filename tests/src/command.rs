//! The `quell` command as a person runs it.

use std::process::{Command, Output};

use crate::rig::binary;

/// The `quell` command with this environment and nothing else of ours.
pub fn quell<N: AsRef<str>, V: AsRef<str>>(arguments: &[&str], environment: &[(N, V)]) -> Output {
    let mut command = Command::new(binary("quell"));
    command.args(arguments);
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") || name.starts_with("QUELL_") {
            command.env_remove(name);
        }
    }
    for (name, value) in environment {
        command.env(name.as_ref(), value.as_ref());
    }
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
