//! What waits to be written to one socket, and what is left out when that gets too much.

use std::borrow::Cow;
use std::collections::VecDeque;

use partysync_protocol::{Version, limits};
use partysync_room::Frame;

use crate::proof::Proof;
use crate::ws::{Header, Opcode, close_payload};

/// Memory that a frame takes beside its bytes, at the most: a client that sends empty pings and reads nothing fills that too.
const FRAME_COST: usize = 128;

/// Frames for one socket, and the wish to close it.
///
/// Two bounds, each [`limits::SOCKET_BACKLOG_BYTES`]. What others caused, [news](Kind::News), is left out past it: the reader is slow, and
/// gets one catch-up when it has read what waits (SPEC 8.25). What the socket itself asked for, [answers](Kind::Answer), is not left
/// out: a snapshot has to arrive, however large. But while more than the bound waits, nothing more is read from the socket. The
/// first piece of news counts for nothing: it must fit, whatever its size. The app's own [messages](Kind::Message) count as news, but nothing
/// makes up for one that is left out: past the bound the socket is closed.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    frames: VecDeque<(Kind, Payload)>,
    /// Bytes of the first frame, its header among them, that are written.
    written: usize,
    /// Of all news.
    news_bytes: usize,
    /// Of all answers.
    answer_bytes: usize,
    lag: Option<Lag>,
    close: Option<Close>,
    pub(crate) proof: Proof,
}

/// Who caused a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The socket itself: an ack, a snapshot.
    Answer,
    /// Somebody else: an update, a patch, which tells what happened after a version.
    News { since: Version },
    /// The app, for whose messages nothing makes up.
    Message,
}

/// What a frame carries.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Text(Frame),
    Control(Opcode, Vec<u8>),
}

/// News was left out.
#[derive(Debug, Clone, Copy)]
struct Lag {
    /// The socket was told everything up to this version.
    since: Version,
    /// The room was asked for what it missed.
    asked: bool,
}

/// Why the server closes a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: Cow<'static, str>,
}

impl Close {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Self {
        Close { code, reason: Cow::Borrowed(reason) }
    }
}

impl Payload {
    pub(crate) fn header(&self) -> Header {
        match self {
            Payload::Text(text) => Header::new(Opcode::Text, text.len()),
            Payload::Control(opcode, bytes) => Header::new(*opcode, bytes.len()),
        }
    }

    /// What it counts for. A control frame is so small that its place in memory is what it costs.
    fn cost(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Control(_, bytes) => FRAME_COST + bytes.len(),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Control(_, bytes) => bytes,
        }
    }
}

impl Backlog {
    /// Whether nothing waits, so that what comes next may be written at once.
    pub(crate) fn is_clear(&self) -> bool {
        self.frames.is_empty() && self.lag.is_none() && self.close.is_none()
    }

    /// Whether news is left out, until the reader has read what waits.
    pub(crate) fn is_behind(&self) -> bool {
        self.lag.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame at the end, unless the socket is to be closed, or it is news for a reader that is too slow.
    pub(crate) fn push(&mut self, kind: Kind, payload: Payload) {
        if self.close.is_some() {
            return;
        }
        let bytes = payload.cost();
        match kind {
            Kind::Answer => self.answer_bytes += bytes,
            Kind::News { .. } if self.lag.is_some() => return,
            Kind::News { since } if self.news_bytes > 0 && self.news_bytes + bytes > limits::SOCKET_BACKLOG_BYTES => {
                self.lag = Some(Lag { since, asked: false });
                return;
            }
            Kind::Message if self.news_bytes > 0 && self.news_bytes + bytes > limits::SOCKET_BACKLOG_BYTES => {
                self.close = Some(Close::new(1013, "the client reads too slowly"));
                return;
            }
            Kind::News { .. } | Kind::Message => self.news_bytes += bytes,
        }
        self.frames.push_back((kind, payload));
    }

    /// Adds a frame of which this many bytes are written already.
    pub(crate) fn push_begun(&mut self, kind: Kind, payload: Payload, written: usize) {
        self.push(kind, payload);
        self.written = written;
    }

    /// The frames that are next, and how many bytes of the first are written.
    pub(crate) fn front(&self) -> (impl Iterator<Item = &Payload>, usize) {
        (self.frames.iter().map(|(_, payload)| payload), self.written)
    }

    /// So many bytes more were written.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while let Some(rest) = self.advance_first(bytes) {
            bytes = rest;
        }
    }

    /// So many bytes more were written, from the first frame on. Returns how many of them came after it; `None` if it is not written whole, or
    /// there is none.
    pub(crate) fn advance_first(&mut self, bytes: usize) -> Option<usize> {
        let (kind, payload) = self.frames.front()?;
        self.written += bytes;
        let rest = self.written.checked_sub(payload.header().as_bytes().len() + payload.as_bytes().len())?;
        let cost = payload.cost();
        match kind {
            Kind::News { .. } | Kind::Message => self.news_bytes -= cost,
            Kind::Answer => self.answer_bytes -= cost,
        }
        self.written = 0;
        self.frames.pop_front();
        if self.frames.is_empty() {
            // It may have been large, and will be rarely needed.
            self.frames = VecDeque::new();
        }
        Some(rest)
    }

    /// Whether so many answers wait that the socket may not ask for more.
    pub(crate) fn is_over(&self) -> bool {
        self.answer_bytes > limits::SOCKET_BACKLOG_BYTES
    }

    /// Closes the socket after what was pushed.
    pub(crate) fn close(&mut self, close: Close) {
        self.close.get_or_insert(close);
    }

    pub(crate) fn closing(&self) -> Option<&Close> {
        self.close.as_ref()
    }

    /// Adds the close frame, after everything: nothing comes after it.
    pub(crate) fn push_close(&mut self, code: Option<u16>, reason: &str) {
        let payload = code.map(|code| close_payload(code, reason)).unwrap_or_default();
        let payload = Payload::Control(Opcode::Close, payload);
        self.answer_bytes += payload.cost();
        self.frames.push_back((Kind::Answer, payload));
        self.close(Close::new(code.unwrap_or_default(), ""));
    }

    /// Forgets that the socket was to be closed, and that news was left out: the room that it came from ends here, and no other.
    pub(crate) fn reopen(&mut self) {
        self.close = None;
        self.lag = None;
    }

    /// One backlog with the frames of all these, which take turns. The first frame of the first may be written in part.
    pub(crate) fn joined(lanes: Vec<Backlog>) -> Backlog {
        let mut joined = Backlog::default();
        let mut lanes: Vec<Backlog> = lanes;
        for lane in &mut lanes {
            joined.written += lane.written;
            joined.news_bytes += lane.news_bytes;
            joined.answer_bytes += lane.answer_bytes;
            joined.close = joined.close.or(lane.close.take());
        }
        while lanes.iter().any(|lane| !lane.frames.is_empty()) {
            joined.frames.extend(lanes.iter_mut().filter_map(|lane| lane.frames.pop_front()));
        }
        joined
    }

    /// Whether the room is to be asked, now and once, for what was left out: the reader has read all that waited.
    pub(crate) fn wants_catch_up(&mut self) -> bool {
        let wants = self.frames.is_empty();
        match &mut self.lag {
            Some(lag) if wants && self.close.is_none() => !std::mem::replace(&mut lag.asked, true),
            _ => false,
        }
    }

    /// The room is about to tell what was left out after this version. From now on news is taken again.
    pub(crate) fn end_lag(&mut self) -> Option<Version> {
        self.lag.take().map(|lag| lag.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: Kind = Kind::News { since: 7 };

    fn text(bytes: usize) -> Payload {
        Payload::Text(Frame::from("x".repeat(bytes)))
    }

    /// Bytes of all frames that wait, headers among them.
    fn bytes(backlog: &Backlog) -> usize {
        let (frames, written) = backlog.front();
        frames.map(|f| f.header().as_bytes().len() + f.as_bytes().len()).sum::<usize>() - written
    }

    #[test]
    fn p8_socket_backlog_bytes_at_the_limit_and_one_past_it() {
        let mut backlog = Backlog::default();
        backlog.push(NEWS, text(3));
        backlog.push(NEWS, text(limits::SOCKET_BACKLOG_BYTES - 3));
        assert_eq!(backlog.lag.map(|lag| lag.since), None);
        backlog.push(Kind::News { since: 8 }, text(1));
        assert_eq!(backlog.lag.map(|lag| lag.since), Some(8));
        // Left out, as all that follows: the catch-up covers it.
        backlog.push(Kind::News { since: 9 }, text(1));
        assert_eq!((backlog.frames.len(), backlog.lag.map(|lag| lag.since)), (2, Some(8)));
    }

    #[test]
    fn spec_8_25_a_slow_reader_gets_one_catch_up_when_it_has_read_what_waited() {
        let mut backlog = Backlog::default();
        for since in 0..3 {
            backlog.push(Kind::News { since }, text(limits::SOCKET_BACKLOG_BYTES));
        }
        backlog.push(Kind::Answer, text(5));
        assert!(!backlog.wants_catch_up(), "there is something to read");
        backlog.advance(bytes(&backlog));
        assert!(backlog.wants_catch_up());
        assert!(!backlog.wants_catch_up(), "it was asked for");
        backlog.push(Kind::News { since: 4 }, text(1));
        assert!(backlog.is_empty(), "news before the catch-up is part of it");
        assert_eq!(backlog.end_lag(), Some(1));
        backlog.push(Kind::News { since: 5 }, text(1));
        assert!(!backlog.is_empty());
    }

    #[test]
    fn a_close_frame_that_waits_counts_as_an_answer_until_it_is_written() {
        let mut backlog = Backlog::default();
        backlog.push_close(Some(1012), "restart");
        backlog.advance(bytes(&backlog));
        assert_eq!((backlog.answer_bytes, backlog.is_empty()), (0, true));
    }

    #[test]
    fn p8_what_is_written_counts_no_more_and_the_first_news_fits_whatever_its_size() {
        let mut backlog = Backlog::default();
        for _ in 0..4 {
            backlog.push(NEWS, text(limits::SOCKET_BACKLOG_BYTES + 1));
            assert_eq!(backlog.frames.len(), 1);
            backlog.advance(bytes(&backlog));
        }
        assert!(backlog.is_clear());
        assert_eq!((backlog.news_bytes, backlog.written), (0, 0));
    }

    #[test]
    fn a_close_frame_counts_until_it_is_written() {
        let mut backlog = Backlog::default();
        backlog.close(Close::new(1012, "restart"));
        backlog.push_close(Some(1012), "restart");
        backlog.advance(bytes(&backlog));
        assert_eq!((backlog.frames.len(), backlog.answer_bytes), (0, 0));
    }

    #[test]
    fn a_frame_that_is_written_in_part_is_written_on_from_there() {
        let mut backlog = Backlog::default();
        backlog.push_begun(Kind::Answer, text(200), 3);
        backlog.push(Kind::Answer, text(1));
        assert_eq!(bytes(&backlog), 201 + 3);
        backlog.advance(200);
        assert_eq!((bytes(&backlog), backlog.answer_bytes), (4, 201));
        backlog.advance(1);
        assert_eq!((bytes(&backlog), backlog.answer_bytes), (3, 1));
        backlog.advance(3);
        assert_eq!((bytes(&backlog), backlog.answer_bytes), (0, 0));
    }

    #[test]
    fn p8_answers_are_never_left_out_but_the_socket_is_not_read_meanwhile() {
        let mut backlog = Backlog::default();
        backlog.push(Kind::Answer, text(limits::SOCKET_BACKLOG_BYTES));
        assert!(!backlog.is_over(), "at the limit");
        backlog.push(Kind::Answer, text(1));
        assert!(backlog.is_over(), "past it");
        backlog.push(NEWS, text(1));
        assert_eq!((backlog.frames.len(), backlog.lag.is_some()), (3, false));
        backlog.advance(limits::SOCKET_BACKLOG_BYTES + 10);
        assert!(!backlog.is_over());
    }

    #[test]
    fn p8_socket_backlog_bytes_hold_for_frames_without_bytes_too() {
        let mut backlog = Backlog::default();
        let mut pongs = 0;
        while !backlog.is_over() {
            backlog.push(Kind::Answer, Payload::Control(Opcode::Pong, Vec::new()));
            pongs += 1;
        }
        assert!(pongs * size_of::<(Kind, Payload)>() <= limits::SOCKET_BACKLOG_BYTES, "{pongs}");
        backlog.push_close(None, "");
        backlog.push(Kind::Answer, text(1));
        assert_eq!(backlog.frames.len(), pongs + 1, "nothing comes after the close frame");
        backlog.advance(bytes(&backlog));
        assert_eq!((backlog.answer_bytes, backlog.frames.len()), (0, 0));
    }

    #[test]
    fn a_close_comes_after_what_was_pushed_and_nothing_after_it() {
        let mut backlog = Backlog::default();
        backlog.push(NEWS, text(1));
        backlog.close(Close::new(1012, "restart"));
        backlog.close(Close::new(1011, "too late"));
        backlog.push(NEWS, text(1));
        assert_eq!(backlog.frames.len(), 1);
        assert_eq!(backlog.closing().map(|close| close.code), Some(1012));
    }

    #[test]
    fn spec_14_5_a_message_of_the_app_is_not_left_out_and_past_the_bound_the_socket_is_closed() {
        let mut backlog = Backlog::default();
        backlog.push(Kind::Message, text(3));
        backlog.push(Kind::Message, text(limits::SOCKET_BACKLOG_BYTES - 3));
        assert_eq!((backlog.frames.len(), backlog.closing()), (2, None));
        backlog.push(Kind::Message, text(1));
        assert_eq!((backlog.frames.len(), backlog.closing().map(|close| close.code)), (2, Some(1013)));
    }
}
