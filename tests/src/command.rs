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

/// The same, while this process goes on serving what the command needs.
pub async fn quell_meanwhile(arguments: &[&str], environment: &[(String, String)]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    let environment = environment.to_vec();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        quell(&arguments, &environment)
    };
    tokio::task::spawn_blocking(run).await.expect("the command runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
