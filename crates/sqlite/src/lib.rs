//! A room's database as an SQLite file: the [`Db`](partysync_model::Db) trait on rusqlite.
//!
//! The room's engine, the native server and the simulation use it. One [`SqliteDb`] owns one file: it takes the file's
//! lock when it opens it and keeps it, so there is no shared memory file beside the database, only its `-wal`.
//!
//! What it adds to SQLite:
//! - transactions that nest, and that know when a statement ended them (`transaction.rs`);
//! - what SQL of the app may not do, by its origin (`authorizer.rs`);
//! - a budget of virtual-machine steps for each step of the room (`budget.rs`);
//! - errors as kinds that somebody can act on (`error.rs`);
//! - prepared statements, kept and found by their text and origin (`session.rs`).

mod authorizer;
mod backup;
mod budget;
mod db;
mod error;
mod open;
mod rewrite;
mod session;
mod statement;
mod transaction;

pub use backup::copy_database;
pub use db::SqliteDb;
pub use open::Options;
pub use rewrite::rewrite_file;

#[doc(no_inline)]
pub use rusqlite::InterruptHandle;
