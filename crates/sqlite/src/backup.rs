//! Copies of a database that is in use.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, ValueRef};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::db::SqliteDb;
use crate::error::db_error;
use crate::open::as_file;

/// How long a program that writes to the database may keep it locked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Copies a database that is not a room of this process, as it is at one moment, into a new file, which is one file without a log
/// beside it. What is in the log beside the database comes too. Other programs may use the database meanwhile, and it is not
/// changed. The copy is not synced.
///
/// # Errors
///
/// [`Corrupt`](DbErrorKind::Corrupt) if the file is no database or a damaged one; [`Io`](DbErrorKind::Io) or
/// [`Full`](DbErrorKind::Full) if one of the files cannot be read, made or written, if the new one is there already, or if
/// another program has the database locked.
pub fn copy_database(from: &Path, to: &Path) -> Result<(), DbError> {
    let has_log = ["-wal", "-journal"].iter().any(|suffix| beside(from, suffix).exists());
    let source = match open_read_only(from) {
        // Even who only reads makes a file beside a database that has logs, which not each folder takes.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !has_log => open_immutable(from),
        opened => opened,
    };
    copy_into_new(&source.map_err(db_error)?, to)
}

fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    readable(Connection::open_with_flags(as_file(path), flags)?)
}

/// Opens a file to which nobody writes.
fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let encoded = path.as_os_str().as_encoded_bytes().iter().fold(String::new(), |mut uri, byte| {
        let _ = match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => write!(uri, "{}", char::from(*byte)),
            byte => write!(uri, "%{byte:02x}"),
        };
        uri
    });
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    readable(Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags)?)
}

/// Opening alone reads nothing yet.
fn readable(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(PATIENCE)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn copy_into_new(source: &Connection, to: &Path) -> Result<(), DbError> {
    // Only a new file is one of which nobody has an opinion yet.
    std::fs::File::create_new(to).map_err(|e| DbError::new(DbErrorKind::Io, format!("{}: {e}", to.display())))?;
    let mut copy = Connection::open(to).map_err(db_error)?;
    // It is thrown away if it fails.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(db_error)?;
    let copied = copy_all(source, &mut copy);
    let closed = copy.close().map_err(|(_, error)| db_error(error));
    copied.and(closed)
}

fn copy_all(source: &Connection, copy: &mut Connection) -> Result<(), DbError> {
    let backup = Backup::new(source, copy).map_err(db_error)?;
    match backup.step(-1).map_err(db_error)? {
        StepResult::Done => Ok(()),
        _ => Err(DbError::new(DbErrorKind::Io, "the copy could not be completed: the database is locked")),
    }
}

impl SqliteDb {
    /// Copies the database, as it is now, page by page into a new file, which is one file without a log beside it. The
    /// database cannot be used meanwhile. The copy is not synced: whoever wants it to last syncs it.
    ///
    /// # Errors
    ///
    /// [`Full`](DbErrorKind::Full) or [`Io`](DbErrorKind::Io) if the file cannot be made or written, or is there already;
    /// [`Corrupt`](DbErrorKind::Corrupt) if the database is.
    pub fn back_up(&mut self, to: &Path) -> Result<(), DbError> {
        copy_into_new(self.connection(), to)
    }

    /// Reads the whole database and checks that it is well-formed.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](DbErrorKind::Corrupt), with the first thing that is not as it should be.
    pub fn check_integrity(&mut self) -> Result<(), DbError> {
        let mut found = None;
        self.query(Origin::Engine, "PRAGMA integrity_check(1)", &[], &mut |row: &dyn Columns| {
            if let ValueRef::Text(text) = row.value(0) {
                found.get_or_insert_with(|| text.to_owned());
            }
        })?;
        match found.as_deref() {
            Some("ok") => Ok(()),
            found => Err(DbError::new(DbErrorKind::Corrupt, found.unwrap_or("the check said nothing"))),
        }
    }
}
