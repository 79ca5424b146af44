//! What a test asks of a room or a database, and a transcript of what it gave. The same on both homes.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Range, Record, Scan, Table, Value, Verdict};
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event, Input, Report, Room, RoomName};
use serde::{Deserialize, Serialize};

use crate::app::{App, Tag, Todo};

/// What is asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Line {
    /// Brings the room into memory.
    Open { now: i64, random: u64 },
    /// Hands it a batch of events.
    Handle { now: i64, random: u64, events: Vec<Happening> },
    /// Works on its database, whether it is in memory or not.
    Db(Vec<Op>),
}

/// An event of a room.
#[derive(Serialize, Deserialize)]
pub(crate) enum Happening {
    Opened { connection: u64, key: Option<String>, identity: Option<String> },
    Text { connection: u64, text: String },
    Binary { connection: u64 },
    Closed { connection: u64 },
    Alarm,
}

/// An operation on a database.
#[derive(Serialize, Deserialize)]
pub(crate) enum Op {
    Execute {
        whose: Whose,
        sql: String,
        params: Vec<Param>,
    },
    Query {
        whose: Whose,
        sql: String,
        params: Vec<Param>,
    },
    Insert {
        table: String,
        row: Vec<Param>,
        at: i64,
    },
    Update {
        table: String,
        row: Vec<Param>,
        at: i64,
    },
    Delete {
        table: String,
        id: Param,
    },
    Scan {
        table: String,
        equals: Option<(usize, Param)>,
        from: Option<Param>,
        to: Option<Param>,
        reverse: bool,
        limit: Option<u32>,
    },
    Transaction {
        ops: Vec<Op>,
        end: End,
    },
}

/// An [`Origin`].
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(crate) enum Whose {
    Engine,
    Setup,
    Action,
}

/// How a transaction ends.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Keep,
    Undo,
    Panic,
}

/// A [`Value`]. A real travels as its text, since JSON has no infinity.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) enum Param {
    Null,
    Integer(i64),
    Real(String),
    Text(String),
    Blob(Vec<u8>),
}

impl From<Param> for Value {
    fn from(param: Param) -> Self {
        match param {
            Param::Null => Value::Null,
            Param::Integer(i) => Value::Integer(i),
            Param::Real(r) => Value::Real(r.parse().unwrap_or(f64::NAN)),
            Param::Text(t) => Value::Text(t),
            Param::Blob(b) => Value::Blob(b),
        }
    }
}

/// A room's place: in memory or not, with a database behind it.
pub(crate) struct Home<D> {
    make: Box<dyn Fn() -> Result<D, DbError>>,
    place: Place<D>,
}

enum Place<D> {
    Nothing,
    Database(D),
    Room(Box<Room<App, D>>),
}

impl<D: Db> Home<D> {
    /// `make` opens the database.
    pub(crate) fn new(make: impl Fn() -> Result<D, DbError> + 'static) -> Self {
        Home { make: Box::new(make), place: Place::Nothing }
    }

    /// Runs a script, and says what happened.
    pub(crate) fn run(&mut self, lines: Vec<Line>) -> Vec<String> {
        let mut said = Vec::new();
        for line in lines {
            let done = match line {
                Line::Open { now, random } => self.open(Input { now, random }, &mut said),
                Line::Handle { now, random, events } => self.handle(Input { now, random }, events, &mut said),
                Line::Db(ops) => self.db().map(|db| run_ops(db, ops, &mut said)),
            };
            if let Err(error) = done {
                said.push(format!("no database: {error}"));
            }
        }
        said
    }

    fn db(&mut self) -> Result<&mut dyn Db, DbError> {
        if let Place::Nothing = self.place {
            self.place = Place::Database((self.make)()?);
        }
        match &mut self.place {
            Place::Database(db) => Ok(db),
            Place::Room(room) => Ok(room.db_mut()),
            Place::Nothing => Err(DbError::new(DbErrorKind::Io, "it was made just now")),
        }
    }

    fn open(&mut self, input: Input, said: &mut Vec<String>) -> Result<(), DbError> {
        let db = match std::mem::replace(&mut self.place, Place::Nothing) {
            Place::Nothing => (self.make)()?,
            Place::Database(db) => db,
            Place::Room(room) => room.into_db(),
        };
        match Room::open(db, RoomName::new("spike", "lobby"), App::default, input) {
            Ok(room) => {
                said.push(format!("open at {:?}", room.cursor()));
                self.place = Place::Room(Box::new(room));
            }
            Err(error) => said.push(format!("not open: {error} ({})", error.code())),
        }
        Ok(())
    }

    fn handle(&mut self, input: Input, events: Vec<Happening>, said: &mut Vec<String>) -> Result<(), DbError> {
        let Place::Room(room) = &mut self.place else {
            said.push("the room is not open".to_owned());
            return Ok(());
        };
        let mut effects = Vec::new();
        room.handle(input, events.into_iter().map(Event::from).collect(), &mut effects);
        said.extend(effects.into_iter().map(tell));
        said.push(format!("at {:?}", room.cursor()));
        Ok(())
    }
}

impl From<Happening> for Event {
    fn from(happening: Happening) -> Self {
        match happening {
            Happening::Opened { connection, key, identity } => {
                let info = ConnectionInfo { key, identity, ..ConnectionInfo::default() };
                Event::Opened { connection: ConnectionId(connection), info }
            }
            Happening::Text { connection, text } => Event::text(ConnectionId(connection), text),
            Happening::Binary { connection } => {
                Event::Binary { connection: ConnectionId(connection), bytes: Vec::new() }
            }
            Happening::Closed { connection } => Event::closed(ConnectionId(connection)),
            Happening::Alarm => Event::Alarm,
        }
    }
}

fn tell(effect: Effect) -> String {
    match effect {
        Effect::Send { to, frame } | Effect::Answer { to, frame, .. } => format!("to {}: {}", to.0, &*frame),
        Effect::Broadcast { to, except, frame, .. } => {
            let to: Vec<u64> = to.iter().filter(|to| Some(**to) != except).map(|to| to.0).collect();
            format!("to all of {to:?}: {}", &*frame)
        }
        Effect::Report(report) => tell_report(&report),
        other => format!("{other:?}"),
    }
}

/// Of a mistake in SQL the code alone, for the same reason as in [`tell_error`].
fn tell_report(report: &Report) -> String {
    let error = match report.error.split_once(": ") {
        Some((code, detail)) if code == "app_error" && !detail.starts_with("panicked") => code,
        _ => &report.error,
    };
    format!("report: {}: {error}", report.during)
}

fn run_ops(db: &mut dyn Db, ops: Vec<Op>, said: &mut Vec<String>) {
    for op in ops {
        if let Op::Transaction { ops, end } = op {
            run_transaction(db, ops, end, said);
        } else {
            run_op(db, op, said);
        }
    }
}

fn run_transaction(db: &mut dyn Db, ops: Vec<Op>, end: End, said: &mut Vec<String>) {
    said.push("transaction {".to_owned());
    let mut ops = Some(ops);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        db.transaction(&mut |db| {
            run_ops(db, ops.take().unwrap_or_default(), said);
            match end {
                End::Keep => Verdict::Keep,
                End::Undo => Verdict::Undo,
                End::Panic => panic!("as the script says"),
            }
        })
    }));
    said.push(match ended {
        Ok(Ok(())) => "} ended".to_owned(),
        Ok(Err(error)) => format!("}} failed: {}", tell_error(&error)),
        Err(panic) => format!("}} panicked: {:?}", panic.downcast_ref::<&str>()),
    });
}

fn run_op(db: &mut dyn Db, op: Op, said: &mut Vec<String>) {
    let mut rows = Vec::new();
    let mut each = |row: &dyn Columns| rows.push(format!("  {:?}", row.to_values()));
    let (what, done) = match op {
        Op::Execute { whose, sql, params } => {
            let done = db.execute(whose.into(), &sql, &values(params)).map(|changed| changed.to_string());
            (sql, done)
        }
        Op::Query { whose, sql, params } => {
            let done = db.query(whose.into(), &sql, &values(params), &mut each).map(|()| "rows".to_owned());
            (sql, done)
        }
        Op::Insert { table, row, at } => {
            let done = db.insert(named(&table), &values(row), at).map(|()| "ok".to_owned());
            (format!("insert {table}"), done)
        }
        Op::Update { table, row, at } => {
            let done = db.update(named(&table), &values(row), at).map(|found| found.to_string());
            (format!("update {table}"), done)
        }
        Op::Delete { table, id } => {
            let done = db.delete(named(&table), &id.into()).map(|found| found.to_string());
            (format!("delete {table}"), done)
        }
        Op::Scan { table, equals, from, to, reverse, limit } => {
            let start = from.map_or(Bound::Unbounded, |from| Bound::Included(from.into()));
            let end = to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.into()));
            let equals = equals.map(|(column, value)| (column, value.into()));
            let scan = Scan { ids: Range { start, end }, equals, reverse, limit };
            let done = db.scan(named(&table), &scan, &mut each).map(|()| "rows".to_owned());
            (format!("scan {table}"), done)
        }
        Op::Transaction { .. } => return,
    };
    said.push(match done {
        Ok(done) => format!("{what} -> {done}"),
        Err(error) => format!("{what} -> {}", tell_error(&error)),
    });
    said.extend(rows);
}

/// An error's words are the same on both homes where SQLite has told what is wrong with a value. The others' are for the
/// operator, who sees the platform they come from.
fn tell_error(error: &DbError) -> String {
    match error.kind {
        DbErrorKind::Duplicate | DbErrorKind::Constraint => format!("{:?}: {error}", error.kind),
        kind => format!("{kind:?}"),
    }
}

fn values(params: Vec<Param>) -> Vec<Value> {
    params.into_iter().map(Value::from).collect()
}

fn named(table: &str) -> &'static Table {
    if table == Tag::table().name() { Tag::table() } else { Todo::table() }
}

impl From<Whose> for Origin {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Engine => Origin::Engine,
            Whose::Setup => Origin::Setup,
            Whose::Action => Origin::Action,
        }
    }
}
