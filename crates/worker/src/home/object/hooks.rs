//! The app's code that may wait: asked about frames, told of actions, handed what the outbox holds.

use std::rc::Rc;

use partysync_room::{Applied, ConnectionId, Event, OutboxItem, RoomName};
use worker::console_error;
use worker::wasm_bindgen_futures::JsFuture;

use super::desk::Desk;
use super::{Inner, now};
use crate::home::app::Party;
use crate::home::door::Places;
use crate::home::gate::{Gate, Passed, Question, Renewed};
use crate::js::Later;

impl Inner {
    /// Asks the app about a frame, and then takes what waits behind it.
    pub(super) async fn ask(self: Rc<Self>, connection: ConnectionId, question: Question) {
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
    pub(super) fn pass(
        &self,
        connection: ConnectionId,
        look: impl FnOnce(&mut Gate, &Party, &RoomName) -> Option<Passed>,
    ) -> Option<Passed> {
        let app = self.app();
        let mut desk = self.desk.borrow_mut();
        let name = desk.name.clone()?;
        let party = app.find(name.party())?;
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

    /// Runs the app's hook after an action.
    pub(super) fn tell(self: &Rc<Self>, applied: Applied) {
        let app = self.app();
        let (room, version) = (applied.room.clone(), applied.version);
        let place = {
            let after = app.find(room.party()).and_then(|party| party.hooks.after.as_ref());
            after.and_then(|after| after.places.take())
        };
        let Some(place) = place else {
            return console_error!("{room}: as many hooks run after actions as may: version {version} is left out");
        };
        self.later(Box::pin(async move {
            let after = app.find(room.party()).and_then(|party| party.hooks.after.as_ref());
            if let Some(after) = after
                && let Err(error) = after.tell(applied).await
            {
                console_error!("{room}: version {version}: the hook after an action failed: {error}");
            }
            drop(place);
        }));
    }

    /// Delivers an item of the outbox.
    pub(super) fn deliver(self: &Rc<Self>, party: String, item: OutboxItem) {
        let (app, inner) = (self.app(), Rc::clone(self));
        self.later(Box::pin(async move {
            let key = item.key.clone();
            let courier = app.find(&party).and_then(|party| party.hooks.outbox.as_ref());
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
}

impl Desk {
    /// Takes note of what a door said to a socket's token.
    fn renew(&mut self, connection: ConnectionId, renewed: Renewed) {
        let Some(seat) = self.seats.get_mut(&connection) else { return };
        if renewed.take_place(&mut seat.gate, now()) {
            seat.attach();
            self.is_alarm_stale = true;
        }
    }
}
