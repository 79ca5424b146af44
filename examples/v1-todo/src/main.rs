//! A todo list that everybody in the room sees at once, for partysync's version 1 clients.

mod page;
mod todos;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitCode, exit};

use clap::Parser;
use partysync::Server;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::todos::Todos;

/// Exit code of a program that Ctrl-C ended at once, as shells have it.
const INTERRUPTED: i32 = 130;

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
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("v1-todo: {error}");
            ExitCode::FAILURE
        }
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
    server.serve_app(listener, app, stop).await.map_err(|error| error.to_string())
}

/// Is ready at the first Ctrl-C or SIGTERM. At the second the program ends at once.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            exit(INTERRUPTED);
        });
    })
}

/// Is ready at the first Ctrl-C. At the second the program ends at once.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // It fails if nothing can be waited for: then there is nothing to stop at.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                exit(INTERRUPTED);
            }
        });
    })
}
