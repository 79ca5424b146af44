//! The server under load: one that runs already, or one that is started for the measurement and ends with it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::Error;
use crate::net::{Net, SocketId};
use crate::options::Target;
use crate::process::Process;
use crate::wire::{Line, Protocol};

/// A server that can be loaded.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// If it is known.
    pub(crate) process: Option<Process>,
    /// What its clients speak.
    pub(crate) protocol: Protocol,
    party: String,
    /// Clients of version 1 have a `_pk`.
    keyed: bool,
    /// A row's text.
    pub(crate) text: String,
    /// It knows the action that fills a room.
    pub(crate) fills: bool,
    own: Option<Own>,
}

/// A server of ours. Dropped, it ends: its standard input does, and it is waited for before its data goes.
struct Own {
    child: Child,
    data: TempDir,
}

impl Served {
    pub(crate) fn start(target: &Target) -> Result<Self, Error> {
        let (address, pid, own) = match &target.address {
            Some(address) => (loopback(address)?, target.pid, None),
            None => {
                let (own, address) = Own::start(target.data.as_deref())?;
                (address, Some(own.child.id()), Some(own))
            }
        };
        let process = pid.map(Process::new).transpose()?;
        let (protocol, party) = (target.protocol, target.party.clone());
        let keyed = target.keyed;
        Ok(Served {
            address,
            process,
            protocol,
            party,
            keyed,
            text: "x".repeat(target.text_bytes),
            fills: own.is_some(),
            own,
        })
    }

    /// Opens a socket to a room.
    pub(crate) fn open(&self, net: &mut Net, room: &str) -> Result<(SocketId, Line), Error> {
        self.open_as(net, room, self.protocol)
    }

    /// Opens a socket that speaks this protocol, whatever the others do.
    pub(crate) fn open_as(&self, net: &mut Net, room: &str, protocol: Protocol) -> Result<(SocketId, Line), Error> {
        let line = Line::new(protocol, &self.party, room);
        let query = if self.keyed { line.query() } else { String::new() };
        let socket = net.open(self.address, &format!("/parties/{}/{room}{query}", self.party))?;
        Ok((socket, line))
    }

    /// The folder of its rooms' files, if it is ours.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.data.path())
    }
}

impl Own {
    fn start(data: Option<&Path>) -> Result<(Self, SocketAddr), Error> {
        let data = data.map_or_else(TempDir::new, TempDir::new_in).map_err(|error| Error::Server(error.to_string()))?;
        let (child, address) = spawn(data.path(), 0)?;
        Ok((Own { child, data }, address))
    }
}

/// Starts a server on a folder, whose rooms go to sleep after so long; 0: after the server's own default.
pub(crate) fn spawn(data: &Path, idle_ms: u64) -> Result<(Child, SocketAddr), Error> {
    let failed = |error: std::io::Error| Error::Server(error.to_string());
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--idle-ms", &idle_ms.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    let stdout = child.stdout.take().map(BufReader::new);
    let told = stdout.map_or(Ok(0), |mut stdout| stdout.read_line(&mut line)).map_err(failed);
    match told.map(|_| line.trim().parse()) {
        Ok(Ok(address)) => Ok((child, address)),
        _ => {
            drop(child.stdin.take());
            let _ = child.wait();
            Err(Error::Server("it ended at once".to_owned()))
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself; if it cannot be waited for, it is gone already.
        let _ = self.child.wait();
    }
}

fn loopback(text: &str) -> Result<SocketAddr, Error> {
    let mut addresses = text.to_socket_addrs().map_err(|_| Error::NoAddress(text.to_owned()))?;
    let address = addresses.next().ok_or_else(|| Error::NoAddress(text.to_owned()))?;
    if address.ip().is_loopback() { Ok(address) } else { Err(Error::NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_for_loopback_alone() {
        assert!(loopback("127.0.0.1:80").is_ok());
        assert!(loopback("127.8.9.10:80").is_ok());
        assert!(loopback("[::1]:80").is_ok());
        for other in ["192.168.0.1:80", "8.8.8.8:80", "0.0.0.0:80", "[::]:80"] {
            assert!(matches!(loopback(other), Err(Error::NotLoopback(_))), "{other}");
        }
        assert!(matches!(loopback("80"), Err(Error::NoAddress(_))));
    }
}
