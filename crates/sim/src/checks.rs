//! The promises, as checks of a room from outside. `Ledger` is all that was ever seen of it.
//!
//! What the room's tables hold is judged here; what it sends in `frames.rs`, what it hands out in `items.rs`, how much it keeps in
//! `keeping.rs`, and what its clients make of it in `fates.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use partysync_model::{Db, DbError};
use partysync_protocol::limits::DAY_MS;
use partysync_protocol::{ClientId, Cursor, Millis, Version};
use partysync_room::{ConnectionId, Room, SyncServer};
use serde::Deserialize;

use crate::app::{ALARM_NONCE, Action, Complaints, Item, Request};
use crate::disk::lock;
use crate::fates::Known;
use crate::frames::Heard;
use crate::look::{self, Entry, Kept, Logged};
use crate::model::{CHANNELS, Key, Model};

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
    /// Resume.
    P7,
    /// Bounds.
    P8,
    /// Isolation.
    P9,
    /// Version 1.
    P10,
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

/// Rooms of a world at the most: an action's nonce says in which it was asked for.
pub(crate) const SITES: u64 = 4;

/// What a room was seen to hold, and what it said.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Which of the world's rooms it is about.
    pub(crate) site: usize,
    /// The room's name, as frames say it.
    pub(crate) address: String,
    /// What clients asked for, by nonce.
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Under which names an action was sent.
    pub(crate) senders: BTreeMap<(ClientId, u64), u64>,
    pub(crate) history: History,
    /// The digest of all live rows at each version and stamp of histories that are gone: a client may hold that still.
    pub(crate) past: BTreeMap<(Version, i64), u64>,
    /// What was applied in histories that are gone: an old copy of the room took their place.
    pub(crate) lost: BTreeSet<u64>,
    /// What an old copy of the room turned out to hold that the room was not seen to hold when it was copied: a commit that had failed, and was in
    /// the log all the same.
    pub(crate) copied: BTreeSet<u64>,
    /// An old copy took the room's place, and was not opened yet.
    is_copy: bool,
    /// What clients know to have become of their actions.
    pub(crate) settled: BTreeMap<u64, Known>,
    /// What clients forgot before they knew.
    pub(crate) abandoned: BTreeSet<u64>,
    pub(crate) connections: BTreeMap<ConnectionId, Heard>,
    /// Connections of version 1 that are gone, and that the room remembers, by name, and since when.
    pub(crate) away: BTreeMap<String, Millis>,
    /// What the room's clock showed last.
    pub(crate) now: Millis,
    /// Actions whose rows were sent to a page in no other way than as their result.
    pub(crate) told_once: BTreeSet<u64>,
    /// Actions whose rows were sent to a page before it was sent what it missed.
    pub(crate) told_early: BTreeSet<u64>,
    /// The keys of all items of the outbox that were ever handed out.
    pub(crate) keys: BTreeMap<String, Item>,
    pub(crate) delivered: BTreeSet<Item>,
    /// Actions that came from who was in the room.
    pub(crate) let_in: BTreeSet<u64>,
    /// Actions that came from who was not.
    pub(crate) barred: BTreeSet<u64>,
    /// The true time, by which admissions end.
    pub(crate) true_now: Millis,
    /// From when to when the room's clock has been.
    pub(crate) times: Option<(Millis, Millis)>,
    /// Whether that clock was ever set back.
    pub(crate) went_back: bool,
    pub(crate) complaints: Complaints,
    pub(crate) counts: Counts,
    observed: u64,
}

/// What of a ledger is the room's history: an old copy of the room brings back an old one.
#[derive(Default, Clone)]
pub(crate) struct History {
    /// What was applied, in order.
    journal: Vec<Entry>,
    pub(crate) model: Model,
    /// All rows after the newest version.
    rows: BTreeMap<Key, String>,
    pub(crate) versions: Vec<Made>,
    pub(crate) stamps: BTreeMap<Version, i64>,
    /// The version at which an applied action shows.
    pub(crate) applied: BTreeMap<u64, Version>,
    pub(crate) rejected: BTreeSet<u64>,
    /// Numbers whose outcome the room has told.
    pub(crate) answered: BTreeMap<ClientId, BTreeSet<u64>>,
    /// Up to which number a client's outcomes are not needed any more.
    pub(crate) freed: BTreeMap<String, u64>,
    /// What is to be delivered, in order.
    pub(crate) items: Vec<Item>,
    /// Under which keys it was handed out.
    pub(crate) handed_out: BTreeMap<Item, String>,
    /// The floor before the last batch, and after it.
    pub(crate) floor: (Version, Version),
}

/// What was seen that does not happen in every world.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) forgotten: u64,
    pub(crate) unknown: u64,
    pub(crate) gaps: u64,
    pub(crate) below_floor: u64,
    pub(crate) dropped: u64,
    pub(crate) other_history: u64,
    pub(crate) repeated: u64,
    pub(crate) older: u64,
}

/// A version's digest of all live rows, its time, and the rows that it changed.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) digest: u64,
    /// `None` for version 0.
    pub(crate) at: Option<i64>,
    pub(crate) keys: BTreeSet<Key>,
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
    pub(crate) fn new(site: usize, address: String) -> Self {
        let model = Model::default();
        let versions = vec![Made { digest: model.digest(), at: None, keys: BTreeSet::new() }];
        let history = History { model, versions, ..History::default() };
        Ledger { site, address, history, ..Ledger::default() }
    }

    /// How many actions and alarms were applied.
    pub(crate) fn applied(&self) -> usize {
        self.history.journal.len()
    }

    /// The newest version.
    pub(crate) fn head(&self) -> Version {
        self.history.versions.len() as Version - 1
    }

    /// All live rows, channel by channel.
    pub(crate) fn head_rows(&self) -> Vec<Vec<String>> {
        CHANNELS.iter().map(|channel| self.history.model.rows(channel)).collect()
    }

    /// Whether so many days may have passed for the room since something.
    pub(crate) fn may_have_passed(&self, days: i64) -> bool {
        self.times.is_some_and(|(first, last)| last - first >= days * DAY_MS)
    }

    /// Looks at a room between batches, at its own time. All it holds is durable. `is_clean`: nothing went wrong in the last batch.
    pub(crate) fn observe<S: SyncServer, D: Db>(
        &mut self,
        room: &mut Room<S, D>,
        now: Millis,
        is_clean: bool,
    ) -> Result<Checked, DbError> {
        self.observed += 1;
        self.set_now(now);
        let all = self.observed.is_multiple_of(16);
        let (first, last) = self.times.unwrap_or((now, now));
        self.times = Some((first.min(now), last.max(now)));
        self.went_back |= now < last;
        let (cursor, connections) = (room.cursor(), room.connections());
        let db = room.db_mut();
        let known = if all { 0 } else { self.history.journal.len() };
        let journal = look::journal(db, known)?;
        let log = look::log(db, if all { 0 } else { self.head() + 1 })?;
        let twice = look::twice(db)?;
        let rows = CHANNELS.iter().map(|channel| look::live(db, channel)).collect::<Result<Vec<_>, _>>()?;
        let marked = look::marked(db)?;
        let kept = Kept::read(db)?;
        self.history.floor = (self.history.floor.1, kept.floor);
        self.forget_dropped(&kept);
        Ok(self
            .check_journal(known, journal)
            .and_then(|()| self.check_log(&log, cursor))
            .and_then(|()| self.check_rows(&rows, &marked))
            .and_then(|()| check_once(twice))
            .and_then(|()| self.check_field())
            .and_then(|()| self.check_kept(&kept))
            .and_then(|()| if is_clean { self.check_purge(&kept, now) } else { Ok(()) })
            .and_then(|()| self.check_connections(connections)))
    }

    /// The room is out of memory, and all sockets are gone.
    pub(crate) fn forget_connections(&mut self) {
        self.connections.clear();
    }

    /// The room may have lost what it knew of connections that are gone.
    pub(crate) fn forget_away(&mut self) {
        self.away.clear();
    }

    /// An old copy of the room takes its place.
    pub(crate) fn go_back(&mut self, history: History) {
        let history = std::mem::replace(&mut self.history, history);
        let digest = |version: &Version| history.versions.get(*version as usize).map(|made| made.digest);
        let states = history.stamps.iter().filter_map(|(version, stamp)| Some(((*version, *stamp), digest(version)?)));
        self.past.extend(states);
        self.is_copy = true;
        self.lost.extend(history.applied.keys().filter(|nonce| !self.history.applied.contains_key(nonce)));
    }

    /// Looks at a room that was just opened: what was seen before must be there (P3).
    pub(crate) fn reopened<S: SyncServer, D: Db>(
        &mut self,
        room: &mut Room<S, D>,
        now: Millis,
    ) -> Result<Checked, DbError> {
        self.observed = 15;
        let lost = look::journal(room.db_mut(), 0)?.len() < self.history.journal.len();
        let (version, seen) = (room.cursor().version, self.head());
        if lost || version < seen {
            let what = format!("the room was at version {seen} and is at {version} after a restart");
            return Ok(Err(Violation { promise: Promise::P3, what }));
        }
        let known = self.history.journal.len();
        let checked = self.observe(room, now, false)?;
        if std::mem::take(&mut self.is_copy) {
            self.copied.extend(self.history.journal[known..].iter().map(|entry| entry.nonce));
        }
        Ok(checked)
    }

    /// P4, P5: each action at most once, none that failed; and what they add up to.
    fn check_journal(&mut self, from: usize, entries: Vec<Entry>) -> Checked {
        let known = self.history.journal.len() - from;
        for (old, new) in self.history.journal[from..].iter().zip(&entries) {
            ensure!(old == new, P3, "the journal had {old:?} and has {new:?} in its place");
        }
        ensure!(entries.len() >= known, P3, "the journal is shorter than it was");
        for entry in entries.into_iter().skip(known) {
            self.apply(&entry)?;
            self.history.journal.push(entry);
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Checked {
        let Entry { nonce, made, at } = entry;
        let history = &mut self.history;
        let changed = if *nonce == ALARM_NONCE {
            history.model.alarm(*at);
            true
        } else {
            ensure!(nonce % SITES == self.site as u64, P9, "action {nonce} of another room is in room {}", self.site);
            ensure!(!history.applied.contains_key(nonce), P4, "action {nonce} was applied twice");
            ensure!(!history.rejected.contains(nonce), P5, "action {nonce} was rejected and then applied");
            let may_be = self.let_in.contains(nonce) || !self.barred.contains(nonce);
            ensure!(may_be, P9, "action {nonce} was applied, of somebody who was not in the room");
            let Some(request) = self.requests.get(nonce) else {
                return Err(Violation { promise: Promise::P5, what: format!("nobody asked for action {nonce}") });
            };
            let fails = matches!(
                request.action,
                Action::Refuse(_)
                    | Action::Panic(_)
                    | Action::BlobTag { .. }
                    | Action::Forbidden
                    | Action::Spin
                    | Action::Post { fails: true, .. }
            );
            ensure!(!fails, P5, "an action that fails was applied: {:?}", request.action);
            if let Action::Post { items, .. } = request.action {
                history.items.extend((0..items).map(|index| Item { nonce: *nonce, index }));
            }
            history.model.apply(&request.action, made.as_deref(), *at)
        };
        if changed {
            let rows = history.model.all();
            let before = std::mem::replace(&mut history.rows, rows);
            let differs = |(key, row): &(&Key, &String)| before.get(*key) != Some(*row);
            let put = history.rows.iter().filter(differs).map(|(key, _)| key.clone());
            let gone = before.keys().filter(|key| !history.rows.contains_key(*key)).cloned();
            let keys = put.chain(gone).collect();
            history.versions.push(Made { digest: history.model.digest(), at: Some(*at), keys });
        }
        let head = history.versions.len() as Version - 1;
        history.applied.insert(*nonce, head);
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
        let stamp = self.history.stamps.get(&head);
        ensure!(stamp == Some(&(cursor.stamp.get() as i64)), P2, "version {head} is stamped {stamp:?}, not {cursor:?}");
        Ok(())
    }

    fn check_logged(&mut self, entry: &Logged) -> Checked {
        let Logged { version, stamp, at, action } = entry;
        let known = *self.history.stamps.entry(*version).or_insert(*stamp);
        ensure!(known == *stamp, P2, "version {version} was stamped {known} and is stamped {stamp}");
        let Some(made) = self.history.versions.get(*version as usize) else {
            return Err(Violation {
                promise: Promise::P5,
                what: format!("nothing that was applied made version {version}"),
            });
        };
        ensure!(made.at.is_none_or(|made| made == *at), P2, "version {version} is of {at}, its step of {:?}", made.at);
        if let Some(nonce) = action.as_deref().and_then(nonce_of) {
            let shows = self.history.applied.get(&nonce);
            ensure!(shows == Some(version), P4, "the log has action {nonce} at {version}, the journal at {shows:?}");
        }
        Ok(())
    }

    /// P5: the tables are what the applied actions add up to.
    fn check_rows(&mut self, rows: &[Vec<String>], marked: &[String]) -> Checked {
        let model = &mut self.history.model;
        for (channel, found) in CHANNELS.iter().zip(rows) {
            let wanted = model.rows(channel);
            ensure!(*found == wanted, P5, "{channel} holds {found:#?}, which should be {wanted:#?}");
        }
        let wrong = marked.iter().find(|id| !model.is_marked(id));
        ensure!(wrong.is_none(), P5, "a note is marked deleted by nobody: {wrong:?}");
        if model.purge(marked) {
            self.history.rows = model.all();
        }
        Ok(())
    }

    /// P5: what the app keeps in its fields.
    fn check_field(&self) -> Checked {
        let complaint = lock(&self.complaints).pop();
        ensure!(complaint.is_none(), P5, "{complaint:?}");
        Ok(())
    }
}

/// P4: no (client, number) twice in the log.
fn check_once(twice: Option<String>) -> Checked {
    ensure!(twice.is_none(), P4, "the log has twice: {twice:?}");
    Ok(())
}
