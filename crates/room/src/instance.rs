//! The app's own value, and how it is made anew after a step that is undone (P5).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use partysync_model::{ActionError, ErrorCode};

/// An app's value and what makes it.
pub(crate) struct Instance<S> {
    make: Box<dyn Fn() -> S + Send>,
    server: Option<S>,
}

impl<S> Instance<S> {
    pub(crate) fn new(make: impl Fn() -> S + Send + 'static) -> Self {
        Instance { make: Box::new(make), server: None }
    }

    /// Whether there is a value on which `on_start` has run.
    pub(crate) fn is_started(&self) -> bool {
        self.server.is_some()
    }

    /// A new value, on which `on_start` is still to be run; see [`set_started`](Self::set_started).
    ///
    /// # Errors
    ///
    /// Making it panicked.
    pub(crate) fn make(&self) -> Result<S, ActionError> {
        catch_unwind(AssertUnwindSafe(|| (self.make)())).map_err(panicked)
    }

    /// Takes the value out for a step.
    pub(crate) fn take(&mut self) -> Option<S> {
        self.server.take()
    }

    pub(crate) fn set_started(&mut self, server: S) {
        self.server = Some(server);
    }

    /// A step on the value was undone: its fields may say what is not so. A value without fields cannot.
    pub(crate) fn spoil(&mut self) {
        if size_of::<S>() > 0 {
            self.server = None;
        }
    }
}

/// The app's code panicked: an error like any other, with what it said for the operator.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> ActionError {
    let what = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ActionError::with_detail(ErrorCode::AppError, format!("panicked: {what}"))
}
