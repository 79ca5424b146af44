//! Rooms that were made elsewhere: a Durable Object's SQLite file becomes a room of ours (SPEC 7.13).
//!
//! It is the app's program that does it, and not one of this library's: the app alone knows which tables are its channels and of which
//! shape they are, so that what comes in is what the app could have written itself. The way in is that of a backup: a staged file, opened by the app, moved to
//! its place in one step.

mod fill;
mod report;
mod source;
mod times;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use partysync_model::{DbError, Verdict};
use partysync_protocol::limits;
use partysync_room::RoomName;
use partysync_sqlite::{Options, SqliteDb};
use tokio::task::spawn_blocking;

use self::fill::{Fill, storage};
pub use self::report::{ImportError, Imported, ImportedTable};
use self::source::Source;
use crate::job::{Order, OrderError, input};
use crate::rooms::Rooms;
use crate::staging::{self, Staged};
use crate::{Server, open};

/// Characters that browsers encode in a path, or that end it.
const NOT_IN_NAMES: &[char] = &['/', '?', '#', '"', '<', '>', '`', '{', '}'];

/// What to make a room of.
///
/// ```no_run
/// # async fn run(server: partysync_server::Server) -> Result<(), Box<dyn std::error::Error>> {
/// use partysync_server::Import;
///
/// let import = Import::durable_object("todos", "lobby", "2a650eb6.sqlite");
/// println!("{}", server.import(import).await?);
/// # Ok(())
/// # }
/// ```
pub struct Import {
    name: RoomName,
    file: PathBuf,
    replace: bool,
    check: bool,
    progress: Progress,
}

type Progress = Box<dyn FnMut(&str, u64) + Send>;

impl Import {
    /// The SQLite file of a Durable Object, as Cloudflare's runtime writes it, with the log (`-wal`) that may be beside it, becomes the room `room`
    /// of the party `party`. The file is only read. `room` is written as it stands in addresses: `a%20b`.
    pub fn durable_object(party: &str, room: &str, file: impl Into<PathBuf>) -> Self {
        let name = RoomName::new(party, room);
        Import { name, file: file.into(), replace: false, check: false, progress: Box::new(|_, _| {}) }
    }

    /// Whether a room that is there may be replaced. Its sockets are closed with 1012. Unless said: no.
    pub fn replace(self, replace: bool) -> Self {
        Import { replace, ..self }
    }

    /// Whether it is only tried, and nothing is stored. Unless said: no.
    pub fn check_only(self, check: bool) -> Self {
        Import { check, ..self }
    }

    /// Is told the table and how many of its rows were copied, now and then. Called on a thread that may block.
    pub fn on_progress(self, progress: impl FnMut(&str, u64) + Send + 'static) -> Self {
        Import { progress: Box::new(progress), ..self }
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("room", &self.name.address()).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Server {
    /// Makes a room of a file that was made elsewhere. The app makes the tables, in `schema` and `on_start`; then the file's rows are put into
    /// them, and those of other tables into tables like the file's. Times become milliseconds, rows that are marked deleted become tombstones,
    /// and all is one version, with which the room's history begins. What a room may not hold, and what the app's tables would change, is refused.
    ///
    /// If this is dropped, the import stops soon and leaves nothing.
    ///
    /// # Errors
    ///
    /// See [`ImportError`]. Nothing has changed then.
    pub async fn import(&self, import: Import) -> Result<Imported, ImportError> {
        let Import { name, file, replace, check, progress } = import;
        let rooms = self.rooms();
        check_name(rooms, &name)?;
        let exists = || ImportError::Exists(name.address().to_owned());
        if !replace && rooms.data.room_file(&name).exists() {
            return Err(exists());
        }
        let interest = Interest::default();
        let watch = Watch { progress, is_wanted: Arc::clone(&interest.0) };
        let (making, of) = (Arc::clone(rooms), name.clone());
        let made = spawn_blocking(move || prepare(&making, &of, &file, watch)).await;
        let (from, mut imported) = made.map_err(|_| ImportError::App("it panicked".to_owned()))??;
        if check {
            return Ok(imported);
        }
        let lease = rooms.lease(&name).ok_or(ImportError::Stopping)?;
        let stored = lease.order(|answer| Order::Restore { from, replace, answer }).await;
        stored.map_err(|error| match error {
            OrderError::Exists => exists(),
            OrderError::Stopping => ImportError::Stopping,
            error => ImportError::Storage(error.to_string()),
        })?;
        // So that its alarm is known. That it can be opened was tried.
        if let Some(lease) = rooms.lease(&name) {
            let _ = lease.open().await;
        }
        imported.stored = true;
        Ok(imported)
    }
}

fn check_name(rooms: &Rooms, name: &RoomName) -> Result<(), ImportError> {
    if !rooms.parties.contains_key(name.party()) {
        return Err(ImportError::NoParty(name.party().to_owned()));
    }
    let room = name.room();
    let plain = room.bytes().all(|byte| byte.is_ascii_graphic()) && !room.contains(NOT_IN_NAMES);
    let fits = plain && !is_dots(room) && (1..=limits::ROOM_NAME_BYTES).contains(&room.len());
    if fits { Ok(()) } else { Err(ImportError::BadName) }
}

/// Whether a segment is a way through a path, as `..` is: browsers take it out of an address, percent-encoded or not.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Whether anybody still waits for the import.
struct Interest(Arc<AtomicBool>);

impl Default for Interest {
    fn default() -> Self {
        Interest(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Tells how far it is, and learns whether to go on.
struct Watch {
    progress: Progress,
    is_wanted: Arc<AtomicBool>,
}

impl Watch {
    fn look(&mut self, table: &str, rows: u64) -> Result<(), ImportError> {
        (self.progress)(table, rows);
        self.go_on()
    }

    fn go_on(&self) -> Result<(), ImportError> {
        if self.is_wanted.load(Ordering::Relaxed) { Ok(()) } else { Err(ImportError::Interrupted) }
    }
}

/// Makes a room's file of another file, aside. Returns it, durable.
fn prepare(rooms: &Rooms, name: &RoomName, file: &Path, mut watch: Watch) -> Result<(Staged, Imported), ImportError> {
    let mut source = Source::copy(&rooms.data, file)?;
    let tables = source::tables(&mut source.db).map_err(storage)?;
    if let Some(room) = source::stored_room(&mut source.db, &tables).map_err(storage)? {
        return Err(ImportError::IsRoom(room));
    }
    let staged = Staged::new(&rooms.data).map_err(|error| ImportError::Storage(error.to_string()))?;
    let at = staged.path().display().to_string();
    // Where it is meanwhile is of no use to anybody.
    let app = |why: String| ImportError::App(why.replace(&format!("{at}: "), ""));
    let database = || SqliteDb::open(staged.path(), &Options::default()).map_err(storage);
    let mut room = open::open_aside(rooms, name, database()?).map_err(app)?;
    let channels: Vec<String> =
        room.inspect().map_err(storage)?.channels.into_iter().map(|channel| channel.name).collect();
    check_tables(&tables, &channels)?;
    let mut imported =
        Imported { room: name.address().to_owned(), stored: false, tables: Vec::new(), notes: Vec::new() };
    let input = input(rooms);
    let mut fill = Some(Fill {
        from: &mut source.db,
        tables,
        channels,
        now: input.now,
        watch: &mut watch,
        imported: &mut imported,
    });
    let mut filled = Ok(());
    let adopted = room.adopt(input, &mut |db| {
        // It is run once.
        filled = fill.take().map_or(Ok(()), |fill| fill.run(db));
        if filled.is_ok() { Verdict::Keep } else { Verdict::Undo }
    });
    filled?;
    adopted.map_err(|error: DbError| ImportError::Storage(error.message))?;
    open::try_room(rooms, name, database()?).map_err(app)?;
    if staging::has_log(staged.path()) {
        return Err(ImportError::Storage("the file could not be closed".to_owned()));
    }
    let synced = std::fs::File::open(staged.path()).and_then(|file| file.sync_all());
    synced.map_err(|error| ImportError::Storage(error.to_string()))?;
    watch.go_on()?;
    Ok((staged, imported))
}

/// A file that has nothing for any client is another one than was meant.
fn check_tables(tables: &[source::TableInfo], channels: &[String]) -> Result<(), ImportError> {
    let names = || tables.iter().map(|table| &table.name).filter(|name| !name.starts_with("sqlite_"));
    if names().any(|name| channels.iter().any(|channel| channel.eq_ignore_ascii_case(name))) {
        return Ok(());
    }
    let mut found: Vec<String> = names().cloned().collect();
    if found.is_empty() {
        found.push("nothing".to_owned());
    }
    Err(ImportError::NoChannel { wanted: channels.to_vec(), found })
}
