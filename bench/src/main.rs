//! Puts load on a server of rooms, measures what it costs, and draws it. CONTRIBUTING.md has the commands.
//!
//! The server and the load are two processes, so that neither's memory or time is taken for the other's. The load is one thread with
//! frames of its own ([`net`], [`frame`]): it has to be cheaper than what it measures.

mod chart;
mod error;
mod frame;
mod kill;
mod net;
mod options;
mod process;
mod report;
mod result;
mod scenario;
mod serve;
mod target;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::options::{Command, Options};

/// Exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("partysync-bench: what must be 0 is not: the figures prove nothing");
            ExitCode::FAILURE
        }
        Err(Error::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("partysync-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all that must be 0 was.
fn run(options: Options) -> Result<bool, Error> {
    let outcome = match options.command {
        Command::Serve(serve) => return serve::run(&serve).map(|()| true),
        Command::Report(report) => return report::run(&report),
        Command::Actions { load, target } => scenario::actions::run(&target, &load, 1)?,
        Command::Rooms { rooms, load, target } => scenario::actions::run(&target, &load, rooms)?,
        Command::Fanout { fanout, target } => scenario::fanout::run(&target, &fanout)?,
        Command::Join { join, target } => scenario::join::run(&target, &join)?,
        Command::Idle { idle, target } => scenario::idle::run(&target, &idle)?,
        Command::Kill(kill) => kill::run(&kill)?,
        Command::ManyRooms { many, target } => scenario::many_rooms::run(&target, &many)?,
    };
    outcome.print();
    Ok(outcome.is_sound())
}
