//! What happens when the process may open no more files. A process of its own: the limit holds for all of it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{net::SocketAddr, time::Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use support::{Client, PATIENCE, serve_with};

/// Few, but enough for what is there before the first room.
const LIMIT: u64 = 64;

fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(LIMIT, |entries| entries.count() as u64)
}

/// Waits until a client and the server can have a socket each.
async fn until_two_are_left() {
    let start = Instant::now();
    while open_files() + 2 > LIMIT {
        assert!(start.elapsed() < PATIENCE, "nothing is closed any more");
        tokio::task::yield_now().await;
    }
}

/// A socket in a room, and how often it was refused before another room made place.
async fn connect_in_the_end(address: SocketAddr, room: &str) -> (Client, u32) {
    let busy = (503, "The room is busy. Try again soon.".to_owned());
    let start = Instant::now();
    let mut refused = 0;
    loop {
        until_two_are_left().await;
        match Client::try_connect(address, &format!("/parties/notes/{room}")).await {
            Ok(client) => return (client, refused),
            Err(refusal) => assert_eq!(refusal, busy),
        }
        refused += 1;
        assert!(start.elapsed() < PATIENCE, "no room makes place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_without_descriptors_a_room_is_refused_and_another_one_makes_place() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).unwrap();
    // More than there are descriptors for.
    let served = serve_with(|builder| builder.open_rooms(1_000)).await;
    let mut refused = 0;
    for room in 0..60 {
        let (mut client, refusals) = connect_in_the_end(served.address, &format!("room-{room}")).await;
        refused += refusals;
        client.put("a").await;
    }
    assert!(refused > 0, "the limit was not met");
    // Nothing is lost of those that made place.
    let (mut client, _) = connect_in_the_end(served.address, "room-0").await;
    assert_eq!(client.sync().await.len(), 1);
}
