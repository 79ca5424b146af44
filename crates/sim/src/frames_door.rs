//! What a room is sent by whom its door admitted, and what it sends them.

use partysync_protocol::{Fault, Millis};
use partysync_room::{ConnectionId, Vetted};

use crate::checks::{Checked, Ledger, Promise, Violation, ensure};

impl Ledger {
    /// P9: nothing comes from, or goes to, whose admission is over.
    pub(crate) fn check_stay(&self, connection: ConnectionId, text: &str) -> Checked {
        let heard = self.connections.get(&connection).filter(|heard| !heard.is_closing);
        let until = heard.and_then(|heard| heard.until);
        let now = self.true_now;
        ensure!(until.is_none_or(|until| now < until), P9, "{text} at {now}, of an admission until {until:?}");
        Ok(())
    }

    /// P9: nobody is put out while it is admitted.
    pub(crate) fn check_over(&self, connection: ConnectionId, now: Millis) -> Checked {
        let heard = self.connections.get(&connection).filter(|heard| !heard.is_closing);
        let is_over = heard.and_then(|heard| heard.until).is_none_or(|until| until <= now);
        ensure!(is_over, P9, "an admission was ended at {now}: {heard:?}");
        Ok(())
    }

    /// A frame came that the door had a say in.
    pub(crate) fn vetted(&mut self, connection: ConnectionId, text: &str, vetted: &Vetted) -> Checked {
        let Some(heard) = self.connections.get_mut(&connection) else { return Ok(()) };
        match vetted {
            Vetted::Join(Ok(admission)) | Vetted::Token(Ok(admission)) => heard.until = admission.ends_at(),
            Vetted::Join(Err(_)) => {
                heard.leaves();
                return Ok(());
            }
            Vetted::Token(Err(error)) if error.fault == Fault::Client && heard.is_present => heard.leaves(),
            Vetted::Token(Err(_)) => {}
            Vetted::Action { .. } => {}
        }
        self.heard(connection, text)
    }
}
