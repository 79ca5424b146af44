//! What the protocols look like from here: a socket speaks one of them, and scenarios hear the same of both.

mod v1;
mod v2;

use std::time::Instant;

use clap::ValueEnum;

use self::v1::V1;
use self::v2::V2;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Protocol {
    #[default]
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

impl Protocol {
    pub(crate) fn number(self) -> u32 {
        match self {
            Protocol::V1 => 1,
            Protocol::V2 => 2,
        }
    }
}

/// A row, by who made it and its number among those. The action that makes it is the client's with that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId {
    pub(crate) client: u32,
    pub(crate) number: u32,
}

/// What somebody has who was in a room before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// A cursor, for version 2.
    pub(crate) version: u64,
    pub(crate) stamp: u64,
    /// The newest row's time, for version 1.
    pub(crate) time: i64,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// All rows of the room, or all that changed since what was held: so many.
    Snapshot(usize),
    /// The action that makes the row has been run, and its effect is here and is as it should be.
    Ack(RowId),
    /// Rooms have been filled: the answer to what [`Line::fill`] asked for.
    Filled,
    /// Somebody else made the row.
    News(RowId),
    /// What should not come, or is not as it should be.
    Wrong,
}

/// What a socket says and hears.
#[derive(Debug)]
pub(crate) enum Line {
    V1(V1),
    // Boxed: there are thousands, and of the other kind it is nothing.
    V2(Box<V2>),
}

impl Line {
    /// A socket to a room.
    pub(crate) fn new(protocol: Protocol, party: &str, room: &str) -> Self {
        match protocol {
            Protocol::V1 => Line::V1(V1),
            Protocol::V2 => Line::V2(Box::new(V2::new(party, room))),
        }
    }

    /// What version 1's clients add to a socket's address to say who they are.
    pub(crate) fn query(&self) -> String {
        match self {
            Line::V1(_) => format!("?_pk={}", fresh_client()),
            Line::V2(_) => String::new(),
        }
    }

    /// The messages that ask for all rows, and for what follows.
    pub(crate) fn enter(&self) -> Vec<String> {
        match self {
            Line::V1(_) => vec![v1::SYNC.to_owned()],
            Line::V2(line) => line.enter(),
        }
    }

    /// The messages that ask for what changed since, and for what follows.
    pub(crate) fn enter_from(&mut self, held: Held) -> Vec<String> {
        match self {
            Line::V1(_) => vec![v1::sync_from(held.time)],
            Line::V2(line) => line.enter_from(held),
        }
    }

    /// Writes the message that asks for a new row. A client's rows have numbers from 0, without gaps.
    pub(crate) fn create(&mut self, message: &mut String, row: RowId, text: &str) {
        match self {
            Line::V1(_) => v1::create(message, row, text),
            Line::V2(line) => line.create(message, row, text),
        }
    }

    /// The message that asks for many rows, of a server of ours.
    pub(crate) fn fill(&mut self, from: usize, to: usize, text: &str) -> String {
        match self {
            Line::V1(_) => v1::fill(from, to, text),
            Line::V2(line) => line.fill(from, to, text),
        }
    }

    /// Reads a message, which may say several things. What is to be said at once goes to `out`.
    pub(crate) fn read(&mut self, message: &[u8], now: Instant, out: &mut Vec<u8>, heard: &mut Vec<Heard>) {
        match self {
            Line::V1(_) => v1::read(message, heard),
            Line::V2(line) => line.read(message, now, out, heard),
        }
    }
}

/// Writes the action that makes a row.
fn push_create(message: &mut String, row: RowId, text: &str) {
    use std::fmt::Write;
    let RowId { client, number } = row;
    // Writing to a String never fails.
    let _ = write!(
        message,
        r#"{{"type":"create","payload":{{"id":"{client}-{number}","text":"{text}","completed":false}}}}"#
    );
}

/// The action that fills a room.
fn fill_action(from: usize, to: usize, text: &str) -> String {
    format!(r#"{{"type":"fill","payload":{{"from":{from},"to":{to},"text":"{text}"}}}}"#)
}

/// Reads `7-12"`; what follows begins with the quote.
fn row_id(text: &[u8]) -> Option<(RowId, &[u8])> {
    let (client, rest) = number(text)?;
    let (number, rest) = number(rest.strip_prefix(b"-")?)?;
    let (client, number) = (u32::try_from(client).ok()?, u32::try_from(number).ok()?);
    rest.starts_with(b"\"").then_some((RowId { client, number }, rest))
}

/// Reads a number; what follows is no digit.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// An id that no other client has. Nobody has to be kept from guessing it.
fn fresh_client() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{next:016x}", u64::from(std::process::id()))
}
