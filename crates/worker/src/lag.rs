//! How far a reader is behind, where nobody sees what waits for its socket: it says itself what it has (SPEC 8.25).

use std::collections::VecDeque;

use partysync_protocol::{Version, limits};

/// Steps in which what was sent is remembered. Past it the newest two become one.
const STEPS: usize = 64;

/// What was sent to a socket and is not known to have arrived.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Up to a version, so many bytes; versions grow.
    sent: VecDeque<(Version, usize)>,
    bytes: usize,
    /// News was left out: it was told everything up to this version.
    lag: Option<Version>,
}

impl Reader {
    /// A reader that was behind when it was last seen.
    pub(crate) fn lagging(lag: Option<Version>) -> Self {
        Reader { lag, ..Reader::default() }
    }

    /// Whether it gets news of what happened after the version `since`, up to `to`. The first piece always fits.
    pub(crate) fn takes(&mut self, since: Version, to: Version, bytes: usize) -> bool {
        if self.lag.is_some() {
            return false;
        }
        if self.bytes > 0 && self.bytes + bytes > limits::SOCKET_BACKLOG_BYTES {
            self.lag = Some(since);
            return false;
        }
        self.note(to, bytes);
        true
    }

    /// It was sent something that leads up to a version.
    pub(crate) fn note(&mut self, to: Version, bytes: usize) {
        self.bytes += bytes;
        match self.sent.back_mut() {
            Some((last, sent)) if *last >= to => *sent += bytes,
            _ => self.sent.push_back((to, bytes)),
        }
        if self.sent.len() > STEPS
            && let Some((to, bytes)) = self.sent.pop_back()
            && let Some((last, sent)) = self.sent.back_mut()
        {
            *last = to;
            *sent += bytes;
        }
    }

    /// It holds a version in full. Returns from which version on it is to be told what it missed, if it missed anything and has read all
    /// that it was sent.
    pub(crate) fn has(&mut self, version: Version) -> Option<Version> {
        while let Some((to, bytes)) = self.sent.front().copied()
            && to <= version
        {
            self.bytes -= bytes;
            self.sent.pop_front();
        }
        if self.sent.is_empty() { self.lag.take() } else { None }
    }

    /// The version up to which it was told everything, if it is behind.
    pub(crate) fn lag(&self) -> Option<Version> {
        self.lag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = limits::SOCKET_BACKLOG_BYTES;

    #[test]
    fn spec_11_socket_backlog_bytes_at_the_limit_and_one_past_it_by_have() {
        let mut reader = Reader::default();
        assert!(reader.takes(0, 1, 1));
        assert!(reader.takes(1, 2, MOST - 1), "at the limit");
        assert!(!reader.takes(2, 3, 1), "one past it");
        assert_eq!(reader.lag(), Some(2));
        assert!(!reader.takes(3, 4, 0), "and nothing more until it is told what it missed");
        assert_eq!(reader.has(1), None, "some of what it was sent is still under way");
        assert_eq!(reader.has(2), Some(2));
        reader.note(4, 100);
        assert!(reader.takes(4, 5, MOST - 100));
        assert!(!reader.takes(5, 6, 1), "the catch-up counts");
    }

    #[test]
    fn spec_8_25_the_first_news_fits_whatever_its_size() {
        let mut reader = Reader::default();
        assert!(reader.takes(0, 1, 2 * MOST));
        assert!(!reader.takes(1, 2, 1));
        assert_eq!(reader.has(1), Some(1));
        assert!(reader.takes(2, 3, 2 * MOST));
    }

    #[test]
    fn p8_what_is_remembered_of_what_was_sent_is_bounded() {
        let mut reader = Reader::default();
        let versions = 10 * STEPS as u64;
        assert!((0..versions).all(|version| reader.takes(version, version + 1, 10)));
        assert_eq!(reader.sent.len(), STEPS);
        assert_eq!(reader.has(versions - 1), None, "the newest are one step");
        assert!(reader.bytes > 0);
        assert_eq!(reader.has(versions), None, "it missed nothing");
        assert_eq!((reader.bytes, reader.sent.len()), (0, 0));
    }

    #[test]
    fn spec_14_1_who_was_behind_is_behind_after_a_sleep() {
        let mut reader = Reader::lagging(Some(7));
        assert!(!reader.takes(9, 10, 1));
        assert_eq!(reader.has(3), Some(7), "nothing is known to be under way");
        assert_eq!(reader.lag(), None);
    }
}
