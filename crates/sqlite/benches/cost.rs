//! What the layer costs: an insert and its read-back in a nested transaction, 64 to a group, against plain rusqlite
//! that does the same. `cargo bench -p partysync-sqlite -- [folder]`; the default folder is `/dev/shm`, whose fsync
//! costs nothing, so that the layer shows.
//!
//! The contenders take turns, and the best round of each counts: other programs on the machine only ever add time.

#![allow(clippy::unwrap_used)] // A benchmark that fails has nothing better to do than to say where.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use partysync_derive::Record;
use partysync_model::{Db, DbError, Millis, Origin, Range, Record, Scan, Seed, Tx, Value, Verdict};
use partysync_sqlite::{Options, SqliteDb};
use rusqlite::{Connection, OptionalExtension, Row, params};

const GROUP: usize = 64;
const GROUPS: usize = 20;
const ROUNDS: usize = 100;
const AT: Millis = 1_700_000_000_000;

const INSERT: &str = "INSERT INTO todos (id, text, completed, weight, created_at, updated_at) \
     VALUES (?, ?, ?, ?, ?5, ?5) ON CONFLICT (id) DO UPDATE SET text = excluded.text, completed = excluded.completed, \
     weight = excluded.weight, created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = NULL \
     WHERE deleted_at IS NOT NULL";
const GET: &str = "SELECT id, text, completed, weight, created_at, updated_at, deleted_at FROM todos \
     WHERE deleted_at IS NULL AND id = ?";

#[derive(Record, Clone)]
struct Todo {
    id: String,
    text: String,
    completed: bool,
    weight: f64,
}

type Contender = (&'static str, fn(&Path, &[Todo]) -> Duration);

fn main() {
    let folder = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_else(|| "/dev/shm".to_owned());
    let todos: Vec<Todo> = (0..GROUP * GROUPS)
        .map(|i| Todo {
            id: format!("{:032x}", (i as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            text: format!("something to do, number {i}"),
            completed: i % 2 == 0,
            weight: i as f64 / 3.0,
        })
        .collect();
    let contenders: [Contender; 4] = [
        ("plain, statements held", held),
        ("plain, prepare_cached", cached),
        ("Db::insert and Db::scan", db),
        ("Tx: typed table", tx),
    ];
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        for ((_, run), best) in contenders.iter().zip(&mut best) {
            let file = File::new(Path::new(&folder));
            *best = (*best).min(run(&file.0, &todos));
        }
    }
    for ((name, _), time) in contenders.iter().zip(best) {
        let micros = time.as_secs_f64() * 1e6 / todos.len() as f64;
        println!(
            "{name:<26} {micros:6.2} µs an action, {:.2} of the first",
            time.as_secs_f64() / best[0].as_secs_f64()
        );
    }
}

/// A database file that goes when this is dropped.
struct File(PathBuf);

impl File {
    fn new(folder: &Path) -> Self {
        let file = File(folder.join(format!("partysync-cost-{}.db", std::process::id())));
        file.remove();
        file
    }

    fn remove(&self) {
        for end in ["", "-wal", "-journal"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

fn held(path: &Path, todos: &[Todo]) -> Duration {
    let connection = plain(path);
    let prepare = |sql| connection.prepare(sql).unwrap();
    let (mut begin, mut commit) = (prepare("BEGIN IMMEDIATE"), prepare("COMMIT"));
    let (mut save, mut release) = (prepare("SAVEPOINT s"), prepare("RELEASE s"));
    let (mut insert, mut get) = (prepare(INSERT), prepare(GET));
    let start = Instant::now();
    for group in todos.chunks(GROUP) {
        begin.execute([]).unwrap();
        for todo in group {
            save.execute([]).unwrap();
            let Todo { id, text, completed, weight } = todo;
            insert.execute(params![id, text, completed, weight, AT]).unwrap();
            let back = get.query_row([id], read).optional().unwrap();
            assert!(back.is_some_and(|b| b.text == todo.text));
            release.execute([]).unwrap();
        }
        commit.execute([]).unwrap();
    }
    start.elapsed()
}

fn cached(path: &Path, todos: &[Todo]) -> Duration {
    let connection = plain(path);
    let run = |sql| connection.prepare_cached(sql).unwrap().execute([]).unwrap();
    let start = Instant::now();
    for group in todos.chunks(GROUP) {
        run("BEGIN IMMEDIATE");
        for todo in group {
            run("SAVEPOINT s");
            let Todo { id, text, completed, weight } = todo;
            let mut insert = connection.prepare_cached(INSERT).unwrap();
            insert.execute(params![id, text, completed, weight, AT]).unwrap();
            let back = connection.prepare_cached(GET).unwrap().query_row([id], read).optional().unwrap();
            assert!(back.is_some_and(|b| b.text == todo.text));
            run("RELEASE s");
        }
        run("COMMIT");
    }
    start.elapsed()
}

fn db(path: &Path, todos: &[Todo]) -> Duration {
    let mut db = open(path);
    let rows: Vec<(Vec<Value>, Scan)> = todos
        .iter()
        .map(|todo| {
            let id = Value::from(todo.id.as_str());
            let ids = Range { start: std::ops::Bound::Included(id.clone()), end: std::ops::Bound::Included(id) };
            (todo.to_values(), Scan { ids, ..Scan::default() })
        })
        .collect();
    let start = Instant::now();
    for group in rows.chunks(GROUP) {
        in_groups(&mut db, group, |db, (row, scan)| {
            db.insert(Todo::table(), row, AT)?;
            let mut back = None;
            db.scan(Todo::table(), scan, &mut |row| back = Todo::from_columns(row).ok())?;
            assert!(back.is_some_and(|b| Value::Text(b.text) == row[1]));
            Ok(())
        });
    }
    start.elapsed()
}

fn tx(path: &Path, todos: &[Todo]) -> Duration {
    let mut db = open(path);
    let seed = Seed::of_step("bench", b"");
    let start = Instant::now();
    for group in todos.chunks(GROUP) {
        in_groups(&mut db, group, |db, todo| {
            let mut tx = Tx::new(db, Origin::Action, AT, seed);
            let mut table = tx.table::<Todo>();
            table.insert(todo).unwrap();
            let back = table.get(&todo.id).unwrap();
            assert!(back.is_some_and(|b| b.text == todo.text));
            Ok(())
        });
    }
    start.elapsed()
}

fn in_groups<T>(db: &mut SqliteDb, group: &[T], each: impl Fn(&mut dyn Db, &T) -> Result<(), DbError>) {
    db.transaction(&mut |db| {
        for item in group {
            db.transaction(&mut |db| {
                each(db, item).unwrap();
                Verdict::Keep
            })
            .unwrap();
        }
        Verdict::Keep
    })
    .unwrap();
}

fn open(path: &Path) -> SqliteDb {
    let mut db = SqliteDb::open(path, &Options::default()).unwrap();
    for sql in Todo::table().create_sql() {
        db.execute(Origin::Engine, sql, &[]).unwrap();
    }
    db
}

fn plain(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")
        .unwrap();
    Todo::table().create_sql().iter().for_each(|sql| connection.execute_batch(sql).unwrap());
    connection
}

fn read(row: &Row<'_>) -> rusqlite::Result<Todo> {
    Ok(Todo { id: row.get(0)?, text: row.get(1)?, completed: row.get(2)?, weight: row.get(3)? })
}
