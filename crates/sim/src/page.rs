//! A page of version 1, as the original's hook and `partysocket` make it: it asks for a channel once, keeps what it is sent, and sends what it
//! could not send as soon as its socket is back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use partysync_protocol::Millis;
use partysync_room::ConnectionId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::lacks::{Early, Lacks};
use crate::model::CHANNELS;

/// Then a call is given up, and its answer is ignored.
const CALL_MS: Millis = 10_000;

/// Rows as JSON, by their ids as JSON.
type Rows = BTreeMap<String, String>;

/// A page.
#[derive(Default)]
pub(crate) struct Page {
    /// What it shows and stores, in the order of [`CHANNELS`].
    views: [View; CHANNELS.len()],
    /// Calls that wait for their answer, by their ids.
    pub(crate) calls: BTreeMap<String, Call>,
    /// Calls that were given up, or had an error.
    given_up: BTreeMap<String, u64>,
    /// What waits for a socket.
    pub(crate) queue: VecDeque<String>,
}

/// One channel on a page.
#[derive(Default)]
struct View {
    state: Mounted,
    shown: Rows,
    /// What outlives the page, deleted rows among it.
    stored: Rows,
    lacks: Lacks,
    /// The connection on which it was sent something that it dropped, as it did not show the channel yet; until what it asks for then is there.
    dropped_on: Option<ConnectionId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mounted {
    #[default]
    No,
    /// It listens, and has not read what it stored. Then it asks.
    Reading,
    Asked,
}

/// An action that waits for its answer.
pub(crate) struct Call {
    pub(crate) nonce: u64,
    pub(crate) frame: String,
    at: Millis,
}

/// What a page learns.
pub(crate) enum Told {
    /// Its rows are of this channel.
    Applied(u64, Option<usize>),
    /// The error's text.
    Failed(u64, String),
    /// An action was applied, and the page does not look at the rows any more.
    Ignored(u64, Option<usize>),
    /// What it asked for of a channel.
    Rows(usize),
}

/// Whatever a room says in version 1.
#[derive(Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(default)]
    pub(crate) sync: bool,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) channel: String,
    #[serde(default)]
    id: serde_json::Value,
    #[serde(borrow, default)]
    pub(crate) payload: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(crate) result: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    error: Vec<String>,
}

impl Said<'_> {
    pub(crate) fn id(&self) -> String {
        self.id.as_str().unwrap_or_default().to_owned()
    }

    /// The channel that it is about.
    fn of(&self) -> Option<usize> {
        CHANNELS.iter().position(|channel| *channel == self.channel)
    }
}

/// A row's id, and its last two columns.
pub(crate) struct Columns {
    pub(crate) id: String,
    pub(crate) updated_at: Millis,
    pub(crate) deleted_at: Option<Millis>,
}

impl Columns {
    pub(crate) fn of(row: &str) -> Option<Self> {
        let row: Vec<serde_json::Value> = serde_json::from_str(row).ok()?;
        let [id, .., updated_at, deleted_at] = &row[..] else { return None };
        Some(Columns { id: id.to_string(), updated_at: updated_at.as_i64()?, deleted_at: deleted_at.as_i64() })
    }
}

impl Page {
    /// The page is loaded anew, with what it had stored or without.
    pub(crate) fn reload(&mut self, keeps_stored: bool) {
        let views = std::mem::take(&mut self.views);
        *self = Page::default();
        if keeps_stored {
            let keep = |View { stored, lacks, .. }| View { stored, lacks: lacks.reloaded(), ..View::default() };
            self.views = views.map(keep);
        }
    }

    /// Shows a channel, if it does not already.
    pub(crate) fn mount(&mut self, channel: usize) {
        let view = &mut self.views[channel];
        if view.state == Mounted::No {
            view.state = Mounted::Reading;
        }
    }

    /// Whether a channel's rows were asked for.
    pub(crate) fn has_asked(&self, channel: usize) -> bool {
        self.views[channel].state == Mounted::Asked
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.views.iter().any(|view| view.state == Mounted::Reading)
    }

    /// Reads what is stored of the channels that are shown; returns the frames that ask for the rest.
    pub(crate) fn read(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        for (channel, view) in CHANNELS.iter().zip(&mut self.views) {
            if view.state != Mounted::Reading {
                continue;
            }
            let columns: Vec<Columns> = view.stored.values().filter_map(|row| Columns::of(row)).collect();
            let newest = columns.iter().map(|row| row.deleted_at.max(Some(row.updated_at))).max().flatten();
            let from = newest.map_or("null".to_owned(), |time| time.to_string());
            view.shown = view.stored.clone();
            view.shown.retain(|_, row| is_live(row));
            view.state = Mounted::Asked;
            frames.push(format!(r#"{{"channel":"{channel}","sync":true,"from":{from}}}"#));
        }
        frames
    }

    /// Asks for an action to be run; returns the frame.
    pub(crate) fn call(&mut self, id: &str, channel: &str, action: &str, nonce: u64, now: Millis) -> String {
        let frame = format!(r#"{{"id":"{id}","channel":"{channel}","rpc":true,"action":{action}}}"#);
        self.calls.insert(id.to_owned(), Call { nonce, frame: frame.clone(), at: now });
        frame
    }

    /// Gives up what has waited for too long; returns the actions.
    pub(crate) fn expire(&mut self, now: Millis) -> Vec<u64> {
        let late: Vec<String> =
            self.calls.iter().filter(|(_, call)| now - call.at >= CALL_MS).map(|(id, _)| id.clone()).collect();
        let give_up = |id: String| {
            let call = self.calls.remove(&id)?;
            self.given_up.insert(id, call.nonce);
            Some(call.nonce)
        };
        late.into_iter().filter_map(give_up).collect()
    }

    /// Hears a frame on a connection.
    pub(crate) fn hear(&mut self, on: ConnectionId, text: &str) -> Option<Told> {
        let said: Said<'_> = serde_json::from_str(text).ok()?;
        if said.kind == "success" || said.kind == "error" {
            return self.answered(&said);
        }
        let channel = said.of()?;
        let view = &mut self.views[channel];
        if said.sync {
            view.dropped_on = None;
        }
        match view.state {
            Mounted::No => view.dropped_on = Some(on),
            Mounted::Asked if view.dropped_on != Some(on) => {}
            Mounted::Asked | Mounted::Reading => view.lacks.stored_early(on, Early::Update),
        }
        if view.state != Mounted::No {
            view.take(said.payload.unwrap_or_default(), said.sync);
        }
        said.sync.then_some(Told::Rows(channel))
    }

    fn answered(&mut self, said: &Said<'_>) -> Option<Told> {
        let is_applied = said.kind == "success";
        let Some(call) = self.calls.remove(&said.id()) else {
            let nonce = self.given_up.get(&said.id()).filter(|_| is_applied)?;
            return Some(Told::Ignored(*nonce, said.of()));
        };
        if !is_applied {
            // It may have been sent twice, and be applied the second time.
            self.given_up.insert(said.id(), call.nonce);
            return Some(Told::Failed(call.nonce, said.error.join("\n")));
        }
        if let Some(channel) = said.of() {
            self.views[channel].take(said.result.clone().unwrap_or_default(), false);
        }
        Some(Told::Applied(call.nonce, said.of()))
    }

    /// What it may lack of a channel.
    pub(crate) fn lacks(&self, channel: usize) -> &Lacks {
        &self.views[channel].lacks
    }

    pub(crate) fn lacks_mut(&mut self, channel: usize) -> &mut Lacks {
        &mut self.views[channel].lacks
    }

    /// It has all that it was volunteered on a connection.
    pub(crate) fn caught_up(&mut self, on: ConnectionId) {
        self.views.iter_mut().for_each(|view| view.lacks.caught_up(on));
    }

    /// What it shows of a channel.
    pub(crate) fn shown(&self, channel: usize) -> BTreeSet<&str> {
        self.views[channel].shown.values().map(String::as_str).collect()
    }
}

impl View {
    /// An answer to a sync puts rows, deleted or not; anything else takes deleted ones away.
    fn take(&mut self, rows: Vec<&RawValue>, is_sync: bool) {
        for row in rows {
            let Some(columns) = Columns::of(row.get()) else { continue };
            self.lacks.told(&columns.id);
            if is_sync || columns.deleted_at.is_none() {
                self.shown.insert(columns.id.clone(), row.get().to_owned());
            } else {
                self.shown.remove(&columns.id);
            }
            self.stored.insert(columns.id, row.get().to_owned());
        }
    }
}

fn is_live(row: &str) -> bool {
    Columns::of(row).is_some_and(|row| row.deleted_at.is_none())
}
