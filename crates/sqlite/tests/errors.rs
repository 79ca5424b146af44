//! Statements: what they return, and which kind of error each refusal is.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use common::{Folder, action, engine, keep, list, memory, memory_with, rows, rows_of, run};
use partysync_model::{Db, DbErrorKind, Origin, Value, ValueRef};
use partysync_sqlite::{Options, SqliteDb};

#[test]
fn each_constraint_has_its_kind() {
    let mut db = memory_with(&[
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, u TEXT UNIQUE, n INTEGER NOT NULL DEFAULT 0 CHECK (n < 10),
         p INTEGER REFERENCES parent (id)) STRICT, WITHOUT ROWID",
        "CREATE TABLE r (i INTEGER PRIMARY KEY, v)",
        "CREATE TRIGGER no BEFORE INSERT ON r WHEN new.v = 'bad' BEGIN SELECT RAISE(ABORT, 'not that'); END",
        "CREATE TABLE plain (v)",
        "INSERT INTO plain (rowid) VALUES (1)",
        "INSERT INTO t (id, u) VALUES ('a', 'x')",
        "INSERT INTO r VALUES (1, 'one')",
    ]);
    for (sql, kind) in [
        ("INSERT INTO t (id) VALUES ('a')", DbErrorKind::Duplicate),
        ("INSERT INTO t (id, u) VALUES ('b', 'x')", DbErrorKind::Duplicate),
        ("INSERT INTO r VALUES (1, 'two')", DbErrorKind::Duplicate),
        ("INSERT INTO plain (rowid) VALUES (1)", DbErrorKind::Duplicate),
        ("INSERT INTO t (id) VALUES (NULL)", DbErrorKind::Constraint),
        ("INSERT INTO t (id, n) VALUES ('b', 10)", DbErrorKind::Constraint),
        ("INSERT INTO t (id, n) VALUES ('b', 'text')", DbErrorKind::Constraint),
        ("INSERT INTO t (id, p) VALUES ('b', 1)", DbErrorKind::Constraint),
        ("INSERT INTO r VALUES (2, 'bad')", DbErrorKind::Constraint),
        ("INSERT INTO r VALUES ('text', 'two')", DbErrorKind::Constraint),
        ("INSERT INTO r VALUES (2, zeroblob(2000000000))", DbErrorKind::Constraint),
        ("INSERT INTO nowhere VALUES (1)", DbErrorKind::Sql),
        ("SELEC 1", DbErrorKind::Sql),
        ("SELECT abs(-9223372036854775807 - 1)", DbErrorKind::Sql),
        ("PRAGMA user_version = 1", DbErrorKind::Denied),
    ] {
        assert_eq!(action(&mut db, sql), Err(kind), "{sql}");
    }
    assert_eq!(list(&mut db, "SELECT id FROM t UNION ALL SELECT v FROM r"), "a one");
}

#[test]
fn a_double_quoted_text_is_an_error() {
    let mut db = memory_with(&["CREATE TABLE t (id TEXT)"]);
    for (origin, sql) in [
        (Origin::Action, "INSERT INTO t VALUES (\"text\")"),
        (Origin::Setup, "CREATE INDEX i ON t (\"text\")"),
        (Origin::Engine, "SELECT \"text\""),
    ] {
        assert_eq!(run(&mut db, origin, sql), Err(DbErrorKind::Sql), "{sql}");
    }
}

#[test]
fn an_sql_text_holds_exactly_one_statement() {
    let mut db = memory_with(&["CREATE TABLE t (id TEXT)"]);
    for origin in [Origin::Engine, Origin::Setup, Origin::Action] {
        for sql in [
            "",
            "  ",
            "-- nothing",
            "/* nothing */",
            ";",
            "SELECT 1; SELECT 2",
            "SELECT 1; DELETE FROM t",
            "SELECT 1;;x",
        ] {
            assert_eq!(run(&mut db, origin, sql), Err(DbErrorKind::Sql), "{sql:?}");
        }
        for sql in ["SELECT 1;", " SELECT 1 ; -- that was it", "/* one */ SELECT 1"] {
            assert_eq!(run(&mut db, origin, sql), Ok(0), "{sql:?}");
        }
    }
}

#[test]
fn there_are_as_many_values_as_marks() {
    let mut db = memory();
    for (sql, count) in [("SELECT ?", 0), ("SELECT ?", 2), ("SELECT 1", 1), ("SELECT ?2", 1)] {
        let error = db.execute(Origin::Action, sql, &vec![Value::Null; count]).unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Sql, "{sql} with {count}");
    }
}

#[test]
fn execute_counts_the_rows_that_the_statement_itself_changed() {
    let mut db = memory_with(&[
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE seen (id)",
        "CREATE TRIGGER see AFTER INSERT ON parent BEGIN INSERT INTO seen VALUES (new.id), (-new.id); END",
        "CREATE VIEW v AS SELECT id FROM parent",
        "CREATE TRIGGER into_v INSTEAD OF INSERT ON v BEGIN INSERT INTO seen VALUES (new.id); END",
    ]);
    for (sql, count) in [
        ("INSERT INTO parent VALUES (1), (2), (3)", 3),
        ("SELECT 1", 0),
        ("INSERT INTO child VALUES (1, 1), (2, 1), (3, 2)", 3),
        ("UPDATE child SET parent = 3 WHERE id > 100", 0),
        ("EXPLAIN DELETE FROM child", 0),
        ("UPDATE child SET parent = parent", 3),
        ("INSERT INTO parent VALUES (4) RETURNING id", 1),
        ("DELETE FROM parent WHERE id = 1", 1),
        ("INSERT INTO v VALUES (9)", 0),
        ("WITH n(i) AS (SELECT 8) INSERT INTO seen SELECT i FROM n", 1),
        ("INSERT INTO parent VALUES (2) ON CONFLICT DO NOTHING", 0),
        ("REPLACE INTO parent VALUES (2)", 1),
    ] {
        assert_eq!(action(&mut db, sql), Ok(count), "{sql}");
        // What the cache returns the second time counts the same; only queries may run twice.
        if count == 0 {
            assert_eq!(action(&mut db, sql), Ok(0), "{sql}");
        }
    }
    for sql in
        ["CREATE TABLE a AS SELECT * FROM seen", "CREATE VIRTUAL TABLE f USING fts5(text)", "ANALYZE", "DROP TABLE f"]
    {
        assert_eq!(run(&mut db, Origin::Setup, sql), Ok(0), "{sql}");
        action(&mut db, "INSERT INTO seen VALUES (1)").unwrap();
    }
    assert_eq!(run(&mut db, Origin::Engine, "CREATE VIRTUAL TABLE f USING fts5(text)"), Ok(0));
}

#[test]
fn execute_runs_a_statement_that_returns_rows_to_its_end() {
    let mut db = memory_with(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    let sql = "INSERT INTO t SELECT value FROM json_each('[1,2,3]') RETURNING id";
    assert_eq!(action(&mut db, sql), Ok(3));
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1 2 3");
}

#[test]
fn spec_3_2_values_come_back_as_they_went() {
    let mut db = memory_with(&["CREATE TABLE t (id INTEGER PRIMARY KEY, v ANY) STRICT"]);
    let long = "ä😀".repeat(100_000);
    let texts = ["", "a\0", "\0", "\0\0b", "'\"", "ä😀", "\u{feff}", "\u{10ffff}", &long].map(Value::from);
    let integers = [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) - 1].map(Value::Integer);
    let reals = [0.1, -1.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1e300, f64::INFINITY, f64::NEG_INFINITY];
    let blobs = [vec![], vec![0], vec![0xff; 100_000]].map(Value::Blob);
    let all = [Value::Null].into_iter().chain(texts).chain(integers).chain(reals.map(Value::Real)).chain(blobs);
    for value in all {
        let sql = "INSERT OR REPLACE INTO t VALUES (1, ?) RETURNING v, typeof(v), v IS ?1";
        let mut shown = 0;
        db.query(Origin::Action, sql, std::slice::from_ref(&value), &mut |row| {
            assert_eq!((row.count(), row.value(0)), (3, value.as_ref()));
            assert_eq!((row.value(2), row.value(3)), (ValueRef::Integer(1), ValueRef::Null), "{value:?}");
            shown += 1;
        })
        .unwrap();
        assert_eq!(shown, 1);
        assert_eq!(rows(&mut db, "SELECT v FROM t"), [[value]]);
    }
}

#[test]
fn nan_is_null_and_minus_zero_is_zero() {
    let mut db = memory_with(&["CREATE TABLE t (v REAL) STRICT"]);
    for (value, stored) in [(f64::NAN, Value::Null), (-0.0, Value::Real(0.0))] {
        engine(&mut db, &["DELETE FROM t"]);
        db.execute(Origin::Action, "INSERT INTO t VALUES (?)", &[value.into()]).unwrap();
        let back = rows(&mut db, "SELECT v FROM t").remove(0).remove(0);
        assert_eq!(format!("{back:?}"), format!("{stored:?}"));
    }
}

#[test]
fn a_text_that_is_not_utf8_is_an_error_and_its_row_is_not_shown() {
    let mut db = memory_with(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 'good'), (2, CAST(x'ff41' AS TEXT)), (3, 'good')",
    ]);
    let mut shown = Vec::new();
    let error = db.query(Origin::Action, "SELECT id, v FROM t", &[], &mut |row| shown.push(row.value(0).to_owned()));
    assert_eq!(error.unwrap_err().kind, DbErrorKind::Corrupt);
    assert_eq!(shown, [Value::Integer(1)]);
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1 2 3");
}

#[test]
fn rows_shown_before_an_error_stay_shown() {
    let mut db = memory();
    let mut shown = 0;
    let sql = "SELECT abs(value) FROM json_each('[1, 2, -9223372036854775808, 4]')";
    let error = db.query(Origin::Action, sql, &[], &mut |_| shown += 1).unwrap_err();
    assert_eq!((error.kind, shown), (DbErrorKind::Sql, 2));
}

#[test]
fn a_full_file_is_full_and_takes_more_once_there_is_room() {
    let folder = Folder::new();
    let options = Options { max_pages: Some(50), ..Options::default() };
    let mut db = SqliteDb::open(&folder.path("room.db"), &options).unwrap();
    engine(&mut db, &["CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)"]);
    let fill = |db: &mut dyn Db| {
        let mut put = || db.execute(Origin::Engine, "INSERT INTO t (v) VALUES (?)", &[Value::Blob(vec![1; 10_000])]);
        (0..100).find_map(|_| put().err()).unwrap().kind
    };
    assert_eq!(fill(&mut db), DbErrorKind::Full);
    assert_eq!(keep(&mut db, |db| assert_eq!(fill(db), DbErrorKind::Full)), Err(DbErrorKind::Lost));
    engine(&mut db, &["DELETE FROM t"]);
    engine(&mut db, &["INSERT INTO t (v) VALUES (zeroblob(10000))"]);
}

#[test]
fn a_schema_change_does_not_spoil_the_statements_that_are_kept() {
    let mut db = memory_with(&["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]);
    let all = |db: &mut dyn Db| rows_of(db, Origin::Action, "SELECT * FROM t").unwrap().remove(0).len();
    keep(&mut db, |db| {
        assert_eq!(all(db), 1);
        engine(db, &["ALTER TABLE t ADD COLUMN b"]);
        assert_eq!(all(db), 2);
        engine(db, &["DROP TABLE t", "CREATE TABLE t AS SELECT 1, 2, 3"]);
        assert_eq!(all(db), 3);
    })
    .unwrap();
}
