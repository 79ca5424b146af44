//! What an observer is told of actions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use common::{World, put, v1_action};
use partysync_room::{Begun, ConnectionId, Ending, Event, Observer, Settled};
use serde_json::json;

/// Counts the ends of steps, and keeps what became of them.
#[derive(Default, Clone)]
struct Recorder(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    running: Option<String>,
    /// What ran, again if it ran again; marks are places in it, from 1.
    ran: Vec<String>,
    settled: Vec<Settled>,
}

impl Observer for Recorder {
    fn begins(&mut self, step: Begun<'_>) {
        let Begun::Action { channel, action } = step else { panic!("no action: {step:?}") };
        assert_eq!(channel, Some("items"));
        let before = self.0.lock().unwrap().running.replace(action.to_owned());
        assert_eq!(before, None, "one at a time");
    }

    fn ended(&mut self) -> u64 {
        let mut seen = self.0.lock().unwrap();
        let ran = seen.running.take().unwrap();
        seen.ran.push(ran);
        seen.ran.len() as u64
    }

    fn settled(&mut self, steps: &mut dyn Iterator<Item = Settled>) {
        self.0.lock().unwrap().settled.extend(steps);
    }
}

/// What became of a batch of actions of connection 1.
fn observe(events: Vec<Event>) -> (Vec<(Ending, Option<u64>)>, Vec<String>) {
    let mut world = World::new();
    world.v1(1);
    let recorder = Recorder::default();
    world.room.observe(Box::new(recorder.clone()));
    world.handle(events);
    let seen = recorder.0.lock().unwrap();
    assert!(seen.settled.iter().all(|step| step.connection == Some(ConnectionId(1))));
    let endings = seen.settled.iter().map(|step| (step.ending, step.version)).collect();
    let marked = |step: &Settled| match step.mark as usize {
        0 => "nothing".to_owned(),
        mark => seen.ran[mark - 1].clone(),
    };
    (endings, seen.settled.iter().map(marked).collect())
}

#[test]
fn each_action_is_settled_once_with_the_mark_of_its_last_run() {
    let rejected = v1_action(1, "r", "reject", json!(null));
    let (endings, marked) = observe(vec![put(1, "a"), rejected, put(1, "b"), put(1, "b")]);
    assert_eq!((endings[0], endings[2]), ((Ending::Applied, Some(1)), (Ending::Applied, Some(2))));
    assert!(matches!(endings[1], (Ending::Rejected(_), None)), "{endings:?}");
    assert_eq!(endings[3], (Ending::Repeated, None), "the same call");
    assert!(marked[0].contains("\"a\"") && marked[1].contains("reject") && marked[2].contains("\"b\""), "{marked:?}");
}

#[test]
fn spec_5_3_what_ran_again_because_its_group_was_lost_is_settled_once() {
    let destroys = json!(["INSERT OR ROLLBACK INTO items (id, name) SELECT id, name FROM items"]);
    let (endings, marked) = observe(vec![put(1, "a"), v1_action(1, "c", "sql", destroys), put(1, "b")]);
    assert_eq!((endings[0], endings[2]), ((Ending::Applied, Some(1)), (Ending::Applied, Some(2))));
    assert!(matches!(endings[1], (Ending::Rejected(_), None)), "{endings:?}");
    assert!(marked[0].contains("\"a\"") && marked[2].contains("\"b\""), "{marked:?}");
    assert_eq!(marked[1], "nothing", "it never came to its end");
}
