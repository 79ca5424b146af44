//! What a room is sent and what it sends, frame by frame.

use std::collections::{BTreeSet, VecDeque};

use partysync_protocol::v2::{Down, Joined, Patch, Up};
use partysync_protocol::{ClientId, Cursor, ErrorCode, Millis, Version, limits};
use partysync_room::{ConnectionId, Event};

use crate::checks::{Checked, Ledger, Promise, Violation, ensure, nonce_of};
use crate::door::Known;
use crate::frames_v1::HeardV1;
use crate::model::Key;

/// What a connection has said and heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    client: Option<ClientId>,
    is_v2: bool,
    /// Of what it said so far: whether it is in the room. An action counts if it is.
    pub(crate) is_present: bool,
    /// Of what it was sent so far: whether it is in the room. It may be sent more of it if it is.
    is_in: bool,
    /// Until when it is admitted.
    pub(crate) until: Option<Millis>,
    pub(crate) v1: HeardV1,
    /// What is not answered yet, in order.
    pub(crate) waiting: VecDeque<Asked>,
    /// The version that what was sent leads to. `None` before the first `joined`.
    held: Option<Version>,
    /// The highest version that an ack named.
    promised: Option<Version>,
    /// The highest number whose outcome the client says it has.
    known: u64,
    /// Patches to this one alone that were asked for, and did not come yet.
    owed: u32,
    /// News is left out for it.
    is_behind: bool,
    /// The room was told that it has read what it was sent.
    wants_catch_up: bool,
    /// The room closes it: nothing that it says counts.
    pub(crate) is_closing: bool,
    /// Its end has arrived in this batch.
    pub(crate) is_gone: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Join {
        cursor: Option<Cursor>,
    },
    /// `known`: as the client said before. `fresh`: it never came before.
    Action {
        client: ClientId,
        number: u64,
        known: u64,
        fresh: bool,
    },
    /// To leave; or the door said that it has to.
    Leave,
    /// Version 1: a channel.
    Sync(String),
    /// Version 1: an action.
    Call {
        id: String,
        nonce: Option<u64>,
    },
}

impl Heard {
    /// It counts as not said which outcomes the client has.
    pub(crate) fn forget_haves(&mut self) {
        self.known = 0;
        for asked in &mut self.waiting {
            if let Asked::Action { known, .. } = asked {
                *known = 0;
            }
        }
    }

    /// From here on it is not in the room.
    pub(crate) fn leaves(&mut self) {
        self.is_present = false;
        self.waiting.push_back(Asked::Leave);
    }
}

impl Ledger {
    /// Notes an event that is given to the room.
    pub(crate) fn arrived(&mut self, event: &Event) -> Checked {
        match event {
            Event::Opened { connection, info } => {
                let name = info.key.as_ref().map(|key| format!("{key} of {:?}", info.identity));
                let (v1, until) = (HeardV1::of(name), Known::until(info.data.as_deref()));
                self.connections.insert(*connection, Heard { v1, until, ..Heard::default() });
            }
            Event::OpenedV2 { connection, info, .. } => {
                let until = Known::until(info.data.as_deref());
                self.connections.insert(*connection, Heard { is_v2: true, until, ..Heard::default() });
            }
            Event::Closed { connection, code, .. } => {
                if let Some(heard) = self.connections.get_mut(connection) {
                    heard.is_gone = true;
                    let name = heard.v1.name.clone().filter(|_| code.is_none());
                    self.away.extend(name.map(|name| (name, self.now)));
                }
            }
            Event::Quiet { connection } => self.is_quiet(*connection),
            Event::Restored { connection, .. } => self.connections.entry(*connection).or_default().owed += 1,
            Event::CatchUp { connection, .. } => {
                if let Some(heard) = self.connections.get_mut(connection) {
                    heard.owed += 1;
                    heard.is_behind = false;
                    heard.wants_catch_up = true;
                }
            }
            Event::Text { connection, text } => {
                self.check_stay(*connection, text)?;
                self.heard(*connection, text)?;
            }
            Event::Vetted { connection, text, vetted } => {
                self.check_stay(*connection, text)?;
                self.vetted(*connection, text, vetted)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn heard(&mut self, connection: ConnectionId, text: &str) -> Checked {
        let Some(heard) = self.connections.get_mut(&connection).filter(|heard| !heard.is_closing) else {
            if let Ok(Up::Action { action, .. }) = Up::parse(text) {
                self.barred.extend(nonce_of(action.get()));
            }
            return Ok(());
        };
        heard.is_v2 |= Up::is_hello(text);
        if !heard.is_v2 {
            self.heard_v1(connection, text);
            return Ok(());
        }
        match Up::parse(text) {
            Ok(Up::Join { client, cursor, .. }) => {
                heard.client = Some(client);
                heard.is_present = true;
                heard.known = 0;
                heard.waiting.push_back(Asked::Join { cursor });
            }
            Ok(Up::Leave { .. }) if heard.is_present => heard.leaves(),
            Ok(Up::Action { action, .. }) if !heard.is_present => self.barred.extend(nonce_of(action.get())),
            Ok(Up::Have { number, .. }) => heard.known = heard.known.max(number),
            Ok(Up::Action { number, action, .. }) => {
                let (Some(client), Some(nonce)) = (heard.client, nonce_of(action.get())) else { return Ok(()) };
                self.let_in.insert(nonce);
                let before = self.senders.insert((client, number), nonce);
                let (known, fresh) = (heard.known, before.is_none());
                heard.waiting.push_back(Asked::Action { client, number, known, fresh });
                self.counts.repeated += u64::from(!fresh);
                let before = before.unwrap_or(nonce);
                ensure!(before == nonce, P4, "a client used number {number} for actions {before} and {nonce}");
            }
            _ => {}
        }
        Ok(())
    }

    /// P8: news was left out for a reader that is slow. It is told once, later.
    pub(crate) fn left_out(&mut self, to: ConnectionId) {
        if let Some(heard) = self.connections.get_mut(&to) {
            heard.is_behind = true;
        }
    }

    /// The room closes a connection: nothing that it asked for will be answered.
    pub(crate) fn closing(&mut self, connection: ConnectionId) {
        if let Some(heard) = self.connections.get_mut(&connection) {
            *heard = Heard { is_gone: heard.is_gone, is_closing: true, ..Heard::default() };
        }
    }

    /// Judges a frame that the room sends, to one connection or to many.
    pub(crate) fn sent(&mut self, to: ConnectionId, text: &str, to_many: bool) -> Checked {
        let Some(heard) = self.connections.get(&to) else {
            return Err(Violation {
                promise: Promise::P9,
                what: format!("room {} sent {text} to {to:?}", self.address),
            });
        };
        if heard.is_closing {
            return Ok(());
        }
        if !heard.is_v2 {
            return self.sent_v1(to, text);
        }
        let Ok(down) = Down::parse(text) else {
            return Err(Violation { promise: Promise::P2, what: format!("the room sent {text:?}") });
        };
        let (names, is_in) = (room_of(&down), heard.is_in);
        ensure!(names.is_none_or(|room| room == self.address), P9, "room {} sent {text}", self.address);
        if matches!(down, Down::Snapshot(_) | Down::Patch(_) | Down::Ack { .. } | Down::Reject(_) | Down::Later(_)) {
            ensure!(is_in, P9, "the room sent {text} to one that is not in it");
        }
        match down {
            Down::Joined(joined) => self.sent_joined(to, &joined),
            Down::Patch(patch) => self.sent_patch(to, &patch, to_many),
            Down::Ack { number, version, .. } => {
                let heard = self.connections.entry(to).or_default();
                heard.promised = heard.promised.max(Some(version));
                let Some(nonce) = self.answered(to, number, true) else { return Ok(()) };
                let shows = self.history.applied.get(&nonce);
                ensure!(shows.is_some(), P5, "action {nonce} was acked and is not there");
                ensure!(shows <= Some(&version), P6, "action {nonce} was acked at {version} and shows at {shows:?}");
                Ok(())
            }
            Down::Reject(reject) => {
                let is_forgotten = reject.error.code == ErrorCode::OutcomeForgotten.as_str();
                let Some(nonce) = self.answered(to, reject.number, !is_forgotten) else { return Ok(()) };
                if is_forgotten {
                    self.counts.forgotten += 1;
                } else {
                    ensure!(!self.history.applied.contains_key(&nonce), P5, "action {nonce} was rejected and is there");
                    self.history.rejected.insert(nonce);
                }
                Ok(())
            }
            Down::Later(later) => {
                let client = self.connections.get(&to).and_then(|heard| heard.client);
                if later.error.code == ErrorCode::NumberGap.as_str()
                    && let Some(client) = client
                {
                    self.check_gap(client, later.number)?;
                }
                self.answered(to, later.number, false);
                Ok(())
            }
            Down::Left(_) => {
                let heard = self.connections.entry(to).or_default();
                // What was asked before and is not answered by now never will be.
                let leave = heard.waiting.iter().position(|asked| *asked == Asked::Leave);
                heard.waiting.drain(..leave.map_or(heard.waiting.len(), |leave| leave + 1));
                heard.is_in = false;
                // Who has left is sent no patch: it learns what it was acked when it comes back.
                heard.promised = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// P7: whose cursor is in the room's history gets what changed since; whose is not is told so.
    fn sent_joined(&mut self, to: ConnectionId, joined: &Joined<'_>) -> Checked {
        self.check_cursor(joined.cursor())?;
        let (floor, _) = self.history.floor;
        let stamps = &self.history.stamps;
        let heard = self.connections.entry(to).or_default();
        // What was asked before and is not answered by now never will be.
        let join = heard.waiting.iter().position(|asked| matches!(asked, Asked::Join { .. }));
        let asked = heard.waiting.drain(..join.map_or(0, |join| join + 1)).next_back();
        let Some(Asked::Join { cursor }) = asked else {
            return Err(Violation { promise: Promise::P2, what: "a `joined` that nobody asked for".to_owned() });
        };
        let is_in_history = |c: &Cursor| stamps.get(&c.version) == Some(&(c.stamp.get() as i64));
        let is_valid = cursor.as_ref().is_some_and(|c| c.version >= floor && is_in_history(c));
        if let Some(cursor) = cursor.filter(|_| !is_valid) {
            self.counts.below_floor += u64::from(is_in_history(&cursor));
            self.counts.other_history += u64::from(!is_in_history(&cursor));
        }
        ensure!(
            joined.reset != is_valid,
            P7,
            "a client that holds {cursor:?} joined with reset: {}; the floor is {floor}, stamps {stamps:?}",
            joined.reset
        );
        let held = cursor.map(|c| c.version);
        heard.is_in = true;
        heard.held = if joined.reset { Some(joined.version) } else { held };
        heard.owed += 1;
        heard.promised = joined.newest;
        let (head, older) = (self.history.versions.len() as Version - 1, joined.newest);
        ensure!(older.is_none_or(|newest| newest == head), P2, "a snapshot leads to {older:?}, the room is at {head}");
        self.counts.older += u64::from(older.is_some());
        let may_be_dropped = self.may_have_passed(limits::CLIENT_DAYS);
        self.counts.unknown += u64::from(!joined.known);
        ensure!(joined.known || may_be_dropped, P4, "a client is not known that was seen of late");
        Ok(())
    }

    /// P2: patches follow upon each other. P7: they hold nothing but what changed.
    fn sent_patch(&mut self, to: ConnectionId, patch: &Patch<'_>, to_many: bool) -> Checked {
        self.check_cursor(Cursor { version: patch.to, stamp: patch.stamp })?;
        let heard = self.connections.entry(to).or_default();
        let held = heard.held;
        let follows = held >= Some(patch.from) && patch.from < patch.to;
        if heard.is_behind && !follows {
            // If it is for many, nobody reads any more, and the room does not know yet. If not, the room woke with changes: its reader,
            // who cannot follow, joins again.
            return Ok(());
        }
        ensure!(follows, P2, "a patch from {} to {} to one that holds {held:?}", patch.from, patch.to);
        if !to_many {
            ensure!(heard.owed > 0, P8, "a patch from {} to {} that was not owed", patch.from, patch.to);
            heard.owed -= 1;
        }
        heard.held = held.max(Some(patch.to));
        heard.wants_catch_up = false;
        let versions = self.history.versions.get(patch.from as usize + 1..=patch.to as usize).unwrap_or_default();
        let changed: BTreeSet<&Key> = versions.iter().flat_map(|made| &made.keys).collect();
        let mut told = BTreeSet::new();
        for (channel, id) in keys_of(patch) {
            let is_changed = changed.iter().any(|(c, i)| *c == channel && *i == id);
            ensure!(
                is_changed,
                P7,
                "a patch from {} to {} tells of {channel} {id}, which did not change",
                patch.from,
                patch.to
            );
            ensure!(told.insert((channel.clone(), id.clone())), P7, "a patch tells of {channel} {id} twice");
        }
        Ok(())
    }

    /// P4: a gap is one only as long as a number before it may be open.
    fn check_gap(&mut self, client: ClientId, number: u64) -> Checked {
        self.counts.gaps += 1;
        let answered = self.history.answered.get(&client);
        let all = answered.is_some_and(|answered| (1..number).all(|n| answered.contains(&n)));
        let is_gap = !all || self.may_have_passed(limits::CLIENT_DAYS);
        ensure!(is_gap, P4, "number {number} is said to leave a gap, and all before it are settled");
        Ok(())
    }

    /// After a batch's frames. P2: everybody was sent the versions that acks named. P8: everything was answered, and who had been
    /// left behind is not any more.
    pub(crate) fn check_batch(&mut self) -> Checked {
        let head = self.head();
        self.connections.retain(|_, heard| !heard.is_gone);
        for (connection, heard) in &mut self.connections {
            let is_even = heard.promised <= heard.held || heard.is_behind;
            ensure!(is_even, P2, "an ack or a snapshot named a version that is not sent: {heard:?}");
            ensure!(!heard.is_v2 || heard.waiting.is_empty(), P8, "{connection:?} was not answered: {heard:?}");
            ensure!(heard.waiting.is_empty(), P10, "{connection:?} was not answered: {heard:?}");
            // Who has been put out meanwhile is owed nothing.
            let missing = heard.is_in && heard.wants_catch_up && heard.held.is_some_and(|held| held < head);
            ensure!(!missing, P8, "{connection:?} was left behind at {:?} of {head}", heard.held);
            heard.wants_catch_up = false;
            heard.owed = 0;
            heard.v1.told_all();
        }
        Ok(())
    }

    /// P8: the room knows of the sockets that it has, and of no others.
    pub(crate) fn check_connections(&self, found: usize) -> Checked {
        let open = self.connections.values().filter(|heard| !heard.is_gone).count();
        ensure!(found == open, P8, "the room believes that it has {found} sockets; it has {open}");
        Ok(())
    }

    /// P2, P3: whatever is sent of a version is so in the log.
    pub(crate) fn check_cursor(&self, cursor: Cursor) -> Checked {
        let stamp = self.history.stamps.get(&cursor.version);
        ensure!(stamp == Some(&(cursor.stamp.get() as i64)), P2, "{cursor:?} was sent; the log's stamp is {stamp:?}");
        Ok(())
    }

    /// Which action an answer is about, and what follows if the answer is its outcome.
    fn answered(&mut self, connection: ConnectionId, number: u64, is_outcome: bool) -> Option<u64> {
        let heard = self.connections.get_mut(&connection)?;
        let index = heard.waiting.iter().position(|a| matches!(a, Asked::Action { number: n, .. } if *n == number))?;
        let Asked::Action { client, number, known, fresh } = heard.waiting.remove(index)? else { return None };
        if is_outcome {
            self.history.answered.entry(client).or_default().insert(number);
            if fresh {
                let freed = self.history.freed.entry(client.to_string()).or_default();
                *freed = (*freed).max(known.min(number));
            }
        }
        self.senders.get(&(client, number)).copied()
    }
}

/// The room that a frame names.
fn room_of<'d>(down: &'d Down<'_>) -> Option<&'d str> {
    Some(match down {
        Down::Joined(joined) => &joined.room,
        Down::Snapshot(snapshot) => &snapshot.room,
        Down::Patch(patch) => &patch.room,
        Down::Ack { room, .. } | Down::Message { room, .. } => room,
        Down::Reject(reject) => &reject.room,
        Down::Later(later) => &later.room,
        Down::Error(error) => return error.room.as_deref(),
        Down::Left(left) => &left.room,
        _ => return None,
    })
}

/// The channels and ids that a patch tells of.
fn keys_of(patch: &Patch<'_>) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for changes in &patch.changes {
        let first = |row: &str| {
            let row: Vec<serde_json::Value> = serde_json::from_str(row).unwrap_or_default();
            row.first().map(ToString::to_string).unwrap_or_default()
        };
        let puts = changes.puts.iter().map(|row| first(row.get()));
        let deletes = changes.deletes.iter().map(|id| id.get().to_owned());
        keys.extend(puts.chain(deletes).map(|id| (changes.channel.to_string(), id)));
    }
    keys
}
