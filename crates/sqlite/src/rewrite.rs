//! Writing a file again that is as it should be, so that the next sync cannot miss any of it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes read and written at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Writes each byte of a file again where it is, and syncs the file and its name. Returns whether it had any: there need not be such a file.
///
/// After a sync that failed Linux takes what it could not write for written, and the next sync says that all is well. What is written again is
/// not taken for written.
///
/// # Errors
///
/// The system's, if it cannot be read, written or synced.
pub fn rewrite_file(path: &Path) -> io::Result<bool> {
    // Most often there is nothing to do, and then it needs no descriptor.
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        found => found?.len(),
    };
    if bytes == 0 {
        return Ok(false);
    }
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        file.seek(SeekFrom::Start(done))?;
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        file.seek(SeekFrom::Start(done))?;
        file.write_all(&chunk[..count])?;
        done += count as u64;
    }
    file.sync_all()?;
    sync_name(path)?;
    Ok(true)
}

/// Syncs the folder that a file is in: the file may be newer than what is on disk of that.
#[cfg(unix)]
fn sync_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Only Unix syncs folders.
#[cfg(not(unix))]
fn sync_name(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_after_it_was_written_again() {
        let folder = std::env::temp_dir().join(format!("partysync-rewrite-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        assert!(!rewrite_file(&path).unwrap(), "there is none");
        for (bytes, has_any) in [(0, false), (1, true), (CHUNK_BYTES, true), (2 * CHUNK_BYTES + 7, true)] {
            let content: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
            fs::write(&path, &content).unwrap();
            assert_eq!(rewrite_file(&path).unwrap(), has_any, "{bytes}");
            assert!(fs::read(&path).unwrap() == content, "{bytes}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
