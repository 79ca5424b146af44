use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{Fields, Kind};
use super::nested_too_deep;
use crate::{ClientId, Cursor, ErrorCode, Token, Version};

/// What a version 2 client sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Up<'a> {
    /// Asks for a protocol version (SPEC 8.4).
    Hello {
        /// Those that the client speaks.
        versions: Vec<u32>,
    },
    /// Enters a room (SPEC 8.5).
    Join {
        /// `party/room`.
        room: Cow<'a, str>,
        /// The client's secret in this room.
        client: ClientId,
        /// What it holds.
        cursor: Option<Cursor>,
        /// The version of the first `joined` that it got under this id.
        born: Option<Version>,
        /// Proves who it is, if the room's door wants that.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
    },
    /// Asks for an action to be run (SPEC 8.6).
    Action {
        /// `party/room`.
        room: Cow<'a, str>,
        /// The client's next number.
        number: u64,
        /// The channel the action is for.
        channel: Cow<'a, str>,
        /// The app's JSON.
        action: &'a RawValue,
    },
    /// Says what the client has (SPEC 8.15).
    Have {
        /// `party/room`.
        room: Cow<'a, str>,
        /// Held in full.
        version: Version,
        /// All outcomes up to this number are known.
        number: u64,
    },
    /// Something between the app's own code on both sides (SPEC 8.30).
    Message {
        /// `party/room`.
        room: Cow<'a, str>,
        /// The app's.
        text: Cow<'a, str>,
    },
    /// Asks for a sign of life (SPEC 8.16).
    Ping,
    /// Leaves a room (SPEC 8.17).
    Leave {
        /// `party/room`.
        room: Cow<'a, str>,
    },
    /// Proves anew who it is, before the room would put it out (SPEC 8.18).
    Token {
        /// `party/room`.
        room: Cow<'a, str>,
        /// What the room's door asks for.
        token: Token,
    },
}

/// The frame is no message of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of version 2")]
pub struct UpError;

impl<'a> Up<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// [`UpError`] if it is not one of the messages, lacks a field or nests past
    /// [`limits::JSON_DEPTH`](crate::limits::JSON_DEPTH).
    pub fn parse(text: &'a str) -> Result<Self, UpError> {
        if nested_too_deep(text) {
            return Err(UpError);
        }
        serde_json::from_str::<Fields<'a>>(text).ok().and_then(Self::from_fields).ok_or(UpError)
    }

    /// Whether a frame is a `hello`, well-formed or not: then the connection speaks version 2 (SPEC 8.2).
    pub fn is_hello(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        crate::is_object(text) && serde_json::from_str::<Kind<'_>>(text).is_ok_and(|k| k.kind == "hello")
    }

    /// Whether a frame is a `ping` (SPEC 8.16). Cheap if it is not.
    pub fn is_ping(text: &str) -> bool {
        const LONGEST: usize = 64;
        text.len() <= LONGEST && Up::parse(text).is_ok_and(|up| matches!(up, Up::Ping))
    }

    fn from_fields(f: Fields<'a>) -> Option<Self> {
        Some(match f.kind {
            Kind::Hello => Up::Hello { versions: f.versions? },
            Kind::Join => Up::Join { room: f.room?, client: f.client?, cursor: f.cursor, born: f.born, token: f.token },
            Kind::Action => {
                Up::Action { room: f.room?, number: named(f.number?)?, channel: f.channel?, action: f.action? }
            }
            Kind::Have => Up::Have { room: f.room?, version: f.version?, number: f.number? },
            Kind::Message => Up::Message { room: f.room?, text: f.text? },
            Kind::Ping => Up::Ping,
            Kind::Leave => Up::Leave { room: f.room? },
            Kind::Token => Up::Token { room: f.room?, token: f.token? },
            Kind::Unknown => return None,
        })
    }

    /// Of a frame that [`parse`](Self::parse) refuses: the room and the number, if it is an action that has them. Its number has to
    /// be settled, or those after it would never be run (SPEC 8.6).
    pub fn unreadable_action(text: &'a str) -> Option<(Cow<'a, str>, u64)> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            room: Cow<'a, str>,
            number: u64,
        }
        let Named { kind, room, number } = serde_json::from_str(text).ok()?;
        (crate::is_object(text) && kind == "action").then_some((room, named(number)?))
    }

    /// Whether an action may be sent: a client that sends one that may not be gets it rejected.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::TooLarge`] past [`limits::ACTION_BYTES`](crate::limits::ACTION_BYTES), [`ErrorCode::BadAction`] if it
    /// nests so deep that its frame is past [`limits::JSON_DEPTH`](crate::limits::JSON_DEPTH).
    pub fn check_action(action: &str) -> Result<(), ErrorCode> {
        if action.len() > crate::limits::ACTION_BYTES {
            return Err(ErrorCode::TooLarge);
        }
        // In a frame it is one level further down.
        if nested_too_deep(&format!("[{action}]")) { Err(ErrorCode::BadAction) } else { Ok(()) }
    }

    /// Writes the message as a text frame.
    pub fn encode(&self) -> String {
        super::encode(self)
    }
}

/// A number that an action may have (SPEC 6.1).
fn named(number: u64) -> Option<u64> {
    (1..=crate::MAX_INTEGER.unsigned_abs()).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_8_every_message_up_is_read_as_it_was_written() {
        let room = || Cow::from("todos/a\"b");
        let action = RawValue::from_string(r#"{"type":"x","payload":[1,"2"]}"#.to_owned()).unwrap();
        let null = RawValue::from_string("null".to_owned()).unwrap();
        let cursor = Some(Cursor { version: 5, stamp: crate::Stamp::from_random(u64::MAX) });
        for up in [
            Up::Hello { versions: vec![2, 3] },
            Up::Join { room: room(), client: ClientId::from_random([7; 16]), cursor, born: Some(1), token: None },
            Up::Join {
                room: room(),
                client: ClientId::from_random([7; 16]),
                cursor: None,
                born: None,
                token: Some(Token::new("t")),
            },
            Up::Action { room: room(), number: 4, channel: "c".into(), action: &action },
            Up::Action { room: room(), number: 4, channel: "c".into(), action: &null },
            Up::Have { room: room(), version: 9, number: 4 },
            Up::Message { room: room(), text: "a\"\n".into() },
            Up::Ping,
            Up::Leave { room: room() },
            Up::Token { room: room(), token: Token::new("t") },
        ] {
            let text = up.encode();
            assert_eq!(Up::parse(&text).unwrap().encode(), text);
        }
    }

    #[test]
    fn spec_8_1_unknown_fields_are_ignored_and_missing_ones_refused() {
        assert!(Up::parse(r#"{"type":"ping","more":{"a":[1]}}"#).is_ok());
        for bad in [
            "null",
            "{}",
            r#"{"type":"nonsense"}"#,
            r#"{"type":"hello"}"#,
            r#"{"type":"join","room":"a/b","client":"short"}"#,
            r#"{"type":"have","room":"a/b","version":-1,"number":0}"#,
            r#"["ping"]"#,
            r#"["leave","a/b"]"#,
            r#"{"type":"join","room":"a/b","client":"00000000000000000000000000000000","cursor":[1,2]}"#,
            r#"{"type":"action","room":"a/b","number":1.5,"channel":"c","action":null}"#,
            r#"{"type":"leave","room":"a/b","type":"leave"}"#,
            r#"{"type":"leave","room":"a/b","room":"c/d"}"#,
            r#"{"room":"a/b","room":"c/d","type":"leave"}"#,
        ] {
            assert_eq!(Up::parse(bad).unwrap_err(), UpError, "{bad}");
        }
    }

    /// All fields that there are; of what no message has them.
    const NOT_THEIRS: &str = r#""versions":2,"room":[],"client":3,"cursor":[1],"born":"x","token":{},"number":-1,"channel":null,"action":"\ud800","version":1.5,"text":"\ud800","more":[{}]"#;

    /// The fields of [`NOT_THEIRS`] that a message does not have.
    fn of_others(own: &[&str]) -> String {
        let is_other = |field: &&str| !own.iter().any(|name| field.starts_with(&format!("\"{name}\":")));
        NOT_THEIRS.split(',').filter(is_other).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn spec_8_1_fields_of_other_messages_are_unknown_wherever_they_stand() {
        let join = r#""room":"a/b","client":"00000000000000000000000000000007","cursor":{"version":1,"stamp":2},"born":1,"token":"t""#;
        for (kind, own, fields) in [
            ("hello", &["versions"][..], r#""versions":[2]"#),
            ("join", &["room", "client", "cursor", "born", "token"], join),
            (
                "action",
                &["room", "number", "channel", "action"],
                r#""room":"a/b","number":4,"channel":"c","action":null"#,
            ),
            ("have", &["room", "version", "number"], r#""room":"a/b","version":9,"number":4"#),
            ("message", &["room", "text"], r#""room":"a/b","text":"\"x""#),
            ("leave", &["room"], r#""room":"a/b""#),
            ("token", &["room", "token"], r#""room":"a/b","token":"t""#),
        ] {
            let (kind, others) = (format!(r#""type":"{kind}""#), of_others(own));
            let alone = format!("{{{kind},{fields}}}");
            assert_eq!(Up::parse(&alone).unwrap().encode(), alone);
            for text in [
                format!("{{{kind},{others},{fields}}}"),
                format!("{{{kind},{fields},{others}}}"),
                format!("{{{fields},{kind},{others}}}"),
                format!("{{{others},{others},{fields},{kind}}}"),
            ] {
                assert_eq!(Up::parse(&text).map(|up| up.encode()), Ok(alone.clone()), "{text}");
            }
        }
        assert!(Up::is_ping(r#"{"type":"ping","room":1}"#) && Up::is_ping(r#"{"room":1,"type":"ping"}"#));
    }

    #[test]
    fn spec_8_1_fields_of_the_message_are_refused_wherever_they_stand() {
        for (kind, field) in [
            ("hello", r#""versions":2"#),
            ("join", r#""cursor":[1,2]"#),
            ("join", r#""born":"x""#),
            ("join", r#""token":1"#),
            ("action", r#""channel":1"#),
            ("have", r#""version":1.5"#),
            ("message", r#""text":"\ud800""#),
            ("leave", r#""room":1"#),
            ("token", r#""token":{}"#),
        ] {
            let name = field.split(':').next().unwrap();
            let rest = r#""versions":[2],"room":"a/b","client":"00000000000000000000000000000007","cursor":null,"born":1,"token":"t","number":4,"channel":"c","action":0,"version":9,"text":"x""#;
            let rest: Vec<&str> = rest.split(',').filter(|field| !field.starts_with(name)).collect();
            let (kind, rest) = (format!(r#""type":"{kind}""#), rest.join(","));
            for text in [format!("{{{kind},{field},{rest}}}"), format!("{{{field},{rest},{kind}}}")] {
                assert_eq!(Up::parse(&text).unwrap_err(), UpError, "{text}");
            }
        }
    }

    #[test]
    fn spec_8_2_a_hello_is_told_from_version_1() {
        assert!(Up::is_hello(r#"{"versions":"wrong","type":"hello"}"#));
        assert!(!Up::is_hello(r#"{"channel":"c","sync":true}"#));
        assert!(!Up::is_hello("nonsense"));
        assert!(!Up::is_hello(r#"["hello"]"#));
        assert_eq!(Up::unreadable_action(r#"["action","a/b",1]"#), None);
    }

    #[test]
    fn spec_8_16_a_ping_is_told_from_other_frames() {
        assert!(Up::is_ping(r#"{"type":"ping"}"#));
        assert!(Up::is_ping(r#" {"more": 1, "type": "ping"}"#));
        assert!(!Up::is_ping(r#"{"type":"hello","versions":[2]}"#));
        assert!(!Up::is_ping(r#"{"id":"ping","channel":"ping","action":"ping"}"#));
    }

    #[test]
    fn spec_8_4_versions_of_another_kind_do_not_hide_the_one_that_is_known() {
        let up = Up::parse(r#"{"type":"hello","versions":["3",-1,2.5,4294967296,2]}"#).unwrap();
        assert!(matches!(up, Up::Hello { versions } if versions == [2]));
    }

    #[test]
    fn spec_6_1_a_number_is_one_that_javascript_holds() {
        let action = |number: u64| {
            Up::parse(&format!(r#"{{"type":"action","room":"a/b","number":{number},"channel":"c","action":0}}"#))
                .is_ok()
        };
        let largest = crate::MAX_INTEGER.unsigned_abs();
        assert_eq!([0, 1, largest, largest + 1, u64::MAX].map(action), [false, true, true, false, false]);
    }
}
