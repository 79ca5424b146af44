//! One socket of a room: what is sent to it, and what is kept with it while the room is not in memory.

use js_sys::{Array, JsString, Uint8Array};
use partysync_protocol::{Millis, Version};
use partysync_room::{Admission, ConnectionId, ConnectionState, KeptReader, KeptWriter};
use wasm_bindgen::{JsCast, JsValue};
use worker::console_error;

use super::gate::Gate;
use crate::handshake::Handshake;
use crate::js::{Context, Socket};
use crate::lag::Reader;

/// A socket of a room in memory.
pub(crate) struct Seat {
    socket: Socket,
    /// What is attached to it, as it was last written.
    attached: Vec<u8>,
    state: Option<ConnectionState>,
    opened: Millis,
    is_quiet_over: bool,
    reader: Reader,
    /// What its frames pass on their way to the room.
    pub(crate) gate: Gate,
}

impl Seat {
    /// A socket that was just opened.
    pub(crate) fn new(socket: Socket, opened: Millis, gate: Gate) -> Self {
        let (attached, reader) = (Vec::new(), Reader::default());
        Seat { socket, attached, state: None, opened, is_quiet_over: false, reader, gate }
    }

    /// One that was there when the room was last in memory. `None`: nothing is known of it.
    pub(crate) fn restore(socket: Socket) -> Option<Self> {
        let bytes = socket.kept().ok()?.dyn_into::<Uint8Array>().ok()?.to_vec();
        let mut kept = KeptReader::new(std::str::from_utf8(&bytes).ok()?);
        let state = ConnectionState::from_text(kept.text()?).ok()?;
        let opened = kept.plain()?;
        let is_quiet_over = kept.flag()?;
        let reader = Reader::lagging(kept.option(KeptReader::plain)?);
        let info = state.info();
        let admission = Admission::restored(info.identity.clone(), info.data.clone(), kept.option(KeptReader::plain)?);
        let (has_spoken, notice_at) = (kept.flag()?, kept.option(KeptReader::plain)?);
        // What has spoken version 1 has no handshake any more.
        let handshake = kept.option(Handshake::read)?;
        let mut gate = Gate::new(admission, handshake, state.minds_quiet());
        (gate.has_spoken, gate.notice_at) = (has_spoken, notice_at);
        Some(Seat { socket, attached: bytes, state: Some(state), opened, is_quiet_over, reader, gate })
    }

    pub(crate) fn state(&self) -> Option<&ConnectionState> {
        self.state.as_ref()
    }

    /// When it will have been quiet for long, if that is not over.
    pub(crate) fn opened(&self) -> Option<Millis> {
        (!self.is_quiet_over).then_some(self.opened)
    }

    pub(crate) fn quiet_is_over(&mut self) {
        self.is_quiet_over = true;
        self.attach();
    }

    /// What the room has to know of it is this now.
    pub(crate) fn set_state(&mut self, state: ConnectionState) {
        self.state = Some(state);
        self.attach();
    }

    /// Sends what it asked for.
    pub(crate) fn send(&self, text: &JsString) {
        // One that is closed hears nothing more.
        let _ = self.socket.send(text);
    }

    /// Sends what happened after a version, up to another, unless it reads too slowly.
    pub(crate) fn tell(&mut self, text: &JsString, bytes: usize, since: Version, to: Version) {
        if !self.state.as_ref().is_some_and(ConnectionState::says_what_it_has) {
            return self.send(text);
        }
        let was_behind = self.reader.lag().is_some();
        if self.reader.takes(since, to, bytes) {
            self.send(text);
        } else if !was_behind {
            self.attach();
        }
    }

    /// Sends what it missed.
    pub(crate) fn catch_up(&mut self, text: &JsString, bytes: usize, to: Version) {
        self.reader.note(to, bytes);
        self.send(text);
    }

    /// It holds a version. Returns since when it is to be told what it missed.
    pub(crate) fn has(&mut self, version: Version) -> Option<Version> {
        let since = self.reader.has(version);
        if since.is_some() {
            self.attach();
        }
        since
    }

    /// Closes it from here. Nothing is attached any more: it is no socket of the room's.
    pub(crate) fn close(self, code: u16, reason: &str) {
        let _ = self.socket.keep(&JsValue::NULL);
        let _ = self.socket.close(code, reason);
    }

    /// Attaches to the socket what is to be known of it, if that is another than before.
    pub(crate) fn attach(&mut self) {
        let Some(state) = &self.state else { return };
        let bytes = self.kept(state).into_bytes();
        if bytes == self.attached {
            return;
        }
        if self.socket.keep(&Uint8Array::from(bytes.as_slice())).is_err() {
            console_error!("what is kept of a connection does not fit its attachment");
        }
        self.attached = bytes;
    }

    /// All that the room, and the home, need to know of it when they wake: see [`restore`](Self::restore). It outlives the room, but not the
    /// socket.
    fn kept(&self, state: &ConnectionState) -> String {
        let mut kept = KeptWriter::new();
        kept.text(&state.to_text());
        kept.plain(self.opened);
        kept.flag(self.is_quiet_over);
        kept.option(self.reader.lag(), KeptWriter::plain);
        kept.option(self.gate.ends_at(), KeptWriter::plain);
        kept.flag(self.gate.has_spoken);
        kept.option(self.gate.notice_at, KeptWriter::plain);
        kept.option(self.gate.handshake.as_ref(), |kept, handshake| handshake.write(kept));
        kept.finish()
    }
}

/// The tag of a socket: its id.
pub(crate) fn tags(id: ConnectionId) -> Array {
    Array::of1(&id.0.to_string().into())
}

/// The id of a socket.
pub(crate) fn id(context: &Context, socket: &Socket) -> Option<ConnectionId> {
    let tag = context.tags(socket).ok()?.get(0).as_string()?;
    tag.parse().ok().map(ConnectionId)
}
