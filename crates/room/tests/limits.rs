//! SPEC 11 and P8: limits of a room, each at it and one past it. Others are where their limits are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Mirror, ROOM, START, World, put, v1_action};
use partysync_model::{ActionError, Db, Origin, Schema, Tx};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_protocol::{Millis, v2};
use partysync_room::{Call, Changed, ConnectionId, Event, Input, OpenError, Room, RoomName, SyncServer};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::{Value as Json, json};

/// Answers to one action of version 1: `Ok` with its rows, or the text of its error.
fn answer(event: Event) -> Result<Json, String> {
    let mut world = World::new();
    let mut screen = world.v1(1);
    world.handle(vec![event]);
    screen.see(&world.effects);
    let (_, answer) = screen.answers.pop().expect("an answer");
    assert_eq!(world.rows().is_empty(), answer.as_ref().map_or(true, |rows| rows == &json!([])));
    answer.map_err(|lines| lines[0].as_str().unwrap().to_owned())
}

fn sql(statement: &str) -> Event {
    v1_action(1, "c", "sql", json!([statement]))
}

#[test]
fn spec_11_row_bytes_at_the_limit_and_one_past_it() {
    let around = json!(["c", null, "", START, START, null]).to_string();
    let insert = |bytes: usize| {
        let name = bytes - around.len();
        answer(sql(&format!("INSERT INTO items (id, name) VALUES ('c', replace(hex(zeroblob({name})), '00', 'x'))")))
    };
    let row = insert(limits::ROW_BYTES).unwrap();
    assert_eq!(row[0].to_string().len(), limits::ROW_BYTES);
    assert_eq!(insert(limits::ROW_BYTES + 1).unwrap_err(), "The message is larger than the room takes.");
}

#[test]
fn spec_11_id_bytes_at_the_limit_and_one_past_it() {
    let longest = "i".repeat(limits::ID_BYTES);
    let past = longest.clone() + "i";
    let raw = |id: &str| answer(sql(&format!("INSERT INTO items (id, name) VALUES ('{id}', '')")));
    let typed = |id: &str| answer(put(1, id).with_call("c"));
    for insert in [&raw as &dyn Fn(&str) -> Result<Json, String>, &typed] {
        assert_eq!(insert(&longest).unwrap()[0][0], longest);
        assert_eq!(insert(&past).unwrap_err(), "A value cannot be stored here.");
    }
}

/// A call with another id, since ids of calls have a limit of their own.
trait WithCall {
    fn with_call(self, id: &str) -> Event;
}

impl WithCall for Event {
    fn with_call(self, id: &str) -> Event {
        let Event::Text { connection, text } = self else { panic!("no frame") };
        let mut frame: Json = serde_json::from_str(&text).unwrap();
        frame["id"] = json!(id);
        Event::text(connection, frame.to_string())
    }
}

#[test]
fn spec_11_call_id_bytes_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    world.v1(1);
    let quotes = 2;
    let longest = "c".repeat(limits::CALL_ID_BYTES - quotes);
    world.handle(vec![put(1, "a").with_call(&longest)]);
    assert_eq!((&world.sent_to(1)[0]["type"], &world.sent_to(1)[0]["id"]), (&json!("success"), &json!(longest)));
    world.handle(vec![put(1, "b").with_call(&(longest + "c"))]);
    assert_eq!(world.sent_to(1)[0]["exception"], json!(["The message could not be understood."]));
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn spec_11_json_depth_of_both_protocols_at_the_limit_and_one_past_it() {
    let nested = |levels: usize| {
        // The frame and the action are a level each.
        let inside = levels - 2;
        format!(r#"{{"type":"nothing","payload":{}{}}}"#, "[".repeat(inside), "]".repeat(inside))
    };
    let mut world = World::new();
    world.v1(1);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    let mut send = |levels: usize, number: u64| {
        let action = nested(levels);
        let v1 = format!(r#"{{"id":"{levels}","channel":"items","action":{action}}}"#);
        let v2 =
            format!(r#"{{"type":"action","room":"{ROOM}","number":{number},"channel":"items","action":{action}}}"#);
        world.handle(vec![Event::text(ConnectionId(1), v1), Event::text(ConnectionId(2), v2)]);
        (world.sent_to(1)[0].clone(), world.sent_to(2)[0].clone())
    };
    // It is read, and what is in it is for the app to judge.
    let (v1, v2) = send(limits::JSON_DEPTH, 1);
    assert_eq!((&v1["error"][0], &v2["error"]["code"]), (&json!(UNKNOWN_ACTION), &json!("bad_action")));
    let (v1, v2) = send(limits::JSON_DEPTH + 1, 2);
    assert_eq!(
        (&v1["exception"][0], &v2["error"]["code"]),
        (&json!("The message could not be understood."), &json!("bad_message"))
    );
}

const UNKNOWN_ACTION: &str = "This action is not one the room knows.";

#[test]
fn spec_11_sql_bytes_at_the_limit_and_one_past_it() {
    let insert = "INSERT INTO items (id, name) VALUES ('c', '')";
    let padded = |bytes: usize| insert.to_owned() + &" ".repeat(bytes - insert.len());
    assert_eq!(answer(sql(&padded(limits::SQL_BYTES))).unwrap()[0][0], "c");
    assert_eq!(answer(sql(&padded(limits::SQL_BYTES + 1))).unwrap_err(), "The action failed.");
}

/// A deferred constraint is checked when its transaction commits (SPEC 5.5): so it tells where a transaction ends.
#[test]
fn spec_11_group_actions_at_the_limit_and_one_past_it() {
    let satisfied_after = |actions: usize| {
        let mut world = World::new();
        let mut screen = world.v1(1);
        let mut events =
            vec![v1_action(1, "first", "sql", json!(["INSERT INTO parts (id, owner) VALUES (1, 'last')"]))];
        events.extend((2..actions).map(|i| v1_action(1, &i.to_string(), "nothing", Json::Null)));
        events.push(put(1, "last"));
        world.handle(events);
        screen.see(&world.effects);
        assert_eq!(screen.answers.len(), actions);
        screen.answers[0].1.is_ok()
    };
    assert!(satisfied_after(limits::GROUP_ACTIONS), "one transaction");
    assert!(!satisfied_after(limits::GROUP_ACTIONS + 1), "two");
}

#[test]
fn spec_11_snapshot_rows_at_the_limit_and_one_past_it() {
    for (rows, chunks) in [(limits::SNAPSHOT_ROWS, 1), (limits::SNAPSHOT_ROWS + 1, 2)] {
        let mut world = World::new();
        world.v1(9);
        world.handle(vec![v1_action(9, "many", "many", json!(rows))]);
        Mirror::new(1).join(&mut world);
        let of_items = world.sent_to(1).iter().filter(|f| f["type"] == "snapshot" && f["channel"] == "items").count();
        assert_eq!(of_items, chunks, "{rows} rows");
    }
}

/// An app with these channels, made by this SQL.
#[derive(Clone)]
struct Tables {
    channels: Vec<String>,
    sql: Arc<[String]>,
}

impl SyncServer for Tables {
    fn schema(&self) -> Schema {
        self.channels.iter().fold(Schema::new(), |schema, name| schema.raw(name.clone()))
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        self.sql.iter().try_for_each(|sql| tx.execute(sql, &[]).map(|_| ()))
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Ok(Changed::Captured)
    }
}

/// Opens a room with so many channels of so many columns.
fn open_tables(channels: usize, columns: usize) -> Result<Room<Tables, SqliteDb>, OpenError> {
    let channels: Vec<String> = (0..channels).map(|i| format!("t{i}")).collect();
    let times = ["created_at INTEGER", "updated_at INTEGER", "deleted_at INTEGER"];
    let own = columns - times.len() - 1;
    let list: String = (0..own).map(|i| format!("c{i}, ")).collect();
    let sql = channels.iter().map(|t| format!("CREATE TABLE {t} (id TEXT PRIMARY KEY, {list}{})", times.join(", ")));
    let tables = Tables { sql: sql.collect(), channels };
    let db = SqliteDb::open_in_memory(&Options::default()).unwrap();
    Room::open(db, RoomName::new("tables", "a"), move || tables.clone(), Input { now: START, random: 1 })
}

#[test]
fn spec_11_channels_at_the_limit_and_one_past_it() {
    open_tables(limits::CHANNELS, 5).unwrap();
    let error = open_tables(limits::CHANNELS + 1, 5).err().unwrap().to_string();
    assert_eq!(error, "the room has 65 channels; 64 is the most");
}

#[test]
fn spec_11_columns_at_the_limit_and_one_past_it() {
    open_tables(1, limits::COLUMNS).unwrap();
    let error = open_tables(1, limits::COLUMNS + 1).err().unwrap().to_string();
    assert_eq!(error, "table t0: it has 101 columns; 100 is the most");
}

#[test]
fn spec_11_ping_ms_and_frame_bytes_are_told_to_clients() {
    let mut world = World::new();
    Mirror::new(1).join(&mut world);
    let welcome = &world.sent_to(1)[0];
    assert_eq!((&welcome["ping_ms"], &welcome["frame_bytes"]), (&json!(limits::PING_MS), &json!(limits::FRAME_BYTES)));
}

#[test]
fn spec_11_have_patches_and_have_ms_are_told_to_clients_where_the_home_sees_backlogs() {
    let mut world = World::new();
    Mirror::new(1).join(&mut world);
    let told = |world: &World, of: u64| world.sent_to(of)[0].clone();
    assert_eq!((told(&world, 1).get("have_patches"), told(&world, 1).get("have_ms")), (None, None));
    world.room.home_sees_backlogs();
    Mirror::new(2).join(&mut world);
    let welcome = told(&world, 2);
    let seen = (json!(limits::HAVE_SEEN_PATCHES), json!(limits::HAVE_SEEN_MS));
    assert_eq!((&welcome["have_patches"], &welcome["have_ms"]), (&seen.0, &seen.1));
}

#[test]
fn spec_11_socket_rooms_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    let rooms = world.sent_to(1)[0]["rooms"].as_u64().unwrap();
    assert_eq!(rooms, 1, "unless the home takes more");
    let second = v2::Up::Join { room: "shop/b".into(), client: mirror.client, cursor: None, born: None, token: None };
    world.handle(vec![Event::text(mirror.connection, second.encode()), mirror.action(1, "nothing", Json::Null)]);
    let sent = world.sent_to(1);
    assert_eq!((&sent[0]["type"], &sent[0]["error"]["code"]), (&Json::from("left"), &Json::from("too_many_rooms")));
    assert_eq!(sent[1]["type"], "ack", "the first room stays");
}

/// So much time passes, and the home wakes the room.
fn wake_after(world: &mut World, ms: Millis) {
    // Each call of the room takes 10 ms of this world.
    world.now += ms - 10;
    world.handle(vec![Event::Alarm]);
}

#[test]
fn spec_11_log_days_at_the_limit_and_one_past_it() {
    for (late_ms, oldest) in [(-1, 0), (0, 1)] {
        let mut world = World::new();
        world.v1(1);
        world.handle(vec![put(1, "a")]);
        let made_at = world.now;
        world.handle(vec![put(1, "b")]);
        let age = world.now - made_at;
        wake_after(&mut world, limits::LOG_DAYS * DAY_MS - age + late_ms);
        // From a version that is as old on, changes are kept: it is the floor, of which the stamp is left.
        assert_eq!(world.query("SELECT min(version) FROM _log"), [[json!(oldest)]], "{late_ms}");
    }
}

#[test]
fn spec_11_tombstone_payload_at_the_limit_and_one_past_it() {
    for (late_ms, kept) in [(-1, 2), (0, 0)] {
        let mut world = World::new();
        world.v1(1);
        world.handle(vec![put(1, "a")]);
        world.handle(vec![v1_action(1, "x", "delete", json!("a"))]);
        wake_after(&mut world, limits::TOMBSTONE_PAYLOAD_DAYS * DAY_MS + late_ms);
        let payloads = world.query("SELECT version FROM _log WHERE action IS NOT NULL");
        assert_eq!(payloads.len(), kept, "{late_ms}");
    }
}

#[test]
fn spec_11_outcomes_kept_for_days_at_the_limit_and_one_past_it() {
    for (late_ms, code) in [(0, "rejected"), (1, "outcome_forgotten")] {
        let mut world = World::new();
        let mut mirror = Mirror::new(1);
        mirror.join(&mut world);
        // A version of the room's makes it ask for a purge.
        let events = vec![mirror.action(1, "reject", Json::Null), mirror.action(2, "new", Json::Null)];
        world.handle(events);
        wake_after(&mut world, limits::OUTCOME_DAYS * DAY_MS + late_ms);
        world.handle(vec![mirror.action(1, "reject", Json::Null)]);
        mirror.see(&world.effects);
        assert_eq!(mirror.settled.last(), Some(&(1, Err(code.to_owned()))), "{late_ms}");
    }
}

#[test]
fn spec_12_8_the_outcome_of_a_call_is_kept_for_a_day_and_no_longer() {
    for (late_ms, answer) in [(0, "success"), (1, "error")] {
        let mut world = World::new();
        world.v1(1);
        world.handle(vec![put(1, "a")]);
        wake_after(&mut world, limits::CALL_DAYS * DAY_MS + late_ms);
        // Run again, it would find its own row.
        world.handle(vec![put(1, "a")]);
        assert_eq!(world.sent_to(1)[0]["type"], answer, "{late_ms}");
    }
}

#[test]
fn spec_11_clients_kept_for_days_at_the_limit_and_one_past_it() {
    for (late_ms, known) in [(0, true), (1, false)] {
        let mut world = World::new();
        let mut mirror = Mirror::new(1);
        mirror.join(&mut world);
        let first = mirror.action(1, "new", Json::Null);
        world.handle(vec![first, Event::closed(mirror.connection)]);
        wake_after(&mut world, limits::CLIENT_DAYS * DAY_MS + late_ms);
        let join =
            v2::Up::Join { room: ROOM.into(), client: mirror.client, cursor: None, born: mirror.born, token: None };
        let hello = v2::Up::Hello { versions: vec![2] };
        let (c, texts) = (ConnectionId(2), [hello.encode(), join.encode()]);
        let events = [Event::opened(c)].into_iter().chain(texts.map(|text| Event::text(c, text)));
        world.handle(events.collect());
        assert_eq!(world.sent_to(2)[1]["known"], json!(known), "{late_ms}");
    }
}

/// Tombstones by hand, as if so many rows had been made and deleted one by one, long ago.
#[test]
fn spec_11_tombstones_at_the_limit_and_one_past_it() {
    for tombstones in [limits::TOMBSTONES, limits::TOMBSTONES + 1] {
        let mut world = World::new();
        world.v1(1);
        world.handle(vec![put(1, "a")]);
        let numbers =
            format!("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= {tombstones}) SELECT");
        for sql in [
            format!("INSERT INTO _log {numbers} i, i, NULL, NULL, NULL, {START} + 1000 + i, NULL FROM n"),
            format!(
                "INSERT INTO _change (version, channel, id, op) {numbers} i, c.number, 'r' || i, 1 FROM n, _channel c WHERE c.name = 'items'"
            ),
        ] {
            world.room.db_mut().execute(Origin::Engine, &sql, &[]).unwrap();
        }
        let mut world = world.reopened();
        wake_after(&mut world, 2 * limits::LOG_DAYS * DAY_MS);
        let kept = world.query("SELECT count(*), max(version) FROM _change WHERE op = 1");
        assert_eq!(kept, [[json!(limits::TOMBSTONES), json!(tombstones + 1)]]);
    }
}
