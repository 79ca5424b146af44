//! What a room knows of each socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use partysync_protocol::{ClientId, Version, limits};

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
}

impl Connection {
    pub(crate) fn new(info: Arc<ConnectionInfo>, protocol: Protocol) -> Self {
        Connection { info, protocol, early: Vec::new(), is_further: false }
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
    /// Its first frame decides.
    Unknown,
    /// Version 1, with the channels it has had an answer for, a bit each.
    V1 { synced: u64 },
    /// Version 2, by its subprotocol. `hello` has to come first.
    Greeting,
    /// Version 2, welcomed; in the room if it has joined.
    V2 { joined: Option<Joined> },
    /// The room has it closed: nothing that it sends counts any more.
    Closing,
}

/// A version 2 client in the room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    pub(crate) client: ClientId,
    /// The highest number whose outcome it has (SPEC 8.15).
    pub(crate) known: u64,
    /// The room's version when it first joined under its id; `None` if that is now.
    pub(crate) born: Option<Version>,
    /// Whether its snapshot or catch-up was sent, so that patches follow.
    pub(crate) live: bool,
}

/// All sockets of the room, and who listens to what.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: BTreeMap<ConnectionId, Connection>,
    /// Who gets a channel's version 1 updates, by the channel's index; made when it is needed.
    v1_listeners: Vec<Option<Arc<[ConnectionId]>>>,
    /// Who gets patches.
    v2_listeners: Option<Arc<[ConnectionId]>>,
}

impl Connections {
    pub(crate) fn open(&mut self, id: ConnectionId, info: Arc<ConnectionInfo>) {
        self.all.insert(id, Connection::new(info, Protocol::Unknown));
        self.listeners_changed();
    }

    /// A socket that is known to speak version 2.
    pub(crate) fn open_v2(&mut self, id: ConnectionId, info: Arc<ConnectionInfo>, is_further: bool) {
        let protocol = if is_further { Protocol::V2 { joined: None } } else { Protocol::Greeting };
        self.restore(id, Connection { is_further, ..Connection::new(info, protocol) });
    }

    pub(crate) fn close(&mut self, id: ConnectionId) {
        self.all.remove(&id);
        self.listeners_changed();
    }

    /// A socket that the room had before it left memory.
    pub(crate) fn restore(&mut self, id: ConnectionId, connection: Connection) {
        self.all.insert(id, connection);
        self.listeners_changed();
    }

    pub(crate) fn take_all(&mut self) -> BTreeMap<ConnectionId, Connection> {
        std::mem::take(&mut self.all)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.all.get_mut(&id)
    }

    /// Nothing that a socket sends counts any more.
    pub(crate) fn set_closing(&mut self, id: ConnectionId) {
        if let Some(connection) = self.all.get_mut(&id) {
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

    /// A version 1 socket gets a channel's updates from now on.
    pub(crate) fn set_synced(&mut self, id: ConnectionId, channel: usize) {
        if let Some(Connection { protocol: Protocol::V1 { synced }, .. }) = self.all.get_mut(&id)
            && *synced & 1 << channel == 0
        {
            *synced |= 1 << channel;
            self.listeners_changed();
        }
    }

    /// A version 2 socket gets patches from now on, or none any more.
    pub(crate) fn set_joined(&mut self, id: ConnectionId, new: Option<Joined>) {
        if let Some(Connection { protocol: Protocol::V2 { joined }, .. }) = self.all.get_mut(&id) {
            *joined = new;
            self.listeners_changed();
        }
    }

    pub(crate) fn v1_listeners(&mut self, channel: usize) -> Arc<[ConnectionId]> {
        if self.v1_listeners.len() <= channel {
            self.v1_listeners.resize(channel + 1, None);
        }
        let listens = |(id, c): (&ConnectionId, &Connection)| match c.protocol {
            Protocol::V1 { synced } if synced & 1 << channel != 0 => Some(*id),
            _ => None,
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

    fn listeners_changed(&mut self) {
        self.v1_listeners.clear();
        self.v2_listeners = None;
    }
}
