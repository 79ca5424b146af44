//! A room with an app that can do everything wrong, and clients that believe what they are sent.
// Each test program uses its own part, and a test may panic.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use partysync_derive::Record;
use partysync_model::{ActionError, Db, Origin, Schema, Tx, Value, ValueRef};
use partysync_protocol::v2::Down;
use partysync_protocol::{ClientId, Cursor, Millis, v2};
use partysync_room::{
    Call, Changed, ConnectionId, ConnectionInfo, ConnectionState, Effect, Event, Input, Room, RoomName, Sockets,
    SyncServer,
};
use partysync_sqlite::{Options, SqliteDb};
use serde::Deserialize;
use serde_json::{Value as Json, json};

pub const START: Millis = 1_700_000_000_000;

/// A row with a second unique column, typed.
#[derive(Record, Debug, Clone, PartialEq, Deserialize)]
pub struct Item {
    pub id: String,
    #[record(unique)]
    pub slug: Option<String>,
    pub name: String,
}

/// How many actions were applied: a table that the app's field must agree with.
#[derive(Record)]
#[record(table = "tallies")]
struct Tally {
    id: i64,
    actions: i64,
}

/// The app. Its field is a cache of the tally.
pub struct Shop {
    actions: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum Action {
    Put(Item),
    Change(Item),
    Delete(String),
    /// Writes, then says no.
    Reject,
    /// Writes, then panics.
    Panic,
    /// Writes, then fails with each of these statements.
    Sql(Vec<String>),
    /// Runs a statement that fails, ignores that, and writes on.
    Swallow(String),
    /// As many rows as this.
    Many(usize),
    Alarm(Millis),
    /// Claims a row that it did not change.
    Lie,
    Nothing,
    /// A row with an id of the engine's making.
    New,
}

impl SyncServer for Shop {
    fn schema(&self) -> Schema {
        Schema::new().record::<Item>().raw("parts").private::<Tally>()
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        for sql in [
            "CREATE TABLE IF NOT EXISTS parts (id INTEGER PRIMARY KEY NOT NULL, \
             item TEXT REFERENCES items (id) ON DELETE CASCADE, \
             owner TEXT REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED, \
             created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)",
            "CREATE TABLE IF NOT EXISTS tripwire (id INTEGER PRIMARY KEY)",
            "CREATE TRIGGER IF NOT EXISTS trip BEFORE INSERT ON tripwire BEGIN SELECT RAISE(ROLLBACK, 'tripped'); END",
        ] {
            tx.execute(sql, &[])?;
        }
        self.actions = tx.table::<Tally>().get(0)?.map_or(0, |t| t.actions);
        Ok(())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        let stored = tx.table::<Tally>().get(0)?.map_or(0, |t| t.actions);
        if stored != self.actions {
            return Err(ActionError::reject("torn", format!("the field says {}, the table {stored}", self.actions)));
        }
        self.actions += 1;
        let tally = Tally { id: 0, actions: self.actions };
        if stored == 0 {
            tx.table().insert(&tally)?
        } else {
            tx.table().update(&tally)?
        }
        if call.action().contains("\"lie\"") {
            return Ok(Changed::Rows(vec![vec!["nobody".into()]]));
        }
        call.apply(tx, apply)
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        let id = tx.new_id();
        tx.table().insert(&Item { id, slug: None, name: "rung".to_owned() })
    }
}

fn trace(tx: &mut Tx<'_>) -> Result<(), ActionError> {
    tx.table().insert(&Item { id: "trace".to_owned(), slug: None, name: "must not stay".to_owned() })
}

fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Put(item) => tx.table().insert(&item),
        Action::Change(item) => tx.table().update(&item),
        Action::Delete(id) => tx.table::<Item>().delete(id).map(|_| ()),
        Action::Reject => trace(tx).and(Err(ActionError::reject("no", "The shop says no."))),
        Action::Panic => {
            trace(tx)?;
            panic!("the shop is on fire")
        }
        Action::Sql(statements) => statements.iter().try_for_each(|sql| tx.execute(sql, &[]).map(|_| ())),
        Action::Swallow(sql) => {
            let _ = tx.execute(&sql, &[]);
            let _ = trace(tx);
            Ok(())
        }
        Action::Many(count) => (0..count)
            .try_for_each(|i| tx.table().insert(&Item { id: format!("many{i}"), slug: None, name: String::new() })),
        Action::Alarm(at) => {
            tx.set_alarm(at);
            Ok(())
        }
        Action::New => {
            let id = tx.new_id();
            tx.table().insert(&Item { id, slug: None, name: String::new() })
        }
        Action::Lie | Action::Nothing => Ok(()),
    }
}

/// A room, its clock, and what it answered.
pub struct World {
    pub room: Room<Shop, SqliteDb>,
    pub now: Millis,
    calls: u64,
    pub effects: Vec<Effect>,
}

impl World {
    pub fn new() -> Self {
        Self::with(&Options::default())
    }

    pub fn with(options: &Options) -> Self {
        Self::over(SqliteDb::open_in_memory(options).unwrap())
    }

    pub fn over(db: SqliteDb) -> Self {
        let room = open(db, START, 1).unwrap();
        World { room, now: START, calls: 1, effects: Vec::new() }
    }

    /// The room leaves memory and comes back.
    pub fn reopened(self) -> Self {
        let (now, calls) = (self.now, self.calls + 1);
        let room = open(self.room.into_db(), now, calls).unwrap();
        World { room, now, calls, effects: Vec::new() }
    }

    /// The room hibernates; its sockets' states go through text, as a home may keep them.
    pub fn asleep(self) -> (Self, Vec<(ConnectionId, ConnectionState)>) {
        let World { room, now, calls, .. } = self;
        let (states, db) = room.hibernate();
        let states = states.into_iter().map(|(id, state)| (id, ConnectionState::from_text(&state.to_text()).unwrap()));
        let states = states.collect();
        let room = open(db, now, calls + 1).unwrap();
        (World { room, now, calls: calls + 1, effects: Vec::new() }, states)
    }

    /// The room wakes to the sockets that it had.
    pub fn restore(&mut self, states: Vec<(ConnectionId, ConnectionState)>) {
        self.handle(states.into_iter().map(|(connection, state)| Event::Restored { connection, state }).collect());
    }

    /// The room hibernates and wakes.
    pub fn slept(self) -> Self {
        let (mut world, states) = self.asleep();
        world.restore(states);
        world
    }

    pub fn handle(&mut self, events: Vec<Event>) -> &[Effect] {
        self.calls += 1;
        self.now += 10;
        self.effects.clear();
        self.room.handle(Input { now: self.now, random: self.calls }, events, &mut self.effects);
        &self.effects
    }

    /// Opens a version 1 connection that has synced both channels.
    pub fn v1(&mut self, connection: u64) -> Screen {
        let c = ConnectionId(connection);
        let info = ConnectionInfo { key: Some(format!("pk{connection}")), ..ConnectionInfo::default() };
        let sync = |channel| Event::text(c, json!({"channel": channel, "sync": true, "from": null}).to_string());
        self.handle(vec![Event::Opened { connection: c, info }, sync("items"), sync("parts")]);
        let mut screen = Screen { connection: c, rows: BTreeMap::new(), answers: Vec::new() };
        screen.see(&self.effects);
        screen
    }

    /// What a connection is sent by the last `handle`, as JSON.
    pub fn sent_to(&self, connection: u64) -> Vec<Json> {
        frames(&self.effects, ConnectionId(connection)).map(|f| serde_json::from_str(&f).unwrap()).collect()
    }

    /// Live rows of both tables, read by SQL behind the room's back.
    pub fn rows(&mut self) -> BTreeMap<(String, String), Json> {
        let mut rows = BTreeMap::new();
        for table in ["items", "parts"] {
            let sql = format!("SELECT * FROM {table} WHERE deleted_at IS NULL");
            for row in self.query(&sql) {
                rows.insert((table.to_owned(), row[0].to_string()), Json::Array(row));
            }
        }
        rows
    }

    pub fn query(&mut self, sql: &str) -> Vec<Vec<Json>> {
        let mut rows = Vec::new();
        self.room
            .db_mut()
            .query(Origin::Engine, sql, &[], &mut |row| {
                rows.push((0..row.count()).map(|i| to_json(row.value(i))).collect());
            })
            .unwrap();
        rows
    }

    pub fn version(&self) -> u64 {
        self.room.cursor().version
    }
}

pub fn open(db: SqliteDb, now: Millis, random: u64) -> Result<Room<Shop, SqliteDb>, partysync_room::OpenError> {
    Room::open(db, RoomName::new("shop", "a"), || Shop { actions: 0 }, Input { now, random })
}

fn to_json(value: ValueRef<'_>) -> Json {
    match value.to_owned() {
        Value::Null | Value::Blob(_) => Json::Null,
        Value::Integer(i) => i.into(),
        Value::Real(r) => r.into(),
        Value::Text(t) => t.into(),
    }
}

/// The text frames for a connection, in order.
pub fn frames(effects: &[Effect], connection: ConnectionId) -> impl Iterator<Item = String> {
    effects.iter().filter_map(move |effect| match effect {
        Effect::Send { to, frame } | Effect::Answer { to, frame, .. } if *to == connection => Some(frame.to_string()),
        Effect::Broadcast { to, except, frame, .. } if to.contains(&connection) && *except != Some(connection) => {
            Some(frame.to_string())
        }
        Effect::Message { to, frame } if to.contains(&connection) => Some(frame.to_string()),
        _ => None,
    })
}

/// An action as a version 1 frame.
pub fn v1_action(connection: u64, id: &str, kind: &str, payload: Json) -> Event {
    let frame = json!({"id": id, "channel": "items", "rpc": true, "action": {"type": kind, "payload": payload}});
    Event::text(ConnectionId(connection), frame.to_string())
}

pub fn put(connection: u64, id: &str) -> Event {
    v1_action(connection, id, "put", json!({"id": id, "slug": null, "name": id}))
}

/// What an unmodified version 1 client shows, by what it is sent.
#[derive(Debug)]
pub struct Screen {
    pub connection: ConnectionId,
    pub rows: BTreeMap<(String, String), Json>,
    /// Answers to its actions: id, and the rows or the error's lines.
    pub answers: Vec<(Json, Result<Json, Json>)>,
}

impl Screen {
    pub fn see(&mut self, effects: &[Effect]) {
        for frame in frames(effects, self.connection) {
            let message: Json = serde_json::from_str(&frame).unwrap();
            let channel = message["channel"].as_str().unwrap_or_default().to_owned();
            if message["sync"] == true {
                self.put(&channel, &message["payload"]);
            } else if message["broadcast"] == true {
                self.update(&channel, &message["payload"]);
            } else if message["type"] == "success" {
                self.update(&channel, &message["result"]);
                self.answers.push((message["id"].clone(), Ok(message["result"].clone())));
            } else if message["type"] == "error" {
                self.answers.push((message["id"].clone(), Err(message["error"].clone())));
            }
        }
    }

    fn put(&mut self, channel: &str, rows: &Json) {
        for row in rows.as_array().unwrap() {
            self.rows.insert((channel.to_owned(), row[0].to_string()), row.clone());
        }
    }

    fn update(&mut self, channel: &str, rows: &Json) {
        for row in rows.as_array().unwrap() {
            let key = (channel.to_owned(), row[0].to_string());
            if row.as_array().unwrap().last() == Some(&Json::Null) {
                self.rows.insert(key, row.clone());
            } else {
                self.rows.remove(&key);
            }
        }
    }
}

/// What a version 2 client holds, by what it is sent.
#[derive(Debug)]
pub struct Mirror {
    pub connection: ConnectionId,
    pub client: ClientId,
    pub cursor: Option<Cursor>,
    pub rows: BTreeMap<(String, String), Json>,
    pub settled: Vec<(u64, Result<u64, String>)>,
    pub resets: usize,
    pub born: Option<u64>,
    joined: Option<Cursor>,
}

pub const ROOM: &str = "shop/a";

impl Mirror {
    pub fn new(connection: u64) -> Self {
        Mirror {
            connection: ConnectionId(connection),
            client: ClientId::from_random([connection as u8; 16]),
            cursor: None,
            rows: BTreeMap::new(),
            settled: Vec::new(),
            resets: 0,
            born: None,
            joined: None,
        }
    }

    /// Opens a connection, says hello and joins.
    pub fn join(&mut self, world: &mut World) {
        let join =
            v2::Up::Join { room: ROOM.into(), client: self.client, cursor: self.cursor, born: self.born, token: None };
        let hello = v2::Up::Hello { versions: vec![2] };
        world.handle(vec![
            Event::opened(self.connection),
            Event::text(self.connection, hello.encode()),
            Event::text(self.connection, join.encode()),
        ]);
        self.see(&world.effects);
    }

    pub fn action(&self, number: u64, kind: &str, payload: Json) -> Event {
        let action = json!({"type": kind, "payload": payload});
        let frame = json!({"type": "action", "room": ROOM, "number": number, "channel": "items", "action": action});
        Event::text(self.connection, frame.to_string())
    }

    pub fn see(&mut self, effects: &[Effect]) {
        for frame in frames(effects, self.connection) {
            match Down::parse(&frame).unwrap() {
                Down::Joined(joined) if joined.reset => {
                    self.born.get_or_insert(joined.version);
                    self.resets += 1;
                    self.rows.clear();
                    self.joined = Some(joined.cursor());
                }
                Down::Joined(joined) => assert!(self.cursor.unwrap().version <= joined.version),
                Down::Snapshot(snapshot) => {
                    snapshot.rows.iter().for_each(|row| self.put(&snapshot.channel, row.get()));
                    if !snapshot.more {
                        self.cursor = self.joined.take();
                    }
                }
                Down::Patch(patch) => self.patch(&patch),
                Down::Ack { number, version, .. } => self.settled.push((number, Ok(version))),
                Down::Reject(reject) => self.settled.push((reject.number, Err(reject.error.code))),
                Down::Later(later) => self.settled.push((later.number, Err(format!("later: {}", later.error.code)))),
                _ => {}
            }
        }
    }

    fn patch(&mut self, patch: &v2::Patch<'_>) {
        let held = self.cursor.unwrap().version;
        if patch.to <= held {
            return;
        }
        assert!(patch.from <= held, "P2: a gap from {held} to {}", patch.from);
        for changes in &patch.changes {
            for id in &changes.deletes {
                self.rows.remove(&(changes.channel.to_string(), id.get().to_owned()));
            }
            changes.puts.iter().for_each(|row| self.put(&changes.channel, row.get()));
        }
        self.cursor = Some(Cursor { version: patch.to, stamp: patch.stamp });
    }

    fn put(&mut self, channel: &str, row: &str) {
        let row: Json = serde_json::from_str(row).unwrap();
        self.rows.insert((channel.to_owned(), row[0].to_string()), row);
    }
}
