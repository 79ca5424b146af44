//! Dialogues, as a room takes part in them without clients.

use std::collections::{BTreeMap, VecDeque};

use partysync_protocol::ErrorCode;
use partysync_room::{ConnectionId, ConnectionInfo, Effect, Event, Vetted};
use partysync_vectors::{Bound, By, Dialogue, Need, Side, Step, dialogues};
use serde_json::{Value as Json, json};

use super::app::door;
use super::server::{Done, Server, done};

/// A room, and what it did that the dialogue has not come to yet.
struct Driven<'a> {
    dialogue: &'a Dialogue,
    server: Server,
    /// How many sockets there were.
    opened: u64,
    sockets: BTreeMap<String, ConnectionId>,
    /// Of sockets whose patches are left out: the version that such a one holds.
    slow: BTreeMap<ConnectionId, Option<u64>>,
    done: BTreeMap<ConnectionId, VecDeque<Done>>,
    bound: Bound,
    is_busy: bool,
}

impl<'a> Driven<'a> {
    fn new(dialogue: &'a Dialogue) -> Self {
        Driven {
            dialogue,
            server: Server::of(&dialogue.room),
            opened: 0,
            sockets: BTreeMap::new(),
            slow: BTreeMap::new(),
            done: BTreeMap::new(),
            bound: Bound::default(),
            is_busy: false,
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = self.server.handle(event);
        effects.iter_mut().for_each(|effect| self.leave_out(effect));
        for (connection, done) in done(&effects) {
            self.done.entry(connection).or_default().push_back(done);
        }
    }

    /// Broadcasts pass over slow readers.
    fn leave_out(&mut self, effect: &mut Effect) {
        let Effect::Broadcast { to, since, .. } = effect else { return };
        for (connection, left_out) in &mut self.slow {
            if to.contains(connection) {
                left_out.get_or_insert(*since);
            }
        }
        *to = to.iter().filter(|to| !self.slow.contains_key(to)).copied().collect();
    }

    fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Wait { ms } => self.server.wait(*ms),
            Step::Server { does, on, days } => self.server_does(*does, on.as_deref(), *days)?,
            // It has no socket of its own.
            Step::Open { on, .. } | Step::Close { on, .. } if self.dialogue.riders.contains_key(on) => {}
            Step::Open { on, token, .. } => {
                self.opened += 1;
                let connection = ConnectionId(self.opened);
                self.sockets.insert(on.clone(), connection);
                let identity = match self.has_door() {
                    true => door(token.as_deref())
                        .map_err(|r| format!("the door said {r:?}"))?
                        .identity()
                        .map(str::to_owned),
                    false => None,
                };
                let info = ConnectionInfo { identity, ..ConnectionInfo::default() };
                self.handle(Event::Opened { connection, info });
            }
            Step::Close { on, code, by } => {
                let connection = self.sockets.remove(on).ok_or("it has no socket")?;
                if *by == By::Server {
                    let done = self.done.entry(connection).or_default().pop_front();
                    let is_closed = matches!(done, Some(Done::Closed(closed)) if closed == *code);
                    is_closed.then_some(()).ok_or(format!("the server did {done:?}"))?;
                }
                self.expect_no_more(connection)?;
                self.handle(Event::Closed { connection, code: Some(*code), reason: String::new() });
            }
            Step::Up { lost: true, .. } => {}
            Step::Up { on, frame, .. } => {
                let connection = self.socket(on)?;
                let text = self.bound.to_server(frame).to_string();
                let event = match self.vetted(frame) {
                    Some(vetted) => Event::Vetted { connection, text, vetted },
                    None => Event::Text { connection, text },
                };
                self.handle(event);
            }
            Step::Down { on, frame, .. } => {
                let connection = self.socket(on)?;
                match self.done.entry(connection).or_default().pop_front() {
                    Some(Done::Sent(sent)) => self.bound.compare(frame, &sent)?,
                    other => return Err(format!("the server did {other:?}")),
                }
            }
            Step::Act { .. } | Step::Say { .. } | Step::Token { .. } | Step::Reload { .. } | Step::Shows(_) => {}
        }
        Ok(())
    }

    fn socket(&self, on: &str) -> Result<ConnectionId, String> {
        self.sockets.get(self.dialogue.socket_of(on)).copied().ok_or_else(|| "it has no socket".to_owned())
    }

    fn has_door(&self) -> bool {
        self.dialogue.room.starts_with("guarded/")
    }

    /// What the home has heard of the app before it hands in a frame.
    fn vetted(&mut self, frame: &Json) -> Option<Vetted> {
        let said = || door(frame["token"].as_str()).map_err(|refusal| refusal.to_wire());
        match frame["type"].as_str()? {
            "join" if self.has_door() && frame["token"].is_string() => Some(Vetted::Join(said())),
            "token" if self.has_door() => Some(Vetted::Token(said())),
            "action" if std::mem::take(&mut self.is_busy) => {
                Some(Vetted::Action { prepared: Err(ErrorCode::Busy.into()), tell: false })
            }
            _ => None,
        }
    }

    fn server_does(&mut self, does: Need, on: Option<&str>, days: Option<i64>) -> Result<(), String> {
        let connection = on.and_then(|on| self.sockets.get(on)).copied().ok_or("it has no socket");
        match does {
            Need::Restart => self.server.restart(),
            Need::Days => (0..days.ok_or("how many?")?).for_each(|_| {
                self.server.next_day();
                self.handle(Event::Alarm);
            }),
            Need::Save => self.server.save(),
            Need::Restore => self.server.restore(),
            Need::Busy => self.is_busy = true,
            // A room by itself is one that its socket is full of.
            Need::Several | Need::Door | Need::Fill => {}
            Need::Slow => drop(self.slow.insert(connection?, None)),
            Need::CaughtUp => {
                let connection = connection?;
                let since = self.slow.remove(&connection).flatten().ok_or("nothing was left out")?;
                self.handle(Event::CatchUp { connection, since });
            }
        }
        Ok(())
    }

    fn expect_no_more(&mut self, connection: ConnectionId) -> Result<(), String> {
        let more = self.done.remove(&connection).unwrap_or_default();
        if more.is_empty() { Ok(()) } else { Err(format!("the server did {more:?}")) }
    }
}

fn play(dialogue: &Dialogue) -> Result<(), String> {
    let mut driven = Driven::new(dialogue);
    for (place, step) in dialogue.steps.iter().enumerate() {
        driven.play(step).map_err(|error| format!("step {place}, {step:?}:\n{error}"))?;
    }
    let connections: Vec<_> = driven.done.keys().copied().collect();
    connections.into_iter().try_for_each(|connection| driven.expect_no_more(connection))?;
    driven.bound.check_order()
}

#[test]
fn spec_8_a_room_takes_its_part_in_the_dialogues() {
    let all = dialogues();
    let wrong: Vec<String> = all
        .iter()
        .filter(|(_, dialogue)| dialogue.tests.contains(&Side::Server) && !dialogue.needs.contains(&Need::Several))
        .filter_map(|(file, dialogue)| play(dialogue).err().map(|error| format!("{file}: {error}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(all.len() > 30, "where are they?");
}

#[test]
fn what_a_dialogue_does_to_a_server_is_among_its_needs() {
    for (file, dialogue) in dialogues() {
        let does = |step: &Step| if let Step::Server { does, .. } = step { Some(*does) } else { None };
        for need in dialogue.steps.iter().filter_map(does) {
            assert!(dialogue.needs.contains(&need), "{file}: {}", json!(format!("{need:?}")));
        }
    }
}
