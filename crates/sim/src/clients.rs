//! The clients' side of a world.

use partysync_client::{Apply, Client, Config, Effect, Event, Input};
use partysync_model::{Value, push_row};
use partysync_protocol::Millis;

use crate::app::{self, Request};
use crate::checks::{Checked, Promise, Violation, nonce_of};
use crate::model::CHANNELS;
use crate::network::Wire;
use crate::script;
use crate::server::room_name;
use crate::world::World;

/// A client and its home.
pub(crate) struct End {
    pub(crate) client: Client,
    pub(crate) wire: Option<Wire>,
    identity: String,
    tick_at: Option<Millis>,
}

impl End {
    pub(crate) fn new(identity: String, random: [u8; 16]) -> Self {
        End { client: Client::new(config(), random), wire: None, identity, tick_at: None }
    }

    /// What the user sees, as JSON, channel by channel.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let json = |row: &[Value]| {
            let mut json = String::new();
            push_row(&mut json, &row.to_vec()).map_or_else(|error| error.to_string(), |()| json)
        };
        CHANNELS.iter().map(|channel| self.client.rows(channel).map(json).collect()).collect()
    }

    /// What is pending, as (number, nonce).
    fn pending(&self) -> Vec<(u64, u64)> {
        self.client.pending().filter_map(|p| Some((p.number, nonce_of(p.action.get())?))).collect()
    }
}

fn config() -> Config {
    let apply: Apply = Box::new(|tx, _, action| {
        let request: Request = serde_json::from_str(action)
            .map_err(|_| partysync_model::ActionError::from(partysync_protocol::ErrorCode::BadAction))?;
        app::apply(tx, request.action).map(|_| ())
    });
    Config { room: room_name().address().to_owned(), tables: app::tables(), apply: Some(apply) }
}

impl World {
    /// A user does something.
    pub(crate) fn act(&mut self, client: usize) -> Checked {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        let (channel, request) = script::request(&mut self.rng, nonce);
        let action = serde_json::to_string(&request).unwrap_or_default();
        self.ledger.requests.insert(nonce, request);
        self.client_event(client, Event::Act { channel: channel.to_owned(), action })
    }

    /// A few frames arrive at a client.
    pub(crate) fn deliver(&mut self, client: usize) -> Checked {
        for _ in 0..1 + self.rng.below(4) {
            let Some(frame) = self.ends[client].wire.as_mut().and_then(Wire::next_down) else { break };
            self.client_event(client, Event::Text(frame))?;
        }
        Ok(())
    }

    pub(crate) fn deliver_all(&mut self, client: usize) -> Checked {
        while let Some(frame) = self.ends[client].wire.as_mut().and_then(Wire::next_down) {
            self.client_event(client, Event::Text(frame))?;
        }
        Ok(())
    }

    /// A client's timer fires, if it is time, or for no reason.
    pub(crate) fn tick(&mut self, client: usize) -> Checked {
        let due = self.ends[client].tick_at.is_some_and(|at| at <= self.clock);
        if due || self.rng.chance(100) {
            self.ends[client].tick_at = None;
            self.client_event(client, Event::Tick)?;
        }
        Ok(())
    }

    /// A client without a connection opens one, if there is a room to take it.
    pub(crate) fn connect(&mut self, client: usize) -> Checked {
        if self.ends[client].wire.is_some() || self.room.is_none() {
            return Ok(());
        }
        let id = self.new_connection();
        let end = &mut self.ends[client];
        end.wire = Some(Wire::new(id, end.identity.clone()));
        self.client_event(client, Event::Opened)
    }

    /// A connection breaks. Of what is under way a part still arrives; at the room perhaps long after the client is back.
    pub(crate) fn cut(&mut self, client: usize) -> Checked {
        let Some(wire) = &self.ends[client].wire else { return Ok(()) };
        let (id, arriving) = (wire.id, self.rng.index(wire.down_len() + 1));
        for _ in 0..arriving {
            let wire = self.ends[client].wire.as_mut().filter(|wire| wire.id == id);
            let Some(frame) = wire.and_then(Wire::next_down) else { break };
            self.client_event(client, Event::Text(frame))?;
        }
        self.hang_up(client)
    }

    /// A client's program stops and starts again with what it had stored.
    pub(crate) fn reload(&mut self, client: usize) -> Checked {
        self.hang_up(client)?;
        let end = &mut self.ends[client];
        let state = end.client.save();
        let stored = serde_json::to_string(&state).ok().and_then(|json| serde_json::from_str(&json).ok());
        let Some(stored) = stored else {
            return Err(Violation { promise: Promise::P4, what: "a client's state cannot be stored".to_owned() });
        };
        end.client = Client::restore(config(), stored);
        self.ledger.check_client(&mut self.ends[client].client)
    }

    /// The client's side of a connection ends.
    pub(crate) fn hang_up(&mut self, client: usize) -> Checked {
        let Some(mut wire) = self.ends[client].wire.take() else { return Ok(()) };
        self.stats.cuts += 1;
        let arriving = self.rng.index(wire.up_len() + 1);
        wire.cut_up(arriving);
        self.lingering.push(wire);
        self.client_event(client, Event::Closed)
    }

    /// Hands an event to a client, carries out what it wants, and looks at what it has become.
    pub(crate) fn client_event(&mut self, client: usize, event: Event) -> Checked {
        let input = Input { now: self.clock, random: self.rng.bytes() };
        let end = &mut self.ends[client];
        let (before, pending) = (end.client.cursor(), end.pending());
        let resets = matches!(&event, Event::Text(text) if text.contains(r#""type":"snapshot""#));
        let mut effects = Vec::new();
        end.client.handle(input, event, &mut effects);
        let after = end.client.cursor();
        if after != before {
            self.stats.resets += u64::from(resets);
            let back = after.map(|c| c.version) < before.map(|c| c.version);
            if back && !resets {
                let what = format!("a client went from {before:?} to {after:?} without a reset");
                return Err(Violation { promise: Promise::P2, what });
            }
            self.ledger.check_client(&mut end.client)?;
        }
        effects.into_iter().try_for_each(|effect| self.client_effect(client, &pending, effect))
    }

    fn client_effect(&mut self, client: usize, pending: &[(u64, u64)], effect: Effect) -> Checked {
        let end = &mut self.ends[client];
        match effect {
            Effect::Send(frame) => {
                end.wire.iter_mut().for_each(|wire| wire.send_up(frame.clone()));
            }
            Effect::TickAt(at) => end.tick_at = Some(at),
            Effect::Reconnect => return self.hang_up(client),
            Effect::Settled { number, fate } => {
                let nonce = pending.iter().find(|(n, _)| *n == number).map(|(_, nonce)| *nonce);
                let cursor = end.client.cursor();
                if let Some(nonce) = nonce {
                    return self.ledger.check_fate(nonce, &fate, cursor);
                }
                let what = format!("a client settled {number}, which was not pending");
                return Err(Violation { promise: Promise::P4, what });
            }
            Effect::Left(error) => {
                return Err(Violation { promise: Promise::P1, what: format!("a client was put out: {error:?}") });
            }
            _ => {}
        }
        Ok(())
    }
}
