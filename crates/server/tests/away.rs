//! SPEC 12.11 over real sockets: pages of version 1 that come back and ask for nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use partysync_protocol::limits::{QUIET_MS, SOCKET_BACKLOG_BYTES};
use serde_json::{Value, json};
use support::{Client, Served, act, builder, ids, listen, put, room_file, runtime, serve, serve_with, until_closed};
use tokio_tungstenite::tungstenite::{Bytes, Message};

const QUIET: Duration = Duration::from_millis(QUIET_MS);

async fn page(served: &Served, key: &str) -> Client {
    Client::connect(served.address, &format!("/parties/notes/lobby?_pk={key}")).await
}

fn delete(id: &str) -> Value {
    act(&format!("delete {id}"), json!({"type": "delete", "payload": id}))
}

/// Has somebody else change the room.
async fn change(served: &Served, actions: impl IntoIterator<Item = Value>) {
    let mut other = page(served, "other").await;
    for action in actions {
        other.send(action).await;
        // It has asked for nothing, so that it is volunteered everything if this takes long.
        while other.receive().await["type"] != "success" {}
    }
}

/// Reads the ping that follows a channel's first rows, and sends its pong, which the room has seen when this returns.
async fn prove(client: &mut Client) -> Bytes {
    let mark = ping(client).await;
    // Reading it has queued the pong; this sends it, and its answer comes after it.
    client.send(act("nothing", json!({"type": "delete", "payload": "nothing"}))).await;
    assert_eq!(client.receive().await["result"], json!([]));
    mark
}

async fn ping(client: &mut Client) -> Bytes {
    match client.receive_message().await {
        Some(Message::Ping(mark)) => mark,
        other => panic!("no ping, but {other:?}"),
    }
}

/// A page whose rows have arrived.
async fn proven(served: &Served, key: &str) -> Client {
    let mut client = page(served, key).await;
    client.sync().await;
    assert_eq!(prove(&mut client).await.len(), 8);
    client
}

/// What a page that came back is volunteered.
async fn volunteered(client: &mut Client) -> Vec<String> {
    let update = client.receive().await;
    assert_eq!((&update["type"], &update["broadcast"]), (&json!("update"), &json!(true)), "{update}");
    ids(update["payload"].as_array().unwrap()).into_iter().map(str::to_owned).collect()
}

/// Each of these waits for the same 5 s.
#[tokio::test(flavor = "multi_thread")]
async fn spec_11_quiet_ms_pages_that_come_back_are_told_what_they_missed() {
    let (known, half_open, lies, slept) = (serve().await, serve().await, serve().await, serve_sleepy().await);
    tokio::join!(comes_back(&known), has_two_sockets(&half_open), tells_lies(&lies), comes_back_to_sleep(&slept));
}

async fn serve_sleepy() -> Served {
    serve_with(|builder| builder.idle_ms(1)).await
}

/// One that the room knows, one that it does not, and one that opens.
async fn comes_back(served: &Served) {
    change(served, [put("a", ""), put("b", "")]).await;
    drop(proven(served, "known").await);
    change(served, [put("c", ""), delete("a")]).await;
    let start = Instant::now();
    let (mut known, mut unknown, mut new) =
        (page(served, "known").await, page(served, "unknown").await, page(served, "new").await);
    assert_eq!(ids(&new.sync().await), ["b", "c"]);
    // What was queued while it was down comes first.
    known.send(put("queued", "")).await;
    assert_eq!(known.receive().await["type"], "success");
    // Before its time it is sent nothing.
    let told = tokio::join!(volunteered(&mut known), volunteered(&mut unknown));
    assert!(start.elapsed() >= QUIET, "{:?}", start.elapsed());
    assert_eq!((told.0.join(" "), told.1.join(" ")), ("c queued a".to_owned(), "b c queued a".to_owned()));
    // From now on they get updates. The one that opened was sent nothing more.
    change(served, [put("d", "")]).await;
    // What arrives at one that has asked for nothing proves nothing.
    ping(&mut known).await;
    ping(&mut new).await;
    assert_eq!(volunteered(&mut new).await, ["queued"]);
    for client in [&mut known, &mut unknown, &mut new] {
        assert_eq!(volunteered(client).await, ["d"]);
    }
}

/// A socket that is open and proves nothing any more, and another one of its page.
async fn has_two_sockets(served: &Served) {
    change(served, [put("a", "")]).await;
    let mut first = proven(served, "pk").await;
    change(served, [put("b", "")]).await;
    assert_eq!(volunteered(&mut first).await, ["b"]);
    let mut second = page(served, "pk").await;
    assert_eq!(volunteered(&mut second).await, ["b"], "its pong said nothing of it");
    // Each of them gets what comes.
    change(served, [put("c", "")]).await;
    ping(&mut second).await;
    assert_eq!(
        (volunteered(&mut first).await, volunteered(&mut second).await),
        (vec!["c".to_owned()], vec!["c".to_owned()])
    );
}

/// A client that claims more than it was asked, or something else.
async fn tells_lies(served: &Served) {
    change(served, [put("a", "")]).await;
    let mut client = proven(served, "pk").await;
    change(served, [put("b", ""), put("c", "")]).await;
    for lie in [&[0xff; 8][..], &[0, 0, 0, 0, 0, 0, 3, 1], &[3], &[0; 9], &[0xff; 125], &[]] {
        client.send_message(Message::Pong(Bytes::copy_from_slice(lie))).await.unwrap();
    }
    client.send(act("nothing", json!({"type": "delete", "payload": "nothing"}))).await;
    for _ in 0..2 {
        assert_eq!(client.receive().await["type"], "update");
    }
    assert_eq!(client.receive().await["type"], "success");
    drop(client);
    assert_eq!(volunteered(&mut page(served, "pk").await).await, ["b", "c"]);
}

/// The room is asleep when its time has come, and has left memory in between.
async fn comes_back_to_sleep(served: &Served) {
    change(served, [put("a", "")]).await;
    drop(proven(served, "pk").await);
    let file = room_file(served.data.path());
    until_closed(&file).await;
    change(served, [put("b", "")]).await;
    until_closed(&file).await;
    let mut client = page(served, "pk").await;
    let mut v2 = page(served, "v2").await;
    v2.hello("notes/lobby").await;
    until_closed(&file).await;
    assert_eq!(volunteered(&mut client).await, ["b"]);
    v2.send(json!({"type": "ping"})).await;
    assert_eq!(v2.receive().await["type"], "pong", "and nothing before it");
}

#[test]
fn spec_12_11_a_server_that_stopped_in_order_knows_them_and_one_that_was_killed_does_not() {
    for (is_killed, expected) in [(false, "c"), (true, "b c")] {
        let (data, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        runtime().block_on(async {
            let server = builder(data.path()).build().unwrap();
            let served = Served { address: listen(&server).await, server, data: tempfile::tempdir().unwrap() };
            change(&served, [put("b", "")]).await;
            // One of them is gone before the server is, one not.
            drop(proven(&served, "gone").await);
            let mut there = proven(&served, "there").await;
            if is_killed {
                copy(data.path(), copied.path());
            } else {
                let (stopped, (_, code)) = tokio::join!(served.server.shutdown(), there.drain());
                assert_eq!((stopped.unwrap(), code), ((), Some(1012)));
            }
        });
        let path = if is_killed { copied.path() } else { data.path() };
        runtime().block_on(async {
            let server = builder(path).build().unwrap();
            let served = Served { address: listen(&server).await, server, data: tempfile::tempdir().unwrap() };
            change(&served, [put("c", "")]).await;
            let (mut gone, mut there) = (page(&served, "gone").await, page(&served, "there").await);
            let told = tokio::join!(volunteered(&mut gone), volunteered(&mut there));
            assert_eq!((told.0.join(" "), told.1.join(" ")), (expected.to_owned(), expected.to_owned()));
        });
    }
}

/// What is on disk when the process is killed.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in support::files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

/// What is left out for a slow reader is not told, so no ping vouches for it.
#[tokio::test(flavor = "multi_thread")]
async fn spec_12_11_what_was_left_out_for_a_slow_reader_is_volunteered_if_it_goes() {
    let served = serve().await;
    let mut slow = Client::connect_small(served.address, "/parties/notes/lobby?_pk=slow").await;
    slow.sync().await;
    prove(&mut slow).await;
    // It reads nothing of this: more than the kernel and the server keep for it.
    let text = "x".repeat(200_000);
    let count = 3 * SOCKET_BACKLOG_BYTES / text.len();
    change(&served, (0..count).map(|i| put(&format!("n{i:03}"), &text))).await;
    drop(slow);
    let mut back = page(&served, "slow").await;
    let told = volunteered(&mut back).await;
    assert_eq!((told.len(), told.first().map(String::as_str)), (count, Some("n000")));
}
