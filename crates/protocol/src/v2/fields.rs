//! The fields of a message from a client, read in one pass over its text, whatever the order of its keys.
//!
//! Which of them count, its `type` says (SPEC 8.1): what another message has means nothing in this one. A client writes `type` first, so
//! each field is typed as it comes, or passed over. What comes before `type` is kept as text until it is known whose it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{ClientId, Cursor, Token, Version};

/// A message's `type`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
pub(super) enum Kind {
    Hello,
    Join,
    Action,
    Have,
    Message,
    Ping,
    Leave,
    Token,
    #[default]
    #[serde(other)]
    Unknown,
}

/// The name of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Type,
    Room,
    Versions,
    Client,
    Cursor,
    Born,
    Token,
    Number,
    Channel,
    Action,
    Version,
    Text,
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Whether such a message has a field of this name (SPEC 8.4 to 8.30).
    fn has(self, key: Key) -> bool {
        match key {
            Key::Type => true,
            Key::Room => !matches!(self, Kind::Hello | Kind::Ping | Kind::Unknown),
            Key::Versions => self == Kind::Hello,
            Key::Client | Key::Cursor | Key::Born => self == Kind::Join,
            Key::Token => matches!(self, Kind::Join | Kind::Token),
            Key::Number => matches!(self, Kind::Action | Kind::Have),
            Key::Channel | Key::Action => self == Kind::Action,
            Key::Version => self == Kind::Have,
            Key::Text => self == Kind::Message,
            Key::Unknown => false,
        }
    }
}

/// What a message holds of its own fields. One that is null is as one that is absent, but for an action.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) kind: Kind,
    pub(super) room: Option<Cow<'a, str>>,
    pub(super) versions: Option<Vec<u32>>,
    pub(super) client: Option<ClientId>,
    pub(super) cursor: Option<Cursor>,
    pub(super) born: Option<Version>,
    pub(super) token: Option<Token>,
    pub(super) number: Option<u64>,
    pub(super) channel: Option<Cow<'a, str>>,
    pub(super) action: Option<&'a RawValue>,
    pub(super) version: Option<Version>,
    pub(super) text: Option<Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Message)
    }
}

/// Reads the message: an object, and no list.
struct Message;

impl<'de> Visitor<'de> for Message {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message of version 2")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        let mut seen = Seen::default();
        // Bounded by the frame (`limits::FRAME_BYTES`); empty if `type` comes first.
        let mut early: Vec<(Key, &'de RawValue)> = Vec::new();
        while let Some(key) = map.next_key::<Key>()? {
            let kind = fields.kind;
            if key == Key::Type {
                seen.note(key)?;
                let kind: Kind = map.next_value()?;
                fields.kind = kind;
                for (key, raw) in early.drain(..).filter(|(key, _)| kind.has(*key)) {
                    seen.note(key)?;
                    match key {
                        // The largest, and taken as it is.
                        Key::Action => fields.action = Some(raw),
                        _ => Field { key, fields: &mut fields }.deserialize(raw).map_err(A::Error::custom)?,
                    }
                }
            } else if kind.has(key) {
                seen.note(key)?;
                map.next_value_seed(Field { key, fields: &mut fields })?;
            } else if key == Key::Unknown || seen.has(Key::Type) {
                map.next_value::<IgnoredAny>()?;
            } else {
                early.push((key, map.next_value()?));
            }
        }
        Ok(fields)
    }
}

/// Which fields a message had so far, a bit each.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn has(&self, key: Key) -> bool {
        self.0 & (1 << key as u16) != 0
    }

    /// Of a field that is there twice nobody knows which is meant.
    fn note<E: Error>(&mut self, key: Key) -> Result<(), E> {
        if self.has(key) {
            return Err(E::custom("a field that is there twice"));
        }
        self.0 |= 1 << key as u16;
        Ok(())
    }
}

/// Reads the value of one field of the message into its place.
struct Field<'f, 'a> {
    key: Key,
    fields: &'f mut Fields<'a>,
}

impl<'de> DeserializeSeed<'de> for Field<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Field { key, fields } = self;
        match key {
            Key::Room => fields.room = text(deserializer)?,
            Key::Versions => fields.versions = Some(versions(deserializer)?),
            Key::Client => fields.client = Deserialize::deserialize(deserializer)?,
            Key::Cursor => fields.cursor = cursor(deserializer)?,
            Key::Born => fields.born = crate::maybe_integer(deserializer)?,
            Key::Token => fields.token = Deserialize::deserialize(deserializer)?,
            Key::Number => fields.number = crate::maybe_integer(deserializer)?,
            Key::Channel => fields.channel = text(deserializer)?,
            Key::Action => fields.action = Some(Deserialize::deserialize(deserializer)?),
            Key::Version => fields.version = crate::maybe_integer(deserializer)?,
            Key::Text => fields.text = text(deserializer)?,
            // Never the key of a field.
            Key::Type | Key::Unknown => {}
        }
        Ok(())
    }
}

/// A text, or null.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(<Option<Text<'de>>>::deserialize(deserializer)?.map(|Text(text)| text))
}

/// A cursor, which is an object, or null.
fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let Some(raw) = <Option<&RawValue>>::deserialize(deserializer)? else { return Ok(None) };
    let read = crate::is_object(raw.get()).then(|| serde_json::from_str(raw.get()));
    read.and_then(Result::ok).map(Some).ok_or_else(|| D::Error::custom("no cursor"))
}

/// The versions of a `hello` that are ones: who lists another kind of thing beside them may still be understood.
fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let listed = <Vec<serde_json::Value>>::deserialize(deserializer)?;
    let version = |v: serde_json::Value| v.as_u64().and_then(|v| u32::try_from(v).ok());
    Ok(listed.into_iter().filter_map(version).collect())
}
