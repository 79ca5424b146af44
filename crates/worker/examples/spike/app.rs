//! A room that shows all that the engine has to get right on both homes.

use partysync_derive::Record;
use partysync_model::{ActionError, Schema, Tx, Value};
use partysync_room::{Call, Changed, Sockets, SyncServer};
use serde::{Deserialize, Serialize};

use crate::script::Param;

#[derive(Record)]
pub(crate) struct Todo {
    pub(crate) id: String,
    #[record(index)]
    pub(crate) list: String,
    pub(crate) title: String,
    pub(crate) done: bool,
    pub(crate) weight: f64,
    #[record(unique)]
    pub(crate) position: Option<i64>,
}

#[derive(Record)]
pub(crate) struct Tag {
    pub(crate) id: i64,
    #[record(unique)]
    pub(crate) name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub(crate) enum Action {
    Add {
        list: String,
        title: String,
        weight: f64,
        position: Option<i64>,
    },
    Title {
        id: String,
        title: String,
    },
    Remove {
        id: String,
    },
    Tag {
        id: i64,
        name: String,
    },
    /// Runs SQL, and says that it changed rows with these ids.
    Sql {
        sql: Vec<(String, Vec<Param>)>,
        claims: Option<Vec<Param>>,
    },
    /// Writes what it read, so that clients see it.
    Note {
        id: String,
        query: String,
    },
    Reject,
    Panic,
    /// How many actions this value applied.
    Count,
    Alarm {
        at: i64,
    },
}

/// The field is there to be wrong after an action is undone.
#[derive(Default)]
pub(crate) struct App {
    applied: i64,
}

impl SyncServer for App {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>().record::<Tag>().raw("notes")
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        for sql in [
            "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY NOT NULL, text ANY,
             todo TEXT REFERENCES todos (id) ON DELETE CASCADE ON UPDATE CASCADE,
             created_at INTEGER, updated_at INTEGER, deleted_at INTEGER) STRICT",
            "CREATE TABLE IF NOT EXISTS private (value ANY) STRICT",
        ] {
            tx.execute(sql, &[])?;
        }
        Ok(())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        self.applied += 1;
        let mut claims = None;
        let changed = call.apply(tx, |tx, action| {
            claims = apply(tx, action, self.applied)?;
            Ok(())
        })?;
        Ok(claims.map_or(changed, Changed::Rows))
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        let id = tx.new_id();
        let at = tx.now();
        tx.execute("INSERT INTO notes (id, text) VALUES (?, 'alarm')", &[id.into()])?;
        // Twice: the first time it asks for the second.
        if tx.query("SELECT 1 FROM notes WHERE text = 'alarm'", &[])?.len() == 1 {
            tx.set_alarm(at + 60_000);
        }
        Ok(())
    }
}

fn apply(tx: &mut Tx<'_>, action: Action, applied: i64) -> Result<Option<Vec<Vec<Value>>>, ActionError> {
    match action {
        Action::Add { list, title, weight, position } => {
            let todo = Todo { id: tx.new_id(), list, title, done: false, weight, position };
            tx.table::<Todo>().insert(&todo)?;
        }
        Action::Title { id, title } => {
            let found = tx.table::<Todo>().get(&id)?;
            let todo = found.ok_or_else(|| ActionError::reject("gone", "There is no such todo."))?;
            tx.table::<Todo>().update(&Todo { title, done: true, ..todo })?;
        }
        Action::Remove { id } => drop(tx.table::<Todo>().delete(&id)?),
        Action::Tag { id, name } => tx.table::<Tag>().insert(&Tag { id, name })?,
        Action::Sql { sql, claims } => {
            for (sql, params) in sql {
                let params: Vec<Value> = params.into_iter().map(Value::from).collect();
                tx.query(&sql, &params)?;
            }
            return Ok(claims.map(|ids| ids.into_iter().map(|id| vec![id.into()]).collect()));
        }
        Action::Note { id, query } => {
            let rows = tx.query(&query, &[])?;
            tx.execute("INSERT INTO notes (id, text) VALUES (?, ?)", &[id.into(), format!("{rows:?}").into()])?;
        }
        Action::Reject => {
            tx.table::<Tag>().insert(&Tag { id: 1_000, name: "never".to_owned() })?;
            return Err(ActionError::reject("no", "Not today."));
        }
        Action::Panic => {
            tx.table::<Tag>().insert(&Tag { id: 1_000, name: "never".to_owned() })?;
            panic!("as it was told");
        }
        Action::Count => {
            let id = tx.new_id();
            tx.execute("INSERT INTO notes (id, text) VALUES (?, ?)", &[id.into(), applied.into()])?;
        }
        Action::Alarm { at } => tx.set_alarm(at),
    }
    Ok(None)
}
