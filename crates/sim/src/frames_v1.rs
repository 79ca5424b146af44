//! What a room says in version 1 of the protocol, frame by frame (P10).

use std::collections::BTreeSet;

use partysync_protocol::limits::{self, DAY_MS};
use partysync_protocol::{Millis, v1};
use partysync_room::ConnectionId;

use crate::checks::{Checked, Ledger, Promise, Violation, ensure, nonce_of};
use crate::fates::Known;
use crate::frames::{Asked, Heard};
use crate::page::{Columns, Said};

/// What a connection of version 1 has said and heard.
#[derive(Debug, Default)]
pub(crate) struct HeardV1 {
    /// Its page's `_pk`, and who it is.
    pub(crate) name: Option<String>,
    /// The channels that it was sent whole, or from what it had on.
    synced: BTreeSet<String>,
    /// The room was told that it is quiet: from then on it gets the updates of all channels.
    pub(crate) is_volunteered: bool,
    /// By then it had asked for something, and nobody knew whose it is: it is sent no more than it asks for.
    is_strange: bool,
    /// It was sent all that its page may have missed.
    is_caught_up: bool,
    /// The channels for which it asked when nobody knew whose it is, and that it was not sent before.
    blind: BTreeSet<String>,
}

impl HeardV1 {
    pub(crate) fn of(name: Option<String>) -> Self {
        HeardV1 { name, ..HeardV1::default() }
    }

    /// Whether it was sent a channel, or what it may have missed.
    pub(crate) fn was_told(&self) -> bool {
        self.is_volunteered || !self.synced.is_empty()
    }

    /// All that a batch had for it was sent.
    pub(crate) fn told_all(&mut self) {
        self.is_caught_up = self.is_volunteered && !self.is_strange;
    }
}

impl Ledger {
    /// Notes a frame that a page sent.
    pub(crate) fn heard_v1(&mut self, connection: ConnectionId, text: &str) {
        let is_known = self.is_known(connection);
        let Some(heard) = self.connections.get_mut(&connection) else { return };
        let asked = match v1::Up::parse(text) {
            Ok(v1::Up::Sync { channel, .. }) => Asked::Sync(channel.into_owned()),
            Ok(v1::Up::Action { id, action, .. }) => {
                Asked::Call { id: id.get().trim_matches('"').to_owned(), nonce: nonce_of(action.get()) }
            }
            Err(v1::BadFrame) => return,
        };
        if let Asked::Sync(channel) = &asked
            && !is_known
            && !heard.v1.is_volunteered
        {
            heard.v1.blind.insert(channel.clone());
        }
        heard.waiting.push_back(asked);
    }

    /// Whether the room has, or had, another connection of the same page.
    fn is_known(&self, connection: ConnectionId) -> bool {
        let Some(name) = self.connections.get(&connection).and_then(|heard| heard.v1.name.as_ref()) else {
            return false;
        };
        let others = |(id, other): (&ConnectionId, &Heard)| *id != connection && other.v1.name.as_ref() == Some(name);
        self.connections.iter().any(others) || self.away.contains_key(name)
    }

    /// The room's clock shows a time. Who has been away for long may be forgotten.
    pub(crate) fn set_now(&mut self, now: Millis) {
        self.now = now;
        self.away.retain(|_, at| now - *at < limits::AWAY_DAYS * DAY_MS);
    }

    /// The room is told that a connection is quiet.
    pub(crate) fn is_quiet(&mut self, connection: ConnectionId) {
        let is_known = self.is_known(connection);
        let Some(heard) = self.connections.get_mut(&connection) else { return };
        let has_asked = !heard.v1.synced.is_empty() || heard.waiting.iter().any(|a| matches!(a, Asked::Sync(_)));
        heard.v1.is_volunteered = true;
        heard.v1.is_strange = has_asked && !is_known;
    }

    /// Whether a connection is rightly not sent what is in a channel.
    pub(crate) fn leaves_out(&self, connection: ConnectionId, channel: &str) -> bool {
        let heard = self.connections.get(&connection).map(|heard| &heard.v1);
        heard.is_some_and(|heard| heard.is_strange && !heard.synced.contains(channel))
    }

    /// Whether a connection was sent all that its page may have missed.
    pub(crate) fn is_caught_up(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|heard| heard.v1.is_caught_up)
    }

    /// Whether nobody knew whose connection it is that asked for a channel.
    pub(crate) fn was_blind(&self, connection: ConnectionId, channel: &str) -> bool {
        self.connections.get(&connection).is_some_and(|heard| heard.v1.blind.contains(channel))
    }

    /// Judges a frame of version 1.
    pub(crate) fn sent_v1(&mut self, to: ConnectionId, text: &str) -> Checked {
        let Ok(said) = serde_json::from_str::<Said<'_>>(text) else {
            return Err(Violation { promise: Promise::P10, what: format!("the room sent {text:?}") });
        };
        self.check_rows_v1(&said)?;
        let Some(heard) = self.connections.get_mut(&to) else { return Ok(()) };
        if said.kind == "update" {
            // Tombstones come in front of the answer.
            let is_next = matches!(heard.waiting.front(), Some(Asked::Sync(channel)) if *channel == said.channel);
            let may = heard.v1.is_volunteered || heard.v1.synced.contains(&said.channel) || is_next;
            ensure!(may, P10, "{to:?} has not asked for {}, and is sent {text}", said.channel);
            return Ok(());
        }
        match heard.waiting.pop_front() {
            Some(Asked::Sync(channel)) => {
                let is_answer = said.kind == "exception" || said.sync && said.channel == channel;
                ensure!(is_answer, P10, "a sync of {channel} was answered {text}");
                if said.sync {
                    heard.v1.synced.insert(channel);
                }
            }
            Some(Asked::Call { id, nonce }) => {
                ensure!(said.id() == id, P10, "the call {id} is next, and this was answered: {text}");
                // A strange one was volunteered nothing, and what it had missed neither.
                let has_rest = heard.v1.is_volunteered && !heard.v1.is_strange;
                let is_told_once = has_rest || heard.v1.synced.contains(&said.channel);
                if let Some(nonce) = nonce.filter(|_| said.kind == "success") {
                    let is_there = self.history.applied.contains_key(&nonce);
                    ensure!(is_there, P10, "action {nonce} was acked and is not there");
                    if said.result.is_some_and(|rows| !rows.is_empty()) {
                        let set = if is_told_once { &mut self.told_once } else { &mut self.told_early };
                        set.insert(nonce);
                    }
                }
            }
            asked => ensure!(false, P10, "{asked:?} was answered {text}"),
        }
        Ok(())
    }

    /// P3, P9: a row is of a version that this room has.
    fn check_rows_v1(&self, said: &Said<'_>) -> Checked {
        for row in said.payload.iter().chain(&said.result).flatten() {
            let Some(columns) = Columns::of(row.get()) else {
                return Err(Violation { promise: Promise::P10, what: format!("{row} is no row of version 1") });
            };
            let time = columns.deleted_at.unwrap_or(columns.updated_at);
            let versions = &self.history.versions;
            let is_ours = versions.binary_search_by_key(&Some(time), |made| made.at).is_ok();
            // A tombstone in front of all rows may have the time at which the log begins.
            let first = versions.iter().find_map(|made| made.at);
            let is_oldest = columns.deleted_at.is_some() && first.is_none_or(|first| time <= first);
            ensure!(is_ours || is_oldest, P3, "{row} was sent, and no version of the room is of {time}");
        }
        Ok(())
    }

    /// P10: what a page learns of its action is what became of it.
    pub(crate) fn check_told(&mut self, nonce: u64, known: Known) -> Checked {
        let is_there = self.history.applied.contains_key(&nonce) || self.lost.contains(&nonce);
        match known {
            Known::Applied => ensure!(is_there, P10, "a page believes that action {nonce} was applied"),
            Known::Rejected => ensure!(!is_there, P10, "a page believes that action {nonce} failed"),
            Known::Unknown => {}
        }
        self.settled.insert(nonce, known);
        Ok(())
    }

    /// The ids of an action's rows in a channel, if they went to its sender as its result alone: a page that waits no longer lacks them.
    pub(crate) fn told_once(&self, nonce: u64, channel: &str) -> Vec<String> {
        let version = self.history.applied.get(&nonce).filter(|_| self.told_once.contains(&nonce));
        let made = version.and_then(|version| self.history.versions.get(*version as usize));
        let of_channel = made.into_iter().flat_map(|made| &made.keys).filter(|(of, _)| *of == channel);
        of_channel.map(|(_, id)| id.clone()).collect()
    }

    /// Whether an action's rows came to a page before what it had missed.
    pub(crate) fn is_told_early(&self, nonce: u64) -> bool {
        self.told_early.contains(&nonce)
    }
}
