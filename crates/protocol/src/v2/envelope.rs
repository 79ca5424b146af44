use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What a frame from a client is about, for whoever takes frames of several rooms apart. The rest of it is not looked at.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Envelope<'a> {
    /// The message's `type`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The room that it names, if it names one: `party/room`. What is no text names none: whether the message has such a field at all, its
    /// type says (SPEC 8.1).
    #[serde(borrow, default, deserialize_with = "named")]
    pub room: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Reads a text frame. `None` if it is no JSON object with a `type`.
    pub fn read(text: &'a str) -> Option<Self> {
        if crate::is_object(text) { serde_json::from_str(text).ok() } else { None }
    }

    /// Whether a frame plainly begins with its type and this room, as clients write it. If not it may still be about that room.
    pub fn plainly_names(text: &str, room: &str) -> bool {
        let after_kind = text.strip_prefix(r#"{"type":""#).and_then(|rest| rest.split_once('"'));
        let named = after_kind.and_then(|(_, rest)| rest.strip_prefix(r#","room":""#)?.strip_prefix(room));
        named.is_some_and(|rest| rest.starts_with('"'))
    }
}

/// The room, if that is a text.
fn named<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    let room = <&'de RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str::<Name<'de>>(room.get()).ok().map(|Name(name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::Up;

    #[test]
    fn spec_8_3_a_frame_says_which_room_it_is_about() {
        let read = |text: &str| Envelope::read(text).map(|e| (e.kind.into_owned(), e.room.map(Cow::into_owned)));
        let of = |kind: &str, room: Option<&str>| Some((kind.to_owned(), room.map(str::to_owned)));
        assert_eq!(read(r#"{"room":"a/b","more":[{"room":"c/d"}],"type":"leave"}"#), of("leave", Some("a/b")));
        assert_eq!(read(r#"{"type":"leave","room":"a\/b"}"#), of("leave", Some("a/b")));
        assert_eq!(read(r#"{"type":"ping"}"#), of("ping", None));
        for room in ["1", "null", "[]", r#"{"room":"a/b"}"#, r#""\ud800""#] {
            assert_eq!(read(&format!(r#"{{"room":{room},"type":"ping"}}"#)), of("ping", None), "{room}");
        }
        for none in ["", "[]", r#"["leave","a/b"]"#, r#"{"room":"a/b"}"#, r#"{"type":1}"#] {
            assert_eq!(read(none), None, "{none}");
        }
        // Nobody knows which of the two is meant.
        assert_eq!(read(r#"{"type":"leave","room":"a/b","room":"c/d"}"#), None);
    }

    #[test]
    fn what_clients_write_plainly_names_its_room_and_nothing_else_does() {
        let leave = Up::Leave { room: "a/b".into() }.encode();
        assert!(Envelope::plainly_names(&leave, "a/b"));
        for other in ["a/", "a/bc", "a", ""] {
            assert!(!Envelope::plainly_names(&leave, other), "{other}");
        }
        for text in [r#"{"room":"a/b","type":"leave"}"#, r#"{"type":"x","other":"","room":"a/b"}"#, r#"{"type":"a/b"}"#]
        {
            assert!(!Envelope::plainly_names(text, "a/b"), "{text}");
        }
    }
}
