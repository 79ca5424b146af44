//! partysync's [`Db`](partysync_model::Db) trait on the SQL of a Durable Object.
//!
//! A spike: the database, and the room's core running on it in tests. It is no home yet; see the README for what the
//! later one must know.
//!
//! What it adds to a Durable Object's SQL:
//! - integers and reals that stay what they are (`rewrite.rs`);
//! - what SQL of the app may not do, by its origin (`refuse.rs`);
//! - transactions that nest and are undone by a panic, and that know when a statement ended them (`db.rs`);
//! - errors as kinds that somebody can act on (`error.rs`).
//!
//! Natively all but the database itself is built, for its tests.

#[cfg(any(target_arch = "wasm32", test))]
mod error;
#[cfg(any(target_arch = "wasm32", test))]
mod refuse;
#[cfg(any(target_arch = "wasm32", test))]
mod rewrite;
#[cfg(any(target_arch = "wasm32", test))]
mod statement;
#[cfg(any(target_arch = "wasm32", test))]
mod token;

#[cfg(target_arch = "wasm32")]
mod db;
#[cfg(target_arch = "wasm32")]
mod js;

#[cfg(target_arch = "wasm32")]
pub use db::DurableDb;
