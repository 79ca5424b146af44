//! Makes a room of a file that the original wrote.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use partysync::{Import, ImportError, stop_signal};

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
    let server = crate::server(options.data)?;
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

fn text(error: ImportError) -> String {
    match error {
        ImportError::Exists(_) => format!("{error}; --replace puts the file in its place"),
        error => error.to_string(),
    }
}
