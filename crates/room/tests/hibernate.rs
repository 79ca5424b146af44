//! P12: a room leaves memory while its sockets stay open, and its clients do not see it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{Mirror, World, put, v1_action};
use partysync_protocol::{limits, v2};
use partysync_room::{ConnectionId, ConnectionInfo, ConnectionState, Effect, Event};
use serde_json::{Value as Json, json};

#[test]
fn p12_clients_of_both_versions_do_not_see_that_the_room_slept() {
    let mut world = World::new();
    let mut screen = world.v1(1);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    world.handle(vec![put(1, "a")]);
    screen.see(&world.effects);
    mirror.see(&world.effects);

    let mut world = world.slept();
    assert!(world.effects.iter().all(|e| matches!(e, Effect::WakeAt(_))), "{:?}", world.effects);
    let put_b = mirror.action(1, "put", json!({"id": "b", "slug": null, "name": ""}));
    world.handle(vec![put_b, put(1, "c")]);
    screen.see(&world.effects);
    mirror.see(&world.effects);
    let rows = world.rows();
    assert_eq!((rows.len(), &screen.rows, &mirror.rows), (3, &rows, &rows));
    assert_eq!(mirror.settled, [(1, Ok(2))]);

    // Number 1 is not run twice, and whoever had not synced a channel still has not.
    let again = mirror.action(1, "put", json!({"id": "b", "slug": null, "name": ""}));
    let mut world = world.slept();
    world.handle(vec![again]);
    mirror.see(&world.effects);
    assert_eq!(mirror.settled, [(1, Ok(2)), (1, Ok(3))]);
}

#[test]
fn p12_what_a_socket_has_not_asked_for_it_does_not_get_after_sleep_either() {
    let mut world = World::new();
    let c = ConnectionId(1);
    world.handle(vec![
        Event::opened(c),
        Event::text(c, json!({"channel": "parts", "sync": true, "from": null}).to_string()),
        Event::opened(ConnectionId(2)),
        Event::opened(ConnectionId(3)),
        Event::text(ConnectionId(3), v2::Up::Hello { versions: vec![2] }.encode()),
    ]);
    let mut world = world.slept();
    world.handle(vec![Event::opened(ConnectionId(4)), put(4, "a")]);
    assert!(world.sent_to(1).is_empty());
    assert!(world.sent_to(2).is_empty());
    assert!(world.sent_to(3).is_empty());
    // The one that had not spoken may still choose, the one that said hello may not do so again.
    let hello = v2::Up::Hello { versions: vec![2] }.encode();
    world.handle(vec![Event::text(ConnectionId(2), hello.clone()), Event::text(ConnectionId(3), hello)]);
    assert_eq!(world.sent_to(2)[0]["type"], "welcome");
    assert_eq!(world.sent_to(3)[0]["type"], "error");
}

/// `on_start` may change rows: the room that wakes is further than the one that slept.
#[test]
fn p1_what_changed_as_the_room_woke_reaches_the_sockets_that_slept() {
    let mut world = World::new();
    let mut screen = world.v1(1);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    world.handle(vec![put(1, "a"), put(1, "b")]);
    screen.see(&world.effects);
    mirror.see(&world.effects);
    let states = {
        let asleep = world.asleep();
        let mut awake = asleep.0;
        // As if `on_start` had done it: another instance of the room did, with nobody there.
        awake.handle(vec![
            Event::opened(ConnectionId(9)),
            v1_action(9, "1", "delete", json!("a")),
            put(9, "c"),
            Event::closed(ConnectionId(9)),
        ]);
        world = awake;
        asleep.1
    };
    world.restore(states);
    screen.see(&world.effects);
    mirror.see(&world.effects);
    let rows = world.rows();
    assert_eq!((rows.len(), &screen.rows, &mirror.rows), (2, &rows, &rows));
    assert_eq!(mirror.cursor, Some(world.room.cursor()));
}

#[test]
fn p7_a_socket_of_another_history_is_closed_and_comes_back() {
    let mut world = World::new();
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    world.handle(vec![mirror.action(1, "new", Json::Null)]);
    let (_, states) = world.asleep();
    let mut other = World::new();
    other.restore(states);
    let closed = other.effects.iter().any(|e| matches!(e, Effect::Close { code: 1012, .. }));
    assert!(closed, "{:?}", other.effects);
    other.handle(vec![mirror.action(2, "new", Json::Null)]);
    assert_eq!((other.version(), other.sent_to(2)), (0, vec![]), "nothing that it sends counts any more");
}

#[test]
fn spec_11_the_state_of_a_connection_fits_connection_bytes_whatever_it_holds() {
    let mut world = World::new();
    let info = ConnectionInfo {
        key: Some("\u{1}".repeat(limits::CONNECTION_ID_BYTES)),
        identity: Some("\u{1}".repeat(256)),
        data: Some(json!({"x": "x".repeat((8 << 10) - 8)}).to_string().into()),
    };
    assert_eq!(info.data.as_ref().unwrap().len(), 8 << 10);
    world.handle(vec![Event::Opened { connection: ConnectionId(1), info: info.clone() }]);
    let (_, states) = world.asleep();
    let json = states[0].1.to_text();
    assert!(json.len() <= limits::CONNECTION_BYTES, "{}", json.len());
    assert_eq!(ConnectionState::from_text(&json).as_ref(), Ok(&states[0].1));
    assert!(ConnectionState::from_text("{}").is_err());
}

/// A home that keeps what is to be known of its sockets as it changes, for a room that may go without a word.
#[derive(Default)]
struct Keeper(BTreeMap<ConnectionId, ConnectionState>);

impl Keeper {
    fn keep(&mut self, world: &mut World) {
        for id in world.room.touched() {
            match world.room.connection_state(id) {
                Some(state) => self.0.insert(id, ConnectionState::from_text(&state.to_text()).unwrap()),
                None => self.0.remove(&id),
            };
        }
    }
}

#[test]
fn p12_a_room_that_goes_without_a_word_finds_its_sockets_by_what_its_home_kept() {
    let (mut world, mut keeper) = (World::new(), Keeper::default());
    keeper.keep(&mut world);
    let mut screen = world.v1(1);
    keeper.keep(&mut world);
    let mut mirror = Mirror::new(2);
    mirror.join(&mut world);
    keeper.keep(&mut world);
    world.handle(vec![Event::opened(ConnectionId(3)), Event::opened(ConnectionId(4))]);
    keeper.keep(&mut world);
    let put_a = mirror.action(1, "put", json!({"id": "a", "slug": null, "name": ""}));
    world.handle(vec![put_a, put(1, "b"), Event::closed(ConnectionId(4))]);
    screen.see(&world.effects);
    mirror.see(&world.effects);
    let mut listeners = world.room.touched();
    listeners.retain(|id| world.room.connection_state(*id).is_some());
    assert_eq!(listeners, [ConnectionId(1), ConnectionId(2)], "those that only listen, or do nothing, cost nothing");
    keeper.0.remove(&ConnectionId(4));

    let mut world = world.reopened();
    world.room.touched();
    world.restore(keeper.0.clone().into_iter().collect());
    assert!(world.effects.iter().all(|e| matches!(e, Effect::WakeAt(_))), "{:?}", world.effects);
    assert_eq!(world.room.connections(), 3);
    world.handle(vec![mirror.action(2, "put", json!({"id": "c", "slug": null, "name": ""})), put(1, "d")]);
    screen.see(&world.effects);
    mirror.see(&world.effects);
    let rows = world.rows();
    assert_eq!((rows.len(), &screen.rows, &mirror.rows), (4, &rows, &rows));
    assert!(world.sent_to(3).is_empty(), "it had not asked for anything");
}

#[test]
fn spec_8_25_who_says_what_it_has_is_heard_by_the_home() {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    let have = v2::Up::Have { room: world.room.name().address().to_owned().into(), version: 7, number: 0 }.encode();
    world.handle(vec![
        Event::text(ConnectionId(1), have.clone()),
        Event::opened(ConnectionId(2)),
        Event::text(ConnectionId(2), have),
    ]);
    let has: Vec<_> = world.effects.iter().filter(|e| matches!(e, Effect::Has { .. })).collect();
    assert_eq!(has, [&Effect::Has { connection: ConnectionId(1), version: 7 }], "and not of one that has not joined");
    assert!(world.room.connection_state(ConnectionId(1)).unwrap().says_what_it_has());
    assert!(!world.room.connection_state(ConnectionId(2)).unwrap().says_what_it_has());
}
