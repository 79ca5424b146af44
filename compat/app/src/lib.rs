//! The rooms of the tests on the wire. `Todos` is the app that the model of the original has (`../../original/model.js`), written with partysync: the same on the native server
//! (`../../ours`) and on Durable Objects (`../../worker`). It is what `examples/v1-todo` is, and has in addition what some rows of the table need
//! to be seen: an action that can fail half-way, and a table that no client is meant to see. `Chat` has
//! whatever both homes must do alike.

#![forbid(unsafe_code)]

mod chat;
mod hooks;

pub use chat::{Chat, who_is};
pub use hooks::{deliver, prepare, tell};
use partysync::{ActionError, Call, Changed, Record, Schema, SyncServer, Tx};
use serde::{Deserialize, Deserializer};

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

/// A room of the party `todos`.
pub struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        tx.execute("CREATE TABLE IF NOT EXISTS secrets (word TEXT PRIMARY KEY)", &[])?;
        // A room that moves brings it along, whichever home it comes from.
        tx.execute("CREATE TRIGGER IF NOT EXISTS \"noted\" AFTER UPDATE ON secrets BEGIN SELECT 1; END", &[])?;
        tx.execute("INSERT OR IGNORE INTO secrets VALUES ('swordfish')", &[]).map(|_| ())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, apply)
    }
}
