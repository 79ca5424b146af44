//! Files that are about to become rooms, or copies of rooms on their way out. They are in a folder of the data directory, so
//! that a file can be moved into its place in one step, and are gone when nobody needs them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data::{self, DataDir};

/// No party's folder has a dot in its name.
const FOLDER: &str = "staging.tmp";

/// Numbers files, so that each has a name of its own.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The path of a file that is removed when this is dropped, with what SQLite may have put beside it.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
}

impl Staged {
    /// A new path, at which there is nothing yet.
    pub(crate) fn new(data: &DataDir) -> io::Result<Self> {
        let folder = data.path().join(FOLDER);
        data::make_folders(&folder)?;
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        Ok(Staged { path: folder.join(number.to_string()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to where it belongs, in one step.
    pub(crate) fn move_to(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left is removed when the server starts again.
        let _ = remove_database(&self.path);
    }
}

/// Removes what a server that died has left.
pub(crate) fn clean(data: &DataDir) -> io::Result<()> {
    match fs::remove_dir_all(data.path().join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a database's file and those that SQLite puts beside it. None of them has to be there.
pub(crate) fn remove_database(path: &Path) -> io::Result<()> {
    // The file first: a log without its file is nothing, a file without its log may lack what was acked.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}

/// Removes the log beside a file, so that it cannot be taken for another file's.
pub(crate) fn remove_logs(path: &Path) -> io::Result<()> {
    ["-wal", "-shm", "-journal"].iter().try_for_each(|suffix| remove(&beside(path, suffix)))
}

/// The bytes of a file and of the log beside it.
pub(crate) fn bytes(path: &Path) -> u64 {
    let size = |suffix| fs::metadata(beside(path, suffix)).map(|file| file.len()).unwrap_or_default();
    size("") + size("-wal")
}

/// Whether there is a log beside a file.
pub(crate) fn has_log(path: &Path) -> bool {
    beside(path, "-wal").exists() || beside(path, "-journal").exists()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
