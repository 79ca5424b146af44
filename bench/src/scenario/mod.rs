//! The kinds of load.

pub(crate) mod actions;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod many_rooms;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::target::Served;
use crate::wire::{Heard, RowId, Wire};

/// Rows that one action makes at most.
const FILL_ROWS: usize = 10_000;
/// Actions that fill a room of a server that is not ours, at once.
const FILL_IN_FLIGHT: u32 = 64;
/// The client whose rows fill a room; no other has this number.
const FILLER: u32 = u32::MAX;

/// A prefix of rooms that nobody has used.
fn fresh_rooms() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench-{:x}-{:x}", now.as_micros(), std::process::id())
}

/// Puts so many rows into a room.
fn fill(served: &Served, net: &mut Net, room: &str, rows: usize) -> Result<(), Error> {
    if rows == 0 {
        return Ok(());
    }
    let socket = net.open(served.address, &served.wire.path(room))?;
    let filled =
        if served.fills { fill_fast(served, net, socket, rows) } else { fill_slowly(served, net, socket, rows) };
    net.close(socket);
    filled
}

fn fill_fast(served: &Served, net: &mut Net, socket: SocketId, rows: usize) -> Result<(), Error> {
    for from in (0..rows).step_by(FILL_ROWS) {
        net.send(socket, &served.wire.fill(from, rows.min(from + FILL_ROWS), &served.text))?;
        let heard = first(served, net, "an answer to an action that fills the room")?;
        if heard != Heard::Filled {
            return Err(Error::Protocol("a room could not be filled"));
        }
    }
    Ok(())
}

fn fill_slowly(served: &Served, net: &mut Net, socket: SocketId, rows: usize) -> Result<(), Error> {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let mut message = String::new();
    for from in (0..rows).step_by(FILL_IN_FLIGHT as usize) {
        let to = rows.min(from + FILL_IN_FLIGHT);
        for number in from..to {
            message.clear();
            served.wire.create(&mut message, RowId { client: FILLER, number }, &served.text);
            net.send(socket, &message)?;
        }
        for _ in from..to {
            if !matches!(first(served, net, "an answer to an action that fills the room")?, Heard::Ack(_)) {
                return Err(Error::Protocol("a room could not be filled"));
            }
        }
    }
    Ok(())
}

/// How many rows somebody finds who comes new to a room.
fn count_rows(served: &Served, net: &mut Net, room: &str) -> Result<usize, Error> {
    let socket = net.open(served.address, &served.wire.path(room))?;
    net.send(socket, &served.wire.sync())?;
    let heard = first(served, net, "an answer to a sync")?;
    net.close(socket);
    match heard {
        Heard::Snapshot(rows) => Ok(rows),
        _ => Err(Error::Protocol("a sync was not answered")),
    }
}

/// The first that is said, on whatever socket.
fn first(served: &Served, net: &mut Net, what: &'static str) -> Result<Heard, Error> {
    struct First<'s> {
        served: &'s Served,
        heard: std::collections::VecDeque<Heard>,
    }
    impl Ear for First<'_> {
        fn hear(&mut self, _: SocketId, message: &[u8], _: Instant, _: &mut Vec<u8>) {
            let heard = &mut self.heard;
            self.served.wire.read(message, &mut |what| heard.push_back(what));
        }
    }
    let mut ear = First { served, heard: std::collections::VecDeque::new() };
    net.turn_until(&mut ear, what, |ear| !ear.heard.is_empty())?;
    ear.heard.pop_front().ok_or(Error::Protocol("nothing was said"))
}

/// Whether what comes from one writer comes whole and in order.
#[derive(Debug, Default)]
struct Sequence {
    next: u32,
}

/// What a listener counts.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    received: u64,
    duplicates: u64,
    out_of_order: u64,
    /// Failed actions, and messages that should not have come.
    wrong: u64,
}

impl Sequence {
    fn take(&mut self, number: u32, counts: &mut Counts) {
        counts.received += 1;
        if number < self.next {
            counts.duplicates += 1;
        } else {
            counts.out_of_order += u64::from(number > self.next);
            self.next = number + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_or_not_in_order_is_counted() {
        let (mut sequence, mut counts) = (Sequence::default(), Counts::default());
        for number in [0, 1, 1, 3, 2, 4] {
            sequence.take(number, &mut counts);
        }
        assert_eq!((counts.received, counts.duplicates, counts.out_of_order), (6, 2, 1));
    }
}
