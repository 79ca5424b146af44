//! What waits for a room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use partysync_protocol::{ErrorCode, limits};
use partysync_room::{ConnectionId, ConnectionInfo, Request, Response, RoomName, Vetted};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tracing::Span;

use crate::clock::Ring;
use crate::data::DataDir;
use crate::job::{Desk, Order};
use crate::outbox::Lane;
use crate::rate::Bucket;
use crate::rooms::Lease;

/// Bytes of a frame that take up one place in the queue. So a full queue of large frames is 64 MiB, not 4 GiB.
const PLACE_BYTES: usize = 16 << 10;

/// Something for a room.
pub(crate) enum Mail {
    /// Bring the room into memory, and say whether it can be.
    Open(oneshot::Sender<Result<(), ErrorCode>>),
    /// A socket was opened.
    Opened { connection: ConnectionId, info: ConnectionInfo, speaks: Speaks, lane: Lane },
    /// A frame came.
    Frame { connection: ConnectionId, frame: Received },
    /// A socket is gone, with this close code if there was one.
    Closed(ConnectionId, Option<u16>),
    /// A request came that asks for no socket. Who waits for the response keeps the room in memory.
    Request { request: Request, answer: oneshot::Sender<Response> },
    /// An item of the outbox was delivered, or not. The lease keeps the room in memory until it is handled.
    Delivered { key: String, delivered: bool, lease: Lease },
    /// A socket has been open for a while (SPEC 12.11).
    Quiet(ConnectionId),
    /// A slow reader has read what it got: it is to be told what was left out.
    CatchUp(ConnectionId),
    /// Say so when all that came before is answered.
    Fence(oneshot::Sender<()>),
    /// The alarm rings. The lease keeps the mailbox until it is handled.
    Alarm(Lease, Ring),
    /// Nobody has used the room for a while, or another one needs its place: leave memory, if that still may be.
    Evict,
    /// An operator's order. Its lease keeps the mailbox until it is carried out.
    Order(Lease, Order),
    /// The server stops: finish, and close all sockets.
    Stop,
}

/// What a socket is known to speak when it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Its first frame decides.
    Unknown,
    /// Version 2, by its subprotocol.
    V2,
    /// Version 2: it carries the room beside that of its URL, where it was welcomed.
    Further,
}

/// A frame from a client.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    /// A text frame that the app had a say in.
    Vetted(String, Box<Vetted>),
    Binary(Vec<u8>),
}

/// A room's queue, and the desk at which one thread at a time works through it. It is there as long as somebody uses the
/// room, whether the room is in memory or not.
pub(crate) struct Mailbox {
    pub(crate) name: RoomName,
    pub(crate) span: Span,
    queue: Mutex<Queue>,
    /// Places left for frames and requests. Other mail needs none: there are a few of it for each socket.
    places: Semaphore,
    /// How fast frames may come, of all sockets together.
    rate: Option<tokio::sync::Mutex<Bucket>>,
    /// How many more of the app's hooks may run before actions.
    pub(crate) hook_places: Semaphore,
    desk: Mutex<Desk>,
    /// Items of the outbox that are on their way.
    deliveries: AtomicUsize,
    /// When the room last had something to do, in milliseconds since the mailbox was made.
    last_used_ms: AtomicU64,
    made: std::time::Instant,
    /// After the desk, so that the directory's lock is let go after the room's file, whoever holds the mailbox last.
    pub(crate) data: Arc<DataDir>,
}

#[derive(Default)]
struct Queue {
    mail: VecDeque<Mail>,
    /// When the oldest of it came, or something before it.
    since: Option<Instant>,
    /// A job for this room is queued or runs.
    scheduled: bool,
}

impl Mailbox {
    pub(crate) fn new(name: RoomName, data: Arc<DataDir>, rate: Option<u32>) -> Self {
        Mailbox {
            // So that it is there for errors even if nothing less is logged.
            span: tracing::error_span!("room", room = %name),
            name,
            queue: Mutex::default(),
            places: Semaphore::new(limits::ROOM_QUEUE),
            rate: rate.map(|rate| tokio::sync::Mutex::new(Bucket::new(rate, Instant::now()))),
            hook_places: Semaphore::new(limits::HOOKS_WAITING),
            desk: Mutex::default(),
            deliveries: AtomicUsize::new(0),
            last_used_ms: AtomicU64::new(0),
            made: std::time::Instant::now(),
            data,
        }
    }

    /// Waits until at least one of so many frames may come; returns how many may. Who came first is served first.
    pub(crate) async fn admit(&self, frames: usize) -> usize {
        match &self.rate {
            None => frames,
            Some(rate) => rate.lock().await.admit(frames).await,
        }
    }

    /// Waits until there are places for frames, of which there may be no more than the queue has places. The places are given back
    /// when the frames are taken out.
    pub(crate) async fn reserve(&self, frames: &[Received]) {
        self.reserve_places(frames.iter().map(Received::places).sum()).await;
    }

    /// Waits until there is a place for a request with a body of this size.
    pub(crate) async fn reserve_for_request(&self, body_bytes: usize) {
        self.reserve_places(places(body_bytes)).await;
    }

    async fn reserve_places(&self, count: u32) {
        if let Ok(places) = self.places.acquire_many(count).await {
            places.forget();
        }
    }

    /// Puts mail in. Returns whether a job must be scheduled.
    #[must_use]
    pub(crate) fn put(&self, mail: impl IntoIterator<Item = Mail>) -> bool {
        let mut queue = self.queue();
        queue.mail.extend(mail);
        queue.since.get_or_insert_with(Instant::now);
        !std::mem::replace(&mut queue.scheduled, true)
    }

    /// Takes out the oldest mail, at most so much; and says since when the oldest of it may have waited.
    pub(crate) fn take(&self, at_most: usize) -> (Vec<Mail>, Option<Instant>) {
        let mut queue = self.queue();
        let taken = queue.mail.len().min(at_most);
        let mail: Vec<Mail> = queue.mail.drain(..taken).collect();
        let since = if queue.mail.is_empty() { queue.since.take() } else { queue.since };
        drop(queue);
        let places: u32 = mail.iter().map(Mail::places).sum();
        self.places.add_permits(places as usize);
        (mail, since)
    }

    /// How much mail waits.
    pub(crate) fn len(&self) -> usize {
        self.queue().mail.len()
    }

    /// Puts mail that was taken out back to where it was. Its job ends; who has what it waits for schedules another.
    pub(crate) fn put_back(&self, mail: Vec<Mail>, since: Option<Instant>) {
        let places: u32 = mail.iter().map(Mail::places).sum();
        // Those that are taken already are too many for a while.
        self.places.forget_permits(places as usize);
        let mut queue = self.queue();
        for mail in mail.into_iter().rev() {
            queue.mail.push_front(mail);
        }
        queue.since = since;
    }

    /// Whether no job runs, is queued, or waits to be scheduled, and nothing is being delivered.
    pub(crate) fn is_idle(&self) -> bool {
        !self.queue().scheduled && !self.is_delivering()
    }

    /// Whether an item of the room's outbox is on its way: the room that leaves memory meanwhile would send it again.
    pub(crate) fn is_delivering(&self) -> bool {
        self.deliveries.load(Relaxed) > 0
    }

    pub(crate) fn delivery_begins(&self) {
        self.deliveries.fetch_add(1, Relaxed);
    }

    pub(crate) fn delivery_ended(&self) {
        self.deliveries.fetch_sub(1, Relaxed);
    }

    /// Whether there is mail.
    pub(crate) fn has_mail(&self) -> bool {
        !self.queue().mail.is_empty()
    }

    /// The room has something to do.
    pub(crate) fn touch(&self) {
        let ms = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used_ms.store(ms, Relaxed);
    }

    /// When the room last had something to do.
    pub(crate) fn last_used(&self) -> std::time::Instant {
        self.made + Duration::from_millis(self.last_used_ms.load(Relaxed))
    }

    /// A job is done. Returns whether another one must be scheduled, for what came meanwhile.
    #[must_use]
    pub(crate) fn done(&self) -> bool {
        let mut queue = self.queue();
        queue.scheduled = !queue.mail.is_empty();
        queue.scheduled
    }

    /// The desk, for the job that runs.
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames and requests have limits of their own, far below 2^32 places.
fn places(bytes: usize) -> u32 {
    1 + u32::try_from(bytes / PLACE_BYTES).unwrap_or_default()
}

impl Mail {
    /// Whether the room has to be in memory for it.
    pub(crate) fn wakes(&self) -> bool {
        match self {
            Mail::Open(answer) => !answer.is_closed(),
            Mail::Request { answer, .. } => !answer.is_closed(),
            Mail::Opened { .. } | Mail::Frame { .. } | Mail::CatchUp(_) => true,
            Mail::Alarm(..) | Mail::Delivered { .. } | Mail::Order(..) => true,
            // Those of sockets wake a room that is asleep if it has to know of them.
            Mail::Closed(..) | Mail::Quiet(_) | Mail::Fence(_) | Mail::Evict | Mail::Stop => false,
        }
    }

    fn places(&self) -> u32 {
        match self {
            Mail::Frame { frame, .. } => frame.places(),
            Mail::Request { request, .. } => places(request.body.len()),
            _ => 0,
        }
    }
}

impl Received {
    /// How much of a queue it takes up.
    pub(crate) fn places(&self) -> u32 {
        places(match self {
            Received::Text(text) | Received::Vetted(text, _) => text.len(),
            Received::Binary(bytes) => bytes.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: ConnectionId = ConnectionId(1);

    /// A mailbox, and the folder that it believes to be its server's.
    fn mailbox() -> (Mailbox, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = Arc::new(DataDir::lock(folder.path().to_owned()).unwrap());
        (Mailbox::new(RoomName::new("todos", "lobby"), data, None), folder)
    }

    /// Delivers frames of so many bytes until there is no place; returns how many there were places for.
    async fn fill(mailbox: &Mailbox, bytes: usize) -> usize {
        let mut delivered = 0;
        loop {
            let frame = Received::Text("x".repeat(bytes));
            tokio::select! {
                biased;
                () = mailbox.reserve(std::slice::from_ref(&frame)) => {}
                () = std::future::ready(()) => return delivered,
            }
            let _ = mailbox.put([Mail::Frame { connection: SOCKET, frame }]);
            delivered += 1;
        }
    }

    #[tokio::test]
    async fn p8_room_queue_at_the_limit_and_one_past_it() {
        let (mailbox, _folder) = mailbox();
        assert_eq!(fill(&mailbox, 10).await, limits::ROOM_QUEUE);
        assert_eq!(mailbox.take(3).0.len(), 3);
        assert_eq!(fill(&mailbox, 10).await, 3);
    }

    #[tokio::test]
    async fn p8_large_frames_take_more_places() {
        let (mailbox, _folder) = mailbox();
        let frames = fill(&mailbox, limits::FRAME_BYTES).await;
        assert!(frames * limits::FRAME_BYTES <= limits::ROOM_QUEUE * PLACE_BYTES, "{frames}");
        assert_eq!(mailbox.take(usize::MAX).0.len(), frames);
        assert_eq!(fill(&mailbox, 0).await, limits::ROOM_QUEUE);
    }

    #[tokio::test(start_paused = true)]
    async fn p8_room_rate_at_the_limit_and_one_past_it() {
        let (mut mailbox, _folder) = mailbox();
        mailbox.rate = Some(tokio::sync::Mutex::new(Bucket::new(100, Instant::now())));
        let start = Instant::now();
        assert_eq!(mailbox.admit(101).await, 100);
        assert_eq!(start.elapsed().as_millis(), 0);
        // Who goes away while waiting leaves no debt.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), mailbox.admit(50)).await.is_err());
        assert_eq!(mailbox.admit(1).await, 1);
        // A timer is right to the millisecond.
        assert!((10..=11).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }

    #[test]
    fn a_job_is_scheduled_once_for_all_that_waits() {
        let (mailbox, _folder) = mailbox();
        assert!(mailbox.put([Mail::Evict]));
        assert!(!mailbox.put([Mail::Closed(SOCKET, None)]));
        assert_eq!(mailbox.take(1).0.len(), 1);
        assert!(mailbox.done(), "there is more");
        assert_eq!(mailbox.take(1).0.len(), 1);
        assert!(!mailbox.done());
        assert!(mailbox.put([Mail::Evict]));
    }
}
