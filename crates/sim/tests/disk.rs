//! SQLite on a simulated disk.
// What tests share may panic too.
#![allow(clippy::unwrap_used)]

use partysync_model::{Db, DbErrorKind, Origin, Verdict};
use partysync_sim::{Disk, Fault, Operation, Rng};
use partysync_sqlite::SqliteDb;

fn open(disk: &Disk) -> SqliteDb {
    SqliteDb::open(&disk.path("room.db"), &disk.options()).unwrap()
}

fn add(db: &mut SqliteDb, n: i64) -> Result<(), DbErrorKind> {
    let mut inserted = Ok(0);
    let committed = db.transaction(&mut |db| {
        let blob = format!("INSERT INTO t VALUES ({n}, zeroblob({}))", 100 + n * 37 % 9_000);
        inserted = db.execute(Origin::Engine, &blob, &[]);
        if inserted.is_ok() { Verdict::Keep } else { Verdict::Undo }
    });
    inserted.and(committed.map(|()| 0)).map(|_| ()).map_err(|e| e.kind)
}

fn numbers(db: &mut SqliteDb) -> Vec<i64> {
    let mut all = Vec::new();
    db.query(Origin::Engine, "SELECT n FROM t ORDER BY n", &[], &mut |row| {
        if let partysync_model::ValueRef::Integer(n) = row.value(0) {
            all.push(n);
        }
    })
    .unwrap();
    all
}

fn intact(db: &mut SqliteDb) {
    db.query(Origin::Engine, "PRAGMA integrity_check", &[], &mut |row| {
        assert_eq!(row.value(0), partysync_model::ValueRef::Text("ok"));
    })
    .unwrap();
}

fn created(disk: &Disk) -> SqliteDb {
    let mut db = open(disk);
    db.execute(Origin::Engine, "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)", &[]).unwrap();
    db
}

#[test]
fn p3_a_commit_survives_a_power_cut_at_any_write_or_sync() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let disk = Disk::new(seed);
        let mut db = created(&disk);
        let mut acked = 0;
        for _ in 0..4 {
            let operation = *rng.pick(&[Operation::Write, Operation::Sync]);
            let fault = *rng.pick(&[Fault::PowerCutBefore, Fault::PowerCutAfter, Fault::Error]);
            disk.fail_after(operation, rng.below(20), fault);
            for n in acked + 1.. {
                if rng.chance(100) && db.checkpoint().is_err() || add(&mut db, n).is_err() {
                    break;
                }
                acked = n;
            }
            disk.cut_power();
            drop(db);
            disk.crash();
            disk.disarm();
            db = open(&disk);
            intact(&mut db);
            let found = numbers(&mut db);
            assert!(found.len() as i64 == acked || found.len() as i64 == acked + 1, "seed {seed}: {acked}, {found:?}");
            assert!(found.iter().copied().eq(1..=found.len() as i64), "seed {seed}");
            acked = found.len() as i64;
        }
    }
}

#[test]
fn p3_a_new_file_is_not_opened_without_its_log_whatever_fails() {
    for (operation, fault) in [(Operation::Sync, Fault::Error), (Operation::Write, Fault::Error)] {
        for count in 0..12 {
            let disk = Disk::new(count);
            disk.fail_after(operation, count, fault);
            let opened = SqliteDb::open(&disk.path("room.db"), &disk.options());
            let Ok(mut db) = opened else { continue };
            disk.disarm();
            db.execute(Origin::Engine, "CREATE TABLE t (n INTEGER)", &[]).unwrap();
            assert!(db.log_bytes().unwrap() > 0, "{operation:?} {count}: the commit is not in the log");
        }
    }
}

/// A sync failed, after which the system takes the log for written. Then the file is closed and opened anew, while the disk has little room or
/// fails again, and the power goes.
#[test]
fn p3_a_file_is_whole_after_a_failed_sync_and_a_power_cut_while_it_is_opened() {
    let mut cut = 0;
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let disk = Disk::new(seed);
        let mut db = created(&disk);
        (1..=5).for_each(|n| add(&mut db, n).unwrap());
        if rng.chance(700) {
            db.checkpoint().unwrap();
        }
        // If it has to begin the log, the first sync is that of its header.
        disk.fail_after(Operation::Sync, rng.below(2), Fault::Error);
        let _ = db.execute(Origin::Engine, "UPDATE t SET b = zeroblob(20000 - 2 * length(b))", &[]);
        disk.disarm();
        if rng.chance(500) {
            disk.full_at(Some(disk.used() + rng.index(20_000)));
        }
        let operation = *rng.pick(&[Operation::Write, Operation::Sync]);
        disk.fail_after(operation, rng.below(6), *rng.pick(&[Fault::PowerCutBefore, Fault::PowerCutAfter]));
        if rng.chance(300) {
            disk.fail_after(Operation::Read, rng.below(8), Fault::Error);
        }
        drop(db);
        let opened = SqliteDb::open(&disk.path("room.db"), &disk.options());
        cut += u64::from(disk.is_off());
        disk.cut_power();
        drop(opened);
        disk.crash();
        disk.disarm();
        disk.full_at(None);
        let mut db = open(&disk);
        intact(&mut db);
        assert!(numbers(&mut db).starts_with(&[1, 2, 3, 4, 5]), "seed {seed}");
    }
    assert!(cut > 500, "{cut}");
}

/// What can be read should be: that the log cannot be copied into the file is no reason to refuse it.
#[test]
fn p3_a_file_with_a_log_opens_on_a_full_disk() {
    let disk = Disk::new(1);
    let mut db = created(&disk);
    (1..=5).for_each(|n| add(&mut db, n).unwrap());
    disk.kill_process();
    drop(db);
    disk.full_at(Some(disk.used()));
    let mut db = open(&disk);
    assert_eq!(numbers(&mut db), [1, 2, 3, 4, 5]);
    assert_eq!(add(&mut db, 6), Err(DbErrorKind::Full));
    disk.full_at(None);
    add(&mut db, 6).unwrap();
}

#[test]
fn p3_a_disk_that_lies_loses_commits() {
    let lost = (0..20).any(|seed| {
        let disk = Disk::new(seed);
        let mut db = created(&disk);
        disk.lie(true);
        add(&mut db, 1).unwrap();
        disk.cut_power();
        drop(db);
        disk.crash();
        numbers(&mut open(&disk)).is_empty()
    });
    assert!(lost);
}

#[test]
fn a_killed_process_loses_nothing_that_was_committed() {
    let disk = Disk::new(1);
    let mut db = created(&disk);
    disk.lie(true);
    add(&mut db, 1).unwrap();
    disk.kill_process();
    drop(db);
    assert_eq!(numbers(&mut open(&disk)), [1]);
}

#[test]
fn a_full_disk_is_reported_and_passes() {
    let disk = Disk::new(1);
    let mut db = created(&disk);
    disk.full_at(Some(disk.used() + 100));
    assert_eq!(add(&mut db, 1), Err(DbErrorKind::Full));
    disk.full_at(None);
    assert_eq!(add(&mut db, 1), Ok(()));
}

#[test]
fn a_read_that_fails_is_reported() {
    let disk = Disk::new(1);
    let mut db = created(&disk);
    add(&mut db, 1).unwrap();
    drop(db);
    disk.fail_after(Operation::Read, 1, Fault::Error);
    let error = SqliteDb::open(&disk.path("room.db"), &disk.options()).unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Io);
    assert_eq!(numbers(&mut open(&disk)), [1]);
}

#[test]
fn two_disks_know_nothing_of_each_other() {
    let (a, b) = (Disk::new(1), Disk::new(1));
    let (mut first, mut second) = (created(&a), created(&b));
    add(&mut first, 1).unwrap();
    assert_eq!((numbers(&mut first), numbers(&mut second)), (vec![1], vec![]));
    assert!(a.counts().syncs > b.counts().syncs);
}

#[test]
fn a_file_has_one_owner() {
    let disk = Disk::new(1);
    let db = created(&disk);
    assert_eq!(SqliteDb::open(&disk.path("room.db"), &disk.options()).unwrap_err().kind, DbErrorKind::Io);
    drop(db);
    open(&disk);
}
