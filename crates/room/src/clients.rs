//! Clients that have sent actions, as a room remembers them between its steps (SPEC 6).

use std::collections::HashMap;

use partysync_model::{Db, DbError};
use partysync_protocol::{ClientId, Millis, Version, limits};

use crate::sorted::SortedMap;
use crate::store::{self, Client};

/// Clients whose numbers are kept in memory. Past it the memory is emptied and fills again from the table.
const CACHED_CLIENTS: usize = 1_024;

/// A sender that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ClientName {
    Numbered(ClientId),
    /// Two identities with one `_pk` are two clients.
    Keyed {
        identity: String,
        key: String,
    },
}

impl ClientName {
    /// The name under which it is stored.
    pub(crate) fn stored(&self) -> String {
        match self {
            ClientName::Numbered(client) => client.to_string(),
            ClientName::Keyed { identity, key } => format!("v1:{}:{identity}:{key}", identity.len()),
        }
    }
}

/// Clients that sent something of late.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: HashMap<ClientName, Client>,
    /// Those whose numbers were settled in the open transaction and are not written yet, by their handles: a client is written once a
    /// group, however many of its actions are in it.
    unsaved: SortedMap<i64, Client>,
}

impl Clients {
    /// What was learnt in a transaction that is gone is not so.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.unsaved.clear();
    }

    /// Writes what the transaction that is about to end has settled (SPEC 6.5).
    pub(crate) fn save(&mut self, db: &mut dyn Db) -> Result<(), DbError> {
        std::mem::take(&mut self.unsaved).values().try_for_each(|client| store::save_client(db, client))
    }

    pub(crate) fn find(&self, db: &mut dyn Db, name: &ClientName) -> Result<Option<Client>, DbError> {
        match self.known.get(name) {
            Some(client) => Ok(Some(client.clone())),
            None => store::client(db, &name.stored()),
        }
    }

    /// The last number that was settled of a client, before the open transaction if there is one; 0 if none was, or if that cannot be read.
    pub(crate) fn last(&self, db: &mut dyn Db, client: ClientId) -> u64 {
        self.find(db, &ClientName::Numbered(client)).ok().flatten().map_or(0, |client| client.last)
    }

    /// Keeps a client as it is stored.
    pub(crate) fn keep(&mut self, name: ClientName, client: Client) {
        // What is not written yet is nowhere else.
        if self.known.len() >= CACHED_CLIENTS && self.unsaved.is_empty() {
            self.known.clear();
        }
        self.unsaved.remove(&client.handle);
        self.known.insert(name, client);
    }

    /// Keeps a client that [`save`](Self::save) is to write.
    pub(crate) fn keep_unsaved(&mut self, name: ClientName, client: Client) {
        self.keep(name, client.clone());
        self.unsaved.insert(client.handle, client);
    }
}

/// Whether a client that the room does not have may be one that it dropped (SPEC 6.7). One that is just being born never had
/// a number to send.
pub(crate) fn may_have_been_dropped(born: Option<Version>, dropped: Option<Version>) -> bool {
    born.is_some_and(|born| dropped.is_some_and(|dropped| born <= dropped))
}

/// A client after its number was settled, and after it said which outcomes it has.
pub(crate) fn next_client(client: &Client, number: u64, known: u64, now: Millis) -> Client {
    let too_old = number.saturating_sub(limits::OUTCOMES_KEPT);
    let forgotten = client.forgotten.max(known.min(number)).max(too_old);
    Client { last: number, forgotten, seen_at: now, ..client.clone() }
}
