//! The client's logic: confirmed rows, pending actions on top, and what to say to the server so that both end up the same.
//!
//! A [`Client`] is one client of one room. It has no socket and no clock: its home hands it what happens and carries out
//! what it asks for. SPEC section 9 is its text.
//!
//! ```
//! use partysync_client::{Client, Config, Effect, Event, Input};
//!
//! let config = Config { room: "todos/lobby".to_owned(), tables: vec![], apply: None };
//! let mut client = Client::new(config, [7; 16]);
//! let input = Input { now: 1_700_000_000_000, random: [9; 16] };
//! let mut effects = Vec::new();
//!
//! // An action may be asked for before there is a socket: it waits.
//! let act = Event::Act { channel: "todos".to_owned(), action: r#"{"type":"create"}"#.to_owned() };
//! client.handle(input, act, &mut effects);
//! assert_eq!(client.pending().count(), 1);
//!
//! client.handle(input, Event::Opened, &mut effects);
//! assert!(effects.iter().any(|e| matches!(e, Effect::Send(frame) if frame.contains("hello"))));
//! ```

mod client;
mod event;
mod session;
mod state;
mod view;

pub use client::Client;
pub use event::{Apply, Config, Effect, Event, Fate, Input};
pub use state::{Pending, State};
