//! A room to test with, servers that run it, and clients that speak to them.

// Each file of tests uses what it needs of this, and all of it is for tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod operator;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use partysync_derive::Record;
use partysync_model::{ActionError, ErrorCode, Schema, Tx};
use partysync_room::{Call, Changed, Sockets, SyncServer};
use partysync_server::{Builder, Server};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Nothing takes as long, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Record, Deserialize)]
pub struct Note {
    pub id: String,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum Action {
    Put(Note),
    Delete(String),
    Panic,
    /// Asks for the alarm in so many milliseconds.
    Alarm(i64),
}

/// A room of notes. It says when its alarm ran.
pub struct Notes {
    pub alarms: Option<mpsc::Sender<()>>,
}

impl SyncServer for Notes {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, action| match action {
            Action::Put(note) => tx.table::<Note>().insert(&note),
            Action::Delete(id) => tx.table::<Note>().delete(id).map(|_| ()),
            Action::Panic => panic!("as the test wants"),
            Action::Alarm(in_ms) => {
                tx.set_alarm(tx.now() + in_ms);
                Ok(())
            }
        })
    }

    fn on_alarm(&mut self, tx: &mut Tx<'_>, _: Sockets<'_>) -> Result<(), ActionError> {
        let id = tx.new_id();
        tx.table::<Note>().insert(&Note { id, text: "rang".to_owned() })?;
        match &self.alarms {
            Some(alarms) => alarms.send(()).map_err(|_| ErrorCode::AppError.into()),
            None => Ok(()),
        }
    }
}

/// A server of notes on a data directory of its own.
pub struct Served {
    pub server: Server,
    pub address: SocketAddr,
    pub data: TempDir,
}

pub async fn serve() -> Served {
    serve_with(|builder| builder).await
}

pub async fn serve_with(options: impl FnOnce(Builder) -> Builder) -> Served {
    let data = tempfile::tempdir().unwrap();
    let server = options(builder(data.path())).build().unwrap();
    let address = listen(&server).await;
    Served { server, address, data }
}

pub fn builder(data: &Path) -> Builder {
    Server::builder().data(data).party("notes", || Notes { alarms: None })
}

/// Serves until the runtime ends.
pub async fn listen(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.clone();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}

/// A runtime that can be dropped with all its sockets, as a machine that fails drops them.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The paths of all files below a directory, sorted.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// The only room's file.
pub fn room_file(data: &Path) -> PathBuf {
    let mut rooms = room_files(data);
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    rooms.remove(0)
}

/// All rooms' files, sorted.
pub fn room_files(data: &Path) -> Vec<PathBuf> {
    files(data).into_iter().filter(|f| f.extension().is_some_and(|e| e == "db")).collect()
}

/// Waits until a room's database is closed: then it has no log beside it.
pub async fn until_closed(room: &Path) {
    let log = room.with_extension("db-wal");
    let start = std::time::Instant::now();
    while log.exists() {
        assert!(start.elapsed() < PATIENCE, "the room is still in memory");
        tokio::task::yield_now().await;
    }
}

/// A socket.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// How a socket ended: the close code, or none if it just broke.
pub type End = Option<u16>;

impl Client {
    /// Opens a socket at a path, such as `/parties/notes/lobby`.
    pub async fn connect(address: SocketAddr, path: &str) -> Client {
        match Client::try_connect(address, path).await {
            Ok(client) => client,
            Err((status, text)) => panic!("{path}: {status} {text}"),
        }
    }

    /// Opens a socket, or returns the status and the text that refuse it.
    pub async fn try_connect(address: SocketAddr, path: &str) -> Result<Client, (u16, String)> {
        Client::try_connect_with(address, path, &[]).await
    }

    /// Opens a socket with headers of one's own, or returns the status and the text that refuse it.
    pub async fn try_connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, (u16, String)> {
        let tcp = TcpStream::connect(address).await.unwrap();
        Client::upgrade(tcp, address, path, headers).await
    }

    /// Opens a socket for which the kernel keeps little that is not read.
    pub async fn connect_small(address: SocketAddr, path: &str) -> Client {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4_096).unwrap();
        let tcp = tcp.connect(address).await.unwrap();
        Client::upgrade(tcp, address, path, &[]).await.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    async fn upgrade(
        tcp: TcpStream,
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, (u16, String)> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match timeout(PATIENCE, client_async(request, tcp)).await.unwrap() {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(Error::Http(response)) => {
                let text = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                Err((response.status().as_u16(), text))
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Opens a socket and syncs; returns the rows too.
    pub async fn join(address: SocketAddr, room: &str) -> (Client, Vec<Value>) {
        let mut client = Client::connect(address, &format!("/parties/notes/{room}")).await;
        let rows = client.sync().await;
        (client, rows)
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_message(Message::text(frame.to_string())).await.unwrap();
    }

    pub async fn send_message(&mut self, message: Message) -> Result<(), Error> {
        timeout(PATIENCE, self.socket.send(message)).await.unwrap()
    }

    /// The next message, whatever it is. `None`: the socket is gone.
    pub async fn receive_message(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next()).await.expect("a message in time").and_then(Result::ok)
    }

    /// The next frame. Pings are answered by the socket.
    pub async fn receive(&mut self) -> Value {
        loop {
            match self.receive_message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_)) => {}
                other => panic!("no text frame, but {other:?}"),
            }
        }
    }

    /// Reads until the socket ends; returns the texts too.
    pub async fn drain(&mut self) -> (Vec<String>, End) {
        let mut texts = Vec::new();
        loop {
            match self.receive_message().await {
                Some(Message::Text(text)) => texts.push(text.to_string()),
                Some(Message::Close(frame)) => return (texts, frame.map(|frame| frame.code.into())),
                Some(_) => {}
                None => return (texts, None),
            }
        }
    }

    /// Asks for all rows.
    pub async fn sync(&mut self) -> Vec<Value> {
        self.send(json!({"channel": "notes", "sync": true, "from": null})).await;
        let answer = self.receive().await;
        assert_eq!(answer["sync"], true, "{answer}");
        answer["payload"].as_array().unwrap().clone()
    }

    /// Joins a room in version 2 under an id that nobody else has; returns how many rows there are.
    pub async fn hello(&mut self, room: &str) -> usize {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let client = format!("{:032x}", LAST.fetch_add(1, Ordering::Relaxed));
        self.send(json!({"type": "hello", "versions": [2]})).await;
        self.send(json!({"type": "join", "room": room, "client": client})).await;
        assert_eq!(self.receive().await["type"], "welcome");
        let joined = self.receive().await;
        assert_eq!(joined["reset"], true, "{joined}");
        let mut rows = BTreeSet::new();
        loop {
            let snapshot = self.receive().await;
            rows.extend(snapshot["rows"].as_array().unwrap().iter().map(|row| row[0].to_string()));
            if snapshot["more"] == false {
                break;
            }
        }
        // The snapshot may be older than the room: then a patch follows (SPEC 8.36).
        if !joined["newest"].is_null() {
            let patch = self.receive().await;
            for change in patch["changes"].as_array().unwrap() {
                rows.extend(change["puts"].as_array().unwrap().iter().map(|row| row[0].to_string()));
                for id in change["deletes"].as_array().unwrap() {
                    rows.remove(&id.to_string());
                }
            }
        }
        rows.len()
    }

    /// Asks for a note, and waits for the answer.
    pub async fn put(&mut self, id: &str) {
        self.send(put(id, "text")).await;
        let answer = self.receive().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("success"), &json!(id)), "{answer}");
    }

    pub fn split(self) -> (Sink, Stream) {
        self.socket.split()
    }
}

pub type Sink = futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Message>;
pub type Stream = futures_util::stream::SplitStream<WebSocketStream<TcpStream>>;

/// The action that adds a note; its call has the note's id.
pub fn put(id: &str, text: &str) -> Value {
    act(id, json!({"type": "put", "payload": {"id": id, "text": text}}))
}

pub fn act(id: &str, action: Value) -> Value {
    json!({"id": id, "channel": "notes", "rpc": true, "action": action})
}

/// The ids of rows.
pub fn ids<'r>(rows: impl IntoIterator<Item = &'r Value>) -> Vec<&'r str> {
    rows.into_iter().map(|row| row[0].as_str().unwrap()).collect()
}
