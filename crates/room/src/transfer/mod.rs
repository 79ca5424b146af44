//! A room as a file that any home can write and read (SPEC 7.15).

mod export;
mod import;
mod own;
mod value;

use partysync_model::DbError;

pub use export::export;
pub use import::Incoming;
pub use own::OwnObjects;

/// The format of the file.
pub(crate) const FORMAT: u64 = 1;

/// The engine's tables that travel. What they are called in a file stays, whatever else a format has.
const ENGINE_TABLES: [&str; 10] =
    ["_meta", "_channel", "_log", "_change", "_client", "_reject", "_call", "_timer", "_outbox", "_away"];

fn is_engines(table: &str) -> bool {
    ENGINE_TABLES.contains(&table)
}

/// Names of SQLite's own, of the platform's and of the engine's.
fn is_reserved(name: &str) -> bool {
    name.starts_with('_') || name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    /// Rows of all tables, the engine's among them.
    pub rows: u64,
}

/// Why a room does not become a file, or a file no room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A line is not what it must be: the file is another one, was cut off or changed, or the database does not take it.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// For the operator.
        why: String,
    },
    /// The file is another room's than the one that it should become.
    #[error("it is the room {found}")]
    OtherRoom {
        /// Whose it is.
        found: String,
    },
    /// A row refers to one that is not there.
    #[error("a row of the table {table} refers to one of {of} that is not there")]
    Dangling {
        /// Where the row is.
        table: String,
        /// What it refers to.
        of: String,
    },
    /// A room holds what does not travel.
    #[error("{0}")]
    Unsupported(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The file could not be written.
    #[error("the file cannot be written: {0}")]
    Write(String),
}
