//! Makes a room of a file that the original wrote.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use partysync::{Import, ImportError, stop_signal};
use tempfile::TempDir;

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Makes a room of a Durable Object's SQLite file, as partysync's TypeScript server leaves one. The file is only read. No server may run on the
/// data directory.
#[derive(Args)]
pub(crate) struct Options {
    /// The directory of the rooms' files, made if it is not there.
    #[arg(long, value_name = "DIR", default_value = crate::DATA)]
    data: PathBuf,
    /// The kind of room, as addresses have it.
    #[arg(long, value_name = "PARTY", default_value = "todos")]
    party: String,
    /// The room's name, as it stands in its address: `a%20b`.
    #[arg(long, value_name = "NAME")]
    room: String,
    /// Only say what would come of it; nothing is stored.
    #[arg(long)]
    check: bool,
    /// Put it in the place of a room that is there.
    #[arg(long)]
    replace: bool,
    /// The Durable Object's file; what is in the log beside it (`-wal`) comes too.
    file: PathBuf,
}

pub(crate) async fn run(options: Options) -> Result<(), String> {
    look_at(&options.file)?;
    let aside = if options.check { aside(&options.data)? } else { None };
    let data = aside.as_ref().map_or(options.data, |aside| aside.path().to_owned());
    let server = crate::server(data)?;
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut told = Instant::now();
    let import = Import::durable_object(&options.party, &options.room, options.file)
        .check_only(options.check)
        .replace(options.replace)
        .on_progress(move |table, rows| {
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                eprintln!("table {table}: {rows} rows so far");
            }
        });
    let imported = tokio::select! {
        imported = server.import(import) => imported.map_err(text),
        () = stop => Err("interrupted; nothing is stored".to_owned()),
    };
    let stopped = server.shutdown().await.map_err(|error| error.to_string());
    println!("{}", imported?);
    stopped
}

/// A file that is not there is told of before a data directory is made for it.
fn look_at(file: &Path) -> Result<(), String> {
    let is_file = File::open(file).and_then(|file| file.metadata()).map(|about| about.is_file());
    match is_file {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{}: it is no file", file.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Where a check works if no server has used the data directory yet: it leaves nothing behind.
fn aside(data: &Path) -> Result<Option<TempDir>, String> {
    if data.join("lock").exists() {
        return Ok(None);
    }
    let made = tempfile::tempdir().map(Some);
    made.map_err(|error| format!("cannot make a directory to check in: {error}"))
}

fn text(error: ImportError) -> String {
    match error {
        ImportError::Exists(_) => format!("{error}; --replace puts the file in its place"),
        error => error.to_string(),
    }
}
