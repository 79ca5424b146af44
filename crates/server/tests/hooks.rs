//! The app's hooks behind real sockets and requests, and the outbox across a server's death.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use partysync_model::{ActionError, Schema, Tx};
use partysync_protocol::limits;
use partysync_room::{
    Admission, Call, Changed, Handled, Join, Message as Sent, OutboxItem, Refusal, Request, Response, Socket, Sockets,
    SyncServer,
};
use partysync_server::{Builder, Server};
use serde_json::{Value, json};
use support::operator::Operator;
use support::{Client, Note, PATIENCE, Served, act, listen, room_file, runtime, serve_with, until_closed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// A room that does something in each hook.
struct Chat;

impl SyncServer for Chat {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_connect(&mut self, _: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        match socket.key().as_deref() {
            Some("banned") => Err(ActionError::reject("banned", "You are banned.")),
            key => {
                socket.set_state(&key.unwrap_or("nobody"))?;
                socket.room().send_to_all(format!("{} came", key.unwrap_or("nobody")))
            }
        }
    }

    fn on_close(&mut self, _: &mut Tx<'_>, socket: Socket<'_>, code: Option<u16>, _: &str) -> Result<(), ActionError> {
        let name: Option<String> = socket.state()?;
        socket.room().send_to_all(format!("{} left: {code:?}", name.unwrap_or_default()))
    }

    fn on_message(&mut self, _: &mut Tx<'_>, socket: Socket<'_>, message: Sent<'_>) -> Result<Handled, ActionError> {
        match message {
            Sent::Text("bye") => socket.close(4001, "bye, too")?,
            Sent::Text(text) => socket.send_to_others(text)?,
            Sent::Binary(bytes) => socket.send(format!("{bytes:?}"))?,
        }
        Ok(Handled::Yes)
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, words: Vec<String>| words.iter().try_for_each(|word| tx.outbox(word)))
    }

    fn on_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        sockets: Sockets<'_>,
    ) -> Result<Option<Response>, ActionError> {
        match (request.method(), request.path()) {
            ("POST", "/notes") => {
                let id = tx.new_id();
                let text = String::from_utf8_lossy(&request.body).into_owned();
                tx.table().insert(&Note { id, text })?;
                Ok(Some(Response::json(201, &tx.table::<Note>().all()?.len())))
            }
            ("GET", "/who") => {
                let who = json!({
                    "online": sockets.iter().count(),
                    "identity": request.identity(),
                    "param": request.join.param("a"),
                    "header": request.join.header("x-test"),
                });
                Ok(Some(Response::json(200, &who)))
            }
            ("GET", "/panic") => panic!("as the test wants"),
            ("GET", "/header") => {
                let headers = request.join.param("name").map(|name| (name.to_owned(), "7".to_owned()));
                Ok(Some(Response { status: 200, headers: headers.into_iter().collect(), body: b"body".to_vec() }))
            }
            ("GET", "/status") => Ok(Some(Response { status: 101, headers: Vec::new(), body: Vec::new() })),
            _ => Ok(None),
        }
    }
}

async fn serve_chat(options: impl FnOnce(Builder) -> Builder) -> Served {
    serve_with(|builder| options(builder.party("chat", || Chat))).await
}

/// A request; returns the status and the body.
async fn ask(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    tcp.write_all(head.as_bytes()).await.unwrap();
    // One that is refused by its length is not read.
    let _ = tcp.write_all(body).await;
    let mut answer = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn text(client: &mut Client) -> String {
    match client.receive_message().await {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("no text, but {other:?}"),
    }
}

#[tokio::test]
async fn spec_14_sockets_are_greeted_spoken_to_and_seen_off() {
    let served = serve_chat(|b| b).await;
    let connect = async |key: &str| Client::connect(served.address, &format!("/parties/chat/lobby?_pk={key}")).await;
    let mut ann = connect("ann").await;
    assert_eq!(text(&mut ann).await, "ann came");
    let mut bob = connect("bob").await;
    assert_eq!((text(&mut ann).await, text(&mut bob).await), ("bob came".to_owned(), "bob came".to_owned()));
    bob.send_message(Message::text("hello, ann")).await.unwrap();
    assert_eq!(text(&mut ann).await, "hello, ann");
    bob.send_message(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(text(&mut bob).await, "[1, 2]");
    bob.send_message(Message::text("bye")).await.unwrap();
    assert_eq!(bob.drain().await, (vec![], Some(4001)));
    assert_eq!(text(&mut ann).await, "bob left: Some(4001)");
    let mut banned = connect("banned").await;
    match banned.receive_message().await {
        Some(Message::Close(Some(frame))) => {
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "You are banned."));
        }
        other => panic!("{other:?}"),
    }
    let mut other_room = Client::connect(served.address, "/parties/chat/garden?_pk=eve").await;
    assert_eq!(text(&mut other_room).await, "eve came", "P9");
}

#[tokio::test]
async fn p12_a_socket_that_leaves_while_its_room_is_asleep_is_seen_off_with_what_was_kept_of_it() {
    let served = serve_chat(|b| b.idle_ms(0)).await;
    let mut ann = Client::connect(served.address, "/parties/chat/lobby?_pk=ann").await;
    let bob = Client::connect(served.address, "/parties/chat/lobby?_pk=bob").await;
    assert_eq!((text(&mut ann).await, text(&mut ann).await), ("ann came".to_owned(), "bob came".to_owned()));
    until_closed(&room_file(served.data.path())).await;
    drop(bob);
    assert_eq!(text(&mut ann).await, "bob left: None");
}

#[tokio::test]
async fn spec_14_8_requests_reach_the_app_and_what_they_change_reaches_the_sockets() {
    let served = serve_chat(|b| {
        b.on_before_request("chat", |join: Join| async move {
            match join.param("token") {
                Some("no") => Err(Refusal::forbidden("You may not.")),
                _ => Ok(Admission::of("rita")),
            }
        })
    })
    .await;
    let mut ann = Client::connect(served.address, "/parties/chat/lobby?_pk=ann").await;
    assert_eq!(text(&mut ann).await, "ann came");
    ann.sync_notes().await;
    let (status, body) = ask(served.address, "POST /parties/chat/lobby/notes HTTP/1.1", b"by request").await;
    assert_eq!((status, body.as_str()), (201, "1"));
    let update = ann.receive().await;
    assert_eq!((&update["type"], &update["payload"][0][1]), (&json!("update"), &json!("by request")));
    let head = "GET /parties/chat/lobby/who?a=%20b HTTP/1.1\r\nX-Test: yes";
    let (status, body) = ask(served.address, head, b"").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({"online": 1, "identity": "rita", "param": " b", "header": "yes"});
    assert_eq!((status, body), (200, expected));
    for (path, status) in [("", 404), ("/else", 404), ("/panic", 500), ("/who?token=no", 403)] {
        let answer = ask(served.address, &format!("GET /parties/chat/lobby{path} HTTP/1.1"), b"").await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
    }
    assert_eq!(ask(served.address, "GET /parties/notes/lobby HTTP/1.1", b"").await.0, 404, "an app without the hook");
}

#[tokio::test]
async fn spec_14_8_a_response_that_cannot_be_sent_is_an_error_of_the_app_and_reported() {
    let served = serve_chat(|b| b).await;
    let operator = Operator::of(&served.server).await;
    let get = async |path: &str| ask(served.address, &format!("GET /parties/chat/lobby{path} HTTP/1.1"), b"").await;
    assert_eq!(get("/header?name=x-seven").await, (200, "body".to_owned()));
    let wrong = ["/status", "/header?name=bad%20name", "/header?name=content-length", "/header?name=Transfer-Encoding"];
    let wrong = [wrong.as_slice(), &["/header?name=connection", "/header?name=upgrade"]].concat();
    for path in &wrong {
        let (status, body) = get(path).await;
        assert_eq!(
            (status, &serde_json::from_str::<Value>(&body).unwrap()["code"]),
            (500, &json!("app_error")),
            "{path}"
        );
    }
    assert_eq!(operator.get("/metrics").await.metric("partysync_reports_total"), wrong.len() as f64);
}

#[tokio::test]
async fn p8_request_bytes_at_the_limit_and_one_past_it() {
    let served = serve_chat(|b| b).await;
    let head = "POST /parties/chat/lobby/notes HTTP/1.1";
    // A row has a limit too, and it is not smaller but for the row's other columns.
    let body = vec![b'x'; limits::REQUEST_BYTES];
    let (status, text) = ask(served.address, head, &body).await;
    assert!(status == 400 && text.contains("too_large"), "the app's row is: {status} {text}");
    let (status, text) = ask(served.address, head, &[body.as_slice(), b"x"].concat()).await;
    assert_eq!((status, text.as_str()), (413, "The body is too large."));
}

impl Client {
    async fn sync_notes(&mut self) {
        self.send(json!({"channel": "notes", "sync": true, "from": null})).await;
        assert_eq!(self.receive().await["sync"], true);
    }
}

/// A courier that writes down what it delivered, and fails as often as it is told.
#[derive(Clone)]
struct Post {
    delivered: mpsc::UnboundedSender<OutboxItem>,
    failures: Arc<AtomicUsize>,
}

impl Post {
    fn new(failures: usize) -> (Self, mpsc::UnboundedReceiver<OutboxItem>) {
        let (delivered, arrived) = mpsc::unbounded_channel();
        (Post { delivered, failures: Arc::new(AtomicUsize::new(failures)) }, arrived)
    }

    async fn deliver(self, item: OutboxItem) -> Result<(), &'static str> {
        let fails = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err("as the test wants");
        }
        self.delivered.send(item).map_err(|_| "nobody waits")
    }
}

fn with_post(builder: Builder, post: Post) -> Builder {
    builder.on_outbox("chat", move |item| post.clone().deliver(item))
}

#[tokio::test]
async fn spec_7_10_items_are_delivered_in_order_and_again_when_that_fails() {
    let (post, mut arrived) = Post::new(1);
    let served = serve_chat(|b| with_post(b, post)).await;
    let mut ann = Client::connect(served.address, "/parties/chat/lobby").await;
    ann.receive_message().await;
    ann.send(act("1", json!(["a", "b", "c"]))).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let item = timeout(PATIENCE, arrived.recv()).await.unwrap().unwrap();
        bodies.push((item.body, item.tries));
    }
    let expected = [("\"b\"", 0), ("\"c\"", 0), ("\"a\"", 1)].map(|(body, tries)| (body.to_owned(), tries));
    assert_eq!(bodies, expected);
}

/// The first server dies while its courier is at work: what was answered is delivered by the second, without anybody
/// opening the room.
#[test]
fn spec_7_10_a_server_that_dies_leaves_its_items_to_the_next() {
    let data = tempfile::tempdir().unwrap();
    let first = runtime();
    let begun: Arc<Mutex<Vec<OutboxItem>>> = Arc::default();
    first.block_on(async {
        let begun = Arc::clone(&begun);
        let builder = Server::builder().data(data.path()).party("chat", || Chat);
        let (started, mut starts) = mpsc::unbounded_channel();
        let server = builder
            .on_outbox("chat", move |item| {
                begun.lock().unwrap().push(item);
                let _ = started.send(());
                // It never ends.
                std::future::pending::<Result<(), &str>>()
            })
            .build()
            .unwrap();
        let address = listen(&server).await;
        let mut ann = Client::connect(address, "/parties/chat/lobby").await;
        ann.receive_message().await;
        ann.send(act("1", json!(["a", "b"]))).await;
        assert_eq!(ann.receive().await["type"], "success");
        timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        let (post, mut arrived) = Post::new(0);
        let start = std::time::Instant::now();
        // The first one's threads let go of the directory when they are done.
        let server = loop {
            let builder = Server::builder().data(data.path()).party("chat", || Chat);
            match with_post(builder, post.clone()).build() {
                Ok(server) => break server,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        let mut keys = HashSet::new();
        let mut bodies = Vec::new();
        while bodies.len() < 2 {
            let item = timeout(PATIENCE, arrived.recv()).await.unwrap().unwrap();
            if keys.insert(item.key.clone()) {
                bodies.push(item.body);
            }
        }
        assert_eq!(bodies, ["\"a\"", "\"b\""]);
        let begun = begun.lock().unwrap();
        assert!(keys.contains(&begun[0].key), "the same key: {begun:?}");
        drop(server);
    });
}

#[tokio::test]
async fn p12_a_room_with_an_item_on_its_way_stays_in_memory() {
    let (post, mut arrived) = Post::new(0);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let served = serve_chat(|b| {
        let gate = Arc::clone(&gate);
        b.idle_ms(0).on_outbox("chat", move |item| {
            let (gate, post) = (Arc::clone(&gate), post.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                post.deliver(item).await
            }
        })
    })
    .await;
    let mut ann = Client::connect(served.address, "/parties/chat/lobby").await;
    ann.receive_message().await;
    ann.send(act("1", json!(["a"]))).await;
    assert_eq!(ann.receive().await["type"], "success");
    let log = room_file(served.data.path()).with_extension("db-wal");
    // Far longer than it takes an idle room to leave: it does at once.
    for _ in 0..2_000 {
        assert!(log.exists(), "the room left memory");
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(timeout(PATIENCE, arrived.recv()).await.unwrap().unwrap().tries, 0);
    until_closed(&room_file(served.data.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_7_10_a_delivery_that_hangs_keeps_no_server_from_stopping() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let served = serve_chat(|b| {
        b.on_outbox("chat", move |_| {
            let _ = started.send(());
            std::future::pending::<Result<(), &str>>()
        })
    })
    .await;
    let mut ann = Client::connect(served.address, "/parties/chat/lobby").await;
    ann.receive_message().await;
    ann.send(act("1", json!(["a"]))).await;
    assert_eq!(ann.receive().await["type"], "success");
    timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
    served.server.shutdown().await.unwrap();
}

#[test]
fn an_outbox_without_a_runtime_or_a_party_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (post, _) = Post::new(0);
    let builder = Server::builder().data(data.path()).party("chat", || Chat);
    let error = with_post(builder, post.clone()).build().unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
    let error = runtime().block_on(async { with_post(Server::builder().data(data.path()), post).build().unwrap_err() });
    assert!(error.to_string().contains("no such party"), "{error}");
}
