//! The test vectors of the protocol (`vectors/` at the root of the repository), for the tests of this repository. `vectors/README.md` says
//! what the files mean; here they are read, strictly: a field that is not known is a fault of the file.

mod app;
mod bound;
mod delay;
mod dialogue;
#[cfg(feature = "drive")]
mod drive;
mod message;

pub use app::{Action, Todo, TodoList, apply, tables};
pub use bound::Bound;
pub use delay::{Delay, delays};
pub use dialogue::{By, Dialogue, Fate, Need, Rider, Settled, Shows, Side, Step, dialogues};
#[cfg(feature = "drive")]
pub use drive::{Home, LeftOut, play_dialogues, send_first_frames, send_what_is_no_message};
pub use message::{Answer, First, FirstAnswer, Ids, Invalid, Messages, NewId, ROOM, Text, Valid, down, ids, up, v1};

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

/// Reads a file of vectors.
///
/// # Panics
///
/// It cannot be read: the tests that need it must fail.
#[allow(clippy::panic)]
fn load<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
