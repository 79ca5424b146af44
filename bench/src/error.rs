use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("interrupted")]
    Interrupted,
    #[error("{0} is not on this machine: load is for loopback addresses alone")]
    NotLoopback(SocketAddr),
    #[error("{0:?} is no address such as 127.0.0.1:8787")]
    NoAddress(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("the server refused a socket: {0}")]
    Refused(String),
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("a socket failed: {0}")]
    Socket(io::Error),
    #[error("the server could not be started: {0}")]
    Server(String),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} seconds have passed without {1}")]
    Late(u64, &'static str),
}
