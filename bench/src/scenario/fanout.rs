//! One writer that keeps its rate whatever the server does, and listeners that hear of each action.

use std::time::{Duration, Instant};

use super::{Counts, Sequence, count_rows, fresh_rooms};
use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::options::{Fanout, Target};
use crate::result::{Outcome, Progress, Times, Usage};
use crate::target::Served;
use crate::wire::{Heard, Line, RowId};

/// The writer's socket: the first.
const WRITER: SocketId = 0;

pub(crate) fn run(target: &Target, fanout: &Fanout) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let room = fresh_rooms();
    let mut hall = Hall::open(&served, &mut net, &room, fanout.listeners)?;
    hall.write(&mut net, fanout.rate, fanout.warmup)?;
    hall.counting_from = hall.sent.len();
    let usage = Usage::start(&served)?;
    let start = Instant::now();
    hall.write(&mut net, fanout.rate, fanout.seconds)?;
    let seconds = start.elapsed().as_secs_f64();
    let actions = hall.sent.len() - hall.counting_from;
    let expected = (hall.sent.len() * (fanout.listeners + 1)) as u64;
    let late = net.turn_until(&mut hall, "all news", |hall| hall.counts.received + hall.counts.wrong >= expected);
    if !matches!(late, Ok(()) | Err(Error::Late(..))) {
        return late.map(|()| Outcome::default());
    }

    let mut outcome = Outcome::new("fanout", &target.label);
    outcome.add("protocol", served.protocol.number());
    outcome.add("listeners", fanout.listeners);
    outcome.add("rate", fanout.rate);
    outcome.add("actions", actions);
    outcome.add_rounded("seconds", seconds);
    outcome.add_rounded("deliveries_per_s", hall.deliveries.len() as f64 / seconds);
    outcome.add_rounded("writer_late_max_ms", hall.late.as_secs_f64() * 1e3);
    usage.describe(actions, &mut outcome)?;
    outcome.add_rounded("server_cpu_us_per_delivery", {
        outcome.figure("server_cpu_s") * 1e6 / hall.deliveries.len().max(1) as f64
    });
    let (p50, p99) = std::mem::take(&mut hall.deliveries).describe("delivery", &mut outcome);
    let (ack, _) = std::mem::take(&mut hall.acks).describe("ack", &mut outcome);
    outcome.must_be_0("disconnects", net.disconnects);
    outcome.must_be_0("missed", expected.saturating_sub(hall.counts.received));
    outcome.must_be_0("duplicates", hall.counts.duplicates);
    outcome.must_be_0("out_of_order", hall.counts.out_of_order);
    outcome.must_be_0("failed", hall.counts.wrong);
    let made = hall.sent.len();
    net.close_all();
    outcome.must_be_0("wrong_rows", count_rows(&served, &mut net, &room)?.abs_diff(made) as u64);
    outcome.say(format!(
        "{} listeners, {}/s: delivered in p50 {p50:.2} ms, p99 {p99:.2} ms; ack p50 {ack:.2} ms; {:.1} us of the server's CPU an action",
        fanout.listeners,
        fanout.rate,
        outcome.figure("server_cpu_us_per_unit")
    ));
    Ok(outcome)
}

/// A writer and its listeners.
struct Hall<'s> {
    served: &'s Served,
    lines: Vec<Line>,
    messages: Vec<Heard>,
    /// When each action was sent.
    sent: Vec<Instant>,
    counting_from: usize,
    /// What each socket hears: the writer its acks, the others the news.
    heard: Vec<Sequence>,
    counts: Counts,
    synced: usize,
    acks: Times,
    deliveries: Times,
    /// The most that the writer was behind its rate.
    late: Duration,
}

impl<'s> Hall<'s> {
    fn open(served: &'s Served, net: &mut Net, room: &str, listeners: usize) -> Result<Self, Error> {
        let sockets = listeners + 1;
        let mut hall = Hall {
            served,
            lines: Vec::new(),
            messages: Vec::new(),
            sent: Vec::new(),
            counting_from: usize::MAX,
            heard: Vec::new(),
            counts: Counts::default(),
            synced: 0,
            acks: Times::default(),
            deliveries: Times::default(),
            late: Duration::ZERO,
        };
        let mut progress = Progress::new();
        for _ in 0..sockets {
            let (socket, line) = served.open(net, room)?;
            net.send_all(socket, &line.enter())?;
            hall.lines.push(line);
            hall.heard.push(Sequence::default());
            progress.tell(|| format!("{socket} sockets open"));
        }
        net.turn_until(&mut hall, "an answer to each sync", |hall| hall.synced == sockets)?;
        Ok(hall)
    }

    fn write(&mut self, net: &mut Net, rate: f64, seconds: f64) -> Result<(), Error> {
        let start = Instant::now();
        let mut progress = Progress::new();
        let mut message = String::new();
        for action in 0..(rate * seconds) as u32 {
            let due = start + Duration::from_secs_f64(f64::from(action) / rate);
            while Instant::now() < due {
                net.turn(due, self)?;
            }
            self.late = self.late.max(due.elapsed());
            let number = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
            message.clear();
            self.lines[WRITER].create(&mut message, RowId { client: 0, number }, &self.served.text);
            self.sent.push(Instant::now());
            net.send(WRITER, &message)?;
            progress.tell(|| format!("{number} actions sent"));
        }
        Ok(())
    }
}

impl Ear for Hall<'_> {
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>) {
        self.lines[from].read(message, now, out, &mut self.messages);
        for heard in self.messages.drain(..) {
            let (row, times) = match heard {
                Heard::Snapshot(0) => {
                    self.synced += 1;
                    continue;
                }
                Heard::Ack(row) if from == WRITER => (row, &mut self.acks),
                Heard::News(row) if from != WRITER => (row, &mut self.deliveries),
                _ => {
                    self.counts.wrong += 1;
                    continue;
                }
            };
            self.heard[from].take(row.number, &mut self.counts);
            if let Some(sent) = self.sent.get(row.number as usize).filter(|_| row.number as usize >= self.counting_from)
            {
                times.add(now - *sent);
            }
        }
    }
}
