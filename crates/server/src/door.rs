//! Who gets in (SPEC 13.1 to 13.5).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use partysync_protocol::{ErrorCode, limits};
use partysync_room::{Admission, Join, Refusal, RoomName, Token};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock;

/// What becomes a `T` once the app's code is done.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Ask = Box<dyn Fn(Join) -> Pending<Result<Admission, Refusal>> + Send + Sync>;

/// The doors of a party; where there is none, everybody gets in.
#[derive(Default)]
pub(crate) struct Doors {
    pub(crate) connect: Option<Door>,
    pub(crate) request: Option<Door>,
}

/// The app's code that says who gets in, and how many wait for its answer.
pub(crate) struct Door {
    ask: Ask,
    places: Semaphore,
}

impl Door {
    pub(crate) fn new<A>(ask: impl Fn(Join) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + Send + 'static,
    {
        let ask = Box::new(move |join| Box::pin(ask(join)) as Pending<_>);
        Door { ask, places: Semaphore::new(limits::DOOR_WAITING) }
    }

    /// Asks the app. When this future is dropped, so is the app's.
    pub(crate) async fn admit(&self, join: Join) -> Result<Admission, Refusal> {
        let Ok(_place) = self.places.try_acquire() else { return Err(busy()) };
        let room = join.room.clone();
        let asked = caught(async { (self.ask)(join).await });
        match timeout(Duration::from_millis(limits::DOOR_MS), asked).await {
            Ok(Some(Ok(admission))) if !admission.fits() => {
                tracing::error!(%room, "the door's identity or data is over its limit");
                Err(failed())
            }
            // What it asks for would be answered before its end comes.
            Ok(Some(Ok(admission))) if !admission.holds_at(clock::now()) => Err(Refusal::over()),
            Ok(Some(answer)) => answer,
            Ok(None) => {
                tracing::error!(%room, "the door panicked");
                Err(failed())
            }
            Err(_) => {
                tracing::warn!(%room, "the door took too long");
                Err(busy())
            }
        }
    }
}

/// Runs the app's code. `None`: it panicked.
pub(crate) async fn caught<T>(run: impl Future<Output = T>) -> Option<T> {
    let mut run = pin!(run);
    let polled = std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => std::task::Poll::Ready(None),
    });
    polled.await
}

fn busy() -> Refusal {
    Refusal::new(503, "The server is busy. Try again soon.")
}

fn failed() -> Refusal {
    Refusal::new(500, ErrorCode::AppError.text())
}

/// What a request says of who sent it. `path` follows the room in the URL; the query's parameter `token_param` may be a token.
pub(crate) fn join(room: RoomName, path: String, parts: &Parts, token_param: &str) -> Join {
    let query = parts.uri.query().unwrap_or_default();
    let mut join = Join::new(room);
    join.method = parts.method.as_str().to_owned();
    join.path = path;
    join.params = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    join.headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    join.token = bearer(&parts.headers).or_else(|| join.param(token_param)).map(Token::new);
    join
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::Request;
    use tokio::time::{Instant, advance};

    use super::*;

    fn lobby() -> Join {
        Join::new(RoomName::new("todos", "lobby"))
    }

    async fn status(door: &Door) -> Result<Admission, u16> {
        door.admit(lobby()).await.map_err(|refusal| refusal.status())
    }

    #[tokio::test(start_paused = true)]
    async fn p8_door_ms_at_the_limit_and_one_past_it() {
        let slow = |ms: u64| {
            Door::new(move |_| async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(Admission::anonymous())
            })
        };
        assert!(status(&slow(limits::DOOR_MS - 1)).await.is_ok());
        let before = Instant::now();
        assert_eq!(status(&slow(limits::DOOR_MS + 2)).await, Err(503));
        assert!(before.elapsed() <= Duration::from_millis(limits::DOOR_MS + 1));
    }

    #[tokio::test]
    async fn p8_door_waiting_at_the_limit_and_one_past_it() {
        let open = Arc::new(tokio::sync::Semaphore::new(0));
        let door = Arc::new(Door::new({
            let open = Arc::clone(&open);
            move |_| {
                let open = Arc::clone(&open);
                async move {
                    open.acquire().await.unwrap().forget();
                    Ok(Admission::anonymous())
                }
            }
        }));
        let enter = || {
            let door = Arc::clone(&door);
            tokio::spawn(async move { status(&door).await })
        };
        let mut waiting: Vec<_> = (0..limits::DOOR_WAITING).map(|_| enter()).collect();
        while door.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(&door).await, Err(503));
        // Who goes away leaves a place to another.
        waiting.pop().unwrap().abort();
        while door.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        waiting.push(enter());
        open.add_permits(limits::DOOR_WAITING);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn spec_13_5_a_door_that_fails_lets_nobody_in() {
        let panics = Door::new(|join: Join| async move {
            assert!(join.token.is_some(), "as the test wants");
            Ok(Admission::anonymous())
        });
        assert_eq!(status(&panics).await, Err(500));
        let at_once = Door::new(|join: Join| {
            assert!(join.token.is_some(), "as the test wants");
            std::future::ready(Ok(Admission::anonymous()))
        });
        assert_eq!(status(&at_once).await, Err(500));
        let too_long = Door::new(|_| async { Ok(Admission::of("i".repeat(limits::IDENTITY_BYTES + 1))) });
        assert_eq!(status(&too_long).await, Err(500));
        assert_eq!(panics.places.available_permits(), limits::DOOR_WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_drops_the_doors_future() {
        struct Dropped(Arc<std::sync::atomic::AtomicBool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let dropped = Arc::<std::sync::atomic::AtomicBool>::default();
        let door = Arc::new(Door::new({
            let dropped = Arc::clone(&dropped);
            move |_| {
                let guard = Dropped(Arc::clone(&dropped));
                async move {
                    std::future::pending::<()>().await;
                    drop(guard);
                    Ok(Admission::anonymous())
                }
            }
        }));
        let entering = tokio::spawn(async move { status(&door).await });
        advance(Duration::from_secs(1)).await;
        assert!(!dropped.load(std::sync::atomic::Ordering::SeqCst));
        entering.abort();
        assert!(entering.await.unwrap_err().is_cancelled());
        assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[test]
    fn spec_13_1_where_a_token_is_looked_for() {
        let token_of = |uri: &str, authorization: Option<&str>| {
            let mut request = Request::get(uri);
            if let Some(value) = authorization {
                request = request.header(AUTHORIZATION, value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let join = join(RoomName::new("todos", "x"), String::new(), &parts, "key");
            join.token.map(|token| token.as_str().to_owned())
        };
        let uri = "/parties/todos/x?a=1&key=of%20query&key=second";
        assert_eq!(token_of(uri, Some("Bearer of-header")).as_deref(), Some("of-header"));
        assert_eq!(token_of(uri, Some("bearer of-header")).as_deref(), Some("of-header"));
        assert_eq!(token_of(uri, Some("Basic YTpi")).as_deref(), Some("of query"));
        assert_eq!(token_of(uri, None).as_deref(), Some("of query"));
        assert_eq!(token_of("/parties/todos/x?token=a", None), None);
    }
}
