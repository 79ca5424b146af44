//! What nobody can help a page of version 1 with (SPEC 12.14). It is found out here as the page would, frame by frame: a page for which this holds
//! no reason must show what the room holds.

use std::collections::BTreeSet;

use partysync_room::ConnectionId;

/// What a page may lack of a channel.
#[derive(Debug, Default)]
pub(crate) struct Lacks {
    /// What it stored before all that is older. It makes up for that, unless it is loaded anew before.
    early: Vec<(ConnectionId, Early)>,
    /// It asked from a time after what it lacks, and nobody could know.
    all: bool,
    /// Rows of calls that it had given up, by their ids.
    rows: BTreeSet<String>,
}

/// What a page stores that is newer than what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Early {
    /// An update that came before it had read what it had stored, or behind one that it dropped.
    Update,
    /// The rows of its own action, on a connection on which it was not sent what it had missed.
    Result,
}

impl Lacks {
    /// Something came on a connection.
    pub(crate) fn stored_early(&mut self, on: ConnectionId, what: Early) {
        self.early.push((on, what));
    }

    /// It was sent what it had asked for on a connection, by a room that was `blind`: it did not know whose connection that is.
    pub(crate) fn answered(&mut self, on: ConnectionId, blind: bool) {
        self.all |= blind && self.early.iter().any(|(of, what)| *what == Early::Update && *of != on);
        self.early.retain(|(_, what)| *what == Early::Result);
    }

    /// It has all that it was volunteered on a connection, and what came after that. It was not volunteered what it asks for itself.
    pub(crate) fn caught_up(&mut self, on: ConnectionId) {
        self.early.retain(|(of, what)| *what == Early::Update && *of == on);
    }

    /// It is loaded anew, with what it had stored.
    pub(crate) fn reloaded(self) -> Self {
        Lacks { all: self.all || !self.early.is_empty(), early: Vec::new(), rows: self.rows }
    }

    /// These rows went to a call that it had given up.
    pub(crate) fn missed(&mut self, rows: impl Iterator<Item = String>) {
        self.rows.extend(rows);
    }

    /// It is sent a row.
    pub(crate) fn told(&mut self, row: &str) {
        self.rows.remove(row);
    }

    /// Whether it may lack a row.
    pub(crate) fn row(&self, id: &str) -> bool {
        self.all || self.rows.contains(id)
    }

    pub(crate) fn is_something(&self) -> bool {
        self.all || !self.rows.is_empty()
    }
}
