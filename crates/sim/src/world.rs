//! A room, its clients and all that can happen to them, from one seed.

use partysync_protocol::Millis;
use partysync_room::{ConnectionId, ConnectionState, Room};

use crate::app::App;
use crate::checks::{Checked, Ledger, Promise, Violation, ensure};
use crate::clients::End;
use crate::network::Wire;
use crate::tamper::SimDb;
use crate::{Disk, Rng, Tamper};

/// When worlds begin: 2023-11-14.
const BEGIN: Millis = 1_700_000_000_000;

const DAY_MS: Millis = 24 * 60 * 60 * 1_000;

/// Rounds in which a world without faults must come to rest.
const ROUNDS_TO_REST: usize = 200;

/// What kind of world it is.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many things happen before it is left to come to rest.
    pub steps: usize,
    /// How the room is broken.
    pub tamper: Tamper,
    /// How wrong the room's clock may be, in days, ahead or behind. After 30 days the room forgets outcomes and history,
    /// after 90 days clients.
    pub skew_days: Millis,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { steps: 400, tamper: Tamper::None, skew_days: 40 }
    }
}

/// What happened in a world, so that one sees that something did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Actions and alarms that were applied.
    pub applied: u64,
    /// Versions that they made.
    pub versions: u64,
    /// Actions that were rejected for good.
    pub rejected: u64,
    /// Answers that put an action off.
    pub later: u64,
    /// Batches of more than one action.
    pub groups: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Deaths of the room's process.
    pub kills: u64,
    /// Times that the room slept while its sockets stayed.
    pub hibernated: u64,
    /// Those of them that were to open the room anew after its disk failed.
    pub reopened: u64,
    /// Connections that broke.
    pub cuts: u64,
    /// Snapshots that replaced what a client held.
    pub resets: u64,
    /// Faults of the disk that a running room had to bear.
    pub faults: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.applied += other.applied;
        self.versions += other.versions;
        self.rejected += other.rejected;
        self.later += other.later;
        self.groups += other.groups;
        self.crashes += other.crashes;
        self.kills += other.kills;
        self.hibernated += other.hibernated;
        self.reopened += other.reopened;
        self.cuts += other.cuts;
        self.resets += other.resets;
        self.faults += other.faults;
    }
}

/// Runs a world.
///
/// # Errors
///
/// The first promise that is seen to be broken.
pub fn run(seed: u64, setup: &Setup) -> Result<Stats, Violation> {
    let mut world = World::new(seed, setup);
    for _ in 0..setup.steps {
        world.step()?;
    }
    world.rest()?;
    world.stats.applied = world.ledger.applied() as u64;
    world.stats.versions = world.ledger.head();
    Ok(world.stats)
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    /// The true time.
    pub(crate) clock: Millis,
    /// How wrong the room's clock is.
    pub(crate) skew: Millis,
    max_skew: Millis,
    pub(crate) disk: Disk,
    pub(crate) tamper: Tamper,
    /// Frames tampered with.
    pub(crate) tampered: u64,
    pub(crate) room: Option<Room<App, SimDb>>,
    /// What it gave back of its sockets when it went to sleep.
    pub(crate) asleep: Vec<(ConnectionId, ConnectionState)>,
    pub(crate) wake_at: Option<Millis>,
    pub(crate) ends: Vec<End>,
    /// Connections that their clients have left, with what still arrives of them.
    pub(crate) lingering: Vec<Wire>,
    pub(crate) next_connection: u64,
    pub(crate) next_nonce: u64,
    pub(crate) ledger: Ledger,
    pub(crate) stats: Stats,
}

impl World {
    fn new(seed: u64, setup: &Setup) -> Self {
        let mut rng = Rng::new(seed);
        let disk = Disk::new(rng.word());
        let ends = (0..2 + rng.index(2)).map(|i| End::new(format!("user {i}"), rng.bytes())).collect();
        World {
            disk,
            ends,
            rng,
            clock: BEGIN,
            skew: 0,
            max_skew: setup.skew_days * DAY_MS,
            tamper: setup.tamper,
            tampered: 0,
            room: None,
            asleep: Vec::new(),
            wake_at: None,
            lingering: Vec::new(),
            next_connection: 1,
            next_nonce: 1,
            ledger: Ledger::new(),
            stats: Stats::default(),
        }
    }

    /// One thing happens.
    fn step(&mut self) -> Checked {
        self.clock += self.rng.below(50) as Millis;
        let client = self.rng.index(self.ends.len());
        match self.rng.below(1_000) {
            0..380 => self.serve(),
            380..640 => self.deliver(client),
            640..850 => self.act(client),
            850..900 => self.tick(client),
            900..950 => self.connect(client),
            950..970 => self.cut(client),
            970..975 => self.reload(client),
            975..980 => self.crash(),
            980..985 => self.kill(),
            985..987 => self.evict(),
            987..988 => self.hibernate(),
            988..991 => self.checkpoint(),
            991..995 => self.fill_disk(),
            995..998 => self.jump(),
            _ => {
                self.clock += self.rng.below(60_000) as Millis;
                Ok(())
            }
        }
    }

    /// The room's clock jumps, forward or back, by minutes or months.
    fn jump(&mut self) -> Checked {
        let days = *self.rng.pick(&[0, 0, 1, 2, 31, 100]);
        let jump = days * DAY_MS + self.rng.below(600_000) as Millis;
        let skew = if self.rng.chance(300) { self.skew - jump } else { self.skew + jump };
        self.skew = skew.clamp(-self.max_skew, self.max_skew);
        // Jumps of days add up.
        self.ledger.may_forget |= days > 0;
        Ok(())
    }

    /// The disk is full, or has room again.
    fn fill_disk(&mut self) -> Checked {
        let room = self.rng.below(100_000) as usize;
        let full = self.rng.chance(600).then(|| self.disk.used() + room);
        self.disk.full_at(full);
        Ok(())
    }

    /// Without further faults everything has to come to rest: all know all (P1).
    fn rest(&mut self) -> Checked {
        self.disk.full_at(None);
        for _ in 0..ROUNDS_TO_REST {
            self.clock += 5_000;
            self.serve_all()?;
            for client in 0..self.ends.len() {
                self.connect(client)?;
                self.deliver_all(client)?;
                self.tick(client)?;
            }
            if self.is_at_rest() {
                self.serve_all()?;
                return self.check_rest();
            }
        }
        let pending: Vec<usize> = self.ends.iter().map(|end| end.client.pending().count()).collect();
        Err(Violation { promise: Promise::P1, what: format!("the world does not come to rest; pending: {pending:?}") })
    }

    fn is_at_rest(&self) -> bool {
        let head = self.room.as_ref().map(Room::cursor);
        let quiet = |end: &End| {
            let idle = end.wire.as_ref().is_some_and(|wire| !wire.has_up() && !wire.has_down());
            idle && end.client.is_live() && end.client.pending().count() == 0 && end.client.cursor() == head
        };
        self.lingering.is_empty() && self.ends.iter().all(quiet)
    }

    fn check_rest(&mut self) -> Checked {
        for end in &mut self.ends {
            self.ledger.check_client(&mut end.client)?;
            let shown = end.rows();
            let held = self.ledger.head_rows();
            ensure!(shown == held, P1, "at rest a client shows {shown:#?}; the room holds {held:#?}");
        }
        self.ledger.check_all_settled()
    }

    pub(crate) fn room_now(&self) -> Millis {
        self.clock + self.skew
    }

    pub(crate) fn new_connection(&mut self) -> ConnectionId {
        self.next_connection += 1;
        ConnectionId(self.next_connection)
    }
}
