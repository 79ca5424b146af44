//! What a thread does for a room: it takes what waits, hands it to the room, and carries out what comes back.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use partysync_model::{DbError, DbErrorKind};
use partysync_protocol::{ErrorCode, Millis, limits};
use partysync_room::{ConnectionId, Effect, Event, Frame, Input, OpenError};
use partysync_sqlite::{Options, SqliteDb};
use rustc_hash::FxHashMap;

use crate::backlog::{Close, Kind};
use crate::mailbox::{Mail, Mailbox, Received};
use crate::outbox::{Outbox, Post, Scratch};
use crate::party::AnyRoom;
use crate::rooms::{Fate, Lease, Rooms};
use crate::{clock, data};

/// Mail that one job takes, so that what the first of it asked for need not wait for all the rest: one group's worth.
const BATCH: usize = limits::GROUP_ACTIONS;

/// When an alarm rings again whose room could not be opened.
const OPEN_AGAIN_MS: Millis = 60_000;

const RESTART: Close = Close::new(1012, "the server restarts");
const FAULT: Close = Close::new(1011, "the server failed");

/// What only the job that runs touches.
#[derive(Default)]
pub(crate) struct Desk {
    /// The room, if it is in memory.
    room: Option<Box<dyn AnyRoom>>,
    sockets: FxHashMap<ConnectionId, Seat>,
    /// Nobody can reach the mailbox any more: what is left in it is of those that are gone.
    retired: bool,
}

/// A socket at the desk.
struct Seat {
    outbox: Arc<Outbox>,
    /// Which of the batch's posts it gets.
    posts: Vec<u32>,
}

/// Memory of a seat's list of posts that is kept from one batch to the next.
const POSTS_KEPT: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a batch of mail asks for, and what came of it.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    /// There is something for which the room is brought into memory.
    needs_room: bool,
    /// Kept until the events are handled.
    leases: Vec<Lease>,
    evict: bool,
    stop: bool,
    /// Frames that are to be sent.
    posts: Vec<Post>,
    /// Sockets that get one or more of them.
    touched: Vec<ConnectionId>,
}

/// Works through one batch of a room's mail.
pub(crate) fn run(rooms: &Arc<Rooms>, mailbox: &Arc<Mailbox>) {
    let _entered = mailbox.span.enter();
    let mut desk = mailbox.desk();
    let mail = mailbox.take(BATCH);
    if !desk.retired {
        let mut batch = Batch::default();
        if catch_unwind(AssertUnwindSafe(|| desk.work(rooms, mailbox, mail, &mut batch))).is_err() {
            desk.abandon();
        }
        desk.finish(rooms, mailbox, batch);
    }
    drop(desk);
    if mailbox.done() {
        rooms.schedule(mailbox);
    }
}

impl Desk {
    fn work(&mut self, rooms: &Rooms, mailbox: &Mailbox, mail: Vec<Mail>, batch: &mut Batch) {
        for mail in mail {
            self.sort(rooms, mailbox, mail, batch);
        }
        if self.room.is_none() && batch.needs_room && self.open(rooms, mailbox).is_err() {
            self.close_all(&FAULT);
            if !batch.leases.is_empty() {
                rooms.clock.set_alarm(&mailbox.name, Some(clock::now() + OPEN_AGAIN_MS));
            }
        }
        // Events for a room that is not in memory are of sockets that are closed already.
        let Some(room) = &mut self.room else { return };
        if batch.events.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        room.handle(input(rooms), std::mem::take(&mut batch.events), &mut effects);
        for effect in effects {
            self.carry_out(rooms, mailbox, batch, effect);
        }
    }

    /// What comes after a batch, whatever became of it.
    fn finish(&mut self, rooms: &Rooms, mailbox: &Mailbox, mut batch: Batch) {
        self.send_posts(&mut batch);
        if batch.stop {
            self.close_all(&RESTART);
        }
        drop(batch.leases);
        if batch.stop || batch.evict {
            self.evict(rooms, mailbox);
        }
    }

    fn sort(&mut self, rooms: &Rooms, mailbox: &Mailbox, mail: Mail, batch: &mut Batch) {
        match mail {
            // Who does not wait any more needs no room.
            Mail::Open(answer) if answer.is_closed() => {}
            Mail::Open(answer) => drop(answer.send(self.open(rooms, mailbox))),
            Mail::Opened { outbox, .. } if rooms.is_stopping() => outbox.close(RESTART),
            Mail::Opened { connection, info, outbox } => {
                tracing::debug!(connection = connection.0, "connection opened");
                self.sockets.insert(connection, Seat { outbox, posts: Vec::new() });
                batch.events.push(Event::Opened { connection, info });
                batch.needs_room = true;
            }
            Mail::Frame { connection, frame: Received::Text(text) } => {
                batch.events.push(Event::Text { connection, text });
            }
            Mail::Frame { connection, frame: Received::Vetted(text, vetted) } => {
                batch.events.push(Event::Vetted { connection, text, vetted: *vetted });
            }
            Mail::Frame { connection, frame: Received::Binary } => batch.events.push(Event::Binary { connection }),
            Mail::Closed(connection) => {
                tracing::debug!(connection = connection.0, "connection closed");
                self.sockets.remove(&connection);
                batch.events.push(Event::Closed { connection });
            }
            Mail::CatchUp(connection) => {
                if let Some(since) = self.sockets.get(&connection).and_then(|seat| seat.outbox.end_lag()) {
                    tracing::debug!(connection = connection.0, since, "a slow reader catches up");
                    batch.events.push(Event::CatchUp { connection, since });
                }
            }
            Mail::Alarm(lease) => {
                batch.leases.push(lease);
                batch.events.push(Event::Alarm);
                batch.needs_room = true;
            }
            Mail::Evict => batch.evict = true,
            Mail::Stop => batch.stop = true,
        }
    }

    /// Brings the room into memory. What went wrong is for the operator; what a client is told is in the code.
    fn open(&mut self, rooms: &Rooms, mailbox: &Mailbox) -> Result<(), ErrorCode> {
        if self.room.is_some() {
            return Ok(());
        }
        match catch_unwind(AssertUnwindSafe(|| open_room(rooms, mailbox))) {
            Ok(Ok(room)) => {
                tracing::info!("room opened");
                self.room = Some(room);
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the room cannot be opened");
                Err(error.code())
            }
            Err(_) => {
                tracing::error!("opening the room panicked");
                Err(ErrorCode::AppError)
            }
        }
    }

    fn carry_out(&mut self, rooms: &Rooms, mailbox: &Mailbox, batch: &mut Batch, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => self.post(batch, Kind::Answer, frame, [to]),
            Effect::Broadcast { to, except, since, frame } => {
                let to = to.iter().copied().filter(|to| Some(*to) != except);
                self.post(batch, Kind::News { since }, frame, to);
            }
            Effect::Close { connection, code, reason } => {
                // What it was sent before comes before.
                self.send_posts(batch);
                if let Some(seat) = self.sockets.get(&connection) {
                    seat.outbox.close(Close { code, reason: reason.into() });
                }
            }
            Effect::WakeAt(at) => rooms.clock.set_alarm(&mailbox.name, at),
            Effect::Applied(applied) => {
                if let Some(after) = rooms.parties.get(mailbox.name.party()).and_then(|p| p.hooks.after.as_ref()) {
                    after.tell(*applied);
                }
            }
            Effect::Report(report) => tracing::error!(during = report.during, error = report.error, "report"),
            _ => tracing::error!("an effect that this home does not know"),
        }
    }

    /// Notes a frame for each socket that gets it.
    fn post(&mut self, batch: &mut Batch, kind: Kind, frame: Frame, to: impl IntoIterator<Item = ConnectionId>) {
        let Ok(index) = u32::try_from(batch.posts.len()) else { return };
        batch.posts.push(Post::new(kind, frame));
        for to in to {
            let Some(seat) = self.sockets.get_mut(&to) else { continue };
            if seat.posts.is_empty() {
                batch.touched.push(to);
            }
            seat.posts.push(index);
        }
    }

    /// Sends all that was noted: to each socket all of its frames at once.
    fn send_posts(&mut self, batch: &mut Batch) {
        let posts = &batch.posts;
        SCRATCH.with_borrow_mut(|scratch| {
            for to in batch.touched.drain(..) {
                let Some(seat) = self.sockets.get_mut(&to) else { continue };
                seat.outbox.post(seat.posts.iter().filter_map(|index| posts.get(*index as usize)), scratch);
                seat.posts.clear();
                seat.posts.shrink_to(POSTS_KEPT);
            }
        });
        batch.posts.clear();
    }

    /// The room panicked, which only a mistake of this library can cause: what it has in memory may be wrong. What is on disk
    /// is what its transactions left.
    fn abandon(&mut self) {
        tracing::error!("the room panicked: it leaves memory, and its sockets are closed");
        self.close_all(&FAULT);
        if let Some(room) = self.room.take() {
            drop_room(room);
        }
    }

    fn close_all(&mut self, close: &Close) {
        for (_, seat) in self.sockets.drain() {
            seat.outbox.close(close.clone());
        }
    }

    /// Takes the room out of memory, if it is unused.
    fn evict(&mut self, rooms: &Rooms, mailbox: &Mailbox) {
        if !rooms.is_stopping() && rooms.fate(&mailbox.name) == Fate::Used {
            return;
        }
        if let Some(room) = self.room.take() {
            drop_room(room);
            tracing::info!("room evicted");
        }
        // The file is closed now, so another mailbox may open it.
        self.retired = rooms.forget(&mailbox.name) == Fate::Unused;
    }
}

fn open_room(rooms: &Rooms, mailbox: &Mailbox) -> Result<Box<dyn AnyRoom>, OpenError> {
    let name = &mailbox.name;
    // Only rooms of parties that are there get a mailbox.
    let party = rooms.parties.get(name.party()).ok_or(OpenError::Start(ErrorCode::AppError.into()))?;
    let file = mailbox.data.room_file(name);
    let folder = file.parent().unwrap_or(&file);
    let is_new = !file.exists();
    data::make_folders(folder).map_err(storage_error)?;
    let db = SqliteDb::open(&file, &Options::default())?;
    let room = (party.open)(db, name.clone(), input(rooms))?;
    if is_new {
        data::flush_folder(folder).map_err(storage_error)?;
    }
    Ok(room)
}

/// Drops a room and closes its file. That runs code of the app, which may panic.
fn drop_room(room: Box<dyn AnyRoom>) {
    if catch_unwind(AssertUnwindSafe(|| drop(room))).is_err() {
        tracing::error!("the room panicked while it left memory");
    }
}

fn input(rooms: &Rooms) -> Input {
    Input { now: clock::now(), random: rooms.random.next() }
}

fn storage_error(error: std::io::Error) -> OpenError {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let kind = if full { DbErrorKind::Full } else { DbErrorKind::Io };
    OpenError::Db(DbError::new(kind, error.to_string()))
}
