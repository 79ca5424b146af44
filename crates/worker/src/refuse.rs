//! What the app's SQL may not do (SPEC 4.6).
//!
//! Natively SQLite asks an authoriser, who sees what a statement means. A Durable Object has none, so here its words are
//! looked at. That is coarser: a name is refused wherever it stands.

use partysync_model::Origin;

use crate::token::{Kind, Token};

/// What a statement of an action may not begin with. What is neither here nor SQL is for SQLite to refuse.
const NOT_IN_ACTIONS: [&str; 5] = ["CREATE", "ALTER", "DROP", "REINDEX", "ANALYZE"];

/// What no statement of the app may begin with.
const NEVER: [&str; 10] =
    ["ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "PRAGMA", "RELEASE", "ROLLBACK", "SAVEPOINT", "VACUUM"];

/// Keywords that reset the whole room if what they stand for happens: every socket closes, and all that ran since the
/// event began is undone. Natively they cost a transaction; here a client could keep a room down with one action.
const KILLERS: [&str; 2] = ["ROLLBACK", "DEFERRED"];

/// The engine's tables (SPEC 7.1), which a text names too where only a table can stand.
const ENGINE_TABLES: [&str; 10] =
    ["_meta", "_channel", "_log", "_change", "_client", "_reject", "_call", "_timer", "_outbox", "_away"];

/// Tables of SQLite's own that start-up and migrations may read.
const SCHEMA_TABLES: [&str; 5] = ["sqlite_master", "sqlite_schema", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"];

/// Says what the app's statement may not do, if it does it.
pub(crate) fn refusal(origin: Origin, tokens: &[Token<'_>]) -> Option<String> {
    let verb = &tokens[0];
    if verb.is_any(&NEVER) || origin == Origin::Action && verb.is_any(&NOT_IN_ACTIONS) {
        return Some(verb.text.to_ascii_uppercase());
    }
    let refused = tokens.iter().find(|t| t.is_any(&KILLERS) || names_engine(origin, t));
    refused.map(|t| t.text.to_owned())
}

/// Whether a token is a name that the engine or SQLite keeps to itself (SPEC 3.1).
fn names_engine(origin: Origin, token: &Token<'_>) -> bool {
    let Some(name) = token.name() else { return false };
    let name = name.to_ascii_lowercase();
    let is_schema = SCHEMA_TABLES.contains(&name.as_str());
    if token.kind == Kind::Text {
        // Most texts are just that. These would be found if they stood for a table.
        return ENGINE_TABLES.contains(&name.as_str())
            || name.starts_with("pragma_")
            || is_schema && origin == Origin::Action;
    }
    name.starts_with('_')
        || name.starts_with("pragma_")
        || name.starts_with("sqlite_") && !(is_schema && origin == Origin::Setup)
}

#[cfg(test)]
mod tests {
    use partysync_model::{Db, Schema, Tx};
    use partysync_room::{Call, Changed, Input, Room, RoomName, SyncServer};
    use partysync_sqlite::{Options, SqliteDb};

    use super::*;
    use crate::statement::Statement;

    fn allowed(origin: Origin, sql: &str) -> bool {
        Statement::of_app(sql).unwrap().allow(origin).is_ok()
    }

    #[test]
    fn spec_4_6_actions_read_and_write_rows_and_do_nothing_else() {
        for sql in [
            "SELECT * FROM notes WHERE text LIKE '%rollback%' -- ROLLBACK",
            "INSERT INTO notes VALUES ('_mine', \"rollback\", 'PRAGMA') ON CONFLICT DO NOTHING",
            "WITH a AS (SELECT 1) UPDATE notes SET text = replace(text, 'drop', 'create') RETURNING *",
            "DELETE FROM notes",
            "REPLACE INTO notes VALUES ('begin')",
            "SELEC 1",
        ] {
            assert!(allowed(Origin::Action, sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE a (b)",
            "drop table notes",
            "ALTER TABLE notes ADD COLUMN x",
            "REINDEX",
            "ANALYZE",
            "PRAGMA table_info(notes)",
            "/* */ Pragma defer_foreign_keys = ON",
            "BEGIN",
            "COMMIT",
            "END",
            "ROLLBACK",
            "SAVEPOINT a",
            "RELEASE a",
            "ATTACH 'a' AS b",
            "DETACH b",
            "VACUUM",
            "INSERT OR ROLLBACK INTO notes VALUES (1)",
            "UPDATE OR rollback notes SET id = 1",
            "SELECT * FROM _log",
            "SELECT * FROM main.\"_LOG\"",
            "SELECT * FROM [_log]",
            "SELECT * FROM `_log`",
            "SELECT * FROM '_log'",
            "SELECT 1 WHERE 1 IN '_Meta'",
            "WITH _a AS (SELECT 1) SELECT * FROM _a",
            "SELECT * FROM sqlite_schema",
            "SELECT * FROM 'sqlite_master'",
            "SELECT * FROM pragma_table_info('notes')",
            "SELECT * FROM 'pragma_table_info'",
        ] {
            assert!(!allowed(Origin::Action, sql), "{sql}");
        }
    }

    #[test]
    fn spec_4_6_setup_makes_tables_that_cannot_kill_a_room() {
        for sql in [
            "CREATE TABLE a (b REFERENCES c ON DELETE CASCADE DEFERRABLE INITIALLY IMMEDIATE)",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT RAISE(ABORT, 'no'); END",
            "SELECT name FROM sqlite_schema",
            "ALTER TABLE a RENAME TO b",
            "ANALYZE",
        ] {
            assert!(allowed(Origin::Setup, sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE a (b UNIQUE ON CONFLICT ROLLBACK)",
            "CREATE TABLE a (b REFERENCES c DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM _log; END",
            "ALTER TABLE a RENAME TO _b",
            "DROP TRIGGER _capture_1_insert",
            "DELETE FROM _change",
            "PRAGMA recursive_triggers = OFF",
            "SELECT * FROM sqlite_dbpage",
        ] {
            assert!(!allowed(Origin::Setup, sql), "{sql}");
        }
    }

    struct Nothing;

    impl SyncServer for Nothing {
        fn schema(&self) -> Schema {
            Schema::new()
        }

        fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, partysync_model::ActionError> {
            Ok(Changed::Captured)
        }
    }

    #[test]
    fn spec_7_1_every_table_that_the_engine_makes_is_known_here() {
        let db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        let name = RoomName::new("a", "b");
        let mut room = Room::open(db, name, || Nothing, Input { now: 1, random: 1 }).unwrap();
        let mut found = Vec::new();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        room.db_mut().query(Origin::Engine, sql, &[], &mut |row| found.push(format!("{:?}", row.value(0)))).unwrap();
        let mut known = ENGINE_TABLES.map(|name| format!("Text({name:?})"));
        known.sort();
        found.sort();
        assert_eq!(found, known);
    }
}
