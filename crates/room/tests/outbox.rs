//! SPEC 7.9 to 7.11: what a step puts into the outbox is delivered at least once if, and only if, the step happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use partysync_derive::Record;
use partysync_model::{ActionError, Db, Origin, Schema, Tx, ValueRef};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_room::{
    Admission, Call, Changed, ConnectionId, ConnectionInfo, Effect, Event, Input, Join, OutboxItem, Request, RequestId,
    Response, Room, RoomName, Socket, Sockets, SyncServer,
};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::json;

const START: i64 = 1_700_000_000_000;

#[derive(Record)]
struct Order {
    id: String,
}

struct Shop;

/// `put a b c`: an item for each. `order`: a row. `reject`, `panic`, `rollback`: after all that.
fn act(tx: &mut Tx<'_>, what: &str) -> Result<(), ActionError> {
    for word in what.split(' ') {
        match word {
            "" => {}
            "order" => {
                let id = tx.new_id();
                tx.table().insert(&Order { id })?;
            }
            "reject" => return Err(ActionError::reject("no", "No.")),
            "panic" => panic!("as you wish"),
            "rollback" => {
                let sql = "INSERT OR ROLLBACK INTO orders (id) VALUES ('x'), ('x')";
                drop(tx.execute(sql, &[]));
            }
            item => match item.strip_prefix("large:") {
                Some(bytes) => tx.outbox(&"x".repeat(bytes.parse::<usize>().unwrap() - 2))?,
                None => tx.outbox(&json!({ "item": item }))?,
            },
        }
    }
    Ok(())
}

impl SyncServer for Shop {
    fn schema(&self) -> Schema {
        Schema::new().record::<Order>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, what: String| act(tx, &what))
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        act(tx, "alarm")
    }

    fn on_connect(&mut self, tx: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        act(tx, &socket.identity().unwrap_or_default())
    }

    fn on_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        _: Sockets<'_>,
    ) -> Result<Option<Response>, ActionError> {
        act(tx, str::from_utf8(&request.body).unwrap())?;
        Ok(Some(Response::text(200, "")))
    }
}

struct World {
    room: Room<Shop, SqliteDb>,
    now: i64,
    calls: u64,
    wake_at: Option<i64>,
    effects: Vec<Effect>,
}

fn open(db: SqliteDb, input: Input) -> Room<Shop, SqliteDb> {
    Room::open(db, RoomName::new("shop", "a"), || Shop, input).unwrap()
}

impl World {
    fn new() -> Self {
        Self::over(SqliteDb::open_in_memory(&Options::default()).unwrap(), START, 0)
    }

    fn over(db: SqliteDb, now: i64, calls: u64) -> Self {
        let room = open(db, Input { now, random: calls });
        let mut world = World { room, now, calls, wake_at: None, effects: Vec::new() };
        world.handle(vec![Event::opened(ConnectionId(1))]);
        world
    }

    /// The process dies after the last commit, and the room comes back without knowing what was in flight.
    fn crashed(self) -> Self {
        Self::over(self.room.into_db(), self.now, self.calls + 1)
    }

    fn handle(&mut self, events: Vec<Event>) {
        self.calls += 1;
        self.effects.clear();
        self.room.handle(Input { now: self.now, random: self.calls << 32 }, events, &mut self.effects);
        for effect in &self.effects {
            if let Effect::WakeAt(at) = effect {
                self.wake_at = *at;
            }
        }
    }

    fn act(&mut self, what: &str) {
        let frame = json!({"id": 1, "channel": "orders", "action": what});
        self.handle(vec![Event::text(ConnectionId(1), frame.to_string())]);
    }

    /// What is handed out by the last `handle`.
    fn out(&self) -> Option<OutboxItem> {
        let mut out = self.effects.iter().filter_map(|effect| match effect {
            Effect::Deliver(item) => Some(item.clone()),
            _ => None,
        });
        let first = out.next();
        assert_eq!(out.next(), None, "one at a time");
        first
    }

    fn delivered(&mut self, item: &OutboxItem) {
        self.handle(vec![Event::Delivered { key: item.key.clone() }]);
    }

    fn failed(&mut self, item: &OutboxItem) {
        self.handle(vec![Event::DeliverFailed { key: item.key.clone() }]);
    }

    /// Delivers all that is due; returns the words in the order in which they came.
    fn deliver_all(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(item) = self.out() {
            words.push(word(&item));
            self.delivered(&item);
        }
        words
    }

    /// The time comes that the room asked for.
    fn wake(&mut self) {
        self.now = self.now.max(self.wake_at.expect("it sleeps for ever"));
        self.handle(vec![Event::Alarm]);
    }

    fn count(&mut self, table: &str) -> i64 {
        let mut count = 0;
        let sql = format!("SELECT count(*) FROM {table}");
        let read = &mut |row: &dyn partysync_model::Columns| {
            if let ValueRef::Integer(n) = row.value(0) {
                count = n;
            }
        };
        self.room.db_mut().query(Origin::Engine, &sql, &[], read).unwrap();
        count
    }

    fn answer(&self) -> String {
        let answer = |e: &Effect| {
            if let Effect::Send { frame, .. } | Effect::Answer { frame, .. } = e {
                Some(frame.to_string())
            } else {
                None
            }
        };
        self.effects.iter().find_map(answer).unwrap()
    }
}

fn word(item: &OutboxItem) -> String {
    let body: serde_json::Value = serde_json::from_str(&item.body).unwrap();
    body["item"].as_str().unwrap().to_owned()
}

#[test]
fn spec_7_9_an_item_is_there_if_and_only_if_its_step_is() {
    let mut world = World::new();
    for undone in ["order lost reject", "order lost panic", "order lost rollback"] {
        world.act(undone);
        assert_eq!((world.out(), world.count("_outbox"), world.wake_at), (None, 0, None), "{undone}");
    }
    world.act("order kept");
    let item = world.out().unwrap();
    assert_eq!((word(&item), item.tries), ("kept".to_owned(), 0));
    world.delivered(&item);
    assert_eq!((world.out(), world.count("_outbox"), world.count("_timer WHERE name = 'outbox'")), (None, 0, 0));
}

#[test]
fn spec_7_9_a_key_names_the_version_and_is_another_one_for_each_item() {
    let mut world = World::new();
    world.act("order a b");
    let mut next = world.out();
    world.act("c");
    world.act("order d");
    let mut keys = Vec::new();
    while let Some(item) = next {
        keys.push((word(&item), item.key.clone()));
        world.delivered(&item);
        next = world.out();
    }
    let versions: Vec<(&str, &str)> = keys
        .iter()
        .map(|(word, key)| (word.as_str(), key.strip_prefix("shop/a/").unwrap().split('/').next().unwrap()))
        .collect();
    // `c` made no version: it has the room's.
    assert_eq!(versions, [("a", "1"), ("b", "1"), ("c", "1"), ("d", "2")]);
    let mut indexes: Vec<i64> = keys.iter().map(|(_, key)| key.rsplit('/').next().unwrap().parse().unwrap()).collect();
    assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]), "{indexes:?}");
    // The next index does not depend on what is still in the table.
    let mut world = world.crashed();
    world.act("e");
    let e = world.out().unwrap();
    indexes.push(e.key.rsplit('/').next().unwrap().parse().unwrap());
    assert!(indexes[4] > indexes[3], "{indexes:?}");
}

#[test]
fn spec_7_9_histories_that_part_give_no_two_items_one_key() {
    let keys = |calls: u64| {
        let mut world = World::over(SqliteDb::open_in_memory(&Options::default()).unwrap(), START, calls);
        world.act("a");
        world.out().unwrap().key
    };
    assert_ne!(keys(0), keys(100));
}

#[test]
fn spec_7_9_every_kind_of_step_may_use_it() {
    let mut world = World::new();
    let info = ConnectionInfo { identity: Some("connect".to_owned()), ..ConnectionInfo::default() };
    let join = Join::new(RoomName::new("shop", "a"));
    let what = Request::new(join, Admission::anonymous(), b"request".into());
    world.handle(vec![
        Event::Opened { connection: ConnectionId(2), info },
        Event::Request { request: RequestId(1), what },
    ]);
    assert_eq!(world.deliver_all(), ["connect", "request"]);
}

#[test]
fn spec_7_10_items_come_in_the_order_of_their_steps_one_at_a_time() {
    let mut world = World::new();
    world.act("a b");
    let a = world.out().unwrap();
    world.act("c");
    assert_eq!(world.out(), None, "the first is still in flight");
    world.delivered(&a);
    assert_eq!(world.deliver_all(), ["b", "c"]);
}

#[test]
fn spec_7_10_an_item_that_fails_steps_aside_and_comes_again_under_the_same_key() {
    let mut world = World::new();
    world.act("a b c");
    let a = world.out().unwrap();
    world.failed(&a);
    assert_eq!(world.deliver_all(), ["b", "c"]);
    assert_eq!(world.wake_at, Some(world.now + limits::OUTBOX_DELAY_MS));
    world.wake();
    let again = world.out().unwrap();
    assert_eq!((again.key.clone(), again.body.clone(), again.tries), (a.key, a.body, 1));
    world.failed(&again);
    assert_eq!(world.wake_at, Some(world.now + 2 * limits::OUTBOX_DELAY_MS));
    world.wake();
    assert_eq!(world.out().unwrap().tries, 2);
    assert_eq!(world.deliver_all(), ["a"]);
    assert_eq!(world.count("_outbox"), 0);
}

#[test]
fn spec_7_10_after_a_crash_an_item_is_delivered_again() {
    let mut world = World::new();
    world.act("a");
    let a = world.out().unwrap();
    let mut world = world.crashed();
    assert_eq!(world.out(), Some(a.clone()), "as soon as the room is awake");
    // Word of a delivery from before counts, whoever brings it.
    world.delivered(&a);
    let mut world = world.crashed();
    assert_eq!((world.out(), world.count("_outbox")), (None, 0));
}

#[test]
fn spec_7_10_without_word_for_twice_outbox_ms_an_item_counts_as_failed() {
    let mut world = World::new();
    world.act("a b");
    let a = world.out().unwrap();
    let asked = world.wake_at.unwrap();
    assert_eq!(asked, world.now + 2 * limits::OUTBOX_MS as i64);
    world.now = asked - 1;
    world.handle(vec![Event::Alarm]);
    assert_eq!(world.out(), None);
    world.now = asked;
    world.handle(vec![Event::Alarm]);
    assert_eq!(word(&world.out().unwrap()), "b");
    // The word comes after all.
    world.delivered(&a);
    assert_eq!(world.count("_outbox"), 1);
}

#[test]
fn spec_7_10_after_outbox_tries_an_item_is_kept_tried_daily_and_reported() {
    let mut world = World::new();
    world.act("a");
    let mut item = world.out().unwrap();
    for tries in 1..=limits::OUTBOX_TRIES + 2 {
        world.failed(&item);
        let reports = world.effects.iter().filter(|e| matches!(e, Effect::Report(r) if r.during == "outbox")).count();
        assert_eq!(reports, usize::from(tries >= limits::OUTBOX_TRIES), "{tries}");
        let waits = world.wake_at.unwrap() - world.now;
        assert_eq!(waits == DAY_MS, tries >= limits::OUTBOX_TRIES, "{tries}: {waits}");
        assert!(waits >= limits::OUTBOX_DELAY_MS);
        world.wake();
        item = world.out().unwrap();
        assert_eq!(item.tries, tries);
    }
}

#[test]
fn spec_7_10_a_clock_that_jumps_back_holds_nothing_up_and_changes_no_order() {
    let mut world = World::new();
    world.act("order a");
    let a = world.out().unwrap();
    world.now -= DAY_MS;
    world.act("order b");
    world.delivered(&a);
    assert_eq!(world.deliver_all(), ["b"]);
}

/// A disk that fails when word of a delivery is written down must not make the room deliver in a loop.
#[test]
fn spec_7_10_word_that_cannot_be_stored_is_no_word_for_a_while() {
    let options = Options { max_pages: Some(200), ..Options::default() };
    let mut world = World::over(SqliteDb::open_in_memory(&options).unwrap(), START, 0);
    world.act("a");
    let a = world.out().unwrap();
    let trip = "CREATE TRIGGER trip BEFORE DELETE ON _outbox BEGIN SELECT RAISE(ABORT, 'disk'); END";
    world.room.db_mut().execute(Origin::Engine, trip, &[]).unwrap();
    world.delivered(&a);
    assert_eq!((world.out(), world.wake_at), (None, Some(world.now + limits::OUTBOX_DELAY_MS)));
    world.room.db_mut().execute(Origin::Engine, "DROP TRIGGER trip", &[]).unwrap();
    world.wake();
    world.wake();
    assert_eq!(world.out().map(|item| item.key), Some(a.key));
}

#[test]
fn spec_7_11_a_room_that_sleeps_wakes_for_its_outbox() {
    let mut world = World::new();
    world.act("a");
    let a = world.out().unwrap();
    world.failed(&a);
    let due = world.wake_at;
    let world = world.crashed();
    assert_eq!((world.out(), world.wake_at), (None, due));
}

#[test]
fn p8_outbox_item_bytes_and_outbox_step_items_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    let mut takes = |what: &str| {
        world.act(what);
        world.answer().contains("success")
    };
    let large = |bytes: usize| format!("large:{bytes}");
    assert!(takes(&large(limits::OUTBOX_ITEM_BYTES)));
    assert!(!takes(&large(limits::OUTBOX_ITEM_BYTES + 1)));
    assert!(takes(&vec!["i"; limits::OUTBOX_STEP_ITEMS].join(" ")));
    assert!(!takes(&vec!["i"; limits::OUTBOX_STEP_ITEMS + 1].join(" ")));
}

#[test]
fn p8_outbox_room_items_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    let full = vec!["i"; limits::OUTBOX_STEP_ITEMS].join(" ");
    for _ in 0..limits::OUTBOX_ROOM_ITEMS / limits::OUTBOX_STEP_ITEMS {
        world.act(&full);
        assert!(world.answer().contains("success"));
    }
    world.act("order one-more");
    assert!(world.answer().contains("The room is busy. Try again soon."), "{}", world.answer());
    assert_eq!((world.count("_outbox"), world.count("orders")), (limits::OUTBOX_ROOM_ITEMS as i64, 0));
    world.act("order");
    assert!(world.answer().contains("success"), "what needs no place goes on");
}
