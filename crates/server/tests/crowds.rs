//! Many clients at once, and such as take all the time in the world: everybody else is served meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use partysync_protocol::limits;
use support::{Client, PATIENCE, ids, put, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Files that this process may have open, where the system says so.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_five_thousand_sockets_at_once_are_all_served() {
    const ROOMS: usize = 100;
    const CLIENTS: usize = 50;
    /// Of the clients of a room.
    const ACTORS: usize = 10;

    // Both ends of each socket are in this process; and the rooms' files.
    if descriptors() < 2 * ROOMS * CLIENTS + 1_000 {
        return eprintln!("left out: 5,000 sockets take more descriptors than `ulimit -n` gives");
    }
    let served = serve().await;
    let mut joining = JoinSet::new();
    for index in 0..ROOMS * CLIENTS {
        let (room, address) = (index % ROOMS, served.address);
        joining.spawn(async move { (room, index / ROOMS, Client::join(address, &format!("room{room}")).await.0) });
    }
    // All are there before anybody acts.
    let clients = joining.join_all().await;
    assert_eq!(clients.len(), ROOMS * CLIENTS);
    let mut acting = JoinSet::new();
    for (room, index, mut client) in clients {
        acting.spawn(async move {
            if index < ACTORS {
                client.send(put(&format!("{room}-{index}"), "text")).await;
            }
            let mut seen = Vec::new();
            while seen.len() < ACTORS {
                let frame = client.receive().await;
                let rows = frame["result"].as_array().or(frame["payload"].as_array()).unwrap();
                seen.extend(ids(rows).into_iter().map(str::to_owned));
            }
            seen.sort();
            let expected: Vec<String> = (0..ACTORS).map(|actor| format!("{room}-{actor}")).collect();
            assert_eq!(seen, expected, "client {index} of room {room}");
        });
    }
    assert_eq!(acting.join_all().await.len(), ROOMS * CLIENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_who_sends_a_byte_at_a_time_is_answered_in_the_end_and_holds_up_nobody() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    let text = r#"{"channel":"notes","sync":true,"from":null}"#;
    let request = "GET /parties/notes/lobby HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut bytes = request.as_bytes().to_vec();
    // A text frame, with 0 for its mask.
    bytes.extend([0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(text.as_bytes());
    for (index, byte) in bytes.iter().enumerate() {
        slow.write_all(&[*byte]).await.unwrap();
        // Each byte by itself; the whole within the time for a request's head.
        sleep(Duration::from_millis(5)).await;
        if index.is_multiple_of(20) {
            ann.put(&format!("n{index:03}")).await;
        }
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"]}") {
        assert!(timeout(PATIENCE, slow.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches(r#"["n"#).count(), bytes.len().div_ceil(20), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_thousand_that_open_and_never_speak_are_closed_and_hold_up_nobody() {
    let served = serve().await;
    let start = Instant::now();
    let mut silent = JoinSet::new();
    for _ in 0..1_000 {
        let mut tcp = TcpStream::connect(served.address).await.unwrap();
        silent.spawn(async move {
            let mut rest = Vec::new();
            // Closed, with a word or without.
            let _ = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the server closes it");
            start.elapsed()
        });
    }
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    for index in 0..50 {
        ann.put(&format!("n{index}")).await;
    }
    let acted = start.elapsed();
    let closed = silent.join_all().await;
    let first = closed.iter().min().unwrap();
    assert!(*first >= Duration::from_millis(limits::HEAD_MS), "{first:?}");
    assert!(acted < *first, "the others were served meanwhile: {acted:?}");
}
