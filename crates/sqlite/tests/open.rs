//! Opening: settings, and files that cannot be opened.

#![allow(clippy::unwrap_used, clippy::panic)] // These are tests, their helpers too.

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
#[cfg(unix)]
use std::sync::Mutex;

use common::{Folder, engine, keep, list, memory, rows_of};
use partysync_model::{Db, DbErrorKind, Origin};
#[cfg(unix)]
use partysync_sqlite::rewrite_file;
use partysync_sqlite::{Options, SqliteDb};

fn open(path: &Path) -> SqliteDb {
    SqliteDb::open(path, &Options::default()).unwrap()
}

fn refusal(path: &Path) -> DbErrorKind {
    let error = SqliteDb::open(path, &Options::default()).unwrap_err();
    assert!(error.message.contains(&path.display().to_string()), "it names the file: {error}");
    error.kind
}

/// A file with a table of a few hundred rows, all of it in the database file.
fn filled(path: &Path) {
    let mut db = open(path);
    engine(
        &mut db,
        &[
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)",
            "INSERT INTO t SELECT value, printf('%0200d', value) FROM json_each((SELECT json_group_array(i) FROM
             (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n)))",
        ],
    );
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn p3_a_file_is_opened_with_the_settings_that_durability_rests_on() {
    let folder = Folder::new();
    let mut db = open(&folder.path("room.db"));
    for (pragma, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("locking_mode", "exclusive"),
        ("foreign_keys", "1"),
        ("recursive_triggers", "1"),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("wal_autocheckpoint", "0"),
        ("busy_timeout", "0"),
        ("temp_store", "2"),
    ] {
        assert_eq!(list(&mut db, &format!("PRAGMA {pragma}")), value, "{pragma}");
    }
}

#[test]
fn p12_a_room_is_a_file_and_its_log_and_no_shared_memory() {
    let folder = Folder::new();
    let mut db = open(&folder.path("room.db"));
    engine(&mut db, &["CREATE TABLE t (id)", "INSERT INTO t VALUES (1)"]);
    assert_eq!(folder.names(), ["room.db", "room.db-wal"]);
    drop(db);
    assert_eq!(folder.names(), ["room.db"]);
}

#[test]
fn spec_7_7_a_file_is_opened_once_at_a_time() {
    let folder = Folder::new();
    let path = folder.path("room.db");
    let db = open(&path);
    assert_eq!(refusal(&path), DbErrorKind::Io);
    drop(db);
    open(&path);
}

#[test]
fn a_checkpoint_empties_the_log() {
    let folder = Folder::new();
    let path = folder.path("room.db");
    let mut db = open(&path);
    engine(&mut db, &["CREATE TABLE t (id)", "INSERT INTO t VALUES (1)"]);
    let wal = || fs::metadata(folder.path("room.db-wal")).unwrap().len();
    assert!(wal() > 0);
    db.checkpoint().unwrap();
    assert_eq!(wal(), 0);
    keep(&mut db, |db| engine(db, &["INSERT INTO t VALUES (2)"])).unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1 2");
    memory().checkpoint().unwrap();
}

#[test]
fn commits_leave_the_log_alone_until_it_is_copied() {
    let folder = Folder::new();
    let mut db = open(&folder.path("room.db"));
    let file = |suffix: &str| fs::metadata(folder.path(&format!("room.db{suffix}"))).unwrap().len();
    engine(&mut db, &["CREATE TABLE t (id)"]);
    let before = file("");
    // More pages than SQLite lets a log have when it is left to itself.
    for _ in 0..12 {
        engine(&mut db, &["INSERT INTO t VALUES (zeroblob(400000))"]);
    }
    let (log, header) = (file("-wal"), 32);
    assert_eq!((file(""), db.log_bytes().unwrap() + header), (before, log));
    db.copy_log().unwrap();
    assert!(file("") > 12 * 400_000);
    assert_eq!((db.log_bytes().unwrap(), file("-wal")), (0, log));
    // From its start again.
    engine(&mut db, &["INSERT INTO t VALUES (1)"]);
    assert!((1..100_000).contains(&db.log_bytes().unwrap()));
    assert_eq!(file("-wal"), log);
    assert_eq!(memory().log_bytes().unwrap(), 0);
    memory().copy_log().unwrap();
}

#[test]
fn p3_what_is_seen_after_a_crash_is_in_the_file_before_anybody_sees_it() {
    let folder = Folder::new();
    let mut db = open(&folder.path("room.db"));
    engine(&mut db, &["CREATE TABLE t (id)", "INSERT INTO t VALUES (1)"]);
    // As a process leaves it that is killed: the row is in the log alone, and maybe not synced.
    for (from, to) in [("room.db", "killed.db"), ("room.db-wal", "killed.db-wal")] {
        fs::copy(folder.path(from), folder.path(to)).unwrap();
    }
    let mut db = open(&folder.path("killed.db"));
    fs::copy(folder.path("killed.db"), folder.path("file alone.db")).unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1");
    assert_eq!(list(&mut open(&folder.path("file alone.db")), "SELECT id FROM t"), "1");
}

#[cfg(unix)]
#[test]
fn spec_7_12_the_log_of_a_file_that_a_link_leads_to_is_written_again_too() {
    static WRITTEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    let folder = Folder::new();
    let mut db = open(&folder.path("room.db"));
    engine(&mut db, &["CREATE TABLE t (id)", "INSERT INTO t VALUES (1)"]);
    for (from, to) in [("room.db", "killed.db"), ("room.db-wal", "killed.db-wal")] {
        fs::copy(folder.path(from), folder.path(to)).unwrap();
    }
    std::os::unix::fs::symlink(folder.path("killed.db"), folder.path("link.db")).unwrap();
    let rewrite = |path: &Path| {
        let has_any = rewrite_file(path)?;
        if has_any {
            WRITTEN.lock().unwrap().push(path.to_owned());
        }
        Ok(has_any)
    };
    let options = Options { rewrite: Some(rewrite), ..Options::default() };
    let mut db = SqliteDb::open(&folder.path("link.db"), &options).unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1");
    let log = fs::canonicalize(folder.path("killed.db-wal")).unwrap();
    assert_eq!(*WRITTEN.lock().unwrap(), [log]);
}

#[test]
fn a_path_is_a_path_whatever_it_looks_like() {
    let name = format!("file:partysync-{}.db?mode=memory", std::process::id());
    let db = open(Path::new(&name));
    let is_there = Path::new(".").join(&name).exists();
    drop(db);
    let _ = fs::remove_file(Path::new(".").join(&name));
    assert!(is_there);
    assert_eq!(SqliteDb::open(Path::new(""), &Options::default()).unwrap_err().kind, DbErrorKind::Io);
}

#[test]
fn a_file_that_is_no_database_is_corrupt() {
    let folder = Folder::new();
    for (name, content) in [("text", "not a database, but a text ".repeat(100)), ("short", "short".to_owned())] {
        let path = folder.path(name);
        fs::write(&path, &content).unwrap();
        assert_eq!(refusal(&path), DbErrorKind::Corrupt, "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "it stays as it was");
    }
}

#[test]
fn a_file_with_a_damaged_schema_is_corrupt() {
    let folder = Folder::new();
    let path = folder.path("room.db");
    filled(&path);
    overwrite(&path, 100, &[0xff; 3_000]);
    assert_eq!(refusal(&path), DbErrorKind::Corrupt);
}

#[test]
fn a_file_that_was_cut_off_is_corrupt() {
    let folder = Folder::new();
    let path = folder.path("room.db");
    filled(&path);
    fs::File::options().write(true).open(&path).unwrap().set_len(3 * 4_096).unwrap();
    assert_eq!(refusal(&path), DbErrorKind::Corrupt);
}

#[test]
fn damage_elsewhere_is_found_when_it_is_read() {
    let folder = Folder::new();
    let path = folder.path("room.db");
    filled(&path);
    overwrite(&path, 4 * 4_096, &[0xff; 4_096]);
    let mut db = open(&path);
    assert_eq!(rows_of(&mut db, Origin::Action, "SELECT * FROM t").unwrap_err().kind, DbErrorKind::Corrupt);
}

#[test]
fn a_file_that_cannot_be_made_is_an_io_error() {
    let folder = Folder::new();
    fs::write(folder.path("file"), "").unwrap();
    let paths = [
        folder.path("nowhere/room.db"),
        folder.path("file/room.db"),
        folder.path("."),
        Path::new("/proc/room.db").to_owned(),
        folder.path("n\0l"),
    ];
    for path in paths {
        assert_eq!(refusal(&path), DbErrorKind::Io, "{path:?}");
    }
}

#[test]
fn a_database_opens_through_the_vfs_that_is_named() {
    let folder = Folder::new();
    let through = |vfs: &str| Options { vfs: Some(vfs.to_owned()), ..Options::default() };
    // It has no shared memory, and locks with a folder beside the file.
    let mut db = SqliteDb::open(&folder.path("room.db"), &through("unix-dotfile")).unwrap();
    engine(&mut db, &["CREATE TABLE t (id)"]);
    assert!(folder.names().contains(&"room.db.lock".to_owned()));
    let error = SqliteDb::open(&folder.path("other.db"), &through("nowhere")).unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Io);
}

#[test]
fn a_database_moves_between_threads() {
    let mut db = memory();
    engine(&mut db, &["CREATE TABLE t (id)"]);
    let mut db = std::thread::spawn(move || {
        db.execute(Origin::Engine, "INSERT INTO t VALUES (1)", &[]).unwrap();
        db
    })
    .join()
    .unwrap();
    assert_eq!(list(&mut db, "SELECT id FROM t"), "1");
}
