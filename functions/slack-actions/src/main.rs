//! Slack's buttons: the one function of Quell's that the internet reaches.
//!
//! It has no rights but to read the signing secret and to hand what was pressed to the operator, which decides. Its ARN
//! is in the environment of every function of the stack as `QUELL_PUBLIC_FUNCTION`: a check for public function URLs
//! leaves this one alone, and no other.

mod handler;
mod request;
mod secret;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::serve().await
}
