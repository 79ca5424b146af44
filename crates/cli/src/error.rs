use std::io;
use std::path::Path;

/// Why nothing became of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// The server said no.
    #[error("{text} ({status})")]
    Refused {
        status: u16,
        /// The server's own words.
        text: String,
    },
    #[error("{what}: {why}")]
    Failed { what: String, why: String },
}

impl Error {
    pub(crate) fn failed(what: impl Into<String>, why: impl ToString) -> Self {
        Error::Failed { what: what.into(), why: why.to_string() }
    }

    /// Something went wrong with a file.
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Error::failed(path.display().to_string(), error)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Failed { .. } => 1,
            Error::Usage(_) => 2,
            Error::Refused { .. } => 3,
        }
    }
}
