//! What clients of one room, and of two, see of each other.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::json;
use support::{Client, act, files, ids, listen, put, serve};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_6_two_connections_see_each_others_changes() {
    let served = serve().await;
    let (mut ann, rows) = Client::join(served.address, "lobby").await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    assert!(rows.is_empty());

    ann.put("a").await;
    let update = bob.receive().await;
    assert_eq!(
        (&update["broadcast"], &update["type"], &update["channel"]),
        (&json!(true), &json!("update"), &json!("notes"))
    );
    assert_eq!(ids(update["payload"].as_array().unwrap()), ["a"]);
    bob.put("b").await;
    assert_eq!(ann.receive().await["payload"][0][0], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_7_an_ack_comes_no_later_than_what_followed_its_broadcast() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let (mut bob, _) = Client::join(served.address, "lobby").await;
    for round in 0..50 {
        let (first, answer) = (format!("a{round}"), format!("b{round}"));
        ann.send(put(&first, "text")).await;
        // Bob acts once he has seen the broadcast: Ann must have her ack before his.
        assert_eq!(bob.receive().await["payload"][0][0], first);
        bob.put(&answer).await;
        assert_eq!(ann.receive().await["id"], first);
        assert_eq!(ann.receive().await["payload"][0][0], answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_connection_of_another_room_sees_nothing() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    let (mut eve, _) = Client::join(served.address, "other").await;
    ann.put("a").await;
    // Anything of the lobby's would come before the answers to what came later.
    eve.put("e").await;
    assert_eq!(ids(&eve.sync().await), ["e"]);
    ann.put("b").await;
    assert_eq!(ids(&ann.sync().await), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_rooms_go_by_their_raw_names() {
    let served = serve().await;
    let names = ["a%20b", "a+b", "a%2Bb", "a", "A", "%61", "a%2fb", "a%2Fb"];
    for name in names {
        let (mut client, rows) = Client::join(served.address, name).await;
        assert!(rows.is_empty(), "{name} is another room's name");
        client.put(name).await;
    }
    for name in names {
        assert_eq!(ids(&Client::join(served.address, name).await.1), [name]);
    }
    let (_, rows) = Client::join(served.address, "a/more/segments?room=b").await;
    assert_eq!(ids(&rows), ["a"], "SPEC 12.12: further segments are ignored");
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_no_rooms_name_leads_out_of_the_data_directory() {
    let served = serve().await;
    for name in ["..", ".", "%2e%2e%2f", "%2e%2e%2f%2e%2e%2fetc", "..%5c..", "%00", "lock", "x.db"] {
        Client::join(served.address, name).await;
    }
    let root = served.data.path();
    let around = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut around: Vec<String> = around.collect();
    around.sort();
    assert_eq!(around, ["lock", "notes", "rooms.sqlite", "rooms.sqlite-wal"]);
    for file in files(&root.join("notes")) {
        let path = file.strip_prefix(root.join("notes")).unwrap().to_str().unwrap().to_owned();
        let (folder, name) = path.split_once('/').unwrap();
        let hash = name.trim_end_matches("-wal").strip_suffix(".db").unwrap();
        assert!(hash.len() == 32 && hash.chars().all(|c| c.is_ascii_hexdigit()) && hash.starts_with(folder), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_2_bad_frames_are_answered_binary_ones_and_pings_are_not_the_rooms() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.send(json!(null)).await;
    assert_eq!(ann.receive().await["type"], "exception");
    ann.send_message(Message::binary(vec![1, 2, 3])).await.unwrap();
    ann.send_message(Message::Ping(vec![7].into())).await.unwrap();
    assert_eq!(ann.receive_message().await, Some(Message::Pong(vec![7].into())));
    ann.put("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_an_action_that_panics_is_answered_and_leaves_its_neighbours_alone() {
    let served = serve().await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    for frame in [put("a", "text"), act("p", json!({"type": "panic"})), put("b", "text")] {
        ann.send(frame).await;
    }
    assert_eq!(ann.receive().await["type"], "success");
    let answer = ann.receive().await;
    assert_eq!((&answer["type"], &answer["error"]), (&json!("error"), &json!(["The action failed."])));
    assert_eq!(ann.receive().await["type"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_ones_own_and_a_nested_router_lead_to_the_same_rooms() {
    let served = support::serve_with(|builder| builder.prefix("/live/rooms")).await;
    Client::connect(served.address, "/live/rooms/notes/lobby").await.put("a").await;
    assert_eq!(
        Client::try_connect(served.address, "/parties/notes/lobby").await.err().map(|(status, _)| status),
        Some(404)
    );

    let app = axum::Router::new().nest("/nested", served.server.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = served.server.clone();
    tokio::spawn(async move { server.serve_app(listener, app, std::future::pending()).await });
    let mut nested = Client::connect(address, "/nested/live/rooms/notes/lobby").await;
    assert_eq!(ids(&nested.sync().await), ["a"]);
    assert!(listen(&served.server).await.port() > 0);
}
