//! The native home of rooms: tokio, axum, and SQLite with a file a room.
//!
//! ```no_run
//! use partysync_model::{ActionError, Schema, Tx};
//! use partysync_room::{Call, Changed, SyncServer};
//! use partysync_server::Server;
//!
//! struct Todos;
//!
//! impl SyncServer for Todos {
//! #   fn schema(&self) -> Schema { Schema::new() }
//! #   fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> { Ok(Changed::Captured) }
//!     // ...
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().data("data").party("todos", || Todos).build()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! server.serve(listener, partysync_server::stop_signal()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Rooms are then at `/parties/todos/:room`. To serve more than rooms, merge [`Server::router`] into a router of your own.
//!
//! # How a frame travels
//!
//! A socket's task reads it and puts it into its room's mailbox. A job on one of a few threads that
//! may block takes all that waits there, hands it to the room, and carries out what comes back: it writes to each socket what the
//! batch has for it, in one system call. What the kernel does not take is kept, and the socket's task writes it later. A room is on at most
//! one of these threads at a time, and none of them waits for another room's disk.
//!
//! Each queue has a bound. A mailbox takes [`ROOM_QUEUE`](partysync_protocol::limits::ROOM_QUEUE) frames; when it is full
//! the sockets are not read, and TCP slows their clients. An outbox takes
//! [`SOCKET_BACKLOG_BYTES`](partysync_protocol::limits::SOCKET_BACKLOG_BYTES); past it updates are left out for that one socket, and it
//! gets one catch-up when it has read what waits.
//! Rooms queue for a thread at most once each.

mod accept;
mod admin;
mod alarms;
mod backlog;
mod berth;
mod builder;
mod clock;
mod courier;
mod data;
mod descriptors;
mod door;
mod expiry;
mod gate;
mod health;
mod hooks;
mod http;
mod import;
mod job;
mod lanes;
mod log_file;
mod mailbox;
mod metered;
mod metrics;
mod open;
mod origins;
mod outbox;
mod party;
mod pool;
mod proof;
mod random;
mod rate;
mod registry;
mod rooms;
mod server;
mod several;
mod slots;
mod socket;
mod staging;
mod stop;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod watcher;
mod ws;

pub use admin::{AdminToken, InvalidAdminToken};
pub use builder::{BuildError, Builder};
pub use import::{Import, ImportError, Imported, ImportedTable};
pub use server::Server;
pub use stop::{InUse, StopError, stop_signal};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
