//! What is to be done elsewhere once a step is durable: kept, handed out, tried again (SPEC 7.9 to 7.11).

use partysync_model::{ActionError, Db, DbError, Verdict};
use partysync_protocol::{ErrorCode, Millis, Version, limits};

use crate::event::{Effect, Report};
use crate::purge::Timers;
use crate::step::{Outcome, Ran, Stepper, mix};
use crate::store::{self, Waiting};
use crate::{Input, Room, RoomName, SyncServer};

/// The name of the timer behind it.
pub(crate) const OUTBOX: &str = "outbox";

/// Bits of an item's index that are random, so that histories that part do not give two items one key.
const RANDOM_BITS: u32 = 20;

/// How long the room waits for word of an item: longer than a home lets a delivery take.
const PATIENCE_MS: Millis = 2 * limits::OUTBOX_MS as Millis;

/// Something to be delivered by the home: to another service, say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxItem {
    /// What names it, each time it is delivered: `party/room/version/index`. A receiver that has seen it ignores it.
    pub key: String,
    /// The app's JSON.
    pub body: String,
    /// How often it failed before.
    pub tries: u32,
}

/// What the room remembers of its outbox. The rest is in the database.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    in_flight: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    place: Place,
    /// When it counts as failed without word of it.
    until: Millis,
}

/// Where an item stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) index: i64,
}

/// Word of an item, to be written down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settlement {
    place: Place,
    delivered: bool,
}

impl Place {
    fn key(self, room: &RoomName) -> String {
        format!("{}/{}/{}", room.address(), self.version, self.index)
    }

    fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/');
        let (index, version) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Place { version, index })
    }
}

impl Settlement {
    /// `None` if that is no key of ours.
    pub(crate) fn of(key: &str, delivered: bool) -> Option<Self> {
        Place::of_key(key).map(|place| Settlement { place, delivered })
    }

    /// Returns how often the item has failed.
    fn write(self, db: &mut dyn Db, now: Millis) -> Result<u32, DbError> {
        let mut tries = 0;
        if self.delivered {
            store::remove_waiting(db, self.place)?;
        } else if let Some(waiting) = store::waiting(db, self.place)? {
            tries = waiting.tries + 1;
            store::put_off(db, self.place, tries, now + delay_ms(tries))?;
        }
        let next = store::next_waiting(db)?.map(|waiting| waiting.at);
        store::set_timer(db, OUTBOX, next)?;
        Ok(tries)
    }
}

impl<S: SyncServer> Stepper<'_, S> {
    /// Writes down word of an item. It is no step of the app: it has a savepoint, and no version.
    pub(crate) fn settle_item(&mut self, db: &mut dyn Db, settlement: Settlement) -> Ran {
        self.timers.forget();
        let now = self.input.now;
        let mut written = Ok(0);
        let transaction = db.transaction(&mut |db| {
            written = settlement.write(db, now);
            if written.is_ok() { Verdict::Keep } else { Verdict::Undo }
        });
        let report = |error: String| Some(Report { during: "outbox", error });
        match written.and_then(|tries| transaction.map(|()| tries)) {
            Ok(tries) => {
                let Place { version, index } = settlement.place;
                let is_late = tries >= limits::OUTBOX_TRIES;
                let report = is_late.then(|| report(format!("item {version}/{index} failed {tries} times"))).flatten();
                Ran { report, ..Ran::of(Outcome::Applied { version: self.head.cursor.version, own: false }) }
            }
            Err(error) => {
                let report = report(error.to_string());
                Ran { report, ..Ran::of(Outcome::Unsettled(ActionError::from(error).to_wire())) }
            }
        }
    }
}

/// How long an item waits that has failed so often.
fn delay_ms(tries: u32) -> Millis {
    if tries >= limits::OUTBOX_TRIES {
        return limits::DAY_MS;
    }
    let doublings = tries.saturating_sub(1).min(20);
    (limits::OUTBOX_DELAY_MS << doublings).min(limits::OUTBOX_MAX_DELAY_MS)
}

/// Keeps what a step put into the outbox, in the step's savepoint. `version` is the step's, or the room's if it made none.
pub(crate) fn keep(
    db: &mut dyn Db,
    timers: &mut Timers,
    version: Version,
    at: Millis,
    bodies: &[String],
    input: Input,
) -> Result<(), ActionError> {
    if bodies.is_empty() {
        return Ok(());
    }
    if store::count_waiting(db)? + bodies.len() > limits::OUTBOX_ROOM_ITEMS {
        return Err(ActionError::from(ErrorCode::Busy));
    }
    timers.forget();
    let mut number = store::meta_version(db, OUTBOX)?.unwrap_or(0);
    for body in bodies {
        number += 1;
        let random = mix(input.random.wrapping_add(number)) >> (u64::BITS - RANDOM_BITS);
        let index = (number << RANDOM_BITS | random) as i64;
        store::add_waiting(db, Place { version, index }, body, at)?;
    }
    store::set_meta(db, OUTBOX, store::version_value(number))?;
    if store::timer(db, OUTBOX)?.is_none_or(|next| next > at) {
        store::set_timer(db, OUTBOX, Some(at))?;
    }
    Ok(())
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// When the outbox wants the room to be awake, if `stored` is when its first item is due.
    pub(crate) fn outbox_wake(&self, stored: Option<Millis>) -> Option<Millis> {
        self.outbox.in_flight.as_ref().map_or(stored, |in_flight| Some(in_flight.until))
    }

    /// The item of which there should have been word by now.
    pub(crate) fn overdue_item(&self) -> Option<Settlement> {
        let in_flight = self.outbox.in_flight.as_ref()?;
        (in_flight.until <= self.input.now).then_some(Settlement { place: in_flight.place, delivered: false })
    }

    /// Word of an item was written down, or could not be: then the item is handed out again, later.
    pub(crate) fn item_settled(&mut self, settlement: Settlement, ran: &Ran) {
        let Some(in_flight) = self.outbox.in_flight.as_mut().filter(|f| f.place == settlement.place) else { return };
        if matches!(ran.outcome, Outcome::Unsettled(_)) {
            in_flight.until = self.input.now + limits::OUTBOX_DELAY_MS;
        } else {
            self.outbox.in_flight = None;
        }
    }

    /// Hands out the next item that is due, if none is out: one at a time, so that they arrive in order.
    pub(crate) fn hand_out(&mut self, effects: &mut Vec<Effect>) -> Result<(), DbError> {
        // Items are as old as their steps, and a room's time may be ahead of the clock (SPEC 2.5).
        let now = self.input.now.max(self.head.at);
        let is_due = self.timers.outbox(&mut self.db)?.is_some_and(|at| at <= now);
        if self.outbox.in_flight.is_some() || !is_due {
            return Ok(());
        }
        let Some(Waiting { place, tries, .. }) = store::next_waiting(&mut self.db)? else { return Ok(()) };
        let body = store::waiting_body(&mut self.db, place)?.unwrap_or_default();
        self.outbox.in_flight = Some(InFlight { place, until: self.input.now + PATIENCE_MS });
        effects.push(Effect::Deliver(OutboxItem { key: place.key(&self.name), body, tries }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_7_10_outbox_delay_ms_is_doubled_up_to_an_hour_and_is_a_day_in_the_end() {
        let delays: Vec<Millis> = (1..=limits::OUTBOX_TRIES).map(delay_ms).collect();
        assert_eq!(delays[..3], [2_000, 4_000, 8_000]);
        assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(delays[delays.len() - 2], limits::OUTBOX_MAX_DELAY_MS);
        assert_eq!((delays[delays.len() - 1], delay_ms(u32::MAX)), (limits::DAY_MS, limits::DAY_MS));
    }

    #[test]
    fn spec_7_9_a_key_says_where_its_item_is_whatever_the_rooms_name() {
        for name in ["lobby", "a/b", "1/2/", ""] {
            let place = Place { version: 7, index: 1 << 52 };
            let key = place.key(&RoomName::new("p", name));
            assert_eq!(Place::of_key(&key), Some(place), "{key}");
        }
        for other in ["", "a", "a/b", "p/r/1/x", "p/r/-1/2"] {
            assert_eq!(Place::of_key(other), None, "{other}");
        }
    }
}
