//! `vectors/dialogues/*.json`.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::{folder, load};

/// A conversation between a server and its clients.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialogue {
    /// The protocol version.
    pub version: u32,
    /// In words.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// SPEC's rules.
    pub rules: Vec<String>,
    /// Who is tested by it.
    pub tests: Vec<Side>,
    /// What a driver must be able to do to a server, beyond sending frames.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// `party/room`.
    pub room: String,
    /// Each client's ids, in the order in which it takes them.
    pub clients: BTreeMap<String, Vec<String>>,
    /// Clients that are in another room, on the socket of another client.
    #[serde(default)]
    pub riders: BTreeMap<String, Rider>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Where a client is that has no socket of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rider {
    /// Whose socket it is on.
    pub with: String,
    /// `party/room`.
    pub room: String,
}

impl Dialogue {
    /// The room that a client is in.
    pub fn room_of(&self, client: &str) -> &str {
        self.riders.get(client).map_or(&self.room, |rider| &rider.room)
    }

    /// Whose socket a client is on.
    pub fn socket_of<'a>(&'a self, client: &'a str) -> &'a str {
        self.riders.get(client).map_or(client, |rider| &rider.with)
    }
}

/// Who can be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// A client, without a server.
    Client,
    /// A server, without clients.
    Server,
}

/// What is done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// It starts anew, with the same data; all sockets have been closed before.
    Restart,
    /// So many days pass, and it does what it does meanwhile.
    Days,
    /// A copy of the room is made.
    Save,
    /// The room becomes that copy again; all sockets have been closed before.
    Restore,
    /// The next action is answered `busy`.
    Busy,
    /// Patches for a client are left out from now on.
    Slow,
    /// The client has read what it was sent.
    CaughtUp,
    /// Not done: sockets carry several rooms.
    Several,
    /// Not done: the party `guarded` has a door.
    Door,
    /// A socket takes as many further rooms as it may.
    Fill,
}

/// Who ended a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The client, or the network.
    #[default]
    Client,
    /// The server.
    Server,
}

/// One thing that happens.
#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Step {
    /// A client's socket is open. `token`: what its URL proves. Of a rider: it goes onto the socket, which was greeted so.
    Open { on: String, welcome: Option<Json>, token: Option<String> },
    /// A client's socket is gone.
    Close {
        on: String,
        code: u16,
        #[serde(default)]
        by: By,
    },
    /// The client sends a frame, which may be lost on its way.
    Up {
        on: String,
        frame: Json,
        #[serde(default)]
        lost: bool,
    },
    /// The server sends a frame, which may be lost on its way.
    Down {
        on: String,
        frame: Json,
        #[serde(default)]
        lost: bool,
    },
    /// The user asks for something.
    Act { on: String, channel: String, action: Json },
    /// The app has a text for its own code in the room.
    Say { on: String, text: String },
    /// The app has this token from now on.
    Token { on: String, token: Option<String> },
    /// The client is started anew from what it stored; its socket has been closed before.
    Reload { on: String },
    /// Time passes, for clients and server alike.
    Wait { ms: i64 },
    /// Something is done to the server.
    Server { does: Need, on: Option<String>, days: Option<i64> },
    /// What a client shows now, and what it has told the app since it was last looked at.
    Shows(Box<Shows>),
}

impl Step {
    /// The client that it is about, if it is about one.
    pub fn on(&self) -> Option<&str> {
        match self {
            Step::Open { on, .. }
            | Step::Token { on, .. }
            | Step::Close { on, .. }
            | Step::Up { on, .. }
            | Step::Down { on, .. }
            | Step::Act { on, .. }
            | Step::Say { on, .. }
            | Step::Reload { on } => Some(on),
            Step::Server { on, .. } => on.as_deref(),
            Step::Shows(shows) => Some(&shows.on),
            Step::Wait { .. } => None,
        }
    }
}

/// What a client shows. What is not there is not looked at, but for what it told: then it told nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shows {
    /// Which client.
    pub on: String,
    /// Confirmed rows by channel, without their times.
    pub confirmed: Option<BTreeMap<String, Vec<Json>>>,
    /// Rows as the user sees them.
    pub view: Option<BTreeMap<String, Vec<Json>>>,
    /// Numbers of what is pending, in order.
    pub pending: Option<Vec<u64>>,
    /// The version of the confirmed rows; null before the first snapshot.
    #[serde(deserialize_with = "there")]
    pub version: Option<Option<u64>>,
    /// Whether the room's changes are coming in.
    pub live: Option<bool>,
    /// Fates that it told.
    pub fates: Vec<Settled>,
    /// Texts of the app's code in the room.
    pub messages: Vec<String>,
    /// Codes of errors about no action.
    pub errors: Vec<String>,
    /// The code with which the room is not to be had.
    pub left: Option<String>,
    /// Whether it asked for a token: as the admission by the old one `expires`, or since that was `refused`.
    pub wants_token: Option<String>,
    /// Whether it asked for another socket.
    pub reconnects: bool,
}

/// An action's fate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// Its number.
    pub number: u64,
    /// What became of it.
    pub fate: Fate,
    /// The error's code, if there is an error.
    pub code: Option<String>,
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Fate {
    Applied,
    Rejected,
    Unknown,
}

/// All dialogues, by their files' names.
pub fn dialogues() -> Vec<(String, Dialogue)> {
    let files = fs::read_dir(folder().join("dialogues")).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files.iter().map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), load(path))).collect()
}

/// Tells a field that is null from one that is not there.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
