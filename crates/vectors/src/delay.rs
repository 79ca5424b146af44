//! `vectors/delays.json`.

use serde::Deserialize;

use crate::{folder, load};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delays {
    version: u32,
    #[allow(dead_code)]
    about: String,
    delays: Vec<Delay>,
}

/// How long a client waits before it opens another socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// The close code.
    pub code: u16,
    /// Tries in a row that failed before.
    pub failures: u32,
    /// Random, of 32 bits.
    pub random: u32,
    /// Milliseconds; `None`: it does not come back unchanged.
    pub ms: Option<u64>,
}

/// All of them.
///
/// # Panics
///
/// The file is of another version.
pub fn delays() -> Vec<Delay> {
    let Delays { version, delays, .. } = load(&folder().join("delays.json"));
    assert_eq!(version, 2);
    delays
}
