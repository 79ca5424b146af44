//! Connections: frames arrive in order, some time after they were sent, or never.

use std::collections::VecDeque;

use partysync_room::{ConnectionId, ConnectionInfo, Event};

/// One socket, with what is under way on it.
pub(crate) struct Wire {
    pub(crate) id: ConnectionId,
    identity: String,
    up: VecDeque<Up>,
    down: VecDeque<String>,
}

enum Up {
    Opened,
    Text(String),
    Closed,
}

impl Wire {
    pub(crate) fn new(id: ConnectionId, identity: String) -> Self {
        Wire { id, identity, up: VecDeque::from([Up::Opened]), down: VecDeque::new() }
    }

    /// The client sends a frame.
    pub(crate) fn send_up(&mut self, text: String) {
        self.up.push_back(Up::Text(text));
    }

    /// The room sends a frame.
    pub(crate) fn send_down(&mut self, text: String) {
        self.down.push_back(text);
    }

    /// What arrives at the room next.
    pub(crate) fn next_up(&mut self) -> Option<Event> {
        let connection = self.id;
        Some(match self.up.pop_front()? {
            Up::Opened => {
                let info = ConnectionInfo { identity: Some(self.identity.clone()), ..ConnectionInfo::default() };
                Event::Opened { connection, info }
            }
            Up::Text(text) => Event::Text { connection, text },
            Up::Closed => Event::closed(connection),
        })
    }

    /// What arrives at the client next.
    pub(crate) fn next_down(&mut self) -> Option<String> {
        self.down.pop_front()
    }

    pub(crate) fn has_up(&self) -> bool {
        !self.up.is_empty()
    }

    pub(crate) fn has_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// The connection breaks: so many frames still arrive at the room, then it learns.
    pub(crate) fn cut_up(&mut self, arriving: usize) {
        self.up.truncate(arriving);
        self.up.push_back(Up::Closed);
    }

    /// Frames under way to the room.
    pub(crate) fn up_len(&self) -> usize {
        self.up.len()
    }

    /// Frames under way to the client.
    pub(crate) fn down_len(&self) -> usize {
        self.down.len()
    }
}
