//! How a room leaves memory while its sockets stay open, and how it finds them again (P12).

use std::sync::Arc;

use partysync_model::{Db, DbError};
use partysync_protocol::{ClientId, Cursor, Millis, Stamp, Version, limits, v2};

use crate::away::{self, Arrival};
use crate::channel::{self, ChannelTable};
use crate::connection::{Connection, Joined, Protocol};
use crate::event::{ConnectionId, Frame};
use crate::kept::{KeptReader, KeptWriter};
use crate::reply::Reply;
use crate::sockets::Member;
use crate::sorted::SortedMap;
use crate::{ConnectionInfo, Room, SyncServer, store};

/// All that a room has to know of a socket when it wakes, for the home to keep meanwhile.
///
/// As text it is at most [`limits::CONNECTION_BYTES`](partysync_protocol::limits::CONNECTION_BYTES) long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    info: ConnectionInfo,
    spoken: Spoken,
    /// What the room had when it left memory; absent: it left without a word, and had what is on disk.
    held: Option<Cursor>,
    /// What is known to have arrived: up to a version, of the channels with these stored numbers.
    arrived: Option<(Version, Vec<i64>)>,
    /// The channels with these stored numbers that its page is known to have asked for; absent: all of which it gets updates.
    asked: Option<Vec<i64>>,
    /// The channels with these stored numbers that it was volunteered and has not asked for since, and when.
    volunteered: Option<(Vec<i64>, Millis)>,
    /// Another one of its page took its place.
    followed: bool,
    tags: Vec<String>,
    /// The app's.
    state: Option<Arc<str>>,
    /// See [`Event::OpenedV2`](crate::Event::OpenedV2).
    is_further: bool,
}

/// What a socket spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spoken {
    Nothing,
    /// Nothing, and was volunteered the channels with these stored numbers.
    Volunteered(Vec<i64>),
    /// Version 1, with the stored numbers of the channels that it has had an answer for.
    V1(Vec<i64>),
    /// Nothing yet, and version 2 it must be.
    Greeting,
    /// Version 2, not in the room.
    V2,
    Joined {
        client: ClientId,
        known: u64,
        born: Option<Version>,
    },
    /// Nothing that it sends counts any more.
    Closing,
}

/// The text is not what [`ConnectionState::to_text`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a connection")]
pub struct InvalidState;

/// What such a text begins with. It is to be another one whenever the fields are others.
const FORM: u32 = 1;

impl ConnectionState {
    /// As text, for a home that keeps it outside of memory. It holds secrets: a client's id.
    pub fn to_text(&self) -> String {
        let mut kept = KeptWriter::new();
        kept.plain(FORM);
        write_info(&mut kept, &self.info);
        self.spoken.write(&mut kept);
        kept.option(self.held, |kept, Cursor { version, stamp }| {
            kept.plain(version);
            kept.plain(stamp.get());
        });
        kept.option(self.arrived.as_ref(), |kept, (version, numbers)| {
            kept.plain(version);
            write_numbers(kept, numbers);
        });
        kept.option(self.asked.as_deref(), write_numbers);
        kept.option(self.volunteered.as_ref(), |kept, (numbers, at)| {
            write_numbers(kept, numbers);
            kept.plain(at);
        });
        kept.flag(self.followed);
        write_tags(&mut kept, &self.tags);
        kept.option(self.state.as_deref(), KeptWriter::text);
        kept.flag(self.is_further);
        kept.finish()
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`InvalidState`] if it is something else, or of another version of this library: then the socket is to be closed with 1012.
    pub fn from_text(text: &str) -> Result<Self, InvalidState> {
        let mut kept = KeptReader::new(text);
        let read = Self::read(&mut kept).filter(|_| kept.is_done());
        read.ok_or(InvalidState)
    }

    fn read(kept: &mut KeptReader<'_>) -> Option<Self> {
        let FORM = kept.plain()? else { return None };
        Some(ConnectionState {
            info: read_info(kept)?,
            spoken: Spoken::read(kept)?,
            held: kept
                .option(|kept| Some(Cursor { version: kept.plain()?, stamp: Stamp::from_stored(kept.plain()?)? }))?,
            arrived: kept.option(|kept| Some((kept.plain()?, read_numbers(kept)?)))?,
            asked: kept.option(read_numbers)?,
            volunteered: kept.option(|kept| Some((read_numbers(kept)?, kept.plain()?)))?,
            followed: kept.flag()?,
            tags: kept.list(|kept| kept.text().map(str::to_owned))?,
            state: kept.option(read_shared)?,
            is_further: kept.flag()?,
        })
    }

    /// The answer to a frame for which the room need not wake: a ping.
    pub fn answer_asleep(&self, text: &str) -> Option<Frame> {
        let is_v2 = matches!(self.spoken, Spoken::V2 | Spoken::Joined { .. });
        (is_v2 && v2::Up::is_ping(text)).then(|| v2::pong().into())
    }

    /// Who it is, and what is known of it.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Whether the socket is a version 2 client's in the room, which says what it has (SPEC 8.25).
    pub fn says_what_it_has(&self) -> bool {
        matches!(self.spoken, Spoken::Joined { .. })
    }

    /// Whether the room wakes for an [`Event::Quiet`](crate::Event::Quiet): unless the socket is known not to speak version 1.
    pub fn minds_quiet(&self) -> bool {
        matches!(self.spoken, Spoken::Nothing | Spoken::Volunteered(_) | Spoken::V1(_))
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Leaves memory. Gives back what it has to know of its sockets, which stay open, and the database. To wake it, open it again
    /// and hand it an [`Event::Restored`](crate::Event::Restored) for each, before anything else.
    pub fn hibernate(mut self) -> (Vec<(ConnectionId, ConnectionState)>, D) {
        let held = Some(self.head.cursor);
        let channels = std::mem::take(&mut self.channels);
        let all = self.connections.take_all();
        self.keep_away(&all, &channels);
        let states = all
            .iter()
            .map(|(id, connection)| (*id, state(connection, self.members.get(*id), held, &channels)))
            .collect();
        (states, self.db)
    }

    /// What the room has to know of a socket that it has, should it leave memory now. For a home that loses a room from memory without a
    /// word: it keeps this whenever [`touched`](Self::touched) says that it may be another, and hands it in as after
    /// [`hibernate`](Self::hibernate), to a room whose sockets were told all that is on disk.
    pub fn connection_state(&self, connection: ConnectionId) -> Option<ConnectionState> {
        Some(state(self.connections.get(connection)?, self.members.get(connection), None, &self.channels))
    }

    /// The sockets, open or not, of which something may have changed since this was last called. To be called once as the room is opened:
    /// before that nothing is noted.
    pub fn touched(&mut self) -> Vec<ConnectionId> {
        let mut touched = self.connections.take_touched();
        touched.extend(self.members.take_touched());
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Writes down who is away, and all who are there, for they may be gone when the room is back.
    fn keep_away(&mut self, there: &SortedMap<ConnectionId, Connection>, channels: &[ChannelTable]) {
        // Only what is on disk can be believed: there it stays as it was, which is less, or nothing.
        if self.must_reopen {
            return;
        }
        for connection in there.values().filter(|c| c.protocol.synced().is_some_and(|synced| synced != 0)) {
            self.remember(connection, None);
        }
        // If it cannot be written, some will be unknown when they come back.
        let _ = self.away.save(&mut self.db, channels);
    }

    /// A socket is there again. What it missed was made by `on_start` as the room woke.
    pub(crate) fn restored(&mut self, id: ConnectionId, state: ConnectionState) -> Reply {
        let ConnectionState { info, spoken, held, arrived, asked, volunteered, followed, tags, state, is_further } =
            state;
        let info = Arc::new(info);
        let protocol = match spoken {
            Spoken::Nothing => Protocol::Unknown { synced: 0 },
            Spoken::Volunteered(numbers) => Protocol::Unknown { synced: channel::bits(&self.channels, &numbers) },
            Spoken::V1(numbers) => Protocol::V1 { synced: channel::bits(&self.channels, &numbers) },
            Spoken::Greeting => Protocol::Greeting,
            Spoken::V2 => Protocol::V2 { joined: None },
            Spoken::Joined { client, known, born } => {
                let joined = Joined { client, known, born, is_newborn: false, live: true, is_leaving: false };
                Protocol::V2 { joined: Some(joined) }
            }
            Spoken::Closing => Protocol::Closing,
        };
        match self.changed_after(protocol, held.unwrap_or(self.opened_at)) {
            Ok(Some(frames)) => {
                if !matches!(protocol, Protocol::Closing) {
                    self.members.arrive(id, Member::restored(Arc::clone(&info), tags, state));
                    self.members.commit();
                }
                let arrival = arrived
                    .map(|(version, numbers)| Arrival { version, channels: channel::bits(&self.channels, &numbers) });
                let bits = |numbers: Vec<i64>| channel::bits(&self.channels, &numbers);
                let asked = asked.map_or(protocol.synced().unwrap_or_default(), bits);
                let volunteered = volunteered.map_or((0, 0), |(numbers, at)| (bits(numbers), at));
                let new = Connection::new(info, protocol);
                let connection = Connection { is_further, arrival, asked, volunteered, is_followed: followed, ..new };
                self.is_there(&connection);
                self.connections.restore(id, connection);
                Reply::Frames(id, frames)
            }
            Ok(None) | Err(_) => {
                self.connections.restore(id, Connection::new(info, Protocol::Closing));
                Reply::Close(id, 1012, "the room changed while it was asleep")
            }
        }
    }

    /// The opposite of [`keep_away`](Self::keep_away).
    fn is_there(&mut self, connection: &Connection) {
        if connection.protocol.synced().is_some_and(|synced| synced != 0)
            && !connection.is_followed
            && let Some(name) = away::name(&connection.info)
        {
            self.away.come_back(&name);
        }
    }

    /// What leads a socket from a cursor to the room's newest version. `None` if its history is another one.
    fn changed_after(&mut self, protocol: Protocol, held: Cursor) -> Result<Option<Vec<Frame>>, DbError> {
        if held == self.head.cursor {
            return Ok(Some(Vec::new()));
        }
        let is_ours = store::head_at(&mut self.db, held.version)?.is_some_and(|head| head.cursor == held);
        if held.version < self.floor || !is_ours {
            return Ok(None);
        }
        self.changed_since(protocol, held.version)
    }
}

/// What is to be known of a socket when the room is back.
fn state(c: &Connection, member: Option<Member>, held: Option<Cursor>, channels: &[ChannelTable]) -> ConnectionState {
    let spoken = match c.protocol {
        Protocol::Unknown { synced: 0 } => Spoken::Nothing,
        Protocol::Unknown { synced } => Spoken::Volunteered(channel::numbers(channels, synced)),
        Protocol::V1 { synced } => Spoken::V1(channel::numbers(channels, synced)),
        Protocol::Greeting => Spoken::Greeting,
        Protocol::V2 { joined: None } => Spoken::V2,
        Protocol::V2 { joined: Some(Joined { client, known, born, .. }) } => Spoken::Joined { client, known, born },
        Protocol::Closing => Spoken::Closing,
    };
    let Member { tags, state, .. } = member.unwrap_or_else(|| Member::new(Arc::clone(&c.info)));
    let arrived = c.arrival.map(|arrival| (arrival.version, channel::numbers(channels, arrival.channels)));
    let gets_more = c.protocol.synced().is_some_and(|synced| synced != c.asked);
    let asked = gets_more.then(|| channel::numbers(channels, c.asked));
    let (of, at) = c.volunteered;
    let volunteered = (of != 0).then(|| (channel::numbers(channels, of), at));
    let (info, followed, is_further) = ((*c.info).clone(), c.is_followed, c.is_further);
    ConnectionState { info, spoken, held, arrived, asked, volunteered, followed, tags, state, is_further }
}

impl Spoken {
    fn write(&self, kept: &mut KeptWriter) {
        let kind = match self {
            Spoken::Nothing => 0,
            Spoken::Volunteered(_) => 1,
            Spoken::V1(_) => 2,
            Spoken::Greeting => 3,
            Spoken::V2 => 4,
            Spoken::Joined { .. } => 5,
            Spoken::Closing => 6,
        };
        kept.plain(kind);
        match self {
            Spoken::Volunteered(numbers) | Spoken::V1(numbers) => write_numbers(kept, numbers),
            Spoken::Joined { client, known, born } => {
                kept.plain(client);
                kept.plain(known);
                kept.option(*born, KeptWriter::plain);
            }
            Spoken::Nothing | Spoken::Greeting | Spoken::V2 | Spoken::Closing => {}
        }
    }

    fn read(kept: &mut KeptReader<'_>) -> Option<Self> {
        Some(match kept.plain::<u32>()? {
            0 => Spoken::Nothing,
            1 => Spoken::Volunteered(read_numbers(kept)?),
            2 => Spoken::V1(read_numbers(kept)?),
            3 => Spoken::Greeting,
            4 => Spoken::V2,
            5 => Spoken::Joined { client: kept.plain()?, known: kept.plain()?, born: kept.option(KeptReader::plain)? },
            6 => Spoken::Closing,
            _ => return None,
        })
    }
}

fn write_info(kept: &mut KeptWriter, ConnectionInfo { key, identity, data }: &ConnectionInfo) {
    for text in [key.as_deref(), identity.as_deref(), data.as_deref()] {
        kept.option(text, KeptWriter::text);
    }
}

fn read_info(kept: &mut KeptReader<'_>) -> Option<ConnectionInfo> {
    let (key, identity) = (kept.option(read_shared)?, kept.option(read_shared)?);
    let owned = |text: Option<Arc<str>>| text.map(|text| text.to_string());
    Some(ConnectionInfo { key: owned(key), identity: owned(identity), data: kept.option(read_shared)? })
}

fn read_shared(kept: &mut KeptReader<'_>) -> Option<Arc<str>> {
    kept.text().map(Arc::from)
}

fn write_numbers(kept: &mut KeptWriter, numbers: &[i64]) {
    kept.list(numbers, |kept, number| kept.plain(number));
}

fn read_numbers(kept: &mut KeptReader<'_>) -> Option<Vec<i64>> {
    kept.list(KeptReader::plain)
}

fn write_tags(kept: &mut KeptWriter, tags: &[String]) {
    kept.list(tags, |kept, tag| kept.text(tag));
}

/// How much of [`limits::CONNECTION_BYTES`](partysync_protocol::limits::CONNECTION_BYTES) is left for what a socket speaks and holds,
/// and for what the home has to know of it.
const SPOKEN_BYTES: usize = (1 << 10) + limits::HANDSHAKE_BYTES;

/// What a connection's state takes as text, at the most.
pub(crate) fn kept_bytes(member: &Member) -> usize {
    let mut kept = KeptWriter::new();
    write_info(&mut kept, &member.info);
    write_tags(&mut kept, &member.tags);
    kept.option(member.state.as_deref(), KeptWriter::text);
    SPOKEN_BYTES + kept.finish().len()
}
