//! The object's one alarm: the room's timers share it with the ends of admissions (SPEC 7.6, 13.10).

use std::rc::Rc;
use std::time::Duration;

use js_sys::JsString;
use partysync_protocol::{Millis, limits, v2};
use partysync_room::{ConnectionId, Event, Refusal};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Delay, console_error};

use super::desk::Desk;
use super::{Inner, now};
use crate::home::seat::Seat;
use crate::js::Later;

/// When the room is looked at again that could not be opened as its alarm rang.
const OPEN_AGAIN_MS: Millis = 60_000;

const EXPIRED: (u16, &str) = (4401, Refusal::OVER);

impl Inner {
    /// The object's one alarm rings, whoever it is for.
    pub(super) fn alarm(self: &Rc<Self>) {
        {
            let mut desk = self.desk.borrow_mut();
            desk.alarm = Some(None);
            desk.is_alarm_stale = true;
        }
        if self.handle(None, Vec::new()).is_err() {
            return self.open_again();
        }
        self.desk.borrow_mut().give_notice();
        let expired = self.desk.borrow().expired();
        for connection in expired {
            self.close(connection, EXPIRED);
        }
        // The alarm was set anew for what has been done since, and one that is set to the time that it rings at may not ring again.
        self.desk.borrow_mut().is_alarm_stale = true;
        if self.handle(None, vec![Event::Alarm]).is_err() {
            self.open_again();
        }
    }

    /// Has the room looked at again that cannot be opened.
    pub(super) fn open_again(&self) {
        self.set_alarm(Some(now() + OPEN_AGAIN_MS));
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
    pub(super) fn mind_quiet(self: &Rc<Self>, connection: ConnectionId) {
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
    /// Sets the object's alarm to whatever comes first: what the room waits for, or the end of an admission.
    pub(super) fn mind_alarm(&mut self, object: &Inner) {
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
}
