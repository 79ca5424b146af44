//! `vectors/messages/*.json` and `vectors/ids.json`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use crate::{folder, load};

/// The room that messages are about.
pub const ROOM: &str = "todos/lobby";

/// A file of single messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// The protocol version.
    pub version: u32,
    /// In words.
    pub about: String,
    /// Messages that can be read.
    pub valid: Vec<Valid>,
    /// Texts that are none.
    pub invalid: Vec<Invalid>,
    /// First frames of a socket.
    #[serde(default)]
    pub first: Vec<First>,
}

/// A message that can be read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Valid {
    /// In words.
    pub name: String,
    /// SPEC's rule.
    pub rule: String,
    /// The frame.
    pub text: Text,
    /// What it means; absent if it is too large to repeat.
    pub means: Option<Json>,
}

/// A text that is no message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invalid {
    /// In words.
    pub name: String,
    /// SPEC's rule.
    pub rule: String,
    /// The frame.
    pub text: Text,
    /// What a server of version 2 answers.
    pub answer: Option<Answer>,
}

/// What a server answers a frame that it cannot read, on a connection that has joined.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Answer {
    /// An `error` about no room.
    Error {
        /// Its code.
        error: String,
    },
    /// A `reject`.
    Reject {
        /// Its code.
        reject: String,
        /// The number that it settles.
        number: u64,
    },
}

/// The first frame of a socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// In words.
    pub name: String,
    /// SPEC's rule.
    pub rule: String,
    /// The frame.
    pub text: Text,
    /// Whether the socket was opened with the subprotocol.
    pub subprotocol: bool,
    /// What the server does.
    pub answer: FirstAnswer,
}

/// What a server does with a first frame.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum FirstAnswer {
    /// It answers `welcome`, with the file's version.
    #[serde(rename = "welcome")]
    Welcome,
    /// It takes the socket for one of version 1.
    #[serde(rename = "version 1")]
    Version1,
    /// It closes the socket with this code.
    #[serde(rename = "close")]
    Close(u16),
}

/// A frame's text, or the parts that make it up.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// As it is.
    Whole(String),
    /// One after the other.
    Parts(Vec<Part>),
}

/// A part of a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Part {
    /// As it is.
    Text(String),
    /// So many times.
    Repeated {
        /// What.
        repeat: String,
        /// How often.
        times: usize,
    },
}

impl Text {
    /// The whole text.
    pub fn build(&self) -> String {
        match self {
            Text::Whole(text) => text.clone(),
            Text::Parts(parts) => parts.iter().map(Part::build).collect(),
        }
    }
}

impl Part {
    fn build(&self) -> String {
        match self {
            Part::Text(text) => text.clone(),
            Part::Repeated { repeat, times } => repeat.repeat(*times),
        }
    }
}

/// `vectors/ids.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// The protocol version.
    pub version: u32,
    #[serde(rename = "about")]
    _about: IgnoredAny,
    /// Texts that are client ids.
    pub client_ids: Vec<IdText>,
    /// Texts that are none.
    pub not_client_ids: Vec<IdText>,
    /// Ids that actions make.
    pub new_ids: Vec<NewId>,
}

/// A text that may be a client id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdText {
    /// The text.
    pub text: String,
}

/// An id that an action makes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewId {
    /// Whose action.
    pub client: String,
    /// The action's number.
    pub number: u64,
    /// Which of its ids.
    pub index: u32,
    /// The id.
    pub id: String,
}

/// What clients send.
pub fn up() -> Messages {
    load(&folder().join("messages/up.json"))
}

/// What servers send.
pub fn down() -> Messages {
    load(&folder().join("messages/down.json"))
}

/// What clients of version 1 send.
pub fn v1() -> Messages {
    load(&folder().join("messages/v1.json"))
}

/// Ids.
pub fn ids() -> Ids {
    load(&folder().join("ids.json"))
}
