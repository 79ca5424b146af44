//! The test vectors (`vectors/`), against the server, over real sockets. What needs more of a server than that is for the room's own
//! tests.
#![allow(clippy::unwrap_used, clippy::panic)]

/// The app of the vectors, as the room's tests have it.
#[path = "../../room/tests/vectors/app.rs"]
mod app;
mod support;

use std::net::SocketAddr;
use std::path::PathBuf;

use app::{Todos, door};
use partysync_protocol::Token;
use partysync_room::Join;
use partysync_server::Server;
use partysync_vectors::{Home, LeftOut, play_dialogues, send_first_frames, send_what_is_no_message};
use support::{listen, runtime};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Dialogues that cannot be played over sockets.
const LEFT_OUT: [LeftOut<'_>; 5] = [
    ("busy-then-retry.json", "the server is not busy because one wants it"),
    ("catch-up.json", "whether a client reads slowly is seen by what its socket takes, which is the machine's"),
    ("client-unknown.json", "a clock has to be set"),
    ("forgotten-outcome.json", "a clock has to be set"),
    ("reset-old-cursor.json", "a clock has to be set"),
];

/// A server that can be stopped and started again.
struct Native {
    folder: TempDir,
    running: Option<(Runtime, Server)>,
}

impl Native {
    fn new() -> Self {
        Native { folder: tempfile::tempdir().unwrap(), running: None }
    }
}

impl Home for Native {
    fn start(&mut self) -> SocketAddr {
        let guard = |join: Join| async move { door(join.token.as_ref().map(Token::as_str)) };
        let builder = Server::builder().data(self.data()).party("todos", || Todos).party("guarded", || Todos);
        let server = builder.on_before_connect("guarded", guard).build().unwrap();
        let (runtime, server) = self.running.insert((runtime(), server));
        runtime.block_on(listen(server))
    }

    fn stop(&mut self) {
        // Not before its rooms have closed their files: what takes their place would lose its log to who closes them later.
        if let Some((runtime, server)) = self.running.take() {
            runtime.block_on(server.shutdown()).unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

#[test]
fn spec_8_the_server_takes_its_part_in_the_dialogues() {
    play_dialogues(&LEFT_OUT, Native::new).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn spec_8_1_and_8_6_the_server_answers_frames_that_are_no_message_as_the_vectors_say() {
    send_what_is_no_message(Native::new().start()).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn spec_8_2_the_server_answers_first_frames_as_the_vectors_say() {
    send_first_frames(&[], Native::new().start()).unwrap_or_else(|why| panic!("{why}"));
}
