//! The program as whoever starts it sees it: what it prints, what it serves, how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use partysync::model::{Db, Origin};
use partysync_sqlite::{Options, SqliteDb};
use tempfile::TempDir;

const FILES: [(&str, &str, &str); 6] = [
    ("/", "web/index.html", "text/html; charset=utf-8"),
    ("/app.js", "web/app.js", "text/javascript; charset=utf-8"),
    ("/room.js", "web/room.js", "text/javascript; charset=utf-8"),
    ("/style.css", "web/style.css", "text/css; charset=utf-8"),
    ("/vendor/partysocket/index.js", "node_modules/partysocket/dist/index.js", "text/javascript; charset=utf-8"),
    ("/vendor/partysocket/ws.js", "node_modules/partysocket/dist/ws.js", "text/javascript; charset=utf-8"),
];

/// A folder for a server's data and for a page, each of whose files holds its own name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (_, file, _) in FILES {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    folder
}

fn command(folder: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_v1-todo"));
    command.args(["--listen", listen]).arg("--data").arg(folder.join("data")).arg("--web").arg(folder);
    command.env_remove("RUST_LOG").current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the program, and waits until it says where its data is and where it listens.
fn start(folder: &Path) -> (Child, SocketAddr) {
    let mut child = command(folder, "127.0.0.1:0").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening on http://").and_then(|line| line.strip_suffix('\n'));
    let address = address.expect(&line).parse().unwrap();
    // Said before, and nothing behind it yet: so nothing is left in this buffer.
    line.clear();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("data in {}\n", folder.join("data").display()));
    (child, address)
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
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
fn it_serves_its_page_and_no_other_file() {
    let folder = folder();
    let (mut child, address) = start(folder.path());
    for (url, file, content_type) in FILES {
        let answer = get(address, url);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("content-type: {content_type}\r\n")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{file}")), "{answer}");
    }
    assert!(get(address, "/?room=home").ends_with("web/index.html"));
    for path in
        ["/web/app.js", "/../data/lock", "/%2e%2e/data/lock", "//etc/passwd", "/vendor/partysocket/../../data/lock"]
    {
        assert!(get(address, path).starts_with("HTTP/1.1 404"), "{path}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
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
fn what_it_needs_and_lacks_it_says_in_one_line() {
    let folder = folder();
    let (mut child, address) = start(folder.path());
    assert!(refusal(command(folder.path(), "127.0.0.1:0")).contains("is in use by another server"));
    child.kill().unwrap();
    child.wait().unwrap();

    let taken = TcpListener::bind(address).or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let text = refusal(command(folder.path(), &taken.1.to_string()));
    assert!(text.contains("cannot listen on") && text.contains("--listen"), "{text}");

    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    assert!(refusal(command(folder.path(), "127.0.0.1:0")).contains("cannot be made"));

    std::fs::remove_dir_all(folder.path().join("node_modules")).unwrap();
    assert!(refusal(command(folder.path(), "127.0.0.1:0")).contains("run `npm ci` in"));
}

#[test]
fn spec_7_13_it_imports_what_a_durable_object_wrote() {
    let folder = folder();
    let file = folder.path().join("object.sqlite");
    let mut db = SqliteDb::open(&file, &Options::default()).unwrap();
    for sql in [
        "CREATE TABLE todos (id TEXT PRIMARY KEY, text TEXT, completed INTEGER, created_at, updated_at, deleted_at)",
        "INSERT INTO todos VALUES ('a', 'Milk', 0, '2026-11-23 01:47:34', '2026-11-23 01:47:35', NULL)",
    ] {
        db.execute(Origin::Engine, sql, &[]).unwrap();
    }
    drop(db);
    let import = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_v1-todo"));
        command.args(["import", "--room", "lobby"]).args(options).arg("--data").arg(folder.path().join("data"));
        command.arg(&file).env_remove("RUST_LOG");
        command
    };
    let summary = |options: &[&str]| {
        let output = import(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr.is_empty(), options != ["--replace"], "only what replaces a room is worth a warning");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = "  channel todos: 1 rows, 0 deleted, times from 2026-11-23 01:47:34 to 2026-11-23 01:47:35 UTC\n";
    let checked = format!("todos/lobby can be imported; nothing is stored yet\n{table}");
    let imported = format!("todos/lobby is imported\n{table}");
    assert_eq!(summary(&["--check"]), checked);
    let mut misspelt = Command::new(env!("CARGO_BIN_EXE_v1-todo"));
    misspelt.args(["import", "--room", "lobby", "--data"]).arg(folder.path().join("data")).arg("nowhere.sqlite");
    assert!(refusal(misspelt).starts_with("v1-todo: nowhere.sqlite: No such file"));
    assert!(!folder.path().join("data").exists(), "neither makes the data directory");
    assert_eq!(summary(&[]), imported);
    assert_eq!(summary(&["--check", "--replace"]), checked);
    assert_eq!(
        refusal(import(&[])),
        "v1-todo: there is a room todos/lobby already; --replace puts the file in its place\n"
    );
    assert_eq!(summary(&["--replace"]), imported);

    let (mut child, address) = start(folder.path());
    assert!(refusal(import(&["--replace"])).contains("is in use by another server"));
    let _socket = open_socket(address);
    child.kill().unwrap();
    child.wait().unwrap();
}
