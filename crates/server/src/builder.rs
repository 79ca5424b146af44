use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use partysync_room::SyncServer;

use crate::data::DataDir;
use crate::party::{self, Party};
use crate::pool::Pool;
use crate::random::Random;
use crate::rooms::Rooms;
use crate::{Server, clock};

/// Threads that wait for disks. More than processors, so that rooms need not wait for each other's flushes.
const WRITERS: usize = 8;

/// How long a room stays in memory when nobody uses it (P12).
const IDLE_MS: u64 = 10_000;

/// What a server is made of.
#[must_use]
pub struct Builder {
    data: PathBuf,
    prefix: String,
    parties: Vec<(String, Party)>,
    writers: usize,
    idle_ms: u64,
}

/// A server cannot be made.
///
/// `Debug` reads as `Display` does: it is what a `main` that returns the error shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The data directory is not there and cannot be made.
    #[error("the data directory {path} cannot be made: {source}")]
    NoData {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be written in the data directory.
    #[error("the data directory {path} cannot be written to: {source}")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server has the data directory.
    #[error("the data directory {path} is in use by another server: stop that one, or take another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A party's name cannot be a segment of a URL's path, or a folder.
    #[error(
        "{0:?} cannot be a party's name: it takes up to 64 of a-z, 0-9, - and _, and `lock` is taken by the server itself"
    )]
    PartyName(String),
    /// Two parties have one name.
    #[error("there are two parties named {0:?}")]
    PartyTwice(String),
    /// The prefix does not begin with a slash, or ends with one.
    #[error("{0:?} cannot be the prefix of rooms: it begins with a slash and does not end with one")]
    Prefix(String),
    /// The operating system has no random bits.
    #[error("the operating system has no random bits: {0}")]
    Random(getrandom::Error),
    /// The operating system gives no threads.
    #[error("threads cannot be started: {0}")]
    Threads(io::Error),
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            data: PathBuf::from("data"),
            prefix: "/parties".to_owned(),
            parties: Vec::new(),
            writers: WRITERS,
            idle_ms: IDLE_MS,
        }
    }
}

impl Builder {
    /// The directory of all rooms' files, made if it is not there. The default is `data`, in the working directory.
    pub fn data(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = path.into();
        self
    }

    /// Adds a kind of room: its name in URLs, and what makes the app's value of a room.
    pub fn party<S, F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        S: SyncServer + Send + 'static,
        F: Fn() -> S + Clone + Send + Sync + 'static,
    {
        self.parties.push((name.into(), party::party(make)));
        self
    }

    /// What the path of rooms begins with. The default is `/parties`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many rooms may wait for the disk at once. The default is 8; 0 is taken as 1.
    pub fn writers(mut self, threads: usize) -> Self {
        self.writers = threads;
        self
    }

    /// Milliseconds until a room that nobody uses leaves memory. The default is 10,000.
    pub fn idle_ms(mut self, idle_ms: u64) -> Self {
        self.idle_ms = idle_ms;
        self
    }

    /// Makes the server and locks its data directory, until the server and all its sockets are gone.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(self) -> Result<Server, BuildError> {
        let prefix_is_plain = self.prefix.is_empty() || self.prefix.starts_with('/');
        if !prefix_is_plain || self.prefix.ends_with('/') || self.prefix.contains(['{', '}', '?', '#']) {
            return Err(BuildError::Prefix(self.prefix));
        }
        let parties = named(self.parties)?;
        let data = DataDir::lock(self.data)?;
        let random = Random::from_os().map_err(BuildError::Random)?;
        let pool = Pool::new(self.writers).map_err(BuildError::Threads)?;
        let rooms = Rooms::new(data, parties, pool, random, Duration::from_millis(self.idle_ms));
        clock::start(&rooms).map_err(BuildError::Threads)?;
        Ok(Server::new(rooms, Arc::from(self.prefix)))
    }
}

fn named(parties: Vec<(String, Party)>) -> Result<BTreeMap<String, Party>, BuildError> {
    let mut named = BTreeMap::new();
    for (name, party) in parties {
        if !party::is_party_name(&name) {
            return Err(BuildError::PartyName(name));
        }
        if named.insert(name.clone(), party).is_some() {
            return Err(BuildError::PartyTwice(name));
        }
    }
    Ok(named)
}

impl std::fmt::Debug for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parties: Vec<&String> = self.parties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Builder")
            .field("data", &self.data)
            .field("prefix", &self.prefix)
            .field("parties", &parties)
            .field("writers", &self.writers)
            .field("idle_ms", &self.idle_ms)
            .finish()
    }
}
