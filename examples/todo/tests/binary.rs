//! The program as whoever starts it sees it: what it prints, what it serves, how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
    command
        .args(["--listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--web")
        .arg(folder.join("web"));
    command.env_remove("RUST_LOG").current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The head and the body of a response.
fn get(address: &str, path: &str) -> (String, String) {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn it_serves_the_page_and_no_other_file_and_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("web/assets")).unwrap();
    for file in ["web/index.html", "web/sw.js", "web/assets/index-1a2b.js", "web/notes.txt", "secret.js"] {
        fs::write(folder.path().join(file), file).unwrap();
    }
    let mut child = command(folder.path()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").expect(&line).to_owned();

    for (path, file, kind, keep) in [
        ("/", "web/index.html", "text/html", "no-cache"),
        ("/?room=a", "web/index.html", "text/html", "no-cache"),
        ("/sw.js", "web/sw.js", "text/javascript", "no-cache"),
        ("/assets/index-1a2b.js", "web/assets/index-1a2b.js", "text/javascript", "max-age=31536000, immutable"),
    ] {
        let (head, body) = get(&address, path);
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}; charset=utf-8")), "{path}: {head}");
        assert!(head.contains(&format!("cache-control: {keep}")), "{path}: {head}");
        assert_eq!(body, file);
    }
    for path in ["/notes.txt", "/secret.js", "/../secret.js", "/assets/%2e%2e/secret.js", "/assets"] {
        assert!(get(&address, path).0.starts_with("http/1.1 404"), "{path}");
    }

    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_page_it_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("todo: there is no page in ") && stderr.ends_with("scripts/start builds it\n"),
        "{stderr}"
    );
    assert!(!folder.path().join("data").exists());
}
