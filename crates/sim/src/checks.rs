//! The promises, as checks of a room and its clients from outside. `Ledger` is all that was ever seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use partysync_client::{Client, Fate};
use partysync_model::{Db, DbError};
use partysync_protocol::v2::{Down, Up};
use partysync_protocol::{ClientId, Cursor, ErrorCode, Version};
use partysync_room::{ConnectionId, Room, SyncServer};
use serde::Deserialize;

use crate::app::{ALARM_NONCE, Action, Complaints, Request};
use crate::disk::lock;
use crate::look::{self, Entry, Logged};
use crate::model::{CHANNELS, Model, digest};

/// A promise of the design was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{promise} is broken: {what}")]
pub struct Violation {
    /// The promise's number.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
}

/// The promises that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Convergence.
    P1,
    /// Order.
    P2,
    /// Durability.
    P3,
    /// Exactly once.
    P4,
    /// Atomicity.
    P5,
    /// No flicker.
    P6,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

pub(crate) type Checked = Result<(), Violation>;

/// Fails with a promise's violation unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $promise:ident, $($what:tt)+) => {
        if !$condition {
            return Err(Violation { promise: Promise::$promise, what: format!($($what)+) });
        }
    };
}
pub(crate) use ensure;

/// What the room was seen to hold, and what it said.
#[derive(Default)]
pub(crate) struct Ledger {
    /// What clients asked for, by nonce.
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Under which names an action was sent.
    senders: BTreeMap<(ClientId, u64), u64>,
    /// What was applied, in order.
    journal: Vec<Entry>,
    model: Model,
    /// Each version's rows, its time, and which journal entry made it.
    versions: Vec<Made>,
    stamps: BTreeMap<Version, i64>,
    /// The version at which an applied action shows.
    applied: BTreeMap<u64, Version>,
    rejected: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    connections: BTreeMap<ConnectionId, Heard>,
    /// Whether time has jumped so far that outcomes or clients may be forgotten.
    pub(crate) may_forget: bool,
    pub(crate) complaints: Complaints,
    observed: u64,
}

struct Made {
    digest: u64,
    /// `None` for version 0.
    at: Option<i64>,
}

/// What a connection has said and heard.
#[derive(Debug, Default)]
struct Heard {
    client: Option<ClientId>,
    /// What is not answered yet, in order.
    waiting: VecDeque<Asked>,
    /// The version that what was sent leads to. `None` before the first `joined`.
    held: Option<Version>,
    /// The highest version that an ack named.
    promised: Option<Version>,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Join { held: Option<Version> },
    Action { client: ClientId, number: u64 },
}

#[derive(Deserialize)]
struct Nonce {
    nonce: u64,
}

/// The nonce in an action's JSON.
pub(crate) fn nonce_of(action: &str) -> Option<u64> {
    serde_json::from_str::<Nonce>(action).ok().map(|n| n.nonce)
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let model = Model::default();
        let versions = vec![Made { digest: model.digest(), at: None }];
        Ledger { model, versions, ..Ledger::default() }
    }

    /// How many actions and alarms were applied.
    pub(crate) fn applied(&self) -> usize {
        self.journal.len()
    }

    /// The newest version.
    pub(crate) fn head(&self) -> Version {
        self.versions.len() as Version - 1
    }

    /// All live rows, channel by channel.
    pub(crate) fn head_rows(&self) -> Vec<Vec<String>> {
        CHANNELS.iter().map(|channel| self.model.rows(channel)).collect()
    }

    /// Looks at a room between batches. All it holds is durable.
    pub(crate) fn observe<S: SyncServer, D: Db>(&mut self, room: &mut Room<S, D>) -> Result<Checked, DbError> {
        self.observed += 1;
        let all = self.observed.is_multiple_of(16);
        let cursor = room.cursor();
        let db = room.db_mut();
        let journal = look::journal(db, if all { 0 } else { self.journal.len() })?;
        let log = look::log(db, if all { 0 } else { self.head() + 1 })?;
        let twice = look::twice(db)?;
        let rows = CHANNELS.iter().map(|channel| look::live(db, channel)).collect::<Result<Vec<_>, _>>()?;
        let marked = look::marked(db)?;
        Ok(self
            .check_journal(if all { 0 } else { self.journal.len() }, journal)
            .and_then(|()| self.check_log(&log, cursor))
            .and_then(|()| self.check_rows(&rows, &marked))
            .and_then(|()| check_once(twice))
            .and_then(|()| self.check_field()))
    }

    /// The room's process is gone, and with it all sockets.
    pub(crate) fn forget_connections(&mut self) {
        self.connections.clear();
    }

    /// Looks at a room that was just opened: what was seen before must be there (P3).
    pub(crate) fn reopened<S: SyncServer, D: Db>(&mut self, room: &mut Room<S, D>) -> Result<Checked, DbError> {
        self.observed = 15;
        let lost = look::journal(room.db_mut(), 0)?.len() < self.journal.len();
        let (version, seen) = (room.cursor().version, self.head());
        if lost || version < seen {
            let what = format!("the room was at version {seen} and is at {version} after a restart");
            return Ok(Err(Violation { promise: Promise::P3, what }));
        }
        self.observe(room)
    }

    /// P4, P5: each action at most once, none that failed; and what they add up to.
    fn check_journal(&mut self, from: usize, entries: Vec<Entry>) -> Checked {
        let known = self.journal.len() - from;
        for (old, new) in self.journal[from..].iter().zip(&entries) {
            ensure!(old == new, P3, "the journal had {old:?} and has {new:?} in its place");
        }
        ensure!(entries.len() >= known, P3, "the journal is shorter than it was");
        for entry in entries.into_iter().skip(known) {
            self.apply(&entry)?;
            self.journal.push(entry);
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Checked {
        let Entry { nonce, made, at } = entry;
        let changed = if *nonce == ALARM_NONCE {
            self.model.alarm(*at);
            true
        } else {
            ensure!(!self.applied.contains_key(nonce), P4, "action {nonce} was applied twice");
            ensure!(!self.rejected.contains(nonce), P5, "action {nonce} was rejected and then applied");
            let Some(request) = self.requests.get(nonce) else {
                return Err(Violation { promise: Promise::P5, what: format!("nobody asked for action {nonce}") });
            };
            let fails = matches!(
                request.action,
                Action::Refuse(_) | Action::Panic(_) | Action::BlobTag { .. } | Action::Forbidden | Action::Spin
            );
            ensure!(!fails, P5, "an action that fails was applied: {:?}", request.action);
            self.model.apply(&request.action, made.as_deref(), *at)
        };
        if changed {
            self.versions.push(Made { digest: self.model.digest(), at: Some(*at) });
        }
        self.applied.insert(*nonce, self.head());
        Ok(())
    }

    /// P2: one version for each step that changed something, without gaps, in time; stamps never change.
    fn check_log(&mut self, log: &[Logged], cursor: Cursor) -> Checked {
        for pair in log.windows(2) {
            ensure!(pair[1].version == pair[0].version + 1, P2, "the log has no version {}", pair[0].version + 1);
            ensure!(pair[1].at > pair[0].at, P2, "version {} is not later than the one before", pair[1].version);
        }
        for entry in log {
            self.check_logged(entry)?;
        }
        let head = self.head();
        ensure!(cursor.version == head, P2, "the room is at version {}; {head} steps changed rows", cursor.version);
        let stamp = self.stamps.get(&head);
        ensure!(stamp == Some(&(cursor.stamp.get() as i64)), P2, "version {head} is stamped {stamp:?}, not {cursor:?}");
        Ok(())
    }

    fn check_logged(&mut self, entry: &Logged) -> Checked {
        let Logged { version, stamp, at, action } = entry;
        let known = *self.stamps.entry(*version).or_insert(*stamp);
        ensure!(known == *stamp, P2, "version {version} was stamped {known} and is stamped {stamp}");
        let Some(made) = self.versions.get(*version as usize) else {
            return Err(Violation {
                promise: Promise::P5,
                what: format!("nothing that was applied made version {version}"),
            });
        };
        ensure!(made.at.is_none_or(|made| made == *at), P2, "version {version} is of {at}, its step of {:?}", made.at);
        if let Some(nonce) = action.as_deref().and_then(nonce_of) {
            let shows = self.applied.get(&nonce);
            ensure!(shows == Some(version), P4, "the log has action {nonce} at {version}, the journal at {shows:?}");
        }
        Ok(())
    }

    /// P5: the tables are what the applied actions add up to.
    fn check_rows(&self, rows: &[Vec<String>], marked: &[String]) -> Checked {
        for (channel, found) in CHANNELS.iter().zip(rows) {
            let wanted = self.model.rows(channel);
            ensure!(*found == wanted, P5, "{channel} holds {found:#?}, which should be {wanted:#?}");
        }
        let wrong = marked.iter().find(|id| !self.model.is_marked(id));
        ensure!(wrong.is_none(), P5, "a note is marked deleted by nobody: {wrong:?}");
        Ok(())
    }

    /// P5: what the app keeps in its fields.
    fn check_field(&self) -> Checked {
        let complaint = lock(&self.complaints).pop();
        ensure!(complaint.is_none(), P5, "{complaint:?}");
        Ok(())
    }

    /// Notes a frame that reaches the room.
    pub(crate) fn arrived(&mut self, connection: ConnectionId, text: &str) -> Checked {
        let heard = self.connections.entry(connection).or_default();
        match Up::parse(text) {
            Ok(Up::Join { client, cursor, .. }) => {
                heard.client = Some(client);
                heard.waiting.push_back(Asked::Join { held: cursor.map(|c| c.version) });
            }
            Ok(Up::Action { number, action, .. }) => {
                let (Some(client), Some(nonce)) = (heard.client, nonce_of(action.get())) else { return Ok(()) };
                heard.waiting.push_back(Asked::Action { client, number });
                let known = *self.senders.entry((client, number)).or_insert(nonce);
                ensure!(known == nonce, P4, "a client used number {number} for actions {known} and {nonce}");
            }
            _ => {}
        }
        Ok(())
    }

    /// Judges a frame that the room sends.
    pub(crate) fn sent(&mut self, to: ConnectionId, text: &str) -> Checked {
        let Ok(down) = Down::parse(text) else {
            return Err(Violation { promise: Promise::P2, what: format!("the room sent {text:?}") });
        };
        match down {
            Down::Joined(joined) => {
                self.check_cursor(joined.cursor())?;
                let heard = self.connections.entry(to).or_default();
                // What was asked before and is not answered by now never will be.
                let join = heard.waiting.iter().position(|asked| matches!(asked, Asked::Join { .. }));
                let asked = heard.waiting.drain(..=join.unwrap_or(0)).next_back();
                let Some(Asked::Join { held }) = asked else {
                    return Err(Violation {
                        promise: Promise::P2,
                        what: "a `joined` that nobody asked for".to_owned(),
                    });
                };
                heard.held = if joined.reset { Some(joined.version) } else { held };
            }
            Down::Patch(patch) => {
                self.check_cursor(Cursor { version: patch.to, stamp: patch.stamp })?;
                let heard = self.connections.entry(to).or_default();
                let held = heard.held;
                let follows = held >= Some(patch.from) && patch.from < patch.to;
                ensure!(follows, P2, "a patch from {} to {} to one that holds {held:?}", patch.from, patch.to);
                heard.held = held.max(Some(patch.to));
            }
            Down::Ack { number, version, .. } => {
                let heard = self.connections.entry(to).or_default();
                heard.promised = heard.promised.max(Some(version));
                let Some(nonce) = self.answered(to, number) else { return Ok(()) };
                let shows = self.applied.get(&nonce);
                ensure!(shows.is_some(), P5, "action {nonce} was acked and is not there");
                ensure!(shows <= Some(&version), P6, "action {nonce} was acked at {version} and shows at {shows:?}");
            }
            Down::Reject(reject) => {
                let Some(nonce) = self.answered(to, reject.number) else { return Ok(()) };
                if reject.error.code != ErrorCode::OutcomeForgotten.as_str() {
                    ensure!(!self.applied.contains_key(&nonce), P5, "action {nonce} was rejected and is there");
                    self.rejected.insert(nonce);
                }
            }
            Down::Later(later) => drop(self.answered(to, later.number)),
            _ => {}
        }
        Ok(())
    }

    /// P2: after a batch's frames everybody was sent the versions that acks named.
    pub(crate) fn check_promised(&self) -> Checked {
        let broken = self.connections.values().find(|heard| heard.promised > heard.held);
        ensure!(broken.is_none(), P2, "an ack named a version that is not sent: {broken:?}");
        Ok(())
    }

    /// P2, P3: whatever is sent of a version is so in the log.
    fn check_cursor(&self, cursor: Cursor) -> Checked {
        let stamp = self.stamps.get(&cursor.version);
        ensure!(stamp == Some(&(cursor.stamp.get() as i64)), P2, "{cursor:?} was sent; the log's stamp is {stamp:?}");
        Ok(())
    }

    /// Which action an answer is about.
    fn answered(&mut self, connection: ConnectionId, number: u64) -> Option<u64> {
        let heard = self.connections.get_mut(&connection)?;
        let index = heard.waiting.iter().position(|a| matches!(a, Asked::Action { number: n, .. } if *n == number))?;
        match heard.waiting.remove(index)? {
            Asked::Action { client, number } => self.senders.get(&(client, number)).copied(),
            Asked::Join { .. } => None,
        }
    }

    /// P1, P2: a client holds exactly the rows of the version that it says it holds.
    pub(crate) fn check_client(&self, client: &mut Client) -> Checked {
        let Some(cursor) = client.cursor() else { return Ok(()) };
        self.check_cursor(cursor)?;
        let rows = client.save().rows;
        ensure!(rows.keys().eq(CHANNELS.iter()), P1, "a client has the channels {:?}", rows.keys());
        let found = digest(rows.values().map(|rows| rows.iter().map(|row| row.get().to_owned()).collect()));
        let wanted = self.versions.get(cursor.version as usize).map(|made| made.digest);
        ensure!(Some(found) == wanted, P1, "a client's rows at version {} are wrong: {rows:#?}", cursor.version);
        Ok(())
    }

    /// P4: what a client learns of its action is what became of it.
    pub(crate) fn check_fate(&mut self, nonce: u64, fate: &Fate, cursor: Option<Cursor>) -> Checked {
        ensure!(self.settled.insert(nonce), P4, "action {nonce} was settled twice");
        let applied = self.applied.get(&nonce);
        match fate {
            Fate::Applied { version } => {
                ensure!(applied.is_some(), P4, "a client believes that action {nonce} was applied");
                let holds = cursor.is_some_and(|cursor| cursor.version >= *version) && applied <= Some(version);
                ensure!(
                    holds,
                    P6,
                    "action {nonce} went at {version}; the client holds {cursor:?}, it shows at {applied:?}"
                );
            }
            Fate::Rejected(error) => {
                ensure!(applied.is_none(), P4, "a client believes that action {nonce} was rejected: {error:?}");
            }
            Fate::Unknown(error) => {
                ensure!(self.may_forget, P4, "the fate of {nonce} is not known: {error:?}");
            }
        }
        Ok(())
    }

    /// P4: at the end everybody knows what became of everything.
    pub(crate) fn check_all_settled(&self) -> Checked {
        let open = self.requests.keys().find(|nonce| !self.settled.contains(nonce));
        ensure!(
            open.is_none(),
            P4,
            "nobody knows what became of {:?}",
            open.and_then(|nonce| self.requests.get(nonce))
        );
        Ok(())
    }
}

/// P4: no (client, number) twice in the log.
fn check_once(twice: Option<String>) -> Checked {
    ensure!(twice.is_none(), P4, "the log has twice: {twice:?}");
    Ok(())
}
