//! Rooms on Durable Objects: the home of rooms that are compiled to WebAssembly.
//!
//! An app's rooms are the same code as on the native server. A worker is a crate of its own around them, built for
//! `wasm32-unknown-unknown`:
//!
//! ```ignore
//! use partysync_worker::App;
//!
//! fn app(_: &worker::Env) -> App {
//!     App::new().party("todos", || Todos)
//! }
//!
//! // The Durable Object's class, `Room`, and the worker's entry.
//! partysync_worker::durable_object!(Room, app);
//! ```
//!
//! Natively only what needs no Durable Object is built, for its tests.

#[cfg(any(target_arch = "wasm32", test))]
mod error;
#[cfg(any(target_arch = "wasm32", test))]
mod handshake;
#[cfg(any(target_arch = "wasm32", test))]
mod lag;
#[cfg(any(target_arch = "wasm32", test))]
mod parts;
#[cfg(any(target_arch = "wasm32", test))]
mod refuse;
#[cfg(any(target_arch = "wasm32", test))]
mod rewrite;
#[cfg(any(target_arch = "wasm32", test))]
mod secret;
#[cfg(any(target_arch = "wasm32", test))]
mod statement;
#[cfg(any(target_arch = "wasm32", test))]
mod token;

#[cfg(target_arch = "wasm32")]
mod db;
#[cfg(target_arch = "wasm32")]
mod home;
#[cfg(target_arch = "wasm32")]
mod js;

#[cfg(target_arch = "wasm32")]
pub use db::DurableDb;
#[cfg(target_arch = "wasm32")]
pub use home::{App, Object, fetch};
