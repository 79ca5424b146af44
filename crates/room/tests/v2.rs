//! SPEC 6 and 8: outcomes, resume and resets, as a version 2 client sees them.

mod common;

use common::{Mirror, ROOM, START, World};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_protocol::{Cursor, Stamp, v2};
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event};
use serde_json::{Value as Json, json};

fn item(id: &str) -> Json {
    json!({"id": id, "slug": null, "name": id})
}

fn joined() -> (World, Mirror) {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    (world, mirror)
}

fn send(world: &mut World, mirror: &mut Mirror, events: Vec<Event>) {
    world.handle(events);
    mirror.see(&world.effects);
}

#[test]
fn spec_8_24_an_ack_comes_before_the_patch_that_carries_its_version() {
    let (mut world, mirror) = joined();
    world.handle(vec![mirror.action(1, "put", item("a")), mirror.action(2, "put", item("b"))]);
    let sent = world.sent_to(1);
    let types: Vec<_> = sent.iter().map(|f| f["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ack", "ack", "patch"]);
    assert_eq!((&sent[0]["version"], &sent[1]["version"]), (&json!(1), &json!(2)));
    assert_eq!((&sent[2]["from"], &sent[2]["to"]), (&json!(0), &json!(2)), "one patch for the group");
}

#[test]
fn spec_6_2_numbers_have_no_gaps_and_run_once() {
    let (mut world, mut mirror) = joined();
    let gap = mirror.action(2, "put", item("b"));
    send(&mut world, &mut mirror, vec![gap]);
    assert_eq!(mirror.settled, [(2, Err("later: number_gap".to_owned()))]);
    mirror.settled.clear();
    let events = vec![
        mirror.action(1, "put", item("a")),
        mirror.action(1, "put", item("a")),
        mirror.action(2, "reject", Json::Null),
    ];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled, [(1, Ok(1)), (1, Ok(1)), (2, Err("rejected".to_owned()))]);
    assert_eq!((world.version(), mirror.rows.len()), (1, 1));
    // A gap behind numbers that are settled.
    let gap = mirror.action(4, "put", item("d"));
    send(&mut world, &mut mirror, vec![gap]);
    assert_eq!(mirror.settled.last(), Some(&(4, Err("later: number_gap".to_owned()))));
    assert_eq!(world.version(), 1);
}

#[test]
fn spec_6_4_a_repeated_number_gets_its_outcome_again_after_a_restart_too() {
    let (mut world, mut mirror) = joined();
    let events = |m: &Mirror| {
        vec![m.action(1, "put", item("a")), m.action(2, "reject", Json::Null), m.action(3, "put", item("c"))]
    };
    let first = events(&mirror);
    send(&mut world, &mut mirror, first);
    let first = std::mem::take(&mut mirror.settled);
    let mut world = world.reopened();
    mirror.join(&mut world);
    let again = events(&mirror);
    send(&mut world, &mut mirror, again);
    assert_eq!(
        mirror.settled.iter().map(|(n, o)| (*n, o.is_ok())).collect::<Vec<_>>(),
        [(1, true), (2, false), (3, true)]
    );
    assert_eq!(mirror.settled[1], first[1], "the same rejection");
    assert_eq!((world.version(), mirror.resets), (2, 1));
}

/// A client is written once a group; the rejection between is written at once.
#[test]
fn spec_6_5_all_numbers_of_a_group_are_settled_by_its_transaction() {
    let (mut world, mut mirror) = joined();
    let put = |m: &Mirror, n: u64| m.action(n, "put", item(&n.to_string()));
    for (numbers, rejected) in [(1..=4_u64, 2), (5..=8, 8), (9..=12, 13)] {
        let last = *numbers.end();
        let action = |n| if n == rejected { mirror.action(n, "reject", Json::Null) } else { put(&mirror, n) };
        let events = numbers.map(action).collect();
        send(&mut world, &mut mirror, events);
        assert_eq!(world.query("SELECT last FROM _client"), [[json!(last)]]);
    }
    let mut world = world.reopened();
    mirror.join(&mut world);
    mirror.settled.clear();
    let version = world.version();
    let events = vec![put(&mirror, 12), put(&mirror, 13)];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled, [(12, Ok(version)), (13, Ok(version + 1))]);
}

#[test]
fn spec_6_6_outcomes_are_kept_until_the_client_has_them_and_1_000_numbers_back() {
    let (mut world, mut mirror) = joined();
    let count = limits::OUTCOMES_KEPT + 1;
    let reject = |m: &Mirror, n| m.action(n, "reject", Json::Null);
    let all = (1..=count).map(|n| reject(&mirror, n)).collect();
    send(&mut world, &mut mirror, all);
    mirror.settled.clear();
    // The last 1,000 are kept; one further back is forgotten.
    let events = vec![reject(&mirror, 1), reject(&mirror, 2)];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled, [(1, Err("outcome_forgotten".to_owned())), (2, Err("rejected".to_owned()))]);
    mirror.settled.clear();
    let events = vec![have(&mirror, 900), reject(&mirror, count + 1), reject(&mirror, 900), reject(&mirror, 901)];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled[1..], [(900, Err("outcome_forgotten".to_owned())), (901, Err("rejected".to_owned()))]);
    let kept = world.query("SELECT min(number), count(*) FROM _reject");
    assert_eq!(kept, [[json!(901), json!(count + 1 - 900)]]);
}

fn have(mirror: &Mirror, number: u64) -> Event {
    Event::text(mirror.connection, v2::Up::Have { room: ROOM.into(), version: 0, number }.encode())
}

#[test]
fn spec_6_6_what_is_settled_after_a_have_is_kept_however_high_its_number() {
    let (mut world, mut mirror) = joined();
    let reject = |m: &Mirror, n| m.action(n, "reject", Json::Null);
    // In one batch with what settles 2 and 3, which nobody has heard of yet; and again between the two.
    let first = reject(&mirror, 1);
    send(&mut world, &mut mirror, vec![first]);
    let events = vec![have(&mirror, 9), reject(&mirror, 2), have(&mirror, 2), reject(&mirror, 3), reject(&mirror, 4)];
    send(&mut world, &mut mirror, events);
    mirror.settled.clear();
    let again = (1..=4).map(|n| reject(&mirror, n)).collect();
    send(&mut world, &mut mirror, again);
    let rejected = |n| (n, Err("rejected".to_owned()));
    assert_eq!(mirror.settled, [(1, Err("outcome_forgotten".to_owned())), rejected(2), rejected(3), rejected(4)]);
    assert_eq!(world.query("SELECT min(number), count(*) FROM _reject"), [[json!(2), json!(3)]]);
}

#[test]
fn spec_6_6_a_have_counts_with_the_next_number_that_is_settled_on_its_connection() {
    let (mut world, mut mirror) = joined();
    let reject = |m: &Mirror, n| m.action(n, "reject", Json::Null);
    let kept = |world: &mut World| world.query("SELECT number FROM _reject ORDER BY number");
    let first = vec![reject(&mirror, 1), reject(&mirror, 2)];
    send(&mut world, &mut mirror, first);
    // It is not written down alone, and not again.
    let events = vec![have(&mirror, 1), reject(&mirror, 1)];
    send(&mut world, &mut mirror, events);
    assert_eq!(kept(&mut world), [[json!(1)], [json!(2)]]);
    // What was said before a `join` is gone with it; what comes behind it counts, in the same batch too.
    let join = v2::Up::Join { room: ROOM.into(), client: mirror.client, cursor: None, born: mirror.born, token: None };
    let join = Event::text(mirror.connection, join.encode());
    let events = vec![join.clone(), reject(&mirror, 3)];
    send(&mut world, &mut mirror, events);
    assert_eq!(kept(&mut world), [[json!(1)], [json!(2)], [json!(3)]]);
    let events = vec![join, have(&mirror, 2)];
    send(&mut world, &mut mirror, events);
    let next = mirror.action(4, "put", item("a"));
    send(&mut world, &mut mirror, vec![next]);
    assert_eq!(kept(&mut world), [[json!(3)]]);
}

#[test]
fn spec_6_7_a_client_is_dropped_after_90_days_and_told_so() {
    let (mut world, mut mirror) = joined();
    let first = mirror.action(1, "put", item("a"));
    send(&mut world, &mut mirror, vec![first]);
    for day in 1..=91 {
        world.now = START + day * DAY_MS;
        world.handle(vec![Event::Alarm]);
    }
    let join = v2::Up::Join { room: ROOM.into(), client: mirror.client, cursor: None, born: mirror.born, token: None };
    world.handle(vec![Event::text(mirror.connection, join.encode())]);
    assert_eq!(world.sent_to(1)[0]["known"], json!(false));
}

#[test]
fn spec_6_7_a_client_that_was_never_dropped_is_as_good_as_known() {
    let (mut world, mut mirror) = joined();
    let known = |world: &mut World, born: Option<u64>, byte: u8| {
        let client = partysync_protocol::ClientId::from_random([byte; 16]);
        let join = v2::Up::Join { room: ROOM.into(), client, cursor: None, born, token: None };
        world.handle(vec![Event::text(ConnectionId(1), join.encode())]);
        world.sent_to(1)[0]["known"] == json!(true)
    };
    // Its first action was lost on its way: the room has dropped nobody, so nothing of it was ever run.
    assert!(known(&mut world, Some(0), 9));
    world.handle(vec![Event::closed(mirror.connection)]);
    mirror.join(&mut world);
    let first = mirror.action(1, "put", item("a"));
    send(&mut world, &mut mirror, vec![first]);
    for day in 1..=91 {
        world.now = START + day * DAY_MS;
        world.handle(vec![Event::Alarm]);
    }
    // Now one was dropped that was stored at version 0. Who was born later is not that one, nor is who is born now.
    assert!(!known(&mut world, Some(0), 9));
    assert!(known(&mut world, Some(1), 9));
    assert!(known(&mut world, None, 9));
}

#[test]
fn spec_6_7_who_is_born_at_the_version_of_a_client_that_was_dropped_is_taken() {
    let (mut world, mut mirror) = joined();
    // Refused: the client is stored at the newest version there is, and there is no other after it.
    let refused = mirror.action(1, "refuse", json!(null));
    send(&mut world, &mut mirror, vec![refused]);
    assert_eq!(world.room.cursor().version, 0);
    world.handle(vec![Event::closed(mirror.connection)]);
    for day in 1..=91 {
        world.now = START + day * DAY_MS;
        world.handle(vec![Event::Alarm]);
    }
    let mut young = Mirror::new(2);
    young.join(&mut world);
    assert_eq!(young.born, Some(0));
    let first = young.action(1, "put", item("a"));
    send(&mut world, &mut young, vec![first.clone()]);
    assert_eq!(young.settled, [(1, Ok(1))]);
    // It stays until it is dropped itself: then what it sent is not run again.
    for day in 92..=190 {
        world.now = START + day * DAY_MS;
        world.handle(vec![Event::Alarm]);
    }
    world.handle(vec![first]);
    assert_eq!((&world.sent_to(2)[0]["type"], world.room.cursor().version), (&json!("later"), 1));
}

#[test]
fn spec_6_1_a_client_belongs_to_the_first_identity_that_used_it() {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    let open = |c: u64, identity: &str| Event::Opened {
        connection: ConnectionId(c),
        info: ConnectionInfo { identity: Some(identity.to_owned()), ..ConnectionInfo::default() },
    };
    let hello = v2::Up::Hello { versions: vec![2] }.encode();
    let join =
        v2::Up::Join { room: ROOM.into(), client: mirror.client, cursor: None, born: None, token: None }.encode();
    let enter = |c: u64| vec![Event::text(ConnectionId(c), hello.clone()), Event::text(ConnectionId(c), join.clone())];
    world.handle([vec![open(1, "ann")], enter(1), vec![mirror.action(1, "put", item("a"))]].concat());
    mirror.see(&world.effects);
    assert_eq!(mirror.settled, [(1, Ok(1))]);
    assert_eq!(world.query("SELECT author FROM _log WHERE version = 1"), [[json!("ann")]]);
    mirror.connection = ConnectionId(2);
    world.handle([vec![open(2, "bob")], enter(2), vec![mirror.action(2, "put", item("b"))]].concat());
    let sent = world.sent_to(2);
    assert_eq!((&sent[1]["type"], &sent[1]["error"]["code"]), (&json!("left"), &json!("client_taken")));
    assert_eq!(world.rows().len(), 1, "and what it sent in the same breath was not run");
}

#[test]
fn p7_a_valid_cursor_gets_what_changed_deletions_included() {
    let (mut world, mut mirror) = joined();
    let events = vec![mirror.action(1, "put", item("a")), mirror.action(2, "put", item("b"))];
    send(&mut world, &mut mirror, events);
    world.handle(vec![Event::closed(mirror.connection)]);
    let mut other = Mirror::new(2);
    other.join(&mut world);
    let events = vec![
        other.action(1, "delete", json!("a")),
        other.action(2, "put", item("c")),
        other.action(3, "change", item("c")),
    ];
    send(&mut world, &mut other, events);
    let mut world = world.reopened();
    mirror.join(&mut world);
    let sent = world.sent_to(1);
    assert_eq!((&sent[1]["reset"], &sent[2]["type"], sent.len()), (&json!(false), &json!("patch"), 3));
    assert_eq!(
        (sent[2]["changes"][0]["puts"].as_array().unwrap().len(), &sent[2]["changes"][0]["deletes"]),
        (1, &json!(["a"]))
    );
    assert_eq!((&mirror.rows, mirror.resets), (&world.rows(), 1));
}

#[test]
fn p7_a_cursor_of_another_history_or_from_the_future_or_below_the_floor_resets() {
    let (mut world, mut mirror) = joined();
    let first = mirror.action(1, "put", item("a"));
    send(&mut world, &mut mirror, vec![first]);
    let now = world.room.cursor();
    let other_stamp = Cursor { stamp: Stamp::from_random(3 << 40), ..now };
    let future = Cursor { version: now.version + 5, ..now };
    for cursor in [other_stamp, future] {
        mirror.cursor = Some(cursor);
        mirror.rows.insert(("items".to_owned(), "\"ghost\"".to_owned()), Json::Null);
        world.handle(vec![Event::closed(mirror.connection)]);
        mirror.join(&mut world);
        assert_eq!((&mirror.rows, mirror.cursor), (&world.rows(), Some(now)), "a reset drops what is not in it");
    }
    assert_eq!(mirror.resets, 3);
}

#[test]
fn spec_8_21_a_snapshot_comes_in_chunks_and_at_least_one_a_channel() {
    let mut world = World::new();
    world.v1(9);
    let rows = limits::SNAPSHOT_ROWS + 1;
    world.handle(vec![common::v1_action(9, "many", "many", json!(rows))]);
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    let sent = world.sent_to(1);
    let chunks: Vec<_> = sent[2..]
        .iter()
        .map(|f| (f["channel"].as_str().unwrap(), f["rows"].as_array().unwrap().len(), f["more"] == true))
        .collect();
    assert_eq!(chunks, [("items", rows - 1, true), ("items", 1, true), ("parts", 0, false)]);
    assert_eq!(mirror.rows.len(), rows);
}

#[test]
fn spec_8_2_the_first_frame_decides_and_a_hello_without_a_common_version_closes() {
    let mut world = World::new();
    let c = ConnectionId(1);
    world.handle(vec![Event::opened(c), Event::text(c, r#"{"type":"hello","versions":[9]}"#)]);
    assert!(matches!(world.effects[..], [Effect::Close { code: 4400, .. }]), "{:?}", world.effects);
    let c = ConnectionId(2);
    world.handle(vec![
        Event::opened(c),
        Event::text(c, "nonsense"),
        Event::text(c, r#"{"type":"hello","versions":[2]}"#),
    ]);
    assert!(world.sent_to(2).iter().all(|f| f["type"] == "exception"), "version 1 for good");
}

#[test]
fn spec_8_frames_that_are_wrong_are_answered_and_change_nothing() {
    let (mut world, mirror) = joined();
    let frames = [
        (json!({"type": "nonsense"}), "bad_message"),
        (json!({"type": "hello", "versions": [2]}), "bad_message"),
        (json!({"type": "join", "room": "shop/b", "client": mirror.client.to_string()}), "too_many_rooms"),
        (json!({"type": "action", "room": "shop/b", "number": 1, "channel": "items", "action": 1}), "not_joined"),
        (json!({"type": "action", "room": ROOM, "number": 1, "channel": "nope", "action": 1}), "unknown_channel"),
        (json!({"type": "leave", "room": "x"}), "not_joined"),
    ];
    for (frame, code) in frames {
        world.handle(vec![Event::text(ConnectionId(1), frame.to_string())]);
        assert_eq!(world.sent_to(1)[0]["error"]["code"], code, "{frame}");
    }
    world.handle(vec![Event::text(ConnectionId(1), r#"{"type":"ping"}"#)]);
    assert_eq!(world.sent_to(1), [json!({"type": "pong"})]);
    world.handle(vec![Event::text(ConnectionId(1), json!({"type": "leave", "room": ROOM}).to_string())]);
    assert_eq!(world.sent_to(1)[0]["type"], "left");
    world.handle(vec![mirror.action(1, "put", item("a"))]);
    assert_eq!(world.sent_to(1)[0]["error"]["code"], "not_joined");
    world.handle(vec![Event::Binary { connection: ConnectionId(1), bytes: vec![1] }]);
    assert!(matches!(world.effects[..], [Effect::Close { code: 1003, .. }]));
}

#[test]
fn spec_8_2_a_first_frame_that_is_binary_makes_a_connection_one_of_version_1() {
    let hello = || Event::text(ConnectionId(1), r#"{"type":"hello","versions":[2]}"#);
    let binary = || Event::Binary { connection: ConnectionId(1), bytes: vec![1] };
    let open = || Event::Opened { connection: ConnectionId(1), info: ConnectionInfo::default() };
    // In one batch, as frames may come, or in two.
    for batches in [vec![vec![open(), binary(), hello()]], vec![vec![open(), binary()], vec![hello()]]] {
        let mut world = World::new();
        for batch in batches {
            world.handle(batch);
        }
        assert_eq!(world.sent_to(1)[0]["type"], "exception", "{:?}", world.effects);
        assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::Close { .. })));
    }
}

#[test]
fn p9_a_client_id_is_never_sent_to_anybody_else() {
    let (mut world, mut mirror) = joined();
    let mut other = Mirror::new(2);
    other.join(&mut world);
    let first = mirror.action(1, "put", item("a"));
    send(&mut world, &mut mirror, vec![first]);
    let sent = format!("{:?}", world.sent_to(2));
    assert!(sent.contains("patch") && !sent.contains(&mirror.client.to_string()), "{sent}");
}

#[test]
fn spec_8_6_an_action_that_cannot_be_read_does_not_hold_up_those_behind_it() {
    let (mut world, mut mirror) = joined();
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let unreadable = format!(r#"{{"type":"action","room":"{ROOM}","number":1,"channel":"items","action":{deep}}}"#);
    let events = vec![Event::text(mirror.connection, unreadable), mirror.action(2, "put", item("b"))];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled, [(1, Err("bad_message".to_owned())), (2, Ok(1))]);
    // A number that cannot be one settles nothing.
    let zero = format!(r#"{{"type":"action","room":"{ROOM}","number":0,"channel":"items","action":null}}"#);
    world.handle(vec![Event::text(mirror.connection, zero)]);
    assert_eq!(world.sent_to(1)[0]["type"], "error");
}

#[test]
fn spec_8_28_who_joins_again_still_gets_what_it_asked_for_before() {
    let (mut world, mut mirror) = joined();
    let join = v2::Up::Join {
        room: ROOM.into(),
        client: mirror.client,
        cursor: mirror.cursor,
        born: mirror.born,
        token: None,
    };
    let events = vec![
        mirror.action(1, "put", item("a")),
        Event::text(mirror.connection, join.encode()),
        mirror.action(2, "put", item("b")),
    ];
    send(&mut world, &mut mirror, events);
    assert_eq!(mirror.settled, [(1, Ok(1)), (2, Ok(2))]);
    assert_eq!(mirror.rows, world.rows());
}

#[test]
fn p8_room_connections_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    let open = |c: u64| Event::opened(ConnectionId(c));
    world.handle((0..limits::ROOM_CONNECTIONS as u64).map(open).collect());
    assert!(world.effects.is_empty());
    world.handle(vec![open(u64::MAX)]);
    assert!(matches!(world.effects[..], [Effect::Close { code: 1013, .. }]), "{:?}", world.effects);
}
