//! Where an exported room goes. A file that is not whole never has the name that was asked for: it is written beside it, and
//! takes its place once it is whole and on disk. Interrupted, the command leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// The exit code of a command that was interrupted.
const INTERRUPTED: i32 = 130;

/// The file that is being written.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Has Ctrl-C, and what asks for an end in another way, remove what is not finished.
pub(crate) fn mind_interrupts() -> Result<(), Error> {
    let interrupted = || {
        // Held until the end: nothing is finished any more.
        let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = unfinished.take() {
            let _ = fs::remove_file(path);
        }
        eprintln!("\npartysync: interrupted");
        process::exit(INTERRUPTED);
    };
    ctrlc::set_handler(interrupted).map_err(|error| Error::failed("the signals", error))
}

/// A file's place, or the standard output.
pub(crate) enum Place {
    Stdout(io::StdoutLock<'static>),
    File { file: File, to: PathBuf, force: bool },
}

impl Place {
    /// Begins to write. `force`: a file that is there is replaced in the end.
    pub(crate) fn begin(to: &Path, force: bool) -> Result<Self, Error> {
        if to == Path::new("-") {
            return Ok(Place::Stdout(io::stdout().lock()));
        }
        must_be_free(to, force)?;
        let name = to.file_name().ok_or_else(|| Error::Usage(format!("{} is no file's name", to.display())))?;
        let unfinished = to.with_file_name(format!(".{}.{}.part", name.display(), process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // What is in it is for who may see the room's data.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut registered = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        let file = options.open(&unfinished).map_err(Error::file(to))?;
        *registered = Some(unfinished);
        Ok(Place::File { file, to: to.to_owned(), force })
    }

    /// All is written: it takes its name, durably.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        match &mut self {
            Place::Stdout(stdout) => stdout.flush().map_err(Error::file(Path::new("the standard output"))),
            Place::File { file, to, force } => {
                file.sync_all().map_err(Error::file(to))?;
                must_be_free(to, *force)?;
                let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(from) = unfinished.as_ref() {
                    fs::rename(from, &*to).map_err(Error::file(to))?;
                }
                *unfinished = None;
                sync_folder(to).map_err(Error::file(to))
            }
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Place::Stdout(stdout) => stdout.write(bytes),
            Place::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Place::Stdout(stdout) => stdout.flush(),
            Place::File { file, .. } => file.flush(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::File { .. } = self
            && let Some(unfinished) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let _ = fs::remove_file(unfinished);
        }
    }
}

fn must_be_free(to: &Path, force: bool) -> Result<(), Error> {
    if !force && to.symlink_metadata().is_ok() {
        return Err(Error::Usage(format!("{} is there already: to replace it, add --force", to.display())));
    }
    Ok(())
}

/// A name is durable once its folder is.
fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
