//! What ends a room for a socket when its admission does (SPEC 13.10).

use std::time::Duration;

use partysync_protocol::Millis;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::backlog::Close;
use crate::clock;
use crate::outbox::Lane;

const EXPIRED: Close = Close::new(4401, "Sign in again.");

/// Waits for the end of an admission, until it is dropped.
pub(crate) struct Expiry(AbortHandle);

impl Expiry {
    /// Ends the room on this lane at this time, by the system's clock as it is now.
    pub(crate) fn new(lane: Lane, at: Millis) -> Self {
        let left = Duration::from_millis(u64::try_from(at.saturating_sub(clock::now())).unwrap_or_default());
        let wait = async move {
            sleep(left).await;
            tracing::debug!("an admission ends");
            lane.end(EXPIRED);
        };
        Expiry(tokio::spawn(wait).abort_handle())
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}
