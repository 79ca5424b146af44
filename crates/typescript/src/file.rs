//! The page's file: checked, or written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::NameTaken;

/// The environment variable that asks for the file to be written.
pub(crate) const UPDATE: &str = "UPDATE_TYPES";

const HEAD: &str = "// Made from the room's Rust types: UPDATE_TYPES=1 cargo test. Not to be edited.\n\n";

/// A file does not hold the room's types.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StaleTypes {
    /// The room's types have changed since it was written, or it is not there.
    #[error("{} is not what the room's types are now: renew it with UPDATE_TYPES=1 cargo test", .0.display())]
    Stale(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no such file for these types.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
}

/// As it is displayed: a test that returns it shows this.
impl std::fmt::Debug for StaleTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

pub(crate) fn check(path: &Path, types: &str, update: bool) -> Result<(), StaleTypes> {
    let text = format!("{HEAD}{types}");
    let failed = |error| StaleTypes::Io { path: path.to_owned(), error };
    let now = match fs::read_to_string(path) {
        Ok(now) => now,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    // Git may have given it the line ends of its system.
    if now.replace("\r\n", "\n") == text {
        return Ok(());
    }
    if !update {
        return Err(StaleTypes::Stale(path.to_owned()));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_when_that_is_asked_for_and_else_refused_while_it_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("src/types.ts");
        let error = check(&path, "a", false).unwrap_err();
        assert!(format!("{error:?}").ends_with("renew it with UPDATE_TYPES=1 cargo test"), "{error}");
        assert!(!path.exists());
        check(&path, "a", true).unwrap();
        check(&path, "a", false).unwrap();
        assert!(matches!(check(&path, "b", false), Err(StaleTypes::Stale(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEAD}a"));
        fs::write(&path, format!("{HEAD}a").replace('\n', "\r\n")).unwrap();
        check(&path, "a", false).unwrap();
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(check(&path, "a", true), Err(StaleTypes::Io { .. })));
    }
}
