//! What waits to be written to one socket.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use partysync_protocol::limits;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::socket::Text;

/// How long a socket that is to be closed may take to read what comes before the close frame, and to answer it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Frames for one socket, and the wish to close it.
///
/// Two bounds, each [`limits::SOCKET_BACKLOG_BYTES`]. What others caused, [news](Kind::News), is bounded by closing the socket: its
/// reader is too slow. What the socket itself asked for, [answers](Kind::Answer), is not dropped: a snapshot has to arrive, however large. But
/// while more than the bound waits, nothing more is read from the socket. The first piece of news counts for nothing: it
/// must fit, whatever its size.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Notify,
    /// Few enough answers wait.
    drained: Notify,
    /// The socket is to be closed.
    closing: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Kind, Text)>,
    /// Of all news.
    news_bytes: usize,
    /// Of all answers.
    answer_bytes: usize,
    close: Option<Close>,
    /// The reader was too slow: the frames before the close are gone.
    cut: bool,
}

/// Who caused a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The socket itself: an ack, a snapshot.
    Answer,
    /// Somebody else: an update, a patch.
    News,
}

/// Why the server closes a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// What to do next with a socket.
#[derive(Debug)]
pub(crate) enum Next {
    Write(Text),
    Close(Close),
    Wait,
}

impl Outbox {
    /// Adds a frame. Past the bound the socket is closed with 1013 instead. Returns whether its task may have to be
    /// [woken](Self::wake).
    #[must_use]
    pub(crate) fn push(&self, kind: Kind, frame: Text) -> bool {
        let mut queue = self.queue();
        if queue.close.is_some() {
            return false;
        }
        let was_empty = queue.frames.is_empty();
        match kind {
            Kind::Answer => queue.answer_bytes += frame.len(),
            Kind::News if queue.news_bytes > 0 && queue.news_bytes + frame.len() > limits::SOCKET_BACKLOG_BYTES => {
                queue.frames.clear();
                queue.cut = true;
                queue.close = Some(Close { code: 1013, reason: "the client reads too slowly" });
                self.closing.notify_one();
                return false;
            }
            Kind::News => queue.news_bytes += frame.len(),
        }
        queue.frames.push_back((kind, frame));
        was_empty
    }

    /// Closes the socket after what was pushed.
    pub(crate) fn close(&self, close: Close) {
        self.queue().close.get_or_insert(close);
        self.closing.notify_one();
        self.wake();
    }

    /// Wakes the socket's task: once for all that one batch pushed.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Takes out what is next.
    pub(crate) fn next(&self) -> Next {
        let mut queue = self.queue();
        let Some((kind, frame)) = queue.frames.pop_front() else {
            return queue.close.map_or(Next::Wait, Next::Close);
        };
        match kind {
            Kind::News => queue.news_bytes -= frame.len(),
            Kind::Answer => queue.answer_bytes -= frame.len(),
        }
        if queue.answer_bytes <= limits::SOCKET_BACKLOG_BYTES {
            self.drained.notify_one();
        }
        Next::Write(frame)
    }

    /// Waits until so few answers wait that the socket may ask for more.
    pub(crate) async fn drained(&self) {
        while self.queue().answer_bytes > limits::SOCKET_BACKLOG_BYTES {
            self.drained.notified().await;
        }
    }

    /// Waits for [`wake`](Self::wake).
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until the socket is to be closed whether all is written or not: at once if its reader is too slow, else some
    /// time after it was to be closed.
    pub(crate) async fn overdue(&self) -> Close {
        loop {
            self.closing.notified().await;
            let (close, cut) = {
                let queue = self.queue();
                (queue.close, queue.cut)
            };
            let Some(close) = close else { continue };
            if !cut {
                sleep(FAREWELL).await;
            }
            return close;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Text {
        Text::from(partysync_room::Frame::from("x".repeat(bytes)))
    }

    fn code(outbox: &Outbox) -> Option<u16> {
        outbox.queue().close.map(|close| close.code)
    }

    #[test]
    fn p8_socket_backlog_bytes_at_the_limit_and_one_past_it() {
        let outbox = Outbox::default();
        assert!(outbox.push(Kind::News, frame(3)));
        assert!(!outbox.push(Kind::News, frame(limits::SOCKET_BACKLOG_BYTES - 3)));
        assert_eq!(code(&outbox), None);
        assert!(!outbox.push(Kind::News, frame(1)));
        assert_eq!(code(&outbox), Some(1013));
        assert!(matches!(outbox.next(), Next::Close(Close { code: 1013, .. })));
    }

    #[test]
    fn p8_what_is_taken_out_counts_no_more_and_the_first_news_fits_whatever_its_size() {
        let outbox = Outbox::default();
        for _ in 0..4 {
            assert!(outbox.push(Kind::News, frame(limits::SOCKET_BACKLOG_BYTES + 1)));
            assert!(matches!(outbox.next(), Next::Write(_)));
        }
        assert_eq!(code(&outbox), None);
        assert!(matches!(outbox.next(), Next::Wait));
        assert_eq!(outbox.queue().news_bytes, 0);
    }

    #[tokio::test]
    async fn p8_answers_are_never_dropped_but_the_socket_is_not_read_meanwhile() {
        let outbox = Outbox::default();
        let is_drained = || async {
            tokio::select! {
                biased;
                () = outbox.drained() => true,
                () = std::future::ready(()) => false,
            }
        };
        assert!(outbox.push(Kind::Answer, frame(limits::SOCKET_BACKLOG_BYTES)));
        assert!(is_drained().await, "at the limit");
        assert!(!outbox.push(Kind::Answer, frame(limits::SOCKET_BACKLOG_BYTES)));
        assert!(!is_drained().await, "past it");
        assert!(!outbox.push(Kind::News, frame(1)));
        assert_eq!(code(&outbox), None);
        assert!(matches!(outbox.next(), Next::Write(_)));
        assert!(is_drained().await);
    }

    #[test]
    fn a_close_comes_after_what_was_pushed_and_nothing_after_it() {
        let outbox = Outbox::default();
        assert!(outbox.push(Kind::News, frame(1)));
        outbox.close(Close { code: 1012, reason: "restart" });
        outbox.close(Close { code: 1011, reason: "too late" });
        assert!(!outbox.push(Kind::News, frame(1)));
        assert!(matches!(outbox.next(), Next::Write(_)));
        assert!(matches!(outbox.next(), Next::Close(Close { code: 1012, .. })));
    }
}
