//! Connections: frames arrive in order, some time after they were sent, or never. One connection carries one room or several.

use std::collections::VecDeque;

use partysync_protocol::v2::Up as Message;
use partysync_protocol::{Millis, Version, limits};
use partysync_room::{Arrived, ConnectionId, ConnectionInfo, Event};

use crate::Tamper;
use crate::proof::{Mark, Proof};
use crate::slow::{Backlog, Down, Kind};

/// One socket, with what is under way on it.
pub(crate) struct Wire {
    identity: String,
    lanes: Vec<Lane>,
    up: VecDeque<(usize, Up)>,
    pub(crate) down: Backlog,
    /// If a page of version 1 has it.
    pub(crate) v1: Option<V1>,
}

/// What a home has to know of a socket that may speak version 1.
pub(crate) struct V1 {
    /// The page's `_pk`.
    key: Option<String>,
    /// When the room hears that it has been open for a while; `None`: it has.
    quiet_at: Option<Millis>,
    pub(crate) proof: Proof,
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
    Pong(Mark),
    /// Perhaps with a code.
    Closed(Option<u16>),
}

impl Wire {
    /// A socket whose reader has to read before more than `window` bytes are under way to it.
    pub(crate) fn new(lanes: Vec<Lane>, identity: String, window: usize) -> Self {
        let up = (0..lanes.len()).map(|lane| (lane, Up::Opened)).collect();
        Wire { identity, down: Backlog::new(lanes.len(), window), lanes, up, v1: None }
    }

    /// The socket of a version 1 page, opened now.
    pub(crate) fn of_page(lane: Lane, identity: String, key: Option<String>, window: usize, now: Millis) -> Self {
        let v1 = V1 { key, quiet_at: Some(now + limits::QUIET_MS as Millis), proof: Proof::default() };
        Wire { v1: Some(v1), ..Wire::new(vec![lane], identity, window) }
    }

    /// The client of a lane sends a frame. What the socket speaks is said once.
    pub(crate) fn send_up(&mut self, lane: usize, text: String) {
        if lane == 0 || !Message::is_hello(&text) {
            self.up.push_back((lane, Up::Text(text)));
        }
    }

    /// The page's browser answers a ping.
    pub(crate) fn pong(&mut self, mark: Mark) {
        self.up.push_back((0, Up::Pong(mark)));
    }

    /// A room sends a frame; returns whether it is not left out.
    pub(crate) fn send_down(&mut self, lane: usize, kind: Kind, text: String, tamper: Tamper) -> bool {
        self.down.push(lane, kind, Down::Text(text), tamper)
    }

    /// A page was sent all that shows up to a version.
    pub(crate) fn told(&mut self, version: Version, is_time: bool) {
        let Some(v1) = self.v1.as_mut().filter(|_| !self.down.is_behind()) else { return };
        if let Some(mark) = v1.proof.told(version, is_time) {
            self.down.push(0, Kind::Answer, Down::Ping(mark), Tamper::None);
        }
    }

    /// A page that is silent is asked what it has.
    pub(crate) fn ping(&mut self) {
        if let Some(mark) = self.v1.as_mut().and_then(|v1| v1.proof.owed()) {
            self.down.push(0, Kind::Answer, Down::Ping(mark), Tamper::None);
        }
    }

    /// What is known to have arrived at a page.
    pub(crate) fn arrived(&self, tamper: Tamper) -> Option<(ConnectionId, Arrived)> {
        Some((self.id()?, self.v1.as_ref()?.proof.arrived(tamper == Tamper::BelieveSent)?))
    }

    /// Whether the room was told that the socket is quiet; it is told now if it is time.
    pub(crate) fn quiet(&mut self, site: usize, now: Millis) -> Option<Event> {
        let is_open = self.carries(site) && !self.up.iter().any(|(_, up)| matches!(up, Up::Opened));
        let connection = self.id()?;
        let v1 = self.v1.as_mut()?;
        v1.quiet_at.take_if(|at| is_open && *at <= now).map(|_| Event::Quiet { connection })
    }

    /// Whether the room is still to be told that the socket is quiet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.v1.as_ref().is_some_and(|v1| v1.quiet_at.is_some())
    }

    /// What arrives at a room next.
    pub(crate) fn next_up(&mut self, site: usize) -> Option<Event> {
        let index = self.up.iter().position(|(lane, _)| self.lanes[*lane].site == site)?;
        let (lane, up) = self.up.remove(index)?;
        let connection = self.lanes[lane].id;
        Some(match up {
            Up::Opened => {
                let key = self.v1.as_ref().and_then(|v1| v1.key.clone());
                let info = ConnectionInfo { key, identity: Some(self.identity.clone()), data: None };
                if lane > 0 {
                    Event::OpenedV2 { connection, info, is_further: true }
                } else {
                    Event::Opened { connection, info }
                }
            }
            Up::Text(text) => Event::Text { connection, text },
            Up::Pong(mark) => {
                self.v1.iter_mut().for_each(|v1| v1.proof.pong(mark));
                return self.next_up(site);
            }
            Up::Closed(code) => Event::Closed { connection, code, reason: String::new() },
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
        self.close_up(arriving, None);
    }

    /// It ends with a code, which the rooms hear behind so many frames.
    pub(crate) fn close_up(&mut self, arriving: usize, code: Option<u16>) {
        self.up.truncate(arriving);
        self.up.retain(|(_, up)| !matches!(up, Up::Closed(_)));
        self.up.extend((0..self.lanes.len()).map(|lane| (lane, Up::Closed(code))));
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
