use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use partysync_model::Db;
use partysync_protocol::v2::{self, Welcome};
use partysync_protocol::{Cursor, ErrorCode, Fault, Millis, Version, WireError, limits, v1};

use crate::away::Away;
use crate::channel::ChannelTable;
use crate::clients::Clients;
use crate::connection::{Connection, Connections, Joined, Protocol};
use crate::event::{ConnectionId, Effect, Event, Frame, Input, Report};
use crate::instance::Instance;
use crate::lifecycle::{self, Hook, Received};
use crate::observe::Watch;
use crate::outbox::{Outbox, Settlement};
use crate::purge::{self, Timers};
use crate::reply::{ActionReply, Reply};
use crate::snapshots::Snapshots;
use crate::sockets::Members;
use crate::step::{ActionWork, Hooked, Outcome, Ran, Sender, Work};
use crate::store::Head;
use crate::{Admission, Applied, ConnectionInfo, SyncServer, Vetted};

/// How long after an alarm failed it runs again; doubled for each time it failed before.
const ALARM_RETRY_MS: Millis = 2_000;

/// How often that is doubled at the most.
const ALARM_RETRY_DOUBLINGS: u32 = 6;

/// A room's address: its party and its name, both as they stand in a URL's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName {
    address: String,
    party_len: usize,
}

impl RoomName {
    /// The room `room` of the party `party`.
    pub fn new(party: &str, room: &str) -> Self {
        RoomName { address: format!("{party}/{room}"), party_len: party.len() }
    }

    /// The room with this address, if it is one.
    pub fn from_address(address: &str) -> Option<Self> {
        address.split_once('/').map(|(party, room)| RoomName::new(party, room))
    }

    /// `party/room`, as frames name it (SPEC 8.3).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The party.
    pub fn party(&self) -> &str {
        &self.address[..self.party_len]
    }

    /// The room's raw name.
    pub fn room(&self) -> &str {
        &self.address[self.party_len + 1..]
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// One room. See the crate's documentation for how it is driven.
pub struct Room<S, D> {
    pub(crate) name: RoomName,
    pub(crate) db: D,
    pub(crate) channels: Vec<ChannelTable>,
    pub(crate) instance: Instance<S>,
    pub(crate) clients: Clients,
    pub(crate) connections: Connections,
    pub(crate) away: Away,
    /// The same sockets, as the steps see them.
    pub(crate) members: Members,
    pub(crate) snapshots: Snapshots,
    pub(crate) head: Head,
    pub(crate) floor: Version,
    /// The highest version at which a client was stored that has been dropped since.
    pub(crate) dropped: Option<Version>,
    pub(crate) input: Input,
    /// The cursor that the database had as the room was opened, before `on_start`.
    pub(crate) opened_at: Cursor,
    pub(crate) timers: Timers,
    pub(crate) watch: Watch,
    pub(crate) outbox: Outbox,
    /// So many groups to come are not tried without savepoints.
    pub(crate) groups_with_savepoints: u8,
    /// The alarm that the home was asked for.
    pub(crate) wake_at: Option<Millis>,
    /// How often `on_alarm` failed since it last succeeded.
    pub(crate) alarm_failures: u32,
    /// When it runs again after a failure.
    pub(crate) alarm_retry_at: Option<Millis>,
    /// See [`Room::set_socket_rooms`].
    pub(crate) socket_rooms: usize,
    /// See [`Room::home_sees_backlogs`].
    pub(crate) sees_backlogs: bool,
    /// See [`Room::must_reopen`].
    pub(crate) must_reopen: bool,
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Handles a batch of events. All effects appear after what they reflect is durable; they are to be carried out in
    /// order. An effect may name a connection that is closed by then.
    pub fn handle(&mut self, input: Input, events: Vec<Event>, effects: &mut Vec<Effect>) {
        self.input = input;
        let before = self.head.cursor;
        let mut works = Vec::new();
        let replies: Vec<Reply> = events.into_iter().flat_map(|event| self.route(event, &mut works)).collect();
        let mut ran = Vec::with_capacity(works.len());
        for group in works.chunks(limits::GROUP_ACTIONS) {
            ran.extend(self.run_group(group));
        }
        self.watch.settled(&replies, &ran);
        self.snapshots.look_after(&ran, input.now);
        self.reply_all(before, replies, &works, &ran, effects);
        effects.extend(works.iter().zip(&ran).filter_map(|(work, ran)| self.applied(work, ran)));
        for (work, ran) in works.iter().zip(&ran) {
            if let Work::Settle(settlement) = work {
                self.item_settled(*settlement, ran);
            }
        }
        effects.extend(ran.iter().filter_map(|r| r.report.clone()).map(Effect::Report));
        self.keep_house(effects);
    }

    /// Whether the database failed in a way after which only what is on disk can be believed: a commit whose sync failed may have
    /// left anything there, whatever the connection to it believes. The home then carries out the effects, takes the room out of
    /// memory with [`hibernate`](Self::hibernate), opens it anew and restores its sockets. Until then no step is run: all are
    /// answered with `storage_failed`, and settled is none of them.
    pub fn must_reopen(&self) -> bool {
        self.must_reopen
    }

    /// How many rooms one of the home's sockets may carry, this one among them: what `welcome` says. It is 1 unless the home says
    /// otherwise, which then takes each frame to the room that it names.
    pub fn set_socket_rooms(&mut self, rooms: usize) {
        self.socket_rooms = rooms;
    }

    /// The home sees what of the frames that a socket was sent is not read yet: then clients need say only now and then what they
    /// have (SPEC 8.25).
    pub fn home_sees_backlogs(&mut self) {
        self.sees_backlogs = true;
    }

    /// The cursor of the room's newest version.
    pub fn cursor(&self) -> Cursor {
        self.head.cursor
    }

    /// The room's address.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// How many sockets the room has.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The database, for tests and tools. Whoever writes to it goes behind the room's back.
    pub fn db_mut(&mut self) -> &mut D {
        &mut self.db
    }

    /// Gives the database back: the room leaves memory.
    pub fn into_db(self) -> D {
        self.db
    }

    /// Reads an event; notes what is to be run and what is to be answered.
    fn route(&mut self, event: Event, works: &mut Vec<Work>) -> Option<Reply> {
        match event {
            Event::Opened { connection, info } => self.opened(connection, info, None, works),
            Event::OpenedV2 { connection, info, is_further } => self.opened(connection, info, Some(is_further), works),
            Event::Restored { connection, state } => Some(self.restored(connection, state)),
            Event::Closed { connection, code, reason } => {
                if let Some(gone) = self.connections.close(connection) {
                    self.remember(&gone, code);
                }
                Some(lifecycle::ask(works, Hook::Close { connection, code, reason }))
            }
            Event::CatchUp { connection, since } => Some(Reply::CatchUp { connection, since }),
            Event::Quiet { connection } => {
                let may_be_v1 = self.connections.get_mut(connection)?.protocol.synced().is_some();
                may_be_v1.then_some(Reply::Volunteer(connection))
            }
            Event::Delivered { key } => settle(&key, true, works),
            Event::DeliverFailed { key } => settle(&key, false, works),
            Event::Request { request, what } => Some(lifecycle::ask(works, Hook::Request(request, what))),
            Event::Alarm => {
                // The home has no alarm any more: it is told anew when to ring.
                self.wake_at = None;
                works.extend(self.overdue_item().map(Work::Settle));
                works.push(Work::Alarm);
                Some(Reply::Alarm(works.len() - 1))
            }
            Event::Binary { connection, bytes } => {
                let c = self.connections.get_mut(connection)?;
                match c.protocol {
                    Protocol::Greeting => return Some(no_hello(connection)),
                    Protocol::Unknown { synced } => speaks_v1(c, synced),
                    _ => {}
                }
                let counts = !matches!(c.protocol, Protocol::Closing);
                counts.then(|| lifecycle::ask(works, Hook::Message(connection, Received::Binary(bytes))))
            }
            Event::Text { connection, text } => self.text(connection, &text, works),
            Event::Vetted { connection, text, vetted } => self.vetted(connection, &text, vetted, works),
        }
    }

    /// `v2`: whether it is a further room of the socket, if it is known to speak version 2.
    fn opened(
        &mut self,
        connection: ConnectionId,
        info: ConnectionInfo,
        v2: Option<bool>,
        works: &mut Vec<Work>,
    ) -> Option<Reply> {
        if self.connections.len() >= limits::ROOM_CONNECTIONS {
            return Some(Reply::Close(connection, 1013, "the room is full"));
        }
        let info = Arc::new(info);
        match v2 {
            None => self.connections.open(connection, Arc::clone(&info)),
            Some(is_further) => self.connections.open_v2(connection, Arc::clone(&info), is_further),
        }
        Some(lifecycle::ask(works, Hook::Connect(connection, info)))
    }

    /// A frame that the app had a say in.
    fn vetted(&mut self, connection: ConnectionId, text: &str, vetted: Vetted, works: &mut Vec<Work>) -> Option<Reply> {
        match vetted {
            Vetted::Action { prepared, tell } => {
                let reply = self.text(connection, text, works);
                if let (Some(Reply::Action { work, .. }), Some(Work::Action(action))) = (&reply, works.last_mut()) {
                    debug_assert_eq!(*work, action.place, "the action's own work is the last");
                    action.hooked = Some(Box::new(Hooked { prepared, tell }));
                }
                reply
            }
            Vetted::Join(answer) => {
                let Connection { protocol: Protocol::V2 { .. }, info, .. } = self.connections.get_mut(connection)?
                else {
                    // To version 1 it is no join.
                    return self.text(connection, text, works);
                };
                match answer {
                    Ok(admission) => {
                        admit(connection, info, &admission, works);
                        self.text(connection, text, works)
                    }
                    Err(error) => self.put_out(connection, error),
                }
            }
            Vetted::Token(answer) => self.renew(connection, text, answer, works),
        }
    }

    /// A version 2 client proved anew who it is, or did not (SPEC 13.10).
    fn renew(
        &mut self,
        connection: ConnectionId,
        text: &str,
        answer: Result<Admission, WireError>,
        works: &mut Vec<Work>,
    ) -> Option<Reply> {
        let Connection { protocol: Protocol::V2 { joined }, info, .. } = self.connections.get_mut(connection)? else {
            return self.text(connection, text, works);
        };
        match answer {
            Ok(admission) if admission.identity() == info.identity.as_deref() => {
                admit(connection, info, &admission, works);
                self.text(connection, text, works)
            }
            _ if joined.is_none_or(|joined| joined.is_leaving) => self.text(connection, text, works),
            // What it has asked for is somebody's: it does not become another's.
            Ok(_) => self.put_out(connection, ErrorCode::NotAllowed.into()),
            Err(error) if error.fault == Fault::Client => self.put_out(connection, error),
            // The door could not say. Until its time is over it is who it was.
            Err(error) => {
                let message = v2::ErrorMessage { room: Some(self.name.address().into()), error };
                Some(Reply::Frame(connection, v2::encode(&message).into()))
            }
        }
    }

    /// A version 2 client is not let in, or not any more. At once: nothing behind it in the batch is of somebody in the room.
    fn put_out(&mut self, connection: ConnectionId, error: WireError) -> Option<Reply> {
        self.connections.set_joined(connection, None);
        Some(Reply::Leave(connection, Some(error)))
    }

    fn text(&mut self, connection: ConnectionId, text: &str, works: &mut Vec<Work>) -> Option<Reply> {
        let c = self.connections.get_mut(connection)?;
        if let Protocol::Unknown { synced } = c.protocol {
            if v2::Up::is_hello(text) {
                let reply =
                    hello(self.name.address(), welcome(self.socket_rooms, self.sees_backlogs), connection, c, text);
                // It may have been volunteered version 1's updates.
                self.connections.listeners_changed();
                return Some(reply);
            }
            speaks_v1(c, synced);
        }
        match c.protocol {
            Protocol::Greeting if v2::Up::is_hello(text) => {
                Some(hello(self.name.address(), welcome(self.socket_rooms, self.sees_backlogs), connection, c, text))
            }
            Protocol::Greeting => Some(no_hello(connection)),
            Protocol::V2 { .. } => Some(self.v2_frame(connection, text, works)),
            Protocol::Closing => None,
            _ => Some(self.v1_frame(connection, text, works)),
        }
    }

    fn v1_frame(&mut self, connection: ConnectionId, text: &str, works: &mut Vec<Work>) -> Reply {
        let bad = |code: ErrorCode| Reply::Frame(connection, v1::exception(code.text()).into());
        let (id, channel, action) = match v1::Up::parse(text) {
            // None of ours: it may be the app's.
            Err(v1::BadFrame) => {
                return lifecycle::ask(works, Hook::Message(connection, Received::Text(text.to_owned())));
            }
            Ok(v1::Up::Sync { channel, from }) => {
                return match self.channel_index(&channel) {
                    Some(channel) => Reply::V1Sync { connection, channel, from },
                    None => bad(ErrorCode::UnknownChannel),
                };
            }
            Ok(v1::Up::Action { id, .. }) if id.get().len() > limits::CALL_ID_BYTES => {
                return bad(ErrorCode::BadMessage);
            }
            Ok(v1::Up::Action { id, channel, action }) => (id.get(), channel, action.get()),
        };
        let Some(index) = self.channel_index(&channel) else {
            let error = v1::error(&channel, id, ErrorCode::UnknownChannel.text());
            return Reply::Frame(connection, error.into());
        };
        let info = self.connections.get_mut(connection).map(|c| c.info.clone()).unwrap_or_default();
        works.push(Work::Action(ActionWork {
            connection,
            // Null names nothing: two calls with it are two calls.
            sender: Sender::Keyed {
                key: info.key.clone().filter(|k| !k.is_empty() && id != "null"),
                call: id.to_owned(),
            },
            channel: Ok(index),
            place: works.len(),
            action: action.to_owned(),
            author: info.identity.clone(),
            data: info.data.clone(),
            hooked: None,
        }));
        Reply::Action {
            connection,
            work: works.len() - 1,
            reply: ActionReply::V1 { channel: index, id: id.to_owned() },
        }
    }

    fn v2_frame(&mut self, connection: ConnectionId, text: &str, works: &mut Vec<Work>) -> Reply {
        let error = |room: Option<&str>, code: ErrorCode| {
            let message = v2::ErrorMessage { room: room.map(Cow::from), error: code.into() };
            Reply::Frame(connection, v2::encode(&message).into())
        };
        let Ok(up) = v2::Up::parse(text) else {
            return self
                .unreadable_action(connection, text, works)
                .unwrap_or_else(|| error(None, ErrorCode::BadMessage));
        };
        let room = match &up {
            v2::Up::Hello { .. } => return error(None, ErrorCode::BadMessage),
            v2::Up::Ping => return Reply::Frame(connection, v2::pong().into()),
            v2::Up::Join { room, .. } => {
                if **room != *self.name.address() {
                    let error = Some(ErrorCode::TooManyRooms.into());
                    let left = v2::Left { room: Cow::from(&**room), error };
                    return Reply::Frame(connection, v2::encode(&left).into());
                }
                room
            }
            v2::Up::Action { room, .. }
            | v2::Up::Have { room, .. }
            | v2::Up::Message { room, .. }
            | v2::Up::Leave { room }
            | v2::Up::Token { room, .. } => room,
        };
        let Some(Connection { protocol: Protocol::V2 { joined }, info, .. }) = self.connections.get_mut(connection)
        else {
            return Reply::None;
        };
        let in_room = **room == *self.name.address() && !joined.is_some_and(|joined| joined.is_leaving);
        match (up, joined) {
            (v2::Up::Join { client, cursor, born, .. }, joined) => {
                // One that is live and joins again still gets what it asked for before.
                let live = joined.is_some_and(|joined| joined.live);
                *joined = Some(Joined { client, known: 0, born, is_newborn: born.is_none(), live, is_leaving: false });
                Reply::Join { connection, client, cursor, born }
            }
            (v2::Up::Action { number, channel, action, .. }, Some(joined)) if in_room => {
                let Joined { client, known, .. } = *joined;
                let sender = Sender::Numbered { client, number, known, born: joined.birth() };
                let (author, data) = (info.identity.clone(), info.data.clone());
                let action = action.get().to_owned();
                let channel = self.channel_index(&channel).ok_or(ErrorCode::UnknownChannel);
                works.push(Work::Action(ActionWork {
                    connection,
                    sender,
                    channel,
                    place: works.len(),
                    action,
                    author,
                    data,
                    hooked: None,
                }));
                Reply::Action { connection, work: works.len() - 1, reply: ActionReply::V2 { number } }
            }
            (v2::Up::Have { version, number, .. }, Some(joined)) if in_room => {
                // What is not settled yet nobody has: believed, it would be forgotten as soon as it is (SPEC 6.6).
                let settled = self.clients.last(&mut self.db, joined.client);
                joined.known = joined.known.max(number.min(settled));
                Reply::Has(connection, version)
            }
            (v2::Up::Message { text, .. }, Some(_)) if in_room => {
                lifecycle::ask(works, Hook::Message(connection, Received::Text(text.into_owned())))
            }
            (v2::Up::Leave { .. }, Some(joined)) if in_room => {
                joined.is_leaving = true;
                Reply::Leave(connection, None)
            }
            // There is no door that would ask for it.
            (v2::Up::Token { .. }, Some(_)) if in_room => Reply::None,
            (
                v2::Up::Action { room, .. }
                | v2::Up::Have { room, .. }
                | v2::Up::Message { room, .. }
                | v2::Up::Leave { room }
                | v2::Up::Token { room, .. },
                _,
            ) => error(Some(&room), ErrorCode::NotJoined),
            (v2::Up::Hello { .. } | v2::Up::Ping, _) => Reply::None,
        }
    }

    /// An action that cannot be read but has a number: it is refused for good, or those after it would never be run.
    fn unreadable_action(&mut self, connection: ConnectionId, text: &str, works: &mut Vec<Work>) -> Option<Reply> {
        let (room, number) = v2::Up::unreadable_action(text)?;
        let Connection { protocol: Protocol::V2 { joined: Some(joined) }, info, .. } =
            self.connections.get_mut(connection)?
        else {
            return None;
        };
        if joined.is_leaving || *room != *self.name.address() {
            return None;
        }
        let Joined { client, known, .. } = *joined;
        let sender = Sender::Numbered { client, number, known, born: joined.birth() };
        let channel = Err(ErrorCode::BadMessage);
        let (author, data) = (info.identity.clone(), info.data.clone());
        works.push(Work::Action(ActionWork {
            connection,
            sender,
            channel,
            place: works.len(),
            action: String::new(),
            author,
            data,
            hooked: None,
        }));
        Some(Reply::Action { connection, work: works.len() - 1, reply: ActionReply::V2 { number } })
    }

    /// What the home wants to know of an action that made a version.
    fn applied(&self, work: &Work, ran: &Ran) -> Option<Effect> {
        let (Work::Action(work), Outcome::Applied { version, own: true }) = (work, &ran.outcome) else { return None };
        work.hooked.as_ref().filter(|hooked| hooked.tell)?;
        let channel = self.channels.get(work.channel.ok()?)?.name.clone();
        Some(Effect::Applied(Box::new(Applied {
            room: self.name.clone(),
            channel,
            action: work.action.clone(),
            author: work.author.clone(),
            data: work.data.clone(),
            version: *version,
        })))
    }

    pub(crate) fn channel_index(&self, name: &str) -> Option<usize> {
        self.channels.iter().position(|c| c.name == name)
    }

    /// What is to be done after each batch: timers, the purge, the home's alarm.
    fn keep_house(&mut self, effects: &mut Vec<Effect>) {
        if self.must_reopen {
            return;
        }
        let kept = purge::schedule(self).and_then(|()| self.hand_out(effects)).and_then(|()| self.next_wake());
        match kept {
            Ok(next) if next != self.wake_at => {
                self.wake_at = next;
                effects.push(Effect::WakeAt(next));
            }
            Ok(_) => {}
            Err(error) => {
                self.distrust(Some(&error));
                effects.push(Effect::Report(Report { during: "timers", error: error.to_string() }));
                self.wake_at = Some(self.input.now + ALARM_RETRY_MS);
                effects.push(Effect::WakeAt(self.wake_at));
            }
        }
    }

    /// Notes the outcome of `on_alarm`: it stays due until it succeeds.
    pub(crate) fn alarm_done(&mut self, ran: &Ran) {
        if matches!(ran.outcome, Outcome::Applied { .. }) {
            self.alarm_failures = 0;
            self.alarm_retry_at = None;
        } else {
            let delay = ALARM_RETRY_MS << self.alarm_failures.min(ALARM_RETRY_DOUBLINGS);
            self.alarm_failures += 1;
            self.alarm_retry_at = Some(self.input.now + delay);
        }
    }
}

/// Notes word of an item of the outbox. A key that is none of ours is nobody's.
fn settle(key: &str, delivered: bool, works: &mut Vec<Work>) -> Option<Reply> {
    works.push(Work::Settle(Settlement::of(key, delivered)?));
    None
}

fn welcome(rooms: usize, sees_backlogs: bool) -> Welcome {
    Welcome {
        version: v2::VERSION,
        rooms,
        ping_ms: limits::PING_MS,
        have_patches: sees_backlogs.then_some(limits::HAVE_SEEN_PATCHES),
        have_ms: sees_backlogs.then_some(limits::HAVE_SEEN_MS),
        frame_bytes: limits::FRAME_BYTES,
    }
}

/// The door let somebody in who is there: it is as that from now on.
fn admit(connection: ConnectionId, info: &mut Arc<ConnectionInfo>, admission: &Admission, works: &mut Vec<Work>) {
    *info = Arc::new(ConnectionInfo {
        key: info.key.clone(),
        identity: admission.identity().map(str::to_owned),
        data: admission.data().cloned(),
    });
    lifecycle::ask(works, Hook::Admit(connection, Arc::clone(info)));
}

/// The answer to a connection's first frame, which asks for version 2. What the app sent before it follows in that version's
/// way (SPEC 14.6).
fn hello(room: &str, welcome: Welcome, connection: ConnectionId, c: &mut Connection, text: &str) -> Reply {
    match v2::Up::parse(text) {
        Ok(v2::Up::Hello { versions }) if versions.contains(&v2::VERSION) => {
            c.protocol = Protocol::V2 { joined: None };
            let early = std::mem::take(&mut c.early);
            let messages = early.iter().map(|text| v2::message(room, text));
            let frames = std::iter::once(v2::encode(&welcome)).chain(messages);
            Reply::Frames(connection, frames.map(Frame::from).collect())
        }
        _ => Reply::Close(connection, 4400, "no protocol version in common"),
    }
}

/// A first frame that is no `hello` makes the connection one of version 1, for good.
fn speaks_v1(c: &mut Connection, synced: u64) {
    c.protocol = Protocol::V1 { synced };
    c.early = Vec::new();
}

/// The answer to another first frame than `hello`, on a socket that speaks version 2 by its subprotocol.
fn no_hello(connection: ConnectionId) -> Reply {
    Reply::Close(connection, 4400, "the first frame must be hello")
}
