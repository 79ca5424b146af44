//! Copies of a database that is in use.

use std::path::Path;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, ValueRef};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::db::SqliteDb;
use crate::error::db_error;

impl SqliteDb {
    /// Copies the database, as it is now, page by page into a new file, which is one file without a log beside it. The
    /// database cannot be used meanwhile. The copy is not synced: whoever wants it to last syncs it.
    ///
    /// # Errors
    ///
    /// [`Full`](DbErrorKind::Full) or [`Io`](DbErrorKind::Io) if the file cannot be made or written, or is there already;
    /// [`Corrupt`](DbErrorKind::Corrupt) if the database is.
    pub fn back_up(&mut self, to: &Path) -> Result<(), DbError> {
        // Only a new file is one of which nobody has an opinion yet.
        std::fs::File::create_new(to).map_err(|e| DbError::new(DbErrorKind::Io, format!("{}: {e}", to.display())))?;
        let mut copy = Connection::open(to).map_err(db_error)?;
        // It is thrown away if it fails.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(db_error)?;
        let copied = self.copy_to(&mut copy);
        let closed = copy.close().map_err(|(_, error)| db_error(error));
        copied.and(closed)
    }

    fn copy_to(&mut self, copy: &mut Connection) -> Result<(), DbError> {
        let backup = Backup::new(self.connection(), copy).map_err(db_error)?;
        match backup.step(-1).map_err(db_error)? {
            StepResult::Done => Ok(()),
            _ => Err(DbError::new(DbErrorKind::Io, "the copy could not be completed")),
        }
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
