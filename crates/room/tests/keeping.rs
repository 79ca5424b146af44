//! SPEC 7: what is kept for how long, alarms, and how a room opens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Mirror, START, World, open, put, v1_action};
use partysync_model::{ActionError, Db, Origin, Schema, Tx};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_room::{
    Call, Changed, ConnectionId, Effect, Event, Input, OpenError, Room, RoomName, Sockets, SyncServer,
};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::{Value as Json, json};

fn wake_at(world: &World) -> Option<i64> {
    world.effects.iter().rev().find_map(|e| match e {
        Effect::WakeAt(at) => *at,
        _ => None,
    })
}

/// Time passes, and the home wakes the room once.
fn after_days(world: &mut World, days: i64) {
    world.now += days * DAY_MS;
    world.handle(vec![Event::Alarm]);
}

#[test]
fn spec_7_3_payloads_of_actions_go_a_day_after_the_rows_they_made() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a"), put(1, "b")]);
    assert_eq!(wake_at(&world), Some(world.now + DAY_MS), "the room asks to be woken for its purge");
    world.handle(vec![v1_action(1, "x", "delete", json!("a"))]);
    let with_payload = "SELECT version FROM _log WHERE action IS NOT NULL";
    world.now -= 100;
    after_days(&mut world, 1);
    assert_eq!(world.query(with_payload).len(), 3, "not a moment sooner");
    after_days(&mut world, 1);
    assert_eq!(world.query(with_payload), [[json!(2)]], "what made and deleted `a` is blank, `b` is alive");
    assert_eq!(world.version(), 3, "purging is not versioned");
}

#[test]
fn spec_7_4_a_row_marked_deleted_goes_after_a_day_and_its_tombstone_stays() {
    let mut world = World::new();
    world.v1(1);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    world.handle(vec![
        put(1, "a"),
        put(1, "b"),
        v1_action(1, "x", "sql", json!(["UPDATE items SET deleted_at = 1 WHERE id = 'a'"])),
    ]);
    mirror.see(&world.effects);
    after_days(&mut world, 1);
    after_days(&mut world, 1);
    assert_eq!(world.query("SELECT id FROM items"), [[json!("b")]]);
    assert_eq!(world.query("SELECT id FROM _change WHERE op = 1"), [[json!("a")]]);
    assert_eq!((world.version(), &mirror.rows), (3, &world.rows()));
    assert_eq!(
        world.query("SELECT count(*) FROM _change WHERE version > 3"),
        [[json!(0)]],
        "the purge is not captured"
    );
}

#[test]
fn spec_7_4_a_purge_never_changes_what_clients_see() {
    let mut world = World::new();
    let mut screen = world.v1(1);
    let part = "INSERT INTO parts (id, item) VALUES (1, 'a')";
    world.handle(vec![put(1, "a"), v1_action(1, "x", "sql", json!([part, "UPDATE items SET deleted_at = 1"]))]);
    screen.see(&world.effects);
    after_days(&mut world, 1);
    after_days(&mut world, 1);
    assert_eq!(world.query("SELECT id FROM items"), [[json!("a")]], "removing it would cascade to a live part");
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_7_3_the_floor_rises_with_age_and_below_it_a_cursor_resets() {
    let mut world = World::new();
    world.v1(1);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    world.handle(vec![put(1, "a"), put(1, "b"), v1_action(1, "x", "delete", json!("a"))]);
    for _ in 0..=limits::LOG_DAYS {
        after_days(&mut world, 1);
    }
    assert_eq!(world.query("SELECT version FROM _log"), [[json!(3)]]);
    assert_eq!(world.query("SELECT id, op FROM _change"), [[json!("a"), json!(1)]], "tombstones outlive the floor");
    world.handle(vec![Event::closed(mirror.connection)]);
    mirror.join(&mut world);
    assert_eq!((mirror.resets, &mirror.rows), (2, &world.rows()));
    // At the floor itself a cursor is valid.
    let mut world = world.reopened();
    mirror.join(&mut world);
    assert_eq!(mirror.resets, 2);
    // A version 1 client that was away for as long still learns of the deletion.
    let sync = json!({"channel": "items", "sync": true, "from": START});
    world.handle(vec![Event::opened(ConnectionId(9)), Event::text(ConnectionId(9), sync.to_string())]);
    assert_eq!(world.sent_to(9)[0]["payload"][0][0], "a");
}

#[test]
fn spec_7_3_log_versions_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    let slack = limits::LOG_VERSIONS / 10;
    // So many versions by hand, as if they had been made one by one.
    let sql = format!(
        "INSERT INTO _log WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         SELECT i, i, NULL, NULL, NULL, {START} + 1000 + i, NULL FROM n",
        limits::LOG_VERSIONS + slack
    );
    world.room.db_mut().execute(Origin::Engine, &sql, &[]).unwrap();
    world.now += 10 * limits::LOG_VERSIONS as i64;
    let mut world = world.reopened();
    world.v1(1);
    assert_eq!(world.query("SELECT min(version) FROM _log"), [[json!(0)]]);
    world.handle(vec![put(1, "b")]);
    let kept = world.query("SELECT min(version), max(version) FROM _log");
    let newest = limits::LOG_VERSIONS + slack + 1;
    assert_eq!(kept, [[json!(newest - limits::LOG_VERSIONS), json!(newest)]]);
}

#[test]
fn spec_6_6_a_rejection_that_is_too_old_is_forgotten_and_never_looks_applied() {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    world.handle(vec![
        mirror.action(1, "reject", Json::Null),
        mirror.action(2, "put", json!({"id": "a", "slug": null, "name": ""})),
    ]);
    for _ in 0..=limits::OUTCOME_DAYS + 1 {
        after_days(&mut world, 1);
    }
    world.handle(vec![mirror.action(1, "reject", Json::Null)]);
    mirror.see(&world.effects);
    assert_eq!(mirror.settled.last(), Some(&(1, Err("outcome_forgotten".to_owned()))));
}

#[test]
fn spec_7_6_an_alarm_fires_once_when_it_is_due_after_a_restart_too() {
    let mut world = World::new();
    let mut screen = world.v1(1);
    let at = world.now + 5_000;
    world.handle(vec![v1_action(1, "x", "alarm", json!(at))]);
    assert_eq!(wake_at(&world), Some(at));
    world.handle(vec![Event::Alarm]);
    assert_eq!((world.version(), world.rows().len()), (0, 0), "not before its time");
    let mut world = world.reopened();
    world.now = at;
    screen = {
        drop(screen);
        world.v1(1)
    };
    assert_eq!(wake_at(&world), Some(at), "a room that comes into memory says so again");
    world.handle(vec![Event::Alarm, Event::Alarm]);
    screen.see(&world.effects);
    assert_eq!((world.version(), world.rows().len(), &screen.rows), (1, 1, &world.rows()));
    assert_eq!(world.query("SELECT author FROM _log WHERE version = 1"), [[json!("on_alarm")]]);
}

/// An app whose alarm fails as often as its table says.
struct Failing;

impl SyncServer for Failing {
    fn schema(&self) -> Schema {
        Schema::new().record::<common::Item>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        tx.set_alarm(START);
        Ok(Changed::Captured)
    }

    fn on_alarm(&mut self, _: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        panic!("as it does each time")
    }
}

#[test]
fn spec_7_6_an_alarm_that_fails_is_tried_again_later_and_later() {
    let name = RoomName::new("failing", "a");
    let db = SqliteDb::open_in_memory(&Options::default()).unwrap();
    let mut now = START;
    let mut room = Room::open(db, name, || Failing, Input { now, random: 1 }).unwrap();
    let mut effects = Vec::new();
    let set = Event::text(ConnectionId(1), r#"{"id":1,"channel":"items","action":null}"#);
    room.handle(Input { now, random: 2 }, vec![Event::opened(ConnectionId(1)), set], &mut effects);
    let mut delays = Vec::new();
    for random in 3..7 {
        let Some(Effect::WakeAt(Some(at))) = effects.iter().rev().find(|e| matches!(e, Effect::WakeAt(_))) else {
            panic!()
        };
        delays.push(at - now);
        now = *at;
        effects.clear();
        room.handle(Input { now, random }, vec![Event::Alarm], &mut effects);
    }
    assert_eq!(delays, [0, 2_000, 4_000, 8_000]);
}

#[test]
fn spec_7_6_the_home_is_told_anew_after_each_alarm() {
    let mut world = World::new();
    world.v1(1);
    let at = world.now + 5_000;
    world.handle(vec![v1_action(1, "x", "alarm", json!(at))]);
    world.handle(vec![Event::Alarm]);
    assert_eq!(wake_at(&world), Some(at), "it rang too soon, and has no alarm any more");
}

/// An app that panics as soon as it is made, but for the first times.
struct Brittle {
    _field: u8,
}

impl SyncServer for Brittle {
    fn schema(&self) -> Schema {
        Schema::new().record::<common::Item>()
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Err(ActionError::reject("no", "No."))
    }
}

#[test]
fn p5_a_panic_while_the_apps_value_is_made_costs_nobody_the_socket() {
    let input = |random| Input { now: START, random };
    let open = |times: u32| {
        let left = std::cell::Cell::new(times);
        let make = move || {
            left.set(left.get().checked_sub(1).expect("brittle"));
            Brittle { _field: 0 }
        };
        let db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        Room::open(db, RoomName::new("brittle", "a"), make, input(1))
    };
    let error = open(0).err().unwrap().to_string();
    assert_eq!(error, "the app cannot start: app_error: panicked: brittle");
    // Once for the schema, once to start, once as the group is run again; the fourth would be after the rejection.
    let mut room = open(3).unwrap();
    let call = |id: u8| Event::text(ConnectionId(1), format!(r#"{{"id":{id},"channel":"items","action":null}}"#));
    let mut effects = Vec::new();
    room.handle(input(2), vec![Event::opened(ConnectionId(1)), call(1), call(2)], &mut effects);
    let answers: Vec<String> = common::frames(&effects, ConnectionId(1)).collect();
    assert!(answers[0].contains("No.") && answers[1].contains("busy"), "{answers:?}");
}

#[test]
fn spec_7_5_a_newer_format_and_a_foreign_file_are_refused_by_name() {
    let mut world = World::new();
    world.room.db_mut().execute(Origin::Engine, "UPDATE _meta SET value = 2 WHERE name = 'format'", &[]).unwrap();
    let error = open(world.room.into_db(), START, 1).err().unwrap();
    assert_eq!(error.to_string(), "the room is of format 2; this server knows formats up to 1");
    let input = Input { now: START, random: 1 };
    let db = World::new().room.into_db();
    let error = Room::open(db, RoomName::new("shop", "b"), || Failing, input).err().unwrap();
    assert_eq!(error.to_string(), r#"the file holds the room "shop/a", not "shop/b""#);
}

/// An app with one raw channel, made by this SQL.
struct Raw(&'static str);

impl SyncServer for Raw {
    fn schema(&self) -> Schema {
        Schema::new().raw("t")
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        self.0.split(';').filter(|sql| !sql.is_empty()).try_for_each(|sql| tx.execute(sql, &[]).map(|_| ()))
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        tx.execute("DELETE FROM t", &[]).map(|_| Changed::Captured)
    }
}

fn open_raw(sql: &'static str, db: SqliteDb) -> Result<Room<Raw, SqliteDb>, OpenError> {
    Room::open(db, RoomName::new("raw", "a"), move || Raw(sql), Input { now: START, random: 1 })
}

#[test]
fn spec_3_1_a_table_of_another_shape_is_refused_with_its_name_and_the_reason() {
    for (sql, reason) in [
        ("", "there is no such table"),
        ("CREATE TABLE t (id TEXT PRIMARY KEY)", "its last three"),
        (
            "CREATE TABLE t (key TEXT PRIMARY KEY, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)",
            "must be `id`",
        ),
        ("CREATE TABLE t (id TEXT, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)", "primary key"),
        (
            "CREATE TABLE t (id BLOB PRIMARY KEY, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)",
            "TEXT or INTEGER",
        ),
        ("CREATE TABLE t (id TEXT PRIMARY KEY, created_at TEXT, updated_at INTEGER, deleted_at INTEGER)", "INTEGER"),
        (
            "CREATE TABLE t (id TEXT PRIMARY KEY, updated_at INTEGER, created_at INTEGER, deleted_at INTEGER)",
            "last three",
        ),
    ] {
        let error = open_raw(sql, SqliteDb::open_in_memory(&Options::default()).unwrap()).err().unwrap().to_string();
        assert!(error.starts_with("table t: ") && error.contains(reason), "{sql}: {error}");
    }
}

#[test]
fn spec_4_6_on_start_may_make_tables_but_not_touch_the_engines() {
    for sql in
        ["CREATE TABLE _mine (id TEXT)", "DELETE FROM _log", "PRAGMA foreign_keys = OFF", "CREATE TABLE \"_log2\" (a)"]
    {
        let error = open_raw(sql, SqliteDb::open_in_memory(&Options::default()).unwrap()).err().unwrap();
        assert!(matches!(error, OpenError::Start(_)), "{sql}: {error}");
    }
}

const T: &str = "CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY NOT NULL, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)";

#[test]
fn spec_2_4_a_table_with_rows_that_becomes_a_channel_raises_the_floor() {
    const SEEDED: &str = "CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY NOT NULL, created_at INTEGER, \
                          updated_at INTEGER, deleted_at INTEGER);INSERT OR IGNORE INTO t (id) VALUES ('old')";
    let room = open_raw(SEEDED, SqliteDb::open_in_memory(&Options::default()).unwrap()).unwrap();
    assert_eq!(room.cursor().version, 1, "nobody may resume from before the rows");
    let room = open_raw(SEEDED, room.into_db()).unwrap();
    assert_eq!(room.cursor().version, 1, "once");
    let room = open_raw(T, SqliteDb::open_in_memory(&Options::default()).unwrap()).unwrap();
    assert_eq!(room.cursor().version, 0);
}

#[test]
fn spec_3_1_a_record_whose_table_has_other_columns_is_refused() {
    let mut world = World::new();
    world.room.db_mut().execute(Origin::Engine, "ALTER TABLE items RENAME COLUMN name TO title", &[]).unwrap();
    let error = open(world.room.into_db(), START, 1).err().unwrap().to_string();
    assert!(error.starts_with("table items: the file has the columns"), "{error}");
}

#[test]
fn p8_a_floor_above_the_newest_version_is_damage() {
    let mut world = World::new();
    world.room.db_mut().execute(Origin::Engine, "UPDATE _meta SET value = 9 WHERE name = 'floor'", &[]).unwrap();
    let error = open(world.room.into_db(), START, 1).err().unwrap();
    assert_eq!(error.code(), partysync_model::ErrorCode::StorageFailed, "{error}");
}
