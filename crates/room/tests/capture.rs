//! SPEC 3 and 4: whatever way SQL changes rows, every client ends up with the room's rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Mirror, Screen, World, v1_action};
use partysync_model::Db;
use serde_json::{Value as Json, json};

struct Two {
    world: World,
    screen: Screen,
    mirror: Mirror,
}

impl Two {
    fn new() -> Self {
        let mut world = World::new();
        let screen = world.v1(1);
        let mut mirror = Mirror::new(2);
        mirror.join(&mut world);
        Two { world, screen, mirror }
    }

    /// Runs SQL as one action and checks that both clients hold what the room holds. Returns the action's rows.
    fn sql(&mut self, statements: &[&str]) -> Json {
        let id = self.world.version().to_string();
        self.world.handle(vec![v1_action(1, &id, "sql", json!(statements))]);
        self.screen.see(&self.world.effects);
        self.mirror.see(&self.world.effects);
        let rows = self.world.rows();
        assert_eq!((&self.screen.rows, &self.mirror.rows), (&rows, &rows), "after {statements:?}");
        assert_eq!(self.mirror.cursor, Some(self.world.room.cursor()));
        self.screen.answers.pop().unwrap().1.unwrap_or_else(|error| panic!("{statements:?}: {error}"))
    }

    fn ops(&mut self) -> Vec<Vec<Json>> {
        let version = self.world.version();
        self.world.query(&format!("SELECT channel, id, op FROM _change WHERE version = {version}"))
    }
}

const ONE: &str = "INSERT INTO items (id, slug, name) VALUES ('one', 'first', 'x')";

#[test]
fn spec_4_2_insert_or_replace_on_a_second_unique_column() {
    let mut two = Two::new();
    two.sql(&[ONE]);
    two.sql(&["INSERT OR REPLACE INTO items (id, slug, name) VALUES ('two', 'first', 'y')"]);
    assert_eq!(two.ops(), [vec![json!(1), json!("one"), json!(1)], vec![json!(1), json!("two"), json!(0)]]);
    assert_eq!(two.screen.rows.len(), 1);
}

#[test]
fn spec_4_2_a_cascade() {
    let mut two = Two::new();
    two.sql(&[ONE, "INSERT INTO parts (id, item) VALUES (1, 'one'), (2, 'one'), (3, NULL)"]);
    two.sql(&["DELETE FROM items WHERE id = 'one'"]);
    assert_eq!(two.screen.rows.len(), 1, "the part without an item stays");
}

#[test]
fn spec_4_3_an_update_of_the_id_is_a_delete_and_a_put() {
    let mut two = Two::new();
    two.sql(&[ONE]);
    let result = two.sql(&["UPDATE items SET id = 'uno' WHERE id = 'one'"]);
    assert_eq!(result.as_array().unwrap().len(), 2, "{result}");
    two.sql(&["UPDATE parts SET id = -id", "INSERT INTO parts (id) VALUES (1), (2)"]);
    // Two rows swap their ids.
    two.sql(&[
        "UPDATE parts SET id = 0 WHERE id = 1",
        "UPDATE parts SET id = 1 WHERE id = 2",
        "UPDATE parts SET id = 2 WHERE id = 0",
    ]);
}

#[test]
fn spec_4_1_the_last_change_of_a_key_within_an_action_counts() {
    let mut two = Two::new();
    two.sql(&[ONE, "DELETE FROM items", ONE, "UPDATE items SET name = 'z'"]);
    assert_eq!(two.ops(), [vec![json!(1), json!("one"), json!(0)]]);
    two.sql(&["DELETE FROM items", ONE, "DELETE FROM items"]);
    assert_eq!(two.ops(), [vec![json!(1), json!("one"), json!(1)]]);
}

#[test]
fn spec_4_1_no_conflict_clause_of_the_app_loses_a_capture() {
    for clause in ["ROLLBACK", "ABORT", "FAIL", "IGNORE", "REPLACE"] {
        let mut two = Two::new();
        two.sql(&[ONE]);
        let sql = format!("INSERT OR {clause} INTO items (id, slug, name) VALUES ('two', NULL, 'y')");
        let update = format!("UPDATE OR {clause} items SET name = name || '!'");
        two.sql(&[&sql, &update, &update]);
        assert_eq!(two.screen.rows.len(), 2, "{clause}");
    }
}

#[test]
fn spec_3_3_a_row_that_sql_marks_deleted_is_deleted_and_can_be_revived() {
    let mut two = Two::new();
    two.sql(&[ONE]);
    let result = two.sql(&["UPDATE items SET deleted_at = 5 WHERE id = 'one'"]);
    let at = result[0][5].clone();
    assert_eq!(result[0], json!(["one", null, null, null, at, at]), "blanked, two equal times");
    // SPEC 3.5: typed insert finds the id free.
    let put = v1_action(1, "revive", "put", json!({"id": "one", "slug": "first", "name": "again"}));
    two.world.handle(vec![put]);
    two.mirror.see(&two.world.effects);
    assert_eq!(two.world.rows(), two.mirror.rows);
    assert_eq!(two.mirror.rows.len(), 1);
}

#[test]
fn spec_3_4_times_are_the_engines() {
    let mut two = Two::new();
    let result = two.sql(&["INSERT INTO parts (id, created_at, updated_at) VALUES (1, 'yesterday', 17)"]);
    let created = result.as_array().unwrap().len();
    assert_eq!(created, 0, "another channel's rows are not in the result");
    let at = |two: &mut Two| two.world.query("SELECT at FROM _log ORDER BY version DESC LIMIT 1")[0][0].clone();
    let first = at(&mut two);
    assert_eq!(two.screen.rows[&("parts".into(), "1".into())], json!([1, null, null, first, first, null]));
    two.sql(&["UPDATE parts SET updated_at = 3, item = NULL"]);
    let second = at(&mut two);
    assert_eq!(two.screen.rows[&("parts".into(), "1".into())], json!([1, null, null, first, second, null]));
}

#[test]
fn spec_2_5_times_grow_when_the_clock_stands_or_jumps_back() {
    let mut two = Two::new();
    for (i, now) in [5_000, 5_000, 3, -8].into_iter().enumerate() {
        two.world.now = common::START + now;
        two.sql(&[&format!("INSERT INTO parts (id) VALUES ({i})")]);
    }
    let ats: Vec<i64> =
        two.world.query("SELECT at FROM _log ORDER BY version").iter().map(|r| r[0].as_i64().unwrap()).collect();
    assert!(ats.windows(2).all(|w| w[0] < w[1]), "{ats:?}");
}

#[test]
fn spec_2_1_a_step_that_changes_no_row_of_a_channel_has_no_version() {
    let mut two = Two::new();
    two.sql(&[ONE]);
    let before = two.world.room.cursor();
    // It does change a private table: the shop's tally.
    assert_eq!(two.sql(&["DELETE FROM items WHERE id = 'nobody'"]), json!([]));
    assert_eq!(two.world.room.cursor(), before);
}

#[test]
fn spec_4_1_a_trigger_of_the_app_that_takes_the_row_back_leaves_a_delete() {
    let mut two = Two::new();
    for (name, time) in [("early", "BEFORE INSERT"), ("late", "AFTER INSERT")] {
        let sql = format!(
            "CREATE TRIGGER {name} {time} ON parts WHEN new.id = 13 BEGIN DELETE FROM parts WHERE id = 13; END"
        );
        two.world.room.db_mut().execute(partysync_model::Origin::Engine, &sql, &[]).unwrap();
    }
    two.sql(&["INSERT INTO parts (id) VALUES (13)"]);
    assert_eq!(two.ops(), [vec![json!(2), json!(13), json!(1)]]);
}

#[test]
fn spec_4_4_a_trigger_of_the_app_is_captured_and_stamped_too() {
    let mut two = Two::new();
    two.world
        .room
        .db_mut()
        .execute(
            partysync_model::Origin::Engine,
            "CREATE TRIGGER chain AFTER UPDATE OF updated_at ON parts WHEN new.id < 4 \
             BEGIN INSERT INTO parts (id) VALUES (new.id + 1); END",
            &[],
        )
        .unwrap();
    two.sql(&["INSERT INTO parts (id) VALUES (1)"]);
    assert_eq!(two.screen.rows.len(), 4, "each stamp made the next row");
    assert!(two.world.rows().values().all(|row| row[4] == row[3] && row[3].is_i64()));
}
