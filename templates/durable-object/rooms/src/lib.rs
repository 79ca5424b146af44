//! The rooms. This crate knows neither home: a native server can have it, too.

use partysync::{ActionError, Call, Changed, Record, Schema, SyncServer, Tx};
use serde::Deserialize;

/// A row of the channel `notes`.
#[derive(Record, Deserialize)]
pub struct Note {
    pub id: String,
    pub text: String,
}

/// What a client can ask for: `{"type": "add", "payload": {"id": "1", "text": "hello"}}`.
#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
pub enum Action {
    Add(Note),
    Remove { id: String },
}

/// A room.
pub struct Notes;

impl SyncServer for Notes {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, action| match action {
            Action::Add(note) => tx.table().insert(&note),
            Action::Remove { id } => tx.table::<Note>().delete(id).map(|_| ()),
        })
    }
}
