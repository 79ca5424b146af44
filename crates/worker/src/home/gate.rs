//! What a socket's frames pass on their way to the room, if the app has a say in some of them (SPEC 13.3, 13.8, 13.10).
//!
//! A frame that came cannot be left unread here. So what comes on a socket while the app thinks about a frame of it waits behind that, the
//! socket's end included, up to [`limits::LANE_QUEUE`].

use std::collections::VecDeque;
use std::rc::Rc;

use partysync_model::ActionError;
use partysync_protocol::{Millis, limits, v2};
use partysync_room::{Admission, Attempt, ConnectionId, Event, Join, RoomName, Seen, Vetted};

use super::app::{App, Party};
use super::door::Places;
use crate::handshake::Handshake;

/// How long before the end of an admission a client is told; earlier than half of the time it is not.
const NOTICE_MS: Millis = 60_000;

/// Later than this a client is not told: there is no time left to ask anybody for a token.
const LEAST_NOTICE_MS: Millis = 1_000;

/// What counts as one more frame that waits.
const PLACE_BYTES: usize = 16 << 10;

/// One socket's gate.
pub(crate) struct Gate {
    /// As whom it came in.
    pub(crate) admission: Admission,
    /// As long as a `join` or a `token` may come that is to be taken to the door with it.
    pub(crate) handshake: Option<Handshake>,
    /// Whether its client has spoken since it was welcomed: it can be told that its admission ends.
    pub(crate) has_spoken: bool,
    /// When it is to be told.
    pub(crate) notice_at: Option<Millis>,
    /// No text frame has come yet. The first says whether there will be a `join` (SPEC 8.2).
    is_new: bool,
    /// What waits, while the app thinks about a frame that came before it.
    waiting: Option<Waiting>,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    places: usize,
}

/// What came on a socket.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// Its end.
    Closed(Option<u16>, String),
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        match self {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
            Frame::Closed(..) => 0,
        }
    }

    fn places(&self) -> usize {
        1 + self.len() / PLACE_BYTES
    }

    /// What it is to the room if the app has no say in it.
    pub(crate) fn event(self, connection: ConnectionId) -> Event {
        match self {
            Frame::Text(text) => Event::Text { connection, text },
            Frame::Binary(bytes) => Event::Binary { connection, bytes },
            Frame::Closed(code, reason) => Event::Closed { connection, code, reason },
        }
    }
}

/// What becomes of a frame.
pub(crate) enum Passed {
    /// It goes to the room.
    Event(Event),
    /// The app is asked first. What comes meanwhile waits.
    Ask(Box<Question>),
    /// It waits.
    Waits,
    /// As much waits as may: the socket is to be closed.
    TooMany,
}

/// A frame that the app is asked about.
pub(crate) struct Question {
    connection: ConnectionId,
    text: String,
    asks: Asks,
}

enum Asks {
    Before(Attempt),
    Join(Join),
    Token(Join),
}

impl Gate {
    pub(crate) fn new(admission: Admission, handshake: Option<Handshake>, is_new: bool) -> Self {
        Gate { admission, handshake, has_spoken: false, notice_at: None, is_new, waiting: None }
    }

    /// When the admission ends.
    pub(crate) fn ends_at(&self) -> Option<Millis> {
        self.admission.ends_at()
    }

    /// When something is to be done about the admission's end.
    pub(crate) fn wakes_at(&self) -> Option<Millis> {
        self.notice_at.or(self.ends_at())
    }

    /// The admission begins, or is known to be of a client that can be told of its end.
    fn mind_end(&mut self, now: Millis) {
        self.notice_at = self.ends_at().filter(|_| self.has_spoken).and_then(|end| {
            let notice = NOTICE_MS.min((end - now) / 2);
            (notice >= LEAST_NOTICE_MS).then_some(end - notice)
        });
    }

    /// What the client is to be told, if it is time: its admission ends after so many milliseconds.
    pub(crate) fn notice(&mut self, now: Millis) -> Option<u64> {
        self.notice_at.take_if(|at| *at <= now)?;
        Some((self.ends_at()? - now).max(0).unsigned_abs())
    }

    /// Whether frames wait: then what comes has to wait, too.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes a frame that has just come.
    pub(crate) fn pass(
        &mut self,
        party: &Party,
        room: &RoomName,
        connection: ConnectionId,
        frame: Frame,
        now: Millis,
    ) -> Passed {
        if let Some(waiting) = &mut self.waiting {
            // The end must not be lost, and comes once.
            if waiting.places + frame.places() > limits::LANE_QUEUE && !matches!(frame, Frame::Closed(..)) {
                return Passed::TooMany;
            }
            waiting.places += frame.places();
            waiting.frames.push_back(frame);
            return Passed::Waits;
        }
        let passed = self.look(party, room, connection, frame, now);
        if matches!(passed, Passed::Ask(_)) {
            self.waiting = Some(Waiting::default());
        }
        passed
    }

    /// The app has answered: takes the next frame that waits.
    pub(crate) fn next(
        &mut self,
        party: &Party,
        room: &RoomName,
        connection: ConnectionId,
        now: Millis,
    ) -> Option<Passed> {
        let waiting = self.waiting.as_mut()?;
        let Some(frame) = waiting.frames.pop_front() else {
            self.waiting = None;
            return None;
        };
        waiting.places -= frame.places();
        Some(self.look(party, room, connection, frame, now))
    }

    fn look(&mut self, party: &Party, room: &RoomName, connection: ConnectionId, frame: Frame, now: Millis) -> Passed {
        let is_first = std::mem::take(&mut self.is_new);
        let is_hello = |frame: &Frame| matches!(frame, Frame::Text(text) if v2::Up::is_hello(text));
        if is_first && !is_hello(&frame) {
            self.handshake = None;
        }
        let Frame::Text(text) = frame else { return Passed::Event(frame.event(connection)) };
        if !is_first && !self.has_spoken && self.handshake.is_some() {
            self.has_spoken = true;
            self.mind_end(now);
        }
        if self.handshake.is_none() && party.hooks.is_empty() {
            return Passed::Event(Event::Text { connection, text });
        }
        let asks = match Seen::of(room, &text) {
            Seen::Other => None,
            Seen::Join(token) => self.handshake.as_ref().map(|handshake| Asks::Join(handshake.join(room, token))),
            Seen::Token(token) => self.handshake.as_ref().map(|handshake| Asks::Token(handshake.join(room, token))),
            Seen::Action { channel, action } if party.hooks.before.is_some() => {
                Some(Asks::Before(Attempt::new(room.clone(), &channel, action, &self.admission)))
            }
            Seen::Action { .. } => {
                let vetted = Vetted::Action { prepared: Ok(None), tell: party.hooks.after.is_some() };
                return Passed::Event(Event::Vetted { connection, text, vetted });
            }
        };
        match asks {
            Some(asks) => Passed::Ask(Box::new(Question { connection, text, asks })),
            None => Passed::Event(Event::Text { connection, text }),
        }
    }
}

impl Question {
    /// Asks the app. With whom the socket is from now on, if that is another.
    pub(crate) async fn ask(self, app: Rc<App>, room: RoomName, places: Rc<Places>) -> (Event, Option<Renewed>) {
        let Question { connection, text, asks } = self;
        let party = app.find(room.party());
        let door = party.and_then(|party| party.connect.as_ref());
        let (vetted, renewed) = match (asks, party, door) {
            (Asks::Before(attempt), Some(party), _) => {
                let prepared = match &party.hooks.before {
                    Some(before) => before.prepare(attempt, &places).await,
                    None => Err(ActionError::from(partysync_protocol::ErrorCode::AppError)),
                };
                (Vetted::Action { prepared, tell: party.hooks.after.is_some() }, None)
            }
            (Asks::Join(join), _, Some(door)) => {
                let admitted = door.admit(join).await;
                let renewed = admitted.as_ref().ok().map(|to| Renewed { to: to.clone(), same: false });
                (Vetted::Join(admitted.map_err(|refusal| refusal.to_wire())), renewed)
            }
            (Asks::Token(join), _, Some(door)) => {
                let admitted = door.admit(join).await;
                let renewed = admitted.as_ref().ok().map(|to| Renewed { to: to.clone(), same: true });
                (Vetted::Token(admitted.map_err(|refusal| refusal.to_wire())), renewed)
            }
            // The app has no such party, or no such door: there was nobody to ask.
            _ => return (Event::Text { connection, text }, None),
        };
        (Event::Vetted { connection, text, vetted }, renewed)
    }
}

/// What a door said to a token.
pub(crate) struct Renewed {
    to: Admission,
    /// Only if it is who it was.
    same: bool,
}

impl Renewed {
    /// Takes the place of what the door said before. Returns whether it does.
    pub(crate) fn take_place(self, gate: &mut Gate, now: Millis) -> bool {
        let counts = !self.same || self.to.identity() == gate.admission.identity();
        if counts {
            gate.admission = self.to;
            gate.mind_end(now);
        }
        counts
    }
}
