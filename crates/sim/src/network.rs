//! Connections: frames arrive in order, some time after they were sent, or never. One connection carries one room or several.

use std::collections::VecDeque;

use partysync_protocol::v2::{self, Up as Message};
use partysync_protocol::{ErrorCode, Millis, Token, Version, WireError, limits};
use partysync_room::{Admission, Arrived, ConnectionId, Event, Vetted};

use crate::Tamper;
use crate::aboard::Aboard;
use crate::checks::Checked;
use crate::door::{Door, Due, Stay, info_of};
use crate::proof::{Mark, Proof};
use crate::site::room_name;
use crate::slow::{Backlog, Down, Kind};

/// One socket, with what is under way on it.
pub(crate) struct Wire {
    identity: String,
    /// With what it came in.
    admission: Admission,
    token: Option<Token>,
    lanes: Vec<Place>,
    /// What it was greeted with, once that has arrived.
    welcome: Option<String>,
    up: VecDeque<(usize, Up)>,
    pub(crate) down: Backlog,
    /// If a page of version 1 has it.
    pub(crate) v1: Option<V1>,
}

/// What a home has to know of a socket that may speak version 1.
pub(crate) struct V1 {
    /// The page's `_pk`.
    key: Option<String>,
    /// When the room hears that it has been open for a while; `None`: it has.
    quiet_at: Option<Millis>,
    pub(crate) proof: Proof,
}

/// A room on a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Which of the world's rooms.
    pub(crate) site: usize,
    /// As what that room knows the socket.
    pub(crate) id: ConnectionId,
}

/// A room's place on a socket.
struct Place {
    lane: Lane,
    /// Whether the socket is in the room, which knows it by the lane's name.
    is_inside: bool,
    stay: Stay,
    aboard: Aboard,
}

enum Up {
    Opened,
    Text(String),
    Pong(Mark),
    /// Perhaps with a code.
    Closed(Option<u16>),
}

impl Wire {
    /// A socket whose reader has to read before more than `window` bytes are under way to it. The first room is that of its URL; it enters
    /// others as it joins them.
    pub(crate) fn new(lanes: Vec<Lane>, identity: String, window: usize) -> Self {
        let place = |(i, lane)| Place { lane, is_inside: i == 0, stay: Stay::default(), aboard: Aboard::default() };
        let lanes: Vec<Place> = lanes.into_iter().enumerate().map(place).collect();
        Wire {
            admission: Admission::of(identity.as_str()),
            token: None,
            identity,
            down: Backlog::new(lanes.len(), window),
            lanes,
            welcome: None,
            up: VecDeque::from([(0, Up::Opened)]),
            v1: None,
        }
    }

    /// What the door said to the token in its URL.
    pub(crate) fn admit(&mut self, admission: Admission, token: Option<Token>, now: Millis) {
        self.lanes[0].stay.begin(&admission, now);
        self.admission = admission;
        self.token = token;
    }

    /// The socket of a version 1 page, opened now.
    pub(crate) fn of_page(lane: Lane, identity: String, key: Option<String>, window: usize, now: Millis) -> Self {
        let v1 = V1 { key, quiet_at: Some(now + limits::QUIET_MS as Millis), proof: Proof::default() };
        Wire { v1: Some(v1), ..Wire::new(vec![lane], identity, window) }
    }

    /// The client of a lane sends a frame. What the socket speaks is said once.
    pub(crate) fn send_up(&mut self, lane: usize, text: String) {
        if lane == 0 || !Message::is_hello(&text) {
            self.lanes[lane].aboard.says(&text);
            self.up.push_back((lane, Up::Text(text)));
        }
    }

    /// The page's browser answers a ping.
    pub(crate) fn pong(&mut self, mark: Mark) {
        self.up.push_back((0, Up::Pong(mark)));
    }

    /// A room sends a frame; returns whether it is not left out.
    pub(crate) fn send_down(&mut self, lane: usize, kind: Kind, text: String, tamper: Tamper) -> bool {
        self.down.push(lane, kind, Down::Text(text), tamper)
    }

    /// A page was sent all that shows up to a version.
    pub(crate) fn told(&mut self, version: Version, is_time: bool) {
        let Some(v1) = self.v1.as_mut().filter(|_| !self.down.is_behind()) else { return };
        if let Some(mark) = v1.proof.told(version, is_time) {
            self.down.push(0, Kind::Answer, Down::Ping(mark), Tamper::None);
        }
    }

    /// A page that is silent is asked what it has.
    pub(crate) fn ping(&mut self) {
        if let Some(mark) = self.v1.as_mut().and_then(|v1| v1.proof.owed()) {
            self.down.push(0, Kind::Answer, Down::Ping(mark), Tamper::None);
        }
    }

    /// What is known to have arrived at a page.
    pub(crate) fn arrived(&self, tamper: Tamper) -> Option<(ConnectionId, Arrived)> {
        Some((self.id()?, self.v1.as_ref()?.proof.arrived(tamper == Tamper::BelieveSent)?))
    }

    /// Whether the room was told that the socket is quiet; it is told now if it is time.
    pub(crate) fn quiet(&mut self, site: usize, now: Millis) -> Option<Event> {
        let is_open = self.carries(site) && !self.up.iter().any(|(_, up)| matches!(up, Up::Opened));
        let connection = self.id()?;
        let v1 = self.v1.as_mut()?;
        v1.quiet_at.take_if(|at| is_open && *at <= now).map(|_| Event::Quiet { connection })
    }

    /// Whether the room is still to be told that the socket is quiet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.v1.as_ref().is_some_and(|v1| v1.quiet_at.is_some())
    }

    /// What arrives at a room next, if it is not for the home alone. `name` is what the room will know the socket by, if it enters.
    pub(crate) fn next_up(&mut self, site: usize, door: Door, name: ConnectionId) -> Vec<Event> {
        let Some(index) = self.up.iter().position(|(lane, _)| self.lanes[*lane].lane.site == site) else {
            return Vec::new();
        };
        let Some((place, up)) = self.up.remove(index) else { return Vec::new() };
        let at = &mut self.lanes[place];
        let connection = at.lane.id;
        match up {
            Up::Opened => {
                let key = self.v1.as_ref().and_then(|v1| v1.key.clone());
                vec![Event::Opened { connection, info: info_of(&self.admission, key) }]
            }
            Up::Text(text) if at.is_inside => vec![self.pass(place, text, door)],
            Up::Text(text) => self.enter(place, text, door, name),
            Up::Pong(mark) => {
                self.v1.iter_mut().for_each(|v1| v1.proof.pong(mark));
                self.next_up(site, door, name)
            }
            Up::Closed(_) if !at.is_inside => Vec::new(),
            Up::Closed(code) => {
                at.is_inside = false;
                vec![Event::Closed { connection, code, reason: String::new() }]
            }
        }
    }

    /// A frame passes the door on its way to a room (SPEC 13.3, 13.10).
    fn pass(&mut self, place: usize, text: String, door: Door) -> Event {
        let at = &mut self.lanes[place];
        let connection = at.lane.id;
        if !Message::is_hello(&text) {
            at.stay.speaks();
        }
        let vet: fn(Result<Admission, WireError>) -> Vetted;
        let token = match Message::parse(&text) {
            Ok(Message::Join { token: Some(token), .. }) if door.is_there => {
                vet = Vetted::Join;
                token
            }
            Ok(Message::Token { token, .. }) if door.is_there => {
                vet = Vetted::Token;
                token
            }
            _ => return Event::Text { connection, text },
        };
        let said = door.ask(&self.identity, Some(&token));
        if let Ok(admission) = &said
            && door.tamper != Tamper::ForgetRenewals
        {
            at.stay.begin(admission, door.now);
        }
        Event::Vetted { connection, text, vetted: vet(said.map_err(|refusal| refusal.to_wire())) }
    }

    /// A frame comes for a room that the socket is not in: a `join` that the door lets in enters it.
    fn enter(&mut self, place: usize, text: String, door: Door, name: ConnectionId) -> Vec<Event> {
        let up = Message::parse(&text);
        let Ok(Message::Join { token, .. }) = up else {
            let room = up.ok().and_then(|up| room_of(&up));
            let error = v2::ErrorMessage { room: room.map(Into::into), error: ErrorCode::NotJoined.into() };
            self.send_down(place, Kind::Answer, v2::encode(&error), door.tamper);
            return Vec::new();
        };
        match door.ask(&self.identity, token.or_else(|| self.token.clone()).as_ref()) {
            Ok(admission) => {
                let at = &mut self.lanes[place];
                at.lane.id = name;
                at.is_inside = true;
                at.stay = Stay::default();
                at.stay.speaks();
                at.stay.begin(&admission, door.now);
                let opened = Event::OpenedV2 { connection: name, info: info_of(&admission, None), is_further: true };
                vec![opened, Event::Text { connection: name, text }]
            }
            Err(refusal) => {
                self.lanes[place].aboard.ends();
                let is_hit = |other: usize| other == place || door.tamper == Tamper::RefuseAll;
                for hit in (0..self.lanes.len()).filter(|other| is_hit(*other)) {
                    let room = room_name(self.lanes[hit].lane.site);
                    let left = v2::Left { room: room.address().into(), error: Some(refusal.to_wire()) };
                    self.put_out(hit, v2::encode(&left), door.tamper);
                }
                Vec::new()
            }
        }
    }

    /// What is due about an admission.
    pub(crate) fn due(&mut self, place: usize, now: Millis) -> Due {
        let at = &mut self.lanes[place];
        if at.is_inside { at.stay.due(now) } else { Due::Nothing }
    }

    pub(crate) fn stay(&self, place: usize) -> Stay {
        self.lanes[place].stay
    }

    /// Tells a client that its admission ends.
    pub(crate) fn tell_expires(&mut self, place: usize, room: &str, after_ms: u64, tamper: Tamper) {
        self.lanes[place].stay.told();
        let expires = v2::Expires { room: room.into(), after_ms };
        self.send_down(place, Kind::Answer, v2::encode(&expires), tamper);
    }

    /// Ends what is over of a socket that its client has left: what it had sent does not arrive any more.
    pub(crate) fn end_over(&mut self, site: usize, now: Millis) -> Option<ConnectionId> {
        let place = (0..self.lanes.len()).find(|place| self.lanes[*place].lane.site == site)?;
        if self.due(place, now) != Due::End {
            return None;
        }
        self.leave(place);
        Some(self.lanes[place].lane.id)
    }

    /// The last frame of a room to this socket.
    pub(crate) fn put_out(&mut self, place: usize, left: String, tamper: Tamper) {
        let room = room_name(self.lanes[place].lane.site);
        self.send_down(place, Kind::Answer, left, tamper);
        if tamper == Tamper::SendToLeft {
            self.send_down(place, Kind::Answer, v2::ack(room.address(), 1, 1), tamper);
        }
    }

    /// The socket is in the room no more.
    pub(crate) fn leave(&mut self, place: usize) {
        self.lanes[place].is_inside = false;
        self.down.forget_lag(place);
    }

    /// Whether it carries rooms beside this one.
    pub(crate) fn carries_others(&self, place: usize) -> bool {
        (0..self.lanes.len()).any(|other| other != place && self.lanes[other].is_inside)
    }

    /// How many rooms it carries.
    pub(crate) fn rooms(&self) -> usize {
        self.lanes.iter().filter(|place| place.is_inside).count()
    }

    pub(crate) fn lane(&self, place: usize) -> Lane {
        self.lanes[place].lane
    }

    pub(crate) fn aboard(&mut self, place: usize) -> &mut Aboard {
        &mut self.lanes[place].aboard
    }

    /// A frame arrives at the client of a lane.
    pub(crate) fn hears(&mut self, place: usize, text: &str) -> Checked {
        let Lane { site, .. } = self.lanes[place].lane;
        let room = room_name(site);
        let Ok(down) = v2::Down::parse(text) else { return Ok(()) };
        if let v2::Down::Welcome(_) = down {
            self.welcome = Some(text.to_owned());
        }
        self.lanes[place].aboard.hears(room.address(), &down)
    }

    /// What greets a client that goes onto the socket: none as long as it does not know of an end.
    pub(crate) fn welcome_for(&self, place: usize) -> Option<String> {
        self.welcome.clone().filter(|_| self.lanes[place].aboard.is_even())
    }

    /// P9: at rest each client knows that it is out of its room.
    pub(crate) fn check_told(&self) -> Checked {
        let told = |at: &Place| at.aboard.check_told(room_name(at.lane.site).address());
        self.lanes.iter().try_for_each(told)
    }

    /// What a room is to be told of readers that have caught up with what they were sent.
    pub(crate) fn end_lag(&mut self, site: usize) -> Option<Event> {
        let is_it = |place: &Place| place.lane.site == site && place.is_inside;
        let index = self.lanes.iter().position(is_it)?;
        let since = self.down.end_lag(index)?;
        Some(Event::CatchUp { connection: self.lanes[index].lane.id, since })
    }

    /// What tells it from other sockets.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.lanes.first().map(|place| place.lane.id)
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether the home reads something for a room.
    pub(crate) fn has_up(&self, site: usize) -> bool {
        !self.down.is_over() && self.up.iter().any(|(lane, _)| self.lanes[*lane].lane.site == site)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.up.is_empty() && self.down.is_empty() && !self.down.is_behind()
    }

    pub(crate) fn has_nothing_up(&self) -> bool {
        self.up.is_empty()
    }

    /// The connection breaks: so many frames still arrive at the rooms, then they learn.
    pub(crate) fn cut_up(&mut self, arriving: usize) {
        self.close_up(arriving, None);
    }

    /// It ends with a code, which the rooms hear behind so many frames.
    pub(crate) fn close_up(&mut self, arriving: usize, code: Option<u16>) {
        self.up.truncate(arriving);
        self.up.retain(|(_, up)| !matches!(up, Up::Closed(_)));
        self.up.extend((0..self.lanes.len()).map(|lane| (lane, Up::Closed(code))));
        self.down = Backlog::new(self.lanes.len(), usize::MAX);
    }

    /// A room's process is gone: what was for it will not arrive.
    pub(crate) fn forget(&mut self, site: usize) {
        self.up.retain(|(lane, _)| self.lanes[*lane].lane.site != site);
    }

    /// Frames under way to the rooms.
    pub(crate) fn up_len(&self) -> usize {
        self.up.len()
    }

    /// The lane that a room knows by this name.
    pub(crate) fn lane_of(&self, id: ConnectionId) -> Option<usize> {
        self.lanes.iter().position(|place| place.lane.id == id && place.is_inside)
    }

    pub(crate) fn carries(&self, site: usize) -> bool {
        self.lanes.iter().any(|place| place.lane.site == site && place.is_inside)
    }
}

/// The room that a frame from a client names.
fn room_of(up: &Message<'_>) -> Option<String> {
    Some(match up {
        Message::Hello { .. } | Message::Ping => return None,
        Message::Join { room, .. }
        | Message::Action { room, .. }
        | Message::Have { room, .. }
        | Message::Message { room, .. }
        | Message::Leave { room }
        | Message::Token { room, .. } => room.to_string(),
    })
}
