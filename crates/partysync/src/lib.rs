//! Keeps the SQLite rows of a room in sync with its clients.
//!
//! A *room* is one named object with its own SQLite database. It runs one action at a time, and every client that is
//! connected to it holds a copy of its rows. An app is a struct for a row, an enum of actions, and one function that applies one:
//!
//! ```
//! use partysync::{ActionError, Call, Changed, Record, Schema, Server, SyncServer, Tx};
//! use serde::Deserialize;
//!
//! #[derive(Record)]
//! struct Todo {
//!     id: String,
//!     text: String,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type", content = "payload", rename_all = "lowercase")]
//! enum Action {
//!     Create { id: String, text: String },
//!     Delete { id: String },
//! }
//!
//! fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
//!     match action {
//!         Action::Create { text, .. } if text.is_empty() => Err(ActionError::reject("empty", "Write something first.")),
//!         Action::Create { id, text } => tx.table::<Todo>().insert(&Todo { id, text }),
//!         Action::Delete { id } => tx.table::<Todo>().delete(id).map(|_| ()),
//!     }
//! }
//!
//! struct Todos;
//!
//! impl SyncServer for Todos {
//!     fn schema(&self) -> Schema {
//!         Schema::new().record::<Todo>()
//!     }
//!
//!     fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
//!         call.apply(tx, apply)
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().data("data").party("todos", || Todos).build()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! server.serve(listener, partysync::stop_signal()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `server` (default): rooms, and the native server that they run in.
//! - `room`: rooms without a home, for a crate that is to run in both.
//! - `worker`: rooms on Durable Objects, compiled to WebAssembly.
//! - `typescript`: TypeScript types of rows and actions, for a test that writes them into a page's file. For `dev-dependencies`: a room's own build
//!   does not need it.
//! - `tls`: the native server speaks TLS itself, without a proxy.
//!
//! Without any there is what actions are made of, for code that a client shares with the server.

/// All of the model: what the derive macro refers to, and what few apps need.
pub use partysync_model as model;

pub use partysync_derive::Record;
#[doc(no_inline)]
pub use partysync_model::{
    ActionError, ErrorCode, MemoryDb, Millis, Range, Record, Scan, Schema, Seed, Tx, TypedTable, Value,
};

#[cfg(feature = "room")]
#[doc(no_inline)]
pub use partysync_room::{
    Admission, Applied, Attempt, Call, Changed, ConnectionId, Handled, Join, Message, OutboxItem, Refusal, Request,
    Response, Socket, Sockets, SyncServer, Token,
};
#[cfg(feature = "server")]
#[doc(no_inline)]
pub use partysync_server::{
    AdminToken, BuildError, Builder, Import, ImportError, Imported, ImportedTable, InUse, InvalidAdminToken, Server,
    StopError, stop_signal,
};
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use partysync_server::{Tls, TlsError};

/// The home on Durable Objects.
#[cfg(feature = "worker")]
#[doc(no_inline)]
pub use partysync_worker as worker;

/// TypeScript types of rows and actions.
#[cfg(feature = "typescript")]
#[doc(no_inline)]
pub use partysync_typescript as typescript;

/// The code in README and the guides compiles.
#[cfg(all(doctest, feature = "server"))]
mod guides {
    #[doc = include_str!("../../../docs/actions.md")]
    struct Actions;
    #[doc = include_str!("../../../docs/auth.md")]
    struct Auth;
    #[doc = include_str!("../../../docs/coming-from-partysync.md")]
    struct ComingFromPartysync;
    #[doc = include_str!("../../../docs/concepts.md")]
    struct Concepts;
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/testing.md")]
    struct Testing;
}
