//! The worker around the rooms: what `wrangler.jsonc` deploys.
#![cfg(target_arch = "wasm32")]

use partysync::worker::{App, durable_object};
use rooms::Notes;

fn app(_: &worker::Env) -> App {
    App::new().party("notes", || Notes)
}

durable_object!(Room, app);
