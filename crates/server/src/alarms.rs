//! The alarms that are in memory (SPEC 7.6): those of rooms that are in memory, and the next ones of those that sleep.

use std::collections::{BTreeSet, HashMap};

use partysync_protocol::Millis;
use partysync_room::RoomName;

use crate::registry::Alarm;

/// Alarms of sleeping rooms that are kept in memory: 20 to 30 MB of them. Those that come later are in the registry alone.
const STORED: usize = 100_000;

/// Alarms that nobody but this process knows: of rooms in memory, and of those that could not be opened when they rang. Past
/// it the last to ring is dropped: the registry has its room looked at after the next start.
const HELD: usize = 100_000;

/// Alarms read from the registry at once.
pub(crate) const PAGE: usize = 10_000;

/// All alarms.
#[derive(Debug)]
pub(crate) struct Alarms {
    held: Set,
    /// Every alarm of a sleeping room that comes before `horizon`, and perhaps others.
    stored: Set,
    /// The first alarm of a sleeping room that may not be in memory. `None`: all are.
    horizon: Option<Alarm>,
    /// A page is on its way from the registry. What changes meanwhile may be in it or not.
    turning: bool,
}

#[derive(Debug, Default)]
struct Set {
    in_order: BTreeSet<Alarm>,
    of: HashMap<RoomName, Millis>,
}

impl Default for Alarms {
    /// All are in the registry.
    fn default() -> Self {
        let first = (Millis::MIN, RoomName::new("", ""));
        Alarms { held: Set::default(), stored: Set::default(), horizon: Some(first), turning: false }
    }
}

impl Alarms {
    /// A room's alarm is this from now on, whatever the registry says.
    pub(crate) fn hold(&mut self, name: &RoomName, at: Option<Millis>) {
        self.stored.remove(name);
        self.held.set(name, at);
        if self.held.in_order.len() > HELD
            && let Some((_, last)) = self.held.pop_last()
        {
            tracing::warn!(room = %last, "too many alarms: this room's will not ring until somebody opens it");
        }
    }

    /// A room's alarm is in the registry.
    pub(crate) fn store(&mut self, name: &RoomName, at: Option<Millis>) {
        self.held.set(name, None);
        let at = at
            .filter(|at| self.turning || self.horizon.as_ref().is_none_or(|(time, room)| (*at, name) < (*time, room)));
        self.stored.set(name, at);
        self.trim(STORED);
    }

    /// The room is gone.
    pub(crate) fn forget(&mut self, name: &RoomName) {
        self.stored.remove(name);
        self.held.remove(name);
    }

    /// When the next one rings.
    pub(crate) fn next(&self) -> Option<Millis> {
        let first = |set: &Set| set.in_order.first().map(|(at, _)| *at);
        [first(&self.held), first(&self.stored)].into_iter().flatten().min()
    }

    /// Takes out the next one.
    pub(crate) fn pop(&mut self) -> Option<RoomName> {
        let is_held = match (self.held.in_order.first(), self.stored.in_order.first()) {
            (Some(held), Some(stored)) => held < stored,
            (held, _) => held.is_some(),
        };
        let (_, name) = if is_held { self.held.pop_first() } else { self.stored.pop_first() }?;
        Some(name)
    }

    /// Where the next page of the registry begins, if it is time to read it.
    pub(crate) fn next_page(&mut self) -> Option<Alarm> {
        if self.turning || !self.stored.in_order.is_empty() {
            return None;
        }
        let from = self.horizon.clone()?;
        self.turning = true;
        Some(from)
    }

    /// A page is there: [`PAGE`] alarms and the one after them, or all that there are.
    pub(crate) fn add_page(&mut self, mut page: Vec<Alarm>) {
        self.turning = false;
        self.horizon = if page.len() > PAGE { page.pop() } else { None };
        for (at, name) in page {
            // One that is there already is newer than the page.
            if !self.held.of.contains_key(&name) && !self.stored.of.contains_key(&name) {
                self.stored.set(&name, Some(at));
            }
        }
        self.trim(STORED);
    }

    /// The page could not be read.
    pub(crate) fn no_page(&mut self) {
        self.turning = false;
    }

    fn trim(&mut self, most: usize) {
        while self.stored.in_order.len() > most
            && let Some(last) = self.stored.pop_last()
        {
            self.horizon = Some(self.horizon.take().map_or_else(|| last.clone(), |horizon| horizon.min(last.clone())));
        }
    }
}

impl Set {
    fn set(&mut self, name: &RoomName, at: Option<Millis>) {
        self.remove(name);
        if let Some(at) = at {
            self.of.insert(name.clone(), at);
            self.in_order.insert((at, name.clone()));
        }
    }

    fn remove(&mut self, name: &RoomName) {
        if let Some((name, at)) = self.of.remove_entry(name) {
            self.in_order.remove(&(at, name));
        }
    }

    fn pop_first(&mut self) -> Option<Alarm> {
        let first = self.in_order.pop_first()?;
        self.of.remove(&first.1);
        Some(first)
    }

    fn pop_last(&mut self) -> Option<Alarm> {
        let last = self.in_order.pop_last()?;
        self.of.remove(&last.1);
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> RoomName {
        RoomName::new("todos", &format!("{number:06}"))
    }

    /// Alarms of which all are in memory.
    fn empty() -> Alarms {
        let mut alarms = Alarms::default();
        assert!(alarms.next_page().is_some());
        alarms.add_page(Vec::new());
        alarms
    }

    fn pop_all(alarms: &mut Alarms) -> Vec<RoomName> {
        std::iter::from_fn(|| alarms.pop()).collect()
    }

    #[test]
    fn spec_7_6_a_room_has_one_alarm() {
        let mut alarms = empty();
        for at in [5, 7] {
            alarms.hold(&name(1), Some(at));
            alarms.store(&name(2), Some(at));
        }
        alarms.store(&name(1), Some(9));
        alarms.hold(&name(2), Some(8));
        assert_eq!(alarms.next(), Some(8));
        assert_eq!(pop_all(&mut alarms), [name(2), name(1)]);
        alarms.store(&name(1), Some(9));
        alarms.hold(&name(1), None);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn p8_stored_alarms_past_the_limit_are_read_again_in_their_turn() {
        let mut alarms = empty();
        // As they are in the registry.
        let all: Vec<Alarm> = (0..STORED + 2).map(|n| (n as Millis + 1, name(n))).collect();
        for (at, name) in all.iter().rev() {
            alarms.store(name, Some(*at));
        }
        assert_eq!(alarms.stored.in_order.len(), STORED);
        assert!(alarms.next_page().is_none(), "not before it is needed");
        assert_eq!(pop_all(&mut alarms).len(), STORED);
        let from = alarms.next_page().unwrap();
        assert_eq!(from, all[STORED]);
        assert!(alarms.next_page().is_none(), "not twice");
        alarms.add_page(all[STORED..].to_vec());
        assert_eq!(pop_all(&mut alarms), [name(STORED), name(STORED + 1)]);
        assert!(alarms.next_page().is_none(), "that was all");
    }

    #[test]
    fn p12_an_alarm_that_is_stored_while_a_page_is_read_is_not_lost() {
        let mut alarms = Alarms::default();
        assert!(alarms.next_page().is_some());
        alarms.store(&name(1), Some(PAGE as Millis + 7));
        // The page does not know of it yet, and ends before it.
        alarms.add_page((0..=PAGE).map(|n| (n as Millis, name(n + 2))).collect());
        let rung = pop_all(&mut alarms);
        assert_eq!(rung.len(), PAGE + 1);
        assert_eq!(rung[PAGE], name(1));
        // What is set for later than the page's end is on the next page.
        alarms.store(&name(1), Some(PAGE as Millis + 7));
        assert_eq!(alarms.next(), None);
        assert_eq!(alarms.next_page().unwrap().0, PAGE as Millis);
    }

    #[test]
    fn p12_what_a_room_in_memory_says_is_newer_than_a_page() {
        let mut alarms = Alarms::default();
        assert!(alarms.next_page().is_some());
        alarms.hold(&name(1), Some(9));
        alarms.add_page(vec![(0, name(1)), (3, name(2))]);
        assert_eq!(pop_all(&mut alarms), [name(2), name(1)]);
    }
}
