//! The operator's door: who may come in, and what can be done with rooms.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;

use partysync_model::{Db, Origin};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::{Value, json};
use support::operator::{Operator, ask};
use support::{Client, PATIENCE, Served, act, files, ids, serve, serve_with};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LOBBY: &str = "/rooms/notes/lobby";

async fn served() -> (Served, Operator) {
    let served = serve().await;
    let operator = Operator::of(&served.server).await;
    (served, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_health_is_shown_without_the_token() {
    let (served, operator) = served().await;
    Client::join(served.address, "lobby").await.0.put("a").await;
    let wrong = format!("Authorization: Bearer {}x\r\n", operator.token);
    let basic = format!("Authorization: Basic {}\r\n", operator.token);
    for headers in ["", &wrong, &basic, "Authorization: Bearer\r\n", "Authorization: Bearer \r\n"] {
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/rooms"),
            ("GET", LOBBY),
            ("DELETE", "/rooms/notes/lobby?confirm=lobby"),
            ("GET", "/other"),
        ] {
            let answer = ask(operator.address, method, path, headers, b"").await;
            assert_eq!(answer.status, 401, "{path} {headers}");
            assert!(answer.head.contains("www-authenticate: bearer realm=\"partysync\""), "{}", answer.head);
            assert!(!answer.text().contains(&operator.token));
        }
        assert_eq!(ask(operator.address, "GET", "/healthz", headers, b"").await.status, 200);
        assert_eq!(ask(operator.address, "GET", "/readyz", headers, b"").await.status, 200);
    }
    let lower = format!("authorization: bearer {}\r\n", operator.token);
    assert_eq!(ask(operator.address, "GET", LOBBY, &lower, b"").await.status, 200);
    // It is not where rooms are.
    for path in ["/metrics", "/rooms", "/healthz", "/admin"] {
        assert_eq!(ask(served.address, "GET", path, &lower, b"").await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_and_made_by_no_request() {
    let (served, operator) = served().await;
    for (method, path, status) in [
        ("GET", "/rooms/notes/nowhere", 404),
        ("GET", "/rooms/notes/nowhere/backup", 404),
        ("GET", "/rooms/notes/nowhere/export", 404),
        ("PUT", "/rooms/notes/nowhere/export", 422),
        ("DELETE", "/rooms/notes/nowhere?confirm=nowhere", 404),
        ("GET", "/rooms/other/lobby", 404),
        ("GET", "/rooms/notes/", 404),
        ("GET", "/rooms/notes/a/b/c", 404),
        ("GET", "/", 404),
        ("POST", LOBBY, 405),
        ("DELETE", "/rooms", 405),
        ("PUT", "/rooms/notes/nowhere/backup", 405),
    ] {
        assert_eq!(operator.ask(method, path, b"").await.status, status, "{method} {path}");
    }
    assert_eq!(operator.get(&format!("/rooms/notes/{}", "x".repeat(513))).await.status, 404);
    assert!(!served.data.path().join("notes").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_inspected_in_memory_or_not() {
    let served = serve_with(|builder| builder.idle_ms(0)).await;
    let operator = Operator::of(&served.server).await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    ann.put("b").await;
    ann.send(act("c", json!({"type": "alarm", "payload": 600_000}))).await;
    assert_eq!(ann.receive().await["type"], "success");
    let room = operator.json(LOBBY).await;
    assert_eq!(room["room"], "notes/lobby");
    assert_eq!((&room["version"], &room["floor"]), (&json!(2), &json!(0)));
    assert_eq!(room["channels"], json!([{"name": "notes", "rows": 2}]));
    assert_eq!((&room["connections"], &room["outbox"]), (&json!(1), &json!(0)));
    assert!(room["wakes_at"].as_i64() > room["changed_at"].as_i64());
    let file = served.data.path().join(room["file"].as_str().unwrap());
    assert!(file.is_file());
    assert!(room["file_bytes"].as_u64() > Some(16_384), "what is in the log alone counts: {room}");
    drop(ann);
    let without_it = async {
        while operator.json(LOBBY).await["connections"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, without_it).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_listed_by_party_and_in_pages() {
    let (served, operator) = served().await;
    assert_eq!(operator.json("/rooms").await, json!({"parties": ["notes"]}));
    assert_eq!(operator.json("/rooms/notes").await, json!({"rooms": [], "next": null}));
    for room in ["b", "a", "c%20d", "e"] {
        Client::join(served.address, room).await.0.put("a").await;
    }
    assert_eq!(operator.json("/rooms/notes").await, json!({"rooms": ["a", "b", "c%20d", "e"], "next": null}));
    assert_eq!(operator.json("/rooms/notes?limit=3").await, json!({"rooms": ["a", "b", "c%20d"], "next": "c%20d"}));
    // What is asked for is a name as it stands in a path.
    let rest = operator.json("/rooms/notes?limit=3&after=c%20d").await;
    assert_eq!(rest, json!({"rooms": ["e"], "next": null}));
    assert_eq!(operator.get("/rooms/notes?after=a&limit=1").await.status, 400, "limit could be of the name");
    for limit in ["0", "1001", "x", ""] {
        assert_eq!(operator.get(&format!("/rooms/notes?limit={limit}")).await.status, 400, "{limit}");
    }
    assert_eq!(operator.get("/rooms/other").await.status, 404);
    assert_eq!(operator.ask("DELETE", "/rooms/notes/c%20d?confirm=c d", b"").await.status, 400);
    assert_eq!(operator.ask("DELETE", "/rooms/notes/c%20d?confirm=c%20d", b"").await.status, 200);
    assert_eq!(operator.json("/rooms/notes").await["rooms"], json!(["a", "b", "e"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_room_is_on_one_page_whatever_its_name_is() {
    let (served, operator) = served().await;
    let all = ["a", "a%20b", "a&b", "a&confirm=b", "a=b", "x+y", "z"];
    for room in all {
        Client::join(served.address, room).await.0.put("a").await;
    }
    let mut page = operator.json("/rooms/notes?limit=1").await;
    for (at, room) in all.iter().enumerate() {
        assert_eq!(page["rooms"], json!([room]));
        match page["next"].as_str() {
            Some(next) => page = operator.json(&format!("/rooms/notes?limit=1&after={next}")).await,
            None => assert_eq!(at, all.len() - 1),
        }
    }
    for room in all {
        let path = format!("/rooms/notes/{room}?confirm={room}");
        assert_eq!(operator.ask("DELETE", &path, b"").await.status, 200, "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_27_a_room_is_deleted_for_good_if_its_name_is_said_twice() {
    let (served, operator) = served().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    let (mut bob, _) = Client::join(served.address, "other").await;
    for confirm in ["", "?confirm=", "?confirm=other", "?confirm=true", "?confirm=notes/lobby", "?x=lobby"] {
        let answer = operator.ask("DELETE", &format!("{LOBBY}{confirm}"), b"").await;
        assert_eq!((answer.status, answer.text()), (400, "To delete this room for good, add ?confirm=lobby."));
    }
    ann.put("b").await;
    let answer = operator.ask("DELETE", &format!("{LOBBY}?confirm=lobby"), b"").await;
    assert_eq!((answer.status, answer.text()), (200, "notes/lobby is deleted."));
    assert_eq!(ann.drain().await.1, Some(4410));
    assert_eq!(operator.get(LOBBY).await.status, 404);
    let left = files(served.data.path()).into_iter().filter(|file| file.extension().is_some_and(|e| e == "db"));
    assert_eq!(left.count(), 1, "the other room's");
    bob.put("still there").await;
    // Who comes now finds a room that is new.
    let (_, rows) = Client::join(served.address, "lobby").await;
    assert_eq!(rows, Vec::<Value>::new());
    assert_eq!(operator.json(LOBBY).await["version"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_the_room_at_one_moment_while_it_works() {
    let (served, operator) = served().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    for i in 0..20 {
        ann.put(&format!("before-{i:02}")).await;
    }
    let at_work = tokio::spawn(async move {
        for i in 0..100 {
            ann.put(&format!("while-{i:03}")).await;
        }
        ann
    });
    for _ in 0..5 {
        let answer = operator.get(&format!("{LOBBY}/backup")).await;
        assert_eq!(answer.status, 200);
        let (version, rows) = read(&answer.body, served.data.path());
        assert_eq!(rows.len() as i64, version, "each version so far made a row");
        assert!(version >= 20);
    }
    at_work.await.unwrap().put("after").await;
    // Nothing is left behind, once the server has noticed that all was read.
    let staged = served.data.path().join("staging.tmp");
    let cleaned = async {
        while std::fs::read_dir(&staged).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cleaned).await.unwrap();
}

/// The newest version in a backup and the ids of its notes.
fn read(backup: &[u8], folder: &Path) -> (i64, Vec<String>) {
    let file = folder.join("read");
    std::fs::write(&file, backup).unwrap();
    let mut db = SqliteDb::open(&file, &Options::default()).unwrap();
    db.check_integrity().unwrap();
    let (mut version, mut rows) = (0, Vec::new());
    let newest = "SELECT max(version) FROM _log";
    db.query(Origin::Engine, newest, &[], &mut |row| {
        if let partysync_model::ValueRef::Integer(newest) = row.value(0) {
            version = newest;
        }
    })
    .unwrap();
    db.query(Origin::Engine, "SELECT id FROM notes ORDER BY id", &[], &mut |row| {
        if let partysync_model::ValueRef::Text(id) = row.value(0) {
            rows.push(id.to_owned());
        }
    })
    .unwrap();
    drop(db);
    std::fs::remove_file(file).unwrap();
    (version, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_restored_room_goes_on_from_its_backup_and_clients_ahead_of_it_are_reset() {
    let (served, operator) = served().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    ann.put("b").await;
    let backup = operator.get(&format!("{LOBBY}/backup")).await.body;
    let (_, at_backup) = join_v2(&served, None).await;
    ann.put("c").await;
    let (_, ahead) = join_v2(&served, None).await;
    assert_eq!((at_backup["version"].as_u64(), ahead["version"].as_u64()), (Some(2), Some(3)));

    let refused = operator.ask("PUT", LOBBY, &backup).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    ann.put("d").await;
    let answer = operator.ask("PUT", &format!("{LOBBY}?replace=true"), &backup).await;
    assert_eq!((answer.status, answer.text()), (201, "notes/lobby is restored."));
    assert_eq!(ann.drain().await.1, Some(1012), "clients come back");
    assert_eq!(operator.get("/metrics").await.metric("partysync_rooms_left_total{how=\"dropped\"}"), 1.0);

    let (mut ann, rows) = Client::join(served.address, "lobby").await;
    assert_eq!(ids(&rows), ["a", "b"]);
    // Whoever is at the backup's version resumes; whoever is ahead of it is reset, also once the room has as many versions.
    let reset = async |cursor: &Value| join_v2(&served, Some(cursor)).await.1["reset"].clone();
    assert_eq!((reset(&at_backup).await, reset(&ahead).await), (json!(false), json!(true)));
    ann.put("e").await;
    assert_eq!((reset(&at_backup).await, reset(&ahead).await), (json!(false), json!(true)));
}

/// Joins as a new version 2 client, with what an earlier one was told it has.
async fn join_v2(served: &Served, cursor: Option<&Value>) -> (Client, Value) {
    let cursor = cursor.map(|joined| json!({"version": joined["version"], "stamp": joined["stamp"]}));
    let mut client = Client::connect(served.address, "/parties/notes/lobby").await;
    client.send(json!({"type": "hello", "versions": [2]})).await;
    assert_eq!(client.receive().await["type"], "welcome");
    let id = "0123456789abcdef0123456789abcdef";
    client.send(json!({"type": "join", "room": "notes/lobby", "client": id, "cursor": cursor, "born": null})).await;
    let joined = client.receive().await;
    assert_eq!(joined["type"], "joined", "{joined}");
    (client, joined)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_restored_where_there_is_none_and_under_another_name_if_that_is_wanted() {
    let (served, operator) = served().await;
    Client::join(served.address, "lobby").await.0.put("a").await;
    let backup = operator.get(&format!("{LOBBY}/backup")).await.body;
    let copy = "/rooms/notes/copy";
    let refused = operator.ask("PUT", copy, &backup).await;
    let why = "The file is the room notes/lobby. To make it the room notes/copy, add rename=true.";
    assert_eq!((refused.status, refused.text()), (422, why));
    assert_eq!(operator.ask("PUT", &format!("{copy}?rename=true"), &backup).await.status, 201);
    let (mut ann, rows) = Client::join(served.address, "copy").await;
    assert_eq!(ids(&rows), ["a"]);
    ann.put("b").await;
    assert_eq!(Client::join(served.address, "lobby").await.1.len(), 1, "the other one is as it was");
    assert_eq!(operator.ask("DELETE", &format!("{LOBBY}?confirm=lobby"), b"").await.status, 200);
    assert_eq!(operator.ask("PUT", LOBBY, &backup).await.status, 201);
    assert_eq!(ids(&Client::join(served.address, "lobby").await.1), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_15_a_room_moves_as_a_file_and_who_was_in_it_goes_on() {
    let (served, operator) = served().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    ann.put("b").await;
    let (_, joined) = join_v2(&served, None).await;
    let answer = operator.get(&format!("{LOBBY}/export")).await;
    assert!(answer.head.contains("content-type: application/jsonl"), "{}", answer.head);
    let file = answer.body;
    let put = async |path: &str, file: &[u8]| operator.ask("PUT", path, file).await;

    // Half of it is none of it.
    let export = &format!("{LOBBY}/export");
    let half = put(&format!("{export}?replace=true"), &file[..file.len() / 2]).await;
    assert_eq!(half.status, 422);
    assert!(half.text().starts_with("The file is not in order: line "), "{}", half.text());
    let no_text = put(&format!("{export}?replace=true"), &[0xff; 9]).await;
    assert_eq!((no_text.status, no_text.text()), (422, "The file is no text."));
    assert_eq!(put(export, &file).await.status, 409);
    let other = put("/rooms/notes/copy/export", &file).await;
    let why = "The file is the room notes/lobby. To make it the room notes/copy, add rename=true.";
    assert_eq!((other.status, other.text()), (422, why));

    // In a home of its own.
    let elsewhere = serve().await;
    let there = Operator::of(&elsewhere.server).await;
    let answer = there.ask("PUT", export, &file).await;
    assert_eq!((answer.status, answer.text()), (201, "notes/lobby is restored."));
    assert_eq!(join_v2(&elsewhere, Some(&joined)).await.1["reset"], json!(false), "it resumes");
    let (mut ann, rows) = Client::join(elsewhere.address, "lobby").await;
    assert_eq!(ids(&rows), ["a", "b"]);
    ann.put("c").await;
    assert_eq!(there.get(export).await.body.split(|byte| *byte == b'\n').count(), {
        // One row, its version and its change more.
        file.split(|byte| *byte == b'\n').count() + 3
    });
    assert_eq!(there.ask("PUT", "/rooms/notes/copy/export?rename=true", &file).await.status, 201);
    assert_eq!(ids(&Client::join(elsewhere.address, "copy").await.1), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_come_to_its_end_keeps_no_server_from_stopping() {
    let (served, operator) = served().await;
    let mut stalls = TcpStream::connect(operator.address).await.unwrap();
    let Operator { token, .. } = &operator;
    let head =
        format!("PUT {LOBBY} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\nS");
    stalls.write_all(head.as_bytes()).await.unwrap();
    let staged = served.data.path().join("staging.tmp");
    let comes = async {
        while std::fs::read_dir(&staged).map_or(0, Iterator::count) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, comes).await.unwrap();
    served.server.shutdown().await.unwrap();
    // From now on none is taken in.
    assert_eq!(operator.ask("PUT", LOBBY, b"SQLite").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_room_replaces_none() {
    let (served, operator) = served().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    for i in 0..300 {
        ann.put(&format!("note-{i:03}")).await;
    }
    let good = operator.get(&format!("{LOBBY}/backup")).await.body;
    let mut cut = good.clone();
    cut.truncate(good.len() / 4_096 / 2 * 4_096);
    // Where nothing looks when a room is opened: a page of notes.
    let mut damaged = good.clone();
    let note = good.windows(12).position(|bytes| bytes == b"note-150text").unwrap();
    let page = note / 4_096 * 4_096;
    damaged[page..page + 4_096].fill(0xff);
    let newer = changed(&good, served.data.path(), "UPDATE _meta SET value = 99 WHERE name = 'format'");
    let other_table = changed(&good, served.data.path(), "ALTER TABLE notes RENAME COLUMN text TO texts");
    let no_room = changed(&good, served.data.path(), "DROP TABLE _meta");
    let nothing: &[u8] = b"";
    for (what, file) in [
        ("nothing", nothing),
        ("not a database", &[b'x'; 8_192]),
        ("cut", &cut),
        ("damaged", &damaged),
        ("newer", &newer),
        ("another schema", &other_table),
        ("no room's", &no_room),
    ] {
        let answer = operator.ask("PUT", &format!("{LOBBY}?replace=true"), file).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        assert!(answer.text().starts_with("The file "), "{what}: {}", answer.text());
        assert!(!answer.text().contains("staging.tmp"), "{what}: {}", answer.text());
    }
    assert_eq!(operator.ask("PUT", &format!("{LOBBY}?replace=yes"), &good).await.status, 400);
    ann.put("its socket is open still").await;
    let staged = served.data.path().join("staging.tmp");
    assert_eq!(std::fs::read_dir(staged).unwrap().count(), 0, "nothing is left behind");
}

/// A database's file after a statement.
fn changed(file: &[u8], folder: &Path, sql: &str) -> Vec<u8> {
    let path = folder.join("changed");
    std::fs::write(&path, file).unwrap();
    let mut db = SqliteDb::open(&path, &Options::default()).unwrap();
    db.execute(Origin::Engine, sql, &[]).unwrap();
    db.checkpoint().unwrap();
    drop(db);
    let changed = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_opened_can_be_replaced_and_deleted() {
    let served = serve_with(|builder| builder.idle_ms(0)).await;
    let operator = Operator::of(&served.server).await;
    Client::join(served.address, "lobby").await.0.put("a").await;
    let good = operator.get(&format!("{LOBBY}/backup")).await.body;
    let broken = served.data.path().join(operator.json(LOBBY).await["file"].as_str().unwrap());
    let until_closed = async {
        while broken.with_extension("db-wal").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, until_closed).await.unwrap();
    let spoil = || {
        std::fs::write(&broken, "x".repeat(8_192)).unwrap();
        std::fs::write(broken.with_extension("db-wal"), "a log of nothing").unwrap();
    };
    spoil();
    let answer = operator.get(LOBBY).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().starts_with("The room cannot be opened: "), "{}", answer.text());
    let restored = operator.ask("PUT", &format!("{LOBBY}?replace=true"), &good).await;
    assert_eq!(restored.status, 201, "{}", restored.text());
    assert_eq!(ids(&Client::join(served.address, "lobby").await.1), ["a"]);
    tokio::time::timeout(PATIENCE, async {
        while served.server.in_use().rooms > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    spoil();
    assert_eq!(operator.ask("DELETE", &format!("{LOBBY}?confirm=lobby"), b"").await.status, 200);
    assert_eq!(Client::join(served.address, "lobby").await.1, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_when_the_server_stops_or_cannot_write() {
    let (served, operator) = served().await;
    let ready = operator.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready"));
    served.server.shutdown().await.unwrap();
    let not_ready = operator.get("/readyz").await;
    assert_eq!((not_ready.status, not_ready.text()), (503, "not ready: the server stops"));
    assert_eq!(operator.get("/healthz").await.status, 200, "it lives all the same");
    assert_eq!(operator.get("/metrics").await.metric("partysync_stopping"), 1.0);
    assert_eq!(operator.get(LOBBY).await.status, 503);

    let (served, operator) = self::served().await;
    // A file where the folder for probes would be.
    std::fs::write(served.data.path().join("staging.tmp"), "").unwrap();
    let not_ready = operator.get("/readyz").await;
    assert_eq!((not_ready.status, not_ready.text()), (503, "not ready: the data directory cannot be written to"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_can_be_part_of_an_app() {
    let data = tempfile::tempdir().unwrap();
    let server = support::builder(data.path()).build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = server.router().merge(server.health_router());
    tokio::spawn(async move { server.serve_app(listener, app, std::future::pending()).await });
    assert_eq!(ask(address, "GET", "/healthz", "", b"").await.text(), "ok");
    assert_eq!(ask(address, "GET", "/readyz", "", b"").await.text(), "ready");
    assert_eq!(ask(address, "GET", "/metrics", "", b"").await.status, 404);
    let (mut ann, _) = Client::join(address, "lobby").await;
    ann.put("a").await;
}
