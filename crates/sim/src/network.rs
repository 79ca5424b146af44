//! Connections: frames arrive in order, some time after they were sent, or never. One connection carries one room or several.

use std::collections::VecDeque;

use partysync_protocol::v2::Up as Message;
use partysync_room::{ConnectionId, ConnectionInfo, Event};

use crate::Tamper;
use crate::slow::{Backlog, Kind};

/// One socket, with what is under way on it.
pub(crate) struct Wire {
    identity: String,
    lanes: Vec<Lane>,
    up: VecDeque<(usize, Up)>,
    pub(crate) down: Backlog,
}

/// A room on a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Which of the world's rooms.
    pub(crate) site: usize,
    /// As what that room knows the socket.
    pub(crate) id: ConnectionId,
}

enum Up {
    Opened,
    Text(String),
    Closed,
}

impl Wire {
    /// A socket whose reader has to read before more than `window` bytes are under way to it.
    pub(crate) fn new(lanes: Vec<Lane>, identity: String, window: usize) -> Self {
        let up = (0..lanes.len()).map(|lane| (lane, Up::Opened)).collect();
        Wire { identity, down: Backlog::new(lanes.len(), window), lanes, up }
    }

    /// The client of a lane sends a frame. What the socket speaks is said once.
    pub(crate) fn send_up(&mut self, lane: usize, text: String) {
        if lane == 0 || !Message::is_hello(&text) {
            self.up.push_back((lane, Up::Text(text)));
        }
    }

    /// A room sends a frame; returns whether it is not left out.
    pub(crate) fn send_down(&mut self, lane: usize, kind: Kind, text: String, tamper: Tamper) -> bool {
        self.down.push(lane, kind, text, tamper)
    }

    /// What arrives at a room next.
    pub(crate) fn next_up(&mut self, site: usize) -> Option<Event> {
        let index = self.up.iter().position(|(lane, _)| self.lanes[*lane].site == site)?;
        let (lane, up) = self.up.remove(index)?;
        let connection = self.lanes[lane].id;
        Some(match up {
            Up::Opened => {
                let info = ConnectionInfo { identity: Some(self.identity.clone()), ..ConnectionInfo::default() };
                if lane > 0 {
                    Event::OpenedV2 { connection, info, is_further: true }
                } else {
                    Event::Opened { connection, info }
                }
            }
            Up::Text(text) => Event::Text { connection, text },
            Up::Closed => Event::closed(connection),
        })
    }

    /// What a room is to be told of readers that have caught up with what they were sent.
    pub(crate) fn end_lag(&mut self, site: usize) -> Option<Event> {
        let (index, lane) = self.lanes.iter().enumerate().find(|(_, lane)| lane.site == site)?;
        let since = self.down.end_lag(index)?;
        Some(Event::CatchUp { connection: lane.id, since })
    }

    /// What tells it from other sockets.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.lanes.first().map(|lane| lane.id)
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether the home reads something for a room.
    pub(crate) fn has_up(&self, site: usize) -> bool {
        !self.down.is_over() && self.up.iter().any(|(lane, _)| self.lanes[*lane].site == site)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.up.is_empty() && self.down.is_empty() && !self.down.is_behind()
    }

    pub(crate) fn has_nothing_up(&self) -> bool {
        self.up.is_empty()
    }

    /// The connection breaks: so many frames still arrive at the rooms, then they learn.
    pub(crate) fn cut_up(&mut self, arriving: usize) {
        self.up.truncate(arriving);
        self.up.retain(|(_, up)| !matches!(up, Up::Closed));
        self.up.extend((0..self.lanes.len()).map(|lane| (lane, Up::Closed)));
        self.down = Backlog::new(self.lanes.len(), usize::MAX);
    }

    /// A room's process is gone: what was for it will not arrive.
    pub(crate) fn forget(&mut self, site: usize) {
        self.up.retain(|(lane, _)| self.lanes[*lane].site != site);
    }

    /// Frames under way to the rooms.
    pub(crate) fn up_len(&self) -> usize {
        self.up.len()
    }

    /// The lane that a room knows by this name.
    pub(crate) fn lane_of(&self, id: ConnectionId) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.id == id)
    }

    pub(crate) fn carries(&self, site: usize) -> bool {
        self.lanes.iter().any(|lane| lane.site == site)
    }
}
