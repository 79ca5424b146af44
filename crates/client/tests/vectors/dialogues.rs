//! Dialogues, as a client takes part in them without a server.

use std::collections::{BTreeMap, VecDeque};

use partysync_client::{Client, Config, Effect, Event, Fate, Input};
use partysync_model::{Tx, Value, apply_json};
use partysync_protocol::{ClientId, Token, WireError};
use partysync_vectors::{self as vectors, Dialogue, Settled, Shows, Side, Step, apply, dialogues, tables};
use serde_json::{Value as Json, json};

const START: i64 = 1_700_000_000_000;
const TIMES: usize = 3;

/// A client, and what it did that the dialogue has not come to yet.
struct Driven {
    client: Client,
    room: String,
    ids: Vec<String>,
    /// How many of its ids it has taken.
    taken: usize,
    now: i64,
    tick_at: Option<i64>,
    sent: VecDeque<Json>,
    told: Shows,
}

fn config(room: &str) -> Config {
    let apply = |tx: &mut Tx<'_>, _: &str, json: &str| apply_json(tx, json, apply);
    Config { room: room.to_owned(), tables: tables(), apply: Some(Box::new(apply)) }
}

fn bytes(id: &str) -> [u8; 16] {
    *id.parse::<ClientId>().unwrap().as_bytes()
}

impl Driven {
    fn new(room: &str, ids: &[String]) -> Self {
        Driven {
            client: Client::new(config(room), bytes(&ids[0])),
            room: room.to_owned(),
            ids: ids.to_vec(),
            taken: 1,
            now: START,
            tick_at: None,
            sent: VecDeque::new(),
            told: Shows::default(),
        }
    }

    fn handle(&mut self, event: Event) {
        let random = self.ids.get(self.taken).map_or([0xee; 16], |id| bytes(id));
        let mut effects = Vec::new();
        self.client.handle(Input { now: self.now, random }, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    let frame: Json = serde_json::from_str(&frame).unwrap();
                    let took = self.ids.get(self.taken).is_some_and(|next| frame["client"] == **next);
                    self.taken += usize::from(took);
                    self.sent.push_back(frame);
                }
                Effect::Changed => {}
                Effect::Settled { number, fate } => self.told.fates.push(settled(number, fate)),
                Effect::Message(text) => self.told.messages.push(text),
                Effect::Error(error) => self.told.errors.push(error.code),
                Effect::Reconnect => self.told.reconnects = true,
                Effect::Left(error) => self.told.left = Some(error.code),
                Effect::Token { refused } => {
                    let why = if refused.is_some() { "refused" } else { "expires" };
                    assert_eq!(self.told.wants_token.replace(why.to_owned()), None, "it asked twice");
                }
                Effect::TickAt(at) => self.tick_at = Some(at),
                other => panic!("{other:?}"),
            }
        }
    }

    fn reload(&mut self) {
        let saved = serde_json::to_string(&self.client.save()).unwrap();
        self.client = Client::restore(config(&self.room), serde_json::from_str(&saved).unwrap());
    }

    fn wait(&mut self, ms: i64) {
        self.now += ms;
        if self.tick_at.take_if(|at| *at <= self.now).is_some() {
            self.handle(Event::Tick);
        }
    }

    /// The client sends this next. It may say what it has, and that it is there, whenever it likes.
    fn expect(&mut self, expected: &Json) -> Result<(), String> {
        loop {
            let Some(sent) = self.sent.pop_front() else { return Err(format!("it did not send {expected}")) };
            if sent == *expected {
                return Ok(());
            }
            if !is_free(&sent) {
                return Err(format!("it sent {sent}\nand not  {expected}"));
            }
        }
    }

    fn expect_no_more(&mut self) -> Result<(), String> {
        let more = self.sent.drain(..).find(|frame| !is_free(frame));
        more.map_or(Ok(()), |frame| Err(format!("it sent {frame}")))
    }

    fn look(&mut self, expected: &Shows) -> Result<(), String> {
        let saved = self.client.save();
        let mut confirmed = BTreeMap::new();
        for (channel, rows) in &saved.rows {
            confirmed.insert(channel.clone(), rows.iter().map(|r| serde_json::from_str(r.get()).unwrap()).collect());
        }
        let view = |channel: &String| self.client.rows(channel).map(row).collect::<Vec<_>>();
        let view = saved.rows.keys().map(|channel| (channel.clone(), view(channel))).collect();
        let mut told = std::mem::take(&mut self.told);
        for error in [same("confirmed", &expected.confirmed, &confirmed), same("view", &expected.view, &view)] {
            error?;
        }
        told.pending = expected.pending.as_ref().map(|_| self.client.pending().map(|p| p.number).collect());
        told.version = expected.version.map(|_| self.client.cursor().map(|cursor| cursor.version));
        told.live = expected.live.map(|_| self.client.is_live());
        let parts = |s: &Shows| {
            let fates = s.fates.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>();
            (
                (s.pending.clone(), s.version, s.live, s.left.clone(), s.wants_token.clone(), s.reconnects),
                (fates, s.messages.clone(), s.errors.clone()),
            )
        };
        if parts(&told) == parts(expected) {
            return Ok(());
        }
        Err(format!("it shows {:?}\nand not  {:?}", parts(&told), parts(expected)))
    }
}

fn settled(number: u64, fate: Fate) -> Settled {
    let of = |fate, error: Option<WireError>| Settled { number, fate, code: error.map(|e| e.code) };
    match fate {
        Fate::Applied { .. } => of(vectors::Fate::Applied, None),
        Fate::Rejected(error) => of(vectors::Fate::Rejected, Some(error)),
        Fate::Unknown(error) => of(vectors::Fate::Unknown, Some(error)),
    }
}

fn is_free(frame: &Json) -> bool {
    frame["type"] == "have" || frame["type"] == "ping"
}

fn row(values: &[Value]) -> Vec<Json> {
    let json = |value: &Value| match value {
        Value::Null => Json::Null,
        Value::Integer(i) => json!(i),
        Value::Real(r) => json!(r),
        Value::Text(t) => json!(t),
        Value::Blob(_) => panic!("a BLOB in a channel"),
    };
    values.iter().map(json).collect()
}

type Rows = BTreeMap<String, Vec<Vec<Json>>>;

/// Whether channels hold these rows, which come without their times. Channels that are not named are empty.
fn same(what: &str, expected: &Option<BTreeMap<String, Vec<Json>>>, rows: &Rows) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    for (channel, rows) in rows {
        let without_times = |row: &Vec<Json>| json!(row[..row.len() - TIMES]);
        let mut rows: Vec<Json> = rows.iter().map(without_times).collect();
        let mut expected = expected.get(channel).cloned().unwrap_or_default();
        rows.sort_by_key(Json::to_string);
        expected.sort_by_key(Json::to_string);
        if rows != expected {
            return Err(format!("{what}: {channel} is {rows:?}\nand not  {expected:?}"));
        }
    }
    Ok(())
}

fn play(dialogue: &Dialogue) -> Result<(), String> {
    let new = |(name, ids): (&String, &Vec<String>)| (name.clone(), Driven::new(dialogue.room_of(name), ids));
    let mut clients: BTreeMap<String, Driven> = dialogue.clients.iter().map(new).collect();
    for (place, step) in dialogue.steps.iter().enumerate() {
        take(&mut clients, step).map_err(|error| format!("step {place}, {step:?}:\n{error}"))?;
    }
    clients.iter_mut().try_for_each(|(name, client)| client.expect_no_more().map_err(|e| format!("{name}: {e}")))
}

fn take(clients: &mut BTreeMap<String, Driven>, step: &Step) -> Result<(), String> {
    if let Step::Wait { ms } = step {
        clients.values_mut().for_each(|client| client.wait(*ms));
        return Ok(());
    }
    let Some(name) = step.on() else { return Ok(()) };
    let client = clients.get_mut(name).ok_or("there is no such client")?;
    match step {
        Step::Open { welcome: Some(welcome), .. } => client.handle(Event::Welcomed(welcome.to_string())),
        Step::Open { .. } => client.handle(Event::Opened),
        Step::Token { token, .. } => client.handle(Event::Token(token.as_ref().map(Token::new))),
        Step::Close { .. } => {
            client.expect_no_more()?;
            client.handle(Event::Closed);
        }
        Step::Up { frame, .. } => client.expect(frame)?,
        Step::Down { lost: false, frame, .. } => client.handle(Event::Text(frame.to_string())),
        Step::Act { channel, action, .. } => {
            client.handle(Event::Act { channel: channel.clone(), action: action.to_string() });
        }
        Step::Say { text, .. } => client.handle(Event::Say(text.clone())),
        Step::Reload { .. } => client.reload(),
        Step::Shows(shows) => client.look(shows)?,
        Step::Down { .. } | Step::Server { .. } | Step::Wait { .. } => {}
    }
    Ok(())
}

#[test]
fn spec_9_a_client_takes_its_part_in_the_dialogues() {
    let all = dialogues();
    let wrong: Vec<String> = all
        .iter()
        .filter(|(_, dialogue)| dialogue.tests.contains(&Side::Client))
        .filter_map(|(file, dialogue)| play(dialogue).err().map(|error| format!("{file}: {error}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(all.len() > 30, "where are they?");
}
