//! What one room does holds back no other.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Call, Changed, Socket, SyncServer};
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

/// Counts who came and who went.
struct Door {
    came: Arc<AtomicUsize>,
    went: Arc<AtomicUsize>,
}

impl SyncServer for Door {
    fn schema(&self) -> Schema {
        Schema::new().record::<support::Note>()
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        Ok(Changed::Captured)
    }

    fn on_connect(&mut self, _: &mut Tx<'_>, _: Socket<'_>) -> Result<(), ActionError> {
        self.came.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Tx<'_>, _: Socket<'_>, _: Option<u16>, _: &str) -> Result<(), ActionError> {
        self.went.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spec_14_4_a_socket_that_ends_while_its_room_leaves_memory_is_told_to_the_app() {
    const ROOMS: u64 = 30;
    const TIMES: u64 = 40;
    const IDLE_MS: u64 = 10;

    let data = tempfile::tempdir().unwrap();
    let (came, went) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let door = (Arc::clone(&came), Arc::clone(&went));
    let server = Server::builder()
        .data(data.path())
        .idle_ms(IDLE_MS)
        .party("door", move || Door { came: Arc::clone(&door.0), went: Arc::clone(&door.1) })
        .build()
        .unwrap();
    let address = listen(&server).await;
    let visits = (0..ROOMS).map(|room| {
        tokio::spawn(async move {
            for i in 0..TIMES {
                let socket = Client::connect(address, &format!("/parties/door/{room}")).await;
                // Around the moment at which the room leaves memory.
                tokio::time::sleep(Duration::from_micros(IDLE_MS * 1_000 + (room * TIMES + i) * 17 % 4_000)).await;
                drop(socket);
            }
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        visit.await.unwrap();
    }
    let start = Instant::now();
    while went.load(Ordering::SeqCst) < came.load(Ordering::SeqCst) {
        assert!(start.elapsed() < Duration::from_secs(10), "{came:?} came, {went:?} went");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(came.load(Ordering::SeqCst), (ROOMS * TIMES) as usize);
}
