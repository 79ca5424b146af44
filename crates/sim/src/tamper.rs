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
    /// The patch that follows a snapshot which is older than the room is not sent: against P2.
    DropSnapshotPatch,
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
    /// No reader that was left behind is told what it missed: against P8.
    NoCatchUp,
    /// Nothing is left out for a slow reader: against P8.
    NoBound,
    /// A reset takes a pending action with it: against P7. A client does this.
    LosePending,
    /// An item of the outbox that failed is handed out under another key: against P4.
    NewKeys,
    /// Items of the outbox are not stored: against P4.
    LoseItems,
    /// Every fourth rejection is not stored: against P4, as what was rejected looks applied then.
    ForgetRejections,
    /// Outcomes are kept that the client has: against P8.
    FreeNothing,
    /// Every fifth cursor is not found in the log: against P7.
    ResetAlways,
    /// Who comes back is told of all that is in the log: against P7.
    ResumeFromStart,
    /// Versions are stamped with their number, so that histories that part cannot be told apart: against P7.
    SameStamps,
    /// Every seventh ack is not sent: against P8.
    DropAcks,
    /// No page is volunteered what it may have missed: against P10.
    NoVolunteer,
    /// What a page was sent is taken to have arrived: against P10. The home does this.
    BelieveSent,
    /// Updates of version 1 have no deleted rows: against P10.
    DropTombstones,
    /// Every fifth answer to a version 1 call is not sent: against P10.
    DropAnswers,
    /// A version 1 call that failed is answered as if it had not: against P10.
    AckFailed,
    /// Calls of version 1 are not stored: against P4.
    ForgetCalls,
    /// Every tenth frame goes out in another room's name: against P9.
    OtherRooms,
    /// Behind a room's last frame to a socket comes another one: against P9. The home does this, and all that follow.
    SendToLeft,
    /// A socket is closed when one of its rooms ends: against P9.
    CloseForLeft,
    /// A room ends on a socket without a word: against P9.
    EndSilently,
    /// Whom the door does not let into a room is put out of all others on the socket: against P9.
    RefuseAll,
    /// No admission ends: against P9.
    NeverEnd,
    /// Nobody is told that its admission ends soon: against P9.
    NoNotice,
    /// An admission ends although another token was let in: against P9.
    ForgetRenewals,
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
        Tampered { inner: &mut self.inner, state: &mut self.state }.query(origin, sql, params, each)
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
        let is_kept_back = self.is_turn(Tamper::LoseItems, sql, "INSERT INTO _outbox", 3)
            || self.is_turn(Tamper::ForgetRejections, sql, "INSERT INTO _reject", 4)
            || self.is_turn(Tamper::ForgetCalls, sql, "INSERT INTO _call", 1)
            || self.is_turn(Tamper::FreeNothing, sql, "DELETE FROM _reject WHERE handle = ? AND number", 1);
        if is_kept_back {
            return Ok(1);
        }
        if self.is_turn(Tamper::SameStamps, sql, LOG, 1)
            && let [version, _, rest @ ..] = params
        {
            let params: Vec<Value> = [version, version].into_iter().chain(rest).cloned().collect();
            return self.inner.execute(origin, sql, &params);
        }
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
        if self.is_turn(Tamper::ResetAlways, sql, "SELECT version, stamp, at FROM _log WHERE version", 5) {
            return Ok(());
        }
        if self.is_turn(Tamper::ResumeFromStart, sql, "SELECT channel, id, op FROM _change WHERE version >", 1) {
            return self.inner.query(origin, sql, &[Value::Integer(0)], each);
        }
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
    *count += u64::from(how == Tamper::OtherRooms);
    if how == Tamper::OtherRooms && count.is_multiple_of(10) {
        return Some(text.replace("sim/world-0", "sim/world-1"));
    }
    if how == Tamper::DropAcks && text.starts_with(r#"{"type":"ack""#) {
        *count += 1;
        return (!count.is_multiple_of(7)).then(|| text.to_owned());
    }
    if let Some(tampered) = frame_v1(how, count, text) {
        return tampered;
    }
    if how == Tamper::DropSnapshotPatch {
        // 1: the next patch is the one.
        match Down::parse(text) {
            Ok(Down::Joined(joined)) => *count = u64::from(joined.newest.is_some()),
            Ok(Down::Patch(_)) if std::mem::take(count) > 0 => return None,
            _ => {}
        }
        return Some(text.to_owned());
    }
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

/// What becomes of a frame of version 1, if something does.
fn frame_v1(how: Tamper, count: &mut u64, text: &str) -> Option<Option<String>> {
    let is_error = text.starts_with(r#"{"type":"error","rpc""#);
    let is_answer = is_error || text.starts_with(r#"{"type":"success""#);
    match how {
        Tamper::DropAnswers if is_answer => {
            *count += 1;
            Some((!count.is_multiple_of(5)).then(|| text.to_owned()))
        }
        Tamper::AckFailed if is_error => {
            let head = text.split_once(r#""error":"#)?.0.replace("error", "success");
            Some(Some(format!(r#"{head}"result":[]}}"#)))
        }
        Tamper::DropTombstones if text.contains(r#""type":"update""#) => {
            let mut update: serde_json::Value = serde_json::from_str(text).ok()?;
            let is_live =
                |row: &serde_json::Value| row.as_array().is_some_and(|row| row.last().is_some_and(|at| at.is_null()));
            update.get_mut("payload")?.as_array_mut()?.retain(is_live);
            Some(Some(update.to_string()))
        }
        _ => None,
    }
}
