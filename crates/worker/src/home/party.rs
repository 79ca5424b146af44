//! Parties: kinds of rooms, with the app's type hidden.

use partysync_protocol::Version;
use partysync_room::{ConnectionId, ConnectionState, Effect, Event, Input, OpenError, Room, RoomName, SyncServer};

use crate::DurableDb;

/// A room of whatever party.
pub(crate) trait AnyRoom {
    /// See [`Room::handle`].
    fn handle(&mut self, input: Input, events: Vec<Event>, effects: &mut Vec<Effect>);

    /// See [`Room::must_reopen`].
    fn must_reopen(&self) -> bool;

    /// The newest version.
    fn version(&self) -> Version;

    /// See [`Room::touched`].
    fn touched(&mut self) -> Vec<ConnectionId>;

    /// See [`Room::connection_state`].
    fn connection_state(&self, connection: ConnectionId) -> Option<ConnectionState>;
}

impl<S: SyncServer> AnyRoom for Room<S, DurableDb> {
    fn handle(&mut self, input: Input, events: Vec<Event>, effects: &mut Vec<Effect>) {
        Room::handle(self, input, events, effects);
    }

    fn must_reopen(&self) -> bool {
        Room::must_reopen(self)
    }

    fn version(&self) -> Version {
        self.cursor().version
    }

    fn touched(&mut self) -> Vec<ConnectionId> {
        Room::touched(self)
    }

    fn connection_state(&self, connection: ConnectionId) -> Option<ConnectionState> {
        Room::connection_state(self, connection)
    }
}

/// Brings a room into memory.
pub(crate) type Open = Box<dyn Fn(DurableDb, RoomName, Input) -> Result<Box<dyn AnyRoom>, OpenError>>;

/// What opens a room of a party whose app values are what `make` returns.
pub(crate) fn party<S, F>(make: F) -> Open
where
    S: SyncServer + 'static,
    F: Fn() -> S + Clone + Send + 'static,
{
    Box::new(move |db, name, input| {
        let room = Room::open(db, name, make.clone(), input)?;
        Ok(Box::new(room) as Box<dyn AnyRoom>)
    })
}
