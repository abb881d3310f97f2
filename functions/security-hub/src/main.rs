//! Security Hub hears what came of its findings, and of what else Quell saw.

mod asff;
mod batch;
mod handler;
mod hub;
mod plain;
#[cfg(test)]
mod samples;
mod update;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::serve().await
}
