//! A client that keeps asking until it is answered.

use serde_json::{Value, json};

use crate::frame;

/// Actions that are not answered yet.
const IN_FLIGHT: u32 = 8;
/// How far back an answer is asked for again. Less than what version 2 keeps.
pub(super) const ASK_BACK: u32 = 500;
/// The rows that an action makes.
pub(super) const PARTS: u32 = 3;
/// Of the actions one in so many is rejected, after it has written.
const REJECTED_EVERY: u32 = 5;

/// The protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V1,
    V2,
}

/// How an action ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Applied,
    Rejected,
}

/// A client over all lives of the server. Its actions are numbered from 0; each one's fate can be told from its number.
pub(super) struct Client {
    dialect: Dialect,
    room: String,
    pub(super) index: u32,
    /// Its secret.
    key: String,
    /// Actions that were ever sent.
    pub(super) sent: u32,
    /// Actions that were answered: they are answered in order.
    answered: u32,
    /// One that was answered before and is asked for again.
    again: Option<u32>,
    /// Whether answers are followed by more actions.
    acts: bool,
    /// Actions that were sent again since they were not answered.
    pub(super) resent: u64,
    pub(super) faults: Vec<String>,
}

impl Client {
    pub(super) fn new(dialect: Dialect, room: String, index: u32, seed: u64) -> Self {
        let key = format!("{seed:016x}{index:016x}");
        Client {
            dialect,
            room,
            index,
            key,
            sent: 0,
            answered: 0,
            again: None,
            acts: true,
            resent: 0,
            faults: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> String {
        match self.dialect {
            Dialect::V1 => format!("/parties/parts/{}?_pk={}", self.room, self.key),
            Dialect::V2 => format!("/parties/parts/{}", self.room),
        }
    }

    pub(super) fn answered(&self) -> usize {
        self.answered as usize
    }

    /// Actions that were answered.
    pub(super) fn settled(&self) -> u32 {
        self.answered
    }

    pub(super) fn is_settled(&self) -> bool {
        self.answered == self.sent && self.again.is_none()
    }

    /// It asks for nothing new any more.
    pub(super) fn stop(&mut self) {
        self.acts = false;
    }

    /// How the action ends, if it does.
    pub(super) fn fate(number: u32) -> Fate {
        if number % REJECTED_EVERY == REJECTED_EVERY - 1 { Fate::Rejected } else { Fate::Applied }
    }

    /// What it says on a new socket: whatever was not answered is sent again, in order.
    pub(super) fn come_back(&mut self, again: Option<u32>) -> Vec<String> {
        let mut messages = Vec::new();
        if self.dialect == Dialect::V2 {
            messages.push(json!({"type": "hello", "versions": [2]}).to_string());
            messages.push(json!({"type": "join", "room": self.address(), "client": self.key}).to_string());
        }
        self.again = again;
        messages.extend(again.map(|number| self.action(number)));
        messages.extend((self.answered..self.sent).map(|number| self.action(number)));
        self.resent += u64::from(self.sent - self.answered);
        while self.acts && self.sent - self.answered < IN_FLIGHT {
            messages.push(self.action(self.sent));
            self.sent += 1;
        }
        messages
    }

    fn address(&self) -> String {
        format!("parts/{}", self.room)
    }

    fn action(&self, number: u32) -> String {
        let fails = Self::fate(number) == Fate::Rejected;
        let action = json!({"type": "post", "payload": {"id": self.post(number), "parts": PARTS, "fails": fails}});
        match self.dialect {
            Dialect::V1 => json!({"id": number, "channel": "parts", "rpc": true, "action": action}),
            // Version 2's begin with 1.
            Dialect::V2 => {
                json!({"type": "action", "room": self.address(), "number": number + 1, "channel": "parts", "action": action})
            }
        }
        .to_string()
    }

    /// What an action posts.
    pub(super) fn post(&self, number: u32) -> String {
        format!("{}-{number}", self.index)
    }

    pub(super) fn hear(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return self.fault("what came is not JSON") };
        let Some((number, fate)) = self.answer(&message) else { return };
        // Nothing can be said of an action that did not end as it had to.
        if fate != Some(Self::fate(number)) {
            return self.fault(&format!("another outcome than the action's: {message}"));
        }
        if self.again == Some(number) {
            self.again = None;
        } else if number == self.answered {
            self.answered += 1;
        } else {
            return self.fault(&format!("an answer that is not due: {message}"));
        }
        if self.acts {
            frame::push_text(out, &self.action(self.sent));
            self.sent += 1;
        }
    }

    /// Which action the message answers, and how it ended.
    fn answer(&mut self, message: &Value) -> Option<(u32, Option<Fate>)> {
        let kind = message["type"].as_str().unwrap_or_default();
        let number = |field: &str| message[field].as_u64().and_then(|number| u32::try_from(number).ok());
        match (self.dialect, kind) {
            (Dialect::V1, "success") => {
                let rows = message["result"].as_array().map_or(0, Vec::len);
                Some((number("id")?, (rows == PARTS as usize).then_some(Fate::Applied)))
            }
            (Dialect::V1, "error") => {
                Some((number("id")?, (message["error"] == json!([NO])).then_some(Fate::Rejected)))
            }
            (Dialect::V2, "ack") => Some((number("number")?.checked_sub(1)?, Some(Fate::Applied))),
            (Dialect::V2, "reject") => {
                let fate = (message["error"]["code"] == "rejected").then_some(Fate::Rejected);
                Some((number("number")?.checked_sub(1)?, fate))
            }
            (Dialect::V1, "exception") | (Dialect::V2, "error" | "later" | "left") => {
                self.fault(&format!("what should not come: {message}"));
                None
            }
            _ => None,
        }
    }

    fn fault(&mut self, what: &str) {
        self.faults.push(format!("client {} of {}: {what}", self.index, self.room));
    }
}

/// The text of the rejection.
pub(crate) const NO: &str = "This one is not to be.";
