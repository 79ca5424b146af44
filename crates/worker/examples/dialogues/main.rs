//! The app of the test vectors (`vectors/`) as a Durable Object: `tests/workerd` plays the dialogues with it.
#![cfg(target_arch = "wasm32")]

/// As the room's tests have it.
#[path = "../../../room/tests/vectors/app.rs"]
mod app;

use app::{Todos, door};
use partysync_protocol::Token;
use partysync_worker::{App, durable_object};

fn app(_: &worker::Env) -> App {
    App::new()
        .party("todos", || Todos)
        .party("guarded", || Todos)
        .on_before_connect("guarded", |join| async move { door(join.token.as_ref().map(Token::as_str)) })
}

durable_object!(Room, app);
