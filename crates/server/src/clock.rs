//! When to look at which room: alarms, and rooms that nobody uses.
//!
//! One thread minds all rooms, in memory or not. Alarms are due by the wall clock, which may jump. If it jumps ahead,
//! alarms that became due ring within [`LONGEST_SLEEP`]; if it jumps back, they ring when it shows their time again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use partysync_protocol::Millis;
use partysync_room::RoomName;

use crate::rooms::Rooms;

/// The longest time without a look at the wall clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Alarms that are minded, each a room's. Past it the last to ring is dropped: its room sets it again when somebody opens it.
const ALARMS: usize = 1_000_000;

/// How long after an alarm rang it rings again if the room does not say when it wants the next one.
const RING_AGAIN_MS: Millis = 2_000;

/// What the clock minds.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    alarms: BTreeSet<(Millis, RoomName)>,
    alarm_of: BTreeMap<RoomName, Millis>,
    /// Rooms that may be unused by then, at most one entry each. All wait equally long, so the first is the next.
    looks: VecDeque<(Instant, RoomName)>,
    ended: bool,
}

enum Due {
    Alarm(RoomName),
    Look(RoomName),
}

/// The time by the wall clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Starts the thread. It ends with the rooms.
pub(crate) fn start(rooms: &Arc<Rooms>) -> io::Result<()> {
    let (clock, rooms) = (Arc::clone(&rooms.clock), Arc::downgrade(rooms));
    thread::Builder::new().name("partysync-clock".to_owned()).spawn(move || clock.run(&rooms)).map(|_| ())
}

impl Clock {
    /// The room's alarm is to ring at this time, instead of the time that was set before.
    pub(crate) fn set_alarm(&self, name: &RoomName, at: Option<Millis>) {
        let mut plan = self.plan();
        plan.remove_alarm(name);
        if let Some(at) = at {
            plan.add_alarm(name.clone(), at);
            self.changed.notify_one();
        }
    }

    /// At `due` the room is to be looked at.
    pub(crate) fn look_at(&self, due: Instant, name: RoomName) {
        self.plan().looks.push_back((due, name));
        self.changed.notify_one();
    }

    pub(crate) fn end(&self) {
        self.plan().ended = true;
        self.changed.notify_one();
    }

    fn run(&self, rooms: &Weak<Rooms>) {
        while let Some(due) = self.next() {
            let Some(rooms) = rooms.upgrade() else { return };
            match due {
                Due::Alarm(name) => rooms.ring(&name),
                Due::Look(name) => rooms.look(&name),
            }
        }
    }

    /// Waits for what is due next. `None`: nothing will be.
    fn next(&self) -> Option<Due> {
        let mut plan = self.plan();
        loop {
            if plan.ended {
                return None;
            }
            let sleep = match plan.due() {
                Ok(due) => return Some(due),
                Err(sleep) => sleep,
            };
            plan = match sleep {
                None => self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner),
                Some(sleep) => self.changed.wait_timeout(plan, sleep).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// Takes out what is due, or says how long to wait.
    fn due(&mut self) -> Result<Due, Option<Duration>> {
        let look_in = self.looks.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        if look_in == Some(Duration::ZERO)
            && let Some((_, name)) = self.looks.pop_front()
        {
            return Ok(Due::Look(name));
        }
        let now = now();
        let Some((at, name)) = self.alarms.first().cloned() else { return Err(look_in) };
        if at > now {
            let alarm_in = Duration::from_millis(at.abs_diff(now)).min(LONGEST_SLEEP);
            return Err(Some(look_in.map_or(alarm_in, |look_in| look_in.min(alarm_in))));
        }
        // The room says nothing when it wants the time that is past already.
        self.remove_alarm(&name);
        self.add_alarm(name.clone(), now + RING_AGAIN_MS);
        Ok(Due::Alarm(name))
    }

    fn add_alarm(&mut self, name: RoomName, at: Millis) {
        self.alarm_of.insert(name.clone(), at);
        self.alarms.insert((at, name));
        if self.alarms.len() > ALARMS
            && let Some((_, last)) = self.alarms.pop_last()
        {
            self.alarm_of.remove(&last);
            tracing::warn!(room = %last, "too many alarms: this room's will not ring until somebody opens it");
        }
    }

    fn remove_alarm(&mut self, name: &RoomName) {
        if let Some(at) = self.alarm_of.remove(name) {
            self.alarms.remove(&(at, name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RoomName {
        RoomName::new("todos", "lobby")
    }

    #[test]
    fn spec_7_6_a_room_has_one_alarm() {
        let clock = Clock::default();
        clock.set_alarm(&name(), Some(5));
        clock.set_alarm(&name(), Some(now() + 60_000));
        assert!(matches!(clock.plan().due(), Err(Some(sleep)) if sleep <= LONGEST_SLEEP));
        clock.set_alarm(&name(), None);
        assert!(matches!(clock.plan().due(), Err(None)));
    }

    #[test]
    fn an_alarm_rings_again_until_the_room_says_otherwise() {
        let clock = Clock::default();
        clock.set_alarm(&name(), Some(5));
        assert!(matches!(clock.plan().due(), Ok(Due::Alarm(_))));
        assert!(matches!(clock.plan().due(), Err(Some(_))));
        assert!(clock.plan().alarm_of.contains_key(&name()));
    }
}
