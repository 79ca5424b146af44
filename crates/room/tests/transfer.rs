//! A room as a file, and back (SPEC 7.15).
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Mirror, START, World, put, v1_action};
use partysync_model::{Db, Origin, Verdict};
use partysync_room::{Event, Incoming, OwnObjects, TransferError, export};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::json;

const ROOM: &str = "shop/a";
const DAY_MS: i64 = 24 * 3_600 * 1_000;

fn item(id: &str) -> serde_json::Value {
    json!({"id": id, "slug": null, "name": id})
}

/// A room with something in each of the engine's tables that outlives its sockets, and private tables with all kinds of values.
fn full() -> (World, Mirror) {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    world.v1(2);
    let events = [
        mirror.action(1, "put", item("a")),
        mirror.action(2, "reject", json!(null)),
        mirror.action(3, "put", item("b")),
        mirror.action(4, "delete", json!("b")),
        mirror.action(5, "alarm", json!(START + 5_000)),
        mirror.action(6, "sql", json!(["INSERT INTO parts (id, item, owner) VALUES (7, 'a', 'a')"])),
        put(2, "c"),
        v1_action(2, "x", "reject", json!(null)),
    ];
    world.handle(events.into());
    let effects = world.effects.clone();
    mirror.see(&effects);
    for sql in [
        "CREATE TABLE odd (n INTEGER PRIMARY KEY AUTOINCREMENT, value ANY, twice INTEGER AS (n * 2)) STRICT",
        "INSERT INTO odd (value) VALUES (9223372036854775807), (0.1), (9e999), (x'00ff'), (NULL), (char(0) || '\"')",
        "DELETE FROM odd WHERE n = 6",
        "CREATE INDEX odd_value ON odd (value) WHERE value > 1",
        // Made before what it refers to, and holding a row that does so.
        "CREATE TABLE child (of INTEGER REFERENCES parent (id))",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, \"name\" TEXT)",
        "INSERT INTO parent VALUES (7, NULL)",
        "INSERT INTO child VALUES (7)",
        VIEW,
        TRIGGER,
    ] {
        world.room.db_mut().execute(Origin::Engine, sql, &[]).unwrap();
    }
    (world, mirror)
}

fn text_of(db: &mut SqliteDb) -> String {
    let mut text = String::new();
    export(db, &mut |line| {
        text.push_str(line);
        Ok(())
    })
    .unwrap();
    text
}

const VIEW: &str = "CREATE VIEW odds AS SELECT value FROM odd";
const TRIGGER: &str =
    "CREATE TRIGGER oddly AFTER INSERT ON odd BEGIN UPDATE odd SET value = 'new' WHERE n = new.n; END";

/// What the app made, if it had made what [`full`] did.
fn own() -> OwnObjects {
    let mut world = World::new();
    for sql in ["CREATE TABLE odd (n, value)", VIEW, TRIGGER] {
        world.room.db_mut().execute(Origin::Engine, sql, &[]).unwrap();
    }
    OwnObjects::of(world.room.db_mut()).unwrap()
}

/// The room that a file becomes, as a database.
fn read(text: &str) -> Result<SqliteDb, TransferError> {
    let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
    let mut read = Ok(());
    let committed = db.transaction(&mut |db| {
        let mut incoming = Incoming::new(own());
        read = text.lines().try_for_each(|line| incoming.take(db, line));
        read = std::mem::replace(&mut read, Ok(())).and_then(|()| incoming.finish(db, ROOM).map(drop));
        if read.is_ok() { Verdict::Keep } else { Verdict::Undo }
    });
    read?;
    committed?;
    Ok(db)
}

#[test]
fn spec_7_15_a_room_becomes_a_file_and_the_file_the_same_room() {
    let (mut world, mirror) = full();
    let text = text_of(world.room.db_mut());
    let mut db = read(&text).unwrap();
    assert_eq!(text_of(&mut db), text);
    for table in ["_log", "_change", "_client", "_reject", "_call", "_timer"] {
        assert!(text.contains(&format!("{{\"table\":\"{table}\"")), "{table}");
        assert!(!world.query(&format!("SELECT * FROM {table}")).is_empty(), "{table} is empty: it proves nothing");
    }
    // Who was in the old room goes on in the new one: its cursor, its outcomes, its next number.
    let mut moved = World::over(db);
    moved.now = world.now + 1;
    let (cursor, version) = (mirror.cursor, world.version());
    let mut mirror = mirror;
    mirror.join(&mut moved);
    assert_eq!((mirror.cursor, mirror.resets), (cursor, 1), "the first snapshot, and no other");
    let again = mirror.action(2, "reject", json!(null));
    let next = mirror.action(7, "put", item("d"));
    moved.handle(vec![again, next]);
    let effects = moved.effects.clone();
    mirror.settled.clear();
    mirror.see(&effects);
    assert_eq!((moved.version(), mirror.settled[1].clone()), (version + 1, (7, Ok(version + 1))));
    assert!(mirror.settled[0].1.is_err());
    assert_eq!(moved.query("SELECT value FROM odd WHERE n = 3"), world.query("SELECT value FROM odd WHERE n = 3"));
    moved.room.db_mut().execute(Origin::Engine, "INSERT INTO odd (value) VALUES (1)", &[]).unwrap();
    assert_eq!(
        moved.query("SELECT n, value, twice FROM odd ORDER BY n DESC LIMIT 1"),
        [[json!(7), json!("new"), json!(14)]]
    );
    moved.now = START + DAY_MS;
    moved.handle(vec![Event::Alarm]);
    assert!(!moved.effects.is_empty(), "the alarm rings there");
}

#[test]
fn spec_7_15_a_file_that_was_cut_off_says_where() {
    let (mut world, _) = full();
    let text = text_of(world.room.db_mut());
    let lines: Vec<&str> = text.lines().collect();
    for kept in 0..lines.len() {
        let error = read(&lines[..kept].join("\n")).unwrap_err().to_string();
        assert_eq!(error.split_once(':').unwrap().0, format!("line {}", kept + 1), "{error}");
        assert!(error.contains("cut off"), "{error}");
    }
    for (kept, line) in lines.iter().enumerate().take(8) {
        let torn = [&lines[..kept], &[&line[..line.len() / 2]]].concat().join("\n");
        let error = read(&torn).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {}:", kept + 1)), "{error}");
    }
}

#[test]
fn spec_7_15_a_file_that_was_changed_is_refused_whichever_line_it_was() {
    let (mut world, _) = full();
    let text = text_of(world.room.db_mut());
    let lines: Vec<&str> = text.lines().collect();
    for left_out in 0..lines.len() {
        let fewer: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, l)| *l).collect();
        assert!(read(&fewer.join("\n")).is_err(), "without line {}", left_out + 1);
    }
    assert!(read(&text.replace("\"name\"", "\"nAme\"")).is_err());
    assert!(read(&text.replacen("1700000000", "1700000001", 1)).is_err());
    assert!(read(&format!("{text}[1]\n")).unwrap_err().to_string().contains("follows the end"));
}

#[test]
fn spec_7_15_what_is_no_rooms_file_and_what_may_not_be_made_is_refused() {
    let head = r#"{"partysync":"room","format":1,"room":"shop/a","version":0}"#;
    for (text, why) in [
        ("SQLite format 3".to_owned(), "no room's file"),
        ("[1]".to_owned(), "a row without a table"),
        (head.replace("1,", "2,"), "the format is 2"),
        (format!("{head}\n{}\n[1]", r#"{"table":"x","columns":["a"]}"#), "no such table"),
        (format!("{head}\n{}", r#"{"table":"sqlite_schema","columns":["sql"]}"#), "no table of a room's"),
        (format!("{head}\n{}", r#"{"table":"_cf_KV","columns":["a"]}"#), "no table of a room's"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"DROP TABLE _log"}"#), "makes no such table"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"CREATE TABLE _more (a)"}"#), "not authorized"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"ATTACH 'a' AS b"}"#), "makes no such table"),
        (format!("{head}\n{}", r#"{"object":"pragma","sql":"CREATE TABLE a (b)"}"#), "makes no such pragma"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"CREATE TEMP TABLE a (b)"}"#), "not authorized"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"CREATE VIRTUAL TABLE a USING fts5(b)"}"#), "one table"),
        (format!("{head}\n{}", r#"{"object":"table","sql":"CREATE VIEW odds AS SELECT 1"}"#), "one table"),
        (format!("{head}\n{}", r#"{"object":"index","sql":"CREATE TABLE a (b UNIQUE)"}"#), "one index"),
        (format!("{head}\n{}", r#"{"object":"view","sql":"CREATE VIEW odds AS SELECT 2"}"#), "makes no such view"),
        (format!("{head}\n{}", r#"{"something":1}"#), "cannot be read"),
        (format!("{head}\n{}\n[1]", r#"{"table":"_meta","columns":["name","value"]}"#), "1 values"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn spec_7_15_a_file_whose_rows_refer_to_none_is_refused_and_so_is_another_rooms() {
    let (mut world, _) = full();
    for sql in ["PRAGMA foreign_keys = OFF", "DELETE FROM items WHERE id = 'a'"] {
        world.room.db_mut().execute(Origin::Engine, sql, &[]).unwrap();
    }
    let text = text_of(world.room.db_mut());
    let error = read(&text).unwrap_err();
    assert!(
        matches!(&error, TransferError::Dangling { table, of } if (&**table, &**of) == ("parts", "items")),
        "{error}"
    );
    let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
    let error = Incoming::new(own()).only("shop/b").take(&mut db, text.lines().next().unwrap()).unwrap_err();
    assert!(matches!(&error, TransferError::OtherRoom { found } if found == ROOM), "{error}");
}

#[test]
fn spec_7_15_what_runs_by_itself_comes_if_the_app_makes_the_same() {
    let head = r#"{"partysync":"room","format":1,"room":"shop/a","version":0}"#;
    let table = r#"{"object":"table","sql":"CREATE TABLE odd (n, value)"}"#;
    let take = |sql: &str| {
        let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        let mut incoming = Incoming::new(own());
        [head, table].iter().for_each(|line| incoming.take(&mut db, line).unwrap());
        incoming.take(&mut db, &json!({"object": "trigger", "sql": sql}).to_string())
    };
    take(TRIGGER).unwrap();
    for other in [&TRIGGER.replace("'new'", "'old'"), &TRIGGER.replace("oddly", "oddly2"), "CREATE TRIGGER"] {
        let error = take(other).unwrap_err().to_string();
        assert_eq!(error, "line 3: the app makes no such trigger");
    }
}

#[test]
fn spec_7_15_a_room_with_a_virtual_table_does_not_travel() {
    let mut world = World::new();
    world.room.db_mut().execute(Origin::Engine, "CREATE VIRTUAL TABLE words USING fts5(text)", &[]).unwrap();
    let error = export(world.room.db_mut(), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("words"), "{error}");
    assert!(matches!(export(world.room.db_mut(), &mut |_| Err("full".to_owned())), Err(TransferError::Write(_))));
}
