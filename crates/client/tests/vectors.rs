//! The test vectors (`vectors/`), against the client.
#![allow(clippy::unwrap_used, clippy::panic)]

mod vectors {
    mod dialogues;
    mod messages;
}
