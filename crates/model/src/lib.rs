//! What an app's actions need, on the server and in the client alike: records, typed tables, the database trait, tables
//! in memory, and the error an action may return.
//!
//! An app writes a struct a table (`#[derive(Record)]`), an enum of actions, and one function that applies an action to a
//! [`Tx`]. That function does not know whether it runs on SQLite (as the authority) or on [`MemoryDb`] (as a prediction).
//!
//! This crate takes no clock, no randomness and no socket: the time of a step and the seed of its ids are handed in.

mod action;
mod columns;
mod db;
mod json;
mod memory;
mod record;
mod scan;
mod schema;
mod sql;
mod table;
mod tx;
mod value;

pub use action::{ActionError, Reason, apply_json};
pub use columns::Columns;
pub use db::{Db, DbError, DbErrorKind, Origin, Verdict};
pub use json::{RowError, push_row, push_tombstone, push_value, read_row, read_value};
pub use memory::MemoryDb;
pub use record::{DecodeError, Field, Key, KeyArg, Record, RecordColumn};
pub use scan::{Range, Scan};
pub use schema::{Channel, Schema};
pub use sql::quote;
pub use table::{Column, ColumnType, TIME_COLUMNS, Table};
pub use tx::{Seed, Tx, TypedTable};
pub use value::{Value, ValueRef};

#[doc(no_inline)]
pub use partysync_protocol::{ErrorCode, Millis};
