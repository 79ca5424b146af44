use std::borrow::Cow;

use crate::{Record, Table};

/// The tables of a room: its channels, and tables of its own.
#[derive(Debug, Default, Clone)]
pub struct Schema {
    channels: Vec<Channel>,
    private: Vec<&'static Table>,
}

/// A table whose rows every client of the room holds.
#[derive(Debug, Clone)]
pub struct Channel {
    name: Cow<'static, str>,
    record: Option<&'static Table>,
}

impl Schema {
    /// No tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a channel whose table is a record's. The engine makes the table.
    pub fn record<R: Record>(mut self) -> Self {
        self.channels.push(Channel { name: R::table().name().into(), record: Some(R::table()) });
        self
    }

    /// Adds a channel whose table `on_start` makes with SQL of its own (SPEC 3.1 says which shape it must have).
    pub fn raw(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.channels.push(Channel { name: name.into(), record: None });
        self
    }

    /// Adds a record's table that no client sees (SPEC 3.7).
    pub fn private<R: Record>(mut self) -> Self {
        self.private.push(R::table());
        self
    }

    /// The channels.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The tables that the engine makes: those of records, channels or not.
    pub fn tables(&self) -> impl Iterator<Item = &'static Table> {
        self.channels.iter().filter_map(|c| c.record).chain(self.private.iter().copied())
    }
}

impl Channel {
    /// Its name, which is its table's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record's table; `None` at the raw level.
    pub fn record(&self) -> Option<&'static Table> {
        self.record
    }
}
