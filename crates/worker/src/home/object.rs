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

use js_sys::{Date, JsString, Uint8Array};
use partysync_model::{Db, Origin, Value};
use partysync_protocol::v2::{self, Up};
use partysync_protocol::{ErrorCode, Millis, limits};
use partysync_room::{
    Applied, ConnectionId, ConnectionInfo, Effect, Event, Input, OutboxItem, Refusal, RequestId, RoomName,
};
use wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{
    Delay, Env, Request, Response, Result, State, WebSocketPair, WebSocketRequestResponsePair, console_error, web_sys,
};

use super::app::App;
use super::door::Places;
use super::front;
use super::gate::{Frame, Gate, Passed, Question, Renewed};
use super::party::AnyRoom;
use super::request::{self, Target, app_error, cannot_open, join, refused};
use super::seat::{self, Seat};
use crate::DurableDb;
use crate::handshake::Handshake;
use crate::js::{self, Context, Later, Socket, Storage};

/// When the room is looked at again that could not be opened as its alarm rang.
const OPEN_AGAIN_MS: Millis = 60_000;

/// Ids of connections are times, in these parts of a millisecond, so that none comes twice.
const IDS_PER_MS: u64 = 1 << 10;

const FAULT: (u16, &str) = (1011, "the server failed");
const EXPIRED: (u16, &str) = (4401, Refusal::OVER);
const TOO_MUCH: (u16, &str) = (1013, "too much waits for the app");

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

struct Desk {
    /// The room, if it is in memory.
    room: Option<Box<dyn AnyRoom>>,
    name: Option<RoomName>,
    seats: BTreeMap<ConnectionId, Seat>,
    last_id: u64,
    last_request: u64,
    /// When the room wants to be woken.
    wakes_at: Option<Millis>,
    /// What the object's alarm is set to, if that is known.
    alarm: Option<Option<Millis>>,
    /// It may have to be set to another time.
    is_alarm_stale: bool,
    /// Of hooks before actions.
    places: Rc<Places>,
    /// Answers to requests, to be taken in the same event.
    responses: BTreeMap<RequestId, partysync_room::Response>,
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
    fn app(&self) -> Rc<App> {
        App::of_isolate(&self.env, self.make)
    }

    async fn fetch(self: Rc<Self>, request: Request) -> Result<Response> {
        let app = self.app();
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
        let Some(party) = app.parties.get(address.room.party()) else {
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

    /// The object's one alarm rings, whoever it is for.
    fn alarm(self: &Rc<Self>) {
        {
            let mut desk = self.desk.borrow_mut();
            desk.alarm = Some(None);
            desk.is_alarm_stale = true;
        }
        if self.handle(None, Vec::new()).is_err() {
            return self.set_alarm(Some(now() + OPEN_AGAIN_MS));
        }
        self.desk.borrow_mut().give_notice();
        let expired = self.desk.borrow().expired();
        for connection in expired {
            self.close(connection, EXPIRED);
        }
        // The alarm was set anew for what has been done since, and one that is set to the time that it rings at may not ring again.
        self.desk.borrow_mut().is_alarm_stale = true;
        if self.handle(None, vec![Event::Alarm]).is_err() {
            self.set_alarm(Some(now() + OPEN_AGAIN_MS));
        }
    }

    /// Takes a frame to the room, or first to the app, if that has a say in it.
    fn take(self: &Rc<Self>, connection: ConnectionId, frame: Frame) -> JsValue {
        // The gate comes into memory with the room.
        if self.handle(None, Vec::new()).is_err() {
            self.close_all();
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

    /// Asks the app about a frame, and then takes what waits behind it.
    async fn ask(self: Rc<Self>, connection: ConnectionId, question: Question) {
        let mut question = Some(question);
        while let Some(asked) = question.take() {
            let Some((name, places)) = self.room() else { return };
            let (event, renewed) = asked.ask(self.app(), name, places).await;
            if let Some(renewed) = renewed {
                self.desk.borrow_mut().renew(connection, renewed);
            }
            self.handle_or_close(vec![event]);
            while let Some(passed) =
                self.pass(connection, |gate, party, name| gate.next(party, name, connection, now()))
            {
                match passed {
                    Passed::Event(event) => self.handle_or_close(vec![event]),
                    Passed::Ask(next) => {
                        question = Some(*next);
                        break;
                    }
                    Passed::Waits | Passed::TooMany => {}
                }
            }
        }
    }

    /// Shows a socket's gate to `look`. `None` if the socket is gone.
    fn pass(
        &self,
        connection: ConnectionId,
        look: impl FnOnce(&mut Gate, &super::app::Party, &RoomName) -> Option<Passed>,
    ) -> Option<Passed> {
        let app = self.app();
        let mut desk = self.desk.borrow_mut();
        let name = desk.name.clone()?;
        let party = app.parties.get(name.party())?;
        let seat = desk.seats.get_mut(&connection)?;
        let known = |gate: &Gate| (gate.handshake.is_some(), gate.has_spoken);
        let before = known(&seat.gate);
        let passed = look(&mut seat.gate, party, &name);
        if known(&seat.gate) != before {
            seat.attach();
            desk.is_alarm_stale = true;
        }
        passed
    }

    fn room(&self) -> Option<(RoomName, Rc<Places>)> {
        let desk = self.desk.borrow();
        Some((desk.name.clone()?, Rc::clone(&desk.places)))
    }

    /// Has something done that no event waits for, once all that was written until now is on disk (P3).
    fn later(self: &Rc<Self>, run: Later<()>) {
        let synced = self.storage.sync();
        self.state.wait_until(Box::pin(async move {
            if let Ok(synced) = synced
                && JsFuture::from(synced).await.is_ok()
            {
                run.await;
            }
        }) as Later<()>);
    }

    /// Runs the app's hook after an action.
    fn tell(self: &Rc<Self>, applied: Applied) {
        let app = self.app();
        let (room, version) = (applied.room.clone(), applied.version);
        let place = {
            let after = app.parties.get(room.party()).and_then(|party| party.hooks.after.as_ref());
            after.and_then(|after| after.places.take())
        };
        let Some(place) = place else {
            return console_error!("{room}: as many hooks run after actions as may: version {version} is left out");
        };
        self.later(Box::pin(async move {
            let after = app.parties.get(room.party()).and_then(|party| party.hooks.after.as_ref());
            if let Some(after) = after
                && let Err(error) = after.tell(applied).await
            {
                console_error!("{room}: version {version}: the hook after an action failed: {error}");
            }
            drop(place);
        }));
    }

    /// Delivers an item of the outbox.
    fn deliver(self: &Rc<Self>, party: String, item: OutboxItem) {
        let (app, inner) = (self.app(), Rc::clone(self));
        self.later(Box::pin(async move {
            let key = item.key.clone();
            let courier = app.parties.get(&party).and_then(|party| party.hooks.outbox.as_ref());
            let delivered = match courier {
                Some(courier) => courier.deliver(item).await,
                None => Err("the party has no on_outbox: the item waits for one".to_owned()),
            };
            if let Err(error) = &delivered {
                console_error!("{key}: an item of the outbox was not delivered: {error}");
            }
            inner.handle_or_close(vec![match delivered {
                Ok(()) => Event::Delivered { key },
                Err(_) => Event::DeliverFailed { key },
            }]);
        }));
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
        // It may be what wakes the room.
        if self.handle(None, Vec::new()).is_err() {
            return self.close_all();
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
                self.close_all();
                self.set_alarm(Some(now() + OPEN_AGAIN_MS));
                Ok(())
            }
        }
    }

    /// Takes the room out of memory and closes all sockets.
    fn close_all(&self) {
        let desk = std::mem::replace(&mut *self.desk.borrow_mut(), Desk::new());
        // Code of the app may run, and panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(desk)));
        for socket in self.context.web_sockets().unwrap_or_default().iter() {
            let socket = socket.unchecked_into::<Socket>();
            let _ = socket.keep(&JsValue::NULL);
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
            Ok(promise) => self.state.wait_until(Box::pin(async {
                if JsFuture::from(promise).await.is_err() {
                    console_error!("the alarm cannot be set");
                }
            }) as Later<()>),
            Err(_) => console_error!("the alarm cannot be set"),
        }
    }

    /// Tells the room when a socket has been open for a while.
    fn mind_quiet(self: &Rc<Self>, connection: ConnectionId) {
        let Some(opened) = self.desk.borrow().seats.get(&connection).and_then(Seat::opened) else { return };
        let wait = (opened + limits::QUIET_MS as Millis - now()).max(0).unsigned_abs();
        let inner = Rc::clone(self);
        self.state.wait_until(Box::pin(async move {
            Delay::from(Duration::from_millis(wait)).await;
            let is_there = inner.desk.borrow_mut().seats.get_mut(&connection).map(Seat::quiet_is_over).is_some();
            if is_there {
                inner.handle_or_close(vec![Event::Quiet { connection }]);
            }
        }) as Later<()>);
    }
}

impl Desk {
    fn new() -> Self {
        Desk {
            room: None,
            name: None,
            seats: BTreeMap::new(),
            last_id: 0,
            last_request: 0,
            wakes_at: None,
            alarm: None,
            is_alarm_stale: true,
            places: Rc::new(Places::new(limits::HOOKS_WAITING)),
            responses: BTreeMap::new(),
        }
    }

    /// Sets the object's alarm to whatever comes first: what the room waits for, or the end of an admission.
    fn mind_alarm(&mut self, object: &Inner) {
        // What a room that could not be opened waits for is not known.
        if self.room.is_none() || !std::mem::take(&mut self.is_alarm_stale) {
            return;
        }
        let ends = self.seats.values().filter_map(|seat| seat.gate.wakes_at());
        let at = ends.chain(self.wakes_at).min();
        if self.alarm != Some(at) {
            self.alarm = Some(at);
            object.set_alarm(at);
        }
    }

    /// Takes note of what a door said to a socket's token.
    fn renew(&mut self, connection: ConnectionId, renewed: Renewed) {
        let Some(seat) = self.seats.get_mut(&connection) else { return };
        if renewed.take_place(&mut seat.gate, now()) {
            seat.attach();
            self.is_alarm_stale = true;
        }
    }

    /// Tells those whose admission ends soon.
    fn give_notice(&mut self) {
        let (now, Some(name)) = (now(), &self.name) else { return };
        for seat in self.seats.values_mut() {
            let Some(after_ms) = seat.gate.notice(now) else { continue };
            let frame = v2::encode(&v2::Expires { room: name.address().into(), after_ms });
            seat.send(&JsString::from(&*frame));
            seat.attach();
        }
    }

    /// The sockets whose admission has ended.
    fn expired(&self) -> Vec<ConnectionId> {
        let now = now();
        let is_over = |seat: &Seat| seat.gate.ends_at().is_some_and(|at| at <= now);
        self.seats.iter().filter(|(_, seat)| is_over(seat)).map(|(id, _)| *id).collect()
    }

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
            Effect::WakeAt(at) => {
                self.wakes_at = at;
                self.is_alarm_stale = true;
            }
            Effect::Applied(applied) => object.tell(*applied),
            Effect::Deliver(item) => {
                let party = self.name.as_ref().map(|name| name.party().to_owned()).unwrap_or_default();
                object.deliver(party, item);
            }
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

pub(super) fn now() -> Millis {
    Date::now() as Millis
}

fn input() -> Input {
    Input { now: now(), random: js::random() }
}
