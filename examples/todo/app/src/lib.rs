//! The room: a todo list. It is the same on the native server and on Durable Objects.

#![forbid(unsafe_code)]

use partysync::{ActionError, Call, Changed, Record, Schema, SyncServer, Tx, Value};
use serde::Deserialize;

/// Characters that a todo's text may have.
const TEXT_CHARS: usize = 200;

/// Todos that a list may have.
const TODOS: i64 = 10_000;

/// A row of the list.
#[derive(Record, Debug, Clone, PartialEq)]
pub struct Todo {
    /// Chosen by the page, which can so speak of a todo before the room knows it.
    pub id: String,
    /// What is to be done.
    pub text: String,
    /// Whether it is done.
    pub completed: bool,
}

/// What a page can ask for.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(partysync::typescript::TS), ts(crate = "partysync::typescript::ts_rs"))]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Action {
    Create {
        id: String,
        text: String,
    },
    Edit {
        id: String,
        text: String,
    },
    Complete {
        id: String,
        completed: bool,
    },
    Delete {
        id: String,
    },
    /// Removes all that are done.
    Tidy,
}

fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Create { id, text } => {
            check(&text)?;
            check_room_for_one(tx)?;
            tx.table().insert(&Todo { id, text, completed: false })
        }
        Action::Edit { id, text } => {
            check(&text)?;
            change(tx, &id, |todo| todo.text = text)
        }
        Action::Complete { id, completed } => change(tx, &id, |todo| todo.completed = completed),
        // Two people may delete the same todo: both get what they want.
        Action::Delete { id } => tx.table::<Todo>().delete(id).map(|_| ()),
        Action::Tidy => {
            for todo in tx.table::<Todo>().by(Todo::COMPLETED, &true)? {
                tx.table::<Todo>().delete(todo.id)?;
            }
            Ok(())
        }
    }
}

/// Changes that part of a todo which an action is about, so that nobody undoes what somebody else did to the rest.
fn change(tx: &mut Tx<'_>, id: &str, change: impl FnOnce(&mut Todo)) -> Result<(), ActionError> {
    let todo = tx.table::<Todo>().get(id)?;
    let mut todo = todo.ok_or_else(|| ActionError::reject("gone", "Somebody has deleted it."))?;
    change(&mut todo);
    tx.table().update(&todo)
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

fn check_room_for_one(tx: &mut Tx<'_>) -> Result<(), ActionError> {
    let count = tx.query("SELECT count(*) FROM todos", &[])?;
    match count.first().and_then(|row| row.first()) {
        Some(Value::Integer(count)) if *count < TODOS => Ok(()),
        _ => Err(ActionError::reject("full", "The list is full: delete something first.")),
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
    use partysync::typescript::{StaleTypes, TypeScript};
    use partysync::{ErrorCode, Seed};
    use partysync_sqlite::{Options, SqliteDb};
    use serde_json::{Value as Json, json};

    use super::*;

    /// A list, as the room has it.
    struct List(SqliteDb);

    impl List {
        fn new() -> Self {
            let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
            for sql in Todo::table().create_sql() {
                db.execute(Origin::Engine, sql, &[]).unwrap();
            }
            List(db)
        }

        fn tx(&mut self) -> Tx<'_> {
            Tx::new(&mut self.0, Origin::Action, 1_700_000_000_000, Seed::of_step("test", &[]))
        }

        fn run(&mut self, action: &Json) -> Result<(), ActionError> {
            apply_json(&mut self.tx(), &action.to_string(), apply)
        }

        /// The reason and the text of a rejection.
        fn refusal(&mut self, action: &Json) -> (String, String) {
            let error = self.run(action).unwrap_err();
            (error.to_wire().reason.unwrap_or_default(), error.text().to_owned())
        }

        fn todos(&mut self) -> Vec<(String, String, bool)> {
            let todos = self.tx().table::<Todo>().all().unwrap();
            todos.into_iter().map(|todo| (todo.id, todo.text, todo.completed)).collect()
        }
    }

    fn create(id: &str, text: &str) -> Json {
        json!({"type": "create", "payload": {"id": id, "text": text}})
    }

    fn edit(id: &str, text: &str) -> Json {
        json!({"type": "edit", "payload": {"id": id, "text": text}})
    }

    fn complete(id: &str, completed: bool) -> Json {
        json!({"type": "complete", "payload": {"id": id, "completed": completed}})
    }

    fn delete(id: &str) -> Json {
        json!({"type": "delete", "payload": {"id": id}})
    }

    fn todo(id: &str, text: &str, completed: bool) -> (String, String, bool) {
        (id.to_owned(), text.to_owned(), completed)
    }

    #[test]
    fn the_page_has_the_types_of_the_room() -> Result<(), StaleTypes> {
        TypeScript::of(&Todos.schema()).actions::<Action>().check("../web/src/generated.ts")
    }

    #[test]
    fn todos_are_created_edited_completed_and_deleted() {
        let mut list = List::new();
        list.run(&create("a", "Milk")).unwrap();
        list.run(&create("b", "Bread")).unwrap();
        list.run(&edit("a", "Oat milk")).unwrap();
        list.run(&complete("a", true)).unwrap();
        list.run(&edit("a", "Soy milk")).unwrap();
        assert_eq!(list.todos(), [todo("a", "Soy milk", true), todo("b", "Bread", false)]);
        list.run(&delete("b")).unwrap();
        list.run(&delete("b")).unwrap();
        list.run(&complete("a", false)).unwrap();
        assert_eq!(list.todos(), [todo("a", "Soy milk", false)]);
    }

    #[test]
    fn what_is_done_is_tidied_away() {
        let mut list = List::new();
        for id in ["a", "b", "c"] {
            list.run(&create(id, id)).unwrap();
        }
        list.run(&complete("a", true)).unwrap();
        list.run(&complete("c", true)).unwrap();
        list.run(&json!({"type": "tidy"})).unwrap();
        assert_eq!(list.todos(), [todo("b", "b", false)]);
    }

    #[test]
    fn what_somebody_has_deleted_cannot_be_changed() {
        let mut list = List::new();
        for action in [edit("a", "Milk"), complete("a", true)] {
            assert_eq!(list.refusal(&action), ("gone".into(), "Somebody has deleted it.".into()));
        }
        list.run(&create("a", "Milk")).unwrap();
        assert_eq!(list.run(&create("a", "Bread")).unwrap_err().code(), ErrorCode::Duplicate);
    }

    #[test]
    fn a_text_is_neither_blank_nor_longer_than_200_characters() {
        let mut list = List::new();
        // 200 characters, 800 bytes.
        let longest = "🥛".repeat(TEXT_CHARS);
        list.run(&create("a", &longest)).unwrap();
        list.run(&edit("a", &longest)).unwrap();
        let too_long = longest.clone() + "x";
        for (text, reason) in [("", "empty"), (" \n\u{a0}", "empty"), (&too_long, "too_long")] {
            for action in [create("b", text), edit("a", text)] {
                assert_eq!(list.refusal(&action).0, reason);
            }
        }
        assert_eq!(list.todos(), [todo("a", &longest, false)]);
    }

    #[test]
    fn a_list_has_at_most_10_000_todos() {
        let mut list = List::new();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO todos (id, text, completed) SELECT i, 'Milk', 0 FROM n";
        list.0.execute(Origin::Engine, fill, &[Value::Integer(TODOS - 1)]).unwrap();
        list.run(&create("last", "Bread")).unwrap();
        assert_eq!(list.refusal(&create("more", "Tea")).0, "full");
        list.run(&edit("last", "Rye bread")).unwrap();
        list.run(&delete("1")).unwrap();
        list.run(&create("more", "Tea")).unwrap();
    }

    #[test]
    fn an_action_of_another_shape_is_not_known() {
        let mut list = List::new();
        for action in
            [json!({"type": "clear"}), json!({"type": "delete"}), json!(null), complete("a", true)["payload"].clone()]
        {
            assert_eq!(list.run(&action).unwrap_err().code(), ErrorCode::BadAction);
        }
    }
}
