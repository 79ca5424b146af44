//! What waits to be sent to one socket: as in the native home, news is left out for a reader that is slow (SPEC 8.25).

use std::collections::VecDeque;

use partysync_protocol::Version;

use crate::Tamper;
use crate::proof::Mark;

/// What may wait for a slow reader, in bytes: little, so that a world reaches it.
pub(crate) const BACKLOG_BYTES: usize = 800;

/// Who caused a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The socket itself: an ack, a snapshot.
    Answer,
    /// Somebody else. It tells what happened after a version.
    News { since: Version },
}

/// What a home sends.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    Text(String),
    /// Asks the socket, not its client, to send this back.
    Ping(Mark),
}

impl Down {
    fn len(&self) -> usize {
        match self {
            Down::Text(text) => text.len(),
            Down::Ping(_) => 8,
        }
    }
}

/// The way down of a socket that carries one room or several, each in a lane.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// What is under way at most, in bytes: the reader has to read before more is sent.
    window: usize,
    under_way: VecDeque<(usize, Down)>,
    under_way_bytes: usize,
    waiting: VecDeque<(usize, Kind, Down)>,
    news_bytes: usize,
    answer_bytes: usize,
    /// Since which version a lane's news was left out.
    lags: Vec<Option<Version>>,
}

impl Backlog {
    pub(crate) fn new(lanes: usize, window: usize) -> Self {
        Backlog {
            window,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            waiting: VecDeque::new(),
            news_bytes: 0,
            answer_bytes: 0,
            lags: vec![None; lanes],
        }
    }

    /// Takes a frame of a lane; returns whether it will be sent.
    pub(crate) fn push(&mut self, lane: usize, kind: Kind, frame: Down, tamper: Tamper) -> bool {
        if let Kind::News { since } = kind
            && tamper != Tamper::NoBound
        {
            if self.lags[lane].is_some() {
                return false;
            }
            if self.news_bytes > 0 && self.news_bytes + frame.len() > BACKLOG_BYTES {
                self.lags[lane] = Some(since);
                return false;
            }
        }
        *self.bytes_of(kind) += frame.len();
        self.waiting.push_back((lane, kind, frame));
        self.flush();
        true
    }

    /// What the reader reads next.
    pub(crate) fn pop(&mut self) -> Option<(usize, Down)> {
        let (lane, frame) = self.under_way.pop_front()?;
        self.under_way_bytes -= frame.len();
        self.flush();
        Some((lane, frame))
    }

    /// Sends what fits. An empty wire takes any frame.
    fn flush(&mut self) {
        while let Some((_, _, frame)) = self.waiting.front() {
            if !self.under_way.is_empty() && self.under_way_bytes + frame.len() > self.window {
                return;
            }
            let Some((lane, kind, frame)) = self.waiting.pop_front() else { return };
            *self.bytes_of(kind) -= frame.len();
            self.under_way_bytes += frame.len();
            self.under_way.push_back((lane, frame));
        }
    }

    fn bytes_of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Answer => &mut self.answer_bytes,
            Kind::News { .. } => &mut self.news_bytes,
        }
    }

    /// Whether so many answers wait that the home does not read the socket.
    pub(crate) fn is_over(&self) -> bool {
        self.answer_bytes > BACKLOG_BYTES
    }

    /// News that waits, as frames and bytes.
    pub(crate) fn news(&self) -> (usize, usize) {
        (self.waiting.iter().filter(|(_, kind, _)| *kind != Kind::Answer).count(), self.news_bytes)
    }

    /// Since when a lane whose reader has read what waited is to be told what it missed.
    pub(crate) fn end_lag(&mut self, lane: usize) -> Option<Version> {
        if self.waiting.is_empty() { self.lags[lane].take() } else { None }
    }

    /// A lane that ends is owed nothing.
    pub(crate) fn forget_lag(&mut self, lane: usize) {
        self.lags[lane] = None;
    }

    /// Whether its reader is one that reads seldom.
    pub(crate) fn is_slow(&self) -> bool {
        self.window < usize::MAX
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.lags.iter().any(Option::is_some)
    }

    /// Frames that are under way; those that wait never leave a socket that breaks.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}
