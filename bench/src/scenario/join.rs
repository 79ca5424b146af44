//! Clients that come new to a room with many rows.

use std::time::Instant;

use super::{fill, first, fresh_rooms, make};
use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::options::{Join, Target};
use crate::result::{Outcome, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, Line, RowId};

pub(crate) fn run(target: &Target, join: &Join) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let room = fresh_rooms();
    fill(&served, &mut net, &room, join.rows)?;
    net.close_all();
    let mut writer = (join.changes > 0).then(|| Writer::open(&served, &room)).transpose()?;

    let usage = Usage::start(&served)?;
    let mut door = Door {
        lines: Vec::new(),
        heard: Vec::new(),
        rows: join.rows,
        changes: join.changes > 0,
        asked: Vec::new(),
        answered: 0,
        bytes: 0,
        wrong: 0,
        times: Times::default(),
    };
    let start = Instant::now();
    for client in 0..join.clients {
        door.lines.push(served.open(&mut net, &room)?.1);
        door.asked.push(Instant::now());
        if join.one_by_one {
            if let Some(writer) = &mut writer {
                door.rows += writer.write(join.changes, &served.text)?;
            }
            door.asked[client] = Instant::now();
            net.send_all(client, &door.lines[client].enter())?;
            net.turn_until(&mut door, "an answer to a sync", |door| door.answered > client)?;
        }
    }
    if !join.one_by_one {
        for client in 0..join.clients {
            door.asked[client] = Instant::now();
            net.send_all(client, &door.lines[client].enter())?;
        }
        net.turn_until(&mut door, "an answer to each sync", |door| door.answered == join.clients)?;
    }
    let seconds = start.elapsed().as_secs_f64();

    let mut outcome = Outcome::new("join", &target.label);
    outcome.add("protocol", served.protocol.number());
    outcome.add("rows", join.rows);
    outcome.add("clients", join.clients);
    outcome.add("changes", join.changes);
    outcome.add_rounded("seconds", seconds);
    outcome.add("bytes", door.bytes / join.clients.max(1));
    usage.describe(join.clients, &mut outcome)?;
    let (p50, p99) = std::mem::take(&mut door.times).describe("sync", &mut outcome);
    outcome.must_be_0("disconnects", net.disconnects);
    outcome.must_be_0("wrong_rows", door.wrong);
    outcome.say(format!(
        "{} rows to {} clients: p50 {p50:.2} ms, p99 {p99:.2} ms, {} bytes each, {:.0} us of the server's CPU each",
        join.rows,
        join.clients,
        door.bytes / join.clients.max(1),
        outcome.figure("server_cpu_us_per_unit")
    ));
    Ok(outcome)
}

/// Somebody who is in the room all the time, on a socket that is not counted.
struct Writer {
    net: Net,
    socket: SocketId,
    line: Line,
    made: u32,
}

impl Writer {
    fn open(served: &Served, room: &str) -> Result<Self, Error> {
        let mut net = Net::new()?;
        let (socket, line) = served.open(&mut net, room)?;
        let mut writer = Writer { net, socket, line, made: 0 };
        writer.net.send_all(socket, &writer.line.enter())?;
        first(&mut writer.net, &mut writer.line, "all rows")?;
        Ok(writer)
    }

    /// Makes rows, one after the other; returns how many.
    fn write(&mut self, rows: u32, text: &str) -> Result<usize, Error> {
        for number in self.made..self.made + rows {
            make(&mut self.net, self.socket, &mut self.line, RowId { client: 0, number }, text)?;
        }
        self.made += rows;
        Ok(rows as usize)
    }
}

struct Door {
    lines: Vec<Line>,
    heard: Vec<Heard>,
    rows: usize,
    /// Those who are in hear of others' rows.
    changes: bool,
    /// When each client asked.
    asked: Vec<Instant>,
    answered: usize,
    bytes: usize,
    wrong: u64,
    times: Times,
}

impl Ear for Door {
    /// The clock stops when all rows are read: who gets them in parts reads the first while others are on their way.
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>) {
        self.bytes += message.len();
        self.lines[from].read(message, now, out, &mut self.heard);
        for heard in self.heard.drain(..) {
            if self.changes && matches!(heard, Heard::News(_)) {
                continue;
            }
            self.times.add(self.asked[from].elapsed());
            self.answered += 1;
            self.wrong += u64::from(heard != Heard::Snapshot(self.rows));
        }
    }
}
