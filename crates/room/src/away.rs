//! Version 1 connections that are gone and may come back, and what is known to have arrived there (SPEC 12.11).

use std::collections::HashMap;
use std::sync::Arc;

use partysync_model::{Db, DbError, Verdict};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_protocol::{Millis, Version};

use crate::ConnectionInfo;
use crate::channel::{self, ChannelTable};
use crate::sorted::SortedMap;
use crate::store::{self, StoredAway};

/// What is known to have arrived: everything of these channels, a bit each, up to this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) version: Version,
    pub(crate) channels: u64,
}

impl Arrival {
    /// What is known of a connection that is one of two. `None` is nothing.
    pub(crate) fn least(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        Some(Arrival { version: one.version.min(other.version), channels: one.channels & other.channels })
    }

    /// The version up to which a channel arrived.
    pub(crate) fn of(self, channel: usize) -> Option<Version> {
        (self.channels & 1 << channel != 0).then_some(self.version)
    }
}

/// All that are away, by name.
#[derive(Debug, Default)]
pub(crate) struct Away {
    all: HashMap<Arc<str>, Gone>,
    /// Their names, in the order in which they went.
    order: SortedMap<u64, Arc<str>>,
    last: u64,
    /// The table has some, or had when it was read.
    is_stored: bool,
}

/// Connections of one name. An app may give several of its pages one: of them, the least that any is known to hold counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone {
    count: u64,
    pub(crate) arrival: Option<Arrival>,
    at: Millis,
    place: u64,
}

/// The name of a connection, if it may be known again: two identities with one `_pk` are two.
pub(crate) fn name(info: &ConnectionInfo) -> Option<String> {
    let key = info.key.as_deref().filter(|key| !key.is_empty())?;
    let identity = info.identity.as_deref().unwrap_or_default();
    Some(format!("{}:{identity}:{key}", identity.len()))
}

impl Away {
    /// A connection went. The oldest is forgotten if there are too many.
    pub(crate) fn leave(&mut self, name: &str, arrival: Option<Arrival>, now: Millis) {
        self.insert(name, 1, arrival, now);
    }

    /// A connection went that adds nothing to what is known of its name, but that somebody was there until now.
    pub(crate) fn seen(&mut self, name: &str, now: Millis) {
        if let Some(gone) = self.get(name) {
            self.insert(name, 0, gone.arrival, gone.at.max(now));
        }
    }

    fn insert(&mut self, name: &str, count: u64, arrival: Option<Arrival>, at: Millis) {
        self.last += 1;
        let (name, gone) = match self.all.remove_entry(name) {
            Some((name, gone)) => {
                self.order.remove(&gone.place);
                let arrival = Arrival::least(gone.arrival, arrival);
                (name, Gone { count: gone.count + count, arrival, at, place: self.last })
            }
            None => (name.into(), Gone { count, arrival, at, place: self.last }),
        };
        self.order.insert(self.last, Arc::clone(&name));
        self.all.insert(name, gone);
        while self.all.len() > limits::AWAY_KEPT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.all.remove(&oldest);
        }
    }

    /// One of this name is there again. Which one is not known, so what is known of those that are still away is not more than before.
    pub(crate) fn come_back(&mut self, name: &str) {
        let Some(gone) = self.all.get_mut(name) else { return };
        gone.count -= 1;
        if gone.count == 0 {
            self.order.remove(&gone.place);
            self.all.remove(name);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Gone> {
        self.all.get(name).copied()
    }

    /// Forgets those that went before a time.
    pub(crate) fn forget_before(&mut self, time: Millis) {
        self.all.retain(|_, gone| gone.at >= time);
        self.order.retain(|_, name| self.all.contains_key(name));
    }

    /// Reads what was kept when the room last left memory, but for what is too old. What is known of a version that the room does
    /// not have is nothing.
    pub(crate) fn load(
        db: &mut dyn Db,
        channels: &[ChannelTable],
        newest: Version,
        now: Millis,
    ) -> Result<Self, DbError> {
        let mut away = Away::default();
        let mut stored = store::away(db)?;
        stored.sort_unstable_by_key(|stored| stored.at);
        for StoredAway { name, count, version, channels: numbers, at } in stored {
            away.is_stored = true;
            let version = version.filter(|version| *version <= newest);
            let arrival = version.map(|version| Arrival { version, channels: channel::bits(channels, &numbers) });
            if count > 0 && at >= now - limits::AWAY_DAYS * DAY_MS {
                away.insert(&name, count, arrival, at);
            }
        }
        Ok(away)
    }

    /// Keeps it for when the room comes back into memory. Writes nothing if nothing has changed but for times, and these by less than a day.
    pub(crate) fn save(&self, db: &mut dyn Db, channels: &[ChannelTable]) -> Result<(), DbError> {
        if self.all.is_empty() && !self.is_stored {
            return Ok(());
        }
        let all = self.order.values().filter_map(|name| {
            let Gone { count, arrival, at, .. } = *self.all.get(name)?;
            Some(StoredAway {
                name: name.to_string(),
                count,
                version: arrival.map(|arrival| arrival.version),
                channels: channel::numbers(channels, arrival.map_or(0, |arrival| arrival.channels)),
                at,
            })
        });
        let mut all: Vec<StoredAway> = all.collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let what = |of: &StoredAway| (of.name.clone(), of.count, of.version, of.channels.clone(), of.at / DAY_MS);
        let mut written = Ok(());
        db.transaction(&mut |db| {
            written = store::away(db).and_then(|stored| {
                let is_same = stored.len() == all.len() && stored.iter().zip(&all).all(|(a, b)| what(a) == what(b));
                if is_same { Ok(()) } else { store::set_away(db, &all) }
            });
            if written.is_ok() { Verdict::Keep } else { Verdict::Undo }
        })?;
        written
    }
}
