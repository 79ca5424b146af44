//! What the tests share.

#![allow(dead_code, unreachable_pub)] // Each test file is a program of its own and uses a part of this.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use partysync_model::{Db, DbError, DbErrorKind, Origin, Value, Verdict};
use partysync_sqlite::{Options, SqliteDb};

/// A folder that goes with its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sqlite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn memory() -> SqliteDb {
    SqliteDb::open_in_memory(&Options::default()).unwrap()
}

/// A database in memory after some statements of the engine.
pub fn memory_with(statements: &[&str]) -> SqliteDb {
    let mut db = memory();
    engine(&mut db, statements);
    db
}

pub fn engine(db: &mut dyn Db, statements: &[&str]) {
    for sql in statements {
        db.execute(Origin::Engine, sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// Runs a statement, whether it returns rows or not.
pub fn run(db: &mut dyn Db, origin: Origin, sql: &str) -> Result<u64, DbErrorKind> {
    db.execute(origin, sql, &[]).map_err(|e| e.kind)
}

pub fn action(db: &mut dyn Db, sql: &str) -> Result<u64, DbErrorKind> {
    run(db, Origin::Action, sql)
}

pub fn rows_of(db: &mut dyn Db, origin: Origin, sql: &str) -> Result<Vec<Vec<Value>>, DbError> {
    let mut rows = Vec::new();
    db.query(origin, sql, &[], &mut |row| rows.push(row.to_values())).map(|()| rows)
}

pub fn rows(db: &mut dyn Db, sql: &str) -> Vec<Vec<Value>> {
    rows_of(db, Origin::Engine, sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The first column of all rows, as text.
pub fn list(db: &mut dyn Db, sql: &str) -> String {
    let text = |row: &Vec<Value>| match &row[0] {
        Value::Text(t) => t.clone(),
        Value::Integer(i) => i.to_string(),
        other => format!("{other:?}"),
    };
    rows(db, sql).iter().map(text).collect::<Vec<_>>().join(" ")
}

/// A transaction that is kept.
pub fn keep(db: &mut dyn Db, mut body: impl FnMut(&mut dyn Db)) -> Result<(), DbErrorKind> {
    end(db, Verdict::Keep, &mut body)
}

/// A transaction that is undone.
pub fn undo(db: &mut dyn Db, mut body: impl FnMut(&mut dyn Db)) -> Result<(), DbErrorKind> {
    end(db, Verdict::Undo, &mut body)
}

fn end(db: &mut dyn Db, verdict: Verdict, body: &mut dyn FnMut(&mut dyn Db)) -> Result<(), DbErrorKind> {
    let ended = db.transaction(&mut |db| {
        body(db);
        verdict
    });
    ended.map_err(|e| e.kind)
}
