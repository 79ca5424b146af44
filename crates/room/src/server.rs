use partysync_model::{ActionError, Schema, Tx, Value, apply_json};
use serde::de::DeserializeOwned;

/// An app's room.
///
/// A value of it lives as long as the room is in memory. Fields are a cache: whatever must last is in tables. After a
/// step that is undone the value is dropped and made anew, with `on_start`, so that nothing of the step stays in its
/// fields (P5). That costs nothing for a struct without fields.
pub trait SyncServer {
    /// The room's tables.
    fn schema(&self) -> Schema;

    /// Runs before anything else, each time the room comes into memory: makes tables of the raw level, fills caches. The
    /// only place where SQL may make tables.
    ///
    /// # Errors
    ///
    /// An error keeps the room closed.
    fn on_start(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        let _ = tx;
        Ok(())
    }

    /// Applies an action.
    ///
    /// It may run more than once for one action, and must have no effect but on `tx` (SPEC 5.4).
    ///
    /// # Errors
    ///
    /// Whatever it did is undone; the client gets the error.
    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError>;

    /// Runs when the time has come that a step set with [`Tx::set_alarm`]. It runs again, later, if it fails.
    ///
    /// # Errors
    ///
    /// Whatever it did is undone.
    fn on_alarm(&mut self, tx: &mut Tx<'_>) -> Result<(), ActionError> {
        let _ = tx;
        Ok(())
    }
}

/// An action as it came.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub(crate) channel: &'a str,
    pub(crate) action: &'a str,
    pub(crate) author: Option<&'a str>,
    pub(crate) data: Option<&'a str>,
    pub(crate) prepared: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// The channel it was sent to: one of the room's.
    pub fn channel(&self) -> &'a str {
        self.channel
    }

    /// The action's JSON.
    pub fn action(&self) -> &'a str {
        self.action
    }

    /// Who sent it, if the app's door found out.
    pub fn author(&self) -> Option<&'a str> {
        self.author
    }

    /// What else the app's door found out about the sender, as JSON.
    pub fn data(&self) -> Option<&'a str> {
        self.data
    }

    /// What the app's hook before actions prepared, as JSON (SPEC 13.8).
    pub fn prepared(&self) -> Option<&'a str> {
        self.prepared
    }

    /// Decodes the action and applies it to the typed tables: what most apps' `on_action` consists of.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadAction`](partysync_model::ErrorCode::BadAction) if it is not an `A`, else what `apply` returns.
    pub fn apply<A: DeserializeOwned>(
        &self,
        tx: &mut Tx<'_>,
        apply: impl FnOnce(&mut Tx<'_>, A) -> Result<(), ActionError>,
    ) -> Result<Changed, ActionError> {
        apply_json(tx, self.action, apply).map(|()| Changed::Captured)
    }
}

/// What an action says it changed. What clients get is what the triggers saw (SPEC 4.4).
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// Whatever the triggers saw.
    Captured,
    /// These rows of the action's channel, ids first. One that the triggers did not see fails the action.
    Rows(Vec<Vec<Value>>),
}
