//! What waits to be written to one socket: a backlog for the room of its URL and, once it carries others, one for each of them.

use std::sync::Arc;

use partysync_protocol::v2;
use partysync_room::Frame;

use crate::backlog::{Backlog, Close, Kind, Payload};
use crate::berth::Berth;
use crate::ws::Header;

/// Which of a socket's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneId(u32);

impl LaneId {
    /// That of the room of the URL. As long as there is no other, it is the whole socket's.
    pub(crate) const HOME: LaneId = LaneId(0);
    /// What the socket itself says, once it carries several rooms.
    pub(crate) const SOCKET: LaneId = LaneId(1);
}

/// All lanes of a socket. They take turns, a frame each (SPEC 8.35).
#[derive(Default)]
pub(crate) struct Lanes {
    home: Backlog,
    /// Most sockets carry one room: they pay a pointer for this.
    others: Option<Box<Others>>,
}

struct Others {
    home: Arc<Berth>,
    socket: Backlog,
    rooms: Vec<Room>,
    last: LaneId,
    /// Whose turn it is: the lane of the frame that is next, and that may be written in part.
    turn: usize,
}

struct Room {
    id: LaneId,
    backlog: Backlog,
    berth: Arc<Berth>,
}

/// Lanes come in this order: home, the socket's own, those of further rooms.
const BEFORE_ROOMS: usize = 2;

impl Lanes {
    /// The socket is about to carry several rooms.
    pub(crate) fn split(&mut self, home: Arc<Berth>) {
        let others = Others { home, socket: Backlog::default(), rooms: Vec::new(), last: LaneId::SOCKET, turn: 0 };
        self.others.get_or_insert_with(|| Box::new(others));
    }

    pub(crate) fn is_split(&self) -> bool {
        self.others.is_some()
    }

    /// Adds a lane, once the socket [carries several rooms](Self::split).
    pub(crate) fn add(&mut self, berth: Arc<Berth>) -> LaneId {
        let Some(others) = &mut self.others else { return LaneId::HOME };
        others.last.0 += 1;
        others.rooms.push(Room { id: others.last, backlog: Backlog::default(), berth });
        others.last
    }

    /// Removes a lane, if nothing waits on it.
    pub(crate) fn remove(&mut self, id: LaneId) -> bool {
        let Some(others) = &mut self.others else { return false };
        let Some(at) = others.rooms.iter().position(|room| room.id == id && room.backlog.is_empty()) else {
            return false;
        };
        others.rooms.remove(at);
        if others.turn > at + BEFORE_ROOMS {
            others.turn -= 1;
        }
        true
    }

    /// A lane's backlog; `None` if it is gone.
    pub(crate) fn get(&mut self, id: LaneId) -> Option<&mut Backlog> {
        match (id, &mut self.others) {
            (LaneId::HOME, _) | (LaneId::SOCKET, None) => Some(&mut self.home),
            (LaneId::SOCKET, Some(others)) => Some(&mut others.socket),
            (_, Some(others)) => others.rooms.iter_mut().find(|room| room.id == id).map(|room| &mut room.backlog),
            (_, None) => None,
        }
    }

    /// The backlog of the room of the URL, with which the socket itself is closed.
    pub(crate) fn home(&mut self) -> &mut Backlog {
        &mut self.home
    }

    /// Whether nothing waits, whichever lane it is on, and nothing is to be closed.
    pub(crate) fn is_clear(&self) -> bool {
        self.home.is_clear() && self.is_empty()
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.home.is_empty() && self.others.as_ref().is_none_or(|others| others.all().all(Backlog::is_empty))
    }

    /// A frame of this lane is written in part: it goes on with it.
    pub(crate) fn begin_with(&mut self, id: LaneId) {
        let Some(others) = &mut self.others else { return };
        others.turn = match id {
            LaneId::HOME => 0,
            LaneId::SOCKET => 1,
            _ => others.rooms.iter().position(|room| room.id == id).map_or(0, |at| at + BEFORE_ROOMS),
        };
    }

    /// The frames that are next, as many as that, and how many bytes of the first are written.
    pub(crate) fn front(&self, at_most: usize) -> (Vec<(Header, &[u8])>, usize) {
        let parts = |payload| (Payload::header(payload), Payload::as_bytes(payload));
        let Some(others) = &self.others else {
            let (frames, written) = self.home.front();
            return (frames.take(at_most).map(parts).collect(), written);
        };
        let lanes: Vec<&Backlog> = std::iter::once(&self.home).chain(others.all()).collect();
        let written = lanes[others.turn].front().1;
        let mut waiting: Vec<_> = lanes.iter().map(|lane| lane.front().0).collect();
        let mut frames = Vec::new();
        let mut idle = 0;
        let mut turn = others.turn;
        while frames.len() < at_most && idle < waiting.len() {
            match waiting[turn].next() {
                Some(payload) => {
                    frames.push(parts(payload));
                    idle = 0;
                }
                None => idle += 1,
            }
            turn = (turn + 1) % waiting.len();
        }
        (frames, written)
    }

    /// So many bytes more were written.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        let Some(others) = &mut self.others else { return self.home.advance(bytes) };
        let count = others.rooms.len() + BEFORE_ROOMS;
        let mut idle = 0;
        while idle < count && bytes > 0 {
            let lane = match others.turn {
                0 => &mut self.home,
                1 => &mut others.socket,
                turn => &mut others.rooms[turn - BEFORE_ROOMS].backlog,
            };
            if lane.is_empty() {
                idle += 1;
            } else {
                match lane.advance_first(bytes) {
                    Some(rest) => (bytes, idle) = (rest, 0),
                    None => return,
                }
            }
            others.turn = (others.turn + 1) % count;
        }
    }

    /// Ends a room on this socket. If it carries no other, the socket is closed, and the answer is yes.
    pub(crate) fn end(&mut self, id: LaneId, close: Close) -> bool {
        if self.berth(id).is_some_and(|berth| !berth.is_in()) {
            // It was told already.
            return false;
        }
        let Some((berth, true)) = self.berth(id).map(|berth| (Arc::clone(berth), self.carries_others(id))) else {
            self.home.close(close);
            return true;
        };
        let left = v2::Left::of_close(berth.name.address(), close.code, &close.reason);
        let frame = Frame::from(v2::encode(&left));
        self.leave(id, &berth, frame);
        false
    }

    /// A room puts the socket out, on its lane: this is the last that is said there.
    pub(crate) fn put_out(&mut self, id: LaneId, frame: Frame) {
        if let Some(berth) = self.berth(id).cloned() {
            self.leave(id, &berth, frame);
        }
    }

    fn leave(&mut self, id: LaneId, berth: &Berth, frame: Frame) {
        if let Some(backlog) = self.get(id) {
            backlog.reopen();
            backlog.push(Kind::Answer, Payload::Text(frame));
        }
        berth.put_out();
    }

    /// The rooms that are to tell what they left out, and those whose answers are few enough. Nothing while the socket carries one
    /// room: then the socket's task looks.
    pub(crate) fn look(&mut self) -> Vec<Arc<Berth>> {
        let Some(others) = &mut self.others else { return Vec::new() };
        let home = std::iter::once((&mut self.home, &others.home));
        let all = home.chain(others.rooms.iter_mut().map(|room| (&mut room.backlog, &room.berth)));
        let mut behind = Vec::new();
        for (backlog, berth) in all {
            if backlog.wants_catch_up() {
                behind.push(Arc::clone(berth));
            }
            if !backlog.is_over() {
                berth.drained.notify_one();
            }
        }
        behind
    }

    /// Adds the close frame, after everything.
    pub(crate) fn push_close(&mut self, code: Option<u16>, reason: &str) {
        if let Some(mut others) = self.others.take() {
            let mut lanes = vec![std::mem::take(&mut self.home), std::mem::take(&mut others.socket)];
            lanes.extend(others.rooms.into_iter().map(|room| room.backlog));
            lanes.rotate_left(others.turn);
            self.home = Backlog::joined(lanes);
        }
        self.home.push_close(code, reason);
    }

    fn berth(&self, id: LaneId) -> Option<&Arc<Berth>> {
        let others = self.others.as_ref()?;
        if id == LaneId::HOME {
            return Some(&others.home);
        }
        others.rooms.iter().find(|room| room.id == id).map(|room| &room.berth)
    }

    fn carries_others(&self, id: LaneId) -> bool {
        let Some(others) = &self.others else { return false };
        id != LaneId::HOME && others.home.is_taken()
            || others.rooms.iter().any(|room| room.id != id && room.berth.is_taken())
    }
}

impl Others {
    fn all(&self) -> impl Iterator<Item = &Backlog> {
        std::iter::once(&self.socket).chain(self.rooms.iter().map(|room| &room.backlog))
    }
}

#[cfg(test)]
mod tests {
    use partysync_room::RoomName;

    use super::*;

    fn berth() -> Arc<Berth> {
        Arc::new(Berth::new(RoomName::new("notes", "lobby")))
    }

    fn text(text: &str) -> Payload {
        Payload::Text(Frame::from(text.to_owned()))
    }

    /// What is written next, frame by frame, and then counted as written.
    fn write(lanes: &mut Lanes, at_most: usize) -> Vec<String> {
        let (frames, _) = lanes.front(at_most);
        let texts = frames.iter().map(|(_, payload)| String::from_utf8_lossy(payload).into_owned()).collect();
        let bytes = frames.iter().map(|(header, payload)| header.as_bytes().len() + payload.len()).sum();
        lanes.advance(bytes);
        texts
    }

    #[test]
    fn spec_8_35_lanes_take_turns_a_frame_each() {
        let mut lanes = Lanes::default();
        lanes.split(berth());
        let (first, second) = (lanes.add(berth()), lanes.add(berth()));
        for (lane, texts) in [(LaneId::HOME, ["h1", "h2", "h3"]), (first, ["a1", "a2", "a3"])] {
            texts.iter().for_each(|t| lanes.get(lane).unwrap().push(Kind::Answer, text(t)));
        }
        lanes.get(second).unwrap().push(Kind::Answer, text("b1"));
        assert_eq!(write(&mut lanes, 4), ["h1", "a1", "b1", "h2"]);
        // What comes meanwhile on a lane that was through takes its turn.
        lanes.get(second).unwrap().push(Kind::Answer, text("b2"));
        lanes.get(LaneId::SOCKET).unwrap().push(Kind::Answer, text("s1"));
        assert_eq!(write(&mut lanes, 64), ["s1", "a2", "b2", "h3", "a3"]);
        assert!(lanes.is_clear());
    }

    #[test]
    fn spec_8_35_a_frame_that_is_begun_is_written_to_its_end_whatever_else_comes() {
        // A generator of its own, so that a failure is one again: Knuth's.
        let mut state: u64 = 1;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..200 {
            let mut lanes = Lanes::default();
            lanes.split(berth());
            let mut ids = vec![LaneId::HOME, LaneId::SOCKET];
            let (mut pushed, mut stream) = (vec![Vec::new(); 8], Vec::<u8>::new());
            for step in 0..200 {
                match random(6) {
                    0 if ids.len() < 8 => ids.push(lanes.add(berth())),
                    1 | 2 => {
                        let lane = random(ids.len());
                        let frame = format!("{lane}:{step}:{}", "x".repeat(random(300)));
                        lanes.get(ids[lane]).unwrap().push(Kind::Answer, text(&frame));
                        pushed[lane].push(frame);
                    }
                    _ => {
                        let (frames, skip) = lanes.front(1 + random(5));
                        let bytes: Vec<u8> =
                            frames.iter().flat_map(|(header, payload)| [header.as_bytes(), payload].concat()).collect();
                        let written = random(bytes.len() - skip + 1);
                        stream.extend(&bytes[skip..skip + written]);
                        lanes.advance(written);
                    }
                }
            }
            // The rest, and the close frame behind all of it.
            lanes.push_close(Some(1000), "");
            let (frames, skip) = lanes.front(usize::MAX);
            stream.extend(&frames.iter().flat_map(|(h, p)| [h.as_bytes(), p].concat()).collect::<Vec<u8>>()[skip..]);
            let mut written = vec![Vec::new(); 8];
            let mut rest = &stream[..];
            while rest[0] == 0x81 {
                let (head, len) = match rest[1] {
                    126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                    short => (2, usize::from(short)),
                };
                let frame = String::from_utf8(rest[head..head + len].to_vec()).unwrap();
                written[frame.split_once(':').unwrap().0.parse::<usize>().unwrap()].push(frame);
                rest = &rest[head + len..];
            }
            assert_eq!(rest, [0x88, 2, 3, 232], "the close frame is the last");
            assert_eq!(written, pushed);
        }
    }

    #[test]
    fn a_lane_goes_when_nothing_waits_on_it_and_the_others_keep_their_turns() {
        let mut lanes = Lanes::default();
        lanes.split(berth());
        let (first, second) = (lanes.add(berth()), lanes.add(berth()));
        lanes.get(first).unwrap().push(Kind::Answer, text("a"));
        lanes.get(second).unwrap().push(Kind::Answer, text("b"));
        assert!(!lanes.remove(first));
        assert_eq!(write(&mut lanes, 1), ["a"]);
        assert!(lanes.remove(first) && lanes.get(first).is_none());
        assert_eq!(write(&mut lanes, 64), ["b"]);
        assert!(!lanes.remove(first), "it is gone");
    }
}
