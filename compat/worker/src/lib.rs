//! The app of `../../app` as a Durable Object, for the tests of version 1.
#![cfg(target_arch = "wasm32")]

use partysync::worker::{App, durable_object};
use partysync_compat_app::{Chat, Todos, who_is};

fn app(_: &worker::Env) -> App {
    App::new()
        .party("todos", || Todos)
        .party("chat", Chat::default)
        .on_before_connect("chat", who_is)
        .on_before_request("chat", who_is)
}

durable_object!(Room, app);
