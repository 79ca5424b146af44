//! Many rooms with one action each: what each costs, awake and asleep.

use std::time::{Duration, Instant};

use super::{count_rows, first_but, fresh_rooms};
use crate::error::Error;
use crate::net::Net;
use crate::options::{ManyRooms, Target};
use crate::process;
use crate::result::{Outcome, Progress, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, RowId};

/// Of the rooms, one in so many is visited again at the end.
const VISIT_EVERY: usize = 100;

pub(crate) fn run(target: &Target, many: &ManyRooms) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let server = served.process.clone().ok_or_else(|| Error::Server("its --pid is needed".to_owned()))?;
    let mut net = Net::new()?;
    let prefix = fresh_rooms();
    let name = |room: usize| format!("{prefix}-{room}");
    let before = server.memory()?;
    let usage = Usage::start(&served)?;
    let (start, mut times, mut wrong) = (Instant::now(), Times::default(), 0_u64);
    let mut progress = Progress::new();
    for room in 0..many.rooms {
        let visit = Instant::now();
        wrong += u64::from(!act(&served, &mut net, &name(room))?);
        times.add(visit.elapsed());
        progress.tell(|| format!("{room} rooms made"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut outcome = Outcome::new("many-rooms", &target.label);
    outcome.add("protocol", served.protocol.number());
    usage.describe(many.rooms, &mut outcome)?;
    let (awake, descriptors) = (server.memory()?, server.descriptors()?);
    net.rest(Duration::from_secs_f64(many.settle))?;

    let rooms = many.rooms.max(1) as f64;
    outcome.add("rooms", many.rooms);
    outcome.add_rounded("seconds", seconds);
    outcome.add_rounded("rooms_per_s", rooms / seconds);
    let (p50, p99) = times.describe("visit", &mut outcome);
    outcome.add("before_bytes", before);
    outcome.add("awake_bytes", awake);
    outcome.add("asleep_bytes", server.memory()?);
    outcome.add("awake_descriptors", descriptors);
    outcome.add("asleep_descriptors", server.descriptors()?);
    if let Some(data) = served.data() {
        let (files, bytes) = process::disk(data)?;
        outcome.add("files", files);
        outcome.add("disk_bytes", bytes);
        outcome.add_rounded("room_disk_bytes", bytes as f64 / rooms);
    }
    for room in (0..many.rooms).step_by(VISIT_EVERY) {
        wrong += u64::from(count_rows(&served, &mut net, &name(room))? != 1);
        net.close_all();
    }
    outcome.must_be_0("wrong_rows", wrong);
    outcome.must_be_0("disconnects", net.disconnects);
    outcome.say(format!(
        "{} rooms, an action each: {seconds:.1} s, a visit p50 {p50:.2} ms, p99 {p99:.2} ms; {:.1} KiB of memory each awake, {:.1} KiB \
         {:.0} s later; {:.1} KiB of disk each",
        many.rooms,
        awake.saturating_sub(before) as f64 / 1024.0 / rooms,
        outcome.figure("asleep_bytes").max(before as f64) / 1024.0 / rooms - before as f64 / 1024.0 / rooms,
        many.settle,
        outcome.figure("room_disk_bytes") / 1024.0
    ));
    Ok(outcome)
}

/// Visits a room, asks for its rows, acts in it and leaves. Returns whether the action was acked.
fn act(served: &Served, net: &mut Net, room: &str) -> Result<bool, Error> {
    let row = RowId { client: 0, number: 0 };
    let (socket, mut line) = served.open(net, room)?;
    let mut messages = line.enter();
    let mut create = String::new();
    line.create(&mut create, row, &served.text);
    messages.push(create);
    net.send_all(socket, &messages)?;
    let heard = first_but(net, &mut line, "an answer to an action", |heard| matches!(heard, Heard::Snapshot(_)))?;
    net.close_all();
    Ok(heard == Heard::Ack(row))
}
