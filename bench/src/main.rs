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
mod versus;
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
    match options.command {
        Command::Serve(serve) => serve::run(&serve).map(|()| true),
        Command::Report(report) => report::run(&report),
        Command::Actions { load, target } => versus::run(&target, |t| scenario::actions::run(t, &load, 1)),
        Command::Rooms { rooms, load, target } => versus::run(&target, |t| scenario::actions::run(t, &load, rooms)),
        Command::Fanout { fanout, target } => versus::run(&target, |t| scenario::fanout::run(t, &fanout)),
        Command::Join { join, target } => versus::run(&target, |t| scenario::join::run(t, &join)),
        Command::Resume { resume, target } => versus::run(&target, |t| scenario::resume::run(t, &resume)),
        Command::Bytes { bytes, target } => versus::run(&target, |t| scenario::bytes::run(t, &bytes)),
        Command::Idle { idle, target } => versus::run(&target, |t| scenario::idle::run(t, &idle)),
        Command::Kill(kill) => {
            let outcome = kill::run(&kill)?;
            outcome.print();
            Ok(outcome.is_sound())
        }
        Command::ManyRooms { many, target } => versus::run(&target, |t| scenario::many_rooms::run(t, &many)),
    }
}
