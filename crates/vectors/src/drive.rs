//! Plays the vectors with a server, over real sockets, wherever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use partysync_protocol::{ErrorCode, WireError};
use serde_json::{Value as Json, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::{Answer, Bound, Dialogue, FirstAnswer, Need, ROOM, Side, Step, dialogues, up};

/// Nothing takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A frame of no meaning, and the answer to it: a sign that all that came before it is answered.
const NONSENSE: &str = "nonsense";

/// A server that runs the app of the vectors, on data of its own.
pub trait Home {
    /// Starts it on what its data is; returns where it listens.
    fn start(&mut self) -> SocketAddr;
    /// Stops it. All sockets have been closed before.
    fn stop(&mut self);
    /// The folder of its data: all that outlives a stop.
    fn data(&self) -> PathBuf;
}

/// What a server is not tested by: the file of a dialogue, or the name of a frame, and the reason.
pub type LeftOut<'a> = (&'a str, &'a str);

/// Plays all dialogues that test a server, but for those that are left out. `home` makes a server without data.
///
/// # Errors
///
/// A dialogue did not go as it should, or one that is left out is not there; in words.
pub fn play_dialogues<H: Home>(left_out: &[LeftOut<'_>], mut home: impl FnMut() -> H) -> Result<(), String> {
    let of_servers = dialogues().into_iter().filter(|(_, dialogue)| dialogue.tests.contains(&Side::Server));
    for (file, dialogue) in without(of_servers.collect(), left_out, |(file, _)| file)? {
        Played::new(&dialogue, home()).play().map_err(|why| format!("{file}: {why}"))?;
    }
    Ok(())
}

/// What is left of vectors. Each that is left out has to be there.
fn without<T>(vectors: Vec<T>, left_out: &[LeftOut<'_>], name: fn(&T) -> &String) -> Result<Vec<T>, String> {
    let mut left_out: BTreeSet<&str> = left_out.iter().map(|(name, _)| *name).collect();
    let left = vectors.into_iter().filter(|vector| !left_out.remove(name(vector).as_str())).collect();
    if left_out.is_empty() { Ok(left) } else { Err(format!("there are no vectors of these names: {left_out:?}")) }
}

/// A dialogue that goes on.
struct Played<'a, H> {
    dialogue: &'a Dialogue,
    home: H,
    address: SocketAddr,
    sockets: BTreeMap<&'a str, Socket>,
    /// Stamps and times are a room's own.
    bound: BTreeMap<&'a str, Bound>,
}

impl<'a, H: Home> Played<'a, H> {
    fn new(dialogue: &'a Dialogue, mut home: H) -> Self {
        let address = home.start();
        Played { dialogue, home, address, sockets: BTreeMap::new(), bound: BTreeMap::new() }
    }

    fn play(mut self) -> Result<(), String> {
        for (place, step) in self.dialogue.steps.iter().enumerate() {
            self.step(step).map_err(|why| format!("step {place}, {step:?}:\n{why}"))?;
        }
        self.sockets.values_mut().try_for_each(Socket::is_quiet)?;
        self.sockets.clear();
        self.home.stop();
        self.bound.values().try_for_each(Bound::check_order)
    }

    fn step(&mut self, step: &'a Step) -> Result<(), String> {
        if let Step::Server { does, on, .. } = step {
            return self.server_does(*does, on.as_deref());
        }
        let Some(name) = step.on() else { return Err("there is no clock to set".to_owned()) };
        let (owner, room) = (self.dialogue.socket_of(name), self.dialogue.room_of(name));
        match step {
            // It has no socket of its own.
            Step::Open { .. } | Step::Close { .. } if owner != name => {}
            Step::Open { token, .. } => {
                let query = token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
                let socket = Socket::open(self.address, &format!("{room}{query}"), false)?;
                self.sockets.insert(name, socket);
            }
            Step::Close { .. } => {
                self.socket(owner)?.is_quiet()?;
                self.sockets.remove(owner);
            }
            Step::Up { lost: true, .. } => {}
            Step::Up { frame, .. } => {
                let frame = self.bound.entry(room).or_default().to_server(frame);
                self.socket(owner)?.send(frame.to_string())?;
            }
            Step::Down { frame, .. } => {
                let sent = self.socket(owner)?.next_for(room, owner == name)?;
                self.bound.entry(room).or_default().compare(frame, &sent)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn server_does(&mut self, does: Need, on: Option<&str>) -> Result<(), String> {
        let data = self.home.data();
        let copy = data.with_extension("copy");
        match does {
            Need::Restart => {
                self.home.stop();
                self.address = self.home.start();
            }
            // What was answered is in its files, and nobody asks for anything else meanwhile.
            Need::Save => copy_folder(&data, &copy).map_err(|error| error.to_string())?,
            Need::Restore => {
                self.home.stop();
                fs::remove_dir_all(&data).and_then(|()| fs::rename(&copy, &data)).map_err(|error| error.to_string())?;
                self.address = self.home.start();
            }
            Need::Fill => self.socket(on.unwrap_or_default())?.fill()?,
            Need::Several | Need::Door => {}
            Need::Days | Need::Busy | Need::Slow | Need::CaughtUp => {
                return Err("that cannot be done to a server over sockets".to_owned());
            }
        }
        Ok(())
    }

    fn socket(&mut self, owner: &str) -> Result<&mut Socket, String> {
        self.sockets.get_mut(owner).ok_or_else(|| "it has no socket".to_owned())
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() { copy_folder(&entry, &to)? } else { fs::copy(&entry, &to).map(drop)? }
    }
    Ok(())
}

/// Sends what is no message to a server, and compares its answers with the vectors'.
///
/// # Errors
///
/// Another answer came; in words.
pub fn send_what_is_no_message(address: SocketAddr) -> Result<(), String> {
    for (place, invalid) in up().invalid.iter().enumerate() {
        let wrong = |why: String| format!("{}: {why}", invalid.name);
        let mut socket = Socket::open(address, ROOM, false)?;
        socket.join(ROOM, place)?;
        socket.send(invalid.text.build())?;
        let answer = socket.receive().map_err(wrong)?;
        let expected = match &invalid.answer {
            Some(Answer::Error { error }) => json!({"type": "error", "error": wire(error)}),
            Some(Answer::Reject { reject, number }) => {
                json!({"type": "reject", "room": ROOM, "number": number, "error": wire(reject)})
            }
            None => return Err(wrong("the vectors have no answer".to_owned())),
        };
        if answer != expected {
            return Err(wrong(format!("the server sent {answer}\nand not         {expected}")));
        }
        socket.is_quiet().map_err(wrong)?;
    }
    Ok(())
}

fn wire(code: &str) -> Option<WireError> {
    ErrorCode::from_code(code).map(WireError::from)
}

/// Opens sockets with first frames of all kinds but those that are left out, and compares what the server takes them for with the vectors.
///
/// # Errors
///
/// It took one for something else, or one that is left out is not there; in words.
pub fn send_first_frames(left_out: &[LeftOut<'_>], address: SocketAddr) -> Result<(), String> {
    for first in without(up().first, left_out, |first| &first.name)? {
        let wrong = |why: String| format!("{}: {why}", first.name);
        let mut socket = Socket::open(address, ROOM, first.subprotocol)?;
        socket.send(first.text.build())?;
        let answer = match socket.receive_message().map_err(wrong)? {
            Message::Close(Some(close)) => FirstAnswer::Close(close.code.into()),
            Message::Text(text) => {
                let answer: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
                if answer["type"] == "welcome" { FirstAnswer::Welcome } else { FirstAnswer::Version1 }
            }
            other => return Err(wrong(format!("{other:?}"))),
        };
        if answer != first.answer {
            return Err(wrong(format!("{answer:?}, and not {:?}", first.answer)));
        }
    }
    Ok(())
}

/// A socket to a server.
struct Socket {
    socket: WebSocket<TcpStream>,
    /// What came that the dialogue has not come to yet: rooms of one socket have no order among each other.
    early: Vec<Json>,
    /// How many rooms it may carry.
    rooms: u64,
}

impl Socket {
    /// `place`: a room's address, and a query if there is one.
    fn open(address: SocketAddr, place: &str, has_subprotocol: bool) -> Result<Self, String> {
        let url = format!("ws://{address}/parties/{place}");
        let wrong = |error: String| format!("{url}: {error}");
        let mut request = url.as_str().into_client_request().map_err(|error| wrong(error.to_string()))?;
        if has_subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", "partysync.v2".parse().map_err(|_| String::new())?);
        }
        let stream = TcpStream::connect(address)
            .and_then(|tcp| tcp.set_read_timeout(Some(PATIENCE)).map(|()| tcp))
            .map_err(|error| wrong(error.to_string()))?;
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| wrong(error.to_string()))?;
        Ok(Socket { socket, early: Vec::new(), rooms: 0 })
    }

    fn send(&mut self, text: String) -> Result<(), String> {
        self.socket.send(Message::text(text)).map_err(|error| error.to_string())
    }

    /// The next message that is not the protocol's own.
    fn receive_message(&mut self) -> Result<Message, String> {
        loop {
            match self.socket.read().map_err(|error| format!("nothing came: {error}"))? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Ok(message),
            }
        }
    }

    fn receive(&mut self) -> Result<Json, String> {
        match self.receive_message()? {
            Message::Text(text) => serde_json::from_str(&text).map_err(|error| format!("{error}: {text}")),
            other => Err(format!("the server sent {other:?}")),
        }
    }

    /// What comes next for a room. `is_home`: or for none.
    fn next_for(&mut self, room: &str, is_home: bool) -> Result<Json, String> {
        let is_for = |frame: &Json| frame["room"].as_str().map_or(is_home, |named| named == room);
        if let Some(at) = self.early.iter().position(is_for) {
            return Ok(self.early.remove(at));
        }
        loop {
            let frame = self.receive()?;
            if frame["type"] == "welcome" {
                self.rooms = frame["rooms"].as_u64().unwrap_or_default();
            }
            if is_for(&frame) {
                return Ok(frame);
            }
            self.early.push(frame);
        }
    }

    /// Greets the server, and joins a room as a client that nobody else is.
    fn join(&mut self, room: &str, client: usize) -> Result<(), String> {
        self.send(json!({"type": "hello", "versions": [2]}).to_string())?;
        self.send(json!({"type": "join", "room": room, "client": format!("{client:032x}")}).to_string())?;
        while self.receive()?["more"] != false {}
        Ok(())
    }

    /// Takes as many further rooms as it may.
    fn fill(&mut self) -> Result<(), String> {
        for place in 1..self.rooms {
            let room = format!("todos/fill-{place}");
            let join = json!({"type": "join", "room": room, "client": format!("{place:032x}")});
            self.send(join.to_string())?;
            while self.next_for(&room, false)?["more"] != false {}
        }
        Ok(())
    }

    /// Nothing has been sent that was not received: what comes next are the answers to two frames, of which a server may answer the one before it
    /// looks at the other.
    fn is_quiet(&mut self) -> Result<(), String> {
        self.send(NONSENSE.to_owned())?;
        self.send(json!({"type": "ping"}).to_string())?;
        let mut answers = [json!({"type": "pong"}), json!({"type": "error", "error": wire("bad_message")})].to_vec();
        while !answers.is_empty() {
            let next = self.receive()?;
            let at = answers.iter().position(|answer| *answer == next);
            answers.remove(at.ok_or_else(|| format!("the server sent {next}"))?);
        }
        if self.early.is_empty() { Ok(()) } else { Err(format!("the server sent {:?}", self.early)) }
    }
}
