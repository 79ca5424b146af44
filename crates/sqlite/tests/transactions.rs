//! Transactions: what stays, what goes, and what a statement that ends one leaves behind.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{action, engine, keep, list, memory_with, rows, run, undo};
use partysync_model::{Db, DbErrorKind, Origin, Value, Verdict};
use partysync_sqlite::{Options, SqliteDb};

const TABLE: &str = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL) STRICT";

fn put(db: &mut dyn Db, id: &str) -> Result<u64, DbErrorKind> {
    db.execute(Origin::Engine, "INSERT INTO t VALUES (?)", &[id.into()]).map_err(|e| e.kind)
}

fn ids(db: &mut dyn Db) -> String {
    list(db, "SELECT id FROM t ORDER BY id")
}

#[test]
fn p5_what_is_kept_stays_and_what_is_undone_goes_at_each_depth() {
    let mut db = memory_with(&[TABLE]);
    keep(&mut db, |db| {
        put(db, "a").unwrap();
        keep(db, |db| {
            put(db, "b").unwrap();
            undo(db, |db| {
                put(db, "c").unwrap();
                keep(db, |db| put(db, "d").map(|_| ()).unwrap()).unwrap();
                assert_eq!(ids(db), "a b c d");
            })
            .unwrap();
            put(db, "e").unwrap();
        })
        .unwrap();
        undo(db, |db| put(db, "f").map(|_| ()).unwrap()).unwrap();
    })
    .unwrap();
    assert_eq!(ids(&mut db), "a b e");
    undo(&mut db, |db| keep(db, |db| put(db, "g").map(|_| ()).unwrap()).unwrap()).unwrap();
    assert_eq!(ids(&mut db), "a b e");
}

#[test]
fn p5_a_panic_undoes_its_transaction_and_goes_on() {
    let mut db = memory_with(&[TABLE]);
    keep(&mut db, |db| {
        put(db, "before").unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            keep(db, |db| {
                put(db, "gone").unwrap();
                panic!("on purpose")
            })
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        put(db, "after").unwrap();
    })
    .unwrap();
    assert_eq!(ids(&mut db), "after before");

    let panic = catch_unwind(AssertUnwindSafe(|| {
        keep(&mut db, |db| {
            put(db, "gone").unwrap();
            let _ = keep(db, |_| panic!("on purpose"));
        })
    }));
    assert!(panic.is_err());
    assert_eq!(ids(&mut db), "after before");
    keep(&mut db, |db| put(db, "usable").map(|_| ()).unwrap()).unwrap();
}

#[test]
fn p5_a_panic_while_rows_are_shown_leaves_the_statement_usable() {
    let mut db = memory_with(&[TABLE, "INSERT INTO t VALUES ('a'), ('b')"]);
    for _ in 0..2 {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            db.transaction(&mut |db| {
                db.query(Origin::Engine, "SELECT id FROM t", &[], &mut |_| panic!("on purpose")).unwrap();
                Verdict::Keep
            })
        }));
        assert!(panic.is_err());
    }
    assert_eq!(list(&mut db, "SELECT id FROM t"), "a b");
}

/// Runs a killer inside the second of two nested transactions, and checks that nothing of the group is left, that
/// nothing ran after it, and that the database is usable.
fn kill(db: &mut SqliteDb, kind: DbErrorKind, killer: &dyn Fn(&mut dyn Db) -> Result<u64, DbErrorKind>) {
    let before = ids(db);
    let outer = db.transaction(&mut |db| {
        put(db, "outer").unwrap();
        keep(db, |db| put(db, "first").map(|_| ()).unwrap()).unwrap();
        let nested = db.transaction(&mut |db| {
            put(db, "second").unwrap();
            assert_eq!(killer(db), Err(kind));
            assert_eq!(put(db, "later"), Err(DbErrorKind::Lost), "it would be a transaction of its own");
            assert_eq!(run(db, Origin::Action, "SELECT 1"), Err(DbErrorKind::Lost));
            Verdict::Keep
        });
        assert_eq!(nested.unwrap_err().kind, DbErrorKind::Lost);
        assert_eq!(put(db, "third"), Err(DbErrorKind::Lost));
        assert_eq!(keep(db, |_| panic!("its body must not run")), Err(DbErrorKind::Lost));
        assert_eq!(undo(db, |_| panic!("its body must not run")), Err(DbErrorKind::Lost));
        Verdict::Keep
    });
    let error = outer.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Lost);
    assert_eq!(ids(db), before);
    keep(db, |db| keep(db, |db| put(db, "again").map(|_| ()).unwrap()).unwrap()).unwrap();
    assert!(ids(db).contains("again"));
}

#[test]
fn spec_5_3_or_rollback_loses_the_group() {
    let mut db = memory_with(&[TABLE]);
    kill(&mut db, DbErrorKind::Duplicate, &|db| action(db, "INSERT OR ROLLBACK INTO t VALUES ('first')"));
}

#[test]
fn spec_5_3_raise_rollback_loses_the_group() {
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'not that'); END";
    let mut db = memory_with(&[TABLE, trigger]);
    kill(&mut db, DbErrorKind::Constraint, &|db| action(db, "INSERT INTO t VALUES ('bad')"));
}

#[test]
fn spec_5_3_an_interrupted_write_loses_the_group() {
    let mut db = SqliteDb::open_in_memory(&Options { action_steps: 20_000, ..Options::default() }).unwrap();
    engine(&mut db, &[TABLE]);
    let endless =
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'n' || i FROM n";
    kill(&mut db, DbErrorKind::Interrupted, &|db| action(db, endless));
}

#[test]
fn spec_5_3_a_full_disk_loses_the_group() {
    let mut db = SqliteDb::open_in_memory(&Options { max_pages: Some(40), ..Options::default() }).unwrap();
    engine(&mut db, &[TABLE, "CREATE TABLE big (data BLOB)"]);
    kill(&mut db, DbErrorKind::Full, &|db| {
        db.execute(Origin::Action, "INSERT INTO big VALUES (?)", &[Value::Blob(vec![1; 400_000])]).map_err(|e| e.kind)
    });
}

#[test]
fn spec_5_3_a_statement_of_the_engine_that_ends_the_transaction_loses_the_group() {
    for sql in ["ROLLBACK", "COMMIT"] {
        let mut db = memory_with(&[TABLE]);
        let outer = keep(&mut db, |db| {
            put(db, "a").unwrap();
            let nested = keep(db, |db| {
                engine(db, &[sql]);
                assert_eq!(put(db, "b"), Err(DbErrorKind::Lost));
            });
            assert_eq!(nested, Err(DbErrorKind::Lost));
        });
        assert_eq!(outer, Err(DbErrorKind::Lost));
        assert!(!ids(&mut db).contains('b'));
    }
}

#[test]
fn spec_5_3_the_loss_says_what_caused_it() {
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'not that'); END";
    let mut db = memory_with(&[TABLE, trigger]);
    let lost = db.transaction(&mut |db| {
        assert_eq!(put(db, "bad"), Err(DbErrorKind::Constraint));
        assert_eq!(put(db, "a"), Err(DbErrorKind::Lost));
        Verdict::Undo
    });
    assert!(lost.unwrap_err().message.contains("not that"));
}

#[test]
fn p5_a_panic_in_a_lost_transaction_goes_on_and_leaves_the_database_usable() {
    let mut db = memory_with(&[TABLE, "INSERT INTO t VALUES ('a')"]);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        keep(&mut db, |db| {
            put(db, "b").unwrap();
            action(db, "INSERT OR ROLLBACK INTO t VALUES ('a')").unwrap_err();
            panic!("on purpose")
        })
    }));
    assert!(panic.is_err());
    assert_eq!(ids(&mut db), "a");
    keep(&mut db, |db| put(db, "c").map(|_| ()).unwrap()).unwrap();
    assert_eq!(ids(&mut db), "a c");
}

const FAMILY: [&str; 2] = [
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
];

#[test]
fn spec_5_3_a_deferred_foreign_key_fails_the_commit_and_undoes_all() {
    let mut db = memory_with(&FAMILY);
    let outer = keep(&mut db, |db| {
        engine(db, &["INSERT INTO parent VALUES (1)"]);
        keep(db, |db| assert_eq!(action(db, "INSERT INTO child VALUES (1, 2)"), Ok(1))).unwrap();
    });
    assert_eq!(outer, Err(DbErrorKind::Constraint));
    assert_eq!(rows(&mut db, "SELECT * FROM parent"), Vec::<Vec<Value>>::new());
    assert_eq!(rows(&mut db, "SELECT * FROM child"), Vec::<Vec<Value>>::new());
    keep(&mut db, |db| engine(db, &["INSERT INTO parent VALUES (3)"])).unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM parent"), "3");
}

#[test]
fn spec_5_5_a_later_step_may_satisfy_a_deferred_foreign_key() {
    let mut db = memory_with(&FAMILY);
    keep(&mut db, |db| {
        keep(db, |db| assert_eq!(action(db, "INSERT INTO child VALUES (1, 2)"), Ok(1))).unwrap();
        keep(db, |db| assert_eq!(action(db, "INSERT INTO parent VALUES (2)"), Ok(1))).unwrap();
    })
    .unwrap();
    assert_eq!(list(&mut db, "SELECT parent FROM child"), "2");
}

#[test]
fn p5_a_savepoint_that_cannot_be_undone_takes_the_transaction_with_it() {
    let mut db = memory_with(&[TABLE]);
    for undone in [true, false] {
        let outer = keep(&mut db, |db| {
            put(db, "a").unwrap();
            let body = |db: &mut dyn Db| {
                put(db, "b").unwrap();
                engine(db, &["RELEASE nested"]);
            };
            let nested = if undone { undo(db, body) } else { keep(db, body) };
            assert_eq!(nested, Err(DbErrorKind::Lost));
            assert_eq!(put(db, "c"), Err(DbErrorKind::Lost));
        });
        assert_eq!(outer, Err(DbErrorKind::Lost));
        assert_eq!(ids(&mut db), "");
    }
    keep(&mut db, |db| put(db, "usable").map(|_| ()).unwrap()).unwrap();
}

#[test]
fn p3_a_transaction_that_was_kept_is_there_when_the_file_is_opened_again() {
    let folder = common::Folder::new();
    let path = folder.path("room.db");
    let mut db = SqliteDb::open(&path, &Options::default()).unwrap();
    engine(&mut db, &[TABLE]);
    keep(&mut db, |db| put(db, "a").map(|_| ()).unwrap()).unwrap();
    undo(&mut db, |db| put(db, "b").map(|_| ()).unwrap()).unwrap();
    drop(db);
    assert_eq!(ids(&mut SqliteDb::open(&path, &Options::default()).unwrap()), "a");
}
