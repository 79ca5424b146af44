//! One of several rooms on a socket ends, refuses or is left, and the others go on (SPEC 8.32 to 8.34).

use std::borrow::Cow;

use partysync_client::Event;
use partysync_protocol::v2::Left;
use partysync_protocol::{Millis, v2};

use crate::Tamper;
use crate::checks::{Checked, Promise, Violation, ensure};
use crate::clients::Device;
use crate::network::Wire;
use crate::script;
use crate::world::World;

/// Close codes with which the app ends the room for a socket: some that say that it is to come back, some that say it is not.
const CODES: [u16; 5] = [1001, 1013, 1000, 4000, 1008];

/// How long a room stays off a socket at the most.
const OFF_MS: u64 = 2_000;

impl World {
    /// A user leaves a room, or does something at which the app puts it out.
    pub(crate) fn end_something(&mut self, device: usize, core: usize) -> Checked {
        if self.rng.chance(500) {
            let code = *self.rng.pick(&CODES);
            return self.client_event(device, core, Event::Say(format!("end {code}")));
        }
        let Device { wire, cores, .. } = &self.devices[device];
        let goes_on = wire.as_ref().is_some_and(|wire| wire.carries_others(core));
        if !goes_on || !cores[core].client.is_live() {
            return Ok(());
        }
        let behind = self.behind(device, core);
        let Device { wire, cores, .. } = &mut self.devices[device];
        let room = &self.sites[cores[core].site].ledger.address;
        let leave = v2::Up::Leave { room: Cow::from(room.as_str()) }.encode();
        if let Some(wire) = wire {
            wire.send_up(core, leave);
            wire.send_up(core, behind);
        }
        self.stats.left += 1;
        self.step_off(device, core)
    }

    /// An action that comes when its room is left already. It is not to be run, and nobody waits for it.
    fn behind(&mut self, device: usize, core: usize) -> String {
        let site = self.devices[device].cores[core].site;
        let nonce = self.new_nonce(site);
        let (channel, request) = script::request(&mut self.rng, nonce, self.kind.is_large);
        let json = serde_json::to_string(&request).unwrap_or_default();
        let ledger = &mut self.sites[site].ledger;
        ledger.requests.insert(nonce, request);
        ledger.give_up(&[nonce]);
        let number = self.devices[device].cores[core].client.save().last + 1;
        let room = v2::encode(&ledger.address);
        format!(r#"{{"type":"action","room":{room},"number":{number},"channel":"{channel}","action":{json}}}"#)
    }

    /// A client is on its socket no more, which goes on with the others.
    pub(crate) fn step_off(&mut self, device: usize, core: usize) -> Checked {
        let back_at = self.clock + self.rng.below(OFF_MS) as Millis;
        self.devices[device].cores[core].back_at = Some(back_at);
        self.client_event(device, core, Event::Closed)
    }

    /// Clients that are off their socket go back onto it, once they have heard that they are out.
    pub(crate) fn step_on(&mut self, device: usize) -> Checked {
        for core in 0..self.devices[device].cores.len() {
            let at = &mut self.devices[device];
            let Some(welcome) = at.wire.as_ref().and_then(|wire| wire.welcome_for(core)) else { continue };
            if at.cores[core].back_at.take_if(|at| *at <= self.clock).is_some() {
                self.client_event(device, core, Event::Welcomed(welcome))?;
            }
        }
        Ok(())
    }

    /// A room ends itself on a socket: with `left` if the socket carries others, else by closing it.
    pub(crate) fn end_room(&mut self, device: usize, place: usize, code: u16, reason: &str) -> Checked {
        let Some(wire) = &mut self.devices[device].wire else { return Ok(()) };
        let lane = wire.lane(place);
        let ledger = &mut self.sites[lane.site].ledger;
        ledger.closing(lane.id);
        if !wire.carries_others(place) || self.tamper == Tamper::CloseForLeft {
            return self.close_socket(device, code);
        }
        let frame = v2::encode(&Left::of_close(&ledger.address, code, reason));
        wire.aboard(place).ends();
        if self.tamper != Tamper::EndSilently {
            wire.put_out(place, frame, self.tamper);
        }
        wire.leave(place);
        self.sites[lane.site].goodbyes.push(lane.id);
        self.stats.ended += 1;
        Ok(())
    }

    /// P9: a home closes a socket that carries one room, not one that carries others.
    fn close_socket(&mut self, device: usize, code: u16) -> Checked {
        let rooms = self.devices[device].wire.as_ref().map_or(0, Wire::rooms);
        ensure!(rooms <= 1, P9, "a socket that carries {rooms} rooms was closed with {code} for one of them");
        self.cut(device)?;
        if code == 4401 {
            let now = self.clock;
            let pass = &mut self.devices[device].cores[0].pass;
            pass.refuse();
            pass.want(now);
        }
        Ok(())
    }
}
