//! A room's Durable Object.
//!
//! An event of the platform is handed to the room, and what comes back is carried out, before anything is awaited: what the room wrote
//! is one transaction of the platform's until then, and nothing that was sent leaves before that is on disk (P3).
//!
//! A room may be gone from memory at the next event, without a word. So whatever is known of a socket is attached to it
//! whenever it changes, and the room's own tables have the rest.

mod alarm;
mod desk;
mod hooks;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use js_sys::{Date, Uint8Array};
use partysync_model::DbError;
use partysync_protocol::{ErrorCode, Millis, limits};
use partysync_room::{ConnectionId, ConnectionInfo, Event, RequestId, RoomName};
use wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Env, Request, Response, Result, State, WebSocketPair, console_error, web_sys};

use self::desk::Desk;
pub(super) use self::desk::stored_name;
use super::admin;
use super::app::App;
use super::front;
use super::gate::{Frame, Gate, Passed};
use super::request::{self, Target, app_error, cannot_open, join, refused};
use super::seat::{self, Seat};
use crate::DurableDb;
use crate::handshake::Handshake;
use crate::js::{self, Context, Socket, Storage};

/// Ids of connections are times, in these parts of a millisecond, so that none comes twice.
const IDS_PER_MS: u64 = 1 << 10;

const FAULT: (u16, &str) = (1011, "the server failed");
const TOO_MUCH: (u16, &str) = (1013, "too much waits for the app");

/// A room's Durable Object: what [`durable_object!`](crate::durable_object) makes a class of.
pub struct Object {
    inner: Rc<Inner>,
}

/// What its events share.
pub(super) struct Inner {
    state: State,
    context: Context,
    storage: Storage,
    env: Env,
    make: fn(&Env) -> App,
    desk: RefCell<Desk>,
}

impl Object {
    /// The object of a state. Nothing can fail here: nobody could be told.
    pub fn new(state: State, env: Env, make: fn(&Env) -> App) -> Self {
        let context = state.as_raw().unchecked_ref::<Context>().clone();
        let storage = state.storage().as_raw().unchecked_ref::<Storage>().clone();
        let desk = RefCell::new(Desk::new());
        Object { inner: Rc::new(Inner { state, context, storage, env, make, desk }) }
    }

    /// A request that the worker let in. Returns a promise of a response.
    pub fn fetch(&self, request: web_sys::Request) -> JsValue {
        let inner = Rc::clone(&self.inner);
        js::promise(Box::pin(async move { js::response(inner.fetch(request.into()).await) }))
    }

    /// The alarm rings.
    pub fn alarm(&self) {
        self.inner.alarm();
    }

    /// A frame came. Returns a promise if the app is asked about it.
    pub fn message(&self, socket: JsValue, message: &JsValue) -> JsValue {
        let socket: Socket = socket.unchecked_into();
        let Some(connection) = seat::id(&self.inner.context, &socket) else { return JsValue::UNDEFINED };
        let frame = match message.as_string() {
            Some(text) => Frame::Text(text),
            None => Frame::Binary(Uint8Array::new(message).to_vec()),
        };
        if frame.len() > limits::FRAME_BYTES {
            self.inner.close(connection, (1009, "the frame is too large"));
            return JsValue::UNDEFINED;
        }
        self.inner.take(connection, frame)
    }

    /// The client closed its socket.
    pub fn closed(&self, socket: JsValue, code: u16, reason: String) {
        let socket: Socket = socket.unchecked_into();
        let code = Some(code).filter(|code| !matches!(code, 1005 | 1006 | 1015));
        // The platform may have answered it already.
        let _ = match code {
            Some(code) => socket.close(code, &reason),
            None => socket.close_without_code(),
        };
        self.inner.gone(&socket, code, reason);
    }

    /// The socket broke.
    pub fn broken(&self, socket: JsValue) {
        self.inner.gone(&socket.unchecked_into(), None, String::new());
    }
}

impl Inner {
    pub(super) fn app(&self) -> Rc<App> {
        App::of_isolate(&self.env, self.make)
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The object's database, whatever is in it.
    pub(super) fn db(&self) -> std::result::Result<DurableDb, DbError> {
        DurableDb::new(&self.state.storage())
    }

    async fn fetch(self: Rc<Self>, request: Request) -> Result<Response> {
        let app = self.app();
        if let Some(admin) = app.admin.as_ref().filter(|_| admin::is_asked(&request)) {
            return (admin.object)(self, request).await;
        }
        let origin = request.headers().get("origin")?;
        let is_socket = front::is_socket(&request)?;
        let response = self.answer(&app, request, is_socket).await?;
        if !is_socket {
            front::share(&response, app.origins.share(origin.as_deref()))?;
        }
        Ok(response)
    }

    async fn answer(self: &Rc<Self>, app: &App, mut request: Request, is_socket: bool) -> Result<Response> {
        let target = Target::of(&request);
        let address = match target.address(&app.prefix) {
            Ok(address) => address,
            Err(refusal) => return refused(&refusal),
        };
        let Some(party) = app.find(address.room.party()) else {
            return refused(&partysync_room::Refusal::new(400, "There is no such party."));
        };
        let door = if is_socket { &party.connect } else { &party.request };
        let admission = front::admission(&request, door.is_some())?;
        let join = join(address.room.clone(), address.path, &request, &app.token_param);
        if is_socket {
            let key = match target.connection_key() {
                Ok(key) => key,
                Err(refusal) => return refused(&refusal),
            };
            let handshake = door.as_ref().and_then(|_| Handshake::of(&join, &app.token_param));
            let gate = Gate::new(admission, handshake, true);
            return self.connect(address.room, key, gate, front::offers_v2(request.headers())?);
        }
        match request::read_body(&mut request).await? {
            Ok(body) => self.respond(address.room, partysync_room::Request::new(join, admission, body)),
            Err(refusal) => refused(&refusal),
        }
    }

    /// Takes a frame to the room, or first to the app, if that has a say in it.
    fn take(self: &Rc<Self>, connection: ConnectionId, frame: Frame) -> JsValue {
        // The gate comes into memory with the room.
        if self.handle(None, Vec::new()).is_err() {
            self.give_up();
            return JsValue::UNDEFINED;
        }
        match self.pass(connection, |gate, party, name| Some(gate.pass(party, name, connection, frame, now()))) {
            None | Some(Passed::Waits) => {}
            Some(Passed::Event(event)) => self.handle_or_close(vec![event]),
            Some(Passed::TooMany) => self.close(connection, TOO_MUCH),
            Some(Passed::Ask(question)) => {
                let inner = Rc::clone(self);
                return js::promise(Box::pin(async move {
                    inner.ask(connection, *question).await;
                    JsValue::UNDEFINED
                }));
            }
        }
        JsValue::UNDEFINED
    }

    /// Opens a socket.
    fn connect(self: &Rc<Self>, name: RoomName, key: Option<String>, gate: Gate, is_v2: bool) -> Result<Response> {
        // In memory before the handshake is answered: who cannot get in is told so.
        if let Err(code) = self.handle(Some(name), Vec::new()) {
            return refused(&cannot_open(code));
        }
        let (identity, data) = (gate.admission.identity().map(str::to_owned), gate.admission.data().cloned());
        let info = ConnectionInfo { key, identity, data };
        let pair = WebSocketPair::new()?;
        let socket = pair.server.as_ref().unchecked_ref::<Socket>().clone();
        let connection = {
            let mut desk = self.desk.borrow_mut();
            let opened = now();
            desk.last_id = (desk.last_id + 1).max(opened.unsigned_abs() * IDS_PER_MS);
            let id = ConnectionId(desk.last_id);
            self.context.accept(&socket, &seat::tags(id))?;
            desk.is_alarm_stale = true;
            desk.seats.insert(id, Seat::new(socket, opened, gate));
            id
        };
        let event = if is_v2 {
            Event::OpenedV2 { connection, info, is_further: false }
        } else {
            Event::Opened { connection, info }
        };
        self.handle_or_close(vec![event]);
        self.mind_quiet(connection);
        front::switching_protocols(pair, is_v2)
    }

    /// Has the room answer a request.
    fn respond(self: &Rc<Self>, name: RoomName, what: partysync_room::Request) -> Result<Response> {
        let id = {
            let mut desk = self.desk.borrow_mut();
            desk.last_request += 1;
            RequestId(desk.last_request)
        };
        if let Err(code) = self.handle(Some(name.clone()), vec![Event::Request { request: id, what }]) {
            return refused(&cannot_open(code));
        }
        let Some(response) = self.desk.borrow_mut().responses.remove(&id) else { return app_error() };
        request::response(response).or_else(|why| {
            console_error!("{name}: the response of on_request cannot be sent: {why}");
            app_error()
        })
    }

    /// A socket is gone.
    fn gone(self: &Rc<Self>, socket: &Socket, code: Option<u16>, reason: String) {
        let Some(connection) = seat::id(&self.context, socket) else { return };
        // One that was closed from here wakes no room: there may be none any more.
        if self.desk.borrow().room.is_none() && Seat::restore(socket.clone()).is_none() {
            return;
        }
        if self.handle(None, Vec::new()).is_err() {
            return self.give_up();
        }
        let mut events = Vec::new();
        let is_busy = self.desk.borrow().seats.get(&connection).map(|seat| seat.gate.is_busy());
        if is_busy == Some(true) {
            // What it sent before comes before.
            self.take(connection, Frame::Closed(code, reason));
            return;
        }
        if is_busy.is_none() {
            // The platform need not list one that is gone. One that was closed from here has nothing attached, and is none of the room's.
            let Some(state) = Seat::restore(socket.clone()).and_then(|seat| seat.state().cloned()) else { return };
            events.push(Event::Restored { connection, state });
        }
        events.push(Event::Closed { connection, code, reason });
        let _ = socket.keep(&JsValue::NULL);
        self.handle_or_close(events);
    }

    /// Closes a socket from here.
    fn close(self: &Rc<Self>, connection: ConnectionId, (code, reason): (u16, &str)) {
        if self.handle(None, Vec::new()).is_err() {
            return self.give_up();
        }
        if let Some(seat) = self.desk.borrow_mut().seats.remove(&connection) {
            seat.close(code, reason);
        }
        self.handle_or_close(vec![Event::Closed { connection, code: Some(code), reason: String::new() }]);
    }

    /// Hands the room events. If it cannot come into memory, its sockets are closed.
    fn handle_or_close(self: &Rc<Self>, events: Vec<Event>) {
        if self.handle(None, events).is_err() {
            self.give_up();
        }
    }

    /// Brings the room into memory, if it is not there, and hands it events. `name` is known if a request says it.
    fn handle(self: &Rc<Self>, name: Option<RoomName>, events: Vec<Event>) -> std::result::Result<(), ErrorCode> {
        let mut desk = self.desk.borrow_mut();
        let work = || {
            let restored = desk.open(self, name)?;
            let mut next = events;
            if let Some(restored) = restored {
                // Even with no sockets: it says when its alarm is to ring.
                let more = desk.run(self, restored);
                next.splice(0..0, more);
            }
            while !next.is_empty() {
                next = desk.run(self, next);
            }
            desk.mind_alarm(self);
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done,
            Err(_) => {
                // Only a mistake of this library can cause it: what the room has in memory may be wrong, what is on disk is what
                // its transactions left.
                console_error!("the room panicked: it leaves memory, and its sockets are closed");
                drop(desk);
                self.give_up();
                self.open_again();
                Ok(())
            }
        }
    }

    /// Brings the room into memory.
    pub(super) fn wake(self: &Rc<Self>, name: RoomName) -> std::result::Result<(), ErrorCode> {
        self.handle(Some(name), Vec::new())
    }

    /// Opens what is in the database as a room, and drops that again; or says why it cannot be one.
    pub(super) fn try_open(&self, name: &RoomName) -> std::result::Result<(), String> {
        let app = self.app();
        let party = app.find(name.party()).and_then(|party| party.open.as_ref());
        let open = party.ok_or("there is no such party")?;
        let db = self.db().map_err(|error| error.message)?;
        open(db, name.clone(), desk::input()).map(drop).map_err(|error| error.to_string())
    }

    /// Deletes all that is stored.
    pub(super) async fn delete_all(&self) -> Result<()> {
        JsFuture::from(self.storage.delete_alarm()?).await?;
        JsFuture::from(self.storage.delete_all()?).await?;
        Ok(())
    }

    /// The room is at fault: it leaves memory, and its sockets are closed.
    fn give_up(&self) {
        self.close_all(FAULT);
    }

    /// Takes the room out of memory and closes all sockets.
    pub(super) fn close_all(&self, (code, reason): (u16, &str)) {
        let desk = std::mem::replace(&mut *self.desk.borrow_mut(), Desk::new());
        // Code of the app may run, and panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(desk)));
        for socket in self.context.web_sockets().unwrap_or_default().iter() {
            let socket = socket.unchecked_into::<Socket>();
            let _ = socket.keep(&JsValue::NULL);
            let _ = socket.close(code, reason);
        }
    }
}

pub(super) fn now() -> Millis {
    Date::now() as Millis
}
