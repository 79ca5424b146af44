//! What is known to have arrived at a socket of version 1, as in the native home (SPEC 12.11): a ping carries a mark of what was sent before
//! it, and the browser sends the mark back.

use partysync_protocol::Version;
use partysync_room::Arrived;

/// A version, and the number of channels that the page had asked for until then.
pub(crate) type Mark = (Version, u8);

/// What is known of one socket.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    channels: u8,
    /// Of all that it was sent.
    told: Option<Mark>,
    pinged: Option<Mark>,
    arrived: Option<Mark>,
}

impl Proof {
    pub(crate) fn track(&mut self, channels: u8) {
        self.channels = channels;
    }

    /// It was sent all up to a version. Returns the mark of a ping that is to follow, if it is time for one: a channel's first rows are asked
    /// for at once.
    pub(crate) fn told(&mut self, version: Version, is_time: bool) -> Option<Mark> {
        let mark = (version, self.channels);
        if self.channels == 0 {
            return None;
        }
        self.told = Some(mark);
        let is_news = self.pinged.is_none_or(|(_, channels)| channels < self.channels);
        (is_news || is_time && Some(mark) > self.pinged).then(|| self.ping(mark))
    }

    /// The mark of a ping to a client that is silent.
    pub(crate) fn owed(&mut self) -> Option<Mark> {
        let mark = self.told.filter(|_| self.told > self.pinged)?;
        Some(self.ping(mark))
    }

    fn ping(&mut self, mark: Mark) -> Mark {
        self.pinged = Some(mark);
        mark
    }

    pub(crate) fn pong(&mut self, mark: Mark) {
        self.arrived = self.arrived.max(Some(mark));
    }

    /// What is known to have arrived. `is_credulous`: whatever was sent.
    pub(crate) fn arrived(&self, is_credulous: bool) -> Option<Arrived> {
        let mark = if is_credulous { self.told } else { self.arrived };
        mark.map(|(version, channels)| Arrived { version, channels })
    }
}
