//! The clients' side of a world: devices with a socket each, and on it one client of each room that they are in.

use std::collections::BTreeSet;

use partysync_client::{Apply, Client, Config, Effect, Event, Input, State};
use partysync_model::{Value, push_row};
use partysync_protocol::Millis;
use partysync_protocol::v2::Up;
use partysync_room::ConnectionId;

use crate::Tamper;
use crate::app::{self, Request};
use crate::checks::{Checked, Promise, Violation, ensure, nonce_of};
use crate::door::Pass;
use crate::model::CHANNELS;
use crate::network::{Lane, Wire};
use crate::script;
use crate::site::room_name;
use crate::slow::Down;
use crate::world::World;

/// What a reader that is slow leaves under way to it, in bytes.
const SLOW_WINDOWS: [usize; 3] = [0, 300, 2_000];

/// How often it reads when others do.
const READS_PER_MILLE: u64 = 200;

/// A user's device.
pub(crate) struct Device {
    pub(crate) wire: Option<Wire>,
    pub(crate) cores: Vec<Core>,
    pub(crate) identity: String,
}

/// A client of one room.
pub(crate) struct Core {
    pub(crate) site: usize,
    pub(crate) client: Client,
    tick_at: Option<Millis>,
    pub(crate) pass: Pass,
    /// It is off its socket, which goes on with other rooms, until then.
    pub(crate) back_at: Option<Millis>,
    /// An old state of it.
    pub(crate) stored: Option<State>,
}

impl Device {
    pub(crate) fn new(identity: String, cores: Vec<Core>) -> Self {
        Device { wire: None, cores, identity }
    }
}

impl Core {
    pub(crate) fn new(site: usize, random: [u8; 16]) -> Self {
        let client = Client::new(config(site), random);
        Core { site, client, tick_at: None, pass: Pass::default(), back_at: None, stored: None }
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
    pub(crate) fn pending(&self) -> Vec<(u64, u64)> {
        self.client.pending().filter_map(|p| Some((p.number, nonce_of(p.action.get())?))).collect()
    }
}

pub(crate) fn config(site: usize) -> Config {
    let apply: Apply = Box::new(|tx, _, action| {
        let request: Request = serde_json::from_str(action)
            .map_err(|_| partysync_model::ActionError::from(partysync_protocol::ErrorCode::BadAction))?;
        app::apply(tx, request).map(|_| ())
    });
    Config { room: room_name(site).address().to_owned(), tables: app::tables(), apply: Some(apply) }
}

impl World {
    /// A user does something.
    pub(crate) fn act(&mut self, device: usize, core: usize) -> Checked {
        let site = self.devices[device].cores[core].site;
        let nonce = self.new_nonce(site);
        let (channel, request) = script::request(&mut self.rng, nonce, self.kind.is_large);
        let action = serde_json::to_string(&request).unwrap_or_default();
        self.sites[site].ledger.requests.insert(nonce, request);
        self.client_event(device, core, Event::Act { channel: channel.to_owned(), action })
    }

    /// A few frames arrive at a device.
    pub(crate) fn deliver(&mut self, device: usize) -> Checked {
        let is_slow = self.devices[device].wire.as_ref().is_some_and(|wire| wire.down.is_slow());
        if is_slow && !self.rng.chance(READS_PER_MILLE) {
            return Ok(());
        }
        (0..1 + self.rng.below(4)).try_for_each(|_| self.deliver_one(device).map(drop))
    }

    pub(crate) fn deliver_all(&mut self, device: usize) -> Checked {
        while self.deliver_one(device)? {}
        Ok(())
    }

    /// A frame arrives, if there is one.
    fn deliver_one(&mut self, device: usize) -> Result<bool, Violation> {
        let next = self.devices[device].wire.as_mut().and_then(|wire| wire.down.pop());
        let Some((lane, Down::Text(frame))) = next else { return Ok(false) };
        self.devices[device].wire.as_mut().map_or(Ok(()), |wire| wire.hears(lane, &frame))?;
        // What is about no room is about the socket.
        let all = frame.starts_with(r#"{"type":"welcome""#);
        let cores = if all { 0..self.devices[device].cores.len() } else { lane..lane + 1 };
        for core in cores {
            self.client_event(device, core, Event::Text(frame.clone()))?;
        }
        Ok(true)
    }

    /// A client's timer fires, if it is time, or for no reason.
    pub(crate) fn tick(&mut self, device: usize, core: usize) -> Checked {
        let due = self.devices[device].cores[core].tick_at.is_some_and(|at| at <= self.clock);
        if due || self.rng.chance(100) {
            self.devices[device].cores[core].tick_at = None;
            self.client_event(device, core, Event::Tick)?;
        }
        if self.rng.chance(200) {
            self.store_state(device, core);
        }
        Ok(())
    }

    /// A device without a connection opens one, if there is a room to take it.
    pub(crate) fn connect(&mut self, device: usize) -> Checked {
        let Device { wire, cores, .. } = &self.devices[device];
        let sites: Vec<usize> = cores.iter().map(|core| core.site).collect();
        if wire.is_some() || sites.iter().any(|site| self.sites[*site].room.is_none()) {
            return Ok(());
        }
        self.have_tokens(device)?;
        let lanes = sites.into_iter().map(|site| Lane { site, id: self.new_connection() }).collect();
        let (window, door) = (self.window(), self.door(!self.is_resting));
        let Device { wire, cores, identity } = &mut self.devices[device];
        let token = cores[0].pass.token();
        match door.ask(identity, token.as_ref()) {
            Ok(admission) => {
                let opened = wire.insert(Wire::new(lanes, identity.clone(), window));
                opened.admit(admission, token, door.now);
                cores.iter_mut().for_each(|core| core.back_at = None);
                self.for_all(device, &Event::Opened)
            }
            Err(refusal) => {
                if refusal.is_clients_fault() {
                    cores[0].pass.refuse();
                    cores[0].pass.want(door.now);
                }
                Ok(())
            }
        }
    }

    fn for_all(&mut self, device: usize, event: &Event) -> Checked {
        (0..self.devices[device].cores.len()).try_for_each(|core| self.client_event(device, core, event.clone()))
    }

    /// What is under way to a reader at the most.
    pub(crate) fn window(&mut self) -> usize {
        let is_slow = self.rng.chance(250);
        if is_slow { *self.rng.pick(&SLOW_WINDOWS) } else { usize::MAX }
    }

    pub(crate) fn new_connection(&mut self) -> ConnectionId {
        self.next_connection += 1;
        ConnectionId(self.next_connection)
    }

    /// A connection breaks. Of what is under way a part still arrives; at the rooms perhaps long after the client is back.
    pub(crate) fn cut(&mut self, device: usize) -> Checked {
        let Some(wire) = &self.devices[device].wire else { return Ok(()) };
        let arriving = self.rng.index(wire.down.under_way() + 1);
        let connection = wire.id();
        for _ in 0..arriving {
            let is_same = self.devices[device].wire.as_ref().is_some_and(|wire| wire.id() == connection);
            if !is_same || !self.deliver_one(device)? {
                break;
            }
        }
        self.hang_up(device)
    }

    /// A device's program stops and starts again with what it had stored.
    pub(crate) fn reload(&mut self, device: usize) -> Checked {
        self.hang_up(device)?;
        for core in &mut self.devices[device].cores {
            let state = core.client.save();
            let stored = serde_json::to_string(&state).ok().and_then(|json| serde_json::from_str(&json).ok());
            let Some(stored) = stored else {
                return Err(Violation { promise: Promise::P4, what: "a client's state cannot be stored".to_owned() });
            };
            core.client = Client::restore(config(core.site), stored);
            core.pass = Pass::default();
            self.sites[core.site].ledger.check_client(&mut core.client)?;
        }
        Ok(())
    }

    /// The client's side of a connection ends.
    pub(crate) fn hang_up(&mut self, device: usize) -> Checked {
        let arriving = self.devices[device].wire.as_ref().map_or(0, Wire::up_len);
        let arriving = self.rng.index(arriving + 1);
        self.end_wire(device, arriving)
    }

    /// It ends, and nothing that was under way to the rooms arrives, on this connection or on those before.
    pub(crate) fn drop_wire(&mut self, device: usize) -> Checked {
        self.end_wire(device, 0)?;
        let identity = &self.devices[device].identity;
        self.lingering.iter_mut().filter(|wire| wire.identity() == identity).for_each(|wire| wire.cut_up(0));
        Ok(())
    }

    fn end_wire(&mut self, device: usize, arriving: usize) -> Checked {
        let Some(mut wire) = self.devices[device].wire.take() else { return Ok(()) };
        self.stats.cuts += 1;
        wire.cut_up(arriving);
        self.lingering.push(wire);
        self.for_all(device, &Event::Closed)
    }

    /// Hands an event to a client, carries out what it wants, and looks at what it has become.
    pub(crate) fn client_event(&mut self, device: usize, core: usize, event: Event) -> Checked {
        let input = Input { now: self.clock, random: self.rng.bytes() };
        let at = &mut self.devices[device].cores[core];
        let (before, pending) = (at.client.cursor(), at.pending());
        let resets = matches!(&event, Event::Text(text) if text.contains(r#""type":"snapshot""#));
        let is_left = matches!(&event, Event::Text(text) if text.starts_with(r#"{"type":"left""#));
        let expires = matches!(&event, Event::Text(text) if text.starts_with(r#"{"type":"expires""#));
        let is_asked = expires && at.client.is_live();
        let mut effects = Vec::new();
        at.client.handle(input, event, &mut effects);
        let after = at.client.cursor();
        let ledger = &mut self.sites[at.site].ledger;
        if after != before {
            self.stats.resets += u64::from(resets);
            if resets && self.tamper == Tamper::LosePending {
                let mut state = at.client.save();
                state.pending.pop();
                at.client = Client::restore(config(at.site), state);
            }
            let back = after.map(|c| c.version) < before.map(|c| c.version);
            if back && !resets {
                let what = format!("a client went from {before:?} to {after:?} without a reset");
                return Err(Violation { promise: Promise::P2, what });
            }
            ledger.check_client(&mut at.client)?;
        }
        let nonce_of = |number: &u64| pending.iter().find(|(n, _)| n == number).map(|(_, nonce)| *nonce);
        let told: BTreeSet<u64> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Settled { number, .. } => nonce_of(number),
                _ => None,
            })
            .collect();
        let nonces = |pending: &[(u64, u64)]| pending.iter().map(|(_, nonce)| *nonce).collect::<Vec<u64>>();
        ledger.check_pending(&nonces(&pending), &nonces(&at.pending()), &told, resets)?;
        let asks = effects.iter().any(|effect| matches!(effect, Effect::Token { .. }));
        ensure!(asks || !is_asked, P9, "a client that is told that its admission ends asks for no token");
        effects.into_iter().try_for_each(|effect| self.client_effect(device, core, &pending, effect, is_left))
    }

    /// `is_left`: its room was left.
    fn client_effect(
        &mut self,
        device: usize,
        core: usize,
        pending: &[(u64, u64)],
        effect: Effect,
        is_left: bool,
    ) -> Checked {
        let Device { wire, cores, .. } = &mut self.devices[device];
        let at = &mut cores[core];
        match effect {
            Effect::Send(frame) => {
                if let Ok(Up::Join { token, .. }) = Up::parse(&frame) {
                    at.pass.check(token.as_ref())?;
                }
                wire.iter_mut().for_each(|wire| wire.send_up(core, frame.clone()));
            }
            Effect::TickAt(time) => at.tick_at = Some(time),
            Effect::Reconnect if is_left => return self.step_off(device, core),
            Effect::Reconnect => return self.hang_up(device),
            Effect::Token { refused } => {
                if refused.is_some() {
                    at.pass.refuse();
                } else if self.rng.chance(250) {
                    // Its app has none.
                    return Ok(());
                }
                at.pass.want(self.clock + self.rng.below(1_500) as Millis);
            }
            // As the app said: its user wants to come back.
            Effect::Left(error) if is_left && error.text == app::ENDS => return self.step_off(device, core),
            Effect::Settled { number, fate } => {
                let nonce = pending.iter().find(|(n, _)| *n == number).map(|(_, nonce)| *nonce);
                let cursor = at.client.cursor();
                if let Some(nonce) = nonce {
                    return self.sites[at.site].ledger.check_fate(nonce, &fate, cursor);
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
