//! The data directory: who may use it, and where in it a room is (SPEC 7.7).

use std::fmt::Write;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use partysync_model::{DbError, DbErrorKind};
use partysync_room::RoomName;
use sha2::{Digest, Sha256};

use crate::BuildError;

/// A data directory that is this process's as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked; the operating system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and locks it.
    pub(crate) fn lock(path: PathBuf) -> Result<Self, BuildError> {
        let path = std::path::absolute(&path).unwrap_or(path);
        make_folders(&path).map_err(|source| BuildError::NoData { path: path.clone(), source })?;
        let not_writable = |source| BuildError::NotWritable { path: path.clone(), source };
        let lock =
            File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(BuildError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(not_writable(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the registry of rooms is (SPEC 7.8). A party's folder cannot have this name.
    pub(crate) fn registry_file(&self) -> PathBuf {
        self.path.join("rooms.sqlite")
    }

    /// Where a room's file is. What a client chose is only in the hash.
    pub(crate) fn room_file(&self, name: &RoomName) -> PathBuf {
        let hash = Sha256::digest(name.room()).iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        self.path.join(name.party()).join(&hash[..2]).join(hash + ".db")
    }
}

/// A failure outside of SQLite, as one of the database.
pub(crate) fn db_error(error: &io::Error) -> DbError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    DbError::new(if full { DbErrorKind::Full } else { DbErrorKind::Io }, error.to_string())
}

/// Makes a folder and those above it. What is new is on disk when this returns.
pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return fs::create_dir(path) };
    make_folders(parent)?;
    match fs::create_dir(path) {
        // Another room of the same folder may be as new as this one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    flush_folder(path)?;
    flush_folder(parent)
}

/// Puts a folder's list of names on disk.
#[cfg(unix)]
pub(crate) fn flush_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Only Unix opens folders as files. Elsewhere the file system is trusted to keep names.
#[cfg(not(unix))]
pub(crate) fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_7_7_a_rooms_file_is_named_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::lock(folder.path().join("a/b")).unwrap();
        // printf lobby | sha256sum
        let expected = folder.path().join("a/b/todos/4b/4b5dc076e7b9c122b3c89121a9710fc7.db");
        assert_eq!(data.room_file(&RoomName::new("todos", "lobby")), expected);
    }
}
