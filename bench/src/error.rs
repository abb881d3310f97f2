use std::{io, path::PathBuf};

use quell_local::{EmulatorError, LambdaError, proxy::ProxyError};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no {}; `bench/run` makes it", .0.display())]
    Missing(PathBuf),
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("there is no case {0}; there are acl, imds and ssh")]
    NoCase(String),
    #[error("this needs Linux, which tells how much time another process has used: {0}")]
    Clock(String),
    #[error("{side} did not go as it should: {what}")]
    Unexpected { side: String, what: String },
    #[error("the encrypted endpoint could not be made: {0}")]
    Tls(String),
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// The emulator's, in words.
    #[error("the embedded AWS: {0}")]
    Cloud(#[from] quell_local::scenario::Error),
}

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path: path.clone(), reason: error.to_string() }
    }
}
