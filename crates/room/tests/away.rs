//! SPEC 12.11 and 12.13: what a version 1 page gets that comes back, and asks for nothing or for a channel that it did not show before.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Mirror, START, Screen, World, put, v1_action};
use partysync_model::Db;
use partysync_protocol::limits::{AWAY_DAYS, AWAY_KEPT, DAY_MS};
use partysync_protocol::v2;
use partysync_room::{Arrived, ConnectionId, ConnectionInfo, Effect, Event};
use partysync_sqlite::SqliteDb;
use serde_json::{Value as Json, json};

/// The connection of somebody else, who changes rows.
const OTHER: u64 = 99;

fn opened(connection: u64, key: &str) -> Event {
    let info = ConnectionInfo { key: Some(key.to_owned()), ..ConnectionInfo::default() };
    Event::Opened { connection: ConnectionId(connection), info }
}

fn sync(connection: u64, channel: &str) -> Event {
    Event::text(ConnectionId(connection), json!({"channel": channel, "sync": true, "from": null}).to_string())
}

fn quiet(connection: u64) -> Event {
    Event::Quiet { connection: ConnectionId(connection) }
}

fn delete(id: &str) -> Event {
    v1_action(OTHER, &format!("delete {id}"), "delete", json!(id))
}

/// Makes a row of the other channel.
fn part(id: u64) -> Event {
    v1_action(OTHER, &format!("part {id}"), "sql", json!([format!("INSERT INTO parts (id) VALUES ({id})")]))
}

/// All that a connection was sent so far has arrived.
fn arrive(world: &mut World, connection: u64, channels: u8) {
    let version = world.version();
    world.room.arrived(ConnectionId(connection), Arrived { version, channels });
}

/// A room with `a` and `b`, and somebody who changes it.
fn world() -> World {
    let mut world = World::new();
    world.handle(vec![opened(OTHER, "other"), put(OTHER, "a"), put(OTHER, "b"), part(1)]);
    world
}

/// A page that has synced both channels, to which everything has arrived.
fn page(world: &mut World, connection: u64, key: &str) -> Screen {
    world.handle(vec![opened(connection, key), sync(connection, "items"), sync(connection, "parts")]);
    let mut screen = Screen { connection: ConnectionId(connection), rows: Default::default(), answers: vec![] };
    screen.see(&world.effects);
    arrive(world, connection, 2);
    screen
}

/// The page's socket is gone, and the room knows.
fn cut(world: &mut World, screen: &Screen) {
    world.handle(vec![Event::closed(screen.connection)]);
}

/// The page comes back on another socket with the same key, and asks for nothing.
fn come_back(world: &mut World, screen: &mut Screen, connection: u64, key: &str) {
    screen.connection = ConnectionId(connection);
    world.handle(vec![opened(connection, key)]);
    assert!(world.sent_to(connection).is_empty(), "nothing before its time");
    world.handle(vec![quiet(connection)]);
    screen.see(&world.effects);
}

/// The ids in what a connection is sent by the last `handle`, by channel; all of it is updates.
fn updates(world: &World, connection: u64) -> Vec<(String, Vec<Json>)> {
    let of_channel = |frame: &Json| {
        assert_eq!((&frame["broadcast"], &frame["type"]), (&json!(true), &json!("update")));
        let ids = frame["payload"].as_array().unwrap().iter().map(|row| row[0].clone()).collect();
        (frame["channel"].as_str().unwrap().to_owned(), ids)
    };
    world.sent_to(connection).iter().map(of_channel).collect()
}

fn items(ids: &[&str]) -> (String, Vec<Json>) {
    ("items".to_owned(), ids.iter().map(|id| json!(id)).collect())
}

fn parts(ids: &[u64]) -> (String, Vec<Json>) {
    ("parts".to_owned(), ids.iter().map(|id| json!(id)).collect())
}

#[test]
fn spec_12_11_a_page_that_comes_back_gets_what_changed_since_with_the_deletions() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    world.handle(vec![put(OTHER, "c"), delete("a"), put(OTHER, "d"), delete("d")]);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2), [items(&["c", "a", "d"])], "what changed, and no more");
    assert_eq!(screen.rows, world.rows());
    // And what comes from now on.
    world.handle(vec![put(OTHER, "e"), part(2)]);
    screen.see(&world.effects);
    assert_eq!(screen.rows, world.rows());
    // Nothing is missing: nothing is sent.
    arrive(&mut world, 2, 2);
    cut(&mut world, &screen);
    come_back(&mut world, &mut screen, 3, "pk");
    assert!(updates(&world, 3).is_empty());
}

#[test]
fn spec_12_11_what_was_sent_and_is_not_known_to_have_arrived_is_sent_again() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    // These go out, and never arrive.
    world.handle(vec![put(OTHER, "c"), delete("b")]);
    cut(&mut world, &screen);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2), [items(&["c", "b"])]);
    // So does what is volunteered: what arrived before still counts.
    cut(&mut world, &screen);
    come_back(&mut world, &mut screen, 3, "pk");
    assert_eq!(updates(&world, 3), [items(&["c", "b"])]);
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_11_a_channel_whose_first_rows_are_not_known_to_have_arrived_is_sent_whole() {
    let mut world = world();
    world.handle(vec![delete("b")]);
    // The answer for the first channel arrives. The second one's, and that it asked at all, may be lost.
    for asked in [vec!["items"], vec!["items", "parts"]] {
        world.handle(vec![opened(1, "pk"), sync(1, "items")]);
        arrive(&mut world, 1, 1);
        world.handle(asked[1..].iter().map(|channel| sync(1, channel)).collect());
        world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), quiet(2)]);
        assert_eq!(updates(&world, 2), [parts(&[1])], "{asked:?}");
        world.handle(vec![Event::Closed { connection: ConnectionId(2), code: Some(1001), reason: String::new() }]);
    }
    // A mark from before the second channel says nothing of it, even if it comes after its answer.
    world.handle(vec![opened(1, "pk"), sync(1, "items"), sync(1, "parts")]);
    arrive(&mut world, 1, 1);
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), quiet(2)]);
    assert_eq!(updates(&world, 2), [items(&["a", "b"]), parts(&[1])]);
}

#[test]
fn spec_12_11_a_page_that_nobody_knows_gets_everything_if_it_asks_for_nothing() {
    let mut world = world();
    world.handle(vec![delete("a"), put(OTHER, "c")]);
    for key in ["new", ""] {
        world.handle(vec![opened(1, key), quiet(1)]);
        assert_eq!(updates(&world, 1), [items(&["b", "c", "a"]), parts(&[1])], "live rows and tombstones");
        world.handle(vec![opened(2, key), quiet(2)]);
        let again = updates(&world, 2);
        assert_eq!(again.len(), 2, "{again:?}");
        world.handle(vec![Event::closed(ConnectionId(1)), Event::closed(ConnectionId(2))]);
    }
    world.handle(vec![Event::opened(ConnectionId(3)), quiet(3)]);
    assert_eq!(updates(&world, 3).len(), 2);
}

#[test]
fn spec_12_11_a_page_that_opens_gets_what_it_asks_for_and_nothing_else() {
    let mut world = world();
    world.handle(vec![opened(1, "new"), sync(1, "items"), quiet(1)]);
    assert_eq!(world.sent_to(1).len(), 1, "{:?}", world.sent_to(1));
    world.handle(vec![part(2)]);
    assert!(world.sent_to(1).is_empty());
    // One that waits for its browser's storage for long is volunteered everything, and may still ask.
    world.handle(vec![opened(2, "slow"), quiet(2)]);
    assert_eq!(updates(&world, 2).len(), 2);
    world.handle(vec![sync(2, "items")]);
    let mut frames = world.sent_to(2);
    world.handle(vec![put(OTHER, "c")]);
    frames.extend(world.sent_to(2));
    assert_eq!((&frames[0]["sync"], &frames[1]["payload"][0][0], frames.len()), (&json!(true), &json!("c"), 2));
}

/// The time of a version.
fn time(world: &mut World, version: u64) -> Json {
    world.query(&format!("SELECT at FROM _log WHERE version = {version}"))[0][0].clone()
}

/// A connection asks for the parts from the time of a version; returns those that it is sent.
fn parts_from(world: &mut World, connection: u64, version: u64) -> Vec<Json> {
    let from = time(world, version);
    let sync = json!({"channel": "parts", "sync": true, "from": from}).to_string();
    world.handle(vec![Event::text(ConnectionId(connection), sync)]);
    let rows = world.sent_to(connection)[0]["payload"].clone();
    rows.as_array().unwrap().iter().map(|row| row[0].clone()).collect()
}

/// A page that opens a view stores what comes before it has read what it had stored, and asks from then on.
#[test]
fn spec_12_13_who_was_volunteered_a_channel_is_not_believed_that_it_has_what_came_before() {
    let mut world = world();
    world.handle(vec![opened(1, "new"), quiet(1)]);
    world.handle(vec![part(2)]);
    let (mut world, states) = world.asleep();
    world.restore(states);
    assert_eq!(parts_from(&mut world, 1, 4), [1, 2]);
    assert_eq!(parts_from(&mut world, 1, 4), [2], "it is asked for once");
    // Nothing has come since it was volunteered: it knows what it has.
    world.handle(vec![opened(1, "newer"), quiet(1)]);
    assert_eq!(parts_from(&mut world, 1, 4), [2]);
    // A page that was loaded anew under the same name, and shows the channel later, has dropped what it missed.
    let screen = page(&mut world, 2, "pk");
    cut(&mut world, &screen);
    world.handle(vec![part(3), opened(3, "pk"), quiet(3)]);
    assert_eq!(updates(&world, 3), [parts(&[3])]);
    world.handle(vec![part(4)]);
    assert_eq!(parts_from(&mut world, 3, 6), [1, 2, 3, 4]);
}

/// It stored an update on one connection, before it had read what it had stored, and asks on the next.
#[test]
fn spec_12_13_who_did_not_ask_for_a_channel_on_its_other_connection_is_not_believed_either() {
    let mut world = world();
    world.handle(vec![opened(1, "pk"), quiet(1), sync(1, "items")]);
    arrive(&mut world, 1, 1);
    world.handle(vec![part(2), opened(2, "pk")]);
    assert_eq!(parts_from(&mut world, 2, 4), [1, 2], "the other is still there");
    world.handle(vec![Event::closed(ConnectionId(1)), Event::closed(ConnectionId(2)), opened(3, "pk")]);
    assert_eq!(parts_from(&mut world, 3, 4), [1, 2], "it is gone");
    let mut world = world.asleep().0;
    world.handle(vec![opened(4, "pk")]);
    assert_eq!(parts_from(&mut world, 4, 4), [1, 2], "the room has left memory since");
    // Another page, and one that had asked and got its answer.
    world.handle(vec![opened(5, "new")]);
    assert_eq!(parts_from(&mut world, 5, 4), [2]);
    let screen = page(&mut world, 6, "other");
    cut(&mut world, &screen);
    world.handle(vec![opened(7, "other")]);
    assert_eq!(parts_from(&mut world, 7, 4), [2]);
}

/// A page drops what it is sent of a channel that it does not show yet. When it shows it, the answer may be lost with the socket.
#[test]
fn spec_12_11_what_was_volunteered_and_not_asked_for_has_not_arrived() {
    let mut world = world();
    world.handle(vec![opened(1, "pk"), quiet(1)]);
    assert_eq!(updates(&world, 1), [items(&["a", "b"]), parts(&[1])]);
    arrive(&mut world, 1, 2);
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), quiet(2)]);
    assert_eq!(updates(&world, 2), [items(&["a", "b"]), parts(&[1])]);
    // It asks for one of them. A mark from before that says nothing of the answer.
    world.handle(vec![sync(2, "parts")]);
    let tracked = Effect::Track { connection: ConnectionId(2), channels: 1 };
    assert!(world.effects.contains(&tracked), "{:?}", world.effects);
    arrive(&mut world, 2, 2);
    world.handle(vec![Event::closed(ConnectionId(2)), opened(3, "pk"), quiet(3)]);
    assert_eq!(updates(&world, 3), [items(&["a", "b"]), parts(&[1])]);
    // Now the answer arrives, after the room has slept.
    world.handle(vec![sync(3, "parts")]);
    let (mut world, states) = world.asleep();
    world.restore(states);
    arrive(&mut world, 3, 1);
    world.handle(vec![Event::closed(ConnectionId(3)), opened(4, "pk"), quiet(4)]);
    assert_eq!(updates(&world, 4), [items(&["a", "b"])]);
    // What has arrived there counts from then on.
    world.handle(vec![opened(OTHER, "other"), part(2)]);
    arrive(&mut world, 4, 1);
    world.handle(vec![Event::closed(ConnectionId(4)), opened(5, "pk"), quiet(5)]);
    assert_eq!(updates(&world, 5), [items(&["a", "b"])]);
}

#[test]
fn spec_12_11_a_page_that_opens_another_view_as_it_comes_back_gets_the_rest_too() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    world.handle(vec![put(OTHER, "c"), part(2)]);
    // Its queue has an action and a sync, which it sends as soon as it is back.
    screen.connection = ConnectionId(2);
    world.handle(vec![opened(2, "pk"), put(2, "d"), sync(2, "parts")]);
    screen.see(&world.effects);
    assert_ne!(screen.rows, world.rows());
    world.handle(vec![quiet(2)]);
    screen.see(&world.effects);
    assert_eq!(updates(&world, 2), [items(&["c", "d"])], "its own row too: it may not wait for the answer any more");
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_11_a_socket_that_the_room_still_has_tells_what_arrived_and_is_not_counted_twice() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    world.handle(vec![put(OTHER, "c")]);
    screen.connection = ConnectionId(2);
    world.handle(vec![opened(2, "pk")]);
    assert!(world.effects.contains(&Effect::TellArrived { connection: ConnectionId(1) }), "{:?}", world.effects);
    world.handle(vec![put(OTHER, "d"), quiet(2)]);
    screen.see(&world.effects);
    assert_eq!(updates(&world, 2), [items(&["c", "d"])]);
    assert_eq!(screen.rows, world.rows());
    // Now the server finds out that nobody is at the first. What counts is what arrived at the second.
    arrive(&mut world, 2, 2);
    world.handle(vec![Event::closed(ConnectionId(1)), Event::closed(ConnectionId(2)), put(OTHER, "e")]);
    come_back(&mut world, &mut screen, 3, "pk");
    assert_eq!(updates(&world, 3), [items(&["e"])]);
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_11_of_several_pages_with_one_pk_the_one_that_has_least_counts() {
    let mut world = world();
    let mut phone = page(&mut world, 1, "same");
    cut(&mut world, &phone);
    world.handle(vec![put(OTHER, "c")]);
    // A second device with the same key opens its page, and goes too.
    let mut laptop = page(&mut world, 2, "same");
    cut(&mut world, &laptop);
    world.handle(vec![put(OTHER, "d"), delete("a")]);
    come_back(&mut world, &mut laptop, 3, "same");
    assert_eq!(laptop.rows, world.rows());
    arrive(&mut world, 3, 2);
    cut(&mut world, &laptop);
    world.handle(vec![put(OTHER, "e")]);
    come_back(&mut world, &mut phone, 4, "same");
    assert_eq!(phone.rows, world.rows());
    come_back(&mut world, &mut laptop, 5, "same");
    assert_eq!(laptop.rows, world.rows());
    // Both are there: each gets all updates.
    world.handle(vec![put(OTHER, "f")]);
    phone.see(&world.effects);
    laptop.see(&world.effects);
    assert_eq!((&phone.rows, &laptop.rows), (&world.rows(), &world.rows()));
}

#[test]
fn spec_12_11_one_pk_of_two_identities_is_two_pages() {
    let mut world = world();
    let screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    let info = ConnectionInfo { key: Some("pk".to_owned()), identity: Some("ann".to_owned()), data: None };
    world.handle(vec![Event::Opened { connection: ConnectionId(2), info }, quiet(2)]);
    assert_eq!(updates(&world, 2).len(), 2, "everything");
}

#[test]
fn spec_12_11_of_many_open_sockets_with_one_pk_none_is_asked_what_it_has() {
    let mut world = world();
    for connection in 1..=9 {
        page(&mut world, connection, "same");
    }
    world.handle(vec![opened(10, "same")]);
    let asked = world.effects.iter().filter(|e| matches!(e, Effect::TellArrived { .. })).count();
    assert_eq!(asked, 8);
    world.handle(vec![quiet(10)]);
    assert_eq!(updates(&world, 10).len(), 2, "everything");
}

#[test]
fn spec_12_11_a_connection_that_ends_before_its_time_changes_nothing() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    for connection in 2..5 {
        world.handle(vec![opened(connection, "pk"), put(connection, &format!("from {connection}"))]);
        world.handle(vec![Event::closed(ConnectionId(connection))]);
    }
    come_back(&mut world, &mut screen, 5, "pk");
    assert_eq!(updates(&world, 5), [items(&["from 2", "from 3", "from 4"])]);
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_11_a_page_that_was_left_is_not_remembered() {
    let mut world = world();
    page(&mut world, 1, "pk");
    world.handle(vec![Event::Closed { connection: ConnectionId(1), code: Some(1001), reason: String::new() }]);
    world.handle(vec![opened(2, "pk"), sync(2, "items"), quiet(2)]);
    assert_eq!(world.sent_to(2).len(), 1, "a page that opens");
}

#[test]
fn spec_14_6_a_hello_makes_a_socket_version_2_after_it_was_volunteered_something() {
    let mut world = world();
    let mut mirror = Mirror::new(1);
    world.handle(vec![opened(1, "pk"), quiet(1)]);
    assert_eq!(updates(&world, 1).len(), 2);
    let join = v2::Up::Join { room: common::ROOM.into(), client: mirror.client, cursor: None, born: None, token: None };
    let hello = v2::Up::Hello { versions: vec![2] };
    let texts = [hello.encode(), join.encode()].map(|text| Event::text(ConnectionId(1), text));
    world.handle(texts.into());
    mirror.see(&world.effects);
    world.handle(vec![put(OTHER, "c"), quiet(1)]);
    assert_eq!(world.sent_to(1).len(), 1, "a patch, and no update");
    mirror.see(&world.effects);
    assert_eq!(mirror.rows, world.rows());
    // Nobody waits for it to come back.
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), sync(2, "items"), quiet(2)]);
    assert_eq!(world.sent_to(2).len(), 1);
}

#[test]
fn spec_12_11_a_version_2_client_is_volunteered_nothing() {
    let mut world = world();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    world.handle(vec![quiet(1)]);
    assert!(world.sent_to(1).is_empty());
    // Nor one whose hello comes in the same moment.
    let hello = Event::text(ConnectionId(2), v2::Up::Hello { versions: vec![2] }.encode());
    world.handle(vec![Event::opened(ConnectionId(2)), quiet(2), hello]);
    assert_eq!(world.sent_to(2).len(), 1);
}

#[test]
fn p12_what_is_known_of_a_socket_outlives_sleep() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    // One was volunteered everything and has said nothing yet; one has not even been quiet for long.
    world.handle(vec![opened(2, "volunteered"), quiet(2), opened(3, "fresh")]);
    let (mut world, states) = world.asleep();
    let minds: Vec<bool> = states.iter().map(|(_, state)| state.minds_quiet()).collect();
    assert_eq!(minds, [true, true, true, true]);
    world.restore(states);
    world.handle(vec![put(OTHER, "c")]);
    assert_eq!((world.sent_to(1).len(), world.sent_to(2).len(), world.sent_to(3).len()), (1, 1, 0));
    world.handle(vec![quiet(3)]);
    assert_eq!(updates(&world, 3).len(), 2);
    // What arrived before the room slept is known after it.
    cut(&mut world, &screen);
    come_back(&mut world, &mut screen, 4, "pk");
    assert_eq!(updates(&world, 4), [items(&["c"])]);
    assert_eq!(screen.rows, world.rows());
    // The one that was volunteered everything may still say hello.
    world.handle(vec![Event::text(ConnectionId(2), v2::Up::Hello { versions: vec![2] }.encode())]);
    assert_eq!(world.sent_to(2)[0]["type"], "welcome");
}

#[test]
fn spec_12_11_a_room_that_left_memory_knows_who_was_away_and_who_was_there() {
    let mut world = world();
    let mut away = page(&mut world, 1, "away");
    cut(&mut world, &away);
    world.handle(vec![put(OTHER, "c")]);
    let mut there = page(&mut world, 2, "there");
    // As after a clean stop: the sockets are not there any more when it comes back.
    let (mut world, _) = world.asleep();
    world.handle(vec![opened(OTHER, "other"), put(OTHER, "d"), delete("a")]);
    come_back(&mut world, &mut away, 3, "away");
    assert_eq!(updates(&world, 3), [items(&["c", "d", "a"])]);
    come_back(&mut world, &mut there, 4, "there");
    assert_eq!(updates(&world, 4), [items(&["d", "a"])]);
    assert_eq!((&away.rows, &there.rows), (&world.rows(), &world.rows()));
    // Without a clean stop it is not known: everything is sent.
    let mut world = world.reopened();
    world.handle(vec![opened(OTHER, "other"), put(OTHER, "e"), delete("b")]);
    come_back(&mut world, &mut away, 5, "killed");
    assert_eq!(updates(&world, 5).len(), 2);
    assert_eq!(away.rows, world.rows());
}

#[test]
fn spec_12_11_what_a_room_had_before_it_was_killed_is_never_more_than_what_arrived() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    let (mut world, states) = world.asleep();
    world.restore(states);
    world.handle(vec![put(OTHER, "c")]);
    screen.see(&world.effects);
    arrive(&mut world, 1, 2);
    // The file says what was so when the room slept.
    let mut world = world.reopened();
    world.handle(vec![opened(OTHER, "other"), put(OTHER, "d")]);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2), [items(&["c", "d"])]);
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_11_below_the_floor_everything_is_sent() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    world.handle(vec![delete("a")]);
    // Within what is remembered of it, the log goes.
    world.now += (AWAY_DAYS - 2) * DAY_MS;
    world.handle(vec![put(OTHER, "c")]);
    world.query("UPDATE _log SET at = at - 864000000");
    world.now += DAY_MS;
    world.handle(vec![Event::Alarm]);
    assert!(world.query("SELECT value FROM _meta WHERE name = 'floor'")[0][0].as_u64().unwrap() > 3);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2), [items(&["b", "c", "a"]), parts(&[1])]);
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_11_away_kept_at_the_limit_and_one_past_it() {
    let mut world = world();
    let go = |world: &mut World, names: std::ops::Range<usize>| {
        for name in names {
            world.handle(vec![opened(1, &name.to_string()), sync(1, "items"), sync(1, "parts")]);
            arrive(world, 1, 2);
            world.handle(vec![Event::closed(ConnectionId(1))]);
        }
    };
    let is_known = |world: &mut World, name: usize| {
        world.handle(vec![opened(2, &name.to_string()), sync(2, "items"), quiet(2)]);
        let count = world.effects.iter().filter(|e| matches!(e, Effect::Track { .. })).count();
        world.handle(vec![Event::Closed { connection: ConnectionId(2), code: Some(1001), reason: String::new() }]);
        // Who is known gets the other channel, too.
        count == 2
    };
    go(&mut world, 0..AWAY_KEPT);
    assert!(is_known(&mut world, 0), "at the limit");
    go(&mut world, AWAY_KEPT..AWAY_KEPT + 1);
    assert!(!is_known(&mut world, 0), "past it the oldest goes");
    assert!(is_known(&mut world, 1));
    assert!(is_known(&mut world, AWAY_KEPT));
    let (mut world, _) = world.asleep();
    assert_eq!(world.query("SELECT count(*) FROM _away"), [[json!(AWAY_KEPT)]]);
    assert!(is_known(&mut world, 1));
    // In the order in which they went.
    go(&mut world, AWAY_KEPT + 1..AWAY_KEPT + 2);
    assert!(!is_known(&mut world, 1));
    assert!(is_known(&mut world, 2));
}

#[test]
fn spec_11_away_days_at_the_limit_and_one_past_it() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    let (mut world, _) = world.asleep();
    world.now = START + AWAY_DAYS * DAY_MS;
    let mut world = world.asleep().0;
    assert_eq!(world.query("SELECT count(*) FROM _away"), [[json!(1)]]);
    world.now += DAY_MS;
    world.handle(vec![Event::Alarm]);
    assert_eq!(world.query("SELECT count(*) FROM _away"), [[json!(0)]]);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2).len(), 2);
}

/// A page that comes and goes without being told anything (seed 309002980 of the simulation).
#[test]
fn spec_12_11_away_days_count_from_when_its_last_connection_went() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    world.now += (AWAY_DAYS - 1) * DAY_MS;
    world.handle(vec![opened(2, "pk")]);
    world.handle(vec![Event::closed(ConnectionId(2))]);
    world.now += 2 * DAY_MS;
    world.handle(vec![Event::Alarm, put(OTHER, "c")]);
    come_back(&mut world, &mut screen, 3, "pk");
    assert_eq!(updates(&world, 3), [items(&["c"])]);
}

#[test]
fn spec_12_11_away_days_count_from_when_the_room_left_memory_for_who_was_there_then() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    let (mut world, states) = world.asleep();
    world.restore(states);
    // Nothing changes meanwhile, and its socket is still there.
    world.now += (AWAY_DAYS - 1) * DAY_MS;
    world.handle(vec![Event::Alarm]);
    let (mut world, _) = world.asleep();
    world.now += 2 * DAY_MS;
    let (mut world, _) = world.asleep();
    world.handle(vec![opened(OTHER, "other"), put(OTHER, "c")]);
    come_back(&mut world, &mut screen, 2, "pk");
    assert_eq!(updates(&world, 2), [items(&["c"])]);
}

#[test]
fn spec_12_11_a_room_that_no_step_has_changed_forgets_who_was_away_too() {
    let mut world = World::new();
    let screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    let mut world = world.asleep().0;
    assert_eq!((world.query("SELECT count(*) FROM _away"), world.version()), (vec![vec![json!(1)]], 0));
    for day in 1..=AWAY_DAYS + 1 {
        world.now = START + day * DAY_MS;
        world.handle(vec![Event::Alarm]);
    }
    assert_eq!(world.query("SELECT count(*) FROM _away"), [[json!(0)]]);
}

#[test]
fn spec_7_1_a_room_that_lacks_the_table_gets_it_and_one_without_version_1_never_writes_to_it() {
    let mut world = world();
    world.query("DROP TABLE _away");
    let mut world = world.reopened();
    let screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    let (mut world, _) = world.asleep();
    assert_eq!(world.query("SELECT name, version FROM _away"), [[json!("0::pk"), json!(3)]]);

    let mut world = World::new();
    Mirror::new(1).join(&mut world);
    world.handle(vec![Event::opened(ConnectionId(2)), Event::closed(ConnectionId(2))]);
    let changes = |db: &mut SqliteDb| {
        let mut changes = None;
        let read = &mut |row: &dyn partysync_model::Columns| changes = Some(row.value(0).to_owned());
        db.query(partysync_model::Origin::Engine, "SELECT total_changes()", &[], read).unwrap();
        changes
    };
    let before = changes(world.room.db_mut());
    let (_, mut db) = world.room.hibernate();
    assert_eq!(changes(&mut db), before);
}

#[test]
fn spec_12_11_what_cannot_be_read_is_volunteered_when_the_page_comes_again() {
    let mut world = world();
    let mut screen = page(&mut world, 1, "pk");
    cut(&mut world, &screen);
    world.handle(vec![put(OTHER, "c")]);
    world.query("ALTER TABLE _change RENAME TO hidden");
    world.handle(vec![opened(2, "pk"), quiet(2)]);
    let close = Effect::Close { connection: ConnectionId(2), code: 1011, reason: "the server failed".into() };
    assert!(world.effects.contains(&close), "{:?}", world.effects);
    world.query("ALTER TABLE hidden RENAME TO _change");
    world.handle(vec![Event::closed(ConnectionId(2))]);
    come_back(&mut world, &mut screen, 3, "pk");
    assert_eq!(screen.rows, world.rows());
}

#[test]
fn spec_12_9_a_page_whose_rows_cannot_be_read_is_closed_and_gets_them_when_it_comes_back() {
    let mut world = world();
    world.handle(vec![opened(1, "pk"), sync(1, "parts")]);
    arrive(&mut world, 1, 1);
    world.query("ALTER TABLE items RENAME TO hidden");
    world.handle(vec![sync(1, "items")]);
    assert_eq!(world.sent_to(1)[0]["type"], "exception");
    let close = Effect::Close { connection: ConnectionId(1), code: 1011, reason: "the server failed".into() };
    assert!(world.effects.contains(&close), "{:?}", world.effects);
    world.query("ALTER TABLE hidden RENAME TO items");
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), quiet(2)]);
    assert_eq!(updates(&world, 2), [items(&["a", "b"])], "the other channel has arrived");
}

#[test]
fn spec_12_11_a_page_that_could_not_be_told_what_it_missed_is_known_when_it_comes_back() {
    let mut world = world();
    world.handle(vec![opened(1, "pk"), sync(1, "items"), sync(1, "parts")]);
    arrive(&mut world, 1, 2);
    world.query("ALTER TABLE items RENAME TO hidden");
    world.handle(vec![Event::CatchUp { connection: ConnectionId(1), since: 0 }]);
    assert!(world.effects.iter().any(|e| matches!(e, Effect::Close { code: 1013, .. })), "{:?}", world.effects);
    world.query("ALTER TABLE hidden RENAME TO items");
    world.handle(vec![Event::closed(ConnectionId(1)), opened(2, "pk"), quiet(2)]);
    assert_eq!(updates(&world, 2), [], "both have arrived");
}
