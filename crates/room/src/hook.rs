//! What comes before and after an action, in code of the app that may wait (SPEC 13.8, 13.9), as far as both homes share it.

use std::borrow::Cow;
use std::sync::Arc;

use partysync_model::ActionError;
use partysync_protocol::{ErrorCode, Token, Version, WireError, limits, v1, v2};
use serde::de::DeserializeOwned;

use crate::{Admission, RoomName};

/// An action that is about to go to its room. Whether the room takes it is not known yet: its channel may be none of the room's, and
/// it may have run before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The room.
    pub room: RoomName,
    /// The channel that the client named.
    pub channel: String,
    /// The action's JSON.
    pub action: String,
    /// Who sent it, as the app's door found out.
    pub author: Option<String>,
    /// What else the door found out, as JSON.
    pub data: Option<Arc<str>>,
}

impl Attempt {
    /// An action that somebody sent.
    pub fn new(room: RoomName, channel: &str, action: &str, sender: &Admission) -> Self {
        Attempt {
            room,
            channel: channel.to_owned(),
            action: action.to_owned(),
            author: sender.identity().map(str::to_owned),
            data: sender.data().cloned(),
        }
    }

    /// What it is once it has made a version.
    pub fn applied(self, version: Version) -> Applied {
        let Attempt { room, channel, action, author, data } = self;
        Applied { room, channel, action, author, data, version }
    }

    /// Decodes the action.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadAction`] if it is not an `A`.
    pub fn decode<A: DeserializeOwned>(&self) -> Result<A, ActionError> {
        serde_json::from_str(&self.action)
            .map_err(|error| ActionError::with_detail(ErrorCode::BadAction, error.to_string()))
    }
}

/// An action that made a version, which is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The room.
    pub room: RoomName,
    /// The channel that it was sent to.
    pub channel: String,
    /// The action's JSON.
    pub action: String,
    /// Who sent it, as the app's door found out.
    pub author: Option<String>,
    /// What else the door found out, as JSON.
    pub data: Option<Arc<str>>,
    /// The version that it made.
    pub version: Version,
}

/// What the app said to a frame before it came to the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vetted {
    /// To an action.
    Action {
        /// JSON for the app's `on_action`, or why the action is not to be run.
        prepared: Result<Option<Arc<str>>, ActionError>,
        /// Whether the home is to be told when it is applied.
        tell: bool,
    },
    /// To a version 2 `join` with a token: as whom it comes in, or why it does not.
    Join(Result<Admission, WireError>),
    /// To a version 2 `token`: as whom it stays, or why it does not.
    Token(Result<Admission, WireError>),
}

/// A frame that the app may have a say in.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// An action.
    Action {
        /// The channel that it names.
        channel: Cow<'a, str>,
        /// Its JSON.
        action: &'a str,
    },
    /// A version 2 `join` with a token.
    Join(Token),
    /// A version 2 `token`.
    Token(Token),
    /// Anything else: it goes to the room as it is.
    Other,
}

impl<'a> Seen<'a> {
    /// Looks at a text frame for a room.
    ///
    /// The frame is read a second time; a home whose app has no say in anything does not look. What the connection speaks is not asked:
    /// whatever the room may take for an action is seen as one.
    pub fn of(room: &RoomName, text: &'a str) -> Self {
        match v2::Up::parse(text) {
            Ok(v2::Up::Action { room: named, channel, action, .. }) if *named == *room.address() => {
                return Seen::action(channel, action.get());
            }
            Ok(v2::Up::Join { room: named, token: Some(token), .. }) if *named == *room.address() => {
                return Seen::Join(token);
            }
            Ok(v2::Up::Token { room: named, token }) if *named == *room.address() => return Seen::Token(token),
            _ => {}
        }
        match v1::Up::parse(text) {
            Ok(v1::Up::Action { channel, action, .. }) => Seen::action(channel, action.get()),
            _ => Seen::Other,
        }
    }

    fn action(channel: Cow<'a, str>, action: &'a str) -> Self {
        // The room refuses what is larger, whatever the app says.
        if action.len() > limits::ACTION_BYTES { Seen::Other } else { Seen::Action { channel, action } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(frame: &str) -> Seen<'_> {
        Seen::of(&RoomName::new("todos", "x"), frame)
    }

    fn action(action: &str) -> Seen<'_> {
        Seen::Action { channel: "c".into(), action }
    }

    #[test]
    fn spec_13_8_actions_of_either_version_are_seen_and_nothing_else_is() {
        assert_eq!(seen(r#"{"id":1,"channel":"c","action":{"a": 1}}"#), action(r#"{"a": 1}"#));
        let v2 = r#"{"type":"action","room":"todos/x","number":1,"channel":"c","action":[2]}"#;
        assert_eq!(seen(v2), action("[2]"));
        let both = v2.replace("todos/x", "todos/y").replace(r#""number""#, r#""id":1,"number""#);
        assert_eq!(seen(&both), action("[2]"), "on a version 1 connection it is an action");
        for other in [
            &v2.replace("todos/x", "todos/y"),
            r#"{"channel":"c","sync":true,"from":null}"#,
            r#"{"type":"hello","versions":[2]}"#,
            r#"{"type":"ping"}"#,
            "nonsense",
        ] {
            assert_eq!(seen(other), Seen::Other, "{other}");
        }
    }

    #[test]
    fn p8_action_bytes_at_the_limit_and_one_past_it() {
        let frame = |bytes: usize| format!(r#"{{"id":1,"channel":"c","action":"{}"}}"#, "x".repeat(bytes - 2));
        assert!(matches!(seen(&frame(limits::ACTION_BYTES)), Seen::Action { .. }));
        assert_eq!(seen(&frame(limits::ACTION_BYTES + 1)), Seen::Other);
    }

    #[test]
    fn spec_13_3_joins_with_a_token_are_seen() {
        let join = format!(r#"{{"type":"join","room":"todos/x","client":"{}","token":"t"}}"#, "0".repeat(32));
        assert_eq!(seen(&join), Seen::Join(Token::new("t")));
        assert_eq!(seen(&join.replace(r#""t""#, "null")), Seen::Other);
        assert_eq!(seen(&join.replace("todos/x", "todos/y")), Seen::Other);
    }

    #[test]
    fn spec_8_18_tokens_are_seen() {
        let token = r#"{"type":"token","room":"todos/x","token":"t"}"#;
        assert_eq!(seen(token), Seen::Token(Token::new("t")));
        assert_eq!(seen(&token.replace("todos/x", "todos/y")), Seen::Other);
    }
}
