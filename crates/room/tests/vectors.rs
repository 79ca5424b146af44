//! The test vectors (`vectors/`), against the room.
#![allow(clippy::unwrap_used, clippy::panic)]

mod vectors {
    pub(crate) mod app;
    mod dialogues;
    mod messages;
    pub(crate) mod server;
}
