//! Which rooms are in use, and by whom.
//!
//! Whoever uses a room holds a [`Lease`]: a request that wants to join it, each socket, an alarm that rings. Its [`Mailbox`]
//! stays in the map as long as there is a lease, and until its database is closed, so that nobody opens the file while somebody
//! else still has it. A room that had nothing to do for a while leaves memory, lease or not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use partysync_protocol::ErrorCode;
use partysync_room::{ConnectionId, ConnectionInfo, Request, Response, RoomName};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use crate::berth::Berth;
use crate::clock::{Clock, Ring};
use crate::data::DataDir;
use crate::gate::Gate;
use crate::health::Health;
use crate::job::{Answer, Order, OrderError};
use crate::mailbox::{Mail, Mailbox, Received, Speaks};
use crate::metrics::{Metrics, Now};
use crate::outbox::Lane;
use crate::party::Party;
use crate::pool::Pool;
use crate::random::Random;
use crate::rate::Rates;
use crate::registry::Registry;
use crate::slots::{Slot, Slots};

/// Frames that are handed to a room at once: fewer than the places in its queue, however large they are.
const DELIVERED_FRAMES: usize = 256;

/// All that the parts of a server share.
pub(crate) struct Rooms {
    pub(crate) parties: BTreeMap<String, Party>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) random: Random,
    pub(crate) idle: Duration,
    pub(crate) log_payloads: bool,
    pub(crate) rates: Rates,
    pool: Pool,
    pub(crate) registry: Registry,
    /// Whether rooms wait for a place. Only a hint, so that who has none to give need not lock the map.
    pub(crate) rooms_wait: AtomicBool,
    map: Mutex<Map>,
    emptied: Notify,
    /// Whether the server stops, for those who wait for it.
    stops: watch::Sender<bool>,
    last_connection: AtomicU64,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) data: Arc<DataDir>,
}

/// What the operator may set.
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    pub(crate) open_rooms: usize,
    pub(crate) rates: Rates,
    pub(crate) log_payloads: bool,
}

pub(crate) struct Map {
    pub(crate) rooms: HashMap<RoomName, Entry>,
    pub(crate) slots: Slots,
    /// The server stops: nobody may use a room any more.
    pub(crate) stopping: bool,
}

pub(crate) struct Entry {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) slot: Slot,
    /// Another room needs its place: it need not have been idle for long.
    pub(crate) leaving: bool,
    leases: usize,
    /// When the clock will look whether it has been idle for long enough.
    look_at: Option<Instant>,
}

/// What becomes of a room about to leave memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Used,
    Unused,
}

impl Rooms {
    pub(crate) fn new(
        data: Arc<DataDir>,
        registry: Registry,
        parties: BTreeMap<String, Party>,
        pool: Pool,
        random: Random,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Rooms {
            parties,
            clock: Arc::default(),
            random,
            idle: limits.idle,
            rates: limits.rates,
            log_payloads: limits.log_payloads,
            pool,
            registry,
            rooms_wait: AtomicBool::new(false),
            map: Mutex::new(Map {
                rooms: HashMap::new(),
                slots: Slots::new(limits.open_rooms.max(1)),
                stopping: false,
            }),
            emptied: Notify::new(),
            stops: watch::Sender::new(false),
            last_connection: AtomicU64::new(0),
            metrics: Arc::default(),
            health: Health::default(),
            data,
        })
    }

    /// Runs something that may block on one of the threads of rooms, after what waits for them.
    pub(crate) async fn on_a_writer<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.pool.submit(Box::new(move || drop(answer.send(work()))));
        answered.await.ok()
    }

    /// Keeps a room's mailbox. `None` if the server stops.
    pub(crate) fn lease(self: &Arc<Self>, name: &RoomName) -> Option<Lease> {
        let mut map = self.map();
        if map.stopping {
            return None;
        }
        if !map.rooms.contains_key(name) {
            let mailbox = Arc::new(Mailbox::new(name.clone(), Arc::clone(&self.data), self.rates.room));
            let entry = Entry { mailbox, slot: Slot::None, leaving: false, leases: 0, look_at: None };
            map.rooms.insert(name.clone(), entry);
        }
        let entry = map.rooms.get_mut(name)?;
        entry.leases += 1;
        Some(Lease { rooms: Arc::clone(self), mailbox: Arc::clone(&entry.mailbox) })
    }

    /// Puts mail into a room's mailbox and has it worked through.
    pub(crate) fn send(self: &Arc<Self>, mailbox: &Arc<Mailbox>, mail: Mail) {
        if mailbox.put([mail]) {
            self.schedule(mailbox);
        }
    }

    /// The room's alarm rings.
    pub(crate) fn ring(self: &Arc<Self>, name: &RoomName, ring: Ring) {
        if let Some(lease) = self.lease(name) {
            let mailbox = Arc::clone(&lease.mailbox);
            self.send(&mailbox, Mail::Alarm(lease, ring));
        }
    }

    /// The time has come to look at a room: whether it has been idle for long, or has waited for long.
    pub(crate) fn look(self: &Arc<Self>, name: &RoomName) {
        let mut map = self.map();
        self.refuse(&mut map, name);
        let Some(entry) = map.rooms.get_mut(name) else { return };
        let now = Instant::now();
        if entry.look_at.is_none_or(|due| due > now) {
            return;
        }
        entry.look_at = None;
        if self.is_idle(entry, now) {
            self.send(&Arc::clone(&entry.mailbox), Mail::Evict);
        } else {
            self.watch(entry);
        }
    }

    /// A room is in memory: it will be looked at.
    pub(crate) fn opened(&self, name: &RoomName) {
        if let Some(entry) = self.map().rooms.get_mut(name) {
            self.watch(entry);
        }
    }

    /// Whether a room that was asked to leave memory may. `at_once`: it need not have been idle, if nobody has a lease.
    pub(crate) fn may_leave(self: &Arc<Self>, mailbox: &Mailbox, at_once: bool) -> bool {
        let mut map = self.map();
        let stopping = map.stopping;
        let Some(entry) = map.rooms.get_mut(&mailbox.name) else { return true };
        let wanted =
            entry.leaving || at_once && entry.leases == 0 || entry.mailbox.last_used() + self.idle <= Instant::now();
        if stopping || wanted && !mailbox.has_mail() && !mailbox.is_delivering() {
            return true;
        }
        self.watch(entry);
        self.stay(&mut map, &mailbox.name);
        false
    }

    /// Forgets a room that is out of memory, unless somebody still has a lease.
    pub(crate) fn forget(&self, name: &RoomName) -> Fate {
        let mut map = self.map();
        match map.rooms.get(name) {
            // What came while the file was being closed is still to be worked through.
            Some(entry) if entry.leases > 0 || entry.mailbox.len() > 0 => return Fate::Used,
            _ => map.rooms.remove(name),
        };
        if map.rooms.is_empty() {
            self.emptied.notify_waiters();
        }
        Fate::Unused
    }

    fn is_idle(&self, entry: &Entry, now: Instant) -> bool {
        entry.mailbox.is_idle() && entry.mailbox.last_used() + self.idle <= now
    }

    /// Has the clock look at a room when it may have been idle for long enough.
    fn watch(&self, entry: &mut Entry) {
        if entry.look_at.is_none() {
            let idle_at = entry.mailbox.last_used() + self.idle;
            let now = Instant::now();
            // One that is still at work after that long is looked at as often as one that is not.
            let due = if idle_at > now { idle_at } else { now + self.idle };
            entry.look_at = Some(due);
            self.clock.look_at(due, entry.mailbox.name.clone());
        }
    }

    /// Lets nobody use a room any more, closes all sockets, and waits until all rooms are out of memory, or for so long.
    ///
    /// # Errors
    ///
    /// Those that are not out of memory by then, and by how many each is used.
    pub(crate) async fn stop(self: &Arc<Self>, within: Duration) -> Result<(), Vec<(RoomName, usize)>> {
        let mailboxes: Vec<Arc<Mailbox>> = {
            let mut map = self.map();
            map.stopping = true;
            let names: Vec<RoomName> = map.rooms.keys().cloned().collect();
            names.iter().for_each(|name| self.refuse(&mut map, name));
            map.rooms.values().map(|entry| Arc::clone(&entry.mailbox)).collect()
        };
        self.stops.send_replace(true);
        for mailbox in &mailboxes {
            self.send(mailbox, Mail::Stop);
        }
        let emptied = async {
            loop {
                let emptied = self.emptied.notified();
                if self.map().rooms.is_empty() {
                    return;
                }
                emptied.await;
            }
        };
        timeout(within, emptied).await.map_err(|_| {
            let mut left: Vec<_> = self.map().rooms.iter().map(|(name, entry)| (name.clone(), entry.leases)).collect();
            left.sort();
            left
        })?;
        self.clock.end();
        self.registry.close().await;
        Ok(())
    }

    /// Whether any party has a door for sockets.
    pub(crate) fn has_doors(&self) -> bool {
        self.parties.values().any(|party| party.doors.connect.is_some())
    }

    /// How many rooms are in use or still in memory.
    pub(crate) fn len(&self) -> usize {
        self.map().rooms.len()
    }

    /// What is known of it only when it is asked for. Looks at each room's mailbox.
    pub(crate) fn now(&self) -> Now {
        let (mailboxes, is_stopping): (Vec<Arc<Mailbox>>, bool) = {
            let map = self.map();
            (map.rooms.values().map(|entry| Arc::clone(&entry.mailbox)).collect(), map.stopping)
        };
        let frames_waiting = mailboxes.iter().map(|mailbox| mailbox.len()).sum();
        Now { rooms_in_use: mailboxes.len(), frames_waiting, is_stopping }
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.map().stopping
    }

    /// Is ready when the server stops.
    pub(crate) fn stops(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stops = self.stops.subscribe();
        async move {
            // It fails when nothing is left of the server.
            let _ = stops.wait_for(|stops| *stops).await;
        }
    }

    pub(crate) fn schedule(self: &Arc<Self>, mailbox: &Arc<Mailbox>) {
        let (rooms, mailbox) = (Arc::clone(self), Arc::clone(mailbox));
        self.pool.submit(Box::new(move || crate::job::run(&rooms, &mailbox)));
    }

    fn end_lease(self: &Arc<Self>, name: &RoomName) {
        let mut map = self.map();
        let stopping = map.stopping;
        let Some(entry) = map.rooms.get_mut(name) else { return };
        entry.leases -= 1;
        if entry.leases > 0 {
            return;
        }
        entry.mailbox.touch();
        if stopping {
            let mailbox = Arc::clone(&entry.mailbox);
            drop(map);
            self.send(&mailbox, Mail::Evict);
        } else {
            self.watch(entry);
        }
    }

    pub(crate) fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        self.clock.end();
    }
}

/// A room in use.
pub(crate) struct Lease {
    rooms: Arc<Rooms>,
    mailbox: Arc<Mailbox>,
}

impl Lease {
    /// Brings the room into memory, if it is not there.
    pub(crate) async fn open(&self) -> Result<(), ErrorCode> {
        let (answer, answered) = oneshot::channel();
        self.rooms.send(&self.mailbox, Mail::Open(answer));
        // No answer: opening it panicked.
        answered.await.unwrap_or(Err(ErrorCode::AppError))
    }

    /// Has an order carried out.
    pub(crate) async fn order<T>(self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, OrderError> {
        let (answer, answered) = oneshot::channel();
        let (rooms, mailbox) = (Arc::clone(&self.rooms), Arc::clone(&self.mailbox));
        rooms.send(&mailbox, Mail::Order(self, order(answer)));
        answered.await.unwrap_or(Err(OrderError::Lost))
    }

    /// Has the room answer a request. `None`: it failed.
    pub(crate) async fn ask(&self, request: Request) -> Option<Response> {
        self.mailbox.reserve_for_request(request.body.len()).await;
        let (answer, answered) = oneshot::channel();
        self.rooms.send(&self.mailbox, Mail::Request { request, answer });
        answered.await.ok()
    }

    /// An item of the room's outbox is on its way.
    pub(crate) fn begin_delivery(self) -> Delivery {
        self.mailbox.delivery_begins();
        Delivery { rooms: Arc::clone(&self.rooms), mailbox: Arc::clone(&self.mailbox), lease: Some(self) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.rooms.end_lease(&self.mailbox.name);
    }
}

/// An item of a room's outbox on its way: until this is dropped the room stays in memory.
pub(crate) struct Delivery {
    rooms: Arc<Rooms>,
    mailbox: Arc<Mailbox>,
    lease: Option<Lease>,
}

impl Delivery {
    /// Tells the room what became of the item.
    pub(crate) fn tell(mut self, key: String, delivered: bool) {
        if let Some(lease) = self.lease.take() {
            self.rooms.send(&self.mailbox, Mail::Delivered { key, delivered, lease });
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.mailbox.delivery_ended();
    }
}

/// A socket, as its room knows it: opened when this is made, closed when this is dropped or before, once.
pub(crate) struct Connection {
    lease: Lease,
    id: ConnectionId,
    open: bool,
    /// The room is that of the socket's URL, not one that it carries beside that.
    is_home: bool,
}

/// The way of a socket's frames into a room. It keeps nothing: without a [`Connection`] the room may be gone.
#[derive(Clone)]
pub(crate) struct Way {
    rooms: Arc<Rooms>,
    mailbox: Arc<Mailbox>,
    id: ConnectionId,
}

impl Connection {
    pub(crate) fn open(lease: Lease, info: ConnectionInfo, speaks: Speaks, lane: Lane) -> Self {
        Self::open_at(lease, info, speaks, lane, |_| ())
    }

    /// Opens one for a room that the socket carries beside that of its URL. The berth has the way before the room hears of it.
    pub(crate) fn open_further(lease: Lease, info: ConnectionInfo, lane: Lane, berth: &Berth) -> Self {
        Self::open_at(lease, info, Speaks::Further, lane, |connection| berth.enter(connection.way()))
    }

    fn open_at(
        lease: Lease,
        info: ConnectionInfo,
        speaks: Speaks,
        lane: Lane,
        prepare: impl FnOnce(&Connection),
    ) -> Self {
        let id = ConnectionId(lease.rooms.last_connection.fetch_add(1, Ordering::Relaxed));
        let is_home = speaks != Speaks::Further;
        if is_home {
            lease.rooms.metrics.connections.up();
            lease.rooms.metrics.connections_opened.add(1);
        }
        let connection = Connection { lease, id, open: true, is_home };
        prepare(&connection);
        connection.send(Mail::Opened { connection: id, info, speaks, lane });
        connection
    }

    pub(crate) fn way(&self) -> Way {
        let Lease { rooms, mailbox } = &self.lease;
        Way { rooms: Arc::clone(rooms), mailbox: Arc::clone(mailbox), id: self.id }
    }

    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.lease.rooms
    }

    pub(crate) fn room(&self) -> &RoomName {
        &self.lease.mailbox.name
    }

    /// Takes a frame through the gate.
    pub(crate) async fn pass(&self, gate: &mut Gate, frame: Received) -> Received {
        let Lease { rooms, mailbox } = &self.lease;
        pass(rooms, mailbox, gate, frame).await
    }

    /// Hands frames to the room, when the room has places for them.
    pub(crate) async fn deliver(&self, frames: Vec<Received>) {
        let Lease { rooms, mailbox } = &self.lease;
        deliver(rooms, mailbox, self.id, frames).await;
    }

    /// The socket has read what it got, and is to be told what was left out.
    pub(crate) fn catch_up(&self) {
        self.send(Mail::CatchUp(self.id));
    }

    /// The socket has been open for a while.
    pub(crate) fn quiet(&self) {
        self.send(Mail::Quiet(self.id));
    }

    /// Waits until all that the socket sent so far is answered.
    pub(crate) async fn answered(&self) {
        let (answer, answered) = oneshot::channel();
        self.send(Mail::Fence(answer));
        // It fails if the room does: then nothing is to be waited for.
        let _ = answered.await;
    }

    /// It is gone, with this close code if there was one.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        if std::mem::replace(&mut self.open, false) {
            self.send(Mail::Closed(self.id, code));
        }
    }

    fn send(&self, mail: Mail) {
        self.lease.rooms.send(&self.lease.mailbox, mail);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(None);
        if self.is_home {
            self.lease.rooms.metrics.connections.down();
        }
    }
}

impl Way {
    /// See [`Connection::pass`].
    pub(crate) async fn pass(&self, gate: &mut Gate, frame: Received) -> Received {
        pass(&self.rooms, &self.mailbox, gate, frame).await
    }

    /// See [`Connection::deliver`].
    pub(crate) async fn deliver(&self, frame: Received) {
        deliver(&self.rooms, &self.mailbox, self.id, vec![frame]).await;
    }

    /// See [`Connection::catch_up`].
    pub(crate) fn catch_up(&self) {
        self.rooms.send(&self.mailbox, Mail::CatchUp(self.id));
    }

    /// See [`Connection::close`].
    pub(crate) fn close(&self) {
        self.rooms.send(&self.mailbox, Mail::Closed(self.id, None));
    }
}

async fn pass(rooms: &Rooms, mailbox: &Mailbox, gate: &mut Gate, frame: Received) -> Received {
    match rooms.parties.get(mailbox.name.party()) {
        Some(party) => gate.pass(party, &mailbox.name, &mailbox.hook_places, frame).await,
        None => frame,
    }
}

async fn deliver(rooms: &Arc<Rooms>, mailbox: &Arc<Mailbox>, connection: ConnectionId, frames: Vec<Received>) {
    let mut frames = frames.into_iter();
    while frames.len() > 0 {
        let admitted = mailbox.admit(frames.len().min(DELIVERED_FRAMES)).await;
        let now: Vec<Received> = frames.by_ref().take(admitted).collect();
        mailbox.reserve(&now).await;
        if mailbox.put(now.into_iter().map(|frame| Mail::Frame { connection, frame })) {
            rooms.schedule(mailbox);
        }
    }
}
