//! Places in memory (SPEC 11, `open_rooms`): at most so many rooms have their files open. Past it the one that was used least
//! recently makes place, if it has nothing to do. Who finds no place waits, without a thread: its mail stays in its mailbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use partysync_room::RoomName;

use crate::mailbox::{Mail, Mailbox};
use crate::rooms::{Map, Rooms};

/// How long a room waits for a place before whoever wants it is told that the server is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a room has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    None,
    Waiting {
        until: Instant,
    },
    /// It has waited long enough.
    Refused,
    Taken,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: usize,
    taken: usize,
    /// In the order in which they came.
    waiting: VecDeque<RoomName>,
    /// Rooms that were asked to make place.
    leaving: usize,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        Slots { limit, taken: 0, waiting: VecDeque::new(), leaving: 0 }
    }
}

impl Rooms {
    /// A room wants to come into memory. `Taken`: it may. `Refused`: it may not. `None`: it is to wait.
    pub(crate) fn take_slot(&self, name: &RoomName) -> Slot {
        let mut map = self.map();
        let Map { rooms, slots, stopping, .. } = &mut *map;
        let Some(entry) = rooms.get_mut(name) else { return Slot::Refused };
        match entry.slot {
            Slot::Taken => Slot::Taken,
            Slot::Refused => std::mem::replace(&mut entry.slot, Slot::None),
            _ if slots.taken < slots.limit && slots.waiting.is_empty() => {
                slots.taken += 1;
                entry.slot = Slot::Taken;
                Slot::Taken
            }
            _ if *stopping => Slot::Refused,
            _ => Slot::None,
        }
    }

    /// A room waits for a place, its mail in its mailbox and no job scheduled.
    pub(crate) fn wait_for_slot(self: &Arc<Self>, name: &RoomName) {
        let mut map = self.map();
        let until = Instant::now() + PATIENCE;
        if let Some(entry) = map.rooms.get_mut(name) {
            entry.slot = Slot::Waiting { until };
            map.slots.waiting.push_back(name.clone());
            self.clock.look_at(until, name.clone());
            self.assign(&mut map);
        }
    }

    /// A room's file is closed.
    pub(crate) fn free_slot(self: &Arc<Self>, name: &RoomName) {
        let mut map = self.map();
        let Map { rooms, slots, .. } = &mut *map;
        let Some(entry) = rooms.get_mut(name) else { return };
        if std::mem::replace(&mut entry.slot, Slot::None) == Slot::Taken {
            slots.taken -= 1;
        }
        if std::mem::take(&mut entry.leaving) {
            slots.leaving -= 1;
        }
        self.assign(&mut map);
    }

    /// A room that was asked to make place has something to do.
    pub(crate) fn stay(self: &Arc<Self>, map: &mut Map, name: &RoomName) {
        if let Some(entry) = map.rooms.get_mut(name)
            && std::mem::take(&mut entry.leaving)
        {
            map.slots.leaving -= 1;
            self.assign(map);
        }
    }

    /// A room has nothing to do any more.
    pub(crate) fn rest(self: &Arc<Self>) {
        if self.rooms_wait.load(Relaxed) {
            self.assign(&mut self.map());
        }
    }

    /// The time has come to tell a room that there is no place; or all that wait, if the server stops.
    pub(crate) fn refuse(self: &Arc<Self>, map: &mut Map, name: &RoomName) {
        let Some(entry) = map.rooms.get_mut(name) else { return };
        if let Slot::Waiting { until } = entry.slot
            && (map.stopping || until <= Instant::now())
        {
            entry.slot = Slot::Refused;
            map.slots.waiting.retain(|waiting| waiting != name);
            self.schedule(&Arc::clone(&entry.mailbox));
        }
    }

    /// There are fewer descriptors than places: the room that was used least recently makes place, if one can.
    pub(crate) fn make_place(self: &Arc<Self>) {
        let mut map = self.map();
        if let Some(mailbox) = least_recently_used(&mut map) {
            map.slots.leaving += 1;
            drop(map);
            self.send(&mailbox, Mail::Evict);
        }
    }

    /// Gives free places to those who wait, and asks for as many as are wanting.
    fn assign(self: &Arc<Self>, map: &mut Map) {
        while map.slots.taken < map.slots.limit
            && let Some(name) = map.slots.waiting.pop_front()
        {
            let Some(entry) = map.rooms.get_mut(&name) else { continue };
            entry.slot = Slot::Taken;
            map.slots.taken += 1;
            self.schedule(&Arc::clone(&entry.mailbox));
        }
        while map.slots.leaving < map.slots.waiting.len()
            && let Some(mailbox) = least_recently_used(map)
        {
            map.slots.leaving += 1;
            self.send(&mailbox, Mail::Evict);
        }
        self.rooms_wait.store(!map.slots.waiting.is_empty(), Relaxed);
    }
}

/// Marks the room that is to make place, if one can.
fn least_recently_used(map: &mut Map) -> Option<Arc<Mailbox>> {
    let idle = map.rooms.values_mut().filter(|e| e.slot == Slot::Taken && !e.leaving && e.mailbox.is_idle());
    let entry = idle.min_by_key(|e| e.mailbox.last_used())?;
    entry.leaving = true;
    Some(Arc::clone(&entry.mailbox))
}
