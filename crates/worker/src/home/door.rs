//! Who gets in (SPEC 13.1 to 13.5).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select};
use partysync_protocol::{ErrorCode, limits};
use partysync_room::{Admission, Join, Refusal};
use worker::{Delay, console_error};

use super::object::now;

/// What becomes a `T` once the app's code is done.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// The app's code that says who gets in, and how many wait for its answer.
pub(crate) struct Door {
    ask: Box<dyn Fn(Join) -> Pending<Result<Admission, Refusal>>>,
    places: Places,
}

impl Door {
    pub(crate) fn new<A>(ask: impl Fn(Join) -> A + 'static) -> Self
    where
        A: Future<Output = Result<Admission, Refusal>> + 'static,
    {
        Door { ask: Box::new(move |join| Box::pin(ask(join))), places: Places::new(limits::DOOR_WAITING) }
    }

    /// Asks the app.
    pub(crate) async fn admit(&self, join: Join) -> Result<Admission, Refusal> {
        let Some(_place) = self.places.take() else { return Err(busy()) };
        let room = join.room.clone();
        let failed = |why: &str| {
            console_error!("{room}: {why}");
            Err(Refusal::new(500, ErrorCode::AppError.text()))
        };
        match within(limits::DOOR_MS, caught(async { (self.ask)(join).await })).await {
            Some(Some(Ok(admission))) if !admission.fits() => failed("the door's identity or data is over its limit"),
            // What it asks for would be answered before its end comes.
            Some(Some(Ok(admission))) if !admission.holds_at(now()) => Err(Refusal::over()),
            Some(Some(answer)) => answer,
            Some(None) => failed("the door panicked"),
            None => {
                console_error!("{room}: the door took too long");
                Err(busy())
            }
        }
    }
}

fn busy() -> Refusal {
    Refusal::new(503, "The server is busy. Try again soon.")
}

/// Places for so many that wait.
pub(crate) struct Places {
    free: Rc<Cell<usize>>,
}

/// Is given back when it is dropped.
pub(crate) struct Place {
    free: Rc<Cell<usize>>,
}

impl Places {
    pub(crate) fn new(places: usize) -> Self {
        Places { free: Rc::new(Cell::new(places)) }
    }

    pub(crate) fn take(&self) -> Option<Place> {
        self.free.set(self.free.get().checked_sub(1)?);
        Some(Place { free: Rc::clone(&self.free) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free.set(self.free.get() + 1);
    }
}

/// What comes of something, if it comes within a time.
pub(crate) async fn within<T>(ms: u64, run: impl Future<Output = T>) -> Option<T> {
    match select(pin!(run), pin!(Delay::from(Duration::from_millis(ms)))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Runs the app's code. `None`: it panicked.
pub(crate) async fn caught<T>(run: impl Future<Output = T>) -> Option<T> {
    let mut run = pin!(run);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
