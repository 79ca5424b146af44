//! One socket of a room: what is sent to it, and what is kept with it while the room is not in memory.

use js_sys::{Array, JsString, Uint8Array};
use partysync_protocol::{Millis, Version};
use partysync_room::{Admission, ConnectionId, ConnectionState};
use serde::{Deserialize, Serialize};
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

/// What is attached to a socket: all that the room needs to know of it when it wakes. It outlives the room, but not the socket.
#[derive(Serialize, Deserialize)]
struct Attached {
    state: ConnectionState,
    /// When the socket was opened.
    opened: Millis,
    /// It has been open for long enough to be asked whether it wants to know what it missed (SPEC 12.11).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    quiet_over: bool,
    /// It reads too slowly, and was told everything up to this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag: Option<Version>,
    /// When its admission ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Millis>,
    /// Its client has spoken since it was welcomed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    spoken: bool,
    /// When its client is to be told of the admission's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<Millis>,
    /// What its door is to hear again with another token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handshake: Option<Handshake>,
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
        let Attached { state, opened, quiet_over, lag, until, spoken, notice, handshake } =
            serde_json::from_str(std::str::from_utf8(&bytes).ok()?).ok()?;
        let reader = Reader::lagging(lag);
        let info = state.info();
        let admission = Admission::restored(info.identity.clone(), info.data.clone(), until);
        // What has spoken version 1 has no handshake any more.
        let mut gate = Gate::new(admission, handshake, state.minds_quiet());
        (gate.has_spoken, gate.notice_at) = (spoken, notice);
        Some(Seat { socket, attached: bytes, state: Some(state), opened, is_quiet_over: quiet_over, reader, gate })
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
        let Some(state) = self.state.take() else { return };
        let kept = Attached {
            state,
            opened: self.opened,
            quiet_over: self.is_quiet_over,
            lag: self.reader.lag(),
            until: self.gate.ends_at(),
            spoken: self.gate.has_spoken,
            notice: self.gate.notice_at,
            handshake: self.gate.handshake.clone(),
        };
        match serde_json::to_vec(&kept) {
            Ok(bytes) if bytes != self.attached => {
                if self.socket.keep(&Uint8Array::from(bytes.as_slice())).is_err() {
                    console_error!("what is kept of a connection does not fit its attachment");
                }
                self.attached = bytes;
            }
            _ => {}
        }
        self.state = Some(kept.state);
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
