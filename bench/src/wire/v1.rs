//! Version 1 of the protocol.

use std::fmt::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Heard, RowId, fill_action, push_create, row_id};

/// Version 1, with the actions of the todo example. Each message can be read by itself.
#[derive(Debug)]
pub(crate) struct V1;

/// The message that asks for all rows, and for what follows.
pub(super) const SYNC: &str = r#"{"channel":"todos","sync":true,"from":null}"#;

/// The message that asks for what changed at a time and later, and for what follows.
pub(super) fn sync_from(time: i64) -> String {
    format!(r#"{{"channel":"todos","sync":true,"from":{time}}}"#)
}

/// How messages begin that come by the thousand. Any other way of writing them is read too, but slower.
const ACK: &[u8] = br#"{"type":"success","rpc":true,"channel":"todos","id":""#;
const ACK_ROW: &[u8] = br#"","result":[[""#;
const NEWS: &[u8] = br#"{"broadcast":true,"type":"update","channel":"todos","payload":[[""#;
/// How a message ends whose last row is alive.
const ALIVE: &[u8] = b",null]]}";

/// How the ids of calls that fill rooms begin. Each has its own: with a `_pk` a call is run once.
const FILL: &str = "fill";

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    sync: bool,
    #[serde(default)]
    broadcast: bool,
    #[serde(rename = "type", default)]
    kind: &'a str,
    #[serde(default)]
    id: &'a str,
    #[serde(borrow, default)]
    payload: Vec<Row<'a>>,
    #[serde(borrow, default)]
    result: Vec<Row<'a>>,
}

/// The whole channel: its rows are counted, not kept.
#[derive(Deserialize)]
struct Snapshot {
    payload: Vec<IgnoredAny>,
}

/// id, text, completed, and the three times.
#[derive(Deserialize)]
struct Row<'a>(&'a str, IgnoredAny, IgnoredAny, IgnoredAny, IgnoredAny, Option<i64>);

pub(super) fn create(message: &mut String, row: RowId, text: &str) {
    let RowId { client, number } = row;
    // Writing to a String never fails.
    let _ = write!(message, r#"{{"id":"{client}-{number}","channel":"todos","rpc":true,"action":"#);
    push_create(message, row, text);
    message.push('}');
}

pub(super) fn fill(from: usize, to: usize, text: &str) -> String {
    let action = fill_action(from, to, text);
    format!(r#"{{"id":"{FILL}-{from}","channel":"todos","rpc":true,"action":{action}}}"#)
}

pub(super) fn read(message: &[u8], heard: &mut Vec<Heard>) {
    match fast(message) {
        Some(what) => heard.push(what),
        None => slow(message, &mut |what| heard.push(what)),
    }
}

/// Reads an ack or a piece of news with one row, written as our server writes it.
fn fast(message: &[u8]) -> Option<Heard> {
    if let Some(rest) = message.strip_prefix(NEWS) {
        let (row, rest) = row_id(rest)?;
        return (rest.ends_with(ALIVE) && !rest.contains(&b'[')).then_some(Heard::News(row));
    }
    let (row, rest) = row_id(message.strip_prefix(ACK)?)?;
    let (made, rest) = row_id(rest.strip_prefix(ACK_ROW)?)?;
    (made == row && rest.ends_with(ALIVE) && !rest.contains(&b'[')).then_some(Heard::Ack(row))
}

fn slow(message: &[u8], hear: &mut dyn FnMut(Heard)) {
    if message.starts_with(br#"{"sync":true"#) {
        let rows = serde_json::from_slice(message).map(|Snapshot { payload }| payload.len());
        return hear(rows.map_or(Heard::Wrong, Heard::Snapshot));
    }
    let Ok(message) = serde_json::from_slice::<Message<'_>>(message) else { return hear(Heard::Wrong) };
    if message.sync {
        return hear(Heard::Snapshot(message.payload.len()));
    }
    match (message.broadcast, message.kind) {
        // The rows of a fill are nobody's.
        (true, "update") => message.payload.iter().filter_map(Row::alive).for_each(|row| hear(Heard::News(row))),
        (false, "success") if message.id.starts_with(FILL) => hear(Heard::Filled),
        (false, "success") => {
            let id = row_id(format!("{}\"", message.id).as_bytes()).map(|(row, _)| row);
            let made: Vec<Option<RowId>> = message.result.iter().map(Row::alive).collect();
            match id {
                Some(row) if made == [Some(row)] => hear(Heard::Ack(row)),
                _ => hear(Heard::Wrong),
            }
        }
        _ => hear(Heard::Wrong),
    }
}

impl Row<'_> {
    fn alive(&self) -> Option<RowId> {
        let row = row_id(format!("{}\"", self.0).as_bytes()).map(|(row, _)| row);
        row.filter(|_| self.5.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: RowId = RowId { client: 3, number: 14 };

    fn heard(message: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        read(message.as_bytes(), &mut all);
        all
    }

    #[test]
    fn acks_and_news_are_read_fast_and_slowly_alike() {
        let row = r#"["3-14","text",0,1,1,null]"#;
        let ack = format!(r#"{{"type":"success","rpc":true,"channel":"todos","id":"3-14","result":[{row}]}}"#);
        let news = format!(r#"{{"broadcast":true,"type":"update","channel":"todos","payload":[{row}]}}"#);
        for (message, expected) in [(ack, Heard::Ack(ROW)), (news, Heard::News(ROW))] {
            assert_eq!(fast(message.as_bytes()).as_ref(), Some(&expected));
            let spaced = message.replace(':', " : ");
            assert_eq!(fast(spaced.as_bytes()), None);
            assert_eq!(heard(&spaced), [expected]);
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_wrong() {
        for message in [
            "",
            "{}",
            r#"{"type":"error","rpc":true,"channel":"todos","id":"3-14","error":["no"]}"#,
            r#"{"type":"success","rpc":true,"channel":"todos","id":"3-14","result":[]}"#,
            r#"{"type":"success","rpc":true,"channel":"todos","id":"3-14","result":[["3-15","text",0,1,1,null]]}"#,
            r#"{"type":"success","rpc":true,"channel":"todos","id":"3-14","result":[["3-14","text",0,1,1,5]]}"#,
            r#"{"type":"exception","rpc":true,"exception":["no"]}"#,
        ] {
            assert_eq!(heard(message), [Heard::Wrong], "{message}");
        }
    }

    #[test]
    fn snapshots_and_many_rows_at_once_are_counted() {
        let rows = r#"["1-1","text",0,1,1,null],["1-2","text",0,1,1,null]"#;
        assert_eq!(heard(&format!(r#"{{"sync":true,"channel":"todos","payload":[{rows}]}}"#)), [Heard::Snapshot(2)]);
        let news = format!(r#"{{"broadcast":true,"type":"update","channel":"todos","payload":[{rows}]}}"#);
        let row = |number| Heard::News(RowId { client: 1, number });
        assert_eq!(heard(&news), [row(1), row(2)]);
    }

    #[test]
    fn what_is_asked_for_is_json() {
        let mut create = String::new();
        super::create(&mut create, ROW, "text");
        let create: serde_json::Value = serde_json::from_str(&create).unwrap();
        assert_eq!((&create["id"], &create["action"]["payload"]["id"]), (&"3-14".into(), &"3-14".into()));
        let fill: serde_json::Value = serde_json::from_str(&fill(1, 5, "text")).unwrap();
        assert_eq!(fill["action"]["payload"]["to"], 5);
    }
}
