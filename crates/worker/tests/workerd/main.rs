//! The same scripts on `SqliteDb` and on a Durable Object in workerd, with transcripts that must be equal (P11); and the test vectors on a
//! Durable Object.
//!
//! Run by `scripts/test-worker`, which builds the worker and says where it is and where workerd is; without that the tests
//! fail. They are ignored where nobody asks for them.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "what helps a test fails it")]

#[path = "../../examples/spike/app.rs"]
mod app;
mod http;
mod process;
#[path = "../../examples/spike/script.rs"]
mod script;
mod twins;

mod database;
mod room;
mod vectors;
