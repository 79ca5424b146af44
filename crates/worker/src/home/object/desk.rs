//! The room in memory, and what is carried out of what it says.

use std::rc::Rc;

use js_sys::JsString;
use partysync_model::{Db, Origin, Value};
use partysync_protocol::v2::{self, Up};
use partysync_protocol::{ErrorCode, Millis, limits};
use partysync_room::{ConnectionId, Effect, Event, Input, RequestId, RoomName, SortedMap};
use wasm_bindgen::JsCast;
use worker::{WebSocketRequestResponsePair, console_error};

use super::{Inner, now};
use crate::DurableDb;
use crate::home::door::Places;
use crate::home::party::AnyRoom;
use crate::home::seat::{self, Seat};
use crate::js::{self, Socket};

pub(super) struct Desk {
    /// The room, if it is in memory.
    pub(super) room: Option<Box<dyn AnyRoom>>,
    pub(super) name: Option<RoomName>,
    pub(super) seats: SortedMap<ConnectionId, Seat>,
    pub(super) last_id: u64,
    pub(super) last_request: u64,
    /// When the room wants to be woken.
    pub(super) wakes_at: Option<Millis>,
    /// What the object's alarm is set to, if that is known.
    pub(super) alarm: Option<Option<Millis>>,
    /// It may have to be set to another time.
    pub(super) is_alarm_stale: bool,
    /// Of hooks before actions.
    pub(super) places: Rc<Places>,
    /// Answers to requests, to be taken in the same event.
    pub(super) responses: SortedMap<RequestId, partysync_room::Response>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Desk {
            room: None,
            name: None,
            seats: SortedMap::new(),
            last_id: 0,
            last_request: 0,
            wakes_at: None,
            alarm: None,
            is_alarm_stale: true,
            places: Rc::new(Places::new(limits::HOOKS_WAITING)),
            responses: SortedMap::new(),
        }
    }

    /// Brings the room into memory; returns its sockets, as events, if it was not there.
    pub(super) fn open(
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
        let Some(open) = app.find(name.party()).and_then(|party| party.open.as_ref()) else {
            return Err(failed(&format!("{name}: the app has no such party any more"), ErrorCode::AppError));
        };
        let mut room = open(db, name.clone(), input()).map_err(|e| failed(&format!("{name}: {e}"), e.code()))?;
        // From now on it notes which sockets change.
        room.touched();
        self.name = Some(name);
        self.room = Some(room);
        Ok(Some(self.find_seats(object)))
    }

    /// Hands the room a batch of events, carries out what comes back, and returns the events that this causes.
    pub(super) fn run(&mut self, object: &Rc<Inner>, events: Vec<Event>) -> Vec<Event> {
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

    fn carry_out(
        &mut self,
        object: &Rc<Inner>,
        effect: Effect,
        newest: u64,
        catches_up: Option<ConnectionId>,
        next: &mut Vec<Event>,
    ) {
        match effect {
            // What is left out for a reader that is slow is not seen here, but for version 2.
            Effect::Send { to, frame } | Effect::Answer { to, frame, .. } => {
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
pub(in crate::home) fn stored_name(db: &mut DurableDb) -> Option<RoomName> {
    let mut name = None;
    db.query(Origin::Engine, "SELECT value FROM _meta WHERE name = 'room'", &[], &mut |row| {
        if let Some(Value::Text(address)) = row.to_values().into_iter().next() {
            name = RoomName::from_address(&address);
        }
    })
    .ok()?;
    name
}

pub(super) fn input() -> Input {
    Input { now: now(), random: js::random() }
}
