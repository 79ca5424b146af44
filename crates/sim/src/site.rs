//! One of a world's rooms: what its home has of it.

use partysync_protocol::Millis;
use partysync_room::{ConnectionId, ConnectionState, Room, RoomName};

use crate::app::{App, Item};
use crate::checks::{History, Ledger};
use crate::look;
use crate::tamper::SimDb;

/// A room, in memory or not, and all that was seen of it.
pub(crate) struct Site {
    pub(crate) number: usize,
    pub(crate) room: Option<Room<App, SimDb>>,
    /// What it gave back of its sockets when it went to sleep.
    pub(crate) asleep: Vec<(ConnectionId, ConnectionState)>,
    pub(crate) wake_at: Option<Millis>,
    /// Sockets that are out of the room, of which it does not know yet.
    pub(crate) goodbyes: Vec<ConnectionId>,
    /// What is being delivered: the item, and its key.
    pub(crate) courier: Vec<(Item, String)>,
    pub(crate) backup: Option<Backup>,
    pub(crate) ledger: Ledger,
}

/// An old copy of a room: its files, and its history until then.
pub(crate) struct Backup {
    pub(crate) files: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) history: History,
}

impl Site {
    pub(crate) fn new(number: usize) -> Self {
        let address = room_name(number).address().to_owned();
        Site {
            number,
            room: None,
            asleep: Vec::new(),
            wake_at: None,
            goodbyes: Vec::new(),
            courier: Vec::new(),
            backup: None,
            ledger: Ledger::new(number, address),
        }
    }

    /// When the first item of the outbox is due.
    pub(crate) fn outbox_at(&mut self) -> Option<Millis> {
        look::outbox_at(self.room.as_mut()?.db_mut()).ok().flatten()
    }

    /// The room's file.
    pub(crate) fn file(&self) -> String {
        format!("room-{}.db", self.number)
    }

    /// All files that may be the room's.
    pub(crate) fn files(&self) -> [String; 3] {
        let file = self.file();
        [format!("{file}-wal"), format!("{file}-journal"), file]
    }
}

pub(crate) fn room_name(site: usize) -> RoomName {
    RoomName::new("sim", &format!("world-{site}"))
}
