//! How a room's file is opened, and what may be wrong with it.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use partysync_model::{Db, DbError, DbErrorKind, Origin, ValueRef};
use partysync_protocol::ErrorCode;
use partysync_room::{OpenError, RoomName};
use partysync_sqlite::{Options, SqliteDb};

use crate::job::input;
use crate::mailbox::Mailbox;
use crate::metered::Metered;
use crate::party::AnyRoom;
use crate::rooms::Rooms;
use crate::watcher::Watcher;
use crate::{data, descriptors};

/// Why a room cannot be opened.
pub(crate) struct Trouble {
    /// What a client is told.
    pub(crate) code: ErrorCode,
    /// What the operator is told.
    pub(crate) text: String,
}

/// Opens a room. Before its file is, the registry knows that it will be.
pub(crate) fn open(rooms: &Arc<Rooms>, mailbox: &Mailbox) -> Result<Box<dyn AnyRoom>, Trouble> {
    let name = &mailbox.name;
    let file = mailbox.data.room_file(name);
    let opened = open_file(rooms, mailbox, &file);
    opened.map_err(|error| {
        let is_io = matches!(&error, OpenError::Db(error) if error.kind == DbErrorKind::Io);
        let none_left = is_io.then(|| descriptors::none_left(mailbox.data.path())).flatten();
        match none_left {
            Some(text) => {
                rooms.make_place();
                Trouble { code: ErrorCode::Busy, text }
            }
            None => Trouble { code: error.code(), text: error.to_string() },
        }
    })
}

fn open_file(rooms: &Arc<Rooms>, mailbox: &Mailbox, file: &Path) -> Result<Box<dyn AnyRoom>, OpenError> {
    let name = &mailbox.name;
    // Only rooms of parties that are there get a mailbox.
    let party = rooms.parties.get(name.party()).ok_or(OpenError::Start(ErrorCode::AppError.into()))?;
    let io = |error: io::Error| data::db_error(&error);
    let has_file = file.try_exists().map_err(io)?;
    let was_made = rooms.registry.opening(name, has_file)?;
    let folder = file.parent().unwrap_or(file);
    data::make_folders(folder).map_err(io)?;
    let damaged = |what: &str| DbError::new(DbErrorKind::Corrupt, format!("{}: {what}", file.display()));
    if !has_file && was_made {
        tracing::warn!(file = %file.display(), "the room's file is gone: it begins anew");
    }
    if has_file && was_made && fs::metadata(file).map_err(io)?.len() == 0 {
        return Err(damaged("the file is empty, and was not before: put it back from a backup, or remove it").into());
    }
    let mut db = SqliteDb::open(file, &Options::default())?;
    if has_file && !is_rooms(&mut db, was_made)? {
        return Err(damaged("the file is a database, but not a room's: it has no table _meta").into());
    }
    let mut room = (party.open)(Metered::new(db, rooms), name.clone(), input(rooms))?;
    room.observe(Box::new(Watcher::new(Arc::clone(&rooms.metrics), rooms.log_payloads)));
    if !has_file {
        data::flush_folder(folder).map_err(io)?;
    }
    if !was_made {
        rooms.registry.made(name);
    }
    Ok(room)
}

/// Opens a database as a room, and closes it; or says why it cannot be opened. On the way the app's `on_start` runs.
pub(crate) fn try_room(rooms: &Rooms, name: &RoomName, db: SqliteDb) -> Result<(), String> {
    open_aside(rooms, name, db).map(drop)
}

/// Opens a database as a room that nobody can come to; or says why it cannot be opened. On the way the app's `on_start` runs.
pub(crate) fn open_aside(rooms: &Rooms, name: &RoomName, db: SqliteDb) -> Result<Box<dyn AnyRoom>, String> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let party = rooms.parties.get(name.party()).ok_or("there is no such party")?;
        (party.open)(Metered::new(db, rooms), name.clone(), input(rooms)).map_err(|error| error.to_string())
    }));
    opened.unwrap_or_else(|_| Err("the app panicked".to_owned()))
}

/// Whether a file is a room's, or could become one: the process died before it had made the room's tables.
fn is_rooms(db: &mut SqliteDb, was_made: bool) -> Result<bool, DbError> {
    let (mut has_meta, mut has_tables) = (false, false);
    db.query(Origin::Engine, "SELECT name FROM sqlite_schema WHERE type = 'table'", &[], &mut |row| {
        has_tables = true;
        has_meta |= row.value(0) == ValueRef::Text("_meta");
    })?;
    Ok(has_meta || !has_tables && !was_made)
}
