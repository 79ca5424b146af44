//! The engine's own tables (SPEC section 7): every statement on them is here.

use partysync_model::{Columns, Db, DbError, DbErrorKind, Millis, Origin, Value, ValueRef};
use partysync_protocol::{Cursor, Stamp, Version, limits};

use crate::outbox::Place;

/// The format of the tables below (SPEC 7.5).
pub(crate) const FORMAT: i64 = 1;

const TABLES: [&str; 11] = [
    "CREATE TABLE IF NOT EXISTS _meta (name TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _channel (number INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE IF NOT EXISTS _log (version INTEGER PRIMARY KEY NOT NULL, stamp INTEGER NOT NULL, client INTEGER, \
     number INTEGER, author TEXT, at INTEGER NOT NULL, action TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS _change (version INTEGER NOT NULL, channel INTEGER NOT NULL, id ANY NOT NULL, \
     op INTEGER NOT NULL, audience_before TEXT, PRIMARY KEY (version, channel, id)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _client (handle INTEGER PRIMARY KEY NOT NULL, client TEXT NOT NULL UNIQUE, \
     identity TEXT, born INTEGER NOT NULL, last INTEGER NOT NULL, forgotten INTEGER NOT NULL, seen_at INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS _reject (handle INTEGER NOT NULL, number INTEGER NOT NULL, error TEXT NOT NULL, \
     at INTEGER NOT NULL, PRIMARY KEY (handle, number)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _call (handle INTEGER NOT NULL, call TEXT NOT NULL, version INTEGER, error TEXT, \
     at INTEGER NOT NULL, PRIMARY KEY (handle, call)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _timer (name TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _outbox (version INTEGER NOT NULL, idx INTEGER NOT NULL, body TEXT NOT NULL, \
     tries INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (version, idx)) STRICT, WITHOUT ROWID",
    AWAY,
    "CREATE INDEX IF NOT EXISTS _outbox_at ON _outbox (at)",
];

const AWAY: &str = "CREATE TABLE IF NOT EXISTS _away (name TEXT PRIMARY KEY NOT NULL, count INTEGER NOT NULL, version INTEGER, \
     channels TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID";

/// The newest version of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) cursor: Cursor,
    /// Its time (SPEC 2.5).
    pub(crate) at: Millis,
}

/// What the log says of a version.
pub(crate) struct LogEntry<'a> {
    pub(crate) head: Head,
    /// The sender's handle and its number, if it numbers.
    pub(crate) client: Option<i64>,
    pub(crate) number: Option<u64>,
    pub(crate) author: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
}

/// What the room remembers of a client (SPEC 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) handle: i64,
    pub(crate) identity: Option<String>,
    pub(crate) last: u64,
    pub(crate) forgotten: u64,
    pub(crate) seen_at: Millis,
}

pub(crate) fn create_tables(db: &mut dyn Db) -> Result<(), DbError> {
    TABLES.iter().try_for_each(|sql| db.execute(Origin::Engine, sql, &[]).map(|_| ()))
}

/// Makes the table that rooms of format 1 have not always had.
pub(crate) fn create_away(db: &mut dyn Db) -> Result<(), DbError> {
    run(db, AWAY, &[])
}

pub(crate) fn exists(db: &mut dyn Db) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_meta'";
    Ok(first(db, sql, &[], |_| ())?.is_some())
}

pub(crate) fn meta(db: &mut dyn Db, name: &str) -> Result<Option<Value>, DbError> {
    first(db, "SELECT value FROM _meta WHERE name = ?", &[name.into()], |row| row.value(0).to_owned())
}

pub(crate) fn meta_version(db: &mut dyn Db, name: &str) -> Result<Option<Version>, DbError> {
    Ok(match meta(db, name)? {
        Some(Value::Integer(version)) => Some(version.unsigned_abs()),
        _ => None,
    })
}

pub(crate) fn set_meta(db: &mut dyn Db, name: &str, value: Value) -> Result<(), DbError> {
    let sql = "INSERT INTO _meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    run(db, sql, &[name.into(), value])
}

/// The number of a channel, and whether it is new.
pub(crate) fn channel_number(db: &mut dyn Db, name: &str) -> Result<(i64, bool), DbError> {
    let known = |db: &mut dyn Db| {
        first(db, "SELECT number FROM _channel WHERE name = ?", &[name.into()], |row| integer(row, 0))
    };
    if let Some(number) = known(db)? {
        return Ok((number, false));
    }
    run(db, "INSERT INTO _channel (name) VALUES (?)", &[name.into()])?;
    Ok((known(db)?.unwrap_or_default(), true))
}

pub(crate) fn head(db: &mut dyn Db) -> Result<Head, DbError> {
    let sql = "SELECT version, stamp, at FROM _log ORDER BY version DESC LIMIT 1";
    first(db, sql, &[], read_head)?.flatten().ok_or_else(damaged)
}

/// The head that a room had at a version, if the log still has it.
pub(crate) fn head_at(db: &mut dyn Db, version: Version) -> Result<Option<Head>, DbError> {
    let sql = "SELECT version, stamp, at FROM _log WHERE version = ?";
    Ok(first(db, sql, &[version_value(version)], read_head)?.flatten())
}

fn read_head(row: &dyn Columns) -> Option<Head> {
    let version = u64::try_from(integer(row, 0)).ok()?;
    let stamp = Stamp::from_stored(integer(row, 1))?;
    Some(Head { cursor: Cursor { version, stamp }, at: integer(row, 2) })
}

pub(crate) fn append(db: &mut dyn Db, entry: &LogEntry<'_>) -> Result<(), DbError> {
    let params = [
        version_value(entry.head.cursor.version),
        version_value(entry.head.cursor.stamp.get()),
        entry.client.into(),
        entry.number.map(|n| n as i64).into(),
        entry.author.into(),
        entry.head.at.into(),
        entry.action.into(),
    ];
    run(db, "INSERT INTO _log VALUES (?, ?, ?, ?, ?, ?, ?)", &params)
}

/// A key that a version changed: channel number, id, whether it is a delete.
pub(crate) struct ChangedKey {
    pub(crate) channel: i64,
    pub(crate) id: Value,
    pub(crate) deleted: bool,
}

fn changed_key(row: &dyn Columns) -> ChangedKey {
    ChangedKey { channel: integer(row, 0), id: row.value(1).to_owned(), deleted: integer(row, 2) != 0 }
}

/// The keys that a version changed, at most one more than it may.
///
/// The limit is a part of the text: SQLite prepares a statement anew whenever a LIMIT that is a parameter is bound.
pub(crate) fn changes_of(db: &mut dyn Db, version: Version) -> Result<Vec<ChangedKey>, DbError> {
    const { assert!(limits::ACTION_ROWS == 10_000) };
    let sql = "SELECT channel, id, op FROM _change WHERE version = ? LIMIT 10001";
    all(db, sql, &[version_value(version)], changed_key)
}

/// The keys changed after a version, each once.
pub(crate) fn changes_since(db: &mut dyn Db, version: Version) -> Result<Vec<ChangedKey>, DbError> {
    let sql = "SELECT channel, id, op FROM _change WHERE version > ? GROUP BY channel, id";
    all(db, sql, &[version_value(version)], changed_key)
}

/// All tombstones of a channel, and the versions that made them.
pub(crate) fn tombstones(db: &mut dyn Db, channel: i64) -> Result<Vec<(Value, Version)>, DbError> {
    let sql = "SELECT id, max(version) FROM _change WHERE channel = ? AND op = 1 GROUP BY id";
    all(db, sql, &[channel.into()], |row| (row.value(0).to_owned(), integer(row, 1).unsigned_abs()))
}

/// Drops what is recorded of puts up to a version: nobody resumes from before it.
pub(crate) fn forget_puts(db: &mut dyn Db, until: Version) -> Result<(), DbError> {
    run(db, "DELETE FROM _change WHERE version <= ? AND op = 0", &[version_value(until)])
}

pub(crate) fn set_op(db: &mut dyn Db, version: Version, key: &ChangedKey, deleted: bool) -> Result<(), DbError> {
    let sql = "UPDATE _change SET op = ? WHERE version = ? AND channel = ? AND id = ?";
    run(db, sql, &[deleted.into(), version_value(version), key.channel.into(), key.id.clone()])
}

pub(crate) fn client(db: &mut dyn Db, client: &str) -> Result<Option<Client>, DbError> {
    let sql = "SELECT handle, identity, last, forgotten, seen_at FROM _client WHERE client = ?";
    first(db, sql, &[client.into()], |row| Client {
        handle: integer(row, 0),
        identity: text(row, 1),
        last: integer(row, 2).unsigned_abs(),
        forgotten: integer(row, 3).unsigned_abs(),
        seen_at: integer(row, 4),
    })
}

/// Stores a client that is new at a version.
pub(crate) fn add_client(
    db: &mut dyn Db,
    id: &str,
    identity: Option<&str>,
    born: Version,
    now: Millis,
) -> Result<Client, DbError> {
    let sql = "INSERT INTO _client (client, identity, born, last, forgotten, seen_at) VALUES (?, ?, ?, 0, 0, ?)";
    run(db, sql, &[id.into(), identity.into(), version_value(born), now.into()])?;
    client(db, id)?.ok_or_else(damaged)
}

pub(crate) fn save_client(db: &mut dyn Db, client: &Client) -> Result<(), DbError> {
    let sql = "UPDATE _client SET last = ?, forgotten = ?, seen_at = ? WHERE handle = ?";
    let params =
        [version_value(client.last), version_value(client.forgotten), client.seen_at.into(), client.handle.into()];
    run(db, sql, &params)
}

/// Stores a rejection of version 2. `error` is the wire's JSON.
pub(crate) fn reject(db: &mut dyn Db, handle: i64, number: u64, error: &str, at: Millis) -> Result<(), DbError> {
    let sql = "INSERT INTO _reject VALUES (?, ?, ?, ?)";
    run(db, sql, &[handle.into(), version_value(number), error.into(), at.into()])
}

pub(crate) fn rejection(db: &mut dyn Db, handle: i64, number: u64) -> Result<Option<String>, DbError> {
    let sql = "SELECT error FROM _reject WHERE handle = ? AND number = ?";
    Ok(first(db, sql, &[handle.into(), version_value(number)], |row| text(row, 0))?.flatten())
}

/// Drops the rejections up to a number: nobody will ask for them again.
pub(crate) fn forget_rejections(db: &mut dyn Db, handle: i64, number: u64) -> Result<(), DbError> {
    run(db, "DELETE FROM _reject WHERE handle = ? AND number <= ?", &[handle.into(), version_value(number)])
}

/// What became of a version 1 call: the version it made, if any, or its error's text.
pub(crate) type CallOutcome = Result<Option<Version>, String>;

pub(crate) fn add_call(
    db: &mut dyn Db,
    handle: i64,
    call: &str,
    outcome: &CallOutcome,
    at: Millis,
) -> Result<(), DbError> {
    let (version, error) = match outcome {
        Ok(version) => (version.map(|v| v as i64), None),
        Err(error) => (None, Some(error.as_str())),
    };
    let params = [handle.into(), call.into(), version.into(), error.into(), at.into()];
    run(db, "INSERT INTO _call VALUES (?, ?, ?, ?, ?)", &params)
}

pub(crate) fn call(db: &mut dyn Db, handle: i64, call: &str) -> Result<Option<CallOutcome>, DbError> {
    let sql = "SELECT version, error FROM _call WHERE handle = ? AND call = ?";
    first(db, sql, &[handle.into(), call.into()], |row| match (row.value(0), text(row, 1)) {
        (_, Some(error)) => Err(error),
        (ValueRef::Integer(version), None) => Ok(Some(version.unsigned_abs())),
        _ => Ok(None),
    })
}

pub(crate) fn set_timer(db: &mut dyn Db, name: &str, at: Option<Millis>) -> Result<(), DbError> {
    match at {
        None => run(db, "DELETE FROM _timer WHERE name = ?", &[name.into()]),
        Some(at) => {
            let sql = "INSERT INTO _timer VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at";
            run(db, sql, &[name.into(), at.into()])
        }
    }
}

pub(crate) fn timer(db: &mut dyn Db, name: &str) -> Result<Option<Millis>, DbError> {
    first(db, "SELECT at FROM _timer WHERE name = ?", &[name.into()], |row| integer(row, 0))
}

/// An item of the outbox, but for its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) tries: u32,
    /// When it is due.
    pub(crate) at: Millis,
}

fn read_waiting(row: &dyn Columns) -> Waiting {
    let place = Place { version: integer(row, 0).unsigned_abs(), index: integer(row, 1) };
    Waiting { place, tries: u32::try_from(integer(row, 2)).unwrap_or(u32::MAX), at: integer(row, 3) }
}

fn place_params(place: Place) -> [Value; 2] {
    [version_value(place.version), place.index.into()]
}

pub(crate) fn count_waiting(db: &mut dyn Db) -> Result<usize, DbError> {
    let count = first(db, "SELECT count(*) FROM _outbox", &[], |row| integer(row, 0))?;
    Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX))
}

pub(crate) fn add_waiting(db: &mut dyn Db, place: Place, body: &str, at: Millis) -> Result<(), DbError> {
    let [version, index] = place_params(place);
    run(
        db,
        "INSERT INTO _outbox (version, idx, body, tries, at) VALUES (?, ?, ?, 0, ?)",
        &[version, index, body.into(), at.into()],
    )
}

/// The item that is due first: of those due at one time, the oldest.
pub(crate) fn next_waiting(db: &mut dyn Db) -> Result<Option<Waiting>, DbError> {
    let sql = "SELECT version, idx, tries, at FROM _outbox ORDER BY at, version, idx LIMIT 1";
    first(db, sql, &[], read_waiting)
}

pub(crate) fn waiting(db: &mut dyn Db, place: Place) -> Result<Option<Waiting>, DbError> {
    let sql = "SELECT version, idx, tries, at FROM _outbox WHERE version = ? AND idx = ?";
    first(db, sql, &place_params(place), read_waiting)
}

pub(crate) fn waiting_body(db: &mut dyn Db, place: Place) -> Result<Option<String>, DbError> {
    let sql = "SELECT body FROM _outbox WHERE version = ? AND idx = ?";
    Ok(first(db, sql, &place_params(place), |row| text(row, 0))?.flatten())
}

pub(crate) fn put_off(db: &mut dyn Db, place: Place, tries: u32, at: Millis) -> Result<(), DbError> {
    let [version, index] = place_params(place);
    let sql = "UPDATE _outbox SET tries = ?, at = ? WHERE version = ? AND idx = ?";
    run(db, sql, &[i64::from(tries).into(), at.into(), version, index])
}

pub(crate) fn remove_waiting(db: &mut dyn Db, place: Place) -> Result<(), DbError> {
    run(db, "DELETE FROM _outbox WHERE version = ? AND idx = ?", &place_params(place))
}

/// Version 1 connections of one name that are gone (SPEC 12.11).
#[derive(Debug)]
pub(crate) struct StoredAway {
    pub(crate) name: String,
    pub(crate) count: u64,
    /// Up to where its channels are known to have arrived, if anything is.
    pub(crate) version: Option<Version>,
    /// Their numbers.
    pub(crate) channels: Vec<i64>,
    pub(crate) at: Millis,
}

/// All of them, by name.
pub(crate) fn away(db: &mut dyn Db) -> Result<Vec<StoredAway>, DbError> {
    let sql = "SELECT name, count, version, channels, at FROM _away ORDER BY name";
    all(db, sql, &[], |row| StoredAway {
        name: text(row, 0).unwrap_or_default(),
        count: integer(row, 1).unsigned_abs(),
        version: match row.value(2) {
            ValueRef::Integer(version) => Some(version.unsigned_abs()),
            _ => None,
        },
        channels: text(row, 3).unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect(),
        at: integer(row, 4),
    })
}

/// Replaces all of them.
pub(crate) fn set_away(db: &mut dyn Db, all: &[StoredAway]) -> Result<(), DbError> {
    run(db, "DELETE FROM _away", &[])?;
    for StoredAway { name, count, version, channels, at } in all {
        let channels: Vec<String> = channels.iter().map(i64::to_string).collect();
        let params = [
            name.as_str().into(),
            version_value(*count),
            version.map(|version| version as i64).into(),
            channels.join(" ").into(),
            (*at).into(),
        ];
        run(db, "INSERT INTO _away (name, count, version, channels, at) VALUES (?, ?, ?, ?, ?)", &params)?;
    }
    Ok(())
}

pub(crate) fn forget_away(db: &mut dyn Db, before: Millis) -> Result<(), DbError> {
    run(db, "DELETE FROM _away WHERE at < ?", &[before.into()])
}

pub(crate) fn run(db: &mut dyn Db, sql: &str, params: &[Value]) -> Result<(), DbError> {
    db.execute(Origin::Engine, sql, params).map(|_| ())
}

pub(crate) fn first<T>(
    db: &mut dyn Db,
    sql: &str,
    params: &[Value],
    read: impl Fn(&dyn Columns) -> T,
) -> Result<Option<T>, DbError> {
    let mut found = None;
    db.query(Origin::Engine, sql, params, &mut |row| {
        found.get_or_insert_with(|| read(row));
    })?;
    Ok(found)
}

pub(crate) fn all<T>(
    db: &mut dyn Db,
    sql: &str,
    params: &[Value],
    read: impl Fn(&dyn Columns) -> T,
) -> Result<Vec<T>, DbError> {
    let mut found = Vec::new();
    db.query(Origin::Engine, sql, params, &mut |row| found.push(read(row)))?;
    Ok(found)
}

pub(crate) fn integer(row: &dyn Columns, index: usize) -> i64 {
    match row.value(index) {
        ValueRef::Integer(integer) => integer,
        _ => 0,
    }
}

fn text(row: &dyn Columns, index: usize) -> Option<String> {
    match row.value(index) {
        ValueRef::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

/// Versions, stamps and numbers stay below 2^53.
pub(crate) fn version_value(version: u64) -> Value {
    Value::Integer(version as i64)
}

fn damaged() -> DbError {
    DbError::new(DbErrorKind::Corrupt, "the engine's tables are damaged")
}
