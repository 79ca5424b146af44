//! Confirmed rows with pending actions on top (SPEC 9.1).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use partysync_model::{Db, MemoryDb, Seed, Tx, Value, Verdict, push_row, read_row, read_value};
use partysync_protocol::v2::Patch;
use partysync_protocol::{ClientId, Millis};
use serde_json::value::RawValue;

use crate::{Config, Pending};

/// The tables as the user sees them. Predictions lie on top of the confirmed rows and are taken off before these change.
pub(crate) struct View {
    db: MemoryDb,
    channels: Vec<&'static str>,
}

/// A frame holds what is no row.
#[derive(Debug)]
pub(crate) struct BadRow;

impl View {
    pub(crate) fn new(config: &Config) -> Self {
        let mut db = MemoryDb::new(config.tables.iter().copied());
        db.begin_predictions();
        View { db, channels: config.tables.iter().map(|t| t.name()).collect() }
    }

    pub(crate) fn rows(&self, channel: &str) -> impl Iterator<Item = &[Value]> {
        self.db.rows(channel)
    }

    /// Takes the predictions off, changes the confirmed rows, and predicts again.
    pub(crate) fn rebase<T>(
        &mut self,
        replay: &Replay<'_>,
        change: impl FnOnce(&mut Confirmed<'_>) -> Result<T, BadRow>,
    ) -> Result<T, BadRow> {
        self.db.discard_predictions();
        let result = change(&mut Confirmed(&mut self.db));
        self.db.begin_predictions();
        replay.pending.iter().filter(|p| !p.included).for_each(|pending| self.predict(replay, pending));
        result
    }

    /// Shows what a pending action will do, as far as can be told. One that fails here shows nothing (SPEC 9.3).
    pub(crate) fn predict(&mut self, replay: &Replay<'_>, pending: &Pending) {
        let Some(apply) = &replay.config.apply else { return };
        let seed = Seed::of_action(&replay.client, pending.number);
        let _ = self.db.transaction(&mut |db| {
            let mut tx = Tx::new(db, partysync_model::Origin::Action, replay.now, seed);
            // A panic in the app's code must not take the client with it: the server decides.
            match catch_unwind(AssertUnwindSafe(|| apply(&mut tx, &pending.channel, pending.action.get()))) {
                Ok(Ok(())) => Verdict::Keep,
                _ => Verdict::Undo,
            }
        });
    }

    /// The confirmed rows alone, by channel, as JSON.
    pub(crate) fn confirmed(&mut self, replay: &Replay<'_>) -> BTreeMap<String, Vec<Box<RawValue>>> {
        self.db.discard_predictions();
        let encode = |row: &[Value]| {
            let mut json = String::new();
            push_row(&mut json, &row.to_vec()).ok()?;
            RawValue::from_string(json).ok()
        };
        let rows = |name: &&str| ((*name).to_owned(), self.db.rows(name).filter_map(encode).collect());
        let all = self.channels.iter().map(rows).collect();
        self.db.begin_predictions();
        replay.pending.iter().filter(|p| !p.included).for_each(|pending| self.predict(replay, pending));
        all
    }
}

/// What predictions are made from.
pub(crate) struct Replay<'a> {
    pub(crate) config: &'a Config,
    pub(crate) client: ClientId,
    pub(crate) pending: &'a [Pending],
    pub(crate) now: Millis,
}

/// The confirmed rows, without predictions on top.
pub(crate) struct Confirmed<'a>(&'a mut MemoryDb);

impl Confirmed<'_> {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Puts a row. Channels that this client does not hold are left out.
    pub(crate) fn put(&mut self, channel: &str, row: &str) -> Result<(), BadRow> {
        let row = read_row(row).map_err(|_| BadRow)?;
        if row.is_empty() {
            return Err(BadRow);
        }
        self.0.put(channel, row);
        Ok(())
    }

    pub(crate) fn apply(&mut self, patch: &Patch<'_>) -> Result<(), BadRow> {
        for changes in &patch.changes {
            for id in &changes.deletes {
                self.0.remove(&changes.channel, &read_value(id.get()).map_err(|_| BadRow)?);
            }
            for row in &changes.puts {
                self.put(&changes.channel, row.get())?;
            }
        }
        Ok(())
    }
}
