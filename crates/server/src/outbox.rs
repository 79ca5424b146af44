//! What leaves through one socket.
//!
//! Whoever has frames for a socket writes them itself, in one system call for all that one batch caused, if the kernel takes them: no
//! task has to be woken for that. Only what the kernel does not take is kept, and written by the socket's task when there is
//! room again.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use partysync_protocol::Version;
use partysync_room::{Arrived, Frame};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::backlog::{Backlog, Close, Kind, Payload};
use crate::berth::Berth;
use crate::lanes::{LaneId, Lanes};
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
pub(crate) struct Outbox {
    transport: Transport,
    lanes: Mutex<Lanes>,
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
    /// What goes in its place to a socket for which news was left out.
    bare: Option<Frame>,
}

impl Post {
    pub(crate) fn new(kind: Kind, frame: Frame) -> Self {
        Post { kind, header: Header::new(Opcode::Text, frame.len()), frame, bare: None }
    }

    /// An answer with rows, and the same without.
    pub(crate) fn with_rows(frame: Frame, bare: Frame) -> Self {
        Post { bare: Some(bare), ..Post::new(Kind::Answer, frame) }
    }

    fn bytes(&self) -> usize {
        self.header.as_bytes().len() + self.frame.len()
    }
}

impl Outbox {
    pub(crate) fn new(transport: Transport) -> Self {
        Outbox {
            transport,
            lanes: Mutex::default(),
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

    /// Sends a control frame.
    pub(crate) fn control(&self, opcode: Opcode, payload: Vec<u8>) {
        self.push_own(Payload::Control(opcode, payload));
    }

    /// Says something about the socket itself, which carries several rooms.
    pub(crate) fn say(&self, frame: Frame) {
        self.push_own(Payload::Text(frame));
    }

    fn push_own(&self, payload: Payload) {
        let mut lanes = self.lanes();
        if lanes.home().closing().is_none()
            && let Some(backlog) = lanes.get(LaneId::SOCKET)
        {
            backlog.push(Kind::Answer, payload);
        }
        drop(lanes);
        self.wake.notify_one();
    }

    /// Asks a client that is silent whether it is there, and what it has.
    pub(crate) fn ping(&self) {
        let mark = self.lanes().home().proof.owed();
        self.control(Opcode::Ping, mark);
    }

    /// A pong came.
    pub(crate) fn pong(&self, mark: Mark) {
        self.lanes().home().proof.pong(mark);
    }

    /// Closes the socket after what was posted, whatever rooms it carries.
    pub(crate) fn close(&self, close: Close) {
        self.lanes().home().close(close);
        self.closing.notify_one();
        self.wake.notify_one();
    }

    /// The close that was asked for.
    pub(crate) fn asked_to_close(&self) -> Option<Close> {
        self.lanes().home().closing().cloned()
    }

    /// Adds the close frame, after everything.
    pub(crate) fn push_close(&self, code: Option<u16>, reason: &str) {
        self.lanes().push_close(code, reason);
    }

    /// The socket is about to carry rooms beside that of its URL. From now on each has a [lane](Lane) of its own.
    pub(crate) fn split(&self, home: Arc<Berth>) {
        self.lanes().split(home);
    }

    /// A lane for a further room.
    pub(crate) fn add_lane(self: &Arc<Self>, berth: Arc<Berth>) -> Lane {
        Lane { id: self.lanes().add(berth), outbox: Arc::clone(self) }
    }

    /// Writes what waits, until nothing does.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut lanes = self.lanes();
            if lanes.is_empty() {
                return self.transport.poll_flush(cx);
            }
            let written = match self.poll_write_some(&lanes, cx) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    self.is_blocked.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            lanes.advance(written);
            if lanes.get(LaneId::SOCKET).is_some_and(|backlog| !backlog.is_over()) {
                self.drained.notify_one();
            }
            let behind = lanes.look();
            drop(lanes);
            behind.iter().for_each(|berth| berth.catch_up());
            // There is room again for what did not fit, so the client, or its system, reads.
            if self.is_blocked.swap(false, Ordering::Relaxed) {
                self.hear();
            }
        }
    }

    fn poll_write_some(&self, lanes: &Lanes, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (frames, mut skip) = lanes.front(BACKLOG_FRAMES);
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

    /// Whether the room of the URL, the only one, is to be asked, now and once, for what was left out.
    pub(crate) fn wants_catch_up(&self) -> bool {
        let mut lanes = self.lanes();
        !lanes.is_split() && lanes.home().wants_catch_up()
    }

    /// Waits until so few answers wait that the socket may ask for more.
    pub(crate) async fn drained(&self) {
        while self.lanes().get(LaneId::SOCKET).is_some_and(|backlog| backlog.is_over()) {
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

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room's way out through a socket, which may carry other rooms too.
#[derive(Clone)]
pub(crate) struct Lane {
    outbox: Arc<Outbox>,
    id: LaneId,
}

impl Lane {
    /// That of the room of the socket's URL.
    pub(crate) fn home(outbox: Arc<Outbox>) -> Self {
        Lane { outbox, id: LaneId::HOME }
    }

    /// Writes frames, or keeps them until they can be written; `told` says what they show, if they are all of a batch. Returns whether the
    /// reader has just become too slow for them.
    pub(crate) fn post<'p>(
        &self,
        posts: impl Iterator<Item = &'p Post> + Clone,
        told: Option<Told>,
        scratch: &mut Scratch,
    ) -> bool {
        let outbox = &*self.outbox;
        let mut lanes = outbox.lanes();
        let (is_clear, is_closing) = (lanes.is_clear(), lanes.home().closing().is_some());
        let Some(backlog) = lanes.get(self.id).filter(|_| !is_closing) else { return false };
        let was_behind = backlog.is_behind();
        let ping = told.and_then(|told| backlog.proof.due(told));
        let mut written = 0;
        if is_clear && !was_behind {
            // Whatever is wrong with the socket, its task will find out.
            written = scratch.write(posts.clone(), ping, &outbox.transport).unwrap_or(0);
        }
        let mut is_begun = false;
        for post in posts {
            if written >= post.bytes() {
                written -= post.bytes();
                continue;
            }
            is_begun |= written > 0;
            backlog.push_begun_or_whole(post, std::mem::take(&mut written));
        }
        if let Some(told) = told.filter(|_| !backlog.is_behind()) {
            is_begun |= backlog.push_rest_of(ping, written);
            backlog.proof.told(told, ping.is_some());
        }
        let fell_behind = !was_behind && backlog.is_behind();
        let close = backlog.closing().cloned();
        if is_begun {
            lanes.begin_with(self.id);
        }
        let is_closing = close.is_some_and(|close| lanes.end(self.id, close));
        outbox.notify(lanes, is_closing);
        fell_behind
    }

    /// Says something on behalf of the room.
    pub(crate) fn answer(&self, frame: Frame) {
        let mut lanes = self.outbox.lanes();
        if lanes.home().closing().is_none()
            && let Some(backlog) = lanes.get(self.id)
        {
            backlog.push(Kind::Answer, Payload::Text(frame));
        }
        self.outbox.notify(lanes, false);
    }

    /// See [`Proof::track`](crate::proof::Proof::track).
    pub(crate) fn track(&self, channels: u8) {
        if let Some(backlog) = self.outbox.lanes().get(self.id) {
            backlog.proof.track(channels);
        }
    }

    /// What is known to have arrived.
    pub(crate) fn arrived(&self) -> Option<Arrived> {
        self.outbox.lanes().get(self.id).and_then(|backlog| backlog.proof.arrived())
    }

    /// See [`Backlog::end_lag`].
    pub(crate) fn end_lag(&self) -> Option<Version> {
        self.outbox.lanes().get(self.id).and_then(Backlog::end_lag)
    }

    /// The room puts the socket out with this frame, for good.
    pub(crate) fn put_out(&self, frame: Frame) {
        let mut lanes = self.outbox.lanes();
        if lanes.home().closing().is_none() {
            lanes.put_out(self.id, frame);
        }
        self.outbox.notify(lanes, false);
    }

    /// Ends the room on this socket after what was posted. If it carries no other room, the socket is closed (SPEC 8.34).
    pub(crate) fn end(&self, close: Close) {
        let mut lanes = self.outbox.lanes();
        let is_closing = lanes.home().closing().is_some() || lanes.end(self.id, close);
        self.outbox.notify(lanes, is_closing);
    }

    /// Closes the socket after what was posted, whatever rooms it carries.
    pub(crate) fn close_socket(&self, close: Close) {
        self.outbox.close(close);
    }

    /// Removes the lane, unless something waits on it.
    pub(crate) fn remove(&self) -> bool {
        self.outbox.lanes().remove(self.id)
    }

    /// Waits until so few answers of the room wait that it may be asked for more.
    pub(crate) async fn drained(&self, berth: &Berth) {
        while self.outbox.lanes().get(self.id).is_some_and(|backlog| backlog.is_over()) {
            berth.drained.notified().await;
        }
    }
}

impl Outbox {
    /// Tells the socket's task what there is to do.
    fn notify(&self, lanes: MutexGuard<'_, Lanes>, is_closing: bool) {
        let is_empty = lanes.is_empty();
        drop(lanes);
        if is_closing {
            self.closing.notify_one();
        }
        if !is_empty || is_closing {
            self.wake.notify_one();
        }
    }
}

impl Backlog {
    /// Adds a frame, of which some bytes may be written already. Rows that come with what was left out do not come before.
    fn push_begun_or_whole(&mut self, post: &Post, written: usize) {
        let bare = post.bare.as_ref().filter(|_| written == 0 && self.is_behind());
        let payload = Payload::Text(bare.unwrap_or(&post.frame).clone());
        if written > 0 { self.push_begun(post.kind, payload, written) } else { self.push(post.kind, payload) }
    }

    /// Adds a ping, of which some bytes, or all, may be written already. Returns whether it is some.
    fn push_rest_of(&mut self, ping: Option<Mark>, written: usize) -> bool {
        let Some(mark) = ping else { return false };
        let payload = Payload::Control(Opcode::Ping, mark.to_vec());
        let is_begun = (1..payload.header().as_bytes().len() + mark.len()).contains(&written);
        match written {
            0 => self.push(Kind::Answer, payload),
            _ if is_begun => self.push_begun(Kind::Answer, payload, written),
            _ => {}
        }
        is_begun
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_12_7_one_for_whom_news_was_left_out_is_answered_without_rows() {
        let frame = |text: &str| Frame::from(text.to_owned());
        let mut backlog = Backlog::default();
        let answer = Post::with_rows(frame("with rows"), frame("without"));
        let large =
            Post::new(Kind::News { since: 1 }, frame(&"x".repeat(partysync_protocol::limits::SOCKET_BACKLOG_BYTES)));
        let last = |backlog: &Backlog| {
            String::from_utf8_lossy(backlog.front().0.last().expect("a frame").as_bytes()).into_owned()
        };
        for post in [&large, &answer] {
            backlog.push_begun_or_whole(post, 0);
        }
        assert_eq!(last(&backlog), "with rows", "nothing was left out");
        for post in [&large, &answer] {
            backlog.push_begun_or_whole(post, 0);
        }
        assert_eq!(last(&backlog), "without");
        backlog.end_lag();
        backlog.push_begun_or_whole(&answer, 0);
        assert_eq!(last(&backlog), "with rows", "the catch-up comes first");
    }
}
