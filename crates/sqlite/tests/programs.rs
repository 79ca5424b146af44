//! Random programs of typed operations and nested transactions, run on SQLite and on tables in memory: a client's
//! prediction is what the server does (SPEC 3.6, 9.3; P1).
//!
//! The programs follow from a seed: `PARTYSYNC_SEED` and `PARTYSYNC_PROGRAMS` choose others, and more of them.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common::engine;
use partysync_derive::Record;
use partysync_model::{
    ActionError, Db, Field, KeyArg, MemoryDb, Millis, Origin, Record, Scan, Seed, Tx, TypedTable, Value, Verdict,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[derive(Record, Debug, Clone)]
struct Thing {
    id: String,
    #[record(unique)]
    code: Option<String>,
    #[record(index)]
    order: String, // a keyword of SQL
    done: bool,
    weight: f64,
    share: Option<f64>,
}

#[derive(Record, Debug, Clone)]
struct Number {
    id: i64,
    #[record(unique)]
    rank: i64,
    #[record(index)]
    note: Option<String>,
    tries: u8,
    flag: Option<bool>,
}

#[derive(Debug, Clone)]
enum Op {
    Thing(On<Thing>),
    Number(On<Number>),
    Nested(Vec<Op>, End),
}

#[derive(Debug, Clone)]
enum On<R: Record> {
    Insert(R),
    Update(R),
    Delete(R::Id),
    Get(R::Id),
    Range(Bound<R::Id>, Bound<R::Id>),
    By(By),
    Scan(Scan),
}

/// A column of either record, and a value.
#[derive(Debug, Clone)]
enum By {
    Code(Option<String>),
    Order(String),
    Done(bool),
    Weight(f64),
    Share(Option<f64>),
    Rank(i64),
    Note(Option<String>),
    Tries(u8),
    Flag(Option<bool>),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Keep,
    Undo,
    Panic,
}

/// A program on one database, and what it saw.
struct Run {
    at: Millis,
    seen: Vec<String>,
}

impl Run {
    fn ops(&mut self, db: &mut dyn Db, ops: &[Op]) {
        for op in ops {
            self.at += 1;
            match op {
                Op::Nested(ops, end) => self.nested(db, ops, *end),
                Op::Thing(on) => self.on(db, on, &|table, by| match by {
                    By::Code(v) => table.by(Thing::CODE, v),
                    By::Order(v) => table.by(Thing::ORDER, v),
                    By::Done(v) => table.by(Thing::DONE, v),
                    By::Weight(v) => table.by(Thing::WEIGHT, v),
                    By::Share(v) => table.by(Thing::SHARE, v),
                    by => panic!("{by:?} is a column of the other record"),
                }),
                Op::Number(on) => self.on(db, on, &|table, by| match by {
                    By::Rank(v) => table.by(Number::RANK, v),
                    By::Note(v) => table.by(Number::NOTE, v),
                    By::Tries(v) => table.by(Number::TRIES, v),
                    By::Flag(v) => table.by(Number::FLAG, v),
                    by => panic!("{by:?} is a column of the other record"),
                }),
            }
        }
    }

    fn nested(&mut self, db: &mut dyn Db, ops: &[Op], end: End) {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            db.transaction(&mut |db| {
                self.ops(db, ops);
                match end {
                    End::Keep => Verdict::Keep,
                    End::Undo => Verdict::Undo,
                    // Without the hook that prints.
                    End::Panic => resume_unwind(Box::new("on purpose")),
                }
            })
        }));
        match (ended, end) {
            (Ok(ended), _) => self.seen.push(format!("{end:?}: {ended:?}")),
            (Err(panic), End::Panic) if panic.downcast_ref() == Some(&"on purpose") => {
                self.seen.push("panic".to_owned())
            }
            (Err(panic), _) => resume_unwind(panic),
        }
    }

    fn on<R: Record + Debug>(&mut self, db: &mut dyn Db, on: &On<R>, by: &ByColumn<R>)
    where
        R::Id: KeyArg<R::Id> + Clone,
    {
        if let On::Scan(scan) = on {
            // Below the records: times are seen too.
            let seen = scan_all(db, R::table(), scan);
            return self.seen.push(seen);
        }
        let mut tx = Tx::new(db, Origin::Action, self.at, Seed::of_step("test", b""));
        let mut table = tx.table::<R>();
        self.seen.push(match on {
            On::Insert(record) => outcome(table.insert(record)),
            On::Update(record) => outcome(table.update(record)),
            On::Delete(id) => outcome(table.delete(id.clone())),
            On::Get(id) => outcome(table.get(id.clone())),
            On::Range(start, end) => outcome(table.range((start.clone(), end.clone()))),
            On::By(value) => outcome(by(&mut table, value)),
            On::Scan(_) => String::new(),
        });
    }
}

type ByColumn<R> = dyn Fn(&mut TypedTable<'_, '_, R>, &By) -> Result<Vec<R>, ActionError>;

fn scan_all(db: &mut dyn Db, table: &partysync_model::Table, scan: &Scan) -> String {
    let mut rows = Vec::new();
    let ended = db.scan(table, scan, &mut |row| rows.push(row.to_values())).map_err(|e| e.kind);
    format!("{ended:?} {rows:?}")
}

/// What came of an operation, the database's own words left out.
fn outcome<T: Debug>(result: Result<T, ActionError>) -> String {
    format!("{:?}", result.map_err(|e| (e.code(), e.db_error().map(|e| e.kind))))
}

/// Runs a program; returns what it saw, and the tables at its end.
fn run(db: &mut dyn Db, program: &[Op]) -> Vec<String> {
    let mut run = Run { at: 1_000, seen: Vec::new() };
    run.ops(db, program);
    for table in [Thing::table(), Number::table()] {
        run.seen.push(scan_all(db, table, &Scan::default()));
    }
    run.seen
}

#[test]
fn spec_3_6_programs_see_the_same_on_sqlite_and_in_memory() {
    let mut sqlite = common::memory();
    for sql in [Thing::table(), Number::table()].iter().flat_map(|t| t.create_sql()) {
        engine(&mut sqlite, &[sql]);
    }
    let number = |name, default| std::env::var(name).map_or(default, |v| v.parse().unwrap());
    let config = Config { cases: number("PARTYSYNC_PROGRAMS", 200), failure_persistence: None, ..Config::default() };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("PARTYSYNC_SEED", 1).to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let sqlite = RefCell::new(sqlite);
    let ran = runner.run(&prop::collection::vec(op(), 1..60), |program| {
        let mut sqlite = sqlite.borrow_mut();
        engine(&mut *sqlite, &["DELETE FROM things", "DELETE FROM numbers"]);
        let on_sqlite = run(&mut *sqlite, &program);
        let in_memory = run(&mut MemoryDb::new([Thing::table(), Number::table()]), &program);
        for (step, (sqlite, memory)) in on_sqlite.iter().zip(&in_memory).enumerate() {
            prop_assert_eq!(sqlite, memory, "at step {}", step);
        }
        prop_assert_eq!(on_sqlite.len(), in_memory.len());
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}

fn op() -> BoxedStrategy<Op> {
    let thing = on(thing(), text(), thing_column()).prop_map(Op::Thing);
    let number = on(number(), integer(), number_column()).prop_map(Op::Number);
    let end = prop_oneof![3 => Just(End::Keep), 2 => Just(End::Undo), 1 => Just(End::Panic)].boxed();
    let nested =
        move |inner| (prop::collection::vec(inner, 0..10), end.clone()).prop_map(|(ops, end)| Op::Nested(ops, end));
    prop_oneof![thing, number].prop_recursive(3, 60, 10, nested).boxed()
}

fn on<R: Record + Debug>(record: BoxedStrategy<R>, id: BoxedStrategy<R::Id>, column: Equal) -> BoxedStrategy<On<R>>
where
    R::Id: Debug + Clone,
{
    let bound =
        prop_oneof![Just(Bound::Unbounded), id.clone().prop_map(Bound::Included), id.clone().prop_map(Bound::Excluded)]
            .boxed();
    let limit = prop::option::of(prop_oneof![0..4_u32, Just(u32::MAX)]);
    let scan = (prop::option::of(column.clone()), bound.clone(), bound.clone(), any::<bool>(), limit);
    let scan = scan.prop_map(|(equals, start, end, reverse, limit)| {
        let value = |bound: Bound<R::Id>| bound.map(|id| id.to_value());
        let ids = partysync_model::Range { start: value(start), end: value(end) };
        Scan { equals: equals.map(|(_, index, value)| (index, value)), ids, reverse, limit }
    });
    prop_oneof![
        6 => record.clone().prop_map(On::Insert),
        4 => record.prop_map(On::Update),
        2 => id.clone().prop_map(On::Delete),
        1 => id.prop_map(On::Get),
        1 => (bound.clone(), bound).prop_map(|(start, end)| On::Range(start, end)),
        1 => column.prop_map(|(by, _, _)| On::By(by)),
        2 => scan.prop_map(On::Scan),
    ]
    .boxed()
}

/// Few, so that they collide; and awkward.
fn text() -> BoxedStrategy<String> {
    let few =
        ["", "a", "b", "B", "ab", "ä", "z", "😀", "\u{ffff}", "a\0", "a\0b", "\0", "'", "\"", "1", "10", "9", " a"];
    prop_oneof![
        12 => prop::sample::select(few.to_vec()).prop_map(str::to_owned),
        // At the limit of an id and past it.
        1 => prop::sample::select(vec![1_000, 1_024, 1_025, 5_000]).prop_map(|n| "x".repeat(n)),
    ]
    .boxed()
}

fn integer() -> BoxedStrategy<i64> {
    const MOST: i64 = (1 << 53) - 1;
    prop_oneof![
        6 => -3..=3_i64,
        2 => prop::sample::select(vec![MOST, MOST - 1, -MOST, 1 - MOST, 10, 9, 1 << 32]),
        1 => prop::sample::select(vec![MOST + 1, -MOST - 1, i64::MAX, i64::MIN]),
    ]
    .boxed()
}

fn real() -> BoxedStrategy<f64> {
    prop_oneof![
        12 => prop::sample::select(vec![0.0, -0.0, 0.1, -0.1, 1.0, 2.0, 1e300, -1e300, 5e-324, 9_007_199_254_740_992.0]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
    .boxed()
}

fn thing() -> BoxedStrategy<Thing> {
    let option = prop::option::of::<BoxedStrategy<String>>;
    (text(), option(text()), text(), any::<bool>(), real(), prop::option::of(real()))
        .prop_map(|(id, code, order, done, weight, share)| Thing { id, code, order, done, weight, share })
        .boxed()
}

fn number() -> BoxedStrategy<Number> {
    (integer(), integer(), prop::option::of(text()), 0..3_u8, prop::option::of(any::<bool>()))
        .prop_map(|(id, rank, note, tries, flag)| Number { id, rank, note, tries, flag })
        .boxed()
}

/// A column, its index and a value to look for.
type Equal = BoxedStrategy<(By, usize, Value)>;

fn thing_column() -> Equal {
    prop_oneof![
        prop::option::of(text()).prop_map(|v| (By::Code(v.clone()), 1, v.to_value())),
        text().prop_map(|v| (By::Order(v.clone()), 2, v.to_value())),
        any::<bool>().prop_map(|v| (By::Done(v), 3, v.to_value())),
        real().prop_map(|v| (By::Weight(v), 4, v.to_value())),
        prop::option::of(real()).prop_map(|v| (By::Share(v), 5, v.to_value())),
    ]
    .boxed()
}

fn number_column() -> Equal {
    prop_oneof![
        integer().prop_map(|v| (By::Rank(v), 1, v.to_value())),
        prop::option::of(text()).prop_map(|v| (By::Note(v.clone()), 2, v.to_value())),
        (0..3_u8).prop_map(|v| (By::Tries(v), 3, v.to_value())),
        prop::option::of(any::<bool>()).prop_map(|v| (By::Flag(v), 4, v.to_value())),
    ]
    .boxed()
}
