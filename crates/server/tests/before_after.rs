//! The app's code before and after actions, and at the door of a version 2 `join`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use partysync_model::{ActionError, Schema, Tx};
use partysync_protocol::limits;
use partysync_room::{Admission, Applied, Attempt, Call, Changed, Join, Refusal, SyncServer};
use partysync_server::Builder;
use serde_json::{Value, json};
use support::{Client, Note, PATIENCE, Served, act, ids, serve_with};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

const LOBBY: &str = "/parties/hooked/lobby";

/// A room whose notes have what was prepared for them.
struct Hooked;

impl SyncServer for Hooked {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        let text = format!("{} {}", call.author().unwrap_or("nobody"), call.prepared().unwrap_or("nothing"));
        call.apply(tx, |tx, id: String| tx.table::<Note>().insert(&Note { id, text }))
    }
}

/// What a test does to the hook before actions: an action waits if it says so, until there is a permit.
#[derive(Clone)]
struct Valve {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Valve {
    fn new() -> Self {
        Valve { permits: Arc::new(Semaphore::new(0)), waiting: Arc::default() }
    }

    async fn hook(self, attempt: Attempt) -> Result<Option<Value>, ActionError> {
        let id: String = attempt.decode()?;
        if id.starts_with("wait") {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
        }
        match id.as_str() {
            "no" => Err(ActionError::reject("no", "The hook says no.")),
            "plain" => Ok(None),
            _ => Ok(Some(json!({ "of": id }))),
        }
    }

    async fn until_waiting(&self, count: usize) {
        let all = async {
            while self.waiting.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    }

    fn open(&self, count: usize) {
        self.permits.add_permits(count);
    }
}

async fn serve(valve: &Valve) -> Served {
    let valve = valve.clone();
    serve_with(|builder| hooked(builder).before_action("hooked", move |attempt| valve.clone().hook(attempt))).await
}

fn hooked(builder: Builder) -> Builder {
    builder.party("hooked", || Hooked)
}

fn ask(id: &str) -> Value {
    act(id, json!(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_8_an_action_sees_what_was_prepared_and_a_hooks_no_is_the_actions() {
    let valve = Valve::new();
    let served = serve(&valve).await;
    let mut ann = Client::connect(served.address, LOBBY).await;
    for id in ["a", "plain", "no"] {
        ann.send(ask(id)).await;
    }
    assert_eq!(ann.receive().await["result"][0][1], r#"nobody {"of":"a"}"#);
    assert_eq!(ann.receive().await["result"][0][1], "nobody nothing");
    assert_eq!(ann.receive().await["error"], json!(["The hook says no."]));
    ann.send(act("x", json!({"no": "text"}))).await;
    assert_eq!(ann.receive().await["error"], json!(["This action is not one the room knows."]));
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_8_what_is_behind_an_action_waits_and_others_do_not() {
    let valve = Valve::new();
    let served = serve(&valve).await;
    let mut ann = Client::connect(served.address, LOBBY).await;
    let mut bob = Client::connect(served.address, LOBBY).await;
    for frame in [ask("wait"), ask("a"), json!({"channel": "notes", "sync": true, "from": null})] {
        ann.send(frame).await;
    }
    valve.until_waiting(1).await;
    bob.send(ask("b")).await;
    assert_eq!(bob.receive().await["type"], "success");
    assert_eq!(ids(&bob.sync().await), ["b"], "nothing of Ann's was applied");
    valve.open(1);
    assert_eq!(ann.receive().await["id"], "wait");
    assert_eq!(ann.receive().await["id"], "a");
    assert_eq!(ids(ann.receive().await["payload"].as_array().unwrap()), ["a", "b", "wait"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_hooks_waiting_at_the_limit_and_one_past_it() {
    let valve = Valve::new();
    let served = serve(&valve).await;
    let mut waiting = Vec::new();
    for i in 0..limits::HOOKS_WAITING {
        let mut client = Client::connect(served.address, LOBBY).await;
        client.send(ask(&format!("wait{i}"))).await;
        waiting.push(client);
    }
    valve.until_waiting(limits::HOOKS_WAITING).await;
    let mut late = Client::connect(served.address, LOBBY).await;
    late.send(ask("late")).await;
    assert_eq!(late.receive().await["error"], json!(["The room is busy. Try again soon."]));
    // In version 2 the number is not settled, so that it can be sent again.
    let mut bob = v2(&served, LOBBY, 2).await;
    bob.send(numbered(1, "bob")).await;
    let answer = bob.receive().await;
    assert_eq!((&answer["type"], &answer["error"]["code"]), (&json!("later"), &json!("busy")));
    // Another room has places of its own.
    let mut eve = Client::connect(served.address, "/parties/hooked/other").await;
    eve.send(ask("eve")).await;
    assert_eq!(eve.receive().await["type"], "success");

    valve.open(limits::HOOKS_WAITING);
    for client in &mut waiting {
        assert_eq!(client.receive().await["type"], "success");
    }
    bob.send(numbered(1, "bob")).await;
    loop {
        // The others' patches may come first.
        let answer = bob.receive().await;
        if answer["type"] != "patch" {
            assert_eq!(answer["type"], "ack", "{answer}");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_8_each_of_many_clients_keeps_its_order() {
    const CLIENTS: usize = 16;
    const ACTIONS: usize = 25;

    let served = serve_with(|builder| {
        hooked(builder).before_action("hooked", |attempt: Attempt| async move {
            // Some yield more often than those behind them.
            for _ in 0..attempt.action.len() * 7 % 5 {
                tokio::task::yield_now().await;
            }
            Ok(None)
        })
    })
    .await;
    let clients = (0..CLIENTS).map(|c| {
        let address = served.address;
        tokio::spawn(async move {
            let mut client = Client::connect(address, LOBBY).await;
            let id = |a: usize| format!("{c}-{}{a}", "x".repeat(a * 3 % 4));
            for a in 0..ACTIONS {
                client.send(ask(&id(a))).await;
            }
            for a in 0..ACTIONS {
                let answer = client.receive().await;
                assert_eq!((&answer["type"], &answer["id"]), (&json!("success"), &json!(id(a))));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        timeout(PATIENCE, client).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_9_the_hook_after_an_action_has_what_was_applied_and_its_failure_is_its_own() {
    let (sender, mut applied) = mpsc::unbounded_channel();
    let served = serve_with(|builder| {
        hooked(builder)
            .on_before_connect("hooked", |_| async { Ok(Admission::of("ann").with_data(&json!(7))) })
            .after_action("hooked", move |applied: Applied| {
                let sender = sender.clone();
                async move {
                    assert_ne!(applied.action, r#""panic""#, "as the test wants");
                    let fails = applied.action == r#""fail""#;
                    sender.send(applied).unwrap();
                    if fails { Err("as the test wants") } else { Ok(()) }
                }
            })
    })
    .await;
    let mut ann = Client::connect(served.address, LOBBY).await;
    for id in ["panic", "fail", "fail", "a"] {
        ann.send(ask(id)).await;
    }
    let answers = [ann.receive().await, ann.receive().await, ann.receive().await, ann.receive().await];
    assert_eq!(answers.map(|a| a["type"].clone()), ["success", "success", "error", "success"]);
    let mut told =
        [timeout(PATIENCE, applied.recv()).await, timeout(PATIENCE, applied.recv()).await].map(|a| a.unwrap().unwrap());
    told.sort_by_key(|applied| applied.version);
    let [fail, a] = told;
    assert_eq!((fail.action.as_str(), fail.version, a.action.as_str(), a.version), (r#""fail""#, 2, r#""a""#, 3));
    assert_eq!((a.room.address(), a.channel.as_str()), ("hooked/lobby", "notes"));
    assert_eq!((a.author.as_deref(), a.data.as_deref()), (Some("ann"), Some("7")));
}

/// Opens a version 2 connection that has joined.
async fn v2(served: &Served, path: &str, client: u8) -> Client {
    let mut socket = Client::connect(served.address, path).await;
    socket.send(json!({"type": "hello", "versions": [2]})).await;
    assert_eq!(socket.receive().await["type"], "welcome");
    socket.send(join(client, Value::Null)).await;
    assert_eq!(socket.receive().await["type"], "joined");
    while socket.receive().await["more"] != false {}
    socket
}

fn join(client: u8, token: Value) -> Value {
    json!({"type": "join", "room": "hooked/lobby", "client": format!("{client:032x}"), "token": token})
}

fn numbered(number: u64, id: &str) -> Value {
    json!({"type": "action", "room": "hooked/lobby", "number": number, "channel": "notes", "action": id})
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_3_a_join_with_a_token_goes_through_the_door() {
    async fn door(join: Join) -> Result<Admission, Refusal> {
        let from = join.param("from").unwrap_or("nowhere").to_owned();
        match join.token.as_ref().map(|token| token.as_str()) {
            None => Ok(Admission::anonymous()),
            Some("bad") => Err(Refusal::forbidden("This token has ended.")),
            Some(name) => Ok(Admission::of(format!("{name} from {from}"))),
        }
    }
    let served = serve_with(|builder| {
        hooked(builder)
            .on_before_connect("hooked", door)
            .before_action("hooked", |attempt: Attempt| async move { Ok(Some(json!(attempt.author))) })
    })
    .await;
    let mut ann = v2(&served, &format!("{LOBBY}?from=here"), 1).await;
    ann.send(numbered(1, "a")).await;
    assert_eq!(ann.receive().await["type"], "ack");
    assert_eq!(ann.receive().await["changes"][0]["puts"][0][1], "nobody null");

    ann.send(join(2, json!("ann"))).await;
    assert_eq!(ann.receive().await["type"], "joined");
    while ann.receive().await["more"] != false {}
    ann.send(numbered(1, "b")).await;
    assert_eq!(ann.receive().await["type"], "ack");
    let author = "ann from here";
    assert_eq!(ann.receive().await["changes"][0]["puts"][0][1], format!("{author} \"{author}\""));

    ann.send(join(2, json!("bad"))).await;
    let left = ann.receive().await;
    assert_eq!(
        (&left["type"], &left["error"]["code"], &left["error"]["text"]),
        (&json!("left"), &json!("not_allowed"), &json!("This token has ended."))
    );
    ann.send(numbered(2, "c")).await;
    assert_eq!(ann.receive().await["error"]["code"], "not_joined");
}
