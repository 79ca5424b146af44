//! A room that shows what both homes have to do alike (P11): each verb of an action, a message or a request is a thing that a home has a
//! part in.

#![expect(clippy::panic, reason = "both homes survive one")]

use partysync::{
    ActionError, Admission, Call, Changed, Handled, Join, Message, Record, Refusal, Request, Response, Schema, Socket,
    Sockets, SyncServer, Tx, Value,
};
use serde::Deserialize;

use crate::hooks;

#[derive(Record)]
struct Line {
    id: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "camelCase")]
enum Verb {
    /// Adds a line with an id of its own.
    Line {
        id: String,
        text: String,
    },
    /// Adds a line with an id of the engine's making.
    Say(String),
    Tag(Vec<String>),
    Keep(String),
    /// Sends back what was kept, and the tags.
    Kept,
    /// Sends to all with a tag.
    Tell(String, String),
    Close(u16, String),
    Reject(String),
    Panic,
    AlarmIn(i64),
    /// Sends who the socket belongs to.
    Who,
    /// Sends what the hook before the action prepared.
    Prepared,
    /// Puts something into the outbox, whose first deliveries fail so often.
    Post {
        text: String,
        fails: u32,
    },
    /// Sends how often the room came into memory, and whether the field is what the table says.
    Starts,
}

/// A room of the party `chat`.
#[derive(Default)]
pub struct Chat {
    /// How many steps there were: wrong if a step that was undone left its trace here.
    steps: i64,
}

/// The door of the parties.
pub async fn who_is(join: Join) -> Result<Admission, Refusal> {
    match join.token.as_ref().map(|token| token.as_str()) {
        None => Ok(Admission::anonymous()),
        Some("bad") => Err(Refusal::unauthorized("Sign in anew.")),
        Some("panic") => panic!("as it was told"),
        Some(token) => {
            // `NAME` or `NAME until TIME`: on Durable Objects an app of both homes has no clock.
            let (name, until) = token.split_once(" until ").unwrap_or((token, ""));
            let known = Admission::of(name).with_data(&serde_json::json!({"path": join.path, "ü": join.param("x")}));
            Ok(until.parse().into_iter().fold(known, Admission::until))
        }
    }
}

impl Chat {
    fn count(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        if number(tx, "SELECT count(*) FROM steps")? != self.steps {
            return Err(ActionError::reject("trace", "A step that was undone left a trace."));
        }
        self.steps += 1;
        tx.execute("INSERT INTO steps DEFAULT VALUES", &[]).map(|_| ())
    }

    fn run(&mut self, tx: &mut Tx<'_>, verbs: Vec<Verb>, socket: Socket<'_>) -> Result<(), ActionError> {
        self.run_prepared(tx, verbs, socket, None)
    }

    fn run_prepared(
        &mut self,
        tx: &mut Tx<'_>,
        verbs: Vec<Verb>,
        socket: Socket<'_>,
        prepared: Option<&str>,
    ) -> Result<(), ActionError> {
        self.count(tx)?;
        verbs.into_iter().try_for_each(|verb| run(tx, verb, socket, prepared))
    }
}

fn run(tx: &mut Tx<'_>, verb: Verb, socket: Socket<'_>, prepared: Option<&str>) -> Result<(), ActionError> {
    match verb {
        Verb::Line { id, text } => tx.table().insert(&Line { id, text }),
        Verb::Say(text) => {
            let id = tx.new_id();
            tx.table().insert(&Line { id, text })
        }
        Verb::Tag(tags) => socket.set_tags(&tags.iter().map(String::as_str).collect::<Vec<_>>()),
        Verb::Keep(state) => socket.set_state(&state),
        Verb::Kept => socket.send(format!("{:?} {:?}", socket.state::<String>()?, socket.tags())),
        Verb::Tell(tag, text) => socket.room().send_to_tag(&tag, text),
        Verb::Close(code, reason) => socket.close(code, reason),
        Verb::Reject(text) => Err(ActionError::reject("no", text)),
        Verb::Panic => panic!("as it was told"),
        Verb::AlarmIn(ms) => {
            tx.set_alarm(tx.now() + ms);
            Ok(())
        }
        Verb::Who => socket.send(format!("{:?} {:?}", socket.identity(), socket.data())),
        Verb::Prepared => socket.send(format!("prepared: {prepared:?}")),
        Verb::Post { text, fails } => tx.outbox(&hooks::Letter { text, fails }),
        Verb::Starts => {
            let starts = number(tx, "SELECT count(*) FROM starts")?;
            socket.send(format!("starts: {starts}"))
        }
    }
}

fn number(tx: &mut Tx<'_>, sql: &str) -> Result<i64, ActionError> {
    match tx.query(sql, &[])?.first().and_then(|row| row.first()) {
        Some(Value::Integer(number)) => Ok(*number),
        _ => Err(ActionError::reject("number", "That is no number.")),
    }
}

fn verbs(json: &str) -> Result<Vec<Verb>, ActionError> {
    serde_json::from_str(json).map_err(|_| ActionError::from(partysync::ErrorCode::BadAction))
}

impl SyncServer for Chat {
    fn schema(&self) -> Schema {
        Schema::new().record::<Line>()
    }

    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        tx.execute("CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY)", &[])?;
        tx.execute("CREATE TABLE IF NOT EXISTS starts (id INTEGER PRIMARY KEY)", &[])?;
        tx.execute("INSERT INTO starts DEFAULT VALUES", &[])?;
        self.steps = number(tx, "SELECT count(*) FROM steps")?;
        Ok(())
    }

    fn on_connect(&mut self, tx: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        self.count(tx)?;
        match (socket.identity().as_deref(), socket.data()) {
            (Some("nobody"), _) => Err(ActionError::reject("nobody", "Nobody may not come in.")),
            (Some(name), data) => socket.send(format!("you are {name}, {}", data.as_deref().unwrap_or_default())),
            _ => Ok(()),
        }
    }

    fn on_close(&mut self, tx: &mut Tx<'_>, socket: Socket<'_>, code: Option<u16>, _: &str) -> Result<(), ActionError> {
        self.count(tx)?;
        socket.room().send_to_tag("watch", format!("somebody left: {code:?} {:?}", socket.state::<String>()?))
    }

    fn on_message(
        &mut self,
        tx: &mut Tx<'_>,
        socket: Socket<'_>,
        message: Message<'_>,
    ) -> Result<Handled, ActionError> {
        match message {
            Message::Text(text) if text.starts_with('[') => self.run(tx, verbs(text)?, socket).map(|()| Handled::Yes),
            Message::Binary(bytes) if bytes.first() == Some(&1) => {
                socket.send(format!("{} bytes", bytes.len())).map(|()| Handled::Yes)
            }
            _ => Ok(Handled::No),
        }
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        self.run_prepared(tx, verbs(call.action())?, call.socket(), call.prepared())?;
        Ok(Changed::Captured)
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, sockets: Sockets<'_>) -> Result<(), ActionError> {
        self.count(tx)?;
        let id = tx.new_id();
        tx.table().insert(&Line { id, text: "ding".to_owned() })?;
        sockets.send_to_all("ding")
    }

    fn on_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        sockets: Sockets<'_>,
    ) -> Result<Option<Response>, ActionError> {
        self.count(tx)?;
        Ok(Some(match (request.method(), request.path()) {
            ("GET", "/lines") => Response::json(200, &number(tx, "SELECT count(*) FROM lines")?),
            ("GET", "/told") => Response::json(200, &hooks::told()),
            ("GET", "/delivered") => Response::json(200, &hooks::delivered()),
            ("GET", "/waiting") => Response::json(200, &hooks::waiting()),
            ("POST", "/release") => {
                hooks::release();
                Response::text(200, "released")
            }
            ("POST", "/say") => {
                let text = String::from_utf8_lossy(&request.body).into_owned();
                let id = tx.new_id();
                tx.table().insert(&Line { id, text })?;
                sockets.send_to_all("somebody said something")?;
                Response::text(201, request.identity().unwrap_or("nobody"))
            }
            ("DELETE", _) => Response { status: 204, headers: Vec::new(), body: Vec::new() },
            ("GET", "/reject") => return Err(ActionError::reject("no", "Not today.")),
            ("GET", "/panic") => panic!("as it was told"),
            ("GET", "/wrong") => {
                Response { status: 200, headers: vec![("upgrade".to_owned(), "x".to_owned())], body: Vec::new() }
            }
            ("GET", "/large") => Response::text(200, "x".repeat(5 << 20)),
            _ => return Ok(None),
        }))
    }
}
