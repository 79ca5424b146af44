//! How a room comes to rows that were made elsewhere (SPEC 7.13).

use partysync_model::{Db, DbError, Verdict};

use crate::step::next_head;
use crate::store::{self, Head, LogEntry};
use crate::{Input, Room, SyncServer};

/// The author of the version in the log.
const AUTHOR: &str = "import";

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Fills the room with rows that were made elsewhere, in one transaction and as one version, with which its history begins:
    /// nobody can resume from before it. What `fill` writes into the channels' tables, times included, stays as it is; of
    /// rows that are marked deleted, and of those that it deletes, there are tombstones. The room is opened anew to be used.
    ///
    /// `fill` is run once. It puts into the three columns of times integers, none later than `input.now`, and into the others what can travel (SPEC
    /// 3.2): it is not looked at.
    ///
    /// # Errors
    ///
    /// Those of the database; nothing stays then, nor if `fill` says so.
    pub fn adopt(mut self, input: Input, fill: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        let mut result = Ok(());
        let before = self.head;
        self.db.transaction(&mut |db| {
            if fill(db) == Verdict::Undo {
                return Verdict::Undo;
            }
            result = begin_history(db, next_head(before, input));
            if result.is_ok() { Verdict::Keep } else { Verdict::Undo }
        })?;
        result
    }
}

/// What the triggers recorded becomes a version, and the floor.
fn begin_history(db: &mut dyn Db, head: Head) -> Result<(), DbError> {
    store::append(db, &LogEntry { head, client: None, number: None, author: Some(AUTHOR), action: None })?;
    store::forget_puts(db, head.cursor.version)?;
    store::set_meta(db, "floor", store::version_value(head.cursor.version))
}
