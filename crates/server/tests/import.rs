//! Rooms that were made elsewhere come in whole, or not at all (SPEC 7.13, 7.14).

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use partysync_derive::Record;
use partysync_model::{ActionError, Db, Origin, Schema, Tx, ValueRef};
use partysync_room::{Call, Changed, SyncServer};
use partysync_server::{Import, ImportError, Imported, Server};
use partysync_sqlite::{Options, SqliteDb};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Client, act, files};
use tempfile::TempDir;

/// A room as workerd 1.20261117.1 left it when it was killed, with the model in `compat/original`: three todos were created, one of them updated, one
/// deleted. Nearly all of it is in the log beside the file.
const WORKERD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workerd/lobby.sqlite");

#[derive(Record, Deserialize)]
struct Todo {
    id: String,
    #[record(unique)]
    text: String,
    completed: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Action {
    Create { id: String, text: String },
}

struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, Action::Create { id, text }| tx.table().insert(&Todo { id, text, completed: false }))
    }
}

/// A room with SQL of its own: a channel whose ids are integers, an index, a trigger, and a row that is there from the start.
struct Raw;

impl SyncServer for Raw {
    fn schema(&self) -> Schema {
        Schema::new().raw("items")
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        for sql in [
            "CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, size REAL, note TEXT DEFAULT 'none', \
             created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)",
            "CREATE TABLE IF NOT EXISTS counts (n INTEGER)",
            "CREATE TRIGGER IF NOT EXISTS counted AFTER INSERT ON items BEGIN UPDATE counts SET n = n + 1; END",
            "INSERT OR IGNORE INTO items (id, note) VALUES (1, 'first')",
        ] {
            tx.execute(sql, &[])?;
        }
        Ok(())
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Ok(Changed::Captured)
    }
}

const TODOS: &str = "CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, completed INTEGER NOT NULL, \
                     created_at, updated_at, deleted_at)";

/// date -u -d '2026-11-23 01:47:34' +%s
const AT: i64 = 1_795_398_454_000;

fn server(data: &Path) -> Server {
    Server::builder().data(data).party("todos", || Todos).party("raw", || Raw).build().unwrap()
}

/// A folder with a database in it, made by some SQL.
fn database(sql: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("object.sqlite");
    run(&file, sql);
    (folder, file)
}

fn run(file: &Path, sql: &[&str]) {
    let mut db = SqliteDb::open(file, &Options::default()).unwrap();
    for sql in sql {
        db.execute(Origin::Engine, sql, &[]).unwrap();
    }
}

/// Imports what some SQL makes into the room `lobby` of a party of a new server.
async fn import(party: &str, sql: &[&str]) -> (TempDir, Server, Result<Imported, ImportError>) {
    let (_folder, file) = database(sql);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let imported = server.import(Import::durable_object(party, "lobby", file)).await;
    (data, server, imported)
}

/// What is wrong with what some SQL makes.
async fn findings(party: &str, sql: &[&str]) -> Vec<String> {
    let (data, server, imported) = import(party, sql).await;
    let Err(ImportError::Refused { findings, more: 0 }) = imported else { panic!("{imported:?}") };
    assert_nothing_is_there(data.path());
    server.shutdown().await.unwrap();
    findings
}

/// No room, and nothing on its way to become one.
fn assert_nothing_is_there(data: &Path) {
    let rest: Vec<_> = files(data).into_iter().map(|file| file.strip_prefix(data).unwrap().to_owned()).collect();
    let is_servers = |file: &PathBuf| {
        file == Path::new("lock") || file.starts_with("rooms.sqlite") || {
            file.to_str().is_some_and(|name| name.starts_with("rooms.sqlite-"))
        }
    };
    assert!(rest.iter().all(is_servers), "{rest:?}");
}

async fn connect(server: &Server, path: &str) -> Client {
    Client::connect(support::listen(server).await, path).await
}

/// The rows that a page gets which holds something from that time, and the ids that it is told to drop.
async fn sync(client: &mut Client, channel: &str, from: Value) -> (Vec<Value>, Vec<Value>) {
    client.send(json!({"channel": channel, "sync": true, "from": from})).await;
    // The answer to what follows shows whether something came behind it.
    client.send(json!({"id": "end", "channel": "nowhere", "rpc": true, "action": null})).await;
    let (mut rows, mut dropped) = (Vec::new(), Vec::new());
    loop {
        let frame = client.receive().await;
        if frame["id"] == "end" {
            rows.sort_by_key(|row: &Value| row[0].to_string());
            return (rows, dropped);
        }
        assert_eq!(frame["channel"], channel, "{frame}");
        let payload = frame["payload"].as_array().unwrap().clone();
        if frame["sync"] == true {
            assert!(rows.is_empty(), "a second answer: {frame}");
            rows = payload;
            continue;
        }
        assert_eq!(frame["type"], "update", "{frame}");
        assert!(rows.is_empty(), "deletions behind the answer: {frame}");
        for row in payload {
            assert!(row[row.as_array().unwrap().len() - 1].is_i64(), "a live row is dropped: {row}");
            dropped.push(row[0].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_13_what_workerd_wrote_becomes_a_room_that_old_pages_resume_in() {
    let (data, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = theirs.path().join("lobby.sqlite");
    std::fs::copy(WORKERD, &file).unwrap();
    std::fs::copy(format!("{WORKERD}-wal"), theirs.path().join("lobby.sqlite-wal")).unwrap();
    let before = std::fs::read(&file).unwrap();
    let server = server(data.path());
    let imported = server.import(Import::durable_object("todos", "lobby", &file)).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let summary = imported.to_string();
    let wanted = "todos/lobby is imported\n  channel todos: 2 rows, 1 deleted, times from 2026-11-25 05:32:14 to 2026-11-25 05:32:15 UTC\n  \
                  private table secrets: 1 rows";
    assert_eq!(summary, wanted);

    // date -u -d '2026-11-25 05:32:14' +%s
    let (created, updated) = (1_795_584_734_000_i64, 1_795_584_735_000_i64);
    let live = [json!(["a", "Milk", 0, created, created, null]), json!(["b", "Rye bread", 1, created, updated, null])];
    let mut client = connect(&server, "/parties/todos/lobby").await;
    assert_eq!(sync(&mut client, "todos", json!(null)).await, (live.to_vec(), vec![]));
    // A page holds what it got from the original, or a mixture: the whole channel follows, and what is deleted.
    for from in [json!("2026-11-25 05:32:14"), json!("2026-11-25 05:32:15"), json!(created), json!(updated)] {
        assert_eq!(sync(&mut client, "todos", from).await, (live.to_vec(), vec![json!("c")]));
    }
    // What comes later is later, and is resumed from as ever.
    client.send(act("1", json!({"type": "create", "payload": {"id": "d", "text": "Jam"}}))).await;
    client.receive().await;
    let action = json!({"id": "2", "channel": "todos", "rpc": true, "action": {"type": "create", "payload": {"id": "d", "text": "Jam"}}});
    client.send(action).await;
    let answer = client.receive().await;
    let at = answer["result"][0][4].as_i64().unwrap();
    assert!(at > updated, "{answer}");
    let (rows, dropped) = sync(&mut client, "todos", json!(at)).await;
    assert_eq!((rows[0][0].as_str(), rows.len(), dropped.len()), (Some("d"), 1, 0));
    // A deleted id is used again.
    let action = json!({"id": "3", "channel": "todos", "rpc": true, "action": {"type": "create", "payload": {"id": "c", "text": "Tea, again"}}});
    client.send(action).await;
    assert_eq!(client.receive().await["type"], "success");
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_13_a_file_that_another_program_has_open_is_taken_as_it_is_at_that_moment() {
    let (_folder, file) = database(&[TODOS, "INSERT INTO todos VALUES ('a', 'Milk', 0, 0, 0, NULL)"]);
    // A room of ours locks its file, as no Durable Object does.
    let holder = SqliteDb::open(&file, &Options::default()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let refused = server.import(Import::durable_object("todos", "lobby", &file)).await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    assert_nothing_is_there(data.path());
    drop(holder);
    assert_eq!(server.import(Import::durable_object("todos", "lobby", &file)).await.unwrap().tables[0].rows, 1);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_14_times_of_all_kinds_keep_their_instants() {
    let rows = format!(
        "INSERT INTO todos VALUES ('a', 'a', 0, '2026-11-23 01:47:34', '2026-11-23T01:47:34.250Z', NULL), \
         ('b', 'b', 0, {AT}, {}, NULL), ('c', 'c', 0, {}.5, NULL, NULL), ('d', 'd', 0, NULL, {AT}, NULL), \
         ('e', 'e', 0, {AT}, '9000-01-01', NULL), ('f', 'f', 0, {AT}, {AT}, '2026-11-23 01:47:35'), \
         ('g', 'g', 0, {AT}, {AT}, 0)",
        AT / 1_000,
        AT / 1_000,
    );
    let (_data, server, imported) = import("todos", &[TODOS, &rows]).await;
    let imported = imported.unwrap();
    let table = &imported.tables[0];
    assert_eq!((table.rows, table.tombstones, table.without_times, table.in_future), (5, 2, 2, 1));
    let mut client = connect(&server, "/parties/todos/lobby").await;
    let (rows, mut dropped) = sync(&mut client, "todos", json!("x")).await;
    dropped.sort_by_key(Value::to_string);
    assert_eq!(dropped, [json!("f"), json!("g")]);
    let times: Vec<_> = rows.iter().map(|row| (row[3].as_i64().unwrap(), row[4].as_i64().unwrap())).collect();
    assert_eq!(times[..4], [(AT, AT + 250), (AT, AT), (AT + 500, AT + 500), (AT, AT)]);
    assert!(times[4].1 < 4_000_000_000_000, "a time of the year 9000 is still there: {:?}", times[4]);
    // The room's own times are later than all of them.
    let action = json!({"id": "1", "channel": "todos", "rpc": true, "action": {"type": "create", "payload": {"id": "z", "text": "z"}}});
    client.send(action).await;
    assert!(client.receive().await["result"][0][4].as_i64().unwrap() > times[4].1);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_13_what_a_room_cannot_hold_is_named_and_nothing_comes() {
    let row = |values: &str| format!("INSERT INTO todos VALUES ({values})");
    let long = format!("INSERT INTO todos VALUES ('{}', 'x', 0, 0, 0, NULL)", "i".repeat(1_025));
    let any = TODOS.replace("TEXT PRIMARY KEY NOT NULL", "PRIMARY KEY").replace(" NOT NULL", "");
    let sql = [
        row("'a', 'a', 0, 'yesterday', 0, NULL"),
        row("'b', 'b', 0, 0, 0, ''"),
        row("'c', x'00', 0, 0, 0, NULL"),
        row("'d', 'd', 2, 0, 0, NULL"),
        row("5, 'e', 0, 0, 0, NULL"),
        row("'f', 'f', 0, 0, 0, NULL"),
        row("'g', 'f', 0, 0, 0, NULL"),
        row("'h', NULL, 0, 0, 0, NULL"),
        row("NULL, 'i', 0, 0, 0, NULL"),
        row("'j', 'j', 'yes', 0, 0, NULL"),
        row("'k', 'k', 9007199254740993, 0, 0, NULL"),
        row("'l', 'l', 9e999, 0, 0, NULL"),
        long,
    ];
    let sql: Vec<&str> = [any.as_str()].into_iter().chain(sql.iter().map(String::as_str)).collect();
    let found = findings("todos", &sql).await;
    for (finding, wanted) in found.iter().zip([
        "table todos, row \"a\": column created_at: \"yesterday\" is no time",
        "table todos, row \"b\": column deleted_at: \"\" is no time",
        "table todos, row \"c\": column text: a BLOB of 1 bytes cannot travel as JSON",
        "table todos, row \"d\": CHECK constraint failed",
        "table todos, row 5: column id: the app's column makes another value of 5",
        "table todos, row \"g\": UNIQUE constraint failed: todos.text; text is \"f\"",
        "table todos, row \"h\": NOT NULL constraint failed: todos.text; text is NULL",
        "table todos, row NULL: its id is none",
        "table todos, row \"j\": cannot store TEXT value in INTEGER column",
        "table todos, row \"k\": column completed: 9007199254740993 cannot travel as JSON",
        "table todos, row \"l\": column completed: inf cannot travel as JSON",
        "table todos, row \"iiiii",
    ]) {
        assert!(finding.starts_with(wanted), "{finding}\n{wanted}");
    }
    assert_eq!(found.len(), 12, "{found:?}");
    assert!(found[3].ends_with("; completed is 2") && found[8].ends_with("; completed is \"yes\""), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_told_up_to_a_bound() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                INSERT INTO todos SELECT 'r' || i, 'r' || i, 0, 'never', 0, NULL FROM n";
    let (_data, server, imported) = import("todos", &[TODOS, rows]).await;
    let Err(ImportError::Refused { findings, more }) = imported else { panic!("{imported:?}") };
    assert_eq!((findings.len(), more), (20, 980));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_13_the_apps_tables_are_the_apps_and_all_others_come_as_they_are() {
    let sql = [
        "CREATE TABLE ITEMS (note TEXT, id INTEGER PRIMARY KEY AUTOINCREMENT, size, \
         created_at TEXT DEFAULT CURRENT_TIMESTAMP, updated_at TEXT, deleted_at TEXT)",
        "INSERT INTO items (id, note, size) VALUES (7, 'seven', 1), (8, 'eight', 2.5)",
        "CREATE TRIGGER touch AFTER UPDATE ON items BEGIN UPDATE items SET updated_at = CURRENT_TIMESTAMP; END",
        "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER REFERENCES items (id), body BLOB, \
         shout TEXT GENERATED ALWAYS AS (upper(word)), word TEXT) STRICT",
        "INSERT INTO logs (item, body, word) VALUES (8, x'0102', 'hey'), (7, NULL, 'you')",
        "DELETE FROM logs WHERE id = 2",
        "CREATE UNIQUE INDEX logs_word ON logs (word)",
        "CREATE TRIGGER logged AFTER INSERT ON logs BEGIN DELETE FROM logs WHERE word = 'secret'; END",
        "CREATE VIEW words AS SELECT word FROM logs",
        "CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
        "INSERT INTO _cf_KV VALUES ('__ps_name', x'00')",
        "CREATE TABLE _cf_METADATA (key INTEGER PRIMARY KEY, value BLOB)",
        "INSERT INTO _cf_METADATA VALUES (1, 2)",
        "CREATE TABLE _migrations (n)",
        "INSERT INTO _migrations VALUES (1)",
        "CREATE VIRTUAL TABLE found USING fts5 (word)",
    ];
    let (data, server, imported) = import("raw", &sql).await;
    let imported = imported.unwrap();
    let tables: Vec<_> = imported.tables.iter().map(|t| (t.name.as_str(), t.is_channel, t.rows)).collect();
    assert_eq!(tables, [("ITEMS", true, 2), ("logs", false, 1)]);
    assert_eq!(
        imported.notes,
        [
            "table ITEMS: the app has its columns in another order than the file: pages get id, size, note, created_at, \
             updated_at, deleted_at",
            "table _cf_KV stays behind: its 1 entries of `ctx.storage` are in a form of the runtime's own",
            "table _migrations stays behind: names that begin with _ are the engine's; it has 1 rows",
            "table found stays behind: it is a virtual table: make it in `on_start`",
            "trigger touch stays behind: the app makes the table items itself: if it needs this, make it in `on_start`",
        ]
    );
    let mut client = connect(&server, "/parties/raw/lobby").await;
    let (rows, _) = sync(&mut client, "items", json!(null)).await;
    // The row that the app makes as it starts, before and after.
    let shown: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone(), row[2].clone())).collect();
    let wanted = [(1, json!(null), "first"), (7, json!(1.0), "seven"), (8, json!(2.5), "eight")];
    assert_eq!(shown, wanted.map(|(id, size, note)| (json!(id), size, json!(note))));
    server.shutdown().await.unwrap();

    let file = support::room_file(data.path());
    let mut db = SqliteDb::open(&file, &Options::default()).unwrap();
    let mut row = Vec::new();
    let mut read = |db: &mut SqliteDb, sql: &str| {
        row.clear();
        db.query(Origin::Engine, sql, &[], &mut |columns| row.extend(columns.to_values())).unwrap();
        row.clone()
    };
    assert_eq!(read(&mut db, "SELECT body, shout FROM logs")[0].as_ref(), ValueRef::Blob(&[1, 2]));
    assert_eq!(read(&mut db, "SELECT shout FROM logs")[0].as_ref(), ValueRef::Text("HEY"));
    assert_eq!(read(&mut db, "SELECT word FROM words")[0].as_ref(), ValueRef::Text("hey"));
    let objects = "SELECT count(*) FROM sqlite_schema WHERE name IN ('logs_word', 'logged', 'words')";
    assert_eq!(read(&mut db, objects)[0].as_ref(), ValueRef::Integer(3));
    // Nobody resumes from before the version that it all is.
    let floor = "SELECT l.version FROM _log AS l JOIN _meta AS m ON m.name = 'floor' AND m.value = l.version WHERE author = 'import'";
    assert_eq!(read(&mut db, floor)[0].as_ref(), ValueRef::Integer(2));
    // An id that was used once is not used again.
    db.execute(Origin::Engine, "INSERT INTO logs (word) VALUES ('me')", &[]).unwrap();
    assert_eq!(read(&mut db, "SELECT max(id) FROM logs")[0].as_ref(), ValueRef::Integer(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_13_what_would_be_lost_between_the_file_and_the_apps_tables_is_refused() {
    assert_eq!(
        findings("raw", &["CREATE TABLE items (note)"]).await,
        ["table items: it has no column id, and is a channel"]
    );
    let items = "CREATE TABLE items (id INTEGER PRIMARY KEY, colour TEXT, created_at, updated_at, deleted_at)";
    assert_eq!(findings("raw", &[items]).await, ["table items: the app's table has no column colour"]);
    let orphan = [
        "CREATE TABLE items (id INTEGER PRIMARY KEY)",
        "CREATE TABLE logs (item INTEGER REFERENCES items (id))",
        "PRAGMA foreign_keys = OFF",
        "INSERT INTO logs VALUES (4)",
    ];
    assert_eq!(findings("raw", &orphan).await, ["table logs: a row refers to one of table items that is not there"]);
    let broken =
        ["CREATE TABLE items (id INTEGER PRIMARY KEY)", "CREATE TABLE x (a)", "CREATE VIEW seen AS SELECT * FROM _log"];
    let found = findings("raw", &broken).await;
    assert!(found[0].starts_with("view seen: it cannot be made: "), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_room_of_the_original_is_refused_with_the_reason() {
    let (folder, file) = database(&[TODOS, "INSERT INTO todos VALUES ('a', 'Milk', 0, 0, 0, NULL)"]);
    let whole = std::fs::read(&file).unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut scribbled = whole.clone();
    scribbled[4_096..].fill(0xaa);
    let other = |sql: &[&str]| database(sql);
    let (_kept, tables) = other(&["CREATE TABLE notes (id)"]);
    let (_kept_too, nothing) = other(&["PRAGMA user_version = 1"]);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    server.import(Import::durable_object("todos", "ours", &file)).await.unwrap();
    let ours = support::room_file(data.path());
    let ours = at("ours", &std::fs::read(ours).unwrap());
    for (file, wanted) in [
        (folder.path().join("nowhere"), "No such file"),
        (folder.path().to_owned(), "it is no file"),
        (at("empty", b""), "it is empty"),
        (at("text", b"once upon a time"), "it is no SQLite database, or an encrypted one"),
        (at("cut", &whole[..whole.len() - 4_096]), "it is damaged, or encrypted: "),
        (at("scribbled", &scribbled), "it is damaged, or encrypted: "),
        (tables, "the file has no table of the app's channels (todos); it has notes"),
        (nothing, "the file has no table of the app's channels (todos); it has nothing"),
        (ours, "the file is the room todos/ours already"),
    ] {
        for replace in [false, true] {
            let import = Import::durable_object("todos", "lobby", &file).replace(replace);
            let error = server.import(import).await.unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}\n{wanted}");
            assert!(!error.contains("staging"), "{error}");
        }
    }
    assert_eq!(support::room_files(data.path()).len(), 1);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_there_stays_unless_it_is_to_be_replaced() {
    let (_folder, file) = database(&[TODOS, "INSERT INTO todos VALUES ('a', 'Milk', 0, 0, 0, NULL)"]);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let address = support::listen(&server).await;
    let mut client = Client::connect(address, "/parties/todos/lobby").await;
    let action = json!({"id": "1", "channel": "todos", "rpc": true, "action": {"type": "create", "payload": {"id": "z", "text": "z"}}});
    client.send(action).await;
    client.receive().await;
    let import = || Import::durable_object("todos", "lobby", &file);
    for import in [import(), import().check_only(true)] {
        let error = server.import(import).await.unwrap_err();
        assert!(matches!(&error, ImportError::Exists(room) if room == "todos/lobby"), "{error}");
    }
    assert!(!server.import(import().replace(true).check_only(true)).await.unwrap().stored);
    let ids = async |client: &mut Client| {
        let (rows, _) = sync(client, "todos", json!(null)).await;
        rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut client).await, ["z"]);
    assert!(server.import(import().replace(true)).await.unwrap().stored);
    assert_eq!(client.drain().await.1, Some(1012));
    assert_eq!(ids(&mut Client::connect(address, "/parties/todos/lobby").await).await, ["a"]);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_stores_nothing_and_says_what_an_import_would_do() {
    let (_folder, file) = database(&[TODOS, "INSERT INTO todos VALUES ('a', 'Milk', 0, 0, 0, NULL)"]);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let checked = server.import(Import::durable_object("todos", "lobby", &file).check_only(true)).await.unwrap();
    assert!(checked.to_string().starts_with("todos/lobby can be imported; nothing is stored yet\n"), "{checked}");
    assert_nothing_is_there(data.path());
    let imported = server.import(Import::durable_object("todos", "lobby", &file)).await.unwrap();
    assert_eq!(imported.tables, checked.tables);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_of_addresses() {
    let (_folder, file) = database(&[TODOS]);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let import = async |party: &str, room: &str| server.import(Import::durable_object(party, room, &file)).await;
    assert!(matches!(import("Todos", "lobby").await, Err(ImportError::NoParty(_))));
    let longest = "n".repeat(512);
    let dots = [".", "..", "%2e", ".%2E", "%2e.", "%2e%2E"];
    let others = ["", "a b", "a/b", "a?b", "a#b", "grün", "a\n", &format!("{longest}n")];
    for room in dots.into_iter().chain(others) {
        assert!(matches!(import("todos", room).await, Err(ImportError::BadName)), "{room}");
    }
    for room in ["a%20b", "...", "a.", "a&b=c;d:e@f", &longest] {
        import("todos", room).await.unwrap();
    }
    let mut client = connect(&server, "/parties/todos/a%20b").await;
    assert_eq!(sync(&mut client, "todos", json!(null)).await, (vec![], vec![]));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_nobody_waits_for_any_more_leaves_nothing() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO todos SELECT 'r' || i, 'r' || i, 0, '2026-11-23 01:47:34', 0, NULL FROM n";
    let (_folder, file) = database(&[TODOS, rows]);
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path());
    let (told, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waiting) = std::sync::mpsc::channel::<()>();
    let import = Import::durable_object("todos", "lobby", &file).on_progress(move |table, rows| {
        drop(told.send((table.to_owned(), rows)));
        let _ = waiting.recv();
    });
    {
        let importing = server.import(import);
        tokio::pin!(importing);
        tokio::select! {
            imported = &mut importing => panic!("{imported:?}"),
            first = progress.recv() => assert_eq!(first, Some(("todos".to_owned(), 1_000))),
        }
    }
    drop(go_on);
    // What told of the progress goes with the import.
    assert_eq!(progress.recv().await, None);
    while files(data.path()).iter().any(|file| file.parent().is_some_and(|folder| folder.ends_with("staging.tmp"))) {
        tokio::task::yield_now().await;
    }
    assert_nothing_is_there(data.path());
    server.shutdown().await.unwrap();
}
