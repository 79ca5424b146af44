//! The app of the vectors, as a server runs it.

use partysync_model::{ActionError, Schema, Tx};
use partysync_room::{Call, Changed, Handled, Message, Socket, SyncServer};
use partysync_vectors::{Action, Todo, TodoList, apply};

pub(crate) const ROOM: &str = "todos/lobby";

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
