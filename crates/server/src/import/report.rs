//! What an import did, or why it did not.

use std::fmt;
use std::path::PathBuf;

use partysync_protocol::Millis;

use super::times;

/// Findings that are told one by one.
const TOLD: usize = 20;

/// What came into a room, or would have. Shown it is a summary of some lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The room's address, `party/room`.
    pub room: String,
    /// Whether it is stored, and not only checked.
    pub stored: bool,
    /// The tables, in the file's order.
    pub tables: Vec<ImportedTable>,
    /// What was left behind or looks otherwise than in the file, a sentence each.
    pub notes: Vec<String>,
}

/// A table that came into a room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ImportedTable {
    /// Its name.
    pub name: String,
    /// Whether clients hold its rows.
    pub is_channel: bool,
    /// Rows; of a channel those that are not deleted.
    pub rows: u64,
    /// Rows of a channel that were marked deleted.
    pub tombstones: u64,
    /// The earliest and the latest time of a channel's rows.
    pub times: Option<(Millis, Millis)>,
    /// Rows of a channel whose time of creation or of change was missing, and was made up.
    pub without_times: u64,
    /// Rows of a channel with a time later than now, which became now.
    pub in_future: u64,
}

/// Why a file did not become a room. Nothing of it is in the data directory then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The server has no such party.
    #[error("there is no party {0:?}")]
    NoParty(String),
    /// No room can have this name.
    #[error(
        "no room can have this name: it is empty or too long, is `.` or `..`, which browsers take out of an address, or has a character that has to be percent-encoded there"
    )]
    BadName,
    /// There is such a room, and it is not to be replaced.
    #[error("there is a room {0} already")]
    Exists(String),
    /// The file cannot be read, or is not what it should be.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file is a room of this library.
    #[error("the file is the room {0} already, of a server like this one: restore it by the admin interface instead")]
    IsRoom(String),
    /// The file has none of the tables that are the app's channels.
    #[error("the file has no table of the app's channels ({}); it has {}", wanted.join(", "), found.join(", "))]
    NoChannel {
        /// The app's channels.
        wanted: Vec<String>,
        /// The file's tables; `nothing` if it has none.
        found: Vec<String>,
    },
    /// What the file holds does not fit, or would not be the same any more.
    #[error("{}", told(findings, *more))]
    Refused {
        /// What is wrong, a sentence each, with table, row and column.
        findings: Vec<String>,
        /// How many more there are.
        more: u64,
    },
    /// The app cannot open the room.
    #[error("the app cannot open the room: {0}")]
    App(String),
    /// The data directory cannot take it.
    #[error("it cannot be stored: {0}")]
    Storage(String),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// Nobody waits for it any more.
    #[error("it was interrupted")]
    Interrupted,
}

fn told(findings: &[String], more: u64) -> String {
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    findings.join("\n") + &more
}

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    told: Vec<String>,
    more: u64,
}

impl Findings {
    pub(super) fn add(&mut self, finding: String) {
        if self.told.len() < TOLD {
            self.told.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// # Errors
    ///
    /// There are some.
    pub(super) fn none(self) -> Result<(), ImportError> {
        let Findings { told: findings, more } = self;
        if findings.is_empty() { Ok(()) } else { Err(ImportError::Refused { findings, more }) }
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.stored { "is imported" } else { "can be imported; nothing is stored yet" };
        write!(f, "{} {verb}", self.room)?;
        self.tables.iter().try_for_each(|table| write!(f, "\n  {table}"))?;
        self.notes.iter().try_for_each(|note| write!(f, "\n  note: {note}"))
    }
}

impl fmt::Display for ImportedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_channel { "channel" } else { "private table" };
        write!(f, "{kind} {}: {} rows", self.name, self.rows)?;
        if self.is_channel {
            write!(f, ", {} deleted", self.tombstones)?;
        }
        if let Some((first, last)) = self.times {
            write!(f, ", times from {} to {} UTC", times::write(first), times::write(last))?;
        }
        if self.without_times > 0 {
            write!(f, "; {} lacked a time", self.without_times)?;
        }
        if self.in_future > 0 {
            write!(f, "; {} had a time later than now, which is now", self.in_future)?;
        }
        Ok(())
    }
}
