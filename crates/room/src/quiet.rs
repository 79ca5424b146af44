//! What version 1 connections that come back are volunteered (SPEC 12.11): their pages ask for a channel once, and not again.

use partysync_model::{Db, DbError};
use partysync_protocol::Version;
use partysync_protocol::v1::{self, From};

use crate::away::{self, Arrival};
use crate::connection::Connection;
use crate::event::{Arrived, ConnectionId, Effect, Frame, Report};
use crate::reply::push_comma;
use crate::{Room, SyncServer};

/// Open sockets of one name that are asked what arrived there. Of more, nothing is taken to have arrived: each one that opens would ask
/// all others.
const SIBLINGS: usize = 8;

/// What is known of a page that a connection may be of: nothing at all, or what arrived there.
#[derive(Debug, Clone, Copy)]
enum Known {
    No,
    Page(Option<Arrival>),
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Takes note of what is known to have arrived at a socket. The home says so before it hands in [`Event::Closed`](crate::Event::Closed),
    /// when it is asked with [`Effect::TellArrived`], and before the room [hibernates](Self::hibernate). A home that cannot know need not.
    pub fn arrived(&mut self, connection: ConnectionId, arrived: Arrived) {
        let newest = self.head.cursor.version;
        let Some(connection) = self.connections.get_mut(connection) else { return };
        let Some(synced) = connection.protocol.synced() else { return };
        // With another number of channels it was sent some that are not known to have arrived.
        let is_of_all = synced.count_ones() == u32::from(arrived.channels);
        let is_more = connection.arrival.is_none_or(|known| known.version <= arrived.version);
        if is_of_all && is_more && arrived.version <= newest {
            connection.arrival = Some(Arrival { version: arrived.version, channels: synced });
        }
    }

    /// Asks about sockets whose place one that has just opened may take.
    pub(crate) fn ask_siblings(&self, connection: ConnectionId, effects: &mut Vec<Effect>) {
        let siblings = self.connections.siblings(connection, SIBLINGS);
        effects.extend(siblings.into_iter().map(|connection| Effect::TellArrived { connection }));
    }

    /// Remembers a connection that is gone, if its page may come back. One that left with 1001 is a page that was left.
    pub(crate) fn remember(&mut self, connection: &Connection, code: Option<u16>) {
        let Some(name) = away::name(&connection.info).filter(|_| code != Some(1001)) else { return };
        let Some(synced) = connection.protocol.synced().filter(|_| !connection.is_followed) else { return };
        // One that was told nothing adds nothing to what is known.
        if synced != 0 || self.away.get(&name).is_none() {
            self.away.leave(&name, connection.arrival, self.input.now);
        }
    }

    /// Volunteers to a socket that was quiet for long what it may have missed.
    pub(crate) fn volunteer(&mut self, to: ConnectionId, effects: &mut Vec<Effect>) {
        let all = (0..self.channels.len()).fold(0, |bits, channel| bits | 1 << channel);
        let Some(connection) = self.connections.get_mut(to) else { return };
        let Some(synced) = connection.protocol.synced() else { return };
        let arrival = match self.whose(to, synced == 0) {
            Known::Page(arrival) => arrival,
            // A page that has just opened, and asks for what it wants.
            Known::No if synced != 0 => return,
            Known::No => None,
        };
        let mut frames = Vec::new();
        let mut whole = 0;
        for channel in (0..self.channels.len()).filter(|channel| synced & 1 << channel == 0) {
            let since = arrival.and_then(|arrival| arrival.of(channel));
            whole |= u64::from(since.is_none()) << channel;
            match self.v1_update_since(channel, since) {
                Ok(frame) => frames.extend(frame),
                Err(error) => {
                    effects.push(Effect::Report(Report { during: "what a client missed", error: error.to_string() }));
                    // It comes back, and is volunteered it then.
                    let reason = "the server failed".into();
                    effects.push(Effect::Close { connection: to, code: 1011, reason });
                    return;
                }
            }
        }
        effects.extend(frames.into_iter().map(|frame| Effect::Send { to, frame }));
        if let Some(connection) = self.connections.get_mut(to) {
            connection.whole = (whole, self.head.at);
        }
        self.listens(to, all, effects);
    }

    /// Whether a socket that was quiet for long may be sent anything for that. Most belong to pages that have just opened.
    pub(crate) fn may_be_volunteered(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let is_known = |name: String| self.away.get(&name).is_some() || !self.connections.siblings(id, 1).is_empty();
        connection.protocol.synced() == Some(0) || away::name(&connection.info).is_some_and(is_known)
    }

    /// Which `from` a sync is answered by. A page stores an update that comes before it has read what it had stored, and asks from that on. So one
    /// that was volunteered a channel whole, perhaps before it wanted it, is not believed if it asks from later than that.
    pub(crate) fn believed(&mut self, id: ConnectionId, channel: usize, from: From) -> From {
        let Some(Connection { whole: (channels, at), .. }) = self.connections.get_mut(id) else { return from };
        let was_volunteered = *channels & 1 << channel != 0;
        *channels &= !(1 << channel);
        match from {
            From::Time(time) if was_volunteered && time > *at => From::Unknown,
            from => from,
        }
    }

    /// A socket gets the updates of these channels from now on. What arrives at one without a name need not be known: it is not known again.
    pub(crate) fn listens(&mut self, connection: ConnectionId, channels: u64, effects: &mut Vec<Effect>) {
        let count = self.connections.set_synced(connection, channels).and_then(|count| u8::try_from(count).ok());
        let is_named = self.connections.get_mut(connection).is_some_and(|c| away::name(&c.info).is_some());
        effects.extend(count.filter(|_| is_named).map(|channels| Effect::Track { connection, channels }));
    }

    /// Finds out whose connection this is. One that `came_back` without asking for anything is that of a page which was there before: it takes
    /// that one's place. Any other may be of a new page with the same name.
    fn whose(&mut self, id: ConnectionId, came_back: bool) -> Known {
        let Some(name) = self.connections.get_mut(id).and_then(|c| away::name(&c.info)) else { return Known::No };
        let siblings = self.connections.siblings(id, SIBLINGS + 1);
        let gone = self.away.get(&name);
        let arrivals: Vec<Option<Arrival>> =
            siblings.iter().map(|id| self.connections.get_mut(*id).and_then(|c| c.arrival)).collect();
        let least = gone.map(|gone| gone.arrival).into_iter().chain(arrivals.iter().copied()).reduce(Arrival::least);
        let Some(least) = least else { return Known::No };
        let least = least.filter(|_| siblings.len() <= SIBLINGS);
        if came_back {
            // Of several that it may be, the one that has most is taken to be it: what stays is the least that any has.
            let newest = siblings.iter().zip(&arrivals).max_by_key(|(_, arrival)| arrival.map(|a| a.version));
            if gone.is_some() {
                self.away.come_back(&name);
            } else if let Some(followed) = newest.and_then(|(id, _)| self.connections.get_mut(*id)) {
                followed.is_followed = true;
            }
            if let Some(connection) = self.connections.get_mut(id) {
                connection.arrival = least;
            }
        }
        Known::Page(least)
    }

    /// What changed in a channel after a version, as an update: live rows and tombstones. Below the floor, and of no version, everything
    /// that there is. `None` if that is nothing.
    pub(crate) fn v1_update_since(&mut self, channel: usize, since: Option<Version>) -> Result<Option<Frame>, DbError> {
        match since {
            Some(since) if since >= self.head.cursor.version => Ok(None),
            Some(since) if since >= self.floor => {
                let (rows, dead) = self.v1_changes(channel, since)?;
                Ok(self.update_of(channel, rows, &dead))
            }
            _ => self.v1_everything(channel),
        }
    }

    pub(crate) fn update_of(&self, channel: usize, mut rows: String, dead: &str) -> Option<Frame> {
        if !dead.is_empty() {
            push_comma(&mut rows);
            rows.push_str(dead);
        }
        (!rows.is_empty()).then(|| v1::update(&self.channels[channel].name, &rows).into())
    }
}
