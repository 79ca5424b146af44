//! What proves who somebody is, or is private to an app, is in no log, whatever is logged. A test program of its own, since it has
//! the process's log to itself.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use partysync_room::{Admission, Attempt, Join, Refusal};
use serde_json::{Value, json};
use support::{Client, act, serve_with};
use tracing_subscriber::EnvFilter;

/// A log that is kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn door(join: Join) -> Result<Admission, Refusal> {
    // An app may well log what it is asked.
    tracing::info!(?join, "the app's own line");
    match join.token.as_ref().map_or("", |token| token.as_str()) {
        token if token.contains("refused") => Err(Refusal::forbidden("No.")),
        token if token.contains("panics") => panic!("as the test wants"),
        _ => Ok(Admission::of("ann").with_data(&json!("hush-data"))),
    }
}

async fn hook(attempt: Attempt) -> Result<Option<Value>, partysync_model::ActionError> {
    let _ = attempt.decode::<Value>()?;
    Ok(Some(json!("hush-prepared")))
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_13_1_no_secret_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    // All but what the test's own clients say.
    let all = EnvFilter::new("trace,tungstenite=off,tokio_tungstenite=off");
    tracing_subscriber::fmt().with_env_filter(all).with_writer(move || writer.clone()).init();

    let served = serve_with(|builder| builder.on_before_connect("notes", door).before_action("notes", hook)).await;
    let headers = [("authorization", "Bearer hush-header"), ("cookie", "session=hush-cookie")];
    let page = [("origin", "https://example.com"), ("cookie", "session=hush-cookie")];
    let path = |token: &str| format!("/parties/notes/lobby?token={token}&_pk=hush-key");
    for (token, status) in [("hush-refused", 403), ("hush-panics", 500)] {
        let refused = Client::try_connect_with(served.address, &path(token), &[]).await.err().unwrap();
        assert_eq!(refused.0, status);
    }
    let mut refused = Client::try_connect_with(served.address, &path("hush-refused"), &page).await.unwrap();
    assert_eq!(refused.drain().await.1, Some(4403));
    let mut old = Client::try_connect_with(served.address, &path("hush-query"), &headers).await.unwrap();
    old.send(act("a", json!({"type": "put", "payload": {"id": "a", "text": "hush-text"}}))).await;
    old.send(act("p", json!({"type": "panic"}))).await;
    assert_eq!([old.receive().await["type"].clone(), old.receive().await["type"].clone()], ["success", "error"]);

    let mut new = Client::try_connect_with(served.address, &path("hush-query"), &[]).await.unwrap();
    new.send(json!({"type": "hello", "versions": [2]})).await;
    for token in ["hush-join", "hush-refused"] {
        let client = "5ec7e75ec7e75ec7e75ec7e75ec7e75e";
        new.send(json!({"type": "join", "room": "notes/lobby", "client": client, "token": token})).await;
    }
    while new.receive().await["type"] != "left" {}
    drop((old, new));
    served.server.shutdown().await.unwrap();

    let text = log.text();
    for line in ["connection opened", "the app's own line", "the door panicked", "as the test wants"] {
        assert!(text.contains(line), "{line:?} is not in the log");
    }
    for secret in ["hush", "5ec7e75ec7e7"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret is in the log");
    }
}
