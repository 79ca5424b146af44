use std::fmt;

use serde::{Deserialize, Serialize};

/// Who has to change something (SPEC 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// No.
    Never,
    /// Yes, after a while.
    Later,
    /// After joining the room again.
    Rejoin,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $fault:ident, $retry:ident, $text:literal;)*) => {
        /// The closed catalogue of errors (SPEC section 10).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

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

            /// The code that travels as `code`, if there is one.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

error_codes! {
    /// The app said no.
    Rejected = "rejected", Client, Never, "This is not allowed.";
    /// A frame that is no message of the protocol.
    BadMessage = "bad_message", Client, Never, "The message could not be understood.";
    /// An action that the app cannot decode.
    BadAction = "bad_action", Client, Never, "This action is not one the room knows.";
    /// A channel that the room does not have.
    UnknownChannel = "unknown_channel", Client, Never, "The room has no such channel.";
    /// A frame for a room that this connection has not joined.
    NotJoined = "not_joined", Client, Rejoin, "Join the room first.";
    /// More rooms than one socket carries.
    TooManyRooms = "too_many_rooms", Client, Never, "This connection carries as many rooms as it may.";
    /// An action's number is past the next one.
    NumberGap = "number_gap", Client, Rejoin, "An action before this one is missing.";
    /// A settled number whose outcome is not kept any more.
    OutcomeForgotten = "outcome_forgotten", Client, Never, "This action was settled too long ago to say how.";
    /// A client that the room has dropped.
    ClientUnknown = "client_unknown", Client, Never, "The room does not know this client any more.";
    /// A client id that another identity used first.
    ClientTaken = "client_taken", Client, Never, "This client belongs to somebody else.";
    /// The app's door said no.
    NotAllowed = "not_allowed", Client, Never, "You may not enter this room.";
    /// An update of a record that is not there.
    NotFound = "not_found", Client, Never, "The record does not exist.";
    /// An insert or update that repeats a unique value.
    Duplicate = "duplicate", Client, Never, "A record with this value exists already.";
    /// Another constraint of the database.
    Constraint = "constraint", Client, Never, "The change breaks a rule of the data.";
    /// A value that cannot travel.
    ValueUnsupported = "value_unsupported", Client, Never, "A value cannot be stored here.";
    /// An action or a row over its limit.
    TooLarge = "too_large", Client, Never, "The message is larger than the room takes.";
    /// More changed rows than one action may have.
    TooManyRows = "too_many_rows", Client, Never, "The action changes more records than it may.";
    /// An action past its budget.
    ActionTooLong = "action_too_long", App, Never, "The action took too long.";
    /// The app's code failed: it panicked, its SQL was wrong, or it claimed what it did not do.
    AppError = "app_error", App, Never, "The action failed.";
    /// A queue is full.
    Busy = "busy", Server, Later, "The room is busy. Try again soon.";
    /// The disk is full.
    StorageFull = "storage_full", Server, Later, "The room cannot store anything at the moment.";
    /// The disk fails.
    StorageFailed = "storage_failed", Server, Later, "The room cannot reach its storage at the moment.";
    /// The room's file is of a later format than this server knows.
    FormatNewer = "format_newer", Server, Later, "The room was written by a newer version of the server.";
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
    /// The app's own code, with `rejected`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_10_the_table_of_errors_is_the_catalogue() {
        let spec = include_str!("../../../SPEC.md");
        for &code in ErrorCode::ALL {
            let fault = serde_json::to_value(code.fault()).unwrap();
            let retry = serde_json::to_value(code.retry()).unwrap();
            let text = if code == ErrorCode::Rejected { "the app's" } else { code.text() };
            let row = format!("| `{code}` | {} | {} | {text} |", fault.as_str().unwrap(), retry.as_str().unwrap());
            assert!(spec.contains(&row), "SPEC.md has no row: {row}");
            assert_eq!(ErrorCode::from_code(code.as_str()), Some(code));
        }
        let section = spec.split("## 10").nth(1).unwrap().split("## 11").next().unwrap();
        assert_eq!(section.matches("\n| `").count(), ErrorCode::ALL.len(), "SPEC.md has a row that is no code");
    }
}
