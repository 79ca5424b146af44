//! The server that the tests of version 1 talk to: the app of `../app`, on the native server, with a limit of the rate.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use partysync::{AdminToken, Import, Server, stop_signal};
use partysync_compat_app::{Chat, Todos, deliver, prepare, tell, who_is};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Options {
    /// The directory of the rooms' files.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Frames a second that each connection may send; without this as many as it likes.
    #[arg(long, value_name = "FRAMES")]
    connection_rate: Option<u32>,
    /// Origins whose pages may come in; without this those of any.
    #[arg(long, value_name = "ORIGIN", num_args = 1..)]
    origins: Vec<String>,
    /// Serves the admin interface, with this token.
    #[arg(long, value_name = "TOKEN")]
    admin: Option<String>,
    /// A Durable Object's file, to be the room `imported` before anything is served.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let options = Options::parse();
    let mut server = Server::builder()
        .data(options.data)
        .party("todos", || Todos)
        .party("chat", Chat::default)
        .party("hooked", Chat::default)
        .before_action("hooked", prepare)
        .after_action("hooked", tell)
        .on_outbox("hooked", deliver)
        .on_before_connect("hooked", who_is)
        .on_before_connect("chat", who_is)
        .on_before_request("chat", who_is);
    if let Some(rate) = options.connection_rate {
        server = server.connection_rate(rate);
    }
    if !options.origins.is_empty() {
        server = server.allowed_origins(options.origins);
    }
    let server = server.build()?;
    if let Some(file) = options.import {
        server.import(Import::durable_object("todos", "imported", file)).await?;
    }
    if let Some(token) = options.admin {
        let (admin, token) = (TcpListener::bind("127.0.0.1:0").await?, AdminToken::new(&token)?);
        writeln!(io::stdout(), "admin on http://{}", admin.local_addr()?)?;
        let server = server.clone();
        tokio::spawn(async move { server.serve_admin(admin, token).await });
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    // Whoever started this waits for the line.
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    server.serve(listener, stop_signal()?).await?;
    Ok(())
}
