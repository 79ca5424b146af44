use std::sync::Arc;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Value, Verdict};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, InterruptHandle};

use crate::authorizer::Guard;
use crate::budget::Budget;
use crate::error::db_error;

/// A room's database in an SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteDb {
    pub(crate) connection: Connection,
    pub(crate) guard: Arc<Guard>,
    pub(crate) budget: Arc<Budget>,
    /// How many transactions are open, one inside the other.
    pub(crate) depth: usize,
    pub(crate) state: State,
    /// The text of the app's statement that runs, as the statement cache knows it.
    pub(crate) action_sql: String,
}

/// Whether statements may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    /// SQLite ended the transaction before its time. Holds why. Until the outermost one returns nothing may run: it would
    /// be a transaction of its own.
    Lost(String),
    /// A transaction could neither be kept nor undone. Holds why. Nothing may run any more.
    Broken(String),
}

impl SqliteDb {
    pub(crate) fn with(connection: Connection, guard: Arc<Guard>, budget: Arc<Budget>) -> Self {
        SqliteDb { connection, guard, budget, depth: 0, state: State::Ready, action_sql: String::new() }
    }

    /// A handle with which another thread can interrupt the statement that runs, which then fails with
    /// [`Interrupted`](DbErrorKind::Interrupted). Between statements it does nothing.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Copies the write-ahead log into the file and empties it. Does nothing in memory.
    ///
    /// # Errors
    ///
    /// [`Io`](DbErrorKind::Io) or [`Full`](DbErrorKind::Full) if it could not be copied: nothing is lost then.
    /// [`Sql`](DbErrorKind::Sql) inside a transaction.
    pub fn checkpoint(&mut self) -> Result<(), DbError> {
        self.ready()?;
        self.connection.wal_checkpoint_v2(Some("main"), CheckpointMode::TRUNCATE).map(|_| ()).map_err(db_error)
    }

    /// Whether a statement may run now.
    pub(crate) fn ready(&mut self) -> Result<(), DbError> {
        if self.depth > 0 && self.state == State::Ready && self.connection.is_autocommit() {
            self.state = State::Lost("a statement ended the transaction".to_owned());
        }
        match &self.state {
            State::Ready => Ok(()),
            State::Lost(cause) => Err(DbError::new(DbErrorKind::Lost, format!("the transaction is gone: {cause}"))),
            State::Broken(cause) => Err(DbError::new(DbErrorKind::Io, format!("the connection is unusable: {cause}"))),
        }
    }
}

impl Db for SqliteDb {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.run(origin, sql, params, &mut |_| {})
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.run(origin, sql, params, each).map(|_| ())
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        self.run_transaction(body)
    }
}
