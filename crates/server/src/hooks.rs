//! The app's code before and after an action (SPEC 13.8, 13.9).

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use partysync_model::ActionError;
use partysync_protocol::{ErrorCode, limits};
use partysync_room::{Applied, Attempt};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::courier::Courier;
use crate::door::{Pending, caught};
use crate::metrics::Metrics;

const TIME: Duration = Duration::from_millis(limits::HOOK_MS);

/// The hooks of a party.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before: Option<Before>,
    pub(crate) after: Option<After>,
    pub(crate) outbox: Option<Courier>,
}

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

type Prepare = Box<dyn Fn(Attempt) -> Pending<Result<Option<serde_json::Value>, ActionError>> + Send + Sync>;

/// What runs before an action.
pub(crate) struct Before(Prepare);

impl Before {
    pub(crate) fn new<P>(prepare: impl Fn(Attempt) -> P + Send + Sync + 'static) -> Self
    where
        P: Future<Output = Result<Option<serde_json::Value>, ActionError>> + Send + 'static,
    {
        Before(Box::new(move |attempt| Box::pin(prepare(attempt))))
    }

    /// What the hook prepares, as JSON. `places`: how many may wait in the action's room.
    pub(crate) async fn prepare(&self, attempt: Attempt, places: &Semaphore) -> Result<Option<Arc<str>>, ActionError> {
        let busy = |why| ActionError::with_detail(ErrorCode::Busy, why);
        let wrong = |why| ActionError::with_detail(ErrorCode::AppError, why);
        let _place = places.try_acquire().map_err(|_| busy("as many hooks wait as may"))?;
        let prepared = timeout(TIME, caught(async { (self.0)(attempt).await }));
        let prepared = prepared.await.map_err(|_| busy("the hook took too long"))?;
        let Some(prepared) = prepared.ok_or_else(|| wrong("the hook panicked"))?? else { return Ok(None) };
        let json = prepared.to_string();
        if json.len() > limits::PREPARED_BYTES {
            return Err(wrong("what the hook prepared is too large"));
        }
        Ok(Some(json.into()))
    }
}

type Tell = Box<dyn Fn(Applied) -> Pending<Result<(), String>> + Send + Sync>;

/// What runs after an action.
pub(crate) struct After {
    tell: Arc<Tell>,
    places: Arc<Semaphore>,
    /// Rooms run on threads that know of no runtime: the one that last served one of their sockets does.
    runtime: Mutex<Option<Handle>>,
}

impl After {
    pub(crate) fn new<T, E: Display>(tell: impl Fn(Applied) -> T + Send + Sync + 'static) -> Self
    where
        T: Future<Output = Result<(), E>> + Send + 'static,
    {
        let tell: Tell = Box::new(move |applied| {
            let told = tell(applied);
            Box::pin(async { told.await.map_err(|error| error.to_string()) })
        });
        After {
            tell: Arc::new(tell),
            places: Arc::new(Semaphore::new(limits::AFTER_WAITING)),
            runtime: Mutex::default(),
        }
    }

    /// From now on it runs where this is called.
    pub(crate) fn run_here(&self) {
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handle::current());
    }

    /// Starts the hook, and does not wait for it.
    pub(crate) fn tell(&self, applied: Applied, metrics: &Arc<Metrics>) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (room, version) = (applied.room.clone(), applied.version);
        let (Some(runtime), Ok(place)) = (runtime, Arc::clone(&self.places).try_acquire_owned()) else {
            metrics.reports.add(1);
            tracing::error!(%room, version, "as many hooks run after actions as may: this one is left out");
            return;
        };
        let (tell, metrics) = (Arc::clone(&self.tell), Arc::clone(metrics));
        runtime.spawn(async move {
            let failure = match timeout(TIME, caught(async { tell(applied).await })).await {
                Ok(Some(Ok(()))) => None,
                Ok(Some(Err(error))) => Some(error),
                Ok(None) => Some("it panicked".to_owned()),
                Err(_) => Some("it took too long".to_owned()),
            };
            if let Some(error) = failure {
                metrics.reports.add(1);
                tracing::error!(%room, version, error, "the hook after an action failed");
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use partysync_room::{Admission, RoomName};
    use serde_json::{Value, json};
    use tokio::time::sleep;

    use super::*;

    fn attempt() -> Attempt {
        Attempt::new(RoomName::new("todos", "lobby"), "todos", "1", &Admission::anonymous())
    }

    async fn code<P>(prepare: impl Fn(Attempt) -> P + Send + Sync + 'static) -> Result<Option<Arc<str>>, ErrorCode>
    where
        P: Future<Output = Result<Option<Value>, ActionError>> + Send + 'static,
    {
        let places = Semaphore::new(1);
        let prepared = Before::new(prepare).prepare(attempt(), &places).await;
        assert_eq!(places.available_permits(), 1);
        prepared.map_err(|error| error.code())
    }

    #[tokio::test(start_paused = true)]
    async fn p8_hook_ms_at_the_limit_and_one_past_it() {
        let slow = |ms: u64| {
            move |_| async move {
                sleep(Duration::from_millis(ms)).await;
                Ok(None)
            }
        };
        assert_eq!(code(slow(limits::HOOK_MS - 1)).await, Ok(None));
        assert_eq!(code(slow(limits::HOOK_MS + 2)).await, Err(ErrorCode::Busy));
    }

    #[tokio::test]
    async fn p8_prepared_bytes_at_the_limit_and_one_past_it() {
        // As JSON it has two quotes.
        let longest = "x".repeat(limits::PREPARED_BYTES - 2);
        let text = longest.clone();
        assert!(code(move |_| std::future::ready(Ok(Some(json!(text))))).await.is_ok());
        let text = longest + "x";
        assert_eq!(code(move |_| std::future::ready(Ok(Some(json!(text))))).await, Err(ErrorCode::AppError));
    }

    #[tokio::test]
    async fn p5_a_hook_that_panics_fails_its_action_alone() {
        let panics = |attempt: Attempt| async move {
            assert_eq!(attempt.action, "2", "as the test wants");
            Ok(None)
        };
        assert_eq!(code(panics).await, Err(ErrorCode::AppError));
    }

    #[tokio::test]
    async fn p8_after_waiting_at_the_limit_and_one_past_it() {
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        let open = Arc::new(Semaphore::new(0));
        let after = After::new({
            let open = Arc::clone(&open);
            move |applied: Applied| {
                let (started, open) = (started.clone(), Arc::clone(&open));
                async move {
                    started.send(applied.version).unwrap();
                    open.acquire().await.unwrap().forget();
                    Ok::<(), String>(())
                }
            }
        });
        let applied = |version: usize| attempt().applied(version as u64);
        let metrics = Arc::default();
        after.run_here();
        (0..=limits::AFTER_WAITING).for_each(|version| after.tell(applied(version), &metrics));
        assert_eq!(metrics.reports.get(), 1, "the one past the limit is reported");
        for version in 0..limits::AFTER_WAITING {
            assert_eq!(starts.recv().await, Some(version as u64));
        }
        open.add_permits(1);
        while after.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        after.tell(applied(7), &metrics);
        assert_eq!(starts.recv().await, Some(7), "and not the one that was past the limit");
    }

    #[tokio::test]
    async fn spec_13_9_a_hook_that_fails_after_an_action_is_reported() {
        let after = After::new(|applied: Applied| async move {
            assert_ne!(applied.version, 2, "as the test wants");
            if applied.version == 1 { Err("as the test wants") } else { Ok(()) }
        });
        after.run_here();
        let metrics = Arc::default();
        for (version, reports) in [(0, 0), (1, 1), (2, 2)] {
            after.tell(attempt().applied(version), &metrics);
            while after.places.available_permits() < limits::AFTER_WAITING {
                tokio::task::yield_now().await;
            }
            assert_eq!(metrics.reports.get(), reports);
        }
    }

    #[tokio::test]
    async fn p8_hooks_waiting_past_the_limit() {
        let before = Before::new(|_| async { Ok(None) });
        let places = Semaphore::new(limits::HOOKS_WAITING);
        let taken = places.acquire_many(limits::HOOKS_WAITING as u32 - 1).await.unwrap();
        assert_eq!(before.prepare(attempt(), &places).await, Ok(None));
        let last = places.acquire().await.unwrap();
        assert_eq!(before.prepare(attempt(), &places).await.map_err(|e| e.code()), Err(ErrorCode::Busy));
        drop((taken, last));
        assert_eq!(before.prepare(attempt(), &places).await, Ok(None));
    }
}
