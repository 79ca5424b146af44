//! When to look at which room: alarms, and rooms that nobody uses.
//!
//! One thread minds all rooms, in memory or not. Alarms are due by the wall clock, which may jump. If it jumps ahead,
//! alarms that became due ring within [`LONGEST_SLEEP`]; if it jumps back, they ring when it shows their time again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use partysync_protocol::Millis;
use partysync_room::RoomName;

use crate::alarms::{Alarms, PAGE};
use crate::registry::Alarm;
use crate::rooms::Rooms;

/// The longest time without a look at the wall clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Rooms whose alarms ring at once. Many may be due after a restart, and each brings a room into memory.
const RINGING: usize = 16;

/// How long until the registry is read again that could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What the clock minds.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    alarms: Alarms,
    /// Alarms that rang and are not handled.
    ringing: usize,
    /// When the registry may be read again, if it could not be.
    read_again: Option<Instant>,
    /// When to look at rooms. A few for each room that has a mailbox.
    looks: BinaryHeap<Reverse<(Instant, RoomName)>>,
    ended: bool,
}

enum Due {
    Alarm(RoomName),
    Look(RoomName),
    Page(Alarm),
}

/// An alarm that rings, until it is handled.
pub(crate) struct Ring {
    clock: Arc<Clock>,
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
    /// The alarm of a room in memory is to ring at this time, instead of the time that was set before. So is that of one that
    /// is looked at again because it could not be opened.
    pub(crate) fn set_alarm(&self, name: &RoomName, at: Option<Millis>) {
        self.plan().alarms.hold(name, at);
        self.changed.notify_one();
    }

    /// The registry has been told of a room's alarm.
    pub(crate) fn stored(&self, name: &RoomName, at: Option<Millis>) {
        self.plan().alarms.store(name, at);
        self.changed.notify_one();
    }

    /// The room is gone for good.
    pub(crate) fn forget(&self, name: &RoomName) {
        self.plan().alarms.forget(name);
    }

    /// At `due` the room is to be looked at.
    pub(crate) fn look_at(&self, due: Instant, name: RoomName) {
        self.plan().looks.push(Reverse((due, name)));
        self.changed.notify_one();
    }

    pub(crate) fn end(&self) {
        self.plan().ended = true;
        self.changed.notify_one();
    }

    fn run(self: &Arc<Self>, rooms: &Weak<Rooms>) {
        while let Some(due) = self.next() {
            let Some(rooms) = rooms.upgrade() else { return };
            match due {
                Due::Alarm(name) => rooms.ring(&name, Ring { clock: Arc::clone(self) }),
                Due::Look(name) => rooms.look(&name),
                Due::Page(from) => self.turn_page(&rooms, from),
            }
        }
    }

    fn turn_page(&self, rooms: &Rooms, from: Alarm) {
        let page = rooms.registry.alarms(from, PAGE + 1);
        let mut plan = self.plan();
        plan.read_again = page.is_err().then(|| Instant::now() + READ_AGAIN);
        match page {
            Ok(page) => plan.alarms.add_page(page),
            Err(error) => {
                plan.alarms.no_page();
                tracing::error!(%error, "the registry of rooms cannot be read");
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
        let until = |due: Instant| due.saturating_duration_since(Instant::now());
        let look_in = self.looks.peek().map(|Reverse((due, _))| until(*due));
        if look_in == Some(Duration::ZERO)
            && let Some(Reverse((_, name))) = self.looks.pop()
        {
            return Ok(Due::Look(name));
        }
        let read_in = self.read_again.map(until).filter(|wait| *wait > Duration::ZERO);
        if read_in.is_none()
            && let Some(from) = self.alarms.next_page()
        {
            return Ok(Due::Page(from));
        }
        // Past the limit, who has handled an alarm wakes the clock.
        let next = self.alarms.next().filter(|_| self.ringing < RINGING);
        let alarm_in = next.map(|at| Duration::from_millis(u64::try_from(at - now()).unwrap_or_default()));
        if alarm_in == Some(Duration::ZERO)
            && let Some(name) = self.alarms.pop()
        {
            self.ringing += 1;
            return Ok(Due::Alarm(name));
        }
        let alarm_in = alarm_in.map(|wait| wait.min(LONGEST_SLEEP));
        Err([look_in, read_in, alarm_in].into_iter().flatten().min())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.clock.plan().ringing -= 1;
        self.clock.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> RoomName {
        RoomName::new("todos", &number.to_string())
    }

    /// A clock that has read all there is in the registry.
    fn clock() -> Arc<Clock> {
        let clock = Arc::new(Clock::default());
        assert!(matches!(clock.plan().due(), Ok(Due::Page(_))));
        clock.plan().alarms.add_page(Vec::new());
        clock
    }

    #[test]
    fn spec_7_6_an_alarm_rings_when_it_is_due_and_not_before() {
        let clock = clock();
        clock.set_alarm(&name(1), Some(now() + 60_000));
        assert!(matches!(clock.plan().due(), Err(Some(sleep)) if sleep <= LONGEST_SLEEP));
        clock.set_alarm(&name(1), Some(5));
        assert!(matches!(clock.plan().due(), Ok(Due::Alarm(_))));
        assert!(matches!(clock.plan().due(), Err(None)));
    }

    #[test]
    fn p8_few_alarms_ring_at_once() {
        let clock = clock();
        (0..=RINGING).for_each(|n| clock.stored(&name(n), Some(5)));
        for _ in 0..RINGING {
            assert!(matches!(clock.plan().due(), Ok(Due::Alarm(_))));
        }
        assert!(matches!(clock.plan().due(), Err(None)));
        drop(Ring { clock: Arc::clone(&clock) });
        assert!(matches!(clock.plan().due(), Ok(Due::Alarm(_))));
    }

    #[test]
    fn looks_come_in_the_order_in_which_they_are_due() {
        let clock = clock();
        let now = Instant::now();
        clock.look_at(now + Duration::from_millis(1), name(2));
        clock.look_at(now, name(1));
        std::thread::sleep(Duration::from_millis(1));
        for expected in [1, 2] {
            assert!(matches!(clock.plan().due(), Ok(Due::Look(found)) if found == name(expected)));
        }
    }
}
