//! Connections that have synced and do nothing.

use std::time::Duration;

use super::{count_rows, fresh_rooms};
use crate::error::Error;
use crate::net::{Net, SocketId};
use crate::options::{Idle, Target};
use crate::process::Process;
use crate::result::{Outcome, Progress};
use crate::target::Served;
use crate::wire::{Heard, Wire};

pub(crate) fn run(target: &Target, idle: &Idle) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let process = served.process.clone().ok_or_else(|| Error::Server("its --pid is needed".to_owned()))?;
    let mut net = Net::new()?;
    let prefix = fresh_rooms();
    let rooms: Vec<String> = (0..idle.rooms.max(1)).map(|room| format!("{prefix}-{room}")).collect();
    // What rooms take is not what connections take.
    for room in &rooms {
        count_rows(&served, &mut net, room)?;
    }
    net.close_all();
    let settle = Duration::from_secs_f64(idle.settle);
    net.rest(settle)?;
    let before = process.memory()?;
    let wrong = open(&served, &mut net, &rooms, idle.connections)?;
    net.rest(settle)?;
    let (during, cpu) = (process.memory()?, process.cpu()?);
    net.rest(settle)?;
    let cpu = process.cpu()? - cpu;
    let disconnects = net.disconnects;
    net.close_all();
    net.rest(settle)?;

    let each = |bytes: u64| bytes as f64 / idle.connections.max(1) as f64;
    let mut outcome = Outcome::new("idle", &target.label);
    outcome.add("connections", idle.connections);
    outcome.add("rooms", rooms.len());
    outcome.add("before_bytes", before);
    outcome.add("during_bytes", during);
    outcome.add("after_bytes", process.memory()?);
    outcome.add("load_bytes", Process::myself()?.memory()?);
    outcome.add_rounded("connection_bytes", each(during.saturating_sub(before)));
    outcome.add_rounded("cpu_ms_per_s", cpu.as_secs_f64() * 1e3 / idle.settle.max(0.001));
    outcome.must_be_0("disconnects", disconnects);
    outcome.must_be_0("failed", wrong);
    outcome.say(format!(
        "{} connections over {} rooms: {:.1} KiB each; {:.1} MiB before, {:.1} MiB with them",
        idle.connections,
        rooms.len(),
        each(during.saturating_sub(before)) / 1024.0,
        before as f64 / 1048576.0,
        during as f64 / 1048576.0
    ));
    Ok(outcome)
}

/// Opens the connections, each of which syncs; returns how many answers were not as they should be.
fn open(served: &Served, net: &mut Net, rooms: &[String], connections: usize) -> Result<u64, Error> {
    let sync = served.wire.sync();
    let mut progress = Progress::new();
    for (socket, room) in (0..connections).zip(rooms.iter().cycle()) {
        net.open(served.address, &served.wire.path(room))?;
        net.send(socket, &sync)?;
        progress.tell(|| format!("{socket} sockets open"));
    }
    let (mut answered, mut wrong) = (0_usize, 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while answered < connections && std::time::Instant::now() < deadline {
        net.turn(deadline, &mut |_: SocketId, message: &[u8], _: std::time::Instant, _: &mut Vec<u8>| {
            answered += 1;
            served.wire.read(message, &mut |heard| wrong += u64::from(heard != Heard::Snapshot(0)));
        })?;
    }
    Ok(wrong + connections.abs_diff(answered) as u64)
}
