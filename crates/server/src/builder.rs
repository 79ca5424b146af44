use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use partysync_model::{ActionError, DbError};
use partysync_room::{Admission, Applied, Attempt, Join, Origins, OutboxItem, Refusal, SyncServer};

use crate::courier::Courier;
use crate::data::DataDir;
use crate::door::{Door, Doors};
use crate::hooks::{After, Before, Hooks};
use crate::http::Front;
use crate::party::{self, Open, Party};
use crate::pool::Pool;
use crate::random::Random;
use crate::rate::Rates;
use crate::registry::Registry;
use crate::rooms::{Limits, Rooms};
use crate::{Server, clock, descriptors, staging};

/// Threads that wait for disks. Far more than processors, so that rooms need not wait for each other's flushes and long queries.
const WRITERS: usize = 32;

/// How long a room stays in memory when nobody uses it (P12).
const IDLE_MS: u64 = 10_000;

/// How long stopping may take. Less than the 90 s after which systemd kills, and more than slow readers get for their farewell.
const STOP_MS: u64 = 30_000;

/// What a server is made of.
#[must_use]
pub struct Builder {
    data: PathBuf,
    prefix: String,
    parties: Vec<(String, Open)>,
    writers: usize,
    idle_ms: u64,
    doors: BTreeMap<String, Doors>,
    hooks: BTreeMap<String, Hooks>,
    token_param: String,
    origins: Option<Vec<String>>,
    stop_ms: u64,
    log_payloads: bool,
    rates: Rates,
    open_rooms: Option<usize>,
}

/// A server cannot be made.
///
/// `Debug` reads as `Display` does: it is what a `main` that returns the error shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The data directory is not there and cannot be made.
    #[error("the data directory {path} cannot be made: {source}")]
    NoData {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be written in the data directory.
    #[error("the data directory {path} cannot be written to: {source}")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server has the data directory.
    #[error("the data directory {path} is in use by another server: stop that one, or take another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The registry of rooms can be neither opened nor made anew.
    #[error("the registry of rooms, {path}, cannot be opened: {source}")]
    Registry {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: DbError,
    },
    /// A party's name cannot be a segment of a URL's path, or a folder.
    #[error(
        "{0:?} cannot be a party's name: it takes up to 64 of a-z, 0-9, - and _, and `lock` is taken by the server itself"
    )]
    PartyName(String),
    /// Two parties have one name.
    #[error("there are two parties named {0:?}")]
    PartyTwice(String),
    /// A door or a hook is for a party that is not there.
    #[error("there is a door or a hook for the party {0:?}, but no such party")]
    UnknownParty(String),
    /// There is an `on_outbox`, which has nowhere to run.
    #[error("on_outbox must be called within a tokio runtime")]
    NoRuntime,
    /// What should be an origin is none.
    #[error(
        "{0:?} is no origin: write scheme://host or scheme://host:port, where the host may begin with `*.`, and no path"
    )]
    Origin(String),
    /// The prefix does not begin with a slash, or ends with one.
    #[error("{0:?} cannot be the prefix of rooms: it begins with a slash and does not end with one")]
    Prefix(String),
    /// The operating system has no random bits.
    #[error("the operating system has no random bits: {0}")]
    Random(getrandom::Error),
    /// The operating system gives no threads.
    #[error("threads cannot be started: {0}")]
    Threads(io::Error),
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            data: PathBuf::from("data"),
            prefix: "/parties".to_owned(),
            parties: Vec::new(),
            writers: WRITERS,
            idle_ms: IDLE_MS,
            doors: BTreeMap::new(),
            hooks: BTreeMap::new(),
            token_param: "token".to_owned(),
            origins: None,
            stop_ms: STOP_MS,
            log_payloads: false,
            rates: Rates::default(),
            open_rooms: None,
        }
    }
}

impl Builder {
    /// The directory of all rooms' files, made if it is not there. The default is `data`, in the working directory.
    pub fn data(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = path.into();
        self
    }

    /// Adds a kind of room: its name in URLs, and what makes the app's value of a room.
    pub fn party<S, F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        S: SyncServer + Send + 'static,
        F: Fn() -> S + Clone + Send + Sync + 'static,
    {
        self.parties.push((name.into(), party::party(make)));
        self
    }

    /// Asks the app before a socket is let into a room of a party. Without this everybody is.
    ///
    /// The app's code may wait, up to [`DOOR_MS`](partysync_protocol::limits::DOOR_MS); the room is neither in memory yet nor held up.
    /// What it admits somebody as is what [`Call::author`](partysync_room::Call::author) and [`Call::data`](partysync_room::Call::data) say.
    /// A later call for the same party takes the place of the one before.
    ///
    /// ```
    /// use partysync_room::{Admission, Join, Refusal};
    ///
    /// async fn who_is(join: Join) -> Result<Admission, Refusal> {
    ///     let token = join.token.ok_or_else(|| Refusal::unauthorized("Sign in first."))?;
    ///     // A real one asks whoever made the token.
    ///     let name = token.as_str().strip_prefix("token of ").ok_or_else(|| Refusal::forbidden("You may not enter."))?;
    ///     Ok(Admission::of(name).with_data(&serde_json::json!({"role": "editor"})))
    /// }
    ///
    /// let server = partysync_server::Server::builder()
    ///     // .party("todos", || Todos)
    ///     .on_before_connect("todos", who_is)
    ///     .on_before_request("todos", who_is);
    /// ```
    ///
    /// A closure holds what it needs: `move |join| { let keys = Arc::clone(&keys); async move { ... } }`.
    pub fn on_before_connect<A>(
        mut self,
        party: impl Into<String>,
        ask: impl Fn(Join) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + Send + 'static,
    {
        self.doors.entry(party.into()).or_default().connect = Some(Door::new(ask));
        self
    }

    /// Asks the app before a request that is no socket's is taken to a room of a party, as
    /// [`on_before_connect`](Self::on_before_connect) does for sockets.
    pub fn on_before_request<A>(
        mut self,
        party: impl Into<String>,
        ask: impl Fn(Join) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + Send + 'static,
    {
        self.doors.entry(party.into()).or_default().request = Some(Door::new(ask));
        self
    }

    /// Runs before each action of a party: the place to ask another service, which an action itself cannot do.
    ///
    /// What it returns is what [`Call::prepared`](partysync_room::Call::prepared) says, as JSON; an error fails the action as an error of the
    /// action's own does. The room does not wait, nor do other clients; what the same client sends behind the action does. It has
    /// [`HOOK_MS`](partysync_protocol::limits::HOOK_MS), and [`HOOKS_WAITING`](partysync_protocol::limits::HOOKS_WAITING) of a room may run at once: past
    /// either the client is told to try later.
    ///
    /// It may run more than once for one action, which a client may send again: it should look things up, not change them. And by the time the
    /// action is applied, what it found may be old.
    ///
    /// ```
    /// use partysync_room::Attempt;
    /// use partysync_model::ActionError;
    /// use serde_json::{Value, json};
    ///
    /// async fn price(attempt: Attempt) -> Result<Option<Value>, ActionError> {
    ///     if attempt.author.is_none() {
    ///         return Err(ActionError::reject("sign_in", "Sign in to order."));
    ///     }
    ///     // A real one asks a shop.
    ///     Ok(Some(json!({"cents": 1200})))
    /// }
    ///
    /// let server = partysync_server::Server::builder()
    ///     // .party("orders", || Orders)
    ///     .before_action("orders", price);
    /// ```
    pub fn before_action<P>(
        mut self,
        party: impl Into<String>,
        prepare: impl Fn(Attempt) -> P + Send + Sync + 'static,
    ) -> Self
    where
        P: Future<Output = Result<Option<serde_json::Value>, ActionError>> + Send + 'static,
    {
        self.hooks.entry(party.into()).or_default().before = Some(Before::new(prepare));
        self
    }

    /// Runs after each action of a party that made a version, once that is on disk.
    ///
    /// Nothing waits for it, and runs of it have no order. It has [`HOOK_MS`](partysync_protocol::limits::HOOK_MS), and
    /// [`AFTER_WAITING`](partysync_protocol::limits::AFTER_WAITING) may run at once; past either, and if it fails, that is reported and not
    /// tried again. It does not run if the process ends first. What must not be lost belongs in the outbox.
    ///
    /// ```
    /// use partysync_room::Applied;
    ///
    /// async fn count(applied: Applied) -> Result<(), std::io::Error> {
    ///     // A real one tells some service.
    ///     println!("{}: version {}", applied.room, applied.version);
    ///     Ok(())
    /// }
    ///
    /// let server = partysync_server::Server::builder()
    ///     // .party("todos", || Todos)
    ///     .after_action("todos", count);
    /// ```
    pub fn after_action<T, E>(
        mut self,
        party: impl Into<String>,
        tell: impl Fn(Applied) -> T + Send + Sync + 'static,
    ) -> Self
    where
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.hooks.entry(party.into()).or_default().after = Some(After::new(tell));
        self
    }

    /// The parameter of a URL's query that is taken as the token of who sends no `Authorization: Bearer`: a page cannot set headers
    /// of a socket. The default is `token`.
    ///
    /// A URL may end up in the log of a proxy: let such tokens end soon.
    pub fn token_param(mut self, name: impl Into<String>) -> Self {
        self.token_param = name.into();
        self
    }

    /// The origins of pages that may use the rooms, such as `https://example.com` or `https://*.example.com`, which is any subdomain.
    /// Pages of others get status 403. Without this, pages of any origin may.
    ///
    /// Who goes by cookies needs this: a browser sends them with whatever page's socket. Pages of these origins may read what requests
    /// answer, too (CORS). Programs that are no browsers are not held up.
    pub fn allowed_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Delivers what the rooms of a party put into their outboxes with [`Tx::outbox`](partysync_model::Tx::outbox): code that may wait, up to
    /// [`OUTBOX_MS`](partysync_protocol::limits::OUTBOX_MS). The rooms go on meanwhile.
    ///
    /// An item is delivered at least once, one at a time of each room. An error or a panic has it delivered again, later. A receiver must
    /// take a [key](OutboxItem::key) that it knows for done. A later call for the same party takes the place of the one before.
    ///
    /// ```
    /// use partysync_room::OutboxItem;
    ///
    /// async fn post(item: OutboxItem) -> Result<(), std::io::Error> {
    ///     // A real one sends it to some service, with the key as its `Idempotency-Key`.
    ///     println!("{}: {}", item.key, item.body);
    ///     Ok(())
    /// }
    ///
    /// let server = partysync_server::Server::builder()
    ///     // .party("todos", || Todos)
    ///     .on_outbox("todos", post);
    /// ```
    ///
    /// It runs in the tokio runtime within which this is called.
    pub fn on_outbox<D, E>(
        mut self,
        party: impl Into<String>,
        deliver: impl Fn(OutboxItem) -> D + Send + Sync + 'static,
    ) -> Self
    where
        D: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.hooks.entry(party.into()).or_default().outbox = Some(Courier::new(deliver));
        self
    }

    /// What the path of rooms begins with. The default is `/parties`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many rooms may be at work, or wait for the disk, at once. Each takes a thread, started when it is needed. The default is 32; 0 is taken as 1.
    pub fn writers(mut self, threads: usize) -> Self {
        self.writers = threads;
        self
    }

    /// Milliseconds until a room that nobody uses leaves memory. The default is 10,000.
    pub fn idle_ms(mut self, idle_ms: u64) -> Self {
        self.idle_ms = idle_ms;
        self
    }

    /// Logs what actions hold, which is private data, with the lines about actions: target `partysync::action`, level debug.
    /// Without this, and as long as the app logs none of it, no line has any of it.
    pub fn log_payloads(mut self, log_payloads: bool) -> Self {
        self.log_payloads = log_payloads;
        self
    }

    /// Milliseconds that stopping may take: past it [`Server::shutdown`] gives up. The default is 30,000. Clients that read
    /// slowly need up to 5,000 of them.
    pub fn stop_ms(mut self, stop_ms: u64) -> Self {
        self.stop_ms = stop_ms;
        self
    }

    /// How many frames a second each connection may send. Past it the connection is not read for a while, so nothing is
    /// lost. In one moment as many may come as else in a second. The default is no limit; 0 is taken as 1.
    pub fn connection_rate(mut self, frames_per_second: u32) -> Self {
        self.rates.connection = Some(frames_per_second);
        self
    }

    /// How many frames a second all connections of a room together may send, likewise.
    pub fn room_rate(mut self, frames_per_second: u32) -> Self {
        self.rates.room = Some(frames_per_second);
        self
    }

    /// How many rooms may be in memory at once, 1 at the least. Past it the one that was used least recently, and has nothing to do,
    /// leaves memory; if there is none, who wants another room waits, for up to 5 s, and is then told that the server is busy.
    ///
    /// The default is half of what the process's limit of open files allows, at two files a room, and at most 10,000. A small room
    /// in memory takes 300 KiB: SQLite's cache, its statements and the index of its log. One that is not takes nothing but what is kept of
    /// its sockets, some 300 bytes each.
    pub fn open_rooms(mut self, rooms: usize) -> Self {
        self.open_rooms = Some(rooms);
        self
    }

    /// Makes the server and locks its data directory, until the server and all its sockets are gone.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(self) -> Result<Server, BuildError> {
        let prefix_is_plain = self.prefix.is_empty() || self.prefix.starts_with('/');
        if !prefix_is_plain || self.prefix.ends_with('/') || self.prefix.contains(['{', '}', '?', '#']) {
            return Err(BuildError::Prefix(self.prefix));
        }
        if self.hooks.values().any(|hooks| hooks.outbox.as_ref().is_some_and(|courier| !courier.can_run())) {
            return Err(BuildError::NoRuntime);
        }
        let parties = named(self.parties, self.doors, self.hooks)?;
        let origins =
            self.origins.map(|origins| Origins::only(origins.iter().map(String::as_str)).map_err(str::to_owned));
        let origins = origins.transpose().map_err(BuildError::Origin)?.unwrap_or_default();
        let front = Front { prefix: self.prefix, origins, token_param: self.token_param };
        let data = Arc::new(DataDir::lock(self.data)?);
        staging::clean(&data).map_err(|source| BuildError::NotWritable { path: data.path().to_owned(), source })?;
        let random = Random::from_os().map_err(BuildError::Random)?;
        let pool = Pool::new(self.writers).map_err(BuildError::Threads)?;
        let registry = Registry::open(Arc::clone(&data))?;
        let descriptors = descriptors::raise();
        let open_rooms = self.open_rooms.unwrap_or_else(|| descriptors::open_rooms(descriptors));
        let limits = Limits {
            idle: Duration::from_millis(self.idle_ms.max(1)),
            open_rooms,
            rates: self.rates,
            log_payloads: self.log_payloads,
        };
        let rooms = Rooms::new(data, registry, parties, pool, random, limits);
        clock::start(&rooms).map_err(BuildError::Threads)?;
        Ok(Server::new(rooms, Arc::new(front), Duration::from_millis(self.stop_ms)))
    }
}

fn named(
    parties: Vec<(String, Open)>,
    mut doors: BTreeMap<String, Doors>,
    mut hooks: BTreeMap<String, Hooks>,
) -> Result<BTreeMap<String, Party>, BuildError> {
    let mut named = BTreeMap::new();
    for (name, open) in parties {
        if !party::is_party_name(&name) {
            return Err(BuildError::PartyName(name));
        }
        let (doors, hooks) = (doors.remove(&name).unwrap_or_default(), hooks.remove(&name).unwrap_or_default());
        if named.insert(name.clone(), Party { open, doors, hooks }).is_some() {
            return Err(BuildError::PartyTwice(name));
        }
    }
    match doors.into_keys().chain(hooks.into_keys()).next() {
        Some(unknown) => Err(BuildError::UnknownParty(unknown)),
        None => Ok(named),
    }
}

impl std::fmt::Debug for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parties: Vec<&String> = self.parties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Builder")
            .field("data", &self.data)
            .field("prefix", &self.prefix)
            .field("parties", &parties)
            .field("writers", &self.writers)
            .field("idle_ms", &self.idle_ms)
            .field("stop_ms", &self.stop_ms)
            .field("log_payloads", &self.log_payloads)
            .field("rates", &self.rates)
            .field("open_rooms", &self.open_rooms)
            .finish()
    }
}
