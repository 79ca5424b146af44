//! The app of the dialogues (`vectors/README.md`).

use partysync_derive::Record;
use partysync_model::{ActionError, Record, Table, Tx};
use serde::Deserialize;

/// A row of the channel `todos`.
#[derive(Record)]
pub struct Todo {
    /// Its id.
    pub id: String,
    /// What is to be done.
    pub title: String,
    /// Whether it is.
    pub done: bool,
}

/// A row of the channel `lists`.
#[derive(Record)]
#[record(table = "lists")]
pub struct TodoList {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a user may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Action {
    Create {
        id: Option<String>,
        title: String,
    },
    Toggle {
        id: String,
    },
    Rename {
        id: String,
        title: String,
    },
    Delete {
        id: String,
    },
    NameList {
        id: String,
        name: String,
    },
    /// Needs SQL: only the server can.
    ClearDone,
}

/// The channels' tables.
pub fn tables() -> Vec<&'static Table> {
    vec![Todo::table(), TodoList::table()]
}

/// What server and client both run.
///
/// # Errors
///
/// Those of the tables, and the app's own rule: a title is needed.
pub fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    let needed = |title: String| {
        if title.is_empty() { Err(ActionError::reject("title_needed", "A title is needed.")) } else { Ok(title) }
    };
    match action {
        Action::Create { id, title } => {
            let title = needed(title)?;
            let id = id.unwrap_or_else(|| tx.new_id());
            tx.table().insert(&Todo { id, title, done: false })
        }
        Action::Toggle { id } => change(tx, &id, |todo| todo.done = !todo.done),
        Action::Rename { id, title } => {
            let title = needed(title)?;
            change(tx, &id, |todo| todo.title = title)
        }
        Action::Delete { id } => tx.table::<Todo>().delete(id).map(|_| ()),
        Action::NameList { id, name } => {
            let is_there = tx.table::<TodoList>().get(&id)?.is_some();
            let list = TodoList { id, name };
            if is_there { tx.table().update(&list) } else { tx.table().insert(&list) }
        }
        Action::ClearDone => tx.execute("DELETE FROM todos WHERE done", &[]).map(|_| ()),
    }
}

fn change(tx: &mut Tx<'_>, id: &str, change: impl FnOnce(&mut Todo)) -> Result<(), ActionError> {
    let mut todo = tx.table::<Todo>().get(id)?.ok_or(partysync_protocol::ErrorCode::NotFound)?;
    change(&mut todo);
    tx.table().update(&todo)
}
