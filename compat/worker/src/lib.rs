//! The app of `../../app` as a Durable Object, for the tests of version 1.
#![cfg(target_arch = "wasm32")]

use partysync::worker::{App, durable_object};
use partysync_compat_app::{Chat, Todos, deliver, prepare, tell, who_is};

fn app(env: &worker::Env) -> App {
    let app = App::new()
        .party("todos", || Todos)
        .party("chat", Chat::default)
        .party("hooked", Chat::default)
        .before_action("hooked", prepare)
        .after_action("hooked", tell)
        .on_outbox("hooked", deliver)
        .on_before_connect("hooked", who_is)
        .on_before_connect("chat", who_is)
        .on_before_request("chat", who_is)
        .admin("ADMIN_TOKEN");
    match env.var("ORIGINS") {
        Ok(origins) => app.allowed_origins(origins.to_string().split(' ')),
        Err(_) => app,
    }
}

durable_object!(Room, app);
