//! When a room's write-ahead log is copied into its file (SPEC 7.12).

use std::time::Duration;

use partysync_model::DbError;
use partysync_protocol::limits;
use partysync_sqlite::SqliteDb;
use tokio::time::Instant;

/// How long after the log could not be copied that is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Keeps a room's log in its bounds.
#[derive(Debug, Default)]
pub(crate) struct LogFile {
    /// It could not be copied; when that is tried again.
    again: Option<Instant>,
}

impl LogFile {
    /// To be called when all that a batch caused is sent. `has_mail`: something waits for the room. `copy_past` copies the
    /// log if it is longer than it is told.
    pub(crate) fn keep(&mut self, has_mail: bool, now: Instant, copy_past: impl FnOnce(u64) -> Result<(), DbError>) {
        if self.again.is_some_and(|again| now < again) {
            return;
        }
        let bytes = if has_mail { limits::LOG_FILE_BYTES } else { limits::LOG_FILE_IDLE_BYTES };
        self.again = copy_past(bytes).err().map(|error| {
            tracing::error!(%error, "the write-ahead log cannot be copied into the room's file: it grows");
            now + AGAIN
        });
    }
}

/// Copies a database's log into its file if more of it than this waits for that.
pub(crate) fn copy_past(db: &mut SqliteDb, bytes: u64) -> Result<(), DbError> {
    if db.log_bytes()? > bytes { db.copy_log() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use partysync_model::DbErrorKind;

    use super::*;

    #[test]
    fn spec_7_12_more_may_wait_to_be_copied_while_somebody_waits_for_the_room() {
        let (mut log, mut asked) = (LogFile::default(), Vec::new());
        for has_mail in [true, false] {
            log.keep(has_mail, Instant::now(), |bytes| {
                asked.push(bytes);
                Ok(())
            });
        }
        assert_eq!(asked, [limits::LOG_FILE_BYTES, limits::LOG_FILE_IDLE_BYTES]);
    }

    #[test]
    fn spec_7_12_what_cannot_be_copied_is_tried_again_later() {
        let (mut log, start) = (LogFile::default(), Instant::now());
        let mut asked_at = |ms: u64, fails: bool| {
            let mut asked = false;
            log.keep(false, start + Duration::from_millis(ms), |_| {
                asked = true;
                if fails { Err(DbError::new(DbErrorKind::Full, "as the test wants")) } else { Ok(()) }
            });
            asked
        };
        let failing = [0, 1, 9_999, 10_000, 19_999, 20_000].map(|ms| asked_at(ms, true));
        assert_eq!(failing, [true, false, false, true, false, true]);
        assert_eq!([29_999, 30_000, 30_001].map(|ms| asked_at(ms, false)), [false, true, true]);
    }
}
