//! What SQL may do, by its origin.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use common::{action, engine, keep, list, memory_with, rows, rows_of, run};
use partysync_model::{Db, DbErrorKind, Origin};
use partysync_sqlite::SqliteDb;

/// A room's database in small: tables of the engine, a captured channel, and private tables.
fn room() -> SqliteDb {
    memory_with(&[
        "CREATE TABLE _log (version INTEGER PRIMARY KEY, client INTEGER) STRICT",
        "CREATE TABLE _change (version INTEGER, channel INTEGER, id ANY, op INTEGER, PRIMARY KEY (version, channel, id))
         STRICT, WITHOUT ROWID",
        "INSERT INTO _log VALUES (0, 7)",
        "CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, text TEXT UNIQUE, list INTEGER REFERENCES lists (id)
         ON DELETE CASCADE)",
        "CREATE TABLE lists (id INTEGER PRIMARY KEY, name TEXT)",
        &capture("insert", "new", 0),
        &capture("update", "new", 0),
        &capture("delete", "old", 1),
    ])
}

fn capture(event: &str, row: &str, op: u8) -> String {
    format!(
        "CREATE TRIGGER _capture_1_{event} AFTER {event} ON todos BEGIN INSERT INTO _change (version, channel, id, op)
         SELECT (SELECT max(version) FROM _log) + 1, 1, {row}.id, {op} WHERE TRUE
         ON CONFLICT (version, channel, id) DO UPDATE SET op = excluded.op; END"
    )
}

fn changes(db: &mut dyn Db) -> String {
    list(db, "SELECT id || ':' || op FROM _change ORDER BY id")
}

/// Refused to both of the app's origins.
const NEVER: &[&str] = &[
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "END",
    "SAVEPOINT s",
    "RELEASE nested",
    "ROLLBACK TO nested",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "PRAGMA user_version",
    "PRAGMA user_version = 1",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA data_version",
    "PRAGMA quick_check",
    "PRAGMA main.quick_check(_log)",
    "PRAGMA writable_schema = ON",
    "PRAGMA table_info(_log)",
    "SELECT * FROM _log",
    "SELECT count(*) FROM _log",
    "SELECT 1 FROM \"_log\"",
    "SELECT client FROM main._log AS l",
    "SELECT (SELECT max(client) FROM _log)",
    "SELECT * FROM (SELECT client FROM _log)",
    "SELECT * FROM todos WHERE id IN (SELECT client FROM _log)",
    "SELECT * FROM todos LEFT JOIN _log ON TRUE",
    "SELECT id FROM todos UNION SELECT client FROM _log",
    "WITH x AS (SELECT client FROM _log) SELECT * FROM x",
    "WITH _capture_x AS (SELECT client FROM _log) SELECT * FROM _capture_x",
    "WITH \"_CAPTURE_x\" AS (SELECT client FROM _log) SELECT * FROM \"_CAPTURE_x\"",
    "WITH '_capture_x' AS (SELECT client FROM _log) SELECT * FROM '_capture_x'",
    "WITH [_capture_x] AS (SELECT client FROM _log) SELECT * FROM `_capture_x`",
    "WITH \u{feff}_capture_x AS (SELECT client FROM _log) SELECT * FROM \u{feff}_capture_x",
    "INSERT INTO lists (name) WITH _capture_x AS (SELECT client FROM _log) SELECT * FROM _capture_x",
    "INSERT INTO lists (name) SELECT client FROM _log",
    "INSERT INTO _change VALUES (1, 1, 'x', 0)",
    "INSERT INTO _change DEFAULT VALUES",
    "UPDATE _log SET client = 8",
    "UPDATE lists SET name = (SELECT client FROM _log)",
    "UPDATE lists SET name = l.client FROM _log AS l",
    "DELETE FROM _log",
    "DELETE FROM lists WHERE id IN (SELECT client FROM _log)",
    "REPLACE INTO _log VALUES (0, 8)",
    "INSERT INTO lists VALUES (1, 'a') RETURNING (SELECT client FROM _log)",
    "INSERT INTO lists VALUES (1, 'a') ON CONFLICT DO UPDATE SET name = (SELECT client FROM _log)",
    "EXPLAIN SELECT * FROM _log",
    "SELECT * FROM pragma_table_info('_log')",
    "SELECT * FROM pragma_table_list",
    "SELECT * FROM pragma_user_version",
    "SELECT * FROM dbstat",
    "SELECT load_extension('x')",
    "SELECT fts3_tokenizer('simple')",
    "VACUUM",
    "VACUUM INTO '/tmp/copy.db'",
    "CREATE TEMP TABLE x (a)",
    "CREATE TABLE temp.x (a)",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE TEMP TRIGGER x AFTER INSERT ON lists BEGIN SELECT 1; END",
    "CREATE TABLE _x (a)",
    "CREATE TABLE x AS SELECT * FROM _log",
    "CREATE VIEW _x AS SELECT 1",
    "CREATE VIEW x AS SELECT * FROM _log",
    "CREATE VIEW x AS WITH _capture_x AS (SELECT client FROM \"_log\") SELECT * FROM _capture_x",
    "CREATE INDEX x ON _log (client)",
    "CREATE INDEX _x ON lists (name)",
    "CREATE TRIGGER x AFTER INSERT ON _log BEGIN SELECT 1; END",
    "CREATE TRIGGER _capture_x AFTER INSERT ON lists BEGIN SELECT 1; END",
    "CREATE TRIGGER x AFTER INSERT ON lists BEGIN DELETE FROM _log; END",
    "CREATE TRIGGER x AFTER INSERT ON lists BEGIN INSERT INTO lists (name) SELECT * FROM (SELECT client FROM \u{feff}_log); END",
    "CREATE VIRTUAL TABLE x USING fts5(a, content='_log')",
    "CREATE VIRTUAL TABLE _x USING fts5(a)",
    "CREATE VIRTUAL TABLE x USING dbstat(main)",
    "CREATE VIRTUAL TABLE x USING fts4(a)",
    "DROP TABLE _log",
    "DROP TRIGGER _capture_1_insert",
    "ALTER TABLE _log ADD COLUMN x",
    "ALTER TABLE _log RENAME TO mine",
    "ALTER TABLE lists RENAME TO _lists",
];

#[test]
fn spec_4_6_the_app_is_refused_at_start_up_and_in_actions() {
    for origin in [Origin::Action, Origin::Setup] {
        let mut db = room();
        let before = rows(&mut db, "SELECT * FROM sqlite_schema");
        for sql in NEVER {
            assert_eq!(run(&mut db, origin, sql), Err(DbErrorKind::Denied), "{origin:?}: {sql}");
            let in_transaction = keep(&mut db, |db| {
                keep(db, |db| {
                    let refused = run(db, origin, sql).unwrap_err();
                    // It says first that a transaction is open.
                    let is_vacuum = sql.starts_with("VACUUM") && refused == DbErrorKind::Sql;
                    assert!(refused == DbErrorKind::Denied || is_vacuum, "{origin:?}: {sql}: {refused:?}");
                })
                .unwrap();
            });
            assert_eq!(in_transaction, Ok(()), "{origin:?}: {sql}");
        }
        assert_eq!(rows(&mut db, "SELECT * FROM sqlite_schema"), before);
        assert_eq!(list(&mut db, "SELECT client FROM _log"), "7");
    }
}

/// Allowed at start-up and in migrations, in this order.
const SETUP: &[&str] = &[
    "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER UNIQUE CHECK (n > 0), _odd TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS b (id TEXT PRIMARY KEY, a REFERENCES a (id)) WITHOUT ROWID",
    "INSERT INTO a (n) VALUES (1), (2)",
    "CREATE INDEX a_n ON a (n) WHERE n > 1",
    "CREATE VIEW v AS SELECT n FROM a",
    "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES (new.n, new.id); END",
    "CREATE VIRTUAL TABLE f USING fts5(text)",
    "CREATE VIRTUAL TABLE terms USING fts5vocab(f, row)",
    "INSERT INTO f VALUES ('hello world')",
    "ALTER TABLE a ADD COLUMN m INTEGER CHECK (m IS NULL OR m > 0)",
    "ALTER TABLE a RENAME COLUMN m TO o",
    "ALTER TABLE a RENAME TO c",
    "ALTER TABLE c DROP COLUMN o",
    "CREATE TABLE d AS SELECT * FROM c",
    "ANALYZE",
    "ANALYZE c",
    "REINDEX",
    "REINDEX c",
    "SELECT * FROM sqlite_schema",
    "SELECT name FROM sqlite_master WHERE type = 'table'",
    "SELECT * FROM sqlite_sequence",
    "SELECT * FROM todos",
    "DROP TRIGGER t",
    "DROP VIEW v",
    "DROP INDEX a_n",
    "DROP TABLE terms",
    "DROP TABLE f",
    "DROP TABLE c",
    "DROP TABLE IF EXISTS b",
    "DROP TABLE todos",
];

#[test]
fn spec_4_6_start_up_may_make_and_change_tables_and_actions_may_not() {
    let mut db = room();
    for sql in SETUP {
        let changes_schema = !sql.starts_with("INSERT") && *sql != "SELECT * FROM todos";
        if changes_schema {
            let refused = action(&mut db, sql);
            assert_eq!(refused, Err(DbErrorKind::Denied), "as an action: {sql}");
        }
        keep(&mut db, |db| {
            let ran = db.execute(Origin::Setup, sql, &[]);
            assert!(ran.is_ok(), "{sql}: {ran:?}");
        })
        .unwrap();
    }
    assert_eq!(list(&mut db, "SELECT name FROM sqlite_schema WHERE name LIKE '%stat1'"), "sqlite_stat1");
}

#[test]
fn spec_4_6_a_bare_analyze_of_the_app_skips_the_tables_of_the_engine() {
    let mut db = room();
    engine(&mut db, &["CREATE INDEX _log_client ON _log (client)", "INSERT INTO lists VALUES (1, 'a')"]);
    run(&mut db, Origin::Setup, "ANALYZE").unwrap();
    assert_eq!(list(&mut db, "SELECT tbl FROM sqlite_stat1"), "lists");
}

#[test]
fn spec_4_1_capture_triggers_write_to_the_engines_tables_for_the_app() {
    let mut db = room();
    for (sql, captured) in [
        ("INSERT INTO lists VALUES (1, 'a'), (2, 'b')", ""),
        ("INSERT INTO todos VALUES ('a', 'x', 1), ('b', 'y', 1), ('c', 'z', 2)", "a:0 b:0 c:0"),
        ("UPDATE todos SET text = 'yy' WHERE id = 'b' RETURNING id, text", "b:0"),
        ("WITH x(i) AS (SELECT 'b') DELETE FROM todos WHERE id IN (SELECT i FROM x)", "b:1"),
        ("INSERT INTO todos VALUES ('a', 'w', 1) ON CONFLICT (id) DO UPDATE SET text = excluded.text", "a:0"),
        ("REPLACE INTO todos VALUES ('d', 'w', 1)", "a:1 d:0"),
        ("DELETE FROM lists WHERE id = 1", "d:1"),
        ("DELETE FROM todos", "c:1"),
    ] {
        engine(&mut db, &["DELETE FROM _change"]);
        action(&mut db, sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(changes(&mut db), captured, "{sql}");
    }
}

#[test]
fn spec_4_6_triggers_and_views_of_the_app_reach_no_table_of_the_engine_whoever_fires_them() {
    let mut db = room();
    // Made by the engine, since the app is refused to make them at all.
    engine(
        &mut db,
        &[
            "CREATE TRIGGER writes AFTER INSERT ON lists WHEN new.name = 'writes' BEGIN DELETE FROM _log; END",
            "CREATE TRIGGER nested AFTER INSERT ON todos WHEN new.text = 'nested' BEGIN DELETE FROM _log; END",
            "CREATE VIEW log AS SELECT client FROM _log",
        ],
    );
    for origin in [Origin::Action, Origin::Setup, Origin::Engine] {
        let refused = Err(DbErrorKind::Denied);
        assert_eq!(run(&mut db, origin, "INSERT INTO lists (name) VALUES ('any')"), refused, "{origin:?}");
        assert_eq!(run(&mut db, origin, "INSERT INTO todos (id) VALUES ('any')"), refused, "{origin:?}");
    }
    assert_eq!(action(&mut db, "SELECT * FROM log"), Err(DbErrorKind::Denied));
    assert_eq!(list(&mut db, "SELECT client FROM _log"), "7");
}

#[test]
fn spec_4_1_a_trigger_of_the_app_that_writes_to_a_channel_is_captured() {
    let mut db = room();
    let sql = "CREATE TRIGGER welcome AFTER INSERT ON lists BEGIN
               INSERT INTO todos (id, list) VALUES ('welcome ' || new.name, new.id); END";
    run(&mut db, Origin::Setup, sql).unwrap();
    action(&mut db, "INSERT INTO lists (name) VALUES ('a')").unwrap();
    run(&mut db, Origin::Engine, "INSERT INTO lists (name) VALUES ('b')").unwrap();
    assert_eq!(changes(&mut db), "welcome a:0 welcome b:0");
}

#[test]
fn the_engine_may_use_names_of_its_own_in_its_queries() {
    let mut db = room();
    let sql = "WITH newest AS (SELECT max(client) AS c FROM _log) SELECT c FROM newest, (SELECT 1 FROM _log)";
    assert_eq!(list(&mut db, sql), "7");
    let sql = "WITH newest AS (SELECT 1, 8) INSERT INTO _log SELECT * FROM newest";
    assert_eq!(run(&mut db, Origin::Engine, sql), Ok(1));
}

#[test]
fn spec_4_6_a_statement_prepared_for_one_origin_is_not_used_for_another() {
    let sql = "SELECT client FROM _log";
    let mut db = room();
    let check = |db: &mut dyn Db| {
        for _ in 0..3 {
            assert_eq!(run(db, Origin::Engine, sql), Ok(0));
            for sql in [sql, " SELECT client FROM _log", "SELECT client FROM _log\n"] {
                assert_eq!(action(db, sql), Err(DbErrorKind::Denied));
                assert_eq!(run(db, Origin::Setup, sql), Err(DbErrorKind::Denied));
            }
            assert_eq!(run(db, Origin::Setup, "SELECT name FROM sqlite_schema"), Ok(0));
            assert_eq!(action(db, "SELECT name FROM sqlite_schema"), Err(DbErrorKind::Denied));
        }
    };
    check(&mut db);
    keep(&mut db, |db| keep(db, check).unwrap()).unwrap();
    // Prepared anew, because the schema changed.
    keep(&mut db, |db| {
        assert_eq!(action(db, "SELECT * FROM lists"), Ok(0));
        engine(db, &["DROP TABLE todos", "DROP TABLE lists", "CREATE VIEW lists AS SELECT * FROM _log"]);
        assert_eq!(action(db, "SELECT * FROM lists"), Err(DbErrorKind::Denied));
        assert_eq!(run(db, Origin::Engine, "SELECT * FROM lists"), Ok(0));
        assert_eq!(action(db, "SELECT * FROM lists"), Err(DbErrorKind::Denied));
    })
    .unwrap();
}

#[test]
fn spec_4_6_what_actions_need_works() {
    let mut db = room();
    let setup = [
        "CREATE VIEW open AS SELECT id, text FROM todos WHERE text IS NOT NULL",
        "CREATE TRIGGER open_insert INSTEAD OF INSERT ON open BEGIN INSERT INTO todos (id, text) VALUES (new.id, new.text); END",
        "CREATE VIRTUAL TABLE words USING fts5(id, text)",
        "CREATE TRIGGER index_words AFTER INSERT ON todos BEGIN INSERT INTO words VALUES (new.id, new.text); END",
    ];
    setup.iter().for_each(|sql| assert_eq!(run(&mut db, Origin::Setup, sql), Ok(0), "{sql}"));
    for sql in [
        "INSERT INTO open (id, text) VALUES ('a', 'wash the car'), ('b', 'car parts')",
        "INSERT INTO todos (id, text) VALUES ('c', 'capture the flag')",
        "INSERT INTO words (words) VALUES ('optimize')",
    ] {
        action(&mut db, sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    for (sql, expected) in [
        ("SELECT id FROM words WHERE words MATCH 'car' ORDER BY rank", "b a"),
        ("SELECT highlight(words, 1, '<', '>') FROM words WHERE words MATCH 'flag'", "capture the <flag>"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT i FROM n", "1 2 3 4"),
        ("SELECT value ->> 'a' FROM json_each('[{\"a\": 1}, {\"a\": 2}]')", "1 2"),
        ("SELECT json_group_array(id) FROM (SELECT id FROM open ORDER BY id)", r#"["a","b","c"]"#),
        ("SELECT row_number() OVER (ORDER BY id DESC) FROM todos ORDER BY id", "3 2 1"),
        ("SELECT upper(substr(hex(randomblob(4)), 1, 0)) || 'x'", "x"),
    ] {
        let found = rows_of(&mut db, Origin::Action, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let expected_rows = rows(&mut db, sql);
        assert_eq!(found, expected_rows, "{sql}");
        assert_eq!(list(&mut db, sql), expected, "{sql}");
    }
}
