//! SPEC 9: what a client shows and says, against a server that is a script.
#![allow(clippy::unwrap_used, clippy::panic)]

use partysync_client::{Client, Config, Effect, Event, Fate, Input};
use partysync_derive::Record;
use partysync_model::{ActionError, Record, Tx, Value, apply_json};
use partysync_protocol::{ErrorCode, Token, WireError, limits};
use serde::Deserialize;
use serde_json::{Value as Json, json};

const NOW: i64 = 1_700_000_000_000;
const ROOM: &str = "counts/a";

#[derive(Record)]
struct Count {
    id: String,
    value: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
enum Action {
    Add(i64),
    /// Named by an id that client and server derive alike.
    New,
    Sql,
    Panic,
}

fn apply(tx: &mut Tx<'_>, action: Action) -> Result<(), ActionError> {
    match action {
        Action::Add(n) => match tx.table::<Count>().get("total")? {
            Some(Count { id, value }) => tx.table().update(&Count { id, value: value + n }),
            None => tx.table().insert(&Count { id: "total".to_owned(), value: n }),
        },
        Action::New => {
            let id = tx.new_id();
            tx.table().insert(&Count { id, value: 0 })
        }
        Action::Sql => tx.execute("DELETE FROM counts", &[]).map(|_| ()),
        Action::Panic => panic!("in prediction"),
    }
}

fn config() -> Config {
    let apply = |tx: &mut Tx<'_>, _: &str, json: &str| apply_json(tx, json, apply);
    Config { room: ROOM.to_owned(), tables: vec![Count::table()], apply: Some(Box::new(apply)) }
}

/// A client, and all that it asked for since it was last looked at.
struct Table {
    client: Client,
    now: i64,
    effects: Vec<Effect>,
    /// What the user saw, each time it may have changed.
    seen: Vec<Option<i64>>,
}

impl Table {
    fn new() -> Self {
        Self::of(Client::new(config(), [1; 16]))
    }

    fn of(client: Client) -> Self {
        Table { client, now: NOW, effects: Vec::new(), seen: Vec::new() }
    }

    /// A client that has joined an empty room at version 0.
    fn joined() -> Self {
        let mut table = Self::new();
        table.handle(Event::Opened);
        table.welcome();
        table.text(joined(0, 0, true, true));
        table.text(snapshot(&json!([])));
        table.effects.clear();
        table.seen.clear();
        table
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.client.handle(Input { now: self.now, random: [self.now as u8 ^ 0xaa; 16] }, event, &mut effects);
        if effects.contains(&Effect::Changed) {
            self.seen.push(self.total());
        }
        self.effects.extend(effects);
    }

    fn text(&mut self, frame: Json) {
        self.handle(Event::Text(frame.to_string()));
    }

    fn welcome(&mut self) {
        self.text(json!({"type": "welcome", "version": 2, "rooms": 1, "ping_ms": 25_000, "frame_bytes": 1 << 20}));
    }

    fn act(&mut self, kind: &str, payload: Json) {
        let action = json!({"type": kind, "payload": payload}).to_string();
        self.handle(Event::Act { channel: "counts".to_owned(), action });
    }

    fn total(&self) -> Option<i64> {
        let total = |row: &&[Value]| row[0] == Value::from("total");
        self.client.rows("counts").find(total).map(|row| match row[1] {
            Value::Integer(value) => value,
            _ => panic!("{row:?}"),
        })
    }

    /// The frames sent since this was last asked.
    fn sent(&mut self) -> Vec<Json> {
        let effects = std::mem::take(&mut self.effects);
        effects
            .iter()
            .filter_map(|e| match e {
                Effect::Send(frame) => Some(serde_json::from_str(frame).unwrap()),
                _ => None,
            })
            .collect()
    }

    /// Numbers of the actions sent since this was last asked.
    fn numbers(&mut self) -> Vec<u64> {
        self.sent().iter().filter(|f| f["type"] == "action").map(|f| f["number"].as_u64().unwrap()).collect()
    }

    fn fates(&self) -> Vec<(u64, &Fate)> {
        let settled = |e| match e {
            &Effect::Settled { number, ref fate } => Some((number, fate)),
            _ => None,
        };
        self.effects.iter().filter_map(settled).collect()
    }
}

fn joined(version: u64, last: u64, reset: bool, known: bool) -> Json {
    json!({"type": "joined", "room": ROOM, "version": version, "stamp": version + 100, "last": last, "known": known,
           "reset": reset, "channels": {"counts": ["id", "value", "created_at", "updated_at", "deleted_at"]}})
}

fn snapshot(rows: &Json) -> Json {
    json!({"type": "snapshot", "room": ROOM, "channel": "counts", "rows": rows, "more": false})
}

fn total(value: i64) -> Json {
    json!(["total", value, NOW, NOW, null])
}

fn patch(from: u64, to: u64, puts: &Json) -> Json {
    json!({"type": "patch", "room": ROOM, "from": from, "to": to, "stamp": to + 100,
           "changes": [{"channel": "counts", "puts": puts, "deletes": []}]})
}

fn ack(number: u64, version: u64) -> Json {
    json!({"type": "ack", "room": ROOM, "number": number, "version": version})
}

#[test]
fn p6_a_pending_action_goes_in_the_step_in_which_its_effect_comes() {
    let mut table = Table::joined();
    table.act("add", json!(5));
    assert_eq!(table.numbers(), [1]);
    table.text(ack(1, 1));
    assert_eq!(table.client.pending().count(), 1, "acked, but its rows are not here");
    table.text(patch(0, 1, &json!([total(5)])));
    assert_eq!(table.client.pending().count(), 0);
    assert_eq!(table.fates(), [(1, &Fate::Applied { version: 1 })]);
    // Neither the old state nor the effect twice was ever on screen.
    assert_eq!(table.seen, [Some(5), Some(5)]);
}

#[test]
fn spec_9_1_others_changes_go_below_what_is_pending() {
    let mut table = Table::joined();
    table.act("add", json!(5));
    table.text(patch(0, 1, &json!([total(100)])));
    table.act("add", json!(1));
    assert_eq!(table.seen, [Some(5), Some(105), Some(106)]);
    table.text(ack(1, 2));
    table.text(patch(1, 2, &json!([total(105)])));
    assert_eq!((table.total(), table.client.pending().count()), (Some(106), 1));
}

#[test]
fn spec_9_2_a_rejection_rolls_back_and_says_why() {
    let mut table = Table::joined();
    table.act("add", json!(5));
    let error = json!({"code": "rejected", "reason": "no", "text": "Not today.", "fault": "client", "retry": "never"});
    table.text(json!({"type": "reject", "room": ROOM, "number": 1, "error": error}));
    assert_eq!(table.seen, [Some(5), None]);
    assert!(matches!(table.fates()[..], [(1, Fate::Rejected(WireError { text, .. }))] if text == "Not today."));
}

#[test]
fn spec_9_3_what_cannot_be_predicted_stays_pending_and_shows_nothing() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.act("sql", Json::Null);
    table.act("panic", Json::Null);
    table.act("nonsense", Json::Null);
    table.act("add", json!(1));
    assert_eq!((table.total(), table.client.pending().count()), (Some(2), 5));
    assert_eq!(table.numbers(), [1, 2, 3, 4, 5], "the server decides");
}

#[test]
fn spec_5_6_a_predicted_id_is_the_one_the_server_makes() {
    let mut table = Table::joined();
    table.act("new", Json::Null);
    let predicted = table.client.rows("counts").next().unwrap()[0].clone();
    let seed = partysync_model::Seed::of_action(&partysync_protocol::ClientId::from_random([1; 16]), 1);
    assert_eq!(predicted, Value::from(seed.id(0)));
}

#[test]
fn spec_9_4_after_a_reconnect_it_joins_with_what_it_has_and_sends_again() {
    let mut table = Table::new();
    table.act("add", json!(1));
    table.act("add", json!(1));
    assert_eq!(table.sent(), Vec::<Json>::new(), "there is no socket");
    table.handle(Event::Opened);
    table.welcome();
    let join = table.sent().pop().unwrap();
    assert_eq!((&join["born"], &join["cursor"]), (&Json::Null, &Json::Null));
    table.text(joined(7, 0, true, true));
    table.text(snapshot(&json!([total(10)])));
    assert_eq!((table.numbers(), table.total()), (vec![1, 2], Some(12)));
    table.text(ack(1, 8));
    table.handle(Event::Closed);
    table.handle(Event::Opened);
    table.welcome();
    let join = table.sent().pop().unwrap();
    assert_eq!((&join["born"], &join["cursor"]), (&json!(7), &json!({"version": 7, "stamp": 107})));
    table.text(joined(9, 2, false, true));
    assert_eq!(table.numbers(), [2], "the first one's outcome is known");
    table.text(patch(7, 9, &json!([total(12)])));
    table.text(ack(2, 9));
    assert_eq!((table.total(), table.client.pending().count()), (Some(12), 0));
}

#[test]
fn spec_9_5_a_reset_drops_rows_and_loses_no_pending_action() {
    let mut table = Table::joined();
    table.text(patch(0, 5, &json!([total(50), ["ghost", 1, NOW, NOW, null]])));
    table.act("add", json!(1));
    table.handle(Event::Closed);
    table.handle(Event::Opened);
    table.welcome();
    table.sent();
    table.text(joined(3, 0, true, true));
    table.text(snapshot(&json!([total(30)])));
    assert_eq!((table.total(), table.client.rows("counts").count(), table.numbers()), (Some(31), 1, vec![1]));
    assert_eq!(table.client.cursor().unwrap().version, 3);
}

#[test]
fn spec_8_36_and_p6_what_was_acked_goes_with_the_patch_that_follows_an_older_snapshot() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.act("add", json!(10));
    table.text(ack(1, 7));
    // One whose ack names a version of a history that is gone: it shows with the newest of this one.
    table.text(ack(2, 90));
    table.handle(Event::Closed);
    table.handle(Event::Opened);
    table.welcome();
    table.seen.clear();
    let mut joined = joined(5, 2, true, true);
    joined["newest"] = json!(9);
    table.text(joined);
    table.text(snapshot(&json!([total(100)])));
    assert_eq!((table.client.cursor().unwrap().version, table.client.pending().count()), (5, 2));
    table.text(patch(5, 9, &json!([total(111)])));
    assert_eq!((table.client.cursor().unwrap().version, table.client.pending().count()), (9, 0));
    assert_eq!(table.seen, [Some(111), Some(111)], "nothing flickers");
}

#[test]
fn spec_9_5_a_history_that_lost_what_was_settled_gets_a_new_client() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.text(ack(1, 1));
    table.text(patch(0, 1, &json!([total(1)])));
    table.act("add", json!(1));
    table.handle(Event::Closed);
    table.handle(Event::Opened);
    table.now += 1;
    table.welcome();
    let first = table.sent().pop().unwrap();
    table.text(joined(0, 0, true, true));
    let second = table.sent().pop().unwrap();
    assert_eq!((&second["type"], &second["born"]), (&json!("join"), &Json::Null));
    assert_ne!(first["client"], second["client"]);
    table.text(joined(0, 0, true, true));
    table.text(snapshot(&json!([])));
    assert_eq!((table.numbers(), table.total()), (vec![1], Some(1)), "what was settled is gone with the history");
}

#[test]
fn spec_6_7_a_forgotten_client_is_told_which_fates_nobody_knows() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.handle(Event::Closed);
    table.act("add", json!(2));
    table.handle(Event::Opened);
    table.welcome();
    table.effects.clear();
    table.text(joined(4, 0, true, false));
    assert!(matches!(table.fates()[..], [(1, Fate::Unknown(WireError { code, .. }))] if code == "client_unknown"));
    table.effects.clear();
    table.text(joined(4, 0, true, true));
    table.text(snapshot(&json!([])));
    assert_eq!((table.numbers(), table.total()), (vec![1], Some(2)), "what was never sent is sent, as number 1");
}

#[test]
fn spec_6_3_try_later_is_tried_later_with_all_behind_it() {
    let mut table = Table::joined();
    (0..3).for_each(|_| table.act("add", json!(1)));
    assert_eq!(table.numbers(), [1, 2, 3]);
    let error = serde_json::to_value(WireError::from(ErrorCode::StorageFull)).unwrap();
    table.text(ack(1, 1));
    table.text(json!({"type": "later", "room": ROOM, "number": 2, "after_ms": 2_000, "error": error}));
    table.text(json!({"type": "later", "room": ROOM, "number": 3, "after_ms": 2_000, "error": error}));
    table.now += 1_999;
    table.handle(Event::Tick);
    assert_eq!(table.numbers(), Vec::<u64>::new());
    assert_eq!(table.total(), Some(3), "unknown is not failed");
    table.now += 1;
    table.handle(Event::Tick);
    assert_eq!(table.numbers(), [2, 3]);
}

#[test]
fn spec_8_23_patches_it_holds_are_ignored_and_a_gap_makes_it_join_again() {
    let mut table = Table::joined();
    table.text(patch(0, 3, &json!([total(3)])));
    table.text(patch(1, 2, &json!([total(2)])));
    assert_eq!(table.total(), Some(3));
    table.text(patch(2, 4, &json!([total(4)])));
    assert_eq!(table.total(), Some(4), "one that overlaps is applied");
    table.sent();
    table.text(patch(5, 6, &json!([total(6)])));
    assert_eq!(table.total(), Some(4));
    assert_eq!(table.sent().pop().unwrap()["cursor"], json!({"version": 4, "stamp": 104}));
}

#[test]
fn spec_8_25_it_says_what_it_has_every_32_patches_or_after_a_second() {
    let mut table = Table::joined();
    let have = |table: &mut Table| {
        table.sent().iter().filter(|f| f["type"] == "have").map(|f| f["version"].as_u64()).collect::<Vec<_>>()
    };
    (0..32).for_each(|v| table.text(patch(v, v + 1, &json!([]))));
    assert_eq!(have(&mut table), [Some(32)]);
    table.text(patch(32, 33, &json!([])));
    table.now += 1_000;
    table.handle(Event::Tick);
    assert_eq!(have(&mut table), [Some(33)]);
    table.now += 1_000;
    table.handle(Event::Tick);
    assert_eq!(have(&mut table), [], "once");
}

#[test]
fn a_client_that_joins_again_with_something_to_say_does_not_ask_for_ticks_without_end() {
    let mut table = Table::joined();
    table.text(patch(0, 1, &json!([total(1)])));
    // A gap: it joins again, and says what it has when that is done.
    table.text(patch(5, 6, &json!([total(6)])));
    table.now += 5_000;
    table.effects.clear();
    table.handle(Event::Tick);
    let ticks = table.effects.iter().filter_map(|e| if let Effect::TickAt(at) = e { Some(*at) } else { None });
    assert!(ticks.min().is_some_and(|at| at > table.now), "{:?}", table.effects);
}

#[test]
fn spec_8_25_it_says_what_it_has_as_often_as_the_server_asks() {
    let mut table = Table::new();
    table.handle(Event::Opened);
    table.text(
        json!({"type": "welcome", "version": 2, "rooms": 1, "ping_ms": 25_000, "have_patches": 100, "have_ms": 5_000,
                      "frame_bytes": 1 << 20}),
    );
    table.text(joined(0, 0, true, true));
    table.text(snapshot(&json!([])));
    table.sent();
    let haves = |table: &mut Table| table.sent().iter().filter(|f| f["type"] == "have").count();
    (0..99).for_each(|v| table.text(patch(v, v + 1, &json!([]))));
    table.now += 4_999;
    table.handle(Event::Tick);
    assert_eq!(haves(&mut table), 0);
    table.text(patch(99, 100, &json!([])));
    assert_eq!(haves(&mut table), 1);
    table.text(patch(100, 101, &json!([])));
    table.now += 5_000;
    assert!(table.effects.contains(&Effect::TickAt(table.now)));
    table.handle(Event::Tick);
    assert_eq!(haves(&mut table), 1);
}

#[test]
fn spec_8_26_it_pings_and_gives_up_a_server_that_is_silent() {
    let mut table = Table::joined();
    for _ in 0..2 {
        table.now += 25_000;
        table.handle(Event::Tick);
        assert_eq!(table.sent().pop().unwrap()["type"], "ping");
    }
    table.now += 25_000;
    table.handle(Event::Tick);
    assert!(table.effects.contains(&Effect::Reconnect));
}

#[test]
fn a_client_goes_on_after_a_reload_where_it_stopped() {
    let mut table = Table::joined();
    table.text(patch(0, 3, &json!([total(30)])));
    table.act("add", json!(1));
    let saved = serde_json::to_string(&table.client.save()).unwrap();
    assert_eq!(table.total(), Some(31), "saving changes nothing on screen");
    let mut table = Table::of(Client::restore(config(), serde_json::from_str(&saved).unwrap()));
    assert_eq!(table.total(), Some(31));
    table.handle(Event::Opened);
    table.welcome();
    assert_eq!(table.sent().pop().unwrap()["cursor"], json!({"version": 3, "stamp": 103}));
    table.text(joined(3, 0, false, true));
    assert_eq!(table.numbers(), [1]);
}

#[test]
fn a_saved_state_whose_rows_cannot_be_read_keeps_its_pending_actions() {
    let mut table = Table::joined();
    table.text(patch(0, 3, &json!([total(30)])));
    table.act("add", json!(1));
    let mut saved = serde_json::to_value(table.client.save()).unwrap();
    saved["rows"]["counts"][0] = json!({"not": "a row"});
    let table = Table::of(Client::restore(config(), serde_json::from_value(saved).unwrap()));
    assert_eq!((table.client.cursor(), table.client.pending().count()), (None, 1));
    assert_eq!(table.total(), Some(1), "the prediction stands on nothing");
}

#[test]
fn frames_that_are_wrong_make_it_reconnect_and_never_panic() {
    for frame in ["nonsense", "{}", r#"{"type":"patch"}"#, r#"{"type":"welcome"}"#] {
        let mut table = Table::joined();
        table.handle(Event::Text(frame.to_owned()));
        assert!(table.effects.contains(&Effect::Reconnect), "{frame}");
    }
    let mut table = Table::joined();
    table.text(patch(0, 1, &json!([{"no": "row"}])));
    assert!(table.effects.contains(&Effect::Reconnect));
    assert_eq!(table.client.cursor(), None, "its rows are spoilt: it asks for all of them");
}

#[test]
fn spec_9_5_numbers_that_another_copy_used_are_not_taken_for_its_own() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.text(ack(1, 1));
    table.text(patch(0, 1, &json!([total(1)])));
    let saved = table.client.save();
    // The copy goes on to number 3; this one comes back and asks for its own number 2.
    let mut table = Table::of(Client::restore(config(), saved));
    table.act("add", json!(10));
    table.now += 2;
    table.handle(Event::Opened);
    table.welcome();
    table.sent();
    table.text(joined(3, 3, false, true));
    let again = table.sent().pop().unwrap();
    assert_eq!((&again["type"], &again["born"]), (&json!("join"), &Json::Null), "under a new id");
    table.text(joined(3, 0, false, true));
    table.text(patch(1, 3, &json!([total(3)])));
    assert_eq!((table.numbers(), table.total()), (vec![1], Some(13)));
}

#[test]
fn spec_9_5_what_was_acked_and_is_in_the_history_is_not_sent_again() {
    let mut table = Table::joined();
    (0..3).for_each(|_| table.act("add", json!(1)));
    table.text(ack(1, 1));
    table.text(ack(2, 2));
    table.handle(Event::Closed);
    table.handle(Event::Opened);
    table.now += 2;
    table.welcome();
    table.effects.clear();
    // A backup from after the first.
    table.text(joined(1, 1, true, true));
    table.text(joined(1, 0, true, true));
    assert_eq!((table.fates(), table.client.pending().count()), (vec![], 3), "its rows are not here yet");
    table.text(snapshot(&json!([total(1)])));
    assert!(matches!(table.fates()[..], [(_, Fate::Applied { version: 1 })]), "{:?}", table.fates());
    assert_eq!((table.numbers(), table.total()), (vec![1, 2], Some(3)));
}

#[test]
fn spec_6_7_an_acked_action_of_a_forgotten_client_was_applied() {
    let mut table = Table::joined();
    table.act("add", json!(1));
    table.text(ack(1, 1));
    table.effects.clear();
    table.text(joined(4, 0, true, false));
    assert_eq!(table.fates(), []);
    table.text(joined(4, 0, true, true));
    table.text(snapshot(&json!([total(1)])));
    assert!(matches!(table.fates()[..], [(_, Fate::Applied { version: 1 })]), "{:?}", table.fates());
    assert_eq!((table.numbers(), table.total()), (vec![], Some(1)));
}

#[test]
fn spec_8_6_an_action_that_no_room_takes_is_refused_at_once() {
    let mut table = Table::joined();
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    for (action, code) in
        [(deep, "bad_action"), ("x".repeat(300 << 10), "too_large"), ("nonsense".to_owned(), "bad_action")]
    {
        table.effects.clear();
        table.handle(Event::Act { channel: "counts".to_owned(), action });
        assert!(matches!(&table.effects[0], Effect::Error(error) if error.code == code), "{:?}", table.effects);
    }
    assert_eq!(table.client.pending().count(), 0);
}

#[test]
fn spec_14_6_what_comes_before_welcome_is_ignored_and_comes_again() {
    let mut table = Table::new();
    table.handle(Event::Opened);
    table.effects.clear();
    table.handle(Event::Text("plain words of the app".to_owned()));
    table.text(json!({"type": "message", "room": ROOM, "text": "too early"}));
    assert!(!table.effects.iter().any(|e| matches!(e, Effect::Reconnect | Effect::Message(_))), "{:?}", table.effects);
    table.handle(Event::Say("nobody listens".to_owned()));
    assert_eq!(table.sent(), Vec::<Json>::new());
    table.welcome();
    table.text(json!({"type": "message", "room": ROOM, "text": "hello"}));
    assert!(table.effects.contains(&Effect::Message("hello".to_owned())));
    table.handle(Event::Text("plain words of the app".to_owned()));
    assert!(table.effects.contains(&Effect::Reconnect));
}

#[test]
fn spec_14_7_a_client_says_something_to_the_app_in_the_room() {
    let mut table = Table::joined();
    table.handle(Event::Say("hi".to_owned()));
    assert_eq!(table.sent(), [json!({"type": "message", "room": ROOM, "text": "hi"})]);
}

fn token(token: &str) -> Event {
    Event::Token(Some(Token::new(token)))
}

fn left(reason: Option<&str>) -> Json {
    let error = WireError { reason: reason.map(str::to_owned), ..ErrorCode::NotAllowed.into() };
    json!({"type": "left", "room": ROOM, "error": error})
}

#[test]
fn spec_8_5_and_8_18_a_join_carries_the_token_and_another_one_is_sent_while_the_room_is_joined() {
    let mut table = Table::new();
    table.handle(token("one"));
    table.handle(Event::Opened);
    table.handle(token("two"));
    assert_eq!(table.sent(), [json!({"type": "hello", "versions": [2]})], "before `welcome` it is kept");
    table.welcome();
    assert_eq!(table.sent()[0]["token"], "two");
    for (event, sent) in [("three", true), ("three", false), ("four", true)] {
        table.handle(token(event));
        let frame = json!({"type": "token", "room": ROOM, "token": event});
        assert_eq!(table.sent(), if sent { vec![frame] } else { vec![] });
    }
    table.text(joined(0, 0, true, true));
    table.handle(token("five"));
    table.handle(Event::Token(None));
    assert_eq!(table.sent().len(), 1, "there is no frame that takes a token back");
    table.handle(Event::Closed);
    table.handle(token("six"));
    assert_eq!(table.sent(), Vec::<Json>::new());
}

#[test]
fn spec_9_8_a_client_that_is_told_expires_asks_for_a_token_and_goes_on() {
    let mut table = Table::joined();
    table.text(json!({"type": "expires", "room": ROOM, "after_ms": 60_000}));
    assert!(table.effects.contains(&Effect::Token { refused: None }), "{:?}", table.effects);
    assert!(table.client.is_live());
}

#[test]
fn spec_9_8_a_room_left_for_its_token_is_entered_again_on_the_same_socket_with_another_one_and_not_with_that() {
    let mut table = Table::new();
    table.handle(token("old"));
    table.handle(Event::Opened);
    table.welcome();
    table.text(joined(0, 0, true, true));
    table.text(snapshot(&json!([])));
    table.act("add", json!(2));
    table.effects.clear();
    table.text(left(Some("4401")));
    let refused = |e: &Effect| matches!(e, Effect::Token { refused: Some(error) } if error.is_unauthorized());
    assert_eq!(table.effects.iter().filter(|e| refused(e)).count(), 1);
    assert!(!table.effects.iter().any(|e| matches!(e, Effect::Left(_) | Effect::Reconnect)), "{:?}", table.effects);
    assert!(!table.client.is_live());
    table.effects.clear();
    table.act("add", json!(3));
    table.text(json!({"type": "patch", "room": ROOM, "from": 0, "to": 1, "stamp": 5, "changes": []}));
    table.handle(token("old"));
    table.handle(Event::Token(None));
    assert_eq!(table.sent(), Vec::<Json>::new());
    assert_eq!(table.client.cursor().unwrap().version, 0);
    table.handle(token("new"));
    let sent = table.sent();
    assert_eq!((&sent[0]["type"], &sent[0]["token"], sent.len()), (&json!("join"), &json!("new"), 1));
    table.text(joined(0, 0, false, true));
    assert_eq!(table.sent().len(), 2, "what is pending was not lost");
    // Once more: it is asked for as often as it is refused.
    table.text(left(Some("4401")));
    assert_eq!(table.effects.iter().filter(|e| refused(e)).count(), 1);
}

#[test]
fn spec_9_8_another_socket_brings_nobody_back_with_a_token_that_was_refused() {
    let mut table = Table::new();
    table.handle(token("old"));
    table.handle(Event::Opened);
    table.welcome();
    table.sent();
    table.text(left(Some("4401")));
    let hello = json!({"type": "hello", "versions": [2]});
    for shown in [token("old"), Event::Token(None), token("old")] {
        table.handle(shown);
        table.handle(Event::Closed);
        table.handle(Event::Opened);
        table.welcome();
        table.text(joined(0, 0, true, true));
        assert_eq!((table.sent(), table.client.is_live()), (vec![hello.clone()], false));
    }
    table.handle(token("new"));
    let sent = table.sent();
    assert_eq!((&sent[0]["type"], &sent[0]["token"], sent.len()), (&json!("join"), &json!("new"), 1));
    // One that comes while there is no socket does as well.
    table.text(left(Some("4401")));
    table.handle(Event::Closed);
    table.handle(token("newer"));
    table.handle(Event::Opened);
    table.welcome();
    assert_eq!(table.sent()[1]["token"], "newer");
    table.handle(token("new"));
    assert_eq!(table.sent(), Vec::<Json>::new(), "not even to renew an admission");
}

#[test]
fn spec_9_8_a_socket_that_dies_while_a_token_is_waited_for_is_given_up() {
    let mut table = Table::joined();
    table.text(left(Some("4401")));
    table.now += 75_000;
    table.handle(Event::Tick);
    assert!(table.effects.contains(&Effect::Reconnect), "{:?}", table.effects);
}

#[test]
fn spec_8_20_a_room_left_for_another_reason_is_not_entered_again_with_another_token() {
    for reason in [None, Some("4403"), Some("4410")] {
        let mut table = Table::joined();
        table.text(left(reason));
        assert!(table.effects.iter().any(|e| matches!(e, Effect::Left(_))), "{reason:?}");
        table.effects.clear();
        table.handle(token("new"));
        assert_eq!(table.sent(), Vec::<Json>::new(), "{reason:?}");
    }
}

#[test]
fn spec_9_9_open_actions_are_taken_and_one_more_when_one_of_them_is_settled() {
    let mut table = Table::joined();
    for _ in 0..limits::OPEN_ACTIONS {
        table.act("new", json!(null));
    }
    assert!(!table.effects.iter().any(|e| matches!(e, Effect::Error(_))));
    let sent = table.sent().len();
    table.act("new", json!(null));
    assert!(table.effects.contains(&Effect::Error(ErrorCode::Busy.into())), "{:?}", table.effects);
    assert_eq!((sent, table.sent().len(), table.client.pending().count()), (1_000, 0, 1_000));
    let error = WireError::from(ErrorCode::BadAction);
    table.text(json!({"type": "reject", "room": ROOM, "number": 1, "error": error}));
    table.effects.clear();
    table.act("new", json!(null));
    assert_eq!((table.sent().len(), table.client.pending().last().map(|p| p.number)), (1, Some(1_001)));
}
