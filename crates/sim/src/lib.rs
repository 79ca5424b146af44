//! A world in one thread and from one seed: clients, a room with real SQL, a network and a disk that fail.
//!
//! [`run`] plays one world and says which of the design's promises it saw broken. The same seed plays the same world:
//!
//! ```
//! use partysync_sim::{Setup, run};
//!
//! let stats = run(1, &Setup::default()).expect("all promises hold");
//! assert!(stats.versions > 0);
//! ```
//!
//! How a world is made:
//! - `world.rs` decides what happens next; `server.rs` and `clients.rs` do it; `network.rs` is what lies between.
//! - `disk.rs`, `platter.rs` and `file.rs` are a disk that loses what was not synced; `vfs.rs` makes SQLite use it.
//! - `app.rs` is the app, `script.rs` what its users do.
//! - `checks.rs` (with `look.rs`) looks at the room after each batch, at each frame it sends and at each
//!   client; `model.rs` says what the tables must hold.
//! - `tamper.rs` breaks rooms on purpose: the checks are worth something only as far as they catch them.

#![deny(unsafe_code)]

mod app;
mod checks;
mod clients;
mod disk;
mod file;
mod look;
mod model;
mod network;
mod platter;
mod rng;
mod script;
mod server;
mod tamper;
// SQLite's interface is C's.
#[allow(unsafe_code)]
mod vfs;
mod world;

pub use checks::{Promise, Violation};
pub use disk::{Counts, Disk, Fault, Operation};
pub use rng::Rng;
pub use tamper::Tamper;
pub use world::{Setup, Stats, run};
