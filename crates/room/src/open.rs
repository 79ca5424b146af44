//! How a room comes into memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use partysync_model::{ActionError, Db, DbError, DbErrorKind, Origin, Schema, Value, Verdict};
use partysync_protocol::{Cursor, ErrorCode, Fault, Stamp, limits};

use crate::away::Away;
use crate::channel::{ChannelTable, ShapeError};
use crate::clients::Clients;
use crate::connection::Connections;
use crate::instance::{Instance, panicked};
use crate::observe::Watch;
use crate::outbox::Outbox;
use crate::purge::Timers;
use crate::snapshots::Snapshots;
use crate::sockets::Members;
use crate::step::{Stepper, mix};
use crate::store::{self, Head, LogEntry};
use crate::{Input, Room, RoomName, SyncServer};

/// A room cannot come into memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database failed.
    #[error("the database: {0}")]
    Db(#[from] DbError),
    /// The file was written by a later version of this library (SPEC 7.5).
    #[error("the room is of format {found}; this server knows formats up to {known}")]
    FormatNewer {
        /// The file's format.
        found: i64,
        /// The highest that this library knows.
        known: i64,
    },
    /// The file holds another room.
    #[error("the file holds the room {found:?}, not {wanted:?}")]
    WrongRoom {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// A table cannot be a channel.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The schema has more channels than a room may have.
    #[error("the room has {0} channels; {max} is the most", max = limits::CHANNELS)]
    TooManyChannels(usize),
    /// The app's own code failed: making its value, its schema, or `on_start`.
    #[error("the app cannot start: {0}")]
    Start(ActionError),
}

impl OpenError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            OpenError::Db(error) => ActionError::from(error.clone()).code(),
            OpenError::FormatNewer { .. } => ErrorCode::FormatNewer,
            OpenError::WrongRoom { .. } => ErrorCode::StorageFailed,
            // The app's start-up met a disk that is full, or a file that is damaged.
            OpenError::Start(error) if error.code().fault() == Fault::Server => error.code(),
            _ => ErrorCode::AppError,
        }
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Brings a room into memory: makes or checks its tables, runs `on_start`. `make` makes the app's value, now and each
    /// time it has to be made anew.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nothing of a failed opening stays in the database.
    pub fn open(
        mut db: D,
        name: RoomName,
        make: impl Fn() -> S + Send + 'static,
        input: Input,
    ) -> Result<Self, OpenError> {
        let mut instance = Instance::new(make);
        let mut clients = Clients::default();
        let mut opened = None;
        db.transaction(&mut |db| {
            let result = open_in(db, &name, &mut instance, &mut clients, input);
            let verdict = if result.is_ok() { Verdict::Keep } else { Verdict::Undo };
            opened = Some(result);
            verdict
        })?;
        let lost = || DbError::new(DbErrorKind::Lost, "the transaction did not run");
        let Opened { channels, head, floor, dropped, away, opened_at } = opened.ok_or_else(lost)??;
        Ok(Room {
            name,
            db,
            channels,
            instance,
            clients,
            connections: Connections::default(),
            away,
            members: Members::default(),
            snapshots: Snapshots::default(),
            head,
            floor,
            dropped,
            input,
            opened_at,
            timers: Timers::default(),
            watch: Watch::default(),
            outbox: Outbox::default(),
            wake_at: None,
            groups_with_savepoints: 0,
            alarm_failures: 0,
            alarm_retry_at: None,
            socket_rooms: 1,
            sees_backlogs: false,
            must_reopen: false,
        })
    }
}

struct Opened {
    channels: Vec<ChannelTable>,
    head: Head,
    floor: u64,
    dropped: Option<u64>,
    away: Away,
    opened_at: Cursor,
}

fn open_in<S: SyncServer>(
    db: &mut dyn Db,
    name: &RoomName,
    instance: &mut Instance<S>,
    clients: &mut Clients,
    input: Input,
) -> Result<Opened, OpenError> {
    create_or_check(db, name, input)?;
    let mut head = store::head(db)?;
    let opened_at = head.cursor;
    let schema = read_schema(instance).map_err(OpenError::Start)?;
    if schema.channels().len() > limits::CHANNELS {
        return Err(OpenError::TooManyChannels(schema.channels().len()));
    }
    for sql in schema.tables().flat_map(|table| table.create_sql()) {
        db.execute(Origin::Engine, sql, &[])?;
    }
    // Before `on_start`, so that what it writes to tables that are there is captured; after it for those it makes.
    let mut numbers = Vec::new();
    for channel in schema.channels() {
        numbers.push(store::channel_number(db, channel.name())?);
    }
    let mut channels = Vec::new();
    for (channel, (number, is_new)) in schema.channels().iter().zip(&numbers) {
        if channel.record().is_some() || !is_new {
            channels.push(attach(db, channel.name(), *number)?);
        }
    }
    let timers = &mut Timers::default();
    let (channels, head_mut, members) = (&channels, &mut head, &Members::default());
    let mut stepper = Stepper {
        channels,
        instance,
        clients,
        head: head_mut,
        timers,
        members,
        dropped: None,
        input,
        has_savepoints: true,
    };
    match stepper.ensure_started(db) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(OpenError::Start(error)),
        Err(lost) => return Err(OpenError::Start(lost.cause)),
    }
    let mut channels = Vec::new();
    let mut new_rows = false;
    for (channel, (number, is_new)) in schema.channels().iter().zip(&numbers) {
        let table = attach(db, channel.name(), *number)?;
        check_record(&table, channel.record())?;
        new_rows |= *is_new && has_rows(db, &table)?;
        channels.push(table);
    }
    if new_rows {
        head = raise_floor(db, head, input)?;
    }
    let floor = store::meta_version(db, "floor")?.unwrap_or(0);
    if floor > head.cursor.version {
        return Err(DbError::new(DbErrorKind::Corrupt, "the floor is above the newest version").into());
    }
    let dropped = store::meta_version(db, "dropped")?;
    let away = Away::load(db, &channels, head.cursor.version, input.now)?;
    Ok(Opened { channels, head, floor, dropped, away, opened_at })
}

/// Asks the app for its tables.
fn read_schema<S: SyncServer>(instance: &Instance<S>) -> Result<Schema, ActionError> {
    let server = instance.make()?;
    catch_unwind(AssertUnwindSafe(|| server.schema())).map_err(panicked)
}

/// Makes the engine's tables in a new file; checks whose they are in an old one.
fn create_or_check(db: &mut dyn Db, name: &RoomName, input: Input) -> Result<(), OpenError> {
    if !store::exists(db)? {
        store::create_tables(db)?;
        store::set_meta(db, "format", store::FORMAT.into())?;
        store::set_meta(db, "room", name.address().into())?;
        store::set_meta(db, "floor", 0.into())?;
        let cursor = Cursor { version: 0, stamp: Stamp::from_random(mix(input.random)) };
        let head = Head { cursor, at: input.now };
        let entry = LogEntry { head, client: None, number: None, author: None, action: None };
        return Ok(store::append(db, &entry)?);
    }
    match store::meta(db, "format")? {
        Some(Value::Integer(found)) if found > store::FORMAT => {
            return Err(OpenError::FormatNewer { found, known: store::FORMAT });
        }
        Some(Value::Integer(_)) => {}
        _ => return Err(DbError::new(DbErrorKind::Corrupt, "the file has no format").into()),
    }
    store::create_away(db)?;
    match store::meta(db, "room")? {
        Some(Value::Text(found)) if found != name.address() => {
            Err(OpenError::WrongRoom { found, wanted: name.address().to_owned() })
        }
        _ => Ok(()),
    }
}

fn attach(db: &mut dyn Db, name: &str, number: i64) -> Result<ChannelTable, OpenError> {
    let table = ChannelTable::read(db, name, number)??;
    table.create_triggers(db)?;
    Ok(table)
}

/// A record's table must have the record's columns: changing it is a migration's work.
fn check_record(table: &ChannelTable, record: Option<&partysync_model::Table>) -> Result<(), ShapeError> {
    let Some(record) = record else { return Ok(()) };
    let wanted: Vec<&str> = record.columns().iter().map(|c| c.name).collect();
    let found = &table.columns[..table.created_at()];
    if wanted != found {
        let reason = format!("the file has the columns {found:?}, the record {wanted:?}");
        return Err(ShapeError { table: table.name.clone(), reason });
    }
    Ok(())
}

fn has_rows(db: &mut dyn Db, table: &ChannelTable) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", partysync_model::quote(&table.name));
    Ok(store::first(db, &sql, &[], |_| ())?.is_some())
}

/// A table with rows became a channel: nobody can resume from before that.
fn raise_floor(db: &mut dyn Db, head: Head, input: Input) -> Result<Head, DbError> {
    let next = crate::step::next_head(head, input);
    let entry = LogEntry { head: next, client: None, number: None, author: Some("new channel"), action: None };
    store::append(db, &entry)?;
    store::set_meta(db, "floor", store::version_value(next.cursor.version))?;
    Ok(next)
}
