//! SPEC 8.2 and 8.32: sockets of which the room knows from the start that they speak version 2.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ROOM, World};
use partysync_protocol::{ClientId, v2};
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event};
use serde_json::{Value as Json, json};

fn opened(connection: u64, is_further: bool) -> Event {
    Event::OpenedV2 { connection: ConnectionId(connection), info: ConnectionInfo::default(), is_further }
}

fn frame(connection: u64, frame: &Json) -> Event {
    Event::text(ConnectionId(connection), frame.to_string())
}

fn hello(connection: u64) -> Event {
    frame(connection, &json!({"type": "hello", "versions": [2]}))
}

fn join(connection: u64) -> Event {
    let client = ClientId::from_random([connection as u8; 16]);
    let join = v2::Up::Join { room: ROOM.into(), client, cursor: None, born: None, token: None };
    Event::text(ConnectionId(connection), join.encode())
}

fn put(connection: u64, number: u64) -> Event {
    let action = json!({"type": "put", "payload": {"id": format!("{connection}-{number}"), "slug": null, "name": ""}});
    let put = json!({"type": "action", "room": ROOM, "number": number, "channel": "items", "action": action});
    frame(connection, &put)
}

fn leave(connection: u64) -> Event {
    frame(connection, &json!({"type": "leave", "room": ROOM}))
}

fn types(world: &World, connection: u64) -> Vec<String> {
    world.sent_to(connection).iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
}

/// The last frame that puts a connection out for good.
fn last_of(world: &World, connection: u64) -> Option<Json> {
    world.effects.iter().find_map(|effect| match effect {
        Effect::Leave { connection: c, frame } if c.0 == connection => Some(serde_json::from_str(frame).unwrap()),
        _ => None,
    })
}

fn closed(world: &World) -> Vec<(u64, u16)> {
    let closed = |effect: &Effect| match effect {
        Effect::Close { connection, code, .. } => Some((connection.0, *code)),
        _ => None,
    };
    world.effects.iter().filter_map(closed).collect()
}

#[test]
fn spec_8_2_a_socket_of_the_subprotocol_says_hello_first_or_is_closed() {
    let mut world = World::new();
    let sync = json!({"channel": "items", "sync": true, "from": null});
    for first in [sync, json!({"type": "ping"}), json!({"type": "hello", "versions": [9]})] {
        world.handle(vec![opened(1, false), frame(1, &first), hello(1)]);
        assert_eq!((closed(&world), world.sent_to(1)), (vec![(1, 4400)], vec![]), "{first}");
        world.handle(vec![Event::closed(ConnectionId(1))]);
    }
    world.handle(vec![opened(1, false), Event::Binary { connection: ConnectionId(1), bytes: vec![1] }]);
    assert_eq!(closed(&world), [(1, 4400)]);

    world.handle(vec![opened(2, false), hello(2), join(2)]);
    assert_eq!(types(&world, 2)[..2], ["welcome", "joined"]);
}

#[test]
fn spec_8_2_a_socket_of_the_subprotocol_that_slept_still_says_hello_first() {
    let mut world = World::new();
    world.handle(vec![opened(1, false), opened(2, false)]);
    let mut world = world.slept();
    assert_eq!(closed(&world), []);
    world.handle(vec![frame(1, &json!({"channel": "items", "sync": true, "from": null})), hello(2)]);
    assert_eq!((closed(&world), types(&world, 2)), (vec![(1, 4400)], vec!["welcome".to_owned()]));
}

#[test]
fn spec_8_7_welcome_says_how_many_rooms_the_home_takes_on_a_socket() {
    let mut world = World::new();
    world.handle(vec![Event::opened(ConnectionId(1)), hello(1)]);
    assert_eq!(world.sent_to(1)[0]["rooms"], 1);
    world.room.set_socket_rooms(32);
    world.handle(vec![opened(2, false), hello(2)]);
    assert_eq!(world.sent_to(2)[0]["rooms"], 32);
}

#[test]
fn spec_8_32_a_further_room_needs_no_hello_and_is_left_for_good() {
    let mut world = World::new();
    world.handle(vec![opened(1, true), join(1), put(1, 1)]);
    assert_eq!(types(&world, 1)[0], "joined", "no welcome");
    // What it asked for before it left is answered.
    world.handle(vec![put(1, 2), leave(1), put(1, 3)]);
    assert_eq!(types(&world, 1), ["ack"]);
    assert_eq!(last_of(&world, 1), Some(json!({"type": "left", "room": ROOM})));
    assert_eq!(world.version(), 2, "what it asked for after that is not run");
    world.handle(vec![join(1), put(1, 3), Event::text(ConnectionId(1), "nonsense")]);
    assert_eq!(world.sent_to(1), Vec::<Json>::new(), "nothing that it sends counts any more");
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, true), join(2)]);
    assert_eq!(types(&world, 2)[0], "joined");
}

#[test]
fn spec_8_32_a_further_room_is_left_for_good_by_who_slept_too() {
    let mut world = World::new();
    world.handle(vec![opened(1, true), join(1), opened(2, false), hello(2), join(2)]);
    let mut world = world.slept();
    world.handle(vec![leave(1), leave(2)]);
    assert!(last_of(&world, 1).is_some());
    // The room of the socket's URL may be joined again.
    assert_eq!((last_of(&world, 2), types(&world, 2)), (None, vec!["left".to_owned()]));
    world.handle(vec![join(2)]);
    assert_eq!(types(&world, 2)[0], "joined");
}

#[test]
fn spec_8_3_who_has_left_a_room_is_sent_nothing_more_of_it_and_has_nothing_run() {
    let mut world = World::new();
    world.handle(vec![opened(1, false), hello(1), join(1), opened(2, false), hello(2), join(2)]);
    // All in one batch, with a change of somebody else.
    world.handle(vec![put(1, 1), leave(1), put(1, 2), leave(1), put(2, 1)]);
    assert_eq!(types(&world, 1), ["ack", "left", "error", "error"]);
    assert_eq!(world.sent_to(1)[2]["error"]["code"], "not_joined");
    assert_eq!((types(&world, 2), world.version()), (vec!["ack".to_owned(), "patch".to_owned()], 2));
    // Who comes back in the batch is in the room.
    world.handle(vec![join(1), put(1, 2), leave(1), join(1), put(1, 3), put(2, 2)]);
    let sent = types(&world, 1);
    let left = sent.iter().position(|kind| kind == "left").unwrap();
    assert_eq!((&*sent[left + 1], &*sent[sent.len() - 1]), ("joined", "ack"), "its snapshot holds the rest");
    assert_eq!(world.version(), 5);
    // So is one that wanted to be another client, and was put out for that.
    let client = ClientId::from_random([2; 16]);
    let ann = ConnectionInfo { identity: Some("ann".to_owned()), ..ConnectionInfo::default() };
    let stolen = v2::Up::Join { room: ROOM.into(), client, cursor: None, born: None, token: None };
    let opened_by_ann = Event::OpenedV2 { connection: ConnectionId(3), info: ann, is_further: false };
    world.handle(vec![opened_by_ann, hello(3), join(3)]);
    world.handle(vec![Event::text(ConnectionId(3), stolen.encode()), put(2, 3)]);
    assert_eq!(types(&world, 3), ["left"]);
}

#[test]
fn spec_8_32_whose_client_is_taken_is_out_of_a_further_room() {
    let mut world = World::new();
    let ann = ConnectionInfo { identity: Some("ann".to_owned()), ..ConnectionInfo::default() };
    let opened_by_ann = Event::OpenedV2 { connection: ConnectionId(1), info: ann, is_further: true };
    world.handle(vec![opened_by_ann, join(1), put(1, 1)]);
    let client = ClientId::from_random([1; 16]);
    let stolen = v2::Up::Join { room: ROOM.into(), client, cursor: None, born: None, token: None };
    world.handle(vec![opened(2, true), Event::text(ConnectionId(2), stolen.encode()), put(2, 2)]);
    assert_eq!(last_of(&world, 2).unwrap()["error"]["code"], "client_taken");
    assert_eq!(world.sent_to(2), Vec::<Json>::new());
}
