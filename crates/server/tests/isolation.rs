//! What one room does holds back no other.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex, mpsc};

use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Call, Changed, SyncServer};
use partysync_server::Server;
use serde_json::json;
use support::{Client, PATIENCE, listen};

/// A room whose actions take as long as the test wants.
struct Slow {
    begun: mpsc::Sender<()>,
    /// Ends when the test lets go of the other end.
    until: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl SyncServer for Slow {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        let _ = self.begun.send(());
        let _ = self.until.lock().unwrap().recv();
        Ok(Changed::Captured)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_room_that_takes_long_and_is_stormed_holds_back_no_other() {
    const STORM: usize = 1_000;

    let data = tempfile::tempdir().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (let_go, until) = mpsc::channel();
    let until = Arc::new(Mutex::new(until));
    let server = Server::builder()
        .data(data.path())
        .writers(2)
        .party("slow", move || Slow { begun: begun.clone(), until: Arc::clone(&until) })
        .party("notes", || support::Notes { alarms: None })
        .build()
        .unwrap();
    let address = listen(&server).await;
    let mut slow = Client::connect(address, "/parties/slow/lobby").await;
    for i in 0..STORM {
        slow.send(json!({"id": i, "channel": "notes", "rpc": true, "action": "wait"})).await;
    }
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(PATIENCE).map(|()| has_begun)).await.unwrap().unwrap();
    let (mut ann, _) = Client::join(address, "lobby").await;
    for i in 0..100 {
        ann.put(&format!("n{i}")).await;
    }
    drop(let_go);
    for i in 0..STORM {
        assert_eq!(slow.receive().await["id"], i);
    }
}
