//! One room's logic: facts in, effects out.
//!
//! A [`Room`] owns a database (any [`Db`](partysync_model::Db)) and an app's [`SyncServer`]. Its home, the program that has
//! sockets and a clock, hands it events and carries out the effects that come back:
//!
//! ```
//! use partysync_model::{ActionError, Schema, Tx, Value};
//! use partysync_room::{Call, Changed, ConnectionId, Effect, Event, Input, Room, RoomName, SyncServer};
//! use partysync_sqlite::{Options, SqliteDb};
//!
//! /// A room at the raw level: a table and actions of its own.
//! struct Notes;
//!
//! impl SyncServer for Notes {
//!     fn schema(&self) -> Schema {
//!         Schema::new().raw("notes")
//!     }
//!
//!     fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
//!         let sql = "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL,
//!                    created_at INTEGER, updated_at INTEGER, deleted_at INTEGER)";
//!         tx.execute(sql, &[]).map(|_| ())
//!     }
//!
//!     fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
//!         let id = tx.new_id();
//!         tx.execute("INSERT INTO notes (id, text) VALUES (?, ?)", &[id.into(), call.action().into()])?;
//!         Ok(Changed::Captured)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = SqliteDb::open_in_memory(&Options::default())?;
//! let now = Input { now: 1_700_000_000_000, random: 42 };
//! let mut room = Room::open(db, RoomName::new("notes", "lobby"), || Notes, now)?;
//!
//! let client = ConnectionId(1);
//! let action = r#"{"id":"a","channel":"notes","action":"hello"}"#;
//! let mut effects = Vec::new();
//! room.handle(now, vec![Event::opened(client), Event::text(client, action)], &mut effects);
//!
//! // Whatever comes back reflects only what is durable.
//! let Some(Effect::Answer { to, frame, .. }) = effects.iter().find(|e| matches!(e, Effect::Answer { .. })) else {
//!     panic!("no answer")
//! };
//! assert_eq!(*to, client);
//! assert!(frame.contains(r#""type":"success""#));
//! # Ok(())
//! # }
//! ```
//!
//! # How a batch of events is handled
//!
//! 1. *Route*: each event is read, and what it asks of the database is noted.
//! 2. *Run*: all steps (actions, alarms) run in one transaction, a savepoint each. If one of them destroys the transaction, each runs
//!    again alone.
//! 3. *Reply*: after the commit, effects are made from what was committed.
//!
//! So nothing can leave before it is durable (P3): there are no effects until the third stage.
//!
//! This crate takes no clock, no randomness, no async runtime and no socket.

mod address;
mod adopt;
mod away;
mod capture;
mod channel;
mod clients;
mod connection;
mod event;
mod group;
mod hibernate;
mod hook;
mod inspect;
mod instance;
mod join;
mod kept;
mod lag;
mod lifecycle;
mod observe;
mod open;
mod origins;
mod outbox;
mod purge;
mod put_off;
mod quiet;
mod reply;
mod request;
mod room;
mod server;
mod snapshots;
mod sockets;
mod sorted;
mod step;
mod store;
mod transfer;

pub use address::Address;
pub use channel::ShapeError;
pub use event::{Arrived, ConnectionId, ConnectionInfo, Effect, Event, Frame, Input, Report, RequestId};
pub use hibernate::{ConnectionState, InvalidState};
pub use hook::{Applied, Attempt, Seen, Vetted};
pub use inspect::{InspectedChannel, Inspection};
pub use join::{Admission, Join, Refusal};
pub use kept::{KeptReader, KeptWriter};
pub use observe::{Begun, Ending, Observer, Settled};
pub use open::OpenError;
pub use origins::{OriginHeaders, Origins};
pub use outbox::OutboxItem;
pub use partysync_protocol::Token;
pub use request::{Request, Response};
pub use room::{Room, RoomName};
pub use server::{Call, Changed, Handled, Message, SyncServer};
pub use sockets::{Socket, Sockets, close_reason};
pub use sorted::SortedMap;
pub use transfer::{Incoming, OwnObjects, TransferError, Transferred, export};
