use partysync_model::{ActionError, Schema, Tx, Value, apply_json};
use serde::de::DeserializeOwned;

use crate::{Request, Response, Socket, Sockets};

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
    /// ```
    /// # use partysync_model::{ActionError, Schema, Tx};
    /// # use partysync_room::{Call, Changed, Sockets, SyncServer};
    /// # struct Counters;
    /// # impl SyncServer for Counters {
    /// #     fn schema(&self) -> Schema { Schema::new() }
    /// fn on_action(&mut self, tx: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> {
    ///     tx.set_alarm(tx.now() + 60_000);
    ///     Ok(Changed::Captured)
    /// }
    ///
    /// fn on_alarm(&mut self, _: &mut Tx<'_>, sockets: Sockets<'_>) -> Result<(), ActionError> {
    ///     sockets.send_to_all("A minute is over.")
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever it did is undone.
    fn on_alarm(&mut self, tx: &mut Tx<'_>, sockets: Sockets<'_>) -> Result<(), ActionError> {
        let _ = (tx, sockets);
        Ok(())
    }

    /// Runs when a socket is open, before anything that it sends is looked at.
    ///
    /// ```
    /// # use partysync_model::{ActionError, Schema, Tx};
    /// # use partysync_room::{Call, Changed, Socket, SyncServer};
    /// # struct Counters;
    /// # impl SyncServer for Counters {
    /// #     fn schema(&self) -> Schema { Schema::new() }
    /// #     fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> { Ok(Changed::Captured) }
    /// fn on_connect(&mut self, _: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
    ///     socket.send_to_others(format!("{} is here.", name(socket)))
    /// }
    ///
    /// fn on_close(
    ///     &mut self,
    ///     _: &mut Tx<'_>,
    ///     socket: Socket<'_>,
    ///     _: Option<u16>,
    ///     _: &str,
    /// ) -> Result<(), ActionError> {
    ///     socket.send_to_others(format!("{} has left.", name(socket)))
    /// }
    /// # }
    ///
    /// fn name(socket: Socket<'_>) -> String {
    ///     socket.identity().unwrap_or_else(|| "Somebody".to_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever it did is undone, and the socket is closed: with 1008 and the text if the app [rejects](ActionError::reject) it.
    /// Nothing that it sends is looked at.
    fn on_connect(&mut self, tx: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
        let _ = (tx, socket);
        Ok(())
    }

    /// Runs when a socket that [`on_connect`](Self::on_connect) let in is gone, by whoever's will. What was kept of it can still be read;
    /// what is sent to it is lost. `code` and `reason` are those of its close frame, as far as the home knows them.
    ///
    /// It is not run for sockets that end with the server: what must not outlast them is to be cleared in
    /// [`on_start`](Self::on_start), too.
    ///
    /// # Errors
    ///
    /// Whatever it did is undone. It is not run again.
    fn on_close(
        &mut self,
        tx: &mut Tx<'_>,
        socket: Socket<'_>,
        code: Option<u16>,
        reason: &str,
    ) -> Result<(), ActionError> {
        let _ = (tx, socket, code, reason);
        Ok(())
    }

    /// Runs for what a socket sends that is the app's own: a `message` of version 2; a text of version 1 that is neither a sync nor an
    /// action; a binary frame.
    ///
    /// Without it, texts are answered as frames that cannot be understood; binary ones are ignored in version 1, and close the
    /// socket in version 2.
    ///
    /// ```
    /// # use partysync_model::{ActionError, Schema, Tx};
    /// # use partysync_room::{Call, Changed, Handled, Message, Socket, SyncServer};
    /// # struct Counters;
    /// # impl SyncServer for Counters {
    /// #     fn schema(&self) -> Schema { Schema::new() }
    /// #     fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> { Ok(Changed::Captured) }
    /// fn on_message(
    ///     &mut self,
    ///     _: &mut Tx<'_>,
    ///     socket: Socket<'_>,
    ///     message: Message<'_>,
    /// ) -> Result<Handled, ActionError> {
    ///     let Message::Text(text) = message else { return Ok(Handled::No) };
    ///     // Where somebody's pointer is, say: for those who are here now, and kept nowhere.
    ///     socket.send_to_others(text)?;
    ///     Ok(Handled::Yes)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever it did is undone; the client gets the error.
    fn on_message(
        &mut self,
        tx: &mut Tx<'_>,
        socket: Socket<'_>,
        message: Message<'_>,
    ) -> Result<Handled, ActionError> {
        let _ = (tx, socket, message);
        Ok(Handled::No)
    }

    /// Runs for a request that asks for no socket. `None` is answered with status 404.
    ///
    /// ```
    /// # use partysync_model::{ActionError, Schema, Tx};
    /// # use partysync_room::{Call, Changed, Request, Response, Sockets, SyncServer};
    /// # struct Counters;
    /// # impl SyncServer for Counters {
    /// #     fn schema(&self) -> Schema { Schema::new() }
    /// #     fn on_action(&mut self, _: &mut Tx<'_>, _: &Call<'_>) -> Result<Changed, ActionError> { Ok(Changed::Captured) }
    /// fn on_request(
    ///     &mut self,
    ///     _: &mut Tx<'_>,
    ///     request: &Request,
    ///     sockets: Sockets<'_>,
    /// ) -> Result<Option<Response>, ActionError> {
    ///     match (request.method(), request.path()) {
    ///         ("GET", "/online") => Ok(Some(Response::json(200, &sockets.iter().count()))),
    ///         _ => Ok(None),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever it did is undone; the answer is the error as JSON, with status 400 if the client is at fault.
    fn on_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        sockets: Sockets<'_>,
    ) -> Result<Option<Response>, ActionError> {
        let _ = (tx, request, sockets);
        Ok(None)
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
    pub(crate) socket: Socket<'a>,
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

    /// The socket that it came on: what is kept of it, and sending to it and others.
    pub fn socket(&self) -> Socket<'a> {
        self.socket
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

/// What a socket sent that is the app's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// Whether the app took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It did.
    Yes,
    /// It has no use for it.
    No,
}

/// What an action says it changed. What clients get is what the triggers saw (SPEC 4.4).
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// Whatever the triggers saw.
    Captured,
    /// These rows of the action's channel, ids first. One that the triggers did not see fails the action.
    Rows(Vec<Vec<Value>>),
}
