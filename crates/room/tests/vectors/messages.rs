//! Single frames, as a room answers them.

use partysync_protocol::ErrorCode;
use partysync_room::{ConnectionId, ConnectionInfo, Event};
use partysync_vectors::{Answer, FirstAnswer, ROOM, up};
use serde_json::json;

use super::server::{Done, Server, done};

const CONNECTION: ConnectionId = ConnectionId(1);

fn send(server: &mut Server, text: impl Into<String>) -> Vec<Done> {
    done(&server.handle(Event::text(CONNECTION, text))).into_iter().map(|(_, done)| done).collect()
}

fn joined() -> Server {
    let mut server = Server::new();
    server.handle(Event::opened(CONNECTION));
    send(&mut server, json!({"type": "hello", "versions": [2]}).to_string());
    let client = "00112233445566778899aabbccddeeff";
    let sent = send(&mut server, json!({"type": "join", "room": ROOM, "client": client}).to_string());
    assert!(matches!(&sent[0], Done::Sent(joined) if joined["type"] == "joined"), "{sent:?}");
    server
}

#[test]
fn spec_8_1_and_8_6_frames_that_are_no_message_are_answered_as_the_vectors_say() {
    for invalid in up().invalid {
        let mut server = joined();
        let expected = match invalid.answer.unwrap() {
            Answer::Error { error } => json!({"type": "error", "error": error}),
            Answer::Reject { reject, number } => {
                json!({"type": "reject", "room": ROOM, "number": number, "error": reject})
            }
        };
        let sent = send(&mut server, invalid.text.build());
        let [Done::Sent(frame)] = &sent[..] else { panic!("{}: {sent:?}", invalid.name) };
        let mut frame = frame.clone();
        let error = frame["error"].take();
        let code = ErrorCode::from_code(error["code"].as_str().unwrap()).unwrap();
        assert_eq!(error, json!(partysync_protocol::WireError::from(code)), "{}", invalid.name);
        frame["error"] = json!(code);
        assert_eq!(frame, expected, "{}", invalid.name);
    }
}

#[test]
fn spec_8_messages_that_are_valid_are_never_called_bad() {
    for valid in up().valid {
        let sent = send(&mut joined(), valid.text.build());
        // A hello comes too late here, and not all that can be read is an action of this app.
        let may_fail = valid.name.contains("hello");
        let is_bad = |done: &Done| matches!(done, Done::Sent(f) if f["error"]["code"] == "bad_message");
        assert!(may_fail || !sent.iter().any(is_bad), "{}: {sent:?}", valid.name);
    }
}

#[test]
fn spec_8_2_first_frames_are_answered_as_the_vectors_say() {
    for first in up().first {
        let mut server = Server::new();
        let (connection, info) = (CONNECTION, ConnectionInfo::default());
        server.handle(match first.subprotocol {
            true => Event::OpenedV2 { connection, info, is_further: false },
            false => Event::Opened { connection, info },
        });
        let sent = send(&mut server, first.text.build());
        let answer = match &sent[..] {
            [Done::Sent(frame)] if frame["type"] == "welcome" => {
                assert_eq!(frame["version"], 2);
                FirstAnswer::Welcome
            }
            [Done::Closed(code)] => FirstAnswer::Close(*code),
            // Version 1's answer, or the app's, which takes any text: it is version 1 for good.
            [Done::Sent(_)] => {
                let hello = json!({"type": "hello", "versions": [2]});
                let sent = send(&mut server, hello.to_string());
                assert!(matches!(&sent[..], [Done::Sent(echo)] if *echo == hello), "{}: {sent:?}", first.name);
                FirstAnswer::Version1
            }
            _ => panic!("{}: {sent:?}", first.name),
        };
        assert_eq!(answer, first.answer, "{}", first.name);
    }
}
