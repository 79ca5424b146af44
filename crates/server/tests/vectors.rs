//! The test vectors (`vectors/`), against the server, over real sockets. What needs more of a server than frames is for the room's own
//! tests.
#![allow(clippy::unwrap_used, clippy::panic)]

/// The app of the vectors, as the room's tests have it.
#[path = "../../room/tests/vectors/app.rs"]
mod app;
mod support;

use std::collections::BTreeMap;

use app::{ROOM, Todos};
use partysync_protocol::ErrorCode;
use partysync_vectors::{Answer, Bound, Dialogue, FirstAnswer, Side, Step, dialogues, up};
use serde_json::{Value as Json, json};
use support::{Client, Served, serve_with};
use tokio_tungstenite::tungstenite::Message;

const PATH: &str = "/parties/todos/lobby";

async fn serve() -> Served {
    serve_with(|builder| builder.party("todos", || Todos)).await
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

async fn play(dialogue: &Dialogue) -> Result<(), String> {
    let served = serve().await;
    let mut sockets: BTreeMap<&str, Client> = BTreeMap::new();
    let mut bound = Bound::default();
    for (place, step) in dialogue.steps.iter().enumerate() {
        let wrong = |why: String| format!("step {place}, {step:?}:\n{why}");
        let Some(name) = step.on() else { continue };
        match step {
            Step::Open { .. } => drop(sockets.insert(name, Client::connect(served.address, PATH).await)),
            Step::Close { .. } => {
                let mut gone = sockets.remove(name).ok_or_else(|| wrong("it has no socket".to_owned()))?;
                is_quiet(&mut gone).await.map_err(wrong)?;
            }
            Step::Up { lost: false, frame, .. } => {
                let socket = sockets.get_mut(name).ok_or_else(|| wrong("it has no socket".to_owned()))?;
                send(socket, bound.to_server(frame).to_string()).await;
            }
            Step::Down { frame, .. } => {
                let socket = sockets.get_mut(name).ok_or_else(|| wrong("it has no socket".to_owned()))?;
                bound.compare(frame, &socket.receive().await).map_err(wrong)?;
            }
            _ => {}
        }
    }
    for socket in sockets.values_mut() {
        is_quiet(socket).await?;
    }
    bound.check_order()
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_8_the_server_takes_its_part_in_the_dialogues() {
    let mut played = 0;
    for (file, dialogue) in dialogues() {
        if dialogue.tests.contains(&Side::Server) && dialogue.needs.is_empty() {
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
