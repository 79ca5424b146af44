use crate::{Columns, Millis, Scan, Table, Value, sql};

/// A room's database: typed tables, SQL, and transactions that nest.
///
/// Three things implement it: SQLite in the process, SQLite in a Durable Object, and [`MemoryDb`](crate::MemoryDb). A
/// database that speaks SQL implements [`execute`](Db::execute), [`query`](Db::query) and
/// [`transaction`](Db::transaction); the typed operations come with them.
///
/// It asks for nothing that a Durable Object refuses: no BEGIN or SAVEPOINT in SQL, at most 100 parameters, no TEMP
/// tables, no ATTACH.
pub trait Db {
    /// Runs one SQL statement that returns no rows. Returns how many rows it changed itself, those changed by its
    /// triggers and cascades not counted.
    ///
    /// # Errors
    ///
    /// Whatever SQLite says, as a [`DbErrorKind`]. Tables in memory have no SQL:
    /// [`Unsupported`](DbErrorKind::Unsupported).
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError>;

    /// Runs one SQL statement and shows each row it returns.
    ///
    /// # Errors
    ///
    /// As [`execute`](Db::execute). Rows shown before the error stay shown.
    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError>;

    /// Runs `body` in a transaction, or in a savepoint if there is a transaction already. Its effects stay if it returns
    /// [`Verdict::Keep`], and are undone if it returns [`Verdict::Undo`] or panics. Nothing that the home
    /// sends after this returned `Ok` for the outermost transaction leaves before the transaction is durable: natively it is
    /// so by then, on Durable Objects the platform holds back what is sent.
    ///
    /// # Errors
    ///
    /// The commit failed, with its effects undone; or [`DbErrorKind::Lost`]: the whole outer transaction is gone, because
    /// a statement in `body` ended it.
    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError>;

    /// Inserts a record's columns with `at` as its time. An id that only a row marked deleted holds is revived.
    ///
    /// # Errors
    ///
    /// [`DbErrorKind::Duplicate`] if a live row has the id, or a row has one of the unique values.
    fn insert(&mut self, table: &Table, row: &[Value], at: Millis) -> Result<(), DbError> {
        sql::insert(self, table, row, at)
    }

    /// Replaces the columns of the live row with the record's id. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`DbErrorKind::Duplicate`] if another row has one of the unique values.
    fn update(&mut self, table: &Table, row: &[Value], at: Millis) -> Result<bool, DbError> {
        sql::update(self, table, row, at)
    }

    /// Deletes the live row with this id. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Those of the database.
    fn delete(&mut self, table: &Table, id: &Value) -> Result<bool, DbError> {
        sql::delete(self, table, id)
    }

    /// Shows the live rows of a scan, times included, in the order of their ids.
    ///
    /// # Errors
    ///
    /// Those of the database.
    fn scan(&mut self, table: &Table, scan: &Scan, each: &mut dyn FnMut(&dyn Columns)) -> Result<(), DbError> {
        sql::scan(self, table, scan, each)
    }
}

/// Whose SQL it is: what it may do depends on it (SPEC 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The engine's: all is allowed.
    Engine,
    /// The app's at start-up and in migrations: tables may be made and changed.
    Setup,
    /// The app's in an action or an alarm: rows may be read and changed.
    Action,
}

/// What becomes of a transaction's effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They stay.
    Keep,
    /// They are undone.
    Undo,
}

/// A database's refusal or failure.
///
/// The message is for the operator's log and never travels (SPEC 10.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DbError {
    /// What happened.
    pub kind: DbErrorKind,
    /// In the database's own words.
    pub message: String,
}

impl DbError {
    /// Makes an error.
    pub fn new(kind: DbErrorKind, message: impl Into<String>) -> Self {
        DbError { kind, message: message.into() }
    }
}

/// The kinds of database errors that somebody can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// A unique value, or a primary key, is there already.
    Duplicate,
    /// Another constraint: NOT NULL, CHECK, a foreign key, a STRICT column's type, RAISE.
    Constraint,
    /// The disk, or the room's share of it, is full.
    Full,
    /// Reading or writing failed.
    Io,
    /// The file is not a database, or damaged.
    Corrupt,
    /// The step was interrupted, or used up its budget.
    Interrupted,
    /// The origin may not do this (SPEC 4.6).
    Denied,
    /// The enclosing transaction is gone.
    Lost,
    /// This database cannot do that: SQL in memory, a table that is not there.
    Unsupported,
    /// Anything else, a mistake in SQL above all.
    Sql,
}

impl DbErrorKind {
    /// Whether the same step may succeed later, unchanged.
    pub fn is_passing(self) -> bool {
        matches!(self, DbErrorKind::Full | DbErrorKind::Io | DbErrorKind::Corrupt)
    }
}
