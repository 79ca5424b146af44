//! Opening a room's file, with the settings that the engine relies on.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use partysync_model::{DbError, DbErrorKind};
use partysync_protocol::limits;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use crate::authorizer::Guard;
use crate::budget::Budget;
use crate::db::SqliteDb;
use crate::error::db_error;

/// Prepared statements kept. The engine has a few dozen, and a handful for each table of the app.
const STATEMENTS_KEPT: usize = 256;

/// How to open a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of the SQLite VFS to open it through. `None`: SQLite's default.
    pub vfs: Option<String>,
    /// Steps of SQLite's virtual machine that one nested transaction may use, to the next thousand (SPEC 5.7). SQL of
    /// [`Origin::Setup`](partysync_model::Origin::Setup) is not counted: migrations take as long as they take.
    pub action_steps: u64,
    /// The most pages the file may have, of 4,096 bytes unless the file says otherwise. Past it:
    /// [`Full`](DbErrorKind::Full). `None`: SQLite's limit.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { vfs: None, action_steps: limits::ACTION_STEPS, max_pages: None }
    }
}

impl SqliteDb {
    /// Opens a room's file, and makes it if it is not there. Its folder must be. The file is locked until the `SqliteDb`
    /// is dropped.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](DbErrorKind::Corrupt) if the file is no database or damaged where it was read; damage elsewhere is
    /// found when it is read. [`Io`](DbErrorKind::Io) if the file cannot be made, read or written, if somebody else holds
    /// its lock, or if there is no such VFS.
    pub fn open(path: &Path, options: &Options) -> Result<Self, DbError> {
        let file = as_file(path);
        let connection = match &options.vfs {
            None => Connection::open_with_flags(file, flags()),
            Some(vfs) => Connection::open_with_flags_and_vfs(file, flags(), vfs.as_str()),
        };
        // What fails while opening has no SQL of anybody's in it: it is the file's or its folder's fault.
        let connection = connection.map_err(db_error).map_err(|e| DbError { kind: file_kind(e.kind), ..e });
        connection.and_then(|c| Self::new(c, options, "wal")).map_err(|e| about(path, e))
    }

    /// Opens a database that lives in memory and dies with the `SqliteDb`. `options.vfs` is not used.
    ///
    /// # Errors
    ///
    /// [`Io`](DbErrorKind::Io) if there is no memory for it.
    pub fn open_in_memory(options: &Options) -> Result<Self, DbError> {
        let connection = Connection::open_in_memory_with_flags(flags()).map_err(db_error)?;
        Self::new(connection, options, "memory")
    }

    fn new(mut connection: Connection, options: &Options, journal: &str) -> Result<Self, DbError> {
        configure(&connection, options, journal)?;
        let page_bytes: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(db_error)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let guard = Arc::new(Guard::default());
        let budget = Arc::new(Budget::new(options.action_steps));
        guard.install(&mut connection).map_err(db_error)?;
        budget.install(&mut connection).map_err(db_error)?;
        Ok(SqliteDb::with(connection, page_bytes.into(), guard, budget))
    }
}

/// A path that SQLite takes for a path: not for a URI, a database in memory or a temporary file.
pub(crate) fn as_file(path: &Path) -> Cow<'_, Path> {
    let name = path.as_os_str().as_encoded_bytes();
    if name.is_empty() || name.starts_with(b":") || name.starts_with(b"file:") {
        return Path::new(".").join(path).into();
    }
    path.into()
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn configure(connection: &Connection, options: &Options, journal: &str) -> Result<(), DbError> {
    connection.busy_timeout(Duration::ZERO).map_err(db_error)?;
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, true),
    ] {
        connection.set_db_config(config, on).map_err(db_error)?;
    }
    // EXCLUSIVE comes before anything reads the file: then WAL needs no shared memory. What a savepoint may have to undo is
    // kept in memory: in a temporary file it costs two writes a page and action.
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON; PRAGMA recursive_triggers = ON; \
             PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;",
        )
        .map_err(db_error)?;
    if connection.is_readonly("main").map_err(db_error)? {
        return Err(DbError::new(DbErrorKind::Io, "the file cannot be written"));
    }
    let mode = to_log(connection).map_err(db_error)?;
    if mode != journal {
        return Err(DbError::new(DbErrorKind::Io, format!("the VFS has no write-ahead log: it keeps to {mode}")));
    }
    // No commit waits for the log to be copied into the file: see `SqliteDb::log_bytes`.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(db_error)?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update(None, "max_page_count", pages).map_err(db_error)?;
    }
    // Reads the schema, so that a damaged one shows here.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(db_error)?;
    // A process that was killed may have left commits that are in the log and not synced. They are seen from now on, so they
    // have to be durable from now on: the checkpoint syncs what it copies.
    let (frames, _) = connection.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE).map_err(db_error)?;
    if frames > 0 { outdate_log(connection) } else { Ok(()) }
}

/// Has commits go to a write-ahead log; returns the journal mode that the file has then.
///
/// In a new file that is a commit, which comes after the pragma has said what the mode will be: it has to be run to its end.
fn to_log(connection: &Connection) -> Result<String, rusqlite::Error> {
    let mut pragma = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = pragma.query([])?;
    let mut mode = String::new();
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

/// Makes what is in the log count for nothing: a commit begins it anew. If a sync of the log once failed, the system may believe that all of it
/// is on disk and be wrong. After a power cut a part of it would be there, and SQLite would take the file back to that. Nothing helps if the
/// power goes before this is done, a moment after that sync failed: the file may be damaged then.
fn outdate_log(connection: &Connection) -> Result<(), DbError> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(db_error)?;
    match connection.pragma_update(None, "user_version", version).map_err(db_error) {
        // What can be read should be, on a full disk, too.
        Err(error) if error.kind == DbErrorKind::Full => Ok(()),
        done => done,
    }
}

fn file_kind(kind: DbErrorKind) -> DbErrorKind {
    if kind == DbErrorKind::Corrupt { kind } else { DbErrorKind::Io }
}

fn about(path: &Path, error: DbError) -> DbError {
    DbError { message: format!("{}: {}", path.display(), error.message), ..error }
}
