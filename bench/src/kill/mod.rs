//! Kills a server without warning while clients act in several rooms, starts it again, and looks whether it kept its promises:
//! what it acked is there (P3), once (P4), whole (P5), under versions without a gap (P2).

mod check;
mod client;

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::options::Kill;
use crate::result::{Outcome, Progress};
use crate::target;
use client::{Client, Dialect};

/// The text of the actions that are rejected.
pub(crate) use client::NO;

const ROOMS: usize = 3;
/// Clients of each room, of either protocol in turn.
const CLIENTS: usize = 4;
/// The longest that a server lives, from when its clients are back.
const LIFE_MS: u64 = 150;
/// The shortest time after which rooms of every other life go to sleep, so that some are killed on their way.
const SHORT_IDLE_MS: u64 = 5;
/// How long what a dead server sent may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(crate) fn run(options: &Kill) -> Result<Outcome, Error> {
    let data = options.data.as_deref().map_or_else(TempDir::new, TempDir::new_in);
    let data = data.map_err(|error| Error::Server(error.to_string()))?;
    let mut rng = Rng(options.seed);
    let mut crowd = Crowd::new(options.seed);
    let mut net = Net::new()?;
    let mut progress = Progress::new();
    for life in 0..options.kills {
        let sleepy = life % 2 == 1;
        let server = target::spawn(data.path(), if sleepy { SHORT_IDLE_MS } else { 0 })?;
        let life_time = Duration::from_micros(rng.below(LIFE_MS * 1_000));
        crowd.live(&mut net, server, life_time, &mut rng)?;
        crowd.clients.iter_mut().for_each(|client| crowd.faults.append(&mut client.faults));
        for (room, clients) in crowd.clients.chunks(CLIENTS).enumerate() {
            crowd.faults.extend(check::room(data.path(), &room_name(room), clients)?);
        }
        if !crowd.faults.is_empty() {
            break;
        }
        progress.tell(|| format!("{} kills, {} actions answered", life + 1, crowd.answered()));
    }
    drop(progress);
    let outcome = crowd.outcome(options, data.path(), &mut net)?;
    if !outcome.is_sound() {
        // So that it can be looked at.
        eprintln!("the rooms are kept in {}", data.keep().display());
    }
    Ok(outcome)
}

fn room_name(room: usize) -> String {
    format!("killed-{room}")
}

/// All clients, over all lives of the server.
struct Crowd {
    /// Those of a room stand side by side.
    clients: Vec<Client>,
    faults: Vec<String>,
    retried: u64,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let client = |index: usize| {
            let dialect = if index.is_multiple_of(2) { Dialect::V1 } else { Dialect::V2 };
            Client::new(dialect, room_name(index / CLIENTS), (index % CLIENTS) as u32, seed)
        };
        Crowd { clients: (0..ROOMS * CLIENTS).map(client).collect(), faults: Vec::new(), retried: 0 }
    }

    fn answered(&self) -> usize {
        self.clients.iter().map(Client::answered).sum()
    }

    /// One life of a server: all come back, ask again for what was not answered, act, until it is killed.
    fn live(
        &mut self,
        net: &mut Net,
        server: (Child, std::net::SocketAddr),
        time: Duration,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        let (mut child, address) = server;
        let lived = self.come_back(net, address, rng).and_then(|()| {
            let death = Instant::now() + time;
            while Instant::now() < death {
                net.turn(death, self)?;
            }
            Ok(())
        });
        // Whatever happened: SIGKILL, on Unix.
        let killed = child.kill().and_then(|()| child.wait());
        lived?;
        killed.map_err(|error| Error::Server(error.to_string()))?;
        let end = Instant::now() + LAST_WORDS;
        while net.is_open() && Instant::now() < end {
            net.turn(end, self)?;
        }
        net.close_all();
        Ok(())
    }

    fn come_back(&mut self, net: &mut Net, address: std::net::SocketAddr, rng: &mut Rng) -> Result<(), Error> {
        for client in &mut self.clients {
            let socket = net.open(address, &client.path())?;
            // Something that was answered long ago is asked for again: the answer is to be the same.
            let again = client
                .settled()
                .checked_sub(1)
                .map(|last| last.saturating_sub(rng.below(u64::from(client::ASK_BACK)) as u32));
            self.retried += u64::from(again.is_some());
            for message in client.come_back(again) {
                net.send(socket, &message)?;
            }
        }
        Ok(())
    }

    fn outcome(mut self, options: &Kill, data: &Path, net: &mut Net) -> Result<Outcome, Error> {
        // In the end it runs on, and all that was ever asked for is answered.
        if self.faults.is_empty() {
            let (mut child, address) = target::spawn(data, 0)?;
            self.clients.iter_mut().for_each(Client::stop);
            let settled = self.come_back(net, address, &mut Rng(options.seed)).and_then(|()| {
                net.turn_until(&mut self, "all answers", |crowd| crowd.clients.iter().all(Client::is_settled))
            });
            let ended = child.kill().and_then(|()| child.wait());
            settled?;
            ended.map_err(|error| Error::Server(error.to_string()))?;
            for (room, clients) in self.clients.chunks(CLIENTS).enumerate() {
                self.faults.extend(check::room(data, &room_name(room), clients)?);
            }
        }
        self.clients.iter_mut().for_each(|client| self.faults.append(&mut client.faults));
        let mut outcome = Outcome::new("kill", "");
        outcome.add("seed", options.seed);
        outcome.add("kills", options.kills);
        outcome.add("actions_answered", self.answered());
        outcome.add("asked_again", self.retried);
        outcome.add("asked_again_unanswered", self.clients.iter().map(|client| client.resent).sum::<u64>());
        outcome.must_be_0("broken_promises", self.faults.len() as u64);
        let first = self.faults.first().map(|fault| format!("; the first broken promise: {fault}")).unwrap_or_default();
        outcome.say(format!(
            "seed {}: {} kills, {} actions answered{first}",
            options.seed,
            options.kills,
            self.answered()
        ));
        Ok(outcome)
    }
}

impl Ear for Crowd {
    fn hear(&mut self, from: SocketId, message: &[u8], _: Instant, out: &mut Vec<u8>) {
        self.clients[from].hear(message, out);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}
