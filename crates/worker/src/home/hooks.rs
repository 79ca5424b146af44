//! The app's code before and after an action, and behind the outbox (SPEC 13.8, 13.9, 7.10).

use std::fmt::Display;
use std::sync::Arc;

use partysync_model::ActionError;
use partysync_protocol::{ErrorCode, limits};
use partysync_room::{Applied, Attempt, OutboxItem};

use super::door::{Pending, Places, caught, within};

/// The hooks of a party.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before: Option<Before>,
    pub(crate) after: Option<After>,
    pub(crate) outbox: Option<Courier>,
}

impl Hooks {
    /// Whether no action's frame is of interest to them.
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

type Prepared = Result<Option<Arc<str>>, ActionError>;

/// What runs before an action.
pub(crate) struct Before(Box<dyn Fn(Attempt) -> Pending<Prepared>>);

impl Before {
    pub(crate) fn new<P>(prepare: impl Fn(Attempt) -> P + 'static) -> Self
    where
        P: Future<Output = Result<Option<serde_json::Value>, ActionError>> + 'static,
    {
        Before(Box::new(move |attempt| {
            let prepared = prepare(attempt);
            Box::pin(async move { Ok(prepared.await?.map(|json| json.to_string().into())) })
        }))
    }

    /// What the hook prepares, as JSON. `places`: how many may wait in the action's room.
    pub(crate) async fn prepare(&self, attempt: Attempt, places: &Places) -> Prepared {
        let busy = |why| ActionError::with_detail(ErrorCode::Busy, why);
        let wrong = |why| ActionError::with_detail(ErrorCode::AppError, why);
        let _place = places.take().ok_or_else(|| busy("as many hooks wait as may"))?;
        let prepared = within(limits::HOOK_MS, caught(async { (self.0)(attempt).await })).await;
        let prepared = prepared.ok_or_else(|| busy("the hook took too long"))?;
        let prepared = prepared.ok_or_else(|| wrong("the hook panicked"))??;
        if prepared.as_ref().is_some_and(|json| json.len() > limits::PREPARED_BYTES) {
            return Err(wrong("what the hook prepared is too large"));
        }
        Ok(prepared)
    }
}

type Done = Pending<Result<(), String>>;

/// What runs after an action.
pub(crate) struct After {
    tell: Box<dyn Fn(Applied) -> Done>,
    pub(crate) places: Places,
}

impl After {
    pub(crate) fn new<T, E: Display>(tell: impl Fn(Applied) -> T + 'static) -> Self
    where
        T: Future<Output = Result<(), E>> + 'static,
    {
        let tell = Box::new(move |applied| -> Done {
            let told = tell(applied);
            Box::pin(async { told.await.map_err(|error| error.to_string()) })
        });
        After { tell, places: Places::new(limits::AFTER_WAITING) }
    }

    /// Runs the hook.
    pub(crate) async fn tell(&self, applied: Applied) -> Result<(), String> {
        done(limits::HOOK_MS, "the hook after an action", async { (self.tell)(applied).await }).await
    }
}

/// What delivers the items of a party's rooms.
pub(crate) struct Courier(Box<dyn Fn(OutboxItem) -> Done>);

impl Courier {
    pub(crate) fn new<D, E: Display>(deliver: impl Fn(OutboxItem) -> D + 'static) -> Self
    where
        D: Future<Output = Result<(), E>> + 'static,
    {
        Courier(Box::new(move |item| {
            let delivered = deliver(item);
            Box::pin(async { delivered.await.map_err(|error| error.to_string()) })
        }))
    }

    /// Delivers an item.
    pub(crate) async fn deliver(&self, item: OutboxItem) -> Result<(), String> {
        done(limits::OUTBOX_MS, "on_outbox", async { (self.0)(item).await }).await
    }
}

/// What came of code of the app's, whatever it did.
async fn done(ms: u64, what: &str, run: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    match within(ms, caught(run)).await {
        Some(Some(done)) => done,
        Some(None) => Err(format!("{what} panicked")),
        None => Err(format!("{what} took too long")),
    }
}
