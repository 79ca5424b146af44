//! SQLite's errors as kinds.

use partysync_model::{DbError, DbErrorKind};
use rusqlite::{Error, ffi};

/// An error of rusqlite's, in SQLite's words.
pub(crate) fn db_error(error: Error) -> DbError {
    match error {
        Error::SqliteFailure(code, message) => {
            DbError::new(kind(code.extended_code), message.unwrap_or_else(|| code.to_string()))
        }
        Error::SqlInputError { error, msg, .. } => DbError::new(kind(error.extended_code), msg),
        Error::MultipleStatement => DbError::new(DbErrorKind::Sql, "the SQL holds more than one statement"),
        Error::Empty => DbError::new(DbErrorKind::Sql, "the SQL holds no statement"),
        error => DbError::new(DbErrorKind::Sql, error.to_string()),
    }
}

/// The kind of one of SQLite's extended result codes.
fn kind(code: i32) -> DbErrorKind {
    match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            DbErrorKind::Duplicate
        }
        _ => primary_kind(code & 0xff),
    }
}

fn primary_kind(code: i32) -> DbErrorKind {
    match code {
        // A value of the wrong type in a table that is not STRICT is a MISMATCH; in one that is, a CONSTRAINT.
        ffi::SQLITE_CONSTRAINT | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH => DbErrorKind::Constraint,
        ffi::SQLITE_FULL => DbErrorKind::Full,
        ffi::SQLITE_IOERR | ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN => DbErrorKind::Io,
        // Somebody else holds the file, or there is no memory: neither is the statement's fault, and both may pass.
        ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL | ffi::SQLITE_NOMEM => DbErrorKind::Io,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => DbErrorKind::Corrupt,
        ffi::SQLITE_INTERRUPT => DbErrorKind::Interrupted,
        ffi::SQLITE_AUTH => DbErrorKind::Denied,
        _ => DbErrorKind::Sql,
    }
}
