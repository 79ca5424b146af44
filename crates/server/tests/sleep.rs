//! Rooms that are not in memory: how they leave it and come back, with sockets or without, and after a restart.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use partysync_model::{ActionError, Db, DbErrorKind, ErrorCode, Origin, Schema, Tx};
use partysync_room::{Call, Changed, SyncServer};
use partysync_server::{BuildError, Builder, Server};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::{Value, json};
use support::{
    Client, Notes, PATIENCE, Served, act, builder, ids, listen, put, room_file, room_files, runtime, serve_with,
    until_closed,
};

/// Opens a room's file once the room has let go of it: the log goes before the lock does.
fn hold(file: &Path) -> SqliteDb {
    let start = Instant::now();
    loop {
        match SqliteDb::open(file, &Options::default()) {
            Err(error) if error.kind == DbErrorKind::Io && start.elapsed() < PATIENCE => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Rooms that leave memory as soon as they may.
async fn sleepy() -> Served {
    serve_with(|builder| builder.idle_ms(1)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_version_1_sockets_do_not_notice_that_their_room_was_asleep() {
    let served = sleepy().await;
    let path = "/parties/notes/lobby?_pk=ann";
    let mut ann = Client::connect(served.address, path).await;
    ann.sync().await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    for round in 0..3 {
        let file = room_file(served.data.path());
        until_closed(&file).await;
        ann.put(&format!("a{round}")).await;
        assert_eq!(bob.receive().await["payload"][0][0], format!("a{round}"));
        until_closed(&file).await;
        // Sent again right after waking, it has its outcome and is not run again.
        ann.send(put(&format!("a{round}"), "again")).await;
        let answer = ann.receive().await;
        assert_eq!((&answer["type"], &answer["result"][0][1]), (&json!("success"), &json!("text")), "{answer}");
    }
    until_closed(&room_file(served.data.path())).await;
    assert_eq!(ids(&bob.sync().await), ["a0", "a1", "a2"]);
}

/// A version 2 client, in the room.
async fn join_v2(served: &Served, client: &str) -> Client {
    let mut socket = Client::connect(served.address, "/parties/notes/lobby").await;
    socket.send(json!({"type": "hello", "versions": [2]})).await;
    assert_eq!(socket.receive().await["type"], "welcome");
    socket.send(json!({"type": "join", "room": "notes/lobby", "client": client, "cursor": null})).await;
    assert_eq!(socket.receive().await["type"], "joined");
    assert_eq!(socket.receive().await["type"], "snapshot");
    socket
}

fn action(number: u64, id: &str) -> Value {
    let put = json!({"type": "put", "payload": {"id": id, "text": "text"}});
    json!({"type": "action", "room": "notes/lobby", "number": number, "channel": "notes", "action": put})
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_version_2_clients_keep_their_place_while_their_room_is_asleep() {
    let served = sleepy().await;
    let mut ann = join_v2(&served, &"a".repeat(32)).await;
    let mut bob = join_v2(&served, &"b".repeat(32)).await;
    let file = room_file(served.data.path());
    for number in 1..4_u64 {
        until_closed(&file).await;
        ann.send(action(number, &format!("n{number}"))).await;
        let ack = ann.receive().await;
        assert_eq!((&ack["type"], &ack["number"], &ack["version"]), (&json!("ack"), &json!(number), &json!(number)));
        for socket in [&mut ann, &mut bob] {
            let patch = socket.receive().await;
            assert_eq!((&patch["type"], &patch["from"]), (&json!("patch"), &json!(number - 1)), "{patch}");
        }
        until_closed(&file).await;
        // The number is known after waking.
        ann.send(action(number, "another")).await;
        let ack = ann.receive().await;
        assert_eq!((&ack["type"], &ack["number"]), (&json!("ack"), &json!(number)), "{ack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_ping_is_answered_without_waking_the_room() {
    let served = sleepy().await;
    let mut ann = join_v2(&served, &"a".repeat(32)).await;
    let file = room_file(served.data.path());
    until_closed(&file).await;
    // Whoever opens the file finds it locked if the room is in memory.
    let held = hold(&file);
    ann.send(json!({"type": "ping"})).await;
    assert_eq!(ann.receive().await["type"], "pong");
    drop(held);
    ann.send(action(1, "n")).await;
    assert_eq!(ann.receive().await["type"], "ack");
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_room_that_cannot_wake_closes_its_sockets_and_wakes_for_the_next() {
    let served = sleepy().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    let file = room_file(served.data.path());
    until_closed(&file).await;
    let held = hold(&file);
    ann.send(put("b", "text")).await;
    assert_eq!(ann.drain().await, (vec![], Some(1011)));
    drop(held);
    let (_, rows) = Client::join(served.address, "lobby").await;
    assert_eq!(ids(&rows), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_open_rooms_at_the_limit_and_one_past_it() {
    let served = serve_with(|builder| builder.open_rooms(2)).await;
    let mut clients = Vec::new();
    for room in 0..7 {
        clients.push(Client::join(served.address, &room.to_string()).await.0);
        let open = open_rooms(served.data.path());
        assert!(open <= 2, "{open} rooms are in memory");
    }
    // Nobody notices: each of them comes back for its next action.
    for round in 0..3 {
        for (room, client) in clients.iter_mut().enumerate() {
            client.put(&format!("{room}-{round}")).await;
            assert!(open_rooms(served.data.path()) <= 2);
        }
    }
}

/// A file that is open has a log beside it.
fn open_rooms(data: &Path) -> usize {
    room_files(data).iter().filter(|file| file.with_extension("db-wal").exists()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_many_rooms_share_few_places() {
    let served = serve_with(|builder| builder.open_rooms(3)).await;
    let tasks: Vec<_> = (0..20)
        .map(|room| {
            let address = served.address;
            tokio::spawn(async move {
                let (mut client, _) = Client::join(address, &format!("r{room}")).await;
                for note in 0..10 {
                    client.put(&format!("n{note}")).await;
                }
                client.sync().await.len()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 10);
    }
}

/// A server whose rooms say when their alarm ran.
fn with_alarms(builder: Builder) -> (Builder, mpsc::Receiver<()>) {
    let (alarms, rung) = mpsc::channel();
    (builder.party("alarms", move || Notes { alarms: Some(alarms.clone()) }), rung)
}

fn build_when_free(build: impl Fn() -> Builder) -> Server {
    let start = Instant::now();
    loop {
        match build().build() {
            Err(BuildError::Locked { .. }) if start.elapsed() < PATIENCE => std::thread::yield_now(),
            built => return built.unwrap(),
        }
    }
}

/// Sets a room's alarm, to ring so many milliseconds from now.
async fn set_alarm(server: &Server, room: &str, in_ms: i64) -> Client {
    let mut client = Client::connect(listen(server).await, &format!("/parties/alarms/{room}")).await;
    client.send(act("a", json!({"type": "alarm", "payload": in_ms}))).await;
    assert_eq!(client.receive().await["type"], "success");
    client
}

#[test]
fn p12_an_alarm_rings_after_a_restart_though_nobody_opens_the_room() {
    let data = tempfile::tempdir().unwrap();
    let first = runtime();
    first.block_on(async {
        let (builder, rung) = with_alarms(builder(data.path()));
        let server = builder.build().unwrap();
        drop(set_alarm(&server, "lobby", 200).await);
        server.shutdown().await.unwrap();
        assert!(rung.try_recv().is_err(), "it is to ring in the second server");
    });
    drop(first);
    rings_in_the_next_server(data.path());
}

fn rings_in_the_next_server(data: &Path) {
    runtime().block_on(async {
        let (alarms, rung) = mpsc::channel();
        let _server = build_when_free(|| {
            let alarms = alarms.clone();
            builder(data).party("alarms", move || Notes { alarms: Some(alarms.clone()) })
        });
        tokio::task::spawn_blocking(move || rung.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    });
}

#[test]
fn spec_7_8_an_alarm_that_was_in_memory_when_the_process_died_rings_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let first = runtime();
    first.block_on(async {
        let server = with_alarms(builder(data.path())).0.build().unwrap();
        // Its socket is open still, and so is the room.
        std::mem::forget(set_alarm(&server, "lobby", 60_000).await);
    });
    // What the room's own file says is what counts.
    drop(first);
    let file = room_file(data.path());
    let mut db = hold(&file);
    db.execute(Origin::Engine, "UPDATE _timer SET at = 1 WHERE name = 'alarm'", &[]).unwrap();
    drop(db);
    rings_in_the_next_server(data.path());
}

#[test]
fn spec_7_8_a_registry_that_is_missing_or_damaged_is_made_anew_from_the_files() {
    for damage in [remove as fn(&Path), scribble, truncate, of_another_format] {
        let data = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let server = with_alarms(builder(data.path())).0.build().unwrap();
            drop(set_alarm(&server, "lobby", 300).await);
            server.shutdown().await.unwrap();
        });
        let registry = data.path().join("rooms.sqlite");
        damage(&registry);
        let was_there = registry.exists();
        rings_in_the_next_server(data.path());
        let names: Vec<_> =
            std::fs::read_dir(data.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // With its log, if it has one.
        let is_aside = |name: &&String| name.starts_with("rooms.sqlite.damaged-") && !name.ends_with("-wal");
        assert_eq!(names.iter().filter(is_aside).count(), usize::from(was_there), "{names:?}");
    }
}

fn remove(registry: &Path) {
    std::fs::remove_file(registry).unwrap();
}

fn scribble(registry: &Path) {
    std::fs::write(registry, "x".repeat(10_000)).unwrap();
}

/// Cuts it in the middle.
fn truncate(registry: &Path) {
    let bytes = std::fs::read(registry).unwrap();
    std::fs::write(registry, &bytes[..bytes.len() / 2]).unwrap();
}

fn of_another_format(registry: &Path) {
    let mut db = SqliteDb::open(registry, &Options::default()).unwrap();
    db.execute(Origin::Engine, "UPDATE registry SET format = 99", &[]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_7_a_file_that_was_a_rooms_and_is_not_any_more_is_not_opened_as_an_empty_room() {
    let served = sleepy().await;
    Client::join(served.address, "lobby").await.0.put("a").await;
    let file = room_file(served.data.path());
    until_closed(&file).await;
    let good = std::fs::read(&file).unwrap();
    let refused = Some((503, "The room cannot reach its storage at the moment.".to_owned()));
    for content in ["empty", "a database without tables", "a database of something else"] {
        std::fs::write(&file, "").unwrap();
        if content != "empty" {
            let mut db = hold(&file);
            if content.ends_with("else") {
                db.execute(Origin::Engine, "CREATE TABLE something (else_ INTEGER)", &[]).unwrap();
            }
        }
        let before = std::fs::read(&file).unwrap();
        let path = "/parties/notes/lobby";
        assert_eq!(Client::try_connect(served.address, path).await.err(), refused, "{content}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{content} is left as it is");
    }
    std::fs::write(&file, good).unwrap();
    assert_eq!(ids(&Client::join(served.address, "lobby").await.1), ["a"]);
}

#[test]
fn spec_7_8_a_room_whose_making_was_cut_short_is_made_in_full() {
    let data = tempfile::tempdir().unwrap();
    let first = runtime();
    let file = first.block_on(async {
        let server = builder(data.path()).party("fragile", || Failing).build().unwrap();
        let refused = Client::try_connect(listen(&server).await, "/parties/fragile/lobby").await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(500));
        server.shutdown().await.unwrap();
        room_file(data.path())
    });
    drop(first);
    // As a process leaves it that dies while it makes the file.
    std::fs::write(&file, "").unwrap();
    runtime().block_on(async {
        let build = || builder(data.path()).party("fragile", || Notes { alarms: None });
        let mut ann = Client::connect(listen(&build_when_free(build)).await, "/parties/fragile/lobby").await;
        ann.put("a").await;
    });
}

/// A room whose app does not start.
struct Failing;

impl SyncServer for Failing {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_start(&mut self, _: &mut Tx<'_>) -> Result<(), ActionError> {
        Err(ErrorCode::AppError.into())
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Ok(Changed::Captured)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_who_finds_no_place_for_a_room_is_told_that_the_server_is_busy() {
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let gate = Arc::new(Mutex::new((entered, may_leave)));
    let served =
        serve_with(|builder| builder.open_rooms(1).party("slow", move || Slow { gate: Arc::clone(&gate) })).await;
    let mut ann = Client::connect(served.address, "/parties/slow/lobby").await;
    ann.send(act("a", json!({}))).await;
    // It has work under way: it does not make place.
    tokio::task::spawn_blocking(move || is_entered.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    let start = Instant::now();
    let busy = Some((503, "The room is busy. Try again soon.".to_owned()));
    assert_eq!(Client::try_connect(served.address, "/parties/notes/lobby").await.err(), busy);
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    leave.send(()).unwrap();
    assert_eq!(ann.receive().await["type"], "success");
    Client::join(served.address, "lobby").await.0.put("a").await;
}

type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);

/// A room whose actions take until the test lets them go.
struct Slow {
    gate: Arc<Mutex<Gate>>,
}

impl SyncServer for Slow {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        let gate = self.gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv_timeout(PATIENCE).unwrap();
        Ok(Changed::Captured)
    }
}
