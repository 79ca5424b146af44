//! A room of the vectors' app, as a server that is handed frames.

use partysync_protocol::Millis;
use partysync_protocol::limits::DAY_MS;
use partysync_room::{ConnectionId, Effect, Event, Input, Room, RoomName};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::Value as Json;

use super::app::Todos;

/// The room, in a database of its own.
type TodoRoom = Room<Todos, SqliteDb>;

const START: Millis = 1_700_000_000_000;

pub(crate) struct Server {
    name: RoomName,
    room: TodoRoom,
    now: Millis,
    calls: u64,
    folder: tempfile::TempDir,
}

/// What the room does to one connection.
#[derive(Debug)]
pub(crate) enum Done {
    Sent(Json),
    Closed(u16),
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::of(partysync_vectors::ROOM)
    }

    pub(crate) fn of(room: &str) -> Self {
        let name = RoomName::from_address(room).unwrap();
        let db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        let room = open(db, &name, START, 1);
        Server { name, room, now: START, calls: 1, folder: tempfile::tempdir().unwrap() }
    }

    /// The server stops and starts again.
    pub(crate) fn restart(&mut self) {
        self.calls += 1;
        // The room has to let go of its database first: something else takes its place for the moment.
        let other = open(SqliteDb::open_in_memory(&Options::default()).unwrap(), &self.name, self.now, self.calls);
        let db = std::mem::replace(&mut self.room, other).into_db();
        self.room = open(db, &self.name, self.now, self.calls);
    }

    /// A copy of the room is made.
    pub(crate) fn save(&mut self) {
        self.room.db_mut().back_up(&self.folder.path().join("copy.db")).unwrap();
    }

    /// The room becomes the copy.
    pub(crate) fn restore(&mut self) {
        self.calls += 1;
        let db = SqliteDb::open(&self.folder.path().join("copy.db"), &Options::default()).unwrap();
        self.room = open(db, &self.name, self.now, self.calls);
    }

    pub(crate) fn wait(&mut self, ms: Millis) {
        self.now += ms;
    }

    pub(crate) fn next_day(&mut self) {
        self.now += DAY_MS;
    }

    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.calls += 1;
        self.now += 10;
        let mut effects = Vec::new();
        self.room.handle(Input { now: self.now, random: self.calls }, vec![event], &mut effects);
        effects
    }
}

fn open(db: SqliteDb, name: &RoomName, now: Millis, random: u64) -> TodoRoom {
    Room::open(db, name.clone(), || Todos, Input { now, random }).unwrap()
}

/// What effects do to connections, in order.
pub(crate) fn done(effects: &[Effect]) -> Vec<(ConnectionId, Done)> {
    // What the app sends to version 1 may be any text.
    let sent = |frame: &str| Done::Sent(serde_json::from_str(frame).unwrap_or_else(|_| frame.into()));
    let mut done = Vec::new();
    for effect in effects {
        match effect {
            Effect::Send { to, frame } | Effect::Answer { to, frame, .. } => done.push((*to, sent(frame))),
            Effect::Broadcast { to, except, frame, .. } => {
                done.extend(to.iter().filter(|to| Some(**to) != *except).map(|to| (*to, sent(frame))));
            }
            Effect::Message { to, frame } => done.extend(to.iter().map(|to| (*to, sent(frame)))),
            Effect::Close { connection, code, .. } => done.push((*connection, Done::Closed(*code))),
            Effect::Leave { connection, frame } => done.push((*connection, sent(frame))),
            // For the alarm clock, and the operator, who hears that the hook was busy.
            Effect::WakeAt(_) | Effect::Report(_) | Effect::Has { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    done
}
