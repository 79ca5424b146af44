//! The app's own value, and how it is made anew after a step that is undone (P5).

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
    pub(crate) fn make(&self) -> S {
        (self.make)()
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
