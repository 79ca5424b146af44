//! What an operator may want to know of a room.

use partysync_model::{Db, DbError, quote};
use partysync_protocol::{Millis, Version};
use serde::Serialize;

use crate::store;
use crate::{Room, SyncServer};

/// A room as it is now. It holds nothing that a client wrote but names of channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The newest version.
    pub version: Version,
    /// The lowest version from which a client can resume (SPEC 2.4).
    pub floor: Version,
    /// The time of the newest version.
    pub changed_at: Millis,
    /// The channels, in the schema's order.
    pub channels: Vec<InspectedChannel>,
    /// Open sockets.
    pub connections: usize,
    /// Clients that the room knows by their ids, connected or not (SPEC 6.7).
    pub clients: u64,
    /// When the room wants to be woken.
    pub wakes_at: Option<Millis>,
    /// Entries of the outbox that are not delivered.
    pub outbox: u64,
}

/// A channel of an inspected room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InspectedChannel {
    /// Its name, that of its table.
    pub name: String,
    /// Rows that are not deleted.
    pub rows: u64,
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Looks at the room. It counts rows, so it takes time with their number.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn inspect(&mut self) -> Result<Inspection, DbError> {
        let mut channels = Vec::with_capacity(self.channels.len());
        for channel in &self.channels {
            let sql = format!("SELECT count(*) FROM {} WHERE deleted_at IS NULL", quote(&channel.name));
            channels.push(InspectedChannel { name: channel.name.clone(), rows: count(&mut self.db, &sql)? });
        }
        Ok(Inspection {
            version: self.head.cursor.version,
            floor: self.floor,
            changed_at: self.head.at,
            channels,
            connections: self.connections.len(),
            clients: count(&mut self.db, "SELECT count(*) FROM _client")?,
            wakes_at: self.next_wake()?,
            outbox: count(&mut self.db, "SELECT count(*) FROM _outbox")?,
        })
    }
}

fn count(db: &mut dyn Db, sql: &str) -> Result<u64, DbError> {
    let counted = store::first(db, sql, &[], |row| store::integer(row, 0))?;
    Ok(counted.unwrap_or_default().unsigned_abs())
}
