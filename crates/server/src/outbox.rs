//! What leaves through one socket.
//!
//! Whoever has frames for a socket writes them itself, in one system call for all that one batch caused, if the kernel takes them: no
//! task has to be woken for that. Only what the kernel does not take is kept, and written by the socket's task when there is
//! room again.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use partysync_protocol::Version;
use partysync_room::{Arrived, Frame};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::backlog::{Backlog, Close, Kind, Payload};
use crate::proof::{Mark, Told};
use crate::transport::Transport;
use crate::ws::{Header, Opcode};

/// How long a socket that is to be closed may take to read what comes before the close frame, and to answer it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Frames up to this size are copied together before they are written. Larger ones are written from where they are.
const COPIED_BYTES: usize = 4 << 10;

/// Frames of a backlog that are written at once.
const BACKLOG_FRAMES: usize = 64;

/// What a thread keeps of the memory in which it copies frames together.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// A socket's way out.
#[derive(Debug)]
pub(crate) struct Outbox {
    transport: Transport,
    backlog: Mutex<Backlog>,
    /// There is something for the task to do: to write, or to close.
    wake: Notify,
    /// Few enough answers wait.
    drained: Notify,
    /// The socket is to be closed.
    closing: Notify,
    opened: Instant,
    /// Milliseconds from `opened` until the client last showed that it is there.
    heard_ms: AtomicU64,
    /// The kernel took no more when it was last asked.
    is_blocked: AtomicBool,
    /// The server does not read, of its own will.
    is_paused: AtomicBool,
}

/// A frame for whoever is to get it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) kind: Kind,
    pub(crate) header: Header,
    pub(crate) frame: Frame,
}

impl Post {
    pub(crate) fn new(kind: Kind, frame: Frame) -> Self {
        Post { kind, header: Header::new(Opcode::Text, frame.len()), frame }
    }

    fn bytes(&self) -> usize {
        self.header.as_bytes().len() + self.frame.len()
    }
}

impl Outbox {
    pub(crate) fn new(transport: Transport) -> Self {
        Outbox {
            transport,
            backlog: Mutex::default(),
            wake: Notify::new(),
            drained: Notify::new(),
            closing: Notify::new(),
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
        }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Writes frames, or keeps them until they can be written; `told` says what they show, if they are all of a batch. Returns whether the
    /// reader has just become too slow for them.
    pub(crate) fn post<'p>(
        &self,
        posts: impl Iterator<Item = &'p Post> + Clone,
        told: Option<Told>,
        scratch: &mut Scratch,
    ) -> bool {
        let mut backlog = self.backlog();
        let was_behind = backlog.is_behind();
        let ping = told.and_then(|told| backlog.proof.due(told));
        let mut written = 0;
        if backlog.is_clear() {
            // Whatever is wrong with the socket, its task will find out.
            written = scratch.write(posts.clone(), ping, &self.transport).unwrap_or(0);
        }
        for post in posts {
            if written >= post.bytes() {
                written -= post.bytes();
                continue;
            }
            backlog.push_begun_or_whole(post, std::mem::take(&mut written));
        }
        if let Some(told) = told.filter(|_| !backlog.is_behind()) {
            backlog.push_rest_of(ping, written);
            backlog.proof.told(told, ping.is_some());
        }
        let (is_empty, is_closing) = (backlog.is_empty(), backlog.closing().is_some());
        let fell_behind = !was_behind && backlog.is_behind();
        drop(backlog);
        if is_closing {
            self.closing.notify_one();
        }
        if !is_empty {
            self.wake.notify_one();
        }
        fell_behind
    }

    /// Sends a control frame.
    pub(crate) fn control(&self, opcode: Opcode, payload: Vec<u8>) {
        self.backlog().push(Kind::Answer, Payload::Control(opcode, payload));
        self.wake.notify_one();
    }

    /// Asks a client that is silent whether it is there, and what it has.
    pub(crate) fn ping(&self) {
        let mut backlog = self.backlog();
        let mark = backlog.proof.owed();
        backlog.push(Kind::Answer, Payload::Control(Opcode::Ping, mark));
        drop(backlog);
        self.wake.notify_one();
    }

    /// A pong came.
    pub(crate) fn pong(&self, mark: Mark) {
        self.backlog().proof.pong(mark);
    }

    /// See [`Proof::track`](crate::proof::Proof::track).
    pub(crate) fn track(&self, channels: u8) {
        self.backlog().proof.track(channels);
    }

    /// What is known to have arrived.
    pub(crate) fn arrived(&self) -> Option<Arrived> {
        self.backlog().proof.arrived()
    }

    /// Closes the socket after what was posted.
    pub(crate) fn close(&self, close: Close) {
        self.backlog().close(close);
        self.closing.notify_one();
        self.wake.notify_one();
    }

    /// The close that was asked for.
    pub(crate) fn asked_to_close(&self) -> Option<Close> {
        self.backlog().closing().cloned()
    }

    /// Adds the close frame, after everything.
    pub(crate) fn push_close(&self, code: Option<u16>, reason: &str) {
        self.backlog().push_close(code, reason);
    }

    /// Writes what waits, until nothing does.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut backlog = self.backlog();
            if backlog.is_empty() {
                return self.transport.poll_flush(cx);
            }
            let written = match self.poll_write_some(&backlog, cx) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    self.is_blocked.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            backlog.advance(written);
            if !backlog.is_over() {
                self.drained.notify_one();
            }
            drop(backlog);
            // There is room again for what did not fit, so the client, or its system, reads.
            if self.is_blocked.swap(false, Ordering::Relaxed) {
                self.hear();
            }
        }
    }

    fn poll_write_some(&self, backlog: &Backlog, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (frames, mut skip) = backlog.front();
        let frames: Vec<(Header, &[u8])> =
            frames.take(BACKLOG_FRAMES).map(|frame| (frame.header(), frame.as_bytes())).collect();
        let mut slices = Vec::with_capacity(2 * frames.len());
        for part in frames.iter().flat_map(|(header, payload)| [header.as_bytes(), payload]) {
            let skipped = skip.min(part.len());
            skip -= skipped;
            if skipped < part.len() {
                slices.push(IoSlice::new(&part[skipped..]));
            }
        }
        self.transport.poll_write(cx, &slices)
    }

    /// Whether the room is to be asked, now and once, for what was left out.
    pub(crate) fn wants_catch_up(&self) -> bool {
        self.backlog().wants_catch_up()
    }

    /// See [`Backlog::end_lag`].
    pub(crate) fn end_lag(&self) -> Option<Version> {
        self.backlog().end_lag()
    }

    /// Waits until so few answers wait that the socket may ask for more.
    pub(crate) async fn drained(&self) {
        while self.backlog().is_over() {
            self.drained.notified().await;
        }
    }

    /// Waits for something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until the socket is to be closed whether all is written or not.
    pub(crate) async fn overdue(&self) -> Close {
        loop {
            self.closing.notified().await;
            if let Some(close) = self.asked_to_close() {
                sleep(FAREWELL).await;
                return close;
            }
        }
    }

    /// The client showed that it is there.
    pub(crate) fn hear(&self) {
        let ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(ms, Ordering::Relaxed);
    }

    /// The server does not read for a while: what the client shows in that time is not seen.
    pub(crate) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// The server reads again.
    pub(crate) fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        self.hear();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// How long the client has not shown that it is there.
    pub(crate) fn silent_for(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog {
    /// Adds a frame, of which some bytes may be written already.
    fn push_begun_or_whole(&mut self, post: &Post, written: usize) {
        let payload = Payload::Text(post.frame.clone());
        if written > 0 { self.push_begun(post.kind, payload, written) } else { self.push(post.kind, payload) }
    }

    /// Adds a ping, of which some bytes, or all, may be written already.
    fn push_rest_of(&mut self, ping: Option<Mark>, written: usize) {
        let Some(mark) = ping else { return };
        let payload = Payload::Control(Opcode::Ping, mark.to_vec());
        match written {
            0 => self.push(Kind::Answer, payload),
            _ if written < payload.header().as_bytes().len() + mark.len() => {
                self.push_begun(Kind::Answer, payload, written);
            }
            _ => {}
        }
    }
}

/// Memory in which frames are copied together, used again for each socket.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
}

/// A part of what is written.
enum Part<'p> {
    /// A range of the scratch memory.
    Copied(Range<usize>),
    /// A large frame, where it is.
    Shared(&'p [u8]),
}

impl Scratch {
    /// Writes frames, and a ping after them, with one system call. Returns how many bytes the kernel took.
    fn write<'p>(
        &mut self,
        posts: impl Iterator<Item = &'p Post>,
        ping: Option<Mark>,
        transport: &Transport,
    ) -> io::Result<usize> {
        let parts = self.gather(posts, ping);
        let result = match &parts[..] {
            [] if self.bytes.is_empty() => Ok(0),
            [] => transport.try_write(&[IoSlice::new(&self.bytes)]),
            parts => {
                let slices = parts.iter().map(|part| match part {
                    Part::Copied(range) => IoSlice::new(&self.bytes[range.clone()]),
                    Part::Shared(bytes) => IoSlice::new(bytes),
                });
                transport.try_write(&slices.collect::<Vec<_>>())
            }
        };
        self.bytes.clear();
        self.bytes.shrink_to(SCRATCH_KEPT_BYTES);
        result
    }

    /// Copies what is small, and says in which order it goes with what is large. Nothing: there was only small.
    fn gather<'p>(&mut self, posts: impl Iterator<Item = &'p Post>, ping: Option<Mark>) -> Vec<Part<'p>> {
        let mut parts = Vec::new();
        let mut begin = 0;
        for post in posts {
            self.bytes.extend_from_slice(post.header.as_bytes());
            if post.frame.len() <= COPIED_BYTES {
                self.bytes.extend_from_slice(post.frame.as_bytes());
            } else {
                parts.push(Part::Copied(begin..self.bytes.len()));
                parts.push(Part::Shared(post.frame.as_bytes()));
                begin = self.bytes.len();
            }
        }
        if let Some(mark) = ping {
            self.bytes.extend_from_slice(Header::new(Opcode::Ping, mark.len()).as_bytes());
            self.bytes.extend_from_slice(&mark);
        }
        if !parts.is_empty() && begin < self.bytes.len() {
            parts.push(Part::Copied(begin..self.bytes.len()));
        }
        parts
    }
}
