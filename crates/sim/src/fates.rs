//! What a room's clients make of it: what they hold, and what they believe became of their actions.

use std::collections::BTreeSet;

use partysync_client::{Client, Fate};
use partysync_protocol::{Cursor, ErrorCode, limits};

use crate::checks::{Checked, Ledger, Promise, Violation, ensure};
use crate::model::{CHANNELS, digest};

/// What a client knows of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Applied,
    Rejected,
    /// Nobody can say.
    Unknown,
}

impl Ledger {
    /// P1, P2: a client holds exactly the rows of the version that it says it holds.
    pub(crate) fn check_client(&self, client: &mut Client) -> Checked {
        let Some(cursor) = client.cursor() else { return Ok(()) };
        let past = self.past.get(&(cursor.version, cursor.stamp.get() as i64)).copied();
        if past.is_none() {
            self.check_cursor(cursor)?;
        }
        let rows = client.save().rows;
        ensure!(rows.keys().eq(CHANNELS.iter()), P1, "a client has the channels {:?}", rows.keys());
        let found = digest(rows.values().map(|rows| rows.iter().map(|row| row.get().to_owned()).collect()));
        let now = self.history.versions.get(cursor.version as usize).map(|made| made.digest);
        let wanted = if self.check_cursor(cursor).is_ok() { now } else { past };
        ensure!(Some(found) == wanted, P1, "a client's rows at version {} are wrong: {rows:#?}", cursor.version);
        Ok(())
    }

    /// P4: what a client learns of its action is what became of it.
    pub(crate) fn check_fate(&mut self, nonce: u64, fate: &Fate, cursor: Option<Cursor>) -> Checked {
        let applied = self.history.applied.get(&nonce);
        let known = match fate {
            Fate::Applied { version } => {
                // It was acked; then an old copy took the room's place, which does not know the client any more (SPEC 6.7).
                let is_lost = self.lost.contains(&nonce) && self.may_have_passed(limits::CLIENT_DAYS);
                ensure!(applied.is_some() || is_lost, P4, "a client believes that action {nonce} was applied");
                let holds = cursor.is_some_and(|cursor| cursor.version >= *version) && applied <= Some(version);
                ensure!(
                    holds,
                    P6,
                    "action {nonce} went at {version}; the client holds {cursor:?}, it shows at {applied:?}"
                );
                Known::Applied
            }
            Fate::Rejected(error) => {
                ensure!(applied.is_none(), P4, "a client believes that action {nonce} was rejected: {error:?}");
                Known::Rejected
            }
            Fate::Unknown(error) => {
                let forgets = error.code == ErrorCode::OutcomeForgotten.as_str();
                let days = if forgets { limits::OUTCOME_DAYS } else { limits::CLIENT_DAYS };
                // An old copy may have what was not answered (SPEC 9.5).
                let may = self.may_have_passed(days) || (!forgets && !self.past.is_empty());
                ensure!(may, P4, "the fate of {nonce} is not known: {error:?}");
                Known::Unknown
            }
        };
        let before = self.settled.insert(nonce, known);
        ensure!(before.is_none(), P4, "action {nonce} was settled twice: as {before:?} and {known:?}");
        Ok(())
    }

    /// P4, P7: what was pending is pending, in its order, or its fate was told.
    pub(crate) fn check_pending(&self, before: &[u64], after: &[u64], told: &BTreeSet<u64>, is_reset: bool) -> Checked {
        let kept: Vec<u64> = before.iter().copied().filter(|nonce| !told.contains(nonce)).collect();
        let promise = if is_reset { Promise::P7 } else { Promise::P4 };
        if !after.starts_with(&kept) {
            let what = format!("a client had {before:?} pending and has {after:?}; it told of {told:?}");
            return Err(Violation { promise, what });
        }
        Ok(())
    }

    /// A client forgets all that it did since it was stored.
    pub(crate) fn abandon(&mut self, client: partysync_protocol::ClientId, last: u64, pending: &[u64]) {
        self.give_up(pending);
        self.senders.retain(|(sender, number), _| *sender != client || *number <= last);
    }

    /// Nobody waits any more to learn what becomes of these.
    pub(crate) fn give_up(&mut self, pending: &[u64]) {
        let open = pending.iter().filter(|nonce| !self.settled.contains_key(nonce));
        self.abandoned.extend(open);
    }

    /// P4: at the end everybody knows what became of everything, and it is so.
    pub(crate) fn check_all_settled(&self) -> Checked {
        for (nonce, request) in &self.requests {
            let is_there = self.history.applied.contains_key(nonce);
            match self.settled.get(nonce) {
                Some(Known::Applied) => {
                    ensure!(is_there || self.lost.contains(nonce), P4, "{request:?} was acked and is not there");
                }
                // Nobody knows what became of it after the room was copied.
                Some(Known::Rejected) => {
                    ensure!(!is_there || self.copied.contains(nonce), P4, "{request:?} was rejected and is there");
                }
                Some(Known::Unknown) => {}
                None => {
                    let is_abandoned = self.abandoned.contains(nonce);
                    ensure!(is_abandoned, P4, "nobody knows what became of {request:?}");
                }
            }
        }
        Ok(())
    }
}
