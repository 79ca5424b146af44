use std::sync::Arc;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Value, Verdict};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, InterruptHandle, Row};

use crate::authorizer::{Guard, Names};
use crate::budget::Budget;
use crate::error::db_error;
use crate::open::keep_log_on_close;
use crate::session::{Session, State};
use crate::statement::Handles;

/// What goes before each page in the write-ahead log.
const WAL_FRAME_HEADER_BYTES: u64 = 24;

/// A room's database in an SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteDb {
    connection: Connection,
    guard: Arc<Guard>,
    budget: Arc<Budget>,
    state: State,
    page_bytes: u64,
    /// Room for the text of an action's statement.
    text: String,
}

impl SqliteDb {
    pub(crate) fn with(connection: Connection, page_bytes: u64, guard: Arc<Guard>, budget: Arc<Budget>) -> Self {
        SqliteDb { connection, guard, budget, state: State::Ready, page_bytes, text: String::new() }
    }

    /// A handle with which another thread can interrupt the statement that runs, which then fails with
    /// [`Interrupted`](partysync_model::DbErrorKind::Interrupted). Between statements it does nothing.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// How many bytes of the write-ahead log are not copied into the file yet. 0 in memory. No commit copies them: whoever
    /// owns the database calls [`copy_log`](Self::copy_log) when nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Io`](partysync_model::DbErrorKind::Io) if the connection can no longer be used.
    pub fn log_bytes(&mut self) -> Result<u64, DbError> {
        self.session().ready()?;
        self.guard.enter(Origin::Engine, Names::default());
        let sql = "PRAGMA wal_checkpoint(NOOP)";
        let mut statement = self.connection.prepare_cached(sql).map_err(db_error)?;
        let count = |index: usize, row: &Row<'_>| row.get::<_, i64>(index);
        let (written, copied) =
            statement.query_row([], |row| Ok((count(1, row)?, count(2, row)?))).map_err(db_error)?;
        let frames = u64::try_from(written - copied.max(0)).unwrap_or(0);
        Ok(frames * (self.page_bytes + WAL_FRAME_HEADER_BYTES))
    }

    /// Copies the write-ahead log into the file. Its own file keeps its size and is written again from its start, which
    /// makes the next commits cheaper than if it had to grow. Does nothing in memory.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Self::checkpoint).
    pub fn copy_log(&mut self) -> Result<(), DbError> {
        self.copy(CheckpointMode::PASSIVE)
    }

    /// Copies the write-ahead log into the file and empties it. Does nothing in memory.
    ///
    /// # Errors
    ///
    /// [`Io`](partysync_model::DbErrorKind::Io) or [`Full`](partysync_model::DbErrorKind::Full) if it could not be copied. Nothing is lost then: the log
    /// is still there.
    pub fn checkpoint(&mut self) -> Result<(), DbError> {
        self.copy(CheckpointMode::TRUNCATE)
    }

    fn copy(&mut self, mode: CheckpointMode) -> Result<(), DbError> {
        self.session().ready()?;
        self.connection.wal_checkpoint_v2(Some("main"), mode).map(|_| ()).map_err(db_error)
    }

    /// Notes a failure after which the log may hold what was undone, on disk or not. It is not to be deleted when the file is closed: after a
    /// power cut it may be back. Whoever opens the file next has to see it.
    fn noted<T>(&self, done: Result<T, DbError>) -> Result<T, DbError> {
        if done.as_ref().is_err_and(|error| error.kind == DbErrorKind::Io) {
            let _ = keep_log_on_close(&self.connection, true);
        }
        done
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn session(&mut self) -> Session<'_> {
        let handles = Handles { connection: &self.connection, guard: &self.guard, budget: &self.budget };
        Session::new(handles, &mut self.state, &mut self.text)
    }
}

impl Db for SqliteDb {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let done = self.session().execute(origin, sql, params);
        self.noted(done)
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.session().query(origin, sql, params, each)
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        let ended = self.session().transaction(body);
        self.noted(ended)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

    use super::*;
    use crate::Options;

    #[test]
    fn p5_a_connection_that_can_neither_keep_nor_undo_is_given_up() {
        let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        db.execute(Origin::Engine, "CREATE TABLE t (id)", &[]).unwrap();
        let no_rollback = |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { operation: TransactionOperation::Rollback } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        db.connection.authorizer(Some(no_rollback)).unwrap();
        let ended = db.transaction(&mut |db| {
            db.execute(Origin::Engine, "INSERT INTO t VALUES (1)", &[]).unwrap();
            Verdict::Undo
        });
        assert_eq!(ended.unwrap_err().kind, DbErrorKind::Io);
        for _ in 0..2 {
            assert_eq!(db.execute(Origin::Engine, "SELECT 1", &[]).unwrap_err().kind, DbErrorKind::Io);
            assert_eq!(db.transaction(&mut |_| panic!("must not run")).unwrap_err().kind, DbErrorKind::Io);
            assert_eq!(db.checkpoint().unwrap_err().kind, DbErrorKind::Io);
        }
    }
}
