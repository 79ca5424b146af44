//! What an operator orders a room to do. It is done at the room's desk, so the room does nothing else meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use partysync_protocol::ErrorCode;
use partysync_room::Inspection;
use partysync_sqlite::{Options, SqliteDb};
use tokio::sync::oneshot;

use super::{Batch, Desk};
use crate::backlog::Close;
use crate::data;
use crate::mailbox::Mailbox;
use crate::party::AnyRoom;
use crate::rooms::Rooms;
use crate::staging::{self, Staged};

/// A client must not come back by itself: it would make the room anew (SPEC 8.27).
const DELETED: Close = Close::new(4410, "the room was deleted");
const RESTORED: Close = Close::new(1012, "the room was restored from a backup");

/// An order, and where its result goes.
pub(crate) enum Order {
    /// Look at the room.
    Inspect(Answer<Inspection>),
    /// Copy the room into a file.
    BackUp(Staged, Answer<Staged>),
    /// Close its sockets and remove its file.
    Delete(Answer<()>),
    /// Put a file in the place of the room's, which is there only if it may be replaced.
    Restore { from: Staged, replace: bool, answer: Answer<()> },
}

pub(crate) type Answer<T> = oneshot::Sender<Result<T, OrderError>>;

/// Why an order was not carried out. It may name paths: for the operator's eyes only.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("The server stops.")]
    Stopping,
    #[error("There is no such room.")]
    NotThere,
    #[error("There is such a room. To put the file in its place, add replace=true.")]
    Exists,
    #[error("The room cannot be opened: {} The log says more.", .0.text())]
    CannotOpen(ErrorCode),
    #[error("It failed: {0}.")]
    Failed(String),
    /// The order was lost in a panic.
    #[error("It failed. The log says why.")]
    Lost,
}

impl From<std::io::Error> for OrderError {
    fn from(error: std::io::Error) -> Self {
        OrderError::Failed(error.to_string())
    }
}

impl From<partysync_model::DbError> for OrderError {
    fn from(error: partysync_model::DbError) -> Self {
        OrderError::Failed(error.to_string())
    }
}

impl Desk {
    /// Carries an order out. Nothing is said to who does not wait any more.
    pub(super) fn obey(&mut self, rooms: &Arc<Rooms>, mailbox: &Mailbox, batch: &mut Batch, order: Order) {
        let obeyed = catch_unwind(AssertUnwindSafe(|| match order {
            Order::Inspect(answer) => {
                let found = self.bring_in(rooms, mailbox, batch).and_then(|room| Ok(room.inspect()?));
                drop(answer.send(found));
            }
            Order::BackUp(to, answer) => {
                let made = self.bring_in(rooms, mailbox, batch).and_then(|room| Ok(room.db().back_up(to.path())?));
                drop(answer.send(made.map(|()| to)));
            }
            Order::Delete(answer) => drop(answer.send(self.delete(rooms, mailbox))),
            Order::Restore { from, replace, answer } => drop(answer.send(self.restore(rooms, mailbox, from, replace))),
        }));
        if obeyed.is_err() {
            self.abandon(rooms, mailbox);
        }
        // What the room said when it came into memory.
        self.send_batch(batch);
    }

    fn delete(&mut self, rooms: &Rooms, mailbox: &Mailbox) -> Result<(), OrderError> {
        let (name, file) = (&mailbox.name, mailbox.data.room_file(&mailbox.name));
        if !file.exists() {
            return Err(OrderError::NotThere);
        }
        self.close_all(&DELETED);
        self.drop_room(rooms);
        self.alarm = None;
        rooms.clock.forget(name);
        staging::remove_database(&file)?;
        flush_folder_of(&file)?;
        // Should this be lost, the list has a room that is made anew when somebody comes.
        rooms.registry.forget(name)?;
        tracing::warn!("room deleted");
        Ok(())
    }

    fn restore(&mut self, rooms: &Rooms, mailbox: &Mailbox, from: Staged, replace: bool) -> Result<(), OrderError> {
        let (name, file) = (&mailbox.name, mailbox.data.room_file(&mailbox.name));
        let was_there = file.exists();
        if was_there && !replace {
            return Err(OrderError::Exists);
        }
        self.close_all(&RESTORED);
        self.drop_room(rooms);
        self.alarm = None;
        rooms.clock.forget(name);
        if was_there && staging::has_log(&file) {
            // So that what is to be replaced is whole until the very step that replaces it. If it is of no use, it is about to go.
            let emptied = SqliteDb::open(&file, &Options::default()).and_then(|mut db| db.checkpoint());
            if let Err(error) = emptied {
                tracing::warn!(%error, "the room that is replaced cannot be opened");
            }
        }
        data::make_folders(file.parent().unwrap_or(&file))?;
        staging::remove_logs(&file)?;
        from.move_to(&file)?;
        flush_folder_of(&file)?;
        rooms.registry.restored(name)?;
        if was_there {
            tracing::warn!(replaced = true, "room restored");
        } else {
            tracing::info!(replaced = false, "room restored");
        }
        Ok(())
    }

    /// Brings a room into memory that is there on disk: an order makes none.
    fn bring_in(
        &mut self,
        rooms: &Arc<Rooms>,
        mailbox: &Mailbox,
        batch: &mut Batch,
    ) -> Result<&mut Box<dyn AnyRoom>, OrderError> {
        if self.room.is_none() {
            if rooms.is_stopping() {
                return Err(OrderError::Stopping);
            }
            if !mailbox.data.room_file(&mailbox.name).exists() {
                return Err(OrderError::NotThere);
            }
            self.open(rooms, mailbox, batch).map_err(OrderError::CannotOpen)?;
        }
        self.room.as_mut().ok_or(OrderError::Lost)
    }
}

fn flush_folder_of(file: &Path) -> std::io::Result<()> {
    data::flush_folder(file.parent().unwrap_or(file))
}
