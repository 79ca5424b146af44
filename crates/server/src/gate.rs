//! What a socket's frames pass on their way to the room, if the app has a say in some of them (SPEC 13.3, 13.8).

use std::sync::Arc;

use partysync_protocol::{Token, WireError, v2};
use partysync_room::{Admission, Attempt, Join, RoomName, Seen, Vetted};
use tokio::sync::Semaphore;

use crate::expiry::Expiry;
use crate::mailbox::Received;
use crate::outbox::Lane;
use crate::party::Party;

/// One socket's gate. A party without doors and hooks has none, and its frames are not looked at.
///
/// The task that reads the socket waits here. So what came behind an action stays behind it, the socket is not read meanwhile, and
/// nobody else is held up.
pub(crate) struct Gate {
    /// As whom it came in.
    admission: Admission,
    /// What the handshake said, as long as a `join` may come that is to be taken to the door with it.
    join: Option<Arc<Join>>,
    /// What ends when the admission does.
    lane: Option<Lane>,
    expiry: Option<Expiry>,
    /// The room, once its client is known to speak version 2 and to have heard `welcome`: it can be told that the admission ends.
    told: Option<RoomName>,
    /// No frame has come yet. The first says whether there will be a `join` (SPEC 8.2).
    is_new: bool,
}

impl Gate {
    /// The gate of a socket that carries the room beside that of its URL, and was admitted so.
    pub(crate) fn of_further(party: &Party, admission: Admission, join: Option<Arc<Join>>) -> Option<Self> {
        let told = join.as_ref().map(|join| join.room.clone());
        Some(Gate { is_new: false, told, ..Gate::new(party, admission, join)? })
    }

    /// The gate of a socket that was admitted so.
    pub(crate) fn new(party: &Party, admission: Admission, join: Option<Arc<Join>>) -> Option<Self> {
        if let Some(after) = &party.hooks.after {
            after.run_here();
        }
        let needed = join.is_some() || !party.hooks.is_empty();
        needed.then_some(Gate { admission, join, lane: None, expiry: None, told: None, is_new: true })
    }

    /// Ends the room on this lane when the admission does.
    pub(crate) fn mind(&mut self, lane: &Lane) {
        self.lane = Some(lane.clone());
        self.set_expiry();
    }

    fn set_expiry(&mut self) {
        let ends = self.lane.clone().zip(self.admission.ends_at());
        self.expiry = ends.map(|(lane, at)| Expiry::new(lane, at, self.told.clone()));
    }

    /// Takes a frame to the app, if the app has a say in it. `places`: how many may wait so in this room.
    pub(crate) async fn pass(
        &mut self,
        party: &Party,
        room: &RoomName,
        places: &Semaphore,
        frame: Received,
    ) -> Received {
        let is_first = std::mem::take(&mut self.is_new);
        let is_hello = |frame: &Received| matches!(frame, Received::Text(text) if v2::Up::is_hello(text));
        if is_first && !is_hello(&frame) {
            self.join = None;
        }
        let Received::Text(text) = frame else { return frame };
        if !is_first && self.told.is_none() && self.join.is_some() {
            self.told = Some(room.clone());
            self.set_expiry();
        }
        if self.join.is_none() && party.hooks.is_empty() {
            return Received::Text(text);
        }
        let vetted = match Seen::of(room, &text) {
            Seen::Other => None,
            Seen::Join(token) => self.ask_door(party, token, false).await.map(Vetted::Join),
            Seen::Token(token) => self.ask_door(party, token, true).await.map(Vetted::Token),
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

impl Gate {
    /// Takes a token to the door, if there is one. `same`: it has to be the one who is in already.
    async fn ask_door(&mut self, party: &Party, token: Token, same: bool) -> Option<Result<Admission, WireError>> {
        let (Some(join), Some(door)) = (&self.join, &party.doors.connect) else { return None };
        let mut join = (**join).clone();
        join.token = Some(token);
        let admitted = door.admit(join).await;
        if let Ok(admission) = &admitted
            && (!same || admission.identity() == self.admission.identity())
        {
            self.admission = admission.clone();
            self.set_expiry();
        }
        Some(admitted.map_err(|refusal| refusal.to_wire()))
    }
}

#[cfg(test)]
mod tests {
    use partysync_protocol::ErrorCode;
    use partysync_room::OpenError;

    use super::*;
    use crate::door::{Door, Doors};
    use crate::hooks::Hooks;

    /// Whether a `join` with a token is taken to the door, after such a first frame.
    async fn is_vetted_after(first: Received) -> bool {
        let room = RoomName::new("todos", "x");
        let party = Party {
            open: Box::new(|_, _, _| Err(OpenError::Start(ErrorCode::AppError.into()))),
            doors: Doors { connect: Some(Door::new(|_| async { Ok(Admission::of("ann")) })), request: None },
            hooks: Hooks::default(),
        };
        let handshake = Some(Arc::new(Join::new(room.clone())));
        let mut gate = Gate::new(&party, Admission::anonymous(), handshake).unwrap();
        let join = format!(r#"{{"type":"join","room":"todos/x","client":"{}","token":"t"}}"#, "0".repeat(32));
        let places = Semaphore::new(1);
        gate.pass(&party, &room, &places, first).await;
        let vetted = matches!(gate.pass(&party, &room, &places, Received::Text(join)).await, Received::Vetted(..));
        assert_eq!(vetted, gate.join.is_some(), "what the handshake said is kept only for that");
        vetted
    }

    #[tokio::test]
    async fn spec_13_3_a_version_1_connection_has_no_joins_and_keeps_no_headers() {
        let text = |text: &str| Received::Text(text.to_owned());
        assert!(is_vetted_after(text(r#"{"type":"hello","versions":[2]}"#)).await);
        assert!(!is_vetted_after(text(r#"{"channel":"c","sync":true,"from":null}"#)).await);
        assert!(!is_vetted_after(text("nonsense")).await);
        assert!(!is_vetted_after(Received::Binary(Vec::new())).await);
    }

    #[test]
    fn a_party_that_has_no_say_in_frames_has_no_gate() {
        let open = Box::new(|_, _, _| Err(OpenError::Start(ErrorCode::AppError.into())));
        let party = Party { open, doors: Doors::default(), hooks: Hooks::default() };
        assert!(Gate::new(&party, Admission::anonymous(), None).is_none());
    }
}
