//! Clients that act as fast as they are answered: a closed loop. A slow server is sent less.

use std::time::{Duration, Instant};

use super::{Counts, Sequence, count_rows, fill, fresh_rooms};
use crate::error::Error;
use crate::frame;
use crate::net::{Ear, Net, SocketId};
use crate::options::{Load, Target};
use crate::result::{Outcome, Progress, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, Line, Protocol, RowId};

pub(crate) fn run(target: &Target, load: &Load, rooms: usize) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let names: Vec<String> = (0..rooms).map(|room| format!("{}-{room}", fresh_rooms())).collect();
    for name in &names {
        fill(&served, &mut net, name, load.rows)?;
    }
    net.close_all();
    let mut crowd = Crowd::open(&served, &mut net, &names, load)?;
    let measured = crowd.act(&served, &mut net, load)?;

    let mut outcome = Outcome::new(if rooms == 1 { "actions" } else { "rooms" }, &target.label);
    outcome.add("protocol", served.protocol.number());
    let acked = measured.acked;
    let rate = acked as f64 / measured.seconds;
    for (name, count) in
        [("rooms", rooms), ("clients", load.clients), ("in_flight", load.in_flight), ("rows", load.rows)]
    {
        outcome.add(name, count);
    }
    outcome.add_rounded("seconds", measured.seconds);
    outcome.add("actions", acked);
    outcome.add_rounded("actions_per_s", rate);
    measured.usage.describe(acked, &mut outcome)?;
    let (p50, p99) = std::mem::take(&mut crowd.times).describe("ack", &mut outcome);
    crowd.check(&served, &mut net, &names, load, &mut outcome)?;
    let cpu = outcome.figure("server_cpu_us_per_unit");
    outcome.say(format!(
        "{rooms} rooms x {} clients x {}: {rate:.0} actions/s, ack p50 {p50:.2} ms, p99 {p99:.2} ms, {cpu:.1} us of the server's CPU each",
        load.clients, load.in_flight
    ));
    Ok(outcome)
}

struct Measured {
    seconds: f64,
    acked: usize,
    usage: Usage,
}

/// Clients over rooms: those of a room stand side by side.
pub(super) struct Crowd<'s> {
    served: &'s Served,
    per_room: usize,
    actors: Vec<Actor>,
    pub(super) counts: Counts,
    times: Times,
    /// Actions of each client, at the most.
    pub(super) most: usize,
    /// Whether acks count.
    counting: bool,
    /// Whether an ack is followed by the next action.
    acting: bool,
    synced: usize,
    rows_at_join: Vec<usize>,
    message: String,
    heard: Vec<Heard>,
}

struct Actor {
    line: Line,
    /// When each action was sent, by its number.
    sent: Vec<Instant>,
    acks: Sequence,
    /// What it hears of the others in its room.
    news: Vec<Sequence>,
}

impl<'s> Crowd<'s> {
    pub(super) fn open(served: &'s Served, net: &mut Net, rooms: &[String], load: &Load) -> Result<Self, Error> {
        let count = rooms.len() * load.clients;
        let mut crowd = Crowd {
            served,
            per_room: load.clients,
            actors: Vec::new(),
            counts: Counts::default(),
            times: Times::default(),
            most: usize::MAX,
            counting: false,
            acting: false,
            synced: 0,
            rows_at_join: vec![0; count],
            message: String::new(),
            heard: Vec::new(),
        };
        for room in rooms {
            for _ in 0..load.clients {
                let (_, line) = served.open(net, room)?;
                let news = (0..load.clients).map(|_| Sequence::default()).collect();
                crowd.actors.push(Actor { line, sent: Vec::new(), acks: Sequence::default(), news });
            }
        }
        if crowd.is_synced(load) {
            (0..count).try_for_each(|socket| net.send_all(socket, &crowd.actors[socket].line.enter()))?;
            net.turn_until(&mut crowd, "an answer to each sync", |crowd| crowd.synced == count)?;
            crowd.counts.wrong += crowd.rows_at_join.iter().filter(|rows| **rows != load.rows).count() as u64;
        }
        Ok(crowd)
    }

    /// Whether clients ask for the rows: those of version 2 cannot do without.
    fn is_synced(&self, load: &Load) -> bool {
        !load.unsynced || self.served.protocol == Protocol::V2
    }

    /// Sends each client's first actions; an answer to one is followed by the next.
    pub(super) fn start(&mut self, net: &mut Net, in_flight: usize) -> Result<(), Error> {
        self.acting = true;
        for socket in 0..self.actors.len() {
            for _ in 0..in_flight.min(self.most) {
                self.next_action(socket);
                net.send(socket, &self.message)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, served: &Served, net: &mut Net, load: &Load) -> Result<Measured, Error> {
        self.start(net, load.in_flight)?;
        let mut progress = Progress::new();
        let mut turn_for = |crowd: &mut Crowd<'_>, seconds: f64| {
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            while Instant::now() < until {
                net.turn(until, crowd)?;
                progress.tell(|| format!("{} actions answered", crowd.times.len()));
            }
            Ok::<(), Error>(())
        };
        turn_for(self, load.warmup)?;
        self.counting = true;
        let (start, usage) = (Instant::now(), Usage::start(served)?);
        turn_for(self, load.seconds)?;
        let measured = Measured { seconds: start.elapsed().as_secs_f64(), acked: self.times.len(), usage };
        self.acting = false;
        self.counting = false;
        Ok(measured)
    }

    /// Makes the message of a client's next action.
    fn next_action(&mut self, socket: SocketId) {
        let actor = &mut self.actors[socket];
        // A client takes its number in its room, so that it says whose news it is.
        let client = u32::try_from(socket % self.per_room).unwrap_or(u32::MAX);
        let number = u32::try_from(actor.sent.len()).unwrap_or(u32::MAX);
        self.message.clear();
        actor.line.create(&mut self.message, RowId { client, number }, &self.served.text);
        actor.sent.push(Instant::now());
    }

    /// Waits for what is on its way, and counts what did not come.
    pub(super) fn check(
        &mut self,
        served: &Served,
        net: &mut Net,
        rooms: &[String],
        load: &Load,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let sent: usize = self.actors.iter().map(|actor| actor.sent.len()).sum();
        let listeners = if self.is_synced(load) { load.clients - 1 } else { 0 };
        let expected = (sent * (1 + listeners)) as u64;
        let late = net.turn_until(self, "all answers", |crowd| crowd.counts.received + crowd.counts.wrong >= expected);
        if !matches!(late, Ok(()) | Err(Error::Late(..))) {
            return late;
        }
        outcome.must_be_0("disconnects", net.disconnects);
        outcome.must_be_0("missed", expected.saturating_sub(self.counts.received));
        outcome.must_be_0("duplicates", self.counts.duplicates);
        outcome.must_be_0("out_of_order", self.counts.out_of_order);
        outcome.must_be_0("failed", self.counts.wrong);
        net.close_all();
        let mut wrong_rows = 0;
        for (room, actors) in rooms.iter().zip(self.actors.chunks(self.per_room)) {
            let made: usize = actors.iter().map(|actor| actor.sent.len()).sum();
            let found = count_rows(served, net, room)?;
            net.close_all();
            wrong_rows += found.abs_diff(load.rows + made) as u64;
        }
        outcome.must_be_0("wrong_rows", wrong_rows);
        Ok(())
    }
}

impl Ear for Crowd<'_> {
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>) {
        let mut heard = std::mem::take(&mut self.heard);
        self.actors[from].line.read(message, now, out, &mut heard);
        heard.drain(..).for_each(|heard| self.take(from, heard, now, out));
        self.heard = heard;
    }
}

impl Crowd<'_> {
    fn take(&mut self, from: SocketId, heard: Heard, now: Instant, out: &mut Vec<u8>) {
        match heard {
            Heard::Snapshot(rows) => {
                self.synced += 1;
                self.rows_at_join[from] = rows;
            }
            Heard::Ack(row) => {
                let actor = &mut self.actors[from];
                actor.acks.take(row.number, &mut self.counts);
                if self.counting
                    && let Some(sent) = actor.sent.get(row.number as usize)
                {
                    self.times.add(now - *sent);
                }
                if self.acting && actor.sent.len() < self.most {
                    self.next_action(from);
                    frame::push_text(out, &self.message);
                }
            }
            Heard::News(row) => match self.actors[from].news.get_mut(row.client as usize) {
                Some(sequence) => sequence.take(row.number, &mut self.counts),
                None => self.counts.wrong += 1,
            },
            Heard::Filled | Heard::Wrong => self.counts.wrong += 1,
        }
    }
}
