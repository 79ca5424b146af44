//! The app of the vectors, as a server runs it.

use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Admission, Call, Changed, Handled, Message, Refusal, Socket, SyncServer};
use partysync_vectors::{Action, Todo, TodoList, apply};

/// What the door of the party `guarded` says to a token.
pub(crate) fn door(token: Option<&str>) -> Result<Admission, Refusal> {
    match token.and_then(|token| token.split_once(':')) {
        None => Err(Refusal::unauthorized("Sign in first.")),
        Some(("banned", _)) => Err(Refusal::forbidden("You are banned.")),
        Some(("busy", _)) => Err(Refusal::new(503, "Nobody can say.")),
        Some((name, _)) => Ok(Admission::of(name)),
    }
}

pub(crate) struct Todos;

impl SyncServer for Todos {
    fn schema(&self) -> Schema {
        Schema::new().record::<Todo>().record::<TodoList>()
    }

    fn on_action(&mut self, tx: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
        call.apply(tx, |tx, action| match action {
            Action::Create { title, .. } | Action::Rename { title, .. } if title == "spam" => {
                Err(ActionError::reject("spam", "No spam."))
            }
            action => apply(tx, action),
        })
    }

    fn on_message(&mut self, _: &mut Tx<'_>, socket: Socket<'_>, message: Message<'_>) -> Result<Handled, ActionError> {
        let Message::Text(text) = message else { return Ok(Handled::No) };
        socket.room().send_to_all(text)?;
        Ok(Handled::Yes)
    }
}
