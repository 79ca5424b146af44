//! One socket: the only module that knows who speaks WebSocket for us.
//!
//! A socket's task does three things at once: it reads frames into the room's mailbox, writes what the room puts into the
//! socket's outbox, and minds the time when the socket is to be closed.

use std::ops::Deref;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use partysync_protocol::limits;
use partysync_room::{ConnectionInfo, Frame};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use crate::mailbox::Received;
use crate::outbox::{Close, FAREWELL, Next, Outbox};
use crate::rooms::{Connection, Lease};

/// What is read from a socket at once.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// What is gathered before it is written, if no flush comes first.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// The reason in a close frame, with its code the 125 bytes that RFC 6455 5.5 gives a control frame.
const CLOSE_REASON_BYTES: usize = 123;

/// A frame that is ready to be written, shared by all sockets that get it.
#[derive(Debug, Clone)]
pub(crate) struct Text(Utf8Bytes);

impl From<Frame> for Text {
    fn from(frame: Frame) -> Self {
        struct Owner(Frame);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        // A frame is a str, so this never falls back to nothing.
        Text(Utf8Bytes::try_from(Bytes::from_owner(Owner(frame))).unwrap_or_default())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// How a socket came to its end.
enum Ended {
    /// The client closed it, or it broke.
    ByClient,
    /// The server closes it.
    ByServer(Close),
    /// The server closes it, for what the client sent: the rest of it cannot be read.
    Unreadable(Close),
}

/// Answers the request for a socket, and serves the socket.
pub(crate) fn accept(upgrade: WebSocketUpgrade, lease: Lease, info: ConnectionInfo) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(limits::FRAME_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .on_upgrade(move |socket| serve(socket, lease, info))
}

/// Answers the request for a socket by one that is closed at once. Nothing that comes on it is read.
pub(crate) fn refuse(upgrade: WebSocketUpgrade, code: u16, reason: &str) -> Response {
    let reason = Utf8Bytes::from(&reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES)]);
    upgrade.max_message_size(limits::FRAME_BYTES).on_upgrade(move |mut socket| async move {
        let farewell = async {
            socket.send(Message::Close(Some(CloseFrame { code, reason }))).await?;
            while socket.next().await.transpose()?.is_some() {}
            Ok::<(), axum::Error>(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    })
}

async fn serve(socket: WebSocket, lease: Lease, info: ConnectionInfo) {
    let (mut sink, mut stream) = socket.split();
    let mut connection = Connection::open(lease, info);
    let ended = tokio::select! {
        ended = read(&mut stream, &connection) => ended,
        ended = write(&mut sink, connection.outbox()) => ended,
        close = connection.outbox().overdue() => Ended::ByServer(close),
    };
    // Before the farewell, which may take time: the room need not send anything more.
    connection.close();
    // Whether the client hears the farewell is up to the client.
    let _ = timeout(FAREWELL, say_farewell(&mut sink, &mut stream, ended)).await;
}

async fn read(stream: &mut SplitStream<WebSocket>, connection: &Connection) -> Ended {
    loop {
        let frame = match stream.next().await {
            Some(Ok(Message::Text(text))) => Received::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(_))) => Received::Binary,
            // The layer below answers pings by itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_))) | None => return Ended::ByClient,
            Some(Err(error)) => return ended_by(error),
        };
        // Who does not read its answers may not ask for more.
        connection.outbox().drained().await;
        connection.deliver(frame).await;
    }
}

/// Writes what comes into the outbox. What one batch put there is flushed once.
async fn write(sink: &mut SplitSink<WebSocket, Message>, outbox: &Outbox) -> Ended {
    loop {
        let written = match outbox.next() {
            Next::Write(Text(text)) => sink.feed(Message::Text(text)).await,
            Next::Close(close) => return Ended::ByServer(close),
            Next::Wait => {
                let flushed = sink.flush().await;
                if flushed.is_ok() {
                    outbox.filled().await;
                }
                flushed
            }
        };
        if written.is_err() {
            return Ended::ByClient;
        }
    }
}

/// Ends a socket in a way that its client can understand. A socket that is dropped with something unread is reset, and what
/// was written last may be lost with it: so the client's own close is awaited.
async fn say_farewell(sink: &mut SplitSink<WebSocket, Message>, stream: &mut SplitStream<WebSocket>, ended: Ended) {
    let (Close { code, reason }, readable) = match ended {
        // The answer to its close frame is in the sink already.
        Ended::ByClient => return drop(sink.flush().await),
        Ended::ByServer(close) => (close, true),
        Ended::Unreadable(close) => (close, false),
    };
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
    if sink.send(close).await.is_err() {
        return;
    }
    if readable {
        while stream.next().await.is_some() {}
    } else {
        // Whether the client has read it cannot be known: time must do.
        std::future::pending().await
    }
}

/// Which of the client's faults is answered by a close code.
fn ended_by(error: axum::Error) -> Ended {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;

    let error = error.into_inner();
    let (code, reason) = match error.downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => (1009, "the frame is too large"),
        Some(Error::Utf8(_)) => (1007, "the frame is not UTF-8"),
        Some(Error::Protocol(ResetWithoutClosingHandshake)) => return Ended::ByClient,
        Some(Error::Protocol(_)) => (1002, "the frame is not of WebSocket"),
        _ => return Ended::ByClient,
    };
    Ended::Unreadable(Close { code, reason })
}
