//! A todo list that everybody in the room sees at once, and that works offline.

mod operator;
mod page;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use operator::{LogFormat, admin_token, log_to_stderr};
use partysync::{Server, stop_signal};
use todo_app::Todos;
use tokio::net::TcpListener;

/// Serves a todo list that everybody in the room sees at once, and that works offline.
#[derive(Parser)]
struct Options {
    /// Where to listen; with port 0 at any port that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: String,
    /// The directory of the rooms' files, made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./data/todo")]
    data: PathBuf,
    /// The folder of the page, as `npm run build` leaves it.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist"))]
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

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    log_to_stderr(options.log_format);
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("todo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    // What is wrong with the options is said before anything is touched.
    let token = options.admin.as_ref().map(|_| admin_token(options.admin_token_file.as_deref())).transpose()?;
    let page = page::routes(&options.web)?;
    let data = std::path::absolute(&options.data).unwrap_or_else(|_| options.data.clone());
    let server = Server::builder().data(options.data).party("todos", || Todos).build();
    let server = server.map_err(|error| error.to_string())?;
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

async fn bind(address: &str, option: &str) -> Result<TcpListener, String> {
    let failed = |error| format!("cannot listen on {address}: {error}; choose another address with {option}");
    TcpListener::bind(address).await.map_err(failed)
}
