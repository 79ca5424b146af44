//! A todo list that everybody in the room sees at once, for partysync's version 1 clients.

mod import;
mod page;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use partysync::{Server, stop_signal};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use v1_todo_app::Todos;

/// Serves a todo list that everybody in the room sees at once.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Order>,
    /// Where to listen; with port 0 at any port that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: String,
    /// The directory of the rooms' files, made if it is not there.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    data: PathBuf,
    /// The folder of the page, which holds `web` and `node_modules`.
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_MANIFEST_DIR"))]
    web: PathBuf,
}

/// What to do instead of serving.
#[derive(Subcommand)]
enum Order {
    Import(import::Options),
}

/// Where the rooms' files are unless it is said.
const DATA: &str = "./data/v1-todo";

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Which lines there are says the variable RUST_LOG, such as `info`.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    lines.with_ansi(io::stderr().is_terminal()).init();
    let done = match options.command {
        Some(Order::Import(options)) => import::run(options).await,
        None => run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("v1-todo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let page = page::routes(&options.web)?;
    let data = std::path::absolute(&options.data).unwrap_or_else(|_| options.data.clone());
    let server = server(options.data)?;
    let listener = TcpListener::bind(&options.listen).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another address with --listen", options.listen)
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    eprintln!("data in {}", data.display());
    // Whoever started this may wait for the line. If nobody reads it, nobody does.
    let _ = writeln!(io::stdout(), "listening on http://{address}").and_then(|()| io::stdout().flush());
    let app = server.router().merge(server.health_router()).merge(page);
    server.serve_app(listener, app, stop).await.map_err(|error| error.to_string())
}

/// The server's rooms.
fn server(data: PathBuf) -> Result<Server, String> {
    Server::builder().data(data).party("todos", || Todos).build().map_err(|error| error.to_string())
}
