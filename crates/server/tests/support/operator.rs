//! Whoever has the admin interface's token.

use std::net::SocketAddr;

use partysync_server::{AdminToken, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

pub const TOKEN: &str = "a token for the tests";

/// The admin interface of a server.
pub struct Operator {
    pub address: SocketAddr,
    pub token: String,
}

/// An answer of it.
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Operator {
    /// Serves a server's admin interface until the runtime ends.
    pub async fn of(server: &Server) -> Operator {
        let token = TOKEN.replace(' ', "-");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, secret) = (server.clone(), AdminToken::new(&token).unwrap());
        tokio::spawn(async move { server.serve_admin(listener, secret).await });
        Operator { address, token }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// What a path has, which must be there.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        ask(self.address, method, path, &format!("Authorization: Bearer {}\r\n", self.token), body).await
    }
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap().trim_end()
    }

    /// The value of a metric, with its labels if it has any.
    pub fn metric(&self, name: &str) -> f64 {
        let lines: Vec<&str> =
            self.text().lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
        assert_eq!(lines.len(), 1, "{name} in {}", self.text());
        lines[0].parse().unwrap()
    }
}

/// Makes a request on a connection of its own. `headers` ends with a line break if it is not empty.
pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses does not read what it refuses.
    let _ = tcp.write_all(body).await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}
