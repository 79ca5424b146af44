//! What a dead server left on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::client::{Client, Fate, PARTS};
use crate::error::Error;

/// The promises that a room's file breaks.
pub(super) fn room(data: &Path, room: &str, clients: &[Client]) -> Result<Vec<String>, Error> {
    let Some(file) = file_of(data, room)? else {
        let acked = clients.iter().any(|client| client.settled() > 0);
        return Ok(if acked { vec![format!("{room}: it has no file, and something was acked")] } else { Vec::new() });
    };
    let failed = |error: rusqlite::Error| Error::Server(format!("{room}: its file cannot be read: {error}"));
    let db = Connection::open(file).map_err(failed)?;
    let mut faults = Faults { room, all: Vec::new() };
    // Killed before it had made its tables.
    if !has_table(&db, "totals").map_err(failed)? {
        faults.check(clients.iter().all(|client| client.settled() == 0), "its tables are gone");
        return Ok(faults.all);
    }
    let Log { oldest, newest, entries, floor } = log(&db).map_err(failed)?;
    faults.check(entries == newest - oldest + 1, format!("versions have gaps: {entries} of {oldest} to {newest}"));
    faults.check(oldest == floor, format!("the oldest version is {oldest}, and the floor {floor}"));
    let posts = posts(&db).map_err(failed)?;
    let (actions, parts) = totals(&db).map_err(failed)?;
    let all_parts: u32 = posts.values().sum();
    faults.check(i64::from(all_parts) == parts, format!("{all_parts} parts, and {parts} were counted"));
    faults.check(posts.len() as i64 == actions, format!("{} posts, and {actions} were counted", posts.len()));
    faults.check(actions == newest, format!("{actions} actions made {newest} versions"));
    for client in clients {
        of_client(client, &posts, &mut faults);
    }
    Ok(faults.all)
}

/// Each action of a client was run whole or not at all; an answered one as it was answered.
fn of_client(client: &Client, posts: &HashMap<String, u32>, faults: &mut Faults<'_>) {
    for number in 0..client.sent {
        let post = client.post(number);
        let parts = posts.get(&post).copied().unwrap_or(0);
        let fits = match Client::fate(number) {
            Fate::Rejected => parts == 0,
            Fate::Applied if number < client.settled() => parts == PARTS,
            Fate::Applied => parts == 0 || parts == PARTS,
        };
        let answered = if number < client.settled() { "was answered" } else { "was not answered" };
        faults.check(fits, format!("{post}, {:?}, {answered}: {parts} of {PARTS} parts", Client::fate(number)));
    }
}

struct Faults<'r> {
    room: &'r str,
    all: Vec<String>,
}

impl Faults<'_> {
    fn check(&mut self, holds: bool, otherwise: impl std::fmt::Display) {
        if !holds {
            self.all.push(format!("{}: {otherwise}", self.room));
        }
    }
}

/// The file that holds the room; its name is a hash.
fn file_of(data: &Path, room: &str) -> Result<Option<PathBuf>, Error> {
    let mut files = Vec::new();
    databases(&data.join("parts"), &mut files)?;
    for file in files {
        let failed = |error: rusqlite::Error| Error::Server(format!("{}: {error}", file.display()));
        let db = Connection::open(&file).map_err(failed)?;
        // Or it was killed before it had made its tables.
        let is_made = has_table(&db, "_meta").map_err(failed)?;
        let sql = "SELECT value FROM _meta WHERE name = 'room'";
        if is_made && db.query_row(sql, [], |row| row.get::<_, String>(0)).map_err(failed)? == format!("parts/{room}") {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn databases(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    let failed = |error| Error::File(folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            databases(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "db") {
            files.push(path);
        }
    }
    Ok(())
}

fn has_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
    Ok(db.query_row(sql, [name], |_| Ok(())).optional()?.is_some())
}

/// Versions, of which the room drops old ones: the floor rises.
struct Log {
    oldest: i64,
    newest: i64,
    entries: i64,
    floor: i64,
}

fn log(db: &Connection) -> rusqlite::Result<Log> {
    let sql = "SELECT min(version), max(version), count(*), (SELECT value FROM _meta WHERE name = 'floor') FROM _log";
    db.query_row(sql, [], |row| {
        Ok(Log { oldest: row.get(0)?, newest: row.get(1)?, entries: row.get(2)?, floor: row.get(3)? })
    })
}

/// How many parts each post has.
fn posts(db: &Connection) -> rusqlite::Result<HashMap<String, u32>> {
    let mut statement = db.prepare("SELECT post, count(*) FROM parts GROUP BY post")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The actions and the parts that the app counted.
fn totals(db: &Connection) -> rusqlite::Result<(i64, i64)> {
    let counted = db.query_row("SELECT actions, parts FROM totals", [], |row| Ok((row.get(0)?, row.get(1)?)));
    counted.optional().map(Option::unwrap_or_default)
}
