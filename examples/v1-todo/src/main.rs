//! A todo list that everybody in the room sees at once, for partysync's version 1 clients.

mod page;
mod todos;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use partysync::{Server, stop_signal};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::todos::Todos;

/// Serves a todo list that everybody in the room sees at once.
#[derive(Parser)]
struct Options {
    /// Where to listen; with port 0 at any port that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: String,
    /// The directory of the rooms' files, made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./data/v1-todo")]
    data: PathBuf,
    /// The folder of the page, which holds `web` and `node_modules`.
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_MANIFEST_DIR"))]
    web: PathBuf,
    /// How log lines on stderr are written. Which there are says the variable RUST_LOG, such as `info` or
    /// `partysync_server=debug`.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people; in colour if stderr is a terminal.
    Text,
    /// An object a line.
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log_to_stderr(options.log_format);
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("v1-todo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

async fn run(options: Options) -> Result<(), String> {
    let page = page::routes(&options.web)?;
    let server = Server::builder().data(options.data).party("todos", || Todos).build().map_err(|e| e.to_string())?;
    let address = &options.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    // Whoever started this may wait for the line. If nobody reads it, nobody does.
    let _ = writeln!(io::stdout(), "listening on http://{address}").and_then(|()| io::stdout().flush());
    let app = server.router().merge(page);
    let stop = async {
        stop.await;
        eprintln!("stopping: {}; Ctrl-C again ends at once", server.in_use());
    };
    server.serve_app(listener, app, stop).await.map_err(|error| error.to_string())
}
