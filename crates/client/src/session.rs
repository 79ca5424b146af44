//! How far a socket has come.

use partysync_protocol::{Cursor, Millis, limits};

/// A socket's progress towards carrying patches.
#[derive(Debug)]
pub(crate) enum Session {
    /// There is none.
    Closed,
    /// `hello` was sent.
    Greeting(Link),
    /// `join` was sent.
    Joining(Link),
    /// `joined` came with a reset; parts of the snapshot are coming.
    Loading { link: Link, cursor: Cursor, rows: Vec<(String, String)> },
    /// Patches come, actions go.
    Live(Link),
    /// The room was left for the client's token: it waits for another one.
    Refused(Link),
}

/// What is known of a socket's health.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) ping_ms: u64,
    pub(crate) have_patches: u64,
    pub(crate) have_ms: u64,
    pub(crate) sent_at: Millis,
    pub(crate) heard_at: Millis,
    /// Patches since the last `have`.
    pub(crate) unconfirmed: u64,
}

impl Link {
    pub(crate) fn new(now: Millis) -> Self {
        let (ping_ms, have_patches, have_ms) = (limits::PING_MS, limits::HAVE_PATCHES, limits::HAVE_MS);
        Link { ping_ms, have_patches, have_ms, sent_at: now, heard_at: now, unconfirmed: 0 }
    }
}

impl Session {
    pub(crate) fn link(&mut self) -> Option<&mut Link> {
        match self {
            Session::Closed => None,
            Session::Greeting(link)
            | Session::Joining(link)
            | Session::Loading { link, .. }
            | Session::Live(link)
            | Session::Refused(link) => Some(link),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Session::Live(_))
    }
}
