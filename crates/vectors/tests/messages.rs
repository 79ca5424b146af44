//! SPEC 8, 12.1, 5.6: single messages and ids, as the protocol's crate reads them.
#![allow(clippy::unwrap_used, clippy::panic)]

use partysync_model::Seed;
use partysync_protocol::v2::{self, Down, Up};
use partysync_protocol::{ClientId, v1};
use partysync_vectors as vectors;
use serde_json::{Value as Json, json};

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// What a message down says, as JSON.
fn meaning(down: Down<'_>) -> Json {
    let raw = |rows: &[&serde_json::value::RawValue]| rows.iter().map(|row| json(row.get())).collect::<Vec<_>>();
    match down {
        Down::Welcome(m) => json(&v2::encode(&m)),
        Down::Joined(m) => json(&v2::encode(&m)),
        Down::Snapshot(m) => {
            json!({"type": "snapshot", "room": m.room, "channel": m.channel, "rows": raw(&m.rows), "more": m.more})
        }
        Down::Patch(m) => {
            let changes = m
                .changes
                .iter()
                .map(|c| json!({"channel": c.channel, "puts": raw(&c.puts), "deletes": raw(&c.deletes)}));
            json!({"type": "patch", "room": m.room, "from": m.from, "to": m.to, "stamp": m.stamp,
                   "changes": changes.collect::<Vec<_>>()})
        }
        Down::Ack { room, number, version } => json(&v2::ack(&room, number, version)),
        Down::Reject(m) => json(&v2::encode(&m)),
        Down::Later(m) => json(&v2::encode(&m)),
        Down::Error(m) => json(&v2::encode(&m)),
        Down::Message { room, text } => json(&v2::message(&room, &text)),
        Down::Pong => json(&v2::pong()),
        Down::Left(m) => json(&v2::encode(&m)),
        Down::Expires(m) => json(&v2::encode(&m)),
        Down::Unknown => json!({"type": "unknown"}),
    }
}

#[test]
fn spec_8_what_clients_send_is_read_as_the_vectors_say() {
    let messages = vectors::up();
    assert_eq!(messages.version, v2::VERSION);
    for valid in &messages.valid {
        let text = valid.text.build();
        let up = Up::parse(&text).unwrap_or_else(|_| panic!("not read: {}", valid.name));
        if let Some(means) = &valid.means {
            assert_eq!(&json(&up.encode()), means, "{}", valid.name);
        }
    }
    for invalid in &messages.invalid {
        let text = invalid.text.build();
        if let Ok(up) = Up::parse(&text) {
            // What is too large for the room can be read all the same.
            let Some(vectors::Answer::Reject { reject, .. }) = &invalid.answer else {
                panic!("read: {}", invalid.name)
            };
            let Up::Action { action, .. } = up else { panic!("{}", invalid.name) };
            assert_eq!(&Up::check_action(action.get()).unwrap_err().to_string(), reject, "{}", invalid.name);
        }
    }
}

#[test]
fn spec_8_what_servers_send_is_read_as_the_vectors_say() {
    let messages = vectors::down();
    assert_eq!(messages.version, v2::VERSION);
    for valid in &messages.valid {
        let text = valid.text.build();
        let down = Down::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", valid.name));
        assert_eq!(Some(meaning(down)), valid.means, "{}", valid.name);
    }
    for invalid in &messages.invalid {
        assert!(Down::parse(&invalid.text.build()).is_err(), "{}", invalid.name);
    }
}

#[test]
fn spec_12_1_what_clients_of_version_1_send_is_read_as_the_vectors_say() {
    let messages = vectors::v1();
    for valid in &messages.valid {
        let text = valid.text.build();
        let means = match v1::Up::parse(&text).unwrap_or_else(|_| panic!("not read: {}", valid.name)) {
            v1::Up::Sync { channel, from: v1::From::Nothing } => json!({"sync": channel, "from": "nothing"}),
            v1::Up::Sync { channel, from: v1::From::Unknown } => json!({"sync": channel, "from": "unknown"}),
            v1::Up::Sync { channel, from: v1::From::Time(time) } => json!({"sync": channel, "from": time}),
            v1::Up::Action { id, channel, .. } => json!({"action": channel, "id": json(id.get())}),
        };
        assert_eq!(Some(means), valid.means, "{}", valid.name);
    }
    for invalid in &messages.invalid {
        assert!(v1::Up::parse(&invalid.text.build()).is_err(), "{}", invalid.name);
    }
}

#[test]
fn spec_5_6_and_8_5_ids_are_as_the_vectors_say() {
    let ids = vectors::ids();
    assert_eq!(ids.version, v2::VERSION);
    for good in &ids.client_ids {
        assert_eq!(good.text.parse::<ClientId>().unwrap().to_string(), good.text);
    }
    for bad in &ids.not_client_ids {
        assert!(bad.text.parse::<ClientId>().is_err(), "{}", bad.text);
    }
    for made in &ids.new_ids {
        let seed = Seed::of_action(&made.client.parse().unwrap(), made.number);
        assert_eq!(seed.id(made.index), made.id, "{made:?}");
    }
}
