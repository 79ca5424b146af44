//! SPEC 8.2: version 2, asked for by the handshake.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use partysync_room::{Admission, Refusal};
use serde_json::json;
use support::{Client, PATIENCE, Served, put, serve, serve_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const LOBBY: &str = "/parties/notes/lobby";
const V2: (&str, &str) = ("sec-websocket-protocol", "chat, partysync.v2");

/// The head of the answer to a handshake with a header of one's own.
async fn answered(served: &Served, header: &str) -> String {
    let mut tcp = TcpStream::connect(served.address).await.unwrap();
    let handshake = format!(
        "GET {LOBBY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    tcp.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, tcp.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

async fn connect(served: &Served) -> Client {
    Client::try_connect_with(served.address, LOBBY, &[V2]).await.unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// How a socket ends.
async fn end(mut client: Client) -> (Vec<String>, Option<u16>) {
    client.drain().await
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_2_the_answer_names_the_subprotocol_if_it_was_offered_and_none_else() {
    let served = serve().await;
    for offered in ["partysync.v2", "partysync.v1, partysync.v2", "a,partysync.v2,b"] {
        let head = answered(&served, &format!("Sec-WebSocket-Protocol: {offered}\r\n")).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("\r\nsec-websocket-protocol: partysync.v2\r\n"), "{offered}: {head}");
    }
    for header in ["", "Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Protocol: PARTYSYNC.V2\r\n"] {
        let head = answered(&served, header).await;
        assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-protocol"), "{header}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_2_with_the_subprotocol_the_socket_speaks_version_2() {
    let served = serve().await;
    let mut client = connect(&served).await;
    assert_eq!(client.hello("notes/lobby").await, 0);
    client.send(json!({"type": "hello", "versions": [2]})).await;
    assert_eq!(client.receive().await["error"]["code"], "bad_message", "it is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_2_with_the_subprotocol_whatever_comes_before_hello_closes_the_socket() {
    let served = serve().await;
    let sync = json!({"channel": "notes", "sync": true, "from": null}).to_string();
    let ping = json!({"type": "ping"}).to_string();
    let versions = json!({"type": "hello", "versions": [3]}).to_string();
    for first in [
        Message::text(sync),
        Message::text(put("a", "text").to_string()),
        Message::text(ping),
        Message::text("nonsense"),
        Message::text(versions),
        Message::binary(vec![1]),
    ] {
        let mut client = connect(&served).await;
        client.send_message(first.clone()).await.unwrap();
        // What comes behind it does not count.
        let _ = client.send_message(Message::text(put("b", "text").to_string())).await;
        assert_eq!(end(client).await, (vec![], Some(4400)), "{first:?}");
    }
    let (_, rows) = Client::join(served.address, "lobby").await;
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_4_a_browser_that_is_refused_gets_its_subprotocol_or_it_would_not_see_the_close() {
    let served = serve_with(|builder| {
        builder.on_before_connect("notes", |_| async { Err::<Admission, _>(Refusal::forbidden("Not you.")) })
    })
    .await;
    let page = [V2, ("origin", "https://example.com")];
    let client = Client::try_connect_with(served.address, LOBBY, &page).await.ok().unwrap();
    assert_eq!(end(client).await, (vec![], Some(4403)));
}
