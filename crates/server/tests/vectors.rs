//! The test vectors (`vectors/`), against the server, over real sockets. What needs more of a server than frames is for the room's own
//! tests.
#![allow(clippy::unwrap_used, clippy::panic)]

/// The app of the vectors, as the room's tests have it.
#[path = "../../room/tests/vectors/app.rs"]
mod app;
mod support;

use std::collections::BTreeMap;

use app::{ROOM, Todos, door};
use partysync_protocol::{ErrorCode, Token};
use partysync_room::Join;
use partysync_vectors::{Answer, Bound, Dialogue, FirstAnswer, Need, Side, Step, dialogues, up};
use serde_json::{Value as Json, json};
use support::{Client, Served, serve_with};
use tokio_tungstenite::tungstenite::Message;

const PATH: &str = "/parties/todos/lobby";

async fn serve() -> Served {
    let guard = |join: Join| async move { door(join.token.as_ref().map(Token::as_str)) };
    serve_with(|builder| {
        builder.party("todos", || Todos).party("guarded", || Todos).on_before_connect("guarded", guard)
    })
    .await
}

/// Nothing has been sent that was not received: the answer to a ping comes next.
async fn is_quiet(client: &mut Client) -> Result<(), String> {
    client.send(json!({"type": "ping"})).await;
    let next = client.receive().await;
    if next == json!({"type": "pong"}) { Ok(()) } else { Err(format!("the server sent {next}")) }
}

async fn send(client: &mut Client, text: String) {
    client.send_message(Message::text(text)).await.unwrap();
}

/// A socket.
struct Socket {
    client: Client,
    /// What came that the dialogue has not come to yet: rooms of one socket have no order among each other.
    early: Vec<Json>,
    /// How many rooms it may carry.
    rooms: u64,
}

impl Socket {
    async fn open(served: &Served, room: &str, token: Option<&str>) -> Self {
        let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let client = Client::connect(served.address, &format!("/parties/{room}{query}")).await;
        Socket { client, early: Vec::new(), rooms: 0 }
    }

    /// What comes next for a room. `is_home`: or for none.
    async fn next_for(&mut self, room: &str, is_home: bool) -> Json {
        let is_for = |frame: &Json| frame["room"].as_str().map_or(is_home, |named| named == room);
        if let Some(at) = self.early.iter().position(is_for) {
            return self.early.remove(at);
        }
        loop {
            let frame = self.client.receive().await;
            if frame["type"] == "welcome" {
                self.rooms = frame["rooms"].as_u64().unwrap();
            }
            if is_for(&frame) {
                return frame;
            }
            self.early.push(frame);
        }
    }

    /// Takes as many further rooms as it may.
    async fn fill(&mut self) {
        for place in 1..self.rooms {
            let room = format!("todos/fill-{place}");
            self.client.send(json!({"type": "join", "room": room, "client": format!("{place:032x}")})).await;
            while self.next_for(&room, false).await["more"] != false {}
        }
    }

    async fn is_quiet(&mut self) -> Result<(), String> {
        is_quiet(&mut self.client).await?;
        if self.early.is_empty() { Ok(()) } else { Err(format!("the server sent {:?}", self.early)) }
    }
}

async fn play(dialogue: &Dialogue) -> Result<(), String> {
    let served = serve().await;
    let mut sockets: BTreeMap<&str, Socket> = BTreeMap::new();
    // Stamps and times are a room's own.
    let mut bound: BTreeMap<&str, Bound> = BTreeMap::new();
    for (place, step) in dialogue.steps.iter().enumerate() {
        let wrong = |why: String| format!("step {place}, {step:?}:\n{why}");
        let Some(name) = step.on() else { continue };
        let (owner, room) = (dialogue.socket_of(name), dialogue.room_of(name));
        match step {
            Step::Open { .. } | Step::Close { .. } if owner != name => continue,
            Step::Open { token, .. } => {
                sockets.insert(name, Socket::open(&served, room, token.as_deref()).await);
                continue;
            }
            Step::Act { .. } | Step::Say { .. } | Step::Token { .. } | Step::Reload { .. } | Step::Shows(_) => continue,
            _ => {}
        }
        let socket = sockets.get_mut(owner).ok_or_else(|| wrong("it has no socket".to_owned()))?;
        let bound = bound.entry(room).or_default();
        match step {
            Step::Close { .. } => {
                socket.is_quiet().await.map_err(wrong)?;
                sockets.remove(owner);
            }
            Step::Up { lost: false, frame, .. } => send(&mut socket.client, bound.to_server(frame).to_string()).await,
            Step::Down { frame, .. } => {
                bound.compare(frame, &socket.next_for(room, owner == name).await).map_err(wrong)?;
            }
            Step::Server { does: Need::Fill, .. } => socket.fill().await,
            _ => {}
        }
    }
    for socket in sockets.values_mut() {
        socket.is_quiet().await?;
    }
    bound.values().try_for_each(Bound::check_order)
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_the_server_takes_its_part_in_the_dialogues() {
    let mut played = 0;
    for (file, dialogue) in dialogues() {
        let can = |need: &Need| matches!(need, Need::Several | Need::Door | Need::Fill);
        if dialogue.tests.contains(&Side::Server) && dialogue.needs.iter().all(can) {
            play(&dialogue).await.unwrap_or_else(|error| panic!("{file}: {error}"));
            played += 1;
        }
    }
    assert!(played > 20, "{played}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_1_and_8_6_the_server_answers_frames_that_are_no_message_as_the_vectors_say() {
    let served = serve().await;
    for (place, invalid) in up().invalid.iter().enumerate() {
        let mut client = Client::connect(served.address, PATH).await;
        client.send(json!({"type": "hello", "versions": [2]})).await;
        client.send(json!({"type": "join", "room": ROOM, "client": format!("{place:032x}")})).await;
        while client.receive().await["more"] != false {}
        send(&mut client, invalid.text.build()).await;
        let answer = client.receive().await;
        let wire = |code: &str| json!(partysync_protocol::WireError::from(ErrorCode::from_code(code).unwrap()));
        let expected = match invalid.answer.as_ref().unwrap() {
            Answer::Error { error } => json!({"type": "error", "error": wire(error)}),
            Answer::Reject { reject, number } => {
                json!({"type": "reject", "room": ROOM, "number": number, "error": wire(reject)})
            }
        };
        assert_eq!(answer, expected, "{}", invalid.name);
        is_quiet(&mut client).await.unwrap_or_else(|error| panic!("{}: {error}", invalid.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_2_the_server_answers_first_frames_as_the_vectors_say() {
    let served = serve().await;
    let v2 = [("sec-websocket-protocol", "partysync.v2")];
    for first in up().first {
        let headers = if first.subprotocol { &v2[..] } else { &[] };
        let mut client =
            Client::try_connect_with(served.address, PATH, headers).await.unwrap_or_else(|e| panic!("{e:?}"));
        send(&mut client, first.text.build()).await;
        let answer = match client.receive_message().await {
            Some(Message::Close(Some(close))) => FirstAnswer::Close(close.code.into()),
            Some(Message::Text(text)) => {
                let answer: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
                if answer["type"] == "welcome" { FirstAnswer::Welcome } else { FirstAnswer::Version1 }
            }
            other => panic!("{}: {other:?}", first.name),
        };
        assert_eq!(answer, first.answer, "{}", first.name);
    }
}
