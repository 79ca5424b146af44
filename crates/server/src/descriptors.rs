//! How many files the process may have open, and what it means to have no more (SPEC 11).

use std::fs::File;
use std::io;
use std::path::Path;

/// Descriptors that are neither rooms' nor sockets': the runtime's, the log's, the registry's, the app's own.
const RESERVED: u64 = 64;

/// Descriptors of a room in memory: its file and the write-ahead log beside it. The lock is a lock of the file, and what other
/// processes would need, shared memory, is not there.
const OF_A_ROOM: u64 = 2;

/// Descriptors that a room needs while it is opened: its file, a journal or a log, a folder that is flushed.
const NEEDED: usize = 3;

/// The most rooms that are in memory if nobody says otherwise.
const OPEN_ROOMS: usize = 10_000;

/// Descriptors that are taken to be there where the system does not say.
#[cfg(not(unix))]
const UNKNOWN: u64 = 1_024;

/// Raises the limit as far as the process may, and returns it.
#[cfg(unix)]
pub(crate) fn raise() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    let mut wanted = before;
    wanted.current = before.maximum;
    // Some systems have a hard limit that is more than they grant.
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::debug!(%error, "the limit of open files cannot be raised");
    }
    let after = getrlimit(Resource::Nofile);
    tracing::info!(
        before = before.current,
        now = after.current,
        most = after.maximum,
        "open files that the process may have"
    );
    limit()
}

/// How many files the process may have open.
#[cfg(unix)]
fn limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Only Unix has such a limit that one can ask for.
#[cfg(not(unix))]
pub(crate) fn raise() -> u64 {
    limit()
}

#[cfg(not(unix))]
fn limit() -> u64 {
    UNKNOWN
}

/// How many rooms may be in memory at once if nobody says otherwise: half of the descriptors are for rooms, half for sockets.
pub(crate) fn open_rooms(limit: u64) -> usize {
    let rooms = limit.saturating_sub(RESERVED) / 2 / OF_A_ROOM;
    usize::try_from(rooms).unwrap_or(usize::MAX).clamp(1, OPEN_ROOMS)
}

/// Whether there are too few descriptors left for a room, and if so what the operator is told. SQLite does not say that this
/// is why it failed. `folder` is one that can be opened.
pub(crate) fn none_left(folder: &Path) -> Option<String> {
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open(folder)).collect();
    opened.err().as_ref().and_then(explain)
}

/// What the operator is told when there are no descriptors left; `None` if that is not what the error says.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    are_used_up(error).then(|| {
        format!(
            "the process may open {} files and has as many open: raise the limit with ulimit -n or LimitNOFILE=, \
             or lower open_rooms ({error})",
            limit()
        )
    })
}

#[cfg(unix)]
fn are_used_up(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(not(unix))]
fn are_used_up(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_open_rooms_leave_descriptors_to_sockets() {
        assert_eq!(open_rooms(1_024), 240);
        assert_eq!(open_rooms(u64::MAX), OPEN_ROOMS);
        assert_eq!(open_rooms(0), 1);
    }
}
