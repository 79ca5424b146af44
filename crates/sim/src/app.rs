//! The app that rooms and clients of a world run: typed actions that clients predict, and raw SQL of the rude kind.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};

use partysync_derive::Record;
use partysync_model::{ActionError, Column, ColumnType, Record, Schema, Table, Tx, Value};
use partysync_room::{Call, Changed, Handled, Message, Socket, Sockets, SyncServer};
use serde::{Deserialize, Serialize};

use crate::disk::lock;

/// A channel with a unique column.
#[derive(Debug, Record)]
pub(crate) struct Note {
    pub(crate) id: String,
    #[record(unique)]
    pub(crate) title: String,
    pub(crate) body: String,
}

/// A channel with integers for ids.
#[derive(Debug, Record)]
pub(crate) struct Counter {
    pub(crate) id: i64,
    pub(crate) total: i64,
}

/// The channel of raw SQL that refers to notes, as clients know it.
static TAGS: Table = Table::new("Tag", "tags", &[text("id"), text("note"), text("label")]);

const TAGS_SQL: &str = "CREATE TABLE IF NOT EXISTS tags (id TEXT PRIMARY KEY NOT NULL, \
    note TEXT NOT NULL REFERENCES notes (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, \
    label, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)";

/// What was applied, in order: the app's word beside the room's log.
const JOURNAL_SQL: &str = "CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, nonce INTEGER NOT NULL, \
    made TEXT, at INTEGER NOT NULL)";

/// The counter that `on_alarm` adds to.
pub(crate) const ALARM_COUNTER: i64 = 100;

/// Why the app closes a socket.
pub(crate) const ENDS: &str = "The app ends it.";

/// What stands in the journal for an alarm.
pub(crate) const ALARM_NONCE: u64 = 0;

const fn text(name: &'static str) -> Column {
    Column { name, column_type: ColumnType::Text, nullable: false, unique: false, indexed: false }
}

/// The channels as clients know them, with their names.
pub(crate) fn tables() -> Vec<&'static Table> {
    vec![Note::table(), Counter::table(), &TAGS]
}

/// An action with a number of its own, by which the checks know it whoever sends it how often.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) nonce: u64,
    #[serde(flatten)]
    pub(crate) action: Action,
}

/// What clients ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub(crate) enum Action {
    AddNote {
        id: Option<String>,
        title: String,
        body: String,
    },
    EditNote {
        id: String,
        body: String,
    },
    DropNote(String),
    Add {
        counter: i64,
        by: i64,
    },
    DropCounter(i64),
    /// Changes something, then says no.
    Refuse(i64),
    /// Changes something, then panics.
    Panic(i64),
    Replace {
        id: String,
        title: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Tag {
        id: String,
        note: String,
    },
    /// The tag first: the reference is made good later.
    TagThenNote {
        id: String,
        note: String,
        title: String,
    },
    /// A tag that no client can be sent.
    BlobTag {
        id: String,
        note: String,
    },
    /// Marks a note deleted, as raw SQL may.
    Mark(String),
    /// Takes the whole transaction with it if the title is there already.
    InsertOrRollback {
        id: String,
        title: String,
    },
    /// The same, but it goes on as if nothing had happened.
    InsertAndGoOn {
        id: String,
        title: String,
    },
    AddToAll,
    /// Notes in such a number that a few changes are little beside them.
    Fill(u64),
    ClearNotes,
    ClearCounters,
    /// SQL that an action may not run.
    Forbidden,
    /// Uses more steps than an action has.
    Spin,
    SetAlarm {
        after_ms: i64,
    },
    /// As large as it says.
    Padded(String),
    /// Puts items into the outbox; with a counter that it adds to, a version goes with them.
    Post {
        counter: Option<i64>,
        items: u64,
        fails: bool,
    },
}

/// An item of the outbox: which of an action's it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) nonce: u64,
    pub(crate) index: u64,
}

/// Applies an action: on the server, and as a prediction in the client.
pub(crate) fn apply(tx: &mut Tx<'_>, request: Request) -> Result<Option<String>, ActionError> {
    match request.action {
        Action::AddNote { id, title, body } => {
            let id = id.unwrap_or_else(|| tx.new_id());
            tx.table::<Note>().insert(&Note { id: id.clone(), title, body })?;
            return Ok(Some(id));
        }
        Action::EditNote { id, body } => {
            let Some(mut note) = tx.table::<Note>().get(&id)? else {
                return Err(ActionError::reject("gone", "The note is gone."));
            };
            note.body = body;
            tx.table::<Note>().update(&note)?;
        }
        Action::DropNote(id) => drop(tx.table::<Note>().delete(id)?),
        Action::Add { counter, by } => add(tx, counter, by)?,
        Action::DropCounter(counter) => drop(tx.table::<Counter>().delete(counter)?),
        Action::Refuse(counter) => {
            add(tx, counter, 1_000)?;
            return Err(ActionError::reject("refused", "No."));
        }
        Action::SetAlarm { after_ms } => tx.set_alarm(tx.now() + after_ms),
        Action::Padded(_) => {}
        Action::Post { counter, items, fails } => {
            counter.map_or(Ok(()), |counter| add(tx, counter, 1))?;
            (0..items).try_for_each(|index| tx.outbox(&Item { nonce: request.nonce, index }))?;
            if fails {
                return Err(ActionError::reject("refused", "No."));
            }
        }
        raw => apply_raw(tx, raw)?,
    }
    Ok(None)
}

fn apply_raw(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    let (sql, params): (&str, Vec<Value>) = match action {
        Action::Panic(counter) => {
            tx.execute("UPDATE counters SET total = total + 1000 WHERE id = ?", &[counter.into()])?;
            // Not `panic!`: the hook would print each of thousands.
            resume_unwind(Box::new("the app panics"));
        }
        Action::Replace { id, title } => {
            ("INSERT OR REPLACE INTO notes (id, title, body) VALUES (?, ?, 'replaced')", vec![id.into(), title.into()])
        }
        Action::Rename { from, to } => {
            ("UPDATE notes SET id = ? WHERE id = ? AND deleted_at IS NULL", vec![to.into(), from.into()])
        }
        Action::Tag { id, note } => (INSERT_TAG, vec![id.into(), note.into(), "tag".into()]),
        Action::BlobTag { id, note } => (INSERT_TAG, vec![id.into(), note.into(), Value::Blob(vec![1])]),
        Action::TagThenNote { id, note, title } => {
            tx.execute(INSERT_TAG, &[id.into(), note.clone().into(), "first".into()])?;
            ("INSERT INTO notes (id, title, body) VALUES (?, ?, 'second')", vec![note.into(), title.into()])
        }
        Action::Mark(id) => ("UPDATE notes SET deleted_at = 1 WHERE id = ? AND deleted_at IS NULL", vec![id.into()]),
        Action::InsertOrRollback { id, title } => {
            ("INSERT OR ROLLBACK INTO notes (id, title, body) VALUES (?, ?, 'alone')", vec![id.into(), title.into()])
        }
        Action::InsertAndGoOn { id, title } => {
            let sql = "INSERT OR ROLLBACK INTO notes (id, title, body) VALUES (?, ?, 'on')";
            let _ = tx.execute(sql, &[id.into(), title.into()]);
            ("UPDATE counters SET total = total + 1", vec![])
        }
        Action::AddToAll => ("UPDATE counters SET total = total + 1", vec![]),
        Action::Fill(notes) => (
            "INSERT OR REPLACE INTO notes (id, title, body) WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n \
             WHERE i + 1 < ?) SELECT 'fill' || i, 'fill ' || i, ? FROM n",
            vec![(notes as i64).into(), fill_body().into()],
        ),
        Action::ClearNotes => ("DELETE FROM notes WHERE deleted_at IS NULL", vec![]),
        Action::ClearCounters => ("DELETE FROM counters", vec![]),
        Action::Forbidden => {
            tx.execute("UPDATE counters SET total = -1", &[])?;
            ("UPDATE _log SET stamp = 0", vec![])
        }
        Action::Spin => (
            "INSERT INTO counters (id, total) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 1000000) SELECT 50, count(*) FROM n",
            vec![],
        ),
        _ => return Ok(()),
    };
    tx.execute(sql, &params).map(|_| ())
}

/// What is in a note that is there to be large.
pub(crate) fn fill_body() -> String {
    "x".repeat(FILL_BYTES)
}

const FILL_BYTES: usize = 300;

const INSERT_TAG: &str = "INSERT INTO tags (id, note, label) VALUES (?, ?, ?)";

fn add(tx: &mut Tx<'_>, id: i64, by: i64) -> Result<(), ActionError> {
    let mut counters = tx.table::<Counter>();
    match counters.get(id)? {
        Some(counter) => counters.update(&Counter { total: counter.total + by, ..counter }),
        None => counters.insert(&Counter { id, total: by }),
    }
}

/// The room's app. It counts what was applied in a field, and looks whether the field is right (P5).
pub(crate) struct App {
    applied: i64,
    /// What it found wrong with its own field.
    complaints: Complaints,
}

/// Shared by all values of an app, and the world.
pub(crate) type Complaints = Arc<Mutex<Vec<String>>>;

impl App {
    pub(crate) fn new(complaints: &Complaints) -> Self {
        App { applied: -1, complaints: Arc::clone(complaints) }
    }

    fn journal(&mut self, tx: &mut Tx<'_>, nonce: u64, made: Option<String>) -> Result<(), ActionError> {
        let params = [(nonce as i64).into(), made.into(), tx.now().into()];
        tx.execute("INSERT INTO journal (nonce, made, at) VALUES (?, ?, ?)", &params).map(|_| ())
    }

    /// Counts before anything can fail: a step that is undone has to undo this too.
    fn count(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        let stored = journal_len(tx)?;
        if stored != self.applied {
            let complaint = format!("the app's field says {} actions were applied, its table {stored}", self.applied);
            lock(&self.complaints).push(complaint);
        }
        self.applied += 1;
        Ok(())
    }
}

fn journal_len(tx: &mut Tx<'_>) -> Result<i64, ActionError> {
    match tx.query("SELECT count(*) FROM journal", &[])?.first().and_then(|row| row.first()) {
        Some(Value::Integer(count)) => Ok(*count),
        _ => Ok(0),
    }
}

impl SyncServer for App {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>().record::<Counter>().raw("tags")
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        tx.execute(TAGS_SQL, &[])?;
        tx.execute(JOURNAL_SQL, &[])?;
        self.applied = journal_len(tx)?;
        Ok(())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        self.count(tx)?;
        let request: Request = serde_json::from_str(call.action())
            .map_err(|_| ActionError::from(partysync_protocol::ErrorCode::BadAction))?;
        let nonce = request.nonce;
        let made = apply(tx, request)?;
        self.journal(tx, nonce, made)?;
        Ok(Changed::Captured)
    }

    /// Who asks for it is put out, with a close code.
    fn on_message(&mut self, _: &mut Tx<'_>, socket: Socket<'_>, message: Message<'_>) -> Result<Handled, ActionError> {
        let Message::Text(text) = message else { return Ok(Handled::No) };
        let Some(Ok(code)) = text.strip_prefix("end ").map(str::parse) else { return Ok(Handled::No) };
        socket.close(code, ENDS)?;
        Ok(Handled::Yes)
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        self.count(tx)?;
        add(tx, ALARM_COUNTER, 1)?;
        self.journal(tx, ALARM_NONCE, None)
    }
}
