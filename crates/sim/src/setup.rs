//! What kind of world it is, and what happened in it.

use partysync_protocol::Millis;

use crate::Tamper;

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
    /// Worlds whose rooms hold so much that a snapshot outlives changes.
    pub large: u64,
    /// Snapshots that were older than the room.
    pub older: u64,
    /// Worlds with pages of version 1.
    pub v1: u64,
    /// Pages that were volunteered what they may have missed.
    pub volunteered: u64,
    /// Calls of version 1 that were sent again.
    pub called_again: u64,
    /// Pages that no server can help: they are loaded anew, with nothing stored.
    pub beyond_help: u64,
    /// Devices that lost what they had stored.
    pub wiped: u64,
    /// Faults of the disk that a running room had to bear.
    pub faults: u64,
    /// Worlds with several rooms on one socket.
    pub shared: u64,
    /// Rooms that got an old copy back.
    pub restored: u64,
    /// Clients that got an old state back.
    pub rolled_back: u64,
    /// Worlds with a door.
    pub door: u64,
    /// Tokens that clients were given.
    pub tokens: u64,
    /// Clients that were told that their admission ends.
    pub noticed: u64,
    /// Admissions that ended.
    pub expired: u64,
    /// Rooms that ended on a socket which went on with others.
    pub ended: u64,
    /// Clients that left their room, whose socket went on.
    pub left: u64,
    /// Broadcasts that were left out for a slow reader.
    pub left_out: u64,
    /// Slow readers that were told what they had missed.
    pub caught_up: u64,
    /// Items of the outbox that were delivered.
    pub delivered: u64,
    /// Actions that were sent again.
    pub repeated: u64,
    /// Outcomes that were forgotten.
    pub forgotten: u64,
    /// Clients that were not known any more.
    pub unknown: u64,
    /// Actions before which one was missing.
    pub gaps: u64,
    /// Cursors below a room's floor.
    pub below_floor: u64,
    /// Clients that rooms dropped.
    pub dropped: u64,
    /// Cursors of another history.
    pub other_history: u64,
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
        self.large += other.large;
        self.older += other.older;
        self.v1 += other.v1;
        self.volunteered += other.volunteered;
        self.called_again += other.called_again;
        self.beyond_help += other.beyond_help;
        self.wiped += other.wiped;
        self.faults += other.faults;
        self.shared += other.shared;
        self.restored += other.restored;
        self.rolled_back += other.rolled_back;
        self.door += other.door;
        self.tokens += other.tokens;
        self.noticed += other.noticed;
        self.expired += other.expired;
        self.ended += other.ended;
        self.left += other.left;
        self.left_out += other.left_out;
        self.caught_up += other.caught_up;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.forgotten += other.forgotten;
        self.unknown += other.unknown;
        self.gaps += other.gaps;
        self.below_floor += other.below_floor;
        self.dropped += other.dropped;
        self.other_history += other.other_history;
    }
}
