//! Who gets in, as whom, and from which pages.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use partysync_model::{ActionError, Db, Origin, Schema, Tx, Value};
use partysync_room::{Admission, Call, Changed, Join, Refusal, SyncServer};
use partysync_server::{BuildError, Builder};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::json;
use support::{Client, Note, PATIENCE, Served, put, room_file, serve_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const LOBBY: &str = "/parties/guarded/lobby";

/// A room whose notes say who made them.
struct Guarded;

impl SyncServer for Guarded {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        let text = format!("{} {}", call.author().unwrap_or("nobody"), call.data().unwrap_or("nothing"));
        let id = tx.new_id();
        tx.table::<Note>().insert(&Note { id, text }).map(|()| Changed::Captured)
    }
}

/// Lets in whose token is `name:role`. A token that is a status is refused with it.
async fn guard(join: Join) -> Result<Admission, Refusal> {
    let token = join.token.ok_or_else(|| Refusal::unauthorized("Sign in first."))?;
    if let Ok(status) = token.as_str().parse() {
        return Err(Refusal::new(status, format!("Refused with {status}.")));
    }
    match token.as_str().split_once(':') {
        Some((name, role)) => Ok(Admission::of(name).with_data(&json!({ "role": role }))),
        None => Ok(Admission::anonymous()),
    }
}

fn guarded(builder: Builder) -> Builder {
    builder.party("guarded", || Guarded).on_before_connect("guarded", guard).on_before_request("guarded", guard)
}

async fn enter(served: &Served, token: &str, headers: &[(&'static str, &str)]) -> Result<Client, (u16, String)> {
    Client::try_connect_with(served.address, &format!("{LOBBY}?token={token}"), headers).await
}

/// The answer to a request that is not an upgrade: its status, its head in lower case, its body.
async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_2_a_door_refuses_with_its_status_and_text_before_there_is_a_room() {
    let served = serve_with(guarded).await;
    let refused = Client::try_connect(served.address, LOBBY).await.err();
    assert_eq!(refused, Some((401, "Sign in first.".to_owned())));
    for status in [400, 403, 429, 500, 503] {
        let refused = enter(&served, &status.to_string(), &[]).await.err();
        assert_eq!(refused, Some((status, format!("Refused with {status}."))));
        let path = format!("{LOBBY}?token={status}");
        assert_eq!(request(served.address, "POST", &path, &[]).await.0, status);
    }
    let rooms = support::room_files(served.data.path());
    assert!(rooms.is_empty(), "{rooms:?}");

    assert!(enter(&served, "ann:editor", &[]).await.is_ok());
    let bearer = [("authorization", "Bearer ann:editor")];
    assert!(Client::try_connect_with(served.address, LOBBY, &bearer).await.is_ok());
    assert_eq!(request(served.address, "GET", LOBBY, &[]).await.0, 401);
    assert_eq!(request(served.address, "GET", LOBBY, &bearer).await.0, 404, "there is nothing behind the door");
    // Another party's room has no door.
    assert!(Client::try_connect(served.address, "/parties/notes/lobby").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_4_a_browser_learns_from_the_close_why_it_was_refused() {
    let served = serve_with(guarded).await;
    let page = [("origin", "https://example.com")];
    for status in [401, 403, 429] {
        let mut client = enter(&served, &status.to_string(), &page).await.unwrap();
        client.send(json!({"channel": "notes", "sync": true, "from": null})).await;
        match client.receive_message().await {
            Some(Message::Close(Some(frame))) => {
                let expected = (4_000 + status, format!("Refused with {status}."));
                assert_eq!((u16::from(frame.code), frame.reason.to_string()), expected);
            }
            other => panic!("no close, but {other:?}"),
        }
    }
    // What is the server's fault is worth another try.
    assert_eq!(enter(&served, "503", &page).await.err().map(|(status, _)| status), Some(503));
    assert!(support::room_files(served.data.path()).is_empty(), "no room came of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_4_a_reason_is_cut_to_what_a_close_frame_holds() {
    let served = serve_with(|builder| {
        builder
            .party("guarded", || Guarded)
            .on_before_connect("guarded", |_| async { Err(Refusal::forbidden("ä".repeat(200))) })
    })
    .await;
    let page = [("origin", "https://example.com")];
    let mut client = Client::try_connect_with(served.address, LOBBY, &page).await.unwrap();
    match client.receive_message().await {
        Some(Message::Close(Some(frame))) => assert_eq!(frame.reason.to_string(), "ä".repeat(61)),
        other => panic!("no close, but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_2_actions_and_the_log_have_the_doors_identity() {
    let served = serve_with(guarded).await;
    for (token, text) in
        [("ann:editor", r#"ann {"role":"editor"}"#), ("bob:", r#"bob {"role":""}"#), ("x", "nobody nothing")]
    {
        let mut client = enter(&served, token, &[]).await.unwrap();
        client.send(put("a", "text")).await;
        assert_eq!(client.receive().await["result"][0][1], text);
    }
    served.server.shutdown().await.unwrap();
    let mut db = SqliteDb::open(&room_file(served.data.path()), &Options::default()).unwrap();
    let mut authors = Vec::new();
    let sql = "SELECT coalesce(author, '-') FROM _log WHERE version > 0 ORDER BY version";
    db.query(Origin::Engine, sql, &[], &mut |row| authors.extend(row.to_values())).unwrap();
    assert_eq!(authors, ["ann", "bob", "-"].map(Value::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_while_the_door_thinks_is_forgotten_and_holds_up_nobody() {
    struct Gone(mpsc::UnboundedSender<&'static str>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send("gone");
        }
    }
    let (sender, mut events) = mpsc::unbounded_channel();
    let served = serve_with(|builder| {
        builder.party("guarded", || Guarded).on_before_connect("guarded", move |join| {
            let sender = sender.clone();
            async move {
                if join.param("wait").is_some() {
                    let gone = Gone(sender.clone());
                    sender.send("waits").unwrap();
                    std::future::pending::<()>().await;
                    drop(gone);
                }
                Ok(Admission::anonymous())
            }
        })
    })
    .await;
    let mut tcp = TcpStream::connect(served.address).await.unwrap();
    let handshake = format!(
        "GET {LOBBY}?wait HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(handshake.as_bytes()).await.unwrap();
    assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap(), Some("waits"));
    // Others get in meanwhile.
    let mut client = Client::connect(served.address, LOBBY).await;
    client.send(put("a", "text")).await;
    assert_eq!(client.receive().await["type"], "success");
    drop(tcp);
    // Far sooner than the door's time is up.
    assert_eq!(timeout(Duration::from_secs(8), events.recv()).await.unwrap(), Some("gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_6_pages_of_other_origins_stay_out() {
    let served = serve_with(|builder| guarded(builder).allowed_origins(["https://example.com"])).await;
    let ours = [("origin", "https://example.com"), ("authorization", "Bearer x")];
    let theirs = [("origin", "https://example.net"), ("authorization", "Bearer x")];
    assert!(Client::try_connect_with(served.address, LOBBY, &ours).await.is_ok());
    assert!(enter(&served, "x", &[]).await.is_ok(), "no browser");
    let refused = Client::try_connect_with(served.address, LOBBY, &theirs).await.err().unwrap();
    assert_eq!(refused, (403, "Pages of this origin may not use this server.".to_owned()));
    assert_eq!(request(served.address, "GET", LOBBY, &theirs).await.0, 403);
    assert_eq!(request(served.address, "GET", LOBBY, &ours).await.0, 404);
    assert_eq!(request(served.address, "GET", LOBBY, &ours[1..]).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_7_a_browser_is_told_what_pages_of_other_origins_may_do() {
    let ask = [
        ("Origin", "https://example.com"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,x-own"),
    ];
    let served = serve_with(|builder| guarded(builder).allowed_origins(["https://example.com"])).await;
    let (status, head, body) = request(served.address, "OPTIONS", LOBBY, &ask).await;
    assert_eq!((status, body.as_str()), (204, ""), "the door is not asked: a preflight has no token");
    for line in [
        "access-control-allow-origin: https://example.com",
        "access-control-allow-credentials: true",
        "access-control-allow-headers: authorization,x-own",
        "access-control-allow-methods: get, head, post, put, patch, delete",
        "access-control-max-age: 7200",
        "vary: origin",
    ] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    let (_, head, _) = request(served.address, "POST", LOBBY, &ask[..1]).await;
    assert!(head.contains("access-control-allow-origin: https://example.com"), "a refusal can be read: {head}");
    let (status, head, _) = request(served.address, "OPTIONS", LOBBY, &[("Origin", "https://a.b"), ask[1]]).await;
    assert_eq!((status, head.contains("access-control")), (403, false));

    let open = serve_with(guarded).await;
    let (status, head, _) = request(open.address, "OPTIONS", LOBBY, &ask).await;
    assert_eq!(status, 204);
    assert!(head.contains("access-control-allow-origin: *") && !head.contains("credentials"), "{head}");
}

#[test]
fn doors_and_origins_that_cannot_be_are_refused_at_start() {
    let data = tempfile::tempdir().unwrap();
    let builder = || support::builder(data.path());
    let error = builder().on_before_connect("other", guard).build().err();
    assert!(matches!(error, Some(BuildError::UnknownParty(party)) if party == "other"));
    let error = builder().allowed_origins(["https://example.com/app"]).build().err();
    assert!(matches!(error, Some(BuildError::Origin(origin)) if origin == "https://example.com/app"));
    assert!(builder().on_before_connect("notes", guard).allowed_origins(["https://example.com"]).build().is_ok());
}
