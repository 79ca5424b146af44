//! SPEC 8.32 to 8.35: several rooms on one socket.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use partysync_model::{ActionError, Schema, Tx};
use partysync_protocol::limits;
use partysync_room::{Admission, Attempt, Call, Changed, Handled, Join, Message as Sent, Refusal, Socket, SyncServer};
use partysync_server::Builder;
use serde_json::{Value, json};
use support::operator::Operator;
use support::{Client, Note, PATIENCE, Served, ids, put, room_files, serve_with, until_closed};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const LOBBY: &str = "/parties/open/lobby";

/// A room that says who came and left, and does what messages say.
struct Chat;

impl SyncServer for Chat {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_connect(&mut self, _: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        if socket.identity().as_deref() == Some("banned") {
            return Err(ActionError::reject("banned", "You are banned."));
        }
        Ok(())
    }

    fn on_close(&mut self, tx: &mut Tx<'_>, _: Socket<'_>, code: Option<u16>, _: &str) -> Result<(), ActionError> {
        let id = tx.new_id();
        tx.table::<Note>().insert(&Note { id, text: format!("closed {code:?}") })
    }

    fn on_message(&mut self, _: &mut Tx<'_>, socket: Socket<'_>, message: Sent<'_>) -> Result<Handled, ActionError> {
        match message {
            Sent::Text("bye") => socket.close(4001, "bye, too")?,
            Sent::Text(text) => socket.send(text)?,
            Sent::Binary(bytes) => socket.send(format!("{bytes:?}"))?,
        }
        Ok(Handled::Yes)
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        let author = call.author().unwrap_or("nobody").to_owned();
        call.apply(tx, |tx, (id, bytes): (String, usize)| {
            tx.table::<Note>().insert(&Note { id, text: format!("{author}{}", "x".repeat(bytes)) })
        })
    }
}

/// A room that takes its time to let somebody in.
struct Slow;

impl SyncServer for Slow {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_connect(&mut self, _: &mut Tx<'_>, _: Socket<'_>) -> Result<(), ActionError> {
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok(())
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Ok(Changed::Captured)
    }
}

/// Lets in whose token is a name. A token that is a status is refused with it.
async fn guard(join: Join) -> Result<Admission, Refusal> {
    let token = join.token.ok_or_else(|| Refusal::unauthorized("Sign in first."))?;
    match token.as_str().parse() {
        Ok(status) => Err(Refusal::new(status, format!("Refused with {status}."))),
        Err(_) => Ok(Admission::of(token.as_str())),
    }
}

/// Parties `open`, `slow`, `guarded` by a door, and `held`, where an action waits for a permit if its id begins with `wait`.
fn parties(builder: Builder, permits: &Arc<Semaphore>) -> Builder {
    let permits = Arc::clone(permits);
    let hold = move |attempt: Attempt| {
        let permits = Arc::clone(&permits);
        async move {
            let (id, _): (String, usize) = attempt.decode()?;
            if id.starts_with("wait") {
                permits.acquire().await.unwrap().forget();
            }
            Ok(None::<Value>)
        }
    };
    builder
        .party("open", || Chat)
        .party("slow", || Slow)
        .party("guarded", || Chat)
        .on_before_connect("guarded", guard)
        .party("held", || Chat)
        .before_action("held", hold)
}

async fn served() -> (Served, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    (serve_with(|builder| parties(builder, &permits)).await, permits)
}

/// A client that was welcomed, in no room yet.
async fn welcomed(served: &Served, path: &str) -> Client {
    let mut client = Client::connect(served.address, path).await;
    client.send(json!({"type": "hello", "versions": [2]})).await;
    let welcome = client.receive().await;
    assert_eq!((&welcome["type"], &welcome["rooms"]), (&json!("welcome"), &json!(limits::SOCKET_ROOMS)));
    client
}

fn client_id(name: u32) -> String {
    format!("{name:032x}")
}

fn join(room: &str, client: u32) -> Value {
    json!({"type": "join", "room": room, "client": client_id(client)})
}

fn action(room: &str, number: u64, id: &str) -> Value {
    sized(room, number, id, 0)
}

/// An action that adds a note of so many bytes.
fn sized(room: &str, number: u64, id: &str, bytes: usize) -> Value {
    json!({"type": "action", "room": room, "number": number, "channel": "notes", "action": [id, bytes]})
}

/// So many lists in each other: in a frame, one level more.
fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| json!([inner]))
}

fn leave(room: &str) -> Value {
    json!({"type": "leave", "room": room})
}

/// Joins a room; returns its rows' ids.
async fn enter(client: &mut Client, room: &str, id: u32) -> Vec<String> {
    client.send(join(room, id)).await;
    let joined = client.receive().await;
    assert_eq!((&joined["type"], &joined["room"]), (&json!("joined"), &json!(room)), "{joined}");
    let snapshot = client.receive().await;
    assert_eq!((&snapshot["type"], &snapshot["room"]), (&json!("snapshot"), &json!(room)), "{snapshot}");
    let mut rows = snapshot["rows"].as_array().unwrap().clone();
    // The snapshot may be older than the room: then a patch follows (SPEC 8.36). Nothing is changed twice here.
    if !joined["newest"].is_null() {
        let patch = client.receive().await;
        rows.extend(patch["changes"][0]["puts"].as_array().unwrap().iter().cloned());
    }
    ids(&rows).into_iter().map(str::to_owned).collect()
}

/// Has an action run, and waits for its ack and its patch.
async fn act(client: &mut Client, room: &str, number: u64, id: &str) {
    client.send(action(room, number, id)).await;
    let ack = client.receive().await;
    assert_eq!((&ack["type"], &ack["room"], &ack["number"]), (&json!("ack"), &json!(room), &json!(number)), "{ack}");
    let patch = client.receive().await;
    assert_eq!((&patch["type"], &patch["room"]), (&json!("patch"), &json!(room)), "{patch}");
}

/// The next frame, a `left`: its room, its code and its text.
async fn left(client: &mut Client) -> (String, String, String) {
    let left = client.receive().await;
    assert_eq!(left["type"], "left", "{left}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&left["room"]), text(&left["error"]["code"]), text(&left["error"]["text"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_one_socket_carries_rooms_of_several_parties_each_with_a_client_of_its_own() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    assert!(enter(&mut ann, "open/lobby", 1).await.is_empty());
    assert!(enter(&mut ann, "open/garden", 1).await.is_empty());
    assert!(enter(&mut ann, "held/lobby", 2).await.is_empty());
    for room in ["open/lobby", "open/garden", "held/lobby"] {
        act(&mut ann, room, 1, &format!("of {room}")).await;
    }
    // Each has what was done in it, and nothing else; who comes to it alone is in the same room.
    let mut bob = welcomed(&served, "/parties/open/garden").await;
    assert_eq!(enter(&mut bob, "open/garden", 3).await, ["of open/garden"]);
    act(&mut bob, "open/garden", 1, "bob's").await;
    let patch = ann.receive().await;
    assert_eq!((&patch["room"], &patch["changes"][0]["puts"][0][0]), (&json!("open/garden"), &json!("bob's")));
    ann.send(json!({"type": "ping"})).await;
    assert_eq!(ann.receive().await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_nothing_comes_before_welcome_however_many_rooms_are_asked_for_at_once() {
    let (served, _) = served().await;
    // So that the others are in memory, and quick to answer.
    let mut bob = welcomed(&served, LOBBY).await;
    for room in 0..5 {
        enter(&mut bob, &format!("open/{room}"), 2).await;
    }
    let mut ann = Client::connect(served.address, "/parties/slow/lobby").await;
    ann.send(json!({"type": "hello", "versions": [2]})).await;
    for room in 0..5 {
        ann.send(join(&format!("open/{room}"), 1)).await;
    }
    assert_eq!(ann.receive().await["type"], "welcome");
    for _ in 0..10 {
        let kind = ann.receive().await["type"].clone();
        assert!(kind == "joined" || kind == "snapshot", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_a_room_that_is_left_may_be_joined_again_without_waiting() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    for round in 1..=20 {
        for room in ["open/garden", "open/lobby"] {
            ann.send(join(room, 1)).await;
            ann.send(action(room, round, &format!("{round}"))).await;
            ann.send(leave(room)).await;
        }
    }
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let lefts = |seen: &BTreeMap<String, Vec<String>>| seen.values().flatten().filter(|kind| *kind == "left").count();
    while lefts(&seen) < 40 {
        let frame = ann.receive().await;
        let kind = frame["type"].as_str().unwrap().to_owned();
        assert!(frame["error"].is_null(), "{frame}");
        seen.entry(frame["room"].as_str().unwrap().to_owned()).or_default().push(kind);
    }
    for (room, kinds) in seen {
        // Who leaves at once may not see what it caused.
        let answers: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| *kind != "patch").collect();
        assert_eq!(answers, ["joined", "snapshot", "ack", "left"].repeat(20), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_p8_socket_rooms_at_the_limit_and_one_past_it() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    for room in 1..limits::SOCKET_ROOMS {
        enter(&mut ann, &format!("open/{room}"), 1).await;
    }
    ann.send(join("open/one-more", 1)).await;
    assert_eq!(left(&mut ann).await.1, "too_many_rooms");
    // That of the URL has its place, joined or not.
    enter(&mut ann, "open/lobby", 1).await;
    ann.send(leave("open/lobby")).await;
    assert_eq!(left(&mut ann).await.1, "");
    ann.send(join("open/one-more", 1)).await;
    assert_eq!(left(&mut ann).await.1, "too_many_rooms");
    for round in 0..50 {
        ann.send(leave(&format!("open/{}", if round == 0 { "7".to_owned() } else { format!("again-{}", round - 1) })))
            .await;
        assert_eq!(left(&mut ann).await.1, "", "round {round}");
        enter(&mut ann, &format!("open/again-{round}"), 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_1_what_is_no_leave_leaves_no_room_and_holds_nothing_up() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    enter(&mut ann, "open/garden", 1).await;
    for bad in [
        json!({"type": "leave", "room": ["open/garden"]}),
        json!({"type": "leave", "room": "open/garden", "more": nested(64)}),
        json!({"type": "join", "room": "open/garden", "client": "x"}),
    ] {
        ann.send(bad.clone()).await;
        let answer = ann.receive().await;
        assert_eq!((&answer["type"], &answer["error"]["code"]), (&json!("error"), &json!("bad_message")), "{bad}");
    }
    ann.send(leave("open/garden")).await;
    assert_eq!(ann.receive().await, json!({"type": "left", "room": "open/garden"}));
    enter(&mut ann, "open/garden", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_1_fields_of_other_messages_mean_nothing_on_a_socket_of_several_rooms() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    enter(&mut ann, "open/garden", 1).await;
    ann.send(json!({"type": "ping", "room": ["open/garden"], "text": 5})).await;
    assert_eq!(ann.receive().await, json!({"type": "pong"}));
    ann.send(json!({"type": "leave", "room": "open/garden", "number": "x"})).await;
    assert_eq!(ann.receive().await, json!({"type": "left", "room": "open/garden"}));
    enter(&mut ann, "open/garden", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_33_what_names_no_room_that_can_be_is_answered_by_the_socket() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    let too_long = format!("open/{}", "r".repeat(limits::ROOM_NAME_BYTES + 1));
    for (room, code) in [
        ("open", "bad_message"),
        ("open/a b", "bad_message"),
        ("open/a?b", "bad_message"),
        ("open/a/b", "bad_message"),
        ("other/a", "not_allowed"),
        (&too_long, "too_large"),
    ] {
        ann.send(join(room, 1)).await;
        let (named, answered, _) = left(&mut ann).await;
        assert_eq!((&*named, &*answered), (room, code));
    }
    enter(&mut ann, "open/garden", 1).await;
    for (frame, code) in [
        (json!({"type": "nonsense"}), "bad_message"),
        (json!({"type": "nonsense", "room": "open/else"}), "bad_message"),
        (json!({"type": "hello", "versions": [2]}), "bad_message"),
        (json!({"type": "ping", "more": nested(64)}), "bad_message"),
        (json!({"type": "nonsense", "room": "open/garden"}), "bad_message"),
        (action("open/else", 1, "a"), "not_joined"),
        (action("open/lobby", 1, "a"), "not_joined"),
        (leave("open/else"), "not_joined"),
    ] {
        ann.send(frame.clone()).await;
        let answer = ann.receive().await;
        assert_eq!((&answer["type"], &answer["error"]["code"]), (&json!("error"), &json!(code)), "{frame}: {answer}");
    }
    ann.send_message(Message::binary(vec![1, 2])).await.unwrap();
    let answer = ann.receive().await;
    assert_eq!((&answer["room"], &answer["text"]), (&json!("open/lobby"), &json!("[1, 2]")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_each_room_asks_its_own_door() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    enter(&mut ann, "open/lobby", 1).await;
    ann.send(join("guarded/lobby", 1)).await;
    let refused = |code: &str, text: &str| ("guarded/lobby".to_owned(), code.to_owned(), text.to_owned());
    assert_eq!(left(&mut ann).await, refused("not_allowed", "Sign in first."));
    for (token, code, text) in [
        ("403", "not_allowed", "Refused with 403."),
        ("503", "busy", "Refused with 503."),
        ("banned", "not_allowed", "You are banned."),
    ] {
        let mut join = join("guarded/lobby", 1);
        join["token"] = token.into();
        ann.send(join).await;
        assert_eq!(left(&mut ann).await, refused(code, text));
    }
    let mut as_ann = join("guarded/lobby", 1);
    as_ann["token"] = "ann".into();
    ann.send(as_ann).await;
    assert_eq!(ann.receive().await["type"], "joined");
    assert_eq!(ann.receive().await["type"], "snapshot");
    ann.send(action("guarded/lobby", 1, "a")).await;
    assert_eq!(ann.receive().await["type"], "ack");
    assert_eq!(ann.receive().await["changes"][0]["puts"][0][1], "ann", "who it is");
    ann.send(action("open/lobby", 1, "a")).await;
    assert_eq!(ann.receive().await["type"], "ack");
    assert_eq!(ann.receive().await["changes"][0]["puts"][0][1], "nobody", "in that room only");
    // The handshake's token serves for a room that is joined without one.
    let mut bob = welcomed(&served, "/parties/open/lobby?token=bob").await;
    enter(&mut bob, "guarded/lobby", 2).await;
    bob.send(action("guarded/lobby", 1, "b")).await;
    assert_eq!(bob.receive().await["type"], "ack");
    assert_eq!(bob.receive().await["changes"][0]["puts"][0][1], "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_34_a_room_that_would_close_a_socket_ends_itself_on_it_alone() {
    let (served, _) = served().await;
    let operator = Operator::of(&served.server).await;
    let mut ann = welcomed(&served, LOBBY).await;
    for room in ["open/lobby", "open/garden", "open/yard"] {
        enter(&mut ann, room, 1).await;
    }
    ann.send(json!({"type": "message", "room": "open/garden", "text": "bye"})).await;
    let bye = |room: &str| (room.to_owned(), "not_allowed".to_owned(), "bye, too".to_owned());
    let code = left(&mut ann).await;
    assert_eq!((&*code.0, &*code.2), ("open/garden", "bye, too"));
    assert_eq!(operator.ask("DELETE", "/rooms/open/yard?confirm=yard", &[]).await.status / 100, 2);
    assert_eq!(
        left(&mut ann).await,
        ("open/yard".to_owned(), "not_allowed".to_owned(), "the room was deleted".to_owned())
    );
    // It may come back to them, as if it had never been there.
    assert_eq!(enter(&mut ann, "open/garden", 1).await.len(), 1, "what on_close wrote");
    assert!(enter(&mut ann, "open/yard", 1).await.is_empty());
    // So does that of the URL, and is then one like the others.
    ann.send(json!({"type": "message", "room": "open/lobby", "text": "bye"})).await;
    assert_eq!(left(&mut ann).await.0, bye("open/lobby").0);
    ann.send(action("open/lobby", 1, "a")).await;
    assert_eq!(ann.receive().await["error"]["code"], "not_joined");
    assert_eq!(enter(&mut ann, "open/lobby", 1).await.len(), 1);
    act(&mut ann, "open/lobby", 1, "a").await;
    for room in ["open/garden", "open/yard"] {
        ann.send(leave(room)).await;
        assert_eq!(left(&mut ann).await.1, "");
    }
    // The last one closes the socket.
    ann.send(json!({"type": "message", "room": "open/lobby", "text": "bye"})).await;
    assert_eq!(ann.drain().await, (Vec::new(), Some(4001)));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_34_a_server_that_stops_closes_the_whole_socket() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    for room in ["open/lobby", "open/garden", "held/lobby"] {
        enter(&mut ann, room, 1).await;
    }
    let server = served.server.clone();
    let stopping = tokio::spawn(async move { server.shutdown().await });
    assert_eq!(ann.drain().await, (Vec::new(), Some(1012)));
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_32_all_rooms_hear_that_the_client_closed_its_socket_after_what_it_sent() {
    let (served, permits) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    enter(&mut ann, "held/lobby", 1).await;
    ann.send(action("held/lobby", 1, "wait")).await;
    ann.send(action("held/lobby", 2, "last")).await;
    let close = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 4003.into(), reason: "".into() };
    ann.send_message(Message::Close(Some(close))).await.unwrap();
    permits.add_permits(1);
    ann.drain().await;
    let mut bob = welcomed(&served, "/parties/held/lobby").await;
    bob.send(join("held/lobby", 2)).await;
    assert_eq!(bob.receive().await["type"], "joined");
    let snapshot = bob.receive().await;
    let mut texts: Vec<String> =
        snapshot["rows"].as_array().unwrap().iter().map(|row| row[1].as_str().unwrap().to_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["closed Some(4003)", "nobody", "nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_35_what_one_room_waits_for_holds_up_no_other_and_its_own_order_stays() {
    let (served, permits) = served().await;
    let mut ann = welcomed(&served, "/parties/held/lobby").await;
    enter(&mut ann, "held/lobby", 1).await;
    enter(&mut ann, "open/garden", 1).await;
    enter(&mut ann, "held/garden", 1).await;
    for room in ["held/lobby", "held/garden"] {
        ann.send(action(room, 1, "wait")).await;
        for number in 2..=20 {
            ann.send(action(room, number, &format!("{number}"))).await;
        }
    }
    for number in 1..=100 {
        act(&mut ann, "open/garden", number, &format!("{number}")).await;
    }
    permits.add_permits(2);
    let mut acked: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while acked.values().map(Vec::len).sum::<usize>() < 40 {
        let frame = ann.receive().await;
        if frame["type"] == "ack" {
            acked
                .entry(frame["room"].as_str().unwrap().to_owned())
                .or_default()
                .push(frame["number"].as_u64().unwrap());
        }
    }
    for (room, numbers) in acked {
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_35_p8_lane_queue_at_the_limit_and_one_past_it() {
    let (served, permits) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    enter(&mut ann, "open/lobby", 1).await;
    enter(&mut ann, "held/lobby", 1).await;
    // The first is in the hook's hands, and holds its place.
    ann.send(action("held/lobby", 1, "wait")).await;
    for number in 2..=limits::LANE_QUEUE as u64 {
        ann.send(action("held/lobby", number, &number.to_string())).await;
    }
    act(&mut ann, "open/lobby", 1, "at the limit").await;
    ann.send(action("held/lobby", limits::LANE_QUEUE as u64 + 1, "past it")).await;
    ann.send(action("open/lobby", 2, "behind it")).await;
    let quiet = timeout(std::time::Duration::from_millis(200), ann.receive_message()).await;
    assert!(quiet.is_err(), "the socket is not read: {quiet:?}");
    permits.add_permits(1);
    let mut acks = 0;
    while acks < limits::LANE_QUEUE + 2 {
        acks += usize::from(ann.receive().await["type"] == "ack");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_35_a_slow_reader_is_caught_up_room_by_room() {
    const BYTES: usize = 200 << 10;
    const NOTES: u64 = 3 * (limits::SOCKET_BACKLOG_BYTES / BYTES) as u64;
    let (served, _) = served().await;
    let mut slow = Client::connect_small(served.address, LOBBY).await;
    slow.send(json!({"type": "hello", "versions": [2]})).await;
    slow.receive().await;
    for room in ["open/lobby", "open/garden", "open/yard"] {
        enter(&mut slow, room, 1).await;
    }
    // It does not read while two of its rooms get more than a backlog holds; the third gets one note.
    let mut bob = welcomed(&served, LOBBY).await;
    for room in ["open/lobby", "open/garden", "open/yard"] {
        enter(&mut bob, room, 2).await;
    }
    for number in 1..=NOTES {
        for room in ["open/lobby", "open/garden"] {
            bob.send(sized(room, number, &format!("{number:03}"), BYTES)).await;
            while bob.receive().await["type"] != "patch" {}
        }
    }
    act(&mut bob, "open/yard", 1, "small").await;
    let mut at: BTreeMap<String, u64> = BTreeMap::new();
    let mut patches = 0;
    while at.get("open/lobby") != Some(&NOTES)
        || at.get("open/garden") != Some(&NOTES)
        || at.get("open/yard") != Some(&1)
    {
        let patch = slow.receive().await;
        let room = patch["room"].as_str().unwrap().to_owned();
        let held = at.entry(room).or_default();
        assert!(patch["from"].as_u64().unwrap() <= *held && patch["to"].as_u64().unwrap() > *held, "{}", patch["from"]);
        *held = patch["to"].as_u64().unwrap();
        patches += 1;
    }
    assert!(patches < NOTES, "most came in one catch-up a room: {patches} of {}", 2 * NOTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_rooms_of_one_socket_sleep_and_wake_each_by_itself() {
    let permits = Arc::new(Semaphore::new(0));
    let served = serve_with(|builder| parties(builder.idle_ms(1), &permits)).await;
    let mut ann = welcomed(&served, LOBBY).await;
    let rooms = ["open/lobby", "open/garden", "held/lobby"];
    for room in rooms {
        enter(&mut ann, room, 1).await;
    }
    for number in 1..=3 {
        for file in room_files(served.data.path()) {
            until_closed(&file).await;
        }
        for room in rooms {
            act(&mut ann, room, number, &number.to_string()).await;
        }
    }
    for file in room_files(served.data.path()) {
        until_closed(&file).await;
    }
    ann.send(leave("open/garden")).await;
    assert_eq!(left(&mut ann).await.0, "open/garden");
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_no_row_of_one_room_reaches_another_however_they_are_mixed() {
    let (served, _) = served().await;
    let mut ann = welcomed(&served, LOBBY).await;
    let mut seed: u64 = 7;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let rooms: Vec<String> =
        (0..6).map(|room| format!("{}/{room}", if room % 2 == 0 { "open" } else { "held" })).collect();
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut open: Vec<&str> = Vec::new();
    for _ in 0..2_000 {
        let room = &*rooms[usize::try_from(random(6)).unwrap()];
        match (open.contains(&room), random(10)) {
            (false, _) => {
                open.push(room);
                ann.send(join(room, 1)).await;
            }
            (true, 0) => {
                open.retain(|other| *other != room);
                ann.send(leave(room)).await;
            }
            (true, _) => {
                let number = numbers.entry(room).or_default();
                *number += 1;
                ann.send(action(room, *number, &format!("{room} {number}"))).await;
            }
        }
        while let Ok(Some(message)) = timeout(std::time::Duration::ZERO, ann.receive_message()).await {
            check(&message);
        }
    }
    // All is answered once the last action of each room is.
    for room in &rooms {
        if !open.contains(&&**room) {
            ann.send(join(room, 1)).await;
        }
        *numbers.entry(room).or_default() += 1;
        ann.send(action(room, numbers[&**room], &format!("{room} {}", numbers[&**room]))).await;
    }
    let mut missing = numbers.clone();
    while !missing.is_empty() {
        let frame = check(&ann.receive_message().await.unwrap());
        if frame["type"] == "ack" && missing.get(frame["room"].as_str().unwrap()) == frame["number"].as_u64().as_ref() {
            missing.remove(frame["room"].as_str().unwrap());
        }
    }
}

/// A frame of a room, which has rows of that room alone.
fn check(message: &Message) -> Value {
    let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    let room = frame["room"].as_str().unwrap_or_else(|| panic!("{frame}"));
    assert!(frame["type"] != "error" && frame["error"].is_null(), "{frame}");
    let changes = frame["changes"].as_array().into_iter().flatten();
    let rows = changes
        .flat_map(|change| change["puts"].as_array().unwrap())
        .chain(frame["rows"].as_array().into_iter().flatten());
    for row in rows {
        let id = row[0].as_str().unwrap();
        assert!(
            id.starts_with(&format!("{room} ")) || row[1].as_str().unwrap().starts_with("closed"),
            "{row} in {room}"
        );
    }
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_2_version_1_has_no_further_rooms() {
    let (served, _) = served().await;
    let mut ann = Client::connect(served.address, LOBBY).await;
    ann.sync().await;
    ann.send(join("open/garden", 1)).await;
    // The app takes it for a message of its own.
    assert_eq!(ann.receive().await["type"], "join");
    ann.send_message(Message::text(put("a", "x").to_string())).await.unwrap();
    assert_eq!(ann.receive().await["type"], "error");
}
