//! SPEC 12: what an unmodified version 1 client gets.

mod common;

use common::{Screen, World, put, v1_action};
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event, Frame};
use serde_json::{Value as Json, json};

fn text(connection: u64, frame: &Json) -> Event {
    Event::text(ConnectionId(connection), frame.to_string())
}

fn delete(connection: u64, id: &str) -> Event {
    v1_action(connection, &format!("delete {id}"), "delete", json!(id))
}

#[test]
fn spec_12_1_an_ack_has_the_row_and_others_get_an_update() {
    let mut world = World::new();
    world.v1(1);
    world.v1(2);
    world.handle(vec![put(1, "a")]);
    let at = world.now;
    let row = json!(["a", null, "a", at, at, null]);
    let ack = json!({"type": "success", "rpc": true, "channel": "items", "id": "a", "result": [row]});
    let update = json!({"broadcast": true, "type": "update", "channel": "items", "payload": [row]});
    assert_eq!((world.sent_to(1), world.sent_to(2)), (vec![ack], vec![update]));
}

#[test]
fn spec_12_1_a_room_that_is_emptied_names_each_row() {
    let mut world = World::new();
    world.v1(1);
    world.v1(2);
    world.handle(vec![put(1, "a"), put(1, "b")]);
    world.handle(vec![v1_action(1, "x", "sql", json!(["DELETE FROM items"]))]);
    let sent = world.sent_to(2);
    let dead = |id: &str| json!([id, null, null, null, world.now, world.now]);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((&sent[0]["type"], &sent[0]["payload"]), (&json!("update"), &json!([dead("a"), dead("b")])));
}

#[test]
fn spec_12_2_every_text_frame_is_answered_and_ids_are_echoed_as_they_came() {
    let mut world = World::new();
    world.v1(1);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for bad in ["", "null", "5", "\"text\"", "[]", "{}", "{", r#"{"sync":true}"#, r#"{"channel":"items"}"#, &deep] {
        world.handle(vec![Event::text(ConnectionId(1), bad)]);
        let exception =
            json!({"type": "exception", "rpc": true, "exception": ["The message could not be understood."]});
        assert_eq!(world.sent_to(1), [exception], "{bad:.40}");
    }
    for id in [json!(7), json!("x"), json!(null), json!({"a": [1, 2]}), json!(1.5)] {
        world.handle(vec![text(1, &json!({"id": id, "channel": "items", "action": {"type": "nothing"}}))]);
        assert_eq!(
            world.sent_to(1),
            [json!({"type": "success", "rpc": true, "channel": "items", "id": id, "result": []})]
        );
    }
    world.handle(vec![Event::Binary { connection: ConnectionId(1), bytes: vec![1] }]);
    assert!(world.effects.is_empty(), "{:?}", world.effects);
}

#[test]
fn spec_12_3_a_channel_is_looked_up_and_never_sql() {
    let mut world = World::new();
    world.v1(1);
    for channel in ["nope", "sqlite_master", "_log", "items; DROP TABLE items", "tallies", "ITEMS", ""] {
        world.handle(vec![
            text(1, &json!({"channel": channel, "sync": true})),
            text(1, &json!({"id": "1", "channel": channel, "rpc": true, "action": {"type": "nothing"}})),
        ]);
        let text = json!(["The room has no such channel."]);
        let sent = world.sent_to(1);
        assert_eq!(sent[0], json!({"type": "exception", "rpc": true, "exception": text}));
        assert_eq!(sent[1], json!({"type": "error", "rpc": true, "channel": channel, "id": "1", "error": text}));
    }
    assert_eq!(world.rows().len(), 0);
}

#[test]
fn spec_12_1_an_unknown_action_is_an_error_and_nobody_else_hears_of_it() {
    let mut world = World::new();
    world.v1(1);
    world.v1(2);
    world.handle(vec![v1_action(1, "x", "explode", json!({}))]);
    assert_eq!(world.sent_to(1)[0]["error"], json!(["This action is not one the room knows."]));
    assert!(world.sent_to(2).is_empty());
}

#[test]
fn spec_12_4_a_deleted_row_is_its_id_and_the_time_however_it_was_deleted() {
    let sql = |statement: &str| v1_action(1, statement, "sql", json!([statement]));
    let ways = [
        delete(1, "a"),
        sql("DELETE FROM items WHERE id = 'a'"),
        sql("UPDATE items SET name = 'last words', deleted_at = 1 WHERE id = 'a'"),
    ];
    for way in ways {
        let mut world = World::new();
        world.v1(1);
        world.v1(2);
        world.handle(vec![put(1, "a")]);
        world.handle(vec![way]);
        let dead = json!([["a", null, null, null, world.now, world.now]]);
        assert_eq!((&world.sent_to(1)[0]["result"], &world.sent_to(2)[0]["payload"]), (&dead, &dead));
        // And so it comes to who was away.
        world.handle(vec![text(2, &json!({"channel": "items", "sync": true, "from": true}))]);
        let oldest = &world.query("SELECT min(at) FROM _log")[0][0];
        let dead = json!([["a", null, null, null, oldest, oldest]]);
        assert_eq!((&world.sent_to(2)[0]["payload"], &world.sent_to(2)[1]["payload"]), (&dead, &json!([])));
    }
}

#[test]
fn spec_12_10_what_the_database_says_is_told_to_nobody() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    let cases = [
        ("INSERT INTO items (id, name) VALUES ('a', '')", "A record with this value exists already."),
        ("INSERT INTO items (id, name) VALUES ('b', NULL)", "The change breaks a rule of the data."),
        ("INSERT INTO parts (id, item) VALUES (1, 'nobody')", "The change breaks a rule of the data."),
        ("SELECT nonsense FROM items", "The action failed."),
        ("SELEKT", "The action failed."),
        ("DROP TABLE items", "The action failed."),
        ("INSERT INTO tripwire VALUES (1)", "The change breaks a rule of the data."),
    ];
    for (sql, text) in cases {
        world.handle(vec![v1_action(1, sql, "sql", json!([sql]))]);
        assert_eq!(world.sent_to(1)[0]["error"], json!([text]), "{sql}");
    }
    world.handle(vec![v1_action(1, "panic", "panic", Json::Null)]);
    assert_eq!(world.sent_to(1)[0]["error"], json!(["The action failed."]));
}

#[test]
fn spec_12_6_no_update_reaches_a_connection_before_its_sync_answer() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![Event::opened(ConnectionId(2))]);
    world.handle(vec![put(1, "a")]);
    assert!(world.sent_to(2).is_empty());
    world.handle(vec![text(2, &json!({"channel": "items", "sync": true, "from": null})), put(1, "b")]);
    let sent = world.sent_to(2);
    assert_eq!((&sent[0]["sync"], sent.len()), (&json!(true), 1), "{sent:?}");
    assert_eq!(sent[0]["payload"].as_array().unwrap().len(), 2, "what is committed by then");
    world.handle(vec![put(1, "c")]);
    assert_eq!(world.sent_to(2)[0]["payload"][0][0], "c", "and from then on the updates that reach everybody");
}

#[test]
fn spec_12_9_a_sync_from_a_time_gets_what_changed_then_or_later_and_the_tombstones() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a"), put(1, "b"), put(1, "c")]);
    let from = world.query("SELECT at FROM _log WHERE version = 2")[0][0].clone();
    world.handle(vec![delete(1, "a")]);
    let mut late = Screen { connection: ConnectionId(9), rows: Default::default(), answers: vec![] };
    world.handle(vec![
        Event::opened(ConnectionId(9)),
        text(9, &json!({"channel": "items", "sync": true, "from": from})),
    ]);
    late.see(&world.effects);
    let sent = world.sent_to(9);
    let ids = |frame: &Json| frame["payload"].as_array().unwrap().iter().map(|r| r[0].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&sent[1]), ["b", "c"], "inclusive: {sent:?}");
    assert_eq!((ids(&sent[0]), &sent[0]["type"], sent.len()), (vec![json!("a")], &json!("update"), 2));
    // The client's next `from` is the largest time it was sent: if its socket breaks before the answer, that is what it was.
    assert_eq!(sent[0]["payload"][0][4], from);
    let largest = sent[1]["payload"].as_array().unwrap().iter().map(|row| row[3].as_i64().unwrap()).max();
    assert_eq!(largest, world.query("SELECT at FROM _log WHERE version = 3")[0][0].as_i64());
}

#[test]
fn spec_12_9_where_no_live_row_follows_tombstones_have_the_newest_time() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    world.handle(vec![put(1, "b")]);
    let from = world.query("SELECT max(at) FROM _log")[0][0].clone();
    world.handle(vec![delete(1, "b"), delete(1, "a")]);
    world.handle(vec![
        Event::opened(ConnectionId(9)),
        text(9, &json!({"channel": "items", "sync": true, "from": from})),
    ]);
    let sent = world.sent_to(9);
    assert_eq!(sent[0]["payload"].as_array().unwrap().len(), 2, "{sent:?}");
    assert_eq!(sent[0]["payload"][0][4], world.query("SELECT max(at) FROM _log")[0][0]);
    assert_eq!((&sent[1]["sync"], &sent[1]["payload"]), (&json!(true), &json!([])));
}

#[test]
fn spec_12_9_any_other_from_gets_everything_that_is_known() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a"), put(1, "b"), delete(1, "a")]);
    world.handle(vec![Event::opened(ConnectionId(9))]);
    let far = world.now + 1_000_000;
    let oldest = world.query("SELECT min(at) FROM _log")[0][0].clone();
    for from in [json!("2026-11-23 01:47:34"), json!(1), json!(1.5), json!([]), json!(true), json!(far)] {
        world.handle(vec![text(9, &json!({"channel": "items", "sync": true, "from": from}))]);
        let sent = world.sent_to(9);
        assert_eq!((sent[1]["payload"][0][0].as_str(), sent[1]["payload"].as_array().unwrap().len()), (Some("b"), 1));
        assert_eq!((&sent[0]["payload"][0][0], &sent[0]["payload"][0][4]), (&json!("a"), &oldest), "{from}");
    }
    for from in [json!(null), json!(0), json!(""), json!(false)] {
        world.handle(vec![text(9, &json!({"channel": "items", "sync": true, "from": from}))]);
        assert_eq!(world.sent_to(9).len(), 1, "{from}: a client that holds nothing needs no tombstones");
    }
}

#[test]
fn spec_12_9_a_time_between_two_versions_is_another_rooms_and_hides_nothing() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    let a = world.now;
    world.now += 1_000;
    world.handle(vec![put(1, "b")]);
    let b = world.now;
    for (from, rows) in [(a, 2), (a + 1, 2), (b - 1, 2), (b, 1)] {
        world.handle(vec![text(1, &json!({"channel": "items", "sync": true, "from": from}))]);
        assert_eq!(world.sent_to(1)[0]["payload"].as_array().unwrap().len(), rows, "{}", from - a);
    }
}

#[test]
fn spec_12_8_the_same_call_from_the_same_client_gets_its_outcome_again() {
    let mut world = World::new();
    world.v1(1);
    world.v1(2);
    let twice = |world: &mut World, event: &dyn Fn(u64) -> Event| {
        world.handle(vec![event(1)]);
        let first = world.sent_to(1);
        // On another connection, as after a reconnect.
        let info = ConnectionInfo { key: Some("pk1".to_owned()), ..ConnectionInfo::default() };
        world.handle(vec![Event::Opened { connection: ConnectionId(3), info }, event(3)]);
        assert_eq!(world.sent_to(3), first);
        assert!(world.sent_to(2).is_empty(), "nobody hears of it twice");
        let rows = world.rows();
        (first, rows)
    };
    let (first, rows) = twice(&mut world, &|c| put(c, "a"));
    assert_eq!((first[0]["type"].as_str(), rows.len(), world.version()), (Some("success"), 1, 1));
    // Its second run would fail on the id.
    let (first, _) = twice(&mut world, &|c| v1_action(c, "r", "reject", Json::Null));
    assert_eq!(first[0]["error"], json!(["The shop says no."]));
    // Its second run would change the row again.
    let (_, _) = twice(&mut world, &|c| v1_action(c, "s", "sql", json!(["UPDATE items SET name = name || '!'"])));
    assert_eq!(world.version(), 2);
    // And after the room left memory.
    let mut world = world.reopened();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    assert_eq!(world.sent_to(1)[0]["type"], "success");
    // A person's retry has a new id and is a new action; so is another client's call with the same id.
    world.handle(vec![v1_action(1, "new", "put", json!({"id": "a", "slug": null, "name": "a"}))]);
    assert_eq!(world.sent_to(1)[0]["error"], json!(["A record with this value exists already."]));
    world.v1(2);
    world.handle(vec![put(2, "a")]);
    assert_eq!(world.sent_to(2)[0]["type"], "error");
}

#[test]
fn spec_12_5_changes_in_other_channels_reach_the_sender_too() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![v1_action(
        1,
        "x",
        "sql",
        json!(["INSERT INTO parts (id) VALUES (1)", "INSERT INTO items (id, name) VALUES ('a', '')"]),
    )]);
    let sent = world.sent_to(1);
    assert_eq!((&sent[0]["channel"], &sent[0]["type"]), (&json!("parts"), &json!("update")));
    assert_eq!((&sent[1]["type"], sent[1]["result"].as_array().unwrap().len(), sent.len()), (&json!("success"), 1, 2));
}

#[test]
fn spec_12_7_answers_come_in_the_order_of_the_frames() {
    let mut world = World::new();
    world.v1(1);
    let events =
        (0..600).map(|i| v1_action(1, &i.to_string(), if i % 3 == 0 { "reject" } else { "nothing" }, Json::Null));
    world.handle(events.collect());
    let ids: Vec<String> = world.sent_to(1).iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..600).map(|i| i.to_string()).collect::<Vec<_>>());
}

/// What is left out for it is older than its own rows: a home that leaves out sends the other answer.
#[test]
fn spec_12_7_an_answer_with_rows_is_there_without_them_for_one_for_whom_something_was_left_out() {
    let mut world = World::new();
    world.v1(1);
    let answers = |world: &World| {
        let answer = |effect: &Effect| match effect {
            Effect::Answer { to: ConnectionId(1), frame, bare } => {
                let read = |frame: &Frame| serde_json::from_str::<Json>(frame).unwrap();
                Some((read(frame), read(bare)))
            }
            _ => None,
        };
        world.effects.iter().filter_map(answer).collect::<Vec<_>>()
    };
    // When it is run, and when it was run before: its `_pk` tells whose it is.
    let info = ConnectionInfo { key: Some("page".into()), ..ConnectionInfo::default() };
    world.handle(vec![Event::Opened { connection: ConnectionId(1), info }]);
    for _ in 0..2 {
        world.handle(vec![put(1, "a")]);
        let [(mut full, bare)] = answers(&world).try_into().unwrap();
        assert_eq!(full["result"][0][0], "a");
        assert_eq!((&bare["type"], &bare["result"]), (&json!("success"), &json!([])));
        full["result"] = json!([]);
        assert_eq!(full, bare);
    }
    world.handle(vec![v1_action(1, "nothing", "nothing", Json::Null), v1_action(1, "no", "reject", Json::Null)]);
    assert_eq!((world.sent_to(1).len(), answers(&world).len()), (2, 0), "there is nothing to leave out");
}

/// Rows are read when the whole batch is done. What its steps changed must not come behind that as it was in between: a page whose socket
/// breaks there would keep it.
#[test]
fn spec_12_7_nobody_is_sent_a_row_as_it_was_before_what_it_was_sent() {
    let name = |name: &str| v1_action(1, name, "change", json!({"id": "a", "slug": null, "name": name}));
    let sync = || text(2, &json!({"channel": "items", "sync": true, "from": null}));
    let parts = || text(2, &json!({"channel": "parts", "sync": true, "from": null}));
    let quiet = || Event::Quiet { connection: ConnectionId(2) };
    let catch_up = || Event::CatchUp { connection: ConnectionId(2), since: 1 };
    let own = || v1_action(2, "own", "change", json!({"id": "a", "slug": null, "name": "own"}));
    let info = ConnectionInfo { key: Some("page".into()), ..ConnectionInfo::default() };
    let opened = || Event::Opened { connection: ConnectionId(2), info: info.clone() };
    for (before, batch, names) in [
        (vec![], vec![sync(), name("one"), name("two")], vec!["two"]),
        (vec![], vec![name("one"), sync(), name("two")], vec!["two"]),
        (vec![], vec![quiet(), name("one"), name("two")], vec!["two"]),
        // It has asked for nothing when it is volunteered everything.
        (vec![], vec![quiet(), name("one"), parts()], vec!["one"]),
        // What it missed is told with what happens while it is told that.
        (vec![sync()], vec![catch_up(), name("one"), name("two")], vec!["two"]),
        (vec![sync()], vec![name("one"), catch_up(), name("two")], vec!["two"]),
        (vec![sync()], vec![own(), catch_up(), name("two")], vec!["two", "two"]),
        // Its own rows come at their place, if its answer waits.
        (vec![sync()], vec![parts(), own(), name("two")], vec!["own", "two", "two"]),
        // A page that has just opened is volunteered nothing, and waits for nothing.
        (vec![sync()], vec![quiet(), own(), name("two")], vec!["own", "two"]),
        // A call that was run before shows its rows as they are now.
        (vec![sync(), own()], vec![own(), name("one"), name("two")], vec!["one", "two", "two"]),
        // Its answers stay in their order, and its own row is the newest, too.
        (vec![], vec![sync(), own(), name("two")], vec!["two", "two"]),
    ] {
        let mut world = World::new();
        world.v1(1);
        world.handle(vec![put(1, "a"), opened()]);
        world.handle(before);
        world.handle(batch);
        let named = |frame: &Json| {
            let rows = frame["payload"].as_array().or(frame["result"].as_array()).cloned().unwrap_or_default();
            rows.iter().map(|row| row[2].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let sent = world.sent_to(2);
        assert_eq!(sent.iter().flat_map(named).collect::<Vec<_>>(), names, "{sent:?}");
    }
}

#[test]
fn spec_12_8_a_call_that_destroyed_its_transaction_gets_its_first_outcome_again() {
    let mut world = World::new();
    world.v1(1);
    let call = |id: &str| v1_action(1, id, "sql", json!(["INSERT OR ROLLBACK INTO items (id, name) VALUES ('a', '')"]));
    world.handle(vec![call("x")]);
    let first = world.sent_to(1);
    assert_eq!(first[0]["type"], "success");
    world.handle(vec![call("x")]);
    assert_eq!(world.sent_to(1), first);
    world.handle(vec![call("y")]);
    assert_eq!(world.sent_to(1)[0]["type"], "error");
}

#[test]
fn spec_12_8_a_client_in_use_is_not_dropped_and_a_dropped_ones_calls_are_nobodys() {
    use partysync_protocol::limits::DAY_MS;

    let mut world = World::new();
    world.v1(1);
    world.v1(2);
    world.handle(vec![put(1, "one"), put(2, "two")]);
    // The first goes on every day, the second not.
    for day in 1..=95 {
        world.now = common::START + day * DAY_MS;
        let id = format!("day{day}");
        world.handle(vec![Event::Alarm, v1_action(1, &id, "nothing", Json::Null)]);
    }
    assert_eq!(world.query("SELECT client FROM _client"), [[json!("v1:0::pk1")]]);
    assert_eq!(
        world.query("SELECT count(*) FROM _call WHERE handle NOT IN (SELECT handle FROM _client)"),
        [[json!(0)]]
    );
    world.v1(3);
    world.handle(vec![v1_action(3, "day95", "put", json!({"id": "three", "slug": null, "name": ""}))]);
    assert_eq!(world.sent_to(3)[0]["result"][0][0], "three");
}

#[test]
fn spec_5_6_ids_of_calls_without_a_name_differ_within_a_batch() {
    let mut world = World::new();
    world.handle(vec![Event::opened(ConnectionId(1)), Event::opened(ConnectionId(2))]);
    let call = |c| v1_action(c, "1", "new", Json::Null);
    world.handle(vec![call(1), call(2), call(1)]);
    assert_eq!(world.rows().len(), 3);
}

#[test]
fn spec_12_8_one_pk_of_two_identities_is_two_clients() {
    let mut world = World::new();
    for (connection, identity) in [(1, "ann"), (2, "bob")] {
        let info = ConnectionInfo {
            key: Some("same".to_owned()),
            identity: Some(identity.to_owned()),
            ..ConnectionInfo::default()
        };
        let call = v1_action(connection, "1", "new", Json::Null);
        world.handle(vec![Event::Opened { connection: ConnectionId(connection), info }, call]);
    }
    assert_eq!(world.rows().len(), 2, "each call was run");
}
