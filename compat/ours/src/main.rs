//! The server that the tests of version 1 talk to: the app that the model of the original has (`../original/model.js`), written with
//! partysync. It is what `examples/v1-todo` is, and has in addition what some rows of the table need to be seen: an action
//! that can fail half-way, a table that no client is meant to see, and a limit of the rate.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use partysync::{ActionError, Call, Changed, Import, Record, Schema, Server, SyncServer, Tx, stop_signal};
use serde::{Deserialize, Deserializer};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Options {
    /// The directory of the rooms' files.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Frames a second that each connection may send; without this as many as it likes.
    #[arg(long, value_name = "FRAMES")]
    connection_rate: Option<u32>,
    /// A Durable Object's file, to be the room `imported` before anything is served.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

#[derive(Record, Deserialize)]
struct Todo {
    id: String,
    text: String,
    #[serde(deserialize_with = "flag")]
    completed: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "camelCase")]
enum Action {
    Create(Todo),
    /// One after the other: what fails comes behind what did not.
    CreateAll {
        todos: Vec<Todo>,
    },
    Update(Todo),
    Delete {
        id: String,
    },
}

fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Create(todo) => tx.table().insert(&todo),
        Action::CreateAll { todos } => todos.iter().try_for_each(|todo| tx.table().insert(todo)),
        Action::Update(todo) => tx.table().update(&todo),
        Action::Delete { id } => tx.table::<Todo>().delete(id).map(|_| ()),
    }
}

/// A boolean as version 1's clients have it: rows come to them with 0 and 1, and that is what they send back.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match u8::deserialize(deserializer)? {
        flag @ 0..=1 => Ok(flag == 1),
        _ => Err(serde::de::Error::custom("0 or 1")),
    }
}

struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        tx.execute("CREATE TABLE IF NOT EXISTS secrets (word TEXT PRIMARY KEY)", &[])?;
        tx.execute("INSERT OR IGNORE INTO secrets VALUES ('swordfish')", &[]).map(|_| ())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, apply)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let options = Options::parse();
    let mut server = Server::builder().data(options.data).party("todos", || Todos);
    if let Some(rate) = options.connection_rate {
        server = server.connection_rate(rate);
    }
    let server = server.build()?;
    if let Some(file) = options.import {
        server.import(Import::durable_object("todos", "imported", file)).await?;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    // Whoever started this waits for the line.
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    server.serve(listener, stop_signal()?).await?;
    Ok(())
}
