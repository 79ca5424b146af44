//! What a thread does for a room: it takes what waits, hands it to the room, and carries out what comes back.

mod order;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use partysync_protocol::{ErrorCode, Millis, limits, v2};
use partysync_room::{Arrived, ConnectionId, ConnectionState, Effect, Event, Input, RequestId, Response};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backlog::{Close, Kind};
use crate::clock::{self, Ring};
use crate::courier;
use crate::log_file::{self, LogFile};
use crate::mailbox::{Mail, Mailbox, Received, Speaks};
use crate::metrics::Tally;
use crate::open::{self, Trouble};
use crate::outbox::{Lane, Post, Scratch};
use crate::party::AnyRoom;
use crate::proof::Told;
use crate::rooms::{Fate, Lease, Rooms};
use crate::slots::Slot;

pub(crate) use order::{Answer, Order, OrderError};

/// Mail that one job takes, so that what the first of it asked for need not wait for all the rest: one group's worth.
const BATCH: usize = limits::GROUP_ACTIONS;

/// When an alarm rings again whose room could not be opened.
const OPEN_AGAIN_MS: Millis = 60_000;

const RESTART: Close = Close::new(1012, "the server restarts");
const BUSY: Close = Close::new(1013, "the server has too many rooms open");
const FAULT: Close = Close::new(1011, "the server failed");

/// What only the job that runs touches.
#[derive(Default)]
pub(crate) struct Desk {
    /// The room, if it is in memory.
    room: Option<Box<dyn AnyRoom>>,
    sockets: FxHashMap<ConnectionId, Seat>,
    /// What the room has to know of its sockets when it wakes: 200 to 300 bytes each, more if the app keeps something with
    /// them. Nothing while it is in memory.
    asleep: FxHashMap<ConnectionId, ConnectionState>,
    /// When the room wants to be woken.
    alarm: Option<Millis>,
    log_file: LogFile,
    /// Why the room cannot be opened, as far as this batch is concerned.
    failed: Option<ErrorCode>,
    /// Nobody can reach the mailbox any more: what is left in it is of those that are gone.
    retired: bool,
}

/// A socket at the desk.
struct Seat {
    lane: Lane,
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
    /// Alarms, kept until they are handled.
    rings: Vec<(Lease, Ring)>,
    /// The room was not in memory before.
    was_asleep: bool,
    /// Who waits for responses.
    requests: FxHashMap<RequestId, oneshot::Sender<Response>>,
    /// Kept until the events are handled.
    leases: Vec<Lease>,
    evict: bool,
    stop: bool,
    /// Frames that are to be sent.
    posts: Vec<Post>,
    /// Sockets that get one or more of them.
    touched: Vec<ConnectionId>,
    /// What is known of sockets that are gone.
    arrived: Vec<(ConnectionId, Arrived)>,
    /// Who waits until all is sent that came of what was before.
    fences: Vec<oneshot::Sender<()>>,
    /// Carried out after the events.
    orders: Vec<(Lease, Order)>,
    tally: Tally,
}

/// Works through one batch of a room's mail.
pub(crate) fn run(rooms: &Arc<Rooms>, mailbox: &Arc<Mailbox>) {
    let _entered = mailbox.span.enter();
    let mut desk = mailbox.desk();
    let (mut mail, since) = mailbox.take(BATCH);
    if !desk.retired {
        desk.answer_pings(&mut mail);
        if desk.room.is_none() && mail.iter().any(|mail| desk.wakes_for(mail)) {
            match rooms.take_slot(&mailbox.name) {
                Slot::Taken => {}
                Slot::Refused => desk.failed = Some(ErrorCode::Busy),
                Slot::None | Slot::Waiting { .. } => {
                    // First the mail: who gets a place looks for it.
                    mailbox.put_back(mail, since);
                    return rooms.wait_for_slot(&mailbox.name);
                }
            }
        }
        let mut batch = Batch { was_asleep: desk.room.is_none(), ..Batch::default() };
        if catch_unwind(AssertUnwindSafe(|| desk.work(rooms, mailbox, mail, &mut batch))).is_err() {
            desk.abandon(rooms, mailbox);
        }
        desk.finish(rooms, mailbox, batch, since);
    }
    drop(desk);
    if mailbox.done() {
        rooms.schedule(mailbox);
    } else {
        rooms.rest();
    }
}

impl Desk {
    /// Answers pings to a room that is asleep: it need not wake for them.
    fn answer_pings(&mut self, mail: &mut Vec<Mail>) {
        if self.asleep.is_empty() {
            return;
        }
        mail.retain(|mail| {
            let Mail::Frame { connection, frame: Received::Text(text) } = mail else { return true };
            let Some(pong) = self.asleep.get(connection).and_then(|state| state.answer_asleep(text)) else {
                return true;
            };
            if let Some(seat) = self.sockets.get(connection) {
                let post = Post::new(Kind::Answer, pong);
                // A pong is no news that a slow reader could do without.
                let _ = SCRATCH.with_borrow_mut(|scratch| seat.lane.post([&post].into_iter(), None, scratch));
            }
            false
        });
    }

    /// Whether the room has to be in memory for this: it is for the end of a socket that it has.
    fn wakes_for(&self, mail: &Mail) -> bool {
        match mail {
            Mail::Closed(connection, _) => self.asleep.contains_key(connection),
            Mail::Quiet(connection) => self.asleep.get(connection).is_some_and(ConnectionState::minds_quiet),
            mail => mail.wakes(),
        }
    }

    fn work(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, mail: Vec<Mail>, batch: &mut Batch) {
        if mail.iter().any(is_use) {
            mailbox.touch();
        }
        for mail in mail {
            self.sort(rooms, mailbox, mail, batch);
        }
        if batch.needs_room
            && let Err(code) = self.open(rooms, mailbox, batch)
        {
            let close = if code == ErrorCode::Busy { BUSY } else { FAULT };
            self.close_all(&close);
            if !batch.rings.is_empty() {
                rooms.clock.set_alarm(&mailbox.name, Some(clock::now() + OPEN_AGAIN_MS));
            }
        }
        // Events for a room that is not in memory are of sockets that are closed already.
        let Some(room) = &mut self.room else { return };
        if batch.events.is_empty() {
            return;
        }
        batch.arrived.drain(..).for_each(|(connection, arrived)| room.arrived(connection, arrived));
        let mut effects = Vec::new();
        room.handle(input(rooms), std::mem::take(&mut batch.events), &mut effects);
        let must_reopen = room.must_reopen();
        if !batch.rings.is_empty() {
            // It says what it wants now, unless that is nothing.
            self.set_alarm(rooms, mailbox, None);
        }
        for effect in effects {
            self.carry_out(rooms, mailbox, batch, effect);
        }
        if must_reopen {
            self.reopen(rooms, mailbox, batch);
        }
    }

    /// What comes after a batch, whatever became of it.
    fn finish(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, mut batch: Batch, since: Option<Instant>) {
        self.send_batch(&mut batch);
        // Who waits no more is gone.
        for fence in batch.fences.drain(..) {
            let _ = fence.send(());
        }
        if let Some(since) = since {
            rooms.metrics.answered(since.elapsed(), batch.tally.frames_received);
        }
        for (lease, order) in std::mem::take(&mut batch.orders) {
            self.obey(rooms, mailbox, &mut batch, order);
            drop(lease);
        }
        rooms.metrics.add(&batch.tally);
        self.failed = None;
        if batch.stop {
            self.note_arrivals();
            self.asleep.clear();
            self.sockets.drain().for_each(|(_, seat)| seat.lane.close_socket(RESTART));
        }
        // Many alarms may be due after a restart: a room that came for that alone goes again.
        let was_rung = batch.was_asleep && !batch.rings.is_empty() && self.sockets.is_empty();
        drop(batch.rings);
        if batch.stop || batch.evict || was_rung {
            self.leave(rooms, mailbox, was_rung);
        }
        if let Some(room) = &mut self.room {
            self.log_file.keep(mailbox.has_mail(), Instant::now(), |bytes| log_file::copy_past(room.db(), bytes));
        }
        if self.room.is_none() && !self.retired {
            rooms.free_slot(&mailbox.name);
        }
    }

    fn sort(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, mail: Mail, batch: &mut Batch) {
        match mail {
            // Who does not wait any more needs no room.
            Mail::Open(answer) if answer.is_closed() => {}
            Mail::Open(answer) => drop(answer.send(self.open(rooms, mailbox, batch))),
            Mail::Opened { lane, .. } if rooms.is_stopping() => lane.close_socket(RESTART),
            Mail::Opened { connection, info, speaks, lane } => {
                tracing::debug!(connection = connection.0, "connection opened");
                self.sockets.insert(connection, Seat { lane, posts: Vec::new() });
                batch.events.push(match speaks {
                    Speaks::Unknown => Event::Opened { connection, info },
                    Speaks::V2 => Event::OpenedV2 { connection, info, is_further: false },
                    Speaks::Further => Event::OpenedV2 { connection, info, is_further: true },
                });
                batch.needs_room = true;
            }
            Mail::Frame { connection, frame } => {
                batch.tally.received(&frame);
                batch.needs_room |= self.asleep.contains_key(&connection);
                batch.events.push(match frame {
                    Received::Text(text) => Event::Text { connection, text },
                    Received::Vetted(text, vetted) => Event::Vetted { connection, text, vetted: *vetted },
                    Received::Binary(bytes) => Event::Binary { connection, bytes },
                });
            }
            Mail::Closed(connection, code) => {
                tracing::debug!(connection = connection.0, "connection closed");
                let seat = self.sockets.remove(&connection);
                let arrived = seat.and_then(|seat| seat.lane.arrived());
                batch.arrived.extend(arrived.map(|arrived| (connection, arrived)));
                // The app hears of it, unless the room finds no place in memory.
                if self.failed.is_none() {
                    batch.needs_room |= self.asleep.contains_key(&connection);
                } else {
                    self.asleep.remove(&connection);
                }
                batch.events.push(Event::Closed { connection, code, reason: String::new() });
            }
            Mail::Quiet(connection) => {
                batch.needs_room |= self.asleep.get(&connection).is_some_and(ConnectionState::minds_quiet);
                batch.events.push(Event::Quiet { connection });
            }
            Mail::CatchUp(connection) => {
                if let Some(since) = self.sockets.get(&connection).and_then(|seat| seat.lane.end_lag()) {
                    batch.needs_room |= self.asleep.contains_key(&connection);
                    tracing::debug!(connection = connection.0, since, "a slow reader catches up");
                    batch.tally.caught_up += 1;
                    batch.events.push(Event::CatchUp { connection, since });
                }
            }
            // Who does not wait any more needs no answer.
            Mail::Request { answer, .. } if answer.is_closed() => {}
            Mail::Request { request: what, answer } => {
                let request = RequestId(batch.requests.len() as u64);
                batch.requests.insert(request, answer);
                batch.events.push(Event::Request { request, what });
                batch.needs_room = true;
            }
            Mail::Delivered { key, delivered, lease } => {
                batch.leases.push(lease);
                batch.events.push(if delivered { Event::Delivered { key } } else { Event::DeliverFailed { key } });
                batch.needs_room = true;
            }
            Mail::Alarm(lease, ring) => {
                batch.tally.alarms += 1;
                batch.rings.push((lease, ring));
                batch.events.push(Event::Alarm);
                batch.needs_room = true;
            }
            Mail::Order(lease, order) => batch.orders.push((lease, order)),
            Mail::Fence(answer) => batch.fences.push(answer),
            Mail::Evict => batch.evict = true,
            Mail::Stop => batch.stop = true,
        }
    }

    /// Brings the room into memory, with the sockets that it had when it left. What went wrong is for the operator; what a
    /// client is told is in the code.
    fn open(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, batch: &mut Batch) -> Result<(), ErrorCode> {
        if self.room.is_some() {
            return Ok(());
        }
        if let Some(code) = self.failed {
            return Err(code);
        }
        let opened = catch_unwind(AssertUnwindSafe(|| open::open(rooms, mailbox))).unwrap_or_else(|_| {
            Err(Trouble { code: ErrorCode::AppError, text: "opening the room panicked".to_owned() })
        });
        let mut room = opened.map_err(|Trouble { code, text }| {
            tracing::error!(error = text, "the room cannot be opened");
            rooms.metrics.open_failures.add(code, 1);
            self.failed = Some(code);
            code
        })?;
        let restored = self.asleep.drain().map(|(connection, state)| Event::Restored { connection, state }).collect();
        // Even with no sockets: it says when its alarm is to ring.
        let mut effects = Vec::new();
        room.handle(input(rooms), restored, &mut effects);
        tracing::info!("room opened");
        rooms.metrics.rooms_opened.add(1);
        rooms.metrics.rooms_in_memory.up();
        self.room = Some(room);
        self.set_alarm(rooms, mailbox, None);
        effects.into_iter().for_each(|effect| self.carry_out(rooms, mailbox, batch, effect));
        rooms.opened(&mailbox.name);
        Ok(())
    }

    /// The database failed in a way after which only what is on disk can be believed. Sockets stay.
    fn reopen(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, batch: &mut Batch) {
        tracing::error!("the storage failed: the room is closed and opened anew");
        self.sleep(rooms);
        if self.open(rooms, mailbox, batch).is_err() {
            // Whoever sends something next tries again, and so does the clock.
            self.set_alarm(rooms, mailbox, Some(clock::now() + OPEN_AGAIN_MS));
        }
    }

    fn set_alarm(&mut self, rooms: &Rooms, mailbox: &Mailbox, at: Option<Millis>) {
        self.alarm = at;
        rooms.clock.set_alarm(&mailbox.name, at);
    }

    fn carry_out(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, batch: &mut Batch, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => self.post(batch, Post::new(Kind::Answer, frame), [to]),
            Effect::Answer { to, frame, bare } => self.post(batch, Post::with_rows(frame, bare), [to]),
            Effect::Broadcast { to, except, since, frame } => {
                let to = to.iter().copied().filter(|to| Some(*to) != except);
                self.post(batch, Post::new(Kind::News { since }, frame), to);
            }
            Effect::Message { to, frame } => self.post(batch, Post::new(Kind::Message, frame), to.iter().copied()),
            Effect::Track { connection, channels } => {
                if let Some(seat) = self.sockets.get(&connection) {
                    seat.lane.track(channels);
                    batch.touched.push(connection);
                }
            }
            Effect::TellArrived { connection } => {
                let arrived = self.sockets.get(&connection).and_then(|seat| seat.lane.arrived());
                if let (Some(room), Some(arrived)) = (&mut self.room, arrived) {
                    room.arrived(connection, arrived);
                }
            }
            Effect::Close { connection, code, reason } => {
                // What it was sent before comes before.
                self.send_posts(batch, None);
                if let Some(seat) = self.sockets.get(&connection) {
                    seat.lane.end(Close { code, reason });
                }
            }
            Effect::Leave { connection, frame } => {
                self.send_posts(batch, None);
                if let Some(seat) = self.sockets.remove(&connection) {
                    batch.tally.frames_sent += 1;
                    batch.tally.bytes_sent += frame.len() as u64;
                    seat.lane.put_out(frame);
                }
            }
            Effect::Respond { request, response } => {
                if let Some(answer) = batch.requests.remove(&request) {
                    // Who asked may be gone.
                    let _ = answer.send(response);
                }
            }
            // It sees itself what waits for a socket.
            Effect::Has { .. } => {}
            Effect::Deliver(item) => courier::send(rooms, mailbox, item),
            Effect::WakeAt(at) => self.set_alarm(rooms, mailbox, at),
            Effect::Applied(applied) => {
                if let Some(after) = rooms.parties.get(mailbox.name.party()).and_then(|p| p.hooks.after.as_ref()) {
                    after.tell(*applied, &rooms.metrics);
                }
            }
            Effect::Report(report) => {
                batch.tally.reports += 1;
                tracing::error!(during = report.during, error = report.error, "report");
            }
            _ => tracing::error!("an effect that this home does not know"),
        }
    }

    /// Notes a frame for each socket that gets it.
    fn post(&mut self, batch: &mut Batch, post: Post, to: impl IntoIterator<Item = ConnectionId>) {
        let Ok(index) = u32::try_from(batch.posts.len()) else { return };
        let bytes = post.frame.len() as u64;
        batch.posts.push(post);
        for to in to {
            let Some(seat) = self.sockets.get_mut(&to) else { continue };
            batch.tally.frames_sent += 1;
            batch.tally.bytes_sent += bytes;
            if seat.posts.is_empty() {
                batch.touched.push(to);
            }
            seat.posts.push(index);
        }
    }

    /// Sends all that was noted, once all effects are carried out.
    fn send_batch(&mut self, batch: &mut Batch) {
        let version = self.room.as_ref().map(|room| room.version());
        self.send_posts(batch, version.map(|version| Told { version, now: Instant::now() }));
    }

    /// Sends all that was noted: to each socket all of its frames at once. `told`: what they show, if more of them cannot come.
    fn send_posts(&mut self, batch: &mut Batch, told: Option<Told>) {
        let posts = &batch.posts;
        SCRATCH.with_borrow_mut(|scratch| {
            for to in batch.touched.drain(..) {
                let Some(seat) = self.sockets.get_mut(&to) else { continue };
                let posts = seat.posts.iter().filter_map(|index| posts.get(*index as usize));
                batch.tally.fell_behind += u64::from(seat.lane.post(posts, told, scratch));
                seat.posts.clear();
                seat.posts.shrink_to(POSTS_KEPT);
            }
        });
        batch.posts.clear();
    }

    /// The room panicked, which only a mistake of this library can cause: what it has in memory may be wrong. What is on disk
    /// is what its transactions left.
    fn abandon(&mut self, rooms: &Rooms, mailbox: &Mailbox) {
        tracing::error!("the room panicked: it leaves memory, and its sockets are closed");
        rooms.metrics.room_panics.add(1);
        self.close_all(&FAULT);
        self.drop_room(rooms);
        // What it would have said of its alarm is not known.
        self.set_alarm(rooms, mailbox, Some(clock::now() + OPEN_AGAIN_MS));
    }

    fn close_all(&mut self, close: &Close) {
        self.asleep.clear();
        for (_, seat) in self.sockets.drain() {
            seat.lane.end(close.clone());
        }
    }

    /// Takes the room out of memory, if it may go: hibernated if it has sockets, else evicted. `at_once`: it need not have been
    /// idle for long.
    fn leave(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, at_once: bool) {
        if !rooms.may_leave(mailbox, at_once) {
            return;
        }
        if self.room.is_some() {
            self.sleep(rooms);
            let left =
                if self.sockets.is_empty() { &rooms.metrics.rooms_evicted } else { &rooms.metrics.rooms_hibernated };
            left.add(1);
            // In this order: the clock may be about to ask the registry.
            rooms.registry.asleep(&mailbox.name, self.alarm);
            rooms.clock.stored(&mailbox.name, self.alarm);
            tracing::info!(sockets = self.sockets.len(), "room asleep");
        }
        // The file is closed now, so another room may have the place, and another mailbox may open the file.
        rooms.free_slot(&mailbox.name);
        self.retired = rooms.forget(&mailbox.name) == Fate::Unused;
    }

    /// Tells the room what is known to have arrived at its sockets.
    fn note_arrivals(&mut self) {
        let Some(room) = &mut self.room else { return };
        for (connection, seat) in &self.sockets {
            if let Some(arrived) = seat.lane.arrived() {
                room.arrived(*connection, arrived);
            }
        }
    }

    /// Drops the room and closes its file; keeps what it has to know of its sockets.
    fn sleep(&mut self, rooms: &Rooms) {
        self.note_arrivals();
        let Some(room) = self.room.take() else { return };
        rooms.metrics.rooms_in_memory.down();
        let mut states = None;
        drop_room(|| states = Some(room.hibernate()));
        match states {
            Some(states) => self.asleep.extend(states.into_iter().filter(|(id, _)| self.sockets.contains_key(id))),
            None => self.close_all(&FAULT),
        }
    }

    /// Drops the room and closes its file; keeps nothing.
    fn drop_room(&mut self, rooms: &Rooms) {
        if let Some(room) = self.room.take() {
            rooms.metrics.rooms_in_memory.down();
            rooms.metrics.rooms_dropped.add(1);
            drop_room(|| drop(room));
        }
    }
}

/// Whether mail is a sign of life. Pings are not: who only listens sends them too.
fn is_use(mail: &Mail) -> bool {
    match mail {
        Mail::Frame { frame: Received::Text(text), .. } => !v2::Up::is_ping(text),
        mail => mail.wakes(),
    }
}

/// Drops a room. That runs code of the app, which may panic.
fn drop_room(drop: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(drop)).is_err() {
        tracing::error!("the room panicked while it left memory");
    }
}

pub(crate) fn input(rooms: &Rooms) -> Input {
    Input { now: clock::now(), random: rooms.random.next() }
}
