//! Single frames, as a client takes them.

use partysync_client::{Client, Config, Effect, Event, Input};
use partysync_protocol::delay_ms;
use partysync_vectors::{Delay, ROOM, delays, down, tables};
use serde_json::json;

fn handle(client: &mut Client, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    client.handle(Input { now: 1_700_000_000_000, random: [7; 16] }, event, &mut effects);
    effects
}

fn joined() -> Client {
    let mut client = Client::new(Config { room: ROOM.to_owned(), tables: tables(), apply: None }, [1; 16]);
    handle(&mut client, Event::Opened);
    for frame in [
        json!({"type": "welcome", "version": 2, "rooms": 1, "ping_ms": 25_000, "frame_bytes": 1 << 20}),
        json!({"type": "joined", "room": ROOM, "version": 1, "stamp": 7, "last": 0, "known": true, "reset": true, "channels": {}}),
        json!({"type": "snapshot", "room": ROOM, "channel": "todos", "rows": [], "more": false}),
    ] {
        handle(&mut client, Event::Text(frame.to_string()));
    }
    assert!(client.is_live());
    client
}

#[test]
fn spec_8_1_what_is_no_message_makes_a_client_reconnect_and_what_is_unknown_is_ignored() {
    for invalid in down().invalid {
        let effects = handle(&mut joined(), Event::Text(invalid.text.build()));
        assert!(effects.contains(&Effect::Reconnect), "{}: {effects:?}", invalid.name);
    }
    for valid in down().valid {
        let effects = handle(&mut joined(), Event::Text(valid.text.build()));
        let is_unknown = valid.means.unwrap()["type"] == "unknown";
        let did = effects.iter().filter(|e| !matches!(e, Effect::TickAt(_))).count();
        assert!(!is_unknown || did == 0, "{}: {effects:?}", valid.name);
    }
}

#[test]
fn spec_8_27_a_client_waits_as_long_as_the_vectors_say() {
    let all = delays();
    for Delay { code, failures, random, ms } in &all {
        assert_eq!(delay_ms(*code, *failures, *random), *ms, "code {code}, {failures} failures, random {random}");
    }
    assert!(all.len() > 30, "where are they?");
}
