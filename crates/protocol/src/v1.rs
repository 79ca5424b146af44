//! Version 1: the original library's frames (SPEC section 12).

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::v2::{nested_too_deep, present};

/// What a version 1 client sends.
#[derive(Debug)]
pub enum Up<'a> {
    /// A request for a channel's rows.
    Sync {
        /// The channel asked for; not yet looked up.
        channel: Cow<'a, str>,
        /// The largest time that the client holds.
        from: From,
    },
    /// A request to run an action.
    Action {
        /// Chosen by the client, of any JSON type, echoed as it came.
        id: &'a RawValue,
        /// The channel it is for; not yet looked up.
        channel: Cow<'a, str>,
        /// The app's JSON.
        action: &'a RawValue,
    },
}

/// What a sync request's `from` says (SPEC 12.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Null or what JavaScript takes for false: the client holds nothing.
    Nothing,
    /// A time in milliseconds.
    Time(i64),
    /// A value that is no time of ours: the client holds something, it is not known what.
    Unknown,
}

/// The frame is no message of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of version 1")]
pub struct BadFrame;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(default)]
    sync: bool,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    action: Option<&'a RawValue>,
}

impl<'a> Up<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] if it is not one JSON object with the fields of either request, or nested past
    /// [`limits::JSON_DEPTH`](crate::limits::JSON_DEPTH).
    pub fn parse(text: &'a str) -> Result<Self, BadFrame> {
        if !crate::is_object(text) || nested_too_deep(text) {
            return Err(BadFrame);
        }
        let frame: Frame<'a> = serde_json::from_str(text).map_err(|_| BadFrame)?;
        match frame {
            Frame { sync: true, channel, from, .. } => {
                let from = from.map_or(From::Nothing, From::read);
                Ok(Up::Sync { channel, from })
            }
            Frame { id: Some(id), action: Some(action), channel, .. } => Ok(Up::Action { id, channel, action }),
            _ => Err(BadFrame),
        }
    }
}

impl From {
    fn read(raw: &RawValue) -> Self {
        match raw.get() {
            "null" | "0" | "0.0" | "-0" | "\"\"" | "false" => From::Nothing,
            text => text.parse().map_or(From::Unknown, From::Time),
        }
    }
}

/// `rows` here and below are rows as JSON, separated by commas.
pub fn sync(channel: &str, rows: &str) -> String {
    let mut out = String::with_capacity(rows.len() + channel.len() + 48);
    out.push_str(r#"{"sync":true,"channel":"#);
    push_text(&mut out, channel);
    push_rows(&mut out, "payload", rows);
    out
}

/// The answer to an action that succeeded. `id` is JSON.
pub fn success(channel: &str, id: &str, rows: &str) -> String {
    let mut out = String::with_capacity(rows.len() + channel.len() + id.len() + 72);
    out.push_str(r#"{"type":"success","rpc":true,"channel":"#);
    push_text(&mut out, channel);
    out.push_str(r#","id":"#);
    out.push_str(id);
    push_rows(&mut out, "result", rows);
    out
}

/// The answer to an action that failed. `id` is JSON, `text` is shown to the user.
pub fn error(channel: &str, id: &str, text: &str) -> String {
    let mut out = String::from(r#"{"type":"error","rpc":true,"channel":"#);
    push_text(&mut out, channel);
    out.push_str(r#","id":"#);
    out.push_str(id);
    push_lines(&mut out, "error", text);
    out
}

/// The answer to a frame that could not be understood.
pub fn exception(text: &str) -> String {
    let mut out = String::from(r#"{"type":"exception","rpc":true"#);
    push_lines(&mut out, "exception", text);
    out
}

/// Rows that somebody changed.
pub fn update(channel: &str, rows: &str) -> String {
    let mut out = String::with_capacity(rows.len() + channel.len() + 64);
    out.push_str(r#"{"broadcast":true,"type":"update","channel":"#);
    push_text(&mut out, channel);
    push_rows(&mut out, "payload", rows);
    out
}

fn push_rows(out: &mut String, name: &str, rows: &str) {
    let _ = write!(out, ",\"{name}\":[{rows}]}}");
}

fn push_lines(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, ",\"{name}\":[");
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_text(out, line);
    }
    out.push_str("]}");
}

/// Appends text as a JSON string.
pub(crate) fn push_text(out: &mut String, text: &str) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // A `str` always serialises.
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_12_1_both_requests_are_read() {
        let up = Up::parse(r#"{"channel":"to\"dos","sync":true,"from":1700}"#).unwrap();
        assert!(matches!(up, Up::Sync { channel, from: From::Time(1700) } if channel == "to\"dos"));
        let up = Up::parse(r#"{"id":7,"channel":"todos","action":{"type":"x"}}"#).unwrap();
        let Up::Action { id, channel, action } = up else { panic!("{up:?}") };
        assert_eq!((id.get(), &*channel, action.get()), ("7", "todos", r#"{"type":"x"}"#));
    }

    #[test]
    fn spec_12_9_what_javascript_takes_for_false_is_nothing() {
        for (from, want) in [
            ("null", From::Nothing),
            ("0", From::Nothing),
            ("\"\"", From::Nothing),
            ("false", From::Nothing),
            ("17", From::Time(17)),
            ("\"2026-11-23 01:47:34\"", From::Unknown),
            ("1.5", From::Unknown),
            ("{}", From::Unknown),
        ] {
            let text = format!(r#"{{"channel":"c","sync":true,"from":{from}}}"#);
            let up = Up::parse(&text).unwrap();
            assert!(matches!(up, Up::Sync { from, .. } if from == want), "{text}: {up:?}");
        }
    }

    #[test]
    fn spec_12_2_what_is_no_request_is_refused() {
        let deep = format!(r#"{{"id":"1","channel":"c","action":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        for bad in [
            "",
            "null",
            "5",
            "\"x\"",
            "[]",
            "{}",
            r#"{"sync":true}"#,
            r#"{"channel":"c"}"#,
            r#"{"channel":5,"sync":true}"#,
            &deep,
        ] {
            assert_eq!(Up::parse(bad).unwrap_err(), BadFrame, "{bad:.40}");
        }
    }

    #[test]
    fn spec_12_1_answers_are_json_whatever_the_texts_hold() {
        let channel = "a\"b\\c\nd\u{1}";
        let value = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        for answer in [sync(channel, "[1]"), success(channel, "7", "[1],[2]"), update(channel, "")] {
            assert_eq!(value(answer)["channel"], channel);
        }
        let error = value(error("c", "\"i\"", "one\ntwo \"2\""));
        assert_eq!(error["error"], serde_json::json!(["one", "two \"2\""]));
        assert_eq!(value(exception("x"))["exception"][0], "x");
    }
}
