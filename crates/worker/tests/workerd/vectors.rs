//! The test vectors (`vectors/`), against a room on a Durable Object, over real sockets.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use partysync_vectors::{Home, LeftOut, play_dialogues, send_first_frames, send_what_is_no_message};

use crate::process::Workerd;

/// Dialogues that cannot be played here.
const LEFT_OUT: [LeftOut<'_>; 9] = [
    ("busy-then-retry.json", "the room is not busy because one wants it"),
    ("catch-up.json", "4 MiB of patches have to wait until one is left out"),
    ("client-unknown.json", "a clock has to be set"),
    ("forgotten-outcome.json", "a clock has to be set"),
    ("reset-old-cursor.json", "a clock has to be set"),
    ("several-leave.json", "a socket carries one room"),
    ("several-left.json", "a socket carries one room"),
    ("several-refused.json", "a socket carries one room"),
    ("several-rooms.json", "a socket carries one room"),
];

/// A workerd that can be killed and started again on what is on disk.
struct Killed {
    disk: PathBuf,
    workerd: Option<Workerd>,
}

impl Killed {
    /// Without data. Each test has a name of its own.
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        Killed { disk: folder.join("disk"), workerd: None }
    }
}

impl Home for Killed {
    fn start(&mut self) -> SocketAddr {
        let workerd = self.workerd.insert(Workerd::start("PARTYSYNC_VECTORS_BUNDLE", &self.disk));
        SocketAddr::from((Ipv4Addr::LOCALHOST, workerd.port))
    }

    fn stop(&mut self) {
        self.workerd = None;
    }

    fn data(&self) -> PathBuf {
        self.disk.clone()
    }
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn spec_8_p11_a_durable_object_takes_its_part_in_the_dialogues() {
    play_dialogues(&LEFT_OUT, || Killed::new("dialogues")).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn spec_8_1_and_8_6_a_durable_object_answers_frames_that_are_no_message_as_the_vectors_say() {
    send_what_is_no_message(Killed::new("no-message").start()).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn spec_8_2_a_durable_object_answers_first_frames_as_the_vectors_say() {
    let left_out =
        [("ping as the first frame of a socket with the subprotocol", "it is answered on any socket (SPEC 8.26)")];
    send_first_frames(&left_out, Killed::new("first-frames").start()).unwrap_or_else(|why| panic!("{why}"));
}
