//! What whoever runs the program has of it: its log, and the admin interface's token.

use std::io::{self, IsTerminal};
use std::path::Path;

use clap::ValueEnum;
use partysync::AdminToken;
use tracing_subscriber::EnvFilter;

/// The variable that may hold the admin interface's token.
const TOKEN: &str = "PARTYSYNC_ADMIN_TOKEN";

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; in colour if stderr is a terminal.
    Text,
    /// An object a line.
    Json,
}

pub(crate) fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// The token of the admin interface: never an argument, which everybody on the machine can read.
pub(crate) fn admin_token(file: Option<&Path>) -> Result<AdminToken, String> {
    let (token, place) = match file {
        Some(file) => {
            let read = std::fs::read_to_string(file);
            let token = read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            (token, file.display().to_string())
        }
        None => {
            let missing = |_| {
                format!("--admin needs a token: in the variable {TOKEN}, or in a file that --admin-token-file names")
            };
            (std::env::var(TOKEN).map_err(missing)?, TOKEN.to_owned())
        }
    };
    AdminToken::new(token.trim()).map_err(|error| format!("{place}: {error}"))
}
