//! What a room knows of each socket.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use partysync_protocol::{ClientId, Millis, Version, limits};

use crate::away::Arrival;
use crate::sorted::SortedMap;
use crate::{ConnectionId, ConnectionInfo};

/// A socket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) protocol: Protocol,
    /// What the app sent it before it said what it speaks (SPEC 14.6).
    pub(crate) early: Vec<Arc<str>>,
    /// It carries another room, where it was welcomed: it leaves this one for good.
    pub(crate) is_further: bool,
    /// Of version 1: what is known to have arrived.
    pub(crate) arrival: Option<Arrival>,
    /// The channels that its page is known to have asked for, a bit each: here, or on the connection whose place this one took. What arrives
    /// of any other may be of no use to it.
    pub(crate) asked: u64,
    /// The channels that it was volunteered and has not asked for since, a bit each, and the time of the newest version then.
    pub(crate) volunteered: (u64, Millis),
    /// Another socket of the same page took its place (SPEC 12.11).
    pub(crate) is_followed: bool,
}

impl Connection {
    pub(crate) fn new(info: Arc<ConnectionInfo>, protocol: Protocol) -> Self {
        Connection {
            info,
            protocol,
            early: Vec::new(),
            is_further: false,
            arrival: None,
            asked: 0,
            volunteered: (0, 0),
            is_followed: false,
        }
    }

    /// Keeps a message of the app for when it turns out that it should have been sent otherwise.
    pub(crate) fn keep_early(&mut self, text: &Arc<str>) {
        let kept: usize = self.early.iter().map(|text| text.len()).sum();
        if kept + text.len() <= limits::EARLY_MESSAGE_BYTES {
            self.early.push(Arc::clone(text));
        }
    }
}

/// What a socket speaks (SPEC 8.2).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// Its first frame decides. With the channels that it was volunteered, a bit each.
    Unknown { synced: u64 },
    /// Version 1, with the channels it has had an answer for or was volunteered, a bit each.
    V1 { synced: u64 },
    /// Version 2, by its subprotocol. `hello` has to come first.
    Greeting,
    /// Version 2, welcomed; in the room if it has joined.
    V2 { joined: Option<Joined> },
    /// The room has it closed: nothing that it sends counts any more.
    Closing,
}

impl Protocol {
    /// The channels of which a socket gets version 1's updates, if it speaks version 1 or may turn out to.
    pub(crate) fn synced(self) -> Option<u64> {
        match self {
            Protocol::Unknown { synced } | Protocol::V1 { synced } => Some(synced),
            Protocol::Greeting | Protocol::V2 { .. } | Protocol::Closing => None,
        }
    }
}

/// A version 2 client in the room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    pub(crate) client: ClientId,
    /// The highest number whose outcome it has, as it said since it joined (SPEC 6.6, 8.15).
    pub(crate) known: u64,
    /// The room's version when it first joined under its id; `None` if that is now.
    pub(crate) born: Option<Version>,
    /// It first joined on this socket, and no client was dropped since, nor did the room sleep: so it was not dropped, whatever the version.
    pub(crate) is_newborn: bool,
    /// Whether its snapshot or catch-up was sent, so that patches follow.
    pub(crate) live: bool,
    /// It has asked to leave in this batch, and is answered what it asked for before. What it sends after that is of nobody in the room.
    pub(crate) is_leaving: bool,
}

impl Joined {
    /// Its birth, as far as it tells whether the client may have been dropped (SPEC 6.7).
    pub(crate) fn birth(&self) -> Option<Version> {
        self.born.filter(|_| !self.is_newborn)
    }
}

/// All sockets of the room, and who listens to what.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: SortedMap<ConnectionId, Connection>,
    /// Those with a `_pk`, by its hash.
    keys: SortedMap<(u64, ConnectionId), ()>,
    /// Who gets a channel's version 1 updates, by the channel's index; made when it is needed.
    v1_listeners: Vec<Option<Arc<[ConnectionId]>>>,
    /// Who gets none of them, as long as others are told of a batch: its catch-up has what is in them.
    catching_up: HashSet<ConnectionId>,
    /// Who gets patches.
    v2_listeners: Option<Arc<[ConnectionId]>>,
    /// Those of which something may have changed, if somebody wants to know.
    touched: Option<Vec<ConnectionId>>,
}

impl Connections {
    pub(crate) fn open(&mut self, id: ConnectionId, info: Arc<ConnectionInfo>) {
        self.restore(id, Connection::new(info, Protocol::Unknown { synced: 0 }));
    }

    /// A socket that is known to speak version 2.
    pub(crate) fn open_v2(&mut self, id: ConnectionId, info: Arc<ConnectionInfo>, is_further: bool) {
        let protocol = if is_further { Protocol::V2 { joined: None } } else { Protocol::Greeting };
        self.restore(id, Connection { is_further, ..Connection::new(info, protocol) });
    }

    pub(crate) fn close(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.all.remove(&id)?;
        if let Some(key) = connection.info.key.as_deref() {
            self.keys.remove(&(hash(key), id));
        }
        self.listeners_changed();
        Some(connection)
    }

    /// A socket that the room had before it left memory.
    pub(crate) fn restore(&mut self, id: ConnectionId, connection: Connection) {
        if let Some(key) = connection.info.key.as_deref().filter(|key| !key.is_empty()) {
            self.keys.insert((hash(key), id), ());
        }
        self.touch(id);
        self.all.insert(id, connection);
        self.listeners_changed();
    }

    pub(crate) fn take_all(&mut self) -> SortedMap<ConnectionId, Connection> {
        self.keys.clear();
        std::mem::take(&mut self.all)
    }

    /// Other sockets that are, or may be, version 1's with the same `_pk` and the same identity, and that no other has followed: at
    /// most so many.
    pub(crate) fn siblings(&self, id: ConnectionId, at_most: usize) -> Vec<ConnectionId> {
        let Some(info) = self.all.get(&id).map(|c| &c.info) else { return Vec::new() };
        let Some(key) = info.key.as_deref().map(hash) else { return Vec::new() };
        let same_key = self.keys.iter_from((key, ConnectionId(0))).map(|(at, ())| *at);
        let same_key = same_key.take_while(|(other, _)| *other == key).map(|(_, id)| id);
        let is_sibling = |other: &ConnectionId| {
            *other != id
                && self.all.get(other).is_some_and(|c| {
                    (&c.info.key, &c.info.identity) == (&info.key, &info.identity)
                        && c.protocol.synced().is_some()
                        && !c.is_followed
                })
        };
        same_key.filter(is_sibling).take(at_most).collect()
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.touch(id);
        self.all.get_mut(&id)
    }

    /// Those of which something may have changed since this was last asked. Nothing is noted until it is asked for the first time.
    pub(crate) fn take_touched(&mut self) -> Vec<ConnectionId> {
        self.touched.replace(Vec::new()).unwrap_or_default()
    }

    fn touch(&mut self, id: ConnectionId) {
        if let Some(touched) = &mut self.touched {
            note_once(touched, id);
        }
    }

    /// Nothing that a socket sends counts any more.
    pub(crate) fn set_closing(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.protocol = Protocol::Closing;
            self.listeners_changed();
        }
    }

    pub(crate) fn is_closing(&self, id: ConnectionId) -> bool {
        self.all.get(&id).is_some_and(|c| matches!(c.protocol, Protocol::Closing))
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// A version 1 socket gets the updates of these channels from now on, and its page has asked for some of them. Returns how many it is known
    /// to have asked for, if that is more than before.
    pub(crate) fn set_synced(&mut self, id: ConnectionId, channels: u64, has_asked: u64) -> Option<u32> {
        let connection = self.get_mut(id)?;
        let (Protocol::Unknown { synced } | Protocol::V1 { synced }) = &mut connection.protocol else { return None };
        let is_new = *synced | channels != *synced;
        *synced |= channels;
        let is_more = connection.asked | has_asked != connection.asked;
        connection.asked |= has_asked;
        let count = connection.asked.count_ones();
        if is_new {
            self.listeners_changed();
        }
        is_more.then_some(count)
    }

    /// These get no updates of version 1 for now.
    pub(crate) fn set_catching_up(&mut self, who: HashSet<ConnectionId>) {
        if self.catching_up != who {
            self.catching_up = who;
            self.v1_listeners.clear();
        }
    }

    /// Clients were dropped, and it is not asked whose of these they were.
    pub(crate) fn age_all(&mut self) {
        for connection in self.all.values_mut() {
            if let Protocol::V2 { joined: Some(joined) } = &mut connection.protocol {
                joined.is_newborn = false;
            }
        }
    }

    /// The client that a connection of version 2 is in the room as.
    pub(crate) fn joined(&self, id: ConnectionId) -> Option<Joined> {
        match self.get(id)?.protocol {
            Protocol::V2 { joined } => joined,
            _ => None,
        }
    }

    /// A version 2 socket gets patches from now on, or none any more.
    pub(crate) fn set_joined(&mut self, id: ConnectionId, new: Option<Joined>) {
        if let Some(Connection { protocol: Protocol::V2 { joined }, .. }) = self.get_mut(id) {
            *joined = new;
            self.listeners_changed();
        }
    }

    pub(crate) fn v1_listeners(&mut self, channel: usize) -> Arc<[ConnectionId]> {
        if self.v1_listeners.len() <= channel {
            self.v1_listeners.resize(channel + 1, None);
        }
        let listens = |(id, c): (&ConnectionId, &Connection)| {
            let is_one = c.protocol.synced().is_some_and(|synced| synced & 1 << channel != 0);
            (is_one && !self.catching_up.contains(id)).then_some(*id)
        };
        let all = &self.all;
        self.v1_listeners[channel].get_or_insert_with(|| all.iter().filter_map(listens).collect()).clone()
    }

    pub(crate) fn v2_listeners(&mut self) -> Arc<[ConnectionId]> {
        let listens = |(id, c): (&ConnectionId, &Connection)| match c.protocol {
            Protocol::V2 { joined: Some(Joined { live: true, .. }) } => Some(*id),
            _ => None,
        };
        let all = &self.all;
        self.v2_listeners.get_or_insert_with(|| all.iter().filter_map(listens).collect()).clone()
    }

    /// Those of [`v2_listeners`](Self::v2_listeners), as they were once, that have not left since.
    pub(crate) fn still_listening(&self, listeners: Arc<[ConnectionId]>) -> Arc<[ConnectionId]> {
        // Mostly they are as they were, and nobody looks.
        if self.v2_listeners.as_ref().is_some_and(|now| Arc::ptr_eq(now, &listeners)) {
            return listeners;
        }
        listeners.iter().copied().filter(|id| self.joined(*id).is_some_and(|joined| joined.live)).collect()
    }

    pub(crate) fn listeners_changed(&mut self) {
        self.v1_listeners.clear();
        self.v2_listeners = None;
    }
}

/// Notes a socket. However often each is noted, there are no more than twice as many as different ones.
pub(crate) fn note_once(touched: &mut Vec<ConnectionId>, id: ConnectionId) {
    if touched.len() == touched.capacity() {
        touched.sort_unstable();
        touched.dedup();
    }
    touched.push(id);
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_what_is_noted_of_sockets_is_bounded_by_how_many_there_are() {
        let mut touched = Vec::new();
        (0..10_000).for_each(|i| note_once(&mut touched, ConnectionId(i % 100)));
        assert!((100..=200).contains(&touched.len()), "{}", touched.len());
        touched.sort_unstable();
        touched.dedup();
        assert!(touched.iter().copied().eq((0..100).map(ConnectionId)));
    }
}
