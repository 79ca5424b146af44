//! A room of the vectors' app, as a server that is handed frames.

use partysync_protocol::Millis;
use partysync_room::{ConnectionId, Effect, Event, Input, Room, RoomName};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::Value as Json;

use super::app::{TodoRoom, Todos};

const START: Millis = 1_700_000_000_000;

pub(crate) struct Server {
    room: TodoRoom,
    now: Millis,
    calls: u64,
}

/// What the room does to one connection.
#[derive(Debug)]
pub(crate) enum Done {
    Sent(Json),
    Closed(u16),
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::over(SqliteDb::open_in_memory(&Options::default()).unwrap(), START, 1)
    }

    fn over(db: SqliteDb, now: Millis, calls: u64) -> Self {
        let name = RoomName::from_address(super::app::ROOM).unwrap();
        let room = Room::open(db, name, || Todos, Input { now, random: calls }).unwrap();
        Server { room, now, calls }
    }

    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.calls += 1;
        self.now += 10;
        let mut effects = Vec::new();
        self.room.handle(Input { now: self.now, random: self.calls }, vec![event], &mut effects);
        effects
    }
}

/// What effects do to connections, in order.
pub(crate) fn done(effects: &[Effect]) -> Vec<(ConnectionId, Done)> {
    // What the app sends to version 1 may be any text.
    let sent = |frame: &str| Done::Sent(serde_json::from_str(frame).unwrap_or_else(|_| frame.into()));
    let mut done = Vec::new();
    for effect in effects {
        match effect {
            Effect::Send { to, frame } => done.push((*to, sent(frame))),
            Effect::Broadcast { to, except, frame, .. } => {
                done.extend(to.iter().filter(|to| Some(**to) != *except).map(|to| (*to, sent(frame))));
            }
            Effect::Message { to, frame } => done.extend(to.iter().map(|to| (*to, sent(frame)))),
            Effect::Close { connection, code, .. } => done.push((*connection, Done::Closed(*code))),
            Effect::Leave { connection, frame } => done.push((*connection, sent(frame))),
            Effect::WakeAt(_) => {}
            other => panic!("{other:?}"),
        }
    }
    done
}
