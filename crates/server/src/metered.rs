//! A room's database, whose commits are timed.

use std::sync::Arc;
use std::time::Instant;

use partysync_model::{Columns, Db, DbError, Origin, Value, Verdict};
use partysync_sqlite::SqliteDb;

use crate::metrics::Metrics;
use crate::rooms::Rooms;

/// A database and where the times of its commits are counted.
pub(crate) struct Metered {
    pub(crate) db: SqliteDb,
    metrics: Arc<Metrics>,
}

impl Metered {
    pub(crate) fn new(db: SqliteDb, rooms: &Rooms) -> Self {
        Metered { db, metrics: Arc::clone(&rooms.metrics) }
    }
}

impl Db for Metered {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.db.execute(origin, sql, params)
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.db.query(origin, sql, params, each)
    }

    /// Those inside of it are the database's own: this is the outermost.
    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        let mut kept_at = None;
        let ended = self.db.transaction(&mut |db| {
            let verdict = body(db);
            kept_at = matches!(verdict, Verdict::Keep).then(Instant::now);
            verdict
        });
        if let (Ok(()), Some(kept_at)) = (&ended, kept_at) {
            self.metrics.committed(kept_at.elapsed());
        }
        ended
    }
}
