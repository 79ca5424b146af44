//! What is logged of actions, and what is not.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::{Client, PATIENCE, act, put, serve_with};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down everything: spans with their fields, events with theirs.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

struct Line<'l>(&'l mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Everything {
    fn add(&self, what: &str, fields: impl FnOnce(&mut Line<'_>)) {
        let mut text = self.0.lock().unwrap();
        text.push_str(what);
        fields(&mut Line(&mut text));
        text.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Everything {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("partysync")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(span.metadata().name(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.add("and", |line| values.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.add("event", |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One test for both, since there is one subscriber for the process.
#[tokio::test(flavor = "multi_thread")]
async fn actions_are_logged_with_their_outcome_and_without_what_is_private() {
    let log = Everything::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let private = "what only its friends may read";
    let secrets = ["a-secret-key", "a-secret-token", "0123456789abcdef0123456789abcdef"];

    let served = serve_with(|builder| builder).await;
    let path = format!("/parties/notes/lobby?_pk={}&token={}", secrets[0], secrets[1]);
    let mut ann = Client::connect(served.address, &path).await;
    ann.sync().await;
    ann.send(put("a", private)).await;
    assert_eq!(ann.receive().await["type"], "success");
    let again = json!({"type": "put", "payload": {"id": "a", "text": private}});
    ann.send(act("another call", again)).await;
    assert_eq!(ann.receive().await["type"], "error");
    let mut bob = Client::connect(served.address, "/parties/notes/lobby").await;
    bob.send(json!({"type": "hello", "versions": [2]})).await;
    assert_eq!(bob.receive().await["type"], "welcome");
    let join = json!({"type": "join", "room": "notes/lobby", "client": secrets[2], "cursor": null, "born": null});
    bob.send(join).await;
    assert_eq!(bob.receive().await["type"], "joined");
    assert_eq!(bob.receive().await["type"], "snapshot");
    let action = json!({"type": "put", "payload": {"id": "v2", "text": private}});
    bob.send(json!({"type": "action", "room": "notes/lobby", "number": 1, "channel": "notes", "action": action})).await;
    assert_eq!(bob.receive().await["type"], "ack");
    served.server.shutdown().await.unwrap();

    let text = log.text();
    assert!(text.contains("room=notes/lobby"), "{text}");
    assert!(text.contains("action channel=\"notes\"\nand type=\"put\"\n"), "{text}");
    assert!(text.contains("outcome=\"applied\" version=1 us="), "{text}");
    assert!(text.contains("outcome=\"rejected\" code=\"duplicate\" us="), "{text}");
    for unwanted in secrets.iter().chain([&private]) {
        assert!(!text.contains(unwanted), "{unwanted} in {text}");
    }

    let served = serve_with(|builder| builder.log_payloads(true)).await;
    let (mut ann, _) = Client::join(served.address, "lobby").await;
    ann.send(put("a", private)).await;
    assert_eq!(ann.receive().await["type"], "success");
    let logged = async {
        while !log.text().contains(private) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, logged).await.unwrap();
}
