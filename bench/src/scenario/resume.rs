//! Clients that come back to a room and missed a little, against clients that have nothing.

use std::time::Instant;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{fill, first, fresh_rooms, make};
use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::options::{Resume, Target};
use crate::result::{Outcome, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, Held, Protocol, RowId};

pub(crate) fn run(target: &Target, resume: &Resume) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let room = fresh_rooms();
    fill(&served, &mut net, &room, resume.rows)?;
    let held = held(&served, &mut net, &room)?;
    miss(&served, &mut net, &room, resume.missed)?;
    net.close_all();

    // Version 1 gets the newest row that it had once more.
    let missed = resume.missed as usize + usize::from(served.protocol == Protocol::V1);
    let back = Visit::run(&served, &room, resume.clients, Some(held), missed)?;
    let rows = resume.rows + 1 + resume.missed as usize;
    // The first of them may cost more than the others, for which its rows are kept encoded.
    let newcomer = Visit::run(&served, &room, 1, None, rows)?;
    let others = Visit::run(&served, &room, resume.newcomers, None, rows)?;

    let mut outcome = Outcome::new("resume", &target.label);
    outcome.add("protocol", served.protocol.number());
    outcome.add("rows", resume.rows);
    outcome.add("missed", resume.missed);
    outcome.add("clients", resume.clients);
    outcome.add("newcomers", resume.newcomers);
    for (name, visit) in [("resume", &back), ("first_full", &newcomer), ("next_full", &others)] {
        outcome.add(&format!("{name}_up_bytes"), visit.up_bytes);
        outcome.add(&format!("{name}_down_bytes"), visit.down_bytes);
        outcome.add_rounded(&format!("{name}_cpu_us"), visit.cpu_us);
    }
    let mut wrong = 0;
    for (name, visit) in [("resume", back), ("first_full", newcomer), ("next_full", others)] {
        wrong += visit.wrong;
        visit.times.describe(name, &mut outcome);
    }
    outcome.must_be_0("wrong_rows", wrong);
    outcome.say(format!(
        "{} rows, {} missed: {} bytes, {:.0} us of the server's CPU, {:.2} ms; all rows: {} bytes, {:.0} us the first time and \
         {:.0} us then, {:.0} ms",
        resume.rows,
        resume.missed,
        outcome.figure("resume_down_bytes"),
        outcome.figure("resume_cpu_us"),
        outcome.figure("resume_p50_ms"),
        outcome.figure("first_full_down_bytes"),
        outcome.figure("first_full_cpu_us"),
        outcome.figure("next_full_cpu_us"),
        outcome.figure("next_full_p50_ms"),
    ));
    Ok(outcome)
}

/// Makes a row, and says what somebody has who is in the room when it is there.
fn held(served: &Served, net: &mut Net, room: &str) -> Result<Held, Error> {
    #[derive(Deserialize)]
    struct Success {
        result: Vec<Row>,
    }
    /// id, text, completed, and the three times.
    #[derive(Deserialize)]
    struct Row(IgnoredAny, IgnoredAny, IgnoredAny, IgnoredAny, i64, IgnoredAny);
    #[derive(Deserialize)]
    struct Patch {
        to: u64,
        stamp: u64,
    }
    // Told of the row by the patch that brings it: so they need not ask for the million.
    let mut told = Told::default();
    let (listener, line) = served.open_as(net, room, Protocol::V2)?;
    net.send_all(listener, &line.enter())?;
    net.turn_until(&mut told, "all rows", |told| told.is_in)?;
    let (writer, mut line) = served.open_as(net, room, Protocol::V1)?;
    let mut message = String::new();
    line.create(&mut message, RowId { client: 1, number: 0 }, &served.text);
    net.send(writer, &message)?;
    net.turn_until(&mut told, "a row", |told| told.success.is_some() && told.patch.is_some())?;
    let success = told.success.as_deref().and_then(|text| serde_json::from_slice::<Success>(text).ok());
    let patch = told.patch.as_deref().and_then(|text| serde_json::from_slice::<Patch>(text).ok());
    let time = success.and_then(|success| success.result.first().map(|row| row.4));
    net.close_all();
    match (patch, time) {
        (Some(Patch { to, stamp }), Some(time)) => Ok(Held { version: to, stamp, time }),
        _ => Err(Error::Protocol("a row could not be made")),
    }
}

/// The messages that say where the room is.
#[derive(Default)]
struct Told {
    is_in: bool,
    success: Option<Vec<u8>>,
    patch: Option<Vec<u8>>,
}

impl Ear for Told {
    fn hear(&mut self, _: SocketId, message: &[u8], _: Instant, _: &mut Vec<u8>) {
        if message.ends_with(br#""more":false}"#) {
            self.is_in = true;
        } else if message.starts_with(br#"{"type":"success""#) {
            self.success = Some(message.to_owned());
        } else if message.starts_with(br#"{"type":"patch""#) {
            self.patch = Some(message.to_owned());
        }
    }
}

/// Makes the rows that they miss.
fn miss(served: &Served, net: &mut Net, room: &str, rows: u32) -> Result<(), Error> {
    let (socket, mut line) = served.open_as(net, room, Protocol::V1)?;
    (0..rows).try_for_each(|number| make(net, socket, &mut line, RowId { client: 2, number }, &served.text))
}

/// What it costs that somebody comes, on the average.
struct Visit {
    up_bytes: u64,
    down_bytes: u64,
    cpu_us: f64,
    times: Times,
    /// Those who got another number of rows than they should.
    wrong: u64,
}

impl Visit {
    /// So many come, one after the other. That they open a socket counts, too, but not its bytes.
    fn run(served: &Served, room: &str, clients: usize, held: Option<Held>, rows: usize) -> Result<Self, Error> {
        let mut net = Net::new()?;
        let (mut times, mut wrong) = (Times::default(), 0);
        let usage = Usage::start(served)?;
        for _ in 0..clients {
            let (socket, mut line) = served.open(&mut net, room)?;
            let asked = Instant::now();
            let messages = match held {
                Some(held) => line.enter_from(held),
                None => line.enter(),
            };
            net.send_all(socket, &messages)?;
            wrong += u64::from(first(&mut net, &mut line, "an answer to a sync")? != Heard::Snapshot(rows));
            times.add(asked.elapsed());
            net.close(socket);
        }
        let traffic = net.traffic;
        let mut used = Outcome::default();
        usage.describe(clients, &mut used)?;
        wrong += net.disconnects;
        net.close_all();
        let each = clients.max(1) as u64;
        let cpu_us = used.figure("server_cpu_us_per_unit");
        Ok(Visit { up_bytes: traffic.up / each, down_bytes: traffic.down / each, cpu_us, times, wrong })
    }
}
