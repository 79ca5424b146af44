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
/// The frame at the head does not count toward the bound: a version 1 snapshot is one frame, however large, and must not
/// keep its reader from the updates that follow it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Notify,
    /// The socket is to be closed.
    closing: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Text>,
    /// Of all frames but the first.
    bytes: usize,
    close: Option<Close>,
    /// The reader was too slow: the frames before the close are gone.
    cut: bool,
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
    pub(crate) fn push(&self, frame: Text) -> bool {
        let mut queue = self.queue();
        if queue.close.is_some() {
            return false;
        }
        let was_empty = queue.frames.is_empty();
        if !was_empty {
            if queue.bytes + frame.len() > limits::SOCKET_BACKLOG_BYTES {
                queue.frames.clear();
                queue.cut = true;
                queue.close = Some(Close { code: 1013, reason: "the client reads too slowly" });
                self.closing.notify_one();
                return false;
            }
            queue.bytes += frame.len();
        }
        queue.frames.push_back(frame);
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
        let Some(frame) = queue.frames.pop_front() else {
            return queue.close.map_or(Next::Wait, Next::Close);
        };
        let head_bytes = queue.frames.front().map_or(0, |head| head.len());
        queue.bytes -= head_bytes;
        Next::Write(frame)
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
        assert!(outbox.push(frame(3)));
        assert!(!outbox.push(frame(limits::SOCKET_BACKLOG_BYTES)));
        assert_eq!(code(&outbox), None);
        assert!(!outbox.push(frame(1)));
        assert_eq!(code(&outbox), Some(1013));
        assert!(matches!(outbox.next(), Next::Close(Close { code: 1013, .. })));
    }

    #[test]
    fn p8_what_is_taken_out_counts_no_more_and_a_head_of_any_size_fits() {
        let outbox = Outbox::default();
        for _ in 0..4 {
            assert!(outbox.push(frame(limits::SOCKET_BACKLOG_BYTES + 1)));
            assert!(!outbox.push(frame(limits::SOCKET_BACKLOG_BYTES)));
            assert!(matches!(outbox.next(), Next::Write(_)));
            assert!(matches!(outbox.next(), Next::Write(_)));
        }
        assert_eq!(code(&outbox), None);
        assert!(matches!(outbox.next(), Next::Wait));
        assert_eq!(outbox.queue().bytes, 0);
    }

    #[test]
    fn a_close_comes_after_what_was_pushed_and_nothing_after_it() {
        let outbox = Outbox::default();
        assert!(outbox.push(frame(1)));
        outbox.close(Close { code: 1012, reason: "restart" });
        outbox.close(Close { code: 1011, reason: "too late" });
        assert!(!outbox.push(frame(1)));
        assert!(matches!(outbox.next(), Next::Write(_)));
        assert!(matches!(outbox.next(), Next::Close(Close { code: 1012, .. })));
    }
}
