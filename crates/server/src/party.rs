//! Parties: kinds of rooms, with the app's type hidden.

use partysync_model::{Db, DbError, Verdict};
use partysync_protocol::{Version, limits};
use partysync_room::{
    Arrived, ConnectionId, ConnectionState, Effect, Event, Input, Inspection, Observer, OpenError, Room, RoomName,
    SyncServer,
};
use partysync_sqlite::SqliteDb;

use crate::door::Doors;
use crate::hooks::Hooks;
use crate::metered::Metered;

/// A room of whatever party.
pub(crate) trait AnyRoom: Send {
    /// See [`Room::handle`].
    fn handle(&mut self, input: Input, events: Vec<Event>, effects: &mut Vec<Effect>);

    /// See [`Room::must_reopen`].
    fn must_reopen(&self) -> bool;

    /// The version up to which its sockets were told everything, once its effects are carried out.
    fn version(&self) -> Version;

    /// See [`Room::arrived`].
    fn arrived(&mut self, connection: ConnectionId, arrived: Arrived);

    /// See [`Room::hibernate`]. Closes the file.
    fn hibernate(self: Box<Self>) -> Vec<(ConnectionId, ConnectionState)>;

    /// See [`Room::inspect`].
    fn inspect(&mut self) -> Result<Inspection, DbError>;

    /// See [`Room::observe`].
    fn observe(&mut self, observer: Box<dyn Observer>);

    /// See [`Room::adopt`]. Closes the file.
    fn adopt(self: Box<Self>, input: Input, fill: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError>;

    /// Its database.
    fn db(&mut self) -> &mut SqliteDb;
}

impl<S: SyncServer + Send> AnyRoom for Room<S, Metered> {
    fn handle(&mut self, input: Input, events: Vec<Event>, effects: &mut Vec<Effect>) {
        Room::handle(self, input, events, effects);
    }

    fn must_reopen(&self) -> bool {
        Room::must_reopen(self)
    }

    fn version(&self) -> Version {
        self.cursor().version
    }

    fn arrived(&mut self, connection: ConnectionId, arrived: Arrived) {
        Room::arrived(self, connection, arrived);
    }

    fn hibernate(self: Box<Self>) -> Vec<(ConnectionId, ConnectionState)> {
        Room::hibernate(*self).0
    }

    fn inspect(&mut self) -> Result<Inspection, DbError> {
        Room::inspect(self)
    }

    fn observe(&mut self, observer: Box<dyn Observer>) {
        Room::observe(self, observer);
    }

    fn adopt(self: Box<Self>, input: Input, fill: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        Room::adopt(*self, input, fill)
    }

    fn db(&mut self) -> &mut SqliteDb {
        &mut self.db_mut().db
    }
}

/// A kind of room.
pub(crate) struct Party {
    /// Brings a room into memory.
    pub(crate) open: Open,
    pub(crate) doors: Doors,
    pub(crate) hooks: Hooks,
}

pub(crate) type Open = Box<dyn Fn(Metered, RoomName, Input) -> Result<Box<dyn AnyRoom>, OpenError> + Send + Sync>;

/// What opens a room of a party whose app values are what `make` returns.
pub(crate) fn party<S, F>(make: F) -> Open
where
    S: SyncServer + Send + 'static,
    F: Fn() -> S + Clone + Send + Sync + 'static,
{
    Box::new(move |db, name, input| {
        let mut room = Room::open(db, name, make.clone(), input)?;
        room.set_socket_rooms(limits::SOCKET_ROOMS);
        room.home_sees_backlogs();
        Ok(Box::new(room) as Box<dyn AnyRoom>)
    })
}

/// Whether a party may have this name. It is a segment of a URL's path and a folder's name, and `lock` is the lock's.
pub(crate) fn is_party_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= limits::PARTY_NAME_BYTES && name.chars().all(plain) && name != "lock"
}
