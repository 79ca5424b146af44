//! What the tables must hold: the applied actions, done again on maps. It shares no code with the room.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use crate::app::{ALARM_COUNTER, Action, fill_body};

/// The channels' names, in the order of the digests.
pub(crate) const CHANNELS: [&str; 3] = ["counters", "notes", "tags"];

/// A row's channel, and its id as JSON.
pub(crate) type Key = (&'static str, String);

/// Rows of all channels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    notes: BTreeMap<String, Row<(String, String)>>,
    counters: BTreeMap<i64, Row<i64>>,
    /// The note and the label.
    tags: BTreeMap<String, Row<(String, String)>>,
    /// Whether the action that is being applied touched a row.
    changed: bool,
}

#[derive(Debug, Clone)]
struct Row<T> {
    values: T,
    created_at: i64,
    updated_at: i64,
    marked: bool,
}

impl<T> Row<T> {
    fn new(values: T, at: i64) -> Self {
        Row { values, created_at: at, updated_at: at, marked: false }
    }
}

impl Model {
    /// Applies an action that the room has applied at a time. `made` is the id that it made. Returns whether a row of a
    /// channel was touched.
    pub(crate) fn apply(&mut self, action: &Action, made: Option<&str>, at: i64) -> bool {
        self.changed = false;
        match action {
            Action::AddNote { title, body, .. } => self.put_note(made.unwrap_or_default(), title, body, at),
            Action::EditNote { id, body } => self.edit_note(id, |row| row.values.1.clone_from(body), at),
            Action::DropNote(id) => self.drop_note(id),
            Action::Add { counter, by } => self.add(*counter, *by, at),
            Action::DropCounter(id) => self.changed = self.counters.remove(id).is_some(),
            Action::Replace { id, title } => {
                self.remove_note(id);
                let same_title = self.notes.iter().find(|(_, row)| row.values.0 == *title).map(|(id, _)| id.clone());
                same_title.into_iter().for_each(|id| self.remove_note(&id));
                self.put_note(id, title, "replaced", at);
            }
            Action::Rename { from, to } => self.rename(from, to, at),
            Action::Tag { id, note } => self.tag(id, note, "tag", at),
            Action::TagThenNote { id, note, title } => {
                self.put_note(note, title, "second", at);
                self.tag(id, note, "first", at);
            }
            Action::Mark(id) => self.edit_note(id, |row| row.marked = true, at),
            Action::InsertOrRollback { id, title } => self.put_note(id, title, "alone", at),
            // If the insert had failed, nothing could have been done after it.
            Action::InsertAndGoOn { id, title } => {
                self.put_note(id, title, "on", at);
                self.add_to_all(at);
            }
            Action::AddToAll => self.add_to_all(at),
            Action::Fill(notes) => self.fill(*notes, at),
            Action::ClearNotes => {
                let live: Vec<String> =
                    self.notes.iter().filter(|(_, r)| !r.marked).map(|(id, _)| id.clone()).collect();
                live.iter().for_each(|id| self.drop_note(id));
            }
            Action::ClearCounters => {
                self.changed = !self.counters.is_empty();
                self.counters.clear();
            }
            Action::Post { counter: Some(counter), .. } => self.add(*counter, 1, at),
            Action::SetAlarm { .. } | Action::Padded(_) | Action::Post { .. } => {}
            // These are never applied; the checks say so if one is.
            Action::Refuse(_) | Action::Panic(_) | Action::BlobTag { .. } | Action::Forbidden | Action::Spin => {}
        }
        self.changed
    }

    /// Applies `on_alarm`.
    pub(crate) fn alarm(&mut self, at: i64) {
        self.add(ALARM_COUNTER, 1, at);
    }

    /// The purge has removed all notes that are marked deleted but these. Returns whether there were any.
    pub(crate) fn purge(&mut self, marked: &[String]) -> bool {
        let before = self.notes.len();
        self.notes.retain(|id, row| !row.marked || marked.contains(id));
        self.notes.len() < before
    }

    /// A channel's live rows as JSON, in the order of their ids.
    pub(crate) fn rows(&self, channel: &str) -> Vec<String> {
        match channel {
            "notes" => live(&self.notes, |id, (title, body)| format!("{id:?},{title:?},{body:?}")),
            "counters" => live(&self.counters, |id, total| format!("{id},{total}")),
            _ => live(&self.tags, |id, (note, label)| format!("{id:?},{note:?},{label:?}")),
        }
    }

    /// The ids of notes that are marked deleted, and may be in their table still.
    pub(crate) fn is_marked(&self, id: &str) -> bool {
        self.notes.get(id).is_some_and(|row| row.marked)
    }

    /// All rows, those marked deleted among them, by channel and id: what one version changed of them is what its patch may hold.
    pub(crate) fn all(&self) -> BTreeMap<Key, String> {
        let mut all = BTreeMap::new();
        let rows = self.counters.iter().map(|(id, row)| ((CHANNELS[0], id.to_string()), format!("{row:?}")));
        all.extend(rows);
        all.extend(self.notes.iter().map(|(id, row)| ((CHANNELS[1], format!("{id:?}")), format!("{row:?}"))));
        all.extend(self.tags.iter().map(|(id, row)| ((CHANNELS[2], format!("{id:?}")), format!("{row:?}"))));
        all
    }

    /// What tells one state of all live rows from another.
    pub(crate) fn digest(&self) -> u64 {
        digest(CHANNELS.iter().map(|channel| self.rows(channel)))
    }

    fn fill(&mut self, notes: u64, at: i64) {
        for i in 0..notes {
            let id = format!("fill{i}");
            self.remove_note(&id);
            self.put_note(&id, &format!("fill {i}"), &fill_body(), at);
        }
    }

    fn put_note(&mut self, id: &str, title: &str, body: &str, at: i64) {
        // A marked row that has the title would be in the way: the purge has removed it.
        self.notes.retain(|_, row| !(row.marked && row.values.0 == title));
        self.notes.insert(id.to_owned(), Row::new((title.to_owned(), body.to_owned()), at));
        self.changed = true;
    }

    fn edit_note(&mut self, id: &str, edit: impl FnOnce(&mut Row<(String, String)>), at: i64) {
        if let Some(row) = self.notes.get_mut(id).filter(|row| !row.marked) {
            edit(row);
            row.updated_at = at;
            self.changed = true;
        }
    }

    fn drop_note(&mut self, id: &str) {
        if self.notes.get(id).is_some_and(|row| !row.marked) {
            self.remove_note(id);
        }
    }

    /// Removes a note, marked or not, and the tags on it.
    fn remove_note(&mut self, id: &str) {
        if self.notes.remove(id).is_some() {
            self.tags.retain(|_, tag| tag.values.0 != id);
            self.changed = true;
        }
    }

    fn rename(&mut self, from: &str, to: &str, at: i64) {
        if let Some(mut row) = self.notes.get(from).cloned().filter(|row| !row.marked) {
            self.notes.remove(from);
            row.updated_at = at;
            self.notes.insert(to.to_owned(), row);
            self.changed = true;
        }
    }

    fn tag(&mut self, id: &str, note: &str, label: &str, at: i64) {
        self.tags.insert(id.to_owned(), Row::new((note.to_owned(), label.to_owned()), at));
        self.changed = true;
    }

    fn add(&mut self, id: i64, by: i64, at: i64) {
        let row = self.counters.entry(id).or_insert_with(|| Row::new(0, at));
        row.values += by;
        row.updated_at = at;
        self.changed = true;
    }

    fn add_to_all(&mut self, at: i64) {
        self.changed |= !self.counters.is_empty();
        for row in self.counters.values_mut() {
            row.values += 1;
            row.updated_at = at;
        }
    }
}

fn live<K, T>(rows: &BTreeMap<K, Row<T>>, values: impl Fn(&K, &T) -> String) -> Vec<String> {
    let json = |(id, row): (&K, &Row<T>)| {
        let mut out = format!("[{},", values(id, &row.values));
        let _ = write!(out, "{},{},null]", row.created_at, row.updated_at);
        out
    };
    rows.iter().filter(|(_, row)| !row.marked).map(json).collect()
}

/// A digest of rows as JSON, channel by channel in the order of [`CHANNELS`].
pub(crate) fn digest(channels: impl Iterator<Item = Vec<String>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    channels.for_each(|rows| rows.hash(&mut hasher));
    hasher.finish()
}
