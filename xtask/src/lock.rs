//! The lock: messages change their shape with a new protocol version alone (SPEC 8.1). `vectors/lock.json` holds the shape of each;
//! here it is compared with what the protocol's crate reads and writes.

mod samples;
mod shape;

use std::collections::BTreeMap;
use std::path::Path;

use partysync_protocol::{CLOSE_CODES, CloseCode, ErrorCode, v2};
use serde::{Deserialize, Serialize};

use crate::generate::errors::{come_back, fault, retry, span};
use crate::tidy::read;
use shape::Shape;

pub(crate) const FILE: &str = "vectors/lock.json";

/// All that is locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    version: u32,
    about: String,
    /// Messages of clients: their fields, by path.
    up: BTreeMap<String, Shape>,
    /// Messages of servers.
    down: BTreeMap<String, Shape>,
    /// Codes of errors, with who is at fault and whether a retry helps.
    errors: BTreeMap<String, String>,
    /// Close codes, and whether a client comes back.
    closes: BTreeMap<String, String>,
}

impl Lock {
    /// As the code has it.
    fn of_code() -> Self {
        let about = "The shape of every message: what is read, and how it is written. Made by cargo xtask generate; see README.md.";
        let error = |&code: &ErrorCode| (code.to_string(), format!("{}, {}", fault(code.fault()), retry(code.retry())));
        let close = |close: &CloseCode| (span(close), come_back(close.come_back));
        Lock {
            version: v2::VERSION,
            about: about.to_owned(),
            up: samples::up(),
            down: samples::down(),
            errors: ErrorCode::ALL.iter().map(error).collect(),
            closes: CLOSE_CODES.iter().filter(|close| close.is_ours).map(close).collect(),
        }
    }

    /// What of this lock another one breaks: peers that keep to this one would not understand who keeps to the other.
    fn broken_by(&self, new: &Lock) -> Vec<String> {
        let mut broken = Vec::new();
        for (old, new, direction) in [(&self.up, &new.up, "a client's"), (&self.down, &new.down, "a server's")] {
            for (name, shape) in old {
                match new.get(name) {
                    Some(new) => broken.extend(shape.broken_by(new).map(|why| format!("{direction} {name}: {why}"))),
                    None => broken.push(format!("{direction} {name} is gone")),
                }
            }
        }
        // The list is closed for a version (SPEC 10.1).
        if self.errors != new.errors {
            broken.push("the list of error codes is another one, and it is closed (SPEC 10.1)".to_owned());
        }
        for (codes, old) in &self.closes {
            if new.closes.get(codes) != Some(old) {
                broken.push(format!("the close code {codes} is gone or means something else"));
            }
        }
        broken
    }

    fn text(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|e| e.to_string())
    }
}

/// What the lock's file should hold; an error if the code breaks what it holds.
pub(crate) fn made(root: &Path) -> Result<String, String> {
    let new = Lock::of_code();
    match stored(root) {
        Ok(old) => next(&old, &new)?.text(),
        // The first one of all.
        Err(_) if !root.join(FILE).exists() => new.text(),
        Err(error) => Err(error),
    }
}

pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let (old, new) = (stored(root)?, Lock::of_code());
    let spec = read(&root.join("SPEC.md"))?;
    let mut findings = unspecified(&new, &spec);
    findings.extend(verdict(&old, &new));
    Ok(findings)
}

fn stored(root: &Path) -> Result<Lock, String> {
    serde_json::from_str(&read(&root.join(FILE))?).map_err(|error| format!("{FILE}: {error}"))
}

/// The lock to be stored in place of an old one.
fn next<'a>(old: &Lock, new: &'a Lock) -> Result<&'a Lock, String> {
    let broken = old.broken_by(new);
    if broken.is_empty() || new.version > old.version {
        return Ok(new);
    }
    Err(needs_version(&broken, old.version))
}

fn verdict(old: &Lock, new: &Lock) -> Option<String> {
    if old == new {
        return None;
    }
    if let Err(error) = next(old, new) {
        return Some(error);
    }
    if new.version > old.version {
        return Some(format!(
            "the protocol has version {}: record its messages with cargo xtask generate",
            new.version
        ));
    }
    Some(format!(
        "messages have gained something that {FILE} does not hold. Who speaks version {} goes on understanding them, so it may stay \
         that version: say what is new in SPEC section 8, give examples in vectors/, and record it with cargo xtask generate",
        old.version
    ))
}

fn needs_version(broken: &[String], version: u32) -> String {
    format!(
        "who speaks version {version} would not understand this: {}. Undo it; or make it an optional field, or a message, that is new; or \
         give the protocol a new version (VERSION in crates/protocol/src/v2.rs), keep the old one spoken, and run cargo xtask generate",
        broken.join("; ")
    )
}

/// Messages and fields that SPEC's tables do not have, and messages of theirs that the code does not have.
fn unspecified(lock: &Lock, spec: &str) -> Vec<String> {
    let section = spec.split("\n## 8 ").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let (up, down) = section.split_once("Server to client:").unwrap_or_default();
    let mut findings = Vec::new();
    for (messages, rows) in [(&lock.up, up), (&lock.down, down)] {
        let rows: BTreeMap<&str, &str> = rows.lines().filter_map(row).collect();
        for (name, shape) in messages {
            match rows.get(name.as_str()) {
                Some(row) => findings.extend(
                    shape.fields().filter(|f| !row.contains(f)).map(|f| format!("SPEC 8 has no field {f} of {name}")),
                ),
                None => findings.push(format!("SPEC 8 has no message {name} in this direction")),
            }
        }
        let unknown = rows.iter().filter(|(name, row)| !row.contains('◇') && !messages.contains_key(**name));
        findings.extend(unknown.map(|(name, _)| format!("{name} of SPEC 8 is not locked: give it a sample in xtask")));
    }
    findings
}

/// A message of a table in SPEC section 8: its name, and the row.
fn row(line: &str) -> Option<(&str, &str)> {
    let cells = line.strip_prefix("| **8.")?;
    let name = cells.split('|').nth(1)?.split('`').nth(1)?;
    Some((name, cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn spec_8_1_messages_have_the_shape_that_is_locked() {
        assert_eq!(check(&root()).unwrap(), Vec::<String>::new());
    }

    type Change = (&'static str, fn(&mut Lock));

    /// What is said of a lock that was changed.
    fn said(change: impl FnOnce(&mut Lock)) -> Option<String> {
        let old = Lock::of_code();
        let mut new = old.clone();
        change(&mut new);
        verdict(&old, &new)
    }

    fn field(lock: &mut Lock, message: &str, path: &str, is: &str) {
        let messages = if lock.up.contains_key(message) { &mut lock.up } else { &mut lock.down };
        messages.entry(message.to_owned()).or_default().set(path, is);
    }

    #[test]
    fn spec_8_1_what_breaks_a_peer_needs_a_new_version() {
        let breaks: [Change; 10] = [
            ("a message is gone", |l| drop(l.up.remove("have"))),
            ("a field is gone", |l| field(l, "ack", "version", "")),
            ("a new field is required", |l| field(l, "join", "device", "text; always")),
            ("a field that could be absent is required", |l| field(l, "join", "token", "null|text; sometimes")),
            ("a kind is not taken any more", |l| field(l, "join", "cursor", "object of a form?; null")),
            ("a kind is another one", |l| field(l, "ack", "number", "text; always")),
            ("a field that was always written is not", |l| field(l, "joined", "last", "integer; sometimes")),
            ("an error code is new", |l| drop(l.errors.insert("too_slow".to_owned(), "client, later".to_owned()))),
            ("an error code means something else", |l| drop(l.errors.insert("busy".to_owned(), String::new()))),
            ("a close code is gone", |l| drop(l.closes.remove("1012"))),
        ];
        for (name, change) in breaks {
            let said = said(change).unwrap_or_else(|| panic!("{name}: nothing"));
            assert!(said.contains("new version") && said.starts_with("who speaks"), "{name}: {said}");
            let mut newer = Lock::of_code();
            change(&mut newer);
            newer.version += 1;
            let said = verdict(&Lock::of_code(), &newer).unwrap();
            assert!(said.contains("cargo xtask generate") && !said.starts_with("who speaks"), "{name}: {said}");
        }
    }

    #[test]
    fn spec_8_1_what_messages_gain_is_to_be_recorded() {
        let gains: [Change; 5] = [
            ("a message", |l| field(l, "wave", "room", "text; always")),
            ("an optional field", |l| field(l, "join", "device", "null|text?; sometimes")),
            ("a kind that is taken, too", |l| field(l, "ack", "number", "integer|text; always")),
            ("a field that may be absent now", |l| field(l, "have", "number", "integer?; always")),
            ("a close code", |l| drop(l.closes.insert("4500".to_owned(), "no".to_owned()))),
        ];
        for (name, change) in gains {
            let said = said(change).unwrap_or_else(|| panic!("{name}: nothing"));
            assert!(said.starts_with("messages have gained"), "{name}: {said}");
        }
        assert_eq!(said(|_| ()), None);
    }

    #[test]
    fn spec_8_a_message_or_a_field_that_spec_does_not_have_is_found() {
        let spec = read(&root().join("SPEC.md")).unwrap();
        let mut lock = Lock::of_code();
        field(&mut lock, "ack", "hurry", "integer?; sometimes");
        field(&mut lock, "wave", "room", "text; always");
        lock.up.remove("leave");
        let said = unspecified(&lock, &spec).join("; ");
        for part in ["no field hurry of ack", "no message wave", "leave of SPEC 8 is not locked"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
