//! A todo list that everybody in the room sees at once, for partysync's version 1 clients.

mod import;
mod page;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use partysync::{AdminToken, Server, stop_signal};
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
    /// How log lines on stderr are written. Which there are says the variable RUST_LOG, such as `info` or
    /// `partysync_server=debug`.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Where the admin interface listens: metrics, health, and orders to rooms. Without this there is none. Its token is in the
    /// variable PARTYSYNC_ADMIN_TOKEN, or in the file that --admin-token-file names.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// A file whose only line is the admin interface's token, at least 16 characters long.
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,
}

/// What to do instead of serving.
#[derive(Subcommand)]
enum Order {
    Import(import::Options),
}

/// Where the rooms' files are unless it is said.
const DATA: &str = "./data/v1-todo";

/// The variable that may hold the admin interface's token.
const TOKEN: &str = "PARTYSYNC_ADMIN_TOKEN";

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

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

async fn run(options: Options) -> Result<(), String> {
    // What is wrong with the options is said before anything is touched.
    let token = options.admin.as_ref().map(|_| admin_token(options.admin_token_file.as_deref())).transpose()?;
    let page = page::routes(&options.web)?;
    let data = std::path::absolute(&options.data).unwrap_or_else(|_| options.data.clone());
    let server = server(options.data)?;
    let listener = bind(&options.listen, "--listen").await?;
    if let (Some(address), Some(token)) = (&options.admin, token) {
        let (listener, server) = (bind(address, "--admin").await?, server.clone());
        if let Ok(address) = listener.local_addr() {
            eprintln!("admin interface on http://{address}");
        }
        tokio::spawn(async move { server.serve_admin(listener, token).await });
    }
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    eprintln!("data in {}", data.display());
    // Whoever started this may wait for the line. If nobody reads it, nobody does.
    let _ = writeln!(io::stdout(), "listening on http://{address}").and_then(|()| io::stdout().flush());
    let app = server.router().merge(server.health_router()).merge(page);
    let stop = async {
        stop.await;
        eprintln!("stopping: {}; Ctrl-C again ends at once", server.in_use());
    };
    server.serve_app(listener, app, stop).await.map_err(|error| error.to_string())
}

/// The server's rooms.
fn server(data: PathBuf) -> Result<Server, String> {
    Server::builder().data(data).party("todos", || Todos).build().map_err(|error| error.to_string())
}

async fn bind(address: &str, option: &str) -> Result<TcpListener, String> {
    let failed = |error| format!("cannot listen on {address}: {error}; choose another address with {option}");
    TcpListener::bind(address).await.map_err(failed)
}

/// The token of the admin interface: never an argument, which everybody on the machine can read.
fn admin_token(file: Option<&Path>) -> Result<AdminToken, String> {
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
