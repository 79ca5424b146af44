//! The door of a world's rooms (SPEC 13), and who comes in by it: a token says who somebody is and until when, and nothing else.
//!
//! In a world without a door everybody comes in, and stays.

use std::collections::BTreeSet;

use partysync_protocol::{Millis, Token};
use partysync_room::{Admission, ConnectionInfo, Refusal};
use serde::{Deserialize, Serialize};

use crate::Tamper;
use crate::checks::{Checked, Promise, Violation, ensure};
use crate::clients::Device;
use crate::world::World;

/// How long a token is good, in milliseconds: less than a world lasts, mostly.
const LIVES: [Millis; 5] = [600, 2_500, 5_000, 10_000, 100_000];

/// How long before the end a client is told; earlier than half of the time it is not (SPEC 13.10).
const NOTICE_MS: Millis = 60_000;

/// Later than this it is not told.
const LEAST_NOTICE_MS: Millis = 1_000;

/// What the door knows of whom it admits, for the room to see.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    until: Option<Millis>,
}

impl Known {
    /// Until when somebody is admitted, as the room was told.
    pub(crate) fn until(data: Option<&str>) -> Option<Millis> {
        serde_json::from_str::<Known>(data?).ok()?.until
    }
}

/// What the home asks the door with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    pub(crate) is_there: bool,
    pub(crate) now: Millis,
    /// It cannot say now.
    pub(crate) is_busy: bool,
    pub(crate) tamper: Tamper,
}

impl Door {
    /// Takes a token to the door.
    pub(crate) fn ask(&self, identity: &str, token: Option<&Token>) -> Result<Admission, Refusal> {
        if !self.is_there {
            return Ok(Admission::of(identity));
        }
        if self.is_busy {
            return Err(Refusal::new(503, "Nobody can say."));
        }
        let words = token.and_then(|token| token.as_str().rsplit_once(' '));
        let read = words.and_then(|(name, until)| Some((name.rsplit_once(' ')?.0, until)));
        let Some((name, until)) = read else { return Err(Refusal::unauthorized("Sign in first.")) };
        let until: Option<Millis> = until.parse().ok();
        let admission = Admission::of(name).with_data(&serde_json::json!(Known { until }));
        let admission = until.map_or(admission.clone(), |until| admission.until(until));
        if admission.holds_at(self.now) { Ok(admission) } else { Err(Refusal::over()) }
    }
}

/// What a room is told of who comes in.
pub(crate) fn info_of(admission: &Admission, key: Option<String>) -> ConnectionInfo {
    ConnectionInfo { key, identity: admission.identity().map(str::to_owned), data: admission.data().cloned() }
}

/// How long somebody may stay in a room, and what it was told of that.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stay {
    until: Option<Millis>,
    notice_at: Option<Millis>,
    /// It was to be told, and is not.
    is_owed: bool,
    /// It has spoken since `welcome`.
    has_spoken: bool,
}

/// What the home has to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// To say that it ends after so long.
    Notice(u64),
    End,
}

impl Stay {
    /// From now on it is admitted so.
    pub(crate) fn begin(&mut self, admission: &Admission, now: Millis) {
        self.until = admission.ends_at();
        let notice = |until: Millis| NOTICE_MS.min((until - now) / 2);
        let told = self.until.filter(|until| notice(*until) >= LEAST_NOTICE_MS);
        self.notice_at = told.map(|until| until - notice(until));
        self.is_owed = false;
    }

    /// Its client has said something since `welcome`.
    pub(crate) fn speaks(&mut self) {
        self.has_spoken = true;
    }

    /// Its client is told.
    pub(crate) fn told(&mut self) {
        self.is_owed = false;
    }

    /// SPEC 8.37: who had spoken in time was told before the end.
    pub(crate) fn check_told(&self) -> Checked {
        ensure!(!self.is_owed, P9, "an admission ended, and its client was not told before");
        Ok(())
    }

    /// What is due by now.
    pub(crate) fn due(&mut self, now: Millis) -> Due {
        match self.until {
            Some(until) if until <= now => Due::End,
            Some(until) if self.has_spoken && until - now >= LEAST_NOTICE_MS => {
                if self.notice_at.take_if(|at| *at <= now).is_none() {
                    return Due::Nothing;
                }
                self.is_owed = true;
                Due::Notice((until - now).unsigned_abs())
            }
            _ => Due::Nothing,
        }
    }
}

/// What a client's app has to prove who it is.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    token: Option<String>,
    /// When it has another one.
    wanted_at: Option<Millis>,
    /// All tokens that it had when it was told that one does not let it in.
    refused: BTreeSet<String>,
    shown: BTreeSet<String>,
}

impl Pass {
    /// Another token is wanted, by this time.
    pub(crate) fn want(&mut self, at: Millis) {
        self.wanted_at = Some(at);
    }

    /// What it has does not let it in.
    pub(crate) fn refuse(&mut self) {
        self.refused.append(&mut self.shown);
    }

    /// SPEC 9.8: with a token that was refused it never comes back.
    pub(crate) fn check(&self, token: Option<&Token>) -> Checked {
        let is_refused = token.is_some_and(|token| self.refused.contains(token.as_str()));
        ensure!(!is_refused, P9, "a client came back with a token that was refused");
        Ok(())
    }

    fn is_due(&self, now: Millis) -> bool {
        self.wanted_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token.clone().map(Token::new)
    }

    fn renew(&mut self, token: String) {
        self.shown.insert(token.clone());
        self.token = Some(token);
        self.wanted_at = None;
    }
}

impl World {
    /// The door, as it is now. `faults`: it may be that it cannot say.
    pub(crate) fn door(&mut self, faults: bool) -> Door {
        let is_there = self.kind.has_door;
        let is_busy = is_there && faults && self.rng.chance(100);
        Door { is_there, now: self.clock, is_busy, tamper: self.tamper }
    }

    /// Apps hand in tokens that were asked for, and now and then one that was not.
    pub(crate) fn renew_tokens(&mut self, device: usize) -> Checked {
        for core in 0..self.devices[device].cores.len() {
            let likes = !self.is_resting && self.rng.chance(300);
            if likes || self.devices[device].cores[core].pass.is_due(self.clock) {
                self.hand_in_token(device, core)?;
            }
        }
        Ok(())
    }

    /// Before a socket is opened each client has a token, one that was not refused to it for all that its app knows.
    pub(crate) fn have_tokens(&mut self, device: usize) -> Checked {
        if !self.kind.has_door {
            return Ok(());
        }
        for core in 0..self.devices[device].cores.len() {
            // Of the room in the URL the app is asked before.
            let is_asked = core == 0 && self.devices[device].cores[core].pass.wanted_at.is_some();
            if is_asked || self.devices[device].cores[core].pass.token.is_none() {
                self.hand_in_token(device, core)?;
            }
        }
        Ok(())
    }

    fn hand_in_token(&mut self, device: usize, core: usize) -> Checked {
        let life = *self.rng.pick(&LIVES);
        let until = if self.is_resting { "forever".to_owned() } else { (self.clock + life).to_string() };
        let Device { identity, cores, .. } = &mut self.devices[device];
        let pass = &mut cores[core].pass;
        self.stats.tokens += 1;
        // None is like another one.
        pass.renew(format!("{identity} {} {until}", self.stats.tokens));
        let token = pass.token();
        self.client_event(device, core, partysync_client::Event::Token(token))
    }

    /// Ends admissions whose time is over, and tells of those that end soon (SPEC 13.10).
    pub(crate) fn mind_the_door(&mut self) -> Checked {
        if !self.kind.has_door {
            return Ok(());
        }
        let now = self.clock;
        for device in 0..self.devices.len() {
            let places = self.devices[device].cores.len();
            for place in 0..places {
                let Some(wire) = &mut self.devices[device].wire else { break };
                match wire.due(place, now) {
                    Due::Nothing => {}
                    Due::Notice(_) if self.tamper == Tamper::NoNotice => {}
                    Due::Notice(after_ms) => {
                        let room = self.sites[wire.lane(place).site].ledger.address.clone();
                        wire.tell_expires(place, &room, after_ms, self.tamper);
                        self.stats.noticed += 1;
                    }
                    Due::End if self.tamper == Tamper::NeverEnd => {}
                    Due::End => {
                        wire.stay(place).check_told()?;
                        let lane = wire.lane(place);
                        self.sites[lane.site].ledger.check_over(lane.id, now)?;
                        self.stats.expired += 1;
                        self.end_room(device, place, 4401, Refusal::OVER)?;
                    }
                }
            }
        }
        for wire in &mut self.lingering {
            self.sites.iter_mut().for_each(|site| site.goodbyes.extend(wire.end_over(site.number, now)));
        }
        Ok(())
    }
}
