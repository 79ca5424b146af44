//! What has provably arrived at a version 1 socket (SPEC 12.11).
//!
//! A ping carries a mark of what was sent before it, and a client's WebSocket layer sends the mark back: then all of that has arrived.

use std::time::Duration;

use partysync_protocol::Version;
use partysync_room::Arrived;
use tokio::time::Instant;

/// How often a socket to which something is sent is asked at the most. What was sent since is asked for with the next ping, whatever its cause.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The lower bits of a mark are the number of channels, the others the version.
const CHANNEL_BITS: u32 = 8;

/// What a ping carries.
pub(crate) type Mark = [u8; 8];

/// What a batch sends out: all that a socket was sent so far shows the room at this version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) version: Version,
    pub(crate) now: Instant,
}

/// What is known of one socket. Marks grow, as versions and the number of channels do. 0 is none.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Channels of which it gets updates; none of version 2.
    channels: u8,
    /// Of all that it was sent.
    told: u64,
    /// Of the last ping that had one, and when that was.
    pinged: u64,
    pinged_at: Option<Instant>,
    /// Of the last pong.
    arrived: u64,
}

impl Proof {
    /// It gets updates of so many channels from now on for which its page has asked.
    pub(crate) fn track(&mut self, channels: u8) {
        self.channels = channels;
    }

    /// The mark of a ping to follow what is about to be sent, if it is time for one. A channel's first rows are asked for at once.
    pub(crate) fn due(&self, told: Told) -> Option<Mark> {
        let mark = self.mark(told.version)?;
        let is_soon = self.pinged_at.is_some_and(|at| told.now.duration_since(at) < ASK_EVERY);
        let is_news = channels(mark) > channels(self.pinged) || mark > self.pinged && !is_soon;
        is_news.then(|| mark.to_be_bytes())
    }

    /// It was sent all up to a version; and then a ping, if there was one.
    pub(crate) fn told(&mut self, told: Told, has_ping: bool) {
        let Some(mark) = self.mark(told.version) else { return };
        self.told = mark;
        if has_ping {
            self.pinged = mark;
            self.pinged_at = Some(told.now);
        }
    }

    /// The mark of a ping that is sent in any case: empty if there is nothing to be known.
    pub(crate) fn owed(&mut self) -> Vec<u8> {
        if self.told <= self.pinged {
            return Vec::new();
        }
        self.pinged = self.told;
        self.told.to_be_bytes().to_vec()
    }

    /// A pong came. It proves no more than was asked.
    pub(crate) fn pong(&mut self, mark: Mark) {
        let mark = u64::from_be_bytes(mark);
        if mark <= self.pinged {
            self.arrived = self.arrived.max(mark);
        }
    }

    /// What has arrived, if anything is known.
    pub(crate) fn arrived(&self) -> Option<Arrived> {
        let version = self.arrived >> CHANNEL_BITS;
        (self.arrived > 0).then(|| Arrived { version, channels: channels(self.arrived) })
    }

    /// Versions stay below 2^53.
    fn mark(&self, version: Version) -> Option<u64> {
        (self.channels > 0).then_some(version << CHANNEL_BITS | u64::from(self.channels))
    }
}

fn channels(mark: u64) -> u8 {
    mark as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(version: Version, now: Instant) -> Told {
        Told { version, now }
    }

    /// A socket with one channel that was pinged at version 7.
    fn pinged() -> (Proof, Instant, Mark) {
        let (mut proof, now) = (Proof::default(), Instant::now());
        proof.track(1);
        let mark = proof.due(told(7, now)).expect("a channel's first rows");
        proof.told(told(7, now), true);
        (proof, now, mark)
    }

    #[test]
    fn spec_12_11_only_version_1_is_pinged_and_at_most_every_5_s() {
        let now = Instant::now();
        assert_eq!(Proof::default().due(told(7, now)), None, "version 2 says itself what it has");
        let (mut proof, now, _) = pinged();
        assert_eq!(proof.due(told(7, now + ASK_EVERY)), None, "nothing new");
        assert_eq!(proof.due(told(8, now)), None, "too soon");
        assert!(proof.due(told(8, now + ASK_EVERY)).is_some());
        proof.track(2);
        assert!(proof.due(told(7, now)).is_some(), "another channel's first rows");
    }

    #[test]
    fn spec_12_11_what_was_not_asked_for_is_asked_for_by_the_ping_to_a_silent_client() {
        let (mut proof, now, _) = pinged();
        assert!(proof.owed().is_empty());
        proof.told(told(9, now), false);
        let mark = Mark::try_from(proof.owed()).expect("a mark");
        assert!(proof.owed().is_empty(), "once");
        proof.pong(mark);
        assert_eq!(proof.arrived(), Some(Arrived { version: 9, channels: 1 }));
    }

    #[test]
    fn spec_12_11_a_pong_is_believed_up_to_what_was_pinged() {
        let (mut proof, now, mark) = pinged();
        proof.told(told(9, now), false);
        assert_eq!(proof.arrived(), None);
        for lie in [u64::MAX, 9 << CHANNEL_BITS | 1, 7 << CHANNEL_BITS | 2] {
            proof.pong(lie.to_be_bytes());
            assert_eq!(proof.arrived(), None, "{lie}");
        }
        proof.pong(mark);
        assert_eq!(proof.arrived(), Some(Arrived { version: 7, channels: 1 }));
        proof.pong([0; 8]);
        assert_eq!(proof.arrived(), Some(Arrived { version: 7, channels: 1 }), "what arrived has arrived");
    }
}
