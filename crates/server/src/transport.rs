//! The stream below a WebSocket: a TCP socket that any thread may write to, or whatever else HTTP came through.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream of bytes that is shared by who reads and who writes.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    /// Another stream, with TLS in between, say. Only the socket's own task touches it.
    Other(Mutex<Pin<Box<TokioIo<Upgraded>>>>),
}

impl Transport {
    /// Takes the stream out of HTTP's hands; with it, what was read and is not HTTP's.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Bytes) {
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Transport::Tcp(parts.io.into_inner()), parts.read_buf),
            // What was read already is given out again.
            Err(upgraded) => (Transport::Other(Mutex::new(Box::pin(TokioIo::new(upgraded)))), Bytes::new()),
        }
    }

    /// Reads what is there, at most a buffer full. 0: there will be no more.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Tcp(tcp) => loop {
                ready!(tcp.poll_read_ready(cx))?;
                match tcp.try_read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return Poll::Ready(read),
                }
            },
            Transport::Other(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(lock(stream).as_mut().poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// Writes some of it.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Tcp(tcp) => loop {
                ready!(tcp.poll_write_ready(cx))?;
                match tcp.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => return Poll::Ready(written),
                }
            },
            Transport::Other(stream) => lock(stream).as_mut().poll_write_vectored(cx, slices),
        }
    }

    /// Sees to it that what was written is on its way.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(_) => Poll::Ready(Ok(())),
            Transport::Other(stream) => lock(stream).as_mut().poll_flush(cx),
        }
    }

    /// Writes some of it from a thread that is not the socket's task, if the kernel takes any at once.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Transport::Tcp(tcp) => tcp.try_write_vectored(slices),
            Transport::Other(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Tells the other side that nothing more comes. It can be told so before the last who shares the stream lets go of it.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(tcp) => Poll::Ready(socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Write)),
            Transport::Other(stream) => lock(stream).as_mut().poll_shutdown(cx),
        }
    }
}

fn lock(stream: &Mutex<Pin<Box<TokioIo<Upgraded>>>>) -> MutexGuard<'_, Pin<Box<TokioIo<Upgraded>>>> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
