//! SPEC 14: what an app sees of its sockets and of requests, and what it does with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{ROOM, START, frames};
use partysync_derive::Record;
use partysync_model::{ActionError, Db, Origin, Schema, Tx, Value};
use partysync_protocol::{ClientId, limits, v2};
use partysync_room::{
    Admission, Call, Changed, ConnectionId, ConnectionInfo, ConnectionState, Effect, Event, Handled, Input, Join,
    Message, Request, RequestId, Response, Room, RoomName, Socket, Sockets, SyncServer,
};
use partysync_sqlite::{Options, SqliteDb};
use serde_json::{Value as Json, json};

#[derive(Record)]
struct Line {
    id: String,
    text: String,
}

/// An app that does in each hook what the world tells it to, and writes down that it did.
#[derive(Default)]
struct Chat {
    /// Steps since the value was made: a step that is undone must not be seen in it.
    steps: i64,
}

/// What a socket wants of `on_connect`, in its identity; what a message or request wants, in its text.
fn act(tx: &mut Tx<'_>, what: &str, socket: Option<Socket<'_>>, sockets: Sockets<'_>) -> Result<(), ActionError> {
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    let me = || socket.expect("a step about a socket");
    match verb {
        "say" => {
            let id = tx.new_id();
            tx.table().insert(&Line { id, text: rest.to_owned() })?;
        }
        "all" => sockets.send_to_all(rest)?,
        "others" => me().send_to_others(rest)?,
        "me" => me().send(rest)?,
        "tag" => me().set_tags(&rest.split(',').collect::<Vec<_>>())?,
        "tagged" => {
            let (tag, text) = rest.split_once(' ').unwrap();
            sockets.send_to_tag(tag, text)?;
        }
        "keep" => me().set_state(&rest)?,
        "kept" => me().send(me().state::<String>()?.unwrap_or_default())?,
        "who" => {
            let all = sockets.iter().map(|s| format!("{}={}", s.id().0, s.tags().join("+")));
            let all: Vec<String> = all.collect();
            me().send(all.join(" "))?;
        }
        "close" => {
            let other = sockets.get(ConnectionId(rest.parse().unwrap()));
            other.map_or(Ok(()), |other| other.close(4000, "as you wish"))?;
        }
        "many" => (0..rest.parse().unwrap()).try_for_each(|_| me().send(""))?,
        "long" => me().send("x".repeat(rest.parse().unwrap()))?,
        "fill" => me().set_state(&"x".repeat(rest.parse().unwrap()))?,
        "reject" => return Err(ActionError::reject("no", rest.to_owned())),
        "panic" => panic!("as you wish"),
        // It fails as late as it can: when the transaction commits.
        "orphan" => drop(tx.execute("INSERT INTO child VALUES ('nobody')", &[])?),
        "rollback" => drop(tx.execute("INSERT OR ROLLBACK INTO lines (id, text) VALUES ('x', ''), ('x', '')", &[])?),
        _ => {}
    }
    Ok(())
}

/// Several in a row: whatever the last one does, those before it have happened.
fn act_all(tx: &mut Tx<'_>, what: &str, socket: Option<Socket<'_>>, sockets: Sockets<'_>) -> Result<(), ActionError> {
    what.split(';').try_for_each(|what| act(tx, what, socket, sockets))
}

impl Chat {
    /// The field and the table must agree before each step (P5).
    fn count(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        assert_eq!(steps(tx)?, self.steps, "the field says another number than the table");
        self.steps += 1;
        tx.execute("INSERT INTO steps DEFAULT VALUES", &[]).map(|_| ())
    }
}

fn steps(tx: &mut Tx<'_>) -> Result<i64, ActionError> {
    let Value::Integer(steps) = tx.query("SELECT count(*) FROM steps", &[])?[0][0] else { panic!() };
    Ok(steps)
}

impl SyncServer for Chat {
    fn schema(&self) -> Schema {
        Schema::new().record::<Line>()
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        tx.execute("CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY)", &[])?;
        let child = "CREATE TABLE IF NOT EXISTS child (line TEXT REFERENCES lines (id) DEFERRABLE INITIALLY DEFERRED)";
        tx.execute(child, &[])?;
        self.steps = steps(tx)?;
        Ok(())
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        self.count(tx)?;
        let what: String = serde_json::from_str(call.action()).unwrap();
        act_all(tx, &what, Some(call.socket()), call.socket().room())?;
        Ok(Changed::Captured)
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, sockets: Sockets<'_>) -> Result<(), ActionError> {
        self.count(tx)?;
        act_all(tx, "say ding;all ding", None, sockets)
    }

    fn on_connect(&mut self, tx: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        self.count(tx)?;
        act_all(tx, &socket.identity().unwrap_or_default(), Some(socket), socket.room())
    }

    fn on_close(
        &mut self,
        tx: &mut Tx<'_>,
        socket: Socket<'_>,
        code: Option<u16>,
        reason: &str,
    ) -> Result<(), ActionError> {
        self.count(tx)?;
        let what = socket.state::<String>()?.unwrap_or_default().replace('|', ";");
        act_all(tx, &what, Some(socket), socket.room())?;
        socket.room().send_to_all(format!("{} left: {code:?} {reason}", socket.id().0))
    }

    fn on_message(
        &mut self,
        tx: &mut Tx<'_>,
        socket: Socket<'_>,
        message: Message<'_>,
    ) -> Result<Handled, ActionError> {
        self.count(tx)?;
        match message {
            Message::Text("what?") | Message::Binary([0]) => return Ok(Handled::No),
            Message::Text(what) => act_all(tx, what, Some(socket), socket.room())?,
            Message::Binary(bytes) => act_all(tx, str::from_utf8(bytes).unwrap(), Some(socket), socket.room())?,
        }
        Ok(Handled::Yes)
    }

    fn on_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        sockets: Sockets<'_>,
    ) -> Result<Option<Response>, ActionError> {
        self.count(tx)?;
        let body = str::from_utf8(&request.body).unwrap();
        if let Some(bytes) = body.strip_prefix("respond ") {
            return Ok(Some(Response { status: 200, headers: Vec::new(), body: vec![0; bytes.parse().unwrap()] }));
        }
        act_all(tx, body, None, sockets)?;
        let answer =
            || Response::text(200, format!("{} {} by {:?}", request.method(), request.path(), request.identity()));
        Ok((request.path() != "/none").then(answer))
    }
}

struct World {
    room: Room<Chat, SqliteDb>,
    now: i64,
    effects: Vec<Effect>,
}

fn open(db: SqliteDb, random: u64) -> Room<Chat, SqliteDb> {
    Room::open(db, RoomName::new("shop", "a"), Chat::default, Input { now: START, random }).unwrap()
}

impl World {
    fn new() -> Self {
        World { room: open(SqliteDb::open_in_memory(&Options::default()).unwrap(), 1), now: START, effects: Vec::new() }
    }

    fn handle(&mut self, events: Vec<Event>) -> &[Effect] {
        self.now += 10;
        self.effects.clear();
        self.room.handle(Input { now: self.now, random: self.now as u64 }, events, &mut self.effects);
        &self.effects
    }

    /// What a socket is sent, as text.
    fn to(&self, connection: u64) -> Vec<String> {
        frames(&self.effects, ConnectionId(connection)).collect()
    }

    /// What it is closed with.
    fn closed(&self, connection: u64) -> Option<(u16, String)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Close { connection: c, code, reason } if c.0 == connection => Some((*code, reason.to_string())),
            _ => None,
        })
    }

    fn responses(&self) -> Vec<(u64, u16, String)> {
        let response = |effect: &Effect| match effect {
            Effect::Respond { request, response } => {
                Some((request.0, response.status, String::from_utf8_lossy(&response.body).into_owned()))
            }
            _ => None,
        };
        self.effects.iter().filter_map(response).collect()
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let sql = "SELECT text FROM lines ORDER BY created_at, id";
        let read = &mut |row: &dyn partysync_model::Columns| lines.push(row.value(0).to_owned());
        self.room.db_mut().query(Origin::Engine, sql, &[], read).unwrap();
        lines.into_iter().map(|line| if let Value::Text(text) = line { text } else { panic!() }).collect()
    }

    fn version(&self) -> u64 {
        self.room.cursor().version
    }
}

/// A socket opens whose `on_connect` does this.
fn opened(connection: u64, what: &str) -> Event {
    let info = ConnectionInfo { identity: Some(what.to_owned()), ..ConnectionInfo::default() };
    Event::Opened { connection: ConnectionId(connection), info }
}

fn text(connection: u64, text: &str) -> Event {
    Event::text(ConnectionId(connection), text)
}

fn sync(connection: u64) -> Event {
    text(connection, r#"{"channel":"lines","sync":true,"from":null}"#)
}

fn action(connection: u64, what: &str) -> Event {
    text(connection, &json!({"id": 1, "channel": "lines", "action": what}).to_string())
}

fn request(id: u64, path: &str, body: &str) -> Event {
    let mut join = Join::new(RoomName::new("shop", "a"));
    join.path = path.to_owned();
    Event::Request { request: RequestId(id), what: Request::new(join, Admission::of("ann"), body.into()) }
}

fn hello_and_join(connection: u64) -> [Event; 2] {
    let client = ClientId::from_random([connection as u8; 16]);
    let join = v2::Up::Join { room: ROOM.into(), client, cursor: None, born: None, token: None };
    [text(connection, &v2::Up::Hello { versions: vec![2] }.encode()), text(connection, &join.encode())]
}

fn message(connection: u64, what: &str) -> Event {
    text(connection, &v2::Up::Message { room: ROOM.into(), text: what.into() }.encode())
}

#[test]
fn spec_14_2_a_hook_is_a_step_that_makes_a_version_and_whose_rows_all_get() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), sync(1), opened(2, "")]);
    world.handle(hello_and_join(2).into());
    assert_eq!(world.version(), 0, "a step that changes no row has no version");
    for (n, event) in [
        opened(3, "say connect"),
        text(3, "say message"),
        message(2, "say wrapped"),
        Event::Binary { connection: ConnectionId(3), bytes: b"say binary;keep say close".to_vec() },
        Event::closed(ConnectionId(3)),
        request(1, "/say", "say request"),
    ]
    .into_iter()
    .enumerate()
    {
        world.handle(vec![event]);
        assert_eq!(world.version(), n as u64 + 1);
        let updates = world.to(1).iter().filter(|f| f.contains("\"update\"")).count();
        let patches = world.to(2).iter().filter(|f| f.contains("\"patch\"")).count();
        assert_eq!((updates, patches), (1, 1), "{:?}", world.effects);
    }
    assert_eq!(world.lines(), ["connect", "message", "wrapped", "binary", "close", "request"]);
    let mut authors = Vec::new();
    let sql = "SELECT author FROM _log WHERE version > 0";
    let mut read = |row: &dyn partysync_model::Columns| authors.push(row.value(0).to_owned());
    world.room.db_mut().query(Origin::Engine, sql, &[], &mut read).unwrap();
    let names = ["on_connect", "on_message", "on_message", "on_message", "on_close", "on_request"];
    assert_eq!(authors, names.map(Value::from));
}

#[test]
fn p5_a_hook_that_fails_leaves_no_row_no_message_no_tag_and_closes_nobody() {
    for failure in ["panic", "reject no", "rollback", "orphan"] {
        let mut world = World::new();
        world.handle(vec![opened(1, ""), sync(1), opened(2, ""), opened(3, "tag old;keep old")]);
        let did = format!("say trace;all trace;tag new;keep trace;close 2;{failure}");
        let in_request = format!("say trace;all trace;close 2;{failure}");
        world.handle(vec![
            action(1, "say first"),
            opened(4, &did),
            text(3, &did),
            action(3, &did),
            request(1, "/", &in_request),
            action(1, "say last"),
        ]);
        let sent: Vec<String> = (1..=4).flat_map(|c| world.to(c)).collect();
        assert!(!sent.iter().any(|frame| frame.contains("trace")), "{failure}: {sent:?}");
        assert_eq!((world.closed(1), world.closed(2), world.closed(3)), (None, None, None));
        assert!(world.closed(4).is_some(), "{failure}");
        assert_eq!(world.lines(), ["first", "last"], "{failure}");
        assert_eq!(world.version(), 2);
        // The field agrees with the table, or this would panic; and what was kept before is still there.
        world.handle(vec![text(3, "who;kept"), text(2, "me still here")]);
        assert_eq!(world.to(3), ["1= 2= 3=old", "old"], "{failure}");
        assert_eq!(world.to(2), ["still here"]);
    }
}

#[test]
fn p5_an_on_close_that_fails_leaves_no_trace_and_the_socket_is_gone() {
    for failure in ["panic", "reject no", "rollback", "orphan"] {
        let mut world = World::new();
        let bye = format!("keep say trace|all trace|close 1|{failure}");
        world.handle(vec![opened(1, ""), opened(2, &bye)]);
        world.handle(vec![text(1, "say before"), Event::closed(ConnectionId(2)), text(1, "who")]);
        assert_eq!((world.to(1), world.closed(1)), (vec!["1=".to_owned()], None), "{failure}");
        assert_eq!((world.lines(), world.version()), (vec!["before".to_owned()], 1), "{failure}");
    }
}

#[test]
fn spec_14_3_a_socket_that_is_rejected_is_closed_with_the_reason_and_nothing_of_it_counts() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), sync(1)]);
    let long = "é".repeat(100);
    let mut events =
        vec![opened(2, &format!("say trace;reject {long}")), sync(2), action(2, "say trace"), text(2, "say trace")];
    events.extend(hello_and_join(2));
    events.push(action(1, "say still"));
    world.handle(events);
    assert_eq!(world.closed(2), Some((1008, "é".repeat(61))));
    assert!(world.to(2).is_empty(), "{:?}", world.to(2));
    // Nor does what comes before the socket is gone, and its end is nobody's business.
    world.handle(vec![sync(2), action(2, "say trace"), Event::closed(ConnectionId(2))]);
    assert!(world.effects.is_empty(), "{:?}", world.effects);
    assert_eq!((world.lines(), world.room.connections()), (vec!["still".to_owned()], 1));
}

#[test]
fn spec_14_3_a_socket_whose_on_connect_fails_is_closed_and_the_operator_hears_why() {
    let mut world = World::new();
    world.handle(vec![opened(1, "panic"), opened(2, "rollback")]);
    assert_eq!(world.closed(1), Some((1011, "the server failed".to_owned())));
    assert_eq!(world.closed(2).unwrap().0, 1008, "a constraint is the client's doing");
    assert!(world.effects.iter().any(|e| matches!(e, Effect::Report(r) if r.during == "on_connect")));
}

#[test]
fn spec_14_3_on_connect_comes_before_the_sockets_frames() {
    let mut world = World::new();
    world.handle(vec![opened(1, "keep something;tag people"), text(1, "kept"), action(1, "who"), sync(1)]);
    let sent = world.to(1);
    assert_eq!(sent[sent.len() - 2..], ["something", "1=people"], "{sent:?}");
}

#[test]
fn spec_14_4_on_close_runs_once_with_what_was_kept_and_told_to_those_who_stay() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), opened(2, "tag people;keep say bye;others hi"), opened(3, "tag people")]);
    let close = Event::Closed { connection: ConnectionId(2), code: Some(1000), reason: "enough".to_owned() };
    world.handle(vec![action(2, "all before"), close, text(1, "who")]);
    assert_eq!(world.to(3), ["before", "2 left: Some(1000) enough"]);
    assert_eq!(world.to(1), ["before", "2 left: Some(1000) enough", "1= 3=people"]);
    assert_eq!(world.lines(), ["bye"]);
}

#[test]
fn spec_14_5_to_one_to_all_to_a_tag_to_all_but_one() {
    let mut world = World::new();
    world.handle(vec![opened(1, "tag a"), opened(2, "tag a,b"), opened(3, "")]);
    let got = |world: &World| [1, 2, 3].map(|c| world.to(c));
    world.handle(vec![text(1, "me 1;all 2;others 3;tagged a 4;tagged b 5;tagged c 6")]);
    assert_eq!(got(&world), [vec!["1", "2", "4"], vec!["2", "3", "4", "5"], vec!["2", "3"]]);
    world.handle(vec![Event::Alarm]);
    assert!(got(&world).iter().all(Vec::is_empty), "no alarm is due");
    world.handle(vec![request(1, "/", "all 7")]);
    assert_eq!(got(&world), [["7"]; 3]);
}

#[test]
fn spec_14_5_a_message_comes_after_the_rows_that_it_is_about_and_is_wrapped_for_version_2() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), sync(1), opened(2, "")]);
    world.handle(hello_and_join(2).into());
    world.handle(vec![action(1, "say hello;all there is a line")]);
    let kinds: Vec<Json> = world.to(2).iter().map(|f| serde_json::from_str::<Json>(f).unwrap()).collect();
    assert_eq!(kinds[0]["type"], "patch");
    assert_eq!(kinds[1], json!({"type": "message", "room": ROOM, "text": "there is a line"}));
    let to_1 = world.to(1);
    assert!(to_1[0].contains("success"));
    assert_eq!(to_1[1], "there is a line");
    assert!(!world.effects.iter().any(|e| matches!(e, Effect::Send { frame, .. } if frame.contains("there is"))));
}

#[test]
fn spec_14_6_what_is_sent_before_a_socket_spoke_reaches_it_whatever_it_speaks() {
    let mut world = World::new();
    world.handle(vec![opened(1, "me welcome"), opened(2, "me welcome")]);
    assert_eq!((world.to(1), world.to(2)), (vec!["welcome".to_owned()], vec!["welcome".to_owned()]));
    world.handle([vec![sync(1)], hello_and_join(2).into()].concat());
    assert_eq!(world.to(1).len(), 1, "not again");
    let to_2: Vec<Json> = world.to(2).iter().map(|f| serde_json::from_str(f).unwrap()).collect();
    assert_eq!((&to_2[0]["type"], &to_2[1]["text"]), (&json!("welcome"), &json!("welcome")));
    // In one batch with the hello it is known already, and comes behind `welcome`.
    world.handle([vec![opened(3, "me welcome")], hello_and_join(3).into()].concat());
    let to_3: Vec<Json> = world.to(3).iter().map(|f| serde_json::from_str(f).unwrap()).collect();
    assert_eq!((&to_3[0]["type"], &to_3.last().unwrap()["text"]), (&json!("welcome"), &json!("welcome")));
}

#[test]
fn spec_14_6_a_socket_of_the_subprotocol_gets_it_behind_welcome_alone() {
    let mut world = World::new();
    let info = ConnectionInfo { identity: Some("me welcome".to_owned()), ..ConnectionInfo::default() };
    world.handle(vec![Event::OpenedV2 { connection: ConnectionId(1), info, is_further: false }]);
    assert_eq!(world.to(1), Vec::<String>::new());
    world.handle(hello_and_join(1).into());
    let sent: Vec<Json> = world.to(1).iter().map(|f| serde_json::from_str(f).unwrap()).collect();
    assert_eq!((&sent[0]["type"], &sent[1]["text"]), (&json!("welcome"), &json!("welcome")));
}

#[test]
fn spec_14_7_what_the_app_does_not_take_is_answered_as_without_it() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), opened(2, ""), opened(3, "")]);
    world.handle([hello_and_join(2), hello_and_join(3)].concat());
    let binary = |c: u64| Event::Binary { connection: ConnectionId(c), bytes: vec![0] };
    world.handle(vec![text(1, "what?"), binary(1), message(2, "what?"), binary(3)]);
    let [first] = &world.to(1)[..] else { panic!("{:?}", world.to(1)) };
    assert!(first.contains("exception"), "{first}");
    let [error] = &world.to(2)[..] else { panic!("{:?}", world.to(2)) };
    assert!(error.contains("bad_message"), "{error}");
    assert_eq!(world.closed(3).unwrap().0, 1003);
    assert_eq!(world.closed(1), None);
    world.handle(vec![text(1, "reject Not now."), message(2, "reject Not now.")]);
    assert_eq!(world.to(1), [r#"{"type":"exception","rpc":true,"exception":["Not now."]}"#]);
    let error: Json = serde_json::from_str(&world.to(2)[0]).unwrap();
    assert_eq!((&error["type"], &error["error"]["text"]), (&json!("error"), &json!("Not now.")));
    // Who has not joined is not in the room.
    world.handle(vec![opened(4, ""), hello_and_join(4)[0].clone(), message(4, "say trace")]);
    assert!(world.to(4)[1].contains("not_joined"), "{:?}", world.to(4));
}

#[test]
fn spec_14_3_after_a_step_that_closes_a_socket_nothing_of_it_counts_and_on_close_still_comes() {
    let mut world = World::new();
    world.handle(vec![opened(1, ""), opened(2, ""), sync(2)]);
    world.handle(vec![text(1, "all now;close 2"), action(2, "say trace"), text(1, "all later"), sync(2)]);
    assert_eq!((world.to(2), world.closed(2)), (vec!["now".to_owned()], Some((4000, "as you wish".to_owned()))));
    assert_eq!(world.to(1), ["now", "later"]);
    world.handle(vec![action(2, "say trace"), Event::closed(ConnectionId(2))]);
    assert_eq!((world.to(1), world.to(2)), (vec!["2 left: None ".to_owned()], vec![]));
    assert_eq!(world.lines(), Vec::<String>::new());
}

#[test]
fn spec_14_8_requests_are_answered_in_the_same_call_with_the_status_that_says_whose_fault_it_is() {
    let mut world = World::new();
    world.handle(vec![
        request(1, "/a/b", "say x"),
        request(2, "/none", ""),
        request(3, "", "reject No."),
        request(4, "", "panic"),
        request(5, "", "rollback"),
    ]);
    let responses = world.responses();
    assert_eq!(responses[0], (1, 200, "GET /a/b by Some(\"ann\")".to_owned()));
    assert_eq!(responses[1..].iter().map(|r| (r.0, r.1)).collect::<Vec<_>>(), [(2, 404), (3, 400), (4, 500), (5, 400)]);
    let error: Json = serde_json::from_str(&responses[2].2).unwrap();
    assert_eq!((&error["code"], &error["text"]), (&json!("rejected"), &json!("No.")));
    assert!(!responses[3].2.contains("as you wish"), "P9: {}", responses[3].2);
}

#[test]
fn p12_tags_and_state_outlive_hibernation() {
    let mut world = World::new();
    world.handle(vec![opened(1, "tag a,b;keep it"), sync(1), opened(2, "")]);
    let (states, db) = world.room.hibernate();
    let states: BTreeMap<u64, String> = states.into_iter().map(|(id, state)| (id.0, state.to_text())).collect();
    world.room = open(db, 2);
    let restored = states.iter().map(|(id, json)| {
        // Under other ids, as in a home whose numbers do not outlive sleep.
        let state = ConnectionState::from_text(json).unwrap();
        Event::Restored { connection: ConnectionId(id + 10), state }
    });
    world.handle(restored.collect());
    assert!(world.to(11).is_empty(), "on_connect is not run again");
    world.handle(vec![text(11, "kept;who;tagged a hi")]);
    assert_eq!(world.to(11), ["it", "11=a+b 12=", "hi"]);
    assert!(world.to(12).is_empty());
}

/// The limits of a step and of a connection, at each and one past it.
#[test]
fn p8_step_messages_connection_tags_and_connection_bytes_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    world.handle(vec![opened(1, "")]);
    let mut takes = |what: String| {
        world.handle(vec![text(1, &what)]);
        !world.to(1).iter().any(|f| f.contains("exception"))
    };
    assert!(takes(format!("many {}", limits::STEP_MESSAGES)));
    assert!(!takes(format!("many {}", limits::STEP_MESSAGES + 1)));
    assert!(takes(format!("long {}", limits::STEP_MESSAGE_BYTES)));
    assert!(!takes(format!("long {}", limits::STEP_MESSAGE_BYTES + 1)));
    let tags = |n: usize, bytes: usize| format!("tag {}", vec!["t".repeat(bytes); n].join(","));
    assert!(takes(tags(limits::CONNECTION_TAGS, limits::TAG_BYTES)));
    assert!(!takes(tags(limits::CONNECTION_TAGS + 1, 1)));
    assert!(!takes(tags(1, limits::TAG_BYTES + 1)));
    assert!(takes("tag ".to_owned()));
    // Two quotes, the names of fields, an empty tag; what the socket speaks, and its handshake, have 3 KiB set apart.
    let rest = (0..limits::CONNECTION_BYTES).rev().find(|bytes| takes(format!("fill {bytes}"))).unwrap();
    assert!(rest > limits::CONNECTION_BYTES - 4_096, "{rest}");
    assert!(!takes(format!("fill {}", rest + 1)));
    let (states, _) = world.room.hibernate();
    let bytes = states[0].1.to_text().len();
    assert!(bytes <= limits::CONNECTION_BYTES && bytes > rest, "{bytes}");
}

#[test]
fn p8_response_bytes_at_the_limit_and_one_past_it() {
    let mut world = World::new();
    let respond = |bytes: usize| request(bytes as u64, "", &format!("respond {bytes}"));
    world.handle(vec![respond(limits::RESPONSE_BYTES), respond(limits::RESPONSE_BYTES + 1)]);
    let statuses: Vec<u16> = world.responses().iter().map(|r| r.1).collect();
    assert_eq!(statuses, [200, 500]);
}

#[test]
fn p8_early_message_bytes_at_the_limit_and_one_past_it() {
    let messages = |bytes: usize| {
        let mut world = World::new();
        world.handle(vec![opened(1, &format!("long {bytes}"))]);
        world.handle(hello_and_join(1).into());
        world.to(1).iter().filter(|f| f.contains(r#""type":"message""#)).count()
    };
    assert_eq!((messages(limits::EARLY_MESSAGE_BYTES), messages(limits::EARLY_MESSAGE_BYTES + 1)), (1, 0));
}
