//! What a page is told of rows and actions.

use partysync_derive::Record;
use partysync_model::Schema;
use partysync_typescript::{TS, TypeScript};
use serde::{Deserialize, Serialize};

/// One column of each kind.
#[derive(Record)]
#[allow(dead_code)]
struct Card {
    id: i64,
    title: String,
    done: bool,
    weight: f64,
    position: u32,
    note: Option<String>,
    urgent: Option<bool>,
}

#[derive(Record)]
#[record(table = "log-lines")]
#[allow(dead_code)]
struct Line {
    id: String,
}

#[derive(Record)]
#[allow(dead_code)]
struct Secret {
    id: String,
}

#[derive(Serialize, Deserialize, TS)]
#[ts(crate = "partysync_typescript::ts_rs")]
struct Place {
    list: String,
    position: Option<i64>,
}

/// What can be asked for.
#[derive(Serialize, Deserialize, TS)]
#[ts(crate = "partysync_typescript::ts_rs")]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
enum Action {
    /// To the end.
    Move {
        id: i64,
        to: Place,
    },
    MoveAll(Vec<Place>),
    Clear,
}

fn schema() -> Schema {
    Schema::new().record::<Card>().record::<Line>().raw("notes").private::<Secret>()
}

const EXPECTED: &str = r#"/** A row of `cards`, with `{ rows: "objects" }`. */
export type CardRow = {
  readonly id: number;
  readonly title: string;
  readonly done: 0 | 1;
  readonly weight: number;
  readonly position: number;
  readonly note: string | null;
  readonly urgent: 0 | 1 | null;
  readonly created_at: number;
  readonly updated_at: number;
  readonly deleted_at: null;
};

/** A row of `cards` as it travels. */
export type CardTuple = readonly [
  id: number,
  title: string,
  done: 0 | 1,
  weight: number,
  position: number,
  note: string | null,
  urgent: 0 | 1 | null,
  created_at: number,
  updated_at: number,
  deleted_at: null,
];

/** A row of `log-lines`, with `{ rows: "objects" }`. */
export type LineRow = {
  readonly id: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly deleted_at: null;
};

/** A row of `log-lines` as it travels. */
export type LineTuple = readonly [
  id: string,
  created_at: number,
  updated_at: number,
  deleted_at: null,
];

// The columns of `notes` are not known here: the app makes its table with SQL.

/** The rows of each channel. */
export interface Channels {
  readonly "cards": { readonly object: CardRow; readonly tuple: CardTuple };
  readonly "log-lines": { readonly object: LineRow; readonly tuple: LineTuple };
  readonly "notes": { readonly object: Record<string, unknown>; readonly tuple: readonly unknown[] };
}

/**
 * What can be asked for.
 */
export type Action = { "type": "move", "payload": { id: number, to: Place, } } | { "type": "move_all", "payload": Array<Place> } | { "type": "clear" };

export type Place = { list: string, position: number | null, };
"#;

#[test]
fn spec_3_2_rows_are_typed_as_they_travel_and_actions_as_serde_takes_them() {
    // A type is declared once, however often it is added; a private table is not a page's business.
    let types = TypeScript::of(&schema()).actions::<Action>().actions::<Place>();
    assert_eq!(types.text().unwrap(), EXPECTED);
}

#[test]
fn actions_are_read_by_serde_as_they_are_typed() {
    let place = || Place { list: "a".into(), position: None };
    let samples = [Action::Move { id: 1, to: place() }, Action::MoveAll(vec![place()]), Action::Clear];
    let json = samples.map(|action| serde_json::to_string(&action).unwrap());
    assert_eq!(
        json,
        [
            r#"{"type":"move","payload":{"id":1,"to":{"list":"a","position":null}}}"#,
            r#"{"type":"move_all","payload":[{"list":"a","position":null}]}"#,
            r#"{"type":"clear"}"#,
        ]
    );
}

#[test]
fn two_types_of_one_name_are_refused() {
    #[derive(TS)]
    #[ts(crate = "partysync_typescript::ts_rs")]
    #[allow(dead_code)]
    struct CardRow {
        id: i64,
    }
    let error = TypeScript::of(&schema()).actions::<CardRow>().text().unwrap_err();
    assert!(error.to_string().starts_with("two types would be named CardRow"), "{error}");
}
