//! The list of all rooms (SPEC 7.8): which there are, and when each is to be looked at.
//!
//! One thread writes the file. What came while it waited for the disk shares the next transaction, so that many rooms that
//! come into memory at once wait for few syncs. That a room has left memory is not waited for: should it be lost, the room is
//! looked at after the next start for nothing.

mod rebuild;
mod table;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use partysync_model::{Db, DbError, DbErrorKind, Millis};
use partysync_room::RoomName;
use tokio::sync::oneshot;

use crate::BuildError;
use crate::data::DataDir;
pub(crate) use table::Alarm;
use table::Table;

/// Orders that wait for the thread. Who has one more waits with it.
const ORDERS: usize = 1_024;

/// Orders in one transaction.
const GROUP: usize = 512;

/// How long something that nobody waits for may wait for company.
const LINGER: Duration = Duration::from_secs(1);

/// What the registry's thread is asked for.
enum Order {
    Opening { name: RoomName, has_file: bool, answer: Answer<bool> },
    Made(RoomName),
    Asleep(RoomName, Option<Millis>),
    Restored(RoomName, Answer<()>),
    Forget(RoomName, Answer<()>),
    Alarms { from: Alarm, limit: usize, answer: Answer<Vec<Alarm>> },
    List { party: String, after: Option<String>, limit: usize, answer: Answer<Vec<RoomName>> },
    Close(Answer<()>),
}

type Answer<T> = oneshot::Sender<Result<T, DbError>>;

/// The registry of a data directory.
pub(crate) struct Registry {
    orders: Mutex<SyncSender<Order>>,
}

impl Registry {
    /// Opens a directory's registry; makes it anew from the rooms' files if it is missing or of no use. That takes as long as
    /// opening all of them.
    pub(crate) fn open(data: Arc<DataDir>) -> Result<Self, BuildError> {
        let path = data.registry_file();
        let table = rebuild::open(&data).map_err(|source| BuildError::Registry { path, source })?;
        let (orders, waiting) = sync_channel(ORDERS);
        let keeper = Keeper { table: Some(table), data, orders: Vec::new() };
        let spawned = thread::Builder::new().name("partysync-registry".to_owned()).spawn(move || keeper.run(&waiting));
        spawned.map_err(BuildError::Threads)?;
        Ok(Registry { orders: Mutex::new(orders) })
    }

    /// A room is about to come into memory. Returns whether it was ever made. Blocks until it is durable that the room is to be
    /// looked at should the process die.
    pub(crate) fn opening(&self, name: &RoomName, has_file: bool) -> Result<bool, DbError> {
        self.ask(|answer| Order::Opening { name: name.clone(), has_file, answer })
    }

    /// A room's first transaction is durable. May block for a moment, as the next one.
    pub(crate) fn made(&self, name: &RoomName) {
        self.order(Order::Made(name.clone()));
    }

    /// A room has left memory, and wants to be woken then.
    pub(crate) fn asleep(&self, name: &RoomName, at: Option<Millis>) {
        self.order(Order::Asleep(name.clone(), at));
    }

    /// Alarms in their order, from one on. Blocks.
    pub(crate) fn alarms(&self, from: Alarm, limit: usize) -> Result<Vec<Alarm>, DbError> {
        self.ask(|answer| Order::Alarms { from, limit, answer })
    }

    /// Rooms of a party, in the order of their names' bytes, after the room `after` or from the first.
    pub(crate) async fn list(&self, party: &str, after: Option<&str>, limit: usize) -> Result<Vec<RoomName>, DbError> {
        let (party, after) = (party.to_owned(), after.map(str::to_owned));
        self.ask_later(|answer| Order::List { party, after, limit, answer }).await
    }

    /// A room's file is gone for good. Blocks.
    pub(crate) fn forget(&self, name: &RoomName) -> Result<(), DbError> {
        self.ask(|answer| Order::Forget(name.clone(), answer))
    }

    /// A room's file has come by other ways than by opening it. Its alarm is learnt when it is next in memory. Blocks.
    pub(crate) fn restored(&self, name: &RoomName) -> Result<(), DbError> {
        self.ask(|answer| Order::Restored(name.clone(), answer))
    }

    /// Writes what is to be written and closes the file. Whatever is asked after it fails.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.ask_later(Order::Close).await {
            tracing::error!(%error, "the registry of rooms cannot be written");
        }
    }

    fn order(&self, order: Order) {
        let orders = self.orders();
        // The thread is gone after `close` alone, and then nothing is lost.
        drop(orders.send(order));
    }

    fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, DbError> {
        let (answer, answered) = oneshot::channel();
        self.order(order(answer));
        answered.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    async fn ask_later<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, DbError> {
        let (answer, answered) = oneshot::channel();
        let mut order = order(answer);
        loop {
            match self.orders().try_send(order) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Disconnected(_)) => return Err(closed()),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    fn orders(&self) -> SyncSender<Order> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn closed() -> DbError {
    DbError::new(DbErrorKind::Io, "the registry of rooms is closed")
}

/// What the registry's thread has.
struct Keeper {
    /// `None` after a failure, until it could be opened again.
    table: Option<Table>,
    /// Keeps the directory locked until the file is closed.
    data: Arc<DataDir>,
    /// What is not written yet.
    orders: Vec<Order>,
}

impl Keeper {
    fn run(mut self, waiting: &Receiver<Order>) {
        let mut until = None;
        loop {
            let first = match until {
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => waiting.recv_timeout(Instant::saturating_duration_since(&until, Instant::now())),
            };
            let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut in_a_hurry = first.is_err();
            let mut close = None;
            for order in first.into_iter().chain(waiting.try_iter()).take(GROUP) {
                match order {
                    Order::Close(answer) => close = Some(answer),
                    order => {
                        in_a_hurry |= order.is_awaited();
                        self.orders.push(order);
                    }
                }
            }
            if in_a_hurry || close.is_some() || self.orders.len() >= GROUP {
                let done = self.commit();
                // What could not be written is kept, and waits as long as if it were new: a full disk is not tried without a pause.
                until = None;
                if let Some(answer) = close {
                    drop(self);
                    return drop(answer.send(done));
                }
            }
            if ended {
                return;
            }
            until = if self.orders.is_empty() { None } else { until.or_else(|| Some(Instant::now() + LINGER)) };
        }
    }

    /// Carries out all orders in one transaction, and tells who waits. What nobody waits for is kept until it succeeds.
    fn commit(&mut self) -> Result<(), DbError> {
        let orders = std::mem::take(&mut self.orders);
        if orders.is_empty() {
            return Ok(());
        }
        match self.try_commit(&orders) {
            Ok(results) => {
                orders.into_iter().zip(results).for_each(|(order, result)| order.tell(Ok(result)));
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the registry of rooms cannot be written");
                if error.kind == DbErrorKind::Io {
                    // What a connection believes of a file is worth nothing after a sync that failed.
                    self.table = None;
                }
                let (awaited, kept): (Vec<_>, Vec<_>) = orders.into_iter().partition(Order::is_awaited);
                // Should it last, rooms are looked at after the next start for nothing.
                self.orders.extend(kept.into_iter().take(ORDERS));
                for order in awaited {
                    let done =
                        if error.kind == DbErrorKind::Full { self.carry_out_alone(&order) } else { Err(error.clone()) };
                    order.tell(done);
                }
                Err(error)
            }
        }
    }

    /// Carries out an order without those for which the disk has no room: what only reads needs none, and neither does a room that the list has in
    /// memory. What is kept is written later; it must say no less of the room then than the order.
    fn carry_out_alone(&mut self, order: &Order) -> Result<Done, DbError> {
        let done = self.try_commit(std::slice::from_ref(order))?.pop().unwrap_or(Done::Nothing);
        let (Order::Opening { name, .. } | Order::Restored(name, _)) = order else { return Ok(done) };
        self.orders.retain(|kept| !matches!(kept, Order::Asleep(asleep, _) if asleep == name));
        let is_made = self.orders.iter().any(|kept| matches!(kept, Order::Made(made) if made == name));
        Ok(if is_made && matches!(done, Done::Made(_)) { Done::Made(true) } else { done })
    }

    fn try_commit(&mut self, orders: &[Order]) -> Result<Vec<Done>, DbError> {
        let table = match &mut self.table {
            Some(table) => table,
            none => none.insert(Table::open(&self.data.registry_file())?),
        };
        table.transaction(|db| orders.iter().map(|order| order.carry_out(db)).collect())
    }
}

/// What an order led to.
enum Done {
    Nothing,
    Made(bool),
    Alarms(Vec<Alarm>),
    Names(Vec<RoomName>),
}

impl Order {
    /// Whether somebody waits for it.
    fn is_awaited(&self) -> bool {
        !matches!(self, Order::Made(_) | Order::Asleep(..))
    }

    fn carry_out(&self, db: &mut dyn Db) -> Result<Done, DbError> {
        match self {
            Order::Opening { name, has_file, .. } => table::opening(db, name, *has_file).map(Done::Made),
            Order::Made(name) => table::made(db, name).map(|()| Done::Nothing),
            Order::Asleep(name, at) => table::asleep(db, name, *at).map(|()| Done::Nothing),
            Order::Restored(name, _) => table::restored(db, name).map(|()| Done::Nothing),
            Order::Forget(name, _) => table::forget(db, name).map(|()| Done::Nothing),
            Order::Alarms { from, limit, .. } => table::alarms(db, from, *limit).map(Done::Alarms),
            Order::List { party, after, limit, .. } => {
                table::list(db, party, after.as_deref(), *limit).map(Done::Names)
            }
            Order::Close(_) => Ok(Done::Nothing),
        }
    }

    /// Tells who waits, who may have gone.
    fn tell(self, result: Result<Done, DbError>) {
        match self {
            Order::Opening { answer, .. } => {
                drop(answer.send(result.map(|done| matches!(done, Done::Made(true)))));
            }
            Order::Restored(_, answer) | Order::Forget(_, answer) | Order::Close(answer) => {
                drop(answer.send(result.map(|_| ())));
            }
            Order::Alarms { answer, .. } => {
                let alarms = |done| if let Done::Alarms(alarms) = done { alarms } else { Vec::new() };
                drop(answer.send(result.map(alarms)));
            }
            Order::List { answer, .. } => {
                let names = |done| if let Done::Names(names) = done { names } else { Vec::new() };
                drop(answer.send(result.map(names)));
            }
            Order::Made(_) | Order::Asleep(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(room: &str) -> RoomName {
        RoomName::new("todos", room)
    }

    fn data(folder: &tempfile::TempDir) -> Arc<DataDir> {
        Arc::new(DataDir::lock(folder.path().to_owned()).unwrap())
    }

    fn all(registry: &Registry) -> Vec<Alarm> {
        registry.alarms((Millis::MIN, RoomName::new("", "")), 10).unwrap()
    }

    async fn ask<T: Send + 'static>(
        registry: &Arc<Registry>,
        question: impl FnOnce(&Registry) -> T + Send + 'static,
    ) -> T {
        let registry = Arc::clone(registry);
        tokio::task::spawn_blocking(move || question(&registry)).await.unwrap()
    }

    #[tokio::test]
    async fn spec_7_8_a_room_in_memory_when_the_process_died_is_looked_at_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(&folder);
        let registry = Arc::new(Registry::open(Arc::clone(&data)).unwrap());
        let alarms = ask(&registry, |registry| {
            for room in ["open", "alarm", "none"] {
                assert!(!registry.opening(&name(room), false).unwrap());
                registry.made(&name(room));
            }
            registry.asleep(&name("alarm"), Some(7));
            registry.asleep(&name("none"), None);
            all(registry)
        });
        let expected = [(0, name("open")), (7, name("alarm"))];
        assert_eq!(alarms.await, expected);
        // What nobody waited for is written when it is closed; whether the process is asked to or not makes no difference to
        // the room that is open.
        registry.close().await;
        assert!(ask(&registry, |registry| registry.opening(&name("late"), false)).await.is_err());
        let registry = Arc::new(Registry::open(data).unwrap());
        assert_eq!(ask(&registry, all).await, expected);
        assert!(ask(&registry, |registry| registry.opening(&name("alarm"), true)).await.unwrap(), "it was made");
        assert_eq!(ask(&registry, all).await, [(0, name("alarm")), (0, name("open"))]);
    }

    #[tokio::test]
    async fn rooms_are_listed_by_name_in_pages_and_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::open(data(&folder)).unwrap());
        for room in ["b", "a", "c%20d"] {
            ask(&registry, move |registry| registry.restored(&name(room))).await.unwrap();
        }
        ask(&registry, |registry| registry.restored(&RoomName::new("todos-2", "x"))).await.unwrap();
        // One that never came to be.
        ask(&registry, |registry| registry.opening(&name("d"), false)).await.unwrap();
        let list = async |after: Option<&str>, limit| registry.list("todos", after, limit).await.unwrap();
        assert_eq!(list(None, 2).await, [name("a"), name("b")]);
        assert_eq!(list(Some("b"), 2).await, [name("c%20d")]);
        ask(&registry, |registry| registry.forget(&name("a"))).await.unwrap();
        assert_eq!(list(None, 9).await, [name("b"), name("c%20d")]);
    }
}
