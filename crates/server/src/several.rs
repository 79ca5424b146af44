//! Several rooms on one socket (SPEC 8.32 to 8.35).
//!
//! Most sockets carry one room, whose frames go from the socket's reader straight to the room. Once a client joins another one, the reader
//! only sorts: each room has a task that takes its frames through its door and its hooks and hands them to the room, so that what
//! one room waits for holds up no other.

mod address;
mod task;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use partysync_protocol::{ErrorCode, WireError, limits, v2};
use partysync_room::Join;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::berth::Berth;
use crate::gate::Gate;
use crate::mailbox::Received;
use crate::outbox::{FAREWELL, Lane, Outbox};
use crate::rooms::{Connection, Rooms};
use task::{Inside, Task};

/// The rooms of one socket, for who reads it. When this is dropped the socket leaves them all.
pub(crate) struct Several {
    rooms: Arc<Rooms>,
    outbox: Arc<Outbox>,
    /// What doors are asked about.
    handshake: Option<Arc<Join>>,
    /// The room of the URL: `party/room`.
    home: String,
    /// By the room's address.
    queues: HashMap<String, Queue>,
    tasks: JoinSet<()>,
}

/// The way to one room's task.
struct Queue {
    berth: Arc<Berth>,
    lane: Lane,
    frames: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
}

/// A frame that waits for its room's task.
struct Waiting {
    frame: Received,
    kind: Kind,
    place: Option<OwnedSemaphorePermit>,
}

/// What a frame does to its room's place on the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Join,
    Leave,
    Other,
}

/// Whether a frame asks for a room other than this one.
pub(crate) fn asks_for_another(text: &str, room: &str) -> bool {
    if v2::Envelope::plainly_names(text, room) {
        return false;
    }
    matches!(v2::Up::parse(text), Ok(v2::Up::Join { room: named, .. }) if *named != *room)
}

impl Several {
    /// For a socket that carried one room until now, and through its reader alone.
    pub(crate) fn new(
        connection: &Connection,
        outbox: &Arc<Outbox>,
        gate: Option<Gate>,
        handshake: Option<Arc<Join>>,
    ) -> Self {
        let berth = Arc::new(Berth::new(connection.room().clone()));
        let way = connection.way();
        berth.enter(way.clone());
        outbox.split(Arc::clone(&berth));
        let home = connection.room().address().to_owned();
        let mut several = Several {
            rooms: Arc::clone(connection.rooms()),
            outbox: Arc::clone(outbox),
            handshake,
            home: home.clone(),
            queues: HashMap::new(),
            tasks: JoinSet::new(),
        };
        several.start(home, berth, Lane::home(Arc::clone(outbox)), gate, Inside::Home(way));
        several
    }

    /// Hands frames to their rooms' tasks. Waits while too much waits for one of them.
    pub(crate) async fn route(&mut self, frames: Vec<Received>) {
        for frame in frames {
            match self.sort(frame) {
                Ok((room, kind, frame)) => self.queue(&room, kind, frame).await,
                Err(Some(answer)) => self.outbox.say(answer.into()),
                Err(None) => {}
            }
        }
    }

    /// The client closed the socket: what it sent before counts, if that does not take long.
    pub(crate) async fn finish(mut self, code: Option<u16>) {
        for (_, queue) in self.queues.drain() {
            queue.berth.closed_with(code);
        }
        // Dropped with the queues, their tasks end once they are through with what waits.
        let _ = timeout(FAREWELL, async { while self.tasks.join_next().await.is_some() {} }).await;
    }

    /// Which room a frame is for; or how the socket itself answers it.
    fn sort(&mut self, frame: Received) -> Result<(String, Kind, Received), Option<String>> {
        let Received::Text(text) = &frame else { return Ok((self.home.clone(), Kind::Other, frame)) };
        let bad_message = || Some(error(None, ErrorCode::BadMessage));
        let v2::Envelope { kind, room } = v2::Envelope::read(text).ok_or_else(bad_message)?;
        let kind = match &*kind {
            // What only looks like one of these does nothing to the room's place.
            "ping" | "join" | "leave" => match v2::Up::parse(text) {
                Ok(v2::Up::Ping) => return Err(Some(v2::pong())),
                Ok(v2::Up::Join { .. }) => Kind::Join,
                Ok(v2::Up::Leave { .. }) => Kind::Leave,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        };
        let room = room.ok_or_else(bad_message)?.into_owned();
        if !self.queues.contains_key(&room) {
            match v2::Up::parse(text) {
                Err(v2::UpError) | Ok(v2::Up::Hello { .. }) => return Err(bad_message()),
                Ok(v2::Up::Join { .. }) => self.add(&room).map_err(|code| Some(left(&room, code.into())))?,
                Ok(_) => return Err(Some(error(Some(&room), ErrorCode::NotJoined))),
            }
        }
        Ok((room, kind, frame))
    }

    /// Takes on another room, if there is a place for it.
    fn add(&mut self, room: &str) -> Result<(), ErrorCode> {
        let name = address::read(room)?;
        if !self.rooms.parties.contains_key(name.party()) {
            return Err(ErrorCode::NotAllowed);
        }
        self.tidy();
        let places = self.queues.iter().filter(|(room, queue)| **room != self.home || queue.berth.is_taken());
        if places.count() >= limits::SOCKET_ROOMS {
            return Err(ErrorCode::TooManyRooms);
        }
        let berth = Arc::new(Berth::new(name));
        let lane = self.outbox.add_lane(Arc::clone(&berth));
        self.start(room.to_owned(), berth, lane, None, Inside::No);
        Ok(())
    }

    /// Forgets rooms that the socket has left and to which nothing is owed any more.
    fn tidy(&mut self) {
        self.queues.retain(|room, queue| *room == self.home || queue.berth.is_taken() || !queue.lane.remove());
        while self.tasks.try_join_next().is_some() {}
    }

    fn start(&mut self, room: String, berth: Arc<Berth>, lane: Lane, gate: Option<Gate>, inside: Inside) {
        let (frames, arriving) = mpsc::unbounded_channel();
        self.tasks.spawn(
            Task {
                rooms: Arc::clone(&self.rooms),
                berth: Arc::clone(&berth),
                lane: lane.clone(),
                handshake: self.handshake.clone(),
                gate,
                inside,
                frames: arriving,
            }
            .run(),
        );
        let places = Arc::new(Semaphore::new(limits::LANE_QUEUE));
        self.queues.insert(room, Queue { berth, lane, frames, places });
    }

    async fn queue(&self, room: &str, kind: Kind, frame: Received) {
        let Some(queue) = self.queues.get(room) else { return };
        queue.berth.begin();
        let place = Arc::clone(&queue.places).acquire_many_owned(frame.places()).await.ok();
        // Its task ends with this.
        let _ = queue.frames.send(Waiting { frame, kind, place });
    }
}

fn error(room: Option<&str>, code: ErrorCode) -> String {
    v2::encode(&v2::ErrorMessage { room: room.map(Cow::from), error: code.into() })
}

fn left(room: &str, error: WireError) -> String {
    v2::encode(&v2::Left { room: room.into(), error: Some(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_8_32_only_a_join_of_another_room_makes_a_socket_carry_several() {
        let join = |room: &str| format!(r#"{{"type":"join","room":"{room}","client":"{}"}}"#, "0".repeat(32));
        assert!(asks_for_another(&join("a/c"), "a/b"));
        assert!(asks_for_another(&join("nonsense"), "a/b"));
        assert!(!asks_for_another(&join("a/b"), "a/b"));
        assert!(!asks_for_another(r#"{"room":"a\/b","type":"join","client":"x"}"#, "a/b"));
        assert!(!asks_for_another(r#"{"type":"leave","room":"a/c"}"#, "a/b"));
        assert!(!asks_for_another(r#"{"type":"join","room":"a/c"}"#, "a/b"), "it is none");
    }
}
