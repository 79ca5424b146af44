//! The program as whoever starts it sees it: what it prints, what it serves, how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A folder for a server's data and for a page, each of whose files holds its own name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("web/assets")).unwrap();
    for file in ["web/index.html", "web/sw.js", "web/assets/index-1a2b.js", "web/notes.txt", "secret.js"] {
        fs::write(folder.path().join(file), file).unwrap();
    }
    folder
}

fn command(folder: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
    command.args(["--listen", listen]).arg("--data").arg(folder.join("data")).arg("--web").arg(folder.join("web"));
    command.env_remove("RUST_LOG").env_remove("PARTYSYNC_ADMIN_TOKEN");
    command.current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The rest of a line that begins so.
fn told(output: impl Read, begins: &str) -> String {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    line.strip_prefix(begins).and_then(|line| line.strip_suffix('\n')).expect(&line).to_owned()
}

/// Starts the program, and waits until it says where its data is and where it listens.
fn start(folder: &Path) -> (Child, SocketAddr) {
    let mut child = command(folder, "127.0.0.1:0").spawn().unwrap();
    let address = told(child.stdout.as_mut().unwrap(), "listening on http://").parse().unwrap();
    // Said before, and nothing behind it yet: so nothing is left in this buffer.
    let data = told(child.stderr.as_mut().unwrap(), "data in ");
    assert_eq!(data, folder.join("data").display().to_string());
    (child, address)
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The head of a response, and its body.
fn get(address: SocketAddr, path: &str, header: &str) -> (String, String) {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// The one line on stderr of a program that cannot start.
fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn it_serves_the_page_and_no_other_file() {
    let folder = folder();
    let (mut child, address) = start(folder.path());
    for (path, file, kind, keep) in [
        ("/", "web/index.html", "text/html", "no-cache"),
        ("/?room=a", "web/index.html", "text/html", "no-cache"),
        ("/sw.js", "web/sw.js", "text/javascript", "no-cache"),
        ("/assets/index-1a2b.js", "web/assets/index-1a2b.js", "text/javascript", "max-age=31536000, immutable"),
    ] {
        let (head, body) = get(address, path, "");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}; charset=utf-8")), "{path}: {head}");
        assert!(head.contains(&format!("cache-control: {keep}")), "{path}: {head}");
        assert_eq!(body, file);
    }
    for path in ["/notes.txt", "/secret.js", "/../secret.js", "/assets/%2e%2e/secret.js", "/assets"] {
        assert!(get(address, path, "").0.starts_with("http/1.1 404"), "{path}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_ends_by_sigterm_and_by_ctrl_c_with_code_0() {
    for name in ["-TERM", "-INT"] {
        let folder = folder();
        let (mut child, address) = start(folder.path());
        // Browsers hold connections open on which they ask for nothing.
        let _idle = TcpStream::connect(address).unwrap();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(stderr, "stopping: finishing 0 rooms, closing 0 connections; Ctrl-C again ends at once\n");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_with_code_130() {
    for (first, second) in [("-TERM", "-INT"), ("-INT", "-INT"), ("-INT", "-TERM")] {
        let folder = folder();
        let (mut child, address) = start(folder.path());
        // Its client never answers the close, for which the server would wait.
        let _deaf = open_socket(address);
        signal(&child, first);
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("stopping: finishing 1 room, closing "), "{line}");
        signal(&child, second);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{first} {second}");
    }
}

/// A WebSocket, opened by hand.
fn open_socket(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).unwrap();
    let head = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    write!(tcp, "GET /parties/todos/lobby HTTP/1.1\r\nHost: {address}\r\n{head}\r\nSec-WebSocket-Key: {key}\r\n\r\n")
        .unwrap();
    let mut status = String::new();
    BufReader::new(&tcp).read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 101"), "{status}");
    tcp
}

#[test]
fn its_admin_interface_is_open_to_who_has_the_token() {
    let folder = folder();
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    let mut command = command(folder.path(), "127.0.0.1:0");
    let mut child = command.args(["--admin", "127.0.0.1:0"]).arg("--admin-token-file").arg(token).spawn().unwrap();
    let address = told(child.stderr.as_mut().unwrap(), "admin interface on http://").parse().unwrap();
    assert!(get(address, "/metrics", "").0.starts_with("http/1.1 401"));
    let (head, metrics) = get(address, "/metrics", "Authorization: Bearer 0123456789abcdef\r\n");
    assert!(head.starts_with("http/1.1 200") && metrics.contains("\npartysync_connections 0\n"), "{head}\n{metrics}");
    assert_eq!(get(address, "/readyz", "").1, "ready\n");
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn its_log_is_an_object_a_line_if_one_wants_it_so() {
    let folder = folder();
    let mut command = command(folder.path(), "127.0.0.1:0");
    let mut child = command.args(["--log-format", "json"]).env("RUST_LOG", "info").spawn().unwrap();
    let address: SocketAddr = told(child.stdout.as_mut().unwrap(), "listening on http://").parse().unwrap();
    let _socket = open_socket(address);
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines().map(Result::unwrap);
    let opened = lines.filter(|line| line.starts_with('{')).find(|line| line.contains("todos/lobby")).unwrap();
    assert!(opened.contains(r#""level":"INFO""#) && opened.ends_with('}'), "{opened}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_it_needs_and_lacks_it_says_in_one_line() {
    let folder = folder();
    let (mut child, address) = start(folder.path());
    assert!(refusal(command(folder.path(), "127.0.0.1:0")).contains("is in use by another server"));
    child.kill().unwrap();
    child.wait().unwrap();

    let taken = TcpListener::bind(address).or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let text = refusal(command(folder.path(), &taken.local_addr().unwrap().to_string()));
    assert!(text.contains("cannot listen on") && text.contains("--listen"), "{text}");

    let with_admin = || {
        let mut command = command(folder.path(), "127.0.0.1:0");
        command.args(["--admin", "127.0.0.1:0"]);
        command
    };
    assert!(refusal(with_admin()).contains("--admin needs a token"));
    let mut short = with_admin();
    short.env("PARTYSYNC_ADMIN_TOKEN", "short");
    assert!(refusal(short).contains("PARTYSYNC_ADMIN_TOKEN: an admin token has at least 16 characters"));
    let mut no_file = with_admin();
    no_file.arg("--admin-token-file").arg(folder.path().join("nowhere"));
    assert!(refusal(no_file).contains("cannot read"));
}

#[test]
fn without_a_page_it_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let stderr = refusal(command(folder.path(), "127.0.0.1:0"));
    assert!(
        stderr.starts_with("todo: there is no page in ") && stderr.ends_with("scripts/start builds it\n"),
        "{stderr}"
    );
    assert!(!folder.path().join("data").exists());
}
