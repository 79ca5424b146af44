//! The todo example as a Durable Object: `wrangler.jsonc` has its class and its binding, `scripts/start-worker` runs it on this machine.
#![cfg(target_arch = "wasm32")]

use partysync::worker::{App, durable_object};
use todo_app::Todos;

fn app(_: &worker::Env) -> App {
    // Where the secret is not set there are no admin routes.
    App::new().party("todos", || Todos).admin("ADMIN_TOKEN")
}

durable_object!(Room, app);
