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

pub use close::{CLOSE_CODES, CloseCode, ComeBack, close_code};
pub use cursor::{Cursor, Stamp, Version};
pub use error::{ErrorCode, Fault, Retry, WireError};
pub use id::{ClientId, InvalidClientId};
pub use token::Token;

/// A point in time: milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// The largest integer that may travel: 2^53 − 1, the largest that JavaScript holds exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;
