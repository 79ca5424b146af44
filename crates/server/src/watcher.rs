//! What is counted and logged of actions.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use partysync_room::{Begun, Ending, Observer, Settled};
use serde::Deserialize;
use tracing::field::Empty;
use tracing::{Level, Span};

use crate::metrics::{ActionTally, Metrics};

/// What lines about actions are logged as: `RUST_LOG=partysync::action=debug`.
macro_rules! target {
    () => {
        "partysync::action"
    };
}

/// Characters of an action's type that are logged. What clients send can be of any length.
const TYPE_CHARS: usize = 64;

/// A room's observer.
pub(crate) struct Watcher {
    metrics: Arc<Metrics>,
    /// Whether what actions hold is logged.
    log_payloads: bool,
    /// The action that runs, if actions are logged.
    running: Option<(Span, Instant)>,
    /// Those of the batch that ran, and for how many microseconds.
    ran: Vec<(Span, u64)>,
}

impl Watcher {
    pub(crate) fn new(metrics: Arc<Metrics>, log_payloads: bool) -> Self {
        Watcher { metrics, log_payloads, running: None, ran: Vec::new() }
    }
}

impl Observer for Watcher {
    /// Enters a span, so that what the app logs is in it.
    fn begins(&mut self, step: Begun<'_>) {
        if !tracing::enabled!(target: target!(), Level::DEBUG) {
            return;
        }
        let Begun::Action { channel, action } = step else { return };
        let span = tracing::debug_span!(target: target!(), "action", channel, "type" = Empty, payload = Empty);
        if let Some(kind) = kind(action) {
            span.record("type", kind.as_str());
        }
        if self.log_payloads {
            span.record("payload", action);
        }
        span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        self.running = Some((span, Instant::now()));
    }

    fn ended(&mut self) -> u64 {
        let Some((span, begun)) = self.running.take() else { return 0 };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        self.ran.push((span, micros));
        self.ran.len() as u64
    }

    fn settled(&mut self, steps: &mut dyn Iterator<Item = Settled>) {
        let mut tally = ActionTally::default();
        for step in steps {
            tally.add(step.ending);
            let ran = usize::try_from(step.mark).ok().and_then(|mark| self.ran.get(mark.checked_sub(1)?));
            if let Some((span, micros)) = ran {
                span.in_scope(|| log(&step, *micros));
            }
        }
        self.metrics.add_actions(&tally);
        self.ran.clear();
    }
}

fn log(step: &Settled, micros: u64) {
    let (outcome, code) = match step.ending {
        Ending::Applied => ("applied", None),
        Ending::Repeated => ("repeated", None),
        Ending::Rejected(code) => ("rejected", Some(code.as_str())),
        Ending::Later(code) => ("later", Some(code.as_str())),
    };
    let connection = step.connection.map(|connection| connection.0);
    tracing::debug!(target: target!(), connection, outcome, code, version = step.version, us = micros, "action");
}

/// An action's type, if it has one, as most have: `{"type": "add", ...}`.
fn kind(action: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let typed: Typed<'_> = serde_json::from_str(action).ok()?;
    Some(typed.kind.chars().take(TYPE_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actions_type_is_found_and_no_longer_than_it_may_be() {
        assert_eq!(kind(r#"{"payload": {"type": "no"}, "type": "add"}"#).as_deref(), Some("add"));
        assert_eq!(kind(r#"{"type": "a\"b"}"#).as_deref(), Some("a\"b"));
        let long = format!(r#"{{"type": "{}"}}"#, "x".repeat(1_000));
        assert_eq!(kind(&long).map(|kind| kind.len()), Some(TYPE_CHARS));
        for none in ["5", "null", r#"{"kind": "add"}"#, r#"{"type": 5}"#, "[]"] {
            assert_eq!(kind(none), None, "{none}");
        }
    }
}
