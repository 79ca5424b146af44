use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::ask::{Home, pieces};
use crate::check::Check;
use crate::error::Error;
use crate::progress::Progress;

/// Makes a room of a file. Returns what is to be said of it.
pub(crate) fn import(home: &Home, from: &Path, flags: &[(&str, bool)]) -> Result<String, Error> {
    if from == Path::new("-") {
        // It can be read once: whether it is whole is for the server to say.
        return home.put(&mut Told { of: io::stdin().lock(), progress: Progress::new(None) }, None, flags);
    }
    let mut file = File::open(from).map_err(Error::file(from))?;
    let bytes = check(&mut file).map_err(|error| match error {
        Error::Failed { why, .. } => Error::failed(from.display().to_string(), why),
        other => other,
    })?;
    file.rewind().map_err(Error::file(from))?;
    let mut told = Told { of: file.take(bytes), progress: Progress::new(Some(bytes)) };
    home.put(&mut told, Some(bytes), flags)
}

/// Whether a file is whole: what is not is not sent. Returns its length.
fn check(file: &mut File) -> Result<u64, Error> {
    let mut check = Check::default();
    let not_whole = |why: String| Error::failed("the file", why);
    pieces(file, &mut |piece| check.push(piece).map_err(not_whole))?;
    Ok(check.finish().map_err(not_whole)?.bytes)
}

/// What is read of it is told.
struct Told<R> {
    of: R,
    progress: Progress,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.of.read(into)?;
        self.progress.add(read);
        Ok(read)
    }
}
