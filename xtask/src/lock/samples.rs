//! A full and a bare sample of each message, made of the types themselves: who adds a field or a message does not get past the
//! compiler here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use partysync_protocol::v2::{
    self, Down, ErrorMessage, Expires, Joined, Later, Left, Reject, SnapshotText, Up, Welcome,
};
use partysync_protocol::{ClientId, Cursor, ErrorCode, Fault, Retry, Stamp, Token, Version, WireError};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::shape::Shape;

const ROOM: Cow<'static, str> = Cow::Borrowed("todos/lobby");

/// The shapes of what clients send.
pub(super) fn up() -> BTreeMap<String, Shape> {
    let reads = |text: &str| Up::parse(text).is_ok();
    let action = RawValue::from_string("{}".to_owned()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for full in ups(&action) {
        let bare = match &full {
            Up::Join { room, client, .. } => {
                Up::Join { room: room.clone(), client: *client, cursor: None, born: None, token: None }.encode()
            }
            // All of their fields are always there.
            Up::Hello { .. }
            | Up::Action { .. }
            | Up::Have { .. }
            | Up::Message { .. }
            | Up::Ping
            | Up::Leave { .. }
            | Up::Token { .. } => full.encode(),
        };
        add(&mut all, &full.encode(), &bare, &reads);
    }
    all
}

fn ups(action: &RawValue) -> Vec<Up<'_>> {
    let cursor = Some(Cursor { version: 5, stamp: Stamp::from_random(u64::MAX) });
    vec![
        Up::Hello { versions: vec![2] },
        Up::Join {
            room: ROOM,
            client: ClientId::from_random([7; 16]),
            cursor,
            born: Some(1),
            token: Some(Token::new("secret")),
        },
        Up::Action { room: ROOM, number: 1, channel: Cow::Borrowed("todos"), action },
        Up::Have { room: ROOM, version: 9, number: 4 },
        Up::Message { room: ROOM, text: Cow::Borrowed("hello") },
        Up::Ping,
        Up::Leave { room: ROOM },
        Up::Token { room: ROOM, token: Token::new("secret") },
    ]
}

/// The shapes of what servers send.
pub(super) fn down() -> BTreeMap<String, Shape> {
    let reads = |text: &str| Down::parse(text).is_ok_and(|down| !matches!(down, Down::Unknown));
    let error = |reason: Option<String>| WireError {
        code: ErrorCode::Rejected.as_str().to_owned(),
        reason,
        text: "No.".to_owned(),
        fault: Fault::Client,
        retry: Retry::Never,
    };
    let (full, bare) = (error(Some("spam".to_owned())), error(None));
    let mut all = BTreeMap::new();
    for (error, room, left) in [(&full, Some(ROOM), Some(full.clone())), (&bare, None, None)] {
        let messages = [
            v2::encode(&welcome(left.as_ref().map(|_| 1_000))),
            v2::encode(&joined(left.as_ref().map(|_| 4))),
            snapshot(),
            v2::patch(&ROOM, 1, joined(None).cursor(), [("todos", "[1]", "2")].into_iter()),
            v2::ack(&ROOM, 1, 2),
            v2::encode(&Reject { room: ROOM, number: 1, error: error.clone() }),
            v2::encode(&Later { room: ROOM, number: 1, after_ms: 5, error: error.clone() }),
            v2::encode(&ErrorMessage { room, error: error.clone() }),
            v2::message(&ROOM, "hello"),
            v2::pong(),
            v2::encode(&Left { room: ROOM, error: left }),
            v2::encode(&Expires { room: ROOM, after_ms: 5 }),
        ];
        for message in messages {
            let name = name(&message);
            let known: Option<Json> = all.remove(&name).map(|(full, _): (Json, Json)| full);
            let message = json(&message);
            all.insert(name, (known.unwrap_or_else(|| message.clone()), message));
        }
    }
    all.into_iter().map(|(name, (full, bare))| (name, Shape::probe(&full, &bare, &reads))).collect()
}

fn welcome(have: Option<u64>) -> Welcome {
    let (have_patches, have_ms) = (have, have);
    Welcome { version: 2, rooms: 1, ping_ms: 25_000, have_patches, have_ms, frame_bytes: 1 << 20 }
}

fn joined(newest: Option<Version>) -> Joined<'static> {
    let channels = BTreeMap::from([("todos".to_owned(), vec!["id".to_owned()])]);
    let stamp = Stamp::from_random(1 << 40);
    Joined { room: ROOM, version: 3, stamp, newest, last: 2, known: true, reset: false, channels }
}

fn snapshot() -> String {
    let mut snapshot = SnapshotText::new(&ROOM, "todos");
    let _ = snapshot.push("[1]");
    snapshot.finish(true)
}

fn add(all: &mut BTreeMap<String, Shape>, full: &str, bare: &str, reads: &dyn Fn(&str) -> bool) {
    all.insert(name(full), Shape::probe(&json(full), &json(bare), reads));
}

fn name(message: &str) -> String {
    json(message)["type"].as_str().unwrap_or_default().to_owned()
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_default()
}
