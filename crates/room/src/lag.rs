//! What a slow reader gets in place of the broadcasts that were left out for it (SPEC 8.25).

use std::borrow::Cow;

use partysync_model::{Db, DbError};
use partysync_protocol::Version;

use crate::connection::{Joined, Protocol};
use crate::event::{ConnectionId, Effect, Frame, Report};
use crate::{Room, SyncServer};

/// Version 2's clients come back by themselves, and resume. Version 1's come back too.
const TOO_SLOW: (u16, Cow<'static, str>) = (1013, Cow::Borrowed("the client reads too slowly"));

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Tells a connection everything that changed after a version.
    pub(crate) fn tell_missed(&mut self, to: ConnectionId, since: Version, effects: &mut Vec<Effect>) {
        match self.missed(to, since) {
            Ok(Some(frames)) => return effects.extend(frames.into_iter().map(|frame| Effect::Send { to, frame })),
            Ok(None) => {}
            Err(error) => {
                effects.push(Effect::Report(Report { during: "catch-up", error: error.to_string() }));
            }
        }
        let (code, reason) = TOO_SLOW;
        effects.push(Effect::Close { connection: to, code, reason });
        // What it has sent meanwhile is not run: it would not hear of that. A page of version 1 is still to be known when it comes back.
        if self.connections.get(to).is_some_and(|connection| connection.protocol.synced().is_none()) {
            self.connections.set_closing(to);
        }
    }

    fn missed(&mut self, to: ConnectionId, since: Version) -> Result<Option<Vec<Frame>>, DbError> {
        let Some(connection) = self.connections.get_mut(to) else { return Ok(Some(Vec::new())) };
        let protocol = connection.protocol;
        self.changed_since(protocol, since)
    }

    /// The frames that tell a connection what changed after a version. `None`: the log does not reach back so far, and the client
    /// can ask for everything itself.
    pub(crate) fn changed_since(&mut self, protocol: Protocol, since: Version) -> Result<Option<Vec<Frame>>, DbError> {
        match protocol {
            Protocol::Unknown { synced } | Protocol::V1 { synced } => self.changed_since_v1(synced, since).map(Some),
            Protocol::V2 { joined: Some(Joined { live: true, .. }) } if since < self.floor => Ok(None),
            Protocol::V2 { joined: Some(Joined { live: true, .. }) } if since < self.head.cursor.version => {
                Ok(Some(vec![self.catch_up(since)?]))
            }
            Protocol::V2 { .. } | Protocol::Greeting | Protocol::Closing => Ok(Some(Vec::new())),
        }
    }

    /// An update a channel: live rows and tombstones. Below the floor, everything that there is.
    fn changed_since_v1(&mut self, synced: u64, since: Version) -> Result<Vec<Frame>, DbError> {
        let mut frames = Vec::new();
        for channel in (0..self.channels.len()).filter(|channel| synced & 1 << channel != 0) {
            frames.extend(self.v1_update_since(channel, Some(since))?);
        }
        Ok(frames)
    }
}
