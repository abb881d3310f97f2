//! The operator: what people order, and what was left unfinished.

mod answer;
mod domain;
mod handler;
mod recovery;
mod request;
mod slack;
mod verbs;

use quell_controls::REGISTRY;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::serve(REGISTRY).await
}
