//! The hooks of the party `hooked`, whose rooms are those of `chat`. What they did is there to be asked for, by requests to any room of the
//! process: natively that is one, and so it is on Durable Objects in tests.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use partysync::{ActionError, Applied, Attempt, OutboxItem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

static TOLD: Mutex<Vec<Value>> = Mutex::new(Vec::new());
static DELIVERED: Mutex<Vec<Value>> = Mutex::new(Vec::new());
/// Who waits to be released.
static HELD: Mutex<Held> = Mutex::new(Held { releases: 0, wakers: Vec::new() });

struct Held {
    releases: u32,
    wakers: Vec<Waker>,
}

/// What is put into the outbox.
#[derive(Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) text: String,
    /// How often its delivery fails before it does not.
    pub(crate) fails: u32,
}

/// Runs before an action. What it does is in the text of the action's first line.
pub async fn prepare(attempt: Attempt) -> Result<Option<Value>, ActionError> {
    let says = |word: &str| attempt.action.contains(word);
    if says("hook-refuses") {
        return Err(ActionError::reject("hook", "Not with me."));
    }
    assert!(!says("hook-panics"), "as it was told");
    if says("hook-overdoes") {
        return Ok(Some(json!("x".repeat(300 << 10))));
    }
    if says("hook-waits") {
        let before = lock(&HELD).releases;
        poll_fn(|cx| {
            let mut held = lock(&HELD);
            if held.releases > before {
                return Poll::Ready(());
            }
            held.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
    Ok(says("prepared")
        .then(|| json!({"author": attempt.author, "data": attempt.data.as_deref(), "channel": attempt.channel})))
}

/// Runs after an action.
pub async fn tell(applied: Applied) -> Result<(), String> {
    lock(&TOLD).push(json!([applied.room.address(), applied.version, applied.channel, applied.author, applied.action]));
    if applied.action.contains("tell-fails") { Err("as it was told".to_owned()) } else { Ok(()) }
}

/// Delivers what is in the outbox.
pub async fn deliver(item: OutboxItem) -> Result<(), String> {
    let letter: Letter = serde_json::from_str(&item.body).map_err(|error| error.to_string())?;
    let arrives = item.tries >= letter.fails;
    lock(&DELIVERED).push(json!({"key": item.key, "text": letter.text, "tries": item.tries, "arrives": arrives}));
    if arrives { Ok(()) } else { Err("as it was told".to_owned()) }
}

pub(crate) fn release() {
    let mut held = lock(&HELD);
    held.releases += 1;
    held.wakers.drain(..).for_each(Waker::wake);
}

/// How many hooks wait to be released.
pub(crate) fn waiting() -> usize {
    lock(&HELD).wakers.len()
}

pub(crate) fn told() -> Vec<Value> {
    lock(&TOLD).clone()
}

pub(crate) fn delivered() -> Vec<Value> {
    lock(&DELIVERED).clone()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
