//! What is refused, what is bounded, and that nobody else is bothered by it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeSet, HashMap};

use futures_util::{SinkExt, StreamExt};
use partysync_protocol::limits;
use serde_json::{Value, json};
use support::{Client, PATIENCE, act, ids, put, room_file, serve};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_12_statuses() {
    let served = serve().await;
    let long_party = "p".repeat(limits::PARTY_NAME_BYTES + 1);
    let longest_room = "r".repeat(limits::ROOM_NAME_BYTES);
    let longest_key = "k".repeat(limits::CONNECTION_ID_BYTES);
    for (path, expected) in [
        ("/parties/others/lobby".to_owned(), Err(400)),
        ("/parties/Notes/lobby".to_owned(), Err(400)),
        ("/parties/notes".to_owned(), Err(404)),
        ("/parties/notes/".to_owned(), Err(404)),
        ("/parties".to_owned(), Err(404)),
        (format!("/parties/{long_party}/lobby"), Err(414)),
        (format!("/parties/notes/{longest_room}"), Ok(())),
        (format!("/parties/notes/{longest_room}r"), Err(414)),
        (format!("/parties/notes/lobby?_pk={longest_key}"), Ok(())),
        (format!("/parties/notes/lobby?_pk={longest_key}k"), Err(400)),
        ("/parties/notes/lobby?_pk=".to_owned(), Ok(())),
    ] {
        let status = Client::try_connect(served.address, &path).await.map(|_| ()).map_err(|(status, _)| status);
        assert_eq!(status, expected, "{path}");
    }
    assert_eq!(plain_get(served.address, "/parties/notes/lobby").await, "HTTP/1.1 404 Not Found");
    assert_eq!(plain_get(served.address, "/parties/others/lobby").await, "HTTP/1.1 400 Bad Request");
}

/// The first line of the answer to a request that is not an upgrade.
async fn plain_get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_frame_bytes_at_the_limit_and_one_past_it() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    ann.send_message(Message::text("x".repeat(limits::FRAME_BYTES))).await.unwrap();
    assert_eq!(ann.receive().await["type"], "exception");

    let (mut sink, mut stream) = ann.split();
    let sending = tokio::spawn(async move { sink.send(Message::text("x".repeat(limits::FRAME_BYTES + 1))).await });
    let closed = timeout(PATIENCE, stream.next()).await.unwrap();
    assert!(matches!(&closed, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1009), "{closed:?}");
    drop(stream);
    sending.abort();
    bob.put("b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_25_a_client_that_does_not_read_is_caught_up_once_it_does_while_others_go_on() {
    // Of 200 KB each: together far more than the backlog and the kernel's buffers hold.
    const ACTIONS: usize = 70;
    const DELETED: usize = ACTIONS - 1;

    let served = serve().await;
    // Who has asked for nothing is volunteered everything after a while.
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let mut slow = Client::connect_small(served.address, "/parties/notes/lobby").await;
    slow.sync().await;
    let mut slow_v2 = Client::connect_small(served.address, "/parties/notes/lobby").await;
    slow_v2.hello("notes/lobby").await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    let watching = tokio::spawn(async move {
        for i in 0..ACTIONS {
            assert_eq!(bob.receive().await["payload"][0][0], format!("n{i}"));
        }
    });
    let text = "x".repeat(200_000);
    for i in 0..ACTIONS {
        ann.send(put(&format!("n{i}"), &text)).await;
        assert_eq!(ann.receive().await["type"], "success");
    }
    ann.send(act("d", json!({"type": "delete", "payload": format!("n{DELETED}")}))).await;
    assert_eq!(ann.receive().await["type"], "success");
    timeout(PATIENCE, watching).await.unwrap().unwrap();

    let mut rows = BTreeSet::new();
    let mut frames = 0;
    while rows.len() < DELETED {
        let update = slow.receive().await;
        for row in update["payload"].as_array().unwrap() {
            let id = row[0].as_str().unwrap().to_owned();
            if row[4].is_null() {
                rows.insert(id)
            } else {
                rows.remove(&id)
            };
        }
        frames += 1;
    }
    assert!(!rows.contains(&format!("n{DELETED}")));
    assert!(frames < ACTIONS - 5, "{frames} frames: nothing was left out");

    let mut version = 0;
    let mut rows = BTreeSet::new();
    while version <= ACTIONS as u64 {
        let patch = slow_v2.receive().await;
        assert!(patch["from"].as_u64().unwrap() <= version, "a gap: {} after {version}", patch["from"]);
        version = patch["to"].as_u64().unwrap();
        rows.extend(
            patch["changes"][0]["puts"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(rows.len(), DELETED);
    // From now on they are as anybody.
    ann.put("last").await;
    assert_eq!(slow.receive().await["payload"][0][0], "last");
    assert_eq!(slow_v2.receive().await["from"], version);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_snapshot_larger_than_the_backlog_reaches_its_reader_with_what_follows() {
    let served = serve().await;
    // Who has asked for nothing is volunteered everything after a while.
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let text = "x".repeat(200_000);
    let count = 2 * limits::SOCKET_BACKLOG_BYTES / text.len();
    for i in 0..count {
        ann.send(put(&format!("n{i}"), &text)).await;
        assert_eq!(ann.receive().await["type"], "success");
    }
    // All in one batch, if the room takes them so.
    let mut bob = Client::connect(served.address, "/parties/notes/lobby").await;
    bob.send(json!({"channel": "notes", "sync": true, "from": null})).await;
    bob.send(put("b", "text")).await;
    let (mut sink, stream) = bob.split();
    // Their own limit is far above this frame.
    let frames: Vec<Message> = stream.take(2).map(Result::unwrap).collect().await;
    let rows: Value = serde_json::from_str(frames[0].to_text().unwrap()).unwrap();
    assert_eq!(rows["payload"].as_array().unwrap().len(), count);
    assert!(frames[1].to_text().unwrap().contains("success"));
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_in_a_storm_each_action_is_acked_once_and_in_order() {
    const SOCKETS: usize = 20;
    const ACTIONS: usize = 50;

    let served = serve().await;
    let mut clients = Vec::new();
    for socket in 0..SOCKETS {
        clients.push((socket, Client::join(served.address, "lobby").await.0));
    }
    let storms = clients.into_iter().map(|(socket, client)| tokio::spawn(storm(socket, client, SOCKETS, ACTIONS)));
    for storm in storms.collect::<Vec<_>>() {
        timeout(PATIENCE, storm).await.unwrap().unwrap();
    }
    let (_, rows) = Client::join(served.address, "lobby").await;
    assert_eq!(rows.len(), SOCKETS * ACTIONS);
}

/// Sends all of a socket's actions at once, and reads all that is to come: an ack of each, and an update of each of the others'.
async fn storm(socket: usize, client: Client, sockets: usize, actions: usize) {
    let (mut sink, mut stream) = client.split();
    let sending = tokio::spawn(async move {
        for i in 0..actions {
            sink.feed(Message::text(put(&format!("{socket}-{i}"), "text").to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    let mut next_of: HashMap<String, usize> = HashMap::new();
    let mut left = sockets * actions;
    while left > 0 {
        let message = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        let is_ack = frame["type"] == "success";
        let rows = frame[if is_ack { "result" } else { "payload" }].as_array().unwrap();
        for id in ids(rows) {
            let (sender, i) = id.split_once('-').unwrap();
            assert_eq!(is_ack, sender == socket.to_string(), "{frame}");
            let next = next_of.entry(sender.to_owned()).or_default();
            assert_eq!(i.parse::<usize>().unwrap(), *next, "the order of {sender}");
            *next += 1;
            left -= 1;
        }
    }
    drop(sending.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_call_that_is_sent_again_is_not_run_again() {
    let served = serve().await;
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let mut ann = Client::connect(served.address, "/parties/notes/lobby?_pk=ann%20").await;
        ann.send(put("a", "text")).await;
        ann.send(act("b", json!({"type": "unknown"}))).await;
        outcomes.push([ann.receive().await, ann.receive().await]);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    // Another key is another client, whose call is its own.
    let mut bob = Client::connect(served.address, "/parties/notes/lobby?_pk=ann").await;
    bob.send(put("a", "text")).await;
    assert_eq!(bob.receive().await["type"], "error");
}

/// What a socket asked for is not dropped, however much it is: else it would ask again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn p8_a_snapshot_larger_than_the_backlog_reaches_its_reader_in_both_protocols() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let text = "x".repeat(200_000);
    let rows = 2 * limits::SOCKET_BACKLOG_BYTES / text.len();
    for row in 0..rows {
        ann.send(put(&format!("row{row}"), &text)).await;
        assert_eq!(ann.receive().await["type"], "success");
    }
    let (_, synced) = Client::join(served.address, "lobby").await;
    assert_eq!(synced.len(), rows);

    let mut bob = Client::connect(served.address, "/parties/notes/lobby").await;
    assert_eq!(bob.hello("notes/lobby").await, rows);
}

/// A room's file and its log, in bytes.
fn sizes(room: &std::path::Path) -> (u64, u64) {
    let bytes = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    (bytes(room), bytes(&room.with_extension("db-wal")))
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_11_log_file_idle_bytes_at_the_limit_and_one_past_it() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let room = room_file(served.data.path());
    let (before, _) = sizes(&room);
    for n in 0_u32.. {
        ann.send(put(&n.to_string(), &"x".repeat(200_000))).await;
        assert_eq!(ann.receive().await["type"], "success");
        let (file, log) = sizes(&room);
        if log > limits::LOG_FILE_IDLE_BYTES {
            break;
        }
        assert_eq!(file, before, "copied when the log had {log} bytes");
    }
    let start = std::time::Instant::now();
    while sizes(&room).0 < limits::LOG_FILE_IDLE_BYTES / 2 {
        assert!(start.elapsed() < PATIENCE, "not copied");
        tokio::task::yield_now().await;
    }
    // By the room that is in memory: one that leaves it copies its log too, and begins another.
    ann.send(put("last", "")).await;
    assert_eq!(ann.receive().await["type"], "success");
    assert!(sizes(&room).1 > limits::LOG_FILE_IDLE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_11_log_file_bytes_at_the_limit_and_one_past_it() {
    const ACTIONS: u32 = 8_000;
    /// What one group of these actions may write on top: the row, the action in the log, and what is left of their pages.
    const GROUP_BYTES: u64 = limits::GROUP_ACTIONS as u64 * 4 * TEXT_BYTES as u64;
    const TEXT_BYTES: usize = 7_000;
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let room = room_file(served.data.path());
    let (mut sent, mut answered) = (0, 0);
    while answered < ACTIONS {
        // So many at once that mail waits for the room nearly always.
        while sent < ACTIONS && sent < answered + 400 {
            ann.send(put(&sent.to_string(), &"x".repeat(TEXT_BYTES))).await;
            sent += 1;
        }
        assert_eq!(ann.receive().await["type"], "success");
        answered += 1;
    }
    // The log's file never shrinks: this is the longest that it was.
    let (file, log) = sizes(&room);
    assert!(log <= limits::LOG_FILE_BYTES + GROUP_BYTES, "{log}");
    assert!(file > u64::from(ACTIONS) * 2 * TEXT_BYTES as u64 - log, "{file}");
}
