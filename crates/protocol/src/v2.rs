//! Version 2 (SPEC section 8): JSON text frames, one object each, told apart by `type`.

mod down;
mod envelope;
mod fields;
mod up;

pub use down::{Changes, Down, ErrorMessage, Expires, Joined, Later, Left, Patch, Reject, Snapshot, Welcome};
pub use down::{SnapshotText, ack, encode, message, patch, pong};
pub use envelope::Envelope;
pub use up::{Up, UpError};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH;

/// The version's number in `hello` and `welcome`.
pub const VERSION: u32 = 2;

/// The WebSocket subprotocol that asks for version 2 (SPEC 8.2).
pub const SUBPROTOCOL: &str = "partysync.v2";

/// A field that is there, even if it is null.
pub(crate) fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

/// Whether a text opens more brackets than a frame may nest. Brackets inside of strings don't count.
pub(crate) fn nested_too_deep(text: &str) -> bool {
    // A bracket needs its partner.
    if text.len() <= 2 * JSON_DEPTH {
        return false;
    }
    if text.bytes().filter(|b| matches!(b, b'[' | b'{')).count() <= JSON_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_11_json_depth_at_the_limit_and_one_past_it() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!nested_too_deep(&nested(JSON_DEPTH)));
        assert!(nested_too_deep(&nested(JSON_DEPTH + 1)));
        assert!(!nested_too_deep(&format!("\"\\\"{}\"", "[".repeat(500))));
    }
}
