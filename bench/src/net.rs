//! Many sockets on one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::Error;
use crate::frame::{self, Kind};

/// How long anything may take that a server does at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// Read from a socket at once.
const READ_BYTES: usize = 256 << 10;
/// A socket's buffer that is larger is given back when it is empty.
const KEEP_BYTES: usize = 16 << 10;
/// Events that are taken at once.
const EVENTS: usize = 1_024;

/// A socket, by its place among those that were opened.
pub(crate) type SocketId = usize;

/// The sockets.
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    scratch: Vec<u8>,
    stop: Arc<AtomicBool>,
    /// Sockets that ended and should not have.
    pub(crate) disconnects: u64,
    pub(crate) traffic: Traffic,
}

/// Bytes of all sockets since they were open, as TCP carries them: WebSocket's own among them, not those of the upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// To the server.
    pub(crate) up: u64,
    /// From it.
    pub(crate) down: u64,
}

impl Traffic {
    pub(crate) fn since(self, before: Traffic) -> Traffic {
        Traffic { up: self.up - before.up, down: self.down - before.down }
    }
}

struct Socket {
    stream: mio::net::TcpStream,
    input: Vec<u8>,
    /// A message of which not all frames have come.
    message: Vec<u8>,
    out: Vec<u8>,
    open: bool,
}

/// Who hears the messages of all sockets. What it appends to `out` goes to the socket that the message came from.
pub(crate) trait Ear {
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>);
}

impl<F: FnMut(SocketId, &[u8], Instant, &mut Vec<u8>)> Ear for F {
    fn hear(&mut self, from: SocketId, message: &[u8], now: Instant, out: &mut Vec<u8>) {
        self(from, message, now, out);
    }
}

impl Net {
    pub(crate) fn new() -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The second of its kind ends the program at once.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).map_err(Error::Socket)?;
            signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(Error::Socket)?;
        }
        Ok(Net {
            poll: Poll::new().map_err(Error::Socket)?,
            events: Events::with_capacity(EVENTS),
            sockets: Vec::new(),
            scratch: vec![0; READ_BYTES],
            stop,
            disconnects: 0,
            traffic: Traffic::default(),
        })
    }

    /// Opens a socket, and returns when the server has answered the upgrade.
    pub(crate) fn open(&mut self, address: SocketAddr, path: &str) -> Result<SocketId, Error> {
        self.check()?;
        let mut tcp = TcpStream::connect(address).map_err(|error| Error::Connect(address, error))?;
        let input = upgrade(&mut tcp, address, path)?;
        tcp.set_nodelay(true).and_then(|()| tcp.set_nonblocking(true)).map_err(Error::Socket)?;
        let mut stream = mio::net::TcpStream::from_std(tcp);
        let id = self.sockets.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(id), interest).map_err(Error::Socket)?;
        self.traffic.down += input.len() as u64;
        self.sockets.push(Socket { stream, input, message: Vec::new(), out: Vec::new(), open: true });
        Ok(id)
    }

    /// Sends a message, as far as the kernel takes it; the rest goes in the turns that follow.
    pub(crate) fn send(&mut self, to: SocketId, text: &str) -> Result<(), Error> {
        self.send_all(to, &[text])
    }

    /// Sends messages, in one write.
    pub(crate) fn send_all(&mut self, to: SocketId, texts: &[impl AsRef<str>]) -> Result<(), Error> {
        let socket = &mut self.sockets[to];
        texts.iter().for_each(|text| frame::push_text(&mut socket.out, text.as_ref()));
        socket.flush(&mut self.traffic).map_err(Error::Socket)
    }

    /// Closes a socket without a word.
    pub(crate) fn close(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id];
        // It may be closed by the other side already.
        let _ = socket.stream.shutdown(std::net::Shutdown::Both);
        socket.open = false;
    }

    pub(crate) fn close_all(&mut self) {
        (0..self.sockets.len()).for_each(|id| self.close(id));
        self.sockets.clear();
    }

    /// Whether any socket is open.
    pub(crate) fn is_open(&self) -> bool {
        self.sockets.iter().any(|socket| socket.open)
    }

    /// Waits for messages until the time given, and hands on those that are there.
    pub(crate) fn turn(&mut self, until: Instant, ear: &mut impl Ear) -> Result<(), Error> {
        self.check()?;
        let wait = until.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.check(),
            polled => polled.map_err(Error::Socket)?,
        }
        for event in &self.events {
            let id = event.token().0;
            let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.open) else { continue };
            let ended = socket.read(id, event.is_read_closed(), &mut self.scratch, &mut self.traffic, ear)?;
            if ended || socket.flush(&mut self.traffic).is_err() {
                socket.open = false;
                self.disconnects += 1;
            }
        }
        Ok(())
    }

    /// Turns until it is done.
    pub(crate) fn turn_until<E: Ear>(
        &mut self,
        ear: &mut E,
        what: &'static str,
        done: impl Fn(&E) -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !done(ear) {
            if Instant::now() >= deadline {
                return Err(Error::Late(PATIENCE.as_secs(), what));
            }
            self.turn(deadline.min(Instant::now() + Duration::from_millis(100)), ear)?;
        }
        Ok(())
    }

    /// Waits, and hears nothing but what the sockets are told.
    pub(crate) fn rest(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(until, &mut |_: SocketId, _: &[u8], _: Instant, _: &mut Vec<u8>| {})?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl Socket {
    /// Reads all that is there. Returns whether the socket ended. A read that fills no buffer has emptied the socket; but the end of
    /// the stream, if that is there too, wants another one.
    fn read(
        &mut self,
        id: SocketId,
        to_end: bool,
        scratch: &mut [u8],
        traffic: &mut Traffic,
        ear: &mut impl Ear,
    ) -> Result<bool, Error> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Ok(true),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(true),
            };
            traffic.down += count as u64;
            self.input.extend_from_slice(&scratch[..count]);
            if self.take_frames(id, ear)? {
                return Ok(true);
            }
            if count < scratch.len() && !to_end {
                return Ok(false);
            }
        }
        // What came with the answer to the upgrade.
        self.take_frames(id, ear)
    }

    fn take_frames(&mut self, id: SocketId, ear: &mut impl Ear) -> Result<bool, Error> {
        let now = Instant::now();
        let Socket { input, message, out, .. } = self;
        let mut taken = 0;
        let mut ended = false;
        while let Some((frame, length)) = frame::read(&input[taken..])? {
            taken += length;
            match frame.kind {
                Kind::Text if frame.is_last => ear.hear(id, frame.payload, now, out),
                Kind::Text | Kind::Continuation => {
                    message.extend_from_slice(frame.payload);
                    if frame.is_last {
                        ear.hear(id, message, now, out);
                        message.clear();
                    }
                }
                Kind::Ping => frame::push_pong(out, frame.payload),
                Kind::Close => ended = true,
                Kind::Other => {}
            }
        }
        if taken == input.len() && input.capacity() > KEEP_BYTES {
            *input = Vec::new();
        } else {
            input.drain(..taken);
        }
        Ok(ended)
    }

    fn flush(&mut self, traffic: &mut Traffic) -> std::io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        traffic.up += written as u64;
        self.out.drain(..written);
        Ok(())
    }
}

/// Asks for a WebSocket; returns what came behind the answer.
fn upgrade(tcp: &mut TcpStream, address: SocketAddr, path: &str) -> Result<Vec<u8>, Error> {
    tcp.set_read_timeout(Some(PATIENCE)).map_err(Error::Socket)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).map_err(Error::Socket)?;
    let mut answer = Vec::new();
    let mut bytes = [0; 1_024];
    let end = loop {
        if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match tcp.read(&mut bytes).map_err(Error::Socket)? {
            0 => return Err(Error::Refused("it closed the connection".to_owned())),
            count => answer.extend_from_slice(&bytes[..count]),
        }
    };
    if answer.starts_with(b"HTTP/1.1 101") {
        return Ok(answer.split_off(end));
    }
    let text = String::from_utf8_lossy(&answer);
    Err(Error::Refused(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that sends these bytes right behind its answer to the upgrade, and what it reads then back to the test.
    fn server(sends: Vec<u8>) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
            stream.write_all(&[answer.as_slice(), &sends].concat()).unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            read
        });
        (address, served)
    }

    #[test]
    fn traffic_is_what_goes_over_the_wire_but_for_the_upgrade() {
        // A text of 300 bytes, whose header is of 4, and a ping of 5.
        let mut sends = vec![0x81, 126, 1, 44];
        sends.extend([b'x'; 300]);
        sends.extend([0x89, 5, b'h', b'e', b'l', b'l', b'o']);
        let down = sends.len() as u64;
        let (address, served) = server(sends);
        let mut net = Net::new().unwrap();
        let socket = net.open(address, "/").unwrap();
        let mut heard = Vec::new();
        net.send(socket, "hi").unwrap();
        let all = Traffic { up: 8 + 11, down };
        for _ in 0..100 {
            if net.traffic == all {
                break;
            }
            let mut ear = |_: SocketId, message: &[u8], _: Instant, _: &mut Vec<u8>| heard.push(message.len());
            net.turn(Instant::now() + Duration::from_millis(100), &mut ear).unwrap();
        }
        let before = net.traffic;
        net.close(socket);
        // The text has a header of 2 and a mask of 4, and so has the pong.
        let up = served.join().unwrap().len() as u64;
        assert_eq!((net.traffic, up), (all, 8 + 11));
        assert_eq!((heard, net.traffic.since(before)), (vec![300], Traffic::default()));
    }
}
