//! What a partysync client and server say to each other: messages, versions, limits, error codes.
//!
//! `SPEC.md` at the root of the repository is the text; this crate is its types. It knows no socket, no clock and no
//! database. Rule numbers in comments are SPEC's.

mod close;
mod cursor;
mod error;
mod id;
pub mod limits;
mod token;
pub mod v1;
pub mod v2;

pub use close::{
    CLOSE_CODES, CloseCode, ComeBack, GOOD_SOCKET_MS, LONGEST_DELAY_MS, USUAL_COME_BACK, close_code, delay_ms,
};
pub use cursor::{Cursor, Stamp, Version};
pub use error::{ErrorCode, Fault, Retry, WireError};
pub use id::{ClientId, InvalidClientId};
pub use token::Token;

/// A point in time: milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// The largest integer that may travel: 2^53 − 1, the largest that JavaScript holds exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Whether a JSON text is that of an object, if it is JSON. What is derived reads an array, too, by the places of its fields.
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// Reads an integer from 0 that may travel: JavaScript holds no larger one exactly.
pub(crate) fn integer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = <u64 as serde::Deserialize>::deserialize(deserializer)?;
    let fits = value <= MAX_INTEGER.unsigned_abs();
    fits.then_some(value).ok_or_else(|| serde::de::Error::custom("an integer past 2^53 - 1"))
}

/// As [`integer`], for a size.
pub(crate) fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    usize::try_from(integer(deserializer)?).map_err(serde::de::Error::custom)
}

/// As [`integer`]; or null.
pub(crate) fn maybe_integer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Integer(#[serde(deserialize_with = "integer")] u64);
    <Option<Integer> as serde::Deserialize>::deserialize(deserializer).map(|value| value.map(|Integer(value)| value))
}
