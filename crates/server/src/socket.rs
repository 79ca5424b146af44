//! One socket, from the answer to its handshake to its end.
//!
//! A socket's task does four things at once: it reads frames into the room's mailbox, writes what could not be written when it
//! came up, minds whether the client is still there, and minds the time when the socket is to be closed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::upgrade::OnUpgrade;
use partysync_protocol::{limits, v2};
use partysync_room::{ConnectionInfo, Join};
use tokio::time::{Instant, sleep, timeout};

use crate::backlog::Close;
use crate::gate::Gate;
use crate::mailbox::{Received, Speaks};
use crate::outbox::{FAREWELL, Lane, Outbox};
use crate::proof::Mark;
use crate::rate::Bucket;
use crate::rooms::{Connection, Lease};
use crate::several::{self, Several};
use crate::transport::Transport;
use crate::ws::{Decoder, Fault, Incoming, Opcode};

/// What is read from a socket at once. Each thread has one such buffer for all its sockets.
const READ_BYTES: usize = 64 << 10;

/// A server sends a ping when it has heard nothing for so long (SPEC 8.26).
const PING: Duration = Duration::from_millis(limits::PING_MS);

/// A socket that was open for so long has asked for what it will ask for by itself (SPEC 12.11).
const QUIET: Duration = Duration::from_millis(limits::QUIET_MS);

/// A client that was not heard for so many of these is gone (SPEC 8.26).
const DEAD_PINGS: u32 = 3;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// How a socket came to its end.
enum Ended {
    /// The client closed it, with this code and this reason, which it hears back.
    ByClient(Option<u16>, String),
    /// The server closes it.
    ByServer(Close),
    /// The server closes it, for what the client sent: the rest of it cannot be read.
    Unreadable(Close),
    /// It broke, or nobody is there any more.
    Broken,
}

/// What a handshake leaves behind for the frames that come after it.
pub(crate) struct Arrival {
    /// What frames pass on their way to the room, if the app has a say in them.
    pub(crate) gate: Option<Gate>,
    /// What doors of further rooms are asked about.
    pub(crate) handshake: Option<Arc<Join>>,
}

/// Serves a socket once its handshake is answered.
pub(crate) async fn serve(upgrade: OnUpgrade, lease: Lease, info: ConnectionInfo, speaks: Speaks, arrival: Arrival) {
    let Ok(upgraded) = upgrade.await else { return };
    let (transport, first) = Transport::new(upgraded);
    let outbox = Arc::new(Outbox::new(transport));
    let lane = Lane::home(Arc::clone(&outbox));
    let Arrival { mut gate, handshake } = arrival;
    if let Some(gate) = &mut gate {
        gate.mind(&lane);
    }
    let mut connection = Connection::open(lease, info, speaks, lane);
    let mut reader = Reader { gate, handshake, ..Reader::default() };
    let ended = tokio::select! {
        ended = reader.read(&connection, &outbox, first) => ended,
        ended = write(&connection, &outbox) => ended,
        () = mind_time(&connection, &outbox) => Ended::Broken,
        close = outbox.overdue() => Ended::ByServer(close),
    };
    if let (Some(several), Ended::ByClient(code, _)) = (reader.several.take(), &ended) {
        several.finish(*code).await;
    }
    // Before the farewell, which may take time: the room need not send anything more.
    connection.close(match &ended {
        Ended::ByClient(code, _) => *code,
        Ended::ByServer(close) | Ended::Unreadable(close) => Some(close.code),
        Ended::Broken => None,
    });
    // Whether the client hears the farewell is up to the client.
    let _ = timeout(FAREWELL, reader.say_farewell(&outbox, ended)).await;
}

/// Closes a socket as soon as it is one. Nothing that comes on it counts.
pub(crate) async fn refuse(upgrade: OnUpgrade, close: Close) {
    let Ok(upgraded) = upgrade.await else { return };
    let outbox = Outbox::new(Transport::new(upgraded).0);
    let _ = timeout(FAREWELL, Reader::default().say_farewell(&outbox, Ended::ByServer(close))).await;
}

/// Writes what could not be written at once.
async fn write(connection: &Connection, outbox: &Outbox) -> Ended {
    loop {
        if poll_fn(|cx| outbox.poll_write(cx)).await.is_err() {
            return Ended::Broken;
        }
        if let Some(close) = outbox.asked_to_close() {
            return Ended::ByServer(close);
        }
        if outbox.wants_catch_up() {
            connection.catch_up();
        }
        outbox.woken().await;
    }
}

/// Tells the room when the socket has been open for a while; is ready when the client is not there any more.
async fn mind_time(connection: &Connection, outbox: &Outbox) {
    sleep(QUIET).await;
    connection.quiet();
    until_silent(outbox).await;
}

/// Is ready when the client has shown for too long by nothing that it is there. A socket whose other end just vanished never says so.
async fn until_silent(outbox: &Outbox) {
    loop {
        if outbox.is_paused() {
            outbox.hear();
        }
        let silent_for = outbox.silent_for();
        if silent_for >= PING * DEAD_PINGS {
            tracing::debug!("the client is not there any more");
            return;
        }
        if silent_for >= PING {
            outbox.ping();
            sleep(PING).await;
        } else {
            sleep(PING - silent_for).await;
        }
    }
}

/// What reads one socket.
struct Reader {
    decoder: Decoder,
    /// The client's close frame came.
    closed: bool,
    /// What frames pass on their way to the room, if the app has a say in them.
    gate: Option<Gate>,
    said: Said,
    /// What doors of further rooms are asked about, as long as there may be any.
    handshake: Option<Arc<Join>>,
    /// The socket's rooms, if it carries more than that of its URL.
    several: Option<Box<Several>>,
}

/// What a client has said so far, which tells whether it may join further rooms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Hello,
    SomethingElse,
}

/// What came of one read.
#[derive(Default)]
struct Arrived {
    frames: Vec<Received>,
    pings: Vec<Vec<u8>>,
    /// What pongs carry.
    marks: Vec<Mark>,
    /// Complete frames, of whatever kind.
    count: usize,
    ended: Option<Ended>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            decoder: Decoder::new(limits::FRAME_BYTES),
            closed: false,
            gate: None,
            said: Said::default(),
            handshake: None,
            several: None,
        }
    }
}

impl Reader {
    async fn read(&mut self, connection: &Connection, outbox: &Arc<Outbox>, first: Bytes) -> Ended {
        let mut bucket = connection.rooms().rates.connection.map(|rate| Bucket::new(rate, Instant::now()));
        let mut arrived = self.decode(&mut first.to_vec());
        loop {
            if arrived.count > 0 {
                outbox.hear();
            }
            for mark in arrived.marks {
                outbox.pong(mark);
            }
            for payload in arrived.pings {
                outbox.control(Opcode::Pong, payload);
            }
            // Meanwhile it is not read: that is not the client's silence.
            outbox.pause();
            self.take(connection, outbox, &mut bucket, arrived.frames).await;
            outbox.resume();
            if let Some(ended) = arrived.ended {
                return ended;
            }
            // Who does not read its answers may not ask for more.
            outbox.drained().await;
            arrived = match poll_fn(|cx| self.poll_read(outbox.transport(), cx)).await {
                Ok(arrived) => arrived,
                Err(_) => return Ended::Broken,
            };
        }
    }

    /// Takes frames as fast as they may come.
    async fn take(
        &mut self,
        connection: &Connection,
        outbox: &Arc<Outbox>,
        bucket: &mut Option<Bucket>,
        frames: Vec<Received>,
    ) {
        let mut frames = frames.into_iter();
        while frames.len() > 0 {
            let admitted = match bucket {
                None => frames.len(),
                Some(bucket) => bucket.admit(frames.len()).await,
            };
            let mut now: Vec<Received> = frames.by_ref().take(admitted).collect();
            let elsewhere = self.split_off_elsewhere(connection.room().address(), &mut now);
            self.deliver(connection, now).await;
            if !elsewhere.is_empty() {
                // In a box, as few sockets need it.
                Box::pin(self.route(connection, outbox, elsewhere)).await;
            }
        }
    }

    /// Hands frames to the room of the URL, when the room has places for them.
    async fn deliver(&mut self, connection: &Connection, frames: Vec<Received>) {
        match &mut self.gate {
            None => connection.deliver(frames).await,
            Some(gate) => {
                for frame in frames {
                    let frame = connection.pass(gate, frame).await;
                    connection.deliver(vec![frame]).await;
                }
            }
        }
    }

    /// Splits off the first frame that asks for another room than that of the URL, and all that come after it, as it may be for either.
    fn split_off_elsewhere(&mut self, home: &str, frames: &mut Vec<Received>) -> Vec<Received> {
        if self.several.is_some() {
            return std::mem::take(frames);
        }
        let at = frames.iter().position(|frame| {
            // A first frame counts that is binary, too.
            let text = if let Received::Text(text) = frame { text } else { "" };
            match self.said {
                Said::Nothing => {
                    self.said = if is_greeting(text) { Said::Hello } else { Said::SomethingElse };
                    false
                }
                Said::Hello => several::asks_for_another(text, home),
                Said::SomethingElse => false,
            }
        });
        if self.said == Said::SomethingElse {
            self.handshake = None;
        }
        at.map_or_else(Vec::new, |at| frames.split_off(at))
    }

    /// Hands frames to the rooms that they are for.
    async fn route(&mut self, connection: &Connection, outbox: &Arc<Outbox>, frames: Vec<Received>) {
        if self.several.is_none() {
            // Nothing may come before `welcome`, which is that room's to say.
            connection.answered().await;
        }
        let (gate, handshake) = (&mut self.gate, &mut self.handshake);
        let new = || Box::new(Several::new(connection, outbox, gate.take(), handshake.take()));
        self.several.get_or_insert_with(new).route(frames).await;
    }

    fn poll_read(&mut self, transport: &Transport, cx: &mut Context<'_>) -> Poll<io::Result<Arrived>> {
        BUFFER.with_borrow_mut(|buffer| {
            let read = ready!(transport.poll_read(cx, buffer))?;
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Ready(Ok(self.decode(&mut buffer[..read])))
        })
    }

    fn decode(&mut self, bytes: &mut [u8]) -> Arrived {
        let mut arrived = Arrived::default();
        let mut closed = None;
        let fault = self.decoder.feed(bytes, &mut |incoming| {
            arrived.count += 1;
            match incoming {
                Incoming::Text(text) => arrived.frames.push(Received::Text(text)),
                Incoming::Binary(bytes) => arrived.frames.push(Received::Binary(bytes)),
                Incoming::Ping(payload) => arrived.pings.push(payload),
                Incoming::Pong(mark) => arrived.marks.extend(mark),
                Incoming::Close(code, reason) => closed = Some(Ended::ByClient(code, reason)),
            }
        });
        self.closed |= closed.is_some();
        arrived.ended = match fault {
            Err(fault) => Some(Ended::Unreadable(close_for(fault))),
            Ok(()) => closed,
        };
        arrived
    }

    /// Ends a socket in a way that its client can understand. A socket that is dropped with something unread is reset, and what
    /// was written last may be lost with it: so the client's own close is awaited.
    async fn say_farewell(&mut self, outbox: &Outbox, ended: Ended) {
        let readable = match ended {
            Ended::Broken => return,
            Ended::ByClient(code, reason) => {
                outbox.push_close(code, &reason);
                true
            }
            Ended::ByServer(Close { code, reason }) => {
                outbox.push_close(Some(code), &reason);
                true
            }
            Ended::Unreadable(Close { code, reason }) => {
                outbox.push_close(Some(code), &reason);
                false
            }
        };
        if poll_fn(|cx| outbox.poll_write(cx)).await.is_err() {
            return;
        }
        while readable && !self.closed {
            match poll_fn(|cx| self.poll_read(outbox.transport(), cx)).await {
                Ok(Arrived { ended: Some(Ended::Unreadable(_)), .. }) | Err(_) => return,
                Ok(_) => {}
            }
        }
        if poll_fn(|cx| outbox.transport().poll_end(cx)).await.is_err() {
            return;
        }
        // Until the client ends the stream too. What it still sends is of no use.
        while poll_fn(|cx| discard(outbox.transport(), cx)).await.is_ok_and(|read| read > 0) {}
    }
}

/// Whether a first frame is a `hello` that is answered with `welcome`.
fn is_greeting(text: &str) -> bool {
    matches!(v2::Up::parse(text), Ok(v2::Up::Hello { versions }) if versions.contains(&v2::VERSION))
}

fn discard(transport: &Transport, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    BUFFER.with_borrow_mut(|buffer| transport.poll_read(cx, buffer))
}

/// Which close code answers the client's fault (SPEC 8.27).
fn close_for(fault: Fault) -> Close {
    let (code, reason) = match fault {
        Fault::TooLarge => (1009, "the frame is too large"),
        Fault::NotUtf8 => (1007, "the frame is not UTF-8"),
        Fault::Protocol => (1002, "the frame is not of WebSocket"),
    };
    Close::new(code, reason)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A socket's way out, and the client's end of it.
    async fn socket() -> (Outbox, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, client) = tokio::join!(listener.accept(), TcpStream::connect(address));
        (Outbox::new(Transport::Tcp(accepted.unwrap().0)), client.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn spec_8_26_a_client_that_shows_nothing_for_three_pings_is_gone() {
        let (outbox, mut client) = socket().await;
        let start = Instant::now();
        let write = async {
            loop {
                poll_fn(|cx| outbox.poll_write(cx)).await.unwrap();
                outbox.woken().await;
            }
        };
        tokio::select! {
            () = until_silent(&outbox) => {}
            () = write => {}
            () = sleep(PING * DEAD_PINGS * 2) => panic!("it is still there"),
        }
        // What the kernel takes of the pings is no sign of life.
        assert_eq!(start.elapsed(), PING * DEAD_PINGS);
        let mut pings = [0; 4];
        client.read_exact(&mut pings).await.unwrap();
        assert_eq!(pings, [0x89, 0, 0x89, 0], "two pings, and nothing else");
    }

    #[tokio::test(start_paused = true)]
    async fn spec_8_26_who_is_heard_is_not_asked_and_who_answers_stays() {
        let (outbox, client) = socket().await;
        let start = Instant::now();
        let hear = async {
            for _ in 0..10 {
                sleep(PING - Duration::from_millis(1)).await;
                outbox.hear();
            }
            poll_fn(|cx| outbox.poll_write(cx)).await.unwrap();
            let read = client.try_read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Err(io::ErrorKind::WouldBlock), "it was not asked");
            // Now it falls silent, answers the second ping, and falls silent again.
            sleep(PING * 2).await;
            outbox.hear();
        };
        tokio::join!(hear, until_silent(&outbox));
        let heard = (PING - Duration::from_millis(1)) * 10 + PING * 2;
        let dead = start.elapsed() - heard;
        assert!(dead >= PING * DEAD_PINGS && dead <= PING * (DEAD_PINGS + 1), "{dead:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn spec_8_26_while_the_server_does_not_read_a_client_is_not_silent() {
        let (outbox, _client) = socket().await;
        outbox.pause();
        let start = Instant::now();
        let read_again = async {
            sleep(PING * DEAD_PINGS * 3).await;
            outbox.resume();
        };
        tokio::join!(read_again, until_silent(&outbox));
        assert_eq!(start.elapsed(), PING * DEAD_PINGS * 4);
    }

    #[test]
    fn spec_8_26_a_part_of_a_frame_is_not_heard() {
        let mut reader = Reader::default();
        assert_eq!(reader.decode(&mut [0x81]).count, 0);
        assert_eq!(reader.decode(&mut [0x80, 0, 0, 0, 0]).count, 1);
    }
}
