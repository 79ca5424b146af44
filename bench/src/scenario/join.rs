//! Clients that come new to a room with many rows.

use std::time::Instant;

use super::{fill, fresh_rooms};
use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::options::{Join, Target};
use crate::result::{Outcome, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, Wire};

pub(crate) fn run(target: &Target, join: &Join) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let room = fresh_rooms();
    fill(&served, &mut net, &room, join.rows)?;
    net.close_all();

    let usage = Usage::start(&served)?;
    let mut door = Door {
        served: &served,
        rows: join.rows,
        asked: Vec::new(),
        answered: 0,
        bytes: 0,
        wrong: 0,
        times: Times::default(),
    };
    let sync = served.wire.sync();
    let start = Instant::now();
    for client in 0..join.clients {
        net.open(served.address, &served.wire.path(&room))?;
        door.asked.push(Instant::now());
        if join.one_by_one {
            net.send(client, &sync)?;
            net.turn_until(&mut door, "an answer to a sync", |door| door.answered > client)?;
        }
    }
    if !join.one_by_one {
        for client in 0..join.clients {
            door.asked[client] = Instant::now();
            net.send(client, &sync)?;
        }
        net.turn_until(&mut door, "an answer to each sync", |door| door.answered == join.clients)?;
    }
    let seconds = start.elapsed().as_secs_f64();

    let mut outcome = Outcome::new("join", &target.label);
    outcome.add("rows", join.rows);
    outcome.add("clients", join.clients);
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

struct Door<'s> {
    served: &'s Served,
    rows: usize,
    /// When each client asked.
    asked: Vec<Instant>,
    answered: usize,
    bytes: usize,
    wrong: u64,
    times: Times,
}

impl Ear for Door<'_> {
    /// The clock stops when the message is there, not when it is read.
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, _: &mut Vec<u8>) {
        self.times.add(now - self.asked[from]);
        self.answered += 1;
        self.bytes += message.len();
        let rows = self.rows;
        let mut wrong = 1;
        self.served.wire.read(message, &mut |heard| wrong = u64::from(heard != Heard::Snapshot(rows)));
        self.wrong += wrong;
    }
}
