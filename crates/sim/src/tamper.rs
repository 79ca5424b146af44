//! Rooms that are broken on purpose: the checks must notice each of them.
//!
//! Nothing in the room itself is changed for that: its database and its effects pass through here.

use partysync_model::{Columns, Db, DbError, Origin, Value, Verdict};
use partysync_protocol::v2::{self, Down};
use partysync_protocol::{Cursor, Version};
use partysync_sqlite::SqliteDb;

/// How a room is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// It is not.
    None,
    /// Patches have no deletes: against P1.
    DropDeletes,
    /// Every fifth patch is not sent: against P2.
    DropPatches,
    /// Every tenth version gets a new stamp when the next one is written: against P2.
    ChangeStamps,
    /// Every tenth version skips a number: against P2.
    SkipVersions,
    /// What is sent was not synced, as if it had left before the commit: against P3. The world's disk does this.
    LieAboutSyncs,
    /// A client's number is not stored: against P4.
    ForgetNumbers,
    /// What a failed step did stays: against P5.
    KeepFailedSteps,
}

/// A room's database, perhaps a broken one.
pub(crate) struct SimDb {
    inner: SqliteDb,
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct State {
    how: Tamper,
    /// Statements seen that could have been tampered with.
    seen: u64,
    depth: usize,
}

impl SimDb {
    pub(crate) fn new(inner: SqliteDb, how: Tamper) -> Self {
        SimDb { inner, state: State { how, seen: 0, depth: 0 } }
    }

    pub(crate) fn inner(&mut self) -> &mut SqliteDb {
        &mut self.inner
    }
}

impl Db for SimDb {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        Tampered { inner: &mut self.inner, state: &mut self.state }.execute(origin, sql, params)
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.inner.query(origin, sql, params, each)
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        Tampered { inner: &mut self.inner, state: &mut self.state }.transaction(body)
    }
}

/// A database within a transaction.
struct Tampered<'a> {
    inner: &'a mut dyn Db,
    state: &'a mut State,
}

impl Tampered<'_> {
    /// Whether it is this statement's turn.
    fn is_turn(&mut self, how: Tamper, sql: &str, start: &str, every: u64) -> bool {
        if self.state.how != how || !sql.starts_with(start) {
            return false;
        }
        self.state.seen += 1;
        self.state.seen.is_multiple_of(every)
    }
}

impl Db for Tampered<'_> {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        const LOG: &str = "INSERT INTO _log";
        if self.is_turn(Tamper::ForgetNumbers, sql, "UPDATE _client SET last", 4) {
            return Ok(1);
        }
        if self.is_turn(Tamper::ChangeStamps, sql, LOG, 10) {
            let restamp = "UPDATE _log SET stamp = stamp / 2 WHERE version = (SELECT max(version) FROM _log)";
            self.inner.execute(Origin::Engine, restamp, &[])?;
        }
        if self.is_turn(Tamper::SkipVersions, sql, LOG, 10)
            && let [Value::Integer(version), rest @ ..] = params
        {
            let mut params = vec![Value::Integer(version + 1)];
            params.extend_from_slice(rest);
            return self.inner.execute(origin, sql, &params);
        }
        self.inner.execute(origin, sql, params)
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.inner.query(origin, sql, params, each)
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        let state = &mut *self.state;
        let nested = state.depth > 0;
        state.depth += 1;
        let ended = self.inner.transaction(&mut |inner| {
            let verdict = body(&mut Tampered { inner, state });
            if nested && state.how == Tamper::KeepFailedSteps { Verdict::Keep } else { verdict }
        });
        self.state.depth -= 1;
        ended
    }
}

/// What becomes of a frame that the room sends.
pub(crate) fn frame(how: Tamper, count: &mut u64, text: &str) -> Option<String> {
    let patch = match how {
        Tamper::DropDeletes | Tamper::DropPatches => match Down::parse(text) {
            Ok(Down::Patch(patch)) => patch,
            _ => return Some(text.to_owned()),
        },
        _ => return Some(text.to_owned()),
    };
    *count += 1;
    if how == Tamper::DropPatches {
        return (!count.is_multiple_of(5)).then(|| text.to_owned());
    }
    let lists: Vec<(String, String)> = patch
        .changes
        .iter()
        .map(|c| (c.channel.to_string(), c.puts.iter().map(|row| row.get()).collect::<Vec<_>>().join(",")))
        .collect();
    let changes = lists.iter().map(|(channel, puts)| (channel.as_str(), puts.as_str(), ""));
    let to: Cursor = Cursor { version: patch.to, stamp: patch.stamp };
    let from: Version = patch.from;
    Some(v2::patch(&patch.room, from, to, changes))
}
