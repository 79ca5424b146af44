//! What clients send that they should not. Each gets an answer that says so, and nothing else comes of it: no row changes, nobody
//! else is disturbed, and whoever sent it may go on where the protocol lets them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Client, PATIENCE, Served, ids, put, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Two good clients of a room. Whatever others do there, each action of theirs is answered and heard of, and nothing else is.
struct Witnesses {
    address: SocketAddr,
    ann: Client,
    bob: Client,
    rows: Vec<String>,
}

impl Witnesses {
    async fn of(served: &Served) -> Self {
        let (ann, _) = Client::join(served.address, "lobby").await;
        let (bob, _) = Client::join(served.address, "lobby").await;
        Witnesses { address: served.address, ann, bob, rows: Vec::new() }
    }

    /// All is as it was after this case.
    async fn testify(&mut self, case: &str) {
        let id = format!("n{:04}", self.rows.len());
        self.ann.put(&id).await;
        let news = self.bob.receive().await;
        assert_eq!(ids(news["payload"].as_array().unwrap()), [&id], "{case}: {news}");
        self.rows.push(id);
        let (_, rows) = Client::join(self.address, "lobby").await;
        assert_eq!(ids(&rows), self.rows, "{case}");
        assert!(rows.iter().all(|row| row[1] == "text"), "{case}: {rows:?}");
    }
}

/// What an answer of version 1 comes to.
fn verdict(answer: &Value) -> String {
    let lines = |value: &Value| value.as_array().map(|lines| lines[0].as_str().unwrap().to_owned());
    match answer["type"].as_str() {
        Some("exception") => format!("exception: {}", lines(&answer["exception"]).unwrap()),
        Some("error") => format!("error: {}", lines(&answer["error"]).unwrap()),
        Some(other) => other.to_owned(),
        None if answer["sync"] == true => format!("sync: {}", answer["payload"].as_array().unwrap().len()),
        None => answer.to_string(),
    }
}

const NOT_UNDERSTOOD: &str = "exception: The message could not be understood.";
const NOT_KNOWN: &str = "error: This action is not one the room knows.";

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_2_frames_that_are_no_messages_are_answered_and_nothing_else() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_action = format!(r#"{{"id":"1","channel":"notes","action":{{"type":"put","payload":{nested}}}}}"#);
    for frame in [
        "",
        " ",
        "hello",
        "null",
        "true",
        "5",
        "1e999",
        "\"text\"",
        "[]",
        "{}",
        "{",
        "{} {}",
        "\u{0}",
        "\u{feff}{}",
        &nested,
        &deep_action,
        r#"{"channel":"notes"}"#,
        r#"{"channel":5,"sync":true}"#,
        r#"{"channel":null,"sync":true}"#,
        r#"{"channel":["notes"],"sync":true}"#,
        r#"{"channel":"\ud800","sync":true}"#,
        r#"{"sync":true,"from":null}"#,
        r#"{"channel":"notes","sync":1}"#,
        r#"{"channel":"notes","sync":"true"}"#,
        r#"{"channel":"notes","sync":null}"#,
        r#"{"channel":"notes","channel":"notes","sync":true}"#,
        r#"{"channel":"notes","action":{}}"#,
        r#"{"channel":"notes","id":"1"}"#,
        r#"{"id":"1","action":{"type":"put"}}"#,
        r#"{"id":"1","channel":5,"action":{"type":"put"}}"#,
        r#"{"id":"1","channel":"notes","action":{"type":"put""#,
        "{\"id\":\"a\u{1}\",\"channel\":\"notes\",\"action\":{}}",
    ] {
        let case = &frame[..frame.len().min(60)];
        let mut eve = Client::connect(served.address, "/parties/notes/lobby").await;
        eve.send_message(Message::text(frame)).await.unwrap();
        assert_eq!(verdict(&eve.receive().await), NOT_UNDERSTOOD, "{case}");
        assert_eq!(eve.sync().await.len(), witnesses.rows.len(), "{case}: she may go on");
        witnesses.testify(case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_3_channels_that_are_not_there_are_refused_whatever_they_are_called() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    for channel in [
        "",
        "todos",
        "NOTES",
        "notes ",
        "notes--",
        "\"notes\"",
        "notes; DROP TABLE notes",
        "notes WHERE 1=1 UNION SELECT * FROM _log",
        "sqlite_master",
        "sqlite_schema",
        "_log",
        "_meta",
        "_client",
        "main.notes",
        "notes\u{0}",
        "../notes",
        &"n".repeat(100_000),
    ] {
        let case = &channel[..channel.len().min(60)];
        let mut eve = Client::connect(served.address, "/parties/notes/lobby").await;
        eve.send(json!({"channel": channel, "sync": true, "from": null})).await;
        assert_eq!(verdict(&eve.receive().await), "exception: The room has no such channel.", "{case}");
        let mut call = put("eve", "text");
        call["channel"] = json!(channel);
        eve.send(call).await;
        let answer = eve.receive().await;
        assert_eq!(verdict(&answer), "error: The room has no such channel.", "{case}");
        assert_eq!((&answer["channel"], &answer["id"]), (&json!(channel), &json!("eve")), "{case}");
        witnesses.testify(case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_1_actions_that_cannot_be_run_are_errors() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    for (action, expected) in [
        ("null", NOT_KNOWN),
        ("5", NOT_KNOWN),
        ("\"put\"", NOT_KNOWN),
        ("[]", NOT_KNOWN),
        ("{}", NOT_KNOWN),
        (r#"{"type":"drop"}"#, NOT_KNOWN),
        (r#"{"type":"PUT","payload":{"id":"e","text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":5,"payload":{"id":"e","text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":null,"payload":{"id":"e","text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":"put"}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":null}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":[]}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":"e"}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":5,"text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":null,"text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":{},"text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":"e","text":9007199254740993}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":"e","text":1e999}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":"e","text":"\ud800"}}"#, NOT_KNOWN),
        (r#"{"type":"put","payload":{"id":"\udc00","text":"text"}}"#, NOT_KNOWN),
        (r#"{"type":"alarm","payload":1e999}"#, NOT_KNOWN),
        (r#"{"type":"alarm","payload":9223372036854775808}"#, NOT_KNOWN),
        (r#"{"type":"alarm","payload":0.5}"#, NOT_KNOWN),
        // The app adds it to the time, which is too much for its integers.
        (r#"{"type":"alarm","payload":9223372036854775807}"#, "error: The action failed."),
        (r#"{"type":"put","payload":{"id":"n0000","text":"text"}}"#, "error: A record with this value exists already."),
    ] {
        if witnesses.rows.is_empty() {
            witnesses.testify("the first row").await;
        }
        let mut eve = Client::connect(served.address, "/parties/notes/lobby").await;
        let frame = format!(r#"{{"id":"1","channel":"notes","rpc":true,"action":{action}}}"#);
        eve.send_message(Message::text(frame)).await.unwrap();
        assert_eq!(verdict(&eve.receive().await), expected, "{action}");
        witnesses.testify(action).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_2_ids_of_calls_come_back_as_they_came() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    for id in ["9007199254740993", "-0.0", "1e999", "true", r#"{"a":[1]}"#, "[]", r#""\u0000""#, r#""é\n""#, "null"] {
        let mut eve = Client::connect(served.address, "/parties/notes/lobby?_pk=eve").await;
        let frame = format!(r#"{{"id":{id},"channel":"notes","rpc":true,"action":{{"type":"none"}}}}"#);
        eve.send_message(Message::text(frame)).await.unwrap();
        let Some(Message::Text(answer)) = eve.receive_message().await else { panic!("{id}: no answer") };
        assert!(answer.contains(&format!(r#""id":{id},"#)), "{id}: {answer}");
        witnesses.testify(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_9_whatever_from_is_a_sync_is_answered() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    witnesses.testify("the first row").await;
    for from in [
        "0",
        "-1",
        "1",
        "0.5",
        "1e999",
        "-9223372036854775808",
        "9007199254740993",
        "99999999999999999999999",
        "\"2026-11-23 01:47:34\"",
        "\"'; DROP TABLE notes; --\"",
        "[]",
        "{\"a\":1}",
        "true",
        "false",
    ] {
        let mut eve = Client::connect(served.address, "/parties/notes/lobby").await;
        eve.send_message(Message::text(format!(r#"{{"channel":"notes","sync":true,"from":{from}}}"#))).await.unwrap();
        assert_eq!(verdict(&eve.receive().await), format!("sync: {}", witnesses.rows.len()), "{from}");
        witnesses.testify(from).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_3_2_text_may_hold_whatever_json_can_say() {
    let served = serve().await;
    for (id, text) in [("nul", "a\u{0}b"), ("quotes", "'\"; --"), ("astral", "𝄞\u{10ffff}"), ("lines", "\r\n\u{2028}")]
    {
        let (mut eve, _) = Client::join(served.address, "texts").await;
        eve.send(put(id, text)).await;
        assert_eq!(eve.receive().await["result"][0][1], text, "{id}");
    }
    let (_, rows) = Client::join(served.address, "texts").await;
    assert_eq!(rows.iter().find(|row| row[0] == "nul").unwrap()[1], "a\u{0}b");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_frames_of_version_2_that_are_wrong_are_answered_and_nothing_else() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    for (frame, expected) in [
        ("", "error: bad_message"),
        ("null", "error: bad_message"),
        ("5", "error: bad_message"),
        ("[]", "error: bad_message"),
        (&*nested, "error: bad_message"),
        ("{}", "error: bad_message"),
        (r#"{"type":"nothing"}"#, "error: bad_message"),
        (r#"{"type":5}"#, "error: bad_message"),
        (r#"{"type":"hello","versions":[2]}"#, "error: bad_message"),
        (r#"{"type":"join"}"#, "error: bad_message"),
        (r#"{"type":"join","room":5,"client":"00000000000000000000000000000009"}"#, "error: bad_message"),
        (r#"{"type":"join","room":"notes/lobby","client":"0000000000000000000000000000000"}"#, "error: bad_message"),
        (r#"{"type":"join","room":"notes/lobby","client":"0000000000000000000000000000000A"}"#, "error: bad_message"),
        (r#"{"type":"join","room":"notes/lobby","client":9}"#, "error: bad_message"),
        (
            r#"{"type":"join","room":"notes/lobby","client":"00000000000000000000000000000009","cursor":5}"#,
            "error: bad_message",
        ),
        (
            r#"{"type":"join","room":"notes/lobby","client":"00000000000000000000000000000009","cursor":{"version":-1,"stamp":0}}"#,
            "error: bad_message",
        ),
        (
            r#"{"type":"join","room":"notes/lobby","client":"00000000000000000000000000000009","cursor":{"version":1.5,"stamp":0}}"#,
            "error: bad_message",
        ),
        (
            r#"{"type":"join","room":"notes/lobby","client":"00000000000000000000000000000009","born":1e999}"#,
            "error: bad_message",
        ),
        (r#"{"type":"join","room":"notes/a b","client":"00000000000000000000000000000009"}"#, "left: bad_message"),
        (r#"{"type":"join","room":"other/lobby","client":"00000000000000000000000000000009"}"#, "left: not_allowed"),
        (r#"{"type":"action","room":"notes/other","number":1,"channel":"notes","action":{}}"#, "error: not_joined"),
        (r#"{"type":"action","room":"notes/lobby","channel":"notes","action":{}}"#, "error: bad_message"),
        (r#"{"type":"action","room":"notes/lobby","number":"1","channel":"notes","action":{}}"#, "error: bad_message"),
        (r#"{"type":"action","room":"notes/lobby","number":-1,"channel":"notes","action":{}}"#, "error: bad_message"),
        (
            r#"{"type":"action","room":"notes/lobby","number":9007199254740993,"channel":"notes","action":{}}"#,
            "error: bad_message",
        ),
        (r#"{"type":"action","room":"notes/lobby","number":7,"channel":"notes","action":{}}"#, "later: number_gap"),
        (
            r#"{"type":"action","room":"notes/lobby","number":1,"channel":"_log","action":{}}"#,
            "reject: unknown_channel",
        ),
        (
            r#"{"type":"action","room":"notes/lobby","number":1,"channel":"notes; DROP TABLE notes","action":{}}"#,
            "reject: unknown_channel",
        ),
        (r#"{"type":"action","room":"notes/lobby","number":1,"channel":5,"action":{}}"#, "reject: bad_message"),
        (r#"{"type":"action","room":"notes/lobby","number":1,"channel":"notes"}"#, "reject: bad_message"),
        (
            r#"{"type":"action","room":"notes/lobby","number":1,"channel":"notes","action":{"type":"drop"}}"#,
            "reject: bad_action",
        ),
        (
            r#"{"type":"action","room":"notes/lobby","number":1,"channel":"notes","action":{"type":"put","payload":{"id":"e","text":"\ud800"}}}"#,
            "reject: bad_action",
        ),
        (
            r#"{"type":"action","room":"notes/lobby","number":1,"channel":"notes","action":{"type":"panic"}}"#,
            "reject: app_error",
        ),
        (r#"{"type":"have","room":"notes/lobby","version":"1","number":0}"#, "error: bad_message"),
        (r#"{"type":"have","room":"notes/other","version":1,"number":0}"#, "error: not_joined"),
        (r#"{"type":"leave","room":"notes/other"}"#, "error: not_joined"),
    ] {
        let case = &frame[..frame.len().min(160)];
        let mut eve = Client::connect(served.address, "/parties/notes/lobby").await;
        assert_eq!(eve.hello("notes/lobby").await, witnesses.rows.len());
        eve.send_message(Message::text(frame)).await.unwrap();
        let answer = eve.receive().await;
        let told = format!("{}: {}", answer["type"].as_str().unwrap(), answer["error"]["code"].as_str().unwrap_or("?"));
        assert_eq!(told, expected, "{case}: {answer}");
        eve.send(json!({"type": "ping"})).await;
        assert_eq!(eve.receive().await["type"], "pong", "{case}: she may go on");
        witnesses.testify(case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_27_what_ends_a_socket_says_why_and_ends_no_other() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    // A frame: opcode, whether it is masked, payload. The mask is 0.
    let frame = |opcode: u8, payload: &[u8]| {
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    };
    let hello = frame(1, br#"{"type":"hello","versions":[2]}"#);
    for (case, bytes, code) in [
        ("not UTF-8", frame(1, &[b'a', 0xff, 0xfe]), 1007),
        ("a surrogate as UTF-8", frame(1, &[0xed, 0xa0, 0x80]), 1007),
        ("not WebSocket", frame(3, b"text"), 1002),
        ("not masked", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("one byte past the largest frame", vec![0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0], 1009),
        ("as long as can be said", vec![0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], 1009),
        ("binary on version 2", [hello, frame(2, b"bytes")].concat(), 1003),
        ("no version in common", frame(1, br#"{"type":"hello","versions":[1,3,"2"]}"#), 4400),
    ] {
        let mut tcp = TcpStream::connect(served.address).await.unwrap();
        tcp.write_all(upgrade("/parties/notes/lobby", "").as_bytes()).await.unwrap();
        tcp.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut tcp).await, code, "{case}");
        witnesses.testify(case).await;
    }
}

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Reads short frames up to the one that closes the socket.
async fn close_code(tcp: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    let mut read = Vec::new();
    loop {
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        let mut rest = head.map_or(&[][..], |head| &bytes[head..]);
        while let [first, length, payload @ ..] = rest
            && payload.len() >= usize::from(*length)
        {
            if first & 0x0f == 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
            rest = &payload[usize::from(*length)..];
        }
        read.clear();
        let count = timeout(PATIENCE, tcp.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(count > 0, "the connection ended without a close frame");
        bytes.extend(&read);
    }
}

/// Sends bytes; returns the status of the answer, and all of it.
async fn exchange(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // The server may have refused before it has read all.
    let _ = tcp.write_all(request).await;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match timeout(PATIENCE, tcp.read_buf(&mut answer)).await.unwrap() {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_12_requests_that_are_wrong_get_a_status_that_says_so() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    let lobby = "/parties/notes/lobby";
    let plain = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let good = upgrade(lobby, "");
    let emoji = "%F0%9F%A5%9B".repeat(1_024);
    for (case, request, expected) in [
        ("no upgrade", plain("GET", lobby), 404),
        ("HEAD", plain("HEAD", lobby), 404),
        ("POST", plain("POST", lobby), 404),
        ("DELETE", plain("DELETE", lobby), 404),
        ("a method that nobody knows", plain("BREW", lobby), 404),
        ("POST for a socket", good.replace("GET", "POST"), 405),
        ("an upgrade to something else", good.replace("websocket", "h2c"), 400),
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        ("a key that is too short", good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("an old version", good.replace("Version: 13", "Version: 8"), 426),
        ("a future version", good.replace("Version: 13", "Version: 14"), 426),
        ("4 KB of emoji", upgrade(&format!("/parties/notes/{emoji}"), ""), 414),
        ("4 KB of emoji as a party", upgrade(&format!("/parties/{emoji}/lobby"), ""), 414),
        ("an unknown party", upgrade("/parties/sqlite_master/lobby", ""), 400),
        ("a party with a path", upgrade("/parties/..%2fnotes/lobby", ""), 400),
        ("a party above", upgrade("/parties/../lobby", ""), 400),
        ("no room", upgrade("/parties/notes//", ""), 404),
        ("a _pk of 10 KB", upgrade(&format!("{lobby}?_pk={}", "k".repeat(10_240)), ""), 400),
        ("a _pk of 10 KB of emoji", upgrade(&format!("{lobby}?_pk={emoji}"), ""), 400),
        ("200 headers", upgrade(lobby, &"x-bomb: 1\r\n".repeat(200)), 431),
        ("a header of 100 KB", upgrade(lobby, &format!("x-bomb: {}\r\n", "x".repeat(100 << 10))), 431),
        ("a header without a name", upgrade(lobby, ": x\r\n"), 400),
        ("a header over two lines", upgrade(lobby, "x: y\r\n z\r\n"), 400),
        ("two lengths", upgrade(lobby, "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
        ("HTTP of another version", "GET / HTTP/3.0\r\n\r\n".to_owned(), 400),
        ("a path with a blank", plain("GET", "/parties/notes/a b"), 400),
        ("a path with NUL", plain("GET", "/parties/notes/\0"), 400),
        ("nowhere", plain("GET", "/"), 404),
    ] {
        let (status, answer) = exchange(served.address, request.as_bytes()).await;
        assert_eq!(status, expected, "{case}: {answer}");
        if status == 426 {
            assert!(answer.to_lowercase().contains("sec-websocket-version: 13"), "{case}: {answer}");
        }
        witnesses.testify(case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_names_that_only_look_alike_are_rooms_of_their_own() {
    let served = serve().await;
    // Case; é as one letter and as two; A and the Greek Alpha; escapes in small letters.
    let names = ["Room", "room", "caf%C3%A9", "cafe%CC%81", "caf%c3%a9", "%CE%91", "A", "..%2f..", "%2e%2e%2f", "."];
    for name in names {
        let (mut client, rows) = Client::join(served.address, name).await;
        assert!(rows.is_empty(), "{name} is another room's name");
        client.put(name).await;
    }
    for name in names {
        assert_eq!(ids(&Client::join(served.address, name).await.1), [name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_12_8_a_pk_that_is_missing_empty_or_twice_is_as_good_as_any() {
    let served = serve().await;
    let mut witnesses = Witnesses::of(&served).await;
    for query in
        ["", "?", "?_pk", "?_pk=", "?_pk=a&_pk=b", "?_pk=%00", "?_pk=%ff%fe", "?_PK=a", "?%5Fpk=a", "?&&=&_pk=%"]
    {
        let mut eve = Client::connect(served.address, &format!("/parties/notes/lobby{query}")).await;
        assert_eq!(eve.sync().await.len(), witnesses.rows.len(), "{query}");
        witnesses.testify(query).await;
    }
}
