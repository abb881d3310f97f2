//! Tells people in Slack, and keeps what it told up to date.

mod bearer;
mod event;
mod handler;
mod person;
mod speaker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::serve().await
}
