//! AWS and Lambda on one machine, for the demo and the tests. Nothing that is deployed knows this crate.

pub mod cloud;
pub mod emulator;
pub mod front_door;
pub mod iam;
pub mod proxy;
pub mod runtime_api;
pub mod scenario;
pub mod slack;
pub mod source;
pub mod stack;
pub mod template;

pub use cloud::Cloud;
pub use emulator::{Emulator, EmulatorError};
pub use front_door::{FrontDoor, Invoked, Key};
pub use proxy::Proxy;
pub use runtime_api::{Answer, Attempt, DeadLetterQueue, Function, Invocation, LambdaError, Watch};
pub use slack::SlackApi;
pub use source::Source;
pub use stack::Stack;
pub use template::{Deployment, Template};
