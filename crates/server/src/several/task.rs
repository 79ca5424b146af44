//! What takes one room's frames from a socket that carries several to the room.

use std::sync::Arc;

use partysync_protocol::{ErrorCode, WireError, v2};
use partysync_room::{Admission, ConnectionInfo, Join, Refusal};
use tokio::sync::mpsc;

use super::{Kind, Waiting, error, left};
use crate::berth::Berth;
use crate::gate::Gate;
use crate::mailbox::Received;
use crate::outbox::Lane;
use crate::rooms::{Connection, Rooms, Way};

/// One room's task.
pub(super) struct Task {
    pub(super) rooms: Arc<Rooms>,
    pub(super) berth: Arc<Berth>,
    pub(super) lane: Lane,
    /// What the room's door is asked about.
    pub(super) handshake: Option<Arc<Join>>,
    pub(super) gate: Option<Gate>,
    pub(super) inside: Inside,
    pub(super) frames: mpsc::UnboundedReceiver<Waiting>,
}

/// Whether the socket is in the room.
pub(super) enum Inside {
    No,
    /// It is the room of the socket's URL, whose connection is as old as the socket.
    Home(Way),
    Further(Connection),
}

impl Task {
    /// Works until the socket ends.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.berth.out() => self.look(),
                waiting = self.frames.recv() => match waiting {
                    Some(waiting) => {
                        self.look();
                        self.take(waiting).await;
                    }
                    None => return self.leave(),
                },
            }
        }
    }

    /// Looks whether the room has put the socket out.
    fn look(&mut self) {
        if self.berth.was_put_out() {
            self.gate = None;
            if let Inside::Home(way) = std::mem::replace(&mut self.inside, Inside::No) {
                way.close();
            }
        }
    }

    /// The socket is gone.
    fn leave(self) {
        if let Inside::Further(mut connection) = self.inside {
            connection.close(self.berth.close_code());
        }
    }

    async fn take(&mut self, Waiting { frame, kind, place }: Waiting) {
        if let Inside::No = self.inside {
            match (kind, frame) {
                (Kind::Join, Received::Text(join)) => {
                    let entered = self.enter(&join).await;
                    self.berth.end();
                    match (entered, &self.inside) {
                        (Err(error), _) => self.lane.put_out(left(self.berth.name.address(), error).into()),
                        // Its token was looked at.
                        (Ok(()), Inside::Further(connection)) => connection.deliver(vec![Received::Text(join)]).await,
                        (Ok(()), _) => {}
                    }
                }
                (_, Received::Text(text)) => {
                    self.berth.end();
                    let answer = match v2::Up::parse(&text) {
                        Err(v2::UpError) | Ok(v2::Up::Hello { .. }) => error(None, ErrorCode::BadMessage),
                        Ok(_) => error(Some(self.berth.name.address()), ErrorCode::NotJoined),
                    };
                    self.lane.answer(answer.into());
                }
                _ => self.berth.end(),
            }
            return drop(place);
        }
        // Who does not read the room's answers may not ask it for more.
        self.lane.drained(&self.berth).await;
        // Before the room answers: what it answers may be that the place is free.
        self.berth.end();
        self.deliver(frame).await;
        drop(place);
        // What comes after it is for the room anew.
        if let (Kind::Leave, Inside::Further(_)) = (kind, &self.inside) {
            self.berth.until_out().await;
            self.look();
        }
    }

    async fn deliver(&mut self, frame: Received) {
        let way = match &self.inside {
            Inside::No => return,
            Inside::Home(way) => way,
            Inside::Further(connection) => &connection.way(),
        };
        let frame = match &mut self.gate {
            None => frame,
            Some(gate) => way.pass(gate, frame).await,
        };
        way.deliver(frame).await;
    }

    /// Opens a connection to the room for a `join`, or says why not.
    async fn enter(&mut self, join: &str) -> Result<(), WireError> {
        let Ok(v2::Up::Join { token, .. }) = v2::Up::parse(join) else { return Err(ErrorCode::BadMessage.into()) };
        let name = &self.berth.name;
        let party = self.rooms.parties.get(name.party()).ok_or(ErrorCode::NotAllowed)?;
        let mut at_door = None;
        let admission = match (&party.doors.connect, &self.handshake) {
            (None, _) => Admission::anonymous(),
            (Some(_), None) => return Err(ErrorCode::NotAllowed.into()),
            (Some(door), Some(handshake)) => {
                let mut asked = (**handshake).clone();
                asked.room = name.clone();
                asked.path = String::new();
                if token.is_some() {
                    asked.token = token;
                }
                at_door = Some(Arc::new(asked.clone()));
                door.admit(asked).await.map_err(|refusal: Refusal| refusal.to_wire())?
            }
        };
        // None: the server stops, and closes the socket.
        let Some(lease) = self.rooms.lease(name) else { return Ok(()) };
        lease.open().await?;
        let identity = admission.identity().map(str::to_owned);
        let info = ConnectionInfo { key: None, identity, data: admission.data().cloned() };
        self.gate = Gate::of_further(party, admission, at_door);
        self.inside = Inside::Further(Connection::open_further(lease, info, self.lane.clone(), &self.berth));
        // After that: an admission that is over already ends the room.
        if let Some(gate) = &mut self.gate {
            gate.mind(&self.lane);
        }
        Ok(())
    }
}
