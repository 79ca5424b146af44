//! WebSocket (RFC 6455) without a socket: bytes in, messages out, and the other way round.
//!
//! Why our own: a broadcast is encoded once and written to a thousand sockets from the same memory; a connection that says nothing holds no
//! buffer; and what many actions caused leaves in one system call. Layers made for everything copy each frame and keep buffers a socket.
//!
//! No extension is spoken: `permessage-deflate`, when offered, is declined, as RFC 7692 lets a server do. It would cost a
//! compression for each socket of a broadcast, and 300 KiB a connection.

#[cfg(test)]
mod autobahn;
mod decode;
mod encode;
mod handshake;

pub(crate) use decode::{Decoder, Fault, Incoming};
pub(crate) use encode::{Header, close_payload};
pub(crate) use handshake::{VERSION, accept_key, check, offers};

/// What a frame is (RFC 6455, 5.2). Continuations and binary frames are never sent by this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The most that a control frame may carry (RFC 6455, 5.5).
pub(crate) const CONTROL_BYTES: usize = 125;
