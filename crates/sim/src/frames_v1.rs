//! What a room says in version 1 of the protocol, frame by frame (P10).

use std::collections::BTreeSet;

use partysync_protocol::{limits, v1};
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
}

impl HeardV1 {
    pub(crate) fn of(name: Option<String>) -> Self {
        HeardV1 { name, ..HeardV1::default() }
    }

    /// Whether it was sent a channel, or what it may have missed.
    pub(crate) fn was_told(&self) -> bool {
        self.is_volunteered || !self.synced.is_empty()
    }
}

impl Ledger {
    /// Notes a frame that a page sent.
    pub(crate) fn heard_v1(&mut self, connection: ConnectionId, text: &str) {
        let Some(heard) = self.connections.get_mut(&connection) else { return };
        let asked = match v1::Up::parse(text) {
            Ok(v1::Up::Sync { channel, .. }) => Asked::Sync(channel.into_owned()),
            Ok(v1::Up::Action { id, action, .. }) => {
                Asked::Call { id: id.get().trim_matches('"').to_owned(), nonce: nonce_of(action.get()) }
            }
            Err(v1::BadFrame) => return,
        };
        heard.waiting.push_back(asked);
    }

    /// The room is told that a connection is quiet.
    pub(crate) fn is_quiet(&mut self, connection: ConnectionId) {
        let may_be_forgotten = self.may_have_passed(limits::AWAY_DAYS);
        let Some(heard) = self.connections.get(&connection) else { return };
        let name = heard.v1.name.clone();
        let others = |(id, other): (&ConnectionId, &Heard)| *id != connection && other.v1.name == name;
        let is_known = name.is_some()
            && !may_be_forgotten
            && (self.connections.iter().any(others) || name.as_ref().is_some_and(|name| self.away.contains(name)));
        let Some(heard) = self.connections.get_mut(&connection) else { return };
        let has_asked = !heard.v1.synced.is_empty() || heard.waiting.iter().any(|a| matches!(a, Asked::Sync(_)));
        heard.v1.is_volunteered = true;
        heard.v1.is_strange = has_asked && !is_known;
    }

    /// Whether a connection is rightly not sent what is in one of these channels.
    pub(crate) fn leaves_out(&self, connection: ConnectionId, channels: &[&str]) -> bool {
        let Some(HeardV1 { is_strange, synced, .. }) = self.connections.get(&connection).map(|heard| &heard.v1) else {
            return false;
        };
        *is_strange && channels.iter().any(|channel| !synced.contains(*channel))
    }

    /// Whether a connection was sent all that it may have missed.
    pub(crate) fn is_volunteered(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|heard| heard.v1.is_volunteered && !heard.v1.is_strange)
    }

    /// Judges a frame of version 1.
    pub(crate) fn sent_v1(&mut self, to: ConnectionId, text: &str) -> Checked {
        let Ok(said) = serde_json::from_str::<Said<'_>>(text) else {
            return Err(Violation { promise: Promise::P10, what: format!("the room sent {text:?}") });
        };
        self.check_rows_v1(&said)?;
        let Some(heard) = self.connections.get_mut(&to) else { return Ok(()) };
        if said.kind == "update" {
            let may = heard.v1.is_volunteered || heard.v1.synced.contains(&said.channel);
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
                let is_told_once = heard.v1.is_volunteered || heard.v1.synced.contains(&said.channel);
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
            ensure!(is_ours, P3, "{row} was sent, and no version of the room is of {time}");
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

    /// Whether an action's rows went to its sender as its result alone, so that they are lost to a page that waits no longer.
    pub(crate) fn is_told_once(&self, nonce: u64) -> bool {
        self.told_once.contains(&nonce)
    }

    /// Whether an action's rows came to a page before what it had missed.
    pub(crate) fn is_told_early(&self, nonce: u64) -> bool {
        self.told_early.contains(&nonce)
    }
}
