//! How servers and rooms begin and end.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use partysync_model::{ActionError, Db, DbErrorKind, Origin, Schema, Tx};
use partysync_room::{Call, Changed, SyncServer};
use partysync_server::{BuildError, Server};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::json;
use support::{
    Client, Notes, PATIENCE, act, builder, ids, listen, put, room_file, runtime, serve, serve_with, until_closed,
};

#[test]
fn p3_what_was_acked_is_there_after_a_server_that_just_vanished() {
    let data = tempfile::tempdir().unwrap();
    let first = runtime();
    first.block_on(async {
        let server = builder(data.path()).build().unwrap();
        let (mut ann, _) = Client::join(listen(&server).await, "lobby").await;
        ann.put("a").await;
        ann.put("b").await;
        // Its socket is open still.
        std::mem::forget(ann);
    });
    drop(first);
    runtime().block_on(async {
        let (mut ann, rows) = Client::join(listen(&build_when_free(data.path())).await, "lobby").await;
        assert_eq!(ids(&rows), ["a", "b"]);
        ann.put("c").await;
    });
}

/// A server on a directory that another one is about to leave.
fn build_when_free(data: &Path) -> Server {
    let start = Instant::now();
    loop {
        match builder(data).build() {
            Err(BuildError::Locked { .. }) if start.elapsed() < PATIENCE => std::thread::yield_now(),
            built => return built.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_27_a_shutdown_finishes_and_closes_with_1012() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let (mut bob, _) = Client::join(served.address, "other").await;
    ann.put("a").await;
    let stopping = tokio::spawn({
        let server = served.server.clone();
        async move { server.shutdown().await }
    });
    assert_eq!(ann.drain().await, (vec![], Some(1012)));
    assert_eq!(bob.drain().await, (vec![], Some(1012)));
    let refused = Client::try_connect(served.address, "/parties/notes/lobby").await.err();
    assert_eq!(refused, Some((503, "The server is about to restart.".to_owned())));
    // Reading on is what answers the close.
    assert_eq!((ann.receive_message().await, bob.receive_message().await), (None, None));
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
    let left: Vec<_> =
        support::files(served.data.path()).into_iter().filter(|f| f.to_string_lossy().ends_with("-wal")).collect();
    assert!(left.is_empty(), "all files are closed: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_actions_that_have_arrived() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    for i in 0..500 {
        ann.send(put(&format!("n{i}"), "text")).await;
    }
    // The last is answered or not, but what is answered is kept, and what is kept is a prefix.
    let stopping = tokio::spawn({
        let server = served.server.clone();
        async move { server.shutdown().await }
    });
    let (answers, end) = ann.drain().await;
    assert_eq!(end, Some(1012));
    drop(ann);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
    let mut db = SqliteDb::open(&room_file(served.data.path()), &Options::default()).unwrap();
    let mut kept = 0;
    db.query(Origin::Engine, "SELECT id FROM notes", &[], &mut |_| kept += 1).unwrap();
    assert_eq!(kept, answers.len());
}

#[test]
fn spec_7_7_a_second_server_on_the_same_directory_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let first = builder(data.path()).build().unwrap();
    let error = builder(data.path()).build().unwrap_err();
    assert!(matches!(error, BuildError::Locked { .. }));
    let path = data.path().display();
    assert_eq!(
        error.to_string(),
        format!("the data directory {path} is in use by another server: stop that one, or take another directory")
    );
    drop(first);
    build_when_free(data.path());
}

#[test]
fn what_a_server_cannot_be_made_of_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(builder(&file).build(), Err(BuildError::NoData { .. })));
    assert!(matches!(builder(&file.join("below")).build(), Err(BuildError::NoData { .. })));
    for name in ["", "lock", "Notes", "a/b", "..", "é", &"p".repeat(65)] {
        let with_name = builder(data.path()).party(name, || Notes { alarms: None });
        assert!(matches!(with_name.build(), Err(BuildError::PartyName(_))), "{name}");
    }
    let twice = builder(data.path()).party("notes", || Notes { alarms: None });
    assert!(matches!(twice.build(), Err(BuildError::PartyTwice(_))));
    for prefix in ["parties", "/parties/", "/", "/{party}"] {
        assert!(matches!(builder(data.path()).prefix(prefix).build(), Err(BuildError::Prefix(_))), "{prefix}");
    }
    // None of them has kept the lock.
    build_when_free(data.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_room_that_nobody_uses_leaves_memory_and_comes_back_unseen() {
    let served = serve_with(|builder| builder.idle_ms(1)).await;
    for round in 0..5 {
        let (mut ann, rows) = Client::join(served.address, "lobby").await;
        assert_eq!(rows.len(), round);
        ann.put(&format!("n{round}")).await;
        drop(ann);
        until_closed(&room_file(served.data.path())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_who_comes_while_a_room_leaves_memory_finds_it() {
    let served = serve_with(|builder| builder.idle_ms(0)).await;
    for round in 0..200 {
        let (mut ann, rows) = Client::join(served.address, "lobby").await;
        assert_eq!(rows.len(), round);
        ann.put(&format!("n{round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_an_alarm_rings_in_a_room_that_has_left_memory() {
    let (alarms, rung) = mpsc::channel();
    let served =
        serve_with(|builder| builder.idle_ms(1).party("alarms", move || Notes { alarms: Some(alarms.clone()) })).await;
    let mut ann = Client::connect(served.address, "/parties/alarms/lobby").await;
    ann.send(act("a", json!({"type": "alarm", "payload": 700}))).await;
    assert_eq!(ann.receive().await["type"], "success");
    drop(ann);
    until_closed(&room_file(served.data.path())).await;
    assert!(rung.try_recv().is_err(), "the room was in memory all the time");
    tokio::task::spawn_blocking(move || rung.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    let mut ann = Client::connect(served.address, "/parties/alarms/lobby").await;
    assert_eq!(ann.sync().await[0][1], "rang");
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_an_alarm_rings_for_those_who_are_there() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.send(act("a", json!({"type": "alarm", "payload": 1}))).await;
    assert_eq!(ann.receive().await["type"], "success");
    assert_eq!(ann.receive().await["payload"][0][1], "rang");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_whose_file_is_of_no_use_is_refused_with_503_and_opens_once_it_is_mended() {
    let served = serve_with(|builder| builder.idle_ms(1)).await;
    Client::join(served.address, "lobby").await.0.put("a").await;
    let file = room_file(served.data.path());
    until_closed(&file).await;
    set_format(&file, 2);
    let path = "/parties/notes/lobby";
    let newer = "The room was written by a newer version of the server.";
    assert_eq!(Client::try_connect(served.address, path).await.err(), Some((503, newer.to_owned())));

    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "x".repeat(8_192)).unwrap();
    let failed = "The room cannot reach its storage at the moment.";
    assert_eq!(Client::try_connect(served.address, path).await.err(), Some((503, failed.to_owned())));

    std::fs::write(&file, good).unwrap();
    set_format(&file, 1);
    assert_eq!(ids(&Client::join(served.address, "lobby").await.1), ["a"]);
}

fn set_format(file: &Path, format: i64) {
    let start = Instant::now();
    let mut db = loop {
        match SqliteDb::open(file, &Options::default()) {
            // The log goes before the file is closed.
            Err(error) if error.kind == DbErrorKind::Io && start.elapsed() < PATIENCE => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    db.execute(Origin::Engine, "UPDATE _meta SET value = ? WHERE name = 'format'", &[format.into()]).unwrap();
}

/// A room that may fail to start.
struct Fragile {
    _field: u8,
    fails: bool,
}

impl SyncServer for Fragile {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_start(&mut self, _: &mut Tx<'_>) -> Result<(), ActionError> {
        if self.fails { Err(ActionError::reject("no", "A secret of the app's.")) } else { Ok(()) }
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        Notes { alarms: None }.on_action(tx, call)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_whose_app_fails_to_start_is_refused_with_500() {
    let served = serve_with(|builder| builder.party("fragile", || Fragile { _field: 0, fails: true })).await;
    let refused = Client::try_connect(served.address, "/parties/fragile/lobby").await.err();
    assert_eq!(refused, Some((500, "The action failed.".to_owned())));
}

/// A room whose value panics when it is dropped: what no core can contain.
struct Explosive {
    armed: Arc<AtomicBool>,
}

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "as the test wants");
    }
}

impl SyncServer for Explosive {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        Notes { alarms: None }.on_action(tx, call)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_panics_closes_its_sockets_with_1011_and_comes_back() {
    let armed = Arc::new(AtomicBool::new(false));
    let make = {
        let armed = Arc::clone(&armed);
        move || Explosive { armed: Arc::clone(&armed) }
    };
    let served = serve_with(|builder| builder.party("fragile", make)).await;
    let mut ann = Client::connect(served.address, "/parties/fragile/lobby").await;
    let mut bob = Client::connect(served.address, "/parties/fragile/lobby").await;
    let (mut eve, _) = Client::join(served.address, "lobby").await;
    ann.put("a").await;
    bob.sync().await;

    // The value is dropped after a step that is undone.
    armed.store(true, Ordering::SeqCst);
    ann.send(act("p", json!({"type": "panic"}))).await;
    assert_eq!(ann.drain().await, (vec![], Some(1011)));
    assert_eq!(bob.drain().await, (vec![], Some(1011)));

    let mut ann = Client::connect(served.address, "/parties/fragile/lobby").await;
    assert_eq!(ids(&ann.sync().await), ["a"]);
    ann.put("b").await;
    eve.put("e").await;
}
