//! `partysync`: takes rooms out of a home as files (SPEC 7.15), and into another one, by the homes' admin routes.

#![forbid(unsafe_code)]

mod ask;
mod check;
mod error;
mod export;
mod import;
mod place;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ask::Home;
use crate::error::Error;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    it failed on the way: network, disk, a file that is not whole
  2    it was called wrongly
  3    the server refused: the token, the room or the file is not what it must be
  130  it was interrupted";

/// Takes rooms out of a home as files, and into another one.
#[derive(Parser)]
#[command(name = "partysync", version, after_help = EXIT_CODES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes a room out, as it is at one moment, as a file that any home reads
    Export {
        /// The admin interface of its home, such as http://localhost:9090, or https://example.com/admin on Durable Objects
        #[arg(long, value_name = "URL")]
        from: String,
        #[command(flatten)]
        room: Room,
        /// Takes the place of a file that is there
        #[arg(long)]
        force: bool,
        /// Where it goes; - is the standard output
        file: PathBuf,
    },
    /// Makes a room of such a file: all of it, or nothing
    Import {
        /// The admin interface of its home, such as http://localhost:9090, or https://example.com/admin on Durable Objects
        #[arg(long, value_name = "URL")]
        to: String,
        #[command(flatten)]
        room: Room,
        /// The file may be another room's
        #[arg(long)]
        rename: bool,
        /// Takes the place of the room that is there; not on Durable Objects
        #[arg(long)]
        replace: bool,
        /// Where it is; - is the standard input
        file: PathBuf,
    },
}

#[derive(Args)]
struct Room {
    /// The party, as it stands in the room's address
    #[arg(long, allow_hyphen_values = true)]
    party: String,
    /// The room, as it stands in its address: percent-encoded if it is there
    #[arg(long, allow_hyphen_values = true)]
    room: String,
    /// A file with the admin token; without this it is taken from the variable PARTYSYNC_ADMIN_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(done) => {
            eprintln!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("partysync: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<String, Error> {
    place::mind_interrupts()?;
    match command {
        Command::Export { from, room, force, file } => export::export(&home(&from, &room)?, &file, force),
        Command::Import { to, room, rename, replace, file } => {
            import::import(&home(&to, &room)?, &file, &[("rename", rename), ("replace", replace)])
        }
    }
}

fn home(url: &str, Room { party, room, token_file }: &Room) -> Result<Home, Error> {
    Home::new(url, party, room, &ask::token(token_file.as_deref())?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_options_fit_together() {
        super::Options::command().debug_assert();
    }
}
