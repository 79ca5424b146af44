//! Rooms, their clients and all that can happen to them, from one seed.

use partysync_protocol::Millis;
use partysync_room::{Arrived, ConnectionId, Room};

use crate::checks::{Checked, Promise, SITES, Violation, ensure};
use crate::clients::{Core, Device};
use crate::network::Wire;
use crate::pages::Tab;
use crate::setup::{Setup, Stats};
use crate::site::Site;
use crate::{Disk, Rng, Tamper};

/// When worlds begin: 2023-11-14.
const BEGIN: Millis = 1_700_000_000_000;

const DAY_MS: Millis = 24 * 60 * 60 * 1_000;

/// Rounds in which a world without faults must come to rest.
const ROUNDS_TO_REST: usize = 200;

/// Runs a world.
///
/// # Errors
///
/// The first promise that is seen to be broken.
pub fn run(seed: u64, setup: &Setup) -> Result<Stats, Violation> {
    let mut world = World::new(seed, setup);
    (0..world.kind.pages).for_each(|tab| world.open_tab(tab));
    for _ in 0..setup.steps {
        world.step()?;
    }
    world.rest()?;
    Ok(world.count())
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    /// The true time.
    pub(crate) clock: Millis,
    /// How wrong the rooms' clock is.
    pub(crate) skew: Millis,
    max_skew: Millis,
    pub(crate) disk: Disk,
    pub(crate) tamper: Tamper,
    /// Frames tampered with.
    pub(crate) tampered: u64,
    pub(crate) sites: Vec<Site>,
    pub(crate) devices: Vec<Device>,
    pub(crate) tabs: Vec<Tab>,
    /// What pages are known to hold whose connections are about to end.
    pub(crate) arrivals: Vec<(ConnectionId, Arrived)>,
    /// Connections that their clients have left, with what still arrives of them.
    pub(crate) lingering: Vec<Wire>,
    pub(crate) next_connection: u64,
    actions: u64,
    pub(crate) kind: Kind,
    /// Nothing goes wrong any more.
    pub(crate) is_resting: bool,
    pub(crate) stats: Stats,
}

/// What kind of world a seed makes. It is drawn from a source of its own: another kind leaves the worlds that there were as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its rooms hold so much that a snapshot outlives changes (SPEC 8.36), and devices lose what they stored.
    pub(crate) is_large: bool,
    /// Tabs with pages of version 1.
    pages: usize,
    /// Pages send calls again, and the clock does not jump: a call has its name for a day.
    pub(crate) calls_again: bool,
    /// A door admits to its rooms, until a time.
    pub(crate) has_door: bool,
    /// Rooms end on sockets, and are left.
    pub(crate) has_ends: bool,
}

impl Kind {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::new(!seed);
        let is_large = rng.chance(250);
        let pages = if rng.chance(350) { 1 + rng.index(3) } else { 0 };
        let calls_again = pages > 0 && rng.chance(500);
        Kind { is_large, pages, calls_again, has_door: rng.chance(250), has_ends: rng.chance(300) }
    }
}

impl World {
    fn new(seed: u64, setup: &Setup) -> Self {
        let (kind, mut rng) = (Kind::of(seed), Rng::new(seed));
        let disk = Disk::new(rng.word());
        // Most worlds have one room, in which more happens then.
        let sites = if rng.chance(700) && !kind.has_ends { 1 } else { 2 + rng.index(2) };
        let devices = (0..2 + rng.index(2)).map(|i| device(&mut rng, i, sites)).collect();
        World {
            disk,
            devices,
            tabs: Vec::new(),
            arrivals: Vec::new(),
            rng,
            clock: BEGIN,
            skew: 0,
            max_skew: setup.skew_days * DAY_MS,
            tamper: setup.tamper,
            tampered: 0,
            sites: (0..sites).map(Site::new).collect(),
            lingering: Vec::new(),
            next_connection: 1,
            actions: 0,
            kind,
            is_resting: false,
            stats: Stats { shared: u64::from(sites > 1), large: u64::from(kind.is_large), ..Stats::default() },
        }
    }

    /// One thing happens.
    fn step(&mut self) -> Checked {
        self.clock += self.rng.below(if self.kind.has_door { 150 } else { 50 }) as Millis;
        self.mind_the_door()?;
        let device = self.rng.index(self.devices.len());
        let core = self.rng.index(self.devices[device].cores.len());
        let site = self.rng.index(self.sites.len());
        match self.rng.below(1_000) {
            0..30 if self.kind.is_large => self.wipe(device, core),
            30..200 if !self.tabs.is_empty() => self.page_step(),
            200..235 if self.kind.has_ends => self.end_something(device, core),
            235..260 if self.kind.has_ends || self.kind.has_door => self.step_on(device),
            260..300 if self.kind.has_door => self.renew_tokens(device),
            0..380 => self.serve(site),
            380..640 => self.deliver(device),
            640..840 => self.act(device, core),
            840..890 => self.tick(device, core),
            890..940 => self.connect(device),
            940..960 => self.cut(device),
            960..965 => self.reload(device),
            965..970 => self.crash(),
            970..975 => self.kill(),
            975..977 => self.evict(site),
            977..979 => self.hibernate(site),
            979..982 => self.checkpoint(site),
            982..986 => self.fill_disk(),
            986..989 => self.jump(),
            989..991 => self.back_up(site),
            991..993 => self.restore(site),
            993..994 => self.pass_off(site),
            994..999 => self.roll_back(device, core),
            _ => {
                self.clock += self.rng.below(60_000) as Millis;
                Ok(())
            }
        }
    }

    /// The rooms' clock jumps, forward or back, by minutes or months.
    fn jump(&mut self) -> Checked {
        let days = *self.rng.pick(&[0, 0, 1, 2, 31, 100]) * Millis::from(!self.kind.calls_again);
        let jump = days * DAY_MS + self.rng.below(600_000) as Millis;
        let skew = if self.rng.chance(300) { self.skew - jump } else { self.skew + jump };
        self.skew = skew.clamp(-self.max_skew, self.max_skew);
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
        self.is_resting = true;
        for _ in 0..ROUNDS_TO_REST {
            self.clock += 5_000;
            self.mind_the_door()?;
            for device in 0..self.devices.len() {
                self.connect(device)?;
                self.renew_tokens(device)?;
                self.step_on(device)?;
                for core in 0..self.devices[device].cores.len() {
                    self.tick(device, core)?;
                }
            }
            self.rest_tabs()?;
            (0..self.sites.len()).try_for_each(|site| self.serve_all(site))?;
            (0..self.devices.len()).try_for_each(|device| self.deliver_all(device))?;
            self.hear_all()?;
            if self.is_at_rest() {
                (0..self.tabs.len()).try_for_each(|tab| self.check_tab(tab))?;
                if self.clear_helpless()? {
                    continue;
                }
                if self.sites.iter().all(|site| !site.ledger.has_items()) {
                    return self.check_rest();
                }
                // What failed is tried again later; much later, if the clock has been set back since.
                let due_at = self.sites.iter_mut().filter_map(Site::outbox_at).max();
                self.clock = (self.clock + 40 * DAY_MS).max(due_at.map_or(0, |at| at - self.skew));
            }
        }
        let pending = |device: &Device| device.cores.iter().map(|core| core.client.pending().count()).collect();
        let pending: Vec<Vec<usize>> = self.devices.iter().map(pending).collect();
        self.sites.iter().try_for_each(|site| site.ledger.check_all_delivered())?;
        Err(Violation { promise: Promise::P1, what: format!("the world does not come to rest; pending: {pending:?}") })
    }

    fn is_at_rest(&self) -> bool {
        let head = |core: &Core| self.sites[core.site].room.as_ref().map(Room::cursor);
        let is_even = |c: &Core| c.client.is_live() && c.client.pending().count() == 0 && c.client.cursor() == head(c);
        let is_quiet =
            |device: &Device| device.wire.as_ref().is_some_and(Wire::is_quiet) && device.cores.iter().all(is_even);
        let tabs = (0..self.tabs.len()).all(|tab| self.is_tab_at_rest(tab));
        self.lingering.is_empty() && tabs && self.devices.iter().all(is_quiet)
    }

    fn check_rest(&mut self) -> Checked {
        for core in self.devices.iter_mut().flat_map(|device| &mut device.cores) {
            let ledger = &self.sites[core.site].ledger;
            ledger.check_client(&mut core.client)?;
            let (shown, held) = (core.rows(), ledger.head_rows());
            ensure!(shown == held, P1, "at rest a client shows {shown:#?}; the room holds {held:#?}");
        }
        self.devices.iter().filter_map(|device| device.wire.as_ref()).try_for_each(Wire::check_told)?;
        self.sites.iter().try_for_each(|site| site.ledger.check_all_settled())
    }

    fn count(mut self) -> Stats {
        self.stats.v1 = u64::from(!self.tabs.is_empty());
        self.stats.door = u64::from(self.kind.has_door);
        for site in &self.sites {
            let (ledger, stats) = (&site.ledger, &mut self.stats);
            stats.applied += ledger.applied() as u64;
            stats.versions += ledger.head();
            stats.repeated += ledger.counts.repeated;
            stats.forgotten += ledger.counts.forgotten;
            stats.unknown += ledger.counts.unknown;
            stats.gaps += ledger.counts.gaps;
            stats.below_floor += ledger.counts.below_floor;
            stats.dropped += ledger.counts.dropped;
            stats.other_history += ledger.counts.other_history;
            stats.older += ledger.counts.older;
        }
        self.stats
    }

    pub(crate) fn room_now(&self) -> Millis {
        self.clock + self.skew
    }

    /// A number for an action of a room. 0 is the alarms'.
    pub(crate) fn new_nonce(&mut self, site: usize) -> u64 {
        self.actions += 1;
        self.actions * SITES + site as u64
    }
}

/// A device that is in one room at least, and perhaps in others.
fn device(rng: &mut Rng, number: usize, sites: usize) -> Device {
    let mut rooms: Vec<usize> = (0..sites).filter(|site| *site == number % sites || rng.chance(600)).collect();
    // Which is the socket's first room differs.
    let first = rng.index(rooms.len());
    rooms.rotate_left(first);
    let cores = rooms.into_iter().map(|site| Core::new(site, rng.bytes())).collect();
    Device::new(format!("user {number}"), cores)
}
