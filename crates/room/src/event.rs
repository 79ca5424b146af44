use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use partysync_protocol::{Millis, Version};

use crate::{Applied, ConnectionState, OutboxItem, Request, Response, Vetted};

/// One socket, as the home numbers it. Never used twice within a home's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A request, as the home numbers it. Never used twice within a home's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the core does not have itself.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// The time now. It may jump or stand still: no rule needs it to be right.
    pub now: Millis,
    /// 64 random bits, new for each call.
    pub random: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A socket was opened.
    Opened {
        /// Which.
        connection: ConnectionId,
        /// What is known of it.
        info: ConnectionInfo,
    },
    /// A socket was opened that speaks version 2, as the home knows: by its subprotocol, or because it carries another room already.
    OpenedV2 {
        /// Which.
        connection: ConnectionId,
        /// What is known of it.
        info: ConnectionInfo,
        /// It carries another room, where it was welcomed. When it leaves this one, that is for good: see [`Effect::Leave`].
        is_further: bool,
    },
    /// A socket that the room had when it [hibernated](crate::Room::hibernate) is still there.
    Restored {
        /// Which. It may have another id than before.
        connection: ConnectionId,
        /// What the room said of it.
        state: ConnectionState,
    },
    /// A text frame came.
    Text {
        /// On which socket.
        connection: ConnectionId,
        /// The frame, at most [`limits::FRAME_BYTES`](partysync_protocol::limits::FRAME_BYTES) long.
        text: String,
    },
    /// A text frame came that the app had a say in first.
    Vetted {
        /// On which socket.
        connection: ConnectionId,
        /// The frame, as in [`Event::Text`].
        text: String,
        /// What the app said.
        vetted: Vetted,
    },
    /// A binary frame came.
    Binary {
        /// On which socket.
        connection: ConnectionId,
        /// The frame, at most [`limits::FRAME_BYTES`](partysync_protocol::limits::FRAME_BYTES) long.
        bytes: Vec<u8>,
    },
    /// A socket is gone, by whoever's will.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// The code of its close frame, if there was one and the home knows it.
        code: Option<u16>,
        /// The reason in that frame.
        reason: String,
    },
    /// An item of the outbox was delivered.
    Delivered {
        /// [`OutboxItem::key`].
        key: String,
    },
    /// An item of the outbox could not be delivered. It is handed out again, later.
    DeliverFailed {
        /// [`OutboxItem::key`].
        key: String,
    },
    /// A request came that asks for no socket.
    Request {
        /// Which: [`Effect::Respond`] comes in the same call.
        request: RequestId,
        /// What it is.
        what: Request,
    },
    /// A slow reader, for which broadcasts were left out, has read what it got: it is to be told what it missed (SPEC 8.25).
    CatchUp {
        /// Which socket.
        connection: ConnectionId,
        /// The [`since`](Effect::Broadcast::since) of the first broadcast that was left out.
        since: Version,
    },
    /// A socket has been open for [`limits::QUIET_MS`](partysync_protocol::limits::QUIET_MS): what it has not asked for by now it
    /// may have missed (SPEC 12.11). To be sent once a socket, unless the home knows that it speaks version 2.
    Quiet {
        /// Which socket.
        connection: ConnectionId,
    },
    /// The time that [`Effect::WakeAt`] asked for has come, or may have.
    Alarm,
}

impl Event {
    /// A socket of which nothing is known was opened.
    pub fn opened(connection: ConnectionId) -> Self {
        Event::Opened { connection, info: ConnectionInfo::default() }
    }

    /// A socket is gone, without a word.
    pub fn closed(connection: ConnectionId) -> Self {
        Event::Closed { connection, code: None, reason: String::new() }
    }

    /// A text frame came.
    pub fn text(connection: ConnectionId, text: impl Into<String>) -> Self {
        Event::Text { connection, text: text.into() }
    }
}

/// What is known of a socket when it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The id that a version 1 client chose for itself (`_pk`). Empty is none.
    pub key: Option<String>,
    /// Who it is, as the app's door found out. It goes into the log as the author.
    pub identity: Option<String>,
    /// What else the app's door found out, as JSON.
    pub data: Option<Arc<str>>,
}

/// What the home has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Send a text frame.
    Send {
        /// To one socket.
        to: ConnectionId,
        /// The text.
        frame: Frame,
    },
    /// Send one text frame to many.
    Broadcast {
        /// To these sockets,
        to: Arc<[ConnectionId]>,
        /// but not to this one.
        except: Option<ConnectionId>,
        /// It tells what happened after this version: a home that leaves it out for a socket, and all broadcasts that follow, asks with
        /// [`Event::CatchUp`] for what the socket missed.
        since: Version,
        /// The text.
        frame: Frame,
    },
    /// Send many a text frame of the app. It must not be left out: nothing makes up for it.
    Message {
        /// To these sockets.
        to: Arc<[ConnectionId]>,
        /// The text.
        frame: Frame,
    },
    /// Close a socket. If it carries other rooms they go on: it is sent [`Left::of_close`](partysync_protocol::v2::Left::of_close) in
    /// place of that, and forgotten as after [`Effect::Leave`].
    Close {
        /// Which.
        connection: ConnectionId,
        /// The close code (SPEC 8.27).
        code: u16,
        /// In words.
        reason: Cow<'static, str>,
    },
    /// A socket that carries other rooms leaves this one, with this last frame. [`Event::Closed`] is to follow.
    Leave {
        /// Which.
        connection: ConnectionId,
        /// Its `left`.
        frame: Frame,
    },
    /// Send a frame that answers a version 1 socket's action with rows. If news was left out for the socket, and [`Event::CatchUp`] has not come
    /// since, send `bare` in its place, which says the same without rows: they come with what was left out, and not before it (SPEC 12.7).
    Answer {
        /// To whom.
        to: ConnectionId,
        /// The frame.
        frame: Frame,
        /// The frame without rows.
        bare: Frame,
    },
    /// A version 1 socket gets the updates of so many channels from now on for which its page is known to have asked. A home that can prove what
    /// arrives there does so from now on: see [`Arrived`].
    Track {
        /// Which socket.
        connection: ConnectionId,
        /// How many.
        channels: u8,
    },
    /// A version 2 socket says that it holds a version in full, and so has read all that it was sent up to there. For a home that does not see
    /// what waits for a socket (SPEC 8.25).
    Has {
        /// Which socket.
        connection: ConnectionId,
        /// The version.
        version: Version,
    },
    /// Say with [`Room::arrived`](crate::Room::arrived) what is known to have arrived at a socket, if anything is: one that may
    /// have taken its place is there.
    TellArrived {
        /// Which socket.
        connection: ConnectionId,
    },
    /// Deliver an item of the outbox, and say with [`Event::Delivered`] or [`Event::DeliverFailed`] what became of it, within
    /// [`limits::OUTBOX_MS`](partysync_protocol::limits::OUTBOX_MS). Meanwhile the room should not leave memory.
    Deliver(OutboxItem),
    /// Answer a request.
    Respond {
        /// Which.
        request: RequestId,
        /// With what.
        response: Response,
    },
    /// Send [`Event::Alarm`] once, at this time or at once if it is past, instead of the time asked for before; `None`: not
    /// at all. It is sent when the time differs from what was asked for before, and after each alarm.
    WakeAt(Option<Millis>),
    /// Tell the app's hook: an action was applied of which the home wants to know (see [`Vetted::Action`]).
    Applied(Box<Applied>),
    /// Tell the operator.
    Report(Report),
}

/// What is known to have arrived at a version 1 socket (SPEC 12.11): all that it was sent until the room had been at this version,
/// after an [`Effect::Track`] with this number of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The version, all of whose effects had been sent.
    pub version: Version,
    /// The number of channels.
    pub channels: u8,
}

/// A text frame, shared by all that get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Arc<str>);

impl Frame {
    /// The frame's bytes, shared.
    pub fn into_shared(self) -> Arc<str> {
        self.0
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Frame(text.into())
    }
}

impl Deref for Frame {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Something went wrong that no client is to blame for. It may name private data: for the operator's eyes only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was being done.
    pub during: &'static str,
    /// What went wrong.
    pub error: String,
}
