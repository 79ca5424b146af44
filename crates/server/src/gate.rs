//! What a socket's frames pass on their way to the room, if the app has a say in some of them (SPEC 13.3, 13.8).

use partysync_room::{Admission, Attempt, Join, RoomName, Seen, Vetted};
use tokio::sync::Semaphore;

use crate::mailbox::Received;
use crate::party::Party;

/// One socket's gate. A party without doors and hooks has none, and its frames are not looked at.
///
/// The task that reads the socket waits here. So what came behind an action stays behind it, the socket is not read meanwhile, and
/// nobody else is held up.
pub(crate) struct Gate {
    /// As whom it came in.
    admission: Admission,
    /// What the handshake said, if there is a door to take it to again.
    join: Option<Box<Join>>,
}

impl Gate {
    /// The gate of a socket that was admitted so.
    pub(crate) fn new(party: &Party, admission: Admission, join: Option<Box<Join>>) -> Option<Self> {
        if let Some(after) = &party.hooks.after {
            after.run_here();
        }
        let needed = join.is_some() || party.hooks.before.is_some() || party.hooks.after.is_some();
        needed.then_some(Gate { admission, join })
    }

    /// Takes a frame to the app, if the app has a say in it. `places`: how many may wait so in this room.
    pub(crate) async fn pass(
        &mut self,
        party: &Party,
        room: &RoomName,
        places: &Semaphore,
        frame: Received,
    ) -> Received {
        let Received::Text(text) = frame else { return frame };
        let vetted = match Seen::of(room, &text) {
            Seen::Other => None,
            Seen::Join(token) => match (&self.join, &party.doors.connect) {
                (Some(join), Some(door)) => {
                    let mut join = (**join).clone();
                    join.token = Some(token);
                    let admitted = door.admit(join).await;
                    if let Ok(admission) = &admitted {
                        self.admission = admission.clone();
                    }
                    Some(Vetted::Join(admitted.map_err(|refusal| refusal.to_wire())))
                }
                _ => None,
            },
            Seen::Action { channel, action } => {
                let prepared = match &party.hooks.before {
                    Some(before) => {
                        let attempt = Attempt::new(room.clone(), &channel, action, &self.admission);
                        before.prepare(attempt, places).await
                    }
                    None => Ok(None),
                };
                Some(Vetted::Action { prepared, tell: party.hooks.after.is_some() })
            }
        };
        match vetted {
            Some(vetted) => Received::Vetted(text, Box::new(vetted)),
            None => Received::Text(text),
        }
    }
}
