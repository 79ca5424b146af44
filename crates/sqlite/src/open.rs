//! Opening a room's file, with the settings that the engine relies on.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use partysync_model::{DbError, DbErrorKind};
use partysync_protocol::limits;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use crate::authorizer::Guard;
use crate::backup::beside;
use crate::budget::Budget;
use crate::db::SqliteDb;
use crate::error::db_error;
use crate::rewrite::rewrite_file;

/// Prepared statements kept. The engine has a few dozen, and a handful for each table of the app.
const STATEMENTS_KEPT: usize = 256;

/// How to open a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the SQLite VFS to open it through. `None`: SQLite's default.
    pub vfs: Option<String>,
    /// Writes a file again and syncs it, as [`rewrite_file`] does; a VFS whose files are not the system's needs its own. `None` on a disk that
    /// may spoil what is around a write when the power goes, as no disk does of which SQLite's own VFS knows: nothing that is there may be
    /// written to there. Then a log is copied into the file before that counts as opened, which takes room on the disk.
    pub rewrite: Option<fn(&Path) -> io::Result<bool>>,
    /// Steps of SQLite's virtual machine that one nested transaction may use, to the next thousand (SPEC 5.7). SQL of
    /// [`Origin::Setup`](partysync_model::Origin::Setup) is not counted: migrations take as long as they take.
    pub action_steps: u64,
    /// The most pages the file may have, of 4,096 bytes unless the file says otherwise. Past it:
    /// [`Full`](DbErrorKind::Full). `None`: SQLite's limit.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { vfs: None, rewrite: Some(rewrite_file), action_steps: limits::ACTION_STEPS, max_pages: None }
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
        let connection = open_with_log(&as_file(path), options);
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
        keep_log_on_close(&connection, false)?;
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

/// Opens a file and takes its lock. What its log holds is on disk then.
///
/// Two things may have left commits in the log that are not on disk: a process that was killed before it synced them, and a sync that failed,
/// after which the system may believe that they are there. They are seen from now on, so they have to be durable from now on. And no page may
/// be copied from a log that is not: after a power cut the file would hold some of a commit, and the log no longer the rest.
fn open_with_log(file: &Path, options: &Options) -> Result<Connection, DbError> {
    let connection = open_locked(file, options)?;
    let Some(rewrite) = options.rewrite else { return Ok(connection) };
    // SQLite keeps the log of a file that is reached by a link beside what the link leads to.
    let found = connection.path().map_or(file, Path::new).to_owned();
    let has_log = rewrite(&beside(&found, "-wal")).map_err(|error| match error.kind() {
        ErrorKind::StorageFull => DbError::new(DbErrorKind::Full, error.to_string()),
        _ => DbError::new(DbErrorKind::Io, format!("the write-ahead log: {error}")),
    })?;
    if !has_log {
        return Ok(connection);
    }
    // It has read the log before that was written again, and may know more than was there by then.
    drop(connection);
    open_locked(file, options)
}

fn open_locked(file: &Path, options: &Options) -> Result<Connection, DbError> {
    let connection = match &options.vfs {
        None => Connection::open_with_flags(file, flags()),
        Some(vfs) => Connection::open_with_flags_and_vfs(file, flags(), vfs.as_str()),
    };
    // What fails while opening has no SQL of anybody's in it: it is the file's or its folder's fault.
    let connection = connection.map_err(db_error).map_err(|e| DbError { kind: file_kind(e.kind), ..e })?;
    keep_log_on_close(&connection, true)?;
    connection.busy_timeout(Duration::ZERO).map_err(db_error)?;
    // EXCLUSIVE comes before anything reads the file: then WAL needs no shared memory.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;").map_err(db_error)?;
    // Takes the lock, and reads the schema, so that a damaged one shows here.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(db_error)?;
    Ok(connection)
}

/// Whether the log is left as it is when the file is closed.
pub(crate) fn keep_log_on_close(connection: &Connection, keep: bool) -> Result<(), DbError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(|_| ()).map_err(db_error)
}

fn configure(connection: &Connection, options: &Options, journal: &str) -> Result<(), DbError> {
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
    // What a savepoint may have to undo is kept in memory: in a temporary file it costs two writes a page and action.
    connection
        .execute_batch("PRAGMA recursive_triggers = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")
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
    match connection.wal_checkpoint_v2(Some("main"), CheckpointMode::PASSIVE).map_err(db_error) {
        // What can be read should be, on a full disk, too.
        Err(error) if error.kind == DbErrorKind::Full && options.rewrite.is_some() => Ok(()),
        copied => copied.map(|_| ()),
    }
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

fn file_kind(kind: DbErrorKind) -> DbErrorKind {
    if kind == DbErrorKind::Corrupt { kind } else { DbErrorKind::Io }
}

fn about(path: &Path, error: DbError) -> DbError {
    DbError { message: format!("{}: {}", path.display(), error.message), ..error }
}
