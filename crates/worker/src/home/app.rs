//! What a worker is made of.

use std::cell::OnceCell;
use std::rc::Rc;

use partysync_model::ActionError;
use partysync_room::{Admission, Applied, Attempt, Join, Origins, OutboxItem, Refusal, SortedMap, SyncServer};
use worker::{Env, console_error};

use super::admin::Admin;
use super::door::Door;
use super::hooks::{After, Before, Courier, Hooks};
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
    pub(crate) origins: Origins,
    pub(crate) parties: SortedMap<String, Party>,
    pub(crate) admin: Option<Admin>,
}

/// A kind of room.
#[derive(Default)]
pub(crate) struct Party {
    /// `None`: there are only doors.
    pub(crate) open: Option<Open>,
    pub(crate) connect: Option<Door>,
    pub(crate) request: Option<Door>,
    pub(crate) hooks: Hooks,
}

impl Default for App {
    fn default() -> Self {
        App {
            binding: "ROOMS".to_owned(),
            prefix: "/parties".to_owned(),
            token_param: "token".to_owned(),
            origins: Origins::default(),
            parties: SortedMap::new(),
            admin: None,
        }
    }
}

impl App {
    /// One without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn find(&self, party: &str) -> Option<&Party> {
        self.parties.iter().find(|(name, _)| **name == party).map(|(_, party)| party)
    }

    /// Adds a kind of room: its name in URLs, and what makes the app's value of a room.
    pub fn party<S, F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        S: SyncServer + 'static,
        F: Fn() -> S + Clone + Send + 'static,
    {
        self.parties.or_default(name.into()).open = Some(party::party(make));
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
        self.parties.or_default(party.into()).connect = Some(Door::new(ask));
        self
    }

    /// Asks the app before a request that is no socket's is taken to a room of a party, as
    /// [`on_before_connect`](Self::on_before_connect) does for sockets.
    pub fn on_before_request<A>(mut self, party: impl Into<String>, ask: impl Fn(Join) -> A + 'static) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + 'static,
    {
        self.parties.or_default(party.into()).request = Some(Door::new(ask));
        self
    }

    /// The origins of pages that may use the rooms, such as `https://example.com` or `https://*.example.com`, which is any subdomain.
    /// Pages of others get status 403. Without this, pages of any origin may. With one that is no origin none may, and the log says so.
    pub fn allowed_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let origins: Vec<O> = origins.into_iter().collect();
        self.origins = Origins::only(origins.iter().map(AsRef::as_ref)).unwrap_or_else(|wrong| {
            console_error!("{wrong:?} is no origin: write scheme://host or scheme://host:port; no page may come in");
            Origins::none()
        });
        self
    }

    /// Runs before each action of a party: the place to ask another service, which an action itself cannot do.
    ///
    /// What it returns is what [`Call::prepared`](partysync_room::Call::prepared) says, as JSON; an error fails the action as an error of the
    /// action's own does. The room does not wait, nor do other clients; what the same client sends behind the action does. It has
    /// [`HOOK_MS`](partysync_protocol::limits::HOOK_MS), and [`HOOKS_WAITING`](partysync_protocol::limits::HOOKS_WAITING) of a room may run at once: past
    /// either the client is told to try later. It may run more than once for one action: it should look things up, not change them.
    pub fn before_action<P>(mut self, party: impl Into<String>, prepare: impl Fn(Attempt) -> P + 'static) -> Self
    where
        P: Future<Output = Result<Option<serde_json::Value>, ActionError>> + 'static,
    {
        self.parties.or_default(party.into()).hooks.before = Some(Before::new(prepare));
        self
    }

    /// Runs after each action of a party that made a version, once that is on disk.
    ///
    /// Nothing waits for it, and runs of it have no order. It has [`HOOK_MS`](partysync_protocol::limits::HOOK_MS), and
    /// [`AFTER_WAITING`](partysync_protocol::limits::AFTER_WAITING) may run at once in an isolate; past either, and if it fails, that is reported and
    /// not tried again. What must not be lost belongs in the outbox.
    pub fn after_action<T, E>(mut self, party: impl Into<String>, tell: impl Fn(Applied) -> T + 'static) -> Self
    where
        T: Future<Output = Result<(), E>> + 'static,
        E: std::fmt::Display,
    {
        self.parties.or_default(party.into()).hooks.after = Some(After::new(tell));
        self
    }

    /// Delivers what the rooms of a party put into their outboxes with [`Tx::outbox`](partysync_model::Tx::outbox): code that may wait, up to
    /// [`OUTBOX_MS`](partysync_protocol::limits::OUTBOX_MS). It runs in the room's object, which goes on meanwhile.
    ///
    /// An item is delivered at least once, one at a time of each room. An error or a panic has it delivered again, later. A receiver must
    /// take a [key](OutboxItem::key) that it knows for done.
    pub fn on_outbox<D, E>(mut self, party: impl Into<String>, deliver: impl Fn(OutboxItem) -> D + 'static) -> Self
    where
        D: Future<Output = Result<(), E>> + 'static,
        E: std::fmt::Display,
    {
        self.parties.or_default(party.into()).hooks.outbox = Some(Courier::new(deliver));
        self
    }

    /// Opens a door for operators: `/admin/rooms/:party/:room/export` hands a room out as a file (GET), or makes one of a file (PUT), and
    /// `DELETE /admin/rooms/:party/:room` deletes it. `docs/moving.md` in the repository says how a room moves with it. It takes some 30 KB of the compressed
    /// worker, which one without this does not have.
    ///
    /// `secret` is the binding of a secret of at least 16 characters, the token to ask with: `Authorization: Bearer`. Whoever has it can read and delete
    /// every room. As long as nothing is bound there, the routes answer 404.
    pub fn admin(mut self, secret: impl Into<String>) -> Self {
        self.admin = Some(Admin::new(secret.into()));
        self
    }

    /// The app of this isolate, made when it is first needed.
    pub(crate) fn of_isolate(env: &Env, make: fn(&Env) -> App) -> Rc<App> {
        APP.with(|app| Rc::clone(app.get_or_init(|| Rc::new(make(env)))))
    }
}
