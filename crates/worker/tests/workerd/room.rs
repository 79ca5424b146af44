//! The room's core: the same events, the same effects.

use std::time::Instant;

use partysync_model::Seed;
use serde_json::json;

use crate::app::Action;
use crate::script::{End, Happening, Line, Op, Param, Whose};
use crate::twins::Twins;

const CLIENT: &str = "000102030405060708090a0b0c0d0e0f";
const OTHER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

/// Twins and a clock.
struct Rooms {
    twins: Twins,
    now: i64,
    random: u64,
    /// All that was said.
    said: Vec<String>,
}

impl Rooms {
    fn new(name: &'static str) -> Self {
        let mut rooms = Rooms { twins: Twins::new(name), now: 1_700_000_000_000, random: 1, said: Vec::new() };
        rooms.open();
        rooms
    }

    fn open(&mut self) {
        let (now, random) = (self.now, self.random);
        let said = self.twins.run(|| vec![Line::Open { now, random }]);
        assert!(said[0].starts_with("open at"), "{said:?}");
        self.said.extend(said);
    }

    /// Hands both a batch of events.
    fn batch(&mut self, events: impl Fn() -> Vec<Happening>) {
        // Not always forward.
        self.now += if self.random.is_multiple_of(7) { -50 } else { 1_000 };
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (now, random) = (self.now, self.random);
        self.said.extend(self.twins.run(|| vec![Line::Handle { now, random, events: events() }]));
    }

    /// One frame of a connection.
    fn text(&mut self, connection: u64, text: &serde_json::Value) {
        self.batch(|| vec![Happening::Text { connection, text: text.to_string() }]);
    }

    fn connect(&mut self, connection: u64, key: Option<&str>) {
        self.batch(|| vec![Happening::Opened { connection, key: key.map(str::to_owned), identity: None }]);
    }

    /// A version 1 action.
    fn call(&mut self, connection: u64, id: &str, channel: &str, action: &Action) {
        self.text(connection, &json!({ "id": id, "channel": channel, "action": action }));
    }

    /// A version 2 action.
    fn action(&mut self, connection: u64, number: u64, channel: &str, action: &Action) {
        let frame =
            json!({ "type": "action", "room": "spike/lobby", "number": number, "channel": channel, "action": action });
        self.text(connection, &frame);
    }

    fn join(&mut self, connection: u64, client: &str, born: Option<u64>, cursor: &serde_json::Value) {
        self.connect(connection, None);
        self.text(connection, &json!({ "type": "hello", "versions": [2] }));
        let join = json!({ "type": "join", "room": "spike/lobby", "client": client, "cursor": cursor, "born": born });
        self.text(connection, &join);
    }

    /// Rows of the database, the engine's tables included.
    fn look(&mut self, sql: &str) {
        let op = || Op::Query { whose: Whose::Engine, sql: sql.to_owned(), params: Vec::new() };
        self.said.extend(self.twins.run(|| vec![Line::Db(vec![op()])]));
    }

    /// Compares all that the engine keeps.
    fn look_at_everything(&mut self) {
        for table in
            ["_meta", "_channel", "_log", "_change", "_client", "_reject", "_call", "_timer", "_outbox", "_away"]
        {
            self.look(&format!("SELECT * FROM {table}"));
        }
        for table in ["todos", "tags", "notes", "private"] {
            self.look(&format!("SELECT *, rowid FROM {table}"));
            self.look(&format!("SELECT * FROM {table}"));
        }
    }

    #[track_caller]
    fn demand(&self, wanted: &[&str]) {
        for wanted in wanted {
            assert!(self.said.iter().any(|line| line.contains(wanted)), "{wanted:?} is not in {:#?}", self.said);
        }
    }

    /// The last cursor that a frame of this type carried.
    fn cursor(&self) -> serde_json::Value {
        let frames = self.said.iter().rev().filter_map(|line| line.split_once(": ")).map(|(_, frame)| frame);
        let frames = frames.filter_map(|frame| serde_json::from_str::<serde_json::Value>(frame).ok());
        let mut cursors = frames.filter_map(|f| match f["type"].as_str() {
            Some("patch") => Some(json!({ "version": f["to"], "stamp": f["stamp"] })),
            Some("joined") => Some(json!({ "version": f["version"], "stamp": f["stamp"] })),
            _ => None,
        });
        cursors.next().unwrap()
    }
}

fn sql(statements: &[(&str, &[Param])]) -> Action {
    let sql = statements.iter().map(|(sql, params)| ((*sql).to_owned(), params.to_vec())).collect();
    Action::Sql { sql, claims: None }
}

fn add(title: &str, weight: f64, position: Option<i64>) -> Action {
    Action::Add { list: "x".to_owned(), title: title.to_owned(), weight, position }
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn version_1_syncs_and_actions() {
    let mut rooms = Rooms::new("v1");
    rooms.connect(1, Some("key"));
    rooms.connect(2, None);
    rooms.text(1, &json!({ "channel": "todos", "sync": true, "from": null }));
    rooms.text(2, &json!({ "channel": "todos", "sync": true, "from": null }));
    rooms.text(2, &json!({ "channel": "notes", "sync": true, "from": 0 }));
    rooms.call(1, "a", "todos", &add("first \"quoted\" ä\u{1}", 1.0, Some(1)));
    rooms.call(1, "b", "todos", &add("second", 0.1, None));
    rooms.call(2, "c", "todos", &add("taken", 1e300, Some(1)));
    rooms.call(1, "a", "todos", &add("first", 1.0, Some(1)));
    rooms.call(1, "d", "nowhere", &Action::Reject);
    rooms.call(1, "e", "tags", &Action::Reject);
    rooms.call(1, "e", "tags", &Action::Reject);
    rooms.call(1, "f", "notes", &Action::Count);
    rooms.call(1, "g", "notes", &Action::Panic);
    rooms.call(1, "h", "notes", &Action::Count);
    rooms.text(1, &json!({ "id": 5, "channel": "todos", "action": { "type": "nope" } }));
    rooms.text(1, &json!("no frame"));
    rooms.batch(|| vec![Happening::Binary { connection: 1 }]);
    rooms.text(1, &json!({ "channel": "todos", "sync": true, "from": 1_700_000_007_000_i64 }));
    rooms.text(1, &json!({ "channel": "todos", "sync": true, "from": "what" }));
    rooms.text(1, &json!({ "channel": "nowhere", "sync": true, "from": null }));
    rooms.batch(|| vec![Happening::Closed { connection: 2 }]);
    rooms.call(1, "i", "todos", &sql(&[("DELETE FROM todos WHERE title = 'second'", &[])]));
    rooms.text(1, &json!({ "channel": "todos", "sync": true, "from": "what" }));
    rooms.look_at_everything();
    rooms.demand(&["\"success\"", "\"error\":[\"Not today.\"]", "\"exception\"", "\"update\"", ",1.0,1,", "panicked"]);
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn version_2_joins_acts_resumes_and_repeats() {
    let mut rooms = Rooms::new("v2");
    rooms.join(1, CLIENT, None, &json!(null));
    rooms.join(2, OTHER, None, &json!(null));
    for number in 1..=3 {
        rooms.action(1, number, "todos", &add(&format!("todo {number}"), number as f64 / 2.0, Some(number as i64)));
    }
    let old = rooms.cursor();
    rooms.action(1, 4, "todos", &add("taken", 0.0, Some(1)));
    rooms.action(1, 4, "todos", &add("taken", 0.0, Some(1)));
    rooms.action(1, 2, "todos", &add("todo 2", 1.0, Some(2)));
    rooms.action(1, 9, "todos", &add("a gap", 0.0, None));
    rooms.action(2, 1, "tags", &Action::Tag { id: -7, name: "seven".to_owned() });
    rooms.action(2, 2, "tags", &Action::Tag { id: 1 << 53, name: "too large".to_owned() });
    rooms.action(2, 3, "tags", &Action::Reject);
    rooms.action(2, 4, "tags", &Action::Panic);
    rooms.action(2, 5, "todos", &Action::Title { id: "nobody".to_owned(), title: String::new() });
    let first = Seed::of_action(&CLIENT.parse().unwrap(), 1).id(0);
    rooms.action(2, 6, "todos", &Action::Title { id: first.clone(), title: "changed".to_owned() });
    rooms.action(2, 7, "todos", &Action::Remove { id: first });
    rooms.text(2, &json!({ "type": "have", "room": "spike/lobby", "version": 5, "number": 6 }));
    rooms.text(1, &json!({ "type": "ping" }));
    // Many in one batch, and one among them that fails.
    rooms.batch(|| {
        let action = |connection, number, action: &Action| Happening::Text {
            connection,
            text: json!({ "type": "action", "room": "spike/lobby", "number": number, "channel": "notes", "action": action })
                .to_string(),
        };
        vec![
            action(1, 5, &Action::Count),
            action(2, 8, &Action::Panic),
            action(1, 6, &Action::Count),
            action(2, 9, &sql(&[("INSERT INTO notes (id, text) VALUES ('x', ?)", &[Param::Blob(vec![1])])])),
            action(1, 7, &Action::Count),
        ]
    });
    rooms.join(3, CLIENT, Some(0), &old);
    let cursor = rooms.cursor();
    rooms.join(4, CLIENT, Some(0), &cursor);
    rooms.join(5, CLIENT, Some(0), &json!({ "version": cursor["version"], "stamp": 1 }));
    rooms.join(6, "00000000000000000000000000000001", Some(2), &json!(null));
    rooms.text(3, &json!({ "type": "leave", "room": "spike/lobby" }));
    rooms.batch(|| vec![Happening::Binary { connection: 4 }]);
    rooms.look_at_everything();
    rooms.demand(&["\"welcome\"", "\"reset\":true", "\"reset\":false", "\"snapshot\"", "\"patch\"", "\"ack\""]);
    rooms.demand(&[
        "\"number_gap\"",
        "\"duplicate\"",
        "\"value_unsupported\"",
        "\"rejected\"",
        "\"app_error\"",
        "1003",
    ]);
    rooms.demand(&["\"gone\"", "\"deletes\":[\""]);
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn spec_4_triggers_capture_what_sql_does() {
    let mut rooms = Rooms::new("capture");
    rooms.join(1, CLIENT, None, &json!(null));
    let two = Param::Integer(2);
    let statements: &[&[(&str, &[Param])]] = &[
        &[("INSERT INTO tags (id, name) VALUES (1, 'a'), (?, 'b'), (3, 'c')", std::slice::from_ref(&two))],
        // Removes by the key one row and by the name another.
        &[("INSERT OR REPLACE INTO tags (id, name) VALUES (1, 'b')", &[])],
        &[("REPLACE INTO tags (id, name) VALUES (?, 'c')", std::slice::from_ref(&two))],
        &[("UPDATE OR REPLACE tags SET name = 'b' WHERE id = 2", &[])],
        &[("UPDATE tags SET id = id + 10", &[])],
        &[
            (
                "INSERT INTO todos (id, list, title, done, weight) VALUES ('t', 'x', '', 0, 3), ('u', 'x', '', 0, 3.5)",
                &[],
            ),
            ("INSERT INTO notes (id, todo) VALUES ('n', 't'), ('m', 't'), ('o', 'u')", &[]),
        ],
        &[("UPDATE todos SET id = 'tt' WHERE id = 't'", &[])],
        &[("DELETE FROM todos WHERE id = 'tt'", &[])],
        &[("INSERT OR REPLACE INTO todos (id, list, title, done, weight) VALUES ('u', 'y', '', 1, -0.0)", &[])],
        &[(
            "INSERT INTO notes (id, text) VALUES ('o', 5), ('p', 5.0), ('q', '5'), ('r', ?)",
            &[Param::Real("2.0".to_owned())],
        )],
        &[("UPDATE notes SET deleted_at = 1 WHERE id = 'o'", &[])],
        &[("INSERT INTO notes (id) VALUES ('o') ON CONFLICT DO UPDATE SET deleted_at = NULL", &[])],
        &[("INSERT INTO notes (id) VALUES ('gone')", &[]), ("DELETE FROM notes WHERE id = 'gone'", &[])],
        &[("UPDATE notes SET created_at = 'text' WHERE id = 'p'", &[])],
        &[("UPDATE notes SET created_at = NULL, updated_at = 7 WHERE id = 'p' RETURNING *", &[])],
        &[("INSERT INTO private VALUES (?)", std::slice::from_ref(&two)), ("DELETE FROM private", &[])],
        &[("INSERT INTO notes (id, text) VALUES ('big', ?)", &[Param::Integer(i64::MAX)])],
        &[("INSERT INTO notes (id, text) VALUES ('inf', 1e999)", &[])],
        &[("INSERT OR ABORT INTO tags (id, name) VALUES (50, 'z'), (51, 'z')", &[])],
        &[("INSERT OR FAIL INTO tags (id, name) VALUES (50, 'z'), (51, 'z')", &[])],
        &[("INSERT OR IGNORE INTO tags (id, name) VALUES (50, 'y'), (51, 'y')", &[])],
        &[("DROP TABLE tags", &[])],
        &[("DELETE FROM _log", &[])],
        &[("PRAGMA recursive_triggers = OFF", &[])],
        &[("SELEC 1", &[])],
        &[("DELETE FROM tags", &[])],
    ];
    for (number, statements) in (1..).zip(statements) {
        rooms.action(1, number, "tags", &sql(statements));
        rooms.look("SELECT channel, id, op, typeof(id) FROM _change WHERE version = (SELECT max(version) FROM _log)");
    }
    let mut number = statements.len() as u64;
    for (id, claimed) in [("yes", "yes"), ("no", "other")] {
        number += 1;
        let insert = format!("INSERT INTO notes (id) VALUES ('{id}') RETURNING id");
        let claims = Some(vec![Param::Text(claimed.to_owned())]);
        rooms.action(1, number, "notes", &Action::Sql { sql: vec![(insert, Vec::new())], claims });
    }
    let seen = "SELECT id, typeof(text), text, created_at IS updated_at FROM notes ORDER BY id";
    rooms.action(1, number + 1, "notes", &Action::Note { id: "seen".to_owned(), query: seen.to_owned() });
    rooms.look_at_everything();
    rooms.demand(&["\"deletes\":[", "\"value_unsupported\"", "\"constraint\"", "\"duplicate\"", "\"app_error\""]);
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn alarms_and_the_purge() {
    let mut rooms = Rooms::new("alarms");
    rooms.join(1, CLIENT, None, &json!(null));
    let at = rooms.now + 60_000;
    rooms.action(1, 1, "notes", &Action::Alarm { at });
    rooms.batch(|| vec![Happening::Alarm]);
    rooms.now = at;
    rooms.batch(|| vec![Happening::Alarm]);
    rooms.action(1, 2, "notes", &sql(&[("UPDATE notes SET deleted_at = 1", &[])]));
    rooms.now += 61_000;
    rooms.batch(|| vec![Happening::Alarm]);
    // Two days, a month, and a year later.
    for days in [2, 31, 365] {
        rooms.now += days * 24 * 60 * 60 * 1_000;
        rooms.batch(|| vec![Happening::Alarm]);
        rooms.look_at_everything();
    }
    // By then the client was dropped.
    rooms.join(2, CLIENT, Some(0), &json!(null));
    rooms.demand(&["WakeAt(Some(", "alarm", "\"known\":false"]);
}

#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn spec_p3_what_was_answered_outlives_a_kill() {
    let mut rooms = Rooms::new("restart");
    rooms.join(1, CLIENT, None, &json!(null));
    rooms.action(1, 1, "todos", &add("one", 1.0, Some(1)));
    rooms.action(1, 2, "tags", &Action::Reject);
    let old = rooms.cursor();
    rooms.action(1, 3, "todos", &add("three", 3.0, None));
    rooms.twins.restart();
    rooms.open();
    rooms.join(1, CLIENT, Some(0), &old);
    // Their outcomes, not their effects.
    rooms.action(1, 2, "tags", &Action::Reject);
    rooms.action(1, 3, "todos", &add("three", 3.0, None));
    // The triggers are there, and recursive.
    rooms.action(
        1,
        4,
        "todos",
        &sql(&[(
            "INSERT OR REPLACE INTO todos (id, list, title, done, weight, position) VALUES ('r', '', '', 0, 0, 1)",
            &[],
        )]),
    );
    rooms.connect(2, Some("key"));
    rooms.text(2, &json!({ "channel": "todos", "sync": true, "from": "what" }));
    rooms.look_at_everything();
    rooms.demand(&["\"reset\":false", "\"last\":3", "Not today.", "\"deletes\":[\""]);
}

/// Makes a script of so many operations.
type Script<'s> = &'s dyn Fn(&str, i64) -> Vec<Line>;

/// Asserts nothing: `scripts/test-worker how_long --nocapture` shows it.
#[test]
#[ignore = "needs workerd: scripts/test-worker"]
fn how_long_it_takes() {
    let mut twins = Twins::new("cost");
    twins.run(|| vec![Line::Open { now: 1, random: 1 }]);
    let query = |sql: &str, n: i64| {
        let op = |i| Op::Query { whose: Whose::Action, sql: sql.to_owned(), params: vec![Param::Integer(i)] };
        vec![Line::Db(vec![Op::Transaction { ops: (0..n).map(op).collect(), end: End::Keep }])]
    };
    let actions = |_: &str, n: i64| {
        let text =
            |i| json!({ "id": i, "channel": "todos", "action": add("some words of text", 0.5, None) }).to_string();
        let events = (0..n).map(|i| Happening::Text { connection: 1, text: text(i) });
        let opened = Happening::Opened { connection: 1, key: Some("key".to_owned()), identity: None };
        vec![Line::Handle { now: 2, random: n.unsigned_abs(), events: std::iter::once(opened).chain(events).collect() }]
    };
    let insert = "INSERT INTO tags (id, name) VALUES (?, 'a' || ?1) ON CONFLICT DO NOTHING";
    let select = "SELECT * FROM tags WHERE id = ?";
    let scripts: [(&str, Script<'_>); 4] =
        [("SELECT ?", &query), (insert, &query), (select, &query), ("version 1 action", &actions)];
    for (what, script) in scripts {
        let mut took = [0.0, 0.0];
        // The difference is without the request, and without what is done but once.
        for (n, sign) in [(2_000, 1.0), (10, -1.0)] {
            let started = Instant::now();
            twins.run_worker(script(what, n));
            took[0] += sign * started.elapsed().as_secs_f64();
            let started = Instant::now();
            twins.run_native(script(what, n));
            took[1] += sign * started.elapsed().as_secs_f64();
        }
        let [workerd, native] = took.map(|seconds| seconds * 1e6 / 1_990.0);
        println!("{what}: {workerd:.1} us each in workerd, {native:.1} us natively (not optimised)");
    }
}
