//! SPEC 8.36: snapshots that outlive changes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::{Mirror, World, put, v1_action};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_room::{ConnectionId, Effect, Event};
use serde_json::json;

/// A room of so many rows, and a writer.
fn full(rows: usize) -> World {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![v1_action(1, "many", "many", json!(rows))]);
    world
}

/// Where the first snapshot lies in memory that a connection was just sent: two that are the same were encoded once.
fn encoding(world: &World, connection: u64) -> usize {
    let snapshot = world.effects.iter().find_map(|effect| match effect {
        Effect::Send { to, frame } if *to == ConnectionId(connection) && frame.contains(r#""type":"snapshot""#) => {
            Some(frame.clone().into_shared().as_ptr() as usize)
        }
        _ => None,
    });
    snapshot.unwrap()
}

/// Joins as a client that is new, and holds what the room has. Returns where the snapshot lies.
fn join(world: &mut World, connection: u64) -> usize {
    let mut mirror = Mirror::new(connection);
    mirror.join(world);
    let encoded = encoding(world, connection);
    assert_eq!((mirror.rows, mirror.cursor), (world.rows(), Some(world.room.cursor())), "joiner {connection}");
    encoded
}

#[test]
fn spec_8_36_a_storm_of_joiners_costs_one_encoding_while_others_write() {
    let mut world = full(1_000);
    let mut encodings = Vec::new();
    for joiner in 10..70 {
        let id = format!("many{joiner}");
        let (kind, payload) = match joiner % 3 {
            0 => ("delete", json!(id)),
            1 => ("change", json!({"id": id, "slug": null, "name": "changed"})),
            _ => ("put", json!({"id": format!("new{joiner}"), "slug": null, "name": ""})),
        };
        world.handle(vec![v1_action(1, &joiner.to_string(), kind, payload)]);
        let before = encodings.last().copied();
        encodings.push(join(&mut world, joiner));
        assert_eq!(before.unwrap_or(encodings[0]), encodings[0], "kept so far");
    }
    assert_eq!(encodings.iter().collect::<BTreeSet<_>>().len(), 1);
    let joined = &world.sent_to(69)[1];
    assert_eq!((joined["newest"].as_u64(), joined["version"].as_u64()), (Some(61), Some(2)), "{joined}");
}

#[test]
fn spec_8_36_at_one_version_there_is_no_patch_and_no_newest() {
    let mut world = full(10);
    let first = join(&mut world, 2);
    assert_eq!(join(&mut world, 3), first);
    let sent = world.sent_to(3);
    assert!(sent.iter().all(|frame| frame["type"] != "patch") && sent[1].get("newest").is_none(), "{sent:?}");
}

#[test]
fn spec_8_36_it_is_made_anew_when_more_than_an_eighth_changed() {
    let mut world = full(800);
    let first = join(&mut world, 2);
    let bytes: usize = world.sent_to(2).iter().filter(|f| f["type"] == "snapshot").map(|f| f.to_string().len()).sum();
    let row = |name: &str| json!({"id": "many1", "slug": null, "name": name});
    // One row, again and again: each change counts.
    let change = |world: &mut World, i: usize, name: &str| {
        world.handle(vec![v1_action(1, &i.to_string(), "change", row(name))]);
        let payload = world.query("SELECT * FROM items WHERE id = 'many1'")[0].clone();
        serde_json::Value::from(payload).to_string().len()
    };
    let (mut changed, mut i) = (0, 0);
    while changed + 300 <= bytes / 8 {
        changed += change(&mut world, i, "x");
        i += 1;
    }
    assert_eq!(join(&mut world, 3), first, "{changed} of {bytes}");
    change(&mut world, i, &"x".repeat(300));
    assert_ne!(join(&mut world, 4), first, "more than {} of {bytes}", changed + 300);
}

#[test]
fn spec_11_snapshot_kept_ms_at_the_limit_and_one_past_it() {
    let mut world = full(800);
    let first = join(&mut world, 2);
    // Each call takes 10 ms of the world's time.
    world.now += limits::SNAPSHOT_KEPT_MS - 11;
    let again = join(&mut world, 3);
    assert_eq!(again, first, "a millisecond before");
    world.handle(vec![put(1, "a")]);
    world.now += limits::SNAPSHOT_KEPT_MS - 21;
    assert_eq!(join(&mut world, 4), first, "since somebody last joined by it");
    world.now += limits::SNAPSHOT_KEPT_MS - 10;
    join(&mut world, 5);
    assert_eq!(world.sent_to(5)[1].get("newest"), None, "it was made anew");
}

#[test]
fn spec_8_36_a_clock_that_is_set_back_keeps_it_no_longer() {
    let mut world = full(800);
    join(&mut world, 2);
    world.now -= 10 * DAY_MS;
    world.handle(vec![put(1, "a")]);
    world.now += limits::SNAPSHOT_KEPT_MS;
    world.handle(vec![]);
    join(&mut world, 3);
    assert_eq!(world.sent_to(3)[1].get("newest"), None, "it was made anew");
}

#[test]
fn spec_8_36_a_purge_drops_it_for_the_log_may_not_lead_on_from_it() {
    let mut world = full(800);
    // The purge is due a day after the first version.
    world.now += DAY_MS - 60;
    join(&mut world, 2);
    world.handle(vec![put(1, "a")]);
    join(&mut world, 3);
    assert!(world.sent_to(3)[1].get("newest").is_some(), "it is kept");
    world.now += 60;
    world.handle(vec![Event::Alarm]);
    join(&mut world, 4);
    assert_eq!(world.sent_to(4)[1].get("newest"), None, "it was made anew");
}

#[test]
fn spec_11_a_chunk_of_large_rows_is_of_so_many_bytes() {
    let mut world = World::new();
    world.v1(1);
    for i in 0..9 {
        let name = "x".repeat(200 << 10);
        world.handle(vec![v1_action(
            1,
            &i.to_string(),
            "put",
            json!({"id": i.to_string(), "slug": null, "name": name}),
        )]);
    }
    join(&mut world, 2);
    let chunks: Vec<usize> = world
        .sent_to(2)
        .iter()
        .filter(|frame| frame["type"] == "snapshot")
        .map(|frame| frame["rows"].as_array().unwrap().len())
        .collect();
    assert_eq!(chunks, [5, 4, 0]);
}
