//! A room's Durable Object.
//!
//! An event of the platform is handed to the room, and what comes back is carried out, before anything is awaited: what the room wrote
//! is one transaction of the platform's until then, and nothing that was sent leaves before that is on disk (P3).
//!
//! A room may be gone from memory at the next event, without a word. So whatever is known of a socket is attached to it
//! whenever it changes, and the room's own tables have the rest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Date, JsString};
use partysync_model::{Db, Origin, Value};
use partysync_protocol::v2::{self, Up};
use partysync_protocol::{ErrorCode, Millis, limits};
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event, Input, RequestId, RoomName};
use wasm_bindgen::JsCast;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::{
    Delay, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    WebSocketRequestResponsePair, console_error,
};

use super::app::App;
use super::front;
use super::party::AnyRoom;
use super::request::{self, Target, app_error, cannot_open, join, refused};
use super::seat::{self, Seat};
use crate::DurableDb;
use crate::js::{self, Context, Socket, Storage};

/// When the room is looked at again that could not be opened as its alarm rang.
const OPEN_AGAIN_MS: Millis = 60_000;

/// Ids of connections are times, in these parts of a millisecond, so that none comes twice.
const IDS_PER_MS: u64 = 1 << 10;

const FAULT: (u16, &str) = (1011, "the server failed");

/// A room's Durable Object: what [`durable_object!`](crate::durable_object) makes a class of.
pub struct Object {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    context: Context,
    storage: Storage,
    env: Env,
    make: fn(&Env) -> App,
    desk: RefCell<Desk>,
}

#[derive(Default)]
struct Desk {
    /// The room, if it is in memory.
    room: Option<Box<dyn AnyRoom>>,
    name: Option<RoomName>,
    seats: BTreeMap<ConnectionId, Seat>,
    last_id: u64,
    last_request: u64,
    /// Answers to requests, to be taken in the same event.
    responses: BTreeMap<RequestId, partysync_room::Response>,
}

impl Object {
    /// The object of a state. Nothing can fail here: nobody could be told.
    pub fn new(state: State, env: Env, make: fn(&Env) -> App) -> Self {
        let context = state.as_raw().unchecked_ref::<Context>().clone();
        let storage = state.storage().as_raw().unchecked_ref::<Storage>().clone();
        Object { inner: Rc::new(Inner { state, context, storage, env, make, desk: RefCell::default() }) }
    }

    /// A request that the worker let in.
    ///
    /// # Errors
    ///
    /// Those of the platform.
    pub async fn fetch(&self, request: Request) -> Result<Response> {
        let app = self.inner.app();
        let target = Target::of(&request);
        let address = match target.address(&app.prefix) {
            Ok(address) => address,
            Err(refusal) => return refused(&refusal),
        };
        let Some(party) = app.parties.get(address.room.party()) else {
            return refused(&partysync_room::Refusal::new(400, "There is no such party."));
        };
        if front::is_socket(&request)? {
            let admission = front::admission(&request, party.connect.is_some())?;
            let key = match target.connection_key() {
                Ok(key) => key,
                Err(refusal) => return refused(&refusal),
            };
            let identity = admission.identity().map(str::to_owned);
            let info = ConnectionInfo { key, identity, data: admission.data().cloned() };
            return self.inner.connect(address.room, info, front::offers_v2(request.headers())?);
        }
        let admission = front::admission(&request, party.request.is_some())?;
        let mut request = request;
        let join = join(address.room.clone(), address.path, &request, &app.token_param);
        match request::read_body(&mut request).await? {
            Ok(body) => self.inner.respond(address.room, partysync_room::Request::new(join, admission, body)),
            Err(refusal) => refused(&refusal),
        }
    }

    /// The alarm rings.
    ///
    /// # Errors
    ///
    /// Those of the platform.
    pub fn alarm(&self) -> Result<Response> {
        if self.inner.handle(None, vec![Event::Alarm]).is_err() {
            self.inner.set_alarm(Some(now() + OPEN_AGAIN_MS));
        }
        Response::empty()
    }

    /// A frame came.
    pub fn message(&self, socket: &WebSocket, message: WebSocketIncomingMessage) {
        let Some(connection) = self.inner.id(socket) else { return };
        let bytes = match &message {
            WebSocketIncomingMessage::String(text) => text.len(),
            WebSocketIncomingMessage::Binary(bytes) => bytes.len(),
        };
        if bytes > limits::FRAME_BYTES {
            return self.inner.close(connection, 1009, "the frame is too large");
        }
        let event = match message {
            WebSocketIncomingMessage::String(text) => Event::Text { connection, text },
            WebSocketIncomingMessage::Binary(bytes) => Event::Binary { connection, bytes },
        };
        self.inner.handle_or_close(vec![event]);
    }

    /// The client closed its socket.
    pub fn closed(&self, socket: &WebSocket, code: usize, reason: String) {
        let raw = socket.as_ref().unchecked_ref::<Socket>();
        let code = u16::try_from(code).ok().filter(|code| !matches!(code, 1005 | 1006 | 1015));
        // The platform may have answered it already.
        let _ = match code {
            Some(code) => raw.close(code, &reason),
            None => raw.close_without_code(),
        };
        self.inner.gone(socket, code, reason);
    }

    /// The socket broke.
    pub fn broken(&self, socket: &WebSocket) {
        self.inner.gone(socket, None, String::new());
    }
}

impl Inner {
    fn app(&self) -> Rc<App> {
        App::of_isolate(&self.env, self.make)
    }

    fn id(&self, socket: &WebSocket) -> Option<ConnectionId> {
        seat::id(&self.context, socket.as_ref().unchecked_ref::<Socket>())
    }

    /// Opens a socket.
    fn connect(self: &Rc<Self>, name: RoomName, info: ConnectionInfo, is_v2: bool) -> Result<Response> {
        // In memory before the handshake is answered: who cannot get in is told so.
        if let Err(code) = self.handle(Some(name), Vec::new()) {
            return refused(&cannot_open(code));
        }
        let pair = WebSocketPair::new()?;
        let socket = pair.server.as_ref().unchecked_ref::<Socket>().clone();
        let connection = {
            let mut desk = self.desk.borrow_mut();
            let opened = now();
            desk.last_id = (desk.last_id + 1).max(opened.unsigned_abs() * IDS_PER_MS);
            let id = ConnectionId(desk.last_id);
            self.context.accept(&socket, &seat::tags(id))?;
            desk.seats.insert(id, Seat::new(socket, opened));
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
    fn gone(self: &Rc<Self>, socket: &WebSocket, code: Option<u16>, reason: String) {
        let Some(connection) = self.id(socket) else { return };
        let raw = socket.as_ref().unchecked_ref::<Socket>();
        // It may be what wakes the room.
        if self.handle(None, Vec::new()).is_err() {
            return self.close_all();
        }
        let mut events = Vec::new();
        let is_known = self.desk.borrow().seats.contains_key(&connection);
        if !is_known {
            // The platform need not list one that is gone. One that was closed from here has nothing attached, and is none of the room's.
            let Some(state) = Seat::restore(raw.clone()).and_then(|seat| seat.state().cloned()) else { return };
            events.push(Event::Restored { connection, state });
        }
        events.push(Event::Closed { connection, code, reason });
        let _ = raw.keep(&wasm_bindgen::JsValue::NULL);
        self.handle_or_close(events);
    }

    /// Closes a socket from here.
    fn close(self: &Rc<Self>, connection: ConnectionId, code: u16, reason: &'static str) {
        if self.handle(None, Vec::new()).is_err() {
            return self.close_all();
        }
        if let Some(seat) = self.desk.borrow_mut().seats.remove(&connection) {
            seat.close(code, reason);
        }
        self.handle_or_close(vec![Event::Closed { connection, code: Some(code), reason: String::new() }]);
    }

    /// Hands the room events. If it cannot come into memory, its sockets are closed.
    fn handle_or_close(self: &Rc<Self>, events: Vec<Event>) {
        if self.handle(None, events).is_err() {
            self.close_all();
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
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done,
            Err(_) => {
                // Only a mistake of this library can cause it: what the room has in memory may be wrong, what is on disk is what
                // its transactions left.
                console_error!("the room panicked: it leaves memory, and its sockets are closed");
                drop(desk);
                self.close_all();
                self.set_alarm(Some(now() + OPEN_AGAIN_MS));
                Ok(())
            }
        }
    }

    /// Takes the room out of memory and closes all sockets.
    fn close_all(&self) {
        let desk = std::mem::take(&mut *self.desk.borrow_mut());
        // Code of the app may run, and panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(desk)));
        for socket in self.context.web_sockets().unwrap_or_default().iter() {
            let socket = socket.unchecked_into::<Socket>();
            let _ = socket.keep(&wasm_bindgen::JsValue::NULL);
            let _ = socket.close(FAULT.0, FAULT.1);
        }
    }

    /// Sets the object's alarm. It takes effect with what was written in this event.
    fn set_alarm(&self, at: Option<Millis>) {
        let set = match at {
            Some(at) => self.storage.set_alarm(at as f64),
            None => self.storage.delete_alarm(),
        };
        match set {
            Ok(promise) => spawn_local(AssertUnwindSafe(async {
                if JsFuture::from(promise).await.is_err() {
                    console_error!("the alarm cannot be set");
                }
            })),
            Err(_) => console_error!("the alarm cannot be set"),
        }
    }

    /// Tells the room when a socket has been open for a while.
    fn mind_quiet(self: &Rc<Self>, connection: ConnectionId) {
        let Some(opened) = self.desk.borrow().seats.get(&connection).and_then(Seat::opened) else { return };
        let wait = (opened + limits::QUIET_MS as Millis - now()).max(0).unsigned_abs();
        let inner = Rc::clone(self);
        self.state.wait_until(async move {
            Delay::from(Duration::from_millis(wait)).await;
            let is_there = inner.desk.borrow_mut().seats.get_mut(&connection).map(Seat::quiet_is_over).is_some();
            if is_there {
                inner.handle_or_close(vec![Event::Quiet { connection }]);
            }
        });
    }
}

impl Desk {
    /// Brings the room into memory; returns its sockets, as events, if it was not there.
    fn open(
        &mut self,
        object: &Rc<Inner>,
        name: Option<RoomName>,
    ) -> std::result::Result<Option<Vec<Event>>, ErrorCode> {
        if self.room.is_some() {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display, code: ErrorCode| {
            console_error!("the room cannot be opened: {error}");
            code
        };
        let mut db = DurableDb::new(&object.state.storage()).map_err(|e| failed(&e, ErrorCode::StorageFailed))?;
        let Some(name) = name.or_else(|| stored_name(&mut db)) else {
            return Err(failed(&"nothing was ever stored here", ErrorCode::StorageFailed));
        };
        let app = object.app();
        let Some(open) = app.parties.get(name.party()).and_then(|party| party.open.as_ref()) else {
            return Err(failed(&format!("{name}: the app has no such party any more"), ErrorCode::AppError));
        };
        let mut room = open(db, name.clone(), input()).map_err(|e| failed(&format!("{name}: {e}"), e.code()))?;
        // From now on it notes which sockets change.
        room.touched();
        self.name = Some(name);
        self.room = Some(room);
        Ok(Some(self.find_seats(object)))
    }

    /// The sockets that are there.
    fn find_seats(&mut self, object: &Rc<Inner>) -> Vec<Event> {
        // Pings of version 2's clients: the room need not wake for them (SPEC 8.26).
        if let Ok(pair) = WebSocketRequestResponsePair::new(&Up::Ping.encode(), &v2::pong()) {
            object.state.set_websocket_auto_response(&pair);
        }
        let mut restored = Vec::new();
        for socket in object.context.web_sockets().unwrap_or_default().iter() {
            let socket = socket.unchecked_into::<Socket>();
            let Some(connection) = seat::id(&object.context, &socket) else { continue };
            // One of which nothing is known was closed from here.
            let Some(seat) = Seat::restore(socket) else { continue };
            self.last_id = self.last_id.max(connection.0);
            restored.extend(seat.state().cloned().map(|state| Event::Restored { connection, state }));
            self.seats.insert(connection, seat);
        }
        restored
    }

    /// Hands the room a batch of events, carries out what comes back, and returns the events that this causes.
    fn run(&mut self, object: &Rc<Inner>, events: Vec<Event>) -> Vec<Event> {
        for event in &events {
            if let Event::Closed { connection, .. } = event {
                self.seats.remove(connection);
            }
        }
        let catches_up = events.iter().find_map(|event| match event {
            Event::CatchUp { connection, .. } => Some(*connection),
            _ => None,
        });
        let Some(room) = &mut self.room else { return Vec::new() };
        let mut effects = Vec::new();
        room.handle(input(), events, &mut effects);
        let must_reopen = room.must_reopen();
        // Before anything is sent: a broadcast goes by what a socket speaks now.
        for connection in room.touched() {
            if let (Some(seat), Some(state)) = (self.seats.get_mut(&connection), room.connection_state(connection)) {
                seat.set_state(state);
            }
        }
        let to = room.version();
        let mut next = Vec::new();
        for effect in effects {
            self.carry_out(object, effect, to, catches_up, &mut next);
        }
        if must_reopen {
            console_error!("the storage failed: the room leaves memory");
            self.room = None;
            self.seats.clear();
        }
        next
    }

    fn carry_out(
        &mut self,
        object: &Rc<Inner>,
        effect: Effect,
        newest: u64,
        catches_up: Option<ConnectionId>,
        next: &mut Vec<Event>,
    ) {
        match effect {
            Effect::Send { to, frame } => {
                let Some(seat) = self.seats.get_mut(&to) else { return };
                let text = JsString::from(&*frame);
                if catches_up == Some(to) { seat.catch_up(&text, frame.len(), newest) } else { seat.send(&text) }
            }
            Effect::Broadcast { to, except, since, frame } => {
                // Made for JavaScript once, for however many.
                let text = JsString::from(&*frame);
                for to in to.iter().filter(|to| Some(**to) != except) {
                    if let Some(seat) = self.seats.get_mut(to) {
                        seat.tell(&text, frame.len(), since, newest);
                    }
                }
            }
            Effect::Message { to, frame } => {
                let text = JsString::from(&*frame);
                to.iter().filter_map(|to| self.seats.get(to)).for_each(|seat| seat.send(&text));
            }
            Effect::Has { connection, version } => {
                let since = self.seats.get_mut(&connection).and_then(|seat| seat.has(version));
                next.extend(since.map(|since| Event::CatchUp { connection, since }));
            }
            Effect::Close { connection, code, reason } => {
                if let Some(seat) = self.seats.remove(&connection) {
                    seat.close(code, &reason);
                    next.push(Event::Closed { connection, code: Some(code), reason: String::new() });
                }
            }
            Effect::Respond { request, response } => drop(self.responses.insert(request, response)),
            Effect::WakeAt(at) => object.set_alarm(at),
            // What arrives cannot be proven here: there are no pings (SPEC 12.11).
            Effect::Track { .. } | Effect::TellArrived { .. } => {}
            Effect::Report(report) => console_error!("{}: {}", report.during, report.error),
            _ => console_error!("an effect that this home does not know"),
        }
    }
}

/// Whose room the database is, if it is one.
fn stored_name(db: &mut DurableDb) -> Option<RoomName> {
    let mut name = None;
    db.query(Origin::Engine, "SELECT value FROM _meta WHERE name = 'room'", &[], &mut |row| {
        if let Some(Value::Text(address)) = row.to_values().into_iter().next() {
            name = RoomName::from_address(&address);
        }
    })
    .ok()?;
    name
}

fn now() -> Millis {
    Date::now() as Millis
}

fn input() -> Input {
    Input { now: now(), random: js::random() }
}
