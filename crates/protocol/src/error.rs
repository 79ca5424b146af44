use std::fmt;

use serde::de::{Deserializer, Error as _, Unexpected};
use serde::{Deserialize, Serialize};

/// Who has to change something (SPEC 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// What the client sent.
    Client,
    /// The app's own code.
    App,
    /// The server or its machine.
    Server,
}

/// Whether sending the same again can help (SPEC 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// No.
    Never,
    /// Yes, after a while.
    Later,
    /// After joining the room again.
    Rejoin,
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(from, [("client", Fault::Client), ("app", Fault::App), ("server", Fault::Server)])
    }
}

impl<'de> Deserialize<'de> for Retry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(from, [("never", Retry::Never), ("later", Retry::Later), ("rejoin", Retry::Rejoin)])
    }
}

/// Reads one of three words. What serde derives for an enum weighs a kilobyte of WebAssembly.
fn word<'de, D: Deserializer<'de>, T>(from: D, words: [(&str, T); 3]) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let known = words.into_iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| value).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a word of SPEC 10.1"))
}

macro_rules! error_codes {
    ($($name:ident = $code:literal, $fault:ident, $retry:ident, $text:literal, $when:literal, $advice:literal;)*) => {
        /// The closed catalogue of errors (SPEC section 10). From this one table `cargo xtask generate` makes SPEC's, `docs/errors.md`
        /// and the TypeScript client's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $(#[doc = $when] $name,)* }

        impl ErrorCode {
            /// All codes, in SPEC's order.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code as it travels.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $code,)* }
            }

            /// Who is at fault.
            pub fn fault(self) -> Fault {
                match self { $(ErrorCode::$name => Fault::$fault,)* }
            }

            /// Whether a retry can help.
            pub fn retry(self) -> Retry {
                match self { $(ErrorCode::$name => Retry::$retry,)* }
            }

            /// A text fit to be shown to a user. For `rejected` the app has its own.
            pub fn text(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// When it happens, for a developer who meets it.
            pub fn when(self) -> &'static str {
                match self { $(ErrorCode::$name => $when,)* }
            }

            /// What a client, its user and the app's developer do about it.
            pub fn advice(self) -> &'static str {
                match self { $(ErrorCode::$name => $advice,)* }
            }

            /// The code that travels as `code`, if there is one.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

error_codes! {
    Rejected = "rejected", Client, Never, "This is not allowed.",
        "A rule of the app said no. The text is the app's, and so is the code in `reason`. In a `left` it may stand for a close: `reason` is then the close code.",
        "The client takes its prediction back and shows the text. What else happens is the app's to say, by `reason`.";
    BadMessage = "bad_message", Client, Never, "The message could not be understood.",
        "A frame is no message of the protocol: no JSON, not a type that is known, a field is missing or of another kind, or it nests deeper than 64 levels. An action that can be read but for its room and number is rejected with it.",
        "A client that sends this has a fault, or speaks another protocol; its developer compares the frame with SPEC section 8. A user can only update the app.";
    BadAction = "bad_action", Client, Never, "This action is not one the room knows.",
        "The app cannot decode the action: its type is unknown, or its payload has another shape. A client finds by itself that an action nests too deep.",
        "Mostly the page is older or newer than the server: reload it. The app's developer keeps old types of actions decodable until no page sends them any more.";
    UnknownChannel = "unknown_channel", Client, Never, "The room has no such channel.",
        "A frame names a channel that is not in the app's schema.",
        "The developer compares the name with the schema, or with `channels` in `joined`. Channels that clients use stay in the schema.";
    NotJoined = "not_joined", Client, Rejoin, "Join the room first.",
        "A frame is for a room that this connection has not joined, or has left.",
        "The client joins the room, then sends again what is not settled.";
    TooManyRooms = "too_many_rooms", Client, Never, "This connection carries as many rooms as it may.",
        "A `join` for one room more than the socket carries; `welcome` says how many that is.",
        "The client leaves a room, or opens another socket for this one.";
    NumberGap = "number_gap", Client, Rejoin, "An action before this one is missing.",
        "An action's number is not the next one: an action before it was not taken, or the room does not have what this client knows to be settled, after a backup was restored.",
        "The client waits for the one before, or joins again, which tells it what the room has. Nothing is lost, and nobody has to do anything.";
    OutcomeForgotten = "outcome_forgotten", Client, Never, "This action was settled too long ago to say how.",
        "An action was sent again whose outcome is not kept any more: the client had said that it knows it, or it lies more than 1,000 numbers or 30 days back.",
        "Whether it was applied is not known, and it is not run again. The client shows that; its user, or the app, looks at the data and decides whether to ask anew.";
    ClientUnknown = "client_unknown", Client, Never, "The room does not know this client any more.",
        "A client was away for more than 90 days, or met a copy of the room that does not have it. Clients say it of actions that they had sent and of which nobody can tell the outcome.",
        "As with `outcome_forgotten`. The client takes a new id by itself, and goes on.";
    ClientTaken = "client_taken", Client, Never, "This client belongs to somebody else.",
        "A client id is used by another identity than the first that used it in this room: somebody else signed in on a device, and the client kept what it had.",
        "The client throws away what it stores for the old identity and starts anew. The app's developer stores each identity's clients apart.";
    NotAllowed = "not_allowed", Client, Never, "You may not enter this room.",
        "The app's door refused: no token, one that has ended, or a room that is not this user's. The text is the door's. Also: a room's party is not one that the server has.",
        "Sign in again or get a new token; do not come back unchanged. The app's developer looks at the door.";
    NotFound = "not_found", Client, Never, "The record does not exist.",
        "An action changes a record that is not there: somebody else deleted it meanwhile, or the id is wrong.",
        "The client takes its prediction back. This is an ordinary outcome where people share data; the app may treat it as done.";
    Duplicate = "duplicate", Client, Never, "A record with this value exists already.",
        "An action makes a record whose id, or another value that must be unique, is there already.",
        "The user chooses another value. For ids the app uses `new_id`, which clients predict and nobody else makes.";
    Constraint = "constraint", Client, Never, "The change breaks a rule of the data.",
        "The database refused: a CHECK, NOT NULL, a foreign key, or a column's type.",
        "The app's developer checks the action before it writes, and rejects it with a text that says what is wrong.";
    ValueUnsupported = "value_unsupported", Client, Never, "A value cannot be stored here.",
        "An action leaves in a channel what cannot travel: a BLOB, an integer beyond ±(2^53 − 1), an infinite number, or an id that is NULL, neither text nor integer, or longer than 1 KiB.",
        "The app's developer checks what clients send, and keeps such values in a private table, or as text.";
    TooLarge = "too_large", Client, Never, "The message is larger than the room takes.",
        "An action is larger than 256 KiB, or would leave a row larger than 1 MiB. Also: a room's name is too long.",
        "The user makes it smaller, or the app splits it. Files belong elsewhere; keep their address in the row.";
    TooManyRows = "too_many_rows", Client, Never, "The action changes more records than it may.",
        "One action changes more than 10,000 records.",
        "The app does it in several actions.";
    ActionTooLong = "action_too_long", App, Never, "The action took too long.",
        "An action used more steps of SQLite's machine than one may: mostly a query without an index.",
        "The app's developer adds an index or does less in one action. Sending it again does not help.";
    AppError = "app_error", App, Never, "The action failed.",
        "The app's own code failed: it panicked, its SQL was wrong, a hook or a door failed, or it claimed rows that it did not change. What exactly is told to the operator alone.",
        "The app's developer reads the server's log, which names the cause. The action left no trace; a user may try something else.";
    Busy = "busy", Server, Later, "The room is busy. Try again soon.",
        "A queue is full: at a door, before a hook, or of the outbox; or the room could not be opened, or is on its way out of the server.",
        "The client tries again by itself, after the delay that it is told. If it goes on, the operator looks at the server's metrics.";
    StorageFull = "storage_full", Server, Later, "The room cannot store anything at the moment.",
        "The disk is full.",
        "The operator makes room. The client keeps its actions and tries again by itself.";
    StorageFailed = "storage_failed", Server, Later, "The room cannot reach its storage at the moment.",
        "The disk failed, or the room's file is damaged or of another room.",
        "The operator reads the server's log. The client keeps its actions and tries again by itself.";
    FormatNewer = "format_newer", Server, Later, "The room was written by a newer version of the server.",
        "The room's file has a format that this server does not know: an older server was put in place of a newer one.",
        "The operator brings the newer server back. Clients keep what they have until then.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error as it travels in version 2 (SPEC 10.1).
///
/// It is read leniently: a code that this crate does not know keeps its text, fault and retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// One of the catalogue.
    pub code: String,
    /// The app's own code, with `rejected`. With a `not_allowed` that stands for a close (SPEC 8.34) or a door's no (13.3): the
    /// close code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Fit to be shown to a user.
    pub text: String,
    /// Who has to change something.
    pub fault: Fault,
    /// Whether a retry can help.
    pub retry: Retry,
}

impl From<ErrorCode> for WireError {
    fn from(code: ErrorCode) -> Self {
        WireError {
            code: code.as_str().to_owned(),
            reason: None,
            text: code.text().to_owned(),
            fault: code.fault(),
            retry: code.retry(),
        }
    }
}

impl WireError {
    /// Whether it says that the client's token does not let it in (any more): it may come back with another one (SPEC 9.8).
    pub fn is_unauthorized(&self) -> bool {
        self.code == ErrorCode::NotAllowed.as_str() && self.reason.as_deref() == Some("4401")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_10_1_each_code_is_read_as_it_is_written_and_says_what_to_do() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(code.as_str()), Some(code));
            for text in [code.text(), code.when(), code.advice()] {
                assert!(text.ends_with('.') && !text.contains('\n'), "{code}: {text}");
            }
        }
        assert_eq!(ErrorCode::from_code("nonsense"), None);
    }
}
