//! Stopping a server that has work to finish, or cannot.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Call, Changed, RoomName, SyncServer};
use support::{Client, Note, PATIENCE, put, serve, serve_with};

/// A room whose actions tell that they begin, and wait until they may end.
struct Slow {
    begun: mpsc::Sender<()>,
    may_end: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl SyncServer for Slow {
    fn schema(&self) -> Schema {
        Schema::new().record::<Note>()
    }

    fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
        self.begun.send(()).unwrap();
        self.may_end.lock().unwrap().recv().unwrap();
        Ok(Changed::Captured)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_takes_too_long_is_given_up_and_says_what_hangs() {
    let (begun, begins) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let may_end = Arc::new(Mutex::new(may_end));
    let slow = move || Slow { begun: begun.clone(), may_end: Arc::clone(&may_end) };
    let served = serve_with(|builder| builder.party("slow", slow).stop_ms(100)).await;
    let (idle, _) = Client::join(served.address, "lobby").await;
    drop(idle);
    let mut ann = Client::connect(served.address, "/parties/slow/lobby").await;
    ann.send(put("a", "text")).await;
    tokio::task::spawn_blocking(move || begins.recv_timeout(PATIENCE)).await.unwrap().unwrap();

    let error = served.server.shutdown().await.unwrap_err();
    let hung: Vec<&RoomName> = error.rooms.iter().map(|(name, _)| name).collect();
    assert_eq!(hung, [&RoomName::new("slow", "lobby")]);
    assert_eq!(error.to_string(), "stopping took longer than 0.1 s: slow/lobby is still in use by 1");

    // It goes on in the background: what had arrived is finished.
    end.send(()).unwrap();
    assert_eq!(ann.receive().await["type"], "success");
    assert_eq!(ann.drain().await.1, Some(1012));
    assert_eq!(ann.receive_message().await, None);
    // Patience is the test's, not the server's.
    tokio::time::timeout(PATIENCE, until_stopped(&served.server)).await.unwrap();
}

async fn until_stopped(server: &partysync_server::Server) {
    while server.shutdown().await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_counted() {
    let served = serve().await;
    assert_eq!(served.server.in_use().to_string(), "finishing 0 rooms, closing 0 connections");
    let (ann, _) = Client::join(served.address, "lobby").await;
    assert_eq!(served.server.in_use().to_string(), "finishing 1 room, closing 1 connection");
    let (bob, _) = Client::join(served.address, "lobby").await;
    let (_eve, _) = Client::join(served.address, "other").await;
    let in_use = served.server.in_use();
    assert_eq!((in_use.rooms, in_use.connections), (2, 3));
    drop((ann, bob));
    let fewer = async {
        while served.server.in_use().connections > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fewer).await.unwrap();
}
