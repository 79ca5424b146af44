//! One room's place on a socket that carries several (SPEC 8.32).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use partysync_room::RoomName;
use tokio::sync::Notify;

use crate::rooms::Way;

/// What a room's [task](crate::several) on a socket, the room's desk and the socket's way out know together.
pub(crate) struct Berth {
    pub(crate) name: RoomName,
    /// The way into the room, while the socket is in it.
    way: Mutex<Option<Way>>,
    /// The room has put the socket out, and the task has not looked yet.
    is_out: AtomicBool,
    /// The code with which the client closed the socket.
    close_code: OnceLock<Option<u16>>,
    /// Frames that wait for the task or are in its hands.
    waiting: AtomicUsize,
    out: Notify,
    /// Few enough answers of the room wait to be written.
    pub(crate) drained: Notify,
}

impl Berth {
    pub(crate) fn new(name: RoomName) -> Self {
        Berth {
            name,
            way: Mutex::default(),
            is_out: AtomicBool::new(false),
            close_code: OnceLock::new(),
            waiting: AtomicUsize::new(0),
            out: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// The socket is in the room.
    pub(crate) fn enter(&self, way: Way) {
        *self.way() = Some(way);
    }

    /// The room puts the socket out.
    pub(crate) fn put_out(&self) {
        if self.way().take().is_some() {
            self.is_out.store(true, SeqCst);
            self.out.notify_one();
        }
    }

    /// Whether the room has put the socket out since this was asked last.
    pub(crate) fn was_put_out(&self) -> bool {
        self.is_out.swap(false, SeqCst)
    }

    /// Waits until the room puts the socket out, or may have.
    pub(crate) async fn out(&self) {
        self.out.notified().await;
    }

    /// Waits until the room has put the socket out.
    pub(crate) async fn until_out(&self) {
        while self.way().is_some() {
            self.out.notified().await;
        }
    }

    /// The client has closed the socket, with this code if there was one.
    pub(crate) fn closed_with(&self, code: Option<u16>) {
        self.close_code.get_or_init(|| code);
    }

    pub(crate) fn close_code(&self) -> Option<u16> {
        self.close_code.get().copied().flatten()
    }

    /// The room is to tell what it left out.
    pub(crate) fn catch_up(&self) {
        if let Some(way) = &*self.way() {
            way.catch_up();
        }
    }

    /// A frame for the room came.
    pub(crate) fn begin(&self) {
        self.waiting.fetch_add(1, SeqCst);
    }

    /// What was to be done with it is done.
    pub(crate) fn end(&self) {
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// Whether the socket is in the room.
    pub(crate) fn is_in(&self) -> bool {
        self.way().is_some()
    }

    /// Whether it takes up one of the socket's places: the socket is in the room, or is about to be, or something for it waits.
    pub(crate) fn is_taken(&self) -> bool {
        self.waiting.load(SeqCst) > 0 || self.is_in()
    }

    fn way(&self) -> MutexGuard<'_, Option<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
