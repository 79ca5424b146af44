use std::path::Path;

use crate::ask::{Home, pieces, write};
use crate::check::Check;
use crate::error::Error;
use crate::place::Place;
use crate::progress::{Progress, size};

/// Takes a room out as a file. Returns what is to be said of it.
pub(crate) fn export(home: &Home, to: &Path, force: bool) -> Result<String, Error> {
    let mut place = Place::begin(to, force)?;
    let (mut file, length) = home.get()?;
    let mut check = Check::default();
    let mut progress = Progress::new(length);
    let not_whole = |why: String| Error::failed("what the server sent is not whole", why);
    pieces(&mut file, &mut |piece| {
        check.push(piece).map_err(not_whole)?;
        progress.add(piece.len());
        write(&mut place, piece)
    })?;
    let whole = check.finish().map_err(not_whole)?;
    place.finish()?;
    drop(progress);
    Ok(format!("exported {} rows, {}", whole.rows, size(whole.bytes)))
}
