//! The derive macro finds the model's types through the facade: this crate's tests import nothing else.

use partysync::Record;

#[derive(Record)]
struct Note {
    id: i64,
    #[record(unique)]
    text: Option<String>,
}

#[test]
fn a_record_can_be_derived_by_users_of_the_facade_alone() {
    assert_eq!(Note::table().name(), "notes");
    let note = Note { id: 1, text: None };
    assert_eq!(note.to_values(), [partysync::Value::Integer(1), partysync::Value::Null]);
}
