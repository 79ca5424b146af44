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
//! - `world.rs` decides what happens next; `server.rs` and `clients.rs` do it; `network.rs` is what lies between, and `slow.rs` what
//!   waits there for a reader that is slow. A socket carries one room or several; `site.rs` is what the home has of one.
//! - `door.rs` is the door of some worlds' rooms, which admits until a time, and what clients have to prove who they are. `ends.rs` ends
//!   one room on a socket that carries others, and lets clients leave one.
//! - `disk.rs`, `platter.rs` and `file.rs` are a disk that loses what was not synced; `vfs.rs` makes SQLite use it. `copies.rs` puts
//!   old copies in place of rooms, and of what clients store; `courier.rs` delivers what is in the outbox.
//! - `app.rs` is the app, `script.rs` what its users do.
//! - `checks.rs` (with `look.rs`) looks at each room after each batch, `keeping.rs` at how much it keeps, `frames.rs` at each frame that
//!   it gets and sends (`frames_v1.rs` in version 1, `frames_door.rs` where there is a door), `aboard.rs` at each that comes to a client,
//!   `items.rs` at each item that it hands out, `fates.rs` at each client; `model.rs` says
//!   what the tables must hold.
//! - `page.rs` is a page of version 1, `pages.rs` what becomes of such pages, `proof.rs` what the home knows to have arrived there, `lacks.rs`
//!   what nobody can help such a page with.
//! - `tamper.rs` breaks rooms on purpose: the checks are worth something only as far as they catch them.

#![deny(unsafe_code)]

mod aboard;
mod app;
mod checks;
mod clients;
mod copies;
mod courier;
mod disk;
mod door;
mod ends;
mod fates;
mod file;
mod frames;
mod frames_door;
mod frames_v1;
mod items;
mod keeping;
mod lacks;
mod look;
mod model;
mod network;
mod page;
mod pages;
mod platter;
mod proof;
mod rng;
mod script;
mod server;
mod setup;
mod site;
mod slow;
mod tamper;
// SQLite's interface is C's.
#[allow(unsafe_code)]
mod vfs;
mod world;

pub use checks::{Promise, Violation};
pub use disk::{Counts, Disk, Fault, Operation};
pub use rng::Rng;
pub use setup::{Setup, Stats};
pub use tamper::Tamper;
pub use world::run;
