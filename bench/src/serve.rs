//! The server that is measured: the todo example's rooms, and an action that fills a room.

use std::io::{Read, Write};
use std::thread;

use partysync::{ActionError, Call, Changed, Record, Schema, Server, SyncServer, Tx};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::kill;
use crate::options::Serve;

#[derive(Record, Deserialize)]
struct Todo {
    id: String,
    text: String,
    completed: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Action {
    Create {
        id: String,
        text: String,
    },
    /// Many rows at once, of these numbers.
    Fill {
        from: u32,
        to: u32,
        text: String,
    },
}

fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Create { id, text } => tx.table().insert(&Todo { id, text, completed: false }),
        Action::Fill { from, to, text } => (from..to).try_for_each(|number| {
            tx.table().insert(&Todo { id: format!("fill-{number}"), text: text.clone(), completed: false })
        }),
    }
}

struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, apply)
    }
}

/// What is posted: each post is of several parts.
#[derive(Record)]
struct Part {
    id: String,
    post: String,
}

/// How many actions were applied, and how many parts they made.
#[derive(Record)]
struct Total {
    id: i64,
    actions: i64,
    parts: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Post {
    Post {
        id: String,
        parts: i64,
        /// It is rejected, after it has written all.
        fails: bool,
    },
}

fn post(tx: &mut Tx<'_>, action: Post) -> Result<(), ActionError> {
    let Post::Post { id, parts, fails } = action;
    let known = tx.table::<Total>().get(0)?;
    let mut total = known.unwrap_or(Total { id: 0, actions: 0, parts: 0 });
    let is_first = total.actions == 0;
    for part in 0..parts {
        tx.table().insert(&Part { id: format!("{id}-{part}"), post: id.clone() })?;
    }
    total.actions += 1;
    total.parts += parts;
    if is_first {
        tx.table().insert(&total)?
    } else {
        tx.table().update(&total)?
    }
    if fails { Err(ActionError::reject("no", kill::NO)) } else { Ok(()) }
}

/// The rooms of a server that is killed: an action writes many rows of two tables.
struct Parts;

impl SyncServer for Parts {
    fn schema(&self) -> Schema {
        Schema::new().record::<Part>().record::<Total>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, post)
    }
}

/// Serves until standard input ends, which it does when whoever started this is gone, however it went.
pub(crate) fn run(options: &Serve) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Server(error.to_string());
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let mut builder = Server::builder().data(&options.data).party("todos", || Todos).party("parts", || Parts);
        if options.idle_ms > 0 {
            builder = builder.idle_ms(options.idle_ms);
        }
        let server = builder.build().map_err(|error| failed(&error))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let _ = writeln!(std::io::stdout(), "{address}");
        server.serve(listener, input_ends()).await.map_err(|error| failed(&error))
    })
}

fn input_ends() -> impl Future<Output = ()> {
    let (ended, end) = oneshot::channel::<()>();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    async { drop(end.await) }
}
