//! P5 and SPEC 5: five actions in one group, the middle one of which fails in each way there is. The other four are unharmed, on
//! disk and on every screen, and nothing of the fifth is left: no row, no version, nothing in the app's field.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Mirror, Screen, World, put, v1_action};
use partysync_room::{ConnectionId, Effect, Event};
use partysync_sqlite::Options;
use serde_json::{Value as Json, json};

/// Runs the group, checks the four, and returns the answer to the fifth.
fn five(options: &Options, middle: Event) -> Json {
    let mut world = World::with(options);
    let mut sender = world.v1(1);
    let mut listener = world.v1(2);
    let mut mirror = Mirror::new(3);
    mirror.join(&mut world);
    world.handle(vec![put(1, "a"), put(1, "b"), middle, put(1, "d"), put(1, "e")]);
    see(&world, &mut [&mut sender, &mut listener], &mut mirror);

    assert_eq!(sender.answers.len(), 5, "{:?}", sender.answers);
    for (i, id) in [(0, "a"), (1, "b"), (3, "d"), (4, "e")] {
        let (answered, result) = &sender.answers[i];
        assert_eq!((answered, result.as_ref().map(|rows| &rows[0][0])), (&json!(id), Ok(&json!(id))));
    }
    let rows = world.rows();
    let ids: Vec<&str> = rows.keys().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, [r#""a""#, r#""b""#, r#""d""#, r#""e""#]);
    assert_eq!((&sender.rows, &listener.rows, &mirror.rows), (&rows, &rows, &rows));
    assert_eq!(world.query("SELECT version FROM _log").len(), 5, "versions 0 to 4");
    assert_eq!((world.version(), mirror.cursor), (4, Some(world.room.cursor())));

    // The app's field was made anew, or this would be rejected as torn; and the room goes on.
    world.handle(vec![put(2, "f")]);
    see(&world, &mut [&mut sender, &mut listener], &mut mirror);
    assert_eq!(listener.answers.last().unwrap().1.as_ref().unwrap()[0][0], "f");
    let rows = world.rows();
    assert_eq!((rows.len(), &sender.rows, &mirror.rows), (5, &rows, &rows));
    sender.answers.swap_remove(2).1.expect_err("the middle action must fail")
}

fn see(world: &World, screens: &mut [&mut Screen], mirror: &mut Mirror) {
    screens.iter_mut().for_each(|s| s.see(&world.effects));
    mirror.see(&world.effects);
}

fn sql(statements: &[&str]) -> Event {
    v1_action(1, "c", "sql", json!(statements))
}

const TRACE: &str = "INSERT INTO items (id, name) VALUES ('trace', 'must not stay')";

#[test]
fn p5_a_rejection() {
    let error = five(&Options::default(), v1_action(1, "c", "reject", Json::Null));
    assert_eq!(error, json!(["The shop says no."]));
}

#[test]
fn p5_a_panic() {
    let error = five(&Options::default(), v1_action(1, "c", "panic", Json::Null));
    assert_eq!(error, json!(["The action failed."]), "what it panicked with is not the client's business");
}

#[test]
fn p5_an_interrupt() {
    let spin = "INSERT INTO items (id, name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                SELECT 'spin' || i, '' FROM n";
    let options = Options { action_steps: 100_000, ..Options::default() };
    assert_eq!(five(&options, sql(&[TRACE, spin])), json!(["The action took too long."]));
}

#[test]
fn p5_an_insert_or_rollback() {
    let error =
        five(&Options::default(), sql(&[TRACE, "INSERT OR ROLLBACK INTO items (id, name) VALUES ('trace', '')"]));
    assert_eq!(error, json!(["A record with this value exists already."]));
}

#[test]
fn p5_a_raise_rollback_in_a_trigger() {
    let error = five(&Options::default(), sql(&[TRACE, "INSERT INTO tripwire VALUES (1)"]));
    assert_eq!(error, json!(["The change breaks a rule of the data."]));
}

#[test]
fn p5_a_rollback_whose_error_the_app_ignores() {
    let trip = v1_action(1, "c", "swallow", json!("INSERT INTO tripwire VALUES (1)"));
    assert_eq!(five(&Options::default(), trip), json!(["The action failed."]));
}

/// What the room remembers of a client in memory must be forgotten with the group that is lost.
#[test]
fn p4_the_numbers_of_a_lost_group_run_again() {
    let mut world = World::new();
    let mut mirror = Mirror::new(1);
    mirror.join(&mut world);
    let put = |m: &Mirror, n: u64| m.action(n, "put", json!({"id": n.to_string(), "slug": null, "name": ""}));
    let trip = mirror.action(3, "sql", json!([TRACE, "INSERT INTO tripwire VALUES (1)"]));
    world.handle(vec![put(&mirror, 1), put(&mirror, 2), trip, put(&mirror, 4), put(&mirror, 5)]);
    mirror.see(&world.effects);
    let expected = [(1, Ok(1)), (2, Ok(2)), (3, Err("constraint".to_owned())), (4, Ok(3)), (5, Ok(4))];
    assert_eq!(mirror.settled, expected);
    assert_eq!((mirror.rows.len(), &mirror.rows), (4, &world.rows()));
}

#[test]
fn p5_a_deferred_foreign_key() {
    let error = five(&Options::default(), sql(&[TRACE, "INSERT INTO parts (id, owner) VALUES (1, 'nobody')"]));
    assert_eq!(error, json!(["The change breaks a rule of the data."]));
}

#[test]
fn p5_a_full_disk() {
    let options = Options { max_pages: Some(200), ..Options::default() };
    let large = "INSERT INTO items (id, name) VALUES ('large', hex(zeroblob(900000)))";
    let error = five(&options, sql(&[TRACE, large]));
    assert_eq!(error, json!(["The room cannot store anything at the moment."]));
}

#[test]
fn p5_sql_that_is_not_allowed() {
    for forbidden in
        ["COMMIT", "PRAGMA foreign_keys = OFF", "DELETE FROM _log", "DROP TABLE items", "SELECT * FROM _client"]
    {
        assert_eq!(five(&Options::default(), sql(&[TRACE, forbidden])), json!(["The action failed."]), "{forbidden}");
    }
}

#[test]
fn spec_4_4_a_claim_that_the_triggers_did_not_see() {
    assert_eq!(five(&Options::default(), v1_action(1, "c", "lie", Json::Null)), json!(["The action failed."]));
}

#[test]
fn spec_11_action_rows_at_the_limit_and_one_past_it() {
    let limit = partysync_protocol::limits::ACTION_ROWS;
    let error = five(&Options::default(), v1_action(1, "c", "many", json!(limit + 1)));
    assert_eq!(error, json!(["The action changes more records than it may."]));
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![v1_action(1, "c", "many", json!(limit))]);
    assert_eq!(world.rows().len(), limit);
}

#[test]
fn spec_11_action_bytes_at_the_limit_and_one_past_it() {
    let limit = partysync_protocol::limits::ACTION_BYTES;
    let padded = |bytes: usize| {
        let empty = json!({"type": "put", "payload": {"id": "c", "slug": null, "name": ""}}).to_string();
        v1_action(1, "c", "put", json!({"id": "c", "slug": null, "name": "x".repeat(bytes - empty.len())}))
    };
    assert_eq!(five(&Options::default(), padded(limit + 1)), json!(["The message is larger than the room takes."]));
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![padded(limit)]);
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn spec_3_2_a_value_that_cannot_travel() {
    for value in ["9007199254740992", "x'00'", "9e999"] {
        // The typed tables are STRICT: a raw one takes anything.
        let insert = format!("INSERT INTO parts (id, owner) VALUES ({value}, NULL)");
        let error = five(&Options::default(), sql(&[TRACE, &insert]));
        assert_ne!(error, Json::Null, "{value}");
    }
}

#[test]
fn p5_the_operator_hears_of_the_apps_mistakes_and_not_of_rejections() {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![v1_action(1, "c", "panic", Json::Null)]);
    let reports: Vec<_> = world.effects.iter().filter(|e| matches!(e, Effect::Report(_))).collect();
    assert!(format!("{reports:?}").contains("the shop is on fire"), "{reports:?}");
    world.handle(vec![v1_action(1, "d", "reject", Json::Null), Event::closed(ConnectionId(1))]);
    assert!(!world.effects.iter().any(|e| matches!(e, Effect::Report(_))), "{:?}", world.effects);
}
