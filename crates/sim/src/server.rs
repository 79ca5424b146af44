//! The room's side of a world: its home, and how that fails.

use std::sync::Arc;

use partysync_model::DbError;
use partysync_room::{ConnectionId, Effect, Event, Input, OpenError, Room, RoomName};
use partysync_sqlite::{Options, SqliteDb};

use crate::app::App;
use crate::checks::{Checked, Promise, Violation};
use crate::network::Wire;
use crate::tamper::{self, SimDb};
use crate::world::World;
use crate::{Fault, Operation, Tamper};

/// Steps that an action may use: fewer than `Action::Spin` wants, more than all others do.
const ACTION_STEPS: u64 = 100_000;

/// In every so many thousandths of batches the disk fails.
const FAULTS_PER_MILLE: u64 = 30;

pub(crate) fn room_name() -> RoomName {
    RoomName::new("sim", "world")
}

impl World {
    /// The room takes what has arrived, or starts if it is down.
    pub(crate) fn serve(&mut self) -> Checked {
        let size = if self.rng.chance(100) { 60 } else { 1 + self.rng.index(8) };
        self.serve_batch(size, true)
    }

    /// The room takes everything, without faults.
    pub(crate) fn serve_all(&mut self) -> Checked {
        loop {
            self.serve_batch(usize::MAX, false)?;
            let more = self.wires().any(|wire| wire.has_up());
            if self.room.is_some() && !more {
                return Ok(());
            }
        }
    }

    fn serve_batch(&mut self, size: usize, faults: bool) -> Checked {
        if self.room.is_none() {
            return self.start(faults);
        }
        let events = self.gather(size)?;
        if events.is_empty() {
            return Ok(());
        }
        self.stats.groups += u64::from(events.iter().filter(|e| matches!(e, Event::Text { .. })).count() > 1);
        if faults && self.rng.chance(FAULTS_PER_MILLE) {
            self.arm(8);
        }
        self.handle(events, faults)
    }

    fn handle(&mut self, events: Vec<Event>, faults: bool) -> Checked {
        let input = Input { now: self.room_now(), random: self.rng.word() };
        let Some(room) = &mut self.room else { return Ok(()) };
        let mut effects = Vec::new();
        room.handle(input, events, &mut effects);
        let must_reopen = room.must_reopen();
        self.disk.disarm();
        if self.disk.is_off() {
            return self.crash();
        }
        match self.ledger.observe(room) {
            Ok(checked) => checked?,
            // The connection has had enough: a home would open the room anew.
            Err(_) => return self.kill(),
        }
        if faults && self.rng.chance(15) {
            // The process dies between the commit and the sockets.
            return if self.rng.chance(500) { self.crash() } else { self.kill() };
        }
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))?;
        if must_reopen {
            self.stats.reopened += 1;
            self.hibernate()?;
        }
        self.ledger.check_promised()
    }

    /// Takes some of what has arrived, from random connections, in order of each.
    fn gather(&mut self, size: usize) -> Result<Vec<Event>, Violation> {
        let mut events = Vec::new();
        if self.wake_at.is_some_and(|at| at <= self.room_now()) || self.rng.chance(5) {
            self.wake_at = None;
            events.push(Event::Alarm);
        }
        while events.len() < size {
            let ready = self.wires().filter(|wire| wire.has_up()).count();
            if ready == 0 {
                break;
            }
            let index = self.rng.index(ready);
            let Some(event) = self.wires_mut().filter(|w| w.has_up()).nth(index).and_then(Wire::next_up) else { break };
            if let Event::Text { connection, text } = &event {
                self.ledger.arrived(*connection, text)?;
            }
            events.push(event);
        }
        self.lingering.retain(Wire::has_up);
        Ok(events)
    }

    fn carry_out(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Send { to, frame } => self.send(to, &frame),
            Effect::Broadcast { to, except, frame, .. } => {
                to.iter().filter(|to| Some(**to) != except).try_for_each(|to| self.send(*to, &frame))
            }
            Effect::Close { connection, .. } => {
                let client = self.ends.iter().position(|e| e.wire.as_ref().is_some_and(|w| w.id == connection));
                client.map_or(Ok(()), |client| self.cut(client))
            }
            Effect::WakeAt(at) => {
                self.wake_at = at;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, to: ConnectionId, frame: &str) -> Checked {
        let Some(text) = tamper::frame(self.tamper, &mut self.tampered, frame) else { return Ok(()) };
        self.ledger.sent(to, &text)?;
        self.stats.rejected += u64::from(text.contains(r#""type":"reject""#));
        self.stats.later += u64::from(text.contains(r#""type":"later""#));
        if let Some(wire) = self.ends.iter_mut().filter_map(|end| end.wire.as_mut()).find(|wire| wire.id == to) {
            wire.send_down(text);
        }
        Ok(())
    }

    /// Opens the room. It must open whatever happened to it, unless the disk fails right now.
    fn start(&mut self, faults: bool) -> Checked {
        let fails = faults && self.rng.chance(100);
        if fails {
            self.arm(40);
        }
        let opened = self.open();
        self.disk.disarm();
        let was_off = self.disk.is_off();
        match opened {
            Ok(mut room) if !was_off => {
                let checked = self.ledger.reopened(&mut room);
                self.room = Some(room);
                self.disk.lie(self.tamper == Tamper::LieAboutSyncs);
                match checked {
                    Ok(checked) => checked?,
                    Err(error) => return Err(unusable(&error.to_string())),
                }
                let restored = std::mem::take(&mut self.asleep).into_iter();
                self.handle(restored.map(|(connection, state)| Event::Restored { connection, state }).collect(), false)
            }
            Err(error) if !fails && !was_off && !self.disk.is_full() => Err(unusable(&error.to_string())),
            _ if was_off => self.crash(),
            _ => {
                self.disk.full_at(None);
                self.kill()
            }
        }
    }

    fn open(&mut self) -> Result<Room<App, SimDb>, OpenError> {
        let options =
            Options { vfs: Some(self.disk.vfs_name().to_owned()), action_steps: ACTION_STEPS, max_pages: None };
        let db = SqliteDb::open(&self.disk.path("room.db"), &options)?;
        let complaints = Arc::clone(&self.ledger.complaints);
        let input = Input { now: self.room_now(), random: self.rng.word() };
        Room::open(SimDb::new(db, self.tamper), room_name(), move || App::new(&complaints), input)
    }

    /// One of the disk's next operations fails; half of the times the power goes with it.
    fn arm(&mut self, operations: u64) {
        let operation =
            *self.rng.pick(&[Operation::Write, Operation::Write, Operation::Sync, Operation::Sync, Operation::Read]);
        let fault = *self.rng.pick(&[Fault::Error, Fault::Error, Fault::PowerCutBefore, Fault::PowerCutAfter]);
        let operations = if operation == Operation::Sync { 1 + operations / 8 } else { operations };
        self.stats.faults += 1;
        self.disk.fail_after(operation, self.rng.below(operations), fault);
    }

    /// The power goes and comes back.
    pub(crate) fn crash(&mut self) -> Checked {
        self.stats.crashes += 1;
        self.disk.cut_power();
        self.room = None;
        self.disk.crash();
        self.lose_connections()
    }

    /// The room's process dies.
    pub(crate) fn kill(&mut self) -> Checked {
        self.stats.kills += 1;
        self.disk.kill_process();
        self.room = None;
        self.lose_connections()
    }

    /// The room leaves memory in good order, as an idle one does.
    pub(crate) fn evict(&mut self) -> Checked {
        self.room = None;
        self.lose_connections()
    }

    /// The room leaves memory in good order, and its sockets stay.
    pub(crate) fn hibernate(&mut self) -> Checked {
        if let Some(room) = self.room.take() {
            self.stats.hibernated += 1;
            let (states, db) = room.hibernate();
            drop(db);
            self.asleep.extend(states);
        }
        Ok(())
    }

    pub(crate) fn checkpoint(&mut self) -> Checked {
        // It may fail on a full disk; nothing is lost then.
        let _: Option<Result<(), DbError>> = self.room.as_mut().map(|room| {
            let even = room.cursor().version.is_multiple_of(2);
            let db = room.db_mut().inner();
            if even { db.checkpoint() } else { db.copy_log() }
        });
        Ok(())
    }

    /// With the process go all its sockets. What it had sent may still arrive.
    fn lose_connections(&mut self) -> Checked {
        self.wake_at = None;
        self.asleep.clear();
        (0..self.ends.len()).try_for_each(|client| self.cut(client))?;
        self.lingering.clear();
        self.ledger.forget_connections();
        Ok(())
    }

    fn wires(&self) -> impl Iterator<Item = &Wire> {
        self.ends.iter().filter_map(|end| end.wire.as_ref()).chain(&self.lingering)
    }

    fn wires_mut(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.ends.iter_mut().filter_map(|end| end.wire.as_mut()).chain(&mut self.lingering)
    }
}

fn unusable(error: &str) -> Violation {
    Violation { promise: Promise::P3, what: format!("the room cannot be opened: {error}") }
}
