use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::v1::push_text;
use crate::{Cursor, ErrorCode, Stamp, Version, WireError, close_code, limits};

/// What a version 2 server sends, as a client reads it.
#[derive(Debug)]
pub enum Down<'a> {
    /// SPEC 8.7
    Welcome(Welcome),
    /// SPEC 8.8
    Joined(Joined<'a>),
    /// SPEC 8.9
    Snapshot(Snapshot<'a>),
    /// SPEC 8.10
    Patch(Patch<'a>),
    /// SPEC 8.11
    Ack {
        /// `party/room`.
        room: Cow<'a, str>,
        /// The action's number.
        number: u64,
        /// The effect shows at this version.
        version: Version,
    },
    /// SPEC 8.12
    Reject(Reject<'a>),
    /// SPEC 8.13
    Later(Later<'a>),
    /// SPEC 8.14
    Error(ErrorMessage<'a>),
    /// SPEC 8.31
    Message {
        /// `party/room`.
        room: Cow<'a, str>,
        /// The app's.
        text: Cow<'a, str>,
    },
    /// SPEC 8.19
    Pong,
    /// SPEC 8.20
    Left(Left<'a>),
    /// SPEC 8.37
    Expires(Expires<'a>),
    /// A message of a later minor version: to be ignored (SPEC 8.1).
    Unknown,
}

/// The answer to `hello` (SPEC 8.7).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "welcome")]
pub struct Welcome {
    /// The protocol version chosen.
    pub version: u32,
    /// How many rooms this socket may carry.
    #[serde(deserialize_with = "crate::size")]
    pub rooms: usize,
    /// How often to send `ping`, in milliseconds.
    #[serde(deserialize_with = "crate::integer")]
    pub ping_ms: u64,
    /// Patches after which to say what is held; [`limits::HAVE_PATCHES`] if absent.
    #[serde(default, deserialize_with = "crate::maybe_integer", skip_serializing_if = "Option::is_none")]
    pub have_patches: Option<u64>,
    /// How long after that was last said it is to be said again if patches come, in milliseconds; [`limits::HAVE_MS`] if absent.
    #[serde(default, deserialize_with = "crate::maybe_integer", skip_serializing_if = "Option::is_none")]
    pub have_ms: Option<u64>,
    /// The largest frame that the server takes.
    #[serde(deserialize_with = "crate::size")]
    pub frame_bytes: usize,
}

/// The answer to `join` (SPEC 8.8).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "joined")]
pub struct Joined<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The version of the snapshot that follows, or that the patch leads to.
    #[serde(deserialize_with = "crate::integer")]
    pub version: Version,
    /// Its stamp.
    pub stamp: Stamp,
    /// The room's version, if the snapshot is older: a patch to it follows the snapshot (SPEC 8.36).
    #[serde(default, deserialize_with = "crate::maybe_integer", skip_serializing_if = "Option::is_none")]
    pub newest: Option<Version>,
    /// The highest number settled for this client.
    #[serde(deserialize_with = "crate::integer")]
    pub last: u64,
    /// Whether the room knew the client.
    pub known: bool,
    /// Whether a snapshot follows.
    pub reset: bool,
    /// Each channel's columns, in the order of a row.
    pub channels: BTreeMap<String, Vec<String>>,
}

impl Joined<'_> {
    /// The cursor that a client holds once it has applied the snapshot, or the patch to this version.
    pub fn cursor(&self) -> Cursor {
        Cursor { version: self.version, stamp: self.stamp }
    }

    /// The version that all of what follows leads to.
    pub fn leads_to(&self) -> Version {
        self.newest.unwrap_or(self.version)
    }
}

/// A part of a channel's rows (SPEC 8.9).
#[derive(Debug, Deserialize)]
pub struct Snapshot<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// Rows, each a JSON array.
    #[serde(borrow)]
    pub rows: Vec<&'a RawValue>,
    /// Whether another `snapshot` of this join follows.
    pub more: bool,
}

/// Changes over a range of versions (SPEC 8.10).
#[derive(Debug, Deserialize)]
pub struct Patch<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The version before the first change.
    #[serde(deserialize_with = "crate::integer")]
    pub from: Version,
    /// The version after the last.
    #[serde(deserialize_with = "crate::integer")]
    pub to: Version,
    /// The stamp of `to`.
    pub stamp: Stamp,
    /// The changes of each channel that has any.
    #[serde(borrow)]
    pub changes: Vec<Changes<'a>>,
}

/// The changes of one channel.
#[derive(Debug, Deserialize)]
pub struct Changes<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// Rows as they are now, each a JSON array.
    #[serde(borrow)]
    pub puts: Vec<&'a RawValue>,
    /// Ids of rows that are gone, each a JSON text or integer.
    #[serde(borrow)]
    pub deletes: Vec<&'a RawValue>,
}

/// An action was rejected for good (SPEC 8.12).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "reject")]
pub struct Reject<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The action's number.
    #[serde(deserialize_with = "crate::integer")]
    pub number: u64,
    /// Why.
    pub error: WireError,
}

/// An action could not be run now (SPEC 8.13).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "later")]
pub struct Later<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// The action's number, to be sent again.
    #[serde(deserialize_with = "crate::integer")]
    pub number: u64,
    /// When to send it again.
    #[serde(deserialize_with = "crate::integer")]
    pub after_ms: u64,
    /// Why.
    pub error: WireError,
}

/// A frame was wrong (SPEC 8.14).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "error")]
pub struct ErrorMessage<'a> {
    /// `party/room`, if the frame named one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Cow<'a, str>>,
    /// What was wrong.
    pub error: WireError,
}

/// The connection is out of a room (SPEC 8.20).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "left")]
pub struct Left<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// Why, if the client did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

/// The client's admission to a room ends soon (SPEC 8.37).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename = "expires")]
pub struct Expires<'a> {
    /// `party/room`.
    #[serde(borrow)]
    pub room: Cow<'a, str>,
    /// After how long, unless a token renews it.
    #[serde(deserialize_with = "crate::integer")]
    pub after_ms: u64,
}

impl<'a> Left<'a> {
    /// What a socket that goes on with other rooms is told in place of a close with this code and reason (SPEC 8.34).
    pub fn of_close(room: &'a str, code: u16, reason: &str) -> Self {
        let kind = close_code(code).and_then(|close| close.left).unwrap_or(ErrorCode::Rejected);
        let says_which = matches!(kind, ErrorCode::NotAllowed | ErrorCode::Rejected);
        let text = if reason.is_empty() { kind.text() } else { reason };
        let error = WireError { text: text.to_owned(), reason: says_which.then(|| code.to_string()), ..kind.into() };
        Left { room: room.into(), error: Some(error) }
    }
}

impl<'a> Down<'a> {
    /// The room that it is about, if it is about one.
    pub fn room(&self) -> Option<&str> {
        match self {
            Down::Joined(Joined { room, .. })
            | Down::Snapshot(Snapshot { room, .. })
            | Down::Patch(Patch { room, .. })
            | Down::Ack { room, .. }
            | Down::Reject(Reject { room, .. })
            | Down::Later(Later { room, .. })
            | Down::Message { room, .. }
            | Down::Left(Left { room, .. })
            | Down::Expires(Expires { room, .. }) => Some(room),
            Down::Error(ErrorMessage { room, .. }) => room.as_deref(),
            Down::Welcome(_) | Down::Pong | Down::Unknown => None,
        }
    }

    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// The JSON is not one object with a `type`, or lacks what that type must have.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Ack<'a> {
            #[serde(borrow)]
            room: Cow<'a, str>,
            #[serde(deserialize_with = "crate::integer")]
            number: u64,
            #[serde(deserialize_with = "crate::integer")]
            version: Version,
        }
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            room: Cow<'a, str>,
            #[serde(borrow)]
            text: Cow<'a, str>,
        }
        if !crate::is_object(text) {
            return Err(serde::de::Error::custom("no object"));
        }
        let Kind { kind } = serde_json::from_str(text)?;
        Ok(match &*kind {
            "welcome" => Down::Welcome(serde_json::from_str(text)?),
            "joined" => Down::Joined(serde_json::from_str(text)?),
            "snapshot" => Down::Snapshot(serde_json::from_str(text)?),
            "patch" => Down::Patch(serde_json::from_str(text)?),
            "ack" => {
                let Ack { room, number, version } = serde_json::from_str(text)?;
                Down::Ack { room, number, version }
            }
            "reject" => Down::Reject(serde_json::from_str(text)?),
            "later" => Down::Later(serde_json::from_str(text)?),
            "error" => Down::Error(serde_json::from_str(text)?),
            "message" => {
                let Message { room, text } = serde_json::from_str(text)?;
                Down::Message { room, text }
            }
            "pong" => Down::Pong,
            "left" => Down::Left(serde_json::from_str(text)?),
            "expires" => Down::Expires(serde_json::from_str(text)?),
            _ => Down::Unknown,
        })
    }
}

/// Writes a message. All of this crate's messages serialise: their map keys are text.
pub fn encode(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// Writes an `ack` (SPEC 8.11).
pub fn ack(room: &str, number: u64, version: Version) -> String {
    let mut out = String::with_capacity(room.len() + 64);
    out.push_str(r#"{"type":"ack","room":"#);
    push_text(&mut out, room);
    let _ = write!(out, r#","number":{number},"version":{version}}}"#);
    out
}

/// Writes a `message` (SPEC 8.31).
pub fn message(room: &str, text: &str) -> String {
    let mut out = String::with_capacity(room.len() + text.len() + 48);
    out.push_str(r#"{"type":"message","room":"#);
    push_text(&mut out, room);
    out.push_str(r#","text":"#);
    push_text(&mut out, text);
    out.push('}');
    out
}

/// Writes a `pong` (SPEC 8.19).
pub fn pong() -> String {
    r#"{"type":"pong"}"#.to_owned()
}

/// Writes a `snapshot` (SPEC 8.9), row by row.
#[derive(Debug)]
pub struct SnapshotText {
    text: String,
    /// Where the rows begin.
    rows_at: usize,
    rows: usize,
}

impl SnapshotText {
    /// A snapshot without rows.
    pub fn new(room: &str, channel: &str) -> Self {
        let mut text = String::with_capacity(room.len() + channel.len() + 80);
        text.push_str(r#"{"type":"snapshot","room":"#);
        push_text(&mut text, room);
        text.push_str(r#","channel":"#);
        push_text(&mut text, channel);
        text.push_str(r#","rows":["#);
        SnapshotText { rows_at: text.len(), text, rows: 0 }
    }

    /// Adds a row, which is JSON. `false`: it has been left out, for this snapshot may not hold one more, or not one of this
    /// size ([`limits::SNAPSHOT_ROWS`], [`limits::SNAPSHOT_BYTES`]). The first always fits.
    #[must_use]
    pub fn push(&mut self, row: &str) -> bool {
        if self.rows > 0 {
            let bytes = self.text.len() - self.rows_at + 1 + row.len();
            if self.rows >= limits::SNAPSHOT_ROWS || bytes > limits::SNAPSHOT_BYTES {
                return false;
            }
            self.text.push(',');
        }
        self.text.push_str(row);
        self.rows += 1;
        true
    }

    /// The message. `more`: whether another one of this join follows.
    pub fn finish(mut self, more: bool) -> String {
        self.text.push_str(if more { r#"],"more":true}"# } else { r#"],"more":false}"# });
        self.text
    }
}

/// Writes a `patch` (SPEC 8.10). A change is (channel, puts, deletes), the latter two as JSON separated by commas.
pub fn patch<'a>(
    room: &str,
    from: Version,
    to: Cursor,
    changes: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(r#"{"type":"patch","room":"#);
    push_text(&mut out, room);
    let _ = write!(out, r#","from":{from},"to":{},"stamp":{},"changes":["#, to.version, to.stamp.get());
    for (i, (channel, puts, deletes)) in changes.enumerate() {
        out.push_str(if i > 0 { r#",{"channel":"# } else { r#"{"channel":"# });
        push_text(&mut out, channel);
        let _ = write!(out, r#","puts":[{puts}],"deletes":[{deletes}]}}"#);
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "todos/a\"b";

    #[test]
    fn spec_8_10_a_patch_is_read_as_it_was_written() {
        let to = Cursor { version: 9, stamp: Stamp::from_random(u64::MAX) };
        let changes = [("todos", "[\"a\",1],[\"b\",2]", "\"c\",4"), ("x\ny", "", "")];
        let text = patch(ROOM, 7, to, changes.into_iter());
        let Down::Patch(p) = Down::parse(&text).unwrap() else { panic!("{text}") };
        assert_eq!((&*p.room, p.from, p.to, p.stamp), (ROOM, 7, 9, to.stamp));
        assert_eq!((p.changes[0].puts.len(), p.changes[0].deletes[1].get()), (2, "4"));
        assert_eq!(&*p.changes[1].channel, "x\ny");
    }

    #[test]
    fn spec_8_34_a_left_in_place_of_a_close_says_what_the_close_would() {
        let left = |code| Left::of_close(ROOM, code, "why").error.map(|e| (e.code, e.reason));
        let kind = |code: ErrorCode| Some((code.as_str().to_owned(), None));
        for code in [1001, 1011, 1012, 1013, 1014] {
            assert_eq!(left(code), kind(ErrorCode::Busy), "{code}");
        }
        for code in [1008, 4400, 4401, 4410, 4499] {
            assert_eq!(left(code), Some(("not_allowed".to_owned(), Some(code.to_string()))), "{code}");
        }
        for code in [1003, 1007, 1009] {
            assert_eq!(left(code), kind(ErrorCode::BadMessage), "{code}");
        }
        for code in [1000, 1002, 1006, 1015, 3000, 4399, 4500] {
            assert_eq!(left(code), Some(("rejected".to_owned(), Some(code.to_string()))), "{code}");
        }
    }

    #[test]
    fn spec_8_9_a_snapshot_is_read_as_it_was_written() {
        for (rows, more) in [(vec![], false), (vec!["[1]", "[2,\"x\"]"], true)] {
            let mut snapshot = SnapshotText::new(ROOM, "to\ndos");
            assert!(rows.iter().all(|row| snapshot.push(row)));
            let text = snapshot.finish(more);
            let Down::Snapshot(s) = Down::parse(&text).unwrap() else { panic!("{text}") };
            assert_eq!((&*s.room, &*s.channel, s.more), (ROOM, "to\ndos", more));
            assert_eq!(s.rows.iter().map(|row| row.get()).collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn spec_11_snapshot_bytes_at_the_limit_and_one_past_it() {
        let row = |bytes: usize| format!("[{}]", "1".repeat(bytes - 2));
        for (second, fits) in [(limits::SNAPSHOT_BYTES - 101, true), (limits::SNAPSHOT_BYTES - 100, false)] {
            let mut snapshot = SnapshotText::new(ROOM, "todos");
            assert!(snapshot.push(&row(100)));
            assert_eq!(snapshot.push(&row(second)), fits, "{second}");
            // What was left out leaves no trace.
            assert!(
                matches!(Down::parse(&snapshot.finish(true)), Ok(Down::Snapshot(s)) if s.rows.len() == 1 + usize::from(fits))
            );
        }
        assert!(SnapshotText::new(ROOM, "todos").push(&row(limits::SNAPSHOT_BYTES + 1)), "one has to go");
    }

    #[test]
    fn spec_8_every_other_message_down_is_read_as_it_was_written() {
        let error = || WireError::from(ErrorCode::NotFound);
        let room = || Cow::from(ROOM);
        let joined = Joined {
            room: room(),
            version: 3,
            stamp: Stamp::from_random(1 << 40),
            newest: Some(4),
            last: 2,
            known: true,
            reset: false,
            channels: BTreeMap::from([("todos".to_owned(), vec!["id".to_owned()])]),
        };
        let welcome = Welcome {
            version: 2,
            rooms: 32,
            ping_ms: 25_000,
            have_patches: Some(5),
            have_ms: Some(9),
            frame_bytes: 1 << 20,
        };
        let parse = |text: &str| format!("{:?}", Down::parse(text).unwrap());
        assert!(parse(&encode(&welcome)).starts_with("Welcome"));
        assert!(parse(&encode(&joined)).starts_with("Joined"));
        assert!(parse(&ack(ROOM, 4, 9)).starts_with("Ack"));
        assert!(parse(&encode(&Reject { room: room(), number: 1, error: error() })).starts_with("Reject"));
        assert!(parse(&encode(&Later { room: room(), number: 1, after_ms: 5, error: error() })).starts_with("Later"));
        assert!(parse(&encode(&ErrorMessage { room: None, error: error() })).starts_with("Error"));
        assert!(parse(&encode(&Left { room: room(), error: None })).starts_with("Left"));
        assert!(
            matches!(Down::parse(&message(ROOM, "a\"\n")), Ok(Down::Message { room, text }) if room == ROOM && text == "a\"\n")
        );
        assert!(parse(&pong()).starts_with("Pong"));
        assert!(parse(r#"{"type":"from the future"}"#).starts_with("Unknown"));
    }
}
