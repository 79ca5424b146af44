//! How the registry comes to be: opened, or made anew from what the rooms' files say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use partysync_model::{DbError, DbErrorKind, Millis};
use partysync_room::RoomName;
use partysync_sqlite::{Options, SqliteDb};

use super::table::{self, Table};
use crate::data::{self, DataDir};
use crate::{clock, party};

/// Rooms found that share a transaction.
const FOUND: usize = 1_000;

/// How often the operator hears how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Opens the registry of a directory, complete.
pub(super) fn open(data: &DataDir) -> Result<Table, DbError> {
    let path = data.registry_file();
    let mut table = match Table::open(&path) {
        Err(error) if error.kind == DbErrorKind::Corrupt => {
            let aside = set_aside(&path).map_err(|error| data::db_error(&error))?;
            tracing::error!(%error, aside = %aside.display(), "the registry of rooms is of no use: it is made anew");
            Table::open(&path)?
        }
        opened => opened?,
    };
    data::flush_folder(data.path()).map_err(|error| data::db_error(&error))?;
    if !table.is_complete()? {
        rebuild(data, &mut table)?;
    }
    Ok(table)
}

/// Gives a file that is of no use, and the log beside it, another name.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let suffix = format!(".damaged-{}", clock::now());
    for part in ["-wal", "-journal"] {
        if with(part).exists() {
            fs::rename(with(part), with(&format!("{suffix}{part}")))?;
        }
    }
    fs::rename(path, with(&suffix))?;
    Ok(with(&suffix))
}

/// Reads the name and the alarm of every room there is.
fn rebuild(data: &DataDir, table: &mut Table) -> Result<(), DbError> {
    let (start, mut last_word) = (Instant::now(), Instant::now());
    let (mut all, mut batch) = (0_usize, Vec::new());
    for file in room_files(data.path()) {
        let file = file.map_err(|error| data::db_error(&error))?;
        match read(data, &file) {
            Ok(found) => batch.push(found),
            Err(error) => tracing::error!(file = %file.display(), %error, "this file is not in the registry of rooms"),
        }
        if batch.len() == FOUND {
            all += batch.len();
            add(table, &mut batch)?;
        }
        if last_word.elapsed() > PROGRESS {
            last_word = Instant::now();
            tracing::info!(rooms = all, "the registry of rooms is being made from their files");
        }
    }
    all += batch.len();
    add(table, &mut batch)?;
    table.set_complete()?;
    if all > 0 {
        tracing::warn!(
            rooms = all,
            ms = start.elapsed().as_millis(),
            "the registry of rooms was made from their files"
        );
    }
    Ok(())
}

type Found = (RoomName, Option<Millis>);

fn add(table: &mut Table, batch: &mut Vec<Found>) -> Result<(), DbError> {
    table.transaction(|db| batch.iter().try_for_each(|(name, at)| table::found(db, name, *at)))?;
    batch.clear();
    Ok(())
}

fn read(data: &DataDir, file: &Path) -> Result<Found, DbError> {
    let damaged = |what: &str| DbError::new(DbErrorKind::Corrupt, what);
    // Opening it would make it a database.
    if fs::metadata(file).map_err(|error| data::db_error(&error))?.len() == 0 {
        return Err(damaged("it is empty"));
    }
    let (name, at) = table::read_room(&mut SqliteDb::open(file, &Options::default())?)?;
    let name = name.ok_or_else(|| damaged("it does not say which room's it is"))?;
    if data.room_file(&name) != file {
        return Err(DbError::new(DbErrorKind::Corrupt, format!("it is not where the room {name} belongs")));
    }
    Ok((name, at))
}

/// The files that look like rooms'.
fn room_files(data: &Path) -> impl Iterator<Item = io::Result<PathBuf>> {
    let is_party = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(party::is_party_name);
    let parties = entries(data.to_owned()).filter(move |path| path.as_ref().map_or(true, is_party));
    parties.flat_map(below).flat_map(below).filter(|path| {
        path.as_ref().map_or(true, |path| path.extension().is_some_and(|extension| extension == "db") && path.is_file())
    })
}

/// What is in a folder; nothing in a file.
fn below(path: io::Result<PathBuf>) -> Box<dyn Iterator<Item = io::Result<PathBuf>>> {
    match path {
        Ok(path) if path.is_dir() => Box::new(entries(path)),
        Ok(_) => Box::new(std::iter::empty()),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

fn entries(folder: PathBuf) -> impl Iterator<Item = io::Result<PathBuf>> {
    let (entries, error) = match fs::read_dir(folder) {
        Ok(entries) => (Some(entries), None),
        Err(error) => (None, Some(Err(error))),
    };
    entries.into_iter().flatten().map(|entry| entry.map(|entry| entry.path())).chain(error)
}
