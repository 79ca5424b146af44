//! Connections that have synced and do nothing.

use std::time::{Duration, Instant};

use super::{count_rows, fresh_rooms};
use crate::error::Error;
use crate::net::{Net, SocketId};
use crate::options::{Idle, Target};
use crate::process::Process;
use crate::result::{Outcome, Progress};
use crate::target::Served;
use crate::wire::Heard;

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
    outcome.add("protocol", served.protocol.number());
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
    let mut progress = Progress::new();
    let mut lines = Vec::new();
    for (socket, room) in (0..connections).zip(rooms.iter().cycle()) {
        let (_, line) = served.open(net, room)?;
        net.send_all(socket, &line.enter())?;
        lines.push(line);
        progress.tell(|| format!("{socket} sockets open"));
    }
    let mut heard = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while heard.len() < connections && Instant::now() < deadline {
        net.turn(deadline, &mut |from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>| {
            lines[from].read(message, now, out, &mut heard);
        })?;
    }
    let wrong = heard.iter().filter(|heard| **heard != Heard::Snapshot(0)).count();
    Ok((wrong + connections.abs_diff(heard.len())) as u64)
}
