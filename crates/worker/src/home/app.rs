//! What a worker is made of.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use partysync_room::{Admission, Join, Refusal, SyncServer};
use worker::Env;

use super::door::Door;
use super::party::{self, Open};

thread_local! {
    /// The app of this isolate. A trap starts the module anew, and this with it.
    static APP: OnceCell<Rc<App>> = const { OnceCell::new() };
}

/// The kinds of rooms that a worker has, and the app's code around them: what the native server's builder takes.
#[must_use]
pub struct App {
    pub(crate) binding: String,
    pub(crate) prefix: String,
    pub(crate) token_param: String,
    pub(crate) parties: BTreeMap<String, Party>,
}

/// A kind of room.
#[derive(Default)]
pub(crate) struct Party {
    /// `None`: there are only doors.
    pub(crate) open: Option<Open>,
    pub(crate) connect: Option<Door>,
    pub(crate) request: Option<Door>,
}

impl Default for App {
    fn default() -> Self {
        App {
            binding: "ROOMS".to_owned(),
            prefix: "/parties".to_owned(),
            token_param: "token".to_owned(),
            parties: BTreeMap::new(),
        }
    }
}

impl App {
    /// One without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of room: its name in URLs, and what makes the app's value of a room.
    pub fn party<S, F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        S: SyncServer + 'static,
        F: Fn() -> S + Clone + Send + 'static,
    {
        self.parties.entry(name.into()).or_default().open = Some(party::party(make));
        self
    }

    /// The Durable Object binding of all rooms. The default is `ROOMS`. A room's object is named by its address, `party/room`, so one
    /// binding has rooms of all parties.
    pub fn binding(mut self, name: impl Into<String>) -> Self {
        self.binding = name.into();
        self
    }

    /// What the path of rooms begins with. The default is `/parties`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The parameter of a URL's query that is taken as the token of who sends no `Authorization: Bearer`. The default is `token`.
    pub fn token_param(mut self, name: impl Into<String>) -> Self {
        self.token_param = name.into();
        self
    }

    /// Asks the app before a socket is let into a room of a party. Without this everybody is.
    ///
    /// It runs in the worker, before the room's object is woken, and may wait up to [`DOOR_MS`](partysync_protocol::limits::DOOR_MS).
    pub fn on_before_connect<A>(mut self, party: impl Into<String>, ask: impl Fn(Join) -> A + 'static) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + 'static,
    {
        self.parties.entry(party.into()).or_default().connect = Some(Door::new(ask));
        self
    }

    /// Asks the app before a request that is no socket's is taken to a room of a party, as
    /// [`on_before_connect`](Self::on_before_connect) does for sockets.
    pub fn on_before_request<A>(mut self, party: impl Into<String>, ask: impl Fn(Join) -> A + 'static) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + 'static,
    {
        self.parties.entry(party.into()).or_default().request = Some(Door::new(ask));
        self
    }

    /// The app of this isolate, made when it is first needed.
    pub(crate) fn of_isolate(env: &Env, make: fn(&Env) -> App) -> Rc<App> {
        APP.with(|app| Rc::clone(app.get_or_init(|| Rc::new(make(env)))))
    }
}
