//! Whether the process lives, and whether it takes work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::rooms::Rooms;
use crate::staging::Staged;

/// How long an answer serves for all who ask: however often that is, the disk is not asked more often.
const FRESH: Duration = Duration::from_secs(1);

/// How long a writer may take to become free and to write a few bytes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is written to see whether anything can be: a block, since a full disk still takes empty files.
const PROBE_BYTES: usize = 4_096;

/// What was found out, and when.
#[derive(Debug, Default)]
pub(crate) struct Health {
    last: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

/// `/healthz` and `/readyz`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(rooms: &Arc<Rooms>) -> Router<S> {
    let rooms = Arc::clone(rooms);
    let ready = get(move || async move { readyz(&rooms).await });
    Router::new().route("/healthz", get(|| async { healthz() })).route("/readyz", ready)
}

pub(crate) fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(rooms: &Rooms) -> (StatusCode, String) {
    match is_ready(rooms).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// Whether rooms can work; or why not, in words that tell nothing of how the server is built.
async fn is_ready(rooms: &Rooms) -> Result<(), &'static str> {
    if rooms.is_stopping() {
        return Err("the server stops");
    }
    // Those who ask meanwhile wait for the same answer.
    let mut last = rooms.health.last.lock().await;
    if let Some((at, result)) = *last
        && at.elapsed() < FRESH
    {
        return result;
    }
    let result = probe(rooms).await;
    *last = Some((Instant::now(), result));
    result
}

async fn probe(rooms: &Rooms) -> Result<(), &'static str> {
    let data = Arc::clone(&rooms.data);
    let written = rooms.on_a_writer(move || {
        let probe = Staged::new(&data)?;
        std::fs::write(probe.path(), [0; PROBE_BYTES])
    });
    match timeout(PATIENCE, written).await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "the data directory cannot be written to");
            Err("the data directory cannot be written to")
        }
        Ok(None) | Err(_) => Err("all writers are busy"),
    }
}
