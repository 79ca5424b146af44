//! A simulated disk: files in memory, power cuts, faults on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use partysync_sqlite::Options;

use crate::platter::{DiskError, Platter};
use crate::vfs;

/// All disks there are, by number: a file's path says on which it is.
static DISKS: Mutex<BTreeMap<u64, Weak<Mutex<Platter>>>> = Mutex::new(BTreeMap::new());

static NEXT_DISK: AtomicU64 = AtomicU64::new(1);

/// A disk of its own. Clones are the same disk; it is gone with the last of them and of the files open on it.
///
/// SQLite reaches it with [`options`](Disk::options) at paths from [`path`](Disk::path).
#[derive(Debug, Clone)]
pub struct Disk {
    number: u64,
    platter: Arc<Mutex<Platter>>,
}

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading from a file.
    Read,
    /// Writing to a file, truncating it, making or deleting one.
    Write,
    /// Syncing a file.
    Sync,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// That one operation returns an error.
    Error,
    /// The power goes before it did anything. Everything fails until [`Disk::crash`].
    PowerCutBefore,
    /// The power goes after it was done, and before anybody learns of it.
    PowerCutAfter,
}

/// How often what was done, since the disk was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes, truncations, deletions.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Operations that were made to fail.
    pub faults: u64,
}

impl Disk {
    /// An empty disk. The seed decides what crashes and failed syncs leave.
    pub fn new(seed: u64) -> Self {
        vfs::register();
        let platter = Arc::new(Mutex::new(Platter::new(seed)));
        let number = NEXT_DISK.fetch_add(1, Ordering::Relaxed);
        let mut disks = lock(&DISKS);
        disks.retain(|_, disk| disk.strong_count() > 0);
        disks.insert(number, Arc::downgrade(&platter));
        Disk { number, platter }
    }

    /// How SQLite opens files on it.
    pub fn options(&self) -> Options {
        let rewrite: Option<fn(&Path) -> io::Result<bool>> = self.lock().is_powersafe().then_some(rewrite);
        Options { vfs: Some(vfs::NAME.to_owned()), rewrite, ..Options::default() }
    }

    /// The path of a file on this disk.
    pub fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/disk-{}/{file}", self.number))
    }

    /// The power goes: whoever has files open gets nothing but errors, now and after [`crash`](Self::crash).
    pub fn cut_power(&self) {
        self.lock().cut_power();
    }

    /// The power goes and comes back: what was not synced is there in part.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// The process that has files open dies, and a new one may open them. The system's cache, and so every write, stays.
    pub fn kill_process(&self) {
        self.lock().new_era();
    }

    /// Makes the operation after the next `count` of its kind fail, once.
    pub fn fail_after(&self, operation: Operation, count: u64, fault: Fault) {
        self.lock().arm(operation, count, fault);
    }

    /// Takes back all faults that have not happened yet; those that happened stay.
    pub fn disarm(&self) {
        self.lock().disarm();
    }

    /// The disk has room for so many bytes; `None`: for any number.
    pub fn full_at(&self, bytes: Option<usize>) {
        self.lock().set_capacity(bytes);
    }

    /// Whether [`full_at`](Self::full_at) limits it.
    pub fn is_full(&self) -> bool {
        self.lock().is_limited()
    }

    /// Bytes in files now.
    pub fn used(&self) -> usize {
        self.lock().used()
    }

    /// What a file holds now, synced or not.
    pub fn copy(&self, file: &str) -> Option<Vec<u8>> {
        self.lock().content(file)
    }

    /// Puts a file in place of what has its name, or nothing, durably. Nobody may have it open.
    pub fn replace(&self, file: &str, content: Option<Vec<u8>>) {
        self.lock().replace(file, content);
    }

    /// A disk that lies says that a sync is done and does nothing.
    pub fn lie(&self, lies: bool) {
        self.lock().set_lies(lies);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.lock().is_off()
    }

    /// How often what was done.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        lock(&self.platter)
    }
}

/// Finds a path's disk and the file's name on it.
pub(crate) fn find(path: &str) -> Option<(Arc<Mutex<Platter>>, &str)> {
    let (number, name) = path.strip_prefix("/disk-")?.split_once('/')?;
    let disk = lock(&DISKS).get(&number.parse().ok()?)?.upgrade()?;
    Some((disk, name))
}

/// Writes a file again that is on a disk, and syncs it.
fn rewrite(path: &Path) -> io::Result<bool> {
    let (platter, name) = path.to_str().and_then(find).ok_or(io::ErrorKind::NotFound)?;
    lock(&platter).rewrite(name).map_err(|error| match error {
        DiskError::Full => io::ErrorKind::StorageFull.into(),
        _ => io::Error::other("the simulated disk failed"),
    })
}

/// A panic elsewhere leaves the data as good as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
