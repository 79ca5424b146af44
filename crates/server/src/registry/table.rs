//! The registry's file (SPEC 7.8): every statement on it is here.

use std::path::Path;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Millis, Origin, Value, ValueRef, Verdict};
use partysync_room::RoomName;
use partysync_sqlite::{Options, SqliteDb};

/// The format of the tables below.
const FORMAT: i64 = 1;

/// When a room that is in memory, or was when the process died, is to be looked at: at once.
const AT_ONCE: Millis = 0;

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS registry (format INTEGER NOT NULL, complete INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS room (address TEXT PRIMARY KEY NOT NULL, at INTEGER, made INTEGER NOT NULL) \
     STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS room_at ON room (at, address) WHERE at IS NOT NULL",
];

/// An alarm of a room. Alarms are in this order in memory and in the file.
pub(crate) type Alarm = (Millis, RoomName);

/// The file, open.
pub(super) struct Table {
    db: SqliteDb,
}

impl Table {
    /// Opens the file, and makes it if it is not there. A file that is damaged anywhere, or of another format, is
    /// [`Corrupt`](DbErrorKind::Corrupt).
    pub(super) fn open(path: &Path) -> Result<Self, DbError> {
        let mut table = Table { db: SqliteDb::open(path, &Options::default())? };
        table.check()?;
        Ok(table)
    }

    fn check(&mut self) -> Result<(), DbError> {
        let mut sound = false;
        self.db.query(Origin::Engine, "PRAGMA quick_check(1)", &[], &mut |row| {
            sound = row.value(0) == ValueRef::Text("ok");
        })?;
        if !sound {
            return Err(DbError::new(DbErrorKind::Corrupt, "the file is damaged"));
        }
        self.transaction(|db| {
            for sql in TABLES {
                db.execute(Origin::Engine, sql, &[])?;
            }
            let sql = "INSERT INTO registry SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM registry)";
            db.execute(Origin::Engine, sql, &[FORMAT.into()])
        })?;
        match self.first_integer("SELECT format FROM registry")? {
            Some(FORMAT) => Ok(()),
            found => Err(DbError::new(DbErrorKind::Corrupt, format!("its format is {found:?}, not {FORMAT}"))),
        }
    }

    /// Whether all rooms that have a file are in it.
    pub(super) fn is_complete(&mut self) -> Result<bool, DbError> {
        Ok(self.first_integer("SELECT complete FROM registry")? == Some(1))
    }

    pub(super) fn set_complete(&mut self) -> Result<(), DbError> {
        self.db.execute(Origin::Engine, "UPDATE registry SET complete = 1", &[]).map(|_| ())
    }

    /// Runs statements in one transaction. When it returns they are durable.
    pub(super) fn transaction<T>(
        &mut self,
        mut body: impl FnMut(&mut dyn Db) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let mut result = None;
        self.db.transaction(&mut |db| {
            let done = body(db);
            let verdict = if done.is_ok() { Verdict::Keep } else { Verdict::Undo };
            result = Some(done);
            verdict
        })?;
        result.unwrap_or_else(|| Err(DbError::new(DbErrorKind::Lost, "the transaction did not run")))
    }

    fn first_integer(&mut self, sql: &str) -> Result<Option<i64>, DbError> {
        let mut found = None;
        self.db.query(Origin::Engine, sql, &[], &mut |row| {
            if let ValueRef::Integer(integer) = row.value(0) {
                found.get_or_insert(integer);
            }
        })?;
        Ok(found)
    }
}

/// A room is about to be in memory. `has_file`: whether it has a file already. Returns whether it was ever made.
///
/// One that is to be looked at anyway is not written again: it was in memory when the process died, and is to open on a full disk, too.
pub(super) fn opening(db: &mut dyn Db, name: &RoomName, has_file: bool) -> Result<bool, DbError> {
    let mut known = None;
    let sql = "SELECT made FROM room WHERE address = ? AND at = ?";
    db.query(Origin::Engine, sql, &[name.address().into(), AT_ONCE.into()], &mut |row| {
        known = Some(row.value(0) != ValueRef::Integer(0));
    })?;
    if let Some(made) = known {
        return Ok(made);
    }
    let sql = "INSERT INTO room VALUES (?, ?, ?) ON CONFLICT (address) DO UPDATE SET at = excluded.at RETURNING made";
    let mut made = has_file;
    db.query(Origin::Engine, sql, &[name.address().into(), AT_ONCE.into(), has_file.into()], &mut |row| {
        made = row.value(0) != ValueRef::Integer(0);
    })?;
    Ok(made)
}

/// A room's first transaction is durable.
pub(super) fn made(db: &mut dyn Db, name: &RoomName) -> Result<(), DbError> {
    db.execute(Origin::Engine, "UPDATE room SET made = 1 WHERE address = ?", &[name.address().into()]).map(|_| ())
}

/// A room has left memory, and wants to be woken then.
pub(super) fn asleep(db: &mut dyn Db, name: &RoomName, at: Option<Millis>) -> Result<(), DbError> {
    // 0 has a meaning of its own. An alarm is due as much at 1.
    let at = at.map(|at| at.max(AT_ONCE + 1));
    let sql = "UPDATE room SET at = ? WHERE address = ?";
    db.execute(Origin::Engine, sql, &[at.into(), name.address().into()]).map(|_| ())
}

/// A room's file was found. `at` is its alarm; `None` if it has none.
pub(super) fn found(db: &mut dyn Db, name: &RoomName, at: Option<Millis>) -> Result<(), DbError> {
    let sql = "INSERT OR REPLACE INTO room VALUES (?, ?, 1)";
    db.execute(Origin::Engine, sql, &[name.address().into(), at.into()]).map(|_| ())
}

/// A room's file has come by other ways than the server's: it is looked at when that is asked for, or after the next start.
pub(super) fn restored(db: &mut dyn Db, name: &RoomName) -> Result<(), DbError> {
    found(db, name, Some(AT_ONCE))
}

/// A room is no more.
pub(super) fn forget(db: &mut dyn Db, name: &RoomName) -> Result<(), DbError> {
    db.execute(Origin::Engine, "DELETE FROM room WHERE address = ?", &[name.address().into()]).map(|_| ())
}

/// Alarms in their order, from `from` on.
pub(super) fn alarms(db: &mut dyn Db, from: &Alarm, limit: usize) -> Result<Vec<Alarm>, DbError> {
    let sql =
        "SELECT at, address FROM room WHERE at IS NOT NULL AND (at, address) >= (?, ?) ORDER BY at, address LIMIT ?";
    let mut alarms = Vec::new();
    db.query(Origin::Engine, sql, &[from.0.into(), from.1.address().into(), (limit as i64).into()], &mut |row| {
        if let (ValueRef::Integer(at), Some(name)) = (row.value(0), read_name(row, 1)) {
            alarms.push((at, name));
        }
    })?;
    Ok(alarms)
}

/// Rooms of a party that have been made, in the order of their names' bytes, after the room `after` or from the first.
pub(super) fn list(db: &mut dyn Db, party: &str, after: Option<&str>, limit: usize) -> Result<Vec<RoomName>, DbError> {
    // The character after the slash ends a party's rooms.
    let sql = "SELECT address FROM room WHERE address > ? AND address < ? AND made = 1 ORDER BY address LIMIT ?";
    let (first, end) = (format!("{party}/{}", after.unwrap_or_default()), format!("{party}0"));
    let mut names = Vec::new();
    db.query(Origin::Engine, sql, &[first.into(), end.into(), (limit as i64).into()], &mut |row| {
        names.extend(read_name(row, 0));
    })?;
    Ok(names)
}

fn read_name(row: &dyn Columns, index: usize) -> Option<RoomName> {
    let ValueRef::Text(address) = row.value(index) else { return None };
    RoomName::from_address(address)
}

/// What a room's own file says of it: its name, and its alarm.
pub(super) fn read_room(db: &mut dyn Db) -> Result<(Option<RoomName>, Option<Millis>), DbError> {
    let (mut name, mut at) = (None, None);
    db.query(Origin::Engine, "SELECT value FROM _meta WHERE name = 'room'", &[], &mut |row| name = read_name(row, 0))?;
    db.query(Origin::Engine, "SELECT min(at) FROM _timer", &[], &mut |row| {
        at = match row.value(0).to_owned() {
            Value::Integer(at) => Some(at.max(AT_ONCE + 1)),
            _ => None,
        };
    })?;
    Ok((name, at))
}
