//! What ends a room for a socket when its admission does (SPEC 13.10).

use std::time::Duration;

use partysync_protocol::{Millis, v2};
use partysync_room::{Refusal, RoomName};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::backlog::Close;
use crate::clock;
use crate::outbox::Lane;

const EXPIRED: Close = Close::new(4401, Refusal::OVER);

/// How long before the end a client is told; earlier than half of the time it is not.
const NOTICE: Duration = Duration::from_secs(60);

/// Later than this a client is not told: there is no time left to ask anybody for a token.
const LEAST_NOTICE: Duration = Duration::from_secs(1);

/// Waits for the end of an admission, until it is dropped.
pub(crate) struct Expiry(AbortHandle);

impl Expiry {
    /// Ends the room on this lane at this time, by the system's clock as it is now. `told`: the room, whose client hears before that its
    /// admission ends.
    pub(crate) fn new(lane: Lane, at: Millis, told: Option<RoomName>) -> Self {
        let left = Duration::from_millis(u64::try_from(at.saturating_sub(clock::now())).unwrap_or_default());
        let wait = async move {
            let notice = NOTICE.min(left / 2);
            sleep(left - notice).await;
            if let Some(room) = told.filter(|_| notice >= LEAST_NOTICE) {
                let after_ms = u64::try_from(notice.as_millis()).unwrap_or_default();
                lane.answer(v2::encode(&v2::Expires { room: room.address().into(), after_ms }).into());
            }
            sleep(notice).await;
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
