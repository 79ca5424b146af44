//! What a room costs per action beyond the SQL that any sync engine must run.
//!
//! `cargo bench -p partysync-room` prints two times for a group of creates in one durable transaction: `room`, from version 1
//! frames to frames, and `by hand`, the least SQL that versions, captures, logs and remembers a create, with no engine around
//! it. Their quotient is the room's fixed cost. Both write to a file in the folder that `TMPDIR` names: on a RAM disk the flush
//! drops out and CPU remains.
#![allow(missing_docs, clippy::unwrap_used)]

use std::cell::Cell;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use partysync_derive::Record;
use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Call, Changed, ConnectionId, ConnectionInfo, Event, Input, Room, RoomName, SyncServer};
use partysync_sqlite::{Options, SqliteDb};
use serde::Deserialize;

#[derive(Record, Deserialize)]
struct Todo {
    id: String,
    text: String,
    completed: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Action {
    Create(Todo),
}

struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, Action::Create(todo)| tx.table().insert(&todo))
    }
}

const TEXT: &str = "01234567890123456789012345678901";
const LISTENERS: u64 = 2;

fn fresh_file(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("partysync-bench-{}-{name}.db", std::process::id()));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    path
}

fn room() -> Room<Todos, SqliteDb> {
    let db = SqliteDb::open(&fresh_file("room"), &Options::default()).unwrap();
    let input = Input { now: 1_700_000_000_000, random: 1 };
    let mut room = Room::open(db, RoomName::new("todos", "bench"), || Todos, input).unwrap();
    for c in 0..LISTENERS {
        let info = ConnectionInfo { key: Some(format!("c{c}")), ..ConnectionInfo::default() };
        let sync = Event::text(ConnectionId(c), r#"{"channel":"todos","sync":true,"from":null}"#);
        room.handle(input, vec![Event::Opened { connection: ConnectionId(c), info }, sync], &mut Vec::new());
    }
    room
}

fn create(number: u64) -> Event {
    let frame = format!(
        r#"{{"id":"{number}","channel":"todos","rpc":true,"action":{{"type":"create","payload":{{"id":"row-{number}","text":"{TEXT}","completed":0}}}}}}"#
    );
    Event::text(ConnectionId(0), frame)
}

/// The tables and statements that an engine needs at least, as one would write them for this room alone.
fn by_hand() -> rusqlite::Connection {
    let db = rusqlite::Connection::open(fresh_file("by-hand")).unwrap();
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, completed INTEGER NOT NULL,
             created_at INTEGER, updated_at INTEGER, deleted_at INTEGER) STRICT, WITHOUT ROWID;
         CREATE TABLE version (v INTEGER); INSERT INTO version VALUES (0);
         CREATE TABLE log (version INTEGER PRIMARY KEY, client INTEGER, number INTEGER, author TEXT, at INTEGER, action TEXT) STRICT;
         CREATE TABLE change (version INTEGER, channel INTEGER, id TEXT, op INTEGER) STRICT;
         CREATE TABLE client (client INTEGER PRIMARY KEY, last INTEGER, version INTEGER) STRICT;
         CREATE TRIGGER capture AFTER INSERT ON todos BEGIN
             INSERT INTO change VALUES ((SELECT v FROM version), 1, new.id, 0); END;",
    )
    .unwrap();
    db
}

fn write_by_hand(db: &rusqlite::Connection, version: u64) {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| db.prepare_cached(sql).unwrap().execute(params).unwrap();
    let (id, version) = (format!("row-{version}"), version as i64);
    let at = 1_700_000_000_000_i64;
    run("SAVEPOINT a", &[]);
    let last: i64 = db
        .prepare_cached("SELECT coalesce(max(last), 0) FROM client WHERE client = ?")
        .unwrap()
        .query_row([7], |row| row.get(0))
        .unwrap();
    run("UPDATE version SET v = ?", &[&version]);
    run("INSERT INTO todos VALUES (?, ?, 0, ?, ?, NULL)", &[&id, &TEXT, &at, &at]);
    let row: String =
        db.prepare_cached("SELECT * FROM todos WHERE id = ?").unwrap().query_row([&id], |row| row.get(1)).unwrap();
    run("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", &[&version, &7, &(last + 1), &"user", &at, &row]);
    let client = "INSERT INTO client VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last, version = excluded.version";
    run(client, &[&7, &(last + 1), &version]);
    run("RELEASE a", &[]);
}

fn fixed_cost(c: &mut Criterion) {
    let mut group = c.benchmark_group("create");
    for actions in [1_u64, 32, 200] {
        group.throughput(Throughput::Elements(actions));
        let (mut room, number, mut effects) = (room(), Cell::new(0), Vec::new());
        group.bench_function(BenchmarkId::new("room", actions), |b| {
            b.iter_batched(
                || {
                    let first = number.replace(number.get() + actions);
                    (first..first + actions).map(create).collect::<Vec<_>>()
                },
                |events| {
                    effects.clear();
                    room.handle(Input { now: 1_700_000_000_000, random: number.get() }, events, &mut effects);
                    assert!(effects.len() as u64 >= actions);
                },
                BatchSize::PerIteration,
            );
        });
        let (db, mut version) = (by_hand(), 0);
        group.bench_function(BenchmarkId::new("by hand", actions), |b| {
            b.iter(|| {
                db.execute_batch("BEGIN").unwrap();
                for _ in 0..actions {
                    version += 1;
                    write_by_hand(&db, version);
                }
                db.execute_batch("COMMIT").unwrap();
            });
        });
    }
    group.finish();
    fresh_file("room");
    fresh_file("by-hand");
}

criterion_group!(benches, fixed_cost);
criterion_main!(benches);
