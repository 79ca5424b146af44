//! Disks and files that are not as they should be. Who asks is told so, what was acked stays, and rooms that are well go on.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use partysync_model::{Db, Origin};
use partysync_server::{BuildError, Import, ImportError};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::json;
use support::{Client, PATIENCE, Served, builder, ids, listen, put, room_file, room_files, serve_with, until_closed};

/// A file system of its own in memory, so large and no larger.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and a line that says so, where the system does not let a test mount one.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(folder));
        }
        eprintln!("left out: mounting a small disk takes root");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once or when the last file in it is closed.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_10_a_full_disk_is_told_costs_nothing_that_was_acked_and_is_got_over() {
    const FULL: &str = "The room cannot store anything at the moment.";

    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let server = builder(&disk.path().join("data")).build().unwrap();
    let address = listen(&server).await;
    let (mut ann, _) = Client::join(address, "lobby").await;
    let (mut bob, _) = Client::join(address, "lobby").await;
    let mut acked = Vec::new();
    let text = "x".repeat(10_000);
    loop {
        let id = format!("n{:04}", acked.len());
        ann.send(put(&id, &text)).await;
        let answer = ann.receive().await;
        if answer["type"] == "error" {
            assert_eq!(answer["error"], json!([FULL]));
            break;
        }
        assert_eq!(bob.receive().await["payload"][0][0], id);
        acked.push(id);
        assert!(acked.len() < 1_000, "the disk never is full");
    }
    assert!(acked.len() > 20, "{} rows fit", acked.len());
    // Who reads still can, and nobody saw the row that was refused.
    assert_eq!(ids(&bob.sync().await), acked);
    assert_eq!(ids(&Client::join(address, "lobby").await.1), acked);
    let refused = Client::try_connect(address, "/parties/notes/new").await.map(|_| ());
    assert!(matches!(&refused, Err((503, text)) if text == FULL) || refused.is_ok(), "{refused:?}");

    std::fs::remove_file(ballast).unwrap();
    let again = format!("n{:04}", acked.len());
    ann.put(&again).await;
    assert_eq!(bob.receive().await["payload"][0][0], again);
    acked.push(again);
    assert_eq!(ids(&Client::join(address, "lobby").await.1), acked);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_12_a_room_that_was_in_memory_when_the_process_died_opens_on_a_full_disk() {
    let (Some(first), Some(disk)) = (SmallDisk::mount("size=8m"), SmallDisk::mount("size=8m")) else { return };
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(|| Lines).init();
    let server = builder(&first.path().join("data")).build().unwrap();
    let address = listen(&server).await;
    let (mut ann, _) = Client::join(address, "lobby").await;
    for i in 0..200 {
        ann.put(&format!("n{i:03}")).await;
    }
    // As the process leaves the files if it is killed. The log of the room is not copied, and is longer than the file.
    let copied = Command::new("cp").arg("-r").arg(first.path().join("data")).arg(disk.path()).status();
    assert!(copied.unwrap().success());
    let mut ballast = std::fs::File::create(disk.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}

    let killed = builder(&disk.path().join("data")).idle_ms(1).build().unwrap();
    let (address, file) = (listen(&killed).await, room_file(&disk.path().join("data")));
    // Again and again, though the list cannot be told that it left memory meanwhile.
    for _ in 0..3 {
        let (client, rows) = Client::join(address, "lobby").await;
        assert_eq!(rows.len(), 200);
        drop(client);
        until_no_descriptor(&file).await;
    }
    // What cannot be written is tried again, but not without a pause.
    let before = LINES.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let lines = LINES.load(Ordering::Relaxed) - before;
    assert!((1..=20).contains(&lines), "{lines} lines of errors in 2.5 s");
    assert_eq!(Client::join(address, "lobby").await.1.len(), 200);
    killed.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
}

/// Lines that were logged of the list of rooms.
static LINES: AtomicUsize = AtomicUsize::new(0);

/// Counts them, and drops them.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.fetch_add(
            usize::from(String::from_utf8_lossy(bytes).contains("the registry of rooms cannot")),
            Ordering::Relaxed,
        );
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until a room has left memory whose log stays, as there is no place to copy it.
async fn until_no_descriptor(file: &Path) {
    let is_open = || {
        let mut all = std::fs::read_dir("/proc/self/fd").unwrap();
        all.any(|entry| std::fs::read_link(entry.unwrap().path()).is_ok_and(|path| path == file))
    };
    let start = Instant::now();
    while is_open() {
        assert!(start.elapsed() < PATIENCE, "the room is still in memory");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_written_is_refused_by_name() {
    let Some(disk) = SmallDisk::mount("size=1m,ro") else { return };
    for (path, place) in [(disk.path().to_owned(), "written to"), (disk.path().join("below"), "made")] {
        let error = builder(&path).build().unwrap_err();
        assert!(matches!(error, BuildError::NotWritable { .. } | BuildError::NoData { .. }));
        let told = error.to_string();
        assert!(told.contains(path.to_str().unwrap()) && told.contains(place), "{told}");
        assert!(told.contains("Read-only file system"), "{told}");
    }
}

/// A server whose rooms leave memory at once, with the rooms `lobby` and `other`, and their files.
async fn two_rooms() -> (Served, PathBuf, PathBuf) {
    let served = serve_with(|builder| builder.idle_ms(1)).await;
    for room in ["lobby", "other"] {
        let (mut ann, _) = Client::join(served.address, room).await;
        for i in 0..200 {
            ann.put(&format!("{room}{i:03}")).await;
        }
    }
    let files = room_files(served.data.path());
    for file in &files {
        until_closed(file).await;
    }
    // The names' hashes begin with 4b and d9.
    let [lobby, other] = &files[..] else { panic!("{files:?}") };
    assert!(lobby.to_string_lossy().contains("/4b/"), "{files:?}");
    (served, lobby.clone(), other.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_10_a_file_that_is_no_rooms_or_not_this_rooms_is_refused_and_left_as_it_is() {
    let (served, lobby, other) = two_rooms().await;
    let good = std::fs::read(&lobby).unwrap();
    let mut garbled = good.clone();
    garbled[..100].fill(0x55);
    for (case, bytes) in [
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("cut within its first page", good[..1_000].to_vec()),
        ("another head", garbled),
        ("text", b"hello\n".repeat(1_000)),
        ("another room's", std::fs::read(&other).unwrap()),
    ] {
        std::fs::write(&lobby, &bytes).unwrap();
        let refused = Client::try_connect(served.address, "/parties/notes/lobby").await.err();
        let text = "The room cannot reach its storage at the moment.".to_owned();
        assert_eq!(refused, Some((503, text)), "{case}");
        assert!(std::fs::read(&lobby).unwrap() == bytes, "{case}: the file was changed");
        assert_eq!(Client::join(served.address, "other").await.1.len(), 200, "{case}");
    }
    std::fs::write(&lobby, &good).unwrap();
    assert_eq!(Client::join(served.address, "lobby").await.1.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_10_damage_in_the_middle_of_a_file_is_told_and_never_taken_for_rows() {
    let (served, lobby, _) = two_rooms().await;
    let good = std::fs::read(&lobby).unwrap();
    let expected = Client::join(served.address, "lobby").await.1;
    let page = 4_096;
    assert!(good.len() > 3 * page);
    let mut told = 0;
    for at in (page..good.len()).step_by(page) {
        // As long as the room is in memory, it may not read its file.
        until_closed(&lobby).await;
        let mut bad = good.clone();
        bad[at..at + 64].fill(0xa5);
        std::fs::write(&lobby, &bad).unwrap();
        match Client::try_connect(served.address, "/parties/notes/lobby").await {
            Err((status, text)) => {
                assert_eq!((status, &*text), (503, "The room cannot reach its storage at the moment."));
                told += 1;
            }
            Ok(mut ann) => {
                ann.send(json!({"channel": "notes", "sync": true, "from": null})).await;
                let answer = ann.receive().await;
                if answer["sync"] == true {
                    // The damage is where these rows are not.
                    assert_eq!(answer["payload"].as_array().unwrap(), &expected, "page {}", at / page);
                } else {
                    assert_eq!(answer["exception"], json!(["The room cannot reach its storage at the moment."]));
                    told += 1;
                }
            }
        }
    }
    assert!(told > 0);
}

/// A file to import, of so many KiB.
fn object(file: &Path, kib: usize) -> SqliteDb {
    let mut db = SqliteDb::open(file, &Options::default()).unwrap();
    let table =
        "CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT, created_at TEXT, updated_at TEXT, deleted_at TEXT)";
    db.execute(Origin::Engine, table, &[]).unwrap();
    let row = "INSERT INTO notes VALUES (?, ?, '2026-11-23 01:47:34', '2026-11-23 01:47:34', NULL)";
    for id in 0..kib {
        db.execute(Origin::Engine, row, &[id.to_string().into(), "x".repeat(1_024).into()]).unwrap();
    }
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_the_disk_cannot_take_leaves_nothing_and_can_be_tried_again() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (small, large) = (elsewhere.path().join("small"), elsewhere.path().join("large"));
    drop(object(&small, 100));
    drop(object(&large, 2_000));
    let server = builder(disk.path()).build().unwrap();
    let refused = server.import(Import::durable_object("notes", "lobby", &large)).await.unwrap_err();
    assert!(matches!(refused, ImportError::Storage(_)), "{refused}");
    assert_eq!(room_files(disk.path()), Vec::<PathBuf>::new());
    let imported = server.import(Import::durable_object("notes", "lobby", &small)).await.unwrap();
    assert_eq!(imported.tables[0].rows, 100);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_from_where_nobody_can_write_works_unless_there_is_a_log() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let (whole, logged) = (disk.path().join("file:100%? whole.sqlite"), disk.path().join("logged.sqlite"));
    drop(object(&whole, 10));
    let _unfinished = object(&logged, 10);
    let copy = disk.path().join("copy.sqlite");
    std::fs::copy(&logged, &copy).unwrap();
    std::fs::copy(disk.path().join("logged.sqlite-wal"), disk.path().join("copy.sqlite-wal")).unwrap();
    let bound = tempfile::tempdir().unwrap();
    let mounted = |args: &[&str]| Command::new("mount").args(args).arg(bound.path()).status().unwrap().success();
    let from = disk.path().to_str().unwrap();
    assert!(mounted(&["--bind", from]) && mounted(&["-o", "remount,bind,ro"]));
    let read_only = SmallDisk(bound);

    let data = tempfile::tempdir().unwrap();
    let server = builder(data.path()).build().unwrap();
    let import = |room: &str, file: &Path| {
        let file = read_only.path().join(file.file_name().unwrap());
        server.import(Import::durable_object("notes", room, file))
    };
    assert_eq!(import("whole", &whole).await.unwrap().tables[0].rows, 10);
    let refused = import("logged", &copy).await.unwrap_err().to_string();
    assert!(refused.contains("it cannot be read"), "{refused}");
    assert_eq!(room_files(data.path()).len(), 1);
    server.shutdown().await.unwrap();
}
