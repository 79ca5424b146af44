//! The budget of steps, and interrupts.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{action, engine, keep, list, memory, run};
use partysync_model::{DbErrorKind, Origin};
use partysync_sqlite::{Options, SqliteDb};

const LIMIT: u64 = 20_000;

fn counting(upto: u32) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {upto}) SELECT sum(i) FROM n")
}

fn db() -> SqliteDb {
    let mut db = SqliteDb::open_in_memory(&Options { action_steps: LIMIT, ..Options::default() }).unwrap();
    engine(&mut db, &["CREATE TABLE t (id INTEGER PRIMARY KEY)"]);
    db
}

#[test]
fn spec_5_7_a_query_past_the_budget_is_interrupted_and_the_group_goes_on() {
    let mut db = db();
    keep(&mut db, |db| {
        engine(db, &["INSERT INTO t VALUES (1)"]);
        keep(db, |db| {
            let error = db.execute(Origin::Action, &counting(1_000_000), &[]).unwrap_err();
            assert_eq!(error.kind, DbErrorKind::Interrupted);
            assert!(error.message.contains("20000 steps"), "{error}");
        })
        .unwrap();
        keep(db, |db| assert_eq!(action(db, "INSERT INTO t VALUES (2)"), Ok(1))).unwrap();
    })
    .unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1 2");
}

#[test]
fn spec_5_7_a_spent_budget_refuses_whatever_comes_after_in_the_same_step() {
    let mut db = db();
    keep(&mut db, |db| {
        keep(db, |db| {
            assert_eq!(action(db, &counting(1_000_000)), Err(DbErrorKind::Interrupted));
            assert_eq!(action(db, "SELECT 1"), Err(DbErrorKind::Interrupted));
            assert_eq!(run(db, Origin::Engine, "SELECT 1"), Err(DbErrorKind::Interrupted));
        })
        .unwrap();
    })
    .unwrap();
}

#[test]
fn spec_5_7_many_small_statements_add_up_whether_they_are_the_same_or_not() {
    for same in [true, false] {
        let mut db = db();
        let mut ran = 0;
        keep(&mut db, |db| {
            keep(db, |db| {
                ran = (0..LIMIT)
                    .take_while(|i| action(db, &format!("SELECT {}", if same { 0 } else { *i })).is_ok())
                    .count();
            })
            .unwrap();
        })
        .unwrap();
        assert!((1_000..LIMIT as usize / 2).contains(&ran), "{ran} statements of a few steps ran");
    }
}

#[test]
fn spec_5_7_each_step_has_a_budget_of_its_own() {
    let mut db = db();
    keep(&mut db, |db| {
        for _ in 0..10 {
            keep(db, |db| assert_eq!(action(db, &counting(1_000)), Ok(0))).unwrap();
        }
        keep(db, |db| assert_eq!((0..10).filter(|_| action(db, &counting(1_000)).is_err()).count(), 9)).unwrap();
    })
    .unwrap();
}

#[test]
fn spec_5_7_start_up_and_the_engine_between_steps_have_no_budget() {
    let mut db = db();
    assert_eq!(action(&mut db, &counting(100_000)), Ok(0));
    keep(&mut db, |db| {
        keep(db, |db| assert_eq!(action(db, &counting(1_000_000)), Err(DbErrorKind::Interrupted))).unwrap();
        assert_eq!(run(db, Origin::Engine, &counting(100_000)), Ok(0));
        keep(db, |db| {
            assert_eq!(run(db, Origin::Setup, &counting(100_000)), Ok(0));
        })
        .unwrap();
    })
    .unwrap();
}

#[test]
fn spec_5_3_another_thread_interrupts_a_statement_and_the_next_one_runs() {
    let mut db = memory();
    let handle = db.interrupt_handle();
    let (done, is_done) = mpsc::channel::<()>();
    let interrupter = thread::spawn(move || {
        // Between statements an interrupt does nothing: so it is repeated until one hit.
        while is_done.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
            handle.interrupt();
        }
    });
    assert_eq!(action(&mut db, &counting(2_000_000_000)), Err(DbErrorKind::Interrupted));
    drop(done);
    interrupter.join().unwrap();
    assert_eq!(list(&mut db, "SELECT 1"), "1");
}

#[test]
fn spec_11_action_steps_at_the_limit_and_one_past_it() {
    assert_eq!(Options::default().action_steps, partysync_protocol::limits::ACTION_STEPS);
    // What SQLite says that it took, without this crate.
    let plain = rusqlite::Connection::open_in_memory().unwrap();
    let mut statement = plain.prepare(&counting(1_000)).unwrap();
    statement.query_one([], |_| Ok(())).unwrap();
    let taken = u64::try_from(statement.get_status(rusqlite::StatementStatus::VmStep)).unwrap();
    assert!(taken > 1_000);
    for (limit, then) in [(taken, Ok(0)), (taken - 1, Err(DbErrorKind::Interrupted))] {
        let mut db = SqliteDb::open_in_memory(&Options { action_steps: limit, ..Options::default() }).unwrap();
        keep(&mut db, |db| {
            keep(db, |db| {
                assert_eq!(action(db, &counting(1_000)), Ok(0));
                assert_eq!(action(db, "SELECT 1"), then);
            })
            .unwrap();
        })
        .unwrap();
    }
}
