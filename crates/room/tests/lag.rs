//! SPEC 8.25: what a slow reader gets in place of the broadcasts that its home left out.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Mirror, Screen, World, put, v1_action};
use partysync_protocol::limits::DAY_MS;
use partysync_room::{ConnectionId, Effect, Event};
use serde_json::json;

/// A home that leaves out broadcasts for a slow reader, all from one on, until it asks for what was missed.
#[derive(Default)]
struct Slow {
    since: Option<u64>,
}

impl Slow {
    /// What reaches the reader: everything that it is sent itself, and broadcasts until the first that is too much.
    fn reach(&mut self, connection: u64, effects: &[Effect], is_too_much: bool) -> Vec<Effect> {
        let listens = |effect: &&Effect| match effect {
            Effect::Broadcast { to, since, except, .. } if to.contains(&ConnectionId(connection)) => {
                if is_too_much && *except != Some(ConnectionId(connection)) {
                    self.since.get_or_insert(*since);
                }
                self.since.is_none()
            }
            _ => true,
        };
        effects.iter().filter(listens).cloned().collect()
    }

    fn catch_up(&mut self, connection: u64) -> Option<Event> {
        self.since.take().map(|since| Event::CatchUp { connection: ConnectionId(connection), since })
    }
}

/// What happens at one step of a random course: the next of a sequence that goes through all remainders.
fn next(random: &mut u64, choices: u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) % choices
}

#[test]
fn spec_8_25_and_p1_slow_readers_of_both_versions_hold_the_rooms_rows_once_they_read() {
    for seed in 0..60 {
        let mut random = seed;
        let mut world = World::new();
        world.v1(1);
        let mut screen = world.v1(2);
        let mut mirror = Mirror::new(3);
        mirror.join(&mut world);
        let (mut slow_screen, mut slow_mirror) = (Slow::default(), Slow::default());
        let mut left_out = 0;
        for step in 0..40 {
            let mut events = Vec::new();
            for i in 0..=next(&mut random, 3) {
                let (id, key) = (format!("{step}-{i}"), format!("k{}", next(&mut random, 5)));
                events.push(match next(&mut random, 3) {
                    0 => v1_action(1, &id, "delete", json!(key)),
                    1 => v1_action(1, &id, "change", json!({"id": key, "slug": null, "name": id})),
                    _ => put(1, &key),
                });
            }
            let ends = step == 39;
            if ends || next(&mut random, 4) == 0 {
                let place = next(&mut random, events.len() as u64 + 1) as usize;
                events.splice(place..place, slow_screen.catch_up(2).into_iter().chain(slow_mirror.catch_up(3)));
            }
            world.handle(events);
            let too_much = !ends && next(&mut random, 3) == 0;
            screen.see(&slow_screen.reach(2, &world.effects, too_much));
            mirror.see(&slow_mirror.reach(3, &world.effects, too_much));
            left_out += usize::from(slow_screen.since.is_some() && slow_mirror.since.is_some());
        }
        assert!(left_out > 0, "seed {seed} left nothing out");
        assert_eq!((&screen.rows, &mirror.rows), (&world.rows(), &world.rows()), "seed {seed}");
        assert_eq!((mirror.cursor, mirror.resets), (Some(world.room.cursor()), 1), "seed {seed}");
    }
}

/// A world whose log does not reach back to version 1, and a reader of each protocol that holds that version.
fn far_behind() -> (World, Screen, Mirror) {
    let mut world = World::new();
    world.v1(1);
    world.handle(vec![put(1, "a")]);
    let screen = world.v1(2);
    let mut mirror = Mirror::new(3);
    mirror.join(&mut world);
    world.handle(vec![put(1, "b"), v1_action(1, "x", "delete", json!("a"))]);
    world.now += 31 * DAY_MS;
    world.handle(vec![Event::Alarm]);
    assert_eq!(world.query("SELECT value FROM _meta WHERE name = 'floor'"), [[json!(3)]]);
    (world, screen, mirror)
}

#[test]
fn spec_8_25_below_the_floor_version_1_gets_all_and_version_2_is_told_to_come_back() {
    let (mut world, mut screen, mirror) = far_behind();
    let catch_up = |connection| Event::CatchUp { connection, since: 1 };
    world.handle(vec![catch_up(screen.connection), catch_up(mirror.connection)]);
    screen.see(&world.effects);
    assert_eq!(screen.rows, world.rows());
    let closes: Vec<&Effect> = world.effects.iter().filter(|e| matches!(e, Effect::Close { .. })).collect();
    assert!(matches!(closes[..], [Effect::Close { code: 1013, connection, .. }] if *connection == mirror.connection));
    // Nothing that it has sent counts any more.
    let version = world.version();
    world.handle(vec![mirror.action(1, "new", json!(null))]);
    assert_eq!(world.version(), version);
}

#[test]
fn spec_8_25_who_missed_nothing_or_is_gone_is_told_nothing() {
    let (mut world, _, _) = far_behind();
    let version = world.version();
    let catch_up = |connection, since| Event::CatchUp { connection: ConnectionId(connection), since };
    world.handle(vec![catch_up(2, version), catch_up(3, version), catch_up(9, 0)]);
    assert_eq!((world.sent_to(2), world.sent_to(3), world.sent_to(9)), (vec![], vec![], vec![]));
}
