//! The rooms' side of a world: their home, and how that fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use partysync_model::DbError;
use partysync_protocol::v2;
use partysync_room::{Arrived, ConnectionId, Effect, Event, Input, OpenError, Room, RoomName};
use partysync_sqlite::{Options, SqliteDb};

use crate::app::App;
use crate::checks::{Checked, Promise, Violation, ensure};
use crate::clients::Device;
use crate::network::Wire;
use crate::site::room_name;
use crate::slow::{BACKLOG_BYTES, Kind};
use crate::tamper::{self, SimDb};
use crate::world::World;
use crate::{Fault, Operation, Tamper};

/// Steps that an action may use: fewer than `Action::Spin` wants, more than all others do.
const ACTION_STEPS: u64 = 100_000;

/// In every so many thousandths of batches the disk fails.
const FAULTS_PER_MILLE: u64 = 30;

impl World {
    /// A room takes what has arrived, or starts if it is down.
    pub(crate) fn serve(&mut self, site: usize) -> Checked {
        let size = if self.rng.chance(100) { 60 } else { 1 + self.rng.index(8) };
        self.serve_batch(site, size, true)
    }

    /// A room takes everything, without faults.
    pub(crate) fn serve_all(&mut self, site: usize) -> Checked {
        loop {
            self.serve_batch(site, usize::MAX, false)?;
            let more = self.wires().any(|wire| wire.has_up(site));
            if self.sites[site].room.is_some() && !more {
                return Ok(());
            }
        }
    }

    fn serve_batch(&mut self, site: usize, size: usize, faults: bool) -> Checked {
        if self.sites[site].room.is_none() {
            return self.start(site, faults);
        }
        let events = self.gather(site, size, faults)?;
        if events.is_empty() {
            return Ok(());
        }
        self.stats.groups += u64::from(events.iter().filter(|e| matches!(e, Event::Text { .. })).count() > 1);
        if faults && self.rng.chance(FAULTS_PER_MILLE) {
            self.arm(8);
        }
        self.handle(site, events, faults)
    }

    fn handle(&mut self, site: usize, events: Vec<Event>, faults: bool) -> Checked {
        let now = self.room_now();
        let input = Input { now, random: self.rng.word() };
        let at = &mut self.sites[site];
        let Some(room) = &mut at.room else { return Ok(()) };
        at.ledger.true_now = self.clock;
        self.arrivals.drain(..).for_each(|(connection, arrived)| room.arrived(connection, arrived));
        at.ledger.set_now(now);
        events.iter().try_for_each(|event| at.ledger.arrived(event))?;
        let mut effects = Vec::new();
        let faults_before = self.disk.counts().faults;
        room.handle(input, events, &mut effects);
        let must_reopen = room.must_reopen();
        self.disk.disarm();
        if self.disk.counts().faults > faults_before {
            at.ledger.may_have_missed_haves();
        }
        if self.disk.is_off() {
            return self.crash();
        }
        let is_clean = !must_reopen && !effects.iter().any(|effect| matches!(effect, Effect::Report(_)));
        match at.ledger.observe(room, now, is_clean) {
            Ok(checked) => checked?,
            // The connection has had enough: a home would open the room anew.
            Err(_) => return self.kill(),
        }
        if faults && self.rng.chance(15) {
            // The process dies between the commit and the sockets.
            return if self.rng.chance(500) { self.crash() } else { self.kill() };
        }
        let (told, version) = (sent_to(&effects), self.sites[site].room.as_ref().map(|room| room.cursor().version));
        effects.into_iter().try_for_each(|effect| self.carry_out(site, effect))?;
        for (connection, version) in told.into_iter().zip(version.into_iter().cycle()) {
            let is_time = self.rng.chance(300);
            self.tab_wires_mut()
                .filter(|wire| wire.id() == Some(connection))
                .for_each(|wire| wire.told(version, is_time));
        }
        if must_reopen {
            self.stats.reopened += 1;
            self.hibernate(site)?;
        }
        self.sites[site].ledger.check_batch()
    }

    /// Takes some of what has arrived for a room, from random connections, in order of each.
    fn gather(&mut self, site: usize, size: usize, faults: bool) -> Result<Vec<Event>, Violation> {
        let goodbyes = std::mem::take(&mut self.sites[site].goodbyes).into_iter().map(Event::closed);
        let mut events: Vec<Event> = goodbyes.collect();
        events.extend(self.word(site, faults));
        if self.sites[site].wake_at.is_some_and(|at| at <= self.room_now()) || self.rng.chance(5) {
            self.sites[site].wake_at = None;
            events.push(Event::Alarm);
        }
        let is_later = faults && self.rng.chance(500);
        if !is_later && self.tamper != Tamper::NoCatchUp {
            let caught_up: Vec<Event> = self.wires_mut().filter_map(|wire| wire.end_lag(site)).collect();
            self.stats.caught_up += caught_up.len() as u64;
            events.extend(caught_up);
        }
        let (now, tamper) = (self.clock, self.tamper);
        if tamper != Tamper::NoVolunteer {
            let quiet: Vec<Event> = self.wires_mut().filter_map(|wire| wire.quiet(site, now)).collect();
            self.stats.volunteered += quiet.len() as u64;
            events.extend(quiet);
        }
        while events.len() < size {
            let ready = self.wires().filter(|wire| wire.has_up(site)).count();
            if ready == 0 {
                break;
            }
            let (index, door, name) = (self.rng.index(ready), self.door(faults), self.new_connection());
            let ready = self.wires_mut().filter(|wire| wire.has_up(site)).nth(index);
            let Some(wire) = ready else { break };
            let arriving = wire.next_up(site, door, name);
            if let (Some(Event::Closed { .. }), Some(arrived)) = (arriving.last(), wire.arrived(tamper)) {
                self.arrivals.push(arrived);
            }
            events.extend(arriving);
        }
        self.lingering.retain(|wire| !wire.has_nothing_up());
        Ok(events)
    }

    fn carry_out(&mut self, site: usize, effect: Effect) -> Checked {
        match effect {
            Effect::Send { to, frame } => self.send(site, to, Kind::Answer, &frame, false),
            Effect::Answer { to, frame, bare } => {
                let wire = self.wires().find(|wire| wire.id() == Some(to));
                let is_behind = wire.is_some_and(|wire| wire.down.is_behind());
                self.send(site, to, Kind::Answer, if is_behind { &bare } else { &frame }, false)
            }
            Effect::Broadcast { to, except, since, frame } => {
                let kind = Kind::News { since };
                to.iter().filter(|to| Some(**to) != except).try_for_each(|to| self.send(site, *to, kind, &frame, true))
            }
            Effect::Close { connection, code, reason } => {
                self.sites[site].ledger.closing(connection);
                let is_it = |wire: &Wire| wire.lane_of(connection).is_some();
                let tab = self.tabs.iter().position(|tab| tab.wire.as_ref().is_some_and(is_it));
                let place = self.place_of(connection);
                place.map_or(Ok(()), |(device, place)| self.end_room(device, place, code, &reason))?;
                tab.map_or(Ok(()), |tab| self.cut_tab(tab))
            }
            Effect::Leave { connection, frame } => {
                self.send(site, connection, Kind::Answer, &frame, false)?;
                self.sites[site].ledger.closing(connection);
                if let Some((device, place)) = self.place_of(connection)
                    && let Some(wire) = &mut self.devices[device].wire
                {
                    wire.leave(place);
                    self.sites[site].goodbyes.push(connection);
                }
                Ok(())
            }
            Effect::Track { connection, channels } => {
                let wire = self.wires_mut().find(|wire| wire.id() == Some(connection));
                wire.and_then(|wire| wire.v1.as_mut()).into_iter().for_each(|v1| v1.proof.track(channels));
                Ok(())
            }
            Effect::TellArrived { connection } => {
                let tamper = self.tamper;
                let wire = self.wires().find(|wire| wire.id() == Some(connection));
                let arrived = wire.and_then(|wire| wire.arrived(tamper));
                if let (Some(room), Some((connection, arrived))) = (&mut self.sites[site].room, arrived) {
                    room.arrived(connection, arrived);
                }
                Ok(())
            }
            Effect::WakeAt(at) => {
                self.sites[site].wake_at = at;
                Ok(())
            }
            Effect::Deliver(item) => self.hand_out(site, item),
            _ => Ok(()),
        }
    }

    /// On which device's socket a room is that knows it by this name, and where.
    fn place_of(&self, connection: ConnectionId) -> Option<(usize, usize)> {
        let place = |device: &Device| device.wire.as_ref().and_then(|wire| wire.lane_of(connection));
        self.devices.iter().enumerate().find_map(|(i, device)| Some((i, place(device)?)))
    }

    fn send(&mut self, site: usize, to: ConnectionId, kind: Kind, frame: &str, to_many: bool) -> Checked {
        let Some(text) = tamper::frame(self.tamper, &mut self.tampered, frame) else { return Ok(()) };
        let devices = self.devices.iter_mut().filter_map(|device| device.wire.as_mut());
        let tabs = self.tabs.iter_mut().filter_map(|tab| tab.wire.as_mut());
        let wire = devices.chain(tabs).find(|wire| wire.lane_of(to).is_some());
        let ledger = &mut self.sites[site].ledger;
        let Some((lane, wire)) = wire.and_then(|wire| Some((wire.lane_of(to)?, wire))) else {
            // Its client has left; the room does not know yet. This goes to nobody, so the time of an admission does not matter.
            return ledger.sent(to, &text, to_many);
        };
        if !wire.send_down(lane, kind, text.clone(), self.tamper) {
            self.stats.left_out += 1;
            ledger.left_out(to);
            return Ok(());
        }
        let (frames, bytes) = wire.down.news();
        let fits = bytes <= BACKLOG_BYTES || frames <= 1;
        ensure!(fits, P8, "{frames} frames of {bytes} bytes wait for one reader");
        match v2::Down::parse(&text) {
            Ok(v2::Down::Left(left)) if left.error.is_some() => wire.aboard(lane).ends(),
            Ok(v2::Down::Left(_)) => {}
            _ => ledger.check_stay(to, &text)?,
        }
        self.stats.rejected += u64::from(text.contains(r#""type":"reject""#));
        self.stats.later += u64::from(text.contains(r#""type":"later""#));
        ledger.sent(to, &text, to_many)
    }

    /// Opens a room. It must open whatever happened to it, unless the disk fails right now.
    fn start(&mut self, site: usize, faults: bool) -> Checked {
        let fails = faults && self.rng.chance(100);
        if fails {
            self.arm(40);
        }
        let opened = self.open_as(site, &self.sites[site].file(), &room_name(site));
        self.disk.disarm();
        let was_off = self.disk.is_off();
        let now = self.room_now();
        match opened {
            Ok(mut room) if !was_off => {
                let at = &mut self.sites[site];
                let connections = std::mem::take(&mut at.ledger.connections);
                let checked = at.ledger.reopened(&mut room, now);
                at.ledger.connections = connections;
                at.room = Some(room);
                self.disk.lie(self.tamper == Tamper::LieAboutSyncs);
                match checked {
                    Ok(checked) => checked?,
                    Err(error) => return Err(unusable(&error.to_string())),
                }
                let restored = std::mem::take(&mut self.sites[site].asleep).into_iter();
                let restored = restored.map(|(connection, state)| Event::Restored { connection, state }).collect();
                self.handle(site, restored, false)
            }
            Err(error) if !fails && !was_off && !self.disk.is_full() => Err(unusable(&error.to_string())),
            _ if was_off => self.crash(),
            _ => {
                self.disk.full_at(None);
                self.kill()
            }
        }
    }

    /// Opens a file as a room.
    pub(crate) fn open_as(&mut self, site: usize, file: &str, name: &RoomName) -> Result<Room<App, SimDb>, OpenError> {
        let options = Options { action_steps: ACTION_STEPS, ..self.disk.options() };
        let db = SqliteDb::open(&self.disk.path(file), &options)?;
        let complaints = Arc::clone(&self.sites[site].ledger.complaints);
        let input = Input { now: self.room_now(), random: self.rng.word() };
        Room::open(SimDb::new(db, self.tamper), name.clone(), move || App::new(&complaints), input)
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
        for site in &mut self.sites {
            site.room = None;
            site.ledger.forget_away();
        }
        self.disk.crash();
        self.lose_all()
    }

    /// The rooms' process dies.
    pub(crate) fn kill(&mut self) -> Checked {
        self.stats.kills += 1;
        self.disk.kill_process();
        for site in &mut self.sites {
            site.room = None;
            site.ledger.forget_away();
        }
        self.lose_all()
    }

    /// A room leaves memory in good order, and its sockets are closed.
    pub(crate) fn evict(&mut self, site: usize) -> Checked {
        let ledger = &mut self.sites[site].ledger;
        // Of who was told nothing yet a room that leaves memory keeps nothing.
        let told = ledger.connections.values().filter(|heard| heard.v1.was_told());
        let now = ledger.now;
        ledger.away.extend(told.filter_map(|heard| Some((heard.v1.name.clone()?, now))));
        self.put_to_sleep(site)?;
        self.lose_connections(site)
    }

    /// A room leaves memory in good order, and its sockets stay.
    pub(crate) fn hibernate(&mut self, site: usize) -> Checked {
        self.stats.hibernated += u64::from(self.sites[site].room.is_some());
        self.put_to_sleep(site)
    }

    fn put_to_sleep(&mut self, site: usize) -> Checked {
        let tamper = self.tamper;
        let arrived: Vec<(ConnectionId, Arrived)> = self.wires().filter_map(|wire| wire.arrived(tamper)).collect();
        let may_forget = self.disk.is_full();
        let site = &mut self.sites[site];
        let Some(mut room) = site.room.take() else { return Ok(()) };
        arrived.into_iter().for_each(|(connection, arrived)| room.arrived(connection, arrived));
        // It writes down who is away, if it can.
        if may_forget || room.must_reopen() {
            site.ledger.forget_away();
        }
        let (states, db) = room.hibernate();
        drop(db);
        site.asleep.extend(states);
        Ok(())
    }

    pub(crate) fn checkpoint(&mut self, site: usize) -> Checked {
        // It may fail on a full disk; nothing is lost then.
        let _: Option<Result<(), DbError>> = self.sites[site].room.as_mut().map(|room| {
            let even = room.cursor().version.is_multiple_of(2);
            let db = room.db_mut().inner();
            if even { db.checkpoint() } else { db.copy_log() }
        });
        Ok(())
    }

    /// All sockets end with the process, those too that are in no room any more.
    fn lose_all(&mut self) -> Checked {
        (0..self.sites.len()).try_for_each(|site| self.lose_connections(site))?;
        let left: Vec<usize> = (0..self.devices.len()).filter(|i| self.devices[*i].wire.is_some()).collect();
        left.into_iter().try_for_each(|device| self.cut(device))
    }

    /// With a room's process go all its sockets. What it had sent may still arrive.
    fn lose_connections(&mut self, site: usize) -> Checked {
        self.sites[site].wake_at = None;
        self.sites[site].asleep.clear();
        self.sites[site].goodbyes.clear();
        self.lose_courier(site);
        let carries = |wire: &Option<Wire>| wire.as_ref().is_some_and(|wire| wire.carries(site));
        let hit: Vec<usize> = (0..self.devices.len()).filter(|i| carries(&self.devices[*i].wire)).collect();
        hit.into_iter().try_for_each(|device| self.cut(device))?;
        let hit: Vec<usize> = (0..self.tabs.len()).filter(|i| carries(&self.tabs[*i].wire)).collect();
        hit.into_iter().try_for_each(|tab| self.cut_tab(tab))?;
        self.lingering.iter_mut().for_each(|wire| wire.forget(site));
        self.lingering.retain(|wire| !wire.has_nothing_up());
        self.sites[site].ledger.forget_connections();
        Ok(())
    }

    fn wires(&self) -> impl Iterator<Item = &Wire> {
        let devices = self.devices.iter().filter_map(|device| device.wire.as_ref());
        devices.chain(self.tabs.iter().filter_map(|tab| tab.wire.as_ref())).chain(&self.lingering)
    }

    fn wires_mut(&mut self) -> impl Iterator<Item = &mut Wire> {
        let devices = self.devices.iter_mut().filter_map(|device| device.wire.as_mut());
        devices.chain(self.tabs.iter_mut().filter_map(|tab| tab.wire.as_mut())).chain(&mut self.lingering)
    }

    fn tab_wires_mut(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.tabs.iter_mut().filter_map(|tab| tab.wire.as_mut())
    }
}

/// The connections to which a batch sends something, or whose channels it counts.
fn sent_to(effects: &[Effect]) -> BTreeSet<ConnectionId> {
    let mut all = BTreeSet::new();
    for effect in effects {
        match effect {
            Effect::Send { to, .. } | Effect::Answer { to, .. } | Effect::Track { connection: to, .. } => {
                all.insert(*to);
            }
            Effect::Broadcast { to, except, .. } => all.extend(to.iter().filter(|to| Some(**to) != *except)),
            _ => {}
        }
    }
    all
}

fn unusable(error: &str) -> Violation {
    Violation { promise: Promise::P3, what: format!("the room cannot be opened: {error}") }
}
