//! Snapshots as they are sent, so that many who join cost one encoding.

use partysync_model::{Db, DbError};
use partysync_protocol::v2::SnapshotText;
use partysync_protocol::{Cursor, Millis, Version, limits};

use crate::event::Frame;
use crate::reply::read_live;
use crate::sorted::SortedMap;
use crate::step::Ran;
use crate::{Room, SyncServer};

/// A snapshot is made anew when the changes since come to more than this part of its bytes.
const CHANGED_PART: usize = 8;

/// What the snapshots of one room have in common, whoever they are for.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Version 1's, of one version.
    v1: V1,
    /// Version 2's.
    kept: Option<Kept>,
}

/// Each by the channel's index.
#[derive(Debug, Default)]
pub(crate) struct V1 {
    version: Version,
    /// The answer to a full sync.
    pub(crate) full: SortedMap<usize, Frame>,
    /// All of a channel's tombstones, as they follow such an answer; `None` if there are none.
    pub(crate) dead: SortedMap<usize, Option<Frame>>,
    /// All of both as one update, for those of whom nothing is known; `None` if there is nothing.
    pub(crate) all: SortedMap<usize, Option<Frame>>,
}

/// A snapshot that outlives changes (SPEC 8.36).
#[derive(Debug)]
struct Kept {
    cursor: Cursor,
    frames: Vec<Frame>,
    bytes: usize,
    /// Bytes of the changes since.
    changed: usize,
    /// When somebody last joined by it.
    used_at: Millis,
    /// The patch that leads from it to a version.
    patch: Option<(Version, Frame)>,
}

/// What somebody is sent who has nothing.
pub(crate) struct Snapshot {
    /// What it holds after the snapshot itself.
    pub(crate) cursor: Cursor,
    /// The snapshot, and the patch that leads to the room's version if there is one.
    pub(crate) frames: Vec<Frame>,
}

impl Snapshots {
    /// Version 1's, as of a version.
    pub(crate) fn v1(&mut self, version: Version) -> &mut V1 {
        if self.v1.version != version {
            self.v1 = V1 { version, ..V1::default() };
        }
        &mut self.v1
    }

    /// What is kept must not be told of any more: the log does not lead on from there.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Drops what is not worth keeping after these steps.
    pub(crate) fn look_after(&mut self, ran: &[Ran], now: Millis) {
        let Some(kept) = &mut self.kept else { return };
        let changes = ran.iter().flat_map(|ran| &ran.made).flat_map(|made| &made.changes);
        kept.changed += changes.map(|change| change.bytes()).sum::<usize>();
        // The clock may have been set back.
        kept.used_at = kept.used_at.min(now);
        if kept.changed > kept.bytes / CHANGED_PART || now - kept.used_at >= limits::SNAPSHOT_KEPT_MS {
            self.kept = None;
        }
    }

    /// Keeps a snapshot that is no larger than what may be kept.
    fn keep(&mut self, cursor: Cursor, frames: &[Frame], now: Millis) {
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        if bytes <= limits::SNAPSHOT_KEPT_BYTES {
            self.kept = Some(Kept { cursor, frames: frames.to_vec(), bytes, changed: 0, used_at: now, patch: None });
        }
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// All rows, for somebody who joins now (SPEC 8.21, 8.36).
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, DbError> {
        let (head, now) = (self.head.cursor, self.input.now);
        let Some(kept) = &mut self.snapshots.kept else {
            let frames = self.encode_rows()?;
            self.snapshots.keep(head, &frames, now);
            return Ok(Snapshot { cursor: head, frames });
        };
        kept.used_at = now;
        let (cursor, mut frames) = (kept.cursor, kept.frames.clone());
        if cursor == head {
            return Ok(Snapshot { cursor, frames });
        }
        let known = kept.patch.as_ref().filter(|(version, _)| *version == head.version).map(|(_, patch)| patch.clone());
        let patch = match known {
            Some(patch) => patch,
            None => self.catch_up(cursor.version)?,
        };
        if let Some(kept) = &mut self.snapshots.kept {
            kept.patch = Some((head.version, patch.clone()));
        }
        frames.push(patch);
        Ok(Snapshot { cursor, frames })
    }

    fn encode_rows(&mut self) -> Result<Vec<Frame>, DbError> {
        let room = self.name.address();
        let mut frames = Vec::new();
        for (index, channel) in self.channels.iter().enumerate() {
            let mut part = SnapshotText::new(room, &channel.name);
            read_live(&mut self.db, channel, &mut |row| {
                if !part.push(row) {
                    let full = std::mem::replace(&mut part, SnapshotText::new(room, &channel.name));
                    frames.push(full.finish(true).into());
                    let _ = part.push(row);
                }
            })?;
            let more = index + 1 < self.channels.len();
            frames.push(part.finish(more).into());
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use partysync_protocol::Stamp;

    use super::*;

    #[test]
    fn spec_11_snapshot_kept_bytes_at_the_limit_and_one_past_it() {
        let cursor = Cursor { version: 1, stamp: Stamp::from_random(1) };
        // Shared, so that it takes up no more than one.
        let mut frames = vec![Frame::from("x".repeat(1 << 20)); limits::SNAPSHOT_KEPT_BYTES >> 20];
        let mut snapshots = Snapshots::default();
        snapshots.keep(cursor, &frames, 0);
        assert!(snapshots.kept.take().is_some());
        frames.push(Frame::from("x".to_owned()));
        snapshots.keep(cursor, &frames, 0);
        assert!(snapshots.kept.is_none());
    }
}
