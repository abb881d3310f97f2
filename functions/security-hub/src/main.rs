//! Security Hub hears what came of its findings, and of what else Quell saw.

mod asff;
mod handler;
mod hub;
mod plain;
mod speaker;
mod update;

#[cfg(test)]
use quell_engine::text::is_invisible;

// What renders for e-mail is tested with the same.
#[cfg(test)]
#[path = "../../../shared/engine/src/text/hostile.rs"]
mod hostile;

#[cfg(test)]
#[path = "../../../shared/engine/src/notify/samples.rs"]
mod samples;

#[cfg(test)]
mod stub;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::serve().await
}
