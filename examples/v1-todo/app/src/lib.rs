//! The room: a todo list. It is the same on the native server (`..`) and on Durable Objects (`../worker`).

#![forbid(unsafe_code)]

use partysync::{ActionError, Call, Changed, Record, Schema, SyncServer, Tx};
use serde::{Deserialize, Deserializer};

/// Characters that a todo's text may have.
const TEXT_CHARS: usize = 200;

/// A row of the list.
#[derive(Record, Debug, Clone, PartialEq, Deserialize)]
pub struct Todo {
    /// Chosen by the client.
    pub id: String,
    /// What is to be done.
    pub text: String,
    /// Whether it is done.
    #[serde(deserialize_with = "flag")]
    pub completed: bool,
}

/// What a client can ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
pub enum Action {
    /// Adds a todo.
    Create(Todo),
    /// Changes one.
    Update(Todo),
    /// Removes one.
    Delete {
        /// Which.
        id: String,
    },
}

/// Applies an action to the list.
///
/// # Errors
///
/// A rejection, if the text is empty or too long; and what the table says.
pub fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Create(todo) => {
            check(&todo.text)?;
            tx.table::<Todo>().insert(&todo)
        }
        Action::Update(todo) => {
            check(&todo.text)?;
            tx.table::<Todo>().update(&todo)
        }
        // Two people may delete the same todo: both get what they want.
        Action::Delete { id } => tx.table::<Todo>().delete(id).map(|_| ()),
    }
}

fn check(text: &str) -> Result<(), ActionError> {
    if text.trim().is_empty() {
        return Err(ActionError::reject("empty", "Write something first."));
    }
    if text.chars().count() > TEXT_CHARS {
        return Err(ActionError::reject("too_long", "A todo may have at most 200 characters."));
    }
    Ok(())
}

/// A boolean as version 1's clients have it: rows come to them with 0 and 1, and that is what they send back.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a boolean, 0 or 1")]
    enum Flag {
        Boolean(bool),
        Number(u8),
    }
    match Flag::deserialize(deserializer)? {
        Flag::Boolean(flag) => Ok(flag),
        Flag::Number(number @ 0..=1) => Ok(number == 1),
        Flag::Number(_) => Err(serde::de::Error::custom("a boolean, 0 or 1")),
    }
}

/// A room of the party `todos`.
pub struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, apply)
    }
}

#[cfg(test)]
mod tests {
    use partysync::model::{Db, Origin, apply_json};
    use partysync::{ErrorCode, MemoryDb, Seed};
    use partysync_sqlite::{Options, SqliteDb};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    /// Runs a test on what the client predicts with, and on what the server decides with.
    fn on_both(test: impl Fn(&mut dyn Db)) {
        test(&mut MemoryDb::new(Todos.schema().tables()));
        let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        for sql in Todo::table().create_sql() {
            db.execute(Origin::Engine, sql, &[]).unwrap();
        }
        test(&mut db);
    }

    fn run(db: &mut dyn Db, action: &Value) -> Result<(), ActionError> {
        apply_json(&mut tx(db), &action.to_string(), apply)
    }

    fn tx(db: &mut dyn Db) -> Tx<'_> {
        Tx::new(db, Origin::Action, NOW, Seed::of_step("test", &[]))
    }

    fn todos(db: &mut dyn Db) -> Vec<(String, String, bool)> {
        let todos = tx(db).table::<Todo>().all().unwrap();
        todos.into_iter().map(|todo| (todo.id, todo.text, todo.completed)).collect()
    }

    fn create(id: &str, text: &str) -> Value {
        json!({"type": "create", "payload": {"id": id, "text": text, "completed": 0}})
    }

    fn update(id: &str, text: &str, completed: Value) -> Value {
        json!({"type": "update", "payload": {"id": id, "text": text, "completed": completed}})
    }

    fn delete(id: &str) -> Value {
        json!({"type": "delete", "payload": {"id": id}})
    }

    fn todo(id: &str, text: &str, completed: bool) -> (String, String, bool) {
        (id.to_owned(), text.to_owned(), completed)
    }

    #[test]
    fn todos_are_created_updated_and_deleted() {
        on_both(|db| {
            run(db, &create("a", "Milk")).unwrap();
            run(db, &create("b", "Bread")).unwrap();
            run(db, &update("a", "Oat milk", json!(1))).unwrap();
            assert_eq!(todos(db), [todo("a", "Oat milk", true), todo("b", "Bread", false)]);
            run(db, &delete("a")).unwrap();
            assert_eq!(todos(db), [todo("b", "Bread", false)]);
        });
    }

    #[test]
    fn what_is_not_there_is_not_updated_but_may_be_deleted() {
        on_both(|db| {
            assert_eq!(run(db, &update("a", "Milk", json!(0))).unwrap_err().code(), ErrorCode::NotFound);
            run(db, &delete("a")).unwrap();
            assert_eq!(todos(db), []);
        });
    }

    #[test]
    fn an_id_is_used_once_and_again_after_its_todo_is_deleted() {
        on_both(|db| {
            run(db, &create("a", "Milk")).unwrap();
            assert_eq!(run(db, &create("a", "Bread")).unwrap_err().code(), ErrorCode::Duplicate);
            run(db, &delete("a")).unwrap();
            run(db, &create("a", "Tea")).unwrap();
            assert_eq!(todos(db), [todo("a", "Tea", false)]);
        });
    }

    #[test]
    fn a_text_is_neither_blank_nor_longer_than_200_characters() {
        on_both(|db| {
            // 200 characters, 800 bytes.
            let longest = "🥛".repeat(TEXT_CHARS);
            run(db, &create("a", &longest)).unwrap();
            run(db, &update("a", &longest, json!(1))).unwrap();
            let wrong = [("", "Write something first."), (" \n\u{a0}", "Write something first.")];
            let too_long = longest.clone() + "x";
            for (text, why) in wrong.into_iter().chain([(&*too_long, "A todo may have at most 200 characters.")]) {
                for action in [create("b", text), update("a", text, json!(0))] {
                    let error = run(db, &action).unwrap_err();
                    assert_eq!((error.code(), error.text()), (ErrorCode::Rejected, why));
                }
            }
            assert_eq!(todos(db), [todo("a", &longest, true)]);
        });
    }

    #[test]
    fn completed_is_a_boolean_or_0_or_1() {
        on_both(|db| {
            run(db, &create("a", "Milk")).unwrap();
            for (completed, is) in [(json!(true), true), (json!(0), false), (json!(1), true), (json!(false), false)] {
                run(db, &update("a", "Milk", completed)).unwrap();
                assert_eq!(todos(db), [todo("a", "Milk", is)]);
            }
            for completed in [json!(2), json!(-1), json!(0.5), json!("1"), json!(null), json!([])] {
                let error = run(db, &update("a", "Milk", completed)).unwrap_err();
                assert_eq!(error.code(), ErrorCode::BadAction);
            }
        });
    }

    #[test]
    fn an_action_of_another_type_is_not_known() {
        on_both(|db| {
            for action in [json!({"type": "clear"}), json!({"type": "delete"}), json!(null), json!("create")] {
                assert_eq!(run(db, &action).unwrap_err().code(), ErrorCode::BadAction);
            }
        });
    }
}
