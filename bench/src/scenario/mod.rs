//! The kinds of load.

pub(crate) mod actions;
pub(crate) mod bytes;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod many_rooms;
pub(crate) mod resume;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::net::{Ear, Net, SocketId};
use crate::target::Served;
use crate::wire::{Heard, Line, Protocol, RowId};

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
    let (socket, mut line) = served.open_as(net, room, Protocol::V1)?;
    let filled = if served.fills {
        fill_fast(served, net, socket, &mut line, rows)
    } else {
        fill_slowly(served, net, socket, &mut line, rows)
    };
    net.close(socket);
    filled
}

fn fill_fast(served: &Served, net: &mut Net, socket: SocketId, line: &mut Line, rows: usize) -> Result<(), Error> {
    for from in (0..rows).step_by(FILL_ROWS) {
        net.send(socket, &line.fill(from, rows.min(from + FILL_ROWS), &served.text))?;
        let heard = first(net, line, "an answer to an action that fills the room")?;
        if heard != Heard::Filled {
            return Err(Error::Protocol("a room could not be filled"));
        }
    }
    Ok(())
}

fn fill_slowly(served: &Served, net: &mut Net, socket: SocketId, line: &mut Line, rows: usize) -> Result<(), Error> {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let mut message = String::new();
    for from in (0..rows).step_by(FILL_IN_FLIGHT as usize) {
        let to = rows.min(from + FILL_IN_FLIGHT);
        for number in from..to {
            message.clear();
            line.create(&mut message, RowId { client: FILLER, number }, &served.text);
            net.send(socket, &message)?;
        }
        for _ in from..to {
            if !matches!(first(net, line, "an answer to an action that fills the room")?, Heard::Ack(_)) {
                return Err(Error::Protocol("a room could not be filled"));
            }
        }
    }
    Ok(())
}

/// Makes a row, and returns when it is there.
fn make(net: &mut Net, socket: SocketId, line: &mut Line, row: RowId, text: &str) -> Result<(), Error> {
    let mut message = String::new();
    line.create(&mut message, row, text);
    net.send(socket, &message)?;
    let heard = first(net, line, "an answer to an action")?;
    if heard == Heard::Ack(row) { Ok(()) } else { Err(Error::Protocol("a row could not be made")) }
}

/// How many rows somebody finds who comes new to a room. Asked in version 1, whichever is measured: its answer is all there is.
fn count_rows(served: &Served, net: &mut Net, room: &str) -> Result<usize, Error> {
    let (socket, mut line) = served.open_as(net, room, Protocol::V1)?;
    net.send_all(socket, &line.enter())?;
    let heard = first(net, &mut line, "an answer to a sync")?;
    net.close(socket);
    match heard {
        Heard::Snapshot(rows) => Ok(rows),
        _ => Err(Error::Protocol("a sync was not answered")),
    }
}

/// The first that is said, on the one socket that is open.
fn first(net: &mut Net, line: &mut Line, what: &'static str) -> Result<Heard, Error> {
    first_but(net, line, what, |_| false)
}

/// The first that is said, but for what is to be passed over.
fn first_but(
    net: &mut Net,
    line: &mut Line,
    what: &'static str,
    passes: impl Fn(&Heard) -> bool,
) -> Result<Heard, Error> {
    struct First<'l, P> {
        line: &'l mut Line,
        heard: Vec<Heard>,
        passes: P,
    }
    impl<P: Fn(&Heard) -> bool> Ear for First<'_, P> {
        fn hear(&mut self, _: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>) {
            self.line.read(message, now, out, &mut self.heard);
            self.heard.retain(|heard| !(self.passes)(heard));
        }
    }
    let mut ear = First { line, heard: Vec::new(), passes };
    net.turn_until(&mut ear, what, |ear| !ear.heard.is_empty())?;
    if ear.heard.is_empty() { Err(Error::Protocol("nothing was said")) } else { Ok(ear.heard.remove(0)) }
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
