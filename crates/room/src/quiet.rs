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
        if connection.protocol.synced().is_none() {
            return;
        }
        // With another number of channels it was sent some that are not known to have arrived.
        let is_of_all = connection.asked.count_ones() == u32::from(arrived.channels);
        let is_more = connection.arrival.is_none_or(|known| known.version <= arrived.version);
        if is_of_all && is_more && arrived.version <= newest {
            connection.arrival = Some(Arrival { version: arrived.version, channels: connection.asked });
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
        // One that was told nothing adds nothing to what is known of others.
        if synced != 0 || self.away.get(&name).is_none() {
            self.away.leave(&name, connection.arrival, self.input.now);
        } else {
            self.away.seen(&name, self.input.now);
        }
    }

    /// Volunteers to a socket that was quiet for long what it may have missed.
    pub(crate) fn volunteer(&mut self, to: ConnectionId, effects: &mut Vec<Effect>) {
        let all = (0..self.channels.len()).fold(0, |bits, channel| bits | 1 << channel);
        let Some(connection) = self.connections.get_mut(to) else { return };
        let Some(synced) = connection.protocol.synced() else { return };
        let arrival = match self.whose(to) {
            Known::Page(arrival) => {
                // Without having asked for anything: it is that of a page which was there before. Any other may be of a new page with the same name.
                if synced == 0 {
                    self.take_place(to, arrival);
                }
                arrival
            }
            // A page that has just opened, and asks for what it wants.
            Known::No if synced != 0 => return,
            Known::No => None,
        };
        let missed = all & !synced;
        let mut frames = Vec::new();
        for channel in (0..self.channels.len()).filter(|channel| missed & 1 << channel != 0) {
            let since = arrival.and_then(|arrival| arrival.of(channel));
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
        if let Some(connection) = self.connections.get_mut(to).filter(|_| missed != 0) {
            connection.volunteered = (missed, self.head.at);
        }
        self.listens(to, all, missed & arrival.map_or(0, |arrival| arrival.channels), effects);
    }

    /// Whether a socket that was quiet for long may be sent anything for that. Most belong to pages that have just opened.
    pub(crate) fn may_be_volunteered(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let is_known = |name: String| self.away.get(&name).is_some() || !self.connections.siblings(id, 1).is_empty();
        connection.protocol.synced() == Some(0) || away::name(&connection.info).is_some_and(is_known)
    }

    /// Which `from` a sync is answered by. A page stores an update that comes before it has read what it had stored, and asks from that on. So its
    /// time says what it has only if it was sent nothing of the channel before it asked: not here after the channel was volunteered, nor on
    /// another connection, unless it had asked there and got its answer.
    pub(crate) fn believed(&mut self, id: ConnectionId, channel: usize, from: From) -> From {
        let Some(connection) = self.connections.get_mut(id) else { return from };
        let (channels, at) = connection.volunteered;
        connection.volunteered.0 &= !(1 << channel);
        let From::Time(time) = from else { return from };
        let is_synced = connection.protocol.synced().is_some_and(|synced| synced & 1 << channel != 0);
        let has_all = if channels & 1 << channel != 0 {
            time <= at
        } else {
            is_synced
                || match self.whose(id) {
                    Known::No => true,
                    Known::Page(arrival) => arrival.and_then(|arrival| arrival.of(channel)).is_some(),
                }
        };
        if has_all { from } else { From::Unknown }
    }

    /// A socket gets the updates of these channels from now on, for some of which its page `has_asked`. What arrives at one without a name need
    /// not be known: it is not known again.
    pub(crate) fn listens(
        &mut self,
        connection: ConnectionId,
        channels: u64,
        has_asked: u64,
        effects: &mut Vec<Effect>,
    ) {
        let count = self.connections.set_synced(connection, channels, has_asked);
        let count = count.and_then(|count| u8::try_from(count).ok());
        let is_named = self.connections.get_mut(connection).is_some_and(|c| away::name(&c.info).is_some());
        effects.extend(count.filter(|_| is_named).map(|channels| Effect::Track { connection, channels }));
    }

    /// Finds out whose connection this is.
    fn whose(&self, id: ConnectionId) -> Known {
        let Some(name) = self.connections.get(id).and_then(|c| away::name(&c.info)) else { return Known::No };
        let siblings = self.connections.siblings(id, SIBLINGS + 1);
        let arrivals = siblings.iter().map(|id| self.connections.get(*id).and_then(|c| c.arrival));
        let gone = self.away.get(&name).map(|gone| gone.arrival);
        match gone.into_iter().chain(arrivals).reduce(Arrival::least) {
            Some(least) => Known::Page(least.filter(|_| siblings.len() <= SIBLINGS)),
            None => Known::No,
        }
    }

    /// A connection takes the place of another of its page.
    fn take_place(&mut self, id: ConnectionId, arrival: Option<Arrival>) {
        let Some(name) = self.connections.get(id).and_then(|c| away::name(&c.info)) else { return };
        if self.away.get(&name).is_some() {
            self.away.come_back(&name);
        } else {
            // Of several that it may be, the one that has most is taken to be it: what stays is the least that any has.
            let siblings = self.connections.siblings(id, SIBLINGS + 1).into_iter();
            let version = |id: &ConnectionId| self.connections.get(*id)?.arrival.map(|arrival| arrival.version);
            let newest = siblings.max_by_key(version);
            if let Some(followed) = newest.and_then(|id| self.connections.get_mut(id)) {
                followed.is_followed = true;
            }
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.arrival = arrival;
        }
    }

    /// What changed in a channel after a version, as an update: live rows and tombstones. Below the floor, and of no version, everything
    /// that there is. `None` if that is nothing.
    pub(crate) fn v1_update_since(&mut self, channel: usize, since: Option<Version>) -> Result<Option<Frame>, DbError> {
        match since {
            Some(since) if since >= self.head.cursor.version => Ok(None),
            Some(since) if since >= self.floor => {
                let (rows, dead) = self.v1_changes(channel, since)?;
                let dead = self.tombstones(channel, &dead, self.head.at);
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
