//! A room on a socket, as the client's side sees it: what may come of it, and why (SPEC 8.3, 8.28, 8.34).

use partysync_protocol::ErrorCode;
use partysync_protocol::v2::{Down, Up};

use crate::checks::{Checked, Promise, Violation, ensure};

/// One room on one socket.
#[derive(Debug, Default)]
pub(crate) struct Aboard {
    /// Joins that no `joined` has answered. Of a `left` nobody can say whether it answers one.
    joins: u32,
    is_in: bool,
    /// How often the room, the home or the door put the socket out of it, and its client does not know yet.
    ends: u32,
    /// How often its client asked to leave.
    leaves: u32,
}

impl Aboard {
    /// The client sends a frame.
    pub(crate) fn says(&mut self, text: &str) {
        match Up::parse(text) {
            Ok(Up::Join { .. }) => self.joins += 1,
            Ok(Up::Leave { .. }) => self.leaves += 1,
            _ => {}
        }
    }

    /// There is a reason to leave the room.
    pub(crate) fn ends(&mut self) {
        self.ends += 1;
    }

    /// P9: nothing comes of a room that the socket has not joined, or has left; and it is out of it only if there was a reason.
    pub(crate) fn hears(&mut self, room: &str, down: &Down<'_>) -> Checked {
        ensure!(down.room().is_none_or(|named| named == room), P9, "{down:?} came to the client of {room}");
        match down {
            Down::Joined(_) => {
                ensure!(self.joins > 0, P9, "a socket is in {room}, which it did not join");
                self.joins -= 1;
                self.is_in = true;
            }
            Down::Left(left) => {
                let reasons = if left.error.is_some() { &mut self.ends } else { &mut self.leaves };
                ensure!(*reasons > 0, P9, "a socket is out of {room} for no reason: {left:?}");
                *reasons -= 1;
                self.is_in = false;
            }
            Down::Snapshot(_) | Down::Patch(_) | Down::Ack { .. } | Down::Reject(_) | Down::Later(_) => {
                ensure!(self.is_in, P9, "{down:?} came to a socket that is not in {room}");
            }
            Down::Error(message) => {
                let is_out = message.room.is_some() && message.error.code == ErrorCode::NotJoined.as_str();
                ensure!(!is_out || !self.is_in, P9, "a socket is out of {room}, and its client was not told");
            }
            // The home's, and the app's own words.
            Down::Expires(_) | Down::Message { .. } => {}
            Down::Welcome(_) | Down::Pong | Down::Unknown => {}
        }
        Ok(())
    }

    /// Whether its client knows of all ends.
    pub(crate) fn is_even(&self) -> bool {
        self.ends == 0
    }

    /// P9: at rest its client knows of each end.
    pub(crate) fn check_told(&self, room: &str) -> Checked {
        ensure!(self.ends == 0, P9, "{} ends of {room} were not told to its client", self.ends);
        Ok(())
    }
}
